// SPDX-License-Identifier: Apache-2.0
/*
 * The invoker against an endpoint that answers what each test plans, over a real loopback. The
 * orchestrator's side of it (the three functions that end a run) is played by this file.
 *
 * long: one small world, and every way in which a run can go in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/invoker.h"
#include "wire/signature.h"

enum ending { PENDING, ANSWERED, FAILED, GONE };

struct planned {
    int status;
    const char *type; /* NULL: no Content-Type */
    const char *body; /* NULL: a RunResponse with status OK */
    bool hang;        /* no answer at all */
    struct net_header extra;
};

struct world {
    struct net_loop *loop;
    struct net_server *endpoint;
    struct http_invoker *invoker;
    struct policy policy;
    struct credentials credentials; /* of the tests of signed runs */
    uint16_t port;
    struct planned plan;
    bool h2c; /* from the next listen_again on */

    /* What the endpoint saw last. */
    char request_line[256];
    char headers[16][2][256];
    size_t header_count, requests;
    char peers[16][64]; /* the addresses that requests came from, each once */
    size_t peer_count;
    uint8_t body[1024];
    size_t body_len;

    /* How the run ended. */
    enum ending ending;
    enum status status;
    bool transport, too_large;
    char type[64], message[512];
    size_t changes;
};

static struct world *world; /* of the test that runs, for the functions below */

static void end_run(struct orchestrator_run *run, enum ending ending)
{
    assert_int_equal(world->ending, PENDING);
    world->ending = ending;
    arena_reset(run->arena);
    net_loop_stop(world->loop);
}

void orchestrator_run_sent(struct orchestrator_run *run)
{
    (void)run;
}

void orchestrator_run_answered(struct orchestrator_run *run, const wire_run_response *response)
{
    world->status = (enum status)response->status;
    end_run(run, ANSWERED);
}

void orchestrator_run_failed(struct orchestrator_run *run, const struct run_failure *failure)
{
    world->status = failure->status;
    world->transport = failure->transport;
    world->too_large = failure->too_large;
    snprintf(world->type, sizeof world->type, "%s", failure->type);
    snprintf(world->message, sizeof world->message, "%s", failure->message);
    end_run(run, FAILED);
}

void orchestrator_run_gone(struct orchestrator_run *run)
{
    end_run(run, GONE);
}

/* Of the orchestrator's, too, which is not linked; nothing here makes a key durable. */
void orchestrator_put_note(struct orchestrator *o, const struct orchestrator_note *note,
                           orchestrator_cancelled *done, void *arg)
{
    (void)o;
    (void)note;
    (void)done;
    (void)arg;
    fail_msg("a key is put into a store that is not there");
}

static void changed(void *arg)
{
    struct world *w = arg;

    w->changes++;
}

static void keep_peer(struct world *w, struct slice peer)
{
    for (size_t i = 0; i < w->peer_count; i++) {
        if (slice_eq_str(peer, w->peers[i]))
            return;
    }
    assert_true(w->peer_count < 16);
    snprintf(w->peers[w->peer_count++], sizeof *w->peers, "%.*s", SLICE_FMT(peer));
}

static void keep_request(struct world *w, const struct net_request *request)
{
    snprintf(w->request_line, sizeof w->request_line, "%.*s %.*s?%.*s", SLICE_FMT(request->method),
             SLICE_FMT(request->path), SLICE_FMT(request->query));
    assert_true(request->header_count <= 16);
    w->header_count = request->header_count;
    for (size_t i = 0; i < request->header_count; i++) {
        snprintf(w->headers[i][0], 256, "%.*s", SLICE_FMT(request->headers[i].name));
        snprintf(w->headers[i][1], 256, "%.*s", SLICE_FMT(request->headers[i].value));
    }
    assert_true(request->body.len <= sizeof w->body);
    memcpy(w->body, request->body.data, request->body.len);
    w->body_len = request->body.len;
    w->requests++;
    keep_peer(w, request->peer);
}

