// SPDX-License-Identifier: Apache-2.0
/*
 * The engine: what happens to calls, and nothing else. It does no I/O, reads no clock, starts no
 * thread: events come in with the time, and what should be done comes out, as
 *
 *   - a batch of rows to make durable (engine_batch), and
 *   - effects (engine_effect): runs to start or to give up, requests to answer, calls that ended.
 *
 * Nothing comes out as an effect before the batch that records it was confirmed (engine_committed).
 * While one batch is being made durable the next one fills. A batch that fails, or whose outcome is
 * unknown, has no way back in: the caller destroys the engine, fences the store and loads a new
 * one.
 *
 * The life of a call is the table in state.c: ready, waiting (for a retry or a later start),
 * running, suspended (in a poll), done. Memory holds a fixed record a call; payloads, states and
 * results are rows, and pass through the engine as blobs on their way to the batch.
 *
 * One engine is one partition. Not thread-safe. The same events with the same times and the same
 * seed give the same batches and effects, byte for byte.
 *
 * Memory: an event that cannot be taken for want of memory is refused as a whole, or, where it
 * cannot be refused, engine_failed turns true and the engine is to be treated as after a failed
 * commit.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/batch.h"
#include "base/error.h"
#include "base/histogram.h"
#include "base/status.h"
#include "engine/key.h"
#include "engine/row.h"

struct engine;

/* Zero in a field means its default. */
struct engine_config {
    uint64_t seed;        /* of the jitter */
    uint64_t incarnation; /* the partition's epoch: makes attempts unique across crashes */

    int64_t expiration_ns;     /* of a call that names none: 24 h */
    int64_t expiration_max_ns; /* longer ones are cut to it: 366 days */
    int64_t retry_min_ns;      /* 100 ms */
    int64_t retry_max_ns;      /* 5 min */
    int64_t overdue_spread_ns; /* after a load, what is overdue is spread over it at most: 30 s */
    int64_t min_wait_ns; /* reserved for polls: a max_wait shorter than it is not a timer; 0 */

    uint32_t live_max;  /* calls in memory: 4,000,000. From 80% on, trees that only wait leave it
                           (swap.c). An organization may have nine times as many as are left, so
                           90% if it is alone: past it its new roots are refused. A poll whose calls
                           find no room (nineteen times) waits, save that the oldest tree of those
                           that wait always finds some */
    uint32_t calls_max; /* of one Dispatch or poll: 10,000 */
    uint32_t outstanding_max;   /* children not done, a parent: 100,000 */
    uint32_t depth_max;         /* of a tree: 1,000 */
    uint32_t results_max;       /* of one resume; polls are clamped to it: 1,000 */
    uint64_t results_bytes_max; /* of one resume, at least one is always delivered: 6,000,000 */
    uint64_t state_max;         /* what appending may make of a state: 8,000,000 */

    uint64_t key_seed;        /* of the places of keys; never another for the same store */
    uint32_t events_max;      /* keys of calls completed from outside, live or used: 1,000,000; an
                                 organization may have nine times as many as are left */
    uint32_t early_max;       /* completions kept that came before their calls: 10,000; */
    uint64_t early_bytes_max; /* 64 MiB of them. An organization may have nine times what is left */
    int64_t early_ns;         /* 24 h each */
    uint32_t window_start;    /* runs in flight a group, at first: 16 */
    uint32_t window_max;      /* 1,024 */
    uint32_t runs_max;        /* in flight over all groups: 4,096. Organizations take turns for
                                 them, and within one its groups */
    uint32_t functions_max;   /* counted by name, those that come first; the others together: 100 */
};

int engine_create(struct engine **engine, const struct engine_config *config, struct error *err);
void engine_destroy(struct engine *engine); /* NULL is fine */
/* True: out of memory in the middle of something. Only engine_destroy may follow. */
bool engine_failed(const struct engine *engine);

/* --- loading --------------------------------------------------------------------------------- */

/*
 * Before any event: every row of TABLE_META, then every row of TABLE_CALL, each table in the order
 * of its keys; then engine_loaded. CODE_DATA_LOSS names a row that cannot be.
 */
int engine_load_meta(struct engine *engine, uint64_t key, uint32_t sub, struct slice value,
                     struct error *err);
int engine_load_call(struct engine *engine, uint64_t key, struct slice value, struct error *err);
/* Every row of TABLE_KEY from key_first(KEY_EVENT) on, after the CALL rows. */
int engine_load_key(struct engine *engine, uint64_t key, uint32_t sub, struct slice value,
                    struct error *err);
