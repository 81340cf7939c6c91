// SPDX-License-Identifier: Apache-2.0
/*
 * What the client says to the API, and what it makes of the answers.
 *
 * A Dispatch carries a random idempotency key, so that it may be sent again whenever nobody knows
 * what became of it: the calls are made once, and the ids come back. It is tried again after any
 * passing failure, within the client's time limit; while nobody listens at the URL, for a shorter
 * while. A Wait asks again until the call is done: it changes nothing, so that any passing failure
 * only delays it.
 */
#include "sdk/client.h"
#include "sdk/embedded.h"

#include <stdio.h>

#define DISPATCH_PATH "/dispatch.sdk.v1.DispatchService/Dispatch"
#define WAIT_PATH     "/dispatch.v1.CallService/Wait"

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_LAST_MS = 2000,
    WAIT_MARGIN_MS = 10000, /* beyond the time that the server was asked to hold */
    LAST_MARGIN_MS = 1000,  /* the same, when the caller's own time is up then */
    WAIT_PAUSE_MS = 50,     /* before asking a server again that answers at once, undone */
    TARGET_MAX = 2048,
    RESULT_MEMORY_MAX = 256 << 20,
};

/* --- failures -------------------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    return clock_now(clock_system());
}

/* Jittered uniformly in [1/2, 1] of an exponential delay. */
static uint64_t backoff_ms(struct dispatch_operation *operation)
{
    unsigned doublings = operation->failures < 6 ? operation->failures : 6;
    uint64_t delay = (uint64_t)BACKOFF_FIRST_MS << doublings;

    operation->failures++;
    if (delay > BACKOFF_LAST_MS)
        delay = BACKOFF_LAST_MS;
    return delay / 2 + rand_below(&operation->client->rand, delay / 2 + 1);
}

static int failure_code(enum net_failure failure)
{
    switch (failure) {
    case NET_TIMEOUT:
        return CODE_DEADLINE_EXCEEDED;
    case NET_CANCELED:
        return CODE_CANCELED;
    case NET_MALFORMED:
        return CODE_UNKNOWN;
    case NET_UNSUPPORTED:
        return CODE_UNIMPLEMENTED;
    case NET_TEMPORARY:
        return CODE_RESOURCE_EXHAUSTED;
    case NET_FORBIDDEN:
        return CODE_PERMISSION_DENIED;
    default:
        return CODE_UNAVAILABLE;
    }
}

/* Whether a Wait goes on after it; a malformed answer may be one that a crash cut short. */
static bool is_passing(enum net_failure failure)
{
    return failure == NET_DNS || failure == NET_TCP || failure == NET_TIMEOUT ||
           failure == NET_TEMPORARY || failure == NET_MALFORMED;
}

static bool is_passing_code(int code)
{
    return code == CODE_UNAVAILABLE || code == CODE_DEADLINE_EXCEEDED || code == CODE_CANCELED ||
           code == CODE_RESOURCE_EXHAUSTED || code == CODE_ABORTED;
}

/* The failure that an answer of the API is; its code is never 0. */
static void read_failure(const struct dispatch_client *client, const struct net_response *response,
                         struct dispatch_failure *failure)
{
    struct error err = {0};

    if (!wire_connect_error_parse(response->body, &err) || err.code == CODE_OK)
        error_set(&err, wire_code_from_http(response->status), "HTTP status %d: %.*s",
                  response->status, response->body.len > 200 ? 200 : (int)response->body.len,
                  response->body.len ? (const char *)response->body.data : "");
    if (response->status == 401)
        error_set(&err, CODE_UNAUTHENTICATED,
                  "Dispatch received an invalid authentication token (check %s is correct)",
                  client->key_from_env ? "DISPATCH_API_KEY" : "api_key");
    sdk_fail_from(failure, &err);
    failure->http_status = response->status;
}

static void unreachable(struct dispatch_operation *operation, const struct net_response *response)
{
    sdk_operation_fail(operation, failure_code(response->failure),
                       "cannot reach the Dispatch API at %.200s: %.200s",
                       operation->client->api_url, response->message);
}

/* --- requests -------------------------------------------------------------------------------- */

