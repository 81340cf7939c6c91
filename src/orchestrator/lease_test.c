// SPDX-License-Identifier: Apache-2.0
/*
 * Two nodes that want one partition: two orchestrators on the same data, each with a clock of its
 * own. The first is that of testing.h; its store's clock is the time that counts.
 */
#include "orchestrator/testing.h"

#include <stdlib.h>

#define LEASE_NS (20 * NS_PER_S)

struct nodes {
    struct world *a, *b;
};

static int setup(void **state)
{
    struct nodes *n = calloc(1, sizeof *n);
    struct error err;

    assert_non_null(n);
    n->a = calloc(1, sizeof *n->a);
    n->b = calloc(1, sizeof *n->b);
    assert_non_null(n->a);
    assert_non_null(n->b);
    n->a->options.lease_ns = n->b->options.lease_ns = LEASE_NS;
    world_init(n->a);
    store_memory_set_clock(n->a->memory, &n->a->clock);
    /* It had opened by the system's clock. */
    world_restart(n->a);
    n->b->clock = n->a->clock;
    n->b->now = n->a->now;
    n->b->invoker = n->a->invoker;
    assert_int_equal(store_memory_share(&n->b->memory, n->a->memory, &err), 0);
    world_start(n->b);
    *state = n;
    return 0;
}

static int teardown(void **state)
{
    struct nodes *n = *state;

    world_free(n->a);
    world_free(n->b);
    free(n->a);
    free(n->b);
    free(n);
    return 0;
}

/* Time goes on for both, a second at a time; `paused` has no turn. */
static void pass(struct nodes *n, int64_t seconds, struct world *paused)
{
    for (int64_t i = 0; i < seconds; i++) {
        n->a->now += NS_PER_S;
        n->b->now += NS_PER_S;
        if (n->a != paused)
            world_settle(n->a);
        if (n->b != paused)
            world_settle(n->b);
    }
}

static void who_has_it_keeps_it(void **state)
{
    struct nodes *n = *state;
    struct orchestrator_stats before, after;
    struct reply reply = {0};

    assert_true(orchestrator_ready(n->a->o));
    assert_false(orchestrator_ready(n->b->o));
    assert_non_null(strstr(orchestrator_trouble(n->b->o), "another node has the lease"));
    orchestrator_stats(n->a->o, &before);
    for (int i = 0; i < 200; i++) {
        pass(n, 1, NULL);
        assert_true(orchestrator_ready(n->a->o));
        assert_false(orchestrator_ready(n->b->o));
    }
    orchestrator_stats(n->a->o, &after);
    assert_true(after.incarnation == before.incarnation);
    world_ask(n->b, "f", NULL, &reply);
    world_settle(n->b);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
}

static void another_takes_over_from_who_is_gone(void **state)
{
    struct nodes *n = *state;
    char id[ID_TEXT_LEN + 1];

    world_dispatch(n->a, "f", "x", id);
    assert_int_equal(n->a->run_count, 1);
    pass(n, 19, n->a);
    assert_false(orchestrator_ready(n->b->o));
    pass(n, 10, n->a);
    assert_true(orchestrator_ready(n->b->o));
    assert_int_equal(n->b->run_count, 1);
    /* Back again, it finds out by its clock, before it says or does anything. */
    assert_false(orchestrator_ready(n->a->o));
    answer_ok(world_take_run(n->b), "from b");
    world_settle(n->b);
    answer_ok(world_take_run(n->a), "from a");
    world_settle(n->a);
    assert_false(orchestrator_ready(n->a->o));
    world_expect(n->b, id, STATUS_OK, "from b");
    pass(n, 100, NULL);
    assert_true(orchestrator_ready(n->b->o));
    assert_false(orchestrator_ready(n->a->o));
}

/* One whose clock stood still believes that it has the lease; its commits are refused. */
static void a_wrong_clock_does_no_harm(void **state)
{
    struct nodes *n = *state;
    struct reply reply = {0};
    char id[ID_TEXT_LEN + 1];

    world_dispatch(n->a, "f", "x", id);
    n->b->now += 2 * LEASE_NS;
    store_memory_set_clock(n->a->memory, &n->b->clock);
    world_settle(n->b);
    assert_true(orchestrator_ready(n->b->o));
    assert_true(orchestrator_ready(n->a->o));
    world_ask(n->a, "g", NULL, &reply);
    answer_ok(world_take_run(n->a), "from a");
    world_settle(n->a);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    assert_false(orchestrator_ready(n->a->o));
    answer_ok(world_take_run(n->b), "from b");
    world_settle(n->b);
    world_expect(n->b, id, STATUS_OK, "from b");
}

static void who_stops_lets_go(void **state)
{
    struct nodes *n = *state;

    orchestrator_destroy(n->a->o);
    n->a->o = NULL;
    store_close(n->a->memory);
    n->a->memory = NULL;
    pass(n, 6, n->a); /* no longer than the backoff */
    assert_true(orchestrator_ready(n->b->o));
}

/* It cannot be renewed for a while: nothing is lost by that, and then nothing goes on. */
static void a_lease_that_cannot_be_renewed_is_over(void **state)
{
    struct nodes *n = *state;

    n->a->faults.fail_all = true;
    pass(n, 14, n->b);
    assert_true(orchestrator_ready(n->a->o));
    n->a->faults.fail_all = false;
    pass(n, 60, n->b);
    assert_true(orchestrator_ready(n->a->o));
    n->a->faults.fail_all = true;
    pass(n, 16, n->b);
    assert_false(orchestrator_ready(n->a->o));
    pass(n, 10, NULL);
    assert_true(orchestrator_ready(n->b->o));
}

/* What was not taken as the lease was over is lost: though the clock goes back before anybody has
 * looked, the partition is opened again, and asks for it again. */
static void a_lease_found_over_stays_over(void **state)
{
    struct nodes *n = *state;
    struct orchestrator_stats before, after;
    char id[ID_TEXT_LEN + 1];

    world_dispatch(n->a, "f", "x", id);
    orchestrator_stats(n->a->o, &before);
    n->a->now += LEASE_NS - LEASE_NS / 4;
    answer_ok(world_take_run(n->a), "late");
    n->a->now -= LEASE_NS - LEASE_NS / 4;
    pass(n, 6, n->b); /* no longer than the backoff */
    assert_true(orchestrator_ready(n->a->o));
    orchestrator_stats(n->a->o, &after);
    assert_true(after.incarnation > before.incarnation);
    assert_int_equal(n->a->run_count, 1);
    answer_ok(world_take_run(n->a), "again");
    world_settle(n->a);
    world_expect(n->a, id, STATUS_OK, "again");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_has_it_keeps_it),
        TEST(another_takes_over_from_who_is_gone),
        TEST(a_wrong_clock_does_no_harm),
        TEST(who_stops_lets_go),
        TEST(a_lease_that_cannot_be_renewed_is_over),
        TEST(a_lease_found_over_stays_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
