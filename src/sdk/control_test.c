// SPDX-License-Identifier: Apache-2.0
/* What is done to calls by their id, against an API that this test plays. */
#include "sdk/http_test.h"

#include "sdk/internal.h"

/* The latest request, and what it is answered. */
static struct api {
    struct http_server server;
    char method[64];
    unsigned char body[4096];
    size_t body_size, requests;
    int status;   /* 0: an answer of the method */
    int drop;     /* so many requests are not answered */
    bool nothing; /* answer with an empty message */
} api;

static struct dispatch_client *client;

static struct http_answer pack(const ProtobufCMessage *message)
{
    struct http_answer answer = {.status = 200};

    answer.size = protobuf_c_message_get_packed_size(message);
    answer.body = malloc(answer.size + 1);
    protobuf_c_message_pack(message, answer.body);
    return answer;
}

static struct http_answer answer_get(void)
{
    Dispatch__V1__GetResponse message = DISPATCH__V1__GET_RESPONSE__INIT;
    Dispatch__V1__CallInfo info = DISPATCH__V1__CALL_INFO__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    char id[] = "id", root[] = "root", function[] = "f", type[] = "Bad", text[] = "it is";
    struct http_answer answer;
    struct arena arena;

    arena_init(&arena, 65536);
    error.type = type;
    error.message = text;
    info.dispatch_id = id;
    info.root_dispatch_id = root;
    info.function = function;
    info.state = DISPATCH__V1__STATE__STATE_DONE;
    info.status = DISPATCH__SDK__V1__STATUS__STATUS_NOT_FOUND;
    info.result = &result;
    info.attempts = 7;
    info.generation = 1;
    info.resumes = 2;
    info.outstanding = 3;
    info.last_error = &error;
    info.creation_time = wire_time_new(&arena, 1500000000);
    sdk_any_from_value(dispatch_string("in"), &arena, &info.input, NULL);
    sdk_any_from_value(dispatch_bytes("st", 2), &arena, &info.coroutine_state, NULL);
    message.call = api.nothing ? NULL : &info;
    answer = pack(&message.base);
    arena_reset(&arena);
    return answer;
}

static struct http_answer on_request(void *arg, const struct http_message *message)
{
    Dispatch__V1__RetryResponse retry = DISPATCH__V1__RETRY_RESPONSE__INIT;
    Dispatch__V1__CancelResponse empty = DISPATCH__V1__CANCEL_RESPONSE__INIT;
    static const char refusal[] = "{\"code\":\"not_found\",\"message\":\"no such call\"}";
    char id[] = "new";

    (void)arg;
    sscanf(message->head, "POST /dispatch.v1.CallService/%63s ", api.method);
    assert_null(strcasestr(message->head, "idempotency-key"));
    assert_true(message->body_size <= sizeof api.body);
    memcpy(api.body, message->body, message->body_size);
    api.body_size = message->body_size;
    api.requests++;
    if (api.drop > 0) {
        api.drop--;
        return (struct http_answer){0};
    }
    if (api.status)
        return (struct http_answer){.status = api.status,
                                    .content_type = "application/json",
                                    .body = strdup(refusal),
                                    .size = sizeof refusal - 1};
    if (strcmp(api.method, "Get") == 0)
        return answer_get();
    retry.dispatch_id = id;
    return pack(strcmp(api.method, "Retry") == 0 ? &retry.base : &empty.base);
}

static int setup(void **state)
{
    (void)state;
    http_sync(&api.server);
    api.status = api.drop = 0;
    api.requests = 0;
    api.nothing = false;
    memset(api.method, 0, sizeof api.method);
    return 0;
}

/* The latest request, which was for that method. */
static void *asked(const char *method, const ProtobufCMessageDescriptor *type, struct arena *arena)
{
    void *message = NULL;

    http_sync(&api.server);
    assert_string_equal(api.method, method);
    arena_init(arena, 65536);
    assert_int_equal(wire_unpack(type, slice(api.body, api.body_size), arena, &message, NULL), 0);
    return message;
}

static void test_complete(void **state)
{
    struct dispatch_result yes = dispatch_ok(dispatch_bool(true)), no = {0};
    struct dispatch_error error = {.status = DISPATCH_NOT_FOUND, .type = "T", .message = "m"};
    Dispatch__V1__CompleteRequest *request;
    struct dispatch_value value;
    struct arena arena;
    bool output = false;

    (void)state;
    assert_int_equal(dispatch_client_complete(client, NULL, "key-1", &yes, NULL), 0);
    request = asked("Complete", &dispatch__v1__complete_request__descriptor, &arena);
    assert_string_equal(request->key, "key-1");
    assert_string_equal(request->dispatch_id, "");
    assert_int_equal(sdk_value_from_any(request->output, &arena, &value, NULL), 0);
    assert_true(dispatch_as_bool(value, &output) && output);
    assert_null(request->error);
    arena_reset(&arena);

    no.error = &error;
    assert_int_equal(dispatch_client_complete(client, "id-1", NULL, &no, NULL), 0);
    request = asked("Complete", &dispatch__v1__complete_request__descriptor, &arena);
    assert_string_equal(request->dispatch_id, "id-1");
    assert_string_equal(request->error->message, "m");
    assert_int_equal(request->error->status, DISPATCH_NOT_FOUND);
    assert_null(request->output);
    arena_reset(&arena);
}

