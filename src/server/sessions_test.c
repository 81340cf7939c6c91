// SPDX-License-Identifier: Apache-2.0
/* Sessions behind a server of their own, with clients that behave, and such that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "server/pending.h"
#include "server/sessions.h"

enum { RUNS = 4 };

struct run {
    struct session_run run;
    char id[16];
    int answered, abandoned, status;
    char body[64];
};

struct world {
    struct net_loop *loop;
    struct net_server *server;
    struct net_client *client;
    struct sessions *sessions;
    struct run runs[RUNS];
};

struct reply {
    struct world *w;
    bool done;
    enum net_failure failure;
    int status;
    char id[16], body[512];
};

static struct world *world;

/* --- what stands around the sessions --------------------------------------------------------- */

static struct run *of(struct session_run *run)
{
    return (struct run *)(void *)run; /* its first member */
}

static struct blob *request_of(struct session_run *run)
{
    return blob_copy(slice_str(run->id));
}

static void answered(struct session_run *run, const struct net_response *response)
{
    of(run)->answered++;
    of(run)->status = response->status;
    snprintf(of(run)->body, sizeof of(run)->body, "%.*s", SLICE_FMT(response->body));
    net_loop_stop(world->loop);
}

static void abandoned(struct session_run *run, const char *why)
{
    assert_true(*why);
    of(run)->abandoned++;
    net_loop_stop(world->loop);
}

/* The status that stands for a code here. */
static int as(int code)
{
    return 400 + code;
}

/* "/ORG/SESSION" */
static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct world *w = arg;
    const char *path = request->path.data, *slash = memchr(path + 1, '/', request->path.len - 1);
    struct slice org = slice(path + 1, (size_t)(slash - path - 1));
    struct slice name = slice(slash + 1, request->path.len - (size_t)(slash + 1 - path));
    struct error err;
    int code = sessions_handle(w->sessions, org, name, exchange, request, &err);
    struct blob *why;

    if (code == CODE_OK)
        return;
    why = blob_copy(slice_str(err.message));
    net_answer(exchange, as(code), NULL, 0, why);
    blob_unref(why);
}

static void gone(void *arg, struct net_exchange *exchange)
{
    struct pending *pending = net_exchange_get(exchange);

    (void)arg;
    if (pending)
        pending->gone(pending);
}

static void start(struct world *w, size_t waiting_max, uint32_t lease_ms)
{
    struct sessions_options options = {.clock = clock_system(),
                                       .body_max = 100,
                                       .waiting_max = waiting_max,
                                       .lease_ms = lease_ms,
                                       .request = request_of,
                                       .answered = answered,
                                       .abandoned = abandoned};
    struct net_server_options server = {
        .host = "127.0.0.1", .handle = handle, .gone = gone, .arg = w};

    *w = (struct world){0};
    world = w;
    assert_int_equal(net_loop_create(&w->loop, NULL), CODE_OK);
    options.loop = w->loop;
    assert_int_equal(sessions_create(&w->sessions, &options, NULL), CODE_OK);
    assert_int_equal(net_server_create(&w->server, w->loop, &server, NULL), CODE_OK);
    assert_int_equal(net_client_create(&w->client, w->loop, &(struct net_client_options){0}, NULL),
                     CODE_OK);
    for (int i = 0; i < RUNS; i++) {
        snprintf(w->runs[i].id, sizeof w->runs[i].id, "run-%d", i);
        w->runs[i].run.id = w->runs[i].id;
        w->runs[i].run.size = 10;
    }
}

static void finish(struct world *w)
{
    net_client_destroy(w->client);
    net_server_destroy(w->server);
    for (int i = 0; i < RUNS; i++) {
        if (w->runs[i].run.session)
            sessions_remove(w->sessions, &w->runs[i].run);
    }
    sessions_destroy(w->sessions);
    net_loop_destroy(w->loop);
}

static void add(struct world *w, int i, const char *org, const char *name)
{
    assert_int_equal(
        sessions_add(w->sessions, slice_str(org), slice_str(name), &w->runs[i].run, NULL), CODE_OK);
}

