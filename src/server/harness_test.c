// SPDX-License-Identifier: Apache-2.0
/* The endpoint and the client of the API tests. */
#include "server/harness_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* What follows is the test's own, or no longer. Returns which it was. */
static bool own(const struct harness *h, bool own)
{
    return h->pause && h->pause(own);
}

/* --- the endpoint ---------------------------------------------------------------------------- */

static void answer_run(struct net_exchange *exchange, const wire_run_response *response)
{
    const struct net_header type = {slice_str("content-type"), slice_str("application/proto")};
    struct blob *body = wire_pack_blob(response);

    assert_non_null(body);
    net_answer(exchange, 200, &type, 1, body);
    blob_unref(body);
}

static void exit_with(struct net_exchange *exchange, wire_any *output)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_exit exit = DISPATCH__SDK__V1__EXIT__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;

    result.output = output;
    exit.result = &result;
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &exit;
    answer_run(exchange, &response);
}

static void poll_echo(struct net_exchange *exchange, wire_any *input)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};

    call.function = (char *)"echo";
    call.correlation_id = 7;
    call.input = input;
    poll.calls = calls;
    poll.n_calls = 1;
    poll.min_results = poll.max_results = 1;
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE;
    poll.coroutine_state.data = (uint8_t *)"state";
    poll.coroutine_state.len = 5;
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    answer_run(exchange, &response);
}

static void parent(struct net_exchange *exchange, const wire_run_request *run)
{
    if (run->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT) {
        poll_echo(exchange, run->input);
        return;
    }
    assert_int_equal(run->directive_case, DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT);
    assert_int_equal(run->poll_result->state_case,
                     DISPATCH__SDK__V1__POLL_RESULT__STATE_COROUTINE_STATE);
    assert_memory_equal(run->poll_result->coroutine_state.data, "state", 5);
    assert_int_equal(run->poll_result->n_results, 1);
    assert_int_equal(run->poll_result->results[0]->correlation_id, 7);
    exit_with(exchange, run->poll_result->results[0]->output);
}

/* A tail call to another address. */
static void tail_away(struct net_exchange *exchange)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_exit done = DISPATCH__SDK__V1__EXIT__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;

    call.function = (char *)"echo";
    call.endpoint = (char *)"http://10.1.2.3";
    done.tail_call = &call;
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &done;
    answer_run(exchange, &response);
}

static void keep_header(const struct net_header *headers, size_t count, const char *name, char *to,
                        size_t size)
{
    struct slice value = net_header_get(headers, count, name);

    if (value.data)
        snprintf(to, size, "%.*s", SLICE_FMT(value));
}

/* False: it was refused. */
static bool verify_run(struct harness *h, struct net_exchange *exchange,
                       const struct net_request *request)
{
    struct signature_field fields[32];
    struct signature_request run = {
        .method = request->method,
        .path = request->path,
        .query = request->query,
        .authority = net_header_get(request->headers, request->header_count, "host"),
        .fields = fields,
        .field_count = request->header_count,
        .body = request->body};

    h->was_signed = net_header_get(request->headers, request->header_count, "signature").data;
    assert_true(request->header_count < 32);
    for (size_t i = 0; i < request->header_count; i++)
        fields[i] = (struct signature_field){request->headers[i].name, request->headers[i].value};
    if (!h->verifier ||
        signature_verify(&run, h->verifier, clock_now(clock_system()), NULL) == CODE_OK)
        return true;
    net_answer(exchange, 403, NULL, 0, NULL);
    return false;
}

static void serve_run(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct harness *h = arg;
    wire_run_request *run;
    struct arena arena;

    h->was_http2 = request->http2;
    if (!verify_run(h, exchange, request))
        return;
    arena_init(&arena, 1 << 20);
    assert_int_equal(
        wire_unpack(&dispatch__sdk__v1__run_request__descriptor, request->body, &arena, &run, NULL),
        CODE_OK);
    h->runs++;
    snprintf(h->run_id, sizeof h->run_id, "%s", run->dispatch_id);
    keep_header(request->headers, request->header_count, "x-request-id", h->run_request_id,
                sizeof h->run_request_id);
    if (strcmp(run->function, "hang") == 0) {
        h->hanging = exchange;
        net_loop_stop(h->loop);
    } else if (strcmp(run->function, "flaky") == 0 && h->runs == 1) {
        net_answer(exchange, 503, NULL, 0, NULL);
    } else if (strcmp(run->function, "parent") == 0) {
        parent(exchange, run);
    } else if (strcmp(run->function, "away") == 0) {
        tail_away(exchange);
    } else {
        exit_with(exchange, run->input);
    }
    arena_reset(&arena);
}

