// SPDX-License-Identifier: Apache-2.0
/*
 * The orchestrator: engine + store + clock + a way to deliver runs. No network, no thread of its
 * own (the store's threads aside), no signals, no exit: the server, the embedded mode of the SDK
 * and the simulator are shells around this same object.
 *
 * One thread owns it and makes every call below, save that `wake` is called from store threads. The
 * shell calls orchestrator_step when woken and at the time the last step returned.
 *
 * When a commit fails, the orchestrator goes through what a crash would: waiters are answered
 * CODE_UNAVAILABLE, runs in flight are given up, admission closes, and with backoff the store is
 * fenced, the partition loaded again, and admission opened. Nothing acknowledged is lost by that.
 * The same when the lease on the partition is over (lease_ns), save that it may be another node
 * that opens it then.
 */
#ifndef ORCHESTRATOR_ORCHESTRATOR_H
#define ORCHESTRATOR_ORCHESTRATOR_H

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "engine/engine.h"
#include "store/store.h"
#include "wire/wire.h"

struct orchestrator;

/* --- delivering runs -------------------------------------------------------------------------- */

/* One attempt, owned by the invoker from `run` until it answers. */
struct orchestrator_run {
    const wire_run_request *request; /* in the run's arena */
    struct arena *arena;             /* the run's; the invoker may use it, or take its memory over,
                                        with the request and the texts below in it */
    struct slice endpoint;
    struct slice org;
    struct slice version; /* of the function, as the call asked for; empty: any */
    int64_t expires;      /* no answer counts after it */
    uint64_t attempt;     /* never the same for two runs of a store, across restarts too */
    void *invoker_data;   /* the invoker's own */
};

struct invoker {
    /* Start the attempt; answer now or later, exactly once, with one of the three functions below.
     */
    void (*run)(struct invoker *invoker, struct orchestrator_run *run);
    /* It is not wanted any more; it must still be answered (orchestrator_run_gone, at once or
     * soon). */
    void (*cancel)(struct invoker *invoker, struct orchestrator_run *run);
};

/* The attempt is on its way, for those who watch (below); again is harmless. An invoker that lets
 * runs wait says so when they go. */
void orchestrator_run_sent(struct orchestrator_run *run);

/* Each frees the run. The response is read during the call only. */
void orchestrator_run_answered(struct orchestrator_run *run, const wire_run_response *response);
struct run_failure {
    enum status status;
    const char *type, *message; /* of the Error made of it; type NULL: "status" */
    int http_status;            /* of the response that it was made of; 0: there was none */
    bool transport;             /* no HTTP response: counts as overload of the endpoint */
    bool too_large;             /* HTTP 413 */
    bool blameless;             /* says nothing about how much the endpoint can take */
};
void orchestrator_run_failed(struct orchestrator_run *run, const struct run_failure *failure);
/* No attempt was made, or nobody will know: it is made again. */
void orchestrator_run_gone(struct orchestrator_run *run);

/* --- life ------------------------------------------------------------------------------------- */

/* A small row that the shell keeps in the store, and that means nothing here. */
struct orchestrator_note {
    uint64_t number; /* 1 to ORCHESTRATOR_NOTE_MAX */
    struct slice bytes;
};

#define ORCHESTRATOR_NOTE_MAX UINT32_MAX

struct orchestrator_options {
    struct store *store; /* taken over, also on failure */
    bool threads;        /* a writer's and a reader's thread; false: all in orchestrator_step */
    struct clock *clock;
    struct invoker *invoker;
    struct engine_config engine; /* seed and incarnation are set by the orchestrator unless seed is
                                    given (simulation) */
    /* May calls go to this endpoint? Asked of those in requests and polls, and not again at their
     * runs; NULL: to all. Else what it returns, with a message, is the error. */
    int (*check_endpoint)(const void *arg, struct slice endpoint, struct error *err);
    const void *check_endpoint_arg;
    size_t payload_max; /* 4,000,000 */
    size_t state_max;   /* 8,000,000 */
    size_t cache_max;   /* bytes of recent payloads kept in memory: 64 MiB */
    /*
     * How long a finished call is kept, and how many bytes all of them may take (0: no limit); then
     * the oldest go, but none sooner than retention_least_ns (0: an hour) after its end: new roots
     * are refused instead. retention_ns 0: for ever; idempotency keys too stay where they are.
     */
    int64_t retention_ns, retention_least_ns;
    uint64_t retention_bytes;
    /* 0: the store has no other owner. Else several nodes have it open, and who has the lease on
     * the partition, this long and renewed all the time, serves it; the others wait for it. */
    int64_t lease_ns;
    /* All notes (below) as committed, in the order of their numbers, whenever the store was loaded,
     * before calls are taken; NULL: not wanted. */
    void (*notes)(void *arg, const struct orchestrator_note *notes, size_t count);
    void *notes_arg;
    struct log *log;         /* or NULL */
    void (*wake)(void *arg); /* from any thread: orchestrator_step has something to do */
    void *wake_arg;
    void (*trace)(void *arg, const char *line); /* one line a transition (simulation); or NULL */
    void *trace_arg;
};

