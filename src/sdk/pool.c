// SPDX-License-Identifier: Apache-2.0
/*
 * A fixed number of threads and a bounded queue in front of them.
 *
 * Waking a thread costs more than many a job. So one at most is on its way to the queue at any
 * time; when it has taken its job, and there are more, and threads that sleep, it wakes the next.
 * Jobs that come in a crowd and are over at once are then done by few threads, and jobs that block
 * keep none of the others waiting. Threads are woken after the lock was given back: they want it
 * first of all.
 *
 * A thread that has nothing to do stands in a stack of idle ones, the latest on top, as its memory
 * is warm; each has a condition of its own, so that a job can be given to the one that holds the
 * stack it goes on with. Such a job waits for that thread, in a queue that is the thread's own, as
 * going on elsewhere means to begin from the top. But not for long: while there are such jobs, one
 * of the idle threads watches, and what stands behind a job that has run for longer than the pool's
 * patience is everybody's.
 */
#include "sdk/internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct worker {
    struct list idle; /* in the pool's stack */
    struct list own;  /* jobs for it */
    struct sdk_pool *pool;
    uint32_t number;
    uint64_t taken, seen; /* jobs that it took; by when the pool was last looked over */
    pthread_cond_t work;
    pthread_t thread;
};

struct sdk_pool {
    pthread_mutex_t lock;
    struct list queue, idle;
    struct worker *waking;   /* signalled for the queue, and not there yet */
    struct worker *watching; /* wakes when it is time to look the pool over */
    uint64_t submitted;
    uint32_t queued, max_queue;
    uint32_t owned; /* of those that are queued, by threads of their own */
    int64_t patience_ns, look_ns;
    bool closing;
    uint32_t thread_count;
    struct worker workers[];
};

static _Thread_local uint32_t own_number;

int sdk_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

void sdk_mutex_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t spins;

    pthread_mutexattr_init(&spins);
    pthread_mutexattr_settype(&spins, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(mutex, &spins);
    pthread_mutexattr_destroy(&spins);
}

struct timespec sdk_after_ms(uint32_t ms)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

uint32_t sdk_pool_worker(void)
{
    return own_number;
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* --- under the lock -------------------------------------------------------------------------- */

/* Who is to be signalled as the queue is not empty; NULL: nobody. */
static struct worker *call_one(struct sdk_pool *pool)
{
    if (list_empty(&pool->queue) || list_empty(&pool->idle) || pool->waking)
        return NULL;
    return pool->waking = LIST_ENTRY(list_pop(&pool->idle), struct worker, idle);
}

/* Who is to be signalled to watch, the one that has slept longest; NULL: nobody. */
static struct worker *call_watcher(struct sdk_pool *pool)
{
    struct worker *worker = LIST_ENTRY(pool->idle.prev, struct worker, idle);

    if (pool->owned == 0 || pool->watching || list_empty(&pool->idle))
        return NULL;
    list_remove(&worker->idle);
    return pool->watching = worker;
}

/* When it is time to: the jobs of threads that are at the same job as the last time are everybody's
 * from now on. */
static void look_over(struct sdk_pool *pool)
{
    int64_t now = pool->owned > 0 ? now_ns() : 0;

    if (pool->owned == 0 || now < pool->look_ns)
        return;
    pool->look_ns = now + pool->patience_ns;
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        struct worker *worker = &pool->workers[i];

        if (worker->taken == worker->seen && !list_empty(&worker->own)) {
            for (struct list *job = worker->own.next; job != &worker->own; job = job->next)
                pool->owned--;
            list_splice(&worker->own, &pool->queue); /* they have waited longest */
            list_splice(&pool->queue, &worker->own);
        }
        worker->seen = worker->taken;
    }
}

static void wait_to_watch(struct worker *worker)
{
    struct sdk_pool *pool = worker->pool;
    struct timespec until = {.tv_sec = pool->look_ns / NS_PER_S,
                             .tv_nsec = pool->look_ns % NS_PER_S};

    pool->watching = worker;
    pthread_cond_timedwait(&worker->work, &pool->lock, &until);
    pool->watching = NULL;
    look_over(pool);
}

static void sleep_until_work(struct worker *worker)
{
    struct sdk_pool *pool = worker->pool;

    while (list_empty(&worker->own) && list_empty(&pool->queue) && !pool->closing) {
        bool watch = pool->owned > 0 && (!pool->watching || pool->watching == worker);

        if (list_empty(&worker->idle) && watch)
            list_append(&pool->idle, &worker->idle); /* to be left alone */
        else if (list_empty(&worker->idle))
            list_push(&pool->idle, &worker->idle);
        if (pool->watching == worker)
            pool->watching = NULL;
        if (watch)
            wait_to_watch(worker);
        else
            pthread_cond_wait(&worker->work, &pool->lock);
        if (pool->waking == worker)
            pool->waking = NULL;
    }
    if (pool->watching == worker)
        pool->watching = NULL;
    list_remove(&worker->idle);
}

/* The next job in the order in which they came; NULL: there is none. */
static struct sdk_job *first_job(struct worker *worker)
{
    struct sdk_pool *pool = worker->pool;
    struct sdk_job *own = LIST_ENTRY(worker->own.next, struct sdk_job, node);
    struct sdk_job *any = LIST_ENTRY(pool->queue.next, struct sdk_job, node);

