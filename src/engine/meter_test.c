// SPDX-License-Identifier: Apache-2.0
/* What is counted: calls by function, the time they wait for their turn, groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

static const struct engine_tally *tally(struct bench *b, const char *function)
{
    size_t count;
    const struct engine_tally *all = engine_tallies(b->e, &count);

    for (size_t i = 0; i < count; i++)
        if (slice_eq_str(all[i].function, function))
            return &all[i];
    return NULL;
}

static void test_calls_are_counted_by_function_through_their_states(void **state)
{
    struct bench *b = bench_create();
    uint64_t first = bench_dispatch(b, bench_spec("f")),
             second = bench_dispatch(b, bench_spec("f"));

    (void)state;
    assert_int_equal(tally(b, "f")->calls[CALL_READY], 2);
    bench_commit(b);
    assert_int_equal(tally(b, "f")->calls[CALL_RUNNING], 2);
    bench_exit(b, bench_take_run(b, first), STATUS_TEMPORARY_ERROR, NULL);
    assert_int_equal(tally(b, "f")->calls[CALL_WAITING], 1);
    bench_exit(b, bench_take_run(b, second), STATUS_NOT_FOUND, NULL);
    bench_commit(b);
    assert_int_equal(tally(b, "f")->ended[STATUS_NOT_FOUND], 1);
    assert_int_equal(tally(b, "f")->calls[CALL_RUNNING], 0);
    engine_check(b->e);
    bench_destroy(b);
}

static void test_a_tail_call_counts_for_the_other_function(void **state)
{
    struct bench *b = bench_create();
    uint64_t call = bench_dispatch(b, bench_spec("f"));
    struct engine_spec g = bench_spec("g");
    struct engine_answer a;

    (void)state;
    bench_commit(b);
    a = bench_answer_to(bench_take_run(b, call));
    a.outcome = ENGINE_TAIL;
    a.status = STATUS_OK;
    a.specs = &g;
    a.spec_count = 1;
    engine_answer(b->e, b->now, &a);
    engine_check(b->e);
    bench_commit(b);
    assert_int_equal(tally(b, "f")->calls[CALL_RUNNING] + tally(b, "f")->calls[CALL_READY], 0);
    assert_int_equal(tally(b, "g")->calls[CALL_RUNNING], 1);
    bench_exit(b, bench_take_run(b, call), STATUS_OK, NULL);
    assert_int_equal(tally(b, "g")->ended[STATUS_OK], 1);
    bench_destroy(b);
}

static void test_functions_past_the_limit_are_counted_together(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.functions_max = 2});
    size_t count;

    (void)state;
    for (int i = 0; i < 5; i++) {
        char name[8];

        snprintf(name, sizeof name, "f%d", i);
        bench_dispatch(b, bench_spec(name));
    }
    bench_commit(b);
    assert_int_equal(tally(b, "f0")->calls[CALL_RUNNING], 1);
    assert_int_equal(tally(b, "f1")->calls[CALL_RUNNING], 1);
    assert_int_equal(engine_tallies(b->e, &count)[0].calls[CALL_RUNNING], 3);
    assert_int_equal(count, 3);
    engine_check(b->e);
    bench_destroy(b);
}

/* 16 start at once; the seventeenth when one of them has ended, and that is how long it waited. */
static void test_the_wait_for_a_turn_is_measured(void **state)
{
    struct bench *b = bench_create();
    const struct histogram *h = engine_queue_wait(b->e);

    (void)state;
    for (int i = 0; i < 17; i++)
        bench_dispatch(b, bench_spec("f"));
    b->now += 9 * NS_PER_S; /* not yet durable: this is no waiting for a turn */
    bench_commit(b);
    assert_int_equal(h->counts[0], 16);
    b->now += 2 * NS_PER_S;
    engine_check(b->e);
    bench_exit(b, bench_take_run(b, 1), STATUS_OK, NULL);
    assert_int_equal(h->sum, 2 * NS_PER_S);
    bench_destroy(b);
}

static void test_a_group_says_what_made_its_window_smaller(void **state)
{
    struct bench *b = bench_create();
    struct engine_group g;
    uint32_t at = 0;

    (void)state;
    for (int i = 0; i < 20; i++)
        bench_dispatch(b, bench_spec("f"));
    bench_commit(b);
    bench_exit(b, bench_take_run(b, 1), STATUS_THROTTLED, NULL);
    assert_int_equal(engine_group_count(b->e), 1);
    assert_true(engine_next_group(b->e, &at, &g));
    assert_true(slice_eq_str(g.org, "default") && slice_eq_str(g.host, "http://localhost:8000"));
    assert_int_equal((int)g.window, 12);
    assert_int_equal(g.in_flight, 15);
    assert_int_equal(g.ready, 4);
    assert_int_equal(g.attempts, 16);
    assert_int_equal(g.decreases, 1);
    assert_int_equal(g.decreased_by, STATUS_THROTTLED);
    assert_false(g.decreased_on_the_way);
    assert_int_equal(g.decreased_at, b->now);
    assert_false(engine_next_group(b->e, &at, &g));
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_are_counted_by_function_through_their_states),
        cmocka_unit_test(test_a_tail_call_counts_for_the_other_function),
        cmocka_unit_test(test_functions_past_the_limit_are_counted_together),
        cmocka_unit_test(test_the_wait_for_a_turn_is_measured),
        cmocka_unit_test(test_a_group_says_what_made_its_window_smaller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
