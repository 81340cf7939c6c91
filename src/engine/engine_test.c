// SPDX-License-Identifier: Apache-2.0
/* The engine alone, event by event: what comes out, what is written, what survives a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

/* --- tests -------------------------------------------------------------------------------------
 */

static void test_nothing_leaves_before_the_commit(void **state)
{
    struct bench *b = bench_create();
    uint64_t id = bench_dispatch(b, bench_spec("f"));
    const struct batch *batch;

    (void)state;
    bench_drain(b);
    assert_int_equal(b->accepted + (int)b->runs_len, 0);
    batch = engine_batch(b->e);
    assert_non_null(batch);
    assert_null(engine_batch(b->e)); /* one under way at a time */
    bench_drain(b);
    assert_int_equal(b->accepted + (int)b->runs_len, 0);
    bench_apply(b, batch);
    engine_committed(b->e, b->now);
    bench_drain(b);
    assert_int_equal(b->accepted, 1);
    bench_exit(b, bench_take_run(b, id), STATUS_OK, "42");
    assert_int_equal(b->done, 1);
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    assert_int_equal(engine_next_due(b->e), TIME_NEVER);
    bench_destroy(b);
}

static void test_dispatch_is_atomic_and_bounded(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.live_max = 10, .calls_max = 8});
    struct engine_spec s[9];
    uint64_t id;
    struct error err;

    (void)state;
    for (int i = 0; i < 9; i++)
        s[i] = bench_spec("f");
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("o"), s, 9, NULL, &id, &err),
                     CODE_INVALID_ARGUMENT);
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("o"), s, 8, NULL, &id, &err), 0);
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("o"), s, 2, NULL, &id, &err),
                     CODE_RESOURCE_EXHAUSTED);
    bench_commit(b);
    assert_int_equal(bench_count(b, TABLE_CALL), 8);
    bench_destroy(b);
}

static void test_retries_back_off_until_expiration(void **state)
{
    struct bench *b = bench_create();
    struct engine_spec s = bench_spec("f");
    struct engine_row row;
    int64_t last = 0;

    (void)state;
    s.expiration_ns = 60 * NS_PER_S;
    uint64_t id = bench_dispatch(b, s);

    bench_commit(b);
    for (int n = 1; n <= 8; n++) {
        bench_exit(b, bench_take_run(b, id), STATUS_TEMPORARY_ERROR, "dropped");
        assert_int_equal(bench_state(b, id), CALL_WAITING);
        int64_t delay = engine_next_due(b->e) - b->now, full = 100 * NS_PER_MS << (n - 1);

        assert_true(delay >= full / 2 && delay <= full);
        assert_true(delay * 4 > last);
        last = delay;
        bench_sleep(b);
    }
    bench_exit(b, bench_take_run(b, id), STATUS_TEMPORARY_ERROR, NULL);
    b->now = 1060 * NS_PER_S - 1;
    engine_tick(b->e, b->now);
    bench_commit(b);
    if (b->runs_len)
        bench_exit(b, bench_take_run(b, id), STATUS_TIMEOUT, NULL);
    assert_int_equal(b->done, 0);
    bench_advance(b, 1);
    bench_result(b, id, &row);
    assert_int_equal(row.end, END_EXPIRED);
    assert_int_equal(row.status, STATUS_TIMEOUT);
    assert_true(row.attempts >= 9);
    bench_destroy(b);
}

static void test_expiration_wins_over_an_answer_of_the_same_time(void **state)
{
    struct bench *b = bench_create();
    struct engine_spec s = bench_spec("f");
    struct engine_row row;

    (void)state;
    s.expiration_ns = NS_PER_S;
    uint64_t id = bench_dispatch(b, s);

    bench_commit(b);
    b->now += NS_PER_S;
    bench_exit(b, bench_take_run(b, id), STATUS_OK, "late");
    assert_false(bench_result(b, id, &row).has_output);
    assert_int_equal(row.end, END_EXPIRED);
    bench_destroy(b);
}

