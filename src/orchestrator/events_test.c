// SPDX-License-Identifier: Apache-2.0
/* Calls that are completed from outside: by id, by key, before they are made, and more than once.
 */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY_NS (24 * 3600 * NS_PER_S)

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    w->options.engine.early_max = 200;
    w->options.engine.early_bytes_max = 4000;
    w->options.engine.events_max = 1000;
    w->options.payload_max = 5000;
    world_init(w);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

static wire_call *event_call(struct arena *arena, const char *key)
{
    wire_call *call = arena_alloc(arena, sizeof *call);

    dispatch__sdk__v1__call__init(call);
    call->function = arena_dup(arena, slice_str("approval"));
    call->endpoint = arena_dup(arena, slice_str("event:"));
    call->key = arena_dup(arena, slice_str(key));
    return call;
}

static void ask_as(struct world *w, const char *org, const char *key, struct reply *reply)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    struct arena arena;
    wire_call *call;

    arena_init(&arena, 1 << 16);
    call = event_call(&arena, key);
    request.calls = &call;
    request.n_calls = 1;
    *reply = (struct reply){0};
    orchestrator_dispatch(w->o, slice_str(org), &request, reply_dispatched, reply);
    world_settle(w);
    assert_int_equal(reply->count, 1);
    arena_reset(&arena);
}

/* A root that waits under the key. */
static void await(struct world *w, const char *key, char id[ID_TEXT_LEN + 1])
{
    struct reply reply;

    ask_as(w, TEST_ORG, key, &reply);
    assert_int_equal(reply.error.code, 0);
    memcpy(id, reply.ids[0], ID_TEXT_LEN + 1);
}

static void complete_as(struct world *w, const char *org, const char *id, const char *key,
                        const char *output, const char *error, int status, struct reply *reply)
{
    Dispatch__V1__CompleteRequest request = DISPATCH__V1__COMPLETE_REQUEST__INIT;
    wire_error e = DISPATCH__SDK__V1__ERROR__INIT;
    struct arena arena;

    *reply = (struct reply){0};
    arena_init(&arena, 1 << 16);
    request.dispatch_id = arena_dup(&arena, slice_str(id ? id : ""));
    request.key = arena_dup(&arena, slice_str(key ? key : ""));
    if (output)
        request.output = any_of(&arena, output);
    if (error) {
        e.type = arena_dup(&arena, slice_str(error));
        e.status = (Dispatch__Sdk__V1__Status)status;
        request.error = &e;
    }
    orchestrator_complete(w->o, slice_str(org), &request, reply_cancelled, reply);
    world_settle(w);
    assert_int_equal(reply->count, 1);
    arena_reset(&arena);
}

static int complete(struct world *w, const char *id, const char *key, const char *output,
                    const char *error, int status)
{
    struct reply reply;

    complete_as(w, TEST_ORG, id, key, output, error, status, &reply);
    return reply.error.code;
}

static void expect_error(struct world *w, const char *id, enum status status, const char *type)
{
    struct got got;

    world_get(w, id, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_DONE);
    assert_int_equal(got.status, status);
    assert_string_equal(got.error_type, type);
}

static void completed_by_key_and_by_id(void **state)
{
    char a[ID_TEXT_LEN + 1], b[ID_TEXT_LEN + 1], c[ID_TEXT_LEN + 1];
    struct world *w = *state;
    struct got got;

    await(w, "a", a);
    await(w, "b", b);
    await(w, "c", c);
    assert_int_equal(w->run_count, 0);
    world_get(w, a, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_WAITING);
    assert_non_null(strstr(got.waiting_for, "'a'"));
    world_restart(w);
    assert_int_equal(w->run_count, 0);
    assert_int_equal(complete(w, NULL, "a", "yes", NULL, 0), 0);
    world_expect(w, a, STATUS_OK, "yes");
    assert_int_equal(complete(w, b, NULL, NULL, "No", STATUS_NOT_FOUND), 0);
    expect_error(w, b, STATUS_NOT_FOUND, "No");
    /* A status that passes cannot be an end. */
    assert_int_equal(complete(w, c, NULL, NULL, "No", STATUS_THROTTLED), 0);
    expect_error(w, c, STATUS_PERMANENT_ERROR, "No");
    assert_int_equal(complete(w, NULL, "a", "again", NULL, 0), CODE_FAILED_PRECONDITION);
    assert_int_equal(complete(w, a, NULL, "again", NULL, 0), CODE_FAILED_PRECONDITION);
    world_restart(w);
    assert_int_equal(complete(w, NULL, "a", "again", NULL, 0), CODE_FAILED_PRECONDITION);
    world_expect(w, a, STATUS_OK, "yes");
}

