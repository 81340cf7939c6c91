// SPDX-License-Identifier: Apache-2.0
/*
 * An application that has its store in a loop of its own, without a thread: it begins nothing by
 * itself, says "open" once it has the store, and ends when its standard input does. Its name is
 * "looping".
 */
#include <dispatch_sdk.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct dispatch_result echo(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}
DISPATCH_REGISTER(echo);

static struct dispatch_result fails(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Broken", "as ever");
}
DISPATCH_REGISTER(fails);

/* Waits for somebody outside to complete the call with its input as key. */
static struct dispatch_result asks(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to("answer", input);

    call.endpoint = "event:";
    call.key = dispatch_as_string(input, NULL);
    return dispatch_call_with(ctx, &call);
}
DISPATCH_REGISTER(asks);

int main(void)
{
    struct dispatch_embedded_options options = {
        .program = "looping", .own_loop = true, .run_in_step = true};
    struct dispatch_failure failure = {0};
    struct dispatch_embedded *embedded;
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}};

    if (dispatch_embedded_open(&options, &embedded, &failure)) {
        fprintf(stderr, "own_loop_app: %s\n", failure.message);
        return 1;
    }
    puts("open");
    fflush(stdout);
    fds[1] = (struct pollfd){.fd = dispatch_embedded_descriptor(embedded), .events = POLLIN};
    while (!fds[0].revents) {
        dispatch_embedded_step(embedded);
        if (poll(fds, 2, (int)dispatch_embedded_deadline_ms(embedded)) < 0)
            return 1;
    }
    dispatch_embedded_close(embedded);
    return 0;
}
