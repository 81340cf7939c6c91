// SPDX-License-Identifier: Apache-2.0
/* The order is the original's, and so are the words. */
#include "cli/origin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The key of the active organization. */
static int from_config(struct origin *o, struct config *config, struct error *err)
{
    const struct config_org *org = config_find(config, config->active);

    if (!config->active[0])
        return error_set(err, CODE_UNAUTHENTICATED,
                         "No organization selected. Please run `dispatch switch` to select one.");
    if (!org || !org->api_key[0])
        return error_set(err, CODE_UNAUTHENTICATED,
                         "invalid active organization '%s' found in configuration. Please run "
                         "`dispatch login` or `dispatch switch`",
                         config->active);
    memcpy(o->key, org->api_key, sizeof o->key);
    memcpy(o->api_url, org->api_url, sizeof o->api_url);
    o->hint = "please login again using: dispatch login";
    return CODE_OK;
}

static int take(struct origin *o, const char *key, const char *hint, struct error *err)
{
    if (strlen(key) > CONFIG_KEY_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "the API key is too long: %s", hint);
    memcpy(o->key, key, strlen(key) + 1);
    o->hint = hint;
    return CODE_OK;
}

int origin_choose(struct origin *o, const char *flag, struct error *err)
{
    const char *variable = getenv("DISPATCH_API_KEY");
    struct config *config = calloc(1, sizeof *config);
    char path[PATH_MAX];
    int code;

    *o = (struct origin){0};
    if (!config)
        return error_memory(err);
    code = config_path(path, err) ? CODE_NOT_FOUND : config_load(config, path, err);
    if (code == CODE_OK)
        code = from_config(o, config, err);
    else if (code == CODE_NOT_FOUND)
        code = error_set(err, CODE_UNAUTHENTICATED,
                         "Please run `dispatch login` to login to Dispatch. Alternatively, set the "
                         "DISPATCH_API_KEY environment variable, or provide an --api-key (-k) on "
                         "the command line.");
    if (flag && *flag)
        code = take(o, flag, "check the -k,--api-key command-line option", err);
    else if (variable && *variable)
        code = take(o, variable, "check DISPATCH_API_KEY environment variable", err);
    free(config);
    return code;
}
