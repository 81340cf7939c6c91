// SPDX-License-Identifier: Apache-2.0
/*
 * Calls from their dispatch to their result, and what can be asked meanwhile. No store fails here.
 *
 * long: the life of a call, told once.
 */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    world_init(w);
    assert_true(orchestrator_ready(w->o));
    assert_string_equal(orchestrator_trouble(w->o), "");
    assert_false(orchestrator_loading(w->o));
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

static void a_call_runs_and_has_its_result(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1], text[64];
    struct orchestrator_run *run;

    assert_true(orchestrator_idle(w->o));
    world_dispatch(w, "greet", "Ada", id);
    assert_int_equal(w->run_count, 1);
    assert_false(orchestrator_idle(w->o));
    run = world_take_run(w);
    assert_string_equal(run->request->function, "greet");
    assert_string_equal(run->request->dispatch_id, id);
    assert_string_equal(run->request->root_dispatch_id, id);
    assert_string_equal(run->request->parent_dispatch_id, "");
    assert_int_equal(run->request->directive_case, DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT);
    any_text(run->request->input, text, sizeof text);
    assert_string_equal(text, "Ada");
    assert_true(wire_time_ns(run->request->creation_time) == T0);
    assert_true(wire_time_ns(run->request->expiration_time) == T0 + 24 * 3600 * NS_PER_S);
    assert_true(wire_time_ns(run->request->now) == T0);
    assert_int_equal(run->request->generation, 1);
    assert_int_equal(run->request->resume, 0);
    assert_true(slice_eq_str(run->endpoint, ENDPOINT));
    assert_true(slice_eq_str(run->org, TEST_ORG));
    assert_true(run->expires == T0 + 24 * 3600 * NS_PER_S);
    answer_ok(run, "Hello, Ada");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "Hello, Ada");
    assert_true(orchestrator_idle(w->o));
}

static void a_call_without_input_still_has_a_directive(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct orchestrator_run *run;

    world_dispatch(w, "greet", NULL, id);
    run = world_take_run(w);
    assert_int_equal(run->request->directive_case, DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT);
    assert_string_equal(run->request->input->type_url, "type.googleapis.com/google.protobuf.Empty");
    assert_int_equal(run->request->input->value.len, 0);
    answer_ok(run, NULL);
    world_settle(w);
    world_expect(w, id, STATUS_OK, "");
}

static void a_passing_failure_is_retried(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct got got;
    int64_t due;

    world_dispatch(w, "flaky", "x", id);
    answer_status(world_take_run(w), STATUS_TEMPORARY_ERROR, "Busy", "come back later");
    due = orchestrator_step(w->o);
    assert_true(due > w->now && due <= w->now + 100 * NS_PER_MS);
    assert_int_equal(w->run_count, 0);
    world_get(w, id, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_WAITING);
    assert_int_equal(got.status, STATUS_TEMPORARY_ERROR);
    assert_string_equal(got.last_error, "come back later");
    assert_string_equal(got.waiting_for, "retry in 0.1 s after TEMPORARY_ERROR");
    assert_string_equal(got.input, "x");
    world_advance(w, due - w->now);
    orchestrator_run_failed(
        world_take_run(w),
        &(struct run_failure){.status = STATUS_TCP_ERROR, .message = "refused", .transport = true});
    world_settle(w);
    assert_int_equal(w->run_count, 0);
    world_get(w, id, &got);
    assert_string_equal(got.last_error, "refused");
    world_advance(w, NS_PER_S);
    answer_ok(world_take_run(w), "at last");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "at last");
    world_get(w, id, &got);
    assert_int_equal(got.attempts, 3);
    assert_string_equal(got.last_error, "");
}

static void a_failure_without_words_gets_some(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct got got;

    world_dispatch(w, "f", NULL, id);
    answer_status(world_take_run(w), STATUS_NOT_FOUND, NULL, NULL);
    world_settle(w);
    world_get(w, id, &got);
    assert_int_equal(got.status, STATUS_NOT_FOUND);
    assert_string_equal(got.error_type, "status");
    assert_string_equal(got.error_message, "NOT_FOUND");
    assert_int_equal(got.error_status, STATUS_NOT_FOUND);
    world_dispatch(w, "f", NULL, id);
    orchestrator_run_failed(world_take_run(w),
                            &(struct run_failure){.status = STATUS_PERMISSION_DENIED});
    world_settle(w);
    world_get(w, id, &got);
    assert_string_equal(got.error_type, "status");
    assert_string_equal(got.error_message, "PERMISSION_DENIED");
}

