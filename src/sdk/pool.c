// SPDX-License-Identifier: Apache-2.0
/*
 * A fixed number of threads and a bounded queue in front of them.
 *
 * Waking a thread costs more than many a job. So one at most is on its way at any time; when it has
 * taken its job, and there are more, and threads that sleep, it wakes the next. Jobs that come in
 * a crowd and are over at once are then done by few threads, and jobs that block keep none of the
 * others waiting.
 */
#include "sdk/internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct sdk_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list queue;
    uint32_t queued, max_queue;
    uint32_t asleep;
    bool waking; /* one of them has been signalled; so while there are jobs and some sleep */
    bool closing;
    uint32_t thread_count;
    pthread_t threads[];
};

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

/* Under the lock. */
static void wake_one(struct sdk_pool *pool)
{
    if (list_empty(&pool->queue) || pool->asleep == 0 || pool->waking)
        return;
    pool->waking = true;
    pthread_cond_signal(&pool->work);
}

/* Under the lock. */
static void sleep_until_work(struct sdk_pool *pool)
{
    while (list_empty(&pool->queue) && !pool->closing) {
        pool->asleep++;
        pthread_cond_wait(&pool->work, &pool->lock);
        pool->asleep--;
        pool->waking = false;
    }
}

/* The next job, or NULL when the pool is closing and its queue is empty. */
static struct sdk_job *take(struct sdk_pool *pool)
{
    struct list *node;

    pthread_mutex_lock(&pool->lock);
    sleep_until_work(pool);
    node = list_pop(&pool->queue);
    if (node)
        pool->queued--;
    wake_one(pool);
    pthread_mutex_unlock(&pool->lock);
    return node ? LIST_ENTRY(node, struct sdk_job, node) : NULL;
}

static void *work(void *arg)
{
    struct sdk_job *job;

    while ((job = take(arg)) != NULL)
        job->run(job);
    return NULL;
}

int sdk_pool_create(uint32_t workers, uint32_t max_queue, struct sdk_pool **pool, struct error *err)
{
    struct sdk_pool *made = calloc(1, sizeof *made + workers * sizeof *made->threads);

    if (!made)
        return error_memory(err);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->work, NULL);
    list_init(&made->queue);
    made->max_queue = max_queue;
    for (; made->thread_count < workers; made->thread_count++) {
        int rc = sdk_thread_start(&made->threads[made->thread_count], work, made);

        if (!rc)
            continue;
        error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot start thread %u of %u: %s",
                  made->thread_count + 1, workers, strerrordesc_np(rc));
        sdk_pool_destroy(made);
        return CODE_RESOURCE_EXHAUSTED;
    }
    *pool = made;
    return 0;
}

bool sdk_pool_submit(struct sdk_pool *pool, struct sdk_job *job)
{
    bool room;

    pthread_mutex_lock(&pool->lock);
    room = pool->queued < pool->max_queue;
    if (room) {
        list_append(&pool->queue, &job->node);
        pool->queued++;
        wake_one(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    return room;
}

void sdk_pool_destroy(struct sdk_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
