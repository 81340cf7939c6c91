// SPDX-License-Identifier: Apache-2.0
/*
 * How a run ends: the call is done, or tried again later, or replaced by a tail call, or suspended
 * in a poll. Only the answer to the call's current run counts; any other frees its place in the
 * group's window and changes nothing.
 */
#include "engine/internal.h"

/* min(retry_max, retry_min * 2^(n-1)), jittered uniformly in [1/2, 1] of it; n from 1. */
static int64_t backoff(struct engine *e, uint32_t n)
{
    int64_t delay = e->config.retry_min_ns;

    for (uint32_t i = 1; i < n && delay < e->config.retry_max_ns; i++)
        delay *= 2;
    if (delay > e->config.retry_max_ns)
        delay = e->config.retry_max_ns;
    return delay - (int64_t)rand_below(&e->rand, (uint64_t)(delay / 2) + 1);
}

static void wait_until(struct engine *e, struct call *c, int64_t due, enum move move)
{
    c->due = due;
    c->delivered = 0;
    call_move(e, c, move);
    call_set_timer(e, c);
    call_dirty(e, c);
}

/* Ready again; with the open commit where `needs` says so. */
static void ready_again(struct engine *e, struct call *c, enum move move)
{
    c->due = TIME_NEVER;
    c->delivered = 0;
    call_move(e, c, move);
    call_set_timer(e, c);
    call_enqueue(e, c);
}

static void retry(struct engine *e, struct call *c, int64_t now, const struct engine_answer *a)
{
    c->failures += c->failures < COUNT_MAX;
    c->last_status = (uint8_t)a->status;
    if (a->too_large)
        c->results_cut = c->delivered / 2;
    e->stats.retries++;
    wait_until(e, c, time_add(now, backoff(e, c->failures)), MOVE_RETRIED);
}

/* The state is of no use to the code that is there: from the original input, in a new generation.
 */
static void restart(struct engine *e, struct call *c, int64_t now, enum status status)
{
    c->restarts += c->restarts < COUNT_MAX;
    c->last_status = (uint8_t)status;
    c->delivered = 0;
    call_orphan_children(e, c, now, ORPHANS_CANCEL_UNSTARTED);
    call_drop_state(e, c);
    c->generation++;
    c->results_cut = 0;
    c->needs = (uint32_t)e->open->number;
    c->has_input &= !MUTATION(8);
    e->stats.retries++;
    wait_until(e, c, time_add(now, backoff(e, c->restarts)), MOVE_RESTARTED);
}

int engine_restart(struct engine *e, int64_t now, uint64_t id, void *token, struct error *err)
{
    struct call *c = call_find(e, id);

    if (!c || e->failed)
        return error_set(err, CODE_NOT_FOUND, "no such live call");
    if (c->state == CALL_DONE)
        return error_set(err, CODE_FAILED_PRECONDITION, "the call is done");
    if (c->is_event)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "nobody runs the call, it is completed from outside: cancel it instead");
    if (c->state == CALL_RUNNING)
        engine_emit(e, &(struct engine_effect){.kind = ENGINE_CANCEL_RUN,
                                               .call = c->id,
                                               .generation = c->generation,
                                               .attempt = c->attempt});
    e->now = now;
    call_dequeue(e, c);
    c->delivered = 0;
    call_orphan_children(e, c, now, ORPHANS_CANCEL_UNSTARTED);
    call_drop_state(e, c);
    c->generation++;
    c->failures = c->restarts = c->results_cut = 0;
    c->last_status = STATUS_UNSPECIFIED;
    c->needs = (uint32_t)e->open->number;
    call_dirty(e, c);
    ready_again(e, c, MOVE_RESTARTED_BY_HAND);
    if (token)
        commit_accept(e, token);
    engine_pump(e);
    return CODE_OK;
}

static bool rename_call(struct engine *e, struct call *c, const struct engine_spec *spec)
{
    struct target_names names = {
        .org = atom_slice(c->target->org),
        .function = spec->function,
        .endpoint = spec->endpoint.len ? spec->endpoint : atom_slice(c->target->endpoint),
        .version = spec->version,
    };
    struct target *t = target_get(e, &names);

    if (!t)
        return false;
    call_count(e, c, c->state, CALL_STATES);
    target_unref(e, c->target);
    c->target = t;
    call_count(e, c, CALL_STATES, c->state);
    return true;
}

