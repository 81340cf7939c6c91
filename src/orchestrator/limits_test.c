// SPDX-License-Identifier: Apache-2.0
/* The limits of what a call carries, as they are unless told otherwise, each at its boundary. */
#include "base/list.h"
#include "orchestrator/testing.h"

#include <stdlib.h>

#define PAYLOAD_MAX 4000000
#define STATE_MAX   8000000
#define CALLS_MAX   10000

static uint8_t zeros[STATE_MAX + 1];
static char a_url[] = "x/y.Z";

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

/* An Any that takes so many bytes. */
static wire_any any_of_size(size_t size)
{
    wire_any any = GOOGLE__PROTOBUF__ANY__INIT;

    any.type_url = a_url;
    any.value.data = zeros;
    any.value.len = size;
    any.value.len -= protobuf_c_message_get_packed_size(&any.base) - size;
    while (protobuf_c_message_get_packed_size(&any.base) < size)
        any.value.len++;
    assert_int_equal(protobuf_c_message_get_packed_size(&any.base), size);
    return any;
}

static int dispatch(struct world *w, wire_any *input, size_t count, struct reply *reply)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;
    wire_call **calls = calloc(count, sizeof(wire_call *));
    char function[] = "f", endpoint[] = ENDPOINT;

    assert_non_null(calls);
    call.function = function;
    call.endpoint = endpoint;
    call.input = input;
    for (size_t i = 0; i < count; i++)
        calls[i] = &call;
    request.calls = calls;
    request.n_calls = count;
    *reply = (struct reply){0};
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, reply);
    world_settle(w);
    assert_int_equal(reply->count, 1);
    free(calls);
    return reply->error.code;
}

static void input(void **state)
{
    wire_any most = any_of_size(PAYLOAD_MAX), more = any_of_size(PAYLOAD_MAX + 1);
    struct world *w = *state;
    struct reply reply;

    assert_int_equal(dispatch(w, &most, 1, &reply), 0);
    assert_int_equal(w->run_count, 1);
    assert_int_equal(w->runs[0]->request->input->value.len, most.value.len);
    assert_int_equal(dispatch(w, &more, 1, &reply), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(reply.error.message, "4000001 bytes, more than the 4000000"));
}

static void calls_of_a_request(void **state)
{
    struct world *w = *state;
    struct reply reply;

    assert_int_equal(dispatch(w, NULL, CALLS_MAX, &reply), 0);
    assert_int_equal(reply.id_count, CALLS_MAX);
    assert_int_equal(dispatch(w, NULL, CALLS_MAX + 1, &reply), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(reply.error.message, "10001 calls, more than the 10000"));
}

static void exit_with(struct world *w, wire_any *output, struct got *got)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    wire_exit done = DISPATCH__SDK__V1__EXIT__INIT;
    char id[ID_TEXT_LEN + 1];

    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &done;
    done.result = &result;
    result.output = output;
    world_dispatch(w, "f", NULL, id);
    orchestrator_run_answered(world_take_run(w), &response);
    world_settle(w);
    world_get(w, id, got);
    assert_int_equal(got->state, DISPATCH__V1__STATE__STATE_DONE);
}

static void output(void **state)
{
    wire_any most = any_of_size(PAYLOAD_MAX), more = any_of_size(PAYLOAD_MAX + 1);
    struct world *w = *state;
    struct got got;

    exit_with(w, &most, &got);
    assert_int_equal(got.status, STATUS_OK);
    assert_true(got.has_output);
    exit_with(w, &more, &got);
    assert_int_equal(got.status, STATUS_INVALID_RESPONSE);
    assert_non_null(strstr(got.error_message, "4000001 bytes, more than the 4000000"));
}

static void poll_with(struct world *w, wire_any *coroutine_state, char id[ID_TEXT_LEN + 1])
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_duration at_once = GOOGLE__PROTOBUF__DURATION__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;

    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
    poll.typed_coroutine_state = coroutine_state;
    poll.max_wait = &at_once;
    world_dispatch(w, "f", NULL, id);
    orchestrator_run_answered(world_take_run(w), &response);
    world_settle(w);
}

static void state_of_a_poll(void **state)
{
    wire_any most = any_of_size(STATE_MAX), more = any_of_size(STATE_MAX + 1);
    char id[ID_TEXT_LEN + 1];
    struct orchestrator_run *run;
    struct world *w = *state;
    struct got got;

    poll_with(w, &most, id);
    run = world_take_run(w);
    assert_int_equal(run->request->poll_result->typed_coroutine_state->value.len, most.value.len);
    /* A resume with all that fits into a body that endpoints accept. */
    assert_true(protobuf_c_message_get_packed_size(&run->request->base) < 16000000);
    answer_ok(run, "out");
    world_settle(w);
    poll_with(w, &more, id);
    world_get(w, id, &got);
    assert_int_equal(got.status, STATUS_INVALID_RESPONSE);
    assert_non_null(strstr(got.error_message, "8000001 bytes, more than the 8000000"));
}

static void give_up(struct invoker *invoker, struct orchestrator_run *run)
{
    LIST_ENTRY(invoker, struct world, invoker)->invoked++;
    orchestrator_run_gone(run);
}

/* The step ends, whatever the invoker does, and asks to be called again at once; the requests that
 * come in between are served. */
static void runs_given_up_within_do_not_hold_up_the_step(void **state)
{
    struct world *w = *state;
    void (*run)(struct invoker * invoker, struct orchestrator_run * run) = w->invoker.run;
    char id[ID_TEXT_LEN + 1];
    struct reply reply = {0};

    world_dispatch(w, "f", NULL, id);
    w->invoker.run = give_up;
    w->invoked = 0;
    orchestrator_run_gone(world_take_run(w));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(orchestrator_step(w->o), w->now);
        assert_true(w->invoked > 0 && w->invoked <= 10000);
        w->invoked = 0;
    }
    orchestrator_cancel(w->o, slice_str(TEST_ORG), slice_str(id), reply_cancelled, &reply);
    world_settle(w);
    assert_true(reply.count == 1 && !reply.error.code);
    w->invoker.run = run;
    world_expect(w, id, STATUS_PERMANENT_ERROR, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(input),
        TEST(calls_of_a_request),
        TEST(output),
        TEST(state_of_a_poll),
        TEST(runs_given_up_within_do_not_hold_up_the_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
