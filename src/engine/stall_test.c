// SPDX-License-Identifier: Apache-2.0
/* When memory is full: polls that wait for room, and who finds some always. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

static uint64_t live(struct bench *b)
{
    struct engine_stats stats;

    engine_stats(b->e, &stats);
    return stats.live;
}

/* Gives the engine what it asks for. */
static void serve(struct bench *b)
{
    while (b->fetches_len) {
        struct engine_effect f = b->fetches[--b->fetches_len];
        struct stored *r = bench_find(b, TABLE_PAYLOAD, f.call, PAYLOAD_CALLS);

        assert_non_null(r);
        engine_fetched(b->e, b->now, f.call, f.generation, blob_slice(r->value), NULL);
        bench_commit(b);
    }
}

static uint64_t started(struct bench *b)
{
    uint64_t id = bench_dispatch(b, bench_spec("parent"));

    bench_commit(b);
    return id;
}

static void poll_for(struct bench *b, uint64_t id, size_t count, int64_t max_wait_ns)
{
    struct engine_spec *specs = calloc(count, sizeof *specs);
    struct engine_answer a = bench_answer_to(bench_take_run(b, id));

    for (size_t i = 0; i < count; i++)
        specs[i] = (struct engine_spec){.function = slice_str("child"),
                                        .endpoint = slice_str("http://elsewhere"),
                                        .version = slice_str("v"),
                                        .correlation_id = 100 + i,
                                        .priority = -2,
                                        .expiration_ns = 60 * NS_PER_S,
                                        .input = blob_copy(slice_str("input"))};
    a.specs = specs;
    a.spec_count = count;
    a.min_results = 1000;
    a.max_wait_ns = max_wait_ns;
    bench_poll(b, a, "s");
    for (size_t i = 0; i < count; i++)
        blob_unref(specs[i].input);
    free(specs);
}

static void finish_all(struct bench *b)
{
    while (b->runs_len)
        bench_exit(b, bench_take_run(b, b->runs[0].call), STATUS_OK, NULL);
}

/* Two trees and room for one: `first` has it, `second` waits behind. */
static void fill(struct bench *b, uint64_t *first, uint64_t *second)
{
    *first = started(b);
    *second = started(b);
    poll_for(b, *first, 7, -1);
    poll_for(b, *second, 3, -1);
}

static struct bench *small(void)
{
    return bench_create_with((struct engine_config){.live_max = 11}); /* 10 and one for others */
}

static void test_a_poll_waits_for_room(void **state)
{
    struct bench *b = small();
    uint64_t first, second, child;
    struct engine_row row;
    struct buf why;

    (void)state;
    fill(b, &first, &second);
    assert_int_equal(live(b), 9);
    /* It waits, and as nobody else does it is the oldest of those that wait: it goes on at once. */
    assert_int_equal(b->fetches_len, 1);
    assert_int_equal(bench_state(b, second), CALL_SUSPENDED);
    assert_true(engine_find(b->e, second, &row));
    assert_int_equal(row.stalled, 3);
    buf_init(&why, 1000);
    engine_why(b->e, b->now, second, &why);
    assert_string_equal(buf_cstr(&why),
                        "room for the 3 calls of its poll: 9 of 11 calls are in memory, 9 of them "
                        "its organization's");
    buf_free(&why);
    bench_crash(b); /* it is asked for again */
    assert_int_equal(b->fetches_len, 1);
    serve(b);
    assert_int_equal(live(b), 12);
    assert_null(bench_find(b, TABLE_PAYLOAD, second, PAYLOAD_CALLS));
    assert_true(engine_find(b->e, second, &row));
    assert_int_equal(row.stalled, 0);
    assert_int_equal(row.outstanding, 3);
    child = second;
    for (size_t i = 0; i < b->runs_len; i++) /* the youngest run is of a child of its */
        if (b->runs[i].call > child)
            child = b->runs[i].call;
    assert_true(engine_find(b->e, child, &row));
    assert_true(slice_eq_str(row.function, "child") && slice_eq_str(row.version, "v"));
    assert_true(slice_eq_str(row.endpoint, "http://elsewhere"));
    assert_int_equal(row.correlation_id, 102);
    assert_int_equal(row.priority, -2);
    assert_true(row.expires == b->now + 60 * NS_PER_S && row.has_input);
    assert_true(slice_eq_str(blob_slice(bench_find(b, TABLE_PAYLOAD, child, PAYLOAD_INPUT)->value),
                             "input"));
    finish_all(b);
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    bench_destroy(b);
}

