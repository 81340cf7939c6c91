// SPDX-License-Identifier: Apache-2.0
/*
 * The records of calls, which are most of the memory of a server full of calls that sleep. So they
 * are small and refer to each other by 32-bit indices: into a pool of chunks that never move, so
 * that a pointer to a record is good as long as its call is there.
 *
 * On the pool stand the table that finds a call by its id, whose chains go through the records; the
 * rings that records are linked in (children, inboxes, queues); and the heap of timers. Names are
 * shared: calls of one organization, function, endpoint and version have one target.
 */
#include <stdlib.h>

#include "engine/internal.h"

#define CHUNK_BITS   8
#define CHUNK_CALLS  (1u << CHUNK_BITS)
#define BUCKETS_MIN  256
#define TIMERS_MIN   64
#define TIMERS_ARITY 4

struct call_chunk {
    struct call calls[CHUNK_CALLS];
};

struct timer_slot {
    int64_t key;
    uint32_t call;
};

/* --- the pool --------------------------------------------------------------------------------- */

struct call *call_at(const struct engine *e, uint32_t index)
{
    return index ? &e->chunks[index >> CHUNK_BITS]->calls[index & (CHUNK_CALLS - 1)] : NULL;
}

/* A chunk more; index 0 is nobody's. */
static bool pool_grow(struct engine *e)
{
    uint32_t first = e->chunk_count << CHUNK_BITS;
    struct call_chunk **chunks, *chunk;

    if (e->chunk_count == UINT32_MAX >> CHUNK_BITS)
        return false;
    if (e->chunk_count == e->chunk_cap) {
        uint32_t cap = e->chunk_cap ? 2 * e->chunk_cap : 16;

        chunks = realloc(e->chunks, cap * sizeof *chunks);
        if (!chunks)
            return false;
        e->chunks = chunks;
        e->chunk_cap = cap;
    }
    chunk = malloc(sizeof *chunk);
    if (!chunk)
        return false;
    e->chunks[e->chunk_count++] = chunk;
    for (uint32_t i = CHUNK_CALLS; i-- > (first ? 0 : 1);) { /* the lowest is taken first */
        chunk->calls[i] = (struct call){.self = first + i, .chain = e->pool_free};
        e->pool_free = first + i;
    }
    return true;
}

struct call *call_new(struct engine *e)
{
    struct call *c;

    if (!e->pool_free && !pool_grow(e))
        return NULL;
    c = call_at(e, e->pool_free);
    e->pool_free = c->chain;
    *c = (struct call){.self = c->self, .due = TIME_NEVER, .state = CALL_STATES};
    return c;
}

void call_free(struct engine *e, struct call *c)
{
    assert(!c->timer && !c->children && !c->inbox && !c->sibling.next && !c->queue.next);
    if (c->target)
        target_unref(e, c->target);
    *c = (struct call){.self = c->self, .chain = e->pool_free};
    e->pool_free = c->self;
}

struct call *call_next(const struct engine *e, uint32_t *pos)
{
    uint32_t end = e->chunk_count << CHUNK_BITS;

    while (++*pos < end) {
        struct call *c = call_at(e, *pos);

        if (c->id)
            return c;
    }
    return NULL;
}

void records_free(struct engine *e)
{
    for (uint32_t i = 0; i < e->chunk_count; i++)
        free(e->chunks[i]);
    free(e->chunks);
    free(e->buckets);
    free(e->timers);
}

/* --- the table -------------------------------------------------------------------------------- */

/* Ids are numbers in a row: the low bits spread them. */
static uint32_t *bucket_of(const struct engine *e, uint64_t id)
{
    return &e->buckets[id & (e->bucket_count - 1)];
}

static bool table_resize(struct engine *e, uint32_t count)
{
    uint32_t *old = e->buckets, old_count = e->bucket_count;
    uint32_t *buckets = calloc(count, sizeof *buckets);

    if (!buckets)
        return false;
    e->buckets = buckets;
    e->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        uint32_t index = old[i];

        while (index) {
            struct call *c = call_at(e, index);
            uint32_t *bucket = bucket_of(e, c->id);

            index = c->chain;
            c->chain = *bucket;
            *bucket = c->self;
        }
    }
    free(old);
    return true;
}

