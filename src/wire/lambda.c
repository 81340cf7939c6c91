// SPDX-License-Identifier: Apache-2.0
/* What goes through AWS Lambda (protocol 3.1, 3.2): a message as a JSON string of base64; and what
 * a function that failed, or the service itself, says of it in JSON. */
#include "wire/internal.h"

struct blob *wire_lambda_payload(const void *message)
{
    struct buf bytes, text;
    struct blob *blob = NULL;

    buf_init(&bytes, SIZE_MAX / 4);
    buf_init(&text, SIZE_MAX / 2);
    wire_pack(message, &bytes);
    if (!bytes.failed)
        wire_put_json_base64(&text, buf_slice(&bytes));
    if (!bytes.failed && !text.failed)
        blob = blob_copy(buf_slice(&text));
    buf_free(&bytes);
    buf_free(&text);
    return blob;
}

int wire_lambda_unpack(const ProtobufCMessageDescriptor *type, struct slice payload,
                       struct arena *arena, void *message, struct error *err)
{
    struct slice bytes = {0};
    struct error why;
    json_t *json = wire_json_parse(payload, &why);
    int code;

    if (!json)
        return error_set(err, why.code, "%s", why.message);
    if (!json_is_string(json))
        code = error_set(err, CODE_INVALID_ARGUMENT, "expected a string of base64, got %s",
                         wire_json_kind(json));
    else if ((code = wire_base64_decode(wire_json_slice(json), arena, &bytes)) != 0)
        error_set(err, code,
                  code == CODE_RESOURCE_EXHAUSTED ? "out of memory" : "the string is not base64");
    json_decref(json);
    return code ? code : wire_unpack(type, bytes, arena, message, err);
}

static const char *text_of(const json_t *json, const char *const names[], size_t count,
                           struct arena *arena)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_object_get(json, names[i]);

        if (json_is_string(text))
            return arena_dup(arena, slice_str(json_string_value(text)));
    }
    return NULL;
}

void wire_lambda_error(struct slice payload, struct arena *arena, const char **type,
                       const char **message)
{
    static const char *const types[] = {"errorType", "Type"};
    static const char *const messages[] = {"errorMessage", "message", "Message"};
    json_t *json = wire_json_parse(payload, NULL);

    *type = text_of(json, types, 2, arena);
    *message = text_of(json, messages, 3, arena);
    json_decref(json);
}
