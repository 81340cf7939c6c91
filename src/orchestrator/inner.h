// SPDX-License-Identifier: Apache-2.0
/* What the files of this room share, and nobody else sees. */
#ifndef ORCHESTRATOR_INNER_H
#define ORCHESTRATOR_INNER_H

#include "base/heap.h"
#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "orchestrator/orchestrator.h"
#include "store/async.h"

/* One orchestrator is one partition, and so far there is but one. */
#define PARTITION 0

/* Requests held at the same time, of each kind; past it, CODE_RESOURCE_EXHAUSTED. */
#define REQUESTS_MAX ((size_t)1 << 20)

/* --- cache.c: recent payloads and results ------------------------------------------------------
 */

/*
 * Rows of TABLE_PAYLOAD and TABLE_DONE as last committed, and, in a place of their own, the last
 * errors of calls that are retried (CACHE_ERRORS), which no table keeps. Bounded by bytes; the
 * least recently used goes first. A row that is not here is to be read from the store.
 */
enum cache_kind { CACHE_PAYLOAD, CACHE_DONE, CACHE_ERRORS, CACHE_KINDS };

struct cache {
    struct map maps[CACHE_KINDS]; /* (key, sub) to struct cache_entry */
    struct list recent;           /* first: the most recently used */
    size_t bytes, max;
    uint64_t hits, misses;
};

void cache_init(struct cache *c, size_t max);
void cache_clear(struct cache *c); /* forgets everything, the counts excepted */
void cache_free(struct cache *c);
/* Replaces what was there; may well keep nothing. Takes a reference of its own. */
void cache_put(struct cache *c, enum cache_kind kind, uint64_t key, uint32_t sub,
               struct blob *blob);
void cache_drop(struct cache *c, enum cache_kind kind, uint64_t key, uint32_t sub);
/* A reference for the caller, or NULL. */
struct blob *cache_get(struct cache *c, enum cache_kind kind, uint64_t key, uint32_t sub);
/* Takes over what a batch, now durable, changed. */
void cache_batch(struct cache *c, const struct batch *batch);

/* --- calls.c: a call as the wire has it, checked, for the engine -------------------------------
 */

struct call_limits {
    size_t payload_max, state_max;
    size_t calls_max; /* of one poll */
    int (*check_endpoint)(const void *arg, struct slice endpoint, struct error *err); /* or NULL */
    const void *check_endpoint_arg;
};

/* How much of a text of others' may stand in a message: its first 100 bytes, never half a
 * character. For "%.*s". */
int call_clip(const char *text);

/*
 * Checks a call and fills *spec, whose strings are views into `call`; spec->input has one
 * reference, the caller's. CODE_INVALID_ARGUMENT, CODE_UNIMPLEMENTED, CODE_RESOURCE_EXHAUSTED (no
 * memory).
 */
int call_to_spec(const struct call_limits *limits, const wire_call *call, bool endpoint_required,
                 struct engine_spec *spec, struct error *err);
/* The same for each of `count` calls, in an array of the caller's for call_free_specs; messages
 * start with the index: "calls[2]: ...". */
int call_to_specs(const struct call_limits *limits, wire_call *const *calls, size_t count,
                  bool endpoint_required, struct engine_spec **specs, struct error *err);
void call_free_specs(struct engine_spec *specs, size_t count);

/* --- answers.c: what an endpoint said, for the engine ------------------------------------------
 */

/* A packed Error; NULL: no memory. */
struct blob *answer_error(const char *type, const char *message);

/* Each fills all but call, generation, attempt and group of *answer, to be given to answer_free.
 * They cannot fail: without memory, the answer is that the run is made again. */
void answer_from_response(const struct call_limits *limits, const wire_run_response *response,
                          struct engine_answer *answer);
void answer_from_failure(const struct run_failure *failure, struct engine_answer *answer);
void answer_free(struct engine_answer *answer);

/* --- result.c, info.c: rows for people and parents ---------------------------------------------
 */

