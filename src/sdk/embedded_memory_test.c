// SPDX-License-Identifier: Apache-2.0
/*
 * Opening and closing an embedded orchestrator when the Nth allocation fails, for every N: it
 * fails with a word about memory or is open, and either way nothing is left behind. And a call that
 * waits for another one, from its dispatch to its result: whoever asked is told, or has the result,
 * and what was acknowledged ends as if nothing had been refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/scarce.h"
#include "sdk/internal.h"

static struct dispatch_result answer(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx, (void)input;
    return dispatch_ok(dispatch_int(42));
}

static struct dispatch_result asks(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    return dispatch_call(ctx, "answer", input);
}

static void test_open(void **state)
{
    struct dispatch_embedded_options options = {
        .store = "memory:", .own_loop = true, .run_in_step = true};
    struct dispatch_embedded *embedded;
    size_t failures = 0;
    int rc;

    (void)state;
    for (long n = 1;; n++) {
        struct dispatch_failure failure = {0};

        embedded = NULL;
        scarce_begin(n, 1);
        rc = dispatch_embedded_open(&options, &embedded, &failure);
        if (rc == 0 && !scarce_met())
            break; /* it needed fewer */
        if (rc && rc != CODE_RESOURCE_EXHAUSTED)
            fail_msg("the %ldth refused: code %d, %s", n, rc, failure.message);
        assert_int_equal(!rc, embedded != NULL);
        failures += rc != 0;
        dispatch_embedded_close(embedded);
    }
    scarce_end();
    assert_true(failures > 10);
    dispatch_embedded_close(embedded);
}

/* The first and the last steps, too. */
static void test_close(void **state)
{
    struct dispatch_embedded_options options = {
        .store = "memory:", .own_loop = true, .run_in_step = true};
    struct dispatch_embedded *embedded;
    bool spared = false;

    (void)state;
    for (long n = 1; !spared; n++) {
        assert_int_equal(dispatch_embedded_open(&options, &embedded, NULL), 0);
        scarce_begin(n, 1);
        dispatch_embedded_step(embedded);
        dispatch_embedded_close(embedded);
        spared = !scarce_end();
    }
}

/* A failure that is one of memory, of which one was refused. */
static void check_refusal(long n, const struct dispatch_failure *failure)
{
    if (!scarce_met() || failure->code != CODE_RESOURCE_EXHAUSTED)
        fail_msg("the %ldth refused: code %d, %s", n, failure->code, failure->message);
}

/* Asks until it is acknowledged, then until the result is there. */
static void call_with_refusal(struct dispatch_client *client, long n)
{
    struct dispatch_call call = dispatch_to("asks", dispatch_null());
    struct dispatch_failure failure = {0};
    struct dispatch_result result = {0};
    struct dispatch_ids ids = {0};
    int64_t number = 0;

    scarce_begin(n, 1);
    while (dispatch_client_dispatch(client, &call, 1, &ids, &failure))
        check_refusal(n, &failure);
    while (dispatch_client_wait(client, ids.id[0], 60000, &result, &failure))
        check_refusal(n, &failure);
    if (result.error)
        fail_msg("the %ldth refused: %s: %s", n, result.error->type, result.error->message);
    assert_true(dispatch_as_int(result.output, &number));
    assert_int_equal(number, 42);
    dispatch_result_free(&result);
    dispatch_ids_free(&ids);
}

/* Every second one, as most of them cost a retry's delay. */
static void test_requests(void **state)
{
    struct dispatch_embedded_options options = {
        .store = "memory:", .own_loop = true, .run_in_step = true};
    struct dispatch_embedded *embedded;
    bool spared = false;
    long n = 1;

    (void)state;
    assert_int_equal(dispatch_embedded_open(&options, &embedded, NULL), 0);
    for (; !spared; n += 2) {
        call_with_refusal(dispatch_embedded_client(embedded), n);
        spared = !scarce_end();
    }
    assert_true(n > 50);
    dispatch_embedded_close(embedded);
}

static void test_afterwards(void **state)
{
    struct dispatch_run_options options = {.store = "memory:"};
    struct dispatch_result result =
        dispatch_run_with(&options, dispatch_to("answer", dispatch_null()));
    int64_t n = 0;

    (void)state;
    assert_true(dispatch_as_int(result.output, &n));
    assert_int_equal(n, 42);
    dispatch_result_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_afterwards),
    };

    dispatch_register(NULL, "answer", answer, NULL);
    dispatch_register(NULL, "asks", asks, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
