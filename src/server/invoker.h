// SPDX-License-Identifier: Apache-2.0
/*
 * The invoker of a server: runs over HTTP, by POST to the endpoint (protocol 3.1), and what comes
 * back made into a response or a status (protocol 3.3). A session, where calls to bridge://SESSION
 * go, is served by whoever fetches from it (sessions.h), or by an address that a table gives for
 * it.
 */
#ifndef SERVER_INVOKER_H
#define SERVER_INVOKER_H

#include "base/log.h"
#include "net/net.h"
#include "orchestrator/orchestrator.h"
#include "server/credentials.h"
#include "server/policy.h"
#include "server/sessions.h"

#define INVOKER_TIMEOUT_MS 60000

#define INVOKER_BRIDGES_MAX 16

struct http_invoker;

/* Calls to bridge://SESSION, whatever their organization, go to http://HOST:PORT, and wait while
 * nobody listens there. */
struct invoker_bridge {
    const char *session, *host;
    uint16_t port;
};

struct http_invoker_options {
    struct net_loop *loop;
    struct clock *clock;
    struct log *log;     /* or NULL */
    uint32_t timeout_ms; /* of one run; 0: INVOKER_TIMEOUT_MS */
    /* PEM authorities that vouch for https endpoints, instead of the system's; read by
     * http_invoker_create, and by http_invoker_reload_ca */
    const char *ca_file;
    /* Where the Invoke API of AWS Lambda is spoken (lambda.h), for endpoints that are ARNs;
     * outlives the invoker; NULL: they are refused */
    const char *lambda_url;
    /* Runs of an organization that has a signing key are signed; outlives the invoker; or NULL */
    const struct credentials *credentials;
    const struct invoker_bridge *bridges; /* read by http_invoker_create only */
    size_t bridge_count;                  /* at most INVOKER_BRIDGES_MAX */
    const struct policy *policy; /* where runs may go, fixed; outlives the invoker; or NULL */
    size_t body_max;             /* of responses that clients of sessions bring */
    size_t waiting_max;          /* runs that wait for such clients; 0: the default */
    /* A run was answered: the orchestrator wants a step. */
    void (*changed)(void *arg);
    void *arg;
};

int http_invoker_create(struct http_invoker **invoker, const struct http_invoker_options *options,
                        struct error *err);
/* For connections that begin from now on; on failure those before stay. */
int http_invoker_reload_ca(struct http_invoker *invoker, const char *ca_file, struct error *err);
/* Nobody is to begin runs any more: clients of sessions are refused, and runs that no application
 * has, as none was there, are given up. */
void http_invoker_stop(struct http_invoker *invoker);
/* No run is in flight any more: the orchestrator was destroyed before. */
void http_invoker_destroy(struct http_invoker *invoker); /* NULL is fine */
/* True if somebody has listened at the address of the i-th bridge at some time. */
bool http_invoker_reached(const struct http_invoker *invoker, size_t i);
/* Where clients fetch the runs of the other sessions. */
struct sessions *http_invoker_sessions(struct http_invoker *invoker);
/* What an orchestrator is given; lives as long as the http_invoker. */
struct invoker *http_invoker_vtable(struct http_invoker *invoker);

#endif
