// SPDX-License-Identifier: Apache-2.0
/*
 * Files of environment variables, for --env-file: lines NAME=VALUE, `export` before them or not,
 * and comments. A value may stand in quotes, and then have several lines; within '' nothing is
 * special, within "" there are \n, \r, \" and so on; outside of both, " #" begins a comment. $NAME
 * and ${NAME}, but for '', are what the file has said of NAME before, or nothing.
 */
#ifndef CLI_DOTENV_H
#define CLI_DOTENV_H

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"

#define DOTENV_MAX       256 /* variables */
#define DOTENV_BYTES_MAX ((size_t)256 << 10)

struct dotenv {
    size_t count;
    struct dotenv_variable {
        const char *name, *value; /* in the arena */
    } variables[DOTENV_MAX];      /* in their order; a name may come again, and counts last */
};

/* CODE_INVALID_ARGUMENT, beginning "line N: ". */
int dotenv_read(struct dotenv *dotenv, struct slice text, struct arena *arena, struct error *err);

/* Puts the variables of the file into the environment, but for those that are there already. */
int dotenv_load(const char *path, struct error *err);

#endif
