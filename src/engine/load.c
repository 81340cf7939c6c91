// SPDX-License-Identifier: Apache-2.0
/*
 * A partition comes back from its rows. Parents have lower ids than their children, so one walk in
 * the order of ids links the trees. What was running runs again; retries that fell due while nobody
 * was there are spread over a while; a result that was not taken is delivered again.
 */
#include <stdlib.h>

#include "engine/internal.h"

int engine_load_meta(struct engine *e, uint64_t key, uint32_t sub, struct slice value,
                     struct error *err)
{
    uint64_t number;

    if (sub == META_TREE)
        return engine_load_tree(e, key, value, err);
    if (sub)
        return CODE_OK;
    if (key == META_KEPT) {
        if (!slice_get_u64(&value, &e->kept_bytes) || !slice_get_u64(&value, &e->kept_calls))
            return error_set(err, CODE_DATA_LOSS, "meta row %d is damaged", META_KEPT);
        return CODE_OK;
    }
    if (key != META_NEXT_ID)
        return CODE_OK; /* of a later version, which says so in the store's format if it matters */
    if (!slice_get_u64(&value, &number) || value.len || number == 0 || number > KEY_MAX)
        return error_set(err, CODE_DATA_LOSS, "meta row %llu is damaged", (unsigned long long)key);
    e->next_id = e->reserved_id = MUTATION(9) && number > 65536 ? number - 65536 : number;
    return CODE_OK;
}

/* The limit may have been another when the row was written. */
static uint16_t limit_results(const struct engine *e, uint32_t n)
{
    return (uint16_t)(n < e->config.results_max ? n : e->config.results_max);
}

static bool fill(struct engine *e, struct call *c, const struct engine_row *r)
{
    bool done = r->state == CALL_DONE;
    struct target_names names = {.org = r->org,
                                 .function = r->function,
                                 .endpoint = r->endpoint,
                                 .version = r->key.len ? r->key : r->version};

    c->is_event = r->key.len > 0;
    c->input_class = r->input_class;
    c->target = target_get(e, &names);
    if (!c->target)
        return false;
    c->id = r->id;
    c->parent_id = r->depth ? r->parent : r->retry_of;
    c->root_id = r->root;
    c->correlation_id = r->correlation_id;
    c->generation = r->generation;
    c->parent_generation = r->depth ? r->parent_generation : 0; /* else: loose */
    c->depth = (uint16_t)r->depth;
    c->created = r->created;
    c->expires = r->expires;
    c->fresh = r->fresh;
    c->has_input = r->has_input;
    c->has_poll_error = r->has_poll_error;
    c->failures = (uint16_t)(r->failures < COUNT_MAX ? r->failures : COUNT_MAX);
    c->restarts = (uint16_t)(r->restarts < COUNT_MAX ? r->restarts : COUNT_MAX);
    c->attempts = (uint32_t)(r->attempts < UINT32_MAX ? r->attempts : UINT32_MAX);
    c->resumes = r->resumes;
    c->last_status = (uint8_t)r->last_status & 15;
    c->min_results = limit_results(e, r->min_results);
    c->max_results = limit_results(e, r->max_results);
    c->poll_timer = r->poll_timer;
    c->priority = r->priority;
    c->wake_on_error = r->wake_on_error;
    c->failed = r->failed || (done && r->status != STATUS_OK);
    c->status = (uint8_t)r->status & 15;
    c->end = (uint8_t)r->end & 3;
    if (done) {
        c->done = r->done;
        c->finish = r->finish;
        c->result_len = (uint32_t)r->result_len;
    } else {
        c->due = r->due;
        c->state_hash = r->state_hash;
        c->state_len = (uint32_t)r->state_len;
        c->state_chunks = (uint8_t)r->state_chunks;
        c->state_arm = r->state_arm;
    }
    c->stored = true;
    return !r->stalled || stall_add(e, c, r->stalled);
}

/* Joins it to the parent that waits for it, if that one is still there and of the same generation.
 */
static void join_parent(struct engine *e, struct call *c, bool live)
{
    struct call *parent = c->depth ? call_find(e, c->parent_id) : NULL;

    if (!parent || parent->state == CALL_DONE || parent->generation != c->parent_generation) {
        parent = call_find(e, c->root_id);
        if (parent && c->depth && live)
            parent->loose++;
        return;
    }
    c->parent = parent->self;
    ring_append(e, &parent->children, c, RING_SIBLING);
    parent->outstanding++;
}

static int read_call(uint64_t key, struct slice value, struct engine_row *r, struct error *err)
{
    int code = row_decode(&value, r, err);

    if (code)
        return code;
    if (r->id != key || value.len || r->state == CALL_RUNNING || r->depth > UINT16_MAX ||
        r->state_len > UINT32_MAX || r->result_len > UINT32_MAX ||
        (r->state == CALL_WAITING && (r->due == TIME_NEVER) != (r->key.len > 0)) ||
        r->state_chunks > STATE_CHUNKS_MAX || (r->state == CALL_READY && r->due != TIME_NEVER) ||
        (r->state == CALL_SUSPENDED && r->fresh))
        return error_set(err, CODE_DATA_LOSS, "row of call %llu cannot be",
                         (unsigned long long)key);
    return CODE_OK;
}

