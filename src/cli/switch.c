// SPDX-License-Identifier: Apache-2.0
/* `dispatch switch [ORGANIZATION]`: which organization's key is used. Words and exit statuses are
 * the original's. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/config.h"

static void list(const struct config *config)
{
    puts("Available organizations:");
    for (size_t i = 0; i < config->count; i++)
        printf("- %s\n", config->orgs[i].slug);
}

static int choose(struct config *config, const char *path, const char *slug, struct error *err)
{
    struct config_org *org = config_find(config, slug);
    int code;

    if (!org) {
        printf("Organization '%s' not found\n\n", slug);
        list(config);
        return CODE_OK;
    }
    memcpy(config->active, org->slug, sizeof config->active);
    code = config_save(config, path, err);
    if (code == CODE_OK)
        printf("Switched to organization: %s\n", slug);
    return code;
}

static int switch_to(const char *slug)
{
    struct config *config = calloc(1, sizeof *config);
    char path[PATH_MAX];
    struct error err;
    int code = config ? config_path(path, &err) : error_memory(&err);

    if (code == CODE_OK)
        code = config_load(config, path, &err);
    if (code == CODE_OK && slug)
        code = choose(config, path, slug, &err);
    else if (code == CODE_OK)
        list(config);
    free(config);
    if (code == CODE_NOT_FOUND) {
        puts("Please run `dispatch login` to login to Dispatch.");
        return CLI_OK;
    }
    return code ? cli_fail("%s", err.message) : CLI_OK;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    const char *slug = NULL;
    struct cli_arg arg;
    enum cli_next next;
    int at = 0;

    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (slug)
            return cli_usage(self, "%s: one argument too many", arg.value);
        slug = arg.value;
    }
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? CLI_OK : CLI_USAGE;
    return switch_to(slug);
}

const struct cli_command cli_switch = {
    .name = "switch",
    .group = CLI_GROUP_ACCOUNT,
    .usage = "[ORGANIZATION]",
    .summary = "say which organization is meant, or list those that there are",
    .details = "They are those of the configuration file, which `dispatch login` writes.\n"
               "\n"
               "Exit status: 0, also if there is no such organization, as it always was; 1 the\n"
               "file cannot be read or written; 2 the command line is wrong.\n",
    .run = run,
};
