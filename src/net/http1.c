// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/1 bytes: the one file that knows llhttp.
 *
 * llhttp calls back with pieces of the message as it meets them. They are copied behind each other
 * into `head` (names in lower case) and `body`; a header is kept as two lengths until the message
 * is whole, as the buffer may move while it grows. on_message_complete pauses the parser, so that
 * net_http1_feed stops exactly behind the message, wherever the next one begins.
 *
 * llhttp is compiled in its strict mode. What it lets through and we do not: CONNECT, HTTP versions
 * other than 1.x, a header without a name, a chunked HTTP/1.0 request, a request without (or with a
 * second) Host in HTTP/1.1.
 */
#include "net/http1.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/proxy.h"

enum {
    HEADERS_FIRST = 16,
    INTERIM_MAX = 16,
    KEEP_MAX = 64 << 10,     /* larger buffers are given back between messages */
    RESERVE_MAX = 256 << 10, /* of an announced length, what is set aside before it comes */
};

static int bad(struct net_http1 *m, int status, const char *reason)
{
    m->state = HTTP1_BAD;
    m->reason = reason;
    if (m->parser.type == HTTP_REQUEST)
        m->status = status;
    llhttp_set_error_reason(&m->parser, reason);
    return -1;
}

static int no_memory(struct net_http1 *m)
{
    m->no_memory = true;
    return bad(m, 503, "out of memory for the message");
}

static int count_head(struct net_http1 *m, size_t len)
{
    m->head_bytes += len;
    if (m->head_bytes > m->max_head)
        return bad(m, 431, "the headers are too large");
    return 0;
}

/* --- llhttp's callbacks ---------------------------------------------------------------------- */

static int on_begin(llhttp_t *parser)
{
    struct net_http1 *m = parser->data;

    m->begun = true;
    m->head_done = false;
    m->in_value = false;
    m->expects_continue = false;
    m->head_bytes = m->url_len = m->count = 0;
    buf_reset(&m->head);
    buf_reset(&m->body);
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct net_http1 *m = parser->data;

    if (count_head(m, len))
        return -1;
    buf_append(&m->head, at, len);
    m->url_len += len;
    return 0;
}

static int on_counted(llhttp_t *parser, const char *at, size_t len)
{
    (void)at;
    return count_head(parser->data, len);
}

static bool grow_spans(struct net_http1 *m)
{
    size_t cap = m->cap ? 2 * m->cap : HEADERS_FIRST;
    struct net_http1_span *spans = realloc(m->spans, cap * sizeof *spans);
    struct net_header *headers;

    if (!spans)
        return false;
    m->spans = spans;
    headers = realloc(m->headers, cap * sizeof *headers);
    if (!headers)
        return false;
    m->headers = headers;
    m->cap = cap;
    return true;
}

static int begin_header(struct net_http1 *m)
{
    if (m->count == NET_HEADERS_MAX)
        return bad(m, 431, "there are too many headers");
    if (m->count == m->cap && !grow_spans(m))
        return no_memory(m);
    m->spans[m->count++] = (struct net_http1_span){0};
    m->in_value = false;
    return count_head(m, 4); /* ": " and the line's end */
}

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct net_http1 *m = parser->data;
    uint8_t *to;

    if (count_head(m, len))
        return -1;
    if (m->head_done)
        return 0; /* a trailer: counted, and forgotten */
    if ((m->count == 0 || m->in_value) && begin_header(m))
        return -1;
    to = buf_extend(&m->head, len);
    if (!to)
        return no_memory(m);
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] + ('a' - 'A') : at[i]);
    m->spans[m->count - 1].name_len += (uint32_t)len;
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct net_http1 *m = parser->data;

    if (count_head(m, len))
        return -1;
    if (m->head_done)
        return 0;
    if (memchr(at, '\r', len) || memchr(at, '\n', len))
        return bad(m, 400, "there is a line break within a header");
    buf_append(&m->head, at, len);
    m->spans[m->count - 1].value_len += (uint32_t)len;
    return 0;
}

/* The name is whole (an empty value has no piece of its own to tell). */
static int on_field_complete(llhttp_t *parser)
{
    struct net_http1 *m = parser->data;

    if (m->head_done)
        return 0;
    if (m->count == 0 || m->in_value || m->spans[m->count - 1].name_len == 0)
        return bad(m, 400, "a header has no name");
    m->in_value = true;
    return 0;
}

