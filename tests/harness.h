// SPDX-License-Identifier: Apache-2.0
/*
 * For tests of whole programs: a `dispatch server` in a process of its own, that can be killed and
 * started again on the same store and port; a directory that goes with the test; and a look into
 * the store, read-only, beside the server that holds it.
 *
 * Everything asserts: a harness that cannot do what it is asked has failed the test.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/row.h"

#define HARNESS_KEY "test-key"

struct harness {
    const char *binary;  /* build/dispatch */
    const char *preload; /* a library to load into the server first; NULL: none */
    char dir[PATH_MAX];
    char store_dir[PATH_MAX + 16]; /* where the store's file is; the directory itself by default */
    char url[64];                  /* "http://127.0.0.1:PORT" once it was started */
    uint16_t port;
    pid_t pid; /* 0: not running */
    int starts;
};

/* Makes the directory. */
void harness_init(struct harness *h, const char *binary);
/* Kills what runs, and removes the directory. */
void harness_finish(struct harness *h);

/* Starts the server, and returns when it takes calls. The same port each time. Its log goes to
 * server.log in the directory. */
void harness_start(struct harness *h);
/* SIGKILL, and waits for the end. */
void harness_kill(struct harness *h);
/* SIGTERM, waits for the end; asserts that it was a good one. */
void harness_stop(struct harness *h);

/* A path in the directory; lives until the next four calls. */
const char *harness_path(struct harness *h, const char *name);

/* How many calls are live (counting those whose result their parent has not taken), and how many of
 * those are suspended, as committed. */
struct harness_census {
    uint64_t live, suspended, done;
};
struct harness_census harness_census(struct harness *h);
/* Looks again until check(census) is true; fails the test after `seconds`. */
void harness_until(struct harness *h, bool (*check)(const struct harness_census *census, void *arg),
                   void *arg, int seconds);

/* Whether the answer to that run of the call (polls count from 0) is committed. */
bool harness_answered(struct harness *h, const char *dispatch_id, uint32_t generation,
                      uint32_t resume);

/* A moment's pause between two looks at something that gives no signal. */
void harness_pause(int ms);
int64_t harness_now_ms(void);

/* The test's seed: SEED from the environment, else a fresh one; printed. */
uint64_t harness_seed(void);

#endif
