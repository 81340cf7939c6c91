// SPDX-License-Identifier: Apache-2.0
/*
 * A human approval: a refund waits, for a day at most, until somebody says yes or no.
 *
 *     build/dispatch server --insecure &
 *     DISPATCH_API_KEY=any build/examples/approval 17 &
 *     DISPATCH_API_KEY=any build/examples/approval 17 yes
 *
 * The call to "event:" is run by nobody: it is done when it is completed from outside, by its key.
 */
#include <dispatch_sdk.h>
#include <stdio.h>
#include <string.h>

static struct dispatch_result refund(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_call ask = dispatch_to("approval", input);
    struct dispatch_result answer;
    struct dispatch_task *tasks[2];
    size_t first = 0;
    bool yes = false;

    ask.endpoint = "event:";
    ask.key = dispatch_printf(ctx, "refund-%s", dispatch_as_string(input, NULL));
    tasks[0] = dispatch_start_with(ctx, &ask);
    tasks[1] = dispatch_timer(ctx, 24 * 3600 * 1000);
    answer = dispatch_race(ctx, tasks, 2, &first);
    if (answer.error)
        return answer;
    if (first == 1)
        return dispatch_ok(dispatch_string("nobody answered"));
    return dispatch_ok(
        dispatch_string(dispatch_as_bool(answer.output, &yes) && yes ? "refunded" : "refused"));
}
DISPATCH_REGISTER(refund);

/* Says yes or no to the refund of that number. */
static int answer(const char *number, bool yes)
{
    struct dispatch_result result = dispatch_ok(dispatch_bool(yes));
    struct dispatch_failure failure;
    struct dispatch_client *client;
    char key[64];
    int rc = dispatch_client_create(NULL, &client, &failure);

    snprintf(key, sizeof key, "refund-%s", number);
    if (!rc) {
        rc = dispatch_client_complete(client, NULL, key, &result, &failure);
        dispatch_client_destroy(client);
    }
    if (rc)
        fprintf(stderr, "approval: %s\n", failure.message);
    return rc != 0;
}

int main(int argc, char **argv)
{
    struct dispatch_call call = dispatch_to("refund", dispatch_string(argc > 1 ? argv[1] : "17"));
    struct dispatch_result result;
    int failed;

    if (argc > 2)
        return answer(argv[1], strcmp(argv[2], "yes") == 0);
    call.expiration_ms = (int64_t)2 * 24 * 3600 * 1000; /* longer than the day that it waits */
    result = dispatch_run(call);
    failed = result.error != NULL;
    if (failed)
        fprintf(stderr, "approval: %s: %s\n", result.error->type, result.error->message);
    else
        puts(dispatch_as_string(result.output, NULL));
    dispatch_result_free(&result);
    return failed;
}
