// SPDX-License-Identifier: Apache-2.0
/* What the wire's extensions ask of the engine: states that grow by appending, polls that wake at
 * an error, children given up, calls that start later. Each across a crash, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

/* Polls with `count` children of correlation ids 100, 101, ...; the first is call *first. */
static void poll_children(struct bench *b, struct engine_answer a, size_t count, uint64_t *first)
{
    struct engine_spec *specs = calloc(count, sizeof *specs);
    struct engine_stats stats;

    engine_stats(b->e, &stats);
    *first = stats.next_id;
    for (size_t i = 0; i < count; i++)
        specs[i] = (struct engine_spec){.function = slice_str("child"), .correlation_id = 100 + i};
    a.specs = specs;
    a.spec_count = count;
    bench_poll(b, a, "state");
    free(specs);
}

static struct engine_answer started(struct bench *b, uint64_t *id)
{
    *id = bench_dispatch(b, bench_spec("parent"));
    bench_commit(b);
    return bench_answer_to(bench_take_run(b, *id));
}

static struct engine_answer appending(struct engine_answer a, uint64_t position)
{
    a.append = true;
    a.append_position = position;
    a.max_wait_ns = 0;
    return a;
}

static struct engine_run info_of(struct bench *b, struct engine_effect f)
{
    struct engine_run run;

    assert_true(engine_run_info(b->e, f.call, f.attempt, &run));
    return run;
}

static void expect_chunk(struct bench *b, uint64_t id, uint32_t chunk, const char *bytes)
{
    struct stored *r = bench_find(b, TABLE_PAYLOAD, id, PAYLOAD_STATE + chunk);

    if (!bytes) {
        assert_null(r);
        return;
    }
    assert_non_null(r);
    assert_true(slice_eq_str(blob_slice(r->value), bytes));
}

static void test_states_grow_by_appending(void **state)
{
    struct bench *b = bench_create();
    struct blob *whole = blob_copy(slice_str("Tabcdef"));
    struct engine_answer a;
    struct engine_effect f;
    struct engine_run run;
    uint64_t id;

    (void)state;
    a = started(b, &id);
    a.state_overhead = 1; /* the T is not counted */
    a.max_wait_ns = 0;
    bench_poll(b, a, "Tab");
    bench_poll(b, appending(bench_answer_to(bench_take_run(b, id)), 2), "cd");
    bench_crash(b);
    bench_poll(b, appending(bench_answer_to(bench_take_run(b, id)), 4), "ef");
    expect_chunk(b, id, 0, "Tab");
    expect_chunk(b, id, 1, "cd");
    expect_chunk(b, id, 2, "ef");
    f = bench_take_run(b, id);
    run = info_of(b, f);
    assert_int_equal(run.row.state_chunks, 3);
    assert_int_equal(run.row.state_arm, 2);
    assert_int_equal(run.row.resumes, 3);
    /* One chunk in the place of three, while the call runs. */
    engine_compact(b->e, id, f.attempt + 1, whole); /* not the current run: nothing */
    assert_int_equal(info_of(b, f).row.state_chunks, 3);
    engine_compact(b->e, id, f.attempt, whole);
    a = bench_answer_to(f); /* given up at once: it is not to run before the chunk is there */
    a.outcome = ENGINE_GONE;
    engine_answer(b->e, b->now, &a);
    bench_drain(b);
    assert_int_equal(b->runs_len, 0);
    bench_commit(b);
    assert_int_equal(b->runs_len, 1);
    expect_chunk(b, id, 0, "Tabcdef");
    expect_chunk(b, id, 1, NULL);
    expect_chunk(b, id, 2, NULL);
    bench_crash(b);
    bench_poll(b, appending(bench_answer_to(bench_take_run(b, id)), 6), "gh");
    expect_chunk(b, id, 1, "gh");
    /* The whole state again. */
    a = bench_answer_to(bench_take_run(b, id));
    a.max_wait_ns = 0;
    bench_poll(b, a, "short");
    expect_chunk(b, id, 0, "short");
    expect_chunk(b, id, 1, NULL);
    bench_exit(b, bench_take_run(b, id), STATUS_OK, "end");
    assert_int_equal(bench_count(b, TABLE_PAYLOAD), 0);
    blob_unref(whole);
    bench_destroy(b);
}