static void serve(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    bool was = own(arg, true);

    serve_run(arg, exchange, request);
    own(arg, was);
}

static void run_gone(void *arg, struct net_exchange *exchange)
{
    struct harness *h = arg;

    assert_ptr_equal(exchange, h->hanging);
    h->hanging = NULL;
    h->gone++;
    net_loop_stop(h->loop);
}

void harness_release(struct harness *h)
{
    struct net_exchange *exchange = h->hanging;

    assert_non_null(exchange);
    h->hanging = NULL;
    exit_with(exchange, NULL);
}

/* --- life ------------------------------------------------------------------------------------ */

static void server_ready(void *arg, const struct server *server)
{
    struct harness *h = arg;

    (void)server;
    h->ready = true;
    net_loop_stop(h->loop);
}

static void server_stopped(void *arg)
{
    struct harness *h = arg;

    h->stopped = true;
    net_loop_stop(h->loop);
}

void harness_until(struct harness *h, const bool *flag)
{
    while (!*flag)
        net_loop_run(h->loop);
}

static void start_endpoint(struct harness *h, bool h2c)
{
    struct net_server_options options = {
        .host = "127.0.0.1", .advertise_h2c = h2c, .handle = serve, .gone = run_gone, .arg = h};

    assert_int_equal(net_server_create(&h->endpoint, h->loop, &options, NULL), CODE_OK);
    snprintf(h->endpoint_url, sizeof h->endpoint_url, "http://127.0.0.1:%u",
             net_server_port(h->endpoint));
}

static void start(struct harness *h, const char *store, const char *allowed, bool with_keys,
                  uint32_t grace_ms)
{
    static const char *const listen[] = {"127.0.0.1:0"};
    struct server_options options = {.listen = listen,
                                     .listen_count = 1,
                                     .store = store,
                                     .grace_ms = grace_ms,
                                     .engine = {.retry_min_ns = NS_PER_MS},
                                     .ready = server_ready,
                                     .stopped = server_stopped,
                                     .arg = h};
    struct error err;

    *h = (struct harness){0};
    arena_init(&h->arena, (size_t)256 << 20);
    keys_init(&h->keys);
    assert_int_equal(keys_add(&h->keys, slice_str(HARNESS_KEY), NULL), CODE_OK);
    assert_int_equal(net_loop_create(&h->loop, NULL), CODE_OK);
    assert_int_equal(net_client_create(&h->client, h->loop, &(struct net_client_options){0}, NULL),
                     CODE_OK);
    start_endpoint(h, false);
    policy_init(&h->policy);
    if (allowed)
        assert_int_equal(policy_add(&h->policy, allowed, NULL), CODE_OK);
    options.policy = &h->policy;
    options.loop = h->loop;
    options.keys = with_keys ? &h->keys : NULL;
    if (server_create(&h->server, &options, &err))
        fail_msg("%s", err.message);
    h->port = (uint16_t)strtoul(strchr(server_address(h->server, 0), ':') + 1, NULL, 10);
    assert_int_not_equal(h->port, 0);
    harness_until(h, &h->ready);
}

void harness_start(struct harness *h, bool with_keys, uint32_t grace_ms)
{
    start(h, "memory:", NULL, with_keys, grace_ms);
}

void harness_start_on(struct harness *h, const char *store, bool with_keys, uint32_t grace_ms)
{
    start(h, store, NULL, with_keys, grace_ms);
}

void harness_start_restricted(struct harness *h, const char *allowed)
{
    start(h, "memory:", allowed, true, 5000);
}

void harness_speak_h2c(struct harness *h)
{
    net_server_destroy(h->endpoint);
    start_endpoint(h, true);
}

void harness_finish(struct harness *h)
{
    net_client_destroy(h->client);
    server_destroy(h->server);
    net_server_destroy(h->endpoint);
    net_loop_destroy(h->loop);
    keys_free(&h->keys);
    policy_free(&h->policy);
    arena_reset(&h->arena);
}

/* --- asking ---------------------------------------------------------------------------------- */