static void replied(void *arg, const struct net_response *response)
{
    struct reply *reply = arg;
    struct slice id = net_header_get(response->headers, response->header_count, "x-request-id");

    reply->done = true;
    reply->failure = response->failure;
    reply->status = response->status;
    snprintf(reply->id, sizeof reply->id, "%.*s", SLICE_FMT(id));
    snprintf(reply->body, sizeof reply->body, "%.*s", SLICE_FMT(response->body));
    net_loop_stop(reply->w->loop);
}

/* `extra`: the value of X-Request-Id, or of a GET, of Request-Timeout; NULL: none. */
static struct net_call *send_request(struct world *w, struct reply *reply, const char *method,
                                     const char *path, const char *extra, const char *body)
{
    bool get = strcmp(method, "GET") == 0;
    const struct net_header header = {slice_str(get ? "request-timeout" : "x-request-id"),
                                      slice_str(extra ? extra : "")};
    struct net_outgoing request = {.host = slice_str("127.0.0.1"),
                                   .port = net_server_port(w->server),
                                   .method = slice_str(method),
                                   .target = slice_str(path),
                                   .headers = &header,
                                   .header_count = extra != NULL,
                                   .body = body ? blob_copy(slice_str(body)) : NULL,
                                   .done = replied,
                                   .arg = reply};
    struct net_call *call;

    *reply = (struct reply){.w = w};
    assert_int_equal(net_client_send(w->client, &request, &call, NULL), CODE_OK);
    blob_unref(request.body);
    return call;
}

static void until(struct world *w, const bool *flag)
{
    while (!*flag)
        net_loop_run(w->loop);
}

/* The status of the answer. */
static int ask(struct world *w, const char *method, const char *path, const char *extra,
               const char *body)
{
    struct reply reply;

    send_request(w, &reply, method, path, extra, body);
    until(w, &reply.done);
    assert_int_equal(reply.failure, NET_OK);
    return reply.status;
}

/* Fetches a run that is there. */
static void fetches(struct world *w, const char *path, const char *id)
{
    struct reply reply;

    send_request(w, &reply, "GET", path, "30", NULL);
    until(w, &reply.done);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.id, id);
    assert_string_equal(reply.body, id);
}

/* A poll that has reached the server. */
static struct net_call *waits(struct world *w, struct reply *reply, const char *path)
{
    size_t before = net_server_exchanges(w->server);
    struct net_call *call = send_request(w, reply, "GET", path, "30", NULL);

    while (net_server_exchanges(w->server) == before)
        net_loop_turn(w->loop);
    return call;
}

/* The original's client gives up a poll, and a function, after 30 s: the answer is to come before,
 * and not so soon that it asks all the time; a function's may still be on its way. */
_Static_assert(SESSIONS_POLL_MS >= 25000 && SESSIONS_POLL_MS <= 28000, "of a poll");
_Static_assert(SESSIONS_LEASE_MS > 30000, "of a run");

#define GOOD "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 4\r\n\r\nGood"

/* --- tests ----------------------------------------------------------------------------------- */

static void test_run_then_poll(void **state)
{
    struct world w;

    (void)state;
    start(&w, 0, 0);
    add(&w, 0, "org", "S");
    add(&w, 1, "org", "S");
    fetches(&w, "/org/S", "run-0");
    fetches(&w, "/org/S", "run-1");
    assert_int_equal(ask(&w, "POST", "/org/S", "run-1", GOOD), 202);
    assert_int_equal(w.runs[1].answered, 1);
    assert_int_equal(w.runs[1].status, 200);
    assert_string_equal(w.runs[1].body, "Good");
    assert_int_equal(w.runs[0].answered, 0);
    assert_int_equal(ask(&w, "POST", "/org/S", "run-0", "HTTP/1.0 500 Oh\r\n\r\nto the end"), 202);
    assert_int_equal(w.runs[0].status, 500);
    assert_string_equal(w.runs[0].body, "to the end");
    finish(&w);
}

static void test_polls_then_runs(void **state)
{
    struct reply first, second, other;
    struct world w;

    (void)state;
    start(&w, 0, 0);
    waits(&w, &first, "/org/S");
    waits(&w, &second, "/org/S");
    waits(&w, &other, "/org/s"); /* case counts */
    add(&w, 0, "org", "S");
    until(&w, &first.done);
    assert_string_equal(first.id, "run-0");
    assert_false(second.done);
    add(&w, 1, "org", "S");
    until(&w, &second.done);
    assert_string_equal(second.id, "run-1");
    assert_false(other.done);
    finish(&w);
}

