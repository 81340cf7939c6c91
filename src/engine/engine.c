// SPDX-License-Identifier: Apache-2.0
/*
 * The engine's life, its records, and the events that are not answers: a Dispatch makes roots, a
 * cancellation ends a tree, a tick does what is due. How runs end is in answer.c.
 */
#include <stdlib.h>

#include "engine/internal.h"

#define IDS_RESERVED 65536
#define SCRATCH_MAX  (64u << 20)

/* --- life ------------------------------------------------------------------------------------- */

#define DEFAULT(field, value)                                                                      \
    do {                                                                                           \
        if (!c.field)                                                                              \
            c.field = (value);                                                                     \
    } while (0)

static struct engine_config with_defaults(struct engine_config c)
{
    DEFAULT(expiration_ns, 24 * 3600 * NS_PER_S);
    DEFAULT(expiration_max_ns, 366 * 24 * 3600 * NS_PER_S);
    DEFAULT(retry_min_ns, 100 * NS_PER_MS);
    DEFAULT(retry_max_ns, 300 * NS_PER_S);
    DEFAULT(overdue_spread_ns, 30 * NS_PER_S);
    DEFAULT(live_max, 4000000);
    DEFAULT(calls_max, 10000);
    DEFAULT(outstanding_max, 100000);
    DEFAULT(depth_max, 1000);
    DEFAULT(results_max, 1000);
    DEFAULT(results_bytes_max, 6000000);
    DEFAULT(state_max, 8000000);
    DEFAULT(events_max, 1000000);
    DEFAULT(early_max, 10000);
    DEFAULT(early_bytes_max, (uint64_t)64 << 20);
    DEFAULT(early_ns, 24 * 3600 * NS_PER_S);
    DEFAULT(window_start, 16);
    DEFAULT(window_max, 1024);
    DEFAULT(runs_max, 4096);
    DEFAULT(functions_max, 100);
    if (c.results_max > UINT16_MAX) /* as the records have it */
        c.results_max = UINT16_MAX;
    if (c.depth_max > UINT16_MAX)
        c.depth_max = UINT16_MAX;
    if (c.window_start > c.window_max)
        c.window_start = c.window_max;
    return c;
}

int engine_create(struct engine **engine, const struct engine_config *config, struct error *err)
{
    struct engine *e = calloc(1, sizeof *e);

    if (!e)
        return error_memory(err);
    e->config = with_defaults(*config);
    e->results = calloc(e->config.results_max, sizeof *e->results);
    if (!tallies_init(e) || !e->results) {
        free(e->tallies);
        free(e->results);
        free(e);
        return error_memory(err);
    }
    rand_seed(&e->rand, config->seed);
    atoms_init(&e->atoms);
    map_init(&e->target_by_key);
    map_init(&e->group_by_key);
    list_init(&e->turns_free);
    events_init(e);
    list_init(&e->stalled);
    map_init(&e->org_by_name);
    map_init(&e->swapped);
    heap_init(&e->asleep);
    list_init(&e->crowded);
    map_init(&e->stall_by_call);
    list_init(&e->runnable);
    buf_init(&e->scratch, SCRATCH_MAX);
    commit_init(&e->commits[0]);
    commit_init(&e->commits[1]);
    e->open = &e->commits[0];
    e->open->number = 1;
    e->next_id = 1;
    e->next_finish = 1;
    *engine = e;
    return CODE_OK;
}

void engine_destroy(struct engine *e)
{
    if (!e)
        return;
    for (uint32_t i = 0; i < e->groups_len; i++) {
        if (e->groups[i])
            turns_free_group(e->groups[i]);
        free(e->groups[i]);
    }
    turns_free_spare(e);
    stalls_free(e);
    swapped_free(e);
    events_free(e);
    orgs_free(e);
    free(e->groups);
    free(e->group_holes);
    records_free(e);
    targets_free(e);
    commit_free(&e->commits[0]);
    commit_free(&e->commits[1]);
    map_free(&e->group_by_key);
    tallies_free(e);
    atoms_free(&e->atoms);
    buf_free(&e->scratch);
    free(e->effects);
    free(e->results);
    free(e);
}

void engine_set_reject(struct engine *e, struct blob *(*reject)(void *arg, const struct error *why),
                       void *arg)
{
    e->reject = reject;
    e->reject_arg = arg;
}

