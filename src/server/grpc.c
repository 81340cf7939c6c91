// SPDX-License-Identifier: Apache-2.0
/*
 * gRPC unary over HTTP/2 (protocol 2.6), and gRPC-Web, which has its trailers in the body and so
 * goes over HTTP/1.1, too. The HTTP status is 200 whatever happens, but for what no client of gRPC
 * sends: the outcome is in grpc-status, behind the message; or, where there is none, in the head.
 */
#include <stdio.h>

#include "server/protocol.h"

#define STATUS_TEXT 12

/* "application/grpc", "application/grpc+json": of that protocol? *codec is what stands behind. */
static bool split_type(struct slice type, const char *name, struct slice *codec)
{
    size_t len = strlen(name);
    const char *p = type.data;

    if (type.len < len || !codec_same(slice(p, len), name) || (type.len > len && p[len] != '+'))
        return false;
    *codec = type.len > len ? slice(p + len + 1, type.len - len - 1) : slice_str("proto");
    return true;
}

const struct protocol *protocol_of(const struct net_request *request)
{
    struct slice type = protocol_header(request, "content-type"), codec;

    if (split_type(type, "application/grpc", &codec))
        return &protocol_grpc;
    if (split_type(type, "application/grpc-web", &codec))
        return &protocol_grpc_web;
    return &protocol_connect;
}

/* --- requests -------------------------------------------------------------------------------- */

static bool read_type(const struct net_request *request, const char *name, struct rpc_head *head,
                      struct refusal *refusal)
{
    struct slice type = protocol_header(request, "content-type"), codec = {0};

    split_type(type, name, &codec);
    head->codec = codec_same(codec, "json") ? CODEC_JSON : CODEC_PROTO;
    if (head->codec == CODEC_JSON || codec_same(codec, "proto"))
        return true;
    error_set(&refusal->error, CODE_UNIMPLEMENTED,
              "content type \"%.*s\" is not supported: send %s, %s+proto or %s+json",
              SLICE_FMT(type), name, name, name);
    refusal->http = 415;
    return false;
}

static bool read_timeout(struct slice value, struct rpc_head *head, struct refusal *refusal)
{
    head->timeout_ns = -1;
    if (!value.data || wire_grpc_timeout(value, &head->timeout_ns))
        return true;
    error_set(
        &refusal->error, CODE_INVALID_ARGUMENT,
        "grpc-timeout \"%.*s\" is not a number of at most 8 digits and a unit (H, M, S, m, u, "
        "n)",
        SLICE_FMT(value));
    return false;
}

static bool read_any_head(const struct net_request *request, const char *name,
                          struct rpc_head *head, struct refusal *refusal)
{
    const struct net_header accepted = {slice_str("grpc-accept-encoding"),
                                        slice_str("gzip,identity")};

    head->accepts_gzip = codec_accepts_gzip(protocol_header(request, "grpc-accept-encoding"));
    return read_type(request, name, head, refusal) &&
           protocol_read_encoding(request, "grpc-encoding", accepted, head, refusal) &&
           read_timeout(protocol_header(request, "grpc-timeout"), head, refusal);
}

static bool read_head(const struct net_request *request, struct rpc_head *head,
                      struct refusal *refusal)
{
    if (request->http2)
        return read_any_head(request, "application/grpc", head, refusal);
    error_set(&refusal->error, CODE_UNIMPLEMENTED,
              "gRPC goes over HTTP/2: use that, or gRPC-Web, or Connect (application/proto)");
    refusal->http = 505;
    return false;
}

static bool read_web_head(const struct net_request *request, struct rpc_head *head,
                          struct refusal *refusal)
{
    return read_any_head(request, "application/grpc-web", head, refusal);
}

static int read_body(const struct net_request *request, const struct rpc_head *head,
                     struct buf *plain, struct slice *message, struct error *err)
{
    struct slice body = request->body;
    struct wire_grpc_frame frame;
    int code;

    if (body.len == 0)
        return error_set(err, CODE_UNIMPLEMENTED, "there is no message: one was expected");
    code = wire_grpc_take(&body, &frame, err);
    if (code)
        return code;
    if (body.len)
        return error_set(err, CODE_UNIMPLEMENTED,
                         "there are %zu bytes behind the one message that was expected", body.len);
    *message = frame.message;
    if (!frame.flags)
        return CODE_OK;
    if (!head->gzip)
        return error_set(err, CODE_INTERNAL,
                         "the message is flagged as compressed, but there is no grpc-encoding");
    code = codec_gunzip(frame.message, plain, err);
    *message = buf_slice(plain);
    return code;
}