int engine_loaded(struct engine *engine, int64_t now, struct error *err);

/* --- events ---------------------------------------------------------------------------------- */

/* A call to be made. The strings are copied; the blob is referenced. They are valid: the caller has
 * checked names, schemes and sizes. */
struct engine_spec {
    struct slice function;
    struct slice endpoint; /* empty: the parent's (polls), or the one it had (tail calls) */
    struct slice version;
    uint64_t correlation_id; /* children only */
    int64_t expiration_ns;   /* from now; 0: the default; a child ends with its parent at latest */
    int64_t not_before;      /* it waits until then, and a default expiration counts from then; 0:
                                at once */
    int32_t priority;        /* higher runs first, and lower ones sometimes, so that all proceed:
                                turn.c; of a tail call, 0: the one it had */
    struct slice key;        /* the call is completed from outside, under this name; else empty */
    uint64_t retry_of;       /* roots only: the call that it is made from, or 0 */
    struct blob *input;      /* NULL: none */
};

/*
 * Creates `count` roots for the organization, all or none; *first_id is the first of as many
 * consecutive ids. An ENGINE_ACCEPTED effect with `token` says when they are durable.
 * CODE_RESOURCE_EXHAUSTED (too many live calls, or no memory), CODE_INVALID_ARGUMENT (count; a call
 * that would expire before it may start).
 */
int engine_dispatch(struct engine *engine, int64_t now, struct slice org,
                    const struct engine_spec *specs, size_t count, void *token, uint64_t *first_id,
                    struct error *err);

/* Puts a row of TABLE_KEY (engine/key.h) into the batch that records the event given just before,
 * or deletes one. Without memory the engine has failed. */
void engine_put_key(struct engine *engine, uint64_t key, uint32_t sub,
                    const struct engine_key *row);
void engine_delete_key(struct engine *engine, uint64_t key, uint32_t sub);

/* How a run ended. */
enum engine_outcome {
    ENGINE_EXIT, /* status, output, error: terminal if the status is, else a retry */
    ENGINE_TAIL, /* tail call: `specs[0]`; status says whether to wait first */
    ENGINE_POLL, /* suspend */
    ENGINE_GONE, /* given up by the runner without an attempt made (shutting down, canceled):
                    the call is run again at once, and nothing is counted */
};

struct engine_answer {
    /* Which run: as the ENGINE_RUN effect said it. */
    uint64_t call;
    uint32_t generation;
    uint64_t attempt;
    uint32_t group;

    enum engine_outcome outcome;
    enum status status;
    bool transport;      /* the status is about the way there (counts as overload) */
    bool too_large;      /* HTTP 413: halve the results of the next resume; with one or none, the
                            call ends as PERMANENT_ERROR */
    bool blameless;      /* no sign of overload, whatever the status */
    struct blob *output; /* packed Any, or NULL */
    struct blob *error;  /* packed Error, or NULL */

    const struct engine_spec *specs; /* of a poll or a tail call */
    size_t spec_count;

    struct blob *state;    /* of a poll: what the next resume is given */
    uint8_t state_arm;     /* kept with it and handed back; the engine does not look */
    size_t state_overhead; /* bytes of `state` that append_position does not count */
    /* `state` is put behind what there is, which must have this length: else the poll is dropped
     * and the run made again after a while. Without a state there, state_arm becomes 1. */
    bool append;
    uint64_t append_position;
    int64_t max_wait_ns;              /* -1: none */
    int32_t min_results, max_results; /* clamped */
    bool wake_on_error;               /* one result that is an error is enough */
    const uint64_t *cancel;  /* correlation ids of children given up: cancelled if live, and no */
    size_t cancel_count;     /* result of theirs is delivered; unknown ones are none's */
    struct blob *poll_error; /* packed Error: the calls cannot be accepted: none is made, and the
                                call is resumed with it at once; or NULL */
};

/*
 * Every ENGINE_RUN is answered exactly once, also after ENGINE_CANCEL_RUN. An answer for a run that
 * is not the call's current one only frees its place in the group's window. A poll whose calls
 * exceed a limit is resumed with an error made by the callback of engine_set_reject.
 */
void engine_answer(struct engine *engine, int64_t now, const struct engine_answer *answer);

