// SPDX-License-Identifier: Apache-2.0
/* What the environment says of proxies; requests by way of one, which this file plays. */
#include "net/certs.h"
#include "net/proxy.h"

static const char *const variables[] = {"http_proxy", "https_proxy", "no_proxy",
                                        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"};

static void clear_environment(void)
{
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
}

/* --- the environment -------------------------------------------------------------------------- */

static void what_is_a_proxy(void **state)
{
    static const struct {
        const char *value, *host, *authorization;
        uint16_t port;
    } good[] = {
        {"proxy.test:3128", "proxy.test", NULL, 3128},
        {"http://proxy.test:3128/", "proxy.test", NULL, 3128},
        {"HTTP://proxy.test", "proxy.test", NULL, 80},
        {"http://[::1]:8080", "::1", NULL, 8080},
        {"user:password@10.0.0.1:1", "10.0.0.1", "Basic dXNlcjpwYXNzd29yZA==", 1},
        {"http://a%40b:p%3a%zz@p:1", "p", "Basic YUBiOnA6JXp6", 1},
        {"http://a:b@c@p:1", "p", "Basic YTpiQGM=", 1},
    };
    static const char *const bad[] = {"https://secret@proxy.test",
                                      "socks5://secret@proxy.test:1",
                                      "http://secret@",
                                      "secret@:3128",
                                      "http://secret@a b",
                                      "secret@proxy.test:http"};
    struct net_proxies proxies;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        clear_environment();
        setenv(i % 2 ? "HTTPS_PROXY" : "https_proxy", good[i].value, 1);
        assert_int_equal(net_proxies_read(&proxies, &err), 0);
        assert_string_equal(proxies.http.host, "");
        assert_string_equal(proxies.https.host, good[i].host);
        assert_int_equal(proxies.https.port, good[i].port);
        if (good[i].authorization)
            assert_string_equal(proxies.https.authorization, good[i].authorization);
        else
            assert_null(proxies.https.authorization);
        net_proxies_free(&proxies);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        clear_environment();
        setenv("HTTP_PROXY", bad[i], 1);
        assert_int_equal(net_proxies_read(&proxies, &err), CODE_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "HTTP_PROXY"));
        assert_null(strstr(err.message, "secret"));
    }
    clear_environment();
    setenv("http_proxy", "", 1); /* as good as none */
    setenv("HTTP_PROXY", "upper", 1);
    setenv("https_proxy", "lower", 1);
    setenv("HTTPS_PROXY", "upper", 1);
    assert_int_equal(net_proxies_read(&proxies, &err), 0);
    assert_string_equal(proxies.http.host, "upper");
    assert_string_equal(proxies.https.host, "lower");
    net_proxies_free(&proxies);
}

