// SPDX-License-Identifier: Apache-2.0
/*
 * What the load over HTTP (load.c) and the one in the process (embedded.c) share: the settings of
 * a run of a workload, what processes have used, when calls are over, and the outcome.
 *
 * When is a call over? When its completion is recorded. So a run of calls that nobody waits for
 * ends when the store itself, read with a handle of our own beside the orchestrator's, holds no
 * live call but those that it held before: what a reader sees has been synced, by the rules of
 * SQLite's WAL with synchronous=FULL. It is looked at (one lookup) every WATCH_MS, from when the
 * last Dispatch was answered. Afterwards, outside of the time measured, the finished calls are
 * counted. This asks nothing of the orchestrator, where waiting for each call would make it do a
 * second request a call.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "measure.h"

#define PAYLOAD  "0123456789abcdef0123456789abcdef"
#define WATCH_MS 2

enum workload {
    BATCHED, /* requests of `batch` calls, `connections` of them under way */
    SINGLE,  /* requests of one call, `connections` of them under way */
    LATENCY, /* `connections` calls under way: a Dispatch, then a Wait for its result */
    CALL,    /* `connections` calls under way: a Call, which is both in one request */
    SUSPEND, /* as BATCHED; over when all are suspended */
    POST,    /* requests to any HTTP server; over when all are answered, or `drained` */
    IDLE     /* nothing: the embedded orchestrator is open until stdin ends */
};

struct settings {
    enum workload workload;
    const char *function;
    long input;                       /* -1: PAYLOAD */
    long calls, batch, connections;   /* calls of `function`, in this run */
    long steps;                       /* that a call makes: what figures are divided by */
    const char *api, *endpoint;       /* URLs; served only */
    const char *store;                /* NULL: none to look into (POST) */
    pid_t server, application;        /* 0: there is none */
    const char *syncs;                /* file of count_sync.c; NULL: not counted */
    const char *path, *body;          /* POST: target and body of each request */
    const char *drain_url;            /* POST: asked by a POST of drain_body until it answers ... */
    const char *drain_body, *drained; /* ... `drained`; NULL: not asked */
};

/* Exits with a message when they are wrong. */
void settings_read(struct settings *s, int argc, char **argv);

/* Requests that the calls take. */
long settings_requests(const struct settings *s);
/* Whether each call's result is waited for. */
bool settings_alone(const struct settings *s);

/* What has been used so far. */
struct usage {
    int64_t at, server_cpu, application_cpu, load_cpu, written;
    uint64_t syncs;
};

struct usage usage_now(const struct settings *s);

/* The store, as a reader beside its owner. */
struct watch;

/* Begins after the calls that the store has. Exits when that fails. */
struct watch *watch_create(const struct settings *s);
/* Whether the calls made since are over, as the workload has it. */
bool watch_over(struct watch *w);
/* Exits unless as many calls as the settings say were made since, and are over. */
void watch_check(struct watch *w);
void watch_destroy(struct watch *w);

/* Prints the outcome as one line of JSON: what was used between a and b, a step; the samples'
 * percentiles. */
void report(const struct settings *s, const struct usage *a, const struct usage *b,
            struct samples *samples);

#endif
