// SPDX-License-Identifier: Apache-2.0
/*
 * The process that the orchestrator lives in. It may die at any moment, also in the middle of a
 * step: from then on the store refuses it everything and its words reach nobody, and as soon as the
 * call stack is out of it, it is destroyed. Some time later another one starts on the same disk.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "sim/world.h"

#define STEPS_AT_ONCE_MAX 2000

static int64_t process_now(struct clock *clock)
{
    struct process *p = (struct process *)(void *)clock;
    struct world *w = p->world;

    if (w->now + p->ahead > w->latest)
        w->latest = w->now + p->ahead;
    return w->now + p->ahead + (plant_strikes(w, PLANT_EARLY_TIMER, 25) ? 90 * NS_PER_S : 0);
}

/* Not from world.rand: the other histories stay as they are. */
void process_set_clock(struct world *w)
{
    struct process *p = w->node;
    struct rand r;

    p->clock.now = process_now;
    if (!w->wrong || w->healed_at != TIME_NEVER)
        return;
    rand_seed(&r, w->seed ^ (p->serial << 32));
    if (rand_below(&r, 3) == 0)
        return;
    p->ahead = (int64_t)rand_below(&r, (uint64_t)WRONG_MAX_NS >> rand_below(&r, 14));
    if (rand_below(&r, 2))
        p->ahead = -p->ahead;
    world_count(w, world_time(w) < w->latest ? FAULT_CLOCK_BEHIND : FAULT_CLOCK_AHEAD);
    trace(w, "its clock is wrong by %" PRId64 " ms", p->ahead / NS_PER_MS);
}

static void on_wake(void *arg)
{
    struct process *p = arg;

    p->woken = true;
}

/* "call 17 running -> suspended: poll" */
static void note_move(struct world *w, const char *line)
{
    uint64_t id = strtoull(line + strlen("call "), NULL, 10);
    const char *to = strstr(line, "-> ") + strlen("-> ");
    struct record *r = ledger_get(w, id);

    turns_moved(w, r, to);
    r->suspended = strncmp(to, "suspended", 9) == 0;
    if (r->suspended)
        ledger_look_at(w, r);
}

static void on_trace(void *arg, const char *line)
{
    const struct process *p = arg;
    struct world *w = p->world;
    bool was = memory_scarce(w, false), leads = process_leads(p);

    if (!p->dead) {
        trace(w, "%s%s", leads ? "" : "without the lease: ", line);
        if (leads && strncmp(line, "call ", 5) == 0)
            note_move(w, line);
        CHECK(w,
              p->failing || !leads || world_may(w, FAULT_NO_MEMORY) ||
                  !strstr(line, "-> waiting: retry"),
              "only what failed is retried", "%s", line);
    }
    memory_scarce(w, was);
}

static void start_again(struct world *w, void *arg);

void process_start(struct world *w)
{
    struct process *p = w->node;
    struct orchestrator_options options = {
        .clock = &p->clock,
        .invoker = &w->invoker,
        .engine = w->engine,
        .cache_max = w->cache_max,
        .lease_ns = w->lease_ns,
        .retention_ns = w->retention.ns,
        .retention_least_ns = w->retention.least_ns,
        .retention_bytes = w->retention.bytes,
        .payload_max = PAYLOAD_BYTES_MAX,
        .state_max = STATE_BYTES_MAX,
        .wake = on_wake,
        .wake_arg = p,
        .trace = on_trace,
        .trace_arg = p,
    };
    struct error err;
    int code;

    *p = (struct process){.world = w, .number = p->number, .serial = ++w->serials};
    trace(w, "process %" PRIu64 " starts", p->serial);
    process_set_clock(w);
    options.engine.seed = rand_u64(&w->rand) | 1;
    options.store = disk_open(w);
    if (!options.store) {
        disk_buried(w); /* it may have been the power that failed */
        world_at(w, w->now + world_draw_ns(w, 30 * NS_PER_S), start_again, p);
        return;
    }
    code = orchestrator_create(&p->o, &options, &err);
    CHECK(w, code == 0, "the orchestrator can be created", "%s", err.message);
}

static void start_again(struct world *w, void *arg)
{
    w->node = arg;
    process_start(w);
}

/* The dead, or stopped, process goes; the next one comes after a while. */
static void bury(struct world *w)
{
    struct process *p = w->node;

    p->ending = true;
    orchestrator_destroy(p->o);
    p->o = NULL;
    p->ending = false;
    disk_buried(w);
    ledger_compare(w, false);
    world_at(w, time_add(w->now, world_draw_ns(w, 60 * NS_PER_S)), start_again, p);
}

void process_die(struct world *w, enum fault how)
{
    if (!w->node->o || w->node->dead)
        return;
    trace(w, "process %" PRIu64 " dies: %s", w->node->serial, fault_names[how]);
    world_count(w, how);
    w->node->dead = true;
    disk_dies(w);
}

void process_stop(struct world *w)
{
    struct process *p = w->node;

    if (!p->o || p->dead || p->stopping)
        return;
    trace(w, "process %" PRIu64 " is asked to stop", p->serial);
    world_count(w, FAULT_STOP);
    p->stopping = true;
    orchestrator_drain(p->o);
}

bool process_serves(const struct world *w)
{
    return w->node->o && !w->node->dead && w->node->paused_until <= w->now;
}

bool process_leads(const struct process *p)
{
    return p->o && p->epoch == p->world->epoch;
}

/* Mostly the one that serves, as clients stay with whom they found. */
bool process_draw(struct world *w)
{
    if (w->node_count > 1) {
        w->node = &w->nodes[rand_below(&w->rand, w->node_count)];
        for (unsigned i = 0; i < w->node_count && !world_once_in(w, 4); i++)
            if (process_leads(&w->nodes[i]))
                w->node = &w->nodes[i];
    }
    return process_serves(w);
}

void process_step(struct world *w)
{
    struct process *p = w->node;

    if (p->o && !p->dead && p->paused_until > w->now) {
        p->step_at = p->paused_until;
        return;
    }
    disk_maybe_slow(w);
    for (unsigned i = 0; p->o && !p->dead; i++) {
        CHECK(w, i < STEPS_AT_ONCE_MAX, "the orchestrator comes to rest",
              "%u steps at one moment, and still it wants another", i);
        p->woken = false;
        memory_scarce(w, true);
        p->step_at = time_add(orchestrator_step(p->o), -p->ahead);
        memory_scarce(w, false);
        if (!p->woken && p->step_at > w->now)
            break;
    }
    if (p->o && !p->dead && orchestrator_ready(p->o)) {
        orchestrator_check(p->o);
        CHECK(w, p->epoch == w->epoch || w->hasty, "only who has the lease is open",
              "process %" PRIu64 " is, in epoch %" PRIu64 "; it is %" PRIu64, p->serial, p->epoch,
              w->epoch);
        if (!disk_is_slow() && process_leads(p)) {
            ledger_check_awake(w);
            turns_at_rest(w);
        }
    }
    if (p->o && !p->dead && p->stopping && orchestrator_idle(p->o)) {
        trace(w, "process %" PRIu64 " has stopped", p->serial);
        p->dead = p->stopped = true;
    }
    if (p->o && p->dead)
        bury(w);
    if (p->o && plant_strikes(w, PLANT_FORGOTTEN_WAKE, 40))
        p->step_at = TIME_NEVER;
}

void process_step_all(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        w->node = &w->nodes[i];
        process_step(w);
    }
}

void process_init(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        w->node = &w->nodes[i];
        w->node->number = i;
        process_start(w);
    }
}