static struct slice trim(struct slice s)
{
    const char *bytes = s.data;

    while (s.len > 0 && (bytes[s.len - 1] == ' ' || bytes[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static void make_headers(struct net_http1 *m)
{
    const uint8_t *at = m->head.data + m->url_len;

    for (size_t i = 0; i < m->count; i++) {
        const struct net_http1_span *span = &m->spans[i];

        m->headers[i].name = slice(at, span->name_len);
        at += span->name_len;
        m->headers[i].value = trim(slice(at, span->value_len));
        at += span->value_len;
    }
}

static bool equals_ignoring_case(struct slice s, const char *lower)
{
    const char *bytes = s.data;

    if (s.len != strlen(lower))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = bytes[i] >= 'A' && bytes[i] <= 'Z' ? (char)(bytes[i] + ('a' - 'A')) : bytes[i];

        if (c != lower[i])
            return false;
    }
    return true;
}

static int check_request(struct net_http1 *m)
{
    size_t hosts = 0;

    if (m->parser.method == HTTP_CONNECT)
        return bad(m, 400, "CONNECT is not served here");
    if (m->http10 && m->chunked)
        return bad(m, 400, "a chunked body needs HTTP/1.1");
    for (size_t i = 0; i < m->count; i++) {
        const struct net_header *header = &m->headers[i];

        if (slice_eq_str(header->name, "host"))
            hosts++;
        else if (slice_eq_str(header->name, "expect"))
            m->expects_continue = equals_ignoring_case(header->value, "100-continue");
    }
    if (hosts > 1 || (hosts == 0 && !m->http10))
        return bad(m, 400, "there should be exactly one Host header");
    if (m->http10 || (!m->chunked && m->parser.content_length == 0))
        m->expects_continue = false;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct net_http1 *m = parser->data;
    bool request = parser->type == HTTP_REQUEST;

    m->head_done = true;
    m->chunked = parser->flags & F_CHUNKED;
    m->has_length = parser->flags & F_CONTENT_LENGTH;
    m->http10 = parser->http_minor == 0;
    if (m->head.failed)
        return no_memory(m);
    if (parser->http_major != 1)
        return bad(m, 400, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    make_headers(m);
    if (!request)
        m->status = parser->status_code;
    else if (check_request(m))
        return -1;
    parser->upgrade = 0; /* an offer that we do not take up */
    if (!request && (m->no_body || !net_http1_status_has_body(m->status)))
        return 1; /* whatever length it announces */
    if (!m->has_length || m->chunked)
        return 0;
    if (parser->content_length > m->max_body)
        return bad(m, 413, "the body is too large");
    if (buf_extend(&m->body,
                   parser->content_length < RESERVE_MAX ? parser->content_length : RESERVE_MAX))
        m->body.len = 0; /* room, not content */
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct net_http1 *m = parser->data;

    buf_append(&m->body, at, len);
    if (!m->body.failed)
        return 0;
    return len > m->max_body - m->body.len ? bad(m, 413, "the body is too large") : no_memory(m);
}

static int on_complete(llhttp_t *parser)
{
    struct net_http1 *m = parser->data;

    if (parser->type == HTTP_RESPONSE && m->status < 200 && m->status != 101) {
        if (++m->interim > INTERIM_MAX)
            return bad(m, 0, "too many interim (1xx) responses");
        return 0;
    }
    m->keep_alive = llhttp_should_keep_alive(parser);
    m->state = HTTP1_DONE;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_status = on_counted,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_field_complete = on_field_complete,
    .on_chunk_extension_name = on_counted,
    .on_chunk_extension_value = on_counted,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* --- a message ------------------------------------------------------------------------------- */

void net_http1_init(struct net_http1 *m, llhttp_type_t type, size_t max_head, size_t max_body)
{
    *m = (struct net_http1){.max_head = max_head, .max_body = max_body};
    /* Names and values are counted before they are appended: the buffer's own limit is never met.
     */
    buf_init(&m->head, max_head);
    buf_init(&m->body, max_body);
    llhttp_init(&m->parser, type, &settings);
    m->parser.data = m;
}

void net_http1_free(struct net_http1 *m)
{
    buf_free(&m->head);
    buf_free(&m->body);
    free(m->spans);
    free(m->headers);
    m->spans = NULL;
    m->headers = NULL;
    m->count = m->cap = 0;
}

void net_http1_reset(struct net_http1 *m)
{
    llhttp_reset(&m->parser);
    m->state = HTTP1_MORE;
    m->fed = m->begun = m->head_done = m->no_body = m->no_memory = false;
    m->keep_alive = m->chunked = m->has_length = m->http10 = m->expects_continue = false;
    m->status = 0;
    m->reason = NULL;
    m->interim = 0;
    m->head_bytes = m->url_len = m->count = 0;
    m->in_value = false;
    buf_reset(&m->head);
    buf_reset(&m->body);
}

void net_http1_trim(struct net_http1 *m)
{
    if (m->head.cap > KEEP_MAX)
        buf_free(&m->head);
    if (m->body.cap > KEEP_MAX)
        buf_free(&m->body);
}

size_t net_http1_feed(struct net_http1 *m, const uint8_t *data, size_t len)
{
    llhttp_errno_t err;
    const char *stop;

    assert(m->state == HTTP1_MORE);
    if (len == 0)
        return 0;
    m->fed = true;
    err = llhttp_execute(&m->parser, (const char *)data, len);
    if (err == HPE_OK) {
        if (!m->begun && count_head(m, len))
            return 0; /* nothing but line breaks, without end */
        return len;
    }
    if (m->state == HTTP1_BAD)
        return 0;
    stop = llhttp_get_error_pos(&m->parser);
    if (m->state == HTTP1_DONE) {
        assert(err == HPE_PAUSED && stop >= (const char *)data && stop <= (const char *)data + len);
        return (size_t)(stop - (const char *)data);
    }
    bad(m, 400, llhttp_get_error_reason(&m->parser));
    return 0;
}

void net_http1_end(struct net_http1 *m)
{
    if (m->state == HTTP1_MORE && m->head_done)
        llhttp_finish(&m->parser); /* on_complete notes it, if this is where it may end */
}

struct slice net_http1_url(const struct net_http1 *m)
{
    return slice(m->head.data, m->url_len);
}

struct slice net_http1_method(const struct net_http1 *m)
{
    return slice_str(llhttp_method_name((llhttp_method_t)m->parser.method));
}

struct slice net_header_get(const struct net_header *headers, size_t count, const char *name)
{
    struct slice wanted = slice_str(name);

    for (size_t i = 0; i < count; i++) {
        if (slice_eq(headers[i].name, wanted))
            return headers[i].value.data ? headers[i].value : slice("", 0);
    }
    return (struct slice){0};
}

/* --- heads ----------------------------------------------------------------------------------- */

bool net_http1_is_token(struct slice text)
{
    const uint8_t *bytes = text.data;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = bytes[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-')
            continue;
        if (!c || !strchr("!#$%&'*+.^_`|~", c))
            return false;
    }
    return text.len > 0;
}

static bool is_value_byte(uint8_t c)
{
    return (c >= ' ' && c != 0x7f) || c == '\t';
}

/* Looks at every byte, which compilers turn into looking at many at once. */
static bool is_value(struct slice text)
{
    const uint8_t *bytes = text.data;
    unsigned bad = 0;

    for (size_t i = 0; i < text.len; i++)
        bad |= !is_value_byte(bytes[i]);
    return !bad;
}

bool net_http1_header_is_valid(const struct net_header *header)
{
    return is_value(header->value) && net_http1_is_token(header->name);
}

static const char *reason_phrase(int status)
{
    switch (status) {
#define PHRASE(code, text)                                                                         \
    case code:                                                                                     \
        return text
        PHRASE(200, "OK");
        PHRASE(201, "Created");
        PHRASE(202, "Accepted");
        PHRASE(204, "No Content");
        PHRASE(304, "Not Modified");
        PHRASE(400, "Bad Request");
        PHRASE(401, "Unauthorized");
        PHRASE(403, "Forbidden");
        PHRASE(404, "Not Found");
        PHRASE(405, "Method Not Allowed");
        PHRASE(408, "Request Timeout");
        PHRASE(409, "Conflict");
        PHRASE(412, "Precondition Failed");
        PHRASE(413, "Content Too Large");
        PHRASE(415, "Unsupported Media Type");
        PHRASE(429, "Too Many Requests");
        PHRASE(431, "Request Header Fields Too Large");
        PHRASE(499, "Client Closed Request");
        PHRASE(500, "Internal Server Error");
        PHRASE(501, "Not Implemented");
        PHRASE(502, "Bad Gateway");
        PHRASE(503, "Service Unavailable");
        PHRASE(504, "Gateway Timeout");
#undef PHRASE
    default:
        return "Status";
    }
}

static void put_number(struct buf *out, size_t value)
{
    char digits[24];
    char *at = digits + sizeof digits;

    do
        *--at = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    buf_append(out, at, (size_t)(digits + sizeof digits - at));
}

#define PUT(out, literal) buf_append((out), (literal), sizeof(literal) - 1)

static void put_cleaned(struct buf *out, struct slice text)
{
    size_t from = out->len;

    buf_append_slice(out, text);
    if (is_value(text))
        return;
    for (size_t i = from; i < out->len; i++) {
        if (!is_value_byte(out->data[i]))
            out->data[i] = ' ';
    }
}

static void put_header(struct buf *out, const struct net_header *header)
{
    uint8_t *at = buf_extend(out, header->name.len + header->value.len + 4);

    if (!at)
        return;
    memcpy(at, header->name.data, header->name.len);
    at += header->name.len;
    *at++ = ':';
    *at++ = ' ';
    if (header->value.len)
        memcpy(at, header->value.data, header->value.len);
    at += header->value.len;
    *at++ = '\r';
    *at = '\n';
}

bool net_http1_status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

void net_http1_put_response(struct buf *out, const struct net_http1_reply *reply)
{
    assert(reply->status >= 100 && reply->status <= 999);
    PUT(out, "HTTP/1.1 ");
    put_number(out, (size_t)reply->status);
    buf_append_byte(out, ' ');
    buf_append_str(out, reason_phrase(reply->status));
    PUT(out, "\r\n");
    if (reply->date) {
        PUT(out, "Date: ");
        buf_append_str(out, reply->date);
        PUT(out, "\r\n");
    }
    for (size_t i = 0; i < reply->header_count; i++) {
        put_cleaned(out, reply->headers[i].name);
        PUT(out, ": ");
        put_cleaned(out, reply->headers[i].value);
        PUT(out, "\r\n");
    }
    if (net_http1_status_has_body(reply->status)) {
        PUT(out, "Content-Length: ");
        put_number(out, reply->body_len);
        PUT(out, "\r\n");
    }
    if (reply->upgrade_h2c)
        PUT(out, "Upgrade: h2c\r\nConnection: Upgrade\r\n");
    if (reply->close)
        PUT(out, "Connection: close\r\n");
    else if (reply->keep_alive)
        PUT(out, "Connection: keep-alive\r\n");
    PUT(out, "\r\n");
}

static void put_authority(struct buf *out, const struct net_outgoing *request)
{
    bool ipv6 = memchr(request->host.data, ':', request->host.len) != NULL;

    if (net_is_unix(request->host)) {
        PUT(out, "localhost");
        return;
    }
    if (ipv6)
        buf_append_byte(out, '[');
    buf_append_slice(out, request->host);
    if (ipv6)
        buf_append_byte(out, ']');
    if (request->port != (request->tls ? 443 : 80)) {
        buf_append_byte(out, ':');
        put_number(out, request->port);
    }
}

void net_http1_put_request(struct buf *out, const struct net_outgoing *request,
                           const struct net_proxy *proxy)
{
    bool has_host = false;

    for (size_t i = 0; i < request->header_count; i++)
        has_host |= equals_ignoring_case(request->headers[i].name, "host");
    buf_append_slice(out, request->method);
    buf_append_byte(out, ' ');
    if (proxy) {
        PUT(out, "http://");
        put_authority(out, request);
    }
    if (request->target.len > 0)
        buf_append_slice(out, request->target);
    else
        buf_append_byte(out, '/');
    PUT(out, " HTTP/1.1\r\n");
    if (!has_host) {
        PUT(out, "Host: ");
        put_authority(out, request);
        PUT(out, "\r\n");
    }
    if (proxy && proxy->authorization)
        buf_printf(out, "Proxy-Authorization: %s\r\n", proxy->authorization);
    for (size_t i = 0; i < request->header_count; i++)
        put_header(out, &request->headers[i]);
    if (request->body || slice_eq_str(request->method, "POST") ||
        slice_eq_str(request->method, "PUT") || slice_eq_str(request->method, "PATCH")) {
        PUT(out, "Content-Length: ");
        put_number(out, blob_slice(request->body).len);
        PUT(out, "\r\n");
    }
    PUT(out, "\r\n");
}
