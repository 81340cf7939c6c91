// SPDX-License-Identifier: Apache-2.0
/* Each fault strikes when told, once, and does to the inner store exactly what it says. */
#include "store/test.h"

struct fixture {
    struct store_faults faults;
    struct store *store, *inner; /* inner: another handle on the same data */
    uint64_t epoch;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct store *memory = NULL;

    assert_non_null(f);
    assert_ok(store_memory_create(&memory, 5, &test_error));
    assert_ok(store_memory_share(&f->inner, memory, &test_error));
    assert_ok(store_fault_create(&f->store, memory, &f->faults, &test_error));
    assert_ok(store_fence(f->store, 0, 0, &f->epoch, &test_error));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    store_close(f->store);
    store_close(f->inner);
    free(f);
    return 0;
}

/* Commits row `key` of CALL: "x" copied in, and a blob, and the deletion of row 1000 + key. */
static int commit(struct fixture *f, uint64_t key)
{
    struct blob *blob = blob_copy(slice_str("blob"));
    struct batch batch;
    int code;

    batch_init(&batch);
    assert_true(batch_put(&batch, TABLE_CALL, key, 0, slice_str("x")));
    assert_true(batch_put_blob(&batch, TABLE_CALL, key, 1, blob));
    assert_true(batch_delete(&batch, TABLE_CALL, 1000 + key, 0));
    code = store_commit(f->store, 0, f->epoch, &batch, &test_error);
    batch_free(&batch);
    blob_unref(blob);
    return code;
}

static const char *rows(struct store *store)
{
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX};

    return test_walk_text(store, &range);
}

static void test_failed_commit_is_not_written(void **state)
{
    struct fixture *f = *state;

    f->faults.fail_commit_in = 2;
    assert_ok(commit(f, 1));
    assert_int_equal(commit(f, 2), CODE_UNAVAILABLE);
    assert_string_equal(rows(f->inner), "1.0=x 1.1=blob ");
    assert_ok(commit(f, 3));
    assert_string_equal(rows(f->inner), "1.0=x 1.1=blob 3.0=x 3.1=blob ");
    assert_int_equal(f->faults.commits, 3);
    assert_int_equal(f->faults.failures, 1);
}

static void test_lost_commit_is_written(void **state)
{
    struct fixture *f = *state;

    f->faults.lose_commit_in = 1;
    assert_int_equal(commit(f, 1), CODE_UNAVAILABLE);
    assert_string_equal(rows(f->inner), "1.0=x 1.1=blob ");
    assert_ok(commit(f, 2));
}

static void test_late_commit_lands_before_the_next_operation(void **state)
{
    struct fixture *f = *state;

    f->faults.late_commit_in = 1;
    assert_int_equal(commit(f, 1), CODE_UNAVAILABLE);
    assert_string_equal(rows(f->inner), "");
    assert_string_equal(rows(f->store), "1.0=x 1.1=blob ");
    f->faults.late_commit_in = 1;
    assert_int_equal(commit(f, 2), CODE_UNAVAILABLE);
    assert_string_equal(rows(f->inner), "1.0=x 1.1=blob ");
    assert_ok(commit(f, 3));
    assert_string_equal(rows(f->inner), "1.0=x 1.1=blob 2.0=x 2.1=blob 3.0=x 3.1=blob ");
}

static void test_late_commit_cannot_land_after_a_fence(void **state)
{
    struct fixture *f = *state;

    f->faults.late_commit_in = 1;
    assert_int_equal(commit(f, 1), CODE_UNAVAILABLE);
    assert_ok(store_fence(f->store, 0, 0, &f->epoch, &test_error));
    assert_string_equal(rows(f->store), "");
    assert_ok(commit(f, 2));
    assert_string_equal(rows(f->store), "2.0=x 2.1=blob ");
}

static void test_late_commit_is_refused_by_a_fence_behind_its_back(void **state)
{
    struct fixture *f = *state;
    uint64_t epoch = 0;

    f->faults.late_commit_in = 1;
    assert_int_equal(commit(f, 1), CODE_UNAVAILABLE);
    assert_ok(store_fence(f->inner, 0, 0, &epoch, &test_error));
    assert_string_equal(rows(f->store), "");
    assert_int_equal(commit(f, 2), CODE_ABORTED);
}

static void test_full_disk_until_cleared(void **state)
{
    struct fixture *f = *state;
    uint64_t epoch = 77;

    f->faults.fail_all = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(commit(f, 1), CODE_UNAVAILABLE);
        assert_int_equal(store_fence(f->store, 0, 10, &epoch, &test_error), CODE_UNAVAILABLE);
    }
    assert_int_equal(epoch, 77);
    assert_int_equal(f->faults.failures, 6);
    assert_string_equal(rows(f->store), "");
    f->faults.fail_all = false;
    assert_ok(store_fence(f->store, 0, 10, &epoch, &test_error));
    assert_true(epoch == f->epoch + 1);
}

static void test_data_outlives_a_handle(void **state)
{
    struct fixture *f = *state;
    struct store *again = NULL;

    assert_ok(commit(f, 1));
    store_close(f->store);
    assert_ok(store_memory_share(&again, f->inner, &test_error));
    f->store = again;
    assert_true(store_tag(again) == 5);
    assert_string_equal(rows(again), "1.0=x 1.1=blob ");
    assert_ok(commit(f, 2)); /* the epoch is still the one fenced before */
}

#define FAULT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest fault[] = {
        FAULT(test_failed_commit_is_not_written),
        FAULT(test_lost_commit_is_written),
        FAULT(test_late_commit_lands_before_the_next_operation),
        FAULT(test_late_commit_cannot_land_after_a_fence),
        FAULT(test_late_commit_is_refused_by_a_fence_behind_its_back),
        FAULT(test_full_disk_until_cleared),
        FAULT(test_data_outlives_a_handle),
    };

    return cmocka_run_group_tests(fault, NULL, NULL);
}
