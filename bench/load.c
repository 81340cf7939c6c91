// SPDX-License-Identifier: Apache-2.0
/*
 * The load of the benchmarks over HTTP, and the measuring of one run of a workload (workload.h).
 *
 * Requests are made once and sent again and again, so that the load takes little of the processors.
 * One line of JSON on stdout tells the outcome.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/net.h"
#include "wire/wire.h"
#include "workload.h"

#define DRAIN_MS 100 /* between questions to a server whether it is done */

struct load;

struct slot { /* a request under way */
    struct load *load;
    int64_t began, sent;
};

struct load {
    struct settings settings;
    struct net_loop *loop;
    struct net_client *client;
    struct net_timer *look;
    struct net_url api, drain;
    struct blob *body, *drain_body;
    struct watch *watch; /* NULL: there is no store to look into */
    struct slot *slots;
    long requests, sent, answered;
    struct samples latencies, dispatches;
};

static struct error error;

static void must(int code, const char *what)
{
    if (code)
        die("%s: %s", what, error.message);
}

/* --- requests -------------------------------------------------------------------------------- */

static struct blob *make_body(const struct settings *s)
{
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, **calls;
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    struct value value = {.kind = VALUE_STRING, .bytes = slice_str(PAYLOAD)};
    Dispatch__V1__CallRequest one = DISPATCH__V1__CALL_REQUEST__INIT;
    struct arena arena;
    struct blob *body;

    if (s->workload == POST) {
        body = blob_copy(slice_str(s->body));
        if (!body)
            die("out of memory");
        return body;
    }
    if (s->input >= 0)
        value = (struct value){.kind = VALUE_INT, .integer = s->input};
    arena_init(&arena, 1 << 20);
    calls = arena_zalloc(&arena, (size_t)s->batch, sizeof(wire_call *));
    call.endpoint = arena_dup(&arena, slice_str(s->endpoint));
    call.function = arena_dup(&arena, slice_str(s->function));
    call.input = wire_any_from_value(&value, &arena);
    if (!calls || !call.endpoint || !call.function || !call.input)
        die("out of memory");
    for (long i = 0; i < s->batch; i++)
        calls[i] = &call;
    request.n_calls = (size_t)s->batch;
    request.calls = calls;
    one.call = &call;
    body = s->workload == CALL ? wire_pack_blob(&one) : wire_pack_blob(&request);
    if (!body)
        die("out of memory");
    arena_reset(&arena);
    return body;
}

static void post(struct load *l, const char *path, struct blob *body, struct slot *slot,
                 void (*done)(void *arg, const struct net_response *response))
{
    bool json = l->settings.workload == POST;
    struct net_header type = {slice_str("content-type"),
                              slice_str(json ? "application/json" : "application/proto")};
    struct net_outgoing request = {.host = l->api.host,
                                   .port = l->api.port,
                                   .method = slice_str("POST"),
                                   .target = slice_str(path),
                                   .headers = &type,
                                   .header_count = 1,
                                   .body = body,
                                   .timeout_ms = 120000,
                                   .done = done,
                                   .arg = slot};
    struct net_call *call;

    slot->sent = measure_now_ns();
    must(net_client_send(l->client, &request, &call, &error), path);
}

static void check(const char *what, const struct net_response *response)
{
    if (response->failure)
        die("%s: %s", what, response->message);
    if (response->status != 200 && response->status != 202)
        die("%s: HTTP status %d: %.*s", what, response->status, SLICE_FMT(response->body));
}

static void dispatched(void *arg, const struct net_response *response);
static void called(void *arg, const struct net_response *response);
static void posted(void *arg, const struct net_response *response);

static void send_first(struct load *l, struct slot *slot)
{
    l->sent++;
    if (l->settings.workload == POST)
        post(l, l->settings.path, l->body, slot, posted);
    else if (l->settings.workload == CALL)
        post(l, "/dispatch.v1.CallService/Call", l->body, slot, called);
    else
        post(l, "/dispatch.sdk.v1.DispatchService/Dispatch", l->body, slot, dispatched);
    slot->began = slot->sent;
}

/* The request of the slot has all its answers. */
static void answered(struct slot *slot)
{
    struct load *l = slot->load;

    l->answered++;
    if (l->sent < l->requests)
        send_first(l, slot);
    else if (l->answered == l->requests)
        net_timer_set(l->look, 0);
}

/* The result of a call has come. */
static void returned(struct slot *slot, const Dispatch__V1__CallInfo *call)
{
    if (!call || call->status != DISPATCH__SDK__V1__STATUS__STATUS_OK)
        die("a call did not end with OK");
    samples_add(&slot->load->latencies, measure_now_ns() - slot->began);
    answered(slot);
}

static void posted(void *arg, const struct net_response *response)
{
    struct slot *slot = arg;

    check(slot->load->settings.path, response);
    samples_add(&slot->load->latencies, measure_now_ns() - slot->began);
    answered(slot);
}

static void waited(void *arg, const struct net_response *response)
{
    Dispatch__V1__WaitResponse *message;
    struct arena arena;

    check("Wait", response);
    arena_init(&arena, 1 << 20);
    must(wire_unpack(&dispatch__v1__wait_response__descriptor, response->body, &arena, &message,
                     &error),
         "WaitResponse");
    returned(arg, message->call);
    arena_reset(&arena);
}