static void test_appending_to_another_state_is_dropped(void **state)
{
    struct bench *b = bench_create();
    struct engine_answer a;
    struct engine_row row;
    uint64_t id, child;

    (void)state;
    a = started(b, &id);
    bench_poll(b, appending(a, 0), "abc"); /* to no state: bytes */
    a = appending(bench_answer_to(bench_take_run(b, id)), 2);
    poll_children(b, a, 3, &child);
    assert_int_equal(bench_state(b, id), CALL_WAITING);
    assert_true(engine_find(b->e, id, &row));
    assert_int_equal(row.last_status, STATUS_TEMPORARY_ERROR);
    assert_int_equal(row.resumes, 1);
    assert_int_equal(row.state_arm, 1);
    assert_int_equal(bench_count(b, TABLE_CALL), 1); /* no child was made */
    bench_sleep(b);
    a = appending(bench_answer_to(bench_take_run(b, id)), 3);
    a.max_wait_ns = -1;
    poll_children(b, a, 3, &child);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    expect_chunk(b, id, 1, "state");
    bench_destroy(b);
}

static void test_appending_nothing_is_no_progress(void **state)
{
    struct bench *b = bench_create();
    struct engine_answer a;
    uint64_t id;

    (void)state;
    a = started(b, &id);
    bench_poll(b, appending(a, 0), "abc");
    bench_poll(b, appending(bench_answer_to(bench_take_run(b, id)), 3), NULL);
    assert_int_equal(bench_state(b, id), CALL_WAITING);
    expect_chunk(b, id, 1, NULL);
    bench_destroy(b);
}

static void test_a_state_that_grew_too_large_ends_its_call(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.state_max = 5});
    struct engine_answer a;
    struct engine_result r;
    struct engine_row row;
    uint64_t id;

    (void)state;
    a = started(b, &id);
    bench_poll(b, appending(a, 0), "abc");
    bench_poll(b, appending(bench_answer_to(bench_take_run(b, id)), 3), "de");
    bench_poll(b, appending(bench_answer_to(bench_take_run(b, id)), 5), "f");
    r = bench_result(b, id, &row);
    assert_int_equal(row.status, STATUS_INVALID_RESPONSE);
    assert_true(r.has_error);
    assert_non_null(memmem(r.error.data, r.error.len, "the limit is 5", 14));
    assert_int_equal(bench_count(b, TABLE_PAYLOAD), 0);
    bench_destroy(b);
}

static void test_chunks_are_bounded(void **state)
{
    struct bench *b = bench_create();
    struct engine_answer a;
    uint64_t id;

    (void)state;
    a = started(b, &id);
    for (uint64_t i = 0; i < 255; i++) {
        bench_poll(b, appending(a, i), "x");
        a = bench_answer_to(bench_take_run(b, id));
    }
    bench_poll(b, appending(a, 255), "x"); /* nobody has compacted: as a retry */
    assert_int_equal(bench_state(b, id), CALL_WAITING);
    bench_destroy(b);
}

