// SPDX-License-Identifier: Apache-2.0
/*
 * application_id says that a file is ours and user_version in which format. Format n is what steps
 * 1 to n make; a new file takes all of them, an older one those that it lacks, in one transaction
 * with the new number.
 *
 * The file's first 100 bytes are looked at before anything else: switching the journal mode, or
 * even reading a file in WAL mode, would write beside a file that we may have to refuse. They may
 * be older than what the WAL holds, so what they allow is asked again through SQLite.
 */
#include "store/schema.h"

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/rand.h"

enum { HEADER_SIZE = 100, HEADER_VERSION = 60, HEADER_APPLICATION = 68 };

int schema_error(sqlite3 *db, const char *doing, const char *path, struct error *err)
{
    int extended = sqlite3_extended_errcode(db);
    const char *text = sqlite3_errmsg(db);
    int system = sqlite3_system_errno(db);

    if (extended == SQLITE_IOERR_NOMEM)
        return error_memory(err);
    switch (extended & 0xff) {
    case SQLITE_NOMEM:
        return error_memory(err);
    case SQLITE_FULL:
        return error_set(err, CODE_UNAVAILABLE,
                         "cannot %s %s: disk full; it goes on when space is freed", doing, path);
    case SQLITE_IOERR:
        return error_set(err, CODE_UNAVAILABLE, "cannot %s %s: disk error %d (%s)", doing, path,
                         extended, system ? strerror(system) : text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(err, CODE_UNAVAILABLE,
                         "cannot %s %s: another program has locked the database", doing, path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(err, CODE_DATA_LOSS, "cannot %s %s: the file is damaged (%s)", doing, path,
                         text);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(err, CODE_UNAVAILABLE, "cannot %s %s: %s%s%s", doing, path, text,
                         system ? ": " : "", system ? strerror(system) : "");
    default:
        return error_set(err, CODE_INTERNAL, "cannot %s %s: %s (%d)", doing, path, text, extended);
    }
}

/* --- the steps ------------------------------------------------------------------------------- */

static int step_1(sqlite3 *db)
{
    return sqlite3_exec(db,
                        "CREATE TABLE epoch(partition INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);"
                        "CREATE TABLE call(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
                        "CREATE TABLE payload(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
                        "CREATE TABLE done(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
                        "CREATE TABLE meta(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
                        "CREATE TABLE ballast(id INTEGER PRIMARY KEY, value BLOB NOT NULL);",
                        NULL, NULL, NULL);
}

/* Facts of the whole store by name; the first is its tag. */
static int step_2(sqlite3 *db)
{
    char sql[200];
    uint64_t tag;

    rand_system(&tag, sizeof tag);
    snprintf(sql, sizeof sql,
             "CREATE TABLE store(name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL)"
             " WITHOUT ROWID; INSERT INTO store VALUES('tag', %llu);",
             (unsigned long long)(tag & ID_TAG_MAX));
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* What clients name by keys of their own. */
static int step_3(sqlite3 *db)
{
    return sqlite3_exec(db, "CREATE TABLE key(id INTEGER PRIMARY KEY, value BLOB NOT NULL);", NULL,
                        NULL, NULL);
}

static int (*const steps[SCHEMA_FORMAT])(sqlite3 *db) = {step_1, step_2, step_3};

static int take_steps(sqlite3 *db, int from, const char *path, struct error *err)
{
    char sql[96];
    int code, rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    for (int i = from; !rc && i < SCHEMA_FORMAT; i++)
        rc = steps[i](db);
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
             SCHEMA_APPLICATION_ID, SCHEMA_FORMAT);
    if (!rc)
        rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (!rc)
        return CODE_OK;
    code = schema_error(db, from ? "upgrade" : "make tables in", path, err);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* --- what is in the file --------------------------------------------------------------------- */

int schema_query(sqlite3 *db, const char *sql, const char *path, int64_t *value, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = CODE_OK;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) || sqlite3_step(stmt) != SQLITE_ROW)
        code = schema_error(db, "read", path, err);
    else
        *value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return code;
}

static int64_t header_int(const unsigned char *at)
{
    return (int64_t)at[0] << 24 | (int64_t)at[1] << 16 | (int64_t)at[2] << 8 | at[3];
}

static int check_identity(int64_t application, int64_t format, const char *path, struct error *err)
{
    if (application != SCHEMA_APPLICATION_ID)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "%s is an SQLite database of another application, not a Dispatch store; "
                         "use another file",
                         path);
    if (format > SCHEMA_FORMAT)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "%s was made by a newer version, in store format %lld; this version reads "
                         "formats up to %d: use the newer version",
                         path, (long long)format, SCHEMA_FORMAT);
    if (format < 1)
        return error_set(err, CODE_FAILED_PRECONDITION, "%s has no store format number", path);
    return CODE_OK;
}

