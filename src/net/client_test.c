// SPDX-License-Identifier: Apache-2.0
/* The client against raw sockets that answer by the book, or not; and against the server.
 * long: most of it is rows of responses, and every test stands on the same small world. */
#include "net/testing.h"

enum { HOLD_MAX = 400 };

struct world {
    struct net_loop *loop;
    struct net_client *client;
    struct net_server *server;
    int listener;
    uint16_t port;
    struct net_exchange *held[HOLD_MAX];
    size_t held_count, served, gone;
};

/* What came of a request. */
struct outcome {
    struct net_call *call;
    struct world *world;
    int done;
    enum net_failure failure;
    int status;
    char message[600], body[4096], header[128];
    size_t body_len;
    bool send_again, destroy;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_int_equal(net_loop_create(&w->loop, NULL), 0);
    assert_int_equal(net_client_create(&w->client, w->loop, NULL, NULL), 0);
    w->listener = listen_loopback(&w->port, 64);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    net_client_destroy(w->client);
    net_server_destroy(w->server);
    net_loop_destroy(w->loop);
    if (w->listener >= 0)
        close(w->listener);
    free(w);
    return 0;
}

static void use_client(struct world *w, struct net_client_options options)
{
    net_client_destroy(w->client);
    assert_int_equal(net_client_create(&w->client, w->loop, &options, NULL), 0);
}

static void copy(char *to, size_t size, struct slice from)
{
    size_t len = from.len < size - 1 ? from.len : size - 1;

    if (len > 0)
        memcpy(to, from.data, len);
    to[len] = '\0';
}

static void send_get(struct outcome *o, const char *target);

static void on_done(void *arg, const struct net_response *response)
{
    struct outcome *o = arg;

    o->call = NULL;
    o->done++;
    o->failure = response->failure;
    o->status = response->status;
    if (response->message)
        snprintf(o->message, sizeof o->message, "%s", response->message);
    copy(o->header, sizeof o->header,
         net_header_get(response->headers, response->header_count, "x-h"));
    if (o->send_again) {
        o->send_again = false;
        send_get(o, "/again");
    }
    if (o->destroy) {
        net_client_destroy(o->world->client);
        o->world->client = NULL;
    }
    /* Whatever was started above, the response is still there. */
    copy(o->body, sizeof o->body, response->body);
    o->body_len = response->body.len;
}

static struct net_outgoing request_to(struct outcome *o, const char *target)
{
    return (struct net_outgoing){.host = slice_str("127.0.0.1"),
                                 .port = o->world->port,
                                 .method = slice_str("GET"),
                                 .target = slice_str(target),
                                 .done = on_done,
                                 .arg = o};
}

static void send_it(struct outcome *o, const struct net_outgoing *request)
{
    int done = o->done;

    assert_int_equal(net_client_send(o->world->client, request, &o->call, NULL), 0);
    assert_int_equal(o->done, done);
}

static void send_get(struct outcome *o, const char *target)
{
    struct net_outgoing request = request_to(o, target);

    send_it(o, &request);
}

static struct outcome outcome(struct world *w)
{
    return (struct outcome){.world = w};
}

#define ACCEPT(w, p) UNTIL((w)->loop, peer_accept((p), (w)->listener))
#define DONE(w, o)   UNTIL((w)->loop, (o)->done)

/* --- requests and responses ------------------------------------------------------------------ */

static void sends_what_it_is_told(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct peer p;
    struct blob *body = blob_copy(slice_str("hello"));
    const struct net_header headers[] = {{slice_str("Content-Type"), slice_str("text/plain")},
                                         {slice_str("X-Empty"), slice("", 0)}};
    struct net_outgoing request = request_to(&o, "/path?query");
    char host[64];

    request.method = slice_str("POST");
    request.headers = headers;
    request.header_count = 2;
    request.body = body;
    send_it(&o, &request);
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "hello"));
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%u\r\n", w->port);
    assert_memory_equal(p.in, "POST /path?query HTTP/1.1\r\n", 27);
    assert_true(peer_has(&p, host));
    assert_true(peer_has(&p, "Content-Type: text/plain\r\nX-Empty: \r\nContent-Length: 5\r\n"));
    peer_send(&p, "HTTP/1.1 201 Made\r\nX-H:  v \r\nContent-Length: 3\r\n\r\nyes");
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_int_equal(o.status, 201);
    assert_string_equal(o.body, "yes");
    assert_string_equal(o.header, "v");
    assert_int_equal(atomic_load(&body->refs), 1);
    blob_unref(body);
    peer_close(&p);
}

