// SPDX-License-Identifier: Apache-2.0
/*
 * Chunks of doubling size, from 1 KiB to 64 KiB; the newest is at the front of the list and is the
 * one that is bumped. A request larger than a quarter of a chunk gets a chunk of its own, linked
 * behind the front one, so that it does not waste what is left there.
 */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALIGNMENT = 16, CHUNK_FIRST = 1024, CHUNK_LAST = 65536 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of the data behind this header */
};

static_assert(sizeof(struct arena_chunk) % ALIGNMENT == 0 || sizeof(void *) < 8,
              "what follows a chunk's header is aligned");

#define HEADER ((sizeof(struct arena_chunk) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)

static uint8_t *chunk_data(struct arena_chunk *chunk)
{
    return (uint8_t *)chunk + HEADER;
}

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

static void free_chunks(struct arena_chunk *chunk)
{
    while (chunk) {
        struct arena_chunk *next = chunk->next;

        free(chunk);
        chunk = next;
    }
}

void arena_reset(struct arena *a)
{
    free_chunks(a->chunks);
    arena_init(a, a->max);
}

void arena_rewind(struct arena *a)
{
    struct arena_chunk *kept = a->chunks;

    if (!kept || kept->size > CHUNK_LAST) {
        arena_reset(a);
        return;
    }
    free_chunks(kept->next);
    kept->next = NULL;
    a->next = chunk_data(kept);
    a->end = a->next + kept->size;
    a->used = 0;
}

/* The slow path: `size` is rounded and does not fit the chunk in use. */
static void *alloc_chunk(struct arena *a, size_t size)
{
    struct arena_chunk *front = a->chunks, *chunk;
    size_t chunk_size = CHUNK_FIRST - HEADER;
    bool own;

    if (front && front->size < CHUNK_LAST / 2)
        chunk_size = (front->size + HEADER) * 2 - HEADER;
    else if (front)
        chunk_size = CHUNK_LAST - HEADER;
    own = size > (front ? chunk_size / 4 : chunk_size);
    if (own)
        chunk_size = size;
    if (chunk_size > PTRDIFF_MAX - HEADER)
        return NULL;
    chunk = malloc(HEADER + chunk_size);
    if (!chunk)
        return NULL;
    chunk->size = chunk_size;
    if (own && front) {
        chunk->next = front->next;
        front->next = chunk;
    } else {
        chunk->next = front;
        a->chunks = chunk;
        a->next = chunk_data(chunk) + size;
        a->end = chunk_data(chunk) + chunk_size;
    }
    return chunk_data(chunk);
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *data;

    if (size > a->max - a->used || size > SIZE_MAX - ALIGNMENT)
        return NULL;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (a->next && size <= (size_t)(a->end - a->next)) {
        data = a->next;
        a->next += size;
    } else {
        data = alloc_chunk(a, size);
        if (!data)
            return NULL;
    }
    /* Rounding may step over the maximum by less than one alignment: then it is full. */
    a->used = size < a->max - a->used ? a->used + size : a->max;
    return data;
}

void *arena_zalloc(struct arena *a, size_t count, size_t size)
{
    size_t total;
    void *data;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    data = arena_alloc(a, total);
    if (data)
        memset(data, 0, total);
    return data;
}

char *arena_dup(struct arena *a, struct slice bytes)
{
    char *copy = bytes.len < SIZE_MAX ? arena_alloc(a, bytes.len + 1) : NULL;

    if (!copy)
        return NULL;
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    copy[bytes.len] = '\0';
    return copy;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len >= 0)
        text = arena_alloc(a, (size_t)len + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}
