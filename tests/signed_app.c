// SPDX-License-Identifier: Apache-2.0
/* An application whose endpoint listens on any port of the loopback and writes its address to
 * stdout; whom it obeys, DISPATCH_VERIFICATION_KEY says. It runs until it is killed. */
#include <stdio.h>
#include <unistd.h>

#include <dispatch_sdk.h>

static struct dispatch_result echo(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}
DISPATCH_REGISTER(echo);

int main(void)
{
    struct dispatch_endpoint *endpoint;
    struct dispatch_failure failure;

    if (dispatch_endpoint_create(NULL, &endpoint, &failure) ||
        dispatch_endpoint_listen(endpoint, "127.0.0.1:0", &failure)) {
        fprintf(stderr, "signed-app: %s\n", failure.message);
        return 1;
    }
    printf("127.0.0.1:%u\n", dispatch_endpoint_port(endpoint));
    fflush(stdout);
    for (;;)
        pause();
}