/* long: the rows are half of it. */
static void reads_every_kind_of_response(void **state)
{
    static const struct {
        const char *method, *response;
        int status;
        const char *body;
        bool closes, kept;
    } rows[] = {
        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false, true},
        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", false, true},
        {"GET",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;e=1\r\nab\r\n3\r\ncde\r\n"
         "0\r\nT: r\r\n\r\n",
         200, "abcde", false, true},
        {"GET", "HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end", 200, "until the end", true,
         false},
        {"GET", "HTTP/1.1 200 OK\r\n\r\n", 200, "", true, false},
        {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, "ok",
         false, false},
        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokSPARE", 200, "ok", false, false},
        {"GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", false, true},
        {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", false, true},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, "", false, true},
        {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", false, true},
        {"GET",
         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-H: e\r\n\r\n"
         "HTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\n!",
         500, "!", false, true},
        {"GET", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, "", false,
         true},
        {"GET",
         "HTTP/1.1 200 OK\r\nUpgrade: h3\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nup",
         200, "up", false, true},
    };
    struct world *w = *state;
    struct peer p;

    for (size_t bytewise = 0; bytewise < 2; bytewise++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct outcome o = outcome(w), second = outcome(w);
            struct net_outgoing request = request_to(&o, "/");

            request.method = slice_str(rows[i].method);
            send_it(&o, &request);
            ACCEPT(w, &p);
            UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
            for (const char *c = rows[i].response; bytewise && *c; c++) {
                send(p.fd, c, 1, MSG_NOSIGNAL);
                step(w->loop);
            }
            if (!bytewise)
                peer_send(&p, rows[i].response);
            if (rows[i].closes)
                shutdown(p.fd, SHUT_WR);
            DONE(w, &o);
            if (o.failure != NET_OK)
                fail_msg("row %zu: %s", i, o.message);
            assert_int_equal(o.status, rows[i].status);
            assert_string_equal(o.body, rows[i].body);
            /* Over the same connection, if it could be kept. */
            peer_forget(&p);
            send_get(&second, "/second");
            if (!rows[i].kept) {
                UNTIL(w->loop, peer_ended(&p));
                peer_close(&p);
                ACCEPT(w, &p);
            }
            UNTIL(w->loop, peer_has(&p, "GET /second"));
            peer_close(&p); /* a kept one is tried again once, and this one not */
            if (rows[i].kept) {
                ACCEPT(w, &p);
                UNTIL(w->loop, peer_has(&p, "GET /second"));
                peer_close(&p);
            }
            DONE(w, &second);
            assert_int_equal(second.failure, NET_TCP);
        }
    }
}

