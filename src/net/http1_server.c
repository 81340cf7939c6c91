// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/1 on one accepted connection.
 *
 *   READING    bytes go to the parser; a whole request is handed to the application
 *   PENDING    the application has it; what the peer sends meanwhile (pipelined requests) is kept,
 *              up to REST_MAX, past which the connection is not read
 *   WRITING    the answer waits for room in the socket
 *   LINGERING  an error was answered to a request that we did not read to its end: the peer is told
 *              that no more comes, and what it still sends is thrown away for a moment, as closing
 * at once could destroy the answer on its way CLOSED
 *
 * Requests are answered one after the other, so one answer at most waits to be written. A peer that
 * does not read it is given up when less than WRITE_MIN bytes left within header_timeout_ms.
 *
 * When the peer ends its side (FIN) while its request is pending: clients that give up close the
 * whole connection, which looks the same, so the exchange is `gone`; save for HTTP/1.0, where
 * ending the sending side after the request is an old habit, and the answer is still written.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "net/http1.h"
#include "net/server.h"

enum { REST_MAX = 128 << 10, LINGER_MS = 2000, WRITE_MIN = 32 << 10, REST_KEEP = 4 << 10 };

enum state { READING, PENDING, WRITING, LINGERING, CLOSED };

struct http1_session {
    struct net_conn *conn;
    struct net_session base;
    struct net_exchange exchange;
    struct net_http1 message;
    struct net_request request;
    struct net_deferred resume; /* to take up `rest` again */
    struct buf rest;            /* what came while a request was pending */
    enum state state;
    bool processing; /* in process(), which goes on by itself after an answer */
    bool ended;      /* the peer sends no more */
    bool close_after;
    bool continued;       /* 100 Continue was sent for this request */
    size_t counted;       /* bytes of the body, as one that is coming in */
    size_t queued_before; /* of the answer, when its deadline was last set */
    char peer[NET_ADDRESS_TEXT];
};

static struct http1_session *of_conn(struct net_conn *conn)
{
    return conn->owner;
}

static void count_arriving(struct http1_session *s, size_t len)
{
    s->base.server->arriving += len - s->counted;
    s->counted = len;
}

static void close_session(struct http1_session *s)
{
    if (s->state == CLOSED)
        return;
    count_arriving(s, 0);
    assert(s->state != PENDING);
    if (s->state == WRITING)
        s->base.server->exchanges--;
    s->state = CLOSED;
    net_deferred_cancel(&s->resume);
    net_server_remove(&s->base);
    net_conn_close(s->conn);
}

/* The peer went away; a pending exchange with it. */
static void lose(struct http1_session *s)
{
    struct net_server *server = s->base.server;

    if (s->state == PENDING) {
        server->exchanges--;
        s->state = READING;
        if (server->options.gone)
            server->options.gone(server->options.arg, &s->exchange);
    }
    close_session(s);
}

static void refuse(struct http1_session *s, int status, const char *reason);

/* --- answers --------------------------------------------------------------------------------- */

static void linger(struct http1_session *s)
{
    if (s->ended) {
        close_session(s);
        return;
    }
    net_conn_shutdown(s->conn);
    net_conn_set_deadline(s->conn, LINGER_MS);
    net_conn_resume(s->conn);
}

/* The peer sends no more: what that means for the request at hand. */
static void after_end(struct http1_session *s)
{
    switch (s->state) {
    case READING:
        if (s->rest.len > 0)
            break; /* what came before the end is still looked at: see on_resume */
        if (s->message.begun)
            refuse(s, 400, "the connection ended within the request");
        else
            close_session(s);
        break;
    case PENDING:
        if (!s->message.http10)
            lose(s);
        break;
    case LINGERING:
        if (s->conn->queued == 0)
            close_session(s);
        break;
    case WRITING: /* it may still be reading */
    case CLOSED:
        break;
    }
}

/* The answer has left. */
static void answered(struct http1_session *s)
{
    struct net_server *server = s->base.server;

    server->exchanges--;
    s->state = READING;
    net_http1_trim(&s->message);
    if (s->close_after || server->closing) {
        s->state = LINGERING;
        if (s->rest.len == 0)
            close_session(s);
        else
            linger(s);
        return;
    }
    net_http1_reset(&s->message);
    net_conn_set_deadline(s->conn, server->options.idle_timeout_ms);
    if (s->processing)
        return;
    if (s->rest.len > 0)
        net_defer(s->conn->loop, &s->resume);
    else if (s->ended)
        close_session(s);
}

