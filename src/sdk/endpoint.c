// SPDX-License-Identifier: Apache-2.0
/*
 * The endpoint: Run requests in, Run responses out. A request is looked into just far enough to
 * know its function and its call, then queued for the pool; the thread that takes it decodes it,
 * calls the function, encodes what that returned, and answers.
 *
 * The calls that are running are in a table by id: when the orchestrator, whose own timeout has
 * passed, asks again for a run that goes on here, the second request joins the first if it differs
 * in nothing but the orchestrator's clock, and is put off otherwise. A request belongs to whoever
 * answers it, and is freed then.
 */
#include "sdk/endpoint.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/blob.h"
#include "base/map.h"
#include "sdk/fiber.h"
#include "sdk/suspended.h"

enum { WORKERS_MIN = 4, WORKERS_MAX = 4096, QUEUE_DEFAULT = 1024, JOINED_MAX = 64 };

/* Who waits for an answer. */
struct waiter {
    struct waiter *next;
    void (*done)(void *arg, const struct dispatch_reply *reply);
    void *arg;
};

struct dispatch_request {
    struct sdk_job job;
    struct dispatch_endpoint *endpoint;
    struct dispatch_request *chain; /* in the table, with the same hash */
    struct sdk_function function;
    struct dispatch_ctx *ctx; /* with the message, of a direct one; NULL: it was taken */
    bool direct;              /* from this process: there are no bytes */
    struct slice id;          /* into bytes; empty: not in the table */
    struct waiter first;
    unsigned joined;
    const char *name; /* behind bytes */
    size_t size;
    uint8_t bytes[];
};

struct dispatch_endpoint {
    struct dispatch_endpoint_options options;
    struct dispatch_registry *registry;
    struct sdk_pool *pool;
    struct sdk_coroutines *coroutines;
    struct sdk_listener *listener;
    struct sdk_verifier *verifier; /* NULL: whoever asks */
    pthread_mutex_t lock;          /* of what follows */
    pthread_cond_t idle;           /* outstanding became 0 */
    struct map running;            /* hash of the id to a chain of requests */
    size_t outstanding;
    bool stopping;
};

/* --- making ---------------------------------------------------------------------------------- */

static uint32_t default_workers(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    return processors > WORKERS_MIN ? (uint32_t)processors : WORKERS_MIN;
}

static int create_coroutines(struct dispatch_endpoint *endpoint, struct error *err)
{
    const struct dispatch_endpoint_options *from = &endpoint->options;
    struct sdk_coroutines_options options = {.registry = endpoint->registry,
                                             .stack_size = from->stack_size,
                                             .max_suspended = from->max_suspended,
                                             .max_suspended_bytes = from->max_suspended_bytes,
                                             .on_warning = from->on_warning,
                                             .arg = from->arg};

    return sdk_coroutines_create(&options, &endpoint->coroutines, err);
}

static int create(const struct dispatch_endpoint_options *options, bool threads,
                  struct dispatch_endpoint **endpoint, struct dispatch_failure *failure)
{
    struct dispatch_endpoint *made = calloc(1, sizeof *made);
    pthread_condattr_t monotonic;
    struct error err = {0};
    int rc;

    if (!made)
        return sdk_fail_memory(failure);
    if (options)
        made->options = *options;
    made->registry = sdk_registry(made->options.registry);
    if (!made->options.workers)
        made->options.workers = default_workers();
    if (made->options.workers > WORKERS_MAX)
        made->options.workers = WORKERS_MAX;
    if (!threads)
        made->options.workers = 0;
    if (!made->options.max_queue)
        made->options.max_queue = QUEUE_DEFAULT;
    if (!made->options.max_run_memory)
        made->options.max_run_memory = SDK_DEFAULT_RUN_MEMORY;
    rc = sdk_registry_check(made->registry, failure);
    if (!rc)
        rc = sdk_verifier_create(made->options.verification_key, &made->verifier, failure);
    made->options.verification_key = NULL;
    if (!rc && create_coroutines(made, &err))
        rc = sdk_fail_from(failure, &err);
    if (!rc && sdk_pool_create(made->options.workers, made->options.max_queue, SDK_PATIENCE_MS,
                               &made->pool, &err))
        rc = sdk_fail_from(failure, &err);
    if (rc) {
        sdk_coroutines_destroy(made->coroutines);
        free(made->verifier);
        free(made);
        return rc;
    }
    sdk_mutex_init(&made->lock);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&made->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *endpoint = made;
    return 0;
}