static void tells_malformed_responses(void **state)
{
    static const struct {
        const char *response, *message;
        bool closes;
    } rows[] = {
        {"SSH-2.0-OpenSSH_9.2\r\n", "malformed response", false},
        {"HTTP/1.1 abc\r\n\r\n", "malformed response", false},
        {"HTTP/2.0 200 OK\r\n\r\n", "only HTTP/1.0 and HTTP/1.1", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "malformed response", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "the body is too large", false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "in the middle of the response", true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
         "in the middle of the response", true},
        {"HTTP/1.1 200 OK\r\nContent-", "in the middle of the response", true},
        {"HTTP/1.1 100 Continue\r\n\r\n", "in the middle of the response", true},
        {"HTTP/1.1 200 OK\r\nX: 0123456789012345678901234567890123456789012345678901234567890123456"
         "78901234567890123456789012345678901234567890123456789\r\n",
         "headers are too large", false},
        {"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"
         "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"
         "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
         "headers are too large", false},
    };
    struct world *w = *state;
    struct peer p;

    use_client(w, (struct net_client_options){.max_body = 100, .max_header_bytes = 100});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome o = outcome(w);
        char prefix[64];

        send_get(&o, "/");
        ACCEPT(w, &p);
        UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
        peer_send(&p, rows[i].response);
        if (rows[i].closes)
            shutdown(p.fd, SHUT_WR);
        DONE(w, &o);
        assert_int_equal(o.failure, rows[i].closes ? NET_TCP : NET_MALFORMED);
        snprintf(prefix, sizeof prefix, "request to 127.0.0.1:%u: ", w->port);
        assert_memory_equal(o.message, prefix, strlen(prefix));
        if (!strstr(o.message, rows[i].message))
            fail_msg("row %zu: %s", i, o.message);
        peer_close(&p);
    }
}

static void a_switched_protocol_is_not_spoken(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct peer p;

    send_get(&o, "/");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
    peer_send(&p, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
    DONE(w, &o);
    assert_int_equal(o.failure, NET_UNSUPPORTED);
    peer_close(&p);
}

static void endless_interim_responses_end(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct peer p;

    send_get(&o, "/");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
    for (int i = 0; i < 20 && !o.done; i++) {
        send(p.fd, "HTTP/1.1 100 Go\r\n\r\n", 19, MSG_NOSIGNAL);
        step(w->loop);
    }
    DONE(w, &o);
    assert_int_equal(o.failure, NET_MALFORMED);
    peer_close(&p);
}

/* --- failures of the connection --------------------------------------------------------------- */

static void says_why_it_cannot_connect(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct net_outgoing request = request_to(&o, "/");
    char wanted[128];

    close(w->listener);
    w->listener = -1;
    send_it(&o, &request);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_TCP);
    snprintf(wanted, sizeof wanted, "connect to 127.0.0.1:%u: connection refused", w->port);
    assert_string_equal(o.message, wanted);

    request.host = slice_str("no-such-name.invalid");
    o.done = 0;
    send_it(&o, &request);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_DNS);
    assert_memory_equal(o.message, "resolve no-such-name.invalid: ", 30);
}

static void tries_every_address(void **state)
{
    /* localhost may have ::1, where nobody listens, and has 127.0.0.1. */
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct net_outgoing request = request_to(&o, "/");
    struct peer p;

    request.host = slice_str("localhost");
    send_it(&o, &request);
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "Host: localhost:"));
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    peer_close(&p);
}

static void a_peer_that_closes_or_resets_is_a_tcp_failure(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct peer p;

    send_get(&o, "/");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
    peer_close(&p);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_TCP);
    assert_non_null(strstr(o.message, "closed before a response"));

    o = outcome(w);
    send_get(&o, "/");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc");
    step(w->loop);
    peer_reset(&p);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_TCP);
    assert_non_null(strstr(o.message, "connection reset by peer"));
}

static void a_stale_connection_is_replaced_once(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct peer p, q;

    send_get(&o, "/1");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "/1"));
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
    DONE(w, &o);
    /* It takes the second request, and ends without a byte. */
    o = outcome(w);
    send_get(&o, "/2");
    UNTIL(w->loop, peer_has(&p, "/2"));
    peer_reset(&p);
    ACCEPT(w, &q);
    UNTIL(w->loop, peer_has(&q, "/2"));
    assert_int_equal(o.done, 0);
    peer_send(&q, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_string_equal(o.body, "2");
    /* Closed while idle: noticed before it is used. */
    peer_close(&q);
    step(w->loop);
    step(w->loop);
    o = outcome(w);
    send_get(&o, "/3");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "/3"));
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3");
    DONE(w, &o);
    /* A byte of the response has come: no second try. */
    o = outcome(w);
    send_get(&o, "/4");
    UNTIL(w->loop, peer_has(&p, "/4"));
    peer_send(&p, "H");
    step(w->loop);
    step(w->loop);
    peer_reset(&p);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_TCP);
}