static void serve(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct world *w = arg;
    wire_run_response ok = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    struct net_header headers[2] = {{slice_str("content-type"), slice_str(w->plan.type)},
                                    w->plan.extra};
    size_t count = w->plan.extra.name.data ? 2 : 1;
    struct blob *body;

    keep_request(w, request);
    if (w->plan.hang) {
        net_loop_stop(w->loop);
        return;
    }
    ok.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    body = w->plan.body ? blob_copy(slice_str(w->plan.body)) : wire_pack_blob(&ok);
    assert_non_null(body);
    net_answer(exchange, w->plan.status, w->plan.type ? headers : headers + 1,
               w->plan.type ? count : count - 1, body);
    blob_unref(body);
}

static void gone(void *arg, struct net_exchange *exchange)
{
    (void)arg;
    (void)exchange;
}

/* Again on the same port, if there was one. */
static void listen_again(struct world *w)
{
    struct net_server_options options = {
        .host = "127.0.0.1",
        .port = w->port,
        .advertise_h2c = w->h2c,
        .handle = serve,
        .gone = gone,
        .arg = w,
    };

    assert_int_equal(net_server_create(&w->endpoint, w->loop, &options, NULL), CODE_OK);
    w->port = net_server_port(w->endpoint);
}

static void stop_listening(struct world *w)
{
    net_server_destroy(w->endpoint);
    w->endpoint = NULL;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct http_invoker_options invoker = {
        .clock = clock_system(), .changed = changed, .arg = w, .policy = &w->policy};

    assert_non_null(w);
    w->policy.guarded = true;
    assert_int_equal(net_loop_create(&w->loop, NULL), CODE_OK);
    listen_again(w);
    invoker.loop = w->loop;
    assert_int_equal(http_invoker_create(&w->invoker, &invoker, NULL), CODE_OK);
    world = w;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    http_invoker_destroy(w->invoker);
    policy_free(&w->policy);
    if (w->endpoint)
        net_server_destroy(w->endpoint);
    net_loop_destroy(w->loop);
    free(w);
    return 0;
}

/* A run to be delivered to that endpoint. */
struct run {
    struct orchestrator_run run;
    struct arena arena;
    wire_run_request request;
};

static void run_init(struct run *r, const char *endpoint)
{
    dispatch__sdk__v1__run_request__init(&r->request);
    r->request.function = (char *)"greet";
    r->request.dispatch_id = (char *)"id-1";
    r->request.root_dispatch_id = (char *)"id-1";
    arena_init(&r->arena, 1 << 20);
    r->run = (struct orchestrator_run){.request = &r->request,
                                       .arena = &r->arena,
                                       .endpoint = slice_str(endpoint),
                                       .org = slice_str("default"),
                                       .expires = TIME_NEVER};
}

static void start(struct world *w, struct run *r)
{
    struct invoker *invoker = http_invoker_vtable(w->invoker);

    w->ending = PENDING;
    w->transport = w->too_large = false;
    invoker->run(invoker, &r->run);
}

static void deliver(struct world *w, const char *endpoint)
{
    struct run r;

    run_init(&r, endpoint);
    start(w, &r);
    while (w->ending == PENDING)
        net_loop_run(w->loop);
}

static const char *endpoint_url(const struct world *w, const char *path)
{
    static char url[128];

    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", w->port, path);
    return url;
}

static const char *header(const struct world *w, const char *name)
{
    for (size_t i = 0; i < w->header_count; i++) {
        if (strcmp(w->headers[i][0], name) == 0)
            return w->headers[i][1];
    }
    return NULL;
}

