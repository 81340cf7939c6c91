// SPDX-License-Identifier: Apache-2.0
/*
 * The rows of a batch as a table that SQLite reads, so that one statement writes a hundred of them:
 * by one cursor and without the work that surrounds each statement. Internal to the SQLite kind.
 */
#ifndef STORE_BULK_H
#define STORE_BULK_H

#include <sqlite3.h>

#include "base/batch.h"

/* What is SQLite's integer key. */
enum { BULK_SUB_BITS = 20 };

static inline int64_t bulk_id(uint64_t key, uint32_t sub)
{
    return (int64_t)(key << BULK_SUB_BITS | sub);
}

struct bulk_row {
    int64_t id;
    const struct batch_op *op;
};

/* Puts of rows of one table, or deletes, in the order of their ids. */
struct bulk_list {
    struct bulk_row *rows;
    size_t count;
};

enum { BULK_LISTS = 2 * TABLE_COUNT };

/* Zeros are an empty one. */
struct bulk {
    const struct bulk_list *read; /* what the table `bulk(id, value)` of the connection has in it */
    struct bulk_list lists[BULK_LISTS];
    struct bulk_row *rows;
    size_t cap;
};

/* Room for batches of so many operations; false: no memory. */
bool bulk_reserve(struct bulk *b, size_t count);
void bulk_free(struct bulk *b);
/* Fills the lists, for which there is room: of the operations on one row with the last. */
void bulk_arrange(struct bulk *b, const struct batch *batch);

/* Gives the connection the table; `b` must outlive it. An SQLite result code. */
int bulk_register(sqlite3 *db, struct bulk *b);

#endif
