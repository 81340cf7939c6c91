// SPDX-License-Identifier: Apache-2.0
/* The client against an API that this test plays. */
#include "sdk/http_test.h"

#include <poll.h>

#include "sdk/internal.h"

/* What the API answers: a script of steps; the last one repeats. */
struct step {
    int status;
    const char *json; /* the body, if set; else a message made by the next */
    int ids;          /* of a DispatchResponse */
    bool done;        /* of a WaitResponse */
    bool fails;       /* the call in it */
};

struct api {
    struct http_server server;
    pthread_cond_t asked;
    const struct step *steps;
    size_t step_count, at;
    char head[8192]; /* of the latest request */
    size_t calls;    /* in the latest DispatchRequest */
    char id[64];     /* in the latest WaitRequest */
    char key[64];    /* of the latest Dispatch */
    size_t same_key; /* Dispatches with the key of the one before */
    char url[64];
};

static void *pack(const ProtobufCMessage *message, size_t *size)
{
    void *bytes;

    *size = protobuf_c_message_get_packed_size(message);
    bytes = malloc(*size + 1);
    protobuf_c_message_pack(message, bytes);
    return bytes;
}

static void *pack_ids(int count, size_t *size)
{
    wire_dispatch_response message = DISPATCH__SDK__V1__DISPATCH_RESPONSE__INIT;
    char first[] = "id-1", second[] = "id-2", *ids[] = {first, second};

    message.dispatch_ids = ids;
    message.n_dispatch_ids = (size_t)count;
    return pack(&message.base, size);
}

static void *pack_call(const struct step *step, size_t *size)
{
    Dispatch__V1__WaitResponse message = DISPATCH__V1__WAIT_RESPONSE__INIT;
    Dispatch__V1__CallInfo info = DISPATCH__V1__CALL_INFO__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    char type[] = "Bad", text[] = "it is";
    struct dispatch_value output = dispatch_string("out");
    struct arena arena;
    void *bytes;

    arena_init(&arena, 65536);
    error.type = type;
    error.message = text;
    if (step->fails)
        result.error = &error;
    else
        assert_int_equal(sdk_any_from_value(output, &arena, &result.output, NULL), 0);
    info.state = step->done ? DISPATCH__V1__STATE__STATE_DONE : DISPATCH__V1__STATE__STATE_RUNNING;
    if (step->done) {
        info.result = &result;
        info.status = step->fails ? DISPATCH__SDK__V1__STATUS__STATUS_NOT_FOUND
                                  : DISPATCH__SDK__V1__STATUS__STATUS_OK;
    }
    message.call = &info;
    bytes = pack(&message.base, size);
    arena_reset(&arena);
    return bytes;
}

static void look_at_key(struct api *api, const char *line)
{
    char key[64] = "";

    assert_non_null(line);
    line += strlen("\r\nidempotency-key: ");
    snprintf(key, sizeof key, "%.*s", (int)strcspn(line, "\r"), line);
    assert_int_equal(strlen(key), 32);
    api->same_key += strcmp(key, api->key) == 0;
    memcpy(api->key, key, sizeof key);
}

static void look_at(struct api *api, const struct http_message *request)
{
    struct slice body = slice(request->body, request->body_size);
    Dispatch__V1__WaitRequest *wait;
    wire_dispatch_request *dispatch;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    memcpy(api->head, request->head, sizeof api->head);
    if (strstr(request->head, ".CallService/Wait ")) {
        assert_int_equal(
            wire_unpack(&dispatch__v1__wait_request__descriptor, body, &arena, &wait, NULL), 0);
        snprintf(api->id, sizeof api->id, "%s", wait->dispatch_id);
    } else {
        assert_int_equal(wire_unpack(&dispatch__sdk__v1__dispatch_request__descriptor, body, &arena,
                                     &dispatch, NULL),
                         0);
        api->calls = dispatch->n_calls;
        look_at_key(api, strcasestr(api->head, "\r\nidempotency-key: "));
    }
    arena_reset(&arena);
}

static struct http_answer on_request(void *arg, const struct http_message *request)
{
    struct http_answer answer = {0};
    struct api *api = arg;
    const struct step *step;

