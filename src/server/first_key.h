// SPDX-License-Identifier: Apache-2.0
/*
 * The first API key of a store: made when a server that was given none opens a store that has none,
 * so that whoever starts it can use it at once. Its secret is told to nobody but a file beside the
 * store, for its owner alone; neither the log nor the store has it.
 */
#ifndef SERVER_FIRST_KEY_H
#define SERVER_FIRST_KEY_H

#include "server/credentials.h"

bool first_key_wanted(const struct credentials *c);

/*
 * Writes the secret of a new key of the organization "default" to the file, which is replaced as a
 * whole, and then has the key committed; so a crash in between costs nothing but another key.
 * `done` comes once, from within the call or later; the error is NULL if the key counts from now
 * on.
 */
void first_key_make(struct credentials *c, struct orchestrator *o, const char *path,
                    void (*done)(void *arg, const struct error *error), void *arg);

#endif
