// SPDX-License-Identifier: Apache-2.0
/*
 * What is counted for people to see. Calls are counted by function in tallies, which the targets
 * point at, so that a move of a call costs two additions. The functions that came first have one
 * each, for as long as the engine lives (a counter that went away would count wrong); all others
 * share the first.
 */
#include <stdlib.h>

#include "engine/internal.h"

bool tallies_init(struct engine *e)
{
    e->tallies = calloc((size_t)e->config.functions_max + 1, sizeof *e->tallies);
    e->tally_count = 1;
    map_init(&e->tally_by_name);
    histogram_init(&e->queue_wait, histogram_times);
    return e->tallies;
}

/* Before the atoms go. */
void tallies_free(struct engine *e)
{
    map_free(&e->tally_by_name);
    free(e->tallies);
}

struct engine_tally *tally_get(struct engine *e, const struct atom *function)
{
    struct engine_tally *t = map_get(&e->tally_by_name, (uintptr_t)function);
    struct atom *name;

    if (t)
        return t;
    if (e->tally_count > e->config.functions_max)
        return &e->tallies[0];
    name = atom_get(&e->atoms, atom_slice(function)); /* the same one, kept */
    t = &e->tallies[e->tally_count];
    if (!name || !map_set(&e->tally_by_name, (uintptr_t)name, t)) {
        if (name)
            atom_unref(&e->atoms, name);
        return &e->tallies[0];
    }
    e->tally_count++;
    t->function = atom_slice(name);
    return t;
}

void call_count(struct engine *e, const struct call *c, unsigned from, unsigned to)
{
    struct engine_tally *t = c->target->tally;

    if (from != CALL_STATES) {
        e->by_state[from]--;
        t->calls[from]--;
    } else {
        call_org(c)->calls++;
    }
    if (to != CALL_STATES) {
        e->by_state[to]++;
        t->calls[to]++;
    } else {
        call_org(c)->calls--;
    }
}

void tallies_check(const struct engine *e)
{
    for (unsigned s = 0; s < CALL_STATES; s++) {
        uint64_t sum = 0;

        for (size_t i = 0; i < e->tally_count; i++)
            sum += e->tallies[i].calls[s];
        assert(sum == e->by_state[s]);
    }
}

const struct engine_tally *engine_tallies(const struct engine *e, size_t *count)
{
    *count = e->tally_count;
    return e->tallies;
}

const struct histogram *engine_queue_wait(const struct engine *e)
{
    return &e->queue_wait;
}

const struct engine_config *engine_limits(const struct engine *e)
{
    return &e->config;
}

size_t engine_group_count(const struct engine *e)
{
    return e->groups_used;
}

bool engine_next_group(const struct engine *e, uint32_t *at, struct engine_group *out)
{
    const struct group *g = NULL;
    struct slice key;

    while (!g && *at < e->groups_len)
        g = e->groups[(*at)++];
    if (!g)
        return false;
    key = atom_slice(g->key);
    out->org = atom_slice(g->org->name);
    out->host = slice((const char *)key.data + out->org.len + 1, key.len - out->org.len - 1);
    out->window = g->window;
    out->in_flight = g->in_flight;
    out->ready = g->ready;
    out->attempts = g->attempts;
    out->decreases = g->decreases;
    out->decreased_at = g->last_decrease;
    out->decreased_by = g->decreased_by;
    out->decreased_on_the_way = g->decreased_on_the_way;
    return true;
}