/* Starts fencing and loading; orchestrator_ready tells when it is open. */
int orchestrator_create(struct orchestrator **o, const struct orchestrator_options *options,
                        struct error *err);
/* Waiters are answered CODE_UNAVAILABLE, runs in flight given up (cancel, then dropped: an invoker
 * must answer within the cancel), batches under way awaited. */
void orchestrator_destroy(struct orchestrator *o);

/* Does all there is to do; returns when to be called next at the latest (TIME_NEVER: not before a
 * wake or an event). Call it after every event below too, once a turn of the loop is enough. */
int64_t orchestrator_step(struct orchestrator *o);

bool orchestrator_ready(const struct orchestrator *o);
/* Not ready yet, and nothing has gone wrong: the store's calls are being read. */
bool orchestrator_loading(const struct orchestrator *o);
/* Why it is not ready, for people; "" when it is. */
const char *orchestrator_trouble(const struct orchestrator *o);

/* Stop: new dispatches are refused (CODE_UNAVAILABLE), no new runs start. */
void orchestrator_drain(struct orchestrator *o);
/* True when no run is in flight and nothing is left to commit. */
bool orchestrator_idle(const struct orchestrator *o);

/* --- requests -------------------------------------------------------------------------------- */

/*
 * Callbacks come from orchestrator_step or from within the call; exactly once unless cancelled.
 * `error` is NULL on success. Requests, ids and organizations are read during the call only.
 */
struct orchestrator_wait; /* a request that can be given up */

/* Checks the calls (names, endpoints, sizes) and creates roots, all or none; ids in order. */
typedef void orchestrator_dispatched(void *arg, const struct error *error,
                                     const wire_dispatch_response *response);
void orchestrator_dispatch(struct orchestrator *o, struct slice org,
                           const wire_dispatch_request *request, orchestrator_dispatched *done,
                           void *arg);

/*
 * The same, once: a request with the same organization and key (1 to 255 printable ASCII
 * characters; data NULL: none) within 24 hours is answered with the ids of the first, even after
 * those calls were removed. CODE_ALREADY_EXISTS: its body differs from the first one's.
 * A key that begins with the id of a live call and a slash is that call's own: it is good as long
 * as the call lives, and whatever the body, the answer is that of the first.
 */
void orchestrator_dispatch_keyed(struct orchestrator *o, struct slice org, struct slice key,
                                 const wire_dispatch_request *request,
                                 orchestrator_dispatched *done, void *arg);

/* The call as committed. CODE_NOT_FOUND also for another organization's. `info` lives during the
 * callback. */
typedef void orchestrator_got(void *arg, const struct error *error,
                              const Dispatch__V1__CallInfo *info);
void orchestrator_get(struct orchestrator *o, struct slice org, struct slice id,
                      orchestrator_got *done, void *arg);

/* The same, with the state that it resumes with, if it has one. */
void orchestrator_get_with_state(struct orchestrator *o, struct slice org, struct slice id,
                                 orchestrator_got *done, void *arg);

/*
 * A page of the organization's calls, as committed, read without holding up what runs: it looks at
 * a bounded number of rows, and says where the next page goes on. CODE_RESOURCE_EXHAUSTED: too many
 * such requests at a time. The page lives during the callback.
 */
typedef void orchestrator_listed(void *arg, const struct error *error,
                                 const Dispatch__V1__ListResponse *page);
void orchestrator_list(struct orchestrator *o, struct slice org,
                       const Dispatch__V1__ListRequest *request, orchestrator_listed *done,
                       void *arg);

/* As orchestrator_get, without its input, once it is done, or when max_wait_ns have passed (-1: no
 * limit). NULL if the callback came within the call. */
struct orchestrator_wait *orchestrator_wait(struct orchestrator *o, struct slice org,
                                            struct slice id, int64_t max_wait_ns,
                                            orchestrator_got *done, void *arg);
/* Creates a root and waits for it, in one: answered as by orchestrator_wait. max_wait_ns counts
 * from when it is durable; 0: answered then. Once it is durable, an error's message names the call,
 * which goes on. NULL if the callback came within the call. */
struct orchestrator_wait *orchestrator_call(struct orchestrator *o, struct slice org,
                                            const wire_call *call, int64_t max_wait_ns,
                                            orchestrator_got *done, void *arg);
