// SPDX-License-Identifier: Apache-2.0
/*
 * The invoker of a server: runs over HTTP, by POST to the endpoint (protocol 3.1), and what comes
 * back made into a response or a status (protocol 3.3).
 */
#ifndef SERVER_INVOKER_H
#define SERVER_INVOKER_H

#include "base/log.h"
#include "net/net.h"
#include "orchestrator/orchestrator.h"

#define INVOKER_TIMEOUT_MS 60000

struct http_invoker;

struct http_invoker_options {
    struct net_loop *loop;
    struct clock *clock;
    struct log *log;     /* or NULL */
    uint32_t timeout_ms; /* of one run; 0: INVOKER_TIMEOUT_MS */
    /* A run was answered: the orchestrator wants a step. */
    void (*changed)(void *arg);
    void *arg;
};

int http_invoker_create(struct http_invoker **invoker, const struct http_invoker_options *options,
                        struct error *err);
/* No run is in flight any more: the orchestrator was destroyed before. */
void http_invoker_destroy(struct http_invoker *invoker); /* NULL is fine */
/* What an orchestrator is given; lives as long as the http_invoker. */
struct invoker *http_invoker_vtable(struct http_invoker *invoker);

#endif
