// SPDX-License-Identifier: Apache-2.0
/* `dispatch cancel`, `retry` and `restart`: each does one thing to each of some calls. */
#include "cli/ask.h"

struct action {
    const struct cli_command *command;
    int (*run)(struct ask *ask, const char *id); /* a code; ask->err says more */
};

static int cancel(struct ask *ask, const char *id)
{
    Dispatch__V1__CancelRequest request = DISPATCH__V1__CANCEL_REQUEST__INIT;
    Dispatch__V1__CancelResponse *response;

    request.dispatch_id = ask_text(id);
    return ask_calls(ask, "Cancel", &request, &dispatch__v1__cancel_response__descriptor,
                     &response);
}

static int restart(struct ask *ask, const char *id)
{
    Dispatch__V1__RestartRequest request = DISPATCH__V1__RESTART_REQUEST__INIT;
    Dispatch__V1__RestartResponse *response;

    request.dispatch_id = ask_text(id);
    return ask_calls(ask, "Restart", &request, &dispatch__v1__restart_response__descriptor,
                     &response);
}

static int retry(struct ask *ask, const char *id)
{
    Dispatch__V1__RetryRequest request = DISPATCH__V1__RETRY_REQUEST__INIT;
    Dispatch__V1__RetryResponse *response;
    int code;

    request.dispatch_id = ask_text(id);
    code = ask_calls(ask, "Retry", &request, &dispatch__v1__retry_response__descriptor, &response);
    if (!code)
        puts(response->dispatch_id);
    return code;
}

/* All of them, whatever becomes of the others. */
static int run_all(const struct cli_command *self, int (*one)(struct ask *ask, const char *id),
                   int argc, char **argv)
{
    int at = 0, count = 0, status = CLI_OK;
    struct cli_arg arg;
    enum cli_next next;
    struct ask ask;

    ask_init(&ask);
    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (!ask_takes(&ask, &arg))
            argv[count++] = ask_text(arg.value); /* behind what is read */
    }
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? CLI_OK : CLI_USAGE;
    if (count == 0)
        return cli_usage(self, "which call? %s %s", self->name, self->usage);
    if (ask_open(&ask))
        status = ask_fail(&ask);
    for (int i = 0; i < count && ask.reach; i++) {
        if (one(&ask, argv[i]))
            status = ask_fail(&ask);
        ask_rewind(&ask);
    }
    ask_close(&ask);
    return status;
}

static int run_cancel(const struct cli_command *self, int argc, char **argv)
{
    return run_all(self, cancel, argc, argv);
}

static int run_retry(const struct cli_command *self, int argc, char **argv)
{
    return run_all(self, retry, argc, argv);
}

static int run_restart(const struct cli_command *self, int argc, char **argv)
{
    return run_all(self, restart, argc, argv);
}

static const struct cli_option options[] = {ASK_OPTIONS, {0}};

#define EXIT_STATUS                                                                                \
    "\n"                                                                                           \
    "Exit status: 0 it was done to all of the calls, durably; 1 not to one of them.\n"

const struct cli_command cli_cancel = {
    .name = "cancel",
    .usage = "ID... [OPTION...]",
    .summary = "end live calls, and all that they called",
    .details =
        "They end with PERMANENT_ERROR, their error of the type Cancelled. What runs at the\n"
        "moment is told to stop; its answer does not count any more.\n" EXIT_STATUS,
    .options = options,
    .run = run_cancel,
};

const struct cli_command cli_retry = {
    .name = "retry",
    .usage = "ID... [OPTION...]",
    .summary = "call again what is done",
    .details =
        "Makes a new call of each, with the same function, endpoint and input, and prints\n"
        "its id. The old one stays as it is; `dispatch get` of the new one names it.\n" EXIT_STATUS,
    .options = options,
    .run = run_retry,
};

const struct cli_command cli_restart = {
    .name = "restart",
    .usage = "ID... [OPTION...]",
    .summary = "let live calls begin again from their input",
    .details =
        "They give up what they have done so far, as they have to when the code has changed\n"
        "too much to go on. Calls that they made and that have not started are "
        "cancelled.\n" EXIT_STATUS,
    .options = options,
    .run = run_restart,
};