static void a_completion_may_come_first(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];

    assert_int_equal(complete(w, NULL, "early", "yes", NULL, 0), 0);
    assert_int_equal(complete(w, NULL, "early", "no", NULL, 0), CODE_FAILED_PRECONDITION);
    world_restart(w);
    assert_int_equal(complete(w, NULL, "early", "no", NULL, 0), CODE_FAILED_PRECONDITION);
    await(w, "early", id);
    world_expect(w, id, STATUS_OK, "yes");
    world_restart(w);
    world_expect(w, id, STATUS_OK, "yes");
    await(w, "early", id);
    expect_error(w, id, STATUS_PERMANENT_ERROR, "KeyTaken");
}

static void an_early_completion_lasts_a_day(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct got got;

    assert_int_equal(complete(w, NULL, "early", "yes", NULL, 0), 0);
    world_advance(w, DAY_NS - 1);
    assert_int_equal(complete(w, NULL, "early", "no", NULL, 0), CODE_FAILED_PRECONDITION);
    world_advance(w, 1);
    await(w, "early", id);
    world_get(w, id, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_WAITING);
}

/* With so many keys as there is room for: how many. */
static int complete_keys(struct world *w, const char *org, const char *prefix, struct reply *reply)
{
    char key[32];
    int count;

    for (count = 0; count < 1000; count++) {
        snprintf(key, sizeof key, "%s-%d", prefix, count);
        complete_as(w, org, NULL, key, NULL, NULL, 0, reply);
        if (reply->error.code)
            break;
    }
    assert_int_equal(reply->error.code, CODE_RESOURCE_EXHAUSTED);
    orchestrator_check(w->o);
    return count;
}

static void early_completions_of_one_leave_room_for_another_s(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct reply reply;

    assert_int_equal(complete_keys(w, TEST_ORG, "k", &reply), 180);
    assert_non_null(strstr(reply.error.message, "180 of 0 bytes of its own, and 180 of 0 of all"));
    world_restart(w);
    assert_int_equal(complete_keys(w, "b", "k", &reply), 18); /* nine times as many as are left */
    assert_non_null(strstr(reply.error.message, "18 of 0 bytes of its own, and 198 of 0 of all"));
    complete_as(w, "c", NULL, "k", NULL, NULL, 0, &reply);
    assert_int_equal(reply.error.code, 0);
    assert_int_equal(complete_keys(w, TEST_ORG, "l", &reply), 0);
    world_advance(w, DAY_NS); /* all have gone, and what they held */
    await(w, "k-0", id);
    assert_int_equal(complete_keys(w, "b", "k", &reply), 180);
}

static void bytes_of_one_s_early_completions_leave_room_for_another_s(void **state)
{
    char most[3001], some[701];
    struct world *w = *state;
    struct reply reply;

    memset(most, 'x', sizeof most - 1);
    most[sizeof most - 1] = 0;
    memset(some, 'x', sizeof some - 1);
    some[sizeof some - 1] = 0;
    assert_int_equal(complete(w, NULL, "1", most, NULL, 0), 0);
    world_restart(w);
    assert_int_equal(complete(w, NULL, "2", some, NULL, 0), CODE_RESOURCE_EXHAUSTED);
    complete_as(w, "b", NULL, "1", some, NULL, 0, &reply);
    assert_int_equal(reply.error.code, 0);
    orchestrator_check(w->o);
}

