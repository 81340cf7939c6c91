// SPDX-License-Identifier: Apache-2.0
/* What becomes of everything that an endpoint can say, and of rows shown to people. */
#include "orchestrator/inner.h"
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

static const struct call_limits limits = {.payload_max = 1000, .state_max = 2000, .calls_max = 3};

/* A response with one of everything, of which a test hangs in what it wants. */
struct said {
    wire_run_response response;
    wire_exit done;
    wire_call_result result;
    wire_error error;
    wire_poll poll;
    wire_call call, *calls[4];
    wire_any output, input, state;
    wire_duration wait;
    struct engine_answer answer;
};

static char a_function[] = "f", a_type[] = "Odd", a_message[] = "it is", a_url[] = "x/y.Z";
static uint8_t zeros[4000];

static void say(struct said *s, int status)
{
    *s = (struct said){0};
    dispatch__sdk__v1__run_response__init(&s->response);
    dispatch__sdk__v1__exit__init(&s->done);
    dispatch__sdk__v1__call_result__init(&s->result);
    dispatch__sdk__v1__error__init(&s->error);
    dispatch__sdk__v1__poll__init(&s->poll);
    dispatch__sdk__v1__call__init(&s->call);
    google__protobuf__any__init(&s->output);
    google__protobuf__any__init(&s->input);
    google__protobuf__any__init(&s->state);
    google__protobuf__duration__init(&s->wait);
    s->response.status = (Dispatch__Sdk__V1__Status)status;
    s->error.type = a_type;
    s->error.message = a_message;
    s->call.function = a_function;
    s->output.type_url = s->input.type_url = s->state.type_url = a_url;
    for (size_t i = 0; i < 4; i++)
        s->calls[i] = &s->call;
    s->poll.calls = s->calls;
}

static void say_exit(struct said *s, int status)
{
    say(s, status);
    s->response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    s->response.exit = &s->done;
    s->done.result = &s->result;
}

static void say_poll(struct said *s, int status)
{
    say(s, status);
    s->response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    s->response.poll = &s->poll;
}

static void judge(struct said *s)
{
    answer_from_response(&limits, &s->response, &s->answer);
}

/* The answer is an exit with that status, and the error's message contains that text. */
static void expect_exit(struct said *s, enum status status, const char *type, const char *part)
{
    struct arena arena;
    struct error err;
    wire_error *e = NULL;

    assert_int_equal(s->answer.outcome, ENGINE_EXIT);
    assert_int_equal(s->answer.status, status);
    if (type) {
        assert_non_null(s->answer.error);
        arena_init(&arena, 1 << 20);
        assert_int_equal(wire_unpack(&dispatch__sdk__v1__error__descriptor,
                                     blob_slice(s->answer.error), &arena, &e, &err),
                         0);
        assert_string_equal(e->type, type);
        if (!strstr(e->message, part))
            fail_msg("\"%s\" does not speak of \"%s\"", e->message, part);
        arena_reset(&arena);
    } else {
        assert_null(s->answer.error);
    }
    answer_free(&s->answer);
}

static void expect_refusal(struct said *s, const char *type, const char *part)
{
    struct arena arena;
    struct error err;
    wire_error *e = NULL;

    assert_int_equal(s->answer.outcome, ENGINE_POLL);
    assert_non_null(s->answer.poll_error);
    assert_int_equal(s->answer.spec_count, 0);
    arena_init(&arena, 1 << 20);
    assert_int_equal(wire_unpack(&dispatch__sdk__v1__error__descriptor,
                                 blob_slice(s->answer.poll_error), &arena, &e, &err),
                     0);
    assert_string_equal(e->type, type);
    if (!strstr(e->message, part))
        fail_msg("\"%s\" does not speak of \"%s\"", e->message, part);
    arena_reset(&arena);
    answer_free(&s->answer);
}

