// SPDX-License-Identifier: Apache-2.0
/*
 * The server against raw sockets on the loopback.
 *
 * long: one application, and everything that peers do to it.
 */
#include "net/server.h"
#include "net/testing.h"

enum { HELD_MAX = 300 };

/* An application that answers what the path says. */
struct app {
    struct net_loop *loop;
    struct net_server *server;
    struct net_exchange *held[HELD_MAX];
    size_t held_count, gone, handled, body_len;
    bool chunked, no_content_length;
    char path[256], query[256], method[16], body[4096], seen[256], peer[64];
    struct blob *big;
};

static void copy(char *to, size_t size, struct slice from)
{
    size_t len = from.len < size - 1 ? from.len : size - 1;

    if (len > 0)
        memcpy(to, from.data, len);
    to[len] = '\0';
}

static void answer_text(struct net_exchange *exchange, int status, const char *text)
{
    struct blob *body = blob_copy(slice_str(text));
    struct net_header type = {slice_str("content-type"), slice_str("text/plain")};

    net_answer(exchange, status, &type, 1, body);
    blob_unref(body);
}

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct app *app = arg;

    app->handled++;
    copy(app->method, sizeof app->method, request->method);
    copy(app->path, sizeof app->path, request->path);
    copy(app->query, sizeof app->query, request->query);
    copy(app->body, sizeof app->body, request->body);
    copy(app->peer, sizeof app->peer, request->peer);
    copy(app->seen, sizeof app->seen,
         net_header_get(request->headers, request->header_count, "x-seen"));
    app->body_len = request->body.len;
    app->chunked = request->chunked;
    app->no_content_length = request->no_content_length;
    net_exchange_set(exchange, app);
    if (slice_eq_str(request->path, "/hold")) {
        app->held[app->held_count++] = exchange;
    } else if (slice_eq_str(request->path, "/big")) {
        net_answer(exchange, 200, NULL, 0, app->big);
    } else if (slice_eq_str(request->path, "/none")) {
        net_answer(exchange, 204, NULL, 0, NULL);
    } else if (slice_eq_str(request->path, "/dirty")) {
        struct net_header dirty = {slice_str("x-dirty"), slice_str("a\r\nx-evil: b")};

        net_answer(exchange, 200, &dirty, 1, NULL);
    } else if (slice_eq_str(request->path, "/destroy")) {
        net_server_destroy(app->server);
        app->server = NULL;
    } else {
        answer_text(exchange, 200, app->path);
    }
}

static void gone(void *arg, struct net_exchange *exchange)
{
    struct app *app = arg;

    assert_ptr_equal(net_exchange_get(exchange), app);
    for (size_t i = 0; i < app->held_count; i++) {
        if (app->held[i] == exchange)
            app->held[i] = NULL;
    }
    app->gone++;
}

static void start(struct app *app, struct net_server_options options)
{
    struct error err;

    options.host = "localhost";
    options.handle = handle;
    options.gone = gone;
    options.arg = app;
    assert_int_equal(net_server_create(&app->server, app->loop, &options, &err), 0);
    assert_int_not_equal(net_server_port(app->server), 0);
}

static int setup(void **state)
{
    struct app *app = calloc(1, sizeof *app);

    assert_int_equal(net_loop_create(&app->loop, NULL), 0);
    *state = app;
    return 0;
}

static int teardown(void **state)
{
    struct app *app = *state;

    net_server_destroy(app->server);
    net_loop_destroy(app->loop);
    blob_unref(app->big);
    free(app);
    return 0;
}

static void connect_to(struct peer *p, struct app *app)
{
    peer_connect(p, net_server_port(app->server));
}

/* --- requests -------------------------------------------------------------------------------- */

