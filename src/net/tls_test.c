// SPDX-License-Identifier: Apache-2.0
/* Certificates that are right, wrong, strange and old; peers that do not speak TLS; what ALPN
 * agrees on. */
#include <openssl/ssl.h>

#include "net/certs.h"

struct world {
    struct net_loop *loop;
    struct net_server *server;
    struct net_client *client;
    struct authority authority;
    uint16_t port;
};

struct outcome {
    int done, status;
    enum net_failure failure;
    char message[600], body[64];
};

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct blob *body = blob_copy(request->path);

    (void)arg;
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

static struct outcome get(struct world *w, const char *host, bool tls)
{
    struct outcome o = {0};
    const struct net_outgoing request = {.host = slice_str(host),
                                         .port = w->port,
                                         .tls = tls,
                                         .method = slice_str("GET"),
                                         .target = slice_str("/path"),
                                         .done = on_done,
                                         .arg = &o};

    assert_int_equal(net_client_send(w->client, &request, NULL, NULL), 0);
    UNTIL(w->loop, o.done);
    return o;
}

static void start(struct world *w, const char *names, long end_s, const char *ca_file)
{
    struct net_server_options options = {.host = "127.0.0.1", .handle = handle};

    authority_issue(&w->authority, names, end_s);
    options.tls_cert_file = w->authority.cert_file;
    options.tls_key_file = w->authority.key_file;
    assert_int_equal(net_server_create(&w->server, w->loop, &options, NULL), 0);
    w->port = net_server_port(w->server);
    assert_int_equal(net_client_create(&w->client, w->loop,
                                       &(struct net_client_options){.ca_file = ca_file}, NULL),
                     0);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_int_equal(net_loop_create(&w->loop, NULL), 0);
    authority_init(&w->authority);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    net_client_destroy(w->client);
    net_server_destroy(w->server);
    net_loop_destroy(w->loop);
    authority_finish(&w->authority);
    free(w);
    return 0;
}

/* --- certificates ----------------------------------------------------------------------------- */

static void a_private_authority_is_trusted_by_names_and_addresses(void **state)
{
    struct world *w = *state;
    struct outcome o;

    start(w, "DNS:localhost,IP:127.0.0.1", 600, w->authority.ca_file);
    o = get(w, "localhost", true);
    assert_int_equal(o.failure, NET_OK);
    assert_string_equal(o.body, "/path");
    o = get(w, "127.0.0.1", true);
    assert_int_equal(o.failure, NET_OK);
}

static void assert_refused(struct world *w, const char *host, const char *reason)
{
    struct outcome o = get(w, host, true);
    char prefix[80];

    snprintf(prefix, sizeof prefix, "connect to %s:%u: the certificate cannot be verified: ", host,
             w->port);
    assert_int_equal(o.failure, NET_TLS);
    if (strncmp(o.message, prefix, strlen(prefix)) != 0 || !strstr(o.message, reason))
        fail_msg("%s", o.message);
}

static void an_unknown_authority_is_not(void **state)
{
    struct world *w = *state;

    start(w, "DNS:localhost", 600, NULL); /* the system does not know it */
    assert_refused(w, "localhost", "unable to get local issuer certificate");
}

static void another_name_is_not(void **state)
{
    struct world *w = *state;

    start(w, "DNS:example.com,IP:127.0.0.2", 600, w->authority.ca_file);
    assert_refused(w, "localhost", "hostname mismatch");
    assert_refused(w, "127.0.0.1", "IP address mismatch");
}

static void an_expired_one_is_not(void **state)
{
    struct world *w = *state;

    start(w, "DNS:localhost", -60, w->authority.ca_file);
    assert_refused(w, "localhost", "certificate has expired");
}

static void a_new_certificate_takes_effect(void **state)
{
    struct world *w = *state;
    struct error err;

    start(w, "DNS:example.com", 600, w->authority.ca_file);
    assert_refused(w, "localhost", "hostname mismatch");
    authority_issue(&w->authority, "DNS:localhost", 600);
    assert_int_equal(
        net_server_reload_tls(w->server, w->authority.cert_file, w->authority.key_file, &err), 0);
    assert_int_equal(get(w, "localhost", true).failure, NET_OK);
    /* One that cannot be read leaves things as they are. */
    assert_int_equal(net_server_reload_tls(w->server, "/nonexistent", w->authority.key_file, &err),
                     CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "/nonexistent"));
    assert_int_equal(
        net_server_reload_tls(w->server, w->authority.ca_file, w->authority.key_file, &err),
        CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "private key"));
    net_client_destroy(w->client);
    assert_int_equal(
        net_client_create(&w->client, w->loop,
                          &(struct net_client_options){.ca_file = w->authority.ca_file}, NULL),
        0);
    assert_int_equal(get(w, "localhost", true).failure, NET_OK);
}

static void says_which_file_cannot_be_used(void **state)
{
    struct world *w = *state;
    struct net_client *client = NULL;
    struct net_server *server = NULL;
    struct net_server_options options = {
        .host = "127.0.0.1", .handle = handle, .tls_cert_file = "/nonexistent.pem"};
    struct error err;

    assert_int_not_equal(
        net_client_create(&client, w->loop,
                          &(struct net_client_options){.ca_file = "/nonexistent.pem"}, &err),
        0);
    assert_non_null(strstr(err.message, "/nonexistent.pem"));
    assert_int_equal(net_server_create(&server, w->loop, &options, &err), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "both a certificate file and a key file"));
    options.tls_key_file = "/nonexistent.pem";
    assert_int_equal(net_server_create(&server, w->loop, &options, &err), CODE_INVALID_ARGUMENT);
    assert_null(server);
    assert_null(client);
}