/* Makes the packed Error for a poll that the engine has to refuse (limits). NULL: no memory. */
void engine_set_reject(struct engine *engine,
                       struct blob *(*reject)(void *arg, const struct error *why), void *arg);

/* Ends a live call, and its tree, as cancelled. CODE_NOT_FOUND, CODE_FAILED_PRECONDITION (done).
 * `token` comes back in ENGINE_ACCEPTED; NULL: nobody waits. */
int engine_cancel(struct engine *engine, int64_t now, uint64_t id, void *token, struct error *err);
/* A live call gives up its state, its counts and its children, and runs at once from its input, in
 * a new generation. As engine_cancel otherwise. */
int engine_restart(struct engine *engine, int64_t now, uint64_t id, void *token, struct error *err);

/* Removes a call that is done and was read, as its committed DONE row of `value` bytes says: its
 * result, its input, its key. False: not yet, its parent has still to take the result. */
bool engine_remove(struct engine *engine, const struct engine_row *row, size_t value);

/* The end of a call that nobody runs: of the one with that id, or that key. */
struct engine_completion {
    uint64_t call; /* 0: by key */
    struct slice org, key;
    enum status status; /* of an end */
    struct blob *output, *error;
};
/* A completion that comes before its call is kept for a while. CODE_FAILED_PRECONDITION: the call
 * is done, or none of this kind; CODE_RESOURCE_EXHAUSTED. */
int engine_complete(struct engine *engine, int64_t now, const struct engine_completion *completion,
                    void *token, struct error *err);

/* Puts a row of TABLE_META, at META_NOTES + number, into the open batch; data NULL: removes it. */
void engine_put_note(struct engine *engine, uint64_t number, struct slice value);

/* An ENGINE_ACCEPTED with `token` comes once all that was decided so far is durable. */
void engine_await(struct engine *engine, void *token);

/* Does what is due by now. */
void engine_tick(struct engine *engine, int64_t now);
/* When engine_tick has something to do next; TIME_NEVER: an idle engine asks for no wake-up. */
int64_t engine_next_due(const struct engine *engine);

/* While closed, no run is issued (a server that is stopping); events are taken as ever. */
void engine_hold_runs(struct engine *engine, bool hold);

/* Every ENGINE_FETCH is answered once: with the bytes of that PAYLOAD_CALLS, or with why they
 * cannot be had. CODE_NOT_FOUND and CODE_DATA_LOSS become the poll's error; anything else passes,
 * and makes engine_failed true, so that the partition is loaded anew and asks again. */
void engine_fetched(struct engine *engine, int64_t now, uint64_t call, uint32_t generation,
                    struct slice calls, const struct error *failure);

/*
 * Trees that only wait leave memory when it fills up (swap.c). What is done to one of their calls
 * finds none then, as if it were done: engine_wake_tree with its root, which its row names, is true
 * if the tree is out, and sees to it that it comes back; ENGINE_AWAKE says when.
 */
bool engine_wake_tree(struct engine *engine, uint64_t root);
/* True if it is out; *due: when it comes back at the latest, if there is room. */
bool engine_tree_due(const struct engine *engine, uint64_t root, int64_t *due);
/* The call that has the key, live or done; 0: none. */
uint64_t engine_key_call(const struct engine *engine, struct slice org, struct slice key);

struct engine_tree_call {
    uint64_t id;
    struct slice row;
};
/* Every ENGINE_FETCH_TREE is answered once: with the CALL rows that the row (META, root, META_TREE)
 * names, in that order; or with why they cannot be had, which makes engine_failed true. */
void engine_tree_fetched(struct engine *engine, int64_t now, uint64_t root,
                         const struct engine_tree_call *calls, size_t count,
                         const struct error *failure);

/* --- commits --------------------------------------------------------------------------------- */

/*
 * The batch to make durable next: NULL if nothing is to be written or one is still under way. It
 * stays the engine's, unchanged until engine_committed.
 */
const struct batch *engine_batch(struct engine *engine);
void engine_committed(struct engine *engine, int64_t now);

/* --- effects --------------------------------------------------------------------------------- */

enum engine_effect_kind {
    ENGINE_RUN,        /* run the call: call, generation, attempt, group; see engine_run_info */
    ENGINE_CANCEL_RUN, /* the run of that (call, attempt) is not wanted any more */
    ENGINE_ACCEPTED,   /* token: what the event asked is durable */
    ENGINE_DONE,       /* call: its end is durable (TABLE_DONE has it) */
    ENGINE_FETCH,      /* call, generation: engine_fetched is wanted, with its PAYLOAD_CALLS */
    ENGINE_FETCH_TREE, /* call: a root; engine_tree_fetched is wanted */
    ENGINE_AWAKE,      /* call: a root; its tree is in memory again */
};