/* The same, with an idempotency key as in orchestrator_dispatch_keyed. */
struct orchestrator_wait *orchestrator_call_keyed(struct orchestrator *o, struct slice org,
                                                  struct slice key, const wire_call *call,
                                                  int64_t max_wait_ns, orchestrator_got *done,
                                                  void *arg);
/* The id of the call waited for; "" while a key's call is looked up; lives as long as the wait. */
const char *orchestrator_wait_id(const struct orchestrator_wait *wait);
/* Given up before its callback came: it will not come. A call that it made goes on. */
void orchestrator_wait_cancel(struct orchestrator_wait *wait);

/* Ends a live call and its tree as cancelled; `done` when that is durable.
 * CODE_FAILED_PRECONDITION: the call is done. */
typedef void orchestrator_cancelled(void *arg, const struct error *error);
void orchestrator_cancel(struct orchestrator *o, struct slice org, struct slice id,
                         orchestrator_cancelled *done, void *arg);
/* A live call gives its state up and begins again from its input, in a new generation. */
void orchestrator_restart(struct orchestrator *o, struct slice org, struct slice id,
                          orchestrator_cancelled *done, void *arg);
/*
 * Ends a call to the endpoint event:, by its id or its key, with an output or an error. One that
 * comes before its call is kept for 24 hours, and taken when the call is made.
 * CODE_FAILED_PRECONDITION: it was completed before, is done, or is of another kind.
 */
void orchestrator_complete(struct orchestrator *o, struct slice org,
                           const Dispatch__V1__CompleteRequest *request,
                           orchestrator_cancelled *done, void *arg);
/* Makes a root of a call that is done: its function (that of its last tail call), endpoint,
 * version, priority and input, and as long until it expires. The response has the one id.
 * CODE_FAILED_PRECONDITION: the call is live. */
void orchestrator_retry(struct orchestrator *o, struct slice org, struct slice id,
                        orchestrator_dispatched *done, void *arg);

/* Puts a note, or removes it (data NULL); `done` when that is durable, together with what was put
 * since the last step. */
void orchestrator_put_note(struct orchestrator *o, const struct orchestrator_note *note,
                           orchestrator_cancelled *done, void *arg);

struct orchestrator_stats {
    struct engine_stats engine; /* of this incarnation */
    uint64_t recovered;         /* live calls found by the last load */
    uint64_t incarnation;
    uint64_t commits, commit_failures, committed_bytes;
    uint64_t runs_in_flight;
    uint64_t cache_bytes, cache_max, cache_hits, cache_misses;
    uint64_t retention_bytes; /* as in the options */
};
void orchestrator_stats(const struct orchestrator *o, struct orchestrator_stats *stats);

/* What was counted since the orchestrator was created. */
#define ORCHESTRATOR_OUTCOMES 3 /* ENGINE_EXIT, ENGINE_TAIL, ENGINE_POLL */
struct orchestrator_meters {
    uint64_t attempts[ORCHESTRATOR_OUTCOMES][STATUS_COUNT]; /* runs that the invoker answered */
    struct histogram run_time;                              /* of each of them */
    struct histogram commit_time, commit_rows, commit_bytes;
};
const struct orchestrator_meters *orchestrator_meters(const struct orchestrator *o);

/* --- watching -------------------------------------------------------------------------------- */

/* An attempt that has just started. */
struct orchestrator_attempt {
    uint64_t attempt; /* never the same for two attempts of a store, across restarts too */
    uint64_t number;  /* among those of its call in all generations, from 1; 0: not known */
    int64_t started;  /* ns since the epoch */
    const wire_run_request *request;
    struct slice endpoint, org;
};

/* How one ended. */
struct orchestrator_outcome {
    uint64_t attempt;
    int64_t started, ended;
    const wire_run_response *response; /* either this, */
    const struct run_failure *failure; /* or this; neither: it was given up, and is made again if
                                          it is still wanted */
};

/* Whoever wants to see the attempts, on the orchestrator's thread, as they come; what it is given
 * lives during the call, which may not call the orchestrator. Each attempt that started ends, once;
 * the first ends may be of attempts that started before it watched. */
struct orchestrator_observer {
    struct list link; /* ours; the observer outlives the orchestrator, or is removed before */
    void (*started)(void *arg, const struct orchestrator_attempt *attempt);
    void (*ended)(void *arg, const struct orchestrator_outcome *outcome);
    void *arg;
};

void orchestrator_observe(struct orchestrator *o, struct orchestrator_observer *observer);
void orchestrator_unobserve(struct orchestrator_observer *observer);

/* The engine, to look at its counts (engine_tallies to engine_next_group) until the next event;
 * NULL while there is none. */
const struct engine *orchestrator_engine(const struct orchestrator *o);

/* Asserts what must hold between the engine's records, while it is open (simulation; slow). */
void orchestrator_check(const struct orchestrator *o);

#endif