bool calls_reserve(struct engine *e, size_t extra)
{
    uint64_t need = (uint64_t)e->call_count + extra;
    uint64_t count = e->bucket_count ? e->bucket_count : BUCKETS_MIN;

    if (need >= UINT32_MAX / 2)
        return false;
    while (count < need)
        count *= 2;
    return count == e->bucket_count || table_resize(e, (uint32_t)count);
}

struct call *call_find(const struct engine *e, uint64_t id)
{
    struct call *c = e->call_count ? call_at(e, *bucket_of(e, id)) : NULL;

    while (c && c->id != id)
        c = call_at(e, c->chain);
    return c;
}

void call_insert(struct engine *e, struct call *c)
{
    uint32_t *bucket = bucket_of(e, c->id);

    c->chain = *bucket;
    *bucket = c->self;
    e->call_count++;
}

void call_delete(struct engine *e, struct call *c)
{
    uint32_t *at = bucket_of(e, c->id);

    while (*at != c->self) {
        assert(*at);
        at = &call_at(e, *at)->chain;
    }
    *at = c->chain;
    e->call_count--;
    if (e->lent && c->root_id == e->favoured_root)
        e->lent--;
}

/* --- rings ------------------------------------------------------------------------------------ */

static struct link *link_of(struct call *c, enum ring ring)
{
    return ring == RING_SIBLING ? &c->sibling : &c->queue;
}

void ring_append(struct engine *e, uint32_t *head, struct call *c, enum ring ring)
{
    struct link *link = link_of(c, ring), *first, *last;

    assert(!link->next);
    if (!*head) {
        *link = (struct link){c->self, c->self};
        *head = c->self;
        return;
    }
    first = link_of(call_at(e, *head), ring);
    last = link_of(call_at(e, first->prev), ring);
    *link = (struct link){.next = *head, .prev = first->prev};
    last->next = c->self;
    first->prev = c->self;
}

void ring_remove(struct engine *e, uint32_t *head, struct call *c, enum ring ring)
{
    struct link *link = link_of(c, ring);

    assert(*head && link->next);
    link_of(call_at(e, link->prev), ring)->next = link->next;
    link_of(call_at(e, link->next), ring)->prev = link->prev;
    if (*head == c->self)
        *head = link->next == c->self ? 0 : link->next;
    *link = (struct link){0};
}

struct call *ring_pop(struct engine *e, uint32_t *head, enum ring ring)
{
    struct call *c = call_at(e, *head);

    if (c)
        ring_remove(e, head, c, ring);
    return c;
}

struct call *ring_after(const struct engine *e, uint32_t head, struct call *c, enum ring ring)
{
    uint32_t next = link_of(c, ring)->next;

    return next == head ? NULL : call_at(e, next);
}

/* --- timers: a 4-ary heap, the older call first at equal times -------------------------------- */

bool timers_reserve(struct engine *e, size_t extra)
{
    uint64_t need = (uint64_t)e->timer_count + extra + 1; /* slot 0 is not used */
    uint64_t cap = e->timer_cap ? e->timer_cap : TIMERS_MIN;
    struct timer_slot *slots;

    if (need <= e->timer_cap)
        return true;
    while (cap < need)
        cap += cap / 4; /* not twice: most of it is there for years */
    if (cap >= UINT32_MAX)
        return false;
    slots = realloc(e->timers, (size_t)cap * sizeof *slots);
    if (!slots)
        return false;
    e->timers = slots;
    e->timer_cap = (uint32_t)cap;
    return true;
}

static bool timer_before(const struct engine *e, const struct timer_slot *a,
                         const struct timer_slot *b)
{
    return a->key != b->key ? a->key < b->key : call_at(e, a->call)->id < call_at(e, b->call)->id;
}

static void timer_place(struct engine *e, uint32_t at, struct timer_slot slot)
{
    e->timers[at] = slot;
    call_at(e, slot.call)->timer = at;
}

/* Slots count from 1: the children of `at` are 4at - 2 to 4at + 1. */
static uint32_t timer_parent(uint32_t at)
{
    return (at - 2) / TIMERS_ARITY + 1;
}

