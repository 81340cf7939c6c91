// SPDX-License-Identifier: Apache-2.0
/*
 * An endpoint of the C SDK for the original's test service to drive: writes its URL to stdout, and
 * serves until stdin ends. The test service delivers each call to the URL that the call names, so
 * that calls of functions have to name one, too.
 */
#include <dispatch_sdk.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static char url[64];

static struct dispatch_task *start(struct dispatch_ctx *ctx, const char *function, int64_t input)
{
    struct dispatch_call call = dispatch_to(function, dispatch_int(input));

    call.endpoint = url;
    return dispatch_start_with(ctx, &call);
}

static struct dispatch_result echo(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}
DISPATCH_REGISTER(echo);

static struct dispatch_result refuse(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    return dispatch_fail(ctx, DISPATCH_PERMISSION_DENIED, "Refused", "not for %s", "you");
}
DISPATCH_REGISTER(refuse);

/* Fails for a passing reason at its first run in this process. */
static struct dispatch_result flaky(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    static atomic_int runs;
    int run = atomic_fetch_add(&runs, 1) + 1;

    (void)input;
    if (run == 1)
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Flaky", "not yet");
    return dispatch_ok(dispatch_int(run));
}
DISPATCH_REGISTER(flaky);

/* The n-th Fibonacci number, by two calls of itself at once. */
static struct dispatch_result fibonacci(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[2];
    const struct dispatch_error *error;
    struct dispatch_result r[2];
    int64_t n = 0, a = 0, b = 0;

    if (!dispatch_as_int(input, &n))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoNumber", "expected a number");
    if (n < 2)
        return dispatch_ok(dispatch_int(n));
    tasks[0] = start(ctx, "fibonacci", n - 1);
    tasks[1] = start(ctx, "fibonacci", n - 2);
    error = dispatch_all(ctx, tasks, 2, r);
    if (error)
        return dispatch_fail_with(ctx, error);
    if (!dispatch_as_int(r[0].output, &a) || !dispatch_as_int(r[1].output, &b))
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "NoNumber", "a child gave no number");
    return dispatch_ok(dispatch_int(a + b));
}
DISPATCH_REGISTER(fibonacci);

/* The first success of one that fails and one that does not, three times in a row. */
static struct dispatch_result persist(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_result r = {0};

    (void)input;
    for (int i = 0; i < 3; i++) {
        struct dispatch_task *tasks[] = {start(ctx, "refuse", i), start(ctx, "echo", i)};

        r = dispatch_any(ctx, tasks, 2, NULL);
        if (r.error)
            return dispatch_fail_with(ctx, r.error);
    }
    return r;
}
DISPATCH_REGISTER(persist);

/* Its child's error, passed on. */
static struct dispatch_result refused(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *task = start(ctx, "refuse", 0);
    struct dispatch_result r;

    (void)input;
    if (dispatch_all(ctx, &task, 1, &r))
        return dispatch_fail_with(ctx, r.error);
    return r;
}
DISPATCH_REGISTER(refused);

int main(void)
{
    struct dispatch_endpoint *endpoint;
    struct dispatch_failure failure;

    if (dispatch_endpoint_create(NULL, &endpoint, &failure) ||
        dispatch_endpoint_listen(endpoint, "127.0.0.1:0", &failure)) {
        fprintf(stderr, "endpoint: %s\n", failure.message);
        return 1;
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%u", dispatch_endpoint_port(endpoint));
    printf("%s\n", url);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    dispatch_endpoint_destroy(endpoint);
    return 0;
}
