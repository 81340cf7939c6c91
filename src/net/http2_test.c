// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/2 with peers that write their frames by hand: slow, greedy and broken ones against the
 * server, and those that a client may meet.
 *
 * long: both halves stand on the same frames written by hand.
 */
#include "net/server.h"
#include "net/testing.h"

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { PROTOCOL_ERROR = 1, REFUSED_STREAM = 7, CANCEL = 8, ENHANCE_YOUR_CALM = 11 };

struct world {
    struct net_loop *loop;
    struct net_server *server;
    struct net_client *client;
    struct net_exchange *held[64];
    size_t held_count, handled, gone, body_len;
    struct blob *big;
    int listener;
    uint16_t port;
};

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct world *w = arg;

    w->handled++;
    w->body_len = request->body.len;
    if (slice_eq_str(request->path, "/hold")) {
        w->held[w->held_count++ % 64] = exchange;
    } else if (slice_eq_str(request->path, "/big")) {
        net_answer(exchange, 200, NULL, 0, w->big);
    } else {
        net_answer(exchange, 200, NULL, 0, NULL);
    }
}

static void on_gone(void *arg, struct net_exchange *exchange)
{
    struct world *w = arg;

    (void)exchange;
    w->gone++;
}

static void serve(struct world *w, struct net_server_options options)
{
    options.host = "127.0.0.1";
    options.handle = handle;
    options.gone = on_gone;
    options.arg = w;
    assert_int_equal(net_server_create(&w->server, w->loop, &options, NULL), 0);
    w->port = net_server_port(w->server);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    w->listener = -1;
    assert_int_equal(net_loop_create(&w->loop, NULL), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    net_client_destroy(w->client);
    net_server_destroy(w->server);
    net_loop_destroy(w->loop);
    blob_unref(w->big);
    if (w->listener >= 0)
        close(w->listener);
    free(w);
    return 0;
}

/* --- frames ---------------------------------------------------------------------------------- */

/* As much as the socket takes; false: it did not take all. */
static bool peer_bytes(struct peer *p, const void *data, size_t len)
{
    return send(p->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool frame(struct peer *p, int type, int flags, uint32_t stream, const void *payload,
                  size_t len)
{
    uint8_t bytes[9 + 16384] = {
        (uint8_t)(len >> 16),    (uint8_t)(len >> 8),    (uint8_t)len,
        (uint8_t)type,           (uint8_t)flags,         (uint8_t)(stream >> 24),
        (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

    if (len > 0)
        memcpy(bytes + 9, payload, len);
    return peer_bytes(p, bytes, 9 + len);
}

static bool frame_u32(struct peer *p, int type, uint32_t stream, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};

    return frame(p, type, 0, stream, bytes, 4);
}

static bool setting(struct peer *p, uint16_t id, uint32_t value)
{
    uint8_t bytes[6] = {(uint8_t)(id >> 8),     (uint8_t)id,           (uint8_t)(value >> 24),
                        (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};

    return frame(p, SETTINGS, 0, 0, bytes, 6);
}

/* :method (0x82 GET, 0x83 POST), http, :authority h, :path */
static size_t head_bytes(uint8_t to[64], uint8_t method, const char *path)
{
    size_t len = strlen(path);

    memcpy(to, (uint8_t[]){method, 0x86, 0x41, 1, 'h', 0x44, (uint8_t)len}, 7);
    memcpy(to + 7, path, len);
    return 7 + len;
}

static bool request(struct peer *p, uint32_t stream, int flags, const char *path)
{
    uint8_t head[64];
    size_t len = head_bytes(head, flags & END_STREAM ? 0x82 : 0x83, path);

    return frame(p, HEADERS, flags | END_HEADERS, stream, head, len);
}

/* The n-th frame of this type that has come, or NULL. */
static const uint8_t *find_frame(struct peer *p, int type, int n)
{
    const uint8_t *at = (const uint8_t *)p->in, *end;

    peer_read(p);
    end = at + p->len;
    while (end - at >= 9) {
        size_t len = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];

        if ((size_t)(end - at) < 9 + len)
            break;
        if (at[3] == type && n-- == 0)
            return at;
        at += 9 + len;
    }
    return NULL;
}

static uint32_t u32_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool came(struct peer *p, int type)
{
    return find_frame(p, type, 0) != NULL;
}

/* The error of a GOAWAY or RST_STREAM that has come. */
static uint32_t error_of(struct peer *p, int type)
{
    const uint8_t *at = find_frame(p, type, 0);

    assert_non_null(at);
    return u32_at(at + 9 + (type == GOAWAY ? 4 : 0));
}

static void greet(struct world *w, struct peer *p)
{
    peer_connect(p, w->port);
    peer_send(p, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frame(p, SETTINGS, 0, 0, NULL, 0);
}

/* Others are served all the while. */
static void assert_serves(struct world *w)
{
    struct peer p;

    greet(w, &p);
    request(&p, 1, END_STREAM, "/");
    UNTIL(w->loop, came(&p, HEADERS));
    peer_close(&p);
}

/* --- the server and its peers ----------------------------------------------------------------- */

static void a_preface_may_come_byte_by_byte(void **state)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    struct world *w = *state;
    struct peer p;

    serve(w, (struct net_server_options){0});
    peer_connect(&p, w->port);
    for (size_t i = 0; i < sizeof preface; i++) {
        peer_bytes(&p, preface + i, 1);
        step(w->loop);
    }
    request(&p, 1, END_STREAM, "/");
    UNTIL(w->loop, came(&p, HEADERS));
    peer_close(&p);
    /* What begins like it and is something else is HTTP/1's. */
    peer_connect(&p, w->port);
    peer_send(&p, "PRI * HTTP/2.0\r\n");
    step(w->loop);
    peer_send(&p, "\r\nno\r\n");
    UNTIL(w->loop, peer_ended(&p));
    assert_true(peer_has(&p, "HTTP/1.1 400 "));
    peer_close(&p);
    peer_connect(&p, w->port);
    peer_send(&p, "P");
    step(w->loop);
    peer_send(&p, "UT / HTTP/1.1\r\nHost: h\r\n\r\n");
    UNTIL(w->loop, peer_has(&p, "200 OK"));
    peer_close(&p);
}

static void streams_have_a_maximum(void **state)
{
    struct world *w = *state;
    struct peer p;
    const uint8_t *settings;
    bool said = false;

    serve(w, (struct net_server_options){0});
    greet(w, &p);
    UNTIL(w->loop, came(&p, SETTINGS));
    settings = find_frame(&p, SETTINGS, 0);
    for (size_t at = 0; at < settings[2]; at += 6)
        said |= settings[9 + at + 1] == 3 && u32_at(settings + 9 + at + 2) == 1000;
    assert_true(said);
    for (uint32_t i = 0; i < 1001; i++) {
        request(&p, 1 + 2 * i, END_STREAM, "/hold");
        if (i % 100 == 0)
            step(w->loop);
    }
    UNTIL(w->loop, came(&p, RST_STREAM));
    assert_int_equal(error_of(&p, RST_STREAM), REFUSED_STREAM);
    assert_int_equal(w->held_count, 1000);
    peer_close(&p);
    UNTIL(w->loop, w->gone == 1000);
}

static void rapid_resets_end_the_connection(void **state)
{
    struct world *w = *state;
    struct peer p;

    serve(w, (struct net_server_options){0});
    greet(w, &p);
    for (uint32_t i = 0; i < 20000 && !came(&p, GOAWAY) && !p.ended; i++) {
        if (!request(&p, 1 + 2 * i, END_STREAM, "/hold") ||
            !frame_u32(&p, RST_STREAM, 1 + 2 * i, CANCEL))
            break;
        if (i % 50 == 0) {
            step(w->loop);
            peer_read(&p);
        }
    }
    UNTIL(w->loop, peer_ended(&p));
    assert_true(w->handled < 5000);
    UNTIL(w->loop, w->gone == w->handled);
    assert_int_equal(net_server_exchanges(w->server), 0);
    peer_close(&p);
    assert_serves(w);
}

static void floods_end_the_connection(void **state)
{
    static const struct {
        int type, flags;
        uint32_t stream;
        size_t len;
    } rows[] = {{PING, 0, 0, 8}, {SETTINGS, 0, 0, 0}, {PRIORITY, 0, 1, 5}, {DATA, 0, 1, 0}};
    struct world *w = *state;
    static const uint8_t zeros[8];

    serve(w, (struct net_server_options){0});
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        struct peer p;

        greet(w, &p);
        request(&p, 1, 0, "/upload");
        for (int i = 0; i < 20000 && !p.ended; i++) {
            if (!frame(&p, rows[row].type, rows[row].flags, rows[row].stream, zeros, rows[row].len))
                break;
            if (i % 100 == 0) {
                step(w->loop);
                peer_read(&p);
                peer_forget(&p);
            }
        }
        UNTIL(w->loop, peer_ended(&p));
        peer_close(&p);
    }
    assert_int_equal(w->handled, 0);
    assert_serves(w);
}

static void endless_headers_end(void **state)
{
    struct world *w = *state;
    uint8_t junk[1024];
    struct peer p;

    serve(w, (struct net_server_options){.header_timeout_ms = 60000});
    /* CONTINUATION without end: one literal header field after the other */
    for (size_t i = 0; i < sizeof junk; i += 4)
        memcpy(junk + i, (uint8_t[]){0, 1, 'a', 0}, 4);
    greet(w, &p);
    junk[0] = 0x82;
    junk[1] = 0x86;
    junk[2] = 0x84;
    junk[3] = 0x80 | 38; /* whatever: one from the static table */
    frame(&p, HEADERS, END_STREAM, 1, junk, sizeof junk);
    memcpy(junk, (uint8_t[]){0, 1, 'a', 0}, 4);
    for (int i = 0; i < 10000 && !p.ended; i++) {
        if (!frame(&p, CONTINUATION, 0, 1, junk, sizeof junk))
            break;
        step(w->loop);
        peer_read(&p);
    }
    UNTIL(w->loop, peer_ended(&p));
    peer_close(&p);
    assert_int_equal(w->handled, 0);
    assert_serves(w);
}

/* A few bytes that unpack to megabytes: one large field in the table, named again and again. */
static void a_header_bomb_is_refused(void **state)
{
    struct world *w = *state;
    uint8_t bomb[7000];
    uint8_t more[4000];
    size_t len;
    struct peer p;

    serve(w, (struct net_server_options){0});
    greet(w, &p);
    len = head_bytes(bomb, 0x82, "/");
    memcpy(bomb + len, (uint8_t[]){0x40, 1, 'b', 0x7f, 0x81, 0x17}, 6); /* a value of 3,072 */
    memset(bomb + len + 6, 'v', 3072);
    len += 6 + 3072;
    memset(bomb + len, 0x80 | 62, 1000); /* the newest of the table */
    frame(&p, HEADERS, END_STREAM | END_HEADERS, 1, bomb, len + 1000);
    UNTIL(w->loop, came(&p, HEADERS));
    UNTIL(w->loop, came(&p, DATA));
    assert_non_null(memmem(p.in, p.len, "headers are too large", 21));
    assert_int_equal(w->handled, 0);
    /* Decoding goes on in step, so the next request is fine. */
    peer_forget(&p);
    len = head_bytes(more, 0x82, "/");
    frame(&p, HEADERS, END_STREAM | END_HEADERS, 3, more, len);
    UNTIL(w->loop, came(&p, HEADERS));
    assert_int_equal(w->handled, 1);
    peer_close(&p);
}

static void a_slow_request_is_refused_alone(void **state)
{
    struct world *w = *state;
    struct peer p;

    serve(w, (struct net_server_options){.header_timeout_ms = 50});
    greet(w, &p);
    request(&p, 1, END_STREAM, "/hold");
    request(&p, 3, 0, "/slow");
    frame(&p, DATA, 0, 3, "x", 1);
    UNTIL(w->loop, came(&p, RST_STREAM));
    assert_int_equal(error_of(&p, RST_STREAM), 0);
    assert_non_null(memmem(p.in, p.len, "\"deadline_exceeded\"", 19));
    assert_int_equal(w->gone, 0);
    net_answer(w->held[0], 200, NULL, 0, NULL);
    UNTIL(w->loop, find_frame(&p, HEADERS, 1));
    peer_close(&p);
}

static void an_oversized_body_is_refused_alone(void **state)
{
    struct world *w = *state;
    static uint8_t data[2000];
    struct peer p;

    serve(w, (struct net_server_options){.max_body = 1000});
    greet(w, &p);
    request(&p, 1, 0, "/large");
    frame(&p, DATA, 0, 1, data, sizeof data);
    UNTIL(w->loop, came(&p, RST_STREAM));
    assert_int_equal(error_of(&p, RST_STREAM), 0);
    assert_non_null(memmem(p.in, p.len, "the body is too large", 21));
    request(&p, 3, END_STREAM, "/");
    UNTIL(w->loop, w->handled == 1);
    peer_close(&p);
}

/* Over all connections, and none is refused for what others have ended. */
static void what_arrives_is_bounded(void **state)
{
    enum { LEN = 16000 };
    static uint8_t data[LEN];
    struct world *w = *state;
    struct peer first, second;

    serve(w, (struct net_server_options){.max_arriving = 4 * LEN + NET_SMALL_BODY});
    greet(w, &first);
    greet(w, &second);
    request(&first, 1, 0, "/first");
    for (int i = 0; i < 4; i++)
        frame(&first, DATA, 0, 1, data, LEN);
    request(&second, 1, 0, "/second");
    for (int i = 0; i < 4; i++)
        frame(&second, DATA, 0, 1, data, LEN);
    request(&second, 3, END_STREAM, "/");
    UNTIL(w->loop, w->handled == 1);
    frame(&second, DATA, 0, 1, data, LEN); /* 9 of 8 and a bit */
    UNTIL(w->loop, came(&second, RST_STREAM));
    assert_non_null(memmem(second.in, second.len, "too much comes in", 17));
    frame(&first, DATA, END_STREAM, 1, data, LEN);
    UNTIL(w->loop, w->handled == 2);
    assert_int_equal(w->server->arriving, 0);
    request(&first, 3, 0, "/third");
    frame(&first, DATA, 0, 3, data, LEN);
    UNTIL(w->loop, w->server->arriving == LEN);
    peer_close(&first);
    UNTIL(w->loop, w->server->arriving == 0);
    peer_close(&second);
}

/* The answer is taken by the byte, and then not at all. */
static void tiny_windows_are_served_and_given_up(void **state)
{
    struct world *w = *state;
    struct peer p;

    w->big = blob_new(50000);
    memset(w->big->data, 'b', w->big->len);
    serve(w, (struct net_server_options){0});
    peer_connect(&p, w->port);
    peer_send(&p, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    setting(&p, 4, 1); /* SETTINGS_INITIAL_WINDOW_SIZE */
    request(&p, 1, END_STREAM, "/big");
    UNTIL(w->loop, came(&p, DATA));
    for (int i = 1; i < 20; i++) {
        frame_u32(&p, WINDOW, 1, 1);
        UNTIL(w->loop, find_frame(&p, DATA, i));
        assert_int_equal(find_frame(&p, DATA, i)[2], 1);
    }
    assert_int_equal(net_server_exchanges(w->server), 1);
    peer_close(&p);
    UNTIL(w->loop, net_server_exchanges(w->server) == 0);
    net_server_destroy(w->server);

    serve(w, (struct net_server_options){.header_timeout_ms = 100});
    peer_connect(&p, w->port);
    peer_send(&p, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    setting(&p, 4, 1);
    request(&p, 1, END_STREAM, "/big");
    UNTIL(w->loop, came(&p, RST_STREAM)); /* too slow for header_timeout_ms */
    assert_int_equal(error_of(&p, RST_STREAM), CANCEL);
    UNTIL(w->loop, net_server_exchanges(w->server) == 0);
    assert_int_equal(atomic_load(&w->big->refs), 1);
    peer_close(&p);
}

static void a_peer_that_does_not_read_is_given_up(void **state)
{
    struct world *w = *state;
    struct peer p;
    int small = 4096;

    w->big = blob_new(15000000);
    memset(w->big->data, 'b', w->big->len);
    serve(w, (struct net_server_options){.header_timeout_ms = 80});
    greet(w, &p);
    setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setting(&p, 4, 0x7fffffff);
    frame_u32(&p, WINDOW, 0, 0x7fff0000 - 65535);
    request(&p, 1, END_STREAM, "/big");
    UNTIL(w->loop, net_server_exchanges(w->server) == 1);
    UNTIL(w->loop, net_server_exchanges(w->server) == 0);
    assert_int_equal(atomic_load(&w->big->refs), 1);
    peer_close(&p);
}

static void a_silent_peer_is_pinged_and_given_up(void **state)
{
    struct world *w = *state;
    struct peer p, idle;

    serve(w, (struct net_server_options){.idle_timeout_ms = 50, .header_timeout_ms = 50});
    greet(w, &p);
    greet(w, &idle);
    request(&p, 1, END_STREAM, "/hold");
    UNTIL(w->loop, came(&p, PING));
    frame(&p, PING, ACK, 0, find_frame(&p, PING, 0) + 9, 8);
    UNTIL(w->loop, find_frame(&p, PING, 1)); /* alive, and asked again later */
    assert_int_equal(w->gone, 0);
    UNTIL(w->loop, w->gone == 1);
    UNTIL(w->loop, peer_ended(&p) && peer_ended(&idle));
    assert_true(came(&idle, GOAWAY));
    peer_close(&p);
    peer_close(&idle);
}

static void what_is_no_http2_ends_the_connection(void **state)
{
    struct world *w = *state;
    struct peer p;
    uint8_t head[64];

    serve(w, (struct net_server_options){0});
    greet(w, &p);
    frame(&p, DATA, 0, 0, "x", 1); /* on stream 0 */
    UNTIL(w->loop, peer_ended(&p));
    assert_int_equal(error_of(&p, GOAWAY), PROTOCOL_ERROR);
    peer_close(&p);
    greet(w, &p);
    frame(&p, HEADERS, END_STREAM | END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff\xff", 7);
    UNTIL(w->loop, peer_ended(&p));
    peer_close(&p);
    /* A request without a path is only a stream's error. */
    greet(w, &p);
    head_bytes(head, 0x82, "/");
    frame(&p, HEADERS, END_STREAM | END_HEADERS, 1, head, 5);
    UNTIL(w->loop, came(&p, RST_STREAM));
    assert_int_equal(error_of(&p, RST_STREAM), PROTOCOL_ERROR);
    request(&p, 3, END_STREAM, "/");
    UNTIL(w->loop, came(&p, HEADERS));
    assert_int_equal(w->handled, 1);
    peer_close(&p);
}

/* --- the client and its peers ----------------------------------------------------------------- */

struct outcome {
    struct net_call *call;
    int done, status;
    enum net_failure failure;
    char message[600], body[64];
};

static void on_done(void *arg, const struct net_response *response)
{
    struct outcome *o = arg;

    o->call = NULL;
    o->done++;
    o->failure = response->failure;
    o->status = response->status;
    if (response->message)
        snprintf(o->message, sizeof o->message, "%s", response->message);
    snprintf(o->body, sizeof o->body, "%.*s", SLICE_FMT(response->body));
}

static void send_get(struct world *w, struct outcome *o, const char *target)
{
    const struct net_outgoing out = {.host = slice_str("127.0.0.1"),
                                     .port = w->port,
                                     .method = slice_str("GET"),
                                     .target = slice_str(target),
                                     .done = on_done,
                                     .arg = o};

    *o = (struct outcome){0};
    assert_int_equal(net_client_send(w->client, &out, &o->call, NULL), 0);
}

#define ACCEPT(w, p) UNTIL((w)->loop, peer_accept((p), (w)->listener))

/* A peer that says, over HTTP/1.1, that it speaks HTTP/2. */
static void learn(struct world *w, struct net_client_options options)
{
    struct outcome o;
    struct peer p;

    w->listener = listen_loopback(&w->port, 64);
    assert_int_equal(net_client_create(&w->client, w->loop, &options, NULL), 0);
    send_get(w, &o, "/");
    ACCEPT(w, &p);
    UNTIL(w->loop, peer_has(&p, "\r\n\r\n"));
    peer_send(&p, "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
                  "Content-Length: 0\r\n\r\n");
    UNTIL(w->loop, o.done);
    assert_int_equal(o.failure, NET_OK);
    peer_close(&p);
    step(w->loop);
    step(w->loop);
}

/* The next connection, whose preface is taken off what has come. */
static void accept_http2(struct world *w, struct peer *p)
{
    ACCEPT(w, p);
    UNTIL(w->loop, (peer_read(p), p->len >= 24 + 9));
    assert_memory_equal(p->in, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    memmove(p->in, p->in + 24, p->len - 24);
    p->len -= 24;
}

static void ok(struct peer *p, uint32_t stream, const char *text)
{
    frame(p, HEADERS, END_HEADERS, stream, "\x88", 1);
    frame(p, DATA, END_STREAM, stream, text, strlen(text));
}

static void nothing_is_sent_before_settings(void **state)
{
    static const char *const instead[] = {"",
                                          "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"};
    struct world *w = *state;

    for (size_t i = 0; i < 2; i++) {
        struct outcome o, second;
        struct peer p, q;

        learn(w, (struct net_client_options){0});
        send_get(w, &o, "/one");
        accept_http2(w, &p);
        step(w->loop);
        step(w->loop);
        assert_false(came(&p, HEADERS));
        peer_send(&p, instead[i]);
        peer_close(&p);
        ACCEPT(w, &q); /* once more, over HTTP/1.1 */
        UNTIL(w->loop, peer_has(&q, "GET /one HTTP/1.1\r\n"));
        assert_int_equal(o.done, 0);
        peer_send(&q, "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\none");
        UNTIL(w->loop, o.done);
        assert_string_equal(o.body, "one");
        /* And it stays off, whatever the peer says. */
        send_get(w, &second, "/two");
        UNTIL(w->loop, peer_has(&q, "GET /two HTTP/1.1\r\n"));
        net_client_destroy(w->client);
        w->client = NULL;
        assert_int_equal(second.failure, NET_CANCELED);
        peer_close(&q);
        close(w->listener);
        w->listener = -1;
    }
}

static void a_peer_that_never_greets_gets_http1(void **state)
{
    struct world *w = *state;
    struct outcome o;
    struct peer p, q;

    learn(w, (struct net_client_options){.connect_timeout_ms = 50});
    send_get(w, &o, "/one");
    accept_http2(w, &p);
    ACCEPT(w, &q);
    UNTIL(w->loop, peer_has(&q, "GET /one HTTP/1.1\r\n"));
    peer_send(&q, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    UNTIL(w->loop, o.done);
    assert_int_equal(o.failure, NET_OK);
    peer_close(&p);
    peer_close(&q);
}

static void the_peers_limit_of_streams_is_kept(void **state)
{
    struct world *w = *state;
    struct outcome o[5];
    struct peer p, q;

    learn(w, (struct net_client_options){0});
    for (size_t i = 0; i < 5; i++)
        send_get(w, &o[i], "/x");
    accept_http2(w, &p);
    setting(&p, 3, 2);
    UNTIL(w->loop, find_frame(&p, HEADERS, 1));
    accept_http2(w, &q); /* one more connection for the rest */
    setting(&q, 3, 2);
    UNTIL(w->loop, find_frame(&q, HEADERS, 1));
    assert_null(find_frame(&p, HEADERS, 2));
    assert_int_equal(u32_at(find_frame(&p, HEADERS, 1) + 5), 3);
    ok(&p, 3, "second");
    UNTIL(w->loop, o[1].done);
    assert_string_equal(o[1].body, "second");
    UNTIL(w->loop, find_frame(&p, HEADERS, 2)); /* the fifth takes its place */
    ok(&p, 1, "first");
    ok(&p, 5, "fifth");
    ok(&q, 3, "fourth");
    UNTIL(w->loop, o[0].done && o[4].done && o[3].done);
    assert_string_equal(o[4].body, "fifth");
    assert_string_equal(o[3].body, "fourth");
    assert_int_equal(o[2].done, 0);
    net_call_cancel(o[2].call);
    UNTIL(w->loop, came(&q, RST_STREAM));
    assert_int_equal(error_of(&q, RST_STREAM), CANCEL);
    peer_close(&p);
    peer_close(&q);
}

static void what_was_not_processed_goes_again(void **state)
{
    struct world *w = *state;
    struct outcome o[3];
    struct peer p, q, r;

    learn(w, (struct net_client_options){0});
    for (size_t i = 0; i < 3; i++)
        send_get(w, &o[i], "/x");
    accept_http2(w, &p);
    frame(&p, SETTINGS, 0, 0, NULL, 0);
    UNTIL(w->loop, find_frame(&p, HEADERS, 2));
    frame(&p, GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0", 8); /* only stream 1 */
    accept_http2(w, &q);
    frame(&q, SETTINGS, 0, 0, NULL, 0);
    UNTIL(w->loop, find_frame(&q, HEADERS, 1));
    ok(&p, 1, "first");
    UNTIL(w->loop, o[0].done);
    UNTIL(w->loop, peer_ended(&p)); /* of no more use */
    frame_u32(&q, RST_STREAM, 1, REFUSED_STREAM);
    accept_http2(w, &r);
    frame(&r, SETTINGS, 0, 0, NULL, 0);
    UNTIL(w->loop, came(&r, HEADERS));
    ok(&r, 1, "again");
    ok(&q, 3, "third");
    UNTIL(w->loop, o[1].done && o[2].done);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(o[i].failure, NET_OK);
    peer_close(&p);
    peer_close(&q);
    peer_close(&r);
}

static void a_peer_that_refuses_forever_is_believed(void **state)
{
    struct world *w = *state;
    struct outcome o;
    int connections = 0;

    learn(w, (struct net_client_options){0});
    send_get(w, &o, "/x");
    while (!o.done) {
        struct peer p;

        accept_http2(w, &p);
        frame(&p, SETTINGS, 0, 0, NULL, 0);
        UNTIL(w->loop, came(&p, HEADERS));
        frame_u32(&p, RST_STREAM, 1, REFUSED_STREAM);
        UNTIL(w->loop, peer_ended(&p));
        assert_true(++connections <= 5);
        peer_close(&p);
    }
    assert_int_equal(o.failure, NET_TCP);
    assert_non_null(strstr(o.message, "refused"));
}

static void tells_broken_responses(void **state)
{
    static const struct {
        int type, flags;
        const char *payload;
        size_t len;
        enum net_failure failure;
    } rows[] = {
        {RST_STREAM, 0, "\0\0\0\2", 4, NET_TCP},
        {DATA, END_STREAM, "x", 1, NET_MALFORMED}, /* before a head */
        {HEADERS, END_STREAM | END_HEADERS, "\x00\x01x\x01y", 5, NET_MALFORMED},
        {HEADERS, END_STREAM | END_HEADERS, "\xff\xff\xff\xff\xff\xff", 6, NET_MALFORMED},
        {PUSH, END_HEADERS, "\0\0\0\2\x88", 5, NET_MALFORMED},
    };
    struct world *w = *state;

    learn(w, (struct net_client_options){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome o;
        struct peer p;

        send_get(w, &o, "/x");
        accept_http2(w, &p);
        frame(&p, SETTINGS, 0, 0, NULL, 0);
        frame(&p, SETTINGS, ACK, 0, NULL, 0); /* no pushes are taken from here on */
        UNTIL(w->loop, came(&p, HEADERS));
        frame(&p, rows[i].type, rows[i].flags, 1, rows[i].payload, rows[i].len);
        UNTIL(w->loop, o.done);
        if (o.failure != rows[i].failure)
            fail_msg("row %zu: %d, %s", i, (int)o.failure, o.message);
        peer_close(&p);
        step(w->loop);
        step(w->loop);
    }
}

static void a_dead_peer_is_found_out_by_a_ping(void **state)
{
    struct world *w = *state;
    struct outcome o;
    struct peer p;

    learn(w, (struct net_client_options){.idle_timeout_ms = 50, .connect_timeout_ms = 50});
    send_get(w, &o, "/x");
    accept_http2(w, &p);
    frame(&p, SETTINGS, 0, 0, NULL, 0);
    UNTIL(w->loop, came(&p, PING));
    assert_int_equal(o.done, 0);
    frame(&p, PING, ACK, 0, find_frame(&p, PING, 0) + 9, 8);
    UNTIL(w->loop, find_frame(&p, PING, 1));
    assert_int_equal(o.done, 0);
    UNTIL(w->loop, o.done);
    assert_int_equal(o.failure, NET_TCP);
    assert_non_null(strstr(o.message, "ping"));
    peer_close(&p);
}

static void a_stale_connection_is_replaced_once(void **state)
{
    struct world *w = *state;
    struct outcome o;
    struct peer p, q;

    learn(w, (struct net_client_options){0});
    send_get(w, &o, "/1");
    accept_http2(w, &p);
    frame(&p, SETTINGS, 0, 0, NULL, 0);
    UNTIL(w->loop, came(&p, HEADERS));
    ok(&p, 1, "1");
    UNTIL(w->loop, o.done);
    step(w->loop);
    send_get(w, &o, "/2");
    UNTIL(w->loop, find_frame(&p, HEADERS, 1));
    peer_reset(&p);
    accept_http2(w, &q);
    frame(&q, SETTINGS, 0, 0, NULL, 0);
    UNTIL(w->loop, came(&q, HEADERS));
    assert_int_equal(o.done, 0);
    peer_close(&q); /* and this one was new */
    UNTIL(w->loop, o.done);
    assert_int_equal(o.failure, NET_TCP);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_preface_may_come_byte_by_byte),
        T(streams_have_a_maximum),
        T(rapid_resets_end_the_connection),
        T(floods_end_the_connection),
        T(endless_headers_end),
        T(a_header_bomb_is_refused),
        T(a_slow_request_is_refused_alone),
        T(an_oversized_body_is_refused_alone),
        T(what_arrives_is_bounded),
        T(tiny_windows_are_served_and_given_up),
        T(a_peer_that_does_not_read_is_given_up),
        T(a_silent_peer_is_pinged_and_given_up),
        T(what_is_no_http2_ends_the_connection),
        T(nothing_is_sent_before_settings),
        T(a_peer_that_never_greets_gets_http1),
        T(the_peers_limit_of_streams_is_kept),
        T(what_was_not_processed_goes_again),
        T(a_peer_that_refuses_forever_is_believed),
        T(tells_broken_responses),
        T(a_dead_peer_is_found_out_by_a_ping),
        T(a_stale_connection_is_replaced_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
