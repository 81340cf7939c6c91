// SPDX-License-Identifier: Apache-2.0
/*
 * The simulated world: one seed is one history. The real orchestrator over the real engine, in a
 * process that dies and is started again; below it a disk that outlives it (a memory store), beside
 * it endpoints and clients; a clock that only the world moves; and checkers that watch all of it.
 *
 *   main.c      the command: seeds, counts, the report
 *   world.c     events in simulated time, one history from start to rest
 *   process.c   the orchestrator's process: start, step, crash, restart
 *   memory.c    allocations that fail
 *   disk.c      the stack of stores between the orchestrator and the disk
 *   ledger.c    what became durable, commit by commit, and whether that may be
 *   endpoint.c  the invoker: endpoints that run functions, the network on the way there
 *   respond.c   what endpoints say, garbage too
 *   delivery.c  what must hold of each run that is delivered
 *   client.c    who dispatches, and waits for what came of it
 *   outside.c   who completes calls from outside
 *   hand.c      who looks at calls, cancels, restarts and retries them
 *   removal.c   what is kept no longer
 *   turns.c     who runs next
 *   nodes.c     several nodes that want the partition
 *   faults.c    what goes wrong, and when
 *   script.c    what functions do;  model.c  what must come of it
 *   trace.c     the history's lines, their hash, and how a failure is reported
 *   plant.c     bugs on purpose around the orchestrator, to see that the checkers see them; those
 *               within are in engine/mutation.h
 *
 * Everything is drawn from world.rand or follows from it. What a history allocates is in its arena.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base/arena.h"
#include "base/heap.h"
#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rand.h"
#include "orchestrator/orchestrator.h"
#include "sim/model.h"
#include "store/store.h"

#define PARTITION         0
#define HOSTS             4
#define HOST_OUTSIDE      HOSTS /* that of calls which are completed from outside */
#define ORGS              2
#define NODES_MAX         3
#define BATCH_CALLS       8
#define PAYLOAD_BYTES_MAX 4000 /* what may be as large, here */
#define STATE_BYTES_MAX   8000
#define KEY_LIFE_NS       (24 * 3600 * NS_PER_S)
#define EXPIRATION_NS     (24 * 3600 * NS_PER_S) /* of a call that names none */
#define HEAL_LIMIT_NS     (4 * 3600 * NS_PER_S)  /* all must be done so long after the last fault */
#define HEAL_STEPS_MAX    400000
#define WRONG_MAX_NS      (2 * 3600 * NS_PER_S) /* of a wall clock, ahead or behind */

/* --- counts ----------------------------------------------------------------------------------- */

enum fault {
    FAULT_CRASH_BETWEEN, /* the process dies between two steps */
    FAULT_CRASH_BEFORE,  /* when a commit was about to be made */
    FAULT_CRASH_AFTER,   /* when it was made, and nobody has been told */
    FAULT_CRASH_ZOMBIE,  /* while it is under way: it lands later, or a fence forbids it */
    FAULT_CRASH_FENCE,   /* around a fence */
    FAULT_CRASH_ACK,     /* right after telling a client */
    FAULT_CRASH_RUN,     /* right after handing out a run */
    FAULT_COMMIT_FAILED,
    FAULT_COMMIT_LOST, /* written, and reported as failed */
    FAULT_COMMIT_LATE, /* reported as failed, and written later unless a fence comes first */
    FAULT_DISK_FULL,
    FAULT_DISK_SLOW, /* what the store is asked takes a while; the world goes on */
    FAULT_HOST_DOWN,
    FAULT_HOST_SLOW,
    FAULT_LATE_WAKE, /* the orchestrator is woken later than it asked */
    FAULT_CLOCK_JUMP,
    FAULT_CLOCK_AHEAD,  /* a process starts with a wall clock that is set wrong: ahead of */
    FAULT_CLOCK_BEHIND, /* all before it, or behind */
    FAULT_STOP,         /* a graceful stop and a restart */
    FAULT_NO_MEMORY,    /* an allocation of the orchestrator's fails */
    FAULT_REQUEST_LOST,
    FAULT_REQUEST_DOUBLED,
    FAULT_ANSWER_LOST,
    FAULT_ANSWER_LATE, /* to nobody: the run was given up */
    FAULT_RUN_GIVEN_UP,
    FAULT_TOO_LARGE,
    FAULT_FLAKY, /* a function failed for a passing reason */
    FAULT_INCOMPATIBLE,
    FAULT_BAD_POLL,
    FAULT_LIMIT, /* a poll with more calls than the limits allow */
    FAULT_BAD_DISPATCH,
    FAULT_CANCEL,
    FAULT_RESTART,
    FAULT_RETRY,
    FAULT_ASKED_AGAIN,      /* a request with its idempotency key, once more */
    FAULT_KEY_TAKEN,        /* another one under the same key */
    FAULT_MISPLACED,        /* a state that is to be appended elsewhere than at the end */
    FAULT_GARBAGE,          /* an answer that no endpoint should give */
    FAULT_EARLY_COMPLETION, /* before its call is made */
    FAULT_POWER,            /* the power fails; only with SQLite, as the next one */
    FAULT_SYNC,             /* a sync fails */
    FAULT_FULL,             /* a request or a poll that finds memory full */
    FAULT_PAUSE,            /* the process has no turn for longer than its lease */
    FAULT_LEASE_LOST,       /* another node takes it over */
    FAULT_LEASE_COMMIT,     /* the same, in the middle of a commit */
    FAULT_LEASE_SHORT,      /* it is over before its holder can know */
    FAULT_LEASE_STALE,      /* a run of who has lost the partition and does not know yet */
    FAULT_SWAPPED_OUT,      /* a tree leaves memory */
    FAULT_SWAPPED_IN,       /* one comes back */
    FAULT_REMOVED,          /* a call that is done, as its time was over */
    FAULT_REMOVED_FOR_ROOM, /* sooner, as there was too much */
    FAULT_KEY_REMOVED,
    FAULT_TOO_LATE, /* somebody asks for what was removed */
    FAULT_NO_ROOM,  /* a request while nothing that is kept may go */
    FAULT_COUNT,
};