static void send_request(struct dispatch_operation *operation, const char *path, struct blob *body,
                         uint32_t timeout_ms,
                         void (*done)(void *arg, const struct net_response *response))
{
    struct dispatch_client *client = operation->client;
    char target[TARGET_MAX], timeout[16];
    int timeout_len = snprintf(timeout, sizeof timeout, "%u", timeout_ms);
    struct net_header headers[] = {
        {slice_str("content-type"), slice_str("application/proto")},
        {slice_str("connect-protocol-version"), slice_str("1")},
        {slice_str("connect-timeout-ms"), slice(timeout, (size_t)timeout_len)},
        {slice_str("authorization"), slice_str(client->authorization)},
        {slice_str("user-agent"), slice_str("dispatch-c/" DISPATCH_SDK_VERSION)},
        {slice_str("idempotency-key"), slice_str(operation->key)},
    };
    struct net_outgoing outgoing = {
        .host = client->url.host,
        .port = client->url.port,
        .tls = slice_eq_str(client->url.scheme, "https"),
        .method = slice_str("POST"),
        .headers = headers,
        .header_count = sizeof headers / sizeof *headers - (operation->kind != SDK_DISPATCH),
        .body = body,
        .timeout_ms = timeout_ms,
        .done = done,
        .arg = operation,
    };
    struct error err = {0};
    int len = snprintf(target, sizeof target, "%.*s%s", SLICE_FMT(client->url.path), path);

    if (len < 0 || (size_t)len >= sizeof target) {
        sdk_operation_fail(operation, CODE_INVALID_ARGUMENT, "the API URL is too long");
        return;
    }
    outgoing.target = slice(target, (size_t)len);
    operation->asked_ns = now_ns();
    if (net_client_send(client->http, &outgoing, &operation->call, &err)) {
        operation->call = NULL;
        sdk_operation_fail(operation, err.code, "cannot send to the Dispatch API at %.200s: %.200s",
                           client->api_url, err.message);
    }
}

/* --- Dispatch -------------------------------------------------------------------------------- */

int sdk_read_ids(struct slice response, size_t count, struct dispatch_ids *ids, struct error *err)
{
    struct arena *memory = sdk_memory_create(RESULT_MEMORY_MAX);
    wire_dispatch_response *message;
    int rc;

    if (!memory)
        return error_memory(err);
    rc = wire_unpack(&dispatch__sdk__v1__dispatch_response__descriptor, response, memory, &message,
                     err);
    if (!rc && message->n_dispatch_ids != count)
        rc = error_set(err, CODE_INTERNAL, "the API answered %zu calls with %zu ids", count,
                       message->n_dispatch_ids);
    if (rc) {
        sdk_memory_destroy(memory);
        return rc;
    }
    *ids = (struct dispatch_ids){.id = (const char *const *)message->dispatch_ids,
                                 .count = message->n_dispatch_ids,
                                 .memory_ = memory};
    return 0;
}

/* After a passing failure: again, if there is time. False: there is not. */
static bool dispatch_again(struct dispatch_operation *operation, bool unsent)
{
    const struct dispatch_client *client = operation->client;
    int64_t until = unsent ? operation->started_ns + client->connect_retry_ms * NS_PER_MS
                           : operation->sent_ns + client->timeout_ms * NS_PER_MS;
    uint64_t delay_ms = backoff_ms(operation);

    if ((until - now_ns()) / NS_PER_MS < (int64_t)delay_ms)
        return false;
    if (unsent) /* the time for an answer has not begun */
        operation->sent_ns = now_ns() + (int64_t)delay_ms * NS_PER_MS;
    sdk_operation_later(operation, delay_ms);
    return true;
}

static void dispatched(struct dispatch_operation *operation, struct slice body)
{
    struct error err = {0};

    operation->failure = (struct dispatch_failure){0};
    if (sdk_read_ids(body, operation->count, &operation->ids, &err))
        sdk_fail_from(&operation->failure, &err);
    sdk_operation_finish(operation);
}

/* The API said no: operation->failure has its words. */
static void dispatch_refused(struct dispatch_operation *operation, bool unsent)
{
    if (operation->failure.code != CODE_UNAVAILABLE || !dispatch_again(operation, unsent))
        sdk_operation_finish(operation);
}

