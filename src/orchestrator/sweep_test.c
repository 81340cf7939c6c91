// SPDX-License-Identifier: Apache-2.0
/* What is kept, for how long, and what is removed then. */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

#define HOUR_NS   (3600 * NS_PER_S)
#define MINUTE_NS (60 * NS_PER_S)

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    w->options.retention_ns = 72 * HOUR_NS;
    w->options.retention_bytes = 100000;
    world_init(w);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

static int count_row(void *arg, const struct store_row *row)
{
    (void)row;
    ++*(size_t *)arg;
    return 0;
}

static size_t rows(struct world *w, enum table table)
{
    struct store_range range = {.table = table, .to_key = KEY_MAX, .to_sub = SUB_MAX};
    struct error err;
    size_t count = 0;

    assert_int_equal(store_walk(w->memory, 0, &range, count_row, &count, &err), 0);
    return count;
}

static void run_to_end(struct world *w, const char *input, char id[ID_TEXT_LEN + 1])
{
    world_dispatch(w, "f", input, id);
    answer_ok(world_take(w, "f"), "out");
    world_settle(w);
}

static bool is_known(struct world *w, const char *id)
{
    struct got got;

    world_get(w, id, &got);
    assert_true(got.error.code == 0 || got.error.code == CODE_NOT_FOUND);
    return got.error.code == 0;
}

static uint64_t kept_calls(struct world *w)
{
    struct orchestrator_stats stats;

    orchestrator_stats(w->o, &stats);
    assert_true((stats.engine.kept_calls == 0) == (stats.engine.kept_bytes == 0));
    return stats.engine.kept_calls;
}

/* As long as there is something to do, at its time; then until `until`. */
static void pass(struct world *w, int64_t until)
{
    for (;;) {
        int64_t due = orchestrator_step(w->o);

        if (due > until)
            break;
        if (due > w->now)
            w->now = due;
    }
    w->now = until;
    world_settle(w);
}

static void finished_calls_go_after_their_time(void **state)
{
    char first[ID_TEXT_LEN + 1], second[ID_TEXT_LEN + 1];
    struct world *w = *state;
    int64_t start = w->now;

    run_to_end(w, "in", first);
    w->now += HOUR_NS;
    run_to_end(w, "in", second);
    assert_int_equal(kept_calls(w), 2);
    pass(w, start + 72 * HOUR_NS - 1);
    assert_true(is_known(w, first));
    pass(w, start + 72 * HOUR_NS + MINUTE_NS);
    assert_false(is_known(w, first));
    assert_true(is_known(w, second));
    assert_int_equal(kept_calls(w), 1);
    world_restart(w);
    assert_int_equal(kept_calls(w), 1);
    pass(w, start + 73 * HOUR_NS + 2 * MINUTE_NS);
    assert_false(is_known(w, second));
    assert_int_equal(kept_calls(w), 0);
    assert_int_equal(rows(w, TABLE_DONE), 0);
    assert_int_equal(rows(w, TABLE_PAYLOAD), 0);
    world_settle(w);
    assert_true(orchestrator_step(w->o) == TIME_NEVER); /* nothing is kept: nothing to wake for */
}

/* The oldest call lives on: it stays, and those behind it go. */
static void long_lives_do_not_keep_others(void **state)
{
    char old[ID_TEXT_LEN + 1], id[ID_TEXT_LEN + 1];
    struct world *w = *state;
    int64_t start = w->now;
    struct got got;

    w->options.engine.expiration_ns = 300 * HOUR_NS;
    world_restart(w);
    world_dispatch(w, "old", NULL, old);
    for (int i = 0; i < 300; i++) /* more than one read */
        run_to_end(w, "in", id);
    pass(w, start + 72 * HOUR_NS + MINUTE_NS);
    assert_int_equal(kept_calls(w), 0);
    assert_int_equal(rows(w, TABLE_DONE), 0);
    answer_ok(world_take(w, "old"), "at last");
    world_settle(w);
    pass(w, w->now + 72 * HOUR_NS - 2 * MINUTE_NS);
    world_get(w, old, &got);
    assert_string_equal(got.output, "at last");
    pass(w, w->now + 4 * MINUTE_NS);
    assert_false(is_known(w, old));
}