static void early_completions_are_bounded(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1], large[4200], larger[5200]; /* than any payload may be */
    struct reply reply;

    memset(larger, 'x', sizeof larger - 1);
    larger[sizeof larger - 1] = 0;
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    assert_int_equal(complete(w, NULL, "1", large, NULL, 0), CODE_RESOURCE_EXHAUSTED);
    assert_int_equal(complete(w, NULL, "1", NULL, NULL, 0), 0);
    assert_int_equal(complete(w, NULL, "2", NULL, NULL, 0), 0);
    assert_int_equal(complete_keys(w, TEST_ORG, "more", &reply), 178); /* 90% of all */
    assert_int_equal(complete(w, NULL, "4", NULL, NULL, 0), CODE_RESOURCE_EXHAUSTED);
    await(w, "2", id);
    assert_int_equal(complete(w, id, NULL, larger, NULL, 0), CODE_INVALID_ARGUMENT);
    assert_int_equal(complete(w, NULL, "4", NULL, NULL, 0), 0);
    await(w, "5", id);
    assert_int_equal(complete(w, NULL, "5", large, NULL, 0), 0);
}

static void a_key_is_one_calls(void **state)
{
    char first[ID_TEXT_LEN + 1], second[ID_TEXT_LEN + 1];
    struct world *w = *state;
    struct reply other;
    struct got got;

    await(w, "k", first);
    await(w, "k", second);
    expect_error(w, second, STATUS_PERMANENT_ERROR, "KeyTaken");
    ask_as(w, "other", "k", &other); /* of another organization: another key */
    assert_int_equal(other.error.code, 0);
    assert_int_equal(complete(w, other.ids[0], NULL, "x", NULL, 0), CODE_NOT_FOUND);
    assert_int_equal(complete(w, NULL, "k", "yes", NULL, 0), 0);
    world_expect(w, first, STATUS_OK, "yes");
    world_get(w, second, &got);
    assert_string_equal(got.error_type, "KeyTaken");
}

/* Who was never completed gives the key back: a parent that restarts can ask again. */
static void a_call_that_ends_otherwise_frees_its_key(void **state)
{
    char id[ID_TEXT_LEN + 1];
    struct reply reply = {0};
    struct world *w = *state;

    await(w, "k", id);
    orchestrator_cancel(w->o, slice_str(TEST_ORG), slice_str(id), reply_cancelled, &reply);
    world_settle(w);
    assert_int_equal(reply.error.code, 0);
    await(w, "k", id);
    world_advance(w, DAY_NS);
    expect_error(w, id, STATUS_TIMEOUT, "Expired");
    world_restart(w);
    await(w, "k", id);
    assert_int_equal(complete(w, NULL, "k", "yes", NULL, 0), 0);
    world_expect(w, id, STATUS_OK, "yes");
}

/* One child whose key is free, one whose key is not, and one that nobody knows. */
static void children_wait_too(void **state)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    char id[ID_TEXT_LEN + 1], other[ID_TEXT_LEN + 1];
    struct orchestrator_run *run;
    struct world *w = *state;
    struct arena arena;
    wire_call *calls[3];

    arena_init(&arena, 1 << 16);
    await(w, "taken", other);
    assert_int_equal(complete(w, NULL, "early", "1", NULL, 0), 0);
    calls[0] = event_call(&arena, "taken");
    calls[1] = event_call(&arena, "early");
    calls[2] = event_call(&arena, "free");
    for (uint64_t i = 0; i < 3; i++)
        calls[i]->correlation_id = i;
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    poll.calls = calls;
    poll.n_calls = 3;
    poll.min_results = 3;
    poll.max_results = 3;
    world_dispatch(w, "parent", NULL, id);
    orchestrator_run_answered(world_take_run(w), &response);
    world_settle(w);
    orchestrator_check(w->o);
    world_restart(w);
    orchestrator_check(w->o);
    assert_int_equal(w->run_count, 0);
    assert_int_equal(complete(w, NULL, "free", "2", NULL, 0), 0);
    run = world_take(w, "parent");
    assert_int_equal(run->request->poll_result->n_results, 3);
    assert_string_equal(run->request->poll_result->results[0]->error->type, "KeyTaken");
    assert_int_equal(run->request->poll_result->results[1]->correlation_id, 1);
    assert_non_null(run->request->poll_result->results[1]->output);
    assert_int_equal(run->request->poll_result->results[2]->correlation_id, 2);
    answer_ok(run, "done");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "done");
    arena_reset(&arena);
}

