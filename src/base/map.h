// SPDX-License-Identifier: Apache-2.0
/*
 * An open-addressing hash table from a 64-bit key to a pointer; and, on top of it, one from bytes.
 * Iteration order depends on nothing but the history of insertions and removals.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/slice.h"

struct map_slot {
    uint64_t key;
    void *value; /* NULL: free */
};

struct map {
    struct map_slot *slots;
    uint32_t len, cap; /* cap is 0 or a power of two */
};

void map_init(struct map *m);
void map_free(struct map *m);
bool map_reserve(struct map *m, uint32_t extra); /* false: no memory */
void *map_get(const struct map *m, uint64_t key);
/* Inserts or replaces; `value` is not NULL. False: no memory (never after map_reserve). */
bool map_set(struct map *m, uint64_t key, void *value);
void *map_remove(struct map *m, uint64_t key); /* what was there, or NULL */
/* Iterates: start with *pos = 0; NULL at the end. The map must not change meanwhile. */
void *map_next(const struct map *m, uint32_t *pos, uint64_t *key);

/*
 * Interned strings with a reference count: equal bytes are one pointer. For function names,
 * endpoints, organizations, of which there are few while calls are many.
 */
struct atom {
    uint32_t refs;
    uint32_t len;
    uint64_t hash;
    struct atom *chain;
    char text[]; /* NUL-terminated */
};

struct atoms {
    struct map map; /* hash to chain */
    size_t count;
};

void atoms_init(struct atoms *t);
void atoms_free(struct atoms *t); /* whatever the counts */
/* The atom of these bytes, with one more reference; NULL: no memory. */
struct atom *atom_get(struct atoms *t, struct slice text);
struct atom *atom_ref(struct atom *a);
void atom_unref(struct atoms *t, struct atom *a); /* NULL is fine */

static inline struct slice atom_slice(const struct atom *a)
{
    return a ? (struct slice){a->text, a->len} : (struct slice){0};
}

#endif