static void test_only_one_tree_is_favoured(void **state)
{
    struct bench *b = small();
    uint64_t root[4];
    struct engine_row row;

    (void)state;
    for (int i = 0; i < 4; i++)
        root[i] = started(b);
    poll_for(b, root[0], 6, -1); /* there is room: 10 */
    poll_for(b, root[2], 2, -1); /* the oldest of those that wait, when it comes */
    poll_for(b, root[1], 2, -1);
    poll_for(b, root[3], 2, -1);
    assert_int_equal(b->fetches_len, 1);
    assert_int_equal(b->fetches[0].call, root[2]);
    serve(b);
    assert_int_equal(live(b), 12);
    /* What the favoured tree polls for further on finds room; what others do waits. */
    poll_for(b, b->runs[b->runs_len - 1].call, 1, -1);
    assert_int_equal(live(b), 13);
    bench_crash(b);
    assert_int_equal(b->fetches_len, 1); /* one tree again, the oldest that waits */
    assert_int_equal(b->fetches[0].call, root[1]);
    assert_true(engine_find(b->e, root[3], &row));
    assert_int_equal(row.stalled, 2);
    serve(b);
    while (live(b)) { /* everything finishes */
        finish_all(b);
        serve(b);
    }
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    assert_int_equal(bench_count(b, TABLE_DONE), 4 + 6 + 6 + 1);
    bench_destroy(b);
}

