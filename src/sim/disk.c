// SPDX-License-Identifier: Apache-2.0
/*
 * The stores between the orchestrator and the disk, from the outside in:
 *
 *   plant     bugs on purpose, if any (plant.c)
 *   gate      where the process dies around a commit; a dead one gets nothing through
 *   fault     store_fault_create: commits that fail, are lost, land late; a full disk
 *   observer  tells the ledger of each commit that was made
 *   memory    the data, which outlives every process
 *
 * What the store is asked may take a while: then the orchestrator's poll of the store brings
 * nothing (the program is linked with a poll of ours in between), and the world goes on, with a
 * commit under way that nobody knows the outcome of.
 *
 * A commit of a dying process may be under way still: its copy lands later through an observer of
 * its own, or is refused, if the next process has fenced meanwhile.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "sim/world.h"
#include "store/async.h"

struct layer {
    struct store store;
    struct store *inner;
    struct world *world;
};

struct zombie {
    struct batch batch;
    uint64_t epoch;
};

static struct layer *layer_of(struct store *store)
{
    return (struct layer *)(void *)store;
}

static struct store *layer_create(struct world *w, struct store *inner, const struct store_ops *ops)
{
    struct layer *l = calloc(1, sizeof *l);

    CHECK(w, l, "there is memory", "for a layer of the store");
    l->store = (struct store){.ops = ops, .tag = inner->tag};
    l->inner = inner;
    l->world = w;
    return &l->store;
}

static void layer_close(struct store *store)
{
    store_close(layer_of(store)->inner);
    free(store);
}

static int layer_open_reader(struct store *store, struct store **reader, struct error *err)
{
    return store_open_reader(layer_of(store)->inner, reader, err);
}

/* --- slowness --------------------------------------------------------------------------------- */

static bool slow; /* for store_async_poll, which knows no world */

size_t __real_store_async_poll(struct store_async *async);
size_t __wrap_store_async_poll(struct store_async *async);

size_t __wrap_store_async_poll(struct store_async *async)
{
    return slow ? 0 : __real_store_async_poll(async);
}

static void slow_no_more(struct world *w, void *arg)
{
    (void)arg;
    slow = false;
    w->process.step_at = w->now;
}

bool disk_is_slow(void)
{
    return slow;
}

void disk_maybe_slow(struct world *w)
{
    if (slow || !world_may(w, FAULT_DISK_SLOW) || !world_once_in(w, 10))
        return;
    slow = true;
    world_count(w, FAULT_DISK_SLOW);
    world_at(w, w->now + world_draw_ns(w, 4 * NS_PER_S), slow_no_more, NULL);
}

/* --- observer --------------------------------------------------------------------------------- */

static int observer_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                          struct error *err)
{
    struct layer *l = layer_of(store);
    int code = store_fence(l->inner, partition, ballast, epoch, err);

    if (!code) {
        CHECK(l->world, *epoch > l->world->epoch, "epochs grow", "%" PRIu64 " after %" PRIu64,
              *epoch, l->world->epoch);
        l->world->epoch = *epoch;
        ledger_forget_moves(l->world);
        trace(l->world, "fence: epoch %" PRIu64, *epoch);
    }
    return code;
}

static int observer_commit(struct store *store, uint32_t partition, uint64_t epoch,
                           const struct batch *batch, struct error *err)
{
    struct layer *l = layer_of(store);
    bool was = memory_scarce(l->world, false); /* a late commit may land within a walk */
    int code = store_commit(l->inner, partition, epoch, batch, err);

    if (!code) {
        CHECK(l->world, epoch == l->world->epoch, "nobody commits after a fence",
              "a commit of epoch %" PRIu64 " landed in epoch %" PRIu64, epoch, l->world->epoch);
        ledger_committed(l->world, batch);
    }
    memory_scarce(l->world, was);
    return code;
}

static int observer_walk(struct store *store, uint32_t partition, const struct store_range *range,
                         store_row_fn *fn, void *arg, struct error *err)
{
    return store_walk(layer_of(store)->inner, partition, range, fn, arg, err);
}

static const struct store_ops observer_ops = {
    .open_reader = layer_open_reader,
    .close = layer_close,
    .fence = observer_fence,
    .commit = observer_commit,
    .walk = observer_walk,
};

/* --- gate ------------------------------------------------------------------------------------- */

static int refuse(struct error *err)
{
    return error_set(err, CODE_UNAVAILABLE, "simulated: the process is dead");
}

static bool batch_copy(struct batch *to, const struct batch *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct batch_op *op = &from->ops[i];
        bool copied = op->put ? batch_put(to, op->table, op->key, op->sub, op->value)
                              : batch_delete(to, op->table, op->key, op->sub);

        if (!copied)
            return false;
    }
    return true;
}

