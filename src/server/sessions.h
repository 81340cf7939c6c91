// SPDX-License-Identifier: Apache-2.0
/*
 * Sessions: where runs of calls to bridge://SESSION wait for clients that fetch them by long poll
 * (protocol 5.1):
 *
 *   GET     holds until a run is there: 200, X-Request-Id and the run as an HTTP/1.1 request; or
 *           504 when the time that the client has (Request-Timeout) is almost over
 *   POST    X-Request-Id and the raw HTTP response to it: 202; 404 when it is not wanted any more
 *   DELETE  X-Request-Id: given back, 200; or 404
 *
 * A session is no more than a name within an organization: it exists while somebody waits for it,
 * and any number of clients serve it together. A run that was fetched is leased: it must be
 * answered within SESSIONS_LEASE_MS, or is given up as if it had been given back.
 *
 * Runs are embedded in what their owner has, who answers each callback by forgetting the run.
 */
#ifndef SERVER_SESSIONS_H
#define SERVER_SESSIONS_H

#include "base/clock.h"
#include "base/list.h"
#include "net/net.h"

/* Clients give a function 30 s; the rest is for the way. */
#define SESSIONS_LEASE_MS 35000
/* A poll is answered after this, or when the client's own time has but SESSIONS_MARGIN_MS left. */
#define SESSIONS_POLL_MS   26000
#define SESSIONS_MARGIN_MS 3000
#define SESSIONS_NAME_MAX  255
/* Polls that wait at one session; past it, 429. */
#define SESSIONS_POLLS_MAX 256
/* What may wait for a client, in all sessions together. Past it, runs of the session that was not
 * fetched from for the longest time are given up, to be made again later. */
#define SESSIONS_WAITING_MAX       1024
#define SESSIONS_WAITING_BYTES_MAX ((size_t)256 << 20)

struct sessions;
struct session;

struct session_run {
    struct session *session; /* NULL: none */
    struct list link;        /* in the session: of those that wait, or of those that are leased */
    struct list lease;       /* of all that are leased */
    const char *id;          /* its X-Request-Id */
    size_t size;             /* in memory, about */
    int64_t lease_end;       /* 0: nobody has fetched it */
};

struct sessions_options {
    struct net_loop *loop;
    struct clock *clock;
    size_t body_max;          /* of a response */
    size_t waiting_max;       /* runs; 0: SESSIONS_WAITING_MAX */
    size_t waiting_bytes_max; /* 0: SESSIONS_WAITING_BYTES_MAX */
    uint32_t lease_ms;        /* 0: SESSIONS_LEASE_MS */
    /* The run as an HTTP/1.1 request; NULL: no memory. */
    struct blob *(*request)(struct session_run *run);
    void (*answered)(struct session_run *run, const struct net_response *response);
    /* It may or may not have run. `why` is for people, and static. */
    void (*abandoned)(struct session_run *run, const char *why);
};

int sessions_create(struct sessions **sessions, const struct sessions_options *options,
                    struct error *err);
/* Polls are refused from now on (503), and so are those that wait. Runs that nobody has fetched are
 * given up; others may still be answered. */
void sessions_stop(struct sessions *sessions);
void sessions_destroy(struct sessions *sessions); /* no run is left; NULL is fine */

/* The run's `id` is set, and lives as long as the run. Fetched at once if somebody waits. */
int sessions_add(struct sessions *sessions, struct slice org, struct slice name,
                 struct session_run *run, struct error *err);
/* It is not wanted any more: whoever has fetched it will learn so. */
void sessions_remove(struct sessions *sessions, struct session_run *run);

/*
 * A request to a session: answered now, or, a poll, when there is a run, the exchange's data being
 * a struct pending (pending.h) until then. On a code there was no answer, and `err` says what it
 * has to be: CODE_UNIMPLEMENTED (another method), CODE_INVALID_ARGUMENT, CODE_NOT_FOUND,
 * CODE_RESOURCE_EXHAUSTED, CODE_UNAVAILABLE.
 */
int sessions_handle(struct sessions *sessions, struct slice org, struct slice name,
                    struct net_exchange *exchange, const struct net_request *request,
                    struct error *err);

#endif
