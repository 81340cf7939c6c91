// SPDX-License-Identifier: Apache-2.0
/*
 * The API as clients see it: over HTTP, against a whole server.
 *
 * long: one harness, and each thing that a client may ask of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/harness_test.h"

static struct harness h;

static int set_up(void **state)
{
    (void)state;
    harness_start(&h, true, 5000);
    return 0;
}

static int set_up_insecure(void **state)
{
    (void)state;
    harness_start(&h, false, 5000);
    return 0;
}

static int set_up_without_grace(void **state)
{
    (void)state;
    harness_start(&h, true, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    harness_finish(&h);
    return 0;
}

#define STRING_INPUT                                                                               \
    "{\"@type\":\"type.googleapis.com/google.protobuf.StringValue\",\"value\":\"hello\"}"

static void assert_says_hello(const wire_any *any)
{
    struct value value;

    assert_int_equal(wire_value_from_any(any, &h.arena, &value, NULL), CODE_OK);
    assert_int_equal(value.kind, VALUE_STRING);
    assert_true(slice_eq_str(value.bytes, "hello"));
}

/* --- the happy paths ------------------------------------------------------------------------- */

static void test_dispatch_and_wait_json(void **state)
{
    char *id = harness_dispatch(&h, "echo", STRING_INPUT);
    Dispatch__V1__CallInfo *info = harness_wait(&h, id);

    (void)state;
    assert_string_equal(info->dispatch_id, id);
    assert_string_equal(info->root_dispatch_id, id);
    assert_string_equal(info->function, "echo");
    assert_string_equal(info->endpoint, h.endpoint_url);
    assert_int_equal(info->status, DISPATCH__SDK__V1__STATUS__STATUS_OK);
    assert_int_equal(info->attempts, 1);
    assert_non_null(info->result);
    assert_says_hello(info->result->output);
    assert_int_equal(h.runs, 1);
    /* Whoever searches the endpoint's log for the call finds the run. */
    assert_memory_equal(h.run_request_id, id, strlen(id));
    assert_int_equal(h.run_request_id[strlen(id)], '-');
}

static void test_get_json(void **state)
{
    char *id = harness_dispatch(&h, "echo", STRING_INPUT);
    Dispatch__V1__GetResponse *response;
    struct reply reply;

    (void)state;
    harness_wait(&h, id);
    harness_post(&h, &reply, PATH_GET, "{\"dispatchId\":\"%s\"}", id);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.type, "application/json");
    assert_int_equal(wire_from_json(&dispatch__v1__get_response__descriptor,
                                    slice(reply.body, reply.len), &h.arena, &response, NULL),
                     CODE_OK);
    assert_string_equal(response->call->dispatch_id, id);
    assert_int_equal(response->call->state, DISPATCH__V1__STATE__STATE_DONE);
    assert_says_hello(response->call->result->output);
}

static void ask_proto(const char *path, const void *message, struct reply *reply)
{
    struct ask ask = {.path = path, .key = HARNESS_KEY, .type = "application/proto"};
    struct buf body;

    buf_init(&body, 1 << 20);
    wire_pack(message, &body);
    assert_false(body.failed);
    ask.body = buf_slice(&body);
    harness_ask(&h, &ask, reply);
    buf_free(&body);
    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->type, "application/proto");
}

