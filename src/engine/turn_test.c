// SPDX-License-Identifier: Apache-2.0
/* Who runs next in a group: priorities first, but nobody never; then roots by turns, then first
 * come, first served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

static struct bench *one_at_a_time(void)
{
    return bench_create_with((struct engine_config){.window_start = 1, .window_max = 1});
}

/* The one run there is, ended. */
static uint64_t next(struct bench *b)
{
    uint64_t call;

    assert_int_equal(b->runs_len, 1);
    call = b->runs[0].call;
    bench_exit(b, bench_take_run(b, call), STATUS_OK, NULL);
    return call;
}

/* A root with so many children ready; one of them runs. */
static uint64_t parent_of(struct bench *b, size_t count, int32_t priority)
{
    struct engine_spec *specs = calloc(count, sizeof *specs);
    uint64_t id = bench_dispatch(b, bench_spec("parent"));
    struct engine_answer a;

    bench_commit(b);
    a = bench_answer_to(bench_take_run(b, id));
    for (size_t i = 0; i < count; i++)
        specs[i] = (struct engine_spec){.function = slice_str("child"), .priority = priority};
    a.specs = specs;
    a.spec_count = count;
    a.min_results = 1000;
    bench_poll(b, a, "s");
    free(specs);
    return id;
}

static void test_roots_take_turns(void **state)
{
    struct bench *b = one_at_a_time();
    uint64_t parent = parent_of(b, 100, 0), single, pair;
    struct engine_spec s = bench_spec("f");

    (void)state;
    single = bench_dispatch(b, s);
    pair = bench_dispatch(b, s);
    bench_commit(b);
    assert_int_equal(next(b), parent + 1); /* was running already */
    assert_int_equal(next(b), parent + 2);
    assert_int_equal(next(b), single);
    assert_int_equal(next(b), pair);
    single = bench_dispatch(b, s);
    bench_commit(b);
    assert_int_equal(next(b), parent + 3);
    assert_int_equal(next(b), parent + 4); /* it was its turn before the new one came */
    assert_int_equal(next(b), single);
    for (uint64_t i = 5; i <= 100; i++)
        assert_int_equal(next(b), parent + i);
    assert_int_equal(next(b), parent);
    assert_int_equal(b->runs_len, 0);
    bench_destroy(b);
}

static uint64_t urgent(struct bench *b, int32_t priority)
{
    struct engine_spec s = bench_spec("f");

    s.priority = priority;
    return bench_dispatch(b, s);
}

static void test_priorities_go_first(void **state)
{
    struct bench *b = one_at_a_time();
    uint64_t low, plain[2], high, highest, least, most;

    (void)state;
    plain[0] = urgent(b, 0);
    bench_commit(b);
    low = urgent(b, -1);
    plain[1] = urgent(b, 0);
    high = urgent(b, 5);
    highest = urgent(b, 6);
    least = urgent(b, INT32_MIN);
    most = urgent(b, INT32_MAX);
    bench_commit(b);
    assert_int_equal(next(b), plain[0]);
    bench_crash(b);
    assert_int_equal(next(b), most);
    assert_int_equal(next(b), highest);
    assert_int_equal(next(b), high);
    assert_int_equal(next(b), plain[1]);
    assert_int_equal(next(b), low);
    assert_int_equal(next(b), least);
    bench_destroy(b);
}

static void test_tail_calls_keep_their_priority_or_change_it(void **state)
{
    struct bench *b = one_at_a_time();
    uint64_t first = urgent(b, 3);
    struct engine_spec tail = {.function = slice_str("next")};
    struct engine_answer a;
    struct engine_row row;

    (void)state;
    bench_commit(b);
    for (int i = 0; i < 2; i++) {
        a = bench_answer_to(bench_take_run(b, first));
        a.outcome = ENGINE_TAIL;
        tail.priority = i ? 9 : 0;
        a.specs = &tail;
        a.spec_count = 1;
        engine_answer(b->e, b->now, &a);
        bench_commit(b);
        assert_true(engine_find(b->e, first, &row));
        assert_int_equal(row.priority, i ? 9 : 3);
    }
    bench_destroy(b);
}

/* Whoever leaves the line, at any place of it, leaves the others in order. */
static void test_the_line_survives_cancellations(void **state)
{
    struct bench *b = one_at_a_time();
    uint64_t running = urgent(b, 0), parent, id[4];
    struct error err;

    (void)state;
    bench_commit(b);
    for (int i = 0; i < 4; i++)
        id[i] = urgent(b, i < 2 ? 0 : 7);
    bench_commit(b);
    assert_int_equal(engine_cancel(b->e, b->now, id[2], NULL, &err), 0);
    assert_int_equal(engine_cancel(b->e, b->now, id[0], NULL, &err), 0);
    bench_commit(b);
    engine_check(b->e);
    assert_int_equal(next(b), running);
    assert_int_equal(next(b), id[3]);
    assert_int_equal(next(b), id[1]);
    parent = parent_of(b, 3, 7); /* one of its children runs */
    id[0] = urgent(b, 7);
    bench_commit(b);
    assert_int_equal(engine_cancel(b->e, b->now, parent + 2, NULL, &err), 0);
    bench_commit(b);
    assert_int_equal(next(b), parent + 1);
    assert_int_equal(next(b), parent + 3); /* its root's turn, in the place of the cancelled one */
    assert_int_equal(next(b), id[0]);
    assert_int_equal(next(b), parent);
    bench_destroy(b);
}

