// SPDX-License-Identifier: Apache-2.0
/*
 * Who runs next. The organizations take turns, and within one its groups, as there is a limit to
 * the runs in flight over all. Calls of one organization to one endpoint host share a window: how
 * many runs may be in flight at once. It adapts (additive increase, multiplicative decrease): it
 * starts small, doubles with every window of successes until the host first shows that it has
 * enough, then grows by one a window; an overload cuts it to three quarters, at most once a second.
 */
#include <stdlib.h>

#include "engine/internal.h"

#define GROUPS_KEPT 256 /* idle ones, for what their windows have learned */

/* "http://host:port" of "http://host:port/path"; the whole for what has no path. */
static struct slice authority(struct slice endpoint)
{
    const char *text = endpoint.data, *sep = memmem(text, endpoint.len, "://", 3), *slash;

    if (!sep)
        return endpoint;
    sep += 3;
    slash = memchr(sep, '/', endpoint.len - (size_t)(sep - text));
    return slash ? slice(text, (size_t)(slash - text)) : endpoint;
}

/* Room for one more, and for the index of each to be given back. */
static bool groups_grow(struct engine *e)
{
    uint32_t cap = e->groups_cap ? 2 * e->groups_cap : 16, *holes;
    struct group **groups;

    if (e->group_holes_len || e->groups_len < e->groups_cap)
        return true;
    groups = realloc(e->groups, cap * sizeof *groups);
    if (!groups)
        return false;
    e->groups = groups;
    holes = realloc(e->group_holes, cap * sizeof *holes);
    if (!holes)
        return false;
    e->group_holes = holes;
    e->groups_cap = cap;
    return true;
}

static struct group *group_new(struct engine *e, struct atom *key, const struct atom *org)
{
    struct group *g = calloc(1, sizeof *g);
    uint32_t i;

    if (!g)
        return NULL;
    g->org = org_get(e, org);
    if (!g->org || !groups_grow(e) || !map_set(&e->group_by_key, (uintptr_t)key, g)) {
        if (g->org)
            org_unref(e, g->org);
        free(g);
        return NULL;
    }
    i = e->group_holes_len ? e->group_holes[--e->group_holes_len] : e->groups_len++;
    list_init(&g->runnable);
    list_init(&g->passed);
    g->key = key;
    g->index = i;
    g->window = e->config.window_start;
    g->last_decrease = INT64_MIN;
    e->groups[i] = g;
    e->groups_used++;
    return g;
}

struct group *group_get(struct engine *e, const struct atom *org, const struct atom *endpoint)
{
    struct slice host = authority(atom_slice(endpoint));
    struct atom *key;
    struct group *g;

    buf_reset(&e->scratch);
    buf_append_slice(&e->scratch, atom_slice(org));
    buf_append_byte(&e->scratch, 0);
    buf_append_slice(&e->scratch, host);
    if (e->scratch.failed)
        return NULL;
    key = atom_get(&e->atoms, buf_slice(&e->scratch));
    if (!key)
        return NULL;
    g = map_get(&e->group_by_key, (uintptr_t)key);
    if (!g)
        g = group_new(e, key, org);
    else
        atom_unref(&e->atoms, key);
    if (!g)
        atom_unref(&e->atoms, key);
    return g;
}

void group_ref(struct group *g)
{
    g->refs++;
}

static void group_free_if_idle(struct engine *e, struct group *g)
{
    if (g->refs || g->in_flight || e->groups_used <= GROUPS_KEPT)
        return;
    assert(!g->ready);
    turns_free_group(g);
    map_remove(&e->group_by_key, (uintptr_t)g->key);
    atom_unref(&e->atoms, g->key);
    e->groups[g->index] = NULL;
    e->group_holes[e->group_holes_len++] = g->index;
    e->groups_used--;
    org_unref(e, g->org);
    free(g);
}

void group_unref(struct engine *e, struct group *g)
{
    assert(g->refs > 0);
    g->refs--;
    group_free_if_idle(e, g);
}

/* Into the line of its organization, or out of it, as it has a call that may run or not. */
static void line_up(struct engine *e, struct group *g, bool served)
{
    bool may = g->ready && g->in_flight < (uint32_t)g->window;

    if ((served && !MUTATION(18)) || !may)
        list_remove(&g->runnable);
    if (may && list_empty(&g->runnable))
        list_append(&g->org->groups, &g->runnable);
    org_line_up(&e->runnable, &g->org->runnable, &g->org->groups, served);
}

void group_release(struct engine *e, struct group *g)
{
    assert(g->in_flight > 0 && e->in_flight > 0);
    g->in_flight--;
    e->in_flight--;
    line_up(e, g, false);
    group_free_if_idle(e, g);
}