static void test_proto(void **state)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call, &call, &call};
    Dispatch__V1__WaitRequest wait = DISPATCH__V1__WAIT_REQUEST__INIT;
    struct value value = {.kind = VALUE_STRING, .bytes = slice_str("hello")};
    Dispatch__V1__WaitResponse *waited;
    wire_dispatch_response *response;
    struct reply reply;

    (void)state;
    call.endpoint = h.endpoint_url;
    call.function = (char *)"echo";
    call.input = wire_any_from_value(&value, &h.arena);
    request.calls = calls;
    request.n_calls = 3;
    ask_proto(PATH_DISPATCH, &request, &reply);
    assert_int_equal(wire_unpack(&dispatch__sdk__v1__dispatch_response__descriptor,
                                 slice(reply.body, reply.len), &h.arena, &response, NULL),
                     CODE_OK);
    assert_int_equal(response->n_dispatch_ids, 3);
    assert_string_not_equal(response->dispatch_ids[0], response->dispatch_ids[1]);
    for (size_t i = 0; i < 3; i++) {
        wait.dispatch_id = response->dispatch_ids[i];
        ask_proto(PATH_WAIT, &wait, &reply);
        assert_int_equal(wire_unpack(&dispatch__v1__wait_response__descriptor,
                                     slice(reply.body, reply.len), &h.arena, &waited, NULL),
                         CODE_OK);
        assert_string_equal(waited->call->dispatch_id, wait.dispatch_id);
        assert_says_hello(waited->call->result->output);
    }
    assert_int_equal(h.runs, 3);
}

static void test_empty_dispatch(void **state)
{
    struct reply reply;

    (void)state;
    harness_post(&h, &reply, PATH_DISPATCH, "{}");
    assert_int_equal(reply.status, 200);
}

static void test_retry(void **state)
{
    Dispatch__V1__CallInfo *info = harness_wait(&h, harness_dispatch(&h, "flaky", STRING_INPUT));

    (void)state;
    assert_int_equal(info->status, DISPATCH__SDK__V1__STATUS__STATUS_OK);
    assert_int_equal(info->attempts, 2);
    assert_int_equal(h.runs, 2);
}

static void test_poll(void **state)
{
    Dispatch__V1__CallInfo *info = harness_wait(&h, harness_dispatch(&h, "parent", STRING_INPUT));

    (void)state;
    assert_says_hello(info->result->output);
    assert_int_equal(h.runs, 3);
}

static void test_double_slash(void **state)
{
    struct reply reply;

    (void)state;
    harness_post(&h, &reply, "/" PATH_DISPATCH, "{}");
    assert_int_equal(reply.status, 200);
}

static void test_request_id(void **state)
{
    struct ask ask = {.path = PATH_DISPATCH,
                      .key = HARNESS_KEY,
                      .body = slice_str("{}"),
                      .extra = {slice_str("x-request-id"), slice_str("my-own-id")}};
    struct reply reply;

    (void)state;
    harness_ask(&h, &ask, &reply);
    assert_string_equal(reply.request_id, "my-own-id");
    ask.extra.value = slice_str("has \"quotes\"");
    harness_ask(&h, &ask, &reply);
    assert_int_equal(strlen(reply.request_id), 16);
}

/* --- who may ask ----------------------------------------------------------------------------- */

static void test_authentication_comes_first(void **state)
{
    static const struct {
        const char *key, *path, *type, *body;
        struct net_header extra;
    } rows[] = {
        {NULL, PATH_DISPATCH, NULL, "{}", {{0}, {0}}},
        {"wrong", PATH_DISPATCH, NULL, "{}", {{0}, {0}}},
        {"test-key2", PATH_DISPATCH, NULL, "{}", {{0}, {0}}},
        {"wrong", PATH_DISPATCH, NULL, "not JSON", {{0}, {0}}},
        {"wrong", PATH_DISPATCH, "application/proto", "\xff\xff\xff", {{0}, {0}}},
        {"wrong", PATH_DISPATCH, "text/plain", "hello", {{0}, {0}}},
        {"wrong", PATH_DISPATCH, NULL, "{\"calls\":[{\"endpoint\":\"ftp://x\"}]}", {{0}, {0}}},
        {"wrong", PATH_GET, NULL, "{\"dispatchId\":\"x\"}", {{0}, {0}}},
        {NULL, PATH_WAIT, NULL, "{\"dispatchId\":\"x\"}", {{0}, {0}}},
        {"wrong", PATH_DISPATCH, NULL, "{}", {{"connect-timeout-ms", 18}, {"soon", 4}}},
        {"wrong", PATH_DISPATCH, NULL, "{}", {{"connect-protocol-version", 24}, {"9", 1}}},
        {"wrong", PATH_DISPATCH, NULL, "{}", {{"content-encoding", 16}, {"br", 2}}},
        {"wrong", PATH_DISPATCH, NULL, "{}", {{"idempotency-key", 15}, {"a b", 3}}},
    };
    struct reply reply;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ask ask = {.path = rows[i].path,
                          .key = rows[i].key,
                          .type = rows[i].type,
                          .body = slice_str(rows[i].body),
                          .extra = rows[i].extra};

        harness_ask(&h, &ask, &reply);
        assert_int_equal(reply.status, 401);
        assert_int_equal(harness_error(&reply).code, CODE_UNAUTHENTICATED);
        assert_string_equal(reply.header, "Bearer");
        assert_null(strstr(reply.body, "wrong"));
    }
}

