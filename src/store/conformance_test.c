// SPDX-License-Identifier: Apache-2.0
/*
 * What every kind of store promises, run on the kind named by the first argument: memory, sqlite,
 * and either of them under the fault decorator with no fault armed. A test gets a `struct fixture`
 * with a fresh store, fenced once.
 */
#include <stdio.h>
#include <stdlib.h>

#include "store/test.h"

struct fixture {
    struct test_dir dir; /* unused by the memory kind */
    struct store_faults faults;
    struct store *store, *bare; /* bare: without the decorator */
    uint64_t epoch;
    struct batch batch;
};

static bool use_sqlite, use_faults;

static struct store *open_kind(struct fixture *f)
{
    struct store *store = NULL;
    char url[300] = "memory:";

    if (use_sqlite)
        snprintf(url, sizeof url, "sqlite:%s", test_path(&f->dir, "store.db"));
    assert_ok(store_open(&store, url, NULL, &test_error));
    f->bare = store;
    if (use_faults) {
        struct store *inner = store;

        assert_ok(store_fault_create(&store, inner, &f->faults, &test_error));
    }
    return store;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    test_dir_make(&f->dir);
    f->store = open_kind(f);
    batch_init(&f->batch);
    assert_ok(store_fence(f->store, 0, 0, &f->epoch, &test_error));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    batch_free(&f->batch);
    store_close(f->store);
    test_dir_remove(&f->dir);
    free(f);
    return 0;
}

static void put(struct fixture *f, enum table table, uint64_t key, uint32_t sub, const char *text)
{
    assert_true(batch_put(&f->batch, table, key, sub, slice_str(text)));
}

static void del(struct fixture *f, enum table table, uint64_t key, uint32_t sub)
{
    assert_true(batch_delete(&f->batch, table, key, sub));
}

static void commit(struct fixture *f)
{
    assert_ok(store_commit(f->store, 0, f->epoch, &f->batch, &test_error));
    batch_reset(&f->batch);
}

/* The rows of a range of CALL as text, "1.0=a 2.0=b". */
static const char *range_text(struct store *store, struct store_range range)
{
    return test_walk_text(store, &range);
}

static const char *all_text(struct store *store, enum table table)
{
    return range_text(store,
                      (struct store_range){.table = table, .to_key = KEY_MAX, .to_sub = SUB_MAX});
}

static void test_new_store_is_empty(void **state)
{
    struct fixture *f = *state;

    for (int t = 0; t < TABLE_COUNT; t++)
        assert_string_equal(all_text(f->store, (enum table)t), "");
}

static void test_rows_come_in_order(void **state)
{
    struct fixture *f = *state;

    put(f, TABLE_PAYLOAD, 3, 0, "c");
    put(f, TABLE_PAYLOAD, 1, 2, "a2");
    put(f, TABLE_PAYLOAD, 256, 0, "z");
    put(f, TABLE_PAYLOAD, 1, 0, "a0");
    commit(f);
    put(f, TABLE_PAYLOAD, 2, 5, "b");
    put(f, TABLE_PAYLOAD, 1, 1, "a1");
    commit(f);
    assert_string_equal(all_text(f->store, TABLE_PAYLOAD),
                        "1.0=a0 1.1=a1 1.2=a2 2.5=b 3.0=c 256.0=z ");
}

static void test_tables_are_apart(void **state)
{
    struct fixture *f = *state;

    put(f, TABLE_CALL, 7, 0, "call");
    put(f, TABLE_PAYLOAD, 7, 0, "payload");
    put(f, TABLE_DONE, 7, 0, "done");
    put(f, TABLE_META, 7, 0, "meta");
    put(f, TABLE_KEY, KEY_MAX, 1, "key");
    commit(f);
    del(f, TABLE_CALL, 7, 0);
    commit(f);
    assert_string_equal(all_text(f->store, TABLE_CALL), "");
    assert_string_equal(all_text(f->store, TABLE_PAYLOAD), "7.0=payload ");
    assert_string_equal(all_text(f->store, TABLE_DONE), "7.0=done ");
    assert_string_equal(all_text(f->store, TABLE_META), "7.0=meta ");
    assert_string_equal(all_text(f->store, TABLE_KEY), "8796093022207.1=key ");
}

