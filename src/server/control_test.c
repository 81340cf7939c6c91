// SPDX-License-Identifier: Apache-2.0
/* The methods that take calls in hand, idempotency keys, and stopping with calls not begun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/harness_test.h"

#define PATH_COMPLETE "/dispatch.v1.CallService/Complete"
#define PATH_LIST     "/dispatch.v1.CallService/List"
#define PATH_CANCEL   "/dispatch.v1.CallService/Cancel"
#define PATH_RESTART  "/dispatch.v1.CallService/Restart"
#define PATH_RETRY    "/dispatch.v1.CallService/Retry"

static struct harness h;

static int set_up(void **state)
{
    (void)state;
    harness_start(&h, true, 5000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    harness_finish(&h);
    return 0;
}

static void ask_with_key(const char *key, const char *path, const char *body, struct reply *reply)
{
    struct ask ask = {.path = path,
                      .key = HARNESS_KEY,
                      .body = slice_str(body),
                      .extra = {slice_str("idempotency-key"), slice_str(key)}};

    *reply = (struct reply){0};
    harness_ask(&h, &ask, reply);
}

static void test_idempotency_key(void **state)
{
    struct reply first, again, other;
    char body[300], call[400];

    (void)state;
    snprintf(body, sizeof body, "{\"calls\":[{\"endpoint\":\"%s\",\"function\":\"echo\"}]}",
             h.endpoint_url);
    ask_with_key("k", PATH_DISPATCH, body, &first);
    assert_int_equal(first.status, 200);
    ask_with_key("k", PATH_DISPATCH, body, &again);
    assert_int_equal(again.status, 200);
    assert_string_equal(first.body, again.body);
    snprintf(body, sizeof body, "{\"calls\":[{\"endpoint\":\"%s\",\"function\":\"other\"}]}",
             h.endpoint_url);
    ask_with_key("k", PATH_DISPATCH, body, &other);
    assert_int_equal(other.status, 409);
    assert_int_equal(harness_error(&other).code, CODE_ALREADY_EXISTS);
    snprintf(call, sizeof call, "{\"call\":{\"endpoint\":\"%s\",\"function\":\"echo\"}}",
             h.endpoint_url);
    ask_with_key("k", PATH_CALL, call, &other);
    assert_int_equal(harness_error(&other).code, CODE_ALREADY_EXISTS);
    ask_with_key("k2", PATH_CALL, call, &first);
    assert_int_equal(first.status, 200);
    ask_with_key("k2", PATH_CALL, call, &again);
    assert_string_equal(first.body, again.body);
    ask_with_key("", PATH_DISPATCH, body, &other);
    assert_int_equal(other.status, 400);
}

static void test_cancel_restart_retry(void **state)
{
    char *id = harness_dispatch(&h, "hang", "null");
    Dispatch__V1__CallInfo *info;
    Dispatch__V1__RetryResponse *made;
    struct reply reply;
    struct error err;

    (void)state;
    harness_post(&h, &reply, PATH_RETRY, "{\"dispatchId\":\"%s\"}", id);
    assert_int_equal(harness_error(&reply).code, CODE_FAILED_PRECONDITION);
    harness_post(&h, &reply, PATH_RESTART, "{\"dispatchId\":\"%s\"}", id);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{}");
    harness_post(&h, &reply, PATH_CANCEL, "{\"dispatchId\":\"%s\"}", id);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{}");
    info = harness_wait(&h, id);
    assert_int_equal(info->generation, 2);
    assert_string_equal(info->result->error->type, "Cancelled");
    harness_post(&h, &reply, PATH_CANCEL, "{\"dispatchId\":\"%s\"}", id);
    assert_int_equal(harness_error(&reply).code, CODE_FAILED_PRECONDITION);
    harness_post(&h, &reply, PATH_RESTART, "{\"dispatchId\":\"nobody\"}");
    assert_int_equal(harness_error(&reply).code, CODE_NOT_FOUND);
    harness_post(&h, &reply, PATH_RETRY, "{\"dispatchId\":\"%s\"}", id);
    assert_int_equal(reply.status, 200);
    assert_int_equal(wire_from_json(&dispatch__v1__retry_response__descriptor,
                                    slice(reply.body, reply.len), &h.arena, &made, &err),
                     0);
    harness_post(&h, &reply, PATH_CANCEL, "{\"dispatchId\":\"%s\"}", made->dispatch_id);
    assert_int_equal(reply.status, 200);
    info = harness_wait(&h, made->dispatch_id);
    assert_string_equal(info->retry_of, id);
    assert_string_equal(info->function, "hang");
}

static void test_complete(void **state)
{
    struct reply reply;
    Dispatch__V1__CallResponse *made;
    Dispatch__V1__CallInfo *info;
    struct error err;

    (void)state;
    harness_post(
        &h, &reply, PATH_CALL,
        "{\"call\":{\"endpoint\":\"event:\",\"function\":\"approval\",\"key\":\"order 7\"},"
        "\"maxWait\":\"0s\"}");
    assert_int_equal(reply.status, 200);
    assert_int_equal(wire_from_json(&dispatch__v1__call_response__descriptor,
                                    slice(reply.body, reply.len), &h.arena, &made, &err),
                     0);
    assert_string_equal(made->call->key, "order 7");
    harness_post(&h, &reply, PATH_COMPLETE,
                 "{\"key\":\"order 7\",\"output\":{\"@type\":"
                 "\"type.googleapis.com/google.protobuf.BoolValue\",\"value\":true}}");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{}");
    info = harness_wait(&h, made->call->dispatch_id);
    assert_int_equal(info->status, DISPATCH__SDK__V1__STATUS__STATUS_OK);
    assert_non_null(info->result->output);
    harness_post(&h, &reply, PATH_COMPLETE, "{\"key\":\"order 7\"}");
    assert_int_equal(harness_error(&reply).code, CODE_FAILED_PRECONDITION);
}

static void test_endpoints_not_allowed(void **state)
{
    Dispatch__V1__CallInfo *info;
    struct reply reply;
    struct error error;

    (void)state;
    harness_finish(&h);
    harness_start_restricted(&h, "*.example.com");
    harness_post(&h, &reply, PATH_DISPATCH,
                 "{\"calls\":[{\"endpoint\":\"%s\",\"function\":\"echo\"}]}", h.endpoint_url);
    error = harness_error(&reply);
    assert_int_equal(reply.status, 403);
    assert_int_equal(error.code, CODE_PERMISSION_DENIED);
    assert_non_null(strstr(error.message, h.endpoint_url));
    assert_non_null(strstr(error.message, "--allow-endpoint"));
    harness_finish(&h);

    harness_start_restricted(&h, "127.0.0.0/8");
    info = harness_wait(&h, harness_dispatch(&h, "away", "null"));
    assert_int_equal(info->status, DISPATCH__SDK__V1__STATUS__STATUS_PERMISSION_DENIED);
    assert_string_equal(info->result->error->type, "permission_denied");
    assert_non_null(strstr(info->result->error->message, "the tail call to 'echo'"));
    harness_finish(&h);

    /* What the name means is known at the run alone. */
    harness_start_restricted(&h, "10.0.0.0/8");
    snprintf(h.endpoint_url, sizeof h.endpoint_url, "http://localhost:1");
    info = harness_wait(&h, harness_dispatch(&h, "echo", "null"));
    assert_int_equal(info->status, DISPATCH__SDK__V1__STATUS__STATUS_PERMISSION_DENIED);
    assert_non_null(strstr(info->result->error->message, "--allow-endpoint"));
}

