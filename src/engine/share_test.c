// SPDX-License-Identifier: Apache-2.0
/* What all calls share, and how organizations and their hosts take turns for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

/* `count` roots to that host, or, with none, a host each. The id of the first. */
static uint64_t ask(struct bench *b, const char *org, const char *host, size_t count)
{
    struct engine_spec *specs = calloc(count, sizeof *specs);
    char(*urls)[32] = calloc(count, sizeof *urls);
    struct error err;
    uint64_t id;

    for (size_t i = 0; i < count; i++) {
        if (host)
            snprintf(urls[i], sizeof *urls, "http://%s", host);
        else
            snprintf(urls[i], sizeof *urls, "http://host%zu", i);
        specs[i] = (struct engine_spec){.function = slice_str("f"), .endpoint = slice_str(urls[i])};
    }
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str(org), specs, count, b, &id, &err), 0);
    free(specs);
    free(urls);
    return id;
}

static uint64_t end_first(struct bench *b)
{
    uint64_t call = b->runs[0].call;

    bench_exit(b, bench_take_run(b, call), STATUS_OK, NULL);
    return call;
}

static void test_runs_in_flight_have_a_limit_over_all_hosts(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.runs_max = 5});
    struct engine_row row;
    struct buf why;

    (void)state;
    ask(b, "a", NULL, 300);
    bench_commit(b);
    for (uint64_t i = 1; i <= 300; i++) {
        assert_int_equal(b->runs_len, i <= 296 ? 5 : 301 - i);
        assert_int_equal(end_first(b), i); /* each host in its turn */
    }
    assert_int_equal(b->done, 300);
    buf_init(&why, 1000);
    ask(b, "a", NULL, 7);
    bench_commit(b);
    assert_true(engine_find(b->e, 307, &row) && row.state == CALL_READY);
    engine_why(b->e, b->now, 307, &why);
    assert_string_equal(buf_cstr(&why), "its place among 1 ready call to http://host6: 5 of 5 runs "
                                        "in flight to all hosts");
    buf_free(&why);
    bench_destroy(b);
}

/* A run that is not wanted any more has its place until it is answered, also under the limit. */
static void test_a_cancelled_run_keeps_its_place_until_answered(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.runs_max = 1});
    uint64_t first = ask(b, "a", "h", 1), second = ask(b, "b", "h", 1);
    struct engine_effect f;
    struct engine_answer gone;
    struct error err;

    (void)state;
    bench_commit(b);
    f = bench_take_run(b, first);
    assert_int_equal(engine_cancel(b->e, b->now, first, NULL, &err), 0);
    bench_commit(b);
    assert_int_equal(b->runs_len, 0);
    gone = bench_answer_to(f);
    gone.outcome = ENGINE_GONE;
    engine_answer(b->e, b->now, &gone);
    bench_commit(b);
    bench_take_run(b, second);
    bench_destroy(b);
}

/* As many as one organization may think of, and one of another's: its turn is the next but one. */
static void test_a_hundred_thousand_calls_cost_another_s_one_a_place(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.runs_max = 2});
    struct engine_effect run = {0}, f;
    struct engine_answer a;
    uint64_t last;

    (void)state;
    for (int i = 0; i < 10; i++) {
        ask(b, "a", "x", 10000);
        assert_non_null(engine_batch(b->e)); /* too many rows for the bench */
        engine_committed(b->e, b->now);
        while (engine_effect(b->e, &f))
            if (f.kind == ENGINE_RUN)
                run = f;
    }
    last = ask(b, "b", "x", 1); /* the same host, but a group of its own */
    assert_non_null(engine_batch(b->e));
    engine_committed(b->e, b->now);
    for (int i = 0; i < 2; i++) {
        a = bench_answer_to(run);
        engine_answer(b->e, b->now, &a);
        run.call = 0;
        while (engine_effect(b->e, &f))
            if (f.kind == ENGINE_RUN)
                run = f;
        assert_true((run.call == last) == (i == 1));
    }
    bench_destroy(b);
}

