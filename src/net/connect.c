// SPDX-License-Identifier: Apache-2.0
/*
 * From a host to a connection on which its protocol can be spoken: a dialed socket, and over TLS
 * its handshake, which gets as much time as connecting.
 *
 * By a proxy, the socket is one to the proxy. What is not encrypted is spoken to it; for TLS, it is
 * asked (CONNECT) for a tunnel, in which TLS is the host's own. Whatever a proxy does wrong is a
 * failure to connect, which may pass.
 */
#include <stdlib.h>

#include "net/client.h"
#include "net/http1.h"

enum { REPLY_MAX = 16384 };

struct net_connect {
    struct list link;
    struct net_host *host;
    bool http2;
    struct net_dial *dial;
    struct net_conn *conn;  /* while the proxy is asked, and while TLS shakes hands */
    bool asking;            /* the proxy */
    struct net_http1 reply; /* the proxy's */
    net_connect_done *done;
    void *arg;
};

/* Used up, but for its host's reference. */
static void dispose(struct net_connect *connect)
{
    list_remove(&connect->link);
    net_http1_free(&connect->reply);
}

static void finish(struct net_connect *connect, struct net_conn *conn, bool http2,
                   enum net_failure failure, const char *message)
{
    struct net_client *client = connect->host->client;

    net_client_enter(client);
    dispose(connect);
    connect->done(connect->arg, conn, http2, failure, message);
    net_pool_unref(&client->pool, connect->host);
    free(connect);
    net_client_leave(client);
}

