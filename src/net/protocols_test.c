// SPDX-License-Identifier: Apache-2.0
/*
 * Client and server of this room with each other, the same cases over every protocol that they
 * have: whoever uses net.h should not notice which it is.
 */
#include "net/certs.h"
#include "net/client.h"

enum { HELD_MAX = 2500 };

enum protocol { HTTP1, H2C, TLS_HTTP1, TLS_HTTP2 };

struct outcome {
    struct world *world;
    struct net_call *call;
    int done, status;
    enum net_failure failure;
    bool unsent, has_upgrade, destroy;
    char message[600], body[512], header[128];
    size_t body_len;
    uint64_t body_hash;
};

struct world {
    enum protocol protocol;
    struct net_loop *loop;
    struct net_server *server;
    struct net_client *client;
    struct net_host *pinned; /* to HTTP/1.1 */
    struct authority authority;
    uint16_t port;
    struct net_exchange *held[HELD_MAX];
    size_t held_count, served, gone;
    int refused; /* the last status */
    struct blob *big;
    bool destroy_on_gone;
    char method[16], path[64], query[64], seen[64], host[64], peer[64];
    bool no_content_length;
    size_t body_len;
};

static void copy(char *to, size_t size, struct slice from)
{
    size_t len = from.len < size - 1 ? from.len : size - 1;

    if (len > 0)
        memcpy(to, from.data, len);
    to[len] = '\0';
}

/* --- the application -------------------------------------------------------------------------- */

static void answer_text(struct net_exchange *exchange, int status, const char *text)
{
    struct blob *body = blob_copy(slice_str(text));
    const struct net_header headers[] = {{slice_str("X-H"), slice_str("a value")},
                                         {slice_str("x-dirty"), slice_str("a\r\nb: c")}};

    net_answer(exchange, status, headers, 2, body);
    blob_unref(body);
}

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct world *w = arg;
    struct blob *body;

    w->served++;
    copy(w->method, sizeof w->method, request->method);
    copy(w->path, sizeof w->path, request->path);
    copy(w->query, sizeof w->query, request->query);
    copy(w->peer, sizeof w->peer, request->peer);
    copy(w->seen, sizeof w->seen,
         net_header_get(request->headers, request->header_count, "x-seen"));
    copy(w->host, sizeof w->host, net_header_get(request->headers, request->header_count, "host"));
    w->no_content_length = request->no_content_length;
    w->body_len = request->body.len;
    if (slice_eq_str(request->path, "/hold")) {
        assert_true(w->held_count < HELD_MAX);
        w->held[w->held_count++] = exchange;
    } else if (slice_eq_str(request->path, "/none")) {
        net_answer(exchange, 204, NULL, 0, NULL);
    } else if (slice_eq_str(request->path, "/big")) {
        net_answer(exchange, 200, NULL, 0, w->big);
    } else if (slice_eq_str(request->path, "/trailed")) {
        const struct net_header trailer = {slice_str("x-h"), slice_str("behind")};

        assert_true(request->http2);
        net_answer_trailed(exchange, 200, NULL, 0, w->big, &trailer, 1);
    } else if (slice_eq_str(request->path, "/destroy")) {
        net_server_destroy(w->server);
        w->server = NULL;
    } else if (slice_eq_str(request->path, "/echo")) {
        body = blob_copy(request->body);
        net_answer(exchange, 200, NULL, 0, body);
        blob_unref(body);
    } else {
        answer_text(exchange, 200, w->path);
    }
}

static void on_gone(void *arg, struct net_exchange *exchange)
{
    struct world *w = arg;

    (void)exchange;
    w->gone++;
}

static void on_refused(void *arg, struct slice peer, int status, const char *reason)
{
    struct world *w = arg;

    assert_int_equal(strncmp(peer.data, "127.0.0.1:", 10), 0);
    assert_non_null(reason);
    w->refused = status;
}

static void end_client(struct world *w);

