// SPDX-License-Identifier: Apache-2.0
/*
 * Runs, bytes in and bytes out: functions and primitive functions on an endpoint without a
 * listener, and the rules of the endpoint itself (joining, putting off, refusing).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/internal.h"

/* --- an endpoint, and one request at a time --------------------------------------------------- */

struct answer {
    sem_t there;
    int http_status;
    char content_type[64];
    size_t size;
    char body[4096];
};

static void on_reply(void *arg, const struct dispatch_reply *reply)
{
    struct answer *answer = arg;

    assert_true(reply->size < sizeof answer->body);
    answer->http_status = reply->http_status;
    snprintf(answer->content_type, sizeof answer->content_type, "%s", reply->content_type);
    memcpy(answer->body, reply->body, reply->size);
    answer->body[reply->size] = '\0';
    answer->size = reply->size;
    sem_post(&answer->there);
}

struct fixture {
    struct dispatch_registry *registry;
    struct dispatch_endpoint *endpoint;
    struct dispatch_response response; /* the latest */
};

/* The request, with `tail` behind it. */
static void send_with(struct fixture *f, struct answer *answer,
                      const struct dispatch_run_request *run, struct slice tail)
{
    void *bytes = NULL;
    uint8_t all[4096];
    size_t size = 0;

    assert_int_equal(dispatch_run_request_pack(run, &bytes, &size, NULL), 0);
    assert_true(size + tail.len <= sizeof all);
    memcpy(all, bytes, size);
    if (tail.len)
        memcpy(all + size, tail.data, tail.len);
    sem_init(&answer->there, 0, 0);
    dispatch_endpoint_handle(f->endpoint, all, size + tail.len, on_reply, answer);
    dispatch_bytes_free(bytes);
}

static void send(struct fixture *f, struct answer *answer, const struct dispatch_run_request *run)
{
    send_with(f, answer, run, (struct slice){0});
}

static void wait_for(struct answer *answer)
{
    while (sem_wait(&answer->there))
        assert_int_equal(errno, EINTR);
    sem_destroy(&answer->there);
}

/* The RunResponse of an answer; it lives until the next one. */
static const struct dispatch_response *response_of(struct fixture *f, const struct answer *answer)
{
    assert_int_equal(answer->http_status, 200);
    assert_string_equal(answer->content_type, "application/proto");
    dispatch_response_free(&f->response);
    assert_int_equal(dispatch_response_unpack(answer->body, answer->size, &f->response, NULL), 0);
    return &f->response;
}

static const struct dispatch_response *run(struct fixture *f,
                                           const struct dispatch_run_request *run)
{
    struct answer answer;

    send(f, &answer, run);
    wait_for(&answer);
    return response_of(f, &answer);
}

static const struct dispatch_response *call(struct fixture *f, const char *function,
                                            struct dispatch_value input)
{
    struct dispatch_run_request request = {
        .function = function, .dispatch_id = "id", .root_dispatch_id = "id", .input = input};

    return run(f, &request);
}

static void error_is(const struct dispatch_response *r, enum dispatch_status status,
                     const char *type, const char *message)
{
    assert_int_equal(r->status, status);
    assert_non_null(r->result);
    assert_non_null(r->result->error);
    assert_string_equal(r->result->error->type, type);
    assert_string_equal(r->result->error->message, message);
}

/* --- functions -------------------------------------------------------------------------------- */

static sem_t gate, entered; /* of `blocks` */

static struct dispatch_result blocks(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    sem_post(&entered);
    while (sem_wait(&gate))
        ;
    return dispatch_ok(input);
}

static struct dispatch_result greet(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    return dispatch_ok(
        dispatch_string(dispatch_printf(ctx, "Hello, %s!", dispatch_as_string(input, NULL))));
}

