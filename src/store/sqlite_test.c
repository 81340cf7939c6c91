// SPDX-License-Identifier: Apache-2.0
/*
 * What is particular to the SQLite kind: which files it opens, upgrades and refuses; who may own
 * one; and what a batch survives: its process killed, its disk full, its file damaged.
 */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/test.h"

struct fixture {
    struct test_dir dir;
    char path[256], url[300];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    test_dir_make(&f->dir);
    snprintf(f->path, sizeof f->path, "%s", test_path(&f->dir, "store.db"));
    snprintf(f->url, sizeof f->url, "sqlite:%s", f->path);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    test_dir_remove(&f->dir);
    free(f);
    return 0;
}

static struct store *open_store(struct fixture *f)
{
    struct store *store = NULL;

    assert_ok(store_open(&store, f->url, NULL, &test_error));
    return store;
}

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static struct blob *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct blob *content;
    struct stat st;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    content = blob_new((size_t)st.st_size);
    assert_non_null(content);
    assert_int_equal(fread(content->data, 1, content->len, file), content->len);
    fclose(file);
    return content;
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open(path, &db);

    if (!rc)
        rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static int64_t query(const char *path, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = NULL;
    int64_t value;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

/* Opening fails with this code and a message that names the file and says `words`; the file keeps
 * every byte, and nothing of SQLite's is left beside it. */
static void assert_refused(struct fixture *f, bool read_only, int code, const char *words)
{
    struct store_options options = {.read_only = read_only};
    struct blob *before = read_file(f->path), *after;
    struct store *store = NULL;

    assert_int_equal(store_open(&store, f->url, &options, &test_error), code);
    assert_null(store);
    assert_non_null(strstr(test_error.message, f->path));
    if (!strstr(test_error.message, words))
        fail_msg("'%s' does not say '%s'", test_error.message, words);
    after = read_file(f->path);
    assert_true(slice_eq(blob_slice(before), blob_slice(after)));
    assert_int_not_equal(access(test_path(&f->dir, "store.db-wal"), F_OK), 0);
    blob_unref(before);
    blob_unref(after);
}

/* --- files ----------------------------------------------------------------------------------- */

static void test_settings_of_a_new_file(void **state)
{
    struct fixture *f = *state;

    store_close(open_store(f));
    assert_int_equal(query(f->path, "PRAGMA page_size"), 4096);
    assert_int_equal(query(f->path, "PRAGMA application_id"), 0x44495350);
    assert_int_equal(query(f->path, "PRAGMA user_version"), 3);
    assert_int_equal(query(f->path, "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND"
                                    " tbl_name <> 'store'"),
                     0);
}

static void test_no_directory(void **state)
{
    struct store *store = NULL;
    char url[340];

    snprintf(url, sizeof url, "%s/not/there.db", ((struct fixture *)*state)->url);
    assert_int_equal(store_open(&store, url, NULL, &test_error), CODE_NOT_FOUND);
    assert_non_null(strstr(test_error.message, "directory"));
    assert_non_null(strstr(test_error.message, url + 7));
}

static void test_bad_urls(void **state)
{
    static const char *const urls[] = {"",       "sqlite:", "sqlite", "postgres://x",
                                       "memory", "/a/b.db"};
    struct store_options read_only = {.read_only = true};
    struct store *store = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        assert_int_equal(store_open(&store, urls[i], NULL, &test_error), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(test_error.message, "/a/b.db"));
    assert_int_equal(store_open(&store, "memory:", &read_only, NULL), CODE_INVALID_ARGUMENT);
}

static void test_not_a_database(void **state)
{
    struct fixture *f = *state;

    write_file(f->path, "hello\n", 6);
    assert_refused(f, false, CODE_FAILED_PRECONDITION, "not an SQLite database");
    assert_refused(f, true, CODE_FAILED_PRECONDITION, "not an SQLite database");
}

static void test_database_of_another_application(void **state)
{
    struct fixture *f = *state;

    run_sql(f->path, "CREATE TABLE theirs(x)");
    assert_refused(f, false, CODE_FAILED_PRECONDITION, "another application");
    run_sql(f->path, "PRAGMA application_id=77");
    assert_refused(f, false, CODE_FAILED_PRECONDITION, "another application");
}

static void test_newer_format(void **state)
{
    struct fixture *f = *state;

    store_close(open_store(f));
    run_sql(f->path, "PRAGMA user_version=99");
    assert_refused(f, false, CODE_FAILED_PRECONDITION, "format 99");
    assert_refused(f, false, CODE_FAILED_PRECONDITION, "formats up to 3");
    assert_refused(f, true, CODE_FAILED_PRECONDITION, "newer version");
}

/* A golden file: what format 1 was, with a row in each table. It is never edited. */
static const char format_1[] =
    "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; BEGIN;"
    "CREATE TABLE epoch(partition INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);"
    "CREATE TABLE call(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
    "CREATE TABLE payload(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
    "CREATE TABLE done(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
    "CREATE TABLE meta(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
    "CREATE TABLE ballast(id INTEGER PRIMARY KEY, value BLOB NOT NULL);"
    "INSERT INTO epoch VALUES(0, 7);"
    "INSERT INTO call VALUES((1 << 20) + 2, CAST('call' AS BLOB));"
    "INSERT INTO payload VALUES((1 << 20) + 3, CAST('payload' AS BLOB));"
    "INSERT INTO done VALUES(2 << 20, CAST('done' AS BLOB));"
    "INSERT INTO meta VALUES(5 << 20, CAST('meta' AS BLOB));"
    "PRAGMA application_id=0x44495350; PRAGMA user_version=1; COMMIT;";

static const char *table_text(struct store *store, enum table table)
{
    struct store_range range = {.table = table, .to_key = KEY_MAX, .to_sub = SUB_MAX};

    return test_walk_text(store, &range);
}

static void test_format_1_is_upgraded(void **state)
{
    struct fixture *f = *state;
    struct store_options read_only = {.read_only = true};
    struct store *store;
    uint64_t tag, epoch = 0;

    run_sql(f->path, format_1);
    assert_int_equal(store_open(&store, f->url, &read_only, &test_error), CODE_FAILED_PRECONDITION);
    assert_non_null(strstr(test_error.message, "older format"));
    assert_int_equal(query(f->path, "PRAGMA user_version"), 1);
    store = open_store(f);
    tag = store_tag(store);
    assert_string_equal(table_text(store, TABLE_CALL), "1.2=call ");
    assert_string_equal(table_text(store, TABLE_PAYLOAD), "1.3=payload ");
    assert_string_equal(table_text(store, TABLE_DONE), "2.0=done ");
    assert_string_equal(table_text(store, TABLE_META), "5.0=meta ");
    assert_string_equal(table_text(store, TABLE_KEY), "");
    assert_ok(store_fence(store, 0, 0, &epoch, &test_error));
    assert_int_equal(epoch, 8);
    store_close(store);
    assert_int_equal(query(f->path, "PRAGMA user_version"), 3);
    store = open_store(f);
    assert_true(store_tag(store) == tag);
    store_close(store);
}

/* What format 2 added to it. */
static const char format_2[] =
    "CREATE TABLE store(name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO store VALUES('tag', 77); PRAGMA user_version=2;";

static void test_format_2_is_upgraded(void **state)
{
    struct fixture *f = *state;
    struct store *store;

    run_sql(f->path, format_1);
    run_sql(f->path, format_2);
    store = open_store(f);
    assert_int_equal(store_tag(store), 77);
    assert_string_equal(table_text(store, TABLE_DONE), "2.0=done ");
    assert_string_equal(table_text(store, TABLE_KEY), "");
    store_close(store);
    assert_int_equal(query(f->path, "PRAGMA user_version"), 3);
}

static void test_damaged_file(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_store(f);
    struct batch batch;
    uint64_t epoch = 0;
    char garbage[4096];
    FILE *file;
    struct store_range range = {.table = TABLE_CALL, .to_key = KEY_MAX, .to_sub = SUB_MAX};

    batch_init(&batch);
    assert_ok(store_fence(store, 0, 0, &epoch, &test_error));
    for (uint64_t key = 0; key < 5000; key++)
        assert_true(batch_put(&batch, TABLE_CALL, key, 0, slice_str("a row of some length")));
    assert_ok(store_commit(store, 0, epoch, &batch, &test_error));
    batch_free(&batch);
    store_close(store);
    memset(garbage, 0xa5, sizeof garbage);
    file = fopen(f->path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, sizeof garbage, SEEK_SET), 0);
    for (int page = 1; page < 10; page++)
        assert_int_equal(fwrite(garbage, 1, sizeof garbage, file), sizeof garbage);
    fclose(file);
    if (!store_open(&store, f->url, NULL, &test_error)) {
        assert_int_equal(store_walk(store, 0, &range, test_count_row, NULL, &test_error),
                         CODE_DATA_LOSS);
        store_close(store);
    } else {
        assert_int_equal(test_error.code, CODE_DATA_LOSS);
    }
    assert_non_null(strstr(test_error.message, f->path));
}