/* --- records ---------------------------------------------------------------------------------- */

void call_forget(struct engine *e, struct call *c)
{
    assert(c->state == CALL_DONE && !c->parent);
    call_unstore(e, c);
    call_delete(e, c);
    call_count(e, c, CALL_DONE, CALL_STATES);
    call_free(e, c);
}

void call_row(const struct engine *e, const struct call *c, struct engine_row *row)
{
    bool done = c->state == CALL_DONE;
    bool has_due = c->state == CALL_WAITING || c->state == CALL_SUSPENDED;

    *row = (struct engine_row){
        .id = c->id,
        .parent = c->depth ? c->parent_id : 0,
        .retry_of = c->depth ? 0 : c->parent_id,
        .root = c->root_id,
        .correlation_id = c->correlation_id,
        .generation = c->generation,
        .parent_generation = c->depth ? c->parent_generation : 0,
        .depth = c->depth,
        .org = atom_slice(c->target->org),
        .function = atom_slice(c->target->function),
        .endpoint = atom_slice(c->target->endpoint),
        .version = c->is_event ? (struct slice){0} : atom_slice(c->target->version),
        .key = call_key(c),
        .input_class = c->input_class,
        .created = c->created,
        .expires = c->expires,
        .due = has_due ? c->due : TIME_NEVER,
        .state = c->state,
        .fresh = c->fresh,
        .has_input = c->has_input,
        .has_poll_error = c->has_poll_error,
        .failures = c->failures,
        .restarts = c->restarts,
        .attempts = c->attempts,
        .resumes = c->resumes,
        .last_status = c->last_status,
        .min_results = c->min_results,
        .max_results = c->max_results,
        .poll_timer = c->poll_timer,
        .outstanding = c->outstanding,
        .state_arm = c->state_arm,
        .state_chunks = c->state_chunks,
        .state_hash = done ? 0 : c->state_hash,
        .state_len = done ? 0 : c->state_len,
        .finish = done ? c->finish : 0,
        .result_len = done ? c->result_len : 0,
        .status = c->status,
        .end = c->end,
        .done = done ? c->done : 0,
        .priority = c->priority,
        .wake_on_error = c->wake_on_error,
        .stalled = stall_count(e, c),
        .failed = c->failed,
    };
}

bool engine_reserve(struct engine *e, size_t calls)
{
    uint64_t end = e->next_id + calls;

    if (!calls_reserve(e, calls) || !timers_reserve(e, calls) ||
        !batch_reserve(&e->open->batch, calls + 1) || !commit_reserve(e->open, calls, 1))
        return false;
    if (end > e->reserved_id) {
        uint64_t bound = end + IDS_RESERVED;

        buf_reset(&e->scratch);
        buf_put_u64(&e->scratch, bound);
        if (e->scratch.failed ||
            !batch_put(&e->open->batch, TABLE_META, META_NEXT_ID, 0, buf_slice(&e->scratch)))
            return false;
        e->reserved_id = bound;
    }
    return true;
}

static struct target *target_of(struct engine *e, const struct engine_spec *spec,
                                const struct call *parent, struct slice org)
{
    struct target_names names = {
        .org = parent ? atom_slice(parent->target->org) : org,
        .function = spec->function,
        .endpoint =
            parent && !spec->endpoint.len ? atom_slice(parent->target->endpoint) : spec->endpoint,
        .version = spec->key.len ? spec->key : spec->version,
    };

    return target_get(e, &names);
}

int64_t spec_expires(const struct engine *e, int64_t now, const struct engine_spec *spec,
                     const struct call *parent)
{
    int64_t most = time_add(now, e->config.expiration_max_ns), expires;

    if (spec->expiration_ns > 0)
        expires = time_add(now, spec->expiration_ns);
    else
        expires =
            time_add(spec->not_before > now ? spec->not_before : now, e->config.expiration_ns);
    if (expires > most)
        expires = most;
    return parent && expires > parent->expires ? parent->expires : expires;
}

int spec_check(const struct engine *e, int64_t now, const struct engine_spec *spec,
               const struct call *parent, struct error *err)
{
    if (spec->not_before <= now || spec->not_before < spec_expires(e, now, spec, parent))
        return CODE_OK;
    return error_set(err, CODE_INVALID_ARGUMENT,
                     "not_before lies %lld s ahead, when the call has expired",
                     (long long)((spec->not_before - now) / NS_PER_S));
}