static void test_a_stale_answer_changes_nothing(void **state)
{
    struct bench *b = bench_create();
    uint64_t id = bench_dispatch(b, bench_spec("f"));

    (void)state;
    bench_commit(b);
    struct engine_effect first = bench_take_run(b, id);

    bench_crash(b);
    struct engine_effect second = bench_take_run(b, id);

    assert_true(first.attempt != second.attempt);
    struct engine_answer a = bench_answer_to(second);

    a.attempt = first.attempt; /* as if the old one came in: same window, not current */
    engine_answer(b->e, b->now, &a);
    bench_commit(b);
    assert_int_equal(bench_state(b, id), CALL_RUNNING);
    bench_destroy(b);
}

static void test_terminal_statuses_keep_output_and_error(void **state)
{
    struct bench *b = bench_create();
    uint64_t id = bench_dispatch(b, bench_spec("f"));
    struct engine_row row;
    struct engine_result r;

    (void)state;
    bench_commit(b);
    struct engine_answer a = bench_answer_to(bench_take_run(b, id));

    a.status = STATUS_PERMANENT_ERROR;
    a.output = blob_copy(slice_str("partial"));
    a.error = blob_copy(slice_str("why"));
    engine_answer(b->e, b->now, &a);
    blob_unref(a.output);
    blob_unref(a.error);
    bench_commit(b);
    r = bench_result(b, id, &row);
    assert_true(slice_eq_str(r.output, "partial") && slice_eq_str(r.error, "why"));
    assert_int_equal(row.status, STATUS_PERMANENT_ERROR);
    bench_destroy(b);
}

/* A parent that polls for three children, min 2. */
static uint64_t suspended_parent(struct bench *b, uint64_t child[3], int32_t min, int32_t max)
{
    uint64_t id = bench_dispatch(b, bench_spec("parent"));
    struct engine_spec s[3];

    bench_commit(b);
    struct engine_answer a = bench_answer_to(bench_take_run(b, id));

    for (int i = 0; i < 3; i++) {
        s[i] = (struct engine_spec){.function = slice_str("child"),
                                    .correlation_id = 100 + (uint64_t)i};
        child[i] = id + 1 + (uint64_t)i;
    }
    a.specs = s;
    a.spec_count = 3;
    a.min_results = min;
    a.max_results = max;
    bench_poll(b, a, "s1");
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    return id;
}

static void test_poll_waits_for_min_results(void **state)
{
    struct bench *b = bench_create();
    uint64_t child[3], id = suspended_parent(b, child, 2, 10);
    struct engine_run run;

    (void)state;
    bench_exit(b, bench_take_run(b, child[1]), STATUS_OK, "1");
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_exit(b, bench_take_run(b, child[0]), STATUS_OK, "0");
    struct engine_effect f = bench_take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_false(run.first);
    assert_int_equal(run.result_count, 2);
    assert_int_equal(run.results[0], child[1]); /* in the order they finished */
    assert_int_equal(run.results[1], child[0]);
    assert_int_equal(run.row.outstanding, 1);
    /* A failed resume keeps them for the next. */
    bench_exit(b, f, STATUS_THROTTLED, NULL);
    bench_sleep(b);
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 2);
    /* Outstanding calls span polls: this one starts none and waits for the third. */
    bench_poll(b, bench_answer_to(f), "s2");
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_exit(b, bench_take_run(b, child[2]), STATUS_OK, "2");
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 1);
    bench_exit(b, f, STATUS_OK, "joined");
    assert_int_equal(b->done, 4);
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    assert_int_equal(bench_count(b, TABLE_PAYLOAD), 0);
    bench_destroy(b);
}

static void test_poll_resumes_when_nothing_is_outstanding(void **state)
{
    struct bench *b = bench_create();
    uint64_t child[3], id = suspended_parent(b, child, 1000, 1);
    struct engine_run run;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
        bench_exit(b, bench_take_run(b, child[i]), STATUS_OK, NULL);
    }
    struct engine_effect f = bench_take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 1); /* max_results */
    /* The rest stays queued for the next poll, which therefore resumes at once. */
    struct engine_answer a = bench_answer_to(f);

    a.min_results = 1000;
    bench_poll(b, a, "s2");
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.results[0], child[1]);
    bench_destroy(b);
}

