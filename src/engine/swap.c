// SPDX-License-Identifier: Apache-2.0
/*
 * Trees that are out of memory. When memory fills up, trees that only wait leave it: all of whose
 * calls are suspended or waiting, recorded, and not due before long. Their rows stay where they
 * are. One row more, (META, root, META_TREE), is written in the batch of the leaving: when the tree
 * is due, and the ids of its calls. In memory stays one entry, and nothing for a call.
 *
 *           leaves, with a batch                      confirmed, and due or asked for; room
 *   (memory) -------------------> ASLEEP, in org->asleep-----------------------------------+
 *      ^                                                                                  |
 *      +---------------------- engine_tree_fetched, the row deleted <-------- FETCHING <--+
 *
 * After a crash the META rows come first, and say of which roots no call is to be loaded: a tree
 * whose row was not deleted durably sleeps again, as its calls were when it last left.
 *
 * A tree is found by its root, and its calls by the links from it. So one that has a live call that
 * is not linked any more (of an earlier generation, say) stays until that has ended: call.loose;
 * and so do calls whose root is done. Whoever has but the id of a call learns its root from its
 * row.
 *
 * Each organization has its trees in a heap of its own, and its share of the room (org.c): one with
 * a million trees that are due holds up no other's.
 *
 * Who leaves is decided by a hand that goes round the records, some at each commit: first go those
 * that sleep for an hour at least, a round later those for a quarter of it, and so on; so those due
 * soonest stay, roughly, and what is due within seconds never goes. Once it has begun it goes on
 * till there is some room to spare, so that trees do not come and go one by one. A tree that is due
 * and finds no room is first in line for what becomes free; if no tree is favoured (stall.c), it
 * comes in all the same, and is.
 */
#include <stdlib.h>

#include "engine/internal.h"

#define SWEEP_RECORDS 4096              /* looked at in one go */
#define SLEEP_NS      (3600 * NS_PER_S) /* who leaves in the first round */
#define ROUNDS        6                 /* each for a quarter of the one before */
#define REST_CALLS    100000            /* after rounds in vain: a second for so many records */
#define SHARE         4                 /* no tree leaves that is more than 1/SHARE of it all */

struct swapped {
    struct heap_node wake; /* in org->asleep; HEAP_NONE: it is being fetched */
    uint64_t root;
    struct org *org; /* NULL while it is loaded: its root's row is still to come */
    uint32_t calls;
    uint32_t needs; /* as a call's: it is fetched once that commit is confirmed */
};
_Static_assert(sizeof(struct swapped) == 40, "and its places in the table and the heap");

static struct swapped *first_asleep(const struct org *o)
{
    struct heap_node *n = heap_min(&o->asleep);

    return n ? LIST_ENTRY(n, struct swapped, wake) : NULL;
}

static struct org *first_org(const struct engine *e)
{
    struct heap_node *n = heap_min(&e->asleep);

    return n ? LIST_ENTRY(n, struct org, wake) : NULL;
}

/* To where it belongs by the first of its trees. */
static void org_sleeps(struct engine *e, struct org *o)
{
    const struct swapped *s = first_asleep(o);

    if (!s)
        list_remove(&o->crowded);
    if (!s || !list_empty(&o->crowded))
        heap_remove(&e->asleep, &o->wake);
    else if (o->wake.index == HEAP_NONE || o->wake.key != s->wake.key)
        heap_set(&e->asleep, &o->wake, s->wake.key);
}

bool tree_is_out(const struct engine *e, uint64_t root)
{
    return map_get(&e->swapped, root) != NULL;
}

/* False: no memory. */
static bool swapped_join(struct engine *e, struct swapped *s, struct org *o)
{
    /* There is a place for each organization, as those in `crowded` come back. */
    if (!heap_reserve(&o->asleep, 1) || !heap_reserve(&e->asleep, e->org_by_name.len))
        return false;
    s->org = o;
    o->refs++;
    heap_set(&o->asleep, &s->wake, s->wake.key);
    org_sleeps(e, o);
    return true;
}

/* NULL: no memory. */
static struct swapped *swapped_add(struct engine *e, uint64_t root, uint32_t calls, int64_t wake)
{
    struct swapped *s = malloc(sizeof *s);

