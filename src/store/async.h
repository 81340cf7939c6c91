// SPDX-License-Identifier: Apache-2.0
/*
 * Store work off the owner's thread. Jobs are queued by one thread, the owner, which is also the
 * one that gets them back (store_async_poll). Commits and fences go to the writer's thread in
 * order; reads go to a reader's thread with a handle of its own, or, with no threads (the
 * simulator, tests), all run inside store_async_poll, in order.
 */
#ifndef STORE_ASYNC_H
#define STORE_ASYNC_H

#include "base/list.h"
#include "store/store.h"

struct store_job {
    struct list link; /* the queue's */
    /* The work: called on a store thread with that thread's handle; returns a code. */
    int (*work)(struct store_job *job, struct store *store, struct error *err);
    /* Called on the owner's thread with the outcome in `code` and `error`. */
    void (*done)(struct store_job *job);
    int code;
    struct error error;
};

struct store_async;

/*
 * Takes over `store`, unless it fails. wake(arg) is called on a store thread when there is
 * something to poll for; it may be called more often than needed. threads == false: no threads, and
 * wake is called from within the submitting functions.
 */
int store_async_create(struct store_async **async, struct store *store, bool threads,
                       void (*wake)(void *arg), void *arg, struct error *err);
/* Waits for what runs, drops the rest: each job's done is called with CODE_CANCELED. */
void store_async_destroy(struct store_async *async);

/* The job is the caller's memory, untouched by it until done. */
void store_async_write(struct store_async *async, struct store_job *job);
void store_async_read(struct store_async *async, struct store_job *job);
/* Calls done for what has ended; returns how many. */
size_t store_async_poll(struct store_async *async);

/* Runs one write job right here, on the owner's thread, if no write is queued, running or not yet
 * polled for (without threads: no read either), nor upkeep of the store due; false otherwise (the
 * caller queues it). An idle shell saves two thread hops with it. job->done is called before it
 * returns. */
bool store_async_write_now(struct store_async *async, struct store_job *job);

#endif