static void bytes_that_nobody_asked_for_end_a_kept_connection(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct peer p;

    send_get(&o, "/");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    DONE(w, &o);
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    UNTIL(w->loop, peer_ended(&p));
    peer_close(&p);
}

static void an_answer_before_the_whole_request_is_an_answer(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct blob *body = blob_new(15000000);
    struct net_outgoing request = request_to(&o, "/large");
    struct peer p;

    memset(body->data, 'x', body->len);
    request.method = slice_str("POST");
    request.body = body;
    send_it(&o, &request);
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "/large"));
    peer_send(&p, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_int_equal(o.status, 413);
    assert_string_equal(o.body, "no");
    for (bool ended = false; !ended; ended = p.ended) { /* the rest is not sent */
        step(w->loop);
        peer_read(&p);
        peer_forget(&p);
    }
    assert_int_equal(atomic_load(&body->refs), 1);
    blob_unref(body);
    peer_close(&p);
}

/* --- time ------------------------------------------------------------------------------------ */

static void the_overall_timeout_holds_at_every_stage(void **state)
{
    static const char partial[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab";
    static const char *const sent[] = {"", "HTTP/1.1 200", partial};
    struct world *w = *state;
    struct peer p;

    for (size_t i = 0; i < 3; i++) {
        struct outcome o = outcome(w);
        struct net_outgoing request = request_to(&o, "/");

        request.timeout_ms = 60;
        send_it(&o, &request);
        ACCEPT(w, &p);
        peer_send(&p, sent[i]);
        DONE(w, &o);
        assert_int_equal(o.failure, NET_TIMEOUT);
        assert_non_null(strstr(o.message, "within 60 ms"));
        UNTIL(w->loop, peer_ended(&p));
        peer_close(&p);
    }
}

/* A listener whose queue is full leaves a connection waiting. */
static int full_listener(uint16_t *port, struct peer fill[3])
{
    int fd = listen_loopback(port, 0);

    for (size_t i = 0; i < 3; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(*port)};

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fill[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fill[i].fd, (struct sockaddr *)&to, sizeof to);
    }
    return fd;
}

static void connecting_has_its_own_timeout(void **state)
{
    struct world *w = *state;
    struct outcome o;
    static struct peer fill[3];

    use_client(w, (struct net_client_options){.connect_timeout_ms = 60});
    close(w->listener);
    w->listener = full_listener(&w->port, fill);
    o = outcome(w);
    send_get(&o, "/");
    DONE(w, &o);
    assert_int_equal(o.failure, NET_TIMEOUT);
    assert_memory_equal(o.message, "connect to 127.0.0.1:", 21);
    assert_non_null(strstr(o.message, "timed out"));
    for (size_t i = 0; i < 3; i++)
        close(fill[i].fd);
}

static void a_kept_connection_is_closed_after_a_while(void **state)
{
    struct world *w = *state;
    struct outcome o;
    struct peer p;

    use_client(w, (struct net_client_options){.idle_timeout_ms = 50});
    o = outcome(w);
    send_get(&o, "/");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    UNTIL(w->loop, peer_ended(&p));
    assert_int_equal(o.failure, NET_OK);
    peer_close(&p);
}

/* --- cancel ---------------------------------------------------------------------------------- */

static void cancel(struct outcome *o)
{
    net_call_cancel(o->call);
    assert_int_equal(o->done, 1);
    assert_int_equal(o->failure, NET_CANCELED);
}

static void cancels_while_resolving_and_connecting(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct net_outgoing request = request_to(&o, "/");
    static struct peer fill[3];

    request.host = slice_str("localhost");
    send_it(&o, &request);
    cancel(&o); /* at once */
    o = outcome(w);
    send_it(&o, &request);
    net_loop_turn(w->loop);
    if (!o.done)
        cancel(&o);
    close(w->listener);
    w->listener = full_listener(&w->port, fill);
    o = outcome(w);
    send_get(&o, "/");
    step(w->loop);
    cancel(&o);
    for (size_t i = 0; i < 3; i++)
        close(fill[i].fd);
    /* A failure that is known at once, and not yet told. */
    o = outcome(w);
    request.host = slice_str("255.255.255.255");
    send_it(&o, &request);
    cancel(&o);
    step(w->loop);
    assert_int_equal(o.done, 1);
}

