// SPDX-License-Identifier: Apache-2.0
/*
 * The orchestrator inside. A run is handed to the endpoint as it is, with the memory that it lies
 * in; the thread that ran the function decodes its answer into memory of the attempt, puts that
 * into a list, and a descriptor wakes the loop, which tells the orchestrator. Operations of the
 * client are handed to the orchestrator by the loop's thread, one function call away; what follows
 * from their outcome (trying again, giving up) is as for those over HTTP.
 *
 * An attempt outlives the orchestrator's interest in it, as a function cannot be called back: it is
 * freed by the loop, when its answer has come.
 */
#include "sdk/embedded.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sdk/client.h"
#include "sdk/endpoint.h"
#include "server/server.h"

#define MESSAGE_MAX ((size_t)256 << 20)

enum { RUNS_AT_ONCE = 64 }; /* made known to threads together */

enum { LOADING_LOOK_MS = 1000 };

struct sdk_embedded {
    struct invoker vtable; /* first */
    struct dispatch_client *client;
    struct sdk_embedded_options options;
    char *url, *store; /* copies: the server reads its store's name as long as it lives */
    struct server *server;
    struct net_watch *watch;
    bool settling; /* somebody waits until no call is live */
    unsigned runs; /* that the endpoint has not been told to start */
    int wake;      /* an eventfd: there are answers */
    pthread_mutex_t lock;
    struct list answers; /* under the lock */
};

/* --- runs ------------------------------------------------------------------------------------ */

struct attempt {
    struct list node; /* in the answers */
    struct sdk_embedded *embedded;
    struct orchestrator_run *run; /* NULL: given up. The loop's thread's alone */
    /* The answer. */
    struct arena arena;
    wire_run_response *response; /* NULL: it failed */
    struct run_failure failure;
};

/* What an endpoint answers instead of a RunResponse is a Connect error. */
static void judge(struct attempt *attempt, const struct dispatch_reply *reply)
{
    struct run_failure *failure = &attempt->failure;
    struct error err;

    if (!wire_connect_error_parse(slice(reply->body, reply->size), &err) || err.code == CODE_OK)
        error_set(&err, wire_code_from_http(reply->http_status), "HTTP status %d",
                  reply->http_status);
    failure->status = wire_status_from_code(err.code);
    failure->type = code_name(err.code);
    failure->message = arena_printf(&attempt->arena, "%s: %s", attempt->embedded->url, err.message);
}

static void decode(struct attempt *attempt, const struct dispatch_reply *reply)
{
    struct run_failure *failure = &attempt->failure;
    struct error err;

    if (reply->http_status != 200) {
        judge(attempt, reply);
    } else if (wire_unpack(&dispatch__sdk__v1__run_response__descriptor,
                           slice(reply->body, reply->size), &attempt->arena, &attempt->response,
                           &err)) {
        failure->status =
            err.code == CODE_RESOURCE_EXHAUSTED ? STATUS_TEMPORARY_ERROR : STATUS_INVALID_RESPONSE;
        failure->type = "invalid response";
        failure->message = arena_printf(&attempt->arena, "%s: the answer is not a RunResponse: %s",
                                        attempt->embedded->url, err.message);
    }
    if (!attempt->response && !failure->message)
        failure->message = "out of memory";
}

/* The endpoint's answer, on any thread. */
static void on_reply(void *arg, const struct dispatch_reply *reply)
{
    struct attempt *attempt = arg;
    struct sdk_embedded *embedded = attempt->embedded;
    uint64_t one = 1;
    bool first;

    decode(attempt, reply);
    pthread_mutex_lock(&embedded->lock);
    first = list_empty(&embedded->answers);
    list_append(&embedded->answers, &attempt->node);
    pthread_mutex_unlock(&embedded->lock);
    /* The endpoint goes first, and waits for this answer. A counter that is full wakes as well. */
    if (first && write(embedded->wake, &one, sizeof one) < 0)
        assert(errno == EAGAIN);
}

static void tell(struct attempt *attempt)
{
    struct orchestrator_run *run = attempt->run;

    if (run && attempt->response)
        orchestrator_run_answered(run, attempt->response);
    else if (run)
        orchestrator_run_failed(run, &attempt->failure);
    arena_reset(&attempt->arena);
    free(attempt);
}

