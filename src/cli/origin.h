// SPDX-License-Identifier: Apache-2.0
/* Which API key a command uses, and what it says when that is refused. */
#ifndef CLI_ORIGIN_H
#define CLI_ORIGIN_H

#include "cli/config.h"

struct origin {
    char key[CONFIG_KEY_MAX + 1];
    const char *hint;                 /* "check ...": where the key came from */
    char api_url[CONFIG_URL_MAX + 1]; /* of the active organization; "": not said */
};

/*
 * The key: `flag` (NULL: not given), else $DISPATCH_API_KEY, else that of the active organization
 * of the configuration file. CODE_UNAUTHENTICATED: there is none, and the message says how to get
 * one; `api_url` is then "". Else, the file cannot be read.
 */
int origin_choose(struct origin *origin, const char *flag, struct error *err);

#endif