struct call *call_create(struct engine *e, int64_t now, const struct engine_spec *spec,
                         struct call *parent, struct slice org)
{
    struct call *c = call_new(e);

    if (!c)
        return NULL;
    c->target = target_of(e, spec, parent, org);
    if (!c->target) {
        call_free(e, c);
        return NULL;
    }
    c->created = now;
    c->expires = spec_expires(e, now, spec, parent);
    c->is_event = spec->key.len > 0;
    if (spec->not_before > now && !c->is_event)
        c->due = spec->not_before;
    c->priority = spec->priority;
    c->generation = 1;
    c->fresh = true;
    c->min_results = c->max_results = 1;
    c->has_input = spec->input != NULL;
    c->input_class = row_size_class(blob_slice(spec->input).len);
    c->parent_id = spec->retry_of;
    if (parent) {
        c->parent = parent->self;
        c->parent_id = parent->id;
        c->parent_generation = parent->generation;
        c->root_id = parent->root_id;
        c->depth = (uint16_t)(parent->depth + 1);
        c->correlation_id = spec->correlation_id;
    }
    return c;
}

void call_admit(struct engine *e, struct call *c)
{
    struct call *parent = call_at(e, c->parent);

    c->id = e->next_id++;
    if (!c->root_id)
        c->root_id = c->id;
    c->needs = (uint32_t)e->open->number;
    call_insert(e, c);
    if (parent) {
        ring_append(e, &parent->children, c, RING_SIBLING);
        parent->outstanding++;
    }
    if (c->is_event)
        call_move(e, c, MOVE_CREATED_EVENT);
    else
        call_move(e, c, c->due == TIME_NEVER ? MOVE_CREATED : MOVE_CREATED_LATER);
    call_set_timer(e, c);
    call_dirty(e, c);
    e->stats.dispatched++;
    if (c->state == CALL_READY)
        call_enqueue(e, c);
    if (c->is_event)
        event_admit(e, c);
}

/* --- events ----------------------------------------------------------------------------------- */

static uint64_t live(const struct engine *e)
{
    return e->by_state[CALL_READY] + e->by_state[CALL_WAITING] + e->by_state[CALL_RUNNING] +
           e->by_state[CALL_SUSPENDED];
}

/* Room for so many roots. Below 90% there is, for everybody, and nobody is looked up. */
static int check_room(struct engine *e, struct slice name, size_t count, struct error *err)
{
    struct org everybody = {.calls = e->call_count + e->growing};
    const struct org *o;

    if (org_has_room(e, &everybody, count, ROOM_ROOTS))
        return CODE_OK;
    o = org_find(e, name);
    if (org_has_room(e, o, count, ROOM_ROOTS))
        return CODE_OK;
    return error_set(err, CODE_RESOURCE_EXHAUSTED,
                     "%llu calls of this organization are in memory, and %llu of all, of the limit "
                     "of %u; each may have nine times as many as are left: try again when some of "
                     "its calls have finished",
                     (unsigned long long)o->calls, (unsigned long long)(e->call_count + e->growing),
                     e->config.live_max);
}

static int check_dispatch(struct engine *e, int64_t now, struct slice org,
                          const struct engine_spec *specs, size_t count, struct error *err)
{
    if (e->failed)
        return error_set(err, CODE_UNAVAILABLE, "out of memory; the partition is being reloaded");
    if (count == 0 || count > e->config.calls_max)
        return error_set(err, CODE_INVALID_ARGUMENT, "%zu calls in one request; the limit is %u",
                         count, e->config.calls_max);
    if (check_room(e, org, count, err) || events_check_room(e, NULL, org, specs, count, err))
        return err->code;
    for (size_t i = 0; i < count; i++) {
        struct error why;

        if (spec_check(e, now, &specs[i], NULL, &why))
            return error_set(err, why.code, "calls[%zu]: %s", i, why.message);
    }
    return CODE_OK;
}

int engine_dispatch(struct engine *e, int64_t now, struct slice org,
                    const struct engine_spec *specs, size_t count, void *token, uint64_t *first_id,
                    struct error *err)
{
    uint32_t made = 0;
    struct call *c;
    int code = check_dispatch(e, now, org, specs, count, err);