    look_at(api, request);
    step = &api->steps[api->at < api->step_count ? api->at : api->step_count - 1];
    api->at++;
    pthread_cond_broadcast(&api->asked);
    answer.status = step->status;
    answer.content_type = step->json ? "application/json" : "application/proto";
    if (step->json) {
        answer.body = strdup(step->json);
        answer.size = strlen(step->json);
    } else if (step->ids) {
        answer.body = pack_ids(step->ids, &answer.size);
    } else {
        answer.body = pack_call(step, &answer.size);
    }
    return answer;
}

static void api_start(struct api *api, const struct step *steps, size_t count)
{
    *api = (struct api){.steps = steps, .step_count = count};
    pthread_cond_init(&api->asked, NULL);
    api->server.handle = on_request;
    api->server.arg = api;
    http_start(&api->server, 0);
    snprintf(api->url, sizeof api->url, "http://127.0.0.1:%u/", api->server.port);
}

static struct dispatch_client *client_of(const struct api *api, const char *key)
{
    struct dispatch_client_options options = {.api_key = key, .api_url = api->url};
    struct dispatch_client *client = NULL;

    assert_int_equal(dispatch_client_create(&options, &client, NULL), 0);
    return client;
}

static struct dispatch_call to_f(void)
{
    struct dispatch_call call = dispatch_to("f", dispatch_int(1));

    call.endpoint = "http://localhost:8000";
    return call;
}

/* --- Dispatch --------------------------------------------------------------------------------- */