static void test_authorization_scheme(void **state)
{
    struct ask ask = {.path = PATH_DISPATCH,
                      .body = slice_str("{}"),
                      .extra = {slice_str("authorization"), slice_str("bearer " HARNESS_KEY)}};
    struct reply reply;

    (void)state;
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 200);
    ask.extra.value = slice_str("Basic " HARNESS_KEY);
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 401);
}

static void test_insecure(void **state)
{
    struct ask ask = {.path = PATH_DISPATCH, .body = slice_str("{}")};
    struct reply reply;

    (void)state;
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 200);
    ask.key = "any";
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 200);
}

static void test_insecure_on_loopback_only(void **state)
{
    static const char *const outside[] = {"0.0.0.0:0", ":0", "[::]:0"};
    struct server_options options = {.listen_count = 1, .store = "memory:"};
    struct server *server;
    struct error err;

    (void)state;
    assert_int_equal(net_loop_create(&options.loop, NULL), CODE_OK);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        options.listen = &outside[i];
        assert_int_equal(server_create(&server, &options, &err), CODE_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "API keys"));
    }
    net_loop_destroy(options.loop);
    assert_true(server_is_loopback("127.8.8.8"));
    assert_true(server_is_loopback("::1"));
    assert_true(server_is_loopback("localhost"));
    assert_false(server_is_loopback("128.0.0.1"));
    assert_false(server_is_loopback("example.com"));
}

/* --- bad requests ---------------------------------------------------------------------------- */

#define CALL(endpoint, function)                                                                   \
    "{\"calls\":[{\"endpoint\":\"" endpoint "\",\"function\":\"" function "\"}]}"

static void test_bad_calls(void **state)
{
    static const struct {
        const char *type, *body;
        const char *says; /* part of the message */
    } rows[] = {
        {NULL, "", ""},
        {NULL, "{\"calls\":", ""},
        {NULL, "[]", ""},
        {NULL, "{\"calls\":[{\"endpoint\":3}]}", "calls[0].endpoint"},
        {NULL, "{\"calls\":[{\"function\":\"\xff\"}]}", "0xff"},
        {NULL, CALL("ftp://localhost", "f"), "http://"},
        {NULL, CALL("localhost:8000", "f"), "http://"},
        {NULL, CALL("", "f"), "endpoint"},
        {NULL, CALL("http://", "f"), "host"},
        {NULL, CALL("http://localhost", "my-function"), "function"},
        {NULL, CALL("http://localhost", ""), "function"},
        {NULL, CALL("http://localhost", "9lives"), "function"},
        {"application/proto", "\x0a\x05hi", ""},
        {"application/proto", "\x0a\x03\x1a\x01\xff", "UTF-8"},
    };
    struct reply reply;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ask ask = {.path = PATH_DISPATCH,
                          .key = HARNESS_KEY,
                          .type = rows[i].type,
                          .body = slice_str(rows[i].body)};
        struct error error;

        harness_ask(&h, &ask, &reply);
        error = harness_error(&reply);
        if (reply.status != 400 || !strstr(error.message, rows[i].says))
            fail_msg("row %zu: %d %s", i, reply.status, error.message);
        assert_int_equal(error.code, CODE_INVALID_ARGUMENT);
        assert_string_not_equal(error.message, "");
    }
    assert_int_equal(h.runs, 0);
}

