// SPDX-License-Identifier: Apache-2.0
/*
 * Out of memory at the Nth allocation, while a client of the whole server makes a call by Dispatch
 * and one by Call, and asks after them by Wait, Get and List, in JSON over HTTP/1.1 and in protobuf
 * over HTTP/2: it is answered, or told that this passes, or its connection ends; and what was
 * acknowledged is there afterwards, and done.
 *
 * The allocations are those of the server and of the network below the client and the endpoint;
 * libuv's and nghttp2's are for the test of that room. N is a sample,
 * as the server waits before it loads again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/scarce.h"
#include "server/codec.h"
#include "server/harness_test.h"

#define TRIES     50
#define PATH_LIST "/dispatch.v1.CallService/List"

static struct harness h;

struct client {
    enum codec codec;
    wire_any *input;
};

/* False: there was no memory, and it was said so, or the connection ended. */
static bool answered(const struct reply *reply)
{
    struct error err;

    if (reply->failure != NET_OK) {
        assert_true(reply->failure == NET_TCP || reply->failure == NET_TEMPORARY);
        return false;
    }
    if (reply->status == 200)
        return true;
    if (reply->status != 503 && reply->status != 429)
        fail_msg("status %d: %s", reply->status, reply->body);
    if (reply->len) { /* else there was no memory for that */
        err = harness_error(reply);
        assert_true(err.code == CODE_UNAVAILABLE || err.code == CODE_RESOURCE_EXHAUSTED);
        assert_true(err.message[0]);
    }
    return false;
}

/* Where a commit failed for it, all is loaded again. */
static void settle(void)
{
    while (!orchestrator_ready(server_orchestrator(h.server)))
        net_loop_wait(h.loop);
}

/* Asks until there is an answer. */
static void insist(const struct client *c, const char *path, const void *message,
                   const ProtobufCMessageDescriptor *type, void *response)
{
    struct blob *body = codec_pack(c->codec, message);
    struct ask ask = {.path = path,
                      .key = HARNESS_KEY,
                      .type = c->codec == CODEC_JSON ? NULL : "application/proto",
                      .http2 = c->codec == CODEC_PROTO};
    struct reply reply;
    int tries = 0;

    assert_non_null(body);
    ask.body = blob_slice(body);
    do {
        assert_true(tries++ < TRIES);
        harness_send(&h, &ask, &reply);
        scarce_pause(false);
        harness_until(&h, &reply.done);
        settle();
        scarce_pause(true);
    } while (!answered(&reply));
    blob_unref(body);
    assert_int_equal(
        codec_unpack(c->codec, type, slice(reply.body, reply.len), &h.arena, response, NULL),
        CODE_OK);
}

static void assert_done(const Dispatch__V1__CallInfo *info)
{
    struct value value;

    assert_non_null(info);
    assert_int_equal(info->state, DISPATCH__V1__STATE__STATE_DONE);
    assert_int_equal(info->status, DISPATCH__SDK__V1__STATUS__STATUS_OK);
    assert_non_null(info->result);
    assert_int_equal(wire_value_from_any(info->result->output, &h.arena, &value, NULL), CODE_OK);
    assert_true(value.kind == VALUE_STRING && slice_eq_str(value.bytes, "hello"));
}

static wire_call call_of(const struct client *c, const char *function)
{
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;

    call.endpoint = h.endpoint_url;
    call.function = (char *)(uintptr_t)function;
    call.input = c->input;
    return call;
}

static char *acknowledged(const struct client *c)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = call_of(c, "parent"), *calls[] = {&call};
    wire_dispatch_response *response;

    request.calls = calls;
    request.n_calls = 1;
    insist(c, PATH_DISPATCH, &request, &dispatch__sdk__v1__dispatch_response__descriptor,
           &response);
    assert_int_equal(response->n_dispatch_ids, 1);
    return response->dispatch_ids[0];
}

static char *called(const struct client *c)
{
    Dispatch__V1__CallRequest request = DISPATCH__V1__CALL_REQUEST__INIT;
    wire_call call = call_of(c, "echo");
    Dispatch__V1__CallResponse *response;

    request.call = &call;
    insist(c, PATH_CALL, &request, &dispatch__v1__call_response__descriptor, &response);
    assert_done(response->call);
    return response->call->dispatch_id;
}

static void await(const struct client *c, char *id)
{
    Dispatch__V1__WaitRequest request = DISPATCH__V1__WAIT_REQUEST__INIT;
    Dispatch__V1__WaitResponse *response;

    request.dispatch_id = id;
    insist(c, PATH_WAIT, &request, &dispatch__v1__wait_response__descriptor, &response);
    assert_done(response->call);
}

static void get(const struct client *c, char *id)
{
    Dispatch__V1__GetRequest request = DISPATCH__V1__GET_REQUEST__INIT;
    Dispatch__V1__GetResponse *response;

    request.dispatch_id = id;
    insist(c, PATH_GET, &request, &dispatch__v1__get_response__descriptor, &response);
    assert_done(response->call);
}

static void list(const struct client *c, const char *id)
{
    Dispatch__V1__ListRequest request = DISPATCH__V1__LIST_REQUEST__INIT;
    Dispatch__V1__ListResponse *response;
    size_t found = 0;

    insist(c, PATH_LIST, &request, &dispatch__v1__list_response__descriptor, &response);
    for (size_t i = 0; i < response->n_calls; i++)
        found += strcmp(response->calls[i]->dispatch_id, id) == 0;
    assert_int_equal(found, 1);
}

/* True: it came to the nth allocation. */
static bool without_memory(enum codec codec, long nth, long in_a_row)
{
    struct value hello = {.kind = VALUE_STRING, .bytes = slice_str("hello")};
    struct client client = {.codec = codec};
    char *made[2];
    bool met;

    harness_start(&h, true, 0);
    h.pause = scarce_pause;
    client.input = wire_any_from_value(&hello, &h.arena);
    assert_non_null(client.input);
    scarce_begin(nth, in_a_row);
    made[0] = acknowledged(&client);
    made[1] = called(&client);
    await(&client, made[0]);
    get(&client, made[0]);
    list(&client, made[1]);
    met = scarce_end();
    for (size_t i = 0; i < 2; i++) {
        await(&client, made[i]);
        get(&client, made[i]);
        list(&client, made[i]);
    }
    harness_finish(&h);
    return met;
}

static void each_allocation(enum codec codec)
{
    long n = 1;

    while (without_memory(codec, n, n % 2 ? 1 : 4))
        n = scarce_sample(n, 12);
    assert_true(n > 100);
}

static void test_json(void **state)
{
    (void)state;
    each_allocation(CODEC_JSON);
}

static void test_proto(void **state)
{
    (void)state;
    each_allocation(CODEC_PROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_proto),
    };

    scarce_pause(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
