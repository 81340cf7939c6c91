// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP client: calls from net_client_send to done().
 *
 * A call takes a kept connection of its host, or dials a new one; there it is written, and the
 * channel reports its end. A kept connection may have been closed by the peer just before: as long
 * as not a byte of the response came, the call starts again on a new one (which cannot be stale, so
 * once). The overall timeout is one timer a call.
 */
#include "net/client.h"

#include <assert.h>
#include <stdlib.h>

#include "net/http1.h"

enum { FREE_CALLS_MAX = 1024, KEEP = 2048 };

/* --- calls in memory ------------------------------------------------------------------------- */

static void on_timeout(void *arg);

/* Used ones are kept: with them the room for the head and the place in the timer heap. */
static struct net_call *new_call(struct net_client *client)
{
    struct list *node = list_pop(&client->free_calls);
    struct net_call *call;

    if (node) {
        client->free_count--;
        return LIST_ENTRY(node, struct net_call, link);
    }
    call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    if (!net_timer_init(&call->timer, client->loop, on_timeout, call)) {
        free(call);
        return NULL;
    }
    list_init(&call->link);
    call->client = client;
    list_init(&call->carried);
    buf_init(&call->head, NET_SCRATCH_MAX);
    net_fields_init(&call->fields);
    buf_init(&call->body, client->options.max_body);
    return call;
}

static void free_call(struct net_call *call)
{
    net_timer_finish(&call->timer);
    buf_free(&call->head);
    net_fields_free(&call->fields);
    buf_free(&call->body);
    free(call);
}

static void release_call(struct net_call *call)
{
    struct net_client *client = call->client;

    assert(!call->connect && !call->channel && list_empty(&call->link) &&
           list_empty(&call->carried));
    blob_unref(call->source.body);
    call->source = (struct net_http2_source){0};
    if (call->host)
        net_pool_unref(&client->pool, call->host);
    call->host = NULL;
    if (client->destroyed || client->free_count == FREE_CALLS_MAX) {
        free_call(call);
        return;
    }
    if (call->head.cap > KEEP)
        buf_free(&call->head);
    if (call->fields.text.cap > KEEP)
        net_fields_free(&call->fields);
    if (call->body.cap > KEEP)
        buf_free(&call->body);
    buf_reset(&call->head);
    list_push(&client->free_calls, &call->link);
    client->free_count++;
}

static void maybe_free_client(struct net_client *client)
{
    if (!client->destroyed || client->in_done > 0)
        return;
    net_pool_free(&client->pool);
    net_proxies_free(&client->proxies);
    SSL_CTX_free(client->tls);
    free(client);
}

/* --- the end of a call ----------------------------------------------------------------------- */

/* Lets go of whatever carries it. */
static void detach(struct net_call *call)
{
    struct net_channel *channel = call->channel;
    struct net_connect *connect = call->connect;

    call->channel = NULL;
    call->connect = NULL;
    if (channel)
        channel->ops->drop(channel, call);
    if (connect)
        net_connect_cancel(connect);
    list_remove(&call->carried);
}

void net_client_enter(struct net_client *client)
{
    client->in_done++;
}

void net_client_leave(struct net_client *client)
{
    client->in_done--;
    maybe_free_client(client);
}

void net_call_finish(struct net_call *call, const struct net_response *response)
{
    struct net_client *client = call->client;

    detach(call);
    list_remove(&call->link);
    net_timer_clear(&call->timer);
    net_client_enter(client);
    call->done(call->arg, response);
    release_call(call);
    net_client_leave(client);
}

static void finish_failed(struct net_call *call, enum net_failure failure, const char *message)
{
    net_call_finish(call, &(struct net_response){.failure = failure, .message = message});
}

void net_call_fail(struct net_call *call, enum net_failure failure, const char *format, ...)
{
    const struct net_host *host = call->host;
    bool local = net_is_unix(slice_str(host->name));
    bool ipv6 = !local && strchr(host->name, ':') != NULL;
    char text[ERROR_MESSAGE_MAX];
    int len = local ? snprintf(text, sizeof text, "request to %s: ", host->name)
                    : snprintf(text, sizeof text, "request to %s%s%s:%u: ", ipv6 ? "[" : "",
                               host->name, ipv6 ? "]" : "", host->port);
    va_list args;

    assert(len > 0 && (size_t)len < sizeof text);
    va_start(args, format);
    vsnprintf(text + len, sizeof text - (size_t)len, format, args);
    va_end(args);
    finish_failed(call, failure, text);
}

static void on_timeout(void *arg)
{
    struct net_call *call = arg;

    net_call_fail(call, NET_TIMEOUT, "%s within %u ms",
                  call->channel ? "no whole response" : "not connected", call->timeout_ms);
}

void net_call_cancel(struct net_call *call)
{
    finish_failed(call, NET_CANCELED, "canceled");
}

/* --- on its way ------------------------------------------------------------------------------ */

void net_channel_add(struct net_channel *channel, struct net_host *host,
                     const struct net_channel_ops *ops)
{
    channel->client = host->client;
    channel->host = host;
    channel->ops = ops;
    host->refs++;
    list_append(&host->client->channels, &channel->link);
}

void net_channel_remove(struct net_channel *channel)
{
    list_remove(&channel->link);
    net_pool_unref(&channel->client->pool, channel->host);
    channel->client = NULL;
    channel->host = NULL;
}

void net_call_again(struct net_call *call)
{
    assert(!call->channel);
    call->again = true;
    call->source.done = 0;
    if (!net_route(call))
        net_call_fail(call, NET_TEMPORARY, "out of memory");
}

/* --- sending --------------------------------------------------------------------------------- */

