// SPDX-License-Identifier: Apache-2.0
/* An Any from JSON: {"@type": URL, fields...}, or {"@type": URL, "value": ...} if the type's JSON
 * is not an object of its fields; then packed, as an Any holds bytes. */
#include "google/protobuf/wrappers.pb-c.h"
#include "wire/internal.h"

static int any_copy(struct buf *packed, ProtobufCBinaryData *data, struct arena *arena,
                    struct error *err)
{
    char *copy = packed->failed ? NULL : arena_dup(arena, buf_slice(packed));

    if (!copy)
        return error_memory(err);
    data->data = (uint8_t *)copy;
    data->len = packed->len;
    return 0;
}

/* A type with its own JSON where a message would lose what follows a NUL. */
static int encode_direct(const ProtobufCMessageDescriptor *type, const json_t *json,
                         struct buf *packed, const struct wire_path *path, struct error *err)
{
    enum wire_json_type json_type = wire_json_type(type);
    struct error inner;
    int rc;

    if (json_type == WIRE_JSON_NONE) {
        if (!json_is_string(json))
            return wire_path_error(path, err, "expected a string, got %s", wire_json_kind(json));
        if (json_string_length(json) > 0)
            wire_put_bytes(packed, 1, wire_json_slice(json));
        return 0;
    }
    rc = wire_encode_json(json_type, json, 1, packed, &inner);
    return rc ? wire_path_error(path, err, "%s", inner.message) : 0;
}

static int encode_message(const ProtobufCMessageDescriptor *type, const json_t *json,
                          struct buf *packed, struct arena *arena, const struct wire_path *path,
                          int depth, struct error *err)
{
    ProtobufCMessage *message = wire_new_message(type, arena);
    int rc;

    if (!message)
        return error_memory(err);
    rc = wire_read_message(json, message, arena, path, depth, err);
    if (!rc)
        wire_pack(message, packed);
    return rc;
}

/* Of a type that we do not know: the bytes themselves. */
static int read_unknown(const json_t *value, ProtobufCBinaryData *data, struct arena *arena,
                        const struct wire_path *path, struct error *err)
{
    struct slice bytes = {0};
    int rc = 0;

    if (value && !json_is_string(value))
        return wire_path_error(path, err, "expected a string of base64, as the type is unknown");
    if (value)
        rc = wire_base64_decode(wire_json_slice(value), arena, &bytes);
    if (rc == CODE_INVALID_ARGUMENT)
        return wire_path_error(path, err, "not valid base64");
    if (rc)
        return error_memory(err);
    data->data = (uint8_t *)bytes.data;
    data->len = bytes.len;
    return 0;
}

int wire_read_any(const json_t *json, wire_any *any, struct arena *arena,
                  const struct wire_path *path, int depth, struct error *err)
{
    struct wire_path inside = {.up = path, .name = "value", .index = WIRE_NO_INDEX};
    const json_t *url = json_object_get(json, "@type"), *value = json_object_get(json, "value");
    const ProtobufCMessageDescriptor *type;
    struct buf packed;
    int rc;

    if (!json_is_object(json))
        return wire_path_error(path, err, "expected an object with \"@type\", got %s",
                               wire_json_kind(json));
    if (json_object_size(json) == 0)
        return 0;
    if (!json_is_string(url) || strlen(json_string_value(url)) != json_string_length(url))
        return wire_path_error(path, err, "has no \"@type\", a string that names the type");
    any->type_url = arena_dup(arena, wire_json_slice(url));
    if (!any->type_url)
        return error_memory(err);
    type = wire_find_type(wire_type_name(wire_json_slice(url)));
    if (!type)
        return read_unknown(value, &any->value, arena, &inside, err);
    if (wire_is_special(type) && !value)
        return wire_path_error(path, err, "has no \"value\", as a %s must", type->name);
    buf_init(&packed, arena->max);
    if (wire_json_type(type) != WIRE_JSON_NONE ||
        type == &google__protobuf__string_value__descriptor)
        rc = encode_direct(type, value, &packed, &inside, err);
    else if (wire_is_special(type))
        rc = encode_message(type, value, &packed, arena, &inside, depth + WIRE_ANY_DEPTH, err);
    else
        rc = encode_message(type, json, &packed, arena, path, depth + WIRE_ANY_DEPTH, err);
    if (!rc)
        rc = any_copy(&packed, &any->value, arena, err);
    buf_free(&packed);
    return rc;
}
