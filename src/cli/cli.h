// SPDX-License-Identifier: Apache-2.0
/*
 * The command line: a table of commands, each with a table of its options, from which both the
 * parsing and the help are made.
 *
 * Exit statuses: 0 success, 1 failure, 2 the command line is wrong, 128 + N ended by signal N.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_OK      0
#define CLI_FAILURE 1
#define CLI_USAGE   2

struct cli_option {
    const char *name; /* without the dashes */
    const char *arg;  /* what follows it, as help shows it; NULL: nothing does */
    const char *help; /* lines of at most 70 characters, separated by '\n' */
};

/* A short form: -s VALUE, -sVALUE. */
struct cli_letter {
    char letter;
    const char *name; /* of the option */
};

/* Under which heading the help lists a command. */
enum cli_group { CLI_GROUP_OPERATOR, CLI_GROUP_ACCOUNT, CLI_GROUP_DISPATCH, CLI_GROUP_FURTHER };

struct cli_command {
    const char *name;
    enum cli_group group;
    const char *usage;                /* behind the name */
    const char *summary;              /* one line */
    const char *details;              /* examples, environment; ends with a newline; or NULL */
    const struct cli_option *options; /* ended by a NULL name; NULL: none */
    const struct cli_letter *letters; /* ended by a NULL name; NULL: none */
    int (*run)(const struct cli_command *self, int argc, char **argv); /* NULL: of the program */
};

/* What was said by the options that every command takes, before its name or behind it, unless it
 * has one of that name for itself. --env-file has been carried out when cli_next returns. */
struct cli_persistent {
    const char *api_key; /* NULL: not given */
};

extern struct cli_persistent cli_persistent;
extern const struct cli_option cli_persistent_options[];
extern const struct cli_letter cli_persistent_letters[];
/* What stands before the name of a command; the name is the first argument. */
extern const struct cli_command cli_program;

/* All commands, ended by NULL. */
extern const struct cli_command *const cli_commands[];

const struct cli_command *cli_find(const char *name); /* NULL if there is none */
/* The command that was probably meant; NULL if none is near. */
const struct cli_command *cli_nearest(const char *name);
/* Of the command itself; NULL if it has none, or none near. */
const struct cli_option *cli_option_find(const struct cli_command *command, const char *name);
const struct cli_option *cli_option_nearest(const struct cli_command *command, const char *name);
void cli_print_help(FILE *to, const struct cli_command *command); /* NULL: of the whole program */

/* What stands at one place of a command line. */
struct cli_arg {
    const struct cli_option *option; /* NULL: an argument that is no option */
    const char *value;               /* of the option, or the argument */
    char **rest;                     /* of an argument: it and what follows it */
};

enum cli_next { CLI_NEXT_ARG, CLI_NEXT_END, CLI_NEXT_HELP, CLI_NEXT_ERROR };

/*
 * Reads what is at argv[*at] (start with 0) and moves on. --name VALUE and --name=VALUE, or a
 * letter as the command has them; "--" ends the options: what is at argv[*at - 1] then is an
 * argument. --help prints the help; what is wrong is said on stderr: the command then returns
 * CLI_OK or CLI_USAGE.
 */
enum cli_next cli_next(const struct cli_command *command, int argc, char **argv, int *at,
                       struct cli_arg *arg);

/*
 * Reads all of a command line: gives each option and argument to `take`, which returns CLI_OK, a
 * status that ends the reading, or CLI_REST: what follows is not for us. With CLI_OK, *stop says
 * that there is nothing to do but leave: the help was printed.
 */
#define CLI_REST (-1)
typedef int cli_take(void *to, const struct cli_arg *arg);
int cli_read(const struct cli_command *command, int argc, char **argv, cli_take *take, void *to,
             bool *stop);

/* Says on stderr what is wrong and where there is help; returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Says on stderr what failed; returns CLI_FAILURE. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "250ms", "10s", "5m", "2h", or a number of seconds; false for anything else or beyond 49 days. */
bool cli_duration(const char *text, uint32_t *ms);
/* "1048576", "500MiB", "10GiB". */
bool cli_size(const char *text, uint64_t *bytes);

extern const struct cli_command cli_login, cli_switch, cli_init, cli_run, cli_server, cli_call,
    cli_ls, cli_get, cli_logs, cli_top, cli_wait, cli_cancel, cli_retry, cli_restart, cli_complete,
    cli_keys, cli_store, cli_verification, cli_completion, cli_version, cli_help;

#endif
