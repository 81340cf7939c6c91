// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/2 on one connection to a host: many calls, each on its stream.
 *
 * Until the peer's SETTINGS come nothing is sent but ours. A call is then submitted as soon as the
 * peer's limit on streams allows, and leaves with all others at the end of the loop's turn; its
 * fields are views into the head that HTTP/1 would send.
 *
 * What the peer did not process (GOAWAY, REFUSED_STREAM) goes again over another connection: this
 * one takes no further calls, and is closed when it carries none. A connection that was closed
 * while it was not used, and before anything came back, is replaced silently, too. When nothing at
 * all comes for a while although there are calls, the peer is sent a ping: if that is not answered
 * either, all calls fail.
 */
#include <assert.h>
#include <stdlib.h>

#include "net/client.h"

enum {
    STREAM_WINDOW = 1 << 20,
    CONNECTION_WINDOW = 16 << 20,
    REFUSALS_MAX = 5, /* of one call */
    INTERIM_MAX = 16,
    LAST_STREAM = 0x7fffff00
};

struct http2_channel {
    struct net_http2 h2; /* first: nghttp2 calls back with it */
    struct net_channel base;
    struct list place; /* of the host's multiplexed ones */
    struct list calls;
    size_t streams, max_streams;
    bool ready;    /* SETTINGS have come */
    bool draining; /* takes no more calls */
    bool pinged;
    bool used;   /* a response has come */
    bool silent; /* nothing has come since it was idle */
};

static struct http2_channel *of_base(struct net_channel *base)
{
    return LIST_ENTRY(base, struct http2_channel, base);
}

/* --- the channel's life ---------------------------------------------------------------------- */

static void flush_soon(struct http2_channel *channel)
{
    net_flush_later(channel->h2.conn->loop, &channel->h2.flush);
}

static bool has_room(const struct http2_channel *channel)
{
    return channel->ready && !channel->draining && channel->streams < channel->max_streams;
}

/* Those with room stand first. */
static void find_place(struct http2_channel *channel)
{
    struct list *all = &channel->base.host->multiplexed;

    if (channel->draining)
        return;
    list_remove(&channel->place);
    if (has_room(channel))
        list_push(all, &channel->place);
    else
        list_append(all, &channel->place);
}

/* It takes no more calls. */
static void drain(struct http2_channel *channel)
{
    if (channel->draining)
        return;
    channel->draining = true;
    list_remove(&channel->place);
    channel->base.host->multiplexed_count--;
}

static void close_channel(struct http2_channel *channel)
{
    if (!channel->base.client)
        return;
    assert(list_empty(&channel->calls));
    net_deferred_cancel(&channel->h2.flush);
    drain(channel);
    net_channel_remove(&channel->base);
    net_conn_close(channel->h2.conn);
}

static void on_close(struct net_channel *base)
{
    struct http2_channel *channel = of_base(base);

    if (!channel->ready)
        base->host->greeting = false;
    close_channel(channel);
}

/* Takes the call off its stream. */
static void let_go(struct http2_channel *channel, struct net_call *call)
{
    bool had_room = has_room(channel);

    nghttp2_session_set_stream_user_data(channel->h2.session, call->stream, NULL);
    list_remove(&call->carried);
    call->channel = NULL;
    channel->streams--;
    if (!had_room)
        find_place(channel);
    flush_soon(channel); /* which looks whether somebody waits, and whether this was the last */
}

static void drop(struct net_channel *base, struct net_call *call)
{
    struct http2_channel *channel = of_base(base);

    nghttp2_submit_rst_stream(channel->h2.session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
    let_go(channel, call);
}

/* Unprocessed: it may go elsewhere. */
static void refused(struct http2_channel *channel, struct net_call *call)
{
    drain(channel);
    let_go(channel, call);
    if (++call->refusals < REFUSALS_MAX)
        net_call_again(call);
    else
        net_call_fail(call, NET_TCP, "the peer refused it %d times", REFUSALS_MAX);
}

/* The connection is over. */
static void interrupted(struct http2_channel *channel, enum net_failure failure, const char *why)
{
    struct net_client *client = channel->base.client;
    struct net_host *host = channel->base.host;
    bool stale = channel->used && channel->silent;
    struct list orphans;
    struct list *node;

    net_client_enter(client);
    host->refs++;
    list_init(&orphans);
    list_splice(&orphans, &channel->calls);
    LIST_FOR_EACH (at, tmp, &orphans)
        LIST_ENTRY(at, struct net_call, carried)->channel = NULL;
    close_channel(channel);
    if (!channel->ready)
        net_route_not_greeted(host, failure, why);
    while ((node = list_pop(&orphans))) {
        struct net_call *call = LIST_ENTRY(node, struct net_call, carried);

        if (stale && !call->again)
            net_call_again(call);
        else
            net_call_fail(call, failure, "%s", why);
    }
    if (!client->destroyed)
        net_route_waiting(host);
    net_pool_unref(&client->pool, host);
    net_client_leave(client);
}

/* --- requests -------------------------------------------------------------------------------- */

struct net_channel *net_http2_find(struct net_host *host)
{
    struct http2_channel *channel;

    if (list_empty(&host->multiplexed))
        return NULL;
    channel = LIST_ENTRY(host->multiplexed.next, struct http2_channel, place);
    return has_room(channel) ? &channel->base : NULL;
}

/* Fields that are never the same twice do not go into the table of those seen before: they would
 * push out the others, and be compared with each one that comes after them. */
static bool is_unique(struct slice name)
{
    static const char *const names[] = {"x-request-id", "signature", "signature-input",
                                        "content-digest", "idempotency-key"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_eq_str(name, names[i]))
            return true;
    }
    return false;
}

