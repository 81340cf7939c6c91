// SPDX-License-Identifier: Apache-2.0
/*
 * The event loop: libuv's, with timers in a heap of ours, calls posted from other threads, and work
 * deferred to the next turn.
 *
 * A post takes the lock, appends to an array, and wakes the loop if the array was empty; the loop
 * swaps the array for an empty one and calls what it took without the lock.
 */
#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"

/* --- timers ---------------------------------------------------------------------------------- */

static void on_clock(uv_timer_t *handle);

static void arm(struct net_loop *loop)
{
    struct heap_node *first = heap_min(&loop->timers);
    int64_t now = net_loop_now_ms(loop);

    if (!first || first->key >= loop->armed_ms)
        return;
    loop->armed_ms = first->key;
    uv_timer_start(&loop->clock, on_clock, first->key > now ? (uint64_t)(first->key - now) : 0, 0);
}

/* Each timer that is due goes off once; one that sets itself again for now waits for the next turn,
 * so that the sockets get theirs. */
static void on_clock(uv_timer_t *handle)
{
    struct net_loop *loop = handle->data;
    int64_t now = net_loop_now_ms(loop);

    loop->armed_ms = TIME_NEVER;
    for (uint32_t left = loop->timers.len; left > 0; left--) {
        struct heap_node *first = heap_min(&loop->timers);
        struct net_timer *timer;

        if (!first || first->key > now)
            break;
        timer = LIST_ENTRY(first, struct net_timer, node);
        heap_remove(&loop->timers, first);
        timer->fn(timer->arg);
    }
    arm(loop);
}

bool net_timer_init(struct net_timer *timer, struct net_loop *loop, void (*fn)(void *arg),
                    void *arg)
{
    /* As much room as there are timers: a later heap_set cannot fail. */
    if (!heap_reserve(&loop->timers, loop->timer_count + 1 - loop->timers.len))
        return false;
    loop->timer_count++;
    heap_node_init(&timer->node);
    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    return true;
}

void net_timer_finish(struct net_timer *timer)
{
    heap_remove(&timer->loop->timers, &timer->node);
    timer->loop->timer_count--;
}

void net_timer_set_at(struct net_timer *timer, int64_t at_ms)
{
    heap_set(&timer->loop->timers, &timer->node, at_ms);
    arm(timer->loop);
}

struct net_timer *net_timer_create(struct net_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct net_timer *timer = malloc(sizeof *timer);

    if (timer && !net_timer_init(timer, loop, fn, arg)) {
        free(timer);
        return NULL;
    }
    return timer;
}

void net_timer_set(struct net_timer *timer, uint64_t delay_ms)
{
    int64_t now;

    uv_update_time(&timer->loop->uv);
    now = net_loop_now_ms(timer->loop);
    if (delay_ms > (uint64_t)(INT64_MAX - now - 1))
        delay_ms = (uint64_t)(INT64_MAX - now - 1);
    net_timer_set_at(timer, now + (int64_t)delay_ms);
}

void net_timer_clear(struct net_timer *timer)
{
    heap_remove(&timer->loop->timers, &timer->node);
}

void net_timer_destroy(struct net_timer *timer)
{
    if (!timer)
        return;
    net_timer_finish(timer);
    free(timer);
}

/* --- deferred work --------------------------------------------------------------------------- */

static void on_idle(uv_idle_t *handle)
{
    struct net_loop *loop = handle->data;
    struct list now;

    /* What is deferred from here on waits for the next turn. */
    list_init(&now);
    list_splice(&now, &loop->deferred);
    for (struct list *node = list_pop(&now); node; node = list_pop(&now)) {
        struct net_deferred *deferred = LIST_ENTRY(node, struct net_deferred, link);

        deferred->fn(deferred);
    }
    if (list_empty(&loop->deferred))
        uv_idle_stop(&loop->idle);
}

void net_deferred_init(struct net_deferred *deferred, void (*fn)(struct net_deferred *deferred))
{
    list_init(&deferred->link);
    deferred->fn = fn;
}

void net_defer(struct net_loop *loop, struct net_deferred *deferred)
{
    if (!list_empty(&deferred->link))
        return;
    list_append(&loop->deferred, &deferred->link);
    uv_idle_start(&loop->idle, on_idle);
}