static void on_dispatched(void *arg, const struct net_response *response)
{
    struct dispatch_operation *operation = arg;

    operation->call = NULL;
    if (response->failure != NET_OK) {
        /* The last attempt may have next to no time: what came before it tells more. */
        if (response->failure != NET_TIMEOUT || !operation->failure.code)
            sdk_fail(&operation->failure, failure_code(response->failure),
                     "cannot reach the Dispatch API at %.200s: %.200s", operation->client->api_url,
                     response->message);
        if (!is_passing(response->failure) || !dispatch_again(operation, response->unsent))
            sdk_operation_finish(operation);
        return;
    }
    if (response->status == 200) {
        dispatched(operation, response->body);
        return;
    }
    read_failure(operation->client, response, &operation->failure);
    dispatch_refused(operation, false);
}

/* With the time that is left. */
static void send_now(struct dispatch_operation *operation, const char *path,
                     void (*done)(void *arg, const struct net_response *response))
{
    int64_t left_ns = operation->sent_ns + operation->client->timeout_ms * NS_PER_MS - now_ns();
    uint32_t left_ms = left_ns > NS_PER_MS ? (uint32_t)(left_ns / NS_PER_MS) : 1;

    send_request(operation, path, operation->request, left_ms, done);
}

/* --- Wait ------------------------------------------------------------------------------------ */

int sdk_result_from_info(const Dispatch__V1__CallInfo *info, const char *id, struct arena *memory,
                         struct dispatch_result *result, struct error *err)
{
    enum dispatch_status status = (enum dispatch_status)info->status;
    struct dispatch_error *error;
    int rc = 0;

    *result = (struct dispatch_result){.memory_ = memory};
    if (info->result)
        rc = sdk_result_from_wire(info->result, memory, result, err);
    if (rc)
        return rc;
    if (result->error || (status != DISPATCH_OK && status != DISPATCH_UNSPECIFIED)) {
        error = arena_zalloc(memory, 1, sizeof *error);
        if (!error)
            return error_memory(err);
        if (result->error)
            *error = *result->error;
        else
            *error =
                (struct dispatch_error){.type = "status", .message = dispatch_status_name(status)};
        if (error->status == DISPATCH_UNSPECIFIED)
            error->status = status;
        result->error = error;
    }
    if (status == DISPATCH_UNSPECIFIED)
        status = result->error ? DISPATCH_PERMANENT_ERROR : DISPATCH_OK;
    result->status = status;
    result->memory_ = memory;
    result->dispatch_id = arena_dup(memory, slice_str(id));
    return result->dispatch_id ? 0 : error_memory(err);
}

/* 0 and *done: the result is there. 0 alone: the call goes on. */
static int read_result(struct dispatch_operation *operation, struct slice body, bool *done,
                       struct error *err)
{
    struct arena *memory = sdk_memory_create(RESULT_MEMORY_MAX);
    Dispatch__V1__WaitResponse *response;
    struct dispatch_result result;
    int rc;

    if (!memory)
        return error_memory(err);
    rc = wire_unpack(&dispatch__v1__wait_response__descriptor, body, memory, &response, err);
    *done = !rc && response->call && response->call->state == DISPATCH__V1__STATE__STATE_DONE;
    if (*done)
        rc = sdk_result_from_info(response->call, operation->id, memory, &result, err);
    if (rc || !*done) {
        sdk_memory_destroy(memory);
        return rc;
    }
    operation->result = result;
    return 0;
}

static void deadline_passed(struct dispatch_operation *operation)
{
    int64_t waited_ms = (now_ns() - operation->started_ns) / NS_PER_MS;
    char last[320] = "";

    if (operation->failure.code)
        snprintf(last, sizeof last, "; last: %.300s", operation->failure.message);
    sdk_operation_fail(operation, CODE_DEADLINE_EXCEEDED, "call %.100s is not done after %lld ms%s",
                       operation->id, (long long)waited_ms, last);
}

static void ask_again(struct dispatch_operation *operation, uint64_t delay_ms)
{
    int64_t left =
        operation->deadline_ns == TIME_NEVER ? TIME_NEVER : operation->deadline_ns - now_ns();

    if (left <= 0)
        deadline_passed(operation);
    else
        sdk_operation_later(operation, left / NS_PER_MS < (int64_t)delay_ms
                                           ? (uint64_t)(left / NS_PER_MS)
                                           : delay_ms);
}

static void waited(struct dispatch_operation *operation, struct slice body)
{
    struct error err = {0};
    bool done = false;

    operation->failure = (struct dispatch_failure){0};
    operation->failures = 0;
    if (read_result(operation, body, &done, &err))
        sdk_operation_fail(operation, err.code, "result of call %.100s: %.300s", operation->id,
                           err.message);
    else if (done)
        sdk_operation_finish(operation);
    else
        ask_again(operation,
                  now_ns() - operation->asked_ns < WAIT_PAUSE_MS * NS_PER_MS ? WAIT_PAUSE_MS : 0);
}

