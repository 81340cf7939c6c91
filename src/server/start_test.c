// SPDX-License-Identifier: Apache-2.0
/*
 * The time before the calls are loaded: requests wait for that. Here the test itself is the server
 * around an orchestrator, which does not load anything until the test steps it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/api.h"
#include "server/harness_test.h"

struct world {
    struct harness h; /* its loop, client, arena and port */
    struct keys keys;
    struct credentials credentials;
    struct api api;
    struct net_server *server;
    struct invoker invoker;
    size_t seen; /* requests */
};

static void changed(void *arg)
{
    (void)arg;
}

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct world *w = arg;

    w->seen++;
    api_handle(&w->api, exchange, request);
    net_loop_stop(w->h.loop);
}

static void gone(void *arg, struct net_exchange *exchange)
{
    struct world *w = arg;

    api_gone(&w->api, exchange);
    net_loop_stop(w->h.loop);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct net_server_options options = {
        .host = "127.0.0.1", .handle = handle, .gone = gone, .arg = w};
    struct orchestrator_options orchestrator = {.clock = clock_system(), .invoker = &w->invoker};

    assert_non_null(w);
    arena_init(&w->h.arena, 1 << 20);
    keys_init(&w->keys);
    assert_int_equal(keys_add(&w->keys, slice_str(HARNESS_KEY), NULL), CODE_OK);
    credentials_init(&w->credentials);
    w->credentials.loaded = true; /* there are none */
    assert_int_equal(net_loop_create(&w->h.loop, NULL), CODE_OK);
    assert_int_equal(
        net_client_create(&w->h.client, w->h.loop, &(struct net_client_options){0}, NULL), CODE_OK);
    assert_int_equal(net_server_create(&w->server, w->h.loop, &options, NULL), CODE_OK);
    w->h.port = net_server_port(w->server);
    w->api = (struct api){.keys = &w->keys,
                          .credentials = &w->credentials,
                          .body_max = 1 << 20,
                          .store_path = "",
                          .changed = changed};
    assert_int_equal(store_open(&orchestrator.store, "memory:", &(struct store_options){0}, NULL),
                     CODE_OK);
    assert_int_equal(orchestrator_create(&w->api.orchestrator, &orchestrator, NULL), CODE_OK);
    assert_int_equal(api_hold(&w->api, w->h.loop, NULL), CODE_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    orchestrator_destroy(w->api.orchestrator);
    net_server_destroy(w->server);
    api_finish(&w->api);
    net_client_destroy(w->h.client);
    net_loop_destroy(w->h.loop);
    keys_free(&w->keys);
    credentials_free(&w->credentials);
    arena_reset(&w->h.arena);
    free(w);
    return 0;
}

static struct net_call *send_dispatch(struct world *w, struct reply *reply)
{
    const struct ask ask = {.path = PATH_DISPATCH, .key = HARNESS_KEY, .body = slice_str("{}")};
    size_t seen = w->seen;
    struct net_call *call = harness_send(&w->h, &ask, reply);

    while (w->seen == seen)
        net_loop_run(w->h.loop);
    return call;
}

static void load(struct world *w)
{
    while (!orchestrator_ready(w->api.orchestrator))
        orchestrator_step(w->api.orchestrator);
    api_release(&w->api);
}

static void test_requests_wait(void **state)
{
    struct world *w = *state;
    struct reply first, second;

    send_dispatch(w, &first);
    send_dispatch(w, &second);
    assert_int_equal(w->api.held_count, 2);
    assert_int_equal(w->api.held_bytes, 4);
    load(w);
    harness_until(&w->h, &first.done);
    harness_until(&w->h, &second.done);
    assert_int_equal(first.status, 200);
    assert_int_equal(second.status, 200);
    assert_int_equal(w->api.held_count, 0);
    /* From now on nobody waits. */
    send_dispatch(w, &first);
    assert_int_equal(w->api.held_count, 0);
    harness_until(&w->h, &first.done);
    assert_int_equal(first.status, 200);
}

static void test_others_are_answered_at_once(void **state)
{
    struct ask wrong_key = {.path = PATH_DISPATCH, .key = "wrong", .body = slice_str("{}")};
    struct ask readyz = {.method = "GET", .path = "/readyz"};
    struct world *w = *state;
    struct reply reply;

    harness_ask(&w->h, &wrong_key, &reply);
    assert_int_equal(reply.status, 401);
    harness_ask(&w->h, &readyz, &reply);
    assert_int_equal(reply.status, 503);
}

/* Whether a key is one of the store's is not known yet. */
static void test_keys_of_the_store(void **state)
{
    struct world *w = *state;
    char secret[CREDENTIALS_SECRET];
    struct ask good = {.path = PATH_DISPATCH, .key = secret, .body = slice_str("{}")};
    struct ask wrong = {.path = PATH_DISPATCH, .key = "wrong", .body = slice_str("{}")};
    struct ask none = {.path = PATH_DISPATCH, .body = slice_str("{}")};
    struct reply first, second, third;
    struct credential key;

    w->credentials.loaded = false;
    assert_int_equal(credentials_new_api_key(&w->credentials, "acme", "", &key, secret, NULL), 0);
    harness_ask(&w->h, &none, &third);
    assert_int_equal(third.status, 401);
    harness_send(&w->h, &good, &first);
    harness_send(&w->h, &wrong, &second);
    while (w->api.held_count < 2)
        net_loop_run(w->h.loop);
    assert_true(credentials_add(&w->credentials, &key));
    w->credentials.loaded = true;
    load(w);
    harness_until(&w->h, &first.done);
    harness_until(&w->h, &second.done);
    assert_int_equal(first.status, 200);
    assert_int_equal(second.status, 401);
}

static void test_past_the_bound_they_are_refused(void **state)
{
    struct world *w = *state;
    struct reply reply;

    w->api.held_count = API_HELD_MAX;
    send_dispatch(w, &reply);
    w->api.held_count = 0;
    harness_until(&w->h, &reply.done);
    assert_int_equal(harness_error(&reply).code, CODE_UNAVAILABLE);
    assert_non_null(strstr(reply.body, "being loaded"));
}

static void test_one_that_goes_away(void **state)
{
    struct world *w = *state;
    struct reply reply;

    net_call_cancel(send_dispatch(w, &reply));
    while (w->api.held_count > 0)
        net_loop_run(w->h.loop);
    assert_int_equal(w->api.held_bytes, 0);
    load(w);
}

static void test_released_before_anything_is_loaded(void **state)
{
    struct world *w = *state;
    struct reply reply;

    send_dispatch(w, &reply);
    api_release(&w->api); /* as a server does that stops */
    harness_until(&w->h, &reply.done);
    assert_int_equal(harness_error(&reply).code, CODE_UNAVAILABLE);
}

static void test_destroyed_while_they_wait(void **state)
{
    struct world *w = *state;
    static struct reply reply; /* until the client goes */

    send_dispatch(w, &reply);
    assert_int_equal(w->api.held_count, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_requests_wait),
        TEST(test_others_are_answered_at_once),
        TEST(test_keys_of_the_store),
        TEST(test_past_the_bound_they_are_refused),
        TEST(test_one_that_goes_away),
        TEST(test_released_before_anything_is_loaded),
        TEST(test_destroyed_while_they_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
