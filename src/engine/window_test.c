// SPDX-License-Identifier: Apache-2.0
/* The window of a group: how it grows and shrinks; and what people are told of a call that waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

static void expect_why(struct bench *b, uint64_t id, const char *text)
{
    struct buf out;

    buf_init(&out, 1000);
    engine_why(b->e, b->now, id, &out);
    assert_string_equal(buf_cstr(&out), text);
    buf_free(&out);
}

/* So many calls that there is always one that is ready; its id. */
static uint64_t crowd(struct bench *b, int count)
{
    uint64_t id = 0;

    for (int i = 0; i < count; i++)
        id = bench_dispatch(b, bench_spec("f"));
    bench_commit(b);
    return id;
}

static void expect_window(struct bench *b, size_t window)
{
    assert_int_equal(b->runs_len, window);
}

/* The oldest run fails. */
static void run_fails(struct bench *b, enum status status, bool transport, bool blameless)
{
    struct engine_answer a = bench_answer_to(bench_take_run(b, b->runs[0].call));

    a.status = status;
    a.transport = transport;
    a.blameless = blameless;
    engine_answer(b->e, b->now, &a);
    bench_commit(b);
}

static void succeed(struct bench *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bench_exit(b, bench_take_run(b, b->runs[0].call), STATUS_OK, NULL);
}

static void test_it_doubles_until_the_first_decrease(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.window_max = 100});

    (void)state;
    crowd(b, 1000);
    expect_window(b, 16);
    succeed(b, 16);
    expect_window(b, 32);
    succeed(b, 32);
    expect_window(b, 64);
    run_fails(b, STATUS_THROTTLED, false, false);
    succeed(b, 16); /* 63 were in flight */
    expect_window(b, 48);
    succeed(b, 32);
    expect_window(b, 48); /* a little less than 49: it grew by 1/48 at first, then by less */
    succeed(b, 1);
    expect_window(b, 49);
    bench_destroy(b);
}

static void test_it_stays_within_its_bounds(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.window_max = 20});

    (void)state;
    crowd(b, 200);
    succeed(b, 50);
    expect_window(b, 20);
    for (int i = 0; i < 20; i++) {
        b->now += NS_PER_S;
        run_fails(b, STATUS_TCP_ERROR, true, false);
    }
    succeed(b, 1);
    run_fails(b, STATUS_TCP_ERROR, true, false);
    succeed(b, b->runs_len > 1 ? b->runs_len - 1 : 0);
    assert_true(b->runs_len >= 1 && b->runs_len <= 2);
    bench_destroy(b);
}

/* Runs in flight of calls after this one, or up to it. */
static size_t in_flight(const struct bench *b, uint64_t id, bool after)
{
    size_t count = 0;

    for (size_t i = 0; i < b->runs_len; i++)
        count += (b->runs[i].call > id) == after;
    return count;
}

/* What one overloads at a host is nothing to another's calls to that same host. */
static void test_organizations_have_windows_of_their_own(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.window_max = 100});
    uint64_t last = crowd(b, 100), id;
    struct engine_spec spec = bench_spec("f");
    size_t first = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(engine_dispatch(b->e, b->now, slice_str("other"), &spec, 1, b, &id, NULL),
                         0);
    bench_commit(b);
    assert_int_equal(in_flight(b, last, false), 16);
    assert_int_equal(in_flight(b, last, true), 16);

    run_fails(b, STATUS_THROTTLED, false, false);
    assert_int_equal(in_flight(b, last, false), 15);
    assert_true(b->runs[0].call <= last);
    succeed(b, 4);
    assert_int_equal(in_flight(b, last, false), 12); /* all that is left of its window */
    assert_int_equal(in_flight(b, last, true), 16);
    while (b->runs[first].call <= last)
        first++;
    bench_exit(b, bench_take_run(b, b->runs[first].call), STATUS_OK, NULL);
    assert_int_equal(in_flight(b, last, true), 17); /* and this one's grows */
    bench_destroy(b);
}

