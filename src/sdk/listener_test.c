// SPDX-License-Identifier: Apache-2.0
/* The endpoint over real HTTP: what it refuses, with the documented words; and a whole dispatch_run
 * against an orchestrator that this test plays. */
#include "sdk/http_test.h"

#include "base/clock.h"
#include "sdk/endpoint.h"
#include "sdk/internal.h"
#include "wire/signature.h"

#define RUN "POST /dispatch.sdk.v1.FunctionService/Run HTTP/1.1\r\nHost: x\r\n"

static struct dispatch_result doubles(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t number;

    if (!dispatch_as_int(input, &number))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoNumber", "not a number");
    return dispatch_ok(dispatch_int(2 * number));
}
DISPATCH_REGISTER(doubles);

/* --- the endpoint ----------------------------------------------------------------------------- */

static void answers(uint16_t port, const char *head, const void *body, size_t size, int status,
                    const char *text)
{
    struct http_message response;

    assert_true(http_ask(port, head, body, size, &response));
    assert_int_equal(response.status, status);
    assert_non_null(strstr((const char *)response.body, text));
    if (*text == '{')
        assert_non_null(strcasestr(response.head, "\r\ncontent-type: application/json\r\n"));
    free(response.body);
}

static void test_refusals(void **state)
{
    const size_t large = SDK_BODY_MAX + 1;
    struct dispatch_endpoint *endpoint = NULL;
    char *zeros = calloc(1, large), head[256];
    uint16_t port;

    (void)state;
    assert_non_null(zeros);
    assert_int_equal(dispatch_endpoint_create(NULL, &endpoint, NULL), 0);
    assert_int_equal(dispatch_endpoint_port(endpoint), 0);
    assert_int_equal(dispatch_endpoint_listen(endpoint, "127.0.0.1:0", NULL), 0);
    assert_int_equal(dispatch_endpoint_listen(endpoint, "127.0.0.1:0", NULL),
                     DISPATCH_CODE_FAILED_PRECONDITION);
    port = dispatch_endpoint_port(endpoint);
    answers(port, "POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n", "x", 1, 404,
            "{\"code\":\"not_found\",\"message\":\"path not found\"}");
    answers(port, RUN "Content-Length: 0\r\n", "", 0, 400,
            "{\"code\":\"invalid_argument\",\"message\":\"content length is required\"}");
    answers(port, RUN, "", 0, 400, "content length is required");
    answers(port, RUN "Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n", 11, 400,
            "content length is required");
    answers(port, RUN "Content-Length: -1\r\n", "", 0, 400, "");
    snprintf(head, sizeof head, RUN "Content-Length: %zu\r\n", large);
    answers(port, head, zeros, large, 400,
            "{\"code\":\"invalid_argument\",\"message\":\"content length is too large\"}");
    answers(port, RUN "Content-Type: text/plain\r\nContent-Length: 1\r\n", "x", 1, 415, "");
    answers(port, "GET /dispatch.sdk.v1.FunctionService/Run HTTP/1.1\r\nHost: x\r\n", "", 0, 405,
            "");
    answers(port, RUN "Content-Length: 2\r\n", "\x0a\x00", 2, 400, "function is required");
    answers(port, RUN "Content-Type: application/octet-stream\r\nContent-Length: 2\r\n", "\x0a\x00",
            2, 400, "function is required");
    answers(port, RUN "Content-Type: application/proto\r\nContent-Length: 5\r\n", "\x0a\x03nix", 5,
            404, "{\"code\":\"not_found\",\"message\":\"function 'nix' does not exist\"}");
    dispatch_endpoint_destroy(endpoint);
    free(zeros);
}

static void test_run_over_http(void **state)
{
    struct dispatch_run_request request = {.function = "doubles", .input = dispatch_int(21)};
    struct dispatch_endpoint *endpoint = NULL;
    struct dispatch_response response;
    struct http_message answer;
    char head[256];
    int64_t number = 0;
    void *bytes = NULL;
    size_t size = 0;

    (void)state;
    assert_int_equal(dispatch_endpoint_create(NULL, &endpoint, NULL), 0);
    assert_int_equal(dispatch_endpoint_listen(endpoint, "localhost:0", NULL), 0);
    assert_int_equal(dispatch_run_request_pack(&request, &bytes, &size, NULL), 0);
    snprintf(head, sizeof head, RUN "Content-Type: application/proto\r\nContent-Length: %zu\r\n",
             size);
    assert_true(http_ask(dispatch_endpoint_port(endpoint), head, bytes, size, &answer));
    assert_int_equal(answer.status, 200);
    assert_non_null(strcasestr(answer.head, "\r\ncontent-type: application/proto\r\n"));
    assert_int_equal(dispatch_response_unpack(answer.body, answer.body_size, &response, NULL), 0);
    assert_true(dispatch_as_int(response.result->output, &number));
    assert_int_equal(number, 42);
    dispatch_response_free(&response);
    free(answer.body);
    dispatch_bytes_free(bytes);
    assert_true(dispatch_endpoint_stop(endpoint, 1000));
    dispatch_endpoint_destroy(endpoint);
}