/* Fails in the way that its input names. */
static struct dispatch_result fails(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *how = dispatch_as_string(input, NULL);
    struct dispatch_result result;

    if (strcmp(how, "errno") == 0)
        return dispatch_fail_errno(ctx, ENOENT, "opening %s", "x");
    if (strcmp(how, "untyped") == 0)
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "", "no type");
    if (strcmp(how, "ok") == 0)
        return dispatch_fail(ctx, DISPATCH_OK, "T", "m");
    if (strcmp(how, "child") == 0) {
        struct dispatch_error error = {.status = DISPATCH_THROTTLED,
                                       .type = "Busy",
                                       .message = "later",
                                       .value = "\0v",
                                       .value_size = 2};

        return dispatch_fail_with(ctx, &error);
    }
    if (strcmp(how, "memory") == 0) {
        assert_null(dispatch_alloc(ctx, (size_t)1 << 40));
        return dispatch_ok(dispatch_int(1));
    }
    if (strcmp(how, "json") == 0)
        return dispatch_ok(dispatch_json("{"));
    if (strcmp(how, "output") == 0) {
        result = dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Half", "only half of it");
        result.output = dispatch_int(21);
        return result;
    }
    if (strcmp(how, "retry") == 0) {
        result = dispatch_ok(dispatch_int(1));
        result.status = DISPATCH_THROTTLED;
        return result;
    }
    return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Bad", "not \xff %s", how);
}

static void test_functions(void **state)
{
    struct fixture *f = *state;
    const struct dispatch_response *r = call(f, "greet", dispatch_string("World"));
    int64_t number = 0;

    assert_int_equal(r->status, DISPATCH_OK);
    assert_string_equal(dispatch_as_string(r->result->output, NULL), "Hello, World!");
    assert_null(r->result->error);
    error_is(call(f, "fails", dispatch_string("errno")), DISPATCH_NOT_FOUND, "ENOENT",
             "opening x: No such file or directory");
    error_is(call(f, "fails", dispatch_string("untyped")), DISPATCH_TEMPORARY_ERROR, "InvalidError",
             "Error type is required");
    error_is(call(f, "fails", dispatch_string("ok")), DISPATCH_PERMANENT_ERROR, "InvalidError",
             "Status cannot be OK");
    error_is(call(f, "fails", dispatch_string("memory")), DISPATCH_TEMPORARY_ERROR, "Memory",
             "out of memory");
    error_is(call(f, "fails", dispatch_string("x")), DISPATCH_PERMANENT_ERROR, "Bad", "not ? x");
    r = call(f, "fails", dispatch_string("json"));
    error_is(r, DISPATCH_INVALID_RESPONSE, "InvalidOutput", "a json value is not valid JSON: {");
    r = call(f, "fails", dispatch_string("child"));
    error_is(r, DISPATCH_PERMANENT_ERROR, "Busy", "later");
    assert_int_equal(r->result->error->status, DISPATCH_THROTTLED);
    assert_memory_equal(r->result->error->value, "\0v", 2);
    r = call(f, "fails", dispatch_string("output"));
    error_is(r, DISPATCH_PERMANENT_ERROR, "Half", "only half of it");
    assert_true(dispatch_as_int(r->result->output, &number));
    assert_int_equal(number, 21);
    r = call(f, "fails", dispatch_string("retry"));
    assert_int_equal(r->status, DISPATCH_THROTTLED);
}

/* --- primitive functions ---------------------------------------------------------------------- */

/* Two calls, then their results' sum; checks all that its input says. */
static struct dispatch_output adds(struct dispatch_ctx *ctx, const struct dispatch_input *input)
{
    struct dispatch_call calls[] = {dispatch_to("one", dispatch_int(1)),
                                    dispatch_to("two", dispatch_int(2))};
    struct dispatch_poll poll = {.state = dispatch_string("sum"),
                                 .calls = calls,
                                 .call_count = 2,
                                 .min_results = 2,
                                 .max_results = 5000,
                                 .has_max_wait = true,
                                 .max_wait_ms = 1500};
    const struct dispatch_result *results;
    const struct dispatch_error *error;
    struct dispatch_failure failure;
    struct dispatch_value value;
    int64_t sum = 0, number;
    size_t count;