static void test_last_operation_on_a_row_wins(void **state)
{
    struct fixture *f = *state;

    put(f, TABLE_CALL, 1, 0, "old");
    put(f, TABLE_CALL, 2, 0, "old");
    put(f, TABLE_CALL, 3, 0, "old");
    commit(f);
    put(f, TABLE_CALL, 1, 0, "new, and longer");
    put(f, TABLE_CALL, 2, 0, "new");
    del(f, TABLE_CALL, 2, 0);
    del(f, TABLE_CALL, 3, 0);
    put(f, TABLE_CALL, 3, 0, "x");
    put(f, TABLE_CALL, 4, 0, "once");
    put(f, TABLE_CALL, 4, 0, "twice");
    commit(f);
    assert_string_equal(all_text(f->store, TABLE_CALL), "1.0=new, and longer 3.0=x 4.0=twice ");
}

static void test_deleting_what_is_absent_is_no_error(void **state)
{
    struct fixture *f = *state;

    del(f, TABLE_CALL, 1, 0);
    put(f, TABLE_CALL, 2, 0, "b");
    del(f, TABLE_DONE, KEY_MAX, SUB_MAX);
    commit(f);
    assert_string_equal(all_text(f->store, TABLE_CALL), "2.0=b ");
}

static void test_old_epoch_writes_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t newer = 0;

    put(f, TABLE_CALL, 1, 0, "kept");
    commit(f);
    assert_ok(store_fence(f->store, 0, 1000, &newer, &test_error));
    assert_true(newer > f->epoch);
    put(f, TABLE_CALL, 1, 0, "overwritten");
    put(f, TABLE_CALL, 2, 0, "more");
    del(f, TABLE_CALL, 1, 0);
    assert_int_equal(store_commit(f->store, 0, f->epoch, &f->batch, &test_error), CODE_ABORTED);
    assert_non_null(strstr(test_error.message, "epoch"));
    assert_int_equal(store_commit(f->store, 0, newer + 1, &f->batch, NULL), CODE_ABORTED);
    assert_int_equal(store_commit(f->store, 0, 0, &f->batch, NULL), CODE_ABORTED);
    assert_string_equal(all_text(f->store, TABLE_CALL), "1.0=kept ");
    assert_ok(store_commit(f->store, 0, newer, &f->batch, &test_error));
    assert_string_equal(all_text(f->store, TABLE_CALL), "2.0=more ");
}

static void test_every_fence_raises_the_epoch(void **state)
{
    struct fixture *f = *state;
    uint64_t last = f->epoch;

    assert_true(last > 0);
    for (int i = 0; i < 10; i++) {
        uint64_t epoch = 0;

        assert_ok(store_fence(f->store, 0, i % 2 ? 100000 : 0, &epoch, &test_error));
        assert_true(epoch > last);
        last = epoch;
    }
    assert_string_equal(all_text(f->store, TABLE_META), "");
}

static void test_empty_batch(void **state)
{
    struct fixture *f = *state;

    commit(f);
    assert_string_equal(all_text(f->store, TABLE_CALL), "");
    assert_int_equal(store_commit(f->store, 0, f->epoch + 1, &f->batch, NULL), CODE_ABORTED);
}

static void test_unknown_partition(void **state)
{
    struct fixture *f = *state;
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX};
    uint64_t epoch = 77;

    assert_int_equal(store_fence(f->store, 1u << 20, 0, &epoch, &test_error),
                     CODE_INVALID_ARGUMENT);
    assert_int_equal(epoch, 77);
    assert_non_null(strstr(test_error.message, "partition"));
    assert_int_equal(store_commit(f->store, 1u << 20, 1, &f->batch, NULL), CODE_INVALID_ARGUMENT);
    assert_int_equal(store_walk(f->store, 1u << 20, &range, test_count_row, NULL, NULL),
                     CODE_INVALID_ARGUMENT);
}

