// SPDX-License-Identifier: Apache-2.0
/*
 * Messages to canonical proto JSON, straight into a buffer. Fields that have their default are left
 * out. An Any is unpacked if we know its type; if it does not unpack, or lies too deep, its bytes
 * are written as base64, as those of a type that we do not know.
 */
#include "google/protobuf/wrappers.pb-c.h"
#include "wire/internal.h"

#include <inttypes.h>

enum { ANY_ARENA_MAX = 64 << 20 };

static const void *member(const ProtobufCMessage *message, size_t offset)
{
    return (const char *)message + offset;
}

static void write_enum(const ProtobufCEnumDescriptor *type, int number, struct buf *out)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);

    if (value)
        wire_put_json_string(out, slice_str(value->name));
    else
        buf_printf(out, "%d", number);
}

static void write_one(const ProtobufCFieldDescriptor *field, const void *at, int depth,
                      struct buf *out)
{
    const ProtobufCBinaryData *bytes = at;
    const char *const *text = at;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        buf_printf(out, "%" PRId32, *(const int32_t *)at);
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        buf_printf(out, "\"%" PRId64 "\"", *(const int64_t *)at);
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buf_printf(out, "\"%" PRIu64 "\"", *(const uint64_t *)at);
        return;
    case PROTOBUF_C_TYPE_FLOAT:
        wire_put_json_float(out, *(const float *)at);
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        wire_put_json_double(out, *(const double *)at);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        buf_append_str(out, *(const protobuf_c_boolean *)at ? "true" : "false");
        return;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(field->descriptor, *(const int *)at, out);
        return;
    case PROTOBUF_C_TYPE_STRING:
        wire_put_json_string(out, slice_str(*text));
        return;
    case PROTOBUF_C_TYPE_BYTES:
        wire_put_json_base64(out, slice(bytes->data, bytes->len));
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        wire_write_message(*(const ProtobufCMessage *const *)at, depth + 1, out);
        return;
    }
}

static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    static const uint64_t zero;
    const void *at = member(message, field->offset);
    const char *const *text = at;

    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)member(message, field->quantifier_offset) == field->id;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)member(message, field->quantifier_offset) > 0;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(const ProtobufCMessage *const *)at != NULL;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return *text && **text;
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)at)->len > 0;
    return memcmp(at, &zero, wire_element_size(field->type)) != 0;
}

static void write_name(const char *name, struct buf *out)
{
    buf_append_byte(out, '"');
    for (; *name; name++) {
        bool upper = *name == '_' && name[1] >= 'a' && name[1] <= 'z';

        if (upper)
            name++;
        buf_append_byte(out, (uint8_t)(upper ? *name - 'a' + 'A' : *name));
    }
    buf_append_str(out, "\":");
}

static void write_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                        int depth, struct buf *out)
{
    const char *at = member(message, field->offset);
    size_t count;

    write_name(field->name, out);
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        write_one(field, at, depth, out);
        return;
    }
    count = *(const size_t *)member(message, field->quantifier_offset);
    at = *(const char *const *)(const void *)at;
    for (size_t i = 0; i < count; i++) {
        buf_append_byte(out, i ? ',' : '[');
        write_one(field, at + i * wire_element_size(field->type), depth, out);
    }
    buf_append_byte(out, ']');
}

static void write_fields(const ProtobufCMessage *message, bool first, int depth, struct buf *out)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;

    for (unsigned i = 0; i < type->n_fields; i++) {
        if (!is_set(message, &type->fields[i]))
            continue;
        if (!first)
            buf_append_byte(out, ',');
        first = false;
        write_field(message, &type->fields[i], depth, out);
    }
}

/* --- the types with a JSON of their own ------------------------------------------------------- */

/* The last field 1 of a StringValue, which as a message would end at a NUL. */
static bool write_string_value(struct slice bytes, struct buf *out)
{
    struct wire_field field;
    struct slice text = {0};

    while (bytes.len > 0) {
        if (!wire_next_field(&bytes, &field))
            return false;
        if (field.number == 1 && field.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            return false;
        if (field.number == 1)
            text = field.bytes;
    }
    wire_put_json_string(out, text);
    return true;
}

/* What follows "@type", a comma first; false, and perhaps half of it written, if the bytes are not
 * such a message. */
static bool write_any_content(const ProtobufCMessageDescriptor *type, struct slice bytes, int depth,
                              struct buf *out)
{
    enum wire_json_type json = wire_json_type(type);
    ProtobufCMessage *message;
    struct arena arena;
    bool written;

    if (wire_is_special(type))
        buf_append_str(out, ",\"value\":");
    if (json != WIRE_JSON_NONE)
        return wire_decode_json(json, bytes, 1, out, NULL) == 0;
    if (type == &google__protobuf__string_value__descriptor)
        return write_string_value(bytes, out);
    arena_init(&arena, ANY_ARENA_MAX);
    written = wire_unpack(type, bytes, &arena, &message, NULL) == 0;
    if (written && wire_is_special(type))
        wire_write_message(message, depth, out);
    else if (written)
        write_fields(message, false, depth, out);
    arena_reset(&arena);
    return written;
}

static void write_any(const wire_any *any, int depth, struct buf *out)
{
    struct slice url = slice_str(any->type_url), bytes = slice(any->value.data, any->value.len);
    const ProtobufCMessageDescriptor *type = wire_find_type(wire_type_name(url));
    size_t start;

    if (url.len == 0 && bytes.len == 0) {
        buf_append_str(out, "{}");
        return;
    }
    buf_append_str(out, "{\"@type\":");
    wire_put_json_string(out, url);
    start = out->len;
    if (!type || depth + WIRE_ANY_DEPTH > WIRE_DEPTH_MAX ||
        !write_any_content(type, bytes, depth + WIRE_ANY_DEPTH, out)) {
        if (!out->failed)
            out->len = start;
        buf_append_str(out, ",\"value\":");
        wire_put_json_base64(out, bytes);
    }
    buf_append_byte(out, '}');
}

/* A Value, Struct or ListValue that stands as a message, not in an Any. */
static void write_json_message(enum wire_json_type type, const ProtobufCMessage *message, int depth,
                               struct buf *out)
{
    struct buf packed;

    buf_init(&packed, out->max);
    wire_pack(message, &packed);
    if (packed.failed || wire_decode_json(type, buf_slice(&packed), depth, out, NULL))
        out->failed = true;
    buf_free(&packed);
}

void wire_write_message(const ProtobufCMessage *message, int depth, struct buf *out)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    enum wire_json_type json = wire_json_type(type);

    if (depth > WIRE_DEPTH_MAX) {
        out->failed = true;
    } else if (type == &google__protobuf__any__descriptor) {
        write_any((const wire_any *)message, depth, out);
    } else if (type == &google__protobuf__timestamp__descriptor) {
        const wire_timestamp *t = (const wire_timestamp *)message;

        wire_put_json_timestamp(out, t->seconds, t->nanos);
    } else if (type == &google__protobuf__duration__descriptor) {
        const wire_duration *d = (const wire_duration *)message;

        wire_put_json_duration(out, d->seconds, d->nanos);
    } else if (wire_is_wrapper(type)) {
        write_one(&type->fields[0], member(message, type->fields[0].offset), depth, out);
    } else if (json != WIRE_JSON_NONE) {
        write_json_message(json, message, depth, out);
    } else {
        buf_append_byte(out, '{');
        write_fields(message, true, depth, out);
        buf_append_byte(out, '}');
    }
}

void wire_to_json(const void *message, struct buf *out)
{
    wire_write_message(message, 1, out);
}
