// SPDX-License-Identifier: Apache-2.0
/* The Connect protocol's errors: codes, HTTP statuses, bodies; and what they say of a run. */
#include "wire/internal.h"

int wire_http_from_code(int code)
{
    static const short statuses[] = {
        [CODE_OK] = 200,
        [CODE_CANCELED] = 499,
        [CODE_UNKNOWN] = 500,
        [CODE_INVALID_ARGUMENT] = 400,
        [CODE_DEADLINE_EXCEEDED] = 504,
        [CODE_NOT_FOUND] = 404,
        [CODE_ALREADY_EXISTS] = 409,
        [CODE_PERMISSION_DENIED] = 403,
        [CODE_RESOURCE_EXHAUSTED] = 429,
        [CODE_FAILED_PRECONDITION] = 400,
        [CODE_ABORTED] = 409,
        [CODE_OUT_OF_RANGE] = 400,
        [CODE_UNIMPLEMENTED] = 501,
        [CODE_INTERNAL] = 500,
        [CODE_UNAVAILABLE] = 503,
        [CODE_DATA_LOSS] = 500,
        [CODE_UNAUTHENTICATED] = 401,
    };

    if (code < 0 || (size_t)code >= sizeof statuses / sizeof *statuses)
        return 500;
    return statuses[code];
}

/* Not the inverse of the above: an HTTP status without a body says less than a code. */
int wire_code_from_http(int http_status)
{
    switch (http_status) {
    case 400:
        return CODE_INTERNAL;
    case 401:
        return CODE_UNAUTHENTICATED;
    case 403:
        return CODE_PERMISSION_DENIED;
    case 404:
        return CODE_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return CODE_UNAVAILABLE;
    default:
        return CODE_UNKNOWN;
    }
}

void wire_connect_error(int code, const char *message, struct buf *out)
{
    buf_append_str(out, "{\"code\":\"");
    buf_append_str(out, code_name(code));
    buf_append_str(out, "\"");
    if (message && *message) {
        buf_append_str(out, ",\"message\":");
        wire_put_json_string(out, slice_str(message));
    }
    buf_append_str(out, "}");
}

bool wire_connect_error_parse(struct slice body, struct error *err)
{
    json_t *root = wire_json_parse(body, NULL);
    json_t *name = json_object_get(root, "code"), *message = json_object_get(root, "message");
    int code = json_is_string(name) ? code_from_name(json_string_value(name)) : -1;
    bool parsed = code > CODE_OK && (!message || json_is_string(message));

    if (parsed)
        error_set(err, code, "%s", message ? json_string_value(message) : "");
    json_decref(root);
    return parsed;
}

enum status wire_status_from_code(int code)
{
    switch (code) {
    case CODE_OK:
        return STATUS_OK;
    case CODE_CANCELED:
    case CODE_DEADLINE_EXCEEDED:
        return STATUS_TIMEOUT;
    case CODE_UNKNOWN:
    case CODE_INTERNAL:
    case CODE_UNAVAILABLE:
        return STATUS_TEMPORARY_ERROR;
    case CODE_INVALID_ARGUMENT:
    case CODE_OUT_OF_RANGE:
        return STATUS_INVALID_ARGUMENT;
    case CODE_NOT_FOUND:
    case CODE_UNIMPLEMENTED:
        return STATUS_NOT_FOUND;
    case CODE_PERMISSION_DENIED:
        return STATUS_PERMISSION_DENIED;
    case CODE_RESOURCE_EXHAUSTED:
        return STATUS_THROTTLED;
    case CODE_UNAUTHENTICATED:
        return STATUS_UNAUTHENTICATED;
    default:
        return STATUS_PERMANENT_ERROR;
    }
}

enum status wire_status_from_http(int http_status)
{
    switch (http_status) {
    case 200: /* but no RunResponse, or nobody would ask */
        return STATUS_INVALID_RESPONSE;
    case 400:
        return STATUS_INVALID_ARGUMENT;
    case 401:
        return STATUS_UNAUTHENTICATED;
    case 403:
        return STATUS_PERMISSION_DENIED;
    case 404:
        return STATUS_NOT_FOUND;
    case 408:
        return STATUS_TIMEOUT;
    case 429:
        return STATUS_THROTTLED;
    case 501:
        return STATUS_PERMANENT_ERROR;
    }
    switch (http_status / 100) {
    case 1:
    case 3:
    case 4:
        return STATUS_PERMANENT_ERROR;
    case 5:
        return STATUS_TEMPORARY_ERROR;
    default:
        return STATUS_UNSPECIFIED;
    }
}