static bool is_overload(const struct engine_answer *a)
{
    if (a->outcome == ENGINE_POLL || a->outcome == ENGINE_GONE)
        return false;
    return a->transport || a->status == STATUS_THROTTLED || a->status == STATUS_TIMEOUT ||
           a->status == STATUS_TEMPORARY_ERROR;
}

void group_feedback(struct engine *e, struct group *g, int64_t now, const struct engine_answer *a)
{
    if (a->outcome == ENGINE_GONE || a->blameless || a->status == STATUS_INCOMPATIBLE_STATE)
        return;
    if (!is_overload(a)) {
        if (status_is_temporary(a->status)) /* of something behind the host: no sign of anything */
            return;
        g->window += g->decreased ? 1 / g->window : 1;
        if (g->window > e->config.window_max)
            g->window = e->config.window_max;
        return;
    }
    if (now < time_add(g->last_decrease, NS_PER_S))
        return;
    /* An application's own passing failures are a weaker sign than a host that does not answer. */
    double least = !a->transport && a->status == STATUS_TEMPORARY_ERROR ? 4 : 1;

    if (least > e->config.window_max)
        least = e->config.window_max;
    if (g->window > least)
        g->window = g->window * 0.75 < least ? least : g->window * 0.75;
    g->decreased = true;
    g->last_decrease = now;
    g->decreases++;
    g->decreased_by = a->status;
    g->decreased_on_the_way = a->transport;
}

/* The commit that the call needs, while it is not confirmed; else NULL. Numbers are compared by
 * their low bits: one that is 2^32 commits old could be held once more, which does no harm. */
static struct commit *holder(const struct engine *e, const struct call *c)
{
    if (MUTATION(10))
        return NULL;
    if (c->needs == (uint32_t)e->open->number)
        return e->open;
    return e->flight && c->needs == (uint32_t)e->flight->number ? e->flight : NULL;
}

bool call_is_held(const struct engine *e, const struct call *c)
{
    return holder(e, c) != NULL;
}

void call_enqueue(struct engine *e, struct call *c)
{
    struct commit *k = holder(e, c);
    struct group *g = c->target->group;

    assert(c->state == CALL_READY && !c->queue.next);
    if (k) {
        ring_append(e, &k->ready, c, RING_QUEUE);
        return;
    }
    assert(c->due == TIME_NEVER);
    c->queued = e->now;
    turn_add(e, c);
    line_up(e, g, false);
}

void call_dequeue(struct engine *e, struct call *c)
{
    struct commit *k = holder(e, c);

    if (c->state != CALL_READY || !c->queue.next) /* there may have been no memory for it */
        return;
    if (k)
        ring_remove(e, &k->ready, c, RING_QUEUE);
    else
        turn_remove(e, c, false);
    line_up(e, c->target->group, false);
}

/* How much of the inbox goes with the next run. */
static uint32_t results_to_deliver(const struct engine *e, const struct call *c)
{
    uint32_t most = c->max_results, n = 0;
    struct call *child = call_at(e, c->inbox);
    uint64_t bytes = 0;

    if (c->fresh)
        return 0;
    if (c->results_cut && c->results_cut < most)
        most = c->results_cut;
    for (; child && n < most; child = ring_after(e, c->inbox, child, RING_SIBLING), n++) {
        bytes += child->result_len;
        if (n > 0 && bytes > e->config.results_bytes_max)
            break;
    }
    return n;
}

static void issue(struct engine *e, struct group *g, struct call *c)
{
    assert(!call_is_held(e, c));
    turn_remove(e, c, true);
    histogram_note(&e->queue_wait, e->now > c->queued ? (uint64_t)(e->now - c->queued) : 0);
    c->delivered = (uint16_t)results_to_deliver(e, c);
    call_move(e, c, MOVE_ISSUED);
    c->attempt = e->config.incarnation << 44 | ++e->next_attempt;
    g->in_flight++;
    g->attempts++;
    e->in_flight++;
    line_up(e, g, true);
    e->stats.attempts++;
    engine_emit(e, &(struct engine_effect){.kind = ENGINE_RUN,
                                           .call = c->id,
                                           .generation = c->generation,
                                           .group = g->index,
                                           .attempt = c->attempt});
}

void engine_pump(struct engine *e)
{
    if (e->hold || e->failed)
        return;
    stalls_pump(e);
    while (!list_empty(&e->runnable) && e->in_flight < e->config.runs_max && !e->failed) {
        struct org *o = LIST_ENTRY(e->runnable.next, struct org, runnable);
        struct group *g = LIST_ENTRY(o->groups.next, struct group, runnable);

        issue(e, g, turn_next(e, g));
    }
}

void engine_hold_runs(struct engine *e, bool hold)
{
    e->hold = hold;
    engine_pump(e);
}