enum end_count { ENDED_OK, ENDED_FAILED, ENDED_EXPIRED, ENDED_CANCELLED, ENDED_COUNT };

struct totals {
    uint64_t histories, steps, simulated_ns, commits, runs, dispatched, acknowledged, refused;
    uint64_t faults[FAULT_COUNT];
    uint64_t ended[ENDED_COUNT];
    uint64_t given_up, early_wakes, completions, stalled;
};

extern const char *const fault_names[FAULT_COUNT];

/* --- planted bugs ----------------------------------------------------------------------------- */

enum plant {
    PLANT_NONE,
    PLANT_LOST_CALL,
    PLANT_DOUBLED_RESULT,
    PLANT_EARLY_ACK,
    PLANT_FOREIGN_RESULT,
    PLANT_CHANGED_RESULT,
    PLANT_HALF_BATCH,
    PLANT_IGNORED_EPOCH,
    PLANT_FORGOTTEN_WAKE,
    PLANT_EARLY_TIMER,
    PLANT_RUN_AGAIN,
    PLANT_IGNORED_LEASE,
    PLANT_FALSE_LEASE,
    PLANT_EARLY_REMOVAL,
    PLANT_HALF_REMOVAL,
    PLANT_COUNT,
};
extern const char *const plant_names[PLANT_COUNT]; /* [PLANT_NONE]: "none" */

/* --- calls as the ledger knows them ----------------------------------------------------------- */

/* A poll that an endpoint answered with: the orchestrator may make it durable, or lose it. */
struct sent_poll {
    struct sent_poll *next;
    uint32_t generation, resume; /* of the run that it answered */
    uint64_t hash;               /* of the state, its kind included */
    int64_t at;
    const struct op *op; /* of a program in the record */
    const struct program *program;
    uint32_t outstanding; /* bits of children, with those that it makes */
    bool too_large;       /* results were cut since */
};

struct batch_request;

struct record {
    uint64_t id, parent, root, correlation_id;
    struct record *children, *sibling;
    struct batch_request *request; /* of a root */
    unsigned org;
    uint32_t parent_generation, generation, depth;
    int64_t created, expires;
    uint64_t made_with, input; /* at first, and after the last durable tail call */
    unsigned host;             /* where it runs */
    uint32_t resumes;          /* polls committed in this generation */
    int64_t not_before;        /* of its first run; after a tail call, of the next: in */
    uint32_t delayed;          /* this generation, not in one that a restart began */
    uint64_t retry_of;
    int32_t priority, row_priority; /* as it should be, and as its row says */
    uint64_t priority_input;        /* that `priority` is of */
    bool known;                     /* a CALL row of it was seen */
    bool present;                   /* it has a CALL row now, */
    bool settled;                   /* which says that it is done */
    bool done;                      /* it has a DONE row, */
    bool removed;                   /* or had one */
    bool has_input;                 /* its payload row */
    uint64_t kept;                  /* bytes that it counts, once it is done */
    bool cancel_asked, tainted;     /* tainted: a call below it was cancelled by a client */
    uint64_t done_hash;
    int64_t ended; /* when, as its row says */
    struct outcome outcome;
    struct record *touched; /* list of the commit that is being looked at */
    bool is_touched, is_new, is_ended;

