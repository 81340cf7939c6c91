// SPDX-License-Identifier: Apache-2.0
/*
 * Between the parts of the client: calls (client.c), the hosts, what is known of them and their
 * kept connections (pool.c), which of them a call takes (route.c), how a connection comes about
 * (connect.c), and the protocols on it (http1_client.c, http2_client.c).
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "base/map.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/http2.h"
#include "net/proxy.h"

struct net_call;
struct net_connect;
struct net_channel;

/* --- channels: connections that carry calls --------------------------------------------------- */

struct net_channel_ops {
    /* The call lets go, and its response is not wanted any more. */
    void (*drop)(struct net_channel *channel, struct net_call *call);
    /* The calls that it carries have been taken off. */
    void (*close)(struct net_channel *channel);
};

struct net_channel {
    struct list link;          /* of the client's channels */
    struct net_client *client; /* NULL: closed */
    struct net_host *host;
    const struct net_channel_ops *ops;
};

void net_channel_add(struct net_channel *channel, struct net_host *host,
                     const struct net_channel_ops *ops);
void net_channel_remove(struct net_channel *channel);

/* --- pool ------------------------------------------------------------------------------------ */

struct net_host {
    struct net_client *client;
    struct net_host *chain; /* of the same hash */
    uint64_t hash;
    size_t refs;
    struct list idle; /* HTTP/1 channels, the latest used first */
    size_t idle_count;
    struct list multiplexed; /* HTTP/2 channels, those with room first */
    size_t multiplexed_count;
    struct list waiting;         /* calls, for a multiplexed channel */
    struct net_connect *connect; /* for those who wait */
    bool greeting;               /* and then, until its SETTINGS come */
    struct list remembered;      /* of the pool, while there is no reference */
    bool tls;
    const struct net_proxy *proxy; /* by which it is reached; NULL: directly */
    bool http2;                    /* is spoken there, as far as we know */
    int64_t off_until_ms;          /* it is not tried before this */
    uint16_t port;
    char name[256];
};

struct net_pool {
    struct net_client *client;
    struct map hosts;
    struct list remembered; /* the longest unused first */
    size_t remembered_count;
};

void net_pool_init(struct net_pool *pool, struct net_client *client);
void net_pool_free(struct net_pool *pool); /* no host is referenced any more */
/* With one more reference; NULL: out of memory. The name has at most 255 bytes. */
struct net_host *net_pool_host(struct net_pool *pool, const struct net_target *target,
                               const struct net_proxy *proxy);
/* What was learned of the host is remembered, of so many hosts. */
void net_pool_unref(struct net_pool *pool, struct net_host *host);

/* --- calls ----------------------------------------------------------------------------------- */

struct net_call {
    struct net_http2_source source; /* the body; first, as it is the user data of a stream */
    struct list link;               /* the client's calls; or its free ones */
    struct list carried;            /* its host's waiting ones, or its channel's */
    struct net_client *client;
    struct net_host *host;
    struct net_connect *connect; /* its own */
    struct net_channel *channel; /* from then on */
    struct net_timer timer;
    uint32_t timeout_ms;
    struct buf head; /* as HTTP/1 has it */
    bool is_head;    /* the response has no body */
    bool again;      /* sent before, on a kept connection that had been closed */
    unsigned refusals;
    void (*done)(void *arg, const struct net_response *response);
    void *arg;
    /* HTTP/2 */
    int32_t stream;
    int status;
    unsigned interim;
    bool head_done;
    struct net_fields fields;
    struct buf body;
};

struct net_client {
    struct net_loop *loop;
    struct net_client_options options;
    struct net_pool pool;
    struct list calls, channels, connects;
    struct list free_calls;
    size_t free_count;
    unsigned in_done; /* calls of done() that have not returned */
    bool destroyed;
    SSL_CTX *tls; /* NULL: not needed yet */
    struct net_proxies proxies;
};

/* Ends the call: done() is called. Its channel, if it still has it, drops it. */
void net_call_finish(struct net_call *call, const struct net_response *response);
/* "request to HOST:PORT: " and the text. */
void net_call_fail(struct net_call *call, enum net_failure failure, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The client lives at least until the matching leave. */
void net_client_enter(struct net_client *client);
void net_client_leave(struct net_client *client);
/* Nothing came of it, through no fault of its own (the kept connection was stale, the peer refused
 * it unprocessed); the channel has let go of the call, which goes over another one. */
void net_call_again(struct net_call *call);

/* --- routes ---------------------------------------------------------------------------------- */

/* Sends the call over a channel, now or as soon as there is one. False: out of memory. */
bool net_route(struct net_call *call);
/* A channel has room, or is gone: those who wait get theirs. False: out of memory. */
bool net_route_waiting(struct net_host *host);
/* The peer has sent its SETTINGS; or it never did (and the channel has been closed). */
void net_route_greeted(struct net_host *host);
void net_route_not_greeted(struct net_host *host, enum net_failure failure, const char *why);

/* --- connecting ------------------------------------------------------------------------------- */

/* `conn` is the receiver's to use and to close; NULL: it failed. */
typedef void net_connect_done(void *arg, struct net_conn *conn, bool http2,
                              enum net_failure failure, const char *message);

/* `done` is called once, later, unless it is cancelled before. NULL: out of memory. Without
 * `http2` the connection is for HTTP/1 in any case. */
struct net_connect *net_connect_start(struct net_host *host, bool http2, net_connect_done *done,
                                      void *arg);
void net_connect_cancel(struct net_connect *connect);
void net_connect_cancel_all(struct list *connects); /* the client's */

/* --- HTTP/1 ----------------------------------------------------------------------------------- */

/* Takes the connection over. NULL: out of memory, and it is closed. */
struct net_channel *net_http1_open(struct net_host *host, struct net_conn *conn);
/* Keeps it for later calls. */
void net_http1_keep(struct net_channel *channel);
/* A kept one, or NULL. */
struct net_channel *net_http1_take(struct net_host *host);
/* Zero, or a negative errno: nothing was sent, and the channel is closed. */
int net_http1_send(struct net_channel *channel, struct net_call *call);

/* --- HTTP/2 ----------------------------------------------------------------------------------- */

/* Takes the connection over; net_route_greeted will follow, or the other. NULL: out of memory, and
 * it is closed. */
struct net_channel *net_http2_open(struct net_host *host, struct net_conn *conn);
/* One that has room, or NULL. */
struct net_channel *net_http2_find(struct net_host *host);
/* False: out of memory, or of stream numbers; the channel takes no more. */
bool net_http2_submit(struct net_channel *channel, struct net_call *call);

#endif