static void a_run_given_up_is_made_again_at_once(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct got got;

    world_dispatch(w, "f", NULL, id);
    orchestrator_run_gone(world_take_run(w));
    world_settle(w);
    answer_ok(world_take_run(w), "ok");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "ok");
    world_get(w, id, &got);
    assert_int_equal(got.attempts, 1);
}

static void fan_out(struct world *w, char id[ID_TEXT_LEN + 1])
{
    static const struct child children[] = {{"left", 11}, {"right", UINT64_MAX}};

    world_dispatch(w, "parent", "in", id);
    answer_with_poll(world_take_run(w), "state 1", children, 2, 2, -1);
    world_settle(w);
}

static void a_poll_resumes_with_the_results(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1], text[64];
    struct orchestrator_run *run;
    const wire_poll_result *p;
    struct got got;

    fan_out(w, id);
    assert_int_equal(w->run_count, 2);
    world_get(w, id, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_SUSPENDED);
    assert_int_equal(got.resumes, 1);
    assert_int_equal(got.outstanding, 2);
    run = world_take(w, "right");
    assert_string_equal(run->request->parent_dispatch_id, id);
    assert_string_equal(run->request->root_dispatch_id, id);
    assert_true(slice_eq_str(run->endpoint, ENDPOINT)); /* the parent's */
    answer_status(run, STATUS_PERMANENT_ERROR, "Broken", "it is");
    world_settle(w);
    assert_int_equal(w->run_count, 1);
    answer_ok(world_take(w, "left"), "L");
    world_settle(w);
    run = world_take(w, "parent");
    assert_int_equal(run->request->directive_case,
                     DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT);
    assert_int_equal(run->request->resume, 1);
    p = run->request->poll_result;
    assert_int_equal(p->state_case, DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE);
    any_text(p->typed_coroutine_state, text, sizeof text);
    assert_string_equal(text, "state 1");
    assert_null(p->error);
    assert_int_equal(p->n_results, 2);
    assert_true(p->results[0]->correlation_id == UINT64_MAX);
    assert_string_equal(p->results[0]->error->type, "Broken");
    assert_int_equal(p->results[0]->error->status, STATUS_PERMANENT_ERROR);
    assert_null(p->results[0]->output);
    assert_int_equal(p->results[1]->correlation_id, 11);
    any_text(p->results[1]->output, text, sizeof text);
    assert_string_equal(text, "L");
    assert_int_equal(strlen(p->results[1]->dispatch_id), ID_TEXT_LEN);
    answer_ok(run, "joined");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "joined");
}

static void raw_states_come_back_raw(void **state)
{
    struct world *w = *state;
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    wire_duration wait = GOOGLE__PROTOBUF__DURATION__INIT;
    char id[ID_TEXT_LEN + 1];
    uint8_t bytes[] = {0, 1, 2, 0xff};
    struct orchestrator_run *run;

    world_dispatch(w, "old", NULL, id);
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE;
    poll.coroutine_state = (ProtobufCBinaryData){.len = sizeof bytes, .data = bytes};
    poll.max_wait = &wait; /* zero: at once */
    orchestrator_run_answered(world_take_run(w), &response);
    world_settle(w);
    run = world_take_run(w);
    assert_int_equal(run->request->poll_result->state_case,
                     DISPATCH__SDK__V1__POLL_RESULT__STATE_COROUTINE_STATE);
    assert_int_equal(run->request->poll_result->coroutine_state.len, sizeof bytes);
    assert_memory_equal(run->request->poll_result->coroutine_state.data, bytes, sizeof bytes);
    assert_int_equal(run->request->poll_result->n_results, 0);
    answer_ok(run, "x");
    world_settle(w);
}