static void test_what_decreases_it(void **state)
{
    static const struct {
        enum status status;
        bool transport, blameless;
        size_t window; /* of the 16 */
    } cases[] = {
        {STATUS_THROTTLED, false, false, 12},
        {STATUS_TIMEOUT, false, false, 12},
        {STATUS_TEMPORARY_ERROR, false, false, 12},
        {STATUS_TEMPORARY_ERROR, false, true, 16}, /* Diverged */
        {STATUS_TCP_ERROR, true, false, 12},
        {STATUS_TCP_ERROR, false, false, 16}, /* the function's own words: no sign either way */
        {STATUS_INCOMPATIBLE_STATE, false, false, 16},
        {STATUS_PERMANENT_ERROR, false, false, 17}, /* a success, as far as the host goes */
        {STATUS_OK, false, false, 17},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench *b = bench_create();

        crowd(b, 100);
        run_fails(b, cases[i].status, cases[i].transport, cases[i].blameless);
        for (size_t n = b->runs_len; n > cases[i].window; n--) {
            struct engine_answer a = bench_answer_to(bench_take_run(b, b->runs[0].call));

            a.outcome = ENGINE_GONE; /* changes nothing */
            engine_answer(b->e, b->now, &a);
            bench_commit(b);
        }
        expect_window(b, cases[i].window);
        bench_destroy(b);
    }
}

static void test_at_most_once_a_second(void **state)
{
    struct bench *b = bench_create();
    uint64_t last = crowd(b, 100);

    (void)state;
    run_fails(b, STATUS_TIMEOUT, false, false);
    run_fails(b, STATUS_TIMEOUT, false, false);
    expect_why(b, last,
               "its place among 84 ready calls to http://localhost:8000: 14 of 12 runs in flight");
    b->now += NS_PER_S;
    run_fails(b, STATUS_TIMEOUT, false, false);
    expect_why(b, last,
               "its place among 84 ready calls to http://localhost:8000: 13 of 9 runs in flight");
    bench_destroy(b);
}

static void test_an_application_s_own_failures_leave_four(void **state)
{
    struct bench *b = bench_create();

    (void)state;
    crowd(b, 200);
    for (int i = 0; i < 16; i++) {
        b->now += NS_PER_S;
        run_fails(b, STATUS_TEMPORARY_ERROR, false, false);
    }
    expect_window(b, 4);
    b->now += NS_PER_S;
    run_fails(b, STATUS_TIMEOUT, false, false);
    expect_window(b, 3);
    b->now += NS_PER_S;
    run_fails(b, STATUS_TEMPORARY_ERROR, false, false); /* and does not raise it */
    expect_window(b, 3);
    bench_destroy(b);
}

static void test_what_calls_wait_for(void **state)
{
    struct bench *b = bench_create();
    struct engine_spec s = bench_spec("f"), children[5];
    struct engine_answer a;
    uint64_t id;

    (void)state;
    s.not_before = b->now + 3200 * NS_PER_MS;
    id = bench_dispatch(b, s);
    expect_why(b, id, "its start in 3.2 s");
    bench_commit(b);
    bench_advance(b, 3200 * NS_PER_MS);
    expect_why(b, id, ""); /* it runs */
    bench_exit(b, bench_take_run(b, id), STATUS_OK, NULL);
    expect_why(b, id, "");
    id = bench_dispatch(b, bench_spec("f"));
    expect_why(b, id, "its record to be durable");
    bench_commit(b);
    bench_exit(b, bench_take_run(b, id), STATUS_TEMPORARY_ERROR, NULL);
    expect_why(b, id, "retry in 0.1 s after TEMPORARY_ERROR");
    bench_sleep(b);
    a = bench_answer_to(bench_take_run(b, id));
    a.max_wait_ns = 60 * NS_PER_S;
    bench_poll(b, a, "s");
    expect_why(b, id, "max_wait, in 60.0 s");
    bench_sleep(b);
    for (int i = 0; i < 5; i++)
        children[i] = bench_spec("child");
    a = bench_answer_to(bench_take_run(b, id));
    a.specs = children;
    a.spec_count = 5;
    a.min_results = 4;
    bench_poll(b, a, "s");
    bench_exit(b, bench_take_run(b, id + 1), STATUS_OK, NULL);
    expect_why(b, id, "1 of 4 results; 4 calls outstanding");
    engine_hold_runs(b->e, true);
    id = bench_dispatch(b, s);
    bench_commit(b);
    expect_why(b, id, "runs to be started again: the orchestrator is stopping");
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_doubles_until_the_first_decrease),
        cmocka_unit_test(test_it_stays_within_its_bounds),
        cmocka_unit_test(test_organizations_have_windows_of_their_own),
        cmocka_unit_test(test_what_decreases_it),
        cmocka_unit_test(test_at_most_once_a_second),
        cmocka_unit_test(test_an_application_s_own_failures_leave_four),
        cmocka_unit_test(test_what_calls_wait_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
