// SPDX-License-Identifier: Apache-2.0
/* `dispatch help [COMMAND]`. */
#include "cli/cli.h"

static int run(const struct cli_command *self, int argc, char **argv)
{
    const struct cli_command *command = NULL, *meant;
    struct cli_arg arg;
    enum cli_next next;
    int at = 0;

    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (command)
            return cli_usage(NULL, "help is for one command at a time");
        command = cli_find(arg.value);
        if (command)
            continue;
        meant = cli_nearest(arg.value);
        if (meant)
            return cli_usage(NULL, "there is no command %s: did you mean %s?", arg.value,
                             meant->name);
        return cli_usage(NULL, "there is no command %s", arg.value);
    }
    if (next == CLI_NEXT_ERROR)
        return CLI_USAGE;
    if (next == CLI_NEXT_END)
        cli_print_help(stdout, command);
    return CLI_OK;
}

const struct cli_command cli_help = {
    .name = "help",
    .group = CLI_GROUP_FURTHER,
    .usage = "[COMMAND]",
    .summary = "explain a command, or say which there are",
    .run = run,
};
