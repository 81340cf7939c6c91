// SPDX-License-Identifier: Apache-2.0
/*
 * Canonical proto JSON to messages, driven by their descriptors. Jansson makes a tree of the text
 * first, so that duplicate keys and bad UTF-8 are out of the way; then each key finds its field.
 */
#include "wire/internal.h"

#include <assert.h>

/* "poll_result" or "pollResult" for the field poll_result. */
static bool names_field(const char *key, size_t key_len, const char *name)
{
    size_t i = 0;

    if (strlen(name) == key_len && memcmp(name, key, key_len) == 0)
        return true;
    for (; *name && i < key_len; name++, i++) {
        char c = *name;

        if (c == '_' && name[1] >= 'a' && name[1] <= 'z')
            c = (char)(*++name - 'a' + 'A');
        if (key[i] != c)
            return false;
    }
    return *name == '\0' && i == key_len;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, void *it)
{
    const char *key = json_object_iter_key(it);
    size_t len = json_object_iter_key_len(it);

    for (unsigned i = 0; i < type->n_fields; i++)
        if (names_field(key, len, type->fields[i].name))
            return &type->fields[i];
    return NULL;
}

static void *member(ProtobufCMessage *message, size_t offset)
{
    return (char *)message + offset;
}

ProtobufCMessage *wire_new_message(const ProtobufCMessageDescriptor *type, struct arena *arena)
{
    ProtobufCMessage *message = arena_alloc(arena, type->sizeof_message);

    if (message)
        type->message_init(message);
    return message;
}

/* For the special types, whose one JSON value fails without a path. */
static int place(const struct wire_path *path, int code, const struct error *inner,
                 struct error *err)
{
    if (code != CODE_INVALID_ARGUMENT)
        return error_set(err, code, "%s", inner->message);
    return wire_path_error(path, err, "%s", inner->message);
}

static int read_enum(const json_t *json, const ProtobufCEnumDescriptor *type, int *number,
                     const struct wire_path *path, struct error *err)
{
    if (json_is_integer(json) && json_integer_value(json) >= INT32_MIN &&
        json_integer_value(json) <= INT32_MAX) {
        *number = (int)json_integer_value(json);
        return 0;
    }
    if (json_is_string(json)) {
        const char *name = json_string_value(json);
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(type, name);

        if (!value || strlen(name) != json_string_length(json))
            return wire_path_error(path, err, "\"%.64s\" is no value of %s", name, type->name);
        *number = value->value;
        return 0;
    }
    return wire_path_error(path, err, "expected the name or number of a %s, got %s", type->name,
                           wire_json_kind(json));
}

static int read_string(const json_t *json, char **text, struct arena *arena,
                       const struct wire_path *path, struct error *err)
{
    if (!json_is_string(json))
        return wire_path_error(path, err, "expected a string, got %s", wire_json_kind(json));
    if (strlen(json_string_value(json)) != json_string_length(json))
        return wire_path_error(path, err, "contains a NUL character");
    *text = arena_dup(arena, wire_json_slice(json));
    return *text ? 0 : error_memory(err);
}

static int read_bytes(const json_t *json, ProtobufCBinaryData *data, struct arena *arena,
                      const struct wire_path *path, struct error *err)
{
    struct slice bytes;
    int rc;

    if (!json_is_string(json))
        return wire_path_error(path, err, "expected a string of base64, got %s",
                               wire_json_kind(json));
    rc = wire_base64_decode(wire_json_slice(json), arena, &bytes);
    if (rc == CODE_INVALID_ARGUMENT)
        return wire_path_error(path, err, "not valid base64");
    if (rc)
        return error_memory(err);
    data->data = (uint8_t *)bytes.data;
    data->len = bytes.len;
    return 0;
}

static int read_submessage(const json_t *json, const ProtobufCMessageDescriptor *type,
                           ProtobufCMessage **slot, struct arena *arena,
                           const struct wire_path *path, int depth, struct error *err)
{
    ProtobufCMessage *message = wire_new_message(type, arena);
    int rc;

    if (!message)
        return error_memory(err);
    rc = wire_read_message(json, message, arena, path, depth + 1, err);
    if (!rc)
        *slot = message;
    return rc;
}

static int read_one(const json_t *json, const ProtobufCFieldDescriptor *field, void *slot,
                    struct arena *arena, const struct wire_path *path, int depth, struct error *err)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(json))
            return wire_path_error(path, err, "expected a boolean, got %s", wire_json_kind(json));
        *(protobuf_c_boolean *)slot = json_is_true(json);
        return 0;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(json, field->descriptor, slot, path, err);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(json, slot, arena, path, err);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(json, slot, arena, path, err);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_submessage(json, field->descriptor, slot, arena, path, depth, err);
    default:
        return wire_read_number(json, field->type, slot, path, err);
    }
}

static int read_repeated(const json_t *json, const ProtobufCFieldDescriptor *field,
                         ProtobufCMessage *message, struct arena *arena, struct wire_path *path,
                         int depth, struct error *err)
{
    size_t count = json_array_size(json), size = wire_element_size(field->type);
    char *elements;
    int rc;

    if (!json_is_array(json))
        return wire_path_error(path, err, "expected an array, got %s", wire_json_kind(json));
    if (count == 0)
        return 0;
    elements = arena_zalloc(arena, count, size);
    if (!elements)
        return error_memory(err);
    for (size_t i = 0; i < count; i++) {
        path->index = i;
        rc = read_one(json_array_get(json, i), field, elements + i * size, arena, path, depth, err);
        if (rc)
            return rc;
    }
    *(size_t *)member(message, field->quantifier_offset) = count;
    *(void **)member(message, field->offset) = elements;
    return 0;
}