struct engine_effect {
    enum engine_effect_kind kind;
    uint64_t call;
    uint32_t generation;
    uint32_t group;
    uint64_t attempt;
    void *token;
};

/* Takes the next effect; false: none. Effects come in the order they were decided. */
bool engine_effect(struct engine *engine, struct engine_effect *effect);

/* What a run needs besides payloads. Views live until the next event. */
struct engine_run {
    struct engine_row row;   /* as it would be written now */
    bool first;              /* run with PAYLOAD_INPUT; else resume with the state and these: */
    bool poll_error;         /* PAYLOAD_POLL_ERROR too */
    const uint64_t *results; /* ids of the children whose TABLE_DONE rows are delivered, in order */
    size_t result_count;
};
/* Puts one chunk in the place of the state's chunks, with the same content: when they get many. The
 * run must be current, else nothing happens. The bytes of the blob that append_position does not
 * count are as before. */
void engine_compact(struct engine *engine, uint64_t call, uint64_t attempt, struct blob *state);

/* For the run that was just taken as an effect. False: it is not current any more (cancelled in the
 * meantime): answer it with ENGINE_GONE. */
bool engine_run_info(struct engine *engine, uint64_t call, uint64_t attempt,
                     struct engine_run *run);

/* --- looking --------------------------------------------------------------------------------- */

/* The record of a call that is live, or whose end is not durable yet (state DONE); false if there
 * is none. Views live until the next event. What it says may not be committed yet. */
bool engine_find(const struct engine *engine, uint64_t id, struct engine_row *row);

/* Appends why a call does not run, for people: "retry in 3.2 s after THROTTLED"; nothing for one
 * that runs, is done or is not there. */
void engine_why(const struct engine *engine, int64_t now, uint64_t id, struct buf *out);
/* The same of any call of a tree that is out of memory. */
void engine_why_tree(const struct engine *engine, int64_t now, uint64_t root, struct buf *out);

struct engine_stats {
    uint64_t live, ready, waiting, running, suspended;
    uint64_t dispatched, finished, attempts, retries, expired, cancelled, stale_answers; /* since it
                                                                                  was created */
    uint64_t swapped;                 /* calls out of memory, which the others do not count */
    uint64_t swapped_out, swapped_in; /* trees, since it was created */
    uint64_t next_id;
    uint64_t kept_bytes, kept_calls; /* of calls that are done, until they are removed; inputs are
                                        counted in rough sizes */
};
void engine_stats(const struct engine *engine, struct engine_stats *stats);

/* The calls of one function, since the engine was created. */
struct engine_tally {
    struct slice function;
    uint64_t calls[CALL_STATES]; /* in memory, by enum call_state */
    uint64_t ended[STATUS_COUNT];
};
/* Of the first `functions_max` functions, from the second element on; the first one is of all
 * others, and has no name. Views live as long as the engine. */
const struct engine_tally *engine_tallies(const struct engine *engine, size_t *count);
/* Nanoseconds, of each run: from when it could start until its window had room for it. */
const struct histogram *engine_queue_wait(const struct engine *engine);
/* The configuration with its defaults filled in. */
const struct engine_config *engine_limits(const struct engine *engine);

/* Calls of one organization to one host, which share a window. Views live until the next event. */
struct engine_group {
    struct slice org, host; /* "http://localhost:8000" */
    double window;
    uint32_t in_flight, ready; /* ready: those that wait for their turn */
    uint64_t attempts, decreases;
    int64_t decreased_at;      /* INT64_MIN: never */
    enum status decreased_by;  /* the answer that did it */
    bool decreased_on_the_way; /* it was none of the endpoint's */
};
size_t engine_group_count(const struct engine *engine);
/* The next one; start with *at = 0. False: that was the last. */
bool engine_next_group(const struct engine *engine, uint32_t *at, struct engine_group *group);

/* Called for every move of a call, for traces and simulation; `from` is CALL_STATES for a new one.
 */
void engine_trace(struct engine *engine,
                  void (*fn)(void *arg, uint64_t id, unsigned from, unsigned to, const char *why),
                  void *arg);

/* Walks every record and asserts what must hold between them (simulation; slow). */
void engine_check(const struct engine *engine);

#endif