/* --- owners and readers ---------------------------------------------------------------------- */

static void test_one_owner_in_a_process(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_store(f), *second = NULL;
    char link_url[300];

    assert_int_equal(store_open(&second, f->url, NULL, &test_error), CODE_UNAVAILABLE);
    assert_non_null(strstr(test_error.message, "already open in this process"));
    snprintf(link_url, sizeof link_url, "sqlite:%s", test_path(&f->dir, "other.db"));
    assert_int_equal(symlink(f->path, f->dir.file), 0);
    assert_int_equal(store_open(&second, link_url, NULL, &test_error), CODE_UNAVAILABLE);
    assert_null(second);
    store_close(store);
    assert_ok(store_open(&second, link_url, NULL, &test_error));
    store_close(second);
}

/* In a child an assertion must end the child, not go on with the parent's tests. */
#define CHILD_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "child: line %d: %s: %s\n", __LINE__, #condition, test_error.message); \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void assert_child_ended_well(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_one_owner_among_processes(void **state)
{
    struct fixture *f = *state;
    struct store_options patient = {.busy_timeout_ms = 20000};
    struct store *store = NULL;
    char expected[64], byte = 0;
    int up[2], down[2];
    pid_t child;

    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        CHILD_CHECK(!store_open(&store, f->url, NULL, &test_error));
        CHILD_CHECK(write(up[1], "x", 1) == 1);
        CHILD_CHECK(read(down[0], &byte, 1) == 1);
        store_close(store);
        _exit(0);
    }
    assert_int_equal(read(up[0], &byte, 1), 1);
    assert_int_equal(store_open(&store, f->url, NULL, &test_error), CODE_UNAVAILABLE);
    snprintf(expected, sizeof expected, "is held by process %ld (store-sqlite-test)", (long)child);
    if (!strstr(test_error.message, expected))
        fail_msg("%s", test_error.message);
    assert_int_equal(write(down[1], "x", 1), 1);
    assert_ok(store_open(&store, f->url, &patient, &test_error));
    store_close(store);
    assert_child_ended_well(child);
    for (int i = 0; i < 2; i++) {
        close(up[i]);
        close(down[i]);
    }
}