static void test_framing(void **state)
{
    static const char *const names[] = {
        "host",           "content-type", "connect-protocol-version",
        "content-length", "user-agent",   "x-request-id"};
    struct world *w = *state;
    wire_run_request *request;
    struct arena arena;
    char text[64];

    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->ending, ANSWERED);
    assert_int_equal(w->status, STATUS_OK);
    assert_int_equal(w->changes, 1);
    assert_string_equal(w->request_line, "POST /dispatch.sdk.v1.FunctionService/Run?");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_non_null(header(w, names[i]));
    assert_int_equal(w->header_count, sizeof names / sizeof *names);
    assert_string_equal(header(w, "content-type"), "application/proto");
    assert_string_equal(header(w, "connect-protocol-version"), "1");
    snprintf(text, sizeof text, "127.0.0.1:%u", w->port);
    assert_string_equal(header(w, "host"), text);
    snprintf(text, sizeof text, "%zu", w->body_len);
    assert_string_equal(header(w, "content-length"), text);

    arena_init(&arena, 1 << 16);
    assert_int_equal(wire_unpack(&dispatch__sdk__v1__run_request__descriptor,
                                 slice(w->body, w->body_len), &arena, &request, NULL),
                     CODE_OK);
    assert_string_equal(request->function, "greet");
    assert_string_equal(request->dispatch_id, "id-1");
    arena_reset(&arena);
}

static void test_path_prefix(void **state)
{
    static const struct {
        const char *path, *line;
    } rows[] = {
        {"/", "POST /dispatch.sdk.v1.FunctionService/Run?"},
        {"/a/b", "POST /a/b/dispatch.sdk.v1.FunctionService/Run?"},
        {"/a%20b//", "POST /a%20b/dispatch.sdk.v1.FunctionService/Run?"},
        {"/a?x=1", "POST /a/dispatch.sdk.v1.FunctionService/Run?x=1"},
        {"/b?x=2", "POST /b/dispatch.sdk.v1.FunctionService/Run?x=2"},
    };
    struct world *w = *state;
    char endpoint[128];

    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    for (size_t n = 0; n < 2 * sizeof rows / sizeof *rows; n++) { /* each twice: it is remembered */
        size_t i = n / 2;

        snprintf(endpoint, sizeof endpoint, "%s", endpoint_url(w, rows[i].path));
        deliver(w, endpoint);
        memset(endpoint, 'x', sizeof endpoint);
        assert_int_equal(w->ending, ANSWERED);
        assert_string_equal(w->request_line, rows[i].line);
    }
}

#define ERROR_BODY(code) "{\"code\":\"" code "\",\"message\":\"because\"}"

