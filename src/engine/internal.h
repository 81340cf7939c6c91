// SPDX-License-Identifier: Apache-2.0
/*
 * What the engine's files share. A newcomer's order: state.c (the moves of a call), engine.c
 * (events other than answers), answer.c (how runs end), group.c (who runs next), stall.c (who waits
 * for room), swap.c (who sleeps elsewhere), commit.c (what becomes durable, and what waits for it),
 * load.c, row.c; record.c for how records are kept.
 */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include <assert.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/share.h"
#include "engine/engine.h"
#include "engine/mutation.h"

/* Of a state; the orchestrator compacts long before (engine_compact). */
#define STATE_CHUNKS_MAX 255

/* Takes turns with the others for what all share, and has its share of memory: org.c. */
struct org {
    struct atom *name;
    uint32_t refs;         /* groups, and trees that are out of memory */
    uint64_t calls;        /* in memory, or being fetched */
    uint32_t events;       /* keys, live, used or early: event.c */
    uint32_t early;        /* completions that came before their calls, */
    size_t early_bytes;    /* and of how many bytes */
    struct list groups;    /* runnable ones, the one whose turn it is first */
    struct list runnable;  /* in engine.runnable while there are some */
    struct list stalls;    /* polls that wait for room, the oldest first */
    struct list stalled;   /* in engine.stalled while there are some */
    struct heap asleep;    /* trees that are out and not being fetched, by when they are due */
    struct heap_node wake; /* in engine.asleep, at the first of them; or, as there was no room */
    struct list crowded;   /* for it when it was due, in engine.crowded; or in none: swap.c */
};

/* Calls to one endpoint host of one organization: they share a window of runs in flight. */
struct group {
    struct atom *key; /* organization, NUL, scheme and authority */
    struct org *org;
    struct heap levels; /* calls that are ready and durable: turn.c */
    struct map level_by_priority;
    struct list passed;   /* the same levels, the one whose last turn is longest ago first */
    uint32_t passed_by;   /* turns of the highest since another one had its turn */
    uint32_t ready;       /* how many they are */
    struct list runnable; /* in org.groups while some are and the window has room */
    uint32_t index;       /* in engine.groups; the handle in effects and answers */
    uint32_t refs;        /* targets that name it */
    uint32_t in_flight;
    double window;
    bool decreased; /* ever: growth is then one a window, not a doubling */
    int64_t last_decrease;
    uint64_t attempts, decreases;
    enum status decreased_by;
    bool decreased_on_the_way;
};

/* What calls have in common that go to the same function. */
struct target {
    struct atom *key; /* of the four names */
    struct atom *org, *function, *endpoint;
    struct atom *version; /* of a call completed from outside: its key */
    struct group *group;
    struct engine_tally *tally;
    uint32_t refs;
};

struct target_names {
    struct slice org, function, endpoint, version;
};

/* A place in a ring of records, by their indices; next 0: in none. */
struct link {
    uint32_t next, prev;
};

/*
 * The record of a call. There may be millions, most of them asleep: each byte counts, and
 * bench/suspended counts them. What a call that is done needs lies where it had what it needed
 * while it was live.
 */
struct call {
    uint64_t id, parent_id, root_id, correlation_id; /* parent_id, of a root: retry_of */
    int64_t created, expires;
    union {
        int64_t due;      /* WAITING, SUSPENDED; on the way to READY: TIME_NEVER */
        int64_t queued;   /* READY: since when it may run; TIME_NEVER while it is held */
        uint64_t attempt; /* RUNNING: the current run's */
        int64_t done;     /* DONE: when */
    };
    union {
        uint64_t state_hash;
        uint64_t finish; /* DONE */
    };
    struct target *target;
    struct link sibling;  /* in parent->children, or, done and durable, in parent->inbox */
    struct link queue;    /* in a turn of its group, commit.ready, commit.ended, or none */
    uint32_t self;        /* its own index */
    uint32_t chain;       /* the next one in its bucket, or in the list of free records */
    uint32_t timer;       /* its slot, at the earlier of `expires` and `due`; 0 once done */
    uint32_t parent;      /* who waits for the result; 0: nobody */
    uint32_t children;    /* not done, or their end not durable */
    uint32_t inbox;       /* ends to be delivered, in the order they became durable */
    uint32_t outstanding; /* children that may still bring a result: those in `children` */
    uint32_t inbox_count;
    union {
        uint32_t state_len;
        uint32_t result_len; /* DONE */
    };
    uint32_t needs; /* the commit that must be confirmed before it runs: its number's low bits */
    uint32_t generation;
    union {
        uint32_t parent_generation;
        uint32_t loose; /* a root's: calls of its tree that are (call_is_loose): swap.c */
    };
    uint32_t attempts, resumes;
    int32_t priority;
    uint16_t depth;
    uint16_t failures, restarts; /* no more than COUNT_MAX */
    uint16_t min_results, max_results;
    uint16_t delivered;   /* of the inbox, with the current run */
    uint16_t results_cut; /* after a 413: no more results than this in one resume; 0: no cut */
    uint8_t state_chunks, state_arm;
    uint8_t state : 3, end : 2;
    bool stored : 1;  /* its row is in the store, or in a batch on its way there */
    bool stalled : 1; /* its poll waits for room: stall.c */
    bool dirty : 1;   /* in commit.dirty of the open commit */
    uint8_t status : 4, last_status : 4;
    bool fresh : 1, has_input : 1, has_poll_error : 1, poll_timer : 1, wake_on_error : 1;
    bool inbox_error : 1;    /* one in the inbox has failed */
    bool failed : 1;         /* done, with an error for the parent */
    bool is_event : 1;       /* completed from outside: event.c */
    uint8_t input_class : 6; /* row_size_class of its input */
};