/* One bad call spoils the whole request: none of it is recorded. */
static void test_all_or_none(void **state)
{
    struct orchestrator_stats stats;
    struct reply reply;

    (void)state;
    harness_post(&h, &reply, PATH_DISPATCH,
                 "{\"calls\":[{\"endpoint\":\"%s\",\"function\":\"echo\"},"
                 "{\"endpoint\":\"%s\",\"function\":\"no-good\"}]}",
                 h.endpoint_url, h.endpoint_url);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(harness_error(&reply).message, "calls[1]"));
    server_stats(h.server, &stats);
    assert_int_equal(stats.engine.dispatched, 0);
}

/* `prefix` + n times `open` + n times `close` + `suffix` */
static struct slice nested(const char *prefix, char open, char close, size_t n, const char *suffix)
{
    struct buf text;
    char *copy;

    buf_init(&text, 1 << 20);
    buf_append_str(&text, prefix);
    for (size_t i = 0; i < n; i++)
        buf_append_byte(&text, (uint8_t)open);
    for (size_t i = 0; i < n; i++)
        buf_append_byte(&text, (uint8_t)close);
    buf_append_str(&text, suffix);
    assert_false(text.failed);
    copy = arena_dup(&h.arena, buf_slice(&text));
    buf_free(&text);
    return slice_str(copy);
}

static void test_deep_nesting(void **state)
{
    struct ask ask = {.path = PATH_DISPATCH, .key = HARNESS_KEY};
    struct reply reply;

    (void)state;
    ask.body = nested("{\"calls\":[{\"endpoint\":\"http://localhost\",\"function\":\"f\",\"input\":"
                      "{\"@type\":\"type.googleapis.com/google.protobuf.Value\",\"value\":",
                      '[', ']', 5000, "}}]}");
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 400);
    assert_int_equal(harness_error(&reply).code, CODE_INVALID_ARGUMENT);
    ask.body = nested("", '[', ']', 100000, "");
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 400);
}

static void test_large_payload(void **state)
{
    struct ask ask = {.path = PATH_DISPATCH, .key = HARNESS_KEY};
    size_t len = 4000001;
    char *text = arena_alloc(&h.arena, len + 512);
    struct reply reply;
    int at;

    (void)state;
    at = snprintf(text, 512,
                  "{\"calls\":[{\"endpoint\":\"%s\",\"function\":\"echo\",\"input\":{\"@type\":"
                  "\"type.googleapis.com/google.protobuf.StringValue\",\"value\":\"",
                  h.endpoint_url);
    memset(text + at, 'x', len);
    snprintf(text + (size_t)at + len, 16, "\"}}]}");
    ask.body = slice_str(text);
    harness_ask(&h, &ask, &reply);
    assert_true(reply.status == 400 || reply.status == 429);
    assert_non_null(strstr(harness_error(&reply).message, "4000000"));
    assert_int_equal(h.runs, 0);
}

static void test_large_body(void **state)
{
    struct ask ask = {.path = PATH_DISPATCH, .key = HARNESS_KEY};
    struct reply reply;

    (void)state;
    ask.body = slice(arena_zalloc(&h.arena, 1, SERVER_BODY_MAX + 1), SERVER_BODY_MAX + 1);
    assert_non_null(ask.body.data);
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 413);
}