/* --- peers that speak something else ------------------------------------------------------------
 */

static void a_peer_without_tls_is_a_tls_failure(void **state)
{
    struct world *w = *state;
    struct net_server_options options = {.host = "127.0.0.1", .handle = handle};
    struct outcome o;

    assert_int_equal(net_server_create(&w->server, w->loop, &options, NULL), 0);
    w->port = net_server_port(w->server);
    assert_int_equal(net_client_create(&w->client, w->loop, NULL, NULL), 0);
    o = get(w, "127.0.0.1", true);
    assert_int_equal(o.failure, NET_TLS);
    assert_non_null(strstr(o.message, "TLS"));
}

static void a_client_without_tls_is_closed(void **state)
{
    struct world *w = *state;
    struct peer p;

    start(w, "DNS:localhost", 600, w->authority.ca_file);
    assert_int_not_equal(get(w, "localhost", false).failure, NET_OK);
    peer_connect(&p, w->port);
    peer_send(&p, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(w->loop, peer_ended(&p));
    assert_false(peer_has(&p, "200"));
    peer_close(&p);
}

static void a_handshake_that_stalls_times_out(void **state)
{
    struct world *w = *state;
    struct net_server_options options = {
        .host = "127.0.0.1", .handle = handle, .header_timeout_ms = 50};
    struct outcome o;
    struct peer p;
    int listener = listen_loopback(&w->port, 8);

    assert_int_equal(net_client_create(&w->client, w->loop,
                                       &(struct net_client_options){.connect_timeout_ms = 50},
                                       NULL),
                     0);
    o = get(w, "127.0.0.1", true);
    assert_int_equal(o.failure, NET_TIMEOUT);
    assert_non_null(strstr(o.message, "the TLS handshake timed out"));
    close(listener);
    authority_issue(&w->authority, "DNS:localhost", 600);
    options.tls_cert_file = w->authority.cert_file;
    options.tls_key_file = w->authority.key_file;
    assert_int_equal(net_server_create(&w->server, w->loop, &options, NULL), 0);
    peer_connect(&p, net_server_port(w->server));
    UNTIL(w->loop, peer_ended(&p));
    peer_close(&p);
}

/* --- ALPN ------------------------------------------------------------------------------------ */

struct answer {
    char in[4096];
    size_t len;
};

static bool answer_has(struct answer *a, SSL *ssl, const char *wanted)
{
    int n = SSL_read(ssl, a->in + a->len, (int)(sizeof a->in - a->len));

    a->len += n > 0 ? (size_t)n : 0;
    return memmem(a->in, a->len, wanted, strlen(wanted)) != NULL;
}

/* A peer that offers these protocols and then says something. */
static void speak(struct world *w, const char *alpn, const char *text, size_t len,
                  const char *wanted, const char *agreed)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    const unsigned char *name;
    unsigned name_len;
    struct answer answer = {0};
    struct peer p;

    peer_connect(&p, w->port);
    SSL_set_fd(ssl, p.fd);
    if (alpn)
        SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    UNTIL(w->loop, SSL_connect(ssl) == 1);
    SSL_get0_alpn_selected(ssl, &name, &name_len);
    assert_true(slice_eq_str(slice(name, name_len), agreed));
    assert_int_equal(SSL_write(ssl, text, (int)len), (int)len);
    UNTIL(w->loop, answer_has(&answer, ssl, wanted));
    SSL_free(ssl);
    SSL_CTX_free(context);
    peer_close(&p);
}

#define HTTP1_REQUEST  "GET /one HTTP/1.1\r\nHost: h\r\n\r\n"
#define HTTP2_SETTINGS "\0\0\0\4\0\0\0\0\0"
/* GET / of authority "h", all from the static table but that */
#define HTTP2_GET "\0\0\x6\1\5\0\0\0\1\x82\x84\x87\x41\1h"

static void the_handshake_tells_what_is_spoken(void **state)
{
    static const char http2[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" HTTP2_SETTINGS HTTP2_GET;
    struct world *w = *state;

    start(w, "DNS:localhost", 600, w->authority.ca_file);
    speak(w, NULL, HTTP1_REQUEST, sizeof HTTP1_REQUEST - 1, "/one", "");
    speak(w, "\x08http/1.1", HTTP1_REQUEST, sizeof HTTP1_REQUEST - 1, "/one", "http/1.1");
    speak(w, "\x03xyz", HTTP1_REQUEST, sizeof HTTP1_REQUEST - 1, "/one", "");
    /* The body of the answer, "/", in a DATA frame that ends stream 1 */
    speak(w, "\x08http/1.1\x02h2", http2, sizeof http2 - 1, "\x01/", "h2");
    speak(w, NULL, http2, sizeof http2 - 1, "\x01/", "");
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_private_authority_is_trusted_by_names_and_addresses),
        T(an_unknown_authority_is_not),
        T(another_name_is_not),
        T(an_expired_one_is_not),
        T(a_new_certificate_takes_effect),
        T(says_which_file_cannot_be_used),
        T(a_peer_without_tls_is_a_tls_failure),
        T(a_client_without_tls_is_closed),
        T(a_handshake_that_stalls_times_out),
        T(the_handshake_tells_what_is_spoken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