static void for_whom_there_is_none(void **state)
{
    static const struct {
        const char *none_for, *host;
        bool direct;
    } cases[] = {
        {"", "a.test", false},
        {"", "localhost", true},
        {"", "LocalHost", true},
        {"", "127.1.2.3", true},
        {"", "::1", true},
        {"", "::ffff:127.0.0.1", true},
        {"", "/run/socket", true},
        {"", "128.0.0.1", false},
        {"*", "a.test", true},
        {"x, *", "a.test", true},
        {"a.test", "a.test", true},
        {"a.test", "A.TEST", true},
        {"a.test", "b.a.test", true},
        {".a.test", "b.a.test", true},
        {"*.a.test", "b.a.test", true},
        {"a.test", "ba.test", false},
        {"a.test", "a.test.b", false},
        {"x,a.test", "a.test", true},
        {"x a.test", "a.test", true},
        {"a.test:8000", "a.test", true},
        {"a.test:80", "a.test", false},
        {"10.0.0.0/8", "10.1.2.3", true},
        {"10.0.0.0/8", "11.1.2.3", false},
        {"10.0.0.0/8", "name", false},
        {"10.1.2.3:8000", "10.1.2.3", true},
        {"10.1.2.3:80", "10.1.2.3", false},
        {"1.2.3", "0.1.2.3", false},
        {"fd00::/8", "fd12::1", true},
        {"fd00::/8", "fe12::1", false},
        {",.,:,*.", "a.test", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct net_target target = {slice_str(cases[i].host), 8000, i % 2};
        struct net_proxies proxies;

        clear_environment();
        setenv("http_proxy", "proxy.test", 1);
        setenv("https_proxy", "proxy.test", 1);
        setenv(i % 3 ? "no_proxy" : "NO_PROXY", cases[i].none_for, 1);
        assert_int_equal(net_proxies_read(&proxies, NULL), 0);
        if ((net_proxies_find(&proxies, &target) == NULL) != cases[i].direct)
            fail_msg("\"%s\", %s", cases[i].none_for, cases[i].host);
        net_proxies_free(&proxies);
    }
}

/* --- by way of one ---------------------------------------------------------------------------- */

struct world {
    struct net_loop *loop;
    struct net_server *server; /* the host that is meant */
    struct net_client *client;
    struct authority authority;
    int listener; /* the proxy */
    uint16_t port, proxy_port;
    struct peer from, to; /* its connections */
    bool was_http2;
    const char *refusal;
    bool asked_without_address;
};

struct outcome {
    int done, status;
    enum net_failure failure;
    char message[600], body[64];
};

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct world *w = arg;
    struct blob *body = blob_copy(request->path);

    w->was_http2 = request->http2;
    net_answer(exchange, 200, NULL, 0, body);
    blob_unref(body);
}

static void on_done(void *arg, const struct net_response *response)
{
    struct outcome *o = arg;

    o->done++;
    o->failure = response->failure;
    o->status = response->status;
    if (response->message)
        snprintf(o->message, sizeof o->message, "%s", response->message);
    snprintf(o->body, sizeof o->body, "%.*s", SLICE_FMT(response->body));
}

static void get(struct world *w, const char *host, bool tls, struct outcome *o)
{
    const struct net_outgoing request = {.host = slice_str(host),
                                         .port = w->port,
                                         .tls = tls,
                                         .http2 = !tls, /* which a proxy does not pass on */
                                         .method = slice_str("GET"),
                                         .target = slice_str("/path?q"),
                                         .done = on_done,
                                         .arg = o};

    *o = (struct outcome){0};
    assert_int_equal(net_client_send(w->client, &request, NULL, NULL), 0);
}

static const char *refuses(const void *arg, const struct net_target *target,
                           const struct sockaddr *address)
{
    struct world *w = (struct world *)(uintptr_t)arg;

    assert_true(slice_eq_str(target->host, "endpoint.test"));
    w->asked_without_address = !address;
    return w->refusal;
}

static void start_client(struct world *w, const char *credentials)
{
    const struct net_client_options options = {
        .proxies = true, .ca_file = w->authority.ca_file, .refuses = refuses, .refuses_arg = w};
    char proxy[64];

    snprintf(proxy, sizeof proxy, "http://%s127.0.0.1:%u", credentials, w->proxy_port);
    setenv("http_proxy", proxy, 1);
    setenv("https_proxy", proxy, 1);
    assert_int_equal(net_client_create(&w->client, w->loop, &options, NULL), 0);
}

static void start_server(struct world *w, const char *names)
{
    struct net_server_options options = {.host = "127.0.0.1", .handle = handle, .arg = w};

    authority_issue(&w->authority, names, 600);
    options.tls_cert_file = w->authority.cert_file;
    options.tls_key_file = w->authority.key_file;
    assert_int_equal(net_server_create(&w->server, w->loop, &options, NULL), 0);
    w->port = net_server_port(w->server);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    clear_environment();
    assert_int_equal(net_loop_create(&w->loop, NULL), 0);
    authority_init(&w->authority);
    w->listener = listen_loopback(&w->proxy_port, 4);
    w->port = 8000;
    w->from.fd = w->to.fd = -1;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    net_client_destroy(w->client);
    net_server_destroy(w->server);
    net_loop_destroy(w->loop);
    peer_close(&w->from);
    peer_close(&w->to);
    if (w->listener >= 0)
        close(w->listener);
    authority_finish(&w->authority);
    free(w);
    return 0;
}

