// SPDX-License-Identifier: Apache-2.0
/*
 * The SQLite kind: one file, one partition. A batch is one transaction in WAL mode with full
 * synchronisation: first the epoch is compared, then the operations are made in order. A row's
 * integer key is (key << 20 | sub), so a table is one B-tree in the order of walks, and no index
 * stands beside it. Only the owner's connection writes and checkpoints; readers are query-only and
 * leave checkpoints alone, when they close too.
 *
 * When SQLite reports any failure in a commit or a fence, its outcome is in doubt (`broken`), and
 * nothing is committed until a fence has succeeded. After a failed sync, what was written may be in
 * the page cache, be found there when the WAL is read again, and still never reach the disk,
 * however often it is synced. A checkpoint of such a WAL would be no better than one without: when
 * the power fails in the middle of it, the WAL that could make it whole is gone. So the fence opens
 * a new connection, for which the WAL is written over with its own bytes and synced before it is
 * read, and has a truncating checkpoint carry all that is found into the database file, before the
 * new epoch is committed. The same is done once for a file just opened: whoever had it before may
 * have died of a disk.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/bulk.h"
#include "store/lock.h"
#include "store/schema.h"
#include "store/store.h"

enum {
    WAL_BYTES = 32 << 20,   /* a checkpoint is due */
    WAL_TIMES_MAX = 8,      /* at so many times that, one that waits for readers, and starts the WAL
                               over */
    BUSY_TIMEOUT_MS = 5000, /* for locks of other connections, which are short */
    BALLAST_ROW = 1 << 20,
    WAL_PIECE = 1 << 16, /* a VFS takes less than 128 KiB at once */
    BULK_MIN = 8,        /* so many operations are made by one statement */
};

struct sqlite {
    struct store store;
    char *path;
    int lock;
    sqlite3 *db;   /* NULL: could not be reopened */
    bool broken;   /* a fence must reopen first */
    bool unsynced; /* a fence must have a truncating checkpoint first */
    int wal_pages; /* as of the last commit */
    int wal_most;  /* WAL_BYTES in pages of this file */
    int checkpoint_at;
    sqlite3_stmt *begin, *commit, *rollback, *epoch;
    sqlite3_stmt *put[TABLE_COUNT], *delete[TABLE_COUNT];
    sqlite3_stmt *put_bulk[TABLE_COUNT], *delete_bulk[TABLE_COUNT];
    struct bulk bulk;                   /* what these read */
    sqlite3_stmt *walk[TABLE_COUNT][2]; /* ascending, descending; NULL while in use */
};

static const char *const table_names[TABLE_COUNT] = {[TABLE_CALL] = "call",
                                                     [TABLE_PAYLOAD] = "payload",
                                                     [TABLE_DONE] = "done",
                                                     [TABLE_META] = "meta",
                                                     [TABLE_KEY] = "key"};

static struct sqlite *sqlite_of(struct store *store)
{
    return (struct sqlite *)store;
}

static int check_partition(const struct sqlite *s, uint32_t partition, struct error *err)
{
    if (partition == 0)
        return CODE_OK;
    return error_set(err, CODE_INVALID_ARGUMENT, "%s has only partition 0, not %lu", s->path,
                     (unsigned long)partition);
}

/* --- connections ----------------------------------------------------------------------------- */

static sqlite3_stmt *prepare(sqlite3 *db, const char *format, const char *table)
{
    sqlite3_stmt *stmt = NULL;
    char sql[256];

    snprintf(sql, sizeof sql, format, table);
    sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    return stmt; /* NULL on failure */
}

static bool prepare_writes(struct sqlite *s)
{
    s->begin = prepare(s->db, "BEGIN IMMEDIATE", "");
    s->commit = s->begin ? prepare(s->db, "COMMIT", "") : NULL;
    s->rollback = s->commit ? prepare(s->db, "ROLLBACK", "") : NULL;
    s->epoch =
        s->rollback ? prepare(s->db, "SELECT epoch FROM epoch WHERE partition = 0", "") : NULL;
    if (!s->epoch)
        return false;
    for (int t = 0; t < TABLE_COUNT; t++) {
        s->put[t] = prepare(s->db, "REPLACE INTO %s(id, value) VALUES(?1, ?2)", table_names[t]);
        if (!s->put[t])
            return false;
        s->delete[t] = prepare(s->db, "DELETE FROM %s WHERE id = ?1", table_names[t]);
        if (!s->delete[t])
            return false;
        s->put_bulk[t] =
            prepare(s->db, "REPLACE INTO %s(id, value) SELECT id, value FROM bulk", table_names[t]);
        if (!s->put_bulk[t])
            return false;
        s->delete_bulk[t] =
            prepare(s->db, "DELETE FROM %s WHERE id IN (SELECT id FROM bulk)", table_names[t]);
        if (!s->delete_bulk[t])
            return false;
    }
    return true;
}