static void answers_and_keeps_alive(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /a/b?x=1&y HTTP/1.1\r\nHost: h\r\nX-SEEN:  here \t\r\n\r\n");
    UNTIL(app->loop, peer_has(&p, "/a/b"));
    assert_string_equal(app->method, "GET");
    assert_string_equal(app->path, "/a/b");
    assert_string_equal(app->query, "x=1&y");
    assert_string_equal(app->seen, "here");
    assert_memory_equal(app->peer, "127.0.0.1:", 10);
    assert_true(app->no_content_length);
    assert_true(peer_has(&p, "HTTP/1.1 200 OK\r\n"));
    assert_true(peer_has(&p, "\r\nDate: "));
    assert_true(peer_has(&p, "Content-Length: 4\r\n"));
    assert_false(peer_has(&p, "Connection:"));
    peer_forget(&p);
    peer_send(&p, "POST /second HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    UNTIL(app->loop, peer_has(&p, "/second"));
    assert_string_equal(app->body, "hello");
    assert_false(app->no_content_length);
    /* An old habit: a value that goes on in the next line. */
    peer_send(&p, "GET /third HTTP/1.1\r\nHost: h\r\nX-Seen: 1\r\n  2\r\n\r\n");
    UNTIL(app->loop, peer_has(&p, "/third"));
    assert_memory_equal(app->seen, "1 ", 2);
    assert_int_equal(net_server_exchanges(app->server), 0);
    peer_close(&p);
}

static void takes_a_request_byte_by_byte(void **state)
{
    static const char request[] = "POST /slow?q HTTP/1.1\r\nHost: h\r\nX-Seen: yes\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n"
                                  "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Trailer: t\r\n\r\n";
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    for (size_t i = 0; request[i]; i++) {
        assert_int_equal(app->handled, 0);
        assert_int_equal(send(p.fd, request + i, 1, MSG_NOSIGNAL), 1);
        step(app->loop);
    }
    UNTIL(app->loop, peer_has(&p, "/slow"));
    assert_string_equal(app->body, "abcdefg");
    assert_string_equal(app->seen, "yes");
    assert_true(app->chunked);
    assert_false(app->no_content_length);
    peer_close(&p);
}

static void answers_pipelined_requests_in_order(void **state)
{
    struct app *app = *state;
    struct peer p;
    const char *one, *two, *three;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /hold HTTP/1.1\r\nHost: h\r\n\r\n"
                  "POST /two HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nxGET /three HT");
    UNTIL(app->loop, app->held_count == 1);
    assert_int_equal(app->handled, 2);
    peer_send(&p, "TP/1.1\r\nHost: h\r\n\r\n");
    step(app->loop);
    step(app->loop);
    assert_int_equal(app->handled, 2);
    assert_int_equal(net_server_exchanges(app->server), 1);
    answer_text(app->held[0], 200, "held");
    assert_int_equal(app->handled, 2); /* not from within net_answer */
    UNTIL(app->loop, peer_has(&p, "/three"));
    one = strstr(p.in, "/one");
    two = strstr(p.in, "/two");
    three = strstr(p.in, "/three");
    assert_true(one < strstr(p.in, "held") && strstr(p.in, "held") < two && two < three);
    peer_close(&p);
}

static void bounds_what_is_pipelined(void **state)
{
    static const char request[] = "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
    struct app *app = *state;
    struct peer p;
    size_t sent = 0, wanted = 60000, blocked = 0;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, app->held_count == 1);
    /* Push until the socket takes no more, for some turns. */
    while (blocked < 20) {
        size_t at = sent % (sizeof request - 1);
        ssize_t n = send(p.fd, request + at, sizeof request - 1 - at, MSG_NOSIGNAL);

        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        blocked++;
        step(app->loop);
    }
    assert_int_equal(app->handled, 1);
    answer_text(app->held[0], 200, "held");
    wanted = sent / (sizeof request - 1);
    while (app->handled < 1 + wanted) {
        step(app->loop);
        peer_read(&p);
        peer_forget(&p);
    }
    peer_close(&p);
}

static void head_and_no_content_have_no_body(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "HEAD /12345 HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\n\r\n"
                  "GET /dirty HTTP/1.1\r\nHost: h\r\n\r\nGET /end HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, peer_has(&p, "/end"));
    assert_true(peer_has(&p, "Content-Length: 6\r\n\r\nHTTP/1.1 204 No Content\r\n"));
    assert_int_equal(peer_count(&p, "Content-Length"), 3);
    assert_true(peer_has(&p, "x-dirty: a  x-evil: b\r\n"));
    peer_close(&p);
}

