// SPDX-License-Identifier: Apache-2.0
/* Trees that only wait leave memory when it fills up, and come back when they are needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

#define LIVE_MAX 40 /* they leave from 33 calls on, until 27 are left; trees of 10 at most */
#define HOUR     (3600 * NS_PER_S)

static struct bench *small(void)
{
    return bench_create_with(
        (struct engine_config){.live_max = LIVE_MAX, .window_start = 64, .calls_max = 100});
}

static struct engine_stats stats_of(struct bench *b)
{
    struct engine_stats stats;

    engine_stats(b->e, &stats);
    return stats;
}

static bool is_out(struct bench *b, uint64_t root)
{
    int64_t due;

    return engine_tree_due(b->e, root, &due);
}

/* A root that sleeps for so long. */
static uint64_t sleeper(struct bench *b, int64_t ns)
{
    uint64_t id = bench_dispatch(b, bench_spec("f"));
    struct engine_answer a;

    bench_commit(b);
    a = bench_answer_to(bench_take_run(b, id));
    a.max_wait_ns = ns;
    bench_poll(b, a, "s");
    return id;
}

static void test_those_due_last_leave_first(void **state)
{
    struct bench *b = small();
    uint64_t id[33];
    size_t out = 0;
    struct buf why;

    (void)state;
    for (int i = 0; i < 33; i++)
        id[i] = sleeper(b, i % 3 == 0 ? 10 * HOUR : i % 3 == 1 ? HOUR / 2 : NS_PER_S);
    assert_int_equal(stats_of(b).live, 27);
    assert_int_equal(stats_of(b).swapped, 6);
    for (int i = 0; i < 33; i++) {
        out += is_out(b, id[i]);
        assert_true(i % 3 == 0 || !is_out(b, id[i]));
        assert_non_null(bench_find(b, TABLE_CALL, id[i], 0));
        assert_int_equal(!bench_find(b, TABLE_META, id[i], META_TREE), !is_out(b, id[i]));
    }
    assert_int_equal(out, 6);
    /* There is room again for as many as there will ever be. */
    for (int i = 0; i < 300; i++)
        sleeper(b, 10 * HOUR);
    assert_true(stats_of(b).live <= 33);
    assert_int_equal(stats_of(b).live + stats_of(b).swapped, 333);
    assert_true(is_out(b, id[1]) && !is_out(b, id[2])); /* due within a second: it stays */
    buf_init(&why, 1000);
    engine_why_tree(b->e, b->now, id[0], &why);
    assert_string_equal(
        buf_cstr(&why),
        "what all its tree waits for, out of memory: the first of it is due in 36000.0 s");
    buf_free(&why);
    bench_destroy(b);
}

static void fill(struct bench *b)
{
    while (stats_of(b).swapped_out == 0)
        sleeper(b, 23 * HOUR);
}

/* Its timer is due at the same time as ever, whether or not somebody crashes meanwhile. */
static void test_a_tree_comes_back_when_it_is_due(void **state)
{
    for (int crash = 0; crash < 3; crash++) {
        struct bench *b = small();
        uint64_t id = sleeper(b, 2 * HOUR);
        int64_t from = b->now;

        (void)state;
        fill(b);
        assert_true(is_out(b, id));
        if (crash == 1)
            bench_crash(b);
        assert_int_equal(stats_of(b).live + stats_of(b).swapped, 33);
        assert_true(stats_of(b).live <= 28);
        assert_true(engine_next_due(b->e) == from + 2 * HOUR);
        b->now = from + 2 * HOUR - 1;
        engine_tick(b->e, b->now);
        bench_commit(b);
        assert_int_equal(b->trees_len, 0);
        bench_sleep(b);
        assert_int_equal(b->trees_len, 1);
        if (crash == 2) { /* while it is read */
            bench_crash(b);
            assert_int_equal(b->trees_len, 1);
        }
        bench_fetch_tree(b);
        assert_false(is_out(b, id));
        assert_null(bench_find(b, TABLE_META, id, META_TREE));
        bench_crash(b);
        assert_false(is_out(b, id));
        bench_exit(b, bench_take_run(b, id), STATUS_OK, "out");
        bench_destroy(b);
    }
}

/* A parent with one result that it has not taken, and one that will come. */
static uint64_t family(struct bench *b, uint64_t *late)
{
    struct engine_spec specs[2] = {{.function = slice_str("now")}, {.function = slice_str("late")}};
    uint64_t id = bench_dispatch(b, bench_spec("parent"));
    struct engine_answer a;

    bench_commit(b);
    specs[1].not_before = b->now + 2 * HOUR;
    a = bench_answer_to(bench_take_run(b, id));
    a.specs = specs;
    a.spec_count = 2;
    a.min_results = 2;
    bench_poll(b, a, "s");
    bench_exit(b, bench_take_run(b, id + 1), STATUS_OK, "first");
    *late = id + 2;
    return id;
}

