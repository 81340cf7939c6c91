// SPDX-License-Identifier: Apache-2.0
/*
 * The load of the benchmarks, and the measuring of one run of a workload:
 *
 *   batched   requests of `--batch` calls, `--connections` of them under way
 *   single    requests of one call, `--connections` of them under way
 *   latency   one call under way: a Dispatch, then a Wait for its result
 *   call      one call under way: a Call, which is both in one request
 *
 * When is a call over? When its completion is recorded. So the first two end when the store itself,
 * read with a handle of our own beside the server's, holds no live call: what a reader sees has
 * been synced, by the rules of SQLite's WAL with synchronous=FULL. It is looked at (one lookup in
 * an empty table) every 2 ms, from when the last Dispatch was answered. Afterwards, outside of the
 * time measured, the finished calls are counted. This asks nothing of the server, where waiting for
 * each call would make it do a second request a call.
 *
 * Requests are made once and sent again and again, so that the load takes little of the processors.
 * One line of JSON on stdout tells the outcome.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "measure.h"
#include "net/net.h"
#include "store/store.h"
#include "wire/wire.h"

#define LOOK_MS      2
#define CONNECTS_MAX 1024
#define BATCH_MAX    10000
#define CALLS_MAX    10000000
#define PAYLOAD      "0123456789abcdef0123456789abcdef"

enum workload { BATCHED, SINGLE, LATENCY, CALL };

struct settings {
    enum workload workload;
    const char *api, *endpoint, *store;
    long calls, batch, connections;
    pid_t server, application;
    const char *syncs;
};

/* What has been used so far. */
struct usage {
    int64_t at, server_cpu, application_cpu, load_cpu, written;
    uint64_t syncs;
};

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
    struct net_url api;
    struct blob *body;
    struct store *store;
    const volatile uint64_t *syncs; /* of the server; NULL: not counted */
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

/* --- what is used ---------------------------------------------------------------------------- */

static struct usage usage_now(const struct load *l)
{
    return (struct usage){.at = measure_now_ns(),
                          .server_cpu = measure_cpu_ns(l->settings.server),
                          .application_cpu = measure_cpu_ns(l->settings.application),
                          .load_cpu = measure_cpu_ns(getpid()),
                          .written = measure_written_bytes(l->settings.server),
                          .syncs = l->syncs ? *l->syncs : 0};
}

