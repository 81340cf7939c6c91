// SPDX-License-Identifier: Apache-2.0
/*
 * Messages to bytes and back through protobuf-c. What is nearly always there is unpacked in one
 * walk (fill.c). For the rest, and all that is wrong, the bytes are walked twice: the first walk
 * needs no memory and finds everything that may be wrong, with its place; protobuf-c, which
 * recurses without a bound, does not look into strings and says only "no", then sees good messages
 * alone.
 *
 * A NUL is legal in a protobuf string and impossible in a C string. It is refused, save in the
 * texts of an Error, which come from anybody's exceptions and are read by people: there it becomes
 * a space, as the loss of an error would be worse than the loss of a NUL.
 */
#include "wire/internal.h"

struct check {
    struct error *err;
    bool nul;   /* some text of an Error has a NUL */
    bool patch; /* the bytes are a copy of ours: make spaces of them */
};

static ProtobufCWireType wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

static bool packed_ok(struct slice bytes, ProtobufCWireType type)
{
    uint64_t value;

    switch (type) {
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        return bytes.len % 4 == 0;
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        return bytes.len % 8 == 0;
    default:
        while (bytes.len > 0)
            if (!slice_get_varint(&bytes, &value))
                return false;
        return true;
    }
}

static void blank_nuls(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\0')
            text[i] = ' ';
}

static int check_string(struct check *check, const ProtobufCMessageDescriptor *type,
                        struct slice text, const struct wire_path *path)
{
    if (text.len == 0)
        return 0;
    if (!slice_is_utf8(text))
        return wire_path_error(path, check->err, "not valid UTF-8");
    if (memchr(text.data, '\0', text.len)) {
        if (type != &dispatch__sdk__v1__error__descriptor)
            return wire_path_error(path, check->err, "contains a NUL character");
        check->nul = true;
        if (check->patch)
            blank_nuls((char *)text.data, text.len);
    }
    return 0;
}

static int check_message(struct check *check, const ProtobufCMessageDescriptor *type,
                         struct slice bytes, const struct wire_path *path, int depth);

static int check_field(struct check *check, const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *known, const struct wire_field *field,
                       const struct wire_path *path, int depth)
{
    ProtobufCWireType expected = wire_type_of(known->type);

    if (field->type != expected) {
        if (known->label == PROTOBUF_C_LABEL_REPEATED &&
            field->type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
            packed_ok(field->bytes, expected))
            return 0;
        return wire_path_error(path, check->err, "malformed: of another type than this field");
    }
    if (known->type == PROTOBUF_C_TYPE_STRING)
        return check_string(check, type, field->bytes, path);
    if (known->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_message(check, known->descriptor, field->bytes, path, depth + 1);
    return 0;
}

static int check_message(struct check *check, const ProtobufCMessageDescriptor *type,
                         struct slice bytes, const struct wire_path *path, int depth)
{
    struct slice in = bytes;
    int rc;

    if (depth > WIRE_DEPTH_MAX)
        return wire_path_error(path, check->err, "messages are nested more than %d deep",
                               WIRE_DEPTH_MAX);
    while (in.len > 0) {
        const ProtobufCFieldDescriptor *known;
        size_t offset = bytes.len - in.len;
        struct wire_field field;

        if (!wire_next_field(&in, &field))
            return wire_path_error(path, check->err, "malformed or cut short at byte %zu of %s",
                                   offset, type->name);
        known = protobuf_c_message_descriptor_get_field(type, field.number);
        if (!known)
            continue;
        struct wire_path step = {
            .up = path,
            .name = known->name,
            .index = known->label == PROTOBUF_C_LABEL_REPEATED ? WIRE_COUNT_INDEX : WIRE_NO_INDEX,
            .before = slice(bytes.data, offset),
            .number = field.number,
        };
        rc = check_field(check, type, known, &field, &step, depth);
        if (rc)
            return rc;
    }
    return 0;
}

/* --- memory ----------------------------------------------------------------------------------- */

struct arena_allocator {
    struct arena *arena;
    bool failed;
};

static void *allocate(void *data, size_t size)
{
    struct arena_allocator *a = data;
    void *memory = arena_alloc(a->arena, size);

    if (!memory)
        a->failed = true;
    return memory;
}

static void release(void *data, void *memory)
{
    (void)data;
    (void)memory;
}

/* A copy of the bytes without NULs in texts. It was checked before: it cannot fail but for memory.
 */
static int without_nuls(const ProtobufCMessageDescriptor *type, struct slice *bytes,
                        struct arena *arena)
{
    struct check check = {.patch = true};
    char *copy = arena_dup(arena, *bytes);

    if (!copy)
        return CODE_RESOURCE_EXHAUSTED;
    *bytes = slice(copy, bytes->len);
    return check_message(&check, type, *bytes, NULL, 1);
}

int wire_unpack_any_case(const ProtobufCMessageDescriptor *type, struct slice bytes,
                         struct arena *arena, ProtobufCMessage **message, struct error *err)
{
    struct arena_allocator data = {.arena = arena};
    ProtobufCAllocator allocator = {allocate, release, &data};
    struct check check = {.err = err};
    int rc;

    rc = check_message(&check, type, bytes, NULL, 1);
    if (rc)
        return rc;
    if (check.nul && without_nuls(type, &bytes, arena))
        return error_memory(err);
    *message = protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.data);
    if (*message)
        return 0;
    return data.failed ? error_memory(err)
                       : error_set(err, CODE_INVALID_ARGUMENT, "malformed %s", type->name);
}

int wire_unpack(const ProtobufCMessageDescriptor *type, struct slice bytes, struct arena *arena,
                void *message, struct error *err)
{
    ProtobufCMessage *unpacked = wire_fill(type, bytes, arena);
    int rc = unpacked ? 0 : wire_unpack_any_case(type, bytes, arena, &unpacked, err);

    if (!rc)
        memcpy(message, &unpacked, sizeof unpacked);
    return rc;
}

void wire_pack(const void *message, struct buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *room = buf_extend(out, size);

    if (room)
        protobuf_c_message_pack(message, room);
}

struct blob *wire_pack_blob(const void *message)
{
    struct blob *blob = blob_new(protobuf_c_message_get_packed_size(message));

    if (blob)
        protobuf_c_message_pack(message, blob->data);
    return blob;
}