static void test_organizations_apart(void **state)
{
    struct reply theirs;
    struct world w;

    (void)state;
    start(&w, 0, 0);
    add(&w, 0, "org", "S");
    waits(&w, &theirs, "/other/S");
    fetches(&w, "/org/S", "run-0");
    assert_false(theirs.done);
    assert_int_equal(ask(&w, "POST", "/other/S", "run-0", GOOD), as(CODE_NOT_FOUND));
    assert_int_equal(ask(&w, "DELETE", "/other/S", "run-0", NULL), as(CODE_NOT_FOUND));
    assert_int_equal(w.runs[0].answered + w.runs[0].abandoned, 0);
    finish(&w);
}

static void test_nothing_there(void **state)
{
    struct world w;

    (void)state;
    start(&w, 0, 0);
    assert_int_equal(ask(&w, "GET", "/org/S", "0", NULL), 504);
    assert_int_equal(ask(&w, "GET", "/org/", "30", NULL), as(CODE_INVALID_ARGUMENT));
    assert_int_equal(ask(&w, "PUT", "/org/S", NULL, "x"), as(CODE_UNIMPLEMENTED));
    assert_int_equal(ask(&w, "DELETE", "/org/S", NULL, NULL), as(CODE_NOT_FOUND));
    finish(&w);
}

static void test_given_back(void **state)
{
    struct world w;

    (void)state;
    start(&w, 0, 0);
    add(&w, 0, "org", "S");
    assert_int_equal(ask(&w, "DELETE", "/org/S", "run-0", NULL), as(CODE_NOT_FOUND));
    fetches(&w, "/org/S", "run-0");
    assert_int_equal(ask(&w, "DELETE", "/org/S", "run-0", NULL), 200);
    assert_int_equal(w.runs[0].abandoned, 1);
    assert_int_equal(ask(&w, "DELETE", "/org/S", "run-0", NULL), as(CODE_NOT_FOUND));
    assert_int_equal(ask(&w, "POST", "/org/S", "run-0", GOOD), as(CODE_NOT_FOUND));
    assert_int_equal(w.runs[0].answered, 0);
    finish(&w);
}

static void test_bad_replies(void **state)
{
    static const char *const bad[] = {
        "",
        "garbage",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        GOOD "and more",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
        "8901234567890"};
    struct world w;

    (void)state;
    start(&w, 0, 0);
    add(&w, 0, "org", "S");
    fetches(&w, "/org/S", "run-0");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ask(&w, "POST", "/org/S", "run-0", bad[i]), as(CODE_INVALID_ARGUMENT));
    assert_int_equal(ask(&w, "POST", "/org/S", "run-9", GOOD), as(CODE_NOT_FOUND));
    assert_int_equal(ask(&w, "POST", "/org/S", NULL, GOOD), as(CODE_NOT_FOUND));
    assert_int_equal(w.runs[0].answered + w.runs[0].abandoned, 0);
    assert_int_equal(ask(&w, "POST", "/org/S", "run-0", GOOD), 202);
    assert_int_equal(ask(&w, "POST", "/org/S", "run-0", GOOD), as(CODE_NOT_FOUND));
    assert_int_equal(w.runs[0].answered, 1);
    finish(&w);
}

static void test_fetched_and_vanished(void **state)
{
    struct world w;

    (void)state;
    start(&w, 0, 1);
    add(&w, 0, "org", "S");
    add(&w, 1, "org", "S");
    fetches(&w, "/org/S", "run-0");
    while (!w.runs[0].abandoned)
        net_loop_run(w.loop);
    assert_int_equal(w.runs[1].abandoned, 0); /* nobody has it */
    assert_int_equal(ask(&w, "POST", "/org/S", "run-0", GOOD), as(CODE_NOT_FOUND));
    finish(&w);
}

