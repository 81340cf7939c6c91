// SPDX-License-Identifier: Apache-2.0
/*
 * A history: events in the order of simulated time, and after each of them a step of the
 * orchestrator. At first things go wrong, then no more ("healed"): from there on everything that
 * was acknowledged must come to its end within bounded time, and then there must be silence.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/world.h"

#define ARENA_MAX ((size_t)1 << 30)

const char *const fault_names[FAULT_COUNT] = {
    [FAULT_CRASH_BETWEEN] = "crash between steps",
    [FAULT_CRASH_BEFORE] = "crash before a commit",
    [FAULT_CRASH_AFTER] = "crash after a commit",
    [FAULT_CRASH_ZOMBIE] = "crash, the commit under way",
    [FAULT_CRASH_FENCE] = "crash around a fence",
    [FAULT_CRASH_ACK] = "crash after an acknowledgement",
    [FAULT_CRASH_RUN] = "crash after handing out a run",
    [FAULT_COMMIT_FAILED] = "commit failed",
    [FAULT_COMMIT_LOST] = "commit made, its outcome lost",
    [FAULT_COMMIT_LATE] = "commit landing late",
    [FAULT_DISK_FULL] = "disk full",
    [FAULT_DISK_SLOW] = "disk slow",
    [FAULT_HOST_DOWN] = "endpoint down",
    [FAULT_HOST_SLOW] = "endpoint slow",
    [FAULT_LATE_WAKE] = "late wake-up",
    [FAULT_CLOCK_JUMP] = "clock jump",
    [FAULT_CLOCK_AHEAD] = "clock ahead at a start",
    [FAULT_CLOCK_BEHIND] = "clock behind at a start",
    [FAULT_STOP] = "graceful stop",
    [FAULT_NO_MEMORY] = "allocation failed",
    [FAULT_REQUEST_LOST] = "run request lost",
    [FAULT_REQUEST_DOUBLED] = "run executed twice",
    [FAULT_ANSWER_LOST] = "answer lost",
    [FAULT_ANSWER_LATE] = "answer to a run given up",
    [FAULT_RUN_GIVEN_UP] = "run given up by the invoker",
    [FAULT_TOO_LARGE] = "resume too large",
    [FAULT_FLAKY] = "function failed for a while",
    [FAULT_INCOMPATIBLE] = "incompatible state",
    [FAULT_BAD_POLL] = "poll with invalid calls",
    [FAULT_LIMIT] = "poll past a limit",
    [FAULT_BAD_DISPATCH] = "invalid dispatch",
    [FAULT_CANCEL] = "call cancelled",
    [FAULT_RESTART] = "call restarted by hand",
    [FAULT_RETRY] = "call retried by hand",
    [FAULT_ASKED_AGAIN] = "keyed request sent again",
    [FAULT_KEY_TAKEN] = "another body under a key",
    [FAULT_MISPLACED] = "append where none can be",
    [FAULT_EARLY_COMPLETION] = "completion before its call",
    [FAULT_FULL] = "memory full",
    [FAULT_SWAPPED_OUT] = "tree out of memory",
    [FAULT_SWAPPED_IN] = "tree back in memory",
    [FAULT_REMOVED] = "call removed in time",
    [FAULT_REMOVED_FOR_ROOM] = "call removed for room",
    [FAULT_KEY_REMOVED] = "key removed",
    [FAULT_TOO_LATE] = "removed call asked for",
    [FAULT_NO_ROOM] = "too many results kept",
    [FAULT_POWER] = "power failure",
    [FAULT_SYNC] = "sync failed",
    [FAULT_GARBAGE] = "garbage answer",
    [FAULT_PAUSE] = "pause longer than the lease",
    [FAULT_LEASE_LOST] = "lease lost to another node",
    [FAULT_LEASE_SHORT] = "lease over too soon",
    [FAULT_LEASE_STALE] = "run without the lease",
    [FAULT_LEASE_COMMIT] = "lease lost within a commit",
};

/* --- what everybody needs --------------------------------------------------------------------- */

void *world_alloc(struct world *w, size_t size)
{
    void *p = arena_zalloc(&w->arena, 1, size);

    CHECK(w, p, "there is memory", "%zu bytes", size);
    return p;
}