    /* What was delivered and answered. */
    uint32_t run_generation, run_resume; /* of the last run */
    uint32_t restarted;                  /* the generation that somebody wanted to be over */
    unsigned in_flight;                  /* runs that are neither answered nor given up */
    struct sent_poll *polls;
    uint32_t given_up, given_up_generation,
        given_up_resume;      /* children, by the poll that said so */
    uint32_t tail_generation; /* that a tail call was answered in, first at tail_at */
    int64_t tail_at;
    bool stalled, ever_stalled; /* its poll waits for room; did so once */
    bool key_taken;
    bool suspended;                  /* as the trace says; false: unknown */
    struct list turn;                /* in turns.waiting: ready, as the trace says */
    uint64_t ready_at, ready_starts; /* by turns.now: for certain in its line; 0: not so */
    unsigned ready_host, running_at; /* one more than the host; 0: it does not run */
    uint64_t *turns_at;              /* of a root: its last turn, by host and priority */
    bool to_look_at;
    struct record *look_next; /* list of those whose waking is to be looked at */
    struct program *program;  /* of `program_input` */
    uint64_t failed_input;
    unsigned failed, incompatible;
    unsigned failures; /* in a row, since there was progress: at least so many for the engine */
    int64_t failed_at;
    uint64_t failed_epoch;
};

/* --- clients ---------------------------------------------------------------------------------- */

enum request_state { REQUEST_SENT, REQUEST_ACKNOWLEDGED, REQUEST_UNKNOWN, REQUEST_REFUSED };

/* An idempotency key: whose request it made, if any yet. */
struct client_key {
    struct client_key *next;
    unsigned org, requests;
    char text[24];
    struct batch_request *owner;
    int64_t made, expires;
    bool present; /* its row */
    uint64_t place;
    uint32_t sub;
};

struct client_call {
    struct batch_request *request;
    uint64_t input;
    int64_t expiration_ns; /* 0: the default */
    int64_t not_before;    /* 0: at once */
    uint64_t id;           /* once acknowledged; text below */
    char text[ID_TEXT_LEN + 1];
    struct record *record; /* once its root is durable */
    struct orchestrator_wait *wait;
    bool waiting; /* a wait is with the orchestrator, or a retry of it is planned */
    bool timed;   /* that wait may end before the call is done */
    bool early;   /* it began before that */
    bool told;    /* the client has its result */
};

struct batch_request {
    struct world *world;
    struct batch_request *next; /* all there are */
    unsigned org, count;
    bool bad, by_call; /* by_call: dispatched and waited for in one request */
    int64_t patience;  /* of by_call */
    struct client_key *key;
    enum request_state state;
    uint64_t commit; /* that made its roots; 0: none */
    unsigned made;   /* roots, by that commit */
    struct client_call calls[BATCH_CALLS];
};

/* --- turns ------------------------------------------------------------------------------------ */

struct group_turns {                           /* of one organization at one host */
    uint64_t starts, level_starts[PRIORITIES]; /* that with the last start of each priority */
    uint64_t last;                             /* start, by turns.now */
    unsigned running;
    uint64_t waits_since; /* for certain in its organization's line, because of the witness */
    const struct record *witness;
};

struct turns {
    uint64_t now; /* grows with each start, and whenever all is at rest */
    struct group_turns groups[ORGS][HOSTS];
    uint64_t org_last[ORGS];
    struct list waiting; /* records */
};

/* --- the world -------------------------------------------------------------------------------- */

struct event {
    struct heap_node timer;
    void (*fire)(struct world *w, void *arg);
    void *arg;
};

struct host {
    int64_t down_until, slow_until;
    bool silent; /* while down: no answer, instead of a refused connection */
};