static void test_poll_survives_crashes(void **state)
{
    struct bench *b = bench_create();
    uint64_t child[3], id = suspended_parent(b, child, 2, 10);
    struct engine_run run;

    (void)state;
    bench_crash(b);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_exit(b, bench_take_run(b, child[2]), STATUS_OK, "2");
    bench_crash(b);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_exit(b, bench_take_run(b, child[0]), STATUS_OK, "0");
    bench_crash(b);
    struct engine_effect f = bench_take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 2);
    assert_int_equal(run.results[0], child[2]);
    /* The end of the parent leaves the last child running; nobody takes its result. */
    bench_exit(b, f, STATUS_OK, "enough");
    bench_crash(b);
    bench_exit(b, bench_take_run(b, child[1]), STATUS_OK, "1");
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    assert_int_equal(bench_count(b, TABLE_DONE), 4);
    bench_destroy(b);
}

static void test_poll_timers(void **state)
{
    struct bench *b = bench_create();
    uint64_t child[3], id = suspended_parent(b, child, 2, 10);
    struct engine_run run;
    struct engine_effect f;
    struct engine_answer a;

    (void)state;
    bench_exit(b, bench_take_run(b, child[0]), STATUS_OK, "0");
    bench_exit(b, bench_take_run(b, child[1]), STATUS_OK, "1");
    a = bench_answer_to(bench_take_run(b, id));
    a.max_wait_ns = 5 * NS_PER_S;
    bench_poll(b, a, "s2");
    bench_advance(b, 5 * NS_PER_S - 1);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_advance(b, 1);
    f = bench_take_run(b, id); /* with no result: the third child is still out */
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 0);
    bench_exit(b, bench_take_run(b, child[2]), STATUS_OK, "2");
    bench_poll(b, bench_answer_to(f), "s3");
    a = bench_answer_to(bench_take_run(b, id));
    a.max_wait_ns = 3600 * NS_PER_S; /* nothing to wait for but time: a timer */
    bench_poll(b, a, "s4");
    bench_crash(b);
    bench_advance(b, 3600 * NS_PER_S - 1);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_advance(b, 1);
    a = bench_answer_to(bench_take_run(b, id));
    a.max_wait_ns = 48 * 3600 * NS_PER_S; /* past the expiration: refused at once */
    bench_poll(b, a, "s5");
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.poll_error);
    assert_non_null(bench_find(b, TABLE_PAYLOAD, id, PAYLOAD_POLL_ERROR));
    a = bench_answer_to(f);
    a.max_wait_ns = 0;
    bench_poll(b, a, "s6"); /* commit and resume at once; the error is gone */
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_false(run.poll_error);
    assert_null(bench_find(b, TABLE_PAYLOAD, id, PAYLOAD_POLL_ERROR));
    /* The same again without a change: as a retry waits. */
    a = bench_answer_to(f);
    a.max_wait_ns = 0;
    bench_poll(b, a, "s6");
    assert_int_equal(bench_state(b, id), CALL_WAITING);
    bench_sleep(b);
    bench_poll(b, bench_answer_to(bench_take_run(b, id)),
               "s7"); /* nothing to wait for at all: at once */
    bench_exit(b, bench_take_run(b, id), STATUS_OK, "end");
    bench_destroy(b);
}

static void test_a_poll_that_cannot_be_accepted(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.calls_max = 2});
    uint64_t id = bench_dispatch(b, bench_spec("f"));
    struct engine_spec s[3] = {bench_spec("a"), bench_spec("b"), bench_spec("c")};
    struct engine_answer a;
    struct engine_run run;

    (void)state;
    bench_commit(b);
    a = bench_answer_to(bench_take_run(b, id));
    a.specs = s;
    a.spec_count = 3;
    bench_poll(b, a, "s1");
    assert_int_equal(bench_count(b, TABLE_CALL), 1); /* none is made */
    struct engine_effect f = bench_take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.poll_error && !run.first);
    bench_crash(b);
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.poll_error);
    /* The same once more, which would go on for ever: as a retry waits. */
    a = bench_answer_to(f);
    a.specs = s;
    a.spec_count = 3;
    bench_poll(b, a, "s1");
    assert_int_equal(bench_state(b, id), CALL_WAITING);
    bench_crash(b);
    assert_int_equal(bench_state(b, id), CALL_WAITING);
    bench_sleep(b);
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.poll_error);
    bench_exit(b, f, STATUS_OK, "gave up");
    assert_int_equal(bench_count(b, TABLE_PAYLOAD), 0);
    bench_destroy(b);
}

