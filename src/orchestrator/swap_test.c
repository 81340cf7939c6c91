// SPDX-License-Identifier: Apache-2.0
/* Whatever is asked of a call whose tree is out of memory is done, as if it were there. */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

#define CALLS 60 /* far fewer are in memory */

struct sleepers {
    struct world world; /* first */
    char id[CALLS][ID_TEXT_LEN + 1];
};

static void dispatch_event(struct world *w, const char *key, char id[ID_TEXT_LEN + 1])
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    struct reply reply = {0};
    struct arena arena;
    wire_call *call;

    arena_init(&arena, 1 << 16);
    call = arena_alloc(&arena, sizeof *call);
    dispatch__sdk__v1__call__init(call);
    call->function = arena_dup(&arena, slice_str("approval"));
    call->endpoint = arena_dup(&arena, slice_str("event:"));
    call->key = arena_dup(&arena, slice_str(key));
    request.calls = &call;
    request.n_calls = 1;
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &reply);
    world_settle(w);
    assert_true(reply.count == 1 && !reply.error.code);
    memcpy(id, reply.ids[0], ID_TEXT_LEN + 1);
    arena_reset(&arena);
}

static int fill(void **state, int64_t retention_ns)
{
    struct sleepers *s = calloc(1, sizeof *s);
    char key[16];

    assert_non_null(s);
    *state = s;
    s->world.options.engine.live_max = 40;
    s->world.options.retention_ns = retention_ns;
    world_init(&s->world);
    for (int i = 0; i < CALLS; i++) {
        snprintf(key, sizeof key, "key %d", i);
        dispatch_event(&s->world, key, s->id[i]);
    }
    return 0;
}

static int setup(void **state)
{
    return fill(state, 0);
}

static int setup_keeping_little(void **state)
{
    return fill(state, 2 * 3600 * NS_PER_S);
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

static struct engine_stats stats_of(struct world *w)
{
    struct orchestrator_stats stats;

    orchestrator_stats(w->o, &stats);
    assert_true(stats.engine.live <= 33);
    return stats.engine;
}

/* The oldest call that is out. */
static int first_out(struct sleepers *s)
{
    struct got got;

    for (int i = 0; i < CALLS; i++) {
        world_get(&s->world, s->id[i], &got);
        assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_WAITING);
        if (strstr(got.waiting_for, "out of memory"))
            return i;
        assert_non_null(strstr(got.waiting_for, "a completion from outside"));
    }
    fail_msg("all are in memory");
    return -1;
}

static void complete(struct world *w, const char *id, const char *key, struct reply *reply)
{
    Dispatch__V1__CompleteRequest request = DISPATCH__V1__COMPLETE_REQUEST__INIT;
    struct arena arena;

    arena_init(&arena, 1 << 16);
    request.dispatch_id = arena_dup(&arena, slice_str(id));
    request.key = arena_dup(&arena, slice_str(key));
    request.output = any_of(&arena, "yes");
    *reply = (struct reply){0};
    orchestrator_complete(w->o, slice_str(TEST_ORG), &request, reply_cancelled, reply);
    arena_reset(&arena); /* read during the call only */
    world_settle(w);
    assert_int_equal(reply->count, 1);
}

static void completed_by_key(void **state)
{
    struct sleepers *s = *state;
    struct world *w = &s->world;
    int i = first_out(s);
    struct reply reply;
    char key[16];

    snprintf(key, sizeof key, "key %d", i);
    complete(w, "", key, &reply);
    assert_int_equal(reply.error.code, 0);
    world_expect(w, s->id[i], STATUS_OK, "yes");
    complete(w, "", key, &reply);
    assert_int_equal(reply.error.code, CODE_FAILED_PRECONDITION);
    assert_int_equal(stats_of(w).live + stats_of(w).swapped, CALLS - 1);
}

static void completed_by_id_after_a_restart(void **state)
{
    struct sleepers *s = *state;
    struct world *w = &s->world;
    struct got wait = {0};
    struct reply reply;
    int i;

    world_restart(w);
    assert_true(stats_of(w).swapped >= CALLS - 33);
    i = first_out(s);
    orchestrator_wait(w->o, slice_str(TEST_ORG), slice_str(s->id[i]), -1, got_info, &wait);
    world_settle(w);
    assert_int_equal(wait.count, 0);
    complete(w, s->id[i], "", &reply);
    assert_int_equal(reply.error.code, 0);
    assert_int_equal(wait.count, 1);
    assert_string_equal(wait.output, "yes");
    complete(w, s->id[i], "", &reply);
    assert_int_equal(reply.error.code, CODE_FAILED_PRECONDITION);
}