/* Puts the slot where it belongs, `at` being a hole. */
static void timer_sift(struct engine *e, uint32_t at, struct timer_slot slot)
{
    while (at > 1 && timer_before(e, &slot, &e->timers[timer_parent(at)])) {
        timer_place(e, at, e->timers[timer_parent(at)]);
        at = timer_parent(at);
    }
    for (;;) {
        uint64_t child = (uint64_t)at * TIMERS_ARITY - 2, end = child + TIMERS_ARITY;
        uint32_t least = (uint32_t)child;

        if (child > e->timer_count)
            break;
        for (child++; child < end && child <= e->timer_count; child++)
            if (timer_before(e, &e->timers[child], &e->timers[least]))
                least = (uint32_t)child;
        if (!timer_before(e, &e->timers[least], &slot))
            break;
        timer_place(e, at, e->timers[least]);
        at = least;
    }
    timer_place(e, at, slot);
}

void call_set_timer(struct engine *e, struct call *c)
{
    if (!c->timer) {
        assert(e->timer_count + 1 < e->timer_cap);
        c->timer = ++e->timer_count;
    }
    timer_sift(e, c->timer, (struct timer_slot){call_timer(c), c->self});
}

void call_stop_timer(struct engine *e, struct call *c)
{
    uint32_t hole = c->timer;
    struct timer_slot last;

    if (!hole)
        return;
    c->timer = 0;
    last = e->timers[e->timer_count--];
    if (last.call != c->self)
        timer_sift(e, hole, last);
}

struct call *timers_first(const struct engine *e)
{
    return e->timer_count ? call_at(e, e->timers[1].call) : NULL;
}

int64_t timer_key(const struct engine *e, const struct call *c)
{
    return e->timers[c->timer].key;
}

/* --- targets ---------------------------------------------------------------------------------- */

static struct target *target_new(struct engine *e, struct atom *key, const struct target_names *n)
{
    struct target *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->key = key;
    t->org = atom_get(&e->atoms, n->org);
    t->function = atom_get(&e->atoms, n->function);
    t->endpoint = atom_get(&e->atoms, n->endpoint);
    t->version = atom_get(&e->atoms, n->version);
    if (t->org && t->function && t->endpoint && t->version)
        t->group = group_get(e, t->org, t->endpoint);
    if (t->function)
        t->tally = tally_get(e, t->function);
    if (t->group && map_set(&e->target_by_key, (uintptr_t)key, t)) {
        group_ref(t->group);
        return t;
    }
    atom_unref(&e->atoms, t->org);
    atom_unref(&e->atoms, t->function);
    atom_unref(&e->atoms, t->endpoint);
    atom_unref(&e->atoms, t->version);
    free(t);
    return NULL;
}

struct target *target_get(struct engine *e, const struct target_names *n)
{
    struct atom *key;
    struct target *t;

    buf_reset(&e->scratch);
    buf_put_bytes(&e->scratch, n->org);
    buf_put_bytes(&e->scratch, n->function);
    buf_put_bytes(&e->scratch, n->endpoint);
    buf_put_bytes(&e->scratch, n->version);
    if (e->scratch.failed)
        return NULL;
    key = atom_get(&e->atoms, buf_slice(&e->scratch));
    if (!key)
        return NULL;
    t = map_get(&e->target_by_key, (uintptr_t)key);
    if (t)
        atom_unref(&e->atoms, key);
    else if (!(t = target_new(e, key, n)))
        atom_unref(&e->atoms, key);
    if (t)
        t->refs++;
    return t;
}

void target_unref(struct engine *e, struct target *t)
{
    assert(t->refs > 0);
    if (--t->refs > 0)
        return;
    map_remove(&e->target_by_key, (uintptr_t)t->key);
    group_unref(e, t->group);
    atom_unref(&e->atoms, t->key);
    atom_unref(&e->atoms, t->org);
    atom_unref(&e->atoms, t->function);
    atom_unref(&e->atoms, t->endpoint);
    atom_unref(&e->atoms, t->version);
    free(t);
}

void targets_free(struct engine *e)
{
    uint32_t pos = 0;
    struct target *t;

    while ((t = map_next(&e->target_by_key, &pos, NULL)))
        free(t);
    map_free(&e->target_by_key);
}