static void keep_all(const struct net_response *response, struct reply *reply)
{
    const struct {
        const char *name;
        char *to;
        size_t size;
    } rows[] = {
        {"content-type", reply->type, sizeof reply->type},
        {"x-request-id", reply->request_id, sizeof reply->request_id},
        {"allow", reply->header, sizeof reply->header},
        {"accept-post", reply->header, sizeof reply->header},
        {"www-authenticate", reply->header, sizeof reply->header},
        {"content-encoding", reply->encoding, sizeof reply->encoding},
        {"grpc-status", reply->grpc_status, sizeof reply->grpc_status},
        {"grpc-message", reply->grpc_message, sizeof reply->grpc_message},
        {"grpc-encoding", reply->grpc_encoding, sizeof reply->grpc_encoding},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        keep_header(response->headers, response->header_count, rows[i].name, rows[i].to,
                    rows[i].size);
}

static void replied(void *arg, const struct net_response *response)
{
    struct reply *reply = arg;
    bool was;

    reply->done = true;
    reply->failure = response->failure;
    net_loop_stop(reply->h->loop);
    if (response->failure != NET_OK)
        return;
    reply->status = response->status;
    keep_all(response, reply);
    was = own(reply->h, true);
    reply->body = arena_dup(&reply->h->arena, response->body);
    own(reply->h, was);
    reply->len = response->body.len;
    assert_non_null(reply->body);
}

struct net_call *harness_send(struct harness *h, const struct ask *ask, struct reply *reply)
{
    struct net_header headers[6] = {
        {slice_str("content-type"), slice_str(ask->type ? ask->type : "application/json")}};
    struct net_outgoing outgoing = {.host = slice_str("127.0.0.1"),
                                    .port = h->port,
                                    .http2 = ask->http2,
                                    .target = slice_str(ask->path),
                                    .method = slice_str(ask->method ? ask->method : "POST"),
                                    .headers = headers,
                                    .header_count = 1,
                                    .body = blob_copy(ask->body),
                                    .done = replied,
                                    .arg = reply};
    char authorization[128];
    struct net_call *call;
    struct error err;

    *reply = (struct reply){.h = h};
    assert_non_null(outgoing.body);
    if (h->control[0])
        outgoing.host = slice_str(h->control);
    if (ask->key) {
        snprintf(authorization, sizeof authorization, "Bearer %s", ask->key);
        headers[outgoing.header_count++] =
            (struct net_header){slice_str("authorization"), slice_str(authorization)};
    }
    if (ask->extra.name.data)
        headers[outgoing.header_count++] = ask->extra;
    for (size_t i = 0; i < sizeof ask->more / sizeof *ask->more && ask->more[i].name.data; i++)
        headers[outgoing.header_count++] = ask->more[i];
    if (net_client_send(h->client, &outgoing, &call, &err))
        fail_msg("%s", err.message);
    blob_unref(outgoing.body);
    return call;
}

void harness_ask(struct harness *h, const struct ask *ask, struct reply *reply)
{
    harness_send(h, ask, reply);
    harness_until(h, &reply->done);
    assert_int_equal(reply->failure, NET_OK);
}

void harness_post(struct harness *h, struct reply *reply, const char *path, const char *format, ...)
{
    struct ask ask = {.path = path, .key = HARNESS_KEY};
    char body[1024];
    va_list args;

    va_start(args, format);
    assert_true(vsnprintf(body, sizeof body, format, args) < (int)sizeof body);
    va_end(args);
    ask.body = slice_str(body);
    harness_ask(h, &ask, reply);
}

char *harness_dispatch(struct harness *h, const char *function, const char *input)
{
    wire_dispatch_response *response;
    struct reply reply;

    harness_post(h, &reply, PATH_DISPATCH,
                 "{\"calls\":[{\"endpoint\":\"%s\",\"function\":\"%s\",\"input\":%s}]}",
                 h->endpoint_url, function, input);
    assert_int_equal(reply.status, 200);
    assert_int_equal(wire_from_json(&dispatch__sdk__v1__dispatch_response__descriptor,
                                    slice(reply.body, reply.len), &h->arena, &response, NULL),
                     CODE_OK);
    assert_int_equal(response->n_dispatch_ids, 1);
    return response->dispatch_ids[0];
}

Dispatch__V1__CallInfo *harness_wait(struct harness *h, const char *id)
{
    Dispatch__V1__WaitResponse *response;
    struct reply reply;

    harness_post(h, &reply, PATH_WAIT, "{\"dispatchId\":\"%s\"}", id);
    assert_int_equal(reply.status, 200);
    assert_int_equal(wire_from_json(&dispatch__v1__wait_response__descriptor,
                                    slice(reply.body, reply.len), &h->arena, &response, NULL),
                     CODE_OK);
    assert_non_null(response->call);
    assert_int_equal(response->call->state, DISPATCH__V1__STATE__STATE_DONE);
    return response->call;
}

struct error harness_error(const struct reply *reply)
{
    struct error err;

    assert_string_equal(reply->type, "application/json");
    assert_int_not_equal(reply->status, 200);
    assert_true(wire_connect_error_parse(slice(reply->body, reply->len), &err));
    return err;
}