static int commit_row(struct store *store, uint64_t epoch, uint64_t key, const char *text)
{
    struct batch batch;
    int code;

    batch_init(&batch);
    assert_true(batch_put(&batch, TABLE_CALL, key, 0, slice_str(text)));
    code = store_commit(store, 0, epoch, &batch, &test_error);
    batch_free(&batch);
    return code;
}

static void test_read_only_beside_the_owner(void **state)
{
    struct fixture *f = *state;
    struct store_options options = {.read_only = true};
    struct store *store, *reader = NULL;
    struct batch batch;
    uint64_t epoch = 0;

    assert_int_equal(store_open(&reader, f->url, &options, &test_error), CODE_NOT_FOUND);
    store = open_store(f);
    assert_ok(store_fence(store, 0, 0, &epoch, &test_error));
    assert_ok(store_open(&reader, f->url, &options, &test_error));
    assert_true(store_tag(reader) == store_tag(store));
    assert_ok(commit_row(store, epoch, 1, "one"));
    assert_string_equal(table_text(reader, TABLE_CALL), "1.0=one ");
    batch_init(&batch);
    assert_int_equal(store_commit(reader, 0, epoch, &batch, NULL), CODE_FAILED_PRECONDITION);
    store_close(store);
    assert_string_equal(table_text(reader, TABLE_CALL), "1.0=one ");
    store_close(reader);
    batch_free(&batch);
}

struct writing {
    struct store *writer;
    uint64_t epoch;
    char seen[100];
};