    assert_string_equal(dispatch_input_function(input), "adds");
    assert_string_equal(dispatch_input_id(input), "id");
    assert_string_equal(dispatch_input_parent_id(input), "parent");
    assert_string_equal(dispatch_input_root_id(input), "root");
    assert_int_equal(dispatch_input_creation_time_ns(input), 5);
    assert_int_equal(dispatch_input_expiration_time_ns(input), 1500000000);
    assert_true(dispatch_input_is_first_call(input) != dispatch_input_is_resume(input));
    if (dispatch_input_is_first_call(input)) {
        assert_int_equal(dispatch_input_arguments(input, &value, NULL), 0);
        assert_int_equal(dispatch_input_state(input, &value, &failure),
                         DISPATCH_CODE_FAILED_PRECONDITION);
        assert_string_equal(failure.message, "This input is for a first function call");
        assert_int_not_equal(dispatch_input_results(input, &results, &count, NULL), 0);
        assert_int_not_equal(dispatch_input_poll_error(input, &error, NULL), 0);
        calls[1].correlation_id = UINT64_MAX;
        calls[1].endpoint = "http://other";
        calls[1].expiration_ms = 2500;
        return dispatch_output_poll(ctx, &poll);
    }
    assert_int_equal(dispatch_input_value(input, &value, &failure),
                     DISPATCH_CODE_FAILED_PRECONDITION);
    assert_string_equal(failure.message, "This input is for a resumed coroutine");
    assert_int_equal(dispatch_input_poll_error(input, &error, NULL), 0);
    if (error)
        return dispatch_output_error(ctx, error);
    assert_int_equal(dispatch_input_state(input, &value, NULL), 0);
    assert_string_equal(dispatch_as_string(value, NULL), "sum");
    assert_int_equal(dispatch_input_results(input, &results, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(dispatch_as_int(results[i].output, &number));
        sum += number * (int64_t)(results[i].correlation_id == UINT64_MAX ? 10 : 1);
    }
    return dispatch_output_value(ctx, dispatch_int(sum));
}

static void test_polls(void **state)
{
    struct dispatch_argument argument = {NULL, dispatch_int(1)};
    struct dispatch_run_request request = {.function = "adds",
                                           .dispatch_id = "id",
                                           .parent_dispatch_id = "parent",
                                           .root_dispatch_id = "root",
                                           .creation_time_ns = 5,
                                           .expiration_time_ns = 1500000000,
                                           .input = dispatch_arguments(&argument, 1)};
    struct dispatch_result results[] = {{.output = dispatch_int(3)},
                                        {.output = dispatch_int(4), .correlation_id = UINT64_MAX}};
    struct dispatch_error refusal = {
        DISPATCH_PERMANENT_ERROR, "invalid_argument", "no", NULL, 0, NULL, 0, {0}};
    const struct dispatch_response *r = run(*state, &request);
    int64_t sum = 0;

    assert_int_equal(r->status, DISPATCH_OK);
    assert_non_null(r->poll);
    assert_null(r->result);
    assert_int_equal(r->poll->call_count, 2);
    assert_string_equal(r->poll->calls[0].function, "one");
    assert_null(r->poll->calls[0].endpoint);
    assert_true(r->poll->calls[1].correlation_id == UINT64_MAX);
    assert_string_equal(r->poll->calls[1].endpoint, "http://other");
    assert_int_equal(r->poll->calls[1].expiration_ms, 2500);
    assert_int_equal(r->poll->min_results, 2);
    assert_int_equal(r->poll->max_results, 1000);
    assert_true(r->poll->has_max_wait);
    assert_int_equal(r->poll->max_wait_ms, 1500);

    request.resume = true;
    request.state = dispatch_string("sum");
    request.results = results;
    request.result_count = 2;
    r = run(*state, &request);
    assert_int_equal(r->status, DISPATCH_OK);
    assert_true(dispatch_as_int(r->result->output, &sum));
    assert_int_equal(sum, 43);

    request.poll_error = &refusal;
    error_is(run(*state, &request), DISPATCH_PERMANENT_ERROR, "invalid_argument", "no");
}

/* A poll with all that this project's orchestrator knows besides. */
static struct dispatch_output extends(struct dispatch_ctx *ctx, const struct dispatch_input *input)
{
    static const uint64_t cancel[] = {7, UINT64_MAX};
    struct dispatch_poll poll = {.append = "more",
                                 .append_size = 4,
                                 .append_position = 1000,
                                 .wake_on_error = true,
                                 .cancel = cancel,
                                 .cancel_count = 2};
    bool both = false;

