// SPDX-License-Identifier: Apache-2.0
/*
 * Two lanes, one for writes and one for reads. With threads each lane has a thread of its own with
 * a handle of its own: the owner appends a job to the lane's queue and wakes the thread; the thread
 * moves it to the lane's ended list and wakes the owner, who calls `done` from store_async_poll.
 * Without threads both kinds of job stand in one queue, in order, that the poll itself works off.
 *
 * A lane's mutex covers its lists and nothing else; it is never held while a job works, a callback
 * runs or `wake` is called. `open` is the owner's alone: jobs handed in and not yet given back.
 * A lane's handle is its thread's while it is `busy`: with a job, and with the upkeep after it,
 * which nobody waits for but the jobs that are queued meanwhile. Else, as nothing is queued, it is
 * the owner's to use (store_async_write_now), and passes between the two through the mutex.
 */
#include "store/async.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct lane {
    struct store_async *async;
    struct store *store;
    size_t open; /* owner's: jobs between submission and done */
    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t cond;   /* a job was queued, or stop */
    struct list queued, ended;
    bool busy, stop;
};

struct store_async {
    bool threads;
    void (*wake)(void *arg);
    void *arg;
    struct lane writes, reads; /* without threads `reads` is idle */
};

static void work(struct store_job *job, struct store *store)
{
    job->error = (struct error){0};
    job->code = job->work(job, store, &job->error);
}

/* With the mutex free. `busy` is read by the one thread that ever sets it. */
static void keep_up(struct lane *lane)
{
    if (!lane->busy)
        return;
    store_upkeep(lane->store);
    pthread_mutex_lock(&lane->mutex);
    lane->busy = false;
    pthread_mutex_unlock(&lane->mutex);
}

static void *lane_thread(void *arg)
{
    struct lane *lane = arg;

    pthread_mutex_lock(&lane->mutex);
    for (;;) {
        struct list *node;
        bool first;

        while (!lane->stop && list_empty(&lane->queued))
            pthread_cond_wait(&lane->cond, &lane->mutex);
        if (lane->stop)
            break;
        node = list_pop(&lane->queued);
        lane->busy = true;
        pthread_mutex_unlock(&lane->mutex);
        work(LIST_ENTRY(node, struct store_job, link), lane->store);
        pthread_mutex_lock(&lane->mutex);
        first = list_empty(&lane->ended);
        list_append(&lane->ended, node);
        lane->busy = store_upkeep_due(lane->store);
        if (!first && !lane->busy)
            continue; /* the owner has been woken for the first one, and takes them all */
        pthread_mutex_unlock(&lane->mutex);
        if (first)
            lane->async->wake(lane->async->arg);
        keep_up(lane);
        pthread_mutex_lock(&lane->mutex);
    }
    pthread_mutex_unlock(&lane->mutex);
    return NULL;
}

static int lane_init(struct lane *lane, struct store_async *async, struct error *err)
{
    lane->async = async;
    list_init(&lane->queued);
    list_init(&lane->ended);
    if (pthread_mutex_init(&lane->mutex, NULL))
        return error_memory(err);
    if (pthread_cond_init(&lane->cond, NULL)) {
        pthread_mutex_destroy(&lane->mutex);
        return error_memory(err);
    }
    return CODE_OK;
}

static void lane_destroy(struct lane *lane)
{
    pthread_cond_destroy(&lane->cond);
    pthread_mutex_destroy(&lane->mutex);
}

/* Signals are the application's: none is delivered on a thread of ours. */
static int lane_start(struct lane *lane, const char *name, struct error *err)
{
    sigset_t all, before;
    int failed;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&lane->thread, NULL, lane_thread, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot start a thread for the store: %s",
                         strerror(failed));
    pthread_setname_np(lane->thread, name);
    return CODE_OK;
}

/* Lets what runs end, and leaves what is queued in the queue. */
static void lane_stop(struct lane *lane)
{
    pthread_mutex_lock(&lane->mutex);
    lane->stop = true;
    pthread_cond_signal(&lane->cond);
    pthread_mutex_unlock(&lane->mutex);
    pthread_join(lane->thread, NULL);
}

static int start_threads(struct store_async *async, struct error *err)
{
    int code = lane_start(&async->writes, "store-write", err);

    if (code)
        return code;
    code = lane_start(&async->reads, "store-read", err);
    if (code)
        lane_stop(&async->writes);
    return code;
}