const struct sdk_verifier *sdk_endpoint_verifier(const struct dispatch_endpoint *endpoint)
{
    return endpoint->verifier;
}

int dispatch_endpoint_create(const struct dispatch_endpoint_options *options,
                             struct dispatch_endpoint **endpoint, struct dispatch_failure *failure)
{
    return create(options, true, endpoint, failure);
}

int sdk_endpoint_create_threadless(const struct dispatch_endpoint_options *options,
                                   struct dispatch_endpoint **endpoint,
                                   struct dispatch_failure *failure)
{
    return create(options, false, endpoint, failure);
}

static int listen_as(struct dispatch_endpoint *endpoint, const struct sdk_listen_options *options,
                     struct dispatch_failure *failure)
{
    struct error err = {0};

    if (endpoint->listener)
        return sdk_fail(failure, CODE_FAILED_PRECONDITION, "the endpoint listens already");
    if (sdk_listener_create(endpoint, options, &endpoint->listener, &err))
        return sdk_fail_from(failure, &err);
    return 0;
}

int dispatch_endpoint_listen(struct dispatch_endpoint *endpoint, const char *addr,
                             struct dispatch_failure *failure)
{
    struct sdk_listen_options options = {.addr = sdk_endpoint_addr(addr)};

    return listen_as(endpoint, &options, failure);
}

int dispatch_endpoint_listen_tls(struct dispatch_endpoint *endpoint, const char *addr,
                                 const char *cert_file, const char *key_file,
                                 struct dispatch_failure *failure)
{
    struct sdk_listen_options options = {
        .addr = sdk_endpoint_addr(addr), .cert_file = cert_file, .key_file = key_file};

    if (!cert_file || !key_file)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "TLS needs both a certificate file and a key file");
    return listen_as(endpoint, &options, failure);
}

uint16_t dispatch_endpoint_port(const struct dispatch_endpoint *endpoint)
{
    return endpoint->listener ? sdk_listener_port(endpoint->listener) : 0;
}

/* --- stopping -------------------------------------------------------------------------------- */

bool dispatch_endpoint_stop(struct dispatch_endpoint *endpoint, uint32_t grace_ms)
{
    struct timespec until = sdk_after_ms(grace_ms);
    bool idle;

    if (endpoint->listener)
        sdk_listener_close(endpoint->listener);
    pthread_mutex_lock(&endpoint->lock);
    endpoint->stopping = true;
    while (endpoint->outstanding > 0)
        if (pthread_cond_timedwait(&endpoint->idle, &endpoint->lock, &until))
            break;
    idle = endpoint->outstanding == 0;
    pthread_mutex_unlock(&endpoint->lock);
    if (idle && endpoint->listener)
        sdk_listener_flush(endpoint->listener, grace_ms);
    return idle;
}

void dispatch_endpoint_destroy(struct dispatch_endpoint *endpoint)
{
    if (!endpoint)
        return;
    dispatch_endpoint_stop(endpoint, 0);
    sdk_endpoint_work(endpoint);
    pthread_mutex_lock(&endpoint->lock);
    while (endpoint->outstanding > 0)
        pthread_cond_wait(&endpoint->idle, &endpoint->lock);
    pthread_mutex_unlock(&endpoint->lock);
    sdk_listener_destroy(endpoint->listener);
    sdk_pool_destroy(endpoint->pool);
    sdk_coroutines_destroy(endpoint->coroutines);
    map_free(&endpoint->running);
    free(endpoint->verifier);
    pthread_cond_destroy(&endpoint->idle);
    pthread_mutex_destroy(&endpoint->lock);
    free(endpoint);
}

/* --- the table of running calls -------------------------------------------------------------- */

static struct dispatch_request *find_running(const struct dispatch_endpoint *endpoint,
                                             struct slice id)
{
    struct dispatch_request *request = NULL;

    if (id.len > 0)
        request = map_get(&endpoint->running, slice_hash(id, 0));
    while (request && !slice_eq(request->id, id))
        request = request->chain;
    return request;
}

static bool add_running(struct dispatch_endpoint *endpoint, struct dispatch_request *request)
{
    uint64_t hash = slice_hash(request->id, 0);

    if (request->id.len == 0)
        return true;
    request->chain = map_get(&endpoint->running, hash);
    return map_set(&endpoint->running, hash, request);
}