    if (dispatch_input_now_ns(input) != 0) {
        assert_int_equal(dispatch_input_now_ns(input), 12345);
        assert_int_equal(dispatch_input_generation(input), 2);
        assert_int_equal(dispatch_input_resumes(input), 3);
    }
    dispatch_input_value(input, &poll.state, NULL);
    if (dispatch_as_bool(poll.state, &both) && !both)
        poll.state = dispatch_null();
    return dispatch_output_poll(ctx, &poll);
}

static void test_extended_polls(void **state)
{
    struct dispatch_run_request request = {.function = "extends",
                                           .dispatch_id = "id",
                                           .input = dispatch_bool(false),
                                           .now_ns = 12345,
                                           .generation = 2,
                                           .resumes = 3};
    const struct dispatch_response *r = run(*state, &request);

    assert_int_equal(r->status, DISPATCH_OK);
    assert_non_null(r->poll);
    assert_true(r->poll->wake_on_error);
    assert_int_equal(r->poll->append_size, 4);
    assert_memory_equal(r->poll->append, "more", 4);
    assert_int_equal(r->poll->append_position, 1000);
    assert_true(dispatch_is_null(r->poll->state));
    assert_int_equal(r->poll->cancel_count, 2);
    assert_true(r->poll->cancel[0] == 7 && r->poll->cancel[1] == UINT64_MAX);

    request.input = dispatch_bool(true);
    error_is(run(*state, &request), DISPATCH_INVALID_RESPONSE, "InvalidOutput",
             "a poll has both a state and an append");
    request.input = dispatch_bool(false);
    request.now_ns = 0;
    error_is(run(*state, &request), DISPATCH_INVALID_RESPONSE, "InvalidOutput",
             "a poll has an append, which this orchestrator does not know");
}

/* Gives the output that its input names. */
static struct dispatch_output answers(struct dispatch_ctx *ctx, const struct dispatch_input *input)
{
    struct dispatch_call tail = dispatch_to("next", dispatch_string("in"));
    struct dispatch_poll poll = {.state = dispatch_string("\xff")};
    struct dispatch_failure failure;
    struct dispatch_value value;
    const char *what;

