// SPDX-License-Identifier: Apache-2.0
/*
 * The cache of recent rows. Most payloads are wanted within milliseconds of their commit: the input
 * by the first run, the result by the parent, the state by the resume. What was committed is kept
 * until it is deleted or pushed out; whoever misses it reads the store.
 *
 * An entry is always what is committed: it changes when a batch is confirmed, and all of it is
 * forgotten when a commit's outcome is unknown. An insertion that fails for want of memory leaves
 * nothing there, never the old row.
 */
#include <assert.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

struct cache_entry {
    struct list recent;
    enum cache_kind kind;
    uint64_t slot;
    struct blob *blob;
};

/* What an entry costs beside its bytes, roughly. */
enum { ENTRY_OVERHEAD = sizeof(struct cache_entry) + sizeof(struct blob) + 48 };

static uint64_t slot_of(uint64_t key, uint32_t sub)
{
    assert(key <= KEY_MAX && sub <= SUB_MAX);
    return key << 20 | sub;
}

static size_t cost_of(const struct blob *blob)
{
    return blob->len + ENTRY_OVERHEAD;
}

void cache_init(struct cache *c, size_t max)
{
    *c = (struct cache){.max = max};
    list_init(&c->recent);
    for (unsigned k = 0; k < CACHE_KINDS; k++)
        map_init(&c->maps[k]);
}

static void forget(struct cache *c, struct cache_entry *e)
{
    map_remove(&c->maps[e->kind], e->slot);
    list_remove(&e->recent);
    assert(c->bytes >= cost_of(e->blob));
    c->bytes -= cost_of(e->blob);
    blob_unref(e->blob);
    free(e);
}

void cache_clear(struct cache *c)
{
    while (!list_empty(&c->recent))
        forget(c, LIST_ENTRY(c->recent.next, struct cache_entry, recent));
    assert(c->bytes == 0);
}

void cache_free(struct cache *c)
{
    cache_clear(c);
    for (unsigned k = 0; k < CACHE_KINDS; k++)
        map_free(&c->maps[k]);
}

void cache_drop(struct cache *c, enum cache_kind kind, uint64_t key, uint32_t sub)
{
    struct cache_entry *e = map_get(&c->maps[kind], slot_of(key, sub));

    if (e)
        forget(c, e);
}

void cache_put(struct cache *c, enum cache_kind kind, uint64_t key, uint32_t sub, struct blob *blob)
{
    struct cache_entry *e;

    cache_drop(c, kind, key, sub);
    if (cost_of(blob) > c->max)
        return;
    while (c->bytes + cost_of(blob) > c->max)
        forget(c, LIST_ENTRY(c->recent.prev, struct cache_entry, recent));
    e = malloc(sizeof *e);
    if (!e)
        return;
    *e = (struct cache_entry){.kind = kind, .slot = slot_of(key, sub), .blob = blob};
    if (!map_set(&c->maps[kind], e->slot, e)) {
        free(e);
        return;
    }
    blob_ref(blob);
    list_push(&c->recent, &e->recent);
    c->bytes += cost_of(blob);
}

struct blob *cache_get(struct cache *c, enum cache_kind kind, uint64_t key, uint32_t sub)
{
    struct cache_entry *e = map_get(&c->maps[kind], slot_of(key, sub));

    if (!e) {
        c->misses++;
        return NULL;
    }
    c->hits++;
    list_remove(&e->recent);
    list_push(&c->recent, &e->recent);
    return blob_ref(e->blob);
}

static void put_op(struct cache *c, enum cache_kind kind, const struct batch_op *op)
{
    struct blob *blob;

    if (op->value.len > c->max) { /* not worth a copy */
        cache_drop(c, kind, op->key, op->sub);
        return;
    }
    blob = op->blob ? blob_ref(op->blob) : blob_copy(op->value);
    if (blob)
        cache_put(c, kind, op->key, op->sub, blob);
    else
        cache_drop(c, kind, op->key, op->sub);
    blob_unref(blob);
}

void cache_batch(struct cache *c, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];
        enum cache_kind kind = op->table == TABLE_DONE ? CACHE_DONE : CACHE_PAYLOAD;

        if (op->table != TABLE_DONE && op->table != TABLE_PAYLOAD)
            continue;
        if (op->put)
            put_op(c, kind, op);
        else
            cache_drop(c, kind, op->key, op->sub);
        if (op->table == TABLE_DONE)
            cache_drop(c, CACHE_ERRORS, op->key, 0);
    }
}