static void test_outcomes(void **state)
{
    static const struct {
        int http;
        const char *type, *body;
        enum status status;
        const char *error;
    } rows[] = {
        {400, "text/plain", "no", STATUS_INVALID_ARGUMENT, "http"},
        {401, "text/plain", "no", STATUS_UNAUTHENTICATED, "http"},
        {403, NULL, "", STATUS_PERMISSION_DENIED, "http"},
        {404, "text/html", "no", STATUS_NOT_FOUND, "http"},
        {408, NULL, "", STATUS_TIMEOUT, "http"},
        {429, NULL, "", STATUS_THROTTLED, "http"},
        {501, NULL, "", STATUS_PERMANENT_ERROR, "http"},
        {302, NULL, "", STATUS_PERMANENT_ERROR, "http"},
        {418, NULL, "", STATUS_PERMANENT_ERROR, "http"},
        {500, "text/plain", "no", STATUS_TEMPORARY_ERROR, "http"},
        {503, NULL, "", STATUS_TEMPORARY_ERROR, "http"},
        {500, "application/json", "{\"detail\":\"not Connect\"}", STATUS_TEMPORARY_ERROR, "http"},
        {404, "application/json", ERROR_BODY("not_found"), STATUS_NOT_FOUND, "not_found"},
        {500, "application/json", ERROR_BODY("internal"), STATUS_TEMPORARY_ERROR, "internal"},
        {429, "application/json", ERROR_BODY("resource_exhausted"), STATUS_THROTTLED,
         "resource_exhausted"},
        {499, "application/json", ERROR_BODY("canceled"), STATUS_TIMEOUT, "canceled"},
        {503, "application/json; charset=utf-8", ERROR_BODY("unavailable"), STATUS_TEMPORARY_ERROR,
         "unavailable"},
        /* The code counts, whatever status carries it. */
        {500, "application/json", ERROR_BODY("invalid_argument"), STATUS_INVALID_ARGUMENT,
         "invalid_argument"},
        {400, "application/json", ERROR_BODY("failed_precondition"), STATUS_PERMANENT_ERROR,
         "failed_precondition"},
        {200, "text/plain", "hello", STATUS_INVALID_RESPONSE, "invalid response"},
        {200, NULL, "", STATUS_INVALID_RESPONSE, "invalid response"},
        {200, "application/json", "{}", STATUS_INVALID_RESPONSE, "invalid response"},
        {200, "application/protobuf", NULL, STATUS_INVALID_RESPONSE, "invalid response"},
        {200, "application/proto", "\xff\xff", STATUS_INVALID_RESPONSE, "invalid response"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        w->plan =
            (struct planned){.status = rows[i].http, .type = rows[i].type, .body = rows[i].body};
        deliver(w, endpoint_url(w, ""));
        assert_int_equal(w->ending, FAILED);
        if (w->status != rows[i].status)
            fail_msg("row %zu: %s", i, status_name(w->status));
        assert_string_equal(w->type, rows[i].error);
        assert_false(w->transport);
        assert_false(w->too_large);
        assert_non_null(strstr(w->message, endpoint_url(w, "")));
        if (rows[i].body && strstr(rows[i].body, "because"))
            assert_non_null(strstr(w->message, "because"));
    }
    assert_int_equal(w->requests, sizeof rows / sizeof *rows);
}

static void test_good_types(void **state)
{
    struct world *w = *state;

    w->plan = (struct planned){.status = 200, .type = "application/proto; x=y"};
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->ending, ANSWERED);

    /* Compressed although we never said that we take it. */
    w->plan = (struct planned){.status = 200,
                               .type = "application/proto",
                               .extra = {slice_str("content-encoding"), slice_str("gzip")}};
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_INVALID_RESPONSE);
}

static void test_too_large(void **state)
{
    struct world *w = *state;

    w->plan = (struct planned){.status = 413, .type = "text/plain", .body = "too large"};
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_TEMPORARY_ERROR);
    assert_true(w->too_large);
    assert_false(w->transport);
}

static void test_refused_connection(void **state)
{
    struct world *w = *state;
    char wanted[256];

    net_server_destroy(w->endpoint);
    w->endpoint = NULL;
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_TCP_ERROR);
    assert_true(w->transport);
    snprintf(wanted, sizeof wanted, "%s: connection refused", endpoint_url(w, ""));
    assert_string_equal(w->message, wanted);
}

static void test_unsupported_endpoints(void **state)
{
    static const char *const endpoints[] = {"arn:aws:lambda:us-east-1:1:function:f",
                                            "event:", "http://127.0.0.1:1/a path", "http://"};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        deliver(w, endpoints[i]);
        assert_int_equal(w->ending, FAILED);
        assert_int_equal(w->status, STATUS_PERMANENT_ERROR);
        assert_string_equal(w->type, "unsupported endpoint");
        assert_false(w->transport);
    }
    assert_int_equal(w->requests, 0);
}

static void test_lambda(void **state)
{
    struct world *w = *state;

    deliver(w, "arn:aws:lambda:us-east-1:1:function:f");
    assert_int_equal(w->status, STATUS_PERMANENT_ERROR);
    assert_non_null(strstr(w->message, "no invoker for AWS Lambda"));
}

/* A service that speaks the Invoke API, behind an address that no endpoint may have, and an
 * organization whose runs are signed elsewhere. */