static int load_call(struct engine *e, const struct engine_row *r, struct error *err)
{
    static const enum move moves[] = {
        [CALL_READY] = MOVE_LOADED_READY,
        [CALL_WAITING] = MOVE_LOADED_WAITING,
        [CALL_DONE] = MOVE_LOADED_DONE,
    };
    struct call *c = call_new(e);

    if (!c || !calls_reserve(e, 1) || !fill(e, c, r))
        return error_memory(err); /* the engine is destroyed after a failed load */
    call_insert(e, c);
    join_parent(e, c, r->state != CALL_DONE);
    if (r->state != CALL_SUSPENDED) /* whose children are known only when all is read: go_on */
        call_move(e, c, moves[r->state]);
    return CODE_OK;
}

int engine_load_call(struct engine *e, uint64_t key, struct slice value, struct error *err)
{
    struct engine_row r;
    int code = read_call(key, value, &r, err);

    if (code)
        return code;
    if (key <= e->last_loaded)
        return error_set(err, CODE_DATA_LOSS, "row of call %llu is out of order",
                         (unsigned long long)key);
    e->last_loaded = key;
    if (key >= e->next_id)
        e->next_id = key + 1;
    if (r.finish >= e->next_finish)
        e->next_finish = r.finish + 1;
    return tree_is_out(e, r.root) ? swaps_load_root(e, &r, err) : load_call(e, &r, err);
}

static int by_finish(const void *a, const void *b)
{
    const struct call *x = *(struct call *const *)a, *y = *(struct call *const *)b;

    return x->finish < y->finish ? -1 : x->finish > y->finish;
}

static void deliver_end(struct engine *e, struct call *c)
{
    struct call *parent = call_at(e, c->parent);

    if (!parent) {
        call_forget(e, c); /* its parent ended or restarted before it could take it */
        return;
    }
    ring_remove(e, &parent->children, c, RING_SIBLING);
    parent->outstanding--;
    ring_append(e, &parent->inbox, c, RING_SIBLING);
    parent->inbox_count++;
    parent->inbox_error |= c->failed;
}

/* Ends that were not delivered, in the order they finished. */
static void deliver_ends(struct engine *e, struct call **ends, size_t count)
{
    qsort(ends, count, sizeof(struct call *), by_finish);
    for (size_t i = 0; i < count; i++)
        deliver_end(e, ends[i]);
}

static bool deliver_all_ends(struct engine *e)
{
    struct call **ends = malloc((e->by_state[CALL_DONE] + 1) * sizeof *ends), *c;
    uint32_t pos = 0, done = 0;

    if (!ends)
        return false;
    while ((c = call_next(e, &pos)))
        if (c->state == CALL_DONE)
            ends[done++] = c;
    deliver_ends(e, ends, done);
    free(ends);
    return true;
}

/* A live call whose children are known goes on. */
static void go_on(struct engine *e, struct call *c, int64_t now)
{
    if (c->state == CALL_STATES) {
        /* Nothing to wait for: its last children's results were dropped as of another generation,
         * say. It is resumed with what there is. */
        if (c->due == TIME_NEVER && !c->outstanding && !c->inbox_count && !c->stalled)
            c->due = now;
        call_move(e, c, MOVE_LOADED_SUSPENDED);
    }
    /* The clock was set back meanwhile: no retry waits for that. */
    if (c->state == CALL_WAITING && (c->failures || c->restarts) &&
        c->due > time_add(now, e->config.retry_max_ns))
        c->due = now + e->config.retry_max_ns;
    if (c->state == CALL_WAITING && c->due < now && c->expires > now) {
        /* Over as long as it is late: what came due in a short absence keeps the pace it had, and
         * what gathered in a long one does not come as a crowd. */
        int64_t late = now - c->due, spread = e->config.overdue_spread_ns;

        c->due =
            time_add(now, (int64_t)rand_below(&e->rand, (uint64_t)(late < spread ? late : spread)));
    }
    call_set_timer(e, c);
    if (c->state == CALL_READY)
        call_enqueue(e, c);
    else
        call_wake(e, c);
}

int engine_loaded(struct engine *e, int64_t now, struct error *err)
{
    uint32_t pos = 0;
    struct call *c;

    e->now = now;
    if (swaps_loaded(e, err))
        return err->code;
    if (!timers_reserve(e, e->call_count) || !deliver_all_ends(e))
        return error_memory(err);
    while ((c = call_next(e, &pos))) /* oldest first */
        if (c->state != CALL_DONE)
            go_on(e, c, now);
    if (e->failed)
        return error_memory(err);
    engine_tick(e, now);
    return CODE_OK;
}

int load_tree(struct engine *e, int64_t now, const struct engine_tree_call *calls, size_t count,
              struct error *err)
{
    struct call **ends = malloc((count + 1) * sizeof *ends);
    size_t done = 0;
    int code = ends && timers_reserve(e, count) ? CODE_OK : error_memory(err);

    for (size_t i = 0; i < count && !code; i++) {
        struct engine_row r;

        code = read_call(calls[i].id, calls[i].row, &r, err);
        if (!code && call_find(e, r.id))
            code = error_set(err, CODE_DATA_LOSS, "a call is in memory twice");
        if (!code)
            code = load_call(e, &r, err);
        if (!code && r.state == CALL_DONE)
            ends[done++] = call_find(e, r.id);
    }
    if (!code)
        deliver_ends(e, ends, done);
    for (size_t i = 0; i < count && !code; i++) {
        struct call *c = call_find(e, calls[i].id);

        if (c && c->state != CALL_DONE)
            go_on(e, c, now);
    }
    free(ends);
    return code;
}