static void a_poll_that_cannot_be_accepted_comes_back(void **state)
{
    struct world *w = *state;
    static const struct child children[] = {{"fine", 1}, {"not-fine", 2}};
    char id[ID_TEXT_LEN + 1];
    struct orchestrator_run *run;
    const wire_error *e;

    world_dispatch(w, "parent", NULL, id);
    answer_with_poll(world_take_run(w), "s", children, 2, 1, -1);
    world_settle(w);
    assert_int_equal(w->run_count, 1); /* neither child */
    run = world_take(w, "parent");
    e = run->request->poll_result->error;
    assert_non_null(e);
    assert_string_equal(e->type, "invalid_argument");
    assert_non_null(strstr(e->message, "calls[1] (function 'not-fine')"));
    answer_ok(run, "told");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "told");
}

static void a_tail_call_goes_on_under_the_same_id(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1], text[64];
    struct orchestrator_run *run;

    world_dispatch(w, "first", "1", id);
    answer_with_tail(world_take_run(w), STATUS_OK, "second", "2");
    world_settle(w);
    run = world_take_run(w);
    assert_string_equal(run->request->function, "second");
    assert_string_equal(run->request->dispatch_id, id);
    assert_int_equal(run->request->generation, 2);
    any_text(run->request->input, text, sizeof text);
    assert_string_equal(text, "2");
    /* With a passing status: after a while. */
    answer_with_tail(run, STATUS_TEMPORARY_ERROR, "third", NULL);
    world_settle(w);
    assert_int_equal(w->run_count, 0);
    world_advance(w, NS_PER_S);
    run = world_take(w, "third");
    assert_string_equal(run->request->input->type_url, "type.googleapis.com/google.protobuf.Empty");
    answer_ok(run, "end");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "end");
}

/* What a run of the child says of it, other than its input. */
struct told {
    char id[64], parent[64], root[64];
    int64_t created, expires;
};

static struct told told_by(const struct orchestrator_run *run)
{
    const wire_run_request *q = run->request;
    struct told told = {.created = wire_time_ns(q->creation_time),
                        .expires = wire_time_ns(q->expiration_time)};

    snprintf(told.id, sizeof told.id, "%s", q->dispatch_id);
    snprintf(told.parent, sizeof told.parent, "%s", q->parent_dispatch_id);
    snprintf(told.root, sizeof told.root, "%s", q->root_dispatch_id);
    return told;
}

/* The next run of the function, some time later, says the same; taken. */
static struct orchestrator_run *told_again(struct world *w, const char *function,
                                           const struct told *told)
{
    struct orchestrator_run *run;
    struct told now;

    world_settle(w);
    world_advance(w, 5 * NS_PER_S);
    run = world_take(w, function);
    now = told_by(run);
    assert_memory_equal(&now, told, sizeof now);
    return run;
}

/* Through retries, resumes, tail calls and restarts (protocol 3.1). */
static void ids_and_times_stay_with_a_call(void **state)
{
    const struct child child = {"child", 5}, grandchild = {"leaf", 6};
    struct world *w = *state;
    char root[ID_TEXT_LEN + 1];
    struct orchestrator_run *run;
    struct told told;

    world_dispatch(w, "root", NULL, root);
    run = world_take_run(w);
    told = told_by(run);
    assert_string_equal(told.id, root);
    assert_string_equal(told.parent, "");
    assert_string_equal(told.root, root);
    answer_with_poll(run, "s", &child, 1, 1, -1);
    world_settle(w);
    run = world_take(w, "child");
    told = told_by(run);
    assert_string_not_equal(told.id, root);
    assert_string_equal(told.parent, root);
    assert_string_equal(told.root, root);
    assert_int_equal(told.created, w->now);
    answer_status(run, STATUS_TEMPORARY_ERROR, NULL, NULL);
    run = told_again(w, "child", &told);
    answer_with_poll(run, "s", &grandchild, 1, 1, -1);
    world_settle(w);
    answer_ok(world_take(w, "leaf"), "done");
    run = told_again(w, "child", &told);
    answer_status(run, STATUS_INCOMPATIBLE_STATE, NULL, NULL);
    run = told_again(w, "child", &told);
    answer_with_tail(run, STATUS_OK, "tail", NULL);
    run = told_again(w, "tail", &told);
    answer_with_tail(run, STATUS_TEMPORARY_ERROR, "again", NULL);
    answer_ok(told_again(w, "again", &told), "end");
}

