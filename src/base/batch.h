// SPDX-License-Identifier: Apache-2.0
/*
 * A batch: the ordered puts and deletes that the engine decides and a store makes durable, all or
 * none. It lives in base because it is the one thing those two rooms, which do not know each other,
 * share. Rows are opaque bytes to a store; what is in them is the engine's matter (engine/row.h).
 */
#ifndef BASE_BATCH_H
#define BASE_BATCH_H

#include "base/arena.h"
#include "base/blob.h"

/*
 * The tables of a partition. A row's key is (key, sub).
 *
 *   CALL     hot: one row a live call, sub 0; small
 *   PAYLOAD  a call's bytes: sub PAYLOAD_INPUT, PAYLOAD_POLL_ERROR, PAYLOAD_CALLS (of a poll that
 *            waits for room), PAYLOAD_STATE + chunk
 *   DONE     one row a finished call, sub 0: its last record and its result
 *   META     small facts of the partition, by number; with sub 1, the calls of a tree that is out
 * of memory, by its root KEY      what clients named by keys of their own: by a hash of the name,
 * with a sub for each of those that share it
 */
enum table { TABLE_CALL, TABLE_PAYLOAD, TABLE_DONE, TABLE_META, TABLE_KEY, TABLE_COUNT };

enum { PAYLOAD_INPUT = 0, PAYLOAD_POLL_ERROR = 1, PAYLOAD_CALLS = 2, PAYLOAD_STATE = 16 };

#define KEY_MAX ((UINT64_C(1) << 43) - 1) /* (key, sub) fits 63 bits: SQLite's integer key */
#define SUB_MAX ((1u << 20) - 1)

/* What a batch can hold; past them an operation fails as without memory. */
#define BATCH_OPS_MAX   ((size_t)1 << 24)
#define BATCH_BYTES_MAX ((size_t)1 << 30)

struct batch_op {
    enum table table;
    bool put; /* else delete; deleting what is not there is no error */
    uint32_t sub;
    uint64_t key;
    struct slice value; /* of a put; lives as long as the batch */
    struct blob *blob;  /* the owner of `value`, referenced by the batch; NULL: the batch's arena */
};

struct batch {
    struct batch_op *ops;
    size_t count, cap;
    size_t bytes; /* of all values */
    struct arena arena;
};

void batch_init(struct batch *b);
/* Drops the blobs and empties it, keeping memory for the next use. */
void batch_reset(struct batch *b);
void batch_free(struct batch *b);

/* Room for `extra` more operations; false: no memory. Each of the following may fail the same way.
 */
bool batch_reserve(struct batch *b, size_t extra);
bool batch_put(struct batch *b, enum table table, uint64_t key, uint32_t sub, struct slice copied);
bool batch_put_blob(struct batch *b, enum table table, uint64_t key, uint32_t sub,
                    struct blob *referenced);
bool batch_delete(struct batch *b, enum table table, uint64_t key, uint32_t sub);

#endif
