// SPDX-License-Identifier: Apache-2.0
#include "gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/list.h"
#include "wire/wire.h"

#define RUN_PATH "/dispatch.sdk.v1.FunctionService/Run"

struct gate {
    struct net_loop *loop;
    struct net_server *server;
    struct net_client *client;
    struct gate_events events;
    struct list waiting; /* of passages */
    struct passage *passing;
    bool ending;
};

struct passage {
    struct list node;
    struct gate *gate;
    struct net_exchange *exchange; /* NULL: gone */
    struct blob *body;
    struct gate_run run;
};

static const struct net_header proto[] = {{{"content-type", sizeof "content-type" - 1},
                                           {"application/proto", sizeof "application/proto" - 1}}};

static void next(struct gate *gate);

static void over(struct passage *passage)
{
    struct gate *gate = passage->gate;

    gate->passing = NULL;
    blob_unref(passage->body);
    free(passage);
    if (!gate->ending)
        next(gate);
}

/* After what was written has left. */
static void passed(void *arg)
{
    struct passage *passage = arg;
    struct gate *gate = passage->gate;

    gate->events.passed(gate->events.arg, &passage->run);
    over(passage);
}

static void refuse(struct passage *passage)
{
    if (passage->exchange)
        net_answer(passage->exchange, 502, NULL, 0, NULL);
    over(passage);
}

static void on_answer(void *arg, const struct net_response *response)
{
    struct passage *passage = arg;
    struct gate *gate = passage->gate;
    bool came = response->failure == NET_OK;
    struct blob *body;

    if (gate->ending) {
        over(passage);
        return;
    }
    passage->run.gone = !passage->exchange;
    if (!gate->events.answer(gate->events.arg, &passage->run,
                             came ? response->body : slice(NULL, 0)) ||
        !came || !passage->exchange) {
        refuse(passage);
        return;
    }
    body = blob_copy(response->body);
    assert_non_null(body);
    net_answer(passage->exchange, response->status, proto, 1, body);
    passage->exchange = NULL;
    blob_unref(body);
    assert_true(net_post(gate->loop, passed, passage));
}

static void pass(struct passage *passage, uint16_t port)
{
    const struct net_outgoing request = {.host = slice_str("127.0.0.1"),
                                         .port = port,
                                         .method = slice_str("POST"),
                                         .target = slice_str(RUN_PATH),
                                         .headers = proto,
                                         .header_count = 1,
                                         .body = passage->body,
                                         .done = on_answer,
                                         .arg = passage};
    struct net_call *call;

    assert_int_equal(net_client_send(passage->gate->client, &request, &call, NULL), 0);
}

static void next(struct gate *gate)
{
    struct list *node = gate->passing ? NULL : list_pop(&gate->waiting);
    uint16_t port;

    if (!node)
        return;
    gate->passing = LIST_ENTRY(node, struct passage, node);
    port = gate->events.request(gate->events.arg, &gate->passing->run);
    if (port)
        pass(gate->passing, port);
    else
        refuse(gate->passing);
}

static void read_run(struct slice body, struct gate_run *run)
{
    wire_run_request *request;
    struct arena arena;

    arena_init(&arena, (size_t)64 << 20);
    assert_int_equal(
        wire_unpack(&dispatch__sdk__v1__run_request__descriptor, body, &arena, &request, NULL), 0);
    snprintf(run->function, sizeof run->function, "%s", request->function);
    snprintf(run->id, sizeof run->id, "%s", request->dispatch_id);
    run->generation = request->generation;
    run->resume = request->resume;
    arena_reset(&arena);
}

static void on_request(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct gate *gate = arg;
    struct passage *passage = calloc(1, sizeof *passage);

    assert_non_null(passage);
    assert_true(slice_eq_str(request->path, RUN_PATH));
    passage->gate = gate;
    passage->exchange = exchange;
    passage->body = blob_copy(request->body);
    assert_non_null(passage->body);
    read_run(request->body, &passage->run);
    net_exchange_set(exchange, passage);
    list_append(&gate->waiting, &passage->node);
    next(gate);
}

static void on_gone(void *arg, struct net_exchange *exchange)
{
    struct passage *passage = net_exchange_get(exchange);

    passage->exchange = NULL;
    if (passage == ((struct gate *)arg)->passing)
        return;
    list_remove(&passage->node);
    blob_unref(passage->body);
    free(passage);
}

void gate_forget(struct gate *gate)
{
    while (list_pop(&gate->waiting) != NULL)
        ; /* each is freed when its exchange is found to be gone */
}

struct gate *gate_create(struct net_loop *loop, const struct gate_events *events)
{
    struct gate *gate = calloc(1, sizeof *gate);
    const struct net_server_options server = {
        .host = "127.0.0.1", .handle = on_request, .gone = on_gone, .arg = gate};
    const struct net_client_options client = {0};

    assert_non_null(gate);
    gate->loop = loop;
    gate->events = *events;
    list_init(&gate->waiting);
    assert_int_equal(net_server_create(&gate->server, loop, &server, NULL), 0);
    assert_int_equal(net_client_create(&gate->client, loop, &client, NULL), 0);
    return gate;
}

void gate_destroy(struct gate *gate)
{
    gate->ending = true;
    net_server_destroy(gate->server);
    net_client_destroy(gate->client);
    free(gate);
}

uint16_t gate_port(const struct gate *gate)
{
    return net_server_port(gate->server);
}
