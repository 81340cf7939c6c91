// SPDX-License-Identifier: Apache-2.0
/*
 * The paths that a call takes, each alone, for counting instructions (instructions.py):
 *
 *   bench-hot PATH COUNT    goes along it COUNT times; `all`: along each of them
 *   bench-hot               prints what it was made with, and the library it runs on
 *
 * All on one thread, so that two runs do the same. What a path needs first is done once, and so
 * falls out of the difference between two counts.
 */
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dispatch_sdk.h>

#include "engine/engine.h"
#include "measure.h"
#include "net/net.h"
#include "sdk/endpoint.h"
#include "store/store.h"
#include "wire/wire.h"
#include "workload.h"

enum { ROWS = 64, CALL_ROW = 100, DONE_ROW = 130 };

static struct error error;
static struct dispatch_failure failure;

static void must(int code)
{
    if (code)
        die("%s", error.message);
}

static void must_sdk(int code)
{
    if (code)
        die("%s", failure.message);
}

static struct blob *payload(void)
{
    struct blob *blob = blob_copy(slice_str(PAYLOAD));

    if (!blob)
        die("out of memory");
    return blob;
}

/* --- engine: a call dispatched, run, answered, and both committed to the memory store --------- */

static void commit(struct engine *engine, struct store *store, uint64_t epoch, int64_t now)
{
    const struct batch *batch = engine_batch(engine);

    if (!batch)
        return;
    must(store_commit(store, 0, epoch, batch, &error));
    engine_committed(engine, now);
}

static void one_call(struct engine *engine, struct store *store, uint64_t epoch, int64_t now)
{
    struct blob *input = payload();
    struct engine_spec spec = {.function = slice_str("noop"),
                               .endpoint = slice_str("http://localhost:8000"),
                               .input = input};
    struct engine_effect effect;
    bool done = false;
    uint64_t id;

    must(engine_dispatch(engine, now, slice_str("default"), &spec, 1, NULL, &id, &error));
    while (!done) {
        commit(engine, store, epoch, now);
        while (engine_effect(engine, &effect)) {
            struct engine_answer answer = {.call = effect.call,
                                           .generation = effect.generation,
                                           .attempt = effect.attempt,
                                           .group = effect.group,
                                           .outcome = ENGINE_EXIT,
                                           .status = STATUS_OK,
                                           .output = input};

            if (effect.kind == ENGINE_RUN)
                engine_answer(engine, now, &answer);
            done = done || effect.kind == ENGINE_DONE;
        }
    }
    blob_unref(input);
}

static void path_engine(long count)
{
    struct engine_config config = {.seed = 1, .incarnation = 1};
    struct engine *engine;
    struct store *store;
    uint64_t epoch;

    must(store_open(&store, "memory:", &(struct store_options){0}, &error));
    must(store_fence(store, 0, 0, &epoch, &error));
    must(engine_create(&engine, &config, &error));
    for (long i = 0; i < count; i++)
        one_call(engine, store, epoch, NS_PER_S + i);
    engine_destroy(engine);
    store_close(store);
}

/* --- sqlite: a batch in which 64 calls begin and 64 earlier ones end ---------------------------
 */

static void fill_batch(struct batch *batch, uint64_t first)
{
    static const char bytes[DONE_ROW];
    bool fine = true;

    batch_reset(batch);
    for (uint64_t key = first; key < first + ROWS; key++)
        fine = fine && batch_put(batch, TABLE_CALL, key, 0, slice(bytes, CALL_ROW)) &&
               batch_put(batch, TABLE_PAYLOAD, key, PAYLOAD_INPUT, slice_str(PAYLOAD));
    for (uint64_t key = first - ROWS; key < first && first > ROWS; key++)
        fine = fine && batch_delete(batch, TABLE_CALL, key, 0) &&
               batch_put(batch, TABLE_DONE, key, 0, slice(bytes, DONE_ROW));
    if (!fine)
        die("out of memory");
}

