// SPDX-License-Identifier: Apache-2.0
/*
 * A server: an orchestrator on a store, the API in front of it and HTTP to the endpoints behind it,
 * all on one event loop that the caller owns and runs. One thread, that of the loop.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <limits.h>

#include "base/log.h"
#include "net/net.h"
#include "orchestrator/orchestrator.h"
#include "server/invoker.h"
#include "server/keys.h"

#define SERVER_LISTEN_MAX  16
#define SERVER_ADDRESS_MAX 300
#define SERVER_BODY_MAX    ((size_t)20000000)

struct server;

struct server_options {
    struct net_loop *loop;     /* outlives the server */
    const char *const *listen; /* "HOST:PORT", 1 to SERVER_LISTEN_MAX (0 with an `invoker`); port 0:
                                  any; no host: every address of the machine */
    size_t listen_count;
    /* PEM files, the certificate's chain behind it; both: TLS at every address. Read again by
     * server_reload_tls: they outlive the server, as does the next one. */
    const char *tls_cert_file, *tls_key_file;
    const char *ca_file;    /* see server/invoker.h */
    const char *lambda_url; /* see server/invoker.h; outlives the server */
    const char *store;      /* for store_open; outlives the server */
    uint32_t store_wait_ms; /* how long to wait for one that another process holds; 0: not */
    bool store_inline;      /* the store is used on the loop's thread, not on threads of its own */
    /* Delivers the runs instead of the server's own invoker, which it may hand some to
     * (server_invoker). Outlives the server. */
    struct invoker *invoker;
    const struct keys *keys; /* outlives the server; NULL: requests need none, and every address to
                                listen on has to be of the loopback */
    /* Without keys in `keys` and in the store, an API key is made and written to this file
     * (first_key.h) before the server is ready. Outlives the server; NULL: none is made. */
    const char *first_key_file;
    /* Where calls may go. Outlives the server; NULL: wherever they say, which for a server that
     * other machines reach leaves link-local addresses out (policy.h), as it does in any case. */
    const struct policy *policy;
    bool metrics_public;                  /* GET /metrics needs no key */
    uint32_t run_timeout_ms;              /* of a run over HTTP; 0: 60,000 */
    const struct invoker_bridge *bridges; /* see server/invoker.h; read by server_create only */
    size_t bridge_count;
    uint32_t grace_ms; /* what server_stop gives to runs in flight */
    struct engine_config engine;
    int64_t retention_ns;     /* orchestrator.h; 0: 72 h */
    uint64_t retention_bytes; /* 0: 10 GiB */
    struct log *log;          /* or NULL */
    /* The store was loaded for the first time: calls are taken. */
    void (*ready)(void *arg, const struct server *server);
    void (*stepped)(void *arg); /* after each step of the orchestrator, for its stats; or NULL */
    /* What server_stop began is over; server_destroy may follow, once this has returned. */
    void (*stopped)(void *arg);
    void *arg;
};

/*
 * Opens the store and listens before it returns; the store is loaded by the loop.
 *
 * Beside the file of an SQLite store it listens at a Unix socket, too, where the operator has the
 * same API without a key (server/api.h), as only who may read the file may connect. If that cannot
 * be, the log says why.
 */
int server_create(struct server **server, const struct server_options *options, struct error *err);

/* For who shares the server's thread: its orchestrator (NULL once it has stopped), whom
 * server_changed tells of events that came from elsewhere than the server; and the invoker that
 * reaches endpoints over the network. */
struct orchestrator *server_orchestrator(const struct server *server);
void server_changed(struct server *server);
struct invoker *server_invoker(const struct server *server);

/* Where a server that has this store listens for the operator: false if the store is of no file, or
 * the file is not there. */
bool server_control_path(const char *store, char path[PATH_MAX]);

/* The i-th address as listened on, with its real port; NULL past the last one. */
const char *server_address(const struct server *server, size_t i);
/* True if somebody has listened at the address of the i-th bridge at some time. */
bool server_reached(const struct server *server, size_t i);
/* A first key was made. */
bool server_made_key(const struct server *server);
void server_stats(const struct server *server, struct orchestrator_stats *stats);

/* Reads the certificate and its key again, if it has them, and the file of authorities, if it has
 * one, for new connections. What cannot be used stays as it was. Logs what it did. */
void server_reload_tls(struct server *server);

/*
 * Begins to stop: new calls are refused, no new run starts, runs in flight have `grace_ms` to
 * answer, but for those that no application has yet (held for one that does not listen, or waiting
 * at a session); those that have not by then are made again after the next start. `stopped` is
 * called when all is committed and the store is closed. A second call is harmless.
 */
void server_stop(struct server *server);

/* Stops at once if it has not stopped yet. NULL is fine. */
void server_destroy(struct server *server);

/* True for addresses that only this machine reaches: 127.0.0.0/8, ::1 and "localhost". */
bool server_is_loopback(const char *host);

#endif
