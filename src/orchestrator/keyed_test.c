// SPDX-License-Identifier: Apache-2.0
/* Requests with an idempotency key: made once, whatever happens between them. */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY_NS (24 * 3600 * NS_PER_S)

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    world_init(w);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

static void ask(struct world *w, const char *org, const char *key, const char *function,
                struct reply *reply)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call, &call};
    wire_duration expiration = GOOGLE__PROTOBUF__DURATION__INIT;
    struct arena arena;

    arena_init(&arena, 1 << 16);
    call.function = arena_dup(&arena, slice_str(function));
    call.endpoint = arena_dup(&arena, slice_str(ENDPOINT));
    call.input = any_of(&arena, "in");
    wire_set_duration(&expiration, 7 * DAY_NS);
    call.expiration = &expiration;
    request.calls = calls;
    request.n_calls = 2;
    *reply = (struct reply){0};
    orchestrator_dispatch_keyed(w->o, slice_str(org), slice_str(key), &request, reply_dispatched,
                                reply);
    arena_reset(&arena);
}

static void settled(struct world *w, const char *org, const char *key, const char *function,
                    struct reply *reply)
{
    ask(w, org, key, function, reply);
    world_settle(w);
    assert_int_equal(reply->count, 1);
}

static void assert_same(const struct reply *a, const struct reply *b)
{
    assert_int_equal(b->error.code, 0);
    assert_int_equal(a->id_count, 2);
    assert_int_equal(b->id_count, 2);
    assert_string_equal(a->ids[0], b->ids[0]);
    assert_string_equal(a->ids[1], b->ids[1]);
}

static void the_same_key_gives_the_same_ids(void **state)
{
    struct world *w = *state;
    struct reply first, again, other;

    settled(w, TEST_ORG, "k", "f", &first);
    assert_int_equal(first.error.code, 0);
    assert_int_equal(w->run_count, 2);
    settled(w, TEST_ORG, "k", "f", &again);
    assert_same(&first, &again);
    assert_int_equal(w->run_count, 2);
    settled(w, TEST_ORG, "another", "f", &other);
    assert_string_not_equal(first.ids[0], other.ids[0]);
    settled(w, "other org", "k", "f", &other);
    assert_int_equal(other.error.code, 0);
    assert_string_not_equal(first.ids[0], other.ids[0]);
    /* Also when the process has gone in between, and the calls are done. */
    while (w->run_count)
        answer_ok(world_take_run(w), "out");
    world_settle(w);
    world_restart(w);
    settled(w, TEST_ORG, "k", "f", &again);
    assert_same(&first, &again);
    assert_int_equal(w->run_count, 0);
}

static void another_body_is_refused(void **state)
{
    struct world *w = *state;
    struct reply first, other, again;

    ask(w, TEST_ORG, "k", "f", &first);
    ask(w, TEST_ORG, "k", "g", &other); /* while the first is under way */
    assert_int_equal(other.error.code, CODE_ALREADY_EXISTS);
    assert_non_null(strstr(other.error.message, "'k'"));
    world_settle(w);
    settled(w, TEST_ORG, "k", "g", &other);
    assert_int_equal(other.error.code, CODE_ALREADY_EXISTS);
    settled(w, TEST_ORG, "k", "f", &again);
    assert_same(&first, &again);
}

static void requests_at_the_same_time_share_an_answer(void **state)
{
    struct world *w = *state;
    struct reply first, second;

    ask(w, TEST_ORG, "k", "f", &first);
    ask(w, TEST_ORG, "k", "f", &second);
    assert_int_equal(first.count + second.count, 0);
    world_settle(w);
    assert_int_equal(first.count, 1);
    assert_int_equal(second.count, 1);
    assert_same(&first, &second);
    assert_int_equal(w->run_count, 2);
}

static void a_key_lasts_a_day(void **state)
{
    struct world *w = *state;
    struct reply first, again;

    settled(w, TEST_ORG, "k", "f", &first);
    w->now += DAY_NS - 1;
    settled(w, TEST_ORG, "k", "f", &again);
    assert_same(&first, &again);
    w->now += 1;
    settled(w, TEST_ORG, "k", "g", &again);
    assert_int_equal(again.error.code, 0);
    assert_string_not_equal(first.ids[0], again.ids[0]);
    settled(w, TEST_ORG, "k", "f", &again);
    assert_int_equal(again.error.code, CODE_ALREADY_EXISTS);
}