static void test_routing(void **state)
{
    static const struct {
        const char *method, *path, *type;
        int status;
        const char *header; /* Allow or Accept-Post */
    } rows[] = {
        {"POST", "/", NULL, 404, ""},
        {"GET", "/nothing", NULL, 404, ""},
        {"POST", "/dispatch.sdk.v1.DispatchService/Other", NULL, 404, ""},
        {"POST", "/x" PATH_DISPATCH, NULL, 404, ""},
        {"GET", PATH_DISPATCH, NULL, 405, "POST"},
        {"PUT", PATH_WAIT, NULL, 405, "POST"},
        {"POST", "/healthz", NULL, 405, "GET, HEAD"},
        {"POST", PATH_DISPATCH, "text/plain", 415, "application/proto, application/json"},
        {"POST", PATH_DISPATCH, "application/grpc", 505, ""},
        {"POST", PATH_DISPATCH, "application/proto; charset=utf-8", 415, "application/proto"},
        {"POST", PATH_DISPATCH, "application/json; charset=utf-8", 200, ""},
        {"POST", PATH_DISPATCH, "application/json", 200, ""},
        {"GET", "/healthz", NULL, 200, ""},
        {"HEAD", "/healthz", NULL, 200, ""},
        {"GET", "/readyz", NULL, 200, ""},
    };
    struct reply reply;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ask ask = {.method = rows[i].method,
                          .path = rows[i].path,
                          .type = rows[i].type,
                          .key = HARNESS_KEY,
                          .body = slice_str("{}")};

        harness_ask(&h, &ask, &reply);
        if (reply.status != rows[i].status || !strstr(reply.header, rows[i].header))
            fail_msg("row %zu: %d, header %s", i, reply.status, reply.header);
        if (reply.status == 404)
            assert_int_equal(harness_error(&reply).code, CODE_NOT_FOUND);
        if (reply.status == 200 && rows[i].type)
            assert_string_equal(reply.type, rows[i].type); /* the answer's is the request's */
    }
}

static void test_bad_headers(void **state)
{
    static const struct {
        const char *name, *value;
        int status;
    } rows[] = {
        {"connect-timeout-ms", "soon", 400},
        {"connect-protocol-version", "2", 400},
        {"content-encoding", "br", 501},
        {"content-encoding", "gzip", 400}, /* it is not */
    };
    struct reply reply;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ask ask = {.path = PATH_DISPATCH,
                          .key = HARNESS_KEY,
                          .body = slice_str("{}"),
                          .extra = {slice_str(rows[i].name), slice_str(rows[i].value)}};

        harness_ask(&h, &ask, &reply);
        assert_int_equal(reply.status, rows[i].status);
        harness_error(&reply);
    }
}

/* --- get and wait ---------------------------------------------------------------------------- */

static void test_unknown_call(void **state)
{
    static const char *const ids[] = {"x", "0000000000000000000000000", "\\u00e9"};
    struct reply reply;

    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        harness_post(&h, &reply, PATH_GET, "{\"dispatchId\":\"%s\"}", ids[i]);
        assert_int_equal(reply.status, 404);
        assert_int_equal(harness_error(&reply).code, CODE_NOT_FOUND);
        harness_post(&h, &reply, PATH_WAIT, "{\"dispatchId\":\"%s\"}", ids[i]);
        assert_int_equal(reply.status, 404);
    }
    harness_post(&h, &reply, PATH_WAIT, "{}");
    assert_int_equal(reply.status, 400);
}

static char *start_hanging(void)
{
    char *id = harness_dispatch(&h, "hang", "null");

    while (!h.hanging)
        net_loop_run(h.loop);
    return id;
}

