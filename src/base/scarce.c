// SPDX-License-Identifier: Apache-2.0
/* Counts down, over all threads; see the header. */
#include "base/scarce.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"

/* The linker puts these in the place of the allocator's (--wrap, see meson.build). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static atomic_bool counting, paused;
static atomic_long left;  /* allocations that succeed before the first that is refused */
static atomic_long until; /* `left` after the last that is refused */

void scarce_begin(long nth, long in_a_row)
{
    atomic_store(&left, nth - 1);
    atomic_store(&until, -in_a_row);
    atomic_store(&counting, true);
}

bool scarce_met(void)
{
    return atomic_load(&left) < 0;
}

bool scarce_end(void)
{
    atomic_store(&counting, false);
    return scarce_met();
}

bool scarce_pause(bool pause)
{
    return atomic_exchange(&paused, pause);
}

long scarce_sample(long n, long step)
{
    static struct rand rand;
    static bool seeded;

    if (!seeded) {
        const char *given = getenv("SEED");
        uint32_t seed;

        rand_system(&seed, sizeof seed);
        if (given)
            seed = (uint32_t)strtoul(given, NULL, 10);
        printf("the same again: SEED=%lu\n", (unsigned long)seed);
        rand_seed(&rand, seed);
        seeded = true;
    }
    return n + 1 + (long)rand_below(&rand, (uint64_t)(2 * step - 1));
}

static bool refused(void)
{
    long now;

    if (!atomic_load(&counting) || atomic_load(&paused))
        return false;
    now = atomic_fetch_sub(&left, 1) - 1;
    return now < 0 && now >= atomic_load(&until);
}

void *__wrap_malloc(size_t size)
{
    return refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return refused() ? NULL : __real_realloc(old, size);
}

void *scarce_malloc(size_t size)
{
    return __wrap_malloc(size);
}

void *scarce_calloc(size_t count, size_t size)
{
    return __wrap_calloc(count, size);
}

void *scarce_realloc(void *old, size_t size)
{
    return __wrap_realloc(old, size);
}
