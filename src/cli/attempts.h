// SPDX-License-Identifier: Apache-2.0
/* The attempts of a call that whoever holds the store remembers: for `dispatch logs` and `get`. */
#ifndef CLI_ATTEMPTS_H
#define CLI_ATTEMPTS_H

#include "cli/ask.h"
#include "cli/show.h"

#define ATTEMPTS_PAGE 1000

/* A code. Pages of `limit` from `token` on ("": the oldest), in the ask's arena. */
int attempts_load(struct ask *ask, const char *id, const char *token, uint32_t limit,
                  Dispatch__V1__AttemptsResponse **page);

/* One line: when, which, how long, what came of it. */
void attempts_line(const struct show *show, const Dispatch__V1__Attempt *attempt);
/* Says that there were others before; nothing if there were none. */
void attempts_missing(const struct show *show, const Dispatch__V1__AttemptsResponse *page);

#endif