static void test_tail_calls_replace_the_call(void **state)
{
    struct bench *b = bench_create();
    uint64_t child[3], id = suspended_parent(b, child, 1, 10);
    struct engine_spec next = {.function = slice_str("next")};
    struct engine_run run;
    struct engine_row row;

    (void)state;
    bench_exit(b, bench_take_run(b, child[0]), STATUS_OK, "0");
    struct engine_effect running = bench_take_run(b, child[1]);
    struct engine_answer a = bench_answer_to(bench_take_run(b, id));

    a.outcome = ENGINE_TAIL;
    a.status = STATUS_TEMPORARY_ERROR;
    next.input = blob_copy(slice_str("new input"));
    a.specs = &next;
    a.spec_count = 1;
    engine_answer(b->e, b->now, &a);
    blob_unref(next.input);
    bench_commit(b);
    assert_int_equal(bench_state(b, id), CALL_WAITING);
    bench_crash(b);
    assert_true(engine_find(b->e, id, &row));
    assert_int_equal(row.generation, 2);
    assert_true(slice_eq_str(row.function, "next"));
    assert_true(slice_eq_str(row.endpoint, "http://localhost:8000/x"));
    assert_int_equal(row.outstanding, 0);
    (void)running;
    bench_exit(b, bench_take_run(b, child[1]), STATUS_OK, "of another generation");
    bench_sleep(b);
    struct engine_effect f = bench_take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.first && run.result_count == 0);
    bench_exit(b, f, STATUS_OK, "end");
    bench_result(b, id, &row);
    assert_int_equal(row.status, STATUS_OK);
    assert_int_equal(bench_count(b, TABLE_CALL), 1); /* child 2 was made but runs on its own */
    bench_exit(b, bench_take_run(b, child[2]), STATUS_OK, NULL);
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    bench_destroy(b);
}

static void test_incompatible_state_restarts_from_the_input(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.window_start = 2});
    uint64_t child[3], id = suspended_parent(b, child, 1, 10);
    struct engine_row row;
    struct engine_run run;

    (void)state;
    bench_exit(b, bench_take_run(b, child[0]), STATUS_OK,
               "0"); /* child 1, 2 or both hold the window */
    while (!b->runs_len || b->runs[b->runs_len - 1].call != id)
        bench_exit(b, b->runs[0].call == id ? b->runs[1] : bench_take_run(b, b->runs[0].call),
                   STATUS_OK, NULL);
    struct engine_effect f = bench_take_run(b, id);
    struct engine_answer a = bench_answer_to(f);

    a.status = STATUS_INCOMPATIBLE_STATE;
    engine_answer(b->e, b->now, &a);
    bench_commit(b);
    assert_true(engine_find(b->e, id, &row));
    assert_int_equal(row.generation, 2);
    assert_int_equal(row.state, CALL_WAITING);
    assert_int_equal(row.restarts, 1);
    assert_int_equal(row.failures, 0);
    bench_sleep(b);
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.first);
    assert_null(bench_find(b, TABLE_PAYLOAD, id, PAYLOAD_STATE));
    bench_destroy(b);
}

static void test_cancel_takes_the_tree(void **state)
{
    struct bench *b = bench_create();
    uint64_t child[3], id = suspended_parent(b, child, 3, 10);
    struct engine_row row;
    struct error err;

    (void)state;
    bench_exit(b, bench_take_run(b, child[0]), STATUS_OK, "0");
    struct engine_effect f = bench_take_run(b, child[1]);

    assert_int_equal(engine_cancel(b->e, b->now, id, b, &err), 0);
    assert_int_equal(engine_cancel(b->e, b->now, id, b, &err), CODE_FAILED_PRECONDITION);
    bench_drain(b);
    assert_int_equal(b->done, 1); /* of the cancelled nothing is told before its commit */
    bench_commit(b);
    assert_int_equal(b->done, 4);
    assert_int_equal(engine_cancel(b->e, b->now, id, b, &err), CODE_NOT_FOUND);
    bench_result(b, id, &row);
    assert_int_equal(row.end, END_CANCELLED);
    bench_result(b, child[2], &row);
    assert_int_equal(row.end, END_CANCELLED);
    assert_true(bench_result(b, child[0], &row).has_output);
    bench_exit(b, f, STATUS_OK, "late"); /* a stale answer, which frees its place */
    assert_false(bench_result(b, child[1], &row).has_output);
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    bench_destroy(b);
}