static void on_done(void *arg, const struct net_response *response)
{
    struct outcome *o = arg;

    o->call = NULL;
    o->done++;
    o->failure = response->failure;
    o->status = response->status;
    o->unsent = response->unsent;
    if (response->message)
        snprintf(o->message, sizeof o->message, "%s", response->message);
    o->has_upgrade =
        net_header_get(response->headers, response->header_count, "upgrade").data != NULL;
    copy(o->header, sizeof o->header,
         net_header_get(response->headers, response->header_count, "x-h"));
    if (o->destroy)
        end_client(o->world);
    copy(o->body, sizeof o->body, response->body);
    o->body_len = response->body.len;
    o->body_hash = slice_hash(response->body, 0);
}

/* --- the world ------------------------------------------------------------------------------- */

static struct net_outgoing request_to(struct outcome *o, const char *target)
{
    return (struct net_outgoing){.host = slice_str("127.0.0.1"),
                                 .port = o->world->port,
                                 .tls = o->world->protocol >= TLS_HTTP1,
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

#define DONE(w, o) UNTIL((w)->loop, (o)->done)

static struct outcome outcome(struct world *w)
{
    return (struct outcome){.world = w};
}

static struct outcome get(struct world *w, const char *target)
{
    struct outcome o = outcome(w);

    send_get(&o, target);
    DONE(w, &o);
    return o;
}

static void new_client(struct world *w, struct net_client_options options)
{
    if (w->protocol >= TLS_HTTP1)
        options.ca_file = w->authority.ca_file;
    assert_int_equal(net_client_create(&w->client, w->loop, &options, NULL), 0);
    if (w->protocol != TLS_HTTP1)
        return;
    w->pinned = net_pool_host(&w->client->pool,
                              &(struct net_target){slice_str("127.0.0.1"), w->port, true}, NULL);
    w->pinned->off_until_ms = INT64_MAX;
}

static void end_client(struct world *w)
{
    struct net_client *client = w->client;

    if (!client)
        return;
    w->client = NULL;
    if (w->pinned)
        net_pool_unref(&client->pool, w->pinned);
    w->pinned = NULL;
    net_client_destroy(client);
}

/* With a first request, by which the client learns what the server speaks. */
static void start(struct world *w, struct net_server_options server,
                  struct net_client_options client)
{
    struct outcome first;

    server.host = "127.0.0.1";
    server.handle = handle;
    server.gone = on_gone;
    server.refused = on_refused;
    server.arg = w;
    server.advertise_h2c = w->protocol == H2C;
    if (w->protocol >= TLS_HTTP1) {
        authority_init(&w->authority);
        authority_issue(&w->authority, "IP:127.0.0.1", 600);
        server.tls_cert_file = w->authority.cert_file;
        server.tls_key_file = w->authority.key_file;
    }
    assert_int_equal(net_server_create(&w->server, w->loop, &server, NULL), 0);
    w->port = net_server_port(w->server);
    new_client(w, client);
    first = get(w, "/first");
    assert_int_equal(first.failure, NET_OK);
    assert_int_equal(first.has_upgrade, w->protocol == H2C);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    w->protocol = *(enum protocol *)*state;
    assert_int_equal(net_loop_create(&w->loop, NULL), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    end_client(w);
    net_server_destroy(w->server);
    net_loop_destroy(w->loop);
    blob_unref(w->big);
    authority_finish(&w->authority);
    free(w);
    return 0;
}

static void start_plain(struct world *w)
{
    start(w, (struct net_server_options){0}, (struct net_client_options){0});
}

/* --- requests and answers --------------------------------------------------------------------- */

static void carries_a_request_and_its_answer(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct blob *body = blob_copy(slice_str("hello"));
    const struct net_header headers[] = {{slice_str("X-Seen"), slice_str("a: value")},
                                         {slice_str("X-Empty"), slice("", 0)}};
    struct net_outgoing request = request_to(&o, "/path?query=1");
    char host[64];

    start_plain(w);
    request = request_to(&o, "/path?query=1");
    request.method = slice_str("POST");
    request.headers = headers;
    request.header_count = 2;
    request.body = body;
    send_it(&o, &request);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_int_equal(o.status, 200);
    assert_false(o.has_upgrade && w->protocol != HTTP1);
    assert_string_equal(o.body, "/path");
    assert_string_equal(o.header, "a value");
    assert_string_equal(w->method, "POST");
    assert_string_equal(w->path, "/path");
    assert_string_equal(w->query, "query=1");
    assert_string_equal(w->seen, "a: value");
    assert_int_equal(w->body_len, 5);
    assert_false(w->no_content_length);
    assert_memory_equal(w->peer, "127.0.0.1:", 10);
    snprintf(host, sizeof host, "127.0.0.1:%u", w->port);
    assert_string_equal(w->host, host);
    step(w->loop);
    step(w->loop);
    assert_int_equal(atomic_load(&body->refs), 1);
    assert_int_equal(net_server_exchanges(w->server), 0);
    blob_unref(body);
}

static void carries_every_kind_of_answer(void **state)
{
    static const struct {
        const char *method, *target;
        int status;
        const char *body;
    } rows[] = {
        {"GET", "/a", 200, "/a"},   {"HEAD", "/abc", 200, ""},       {"GET", "/none", 204, ""},
        {"POST", "/b", 200, "/b"},  {"DELETE", "/c/d", 200, "/c/d"}, {"POST", "/echo", 200, ""},
        {"HEAD", "/none", 204, ""}, {"OPTIONS", "/o", 200, "/o"},    {"GET", "/z", 200, "/z"},
    };
    struct world *w = *state;

    start_plain(w);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome o = outcome(w);
        struct net_outgoing request = request_to(&o, rows[i].target);

        request.method = slice_str(rows[i].method);
        send_it(&o, &request);
        DONE(w, &o);
        assert_int_equal(o.failure, NET_OK);
        assert_int_equal(o.status, rows[i].status);
        assert_string_equal(o.body, rows[i].body);
        assert_string_equal(w->method, rows[i].method);
    }
}

static void carries_large_bodies_both_ways(void **state)
{
    struct world *w = *state;
    struct blob *body = blob_new(9000000);
    struct outcome o[3];

    start(w, (struct net_server_options){0}, (struct net_client_options){0});
    for (size_t i = 0; i < body->len; i++)
        body->data[i] = (uint8_t)(i * 31 % 251);
    for (size_t i = 0; i < 3; i++) {
        struct net_outgoing request;

        o[i] = outcome(w);
        request = request_to(&o[i], "/echo");
        request.method = slice_str("POST");
        request.body = body;
        send_it(&o[i], &request);
    }
    for (size_t i = 0; i < 3; i++) {
        DONE(w, &o[i]);
        assert_int_equal(o[i].failure, NET_OK);
        assert_int_equal(o[i].body_len, body->len);
        assert_true(o[i].body_hash == slice_hash(blob_slice(body), 0));
    }
    blob_unref(body);
}

static void refuses_what_is_too_large(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct blob *body = blob_new(1000000);
    static char filler[3000];
    struct net_header header = {slice_str("x-large"), slice(filler, sizeof filler)};
    struct net_outgoing request;

    memset(filler, 'f', sizeof filler);
    memset(body->data, 'b', body->len);
    start(w, (struct net_server_options){.max_body = 1000, .max_header_bytes = 2000},
          (struct net_client_options){0});
    request = request_to(&o, "/echo");
    request.method = slice_str("POST");
    request.body = body;
    send_it(&o, &request);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_int_equal(o.status, 413);
    assert_int_equal(w->refused, 413);
    assert_non_null(strstr(o.body, "\"resource_exhausted\""));
    o = outcome(w);
    request.body = NULL;
    request.headers = &header;
    request.header_count = 1;
    send_it(&o, &request);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_int_equal(o.status, 431);
    assert_int_equal(w->refused, 431);
    o = get(w, "/still"); /* and nothing else is broken by it */
    assert_int_equal(o.status, 200);
    blob_unref(body);
    assert_int_equal(w->served, 2);
}

/* Behind a body of one frame, and of many; a client that knows of HTTP/2 needs not be told. */
static void sends_trailers(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct net_outgoing request;

    start_plain(w);
    request = request_to(&o, "/trailed");
    request.http2 = true;
    if (w->protocol == H2C) {
        end_client(w);
        new_client(w, (struct net_client_options){0});
    }
    for (size_t len = 1; len < 4000000; len = 3000000 * len + 1) {
        w->big = blob_new(len);
        memset(w->big->data, 'b', len);
        o = outcome(w);
        send_it(&o, &request);
        DONE(w, &o);
        assert_int_equal(o.status, 200);
        assert_int_equal(o.body_len, len);
        assert_string_equal(o.header, "behind");
        blob_unref(w->big);
        w->big = NULL;
    }
    o = get(w, "/first"); /* and the stream that comes next has none of them */
    assert_string_equal(o.header, "a value");
}

static void tells_responses_that_are_too_large(void **state)
{
    struct world *w = *state;
    struct outcome o;

    w->big = blob_new(3000);
    memset(w->big->data, 'b', w->big->len);
    start(w, (struct net_server_options){0}, (struct net_client_options){.max_body = 2000});
    o = get(w, "/big");
    assert_int_equal(o.failure, NET_MALFORMED);
    assert_non_null(strstr(o.message, "the body is too large"));
    end_client(w);
    new_client(w, (struct net_client_options){.max_header_bytes = 150});
    w->held_count = 0;
    o = get(w, "/none"); /* a short head is fine */
    assert_int_equal(o.failure, NET_OK);
}

/* --- many ------------------------------------------------------------------------------------ */

static void answers_in_any_order(void **state)
{
    struct world *w = *state;
    static struct outcome o[200];

    start_plain(w);
    for (int round = 0; round < 3; round++) {
        w->held_count = 0;
        for (size_t i = 0; i < 200; i++) {
            o[i] = outcome(w);
            send_get(&o[i], "/hold");
        }
        UNTIL(w->loop, w->held_count == 200);
        assert_int_equal(net_server_exchanges(w->server), 200);
        for (size_t i = 0; i < 200; i++) {
            char text[16];

            snprintf(text, sizeof text, "%zu", 199 - i);
            answer_text(w->held[199 - i], 200, text);
            if (i == 100)
                step(w->loop);
        }
        for (size_t i = 0; i < 200; i++) {
            DONE(w, &o[i]);
            assert_int_equal(o[i].failure, NET_OK);
        }
        UNTIL(w->loop, net_server_exchanges(w->server) == 0);
    }
}

/* --- time, cancel, the end -------------------------------------------------------------------- */

static void a_call_times_out(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);
    struct net_outgoing request;

    start_plain(w);
    request = request_to(&o, "/hold");
    request.timeout_ms = 60;
    send_it(&o, &request);
    DONE(w, &o);
    assert_int_equal(o.failure, NET_TIMEOUT);
    assert_non_null(strstr(o.message, "no whole response within 60 ms"));
    UNTIL(w->loop, w->gone == 1);
    o = get(w, "/alive");
    assert_int_equal(o.failure, NET_OK);
}

static void a_cancelled_call_is_gone_at_the_server(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w), other = outcome(w);

