// SPDX-License-Identifier: Apache-2.0
/*
 * The store: where batches become durable. Small and synchronous; one kind a file (memory.c,
 * sqlite.c), all behind the same functions and held to the same conformance suite
 * (conformance_test.c). async.h gives any kind a thread of its own.
 *
 * A partition's rows are those of base/batch.h. Who may write to a partition is decided by its
 * epoch, a number that store_fence raises and that every commit is conditional on: after a commit
 * whose outcome is unknown, a fence guarantees that it can no longer land.
 *
 * Several nodes may have the same data open, each with a handle of its own. Who of them serves a
 * partition has a lease on it, made of these two: store_fence takes it, with a new epoch, unless
 * another has it; store_renew keeps it, for a time by the store's clock. A lease keeps the others
 * waiting, so that a partition does not go back and forth; what makes it safe, whatever the clocks
 * say, is the epoch.
 *
 * One handle is used by one thread at a time. Other handles on the same data (store_open_reader)
 * are read-only and may be used beside it.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/batch.h"
#include "base/clock.h"
#include "base/error.h"

struct store;

struct store_options {
    bool read_only; /* query only: no lock, no fence, no commit, no load */
    uint32_t
        busy_timeout_ms; /* sqlite: how long to wait for a file held by another process; 0: not */
};

/*
 * "memory:" or "sqlite:PATH" (created with its parent missing is an error; PATH is made if it is
 * not there). The version of the format is checked: a newer one is CODE_FAILED_PRECONDITION and the
 * file is left as it is; an older one is upgraded. A file that another process holds is
 * CODE_UNAVAILABLE, naming the holder.
 */
int store_open(struct store **store, const char *url, const struct store_options *options,
               struct error *err);
/* A second, read-only handle on the same data, for another thread; sees what is committed. */
int store_open_reader(struct store *store, struct store **reader, struct error *err);
void store_close(struct store *store); /* NULL is fine */

/* The tag in the ids of this store's calls (base/id.h), drawn when it was made. */
uint64_t store_tag(struct store *store);

/*
 * Commits a new epoch for the partition on the row that every commit locks; *epoch is the new one.
 * Reopens whatever a failed commit may have left in doubt first. `ballast` bytes are written and
 * removed along with it, so that a fence succeeds only where a batch of that size would.
 * CODE_UNAVAILABLE also while another handle has the lease; then nothing has changed.
 */
int store_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                struct error *err);

/*
 * From now on, for ttl_ns (0: not any more), nobody but this handle can fence the partition; its
 * next renewal replaces this one. Closing the handle ends it too. CODE_ABORTED: the epoch is not
 * the partition's any more. Any other code: the outcome is unknown. An SQLite file has one owner,
 * whose lock is the lease: there a renewal only compares epochs.
 */
int store_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                struct error *err);

/*
 * All or nothing, durable when it returns CODE_OK. CODE_ABORTED: the epoch is not the partition's
 * any more, and nothing was written. Any other code: the outcome is unknown; only a fence followed
 * by loading afresh goes on from there.
 */
int store_commit(struct store *store, uint32_t partition, uint64_t epoch, const struct batch *batch,
                 struct error *err);

/*
 * What a kind does now and then between commits, and may take long (a checkpoint), when it is due.
 * It touches no promise: that it fails, or is never called, costs room, and is not told.
 */
bool store_upkeep_due(struct store *store);
void store_upkeep(struct store *store);

struct store_row {
    uint64_t key;
    uint32_t sub;
    struct slice value; /* lives during the callback */
};

/* Non-zero stops the walk, and is what the walk then returns. */
typedef int store_row_fn(void *arg, const struct store_row *row);

struct store_range {
    enum table table;
    uint64_t from_key, to_key; /* inclusive */
    uint32_t from_sub, to_sub; /* inclusive; applied to every key */
    bool descending;
    size_t limit; /* rows; 0: no limit */
};

/*
 * Walks the rows of a range in order of (key, sub), committed state only and all of it as of one
 * moment. Numbers past KEY_MAX and SUB_MAX stand for those. From within `fn` the same handle may be
 * read, not committed to or fenced.
 */
int store_walk(struct store *store, uint32_t partition, const struct store_range *range,
               store_row_fn *fn, void *arg, struct error *err);

/* One row's value as a blob (one reference, the caller's); CODE_NOT_FOUND. */
int store_get(struct store *store, uint32_t partition, enum table table, uint64_t key, uint32_t sub,
              struct blob **value, struct error *err);

/* --- the kinds' side ------------------------------------------------------------------------- */

struct store_ops {
    int (*open_reader)(struct store *store, struct store **reader, struct error *err);
    void (*close)(struct store *store);
    int (*fence)(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                 struct error *err);
    int (*renew)(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                 struct error *err);
    int (*commit)(struct store *store, uint32_t partition, uint64_t epoch,
                  const struct batch *batch, struct error *err);
    int (*walk)(struct store *store, uint32_t partition, const struct store_range *range,
                store_row_fn *fn, void *arg, struct error *err);
    bool (*upkeep_due)(struct store *store); /* these two may be NULL: there never is any */
    void (*upkeep)(struct store *store);
};

struct store { /* the first member of each kind's own struct */
    const struct store_ops *ops;
    uint64_t tag;
};

int store_memory_create(struct store **store, uint64_t tag, struct error *err);
/* One more handle, writing too, on the data of `memory` (a store made by store_memory_create,
 * bare): what a process that starts again after a crash, or another node, would open. The data goes
 * with its last handle. */
int store_memory_share(struct store **store, struct store *memory, struct error *err);
/* The clock that leases on the data are measured by, for all its handles; at first that of the
 * system. */
void store_memory_set_clock(struct store *memory, struct clock *clock);
int store_sqlite_open(struct store **store, const char *path, const struct store_options *options,
                      struct error *err);

/* --- operators ---------------------------------------------------------------------------------
 */

/* On a read-only handle of the SQLite kind. From now on, it reads the data as they are now. */
int store_sqlite_pin(struct store *store, struct error *err);
/* Has SQLite look for damage in the whole file; tells each that it finds, for people. */
int store_sqlite_check(struct store *store, void (*tell)(void *arg, const char *what), void *arg,
                       struct error *err);
/* A new file with the same content, as of one moment, synced. CODE_ALREADY_EXISTS; after any other
 * failure there may be a part of it. */
int store_sqlite_copy(struct store *store, const char *to, struct error *err);

/* --- faults ---------------------------------------------------------------------------------- */

/*
 * A decorator that fails on command, for tests and simulation. It owns `inner`. Counters count
 * down; 0 is never.
 */
struct store_faults {
    uint64_t fail_commit_in; /* 1: the next commit fails and is not written */
    uint64_t lose_commit_in; /* 1: the next commit fails although it was written: outcome unknown */
    uint64_t late_commit_in; /* 1: the next commit fails, and lands just before the next operation,
                                if no fence has come first */
    bool fail_all;           /* disk full: every commit and fence fails until it is cleared */
    uint64_t commits, failures; /* seen so far */
};

int store_fault_create(struct store **store, struct store *inner, struct store_faults *faults,
                       struct error *err);

#endif