static void a_version_goes_with_each_run(void **state)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    struct reply reply = {0};
    struct world *w = *state;
    struct orchestrator_run *run;

    call.function = (char *)"first";
    call.endpoint = (char *)ENDPOINT;
    call.version = (char *)"7";
    request.calls = calls;
    request.n_calls = 1;
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &reply);
    world_settle(w);
    run = world_take_run(w);
    assert_true(slice_eq_str(run->version, "7"));
    answer_with_tail(run, STATUS_OK, "second", NULL);
    world_settle(w);
    run = world_take_run(w);
    assert_int_equal(run->version.len, 0); /* the tail call's own, which has none */
    answer_ok(run, "end");
    world_settle(w);
}

static void an_expired_call_says_how_long_it_was_tried(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct got got;

    world_dispatch(w, "slow", NULL, id);
    answer_status(world_take_run(w), STATUS_THROTTLED, NULL, NULL);
    world_advance(w, NS_PER_S);
    assert_int_equal(w->run_count, 1);
    world_advance(w, 24 * 3600 * NS_PER_S);
    assert_int_equal(w->run_count, 0); /* cancelled */
    assert_int_equal(w->cancelled, 1);
    world_get(w, id, &got);
    assert_int_equal(got.status, STATUS_TIMEOUT);
    assert_string_equal(got.error_type, "Expired");
    assert_string_equal(got.error_message,
                        "expired after 24h0m0s and 1 attempt, the last status was THROTTLED");
    assert_int_equal(got.error_status, STATUS_TIMEOUT);
}

static void whoever_waits_is_told(void **state)
{
    struct world *w = *state;
    struct got before[3] = {{0}}, after = {0}, late = {0};
    struct slice org = slice_str(TEST_ORG);
    struct orchestrator_wait *given_up;
    char id[ID_TEXT_LEN + 1];

    world_dispatch(w, "f", NULL, id);
    for (int i = 0; i < 2; i++)
        assert_non_null(orchestrator_wait(w->o, org, slice_str(id), -1, got_info, &before[i]));
    given_up = orchestrator_wait(w->o, org, slice_str(id), -1, got_info, &before[2]);
    assert_non_null(orchestrator_wait(w->o, org, slice_str(id), 5 * NS_PER_S, got_info, &late));
    orchestrator_wait_cancel(given_up);
    world_settle(w);
    assert_int_equal(before[0].count, 0);
    assert_true(orchestrator_step(w->o) == w->now + 5 * NS_PER_S);
    world_advance(w, 5 * NS_PER_S);
    assert_int_equal(late.count, 1);
    assert_int_equal(late.state, DISPATCH__V1__STATE__STATE_RUNNING);
    assert_false(late.has_result);
    answer_ok(world_take_run(w), "done");
    world_settle(w);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(before[i].count, 1);
        assert_string_equal(before[i].output, "done");
    }
    assert_int_equal(before[2].count, 0);
    orchestrator_wait(w->o, org, slice_str(id), -1, got_info, &after);
    world_settle(w);
    assert_int_equal(after.count, 1);
    assert_string_equal(after.output, "done");
}

static void a_child_that_is_done_can_be_waited_for(void **state)
{
    struct world *w = *state;
    struct slice org = slice_str(TEST_ORG);
    struct orchestrator_run *run;
    char id[ID_TEXT_LEN + 1], child[ID_TEXT_LEN + 1];
    struct got got = {0};

    fan_out(w, id);
    run = world_take(w, "left");
    memcpy(child, run->request->dispatch_id, sizeof child);
    answer_ok(run, "L");
    world_settle(w);
    /* The parent still waits for the other one, so the engine has not forgotten this one. */
    orchestrator_wait(w->o, org, slice_str(child), -1, got_info, &got);
    world_settle(w);
    assert_int_equal(got.count, 1);
    assert_string_equal(got.output, "L");
    assert_string_equal(got.parent, id);
}