static void exits(void **state)
{
    struct said s;

    (void)state;
    say(&s, STATUS_OK); /* no directive at all: a result of nothing */
    judge(&s);
    assert_null(s.answer.output);
    expect_exit(&s, STATUS_OK, NULL, NULL);

    say_exit(&s, STATUS_OK);
    s.done.result = NULL;
    judge(&s);
    expect_exit(&s, STATUS_OK, NULL, NULL);

    say_exit(&s, STATUS_OK); /* both: a partial result */
    s.result.output = &s.output;
    s.result.error = &s.error;
    judge(&s);
    assert_int_equal(s.answer.output->len, google__protobuf__any__get_packed_size(&s.output));
    expect_exit(&s, STATUS_OK, "Odd", "it is");

    say_exit(&s, STATUS_UNSPECIFIED);
    judge(&s);
    expect_exit(&s, STATUS_UNSPECIFIED, NULL, NULL);

    say_exit(&s, STATUS_INCOMPATIBLE_STATE); /* no result: its output is dropped */
    s.result.output = &s.output;
    judge(&s);
    assert_null(s.answer.output);
    expect_exit(&s, STATUS_INCOMPATIBLE_STATE, NULL, NULL);

    say_exit(&s, 16);
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "status 16");
    say_exit(&s, -1);
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "status -1");
}

static void what_is_too_large_ends_the_call(void **state)
{
    struct said s;

    (void)state;
    say_exit(&s, STATUS_OK);
    s.result.output = &s.output;
    s.output.value = (ProtobufCBinaryData){.len = 1001, .data = zeros};
    judge(&s);
    assert_null(s.answer.output);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response",
                "bytes, more than the 1000 that are allowed");

    say_exit(&s, STATUS_PERMANENT_ERROR);
    s.result.error = &s.error;
    s.error.value = (ProtobufCBinaryData){.len = 1001, .data = zeros};
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "the error has");

    say_exit(&s, STATUS_PERMANENT_ERROR);
    s.result.output = &s.output;
    s.result.error = &s.error;
    s.output.value = s.error.value = (ProtobufCBinaryData){.len = 600, .data = zeros};
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "of both together");

    say_poll(&s, STATUS_OK);
    s.poll.state_case = DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE;
    s.poll.coroutine_state = (ProtobufCBinaryData){.len = 2001, .data = zeros};
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "the state has 2001 bytes");

    say_poll(&s, STATUS_OK);
    s.poll.state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
    s.poll.typed_coroutine_state = &s.state;
    s.state.value = (ProtobufCBinaryData){.len = 2001, .data = zeros};
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "the state has");
}

static void a_tail_call_counts_before_all_else(void **state)
{
    static const int statuses[] = {STATUS_OK, STATUS_TEMPORARY_ERROR, STATUS_PERMANENT_ERROR,
                                   STATUS_UNSPECIFIED};
    char bad[] = "a-b", event[] = "event:x";
    struct said s;

    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        say_exit(&s, statuses[i]);
        s.done.tail_call = &s.call;
        s.result.output = &s.output;
        s.call.input = &s.input;
        judge(&s);
        assert_int_equal(s.answer.outcome, ENGINE_TAIL);
        assert_int_equal(s.answer.status, statuses[i]);
        assert_int_equal(s.answer.spec_count, 1);
        assert_true(slice_eq_str(s.answer.specs[0].function, "f"));
        assert_int_equal(s.answer.specs[0].endpoint.len, 0);
        assert_non_null(s.answer.specs[0].input);
        assert_null(s.answer.output);
        answer_free(&s.answer);
    }
    say_exit(&s, STATUS_OK);
    s.done.tail_call = &s.call;
    s.call.function = bad;
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "the tail call to 'a-b'");
    s.call.function = a_function;
    s.call.endpoint = event;
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "key of a call to event:");
}

static void polls(void **state)
{
    struct said s;

    (void)state;
    say_poll(&s, STATUS_OK);
    s.poll.n_calls = 3;
    s.call.correlation_id = 9;
    s.poll.min_results = -5;
    s.poll.max_results = 7;
    s.poll.state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
    s.poll.typed_coroutine_state = &s.state;
    judge(&s);
    assert_int_equal(s.answer.outcome, ENGINE_POLL);
    assert_int_equal(s.answer.state_arm, 2);
    assert_int_equal(s.answer.spec_count, 3);
    assert_int_equal(s.answer.specs[2].correlation_id, 9);
    assert_int_equal(s.answer.min_results, -5);
    assert_int_equal(s.answer.max_results, 7);
    assert_true(s.answer.max_wait_ns == -1);
    assert_null(s.answer.poll_error);
    answer_free(&s.answer);

    s.poll.max_wait = &s.wait;
    s.wait.seconds = -3;
    judge(&s);
    assert_true(s.answer.max_wait_ns == 0);
    answer_free(&s.answer);

    /* A poll with any other status is none. */
    s.response.status = DISPATCH__SDK__V1__STATUS__STATUS_THROTTLED;
    judge(&s);
    expect_exit(&s, STATUS_THROTTLED, NULL, NULL);
    s.response.status = DISPATCH__SDK__V1__STATUS__STATUS_UNSPECIFIED;
    judge(&s);
    expect_exit(&s, STATUS_UNSPECIFIED, NULL, NULL);
}