static void test_ranges_both_ways(void **state)
{
    struct fixture *f = *state;
    struct store_range r = {.table = TABLE_PAYLOAD, .from_key = 2, .to_key = 4, .to_sub = SUB_MAX};

    for (uint32_t key = 1; key <= 5; key++) {
        put(f, TABLE_PAYLOAD, key, 0, "i");
        put(f, TABLE_PAYLOAD, key, 16, "s");
        put(f, TABLE_PAYLOAD, key, 17, "t");
    }
    commit(f);
    assert_string_equal(range_text(f->store, r),
                        "2.0=i 2.16=s 2.17=t 3.0=i 3.16=s 3.17=t 4.0=i 4.16=s 4.17=t ");
    r.from_sub = 16;
    assert_string_equal(range_text(f->store, r), "2.16=s 2.17=t 3.16=s 3.17=t 4.16=s 4.17=t ");
    r.to_sub = 16;
    assert_string_equal(range_text(f->store, r), "2.16=s 3.16=s 4.16=s ");
    r.descending = true;
    assert_string_equal(range_text(f->store, r), "4.16=s 3.16=s 2.16=s ");
    r.limit = 2;
    assert_string_equal(range_text(f->store, r), "4.16=s 3.16=s ");
    r.descending = false;
    assert_string_equal(range_text(f->store, r), "2.16=s 3.16=s ");
    r.limit = 3;
    r.from_sub = 0;
    r.to_sub = SUB_MAX;
    assert_string_equal(range_text(f->store, r), "2.0=i 2.16=s 2.17=t ");
    r.descending = true;
    assert_string_equal(range_text(f->store, r), "4.17=t 4.16=s 4.0=i ");
    r.from_key = r.to_key = 6;
    assert_string_equal(range_text(f->store, r), "");
    r = (struct store_range){.table = TABLE_PAYLOAD, .from_key = 5, .to_key = 4, .to_sub = 1};
    assert_string_equal(range_text(f->store, r), "");
    r = (struct store_range){
        .table = TABLE_PAYLOAD, .from_key = 5, .to_key = UINT64_MAX, .to_sub = UINT32_MAX};
    assert_string_equal(range_text(f->store, r), "5.0=i 5.16=s 5.17=t ");
    r.from_key = UINT64_MAX;
    assert_string_equal(range_text(f->store, r), "");
}

static int stop_at_second(void *arg, const struct store_row *row)
{
    size_t *seen = arg;

    (void)row;
    return ++*seen == 2 ? 4711 : 0;
}

static void test_callback_stops_the_walk(void **state)
{
    struct fixture *f = *state;
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX};
    size_t seen = 0;

    for (uint32_t key = 1; key <= 5; key++)
        put(f, TABLE_CALL, key, 0, "c");
    commit(f);
    assert_int_equal(store_walk(f->store, 0, &range, stop_at_second, &seen, NULL), 4711);
    assert_int_equal(seen, 2);
    put(f, TABLE_CALL, 6, 0, "written after a walk that was stopped");
    commit(f);
}

static int walk_again(void *arg, const struct store_row *row)
{
    struct store *store = arg;

    assert_int_equal(row->value.len, 1);
    assert_string_equal(all_text(store, TABLE_CALL), "1.0=c 2.0=c ");
    return 0;
}

static void test_callback_may_read(void **state)
{
    struct fixture *f = *state;
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX};

    put(f, TABLE_CALL, 1, 0, "c");
    put(f, TABLE_CALL, 2, 0, "c");
    commit(f);
    assert_ok(store_walk(f->store, 0, &range, walk_again, f->store, &test_error));
}

static void test_extreme_numbers(void **state)
{
    struct fixture *f = *state;
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX, .descending = true};

    put(f, TABLE_CALL, 0, 0, "a");
    put(f, TABLE_CALL, 0, SUB_MAX, "b");
    put(f, TABLE_CALL, 1, 0, "c");
    put(f, TABLE_CALL, KEY_MAX, 0, "d");
    put(f, TABLE_CALL, KEY_MAX, SUB_MAX, "e");
    commit(f);
    assert_string_equal(all_text(f->store, TABLE_CALL),
                        "0.0=a 0.1048575=b 1.0=c 8796093022207.0=d 8796093022207.1048575=e ");
    assert_string_equal(range_text(f->store, range),
                        "8796093022207.1048575=e 8796093022207.0=d 1.0=c 0.1048575=b 0.0=a ");
    del(f, TABLE_CALL, 0, 0);
    del(f, TABLE_CALL, KEY_MAX, SUB_MAX);
    commit(f);
    assert_string_equal(all_text(f->store, TABLE_CALL), "0.1048575=b 1.0=c 8796093022207.0=d ");
}