static void waits_that_cannot_be(void **state)
{
    struct world *w = *state;
    struct got got = {0};
    char id[ID_TEXT_LEN + 1], other[ID_TEXT_LEN + 1];
    const char *unknown[] = {"nonsense", other, "0000000000000000000000000"};

    id_format(other, (struct id_parts){.number = 1, .tag = TEST_TAG + 1});
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        world_get(w, unknown[i], &got);
        assert_int_equal(got.error.code, CODE_NOT_FOUND);
        assert_non_null(strstr(got.error.message, "is not known here"));
    }
    world_get(w, "", &got);
    assert_int_equal(got.error.code, CODE_INVALID_ARGUMENT);
    id_format(other, (struct id_parts){.number = 12345, .tag = TEST_TAG});
    world_get(w, other, &got);
    assert_int_equal(got.error.code, CODE_NOT_FOUND);
    world_dispatch(w, "f", NULL, id);
    got = (struct got){0};
    assert_null(orchestrator_wait(w->o, slice_str("others"), slice_str(id), -1, got_info, &got));
    assert_int_equal(got.error.code, CODE_NOT_FOUND);
    got = (struct got){0};
    orchestrator_get(w->o, slice_str("others"), slice_str(id), got_info, &got);
    world_settle(w);
    assert_int_equal(got.error.code, CODE_NOT_FOUND);
}

static struct orchestrator_wait *call_f(struct world *w, int64_t max_wait_ns, struct got *got)
{
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;

    call.endpoint = (char *)ENDPOINT;
    call.function = (char *)"f";
    return orchestrator_call(w->o, slice_str(TEST_ORG), &call, max_wait_ns, got_info, got);
}

static void dispatch_and_wait_are_one_request(void **state)
{
    struct world *w = *state;
    struct got done = {0}, at_once = {0}, late = {0}, kept;
    struct orchestrator_wait *wait = call_f(w, -1, &done);
    char id[ID_TEXT_LEN + 1];

    assert_non_null(wait);
    snprintf(id, sizeof id, "%s", orchestrator_wait_id(wait));
    assert_int_equal(w->run_count, 0); /* not durable yet */
    world_settle(w);
    assert_int_equal(done.count, 0);
    answer_ok(world_take_run(w), "done");
    world_settle(w);
    assert_int_equal(done.count, 1);
    assert_string_equal(done.output, "done");
    assert_string_equal(done.id, id);
    /* Time that is over at once is over when the call is durable: then it can be looked up. */
    call_f(w, 0, &at_once);
    assert_int_equal(at_once.count, 0);
    world_settle(w);
    assert_int_equal(at_once.count, 1);
    assert_int_equal(at_once.error.code, 0);
    assert_false(at_once.has_result);
    world_get(w, at_once.id, &kept);
    assert_int_equal(kept.error.code, 0);
    call_f(w, NS_PER_S, &late);
    world_settle(w);
    assert_int_equal(late.count, 0);
    world_advance(w, NS_PER_S);
    assert_int_equal(late.count, 1);
    assert_int_equal(late.state, DISPATCH__V1__STATE__STATE_RUNNING);
}

static void many_calls_in_one_commit_each_have_their_time(void **state)
{
    struct world *w = *state;
    struct got *got = calloc(200, sizeof *got);

    assert_non_null(got);
    for (size_t i = 0; i < 200; i++)
        call_f(w, NS_PER_S, &got[i]); /* whose time begins with the commit */
    world_settle(w);
    world_advance(w, NS_PER_S);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(got[i].count, 1);
    free(got);
}

static void a_call_goes_on_when_its_caller_goes(void **state)
{
    struct world *w = *state;
    struct got got = {0};
    char early[ID_TEXT_LEN + 1], later[ID_TEXT_LEN + 1];
    struct orchestrator_wait *wait = call_f(w, -1, &got);

    snprintf(early, sizeof early, "%s", orchestrator_wait_id(wait));
    orchestrator_wait_cancel(wait); /* before the commit */
    wait = call_f(w, -1, &got);
    snprintf(later, sizeof later, "%s", orchestrator_wait_id(wait));
    world_settle(w);
    orchestrator_wait_cancel(wait); /* behind it */
    answer_ok(world_take_run(w), "one");
    answer_ok(world_take_run(w), "two");
    world_settle(w);
    assert_int_equal(got.count, 0);
    world_expect(w, early, STATUS_OK, "one");
    world_expect(w, later, STATUS_OK, "two");
}