static void remove_running(struct dispatch_endpoint *endpoint, struct dispatch_request *request)
{
    uint64_t hash = slice_hash(request->id, 0);
    struct dispatch_request *head;

    if (request->id.len == 0)
        return;
    head = map_get(&endpoint->running, hash);
    if (head != request) {
        while (head->chain != request)
            head = head->chain;
        head->chain = request->chain;
    } else if (!request->chain) {
        map_remove(&endpoint->running, hash);
    } else {
        /* The key is there: replacing its value takes no memory. */
        bool replaced = map_set(&endpoint->running, hash, request->chain);

        assert(replaced);
        (void)replaced;
    }
}

/* --- answering ------------------------------------------------------------------------------- */

static void report_exit(struct dispatch_request *request, const void *bytes, size_t size)
{
    const struct dispatch_endpoint_options *options = &request->endpoint->options;
    struct dispatch_response response;
    char *id;

    if (!options->on_exit || dispatch_response_unpack(bytes, size, &response, NULL))
        return;
    id = strndup(request->id.len ? request->id.data : "", request->id.len);
    if (id && !response.poll && !response.tail_call &&
        !dispatch_status_temporary(response.status)) {
        struct dispatch_result none = {.status = response.status};

        options->on_exit(options->arg, id, response.result ? response.result : &none);
    }
    free(id);
    dispatch_response_free(&response);
}

/* Nobody runs it. */
static void free_request(struct dispatch_request *request)
{
    dispatch_ctx_destroy(request->ctx);
    free(request);
}

/* Answers everybody who waits for the request, and frees it. */
static void finish(struct dispatch_request *request, const struct dispatch_reply *reply)
{
    struct dispatch_endpoint *endpoint = request->endpoint;
    struct waiter *waiter, *next;

    pthread_mutex_lock(&endpoint->lock);
    remove_running(endpoint, request);
    pthread_mutex_unlock(&endpoint->lock);

    if (reply->http_status == 200)
        report_exit(request, reply->body, reply->size);
    request->first.done(request->first.arg, reply);
    for (waiter = request->first.next; waiter; waiter = next) {
        next = waiter->next;
        waiter->done(waiter->arg, reply);
        free(waiter);
    }
    free_request(request);

    pthread_mutex_lock(&endpoint->lock);
    if (--endpoint->outstanding == 0)
        pthread_cond_broadcast(&endpoint->idle);
    pthread_mutex_unlock(&endpoint->lock);
}

static struct dispatch_reply proto_reply(const void *body, size_t size)
{
    return (struct dispatch_reply){200, "application/proto", body, size};
}

/* The reply lies in `body`, which the caller frees. */
static struct dispatch_reply error_reply(int code, const char *message, struct buf *body)
{
    static const char bare[] = "{\"code\":\"resource_exhausted\"}";

    buf_init(body, 65536);
    wire_connect_error(code, message, body);
    if (body->failed)
        return (struct dispatch_reply){429, "application/json", bare, sizeof bare - 1};
    return (struct dispatch_reply){wire_http_from_code(code), "application/json", body->data,
                                   body->len};
}

void dispatch_request_answer(struct dispatch_request *request, const void *response, size_t size)
{
    struct dispatch_reply reply = proto_reply(response, size);

    finish(request, &reply);
}

void dispatch_request_refuse(struct dispatch_request *request, int code, const char *message)
{
    struct buf body;
    struct dispatch_reply reply = error_reply(code, message, &body);

    finish(request, &reply);
    buf_free(&body);
}

/* --- running --------------------------------------------------------------------------------- */

static struct dispatch_output call_primitive(struct dispatch_request *request,
                                             struct dispatch_ctx *ctx)
{
    struct dispatch_output output;

    sdk_inside_enter(ctx);
    output = request->function.primitive(ctx, &ctx->input);
    sdk_inside_enter(NULL);
    if (ctx->failed)
        return dispatch_output_error(ctx, sdk_memory_error());
    if (!output.bytes_)
        return sdk_output_refusal(ctx, DISPATCH_INVALID_RESPONSE, "InvalidOutput",
                                  "the function returned no output");
    return output;
}

static void run_primitive(struct dispatch_request *request, struct dispatch_ctx *ctx)
{
    struct dispatch_output output;
    struct error err = {0};

    if (sdk_ctx_decode(ctx, &err)) {
        dispatch_request_refuse(request, err.code, err.message);
    } else {
        output = call_primitive(request, ctx);
        dispatch_request_answer(request, output.bytes_, output.size_);
    }
    dispatch_ctx_destroy(ctx);
}

