// SPDX-License-Identifier: Apache-2.0
/*
 * Both ways go through the canonical JSON of an Any, which says the type beside the value:
 * {"@type":URL,"value":JSON}. Here the type is found by the first character of the JSON, and shown
 * values go without it.
 */
#include "cli/value.h"

#include "cli/pickle.h"

#include <inttypes.h>

/* The text is at most that of a value that the API takes. */
#define TEXT_MAX    ((size_t)32 << 20)
#define DEPTH_MAX   4
#define BYTES_SHOWN 4
#define PICKLED     "dispatch.sdk.python.v1.Pickled"

static struct slice trim(struct slice s)
{
    const char *data = s.data;

    while (s.len && strchr(" \t\r\n", data[s.len - 1]))
        s.len--;
    while (s.len && strchr(" \t\r\n", *data)) {
        data++;
        s.len--;
    }
    return slice(data, s.len);
}

static bool begins_with_type(struct slice json)
{
    struct slice inside = trim(slice((const char *)json.data + 1, json.len - 1));

    return inside.len >= 7 && memcmp(inside.data, "\"@type\"", 7) == 0;
}

static bool whole_number(struct slice json)
{
    const char *c = json.data;
    size_t at = *c == '-';

    while (at < json.len && c[at] >= '0' && c[at] <= '9')
        at++;
    return at == json.len;
}

/* NULL: it is no JSON. */
static const char *type_of(struct slice json)
{
    if (slice_eq_str(json, "true") || slice_eq_str(json, "false"))
        return "BoolValue";
    if (!memchr("\"{[-0123456789", *(const char *)json.data, 14))
        return NULL;
    switch (*(const char *)json.data) {
    case '"':
        return "StringValue";
    case '{':
    case '[':
        return "Value";
    default:
        return whole_number(json) ? "Int64Value" : "DoubleValue";
    }
}

int value_parse(struct slice text, struct arena *arena, wire_any **any, struct error *err)
{
    struct slice json = trim(text);
    const char *type;
    struct buf wrapped;
    int code;

    if (json.len == 0)
        return error_set(err, CODE_INVALID_ARGUMENT, "it is empty: null is how to give nothing");
    if (slice_eq_str(json, "null")) {
        *any = NULL;
        return CODE_OK;
    }
    type = type_of(json);
    if (!type)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "'%.40s' is no JSON: a text wants quotes, as in '\"text\"'",
                         (const char *)arena_dup(arena, json));
    if (*(const char *)json.data == '{' && begins_with_type(json))
        return wire_from_json(&google__protobuf__any__descriptor, json, arena, any, err);
    buf_init(&wrapped, TEXT_MAX);
    buf_printf(&wrapped, "{\"@type\":\"" WIRE_TYPE_PREFIX "google.protobuf.%s\",\"value\":", type);
    buf_append_slice(&wrapped, json);
    buf_append_str(&wrapped, "}");
    code = wrapped.failed ? error_memory(err)
                          : wire_from_json(&google__protobuf__any__descriptor, buf_slice(&wrapped),
                                           arena, any, err);
    buf_free(&wrapped);
    return code;
}

/* --- showing ---------------------------------------------------------------------------------- */

enum style { FOR_PROGRAMS, FOR_PEOPLE, DESCRIBED };

static void show(const wire_any *any, enum style style, int depth, struct arena *arena,
                 struct buf *out);

static void show_arguments(const wire_arguments *arguments, enum style style, int depth,
                           struct arena *arena, struct buf *out)
{
    const char *between = "";

    buf_append_str(out, "(");
    for (size_t i = 0; i < arguments->n_positional; i++, between = ", ") {
        buf_append_str(out, between);
        show(arguments->positional[i], style, depth + 1, arena, out);
    }
    for (size_t i = 0; i < arguments->n_keyword; i++, between = ", ") {
        buf_printf(out, "%s%s=", between, arguments->keyword[i]->key);
        show(arguments->keyword[i]->value, style, depth + 1, arena, out);
    }
    buf_append_str(out, ")");
}

/* A message with the pickle in its first field. */
static bool show_pickled(struct slice message, struct arena *arena, struct buf *out)
{
    struct slice pickled;
    uint8_t tag;

    return slice_get_byte(&message, &tag) && tag == (1 << 3 | 2) &&
           slice_get_bytes(&message, &pickled) && pickle_describe(pickled, arena, out);
}