#define COUNT_MAX UINT16_MAX

/* Live, and nobody waits for it any more: so it is not found from its root. */
static inline bool call_is_loose(const struct call *c)
{
    return c->depth && !c->parent && c->state != CALL_DONE;
}

/* A batch and what is held until it is confirmed. */
struct commit {
    uint64_t number;
    struct batch batch;
    uint32_t ready;  /* a ring: calls to be queued */
    uint32_t ended;  /* calls whose end becomes durable */
    uint64_t *dirty; /* ids; one may be there twice, or have gone */
    uint32_t dirty_len, dirty_cap;
    void **accepted;
    uint32_t accepted_len, accepted_cap;
};

struct engine {
    struct engine_config config;
    struct rand rand;
    bool failed, hold;
    int64_t now; /* of the last event */

    struct call_chunk **chunks; /* the records: record.c */
    uint32_t chunk_count, chunk_cap;
    uint32_t pool_free; /* by call.chain */
    uint32_t *buckets, bucket_count, call_count;
    struct timer_slot *timers;
    uint32_t timer_count, timer_cap;
    struct atoms atoms;
    struct map target_by_key; /* the key atom's address to struct target */
    struct list turns_free;   /* of struct turn */

    struct list stalled; /* organizations with polls that wait for room: stall.c */
    struct map stall_by_call;
    uint64_t growing; /* calls that are being fetched */
    uint64_t favoured, favoured_root;
    uint64_t lent;       /* calls of the favoured tree that there was no room for: org.c */
    struct map swapped;  /* root to struct swapped: trees that are out of memory, swap.c */
    struct heap asleep;  /* organizations with such trees, by when the first is due */
    struct list crowded; /* those that had one due and found no room */
    uint64_t swapped_calls;
    bool making_room, sweeping;
    uint32_t sweep_hand, sweep_round;
    int64_t sweep_rest;  /* no looking for trees that may leave until then */
    bool favour_pending; /* a stall of that tree may still be waiting */

    struct group **groups; /* by index; NULL: free */
    uint32_t groups_len, groups_cap, groups_used;
    uint32_t *group_holes, group_holes_len; /* free indexes below groups_len */
    struct map group_by_key;                /* the key atom's address to struct group */
    struct map org_by_name;                 /* the name atom's address to struct org */
    struct list runnable;                   /* organizations with calls that may run */
    uint32_t in_flight;                     /* runs, of all groups */

    struct commit commits[2];
    struct commit *open, *flight; /* flight: NULL when none is under way */
    uint64_t confirmed;           /* number of the last confirmed commit */

    struct engine_effect *effects;                   /* a ring */
    uint32_t effects_head, effects_len, effects_cap; /* cap is a power of two */

    uint64_t last_loaded;          /* ids only grow, within a load */
    uint64_t next_id, reserved_id; /* ids below reserved_id are covered by META_NEXT_ID */
    uint64_t next_finish, next_attempt;
    uint64_t *results; /* scratch of engine_run_info */
    struct buf scratch;
    uint64_t kept_bytes, kept_calls; /* of calls that are done: META_KEPT */
    bool kept_changed;               /* since the last batch */
    struct map events;               /* place to struct event */
    uint32_t events_len;
    struct heap early; /* completions that came before their calls, by expiry */
    size_t early_bytes;

    struct engine_stats stats;
    uint64_t by_state[CALL_STATES];
    struct engine_tally *tallies; /* meter.c */
    size_t tally_count;
    struct map tally_by_name; /* the name atom's address */
    struct histogram queue_wait;