/* As dispatch_refused. */
static void wait_refused(struct dispatch_operation *operation)
{
    if (is_passing_code(operation->failure.code))
        ask_again(operation, backoff_ms(operation));
    else
        sdk_operation_finish(operation);
}

static void on_waited(void *arg, const struct net_response *response)
{
    struct dispatch_operation *operation = arg;

    operation->call = NULL;
    if (response->failure != NET_OK) {
        if (!is_passing(response->failure)) {
            unreachable(operation, response);
            return;
        }
        sdk_fail(&operation->failure, failure_code(response->failure), "%s", response->message);
        ask_again(operation, backoff_ms(operation));
        return;
    }
    if (response->status == 200) {
        waited(operation, response->body);
        return;
    }
    read_failure(operation->client, response, &operation->failure);
    wait_refused(operation);
}

static void send_wait(struct dispatch_operation *operation)
{
    Dispatch__V1__WaitRequest message = DISPATCH__V1__WAIT_REQUEST__INIT;
    wire_duration hold = GOOGLE__PROTOBUF__DURATION__INIT;
    int64_t hold_ns = SDK_WAIT_HOLD_MS * NS_PER_MS;
    int64_t now = now_ns();
    uint32_t margin_ms = WAIT_MARGIN_MS;
    struct blob *body;

    if (operation->deadline_ns - now < hold_ns) {
        hold_ns = operation->deadline_ns > now ? operation->deadline_ns - now : 0;
        margin_ms = LAST_MARGIN_MS;
    }
    wire_set_duration(&hold, hold_ns);
    message.dispatch_id = operation->id;
    message.max_wait = &hold;
    body = wire_pack_blob(&message);
    if (!body) {
        sdk_operation_fail(operation, CODE_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    send_request(operation, WAIT_PATH, body, (uint32_t)(hold_ns / NS_PER_MS) + margin_ms,
                 on_waited);
    blob_unref(body);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void controlled(struct dispatch_operation *operation, struct slice body)
{
    operation->failure = (struct dispatch_failure){0};
    operation->reply = blob_copy(body);
    if (!operation->reply)
        sdk_fail_memory(&operation->failure);
    sdk_operation_finish(operation);
}

/* As dispatch_refused, but what may have been done is not asked for again. */
static void control_refused(struct dispatch_operation *operation, bool unsent)
{
    bool again = operation->repeatable || unsent;

    if (!again || operation->failure.code != CODE_UNAVAILABLE || !dispatch_again(operation, unsent))
        sdk_operation_finish(operation);
}

static void on_controlled(void *arg, const struct net_response *response)
{
    struct dispatch_operation *operation = arg;

    operation->call = NULL;
    if (response->failure == NET_OK && response->status == 200) {
        controlled(operation, response->body);
        return;
    }
    if (response->failure == NET_OK)
        read_failure(operation->client, response, &operation->failure);
    else
        sdk_fail(&operation->failure, failure_code(response->failure),
                 "cannot reach the Dispatch API at %.200s: %.200s", operation->client->api_url,
                 response->message);
    control_refused(operation, response->failure != NET_OK && response->unsent);
}

void sdk_operation_answered(struct dispatch_operation *operation, struct slice body)
{
    if (operation->kind == SDK_WAIT)
        waited(operation, body);
    else if (operation->kind == SDK_CONTROL)
        controlled(operation, body);
    else
        dispatched(operation, body);
}

void sdk_operation_refused(struct dispatch_operation *operation, const struct error *error,
                           bool unsent)
{
    sdk_fail_from(&operation->failure, error);
    if (operation->kind == SDK_WAIT)
        wait_refused(operation);
    else if (operation->kind == SDK_CONTROL)
        control_refused(operation, unsent);
    else
        dispatch_refused(operation, unsent);
}

void sdk_operation_attempt(struct dispatch_operation *operation)
{
    if (operation->client->embedded)
        sdk_embedded_attempt(operation->client->embedded, operation);
    else if (operation->kind == SDK_WAIT)
        send_wait(operation);
    else if (operation->kind == SDK_CONTROL)
        send_now(operation, operation->path, on_controlled);
    else
        send_now(operation, DISPATCH_PATH, on_dispatched);
}
