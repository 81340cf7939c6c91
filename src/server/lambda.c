// SPDX-License-Identifier: Apache-2.0
/*
 * An invocation that went well is a 200 with a RunResponse in it. A function that failed is a 200,
 * too, with a header that says so: it ran, and may do better the next time, unless it did not
 * understand the request. All else is an answer of the service's.
 */
#include "server/lambda.h"

#include <string.h>

#include "server/judge.h"
#include "wire/wire.h"

#define API      "/2015-03-31/functions/"
#define API_TAIL "/invocations"
#define ARN      "arn:aws:lambda:"

/* What comes behind ARN: region, account, "function", name, and maybe a qualifier. */
enum { NAME = 3, QUALIFIER = 4, PARTS = 5 };

int lambda_url(const char *text, struct net_url *url, struct error *err)
{
    int code = net_url_parse(slice_str(text), url, err);

    if (code == CODE_OK && !slice_eq_str(url->scheme, "http") &&
        !slice_eq_str(url->scheme, "https"))
        return error_set(err, CODE_INVALID_ARGUMENT, "it is no http:// or https:// URL");
    return code;
}

static bool ends_with(struct slice text, const char *tail)
{
    size_t len = strlen(tail);

    return text.len >= len && memcmp((const char *)text.data + text.len - len, tail, len) == 0;
}

/* Letters, digits, and what else names and versions of functions have. */
static bool plain(struct slice part)
{
    const char *p = part.data;

    for (size_t i = 0; i < part.len; i++) {
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z') ||
              (p[i] >= '0' && p[i] <= '9') || p[i] == '-' || p[i] == '_' || p[i] == '$'))
            return false;
    }
    return part.len > 0;
}

/* How many parts there are; 0: it is no ARN of a function. */
static size_t split(struct slice arn)
{
    const char *at = arn.data, *end = at + arn.len;
    size_t count = 0;

    if (arn.len < sizeof ARN - 1 || memcmp(at, ARN, sizeof ARN - 1) != 0)
        return 0;
    at += sizeof ARN - 1;
    for (const char *colon; at; at = colon ? colon + 1 : NULL, count++) {
        struct slice part;

        colon = memchr(at, ':', (size_t)(end - at));
        part = slice(at, (size_t)((colon ? colon : end) - at));
        if (count == PARTS || !plain(part))
            return 0;
        if (count == NAME - 1 && !slice_eq_str(part, "function"))
            return 0;
    }
    return count > NAME ? count : 0;
}

/* As AWS's own clients do. */
static void put_escaped(struct buf *out, struct slice text)
{
    const char *p = text.data;

    for (size_t i = 0; i < text.len; i++) {
        if (p[i] == ':')
            buf_append_str(out, "%3A");
        else if (p[i] == '$')
            buf_append_str(out, "%24");
        else
            buf_append_byte(out, (uint8_t)p[i]);
    }
}

static void put_query(struct buf *out, char mark, const char *name, struct slice value)
{
    if (value.len == 0)
        return;
    buf_append_byte(out, (uint8_t)mark);
    buf_append_str(out, name);
    if (*name)
        put_escaped(out, value);
    else
        buf_append_slice(out, value);
}

int lambda_target(const struct net_url *url, struct slice arn, struct slice version,
                  struct arena *arena, struct slice *target, struct error *err)
{
    struct slice prefix = url->path;
    size_t parts = split(arn);
    struct buf out;

    if (!parts)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%.*s: a function's ARN is arn:aws:lambda:REGION:ACCOUNT:function:NAME, "
                         "maybe with :VERSION behind it",
                         SLICE_FMT(arn));
    if (parts > QUALIFIER)
        version = (struct slice){0};
    else if (version.len && !plain(version))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%.*s: a function's version has letters, digits, '-', '_' and '$' only",
                         SLICE_FMT(arn));
    buf_init(&out, (size_t)1 << 16);
    if (ends_with(prefix, API_TAIL)) {
        buf_append_slice(&out, prefix);
    } else {
        while (prefix.len && ends_with(prefix, "/"))
            prefix.len--;
        buf_append_slice(&out, prefix);
        buf_append_str(&out, API);
        put_escaped(&out, arn);
        buf_append_str(&out, API_TAIL);
    }
    put_query(&out, '?', "", url->query);
    put_query(&out, url->query.len ? '&' : '?', "Qualifier=", version);
    *target = slice(out.failed ? NULL : arena_dup(arena, buf_slice(&out)), out.len);
    buf_free(&out);
    return target->data ? CODE_OK : error_memory(err);
}

/* --- what came back --------------------------------------------------------------------------- */

static enum status status_of_error(const char *type)
{
    if (strstr(type, "Timedout"))
        return STATUS_TIMEOUT;
    if (strcmp(type, "Bad Request") == 0) /* what the SDK for Go says of a request it cannot read */
        return STATUS_INVALID_ARGUMENT;
    return STATUS_TEMPORARY_ERROR;
}

static void judge_function_error(struct slice payload, struct slice endpoint, struct arena *arena,
                                 struct run_failure *failure)
{
    const char *type, *message;

    wire_lambda_error(payload, arena, &type, &message);
    failure->type = type ? type : "lambda";
    failure->status = status_of_error(failure->type);
    failure->message = arena_printf(arena, "%.*s: the function failed: %s", SLICE_FMT(endpoint),
                                    message ? message : failure->type);
}

/* Another HTTP status than 200: what the service says of it. */
static void explain(struct slice payload, struct arena *arena, struct run_failure *failure)
{
    const char *type, *message, *text;

    wire_lambda_error(payload, arena, &type, &message);
    text = message ? arena_printf(arena, "%s: %s", failure->message, message) : NULL;
    if (text)
        failure->message = text;
}

bool lambda_judge(const struct net_response *response, struct slice endpoint, struct arena *arena,
                  wire_run_response **message, struct run_failure *failure)
{
    struct error err;

    if (response->failure != NET_OK || response->status != 200) {
        judge_response(response, endpoint, arena, message, failure);
        if (response->failure == NET_OK)
            explain(response->body, arena, failure);
        return false;
    }
    *failure = (struct run_failure){
        .status = STATUS_INVALID_RESPONSE, .type = "invalid response", .http_status = 200};
    if (net_header_get(response->headers, response->header_count, "x-amz-function-error").data) {
        judge_function_error(response->body, endpoint, arena, failure);
    } else if (wire_lambda_unpack(&dispatch__sdk__v1__run_response__descriptor, response->body,
                                  arena, message, &err)) {
        judge_malformed(&err, endpoint, arena, failure);
    } else {
        return true;
    }
    if (!failure->message)
        failure->message = "out of memory";
    return false;
}