/* After reading comes `check`; before waiting, after timers and deferred work, `prepare`. */
static void flush(struct net_loop *loop)
{
    struct list now;

    list_init(&now);
    while (!list_empty(&loop->flushes)) {
        list_splice(&now, &loop->flushes);
        for (struct list *node = list_pop(&now); node; node = list_pop(&now)) {
            struct net_deferred *deferred = LIST_ENTRY(node, struct net_deferred, link);

            deferred->fn(deferred);
        }
    }
}

static void on_prepare(uv_prepare_t *handle)
{
    flush(handle->data);
}

static void on_check(uv_check_t *handle)
{
    flush(handle->data);
}

void net_flush_later(struct net_loop *loop, struct net_deferred *deferred)
{
    if (list_empty(&deferred->link))
        list_append(&loop->flushes, &deferred->link);
}

/* --- calls from other threads ---------------------------------------------------------------- */

static bool posts_add(struct net_posts *posts, void (*fn)(void *arg), void *arg)
{
    if (posts->count == posts->cap) {
        size_t cap = posts->cap ? 2 * posts->cap : 64;
        struct net_post *items;

        if (cap > SIZE_MAX / sizeof *items)
            return false;
        items = realloc(posts->items, cap * sizeof *items);
        if (!items)
            return false;
        posts->items = items;
        posts->cap = cap;
    }
    posts->items[posts->count++] = (struct net_post){fn, arg};
    return true;
}

bool net_post(struct net_loop *loop, void (*fn)(void *arg), void *arg)
{
    bool ok, first;

    pthread_mutex_lock(&loop->lock);
    first = loop->posts.count == 0;
    ok = !loop->closing && posts_add(&loop->posts, fn, arg);
    /* Under the lock: the loop cannot be closing yet. */
    if (ok && first)
        uv_async_send(&loop->wake);
    pthread_mutex_unlock(&loop->lock);
    return ok;
}

static void run_posts(struct net_loop *loop)
{
    struct net_posts taken;

    pthread_mutex_lock(&loop->lock);
    taken = loop->posts;
    loop->posts = loop->taken;
    pthread_mutex_unlock(&loop->lock);
    loop->taken = (struct net_posts){0};

    for (size_t i = 0; i < taken.count; i++)
        taken.items[i].fn(taken.items[i].arg);

    taken.count = 0;
    free(loop->taken.items);
    loop->taken = taken;
}

static void on_wake(uv_async_t *handle)
{
    struct net_loop *loop = handle->data;

    run_posts(loop);
    if (atomic_load(&loop->stopping))
        uv_stop(&loop->uv);
}

/* --- work on other threads ------------------------------------------------------------------- */

struct net_work {
    uv_work_t request;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void on_work(uv_work_t *request)
{
    struct net_work *work = request->data;

    work->work(work->arg);
}

static void on_worked(uv_work_t *request, int status)
{
    struct net_work work = *(struct net_work *)request->data;

    (void)status; /* never cancelled */
    free(request->data);
    work.done(work.arg);
}

bool net_work(struct net_loop *loop, void (*fn)(void *arg), void (*done)(void *arg), void *arg)
{
    struct net_work *work = malloc(sizeof *work);

    if (!work)
        return false;
    *work = (struct net_work){.work = fn, .done = done, .arg = arg};
    work->request.data = work;
    if (uv_queue_work(&loop->uv, &work->request, on_work, on_worked) == 0)
        return true;
    free(work);
    return false;
}

/* --- the loop -------------------------------------------------------------------------------- */

static int init_handles(struct net_loop *loop)
{
    int rc = uv_loop_init(&loop->uv);

    if (rc < 0)
        return rc;
    rc = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (rc < 0) {
        uv_loop_close(&loop->uv);
        return rc;
    }
    uv_timer_init(&loop->uv, &loop->clock);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    loop->wake.data = loop->clock.data = loop->idle.data = loop;
    loop->prepare.data = loop->check.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    return 0;
}

int net_loop_create(struct net_loop **out, struct error *err)
{
    struct net_loop *loop = calloc(1, sizeof *loop);
    int rc;

    if (!loop)
        return error_memory(err);
    loop->read_buffer = malloc(NET_READ_BUFFER);
    if (!loop->read_buffer) {
        free(loop);
        return error_memory(err);
    }
    heap_init(&loop->timers);
    loop->armed_ms = TIME_NEVER;
    list_init(&loop->deferred);
    list_init(&loop->flushes);
    buf_init(&loop->scratch, NET_SCRATCH_MAX);
    buf_init(&loop->frames, NET_SCRATCH_MAX);
    rc = init_handles(loop);
    if (rc < 0) {
        free(loop->read_buffer);
        free(loop);
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot make an event loop: %s",
                         uv_strerror(rc));
    }
    pthread_mutex_init(&loop->lock, NULL);
    atomic_init(&loop->stopping, false);
    *out = loop;
    return 0;
}