/* How many there were. */
static size_t take_answers(struct sdk_embedded *embedded)
{
    struct list answers, *node;
    uint64_t count;
    size_t told = 0;

    list_init(&answers);
    if (read(embedded->wake, &count, sizeof count) < 0)
        assert(errno == EAGAIN); /* before the list: what comes after wakes again */
    pthread_mutex_lock(&embedded->lock);
    list_splice(&answers, &embedded->answers);
    pthread_mutex_unlock(&embedded->lock);
    for (; (node = list_pop(&answers)); told++)
        tell(LIST_ENTRY(node, struct attempt, node));
    return told;
}

static void on_answers(void *arg)
{
    struct sdk_embedded *embedded = arg;

    if (take_answers(embedded) > 0)
        server_changed(embedded->server);
}

/* The threads hear of runs when the step that made them is over: every event is followed by one. */
static void start_runs(struct sdk_embedded *embedded)
{
    if (embedded->runs > 0)
        sdk_endpoint_start(embedded->options.endpoint);
    embedded->runs = 0;
}

static void invoker_run(struct invoker *vtable, struct orchestrator_run *run)
{
    struct sdk_embedded *embedded = (struct sdk_embedded *)(void *)vtable;
    struct attempt *attempt;

    if (!slice_eq_str(run->endpoint, embedded->url)) {
        struct invoker *next = server_invoker(embedded->server);

        next->run(next, run);
        return;
    }
    attempt = calloc(1, sizeof *attempt);
    if (!attempt) {
        struct run_failure failure = {
            .status = STATUS_TEMPORARY_ERROR, .type = "Memory", .message = "out of memory"};

        orchestrator_run_failed(run, &failure);
        server_changed(embedded->server);
        return;
    }
    list_init(&attempt->node);
    arena_init(&attempt->arena, MESSAGE_MAX);
    attempt->embedded = embedded;
    attempt->run = run;
    run->invoker_data = attempt;
    run->endpoint = slice_str(embedded->url); /* the arena that it was in goes with the request */
    orchestrator_run_sent(run);
    sdk_endpoint_run(embedded->options.endpoint, run->request, run->arena, on_reply, attempt);
    if (++embedded->runs == RUNS_AT_ONCE)
        start_runs(embedded);
}