static void a_key_has_255_printable_characters_at_most(void **state)
{
    struct world *w = *state;
    struct reply reply;
    char key[258];

    memset(key, '~', sizeof key);
    key[255] = 0;
    settled(w, TEST_ORG, key, "f", &reply);
    assert_int_equal(reply.error.code, 0);
    key[255] = '~';
    key[256] = 0;
    settled(w, TEST_ORG, key, "f", &reply);
    assert_int_equal(reply.error.code, CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(reply.error.message, "256 characters"));
    settled(w, TEST_ORG, "", "f", &reply);
    assert_int_equal(reply.error.code, CODE_INVALID_ARGUMENT);
    settled(w, TEST_ORG, "a\tb", "f", &reply);
    assert_int_equal(reply.error.code, CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(reply.error.message, "2th"));
}

/* What a run of a call asked for, under the call's own key. */
static void a_callers_key_lives_with_it(void **state)
{
    struct world *w = *state;
    struct reply caller, first, again;
    char key[64];

    settled(w, TEST_ORG, "k", "caller", &caller);
    snprintf(key, sizeof key, "%s/0/1/0", caller.ids[0]);
    settled(w, TEST_ORG, key, "f", &first);
    assert_int_equal(first.error.code, 0);
    /* Two days later it runs again, and says something else. */
    w->now += 2 * DAY_NS;
    settled(w, TEST_ORG, key, "f", &again);
    assert_same(&first, &again);
    settled(w, TEST_ORG, key, "g", &again);
    assert_same(&first, &again);
    ask(w, TEST_ORG, key, "f", &again);
    ask(w, TEST_ORG, key, "g", &caller); /* at the same time */
    world_settle(w);
    assert_same(&first, &again);
    assert_same(&first, &caller);
    /* Of another organization it is a key like others. */
    settled(w, "other org", key, "f", &caller);
    settled(w, "other org", key, "g", &again);
    assert_int_equal(again.error.code, CODE_ALREADY_EXISTS);
}

/* A commit of unknown outcome: whoever asks again gets the calls that were made, or makes them. */
static void a_lost_commit_leaves_calls_and_key_or_neither(void **state)
{
    struct world *w = *state;
    struct reply reply, again;

    w->faults.fail_commit_in = 1;
    settled(w, TEST_ORG, "failed", "f", &reply);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    world_advance(w, 10 * NS_PER_S);
    settled(w, TEST_ORG, "failed", "f", &again);
    assert_int_equal(again.error.code, 0);
    assert_int_equal(w->run_count, 2);
    w->faults.lose_commit_in = 1;
    settled(w, TEST_ORG, "lost", "f", &reply);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    world_advance(w, 60 * NS_PER_S);
    assert_int_equal(w->run_count, 4); /* it was made */
    settled(w, TEST_ORG, "lost", "f", &again);
    assert_int_equal(again.error.code, 0);
    assert_int_equal(w->run_count, 4);
}

static void a_call_has_a_key_too(void **state)
{
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;
    struct world *w = *state;
    struct got first = {0}, second = {0}, third = {0}, gone = {0};
    struct orchestrator_wait *wait;
    char function[] = "f", endpoint[] = ENDPOINT;
    struct slice key = slice_str("k"), org = slice_str(TEST_ORG);

    call.function = function;
    call.endpoint = endpoint;
    assert_non_null(orchestrator_call_keyed(w->o, org, key, &call, -1, got_info, &first));
    assert_non_null(orchestrator_call_keyed(w->o, org, key, &call, -1, got_info, &second));
    wait = orchestrator_call_keyed(w->o, org, key, &call, -1, got_info, &gone);
    assert_string_equal(orchestrator_wait_id(wait), "");
    orchestrator_wait_cancel(wait);
    world_settle(w);
    assert_int_equal(w->run_count, 1);
    answer_ok(world_take_run(w), "out");
    world_settle(w);
    assert_int_equal(first.count, 1);
    assert_int_equal(second.count, 1);
    assert_int_equal(gone.count, 0);
    assert_string_equal(first.output, "out");
    assert_string_equal(first.id, second.id);
    orchestrator_call_keyed(w->o, org, key, &call, 0, got_info, &third);
    world_settle(w);
    assert_int_equal(third.count, 1);
    assert_string_equal(third.output, "out");
    assert_int_equal(w->invoked, 1);
}

static void a_key_under_way_ends_with_the_orchestrator(void **state)
{
    struct world *w = *state;
    struct reply reply;

    ask(w, TEST_ORG, "k", "f", &reply);
    world_restart(w);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    settled(w, TEST_ORG, "k", "f", &reply);
    assert_int_equal(reply.error.code, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_key_gives_the_same_ids),
        TEST(another_body_is_refused),
        TEST(requests_at_the_same_time_share_an_answer),
        TEST(a_key_lasts_a_day),
        TEST(a_key_has_255_printable_characters_at_most),
        TEST(a_callers_key_lives_with_it),
        TEST(a_lost_commit_leaves_calls_and_key_or_neither),
        TEST(a_call_has_a_key_too),
        TEST(a_key_under_way_ends_with_the_orchestrator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
