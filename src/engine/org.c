// SPDX-License-Identifier: Apache-2.0
/*
 * Turns between organizations, for what all calls share: the runs in flight over all groups
 * (engine_config.runs_max), and room in memory (stall.c). Whoever is served goes to the end of the
 * line; so an organization with a hundred thousand calls that wait costs another one's single call
 * one place.
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
    return o;
}

void org_unref(struct engine *e, struct org *o)
{
    assert(o->refs > 0);
    if (--o->refs > 0)
        return;
    assert(list_empty(&o->groups) && list_empty(&o->stalls));
    map_remove(&e->org_by_name, (uintptr_t)o->name);
    atom_unref(&e->atoms, o->name);
    free(o);
}

void orgs_free(struct engine *e)
{
    uint32_t pos = 0;
    struct org *o;

    while ((o = map_next(&e->org_by_name, &pos, NULL)))
        free(o);
    map_free(&e->org_by_name);
}

void org_line_up(struct list *line, struct list *place, const struct list *wants, bool served)
{
    if ((served && !MUTATION(16)) || list_empty(wants))
        list_remove(place);
    if (!list_empty(wants) && list_empty(place))
        list_append(line, place);
}