static int check_header(sqlite3 *db, const char *path, struct error *err)
{
    static const unsigned char zero[HEADER_SIZE];
    unsigned char header[HEADER_SIZE] = {0};
    sqlite3_file *file = NULL;
    int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);

    if (!rc && file && file->pMethods)
        rc = file->pMethods->xRead(file, header, sizeof header, 0);
    if (rc && rc != SQLITE_IOERR_SHORT_READ) /* a short one is filled up with zeros */
        return error_set(err, CODE_UNAVAILABLE, "cannot read %s: disk error %d", path, rc);
    if (memcmp(header, zero, sizeof header) == 0)
        return CODE_OK;
    if (memcmp(header, "SQLite format 3", 16) != 0)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "%s is not an SQLite database; use another file", path);
    if (header_int(header + HEADER_APPLICATION) == 0)
        return CODE_OK;
    return check_identity(header_int(header + HEADER_APPLICATION),
                          header_int(header + HEADER_VERSION), path, err);
}

/* *format is 0 for a file without any content. */
static int read_format(sqlite3 *db, const char *path, int *format, struct error *err)
{
    int64_t application = 0, version = 0, tables = 0;
    int code = schema_query(db, "PRAGMA application_id", path, &application, err);

    if (!code)
        code = schema_query(db, "PRAGMA user_version", path, &version, err);
    if (!code)
        code = schema_query(db, "SELECT count(*) FROM sqlite_schema", path, &tables, err);
    if (code)
        return code;
    if (application == 0 && version == 0 && tables == 0) {
        *format = 0;
        return CODE_OK;
    }
    code = check_identity(application, version, path, err);
    if (!code)
        *format = (int)version;
    return code;
}

static int use_wal(sqlite3 *db, const char *path, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = CODE_OK;

    /* The page size counts only where there is no page yet; older files have 16 KiB. */
    if (sqlite3_exec(db, "PRAGMA page_size=4096", NULL, NULL, NULL) ||
        sqlite3_prepare_v2(db, "PRAGMA journal_mode=WAL", -1, &stmt, NULL) ||
        sqlite3_step(stmt) != SQLITE_ROW)
        code = schema_error(db, "set up", path, err);
    else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") != 0)
        code = error_set(err, CODE_FAILED_PRECONDITION,
                         "%s: the file system does not support SQLite's write-ahead log; use a "
                         "local disk",
                         path);
    sqlite3_finalize(stmt);
    return code;
}

int schema_open(sqlite3 *db, const char *path, bool read_only, uint64_t *tag, struct error *err)
{
    int64_t value = 0;
    int format = 0;
    int code = check_header(db, path, err);

    if (!code)
        code = read_format(db, path, &format, err);
    if (!code && read_only && format < SCHEMA_FORMAT)
        code = error_set(err, CODE_FAILED_PRECONDITION,
                         format ? "%s is of an older format; it is upgraded when a server opens it"
                                : "%s is empty",
                         path);
    if (!code && !read_only)
        code = use_wal(db, path, err);
    if (!code && format < SCHEMA_FORMAT)
        code = take_steps(db, format, path, err);
    if (!code)
        code = schema_query(db, "SELECT value FROM store WHERE name = 'tag'", path, &value, err);
    if (!code)
        *tag = (uint64_t)value & ID_TAG_MAX;
    return code;
}
