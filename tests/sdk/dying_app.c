// SPDX-License-Identifier: Apache-2.0
/*
 * The functions of the examples, in an application that dies: dying_app serve N kills itself, as
 * SIGKILL does, at the Nth await that it makes, replayed ones included (0: never). And
 * dying_app call FUNCTION INPUT dispatches and waits, serving nothing.
 */
#include <dispatch_sdk.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fan_out_main(int argc, char **argv);
int saga_main(int argc, char **argv);
int long_loop_main(int argc, char **argv);
int merge_sort_main(void);

static atomic_int awaits_left;

static struct dispatch_ctx *await_here(struct dispatch_ctx *ctx)
{
    if (atomic_fetch_sub(&awaits_left, 1) == 1)
        raise(SIGKILL);
    return ctx;
}

/* Dies when the await is made, before anybody has heard of it. */
#undef dispatch_call
#undef dispatch_all
#define dispatch_call(ctx, ...) dispatch_call(await_here(ctx), __VA_ARGS__)
#define dispatch_all(ctx, ...)  dispatch_all(await_here(ctx), __VA_ARGS__)

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

static int call(const char *function, const char *input)
{
    struct dispatch_value value = dispatch_string(input);
    struct dispatch_result result;
    int64_t number;
    char *end;

    number = strtoll(input, &end, 10);
    if (*end == '\0')
        value = dispatch_int(number);
    result = dispatch_call(NULL, function, value);
    if (result.error)
        printf("%s: %s\n", result.error->type, result.error->message);
    else if (dispatch_as_int(result.output, &number))
        printf("%lld\n", (long long)number);
    else
        puts(dispatch_as_string(result.output, NULL));
    dispatch_result_free(&result);
    return 0;
}

int main(int argc, char **argv)
{
    struct dispatch_failure failure = {0};

    if (argc == 4 && strcmp(argv[1], "call") == 0)
        return call(argv[2], argv[3]);
    if (argc != 3 || strcmp(argv[1], "serve") != 0)
        return 2;
    atomic_store(&awaits_left, (int)strtol(argv[2], NULL, 10));
    dispatch_serve(NULL, &failure);
    fprintf(stderr, "dying_app: %s\n", failure.message);
    return 1;
}