static void test_window_bounds_runs_in_flight(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.window_start = 4, .window_max = 8});
    uint64_t id[20];

    (void)state;
    for (int i = 0; i < 20; i++)
        id[i] = bench_dispatch(b, bench_spec("f"));
    bench_commit(b);
    assert_int_equal(b->runs_len, 4);
    bench_exit(b, bench_take_run(b, id[0]), STATUS_OK, NULL); /* a success: one more fits */
    assert_int_equal(b->runs_len, 5);
    struct engine_answer a = bench_answer_to(bench_take_run(b, id[1]));

    a.status = STATUS_TCP_ERROR;
    a.transport = true;
    engine_answer(b->e, b->now, &a); /* 5 * 0.75 = 3.75 */
    bench_commit(b);
    assert_int_equal(b->runs_len, 4);
    bench_exit(b, bench_take_run(b, id[2]), STATUS_OK, NULL); /* 3.75 + 1 / 3.75 = 4.02 */
    assert_int_equal(b->runs_len, 4);
    engine_hold_runs(b->e, true);
    bench_exit(b, bench_take_run(b, id[3]), STATUS_OK, NULL);
    assert_int_equal(b->runs_len, 3);
    engine_hold_runs(b->e, false);
    bench_drain(b);
    assert_int_equal(b->runs_len, 4);
    bench_destroy(b);
}

static void test_given_up_runs_are_made_again_uncounted(void **state)
{
    struct bench *b = bench_create();
    uint64_t id = bench_dispatch(b, bench_spec("f"));
    struct engine_row row;

    (void)state;
    bench_commit(b);
    struct engine_answer a = bench_answer_to(bench_take_run(b, id));

    a.outcome = ENGINE_GONE;
    engine_answer(b->e, b->now, &a);
    bench_drain(b);
    bench_take_run(b, id);
    assert_true(engine_find(b->e, id, &row));
    assert_int_equal(row.attempts + row.failures, 0);
    bench_destroy(b);
}

static void test_a_413_halves_the_results(void **state)
{
    struct bench *b = bench_create();
    uint64_t child[3], id = suspended_parent(b, child, 3, 10);
    struct engine_run run;

    (void)state;
    for (int i = 0; i < 3; i++)
        bench_exit(b, bench_take_run(b, child[i]), STATUS_OK, "x");
    struct engine_answer a = bench_answer_to(bench_take_run(b, id));

    a.status = STATUS_TEMPORARY_ERROR;
    a.too_large = true;
    engine_answer(b->e, b->now, &a);
    bench_commit(b);
    bench_sleep(b);
    struct engine_effect f = bench_take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 1);
    /* Nothing is left to leave out: that is its end. */
    a = bench_answer_to(f);
    a.status = STATUS_TEMPORARY_ERROR;
    a.too_large = true;
    engine_answer(b->e, b->now, &a);
    bench_commit(b);
    struct engine_row row;

    bench_result(b, id, &row);
    assert_int_equal(row.status, STATUS_PERMANENT_ERROR);
    bench_destroy(b);
}

static void test_results_are_cut_by_size(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.results_bytes_max = 10});
    uint64_t child[3], id = suspended_parent(b, child, 3, 10);
    struct engine_run run;

    (void)state;
    bench_exit(b, bench_take_run(b, child[0]), STATUS_OK, "larger than ten bytes: goes alone");
    bench_exit(b, bench_take_run(b, child[1]), STATUS_OK, "12345");
    bench_exit(b, bench_take_run(b, child[2]), STATUS_OK, "12345");
    struct engine_effect f = bench_take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 1);
    bench_poll(b, bench_answer_to(f), "s2");
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 2);
    bench_destroy(b);
}

static void test_overdue_retries_are_spread_after_a_crash(void **state)
{
    struct bench *b = bench_create();
    uint64_t id[100];
    size_t at_once;

    (void)state;
    for (int i = 0; i < 100; i++)
        id[i] = bench_dispatch(b, bench_spec("f"));
    bench_commit(b);
    for (int i = 0; i < 100; i++)
        bench_exit(b, bench_take_run(b, id[i]), STATUS_THROTTLED, NULL);
    b->now += 600 * NS_PER_S;
    bench_crash(b);
    at_once = b->runs_len;
    assert_true(at_once < 10);
    while (engine_next_due(b->e) <= b->now + 30 * NS_PER_S && b->runs_len < 16)
        bench_sleep(b);
    assert_true(b->runs_len > at_once);
    assert_true(b->now > 1600 * NS_PER_S && b->now <= 1630 * NS_PER_S);
    bench_destroy(b);
}