    start_plain(w);
    send_get(&o, "/hold"); /* before it has left */
    net_call_cancel(o.call);
    assert_int_equal(o.failure, NET_CANCELED);
    o = outcome(w);
    send_get(&o, "/hold");
    send_get(&other, "/hold");
    UNTIL(w->loop, w->held_count - w->gone >= 2);
    w->gone = 0;
    net_call_cancel(o.call);
    assert_int_equal(o.done, 1);
    UNTIL(w->loop, w->gone == 1);
    answer_text(w->held[w->held_count - 1], 200, "other");
    DONE(w, &other);
    assert_int_equal(other.failure, NET_OK);
}

static void cancels_within_a_body(void **state)
{
    struct world *w = *state;
    struct blob *body = blob_new(15000000);
    struct outcome o = outcome(w);
    struct net_outgoing request;

    memset(body->data, 'x', body->len);
    start_plain(w);
    request = request_to(&o, "/echo");
    request.method = slice_str("POST");
    request.body = body;
    send_it(&o, &request);
    step(w->loop);
    step(w->loop);
    assert_int_equal(o.done, 0);
    net_call_cancel(o.call);
    o = get(w, "/next");
    assert_int_equal(o.failure, NET_OK);
    UNTIL(w->loop, atomic_load(&body->refs) == 1);
    blob_unref(body);
}