static void asks_for_the_body_when_expected(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){.max_body = 10});
    connect_to(&p, app);
    peer_send(&p, "POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n"
                  "Content-Length: 3\r\n\r\n");
    UNTIL(app->loop, peer_has(&p, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(&p, "abc");
    UNTIL(app->loop, peer_has(&p, "/e"));
    assert_int_equal(peer_count(&p, "100 Continue"), 1);
    peer_forget(&p);
    /* Nobody is asked for a body that would be refused. */
    peer_send(&p, "POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                  "Content-Length: 11\r\n\r\n");
    UNTIL(app->loop, peer_ended(&p));
    assert_true(peer_has(&p, "HTTP/1.1 413 "));
    assert_false(peer_has(&p, "100 Continue"));
    peer_close(&p);
}

static void speaks_http_1_0(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    UNTIL(app->loop, peer_has(&p, "/old"));
    assert_true(peer_has(&p, "Connection: keep-alive\r\n"));
    peer_send(&p, "GET /older HTTP/1.0\r\n\r\n");
    UNTIL(app->loop, peer_ended(&p));
    assert_true(peer_has(&p, "/older"));
    assert_true(peer_has(&p, "Connection: close\r\n"));
    peer_close(&p);
}

static void closes_when_asked(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    UNTIL(app->loop, peer_ended(&p));
    assert_int_equal(p.error, 0);
    assert_true(peer_has(&p, "Connection: close\r\n"));
    peer_close(&p);
}

static void ignores_an_upgrade_and_takes_absolute_targets(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "POST /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                  "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
                  "Content-Length: 2\r\n\r\nhi"
                  "GET http://example.com:8080/abs?q=2 HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, peer_has(&p, "/abs"));
    assert_true(peer_has(&p, "/up"));
    assert_string_equal(app->path, "/abs");
    assert_string_equal(app->query, "q=2");
    peer_close(&p);
}

/* --- what is refused ------------------------------------------------------------------------- */

static void refuses_bad_requests(void **state)
{
    static const struct {
        const char *request, *status, *code;
    } rows[] = {
        {"\x16\x03\x01 hello\r\n\r\n", "400", "invalid_argument"},
        {"GARBAGE\r\n\r\n", "400", "invalid_argument"},
        {"GET / HTTP/1.1\r\n\r\n", "400", "invalid_argument"}, /* no Host */
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", "invalid_argument"},
        {"GET / HTTP/1.1\nHost: a\n\n", "400", "invalid_argument"},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "400", "invalid_argument"},
        {"PRI * HTTP/2.0\r\n\r\nS \r\n\r\n", "400", "invalid_argument"},
        {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "400", "invalid_argument"},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "400", "invalid_argument"},
        {"GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n", "400", "invalid_argument"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n", "400", "invalid_argument"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n", "400", "invalid_argument"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n", "400", "invalid_argument"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 1\001\r\n\r\n", "400", "invalid_argument"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400", "invalid_argument"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400",
         "invalid_argument"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "400", "invalid_argument"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "400",
         "invalid_argument"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400",
         "invalid_argument"},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400",
         "invalid_argument"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", "413", "resource_exhausted"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", "400",
         "invalid_argument"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n"
         "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n",
         "413", "resource_exhausted"},
    };
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){.max_body = 100});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[64];

        connect_to(&p, app);
        peer_send(&p, rows[i].request);
        UNTIL(app->loop, peer_ended(&p));
        assert_int_equal(p.error, 0);
        snprintf(line, sizeof line, "HTTP/1.1 %s ", rows[i].status);
        if (strncmp(p.in, line, strlen(line)) != 0)
            fail_msg("row %zu: %s", i, p.in);
        snprintf(line, sizeof line, "{\"code\":\"%s\",\"message\":\"", rows[i].code);
        assert_true(peer_has(&p, line));
        assert_true(peer_has(&p, "content-type: application/json\r\n"));
        assert_true(peer_has(&p, "Connection: close\r\n"));
        assert_int_equal(p.in[p.len - 1], '}');
        peer_close(&p);
    }
    assert_int_equal(app->handled, 0);
}

