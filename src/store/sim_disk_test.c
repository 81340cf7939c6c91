// SPDX-License-Identifier: Apache-2.0
/* The simulated disk: it keeps what was synced, and really loses what was not. */
#include "store/sim_disk.h"

#include <sqlite3.h>

#include "store/test.h"

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

/* --- the store on such a disk ----------------------------------------------------------------- */

#define STORE_SEEDS 120

static struct store *open_store(const char *path)
{
    struct store *store = NULL;

    return store_sqlite_open(&store, path, NULL, &test_error) ? NULL : store;
}

static int commit_rows(struct store *store, uint64_t epoch, uint64_t from, char fill)
{
    static uint8_t value[3000];
    struct batch batch;
    int code;

    memset(value, fill, sizeof value);
    batch_init(&batch);
    for (uint64_t i = 0; i < ROWS; i++)
        assert_true(
            batch_put(&batch, TABLE_CALL, from + 5 * i, 0, slice(value, 1 + i * 100 % 3000)));
    code = store_commit(store, 0, epoch, &batch, &test_error);
    batch_free(&batch);
    return code;
}

static int check_row(void *arg, const struct store_row *row)
{
    const uint8_t *bytes = row->value.data;
    size_t *counts = arg;

    assert_true(row->value.len > 0);
    for (size_t i = 0; i < row->value.len; i++)
        assert_int_equal(bytes[i], row->key % 5 ? 'b' : 'a');
    counts[row->key % 5]++;
    return 0;
}

/*
 * A sync fails and its process dies; the next one, which finds what was written in the cache,
 * recovers, and the power fails at some write of that.
 */
static void fail_in_recovery(uint64_t seed, const char *path)
{
    struct store_range all = {.table = TABLE_CALL, .to_key = KEY_MAX, .to_sub = SUB_MAX};
    struct sim_disk *disk = sim_disk_create(seed);
    size_t counts[5] = {0};
    struct store *store;
    uint64_t epoch;

    assert_non_null(disk);
    store = open_store(path);
    assert_non_null(store);
    assert_ok(store_fence(store, 0, 0, &epoch, &test_error));
    assert_ok(commit_rows(store, epoch, 5, 'a'));
    store_close(store); /* it is in the file now, and the WAL is gone */
    store = open_store(path);
    assert_non_null(store);
    assert_ok(store_fence(store, 0, 0, &epoch, &test_error));
    sim_disk_state(disk)->fail_sync_in = 1;
    assert_int_not_equal(commit_rows(store, epoch, 6, 'b'), CODE_OK);
    sim_disk_state(disk)->off = true;
    store_close(store);
    sim_disk_state(disk)->off = false;
    sim_disk_state(disk)->power_fails_in = 1 + seed % 40;
    store = open_store(path);
    if (store)
        store_fence(store, 0, 0, &epoch, &test_error);
    sim_disk_power_failure(disk);
    store_close(store);
    *sim_disk_state(disk) = (struct sim_disk_state){0};
    store = open_store(path);
    assert_non_null(store);
    assert_ok(store_fence(store, 0, 0, &epoch, &test_error));
    assert_ok(store_walk(store, 0, &all, check_row, counts, &test_error));
    assert_int_equal(counts[0], ROWS);
    assert_true(counts[1] == 0 || counts[1] == ROWS);
    store_close(store);
    sim_disk_destroy(disk);
}

static void a_recovery_may_lose_its_power(void **state)
{
    struct test_dir dir;

    (void)state;
    test_dir_make(&dir);
    for (uint64_t seed = 1; seed <= STORE_SEEDS; seed++)
        fail_in_recovery(seed, test_path(&dir, "store.db"));
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_is_kept),
        cmocka_unit_test(what_was_not_synced_is_lost),
        cmocka_unit_test(a_failed_sync_and_a_full_disk_are_told),
        cmocka_unit_test(a_recovery_may_lose_its_power),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
