// SPDX-License-Identifier: Apache-2.0
/*
 * The client: a thread with an event loop, and operations, each a Dispatch or a Wait, that live on
 * it until they finish. A blocking call is an operation that somebody waits for. What an operation
 * sends, and what it makes of the answer, is in api.c.
 *
 * An operation belongs to the loop's thread while it is under way, then to whoever takes its
 * outcome. One that is abandoned meanwhile is freed by the cancellation that was posted for it, or,
 * if none could be, when it finishes.
 */
#include "sdk/client.h"
#include "sdk/embedded.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define API_URL_DEFAULT "http://127.0.0.1:3477"

enum { TIMEOUT_DEFAULT_MS = 30000, CONNECT_RETRY_DEFAULT_MS = 5000, KEY_MAX_LEN = 4096 };

/* --- configuration --------------------------------------------------------------------------- */

static int set_key(struct dispatch_client *client, const char *key,
                   struct dispatch_failure *failure)
{
    client->key_from_env = key == NULL;
    if (!key)
        key = getenv("DISPATCH_API_KEY");
    if (!key || !*key)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "missing API key: set it with the DISPATCH_API_KEY environment variable");
    if (strlen(key) > KEY_MAX_LEN || strpbrk(key, "\r\n"))
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "the API key is too long or has a line break in it");
    client->api_key = strdup(key);
    if (!client->api_key || asprintf(&client->authorization, "Bearer %s", key) < 0) {
        client->authorization = NULL;
        return sdk_fail_memory(failure);
    }
    return 0;
}

static int set_url(struct dispatch_client *client, const char *url,
                   struct dispatch_failure *failure)
{
    struct error err = {0};
    const char *colon;

    if (!url)
        url = getenv("DISPATCH_API_URL");
    if (!url)
        url = API_URL_DEFAULT;
    if (!*url)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "missing API URL: set it with the DISPATCH_API_URL environment variable");
    colon = strstr(url, "://");
    if (!colon || (strncmp(url, "http:", 5) != 0 && strncmp(url, "https:", 6) != 0))
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "Invalid API scheme: '%.*s'",
                        colon && colon - url < 100 ? (int)(colon - url) : 0, url);
    client->api_url = strdup(url);
    if (!client->api_url)
        return sdk_fail_memory(failure);
    for (size_t len = strlen(client->api_url); len > 0 && client->api_url[len - 1] == '/'; len--)
        client->api_url[len - 1] = '\0';
    if (net_url_parse(slice_str(client->api_url), &client->url, &err))
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "API URL '%.200s': %s", url, err.message);
    if (client->url.host.len == 0)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "API URL '%.200s' has no host", url);
    return 0;
}

/* --- the thread ------------------------------------------------------------------------------ */

static void *run_loop(void *arg)
{
    struct dispatch_client *client = arg;

    net_loop_run(client->loop);
    return NULL;
}

/* NULL: the system's authorities. */
static const char *choose_ca_file(const char *ca_file)
{
    if (!ca_file)
        ca_file = getenv("DISPATCH_CA_FILE");
    return ca_file && *ca_file ? ca_file : NULL;
}

int sdk_client_start(struct dispatch_client *client, struct dispatch_failure *failure)
{
    if (sdk_thread_start(&client->thread, run_loop, client))
        return sdk_fail(failure, CODE_RESOURCE_EXHAUSTED, "cannot start a thread");
    client->started = true;
    return 0;
}

static int start(struct dispatch_client *client, const char *ca_file,
                 struct dispatch_failure *failure)
{
    struct net_client_options options = {.proxies = true};
    struct error err = {0};

    if (slice_eq_str(client->url.scheme, "https"))
        options.ca_file = ca_file;
    if (net_client_create(&client->http, client->loop, &options, &err))
        return sdk_fail_from(failure, &err);
    return sdk_client_start(client, failure);
}

/* What both kinds begin with: a loop, on which nothing is yet. */
static int create(struct dispatch_client **client, struct dispatch_failure *failure)
{
    struct dispatch_client *made = calloc(1, sizeof *made);
    struct error err = {0};
    uint64_t seed;
    int rc = 0;

    if (!made)
        return sdk_fail_memory(failure);
    made->timeout_ms = TIMEOUT_DEFAULT_MS;
    made->connect_retry_ms = CONNECT_RETRY_DEFAULT_MS;
    made->pid = getpid();
    made->thread = pthread_self();
    made->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->done, NULL);
    list_init(&made->live);
    list_init(&made->finished);
    rand_system(&seed, sizeof seed);
    rand_seed(&made->rand, seed);
    if (made->wake < 0)
        rc = sdk_fail(failure, CODE_RESOURCE_EXHAUSTED, "cannot make an eventfd");
    else if (net_loop_create(&made->loop, &err))
        rc = sdk_fail_from(failure, &err);
    if (rc)
        dispatch_client_destroy(made);
    else
        *client = made;
    return rc;
}