static void watch_writing(struct http1_session *s)
{
    s->queued_before = s->conn->queued;
    net_conn_set_deadline(s->conn, s->base.server->options.header_timeout_ms);
}

static void answer(struct net_exchange *exchange, const struct net_reply *reply)
{
    struct http1_session *s = LIST_ENTRY(exchange, struct http1_session, exchange);
    struct buf *out = &s->conn->loop->scratch;
    struct blob *body = reply->body;
    bool close;
    int rc = -ENOMEM;

    assert(s->state == PENDING && "an exchange is answered once");
    assert(reply->trailer_count == 0);
    s->close_after |= !s->message.keep_alive;
    close = s->close_after || s->base.server->closing;
    buf_reset(out);
    net_http1_put_response(
        out, &(struct net_http1_reply){
                 .status = reply->status,
                 .headers = reply->headers,
                 .header_count = reply->header_count,
                 .body_len = blob_slice(body).len,
                 .date = net_loop_date(s->conn->loop),
                 .close = close,
                 .keep_alive = !close && s->message.http10,
                 .upgrade_h2c = !s->conn->tls && s->base.server->options.advertise_h2c,
             });
    if (s->message.parser.method == HTTP_HEAD || !net_http1_status_has_body(reply->status))
        body = NULL;
    s->state = WRITING;
    if (!out->failed)
        rc = net_conn_write(s->conn, buf_slice(out), body);
    if (rc < 0)
        close_session(s);
    else if (s->conn->queued > 0)
        watch_writing(s);
    else
        answered(s);
}

/* Answers what is no proper request, and reads no further one. */
static void refuse(struct http1_session *s, int status, const char *reason)
{
    const struct net_header type = {slice_str("content-type"), slice_str("application/json")};
    struct buf *out = &s->conn->loop->scratch;
    char body[NET_REFUSAL_TEXT];
    size_t len;

    count_arriving(s, 0);
    net_server_refused(s->base.server, s->peer, status, reason);
    net_refusal_text(body, status, reason);
    len = strlen(body);
    buf_reset(out);
    net_http1_put_response(out, &(struct net_http1_reply){.status = status,
                                                          .headers = &type,
                                                          .header_count = 1,
                                                          .body_len = len,
                                                          .date = net_loop_date(s->conn->loop),
                                                          .close = true});
    if (s->message.begun && s->message.parser.method == HTTP_HEAD)
        len = 0;
    buf_append(out, body, len);
    if (out->failed || net_conn_write(s->conn, buf_slice(out), NULL) < 0) {
        close_session(s);
        return;
    }
    s->state = LINGERING;
    net_conn_set_deadline(s->conn, LINGER_MS);
    if (s->conn->queued == 0)
        linger(s);
}

/* --- requests -------------------------------------------------------------------------------- */

static void deliver(struct http1_session *s)
{
    struct net_server *server = s->base.server;
    struct net_http1 *m = &s->message;

    s->request = (struct net_request){
        .method = net_http1_method(m),
        .headers = m->headers,
        .header_count = m->count,
        .body = buf_slice(&m->body),
        .peer = slice_str(s->peer),
        .no_content_length = !m->has_length && !m->chunked,
        .chunked = m->chunked,
    };
    if (!net_target_split(net_http1_url(m), &s->request.path, &s->request.query)) {
        refuse(s, 400, "the request target should be a path");
        return;
    }
    count_arriving(s, 0);
    s->state = PENDING;
    s->exchange.data = NULL;
    server->exchanges++;
    net_conn_clear_deadline(s->conn);
    server->options.handle(server->options.arg, &s->exchange, &s->request);
}

/* A peer that waits for leave to send the body gets it, once. */
static void maybe_continue(struct http1_session *s)
{
    if (!s->message.expects_continue || s->continued || !s->message.head_done ||
        s->message.body.len > 0)
        return;
    s->continued = true;
    if (net_conn_write(s->conn, slice_str("HTTP/1.1 100 Continue\r\n\r\n"), NULL) < 0)
        close_session(s);
}

