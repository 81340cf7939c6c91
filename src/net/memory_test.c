// SPDX-License-Identifier: Apache-2.0
/*
 * Out of memory at the Nth allocation, for every N, in a loop with a server and a client on it,
 * over every protocol: nothing crashes or leaks, whoever asked is told at once (nobody finds out by
 * a timeout), and the same request made again is answered. libuv's and nghttp2's allocations count,
 * save what libuv would abort over: its lists of watchers, which it reallocates. OpenSSL's do not:
 * an authority's certificate that it had no memory for once is invalid to it for good.
 */
#include "net/certs.h"
#include "net/loop.h"

#include <nghttp2/nghttp2.h>

#include "base/scarce.h"
#include "net/client.h"

#define BODY_LEN ((size_t)300000)
#define ROUNDS   3

enum protocol { HTTP1, H2C, TLS_HTTP1, TLS_HTTP2, UNIX };

struct world {
    enum protocol protocol;
    struct net_loop *loop;
    struct net_server *server;
    struct net_client *client;
    struct authority authority;
    char path[160];
    struct blob *body;
    bool done;
    enum net_failure failure;
    int status;
    size_t body_len;
    char message[600];
};

/* --- the libraries' allocators -----------------------------------------------------------------
 */

static void *session_malloc(size_t size, void *arg)
{
    (void)arg;
    return scarce_malloc(size);
}

static void *session_calloc(size_t count, size_t size, void *arg)
{
    (void)arg;
    return scarce_calloc(count, size);
}

static void *session_realloc(void *old, size_t size, void *arg)
{
    (void)arg;
    return scarce_realloc(old, size);
}

static void session_free(void *p, void *arg)
{
    (void)arg;
    free(p);
}

static void *never_refused(void *old, size_t size)
{
    bool paused = scarce_pause(true);
    void *memory = realloc(old, size);

    scarce_pause(paused);
    return memory;
}

static nghttp2_mem session_memory = {.malloc = session_malloc,
                                     .calloc = session_calloc,
                                     .realloc = session_realloc,
                                     .free = session_free};

/* The linker puts these in the place of nghttp2's (--wrap, see meson.build). */
int __wrap_nghttp2_session_server_new2(nghttp2_session **session,
                                       const nghttp2_session_callbacks *callbacks, void *arg,
                                       const nghttp2_option *option);
int __wrap_nghttp2_session_client_new2(nghttp2_session **session,
                                       const nghttp2_session_callbacks *callbacks, void *arg,
                                       const nghttp2_option *option);

int __wrap_nghttp2_session_server_new2(nghttp2_session **session,
                                       const nghttp2_session_callbacks *callbacks, void *arg,
                                       const nghttp2_option *option)
{
    return nghttp2_session_server_new3(session, callbacks, arg, option, &session_memory);
}

int __wrap_nghttp2_session_client_new2(nghttp2_session **session,
                                       const nghttp2_session_callbacks *callbacks, void *arg,
                                       const nghttp2_option *option)
{
    return nghttp2_session_client_new3(session, callbacks, arg, option, &session_memory);
}

/* --- the two sides -----------------------------------------------------------------------------
 */

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    const struct net_header header = {slice_str("x-h"), slice_str("a value")};
    struct world *w = arg;
    struct blob *body;

    (void)w;
    scarce_pause(true);
    body = blob_copy(request->body);
    assert_non_null(body);
    scarce_pause(false);
    if (request->http2)
        net_answer_trailed(exchange, 200, &header, 1, body, &header, 1);
    else
        net_answer(exchange, 200, &header, 1, body);
    blob_unref(body);
}

static void on_done(void *arg, const struct net_response *response)
{
    struct world *w = arg;

    assert_false(w->done);
    w->done = true;
    w->failure = response->failure;
    w->status = response->status;
    w->body_len = response->body.len;
    if (response->failure != NET_OK)
        snprintf(w->message, sizeof w->message, "%s", response->message);
}

static void check_code(int code, const struct error *err)
{
    if (code && code != CODE_RESOURCE_EXHAUSTED)
        fail_msg("code %d: %s", code, err->message);
}