    assert_int_equal(dispatch_input_arguments(input, &value, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_string_equal(failure.message, "input does not hold arguments");
    assert_int_equal(dispatch_input_value(input, &value, NULL), 0);
    what = dispatch_as_string(value, NULL);
    if (strcmp(what, "tail") == 0)
        return dispatch_output_tail_call(ctx, &tail, DISPATCH_TEMPORARY_ERROR);
    if (strcmp(what, "bare") == 0)
        return dispatch_output_exit(ctx, NULL, NULL, DISPATCH_OK);
    if (strcmp(what, "poll") == 0)
        return dispatch_output_poll(ctx, &poll);
    if (strcmp(what, "null") == 0)
        return dispatch_output_value(ctx, dispatch_null());
    return (struct dispatch_output){0};
}

static void test_outputs(void **state)
{
    struct fixture *f = *state;
    const struct dispatch_response *r = call(f, "answers", dispatch_string("tail"));

    assert_int_equal(r->status, DISPATCH_TEMPORARY_ERROR);
    assert_null(r->result);
    assert_string_equal(r->tail_call->function, "next");
    assert_string_equal(dispatch_as_string(r->tail_call->input, NULL), "in");
    r = call(f, "answers", dispatch_string("bare"));
    assert_int_equal(r->status, DISPATCH_OK);
    assert_true(!r->result && !r->tail_call && !r->poll);
    r = call(f, "answers", dispatch_string("null"));
    assert_non_null(r->result); /* there, though empty */
    assert_true(dispatch_is_null(r->result->output));
    r = call(f, "answers", dispatch_string("poll"));
    error_is(r, DISPATCH_INVALID_RESPONSE, "InvalidOutput", "a string value is not UTF-8");
    r = call(f, "answers", dispatch_string("nothing"));
    error_is(r, DISPATCH_INVALID_RESPONSE, "InvalidOutput", "the function returned no output");
}

static void test_incompatible(void **state)
{
    struct dispatch_run_request request = {.function = "greet", .resume = true};

    assert_int_equal(run(*state, &request)->status, DISPATCH_INCOMPATIBLE_STATE);
}

/* --- the endpoint ----------------------------------------------------------------------------- */

static void refused(struct fixture *f, const void *bytes, size_t size, int http_status,
                    const char *body)
{
    struct answer answer;

    sem_init(&answer.there, 0, 0);
    dispatch_endpoint_handle(f->endpoint, bytes, size, on_reply, &answer);
    wait_for(&answer);
    assert_int_equal(answer.http_status, http_status);
    assert_string_equal(answer.content_type, "application/json");
    assert_string_equal(answer.body, body);
}

static void test_refusals(void **state)
{
    refused(*state, "", 0, 400,
            "{\"code\":\"invalid_argument\",\"message\":\"function is required\"}");
    refused(*state, "\x0a\x03nix", 5, 404,
            "{\"code\":\"not_found\",\"message\":\"function 'nix' does not exist\"}");
    refused(*state, "\x0a\x10greet", 7, 400,
            "{\"code\":\"invalid_argument\",\"message\":\"the body is not a RunRequest\"}");
    refused(*state, "\x0a\x05greet\x12\x02\x08\x01", 11, 400,
            "{\"code\":\"invalid_argument\",\"message\":\"input.type_url: malformed: of another "
            "type than this field\"}");
}

static void test_joining(void **state)
{
    struct fixture *f = *state;
    struct dispatch_run_request request = {
        .function = "blocks", .dispatch_id = "same", .input = dispatch_int(1)};
    struct answer first, second, third, fourth;

    send(f, &first, &request);
    while (sem_wait(&entered))
        ;
    send(f, &second, &request); /* joins */
    request.input = dispatch_int(2);
    send(f, &third, &request); /* another request of the same call */
    wait_for(&third);
    error_is(response_of(f, &third), DISPATCH_TEMPORARY_ERROR, "Running",
             "another run of this call has not ended here");
    sem_post(&gate);
    wait_for(&first);
    wait_for(&second);
    assert_int_equal(response_of(f, &first)->status, DISPATCH_OK);
    assert_memory_equal(first.body, second.body, first.size);
    assert_int_equal(first.size, second.size);

    send(f, &fourth, &request); /* a new run, as the first has ended */
    while (sem_wait(&entered))
        ;
    sem_post(&gate);
    wait_for(&fourth);
    assert_int_equal(response_of(f, &fourth)->status, DISPATCH_OK);
}

/* What the orchestrator's next attempt of a run differs in: its clock, and nothing else. */
static void test_joining_later(void **state)
{
    static const char resume[] = "\xc8\x3e\x01"; /* 1001: 1 */
    static const char at_1[] = "\xd2\x3e\x02\x08\x01", at_2[] = "\xd2\x3e\x02\x08\x02"; /* 1002 */
    struct fixture *f = *state;
    struct dispatch_run_request request = {
        .function = "blocks", .dispatch_id = "slow", .input = dispatch_int(1)};
    struct answer first, second, third, fourth;

    send_with(f, &first, &request, slice_str(at_1));
    while (sem_wait(&entered))
        ;
    send_with(f, &second, &request, slice_str(at_2)); /* joins */
    send_with(f, &third, &request, slice_str(resume));
    wait_for(&third);
    error_is(response_of(f, &third), DISPATCH_TEMPORARY_ERROR, "Running",
             "another run of this call has not ended here");
    send(f, &fourth, &request); /* without a clock: nobody's next attempt */
    wait_for(&fourth);
    error_is(response_of(f, &fourth), DISPATCH_TEMPORARY_ERROR, "Running",
             "another run of this call has not ended here");
    sem_post(&gate);
    wait_for(&first);
    wait_for(&second);
    assert_int_equal(response_of(f, &second)->status, DISPATCH_OK);
    assert_memory_equal(first.body, second.body, first.size);
}

static void test_full_queue(void **state)
{
    struct dispatch_endpoint_options options = {.workers = 1, .max_queue = 1};
    struct fixture *f = *state, small = {.registry = f->registry};
    struct dispatch_run_request request = {.function = "blocks"};
    struct answer running, queued, refused_one;

    options.registry = f->registry;
    assert_int_equal(dispatch_endpoint_create(&options, &small.endpoint, NULL), 0);
    send(&small, &running, &request);
    while (sem_wait(&entered))
        ;
    send(&small, &queued, &request);
    send(&small, &refused_one, &request);
    wait_for(&refused_one);
    error_is(response_of(&small, &refused_one), DISPATCH_THROTTLED, "Throttled",
             "the endpoint's queue of runs is full");
    sem_post(&gate);
    sem_post(&gate);
    wait_for(&running);
    wait_for(&queued);
    while (sem_wait(&entered))
        ;
    assert_true(dispatch_endpoint_stop(small.endpoint, 1000));
    send(&small, &refused_one, &request);
    wait_for(&refused_one);
    assert_int_equal(refused_one.http_status, 503);
    dispatch_response_free(&small.response);
    dispatch_endpoint_destroy(small.endpoint);
}

/* Runs that block keep no other waiting while there are workers: all are in the function at once.
 */
static void test_side_by_side(void **state)
{
    struct dispatch_endpoint_options options = {.workers = 4};
    struct fixture *f = *state, four = {.registry = f->registry};
    struct dispatch_run_request request = {.function = "blocks"};
    struct answer answers[4];

    options.registry = f->registry;
    assert_int_equal(dispatch_endpoint_create(&options, &four.endpoint, NULL), 0);
    for (int turn = 0; turn < 100; turn++) {
        for (int i = 0; i < 4; i++)
            send(&four, &answers[i], &request);
        for (int i = 0; i < 4; i++)
            while (sem_wait(&entered))
                ;
        for (int i = 0; i < 4; i++)
            sem_post(&gate);
        for (int i = 0; i < 4; i++)
            wait_for(&answers[i]);
    }
    dispatch_endpoint_destroy(four.endpoint);
}

static void test_stop_waits(void **state)
{
    struct fixture *f = *state, other = {.registry = f->registry};
    struct dispatch_endpoint_options options = {.registry = f->registry};
    struct dispatch_run_request request = {.function = "blocks"};
    struct answer answer;

    assert_int_equal(dispatch_endpoint_create(&options, &other.endpoint, NULL), 0);
    send(&other, &answer, &request);
    while (sem_wait(&entered))
        ;
    assert_false(dispatch_endpoint_stop(other.endpoint, 1));
    sem_post(&gate);
    assert_true(dispatch_endpoint_stop(other.endpoint, 60000));
    wait_for(&answer);
    assert_int_equal(answer.http_status, 200);
    dispatch_endpoint_destroy(other.endpoint);
}

/* --- the lower layer -------------------------------------------------------------------------- */

static void *answer_later(void *arg)
{
    struct dispatch_request *request = arg;
    struct dispatch_ctx *ctx = NULL;
    struct dispatch_output output;
    const void *bytes;
    size_t size;

    bytes = dispatch_request_bytes(request, &size);
    assert_int_equal(dispatch_ctx_create(bytes, size, &ctx, NULL), 0);
    output = dispatch_output_value(
        ctx, dispatch_string(dispatch_printf(ctx, "raw %s", dispatch_request_function(request))));
    bytes = dispatch_output_bytes(output, &size);
    dispatch_request_answer(request, bytes, size);
    dispatch_ctx_destroy(ctx);
    return NULL;
}

static void raw(void *arg, struct dispatch_request *request)
{
    pthread_t *thread = arg;

    assert_int_equal(pthread_create(thread, NULL, answer_later, request), 0);
}

static void raw_refuses(void *arg, struct dispatch_request *request)
{
    dispatch_request_refuse(request, DISPATCH_CODE_INTERNAL, arg);
}

static void test_raw(void **state)
{
    struct fixture *f = *state;
    const struct dispatch_response *r;
    char text[] = "function 'x' fatal error";
    struct dispatch_run_request request = {.function = "anything"};
    struct answer answer;
    pthread_t thread;

    assert_int_equal(dispatch_register_raw(f->registry, "raw", raw, &thread, NULL), 0);
    r = call(f, "raw", dispatch_null());
    assert_string_equal(dispatch_as_string(r->result->output, NULL), "raw raw");
    pthread_join(thread, NULL);

    dispatch_register_fallback(f->registry, raw_refuses, text);
    send(f, &answer, &request);
    wait_for(&answer);
    assert_int_equal(answer.http_status, 500);
    assert_string_equal(answer.body,
                        "{\"code\":\"internal\",\"message\":\"function 'x' fatal error\"}");
    dispatch_register_fallback(f->registry, NULL, NULL);
    refused(f, "\x0a\x03nix", 5, 404,
            "{\"code\":\"not_found\",\"message\":\"function 'nix' does not exist\"}");
}

struct exits {
    int count;
    char id[32];
    enum dispatch_status status;
};

static void on_exit_hook(void *arg, const char *id, const struct dispatch_result *result)
{
    struct exits *exits = arg;

    exits->count++;
    snprintf(exits->id, sizeof exits->id, "%s", id);
    exits->status = result->status;
}

static void test_exit_hook(void **state)
{
    struct exits exits = {0};
    struct fixture *f = *state, hooked = {0};
    struct dispatch_endpoint_options options = {
        .registry = f->registry, .on_exit = on_exit_hook, .arg = &exits};

    assert_int_equal(dispatch_endpoint_create(&options, &hooked.endpoint, NULL), 0);
    call(&hooked, "greet", dispatch_string("x"));
    assert_int_equal(exits.count, 1);
    assert_string_equal(exits.id, "id");
    assert_int_equal(exits.status, DISPATCH_OK);
    call(&hooked, "fails", dispatch_string("errno"));
    assert_int_equal(exits.count, 2);
    assert_int_equal(exits.status, DISPATCH_NOT_FOUND);
    call(&hooked, "fails", dispatch_string("memory")); /* is tried again */
    call(&hooked, "answers", dispatch_string("tail")); /* goes on */
    assert_int_equal(exits.count, 2);
    dispatch_response_free(&hooked.response);
    dispatch_endpoint_destroy(hooked.endpoint);
}

static int set_up(void **state)
{
    static struct fixture f;
    struct dispatch_registry_options options = {.name = "test", .endpoint = "http://localhost:1"};
    struct dispatch_endpoint_options endpoint = {0};

    f = (struct fixture){0};
    sem_init(&gate, 0, 0);
    sem_init(&entered, 0, 0);
    assert_int_equal(dispatch_registry_create(&options, &f.registry, NULL), 0);
    assert_int_equal(dispatch_register(f.registry, "greet", greet, NULL), 0);
    assert_int_equal(dispatch_register(f.registry, "fails", fails, NULL), 0);
    assert_int_equal(dispatch_register(f.registry, "blocks", blocks, NULL), 0);
    assert_int_equal(dispatch_register_primitive(f.registry, "adds", adds, NULL), 0);
    assert_int_equal(dispatch_register_primitive(f.registry, "answers", answers, NULL), 0);
    assert_int_equal(dispatch_register_primitive(f.registry, "extends", extends, NULL), 0);
    endpoint.registry = f.registry;
    assert_int_equal(dispatch_endpoint_create(&endpoint, &f.endpoint, NULL), 0);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    dispatch_response_free(&f->response);
    dispatch_endpoint_destroy(f->endpoint);
    dispatch_registry_close(f->registry);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_functions),    TEST(test_polls),         TEST(test_extended_polls),
        TEST(test_outputs),      TEST(test_incompatible),  TEST(test_refusals),
        TEST(test_joining),      TEST(test_joining_later), TEST(test_full_queue),
        TEST(test_stop_waits),   TEST(test_raw),           TEST(test_exit_hook),
        TEST(test_side_by_side),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