static void run_function(struct dispatch_request *request, struct dispatch_ctx *ctx)
{
    struct sdk_answer answer;
    struct error err = {0};

    sdk_overflow_thread();
    if (sdk_coroutines_run(request->endpoint->coroutines, request->function.function, ctx,
                           sdk_pool_worker(), &answer, &err)) {
        dispatch_request_refuse(request, err.code, err.message);
        return;
    }
    dispatch_request_answer(request, answer.bytes, answer.size);
    sdk_answer_free(&answer);
}

static void run(struct sdk_job *job)
{
    struct dispatch_request *request = LIST_ENTRY(job, struct dispatch_request, job);
    size_t max_memory = request->endpoint->options.max_run_memory;
    struct dispatch_ctx *ctx;
    struct error err = {0};

    if (request->function.kind == SDK_RAW) {
        request->function.raw(request->function.arg, request);
        return;
    }
    ctx = request->ctx;
    request->ctx = NULL; /* the run's now */
    if (!ctx && sdk_ctx_unpack(slice(request->bytes, request->size), max_memory, &ctx, &err))
        dispatch_request_refuse(request, err.code, err.message);
    else if (request->function.kind == SDK_PRIMITIVE)
        run_primitive(request, ctx);
    else
        run_function(request, ctx);
}

const char *dispatch_request_function(const struct dispatch_request *request)
{
    return request->name;
}

const void *dispatch_request_bytes(const struct dispatch_request *request, size_t *size)
{
    *size = request->size;
    return request->bytes;
}

/* --- taking requests in ---------------------------------------------------------------------- */

/* RunRequest's fields that are looked at here. */
enum { FIELD_FUNCTION = 1, FIELD_ID = 4, FIELD_NOW = 1002 };

/* The next field's number, and its bytes if it has such; false if it is none. */
static bool next_field(struct slice *in, uint64_t *number, struct slice *bytes)
{
    enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
    uint64_t tag, value;
    size_t skipped = 0;

    *bytes = (struct slice){0};
    if (!slice_get_varint(in, &tag))
        return false;
    *number = tag >> 3;
    switch (tag & 7) {
    case VARINT:
        return slice_get_varint(in, &value);
    case BYTES:
        return slice_get_bytes(in, bytes);
    case FIXED64:
        skipped = 8;
        break;
    case FIXED32:
        skipped = 4;
        break;
    default:
        return false;
    }
    if (skipped > in->len)
        return false;
    *in = slice((const char *)in->data + skipped, in->len - skipped);
    return true;
}

/* The function and the id, without unpacking the rest; false if it is not a message. */
static bool scan_request(struct slice in, struct slice *function, struct slice *id)
{
    struct slice bytes;
    uint64_t number;

    while (in.len > 0) {
        if (!next_field(&in, &number, &bytes))
            return false;
        if (!bytes.data)
            continue;
        if (number == FIELD_FUNCTION)
            *function = bytes;
        else if (number == FIELD_ID)
            *id = bytes;
    }
    return true;
}

/* Whether two requests that were scanned ask for the same run: equal but for the orchestrator's
 * clock, which goes on between an attempt and the next. */
static bool same_run(struct slice a, struct slice b)
{
    while (a.len > 0 && b.len > 0) {
        struct slice before_a = a, before_b = b, bytes;
        uint64_t number_a = 0, number_b = 0;

        if (!next_field(&a, &number_a, &bytes) || !next_field(&b, &number_b, &bytes))
            return false;
        if (number_a == FIELD_NOW && number_b == FIELD_NOW)
            continue;
        if (!slice_eq(slice(before_a.data, before_a.len - a.len),
                      slice(before_b.data, before_b.len - b.len)))
            return false;
    }
    return a.len == b.len;
}

/* A copy of the bytes, with the function's name behind them. */
static struct dispatch_request *new_request(struct dispatch_endpoint *endpoint, struct slice bytes,
                                            struct slice name, struct slice id)
{
    struct dispatch_request *request = malloc(sizeof *request + bytes.len + name.len + 1);
    const uint8_t *start = bytes.data;

    if (!request)
        return NULL;
    *request = (struct dispatch_request){.job.run = run, .endpoint = endpoint, .size = bytes.len};
    list_init(&request->job.node);
    memcpy(request->bytes, bytes.data, bytes.len);
    memcpy(request->bytes + bytes.len, name.data, name.len);
    request->bytes[bytes.len + name.len] = 0;
    request->name = (const char *)request->bytes + bytes.len;
    if (id.len > 0)
        request->id = slice(request->bytes + ((const uint8_t *)id.data - start), id.len);
    return request;
}

