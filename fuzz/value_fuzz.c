// SPDX-License-Identifier: Apache-2.0
/* Values on the command line (cli/value.h): what is read as JSON is shown as JSON that reads the
 * same; and any Any, of whatever bytes, can be shown. */
#include "cli/value.h"
#include "fuzz.h"

#define ARENA_MAX ((size_t)16 << 20)

static void show_all(const wire_any *any, struct arena *arena)
{
    struct buf out;

    buf_init(&out, ARENA_MAX);
    value_show(any, true, arena, &out);
    require(out.len > 0 || out.failed);
    buf_reset(&out);
    value_describe(any, arena, &out);
    require(out.len > 0 || out.failed);
    buf_free(&out);
}

static void read_json(struct slice text, struct arena *arena)
{
    struct error err = {0};
    wire_any *any, *again;
    struct buf json;
    int code = value_parse(text, arena, &any, &err);

    if (code) {
        require(err.code == code && err.message[0]);
        return;
    }
    show_all(any, arena);
    buf_init(&json, ARENA_MAX);
    value_show(any, false, arena, &json);
    if (!json.failed)
        require(value_parse(buf_slice(&json), arena, &again, &err) == CODE_OK);
    buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    wire_any *any;

    if (size > 1 << 16)
        return 0;
    arena_init(&arena, ARENA_MAX);
    read_json(slice(data, size), &arena);
    if (!wire_unpack(&google__protobuf__any__descriptor, slice(data, size), &arena, &any, NULL))
        show_all(any, &arena);
    arena_reset(&arena);
    return 0;
}