static void cancels_while_sending_waiting_and_reading(void **state)
{
    static const char *const sent[] = {NULL, "", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"};
    struct world *w = *state;
    struct blob *body = blob_new(15000000);
    struct peer p;

    memset(body->data, 'x', body->len);
    for (size_t i = 0; i < 3; i++) {
        struct outcome o = outcome(w);
        struct net_outgoing request = request_to(&o, "/");

        request.body = sent[i] ? NULL : body;
        send_it(&o, &request);
        ACCEPT(w, &p);
        UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
        if (sent[i])
            peer_send(&p, sent[i]);
        step(w->loop);
        step(w->loop);
        cancel(&o);
        assert_int_equal(atomic_load(&body->refs), 1);
        while (!p.ended) {
            step(w->loop);
            peer_read(&p);
            peer_forget(&p);
        }
        peer_close(&p);
    }
    blob_unref(body);
}

/* --- the client's life ------------------------------------------------------------------------ */

static void refuses_what_cannot_be_sent(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct net_header bad[] = {{slice_str("X"), slice_str("a\r\nY: b")},
                               {slice_str("X y"), slice_str("v")},
                               {slice_str("Content-Length"), slice_str("3")},
                               {slice_str("transfer-encoding"), slice_str("chunked")},
                               {slice("", 0), slice_str("v")}};
    struct net_outgoing good = request_to(&o, "/"), r;
    struct net_call *call = NULL;
    struct error err;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r = good;
        r.headers = &bad[i];
        r.header_count = 1;
        assert_int_equal(net_client_send(w->client, &r, &call, &err), CODE_INVALID_ARGUMENT);
    }
    r = good;
    r.target = slice_str("/a b");
    assert_int_equal(net_client_send(w->client, &r, &call, &err), CODE_INVALID_ARGUMENT);
    r.target = slice_str("a");
    assert_int_equal(net_client_send(w->client, &r, &call, &err), CODE_INVALID_ARGUMENT);
    r = good;
    r.method = slice_str("GET /");
    assert_int_equal(net_client_send(w->client, &r, &call, &err), CODE_INVALID_ARGUMENT);
    r = good;
    r.host = slice_str("a\r\nb");
    assert_int_equal(net_client_send(w->client, &r, &call, &err), CODE_INVALID_ARGUMENT);
    r.host = slice("", 0);
    assert_int_equal(net_client_send(w->client, &r, &call, &err), CODE_INVALID_ARGUMENT);
    assert_null(call);
    step(w->loop);
    assert_int_equal(o.done, 0);
}

static void destroy_cancels_everything(void **state)
{
    struct world *w = *state;
    struct outcome o[4];
    struct peer p;

    for (size_t i = 0; i < 4; i++) {
        o[i] = outcome(w);
        send_get(&o[i], "/");
    }
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
    net_client_destroy(w->client);
    w->client = NULL;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(o[i].done, 1);
        assert_int_equal(o[i].failure, NET_CANCELED);
    }
    UNTIL(w->loop, peer_ended(&p));
    peer_close(&p);
}

static void done_may_send_and_destroy(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w), other = outcome(w);
    struct peer p, q;

    o.send_again = true;
    send_get(&o, "/first");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "/first"));
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    UNTIL(w->loop, peer_has(&p, "/again")); /* the same connection */
    assert_string_equal(o.body, "first");
    send_get(&other, "/other");
    ACCEPT(w, &q);
    o.destroy = true;
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond");
    UNTIL(w->loop, o.done == 2);
    assert_string_equal(o.body, "second");
    assert_int_equal(other.failure, NET_CANCELED);
    UNTIL(w->loop, peer_ended(&p) && peer_ended(&q));
    peer_close(&p);
    peer_close(&q);
}

