// SPDX-License-Identifier: Apache-2.0
/*
 * Looking at the file of a store, and copying it, beside whoever holds it: both read what is
 * committed at one moment, and disturb nobody.
 */
#ifndef SERVER_INSPECT_H
#define SERVER_INSPECT_H

#include "orchestrator/verify.h"

struct inspect_options {
    const char *store; /* sqlite:PATH */
    bool pages;        /* has SQLite check its own pages, too */
    /* Something is wrong; `call` is its id, "" for none. */
    void (*violation)(void *arg, const char *call, const char *what);
    void *arg;
};

int inspect_store(const struct inspect_options *options, struct verify_stats *stats,
                  struct error *err);

/*
 * Copies the store to a file of that name, which appears when all of it is there, was checked and
 * is on disk. CODE_ALREADY_EXISTS: there is such a file; it stays as it is. CODE_DATA_LOSS: the
 * copy has something wrong, of which the first is told; there is no copy then.
 */
int inspect_backup(const char *store, const char *to, struct error *err);

#endif
