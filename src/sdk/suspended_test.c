// SPDX-License-Identifier: Apache-2.0
/* How many suspended functions are kept, and what they may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sdk/suspended.h"

enum { LARGE = 100000 };

static int dropped;

static void count_drop(void *arg)
{
    (void)arg;
    dropped++;
}

/* Waits, with so many bytes of memory. */
static struct dispatch_result waits(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t size = 0;

    dispatch_as_int(input, &size);
    dispatch_alloc(ctx, (size_t)size);
    dispatch_defer(ctx, count_drop, NULL);
    dispatch_sleep(ctx, 3600 * 1000);
    return dispatch_ok(dispatch_null());
}

static void run(struct sdk_coroutines *coroutines, dispatch_function *function, int call,
                int64_t input)
{
    struct dispatch_run_request request = {.function = "waits", .input = dispatch_int(input)};
    struct sdk_answer answer;
    struct dispatch_ctx *ctx;
    char id[16];
    void *bytes;
    size_t size;

    snprintf(id, sizeof id, "call-%d", call);
    request.dispatch_id = id;
    assert_int_equal(dispatch_run_request_pack(&request, &bytes, &size, NULL), 0);
    assert_int_equal(sdk_ctx_unpack(slice(bytes, size), (size_t)64 << 20, &ctx, NULL), 0);
    assert_int_equal(sdk_coroutines_run(coroutines, function, ctx, 1, &answer, NULL), 0);
    sdk_answer_free(&answer);
    dispatch_bytes_free(bytes);
}

static void create(struct sdk_coroutines_options options, struct sdk_coroutines **coroutines)
{
    options.registry = dispatch_registry_default();
    dropped = 0;
    assert_int_equal(sdk_coroutines_create(&options, coroutines, NULL), 0);
}

static size_t kept(struct sdk_coroutines *coroutines)
{
    size_t count, bytes;

    sdk_coroutines_kept(coroutines, &count, &bytes);
    assert_true((count == 0) == (bytes == 0));
    return count;
}

static void test_count(void **state)
{
    struct sdk_coroutines *coroutines;

    (void)state;
    create((struct sdk_coroutines_options){.max_suspended = 3}, &coroutines);
    for (int i = 0; i < 5; i++)
        run(coroutines, waits, i, 0);
    assert_int_equal(kept(coroutines), 3);
    assert_int_equal(dropped, 2);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-1")), 0);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-2")), 1);
    sdk_coroutines_destroy(coroutines);
    assert_int_equal(dropped, 5);
}

static void test_none(void **state)
{
    struct sdk_coroutines *coroutines;

    (void)state;
    create((struct sdk_coroutines_options){.max_suspended = -1}, &coroutines);
    run(coroutines, waits, 0, 0);
    assert_int_equal(kept(coroutines), 0);
    assert_int_equal(dropped, 1);
    sdk_coroutines_destroy(coroutines);
}

static void test_bytes(void **state)
{
    struct sdk_coroutines *coroutines;
    size_t count, bytes;

    (void)state;
    create((struct sdk_coroutines_options){.max_suspended_bytes = (size_t)10 * LARGE}, &coroutines);
    for (int i = 0; i < 3; i++)
        run(coroutines, waits, i, LARGE);
    sdk_coroutines_kept(coroutines, &count, &bytes);
    assert_int_equal(count, 3);
    assert_in_range(bytes, 3 * LARGE, 6 * LARGE);
    /* A larger one takes the places of those that waited longest. */
    run(coroutines, waits, 3, 7 * LARGE);
    sdk_coroutines_kept(coroutines, &count, &bytes);
    assert_int_equal(count + (size_t)dropped, 4);
    assert_in_range(dropped, 1, 3);
    assert_in_range(bytes, 7 * LARGE, 10 * LARGE);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-0")), 0);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-3")), 1);
    /* One that would not fit alone leaves the others where they are. */
    run(coroutines, waits, 4, 11 * LARGE);
    assert_int_equal(kept(coroutines), count);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-4")), 0);
    sdk_coroutines_destroy(coroutines);
    assert_int_equal(dropped, 5);
}

/* Uses more of its stack than the default has. */
static struct dispatch_result deep(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    char large[600000];

    memset(large, 1, sizeof large);
    dispatch_random(ctx);
    return dispatch_ok(large[input.size_ % sizeof large] ? input : dispatch_null());
}

static void test_stack_size(void **state)
{
    struct sdk_coroutines *coroutines;

    (void)state;
    create((struct sdk_coroutines_options){.stack_size = 1 << 20}, &coroutines);
    run(coroutines, deep, 0, 1);
    sdk_coroutines_destroy(coroutines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_stack_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
