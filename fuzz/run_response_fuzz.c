// SPDX-License-Identifier: Apache-2.0
/*
 * What an endpoint answers to a run: from the bytes (server/judge.h) to what the orchestrator makes
 * of it. Whatever they are, the engine's records stand, and the call and all that came of it can be
 * cancelled. The first byte chooses the HTTP status, and Lambda's way of answering.
 */
#include "base/id.h"
#include "fuzz.h"
#include "orchestrator/orchestrator.h"
#include "server/judge.h"
#include "server/lambda.h"

#define ARENA_MAX ((size_t)16 << 20)

enum { RUNS_MAX = 8 };

static int64_t now_ns = INT64_C(1700000000) * NS_PER_S;
static struct orchestrator *orchestrator;
static struct slice input;
static uint8_t choice;
static char id[ID_TEXT_LEN + 1];
static int told, runs;

static int64_t now(struct clock *clock)
{
    (void)clock;
    return now_ns;
}

static void answer(struct orchestrator_run *run)
{
    static const int statuses[] = {200, 200, 200, 204, 413, 429, 500, 503};
    const struct net_header type = {slice_str("content-type"), slice_str("application/proto")};
    struct net_response response = {
        .status = statuses[choice & 7], .headers = &type, .header_count = 1, .body = input};
    struct slice endpoint = slice_str("http://app");
    struct run_failure failure;
    wire_run_response *message;
    struct arena arena;

    arena_init(&arena, ARENA_MAX);
    if ((choice & 8 ? lambda_judge : judge_response)(&response, endpoint, &arena, &message,
                                                     &failure)) {
        orchestrator_run_answered(run, message);
    } else {
        require(failure.message && failure.message[0]);
        orchestrator_run_failed(run, &failure);
    }
    arena_reset(&arena);
}

/* The first ones are answered with the input; what comes of it then hangs until it is cancelled. */
static void run(struct invoker *invoker, struct orchestrator_run *run)
{
    (void)invoker;
    if (runs++ < RUNS_MAX)
        answer(run);
}

static void cancel(struct invoker *invoker, struct orchestrator_run *run)
{
    (void)invoker;
    orchestrator_run_gone(run);
}

static void step(void)
{
    for (int i = 0; i < 50 && orchestrator_step(orchestrator) <= now_ns; i++)
        ;
    orchestrator_check(orchestrator);
}

static void dispatched(void *arg, const struct error *error, const wire_dispatch_response *r)
{
    (void)arg;
    require(!error && r->n_dispatch_ids == 1);
    snprintf(id, sizeof id, "%s", r->dispatch_ids[0]);
}

static void cancelled(void *arg, const struct error *error)
{
    (void)arg;
    (void)error; /* it may be done */
    told++;
}

static void live(void)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};

    call.function = (char *)"f";
    call.endpoint = (char *)"http://app";
    request.calls = calls;
    request.n_calls = 1;
    step();
    orchestrator_dispatch(orchestrator, slice_str("acme"), &request, dispatched, NULL);
    step();
    now_ns += NS_PER_S; /* a retry, the end of a wait */
    step();
    orchestrator_drain(orchestrator);
    orchestrator_cancel(orchestrator, slice_str("acme"), slice_str(id), cancelled, NULL);
    step();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clock clock = {.now = now};
    struct invoker invoker = {.run = run, .cancel = cancel};
    struct orchestrator_options options = {
        .clock = &clock, .invoker = &invoker, .engine = {.seed = 1}};
    struct error err;

    if (size == 0 || size > 1 << 16)
        return 0;
    choice = data[0];
    input = slice(data + 1, size - 1);
    told = runs = 0;
    require(store_open(&options.store, "memory:", NULL, &err) == 0);
    require(orchestrator_create(&orchestrator, &options, &err) == 0);
    live();
    orchestrator_destroy(orchestrator);
    require(told == 1);
    return 0;
}