void net_loop_destroy(struct net_loop *loop)
{
    int rc;

    if (!loop)
        return;
    pthread_mutex_lock(&loop->lock);
    loop->closing = true;
    pthread_mutex_unlock(&loop->lock);
    run_posts(loop); /* what was accepted is called */

    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->clock, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT); /* connections and resolvers closed by their owners finish */
    rc = uv_loop_close(&loop->uv);
    assert(rc == 0 && "something on the loop was not closed by its owner");
    (void)rc;
    assert(loop->timer_count == 0 && list_empty(&loop->deferred) && list_empty(&loop->flushes));

    heap_free(&loop->timers);
    buf_free(&loop->scratch);
    buf_free(&loop->frames);
    free(loop->posts.items);
    free(loop->taken.items);
    free(loop->read_buffer);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

void net_loop_run(struct net_loop *loop)
{
    while (!atomic_load(&loop->stopping))
        uv_run(&loop->uv, UV_RUN_DEFAULT);
    atomic_store(&loop->stopping, false);
}

void net_loop_turn(struct net_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_NOWAIT);
}

void net_loop_wait(struct net_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_ONCE);
}

int net_loop_descriptor(const struct net_loop *loop)
{
    return uv_backend_fd(&loop->uv);
}

int net_loop_timeout_ms(const struct net_loop *loop)
{
    return uv_backend_timeout(&loop->uv);
}

void net_loop_stop(struct net_loop *loop)
{
    atomic_store(&loop->stopping, true);
    uv_async_send(&loop->wake);
}

const char *net_loop_date(struct net_loop *loop)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm tm;

    if (now == loop->date_second && loop->date[0])
        return loop->date;
    loop->date_second = now;
    gmtime_r(&now, &tm);
    /* The bounds tell the compiler that the numbers have the width that they do have. */
    snprintf(loop->date, sizeof loop->date, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
             days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon,
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
    return loop->date;
}

/* --- signals and watched descriptors --------------------------------------------------------- */

struct net_signal {
    uv_signal_t handle;
    void (*fn)(void *arg, int signum);
    void *arg;
};

static void free_handle_data(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct net_signal *signal = handle->data;

    signal->fn(signal->arg, signum);
}

struct net_signal *net_signal_create(struct net_loop *loop, int signum,
                                     void (*fn)(void *arg, int signum), void *arg)
{
    struct net_signal *signal = calloc(1, sizeof *signal);

    if (!signal)
        return NULL;
    signal->fn = fn;
    signal->arg = arg;
    signal->handle.data = signal;
    if (uv_signal_init(&loop->uv, &signal->handle) < 0) {
        free(signal);
        return NULL;
    }
    if (uv_signal_start(&signal->handle, on_signal, signum) < 0) {
        uv_close((uv_handle_t *)&signal->handle, free_handle_data);
        return NULL;
    }
    return signal;
}

void net_signal_destroy(struct net_signal *signal)
{
    if (signal)
        uv_close((uv_handle_t *)&signal->handle, free_handle_data);
}

struct net_watch {
    uv_poll_t handle;
    void (*fn)(void *arg);
    void *arg;
};

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct net_watch *watch = handle->data;

    (void)status; /* an error is something to read, too: whoever reads finds out */
    (void)events;
    watch->fn(watch->arg);
}

struct net_watch *net_watch_create(struct net_loop *loop, int fd, void (*fn)(void *arg), void *arg)
{
    struct net_watch *watch = calloc(1, sizeof *watch);

    if (!watch)
        return NULL;
    watch->fn = fn;
    watch->arg = arg;
    watch->handle.data = watch;
    if (uv_poll_init(&loop->uv, &watch->handle, fd) < 0) {
        free(watch);
        return NULL;
    }
    if (uv_poll_start(&watch->handle, UV_READABLE, on_readable) < 0) {
        uv_close((uv_handle_t *)&watch->handle, free_handle_data);
        return NULL;
    }
    return watch;
}

void net_watch_destroy(struct net_watch *watch)
{
    if (watch)
        uv_close((uv_handle_t *)&watch->handle, free_handle_data);
}
