// SPDX-License-Identifier: Apache-2.0
/* Encoded messages field by field, and the paths that errors name. */
#include "wire/internal.h"

#include <endian.h>
#include <stdio.h>

static bool next_fixed32(struct slice *in, uint64_t *value)
{
    uint32_t raw;

    if (in->len < sizeof raw)
        return false;
    memcpy(&raw, in->data, sizeof raw);
    *value = le32toh(raw);
    *in = slice((const uint8_t *)in->data + sizeof raw, in->len - sizeof raw);
    return true;
}

bool wire_next_field(struct slice *in, struct wire_field *field)
{
    uint64_t tag;

    if (!slice_get_varint(in, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
        return false;
    field->number = (uint32_t)tag >> 3;
    switch (tag & 7) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        field->type = PROTOBUF_C_WIRE_TYPE_VARINT;
        return slice_get_varint(in, &field->scalar);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        field->type = PROTOBUF_C_WIRE_TYPE_64BIT;
        return slice_get_u64(in, &field->scalar);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        field->type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
        return slice_get_bytes(in, &field->bytes);
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        field->type = PROTOBUF_C_WIRE_TYPE_32BIT;
        return next_fixed32(in, &field->scalar);
    default: /* groups, which no message of ours has */
        return false;
    }
}

void wire_put_tag(struct buf *out, uint32_t number, ProtobufCWireType type)
{
    buf_put_varint(out, number << 3 | (uint32_t)type);
}

void wire_put_bytes(struct buf *out, uint32_t number, struct slice bytes)
{
    wire_put_tag(out, number, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    buf_put_bytes(out, bytes);
}

enum { PATH_MAX_TEXT = 256, PATH_MAX_STEPS = 8 };

static size_t step_index(const struct wire_path *step)
{
    struct slice in = step->before;
    struct wire_field field;
    size_t count = 0;

    if (step->index != WIRE_COUNT_INDEX)
        return step->index;
    while (in.len > 0 && wire_next_field(&in, &field))
        count += field.number == step->number;
    return count;
}

/* Only the innermost steps are shown of a very long path. */
static void format_path(const struct wire_path *path, char text[PATH_MAX_TEXT])
{
    const struct wire_path *steps[PATH_MAX_STEPS];
    size_t count = 0, len = 0;

    for (; path && count < PATH_MAX_STEPS; path = path->up)
        steps[count++] = path;
    if (path)
        len = (size_t)snprintf(text, PATH_MAX_TEXT, "...");
    text[len] = '\0';
    while (count > 0 && len < PATH_MAX_TEXT) {
        const struct wire_path *step = steps[--count];
        int n = snprintf(text + len, PATH_MAX_TEXT - len, "%s%s", len ? "." : "", step->name);

        len += n > 0 ? (size_t)n : 0;
        if (step->index != WIRE_NO_INDEX && len < PATH_MAX_TEXT) {
            n = snprintf(text + len, PATH_MAX_TEXT - len, "[%zu]", step_index(step));
            len += n > 0 ? (size_t)n : 0;
        }
    }
}

int wire_path_error(const struct wire_path *path, struct error *err, const char *format, ...)
{
    char message[ERROR_MESSAGE_MAX], where[PATH_MAX_TEXT];
    va_list args;

    if (!err)
        return CODE_INVALID_ARGUMENT;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (!path)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s", message);
    format_path(path, where);
    return error_set(err, CODE_INVALID_ARGUMENT, "%s: %s", where, message);
}