static void test_wait_limits(void **state)
{
    char *id = start_hanging(), body[128];
    struct ask ask = {.path = PATH_WAIT,
                      .key = HARNESS_KEY,
                      .body = {body, 0},
                      .extra = {slice_str("connect-timeout-ms"), slice_str("20")}};
    struct reply reply;

    (void)state;
    harness_post(&h, &reply, PATH_WAIT, "{\"dispatchId\":\"%s\",\"maxWait\":\"0s\"}", id);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "STATE_RUNNING"));
    harness_post(&h, &reply, PATH_WAIT, "{\"dispatchId\":\"%s\",\"maxWait\":\"0.020s\"}", id);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "STATE_RUNNING"));
    harness_post(&h, &reply, PATH_WAIT, "{\"dispatchId\":\"%s\",\"maxWait\":\"-1s\"}", id);
    assert_int_equal(reply.status, 400);

    /* The timeout comes first: an error. */
    ask.body.len = (size_t)snprintf(body, sizeof body, "{\"dispatchId\":\"%s\"}", id);
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 504);
    assert_int_equal(harness_error(&reply).code, CODE_DEADLINE_EXCEEDED);

    harness_release(&h);
    harness_wait(&h, id);
    /* Done: no timeout is too short. */
    ask.extra.value = slice_str("0");
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 200);
}

static void test_many_wait_for_one(void **state)
{
    char *id = start_hanging(), body[128];
    struct ask ask = {.path = PATH_WAIT, .key = HARNESS_KEY, .body = {body, 0}};
    struct reply replies[4], last, gone;
    struct net_call *call;

    (void)state;
    ask.body.len = (size_t)snprintf(body, sizeof body, "{\"dispatchId\":\"%s\"}", id);
    call = harness_send(&h, &ask, &gone);
    for (size_t i = 0; i < 4; i++)
        harness_send(&h, &ask, &replies[i]);
    /* When this one is over, the others have come. */
    harness_post(&h, &last, PATH_WAIT, "{\"dispatchId\":\"%s\",\"maxWait\":\"0.050s\"}", id);
    assert_false(replies[0].done);
    net_call_cancel(call);
    assert_int_equal(gone.failure, NET_CANCELED);
    harness_release(&h);
    for (size_t i = 0; i < 4; i++) {
        harness_until(&h, &replies[i].done);
        assert_int_equal(replies[i].status, 200);
        assert_non_null(strstr(replies[i].body, "STATE_DONE"));
    }
}

static Dispatch__V1__CallInfo *called(const struct reply *reply)
{
    Dispatch__V1__CallResponse *response;

    assert_int_equal(reply->status, 200);
    assert_int_equal(wire_from_json(&dispatch__v1__call_response__descriptor,
                                    slice(reply->body, reply->len), &h.arena, &response, NULL),
                     CODE_OK);
    assert_non_null(response->call);
    return response->call;
}

#define CALL_FORMAT                                                                                \
    "{\"call\":{\"endpoint\":\"%s\",\"function\":\"%s\",\"input\":" STRING_INPUT "}%s}"

static void test_call(void **state)
{
    Dispatch__V1__CallRequest request = DISPATCH__V1__CALL_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;
    Dispatch__V1__CallResponse *response;
    Dispatch__V1__CallInfo *info;
    struct reply reply;

    (void)state;
    harness_post(&h, &reply, PATH_CALL, CALL_FORMAT, h.endpoint_url, "echo", "");
    info = called(&reply);
    assert_int_equal(info->state, DISPATCH__V1__STATE__STATE_DONE);
    assert_string_equal(info->dispatch_id, h.run_id);
    assert_says_hello(info->result->output);
    call.endpoint = h.endpoint_url;
    call.function = (char *)"echo";
    request.call = &call;
    ask_proto(PATH_CALL, &request, &reply);
    assert_int_equal(wire_unpack(&dispatch__v1__call_response__descriptor,
                                 slice(reply.body, reply.len), &h.arena, &response, NULL),
                     CODE_OK);
    assert_int_equal(response->call->state, DISPATCH__V1__STATE__STATE_DONE);
}

static void test_call_refused(void **state)
{
    struct reply reply;

    (void)state;
    harness_post(&h, &reply, PATH_CALL, "{}");
    assert_non_null(strstr(harness_error(&reply).message, "call: it is missing"));
    harness_post(&h, &reply, PATH_CALL, CALL_FORMAT, "ftp://x", "echo", "");
    assert_int_equal(harness_error(&reply).code, CODE_INVALID_ARGUMENT);
    harness_post(&h, &reply, PATH_CALL, CALL_FORMAT, h.endpoint_url, "echo",
                 ",\"maxWait\":\"-1s\"");
    assert_int_equal(harness_error(&reply).code, CODE_INVALID_ARGUMENT);
    assert_int_equal(h.runs, 0);
}

