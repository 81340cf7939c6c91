// SPDX-License-Identifier: Apache-2.0
/*
 * Unpacking what nearly every message is, in one walk: fields that we know, of the types that our
 * messages have, each that is not repeated once. Whatever else there may be, rightly or wrongly, is
 * left to protobuf-c and the checks before it (pack.c): there is no error here, but only "not I".
 */
#include "wire/internal.h"

/* The field of that number, from the place where the last one was found; NULL: unknown. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  uint32_t number, unsigned *at)
{
    while (*at < type->n_fields && type->fields[*at].id < number)
        ++*at;
    if (*at < type->n_fields && type->fields[*at].id == number)
        return &type->fields[*at];
    return protobuf_c_message_descriptor_get_field(type, number);
}

/* Takes note of the field's presence; false: it, or another of its oneof, was there before. */
static bool mark(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    void *quantifier = (char *)message + field->quantifier_offset;

    if (field->quantifier_offset == 0)
        return true;
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        *(protobuf_c_boolean *)quantifier = true;
        return true;
    }
    if (*(uint32_t *)quantifier != 0)
        return false;
    *(uint32_t *)quantifier = field->id;
    return true;
}

static bool fill_scalar(void *at, ProtobufCType type, const struct wire_field *field)
{
    uint32_t low = (uint32_t)field->scalar;

    if (field->type == PROTOBUF_C_WIRE_TYPE_VARINT) {
        switch (type) {
        case PROTOBUF_C_TYPE_INT32:
        case PROTOBUF_C_TYPE_UINT32:
        case PROTOBUF_C_TYPE_ENUM:
            memcpy(at, &low, sizeof low);
            return true;
        case PROTOBUF_C_TYPE_INT64:
        case PROTOBUF_C_TYPE_UINT64:
            memcpy(at, &field->scalar, sizeof field->scalar);
            return true;
        case PROTOBUF_C_TYPE_BOOL:
            *(protobuf_c_boolean *)at = field->scalar != 0;
            return true;
        default:
            return false;
        }
    }
    if (field->type == PROTOBUF_C_WIRE_TYPE_64BIT && type == PROTOBUF_C_TYPE_DOUBLE) {
        memcpy(at, &field->scalar, sizeof field->scalar);
        return true;
    }
    return false;
}

static bool fill_string(void *at, struct slice text, struct arena *arena)
{
    char *copy = slice_is_utf8(text) && !(text.len && memchr(text.data, '\0', text.len))
                     ? arena_dup(arena, text)
                     : NULL;

    *(char **)at = copy;
    return copy;
}

static bool fill_bytes(void *at, struct slice bytes, struct arena *arena)
{
    ProtobufCBinaryData *data = at;

    *data = (ProtobufCBinaryData){0};
    if (bytes.len == 0)
        return true;
    data->data = arena_alloc(arena, bytes.len);
    data->len = bytes.len;
    if (data->data)
        memcpy(data->data, bytes.data, bytes.len);
    return data->data;
}

static ProtobufCMessage *fill(const ProtobufCMessageDescriptor *type, struct slice bytes,
                              struct arena *arena, int depth);

/* `at`: where the value goes. */
static bool fill_value(void *at, const ProtobufCFieldDescriptor *known,
                       const struct wire_field *field, struct arena *arena, int depth)
{
    bool counted = field->type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;

    switch (known->type) {
    case PROTOBUF_C_TYPE_STRING:
        return counted && fill_string(at, field->bytes, arena);
    case PROTOBUF_C_TYPE_BYTES:
        return counted && fill_bytes(at, field->bytes, arena);
    case PROTOBUF_C_TYPE_MESSAGE:
        return counted && (*(ProtobufCMessage **)at =
                               fill(known->descriptor, field->bytes, arena, depth + 1)) != NULL;
    default:
        return fill_scalar(at, known->type, field);
    }
}

/* A message that comes twice is to be merged. */
static bool fill_single(ProtobufCMessage *message, const ProtobufCFieldDescriptor *known,
                        const struct wire_field *field, struct arena *arena, int depth)
{
    void *at = (char *)message + known->offset;

    if (!mark(message, known) || (known->type == PROTOBUF_C_TYPE_MESSAGE && *(void **)at))
        return false;
    return fill_value(at, known, field, arena, depth);
}

/* Gives the repeated field an array of as many as there are; false: not of strings or messages. */
static bool make_array(ProtobufCMessage *message, const ProtobufCFieldDescriptor *known,
                       struct slice bytes, struct arena *arena)
{
    struct wire_field field;
    size_t count = 0;

    if (known->type != PROTOBUF_C_TYPE_STRING && known->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    while (bytes.len > 0) {
        if (!wire_next_field(&bytes, &field))
            return false;
        count += field.number == known->id;
    }
    *(void **)((char *)message + known->offset) = arena_alloc(arena, count * sizeof(void *));
    return *(void **)((char *)message + known->offset);
}

static bool fill_repeated(ProtobufCMessage *message, const ProtobufCFieldDescriptor *known,
                          const struct wire_field *field, struct slice rest, struct arena *arena,
                          int depth)
{
    size_t *count = (size_t *)(void *)((char *)message + known->quantifier_offset);
    void **elements;

    if (*count == 0 && !make_array(message, known, rest, arena))
        return false;
    elements = *(void ***)(void *)((char *)message + known->offset);
    if (!fill_value(&elements[*count], known, field, arena, depth))
        return false;
    ++*count;
    return true;
}

static ProtobufCMessage *fill(const ProtobufCMessageDescriptor *type, struct slice bytes,
                              struct arena *arena, int depth)
{
    ProtobufCMessage *message = depth <= WIRE_DEPTH_MAX ? wire_new_message(type, arena) : NULL;
    unsigned at = 0;

    if (!message)
        return NULL;
    while (bytes.len > 0) {
        const ProtobufCFieldDescriptor *known;
        struct slice rest = bytes; /* from this field on */
        struct wire_field field;
        bool filled;

        known = wire_next_field(&bytes, &field) ? find_field(type, field.number, &at) : NULL;
        if (!known)
            return NULL;
        if (known->label == PROTOBUF_C_LABEL_REPEATED)
            filled = fill_repeated(message, known, &field, rest, arena, depth);
        else
            filled = fill_single(message, known, &field, arena, depth);
        if (!filled)
            return NULL;
    }
    return message;
}

ProtobufCMessage *wire_fill(const ProtobufCMessageDescriptor *type, struct slice bytes,
                            struct arena *arena)
{
    return fill(type, bytes, arena, 1);
}