static void test_lambda_service(void **state)
{
    struct world *w = *state;
    struct http_invoker_options options = {.loop = w->loop,
                                           .clock = clock_system(),
                                           .changed = changed,
                                           .arg = w,
                                           .credentials = &w->credentials,
                                           .policy = &w->policy};
    char url[64];
    struct run r;

    http_invoker_destroy(w->invoker);
    assert_int_equal(policy_add(&w->policy, "10.0.0.0/8", NULL), CODE_OK);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/aws/", w->port);
    options.lambda_url = url;
    assert_int_equal(http_invoker_create(&w->invoker, &options, NULL), CODE_OK);
    w->plan = (struct planned){.status = 200, .type = "application/json", .body = "\"CAE=\""};
    run_init(&r, "arn:aws:lambda:us-east-1:1:function:f");
    r.run.version = slice_str("live");
    start(w, &r);
    while (w->ending == PENDING)
        net_loop_run(w->loop);
    assert_int_equal(w->ending, ANSWERED);
    assert_int_equal(w->status, STATUS_OK);
    assert_string_equal(
        w->request_line,
        "POST /aws/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af"
        "/invocations?Qualifier=live");
    assert_string_equal(header(w, "content-type"), "application/json");
    assert_string_equal(header(w, "x-amz-invocation-type"), "RequestResponse");
    assert_non_null(header(w, "content-length"));
    assert_null(header(w, "signature"));
    assert_null(header(w, "connect-protocol-version"));
    assert_true(slice_eq_str(slice(w->body, w->body_len), "\"CgVncmVldCIEaWQtMTIEaWQtMQ==\""));

    w->plan.extra = (struct net_header){slice_str("x-amz-function-error"), slice_str("Unhandled")};
    w->plan.body = "{\"errorType\":\"Exit\",\"errorMessage\":\"ended early\"}";
    deliver(w, "arn:aws:lambda:us-east-1:1:function:f");
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_TEMPORARY_ERROR);
    assert_non_null(strstr(w->message, "ended early"));
    deliver(w, "arn:aws:lambda:us-east-1:1:layer:f");
    assert_int_equal(w->status, STATUS_PERMANENT_ERROR);
    assert_non_null(strstr(w->message, "a function's ARN is"));
    assert_int_equal(w->requests, 2);
}

static void test_redirect(void **state)
{
    struct world *w = *state;

    w->plan = (struct planned){.status = 308, .type = "text/plain", .body = "there"};
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->status, STATUS_PERMANENT_ERROR);
    assert_non_null(strstr(w->message, "redirects are not followed"));
    assert_int_equal(w->requests, 1);
}

static void test_addresses_out_of_bounds(void **state)
{
    static const char *const endpoints[] = {"http://169.254.169.254", "https://169.254.1.1:8443/a",
                                            "http://[fe80::1]:80", "http://[::ffff:169.254.1.1]"};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        deliver(w, endpoints[i]);
        assert_int_equal(w->ending, FAILED);
        assert_int_equal(w->status, STATUS_PERMISSION_DENIED);
        assert_false(w->transport);
        assert_non_null(strstr(w->message, "is not delivered to from here"));
    }
}

/* By the URL, and by what its name turns out to mean: patterns of now, whatever they were then. */
static void test_policy(void **state)
{
    struct world *w = *state;
    char url[64];

    snprintf(url, sizeof url, "http://localhost:%u", w->port);
    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    assert_int_equal(policy_add(&w->policy, "10.0.0.0/8", NULL), CODE_OK);
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_PERMISSION_DENIED);
    assert_string_equal(w->type, "permission_denied");
    assert_non_null(strstr(w->message, endpoint_url(w, "")));
    deliver(w, url);
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_PERMISSION_DENIED);
    assert_false(w->transport);
    assert_non_null(strstr(w->message, "--allow-endpoint"));
    assert_int_equal(w->requests, 0);
    assert_int_equal(policy_add(&w->policy, "127.0.0.0/8", NULL), CODE_OK);
    deliver(w, url);
    assert_int_equal(w->ending, ANSWERED);
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->ending, ANSWERED);
    assert_int_equal(w->requests, 2);
}

