// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/2 on one accepted connection: many exchanges, each on its stream.
 *
 *   RECEIVING  the request comes in; in the list `receiving`, the oldest first
 *   PENDING    the application has it
 *   ANSWERING  the answer was submitted; in the list `answering`, until nghttp2 closes the stream
 *
 * A request that is refused (too large, too slow) is answered like any other, by us; then its
 * stream is reset without an error, so that the peer stops sending.
 *
 * Flow control holds a peer's bodies within BUDGET bytes for a connection: past it only the oldest
 * request in progress gets leave to send more, so that one at a time always gets on.
 *
 * What a peer may do to us is bounded: streams at once (SETTINGS), resets (nghttp2's rate limit),
 * frames that ask for nothing (net_http2_bear), header blocks without end (nghttp2), time to send a
 * request and to take an answer (header_timeout_ms), silence while it waits for one (a ping, then
 * the end).
 *
 * long: a stream's life, from its head to the last byte of its answer, is read in one piece
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/http2.h"
#include "net/server.h"

enum {
    STREAM_WINDOW = 256 << 10,
    CONNECTION_WINDOW = 16 << 20,
    BUDGET = 64 << 20,
    ANSWER_MIN = 32 << 10, /* that a peer takes of an answer within header_timeout_ms */
    SPARE_MAX = 1024,
    RESETS = 2000, /* by the peer, at once */
    RESETS_BACK = 200
};

enum state { RECEIVING, PENDING, ANSWERING };

struct span {
    size_t at, len;
};

struct stream {
    struct net_http2_source source; /* of the answer */
    struct net_exchange exchange;
    struct list link; /* of one of the session's lists; or of the server's spare ones */
    struct http2_session *session;
    struct net_request request;
    struct net_fields fields, trailers;
    struct buf body;
    struct span method, target; /* within `names` */
    struct buf names;
    size_t withheld;  /* bytes of the body that the peer's window has not got back */
    int64_t since_ms; /* the request began; or the answer was last looked at */
    size_t done_before;
    int32_t id;
    enum state state;
    bool has_host, has_length, is_head, delivered, given_up;
    bool unfit;  /* the head: too large, or no memory for it */
    int refused; /* the status */
};

struct http2_session {
    struct net_http2 h2; /* first: nghttp2 calls back with it */
    struct net_session base;
    struct list receiving, pending, answering;
    size_t count;    /* streams in these */
    size_t buffered; /* bytes of bodies in `receiving` */
    size_t withheld; /* of them, those that windows have not got back */
    size_t finished; /* exchanges whose last bytes are on their way to the kernel */
    size_t refusing; /* streams to be reset once they are answered */
    int64_t idle_ms; /* since when there has been no stream */
    int64_t heard_ms;
    bool pinged, retired, closed;
    bool broken; /* the peer would wait for something that could not be said */
    char peer[NET_ADDRESS_TEXT];
};

/* --- streams in memory ----------------------------------------------------------------------- */

static struct stream *new_stream(struct http2_session *s, int32_t id)
{
    struct net_server *server = s->base.server;
    struct list *node = list_pop(&server->spare_streams);
    struct stream *stream;

    if (node) {
        server->spare_count--;
        stream = LIST_ENTRY(node, struct stream, link);
    } else {
        stream = calloc(1, sizeof *stream);
        if (!stream)
            return NULL;
        net_fields_init(&stream->fields);
        net_fields_init(&stream->trailers);
        buf_init(&stream->body, server->options.max_body);
        buf_init(&stream->names, UINT32_MAX);
    }
    stream->session = s;
    stream->id = id;
    stream->state = RECEIVING;
    stream->since_ms = net_loop_now_ms(s->h2.conn->loop);
    list_append(&s->receiving, &stream->link);
    s->count++;
    return stream;
}

static void free_stream(struct stream *stream)
{
    net_fields_free(&stream->fields);
    net_fields_free(&stream->trailers);
    buf_free(&stream->body);
    buf_free(&stream->names);
    free(stream);
}

static void unbuffer(struct stream *stream)
{
    stream->session->buffered -= stream->body.len;
    stream->session->base.server->arriving -= stream->body.len;
}

/* Out of whatever list it is in. */
static void recycle(struct stream *stream)
{
    struct http2_session *s = stream->session;
    struct net_server *server = s->base.server;

    list_remove(&stream->link);
    s->count--;
    if (s->count == 0)
        s->idle_ms = net_loop_now_ms(s->h2.conn->loop);
    if (stream->state == RECEIVING)
        unbuffer(stream);
    s->withheld -= stream->withheld;
    if (stream->refused && stream->state == ANSWERING)
        s->refusing--;
    blob_unref(stream->source.body);
    if (server->spare_count == SPARE_MAX) {
        free_stream(stream);
        return;
    }
    net_fields_reset(&stream->fields);
    net_fields_reset(&stream->trailers);
    if (stream->body.cap > NET_HTTP2_KEEP)
        buf_free(&stream->body);
    if (stream->names.cap > NET_HTTP2_KEEP)
        buf_free(&stream->names);
    buf_reset(&stream->body);
    buf_reset(&stream->names);
    *stream = (struct stream){.fields = stream->fields,
                              .trailers = stream->trailers,
                              .body = stream->body,
                              .names = stream->names};
    list_init(&stream->link);
    list_push(&server->spare_streams, &stream->link);
    server->spare_count++;
}

void net_http2_free_spare(struct net_server *server)
{
    struct list *node;

    while ((node = list_pop(&server->spare_streams)))
        free_stream(LIST_ENTRY(node, struct stream, link));
    server->spare_count = 0;
}

/* --- the end of a session -------------------------------------------------------------------- */

/* The answers' last bytes have been handed to the kernel, or never will be. */
static void settle(struct http2_session *s)
{
    s->base.server->exchanges -= s->finished;
    s->finished = 0;
}

/* The exchange ends without having been answered, or answered in whole. */
static void drop_stream(struct stream *stream)
{
    struct http2_session *s = stream->session;
    struct net_server *server = s->base.server;

    if (stream->state == PENDING) {
        server->exchanges--;
        stream->state = ANSWERING;
        if (server->options.gone)
            server->options.gone(server->options.arg, &stream->exchange);
    } else if (stream->delivered) {
        s->finished++;
    }
    recycle(stream);
}

static void close_session(struct http2_session *s)
{
    struct list *const lists[] = {&s->receiving, &s->pending, &s->answering};

    if (s->closed)
        return;
    s->closed = true;
    net_deferred_cancel(&s->h2.flush);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        while (!list_empty(lists[i]))
            drop_stream(LIST_ENTRY(lists[i]->next, struct stream, link));
    }
    settle(s);
    net_server_remove(&s->base);
    net_conn_close(s->h2.conn);
}