/* A result that its parent has still to take stays, and so does the live parent. */
static void what_a_parent_waits_for_stays(void **state)
{
    const struct child two[] = {{"left", 1}, {"right", 2}};
    char root[ID_TEXT_LEN + 1], left[ID_TEXT_LEN + 1];
    struct orchestrator_run *run;
    struct world *w = *state;
    int64_t start = w->now;

    w->options.engine.expiration_ns = 300 * HOUR_NS;
    world_restart(w);
    world_dispatch(w, "root", NULL, root);
    answer_with_poll(world_take_run(w), "s", two, 2, 2, -1);
    world_settle(w);
    run = world_take(w, "left");
    memcpy(left, run->request->dispatch_id, sizeof left);
    answer_ok(run, "l");
    world_settle(w);
    pass(w, start + 100 * HOUR_NS);
    assert_true(is_known(w, left));
    answer_ok(world_take(w, "right"), "r");
    world_settle(w);
    run = world_take(w, "root");
    assert_int_equal(run->request->poll_result->n_results, 2);
    answer_with_poll(run, "t", NULL, 0, 1, 50 * HOUR_NS);
    world_settle(w);
    pass(w, w->now + 2 * MINUTE_NS);
    assert_false(is_known(w, left)); /* delivered: it goes on its own */
    assert_true(is_known(w, root));
}

static void too_much_goes_early_but_not_within_an_hour(void **state)
{
    char ids[12][ID_TEXT_LEN + 1], large[9000];
    struct reply reply = {0};
    struct world *w = *state;

    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    for (int i = 0; i < 8; i++) /* about 12 KB each, rounded up as they are */
        run_to_end(w, large, ids[i]);
    assert_int_equal(kept_calls(w), 8);
    w->now += HOUR_NS / 2;
    run_to_end(w, large, ids[8]);
    assert_int_equal(kept_calls(w), 9);
    world_ask(w, "f", NULL, &reply);
    world_settle(w);
    assert_int_equal(reply.error.code, CODE_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(reply.error.message, "100000"));
    pass(w, w->now + HOUR_NS / 2 + MINUTE_NS);
    assert_int_equal(kept_calls(w), 8); /* the oldest went, and no more than had to */
    assert_false(is_known(w, ids[0]));
    assert_true(is_known(w, ids[1]));
    run_to_end(w, large, ids[9]);
    pass(w, w->now + MINUTE_NS);
    assert_int_equal(kept_calls(w), 8);
    assert_false(is_known(w, ids[1]));
    assert_true(is_known(w, ids[8]));
}

/* One call by a request with a key, to its end. */
static void run_keyed(struct world *w)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    char function[] = "f", endpoint[] = ENDPOINT;
    struct reply reply = {0};

    call.function = function;
    call.endpoint = endpoint;
    request.calls = calls;
    request.n_calls = 1;
    orchestrator_dispatch_keyed(w->o, slice_str(TEST_ORG), slice_str("k"), &request,
                                reply_dispatched, &reply);
    world_settle(w);
    answer_ok(world_take_run(w), "out");
    world_settle(w);
}

static void expired_keys_go(void **state)
{
    struct world *w = *state;
    int64_t start = w->now;

    run_keyed(w);
    assert_int_equal(rows(w, TABLE_KEY), 1);
    pass(w, start + 24 * HOUR_NS - 1);
    assert_int_equal(rows(w, TABLE_KEY), 1);
    world_restart(w);
    pass(w, start + 24 * HOUR_NS + 2 * MINUTE_NS);
    assert_int_equal(rows(w, TABLE_KEY), 0);
    assert_int_equal(rows(w, TABLE_DONE), 1);
}