/* A failure of the proxy's is none of the endpoint's: it may pass. */
static void test_proxy_not_there(void **state)
{
    struct world *w = *state;
    struct http_invoker_options options = {
        .loop = w->loop, .clock = clock_system(), .changed = changed, .arg = w};
    char proxy[64];

    stop_listening(w);
    http_invoker_destroy(w->invoker);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", w->port);
    assert_int_equal(setenv("http_proxy", proxy, 1), 0);
    assert_int_equal(http_invoker_create(&w->invoker, &options, NULL), CODE_OK);
    unsetenv("http_proxy");
    deliver(w, "http://endpoint.test");
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_TCP_ERROR);
    assert_true(w->transport);
    assert_memory_equal(w->message, "http://endpoint.test: by a proxy: connect to 127.0.0.1:", 55);
}

static void test_no_tls_there(void **state)
{
    struct world *w = *state;
    char url[64];

    snprintf(url, sizeof url, "https://127.0.0.1:%u", w->port);
    deliver(w, url);
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_TLS_ERROR);
    assert_string_equal(w->type, "transport");
    assert_true(w->transport);
    assert_memory_equal(w->message, url, strlen(url));
    assert_int_equal(w->requests, 0);
}

/* An endpoint that advertises HTTP/2 gets all its runs over one connection from then on. */
static void test_multiplexes(void **state)
{
    enum { RUNS = 12 };
    struct world *w = *state;
    struct invoker *invoker = http_invoker_vtable(w->invoker);
    struct run runs[RUNS];

    stop_listening(w);
    w->h2c = true;
    listen_again(w);
    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    deliver(w, endpoint_url(w, ""));
    assert_int_equal(w->ending, ANSWERED);
    assert_int_equal(w->peer_count, 1);

    w->peer_count = 0;
    w->plan.hang = true;
    for (size_t i = 0; i < RUNS; i++) {
        run_init(&runs[i], endpoint_url(w, ""));
        start(w, &runs[i]);
    }
    while (w->requests < 1 + RUNS)
        net_loop_run(w->loop);
    assert_int_equal(w->peer_count, 1);
    for (size_t i = 0; i < RUNS; i++) {
        w->ending = PENDING;
        invoker->cancel(invoker, &runs[i].run);
        assert_int_equal(w->ending, GONE);
    }
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    struct invoker *invoker = http_invoker_vtable(w->invoker);
    struct run r;

    w->plan.hang = true;
    run_init(&r, endpoint_url(w, ""));
    start(w, &r);
    while (w->requests == 0)
        net_loop_run(w->loop);
    invoker->cancel(invoker, &r.run);
    assert_int_equal(w->ending, GONE);
}

/* --- signed runs ------------------------------------------------------------------------------ */

/* Another invoker, whose organization "default" has a key. */
static int set_up_signed(void **state)
{
    struct http_invoker_options options = {.clock = clock_system(), .changed = changed};
    struct credential key;
    struct world *w;

    set_up(state);
    w = *state;
    http_invoker_destroy(w->invoker);
    credentials_init(&w->credentials);
    assert_int_equal(credentials_new_signing_key(&w->credentials, "default", &key, NULL), CODE_OK);
    assert_true(credentials_add(&w->credentials, &key));
    options.loop = w->loop;
    options.arg = w;
    options.credentials = &w->credentials;
    assert_int_equal(http_invoker_create(&w->invoker, &options, NULL), CODE_OK);
    return 0;
}

static int tear_down_signed(void **state)
{
    struct world *w = *state;

    credentials_free(&w->credentials);
    return tear_down(state);
}

