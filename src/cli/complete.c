// SPDX-License-Identifier: Apache-2.0
/* `dispatch complete`: what a call to event: comes to. */
#include <string.h>

#include "cli/ask.h"
#include "cli/value.h"

struct completion {
    struct ask ask;
    const char *arguments[2]; /* [ID] [JSON] */
    int argument_count;
    const char *key, *error, *error_type, *status;
};

static int read_status(const char *text, Dispatch__Sdk__V1__Status *status)
{
    for (int i = 1; i < STATUS_COUNT; i++) {
        if (strcmp(text, status_name((enum status)i)) == 0) {
            *status = (Dispatch__Sdk__V1__Status)i;
            return CODE_OK;
        }
    }
    return CODE_NOT_FOUND;
}

static int complete(struct completion *c, const char *id, const char *json)
{
    Dispatch__V1__CompleteRequest request = DISPATCH__V1__COMPLETE_REQUEST__INIT;
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    Dispatch__V1__CompleteResponse *response;

    request.dispatch_id = ask_text(id);
    request.key = ask_text(c->key);
    if (json && value_parse(slice_str(json), &c->ask.arena, &request.output, &c->ask.err))
        return cli_fail("the output: %s", c->ask.err.message);
    if (c->error) {
        error.type = ask_text(c->error_type ? c->error_type : "Error");
        error.message = ask_text(c->error);
        if (c->status && read_status(c->status, &error.status))
            return cli_fail("there is no status %s; PERMANENT_ERROR is one", c->status);
        request.error = &error;
    }
    if (ask_open(&c->ask) || ask_calls(&c->ask, "Complete", &request,
                                       &dispatch__v1__complete_response__descriptor, &response))
        return ask_fail(&c->ask);
    return CLI_OK;
}

static bool take_option(struct completion *c, const struct cli_arg *arg)
{
    if (ask_is(arg, "key"))
        c->key = arg->value;
    else if (ask_is(arg, "error"))
        c->error = arg->value;
    else if (ask_is(arg, "error-type"))
        c->error_type = arg->value;
    else if (ask_is(arg, "status"))
        c->status = arg->value;
    else
        return ask_takes(&c->ask, arg);
    return true;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct completion c = {0};
    struct cli_arg arg;
    enum cli_next next;
    int at = 0, status, most;

    ask_init(&c.ask);
    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (take_option(&c, &arg))
            continue;
        if (c.argument_count == 2)
            return cli_usage(self, "%s: one argument too many", arg.value);
        c.arguments[c.argument_count++] = arg.value;
    }
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? CLI_OK : CLI_USAGE;
    most = c.key ? 1 : 2;
    if (!c.key && c.argument_count == 0)
        return cli_usage(self, "which call? complete ID, or complete --key KEY");
    if (c.argument_count > most)
        return cli_usage(self, "either an ID or --key KEY is meant");
    if (c.error && c.argument_count == most)
        return cli_usage(self, "it comes either to an output or to an error");
    if ((c.error_type || c.status) && !c.error)
        return cli_usage(self, "--error-type and --status are about an error: --error MESSAGE");
    status = complete(&c, c.key ? NULL : c.arguments[0],
                      c.argument_count == most ? c.arguments[most - 1] : NULL);
    ask_close(&c.ask);
    return status;
}

static const struct cli_option options[] = {
    {"key", "KEY", "the call of that key, instead of an id"},
    {"error", "MESSAGE", "it failed, with this message"},
    {"error-type", "TYPE", "of the error (default: Error)"},
    {"status", "STATUS",
     "that it ends with, one that is not tried again, as NOT_FOUND\n"
     "(default: PERMANENT_ERROR)"},
    ASK_OPTIONS,
    {0},
};

static const char details[] =
    "A call to the endpoint event: is run by nobody; it waits for this. If it was not made\n"
    "yet, what it comes to is kept for a day. Without JSON and error, it comes to null.\n"
    "\n"
    "Examples:\n"
    "    dispatch complete --key refund-17 true\n"
    "    dispatch complete ID --error 'the customer left' --error-type Gone\n"
    "\n"
    "Exit status: 0 it is completed, durably; 1 it is not: it was before, for one.\n";

const struct cli_command cli_complete = {
    .name = "complete",
    .usage = "(ID | --key KEY) [JSON] [OPTION...]",
    .summary = "say what a call to event: comes to",
    .details = details,
    .options = options,
    .run = run,
};
