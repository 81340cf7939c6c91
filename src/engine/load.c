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
    c->parent_id = r->depth ? r->parent : r->retry_of;
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
    c->priority = r->priority;
    c->wake_on_error = r->wake_on_error;
    c->failed = r->failed || (r->state == CALL_DONE && r->status != STATUS_OK);
    c->stored = true;
    return true;
}

/* Joins it to the parent that waits for it, if that one is still there and of the same generation.
 */
static void join_parent(struct engine *e, struct call *c)
{
    struct call *parent = c->depth ? map_get(&e->calls, c->parent_id) : NULL;

    if (!parent || parent->state == CALL_DONE || parent->generation != c->parent_generation)
        return;
    c->parent = parent;
    list_append(&parent->children, &c->sibling);
    parent->outstanding++;
}

int engine_load_call(struct engine *e, uint64_t key, struct slice value, struct error *err)
{
    static const enum move moves[] = {
        [CALL_READY] = MOVE_LOADED_READY,
        [CALL_WAITING] = MOVE_LOADED_WAITING,
        [CALL_DONE] = MOVE_LOADED_DONE,
    };
    struct engine_row r;
    struct call *c;
    int code = row_decode(&value, &r, err);

    if (code)
        return code;
    if (r.id != key || value.len || r.state == CALL_RUNNING || map_get(&e->calls, key) ||
        (r.state == CALL_WAITING && r.due == TIME_NEVER) || r.state_chunks > STATE_CHUNKS_MAX ||
        (r.state == CALL_READY && r.due != TIME_NEVER) || (r.state == CALL_SUSPENDED && r.fresh))
        return error_set(err, CODE_DATA_LOSS, "row of call %llu cannot be",
                         (unsigned long long)key);
    c = call_new(e);
    if (!c || !fill(e, c, &r) || !map_set(&e->calls, key, c))
        return error_memory(err); /* the engine is destroyed after a failed load */
    if (key >= e->next_id)
        e->next_id = key + 1;
    if (r.finish >= e->next_finish)
        e->next_finish = r.finish + 1;
    join_parent(e, c);
    if (r.state != CALL_SUSPENDED) /* whose children are known only when all is read: go_on */
        call_move(e, c, moves[r.state]);
    return CODE_OK;
}

static int by_id(const void *a, const void *b)
{
    const struct call *x = *(struct call *const *)a, *y = *(struct call *const *)b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_finish(const void *a, const void *b)
{
    const struct call *x = *(struct call *const *)a, *y = *(struct call *const *)b;

    return x->finish < y->finish ? -1 : x->finish > y->finish;
}

static uint32_t collect(const struct engine *e, struct call **all)
{
    uint32_t pos = 0, n = 0;

    while ((all[n] = map_next(&e->calls, &pos, NULL)))
        n++;
    return n;
}

/* Ends that were not delivered, in the order they finished. */
static void deliver_ends(struct engine *e, struct call **all, uint32_t n)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < n; i++)
        if (all[i]->state == CALL_DONE)
            all[done++] = all[i];
    qsort(all, done, sizeof *all, by_finish);
    for (uint32_t i = 0; i < done; i++) {
        struct call *c = all[i];

        if (!c->parent) {
            call_forget(e, c); /* its parent ended or restarted before it could take the result */
            continue;
        }
        list_remove(&c->sibling);
        c->parent->outstanding--;
        list_append(&c->parent->inbox, &c->sibling);
        c->parent->inbox_count++;
        c->parent->inbox_errors += c->failed;
    }
}

/* A live call whose children are known goes on. */
static void go_on(struct engine *e, struct call *c, int64_t now)
{
    if (c->state == CALL_STATES) {
        /* Nothing to wait for: its last children's results were dropped as of another generation,
         * say. It is resumed with what there is. */
        if (c->due == TIME_NEVER && !c->outstanding && !c->inbox_count)
            c->due = now;
        call_move(e, c, MOVE_LOADED_SUSPENDED);
    }
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
    struct call **all = malloc((e->calls.len + 1) * sizeof *all);
    uint32_t n;

    if (!all || !heap_reserve(&e->timers, e->calls.len)) {
        free(all);
        return error_memory(err);
    }
    deliver_ends(e, all, collect(e, all));
    n = collect(e, all);
    qsort(all, n, sizeof *all, by_id); /* oldest first, whatever the table's order */
    for (uint32_t i = 0; i < n; i++)
        if (all[i]->state != CALL_DONE)
            go_on(e, all[i], now);
    free(all);
    if (e->failed)
        return error_memory(err);
    engine_tick(e, now);
    return CODE_OK;
}
