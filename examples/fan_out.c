// SPDX-License-Identifier: Apache-2.0
/*
 * Fan-out and join: a quote asks for all prices at once and adds them up, though the supplier's
 * service fails every third time it is asked.
 *
 *     build/dispatch server --insecure &
 *     DISPATCH_API_KEY=any build/examples/fan_out 20
 *
 * Nothing here knows of retries: `price` says that it failed for a passing reason, and is asked
 * again; `quote` waits meanwhile, without a thread, and sees twenty prices.
 */
#include <dispatch_sdk.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static struct dispatch_result price(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    static atomic_uint asked;
    int64_t item = 0;

    if (!dispatch_as_int(input, &item))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoItem", "expected a number");
    if (atomic_fetch_add(&asked, 1) % 3 == 2)
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Unreachable", "no answer");
    return dispatch_ok(dispatch_int(100 + item % 7));
}
DISPATCH_REGISTER(price);

static struct dispatch_result quote(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t count = 0, total = 0, one = 0;
    struct dispatch_task **tasks;
    struct dispatch_result *prices;
    const struct dispatch_error *error;

    if (!dispatch_as_int(input, &count) || count < 0 || count > 1000)
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "BadCount", "0 to 1000 items");
    tasks = dispatch_alloc(ctx, (size_t)count * sizeof(struct dispatch_task *));
    prices = dispatch_alloc(ctx, (size_t)count * sizeof *prices);
    if (!tasks || !prices)
        return dispatch_ok(dispatch_null()); /* the library answers that memory is short */
    for (int64_t i = 0; i < count; i++)
        tasks[i] = dispatch_start(ctx, "price", dispatch_int(i));
    error =
        dispatch_all(ctx, tasks, (size_t)count, prices); /* all leave together, and wake it once */
    if (error)
        return dispatch_fail_with(ctx, error);
    for (int64_t i = 0; i < count; i++)
        if (dispatch_as_int(prices[i].output, &one))
            total += one;
    return dispatch_ok(dispatch_int(total));
}
DISPATCH_REGISTER(quote);

int main(int argc, char **argv)
{
    int64_t count = argc > 1 ? strtoll(argv[1], NULL, 10) : 20, total = 0;
    struct dispatch_result result = dispatch_run(dispatch_to("quote", dispatch_int(count)));
    int failed = result.error != NULL;

    if (failed)
        fprintf(stderr, "fan_out: %s: %s\n", result.error->type, result.error->message);
    else if (dispatch_as_int(result.output, &total))
        printf("%lld items cost %lld\n", (long long)count, (long long)total);
    dispatch_result_free(&result);
    return failed;
}
