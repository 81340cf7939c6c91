// SPDX-License-Identifier: Apache-2.0
/*
 * Output of a process, passed on line by line with a prefix, so that lines of several sources can
 * share a terminal. A line is written at once, when it is complete; one that is longer than
 * LINES_MAX comes in several pieces, each a line with the prefix.
 */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

#define LINES_MAX        65536 /* as much as the original reads */
#define LINES_PREFIX_MAX 256

struct lines {
    int fd;
    /* Gets the lines, without prefix and end, instead of fd; or NULL, as lines_init has it. */
    void (*sink)(void *arg, struct slice line);
    void *sink_arg;
    size_t prefix_len, len; /* len: of the line so far, without the prefix */
    char text[LINES_PREFIX_MAX + LINES_MAX + 1];
};

/* The prefix is cut at LINES_PREFIX_MAX bytes. */
void lines_init(struct lines *lines, int fd, const char *prefix);
void lines_feed(struct lines *lines, const char *data, size_t len);
/* Writes a last line that has no end. */
void lines_end(struct lines *lines);

/* "name     | ", the name padded to `width` and cut at 64 characters, what a terminal would obey
 * replaced; in the ANSI colour, and the separator gray, if `colours`. */
void lines_prefix(char prefix[LINES_PREFIX_MAX], const char *name, int width, const char *colour,
                  bool colours);
/* Colours are wanted on this descriptor: a terminal, and NO_COLOR is not set. */
bool lines_colours(int fd);

#endif