static void called(void *arg, const struct net_response *response)
{
    Dispatch__V1__CallResponse *message;
    struct arena arena;

    check("Call", response);
    arena_init(&arena, 1 << 20);
    must(wire_unpack(&dispatch__v1__call_response__descriptor, response->body, &arena, &message,
                     &error),
         "CallResponse");
    returned(arg, message->call);
    arena_reset(&arena);
}

static void send_wait(struct load *l, struct slot *slot, struct slice dispatch_response)
{
    Dispatch__V1__WaitRequest request = DISPATCH__V1__WAIT_REQUEST__INIT;
    wire_dispatch_response *message;
    struct arena arena;
    struct blob *body;

    arena_init(&arena, 1 << 20);
    must(wire_unpack(&dispatch__sdk__v1__dispatch_response__descriptor, dispatch_response, &arena,
                     &message, &error),
         "DispatchResponse");
    if (message->n_dispatch_ids != 1)
        die("%zu ids for one call", message->n_dispatch_ids);
    request.dispatch_id = message->dispatch_ids[0];
    body = wire_pack_blob(&request);
    if (!body)
        die("out of memory");
    post(l, "/dispatch.v1.CallService/Wait", body, slot, waited);
    blob_unref(body);
    arena_reset(&arena);
}

static void dispatched(void *arg, const struct net_response *response)
{
    struct slot *slot = arg;
    struct load *l = slot->load;

    check("Dispatch", response);
    samples_add(&l->dispatches, measure_now_ns() - slot->sent);
    if (l->settings.workload == LATENCY)
        send_wait(l, slot, response->body);
    else
        answered(slot);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void drain_answered(void *arg, const struct net_response *response)
{
    struct load *l = arg;

    check(l->settings.drain_url, response);
    if (slice_eq_str(response->body, l->settings.drained))
        net_loop_stop(l->loop);
    else
        net_timer_set(l->look, DRAIN_MS);
}

static void ask(struct load *l)
{
    static const struct net_header headers[] = {{{"content-type", 12}, {"application/json", 16}},
                                                {{"accept", 6}, {"application/json", 16}}};
    struct net_outgoing request = {.host = l->drain.host,
                                   .port = l->drain.port,
                                   .method = slice_str("POST"),
                                   .target = l->drain.path,
                                   .headers = headers,
                                   .header_count = 2,
                                   .body = l->drain_body,
                                   .timeout_ms = 120000,
                                   .done = drain_answered,
                                   .arg = l};
    struct net_call *call;

    must(net_client_send(l->client, &request, &call, &error), l->settings.drain_url);
}

/* All requests are answered. */
static void look(void *arg)
{
    struct load *l = arg;

    if (l->settings.drain_url)
        ask(l);
    else if (!l->watch || watch_over(l->watch))
        net_loop_stop(l->loop);
    else
        net_timer_set(l->look, WATCH_MS);
}

/* --- a run ----------------------------------------------------------------------------------- */

static void run(struct load *l)
{
    long under_way = l->settings.connections;
    struct usage before, after;

    l->slots = calloc((size_t)under_way, sizeof *l->slots);
    if (!l->slots)
        die("out of memory");
    samples_init(&l->latencies, (size_t)l->requests);
    samples_init(&l->dispatches, (size_t)l->requests);
    if (l->settings.store && !settings_alone(&l->settings))
        l->watch = watch_create(&l->settings);
    before = usage_now(&l->settings);
    for (long i = 0; i < under_way && l->sent < l->requests; i++) {
        l->slots[i].load = l;
        send_first(l, &l->slots[i]);
    }
    net_loop_run(l->loop);
    after = usage_now(&l->settings);
    if (l->watch)
        watch_check(l->watch);
    report(&l->settings, &before, &after, l->latencies.count ? &l->latencies : &l->dispatches);
}

static void parse_urls(struct load *l)
{
    must(net_url_parse(slice_str(l->settings.api), &l->api, &error), l->settings.api);
    if (!l->settings.drain_url)
        return;
    must(net_url_parse(slice_str(l->settings.drain_url), &l->drain, &error), l->settings.drain_url);
    l->drain_body = blob_copy(slice_str(l->settings.drain_body));
    if (!l->drain_body)
        die("out of memory");
}

int main(int argc, char **argv)
{
    struct load l = {0};

    settings_read(&l.settings, argc, argv);
    if (!l.settings.api || (l.settings.workload != POST && !l.settings.endpoint))
        die("--api and --endpoint are required");
    l.requests = settings_requests(&l.settings);
    l.body = make_body(&l.settings);
    parse_urls(&l);
    must(net_loop_create(&l.loop, &error), "event loop");
    must(net_client_create(&l.client, l.loop, &(struct net_client_options){0}, &error), "client");
    l.look = net_timer_create(l.loop, look, &l);
    if (!l.look)
        die("out of memory");
    run(&l);
    net_timer_destroy(l.look);
    net_client_destroy(l.client);
    net_loop_destroy(l.loop);
    if (l.watch)
        watch_destroy(l.watch);
    samples_free(&l.latencies);
    samples_free(&l.dispatches);
    free(l.slots);
    blob_unref(l.body);
    blob_unref(l.drain_body);
    return 0;
}
