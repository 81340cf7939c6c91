// SPDX-License-Identifier: Apache-2.0
/*
 * The life of a call, as a table: every change of state is one row of it, is traced in one line,
 * and is made by call_move alone, which asserts that the row allows it.
 *
 *            created            issued              answered, expired, cancelled
 *   (new) ------------> READY ----------> RUNNING ---------------------------------> DONE
 *                        ^ ^ ^             |  |  |
 *                        | | |   given up, |  |  | polled
 *                        | | +-------------+  |  +------------> SUSPENDED
 *                        | |   tail call      | retried              |
 *                        | +----- due --- WAITING                    |
 *                        +----------- results, max_wait -------------+
 *
 * A call that starts later is created WAITING; so is one that is completed from outside (event.c).
 * READY, WAITING and SUSPENDED can end too, by expiration or cancellation.
 */
#include "engine/internal.h"

#define FROM(state) (1u << (state))
#define FROM_NEW    FROM(CALL_STATES)
#define FROM_LIVE                                                                                  \
    (FROM(CALL_READY) | FROM(CALL_WAITING) | FROM(CALL_RUNNING) | FROM(CALL_SUSPENDED))

static const struct {
    unsigned from; /* a set */
    enum call_state to;
    const char *why;
} moves[MOVE_COUNT] = {
    [MOVE_CREATED] = {FROM_NEW, CALL_READY, "created"},
    [MOVE_CREATED_LATER] = {FROM_NEW, CALL_WAITING, "created, to start later"},
    [MOVE_CREATED_EVENT] = {FROM_NEW, CALL_WAITING, "created, to be completed from outside"},
    [MOVE_LOADED_READY] = {FROM_NEW, CALL_READY, "loaded"},
    [MOVE_LOADED_WAITING] = {FROM_NEW, CALL_WAITING, "loaded"},
    [MOVE_LOADED_SUSPENDED] = {FROM_NEW, CALL_SUSPENDED, "loaded"},
    [MOVE_LOADED_DONE] = {FROM_NEW, CALL_DONE, "loaded"},
    [MOVE_ISSUED] = {FROM(CALL_READY), CALL_RUNNING, "issued"},
    [MOVE_GIVEN_UP] = {FROM(CALL_RUNNING), CALL_READY, "given up"},
    [MOVE_RETRIED] = {FROM(CALL_RUNNING), CALL_WAITING, "retry"},
    [MOVE_RESTARTED] = {FROM(CALL_RUNNING), CALL_WAITING, "incompatible state"},
    [MOVE_RESTARTED_BY_HAND] = {FROM_LIVE, CALL_READY, "restarted by hand"},
    [MOVE_TAIL_CALLED] = {FROM(CALL_RUNNING), CALL_READY, "tail call"},
    [MOVE_TAIL_CALLED_LATER] = {FROM(CALL_RUNNING), CALL_WAITING, "tail call"},
    [MOVE_POLLED] = {FROM(CALL_RUNNING), CALL_SUSPENDED, "poll"},
    [MOVE_POLLED_AT_ONCE] = {FROM(CALL_RUNNING), CALL_READY, "poll, resumed at once"},
    [MOVE_POLLED_IDLY] = {FROM(CALL_RUNNING), CALL_WAITING, "poll without progress"},
    [MOVE_DUE] = {FROM(CALL_WAITING), CALL_READY, "due"},
    [MOVE_RESULTS] = {FROM(CALL_SUSPENDED), CALL_READY, "results"},
    [MOVE_WAITED] = {FROM(CALL_SUSPENDED), CALL_READY, "max wait"},
    [MOVE_GROWN] = {FROM(CALL_SUSPENDED), CALL_READY, "room for its calls"},
    [MOVE_ANSWERED] = {FROM(CALL_RUNNING), CALL_DONE, "answered"},
    [MOVE_COMPLETED] = {FROM(CALL_WAITING), CALL_DONE, "completed from outside"},
    [MOVE_KEY_TAKEN] = {FROM(CALL_WAITING), CALL_DONE, "key taken"},
    [MOVE_EXPIRED] = {FROM_LIVE, CALL_DONE, "expired"},
    [MOVE_CANCELLED] = {FROM_LIVE, CALL_DONE, "cancelled"},
};

