// SPDX-License-Identifier: Apache-2.0
/*
 * JSON from strangers (wire/wire.h) as a DispatchRequest: what wire_from_json takes, wire_to_json
 * writes in a form that is taken again and packs to the same bytes; an error has its code and a
 * text.
 */
#include "fuzz.h"
#include "wire/wire.h"

#define ARENA_MAX ((size_t)64 << 20)

static void round_trip(wire_dispatch_request *message, struct arena *arena)
{
    const ProtobufCMessageDescriptor *type = &dispatch__sdk__v1__dispatch_request__descriptor;
    struct buf json, first, second;
    wire_dispatch_request *again = NULL;
    struct error err = {0};
    buf_init(&json, ARENA_MAX);
    buf_init(&first, ARENA_MAX);
    buf_init(&second, ARENA_MAX);
    wire_to_json(message, &json);
    require(!json.failed);
    require(wire_from_json(type, buf_slice(&json), arena, &again, &err) == 0);
    wire_pack(message, &first);
    wire_pack(again, &second);
    require(!first.failed && slice_eq(buf_slice(&first), buf_slice(&second)));
    buf_free(&json);
    buf_free(&first);
    buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct error err = {0};
    wire_dispatch_request *message = NULL;
    arena_init(&arena, ARENA_MAX);
    int code = wire_from_json(&dispatch__sdk__v1__dispatch_request__descriptor, slice(data, size),
                              &arena, &message, &err);
    if (code) {
        require(!message && err.code == code && err.message[0]);
        require(code == CODE_INVALID_ARGUMENT || code == CODE_RESOURCE_EXHAUSTED);
    } else {
        round_trip(message, &arena);
    }
    arena_reset(&arena);
    return 0;
}
