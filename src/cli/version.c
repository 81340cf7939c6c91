// SPDX-License-Identifier: Apache-2.0
/* `dispatch version`: the number alone, for scripts. */
#include "cli/cli.h"

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct cli_arg arg;
    int at = 0;

    switch (cli_next(self, argc, argv, &at, &arg)) {
    case CLI_NEXT_HELP:
        return CLI_OK;
    case CLI_NEXT_ARG:
        return cli_usage(self, "version takes no argument: %s", arg.value);
    case CLI_NEXT_ERROR:
        return CLI_USAGE;
    case CLI_NEXT_END:
        break;
    }
    puts(DISPATCH_VERSION);
    return CLI_OK;
}

const struct cli_command cli_version = {
    .name = "version",
    .usage = "",
    .summary = "print the version",
    .run = run,
};