/* The text of an id, in the arena; "" for 0; NULL: no memory. */
char *result_id(struct arena *arena, uint64_t tag, uint64_t id);

/* The result of a call that is done. CODE_DATA_LOSS, CODE_RESOURCE_EXHAUSTED. */
int result_build(struct arena *arena, uint64_t tag, const struct engine_row *row,
                 const struct engine_result *result, wire_call_result **out, struct error *err);

/* What is told of a call: its row, and the rest if it is there. */
struct info_parts {
    const struct engine_row *row;
    const struct engine_result *result; /* of a call that is done */
    struct slice input;                 /* packed Any; data NULL: none */
    struct slice last_error;            /* packed Error; data NULL: none */
    struct slice state;                 /* its first chunk; data NULL: none is wanted */
    struct slice appended;              /* and what stands behind that */
    struct slice waiting_for;           /* why it does not run */
};
int info_build(struct arena *arena, uint64_t tag, const struct info_parts *parts,
               Dispatch__V1__CallInfo **out, struct error *err);

/* --- keyed.c: requests with an idempotency key --------------------------------------------------
 */

struct keyed_request {
    struct slice org, name;
    uint64_t digest[2]; /* of what is asked: keyed_digest */
    orchestrator_dispatched *done;
    void *arg;
};

/* Of a message of the API; false: no memory. */
bool keyed_digest(const void *message, uint64_t digest[2]);
/* The call that made the request while it ran, by the request's key; 0: none of this store did. */
uint64_t keyed_caller(struct slice name, uint64_t tag);
/* Whether such a request can be taken. *joined: one of the same key is under way, whose answer this
 * one will get too; else keyed_dispatch may follow. CODE_INVALID_ARGUMENT, CODE_ALREADY_EXISTS. */
int keyed_check(const struct orchestrator *o, const struct keyed_request *r, bool *joined,
                struct error *err);
/* The same ids as the key's first request had, or new calls. Takes over the specs, also on failure,
 * and what they point at is read during the call only. r->done is called later. */
int keyed_dispatch(struct orchestrator *o, const struct keyed_request *r, struct engine_spec *specs,
                   size_t count, struct error *err);

/* --- sweep.c: what is kept no longer -----------------------------------------------------------
 */

#define SWEEP_ROWS 256 /* looked at in one read */

struct sweep_row {
    struct engine_row row; /* its strings are in the sweep's arena */
    size_t value;
    uint64_t place; /* of a key: its row */
    uint32_t sub;
    uint64_t caller; /* of a key: keyed_caller */
    bool caller_lives;
};

struct sweep {
    struct store_job job;
    struct orchestrator *o;
    struct arena arena;
    bool busy, full; /* full: what is too much cannot be removed yet */
    bool urgent;     /* this round is one for room */
    bool keys;       /* the round looks at keys; else at calls */
    int64_t noted;   /* the same, of what the round may have missed */
    int64_t at;      /* when to go on; TIME_NEVER: nothing is kept */
    int64_t next;    /* when something found in this round will have to go */
    int64_t now, keep_ns;
    uint64_t epoch, from;
    bool end; /* of the table, or of what is old enough to be looked at */
    size_t looked, bytes, count;
    struct sweep_row rows[SWEEP_ROWS];
};

void sweep_init(struct orchestrator *o);
/* The partition was opened; something is kept from now on, until then at least. */
void sweep_open(struct orchestrator *o);
void sweep_note(struct orchestrator *o, int64_t until);
/* Goes on if it is time. True: there was something to do. */
bool sweep_tick(struct orchestrator *o, int64_t now);
int64_t sweep_next_due(const struct orchestrator *o);
/* CODE_RESOURCE_EXHAUSTED while there is no room for more. */
int sweep_check_room(const struct orchestrator *o, struct error *err);

/* --- runs.c ------------------------------------------------------------------------------------
 */

