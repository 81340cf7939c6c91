// SPDX-License-Identifier: Apache-2.0
/* The program `dispatch`: finds the command and runs it. */
#include <signal.h>

#include "cli/cli.h"

const struct cli_command *const cli_commands[] = {
    &cli_login,      &cli_switch,  &cli_init,     &cli_run,  &cli_server, &cli_call,
    &cli_ls,         &cli_get,     &cli_logs,     &cli_top,  &cli_wait,   &cli_cancel,
    &cli_retry,      &cli_restart, &cli_complete, &cli_keys, &cli_store,  &cli_verification,
    &cli_completion, &cli_version, &cli_help,     NULL,
};

static int unknown(const char *name)
{
    const struct cli_command *meant = cli_nearest(name);

    if (meant)
        return cli_usage(NULL, "there is no command %s: did you mean %s?", name, meant->name);
    return cli_usage(NULL, "there is no command %s", name);
}

int main(int argc, char **argv)
{
    const struct cli_command *command;
    struct cli_arg arg;
    int at = 1;

    /* A peer that hangs up is an error of that connection, not the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    switch (cli_next(&cli_program, argc, argv, &at, &arg)) {
    case CLI_NEXT_HELP:
        return CLI_OK;
    case CLI_NEXT_ERROR:
        return CLI_USAGE;
    case CLI_NEXT_END:
        cli_print_help(stderr, NULL);
        return CLI_USAGE;
    case CLI_NEXT_ARG:
        break;
    }
    if (arg.option) /* there is but one */
        arg.value = "version";
    command = cli_find(arg.value);
    return command ? command->run(command, argc - at, argv + at) : unknown(arg.value);
}
