// SPDX-License-Identifier: Apache-2.0
#include "store/scarce_sqlite.h"

#include <malloc.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "base/scarce.h"

static void *take(int size)
{
    return scarce_malloc((size_t)size);
}

static void *resize(void *old, int size)
{
    return scarce_realloc(old, (size_t)size);
}

static int size_of(void *p)
{
    return p ? (int)malloc_usable_size(p) : 0;
}

static int round_up(int size)
{
    return (size + 7) & ~7;
}

static int begin(void *arg)
{
    (void)arg;
    return SQLITE_OK;
}

static void end(void *arg)
{
    (void)arg;
}

void scarce_sqlite(void)
{
    static const sqlite3_mem_methods methods = {.xMalloc = take,
                                                .xFree = free,
                                                .xRealloc = resize,
                                                .xSize = size_of,
                                                .xRoundup = round_up,
                                                .xInit = begin,
                                                .xShutdown = end};

    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}
