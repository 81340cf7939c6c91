// SPDX-License-Identifier: Apache-2.0
/*
 * What the engine's files share. A newcomer's order: state.c (the moves of a call), engine.c
 * (events other than answers), answer.c (how runs end), group.c (who runs next), commit.c (what
 * becomes durable, and what waits for it), load.c, row.c.
 */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include <assert.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rand.h"
#include "engine/engine.h"

#define DIRTY_NONE UINT32_MAX
/* Of a state; the orchestrator compacts long before (engine_compact). */
#define STATE_CHUNKS_MAX 255

/* Calls to one endpoint host of one organization: they share a window of runs in flight. */
struct group {
    struct atom *key;   /* organization, NUL, scheme and authority */
    struct heap levels; /* calls that are ready and durable: turn.c */
    struct map level_by_priority;
    uint32_t ready;       /* how many they are */
    struct list runnable; /* in engine.runnable while some are */
    uint32_t index;       /* in engine.groups; the handle in effects and answers */
    uint32_t refs;        /* calls that name it */
    uint32_t in_flight;
    double window;
    bool decreased; /* ever: growth is then one a window, not a doubling */
    int64_t last_decrease;
};

struct call {
    uint64_t id, parent_id, root_id, correlation_id; /* parent_id, of a root: retry_of */
    struct call *parent;                             /* who waits for the result; NULL: nobody */
    struct list sibling;    /* in parent->children, or, done and durable, in parent->inbox */
    struct list children;   /* not done, or their end not durable */
    struct list inbox;      /* ends to be delivered, in the order they became durable */
    struct list queue;      /* in a turn of its group, commit.ready, commit.ended, or none */
    struct heap_node timer; /* at the earlier of `expires` and `due`; none once done */
    struct atom *org, *function, *endpoint, *version;
    struct group *group;
    int64_t created, expires, due;
    uint64_t attempt; /* the current run's while RUNNING */
    uint64_t attempts;
    uint64_t needs; /* the commit that must be confirmed before it runs */
    uint64_t state_hash, state_len;
    uint64_t finish, result_len;
    int64_t done;
    uint32_t generation, parent_generation, depth;
    uint32_t failures, restarts, resumes;
    uint32_t min_results, max_results;
    uint32_t outstanding; /* children that may still bring a result: those in `children` */
    uint32_t inbox_count, inbox_errors;
    uint32_t delivered;   /* of the inbox, with the current run */
    uint32_t results_cut; /* after a 413: no more results than this in one resume; 0: no cut */
    uint32_t state_chunks;
    uint32_t dirty; /* index in commit.dirty of the open commit, or DIRTY_NONE */
    int32_t priority;
    uint8_t state, status, last_status, end, state_arm;
    bool fresh, has_input, has_poll_error, poll_timer, wake_on_error;
    bool failed; /* done, with an error for the parent */
    bool stored; /* its row is in the store, or in a batch on its way there */
};

/* A batch and what is held until it is confirmed. */
struct commit {
    uint64_t number;
    struct batch batch;
    struct list ready; /* calls to be queued */
    struct list ended; /* calls whose end becomes durable */
    struct call **dirty;
    uint32_t dirty_len, dirty_cap; /* slots may be NULL: a call that went away */
    void **accepted;
    uint32_t accepted_len, accepted_cap;
};

struct engine {
    struct engine_config config;
    struct rand rand;
    bool failed, hold;

    struct map calls; /* id to struct call */
    struct heap timers;
    struct atoms atoms;
    struct list turns_free; /* of struct turn */
    struct list pool_free;  /* of struct call, by call.queue */
    struct list pool_chunks;

    struct group **groups; /* by index; NULL: free */
    uint32_t groups_len, groups_cap, groups_used;
    struct map group_by_key; /* the key atom's address to struct group */
    struct list runnable;

    struct commit commits[2];
    struct commit *open, *flight; /* flight: NULL when none is under way */
    uint64_t confirmed;           /* number of the last confirmed commit */

    struct engine_effect *effects;                   /* a ring */
    uint32_t effects_head, effects_len, effects_cap; /* cap is a power of two */

    uint64_t next_id, reserved_id; /* ids below reserved_id are covered by META_NEXT_ID */
    uint64_t next_finish, next_attempt;
    uint64_t *results; /* scratch of engine_run_info */
    struct buf scratch;
    struct engine_stats stats;
    uint64_t by_state[CALL_STATES];

    struct blob *(*reject)(void *arg, const struct error *why);
    void *reject_arg;
    void (*trace)(void *arg, uint64_t id, unsigned from, unsigned to, const char *why);
    void *trace_arg;
};

/* --- state.c: the table of moves */

