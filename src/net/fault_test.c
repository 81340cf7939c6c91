// SPDX-License-Identifier: Apache-2.0
/*
 * The Nth allocation refused, or the Nth system call on a socket failing, for every N, in a loop
 * with a server and a client on it, over every protocol: nothing crashes or leaks, whoever asked is
 * told at once (nobody finds out by a timeout), and the same request made again is answered.
 *
 * libuv's and nghttp2's allocations count, save what libuv would abort over: its lists of watchers,
 * which it reallocates. OpenSSL's do not: an authority's certificate that it had no memory for once
 * is invalid to it for good.
 */
#include <errno.h>
#include <sys/socket.h>

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

/* --- the system --------------------------------------------------------------------------------
 */

static struct {
    bool armed;
    unsigned long seen, fail_at; /* calls; the one that fails */
    unsigned in_a_row;
    size_t error;        /* which of those that the call may end with */
    bool no_descriptors; /* nothing is accepted */
    unsigned accepts;
} faults;

/* 0: it does not fail. */
static int error_of(const int *errors, size_t count)
{
    if (!faults.armed || !faults.fail_at)
        return 0;
    faults.seen++;
    if (faults.seen < faults.fail_at || faults.seen - faults.fail_at >= faults.in_a_row)
        return 0;
    return errors[faults.error % count];
}

/* Stands in for the function of that name; the numbers are the errors that it fails with in turn.
 */
#define FAILING(type, name, parameters, arguments, ...)                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
                                                                                                   \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        static const int errors[] = {__VA_ARGS__};                                                 \
        int error = error_of(errors, sizeof errors / sizeof *errors);                              \
                                                                                                   \
        if (!error)                                                                                \
            return __real_##name arguments;                                                        \
        errno = error;                                                                             \
        return -1;                                                                                 \
    }

FAILING(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE,
        ENOBUFS, ENFILE, ENOMEM)
FAILING(int, connect, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len),
        ECONNREFUSED, ENOBUFS, EHOSTUNREACH, EAGAIN)
FAILING(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len),
        (fd, level, name, value, len), ENOBUFS)
FAILING(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
        (fd, level, name, value, len), ENOBUFS, ENOMEM)
FAILING(int, bind, (int fd, const struct sockaddr *at, socklen_t len), (fd, at, len), EADDRINUSE,
        ENOBUFS)
FAILING(int, listen, (int fd, int backlog), (fd, backlog), EADDRINUSE, ENOBUFS)

/* A connection that is reset is so for good. */
static int broken(int fd, int error)
{
    if (error == ECONNRESET || error == EPIPE)
        shutdown(fd, SHUT_RDWR);
    errno = error;
    return -1;
}

ssize_t __real_recv(int fd, void *to, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_recv(int fd, void *to, size_t size, int flags)
{
    static const int errors[] = {ECONNRESET, EAGAIN, EINTR, ENOMEM};
    int error = error_of(errors, sizeof errors / sizeof *errors);

    return error ? broken(fd, error) : __real_recv(fd, to, size, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    static const int errors[] = {ECONNRESET, EAGAIN, EINTR, ENOBUFS, EPIPE};
    int error = error_of(errors, sizeof errors / sizeof *errors);

    return error ? broken(fd, error) : __real_sendmsg(fd, message, flags);
}

int __real_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    static const int errors[] = {EMFILE, ECONNABORTED, EINTR, EAGAIN, ENFILE, ENOBUFS, ENOMEM};
    int error = faults.no_descriptors ? EMFILE : error_of(errors, sizeof errors / sizeof *errors);

    faults.accepts++;
    if (!error)
        return __real_accept4(fd, from, len, flags);
    errno = error;
    return -1;
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
    if (code && code != CODE_RESOURCE_EXHAUSTED && !(faults.armed && code == CODE_UNAVAILABLE))
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

static void ask(struct world *w)
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
}

static bool answered(struct world *w)
{
    ask(w);
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

/* Some requests, from the making of both sides to their end. */
static void live(struct world *w)
{
    start(w);
    for (int i = 0; i < ROUNDS; i++) {
        int tries = 0;

        while (!answered(w))
            if (++tries == 20)
                fail_msg("in vain: %s", w->message);
    }
    net_client_destroy(w->client);
    net_server_destroy(w->server);
    net_loop_destroy(w->loop);
}

static void set_up(struct world *w, enum protocol protocol)
{
    char *bytes = malloc(BODY_LEN);

    assert_non_null(bytes);
    *w = (struct world){.protocol = protocol};
    authority_init(&w->authority);
    authority_issue(&w->authority, "IP:127.0.0.1", 3600);
    snprintf(w->path, sizeof w->path, "%s/socket", w->authority.dir);
    memset(bytes, 'x', BODY_LEN);
    w->body = blob_copy(slice(bytes, BODY_LEN));
    free(bytes);
}

static void tear_down(struct world *w)
{
    blob_unref(w->body);
    authority_finish(&w->authority);
}

/* True: it came to the nth allocation. */
static bool without_memory(struct world *w, long nth, long in_a_row)
{
    scarce_begin(nth, in_a_row);
    scarce_pause(false);
    live(w);
    scarce_pause(true);
    return scarce_end();
}

static void each_allocation(enum protocol protocol)
{
    bool http2 = protocol == H2C || protocol == TLS_HTTP2;
    struct world w;
    long n = 1;

    set_up(&w, protocol);
    for (; without_memory(&w, n, 1); n = http2 ? scarce_sample(n, 6) : n + 1)
        without_memory(&w, n, 4);
    assert_true(n > 20);
    tear_down(&w);
}

/* True: it came to the nth call. */
static bool with_failure(struct world *w, unsigned long nth, size_t error)
{
    faults.armed = true;
    faults.seen = 0;
    faults.fail_at = nth;
    faults.in_a_row = 1 + (unsigned)error % 3;
    faults.error = error;
    live(w);
    faults.armed = false;
    return faults.seen >= nth;
}

/* A sample of them, each with one of its errors. */
static void each_call(enum protocol protocol)
{
    struct world w;
    long n = 1;

    set_up(&w, protocol);
    while (with_failure(&w, (unsigned long)n, (size_t)n / 2))
        n = scarce_sample(n, 5);
    assert_true(n > 15);
    tear_down(&w);
}

static void test_memory(void **state)
{
    (void)state;
    each_allocation(HTTP1);
    each_allocation(H2C);
    each_allocation(TLS_HTTP2);
    each_allocation(UNIX);
}

static void test_system_calls(void **state)
{
    (void)state;
    each_call(HTTP1);
    each_call(H2C);
    each_call(TLS_HTTP1);
    each_call(TLS_HTTP2);
    each_call(UNIX);
}

/* A process out of descriptors looks for one now and then, and serves when it has one. */
static void test_no_descriptors(void **state)
{
    struct world w;
    unsigned turns = 0;

    (void)state;
    set_up(&w, HTTP1);
    start(&w);
    faults.no_descriptors = true;
    faults.accepts = 0;
    ask(&w);
    for (; faults.accepts < 3; turns++)
        net_loop_wait(w.loop);
    assert_true(turns < 50);
    assert_false(w.done);
    faults.no_descriptors = false;
    while (!w.done)
        net_loop_wait(w.loop);
    assert_int_equal(w.status, 200);
    net_client_destroy(w.client);
    net_server_destroy(w.server);
    net_loop_destroy(w.loop);
    tear_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_no_descriptors),
    };

    scarce_pause(true);
    uv_replace_allocator(scarce_malloc, never_refused, scarce_calloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
