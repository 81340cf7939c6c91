// SPDX-License-Identifier: Apache-2.0
/*
 * Looking a call up: its committed rows, read on a store thread. A live call has a CALL row; one
 * that is done has a DONE row, which is written in the commit that ends it. So whoever finds no
 * CALL row and then no DONE row looks for a call that does not exist.
 */
#include <assert.h>

#include "orchestrator/inner.h"

#define WHY_MAX 1024

/* What may be gone in the meantime, or never was. */
static int read_if_there(struct lookup *l, struct store *store, enum table table, uint32_t sub,
                         struct blob **blob, struct error *err)
{
    int code = store_get(store, PARTITION, table, l->id, sub, blob, err);

    return code == CODE_NOT_FOUND ? 0 : code;
}

/* All chunks, or none: they may have become one since the row was read. */
static int read_state(struct lookup *l, struct store *store, const struct engine_row *row,
                      struct error *err)
{
    int code = read_if_there(l, store, TABLE_PAYLOAD, PAYLOAD_STATE, &l->state, err);

    for (uint32_t i = 1; i < row->state_chunks && l->state && !code; i++) {
        struct blob *chunk = NULL;

        code = read_if_there(l, store, TABLE_PAYLOAD, PAYLOAD_STATE + i, &chunk, err);
        if (chunk) {
            buf_append_slice(&l->appended, blob_slice(chunk));
        } else {
            blob_unref(l->state);
            l->state = NULL;
        }
        blob_unref(chunk);
    }
    return !code && l->appended.failed ? error_memory(err) : code;
}

static int lookup_work(struct store_job *job, struct store *store, struct error *err)
{
    struct lookup *l = LIST_ENTRY(job, struct lookup, job);
    struct engine_row row = {.state = CALL_DONE};
    struct engine_result result;
    struct slice bytes;
    int code = read_if_there(l, store, TABLE_CALL, 0, &l->call, err);

    if (!code && l->call) {
        bytes = blob_slice(l->call);
        code = row_decode(&bytes, &row, err);
    }
    if (!code && row.state == CALL_DONE)
        code = read_if_there(l, store, TABLE_DONE, 0, &l->done, err);
    if (!code && !l->call && l->done)
        code = row_decode_done(blob_slice(l->done), &row, &result, err);
    if (!code && l->with_input && row.has_input)
        code = read_if_there(l, store, TABLE_PAYLOAD, PAYLOAD_INPUT, &l->input, err);
    if (!code && l->with_state && row.state != CALL_DONE && row.state_chunks > 0)
        code = read_state(l, store, &row, err);
    return code;
}

static void lookup_done(struct store_job *job)
{
    struct lookup *l = LIST_ENTRY(job, struct lookup, job);

    assert(l->o->lookup_count > 0);
    l->o->lookup_count--;
    l->ended(l);
}

void lookup_init(struct lookup *l, struct orchestrator *o, uint64_t id, struct slice org,
                 void (*ended)(struct lookup *lookup))
{
    *l = (struct lookup){.o = o, .id = id, .org = org, .ended = ended};
    buf_init(&l->appended, o->limits.state_max);
    id_format(l->text, (struct id_parts){.partition = PARTITION, .number = id, .tag = o->tag});
}

void lookup_start(struct lookup *l)
{
    lookup_drop(l);
    l->job = (struct store_job){.work = lookup_work, .done = lookup_done};
    l->o->lookup_count++;
    store_async_read(l->o->async, &l->job);
}

void lookup_drop(struct lookup *l)
{
    blob_unref(l->call);
    blob_unref(l->done);
    blob_unref(l->input);
    blob_unref(l->state);
    buf_free(&l->appended);
    l->call = l->done = l->input = l->state = NULL;
}

/* Only the engine knows them. */
void lookup_live_facts(const struct orchestrator *o, struct engine_row *row, struct buf *why)
{
    struct engine_row live;

    if (row->state != CALL_READY && row->state != CALL_WAITING && row->state != CALL_SUSPENDED)
        return;
    if (!orchestrator_engine_open(o))
        return;
    if (!engine_find(o->engine, row->id, &live)) {
        engine_why_tree(o->engine, clock_now(o->options.clock), row->root, why);
        return;
    }
    if (live.generation != row->generation)
        return;
    if (live.state == CALL_RUNNING)
        row->state = CALL_RUNNING;
    engine_why(o->engine, clock_now(o->options.clock), row->id, why);
}

int lookup_info(struct lookup *l, struct arena *arena, Dispatch__V1__CallInfo **info,
                struct error *err)
{
    struct engine_row row;
    struct engine_result result;
    struct info_parts parts = {.row = &row};
    struct slice bytes = blob_slice(l->call);
    struct blob *last_error = NULL;
    struct buf why;
    int code;

    buf_init(&why, WHY_MAX);

    if (l->done) {
        code = row_decode_done(blob_slice(l->done), &row, &result, err);
        row.state = CALL_DONE;
        parts.result = &result;
    } else if (l->call) {
        code = row_decode(&bytes, &row, err);
    } else {
        return request_not_known(err, slice_str(l->text));
    }
    if (code)
        return code;
    if (!slice_eq(row.org, l->org))
        return request_not_known(err, slice_str(l->text));
    if (!l->done) {
        lookup_live_facts(l->o, &row, &why);
        last_error = cache_get(&l->o->cache, CACHE_ERRORS, l->id, 0);
    }
    parts.input = blob_slice(l->input);
    parts.last_error = blob_slice(last_error);
    parts.state = blob_slice(l->state);
    parts.appended = buf_slice(&l->appended);
    parts.waiting_for = buf_slice(&why);
    code = info_build(arena, l->o->tag, &parts, info, err);
    blob_unref(last_error);
    buf_free(&why);
    return code;
}
