// SPDX-License-Identifier: Apache-2.0
/*
 * A 4-ary min-heap of intrusive nodes, for timers. Equal keys come out in the order of `seq`, which
 * the heap gives out at insertion, so that the same history comes out in the same order.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NONE UINT32_MAX

struct heap_node {
    int64_t key;
    uint32_t index; /* HEAP_NONE: in no heap */
};

struct heap_slot;

struct heap {
    struct heap_slot *slots;
    uint32_t len, cap;
    uint64_t seq;
};

void heap_init(struct heap *h);
void heap_free(struct heap *h); /* the nodes are the caller's */
static inline void heap_node_init(struct heap_node *n)
{
    n->key = 0;
    n->index = HEAP_NONE;
}

/* Makes room for `extra` more nodes, so that as many insertions cannot fail; false: no memory. */
bool heap_reserve(struct heap *h, uint32_t extra);
/* Inserts, or moves if it is in already: then it stands behind those of an equal key, as if removed
 * and inserted again. There must be room (heap_reserve). */
void heap_set(struct heap *h, struct heap_node *n, int64_t key);
void heap_remove(struct heap *h, struct heap_node *n); /* harmless if it is in none */
/* The node with the least key, left in; NULL if empty. */
struct heap_node *heap_min(const struct heap *h);

#endif