static void test_an_error_wakes(void **state)
{
    struct bench *b = bench_create();
    struct engine_answer a;
    struct engine_effect f;
    uint64_t id, child;

    (void)state;
    a = started(b, &id);
    a.wake_on_error = true;
    a.min_results = 4;
    poll_children(b, a, 4, &child);
    bench_exit(b, bench_take_run(b, child), STATUS_OK, "fine");
    bench_crash(b);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_exit(b, bench_take_run(b, child + 1), STATUS_NOT_FOUND, NULL);
    f = bench_take_run(b, id);
    assert_int_equal(info_of(b, f).result_count, 2);
    bench_crash(b); /* the error is still there */
    f = bench_take_run(b, id);
    assert_int_equal(info_of(b, f).result_count, 2);
    /* A poll that does not ask for it sleeps through errors. */
    a = bench_answer_to(f);
    a.min_results = 2;
    bench_poll(b, a, "s2");
    bench_exit(b, bench_take_run(b, child + 2), STATUS_NOT_FOUND, NULL);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_crash(b);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_destroy(b);
}

/* An output with an error beside it is an error to the parent, though the status is OK. */
static void test_an_error_beside_an_output_wakes(void **state)
{
    struct bench *b = bench_create();
    struct engine_answer a;
    uint64_t id, child;

    (void)state;
    a = started(b, &id);
    a.wake_on_error = true;
    a.min_results = 2;
    poll_children(b, a, 2, &child);
    a = bench_answer_to(bench_take_run(b, child));
    a.error = blob_copy(slice_str("odd"));
    engine_answer(b->e, b->now, &a);
    blob_unref(a.error);
    bench_commit(b);
    bench_crash(b);
    bench_take_run(b, id);
    bench_destroy(b);
}

static void test_children_are_given_up(void **state)
{
    static const uint64_t gone[] = {103, 100, 101, 7};
    struct bench *b = bench_create();
    struct engine_answer a, grown;
    struct engine_effect f, running;
    struct engine_row row;
    uint64_t id, child, grandchild;

    (void)state;
    a = started(b, &id);
    a.max_results = 1;
    poll_children(b, a, 4, &child);
    /* 100 is done and delivered late, 101 has a child of its own, 102 runs on, 103 runs. */
    bench_exit(b, bench_take_run(b, child + 2), STATUS_OK, "taken");
    bench_exit(b, bench_take_run(b, child), STATUS_OK, "not taken");
    grown = bench_answer_to(bench_take_run(b, child + 1));
    poll_children(b, grown, 1, &grandchild);
    running = bench_take_run(b, child + 3);
    f = bench_take_run(b, id);
    a = bench_answer_to(f);
    a.cancel = gone;
    a.cancel_count = 4;
    a.max_wait_ns = 60 * NS_PER_S;
    bench_poll(b, a, "s2");
    assert_true(b->cancelled_attempt != 0);
    bench_result(b, child + 3, &row);
    assert_int_equal(row.end, END_CANCELLED);
    bench_result(b, child + 1, &row);
    assert_int_equal(row.end, END_CANCELLED);
    bench_result(b, grandchild, &row);
    assert_int_equal(row.end, END_CANCELLED);
    assert_int_equal(bench_count(b, TABLE_CALL), 1);
    bench_exit(b, running, STATUS_OK, "late");
    bench_crash(b);
    /* Nothing is outstanding any more: it sleeps, and no result comes. */
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_advance(b, 60 * NS_PER_S);
    f = bench_take_run(b, id);
    assert_int_equal(info_of(b, f).result_count, 0);
    bench_exit(b, f, STATUS_OK, "end");
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    bench_destroy(b);
}

/* The end of a child that is given up may be on its way to the disk. */
static void test_a_child_is_given_up_while_its_end_is_written(void **state)
{
    static const uint64_t gone[] = {100};
    struct bench *b = bench_create();
    const struct batch *batch;
    struct engine_answer a, end;
    uint64_t id, child;

    (void)state;
    a = started(b, &id);
    a.max_wait_ns = NS_PER_S;
    poll_children(b, a, 2, &child);
    end = bench_answer_to(bench_take_run(b, child));
    bench_advance(b, NS_PER_S);
    a = bench_answer_to(bench_take_run(b, id));
    engine_answer(b->e, b->now, &end);
    batch = engine_batch(b->e);
    assert_non_null(batch);
    a.cancel = gone;
    a.cancel_count = 1;
    a.outcome = ENGINE_POLL;
    engine_answer(b->e, b->now, &a);
    bench_apply(b, batch);
    engine_committed(b->e, b->now);
    bench_commit(b);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED); /* for the other one */
    assert_int_equal(bench_count(b, TABLE_CALL), 2);
    bench_destroy(b);
}

