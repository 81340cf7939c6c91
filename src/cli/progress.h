// SPDX-License-Identifier: Apache-2.0
/*
 * How far the command is with its standard input: a bar if that is a file, else a number, on
 * stderr, and only if that is a terminal to which stdout does not go as well.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown; /* there is a line to be cleared */
    bool wanted;
    int64_t size; /* of the file; 0: it is none */
    int percent;  /* as last shown */
};

void progress_start(struct progress *progress);
void progress_show(struct progress *progress, uint64_t calls);
void progress_end(struct progress *progress); /* clears it */

#endif