/* The answer may come when the call is still under way, or its client may go: it goes on. */
static void test_call_goes_on(void **state)
{
    Dispatch__V1__CallInfo *info;
    struct net_call *call;
    struct reply reply;
    char body[512], id[64];
    struct ask ask = {.path = PATH_CALL, .key = HARNESS_KEY, .body = {body, 0}};

    (void)state;
    harness_post(&h, &reply, PATH_CALL, CALL_FORMAT, h.endpoint_url, "hang", ",\"maxWait\":\"0s\"");
    info = called(&reply);
    assert_int_not_equal(info->state, DISPATCH__V1__STATE__STATE_DONE);
    while (!h.hanging)
        net_loop_run(h.loop);
    harness_release(&h);
    harness_wait(&h, info->dispatch_id);

    ask.body.len = (size_t)snprintf(body, sizeof body, CALL_FORMAT, h.endpoint_url, "hang", "");
    call = harness_send(&h, &ask, &reply);
    while (!h.hanging)
        net_loop_run(h.loop);
    snprintf(id, sizeof id, "%s", h.run_id);
    net_call_cancel(call);
    assert_int_equal(reply.failure, NET_CANCELED);
    harness_post(&h, &reply, PATH_WAIT, "{\"dispatchId\":\"%s\",\"maxWait\":\"0s\"}", id);
    assert_non_null(strstr(reply.body, "STATE_RUNNING"));
    harness_release(&h);
    harness_wait(&h, id);
}

/* --- stopping -------------------------------------------------------------------------------- */

static void test_stop_lets_runs_end(void **state)
{
    char *id = start_hanging();
    struct ask ready = {.method = "GET", .path = "/readyz"};
    struct reply reply, waiting;
    char body[128];
    struct ask wait = {.path = PATH_WAIT, .key = HARNESS_KEY, .body = {body, 0}};

    (void)state;
    wait.body.len = (size_t)snprintf(body, sizeof body, "{\"dispatchId\":\"%s\"}", id);
    harness_send(&h, &wait, &waiting);
    server_stop(h.server);
    server_stop(h.server);
    harness_ask(&h, &ready, &reply);
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply.body, "stopping\n");
    harness_post(&h, &reply, PATH_DISPATCH,
                 "{\"calls\":[{\"endpoint\":\"%s\",\"function\":\"echo\"}]}", h.endpoint_url);
    assert_int_equal(reply.status, 503);
    assert_int_equal(harness_error(&reply).code, CODE_UNAVAILABLE);
    assert_false(h.stopped);
    assert_false(waiting.done);
    harness_release(&h);
    harness_until(&h, &waiting.done);
    assert_int_equal(waiting.status, 200);
    assert_non_null(strstr(waiting.body, "STATE_DONE"));
    harness_until(&h, &h.stopped);
    assert_int_equal(h.gone, 0);
}

static void test_stop_without_grace(void **state)
{
    char *id = start_hanging(), body[128];
    struct ask wait = {.path = PATH_WAIT, .key = HARNESS_KEY, .body = {body, 0}};
    struct reply waiting;

    (void)state;
    wait.body.len = (size_t)snprintf(body, sizeof body, "{\"dispatchId\":\"%s\"}", id);
    harness_send(&h, &wait, &waiting);
    /* An answered request behind it: the wait has arrived. */
    harness_post(&h, &(struct reply){0}, PATH_WAIT,
                 "{\"dispatchId\":\"%s\",\"maxWait\":\"0.020s\"}", id);
    server_stop(h.server);
    harness_until(&h, &h.stopped);
    harness_until(&h, &waiting.done);
    assert_int_equal(waiting.failure, NET_OK);
    assert_int_equal(waiting.status, 503);
    while (h.gone == 0)
        net_loop_run(h.loop);
}