/* As many as the heap first has room for, and then the one that comes back to it. The highest goes
 * first, save that each eighth turn is that of the one that waits for longest. */
static void test_many_priorities(void **state)
{
    struct bench *b = one_at_a_time();
    uint64_t running, id[64], last;
    size_t highest = 63, lowest = 0;

    (void)state;
    running = bench_dispatch(b, bench_spec("f"));
    bench_commit(b);
    for (int32_t i = 0; i < 64; i++)
        id[i] = urgent(b, i + 1);
    bench_commit(b);
    last = bench_dispatch(b, bench_spec("f"));
    bench_commit(b);
    assert_int_equal(next(b), running); /* and the highest runs */
    for (size_t turn = 0; turn < 64; turn++)
        assert_int_equal(next(b), id[turn % 8 == 7 ? lowest++ : highest--]);
    assert_int_equal(next(b), last);
    bench_destroy(b);
}

/* Two parents whose polls come back at once would keep the window to themselves. */
static void test_busy_parents_let_their_children_run(void **state)
{
    struct bench *b = one_at_a_time();
    struct engine_spec child[3] = {{.function = slice_str("child"), .priority = -1},
                                   {.function = slice_str("child"), .priority = -2},
                                   {.function = slice_str("child"), .priority = -2}};
    uint64_t parent = urgent(b, 9), other;
    struct engine_answer a;
    int turns = 0, served = 0;
    char text[2] = "a";

    (void)state;
    other = urgent(b, 9);
    bench_commit(b);
    a = bench_answer_to(bench_take_run(b, parent));
    a.specs = child;
    a.spec_count = 3;
    for (; served < 3; turns++) {
        assert_true(turns < 8 * 5);
        a.max_wait_ns = 0;
        text[0]++; /* some progress, so that it need not wait */
        bench_poll(b, a, text);
        while (b->runs[0].call != parent && b->runs[0].call != other) {
            bench_exit(b, bench_take_run(b, b->runs[0].call), STATUS_OK, NULL);
            served++;
        }
        a = bench_answer_to(bench_take_run(b, b->runs[0].call));
    }
    assert_true(turns >= 8 * 2); /* and yet the parents go first */
    bench_destroy(b);
}

/* New roots above come in as fast as they are served: those below have one turn in eight, and take
 * it by turns. */
static void test_a_stream_of_urgent_roots_starves_nobody(void **state)
{
    struct bench *b = one_at_a_time();
    uint64_t low[4];
    size_t served = 0;

    (void)state;
    urgent(b, 5);
    bench_commit(b);
    for (int i = 0; i < 4; i++)
        low[i] = urgent(b, i % 2);
    bench_commit(b);
    for (int turn = 0; turn < 8 * 4; turn++) {
        uint64_t call;

        urgent(b, 5);
        bench_commit(b);
        call = next(b);
        if (served < 4 && call == low[served])
            served++;
        if (turn > 0)
            assert_int_equal(served, turn / 8);
    }
    assert_int_equal(served, 4 - 1); /* the fourth runs now */
    assert_int_equal(next(b), low[3]);
    bench_destroy(b);
}

/* Without others nothing is counted: whoever comes is not owed what nobody was denied. */
static void test_turns_alone_pass_nobody_by(void **state)
{
    struct bench *b = one_at_a_time();
    uint64_t high, low;

    (void)state;
    for (int i = 0; i < 20; i++)
        urgent(b, 5);
    bench_commit(b);
    for (int i = 0; i < 19; i++)
        next(b);
    low = urgent(b, 1);
    high = urgent(b, 5);
    bench_commit(b);
    next(b);
    assert_int_equal(next(b), high);
    assert_int_equal(next(b), low);
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roots_take_turns),
        cmocka_unit_test(test_priorities_go_first),
        cmocka_unit_test(test_tail_calls_keep_their_priority_or_change_it),
        cmocka_unit_test(test_the_line_survives_cancellations),
        cmocka_unit_test(test_many_priorities),
        cmocka_unit_test(test_busy_parents_let_their_children_run),
        cmocka_unit_test(test_a_stream_of_urgent_roots_starves_nobody),
        cmocka_unit_test(test_turns_alone_pass_nobody_by),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
