// SPDX-License-Identifier: Apache-2.0
/*
 * The ready calls of a group, in the order they are to run: those of the highest priority first;
 * among these the roots take turns, one call each; within a root first come, first served. So a
 * tree with ten thousand ready calls costs another root's single call one place in the line.
 *
 * Higher priorities are served sooner, and nobody is never served: after PASSED_MAX turns of the
 * highest priority in which others were passed by, one turn is that of the priority that has been
 * passed by for longest. So of n priorities that always have somebody waiting, each has one turn in
 * (PASSED_MAX + 1) * (n - 1) at least, whatever comes in above it: a parent that is resumed time
 * and again cannot keep its own children, of a lower priority, from running for ever.
 *
 * A group has a level for each priority that is waiting, the highest on top of a heap, and all in a
 * list by their last turns; a level has a turn for each root that is waiting, in a ring. Everything
 * is O(1), or O(log levels).
 */
#include <stdlib.h>

#include "engine/internal.h"

#define PASSED_MAX 7

/* Of one group and priority: those that are not empty stand in group.levels. */
struct level {
    struct heap_node order; /* by -priority */
    struct list passed;     /* in group.passed */
    int32_t priority;
    struct list turns; /* by turn.link, the next one first */
    struct map by_root;
};

struct turn {
    struct list link;
    struct level *level;
    uint64_t root;
    uint32_t calls; /* a ring */
};

/* The key of a map must tell all priorities apart. */
static uint64_t level_key(int32_t priority)
{
    return (uint32_t)priority;
}

static struct level *level_get(struct group *g, int32_t priority)
{
    struct level *l = map_get(&g->level_by_priority, level_key(priority));

    if (l)
        return l;
    l = calloc(1, sizeof *l);
    if (!l || !map_set(&g->level_by_priority, level_key(priority), l)) {
        free(l);
        return NULL;
    }
    heap_node_init(&l->order);
    list_init(&l->passed);
    list_init(&l->turns);
    map_init(&l->by_root);
    l->priority = priority;
    return l;
}

/* One priority is what most groups have, 0: that level stays. */
static void level_rest(struct group *g, struct level *l)
{
    heap_remove(&g->levels, &l->order);
    list_remove(&l->passed);
    if (l->priority == 0)
        return;
    map_remove(&g->level_by_priority, level_key(l->priority));
    map_free(&l->by_root);
    free(l);
}

static struct turn *turn_get(struct engine *e, struct level *l, uint64_t root)
{
    struct turn *t = map_get(&l->by_root, root);
    struct list *used;

    if (t)
        return t;
    used = list_pop(&e->turns_free);
    t = used ? LIST_ENTRY(used, struct turn, link) : malloc(sizeof *t);
    if (!t)
        return NULL;
    list_init(&t->link);
    t->calls = 0;
    t->level = l;
    t->root = root;
    if (!map_set(&l->by_root, root, t)) {
        free(t);
        return NULL;
    }
    list_append(&l->turns, &t->link);
    return t;
}

void turn_add(struct engine *e, struct call *c)
{
    struct group *g = c->target->group;
    struct level *l = level_get(g, c->priority);
    /* One that stayed while it was empty finds others in its room. */
    bool room = l && (l->order.index != HEAP_NONE || heap_reserve(&g->levels, 1));
    struct turn *t = room ? turn_get(e, l, c->root_id) : NULL;

    if (!t) {
        engine_fail(e);
        return;
    }
    ring_append(e, &t->calls, c, RING_QUEUE);
    if (l->order.index == HEAP_NONE) {
        heap_set(&g->levels, &l->order, -(int64_t)l->priority);
        list_append(&g->passed, &l->passed);
    }
    g->ready++;
}

/* The level whose turn it is; NULL: nobody is ready. */
static struct level *level_next(const struct group *g)
{
    struct heap_node *n = heap_min(&g->levels);

    if (!n)
        return NULL;
    if (g->passed_by >= PASSED_MAX && !MUTATION(17))
        return LIST_ENTRY(g->passed.next, struct level, passed);
    return LIST_ENTRY(n, struct level, order);
}

/* The level has its turn, among others or alone. */
static void level_serve(struct group *g, struct level *l)
{
    if (heap_min(&g->levels) != &l->order)
        g->passed_by = 0;
    else if (g->levels.len > 1)
        g->passed_by++;
    list_remove(&l->passed);
    list_append(&g->passed, &l->passed);
}

void turn_remove(struct engine *e, struct call *c, bool served)
{
    struct group *g = c->target->group;
    struct level *l = map_get(&g->level_by_priority, level_key(c->priority));
    struct turn *t = l ? map_get(&l->by_root, c->root_id) : NULL;

    assert(t && g->ready > 0);
    if (served)
        level_serve(g, l);
    ring_remove(e, &t->calls, c, RING_QUEUE);
    g->ready--;
    if (t->calls) {
        if (served && !MUTATION(15)) {
            list_remove(&t->link);
            list_append(&l->turns, &t->link);
        }
        return;
    }
    map_remove(&l->by_root, t->root);
    list_remove(&t->link);
    list_append(&e->turns_free, &t->link);
    if (list_empty(&l->turns))
        level_rest(g, l);
}

struct call *turn_next(const struct engine *e, const struct group *g)
{
    const struct level *l = level_next(g);

    return l ? call_at(e, LIST_ENTRY(l->turns.next, struct turn, link)->calls) : NULL;
}

void turns_free_group(struct group *g)
{
    uint32_t pos = 0;
    struct level *l;

    while ((l = map_next(&g->level_by_priority, &pos, NULL))) {
        uint32_t at = 0;
        struct turn *t;

        while ((t = map_next(&l->by_root, &at, NULL)))
            free(t);
        map_free(&l->by_root);
        free(l);
    }
    map_free(&g->level_by_priority);
    heap_free(&g->levels);
}

void turns_free_spare(struct engine *e)
{
    struct list *it;

    while ((it = list_pop(&e->turns_free)))
        free(LIST_ENTRY(it, struct turn, link));
}
