// SPDX-License-Identifier: Apache-2.0
/*
 * Values and the Any that carries them. Strings and bytes are read and written as fields, not as
 * messages: a string may hold NUL, and nothing large is copied twice.
 */
#include "google/protobuf/empty.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "wire/internal.h"

int wire_any_view(struct slice bytes, struct arena *arena, wire_any **out, struct error *err)
{
    const ProtobufCMessageDescriptor *type = &google__protobuf__any__descriptor;
    wire_any *any = (wire_any *)wire_new_message(type, arena);
    struct slice url = {0}, value = {0};
    struct wire_field field;

    while (bytes.len > 0) {
        if (!wire_next_field(&bytes, &field) ||
            (field.number <= 2 && field.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED))
            return error_set(err, CODE_INVALID_ARGUMENT, "malformed %s", type->name);
        if (field.number == 1)
            url = field.bytes;
        else if (field.number == 2)
            value = field.bytes;
    }
    if (!slice_is_utf8(url) || (url.len && memchr(url.data, '\0', url.len)))
        return error_set(err, CODE_INVALID_ARGUMENT, "malformed type_url of %s", type->name);
    if (any)
        any->type_url = arena_dup(arena, url);
    if (!any || !any->type_url)
        return error_memory(err);
    any->value.data = (uint8_t *)(uintptr_t)value.data;
    any->value.len = value.len;
    *out = any;
    return 0;
}

/* --- value to Any ----------------------------------------------------------------------------- */

static wire_any *new_any(const ProtobufCMessageDescriptor *type, struct arena *arena)
{
    wire_any *any = (wire_any *)wire_new_message(&google__protobuf__any__descriptor, arena);
    size_t len = strlen(type->name);
    char *url;

    if (!any)
        return NULL;
    url = arena_alloc(arena, sizeof WIRE_TYPE_PREFIX + len);
    if (!url)
        return NULL;
    memcpy(url, WIRE_TYPE_PREFIX, sizeof WIRE_TYPE_PREFIX - 1);
    memcpy(url + sizeof WIRE_TYPE_PREFIX - 1, type->name, len + 1);
    any->type_url = url;
    return any;
}

/* Gives the Any that many bytes to be written; NULL: no memory. */
static uint8_t *any_bytes(wire_any *any, size_t len, struct arena *arena)
{
    uint8_t *data = any ? arena_alloc(arena, len) : NULL;

    if (!data)
        return NULL;
    any->value.data = data;
    any->value.len = len;
    return data;
}

static wire_any *any_from_message(const void *message, struct arena *arena)
{
    const ProtobufCMessage *base = message;
    wire_any *any = new_any(base->descriptor, arena);
    uint8_t *data = any_bytes(any, protobuf_c_message_get_packed_size(message), arena);

    if (!data)
        return NULL;
    protobuf_c_message_pack(message, data);
    return any;
}

/* StringValue and BytesValue: one field, left out if it is empty. */
static wire_any *any_from_bytes(const ProtobufCMessageDescriptor *type, struct slice bytes,
                                struct arena *arena)
{
    wire_any *any = new_any(type, arena);
    size_t head = 1;
    uint8_t *data;

    if (bytes.len == 0)
        return any;
    for (size_t left = bytes.len; left > 0; left >>= 7)
        head++;
    if (bytes.len > SIZE_MAX - head)
        return NULL;
    data = any_bytes(any, head + bytes.len, arena);
    if (!data)
        return NULL;
    *data++ = 1 << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    for (size_t left = bytes.len; left > 0; left >>= 7)
        *data++ = (uint8_t)(left >= 0x80 ? left | 0x80 : left);
    memcpy(data, bytes.data, bytes.len);
    return any;
}