static void finalize(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
    *stmt = NULL;
}

/* With `checkpoint`, and no other connection open, SQLite moves the WAL into the file and removes
 * it. */
static void disconnect(struct sqlite *s, bool checkpoint)
{
    if (!s->db)
        return;
    finalize(&s->begin);
    finalize(&s->commit);
    finalize(&s->rollback);
    finalize(&s->epoch);
    for (int t = 0; t < TABLE_COUNT; t++) {
        finalize(&s->put[t]);
        finalize(&s->delete[t]);
        finalize(&s->put_bulk[t]);
        finalize(&s->delete_bulk[t]);
        finalize(&s->walk[t][0]);
        finalize(&s->walk[t][1]);
    }
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, checkpoint ? 0 : 1, NULL);
    sqlite3_close_v2(s->db);
    s->db = NULL;
}

static int note_wal_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((struct sqlite *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

static int copy_over(sqlite3_file *file, int64_t size, char *piece, int64_t piece_size)
{
    int rc = SQLITE_OK;

    for (int64_t at = 0; at < size && !rc; at += piece_size) {
        int n = (int)(size - at < piece_size ? size - at : piece_size);

        rc = file->pMethods->xRead(file, piece, n, at);
        if (!rc)
            rc = file->pMethods->xWrite(file, piece, n, at);
    }
    return rc;
}

/*
 * Makes durable what a WAL left by somebody else, or by a connection of ours that failed, has in
 * it: by writing it again, as bytes of a sync that failed are carried by no later one.
 */
static int rewrite_wal(struct sqlite *s, struct error *err)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL;
    const char *name = sqlite3_filename_wal(sqlite3_db_filename(s->db, "main"));
    sqlite3_file *file;
    sqlite3_int64 size = 0;
    char *piece;
    int rc, there = 0;

    rc = vfs->xAccess(vfs, name, SQLITE_ACCESS_EXISTS, &there);
    if (!rc && !there)
        return CODE_OK;
    file = calloc(1, (size_t)vfs->szOsFile);
    piece = malloc(WAL_PIECE);
    if (!file || !piece)
        rc = SQLITE_NOMEM;
    if (!rc)
        rc = vfs->xOpen(vfs, name, file, flags, NULL);
    if (!rc)
        rc = file->pMethods->xFileSize(file, &size);
    if (!rc && size)
        rc = copy_over(file, size, piece, WAL_PIECE);
    if (!rc && size)
        rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
    if (file && file->pMethods)
        file->pMethods->xClose(file);
    free(file);
    free(piece);
    if (rc == SQLITE_NOMEM)
        return error_memory(err);
    return rc ? error_set(err, CODE_UNAVAILABLE, "cannot write %s: disk error %d", name, rc)
              : CODE_OK;
}

/* Sets up a connection just opened. */
static int configure(struct sqlite *s, bool read_only, struct error *err)
{
    int64_t page_size = 0;
    int code;

    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    sqlite3_wal_autocheckpoint(s->db, 0);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    code = read_only ? CODE_OK : rewrite_wal(s, err);
    if (!code)
        code = schema_open(s->db, s->path, read_only, &s->store.tag, err);
    if (code)
        return code;
    if (sqlite3_exec(s->db,
                     "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF;"
                     "PRAGMA cache_size=-16384; PRAGMA journal_size_limit=67108864;"
                     "PRAGMA secure_delete=OFF" /* Debian's default zeros what is deleted */,
                     NULL, NULL, NULL))
        return schema_error(s->db, "set up", s->path, err);
    if (read_only) {
        if (sqlite3_exec(s->db, "PRAGMA query_only=ON", NULL, NULL, NULL))
            return schema_error(s->db, "set up", s->path, err);
        return CODE_OK;
    }
    code = schema_query(s->db, "PRAGMA page_size", s->path, &page_size, err);
    if (code)
        return code;
    s->wal_most = s->checkpoint_at = (int)(WAL_BYTES / page_size);
    sqlite3_wal_hook(s->db, note_wal_pages, s);
    s->unsynced = true;
    return !bulk_register(s->db, &s->bulk) && prepare_writes(s)
               ? CODE_OK
               : schema_error(s->db, "use", s->path, err);
}

static int connect_to(struct sqlite *s, bool read_only, struct error *err)
{
    int code;

    assert(!s->db);
    if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL))
        code = s->db ? schema_error(s->db, "open", s->path, err) : error_memory(err);
    else
        code = configure(s, read_only, err);
    if (code)
        disconnect(s, false);
    return code;
}