static void path_sqlite(long count)
{
    char directory[] = "/tmp/bench-hot-XXXXXX", url[64], path[64];
    static const char *const names[] = {"db", "db-wal", "db-shm", "db.lock"};
    struct store *store;
    struct batch batch;
    uint64_t epoch;

    if (!mkdtemp(directory))
        die("no directory can be made in /tmp");
    snprintf(url, sizeof url, "sqlite:%s/db", directory);
    must(store_open(&store, url, &(struct store_options){0}, &error));
    must(store_fence(store, 0, 0, &epoch, &error));
    batch_init(&batch);
    for (long i = 0; i < count; i++) {
        fill_batch(&batch, 1 + ROWS * (uint64_t)i);
        must(store_commit(store, 0, epoch, &batch, &error));
        store_upkeep(store);
    }
    batch_free(&batch);
    store_close(store);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

/* --- wire: a Run request packed, and unpacked again --------------------------------------------
 */

static void one_message(struct arena *arena)
{
    wire_run_request request = DISPATCH__SDK__V1__RUN_REQUEST__INIT, *read;
    wire_timestamp created = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    struct value value = {.kind = VALUE_STRING, .bytes = slice_str(PAYLOAD)};
    char function[] = "noop", id[] = "0123456789abcdef01234567", none[] = "";
    struct buf packed;

    buf_init(&packed, 1 << 20);
    created.seconds = 1700000000;
    request.function = function;
    request.dispatch_id = request.root_dispatch_id = id;
    request.parent_dispatch_id = none;
    request.creation_time = request.expiration_time = request.now = &created;
    request.directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT;
    request.input = wire_any_from_value(&value, arena);
    if (!request.input)
        die("out of memory");
    wire_pack(&request, &packed);
    if (packed.failed)
        die("out of memory");
    must(wire_unpack(&dispatch__sdk__v1__run_request__descriptor, buf_slice(&packed), arena, &read,
                     &error));
    buf_free(&packed);
    arena_rewind(arena);
}

static void path_wire(long count)
{
    struct arena arena;

    arena_init(&arena, 1 << 20);
    for (long i = 0; i < count; i++)
        one_message(&arena);
    arena_reset(&arena);
}

/* --- http2: a request and its answer, client and server ----------------------------------------
 */

struct talk {
    struct net_loop *loop;
    struct net_server *server;
    struct net_client *client;
    struct blob *body;
    long left;
};

static void ask(struct talk *talk);

static void answer(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct talk *talk = arg;
    const struct net_header type = {slice_str("content-type"), slice_str("application/proto")};

    if (!request->http2)
        die("not over HTTP/2");
    net_answer(exchange, 200, &type, 1, talk->body);
}

static void answered(void *arg, const struct net_response *response)
{
    struct talk *talk = arg;

    if (response->failure || response->status != 200)
        die("no answer");
    if (--talk->left > 0)
        ask(talk);
    else
        net_loop_stop(talk->loop);
}

static void ask(struct talk *talk)
{
    const struct net_header type = {slice_str("content-type"), slice_str("application/proto")};
    struct net_outgoing request = {.host = slice_str("127.0.0.1"),
                                   .port = net_server_port(talk->server),
                                   .http2 = true,
                                   .method = slice_str("POST"),
                                   .target = slice_str("/dispatch.sdk.v1.FunctionService/Run"),
                                   .headers = &type,
                                   .header_count = 1,
                                   .body = talk->body,
                                   .done = answered,
                                   .arg = talk};
    struct net_call *call;

    must(net_client_send(talk->client, &request, &call, &error));
}

static void path_http2(long count)
{
    struct talk talk = {.left = count, .body = payload()};
    struct net_server_options options = {
        .host = "127.0.0.1", .advertise_h2c = true, .handle = answer, .arg = &talk};

    must(net_loop_create(&talk.loop, &error));
    must(net_server_create(&talk.server, talk.loop, &options, &error));
    must(net_client_create(&talk.client, talk.loop, &(struct net_client_options){0}, &error));
    ask(&talk);
    net_loop_run(talk.loop);
    net_client_destroy(talk.client);
    net_server_destroy(talk.server);
    net_loop_destroy(talk.loop);
    blob_unref(talk.body);
}

/* --- run: an endpoint that runs a function, bytes in, bytes out --------------------------------
 */

static void replied(void *arg, const struct dispatch_reply *reply)
{
    if (reply->http_status != 200)
        die("a run was answered with HTTP status %d", reply->http_status);
    ++*(long *)arg;
}

static void path_run(long count)
{
    struct dispatch_run_request request = {.function = "noop",
                                           .dispatch_id = "0123456789abcdef01234567",
                                           .root_dispatch_id = "0123456789abcdef01234567",
                                           .creation_time_ns = 1700000000 * NS_PER_S,
                                           .now_ns = 1700000000 * NS_PER_S,
                                           .generation = 1,
                                           .input = dispatch_string(PAYLOAD)};
    struct dispatch_endpoint *endpoint;
    long replies = 0;
    void *bytes;
    size_t size;

    must_sdk(dispatch_run_request_pack(&request, &bytes, &size, &failure));
    must_sdk(sdk_endpoint_create_threadless(NULL, &endpoint, &failure));
    for (long i = 0; i < count; i++) {
        dispatch_endpoint_handle(endpoint, bytes, size, replied, &replies);
        sdk_endpoint_work(endpoint);
    }
    if (replies != count)
        die("%ld replies to %ld runs", replies, count);
    dispatch_endpoint_destroy(endpoint);
    dispatch_bytes_free(bytes);
}

/* --- call, await: all of it, embedded, on the memory store -------------------------------------
 */

static struct dispatch_embedded *embed(void)
{
    struct dispatch_embedded_options options = {
        .store = "memory:", .program = "bench", .own_loop = true, .run_in_step = true};
    struct dispatch_embedded *embedded;

    must_sdk(dispatch_embedded_open(&options, &embedded, &failure));
    return embedded;
}

static void call_embedded(const char *function, struct dispatch_value input)
{
    struct dispatch_result result = dispatch_call(NULL, function, input);

    if (result.error)
        die("%s", result.error->message);
    dispatch_result_free(&result);
}

static void path_call(long count)
{
    struct dispatch_embedded *embedded = embed();

    for (long i = 0; i < count; i++)
        call_embedded("noop", dispatch_string(PAYLOAD));
    dispatch_embedded_close(embedded);
}

/* Each await is a call of noop, a poll and a resume. `each`: how many a coroutine makes, as what an
 * await takes depends on how long its journal has become. */
static void awaits(long count, long each)
{
    struct dispatch_embedded *embedded = embed();

    for (; count > 0; count -= each)
        call_embedded("steps", dispatch_int(count < each ? count : each));
    dispatch_embedded_close(embedded);
}

static void path_await(long count)
{
    awaits(count, 100);
}

static void path_await_long(long count)
{
    awaits(count, 1000);
}

/* A task that is started, and joined with 999 others. */
static void path_fan(long count)
{
    struct dispatch_embedded *embedded = embed();

    for (; count > 0; count -= 1000)
        call_embedded("fan", dispatch_int(count < 1000 ? count : 1000));
    dispatch_embedded_close(embedded);
}

/* --------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*go)(long count);
    } paths[] = {{"engine", path_engine}, {"sqlite", path_sqlite},
                 {"wire", path_wire},     {"http2", path_http2},
                 {"run", path_run},       {"call", path_call},
                 {"await", path_await},   {"await-long", path_await_long},
                 {"fan", path_fan}};
    long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    bool gone = false;

    if (argc == 1)
        printf("compiler %s, glibc %s\n", __VERSION__, gnu_get_libc_version());
    for (size_t i = 0; i < sizeof paths / sizeof *paths && count > 0; i++)
        if (strcmp(argv[1], "all") == 0 || strcmp(argv[1], paths[i].name) == 0) {
            paths[i].go(count);
            gone = true;
        }
    if (argc > 1 && !gone)
        die("usage: bench-hot [PATH COUNT]");
    return 0;
}