static void refuses_endless_headers(void **state)
{
#define POST_CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    static const char *const starts[] = {
        "GET /",
        "GET / HTTP/1.1\r\nHost: h\r\nA: ",
        "GET / HTTP/1.1\r\nHost: h\r\n",
        POST_CHUNKED "0;",
        POST_CHUNKED "0\r\nT: ",
    };
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){.max_header_bytes = 2000});
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        connect_to(&p, app);
        peer_send(&p, starts[i]);
        for (int n = 0; n < 200 && !peer_ended(&p); n++) {
            send(p.fd, "aaaaaaaaaaaaaaaaaaaa", 20, MSG_NOSIGNAL);
            step(app->loop);
        }
        UNTIL(app->loop, peer_ended(&p));
        assert_true(peer_has(&p, "HTTP/1.1 431 "));
        peer_close(&p);
    }
    /* Many small ones */
    connect_to(&p, app);
    peer_send(&p, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int n = 0; n < 300 && !peer_ended(&p); n++) {
        send(p.fd, "a:b\r\n", 5, MSG_NOSIGNAL);
        step(app->loop);
    }
    UNTIL(app->loop, peer_ended(&p));
    assert_true(peer_has(&p, "HTTP/1.1 431 "));
    assert_int_equal(app->handled, 0);
    peer_close(&p);
}