static void a_client_that_goes_takes_its_exchanges_with_it(void **state)
{
    struct world *w = *state;
    static struct outcome o[50];

    start_plain(w);
    for (size_t i = 0; i < 50; i++) {
        o[i] = outcome(w);
        send_get(&o[i], "/hold");
    }
    UNTIL(w->loop, w->held_count == 50);
    end_client(w);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(o[i].failure, NET_CANCELED);
    UNTIL(w->loop, w->gone == 50);
    assert_int_equal(net_server_exchanges(w->server), 0);
}

static void a_server_that_goes_is_a_failure_or_tried_again(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w), second = outcome(w);

    start_plain(w);
    send_get(&o, "/hold");
    UNTIL(w->loop, w->held_count == 1);
    send_get(&second, "/destroy");
    DONE(w, &o);
    DONE(w, &second);
    /* The connection was kept and no byte had come back: once more, and then nobody listens. */
    assert_int_equal(o.failure, NET_TCP);
    assert_int_equal(second.failure, NET_TCP);
    assert_int_equal(w->gone, 2);
}

static void closing_lets_requests_finish(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w), late = outcome(w);

    start_plain(w);
    send_get(&o, "/hold");
    UNTIL(w->loop, w->held_count == 1);
    net_server_close(w->server);
    step(w->loop);
    step(w->loop);
    send_get(&late, "/late");
    DONE(w, &late);
    assert_int_equal(late.failure, NET_TCP); /* nobody listens */
    assert_int_equal(o.done, 0);
    answer_text(w->held[0], 200, "held");
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_string_equal(o.body, "held");
    UNTIL(w->loop, net_server_exchanges(w->server) == 0);
}