static void a_call_that_cannot_be_is_refused(void **state)
{
    struct world *w = *state;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;
    struct got got = {0};

    call.function = (char *)"f";
    assert_null(orchestrator_call(w->o, slice_str(TEST_ORG), &call, -1, got_info, &got));
    assert_int_equal(got.count, 1);
    assert_int_equal(got.error.code, CODE_INVALID_ARGUMENT);
    orchestrator_drain(w->o);
    assert_null(call_f(w, -1, &got));
    assert_int_equal(got.error.code, CODE_UNAVAILABLE);
}

static void cancelling_ends_the_tree(void **state)
{
    struct world *w = *state;
    struct slice org = slice_str(TEST_ORG);
    struct reply first = {0}, again = {0}, others = {0};
    char id[ID_TEXT_LEN + 1];
    struct got got, child = {0};

    fan_out(w, id);
    assert_int_equal(w->run_count, 2);
    orchestrator_wait(w->o, org, slice_str(w->runs[0]->request->dispatch_id), -1, got_info, &child);
    orchestrator_cancel(w->o, slice_str("others"), slice_str(id), reply_cancelled, &others);
    assert_int_equal(others.error.code, CODE_NOT_FOUND);
    orchestrator_cancel(w->o, org, slice_str(id), reply_cancelled, &first);
    assert_int_equal(first.count, 0);
    world_settle(w);
    assert_int_equal(first.count, 1);
    assert_int_equal(first.error.code, 0);
    assert_int_equal(w->run_count, 0);
    assert_int_equal(w->cancelled, 2);
    assert_int_equal(child.count, 1);
    assert_string_equal(child.error_type, "Cancelled");
    world_get(w, id, &got);
    assert_int_equal(got.status, STATUS_PERMANENT_ERROR);
    assert_string_equal(got.error_type, "Cancelled");
    orchestrator_cancel(w->o, org, slice_str(id), reply_cancelled, &again);
    world_settle(w);
    assert_int_equal(again.error.code, CODE_FAILED_PRECONDITION);
    assert_true(orchestrator_idle(w->o));
}

static int ask_call(struct world *w, const wire_call *call, char message[ERROR_MESSAGE_MAX])
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call good = DISPATCH__SDK__V1__CALL__INIT, bad = *call, *calls[] = {&good, &bad};
    struct reply reply = {0};

    good.function = (char[]){"f"};
    good.endpoint = (char[]){ENDPOINT};
    request.calls = calls;
    request.n_calls = 2;
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &reply);
    world_settle(w);
    assert_int_equal(reply.count, 1);
    memcpy(message, reply.error.message, ERROR_MESSAGE_MAX);
    return reply.error.code;
}

static void bad_calls_are_refused_by_name(void **state)
{
    struct world *w = *state;
    char function[] = "f", endpoint[] = ENDPOINT, hyphen[] = "a-b", event[] = "event:x",
         ftp[] = "ftp://x", key[] = "k";
    char m[ERROR_MESSAGE_MAX];
    wire_duration negative = GOOGLE__PROTOBUF__DURATION__INIT;
    wire_timestamp later = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    wire_call c = DISPATCH__SDK__V1__CALL__INIT, good;
    wire_any big = GOOGLE__PROTOBUF__ANY__INIT;

    c.function = function;
    assert_int_equal(ask_call(w, &c, m), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(m, "calls[1] (function 'f'): endpoint is required"));
    c.endpoint = ftp;
    assert_int_equal(ask_call(w, &c, m), CODE_INVALID_ARGUMENT);
    c.endpoint = event;
    assert_int_equal(ask_call(w, &c, m), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(m, "the key of a call to event: has 0 characters"));
    c.endpoint = endpoint;
    good = c;
    c.function = hyphen;
    assert_int_equal(ask_call(w, &c, m), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(m, "'a-b' is no function name"));
    c = good;
    negative.seconds = -1;
    c.expiration = &negative;
    assert_int_equal(ask_call(w, &c, m), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(m, "expiration is negative"));
    c = good;
    later.seconds = T0 / NS_PER_S + 100;
    negative.seconds = 100;
    c.expiration = &negative;
    c.not_before = &later;
    assert_int_equal(ask_call(w, &c, m), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(m, "when the call has expired"));
    c = good;
    c.key = key;
    assert_int_equal(ask_call(w, &c, m), CODE_INVALID_ARGUMENT);
    c = good;
    big.value.len = 4000001;
    big.value.data = calloc(1, big.value.len);
    c.input = &big;
    assert_int_equal(ask_call(w, &c, m), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(m, "more than the 4000000 that are allowed"));
    free(big.value.data);
    assert_int_equal(w->invoked, 0); /* all or none */
    assert_int_equal(ask_call(w, &good, m), 0);
    assert_int_equal(w->invoked, 2);
}

