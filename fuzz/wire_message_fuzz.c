// SPDX-License-Identifier: Apache-2.0
/*
 * Protocol buffers from strangers (wire/wire.h): the first byte picks the message, the rest are its
 * bytes. What wire_unpack takes can be packed, and is taken again; an error has its code and a
 * text.
 */
#include "fuzz.h"
#include "wire/wire.h"

#define ARENA_MAX ((size_t)64 << 20)

static const ProtobufCMessageDescriptor *const types[] = {
    &dispatch__sdk__v1__dispatch_request__descriptor,
    &dispatch__sdk__v1__dispatch_response__descriptor,
    &dispatch__sdk__v1__run_request__descriptor,
    &dispatch__sdk__v1__run_response__descriptor,
    &google__protobuf__any__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof types / sizeof *types)];
    struct arena arena;
    struct error err = {0};
    ProtobufCMessage *message = NULL, *again = NULL;
    struct buf packed;
    arena_init(&arena, ARENA_MAX);
    buf_init(&packed, ARENA_MAX);
    int code = wire_unpack(type, slice(data + 1, size - 1), &arena, &message, &err);
    if (code) {
        require(!message && err.code == code && err.message[0]);
        require(code == CODE_INVALID_ARGUMENT || code == CODE_RESOURCE_EXHAUSTED);
    } else {
        wire_pack(message, &packed);
        require(!packed.failed);
        require(wire_unpack(type, buf_slice(&packed), &arena, &again, &err) == 0);
    }
    buf_free(&packed);
    arena_reset(&arena);
    return 0;
}
