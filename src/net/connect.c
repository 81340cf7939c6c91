// SPDX-License-Identifier: Apache-2.0
/* From a host to a connection on which its protocol can be spoken: a dialed socket, and over TLS
 * its handshake, which gets as much time as connecting. */
#include <stdlib.h>

#include "net/client.h"

struct net_connect {
    struct list link;
    struct net_host *host;
    bool http2;
    struct net_dial *dial;
    struct net_conn *conn; /* while TLS shakes hands */
    net_connect_done *done;
    void *arg;
};

static void finish(struct net_connect *connect, struct net_conn *conn, bool http2,
                   enum net_failure failure, const char *message)
{
    struct net_client *client = connect->host->client;

    net_client_enter(client);
    list_remove(&connect->link);
    connect->done(connect->arg, conn, http2, failure, message);
    net_pool_unref(&client->pool, connect->host);
    free(connect);
    net_client_leave(client);
}

/* --- the handshake --------------------------------------------------------------------------- */

static void fail_tls(struct net_connect *connect, enum net_failure failure, const char *why)
{
    const struct net_host *host = connect->host;
    bool ipv6 = strchr(host->name, ':') != NULL;
    char message[ERROR_MESSAGE_MAX];
    struct net_conn *conn = connect->conn;

    snprintf(message, sizeof message, "connect to %s%s%s:%u: %s", ipv6 ? "[" : "", host->name,
             ipv6 ? "]" : "", host->port, why);
    connect->conn = NULL;
    net_conn_close(conn);
    finish(connect, NULL, false, failure, message);
}

static void on_ready(struct net_conn *conn)
{
    struct net_connect *connect = conn->owner;

    connect->conn = NULL;
    finish(connect, conn, slice_eq_str(net_tls_alpn(conn->tls), "h2"), NET_OK, NULL);
}

static void on_end(struct net_conn *conn)
{
    fail_tls(conn->owner, NET_TLS, "the peer ended the TLS handshake");
}

static void on_broken(struct net_conn *conn, int error)
{
    const char *why;
    enum net_failure failure = net_conn_failure(conn, error, &why);

    if (failure == NET_TLS)
        fail_tls(conn->owner, NET_TLS, why);
    else
        fail_tls(conn->owner, NET_TLS, "the connection was closed during the TLS handshake");
}

static void on_deadline(struct net_conn *conn)
{
    fail_tls(conn->owner, NET_TIMEOUT, "the TLS handshake timed out");
}

static void on_written(struct net_conn *conn, int error)
{
    (void)conn;
    (void)error; /* if it is one, reading meets the end, too */
}

/* Closed without an owner: nobody is to be told. */
static void on_closed(struct net_conn *conn)
{
    (void)conn;
}

static const struct net_conn_events events = {
    .end = on_end,
    .broken = on_broken,
    .written = on_written,
    .deadline = on_deadline,
    .closed = on_closed,
    .ready = on_ready,
};

static void start_tls(struct net_connect *connect, struct net_conn *conn)
{
    struct net_client *client = connect->host->client;
    struct net_tls *tls = net_tls_connect(client->tls, connect->host->name, connect->http2);

    connect->conn = conn;
    if (!tls) {
        fail_tls(connect, NET_TEMPORARY, "out of memory for TLS");
        return;
    }
    net_conn_set_deadline(connect->conn, client->options.connect_timeout_ms);
    net_conn_start_tls(connect->conn, tls);
}

/* --- dialing --------------------------------------------------------------------------------- */

static void on_dialed(void *arg, int fd, enum net_failure failure, const char *message)
{
    struct net_connect *connect = arg;
    struct net_conn *conn;

    connect->dial = NULL;
    if (fd < 0)
        finish(connect, NULL, false, failure, message);
    else if (net_conn_open(&conn, connect->host->client->loop, fd, &events, connect) < 0)
        finish(connect, NULL, false, NET_TEMPORARY, "out of memory for a connection");
    else if (connect->host->tls)
        start_tls(connect, conn);
    else
        finish(connect, conn, connect->http2, NET_OK, NULL);
}

static const char *refuses(void *arg, const struct sockaddr *address)
{
    const struct net_connect *connect = arg;
    const struct net_host *host = connect->host;
    const struct net_client_options *options = &host->client->options;
    const struct net_target target = {slice_str(host->name), host->port, host->tls};

    return options->refuses ? options->refuses(options->refuses_arg, &target, address) : NULL;
}

struct net_connect *net_connect_start(struct net_host *host, bool http2, net_connect_done *done,
                                      void *arg)
{
    struct net_client *client = host->client;
    struct net_connect *connect = calloc(1, sizeof *connect);

    if (!connect)
        return NULL;
    connect->host = host;
    connect->http2 = http2;
    connect->done = done;
    connect->arg = arg;
    connect->dial = net_dial_start(client->loop, host->name, host->port,
                                   client->options.connect_timeout_ms, refuses, on_dialed, connect);
    if (!connect->dial) {
        free(connect);
        return NULL;
    }
    host->refs++;
    list_append(&client->connects, &connect->link);
    return connect;
}

void net_connect_cancel(struct net_connect *connect)
{
    if (connect->dial)
        net_dial_cancel(connect->dial);
    if (connect->conn)
        net_conn_close(connect->conn);
    list_remove(&connect->link);
    net_pool_unref(&connect->host->client->pool, connect->host);
    free(connect);
}

void net_connect_cancel_all(struct list *connects)
{
    while (!list_empty(connects)) {
        struct net_connect *connect = LIST_ENTRY(connects->next, struct net_connect, link);

        if (connect->host->connect == connect)
            connect->host->connect = NULL;
        net_connect_cancel(connect);
    }
}
