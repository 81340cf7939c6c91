// SPDX-License-Identifier: Apache-2.0
/* The simulated disk: it keeps what was synced, and really loses what was not. */
#include "store/sim_disk.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define SEEDS 40
#define ROWS  20

static void sql(sqlite3 *db, const char *text)
{
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
}

static sqlite3 *open_db(const char *synchronous)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open("/simulated.db", &db), SQLITE_OK);
    sql(db, "PRAGMA journal_mode=WAL");
    sql(db, synchronous);
    return db;
}

/* -1: the file cannot be read any more. */
static int count_rows(sqlite3 *db)
{
    sqlite3_stmt *stmt;
    int rows = -1;

    if (sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &stmt, NULL))
        return -1;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        rows = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return rows;
}

/* So many rows committed, one by one; how many are left after a power failure. */
static int rows_after_power_failure(uint64_t seed, const char *synchronous)
{
    struct sim_disk *disk = sim_disk_create(seed);
    sqlite3 *db;
    int rows;

    assert_non_null(disk);
    db = open_db("PRAGMA synchronous=FULL");
    sql(db, "CREATE TABLE t(a)");
    sql(db, synchronous);
    for (int i = 0; i < ROWS; i++)
        sql(db, "INSERT INTO t VALUES(zeroblob(700))");
    sim_disk_power_failure(disk);
    sqlite3_close(db);
    sim_disk_state(disk)->off = false;
    db = open_db("PRAGMA synchronous=FULL");
    rows = count_rows(db);
    sqlite3_close(db);
    sim_disk_destroy(disk);
    return rows;
}

static void what_was_synced_is_kept(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        assert_int_equal(rows_after_power_failure(seed, "PRAGMA synchronous=FULL"), ROWS);
}

static void what_was_not_synced_is_lost(void **state)
{
    int lost = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        lost += rows_after_power_failure(seed, "PRAGMA synchronous=OFF") < ROWS;
    assert_int_equal(lost, SEEDS);
}

static void a_failed_sync_and_a_full_disk_are_told(void **state)
{
    struct sim_disk *disk = sim_disk_create(1);
    sqlite3 *db;

    (void)state;
    assert_non_null(disk);
    db = open_db("PRAGMA synchronous=FULL");
    sql(db, "CREATE TABLE t(a)");
    sim_disk_state(disk)->fail_sync_in = 1;
    assert_int_not_equal(sqlite3_exec(db, "INSERT INTO t VALUES(1)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sim_disk_state(disk)->sync_failures, 1);
    sim_disk_state(disk)->full = true;
    assert_int_equal(sqlite3_exec(db, "INSERT INTO t VALUES(zeroblob(1000000))", NULL, NULL, NULL),
                     SQLITE_FULL);
    sim_disk_state(disk)->full = false;
    sql(db, "INSERT INTO t VALUES(2)");
    sqlite3_close(db);
    sim_disk_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_is_kept),
        cmocka_unit_test(what_was_not_synced_is_lost),
        cmocka_unit_test(a_failed_sync_and_a_full_disk_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