    if (!s || !map_set(&e->swapped, root, s)) {
        free(s);
        return NULL;
    }
    *s = (struct swapped){.root = root, .calls = calls};
    heap_node_init(&s->wake);
    s->wake.key = wake;
    e->swapped_calls += calls;
    return s;
}

static void swapped_remove(struct engine *e, struct swapped *s)
{
    map_remove(&e->swapped, s->root);
    if (s->org) {
        heap_remove(&s->org->asleep, &s->wake);
        org_sleeps(e, s->org);
        org_unref(e, s->org);
    }
    e->swapped_calls -= s->calls;
    free(s);
}

void swapped_free(struct engine *e)
{
    uint32_t pos = 0;
    struct swapped *s;

    while ((s = map_next(&e->swapped, &pos, NULL)))
        free(s);
    map_free(&e->swapped);
    heap_free(&e->asleep);
}

/* --- leaving ---------------------------------------------------------------------------------- */

struct survey {
    uint64_t *ids; /* NULL: they are only counted */
    uint32_t calls, max;
    int64_t wake;
};

/* Nothing is lost of it if its row is all there is. */
static bool only_waits(const struct engine *e, const struct call *c)
{
    bool waits = c->state == CALL_WAITING || (c->state == CALL_SUSPENDED && !c->stalled);

    return waits && c->stored && !c->dirty && !c->results_cut && !call_is_held(e, c);
}

static void survey_call(const struct engine *e, const struct call *c, struct survey *s)
{
    int64_t due = timer_key(e, c);
    const struct call *end = call_at(e, c->inbox);

    if (due < s->wake)
        s->wake = due;
    if (s->ids)
        s->ids[s->calls] = c->id;
    s->calls++;
    for (; end; end = ring_after(e, c->inbox, (struct call *)(uintptr_t)end, RING_SIBLING)) {
        if (s->ids)
            s->ids[s->calls] = end->id;
        s->calls++;
    }
}

