// SPDX-License-Identifier: Apache-2.0
/*
 * What is counted, as GET /metrics answers it: Prometheus' text format 0.0.4. docs/metrics.md is
 * the contract of the names; a test holds the two to each other.
 */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "orchestrator/orchestrator.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* Of the text; and how many groups have series of their own, those that have been there longest. */
#define METRICS_MAX        ((size_t)16 << 20)
#define METRICS_GROUPS_MAX 100

/* Appends all of it; NULL: the orchestrator has stopped. out->failed tells. */
void metrics_write(const struct orchestrator *orchestrator, struct buf *out);

#endif