static void done_may_destroy_the_client(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w), other = outcome(w);

    start_plain(w);
    send_get(&other, "/hold");
    UNTIL(w->loop, w->held_count == 1);
    o.destroy = true;
    send_get(&o, "/x");
    DONE(w, &o);
    assert_string_equal(o.body, "/x");
    assert_int_equal(other.failure, NET_CANCELED);
    UNTIL(w->loop, w->gone == 1);
}

static void idle_connections_are_closed(void **state)
{
    struct world *w = *state;
    struct outcome o;

    start(w, (struct net_server_options){.idle_timeout_ms = 50},
          (struct net_client_options){.idle_timeout_ms = 40});
    for (int i = 0; i < 3; i++) {
        time_t end = time(NULL) + DEADLINE_S;
        int64_t until = net_loop_now_ms(w->loop) + 60;

        o = get(w, "/x");
        assert_int_equal(o.failure, NET_OK);
        while (net_loop_now_ms(w->loop) < until && time(NULL) < end)
            step(w->loop); /* whoever closes first */
    }
}

static void a_stalled_answer_is_given_up(void **state)
{
    struct world *w = *state;
    struct outcome o = outcome(w);

    w->big = blob_new(15000000);
    memset(w->big->data, 'b', w->big->len);
    start(w, (struct net_server_options){0}, (struct net_client_options){0});
    send_get(&o, "/big");
    DONE(w, &o);
    assert_int_equal(o.body_len, 15000000);
    UNTIL(w->loop, net_server_exchanges(w->server) == 0);
    assert_int_equal(atomic_load(&w->big->refs), 1);
}

