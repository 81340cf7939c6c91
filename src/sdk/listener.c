// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP in front of an endpoint. A request that may be a Run is handed to the endpoint; the answer
 * comes on some thread of its pool, is put into a list, and a descriptor wakes the loop, which
 * sends it, unless the peer has gone away meanwhile: the run's result is then lost, and the
 * orchestrator will ask again.
 */
#include "sdk/endpoint.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/blob.h"
#include "net/net.h"

#define RUN_PATH "/dispatch.sdk.v1.FunctionService/Run"

enum { FLUSH_POLL_MS = 2 };

struct sdk_listener {
    struct dispatch_endpoint *endpoint;
    struct net_loop *loop;
    struct net_server *server;
    struct net_watch *watch;
    struct net_timer *timer; /* for flushing */
    pthread_t thread;
    uint16_t port;
    int wake; /* an eventfd: there are answers, or orders */
    pthread_mutex_t lock;
    pthread_cond_t flushed;
    struct list answers;
    size_t waiting; /* requests that are with the endpoint */
    bool close, flush;
};

/* A request that the endpoint has, then its answer. */
struct incoming {
    struct list node;
    struct sdk_listener *listener;
    struct net_exchange *exchange; /* NULL: gone. Touched by the loop's thread alone */
    int status;
    const char *content_type;
    struct blob *body;
};

static void wake(struct sdk_listener *listener)
{
    uint64_t one = 1;

    /* It fails only when the counter is full, and the loop then wakes anyway. */
    if (write(listener->wake, &one, sizeof one) < 0)
        return;
}

/* --- answers --------------------------------------------------------------------------------- */

static void send_answer(struct net_exchange *exchange, int status, const char *content_type,
                        struct blob *body)
{
    struct net_header headers[] = {{slice_str("content-type"), slice_str(content_type)},
                                   {slice_str("allow"), slice_str("POST")},
                                   {slice_str("accept-post"), slice_str("application/proto")}};

    if (status == 405)
        net_answer(exchange, status, headers + 1, 1, NULL);
    else if (status == 415)
        net_answer(exchange, status, headers + 2, 1, NULL);
    else
        net_answer(exchange, status, headers, 1, body);
}

static void send_error(struct net_exchange *exchange, int code, const char *message)
{
    struct buf text;
    struct blob *body;

    buf_init(&text, 4096);
    wire_connect_error(code, message, &text);
    body = text.failed ? NULL : blob_copy(buf_slice(&text));
    buf_free(&text);
    send_answer(exchange, wire_http_from_code(code), "application/json", body);
    blob_unref(body);
}

/* The endpoint's answer, on any thread. */
static void on_reply(void *arg, const struct dispatch_reply *reply)
{
    struct incoming *incoming = arg;
    struct sdk_listener *listener = incoming->listener;
    bool first;

    incoming->status = reply->http_status;
    incoming->content_type = reply->content_type;
    incoming->body = blob_copy(slice(reply->body, reply->size));
    if (!incoming->body)
        incoming->status = 503; /* no memory: to be asked again */
    pthread_mutex_lock(&listener->lock);
    first = list_empty(&listener->answers);
    list_append(&listener->answers, &incoming->node);
    pthread_mutex_unlock(&listener->lock);
    /* Whoever put the first one there wakes the loop, which takes them all. The listener is still
     * there: the endpoint waits for its requests, and this one's answer is being given. */
    if (first)
        wake(listener);
}

static void send_reply(struct incoming *incoming)
{
    incoming->listener->waiting--;
    if (incoming->exchange)
        send_answer(incoming->exchange, incoming->status, incoming->content_type, incoming->body);
    blob_unref(incoming->body);
    free(incoming);
}

/* --- requests -------------------------------------------------------------------------------- */

/* The part of a header before any parameter. The original's test service names no type, so its HTTP
 * client says octet-stream. */
