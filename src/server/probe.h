// SPDX-License-Identifier: Apache-2.0
/*
 * Asks whether anybody accepts connections at an address, by making one and closing it at once.
 * Names are resolved when the probe is made, which may block; nothing else does.
 */
#ifndef SERVER_PROBE_H
#define SERVER_PROBE_H

#include <stdint.h>

#include "base/error.h"

struct probe;

enum probe_answer { PROBE_PENDING, PROBE_OPEN, PROBE_CLOSED };

/* CODE_INVALID_ARGUMENT: the name has no address. */
int probe_create(struct probe **probe, const char *host, uint16_t port, struct error *err);
void probe_destroy(struct probe *probe); /* NULL is fine */
/* Begins, or goes on with, an attempt at each address of the name in turn, for as long as that
 * needs no waiting. After an answer other than PROBE_PENDING the next call begins anew. */
enum probe_answer probe_step(struct probe *probe);
/* Steps until there is an answer, or PROBE_CLOSED after that time. */
enum probe_answer probe_wait(struct probe *probe, int timeout_ms);

#endif
