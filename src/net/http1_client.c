// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/1 on one connection to a host: one call at a time, and none while it is kept for the next.
 *
 * The connection goes back to the pool before done() is called, so that a request sent from there
 * can use it; the response is still in the parser's buffers, which are reset only when the first
 * byte of the next response comes.
 *
 * A peer may answer before it has read the whole request (413), and then close: a failed write is
 * not the end, the reading side decides.
 */
#include <assert.h>
#include <stdlib.h>

#include "net/client.h"
#include "net/http1.h"

struct http1_channel {
    struct net_conn *conn;
    struct net_channel base;
    struct list idle; /* of the host's, when it is kept */
    struct net_call *call;
    struct net_http1 message;
    bool used, reused;
    bool answered; /* a byte of the response to this call has come */
};

static struct http1_channel *of_conn(struct net_conn *conn)
{
    return conn->owner;
}

static struct http1_channel *of_base(struct net_channel *base)
{
    return LIST_ENTRY(base, struct http1_channel, base);
}

static void leave_idle(struct http1_channel *channel)
{
    if (list_empty(&channel->idle))
        return;
    list_remove(&channel->idle);
    channel->base.host->idle_count--;
}

static void close_channel(struct http1_channel *channel)
{
    if (!channel->base.client)
        return;
    channel->call = NULL;
    leave_idle(channel);
    net_channel_remove(&channel->base);
    net_conn_close(channel->conn);
}

static void on_close(struct net_channel *base)
{
    close_channel(of_base(base));
}

static void drop(struct net_channel *base, struct net_call *call)
{
    assert(of_base(base)->call == call);
    (void)call;
    close_channel(of_base(base));
}

/* Takes the call off; what becomes of the channel is the caller's matter. */
static struct net_call *let_go(struct http1_channel *channel)
{
    struct net_call *call = channel->call;

    channel->call = NULL;
    call->channel = NULL;
    return call;
}

static void keep(struct http1_channel *channel)
{
    struct net_host *host = channel->base.host;

    if (host->idle_count >= channel->base.client->options.max_idle_per_host) {
        close_channel(channel);
        return;
    }
    list_push(&host->idle, &channel->idle);
    host->idle_count++;
    net_conn_set_deadline(channel->conn, channel->base.client->options.idle_timeout_ms);
}

void net_http1_keep(struct net_channel *base)
{
    keep(of_base(base));
}

struct net_channel *net_http1_take(struct net_host *host)
{
    struct http1_channel *channel;

    if (list_empty(&host->idle))
        return NULL;
    channel = LIST_ENTRY(host->idle.next, struct http1_channel, idle);
    leave_idle(channel);
    net_conn_clear_deadline(channel->conn);
    channel->reused = channel->used;
    return &channel->base;
}

int net_http1_send(struct net_channel *base, struct net_call *call)
{
    struct http1_channel *channel = of_base(base);
    int rc;

    assert(!channel->call && !call->channel && list_empty(&channel->idle));
    channel->answered = false;
    channel->used = true;
    rc = net_conn_write(channel->conn, buf_slice(&call->head), call->source.body);
    if (rc < 0) {
        close_channel(channel);
        return rc;
    }
    channel->call = call;
    call->channel = base;
    return 0;
}

/* The peer says that it speaks HTTP/2, too: from the next call on, that is what it gets. */
static void note_upgrade(struct http1_channel *channel)
{
    struct net_host *host = channel->base.host;
    struct slice offer =
        net_header_get(channel->message.headers, channel->message.count, "upgrade");

    if (!host->tls && !host->proxy && !host->http2 && slice_eq_str(offer, "h2c"))
        host->http2 = true;
}

/* --- the response ---------------------------------------------------------------------------- */