    if (code)
        return code;
    if (!engine_reserve(e, count))
        return error_memory(err);
    e->now = now;
    for (size_t i = 0; i < count; i++) {
        c = call_create(e, now, &specs[i], NULL, org);
        if (!c) {
            while ((c = ring_pop(e, &made, RING_QUEUE)))
                call_free(e, c);
            return error_memory(err);
        }
        ring_append(e, &made, c, RING_QUEUE);
    }
    *first_id = e->next_id;
    for (size_t i = 0; (c = ring_pop(e, &made, RING_QUEUE)); i++) {
        call_admit(e, c);
        if (specs[i].input)
            engine_put(e, TABLE_PAYLOAD, c->id, PAYLOAD_INPUT, specs[i].input);
    }
    if (token)
        commit_accept(e, token);
    return CODE_OK;
}

int engine_cancel(struct engine *e, int64_t now, uint64_t id, void *token, struct error *err)
{
    struct call *c = call_find(e, id);

    if (!c || e->failed)
        return error_set(err, CODE_NOT_FOUND, "no such live call");
    if (c->state == CALL_DONE)
        return error_set(err, CODE_FAILED_PRECONDITION, "the call is done");
    e->now = now;
    call_cancel_tree(e, c, now);
    if (token)
        commit_accept(e, token);
    engine_pump(e);
    return CODE_OK;
}

static void call_due(struct engine *e, struct call *c, int64_t now)
{
    if (c->expires <= now) {
        call_finish(e, c, now, STATUS_TIMEOUT, END_EXPIRED, NULL, NULL);
        return;
    }
    assert(c->state == CALL_WAITING || c->state == CALL_SUSPENDED);
    c->due = TIME_NEVER;
    call_move(e, c, c->state == CALL_WAITING ? MOVE_DUE : MOVE_WAITED);
    call_set_timer(e, c);
    call_enqueue(e, c);
}

void calls_tick(struct engine *e, int64_t now)
{
    struct call *c;

    while (!e->failed && (c = timers_first(e)) && timer_key(e, c) <= now)
        call_due(e, c, now);
}

void engine_tick(struct engine *e, int64_t now)
{
    e->now = now;
    calls_tick(e, now);
    events_tick(e, now);
    swaps_step(e, now);
    engine_pump(e);
}

int64_t engine_next_due(const struct engine *e)
{
    const struct heap_node *early = heap_min(&e->early);
    const struct call *c = timers_first(e);
    int64_t due = c ? timer_key(e, c) : TIME_NEVER, other = swaps_next_due(e);

    if (early && early->key < due)
        due = early->key;
    return other < due ? other : due;
}

/* --- looking ---------------------------------------------------------------------------------- */

bool engine_find(const struct engine *e, uint64_t id, struct engine_row *row)
{
    struct call *c = call_find(e, id);

    if (!c)
        return false;
    call_row(e, c, row);
    return true;
}

bool engine_run_info(struct engine *e, uint64_t id, uint64_t attempt, struct engine_run *run)
{
    struct call *c = call_find(e, id);
    struct call *child;

    if (!c || c->state != CALL_RUNNING || c->attempt != attempt)
        return false;
    *run = (struct engine_run){
        .first = c->fresh,
        .poll_error = c->has_poll_error,
        .results = e->results,
        .result_count = c->delivered,
    };
    call_row(e, c, &run->row);
    child = call_at(e, c->inbox);
    for (uint32_t i = 0; i < c->delivered; i++) {
        e->results[i] = child->id;
        child = ring_after(e, c->inbox, child, RING_SIBLING);
    }
    return true;
}

void engine_stats(const struct engine *e, struct engine_stats *stats)
{
    *stats = e->stats;
    stats->live = live(e);
    stats->swapped = e->swapped_calls;
    stats->ready = e->by_state[CALL_READY];
    stats->waiting = e->by_state[CALL_WAITING];
    stats->running = e->by_state[CALL_RUNNING];
    stats->suspended = e->by_state[CALL_SUSPENDED];
    stats->next_id = e->next_id;
    stats->kept_bytes = e->kept_bytes;
    stats->kept_calls = e->kept_calls;
}