static int only_a(const void *arg, struct slice endpoint, struct error *err)
{
    assert_string_equal(arg, "arg");
    return slice_eq_str(endpoint, "http://a")
               ? 0
               : error_set(err, CODE_PERMISSION_DENIED, "%.*s is not a", SLICE_FMT(endpoint));
}

static void polls_go_where_they_may(void **state)
{
    char a[] = "http://a", b[] = "http://b";
    struct call_limits limited = limits;
    struct said s;

    (void)state;
    limited.check_endpoint = only_a;
    limited.check_endpoint_arg = "arg";
    say_poll(&s, STATUS_OK);
    s.poll.n_calls = 1;
    s.call.endpoint = b;
    answer_from_response(&limited, &s.response, &s.answer);
    expect_refusal(&s, "permission_denied", "calls[0] (function 'f'): http://b is not a");
    s.call.endpoint = a;
    answer_from_response(&limited, &s.response, &s.answer);
    assert_int_equal(s.answer.spec_count, 1);
    answer_free(&s.answer);
    dispatch__sdk__v1__call__init(&s.call); /* no endpoint: its parent's, which it had before */
    s.call.function = a_function;
    answer_from_response(&limited, &s.response, &s.answer);
    assert_int_equal(s.answer.spec_count, 1);
    answer_free(&s.answer);
}

static void tail_calls_go_where_they_may(void **state)
{
    char b[] = "http://b", bad[] = "ftp://x";
    struct call_limits limited = limits;
    struct said s;

    (void)state;
    limited.check_endpoint = only_a;
    limited.check_endpoint_arg = "arg";
    say_exit(&s, STATUS_OK);
    s.done.tail_call = &s.call;
    s.call.endpoint = b;
    s.call.input = &s.input;
    answer_from_response(&limited, &s.response, &s.answer);
    expect_exit(&s, STATUS_PERMISSION_DENIED, "permission_denied",
                "the tail call to 'f' cannot be made: http://b is not a");
    s.call.endpoint = bad; /* no policy's matter */
    answer_from_response(&limited, &s.response, &s.answer);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "the tail call to 'f'");
}

static void polls_are_refused_as_a_whole(void **state)
{
    char bad[] = "ftp://x";
    uint64_t given_up[] = {1};
    struct said s;

    (void)state;
    say_poll(&s, STATUS_OK);
    s.poll.n_calls = 4;
    judge(&s);
    expect_refusal(&s, "invalid_argument", "4 calls, more than the 3");

    say_poll(&s, STATUS_OK);
    s.poll.n_calls = 1;
    s.call.endpoint = bad;
    s.poll.state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
    s.poll.typed_coroutine_state = &s.state;
    judge(&s);
    assert_non_null(s.answer.state); /* that is kept */
    expect_refusal(&s, "invalid_argument", "calls[0] (function 'f'): ");

    say_poll(&s, STATUS_OK);
    s.poll.n_calls = 1;
    s.call.input = &s.input;
    s.input.value = (ProtobufCBinaryData){.len = 1001, .data = zeros};
    judge(&s);
    expect_refusal(&s, "invalid_argument", "input has");

    /* Calls are refused, and others given up all the same; so many at most. */
    say_poll(&s, STATUS_OK);
    s.poll.n_calls = 4;
    s.poll.cancel = given_up;
    s.poll.n_cancel = 1;
    judge(&s);
    assert_int_equal(s.answer.cancel_count, 1);
    expect_refusal(&s, "invalid_argument", "4 calls");
    say_poll(&s, STATUS_OK);
    s.poll.cancel = given_up;
    s.poll.n_cancel = 100001;
    judge(&s);
    assert_int_equal(s.answer.cancel_count, 0);
    expect_refusal(&s, "invalid_argument", "gives up 100001 calls");
}