/* What stands before the next `stop`, which there is; `rest` is moved behind it. */
static struct slice take(struct slice *rest, char stop)
{
    const uint8_t *from = rest->data;
    const uint8_t *at = memchr(from, stop, rest->len);

    assert(at);
    *rest = slice(at + 1, rest->len - (size_t)(at - from) - 1);
    return slice(from, (size_t)(at - from));
}

enum { UNCOPIED = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE };

static void to_lower(struct slice name)
{
    uint8_t *at = (uint8_t *)(uintptr_t)name.data;

    for (size_t i = 0; i < name.len; i++) {
        if (at[i] >= 'A' && at[i] <= 'Z')
            at[i] = (uint8_t)(at[i] + ('a' - 'A'));
    }
}

/* The fields of a head of ours, as net_http1_put_request made it: "GET /path HTTP/1.1", lines of
 * "Name: value", an empty line. Names become lower case in place. */
static size_t fields_of(struct net_call *call, nghttp2_nv *fields)
{
    struct slice rest = buf_slice(&call->head);
    size_t n = 4;

    fields[0] = net_http2_field(FIXED(":method"), take(&rest, ' '), UNCOPIED);
    fields[1] = net_http2_field(FIXED(":scheme"), call->host->tls ? FIXED("https") : FIXED("http"),
                                UNCOPIED);
    fields[2] = net_http2_field(FIXED(":path"), take(&rest, ' '), UNCOPIED);
    fields[3] = net_http2_field(FIXED(":authority"), FIXED(""), UNCOPIED);
    take(&rest, '\n');
    while (*(const char *)rest.data != '\r') {
        struct slice name = take(&rest, ':');
        struct slice line = take(&rest, '\n');
        struct slice value = slice((const uint8_t *)line.data + 1, line.len - 2);

        to_lower(name);
        if (slice_eq_str(name, "host")) {
            fields[3] = net_http2_field(FIXED(":authority"), value, UNCOPIED);
        } else if (!net_http2_is_hop_field(name)) {
            fields[n] = net_http2_field(name, value, UNCOPIED);
            if (is_unique(name))
                fields[n].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
            n++;
        }
    }
    return n;
}

bool net_http2_submit(struct net_channel *base, struct net_call *call)
{
    struct http2_channel *channel = of_base(base);
    nghttp2_data_provider provider = net_http2_provider(&call->source);
    nghttp2_nv fields[NET_HEADERS_MAX + 8];
    size_t count = fields_of(call, fields);
    int32_t id;

    assert(has_room(channel) && !call->channel);
    id = nghttp2_submit_request(channel->h2.session, NULL, fields, count,
                                blob_slice(call->source.body).len > 0 ? &provider : NULL, call);
    if (id < 0 || id > LAST_STREAM)
        drain(channel);
    if (id < 0)
        return false;
    call->stream = id;
    call->status = 0;
    call->interim = 0;
    call->head_done = false;
    net_fields_reset(&call->fields);
    buf_reset(&call->body);
    call->channel = base;
    list_append(&channel->calls, &call->carried);
    if (channel->streams++ == 0) {
        channel->silent = true;
        net_conn_set_deadline(channel->h2.conn, base->client->options.idle_timeout_ms);
    }
    if (!has_room(channel))
        find_place(channel);
    flush_soon(channel);
    return true;
}

/* --- responses ------------------------------------------------------------------------------- */