/* --- commits --------------------------------------------------------------------------------- */

/* Runs a statement to its end; SQLITE_OK or an error. */
static int run(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);

    sqlite3_reset(stmt);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* The outcome is unknown from here on. */
static int doubt(struct sqlite *s, const char *doing, struct error *err)
{
    int code = schema_error(s->db, doing, s->path, err);

    s->broken = true;
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

static int read_epoch(struct sqlite *s, uint64_t *epoch)
{
    int rc = sqlite3_step(s->epoch);

    *epoch = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s->epoch, 0) : 0;
    sqlite3_reset(s->epoch);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int apply_op(struct sqlite *s, const struct batch_op *op)
{
    sqlite3_stmt *stmt = op->put ? s->put[op->table] : s->delete[op->table];
    int rc = sqlite3_bind_int64(stmt, 1, bulk_id(op->key, op->sub));

    /* A NULL pointer would be an SQL NULL, not an empty value. */
    if (!rc && op->put)
        rc = sqlite3_bind_blob64(stmt, 2, op->value.len ? op->value.data : "", op->value.len,
                                 SQLITE_STATIC);
    return rc ? rc : run(stmt);
}

static int apply_list(struct sqlite *s, const struct bulk_list *list)
{
    const struct batch_op *op = list->count ? list->rows->op : NULL;
    int rc = SQLITE_OK;

    if (list->count >= BULK_MIN) {
        s->bulk.read = list;
        return run(op->put ? s->put_bulk[op->table] : s->delete_bulk[op->table]);
    }
    for (size_t i = 0; i < list->count && !rc; i++)
        rc = apply_op(s, list->rows[i].op);
    return rc;
}

static int apply_batch(struct sqlite *s, const struct batch *batch)
{
    int rc = SQLITE_OK;

    if (batch->count >= BULK_MIN) {
        bulk_arrange(&s->bulk, batch);
        for (size_t i = 0; i < BULK_LISTS && !rc; i++)
            rc = apply_list(s, &s->bulk.lists[i]);
    } else {
        for (size_t i = 0; i < batch->count && !rc; i++)
            rc = apply_op(s, &batch->ops[i]);
    }
    return rc;
}

static bool sqlite_upkeep_due(struct store *store)
{
    const struct sqlite *s = sqlite_of(store);

    return !s->broken && s->wal_pages >= s->checkpoint_at;
}

/*
 * A checkpoint. Its failure is no failure of the commits that came before it: they are in the WAL,
 * which only grows on until a checkpoint succeeds or a commit finds the disk full. One that could
 * not finish (a reader is on its way) is tried again after another quarter.
 */
static void sqlite_upkeep(struct store *store)
{
    struct sqlite *s = sqlite_of(store);
    int in_wal = 0, done = 0;
    int mode = s->wal_pages < WAL_TIMES_MAX * s->wal_most ? SQLITE_CHECKPOINT_PASSIVE
                                                          : SQLITE_CHECKPOINT_RESTART;

    if (sqlite3_wal_checkpoint_v2(s->db, "main", mode, &in_wal, &done) || done < in_wal)
        s->checkpoint_at = s->wal_pages + s->wal_most / 4;
    else
        s->checkpoint_at = s->wal_most;
}

static int must_fence(const struct sqlite *s, struct error *err)
{
    return error_set(err, CODE_UNAVAILABLE, "%s: a commit failed before; it must be fenced",
                     s->path);
}

static int epoch_over(const struct sqlite *s, uint64_t epoch, uint64_t current, struct error *err)
{
    return error_set(err, CODE_ABORTED, "epoch %llu of %s is over; it is now %llu",
                     (unsigned long long)epoch, s->path, (unsigned long long)current);
}

static int sqlite_commit(struct store *store, uint32_t partition, uint64_t epoch,
                         const struct batch *batch, struct error *err)
{
    struct sqlite *s = sqlite_of(store);
    int code = check_partition(s, partition, err);
    uint64_t current;

    if (code)
        return code;
    if (s->broken)
        return must_fence(s, err);
    if (!bulk_reserve(&s->bulk, batch->count))
        return error_memory(err);
    if (run(s->begin) || read_epoch(s, &current))
        return doubt(s, "write to", err);
    if (current == 0 || current != epoch) {
        if (run(s->rollback))
            return doubt(s, "write to", err);
        return epoch_over(s, epoch, current, err);
    }
    if (apply_batch(s, batch) || run(s->commit))
        return doubt(s, "write to", err);
    return CODE_OK;
}

/* --- fences ---------------------------------------------------------------------------------- */

/*
 * Whether a batch of this size would find room is tried by writing one: incompressible bytes, in a
 * transaction of their own. Deleted in the same transaction, or made of zeros, they would never
 * reach the disk. The next transaction, which raises the epoch, deletes them; the checkpoint after
 * that lets the WAL start over with the room it has taken, and leaves as much in the file's free
 * list: so the batch that comes next needs no new space.
 */
static int write_ballast(struct sqlite *s, size_t ballast, struct error *err)
{
    int64_t rows = (int64_t)(ballast / BALLAST_ROW + 1);
    sqlite3_stmt *stmt;
    int rc;

    stmt = prepare(s->db,
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)"
                   " REPLACE INTO ballast SELECT i, randomblob(?2) FROM n",
                   "");
    if (!stmt)
        return doubt(s, "write to", err);
    rc = sqlite3_bind_int64(stmt, 1, rows);
    if (!rc)
        rc = sqlite3_bind_int64(stmt, 2, (int64_t)(ballast / (size_t)rows));
    if (!rc)
        rc = run(stmt);
    sqlite3_finalize(stmt);
    return rc ? doubt(s, "write to", err) : CODE_OK;
}