static void an_empty_dispatch_is_fine(void **state)
{
    struct world *w = *state;
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    struct reply reply = {0};

    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &reply);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.error.code, 0);
    assert_int_equal(reply.id_count, 0);
}

static void draining_starts_nothing_new(void **state)
{
    struct world *w = *state;
    struct reply reply = {0};
    char id[ID_TEXT_LEN + 1];

    world_dispatch(w, "f", NULL, id);
    orchestrator_drain(w->o);
    world_settle(w);
    assert_false(orchestrator_idle(w->o));
    world_ask(w, "g", NULL, &reply);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    answer_status(world_take_run(w), STATUS_TEMPORARY_ERROR, NULL, NULL);
    world_settle(w);
    assert_true(orchestrator_idle(w->o));
    world_advance(w, NS_PER_S);
    assert_int_equal(w->run_count, 0);
    world_restart(w);
    world_advance(w, 30 * NS_PER_S); /* what is overdue is spread over that */
    answer_ok(world_take_run(w), "ok");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "ok");
}

static void an_invoker_may_answer_at_once(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];

    w->at_once = "now";
    for (int i = 0; i < 100; i++)
        world_dispatch(w, "f", "in", id);
    world_expect(w, id, STATUS_OK, "now");
    assert_int_equal(w->invoked, 100);
    assert_true(orchestrator_idle(w->o));
}

/* A client whose callback does what it likes. */
struct eager {
    struct world *w;
    struct orchestrator_wait *other;
    struct reply next;
    unsigned count;
};

static void eager_got(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct eager *e = arg;

    assert_null(error);
    assert_non_null(info);
    e->count++;
    orchestrator_wait_cancel(e->other);
    world_ask(e->w, "next", NULL, &e->next);
}

static void callbacks_may_ask_and_give_up(void **state)
{
    struct world *w = *state;
    struct slice org = slice_str(TEST_ORG);
    struct eager e = {.w = w};
    struct got other = {0}, third = {0};
    char id[ID_TEXT_LEN + 1];

    world_dispatch(w, "f", NULL, id);
    orchestrator_wait(w->o, org, slice_str(id), -1, eager_got, &e);
    e.other = orchestrator_wait(w->o, org, slice_str(id), -1, got_info, &other);
    orchestrator_wait(w->o, org, slice_str(id), -1, got_info, &third);
    answer_ok(world_take_run(w), "x");
    world_settle(w);
    assert_int_equal(e.count, 1);
    assert_int_equal(other.count, 0);
    assert_int_equal(third.count, 1);
    assert_int_equal(e.next.id_count, 1);
    answer_ok(world_take(w, "next"), "y");
    world_settle(w);
    world_expect(w, e.next.ids[0], STATUS_OK, "y");
}

static void stats_and_traces_tell(void **state)
{
    struct world *w = *state;
    struct orchestrator_stats stats;
    char id[ID_TEXT_LEN + 1];

    world_dispatch(w, "f", "in", id);
    orchestrator_stats(w->o, &stats);
    assert_int_equal(stats.runs_in_flight, 1);
    assert_int_equal(stats.engine.running, 1);
    assert_int_equal(stats.incarnation, 1);
    assert_int_equal(stats.commits, 1);
    assert_true(stats.committed_bytes > 0);
    assert_true(stats.cache_bytes > 0);
    assert_true(stats.cache_hits > 0);
    assert_non_null(strstr(w->trace, "new -> ready"));
    assert_non_null(strstr(w->trace, "ready -> running"));
}