static int write_meanwhile(void *arg, const struct store_row *row)
{
    struct writing *w = arg;
    size_t len = strlen(w->seen);

    snprintf(w->seen + len, sizeof w->seen - len, "%.*s ", SLICE_FMT(row->value));
    return commit_row(w->writer, w->epoch, row->key, "new") ||
           commit_row(w->writer, w->epoch, 10 + row->key, "more");
}

static void test_a_walk_is_of_one_moment(void **state)
{
    struct fixture *f = *state;
    struct writing w = {.writer = open_store(f)};
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX};
    struct store *reader = NULL;

    assert_ok(store_fence(w.writer, 0, 0, &w.epoch, &test_error));
    for (uint64_t key = 1; key <= 3; key++)
        assert_ok(commit_row(w.writer, w.epoch, key, "old"));
    assert_ok(store_open_reader(w.writer, &reader, &test_error));
    assert_ok(store_walk(reader, 0, &range, write_meanwhile, &w, &test_error));
    assert_string_equal(w.seen, "old old old ");
    assert_string_equal(table_text(reader, TABLE_CALL),
                        "1.0=new 2.0=new 3.0=new 11.0=more 12.0=more 13.0=more ");
    store_close(reader);
    store_close(w.writer);
}

/* --- batches that are whole ------------------------------------------------------------------ */

enum { ROWS = 4, ROW_SIZE = 40000 };

/* Batch n: rows (n, 0) to (n, ROWS - 1) full of bytes n; and batch n - 3 goes. */
static int commit_batch(struct store *store, uint64_t epoch, uint64_t n, struct error *err)
{
    static uint8_t value[ROW_SIZE];
    struct batch batch;
    bool filled = true;
    int code;

    memset(value, (int)(n & 0xff), sizeof value);
    batch_init(&batch);
    for (uint32_t sub = 0; sub < ROWS; sub++) {
        filled &= batch_put(&batch, TABLE_PAYLOAD, n, sub, slice(value, sizeof value));
        if (n > 3)
            filled &= batch_delete(&batch, TABLE_PAYLOAD, n - 3, sub);
    }
    code = filled ? store_commit(store, 0, epoch, &batch, err) : error_memory(err);
    batch_free(&batch);
    return code;
}

struct check {
    uint64_t first, last;
    size_t rows;
    bool whole;
};

static int check_row(void *arg, const struct store_row *row)
{
    struct check *c = arg;
    const uint8_t *bytes = row->value.data;

    if (!c->rows)
        c->first = row->key;
    c->whole &= row->key == c->first + c->rows / ROWS && row->sub == c->rows % ROWS;
    c->whole &= row->value.len == ROW_SIZE && bytes[0] == (row->key & 0xff) &&
                memcmp(bytes, bytes + 1, ROW_SIZE - 1) == 0;
    c->last = row->key;
    c->rows++;
    return 0;
}

/* The number of the last batch there is, 0 if there is none; ~0 if they are not whole. */
static uint64_t last_batch(struct store *store)
{
    struct store_range range = {.table = TABLE_PAYLOAD, .to_key = KEY_MAX, .to_sub = SUB_MAX};
    struct check c = {.whole = true};

    if (store_walk(store, 0, &range, check_row, &c, &test_error) || !c.whole ||
        c.rows != ROWS * (c.last < 3 ? c.last : 3))
        return UINT64_MAX;
    return c.last;
}

static void commit_until_killed(struct fixture *f, uint64_t n, int acks)
{
    struct store *store = NULL;
    uint64_t epoch = 0;

    CHILD_CHECK(!store_open(&store, f->url, NULL, &test_error));
    CHILD_CHECK(!store_fence(store, 0, 0, &epoch, &test_error));
    for (;; n++) {
        CHILD_CHECK(!commit_batch(store, epoch, n, &test_error));
        store_upkeep(store);
        CHILD_CHECK(write(acks, &n, sizeof n) == sizeof n);
    }
}

/* Reads `count` acks, kills the child wherever it is by then, and reads the rest. */
static uint64_t kill_after(pid_t child, int acks, unsigned count)
{
    uint64_t n = 0, last = 0;
    int status;

    while (count-- && read(acks, &n, sizeof n) == sizeof n)
        last = n;
    kill(child, SIGKILL);
    while (read(acks, &n, sizeof n) == sizeof n)
        last = n;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return last;
}