struct process {        /* of a node, one after the other */
    struct clock clock; /* first: what its orchestrator is handed */
    int64_t ahead;      /* it is, of world.now; as base/clock.h has it, from start to end */
    struct world *world;
    unsigned number;        /* of the node */
    struct orchestrator *o; /* NULL: not running */
    uint64_t serial;
    bool dead;   /* it has crashed; what it still does goes nowhere */
    bool ending; /* within orchestrator_destroy */
    bool woken, stopping, stopped;
    bool failing; /* it is being told of a run that failed for a passing reason */
    int64_t step_at;
    int64_t paused_until;
    unsigned stall; /* events to come before the orchestrator has its turn */
    uint64_t epoch; /* of its last fence */
    bool leads;     /* nobody else has fenced since */
};

#define TRACE_LINES 100
#define TRACE_WIDTH 200

struct world {
    int64_t now, born;
    int64_t latest; /* that any process's clock has shown */
    bool wrong;     /* processes may have clocks that are wrong */
    struct rand rand;
    uint64_t seed, step;
    enum plant plant;
    bool verbose;
    struct arena arena;
    struct heap events;
    struct totals totals;
    int64_t healed_at; /* TIME_NEVER: things may go wrong still */

    struct process nodes[NODES_MAX];
    unsigned node_count;
    uint64_t serials;     /* of processes */
    struct process *node; /* who has the word, or is spoken to */
    bool held_up;         /* within a commit of its; the others go on */
    struct engine_config engine;
    size_t cache_max;
    struct invoker invoker;

    uint64_t tag;            /* in the ids */
    struct sim_disk *sqlite; /* below SQLite; NULL: a memory store */
    char path[64];           /* of the database there */
    struct batch *in_doubt;  /* a commit of it that failed; until the next fence says more */
    int64_t doubt_ahead;     /* the clock of who made it */
    struct store *disk;      /* the bare handle that keeps the data; NULL with SQLite, as is */
    struct store *beside;    /* an observed handle for commits of the dead */
    struct store_faults faults;
    uint64_t epoch; /* of the last fence */
    uint64_t commits;

    struct retention {
        int64_t ns, least_ns; /* ns 0: all is kept for ever */
        uint64_t bytes;
    } retention;
    uint64_t kept_bytes, kept_calls, kept_keys; /* that are durable */
    uint64_t gone_bytes;                        /* by the commit that is being looked at */

    int64_t lease_ns;    /* 0: there is one node */
    bool hasty;          /* the store's clock goes too fast, so that a lease ends too soon: only the
                            epoch keeps nodes apart */
    int64_t store_ahead; /* how far that is, once it goes right */
    struct clock store_clock;
    struct store *lease_by; /* the observed handle that renewed last, and until when nobody else */
    int64_t lease_until;    /* may fence */
    struct corpse *corpses;

    uint64_t weather;    /* bits of enum fault that may happen in this history */
    unsigned crash_odds; /* one in so many commits */
    struct host hosts[HOSTS];

    struct turns turns;
    struct map records; /* id to struct record */
    struct map inputs;  /* root input to struct client_call */
    struct record *touched;
    struct record *to_look_at;
    uint64_t live;
    struct list flights; /* struct flight */

    unsigned to_dispatch; /* requests still to be made */
    struct batch_request *requests;
    struct client_key *keys;
    struct outside *outside;
    uint64_t untold; /* acknowledged calls whose client has no result yet */

    uint64_t hash;
    char lines[TRACE_LINES][TRACE_WIDTH];
    uint64_t line_count;
};

/* One history, from its seed to its rest; adds to *totals. Does not return if something fails. */
struct history {
    uint64_t seed, steps;
    enum plant plant;
    bool verbose, sqlite;
};
uint64_t world_run(const struct history *history, struct totals *totals);

/* --- world.c */

void *world_alloc(struct world *w, size_t size); /* zeroed; does not fail */
void world_at(struct world *w, int64_t when, void (*fire)(struct world *w, void *arg), void *arg);
/* One event, or one wake-up of the orchestrator. False: there is nothing to come. */
bool world_step(struct world *w);
/* The time, as the node that has the word has it. */
int64_t world_time(const struct world *w);
/* True once in n times. */
bool world_once_in(struct world *w, uint64_t n);
int64_t world_draw_ns(struct world *w, int64_t max_ns); /* in [1, max], short ones more likely */
bool world_may(const struct world *w, enum fault fault);
void world_count(struct world *w, enum fault fault);

