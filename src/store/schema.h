// SPDX-License-Identifier: Apache-2.0
/* The format of the SQLite kind's file, and the words for SQLite's errors. Internal to the room. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { SCHEMA_APPLICATION_ID = 0x44495350 /* "DISP" */, SCHEMA_FORMAT = 3 };

/*
 * Brings a connection that was just opened, and has not read yet, to our format: makes the tables
 * in an empty file, upgrades an older file in one transaction, reads the store's tag. A file that
 * is no SQLite database, is another application's or of a newer format is refused untouched
 * (CODE_FAILED_PRECONDITION, naming it); so is, read-only, an empty or an older one.
 */
int schema_open(sqlite3 *db, const char *path, bool read_only, uint64_t *tag, struct error *err);

/* One integer that a query answers. */
int schema_query(sqlite3 *db, const char *sql, const char *path, int64_t *value, struct error *err);

/* The connection's last error as a code and a message, "cannot DOING PATH: ...". */
int schema_error(sqlite3 *db, const char *doing, const char *path, struct error *err);

#endif