static void test_signed(void **state)
{
    struct world *w = *state;
    struct signature_field fields[16];
    struct signature_public key;
    struct signature_request request = {
        .method = slice_str("POST"),
        .path = slice_str("/a/dispatch.sdk.v1.FunctionService/Run"),
        .query = slice_str("x=1"),
        .fields = fields,
    };
    struct error err;

    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    deliver(w, endpoint_url(w, "/a/?x=1"));
    assert_int_equal(w->ending, ANSWERED);
    for (; request.field_count < w->header_count; request.field_count++)
        fields[request.field_count] =
            (struct signature_field){slice_str(w->headers[request.field_count][0]),
                                     slice_str(w->headers[request.field_count][1])};
    request.authority = slice_str(header(w, "host"));
    request.body = slice(w->body, w->body_len);
    signature_public_of(&w->credentials.list[0].signer, &key);
    if (signature_verify(&request, &key, clock_now(clock_system()), &err))
        fail_msg("%s", err.message);
}

static void test_signed_is_cancelled(void **state)
{
    struct world *w = *state;
    struct invoker *invoker = http_invoker_vtable(w->invoker);
    struct run r;

    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    run_init(&r, endpoint_url(w, ""));
    start(w, &r);
    assert_int_equal(w->ending, PENDING);
    invoker->cancel(invoker, &r.run); /* before it can have come back from its thread */
    assert_int_equal(w->ending, GONE);
    deliver(w, endpoint_url(w, "/second"));
    assert_int_equal(w->ending, ANSWERED);
    assert_int_equal(w->requests, 1);
}

static void test_signed_is_given_back_by_a_stop(void **state)
{
    struct world *w = *state;
    struct run r;

    run_init(&r, endpoint_url(w, ""));
    start(w, &r);
    http_invoker_stop(w->invoker);
    while (w->ending == PENDING)
        net_loop_wait(w->loop);
    assert_int_equal(w->ending, GONE);
    assert_int_equal(w->requests, 0);
}

/* --- timeouts --------------------------------------------------------------------------------- */

/* The end of the call comes before the timeout of the run. */
static void test_expiration_bounds_the_run(void **state)
{
    struct world *w = *state;
    struct run r;

    w->plan.hang = true;
    run_init(&r, endpoint_url(w, ""));
    r.run.expires = clock_now(clock_system()) + 20 * NS_PER_MS;
    start(w, &r);
    while (w->ending == PENDING)
        net_loop_run(w->loop);
    assert_int_equal(w->ending, FAILED);
    assert_int_equal(w->status, STATUS_TIMEOUT);
    assert_true(w->transport);
}

/* --- bridges --------------------------------------------------------------------------------- */

/* Another invoker, with a bridge of the session "S1" to the endpoint. */
static int set_up_bridge(void **state)
{
    struct http_invoker_options options = {
        .clock = clock_system(), .changed = changed, .bridge_count = 1};
    struct invoker_bridge bridge = {.session = "S1", .host = "localhost"};
    struct world *w;

    set_up(state);
    w = *state;
    http_invoker_destroy(w->invoker);
    bridge.port = w->port;
    options.loop = w->loop;
    options.arg = w;
    options.bridges = &bridge;
    assert_int_equal(http_invoker_create(&w->invoker, &options, NULL), CODE_OK);
    return 0;
}

static void until_reached(struct world *w)
{
    while (!http_invoker_reached(w->invoker, 0))
        net_loop_turn(w->loop);
}

static void test_bridge_delivers(void **state)
{
    struct world *w = *state;

    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    deliver(w, "bridge://S1");
    assert_int_equal(w->ending, ANSWERED);
    assert_string_equal(w->request_line, "POST /dispatch.sdk.v1.FunctionService/Run?");
    assert_true(http_invoker_reached(w->invoker, 0));
    assert_false(http_invoker_reached(w->invoker, 1));
}

