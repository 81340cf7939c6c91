// SPDX-License-Identifier: Apache-2.0
/*
 * Another node that wants the partition, in some of the histories with a memory store: there the
 * orchestrator has a lease (orchestrator/lease.c). The rival takes that when it can, holds it for a
 * while as a node does that has nothing to do, and lets go of it or dies with it. It can when the
 * process is paused, or held up in the middle of a commit, for longer than its lease; at any other
 * time it asks in vain. A process that dies takes its lease along.
 */
#include <inttypes.h>

#include "sim/world.h"

/* A store handle that nobody has closed: its process died. */
struct corpse {
    struct corpse *next;
    struct store *store;
};

static int64_t store_now(struct clock *clock)
{
    return ((struct world *)(void *)((char *)clock - offsetof(struct world, store_clock)))->now;
}

void rival_init(struct world *w)
{
    w->store_clock.now = store_now;
    if (!w->disk)
        return;
    store_memory_set_clock(w->disk, &w->store_clock);
    if (world_once_in(w, 4))
        w->lease_ns = (20 + (int64_t)rand_below(&w->rand, 60)) * NS_PER_S;
}

static void let_go(struct world *w, void *arg)
{
    (void)arg;
    if (!w->rival_epoch || w->rival_epoch != w->epoch)
        return;
    trace(w, "the rival lets go of epoch %" PRIu64, w->rival_epoch);
    store_renew(w->beside, PARTITION, w->rival_epoch, 0, NULL);
    w->rival_epoch = 0;
}

/* True: it has the partition from now on. */
static bool take(struct world *w)
{
    bool was = memory_scarce(w, false);
    uint64_t epoch;
    int code = store_fence(w->beside, PARTITION, 0, &epoch, NULL);

    trace(w, "the rival %s", code ? "waits" : "takes over");
    if (!code) {
        w->rival_epoch = epoch;
        code = store_renew(w->beside, PARTITION, epoch, w->lease_ns, NULL);
        CHECK(w, !code, "a lease can be renewed", "code %d", code);
        if (world_once_in(w, 2)) /* else it has died */
            world_at(w, w->now + world_draw_ns(w, w->lease_ns), let_go, NULL);
    }
    memory_scarce(w, was);
    return !code;
}

static void try(struct world *w, void *arg)
{
    (void)arg;
    if (w->healed_at == TIME_NEVER && take(w))
        world_count(w, FAULT_LEASE_LOST);
}

void rival_strike(struct world *w)
{
    int64_t when = w->now;

    if (!w->lease_ns)
        return;
    if (world_once_in(w, 2)) {
        w->process.paused_until = time_add(w->now, w->lease_ns + world_draw_ns(w, w->lease_ns));
        world_count(w, FAULT_PAUSE);
        trace(w, "process %" PRIu64 " is paused", w->process.serial);
        when = w->now + w->lease_ns;
    }
    world_at(w, when, try, NULL);
}

void rival_at_commit(struct world *w)
{
    if (!w->lease_ns || !world_may(w, FAULT_LEASE_COMMIT) || !world_once_in(w, 3 * w->crash_odds))
        return;
    w->now += w->lease_ns;
    if (take(w))
        world_count(w, FAULT_LEASE_COMMIT);
}

void rival_heal(struct world *w)
{
    w->process.paused_until = 0;
    let_go(w, NULL);
}

void rival_keep_corpse(struct world *w, struct store *store)
{
    struct corpse *c = world_alloc(w, sizeof *c);

    c->store = store;
    c->next = w->corpses;
    w->corpses = c;
}

void rival_free(struct world *w)
{
    for (struct corpse *c = w->corpses; c; c = c->next)
        store_close(c->store);
}
