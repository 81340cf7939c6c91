// SPDX-License-Identifier: Apache-2.0
/*
 * The order (key, seq) stands in the slots themselves, so that a comparison touches only the array;
 * a node is written to when its slot moves. The children of slot i are 4i + 1 to 4i + 4.
 */
#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

enum { ARITY = 4, CAP_FIRST = 64 };

struct heap_slot {
    int64_t key;
    uint64_t seq;
    struct heap_node *node;
};

void heap_init(struct heap *h)
{
    *h = (struct heap){0};
}

void heap_free(struct heap *h)
{
    free(h->slots);
    heap_init(h);
}

bool heap_reserve(struct heap *h, uint32_t extra)
{
    struct heap_slot *slots;
    uint64_t cap = h->cap ? h->cap : CAP_FIRST;
    uint64_t need = (uint64_t)h->len + extra;

    if (need <= h->cap)
        return true;
    if (need >= HEAP_NONE)
        return false;
    while (cap < need)
        cap *= 2;
    if (cap >= HEAP_NONE)
        cap = HEAP_NONE - 1;
    if (cap > SIZE_MAX / sizeof *slots)
        return false;
    slots = realloc(h->slots, (size_t)cap * sizeof *slots);
    if (!slots)
        return false;
    h->slots = slots;
    h->cap = (uint32_t)cap;
    return true;
}

static inline bool before(const struct heap_slot *a, const struct heap_slot *b)
{
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static inline void place(struct heap *h, uint32_t index, struct heap_slot slot)
{
    h->slots[index] = slot;
    slot.node->index = index;
}

/* Puts `slot` where it belongs, `index` being a hole that it may move up from. */
static void sift_up(struct heap *h, uint32_t index, struct heap_slot slot)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / ARITY;

        if (!before(&slot, &h->slots[parent]))
            break;
        place(h, index, h->slots[parent]);
        index = parent;
    }
    place(h, index, slot);
}

/* The same, downwards. */
static void sift_down(struct heap *h, uint32_t index, struct heap_slot slot)
{
    for (;;) {
        uint64_t first = (uint64_t)index * ARITY + 1;
        uint64_t last = first + ARITY < h->len ? first + ARITY : h->len;
        uint32_t least;

        if (first >= h->len)
            break;
        least = (uint32_t)first;
        for (uint32_t child = least + 1; child < last; child++)
            if (before(&h->slots[child], &h->slots[least]))
                least = child;
        if (!before(&h->slots[least], &slot))
            break;
        place(h, index, h->slots[least]);
        index = least;
    }
    place(h, index, slot);
}

static void fill(struct heap *h, uint32_t hole, struct heap_slot slot)
{
    if (hole > 0 && before(&slot, &h->slots[(hole - 1) / ARITY]))
        sift_up(h, hole, slot);
    else
        sift_down(h, hole, slot);
}

void heap_set(struct heap *h, struct heap_node *n, int64_t key)
{
    struct heap_slot slot = {.key = key, .seq = h->seq++, .node = n};

    n->key = key;
    if (n->index == HEAP_NONE) {
        assert(h->len < h->cap);
        sift_up(h, h->len++, slot);
        return;
    }
    assert(n->index < h->len && h->slots[n->index].node == n);
    fill(h, n->index, slot);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    uint32_t hole = n->index;
    struct heap_slot last;

    if (hole == HEAP_NONE)
        return;
    assert(hole < h->len && h->slots[hole].node == n);
    n->index = HEAP_NONE;
    last = h->slots[--h->len];
    if (hole < h->len)
        fill(h, hole, last);
}

struct heap_node *heap_min(const struct heap *h)
{
    return h->len ? h->slots[0].node : NULL;
}
