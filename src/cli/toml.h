// SPDX-License-Identifier: Apache-2.0
/*
 * A reader of the part of TOML 1.0 that configuration files of ours are written in: comments,
 * tables, dotted and quoted keys, strings of one line, numbers, times and booleans as the words
 * they are, and arrays of these on one line. Arrays within arrays, inline tables and what goes on
 * in the next line are refused, by the number of the line.
 */
#ifndef CLI_TOML_H
#define CLI_TOML_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

#define TOML_DEPTH_MAX 4
#define TOML_NAME_MAX  128  /* bytes of a name, with its NUL */
#define TOML_VALUE_MAX 8192 /* of a value: a path fits */

struct toml_pair {
    const char *names[TOML_DEPTH_MAX]; /* of the tables, and then of the key */
    size_t depth;
    const char *value; /* UTF-8 without control characters, as are the names */
    bool quoted;       /* a string */
    bool listed;       /* it is one of an array's */
    unsigned line;
};

/* What it refuses, with a code and a message, ends the reading, and the line is named before it. */
typedef int toml_taken(void *arg, const struct toml_pair *pair, struct error *err);

/* Each pair in its order, one for each value of an array; what was given lives during the call.
 * CODE_INVALID_ARGUMENT, beginning "line N: ", or what `taken` returned. */
int toml_read(struct slice text, toml_taken *taken, void *arg, struct error *err);

/* The text, which is UTF-8 without control characters, as a string in quotes. */
void toml_write_string(struct buf *out, const char *text);

#endif
