// SPDX-License-Identifier: Apache-2.0
/*
 * JSON as google.protobuf.Value: numbers are doubles there, whatever they were. Straight between
 * JSON and bytes: as messages, strings would lose what follows a NUL, and every number would cost
 * an allocation.
 */
#include "wire/internal.h"

/* Field numbers of Value; Struct.fields, ListValue.values and a map entry's key are 1. */
enum { NULL_VALUE = 1, NUMBER, STRING, BOOL, STRUCT, LIST };
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

/* --- JSON to bytes ---------------------------------------------------------------------------- */

static int encode_value(const json_t *json, int depth, struct buf *out, struct error *err);

static int check_depth(int depth, struct error *err)
{
    if (depth <= WIRE_DEPTH_MAX)
        return 0;
    return error_set(err, CODE_INVALID_ARGUMENT,
                     "JSON value is nested too deep: its messages would be more than %d",
                     WIRE_DEPTH_MAX);
}

/* Begins a length-prefixed field, with one byte for the length... */
static size_t begin(struct buf *out, uint32_t number)
{
    wire_put_tag(out, number, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    buf_append_byte(out, 0);
    return out->len;
}

/* ...and ends it, making room for a longer length. */
static void end(struct buf *out, size_t start)
{
    uint64_t len = out->len - start, left = len;
    size_t extra = 0;
    uint8_t *at;

    while ((left >>= 7) > 0)
        extra++;
    if (extra > 0 && !buf_extend(out, extra))
        return;
    if (out->failed)
        return;
    at = out->data + start;
    memmove(at + extra, at, len);
    for (at--; len >= 0x80; len >>= 7)
        *at++ = (uint8_t)(len | 0x80);
    *at = (uint8_t)len;
}

static int encode_struct(const json_t *object, int depth, struct buf *out, struct error *err)
{
    void *it = json_object_iter((json_t *)object);
    int rc = check_depth(depth, err);

    for (; it && !rc; it = json_object_iter_next((json_t *)object, it)) {
        size_t entry = begin(out, 1), value;

        wire_put_bytes(out, ENTRY_KEY,
                       slice(json_object_iter_key(it), json_object_iter_key_len(it)));
        value = begin(out, ENTRY_VALUE);
        rc = encode_value(json_object_iter_value(it), depth + 2, out, err);
        end(out, value);
        end(out, entry);
    }
    return rc;
}

static int encode_list(const json_t *array, int depth, struct buf *out, struct error *err)
{
    int rc = check_depth(depth, err);

    for (size_t i = 0; i < json_array_size(array) && !rc; i++) {
        size_t value = begin(out, 1);

        rc = encode_value(json_array_get(array, i), depth + 1, out, err);
        end(out, value);
    }
    return rc;
}

static int encode_value(const json_t *json, int depth, struct buf *out, struct error *err)
{
    int rc = check_depth(depth, err);
    double number;
    uint64_t bits;
    size_t start;

    if (rc)
        return rc;
    switch (json_typeof(json)) {
    case JSON_NULL:
        wire_put_tag(out, NULL_VALUE, PROTOBUF_C_WIRE_TYPE_VARINT);
        buf_put_varint(out, 0);
        return 0;
    case JSON_TRUE:
    case JSON_FALSE:
        wire_put_tag(out, BOOL, PROTOBUF_C_WIRE_TYPE_VARINT);
        buf_put_varint(out, json_is_true(json));
        return 0;
    case JSON_INTEGER:
    case JSON_REAL:
        number = json_number_value(json);
        memcpy(&bits, &number, sizeof bits);
        wire_put_tag(out, NUMBER, PROTOBUF_C_WIRE_TYPE_64BIT);
        buf_put_u64(out, bits);
        return 0;
    case JSON_STRING:
        wire_put_bytes(out, STRING, wire_json_slice(json));
        return 0;
    default:
        start = begin(out, json_is_object(json) ? STRUCT : LIST);
        rc = json_is_object(json) ? encode_struct(json, depth + 1, out, err)
                                  : encode_list(json, depth + 1, out, err);
        end(out, start);
        return rc;
    }
}

int wire_encode_json(enum wire_json_type type, const json_t *json, int depth, struct buf *out,
                     struct error *err)
{
    if (type == WIRE_JSON_VALUE)
        return encode_value(json, depth, out, err);
    if (type == WIRE_JSON_STRUCT && json_is_object(json))
        return encode_struct(json, depth, out, err);
    if (type == WIRE_JSON_LIST && json_is_array(json))
        return encode_list(json, depth, out, err);
    return error_set(err, CODE_INVALID_ARGUMENT, "expected %s, got %s",
                     type == WIRE_JSON_STRUCT ? "an object" : "an array", wire_json_kind(json));
}

/* --- bytes to JSON ---------------------------------------------------------------------------- */

static int decode_value(struct slice bytes, int depth, struct buf *out, struct error *err);

static int malformed(struct error *err)
{
    return error_set(err, CODE_INVALID_ARGUMENT, "malformed google.protobuf.Value");
}

static int decode_string(struct slice text, struct buf *out, struct error *err)
{
    if (!slice_is_utf8(text))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "a string in a google.protobuf.Value is not valid UTF-8");
    wire_put_json_string(out, text);
    return 0;
}