/* --- trace.c */

void trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reports the invariant that does not hold, with seed, step and the last lines, and exits. */
void sim_fail(struct world *w, const char *invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
/* From now on a failed assertion is reported the same way. */
void trace_guard(struct world *w);

#define CHECK(w, condition, invariant, ...)                                                        \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_fail((w), (invariant), __VA_ARGS__);                                               \
    } while (0)

/* --- memory.c */

/* Whether allocations may fail from here on: true around calls of the orchestrator, false within
 * its callbacks, which are ours. Returns what was before. */
bool memory_scarce(struct world *w, bool scarce);

/* --- process.c */

/* All but the first of world.node. */
void process_init(struct world *w);
/* Draws how wrong the clock of the next one is. */
void process_set_clock(struct world *w);
void process_start(struct world *w);
void process_step(struct world *w);
void process_step_all(struct world *w);
/* It dies now: nothing that it does from here on reaches anybody. Buried by process_step. */
void process_die(struct world *w, enum fault how);
void process_stop(struct world *w); /* gracefully, to be started again */
bool process_serves(const struct world *w);
/* Draws the node that somebody speaks to; false: nobody is there. */
bool process_draw(struct world *w);
/* Whether it has the partition, as far as the store knows. */
bool process_leads(const struct process *p);

/* --- disk.c */

void disk_create(struct world *w, bool sqlite);
void disk_destroy(struct world *w);
struct store *disk_open(struct world *w); /* the stack, for a process that starts; NULL: not now */
/* The durable rows, for looking; NULL: some are in doubt. To be given back. */
struct store *disk_look(struct world *w);
void disk_looked(struct world *w, struct store *store);
/* The process dies: from here on it writes nothing, not even when it closes its files. */
void disk_dies(struct world *w);
/* The process is gone: what it could not write it will not. */
void disk_buried(struct world *w);
void disk_heal(struct world *w);
/* From now on, for a while, nothing comes back from the store; perhaps. */
void disk_maybe_slow(struct world *w);
bool disk_is_slow(void);

/* --- nodes.c */

void nodes_init(struct world *w);
/* Perhaps the commit takes longer than the lease lasts. */
void nodes_at_commit(struct world *w);
/* The one that has the word has fenced. */
void nodes_fenced(struct world *w);
void nodes_heal(struct world *w);
/* The store of a process that has died: closing it would give its lease up. */
void nodes_keep_corpse(struct world *w, struct store *store);
void nodes_free(struct world *w);

/* --- removal.c */

void removal_init(struct world *w);
/* Of a commit: a call is done, and takes so many bytes; it is removed; a row of TABLE_KEY. */
void removal_kept(struct world *w, struct record *r, size_t size);
void removal_gone(struct world *w, struct record *r);
void removal_take_key(struct world *w, const struct batch_op *op);
/* All of it was taken in, of this call; of all. */
void removal_judge(struct world *w, const struct record *r);
void removal_committed(struct world *w);
/* True if the answer is that the call is not known, which then must have been removed. */
bool removal_explains(struct world *w, const struct record *r, const struct error *error);
/* Until nothing is kept. */
void removal_at_rest(struct world *w);

/* --- turns.c */

/* The trace says that the call is "ready", or whatever, from now on. */
void turns_moved(struct world *w, struct record *r, const char *to);
void turns_forget(struct record *r);
/* The orchestrator has done all there is to do, its commits included. */
void turns_at_rest(struct world *w);

/* --- ledger.c */

void ledger_committed(struct world *w, const struct batch *batch);
/* That nobody is asleep who has what he waits for, once the orchestrator is at rest. */
void ledger_look_at(struct world *w, struct record *r);
void ledger_check_awake(struct world *w);
void ledger_forget_moves(struct world *w); /* there is a new engine */
struct record *ledger_find(struct world *w, uint64_t id);
/* Makes one that is not known yet, if there is none. */
struct record *ledger_get(struct world *w, uint64_t id);
/* Compares the disk's rows with what was seen of them; at rest, nothing may be left over. */
void ledger_compare(struct world *w, bool at_rest);
/* What a result says. */
struct outcome outcome_of(const wire_call_result *result);
/* That somebody was told what is durable. */
void ledger_check_told(struct world *w, const struct record *r, const struct outcome *o,
                       const char *who);