static void tail_call(struct engine *e, struct call *c, int64_t now, const struct engine_answer *a)
{
    const struct engine_spec *spec = &a->specs[0];
    int64_t due = now;

    assert(a->spec_count == 1);
    c->delivered = 0;
    call_orphan_children(e, c, now, ORPHANS_CANCEL_UNSTARTED);
    call_drop_state(e, c);
    if (!rename_call(e, c, spec)) {
        engine_fail(e);
        return;
    }
    if (spec->input)
        engine_put(e, TABLE_PAYLOAD, c->id, PAYLOAD_INPUT, spec->input);
    else if (c->has_input)
        engine_delete(e, TABLE_PAYLOAD, c->id, PAYLOAD_INPUT);
    c->has_input = spec->input != NULL;
    c->input_class = row_size_class(blob_slice(spec->input).len);
    c->generation++;
    c->failures = c->restarts = c->results_cut = 0;
    if (spec->priority)
        c->priority = spec->priority;
    c->last_status = STATUS_UNSPECIFIED;
    c->needs = (uint32_t)e->open->number;
    call_dirty(e, c);
    if (status_is_temporary(a->status)) {
        c->last_status = (uint8_t)a->status;
        due = time_add(now, backoff(e, 1));
    }
    if (due < spec->not_before)
        due = spec->not_before;
    if (due > now)
        wait_until(e, c, due, MOVE_TAIL_CALLED_LATER);
    else
        ready_again(e, c, MOVE_TAIL_CALLED);
}

/* --- polls ------------------------------------------------------------------------------------ */

/* Whether the engine can do what the poll asks; if not, `why` says why not. */
static int check_poll(struct engine *e, const struct call *c, int64_t now,
                      const struct engine_answer *a, struct error *why)
{
    bool timer = !a->spec_count && !c->outstanding && !c->inbox_count && a->max_wait_ns > 0;

    if (timer && time_add(now, a->max_wait_ns) > c->expires)
        return error_set(why, CODE_INVALID_ARGUMENT,
                         "a wait of %lld s would end after the call expires",
                         (long long)(a->max_wait_ns / NS_PER_S));
    if (!a->spec_count)
        return CODE_OK;
    if (a->spec_count > e->config.calls_max)
        return error_set(why, CODE_RESOURCE_EXHAUSTED, "%zu calls in one poll; the limit is %u",
                         a->spec_count, e->config.calls_max);
    if (c->outstanding + a->spec_count > e->config.outstanding_max)
        return error_set(why, CODE_RESOURCE_EXHAUSTED,
                         "%u calls are outstanding and %zu more were asked; the limit is %u",
                         c->outstanding, a->spec_count, e->config.outstanding_max);
    if (c->depth >= e->config.depth_max)
        return error_set(why, CODE_RESOURCE_EXHAUSTED, "calls nested deeper than the limit of %u",
                         e->config.depth_max);
    if (events_check_room(e, c, (struct slice){0}, a->specs, a->spec_count, why))
        return why->code;
    for (size_t i = 0; i < a->spec_count; i++) {
        struct error late;

        if (spec_check(e, now, &a->specs[i], c, &late))
            return error_set(why, late.code, "calls[%zu]: %s", i, late.message);
    }
    return CODE_OK;
}

/* Makes the children, all or none. */
static bool make_children(struct engine *e, struct call *c, int64_t now,
                          const struct engine_answer *a)
{
    if (!engine_reserve(e, a->spec_count))
        return false;
    for (size_t i = 0; i < a->spec_count; i++) {
        struct call *child = call_create(e, now, &a->specs[i], c, (struct slice){0});

        if (!child)
            return false; /* the engine fails: nothing of this is committed */
        call_admit(e, child);
        if (a->specs[i].input)
            engine_put(e, TABLE_PAYLOAD, child->id, PAYLOAD_INPUT, a->specs[i].input);
    }
    return true;
}

/* The results that went with the run are taken. */
static void consume(struct engine *e, struct call *c)
{
    for (; c->delivered && !MUTATION(3); c->delivered--) {
        assert(c->inbox);
        call_take_result(e, c, call_at(e, c->inbox));
    }
    call_count_errors(e, c);
}

static void append_state(struct engine *e, struct call *c, const struct engine_answer *a)
{
    if (!c->state_arm)
        c->state_arm = 1;
    if (!blob_slice(a->state).len)
        return;
    engine_put(e, TABLE_PAYLOAD, c->id, PAYLOAD_STATE + c->state_chunks++, a->state);
    c->state_len += a->state->len;
    c->state_hash = slice_hash(blob_slice(a->state), c->state_hash);
}