static int raise_epoch(struct sqlite *s, uint64_t *epoch, struct error *err)
{
    if (run(s->begin) ||
        sqlite3_exec(s->db,
                     "DELETE FROM ballast;"
                     "INSERT INTO epoch VALUES(0, 1)"
                     " ON CONFLICT(partition) DO UPDATE SET epoch = epoch + 1",
                     NULL, NULL, NULL) ||
        read_epoch(s, epoch) || run(s->commit))
        return doubt(s, "write to", err);
    return CODE_OK;
}

/* Waits for readers; one that does not end makes the fence fail, to be tried again. */
static int truncate_wal(struct sqlite *s, struct error *err)
{
    if (sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL))
        return doubt(s, "checkpoint", err);
    s->unsynced = false;
    return CODE_OK;
}

/* After the ballast. A reader on its way is no reason to fail: the room has been found. */
static int restart_wal(struct sqlite *s, struct error *err)
{
    int rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_RESTART, NULL, NULL);

    if (rc && (rc & 0xff) != SQLITE_BUSY)
        return doubt(s, "checkpoint", err);
    return CODE_OK;
}

/* The lock of the file is the lease. */
static int sqlite_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                        struct error *err)
{
    struct sqlite *s = sqlite_of(store);
    int code = check_partition(s, partition, err);
    uint64_t current;

    (void)ttl_ns;
    if (code)
        return code;
    if (s->broken)
        return must_fence(s, err);
    if (read_epoch(s, &current))
        return schema_error(s->db, "read", s->path, err);
    return current && current == epoch ? CODE_OK : epoch_over(s, epoch, current, err);
}

static int sqlite_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                        struct error *err)
{
    struct sqlite *s = sqlite_of(store);
    int code = check_partition(s, partition, err);
    uint64_t raised = 0;

    if (code)
        return code;
    if (s->broken) {
        disconnect(s, false);
        code = connect_to(s, false, err);
        if (code)
            return code;
        s->broken = false;
    }
    if (s->unsynced) {
        code = truncate_wal(s, err);
        if (code)
            return code;
    }
    if (ballast)
        code = write_ballast(s, ballast, err);
    if (!code)
        code = raise_epoch(s, &raised, err);
    if (!code && ballast)
        code = restart_wal(s, err);
    if (!code)
        *epoch = raised;
    return code;
}

/* --- walks ----------------------------------------------------------------------------------- */

