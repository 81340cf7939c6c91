// SPDX-License-Identifier: Apache-2.0
/*
 * Memory that runs out. The program is linked with allocators of ours in between, which refuse now
 * and then while the orchestrator has the word; the simulator's own allocations never fail.
 * SQLite's is zeroed, as it writes bytes that it has not set.
 */
#include <stdlib.h>

#include "sim/world.h"

#define REFUSED_ONE_IN 400

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static struct world *starving; /* the world whose orchestrator has the word */

bool memory_scarce(struct world *w, bool scarce)
{
    bool was = starving != NULL;

    starving = scarce && world_may(w, FAULT_NO_MEMORY) ? w : NULL;
    return was;
}

static bool refused(void)
{
    if (!starving || !world_once_in(starving, REFUSED_ONE_IN))
        return false;
    world_count(starving, FAULT_NO_MEMORY);
    return true;
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