/* An ENGINE_RUN, or an ENGINE_CANCEL_RUN, was taken. */
void run_start(struct orchestrator *o, const struct engine_effect *effect);
void run_cancel(struct orchestrator *o, const struct engine_effect *effect);
/* The incarnation is over: every run is cancelled, and no answer counts. */
void run_give_up_all(struct orchestrator *o);
/* The orchestrator goes: runs that are still with the invoker no longer know it. */
void run_orphan_all(struct orchestrator *o);

/* --- fetches.c ---------------------------------------------------------------------------------
 */

/* An ENGINE_FETCH was taken. */
void fetch_start(struct orchestrator *o, const struct engine_effect *effect);
void fetch_tree(struct orchestrator *o, const struct engine_effect *effect); /* ENGINE_FETCH_TREE */

/* --- control.c ---------------------------------------------------------------------------------
 */

/* An ENGINE_AWAKE was taken. */
void control_awake(struct orchestrator *o, uint64_t root);
/* Whoever waits for a tree to be in memory is answered that. */
void control_fail_sleepers(struct orchestrator *o, const struct error *error);

/* --- requests.c, lookups.c ---------------------------------------------------------------------
 */

/* What waits in o->pending for a commit: the engine's token. */
struct pending {
    struct list link;
    orchestrator_dispatched *dispatched; /* either this, */
    orchestrator_cancelled *cancelled;   /* or this, */
    struct error *refusal;               /* with this error, unless NULL */
    void *arg;
    uint64_t first;
    size_t count;
};

/* An ENGINE_ACCEPTED and an ENGINE_DONE were taken. */
void request_accepted(struct orchestrator *o, void *token);
void request_call_done(struct orchestrator *o, uint64_t id);
/* Whatever waits for the incarnation that is over is answered with the code and the message. */
void request_fail_pending(struct orchestrator *o, const struct error *error);
void request_fail_waits(struct orchestrator *o, const struct error *error);
/* Waits whose time is over. */
void request_tick(struct orchestrator *o, int64_t now);
int64_t request_next_due(const struct orchestrator *o);

/* CODE_UNAVAILABLE and why, unless new calls can be taken. */
int request_check_admission(const struct orchestrator *o, struct error *err);
/* Gives the calls to the engine; the answer comes when they are durable. */
int request_dispatch_specs(struct orchestrator *o, struct slice org, struct engine_spec *specs,
                           size_t count, orchestrator_dispatched *done, void *arg, uint64_t *first,
                           struct error *err);
/* Answers with the ids of `count` calls. */
void request_answer_ids(struct orchestrator *o, uint64_t first, size_t count,
                        orchestrator_dispatched *done, void *arg);

/* The number in an id of ours; else CODE_NOT_FOUND, or CODE_INVALID_ARGUMENT if it is empty. */
int request_id(const struct orchestrator *o, struct slice text, uint64_t *id, struct error *err);
int request_not_known(struct error *err, struct slice text);
/* CODE_UNAVAILABLE and why, unless requests can be taken. */
int request_check_open(const struct orchestrator *o, struct error *err);

/* The committed rows of one call, read on a store thread. */
struct lookup {
    struct store_job job;
    struct orchestrator *o;
    uint64_t id;
    char text[ID_TEXT_LEN + 1];
    struct slice org;
    bool with_input; /* read that too */
    bool with_state; /* and that */
    struct blob *call, *done, *input, *state;
    struct buf appended;                  /* behind the state's first chunk */
    void (*ended)(struct lookup *lookup); /* with job.code and job.error */
};

void lookup_init(struct lookup *l, struct orchestrator *o, uint64_t id, struct slice org,
                 void (*ended)(struct lookup *lookup));
void lookup_start(struct lookup *l);
void lookup_drop(struct lookup *l); /* the blobs */
/* Of what was read: CODE_NOT_FOUND if it is nobody's, or another organization's. */
int request_lookup_code(const struct lookup *l, struct error *err); /* of one that has ended */
int lookup_info(struct lookup *l, struct arena *arena, Dispatch__V1__CallInfo **info,
                struct error *err);