static void test_organizations_take_turns_then_hosts(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.runs_max = 1});
    uint64_t a1 = ask(b, "a", "x", 5), a2 = ask(b, "a", "y", 3), c = ask(b, "c", "x", 4), d;
    uint64_t order[] = {a1, c, a2, c + 1, a1 + 1, c + 2, a2 + 1, c + 3, a1 + 2, a2 + 2, a1 + 3};

    (void)state;
    bench_commit(b);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        assert_int_equal(end_first(b), order[i]);
    d = ask(b, "d", "x", 1);
    bench_commit(b);
    assert_int_equal(end_first(b), a1 + 4);
    assert_int_equal(end_first(b), d);
    assert_int_equal(b->runs_len, 0);
    bench_destroy(b);
}

/* A window that is full takes its host out of the line, and one that opens takes it in again. */
static void test_a_full_window_is_no_turn(void **state)
{
    struct bench *b = bench_create_with(
        (struct engine_config){.runs_max = 3, .window_start = 1, .window_max = 1});
    uint64_t a = ask(b, "a", "x", 3), c = ask(b, "c", "x", 3), c2 = ask(b, "c", "y", 1);

    (void)state;
    bench_commit(b);
    assert_int_equal(b->runs_len, 3); /* of three windows */
    bench_exit(b, bench_take_run(b, c2), STATUS_OK, NULL);
    assert_int_equal(b->runs_len, 2);
    bench_exit(b, bench_take_run(b, a), STATUS_OK, NULL);
    bench_exit(b, bench_take_run(b, a + 1), STATUS_OK, NULL);
    bench_exit(b, bench_take_run(b, c), STATUS_OK, NULL);
    bench_take_run(b, a + 2);
    bench_take_run(b, c + 1);
    bench_destroy(b);
}

/* --- room in memory --------------------------------------------------------------------------- */

static void poll_for(struct bench *b, uint64_t id, size_t count)
{
    struct engine_spec specs[8];
    struct engine_answer a = bench_answer_to(bench_take_run(b, id));

    assert_true(count <= 8);
    for (size_t i = 0; i < count; i++)
        specs[i] = (struct engine_spec){.function = slice_str("child")};
    a.specs = specs;
    a.spec_count = count;
    a.min_results = 1000;
    bench_poll(b, a, "s");
}

static void serve(struct bench *b)
{
    struct engine_effect f = b->fetches[0];
    struct stored *r = bench_find(b, TABLE_PAYLOAD, f.call, PAYLOAD_CALLS);

    memmove(b->fetches, b->fetches + 1, --b->fetches_len * sizeof *b->fetches);
    engine_fetched(b->e, b->now, f.call, f.generation, blob_slice(r->value), NULL);
    bench_commit(b);
}

/* Many polls of one organization wait for room, and one of another's, the youngest of all. */
static void test_polls_that_wait_for_room_take_turns(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.live_max = 30});
    uint64_t a = ask(b, "a", "x", 16), c = ask(b, "c", "x", 1);
    int others = 0;

    (void)state;
    bench_commit(b);
    for (uint64_t i = 0; i < 16; i++)
        poll_for(b, a + i, 8); /* the first finds room; the second is favoured; the others wait */
    poll_for(b, c, 8);
    while (!b->fetches_len || b->fetches[0].call != c) {
        if (b->fetches_len) {
            assert_true(others++ < 2); /* the favoured one, and one whose turn it was */
            serve(b);
        } else {
            bench_exit(b, bench_take_run(b, b->runs[0].call), STATUS_OK, NULL);
        }
    }
    assert_int_equal(others, 2);
    bench_destroy(b);
}

static int ask_one(struct bench *b, const char *org, struct error *err)
{
    struct engine_spec spec = bench_spec("f");
    uint64_t id;
    int code = engine_dispatch(b->e, b->now, slice_str(org), &spec, 1, NULL, &id, err);

    bench_commit(b);
    engine_check(b->e);
    return code;
}

static uint64_t live(struct bench *b)
{
    struct engine_stats stats;

    engine_stats(b->e, &stats);
    return stats.live;
}

