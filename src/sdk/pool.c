// SPDX-License-Identifier: Apache-2.0
/*
 * A fixed number of threads and a bounded queue in front of them.
 *
 * Waking a thread costs more than many a job. So one at most is on its way to the queue at any
 * time; when it has taken its job, and there are more, and threads that sleep, it wakes the next.
 * Jobs that come in a crowd and are over at once are then done by few threads, and jobs that block
 * keep none of the others waiting.
 *
 * A thread that has nothing to do stands in a stack of idle ones, the latest on top, as its memory
 * is warm; each has a condition of its own, so that a job can be given to the one that holds the
 * stack it goes on with.
 */
#include "sdk/internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct worker {
    struct list idle; /* in the pool's stack */
    struct sdk_pool *pool;
    uint32_t number;
    pthread_cond_t work;
    struct sdk_job *given; /* to it alone */
    pthread_t thread;
};

struct sdk_pool {
    pthread_mutex_t lock;
    struct list queue, idle;
    struct worker *waking; /* signalled for the queue, and not there yet */
    uint32_t queued, max_queue;
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

/* Under the lock. */
static void wake_one(struct sdk_pool *pool)
{
    if (list_empty(&pool->queue) || list_empty(&pool->idle) || pool->waking)
        return;
    pool->waking = LIST_ENTRY(list_pop(&pool->idle), struct worker, idle);
    pthread_cond_signal(&pool->waking->work);
}

/* Under the lock. */
static void sleep_until_work(struct worker *worker)
{
    struct sdk_pool *pool = worker->pool;

    while (!worker->given && list_empty(&pool->queue) && !pool->closing) {
        if (list_empty(&worker->idle))
            list_push(&pool->idle, &worker->idle);
        pthread_cond_wait(&worker->work, &pool->lock);
        if (pool->waking == worker)
            pool->waking = NULL;
    }
    list_remove(&worker->idle);
}

/* The next job, or NULL when the pool is closing and its queue is empty. */
static struct sdk_job *take(struct worker *worker)
{
    struct sdk_pool *pool = worker->pool;
    struct sdk_job *job;

    pthread_mutex_lock(&pool->lock);
    sleep_until_work(worker);
    job = worker->given;
    worker->given = NULL;
    if (!job && !list_empty(&pool->queue)) {
        job = LIST_ENTRY(list_pop(&pool->queue), struct sdk_job, node);
        pool->queued--;
    }
    wake_one(pool);
    pthread_mutex_unlock(&pool->lock);
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

int sdk_pool_create(uint32_t workers, uint32_t max_queue, struct sdk_pool **pool, struct error *err)
{
    struct sdk_pool *made = calloc(1, sizeof *made + workers * sizeof *made->workers);

    if (!made)
        return error_memory(err);
    pthread_mutex_init(&made->lock, NULL);
    list_init(&made->queue);
    list_init(&made->idle);
    made->max_queue = max_queue;
    while (made->thread_count < workers) {
        struct worker *worker = &made->workers[made->thread_count];
        int rc;

        *worker = (struct worker){.pool = made, .number = made->thread_count + 1};
        list_init(&worker->idle);
        pthread_cond_init(&worker->work, NULL);
        rc = sdk_thread_start(&worker->thread, work, worker);
        if (rc) {
            pthread_cond_destroy(&worker->work);
            error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot start thread %u of %u: %s",
                      worker->number, workers, strerrordesc_np(rc));
            sdk_pool_destroy(made);
            return CODE_RESOURCE_EXHAUSTED;
        }
        made->thread_count++;
    }
    *pool = made;
    return 0;
}

bool sdk_pool_submit(struct sdk_pool *pool, struct sdk_job *job, uint32_t number)
{
    struct worker *worker = NULL;
    bool room = true;

    pthread_mutex_lock(&pool->lock);
    if (number > 0 && number <= pool->thread_count) {
        worker = &pool->workers[number - 1];
        if (list_empty(&worker->idle) || worker->given)
            worker = NULL; /* busy: whoever comes first */
    }
    if (worker) {
        worker->given = job;
        list_remove(&worker->idle);
        pthread_cond_signal(&worker->work);
    } else if (pool->queued < pool->max_queue) {
        list_append(&pool->queue, &job->node);
        pool->queued++;
        wake_one(pool);
    } else {
        room = false;
    }
    pthread_mutex_unlock(&pool->lock);
    return room;
}

bool sdk_pool_queued(struct sdk_pool *pool)
{
    bool queued;

    pthread_mutex_lock(&pool->lock);
    queued = !list_empty(&pool->queue);
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