static void invoker_cancel(struct invoker *vtable, struct orchestrator_run *run)
{
    struct sdk_embedded *embedded = (struct sdk_embedded *)(void *)vtable;
    struct invoker *next = server_invoker(embedded->server);
    struct attempt *attempt = run->invoker_data;

    if (!slice_eq_str(run->endpoint, embedded->url)) {
        next->cancel(next, run);
        return;
    }
    attempt->run = NULL;
    orchestrator_run_gone(run);
    server_changed(embedded->server);
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_ready(void *arg, const struct server *server)
{
    struct sdk_embedded *embedded = arg;

    (void)server;
    sdk_client_hurry(embedded->client);
}

static void on_stepped(void *arg)
{
    struct sdk_embedded *embedded = arg;
    const struct orchestrator *o = server_orchestrator(embedded->server);
    struct orchestrator_stats stats;

    start_runs(embedded);
    if (!embedded->settling || !orchestrator_ready(o) || !orchestrator_idle(o))
        return;
    orchestrator_stats(o, &stats);
    if (stats.engine.live > 0)
        return;
    embedded->settling = false;
    embedded->options.settled(embedded->options.arg);
}

void sdk_embedded_settle(struct sdk_embedded *embedded)
{
    embedded->settling = true;
    server_changed(embedded->server);
}

static void on_stopped(void *arg)
{
    struct sdk_embedded *embedded = arg;

    if (embedded->options.stopped)
        embedded->options.stopped(embedded->options.arg);
}

static int start(struct sdk_embedded *embedded, struct error *err)
{
    struct server_options options = {
        .loop = embedded->client->loop,
        .store = embedded->store,
        .store_wait_ms = embedded->options.store_wait_ms,
        .store_inline = embedded->options.store_inline,
        .invoker = &embedded->vtable,
        .grace_ms = embedded->options.grace_ms,
        .ready = on_ready,
        .stepped = on_stepped,
        .stopped = on_stopped,
        .arg = embedded,
    };

    if (!embedded->url || !embedded->store)
        return error_memory(err);
    if (embedded->wake < 0)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot make an eventfd");
    embedded->watch =
        net_watch_create(embedded->client->loop, embedded->wake, on_answers, embedded);
    if (!embedded->watch)
        return error_memory(err);
    return server_create(&embedded->server, &options, err);
}

int sdk_embedded_create(struct dispatch_client *client, const struct sdk_embedded_options *options,
                        struct sdk_embedded **out, struct error *err)
{
    struct sdk_embedded *embedded = calloc(1, sizeof *embedded);
    int rc;

    if (!embedded)
        return error_memory(err);
    embedded->vtable = (struct invoker){.run = invoker_run, .cancel = invoker_cancel};
    embedded->client = client;
    embedded->options = *options;
    embedded->url = strdup(options->url);
    embedded->store = strdup(options->store);
    embedded->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    list_init(&embedded->answers);
    sdk_mutex_init(&embedded->lock);
    rc = start(embedded, err);
    embedded->options.store = embedded->options.url = NULL; /* the caller's */
    if (rc)
        sdk_embedded_destroy(embedded);
    else
        *out = embedded;
    return rc;
}

void sdk_embedded_stop(struct sdk_embedded *embedded)
{
    server_stop(embedded->server);
}

void sdk_embedded_destroy(struct sdk_embedded *embedded)
{
    if (!embedded)
        return;
    server_destroy(embedded->server); /* it gives up what was still under way */
    if (embedded->wake >= 0) {
        take_answers(embedded);
        close(embedded->wake);
    }
    net_watch_destroy(embedded->watch);
    pthread_mutex_destroy(&embedded->lock);
    free(embedded->url);
    free(embedded->store);
    free(embedded);
}

const char *sdk_embedded_url(const struct sdk_embedded *embedded)
{
    return embedded->url;
}

bool sdk_embedded_has_work(struct sdk_embedded *embedded)
{
    return sdk_endpoint_has_work(embedded->options.endpoint);
}

void sdk_embedded_work(struct sdk_embedded *embedded)
{
    sdk_endpoint_work(embedded->options.endpoint);
}

/* --- operations ------------------------------------------------------------------------------ */

/* What the orchestrator knows an operation by: its answer may come when that is no more. */
struct sdk_embedded_request {
    struct dispatch_operation *operation; /* NULL: given up */
    struct orchestrator_wait *wait;
};

/* The operation that is to hear of it; NULL: none is. The request is no more. */
static struct dispatch_operation *end_request(struct sdk_embedded_request *request)
{
    struct dispatch_operation *operation = request->operation;

    if (operation)
        operation->local = NULL;
    free(request);
    return operation;
}

static void outcome(struct dispatch_operation *operation, const struct error *error,
                    const void *message)
{
    struct error err;
    struct blob *body;

    if (error) {
        sdk_operation_refused(operation, error, false);
        return;
    }
    body = wire_pack_blob(message);
    if (body) {
        sdk_operation_answered(operation, blob_slice(body));
    } else {
        error_memory(&err);
        sdk_operation_refused(operation, &err, false);
    }
    blob_unref(body);
}

static void dispatched(void *arg, const struct error *error, const wire_dispatch_response *response)
{
    struct dispatch_operation *operation = end_request(arg);

    if (operation)
        outcome(operation, error, response);
}

static void waited(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct dispatch_operation *operation = end_request(arg);
    Dispatch__V1__WaitResponse response = DISPATCH__V1__WAIT_RESPONSE__INIT;

    response.call = (Dispatch__V1__CallInfo *)(uintptr_t)info;
    if (operation)
        outcome(operation, error, &response);
}

static void start_dispatch(struct orchestrator *o, struct dispatch_operation *operation)
{
    wire_dispatch_request *message;
    struct arena arena;
    struct error err;

    arena_init(&arena, MESSAGE_MAX);
    if (wire_unpack(&dispatch__sdk__v1__dispatch_request__descriptor,
                    blob_slice(operation->request), &arena, &message, &err)) {
        end_request(operation->local);
        sdk_operation_refused(operation, &err, false);
    } else {
        orchestrator_dispatch_keyed(o, slice_str(ORG_DEFAULT), slice_str(operation->key), message,
                                    dispatched, operation->local);
    }
    arena_reset(&arena);
}

static void start_wait(struct orchestrator *o, struct dispatch_operation *operation)
{
    struct sdk_embedded_request *request = operation->local;
    int64_t left = -1;
    struct orchestrator_wait *wait;

    if (operation->deadline_ns != TIME_NEVER) {
        left = operation->deadline_ns - clock_now(clock_system());
        left = left < 0 ? 0 : left;
    }
    operation->asked_ns = clock_now(clock_system());
    wait = orchestrator_wait(o, slice_str(ORG_DEFAULT), slice_str(operation->id), left, waited,
                             request);
    if (wait)
        request->wait = wait;
}

static void got(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct dispatch_operation *operation = end_request(arg);
    Dispatch__V1__GetResponse response = DISPATCH__V1__GET_RESPONSE__INIT;

    response.call = (Dispatch__V1__CallInfo *)(uintptr_t)info;
    if (operation)
        outcome(operation, error, &response);
}

/* Cancel, Restart, Complete: their answers are all empty. */
static void controlled(void *arg, const struct error *error)
{
    struct dispatch_operation *operation = end_request(arg);
    Dispatch__V1__CancelResponse response = DISPATCH__V1__CANCEL_RESPONSE__INIT;

    if (operation)
        outcome(operation, error, &response);
}

static void retried(void *arg, const struct error *error, const wire_dispatch_response *made)
{
    struct dispatch_operation *operation = end_request(arg);
    Dispatch__V1__RetryResponse response = DISPATCH__V1__RETRY_RESPONSE__INIT;

    if (!error)
        response.dispatch_id = made->dispatch_ids[0];
    if (operation)
        outcome(operation, error, &response);
}

static void control(struct orchestrator *o, const void *message, struct sdk_embedded_request *r)
{
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)message)->descriptor;
    struct slice org = slice_str(ORG_DEFAULT);

    if (type == &dispatch__v1__get_request__descriptor) {
        const Dispatch__V1__GetRequest *get = message;

        (get->include_state ? orchestrator_get_with_state
                            : orchestrator_get)(o, org, slice_str(get->dispatch_id), got, r);
    } else if (type == &dispatch__v1__cancel_request__descriptor) {
        const Dispatch__V1__CancelRequest *cancel = message;

        orchestrator_cancel(o, org, slice_str(cancel->dispatch_id), controlled, r);
    } else if (type == &dispatch__v1__restart_request__descriptor) {
        const Dispatch__V1__RestartRequest *restart = message;

        orchestrator_restart(o, org, slice_str(restart->dispatch_id), controlled, r);
    } else if (type == &dispatch__v1__retry_request__descriptor) {
        const Dispatch__V1__RetryRequest *retry = message;

        orchestrator_retry(o, org, slice_str(retry->dispatch_id), retried, r);
    } else {
        orchestrator_complete(o, org, message, controlled, r);
    }
}