static struct net_call *find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* After a call's end the channel may be no more. */
static int go_on(const struct http2_channel *channel)
{
    return channel->base.client ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* The beginning of a head: of an interim response, or the final one. */
static bool take_status(struct net_call *call, const uint8_t *value, size_t len)
{
    if (len != 3) /* nghttp2 has seen that they are digits */
        return false;
    call->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
    net_fields_reset(&call->fields);
    return call->status >= 200 || ++call->interim <= INTERIM_MAX;
}

static void does_not_fit(struct net_call *call, bool no_memory, const char *what)
{
    if (no_memory)
        net_call_fail(call, NET_TEMPORARY, "out of memory for the response");
    else
        net_call_fail(call, NET_MALFORMED, "malformed response: the %s too large", what);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct http2_channel *channel = arg;
    struct net_call *call = find(session, frame->hd.stream_id);

    (void)flags;
    if (!channel->base.client)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!call)
        return 0;
    if (*name == ':') { /* trailers have none */
        if (!take_status(call, value, value_len))
            net_call_fail(call, NET_MALFORMED,
                          "malformed response: too many interim (1xx) responses");
    } else if (!net_fields_add(&call->fields, slice(name, name_len), slice(value, value_len),
                               channel->base.client->options.max_header_bytes)) {
        does_not_fit(call, call->fields.no_memory, "headers are");
    }
    return go_on(channel);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg)
{
    struct http2_channel *channel = arg;
    struct net_call *call = find(session, id);

    (void)flags;
    if (!channel->base.client)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!call)
        return 0;
    buf_append(&call->body, data, len);
    if (call->body.failed)
        does_not_fit(call, len <= call->body.max - call->body.len, "body is");
    return go_on(channel);
}

static void complete(struct http2_channel *channel, struct net_call *call)
{
    struct net_response response;

    net_fields_make(&call->fields);
    response = (struct net_response){
        .failure = NET_OK,
        .status = call->status,
        .headers = call->fields.headers,
        .header_count = call->fields.count,
        .body = buf_slice(&call->body),
    };
    channel->used = true;
    /* The peer may have answered before it had the whole request, the rest of which it won't get.*/
    if (nghttp2_session_get_stream_local_close(channel->h2.session, call->stream) == 0)
        nghttp2_submit_rst_stream(channel->h2.session, NGHTTP2_FLAG_NONE, call->stream,
                                  NGHTTP2_CANCEL);
    let_go(channel, call);
    net_call_finish(call, &response);
}

static void on_settings(struct http2_channel *channel)
{
    uint32_t max = nghttp2_session_get_remote_settings(channel->h2.session,
                                                       NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    channel->max_streams = max < NET_HTTP2_STREAMS ? max : NET_HTTP2_STREAMS;
    if (!channel->ready && max == 0) {
        interrupted(channel, NET_TCP, "the peer takes no requests");
    } else if (!channel->ready) {
        channel->ready = true;
        net_conn_set_deadline(channel->h2.conn, channel->base.client->options.idle_timeout_ms);
        find_place(channel);
        net_route_greeted(channel->base.host);
    } else {
        find_place(channel);
        flush_soon(channel);
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2_channel *channel = arg;
    struct net_call *call;

    if (!channel->base.client)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!net_http2_bear(&channel->h2, frame))
        return 0;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            on_settings(channel);
        return go_on(channel);
    case NGHTTP2_GOAWAY: /* the calls that it leaves unprocessed are closed next */
        drain(channel);
        return 0;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        call = find(session, frame->hd.stream_id);
        if (!call)
            return 0;
        call->head_done |= call->status >= 200;
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            complete(channel, call);
        return go_on(channel);
    default:
        return 0;
    }
}

/* A stream that still has its call did not end well. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct http2_channel *channel = arg;
    struct net_call *call = find(session, id);

    if (!channel->base.client)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!call)
        return 0;
    if (error == NGHTTP2_REFUSED_STREAM) {
        refused(channel, call);
        return go_on(channel);
    }
    let_go(channel, call);
    if (error == NGHTTP2_PROTOCOL_ERROR && nghttp2_session_want_read(session))
        net_call_fail(call, NET_MALFORMED, "malformed response, or one that the peer took back");
    else
        net_call_fail(call, NET_TCP, "the peer reset the request (%s)",
                      nghttp2_http2_strerror(error));
    return go_on(channel);
}

/* --- events of the connection ---------------------------------------------------------------- */