/* --- only where there are streams ------------------------------------------------------------- */

static void many_calls_share_a_connection(void **state)
{
    struct world *w = *state;
    static struct outcome o[2400];
    char peers[8][64];
    size_t peer_count = 0;

    start_plain(w);
    for (size_t i = 0; i < 2400; i++) {
        o[i] = outcome(w);
        send_get(&o[i], "/hold");
    }
    for (size_t seen = w->served; w->held_count < 2400;) {
        step(w->loop);
        if (w->served == seen)
            continue;
        seen = w->served;
        for (size_t i = 0; i <= peer_count; i++) {
            if (i == peer_count) {
                assert_true(peer_count < 8);
                snprintf(peers[peer_count++], 64, "%s", w->peer);
                break;
            }
            if (strcmp(peers[i], w->peer) == 0)
                break;
        }
    }
    assert_true(peer_count <= 3); /* a thousand each */
    for (size_t i = 0; i < 2400; i++)
        answer_text(w->held[i], 200, "x");
    for (size_t i = 0; i < 2400; i++) {
        DONE(w, &o[i]);
        assert_int_equal(o[i].failure, NET_OK);
        assert_false(o[i].has_upgrade);
    }
}

static void a_request_that_the_server_leaves_goes_elsewhere(void **state)
{
    struct world *w = *state;
    struct net_server *old, *again = NULL;
    struct net_server_options options = {
        .host = "127.0.0.1", .handle = handle, .gone = on_gone, .arg = w, .advertise_h2c = true};
    struct outcome held = outcome(w), o = outcome(w);

    start_plain(w);
    send_get(&held, "/hold");
    UNTIL(w->loop, w->held_count == 1);
    /* The connection says GOAWAY, and somebody else takes the port over at once. */
    old = w->server;
    net_server_close(old);
    options.port = w->port;
    assert_int_equal(net_server_create(&again, w->loop, &options, NULL), 0);
    send_get(&o, "/o"); /* may be on its way over the old connection */
    DONE(w, &o);
    assert_int_equal(o.failure, NET_OK);
    assert_string_equal(o.body, "/o");
    assert_int_equal(held.done, 0);
    answer_text(w->held[0], 200, "old");
    DONE(w, &held);
    assert_string_equal(held.body, "old");
    w->server = again;
    UNTIL(w->loop, net_server_exchanges(old) == 0);
    net_server_destroy(old);
}

int main(void)
{
    static enum protocol http1 = HTTP1, h2c = H2C, tls1 = TLS_HTTP1, tls2 = TLS_HTTP2;
#define T(test, protocol)                                                                          \
    {                                                                                              \
#test "/" #protocol, test, setup, teardown, &(protocol)                                    \
    }
#define EACH(test) T(test, http1), T(test, h2c), T(test, tls1), T(test, tls2)
    const struct CMUnitTest tests[] = {
        EACH(carries_a_request_and_its_answer),
        EACH(carries_every_kind_of_answer),
        EACH(carries_large_bodies_both_ways),
        EACH(refuses_what_is_too_large),
        T(sends_trailers, h2c),
        T(sends_trailers, tls2),
        EACH(tells_responses_that_are_too_large),
        EACH(answers_in_any_order),
        EACH(a_call_times_out),
        EACH(a_cancelled_call_is_gone_at_the_server),
        EACH(cancels_within_a_body),
        EACH(a_client_that_goes_takes_its_exchanges_with_it),
        EACH(a_server_that_goes_is_a_failure_or_tried_again),
        EACH(closing_lets_requests_finish),
        EACH(done_may_destroy_the_client),
        EACH(idle_connections_are_closed),
        EACH(a_stalled_answer_is_given_up),
        T(many_calls_share_a_connection, h2c),
        T(many_calls_share_a_connection, tls2),
        T(a_request_that_the_server_leaves_goes_elsewhere, h2c),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