static void test_killed_while_committing(void **state)
{
    struct fixture *f = *state;
    static const unsigned counts[] = {1, 3, 40, 120, 7}; /* past a checkpoint or two */
    uint64_t n = 0;

    for (size_t round = 0; round < sizeof counts / sizeof *counts; round++) {
        struct store *store;
        uint64_t acked, epoch = 0;
        int acks[2];
        pid_t child;

        assert_int_equal(pipe2(acks, O_CLOEXEC), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
            commit_until_killed(f, n + 1, acks[1]);
        close(acks[1]);
        acked = kill_after(child, acks[0], counts[round]);
        close(acks[0]);
        store = open_store(f);
        assert_ok(store_fence(store, 0, 0, &epoch, &test_error));
        n = last_batch(store);
        assert_true(acked >= counts[round]);
        assert_true(n == acked || n == acked + 1); /* committed, and killed before it said so */
        store_close(store);
    }
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;

    CHILD_CHECK(!getrlimit(RLIMIT_FSIZE, &limit));
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    CHILD_CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
}

/* A file that may not grow is to SQLite what a full disk is. */
static void fill_the_disk(struct fixture *f)
{
    struct store *store = NULL;
    uint64_t epoch = 0, newer = 0, n = 0;

    signal(SIGXFSZ, SIG_IGN);
    CHILD_CHECK(!store_open(&store, f->url, NULL, &test_error));
    CHILD_CHECK(!store_fence(store, 0, 0, &epoch, &test_error));
    while (n < 5)
        CHILD_CHECK(!commit_batch(store, epoch, ++n, &test_error));
    limit_file_size(2000000);
    while (!commit_batch(store, epoch, n + 1, &test_error)) {
        n++;
        CHILD_CHECK(n < 100);
    }
    CHILD_CHECK(test_error.code == CODE_UNAVAILABLE);
    CHILD_CHECK(strstr(test_error.message, "disk"));
    CHILD_CHECK(commit_batch(store, epoch, n + 1, &test_error) == CODE_UNAVAILABLE);
    CHILD_CHECK(strstr(test_error.message, "fence"));
    for (int i = 0; i < 3; i++) {
        CHILD_CHECK(store_fence(store, 0, 4000000, &newer, &test_error) == CODE_UNAVAILABLE);
        CHILD_CHECK(commit_batch(store, epoch, n + 1, &test_error) != CODE_OK);
    }
    CHILD_CHECK(newer == 0);
    CHILD_CHECK(last_batch(store) == n);
    limit_file_size(RLIM_INFINITY);
    CHILD_CHECK(!store_fence(store, 0, 4000000, &newer, &test_error));
    CHILD_CHECK(newer > epoch);
    CHILD_CHECK(last_batch(store) == n);
    CHILD_CHECK(commit_batch(store, epoch, n + 1, &test_error) == CODE_ABORTED);
    CHILD_CHECK(!commit_batch(store, newer, n + 1, &test_error));
    CHILD_CHECK(last_batch(store) == n + 1);
    store_close(store);
}

static void test_disk_full(void **state)
{
    struct fixture *f = *state;
    struct store *store;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        fill_the_disk(f);
        _exit(0);
    }
    assert_child_ended_well(child);
    store = open_store(f);
    assert_true(last_batch(store) > 5 && last_batch(store) < 100);
    store_close(store);
    assert_int_equal(query(f->path, "SELECT count(*) FROM ballast"), 0);
}

#define SQLITE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest sqlite[] = {
        SQLITE(test_settings_of_a_new_file),
        SQLITE(test_no_directory),
        SQLITE(test_bad_urls),
        SQLITE(test_not_a_database),
        SQLITE(test_database_of_another_application),
        SQLITE(test_newer_format),
        SQLITE(test_format_1_is_upgraded),
        SQLITE(test_format_2_is_upgraded),
        SQLITE(test_damaged_file),
        SQLITE(test_one_owner_in_a_process),
        SQLITE(test_one_owner_among_processes),
        SQLITE(test_read_only_beside_the_owner),
        SQLITE(test_a_walk_is_of_one_moment),
        SQLITE(test_killed_while_committing),
        SQLITE(test_disk_full),
    };

    return cmocka_run_group_tests(sqlite, NULL, NULL);
}