/* With copies of the name and the id alone, as the message may go before the request does. */
static struct dispatch_request *new_direct(struct dispatch_endpoint *endpoint,
                                           const wire_run_request *message, struct arena *arena)
{
    struct slice name = slice_str(message->function), id = slice_str(message->dispatch_id);
    struct dispatch_request *request = calloc(1, sizeof *request + name.len + 1 + id.len);
    struct dispatch_ctx *ctx = calloc(1, sizeof *ctx);

    if (!request || !ctx) {
        free(request);
        free(ctx);
        return NULL;
    }
    request->job.run = run;
    list_init(&request->job.node);
    request->endpoint = endpoint;
    request->direct = true;
    request->name = memcpy(request->bytes, name.data, name.len);
    if (id.len > 0)
        request->id = slice(memcpy(request->bytes + name.len + 1, id.data, id.len), id.len);
    ctx->arena = *arena;
    arena_init(arena, arena->max);
    ctx->arena.max = endpoint->options.max_run_memory;
    ctx->input.request = message;
    request->ctx = ctx;
    return request;
}

/* The answers of an endpoint that does not run the request now. */
static void reply_put_off(struct waiter *waiter, enum dispatch_status status, const char *type,
                          const char *message)
{
    struct dispatch_ctx ctx = {0};
    struct dispatch_output output;
    struct dispatch_reply reply;

    arena_init(&ctx.arena, 65536);
    output = sdk_output_refusal(&ctx, status, type, message);
    reply = proto_reply(output.bytes_, output.size_);
    waiter->done(waiter->arg, &reply);
    arena_reset(&ctx.arena);
}

static void reply_error(struct waiter *waiter, int code, const char *message)
{
    struct buf body;
    struct dispatch_reply reply = error_reply(code, message, &body);

    waiter->done(waiter->arg, &reply);
    buf_free(&body);
}

enum admission { ADMITTED, STOPPING, OTHER_RUNS, NO_MEMORY };

/* Lets the waiter wait for the same run, which is under way. */
static enum admission join(struct dispatch_request *running, const struct dispatch_request *request)
{
    struct waiter *waiter;

    if (running->direct || request->direct || running->joined >= JOINED_MAX ||
        !same_run(slice(running->bytes, running->size), slice(request->bytes, request->size)))
        return OTHER_RUNS;
    waiter = malloc(sizeof *waiter);
    if (!waiter)
        return NO_MEMORY;
    *waiter = request->first;
    waiter->next = running->first.next;
    running->first.next = waiter;
    running->joined++;
    return ADMITTED;
}

/* The thread that has the call's stack. */
static uint32_t worker_of(struct dispatch_endpoint *endpoint,
                          const struct dispatch_request *request)
{
    return request->id.len ? sdk_coroutines_worker(endpoint->coroutines, request->id) : 0;
}

/* Under the lock. *first: nobody else runs the call, and the request is in the table. */
static enum admission admit(struct dispatch_endpoint *endpoint, struct dispatch_request *request,
                            bool *first)
{
    struct dispatch_request *running = find_running(endpoint, request->id);

    if (endpoint->stopping)
        return STOPPING;
    if (running)
        return join(running, request);
    if (!add_running(endpoint, request))
        return NO_MEMORY;
    endpoint->outstanding++;
    *first = true;
    return ADMITTED;
}

static void refuse(struct waiter *waiter, enum admission admission)
{
    switch (admission) {
    case ADMITTED:
        break;
    case STOPPING:
        reply_error(waiter, CODE_UNAVAILABLE, "the endpoint is stopping");
        break;
    case OTHER_RUNS:
        reply_put_off(waiter, DISPATCH_TEMPORARY_ERROR, "Running",
                      "another run of this call has not ended here");
        break;
    case NO_MEMORY:
        reply_put_off(waiter, DISPATCH_TEMPORARY_ERROR, "Memory", "out of memory");
        break;
    }
}

/* To whoever waits for it by now. */
static void answer_throttled(struct dispatch_request *request)
{
    struct dispatch_ctx ctx = {0};
    struct dispatch_output output;

    arena_init(&ctx.arena, 65536);
    output = sdk_output_refusal(&ctx, DISPATCH_THROTTLED, "Throttled",
                                "the endpoint's queue of runs is full");
    dispatch_request_answer(request, output.bytes_, output.size_);
    arena_reset(&ctx.arena);
}