/* Nor do keys, which are looked at in a day, keep calls that go in an hour. */
static void keys_do_not_keep_calls(void **state)
{
    struct world *w = *state;

    w->options.retention_ns = HOUR_NS;
    world_restart(w);
    run_keyed(w);
    pass(w, w->now + HOUR_NS + 2 * MINUTE_NS);
    assert_int_equal(rows(w, TABLE_DONE), 0);
    assert_int_equal(rows(w, TABLE_KEY), 1);
}

/* The key of a Dispatch that a call made goes when the call has ended. */
static void callers_keys_go_with_them(void **state)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    wire_duration expiration = GOOGLE__PROTOBUF__DURATION__INIT;
    char function[] = "f", endpoint[] = ENDPOINT, key[64];
    struct reply caller = {0}, reply = {0};
    struct world *w = *state;
    int64_t start = w->now;

    wire_set_duration(&expiration, 100 * HOUR_NS);
    call.expiration = &expiration;
    call.function = function;
    call.endpoint = endpoint;
    request.calls = calls;
    request.n_calls = 1;
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &caller);
    world_settle(w);
    snprintf(key, sizeof key, "%s/0/0/0", caller.ids[0]);
    orchestrator_dispatch_keyed(w->o, slice_str(TEST_ORG), slice_str(key), &request,
                                reply_dispatched, &reply);
    world_settle(w);
    assert_int_equal(rows(w, TABLE_KEY), 1);
    pass(w, start + 49 * HOUR_NS);
    assert_int_equal(rows(w, TABLE_KEY), 1);
    answer_ok(world_take_run(w), "out");
    answer_ok(world_take_run(w), "out");
    world_settle(w);
    pass(w, start + 51 * HOUR_NS);
    assert_int_equal(rows(w, TABLE_KEY), 0);
}

/* A used key of a call completed from outside goes with its call. */
static void used_keys_go_with_their_calls(void **state)
{
    Dispatch__V1__CompleteRequest complete = DISPATCH__V1__COMPLETE_REQUEST__INIT;
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    char function[] = "f", endpoint[] = "event:", key[] = "k";
    struct reply made = {0}, done = {0}, again = {0};
    struct world *w = *state;
    struct got got;

    complete.key = call.key = key;
    call.function = function;
    call.endpoint = endpoint;
    request.calls = calls;
    request.n_calls = 1;
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &made);
    orchestrator_complete(w->o, slice_str(TEST_ORG), &complete, reply_cancelled, &done);
    world_settle(w);
    assert_int_equal(done.count, 1);
    assert_int_equal(done.error.code, 0);
    assert_int_equal(rows(w, TABLE_KEY), 1);
    pass(w, w->now + 72 * HOUR_NS + MINUTE_NS);
    assert_int_equal(rows(w, TABLE_KEY), 0);
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &again);
    world_settle(w);
    world_get(w, again.ids[0], &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_WAITING);
}

static void a_lost_commit_removes_nothing(void **state)
{
    char id[ID_TEXT_LEN + 1];
    struct world *w = *state;
    int64_t start = w->now;

    run_to_end(w, "in", id);
    w->faults.fail_commit_in = 1;
    pass(w, start + 72 * HOUR_NS);
    assert_int_equal(w->faults.failures, 1);
    assert_int_equal(rows(w, TABLE_DONE), 1);
    pass(w, w->now + 5 * MINUTE_NS);
    assert_int_equal(rows(w, TABLE_DONE), 0);
    assert_int_equal(kept_calls(w), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(finished_calls_go_after_their_time),
        TEST(long_lives_do_not_keep_others),
        TEST(what_a_parent_waits_for_stays),
        TEST(too_much_goes_early_but_not_within_an_hour),
        TEST(expired_keys_go),
        TEST(keys_do_not_keep_calls),
        TEST(callers_keys_go_with_them),
        TEST(used_keys_go_with_their_calls),
        TEST(a_lost_commit_removes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
