// SPDX-License-Identifier: Apache-2.0
/*
 * The journal: what a suspended function is, as bytes. One ordered log of the awaits that were
 * begun and of the results that were delivered; running the function again against it brings back
 * the same stack.
 *
 * Format, version 1: the bytes 'D' 'J' 1, then records, each a byte for its kind and the fields
 * that the kind has, in a fixed order (the table in journal.c). Numbers are LEB128, times and
 * random numbers eight bytes little-endian. A name (a function, a type URL) is a number: 0 for one
 * spelled out behind it, n for the nth one spelled out before; at most JOURNAL_NAMES of them, each
 * at most JOURNAL_NAME_MAX bytes, are numbered. Correlation ids are not written: calls and timers
 * get them in the order of their records, counting on from the base record. There is nothing to
 * skip, as a reader that does not know a record cannot go on.
 *
 * The same struct is read from and appended to: a replay reads to the end, then appends. A slice in
 * a record that was read is a view, valid until the next append.
 */
#ifndef SDK_JOURNAL_H
#define SDK_JOURNAL_H

#include "base/buf.h"
#include "base/error.h"
#include "base/map.h"

#define JOURNAL_VERSION  1
#define JOURNAL_MAX      ((size_t)8000000) /* the orchestrator's bound for a state */
#define JOURNAL_NAMES    4096
#define JOURNAL_NAME_MAX 256
/* Of the Any that carries it. */
#define JOURNAL_TYPE "dispatch.sdk.c.v1.Journal"

/* The numbers are on disk: never reuse one. */
enum journal_kind {
    JOURNAL_BASE = 1, /* the first record: number is the position, correlation the id, to go on from
                       */
    JOURNAL_INPUT = 2,     /* of the call: value */
    JOURNAL_STATE = 3,     /* of dispatch_state at a checkpoint: name is the architecture, bytes */
    JOURNAL_CALL = 4,      /* a remote call, awaited at once: name, digest of its input */
    JOURNAL_START = 5,     /* the same, not awaited yet */
    JOURNAL_SPAWN = 6,     /* a local coroutine: name */
    JOURNAL_SLEEP = 7,     /* until time_ns */
    JOURNAL_TIMER = 8,     /* the same, not awaited yet */
    JOURNAL_AWAIT = 9,     /* one task */
    JOURNAL_ALL = 10,      /* number: of tasks */
    JOURNAL_ANY = 11,      /* number */
    JOURNAL_RACE = 12,     /* number */
    JOURNAL_STEP = 13,     /* name, result */
    JOURNAL_LAZY = 14,     /* name, result */
    JOURNAL_NOW = 15,      /* time_ns */
    JOURNAL_RANDOM = 16,   /* number */
    JOURNAL_PATCHED = 17,  /* name */
    JOURNAL_RESULT = 18,   /* delivered: of call `correlation`: result */
    JOURNAL_FIRED = 19,    /* timer `correlation` is over */
    JOURNAL_POLL = 20,     /* all before it is committed; number: of calls that left */
    JOURNAL_REFUSED = 21,  /* none of the calls of the last poll was accepted: result, an error */
    JOURNAL_DISPATCH = 22, /* of calls of their own: digest of them all, result, a DispatchResponse
                              or an error whose type is a code's name */
};

/* A result; what is absent has no bytes. */
struct journal_result {
    struct slice type_url, output; /* an Any; no type_url: null */
    bool failed;
    uint32_t status; /* of the error, and so the rest */
    struct slice type, message, value, traceback;
    struct slice dispatch_id;
};

struct journal_record {
    enum journal_kind kind;
    uint64_t position;    /* when read: how many records came before, since the call began */
    uint64_t correlation; /* also of calls and timers, where it is not written */
    uint64_t number;
    struct slice name;
    uint32_t digest;
    int64_t time_ns;
    struct slice type_url, bytes; /* INPUT: both, an Any; STATE: bytes */
    struct journal_result result;
};

struct journal_name {
    uint32_t at, len;
};

struct journal {
    struct buf bytes;
    size_t cursor; /* where the next record is read; bytes.len: at the end */
    uint64_t position, next_correlation;
    struct journal_name *names; /* in the order of their numbers, from 1 */
    uint32_t name_count, name_room;
    struct map numbers; /* hash of a name to its number */
};

/* An empty one: only the header, at its end. */
int journal_init(struct journal *j, struct error *err);
/* A copy of the bytes, to be read from the start. CODE_UNIMPLEMENTED: of a newer version.
 * CODE_DATA_LOSS: not a journal. On failure there is nothing to free. */
int journal_load(struct journal *j, struct slice bytes, struct error *err);
void journal_free(struct journal *j);
bool journal_at_end(const struct journal *j);
/* Reads the next record; not at the end. CODE_UNIMPLEMENTED: a kind of a newer version.
 * CODE_DATA_LOSS names what is malformed. */
int journal_next(struct journal *j, struct journal_record *record, struct error *err);
/* Appends; only at the end. Sets record->correlation and position. CODE_RESOURCE_EXHAUSTED: no
 * memory, or past JOURNAL_MAX; it is then of no more use. */
int journal_append(struct journal *j, struct journal_record *record, struct error *err);

/* Whether code begins such a record (the others are what was delivered to it). */
bool journal_is_await(enum journal_kind kind);
/* "start of a call"; of a kind that journal_next gives. */
const char *journal_kind_name(enum journal_kind kind);
/* One line for people: "call of 'report'", "result of call 3". */
void journal_describe(const struct journal_record *record, struct buf *out);

#endif
