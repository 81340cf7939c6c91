// SPDX-License-Identifier: Apache-2.0
/*
 * The functions of the examples, and a few more, in an application that dies when it is told to,
 * and writes down its effects. It serves on a port of its own, which it prints; then, for each
 * number that it reads, it will kill itself, as SIGKILL does, at that many points from then on (0:
 * never), and says "armed". A point is: before and after each await, each step and each effect.
 *
 * An effect is a line in the file that EFFECTS names: each call but a local one has one when it
 * succeeds, and so has each step. MAX_SUSPENDED is that of the endpoint. Built with VERSION 1 and
 * 2, it is a binary and its successor.
 *
 * With arguments it does not serve, but has the orchestrator inside: see coroutines_inside.c.
 */
#include <dispatch_sdk.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "coroutines_app.h"

int fan_out_main(int argc, char **argv);
int saga_main(int argc, char **argv);
int long_loop_main(int argc, char **argv);
int merge_sort_main(void);
int approval_main(int argc, char **argv);

static atomic_int points_left;
static int effects = -1;

void point(void)
{
    if (atomic_fetch_sub(&points_left, 1) == 1)
        raise(SIGKILL);
}

void arm(int points)
{
    atomic_store(&points_left, points);
}

static void effect(const char *name)
{
    char line[64];
    int size = snprintf(line, sizeof line, "%s\n", name);

    point();
    if (write(effects, line, (size_t)size) != size)
        abort();
    point();
}

/* --- what the functions call instead of the library ------------------------------------------- */

static struct dispatch_result ending(const char *function, struct dispatch_value output)
{
    effect(function);
    return dispatch_ok(output);
}

static struct dispatch_result calling(struct dispatch_ctx *ctx, const char *function,
                                      struct dispatch_value input)
{
    struct dispatch_result result;

    point();
    result = dispatch_call(ctx, function, input);
    point();
    return result;
}

static struct dispatch_task *starting(struct dispatch_ctx *ctx, const char *function,
                                      struct dispatch_value input)
{
    point();
    return dispatch_start(ctx, function, input);
}

static struct dispatch_task *starting_with(struct dispatch_ctx *ctx,
                                           const struct dispatch_call *call)
{
    point();
    return dispatch_start_with(ctx, call);
}

static const struct dispatch_error *joining(struct dispatch_ctx *ctx,
                                            struct dispatch_task *const *tasks, size_t count,
                                            struct dispatch_result *results)
{
    const struct dispatch_error *error;

    point();
    error = dispatch_all(ctx, tasks, count, results);
    point();
    return error;
}

static struct dispatch_result racing(struct dispatch_ctx *ctx, struct dispatch_task *const *tasks,
                                     size_t count, size_t *winner)
{
    struct dispatch_result result;

    point();
    result = dispatch_race(ctx, tasks, count, winner);
    point();
    return result;
}

static struct dispatch_result hoping(struct dispatch_ctx *ctx, struct dispatch_task *const *tasks,
                                     size_t count, size_t *winner)
{
    struct dispatch_result result;

    point();
    result = dispatch_any(ctx, tasks, count, winner);
    point();
    return result;
}

#undef dispatch_call
#undef dispatch_start
#undef dispatch_start_with
#undef dispatch_all
#undef dispatch_race
#undef dispatch_any
#define dispatch_ok(output)      ending(__func__, output)
#define dispatch_call(...)       calling(__VA_ARGS__)
#define dispatch_start(...)      starting(__VA_ARGS__)
#define dispatch_start_with(...) starting_with(__VA_ARGS__)
#define dispatch_all(...)        joining(__VA_ARGS__)
#define dispatch_race(...)       racing(__VA_ARGS__)
#define dispatch_any(...)        hoping(__VA_ARGS__)

/* --- the examples ----------------------------------------------------------------------------- */

#define main fan_out_main
#include "../../examples/fan_out.c"
#undef main
#define main saga_main
#include "../../examples/saga.c"
#undef main
#define main long_loop_main
#include "../../examples/long_loop.c"
#undef main
#define main merge_sort_main
#include "../../examples/merge_sort.c"
#undef main
#define main approval_main
#include "../../examples/approval.c"
#undef main

/* --- everything nested ------------------------------------------------------------------------ */

static int64_t number(struct dispatch_value value)
{
    int64_t n = -1;

    dispatch_as_int(value, &n);
    return n;
}

static struct dispatch_result doubles(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(dispatch_int(2 * number(input)));
}
DISPATCH_REGISTER(doubles);

static struct dispatch_result breaks(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Broken", "as ever");
}
DISPATCH_REGISTER(breaks);

