// SPDX-License-Identifier: Apache-2.0
/*
 * The smallest application: one function, one call.
 *
 *     build/examples/hello World
 *
 * The call is recorded before anything else happens, here in
 * ~/.local/state/dispatch/hello/calls.db, or by a server, if DISPATCH_API_URL and DISPATCH_API_KEY
 * say which: so that it is run even if this program, or the server, dies now and comes back later.
 */
#include <dispatch_sdk.h>
#include <stdio.h>

/* Runs on a thread of the library, at least once: again, if it fails for a passing reason. */
static struct dispatch_result hello(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *name = dispatch_as_string(input, NULL);

    if (!name)
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoName", "expected a name, got %s",
                             dispatch_kind_name(dispatch_value_kind(input)));
    return dispatch_ok(dispatch_string(dispatch_printf(ctx, "Hello, %s!", name)));
}
DISPATCH_REGISTER(hello); /* under the name "hello" */

int main(int argc, char **argv)
{
    struct dispatch_call call = dispatch_to("hello", dispatch_string(argc > 1 ? argv[1] : "World"));
    struct dispatch_result result = dispatch_run(call); /* serves, calls, waits */
    int failed = result.error != NULL;

    if (failed)
        fprintf(stderr, "hello: %s: %s\n", result.error->type, result.error->message);
    else
        puts(dispatch_as_string(result.output, NULL));
    dispatch_result_free(&result);
    return failed;
}