#define OUTCOME_TEXT 80
const char *outcome_text(const struct outcome *o, char text[OUTCOME_TEXT]);

/* --- endpoint.c, delivery.c */

void endpoint_init(struct world *w);
#define URL_MAX 64
void endpoint_url(unsigned host, char url[URL_MAX]);
unsigned endpoint_host(struct world *w, struct slice url);
/* Runs of the present incarnation that are not answered, of the organization at the host. */
unsigned endpoint_in_flight(const struct world *w, unsigned org, unsigned host);
unsigned endpoints_in_flight(const struct world *w); /* of all at all hosts */
/* There is a new incarnation: the runs of the one before, whose node may live, count no more. */
void endpoint_fenced(struct world *w);
/* Which host an input names, where it names one. */
static inline unsigned input_host(uint64_t input)
{
    if (input_class(input) == CLASS_EVENT)
        return HOST_OUTSIDE;
    return (unsigned)(input >> 8) % HOSTS;
}

struct delivery {
    struct record *record;
    const struct program *program;
    struct script_state state;
    struct slice bytes;  /* that the state was in */
    bool first, refused; /* refused: the last poll's calls were not accepted */
    bool failed;         /* one of the results is an error */
};
/* All that must hold when a run starts; fills *d for running it. */
void delivery_check(struct world *w, const struct orchestrator_run *run, struct delivery *d);
void delivery_poll_sent(struct world *w, struct record *r, const wire_run_request *q,
                        const struct script_state *state, const struct op *op, uint64_t hash);
const struct program *delivery_program(struct world *w, struct record *r, uint64_t input);
uint64_t delivery_state_hash(struct slice bytes, bool typed);

#define INPUT_TYPE "type.example/sim.Input"
#define VALUE_TYPE "type.example/sim.Value"
#define STATE_TYPE "type.example/sim.State"
/* An Any that holds the number, in the arena. */
wire_any *any_bytes(struct world *w, struct arena *arena, const char *type, struct slice bytes);
wire_any *any_make(struct world *w, struct arena *arena, const char *type, uint64_t number);
void *temp_alloc(struct world *w, struct arena *arena, size_t size); /* zeroed; does not fail */
char *temp_text(struct world *w, struct arena *arena, const char *text);
bool any_read(const wire_any *any, const char *type, uint64_t *number);

/* --- client.c */

extern const char *const org_names[ORGS];
void client_init(struct world *w);
struct slice client_org(unsigned org);
/* Whoever is spoken to does not know that its lease is over: its new calls, which will never be,
 * may have the numbers of others. */
bool client_strays(const struct world *w);
/* An answer that says: not now. */
bool client_later(const struct world *w, const struct error *error);
/* One that was acknowledged, or NULL. */
struct client_call *client_draw_call(struct world *w);
/* What somebody was told of a call, compared with what is durable. */
void client_check_info(struct world *w, const struct record *r, const Dispatch__V1__CallInfo *info,
                       const char *who);
/* A request of one call that is acknowledged with this id; the client waits for it from now on. */
void client_adopt(struct world *w, unsigned org, const char *id);

/* --- outside.c */

/* A row of TABLE_KEY. */
void outside_take(struct world *w, const struct batch_op *op);
/* Of a call to event: that is new; plans its completion. */
void outside_judge_new(struct world *w, struct record *r);
void outside_plan(struct world *w, struct record *r);
/* Of one that is removed: so is its key. */
void outside_judge_gone(struct world *w, const struct record *r);
/* Perhaps completes a call that this one is going to make. */
void outside_too_soon(struct world *w, const struct record *r, const struct program *p);
bool outside_any_early(const struct world *w);
void outside_set(struct world *w, struct arena *a, wire_call *call, uint64_t input);

/* --- hand.c */

void hand_look(struct world *w);
void hand_cancel(struct world *w);
void hand_restart(struct world *w);
void hand_retry(struct world *w);

/* --- faults.c */

void faults_init(struct world *w);
void faults_heal(struct world *w);
/* Before a commit: whether, and how, the process dies of it. FAULT_COUNT: it does not. */
enum fault faults_at_commit(struct world *w);

/* --- plant.c */

bool plant_strikes(struct world *w, enum plant plant, uint64_t one_in);
/* The store that the orchestrator sees, over the one that works. */
struct store *plant_store(struct world *w, struct store *inner);
/* May change the request of a run. */
void plant_request(struct world *w, const struct orchestrator_run *run);

#endif