static void test_address_in_use(void **state)
{
    struct dispatch_endpoint *first = NULL, *second = NULL;
    struct dispatch_failure failure = {0};
    char addr[32];

    (void)state;
    assert_int_equal(dispatch_endpoint_create(NULL, &first, NULL), 0);
    assert_int_equal(dispatch_endpoint_create(NULL, &second, NULL), 0);
    assert_int_equal(dispatch_endpoint_listen(first, "127.0.0.1:0", NULL), 0);
    snprintf(addr, sizeof addr, "127.0.0.1:%u", dispatch_endpoint_port(first));
    assert_int_equal(dispatch_endpoint_listen(second, addr, &failure), DISPATCH_CODE_UNAVAILABLE);
    assert_non_null(strstr(failure.message, addr));
    assert_int_equal(dispatch_endpoint_listen(second, "nonsense", &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    dispatch_endpoint_destroy(first);
    dispatch_endpoint_destroy(second);
}

static void test_no_certificate(void **state)
{
    const char *none = "/nonexistent/cert.pem";
    struct dispatch_endpoint *endpoint = NULL;
    struct dispatch_failure failure = {0};

    (void)state;
    assert_int_equal(dispatch_endpoint_create(NULL, &endpoint, NULL), 0);
    assert_int_equal(dispatch_endpoint_listen_tls(endpoint, "127.0.0.1:0", none, NULL, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "needs both"));
    assert_int_equal(dispatch_endpoint_listen_tls(endpoint, "127.0.0.1:0", none, none, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "/nonexistent/cert.pem: No such file"));
    assert_int_equal(dispatch_endpoint_port(endpoint), 0);
    assert_int_equal(dispatch_endpoint_listen(endpoint, "127.0.0.1:0", NULL), 0);
    dispatch_endpoint_destroy(endpoint);
}

/* --- signatures ------------------------------------------------------------------------------- */

#define HOST "example.com:8000"

/* A run of "doubles", signed now with the key of this seed. */
struct signed_run {
    struct signature_headers headers;
    char public_text[SIGNATURE_PEM_MAX];
    void *bytes;
    size_t size;
};

static void sign_run(struct signed_run *run, uint8_t seed_byte, int64_t age_s)
{
    const struct signature_field type = {slice_str("content-type"), slice_str("application/proto")};
    struct dispatch_run_request doubles_21 = {.function = "doubles", .input = dispatch_int(21)};
    uint8_t seed[32] = {seed_byte};
    struct signature_private key;
    struct signature_public public;
    struct signature_request request = {.method = slice_str("POST"),
                                        .path = slice_str("/dispatch.sdk.v1.FunctionService/Run"),
                                        .authority = slice_str(HOST),
                                        .fields = &type,
                                        .field_count = 1};
    int64_t now_s = clock_now(clock_system()) / NS_PER_S;

    assert_int_equal(dispatch_run_request_pack(&doubles_21, &run->bytes, &run->size, NULL), 0);
    request.body = slice(run->bytes, run->size);
    signature_from_seed(seed, &key);
    signature_public_of(&key, &public);
    signature_write_pem(&public, run->public_text);
    assert_int_equal(signature_sign(&request, &key, now_s - age_s, &run->headers, NULL), 0);
}

static void ask_signed(uint16_t port, const struct signed_run *run, const char *signature,
                       int status, const char *text)
{
    struct http_message answer;
    char head[1024];

    snprintf(head, sizeof head,
             "POST /dispatch.sdk.v1.FunctionService/Run HTTP/1.1\r\nHost: " HOST "\r\n"
             "Content-Type: application/proto\r\nContent-Length: %zu\r\n"
             "Content-Digest: %s\r\nSignature-Input: %s\r\nSignature: %s\r\n",
             run->size, run->headers.content_digest, run->headers.signature_input, signature);
    assert_true(http_ask(port, head, run->bytes, run->size, &answer));
    assert_int_equal(answer.status, status);
    if (text)
        assert_string_equal((const char *)answer.body, text);
    free(answer.body);
}

static void test_signed_over_http(void **state)
{
    struct dispatch_endpoint_options options = {0};
    struct dispatch_endpoint *endpoint = NULL;
    struct signed_run good, wrong, old;
    char flat[256];
    uint16_t port;
    size_t len = 0;

    (void)state;
    sign_run(&good, 1, 0);
    sign_run(&wrong, 2, 0);
    sign_run(&old, 1, 310);
    /* As people put it into an environment: in one line. */
    for (const char *p = good.public_text; *p; p++)
        len += (size_t)snprintf(flat + len, sizeof flat - len, *p == '\n' ? "\\n" : "%c", *p);
    options.verification_key = flat;
    assert_int_equal(dispatch_endpoint_create(&options, &endpoint, NULL), 0);
    assert_int_equal(dispatch_endpoint_listen(endpoint, "127.0.0.1:0", NULL), 0);
    port = dispatch_endpoint_port(endpoint);
    ask_signed(port, &good, good.headers.signature, 200, NULL);
    ask_signed(port, &wrong, wrong.headers.signature, 403,
               "{\"code\":\"permission_denied\",\"message\":\"invalid signature\"}");
    ask_signed(port, &old, old.headers.signature, 403,
               "{\"code\":\"permission_denied\",\"message\":\"the signature is too old\"}");
    good.headers.signature[20] = good.headers.signature[20] == 'A' ? 'B' : 'A';
    ask_signed(port, &good, good.headers.signature, 403,
               "{\"code\":\"permission_denied\",\"message\":\"invalid signature\"}");
    answers(port, RUN "Content-Length: 1\r\n", "x", 1, 403,
            "{\"code\":\"permission_denied\",\"message\":\"missing Signature-Input header\"}");
    dispatch_endpoint_destroy(endpoint);
    dispatch_bytes_free(good.bytes);
    dispatch_bytes_free(wrong.bytes);
    dispatch_bytes_free(old.bytes);
}

struct handled {
    pthread_mutex_t lock;
    pthread_cond_t done;
    int status; /* 0: not yet */
    char body[512];
};

static void on_handled(void *arg, const struct dispatch_reply *reply)
{
    struct handled *handled = arg;

    pthread_mutex_lock(&handled->lock);
    handled->status = reply->http_status;
    snprintf(handled->body, sizeof handled->body, "%.*s", (int)reply->size,
             (const char *)reply->body);
    pthread_cond_signal(&handled->done);
    pthread_mutex_unlock(&handled->lock);
}

static void handle_http(struct dispatch_endpoint *endpoint,
                        const struct dispatch_http_request *request, int status, const char *text)
{
    struct handled handled = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

    dispatch_endpoint_handle_http(endpoint, request, on_handled, &handled);
    pthread_mutex_lock(&handled.lock);
    while (!handled.status)
        pthread_cond_wait(&handled.done, &handled.lock);
    assert_int_equal(handled.status, status);
    assert_non_null(strstr(handled.body, text));
    pthread_mutex_unlock(&handled.lock);
}

static void test_signed_by_hand(void **state)
{
    struct dispatch_endpoint *endpoint = NULL;
    struct signed_run run;

    (void)state;
    sign_run(&run, 3, 0);
    setenv("DISPATCH_VERIFICATION_KEY", run.public_text, 1);
    assert_int_equal(dispatch_endpoint_create(NULL, &endpoint, NULL), 0);
    unsetenv("DISPATCH_VERIFICATION_KEY");
    {
        struct dispatch_http_header headers[] = {
            {"HOST", HOST},
            {"Content-Type", "application/proto"},
            {"Content-Digest", run.headers.content_digest},
            {"Signature-Input", run.headers.signature_input},
            {"Signature", run.headers.signature},
        };
        struct dispatch_http_request request = {
            "POST", "/dispatch.sdk.v1.FunctionService/Run?x=1", headers, 5, run.bytes, run.size};

        handle_http(endpoint, &request, 200, "");
        request.header_count = 4;
        handle_http(endpoint, &request, 403, "missing Signature header");
        request.header_count = 5;
        request.target = "/elsewhere";
        handle_http(endpoint, &request, 403, "invalid signature");
        headers[4].value = "dispatch=nothing";
        handle_http(endpoint, &request, 403, "malformed Signature header");
        request.header_count = 1000;
        handle_http(endpoint, &request, 400, "more than 256 headers");
    }
    dispatch_endpoint_destroy(endpoint);
    dispatch_bytes_free(run.bytes);
}

static void test_keys_that_are_none(void **state)
{
    struct dispatch_endpoint_options options = {.verification_key = "nonsense"};
    struct dispatch_endpoint *endpoint = NULL;
    struct dispatch_failure failure = {0};

    (void)state;
    assert_int_equal(dispatch_endpoint_create(&options, &endpoint, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_string_equal(failure.message, "invalid verification key 'nonsense'");
    setenv("DISPATCH_VERIFICATION_KEY", "x", 1);
    assert_int_equal(dispatch_endpoint_create(NULL, &endpoint, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_string_equal(failure.message, "invalid DISPATCH_VERIFICATION_KEY 'x'");
    setenv("DISPATCH_VERIFICATION_KEY", "", 1);
    assert_int_equal(dispatch_endpoint_create(NULL, &endpoint, &failure), 0);
    unsetenv("DISPATCH_VERIFICATION_KEY");
    dispatch_endpoint_destroy(endpoint);
}

/* --- dispatch_run ------------------------------------------------------------------------------
 */

/* An orchestrator for one call: runs it while the Dispatch is under way, tells its result in Wait.
 */
struct orchestrator {
    struct http_server server;
    char endpoint[128];
    struct dispatch_response response;
};

static struct http_answer pack_answer(const ProtobufCMessage *message)
{
    struct http_answer answer = {.status = 200};

    answer.size = protobuf_c_message_get_packed_size(message);
    answer.body = malloc(answer.size + 1);
    protobuf_c_message_pack(message, answer.body);
    return answer;
}

static void run_call(struct orchestrator *o, const wire_call *call, struct arena *arena)
{
    struct dispatch_run_request request = {.function = call->function, .dispatch_id = "the-id"};
    struct http_message answer;
    char head[256];
    void *bytes = NULL;
    size_t size = 0;

    assert_int_equal(sdk_value_from_any(call->input, arena, &request.input, NULL), 0);
    assert_int_equal(dispatch_run_request_pack(&request, &bytes, &size, NULL), 0);
    snprintf(o->endpoint, sizeof o->endpoint, "%s", call->endpoint);
    snprintf(head, sizeof head, RUN "Content-Length: %zu\r\n", size);
    assert_true(http_ask((uint16_t)strtoul(strrchr(call->endpoint, ':') + 1, NULL, 10), head, bytes,
                         size, &answer));
    assert_int_equal(answer.status, 200);
    assert_int_equal(dispatch_response_unpack(answer.body, answer.body_size, &o->response, NULL),
                     0);
    free(answer.body);
    dispatch_bytes_free(bytes);
}

static struct http_answer orchestrate(void *arg, const struct http_message *request)
{
    struct slice body = slice(request->body, request->body_size);
    wire_dispatch_response ids = DISPATCH__SDK__V1__DISPATCH_RESPONSE__INIT;
    Dispatch__V1__WaitResponse waited = DISPATCH__V1__WAIT_RESPONSE__INIT;
    Dispatch__V1__CallInfo info = DISPATCH__V1__CALL_INFO__INIT;
    char id[] = "the-id", *list[] = {id};
    struct orchestrator *o = arg;
    wire_dispatch_request *dispatch;
    struct http_answer answer;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    if (strstr(request->head, "DispatchService/Dispatch ")) {
        assert_int_equal(wire_unpack(&dispatch__sdk__v1__dispatch_request__descriptor, body, &arena,
                                     &dispatch, NULL),
                         0);
        run_call(o, dispatch->calls[0], &arena);
        ids.dispatch_ids = list;
        ids.n_dispatch_ids = 1;
        answer = pack_answer(&ids.base);
    } else {
        info.state = DISPATCH__V1__STATE__STATE_DONE;
        info.status = (Dispatch__Sdk__V1__Status)o->response.status;
        assert_int_equal(sdk_result_to_wire(o->response.result, &arena, &info.result, NULL), 0);
        waited.call = &info;
        answer = pack_answer(&waited.base);
    }
    arena_reset(&arena);
    return answer;
}

/* Calls made outside a function, in a program that serves: they dispatch and wait. */
static void call_outside(struct orchestrator *o)
{
    struct dispatch_call call = dispatch_to("doubles", dispatch_int(21));
    struct dispatch_endpoint *endpoint = NULL;
    struct dispatch_result result;
    char url[64];
    int64_t number = 0;

    assert_int_equal(dispatch_endpoint_create(NULL, &endpoint, NULL), 0);
    assert_int_equal(dispatch_endpoint_listen(endpoint, "127.0.0.1:0", NULL), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", dispatch_endpoint_port(endpoint));
    call.endpoint = url;
    result = dispatch_call_with(NULL, &call);
    assert_null(result.error);
    assert_true(dispatch_as_int(result.output, &number));
    assert_int_equal(number, 42);
    assert_string_equal(o->endpoint, url);
    http_sync(&o->server);
    dispatch_result_free(&result);
    dispatch_response_free(&o->response);
    assert_true(dispatch_endpoint_stop(endpoint, 1000));
    dispatch_endpoint_destroy(endpoint);
}

static void test_dispatch_run(void **state)
{
    struct orchestrator o = {0};
    struct dispatch_result result;
    char url[64];
    int64_t number = 0;

    (void)state;
    o.server.handle = orchestrate;
    o.server.arg = &o;
    http_start(&o.server, 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", o.server.port);
    setenv("DISPATCH_API_URL", url, 1);
    setenv("DISPATCH_API_KEY", "k", 1);
    setenv("DISPATCH_ENDPOINT_ADDR", "127.0.0.1:0", 1);
    for (int i = 0; i < 2; i++) { /* again, in the same process, on another port */
        result = dispatch_run(dispatch_to("doubles", dispatch_int(4)));
        assert_null(result.error);
        assert_int_equal(result.status, DISPATCH_OK);
        assert_true(dispatch_as_int(result.output, &number));
        assert_int_equal(number, 8);
        assert_string_equal(result.dispatch_id, "the-id");
        http_sync(&o.server);
        assert_non_null(strstr(o.endpoint, "http://127.0.0.1:"));
        dispatch_result_free(&result);
        dispatch_response_free(&o.response);
        http_sync(&o.server);
    }
    result = dispatch_run(dispatch_to("doubles", dispatch_string("x")));
    assert_int_equal(result.status, DISPATCH_INVALID_ARGUMENT);
    assert_string_equal(result.error->type, "NoNumber");
    http_sync(&o.server);
    dispatch_result_free(&result);
    dispatch_response_free(&o.response);
    call_outside(&o);
    result = dispatch_run(dispatch_to("no-function", dispatch_null()));
    assert_string_equal(result.error->type, "Client");
    dispatch_result_free(&result);
    http_stop(&o.server);
}

static void test_configuration(void **state)
{
    struct dispatch_run_options options = {
        .api_key = "k", .endpoint_addr = "127.0.0.1:0", .endpoint_url = "nowhere"};
    struct dispatch_failure failure = {0};
    struct dispatch_result result;

    (void)state;
    setenv("DISPATCH_API_URL", "http://127.0.0.1:1", 1);
    unsetenv("DISPATCH_API_KEY");
    result = dispatch_run(dispatch_to("doubles", dispatch_null()));
    assert_string_equal(result.error->type, "Configuration");
    assert_int_equal(result.status, DISPATCH_INVALID_ARGUMENT);
    assert_non_null(strstr(result.error->message, "DISPATCH_API_KEY"));
    dispatch_result_free(&result);
    result = dispatch_run_with(&options, dispatch_to("doubles", dispatch_null()));
    assert_string_equal(result.error->message,
                        "missing protocol scheme in registry endpoint URL: nowhere");
    dispatch_result_free(&result);
    assert_int_equal(dispatch_serve(NULL, &failure), DISPATCH_CODE_INVALID_ARGUMENT);
    setenv("DISPATCH_STORE", "nonsense", 1);
    assert_int_equal(dispatch_serve(NULL, &failure), DISPATCH_CODE_INVALID_ARGUMENT);
    unsetenv("DISPATCH_STORE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),           cmocka_unit_test(test_run_over_http),
        cmocka_unit_test(test_address_in_use),     cmocka_unit_test(test_dispatch_run),
        cmocka_unit_test(test_configuration),      cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_signed_over_http),   cmocka_unit_test(test_signed_by_hand),
        cmocka_unit_test(test_keys_that_are_none),
    };

    unsetenv("DISPATCH_STORE");
    unsetenv("DISPATCH_ENDPOINT_URL");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