static struct blob *big_value(size_t len, uint8_t seed)
{
    struct blob *value = blob_new(len);

    assert_non_null(value);
    for (size_t i = 0; i < len; i++)
        value->data[i] = (uint8_t)(i * 31 + (i >> 12) + seed);
    return value;
}

static void assert_value(struct store *store, uint64_t key, uint32_t sub, struct slice expected)
{
    struct blob *value = NULL;

    assert_ok(store_get(store, 0, TABLE_PAYLOAD, key, sub, &value, &test_error));
    assert_true(slice_eq(blob_slice(value), expected));
    blob_unref(value);
}

static void test_big_and_empty_values(void **state)
{
    struct fixture *f = *state;
    struct blob *big = big_value(9 * 1000 * 1000, 1), *other = big_value(8 * 1000 * 1000 + 1, 2);
    struct blob *empty = blob_new(0);

    assert_true(batch_put_blob(&f->batch, TABLE_PAYLOAD, 1, 0, big));
    assert_true(batch_put_blob(&f->batch, TABLE_PAYLOAD, 1, 1, empty));
    assert_true(batch_put(&f->batch, TABLE_PAYLOAD, 1, 2, slice(NULL, 0)));
    assert_true(batch_put_blob(&f->batch, TABLE_PAYLOAD, 1, 16, other));
    commit(f);
    assert_value(f->store, 1, 0, blob_slice(big));
    assert_value(f->store, 1, 1, slice(NULL, 0));
    assert_value(f->store, 1, 2, slice(NULL, 0));
    assert_value(f->store, 1, 16, blob_slice(other));
    assert_true(batch_put_blob(&f->batch, TABLE_PAYLOAD, 1, 0, other));
    assert_true(batch_put_blob(&f->batch, TABLE_PAYLOAD, 1, 16, empty));
    commit(f);
    assert_value(f->store, 1, 0, blob_slice(other));
    assert_value(f->store, 1, 16, slice(NULL, 0));
    blob_unref(big);
    blob_unref(other);
    blob_unref(empty);
}

static void test_get_of_an_absent_row(void **state)
{
    struct fixture *f = *state;
    struct blob *value = NULL;

    put(f, TABLE_CALL, 5, 1, "x");
    commit(f);
    assert_int_equal(store_get(f->store, 0, TABLE_CALL, 5, 0, &value, &test_error), CODE_NOT_FOUND);
    assert_int_equal(store_get(f->store, 0, TABLE_PAYLOAD, 5, 1, &value, NULL), CODE_NOT_FOUND);
    assert_null(value);
}

/* Half of the writes are in one batch, so a reader sees both rows of a key change or neither. */
static void test_reader_sees_what_is_committed(void **state)
{
    struct fixture *f = *state;
    struct store *reader = NULL;
    uint64_t epoch = 5;

    assert_ok(store_open_reader(f->store, &reader, &test_error));
    put(f, TABLE_CALL, 1, 0, "one");
    assert_string_equal(all_text(reader, TABLE_CALL), "");
    commit(f);
    assert_string_equal(all_text(reader, TABLE_CALL), "1.0=one ");
    put(f, TABLE_CALL, 1, 0, "two");
    assert_int_equal(store_commit(f->store, 0, f->epoch + 9, &f->batch, NULL), CODE_ABORTED);
    assert_string_equal(all_text(reader, TABLE_CALL), "1.0=one ");
    commit(f);
    assert_string_equal(all_text(reader, TABLE_CALL), "1.0=two ");
    assert_true(store_tag(reader) == store_tag(f->store));
    assert_int_equal(store_fence(reader, 0, 0, &epoch, &test_error), CODE_FAILED_PRECONDITION);
    assert_int_equal(store_commit(reader, 0, f->epoch, &f->batch, &test_error),
                     CODE_FAILED_PRECONDITION);
    store_close(reader);
}

