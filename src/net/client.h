// SPDX-License-Identifier: Apache-2.0
/*
 * Between the parts of the client: calls (client.c), the hosts and their kept connections (pool.c),
 * and the protocol on a connection (http1_client.c).
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "base/map.h"
#include "net/conn.h"
#include "net/dial.h"

struct net_channel; /* a connection to a host that carries calls */

/* --- pool ------------------------------------------------------------------------------------ */

struct net_host {
    struct net_host *chain; /* of the same hash */
    uint64_t hash;
    size_t refs;
    struct list idle; /* channels, the latest used first */
    size_t idle_count;
    uint16_t port;
    char name[256];
};

struct net_pool {
    struct map hosts;
};

void net_pool_init(struct net_pool *pool);
void net_pool_free(struct net_pool *pool); /* no host is referenced any more */
/* With one more reference; NULL: out of memory. The name has at most 255 bytes. */
struct net_host *net_pool_host(struct net_pool *pool, struct slice name, uint16_t port);
void net_pool_unref(struct net_pool *pool, struct net_host *host);

/* --- calls ----------------------------------------------------------------------------------- */

struct net_call {
    struct list link; /* the client's calls; or its free ones */
    struct net_client *client;
    struct net_host *host;
    struct net_dial *dial;       /* while connecting */
    struct net_channel *channel; /* from then on */
    struct net_timer timer;
    uint32_t timeout_ms;
    struct buf head;
    struct blob *body;
    bool is_head; /* the response has no body */
    bool again;   /* sent before, on a kept connection that had been closed */
    void (*done)(void *arg, const struct net_response *response);
    void *arg;
};

struct net_client {
    struct net_loop *loop;
    struct net_client_options options;
    struct net_pool pool;
    struct list calls, channels;
    struct list free_calls;
    size_t free_count;
    unsigned in_done; /* calls of done() that have not returned */
    bool destroyed;
};

/* Ends the call: done() is called. The channel, if it still has the call, is closed. */
void net_call_finish(struct net_call *call, const struct net_response *response);
/* "request to HOST:PORT: " and the text. */
void net_call_fail(struct net_call *call, enum net_failure failure, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The kept connection was stale: the channel has let go of the call, which goes over a new one. */
void net_call_again(struct net_call *call);

/* --- channels -------------------------------------------------------------------------------- */

/* Takes the connected descriptor over. NULL: out of memory, descriptor closed. */
struct net_channel *net_channel_open(struct net_client *client, struct net_host *host, int fd);
/* A kept one, or NULL. */
struct net_channel *net_channel_take(struct net_host *host);
/* Zero, or a negative errno: nothing was sent, and the channel is closed. */
int net_channel_send(struct net_channel *channel, struct net_call *call);
void net_channel_close(struct net_channel *channel);
struct net_channel *net_channel_of_client(struct list *node); /* an element of client->channels */

#endif