/* Adds what no row says: that a live call runs, and why it does not. */
void lookup_live_facts(const struct orchestrator *o, struct engine_row *row, struct buf *why);

/* --- lease.c -----------------------------------------------------------------------------------
 */

/* Without options.lease_ns it is never over. */
struct lease {
    struct store_job job; /* a renewal */
    bool busy;
    uint64_t epoch;   /* of the renewal */
    int64_t renewed;  /* out */
    int64_t until;    /* by the own clock; while open */
    int64_t renew_at; /* the next renewal */
    char why[320];    /* the last one failed */
};

/* On a store's thread: keeps others out until *until. */
int lease_renew(const struct orchestrator *o, struct store *store, uint64_t epoch, int64_t *until,
                struct error *err);
void lease_opened(struct orchestrator *o, int64_t until);
/* Nothing may be taken or handed out any more. */
bool lease_over(const struct orchestrator *o);
/* Renews it if it is time. True: there was something to do. */
bool lease_tick(struct orchestrator *o, int64_t now);
int64_t lease_next_due(const struct orchestrator *o);

/* --- orchestrator.c ----------------------------------------------------------------------------
 */

enum life {
    LIFE_CLOSED,  /* until reopen_at, or until the commit under way has ended */
    LIFE_OPENING, /* a fence and a load are under way */
    LIFE_OPEN,
};

struct opening {
    struct store_job job;
    struct engine_config config;
    size_t ballast;
    uint64_t epoch;                  /* out */
    int64_t lease_until;             /* out */
    struct engine *engine;           /* out */
    struct orchestrator_note *notes; /* out; they lie in note_memory */
    size_t note_count, note_cap;
    struct arena note_memory;
};

struct commit {
    struct store_job job;
    const struct batch *batch;
    uint64_t epoch;
    int64_t submitted;
    int64_t slow; /* how long commits take at worst, of late */
    bool busy;
};

struct orchestrator {
    struct orchestrator_options options;
    struct call_limits limits;
    struct store_async *async;
    uint64_t tag;

    enum life life;
    bool stepping, draining, destroying;
    bool woken;                      /* without threads: a job was queued during this turn */
    char trouble[ERROR_MESSAGE_MAX]; /* of the last crash or opening */
    struct engine *engine; /* while open; and closed, as long as a commit reads its batch */
    uint64_t epoch, openings;
    struct opening opening;
    struct commit commit;
    struct lease lease;
    unsigned effects_left; /* that this step may carry out */
    bool dirty;            /* the engine was told something since it last had nothing to write */
    int64_t reopen_at, backoff_ns;
    size_t ballast;

    struct cache cache;
    struct sweep sweep;

    struct list runs; /* struct run: all that are not answered, of any incarnation */
    size_t run_count;
    struct map runs_by_attempt; /* of this incarnation */

    struct list observers; /* struct orchestrator_observer */
    struct list pending;   /* struct pending: accepted by the engine, not durable yet */
    struct list sleepers;  /* struct reading: for trees to come back into memory */
    struct list waits;     /* struct orchestrator_wait */
    struct map waits_by_id;
    struct heap deadlines;
    struct map keyed; /* place to struct keyed: requests with a key that are under way */
    size_t wait_count, lookup_count, sleeper_count;
    struct list listings;

    uint64_t recovered, commits, commit_failures, committed_bytes;
    struct orchestrator_meters meters;
};

/* True while events may be given to the engine. */
bool orchestrator_engine_open(const struct orchestrator *o);
/* The same, for what is lost if the engine does not get it now. A lease found over stays over then,
 * whatever a renewal or the clock says later: only a crash asks for what was lost again. */
bool orchestrator_takes(struct orchestrator *o);
void orchestrator_answer(struct orchestrator *o, const struct engine_answer *answer);

#endif