static sqlite3_stmt *take_walk(struct sqlite *s, const struct store_range *range)
{
    sqlite3_stmt **cached = &s->walk[range->table][range->descending];
    sqlite3_stmt *stmt = *cached;

    *cached = NULL; /* a callback that walks the same way prepares one more */
    if (stmt)
        return stmt;
    return prepare(s->db,
                   range->descending
                       ? "SELECT id, value FROM %s WHERE id BETWEEN ?1 AND ?2"
                         " AND (id & 1048575) BETWEEN ?3 AND ?4 ORDER BY id DESC LIMIT ?5"
                       : "SELECT id, value FROM %s WHERE id BETWEEN ?1 AND ?2"
                         " AND (id & 1048575) BETWEEN ?3 AND ?4 ORDER BY id LIMIT ?5",
                   table_names[range->table]);
}

static void give_walk(struct sqlite *s, const struct store_range *range, sqlite3_stmt *stmt)
{
    sqlite3_stmt **cached = &s->walk[range->table][range->descending];

    sqlite3_reset(stmt);
    if (*cached)
        sqlite3_finalize(stmt);
    else
        *cached = stmt;
}

static int bind_range(sqlite3_stmt *stmt, const struct store_range *r)
{
    int64_t limit = r->limit && r->limit < INT64_MAX ? (int64_t)r->limit : -1;
    int rc = sqlite3_bind_int64(stmt, 1, bulk_id(r->from_key, r->from_sub));

    if (!rc)
        rc = sqlite3_bind_int64(stmt, 2, bulk_id(r->to_key, r->to_sub));
    if (!rc)
        rc = sqlite3_bind_int64(stmt, 3, r->from_sub);
    if (!rc)
        rc = sqlite3_bind_int64(stmt, 4, r->to_sub);
    return rc ? rc : sqlite3_bind_int64(stmt, 5, limit);
}

static int sqlite_walk(struct store *store, uint32_t partition, const struct store_range *range,
                       store_row_fn *fn, void *arg, struct error *err)
{
    struct sqlite *s = sqlite_of(store);
    int rc, code = check_partition(s, partition, err);
    sqlite3_stmt *stmt;

    if (code)
        return code;
    if (!s->db)
        return error_set(err, CODE_UNAVAILABLE, "%s could not be reopened", s->path);
    stmt = take_walk(s, range);
    if (!stmt)
        return schema_error(s->db, "read", s->path, err);
    rc = bind_range(stmt, range);
    while (!rc && !code && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        uint64_t id = (uint64_t)sqlite3_column_int64(stmt, 0);
        const void *data = sqlite3_column_blob(stmt, 1);
        struct store_row row = {.key = id >> BULK_SUB_BITS,
                                .sub = (uint32_t)(id & SUB_MAX),
                                .value = slice(data, (size_t)sqlite3_column_bytes(stmt, 1))};

        code = fn(arg, &row);
        rc = SQLITE_OK;
    }
    if (!code && rc != SQLITE_DONE)
        code = schema_error(s->db, "read", s->path, err);
    give_walk(s, range, stmt);
    return code;
}

/* --- opening --------------------------------------------------------------------------------- */

static void sqlite_close(struct store *store)
{
    struct sqlite *s = sqlite_of(store);

    /* What is in doubt is left as it is for the next one who opens the file, and fences. */
    disconnect(s, store->ops->commit && !s->broken && !s->unsynced);
    store_lock_release(s->lock);
    bulk_free(&s->bulk);
    free(s->path);
    free(s);
}

static int sqlite_open_reader(struct store *store, struct store **reader, struct error *err);

static const struct store_ops owner_ops = {
    .open_reader = sqlite_open_reader,
    .close = sqlite_close,
    .fence = sqlite_fence,
    .renew = sqlite_renew,
    .commit = sqlite_commit,
    .walk = sqlite_walk,
    .upkeep_due = sqlite_upkeep_due,
    .upkeep = sqlite_upkeep,
};

static const struct store_ops reader_ops = {
    .open_reader = sqlite_open_reader,
    .close = sqlite_close,
    .walk = sqlite_walk,
};

/*
 * The one name of the file, whatever links lead to it, so that there is one lock. A file that is
 * not there is made empty for that; it is not opened otherwise, as closing any descriptor of a
 * database drops the locks that SQLite holds on it in this process.
 */
static int real_path(char **real, const char *path, bool make, struct error *err)
{
    int fd;

    *real = realpath(path, NULL);
    if (!*real && errno == ENOENT && make) {
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
        if (fd >= 0 || errno == EEXIST)
            *real = realpath(path, NULL);
    }
    if (*real)
        return CODE_OK;
    if (errno == ENOMEM)
        return error_memory(err);
    return error_set(err,
                     errno == ENOENT || errno == ENOTDIR ? CODE_NOT_FOUND
                     : errno == EACCES                   ? CODE_PERMISSION_DENIED
                                                         : CODE_UNAVAILABLE,
                     make && errno == ENOENT ? "cannot make %s: its directory is not there (%s)"
                                             : "cannot open %s: %s",
                     path, strerror(errno));
}

