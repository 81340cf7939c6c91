// SPDX-License-Identifier: Apache-2.0
/*
 * Protocol buffers from strangers (wire/wire.h): the first byte picks the message, the rest are its
 * bytes. What wire_unpack takes can be packed, and is taken again; an error has its code and a
 * text. The quick way to unpack says what the other one says, or nothing.
 */
#include "fuzz.h"
#include "wire/internal.h"

#define ARENA_MAX ((size_t)64 << 20)

static const ProtobufCMessageDescriptor *const types[] = {
    &dispatch__sdk__v1__dispatch_request__descriptor,
    &dispatch__sdk__v1__dispatch_response__descriptor,
    &dispatch__sdk__v1__run_request__descriptor,
    &dispatch__sdk__v1__run_response__descriptor,
    &google__protobuf__any__descriptor,
};

static void compare_ways(const ProtobufCMessageDescriptor *type, struct slice bytes)
{
    struct arena arena;
    struct error err = {0};
    struct buf quick, slow;
    ProtobufCMessage *message;
    arena_init(&arena, ARENA_MAX);
    buf_init(&quick, ARENA_MAX);
    buf_init(&slow, ARENA_MAX);
    message = wire_fill(type, bytes, &arena);
    if (message) {
        wire_pack(message, &quick);
        require(wire_unpack_any_case(type, bytes, &arena, &message, &err) == 0);
        wire_pack(message, &slow);
        require(slice_eq(buf_slice(&quick), buf_slice(&slow)));
    }
    buf_free(&quick);
    buf_free(&slow);
    arena_reset(&arena);
}

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
    compare_ways(type, slice(data + 1, size - 1));
    return 0;
}