int dispatch_client_create(const struct dispatch_client_options *options,
                           struct dispatch_client **client, struct dispatch_failure *failure)
{
    static const struct dispatch_client_options defaults;
    struct dispatch_client *made;
    int rc = create(&made, failure);

    if (rc)
        return rc;
    if (!options)
        options = &defaults;
    if (options->timeout_ms)
        made->timeout_ms = options->timeout_ms;
    if (options->connect_retry_ms)
        made->connect_retry_ms = options->connect_retry_ms;
    rc = set_key(made, options->api_key, failure);
    if (!rc)
        rc = set_url(made, options->api_url, failure);
    if (!rc)
        rc = start(made, choose_ca_file(options->ca_file), failure);
    if (rc)
        dispatch_client_destroy(made);
    else
        *client = made;
    return rc;
}

int sdk_client_embed(const struct sdk_embedded_options *options, struct dispatch_client **client,
                     struct dispatch_failure *failure)
{
    struct dispatch_client *made;
    struct error err = {0};
    int rc = create(&made, failure);

    if (rc)
        return rc;
    rc = sdk_embedded_create(made, options, &made->embedded, &err);
    if (rc) {
        dispatch_client_destroy(made);
        return sdk_fail_from(failure, &err);
    }
    *client = made;
    return 0;
}

/* A step of a program's own thread may write to a connection whose peer has gone: the signal for
 * that is not the program's business. */