/* Takes over the path. */
static int open_handle(struct store **store, char *path, const struct store_options *options,
                       struct error *err)
{
    struct sqlite *s = calloc(1, sizeof *s);
    bool read_only = options->read_only;
    int code = CODE_OK;

    if (!s) {
        free(path);
        return error_memory(err);
    }
    s->store.ops = read_only ? &reader_ops : &owner_ops;
    s->path = path;
    s->lock = -1;
    if (!read_only)
        code = store_lock_take(&s->lock, path, options->busy_timeout_ms, err);
    if (!code)
        code = connect_to(s, read_only, err);
    if (code)
        sqlite_close(&s->store);
    else
        *store = &s->store;
    return code;
}

static int sqlite_open_reader(struct store *store, struct store **reader, struct error *err)
{
    struct store_options options = {.read_only = true};
    char *path = strdup(sqlite_of(store)->path);

    return path ? open_handle(reader, path, &options, err) : error_memory(err);
}

int store_sqlite_open(struct store **store, const char *path, const struct store_options *options,
                      struct error *err)
{
    struct store_options defaults = {0};
    char *real = NULL;
    int code;

    if (!options)
        options = &defaults;
    code = real_path(&real, path, !options->read_only, err);
    return code ? code : open_handle(store, real, options, err);
}

/* --- for operators --------------------------------------------------------------------------- */

int store_sqlite_pin(struct store *store, struct error *err)
{
    struct sqlite *s = sqlite_of(store);

    /* The moment is that of the first read. */
    if (sqlite3_exec(s->db, "BEGIN; SELECT count(*) FROM epoch", NULL, NULL, NULL))
        return schema_error(s->db, "read", s->path, err);
    return CODE_OK;
}

/* One row each, until it says so often that all is well. */
static int tell_rows(struct sqlite *s, const char *sql, const char *well,
                     void (*tell)(void *arg, const char *what), void *arg, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc, code = CODE_OK;

    rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);
    while (!rc && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);

        if (text && (!well || strcmp(text, well) != 0))
            tell(arg, text);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE)
        code = schema_error(s->db, "check", s->path, err);
    sqlite3_finalize(stmt);
    return code;
}

int store_sqlite_check(struct store *store, void (*tell)(void *arg, const char *what), void *arg,
                       struct error *err)
{
    struct sqlite *s = sqlite_of(store);
    int code = tell_rows(s, "PRAGMA integrity_check", "ok", tell, arg, err);

    if (!code)
        code = tell_rows(s,
                         "SELECT 'partition ' || partition || ' has epoch ' || epoch FROM epoch"
                         " WHERE epoch < 1 OR partition <> 0",
                         NULL, tell, arg, err);
    if (!code)
        code = tell_rows(s,
                         "SELECT 'the tag ' || value || ' is none' FROM store"
                         " WHERE name = 'tag' AND (value < 0 OR value >> 40 > 0)",
                         NULL, tell, arg, err);
    return code;
}

int store_sqlite_copy(struct store *store, const char *to, struct error *err)
{
    struct sqlite *s = sqlite_of(store);
    sqlite3_backup *backup;
    sqlite3 *copy = NULL;
    int code = CODE_OK, fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_set(err, errno == EEXIST ? CODE_ALREADY_EXISTS : CODE_UNAVAILABLE,
                         "cannot make %s: %s", to, strerror(errno));
    close(fd);
    if (sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) {
        code = copy ? schema_error(copy, "open", to, err) : error_memory(err);
        sqlite3_close(copy);
        return code;
    }
    sqlite3_extended_result_codes(copy, 1);
    sqlite3_exec(copy, "PRAGMA synchronous=FULL", NULL, NULL, NULL);
    backup = sqlite3_backup_init(copy, "main", s->db, "main");
    if (backup)
        sqlite3_backup_step(backup, -1); /* what went wrong is the result of the finish */
    if (!backup || sqlite3_backup_finish(backup))
        code = schema_error(copy, "copy to", to, err);
    if (sqlite3_close(copy) && !code)
        code = error_set(err, CODE_INTERNAL, "cannot close %s", to);
    return code;
}
