// SPDX-License-Identifier: Apache-2.0
/*
 * Turns between organizations, for what all calls share: the runs in flight over all groups
 * (engine_config.runs_max), and room in memory (stall.c). Whoever is served goes to the end of the
 * line; so an organization with a hundred thousand calls that wait costs another one's single call
 * one place.
 *
 * Turns are of no use where what was taken does not come back soon, as with memory. So each may
 * have a share of it: so many times as much as is left for others when it has taken it, nine times
 * with roots, and nineteen times with what continues trees. One that is alone has 90% and 95% so;
 * with another one as greedy it has 47%, which it falls back to as its calls end; and at no time is
 * there nothing left for one that comes and has none.
 */
#include <stdlib.h>

#include "engine/internal.h"

struct org *org_get(struct engine *e, const struct atom *name)
{
    struct org *o = map_get(&e->org_by_name, (uintptr_t)name);

    if (o) {
        o->refs++;
        return o;
    }
    o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->name = atom_get(&e->atoms, atom_slice(name)); /* the same one, once more */
    if (!o->name || !map_set(&e->org_by_name, (uintptr_t)name, o)) {
        atom_unref(&e->atoms, o->name);
        free(o);
        return NULL;
    }
    o->refs = 1;
    list_init(&o->groups);
    list_init(&o->runnable);
    list_init(&o->stalls);
    list_init(&o->stalled);
    list_init(&o->crowded);
    heap_init(&o->asleep);
    heap_node_init(&o->wake);
    return o;
}

struct org *org_of_name(struct engine *e, struct slice name)
{
    struct atom *atom = atom_get(&e->atoms, name);
    struct org *o = atom ? org_get(e, atom) : NULL;

    atom_unref(&e->atoms, atom);
    return o;
}

/* Without the memory to look it up there is none for what is asked, either. */
const struct org *org_find(struct engine *e, struct slice name)
{
    static const struct org nobody;
    struct atom *atom = atom_get(&e->atoms, name);
    const struct org *o = atom ? map_get(&e->org_by_name, (uintptr_t)atom) : NULL;

    atom_unref(&e->atoms, atom);
    return o ? o : &nobody;
}

void org_unref(struct engine *e, struct org *o)
{
    assert(o->refs > 0);
    if (--o->refs > 0)
        return;
    assert(list_empty(&o->groups) && list_empty(&o->stalls) && !o->calls && !o->asleep.len);
    heap_free(&o->asleep);
    map_remove(&e->org_by_name, (uintptr_t)o->name);
    atom_unref(&e->atoms, o->name);
    free(o);
}

void orgs_free(struct engine *e)
{
    uint32_t pos = 0;
    struct org *o;

    while ((o = map_next(&e->org_by_name, &pos, NULL))) {
        heap_free(&o->asleep);
        free(o);
    }
    map_free(&e->org_by_name);
}

void org_line_up(struct list *line, struct list *place, const struct list *wants, bool served)
{
    if ((served && !MUTATION(16)) || list_empty(wants))
        list_remove(place);
    if (!list_empty(wants) && list_empty(place))
        list_append(line, place);
}

bool org_has_room(const struct engine *e, const struct org *o, uint64_t calls, enum room room)
{
    uint64_t lent = e->lent && stall_is_favoured(e) ? e->lent : 0;
    uint64_t taken = e->call_count + e->growing - lent;

    return share_fits(e->config.live_max, taken, o->calls, calls, room);
}