static void test_bad_arguments(void **state)
{
    struct dispatch_result bad = dispatch_ok(dispatch_json("{"));
    struct dispatch_failure failure = {0};

    (void)state;
    assert_int_equal(dispatch_client_complete(client, "id", "key", &bad, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_string_equal(failure.message, "a call is completed either by its id or by its key");
    assert_int_equal(dispatch_client_complete(client, "", NULL, &bad, NULL),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_int_equal(dispatch_client_complete(client, "id", NULL, &bad, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "not valid JSON"));
    assert_int_equal(dispatch_client_cancel(client, NULL, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_string_equal(failure.message, "missing dispatch id");
    assert_int_equal(api.requests, 0);
}

static void test_cancel_restart_retry(void **state)
{
    Dispatch__V1__RestartRequest *restart;
    Dispatch__V1__CancelRequest *cancel;
    Dispatch__V1__RetryRequest *retry;
    struct dispatch_ids ids = {0};
    struct arena arena;

    (void)state;
    assert_int_equal(dispatch_client_cancel(client, "a", NULL), 0);
    cancel = asked("Cancel", &dispatch__v1__cancel_request__descriptor, &arena);
    assert_string_equal(cancel->dispatch_id, "a");
    arena_reset(&arena);
    assert_int_equal(dispatch_client_restart(client, "b", NULL), 0);
    restart = asked("Restart", &dispatch__v1__restart_request__descriptor, &arena);
    assert_string_equal(restart->dispatch_id, "b");
    arena_reset(&arena);
    assert_int_equal(dispatch_client_retry(client, "c", &ids, NULL), 0);
    retry = asked("Retry", &dispatch__v1__retry_request__descriptor, &arena);
    assert_string_equal(retry->dispatch_id, "c");
    arena_reset(&arena);
    assert_int_equal(ids.count, 1);
    assert_string_equal(ids.id[0], "new");
    dispatch_ids_free(&ids);
    assert_int_equal(dispatch_client_retry(client, "c", NULL, NULL), 0);
}

static void test_get(void **state)
{
    struct dispatch_failure failure = {0};
    struct dispatch_call_info info;
    Dispatch__V1__GetRequest *request;
    struct arena arena;
    size_t size = 0;

    (void)state;
    assert_int_equal(dispatch_client_get(client, "id", true, &info, NULL), 0);
    request = asked("Get", &dispatch__v1__get_request__descriptor, &arena);
    assert_string_equal(request->dispatch_id, "id");
    assert_true(request->include_state);
    arena_reset(&arena);
    assert_string_equal(info.dispatch_id, "id");
    assert_string_equal(info.root_dispatch_id, "root");
    assert_string_equal(info.parent_dispatch_id, "");
    assert_string_equal(info.function, "f");
    assert_string_equal(dispatch_call_state_name(info.state), "done");
    assert_string_equal(dispatch_call_state_name((enum dispatch_call_state)99), "unknown");
    assert_int_equal(info.status, DISPATCH_NOT_FOUND);
    assert_int_equal(info.creation_time_ns, 1500000000);
    assert_int_equal(info.done_time_ns, 0);
    assert_true(info.attempts == 7 && info.generation == 1 && info.resumes == 2);
    assert_int_equal(info.outstanding, 3);
    assert_string_equal(dispatch_as_string(info.input, NULL), "in");
    assert_memory_equal(dispatch_as_bytes(info.coroutine_state, &size), "st", 2);
    assert_int_equal(info.result->status, DISPATCH_NOT_FOUND);
    assert_non_null(info.result->error);
    assert_string_equal(info.last_error->message, "it is");
    dispatch_call_info_free(&info);
    dispatch_call_info_free(&info);

    http_sync(&api.server);
    api.nothing = true;
    assert_int_equal(dispatch_client_get(client, "id", false, &info, &failure),
                     DISPATCH_CODE_INTERNAL);
    assert_string_equal(failure.message, "the API told nothing of the call");
}

/* Only what changes nothing is asked again when its answer was lost. */
static void test_lost_answers(void **state)
{
    struct dispatch_call_info info;

    (void)state;
    api.drop = 1;
    http_sync(&api.server);
    assert_int_equal(dispatch_client_get(client, "id", false, &info, NULL), 0);
    dispatch_call_info_free(&info);
    http_sync(&api.server);
    assert_int_equal(api.requests, 2);
    api.drop = 1;
    http_sync(&api.server);
    assert_int_equal(dispatch_client_cancel(client, "id", NULL), DISPATCH_CODE_UNAVAILABLE);
    http_sync(&api.server);
    assert_int_equal(api.requests, 3);
}

static void test_refusals(void **state)
{
    struct dispatch_failure failure = {0};

    (void)state;
    api.status = 404;
    http_sync(&api.server);
    assert_int_equal(dispatch_client_restart(client, "id", &failure), DISPATCH_CODE_NOT_FOUND);
    assert_int_equal(failure.http_status, 404);
    assert_string_equal(failure.message, "no such call");
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    struct dispatch_client_options options = {.api_key = "k"};
    const struct CMUnitTest tests[] = {
        TEST(test_complete), TEST(test_bad_arguments), TEST(test_cancel_restart_retry),
        TEST(test_get),      TEST(test_lost_answers),  TEST(test_refusals),
    };
    char url[64];
    int failures;

    api.server.handle = on_request;
    http_start(&api.server, 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", api.server.port);
    options.api_url = url;
    if (dispatch_client_create(&options, &client, NULL))
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    dispatch_client_destroy(client);
    http_stop(&api.server);
    return failures;
}
