// SPDX-License-Identifier: Apache-2.0
/*
 * The functions of the benchmarks' application, served (app.c) and embedded (embedded.c):
 *
 *   noop     gives its input back
 *   steps    calls noop as often as its input says, one call after another
 *   fan      starts as many calls of noop as its input says, and waits for all
 *   sleeper  sleeps for ten hours
 */
#include <dispatch_sdk.h>

#include "workload.h"

#define CALLS_MAX 10000
#define SLEEP_MS  (10 * INT64_C(3600000))

static struct dispatch_result noop(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}
DISPATCH_REGISTER(noop);

static int64_t read_count(struct dispatch_value input)
{
    int64_t count;

    return dispatch_as_int(input, &count) && count >= 0 && count <= CALLS_MAX ? count : -1;
}

static struct dispatch_result refuse(struct dispatch_ctx *ctx)
{
    return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "Count",
                         "the input is not a number from 0 to %d", CALLS_MAX);
}

static struct dispatch_result steps(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t count = read_count(input);

    if (count < 0)
        return refuse(ctx);
    for (int64_t i = 0; i < count; i++) {
        struct dispatch_result step = dispatch_call(ctx, "noop", dispatch_string(PAYLOAD));

        if (step.error)
            return step;
    }
    return dispatch_ok(input);
}
DISPATCH_REGISTER(steps);

static struct dispatch_result fan(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t count = read_count(input);
    const struct dispatch_error *error;
    struct dispatch_task **tasks;

    if (count < 0)
        return refuse(ctx);
    tasks = dispatch_alloc(ctx, ((size_t)count + 1) * sizeof *tasks);
    for (int64_t i = 0; tasks && i < count; i++)
        tasks[i] = dispatch_start(ctx, "noop", dispatch_string(PAYLOAD));
    error = tasks ? dispatch_all(ctx, tasks, (size_t)count, NULL) : NULL;
    return error ? dispatch_fail_with(ctx, error) : dispatch_ok(input);
}
DISPATCH_REGISTER(fan);

static struct dispatch_result sleeper(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    dispatch_sleep(ctx, SLEEP_MS);
    return dispatch_ok(input);
}
DISPATCH_REGISTER(sleeper);
