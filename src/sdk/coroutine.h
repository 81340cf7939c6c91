// SPDX-License-Identifier: Apache-2.0
/*
 * Coroutines: what one execution of a function is made of, shared by the files that run it
 * (coroutine.c), deliver and poll (poll.c), await (await.c), make durable (durable.c), and keep
 * suspended ones (suspended.c).
 *
 * An execution is a function run from its top until its call ends, or its stack is dropped. It is
 * first run or resumed by one request after another, each on the thread that began it, and lives in
 * its ctx's arena. Inside it coroutines run one at a time: the function itself (main) and those it
 * spawned, each on a fiber. They wait for tasks. What makes a task done is delivered by the
 * scheduler, one result at a time, and between two results everything that can run does: that order
 * is what the journal records and a replay repeats.
 */
#ifndef SDK_COROUTINE_H
#define SDK_COROUTINE_H

#include "base/blob.h"
#include "base/map.h"
#include "sdk/fiber.h"
#include "sdk/internal.h"
#include "sdk/journal.h"

/* --- tasks and coroutines -------------------------------------------------------------------- */

enum task_kind { TASK_CALL, TASK_LOCAL, TASK_TIMER };

struct dispatch_task {
    struct list node;   /* in the execution's open tasks, while not done */
    struct list unsent; /* calls: in the execution's, until a poll takes it along */
    enum task_kind kind;
    bool done, forgotten, left; /* left: a call that a poll took along */
    const char *name;
    uint64_t correlation; /* calls and timers */
    int64_t deadline_ns;  /* timers */
    struct slice packed;  /* calls: a wire Call, until it has left */
    struct coroutine *coroutine, *creator;
    struct list waiters;  /* wait_link.node */
    uint64_t finished_at; /* in the order of their ends, from 1 */
    uint64_t mark;        /* for looking at each task of a wait once */
    struct dispatch_result result;
};

enum wait_kind { WAIT_NOTHING, WAIT_ONE, WAIT_ALL, WAIT_ANY, WAIT_RACE, WAIT_COMMIT };

struct wait_link {
    struct list node;
    struct coroutine *coroutine;
};

/* What a coroutine waits for. The arrays lie on its stack. */
struct wait {
    enum wait_kind kind;
    struct dispatch_task *const *tasks;
    struct wait_link *links;
    size_t count, pending;
};

struct deferred {
    struct deferred *next;
    void (*fn)(void *arg);
    void *arg;
};

struct coroutine {
    struct list node;  /* in the execution's coroutines, in the order of their birth */
    struct list ready; /* in the execution's queue */
    struct execution *execution;
    struct sdk_fiber *fiber; /* NULL: over */
    bool started, dropped;
    dispatch_function *function;
    struct dispatch_value input;
    const char *name;
    struct dispatch_task *task; /* NULL: main */
    uint64_t path;       /* names it in each replay: of its parent, and what that had awaited */
    uint32_t awaits;     /* that its code has made */
    uint32_t dispatches; /* since the latest of them */
    struct blob *held;   /* given back when its stack ends */
    struct wait wait;
    struct deferred *deferred;
    struct dispatch_result result;
};

/* --- executions ------------------------------------------------------------------------------ */

/* An answer of dispatch_patched. */
struct patch {
    struct patch *next;
    bool patched;
    char name[];
};

/* Settings of an endpoint, and its suspended executions. */
struct sdk_coroutines;
struct sdk_stacks *sdk_coroutines_stacks(const struct sdk_coroutines *owner);
/* What on_divergence says. */
bool sdk_coroutines_restarts(const struct sdk_coroutines *owner);
void sdk_coroutines_warn(const struct sdk_coroutines *owner, const char *id, const char *format,
                         ...) __attribute__((format(printf, 3, 4)));

struct execution {
    struct sdk_coroutines *owner;
    struct dispatch_ctx *ctx;
    dispatch_function *function;
    const char *name;
    struct list ready, coroutines;
    struct list open, unsent;         /* tasks that are not done; calls that have not left */
    struct map calls;                 /* open calls and timers by correlation id */
    struct coroutine *main, *current; /* current: whose fiber runs */
    bool finished;                    /* main has returned */
    bool ended;                       /* early, with `output` */
    bool in_effect;                   /* of a step */
    struct dispatch_output output;

    struct journal journal; /* empty until something is to be kept */
    bool journaled;         /* it is not empty */
    struct journal_record next;
    bool has_next;    /* `next` was read, and nobody has made that await yet */
    uint32_t polls;   /* since the journal began */
    uint64_t base;    /* how many records came before it */
    size_t committed; /* bytes of the journal that the orchestrator has; 0: none of it */
    struct list left; /* calls of the last poll: tasks, by `unsent` */
    uint64_t marks, finishes;
    size_t awaiting_results; /* open calls */
    struct buf cancelled;    /* correlation ids, uint64_t each, for the next poll */

    bool extended; /* the orchestrator is ours */
    uint32_t generation;
    int64_t now_ns;   /* its clock when this run began */
    int64_t began_ns; /* ours then */
    bool strict;      /* DISPATCH_REPLAY=always */
    int32_t min_results, max_results;
    int64_t max_wait_ms;

