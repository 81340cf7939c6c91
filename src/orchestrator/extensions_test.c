// SPDX-License-Identifier: Apache-2.0
/* The wire's extensions from end to end: what an endpoint appends comes back as one state,
 * whichever kind it was, across restarts and however many pieces it came in. */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

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

static void answer_poll(struct orchestrator_run *run, wire_poll *poll)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_duration wait = GOOGLE__PROTOBUF__DURATION__INIT;

    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = poll;
    poll->max_wait = &wait; /* at once */
    orchestrator_run_answered(run, &response);
}

static void answer_append(struct orchestrator_run *run, uint64_t position, const char *bytes)
{
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    char copy[64];

    snprintf(copy, sizeof copy, "%s", bytes);
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_APPEND;
    poll.append = (ProtobufCBinaryData){.len = strlen(copy), .data = (uint8_t *)copy};
    poll.append_position = position;
    answer_poll(run, &poll);
}

struct seen {
    char url[64];
    size_t len;
    char end[5];
    int count;
};

/* What whoever asks for the call is told of its state. */
static void see(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    const wire_any *any = info->coroutine_state;
    struct seen *seen = arg;

    assert_null(error);
    assert_non_null(any);
    snprintf(seen->url, sizeof seen->url, "%s", any->type_url);
    seen->len = any->value.len;
    memcpy(seen->end, any->value.data + any->value.len - 4, 4);
    seen->count++;
}

static void assert_seen(struct world *w, const char *id, const char *url, size_t len,
                        const char *end)
{
    struct seen seen = {0};

    orchestrator_get_with_state(w->o, slice_str(TEST_ORG), slice_str(id), see, &seen);
    world_settle(w);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.url, url);
    assert_int_equal(seen.len, len);
    assert_string_equal(seen.end, end);
}

static void a_typed_state_grows(void **state)
{
    struct world *w = *state;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    wire_any any = GOOGLE__PROTOBUF__ANY__INIT;
    char id[ID_TEXT_LEN + 1], url[] = "type.example/State";
    uint8_t start[] = "0123456789";
    struct orchestrator_run *run;
    wire_any *back;
    struct got got;

    world_dispatch(w, "f", NULL, id);
    any.type_url = url;
    any.value = (ProtobufCBinaryData){.len = 10, .data = start};
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
    poll.typed_coroutine_state = &any;
    answer_poll(world_take_run(w), &poll);
    for (uint64_t i = 0; i < 200; i++) { /* past one compaction, and then some */
        world_settle(w);
        if (i % 50 == 7)
            world_restart(w);
        answer_append(world_take_run(w), 10 + 2 * i, "ab");
    }
    world_settle(w);
    assert_seen(w, id, url, 410, "abab");
    run = world_take_run(w);
    assert_int_equal(run->request->resume, 201);
    assert_int_equal(run->request->poll_result->state_case,
                     DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE);
    back = run->request->poll_result->typed_coroutine_state;
    assert_string_equal(back->type_url, url);
    assert_int_equal(back->value.len, 410);
    assert_memory_equal(back->value.data, "0123456789abab", 14);
    assert_memory_equal(back->value.data + 400, "ababababab", 10);
    /* Whoever appends to what is not there is asked again. */
    answer_append(run, 17, "no");
    world_settle(w);
    assert_int_equal(w->run_count, 0);
    world_get(w, id, &got);
    assert_string_equal(got.last_error, "append_position is 17, and the state has 410 bytes");
    world_advance(w, NS_PER_S);
    run = world_take_run(w);
    assert_int_equal(run->request->poll_result->typed_coroutine_state->value.len, 410);
    answer_ok(run, "end");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "end");
}

static void bytes_grow_from_nothing(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct orchestrator_run *run;

    world_dispatch(w, "f", NULL, id);
    for (uint64_t i = 0; i < 70; i++) {
        answer_append(world_take_run(w), 3 * i, "abc");
        world_settle(w);
    }
    /* Told as a BytesValue: tag, two bytes of length. */
    assert_seen(w, id, "type.googleapis.com/google.protobuf.BytesValue", 210 + 3, "cabc");
    run = world_take_run(w);
    assert_int_equal(run->request->poll_result->state_case,
                     DISPATCH__SDK__V1__POLL_RESULT__STATE_COROUTINE_STATE);
    assert_int_equal(run->request->poll_result->coroutine_state.len, 210);
    assert_memory_equal(run->request->poll_result->coroutine_state.data + 204, "abcabc", 6);
    answer_ok(run, "end");
}

static int setup_small(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    w->options.engine.live_max = 10;
    w->options.cache_max = 1; /* everything is read back */
    world_init(w);
    return 0;
}

static int not_there(const void *arg, struct slice endpoint, struct error *err)
{
    (void)arg;
    return slice_eq_str(endpoint, "http://there")
               ? error_set(err, CODE_PERMISSION_DENIED, "not there")
               : CODE_OK;
}

static int setup_guarded(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    w->options.check_endpoint = not_there;
    world_init(w);
    return 0;
}

static void a_tail_call_goes_where_it_may(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct got got;

    world_dispatch(w, "f", NULL, id);
    answer_with_tail_to(world_take_run(w), "g", "http://here");
    world_settle(w);
    answer_with_tail_to(world_take(w, "g"), "h", "http://there");
    world_settle(w);
    world_get(w, id, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_DONE);
    assert_int_equal(got.status, STATUS_PERMISSION_DENIED);
    assert_string_equal(got.error_type, "permission_denied");
    assert_string_equal(got.error_message, "the tail call to 'h' cannot be made: not there");
}

static void a_poll_waits_for_room_and_is_read_back(void **state)
{
    struct world *w = *state;
    const struct child children[7] = {{"c", 1}, {"c", 2}, {"c", 3}, {"c", 4},
                                      {"c", 5}, {"c", 6}, {"c", 7}};
    char wide[ID_TEXT_LEN + 1], narrow[ID_TEXT_LEN + 1];
    struct got got;

    world_dispatch(w, "wide", NULL, wide);
    world_dispatch(w, "narrow", NULL, narrow);
    answer_with_poll(world_take(w, "wide"), "s", children, 7, 7, -1);
    world_settle(w);
    answer_with_poll(world_take(w, "narrow"), "s", children, 3, 3, -1);
    orchestrator_drain(w->o); /* nothing starts, and nothing is fetched */
    world_settle(w);
    world_get(w, narrow, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_SUSPENDED);
    assert_string_equal(got.waiting_for,
                        "room for the 3 calls of its poll: 9 of 10 calls are in memory, 9 of them "
                        "its organization's");
    world_restart(w);
    assert_int_equal(w->run_count, 7 + 3);
    while (w->run_count) {
        answer_ok(world_take_run(w), "x");
        world_settle(w);
    }
    world_expect(w, wide, STATUS_OK, "x");
    world_expect(w, narrow, STATUS_OK, "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_typed_state_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_grow_from_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tail_call_goes_where_it_may, setup_guarded, teardown),
        cmocka_unit_test_setup_teardown(a_poll_waits_for_room_and_is_read_back, setup_small,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