    struct blob *(*reject)(void *arg, const struct error *why);
    void *reject_arg;
    void (*trace)(void *arg, uint64_t id, unsigned from, unsigned to, const char *why);
    void *trace_arg;
};

/* --- state.c: the table of moves */

enum move {
    MOVE_CREATED,
    MOVE_CREATED_LATER,
    MOVE_CREATED_EVENT,
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
    MOVE_GROWN,
    MOVE_ANSWERED,
    MOVE_COMPLETED,
    MOVE_KEY_TAKEN,
    MOVE_EXPIRED,
    MOVE_CANCELLED,
    MOVE_COUNT,
};

void call_move(struct engine *e, struct call *c, enum move move);

/* --- record.c */

/* NULL for 0. */
struct call *call_at(const struct engine *e, uint32_t index);
/* A blank record, linked nowhere; NULL: no memory. */
struct call *call_new(struct engine *e);
void call_free(struct engine *e, struct call *c);
/* Every record that has an id, in an order that depends on nothing but history, and after a load is
 * that of the ids; start with *pos = 0. */
struct call *call_next(const struct engine *e, uint32_t *pos);
void records_free(struct engine *e);

/* Room in the table and among the timers; false: no memory. */
bool calls_reserve(struct engine *e, size_t extra);
bool timers_reserve(struct engine *e, size_t extra);
struct call *call_find(const struct engine *e, uint64_t id);
void call_insert(struct engine *e, struct call *c);
void call_delete(struct engine *e, struct call *c);

/* Which of its links a record hangs by. */
enum ring { RING_SIBLING, RING_QUEUE };
void ring_append(struct engine *e, uint32_t *head, struct call *c, enum ring ring);
void ring_remove(struct engine *e, uint32_t *head, struct call *c, enum ring ring);
struct call *ring_pop(struct engine *e, uint32_t *head, enum ring ring);
/* The one behind `c`; NULL: it was the last. */
struct call *ring_after(const struct engine *e, uint32_t head, struct call *c, enum ring ring);

/* When it is to be looked at next. */
static inline int64_t call_timer(const struct call *c)
{
    bool has_due = c->state != CALL_RUNNING && c->state != CALL_READY;

    return !has_due || c->due > c->expires ? c->expires : c->due;
}
void call_set_timer(struct engine *e, struct call *c);
void call_stop_timer(struct engine *e, struct call *c); /* harmless if there is none */
struct call *timers_first(const struct engine *e);
int64_t timer_key(const struct engine *e, const struct call *c);

/* With one more reference; NULL: no memory. */
struct target *target_get(struct engine *e, const struct target_names *names);
void target_unref(struct engine *e, struct target *t);
void targets_free(struct engine *e);

/* --- engine.c: calls */

/* Forgets it, which is in no ring: its row is deleted by the open batch if it was stored. */
void call_forget(struct engine *e, struct call *c);
void call_row(const struct engine *e, const struct call *c, struct engine_row *row);
/* A call made of a spec, READY, in no queue yet. NULL: no memory (nothing is changed then). */
struct call *call_create(struct engine *e, int64_t now, const struct engine_spec *spec,
                         struct call *parent, struct slice org);
bool engine_reserve(struct engine *e, size_t calls);
/* When a call made of the spec now would expire. */
int64_t spec_expires(const struct engine *e, int64_t now, const struct engine_spec *spec,
                     const struct call *parent);
/* CODE_INVALID_ARGUMENT for one that could never start. */
int spec_check(const struct engine *e, int64_t now, const struct engine_spec *spec,
               const struct call *parent, struct error *err);
void calls_tick(struct engine *e, int64_t now); /* those that are due */
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
/* Takes a result out of the inbox, and forgets the child; inbox_error may be too pessimistic then:
 * call_count_errors. */
void call_take_result(struct engine *e, struct call *c, struct call *child);
void call_count_errors(struct engine *e, struct call *c);
/* Has a suspended call what it waits for? */
bool call_has_enough(const struct call *c);
/* Drops the state and what the last poll left. */
void call_drop_state(struct engine *e, struct call *c);
/* A child's end is durable: into the parent's inbox, or forgotten. */
void call_settle(struct engine *e, struct call *c);
void call_wake(struct engine *e, struct call *c);

/* --- org.c */

/* With one more reference; NULL: no memory. */
struct org *org_get(struct engine *e, const struct atom *name);
struct org *org_of_name(struct engine *e, struct slice name); /* the same */
/* An empty one if it has nothing here. */
const struct org *org_find(struct engine *e, struct slice name);
void org_unref(struct engine *e, struct org *o);
void orgs_free(struct engine *e);
/* Into the line at its end, or out of it, as there is something that it wants or not; who was
 * served goes to the end. */
