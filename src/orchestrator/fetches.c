// SPDX-License-Identifier: Apache-2.0
/*
 * What the engine asks for: the calls of polls that waited for room, from the cache or by a store
 * thread; and the rows of trees that were out of memory. The engine hears of each once; of an
 * incarnation that is over, nobody does.
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

    if (job->code != CODE_CANCELED && f->incarnation == o->epoch && orchestrator_takes(o)) {
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

/* --- trees ------------------------------------------------------------------------------------ */

struct tree_fetch {
    struct store_job job;
    struct orchestrator *o;
    uint64_t root, incarnation;
    struct blob *tree;
    struct blob **rows;
    struct engine_tree_call *calls;
    size_t count;
};

static int tree_rows(struct tree_fetch *f, struct store *store, struct error *err)
{
    struct tree_row tree;
    uint64_t id;
    int code = tree_decode(blob_slice(f->tree), f->root, &tree, err);

    if (code)
        return code;
    f->rows = calloc(tree.calls, sizeof(struct blob *));
    f->calls = calloc(tree.calls, sizeof *f->calls);
    if (!f->rows || !f->calls)
        return error_memory(err);
    for (; f->count < tree.calls && tree_next(&tree, &id); f->count++) {
        struct blob **row = &f->rows[f->count];

        code = store_get(store, PARTITION, TABLE_CALL, id, 0, row, err);
        if (code)
            return code;
        f->calls[f->count] = (struct engine_tree_call){id, blob_slice(*row)};
    }
    return CODE_OK; /* the engine knows how many there should be */
}

static int tree_work(struct store_job *job, struct store *store, struct error *err)
{
    struct tree_fetch *f = LIST_ENTRY(job, struct tree_fetch, job);
    int code = store_get(store, PARTITION, TABLE_META, f->root, META_TREE, &f->tree, err);

    return code ? code : tree_rows(f, store, err);
}

static void hand_over_tree(struct orchestrator *o, uint64_t root,
                           const struct engine_tree_call *calls, size_t count,
                           const struct error *failure)
{
    if (failure)
        log_line(o->options.log, LOG_ERROR, "a tree cannot be read back into memory",
                 LOG_NUM("root", root), LOG_STR("error", failure->message));
    engine_tree_fetched(o->engine, clock_now(o->options.clock), root, calls, count, failure);
    o->dirty = true;
}

static void tree_done(struct store_job *job)
{
    struct tree_fetch *f = LIST_ENTRY(job, struct tree_fetch, job);
    struct orchestrator *o = f->o;

    if (job->code != CODE_CANCELED && f->incarnation == o->epoch && orchestrator_takes(o))
        hand_over_tree(o, f->root, f->calls, f->count, job->code ? &job->error : NULL);
    for (size_t i = 0; i < f->count; i++)
        blob_unref(f->rows[i]);
    blob_unref(f->tree);
    free(f->rows);
    free(f->calls);
    free(f);
}

void fetch_tree(struct orchestrator *o, const struct engine_effect *effect)
{
    struct tree_fetch *f = calloc(1, sizeof *f);
    struct error err;

    if (!f) {
        error_memory(&err);
        hand_over_tree(o, effect->call, NULL, 0, &err);
        return;
    }
    f->o = o;
    f->root = effect->call;
    f->incarnation = o->epoch;
    f->job.work = tree_work;
    f->job.done = tree_done;
    store_async_read(o->async, &f->job);
}
