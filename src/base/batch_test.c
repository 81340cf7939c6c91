// SPDX-License-Identifier: Apache-2.0
/* The order of operations, the ownership of values, and blobs' counts. */
#include "base/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_order_and_values(void **state)
{
    struct batch b;
    char text[] = "changed later";

    (void)state;
    batch_init(&b);
    assert_true(batch_put(&b, TABLE_CALL, KEY_MAX, 0, slice_str(text)));
    assert_true(batch_delete(&b, TABLE_PAYLOAD, 2, SUB_MAX));
    assert_true(batch_put(&b, TABLE_META, 3, 4, (struct slice){0}));
    memset(text, 'x', sizeof text - 1);

    assert_int_equal(b.count, 3);
    assert_int_equal(b.bytes, 13);
    assert_int_equal(b.ops[0].table, TABLE_CALL);
    assert_true(b.ops[0].put);
    assert_true(b.ops[0].key == KEY_MAX);
    assert_true(slice_eq_str(b.ops[0].value, "changed later"));
    assert_int_equal(b.ops[1].table, TABLE_PAYLOAD);
    assert_false(b.ops[1].put);
    assert_int_equal(b.ops[1].key, 2);
    assert_int_equal(b.ops[1].sub, SUB_MAX);
    /* An empty value is still a value: SQLite would take a NULL pointer for NULL. */
    assert_true(b.ops[2].put);
    assert_int_equal(b.ops[2].value.len, 0);
    assert_non_null(b.ops[2].value.data);
    batch_free(&b);
    assert_int_equal(b.count, 0);
    batch_free(&b);
}

static void test_blobs_are_counted(void **state)
{
    struct blob *blob = blob_copy(slice_str("payload"));
    struct batch b;

    (void)state;
    assert_non_null(blob);
    batch_init(&b);
    assert_true(batch_put_blob(&b, TABLE_PAYLOAD, 1, PAYLOAD_INPUT, blob));
    assert_true(batch_put_blob(&b, TABLE_PAYLOAD, 2, PAYLOAD_INPUT, blob));
    assert_int_equal(atomic_load(&blob->refs), 3);
    assert_ptr_equal(b.ops[0].value.data, blob->data);
    assert_int_equal(b.bytes, 14);
    batch_reset(&b);
    assert_int_equal(atomic_load(&blob->refs), 1);
    assert_int_equal(b.bytes, 0);

    assert_true(batch_put_blob(&b, TABLE_PAYLOAD, 1, PAYLOAD_STATE, blob));
    blob_unref(blob); /* the batch's reference keeps it */
    assert_true(slice_eq_str(b.ops[0].value, "payload"));
    batch_free(&b);
}

static void test_blob_edges(void **state)
{
    struct blob *empty = blob_copy((struct slice){0});

    (void)state;
    assert_int_equal(blob_slice(empty).len, 0);
    assert_ptr_equal(blob_ref(empty), empty);
    blob_unref(empty);
    blob_unref(empty);
    assert_null(blob_ref(NULL));
    blob_unref(NULL);
    assert_int_equal(blob_slice(NULL).len, 0);
    assert_null(blob_new(SIZE_MAX));
}

static void test_many_and_again(void **state)
{
    struct batch b;

    (void)state;
    batch_init(&b);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 5000; i++)
            assert_true(batch_put(&b, TABLE_CALL, i, 0, slice(&i, sizeof i)));
        assert_int_equal(b.count, 5000);
        assert_int_equal(b.bytes, 40000);
        for (uint64_t i = 0; i < 5000; i++) {
            assert_int_equal(b.ops[i].key, i);
            assert_true(slice_eq(b.ops[i].value, slice(&i, sizeof i)));
        }
        batch_reset(&b);
    }
    batch_free(&b);
}

static void test_limits(void **state)
{
    struct batch b;
    struct batch_op *ops;

    (void)state;
    batch_init(&b);
    assert_true(batch_reserve(&b, 100));
    ops = b.ops;
    for (uint64_t i = 0; i < 100; i++)
        assert_true(batch_delete(&b, TABLE_CALL, i, 0));
    assert_ptr_equal(b.ops, ops);
    assert_false(batch_reserve(&b, BATCH_OPS_MAX - 99));
    assert_false(batch_reserve(&b, SIZE_MAX));
    /* Refused by its length alone; the bytes are not looked at. */
    assert_false(batch_put(&b, TABLE_CALL, 1, 0, slice("", BATCH_BYTES_MAX + 1)));
    assert_int_equal(b.count, 100);
    assert_int_equal(b.bytes, 0);
    batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_values), cmocka_unit_test(test_blobs_are_counted),
        cmocka_unit_test(test_blob_edges),       cmocka_unit_test(test_many_and_again),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
