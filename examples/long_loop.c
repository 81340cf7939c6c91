// SPDX-License-Identifier: Apache-2.0
/*
 * A loop of 10,000 awaits whose state does not grow: every ten readings it saves a struct of
 * sixteen bytes, forgets its history, and enters again at the top.
 *
 *     build/dispatch server --insecure &
 *     DISPATCH_API_KEY=any build/examples/long_loop 10000
 *
 * Kill this program or the server in the middle, start it again, and it goes on at most ten
 * readings back.
 */
#include <dispatch_sdk.h>
#include <stdio.h>
#include <stdlib.h>

static struct dispatch_result reading(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t number = 0;

    (void)ctx;
    dispatch_as_int(input, &number);
    return dispatch_ok(dispatch_int(number % 10));
}
DISPATCH_REGISTER(reading);

static struct dispatch_result meter(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct progress {
        int64_t done, sum;
    } *s = dispatch_state(ctx, sizeof *s); /* zeros at first, later what the checkpoint saved */
    int64_t wanted = 0, number = 0;

    dispatch_as_int(input, &wanted);
    for (int i = 0; i < 10 && s->done < wanted; i++) {
        struct dispatch_result r = dispatch_call(ctx, "reading", dispatch_int(s->done));

        if (r.error)
            return r;
        if (dispatch_as_int(r.output, &number))
            s->sum += number;
        s->done++;
    }
    if (s->done < wanted)
        return dispatch_checkpoint(ctx);
    return dispatch_ok(dispatch_int(s->sum));
}
DISPATCH_REGISTER(meter);

int main(int argc, char **argv)
{
    int64_t count = argc > 1 ? strtoll(argv[1], NULL, 10) : 10000, sum = 0;
    struct dispatch_result result = dispatch_run(dispatch_to("meter", dispatch_int(count)));
    int failed = result.error != NULL;

    if (failed)
        fprintf(stderr, "long_loop: %s: %s\n", result.error->type, result.error->message);
    else if (dispatch_as_int(result.output, &sum))
        printf("%lld readings, their sum is %lld\n", (long long)count, (long long)sum);
    dispatch_result_free(&result);
    return failed;
}
