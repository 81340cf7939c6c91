// SPDX-License-Identifier: Apache-2.0
/*
 * The configuration file: the API keys of organizations, and which of them is meant. It lies where
 * the original's does, and looks the same; an organization may have one thing more, the server that
 * its key is for:
 *
 *     # Warning = 'THIS FILE IS GENERATED. DO NOT EDIT!'
 *     active = 'acme'
 *
 *     [Organizations]
 *     [Organizations.acme]
 *     api_key = '...'
 *     api_url = 'http://...'
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include <limits.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#define CONFIG_ORGS_MAX  64
#define CONFIG_SLUG_MAX  127
#define CONFIG_KEY_MAX   512
#define CONFIG_URL_MAX   1000
#define CONFIG_BYTES_MAX ((size_t)256 << 10)

struct config_org {
    char slug[CONFIG_SLUG_MAX + 1];
    char api_key[CONFIG_KEY_MAX + 1]; /* printable ASCII */
    char api_url[CONFIG_URL_MAX + 1]; /* "": not said */
};

struct config {
    char active[CONFIG_SLUG_MAX + 1]; /* "": none */
    struct config_org orgs[CONFIG_ORGS_MAX];
    size_t count;
};

/* $DISPATCH_CONFIG_PATH, else dispatch/config.toml in $XDG_CONFIG_HOME or in ~/.config. */
int config_path(char path[PATH_MAX], struct error *err);

/* CODE_INVALID_ARGUMENT, with the number of the line; *config is then unspecified. */
int config_parse(struct config *config, struct slice text, struct error *err);
void config_render(const struct config *config, struct buf *out);

/* Of that path. CODE_NOT_FOUND: there is no such file. */
int config_load(struct config *config, const char *path, struct error *err);
/* Replaces the file as a whole, or leaves it; for its owner alone. Makes its directory. */
int config_save(const struct config *config, const char *path, struct error *err);

/* NULL: there is none of that name. */
struct config_org *config_find(struct config *config, const char *slug);
/* The one of that name, or a new one; NULL: there are too many, or the name is none. */
struct config_org *config_put(struct config *config, const char *slug);

#endif