static void map_syncs(struct load *l)
{
    int fd = l->settings.syncs ? open(l->settings.syncs, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped;

    if (fd < 0)
        return;
    mapped = mmap(NULL, sizeof *l->syncs, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        l->syncs = mapped;
    close(fd);
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

    arena_init(&arena, 1 << 20);
    calls = arena_zalloc(&arena, (size_t)s->batch, sizeof(wire_call *));
    call.endpoint = arena_dup(&arena, slice_str(s->endpoint));
    call.function = arena_dup(&arena, slice_str("noop"));
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
    static const struct net_header headers[] = {{{"content-type", 12}, {"application/proto", 17}}};
    struct net_outgoing request = {.host = l->api.host,
                                   .port = l->api.port,
                                   .method = slice_str("POST"),
                                   .target = slice_str(path),
                                   .headers = headers,
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
    if (response->status != 200)
        die("%s: HTTP status %d: %.*s", what, response->status, SLICE_FMT(response->body));
}

static void dispatched(void *arg, const struct net_response *response);
static void called(void *arg, const struct net_response *response);

static void send_first(struct load *l, struct slot *slot)
{
    l->sent++;
    if (l->settings.workload == CALL)
        post(l, "/dispatch.v1.CallService/Call", l->body, slot, called);
    else
        post(l, "/dispatch.sdk.v1.DispatchService/Dispatch", l->body, slot, dispatched);
    slot->began = slot->sent;
}

/* The result of the one call under way has come. */
static void returned(struct slot *slot, const Dispatch__V1__CallInfo *call)
{
    struct load *l = slot->load;

    if (!call || call->status != DISPATCH__SDK__V1__STATUS__STATUS_OK)
        die("a call did not end with OK");
    samples_add(&l->latencies, measure_now_ns() - slot->began);
    l->answered++;
    if (l->answered == l->requests)
        net_loop_stop(l->loop);
    else
        send_first(l, slot);
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
    if (l->settings.workload == LATENCY) {
        send_wait(l, slot, response->body);
        return;
    }
    l->answered++;
    if (l->sent < l->requests)
        send_first(l, slot);
    else if (l->answered == l->requests)
        net_timer_set(l->look, 0);
}

/* --- the store ------------------------------------------------------------------------------- */

static int count_row(void *arg, const struct store_row *row)
{
    (void)row;
    ++*(long *)arg;
    return 0;
}

static long count_rows(struct load *l, enum table table, size_t limit)
{
    struct store_range range = {
        .table = table, .to_key = KEY_MAX, .to_sub = SUB_MAX, .limit = limit};
    long count = 0;

    must(store_walk(l->store, 0, &range, count_row, &count, &error), l->settings.store);
    return count;
}

static void look(void *arg)
{
    struct load *l = arg;

    if (count_rows(l, TABLE_CALL, 1) == 0)
        net_loop_stop(l->loop);
    else
        net_timer_set(l->look, LOOK_MS);
}

/* --- a run ----------------------------------------------------------------------------------- */

static void report(struct load *l, const struct usage *a, const struct usage *b)
{
    double calls = (double)(l->requests * l->settings.batch);
    double seconds = (double)(b->at - a->at) / 1e9;
    struct samples *s = l->latencies.count ? &l->latencies : &l->dispatches;
    double p50 = samples_percentile_us(s, 50), p99 = samples_percentile_us(s, 99);

    printf("{\"calls\": %.0f, \"seconds\": %.4f, \"calls_per_s\": %.1f, \"server_us\": %.2f, "
           "\"application_us\": %.2f, \"load_us\": %.2f, \"p50_us\": %.1f, \"p99_us\": %.1f",
           calls, seconds, calls / seconds, (double)(b->server_cpu - a->server_cpu) / 1000 / calls,
           (double)(b->application_cpu - a->application_cpu) / 1000 / calls,
           (double)(b->load_cpu - a->load_cpu) / 1000 / calls, p50, p99);
    if (a->written >= 0)
        printf(", \"written_bytes\": %.1f", (double)(b->written - a->written) / calls);
    if (l->syncs)
        printf(", \"syncs\": %.5f", (double)(b->syncs - a->syncs) / calls);
    puts("}");
}

static void run(struct load *l)
{
    long under_way = l->settings.connections;
    bool alone = l->settings.workload == LATENCY || l->settings.workload == CALL;
    long calls = alone ? 0 : l->requests * l->settings.batch;
    struct usage before, after;

    l->slots = calloc((size_t)under_way, sizeof *l->slots);
    if (!l->slots)
        die("out of memory");
    samples_init(&l->latencies, (size_t)l->requests);
    samples_init(&l->dispatches, (size_t)l->requests);
    if (count_rows(l, TABLE_CALL, 1) || count_rows(l, TABLE_DONE, 1))
        die("%s is not new", l->settings.store);
    before = usage_now(l);
    for (long i = 0; i < under_way && l->sent < l->requests; i++) {
        l->slots[i].load = l;
        send_first(l, &l->slots[i]);
    }
    net_loop_run(l->loop);
    after = usage_now(l);
    if (calls && count_rows(l, TABLE_DONE, 0) != calls)
        die("%ld calls were dispatched, %ld are recorded as done", calls,
            count_rows(l, TABLE_DONE, 0));
    report(l, &before, &after);
}

/* --- options --------------------------------------------------------------------------------- */

static long read_number(const char *name, const char *text, long max)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (end == text || *end || n < 1 || n > max)
        die("--%s %s: a number from 1 to %ld", name, text, max);
    return n;
}

static enum workload read_workload(const char *text)
{
    if (strcmp(text, "batched") == 0)
        return BATCHED;
    if (strcmp(text, "single") == 0)
        return SINGLE;
    if (strcmp(text, "latency") == 0)
        return LATENCY;
    if (strcmp(text, "call") == 0)
        return CALL;
    die("--workload %s: it is batched, single, latency or call", text);
}

static struct settings read_settings(int argc, char **argv)
{
    static const struct option options[] = {{"workload", 1, NULL, 'w'},
                                            {"api", 1, NULL, 'a'},
                                            {"endpoint", 1, NULL, 'e'},
                                            {"store", 1, NULL, 's'},
                                            {"calls", 1, NULL, 'n'},
                                            {"batch", 1, NULL, 'b'},
                                            {"syncs", 1, NULL, 'y'},
                                            {"connections", 1, NULL, 'c'},
                                            {"server", 1, NULL, 'p'},
                                            {"application", 1, NULL, 'q'},
                                            {0}};
    struct settings s = {.calls = 20000, .batch = 1, .connections = 1};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'w':
            s.workload = read_workload(optarg);
            break;
        case 'a':
            s.api = optarg;
            break;
        case 'e':
            s.endpoint = optarg;
            break;
        case 's':
            s.store = optarg;
            break;
        case 'y':
            s.syncs = optarg;
            break;
        case 'n':
            s.calls = read_number("calls", optarg, CALLS_MAX);
            break;
        case 'b':
            s.batch = read_number("batch", optarg, BATCH_MAX);
            break;
        case 'c':
            s.connections = read_number("connections", optarg, CONNECTS_MAX);
            break;
        case 'p':
            s.server = (pid_t)read_number("server", optarg, INT32_MAX);
            break;
        case 'q':
            s.application = (pid_t)read_number("application", optarg, INT32_MAX);
            break;
        default:
            exit(2);
        }
    }
    if (!s.api || !s.endpoint || !s.store || !s.server || !s.application)
        die("--api, --endpoint, --store, --server and --application are required");
    return s;
}

int main(int argc, char **argv)
{
    struct load l = {.settings = read_settings(argc, argv)};

    l.requests = (l.settings.calls + l.settings.batch - 1) / l.settings.batch;
    l.body = make_body(&l.settings);
    map_syncs(&l);
    must(net_url_parse(slice_str(l.settings.api), &l.api, &error), l.settings.api);
    must(store_open(&l.store, l.settings.store, &(struct store_options){.read_only = true}, &error),
         l.settings.store);
    must(net_loop_create(&l.loop, &error), "event loop");
    must(net_client_create(&l.client, l.loop, &(struct net_client_options){0}, &error), "client");
    l.look = net_timer_create(l.loop, look, &l);
    if (!l.look)
        die("out of memory");
    run(&l);
    net_timer_destroy(l.look);
    net_client_destroy(l.client);
    net_loop_destroy(l.loop);
    store_close(l.store);
    samples_free(&l.latencies);
    samples_free(&l.dispatches);
    free(l.slots);
    blob_unref(l.body);
    return 0;
}