/* --- the same with a cache that holds nothing ----------------------------------------------------
 */

static int setup_tiny(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    w->options.cache_max = 1;
    *state = w;
    world_init(w);
    return 0;
}

static void runs_cancelled_while_reading_never_start(void **state)
{
    struct world *w = *state;
    struct reply reply = {0};
    struct reply cancelled = {0};

    world_ask(w, "f", "in", &reply);
    while (!reply.count)
        orchestrator_step(w->o);
    orchestrator_cancel(w->o, slice_str(TEST_ORG), slice_str(reply.ids[0]), reply_cancelled,
                        &cancelled);
    world_settle(w);
    assert_int_equal(cancelled.count, 1);
    assert_int_equal(cancelled.error.code, 0);
    assert_int_equal(w->run_count, 0);
    assert_true(orchestrator_idle(w->o));
}

static void a_payload_that_is_missing_is_no_end(void **state)
{
    struct world *w = *state;
    struct orchestrator_stats stats;
    struct batch batch;
    char id[ID_TEXT_LEN + 1];
    struct id_parts parts;
    struct got got;

    world_dispatch(w, "f", "in", id);
    assert_true(id_parse(slice_str(id), &parts));
    answer_status(world_take_run(w), STATUS_TEMPORARY_ERROR, NULL, NULL);
    world_settle(w);
    orchestrator_stats(w->o, &stats);
    batch_init(&batch);
    assert_true(batch_delete(&batch, TABLE_PAYLOAD, parts.number, PAYLOAD_INPUT));
    assert_int_equal(store_commit(w->memory, 0, stats.incarnation, &batch, NULL), 0);
    batch_free(&batch);
    world_advance(w, 100 * NS_PER_MS);
    assert_int_equal(w->run_count, 0);
    world_get(w, id, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_WAITING);
    assert_int_equal(got.attempts, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TINY(f)                                                                                    \
    {                                                                                              \
#f " (no cache)", f, setup_tiny, teardown, NULL                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_runs_and_has_its_result),
        TEST(a_call_without_input_still_has_a_directive),
        TEST(a_passing_failure_is_retried),
        TEST(a_failure_without_words_gets_some),
        TEST(a_run_given_up_is_made_again_at_once),
        TEST(a_poll_resumes_with_the_results),
        TEST(raw_states_come_back_raw),
        TEST(a_poll_that_cannot_be_accepted_comes_back),
        TEST(a_tail_call_goes_on_under_the_same_id),
        TEST(ids_and_times_stay_with_a_call),
        TEST(a_version_goes_with_each_run),
        TEST(an_expired_call_says_how_long_it_was_tried),
        TEST(whoever_waits_is_told),
        TEST(a_child_that_is_done_can_be_waited_for),
        TEST(waits_that_cannot_be),
        TEST(dispatch_and_wait_are_one_request),
        TEST(many_calls_in_one_commit_each_have_their_time),
        TEST(a_call_goes_on_when_its_caller_goes),
        TEST(a_call_that_cannot_be_is_refused),
        TEST(cancelling_ends_the_tree),
        TEST(bad_calls_are_refused_by_name),
        TEST(an_empty_dispatch_is_fine),
        TEST(draining_starts_nothing_new),
        TEST(an_invoker_may_answer_at_once),
        TEST(callbacks_may_ask_and_give_up),
        TEST(stats_and_traces_tell),
        TINY(a_call_runs_and_has_its_result),
        TINY(a_poll_resumes_with_the_results),
        TINY(raw_states_come_back_raw),
        TINY(a_poll_that_cannot_be_accepted_comes_back),
        TINY(a_tail_call_goes_on_under_the_same_id),
        TINY(whoever_waits_is_told),
        TINY(cancelling_ends_the_tree),
        TINY(an_invoker_may_answer_at_once),
        TINY(callbacks_may_ask_and_give_up),
        TINY(a_payload_that_is_missing_is_no_end),
        TINY(runs_cancelled_while_reading_never_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