/* Runs that nobody has begun are not waited for: the grace is longer than any test. */
static void test_stop_with_runs_at_a_session(void **state)
{
    struct orchestrator_stats stats;

    (void)state;
    harness_start(&h, true, 3600 * 1000);
    snprintf(h.endpoint_url, sizeof h.endpoint_url, "bridge://nobody");
    harness_dispatch(&h, "f", "{\"@type\":\"type.googleapis.com/google.protobuf.Empty\"}");
    do {
        net_loop_turn(h.loop);
        server_stats(h.server, &stats);
    } while (stats.runs_in_flight == 0);
    server_stop(h.server);
    harness_until(&h, &h.stopped);
    harness_finish(&h);
}

static void test_list(void **state)
{
    char *first = harness_dispatch(&h, "echo", "null"), *second, *token;
    Dispatch__V1__ListResponse *page;
    struct reply reply;
    struct error err;

    (void)state;
    harness_wait(&h, first);
    second = harness_dispatch(&h, "hang", "null");
    harness_post(&h, &reply, PATH_LIST, "{\"limit\":1}");
    assert_int_equal(reply.status, 200);
    assert_int_equal(wire_from_json(&dispatch__v1__list_response__descriptor,
                                    slice(reply.body, reply.len), &h.arena, &page, &err),
                     0);
    assert_int_equal(page->n_calls, 1);
    assert_string_equal(page->calls[0]->dispatch_id, second);
    token = page->next_page_token;
    harness_post(&h, &reply, PATH_LIST, "{\"states\":[\"STATE_DONE\"],\"pageToken\":\"%s\"}",
                 token);
    assert_int_equal(wire_from_json(&dispatch__v1__list_response__descriptor,
                                    slice(reply.body, reply.len), &h.arena, &page, &err),
                     0);
    assert_int_equal(page->n_calls, 1);
    assert_string_equal(page->calls[0]->dispatch_id, first);
    assert_string_equal(page->next_page_token, "");
    harness_post(&h, &reply, PATH_LIST, "{\"pageToken\":\"none\"}");
    assert_int_equal(harness_error(&reply).code, CODE_INVALID_ARGUMENT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_idempotency_key),
        TEST(test_cancel_restart_retry),
        TEST(test_complete),
        TEST(test_endpoints_not_allowed),
        cmocka_unit_test(test_stop_with_runs_at_a_session),
        TEST(test_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