/* True if null stands for a value of the field, and not for its absence. */
static bool takes_null(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE &&
           wire_json_type(field->descriptor) == WIRE_JSON_VALUE;
}

static int read_field(const json_t *json, const ProtobufCFieldDescriptor *field,
                      ProtobufCMessage *message, struct arena *arena, const struct wire_path *up,
                      int depth, struct error *err)
{
    struct wire_path path = {.up = up, .name = field->name, .index = WIRE_NO_INDEX};
    uint32_t *chosen;
    int rc;

    if (json_is_null(json) && !takes_null(field))
        return 0;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return read_repeated(json, field, message, arena, &path, depth, err);
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return read_one(json, field, member(message, field->offset), arena, &path, depth, err);
    chosen = member(message, field->quantifier_offset);
    if (*chosen != 0)
        return wire_path_error(
            &path, err, "excludes %s, which is set too",
            protobuf_c_message_descriptor_get_field(message->descriptor, *chosen)->name);
    rc = read_one(json, field, member(message, field->offset), arena, &path, depth, err);
    if (!rc)
        *chosen = field->id;
    return rc;
}

static int read_fields(const json_t *json, ProtobufCMessage *message, struct arena *arena,
                       const struct wire_path *path, int depth, struct error *err)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    uint64_t seen = 0;

    assert(type->n_fields <= 64);
    if (!json_is_object(json))
        return wire_path_error(path, err, "expected an object, got %s", wire_json_kind(json));
    for (void *it = json_object_iter((json_t *)json); it;
         it = json_object_iter_next((json_t *)json, it)) {
        const ProtobufCFieldDescriptor *field = find_field(type, it);
        uint64_t bit;
        int rc;

        if (!field)
            continue;
        bit = UINT64_C(1) << (field - type->fields);
        if (seen & bit)
            return wire_path_error(path, err, "has %s twice, by both of its names", field->name);
        seen |= bit;
        rc = read_field(json_object_iter_value(it), field, message, arena, path, depth, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* A Value, Struct or ListValue that stands as a message, not in an Any. */
static int read_json_message(enum wire_json_type type, const json_t *json,
                             ProtobufCMessage *message, struct arena *arena, int depth,
                             struct error *err)
{
    ProtobufCMessage *unpacked;
    struct buf packed;
    int rc;

    buf_init(&packed, arena->max);
    rc = wire_encode_json(type, json, depth, &packed, err);
    if (!rc && packed.failed)
        rc = error_memory(err);
    if (!rc)
        rc = wire_unpack(message->descriptor, buf_slice(&packed), arena, &unpacked, err);
    if (!rc)
        memcpy(message, unpacked, message->descriptor->sizeof_message);
    buf_free(&packed);
    return rc;
}

/* A time as a string, by whichever of the two parsers. */
static int read_time(const json_t *json, bool (*parse)(struct slice, int64_t *, int32_t *),
                     const char *example, int64_t *seconds, int32_t *nanos,
                     const struct wire_path *path, struct error *err)
{
    if (!json_is_string(json))
        return wire_path_error(path, err, "expected a string like \"%s\", got %s", example,
                               wire_json_kind(json));
    if (!parse(wire_json_slice(json), seconds, nanos))
        return wire_path_error(path, err, "\"%.64s\" is not of the form \"%s\", or out of range",
                               json_string_value(json), example);
    return 0;
}

int wire_read_message(const json_t *json, ProtobufCMessage *message, struct arena *arena,
                      const struct wire_path *path, int depth, struct error *err)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    enum wire_json_type json_type = wire_json_type(type);
    struct error inner;
    int rc;

    if (depth > WIRE_DEPTH_MAX)
        return wire_path_error(path, err, "messages are nested more than %d deep", WIRE_DEPTH_MAX);
    if (type == &google__protobuf__any__descriptor)
        return wire_read_any(json, (wire_any *)message, arena, path, depth, err);
    if (type == &google__protobuf__timestamp__descriptor) {
        wire_timestamp *t = (wire_timestamp *)message;

        return read_time(json, wire_parse_timestamp, "2024-02-29T12:00:00.5Z", &t->seconds,
                         &t->nanos, path, err);
    }
    if (type == &google__protobuf__duration__descriptor) {
        wire_duration *d = (wire_duration *)message;

        return read_time(json, wire_parse_duration, "1.5s", &d->seconds, &d->nanos, path, err);
    }
    if (wire_is_wrapper(type))
        return read_one(json, &type->fields[0], member(message, type->fields[0].offset), arena,
                        path, depth, err);
    if (json_type == WIRE_JSON_NONE)
        return read_fields(json, message, arena, path, depth, err);
    rc = read_json_message(json_type, json, message, arena, depth, &inner);
    return rc ? place(path, rc, &inner, err) : 0;
}

int wire_from_json(const ProtobufCMessageDescriptor *type, struct slice json, struct arena *arena,
                   void *message, struct error *err)
{
    ProtobufCMessage *result = wire_new_message(type, arena);
    struct error why = {.code = CODE_INVALID_ARGUMENT};
    json_t *root;
    int rc;

    if (!result)
        return error_memory(err);
    root = wire_json_parse(json, &why);
    if (!root)
        return error_set(err, why.code, "%s", why.message);
    rc = wire_read_message(root, result, arena, NULL, 1, err);
    if (!rc)
        memcpy(message, &result, sizeof result);
    json_decref(root);
    return rc;
}