static void test_dispatch(void **state)
{
    const struct step steps[] = {{200, NULL, 2, false, false}};
    struct dispatch_call calls[2] = {to_f(), to_f()};
    struct dispatch_failure failure;
    struct dispatch_ids ids = {0};
    struct dispatch_client *client;
    struct api api;

    (void)state;
    api_start(&api, steps, 1);
    client = client_of(&api, "secret");
    assert_int_equal(dispatch_client_dispatch(client, calls, 2, &ids, NULL), 0);
    assert_int_equal(ids.count, 2);
    assert_string_equal(ids.id[0], "id-1");
    assert_string_equal(ids.id[1], "id-2");
    http_sync(&api.server);
    assert_int_equal(api.calls, 2);
    assert_non_null(
        strstr(api.head, "POST /dispatch.sdk.v1.DispatchService/Dispatch HTTP/1.1\r\n"));
    assert_non_null(strcasestr(api.head, "\r\nauthorization: Bearer secret\r\n"));
    assert_non_null(strcasestr(api.head, "\r\ncontent-type: application/proto\r\n"));
    assert_non_null(strcasestr(api.head, "\r\nconnect-protocol-version: 1\r\n"));
    dispatch_ids_free(&ids);
    dispatch_ids_free(&ids);

    assert_int_equal(dispatch_client_dispatch(client, calls, 1, &ids, &failure),
                     DISPATCH_CODE_INTERNAL);
    assert_string_equal(failure.message, "the API answered 1 calls with 2 ids");
    calls[0].endpoint = NULL;
    assert_int_equal(dispatch_client_dispatch(client, calls, 1, &ids, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_string_equal(failure.message, "a call to 'f' has no endpoint");
    assert_int_equal(dispatch_client_dispatch(client, NULL, 0, &ids, NULL), 0);
    assert_int_equal(ids.count, 0);
    http_sync(&api.server);
    assert_int_equal(api.at, 2); /* no request for no calls, nor for a bad one */
    dispatch_client_destroy(client);
    http_stop(&api.server);
}

/* A failure that passes is tried again until the time is up; any other is final. */
static void dispatch_fails(const struct step *step, const char *key, int code, const char *message,
                           bool passing)
{
    struct dispatch_client_options options = {.api_key = key, .timeout_ms = passing ? 2000 : 0};
    struct dispatch_failure failure = {0};
    struct dispatch_call call = to_f();
    struct dispatch_client *client = NULL;
    struct api api;

    api_start(&api, step, 1);
    options.api_url = api.url;
    assert_int_equal(dispatch_client_create(&options, &client, NULL), 0);
    assert_int_equal(dispatch_client_dispatch(client, &call, 1, NULL, &failure), code);
    assert_int_equal(failure.code, code);
    assert_int_equal(failure.http_status, step->status);
    assert_non_null(strstr(failure.message, message));
    http_sync(&api.server);
    assert_true(passing ? api.at >= 1 : api.at == 1);
    assert_int_equal(api.same_key, api.at - 1);
    dispatch_client_destroy(client);
    http_stop(&api.server);
}

static void test_dispatch_failures(void **state)
{
    const char *invalid = "Dispatch received an invalid authentication token (check %s is correct)";
    char text[128];

    (void)state;
    snprintf(text, sizeof text, invalid, "api_key");
    dispatch_fails(&(struct step){401, "{\"code\":\"unauthenticated\"}", 0, false, false}, "k",
                   DISPATCH_CODE_UNAUTHENTICATED, text, false);
    setenv("DISPATCH_API_KEY", "k", 1);
    snprintf(text, sizeof text, invalid, "DISPATCH_API_KEY");
    dispatch_fails(&(struct step){401, "who?", 0, false, false}, NULL,
                   DISPATCH_CODE_UNAUTHENTICATED, text, false);
    unsetenv("DISPATCH_API_KEY");
    dispatch_fails(&(struct step){400,
                                  "{\"code\":\"invalid_argument\",\"message\":\"calls[0]: no\"}", 0,
                                  false, false},
                   "k", DISPATCH_CODE_INVALID_ARGUMENT, "calls[0]: no", false);
    dispatch_fails(&(struct step){409, "{\"code\":\"already_exists\"}", 0, false, false}, "k",
                   DISPATCH_CODE_ALREADY_EXISTS, "", false);
    dispatch_fails(
        &(struct step){503, "{\"code\":\"unavailable\",\"message\":\"no disk\"}", 0, false, false},
        "k", DISPATCH_CODE_UNAVAILABLE, "no disk", true);
    dispatch_fails(&(struct step){502, "<html>", 0, false, false}, "k", DISPATCH_CODE_UNAVAILABLE,
                   "HTTP status 502: <html>", true);
    dispatch_fails(&(struct step){0, NULL, 1, false, false}, "k", DISPATCH_CODE_UNAVAILABLE,
                   "cannot reach the Dispatch API at http://127.0.0.1:", true);
}

/* An answer that is lost, and a server that restarts: the same request with the same key goes
 * again; another Dispatch has another key. */
static void test_dispatch_goes_again(void **state)
{
    const struct step steps[] = {{0, NULL, 1, false, false},
                                 {503, "{\"code\":\"unavailable\"}", 0, false, false},
                                 {0, NULL, 1, false, false},
                                 {200, NULL, 1, false, false}};
    struct dispatch_call call = to_f();
    struct dispatch_ids ids = {0};
    struct dispatch_client *client;
    struct api api;

    (void)state;
    api_start(&api, steps, 4);
    client = client_of(&api, "k");
    assert_int_equal(dispatch_client_dispatch(client, &call, 1, &ids, NULL), 0);
    assert_int_equal(ids.count, 1);
    dispatch_ids_free(&ids);
    http_sync(&api.server);
    assert_int_equal(api.at, 4);
    assert_int_equal(api.same_key, 3);
    assert_int_equal(dispatch_client_dispatch(client, &call, 1, &ids, NULL), 0);
    dispatch_ids_free(&ids);
    http_sync(&api.server);
    assert_int_equal(api.at, 5);
    assert_int_equal(api.same_key, 3);
    dispatch_client_destroy(client);
    http_stop(&api.server);
}

/* The API comes up only while the client is trying already: a port is reserved, closed, and opened
 * again when the first attempt must have found it closed. */
static void *start_later(void *arg)
{
    struct api *api = arg;

    http_start(&api->server, api->server.port);
    return NULL;
}

static void test_dispatch_before_server(void **state)
{
    const struct step steps[] = {{200, NULL, 1, false, false}};
    struct dispatch_operation *operation = NULL, *finished;
    struct dispatch_failure failure = {0};
    struct dispatch_call call = to_f();
    struct dispatch_ids ids = {0};
    struct dispatch_client *client;
    struct api api;
    pthread_t thread;
    struct pollfd fd;

    (void)state;
    api_start(&api, steps, 1);
    http_stop(&api.server);
    client = client_of(&api, "k");
    assert_int_equal(dispatch_client_begin_dispatch(client, &call, 1, &api, &operation, NULL), 0);
    assert_null(dispatch_client_next(client));
    assert_int_equal(dispatch_operation_ids(operation, &ids, &failure),
                     DISPATCH_CODE_FAILED_PRECONDITION);
    pthread_create(&thread, NULL, start_later, &api);
    pthread_join(thread, NULL);
    fd = (struct pollfd){.fd = dispatch_client_descriptor(client), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 20000), 1);
    finished = dispatch_client_next(client);
    assert_ptr_equal(finished, operation);
    assert_ptr_equal(dispatch_operation_arg(finished), &api);
    assert_null(dispatch_client_next(client));
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_int_equal(dispatch_operation_ids(finished, &ids, NULL), 0);
    assert_int_equal(ids.count, 1);
    assert_int_not_equal(dispatch_operation_ids(finished, &ids, NULL), 0);
    dispatch_ids_free(&ids);
    dispatch_operation_destroy(finished);
    dispatch_client_destroy(client);
    http_stop(&api.server);
}

static void test_nobody_there(void **state)
{
    const struct step steps[] = {{200, NULL, 1, false, false}};
    struct dispatch_client_options options = {.api_key = "k", .connect_retry_ms = 1};
    struct dispatch_failure failure = {0};
    struct dispatch_client *client = NULL;
    struct dispatch_call call = to_f();
    struct api api;

    (void)state;
    api_start(&api, steps, 1);
    http_stop(&api.server);
    options.api_url = api.url;
    assert_int_equal(dispatch_client_create(&options, &client, NULL), 0);
    assert_int_equal(dispatch_client_dispatch(client, &call, 1, NULL, &failure),
                     DISPATCH_CODE_UNAVAILABLE);
    assert_non_null(strstr(failure.message, "cannot reach the Dispatch API"));
    assert_non_null(strstr(failure.message, "refused"));
    dispatch_client_destroy(client);
}

/* The time for an answer does not run while nobody listens. */
static void test_late_server(void **state)
{
    const struct step steps[] = {{200, NULL, 1, false, false}};
    struct dispatch_client_options options = {
        .api_key = "k", .timeout_ms = 1000, .connect_retry_ms = 60000};
    struct timespec longer = {.tv_sec = 1, .tv_nsec = 200000000};
    struct dispatch_operation *operation = NULL;
    struct dispatch_client *client = NULL;
    struct dispatch_call call = to_f();
    struct dispatch_ids ids = {0};
    struct api api;
    struct pollfd fd;

    (void)state;
    api_start(&api, steps, 1);
    http_stop(&api.server);
    options.api_url = api.url;
    assert_int_equal(dispatch_client_create(&options, &client, NULL), 0);
    assert_int_equal(dispatch_client_begin_dispatch(client, &call, 1, NULL, &operation, NULL), 0);
    nanosleep(&longer, NULL); /* it is about time that passes */
    start_later(&api);
    fd = (struct pollfd){.fd = dispatch_client_descriptor(client), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 20000), 1);
    assert_ptr_equal(dispatch_client_next(client), operation);
    assert_int_equal(dispatch_operation_ids(operation, &ids, NULL), 0);
    assert_int_equal(ids.count, 1);
    http_sync(&api.server);
    assert_null(strcasestr(api.head, "connect-timeout-ms: 1\r\n")); /* the least there is */
    dispatch_ids_free(&ids);
    dispatch_operation_destroy(operation);
    dispatch_client_destroy(client);
    http_stop(&api.server);
}