/* --- time ------------------------------------------------------------------------------------ */

static int64_t head_since(const struct list *list)
{
    return list_empty(list) ? TIME_NEVER : LIST_ENTRY(list->next, struct stream, link)->since_ms;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void set_deadline(struct http2_session *s)
{
    const struct net_server_options *o = &s->base.server->options;
    int64_t now = net_loop_now_ms(s->h2.conn->loop);
    int64_t at = earlier(head_since(&s->receiving), head_since(&s->answering));

    if (at != TIME_NEVER)
        at += o->header_timeout_ms;
    at = earlier(at, s->pinged       ? s->heard_ms + o->header_timeout_ms
                     : s->count == 0 ? s->idle_ms + o->idle_timeout_ms
                                     : s->heard_ms + o->idle_timeout_ms);
    net_conn_set_deadline(s->h2.conn, at > now ? (uint32_t)(at - now) : 0);
}

static void flush_soon(struct http2_session *s)
{
    net_flush_later(s->h2.conn->loop, &s->h2.flush);
}

/* Without memory for even that, the connection is closed, which the peer does notice. */
static void must(struct http2_session *s, int rc)
{
    s->broken |= rc != 0;
}

static void send_frames(struct http2_session *s)
{
    if (s->broken || net_http2_send(&s->h2) < 0) {
        close_session(s);
        return;
    }
    if (s->h2.conn->queued == 0)
        settle(s);
    if (s->h2.conn->queued == 0 && (net_http2_is_over(&s->h2) || (s->retired && s->count == 0)))
        close_session(s);
    else
        set_deadline(s);
}

static void on_flush(struct net_deferred *deferred)
{
    send_frames(LIST_ENTRY(deferred, struct http2_session, h2.flush));
}

/* --- answers --------------------------------------------------------------------------------- */

/* The value as it may stand in a header; what may not is a space. */
static struct slice cleaned(struct buf *scratch, const struct net_header *header)
{
    uint8_t *to;

    if (net_http1_header_is_valid(header))
        return header->value;
    to = buf_extend(scratch, header->value.len);
    for (size_t i = 0; to && i < header->value.len; i++) {
        uint8_t c = ((const uint8_t *)header->value.data)[i];

        to[i] = (c < ' ' && c != '\t') || c == 0x7f ? ' ' : c;
    }
    return slice(to, to ? header->value.len : 0);
}

/* The head of an answer; nghttp2 copies it. Negative: it cannot be sent. */
static int submit(struct stream *stream, const struct net_reply *reply, bool with_body)
{
    struct net_loop *loop = stream->session->h2.conn->loop;
    const struct net_header *headers = reply->headers;
    size_t n = 0, count = reply->header_count;
    struct buf *scratch = &loop->scratch;
    nghttp2_data_provider provider = net_http2_provider(&stream->source);
    nghttp2_nv fields[NET_HEADERS_MAX + 3];
    char status_text[16], length_text[24];

    if (count > NET_HEADERS_MAX)
        return -1;
    buf_reset(scratch);
    for (size_t i = 0; i < count; i++) { /* pieces must not move once they are pointed at */
        if (!buf_extend(scratch, headers[i].value.len))
            return -1;
    }
    scratch->len = 0;
    snprintf(status_text, sizeof status_text, "%d", reply->status);
    fields[n++] = net_http2_field(FIXED(":status"), slice_str(status_text), 0);
    fields[n++] = net_http2_field(FIXED("date"), slice_str(net_loop_date(loop)), 0);
    for (size_t i = 0; i < count; i++) {
        if (net_http1_is_token(headers[i].name) && !net_http2_is_hop_field(headers[i].name))
            fields[n++] = net_http2_field(headers[i].name, cleaned(scratch, &headers[i]), 0);
    }
    if (net_http1_status_has_body(reply->status)) {
        snprintf(length_text, sizeof length_text, "%zu", blob_slice(reply->body).len);
        fields[n++] = net_http2_field(FIXED("content-length"), slice_str(length_text), 0);
    }
    return nghttp2_submit_response(stream->session->h2.session, stream->id, fields, n,
                                   with_body ? &provider : NULL);
}

/* Keeps the trailers until the body has left. False: they are too many or too large. */
static bool keep_trailers(struct stream *stream, const struct net_reply *reply)
{
    size_t max = stream->session->base.server->options.max_header_bytes;

    for (size_t i = 0; i < reply->trailer_count; i++) {
        if (!net_fields_add(&stream->trailers, reply->trailers[i].name, reply->trailers[i].value,
                            max))
            return false;
    }
    stream->source.trailers = reply->trailer_count ? &stream->trailers : NULL;
    return true;
}

static void respond(struct stream *stream, const struct net_reply *reply)
{
    struct http2_session *s = stream->session;
    bool with_body = blob_slice(reply->body).len > 0 && !stream->is_head &&
                     net_http1_status_has_body(reply->status);

    list_remove(&stream->link);
    list_append(&s->answering, &stream->link);
    stream->state = ANSWERING;
    stream->since_ms = net_loop_now_ms(s->h2.conn->loop);
    stream->source.body = with_body ? blob_ref(reply->body) : NULL;
    if (!keep_trailers(stream, reply) || submit(stream, reply, with_body) < 0)
        must(s, nghttp2_submit_rst_stream(s->h2.session, NGHTTP2_FLAG_NONE, stream->id,
                                          NGHTTP2_INTERNAL_ERROR));
    flush_soon(s);
}

static void answer(struct net_exchange *exchange, const struct net_reply *reply)
{
    struct stream *stream = LIST_ENTRY(exchange, struct stream, exchange);

    assert(stream->state == PENDING && "an exchange is answered once");
    assert(reply->trailer_count == 0 || blob_slice(reply->body).len > 0);
    respond(stream, reply);
}

/* Answers what is no proper request; its stream is reset behind the answer. */
static void refuse(struct stream *stream, int status, const char *reason)
{
    const struct net_header type = {slice_str("content-type"), slice_str("application/json")};
    struct http2_session *s = stream->session;
    char text[NET_REFUSAL_TEXT];
    struct blob *body;

    assert(stream->state == RECEIVING);
    net_server_refused(s->base.server, s->peer, status, reason);
    net_refusal_text(text, status, reason);
    body = blob_copy(slice_str(text));
    unbuffer(stream);
    buf_free(&stream->body);
    stream->refused = status;
    s->refusing++;
    respond(stream, &(struct net_reply){
                        .status = status, .headers = &type, .header_count = 1, .body = body});
    blob_unref(body);
}

static void refuse_unfit(struct stream *stream, bool no_memory, int status, const char *reason)
{
    if (no_memory)
        refuse(stream, 503, "out of memory for the message");
    else
        refuse(stream, status, reason);
}

/* --- requests -------------------------------------------------------------------------------- */

static struct stream *find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2_session *s = arg;
    struct stream *stream;

    if (s->closed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    stream = new_stream(s, frame->hd.stream_id);
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    stream->exchange.answer = answer;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    return 0;
}

static bool keep_name(struct stream *stream, struct span *span, struct slice value, size_t max)
{
    stream->fields.bytes += value.len;
    if (stream->fields.bytes > max)
        return false;
    *span = (struct span){stream->names.len, value.len};
    buf_append_slice(&stream->names, value);
    return !(stream->fields.no_memory = stream->names.failed);
}

static bool keep_field(struct stream *stream, struct slice name, struct slice value)
{
    size_t max = stream->session->base.server->options.max_header_bytes;

    if (*(const char *)name.data != ':') {
        if (slice_eq(name, FIXED("host"))) {
            if (stream->has_host)
                return true; /* :authority has said it */
            stream->has_host = true;
        } else if (slice_eq(name, FIXED("content-length"))) {
            stream->has_length = true;
        }
        return net_fields_add(&stream->fields, name, value, max);
    }
    if (slice_eq(name, FIXED(":authority"))) {
        stream->has_host = true;
        return net_fields_add(&stream->fields, FIXED("host"), value, max);
    }
    if (slice_eq(name, FIXED(":method")))
        return keep_name(stream, &stream->method, value, max);
    if (slice_eq(name, FIXED(":path")))
        return keep_name(stream, &stream->target, value, max);
    return true;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct http2_session *s = arg;
    struct stream *stream = find(session, frame->hd.stream_id);

    (void)flags;
    if (s->closed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!stream || stream->unfit || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers are forgotten */
    if (!keep_field(stream, slice(name, name_len), slice(value, value_len)))
        stream->unfit = true;
    return 0;
}

static struct slice part(const struct stream *stream, struct span span)
{
    return slice(stream->names.data + span.at, span.len);
}

static void deliver(struct stream *stream)
{
    struct http2_session *s = stream->session;
    struct net_server *server = s->base.server;
    struct net_request *request = &stream->request;

    *request = (struct net_request){
        .method = part(stream, stream->method),
        .headers = stream->fields.headers,
        .header_count = stream->fields.count,
        .body = buf_slice(&stream->body),
        .peer = slice_str(s->peer),
        .http2 = true,
        .no_content_length = !stream->has_length && stream->body.len == 0,
    };
    if (!net_target_split(part(stream, stream->target), &request->path, &request->query)) {
        refuse(stream, 400, "the request target should be a path");
        return;
    }
    list_remove(&stream->link);
    list_append(&s->pending, &stream->link);
    unbuffer(stream);
    stream->state = PENDING;
    stream->delivered = true;
    server->exchanges++;
    server->options.handle(server->options.arg, &stream->exchange, request);
}

/* A peer that waits for leave to send the body gets it. */
static void maybe_continue(struct stream *stream)
{
    const nghttp2_nv status = net_http2_field(FIXED(":status"), FIXED("100"), 0);
    struct slice expect = net_header_get(stream->fields.headers, stream->fields.count, "expect");

    if (expect.len == 12 && strncasecmp(expect.data, "100-continue", 12) == 0)
        must(stream->session, nghttp2_submit_headers(stream->session->h2.session, NGHTTP2_FLAG_NONE,
                                                     stream->id, NULL, &status, 1, NULL));
}

/* A Content-Length, which nghttp2 has seen to be a number. */
static uint64_t announced(struct slice text)
{
    const char *digits = text.data;
    uint64_t value = 0;

    for (size_t i = 0; i < text.len && digits[i] >= '0' && digits[i] <= '9'; i++)
        value = 10 * value + (uint64_t)(digits[i] - '0');
    return value;
}

/* The head of a request is there. */
static void on_head(struct stream *stream, bool more)
{
    const struct net_server_options *o = &stream->session->base.server->options;
    struct slice length;

    if (stream->unfit) {
        refuse_unfit(stream, stream->fields.no_memory, 431, "the headers are too large");
        return;
    }
    net_fields_make(&stream->fields);
    stream->is_head = slice_eq_str(part(stream, stream->method), "HEAD");
    length = net_header_get(stream->fields.headers, stream->fields.count, "content-length");
    if (slice_eq_str(part(stream, stream->method), "CONNECT"))
        refuse(stream, 400, "CONNECT is not served here");
    else if (announced(length) > o->max_body)
        refuse(stream, 413, "the body is too large");
    else if (more)
        maybe_continue(stream);
}

/* Gives the peer leave to send as much again as it has sent. */
static void give_back(struct stream *stream)
{
    must(stream->session,
         nghttp2_session_consume_stream(stream->session->h2.session, stream->id, stream->withheld));
    stream->session->withheld -= stream->withheld;
    stream->withheld = 0;
}

static void relieve(struct http2_session *s)
{
    LIST_FOR_EACH (node, tmp, &s->receiving) {
        struct stream *stream = LIST_ENTRY(node, struct stream, link);

        if (stream->withheld > 0)
            give_back(stream);
        if (s->buffered > BUDGET)
            return;
    }
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg)
{
    struct http2_session *s = arg;
    struct stream *stream = find(session, id);

    (void)flags;
    if (s->closed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    must(s, nghttp2_session_consume_connection(session, len));
    if (!stream || stream->state != RECEIVING)
        return 0;
    buf_append(&stream->body, data, len);
    if (stream->body.failed) {
        refuse_unfit(stream, len <= stream->body.max - stream->body.len, 413,
                     "the body is too large");
        return 0;
    }
    s->buffered += len;
    s->base.server->arriving += len;
    if (net_server_is_full(s->base.server, stream->body.len)) {
        refuse(stream, 503, NET_TOO_MUCH);
        return 0;
    }
    stream->withheld += len;
    s->withheld += len;
    if (s->buffered <= BUDGET || s->receiving.next == &stream->link)
        give_back(stream);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2_session *s = arg;
    struct stream *stream;

    if (s->closed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!net_http2_bear(&s->h2, frame))
        return 0;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    stream = find(session, frame->hd.stream_id);
    if (!stream || stream->state != RECEIVING)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        on_head(stream, !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM));
    if (stream->state == RECEIVING && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        deliver(stream);
    return s->closed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* A refused request that is still coming in: its answer is out, and the rest is not wanted. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2_session *s = arg;
    struct stream *stream;

    if (s->refusing == 0 || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    stream = find(session, frame->hd.stream_id);
    if (stream && stream->refused &&
        nghttp2_session_get_stream_remote_close(session, stream->id) == 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct http2_session *s = arg;
    struct stream *stream = find(session, id);

    (void)error;
    if (s->closed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream)
        drop_stream(stream);
    return s->closed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* --- events of the connection ---------------------------------------------------------------- */

static void on_bytes(struct net_conn *conn, const uint8_t *data, size_t len)
{
    struct http2_session *s = conn->owner;
    ssize_t n;

    s->heard_ms = net_loop_now_ms(conn->loop);
    s->pinged = false;
    n = nghttp2_session_mem_recv(s->h2.session, data, len);
    if (s->closed)
        return;
    if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC || n == NGHTTP2_ERR_NOMEM) {
        close_session(s);
        return;
    }
    if (n < 0)
        nghttp2_session_terminate_session(s->h2.session, NGHTTP2_ENHANCE_YOUR_CALM);
    if (n < 0 || !nghttp2_session_want_read(s->h2.session))
        net_conn_pause(conn);
    if (s->withheld > 0)
        relieve(s);
    flush_soon(s);
}

static void on_gone(struct net_conn *conn)
{
    close_session(conn->owner);
}

static void on_broken(struct net_conn *conn, int error)
{
    (void)error;
    close_session(conn->owner);
}

static void on_written(struct net_conn *conn, int error)
{
    struct http2_session *s = conn->owner;

    if (error)
        close_session(s);
    else
        send_frames(s);
}

/* A peer that takes (next to) nothing of an answer does not get the rest of it. False: it has not
 * even let the reset through. */
static bool check_answering(struct http2_session *s, int64_t before)
{
    LIST_FOR_EACH (node, tmp, &s->answering) {
        struct stream *stream = LIST_ENTRY(node, struct stream, link);

        if (stream->since_ms > before)
            return true;
        if (stream->given_up)
            return false;
        if (stream->source.done < stream->done_before + ANSWER_MIN) {
            stream->given_up = true;
            nghttp2_submit_rst_stream(s->h2.session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
        }
        stream->done_before = stream->source.done;
        stream->since_ms = net_loop_now_ms(s->h2.conn->loop);
        list_remove(node);
        list_append(&s->answering, node);
    }
    return true;
}

static void on_deadline(struct net_conn *conn)
{
    struct http2_session *s = conn->owner;
    const struct net_server_options *o = &s->base.server->options;
    int64_t now = net_loop_now_ms(conn->loop);
    int64_t before = now - o->header_timeout_ms;

    if ((s->pinged && s->heard_ms <= before) || !check_answering(s, before)) {
        close_session(s); /* not even a ping came back */
        return;
    }
    while (head_since(&s->receiving) <= before)
        refuse(LIST_ENTRY(s->receiving.next, struct stream, link), 408,
               "the request did not come in whole in time");
    if (s->count == 0 && s->idle_ms + o->idle_timeout_ms <= now) {
        nghttp2_session_terminate_session(s->h2.session, NGHTTP2_NO_ERROR);
        net_http2_send(&s->h2);
        close_session(s);
        return;
    }
    if (!s->pinged && s->heard_ms + o->idle_timeout_ms <= now) {
        s->pinged = true;
        s->heard_ms = now;
        nghttp2_submit_ping(s->h2.session, NGHTTP2_FLAG_NONE, NULL);
    }
    flush_soon(s);
}

static void on_closed(struct net_conn *conn)
{
    struct http2_session *s = conn->owner;

    nghttp2_session_del(s->h2.session);
    free(s);
}

/* --- as the server sees it ------------------------------------------------------------------- */

/* What the peer sends from here on is not processed, and it knows that it may go elsewhere. */
static void retire(struct net_session *base)
{
    struct http2_session *s = LIST_ENTRY(base, struct http2_session, base);

    s->retired = true;
    nghttp2_submit_goaway(s->h2.session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(s->h2.session), NGHTTP2_NO_ERROR,
                          NULL, 0);
    flush_soon(s);
}

static void destroy(struct net_session *base)
{
    close_session(LIST_ENTRY(base, struct http2_session, base));
}

static void set_up(nghttp2_session_callbacks *callbacks, nghttp2_option *option)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, RESETS, RESETS_BACK);
    nghttp2_option_set_server_fallback_rfc7540_priorities(option, 0);
}

static int open_session(struct http2_session *s)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, NET_HTTP2_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)s->base.server->options.max_header_bytes},
    };

    return net_http2_start(
        &s->h2, &(struct net_http2_side){.server = true,
                                         .set_up = set_up,
                                         .settings = settings,
                                         .setting_count = sizeof settings / sizeof *settings,
                                         .window = CONNECTION_WINDOW});
}

bool net_http2_serve(struct net_server *server, struct net_conn *conn, const char *peer)
{
    static const struct net_conn_events events = {on_bytes,    on_gone,   on_broken, on_written,
                                                  on_deadline, on_closed, NULL};
    static const struct net_session_ops ops = {retire, destroy};
    struct http2_session *s = calloc(1, sizeof *s);

    if (!s)
        return false;
    net_server_add(server, &s->base, &ops);
    if (open_session(s) < 0) {
        net_server_remove(&s->base);
        free(s);
        return false;
    }
    s->h2.conn = conn;
    net_deferred_init(&s->h2.flush, on_flush);
    list_init(&s->receiving);
    list_init(&s->pending);
    list_init(&s->answering);
    s->idle_ms = s->heard_ms = net_loop_now_ms(server->loop);
    snprintf(s->peer, sizeof s->peer, "%s", peer);
    net_conn_use(conn, &events, s);
    flush_soon(s);
    return true;
}