static void test_a_tree_comes_back_with_its_results(void **state)
{
    struct bench *b = small();
    uint64_t late, id = family(b, &late);
    struct engine_effect f;
    struct engine_run run;
    struct engine_row row;
    struct engine_result done;

    (void)state;
    fill(b);
    assert_true(is_out(b, id));
    done = bench_result(b, id + 1, &row);
    assert_true(slice_eq_str(done.output, "first"));
    assert_false(engine_remove(b->e, &row, 10)); /* its parent wants it still */
    bench_crash(b);
    assert_false(engine_remove(b->e, &row, 10));
    bench_sleep(b);
    bench_fetch_tree(b);
    assert_int_equal(bench_state(b, id), CALL_SUSPENDED);
    bench_exit(b, bench_take_run(b, late), STATUS_OK, "second");
    f = bench_take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 2);
    assert_true(run.results[0] == id + 1 && run.results[1] == late);
    bench_exit(b, f, STATUS_OK, NULL);
    assert_null(bench_find(b, TABLE_CALL, id + 1, 0));
    bench_destroy(b);
}

/* One whose call is not linked to it any more stays until that has ended, also after a crash. */
static void test_a_scattered_tree_stays(void **state)
{
    struct bench *b = small();
    uint64_t late, id = family(b, &late);
    struct engine_answer a;
    struct error err;

    (void)state;
    bench_advance(b, 2 * HOUR);
    assert_int_equal(bench_state(b, late), CALL_RUNNING);
    assert_int_equal(engine_restart(b->e, b->now, id, NULL, &err), 0); /* it goes on, of no use */
    bench_commit(b);
    a = bench_answer_to(bench_take_run(b, late));
    a.max_wait_ns = 20 * HOUR;
    bench_poll(b, a, "s");
    a = bench_answer_to(bench_take_run(b, id));
    a.max_wait_ns = 20 * HOUR;
    bench_poll(b, a, "s");
    fill(b);
    assert_false(is_out(b, id));
    bench_crash(b);
    for (int i = 0; i < 40; i++)
        sleeper(b, 10 * HOUR);
    assert_false(is_out(b, id));
    assert_int_equal(bench_state(b, late), CALL_SUSPENDED);
    assert_int_equal(engine_cancel(b->e, b->now, late, NULL, &err), 0);
    bench_commit(b);
    for (int i = 0; i < 80 && !is_out(b, id); i++) {
        engine_check(b->e);
        bench_advance(b, 2 * NS_PER_S);
        sleeper(b, 10 * HOUR);
    }
    assert_true(is_out(b, id));
    bench_destroy(b);
}

static void test_a_tree_is_asked_for(void **state)
{
    struct bench *b = small();
    uint64_t id = sleeper(b, 20 * HOUR);
    struct error err;

    (void)state;
    fill(b);
    assert_true(is_out(b, id));
    assert_int_equal(engine_cancel(b->e, b->now, id, NULL, &err), CODE_NOT_FOUND);
    assert_true(engine_wake_tree(b->e, id));
    assert_true(engine_wake_tree(b->e, id));
    bench_sleep(b);
    assert_true(engine_wake_tree(b->e, id)); /* it is being read */
    bench_fetch_tree(b);
    assert_int_equal(b->awake, 1);
    assert_false(engine_wake_tree(b->e, id));
    assert_int_equal(engine_cancel(b->e, b->now, id, NULL, &err), 0);
    bench_commit(b);
    assert_int_equal(b->last_done, id);
    bench_destroy(b);
}

/* Ten times as many as there is room for are due at one moment. */
static void test_a_crowd_that_is_due_finds_room_by_turns(void **state)
{
    struct bench *b = small();
    int64_t when = b->now + 5 * HOUR;
    size_t done = 0;

    (void)state;
    for (int i = 0; i < 400; i++)
        sleeper(b, when - b->now);
    b->now = when - NS_PER_S;
    bench_crash(b);
    assert_true(stats_of(b).live <= 33);
    b->now = when;
    while (done < 400) {
        engine_tick(b->e, b->now);
        bench_commit(b);
        while (b->trees_len)
            bench_fetch_tree(b);
        assert_true(stats_of(b).live <= LIVE_MAX + 1); /* one that finds room always */
        assert_true(b->runs_len > 0);
        bench_exit(b, bench_take_run(b, b->runs[b->runs_len - 1].call), STATUS_OK, NULL);
        done++;
    }
    assert_int_equal(stats_of(b).live + stats_of(b).swapped, 0);
    assert_int_equal(bench_count(b, TABLE_CALL), 0);
    assert_true(engine_next_due(b->e) == TIME_NEVER);
    bench_destroy(b);
}

static uint64_t dispatch_of(struct bench *b, int org)
{
    char name[16];
    struct engine_spec spec = bench_spec("f");
    struct error err;
    uint64_t id;

    snprintf(name, sizeof name, "org-%d", org);
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str(name), &spec, 1, b, &id, &err), 0);
    bench_commit(b);
    return id;
}

