// SPDX-License-Identifier: Apache-2.0
/* The lock that makes one open handle the owner of a store's file. */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "base/error.h"

#include <stdint.h>

/*
 * Takes PATH.lock (made if it is not there, and never removed) for one owner among all processes
 * and within this one; *fd holds it. It goes with the process, however that ends; forks have no
 * part in it. CODE_UNAVAILABLE if somebody else has it and does not let go within wait_ms; the
 * message names the holder.
 */
int store_lock_take(int *fd, const char *path, uint32_t wait_ms, struct error *err);
void store_lock_release(int fd); /* a negative one is none */

#endif