static void extensions(void **state)
{
    static uint8_t more[] = "more";
    wire_timestamp later = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    uint64_t given_up[] = {1, 5};
    struct said s;

    (void)state;
    later.seconds = 2;
    say_poll(&s, STATUS_OK);
    s.poll.n_calls = 1;
    s.call.priority = -7;
    s.call.not_before = &later;
    s.poll.wake_on_error = true;
    s.poll.cancel = given_up;
    s.poll.n_cancel = 2;
    s.poll.state_case = DISPATCH__SDK__V1__POLL__STATE_APPEND;
    s.poll.append = (ProtobufCBinaryData){.len = 4, .data = more};
    s.poll.append_position = 12;
    judge(&s);
    assert_int_equal(s.answer.outcome, ENGINE_POLL);
    assert_true(s.answer.append && s.answer.wake_on_error);
    assert_int_equal(s.answer.append_position, 12);
    assert_true(slice_eq_str(blob_slice(s.answer.state), "more"));
    assert_int_equal(s.answer.cancel[1], 5);
    assert_int_equal(s.answer.specs[0].priority, -7);
    assert_true(s.answer.specs[0].not_before == 2 * NS_PER_S);
    answer_free(&s.answer);

    s.poll.append.len = 2001;
    s.poll.append.data = zeros;
    judge(&s);
    expect_exit(&s, STATUS_INVALID_RESPONSE, "invalid_response", "2001 bytes, more than the 2000");

    /* Of an Any, the value counts as the state. */
    say_poll(&s, STATUS_OK);
    s.poll.state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
    s.poll.typed_coroutine_state = &s.state;
    s.state.value = (ProtobufCBinaryData){.len = 10, .data = zeros};
    judge(&s);
    assert_int_equal(s.answer.state->len - s.answer.state_overhead, 10);
    answer_free(&s.answer);
}

static void diverged_code_is_no_overload(void **state)
{
    char diverged[] = "Diverged";
    struct said s;

    (void)state;
    say_exit(&s, STATUS_TEMPORARY_ERROR);
    s.result.error = &s.error;
    judge(&s);
    assert_false(s.answer.blameless);
    answer_free(&s.answer);
    s.error.type = diverged;
    judge(&s);
    assert_true(s.answer.blameless);
    answer_free(&s.answer);
}

static void failures(void **state)
{
    struct said s = {0};

    (void)state;
    answer_from_failure(
        &(struct run_failure){.status = STATUS_TCP_ERROR, .transport = true, .too_large = true},
        &s.answer);
    assert_true(s.answer.transport);
    assert_true(s.answer.too_large);
    expect_exit(&s, STATUS_TCP_ERROR, "status", "TCP_ERROR");
    answer_from_failure(&(struct run_failure){.status = STATUS_NOT_FOUND,
                                              .type = "not_found",
                                              .message = "function 'x' does not exist"},
                        &s.answer);
    expect_exit(&s, STATUS_NOT_FOUND, "not_found", "function 'x' does not exist");
}

/* --- results ------------------------------------------------------------------------------------
 */

static const char *result_message(struct arena *arena, const struct engine_row *row)
{
    struct engine_result none = {0};
    wire_call_result *r = NULL;
    struct error err;

    assert_int_equal(result_build(arena, 1, row, &none, &r, &err), 0);
    assert_non_null(r->error);
    return r->error->message;
}

