// SPDX-License-Identifier: Apache-2.0
/* The program `dispatch`: finds the command and runs it. */
#include <signal.h>
#include <string.h>

#include "cli/cli.h"

const struct cli_command *const cli_commands[] = {
    &cli_run, &cli_server, &cli_get, &cli_keys, &cli_verification, &cli_version, &cli_help, NULL};

static int unknown(const char *name)
{
    const struct cli_command *meant = cli_nearest(name);

    if (name[0] == '-')
        return cli_usage(NULL, "%s: the command comes first: dispatch COMMAND [OPTION...]", name);
    if (meant)
        return cli_usage(NULL, "there is no command %s: did you mean %s?", name, meant->name);
    return cli_usage(NULL, "there is no command %s", name);
}

int main(int argc, char **argv)
{
    const struct cli_command *command;
    const char *name = argc > 1 ? argv[1] : NULL;

    /* A peer that hangs up is an error of that connection, not the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    if (!name) {
        cli_print_help(stderr, NULL);
        return CLI_USAGE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    command = cli_find(name);
    return command ? command->run(command, argc - 2, argv + 2) : unknown(name);
}