static bool is_clean(struct slice text)
{
    const uint8_t *bytes = text.data;

    for (size_t i = 0; i < text.len; i++) {
        if (bytes[i] <= ' ' || bytes[i] == 0x7f)
            return false;
    }
    return true;
}

static bool is_name(struct slice text, const char *lower)
{
    return text.len == strlen(lower) && strncasecmp(text.data, lower, text.len) == 0;
}

static int check(const struct net_outgoing *request, struct error *err)
{
    bool local = net_is_unix(request->host);

    if (local && request->host.len > NET_UNIX_PATH_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the path of a Unix socket has at most %d bytes: %.*s", NET_UNIX_PATH_MAX,
                         SLICE_FMT(request->host));
    if (request->host.len == 0 || request->host.len > 255 ||
        !(local ? !request->tls && !memchr(request->host.data, '\0', request->host.len)
                : is_clean(request->host)))
        return error_set(err, CODE_INVALID_ARGUMENT, "invalid host in a request");
    if (!net_http1_is_token(request->method))
        return error_set(err, CODE_INVALID_ARGUMENT, "invalid method in a request");
    if (request->header_count > NET_HEADERS_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "more than %d headers in a request",
                         NET_HEADERS_MAX);
    if (!is_clean(request->target) ||
        (request->target.len > 0 && *(const char *)request->target.data != '/'))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "invalid path in a request: it should begin with '/' and have neither "
                         "spaces nor control characters");
    for (size_t i = 0; i < request->header_count; i++) {
        const struct net_header *header = &request->headers[i];

        if (!net_http1_header_is_valid(header) || is_name(header->name, "content-length") ||
            is_name(header->name, "transfer-encoding"))
            return error_set(err, CODE_INVALID_ARGUMENT, "header \"%.*s\" cannot be sent",
                             SLICE_FMT(header->name));
    }
    return 0;
}

int net_client_send(struct net_client *client, const struct net_outgoing *request,
                    struct net_call **out, struct error *err)
{
    const struct net_target target = {request->host, request->port, request->tls};
    const struct net_proxy *proxy =
        request->direct ? NULL : net_proxies_find(&client->proxies, &target);
    struct net_call *call;
    int rc = check(request, err);

    if (rc)
        return rc;
    if (client->destroyed)
        return error_set(err, CODE_FAILED_PRECONDITION, "the client has been destroyed");
    if (request->tls && !client->tls)
        rc = net_tls_client_context(&client->tls, NULL, err);
    if (rc)
        return rc;
    call = new_call(client);
    if (!call)
        return error_memory(err);
    call->source.body = blob_ref(request->body);
    call->again = false;
    call->refusals = 0;
    call->is_head = slice_eq_str(request->method, "HEAD");
    call->done = request->done;
    call->arg = request->arg;
    call->timeout_ms = request->timeout_ms;
    net_http1_put_request(&call->head, request, request->tls ? NULL : proxy);
    call->host = net_pool_host(&client->pool, &target, proxy);
    if (call->host && request->http2 && !proxy)
        call->host->http2 = true;
    uv_update_time(&client->loop->uv);
    if (call->head.failed || !call->host || !net_route(call)) {
        release_call(call);
        return error_memory(err);
    }
    list_append(&client->calls, &call->link);
    if (call->timeout_ms)
        net_timer_set_at(&call->timer, net_loop_now_ms(client->loop) + call->timeout_ms);
    if (out)
        *out = call;
    return 0;
}

/* --- the client ------------------------------------------------------------------------------ */

int net_client_reload_ca(struct net_client *client, const char *ca_file, struct error *err)
{
    SSL_CTX *context;
    int rc = net_tls_client_context(&context, ca_file, err);

    if (rc)
        return rc;
    SSL_CTX_free(client->tls); /* connections that use it keep it */
    client->tls = context;
    return 0;
}

int net_client_create(struct net_client **out, struct net_loop *loop,
                      const struct net_client_options *options, struct error *err)
{
    struct net_client *client = calloc(1, sizeof *client);
    struct net_client_options *o;
    int rc;

    if (!client)
        return error_memory(err);
    client->loop = loop;
    o = &client->options;
    if (options)
        *o = *options;
    rc = o->proxies ? net_proxies_read(&client->proxies, err) : 0;
    if (!rc && o->ca_file)
        rc = net_tls_client_context(&client->tls, o->ca_file, err);
    if (rc) {
        net_proxies_free(&client->proxies);
        free(client);
        return rc;
    }
    o->ca_file = NULL;
    if (!o->max_body)
        o->max_body = 20000000;
    if (!o->max_header_bytes)
        o->max_header_bytes = 65536;
    if (!o->connect_timeout_ms)
        o->connect_timeout_ms = 10000;
    if (!o->idle_timeout_ms)
        o->idle_timeout_ms = 30000;
    if (!o->max_idle_per_host)
        o->max_idle_per_host = 1024;
    net_pool_init(&client->pool, client);
    list_init(&client->calls);
    list_init(&client->channels);
    list_init(&client->connects);
    list_init(&client->free_calls);
    *out = client;
    return 0;
}

void net_client_destroy(struct net_client *client)
{
    struct list *node;

    if (!client)
        return;
    client->destroyed = true;
    net_client_enter(client); /* it is still needed here */
    while (!list_empty(&client->calls))
        net_call_cancel(LIST_ENTRY(client->calls.next, struct net_call, link));
    while (!list_empty(&client->channels)) {
        struct net_channel *channel = LIST_ENTRY(client->channels.next, struct net_channel, link);

        channel->ops->close(channel);
    }
    net_connect_cancel_all(&client->connects);
    while ((node = list_pop(&client->free_calls)))
        free_call(LIST_ENTRY(node, struct net_call, link));
    net_client_leave(client);
}