/* A server that goes away with everything under way. */
static void test_destroy_in_the_middle(void **state)
{
    char *id = start_hanging(), body[128];
    struct ask wait = {.path = PATH_WAIT, .key = HARNESS_KEY, .body = {body, 0}};
    struct reply waiting;

    (void)state;
    wait.body.len = (size_t)snprintf(body, sizeof body, "{\"dispatchId\":\"%s\"}", id);
    harness_send(&h, &wait, &waiting);
    harness_post(&h, &(struct reply){0}, PATH_WAIT,
                 "{\"dispatchId\":\"%s\",\"maxWait\":\"0.020s\"}", id);
    server_destroy(h.server);
    h.server = NULL;
    harness_until(&h, &waiting.done);
}

/* A call to a session is fetched by a client, answered, and ends. */
static void test_session(void **state)
{
    static const char head[] =
        "POST /a/dispatch.sdk.v1.FunctionService/Run HTTP/1.1\r\nHost: S-1\r\n"
        "content-type: application/proto\r\nconnect-protocol-version: 1\r\nuser-agent: dispatch/";
    /* A RunResponse of status OK with an empty exit. */
    static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Type: application/proto\r\n\r\n"
                                 "\x08\x01\x12\x00";
    struct ask ask = {.method = "GET", .path = "//sessions/S%2d1"};
    struct reply fetched, reply;
    char *id;

    (void)state;
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 401);
    ask.key = HARNESS_KEY;
    harness_send(&h, &ask, &fetched);
    snprintf(h.endpoint_url, sizeof h.endpoint_url, "bridge://S-1/a");
    id = harness_dispatch(&h, "f", "{\"@type\":\"type.googleapis.com/google.protobuf.Empty\"}");
    harness_until(&h, &fetched.done);
    assert_int_equal(fetched.status, 200);
    assert_memory_equal(fetched.request_id, id, strlen(id));
    assert_memory_equal(fetched.body, head, sizeof head - 1);
    assert_non_null(strstr(fetched.body, "\r\nContent-Length: "));
    ask = (struct ask){.path = "/sessions/S-1",
                       .key = HARNESS_KEY,
                       .body = slice(answer, sizeof answer - 1),
                       .extra = {slice_str("x-request-id"), slice_str(fetched.request_id)}};
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 202);
    assert_int_equal(harness_wait(&h, id)->status, DISPATCH__SDK__V1__STATUS__STATUS_OK);
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 404);
    ask.path = "/sessions/%zz";
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 400);
    ask.method = "PUT";
    ask.path = "/sessions/S-1";
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 405);
    assert_string_equal(reply.header, "GET, POST, DELETE");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_dispatch_and_wait_json),
        TEST(test_get_json),
        TEST(test_proto),
        TEST(test_empty_dispatch),
        TEST(test_retry),
        TEST(test_poll),
        TEST(test_double_slash),
        TEST(test_request_id),
        TEST(test_authentication_comes_first),
        TEST(test_authorization_scheme),
        cmocka_unit_test_setup_teardown(test_insecure, set_up_insecure, tear_down),
        cmocka_unit_test(test_insecure_on_loopback_only),
        TEST(test_bad_calls),
        TEST(test_all_or_none),
        TEST(test_deep_nesting),
        TEST(test_large_payload),
        TEST(test_large_body),
        TEST(test_routing),
        TEST(test_bad_headers),
        TEST(test_unknown_call),
        TEST(test_session),
        TEST(test_wait_limits),
        TEST(test_many_wait_for_one),
        TEST(test_call),
        TEST(test_call_refused),
        TEST(test_call_goes_on),
        TEST(test_stop_lets_runs_end),
        cmocka_unit_test_setup_teardown(test_stop_without_grace, set_up_without_grace, tear_down),
        TEST(test_destroy_in_the_middle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