static void show_other(const wire_any *any, enum style style, int depth, struct arena *arena,
                       struct buf *out)
{
    const ProtobufCMessageDescriptor *type = &dispatch__sdk__c__v1__arguments__descriptor;
    struct slice name = wire_type_name(slice_str(any->type_url));
    struct slice bytes = slice(any->value.data, any->value.len);
    wire_arguments *arguments;

    if (slice_eq_str(name, PICKLED) && show_pickled(bytes, arena, out))
        return;
    if (depth < DEPTH_MAX && slice_eq_str(name, type->name) &&
        !wire_unpack(type, bytes, arena, &arguments, NULL))
        show_arguments(arguments, style, depth, arena, out);
    else if (style == DESCRIBED)
        buf_printf(out, "%s(?)", any->type_url);
    else
        buf_printf(out, "<%.*s, %zu byte%s>", SLICE_FMT(name), bytes.len,
                   bytes.len == 1 ? "" : "s");
}

/* What stands behind the type. It is the first such text: in the URL, quotes are escaped. */
static void show_plain(const wire_any *any, struct buf *out)
{
    static const char before[] = ",\"value\":";
    const char *at;
    struct buf json;

    buf_init(&json, TEXT_MAX);
    wire_to_json(any, &json);
    at = strstr(buf_cstr(&json), before);
    if (at) {
        at += sizeof before - 1;
        buf_append(out, at, strlen(at) - 1);
    } else {
        buf_append_slice(out, buf_slice(&json));
    }
    buf_free(&json);
}

/* What nobody has a JSON for. */
static void describe_bytes(struct slice bytes, struct arena *arena, struct buf *out)
{
    const uint8_t *data = bytes.data;
    size_t shown = bytes.len < BYTES_SHOWN ? bytes.len : BYTES_SHOWN;

    if (pickle_describe(bytes, arena, out))
        return;
    buf_append_str(out, "bytes(");
    for (size_t i = 0; i < shown; i++) {
        if (data[i] > ' ' && data[i] < 0x7f)
            buf_append_byte(out, data[i]);
        else
            buf_printf(out, "\\x%02x", data[i]);
    }
    buf_append_str(out, shown < bytes.len ? "...)" : ")");
}

static bool is_empty(const wire_any *any)
{
    return slice_eq_str(wire_type_name(slice_str(any->type_url)), "google.protobuf.Empty");
}

static void show(const wire_any *any, enum style style, int depth, struct arena *arena,
                 struct buf *out)
{
    struct value value = {.kind = VALUE_OTHER};

    if (any && wire_value_from_any(any, arena, &value, NULL))
        value = (struct value){.kind = VALUE_OTHER};
    if (style == DESCRIBED && (!any || is_empty(any)))
        buf_append_str(out, any ? "empty()" : "nil");
    else if (!any || value.kind == VALUE_NONE)
        buf_append_str(out, "null");
    else if (value.kind == VALUE_BYTES && style == DESCRIBED) /* Python's are pickled, too */
        describe_bytes(value.bytes, arena, out);
    else if (value.kind == VALUE_BYTES && style == FOR_PEOPLE)
        buf_printf(out, "<%zu byte%s>", value.bytes.len, value.bytes.len == 1 ? "" : "s");
    else if (value.kind == VALUE_INT) /* whose canonical JSON is a string */
        buf_printf(out, "%" PRId64, value.integer);
    else if (value.kind == VALUE_UINT)
        buf_printf(out, "%" PRIu64, value.unsigned_integer);
    else if (value.kind != VALUE_OTHER)
        show_plain(any, out);
    else if (style != FOR_PROGRAMS)
        show_other(any, style, depth, arena, out);
    else
        wire_to_json(any, out);
}

void value_show(const wire_any *any, bool people, struct arena *arena, struct buf *out)
{
    show(any, people ? FOR_PEOPLE : FOR_PROGRAMS, 0, arena, out);
}

void value_describe(const wire_any *any, struct arena *arena, struct buf *out)
{
    show(any, DESCRIBED, 0, arena, out);
}
