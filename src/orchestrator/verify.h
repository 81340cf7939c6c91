// SPDX-License-Identifier: Apache-2.0
/*
 * Whether the rows of a store are such as the orchestrator leaves them: each can be read, and what
 * they say of each other is so. Nothing is changed, and little is kept in memory.
 */
#ifndef ORCHESTRATOR_VERIFY_H
#define ORCHESTRATOR_VERIFY_H

#include "orchestrator/orchestrator.h"

/* Also what is in a store, for people. */
struct verify_stats {
    uint64_t calls[CALL_STATES];  /* rows of TABLE_CALL by state; done: results not yet taken */
    uint64_t ended[STATUS_COUNT]; /* rows of TABLE_DONE */
    uint64_t rows[TABLE_COUNT], bytes[TABLE_COUNT]; /* bytes of values */
    uint64_t trees_out, notes, requests, events;
    int64_t oldest_live, oldest_ended; /* creation; end; TIME_NEVER: there is none */
};

struct verify_options {
    int64_t kept_since; /* what ended later was not removed: an hour ago, as a rule */
    /* Something is wrong, of a call, or of none (0). */
    void (*violation)(void *arg, uint64_t call, const char *what);
    /* A note; CODE_OK if it can be read. NULL: they are not looked at. */
    int (*note)(void *arg, const struct orchestrator_note *note, struct error *err);
    void *arg;
};

/* Looks at everything. The store is as of one moment (store_sqlite_pin), or nobody writes to it.
 * Fails only where the store cannot be read, or there is no memory. */
int verify_store(struct store *store, const struct verify_options *options,
                 struct verify_stats *stats, struct error *err);

#endif