/* A client that goes away while it waits gets nothing: the next one does. */
static void test_poll_vanished(void **state)
{
    struct reply vanishing;
    struct world w;

    (void)state;
    start(&w, 0, 0);
    net_call_cancel(waits(&w, &vanishing, "/org/S"));
    assert_int_equal(vanishing.failure, NET_CANCELED);
    while (net_server_exchanges(w.server) > 0)
        net_loop_turn(w.loop);
    add(&w, 0, "org", "S");
    fetches(&w, "/org/S", "run-0");
    finish(&w);
}

static void test_not_wanted_any_more(void **state)
{
    struct world w;

    (void)state;
    start(&w, 0, 0);
    add(&w, 0, "org", "S");
    add(&w, 1, "org", "S");
    sessions_remove(w.sessions, &w.runs[0].run);
    fetches(&w, "/org/S", "run-1");
    sessions_remove(w.sessions, &w.runs[1].run);
    assert_int_equal(ask(&w, "POST", "/org/S", "run-1", GOOD), as(CODE_NOT_FOUND));
    assert_int_equal(w.runs[1].answered + w.runs[1].abandoned, 0);
    finish(&w);
}

/* They are too many, or too large. The session that was fetched from makes no room for one that was
 * not. */
static void test_too_much_waits(void **state)
{
    struct world w;

    (void)state;
    start(&w, 2, 0);
    add(&w, 0, "org", "served");
    fetches(&w, "/org/served", "run-0");
    add(&w, 1, "org", "served");
    add(&w, 2, "org", "forgotten");
    add(&w, 3, "other", "forgotten");
    while (!w.runs[2].abandoned && !w.runs[3].abandoned)
        net_loop_run(w.loop);
    assert_int_equal(w.runs[2].abandoned + w.runs[3].abandoned, 1);
    assert_int_equal(w.runs[0].abandoned + w.runs[1].abandoned, 0);
    fetches(&w, "/org/served", "run-1");
    w.runs[0].run.size = SESSIONS_WAITING_BYTES_MAX + 1;
    sessions_remove(w.sessions, &w.runs[0].run);
    add(&w, 0, "org", "large");
    while (!w.runs[0].abandoned)
        net_loop_run(w.loop);
    finish(&w);
}

static void test_stopping(void **state)
{
    struct reply waiting;
    struct world w;

    (void)state;
    start(&w, 0, 0);
    add(&w, 0, "org", "other");
    fetches(&w, "/org/other", "run-0");
    add(&w, 1, "org", "other");
    add(&w, 2, "org", "third");
    waits(&w, &waiting, "/org/S");
    sessions_stop(w.sessions);
    assert_int_equal(w.runs[0].abandoned, 0);
    assert_int_equal(w.runs[1].abandoned + w.runs[2].abandoned, 2);
    until(&w, &waiting.done);
    assert_int_equal(waiting.status, 503);
    assert_int_equal(ask(&w, "GET", "/org/S", "30", NULL), as(CODE_UNAVAILABLE));
    assert_int_equal(ask(&w, "POST", "/org/other", "run-0", GOOD), 202);
    assert_int_equal(w.runs[0].answered, 1);
    finish(&w);
}

static void test_polls_have_a_limit(void **state)
{
    static struct reply replies[SESSIONS_POLLS_MAX];
    struct world w;

    (void)state;
    start(&w, 0, 0);
    for (size_t i = 0; i < SESSIONS_POLLS_MAX; i++)
        send_request(&w, &replies[i], "GET", "/org/S", "30", NULL);
    while (net_server_exchanges(w.server) < SESSIONS_POLLS_MAX)
        net_loop_turn(w.loop);
    assert_int_equal(ask(&w, "GET", "/org/S", "30", NULL), as(CODE_RESOURCE_EXHAUSTED));
    assert_int_equal(ask(&w, "GET", "/org/T", "0", NULL), 504);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_then_poll),
        cmocka_unit_test(test_polls_then_runs),
        cmocka_unit_test(test_organizations_apart),
        cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_bad_replies),
        cmocka_unit_test(test_fetched_and_vanished),
        cmocka_unit_test(test_poll_vanished),
        cmocka_unit_test(test_not_wanted_any_more),
        cmocka_unit_test(test_too_much_waits),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_polls_have_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