static wire_any *any_from_json(struct slice text, struct arena *arena)
{
    wire_any *any = NULL;
    struct buf packed;
    json_t *json = wire_json_parse(text, NULL);
    uint8_t *data;

    if (!json)
        return NULL;
    buf_init(&packed, arena->max);
    if (!wire_encode_json(WIRE_JSON_VALUE, json, 1, &packed, NULL) && !packed.failed) {
        any = new_any(wire_find_type(slice_str("google.protobuf.Value")), arena);
        data = any_bytes(any, packed.len, arena);
        if (data)
            memcpy(data, packed.data, packed.len);
        any = data ? any : NULL;
    }
    buf_free(&packed);
    json_decref(json);
    return any;
}

static wire_any *any_from_other(const struct value *value, struct arena *arena)
{
    wire_any *any = (wire_any *)wire_new_message(&google__protobuf__any__descriptor, arena);
    uint8_t *data = any_bytes(any, value->bytes.len, arena);

    if (!data)
        return NULL;
    any->type_url = arena_dup(arena, value->type_url);
    if (value->bytes.len)
        memcpy(data, value->bytes.data, value->bytes.len);
    return any->type_url ? any : NULL;
}

static wire_any *any_from_time(const struct value *value, struct arena *arena)
{
    wire_timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    wire_duration d = GOOGLE__PROTOBUF__DURATION__INIT;

    wire_set_time(&t, value->integer);
    wire_set_duration(&d, value->integer);
    return value->kind == VALUE_TIME ? any_from_message(&t, arena) : any_from_message(&d, arena);
}

wire_any *wire_any_from_value(const struct value *value, struct arena *arena)
{
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    Google__Protobuf__BoolValue boolean = GOOGLE__PROTOBUF__BOOL_VALUE__INIT;
    Google__Protobuf__Int64Value integer = GOOGLE__PROTOBUF__INT64_VALUE__INIT;
    Google__Protobuf__UInt64Value natural = GOOGLE__PROTOBUF__UINT64_VALUE__INIT;
    Google__Protobuf__DoubleValue real = GOOGLE__PROTOBUF__DOUBLE_VALUE__INIT;

    switch (value->kind) {
    case VALUE_NONE:
        return any_from_message(&empty, arena);
    case VALUE_BOOL:
        boolean.value = value->boolean;
        return any_from_message(&boolean, arena);
    case VALUE_INT:
        integer.value = value->integer;
        return any_from_message(&integer, arena);
    case VALUE_UINT:
        natural.value = value->unsigned_integer;
        return any_from_message(&natural, arena);
    case VALUE_DOUBLE:
        real.value = value->real;
        return any_from_message(&real, arena);
    case VALUE_STRING:
        return slice_is_utf8(value->bytes)
                   ? any_from_bytes(&google__protobuf__string_value__descriptor, value->bytes,
                                    arena)
                   : NULL;
    case VALUE_BYTES:
        return any_from_bytes(&google__protobuf__bytes_value__descriptor, value->bytes, arena);
    case VALUE_TIME:
    case VALUE_DURATION:
        return any_from_time(value, arena);
    case VALUE_JSON:
        return any_from_json(value->bytes, arena);
    case VALUE_OTHER:
        return any_from_other(value, arena);
    }
    return NULL;
}

/* --- Any to value ----------------------------------------------------------------------------- */

static int malformed(const ProtobufCMessageDescriptor *type, struct error *err)
{
    return error_set(err, CODE_INVALID_ARGUMENT, "the bytes of the Any are no %s", type->name);
}

static int value_from_bytes(const ProtobufCMessageDescriptor *type, struct slice in,
                            struct value *value, struct error *err)
{
    bool string = type == &google__protobuf__string_value__descriptor;
    struct slice bytes = {0};
    struct wire_field field;