    void *state;
    size_t state_size;
    struct slice saved_state, saved_architecture; /* of the checkpoint, in the arena */
    struct patch *patches;

    /* While suspended (suspended.c). */
    struct list recent;
    struct execution *chain;
    uint64_t id_hash;
    size_t size;
    pthread_t thread;
    uint32_t worker;
};

/* --- coroutine.c ----------------------------------------------------------------------------- */

/* Ends the run early with an error; in a fiber it does not return there, which callers must not
 * rely on outside of one (they look at e->ended). */
void execution_fail(struct execution *e, enum dispatch_status status, const char *type,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));
void execution_end(struct execution *e, struct dispatch_output output);
void execution_memory(struct execution *e);
/* A new coroutine, ready to run. NULL: the run has ended for want of memory. */
struct coroutine *coroutine_create(struct execution *e, dispatch_function *function,
                                   struct dispatch_value input, const char *name,
                                   struct dispatch_task *task);
/* The present coroutine stops until it is made ready. */
void coroutine_suspend(struct execution *e);
void coroutine_ready(struct coroutine *c);
/* Ends a coroutine where it stands, and runs its handlers. Nothing if it is over. */
void coroutine_drop(struct coroutine *c);
/* Runs whatever can run, until all wait or the run is over. */
void execution_run_ready(struct execution *e);
/* Drops all that is left of it, main last. */
void execution_drop(struct execution *e);

/* A deep copy in the arena of the run, as it would come out of a journal. */
int execution_copy_value(struct execution *e, struct dispatch_value value,
                         struct dispatch_value *copy, struct error *err);

/* --- await.c --------------------------------------------------------------------------------- */

void task_complete(struct execution *e, struct dispatch_task *task, struct dispatch_result result);
/* The open task with that correlation id; NULL: none. */
struct dispatch_task *task_find(struct execution *e, uint64_t correlation);
/* Its result is not wanted. `cancel`: nor is the call itself. */
void task_abandon(struct execution *e, struct dispatch_task *task, bool cancel);
/* Takes a coroutine that will not run again out of what it waits for, and abandons what only it
 * wanted. */
void coroutine_retire(struct coroutine *c);
struct dispatch_task *task_create(struct execution *e, enum task_kind kind, const char *name);
/* The execution that may await now; NULL: none. */
struct execution *awaiting(struct dispatch_ctx *ctx);
/* The error that says who may. */
struct dispatch_result misuse(void);
/* Notes in the error that it passed through here. */
void result_trace(struct execution *e, struct dispatch_result *result, const char *name);

/* --- durable.c ------------------------------------------------------------------------------- */

/*
 * An await that the code makes: is it in the journal? True: *record is what is there; false: it is
 * new, and the caller appends it. If the journal has another one the run ends, Diverged. Only
 * `kind`, and of `made` what journals compare (name, number), are looked at.
 */
bool journal_replays(struct execution *e, const struct journal_record *made,
                     struct journal_record *record);
/* A warning, or an error under DISPATCH_REPLAY=always, if `what` of the record had another digest
 * when it was made. */
void check_digest(struct execution *e, const struct journal_record *record, const char *what,
                  uint32_t digest);
/* Reads ahead; false: the journal is at its end, or the run has ended as it cannot be read. */
bool journal_peek(struct execution *e);
/* Appends; a failure ends the run. */
bool journal_put(struct execution *e, struct journal_record *record);
void execution_diverged(struct execution *e, const struct journal_record *expected,
                        const struct journal_record *made);
/* The orchestrator's time now. */
int64_t execution_now(const struct execution *e);
/* What `dispatch_checkpoint` returned. */
bool is_checkpoint(const struct dispatch_result *result);
/* The journal that a checkpoint leaves. False: the run has ended, with an error. */
bool checkpoint_journal(struct execution *e);
/* Between results and their form in the journal. */
int result_to_journal(struct execution *e, const struct dispatch_result *result,
                      struct journal_result *out, struct error *err);
int result_from_journal(struct execution *e, const struct journal_result *in,
                        struct dispatch_result *result, struct error *err);
void result_from_wire(const wire_call_result *in, struct journal_result *out);

/* --- poll.c ---------------------------------------------------------------------------------- */

/* Brings an execution that was just begun to where its journal ends. */
void execution_replay(struct execution *e);
/* Wakes those who waited for a commit: what was written so far is. */
void execution_committed(struct execution *e);
/* Delivers what a resume brought. */
void execution_deliver(struct execution *e, const wire_poll_result *poll);
/* Fires what is due; then, the answer of a run that waits: a poll, in memory of the caller's.
 * NULL: the run has ended after all (nothing can wake it, no memory). */
void execution_fire_due(struct execution *e);
enum poll_reason {
    POLL_WAITS,      /* somebody waits */
    POLL_CHECKPOINT, /* to be entered again at once, with the journal as it is */
    POLL_LAST_CALLS  /* the function is over, and calls that it began are still to leave */
};
bool execution_poll(struct execution *e, enum poll_reason reason, struct buf *out);

#endif