enum move {
    MOVE_CREATED,
    MOVE_CREATED_LATER,
    MOVE_LOADED_READY,
    MOVE_LOADED_WAITING,
    MOVE_LOADED_SUSPENDED,
    MOVE_LOADED_DONE,
    MOVE_ISSUED,
    MOVE_GIVEN_UP,
    MOVE_RETRIED,
    MOVE_RESTARTED,
    MOVE_RESTARTED_BY_HAND,
    MOVE_TAIL_CALLED,
    MOVE_TAIL_CALLED_LATER,
    MOVE_POLLED,
    MOVE_POLLED_AT_ONCE,
    MOVE_POLLED_IDLY,
    MOVE_DUE,
    MOVE_RESULTS,
    MOVE_WAITED,
    MOVE_ANSWERED,
    MOVE_EXPIRED,
    MOVE_CANCELLED,
    MOVE_COUNT,
};

void call_move(struct engine *e, struct call *c, enum move move);

/* --- engine.c: records */

/* A blank record, in no list; NULL: no memory. */
struct call *call_new(struct engine *e);
/* Forgets it: out of every list, its row deleted by the open batch if it was stored. */
void call_forget(struct engine *e, struct call *c);
void call_row(const struct call *c, struct engine_row *row);
void call_set_timer(struct engine *e, struct call *c);
/* A call made of a spec, READY, in no queue yet; its input put into the open batch. NULL: no memory
 * (nothing is changed then). Room in map, heap and batch was reserved by the caller. */
struct call *call_create(struct engine *e, int64_t now, const struct engine_spec *spec,
                         struct call *parent, struct slice org);
bool engine_reserve(struct engine *e, size_t calls);
/* When a call made of the spec now would expire. */
int64_t spec_expires(const struct engine *e, int64_t now, const struct engine_spec *spec,
                     const struct call *parent);
/* CODE_INVALID_ARGUMENT for one that could never start. */
int spec_check(const struct engine *e, int64_t now, const struct engine_spec *spec,
               const struct call *parent, struct error *err);
/* Links a record that was just made, READY or WAITING, to run once the open batch is confirmed. */
void call_admit(struct engine *e, struct call *c);

/* Ends a call. The blobs are not consumed. */
void call_finish(struct engine *e, struct call *c, int64_t now, enum status status,
                 enum call_end end, struct blob *output, struct blob *error);
/* Ends a call and all below it as cancelled. */
void call_cancel_tree(struct engine *e, struct call *c, int64_t now);

enum orphans { ORPHANS_LEAVE, ORPHANS_CANCEL_UNSTARTED };
/* Nobody waits for the children of `c` any more: undelivered results are dropped. */
void call_orphan_children(struct engine *e, struct call *c, int64_t now, enum orphans what);
/* Gives up the children with these correlation ids; how many there were. */
uint32_t call_give_up(struct engine *e, struct call *c, int64_t now, const uint64_t *ids,
                      size_t count);
/* Takes a result out of the inbox, and forgets the child. */
void call_take_result(struct engine *e, struct call *c, struct call *child);
/* Has a suspended call what it waits for? */
bool call_has_enough(const struct call *c);
/* Drops the state and what the last poll left. */
void call_drop_state(struct engine *e, struct call *c);
/* A child's end is durable: into the parent's inbox, or forgotten. */
void call_settle(struct engine *e, struct call *c);
void call_wake(struct engine *e, struct call *c);

/* --- group.c */

struct group *group_get(struct engine *e, const struct atom *org, const struct atom *endpoint);
void group_ref(struct group *g);
void group_unref(struct engine *e, struct group *g);
/* Queues a READY call once what it needs is confirmed: at once, or with that commit. */
void call_enqueue(struct engine *e, struct call *c);
/* Out of whichever queue it is in. */
void call_dequeue(struct engine *e, struct call *c);
void group_release(struct engine *e, struct group *g);
void group_feedback(struct engine *e, struct group *g, int64_t now,
                    const struct engine_answer *answer);
/* Issues what may run. */
void engine_pump(struct engine *e);

/* --- turn.c */

/* Into the line of its group. */
void turn_add(struct engine *e, struct call *c);
/* Out of it. Served: it was its root's turn, which goes to the end of the line. */
void turn_remove(struct engine *e, struct call *c, bool served);
/* Whose turn it is; NULL: nobody is ready. */
struct call *turn_next(const struct group *g);
void turns_free_group(struct group *g);
void turns_free_spare(struct engine *e);

/* --- commit.c */

void engine_fail(struct engine *e);
void call_dirty(struct engine *e, struct call *c);
/* Its row is not wanted in the store any more. */
void call_unstore(struct engine *e, struct call *c);
void engine_put(struct engine *e, enum table table, uint64_t key, uint32_t sub, struct blob *blob);
void engine_delete(struct engine *e, enum table table, uint64_t key, uint32_t sub);
void engine_emit(struct engine *e, const struct engine_effect *effect);
bool commit_reserve(struct commit *k, size_t dirty, size_t accepted);
void commit_accept(struct engine *e, void *token);
int commit_init(struct commit *k);
void commit_free(struct commit *k);

#endif