static void submit(struct dispatch_endpoint *endpoint, struct dispatch_request *request, bool wake)
{
    struct waiter waiter = request->first;
    uint32_t worker = worker_of(endpoint, request);
    enum admission admission;
    bool first = false;

    pthread_mutex_lock(&endpoint->lock);
    admission = admit(endpoint, request, &first);
    pthread_mutex_unlock(&endpoint->lock);
    if (!first) {
        free_request(request);
        refuse(&waiter, admission);
    } else if (!sdk_pool_submit(endpoint->pool, &request->job, worker, wake)) {
        answer_throttled(request);
    }
}

/* The function of that name; else the waiter is told that there is none. */
static bool find_function(struct dispatch_endpoint *endpoint, struct slice name,
                          struct sdk_function *function, struct waiter *waiter)
{
    char text[256];

    if (sdk_registry_find(endpoint->registry, name, function))
        return true;
    snprintf(text, sizeof text, "function '%.*s' does not exist",
             name.len > 200 ? 200 : (int)name.len, (const char *)name.data);
    reply_error(waiter, CODE_NOT_FOUND, text);
    return false;
}

void dispatch_endpoint_handle(struct dispatch_endpoint *endpoint, const void *bytes, size_t size,
                              void (*done)(void *arg, const struct dispatch_reply *reply),
                              void *arg)
{
    struct waiter waiter = {.done = done, .arg = arg};
    struct slice name = {0}, id = {0};
    struct sdk_function function;
    struct dispatch_request *request;

    if (!scan_request(slice(bytes, size), &name, &id)) {
        reply_error(&waiter, CODE_INVALID_ARGUMENT, "the body is not a RunRequest");
        return;
    }
    if (name.len == 0) {
        reply_error(&waiter, CODE_INVALID_ARGUMENT, "function is required");
        return;
    }
    if (!find_function(endpoint, name, &function, &waiter))
        return;
    request = new_request(endpoint, slice(bytes, size), name, id);
    if (!request) {
        reply_put_off(&waiter, DISPATCH_TEMPORARY_ERROR, "Memory", "out of memory");
        return;
    }
    request->function = function;
    request->first = waiter;
    submit(endpoint, request, true);
}

void dispatch_endpoint_handle_http(struct dispatch_endpoint *endpoint,
                                   const struct dispatch_http_request *request,
                                   void (*done)(void *arg, const struct dispatch_reply *reply),
                                   void *arg)
{
    struct waiter waiter = {.done = done, .arg = arg};
    struct error err = {0};

    if (sdk_verify_http(endpoint->verifier, request, &err))
        reply_error(&waiter, err.code, err.message);
    else
        dispatch_endpoint_handle(endpoint, request->body, request->size, done, arg);
}

/* A raw function sees the packed message. */
static void run_raw(struct dispatch_endpoint *endpoint, const wire_run_request *message,
                    struct waiter *waiter)
{
    struct blob *bytes = wire_pack_blob(message);

    if (bytes)
        dispatch_endpoint_handle(endpoint, bytes->data, bytes->len, waiter->done, waiter->arg);
    else
        reply_put_off(waiter, DISPATCH_TEMPORARY_ERROR, "Memory", "out of memory");
    blob_unref(bytes);
}

void sdk_endpoint_run(struct dispatch_endpoint *endpoint, const wire_run_request *message,
                      struct arena *arena,
                      void (*done)(void *arg, const struct dispatch_reply *reply), void *arg)
{
    struct waiter waiter = {.done = done, .arg = arg};
    struct sdk_function function;
    struct dispatch_request *request;

    if (!find_function(endpoint, slice_str(message->function), &function, &waiter))
        return;
    if (function.kind == SDK_RAW) {
        run_raw(endpoint, message, &waiter);
        return;
    }
    request = new_direct(endpoint, message, arena);
    if (!request) {
        reply_put_off(&waiter, DISPATCH_TEMPORARY_ERROR, "Memory", "out of memory");
        return;
    }
    request->function = function;
    request->first = waiter;
    submit(endpoint, request, false);
}

void sdk_endpoint_start(struct dispatch_endpoint *endpoint)
{
    sdk_pool_wake(endpoint->pool);
}

bool sdk_endpoint_has_work(struct dispatch_endpoint *endpoint)
{
    return endpoint->options.workers == 0 && sdk_pool_queued(endpoint->pool);
}

void sdk_endpoint_work(struct dispatch_endpoint *endpoint)
{
    if (endpoint->options.workers == 0)
        sdk_pool_work(endpoint->pool);
}