static void on_flush(struct net_deferred *deferred)
{
    struct http2_channel *channel = LIST_ENTRY(deferred, struct http2_channel, h2.flush);
    struct net_client *client = channel->base.client;
    int rc;

    net_client_enter(client);
    if (!list_empty(&channel->base.host->waiting))
        net_route_waiting(channel->base.host);
    rc = net_http2_send(&channel->h2);
    if (!channel->base.client || rc == -ECANCELED) {
        /* a callback of the application closed it */
    } else if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET) {
        interrupted(channel, net_failure_of(rc), uv_strerror(rc));
    } else if (channel->ready && channel->streams == 0 && channel->h2.conn->queued == 0 &&
               (channel->draining || net_http2_is_over(&channel->h2))) {
        close_channel(channel);
    } else if (net_http2_is_over(&channel->h2)) {
        interrupted(channel, NET_MALFORMED, "malformed response: not proper HTTP/2");
    }
    net_client_leave(client);
}

static void on_bytes(struct net_conn *conn, const uint8_t *data, size_t len)
{
    struct http2_channel *channel = conn->owner;
    struct net_client *client = channel->base.client;
    ssize_t n;

    net_client_enter(client);
    channel->pinged = channel->silent = false;
    if (channel->ready)
        net_conn_set_deadline(conn, client->options.idle_timeout_ms);
    n = nghttp2_session_mem_recv(channel->h2.session, data, len);
    if (channel->base.client) {
        if (n == NGHTTP2_ERR_NOMEM)
            interrupted(channel, NET_TEMPORARY, "out of memory for the response");
        else if (n < 0 || !nghttp2_session_want_read(channel->h2.session))
            interrupted(channel, NET_MALFORMED, "malformed response: not proper HTTP/2");
        else
            flush_soon(channel);
    }
    net_client_leave(client);
}

static void on_end(struct net_conn *conn)
{
    interrupted(conn->owner, NET_TCP, "the connection was closed before a response");
}

static void on_broken(struct net_conn *conn, int error)
{
    const char *why;
    enum net_failure failure = net_conn_failure(conn, error, &why);

    interrupted(conn->owner, failure, why);
}

static void on_written(struct net_conn *conn, int error)
{
    struct http2_channel *channel = conn->owner;

    if (!error) /* if it is one, reading meets the end, too */
        on_flush(&channel->h2.flush);
}

static void on_deadline(struct net_conn *conn)
{
    struct http2_channel *channel = conn->owner;
    const struct net_client_options *o = &channel->base.client->options;

    if (!channel->ready) {
        interrupted(channel, NET_TIMEOUT, "no SETTINGS came in time");
    } else if (channel->streams == 0) {
        nghttp2_session_terminate_session(channel->h2.session, NGHTTP2_NO_ERROR);
        net_http2_send(&channel->h2);
        if (channel->base.client)
            close_channel(channel);
    } else if (channel->pinged) {
        interrupted(channel, NET_TCP, "the peer does not even answer a ping");
    } else {
        channel->pinged = true;
        nghttp2_submit_ping(channel->h2.session, NGHTTP2_FLAG_NONE, NULL);
        net_conn_set_deadline(conn, o->connect_timeout_ms);
        flush_soon(channel);
    }
}

static void on_closed(struct net_conn *conn)
{
    struct http2_channel *channel = conn->owner;

    nghttp2_session_del(channel->h2.session);
    free(channel);
}

/* --- opening --------------------------------------------------------------------------------- */

static void set_up(nghttp2_session_callbacks *callbacks, nghttp2_option *option)
{
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    /* We count the streams ourselves; the peer's own limit comes with its SETTINGS. */
    nghttp2_option_set_peer_max_concurrent_streams(option, NET_HTTP2_STREAMS);
}

static int open_session(struct http2_channel *channel, size_t max_header_bytes)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)max_header_bytes},
    };

    return net_http2_start(
        &channel->h2, &(struct net_http2_side){.set_up = set_up,
                                               .settings = settings,
                                               .setting_count = sizeof settings / sizeof *settings,
                                               .window = CONNECTION_WINDOW});
}

struct net_channel *net_http2_open(struct net_host *host, struct net_conn *conn)
{
    static const struct net_conn_events events = {on_bytes,    on_end,    on_broken, on_written,
                                                  on_deadline, on_closed, NULL};
    static const struct net_channel_ops ops = {drop, on_close};
    const struct net_client_options *o = &host->client->options;
    struct http2_channel *channel = calloc(1, sizeof *channel);

    if (!channel || open_session(channel, o->max_header_bytes) < 0) {
        free(channel);
        net_conn_close(conn);
        return NULL;
    }
    channel->h2.conn = conn;
    net_deferred_init(&channel->h2.flush, on_flush);
    list_init(&channel->calls);
    list_init(&channel->place);
    list_append(&host->multiplexed, &channel->place);
    host->multiplexed_count++;
    net_channel_add(&channel->base, host, &ops);
    net_conn_use(conn, &events, channel);
    net_conn_set_deadline(conn, o->connect_timeout_ms);
    flush_soon(channel);
    return &channel->base;
}