/* Walks the tree; false as soon as there is one that does more than wait, or too many. */
static bool survey_tree(const struct engine *e, struct call *root, struct survey *s)
{
    struct call *c = root, *next;

    s->calls = 0;
    s->wake = INT64_MAX;
    for (;;) {
        if (!only_waits(e, c) || s->calls + 1 + c->inbox_count > s->max)
            return false;
        survey_call(e, c, s);
        next = call_at(e, c->children);
        while (!next && c != root) {
            struct call *parent = call_at(e, c->parent);

            next = ring_after(e, parent->children, c, RING_SIBLING);
            c = parent;
        }
        if (!next)
            return true;
        c = next;
    }
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool put_tree(struct engine *e, uint64_t root, const struct survey *s)
{
    buf_reset(&e->scratch);
    tree_encode(&e->scratch, root, s->wake, s->ids, s->calls);
    return !e->scratch.failed &&
           batch_put(&e->open->batch, TABLE_META, root, META_TREE, buf_slice(&e->scratch));
}

/* Only the record goes; the row stays. */
static void drop(struct engine *e, struct call *c)
{
    struct call *parent = call_at(e, c->parent);

    call_stop_timer(e, c);
    if (parent)
        ring_remove(e, c->state == CALL_DONE ? &parent->inbox : &parent->children, c, RING_SIBLING);
    call_count(e, c, c->state, CALL_STATES);
    call_delete(e, c);
    call_free(e, c);
}

static void leave(struct engine *e, struct call *root, struct survey *s)
{
    uint64_t id = root->id;
    struct swapped *out;

    s->ids = malloc(s->calls * sizeof *s->ids);
    if (!s->ids)
        return; /* it stays */
    survey_tree(e, root, s);
    qsort(s->ids, s->calls, sizeof *s->ids, by_number);
    out = swapped_add(e, id, s->calls, MUTATION(13) ? TIME_NEVER : s->wake);
    if (out && (!swapped_join(e, out, call_org(root)) || !put_tree(e, id, s))) {
        swapped_remove(e, out);
        out = NULL;
    }
    if (out) {
        out->needs = (uint32_t)e->open->number;
        if (e->favoured_root == id)
            e->favoured = 0;
        for (uint32_t i = s->calls; i-- > 0;) /* children have higher numbers than their parents */
            drop(e, call_find(e, s->ids[i]));
        e->stats.swapped_out++;
    }
    free(s->ids);
}

static bool has_room(const struct engine *e, uint64_t calls)
{
    return e->call_count + e->growing + calls <= e->config.live_max;
}

/* Trees that are due, and have no room. */
static bool some_are_crowded(const struct engine *e)
{
    LIST_FOR_EACH (it, tmp, &e->crowded) {
        const struct org *o = LIST_ENTRY(it, struct org, crowded);

        if (!org_has_room(e, o, first_asleep(o)->calls, ROOM_TREES))
            return true;
    }
    return false;
}

/* What is to be done needs more room than there is; or there will soon be none. */
static bool wants_room(struct engine *e)
{
    uint32_t most = e->config.live_max;

    if (has_room(e, most / 10 * 3 + 1))
        e->making_room = false;
    else if (!has_room(e, most / 10 * 2))
        e->making_room = true;
    return e->making_room || some_are_crowded(e) || !stall_fits(e);
}

static void sweep(struct engine *e, int64_t now)
{
    struct survey s = {.max = e->config.live_max / SHARE};
    struct call *c;

    e->sweeping = wants_room(e);
    if (!e->sweeping || now < e->sweep_rest)
        return;
    for (uint32_t looked = 0; e->sweeping && looked < SWEEP_RECORDS; looked += s.calls + 1) {
        s.calls = 0;
        c = call_next(e, &e->sweep_hand);
        if (!c) {
            e->sweep_hand = 0;
            if (++e->sweep_round < ROUNDS)
                continue;
            e->sweep_rest = time_add(now, (1 + e->call_count / REST_CALLS) * NS_PER_S);
            break;
        }
        if (c->root_id != c->id || c->loose || c->state == CALL_DONE)
            continue;
        s.ids = NULL;
        if (!survey_tree(e, c, &s) || s.wake < time_add(now, SLEEP_NS >> (2 * e->sweep_round)))
            continue;
        leave(e, c, &s);
        e->sweeping = wants_room(e);
    }
    if (!e->sweeping || e->sweep_rest > now)
        e->sweep_round = 0;
}

/* --- coming back ------------------------------------------------------------------------------ */

static bool is_held(const struct engine *e, const struct swapped *s)
{
    return s->needs == (uint32_t)e->open->number ||
           (e->flight && s->needs == (uint32_t)e->flight->number);
}

static bool may_come(const struct engine *e, const struct swapped *s)
{
    return org_has_room(e, s->org, s->calls, ROOM_TREES) || (!e->growing && !stall_is_favoured(e));
}

static void fetch(struct engine *e, struct swapped *s)
{
    heap_remove(&s->org->asleep, &s->wake);
    org_sleeps(e, s->org);
    e->growing += s->calls;
    s->org->calls += s->calls;
    engine_emit(e, &(struct engine_effect){.kind = ENGINE_FETCH_TREE, .call = s->root});
}

/* Organizations whose first tree is due and may not come yet stand aside, so that those behind them
 * have their turn; and are asked again at the next step. */
static void fetch_due(struct engine *e, int64_t now)
{
    struct org *o;

    LIST_FOR_EACH (it, tmp, &e->crowded) {
        list_remove(it);
        org_sleeps(e, LIST_ENTRY(it, struct org, crowded));
    }
    while ((o = first_org(e)) && o->wake.key <= now) {
        struct swapped *s = first_asleep(o);

        if (!is_held(e, s) && may_come(e, s)) {
            fetch(e, s);
        } else {
            list_append(&e->crowded, &o->crowded);
            org_sleeps(e, o);
        }
    }
}

bool engine_wake_tree(struct engine *e, uint64_t root)
{
    struct swapped *s = map_get(&e->swapped, root);

    if (s && s->wake.index != HEAP_NONE) {
        heap_set(&s->org->asleep, &s->wake, INT64_MIN);
        org_sleeps(e, s->org);
    }
    return s;
}

void swaps_step(struct engine *e, int64_t now)
{
    if (e->failed)
        return;
    sweep(e, now);
    fetch_due(e, now);
}

bool engine_tree_due(const struct engine *e, uint64_t root, int64_t *due)
{
    const struct swapped *s = map_get(&e->swapped, root);

    if (s)
        *due = s->wake.key;
    return s;
}

void swaps_check(const struct engine *e)
{
    uint32_t pos = 0, asleep = 0, slots = 0, orgs = 0;
    uint64_t calls = 0, root;
    const struct swapped *s;
    const struct org *o;

    while ((s = map_next(&e->swapped, &pos, &root))) {
        assert(s->root == root && s->calls > 0 && !call_find(e, root));
        asleep += s->wake.index != HEAP_NONE;
        calls += s->calls;
    }
    pos = 0;
    while ((o = map_next(&e->org_by_name, &pos, NULL))) {
        slots += o->asleep.len;
        orgs += o->wake.index != HEAP_NONE;
        assert((o->asleep.len > 0) == (o->wake.index != HEAP_NONE || !list_empty(&o->crowded)));
    }
    assert(calls == e->swapped_calls && asleep == slots && orgs == e->asleep.len);
}

static int64_t org_due(const struct engine *e, const struct org *o)
{
    const struct swapped *s = first_asleep(o);

    if (is_held(e, s))
        return TIME_NEVER; /* the commit comes first */
    return may_come(e, s) || s->wake.key > e->sweep_rest ? s->wake.key : e->sweep_rest;
}

int64_t swaps_next_due(const struct engine *e)
{
    const struct org *first = first_org(e);
    int64_t due = first ? org_due(e, first) : TIME_NEVER;

    LIST_FOR_EACH (it, tmp, &e->crowded) {
        int64_t other = org_due(e, LIST_ENTRY(it, struct org, crowded));

        due = other < due ? other : due;
    }
    return !stall_fits(e) && e->sweep_rest < due ? e->sweep_rest : due;
}

/* Its calls go on from their rows. CODE_DATA_LOSS, and what a load may end with. */
static int come_back(struct engine *e, int64_t now, uint64_t root,
                     const struct engine_tree_call *calls, size_t count, struct error *err)
{
    struct swapped *s = map_get(&e->swapped, root);

    if (count != s->calls)
        return error_set(err, CODE_DATA_LOSS, "tree %llu has %zu calls instead of %u",
                         (unsigned long long)root, count, s->calls);
    swapped_remove(e, s);
    engine_delete(e, TABLE_META, root, META_TREE);
    e->stats.swapped_in++;
    return load_tree(e, now, calls, count, err);
}

void engine_tree_fetched(struct engine *e, int64_t now, uint64_t root,
                         const struct engine_tree_call *calls, size_t count,
                         const struct error *failure)
{
    struct swapped *s = map_get(&e->swapped, root);
    uint64_t before = e->call_count;
    struct error err;
    bool lend;

    if (e->failed)
        return;
    assert(s && s->wake.index == HEAP_NONE && e->growing >= s->calls);
    e->now = now;
    e->growing -= s->calls;
    s->org->calls -= s->calls;
    lend = !org_has_room(e, s->org, s->calls, ROOM_TREES) && !stall_is_favoured(e);
    if (failure || come_back(e, now, root, calls, count, &err)) {
        engine_fail(e); /* it is asked for again when the partition is loaded */
        return;
    }
    if (lend) {
        e->favoured = e->favoured_root = root;
        e->lent = e->call_count - before;
    }
    engine_emit(e, &(struct engine_effect){.kind = ENGINE_AWAKE, .call = root});
    calls_tick(e, now); /* and no looking for who may leave: it was wanted just now */
    engine_pump(e);
}

int engine_load_tree(struct engine *e, uint64_t root, struct slice value, struct error *err)
{
    struct tree_row tree;
    int code = tree_decode(value, root, &tree, err);

    if (code)
        return code;
    return swapped_add(e, root, tree.calls, tree.wake) ? CODE_OK : error_memory(err);
}

int swaps_load_root(struct engine *e, const struct engine_row *r, struct error *err)
{
    struct swapped *s = map_get(&e->swapped, r->id);
    struct org *o;
    bool joined;

    if (!s)
        return CODE_OK; /* another call of the tree */
    o = org_of_name(e, r->org);
    joined = o && swapped_join(e, s, o);
    if (o)
        org_unref(e, o);
    return joined ? CODE_OK : error_memory(err);
}

int swaps_loaded(const struct engine *e, struct error *err)
{
    uint32_t pos = 0;
    const struct swapped *s;

    while ((s = map_next(&e->swapped, &pos, NULL)))
        if (!s->org)
            return error_set(err, CODE_DATA_LOSS, "tree %llu has no root",
                             (unsigned long long)s->root);
    return CODE_OK;
}