/* Takes requests from the bytes while they can be answered at once; returns how many were used. */
static size_t process(struct http1_session *s, const uint8_t *data, size_t len)
{
    size_t used = 0;

    s->processing = true;
    while (s->state == READING && used < len) {
        if (!s->message.fed) {
            s->continued = false;
            net_conn_set_deadline(s->conn, s->base.server->options.header_timeout_ms);
        }
        used += net_http1_feed(&s->message, data + used, len - used);
        if (s->message.state == HTTP1_BAD)
            refuse(s, s->message.status, s->message.reason);
        else if (s->message.state == HTTP1_DONE)
            deliver(s);
        else
            count_arriving(s, s->message.body.len);
        if (s->state == READING && net_server_is_full(s->base.server, s->counted))
            refuse(s, 503, NET_TOO_MUCH);
    }
    s->processing = false;
    if (s->state == READING)
        maybe_continue(s);
    return used;
}

static void keep(struct http1_session *s, const uint8_t *data, size_t len)
{
    buf_append(&s->rest, data, len);
    if (s->rest.failed)
        lose(s);
    else if (s->rest.len >= REST_MAX - NET_READ_BUFFER)
        net_conn_pause(s->conn);
}

static void on_resume(struct net_deferred *deferred)
{
    struct http1_session *s = LIST_ENTRY(deferred, struct http1_session, resume);
    size_t used;

    if (s->state != READING)
        return;
    used = process(s, s->rest.data, s->rest.len);
    if (s->state == CLOSED)
        return;
    buf_consume(&s->rest, used);
    if (s->rest.len == 0 && s->rest.cap > REST_KEEP)
        buf_free(&s->rest);
    if (s->rest.len < REST_MAX - NET_READ_BUFFER)
        net_conn_resume(s->conn);
    if (s->ended)
        after_end(s);
}

/* --- events of the connection ---------------------------------------------------------------- */

static void on_bytes(struct net_conn *conn, const uint8_t *data, size_t len)
{
    struct http1_session *s = of_conn(conn);
    size_t used = 0;

    if (s->state == LINGERING)
        return;
    if (s->state == READING && s->rest.len == 0)
        used = process(s, data, len);
    if (used < len && s->state != CLOSED && s->state != LINGERING)
        keep(s, data + used, len - used);
}

static void on_end(struct net_conn *conn)
{
    struct http1_session *s = of_conn(conn);

    s->ended = true;
    after_end(s);
}

static void on_broken(struct net_conn *conn, int error)
{
    (void)error;
    lose(of_conn(conn));
}

static void on_written(struct net_conn *conn, int error)
{
    struct http1_session *s = of_conn(conn);

    if (error)
        lose(s);
    else if (s->state == WRITING)
        answered(s);
    else if (s->state == LINGERING)
        linger(s);
}

static void on_deadline(struct net_conn *conn)
{
    struct http1_session *s = of_conn(conn);

    if (s->state == READING && s->message.fed) {
        refuse(s, 408, "the request did not come in whole in time");
    } else if (s->state == WRITING && s->conn->queued + WRITE_MIN <= s->queued_before) {
        watch_writing(s);
    } else if (s->state != PENDING) {
        close_session(s);
    }
}

static void on_closed(struct net_conn *conn)
{
    struct http1_session *s = of_conn(conn);

    net_http1_free(&s->message);
    buf_free(&s->rest);
    free(s);
}

/* --- as the server sees it ------------------------------------------------------------------- */

static void retire(struct net_session *base)
{
    struct http1_session *s = LIST_ENTRY(base, struct http1_session, base);

    if (s->state == READING && !s->message.fed && s->rest.len == 0)
        close_session(s);
}

static void destroy(struct net_session *base)
{
    lose(LIST_ENTRY(base, struct http1_session, base));
}

bool net_http1_serve(struct net_server *server, struct net_conn *conn, const char *peer)
{
    static const struct net_conn_events events = {on_bytes,    on_end,    on_broken, on_written,
                                                  on_deadline, on_closed, NULL};
    static const struct net_session_ops ops = {retire, destroy};
    struct http1_session *s = calloc(1, sizeof *s);

    if (!s)
        return false;
    s->conn = conn;
    net_conn_use(conn, &events, s);
    net_http1_init(&s->message, HTTP_REQUEST, server->options.max_header_bytes,
                   server->options.max_body);
    net_deferred_init(&s->resume, on_resume);
    buf_init(&s->rest, REST_MAX);
    s->exchange.answer = answer;
    s->state = READING;
    snprintf(s->peer, sizeof s->peer, "%s", peer);
    net_server_add(server, &s->base, &ops);
    net_conn_set_deadline(s->conn, server->options.idle_timeout_ms);
    return true;
}