static void test_a_retry_does_not_wait_for_a_clock_that_was_set_back(void **state)
{
    struct bench *b = bench_create();
    uint64_t id = bench_dispatch(b, bench_spec("f"));

    (void)state;
    bench_commit(b);
    bench_exit(b, bench_take_run(b, id), STATUS_THROTTLED, NULL);
    bench_commit(b);
    b->now -= 7200 * NS_PER_S;
    bench_crash(b);
    assert_int_equal(b->runs_len, 0);
    assert_true(engine_next_due(b->e) <= b->now + 300 * NS_PER_S);
    while (!b->runs_len)
        bench_sleep(b);
    bench_exit(b, bench_take_run(b, id), STATUS_OK, NULL);
    bench_destroy(b);
}

static void test_ids_are_never_used_again(void **state)
{
    struct bench *b = bench_create();
    uint64_t id = bench_dispatch(b, bench_spec("f")), next;

    (void)state;
    bench_commit(b);
    bench_exit(b, bench_take_run(b, id), STATUS_OK, NULL);
    for (size_t i = 0; i < b->rows_len; i++) /* retention takes the end */
        if (b->rows[i].table == TABLE_DONE) {
            blob_unref(b->rows[i].value);
            b->rows[i] = b->rows[--b->rows_len];
        }
    bench_crash(b);
    next = bench_dispatch(b, bench_spec("f"));
    assert_true(next > id);
    bench_destroy(b);
}

static void test_damaged_rows_are_named(void **state)
{
    struct bench *b = bench_create();
    struct error err;
    uint64_t id = bench_dispatch(b, bench_spec("f"));
    struct stored *r;

    (void)state;
    bench_commit(b);
    r = bench_find(b, TABLE_CALL, id, 0);
    engine_destroy(b->e);
    for (size_t cut = 0; cut < r->value->len; cut++) {
        assert_int_equal(engine_create(&b->e, &b->config, &err), 0);
        assert_int_equal(engine_load_call(b->e, id, slice(r->value->data, cut), &err),
                         CODE_DATA_LOSS);
        engine_destroy(b->e);
    }
    assert_int_equal(engine_create(&b->e, &b->config, &err), 0);
    assert_int_equal(engine_load_call(b->e, id + 1, blob_slice(r->value), &err), CODE_DATA_LOSS);
    assert_non_null(strstr(err.message, "cannot be"));
    r->value->data[0] = 99;
    assert_int_equal(engine_load_call(b->e, id, blob_slice(r->value), &err),
                     CODE_FAILED_PRECONDITION);
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_leaves_before_the_commit),
        cmocka_unit_test(test_dispatch_is_atomic_and_bounded),
        cmocka_unit_test(test_retries_back_off_until_expiration),
        cmocka_unit_test(test_expiration_wins_over_an_answer_of_the_same_time),
        cmocka_unit_test(test_a_stale_answer_changes_nothing),
        cmocka_unit_test(test_terminal_statuses_keep_output_and_error),
        cmocka_unit_test(test_poll_waits_for_min_results),
        cmocka_unit_test(test_poll_resumes_when_nothing_is_outstanding),
        cmocka_unit_test(test_poll_survives_crashes),
        cmocka_unit_test(test_poll_timers),
        cmocka_unit_test(test_a_poll_that_cannot_be_accepted),
        cmocka_unit_test(test_tail_calls_replace_the_call),
        cmocka_unit_test(test_incompatible_state_restarts_from_the_input),
        cmocka_unit_test(test_cancel_takes_the_tree),
        cmocka_unit_test(test_window_bounds_runs_in_flight),
        cmocka_unit_test(test_given_up_runs_are_made_again_uncounted),
        cmocka_unit_test(test_a_413_halves_the_results),
        cmocka_unit_test(test_results_are_cut_by_size),
        cmocka_unit_test(test_overdue_retries_are_spread_after_a_crash),
        cmocka_unit_test(test_a_retry_does_not_wait_for_a_clock_that_was_set_back),
        cmocka_unit_test(test_ids_are_never_used_again),
        cmocka_unit_test(test_damaged_rows_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