/* Local coroutines: the effects are those of what they call. */
static struct dispatch_result hurries(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[2] = {dispatch_timer(ctx, 3600 * 1000),
                                      dispatch_start(ctx, "doubles", input)};

    return dispatch_race(ctx, tasks, 2, NULL);
}

static struct dispatch_result hopes(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[2] = {dispatch_start(ctx, "breaks", input),
                                      dispatch_spawn(ctx, hurries, input)};

    return dispatch_any(ctx, tasks, 2, NULL);
}

static struct dispatch_result settle(struct dispatch_ctx *ctx, void *arg)
{
    (void)ctx;
    return dispatch_ok(dispatch_int(*(int64_t *)arg + 1));
}

static struct dispatch_result remark(struct dispatch_ctx *ctx, void *arg)
{
    (void)ctx;
    return dispatch_ok(dispatch_int(*(int64_t *)arg * 10));
}

static struct dispatch_result nested(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[3] = {dispatch_spawn(ctx, hurries, input),
                                      dispatch_spawn(ctx, hopes, dispatch_int(number(input) + 1)),
                                      dispatch_start(ctx, "doubles", dispatch_int(100))};
    struct dispatch_result r[3], step;
    int64_t sum = 0;

    if (dispatch_all(ctx, tasks, 3, r))
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Nested", "one failed");
    for (int i = 0; i < 3; i++)
        sum += number(r[i].output);
    point();
    step = dispatch_step(ctx, "settle", settle, &sum);
    point();
    sum = number(step.output);
    step = dispatch_step_lazy(ctx, "remark", remark, &sum);
    point();
    dispatch_sleep(ctx, 1);
    point();
    return dispatch_ok(dispatch_int(number(step.output)));
}
DISPATCH_REGISTER(nested);

/* --- code that changes ------------------------------------------------------------------------ */

/* What completes the call from outside, when it is wanted. */
static struct dispatch_result word(struct dispatch_ctx *ctx, const char *key)
{
    struct dispatch_call ask = dispatch_to("word", dispatch_null());

    ask.endpoint = "event:";
    ask.key = key;
    return dispatch_call_with(ctx, &ask);
}

/* Its successor makes the awaits that an old journal has, and says other things. */
static struct dispatch_result grows(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *first, *second, *third = "";

    first = dispatch_as_string(dispatch_call(ctx, "book", dispatch_string("seat")).output, NULL);
#if VERSION == 2
    if (dispatch_patched(ctx, "meals"))
        third =
            dispatch_as_string(dispatch_call(ctx, "book", dispatch_string("meal")).output, NULL);
#endif
    word(ctx, dispatch_as_string(input, NULL));
    second = dispatch_as_string(dispatch_call(ctx, "book", dispatch_string("bag")).output, NULL);
    return dispatch_ok(dispatch_string(
        dispatch_printf(ctx, "version %d: %s %s%s", VERSION, first, second, third)));
}
DISPATCH_REGISTER(grows);

/* Its successor makes another await first. */
static struct dispatch_result turns(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *function = VERSION == 1 ? "book" : "cancel";
    const char *first, *second;

    first = dispatch_as_string(dispatch_call(ctx, function, dispatch_string("seat")).output, NULL);
    word(ctx, dispatch_as_string(input, NULL));
    second = dispatch_as_string(dispatch_call(ctx, "book", dispatch_string("bag")).output, NULL);
    return dispatch_ok(
        dispatch_string(dispatch_printf(ctx, "version %d: %s %s", VERSION, first, second)));
}
DISPATCH_REGISTER(turns);

/* --- serving ---------------------------------------------------------------------------------- */

static int serve(int32_t max_suspended)
{
    struct dispatch_endpoint_options options = {.workers = 1, .max_suspended = max_suspended};
    struct dispatch_failure failure = {0};
    struct dispatch_endpoint *endpoint;
    char line[32];

    if (dispatch_endpoint_create(&options, &endpoint, &failure) ||
        dispatch_endpoint_listen(endpoint, "127.0.0.1:0", &failure)) {
        fprintf(stderr, "coroutines_app: %s\n", failure.message);
        return 1;
    }
    printf("%u\n", dispatch_endpoint_port(endpoint));
    while (fgets(line, sizeof line, stdin)) {
        arm((int)strtol(line, NULL, 10));
        puts("armed");
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = getenv("EFFECTS"), *kept = getenv("MAX_SUSPENDED");
    int32_t max_suspended = kept ? (int32_t)strtol(kept, NULL, 10) : 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    effects = open(path ? path : "/dev/null", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (effects < 0)
        return 1;
    return argc > 1 ? inside(argc, argv, max_suspended) : serve(max_suspended);
}