static void clear_text_is_passed_on(void **state)
{
    struct world *w = *state;
    struct outcome o;

    start_client(w, "me:secret@");
    get(w, "endpoint.test", false, &o);
    UNTIL(w->loop, peer_accept(&w->from, w->listener));
    UNTIL(w->loop, peer_has(&w->from, "\r\n\r\n"));
    assert_non_null(strstr(w->from.in, "GET http://endpoint.test:8000/path?q HTTP/1.1\r\n"));
    assert_non_null(strstr(w->from.in, "Host: endpoint.test:8000\r\n"));
    assert_non_null(strstr(w->from.in, "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"));
    assert_true(w->asked_without_address);
    peer_send(&w->from, "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok");
    UNTIL(w->loop, o.done);
    assert_int_equal(o.failure, NET_OK);
    assert_string_equal(o.body, "ok");

    /* Again on that connection, and in HTTP/1.1 whatever the host would speak. */
    peer_forget(&w->from);
    get(w, "endpoint.test", false, &o);
    UNTIL(w->loop, peer_has(&w->from, "GET http://endpoint.test:8000/path?q HTTP/1.1\r\n"));
    peer_send(&w->from, "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n");
    UNTIL(w->loop, o.done);
    assert_int_equal(o.failure, NET_TCP);
    assert_non_null(strstr(o.message, "credentials"));
    assert_null(strstr(o.message, "secret"));
}

static void pass(struct peer *from, struct peer *to)
{
    peer_read(from);
    if (from->len > 0)
        assert_int_equal(send(to->fd, from->in, from->len, MSG_NOSIGNAL), (ssize_t)from->len);
    peer_forget(from);
}

static bool relay(struct world *w, const struct outcome *o)
{
    pass(&w->from, &w->to);
    pass(&w->to, &w->from);
    return o->done;
}

/* The proxy takes the next connection, and makes of it one to the host. */
static void open_tunnel(struct world *w)
{
    UNTIL(w->loop, peer_accept(&w->from, w->listener));
    UNTIL(w->loop, peer_has(&w->from, "\r\n\r\n"));
    peer_connect(&w->to, w->port);
    peer_send(&w->from, "HTTP/1.1 200 Connection established\r\nServer: test\r\n\r\n");
}

static void tls_is_the_hosts_own(void **state)
{
    struct world *w = *state;
    char wanted[200];
    struct outcome o;

    start_server(w, "DNS:endpoint.test");
    start_client(w, "me:secret@");
    get(w, "endpoint.test", true, &o);
    open_tunnel(w);
    snprintf(wanted, sizeof wanted,
             "CONNECT endpoint.test:%u HTTP/1.1\r\nHost: endpoint.test:%u\r\n"
             "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n",
             w->port, w->port);
    assert_string_equal(w->from.in, wanted);
    peer_forget(&w->from);
    UNTIL(w->loop, relay(w, &o));
    assert_int_equal(o.failure, NET_OK);
    assert_string_equal(o.body, "/path");
    assert_true(w->was_http2); /* as the two agreed */
    assert_true(w->asked_without_address);
}

static void a_certificate_of_another_is_refused(void **state)
{
    struct world *w = *state;
    struct outcome o;

    start_server(w, "DNS:other.test,IP:127.0.0.1");
    start_client(w, "");
    get(w, "endpoint.test", true, &o);
    open_tunnel(w);
    assert_null(strstr(w->from.in, "Proxy-Authorization"));
    peer_forget(&w->from);
    UNTIL(w->loop, relay(w, &o));
    assert_int_equal(o.failure, NET_TLS);
    assert_non_null(strstr(o.message, "hostname mismatch"));
}