    while (in.len > 0) {
        if (!wire_next_field(&in, &field))
            return malformed(type, err);
        if (field.number != 1)
            continue;
        if (field.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            return malformed(type, err);
        bytes = field.bytes;
    }
    if (string && !slice_is_utf8(bytes))
        return error_set(err, CODE_INVALID_ARGUMENT, "the string in the Any is not valid UTF-8");
    *value = (struct value){.kind = string ? VALUE_STRING : VALUE_BYTES, .bytes = bytes};
    return 0;
}

static int value_from_json(enum wire_json_type type, struct slice bytes, struct arena *arena,
                           struct value *value, struct error *err)
{
    struct buf text;
    char *copy = NULL;
    int rc;

    buf_init(&text, arena->max);
    rc = wire_decode_json(type, bytes, 1, &text, err);
    if (!rc) {
        copy = text.failed ? NULL : arena_dup(arena, buf_slice(&text));
        if (copy)
            *value = (struct value){.kind = VALUE_JSON, .bytes = slice(copy, text.len)};
        else
            rc = error_memory(err);
    }
    buf_free(&text);
    return rc;
}

/* The message is a Timestamp, Duration, Empty, or a wrapper of a number. */
static struct value value_from_message(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const void *at = (const char *)message + (type->n_fields ? type->fields[0].offset : 0);

    if (type == &google__protobuf__empty__descriptor)
        return (struct value){.kind = VALUE_NONE};
    if (type == &google__protobuf__timestamp__descriptor)
        return (struct value){.kind = VALUE_TIME, .integer = wire_time_ns((const void *)message)};
    if (type == &google__protobuf__duration__descriptor)
        return (struct value){.kind = VALUE_DURATION,
                              .integer = wire_duration_ns((const void *)message)};
    switch (type->fields[0].type) {
    case PROTOBUF_C_TYPE_BOOL:
        return (struct value){.kind = VALUE_BOOL, .boolean = *(const protobuf_c_boolean *)at};
    case PROTOBUF_C_TYPE_INT32:
        return (struct value){.kind = VALUE_INT, .integer = *(const int32_t *)at};
    case PROTOBUF_C_TYPE_INT64:
        return (struct value){.kind = VALUE_INT, .integer = *(const int64_t *)at};
    case PROTOBUF_C_TYPE_UINT32:
        return (struct value){.kind = VALUE_UINT, .unsigned_integer = *(const uint32_t *)at};
    case PROTOBUF_C_TYPE_UINT64:
        return (struct value){.kind = VALUE_UINT, .unsigned_integer = *(const uint64_t *)at};
    case PROTOBUF_C_TYPE_FLOAT:
        return (struct value){.kind = VALUE_DOUBLE, .real = (double)*(const float *)at};
    default:
        return (struct value){.kind = VALUE_DOUBLE, .real = *(const double *)at};
    }
}

int wire_value_from_any(const wire_any *any, struct arena *arena, struct value *value,
                        struct error *err)
{
    struct slice url = slice_str(any ? any->type_url : NULL);
    struct slice bytes = any ? slice(any->value.data, any->value.len) : (struct slice){0};
    const ProtobufCMessageDescriptor *type = wire_find_type(wire_type_name(url));
    ProtobufCMessage *message;
    int rc;

    if (url.len == 0 && bytes.len == 0) {
        *value = (struct value){.kind = VALUE_NONE};
        return 0;
    }
    if (type && wire_json_type(type) != WIRE_JSON_NONE)
        return value_from_json(wire_json_type(type), bytes, arena, value, err);
    if (type == &google__protobuf__string_value__descriptor ||
        type == &google__protobuf__bytes_value__descriptor)
        return value_from_bytes(type, bytes, value, err);
    if (type == NULL || type == &google__protobuf__any__descriptor ||
        (type != &google__protobuf__empty__descriptor && !wire_is_special(type))) {
        *value = (struct value){.kind = VALUE_OTHER, .bytes = bytes, .type_url = url};
        return 0;
    }
    rc = wire_unpack(type, bytes, arena, &message, err);
    if (!rc)
        *value = value_from_message(message);
    return rc;
}
