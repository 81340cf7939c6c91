// SPDX-License-Identifier: Apache-2.0
/*
 * The application of the benchmarks: one function that gives its input back. It prints the port
 * that it listens on, and runs until it is killed.
 */
#include <stdio.h>
#include <unistd.h>

#include <dispatch_sdk.h>

static struct dispatch_result noop(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}
DISPATCH_REGISTER(noop);

int main(void)
{
    struct dispatch_endpoint_options options = {0};
    struct dispatch_endpoint *endpoint;
    struct dispatch_failure why;

    if (dispatch_endpoint_create(&options, &endpoint, &why) ||
        dispatch_endpoint_listen(endpoint, "127.0.0.1:0", &why)) {
        fprintf(stderr, "bench-app: %s\n", why.message);
        return 1;
    }
    printf("%d\n", dispatch_endpoint_port(endpoint));
    fflush(stdout);
    for (;;)
        pause();
}