/* Compared with a plain array after each of many random batches. */
static void test_random_batches_against_a_model(void **state)
{
    struct fixture *f = *state;
    struct rand rand;
    enum { KEYS = 64, BATCHES = 200 };
    uint32_t model[KEYS] = {0}; /* 0: absent */

    rand_seed(&rand, 42);
    for (uint32_t b = 1; b <= BATCHES; b++) {
        struct buf expected;
        size_t ops = rand_below(&rand, 60); /* few, or by the list */

        for (size_t i = 0; i < ops; i++) {
            uint32_t key = (uint32_t)rand_below(&rand, KEYS);
            char text[16];

            model[key] = rand_below(&rand, 3) ? b * 100 + (uint32_t)i : 0;
            snprintf(text, sizeof text, "%u", model[key]);
            if (model[key])
                put(f, TABLE_DONE, key, 0, text);
            else
                del(f, TABLE_DONE, key, 0);
        }
        commit(f);
        buf_init(&expected, 1 << 16);
        for (uint32_t key = 0; key < KEYS; key++) {
            if (model[key])
                buf_printf(&expected, "%u.0=%u ", key, model[key]);
        }
        assert_string_equal(all_text(f->store, TABLE_DONE), buf_cstr(&expected));
        buf_free(&expected);
    }
}

static void test_reopening_keeps_everything(void **state)
{
    struct fixture *f = *state;
    uint64_t tag = store_tag(f->store), epoch = 0;

    if (!use_sqlite)
        skip(); /* the data goes with the last handle */
    put(f, TABLE_CALL, 1, 0, "one");
    put(f, TABLE_META, 2, 3, "two");
    commit(f);
    store_close(f->store);
    f->store = open_kind(f);
    assert_true(store_tag(f->store) == tag);
    assert_string_equal(all_text(f->store, TABLE_CALL), "1.0=one ");
    assert_string_equal(all_text(f->store, TABLE_META), "2.3=two ");
    assert_ok(store_fence(f->store, 0, 0, &epoch, &test_error));
    assert_true(epoch > f->epoch);
}

/* --- leases ---------------------------------------------------------------------------------- */

/* Another node opens the same data and wants the partition. */
static int take_over(struct fixture *f, struct store **other, uint64_t *epoch)
{
    struct error err;
    int code = CODE_OK;

    if (*other)
        return store_fence(*other, 0, 0, epoch, &err);
    if (use_sqlite)
        code = store_sqlite_open(other, test_path(&f->dir, "store.db"), NULL, &err);
    else
        assert_ok(store_memory_share(other, f->bare, &test_error));
    return code ? code : store_fence(*other, 0, 0, epoch, &err);
}

static void test_renewal_is_of_the_epoch(void **state)
{
    struct fixture *f = *state;
    struct store *reader = NULL;
    uint64_t next = 0;

    assert_ok(store_renew(f->store, 0, f->epoch, NS_PER_S, &test_error));
    assert_ok(store_renew(f->store, 0, f->epoch, NS_PER_S, &test_error));
    assert_int_equal(store_renew(f->store, 0, f->epoch + 1, NS_PER_S, &test_error), CODE_ABORTED);
    assert_int_equal(store_renew(f->store, 0, 0, NS_PER_S, &test_error), CODE_ABORTED);
    assert_int_equal(store_renew(f->store, 1000, 1, NS_PER_S, &test_error), CODE_INVALID_ARGUMENT);
    /* Who has it may fence again, and has it still. */
    assert_ok(store_fence(f->store, 0, 0, &next, &test_error));
    assert_int_equal(store_renew(f->store, 0, f->epoch, NS_PER_S, &test_error), CODE_ABORTED);
    assert_ok(store_renew(f->store, 0, next, NS_PER_S, &test_error));
    assert_ok(store_open_reader(f->store, &reader, &test_error));
    assert_int_equal(store_renew(reader, 0, next, NS_PER_S, &test_error), CODE_FAILED_PRECONDITION);
    store_close(reader);
}

static void test_a_lease_keeps_others_out_until_it_is_closed(void **state)
{
    struct fixture *f = *state;
    struct store *other = NULL;
    uint64_t epoch = 0;

    assert_ok(store_renew(f->store, 0, f->epoch, 3600 * NS_PER_S, &test_error));
    assert_int_equal(take_over(f, &other, &epoch), CODE_UNAVAILABLE);
    put(f, TABLE_CALL, 1, 0, "one");
    commit(f); /* nothing has changed for who has it */
    store_close(f->store);
    f->store = NULL;
    assert_ok(take_over(f, &other, &epoch));
    assert_true(epoch > f->epoch);
    assert_string_equal(all_text(other, TABLE_CALL), "1.0=one ");
    f->store = other;
}

