// SPDX-License-Identifier: Apache-2.0
/*
 * Which connection a call takes.
 *
 * HTTP/1: a kept one, or one of its own. HTTP/2: calls wait at their host for a multiplexed channel
 * with room; if there is none, one connection at a time is opened for all who wait. They are sent
 * only after the peer's SETTINGS have come, so that whatever happens before is no attempt: when a
 * peer said to speak HTTP/2 in clear text does not, those who wait go over HTTP/1, and HTTP/2 is
 * not tried there again for a while.
 */
#include <assert.h>
#include <stdlib.h>

#include "net/client.h"

enum { HTTP2_OFF_MS = 600000 };

static int64_t now_ms(const struct net_host *host)
{
    return net_loop_now_ms(host->client->loop);
}

/* --- HTTP/1 ----------------------------------------------------------------------------------- */

static void on_own(void *arg, struct net_conn *conn, bool http2, enum net_failure failure,
                   const char *message)
{
    struct net_call *call = arg;
    struct net_channel *channel;
    int rc;

    (void)http2;
    call->connect = NULL;
    if (!conn) {
        net_call_finish(call, &(struct net_response){
                                  .failure = failure, .message = message, .unsent = !call->again});
        return;
    }
    channel = net_http1_open(call->host, conn);
    if (!channel) {
        net_call_fail(call, NET_TEMPORARY, "out of memory");
        return;
    }
    rc = net_http1_send(channel, call);
    if (rc < 0)
        net_call_fail(call, net_failure_of(rc), "%s", uv_strerror(rc));
}

static bool route_http1(struct net_call *call)
{
    struct net_channel *channel = call->again ? NULL : net_http1_take(call->host);

    if (channel && net_http1_send(channel, call) == 0)
        return true;
    call->connect = net_connect_start(call->host, false, on_own, call);
    return call->connect != NULL;
}

/* --- those who wait for HTTP/2 ---------------------------------------------------------------- */

/* They will not get it: each goes another way, or fails. */
static void send_away(struct net_host *host, enum net_failure failure, const char *message)
{
    struct list now;
    struct list *node;

    list_init(&now);
    list_splice(&now, &host->waiting);
    while ((node = list_pop(&now))) {
        struct net_call *call = LIST_ENTRY(node, struct net_call, carried);

        if (failure != NET_OK)
            net_call_finish(call, &(struct net_response){.failure = failure,
                                                         .message = message,
                                                         .unsent = !call->again});
        else if (!net_route(call))
            net_call_fail(call, NET_TEMPORARY, "out of memory");
    }
}

static void on_shared(void *arg, struct net_conn *conn, bool http2, enum net_failure failure,
                      const char *message)
{
    struct net_host *host = arg;
    struct net_channel *channel;

    host->connect = NULL;
    if (!conn) {
        if (host->multiplexed_count == 0) /* else there will be room some time */
            send_away(host, failure, message);
        return;
    }
    channel = http2 ? net_http2_open(host, conn) : net_http1_open(host, conn);
    if (!channel) {
        send_away(host, NET_TEMPORARY, "out of memory for a connection");
    } else if (http2) {
        host->greeting = true;
    } else { /* the peer chose so */
        host->off_until_ms = now_ms(host) + HTTP2_OFF_MS;
        net_http1_keep(channel);
        send_away(host, NET_OK, NULL);
    }
}

bool net_route_waiting(struct net_host *host)
{
    while (!list_empty(&host->waiting)) {
        struct net_channel *channel = net_http2_find(host);
        struct list *node = host->waiting.next;

        if (!channel)
            break;
        list_remove(node);
        if (!net_http2_submit(channel, LIST_ENTRY(node, struct net_call, carried)))
            list_push(&host->waiting, node); /* this channel takes no more */
    }
    if (list_empty(&host->waiting) || host->connect || host->greeting ||
        host->multiplexed_count >= host->client->options.max_idle_per_host)
        return true;
    host->connect = net_connect_start(host, true, on_shared, host);
    return host->connect || host->multiplexed_count > 0;
}

void net_route_greeted(struct net_host *host)
{
    host->greeting = false;
    if (!net_route_waiting(host))
        send_away(host, NET_TEMPORARY, "out of memory for a connection");
}

void net_route_not_greeted(struct net_host *host, enum net_failure failure, const char *why)
{
    char message[ERROR_MESSAGE_MAX];
    bool ipv6 = strchr(host->name, ':') != NULL;

    host->greeting = false;
    if (!host->tls) {
        host->off_until_ms = now_ms(host) + HTTP2_OFF_MS;
        send_away(host, NET_OK, NULL);
        return;
    }
    snprintf(message, sizeof message, "connect to %s%s%s:%u: %s", ipv6 ? "[" : "", host->name,
             ipv6 ? "]" : "", host->port, why);
    send_away(host, failure, message);
}

/* --- calls ----------------------------------------------------------------------------------- */

bool net_route(struct net_call *call)
{
    struct net_host *host = call->host;

    if (!host->http2 || host->off_until_ms > now_ms(host))
        return route_http1(call);
    list_append(&host->waiting, &call->carried);
    if (net_route_waiting(host))
        return true;
    list_remove(&call->carried);
    return false;
}
