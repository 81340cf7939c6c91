// SPDX-License-Identifier: Apache-2.0
/*
 * An accepted connection before it is known what it speaks. Over TLS the handshake may have told;
 * else the first bytes do: HTTP/2 begins with a preface that is no HTTP/1.1 request; anything else
 * is HTTP/1. They may come one by one, and are handed on with the connection.
 */
#include <stdlib.h>
#include <unistd.h>

#include "net/http2.h"
#include "net/server.h"

struct greeting {
    struct net_conn *conn;
    struct net_session base;
    size_t len;
    uint8_t seen[sizeof NET_HTTP2_PREFACE - 1];
    char peer[NET_ADDRESS_TEXT];
};

static void close_greeting(struct greeting *g)
{
    if (!g->base.server)
        return;
    net_server_remove(&g->base);
    net_conn_close(g->conn);
}

/* The connection goes to a session, and with it all that has come. */
static void hand_over(struct greeting *g, bool http2, const uint8_t *data, size_t len)
{
    struct net_server *server = g->base.server;
    struct net_conn *conn = g->conn;

    if (!(http2 ? net_http2_serve : net_http1_serve)(server, conn, g->peer)) {
        close_greeting(g);
        return;
    }
    net_server_remove(&g->base);
    if (g->len > 0)
        conn->events->bytes(conn, g->seen, g->len);
    if (len > 0 && net_conn_is_open(conn))
        conn->events->bytes(conn, data, len);
    free(g);
}

static void on_bytes(struct net_conn *conn, const uint8_t *data, size_t len)
{
    struct greeting *g = conn->owner;
    size_t n = sizeof g->seen - g->len;

    if (n > len)
        n = len;
    if (memcmp(data, &NET_HTTP2_PREFACE[g->len], n) != 0) {
        hand_over(g, false, data, len);
        return;
    }
    if (g->len == 0)
        net_conn_set_deadline(conn, g->base.server->options.header_timeout_ms);
    memcpy(g->seen + g->len, data, n);
    g->len += n;
    if (g->len == sizeof g->seen)
        hand_over(g, true, data + n, len - n);
}

/* What came before the end, if anything, is HTTP/1's to judge. */
static void on_end(struct net_conn *conn)
{
    struct greeting *g = conn->owner;

    if (g->len == 0) {
        close_greeting(g);
        return;
    }
    hand_over(g, false, NULL, 0);
    if (net_conn_is_open(conn))
        conn->events->end(conn);
}

static void on_broken(struct net_conn *conn, int error)
{
    (void)error;
    close_greeting(conn->owner);
}

static void on_written(struct net_conn *conn, int error)
{
    (void)conn;
    (void)error;
}

static void on_deadline(struct net_conn *conn)
{
    close_greeting(conn->owner);
}

static void on_closed(struct net_conn *conn)
{
    free(conn->owner);
}

static void on_ready(struct net_conn *conn)
{
    struct greeting *g = conn->owner;
    struct slice agreed = net_tls_alpn(conn->tls);

    if (agreed.len > 0)
        hand_over(g, slice_eq_str(agreed, "h2"), NULL, 0);
    else
        net_conn_set_deadline(conn, g->base.server->options.idle_timeout_ms);
}

static bool start_tls(struct greeting *g, struct net_server *server)
{
    struct net_tls *tls = net_tls_accept(server->tls);

    return tls && net_conn_start_tls(g->conn, tls);
}

static void retire(struct net_session *base)
{
    struct greeting *g = LIST_ENTRY(base, struct greeting, base);

    if (g->len == 0)
        close_greeting(g);
}

static void destroy(struct net_session *base)
{
    close_greeting(LIST_ENTRY(base, struct greeting, base));
}

void net_greet(struct net_server *server, int fd, const char *peer)
{
    static const struct net_conn_events events = {on_bytes,    on_end,    on_broken, on_written,
                                                  on_deadline, on_closed, on_ready};
    static const struct net_session_ops ops = {retire, destroy};
    struct greeting *g = calloc(1, sizeof *g);

    if (!g) {
        close(fd);
        return;
    }
    if (net_conn_open(&g->conn, server->loop, fd, &events, g) < 0) {
        free(g);
        return;
    }
    snprintf(g->peer, sizeof g->peer, "%s", peer);
    net_server_add(server, &g->base, &ops);
    net_conn_set_deadline(g->conn, server->tls ? server->options.header_timeout_ms
                                               : server->options.idle_timeout_ms);
    if (server->tls && !start_tls(g, server))
        close_greeting(g);
}
