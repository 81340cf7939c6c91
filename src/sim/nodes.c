// SPDX-License-Identifier: Apache-2.0
/*
 * Several nodes, in some of the histories with a memory store: each a process of its own over the
 * same data, of which the one serves that has the lease (orchestrator/lease.c). Clients speak to
 * any of them. The others take it over when it is let go of, or is over: as its holder died, is
 * paused for longer, or is held up so long in the middle of a commit. A process that dies takes its
 * lease along.
 *
 * In a share of these the store's clock goes too fast, which is what a lease cannot stand: it ends
 * before its holder knows. Then two nodes may be open at a time, and what the one without the lease
 * hands out reaches nobody; but never may a commit of its land.
 */
#include <inttypes.h>

#include "sim/world.h"

#define HASTE 8 /* more than the holder is ahead of with its renewals */

/* A store handle that nobody has closed: its process died. */
struct corpse {
    struct corpse *next;
    struct store *store;
};

static int64_t store_now(struct clock *clock)
{
    const struct world *w =
        (struct world *)(void *)((char *)clock - offsetof(struct world, store_clock));
    int64_t since = w->now - w->born;

    if (w->hasty && w->healed_at == TIME_NEVER)
        return w->now + (HASTE - 1) * since;
    return w->now + w->store_ahead;
}

/* One has no turn for a while, longer than a lease lasts. */
static void pause(struct world *w, void *arg)
{
    if (w->healed_at != TIME_NEVER)
        return;
    if (world_may(w, FAULT_PAUSE) && process_draw(w)) {
        w->node->paused_until = time_add(w->now, w->lease_ns + world_draw_ns(w, w->lease_ns));
        world_count(w, FAULT_PAUSE);
        trace(w, "process %" PRIu64 " is paused", w->node->serial);
    }
    world_at(w, w->now + world_draw_ns(w, w->lease_ns), pause, arg);
}

void nodes_init(struct world *w)
{
    w->node_count = 1;
    w->node = w->nodes;
    w->store_clock.now = store_now;
    if (!w->disk)
        return;
    store_memory_set_clock(w->disk, &w->store_clock);
    if (!world_once_in(w, 4))
        return;
    w->lease_ns = (5 + (int64_t)rand_below(&w->rand, 40)) * NS_PER_S;
    w->node_count = 2 + (unsigned)rand_below(&w->rand, NODES_MAX - 1);
    w->hasty = world_once_in(w, 4);
    world_at(w, w->now + world_draw_ns(w, w->lease_ns), pause, NULL);
}

void nodes_fenced(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        struct process *p = &w->nodes[i];

        if (p == w->node || !p->leads)
            continue;
        p->leads = false;
        if (!p->o || p->dead)
            continue;
        trace(w, "node %u takes over from node %u", w->node->number, p->number);
        world_count(w, w->held_up ? FAULT_LEASE_COMMIT
                       : w->hasty ? FAULT_LEASE_SHORT
                                  : FAULT_LEASE_LOST);
    }
    w->node->leads = true;
    endpoint_fenced(w);
}

void nodes_at_commit(struct world *w)
{
    struct process *p = w->node;

    if (!w->lease_ns || w->held_up || !world_may(w, FAULT_LEASE_COMMIT) ||
        !world_once_in(w, 3 * w->crash_odds))
        return;
    trace(w, "node %u is held up", p->number);
    w->now += w->lease_ns;
    w->held_up = true;
    for (unsigned i = 0; i < w->node_count; i++) {
        w->node = &w->nodes[i];
        if (w->node != p)
            process_step(w);
    }
    w->node = p;
    w->held_up = false;
}

void nodes_heal(struct world *w)
{
    w->store_ahead = w->hasty ? (HASTE - 1) * (w->now - w->born) : 0;
    for (unsigned i = 0; i < w->node_count; i++) {
        w->nodes[i].paused_until = 0;
        w->nodes[i].stall = 0;
    }
}

void nodes_keep_corpse(struct world *w, struct store *store)
{
    struct corpse *c = world_alloc(w, sizeof *c);

    c->store = store;
    c->next = w->corpses;
    w->corpses = c;
}

void nodes_free(struct world *w)
{
    for (struct corpse *c = w->corpses; c; c = c->next)
        store_close(c->store);
}