static void a_proxy_that_fails(void **state)
{
    static const struct {
        const char *says; /* NULL: it closes */
        const char *message;
    } cases[] = {
        {"HTTP/1.1 407 Who\r\nContent-Length: 9\r\n\r\n", "asks for credentials"},
        {"HTTP/1.1 403 No\r\n\r\n<html>", "refuses: HTTP status 403"},
        {"HTTP/1.0 502 Bad\r\nConnection: close\r\n\r\n", "refuses: HTTP status 502"},
        {"HTTP/1.1 200 OK\r\n\r\nspare", "more than was asked"},
        {"SSH-2.0-OpenSSH\r\n", "malformed"},
        {NULL, "closed the connection"},
    };
    struct world *w = *state;
    struct outcome o;

    start_client(w, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        get(w, "endpoint.test", true, &o);
        UNTIL(w->loop, peer_accept(&w->from, w->listener));
        UNTIL(w->loop, peer_has(&w->from, "\r\n\r\n"));
        if (cases[i].says)
            peer_send(&w->from, cases[i].says);
        else
            peer_close(&w->from);
        UNTIL(w->loop, o.done);
        assert_int_equal(o.failure, NET_TCP);
        if (!strstr(o.message, cases[i].message))
            fail_msg("%s", o.message);
        assert_non_null(strstr(o.message, "connect to endpoint.test:8000: the proxy"));
        peer_close(&w->from);
    }
}

static void nobody_at_the_proxys_address(void **state)
{
    struct world *w = *state;
    struct outcome o;

    start_client(w, "");
    close(w->listener);
    w->listener = -1;
    for (int tls = 0; tls < 2; tls++) {
        get(w, "endpoint.test", tls, &o);
        UNTIL(w->loop, o.done);
        assert_int_equal(o.failure, NET_TCP);
        assert_non_null(
            strstr(o.message, "connect to endpoint.test:8000: by a proxy: connect to "));
        assert_non_null(strstr(o.message, "refused"));
    }
}

static void a_refused_host_is_not_asked_for(void **state)
{
    struct world *w = *state;
    struct outcome o;

    w->refusal = "not that one";
    start_client(w, "");
    get(w, "endpoint.test", true, &o);
    UNTIL(w->loop, o.done);
    assert_int_equal(o.failure, NET_FORBIDDEN);
    assert_non_null(strstr(o.message, "not that one"));
    assert_false(peer_accept(&w->from, w->listener));
}

static void destroyed_while_the_proxy_is_asked(void **state)
{
    struct world *w = *state;
    struct outcome o;

    start_client(w, "");
    get(w, "endpoint.test", true, &o);
    UNTIL(w->loop, peer_accept(&w->from, w->listener));
    UNTIL(w->loop, peer_has(&w->from, "\r\n\r\n"));
    net_client_destroy(w->client);
    w->client = NULL;
    assert_int_equal(o.failure, NET_CANCELED);
}

static void clients_that_use_none(void **state)
{
    struct net_outgoing request = {
        .host = slice_str("127.0.0.1"), .method = slice_str("GET"), .done = on_done};
    struct world *w = *state;
    struct outcome o = {0};

    start_client(w, ""); /* only for the environment */
    net_client_destroy(w->client);
    assert_int_equal(net_client_create(&w->client, w->loop, NULL, NULL), 0);
    request.port = w->proxy_port;
    request.arg = &o;
    assert_int_equal(net_client_send(w->client, &request, NULL, NULL), 0);
    UNTIL(w->loop, peer_accept(&w->from, w->listener));
    UNTIL(w->loop, peer_has(&w->from, "GET / HTTP/1.1\r\n"));
    peer_send(&w->from, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    UNTIL(w->loop, o.done);
    assert_int_equal(o.failure, NET_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_proxy),
        cmocka_unit_test(for_whom_there_is_none),
        TEST(clear_text_is_passed_on),
        TEST(tls_is_the_hosts_own),
        TEST(a_certificate_of_another_is_refused),
        TEST(a_proxy_that_fails),
        TEST(nobody_at_the_proxys_address),
        TEST(a_refused_host_is_not_asked_for),
        TEST(destroyed_while_the_proxy_is_asked),
        TEST(clients_that_use_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