void world_at(struct world *w, int64_t when, void (*fire)(struct world *w, void *arg), void *arg)
{
    struct event *e = world_alloc(w, sizeof *e);

    CHECK(w, heap_reserve(&w->events, 1), "there is memory", "for an event");
    heap_node_init(&e->timer);
    e->fire = fire;
    e->arg = arg;
    heap_set(&w->events, &e->timer, when < w->now ? w->now : when);
}

bool world_once_in(struct world *w, uint64_t n)
{
    return rand_below(&w->rand, n) == 0;
}

int64_t world_draw_ns(struct world *w, int64_t max_ns)
{
    /* As many short times as long ones, on a scale of powers of eight. */
    int64_t limit = max_ns >> (3 * rand_below(&w->rand, 5));

    return (int64_t)rand_below(&w->rand, (uint64_t)limit + 1) + 1;
}

bool world_may(const struct world *w, enum fault fault)
{
    return w->healed_at == TIME_NEVER && (w->weather >> fault & 1);
}

void world_count(struct world *w, enum fault fault)
{
    w->totals.faults[fault]++;
}

int64_t world_time(const struct world *w)
{
    return w->now + w->node->ahead;
}

/* --- a history -------------------------------------------------------------------------------- */

static void world_init(struct world *w, const struct history *h)
{
    *w = (struct world){
        .seed = h->seed, .plant = h->plant, .verbose = h->verbose, .healed_at = TIME_NEVER};
    rand_seed(&w->rand, h->seed);
    arena_init(&w->arena, ARENA_MAX);
    heap_init(&w->events);
    map_init(&w->records);
    map_init(&w->inputs);
    list_init(&w->flights);
    list_init(&w->turns.waiting);
    trace_guard(w);
    w->wrong = h->seed % 3 == 1;
    w->born = w->now = w->latest =
        INT64_C(1700000000) * NS_PER_S + (int64_t)rand_below(&w->rand, NS_PER_S);
    w->engine.window_max = world_once_in(w, 3) ? (uint32_t)rand_below(&w->rand, 6) + 1 : 0;
    w->engine.results_max = world_once_in(w, 3) ? (uint32_t)rand_below(&w->rand, 3) + 1 : 0;
    w->engine.results_bytes_max = world_once_in(w, 3) ? rand_below(&w->rand, 200) + 1 : 0;
    w->engine.calls_max = world_once_in(w, 5) ? BATCH_CALLS : 0;
    w->engine.outstanding_max = world_once_in(w, 5) ? CHILDREN_MAX : 0;
    w->engine.live_max = world_once_in(w, 4) ? 10 + (uint32_t)rand_below(&w->rand, 40) : 0;
    w->engine.runs_max = h->seed % 5 ? 0 : (uint32_t)(h->seed / 5 % 7) + 1;
    w->cache_max = world_once_in(w, 3) ? 1 + rand_below(&w->rand, 2000) : 0;
    removal_init(w);
    disk_create(w, h->sqlite);
    nodes_init(w);
    endpoint_init(w);
    faults_init(w);
    client_init(w);
    process_init(w);
}

static void world_free(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        w->node = &w->nodes[i];
        orchestrator_destroy(w->node->o);
    }
    disk_destroy(w);
    heap_free(&w->events);
    map_free(&w->records);
    map_free(&w->inputs);
    arena_reset(&w->arena);
    trace_guard(NULL);
}

/* The next moment at which something happens; TIME_NEVER: nothing will. */
static int64_t next_moment(struct world *w)
{
    struct heap_node *n = heap_min(&w->events);
    int64_t at = n ? n->key : TIME_NEVER;

    for (unsigned i = 0; i < w->node_count; i++)
        if (w->nodes[i].o && w->nodes[i].step_at < at)
            at = w->nodes[i].step_at;
    return at;
}