/* "connect to HOST:PORT: " and the text; what there is of a connection is closed. */
__attribute__((format(printf, 3, 4))) static void
fail(struct net_connect *connect, enum net_failure failure, const char *format, ...)
{
    const struct net_host *host = connect->host;
    bool ipv6 = strchr(host->name, ':') != NULL;
    struct net_conn *conn = connect->conn;
    char message[2 * ERROR_MESSAGE_MAX], why[ERROR_MESSAGE_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    snprintf(message, sizeof message, "connect to %s%s%s:%u: %s", ipv6 ? "[" : "", host->name,
             ipv6 ? "]" : "", host->port, why);
    connect->conn = NULL;
    if (conn)
        net_conn_close(conn);
    finish(connect, NULL, false, failure, message);
}

/* --- a connection that is not the host's yet -------------------------------------------------- */

static void start_tls(struct net_connect *connect);

/* The proxy's answer has come. */
static void asked(struct net_connect *connect, bool spare)
{
    int status = connect->reply.status;

    connect->asking = false;
    if (status == 407)
        fail(connect, NET_TCP, "the proxy asks for credentials that it accepts");
    else if (status / 100 != 2)
        fail(connect, NET_TCP, "the proxy refuses: HTTP status %d", status);
    else if (spare || connect->conn->queued > 0)
        fail(connect, NET_TCP, "the proxy says more than was asked");
    else
        start_tls(connect);
}

static void on_bytes(struct net_conn *conn, const uint8_t *data, size_t len)
{
    struct net_connect *connect = conn->owner;
    struct net_http1 *m = &connect->reply;
    size_t used = net_http1_feed(m, data, len);

    if (m->state == HTTP1_DONE)
        asked(connect, used < len);
    else if (m->state == HTTP1_BAD)
        fail(connect, m->no_memory ? NET_TEMPORARY : NET_TCP,
             "the proxy's response is malformed: %s", m->reason);
}

static void on_ready(struct net_conn *conn)
{
    struct net_connect *connect = conn->owner;

    connect->conn = NULL;
    finish(connect, conn, slice_eq_str(net_tls_alpn(conn->tls), "h2"), NET_OK, NULL);
}

static void on_end(struct net_conn *conn)
{
    struct net_connect *connect = conn->owner;

    if (connect->asking)
        fail(connect, NET_TCP, "the proxy closed the connection");
    else
        fail(connect, NET_TLS, "the peer ended the TLS handshake");
}

static void on_broken(struct net_conn *conn, int error)
{
    struct net_connect *connect = conn->owner;
    const char *why;
    enum net_failure failure = net_conn_failure(conn, error, &why);

    if (connect->asking)
        fail(connect, failure, "the proxy: %s", why);
    else if (failure == NET_TLS)
        fail(connect, NET_TLS, "%s", why);
    else
        fail(connect, NET_TLS, "the connection was closed during the TLS handshake");
}

static void on_deadline(struct net_conn *conn)
{
    struct net_connect *connect = conn->owner;

    if (connect->asking)
        fail(connect, NET_TIMEOUT, "the proxy does not answer");
    else
        fail(connect, NET_TIMEOUT, "the TLS handshake timed out");
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
    .bytes = on_bytes,
    .end = on_end,
    .broken = on_broken,
    .written = on_written,
    .deadline = on_deadline,
    .closed = on_closed,
    .ready = on_ready,
};

static void start_tls(struct net_connect *connect)
{
    struct net_client *client = connect->host->client;
    struct net_tls *tls = net_tls_connect(client->tls, connect->host->name, connect->http2);

    if (!tls) {
        fail(connect, NET_TEMPORARY, "out of memory for TLS");
        return;
    }
    net_conn_set_deadline(connect->conn, client->options.connect_timeout_ms);
    if (!net_conn_start_tls(connect->conn, tls))
        fail(connect, NET_TEMPORARY, "%s", tls->why);
}

static void ask_proxy(struct net_connect *connect)
{
    const struct net_host *host = connect->host;
    const char *credentials = host->proxy->authorization;
    bool ipv6 = strchr(host->name, ':') != NULL;
    struct buf head;
    char at[300];
    int rc;

    snprintf(at, sizeof at, ipv6 ? "[%s]:%u" : "%s:%u", host->name, host->port);
    buf_init(&head, NET_SCRATCH_MAX);
    buf_printf(&head, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", at, at);
    if (credentials)
        buf_printf(&head, "Proxy-Authorization: %s\r\n", credentials);
    buf_append_str(&head, "\r\n");
    net_http1_reset(&connect->reply);
    connect->reply.no_body = true;
    connect->asking = true;
    net_conn_set_deadline(connect->conn, host->client->options.connect_timeout_ms);
    rc = head.failed ? -ENOMEM : net_conn_write(connect->conn, buf_slice(&head), NULL);
    buf_free(&head);
    if (rc < 0)
        fail(connect, net_failure_of(rc), "the proxy: %s", uv_strerror(rc));
}

/* --- dialing --------------------------------------------------------------------------------- */

static void on_dialed(void *arg, int fd, enum net_failure failure, const char *message)
{
    struct net_connect *connect = arg;
    struct net_host *host = connect->host;
    struct net_conn *conn;

    connect->dial = NULL;
    if (fd < 0 && host->proxy && failure != NET_FORBIDDEN) {
        fail(connect, failure, "by a proxy: %s", message);
    } else if (fd < 0) {
        finish(connect, NULL, false, failure, message);
    } else if (net_conn_open(&conn, host->client->loop, fd, &events, connect) < 0) {
        finish(connect, NULL, false, NET_TEMPORARY, "out of memory for a connection");
    } else if (host->tls) {
        connect->conn = conn;
        (host->proxy ? ask_proxy : start_tls)(connect);
    } else {
        finish(connect, conn, connect->http2, NET_OK, NULL);
    }
}

/* A proxy's address is nobody's matter but the operator's: what counts is the host. */
static const char *refuses(void *arg, const struct sockaddr *address)
{
    const struct net_connect *connect = arg;
    const struct net_host *host = connect->host;
    const struct net_client_options *options = &host->client->options;
    const struct net_target target = {slice_str(host->name), host->port, host->tls};

    if (!options->refuses)
        return NULL;
    return options->refuses(options->refuses_arg, &target, host->proxy ? NULL : address);
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
    net_http1_init(&connect->reply, HTTP_RESPONSE, REPLY_MAX, 0);
    connect->dial = net_dial_start(client->loop, host->proxy ? host->proxy->host : host->name,
                                   host->proxy ? host->proxy->port : host->port,
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
    dispose(connect);
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