static bool is_proto(struct slice content_type)
{
    const char *end = content_type.len ? memchr(content_type.data, ';', content_type.len) : NULL;

    if (end)
        content_type.len = (size_t)(end - (const char *)content_type.data);
    while (content_type.len > 0 && ((const char *)content_type.data)[content_type.len - 1] == ' ')
        content_type.len--;
    return content_type.len == 0 || slice_eq_str(content_type, "application/proto") ||
           slice_eq_str(content_type, "application/octet-stream");
}

/* Answers what is not a Run; true: it is one. */
static bool check_request(struct net_exchange *exchange, const struct net_request *request)
{
    struct slice type = net_header_get(request->headers, request->header_count, "content-type");

    if (!slice_eq_str(request->path, RUN_PATH))
        send_error(exchange, CODE_NOT_FOUND, "path not found");
    else if (!slice_eq_str(request->method, "POST"))
        send_answer(exchange, 405, "", NULL);
    else if (request->no_content_length || request->chunked || request->body.len == 0)
        send_error(exchange, CODE_INVALID_ARGUMENT, "content length is required");
    else if (request->body.len > SDK_BODY_MAX)
        send_error(exchange, CODE_INVALID_ARGUMENT, "content length is too large");
    else if (!is_proto(type))
        send_answer(exchange, 415, "", NULL);
    else
        return true;
    return false;
}

/* True: whoever sent it may; else it was answered. */
static bool verify(const struct sdk_verifier *verifier, struct net_exchange *exchange,
                   const struct net_request *request)
{
    struct signature_field *fields;
    struct signature_request signed_request = {
        .method = request->method,
        .path = request->path,
        .query = request->query,
        .authority = net_header_get(request->headers, request->header_count, "host"),
        .field_count = request->header_count,
        .body = request->body};
    struct error err = {0};
    int code;

    if (!verifier)
        return true;
    fields = calloc(request->header_count + 1, sizeof *fields);
    for (size_t i = 0; fields && i < request->header_count; i++)
        fields[i] = (struct signature_field){request->headers[i].name, request->headers[i].value};
    signed_request.fields = fields;
    code = fields ? sdk_verify(verifier, &signed_request, &err) : error_memory(&err);
    if (code)
        send_error(exchange, code, err.message);
    free(fields);
    return code == 0;
}

