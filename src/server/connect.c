// SPDX-License-Identifier: Apache-2.0
/*
 * Connect unary over HTTP (protocol 2.1). Clients differ in what they leave out, so only what would
 * make us misread a request is refused: an unknown type, encoding or protocol version, a timeout
 * that is no number. Each refusal says what would have been accepted.
 */
#include "server/connect.h"

#include <zlib.h>

#define GZIP_WINDOW    (15 + 16) /* zlib's way to say: the largest window, in a gzip wrapper */
#define TIMEOUT_DIGITS 10
#define ENCODINGS      "gzip, identity"

bool connect_same(struct slice s, const char *text)
{
    const char *p = s.data;

    if (s.len != strlen(text))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] - 'A' + 'a') : p[i];

        if (c != text[i])
            return false;
    }
    return true;
}

const char *connect_content_type(enum codec codec)
{
    return codec == CODEC_JSON ? "application/json" : "application/proto";
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

static bool read_type(struct slice value, struct connect_head *head, struct refusal *refusal)
{
    struct slice type, parameter;

    split_type(value, &type, &parameter);
    if (connect_same(type, "application/proto") && parameter.len == 0) {
        head->codec = CODEC_PROTO;
        return true;
    }
    if (connect_same(type, "application/json") &&
        (parameter.len == 0 || connect_same(parameter, "charset=utf-8") ||
         connect_same(parameter, "charset=\"utf-8\""))) {
        head->codec = CODEC_JSON;
        return true;
    }
    error_set(&refusal->error, CODE_INVALID_ARGUMENT,
              "content type \"%.*s\" is not supported: send application/json or application/proto",
              SLICE_FMT(value));
    refusal->http = 415;
    refusal->header = (struct net_header){slice_str("accept-post"),
                                          slice_str("application/proto, application/json, "
                                                    "application/json; charset=utf-8")};
    return false;
}

static bool read_encoding(struct slice value, struct connect_head *head, struct refusal *refusal)
{
    head->gzip = connect_same(value, "gzip");
    if (head->gzip || value.len == 0 || connect_same(value, "identity"))
        return true;
    error_set(&refusal->error, CODE_UNIMPLEMENTED,
              "unknown compression \"%.*s\": supported encodings are " ENCODINGS, SLICE_FMT(value));
    refusal->header = (struct net_header){slice_str("accept-encoding"), slice_str(ENCODINGS)};
    return false;
}

static bool read_timeout(struct slice value, struct connect_head *head, struct refusal *refusal)
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

bool connect_read_head(const struct net_request *request, struct connect_head *head,
                       struct refusal *refusal)
{
    const struct net_header *headers = request->headers;
    size_t count = request->header_count;
    struct slice version = net_header_get(headers, count, "connect-protocol-version");

    if (!read_type(net_header_get(headers, count, "content-type"), head, refusal))
        return false;
    if (version.data && !slice_eq_str(version, "1")) {
        error_set(&refusal->error, CODE_INVALID_ARGUMENT,
                  "Connect-Protocol-Version \"%.*s\" is not supported: send 1, or leave it out",
                  SLICE_FMT(version));
        return false;
    }
    return read_encoding(net_header_get(headers, count, "content-encoding"), head, refusal) &&
           read_timeout(net_header_get(headers, count, "connect-timeout-ms"), head, refusal);
}

/* Inflates until the end of the stream; the buffer's maximum is the limit of what comes out. */
static int inflate_all(z_stream *z, struct buf *out, struct error *err)
{
    int status = Z_OK;

    while (status != Z_STREAM_END) {
        size_t before = out->len, step = before < 16384 ? 16384 : before;
        uint8_t *into;

        if (step > out->max - before)
            step = out->max - before;
        into = step ? buf_extend(out, step) : NULL;
        if (!into)
            return error_set(err, CODE_RESOURCE_EXHAUSTED,
                             "the body is larger than %zu bytes when decompressed", out->max);
        z->next_out = into;
        z->avail_out = (uInt)step;
        status = inflate(z, Z_NO_FLUSH);
        out->len -= z->avail_out;
        if (status == Z_MEM_ERROR)
            return error_memory(err);
        /* Z_BUF_ERROR too: there was room to write to, so the input is what is short. */
        if (status != Z_OK && status != Z_STREAM_END)
            return error_set(err, CODE_INVALID_ARGUMENT, "the body is not valid gzip");
    }
    if (z->avail_in)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the body has bytes behind the end of its gzip");
    return CODE_OK;
}

static int gunzip(struct slice body, struct buf *out, struct error *err)
{
    z_stream z = {0};
    int code;

    z.next_in = (Bytef *)(uintptr_t)body.data;
    z.avail_in = (uInt)body.len;
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return error_memory(err);
    code = inflate_all(&z, out, err);
    inflateEnd(&z);
    return code;
}

int connect_read_body(const struct net_request *request, const struct connect_head *head,
                      size_t body_max, const ProtobufCMessageDescriptor *type, struct arena *arena,
                      void *message, struct error *err)
{
    struct slice body = request->body;
    struct buf plain;
    int code = CODE_OK;

    buf_init(&plain, body_max + 1);
    if (head->gzip && body.len) { /* an empty body is never compressed, whatever its header says */
        code = gunzip(body, &plain, err);
        body = buf_slice(&plain);
    }
    if (code == CODE_OK && head->codec == CODEC_JSON)
        code = wire_from_json(type, body, arena, message, err);
    else if (code == CODE_OK)
        code = wire_unpack(type, body, arena, message, err);
    buf_free(&plain);
    return code;
}

struct blob *connect_pack(enum codec codec, const void *message)
{
    struct blob *blob = NULL;
    struct buf text;

    if (codec == CODEC_PROTO)
        return wire_pack_blob(message);
    buf_init(&text, SIZE_MAX / 2);
    wire_to_json(message, &text);
    if (!text.failed)
        blob = blob_copy(buf_slice(&text));
    buf_free(&text);
    return blob;
}