static void cancelled(void **state)
{
    struct sleepers *s = *state;
    struct world *w = &s->world;
    struct reply reply[2] = {{0}, {0}}, other = {0};
    int i = first_out(s);

    orchestrator_cancel(w->o, slice_str("others"), slice_str(s->id[i]), reply_cancelled, &other);
    orchestrator_restart(w->o, slice_str(TEST_ORG), slice_str(s->id[i]), reply_cancelled, reply);
    orchestrator_cancel(w->o, slice_str(TEST_ORG), slice_str(s->id[i]), reply_cancelled, reply + 1);
    world_settle(w);
    assert_true(other.count == 1 && other.error.code == CODE_NOT_FOUND);
    assert_true(reply[0].count == 1 && reply[0].error.code == CODE_FAILED_PRECONDITION);
    assert_non_null(
        strstr(reply[0].error.message, "completed from outside")); /* it was looked at */
    assert_true(reply[1].count == 1 && !reply[1].error.code);
    world_expect(w, s->id[i], STATUS_PERMANENT_ERROR, "");
}

/* Nobody does anything: each expires in its time, and finds its way back for that. */
static void expired(void **state)
{
    struct sleepers *s = *state;
    struct world *w = &s->world;

    assert_true(first_out(s) >= 0);
    for (int i = 0; i < 100 && stats_of(w).live + stats_of(w).swapped; i++)
        world_advance(w, 3600 * NS_PER_S);
    for (int i = 0; i < CALLS; i++)
        world_expect(w, s->id[i], STATUS_TIMEOUT, "");
    assert_int_equal(orchestrator_step(w->o), TIME_NEVER);
}

/* Who waits for a tree that is being read is told when the orchestrator goes. */
static void answered_when_it_stops(void **state)
{
    struct sleepers *s = *state;
    struct world *w = &s->world;
    struct reply reply = {0};
    int i = first_out(s);

    orchestrator_cancel(w->o, slice_str(TEST_ORG), slice_str(s->id[i]), reply_cancelled, &reply);
    world_restart(w);
    assert_true(reply.count == 1 && reply.error.code == CODE_UNAVAILABLE);
    assert_int_equal(stats_of(w).live + stats_of(w).swapped, CALLS);
}

static bool sleeps_elsewhere(struct world *w, const char *id)
{
    struct got got;

    world_get(w, id, &got);
    return strstr(got.waiting_for, "out of memory");
}

/* A result that waits for its parent is older than what is kept; but its parent sleeps. */
static void kept_for_a_parent_that_sleeps(void **state)
{
    const struct child children[2] = {{"soon", 1}, {"late", 2}};
    struct sleepers *s = *state;
    struct world *w = &s->world;
    char id[ID_TEXT_LEN + 1], other[ID_TEXT_LEN + 1], key[16];
    struct orchestrator_run *run;

    world_dispatch(w, "parent", NULL, id);
    answer_with_poll(world_take(w, "parent"), "s", children, 2, 2, -1);
    world_settle(w);
    answer_ok(world_take(w, "soon"), "first");
    answer_with_poll(world_take(w, "late"), "s", NULL, 0, 1, 20 * 3600 * NS_PER_S);
    world_settle(w);
    for (int i = 0; !sleeps_elsewhere(w, id); i++) {
        assert_true(i < 2 * CALLS);
        snprintf(key, sizeof key, "more %d", i);
        dispatch_event(w, key, other);
    }
    world_dispatch(w, "f", NULL, other); /* the sweep is at work */
    answer_ok(world_take(w, "f"), "x");
    world_settle(w);
    for (int i = 0; i < 19; i++)
        world_advance(w, 3600 * NS_PER_S);
    assert_true(sleeps_elsewhere(w, id));
    world_ask(w, "g", NULL, &(struct reply){0});
    world_advance(w, 3600 * NS_PER_S);
    answer_ok(world_take(w, "late"), "second");
    world_settle(w);
    run = world_take(w, "parent");
    assert_int_equal(run->request->poll_result->n_results, 2);
    answer_ok(run, "joined");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "joined");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(completed_by_key),
        TEST(completed_by_id_after_a_restart),
        TEST(cancelled),
        TEST(expired),
        TEST(answered_when_it_stops),
        cmocka_unit_test_setup_teardown(kept_for_a_parent_that_sleeps, setup_keeping_little,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