static int64_t test_time;

static int64_t tell_test_time(struct clock *clock)
{
    (void)clock;
    return test_time;
}

static void test_a_lease_is_over_by_the_clock_of_the_store(void **state)
{
    static struct clock clock = {.now = tell_test_time};
    struct fixture *f = *state;
    struct store *other = NULL;
    uint64_t epoch = 0;

    if (use_sqlite)
        skip(); /* the lock lasts as long as its owner */
    test_time = 1000;
    store_memory_set_clock(f->bare, &clock);
    assert_ok(store_renew(f->store, 0, f->epoch, 50, &test_error));
    test_time += 40;
    assert_ok(store_renew(f->store, 0, f->epoch, 50, &test_error));
    test_time += 49;
    assert_int_equal(take_over(f, &other, &epoch), CODE_UNAVAILABLE);
    assert_int_equal(epoch, 0);
    test_time += 1; /* over; but nobody has come yet */
    put(f, TABLE_CALL, 1, 0, "one");
    commit(f);
    assert_ok(take_over(f, &other, &epoch));
    put(f, TABLE_CALL, 2, 0, "two");
    assert_int_equal(store_commit(f->store, 0, f->epoch, &f->batch, &test_error), CODE_ABORTED);
    assert_int_equal(store_renew(f->store, 0, f->epoch, 50, &test_error), CODE_ABORTED);
    assert_ok(store_renew(other, 0, epoch, 50, &test_error));
    assert_int_equal(store_fence(f->store, 0, 0, &f->epoch, &test_error), CODE_UNAVAILABLE);
    assert_ok(store_renew(other, 0, epoch, 0, &test_error)); /* given up */
    assert_ok(store_fence(f->store, 0, 0, &f->epoch, &test_error));
    assert_string_equal(all_text(f->store, TABLE_CALL), "1.0=one ");
    store_close(other);
}

static void test_tags_differ(void **state)
{
    struct fixture *f = *state, *other;
    void *second = NULL;

    assert_int_equal(set_up(&second), 0);
    other = second;
    assert_true(store_tag(f->store) <= ID_TAG_MAX);
    assert_true(store_tag(f->store) != store_tag(other->store));
    tear_down(&second);
}

#define CONFORMANCE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "memory";
    const struct CMUnitTest conformance[] = {
        CONFORMANCE(test_new_store_is_empty),
        CONFORMANCE(test_rows_come_in_order),
        CONFORMANCE(test_tables_are_apart),
        CONFORMANCE(test_last_operation_on_a_row_wins),
        CONFORMANCE(test_deleting_what_is_absent_is_no_error),
        CONFORMANCE(test_old_epoch_writes_nothing),
        CONFORMANCE(test_every_fence_raises_the_epoch),
        CONFORMANCE(test_empty_batch),
        CONFORMANCE(test_unknown_partition),
        CONFORMANCE(test_ranges_both_ways),
        CONFORMANCE(test_callback_stops_the_walk),
        CONFORMANCE(test_callback_may_read),
        CONFORMANCE(test_extreme_numbers),
        CONFORMANCE(test_big_and_empty_values),
        CONFORMANCE(test_get_of_an_absent_row),
        CONFORMANCE(test_reader_sees_what_is_committed),
        CONFORMANCE(test_random_batches_against_a_model),
        CONFORMANCE(test_reopening_keeps_everything),
        CONFORMANCE(test_renewal_is_of_the_epoch),
        CONFORMANCE(test_a_lease_keeps_others_out_until_it_is_closed),
        CONFORMANCE(test_a_lease_is_over_by_the_clock_of_the_store),
        CONFORMANCE(test_tags_differ),
    };

    use_sqlite = strncmp(kind, "sqlite", 6) == 0;
    use_faults = strstr(kind, "faults") != NULL;
    return cmocka_run_group_tests_name(kind, conformance, NULL, NULL);
}
