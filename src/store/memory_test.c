// SPDX-License-Identifier: Apache-2.0
/*
 * Out of memory at the Nth allocation, SQLite's own included: whatever was refused is said, a batch
 * that was acknowledged is there, one whose outcome is unknown is there whole or not at all, and
 * after a fence everything goes on.
 */
#include <string.h>

#include "base/scarce.h"
#include "store/async.h"
#include "store/scarce_sqlite.h"
#include "store/test.h"

#define BATCHES 4

struct fixture {
    struct test_dir dir;
    char url[300];
    struct store *memory; /* the memory kind's data, which outlive every handle */
    struct store *store;
    struct store_faults faults;
    uint64_t epoch;
};

/* Only memory may be what is missing; what failed half-way wants a fence. */
static void check_code(int code, const struct error *err)
{
    if (code == CODE_OK)
        return;
    assert_int_equal(code, err->code);
    if (code == CODE_UNAVAILABLE && strstr(err->message, "it must be fenced"))
        return;
    if (code != CODE_RESOURCE_EXHAUSTED || strcmp(err->message, "out of memory") != 0)
        fail_msg("code %d: %s", code, err->message);
}

/* Until it does not fail. */
#define INSIST(expression)                                                                         \
    do {                                                                                           \
        int code_;                                                                                 \
                                                                                                   \
        do {                                                                                       \
            struct error err = {0};                                                                \
                                                                                                   \
            scarce_pause(false);                                                                   \
            code_ = expression;                                                                    \
            scarce_pause(true);                                                                    \
            check_code(code_, &err);                                                               \
        } while (code_);                                                                           \
    } while (0)

static int open_memory(struct fixture *f, struct error *err)
{
    struct store *inner;
    int code = store_memory_share(&inner, f->memory, err);

    if (code)
        return code;
    code = store_fault_create(&f->store, inner, &f->faults, err);
    if (code)
        store_close(inner);
    return code;
}

static void open_up(struct fixture *f)
{
    if (f->memory)
        INSIST(open_memory(f, &err));
    else
        INSIST(store_open(&f->store, f->url, NULL, &err));
    INSIST(store_fence(f->store, 0, 3000, &f->epoch, &err));
}

static int row_text(void *arg, const struct store_row *row)
{
    scarce_pause(true);
    test_row_text(arg, row);
    scarce_pause(false);
    return 0;
}

static void text_of(struct store *store, enum table table, char *text, size_t size)
{
    struct store_range range = {.table = table, .to_key = KEY_MAX, .to_sub = SUB_MAX};
    struct buf buf;

    buf_init(&buf, size - 1);
    INSIST((buf_reset(&buf), store_walk(store, 0, &range, row_text, &buf, &err)));
    assert_false(buf.failed);
    snprintf(text, size, "%s", buf_cstr(&buf));
    buf_free(&buf);
}

/* The n-th batch removes one row of the one before, and puts others, of which some are long. */
static void fill(struct batch *batch, uint64_t n)
{
    static char data[6000];

    memset(data, 'x', sizeof data);
    batch_init(batch);
    if (n > 1)
        assert_true(batch_delete(batch, TABLE_CALL, n - 1, 0));
    assert_true(batch_put(batch, TABLE_CALL, n, 0, slice_str("call")));
    for (uint32_t sub = 0; sub < 20; sub++)
        assert_true(batch_put(batch, TABLE_PAYLOAD, n, sub, (struct slice){data, sizeof data}));
    assert_true(batch_put(batch, TABLE_META, n, 0, slice_str("meta")));
}

/* After `n` batches. */
static bool stands_at(struct store *store, uint64_t n)
{
    char calls[64], meta[128], is_calls[64] = "", is_meta[128] = "";
    size_t payloads = 0;
    struct store_range range = {.table = TABLE_PAYLOAD, .to_key = KEY_MAX, .to_sub = SUB_MAX};

    text_of(store, TABLE_CALL, calls, sizeof calls);
    text_of(store, TABLE_META, meta, sizeof meta);
    INSIST((payloads = 0, store_walk(store, 0, &range, test_count_row, &payloads, &err)));
    if (n)
        snprintf(is_calls, sizeof is_calls, "%llu.0=call ", (unsigned long long)n);
    for (uint64_t i = 1; i <= n; i++) {
        size_t len = strlen(is_meta);

        snprintf(is_meta + len, sizeof is_meta - len, "%llu.0=meta ", (unsigned long long)i);
    }
    return strcmp(calls, is_calls) == 0 && strcmp(meta, is_meta) == 0 && payloads == 20 * n;
}

static bool committed(struct fixture *f, const struct batch *batch)
{
    struct error err = {0};
    int code;

    scarce_pause(false);
    code = store_commit(f->store, 0, f->epoch, batch, &err);
    scarce_pause(true);
    check_code(code, &err);
    return code == CODE_OK;
}

static void commit(struct fixture *f, uint64_t n)
{
    struct batch batch;

    fill(&batch, n);
    while (!committed(f, &batch)) {
        INSIST(store_fence(f->store, 0, batch.bytes, &f->epoch, &err));
        if (stands_at(f->store, n))
            break;
        assert_true(stands_at(f->store, n - 1));
    }
    batch_free(&batch);
}

static void read_beside(struct fixture *f)
{
    struct store *reader;
    struct blob *value;

    INSIST(store_open_reader(f->store, &reader, &err));
    assert_true(stands_at(reader, BATCHES));
    INSIST(store_get(reader, 0, TABLE_META, 2, 0, &value, &err));
    assert_true(slice_eq(blob_slice(value), slice_str("meta")));
    blob_unref(value);
    store_close(reader);
}

/* True: it came to the nth allocation. */
static bool history(bool sqlite, long nth, long in_a_row)
{
    struct fixture f = {0};
    bool met;

    test_dir_make_fast(&f.dir);
    snprintf(f.url, sizeof f.url, "sqlite:%s", test_path(&f.dir, "store.db"));
    if (!sqlite)
        assert_ok(store_memory_create(&f.memory, 1, &test_error));
    scarce_begin(nth, in_a_row);
    open_up(&f);
    for (uint64_t n = 1; n <= BATCHES; n++) {
        commit(&f, n);
        assert_true(stands_at(f.store, n));
        if (n == 2) {
            scarce_pause(false);
            store_close(f.store);
            scarce_pause(true);
            open_up(&f);
        }
    }
    read_beside(&f);
    scarce_pause(false);
    store_close(f.store);
    scarce_pause(true);
    met = scarce_end();
    open_up(&f);
    assert_true(stands_at(f.store, BATCHES));
    store_close(f.store);
    store_close(f.memory);
    test_dir_remove(&f.dir);
    return met;
}

static void test_memory(void **state)
{
    long n = 1;

    (void)state;
    while (history(false, n, 1) || history(false, n, 4))
        n++;
    assert_true(n > 20);
}

static void test_sqlite(void **state)
{
    long n = 1;

    (void)state;
    while (history(true, n, 1))
        n = scarce_sample(n, 40);
    assert_true(n > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_sqlite),
    };

    scarce_pause(true);
    scarce_sqlite();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