static void test_room_is_given_in_the_order_of_asking(void **state)
{
    struct bench *b = small();
    uint64_t root[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        root[i] = started(b);
    poll_for(b, root[0], 6, -1);
    poll_for(b, root[1], 3, -1);
    serve(b); /* favoured: 13 */
    poll_for(b, root[3], 7, -1);
    poll_for(b, root[2], 1, -1); /* smaller, and older, and later */
    assert_int_equal(b->fetches_len, 0);
    for (uint64_t child = root[3] + 1; child <= root[3] + 6; child++)
        bench_exit(b, bench_take_run(b, child), STATUS_OK, NULL);
    assert_int_equal(b->fetches_len, 0); /* the results lie with their parent still */
    bench_exit(b, bench_take_run(b, root[0]), STATUS_OK, NULL);
    assert_int_equal(b->fetches_len, 1); /* 6 are left, 3 of them lent, and 7 fit */
    assert_int_equal(b->fetches[0].call, root[3]);
    bench_destroy(b);
}

static void test_a_poll_that_waits_can_be_ended(void **state)
{
    struct bench *b = small();
    uint64_t first, second;
    struct error err;
    struct stored *r;
    struct blob *calls;
    struct engine_effect f;

    (void)state;
    fill(b, &first, &second);
    f = b->fetches[--b->fetches_len];
    r = bench_find(b, TABLE_PAYLOAD, second, PAYLOAD_CALLS);
    calls = blob_ref(r->value);
    assert_int_equal(engine_cancel(b->e, b->now, second, NULL, &err), 0);
    bench_commit(b);
    assert_null(bench_find(b, TABLE_PAYLOAD, second, PAYLOAD_CALLS));
    engine_fetched(b->e, b->now, f.call, f.generation, blob_slice(calls), NULL); /* too late */
    blob_unref(calls);
    bench_commit(b);
    assert_int_equal(live(b), 8);
    bench_destroy(b);
}

static void test_what_cannot_be_read_is_the_poll_s_error(void **state)
{
    struct bench *b = small();
    uint64_t first, second;
    struct engine_effect f;
    struct error err;
    struct engine_run run;

    (void)state;
    for (int damaged = 0; damaged < 2; damaged++) {
        fill(b, &first, &second);
        f = b->fetches[--b->fetches_len];
        error_set(&err, CODE_NOT_FOUND, "gone");
        engine_fetched(b->e, b->now, f.call, f.generation, slice("\1junk", 5),
                       damaged ? NULL : &err);
        bench_commit(b);
        f = bench_take_run(b, second);
        assert_true(engine_run_info(b->e, f.call, f.attempt, &run));
        assert_true(run.poll_error);
        assert_null(bench_find(b, TABLE_PAYLOAD, second, PAYLOAD_CALLS));
        bench_exit(b, f, STATUS_OK, NULL);
        finish_all(b);
        assert_int_equal(live(b), 0);
    }
    bench_destroy(b);
}

static void test_what_cannot_be_read_now_is_asked_for_again(void **state)
{
    struct bench *b = small();
    uint64_t first, second;
    struct engine_effect f;
    struct error err;

    (void)state;
    fill(b, &first, &second);
    f = b->fetches[0];
    error_set(&err, CODE_UNAVAILABLE, "the disk is away");
    engine_fetched(b->e, b->now, f.call, f.generation, slice(NULL, 0), &err);
    assert_true(engine_failed(b->e));
    bench_crash(b);
    assert_int_equal(b->fetches_len, 1);
    serve(b);
    assert_int_equal(live(b), 12);
    bench_destroy(b);
}

/* max_wait counts from when the calls are made; zero resumes at once then. */
static void test_the_wait_begins_with_the_calls(void **state)
{
    struct bench *b = small();
    uint64_t first, second;
    struct engine_effect f;

    (void)state;
    first = started(b);
    second = started(b);
    poll_for(b, first, 7, -1);
    poll_for(b, second, 3, 5 * NS_PER_S);
    bench_advance(b, 10 * NS_PER_S);
    assert_int_equal(bench_state(b, second), CALL_SUSPENDED);
    serve(b);
    bench_advance(b, 5 * NS_PER_S - 1);
    assert_int_equal(bench_state(b, second), CALL_SUSPENDED);
    bench_advance(b, 1);
    poll_for(b, second, 3, 0); /* favoured still: no waiting */
    f = bench_take_run(b, second);
    bench_exit(b, f, STATUS_OK, NULL);
    finish_all(b);
    first = started(b);
    second = started(b);
    poll_for(b, first, 7, -1);
    poll_for(b, second, 3, 0);
    assert_int_equal(bench_state(b, second), CALL_SUSPENDED);
    serve(b);
    bench_take_run(b, second);
    bench_destroy(b);
}

static void test_damaged_calls(void **state)
{
    struct bench *b = small();
    uint64_t first, second;
    struct engine_effect f;
    struct blob *calls;

    (void)state;
    fill(b, &first, &second);
    f = b->fetches[0];
    calls = blob_ref(bench_find(b, TABLE_PAYLOAD, second, PAYLOAD_CALLS)->value);
    for (size_t cut = 0; cut < calls->len; cut++) {
        bench_crash(b);
        assert_int_equal(b->fetches_len, 1);
        f = b->fetches[0];
        engine_fetched(b->e, b->now, f.call, f.generation, slice(calls->data, cut), NULL);
        assert_int_equal(live(b), 9); /* not committed: the next crash undoes it */
    }
    blob_unref(calls);
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_poll_waits_for_room),
        cmocka_unit_test(test_only_one_tree_is_favoured),
        cmocka_unit_test(test_room_is_given_in_the_order_of_asking),
        cmocka_unit_test(test_a_poll_that_waits_can_be_ended),
        cmocka_unit_test(test_what_cannot_be_read_is_the_poll_s_error),
        cmocka_unit_test(test_what_cannot_be_read_now_is_asked_for_again),
        cmocka_unit_test(test_the_wait_begins_with_the_calls),
        cmocka_unit_test(test_damaged_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
