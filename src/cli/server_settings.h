// SPDX-License-Identifier: Apache-2.0
/*
 * What `dispatch server` is told: by its options, and by a configuration file, where the same names
 * stand in TOML. First all is collected as text, then what it says is read. So a file says what an
 * option can say, the command line wins over the file, and what was collected can be printed as a
 * file again.
 */
#ifndef CLI_SERVER_SETTINGS_H
#define CLI_SERVER_SETTINGS_H

#include <limits.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "cli/cli.h"
#include "server/server.h"

#define SERVER_SETTINGS_MAX 512 /* values */

/* One value of an option. */
struct server_setting {
    const struct cli_option *option;
    const char *value; /* of an option without one: "true" or "false" */
    unsigned line;     /* in the configuration file; 0: on the command line, or the default */
};

struct server_settings {
    struct server_setting given[SERVER_SETTINGS_MAX];
    size_t given_count, from_line; /* the first so many: on the command line */
    struct arena arena;            /* of the file's values */
    const char *config;            /* its path; NULL: none */
    bool print;                    /* it is to be printed, and nothing else done */
    /* What they say. */
    const char *listen[SERVER_LISTEN_MAX];
    size_t listen_count;
    const char *tls_cert, *tls_key, *ca_file, *lambda_url;
    const char *store;
    char default_store[PATH_MAX + 16];
    struct keys keys;
    bool key_files; /* some come from a file, or would */
    struct policy policy;
    bool insecure, metrics_public;
    uint32_t run_timeout_ms, grace_ms, retention_ms, runs_max;
    uint64_t retention_bytes;
    int ready_fd; /* -1: none */
    const char *ready_file;
    enum log_level log_level;
    enum log_format log_format;
};

/* Takes the command line in; `argv` outlives it. A CLI status: what is wrong was said. *stop: help
 * was printed. To be freed in any case. */
int server_settings_collect(struct server_settings *s, int argc, char **argv, bool *stop);
/* Reads the file, if there is one, and what all says together; once. CODE_INVALID_ARGUMENT and
 * others: the message names file and line, or the option. */
int server_settings_understand(struct server_settings *s, struct error *err);
void server_settings_free(struct server_settings *s);

/*
 * Collects and reads all once more, and takes over what can be changed while a server runs: keys,
 * and what is logged. On failure all stays. `stays` is told of each option that says something else
 * now, which counts from the next start on.
 */
int server_settings_reload(struct server_settings *s, int argc, char **argv,
                           void (*stays)(void *arg, const char *option), void *arg,
                           struct error *err);

/* As a configuration file that says the same. CODE_INVALID_ARGUMENT: a value cannot be written. */
int server_settings_print(const struct server_settings *s, struct buf *out, struct error *err);

/* For the help. */
extern const struct cli_option server_settings_options[];

#endif