    if (list_empty(&worker->own)) {
        if (list_empty(&pool->queue))
            return NULL;
    } else if (list_empty(&pool->queue) || own->order < any->order) {
        any = own;
        pool->owned--;
    }
    list_remove(&any->node);
    pool->queued--;
    worker->taken++;
    return any;
}

/* The thread that the job is given to; NULL: to whoever comes first. */
static struct worker *owner(struct sdk_pool *pool, uint32_t number)
{
    bool one_of_several = number > 0 && number <= pool->thread_count && pool->thread_count > 1;

    return one_of_several ? &pool->workers[number - 1] : NULL;
}

static void enqueue(struct sdk_pool *pool, struct sdk_job *job, struct worker *worker)
{
    job->order = pool->submitted++;
    pool->queued++;
    if (!worker) {
        list_append(&pool->queue, &job->node);
        return;
    }
    list_append(&worker->own, &job->node);
    if (pool->owned++ == 0)
        pool->look_ns = now_ns() + pool->patience_ns;
}

/* Who is to be signalled for a job that has come; NULL: nobody. `worker`: whose it is, if any's. */
static struct worker *call_for(struct sdk_pool *pool, struct worker *worker)
{
    if (!worker)
        return call_one(pool);
    if (list_empty(&worker->idle))
        return call_watcher(pool);
    list_remove(&worker->idle);
    return worker;
}

/* --------------------------------------------------------------------------------------------- */

static void signal_to(struct worker *worker)
{
    if (worker)
        pthread_cond_signal(&worker->work);
}

/* The next job, or NULL when the pool is closing and there is none. */
static struct sdk_job *take(struct worker *worker)
{
    struct sdk_pool *pool = worker->pool;
    struct worker *next, *watcher;
    struct sdk_job *job;

    pthread_mutex_lock(&pool->lock);
    look_over(pool);
    sleep_until_work(worker);
    job = first_job(worker);
    next = call_one(pool);
    watcher = call_watcher(pool);
    pthread_mutex_unlock(&pool->lock);
    signal_to(next);
    signal_to(watcher);
    return job;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct sdk_job *job;

    own_number = worker->number;
    while ((job = take(worker)) != NULL)
        job->run(job);
    return NULL;
}

static int start_worker(struct sdk_pool *pool, struct error *err)
{
    struct worker *worker = &pool->workers[pool->thread_count];
    pthread_condattr_t monotonic;
    int rc;

    *worker = (struct worker){.pool = pool, .number = pool->thread_count + 1};
    list_init(&worker->idle);
    list_init(&worker->own);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    /* Under the lock, as a thread that is there already looks at all that are counted. */
    pthread_mutex_lock(&pool->lock);
    rc = sdk_thread_start(&worker->thread, work, worker);
    pool->thread_count += rc == 0;
    pthread_mutex_unlock(&pool->lock);
    if (rc == 0)
        return 0;
    pthread_cond_destroy(&worker->work);
    return error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot start thread %u: %s", worker->number,
                     strerrordesc_np(rc));
}

int sdk_pool_create(uint32_t workers, uint32_t max_queue, uint32_t patience_ms,
                    struct sdk_pool **pool, struct error *err)
{
    struct sdk_pool *made = calloc(1, sizeof *made + workers * sizeof *made->workers);

    if (!made)
        return error_memory(err);
    sdk_mutex_init(&made->lock);
    list_init(&made->queue);
    list_init(&made->idle);
    made->max_queue = max_queue;
    made->patience_ns = patience_ms * NS_PER_MS;
    for (uint32_t i = 0; i < workers; i++)
        if (start_worker(made, err)) {
            sdk_pool_destroy(made);
            return CODE_RESOURCE_EXHAUSTED;
        }
    *pool = made;
    return 0;
}

bool sdk_pool_submit(struct sdk_pool *pool, struct sdk_job *job, uint32_t number, bool wake)
{
    struct worker *worker = owner(pool, number), *called = NULL;
    bool room;

    pthread_mutex_lock(&pool->lock);
    room = pool->queued < pool->max_queue;
    if (room)
        enqueue(pool, job, worker);
    if (room && (wake || worker))
        called = call_for(pool, worker);
    pthread_mutex_unlock(&pool->lock);
    signal_to(called);
    return room;
}

void sdk_pool_wake(struct sdk_pool *pool)
{
    struct worker *called;

    pthread_mutex_lock(&pool->lock);
    called = call_one(pool);
    pthread_mutex_unlock(&pool->lock);
    signal_to(called);
}

bool sdk_pool_queued(struct sdk_pool *pool)
{
    bool queued;

    pthread_mutex_lock(&pool->lock);
    queued = pool->queued > 0;
    pthread_mutex_unlock(&pool->lock);
    return queued;
}

void sdk_pool_work(struct sdk_pool *pool)
{
    struct list jobs, *node;

    list_init(&jobs);
    pthread_mutex_lock(&pool->lock);
    list_splice(&jobs, &pool->queue);
    pool->queued = 0;
    pthread_mutex_unlock(&pool->lock);
    while ((node = list_pop(&jobs))) {
        struct sdk_job *job = LIST_ENTRY(node, struct sdk_job, node);

        job->run(job);
    }
}

void sdk_pool_destroy(struct sdk_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_cond_signal(&pool->workers[i].work);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->workers[i].work);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