static void put_state(struct engine *e, struct call *c, const struct engine_answer *a)
{
    for (uint32_t i = a->state ? 1 : 0; i < c->state_chunks; i++)
        engine_delete(e, TABLE_PAYLOAD, c->id, PAYLOAD_STATE + i);
    if (a->state)
        engine_put(e, TABLE_PAYLOAD, c->id, PAYLOAD_STATE, a->state);
    c->state_chunks = a->state ? 1 : 0;
    c->state_arm = a->state_arm;
    c->state_len = blob_slice(a->state).len - a->state_overhead;
    c->state_hash = slice_hash(blob_slice(a->state), a->state_arm);
}

static void refuse(struct engine *e, struct call *c, struct blob *error)
{
    if (!error) {
        engine_fail(e);
        return;
    }
    engine_put(e, TABLE_PAYLOAD, c->id, PAYLOAD_POLL_ERROR, error);
    c->has_poll_error = true;
}

static uint16_t clamp_results(const struct engine *e, int32_t n)
{
    if (n < 1)
        return 1;
    return (uint16_t)((uint32_t)n > e->config.results_max ? e->config.results_max : (uint32_t)n);
}

/* Where a poll whose record is complete leads: on at once, or to sleep. */
static void suspend(struct engine *e, struct call *c, int64_t now, const struct engine_answer *a,
                    bool progress)
{
    bool nothing = !c->outstanding && !c->inbox_count;
    bool at_once =
        c->stalled ? false
                   : c->has_poll_error || a->max_wait_ns == 0 || (nothing && a->max_wait_ns < 0);

    if (at_once && !progress) {
        c->failures += c->failures < COUNT_MAX;
        wait_until(e, c, time_add(now, backoff(e, c->failures)), MOVE_POLLED_IDLY);
        return;
    }
    c->failures = 0;
    if (at_once) {
        ready_again(e, c, MOVE_POLLED_AT_ONCE);
        return;
    }
    c->poll_timer = nothing && !c->stalled;
    c->due = a->max_wait_ns < 0 || c->stalled ? TIME_NEVER : time_add(now, a->max_wait_ns);
    call_move(e, c, MOVE_POLLED);
    call_set_timer(e, c);
    call_wake(e, c);
}

static bool changes_state(const struct call *c, const struct engine_answer *a)
{
    struct slice state = blob_slice(a->state);

    if (a->append)
        return state.len > 0;
    return a->state_arm != c->state_arm || state.len - a->state_overhead != c->state_len ||
           slice_hash(state, a->state_arm) != c->state_hash;
}

/* What cannot be appended: to another state than the one there, and the run is made again; or past
 * the limit, which is the end of the call. True: the poll goes no further. */
static bool refuse_append(struct engine *e, struct call *c, int64_t now,
                          const struct engine_answer *a)
{
    struct engine_answer again = {.status = STATUS_TEMPORARY_ERROR};
    struct blob *made;
    struct error why;

    if (!a->append)
        return false;
    if ((a->append_position != c->state_len && !MUTATION(12)) ||
        c->state_chunks == STATE_CHUNKS_MAX) {
        retry(e, c, now, &again);
        return true;
    }
    if (c->state_len + blob_slice(a->state).len <= e->config.state_max)
        return false;
    error_set(&why, CODE_INVALID_ARGUMENT,
              "the state has %llu bytes and %zu more were appended; the limit is %llu",
              (unsigned long long)c->state_len, blob_slice(a->state).len,
              (unsigned long long)e->config.state_max);
    made = e->reject ? e->reject(e->reject_arg, &why) : NULL;
    if (made)
        call_finish(e, c, now, STATUS_INVALID_RESPONSE, END_ANSWER, NULL, made);
    else
        engine_fail(e);
    blob_unref(made);
    return true;
}