void org_line_up(struct list *line, struct list *place, const struct list *wants, bool served);
static inline struct org *call_org(const struct call *c)
{
    return c->target->group->org;
}

enum room { ROOM_ROOTS = SHARE_TIMES, ROOM_TREES = 19 }; /* times what is left for others */
/* Has memory room for so many calls more of the organization? */
bool org_has_room(const struct engine *e, const struct org *o, uint64_t calls, enum room room);

/* --- group.c */

/* True while the commit that the call needs is not confirmed. */
bool call_is_held(const struct engine *e, const struct call *c);
struct group *group_get(struct engine *e, const struct atom *org, const struct atom *endpoint);
void group_ref(struct group *g);
void group_unref(struct engine *e, struct group *g);
/* Queues a READY call once what it needs is confirmed: at once, or with that commit. */
void call_enqueue(struct engine *e, struct call *c);
/* Out of whichever queue it is in, if it is READY. */
void call_dequeue(struct engine *e, struct call *c);
void group_release(struct engine *e, struct group *g);
void group_feedback(struct engine *e, struct group *g, int64_t now,
                    const struct engine_answer *answer);
/* Issues what may run. */
void engine_pump(struct engine *e);

/* --- meter.c */

bool tallies_init(struct engine *e);
void tallies_free(struct engine *e);
struct engine_tally *tally_get(struct engine *e, const struct atom *function);
/* The call changes its state, or (CALL_STATES) comes to be there or goes. */
void call_count(struct engine *e, const struct call *c, unsigned from, unsigned to);
void tallies_check(const struct engine *e);

/* --- event.c */

static inline struct slice call_key(const struct call *c)
{
    return c->is_event ? atom_slice(c->target->version) : (struct slice){0};
}

void events_init(struct engine *e);
void events_free(struct engine *e); /* before the organizations and the atoms go */
void events_check(const struct engine *e);
/* Is there room for the keys of these calls: of a parent, or of roots of that organization? */
int events_check_room(struct engine *e, const struct call *parent, struct slice org,
                      const struct engine_spec *specs, size_t count, struct error *err);
/* A call to event: was made, and is linked: it takes its key, or ends. */
void event_admit(struct engine *e, struct call *c);
/* The key is not that call's any more, if it was. */
void event_forget(struct engine *e, struct slice org, struct slice name, uint64_t call);
/* Drops the completions whose calls did not come in time. */
void events_tick(struct engine *e, int64_t now);

/* --- turn.c */

/* Into the line of its group. */
void turn_add(struct engine *e, struct call *c);
/* Out of it. Served: it was its root's turn, which goes to the end of the line. */
void turn_remove(struct engine *e, struct call *c, bool served);
/* Whose turn it is; NULL: nobody is ready. */
struct call *turn_next(const struct engine *e, const struct group *g);
void turns_free_group(struct group *g);
void turns_free_spare(struct engine *e);

/* --- stall.c */

/* May the call make so many children now? Then they are counted as lent, if they are. */
bool stall_take_room(struct engine *e, const struct call *c, size_t calls);
/* Puts the answer's calls into the open batch, to be made later. */
void stall_poll(struct engine *e, struct call *c, const struct engine_answer *answer);
/* The same of one that was loaded; false: no memory. */
bool stall_add(struct engine *e, struct call *c, uint32_t count);
void stall_drop(struct engine *e, struct call *c); /* harmless if it does not wait */
uint32_t stall_count(const struct engine *e, const struct call *c);
/* Would the next one of each organization find room now? True, too, if none waits. */
bool stall_fits(const struct engine *e);
bool stall_is_favoured(const struct engine *e); /* some tree is */
void stalls_pump(struct engine *e);
void stalls_free(struct engine *e);
/* answer.c: room was found for the calls of the answer; or its poll is refused. */
void call_grow(struct engine *e, struct call *c, int64_t now, const struct engine_answer *answer,
               const struct error *refused);

/* --- swap.c */

bool tree_is_out(const struct engine *e, uint64_t root);
void swapped_free(struct engine *e);
/* Makes room if it is wanted, and asks for what is due. */
void swaps_step(struct engine *e, int64_t now);
int64_t swaps_next_due(const struct engine *e);
void swaps_check(const struct engine *e);
int engine_load_tree(struct engine *e, uint64_t root, struct slice value, struct error *err);
/* The row of a call of a tree that is out: of its root, it says whose the tree is. */
int swaps_load_root(struct engine *e, const struct engine_row *r, struct error *err);
int swaps_loaded(const struct engine *e, struct error *err); /* CODE_DATA_LOSS: one has no root */
/* load.c: the rows of one tree, in the order of their ids. */
int load_tree(struct engine *e, int64_t now, const struct engine_tree_call *calls, size_t count,
              struct error *err);

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