int store_async_create(struct store_async **created, struct store *store, bool threads,
                       void (*wake)(void *arg), void *arg, struct error *err)
{
    struct store_async *async = calloc(1, sizeof *async);
    struct store *reader = NULL;
    int code;

    if (!async)
        return error_memory(err);
    async->threads = threads;
    async->wake = wake;
    async->arg = arg;
    code = lane_init(&async->writes, async, err);
    if (code)
        goto no_writes;
    code = lane_init(&async->reads, async, err);
    if (code)
        goto no_reads;
    if (threads)
        code = store_open_reader(store, &reader, err);
    async->writes.store = store;
    async->reads.store = reader;
    if (!code && threads)
        code = start_threads(async, err);
    if (!code) {
        *created = async;
        return CODE_OK;
    }
    store_close(reader);
    lane_destroy(&async->reads);
no_reads:
    lane_destroy(&async->writes);
no_writes:
    free(async);
    return code;
}

static size_t give_back(struct lane *lane, struct list *ended)
{
    struct list *node;
    size_t count = 0;

    while ((node = list_pop(ended))) {
        struct store_job *job = LIST_ENTRY(node, struct store_job, link);

        assert(lane->open > 0);
        lane->open--;
        job->done(job);
        count++;
    }
    return count;
}

/* Whatever stands in the lists of a lane that has stopped, and what its callbacks still submit. */
static void lane_drain(struct lane *lane)
{
    struct list *node;

    give_back(lane, &lane->ended);
    while ((node = list_pop(&lane->queued))) {
        struct store_job *job = LIST_ENTRY(node, struct store_job, link);

        job->code = error_set(&job->error, CODE_CANCELED, "the store is being closed");
        list_append(&lane->ended, node);
        give_back(lane, &lane->ended);
    }
}

void store_async_destroy(struct store_async *async)
{
    if (!async)
        return;
    if (async->threads) {
        lane_stop(&async->writes);
        lane_stop(&async->reads);
    }
    while (async->writes.open || async->reads.open) {
        lane_drain(&async->writes);
        lane_drain(&async->reads);
    }
    store_close(async->reads.store);
    store_close(async->writes.store);
    lane_destroy(&async->reads);
    lane_destroy(&async->writes);
    free(async);
}

static void submit(struct lane *lane, struct store_job *job)
{
    lane->open++;
    pthread_mutex_lock(&lane->mutex);
    list_append(&lane->queued, &job->link);
    pthread_cond_signal(&lane->cond);
    pthread_mutex_unlock(&lane->mutex);
    if (!lane->async->threads)
        lane->async->wake(lane->async->arg);
}

void store_async_write(struct store_async *async, struct store_job *job)
{
    submit(&async->writes, job);
}

void store_async_read(struct store_async *async, struct store_job *job)
{
    submit(async->threads ? &async->reads : &async->writes, job);
}

static size_t lane_poll(struct lane *lane)
{
    struct list ended;

    if (!lane->open)
        return 0;
    list_init(&ended);
    pthread_mutex_lock(&lane->mutex);
    list_splice(&ended, &lane->ended);
    pthread_mutex_unlock(&lane->mutex);
    return give_back(lane, &ended);
}

/* Only what is queued now: a job that a callback submits has its turn at the next poll. */
static size_t run_queued(struct lane *lane)
{
    size_t queued = lane->open, count = 0;
    struct list *node;

    while (count < queued && (node = list_pop(&lane->queued))) {
        struct list one;

        work(LIST_ENTRY(node, struct store_job, link), lane->store);
        list_init(&one);
        list_append(&one, node);
        count += give_back(lane, &one);
        store_upkeep(lane->store);
    }
    return count;
}

size_t store_async_poll(struct store_async *async)
{
    if (!async->threads)
        return run_queued(&async->writes);
    return lane_poll(&async->writes) + lane_poll(&async->reads);
}

bool store_async_write_now(struct store_async *async, struct store_job *job)
{
    struct lane *lane = &async->writes;
    bool busy;

    if (lane->open)
        return false;
    pthread_mutex_lock(&lane->mutex);
    busy = lane->busy;
    pthread_mutex_unlock(&lane->mutex);
    if (busy || store_upkeep_due(lane->store))
        return false; /* that of a queued one is followed by the upkeep */
    work(job, lane->store);
    job->done(job);
    return true;
}