/* What holds of a call in each state, whatever brought it there. */
static void check_state(const struct call *c)
{
    switch ((enum call_state)c->state) {
    case CALL_READY:
    case CALL_RUNNING:
        break;
    case CALL_WAITING:
        assert((c->due != TIME_NEVER) != c->is_event);
        break;
    case CALL_SUSPENDED:
        assert(!c->fresh);
        assert(c->due != TIME_NEVER || c->outstanding > 0 || c->inbox_count > 0 || c->stalled);
        assert(!c->stalled || c->due == TIME_NEVER);
        break;
    case CALL_DONE:
        assert(!c->children && !c->inbox);
        assert(c->end != END_ANSWER || !status_is_temporary(c->status));
        break;
    case CALL_STATES:
        break;
    }
    assert(c->generation > 0 && c->delivered <= c->inbox_count);
}

void call_move(struct engine *e, struct call *c, enum move move)
{
    unsigned from = c->state;

    assert(moves[move].from & FROM(from));
    c->state = (uint8_t)moves[move].to;
    call_count(e, c, from, c->state);
    check_state(c);
    if (e->trace)
        e->trace(e->trace_arg, c->id, from, c->state, moves[move].why);
}

void engine_trace(struct engine *e,
                  void (*fn)(void *arg, uint64_t id, unsigned from, unsigned to, const char *why),
                  void *arg)
{
    e->trace = fn;
    e->trace_arg = arg;
}

/* --- the slow check: what must hold between records ------------------------------------------ */

static void check_call(const struct engine *e, const struct call *c)
{
    uint32_t children = 0, inbox = 0;
    bool error = false;

    for (struct call *child = call_at(e, c->children); child;
         child = ring_after(e, c->children, child, RING_SIBLING), children++)
        assert(child->parent == c->self);
    for (struct call *child = call_at(e, c->inbox); child;
         child = ring_after(e, c->inbox, child, RING_SIBLING), inbox++) {
        assert(child->parent == c->self && child->state == CALL_DONE);
        assert(child->parent_generation == c->generation);
        error |= child->failed;
    }
    assert(children == c->outstanding && inbox == c->inbox_count && error == c->inbox_error);
    assert(call_find(e, c->id) == c);
    check_state(c);
    assert(c->state == CALL_DONE || c->expires < TIME_NEVER);
    assert((c->timer != 0) == (c->state != CALL_DONE));
    if (c->state != CALL_DONE)
        assert(timer_key(e, c) == call_timer(c));
    /* A suspended call that has what it waits for would sleep for ever. */
    assert(!c->stalled || c->state == CALL_SUSPENDED);
    if (c->state == CALL_SUSPENDED && !c->poll_timer && !c->stalled)
        assert(!call_has_enough(c));
    if (c->state == CALL_READY)
        assert(e->failed || c->queue.next);
}

void engine_check(const struct engine *e)
{
    uint64_t by_state[CALL_STATES] = {0};
    uint32_t pos = 0, stalls = 0, calls = 0, refs = 0, group_refs = 0, ready = 0, queued = 0;
    uint64_t shares = 0, loose = 0, counted = 0;
    uint32_t in_flight = 0;
    const struct target *t;
    const struct org *o;
    const struct call *c;

    while ((c = call_next(e, &pos))) {
        check_call(e, c);
        by_state[c->state]++;
        loose += call_is_loose(c) && call_find(e, c->root_id);
        counted += c->depth ? 0 : c->loose;
        calls++;
        stalls += c->stalled;
        queued += c->state == CALL_READY && !call_is_held(e, c);
    }
    for (unsigned s = 0; s < CALL_STATES; s++)
        assert(by_state[s] == e->by_state[s]);
    tallies_check(e);
    events_check(e);
    for (uint32_t i = 0; i < e->groups_len; i++) {
        const struct group *g = e->groups[i];

        if (!g)
            continue;
        group_refs += g->refs;
        assert(g->window >= 1 && g->window <= e->config.window_max);
        assert((g->ready && g->in_flight < (uint32_t)g->window) == !list_empty(&g->runnable));
        assert(list_empty(&g->org->groups) == list_empty(&g->org->runnable));
        assert(list_empty(&g->org->stalls) == list_empty(&g->org->stalled));
        in_flight += g->in_flight;
        assert(!g->ready == !turn_next(e, g));
        ready += g->ready;
    }
    pos = 0;
    while ((t = map_next(&e->target_by_key, &pos, NULL)))
        refs += t->refs;
    pos = 0;
    while ((o = map_next(&e->org_by_name, &pos, NULL)))
        shares += o->calls;
    assert(loose == counted);
    assert(shares == calls + e->growing && e->lent <= calls);
    assert(calls == e->call_count && calls == refs && group_refs == e->target_by_key.len);
    assert(in_flight == e->in_flight && in_flight <= e->config.runs_max);
    swaps_check(e);
    assert(ready == queued && stalls == e->stall_by_call.len);
}