static void start_control(struct orchestrator *o, struct dispatch_operation *operation)
{
    struct arena arena;
    struct error err;
    void *message;

    arena_init(&arena, MESSAGE_MAX);
    if (wire_unpack(operation->type, blob_slice(operation->request), &arena, &message, &err)) {
        end_request(operation->local);
        sdk_operation_refused(operation, &err, false);
    } else {
        control(o, message, operation->local);
    }
    arena_reset(&arena);
}

void sdk_embedded_attempt(struct sdk_embedded *embedded, struct dispatch_operation *operation)
{
    struct orchestrator *o = server_orchestrator(embedded->server);
    struct error err;

    if (!o) {
        sdk_operation_fail(operation, CODE_CANCELED,
                           "the orchestrator of this program has stopped");
        return;
    }
    if (orchestrator_loading(o) && operation->kind != SDK_WAIT) {
        /* Its time begins when they are loaded; on_ready makes it again then. */
        operation->started_ns = operation->sent_ns = clock_now(clock_system());
        sdk_operation_later(operation, LOADING_LOOK_MS);
        return;
    }
    if (!orchestrator_ready(o)) {
        error_set(&err, CODE_UNAVAILABLE, "%s", orchestrator_trouble(o));
        sdk_operation_refused(operation, &err, true);
        return;
    }
    operation->local = calloc(1, sizeof *operation->local);
    if (!operation->local) {
        sdk_operation_fail(operation, CODE_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    operation->local->operation = operation;
    if (operation->kind == SDK_WAIT)
        start_wait(o, operation);
    else if (operation->kind == SDK_CONTROL)
        start_control(o, operation);
    else
        start_dispatch(o, operation);
    server_changed(embedded->server);
}

void sdk_embedded_cancel(struct dispatch_operation *operation)
{
    struct sdk_embedded_request *request = operation->local;

    operation->local = NULL;
    request->operation = NULL;
    if (request->wait) {
        orchestrator_wait_cancel(request->wait);
        free(request);
    }
}