static int decode_entry(struct slice bytes, int depth, struct buf *out, struct error *err)
{
    struct slice key = {0}, value = {0};
    struct wire_field field;
    int rc = check_depth(depth, err);

    if (rc)
        return rc;
    while (bytes.len > 0) {
        if (!wire_next_field(&bytes, &field))
            return malformed(err);
        if (field.number > ENTRY_VALUE)
            continue;
        if (field.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            return malformed(err);
        *(field.number == ENTRY_KEY ? &key : &value) = field.bytes;
    }
    rc = decode_string(key, out, err);
    buf_append_byte(out, ':');
    return rc ? rc : decode_value(value, depth + 1, out, err);
}

/* The elements of a Struct or ListValue, with their brackets. */
static int decode_elements(enum wire_json_type type, struct slice bytes, int depth, struct buf *out,
                           struct error *err)
{
    bool object = type == WIRE_JSON_STRUCT, first = true;
    struct wire_field field;
    int rc = check_depth(depth, err);

    buf_append_byte(out, object ? '{' : '[');
    while (bytes.len > 0 && !rc) {
        if (!wire_next_field(&bytes, &field))
            return malformed(err);
        if (field.number != 1)
            continue;
        if (field.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            return malformed(err);
        if (!first)
            buf_append_byte(out, ',');
        first = false;
        rc = object ? decode_entry(field.bytes, depth + 1, out, err)
                    : decode_value(field.bytes, depth + 1, out, err);
    }
    buf_append_byte(out, object ? '}' : ']');
    return rc;
}

static void put_double_bits(struct buf *out, uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof number);
    wire_put_json_double(out, number);
}

static int decode_value(struct slice bytes, int depth, struct buf *out, struct error *err)
{
    static const ProtobufCWireType types[] = {
        [NULL_VALUE] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [NUMBER] = PROTOBUF_C_WIRE_TYPE_64BIT,
        [STRING] = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
        [BOOL] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [STRUCT] = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
        [LIST] = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
    };
    struct wire_field field, kind = {.number = NULL_VALUE};
    int rc = check_depth(depth, err);

    while (bytes.len > 0 && !rc) {
        if (!wire_next_field(&bytes, &field))
            return malformed(err);
        if (field.number > LIST)
            continue;
        if (field.type != types[field.number])
            return malformed(err);
        kind = field; /* of a oneof the last one counts */
    }
    if (rc)
        return rc;
    switch (kind.number) {
    case NUMBER:
        put_double_bits(out, kind.scalar);
        return 0;
    case STRING:
        return decode_string(kind.bytes, out, err);
    case BOOL:
        buf_append_str(out, kind.scalar ? "true" : "false");
        return 0;
    case STRUCT:
        return decode_elements(WIRE_JSON_STRUCT, kind.bytes, depth + 1, out, err);
    case LIST:
        return decode_elements(WIRE_JSON_LIST, kind.bytes, depth + 1, out, err);
    default:
        buf_append_str(out, "null");
        return 0;
    }
}

int wire_decode_json(enum wire_json_type type, struct slice bytes, int depth, struct buf *out,
                     struct error *err)
{
    return type == WIRE_JSON_VALUE ? decode_value(bytes, depth, out, err)
                                   : decode_elements(type, bytes, depth, out, err);
}
