// SPDX-License-Identifier: Apache-2.0
/*
 * The other end of a session (sessions.h): fetches the runs of a session from an orchestrator
 * elsewhere, has them answered by an application that listens at an address, and brings the
 * responses back. What cannot be answered is given back.
 *
 * It polls while the application listens, and dials it until it does.
 */
#ifndef SERVER_FETCHER_H
#define SERVER_FETCHER_H

#include "base/log.h"
#include "net/net.h"
#include "orchestrator/orchestrator.h"

#define FETCHER_RUNS_MAX 256 /* at once */

struct fetcher;

/* All strings live as long as the fetcher. */
struct fetcher_options {
    struct net_loop *loop;
    struct log *log;
    const char *url;         /* of the bridge; sessions are below it */
    const char *host_header; /* instead of the URL's; NULL: the URL's */
    const char *session, *key;
    const char *key_hint; /* where the key came from, for people: "check ..." */
    const char *host;     /* of the application */
    uint16_t port;
    /* Sees the runs that are posted to the application; their numbers among the attempts of their
     * calls are not known here, nor is the organization. Or NULL. */
    const struct orchestrator_observer *observer;
    void (*stopped)(void *arg);
    void *arg;
};

/* CODE_INVALID_ARGUMENT: the URL is none, or the host has no address. */
int fetcher_create(struct fetcher **fetcher, const struct fetcher_options *options,
                   struct error *err);
/* A poll has been answered at some time: the orchestrator is there, and takes the key. */
bool fetcher_reached(const struct fetcher *fetcher);
/* Gives back what is not answered yet, and calls stopped(), from within at the earliest. */
void fetcher_stop(struct fetcher *fetcher);
/* At once: whatever it has is left to the orchestrator's patience. NULL is fine. */
void fetcher_destroy(struct fetcher *fetcher);

#endif
