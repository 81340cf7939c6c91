// SPDX-License-Identifier: Apache-2.0
/*
 * What the loop gives to the rest of the room: timers that live inside their owner, work put off to
 * the next turn, and a few things that one loop needs only once (a read buffer, a scratch buffer,
 * the text of the date).
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <uv.h>

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "net/net.h"

#define NET_READ_BUFFER ((size_t)64 << 10)
#define NET_TLS_RECORD  ((size_t)16 << 10)
#define NET_SCRATCH_MAX ((size_t)1 << 20) /* the head of one message that we write */

/*
 * All timers of a loop stand in one heap behind one uv_timer: setting one costs no system call and
 * no allocation, as there is room for every timer that exists.
 */
struct net_timer {
    struct heap_node node; /* key: milliseconds of uv_now */
    struct net_loop *loop;
    void (*fn)(void *arg);
    void *arg;
};

bool net_timer_init(struct net_timer *timer, struct net_loop *loop, void (*fn)(void *arg),
                    void *arg); /* false: no memory */
void net_timer_finish(struct net_timer *timer);
/* At a moment of net_loop_now_ms, and not later even if the loop's idea of now is stale. */
void net_timer_set_at(struct net_timer *timer, int64_t at_ms);
static inline bool net_timer_is_set(const struct net_timer *timer)
{
    return timer->node.index != HEAP_NONE;
}

/* Work for the next turn of the loop, never from within the call that puts it off. */
struct net_deferred {
    struct list link;
    void (*fn)(struct net_deferred *deferred);
};

void net_deferred_init(struct net_deferred *deferred, void (*fn)(struct net_deferred *deferred));
void net_defer(struct net_loop *loop, struct net_deferred *deferred); /* again is harmless */
/* Work for the end of this turn of the loop: behind all that is read, before it waits. */
void net_flush_later(struct net_loop *loop, struct net_deferred *deferred); /* again: harmless */
static inline void net_deferred_cancel(struct net_deferred *deferred)
{
    list_remove(&deferred->link);
}

struct net_post {
    void (*fn)(void *arg);
    void *arg;
};

struct net_posts {
    struct net_post *items;
    size_t count, cap;
};

struct net_loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t clock;
    uv_idle_t idle; /* started while something is deferred */
    struct heap timers;
    uint32_t timer_count; /* that exist, set or not */
    int64_t armed_ms;     /* when `clock` goes off; TIME_NEVER: it does not */
    struct list deferred;
    uv_prepare_t prepare; /* both call what is in `flushes` */
    uv_check_t check;
    struct list flushes;

    pthread_mutex_t lock;   /* of the two below */
    struct net_posts posts; /* waiting */
    bool closing;
    struct net_posts taken; /* being called; the loop's thread only */
    atomic_bool stopping;

    uint8_t
        *read_buffer;   /* NET_READ_BUFFER bytes; what is in it is consumed before the next read */
    struct buf scratch; /* used within one call */
    uint8_t plain[NET_TLS_RECORD]; /* as read_buffer, for what TLS has opened */
    struct buf frames;             /* of HTTP/2, while they are being written */
    time_t date_second;
    char date[32];
};

static inline int64_t net_loop_now_ms(const struct net_loop *loop)
{
    return (int64_t)uv_now(&loop->uv);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", of now; valid until the next call. */
const char *net_loop_date(struct net_loop *loop);

#endif