static void an_early_refusal_is_still_read(void **state)
{
    struct app *app = *state;
    struct peer p;
    static char junk[60000];

    memset(junk, 'j', sizeof junk - 1);
    start(app, (struct net_server_options){.max_body = 100});
    connect_to(&p, app);
    peer_send(&p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 120000\r\n\r\n");
    peer_send(&p, junk);
    UNTIL(app->loop, peer_has(&p, "413"));
    peer_send(&p, junk); /* still being sent when the answer is there: no reset */
    UNTIL(app->loop, peer_ended(&p));
    assert_int_equal(p.error, 0);
    peer_close(&p);
}

static void send_some(const struct peer *p, size_t count)
{
    static const char bytes[10000];

    for (size_t sent = 0; sent < count; sent += sizeof bytes)
        assert_int_equal(send(p->fd, bytes, sizeof bytes, MSG_NOSIGNAL), (ssize_t)sizeof bytes);
}

/* What many have begun to send does not fill the memory, and does not keep others out. */
static void bounds_what_arrives_over_all_connections(void **state)
{
#define LARGE "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n"
    struct app *app = *state;
    struct peer slow, other, small;

    start(app, (struct net_server_options){.max_arriving = 100000});
    connect_to(&slow, app);
    peer_send(&slow, LARGE);
    send_some(&slow, 80000);
    connect_to(&other, app);
    peer_send(&other, LARGE);
    send_some(&other, 80000);
    UNTIL(app->loop, peer_has(&slow, "HTTP/1.1 503 ") || peer_has(&other, "HTTP/1.1 503 "));
    connect_to(&small, app);
    peer_send(&small, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    UNTIL(app->loop, app->handled == 1);
    if (peer_has(&slow, "503"))
        send_some(&other, 10000);
    else
        send_some(&slow, 10000);
    UNTIL(app->loop, app->handled == 2);
    assert_int_equal(app->server->arriving, 0);
    peer_close(&slow);
    peer_close(&other);
    peer_close(&small);

    /* One that leaves takes with it what it has sent. */
    connect_to(&slow, app);
    peer_send(&slow, LARGE);
    send_some(&slow, 80000);
    UNTIL(app->loop, app->server->arriving == 80000);
    peer_close(&slow);
    UNTIL(app->loop, app->server->arriving == 0);
}

/* --- time ------------------------------------------------------------------------------------ */

static void a_stalled_request_times_out(void **state)
{
    struct app *app = *state;
    struct peer p, q;

    start(app, (struct net_server_options){.header_timeout_ms = 50});
    connect_to(&p, app);
    connect_to(&q, app);
    peer_send(&p, "GET / HTTP/1.1\r\nHos");
    peer_send(&q, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    UNTIL(app->loop, peer_ended(&p) && peer_ended(&q));
    assert_true(peer_has(&p, "HTTP/1.1 408 "));
    assert_true(peer_has(&p, "\"deadline_exceeded\""));
    assert_true(peer_has(&q, "HTTP/1.1 408 "));
    peer_close(&p);
    peer_close(&q);
}

static void an_idle_connection_is_closed(void **state)
{
    struct app *app = *state;
    struct peer p, q;

    start(app, (struct net_server_options){.idle_timeout_ms = 50});
    connect_to(&p, app);
    connect_to(&q, app);
    peer_send(&q, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, peer_ended(&p) && peer_ended(&q));
    assert_int_equal(p.len, 0);
    assert_true(peer_has(&q, "200 OK"));
    peer_close(&p);
    peer_close(&q);
}

static void a_peer_that_does_not_read_is_given_up(void **state)
{
    struct app *app = *state;
    struct peer p;
    int small = 4096;

    app->big = blob_new(15000000);
    memset(app->big->data, 'b', app->big->len);
    start(app, (struct net_server_options){.header_timeout_ms = 100});
    connect_to(&p, app);
    setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    peer_send(&p, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, net_server_exchanges(app->server) == 1);
    UNTIL(app->loop, net_server_exchanges(app->server) == 0);
    peer_close(&p);
}

static void a_large_answer_arrives_whole(void **state)
{
    struct app *app = *state;
    struct peer p;
    size_t total = 0;

    app->big = blob_new(5000000);
    memset(app->big->data, 'b', app->big->len);
    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    while (!p.ended) {
        step(app->loop);
        peer_read(&p);
        for (size_t i = 0; i < p.len; i++)
            total += p.in[i] == 'b';
        peer_forget(&p);
    }
    assert_int_equal(total, 5000000);
    assert_int_equal(p.error, 0);
    peer_close(&p);
}

/* --- peers that go ---------------------------------------------------------------------------- */

static void a_peer_that_leaves_takes_its_exchange_with_it(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, app->held_count == 1);
    assert_int_equal(app->gone, 0);
    peer_close(&p);
    UNTIL(app->loop, app->gone == 1);
    connect_to(&p, app);
    peer_send(&p, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, app->held_count == 2);
    peer_reset(&p);
    UNTIL(app->loop, app->gone == 2);
    assert_int_equal(net_server_exchanges(app->server), 0);
}

static void a_half_closed_peer_still_gets_its_answers(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /hold HTTP/1.0\r\n\r\n");
    shutdown(p.fd, SHUT_WR);
    UNTIL(app->loop, app->held_count == 1);
    step(app->loop);
    step(app->loop);
    assert_int_equal(app->gone, 0);
    answer_text(app->held[0], 200, "late");
    UNTIL(app->loop, peer_ended(&p));
    assert_true(peer_has(&p, "late"));
    peer_close(&p);
    /* HTTP/1.1 and pipelined: what can be answered at once is. */
    connect_to(&p, app);
    peer_send(&p, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(p.fd, SHUT_WR);
    UNTIL(app->loop, peer_ended(&p));
    assert_true(peer_has(&p, "/2"));
    peer_close(&p);
}

static void a_request_cut_short_is_refused_or_forgotten(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    shutdown(p.fd, SHUT_WR);
    UNTIL(app->loop, peer_ended(&p));
    assert_true(peer_has(&p, "HTTP/1.1 400 "));
    peer_close(&p);
    connect_to(&p, app);
    peer_send(&p, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    step(app->loop);
    peer_reset(&p);
    step(app->loop);
    connect_to(&p, app);
    peer_send(&p, "GET /alive HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, peer_has(&p, "/alive"));
    assert_int_equal(app->handled, 1);
    peer_close(&p);
}

/* --- the server's life ----------------------------------------------------------------------- */

static void has_a_maximum_of_connections(void **state)
{
    struct app *app = *state;
    struct peer p, q;

    start(app, (struct net_server_options){.max_connections = 1});
    connect_to(&p, app);
    peer_send(&p, "GET /p HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, peer_has(&p, "/p"));
    connect_to(&q, app);
    UNTIL(app->loop, peer_ended(&q));
    peer_close(&p);
    peer_close(&q);
    for (time_t end = time(NULL) + DEADLINE_S; app->handled < 2;) { /* until the place is free */
        assert_true(time(NULL) < end);
        connect_to(&q, app);
        send(q.fd, "GET /q HTTP/1.1\r\nHost: h\r\n\r\n", 28, MSG_NOSIGNAL);
        UNTIL(app->loop, peer_ended(&q) || peer_has(&q, "/q"));
        peer_close(&q);
    }
}

static void close_lets_requests_finish(void **state)
{
    struct app *app = *state;
    struct peer p, idle, half;
    uint16_t port;

    start(app, (struct net_server_options){0});
    port = net_server_port(app->server);
    connect_to(&p, app);
    connect_to(&idle, app);
    connect_to(&half, app);
    peer_send(&p, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, app->held_count == 1);
    peer_send(&half, "GET /half HT");
    step(app->loop);
    step(app->loop);
    net_server_close(app->server);
    UNTIL(app->loop, peer_ended(&idle));
    assert_int_equal(net_server_exchanges(app->server), 1);
    answer_text(app->held[0], 200, "held");
    peer_send(&half, "TP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, peer_ended(&p) && peer_ended(&half));
    assert_true(peer_has(&p, "held"));
    assert_true(peer_has(&p, "Connection: close"));
    assert_true(peer_has(&half, "/half"));
    assert_int_equal(net_server_exchanges(app->server), 0);
    assert_int_equal(net_server_port(app->server), port);
    peer_close(&p);
    peer_close(&idle);
    peer_close(&half);
}

static void destroy_takes_everything_with_it(void **state)
{
    struct app *app = *state;
    static struct peer peers[5];

    start(app, (struct net_server_options){0});
    for (size_t i = 0; i < 5; i++) {
        connect_to(&peers[i], app);
        peer_send(&peers[i], i < 3 ? "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n" : "GET /x HT");
    }
    UNTIL(app->loop, app->held_count == 3);
    net_server_destroy(app->server);
    app->server = NULL;
    assert_int_equal(app->gone, 3);
    for (size_t i = 0; i < 5; i++) {
        UNTIL(app->loop, peer_ended(&peers[i]));
        peer_close(&peers[i]);
    }
}

static void may_be_destroyed_by_its_handler(void **state)
{
    struct app *app = *state;
    struct peer p;

    start(app, (struct net_server_options){0});
    connect_to(&p, app);
    peer_send(&p, "GET /destroy HTTP/1.1\r\nHost: h\r\n\r\nGET /more HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(app->loop, peer_ended(&p));
    assert_int_equal(app->gone, 1);
    assert_int_equal(app->handled, 1);
    peer_close(&p);
}

static void says_why_it_cannot_listen(void **state)
{
    struct app *app = *state;
    struct net_server_options options = {.handle = handle};
    struct net_server *other = NULL;
    struct error err;

    start(app, (struct net_server_options){0});
    options.host = "127.0.0.1";
    options.port = net_server_port(app->server);
    assert_int_equal(net_server_create(&other, app->loop, &options, &err), CODE_UNAVAILABLE);
    assert_non_null(strstr(err.message, "cannot listen on 127.0.0.1:"));
    assert_non_null(strstr(err.message, "address already in use"));
    options.host = "256.1.1.1";
    assert_int_equal(net_server_create(&other, app->loop, &options, &err), CODE_UNAVAILABLE);
    assert_non_null(strstr(err.message, "256.1.1.1"));
    assert_null(other);
}

static void serves_two_hundred_at_once(void **state)
{
    struct app *app = *state;
    static struct peer peers[200];

    start(app, (struct net_server_options){0});
    for (size_t i = 0; i < 200; i++) {
        connect_to(&peers[i], app);
        peer_send(&peers[i], "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    UNTIL(app->loop, app->held_count == 200);
    assert_int_equal(net_server_exchanges(app->server), 200);
    for (size_t i = 0; i < 200; i++)
        answer_text(app->held[199 - i], 200, "done");
    for (size_t i = 0; i < 200; i++) {
        UNTIL(app->loop, peer_has(&peers[i], "done"));
        peer_close(&peers[i]);
    }
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(answers_and_keeps_alive),
        T(takes_a_request_byte_by_byte),
        T(answers_pipelined_requests_in_order),
        T(bounds_what_is_pipelined),
        T(head_and_no_content_have_no_body),
        T(asks_for_the_body_when_expected),
        T(speaks_http_1_0),
        T(closes_when_asked),
        T(ignores_an_upgrade_and_takes_absolute_targets),
        T(refuses_bad_requests),
        T(refuses_endless_headers),
        T(an_early_refusal_is_still_read),
        T(bounds_what_arrives_over_all_connections),
        T(a_stalled_request_times_out),
        T(an_idle_connection_is_closed),
        T(a_peer_that_does_not_read_is_given_up),
        T(a_large_answer_arrives_whole),
        T(a_peer_that_leaves_takes_its_exchange_with_it),
        T(a_half_closed_peer_still_gets_its_answers),
        T(a_request_cut_short_is_refused_or_forgotten),
        T(has_a_maximum_of_connections),
        T(close_lets_requests_finish),
        T(destroy_takes_everything_with_it),
        T(may_be_destroyed_by_its_handler),
        T(says_why_it_cannot_listen),
        T(serves_two_hundred_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
