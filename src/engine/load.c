// SPDX-License-Identifier: Apache-2.0
/*
 * A partition comes back from its rows. Parents have lower ids than their children, so one walk in
 * the order of ids links the trees. What was running runs again; retries that fell due while nobody
 * was there are spread over a while; a result that was not taken is delivered again.
 */
#include <stdlib.h>

#include "engine/internal.h"

int engine_load_meta(struct engine *e, uint64_t key, struct slice value, struct error *err)
{
    uint64_t number;

    if (key != META_NEXT_ID)
        return CODE_OK; /* of a later version, which says so in the store's format if it matters */
    if (!slice_get_u64(&value, &number) || value.len || number == 0 || number > KEY_MAX)
        return error_set(err, CODE_DATA_LOSS, "meta row %llu is damaged", (unsigned long long)key);
    e->next_id = e->reserved_id = number;
    return CODE_OK;
}

static bool fill(struct engine *e, struct call *c, const struct engine_row *r)
{
    c->org = atom_get(&e->atoms, r->org);
    c->function = atom_get(&e->atoms, r->function);
    c->endpoint = atom_get(&e->atoms, r->endpoint);
    c->version = r->version.len ? atom_get(&e->atoms, r->version) : NULL;
    if (!c->org || !c->function || !c->endpoint || (r->version.len && !c->version))
        return false;
    c->group = group_get(e, c->org, c->endpoint);
    if (!c->group)
        return false;
    group_ref(c->group);
    c->id = r->id;
    c->parent_id = r->parent;
    c->root_id = r->root;
    c->correlation_id = r->correlation_id;
    c->generation = r->generation;
    c->parent_generation = r->parent_generation;
    c->depth = r->depth;
    c->created = r->created;
    c->expires = r->expires;
    c->due = r->due;
    c->fresh = r->fresh;
    c->has_input = r->has_input;
    c->has_poll_error = r->has_poll_error;
    c->failures = r->failures;
    c->restarts = r->restarts;
    c->attempts = r->attempts;
    c->resumes = r->resumes;
    c->last_status = (uint8_t)r->last_status;
    c->min_results = r->min_results;
    c->max_results = r->max_results;
    c->poll_timer = r->poll_timer;
    c->state_arm = r->state_arm;
    c->state_chunks = r->state_chunks;
    c->state_hash = r->state_hash;
    c->state_len = r->state_len;
    c->finish = r->finish;
    c->result_len = r->result_len;
    c->status = (uint8_t)r->status;
    c->end = (uint8_t)r->end;
    c->done = r->done;
    c->stored = true;
    return true;
}

/* Joins it to the parent that waits for it, if that one is still there and of the same generation.
 */
static void join_parent(struct engine *e, struct call *c)
{
    struct call *parent = c->parent_id ? map_get(&e->calls, c->parent_id) : NULL;

    if (!parent || parent->state == CALL_DONE || parent->generation != c->parent_generation)
        return;
    c->parent = parent;
    if (c->state != CALL_DONE) {
        list_append(&parent->children, &c->sibling);
        parent->outstanding++;
        return;
    }
    /* In the order they finished: mostly this is the end of the list. */
    struct list *after = parent->inbox.prev;

    while (after != &parent->inbox && LIST_ENTRY(after, struct call, sibling)->finish > c->finish)
        after = after->prev;
    list_insert_after(after, &c->sibling);
    parent->inbox_count++;
}

int engine_load_call(struct engine *e, uint64_t key, struct slice value, struct error *err)
{
    static const enum move moves[] = {
        [CALL_READY] = MOVE_LOADED_READY,
        [CALL_WAITING] = MOVE_LOADED_WAITING,
        [CALL_SUSPENDED] = MOVE_LOADED_SUSPENDED,
        [CALL_DONE] = MOVE_LOADED_DONE,
    };
    struct engine_row r;
    struct call *c;
    int code = row_decode(&value, &r, err);

    if (code)
        return code;
    if (r.id != key || value.len || r.state == CALL_RUNNING || map_get(&e->calls, key) ||
        (r.state == CALL_WAITING && r.due == TIME_NEVER) ||
        (r.state == CALL_READY && r.due != TIME_NEVER) || (r.state == CALL_SUSPENDED && r.fresh))
        return error_set(err, CODE_DATA_LOSS, "row of call %llu cannot be",
                         (unsigned long long)key);
    c = call_new(e);
    if (!c || !fill(e, c, &r) || !map_set(&e->calls, key, c) || !heap_reserve(&e->timers, 1))
        return error_memory(err); /* the engine is destroyed after a failed load */
    if (key >= e->next_id)
        e->next_id = key + 1;
    if (r.finish >= e->next_finish)
        e->next_finish = r.finish + 1;
    /* The lists that the state's invariant speaks of are complete only in engine_loaded: a
     * suspended call is checked there. */
    c->state = (uint8_t)r.state;
    join_parent(e, c);
    c->state = CALL_STATES;
    if (r.state != CALL_SUSPENDED)
        call_move(e, c, moves[r.state]);
    else
        list_append(&e->open->ready, &c->queue);
    return CODE_OK;
}

/* A call whose lists are complete goes on. */
static void go_on(struct engine *e, struct call *c, int64_t now)
{
    if (c->state == CALL_DONE) {
        if (!c->parent)
            call_forget(e, c); /* its parent ended or restarted before it could take the result */
        return;
    }
    if (c->state == CALL_WAITING && c->due < now && c->expires > now)
        c->due =
            time_add(now, (int64_t)rand_below(&e->rand, (uint64_t)e->config.overdue_spread_ns));
    call_set_timer(e, c);
    if (c->state == CALL_READY)
        call_enqueue(e, c);
    else
        call_wake(e, c);
}

/* A suspended call that waits for nothing (its last children's ends were taken by a commit that
 * made them orphans, say) is to be resumed now. */
static void suspend_loaded(struct engine *e, struct call *c, int64_t now)
{
    if (c->due == TIME_NEVER && !c->outstanding && !c->inbox_count)
        c->due = now;
    call_move(e, c, MOVE_LOADED_SUSPENDED);
}

static int by_id(const void *a, const void *b)
{
    const struct call *x = *(struct call *const *)a, *y = *(struct call *const *)b;

    return x->id < y->id ? -1 : x->id > y->id;
}

int engine_loaded(struct engine *e, int64_t now, struct error *err)
{
    uint32_t pos = 0, n = 0;
    struct call **all = malloc((e->calls.len + 1) * sizeof *all), *c;
    struct list *it;

    if (!all)
        return error_memory(err);
    while ((it = list_pop(&e->open->ready)))
        suspend_loaded(e, LIST_ENTRY(it, struct call, queue), now);
    while ((c = map_next(&e->calls, &pos, NULL)))
        all[n++] = c;
    qsort(all, n, sizeof *all, by_id); /* oldest first, whatever the table's order */
    for (uint32_t i = 0; i < n; i++)
        go_on(e, all[i], now);
    free(all);
    if (e->failed)
        return error_memory(err);
    engine_tick(e, now);
    return CODE_OK;
}
