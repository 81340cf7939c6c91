// SPDX-License-Identifier: Apache-2.0
/* A bump allocator with one lifetime: everything in it goes at once. Not thread-safe. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    uint8_t *next, *end;
    size_t used, max; /* bytes handed out, and how many may be */
};

/* Allocates nothing yet; hands out at most `max` bytes. */
void arena_init(struct arena *a, size_t max);
/* Frees everything; the arena may be used again. */
void arena_reset(struct arena *a);
/* Same, and keeps one chunk for the next use. */
void arena_rewind(struct arena *a);

/* 16-byte aligned, not zeroed; NULL when out of memory or past the maximum. */
void *arena_alloc(struct arena *a, size_t size);
/* `count * size` zeroed bytes, overflow checked. */
void *arena_zalloc(struct arena *a, size_t count, size_t size);
/* A copy of the bytes with a NUL behind it; NULL on failure. */
char *arena_dup(struct arena *a, struct slice bytes);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