static void what_makes_no_sense_is_refused(void **state)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    char function[] = "f", endpoint[] = ENDPOINT, key[] = "k", id[ID_TEXT_LEN + 1];
    struct reply reply = {0};
    struct world *w = *state;

    ask_as(w, TEST_ORG, "", &reply);
    assert_int_equal(reply.error.code, CODE_INVALID_ARGUMENT);
    call.function = function;
    call.endpoint = endpoint;
    call.key = key;
    request.calls = calls;
    request.n_calls = 1;
    reply = (struct reply){0};
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &reply);
    assert_int_equal(reply.error.code, CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(reply.error.message, "event:"));
    assert_int_equal(complete(w, NULL, NULL, "x", NULL, 0), CODE_INVALID_ARGUMENT);
    assert_int_equal(complete(w, "id", "key", "x", NULL, 0), CODE_INVALID_ARGUMENT);
    assert_int_equal(complete(w, "no id", NULL, "x", NULL, 0), CODE_NOT_FOUND);
    world_dispatch(w, "f", NULL, id);
    assert_int_equal(complete(w, id, NULL, "x", NULL, 0), CODE_FAILED_PRECONDITION);
    await(w, "k", id);
    reply = (struct reply){0};
    orchestrator_restart(w->o, slice_str(TEST_ORG), slice_str(id), reply_cancelled, &reply);
    world_settle(w);
    assert_int_equal(reply.error.code, CODE_FAILED_PRECONDITION);
    assert_int_equal(complete(w, id, NULL, "x", NULL, 0), 0);
    reply = (struct reply){0};
    orchestrator_retry(w->o, slice_str(TEST_ORG), slice_str(id), reply_dispatched, &reply);
    world_settle(w);
    assert_int_equal(reply.error.code, CODE_FAILED_PRECONDITION);
}

/* Roots with so many keys as there is room for: how many. */
static int ask_keys(struct world *w, const char *org, struct reply *reply)
{
    char key[32];
    int count;

    for (count = 0; count < 2000; count++) {
        snprintf(key, sizeof key, "%s-%d", org, count);
        ask_as(w, org, key, reply);
        if (reply->error.code)
            break;
    }
    assert_int_equal(reply->error.code, CODE_RESOURCE_EXHAUSTED);
    return count;
}

static void keys_are_bounded(void **state)
{
    struct world *w = *state;
    struct reply reply;

    assert_int_equal(ask_keys(w, TEST_ORG, &reply), 900); /* 90% of all */
    assert_non_null(strstr(reply.error.message, "900 keys of calls completed from outside are this "
                                                "organization's, and 900 are in use in all"));
    complete_as(w, TEST_ORG, NULL, "early", "x", NULL, 0, &reply);
    assert_int_equal(reply.error.code, CODE_RESOURCE_EXHAUSTED);
    world_restart(w);
    assert_int_equal(ask_keys(w, "b", &reply), 90); /* nine times as many as are left */
    assert_int_equal(ask_keys(w, "c", &reply), 9);
    assert_int_equal(ask_keys(w, TEST_ORG, &reply), 0);
    world_advance(w, DAY_NS); /* all expire: their keys are free again */
    assert_int_equal(ask_keys(w, "b", &reply), 900);
    orchestrator_check(w->o);
}

