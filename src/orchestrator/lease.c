// SPDX-License-Identifier: Apache-2.0
/*
 * The lease on the partition, where other nodes may want it too (options.lease_ns). The opening
 * takes it before it loads anything, and then it is renewed each quarter of its length. It counts
 * from before it was asked for, by the own clock, and a quarter of it is not used: so that this
 * node has stopped taking requests and handing out runs before another may begin. What a node does
 * that has lost it all the same, as its clock went wrong, does not count: its commits are refused.
 *
 * A lease that is over, or was found to be another's, is a crash of the partition, and the next
 * opening waits until it can be had again.
 */
#include <assert.h>
#include <stdio.h>

#include "orchestrator/inner.h"

/* A renewal that did not succeed is tried again so many times in a lease's length. */
#define RETRIES 16

int lease_renew(const struct orchestrator *o, struct store *store, uint64_t epoch, int64_t *until,
                struct error *err)
{
    int64_t length = o->options.lease_ns, asked = clock_now(o->options.clock);
    int code = length ? store_renew(store, PARTITION, epoch, length, err) : CODE_OK;

    if (!code)
        *until = length ? time_add(asked, length - length / 4) : TIME_NEVER;
    return code;
}

void lease_opened(struct orchestrator *o, int64_t until)
{
    struct lease *l = &o->lease;

    assert(!l->busy);
    l->until = until;
    l->renew_at = until == TIME_NEVER ? TIME_NEVER : until - o->options.lease_ns / 2;
    snprintf(l->why, sizeof l->why, "it was not renewed in time");
}

bool lease_over(const struct orchestrator *o)
{
    return o->lease.until != TIME_NEVER && clock_now(o->options.clock) >= o->lease.until;
}

static int renew_work(struct store_job *job, struct store *store, struct error *err)
{
    struct lease *l = LIST_ENTRY(job, struct lease, job);

    return lease_renew(LIST_ENTRY(l, struct orchestrator, lease), store, l->epoch, &l->renewed,
                       err);
}

static void renew_done(struct store_job *job)
{
    struct lease *l = LIST_ENTRY(job, struct lease, job);
    struct orchestrator *o = LIST_ENTRY(l, struct orchestrator, lease);

    l->busy = false;
    if (o->destroying || o->life != LIFE_OPEN || l->epoch != o->epoch)
        return;
    if (!job->code) {
        if (!lease_over(o)) /* else it is too late: what came meanwhile was not taken */
            lease_opened(o, l->renewed);
        return;
    }
    snprintf(l->why, sizeof l->why, "%.300s", job->error.message);
    if (job->code == CODE_ABORTED)
        l->until = INT64_MIN; /* it is another's */
    l->renew_at = clock_now(o->options.clock) + o->options.lease_ns / RETRIES;
}

bool lease_tick(struct orchestrator *o, int64_t now)
{
    struct lease *l = &o->lease;

    if (o->life != LIFE_OPEN || l->busy || now < l->renew_at)
        return false;
    l->busy = true;
    l->epoch = o->epoch;
    l->job = (struct store_job){.work = renew_work, .done = renew_done};
    store_async_write(o->async, &l->job);
    return true;
}

int64_t lease_next_due(const struct orchestrator *o)
{
    const struct lease *l = &o->lease;

    if (o->life != LIFE_OPEN)
        return TIME_NEVER;
    return l->busy || l->until < l->renew_at ? l->until : l->renew_at;
}