static void test_bridge_of_another_session(void **state)
{
    struct world *w = *state;
    struct invoker *invoker = http_invoker_vtable(w->invoker);
    struct run r;

    run_init(&r, "bridge://s1"); /* case counts */
    start(w, &r);
    net_loop_turn(w->loop);
    assert_int_equal(w->ending, PENDING); /* until somebody fetches it */
    invoker->cancel(invoker, &r.run);
    assert_int_equal(w->ending, GONE);
    assert_int_equal(w->requests, 0);
}

static void test_bridge_holds_until_somebody_listens(void **state)
{
    struct world *w = *state;
    struct run r;

    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    stop_listening(w);
    run_init(&r, "bridge://S1");
    start(w, &r);
    net_loop_turn(w->loop); /* dials in vain */
    assert_int_equal(w->ending, PENDING);
    listen_again(w);
    while (w->ending == PENDING)
        net_loop_run(w->loop);
    assert_int_equal(w->ending, ANSWERED);
}

static void test_bridge_holds_again(void **state)
{
    struct world *w = *state;
    struct run r;

    w->plan = (struct planned){.status = 200, .type = "application/proto"};
    until_reached(w);
    stop_listening(w);
    run_init(&r, "bridge://S1");
    start(w, &r); /* sent, refused, and held */
    for (int i = 0; i < 20; i++)
        net_loop_turn(w->loop);
    assert_int_equal(w->ending, PENDING);
    listen_again(w);
    while (w->ending == PENDING)
        net_loop_run(w->loop);
    assert_int_equal(w->ending, ANSWERED);
    assert_int_equal(w->requests, 1);
}

/* What the bridge holds, and what waits at a session: nobody has begun it. */
static void test_stopped_gives_back(void **state)
{
    static const char *const endpoints[] = {"bridge://S1", "bridge://S2"};
    struct world *w = *state;
    struct run r;

    stop_listening(w);
    for (size_t i = 0; i < 2; i++) {
        run_init(&r, endpoints[i]);
        start(w, &r);
        net_loop_turn(w->loop);
        assert_int_equal(w->ending, PENDING);
        http_invoker_stop(w->invoker);
        assert_int_equal(w->ending, GONE);
    }
    assert_int_equal(w->requests, 0);
}

static void test_bridge_cancels_what_it_holds(void **state)
{
    struct world *w = *state;
    struct invoker *invoker = http_invoker_vtable(w->invoker);
    struct run r;

    stop_listening(w);
    run_init(&r, "bridge://S1");
    start(w, &r);
    invoker->cancel(invoker, &r.run);
    assert_int_equal(w->ending, GONE);
    assert_int_equal(w->changes, 1);
    assert_false(http_invoker_reached(w->invoker, 0));
}

int main(void)
{
#define TEST(f)   cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define SIGNED(f) cmocka_unit_test_setup_teardown(f, set_up_signed, tear_down_signed)
#define BRIDGE(f) cmocka_unit_test_setup_teardown(f, set_up_bridge, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_framing),
        TEST(test_path_prefix),
        TEST(test_outcomes),
        TEST(test_good_types),
        TEST(test_too_large),
        TEST(test_refused_connection),
        TEST(test_unsupported_endpoints),
        TEST(test_lambda),
        TEST(test_redirect),
        TEST(test_addresses_out_of_bounds),
        TEST(test_policy),
        TEST(test_proxy_not_there),
        TEST(test_no_tls_there),
        TEST(test_multiplexes),
        TEST(test_cancel),
        TEST(test_expiration_bounds_the_run),
        SIGNED(test_signed),
        SIGNED(test_signed_is_cancelled),
        SIGNED(test_signed_is_given_back_by_a_stop),
        SIGNED(test_lambda_service),
        BRIDGE(test_bridge_delivers),
        BRIDGE(test_bridge_of_another_session),
        BRIDGE(test_bridge_holds_until_somebody_listens),
        BRIDGE(test_bridge_holds_again),
        BRIDGE(test_bridge_cancels_what_it_holds),
        BRIDGE(test_stopped_gives_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