static void poll(struct engine *e, struct call *c, int64_t now, const struct engine_answer *a)
{
    bool progress = c->fresh || c->delivered || changes_state(c, a);
    bool had_error = c->has_poll_error;
    struct blob *made = NULL, *error = a->poll_error;
    struct error why;
    int code = CODE_OK;

    consume(e, c);
    if (a->append)
        append_state(e, c, a);
    else
        put_state(e, c, a);
    if (call_give_up(e, c, now, a->cancel, a->cancel_count))
        progress = true;
    c->fresh = c->has_poll_error = c->poll_timer = false;
    c->results_cut = 0;
    c->resumes++;
    c->last_status = STATUS_UNSPECIFIED;
    c->min_results = clamp_results(e, a->min_results);
    c->max_results = clamp_results(e, a->max_results);
    c->wake_on_error = a->wake_on_error;
    c->needs = (uint32_t)e->open->number;
    if (!MUTATION(7))
        call_dirty(e, c);
    if (!error)
        code = check_poll(e, c, now, a, &why);
    if (code)
        error = made = e->reject ? e->reject(e->reject_arg, &why) : NULL;
    if (error || code)
        refuse(e, c, error);
    else if (a->spec_count && !stall_take_room(e, c, a->spec_count))
        stall_poll(e, c, a);
    else if (!make_children(e, c, now, a))
        engine_fail(e);
    blob_unref(made);
    if (had_error && !c->has_poll_error)
        engine_delete(e, TABLE_PAYLOAD, c->id, PAYLOAD_POLL_ERROR);
    /* Calls that are refused time and again are no progress, nor is being told so. */
    if (!c->has_poll_error && (a->spec_count || had_error))
        progress = true;
    if (!e->failed)
        suspend(e, c, now, a, progress);
}

void call_grow(struct engine *e, struct call *c, int64_t now, const struct engine_answer *a,
               const struct error *refused)
{
    struct blob *made = NULL;

    c->needs = (uint32_t)e->open->number;
    call_dirty(e, c);
    if (refused) {
        made = e->reject ? e->reject(e->reject_arg, refused) : NULL;
        refuse(e, c, made);
        blob_unref(made);
    } else if (!make_children(e, c, now, a)) {
        engine_fail(e);
    }
    if (e->failed)
        return;
    if (refused || a->max_wait_ns == 0) {
        ready_again(e, c, MOVE_GROWN);
        return;
    }
    if (a->max_wait_ns > 0)
        c->due = time_add(now, a->max_wait_ns);
    call_set_timer(e, c);
    call_wake(e, c);
}

void engine_compact(struct engine *e, uint64_t call, uint64_t attempt, struct blob *state)
{
    struct call *c = call_find(e, call);

    if (e->failed || !c || c->state != CALL_RUNNING || c->attempt != attempt || !c->state_chunks)
        return;
    for (uint32_t i = 1; i < c->state_chunks; i++)
        engine_delete(e, TABLE_PAYLOAD, c->id, PAYLOAD_STATE + i);
    engine_put(e, TABLE_PAYLOAD, c->id, PAYLOAD_STATE, state);
    c->state_chunks = 1;
    c->needs = e->open->number; /* until then the one chunk in the store is the first of many */
    call_dirty(e, c);
}

/* ---------------------------------------------------------------------------------------------- */

static void take_answer(struct engine *e, struct call *c, int64_t now,
                        const struct engine_answer *a)
{
    if (a->outcome == ENGINE_GONE) {
        ready_again(e, c, MOVE_GIVEN_UP);
        return;
    }
    c->attempts += c->attempts < UINT32_MAX;
    if (MUTATION(6) && status_is_temporary(a->status))
        consume(e, c);
    switch (a->outcome) {
    case ENGINE_TAIL:
        tail_call(e, c, now, a);
        return;
    case ENGINE_POLL:
        if (!refuse_append(e, c, now, a))
            poll(e, c, now, a);
        return;
    case ENGINE_EXIT:
    case ENGINE_GONE:
        break;
    }
    if (a->too_large && c->delivered < 2) /* the next one would be as large */
        call_finish(e, c, now, STATUS_PERMANENT_ERROR, END_ANSWER, NULL, a->error);
    else if (a->status == STATUS_INCOMPATIBLE_STATE)
        restart(e, c, now, a->status);
    else if (status_is_temporary(a->status))
        retry(e, c, now, a);
    else
        call_finish(e, c, now, a->status, END_ANSWER, a->output, a->error);
}

void engine_answer(struct engine *e, int64_t now, const struct engine_answer *a)
{
    struct call *c = call_find(e, a->call);
    struct group *g;
    bool current;

    if (e->failed)
        return;
    assert(a->group < e->groups_len && e->groups[a->group]);
    e->now = now;
    g = e->groups[a->group];
    current = c && c->state == CALL_RUNNING &&
              ((c->generation == a->generation && c->attempt == a->attempt) || MUTATION(4));
    if (current && c->expires <= now) { /* at equal times the expiration comes first */
        call_finish(e, c, now, STATUS_TIMEOUT, END_EXPIRED, NULL, NULL);
        current = false;
    }
    if (current) {
        group_feedback(e, g, now, a);
        take_answer(e, c, now, a);
    } else {
        e->stats.stale_answers++;
    }
    group_release(e, g);
    engine_pump(e);
}
