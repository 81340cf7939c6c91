// SPDX-License-Identifier: Apache-2.0
/*
 * Linear probing in a power of two of slots, at most 7 in 10 of them taken. Keys are mixed first,
 * as ours are mostly consecutive numbers. A removal shifts the run behind it back by one, so there
 * are no tombstones and a table that lives for months stays as quick as a new one.
 */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>

#define CAP_FIRST UINT32_C(16)
#define CAP_LAST  (UINT32_C(1) << 31)

/* The finaliser of splitmix64: every bit of the key moves every bit of the result. */
static inline uint32_t home_of(uint64_t key, uint32_t mask)
{
    key = (key ^ key >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ key >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(key ^ key >> 31) & mask;
}

/* The slot of the key, or the free one where it would go. The map has slots, and a free one. */
static inline struct map_slot *find(const struct map *m, uint64_t key)
{
    uint32_t mask = m->cap - 1;
    uint32_t i = home_of(key, mask);

    while (m->slots[i].value && m->slots[i].key != key)
        i = (i + 1) & mask;
    return &m->slots[i];
}

static inline bool fits(uint64_t len, uint64_t cap)
{
    return len * 10 <= cap * 7;
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_free(struct map *m)
{
    free(m->slots);
    map_init(m);
}

static bool resize(struct map *m, uint32_t cap)
{
    struct map bigger = {.len = m->len, .cap = cap};

    bigger.slots = calloc(cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (uint32_t i = 0; i < m->cap; i++)
        if (m->slots[i].value)
            *find(&bigger, m->slots[i].key) = m->slots[i];
    free(m->slots);
    *m = bigger;
    return true;
}

bool map_reserve(struct map *m, uint32_t extra)
{
    uint64_t len = (uint64_t)m->len + extra;
    uint32_t cap = m->cap ? m->cap : CAP_FIRST;

    if (fits(len, m->cap))
        return true;
    if (!fits(len, CAP_LAST))
        return false;
    while (!fits(len, cap))
        cap *= 2;
    return resize(m, cap);
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->len ? find(m, key)->value : NULL;
}

bool map_set(struct map *m, uint64_t key, void *value)
{
    struct map_slot *slot;

    assert(value);
    slot = m->cap ? find(m, key) : NULL;
    if (!slot || !slot->value) {
        if (!fits((uint64_t)m->len + 1, m->cap)) {
            if (!map_reserve(m, 1))
                return false;
            slot = find(m, key);
        }
        m->len++;
    }
    *slot = (struct map_slot){.key = key, .value = value};
    return true;
}

void *map_remove(struct map *m, uint64_t key)
{
    uint32_t mask = m->cap - 1, hole, i;
    struct map_slot *slot;
    void *value;

    if (m->len == 0)
        return NULL;
    slot = find(m, key);
    value = slot->value;
    if (!value)
        return NULL;
    hole = (uint32_t)(slot - m->slots);
    for (i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        uint32_t home = home_of(m->slots[i].key, mask);

        /* It may move back to the hole unless its home lies behind the hole. */
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (struct map_slot){0};
    m->len--;
    return value;
}

void *map_next(const struct map *m, uint32_t *pos, uint64_t *key)
{
    while (*pos < m->cap) {
        const struct map_slot *slot = &m->slots[(*pos)++];

        if (!slot->value)
            continue;
        if (key)
            *key = slot->key;
        return slot->value;
    }
    return NULL;
}

void atoms_init(struct atoms *t)
{
    *t = (struct atoms){0};
    map_init(&t->map);
}

void atoms_free(struct atoms *t)
{
    uint32_t pos = 0;
    struct atom *a;

    while ((a = map_next(&t->map, &pos, NULL)) != NULL) {
        while (a) {
            struct atom *next = a->chain;

            free(a);
            a = next;
        }
    }
    map_free(&t->map);
    atoms_init(t);
}

struct atom *atom_get(struct atoms *t, struct slice text)
{
    uint64_t hash = slice_hash(text, 0);
    struct atom *first = map_get(&t->map, hash), *a;

    for (a = first; a; a = a->chain)
        if (slice_eq(atom_slice(a), text))
            return atom_ref(a);
    if (text.len >= UINT32_MAX - sizeof *a)
        return NULL;
    a = malloc(sizeof *a + text.len + 1);
    if (!a)
        return NULL;
    *a = (struct atom){.refs = 1, .len = (uint32_t)text.len, .hash = hash, .chain = first};
    if (text.len)
        memcpy(a->text, text.data, text.len);
    a->text[text.len] = '\0';
    if (!map_set(&t->map, hash, a)) {
        free(a);
        return NULL;
    }
    t->count++;
    return a;
}

struct atom *atom_ref(struct atom *a)
{
    if (a) {
        assert(a->refs > 0 && a->refs < UINT32_MAX);
        a->refs++;
    }
    return a;
}

void atom_unref(struct atoms *t, struct atom *a)
{
    struct atom *it;

    if (!a)
        return;
    assert(a->refs > 0);
    if (--a->refs > 0)
        return;
    it = map_get(&t->map, a->hash);
    assert(it);
    if (it == a && a->chain) {
        map_set(&t->map, a->hash, a->chain); /* replaces: cannot fail */
    } else if (it == a) {
        map_remove(&t->map, a->hash);
    } else {
        while (it->chain != a) {
            it = it->chain;
            assert(it);
        }
        it->chain = a->chain;
    }
    t->count--;
    free(a);
}
