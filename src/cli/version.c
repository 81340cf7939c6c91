// SPDX-License-Identifier: Apache-2.0
/* `dispatch version`: the original's words on stderr, and the number alone on stdout, for scripts.
 */
#include "cli/cli.h"
#include "revision.h"

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
    fprintf(stderr, "dispatch version devel%s%s\n", *DISPATCH_REVISION ? " " : "",
            DISPATCH_REVISION);
    puts(DISPATCH_VERSION);
    return CLI_OK;
}

const struct cli_command cli_version = {
    .name = "version",
    .group = CLI_GROUP_FURTHER,
    .usage = "",
    .summary = "print the version",
    .run = run,
};