/* --- Wait ------------------------------------------------------------------------------------- */

static void test_wait(void **state)
{
    /* Undone, a crash of the server in the middle, overloaded, restarting, then done. */
    const struct step steps[] = {
        {200, NULL, 0, false, false},
        {0, NULL, 0, false, false},
        {429, "{\"code\":\"resource_exhausted\"}", 0, false, false},
        {503, "{\"code\":\"unavailable\"}", 0, false, false},
        {200, NULL, 0, true, false},
    };
    struct dispatch_result result;
    struct dispatch_client *client;
    struct api api;

    (void)state;
    api_start(&api, steps, 5);
    client = client_of(&api, "k");
    assert_int_equal(dispatch_client_wait(client, "the-id", -1, &result, NULL), 0);
    http_sync(&api.server);
    assert_int_equal(api.at, 5);
    assert_string_equal(api.id, "the-id");
    assert_int_equal(result.status, DISPATCH_OK);
    assert_null(result.error);
    assert_string_equal(result.dispatch_id, "the-id");
    assert_string_equal(dispatch_as_string(result.output, NULL), "out");
    dispatch_result_free(&result);
    dispatch_result_free(&result);
    dispatch_client_destroy(client);
    http_stop(&api.server);
}

static void test_wait_failures(void **state)
{
    const struct step failed[] = {{200, NULL, 0, true, true}};
    const struct step unknown[] = {
        {404, "{\"code\":\"not_found\",\"message\":\"no call\"}", 0, false, false}};
    const struct step slow[] = {{200, NULL, 0, false, false}};
    struct dispatch_failure failure = {0};
    struct dispatch_result result;
    struct dispatch_client *client;
    struct api api;

    (void)state;
    api_start(&api, failed, 1);
    client = client_of(&api, "k");
    assert_int_equal(dispatch_client_wait(client, "x", -1, &result, NULL), 0);
    assert_int_equal(result.status, DISPATCH_NOT_FOUND);
    assert_string_equal(result.error->type, "Bad");
    assert_int_equal(result.error->status, DISPATCH_NOT_FOUND);
    dispatch_result_free(&result);
    api.steps = unknown;
    http_sync(&api.server);
    assert_int_equal(dispatch_client_wait(client, "x", -1, &result, &failure),
                     DISPATCH_CODE_NOT_FOUND);
    assert_string_equal(failure.message, "no call");
    api.steps = slow;
    http_sync(&api.server);
    assert_int_equal(dispatch_client_wait(client, "x", 1, &result, &failure),
                     DISPATCH_CODE_DEADLINE_EXCEEDED);
    assert_non_null(strstr(failure.message, "call x is not done after"));
    assert_int_equal(dispatch_client_wait(client, "", 1, &result, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    dispatch_client_destroy(client);
    http_stop(&api.server);
}

static void wait_until_asked(struct api *api)
{
    pthread_mutex_lock(&api->server.lock);
    while (api->at == 0)
        pthread_cond_wait(&api->asked, &api->server.lock);
    pthread_mutex_unlock(&api->server.lock);
}

static void test_abandoning(void **state)
{
    const struct step slow[] = {{200, NULL, 0, false, false}};
    struct dispatch_operation *operations[3] = {NULL};
    struct dispatch_client *client;
    struct api api;

    (void)state;
    api_start(&api, slow, 1);
    client = client_of(&api, "k");
    for (int i = 0; i < 3; i++)
        assert_int_equal(dispatch_client_begin_wait(client, "x", -1, NULL, &operations[i], NULL),
                         0);
    wait_until_asked(&api);
    dispatch_operation_destroy(operations[0]);
    dispatch_operation_destroy(operations[1]);
    dispatch_operation_destroy(NULL);
    dispatch_client_destroy(client); /* frees the third */
    dispatch_client_destroy(NULL);
    http_stop(&api.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dispatch),
        cmocka_unit_test(test_dispatch_failures),
        cmocka_unit_test(test_dispatch_goes_again),
        cmocka_unit_test(test_dispatch_before_server),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_late_server),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_wait_failures),
        cmocka_unit_test(test_abandoning),
    };

    unsetenv("DISPATCH_API_KEY");
    unsetenv("DISPATCH_API_URL");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