static void results_say_what_rows_do_not(void **state)
{
    struct engine_row row = {.id = 1,
                             .end = END_EXPIRED,
                             .status = STATUS_TIMEOUT,
                             .created = T0,
                             .expires = T0 + 90 * NS_PER_S,
                             .attempts = 3};
    struct engine_result bad = {.has_output = true, .output = slice_str("\xff\xff")};
    wire_call_result *r = NULL;
    struct error err;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_string_equal(result_message(&arena, &row), "expired after 1m30s and 3 attempts");
    row.expires = T0 + NS_PER_S / 2;
    row.attempts = 0;
    assert_string_equal(result_message(&arena, &row), "expired after 0.500s and 0 attempts");
    row.end = END_CANCELLED;
    row.status = STATUS_PERMANENT_ERROR;
    assert_string_equal(result_message(&arena, &row), "the call was cancelled");
    row.end = END_ANSWER;
    row.status = STATUS_UNSPECIFIED;
    assert_string_equal(result_message(&arena, &row), "UNSPECIFIED");
    assert_int_equal(result_build(&arena, 1, &row, &bad, &r, &err), CODE_DATA_LOSS);
    assert_non_null(strstr(err.message, "the output stored for call 0000"));
    assert_null(r);
    arena_reset(&arena);
}

/* --- the cache ----------------------------------------------------------------------------------
 */

static void put(struct cache *c, uint64_t key, size_t len)
{
    struct blob *b = blob_new(len);

    assert_non_null(b);
    memset(b->data, 0, len);
    cache_put(c, CACHE_PAYLOAD, key, 0, b);
    blob_unref(b);
}

static bool has(struct cache *c, uint64_t key)
{
    struct blob *b = cache_get(c, CACHE_PAYLOAD, key, 0);

    blob_unref(b);
    return b != NULL;
}

static void the_cache_is_bounded(void **state)
{
    struct cache c;

    (void)state;
    cache_init(&c, 4000);
    put(&c, 1, 1000);
    put(&c, 2, 1000);
    put(&c, 3, 1000);
    assert_true(has(&c, 1)); /* so that 2 is the oldest */
    put(&c, 4, 1000);
    assert_true(has(&c, 1) && !has(&c, 2) && has(&c, 3) && has(&c, 4));
    assert_true(c.bytes <= c.max);
    put(&c, 1, 5000); /* too large: and the old one is no more */
    assert_false(has(&c, 1));
    cache_drop(&c, CACHE_PAYLOAD, 3, 0);
    cache_drop(&c, CACHE_PAYLOAD, 3, 0);
    assert_false(has(&c, 3));
    assert_int_equal(c.hits, 4);
    assert_int_equal(c.misses, 3);
    cache_free(&c);
}

static void the_cache_follows_batches(void **state)
{
    struct batch b;
    struct cache c;
    struct blob *blob, *shared = blob_copy(slice_str("payload"));

    (void)state;
    cache_init(&c, 4000);
    batch_init(&b);
    assert_true(batch_put_blob(&b, TABLE_PAYLOAD, 7, 1, shared));
    assert_true(batch_put(&b, TABLE_DONE, 7, 0, slice_str("done")));
    assert_true(batch_put(&b, TABLE_CALL, 7, 0, slice_str("row")));
    cache_batch(&c, &b);
    batch_reset(&b);
    blob = cache_get(&c, CACHE_PAYLOAD, 7, 1);
    assert_ptr_equal(blob, shared); /* not copied */
    blob_unref(blob);
    blob = cache_get(&c, CACHE_DONE, 7, 0);
    assert_true(slice_eq_str(blob_slice(blob), "done"));
    blob_unref(blob);
    assert_null(cache_get(&c, CACHE_PAYLOAD, 7, 0));
    assert_true(batch_delete(&b, TABLE_PAYLOAD, 7, 1));
    cache_batch(&c, &b);
    assert_null(cache_get(&c, CACHE_PAYLOAD, 7, 1));
    batch_free(&b);
    cache_clear(&c);
    assert_int_equal(c.bytes, 0);
    assert_null(cache_get(&c, CACHE_DONE, 7, 0));
    cache_free(&c);
    blob_unref(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exits),
        cmocka_unit_test(what_is_too_large_ends_the_call),
        cmocka_unit_test(a_tail_call_counts_before_all_else),
        cmocka_unit_test(polls),
        cmocka_unit_test(polls_go_where_they_may),
        cmocka_unit_test(tail_calls_go_where_they_may),
        cmocka_unit_test(polls_are_refused_as_a_whole),
        cmocka_unit_test(extensions),
        cmocka_unit_test(diverged_code_is_no_overload),
        cmocka_unit_test(failures),
        cmocka_unit_test(results_say_what_rows_do_not),
        cmocka_unit_test(the_cache_is_bounded),
        cmocka_unit_test(the_cache_follows_batches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
