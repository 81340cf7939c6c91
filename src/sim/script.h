// SPDX-License-Identifier: Apache-2.0
/*
 * What the simulated functions do. A function's input is one number, and everything about the call
 * follows from it: what it calls, how it waits, how often it fails, how it ends. So the endpoint
 * can run it, and the model predict it, knowing nothing of each other or of the orchestrator.
 *
 * A function is a program of a few polls. Between them it is its state: where it is in its program,
 * what it has added up, which of its calls are outstanding and which have brought their result.
 */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/rand.h"
#include "base/status.h"

#define OPS_MAX      10
#define CHILDREN_MAX 12
#define DEPTH_MAX    3
#define TAILS_MAX    4
#define PRIORITIES   3 /* that calls have: below 0, 0, above */

/* What a call is made to be, said by its input, known to its caller. */
enum class {
    CLASS_PLAIN,
    CLASS_DOOMED, /* always fails for a passing reason and expires soon: always ends as expired */
    CLASS_RISKY,  /* expires soon: may or may not make it; its caller does not count its value */
    CLASS_EVENT,  /* completed from outside; whether its key is free its caller cannot know */
    CLASS_COUNT,
};

enum op_kind {
    OP_SLEEP, /* a poll with nothing but max_wait */
    OP_YIELD, /* a poll with max_wait zero */
    OP_BAD,   /* a poll with a call that cannot be accepted: none may be made */
    OP_SPAWN, /* a poll that makes children */
    OP_JOIN,  /* polls until no child is outstanding */
    OP_DROP,  /* a poll that gives up some children, whether or not their results came */
};

struct op {
    enum op_kind kind;
    int64_t wait_ns; /* -1: none */
    int32_t min, max;
    unsigned first, count; /* SPAWN: children */
    bool wake_on_error;
};

enum fate { FATE_OK, FATE_FAIL, FATE_TAIL, FATE_GARBAGE };

/* Answers that no endpoint should give; each is the end of its call, as an invalid response. */
enum garbage {
    GARBAGE_STATUS, /* which is none */
    GARBAGE_NEGATIVE_STATUS,
    GARBAGE_OUTPUT, /* larger than allowed */
    GARBAGE_STATE,  /* the same */
    GARBAGE_APPEND, /* that makes the state larger than allowed */
    GARBAGE_TAIL,   /* to no function */
    GARBAGE_KINDS,
};

struct program {
    uint64_t input;
    enum class class;
    unsigned depth; /* how deep the tree below it may be */
    struct op ops[OPS_MAX];
    unsigned op_count;
    uint64_t children[CHILDREN_MAX]; /* inputs */
    unsigned child_count;
    unsigned child_hosts; /* bit i: child i goes to an endpoint of its own, not the parent's */
    unsigned dropped;     /* bit i: child i may be given up, and its value does not count */

    unsigned fails;             /* so many runs of the call fail for passing reasons, */
    enum status fail_status[4]; /* these, in turn, */
    unsigned fail_from;         /* from this resume on */
    unsigned incompatible;      /* so many resumes find the state incompatible */
    enum fate fate;
    enum status status; /* of FATE_FAIL; of FATE_TAIL: what comes with the tail call */
    bool with_output, with_error, with_sum;
    enum garbage garbage;
    bool typed_state, appends;
    uint64_t tail; /* the input that it tail-calls */
    int64_t value;
};

void program_make(struct program *p, uint64_t input);

enum class input_class(uint64_t input);
/* A fresh input: no two are equal, as good as certainly. */
uint64_t input_make(struct rand *r, enum class class, unsigned depth);
/* What a caller asks for a call of that input; 0: the default. */
int64_t input_expiration_ns(uint64_t input);
/* How long after it was made a call of that input may start; 0: at once. */
int64_t input_delay_ns(uint64_t input);
/* A tree has one priority: who polls and polls would else starve the calls that he waits for. */
int32_t input_priority(uint64_t input);
/* "f2_plain"; NUL-terminated. */
#define FUNCTION_NAME_MAX 32
void input_function(uint64_t input, char name[FUNCTION_NAME_MAX]);
/* The correlation id of a caller's first child; the next ones follow, wrapping. */
uint64_t input_correlation(uint64_t input);

/* How a call ended, as anybody outside can see it. */
struct outcome {
    enum status status;
    bool expired, cancelled;
    bool has_output;
    int64_t value;
};
bool outcome_eq(const struct outcome *a, const struct outcome *b);

/* What the result of a child adds to the sum of its caller. */
int64_t child_worth(const struct program *p, unsigned child, const struct outcome *outcome);

/* --- running ---------------------------------------------------------------------------------- */

struct script_state {
    uint64_t input;
    unsigned pc;
    int64_t sum;
    uint32_t outstanding, consumed, given_up; /* bits of children */
};

/* A state in bytes is one or more of these, one behind the other; the last one is valid. */
void script_state_encode(const struct script_state *s, struct buf *out);
bool script_state_decode(struct slice in, struct script_state *s);

enum action_kind { ACTION_EXIT, ACTION_TAIL, ACTION_POLL, ACTION_GARBAGE };

struct action {
    enum action_kind kind;
    const struct op *op; /* of a poll */
};

/* Goes on from the state to the next thing that is said to the orchestrator. The results that came
 * were added to it before. */
enum script_step {
    SCRIPT_FIRST,
    SCRIPT_RESUMED,
    SCRIPT_REFUSED, /* resumed with an error instead of what the poll asked */
};
void script_advance(const struct program *p, struct script_state *s, enum script_step step,
                    struct action *action);

#endif