static void on_request(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct sdk_listener *listener = arg;
    struct incoming *incoming;

    if (!check_request(exchange, request) ||
        !verify(sdk_endpoint_verifier(listener->endpoint), exchange, request))
        return;
    incoming = calloc(1, sizeof *incoming);
    if (!incoming) {
        send_error(exchange, CODE_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    incoming->listener = listener;
    incoming->exchange = exchange;
    list_init(&incoming->node);
    net_exchange_set(exchange, incoming);
    listener->waiting++;
    dispatch_endpoint_handle(listener->endpoint, request->body.data, request->body.len, on_reply,
                             incoming);
}

static void on_gone(void *arg, struct net_exchange *exchange)
{
    struct incoming *incoming = net_exchange_get(exchange);

    (void)arg;
    incoming->exchange = NULL;
}

/* --- the loop's thread ----------------------------------------------------------------------- */

static void look_flushed(void *arg)
{
    struct sdk_listener *listener = arg;

    if (listener->waiting > 0 || net_server_exchanges(listener->server) > 0) {
        net_timer_set(listener->timer, FLUSH_POLL_MS);
        return;
    }
    pthread_mutex_lock(&listener->lock);
    listener->flush = false;
    pthread_cond_broadcast(&listener->flushed);
    pthread_mutex_unlock(&listener->lock);
}

static void on_wake(void *arg)
{
    struct sdk_listener *listener = arg;
    struct list answers;
    bool close_it, flush;
    uint64_t count;

    list_init(&answers);
    if (read(listener->wake, &count, sizeof count) < 0)
        count = 0; /* before the list: what comes after wakes again */
    pthread_mutex_lock(&listener->lock);
    list_splice(&answers, &listener->answers);
    close_it = listener->close;
    listener->close = false;
    flush = listener->flush;
    pthread_mutex_unlock(&listener->lock);
    for (struct list *node = list_pop(&answers); node; node = list_pop(&answers))
        send_reply(LIST_ENTRY(node, struct incoming, node));
    if (close_it)
        net_server_close(listener->server);
    if (flush)
        look_flushed(listener);
}

static void *run_loop(void *arg)
{
    struct sdk_listener *listener = arg;

    net_loop_run(listener->loop);
    return NULL;
}

/* --- making and ending ----------------------------------------------------------------------- */

/* Frees what is there of it; no thread uses it. */
static void free_listener(struct sdk_listener *listener)
{
    net_server_destroy(listener->server);
    for (struct list *node = list_pop(&listener->answers); node;
         node = list_pop(&listener->answers))
        send_reply(LIST_ENTRY(node, struct incoming, node));
    net_timer_destroy(listener->timer);
    if (listener->watch)
        net_watch_destroy(listener->watch);
    if (listener->loop)
        net_loop_destroy(listener->loop);
    if (listener->wake >= 0)
        close(listener->wake);
    pthread_cond_destroy(&listener->flushed);
    pthread_mutex_destroy(&listener->lock);
    free(listener);
}

static int start(struct sdk_listener *listener, const struct sdk_listen_options *where,
                 struct error *err)
{
    struct net_server_options options = {
        .max_body = SDK_BODY_MAX + 4000000, /* past it, whoever sends it is cut off */
        .tls_cert_file = where->cert_file,
        .tls_key_file = where->key_file,
        .advertise_h2c = !where->cert_file,
        .handle = on_request,
        .gone = on_gone,
        .arg = listener,
    };
    char host[256];
    int rc = net_address_parse(where->addr, host, &options.port, err);

    if (rc)
        return rc;
    options.host = host;
    if (listener->wake < 0)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot make an eventfd");
    rc = net_loop_create(&listener->loop, err);
    if (rc)
        return rc;
    listener->watch = net_watch_create(listener->loop, listener->wake, on_wake, listener);
    listener->timer = net_timer_create(listener->loop, look_flushed, listener);
    if (!listener->watch || !listener->timer)
        return error_memory(err);
    rc = net_server_create(&listener->server, listener->loop, &options, err);
    if (rc)
        return rc;
    listener->port = net_server_port(listener->server);
    if (sdk_thread_start(&listener->thread, run_loop, listener))
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot start a thread");
    return 0;
}

int sdk_listener_create(struct dispatch_endpoint *endpoint,
                        const struct sdk_listen_options *options, struct sdk_listener **listener,
                        struct error *err)
{
    struct sdk_listener *made = calloc(1, sizeof *made);
    pthread_condattr_t monotonic;
    int rc;

    if (!made)
        return error_memory(err);
    made->endpoint = endpoint;
    list_init(&made->answers);
    made->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sdk_mutex_init(&made->lock);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&made->flushed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = start(made, options, err);
    if (rc)
        free_listener(made);
    else
        *listener = made;
    return rc;
}

uint16_t sdk_listener_port(const struct sdk_listener *listener)
{
    return listener->port;
}

void sdk_listener_close(struct sdk_listener *listener)
{
    pthread_mutex_lock(&listener->lock);
    listener->close = true;
    wake(listener);
    pthread_mutex_unlock(&listener->lock);
}

void sdk_listener_flush(struct sdk_listener *listener, uint32_t timeout_ms)
{
    struct timespec until = sdk_after_ms(timeout_ms);

    pthread_mutex_lock(&listener->lock);
    listener->flush = true;
    wake(listener);
    while (listener->flush)
        if (pthread_cond_timedwait(&listener->flushed, &listener->lock, &until))
            break;
    listener->flush = false;
    pthread_mutex_unlock(&listener->lock);
}

void sdk_listener_destroy(struct sdk_listener *listener)
{
    if (!listener)
        return;
    net_loop_stop(listener->loop);
    pthread_join(listener->thread, NULL);
    free_listener(listener);
}