static void test_calls_start_later(void **state)
{
    struct bench *b = bench_create();
    struct engine_spec s = bench_spec("later");
    struct engine_row row;
    struct error err;
    uint64_t id, other;

    (void)state;
    s.not_before = b->now + 48 * 3600 * NS_PER_S;
    id = bench_dispatch(b, s);
    bench_commit(b);
    assert_int_equal(b->accepted, 1);
    assert_int_equal(bench_state(b, id), CALL_WAITING);
    assert_true(engine_find(b->e, id, &row));
    assert_true(row.expires == s.not_before + 24 * 3600 * NS_PER_S);
    bench_crash(b);
    assert_true(engine_next_due(b->e) == s.not_before);
    bench_advance(b, 48 * 3600 * NS_PER_S - 1);
    assert_int_equal(b->runs_len, 0);
    bench_advance(b, 1);
    bench_exit(b, bench_take_run(b, id), STATUS_OK, "x");
    s.not_before = b->now + NS_PER_S;
    s.expiration_ns = NS_PER_S;
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("default"), &s, 1, NULL, &other, &err),
                     CODE_INVALID_ARGUMENT);
    assert_string_equal(err.message,
                        "calls[0]: not_before lies 1 s ahead, when the call has expired");
    bench_destroy(b);
}

static void test_children_and_tail_calls_start_later(void **state)
{
    struct bench *b = bench_create();
    struct engine_spec s = bench_spec("later");
    struct engine_answer a;
    uint64_t id;

    (void)state;
    a = started(b, &id);
    s.not_before = b->now + 25 * 3600 * NS_PER_S; /* past the parent's end */
    a.specs = &s;
    a.spec_count = 1;
    bench_poll(b, a, "s1");
    a = bench_answer_to(bench_take_run(b, id));
    assert_non_null(bench_find(b, TABLE_PAYLOAD, id, PAYLOAD_POLL_ERROR));
    s.not_before = b->now + 10 * NS_PER_S;
    a.specs = &s;
    a.spec_count = 1;
    bench_poll(b, a, "s2");
    assert_int_equal(bench_state(b, id + 1), CALL_WAITING);
    bench_advance(b, 10 * NS_PER_S);
    a = bench_answer_to(bench_take_run(b, id + 1));
    s.not_before = b->now + 10 * NS_PER_S;
    a.outcome = ENGINE_TAIL;
    a.specs = &s;
    a.spec_count = 1;
    engine_answer(b->e, b->now, &a);
    bench_commit(b);
    assert_int_equal(bench_state(b, id + 1), CALL_WAITING);
    bench_advance(b, 10 * NS_PER_S);
    bench_exit(b, bench_take_run(b, id + 1), STATUS_OK, "x");
    bench_exit(b, bench_take_run(b, id), STATUS_OK, "x");
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_grow_by_appending),
        cmocka_unit_test(test_appending_to_another_state_is_dropped),
        cmocka_unit_test(test_appending_nothing_is_no_progress),
        cmocka_unit_test(test_a_state_that_grew_too_large_ends_its_call),
        cmocka_unit_test(test_chunks_are_bounded),
        cmocka_unit_test(test_an_error_wakes),
        cmocka_unit_test(test_an_error_beside_an_output_wakes),
        cmocka_unit_test(test_children_are_given_up),
        cmocka_unit_test(test_a_child_is_given_up_while_its_end_is_written),
        cmocka_unit_test(test_calls_start_later),
        cmocka_unit_test(test_children_and_tail_calls_start_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