/* `spare`: the peer sent more than the response. */
static void complete(struct http1_channel *channel, bool spare)
{
    struct net_http1 *m = &channel->message;
    bool again = m->keep_alive && !spare && channel->conn->queued == 0 &&
                 !channel->conn->writing_failed && !channel->conn->ended;
    struct net_call *call = let_go(channel);
    struct net_response response = {
        .failure = NET_OK,
        .status = m->status,
        .headers = m->headers,
        .header_count = m->count,
        .body = buf_slice(&m->body),
    };

    note_upgrade(channel);
    if (again)
        keep(channel);
    else
        close_channel(channel);
    if (m->status == 101)
        net_call_fail(call, NET_UNSUPPORTED, "the peer switched to another protocol");
    else if (m->status == 407 && call->host->proxy && !call->host->tls)
        net_call_fail(call, NET_TCP, "the proxy %s:%u asks for credentials that it accepts",
                      call->host->proxy->host, call->host->proxy->port);
    else
        net_call_finish(call, &response);
    net_http1_trim(m); /* the channel may be closed, but is not freed before the next turn */
}

/* The connection ended before the response was whole. */
static void interrupted(struct http1_channel *channel, enum net_failure failure, const char *why)
{
    bool stale = channel->reused && !channel->answered;
    struct net_call *call;

    if (!channel->call) {
        close_channel(channel);
        return;
    }
    call = let_go(channel);
    close_channel(channel);
    if (stale)
        net_call_again(call);
    else
        net_call_fail(call, failure, "%s", why);
}

static void on_bytes(struct net_conn *conn, const uint8_t *data, size_t len)
{
    struct http1_channel *channel = of_conn(conn);
    struct net_http1 *m = &channel->message;
    size_t used;

    if (!channel->call) { /* nobody asked */
        close_channel(channel);
        return;
    }
    if (!channel->answered) {
        net_http1_reset(m);
        m->no_body = channel->call->is_head;
        channel->answered = true;
    }
    used = net_http1_feed(m, data, len);
    if (m->state == HTTP1_DONE)
        complete(channel, used < len);
    else if (m->state == HTTP1_BAD && m->no_memory)
        net_call_fail(channel->call, NET_TEMPORARY, "out of memory for the response");
    else if (m->state == HTTP1_BAD)
        net_call_fail(channel->call, NET_MALFORMED, "malformed response: %s", m->reason);
}

static void on_end(struct net_conn *conn)
{
    struct http1_channel *channel = of_conn(conn);
    struct net_http1 *m = &channel->message;

    if (!channel->call || !channel->answered) {
        interrupted(channel, NET_TCP, "the connection was closed before a response");
        return;
    }
    net_http1_end(m);
    if (m->state == HTTP1_DONE)
        complete(channel, false);
    else
        interrupted(channel, NET_TCP, "the connection was closed in the middle of the response");
}

static void on_broken(struct net_conn *conn, int error)
{
    const char *why;
    enum net_failure failure = net_conn_failure(conn, error, &why);

    interrupted(of_conn(conn), failure, why);
}

static void on_written(struct net_conn *conn, int error)
{
    (void)conn;
    (void)error; /* if it is one, reading meets the end, too */
}

static void on_deadline(struct net_conn *conn)
{
    struct http1_channel *channel = of_conn(conn);

    if (!channel->call)
        close_channel(channel);
}

static void on_closed(struct net_conn *conn)
{
    struct http1_channel *channel = of_conn(conn);

    net_http1_free(&channel->message);
    free(channel);
}

struct net_channel *net_http1_open(struct net_host *host, struct net_conn *conn)
{
    static const struct net_conn_events events = {on_bytes,    on_end,    on_broken, on_written,
                                                  on_deadline, on_closed, NULL};
    static const struct net_channel_ops ops = {drop, on_close};
    const struct net_client_options *o = &host->client->options;
    struct http1_channel *channel = calloc(1, sizeof *channel);

    if (!channel) {
        net_conn_close(conn);
        return NULL;
    }
    channel->conn = conn;
    net_conn_use(conn, &events, channel);
    net_http1_init(&channel->message, HTTP_RESPONSE, o->max_header_bytes, o->max_body);
    list_init(&channel->idle);
    net_channel_add(&channel->base, host, &ops);
    return &channel->base;
}
