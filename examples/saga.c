// SPDX-License-Identifier: Apache-2.0
/*
 * A saga: a trip is booked in three places, and if one of them refuses for good, what was booked
 * before is cancelled again, in reverse, however often processes die meanwhile.
 *
 *     build/dispatch server --insecure &
 *     DISPATCH_API_KEY=any build/examples/saga            # all goes well
 *     DISPATCH_API_KEY=any build/examples/saga car        # no car: the others are undone
 *
 * The list of what is to be undone is a plain array on the function's stack.
 */
#include <dispatch_sdk.h>
#include <stdio.h>
#include <string.h>

/* Books what its input names; "no ..." is refused, and no retry will help. */
static struct dispatch_result book(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *what = dispatch_as_string(input, NULL);

    if (!what)
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoName", "expected a name");
    if (strncmp(what, "no ", 3) == 0)
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "SoldOut", "no %s to be had", what + 3);
    return dispatch_ok(dispatch_string(dispatch_printf(ctx, "%s-42", what)));
}
DISPATCH_REGISTER(book);

/* Cancels a booking. It may run twice, like everything, and is written so that this does no harm.
 */
static struct dispatch_result cancel(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}
DISPATCH_REGISTER(cancel);

static struct dispatch_result trip(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    static const char *const parts[] = {"flight", "hotel", "car"};
    const char *missing = dispatch_as_string(input, NULL), *story = "booked:";
    struct dispatch_result booked[3];
    int count = 0;

    while (count < 3) {
        const char *what = parts[count];

        if (missing && strcmp(missing, what) == 0)
            what = dispatch_printf(ctx, "no %s", what);
        booked[count] = dispatch_call(ctx, "book", dispatch_string(what));
        if (booked[count].error)
            break;
        story =
            dispatch_printf(ctx, "%s %s", story, dispatch_as_string(booked[count].output, NULL));
        count++;
    }
    if (count == 3)
        return dispatch_ok(dispatch_string(story));
    story = dispatch_printf(ctx, "%s; cancelled:", booked[count].error->message);
    while (count-- > 0) {
        struct dispatch_result undone = dispatch_call(ctx, "cancel", booked[count].output);

        if (undone.error)
            return undone; /* somebody has to look at it */
        story = dispatch_printf(ctx, "%s %s", story, dispatch_as_string(undone.output, NULL));
    }
    return dispatch_ok(dispatch_string(story));
}
DISPATCH_REGISTER(trip);

int main(int argc, char **argv)
{
    struct dispatch_result result =
        dispatch_run(dispatch_to("trip", dispatch_string(argc > 1 ? argv[1] : "nothing")));
    int failed = result.error != NULL;

    if (failed)
        fprintf(stderr, "saga: %s: %s\n", result.error->type, result.error->message);
    else
        puts(dispatch_as_string(result.output, NULL));
    dispatch_result_free(&result);
    return failed;
}