static void zombie_lands(struct world *w, void *arg)
{
    struct zombie *z = arg;
    uint64_t epoch = plant_strikes(w, PLANT_IGNORED_EPOCH, 1) ? w->epoch : z->epoch;
    int code = store_commit(w->beside, PARTITION, epoch, &z->batch, NULL);

    trace(w, "the dead process's commit of epoch %" PRIu64 " %s", z->epoch,
          code ? "is refused" : "lands");
    batch_free(&z->batch);
    free(z);
}

static void leave_zombie(struct world *w, uint64_t epoch, const struct batch *batch)
{
    struct zombie *z = calloc(1, sizeof *z);

    CHECK(w, z, "there is memory", "for a batch");
    batch_init(&z->batch);
    z->epoch = epoch;
    CHECK(w, batch_copy(&z->batch, batch), "there is memory", "for a batch");
    world_at(w, time_add(w->now, world_draw_ns(w, 30 * NS_PER_S)), zombie_lands, z);
}

static int do_commit(struct store *store, uint32_t partition, uint64_t epoch,
                     const struct batch *batch, struct error *err)
{
    struct layer *l = layer_of(store);
    struct world *w = l->world;
    enum fault how;
    int code;

    if (w->process.dead)
        return refuse(err);
    how = faults_at_commit(w);
    if (how == FAULT_CRASH_BEFORE || how == FAULT_CRASH_ZOMBIE) {
        process_die(w, how);
        if (how == FAULT_CRASH_ZOMBIE)
            leave_zombie(w, epoch, batch);
        return refuse(err);
    }
    code = store_commit(l->inner, partition, epoch, batch, err);
    if (code)
        trace(w, "commit fails: %s", err->message);
    if (how == FAULT_CRASH_AFTER) {
        process_die(w, how);
        return refuse(err);
    }
    return code;
}

static int do_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                    struct error *err)
{
    struct layer *l = layer_of(store);
    struct world *w = l->world;
    bool dies = world_may(w, FAULT_CRASH_FENCE) && world_once_in(w, 15);
    int code;

    if (w->process.dead)
        return refuse(err);
    if (dies && world_once_in(w, 2)) {
        process_die(w, FAULT_CRASH_FENCE);
        return refuse(err);
    }
    code = store_fence(l->inner, partition, ballast, epoch, err);
    if (!dies)
        return code;
    process_die(w, FAULT_CRASH_FENCE);
    return refuse(err);
}

static int do_walk(struct store *store, uint32_t partition, const struct store_range *range,
                   store_row_fn *fn, void *arg, struct error *err)
{
    struct layer *l = layer_of(store);

    if (l->world->process.dead)
        return refuse(err);
    return store_walk(l->inner, partition, range, fn, arg, err);
}

/* Below the gate there is memory enough. */

static int gate_commit(struct store *store, uint32_t partition, uint64_t epoch,
                       const struct batch *batch, struct error *err)
{
    struct world *w = layer_of(store)->world;
    bool was = memory_scarce(w, false);
    int code = do_commit(store, partition, epoch, batch, err);

    memory_scarce(w, was);
    return code;
}

static int gate_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                      struct error *err)
{
    struct world *w = layer_of(store)->world;
    bool was = memory_scarce(w, false);
    int code = do_fence(store, partition, ballast, epoch, err);

    memory_scarce(w, was);
    return code;
}

static const struct store_ops gate_ops = {
    .open_reader = layer_open_reader,
    .close = layer_close,
    .fence = gate_fence,
    .commit = gate_commit,
    .walk = do_walk,
};

/* --- the stack -------------------------------------------------------------------------------- */

static struct store *observed(struct world *w)
{
    struct store *bare;
    struct error err;
    int code = store_memory_share(&bare, w->disk, &err);

    CHECK(w, !code, "the disk can be opened", "%s", err.message);
    return layer_create(w, bare, &observer_ops);
}

void disk_create(struct world *w)
{
    struct error err;
    int code = store_memory_create(&w->disk, rand_u64(&w->rand) & ID_TAG_MAX, &err);

    CHECK(w, !code, "the disk can be made", "%s", err.message);
    w->beside = observed(w);
}

void disk_destroy(struct world *w)
{
    slow = false;
    store_close(w->beside);
    store_close(w->disk);
}

struct store *disk_open(struct world *w)
{
    struct store *faulty;
    struct error err;
    int code = store_fault_create(&faulty, observed(w), &w->faults, &err);

    CHECK(w, !code, "the disk can be opened", "%s", err.message);
    return plant_store(w, layer_create(w, faulty, &gate_ops));
}
