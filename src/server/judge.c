// SPDX-License-Identifier: Apache-2.0
/*
 * No response at all (the way there failed, which also slows the endpoint's group down), a Connect
 * error (its code tells more than the HTTP status that carries it), any other HTTP status, or a 200
 * that holds something else. A 413 is the one special case: the endpoint may well take a resume
 * with fewer results in it.
 */
#include "server/judge.h"

#include "wire/wire.h"

static enum status status_of_failure(enum net_failure failure)
{
    switch (failure) {
    case NET_DNS:
        return STATUS_DNS_ERROR;
    case NET_TCP:
        return STATUS_TCP_ERROR;
    case NET_TLS:
        return STATUS_TLS_ERROR;
    case NET_TIMEOUT:
        return STATUS_TIMEOUT;
    case NET_MALFORMED:
        return STATUS_INVALID_RESPONSE;
    case NET_UNSUPPORTED:
        return STATUS_HTTP_ERROR;
    case NET_FORBIDDEN:
        return STATUS_PERMISSION_DENIED;
    case NET_TEMPORARY:
    case NET_CANCELED:
    case NET_OK:
        break;
    }
    return STATUS_TEMPORARY_ERROR;
}

/* "connect to HOST:PORT: connection refused" without the part that says again where to. */
static const char *reason(const char *message)
{
    const char *colon = strstr(message, ": ");

    return colon ? colon + 2 : message;
}

static void judge_transport(const struct net_response *response, struct slice endpoint,
                            struct arena *arena, struct run_failure *failure)
{
    failure->status = status_of_failure(response->failure);
    failure->type = "transport";
    failure->transport = response->failure != NET_FORBIDDEN;
    failure->message =
        arena_printf(arena, "%.*s: %s", SLICE_FMT(endpoint), reason(response->message));
    if (!failure->message)
        failure->message = response->message;
}

/* Another HTTP status than 200. */
static void judge_http(const struct net_response *response, struct slice endpoint,
                       struct arena *arena, struct run_failure *failure)
{
    struct slice type = net_header_get(response->headers, response->header_count, "content-type");
    struct error error;

    if (type.len >= 16 && memcmp(type.data, "application/json", 16) == 0 &&
        wire_connect_error_parse(response->body, &error)) {
        failure->status = wire_status_from_code(error.code);
        failure->type = code_name(error.code);
        failure->message =
            arena_printf(arena, "%.*s: HTTP status %d: %s", SLICE_FMT(endpoint), response->status,
                         error.message[0] ? error.message : failure->type);
    } else {
        failure->status = wire_status_from_http(response->status);
        failure->type = "http";
        failure->message = arena_printf(
            arena, "%.*s: HTTP status %d%s", SLICE_FMT(endpoint), response->status,
            response->status / 100 == 3 ? ": redirects are not followed; give the URL it leads to"
                                        : "");
    }
    if (response->status == 413) {
        failure->status = STATUS_TEMPORARY_ERROR;
        failure->too_large = true;
    }
}

static bool is_run_response(const struct net_response *response)
{
    struct slice type = net_header_get(response->headers, response->header_count, "content-type");
    struct slice encoding =
        net_header_get(response->headers, response->header_count, "content-encoding");
    static const char wanted[] = "application/proto";
    size_t len = sizeof wanted - 1;

    if (encoding.len && !slice_eq_str(encoding, "identity"))
        return false;
    return type.len >= len && memcmp(type.data, wanted, len) == 0 &&
           (type.len == len || ((const char *)type.data)[len] == ';');
}

void judge_malformed(const struct error *why, struct slice endpoint, struct arena *arena,
                     struct run_failure *failure)
{
    if (why->code == CODE_RESOURCE_EXHAUSTED)
        failure->status = STATUS_TEMPORARY_ERROR;
    failure->message = arena_printf(arena, "%.*s: the response is not a RunResponse: %s",
                                    SLICE_FMT(endpoint), why->message);
}

bool judge_response(const struct net_response *response, struct slice endpoint, struct arena *arena,
                    wire_run_response **message, struct run_failure *failure)
{
    struct error err;

    *failure = (struct run_failure){.status = STATUS_INVALID_RESPONSE, .type = "invalid response"};
    if (response->failure != NET_OK) {
        judge_transport(response, endpoint, arena, failure);
        return false;
    }
    failure->http_status = response->status;
    if (response->status != 200) {
        judge_http(response, endpoint, arena, failure);
    } else if (!is_run_response(response)) {
        failure->message = arena_printf(
            arena, "%.*s: the response is not of type application/proto", SLICE_FMT(endpoint));
    } else if (wire_unpack(&dispatch__sdk__v1__run_response__descriptor, response->body, arena,
                           message, &err)) {
        judge_malformed(&err, endpoint, arena, failure);
    } else {
        return true;
    }
    if (!failure->message)
        failure->message = "out of memory";
    return false;
}