/* All the keys of one request count, also those of a poll. */
static void keys_of_a_poll_are_bounded(void **state)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    char id[ID_TEXT_LEN + 1], key[32];
    struct world *w = *state;
    struct reply reply = {0};
    wire_call *calls[901];
    struct arena arena;

    arena_init(&arena, 1 << 20);
    for (int i = 0; i < 901; i++) {
        snprintf(key, sizeof key, "%d", i);
        calls[i] = event_call(&arena, key);
    }
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    poll.calls = calls;
    poll.min_results = poll.max_results = 1;
    for (poll.n_calls = 900; poll.n_calls <= 901; poll.n_calls++) {
        world_dispatch(w, "parent", NULL, id);
        orchestrator_run_answered(world_take_run(w), &response);
        world_settle(w);
        if (poll.n_calls == 900)
            orchestrator_cancel(w->o, slice_str(TEST_ORG), slice_str(id), reply_cancelled, &reply);
        world_settle(w);
    }
    assert_int_equal(w->run_count, 1); /* which is told so */
    assert_int_equal(w->runs[0]->request->poll_result->n_results, 0);
    assert_non_null(strstr(w->runs[0]->request->poll_result->error->message, "0 keys of calls"));
    arena_reset(&arena);
}

static void a_lost_commit_takes_no_key(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct reply reply;
    struct got got;

    w->faults.fail_commit_in = 1;
    ask_as(w, TEST_ORG, "k", &reply);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    world_advance(w, 10 * NS_PER_S);
    await(w, "k", id);
    w->faults.fail_commit_in = 1;
    assert_int_equal(complete(w, NULL, "k", "yes", NULL, 0), CODE_UNAVAILABLE);
    world_advance(w, 60 * NS_PER_S);
    world_get(w, id, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_WAITING);
    w->faults.lose_commit_in = 1;
    assert_int_equal(complete(w, NULL, "k", "yes", NULL, 0), CODE_UNAVAILABLE);
    world_advance(w, 60 * NS_PER_S);
    assert_int_equal(complete(w, NULL, "k", "no", NULL, 0), CODE_FAILED_PRECONDITION);
    world_expect(w, id, STATUS_OK, "yes");
}

static void start_completing(struct world *w, const char *key, struct reply *reply)
{
    Dispatch__V1__CompleteRequest request = DISPATCH__V1__COMPLETE_REQUEST__INIT;
    char copy[16];

    snprintf(copy, sizeof copy, "%s", key);
    request.key = copy;
    *reply = (struct reply){0};
    orchestrator_complete(w->o, slice_str(TEST_ORG), &request, reply_cancelled, reply);
}

/* Who is told that it is completed already may forget about it. */
static void a_refusal_rests_on_what_is_durable(void **state)
{
    static const char *const keys[] = {"made", "early"};
    struct world *w = *state;
    struct reply first, second;
    char id[ID_TEXT_LEN + 1];

    await(w, "made", id);
    for (size_t i = 0; i < 2; i++) {
        w->faults.fail_commit_in = 1;
        start_completing(w, keys[i], &first);
        start_completing(w, keys[i], &second);
        world_settle(w);
        assert_int_equal(first.count, 1);
        assert_int_equal(first.error.code, CODE_UNAVAILABLE);
        assert_int_equal(second.count, 1);
        assert_int_equal(second.error.code, CODE_UNAVAILABLE);
        world_advance(w, 60 * NS_PER_S);
        start_completing(w, keys[i], &first);
        start_completing(w, keys[i], &second);
        world_settle(w);
        assert_int_equal(first.error.code, CODE_OK);
        assert_int_equal(second.error.code, CODE_FAILED_PRECONDITION);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(completed_by_key_and_by_id),
        TEST(a_completion_may_come_first),
        TEST(an_early_completion_lasts_a_day),
        TEST(early_completions_are_bounded),
        TEST(early_completions_of_one_leave_room_for_another_s),
        TEST(bytes_of_one_s_early_completions_leave_room_for_another_s),
        TEST(a_key_is_one_calls),
        TEST(a_call_that_ends_otherwise_frees_its_key),
        TEST(children_wait_too),
        TEST(what_makes_no_sense_is_refused),
        TEST(keys_are_bounded),
        TEST(keys_of_a_poll_are_bounded),
        TEST(a_lost_commit_takes_no_key),
        TEST(a_refusal_rests_on_what_is_durable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
