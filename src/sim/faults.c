// SPDX-License-Identifier: Apache-2.0
/*
 * What goes wrong. Each seed draws which kinds of fault its history has at all, as some bugs show
 * only where another fault does not hide them; one history in eight has none.
 */
#include <inttypes.h>

#include "sim/world.h"
#include "store/sim_disk.h"

static void full_no_more(struct world *w, void *arg)
{
    (void)arg;
    w->faults.fail_all = false;
    if (w->sqlite)
        sim_disk_state(w->sqlite)->full = false;
}

static void fill_disk(struct world *w)
{
    if (w->sqlite && world_once_in(w, 2))
        sim_disk_state(w->sqlite)->full = true;
    else
        w->faults.fail_all = true;
    world_at(w, w->now + world_draw_ns(w, 60 * NS_PER_S), full_no_more, NULL);
}

/* When a call will expire, one that runs or just any, if one does before long; else TIME_NEVER. */
static int64_t draw_expiration(struct world *w)
{
    bool running = world_once_in(w, 2);
    int64_t when = TIME_NEVER;
    const struct record *r;
    uint64_t seen = 0;
    uint32_t pos = 0;

    while ((r = map_next(&w->records, &pos, NULL)))
        if (!r->done && (r->in_flight || !running) && r->expires > world_time(w) &&
            r->expires < world_time(w) + 600 * NS_PER_S && world_once_in(w, ++seen))
            when = r->expires - w->node->ahead;
    return when;
}

/* By any time; or right to where it matters: when, or before, a call expires. */
static void jump(struct world *w)
{
    int64_t from = w->now, to = world_once_in(w, 3) ? TIME_NEVER : draw_expiration(w);

    if (to == TIME_NEVER)
        to =
            w->now + world_draw_ns(w, world_once_in(w, 20) ? 30 * 3600 * NS_PER_S : 600 * NS_PER_S);
    else if (world_once_in(w, 2))
        to -= world_draw_ns(w, to - w->now);
    w->now = to;
    trace(w, "the clock jumps by %" PRId64 " ms", (to - from) / NS_PER_MS);
    if (world_may(w, FAULT_LATE_WAKE)) /* what was to come meanwhile comes at once */
        w->node->stall = (unsigned)rand_below(&w->rand, 20);
}

static void strike_host(struct world *w, enum fault fault)
{
    struct host *h = &w->hosts[rand_below(&w->rand, HOSTS)];

    if (fault == FAULT_HOST_DOWN) {
        h->down_until = w->now + world_draw_ns(w, 180 * NS_PER_S);
        h->silent = world_once_in(w, 2);
    } else {
        h->slow_until = w->now + world_draw_ns(w, 120 * NS_PER_S);
    }
}

/* At once; or in the middle of what is written next. */
static void fail_power(struct world *w)
{
    if (world_once_in(w, 3)) {
        sim_disk_power_failure(w->sqlite);
        process_die(w, FAULT_POWER);
    } else {
        sim_disk_state(w->sqlite)->power_fails_in = rand_below(&w->rand, 30) + 1;
    }
}

static void strike(struct world *w, enum fault fault)
{
    uint64_t in = rand_below(&w->rand, 4) + 1;

    trace(w, "fault: %s", fault_names[fault]);
    if (fault != FAULT_POWER) /* which may come later, or never */
        world_count(w, fault);
    switch (fault) {
    case FAULT_COMMIT_FAILED:
        w->faults.fail_commit_in = in;
        break;
    case FAULT_COMMIT_LOST:
        w->faults.lose_commit_in = in;
        break;
    case FAULT_COMMIT_LATE:
        w->faults.late_commit_in = in;
        break;
    case FAULT_DISK_FULL:
        fill_disk(w);
        break;
    case FAULT_POWER:
        fail_power(w);
        break;
    case FAULT_SYNC:
        sim_disk_state(w->sqlite)->fail_sync_in = in;
        break;
    case FAULT_CLOCK_JUMP:
        jump(w);
        break;
    default:
        strike_host(w, fault);
        break;
    }
}

static void weather(struct world *w, void *arg)
{
    static const enum fault kinds[] = {
        FAULT_CRASH_BETWEEN, FAULT_COMMIT_FAILED, FAULT_COMMIT_LOST, FAULT_COMMIT_LATE,
        FAULT_DISK_FULL,     FAULT_HOST_DOWN,     FAULT_HOST_SLOW,   FAULT_CLOCK_JUMP,
        FAULT_STOP,          FAULT_POWER,         FAULT_SYNC,
    };
    enum fault fault = kinds[rand_below(&w->rand, sizeof kinds / sizeof *kinds)];

    if (w->healed_at != TIME_NEVER)
        return;
    if (world_may(w, fault) && (w->sqlite || (fault != FAULT_POWER && fault != FAULT_SYNC))) {
        process_draw(w);
        if (fault == FAULT_CRASH_BETWEEN)
            process_die(w, fault);
        else if (fault == FAULT_STOP)
            process_stop(w);
        else
            strike(w, fault);
    }
    world_at(w, w->now + world_draw_ns(w, 30 * NS_PER_S), weather, arg);
}

enum fault faults_at_commit(struct world *w)
{
    static const enum fault kinds[] = {FAULT_CRASH_BEFORE, FAULT_CRASH_AFTER, FAULT_CRASH_ZOMBIE};
    enum fault how = kinds[rand_below(&w->rand, 3)];

    if (how == FAULT_CRASH_ZOMBIE && w->sqlite) /* a file has one owner */
        return FAULT_COUNT;
    return world_may(w, how) && world_once_in(w, w->crash_odds) ? how : FAULT_COUNT;
}

void faults_init(struct world *w)
{
    bool calm = world_once_in(w, 8);

    for (int i = 0; i < FAULT_COUNT && !calm; i++)
        if (rand_below(&w->rand, 10) < 6)
            w->weather |= UINT64_C(1) << i;
    w->crash_odds = (unsigned)rand_below(&w->rand, 60) + 10;
    world_at(w, w->now + world_draw_ns(w, 30 * NS_PER_S), weather, NULL);
}

void faults_heal(struct world *w)
{
    trace(w, "nothing goes wrong from here on");
    w->healed_at = w->now;
    w->to_dispatch = 0;
    w->faults.fail_commit_in = w->faults.lose_commit_in = w->faults.late_commit_in = 0;
    w->faults.fail_all = false;
    disk_heal(w);
    nodes_heal(w);
    for (unsigned i = 0; i < HOSTS; i++)
        w->hosts[i] = (struct host){0};
}