/* --- answers --------------------------------------------------------------------------------- */

/* The message behind its prefix, and behind it `trailers`, as gRPC-Web has them. NULL: no memory.*/
static struct blob *frame(struct slice message, uint8_t flags, const char *trailers)
{
    size_t more = trailers ? WIRE_GRPC_PREFIX + strlen(trailers) : 0;
    struct blob *blob = NULL;
    struct buf out;

    buf_init(&out, WIRE_GRPC_PREFIX + message.len + more);
    wire_grpc_put_prefix(&out, flags, (uint32_t)message.len);
    buf_append_slice(&out, message);
    if (trailers) {
        wire_grpc_put_prefix(&out, WIRE_GRPC_TRAILERS, (uint32_t)strlen(trailers));
        buf_append_str(&out, trailers);
    }
    if (!out.failed)
        blob = blob_copy(buf_slice(&out));
    buf_free(&out);
    return blob;
}

static bool answer_any(struct net_exchange *exchange, const struct rpc_head *head,
                       const char *request_id, struct blob *message, bool web)
{
    static const char *const types[2][2] = {
        {"application/grpc+proto", "application/grpc+json"},
        {"application/grpc-web+proto", "application/grpc-web+json"},
    };
    const struct net_header trailer = {slice_str("grpc-status"), slice_str("0")};
    struct blob *zipped = head->accepts_gzip ? codec_gzip(blob_slice(message)) : NULL;
    struct blob *body = frame(blob_slice(zipped ? zipped : message),
                              zipped ? WIRE_GRPC_COMPRESSED : 0, web ? "grpc-status:0\r\n" : NULL);
    const struct net_header headers[] = {
        {slice_str("content-type"), slice_str(types[web][head->codec == CODEC_JSON])},
        {slice_str("x-request-id"), slice_str(request_id)},
        {slice_str("grpc-accept-encoding"), slice_str("gzip")},
        {slice_str("grpc-encoding"), slice_str("gzip")},
    };

    if (body)
        net_answer_trailed(exchange, 200, headers, zipped ? 4 : 3, body, &trailer, !web);
    blob_unref(body);
    blob_unref(zipped);
    return body != NULL;
}

static bool answer(struct net_exchange *exchange, const struct rpc_head *head,
                   const char *request_id, struct blob *message)
{
    return answer_any(exchange, head, request_id, message, false);
}

static bool answer_web(struct net_exchange *exchange, const struct rpc_head *head,
                       const char *request_id, struct blob *message)
{
    return answer_any(exchange, head, request_id, message, true);
}

static void refuse_any(struct net_exchange *exchange, const char *type, const char *request_id,
                       const struct refusal *refusal)
{
    char status[STATUS_TEXT];
    struct buf text;

    snprintf(status, sizeof status, "%d", refusal->error.code);
    buf_init(&text, 3 * ERROR_MESSAGE_MAX);
    wire_grpc_put_text(&text, refusal->error.message);
    const struct net_header headers[] = {
        {slice_str("content-type"), slice_str(type)},
        {slice_str("x-request-id"), slice_str(request_id)},
        {slice_str("grpc-status"), slice_str(status)},
        {slice_str("grpc-message"), buf_slice(&text)},
        refusal->header,
    };
    net_answer(exchange, refusal->http ? refusal->http : 200, headers,
               refusal->header.name.data ? 5 : 4, NULL);
    buf_free(&text);
}

static void refuse(struct net_exchange *exchange, const char *request_id,
                   const struct refusal *refusal)
{
    refuse_any(exchange, "application/grpc", request_id, refusal);
}

static void refuse_web(struct net_exchange *exchange, const char *request_id,
                       const struct refusal *refusal)
{
    refuse_any(exchange, "application/grpc-web", request_id, refusal);
}

const struct protocol protocol_grpc = {read_head, read_body, answer, refuse};
const struct protocol protocol_grpc_web = {read_web_head, read_body, answer_web, refuse_web};