#define INSIST(expression)                                                                         \
    do {                                                                                           \
        struct error err = {0};                                                                    \
        int code_;                                                                                 \
                                                                                                   \
        do {                                                                                       \
            code_ = expression;                                                                    \
            check_code(code_, &err);                                                               \
        } while (code_);                                                                           \
    } while (0)

static void start(struct world *w)
{
    bool tls = w->protocol == TLS_HTTP1 || w->protocol == TLS_HTTP2;
    const struct net_server_options server = {.host = w->protocol == UNIX ? w->path : "127.0.0.1",
                                              .tls_cert_file = tls ? w->authority.cert_file : NULL,
                                              .tls_key_file = tls ? w->authority.key_file : NULL,
                                              .handle = handle,
                                              .arg = w};
    const struct net_client_options client = {.ca_file = w->authority.ca_file};

    INSIST(net_loop_create(&w->loop, &err));
    INSIST(net_server_create(&w->server, w->loop, &server, &err));
    INSIST(net_client_create(&w->client, w->loop, &client, &err));
}

static bool answered(struct world *w)
{
    bool tls = w->protocol == TLS_HTTP1 || w->protocol == TLS_HTTP2;
    const struct net_header header = {slice_str("x-seen"), slice_str("here")};
    struct net_outgoing outgoing = {.host = slice_str(w->protocol == UNIX ? w->path : "127.0.0.1"),
                                    .port = net_server_port(w->server),
                                    .tls = tls,
                                    .http2 = w->protocol == H2C,
                                    .method = slice_str("POST"),
                                    .target = slice_str("/"),
                                    .headers = &header,
                                    .header_count = 1,
                                    .body = w->body,
                                    .done = on_done,
                                    .arg = w,
                                    .timeout_ms = 10000};
    struct net_call *call;

    w->done = false;
    INSIST(net_client_send(w->client, &outgoing, &call, &err));
    while (!w->done) /* its timeout ends it at last */
        net_loop_wait(w->loop);
    if (w->failure != NET_OK) {
        if (w->failure == NET_TIMEOUT || !w->message[0])
            fail_msg("failure %d: %s", w->failure, w->message);
        return false;
    }
    if (w->status != 200 && w->status != 503)
        fail_msg("status %d", w->status);
    if (w->status == 200)
        assert_int_equal(w->body_len, BODY_LEN);
    return w->status == 200;
}

/* True: it came to the nth allocation. */
static bool history(struct world *w, long nth, long in_a_row)
{
    bool met;

    scarce_begin(nth, in_a_row);
    scarce_pause(false);
    start(w);
    for (int i = 0; i < ROUNDS; i++) {
        int tries = 0;

        while (!answered(w))
            if (++tries == 10)
                fail_msg("in vain: %s", w->message);
    }
    net_client_destroy(w->client);
    net_server_destroy(w->server);
    net_loop_destroy(w->loop);
    scarce_pause(true);
    met = scarce_end();
    return met;
}

static void each_fails(enum protocol protocol)
{
    struct world w = {.protocol = protocol};
    bool http2 = protocol == H2C || protocol == TLS_HTTP2;
    char *bytes = malloc(BODY_LEN);
    long n = 1;

    authority_init(&w.authority);
    authority_issue(&w.authority, "IP:127.0.0.1", 3600);
    snprintf(w.path, sizeof w.path, "%s/socket", w.authority.dir);
    memset(bytes, 'x', BODY_LEN);
    w.body = blob_copy(slice(bytes, BODY_LEN));
    free(bytes);
    for (; history(&w, n, 1); n = http2 ? scarce_sample(n, 6) : n + 1)
        history(&w, n, 4);
    assert_true(n > 20);
    blob_unref(w.body);
    authority_finish(&w.authority);
}

static void test_http1(void **state)
{
    (void)state;
    each_fails(HTTP1);
}

static void test_h2c(void **state)
{
    (void)state;
    each_fails(H2C);
}

static void test_tls_http2(void **state)
{
    (void)state;
    each_fails(TLS_HTTP2);
}

static void test_unix(void **state)
{
    (void)state;
    each_fails(UNIX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http1),
        cmocka_unit_test(test_h2c),
        cmocka_unit_test(test_tls_http2),
        cmocka_unit_test(test_unix),
    };

    scarce_pause(true);
    uv_replace_allocator(scarce_malloc, never_refused, scarce_calloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
