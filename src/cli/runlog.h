// SPDX-License-Identifier: Apache-2.0
/* The lines that `dispatch run` logs of the calls that it has run: each attempt as it starts, and
 * how it ended. */
#ifndef CLI_RUNLOG_H
#define CLI_RUNLOG_H

#include "base/map.h"
#include "server/server.h"

struct runlog {
    struct log *log;
    bool verbose;         /* inputs and outputs too; may change at any time */
    struct map functions; /* attempt to the name of its function: those under way */
    struct arena arena;
};

void runlog_init(struct runlog *r, struct log *log, bool verbose);
void runlog_free(struct runlog *r);

void runlog_started(struct runlog *r, const struct orchestrator_attempt *attempt);
void runlog_ended(struct runlog *r, const struct orchestrator_outcome *outcome);

/* "OK", "Temporary error": a status as the view and the log show it. */
const char *runlog_status(enum status status);

#endif
