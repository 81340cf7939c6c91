// SPDX-License-Identifier: Apache-2.0
/*
 * Batches arranged, and a virtual table without a place in any file, that is read from its first
 * row to its last.
 */
#include "store/bulk.h"

#include <assert.h>
#include <stdlib.h>

enum { ROWS_KEPT = 1 << 12 }; /* a batch may be large once */

/* --- arranging ------------------------------------------------------------------------------- */

/* Twice as much as there are operations: deletes are moved aside. */
bool bulk_reserve(struct bulk *b, size_t count)
{
    size_t cap = count < ROWS_KEPT ? ROWS_KEPT : count;
    struct bulk_row *rows;

    if (count <= b->cap && b->cap <= cap)
        return true;
    rows = realloc(b->rows, 2 * cap * sizeof *rows);
    if (!rows)
        return false;
    b->rows = rows;
    b->cap = cap;
    return true;
}

void bulk_free(struct bulk *b)
{
    free(b->rows);
    *b = (struct bulk){0};
}

static int compare_rows(const void *a, const void *b)
{
    const struct bulk_row *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->op < y->op ? -1 : x->op > y->op; /* they are of one array */
}

/* The operations of one table, in the order in which they were asked for. */
static void arrange_table(struct bulk_row *rows, size_t count, struct bulk_list *puts,
                          struct bulk_list *deletes)
{
    size_t ascending = 1;

    while (ascending < count && rows[ascending - 1].id < rows[ascending].id)
        ascending++;
    if (ascending < count)
        qsort(rows, count, sizeof *rows, compare_rows);
    for (size_t i = 0; i < count; i++) {
        struct bulk_list *list = rows[i].op->put ? puts : deletes;

        if (i + 1 == count || rows[i + 1].id != rows[i].id)
            list->rows[list->count++] = rows[i];
    }
}

void bulk_arrange(struct bulk *b, const struct batch *batch)
{
    size_t at[TABLE_COUNT + 1] = {0};

    assert(batch->count <= b->cap);
    for (size_t i = 0; i < batch->count; i++)
        at[batch->ops[i].table]++;
    for (int t = 1; t <= TABLE_COUNT; t++)
        at[t] += at[t - 1];
    for (size_t i = batch->count; i-- > 0;) { /* ends become beginnings */
        const struct batch_op *op = &batch->ops[i];

        b->rows[--at[op->table]] = (struct bulk_row){bulk_id(op->key, op->sub), op};
    }
    for (int t = 0; t < TABLE_COUNT; t++) {
        struct bulk_list *deletes = &b->lists[2 * t], *puts = deletes + 1;

        *puts = (struct bulk_list){.rows = b->rows + at[t]};
        *deletes = (struct bulk_list){.rows = b->rows + b->cap + at[t]};
        arrange_table(puts->rows, at[t + 1] - at[t], puts, deletes);
    }
}

/* --- the table ------------------------------------------------------------------------------- */

struct bulk_table {
    sqlite3_vtab base;
    const struct bulk *bulk;
};

struct bulk_cursor {
    sqlite3_vtab_cursor base;
    size_t at;
};

static const struct bulk_list *list_of(const sqlite3_vtab_cursor *cursor)
{
    return ((const struct bulk_table *)(const void *)cursor->pVtab)->bulk->read;
}

static struct bulk_cursor *cursor_of(sqlite3_vtab_cursor *cursor)
{
    return (struct bulk_cursor *)(void *)cursor;
}

static int bulk_connect(sqlite3 *db, void *arg, int argc, const char *const *argv,
                        sqlite3_vtab **table, char **error)
{
    struct bulk_table *t;
    int rc = sqlite3_declare_vtab(db, "CREATE TABLE bulk(id INTEGER, value BLOB)");

    (void)argc;
    (void)argv;
    (void)error;
    if (rc)
        return rc;
    t = calloc(1, sizeof *t);
    if (!t)
        return SQLITE_NOMEM;
    t->bulk = arg;
    *table = &t->base;
    return SQLITE_OK;
}

static int bulk_disconnect(sqlite3_vtab *table)
{
    free(table);
    return SQLITE_OK;
}

/* There is one way to read it. */
static int bulk_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = 100;
    info->estimatedRows = 100;
    return SQLITE_OK;
}

static int bulk_open(sqlite3_vtab *table, sqlite3_vtab_cursor **cursor)
{
    struct bulk_cursor *c = calloc(1, sizeof *c);

    (void)table;
    if (!c)
        return SQLITE_NOMEM;
    *cursor = &c->base;
    return SQLITE_OK;
}

static int bulk_close(sqlite3_vtab_cursor *cursor)
{
    free(cursor);
    return SQLITE_OK;
}

static int bulk_filter(sqlite3_vtab_cursor *cursor, int plan, const char *name, int argc,
                       sqlite3_value **argv)
{
    (void)plan;
    (void)name;
    (void)argc;
    (void)argv;
    cursor_of(cursor)->at = 0;
    return SQLITE_OK;
}

static int bulk_next(sqlite3_vtab_cursor *cursor)
{
    cursor_of(cursor)->at++;
    return SQLITE_OK;
}

static int bulk_eof(sqlite3_vtab_cursor *cursor)
{
    return cursor_of(cursor)->at >= list_of(cursor)->count;
}

static int bulk_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    const struct bulk_row *row = &list_of(cursor)->rows[cursor_of(cursor)->at];
    struct slice value = row->op->value;

    /* A NULL pointer would be an SQL NULL, not an empty value. */
    if (column == 0)
        sqlite3_result_int64(context, row->id);
    else
        sqlite3_result_blob64(context, value.len ? value.data : "", value.len, SQLITE_STATIC);
    return SQLITE_OK;
}

static int bulk_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    *rowid = (sqlite3_int64)cursor_of(cursor)->at;
    return SQLITE_OK;
}

int bulk_register(sqlite3 *db, struct bulk *b)
{
    static const sqlite3_module module = {.xConnect = bulk_connect,
                                          .xBestIndex = bulk_best_index,
                                          .xDisconnect = bulk_disconnect,
                                          .xOpen = bulk_open,
                                          .xClose = bulk_close,
                                          .xFilter = bulk_filter,
                                          .xNext = bulk_next,
                                          .xEof = bulk_eof,
                                          .xColumn = bulk_column,
                                          .xRowid = bulk_rowid};

    return sqlite3_create_module(db, "bulk", &module, b);
}
