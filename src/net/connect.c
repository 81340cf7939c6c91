// SPDX-License-Identifier: Apache-2.0
/* From a host to a connection on which its protocol can be spoken: a dialed socket. */
#include <stdlib.h>

#include "net/client.h"

struct net_connect {
    struct list link;
    struct net_host *host;
    bool http2;
    struct net_dial *dial;
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

/* Nothing is expected of it until it has an owner. */
static void on_closed(struct net_conn *conn)
{
    (void)conn;
}

static void on_dialed(void *arg, int fd, enum net_failure failure, const char *message)
{
    static const struct net_conn_events events = {.closed = on_closed};
    struct net_connect *connect = arg;
    struct net_conn *conn;

    connect->dial = NULL;
    if (fd < 0)
        finish(connect, NULL, false, failure, message);
    else if (net_conn_open(&conn, connect->host->client->loop, fd, &events, NULL) < 0)
        finish(connect, NULL, false, NET_TEMPORARY, "out of memory for a connection");
    else
        finish(connect, conn, connect->http2, NET_OK, NULL);
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
                                   client->options.connect_timeout_ms, on_dialed, connect);
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