/* While the trees of many organizations are due and find no room, those of others leave. */
static void test_many_organizations_crowd(void **state)
{
    enum { CROWD = 64, OTHERS = 34 }; /* as many as the heap has places at first */
    struct bench *b = small();
    int64_t when = b->now + 5 * HOUR;
    uint64_t others[OTHERS];
    struct engine_answer a;

    (void)state;
    for (int i = 0; i < CROWD; i++) {
        a = bench_answer_to(bench_take_run(b, dispatch_of(b, i)));
        a.max_wait_ns = when - b->now;
        bench_poll(b, a, "s");
    }
    for (int i = 0; i < OTHERS; i++)
        others[i] = dispatch_of(b, CROWD + i);
    b->now = when;
    engine_tick(b->e, b->now);
    for (int i = 0; i < OTHERS; i++) {
        a = bench_answer_to(bench_take_run(b, others[i]));
        a.max_wait_ns = 5 * HOUR;
        bench_poll(b, a, "s");
    }
    for (int i = 0; i < 10; i++) {
        engine_tick(b->e, b->now += 60 * NS_PER_S);
        bench_commit(b);
    }
    assert_true(is_out(b, others[OTHERS - 1]));
    bench_destroy(b);
}

/* A poll finds the room of those that sleep. */
static void test_a_poll_finds_the_room_of_others(void **state)
{
    struct bench *b = small();
    struct engine_spec specs[20];
    uint64_t id = bench_dispatch(b, bench_spec("parent"));
    struct engine_answer a;
    struct engine_effect f;

    (void)state;
    bench_commit(b);
    for (int i = 0; i < 31; i++)
        sleeper(b, HOUR);
    a = bench_answer_to(bench_take_run(b, id));
    for (int i = 0; i < 20; i++)
        specs[i] = (struct engine_spec){.function = slice_str("child")};
    a.specs = specs;
    a.spec_count = 20;
    bench_poll(b, a, "s");
    assert_int_equal(b->fetches_len, 1);
    f = b->fetches[0];
    engine_fetched(b->e, b->now, f.call, f.generation,
                   blob_slice(bench_find(b, TABLE_PAYLOAD, f.call, PAYLOAD_CALLS)->value), NULL);
    bench_commit(b);
    assert_true(stats_of(b).live <= LIVE_MAX);
    assert_int_equal(b->runs_len, 20);
    bench_destroy(b);
}

static void test_what_cannot_be_read_is_asked_for_again(void **state)
{
    struct bench *b = small();
    uint64_t id = sleeper(b, 2 * HOUR);
    struct error err;

    (void)state;
    fill(b);
    bench_sleep(b);
    error_set(&err, CODE_UNAVAILABLE, "the disk is away");
    engine_tree_fetched(b->e, b->now, id, NULL, 0, &err);
    assert_true(engine_failed(b->e));
    bench_crash(b);
    assert_int_equal(b->trees_len, 1);
    engine_tree_fetched(b->e, b->now, id, NULL, 0, NULL); /* fewer than there are */
    assert_true(engine_failed(b->e));
    bench_crash(b);
    bench_fetch_tree(b);
    bench_take_run(b, id);
    bench_destroy(b);
}

static void test_rows_of_trees(void **state)
{
    const uint64_t ids[] = {70000, 70001, 70300};
    struct tree_row tree;
    struct error err;
    struct buf buf;
    uint64_t id;

    (void)state;
    buf_init(&buf, 100);
    tree_encode(&buf, 70000, -5, ids, 3);
    assert_memory_equal(buf.data, "\1\xfb\xff\xff\xff\xff\xff\xff\xff\3\0\1\xab\2", 14);
    assert_int_equal(buf.len, 14);
    assert_int_equal(tree_decode(buf_slice(&buf), 70000, &tree, &err), 0);
    assert_true(tree.wake == -5 && tree.calls == 3);
    for (int i = 0; i < 3; i++)
        assert_true(tree_next(&tree, &id) && id == ids[i]);
    assert_false(tree_next(&tree, &id));
    for (size_t cut = 0; cut < 12; cut++)
        assert_int_equal(tree_decode(slice(buf.data, cut), 70000, &tree, &err), CODE_DATA_LOSS);
    buf.data[0] = 2;
    assert_int_equal(tree_decode(buf_slice(&buf), 70000, &tree, &err), CODE_FAILED_PRECONDITION);
    buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_due_last_leave_first),
        cmocka_unit_test(test_a_tree_comes_back_when_it_is_due),
        cmocka_unit_test(test_a_tree_comes_back_with_its_results),
        cmocka_unit_test(test_a_scattered_tree_stays),
        cmocka_unit_test(test_a_tree_is_asked_for),
        cmocka_unit_test(test_a_crowd_that_is_due_finds_room_by_turns),
        cmocka_unit_test(test_many_organizations_crowd),
        cmocka_unit_test(test_a_poll_finds_the_room_of_others),
        cmocka_unit_test(test_what_cannot_be_read_is_asked_for_again),
        cmocka_unit_test(test_rows_of_trees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
