// SPDX-License-Identifier: Apache-2.0
/*
 * A mail outbox: outbox ADDRESS... queues a mail to each address and hands them to the program
 * $MAILER. A mail that is queued is sent, though the mailer fail for a week and this program be
 * killed: it goes on when it is started again, with or without more addresses. There is no server;
 * the orchestrator is in the program, its calls in ~/.local/state/dispatch/outbox/calls.db.
 */
#include <dispatch_sdk.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs "PROGRAM ARGUMENT"; its status, or -1. */
static int run(const char *program, const char *argument)
{
    char *argv[] = {(char *)program, (char *)argument, NULL};
    posix_spawnattr_t attributes;
    sigset_t none;
    int status = -1;
    pid_t pid;

    sigemptyset(&none); /* the threads that run functions have all signals blocked */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (posix_spawnp(&pid, program, NULL, &attributes, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid)
        status = -1;
    posix_spawnattr_destroy(&attributes);
    return status;
}

static struct dispatch_result mail(struct dispatch_ctx *ctx, struct dispatch_value to)
{
    if (run(getenv("MAILER"), dispatch_as_string(to, NULL)) != 0)
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Mailer", "it takes no mail now");
    return dispatch_ok(dispatch_null());
}
DISPATCH_REGISTER(mail);

/* All of them, or none. */
static int queue(char **addresses, int count, struct dispatch_failure *failure)
{
    struct dispatch_batch *batch = dispatch_batch_create(NULL);
    int rc = batch ? 0 : DISPATCH_CODE_RESOURCE_EXHAUSTED;

    for (int i = 0; i < count && !rc; i++) {
        struct dispatch_call call = dispatch_to("mail", dispatch_string(addresses[i]));

        call.expiration_ms = INT64_C(7) * 86400 * 1000;
        rc = dispatch_batch_add(batch, &call, failure);
    }
    if (!rc)
        rc = dispatch_batch_dispatch(batch, NULL, failure); /* from here on they will be sent */
    dispatch_batch_destroy(batch);
    return rc;
}

int main(int argc, char **argv)
{
    struct dispatch_failure failure = {.message = "out of memory"};
    struct dispatch_embedded *outbox = NULL;
    int failed;

    if (!getenv("MAILER")) {
        fputs("outbox: MAILER names no program\n", stderr);
        return 2;
    }
    failed = dispatch_embedded_open(NULL, &outbox, &failure) || /* what was unfinished goes on */
             queue(argv + 1, argc - 1, &failure) ||             /* more of it */
             dispatch_embedded_settle(outbox, -1, &failure);    /* until all is done */
    dispatch_embedded_close(outbox);
    if (failed)
        fprintf(stderr, "outbox: %s\n", failure.message);
    return failed;
}