/* An organization with all that it can have, and another that comes then. */
static void test_roots_of_one_leave_room_for_another_s(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.live_max = 200});
    struct error err;
    uint64_t a = ask(b, "a", "x", 100), c = 0;
    size_t count = 0;

    (void)state;
    ask(b, "a", "x", 80); /* 90% */
    assert_int_equal(ask_one(b, "a", &err), CODE_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err.message, "180 calls of this organization are in memory, and 180 of "
                                        "all, of the limit of 200"));
    while (!ask_one(b, "c", &err))
        count++;
    assert_int_equal(count, 18); /* nine times as many as are left */
    assert_non_null(strstr(err.message, "18 calls of this organization are in memory, and 198 of"));
    assert_int_equal(ask_one(b, "d", &err), 0);
    assert_int_equal(ask_one(b, "a", &err), CODE_RESOURCE_EXHAUSTED);
    /* As those of the first end, the others have room, until all have the same. */
    for (count = 0; count < 300; count++) {
        if (count % 10 == 0 || a <= 100) {
            bench_exit(b, bench_take_run(b, b->runs[0].call), STATUS_OK, NULL);
            a++;
        }
        ask_one(b, "a", &err);
        c += !ask_one(b, "c", &err);
        ask_one(b, "d", &err);
        assert_true(live(b) < 200);
    }
    assert_true(c >= 30);
    bench_destroy(b);
}

/* Polls, and the tree that may always grow, take nothing from another organization. */
static void test_trees_of_one_leave_room_for_another_s(void **state)
{
    struct bench *b =
        bench_create_with((struct engine_config){.live_max = 40, .window_start = 256});
    uint64_t a = ask(b, "a", "x", 16), child, c;
    struct error err;

    (void)state;
    bench_commit(b);
    for (uint64_t i = 0; i < 8; i++)
        poll_for(b, a + i, 8);
    assert_int_equal(live(b), 32); /* two found room, one is favoured, five wait */
    assert_int_equal(b->fetches_len, 1);
    serve(b);
    assert_int_equal(live(b), 40);
    child = b->runs[b->runs_len - 1].call;
    for (int i = 0; i < 5; i++, child = b->runs[b->runs_len - 1].call)
        poll_for(b, child, 8); /* of the favoured tree: far past what there is */
    assert_true(live(b) >= 80);
    assert_int_equal(ask_one(b, "a", &err), CODE_RESOURCE_EXHAUSTED);
    c = ask(b, "c", "x", 1);
    bench_commit(b);
    poll_for(b, c, 4); /* makes its children at once */
    assert_int_equal(b->fetches_len, 0);
    engine_check(b->e);
    bench_destroy(b);
}

static void sleep_for(struct bench *b, uint64_t id, int64_t ns)
{
    struct engine_answer a = bench_answer_to(bench_take_run(b, id));

    a.max_wait_ns = ns;
    bench_poll(b, a, "s");
}

/* A hundred trees of one are due, and one of another's a second later. */
static void test_trees_that_are_due_hold_up_no_other_s(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.live_max = 40, .window_start = 64});
    int64_t when = b->now + 3600 * 5 * NS_PER_S;
    uint64_t c = ask(b, "c", "x", 1);

    (void)state;
    bench_commit(b);
    sleep_for(b, c, when + NS_PER_S - b->now);
    for (int i = 0; i < 100; i++) {
        uint64_t id = ask(b, "a", "x", 1);

        bench_commit(b);
        sleep_for(b, id, when - b->now);
    }
    for (int crash = 0; crash < 2; crash++) {
        int64_t due;

        if (crash)
            bench_crash(b);
        assert_true(engine_tree_due(b->e, c, &due) && due == when + NS_PER_S);
    }
    b->now = when;
    engine_tick(b->e, b->now);
    bench_commit(b);
    while (b->trees_len)
        bench_fetch_tree(b); /* until nothing more finds room */
    assert_true(live(b) >= 36 && live(b) <= 39);
    assert_true(engine_next_due(b->e) <= when + NS_PER_S);
    b->now = when + NS_PER_S;
    engine_tick(b->e, b->now);
    bench_commit(b);
    assert_int_equal(b->trees_len, 1);
    assert_int_equal(b->trees[0], c);
    bench_fetch_tree(b);
    bench_take_run(b, c);
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_in_flight_have_a_limit_over_all_hosts),
        cmocka_unit_test(test_a_cancelled_run_keeps_its_place_until_answered),
        cmocka_unit_test(test_a_hundred_thousand_calls_cost_another_s_one_a_place),
        cmocka_unit_test(test_organizations_take_turns_then_hosts),
        cmocka_unit_test(test_a_full_window_is_no_turn),
        cmocka_unit_test(test_polls_that_wait_for_room_take_turns),
        cmocka_unit_test(test_roots_of_one_leave_room_for_another_s),
        cmocka_unit_test(test_trees_of_one_leave_room_for_another_s),
        cmocka_unit_test(test_trees_that_are_due_hold_up_no_other_s),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