/* The orchestrator's thread does not get its turn now: more may happen before it does. */
static bool stalled(struct world *w)
{
    struct process *p = w->node;

    if (!p->o || p->dead)
        return false;
    if (!p->stall && world_may(w, FAULT_LATE_WAKE) && world_once_in(w, 20)) {
        world_count(w, FAULT_LATE_WAKE);
        p->stall = (unsigned)rand_below(&w->rand, world_once_in(w, 4) ? 12 : 3) + 1;
    }
    if (!p->stall)
        return false;
    p->stall--;
    p->step_at = w->now + world_draw_ns(w, NS_PER_S);
    return true;
}

bool world_step(struct world *w)
{
    int64_t at = next_moment(w);
    struct heap_node *n;
    bool fired = false;

    if (at == TIME_NEVER)
        return false;
    w->step++;
    w->totals.steps++;
    if (at > w->now)
        w->now = at;
    n = heap_min(&w->events);
    if (n && n->key <= w->now) {
        struct event *e = (struct event *)(void *)n;

        heap_remove(&w->events, n);
        e->fire(w, e->arg);
        fired = true;
    }
    for (unsigned i = 0; i < w->node_count; i++) {
        w->node = &w->nodes[i];
        if (!fired || !stalled(w))
            process_step(w);
    }
    return true;
}

static bool all_done(const struct world *w)
{
    bool idle = false;

    for (unsigned i = 0; i < w->node_count; i++) {
        const struct process *p = &w->nodes[i];

        idle |= process_leads(p) && !p->dead && !p->stopping && orchestrator_ready(p->o) &&
                orchestrator_idle(p->o);
    }
    return w->live == 0 && w->untold == 0 && w->to_dispatch == 0 && idle;
}

static void run_until_rest(struct world *w)
{
    uint64_t limit = w->step + HEAL_STEPS_MAX;

    faults_heal(w);
    process_step_all(w);
    /* Until all is done and nothing is under way any more: answers that nobody needs, commits of
     * the dead. */
    while (!all_done(w) || heap_min(&w->events)) {
        bool more = world_step(w);

        CHECK(w, more || all_done(w), "what was acknowledged ends",
              "nothing is to come, and %" PRIu64 " calls are live, %" PRIu64 " clients wait",
              w->live, w->untold);
        CHECK(w,
              w->now - w->healed_at < HEAL_LIMIT_NS + (w->wrong ? 2 * WRONG_MAX_NS : 0) &&
                  w->step < limit,
              "what was acknowledged ends",
              "long after the last fault %" PRIu64 " calls are live, %" PRIu64 " clients wait",
              w->live, w->untold);
    }
    /* Completions that came too soon for any call are kept a day. */
    while (outside_any_early(w) && world_step(w))
        ;
    CHECK(w, !outside_any_early(w), "what nobody needs is removed", "a completion is kept");
    removal_at_rest(w);
    CHECK(w, w->lease_ns || w->node->step_at == TIME_NEVER, "an idle engine asks for no wake-up",
          "all is done, and it wants to be woken in %" PRId64 " ns", w->node->step_at - w->now);
    ledger_compare(w, true);
}

static void add_totals(struct totals *to, const struct totals *from)
{
    to->histories++;
    to->steps += from->steps;
    to->simulated_ns += from->simulated_ns;
    to->commits += from->commits;
    to->runs += from->runs;
    to->dispatched += from->dispatched;
    to->acknowledged += from->acknowledged;
    to->refused += from->refused;
    for (int i = 0; i < FAULT_COUNT; i++)
        to->faults[i] += from->faults[i];
    for (int i = 0; i < ENDED_COUNT; i++)
        to->ended[i] += from->ended[i];
    to->given_up += from->given_up;
    to->early_wakes += from->early_wakes;
    to->completions += from->completions;
    to->stalled += from->stalled;
}

uint64_t world_run(const struct history *h, struct totals *totals)
{
    struct world *w = calloc(1, sizeof *w);
    uint64_t hash;

    if (!w) {
        fputs("dispatch-sim: out of memory\n", stderr);
        exit(2);
    }
    world_init(w, h);
    while (w->step < h->steps && w->to_dispatch && world_step(w))
        ;
    run_until_rest(w);
    w->totals.simulated_ns = (uint64_t)(w->now - w->born);
    add_totals(totals, &w->totals);
    hash = w->hash;
    world_free(w);
    free(w);
    return hash;
}
