// SPDX-License-Identifier: Apache-2.0
/*
 * The calls of polls that waited for room: when the engine has some, they are read back, from the
 * cache or by a store thread, and handed to it. The engine hears of each once; of an incarnation
 * that is over, nobody does.
 */
#include <stdlib.h>

#include "orchestrator/inner.h"

struct fetch {
    struct store_job job;
    struct orchestrator *o;
    uint64_t call, incarnation;
    uint32_t generation;
    struct blob *calls;
};

static void hand_over(struct orchestrator *o, uint64_t call, uint32_t generation,
                      struct blob *calls, const struct error *failure)
{
    engine_fetched(o->engine, clock_now(o->options.clock), call, generation, blob_slice(calls),
                   failure);
    o->dirty = true;
}

static int fetch_work(struct store_job *job, struct store *store, struct error *err)
{
    struct fetch *f = LIST_ENTRY(job, struct fetch, job);

    return store_get(store, PARTITION, TABLE_PAYLOAD, f->call, PAYLOAD_CALLS, &f->calls, err);
}

static void fetch_done(struct store_job *job)
{
    struct fetch *f = LIST_ENTRY(job, struct fetch, job);
    struct orchestrator *o = f->o;

    if (job->code != CODE_CANCELED && f->incarnation == o->epoch && orchestrator_engine_open(o)) {
        if (job->code)
            log_line(o->options.log, LOG_ERROR, "the calls of a poll cannot be read",
                     LOG_STR("error", job->error.message));
        hand_over(o, f->call, f->generation, f->calls, job->code ? &job->error : NULL);
    }
    blob_unref(f->calls);
    free(f);
}

void fetch_start(struct orchestrator *o, const struct engine_effect *effect)
{
    struct blob *calls = cache_get(&o->cache, CACHE_PAYLOAD, effect->call, PAYLOAD_CALLS);
    struct fetch *f = calls ? NULL : calloc(1, sizeof *f);
    struct error err;

    if (calls) {
        hand_over(o, effect->call, effect->generation, calls, NULL);
        blob_unref(calls);
        return;
    }
    if (!f) {
        error_memory(&err);
        hand_over(o, effect->call, effect->generation, NULL, &err);
        return;
    }
    f->o = o;
    f->call = effect->call;
    f->generation = effect->generation;
    f->incarnation = o->epoch;
    f->job.work = fetch_work;
    f->job.done = fetch_done;
    store_async_read(o->async, &f->job);
}
