// SPDX-License-Identifier: Apache-2.0
/*
 * An orchestrator inside the process: that of a server without addresses, on a client's event loop,
 * whose runs go to an endpoint of this process directly. All of it belongs to the loop's thread,
 * save making and destroying it, while that thread does not run.
 */
#ifndef SDK_EMBEDDED_H
#define SDK_EMBEDDED_H

#include "net/net.h"
#include "sdk/internal.h"

struct sdk_embedded;

struct sdk_embedded_options {
    const char *store;                  /* "sqlite:PATH" or "memory:" */
    uint32_t store_wait_ms;             /* for a file that another process holds */
    bool store_inline;                  /* the loop's thread writes to the store itself */
    const char *url;                    /* the endpoint's: calls to it run here */
    struct dispatch_endpoint *endpoint; /* outlives the functions, not the sdk_embedded */
    uint32_t grace_ms;                  /* for runs under way, when it is stopped */
    void (*settled)(void *arg);         /* on the loop's thread: for each sdk_embedded_settle */
    void (*stopped)(void *arg);         /* the same: what sdk_embedded_stop began */
    void *arg;
};

int sdk_embedded_create(struct dispatch_client *client, const struct sdk_embedded_options *options,
                        struct sdk_embedded **embedded, struct error *err);
/* Asks to be told, once, when no call is live, and what there was to commit is durable. */
void sdk_embedded_settle(struct sdk_embedded *embedded);
/* Takes no new calls, starts no new runs. */
void sdk_embedded_stop(struct sdk_embedded *embedded);
/* No operation is under way, and no function runs. NULL is fine. */
void sdk_embedded_destroy(struct sdk_embedded *embedded);

/* The endpoint's, as it was given; lives as long. */
const char *sdk_embedded_url(const struct sdk_embedded *embedded);

/* The functions of an endpoint without threads: see endpoint.h. */
bool sdk_embedded_has_work(struct sdk_embedded *embedded);
void sdk_embedded_work(struct sdk_embedded *embedded);

/* Makes the request of an operation, whose outcome comes later. */
void sdk_embedded_attempt(struct sdk_embedded *embedded, struct dispatch_operation *operation);
/* The outcome will not come. */
void sdk_embedded_cancel(struct dispatch_operation *operation);

#endif