static void turn_quietly(struct dispatch_client *client, bool wait)
{
    const struct timespec now = {0};
    sigset_t pipe, before, pending;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    if (wait)
        net_loop_wait(client->loop);
    else
        net_loop_turn(client->loop);
    if (!sigismember(&pending, SIGPIPE) && !sigismember(&before, SIGPIPE))
        while (sigtimedwait(&pipe, NULL, &now) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void sdk_client_turn(struct dispatch_client *client, bool wait)
{
    client->turning = true;
    turn_quietly(client, wait && !sdk_embedded_has_work(client->embedded));
    sdk_embedded_work(client->embedded);
    client->turning = false;
}

void sdk_client_hurry(struct dispatch_client *client)
{
    LIST_FOR_EACH (node, next, &client->live) {
        struct dispatch_operation *operation = LIST_ENTRY(node, struct dispatch_operation, node);

        if (!operation->call && !operation->local)
            net_timer_set(operation->timer, 0);
    }
}

/* --- operations, on the loop's thread -------------------------------------------------------- */

static void free_operation(struct dispatch_operation *operation)
{
    blob_unref(operation->request);
    blob_unref(operation->reply);
    dispatch_ids_free(&operation->ids);
    dispatch_result_free(&operation->result);
    free(operation->id);
    free(operation);
}

void sdk_operation_finish(struct dispatch_operation *operation)
{
    struct dispatch_client *client = operation->client;
    uint64_t one = 1;
    bool orphan;

    list_remove(&operation->node);
    net_timer_destroy(operation->timer);
    operation->timer = NULL;
    pthread_mutex_lock(&client->lock);
    operation->finished = true;
    orphan = operation->abandoned && !operation->cancel_posted;
    if (operation->blocking) {
        pthread_cond_broadcast(&client->done);
    } else if (!operation->abandoned) {
        list_append(&client->finished, &operation->node);
        if (write(client->wake, &one, sizeof one) < 0)
            orphan = false; /* full, thus readable: nothing to do */
    }
    pthread_mutex_unlock(&client->lock);
    if (orphan)
        free_operation(operation);
}

void sdk_operation_fail(struct dispatch_operation *operation, int code, const char *format, ...)
{
    struct error err;
    va_list args;

    va_start(args, format);
    error_setv(&err, code, format, args);
    va_end(args);
    sdk_fail_from(&operation->failure, &err);
    sdk_operation_finish(operation);
}

void sdk_operation_later(struct dispatch_operation *operation, uint64_t delay_ms)
{
    net_timer_set(operation->timer, delay_ms);
}

static void on_timer(void *arg)
{
    sdk_operation_attempt(arg);
}

static void begin_on_loop(void *arg)
{
    struct dispatch_operation *operation = arg;
    struct dispatch_client *client = operation->client;

    list_append(&client->live, &operation->node);
    if (client->closing) {
        sdk_operation_fail(operation, CODE_CANCELED, "the client is being destroyed");
        return;
    }
    operation->timer = net_timer_create(client->loop, on_timer, operation);
    if (!operation->timer)
        sdk_operation_fail(operation, CODE_RESOURCE_EXHAUSTED, "out of memory");
    else if (operation->kind == SDK_DISPATCH && operation->count == 0)
        sdk_operation_finish(operation); /* no calls, no ids */
    else
        sdk_operation_attempt(operation);
}

/* Ends it, if it has not ended. */
static void cancel(struct dispatch_operation *operation, const char *why)
{
    if (operation->call) {
        net_call_cancel(operation->call); /* finishes it */
        return;
    }
    if (operation->local)
        sdk_embedded_cancel(operation);
    sdk_operation_fail(operation, CODE_CANCELED, "%s", why);
}

static void abandon_on_loop(void *arg)
{
    struct dispatch_operation *operation = arg;

    if (!operation->finished)
        cancel(operation, "abandoned");
    free_operation(operation);
}

void dispatch_client_destroy(struct dispatch_client *client)
{
    if (!client || client->pid != getpid()) /* of a fork's: nothing of it lives here */
        return;
    if (client->started) {
        net_loop_stop(client->loop);
        pthread_join(client->thread, NULL);
    }
    /* From here on this is the loop's thread. */
    client->closing = true;
    LIST_FOR_EACH (node, next, &client->live)
        cancel(LIST_ENTRY(node, struct dispatch_operation, node), "the client is being destroyed");
    sdk_embedded_destroy(client->embedded);
    net_client_destroy(client->http);
    if (client->loop)
        net_loop_destroy(client->loop); /* runs what was posted */
    LIST_FOR_EACH (node, next, &client->finished)
        free_operation(LIST_ENTRY(node, struct dispatch_operation, node));
    if (client->wake >= 0)
        close(client->wake);
    pthread_cond_destroy(&client->done);
    pthread_mutex_destroy(&client->lock);
    free(client->api_key);
    free(client->api_url);
    free(client->authorization);
    free(client);
}

/* --- operations, from any thread ------------------------------------------------------------- */

static struct dispatch_operation *new_operation(struct dispatch_client *client,
                                                enum sdk_operation_kind kind, void *arg)
{
    struct dispatch_operation *operation = calloc(1, sizeof *operation);

    if (!operation)
        return NULL;
    list_init(&operation->node);
    operation->client = client;
    operation->kind = kind;
    operation->arg = arg;
    operation->started_ns = operation->sent_ns = clock_now(clock_system());
    operation->deadline_ns = TIME_NEVER;
    return operation;
}

/* Takes over the blob, whatever happens. */
static struct dispatch_operation *new_dispatch(struct dispatch_client *client, struct blob *request,
                                               size_t count, void *arg)
{
    struct dispatch_operation *operation = new_operation(client, SDK_DISPATCH, arg);
    uint64_t key[2];

    if (!operation) {
        blob_unref(request);
        return NULL;
    }
    if (!sdk_inside_key(operation->key)) {
        rand_system(key, sizeof key);
        snprintf(operation->key, sizeof operation->key, "%016" PRIx64 "%016" PRIx64, key[0],
                 key[1]);
    }
    operation->request = request;
    operation->count = count;
    return operation;
}

static struct dispatch_operation *new_wait(struct dispatch_client *client, const char *id,
                                           int64_t timeout_ms, void *arg)
{
    struct dispatch_operation *operation = new_operation(client, SDK_WAIT, arg);

    if (!operation)
        return NULL;
    operation->id = strdup(id);
    if (!operation->id) {
        free_operation(operation);
        return NULL;
    }
    if (timeout_ms >= 0 && timeout_ms < INT64_MAX / NS_PER_MS)
        operation->deadline_ns = time_add(operation->started_ns, timeout_ms * NS_PER_MS);
    return operation;
}

/* Whether this thread may wait for the client's loop. */
static int check_thread(const struct dispatch_client *client, struct dispatch_failure *failure)
{
    if (client->pid != getpid())
        return sdk_fail(failure, CODE_FAILED_PRECONDITION,
                        "this process was forked from process %ld, which made the client: a child "
                        "has to make its own",
                        (long)client->pid);
    return 0;
}

bool sdk_client_turns_here(const struct dispatch_client *client)
{
    return !client->started && pthread_equal(client->thread, pthread_self());
}

int sdk_client_check_waiting(const struct dispatch_client *client, struct dispatch_failure *failure)
{
    int rc = check_thread(client, failure);

    if (!rc && sdk_client_turns_here(client) && client->turning)
        rc = sdk_fail(failure, CODE_FAILED_PRECONDITION,
                      "a function that runs inside a step cannot wait for it: it would block the "
                      "program's loop; begin the operation instead");
    return rc;
}

static void wait_for(struct dispatch_operation *operation)
{
    struct dispatch_client *client = operation->client;
    bool here = sdk_client_turns_here(client);

    pthread_mutex_lock(&client->lock);
    while (!operation->finished) {
        if (!here) {
            pthread_cond_wait(&client->done, &client->lock);
            continue;
        }
        pthread_mutex_unlock(&client->lock);
        sdk_client_turn(client, true);
        pthread_mutex_lock(&client->lock);
    }
    pthread_mutex_unlock(&client->lock);
}

/* Runs the operation to its end and moves its outcome out; NULL: there was no memory for it. */
static int run_blocking(struct dispatch_operation *operation, struct dispatch_ids *ids,
                        struct dispatch_result *result, struct blob **reply,
                        struct dispatch_failure *failure)
{
    struct dispatch_client *client;
    int rc;

    if (!operation)
        return sdk_fail_memory(failure);
    client = operation->client;
    operation->blocking = true;
    rc = sdk_client_check_waiting(client, failure);
    if (!rc && !net_post(client->loop, begin_on_loop, operation))
        rc = sdk_fail_memory(failure);
    if (rc) {
        free_operation(operation);
        return rc;
    }
    wait_for(operation);
    rc = operation->failure.code;
    if (rc && failure)
        *failure = operation->failure;
    if (!rc && ids) {
        *ids = operation->ids;
        operation->ids = (struct dispatch_ids){0};
    }
    if (!rc && result) {
        *result = operation->result;
        operation->result = (struct dispatch_result){0};
    }
    if (!rc && reply)
        *reply = blob_ref(operation->reply);
    free_operation(operation);
    return rc;
}

/* The packed DispatchRequest of the calls. Those without an endpoint are to the functions here, if
 * the orchestrator is. */
static int pack_calls(const struct dispatch_client *client, const struct dispatch_call *calls,
                      size_t count, struct blob **request, struct dispatch_failure *failure)
{
    const char *own = client->embedded ? sdk_embedded_url(client->embedded) : NULL;
    struct error err = {0};
    struct buf bytes;
    int rc = 0;

    buf_init(&bytes, SDK_REQUEST_MAX);
    for (size_t i = 0; i < count && !rc; i++)
        rc = sdk_request_append(&bytes, &calls[i], own, &err);
    if (!rc) {
        *request = blob_copy(buf_slice(&bytes));
        if (!*request)
            rc = error_memory(&err);
    }
    buf_free(&bytes);
    return rc ? sdk_fail_from(failure, &err) : 0;
}

int sdk_client_dispatch_packed(struct dispatch_client *client, struct blob *request, size_t count,
                               struct dispatch_ids *ids, struct dispatch_failure *failure)
{
    int rc;

    if (sdk_inside_dispatch(client, request, count, ids, failure, &rc))
        return rc;
    return sdk_client_dispatch_now(client, request, count, ids, failure);
}

int sdk_client_dispatch_now(struct dispatch_client *client, struct blob *request, size_t count,
                            struct dispatch_ids *ids, struct dispatch_failure *failure)
{
    return run_blocking(new_dispatch(client, request, count, NULL), ids, NULL, NULL, failure);
}

int sdk_client_control(struct dispatch_client *client, const char *path,
                       const ProtobufCMessageDescriptor *type, struct blob *request,
                       bool repeatable, struct blob **reply, struct dispatch_failure *failure)
{
    struct dispatch_operation *operation = new_operation(client, SDK_CONTROL, NULL);

    if (!operation) {
        blob_unref(request);
        return sdk_fail_memory(failure);
    }
    operation->request = request;
    operation->path = path;
    operation->type = type;
    operation->repeatable = repeatable;
    return run_blocking(operation, NULL, NULL, reply, failure);
}

int dispatch_client_dispatch(struct dispatch_client *client, const struct dispatch_call *calls,
                             size_t count, struct dispatch_ids *ids,
                             struct dispatch_failure *failure)
{
    struct blob *request;
    int rc = pack_calls(client, calls, count, &request, failure);

    return rc ? rc : sdk_client_dispatch_packed(client, request, count, ids, failure);
}

static int check_id(const char *id, struct dispatch_failure *failure)
{
    return id && *id ? 0 : sdk_fail(failure, CODE_INVALID_ARGUMENT, "missing dispatch id");
}

int dispatch_client_wait(struct dispatch_client *client, const char *dispatch_id,
                         int64_t timeout_ms, struct dispatch_result *result,
                         struct dispatch_failure *failure)
{
    int rc = check_id(dispatch_id, failure);

    return rc ? rc
              : run_blocking(new_wait(client, dispatch_id, timeout_ms, NULL), NULL, result, NULL,
                             failure);
}

static int begin(struct dispatch_operation *made, struct dispatch_operation **operation,
                 struct dispatch_failure *failure)
{
    int rc;

    if (!made)
        return sdk_fail_memory(failure);
    rc = check_thread(made->client, failure);
    if (!rc) {
        *operation = made; /* before it can come out of dispatch_client_next */
        if (net_post(made->client->loop, begin_on_loop, made))
            return 0;
        *operation = NULL;
        rc = sdk_fail_memory(failure);
    }
    free_operation(made);
    return rc;
}

int dispatch_client_begin_dispatch(struct dispatch_client *client,
                                   const struct dispatch_call *calls, size_t count, void *arg,
                                   struct dispatch_operation **operation,
                                   struct dispatch_failure *failure)
{
    struct blob *request;
    int rc = pack_calls(client, calls, count, &request, failure);

    return rc ? rc : begin(new_dispatch(client, request, count, arg), operation, failure);
}

int dispatch_client_begin_wait(struct dispatch_client *client, const char *dispatch_id,
                               int64_t timeout_ms, void *arg, struct dispatch_operation **operation,
                               struct dispatch_failure *failure)
{
    int rc = check_id(dispatch_id, failure);

    return rc ? rc : begin(new_wait(client, dispatch_id, timeout_ms, arg), operation, failure);
}

int dispatch_client_descriptor(struct dispatch_client *client)
{
    return client->wake;
}

struct dispatch_operation *dispatch_client_next(struct dispatch_client *client)
{
    struct list *node;
    uint64_t count;

    pthread_mutex_lock(&client->lock);
    node = list_pop(&client->finished);
    if (list_empty(&client->finished) && read(client->wake, &count, sizeof count) < 0)
        count = 0; /* it was not readable */
    pthread_mutex_unlock(&client->lock);
    return node ? LIST_ENTRY(node, struct dispatch_operation, node) : NULL;
}

void *dispatch_operation_arg(const struct dispatch_operation *operation)
{
    return operation->arg;
}

/* 0 if the operation is of that kind, and finished well. */
static int check_outcome(struct dispatch_operation *operation, enum sdk_operation_kind kind,
                         struct dispatch_failure *failure)
{
    bool finished;

    pthread_mutex_lock(&operation->client->lock);
    finished = operation->finished;
    pthread_mutex_unlock(&operation->client->lock);
    if (!finished || operation->kind != kind)
        return sdk_fail(failure, CODE_FAILED_PRECONDITION,
                        finished ? "the operation is of another kind"
                                 : "the operation has not finished");
    if (operation->failure.code && failure)
        *failure = operation->failure;
    return operation->failure.code;
}

static void taken(struct dispatch_operation *operation)
{
    sdk_fail(&operation->failure, CODE_FAILED_PRECONDITION, "the outcome has been taken");
}

int dispatch_operation_ids(struct dispatch_operation *operation, struct dispatch_ids *ids,
                           struct dispatch_failure *failure)
{
    int rc = check_outcome(operation, SDK_DISPATCH, failure);

    if (rc)
        return rc;
    *ids = operation->ids;
    operation->ids = (struct dispatch_ids){0};
    taken(operation);
    return 0;
}

int dispatch_operation_result(struct dispatch_operation *operation, struct dispatch_result *result,
                              struct dispatch_failure *failure)
{
    int rc = check_outcome(operation, SDK_WAIT, failure);

    if (rc)
        return rc;
    *result = operation->result;
    operation->result = (struct dispatch_result){0};
    taken(operation);
    return 0;
}

void dispatch_operation_destroy(struct dispatch_operation *operation)
{
    struct dispatch_client *client;
    bool finished;

    if (!operation)
        return;
    client = operation->client;
    pthread_mutex_lock(&client->lock);
    finished = operation->finished;
    if (finished) {
        list_remove(&operation->node); /* if nobody took it out */
    } else {
        operation->abandoned = true;
        operation->cancel_posted = net_post(client->loop, abandon_on_loop, operation);
    }
    pthread_mutex_unlock(&client->lock);
    if (finished)
        free_operation(operation);
}
