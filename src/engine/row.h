// SPDX-License-Identifier: Apache-2.0
/*
 * The rows that the engine writes, and reads back when it is loaded: versioned, self-delimiting,
 * with golden files in the tests. Whoever shows calls to people decodes the same rows.
 *
 * TABLE_CALL and TABLE_DONE hold a struct engine_row; a DONE row has the result behind it.
 */
#ifndef ENGINE_ROW_H
#define ENGINE_ROW_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status.h"

/* CALL_DONE in TABLE_CALL: done, and its result not yet taken by its parent. */
enum call_state { CALL_READY, CALL_WAITING, CALL_RUNNING, CALL_SUSPENDED, CALL_DONE, CALL_STATES };

/* Why a call ended otherwise than by its own answer. */
enum call_end { END_ANSWER, END_EXPIRED, END_CANCELLED, END_KEY_TAKEN };

struct engine_row {
    uint64_t id, parent, root; /* parent 0: a root */
    uint64_t correlation_id;
    uint32_t generation;        /* from 1 */
    uint32_t parent_generation; /* the parent's, when this one was made */
    uint32_t depth;             /* a root's is 0 */
    struct slice org, function, endpoint, version;
    int64_t created, expires;
    int64_t due; /* WAITING: when it is ready; SUSPENDED: the end of max_wait; else TIME_NEVER */
    enum call_state state;
    bool fresh; /* never resumed in this generation: runs with its input, not with a state */
    bool has_input, has_poll_error;

    uint32_t failures;       /* the backoff's n */
    uint32_t restarts;       /* for INCOMPATIBLE_STATE: a count of its own */
    uint64_t attempts;       /* runs answered, all generations */
    uint32_t resumes;        /* polls committed in this generation */
    enum status last_status; /* of the last failed attempt; UNSPECIFIED: none */

    uint32_t min_results, max_results;
    bool poll_timer;      /* the poll began with nothing to wait for but max_wait */
    uint32_t outstanding; /* children of this generation not yet done */
    uint8_t state_arm;
    uint32_t state_chunks; /* PAYLOAD_STATE + 0 .. chunks - 1; those behind the first: appended */
    uint64_t state_hash, state_len;

    /* Of a call that is done: */
    uint64_t finish;     /* order of finishing in the partition, from 1 */
    uint64_t result_len; /* bytes of output and error */
    enum status status;
    enum call_end end;
    int64_t done; /* when */

    /* From version 2 on; left out of the row while they are zero: */
    int32_t priority;
    struct slice key;    /* completed from outside, under this name; has no version */
    uint8_t input_class; /* row_size_class of its input */
    uint64_t retry_of;   /* of a root: the call that it was made from */
    bool wake_on_error;  /* the poll: one result that is an error is enough */
    bool failed;         /* of a call that is done: its result is an error, as its parent sees it */
    uint32_t stalled;    /* SUSPENDED: the poll waits for room for so many calls, PAYLOAD_CALLS */
};

/* Appends the row; out->failed tells. */
void row_encode(struct buf *out, const struct engine_row *row);
/* Reads a row from the front of *in; strings are views into it. CODE_DATA_LOSS says what is wrong;
 * a version that is newer than ours is CODE_FAILED_PRECONDITION. */
int row_decode(struct slice *in, struct engine_row *row, struct error *err);

/* A DONE row's value: the row, then output and error as packed messages (length 0 and a flag tell
 * absent from empty). */
struct engine_result {
    bool has_output, has_error;
    struct slice output, error;
};
void row_encode_done(struct buf *out, const struct engine_row *row, const struct engine_result *r);
int row_decode_done(struct slice in, struct engine_row *row, struct engine_result *r,
                    struct error *err);

const char *call_state_name(enum call_state state); /* "ready" */

/*
 * About how many bytes, in six bits: a class, 0 for none, and the bytes that it stands for, half as
 * many again at most. What is added up and taken away by classes comes out even.
 */
#define ROW_SIZE_CLASSES 64
uint8_t row_size_class(size_t len);
uint64_t row_class_size(uint8_t size_class);
/* What a call that is done takes, if `value` bytes is its DONE row. */
uint64_t row_kept_size(const struct engine_row *row, size_t value);

/* TABLE_META's keys, with sub 0; from META_NOTES on, rows of whoever is around the engine, which it
 * keeps and does not read. With sub META_TREE the key is a root: its tree is out of memory. */
#define META_NOTES (UINT64_C(1) << 32)
enum { META_NEXT_ID = 1, META_NEXT_FINISH = 2, META_KEPT = 3 };
enum { META_TREE = 1 };

/* Such a row: when the tree is due, and its calls, their numbers going up. */
struct tree_row {
    int64_t wake;
    uint32_t calls;
    struct slice ids; /* those not read yet: tree_next */
    uint64_t last;
};
/* The ids are a view into `value`. CODE_DATA_LOSS; CODE_FAILED_PRECONDITION: of a newer version. */
int tree_decode(struct slice value, uint64_t root, struct tree_row *tree, struct error *err);
void tree_encode(struct buf *out, uint64_t root, int64_t wake, const uint64_t *ids, uint32_t calls);
/* False: that was the last; or it is damaged, and there were fewer than `calls`. */
bool tree_next(struct tree_row *tree, uint64_t *id);

#endif
