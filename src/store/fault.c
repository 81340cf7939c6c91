// SPDX-License-Identifier: Apache-2.0
/*
 * The decorator that fails on command. A commit that is to land late is kept as a copy and handed
 * to the inner store before the next operation, as a write may that a dying connection had sent;
 * when a fence comes first it is tried after it, and the inner store must refuse it: its epoch is
 * over. Readers are the inner store's own: they see what is committed and fail by themselves.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/store.h"

struct fault {
    struct store store;
    struct store *inner;
    struct store_faults *faults;
    bool late; /* `batch` is to land with this partition and epoch */
    uint32_t partition;
    uint64_t epoch;
    struct batch batch;
};

static struct fault *fault_of(struct store *store)
{
    return (struct fault *)store;
}

/* True when the countdown ends with this event. */
static bool strikes(uint64_t *counter)
{
    return *counter && --*counter == 0;
}

static int fail(struct fault *f, const char *what, struct error *err)
{
    f->faults->failures++;
    return error_set(err, CODE_UNAVAILABLE, "%s", what);
}

static int land_late(struct fault *f)
{
    int code = CODE_OK;

    if (f->late) {
        f->late = false;
        code = store_commit(f->inner, f->partition, f->epoch, &f->batch, NULL);
        batch_reset(&f->batch);
    }
    return code;
}

static int keep_late(struct fault *f, uint32_t partition, uint64_t epoch, const struct batch *batch,
                     struct error *err)
{
    assert(!f->late && !f->batch.count);
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];
        bool kept = op->blob  ? batch_put_blob(&f->batch, op->table, op->key, op->sub, op->blob)
                    : op->put ? batch_put(&f->batch, op->table, op->key, op->sub, op->value)
                              : batch_delete(&f->batch, op->table, op->key, op->sub);

        if (!kept) {
            batch_reset(&f->batch);
            return error_memory(err);
        }
    }
    f->late = true;
    f->partition = partition;
    f->epoch = epoch;
    return fail(f, "injected: the commit lands later", err);
}

static int fault_commit(struct store *store, uint32_t partition, uint64_t epoch,
                        const struct batch *batch, struct error *err)
{
    struct fault *f = fault_of(store);
    bool fails, lost, late;

    f->faults->commits++;
    fails = strikes(&f->faults->fail_commit_in);
    lost = strikes(&f->faults->lose_commit_in);
    late = strikes(&f->faults->late_commit_in);
    if (f->faults->fail_all)
        return fail(f, "injected: disk full", err);
    land_late(f);
    if (fails)
        return fail(f, "injected: the commit is not written", err);
    if (lost) {
        int code = store_commit(f->inner, partition, epoch, batch, err);

        return code ? code : fail(f, "injected: the outcome of the commit is lost", err);
    }
    if (late)
        return keep_late(f, partition, epoch, batch, err);
    return store_commit(f->inner, partition, epoch, batch, err);
}

static int fault_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                       struct error *err)
{
    struct fault *f = fault_of(store);
    int code;

    if (f->faults->fail_all)
        return fail(f, "injected: disk full", err);
    code = store_fence(f->inner, partition, ballast, epoch, err);
    if (!code && f->late && f->partition == partition) {
        int late = land_late(f);

        assert(late != CODE_OK);
        (void)late;
    }
    return code;
}

static int fault_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                       struct error *err)
{
    struct fault *f = fault_of(store);

    if (f->faults->fail_all)
        return fail(f, "injected: disk full", err);
    land_late(f);
    return store_renew(f->inner, partition, epoch, ttl_ns, err);
}

static int fault_walk(struct store *store, uint32_t partition, const struct store_range *range,
                      store_row_fn *fn, void *arg, struct error *err)
{
    struct fault *f = fault_of(store);

    if (!f->faults->fail_all)
        land_late(f);
    return store_walk(f->inner, partition, range, fn, arg, err);
}

static bool fault_upkeep_due(struct store *store)
{
    return store_upkeep_due(fault_of(store)->inner);
}

static void fault_upkeep(struct store *store)
{
    store_upkeep(fault_of(store)->inner);
}

static int fault_open_reader(struct store *store, struct store **reader, struct error *err)
{
    return store_open_reader(fault_of(store)->inner, reader, err);
}

static void fault_close(struct store *store)
{
    struct fault *f = fault_of(store);

    batch_free(&f->batch);
    store_close(f->inner);
    free(f);
}

int store_fault_create(struct store **store, struct store *inner, struct store_faults *faults,
                       struct error *err)
{
    static const struct store_ops ops = {
        .open_reader = fault_open_reader,
        .close = fault_close,
        .fence = fault_fence,
        .renew = fault_renew,
        .commit = fault_commit,
        .walk = fault_walk,
        .upkeep_due = fault_upkeep_due,
        .upkeep = fault_upkeep,
    };
    struct fault *f = calloc(1, sizeof *f);

    if (!f)
        return error_memory(err);
    f->store = (struct store){.ops = &ops, .tag = inner->tag};
    f->inner = inner;
    f->faults = faults;
    batch_init(&f->batch);
    *store = &f->store;
    return CODE_OK;
}
