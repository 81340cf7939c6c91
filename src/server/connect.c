// SPDX-License-Identifier: Apache-2.0
/*
 * Connect unary over HTTP (protocol 2.1). Clients differ in what they leave out, so only what would
 * make us misread a request is refused: an unknown type, encoding or protocol version, a timeout
 * that is no number. Each refusal says what would have been accepted.
 */
#include <stdio.h>

#include "server/protocol.h"

#define TIMEOUT_DIGITS 10

struct slice protocol_header(const struct net_request *request, const char *name)
{
    return net_header_get(request->headers, request->header_count, name);
}

bool protocol_read_encoding(const struct net_request *request, const char *name,
                            struct net_header accepted, struct rpc_head *head,
                            struct refusal *refusal)
{
    struct slice value = protocol_header(request, name);

    head->gzip = codec_same(value, "gzip");
    if (head->gzip || value.len == 0 || codec_same(value, "identity"))
        return true;
    error_set(&refusal->error, CODE_UNIMPLEMENTED,
              "unknown compression \"%.*s\": supported encodings are gzip, identity",
              SLICE_FMT(value));
    refusal->header = accepted;
    return false;
}

/* Splits "type; parameter" and drops the spaces around both. */
static void split_type(struct slice value, struct slice *type, struct slice *parameter)
{
    const char *p = value.data;
    size_t at = 0, end;

    while (at < value.len && p[at] != ';')
        at++;
    end = at;
    while (end && p[end - 1] == ' ')
        end--;
    *type = slice(p, end);
    at += at < value.len;
    while (at < value.len && p[at] == ' ')
        at++;
    *parameter = at < value.len ? slice(p + at, value.len - at) : slice(NULL, 0);
}

static bool read_type(struct slice value, struct rpc_head *head, struct refusal *refusal)
{
    struct slice type, parameter;

    split_type(value, &type, &parameter);
    if (codec_same(type, "application/proto") && parameter.len == 0) {
        head->codec = CODEC_PROTO;
        head->charset = false;
        return true;
    }
    if (codec_same(type, "application/json") &&
        (parameter.len == 0 || codec_same(parameter, "charset=utf-8") ||
         codec_same(parameter, "charset=\"utf-8\""))) {
        head->codec = CODEC_JSON;
        head->charset = parameter.len > 0;
        return true;
    }
    error_set(&refusal->error, CODE_INVALID_ARGUMENT,
              "content type \"%.*s\" is not supported: send application/json or application/proto",
              SLICE_FMT(value));
    refusal->http = 415;
    refusal->header = (struct net_header){
        slice_str("accept-post"),
        slice_str("application/proto, application/json, application/json; charset=utf-8, "
                  "application/grpc, application/grpc+proto, application/grpc+json, "
                  "application/grpc-web, application/grpc-web+proto, application/grpc-web+json")};
    return false;
}

static bool read_timeout(struct slice value, struct rpc_head *head, struct refusal *refusal)
{
    const char *p = value.data;
    int64_t ms = 0;

    head->timeout_ns = -1;
    if (!value.data)
        return true;
    for (size_t i = 0; i < value.len && i < TIMEOUT_DIGITS; i++) {
        if (p[i] < '0' || p[i] > '9')
            goto bad;
        ms = ms * 10 + (p[i] - '0');
    }
    if (value.len == 0 || value.len > TIMEOUT_DIGITS)
        goto bad;
    head->timeout_ns = ms * 1000000;
    return true;
bad:
    error_set(&refusal->error, CODE_INVALID_ARGUMENT,
              "Connect-Timeout-Ms \"%.*s\" is not a number of milliseconds of at most %d digits",
              SLICE_FMT(value), TIMEOUT_DIGITS);
    return false;
}

/* All but the type. */
static bool read_rest(const struct net_request *request, struct rpc_head *head,
                      struct refusal *refusal)
{
    const struct net_header accepted = {slice_str("accept-encoding"), slice_str("gzip, identity")};
    struct slice version = protocol_header(request, "connect-protocol-version");

    if (version.data && !slice_eq_str(version, "1")) {
        error_set(&refusal->error, CODE_INVALID_ARGUMENT,
                  "Connect-Protocol-Version \"%.*s\" is not supported: send 1, or leave it out",
                  SLICE_FMT(version));
        return false;
    }
    head->accepts_gzip = codec_accepts_gzip(protocol_header(request, "accept-encoding"));
    return protocol_read_encoding(request, "content-encoding", accepted, head, refusal) &&
           read_timeout(protocol_header(request, "connect-timeout-ms"), head, refusal);
}

static bool read_head(const struct net_request *request, struct rpc_head *head,
                      struct refusal *refusal)
{
    return read_type(protocol_header(request, "content-type"), head, refusal) &&
           read_rest(request, head, refusal);
}

static bool read_raw_head(const struct net_request *request, struct rpc_head *head,
                          struct refusal *refusal)
{
    head->codec = CODEC_PROTO;
    head->charset = false;
    return read_rest(request, head, refusal);
}

static int read_body(const struct net_request *request, const struct rpc_head *head,
                     struct buf *plain, struct slice *message, struct error *err)
{
    int code;

    *message = request->body;
    if (!head->gzip || !request->body.len) /* an empty body is never compressed, whatever is said */
        return CODE_OK;
    code = codec_gunzip(request->body, plain, err);
    *message = buf_slice(plain);
    return code;
}

static bool answer(struct net_exchange *exchange, const struct rpc_head *head,
                   const char *request_id, struct blob *message)
{
    const char *type = head->codec == CODEC_PROTO ? "application/proto"
                       : head->charset            ? "application/json; charset=utf-8"
                                                  : "application/json";
    struct blob *zipped = head->accepts_gzip ? codec_gzip(blob_slice(message)) : NULL;
    const struct net_header headers[] = {
        {slice_str("content-type"), slice_str(type)},
        {slice_str("x-request-id"), slice_str(request_id)},
        {slice_str("content-encoding"), slice_str("gzip")},
    };

    net_answer(exchange, 200, headers, zipped ? 3 : 2, zipped ? zipped : message);
    blob_unref(zipped);
    return true;
}

static void refuse(struct net_exchange *exchange, const char *request_id,
                   const struct refusal *refusal)
{
    const struct net_header headers[] = {
        {slice_str("content-type"), slice_str("application/json")},
        {slice_str("x-request-id"), slice_str(request_id)},
        refusal->header,
    };
    int code = refusal->error.code;
    struct blob *blob;
    struct buf body;

    /* Room for a message in which each byte is escaped. */
    buf_init(&body, 6 * ERROR_MESSAGE_MAX + 256);
    wire_connect_error(code, refusal->error.message, &body);
    blob = blob_copy(buf_slice(&body));
    net_answer(exchange, refusal->http ? refusal->http : wire_http_from_code(code), headers,
               refusal->header.name.data ? 3 : 2, blob);
    blob_unref(blob);
    buf_free(&body);
}

const struct protocol protocol_connect = {read_head, read_body, answer, refuse};
const struct protocol protocol_raw = {read_raw_head, read_body, answer, refuse};
