// SPDX-License-Identifier: Apache-2.0
/*
 * A small world for this room's tests: an orchestrator on a memory store behind the fault
 * decorator, a clock that stands until told otherwise, and an invoker that keeps runs until the
 * test answers them. The store outlives the orchestrator, so that a test can start another one on
 * it.
 *
 * Allocations are the orchestrator's while these functions call it, else the test's
 * (scarce_pause).
 */
#ifndef ORCHESTRATOR_TESTING_H
#define ORCHESTRATOR_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/id.h"
#include "orchestrator/orchestrator.h"

#define T0        (INT64_C(1700000000) * NS_PER_S)
#define ENDPOINT  "http://app:8000"
#define RUNS_MAX  4096
#define REPLY_IDS 64
#define TEST_ORG  "acme"
#define TEST_TAG  UINT64_C(0x12345)

struct world {
    struct clock clock; /* first */
    int64_t now;
    struct store *memory; /* survives restarts */
    struct store_faults faults;
    size_t ballast; /* of the last fence */
    struct invoker invoker;
    struct orchestrator_run *runs[RUNS_MAX]; /* with the invoker, oldest first */
    size_t run_count, invoked, cancelled;
    const char *at_once; /* every run is answered with this as soon as it is there; NULL: not */
    bool slow_cancel;    /* a cancelled run is not answered at once */
    struct orchestrator_options options;
    struct orchestrator *o;
    char trace[1 << 16];
};

/* Makes a world with its orchestrator open. Options are as in w->options, if the test set some. */
void world_init(struct world *w);
/* A world with a clock and an invoker only. */
void world_prepare(struct world *w);
void world_start(struct world *w);
void world_restart(
    struct world *w); /* destroys the orchestrator, makes another on the same store */
void world_free(struct world *w);
/* Steps until nothing is left to do now. */
void world_settle(struct world *w);
void world_advance(struct world *w, int64_t ns);

/* The oldest run, which must be there, taken out of the invoker's list. */
struct orchestrator_run *world_take_run(struct world *w);
/* The oldest run of that function. */
struct orchestrator_run *world_take(struct world *w, const char *function);

struct reply { /* to a dispatch or a cancel */
    unsigned count;
    struct error error;
    char ids[REPLY_IDS][ID_TEXT_LEN + 1];
    size_t id_count;
};
void reply_dispatched(void *arg, const struct error *error, const wire_dispatch_response *r);
void reply_cancelled(void *arg, const struct error *error);

struct got { /* by a get or a wait */
    unsigned count;
    struct error error;
    Dispatch__V1__State state;
    int status;
    bool has_result, has_output, has_error;
    char output[256], input[256], id[64], parent[64], root[64], retry_of[64];
    char waiting_for[256];
    char error_type[64], error_message[ERROR_MESSAGE_MAX], last_error[ERROR_MESSAGE_MAX];
    int error_status;
    uint32_t generation, resumes, outstanding;
    uint64_t attempts;
};
void got_info(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info);

/* Dispatches one call with a text as its input (NULL: none) and settles; id: of the call. */
void world_dispatch(struct world *w, const char *function, const char *input,
                    char id[ID_TEXT_LEN + 1]);
/* Starts a dispatch and leaves it at that. */
void world_ask(struct world *w, const char *function, const char *input, struct reply *reply);
void world_get(struct world *w, const char *id, struct got *got);
/* The call must be done, with that status and output. */
void world_expect(struct world *w, const char *id, enum status status, const char *output);

/* Answers. */
void answer_ok(struct orchestrator_run *run, const char *output);
void answer_status(struct orchestrator_run *run, enum status status, const char *type,
                   const char *message);
struct child {
    const char *function;
    uint64_t correlation_id;
};
/* max_wait_ns -1: none. */
void answer_with_poll(struct orchestrator_run *run, const char *state, const struct child *children,
                      size_t count, int32_t min_results, int64_t max_wait_ns);
void answer_with_tail(struct orchestrator_run *run, enum status status, const char *function,
                      const char *input);
void answer_with_tail_to(struct orchestrator_run *run, const char *function, const char *endpoint);

/* What an Any of a StringValue says; "" for none. */
void any_text(const wire_any *any, char *out, size_t size);
wire_any *any_of(struct arena *arena, const char *text);

#endif