/* --- client and server ----------------------------------------------------------------------- */

static void hold(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct world *w = arg;
    struct blob *body;

    w->served++;
    if (slice_eq_str(request->path, "/hold")) {
        w->held[w->held_count++] = exchange;
        return;
    }
    body = blob_copy(request->body);
    net_answer(exchange, 200, NULL, 0, body);
    blob_unref(body);
}

static void on_gone(void *arg, struct net_exchange *exchange)
{
    struct world *w = arg;

    (void)exchange;
    w->gone++;
}

static void serve(struct world *w)
{
    struct net_server_options options = {
        .host = "127.0.0.1", .handle = hold, .gone = on_gone, .arg = w};

    assert_int_equal(net_server_create(&w->server, w->loop, &options, NULL), 0);
    w->port = net_server_port(w->server);
}

static void two_hundred_at_once(void **state)
{
    struct world *w = *state;
    static struct outcome o[200];
    size_t done = 0;

    serve(w);
    for (int round = 0; round < 3; round++) {
        w->held_count = done = 0;
        for (size_t i = 0; i < 200; i++) {
            o[i] = outcome(w);
            send_get(&o[i], "/hold");
        }
        UNTIL(w->loop, w->held_count == 200);
        for (size_t i = 0; i < 200; i++) {
            char text[16];
            struct blob *body;

            snprintf(text, sizeof text, "%zu", i);
            body = blob_copy(slice_str(text));
            net_answer(w->held[i], 200, NULL, 0, body);
            blob_unref(body);
        }
        for (size_t i = 0; i < 200; i++) {
            DONE(w, &o[i]);
            done += o[i].failure == NET_OK;
        }
        assert_int_equal(done, 200);
    }
}

static void carries_large_bodies_both_ways(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct blob *body = blob_new(9000000);
    struct net_outgoing request = request_to(&o, "/echo");

    serve(w);
    request.port = w->port;
    for (size_t i = 0; i < body->len; i++)
        body->data[i] = (uint8_t)(i % 251);
    request.method = slice_str("POST");
    request.body = body;
    send_it(&o, &request);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_int_equal(o.body_len, body->len);
    assert_memory_equal(o.body, body->data, 200);
    blob_unref(body);
}

static void a_cancelled_call_is_gone_at_the_server(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);

    serve(w);
    send_get(&o, "/hold");
    UNTIL(w->loop, w->held_count == 1);
    cancel(&o);
    UNTIL(w->loop, w->gone == 1);
}

static void survives_a_server_that_restarts(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);

    serve(w);
    send_get(&o, "/");
    DONE(w, &o);
    net_server_destroy(w->server);
    serve(w); /* on another port, while the old connection is kept */
    o = outcome(w);
    send_get(&o, "/");
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_int_equal(w->served, 2);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sends_what_it_is_told),
        T(reads_every_kind_of_response),
        T(tells_malformed_responses),
        T(a_switched_protocol_is_not_spoken),
        T(endless_interim_responses_end),
        T(says_why_it_cannot_connect),
        T(tries_every_address),
        T(a_peer_that_closes_or_resets_is_a_tcp_failure),
        T(a_stale_connection_is_replaced_once),
        T(bytes_that_nobody_asked_for_end_a_kept_connection),
        T(an_answer_before_the_whole_request_is_an_answer),
        T(the_overall_timeout_holds_at_every_stage),
        T(connecting_has_its_own_timeout),
        T(a_kept_connection_is_closed_after_a_while),
        T(cancels_while_resolving_and_connecting),
        T(cancels_while_sending_waiting_and_reading),
        T(refuses_what_cannot_be_sent),
        T(destroy_cancels_everything),
        T(done_may_send_and_destroy),
        T(two_hundred_at_once),
        T(carries_large_bodies_both_ways),
        T(a_cancelled_call_is_gone_at_the_server),
        T(survives_a_server_that_restarts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
