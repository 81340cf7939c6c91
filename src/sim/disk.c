// SPDX-License-Identifier: Apache-2.0
/*
 * The stores between the orchestrator and the disk, from the outside in:
 *
 *   plant     bugs on purpose, if any (plant.c)
 *   gate      where the process dies around a commit; a dead one gets nothing through
 *   fault     store_fault_create: commits that fail, are lost, land late; a full disk
 *   observer  tells the ledger of each commit that was made
 *   memory    the data, which outlives every process; or SQLite, on a disk that is simulated too
 *
 * What the store is asked may take a while: then the orchestrator's poll of the store brings
 * nothing (the program is linked with a poll of ours in between), and the world goes on, with a
 * commit under way that nobody knows the outcome of.
 *
 * A commit of a dying process may be under way still: its copy lands later through an observer of
 * its own, or is refused, if the next process has fenced meanwhile. Not so on SQLite: the lock of a
 * file is held until its process is gone, and who is gone writes nothing; what it had written and
 * not synced is the disk's affair.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/world.h"
#include "store/async.h"
#include "store/sim_disk.h"

struct layer {
    struct store store;
    struct store *inner;
    struct world *world;
};

struct zombie {
    struct batch batch;
    uint64_t epoch;
    int64_t ahead; /* the clock of who made it */
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
    for (unsigned i = 0; i < w->node_count; i++)
        w->nodes[i].step_at = w->now;
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

/* --- observer --------------------------------------------------------------------------------- */

/* A commit that failed on SQLite may have been made, or may yet be found to have been. */
static void doubt(struct world *w, const struct batch *batch)
{
    w->in_doubt = calloc(1, sizeof *w->in_doubt);
    w->doubt_ahead = w->node->ahead;
    CHECK(w, w->in_doubt, "there is memory", "for a batch");
    batch_init(w->in_doubt);
    CHECK(w, batch_copy(w->in_doubt, batch), "there is memory", "for a batch");
}

static bool is_there(struct world *w, struct store *store, const struct batch_op *op)
{
    struct blob *blob = NULL;
    int code = store_get(store, PARTITION, op->table, op->key, op->sub, &blob, NULL);
    bool is;

    CHECK(w, !code || code == CODE_NOT_FOUND, "the disk can be read", "code %d", code);
    is = op->put ? !code && slice_eq(blob_slice(blob), op->value) : code == CODE_NOT_FOUND;
    blob_unref(blob);
    return is;
}

/* What is written last of a row counts. */
static bool is_last(const struct batch *batch, size_t i)
{
    const struct batch_op *op = &batch->ops[i];

    for (size_t k = i + 1; k < batch->count; k++)
        if (batch->ops[k].table == op->table && batch->ops[k].key == op->key &&
            batch->ops[k].sub == op->sub)
            return false;
    return true;
}

/* A commit is judged by the clock of who made it, who is gone. */
static struct process *dead_speaks(struct world *w, struct process *dead, int64_t ahead)
{
    struct process *was = w->node;

    *dead = (struct process){.world = w, .number = was->number, .ahead = ahead, .dead = true};
    w->node = dead;
    return was;
}

static void take_from_dead(struct world *w, int64_t ahead, const struct batch *batch)
{
    struct process dead, *was = dead_speaks(w, &dead, ahead);

    ledger_committed(w, batch);
    w->node = was;
}

/* After a fence: all of it is there, or nothing will ever be. */
static void resolve(struct world *w, struct store *store)
{
    struct batch *batch = w->in_doubt;
    bool landed = true;

    if (!batch)
        return;
    w->in_doubt = NULL;
    for (size_t i = 0; i < batch->count && landed; i++)
        landed = !is_last(batch, i) || is_there(w, store, &batch->ops[i]);
    trace(w, "the commit that failed has %s", landed ? "been made" : "not been made");
    if (landed)
        take_from_dead(w, w->doubt_ahead, batch);
    batch_free(batch);
    free(batch);
}

/* Whoever was at it when the power failed is dead. */
static void check_power(struct world *w)
{
    if (w->sqlite && sim_disk_state(w->sqlite)->off)
        process_die(w, FAULT_POWER);
}

static int observer_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                          struct error *err)
{
    struct layer *l = layer_of(store);
    int code = store_fence(l->inner, partition, ballast, epoch, err);

    if (!code) {
        CHECK(l->world, *epoch > l->world->epoch, "epochs grow", "%" PRIu64 " after %" PRIu64,
              *epoch, l->world->epoch);
        CHECK(l->world,
              !l->world->lease_by || l->world->lease_by == store || l->world->hasty ||
                  l->world->now >= l->world->lease_until,
              "a lease keeps others out", "epoch %" PRIu64 " begins %" PRId64 " ns too soon",
              *epoch, l->world->lease_until - l->world->now);
        l->world->epoch = *epoch;
        ledger_forget_moves(l->world);
        trace(l->world, "fence: epoch %" PRIu64, *epoch);
        resolve(l->world, l->inner);
    }
    check_power(l->world);
    return code;
}

/* Nobody else may fence meanwhile. */
static int observer_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                          struct error *err)
{
    struct layer *l = layer_of(store);
    int code = store_renew(l->inner, partition, epoch, ttl_ns, err);

    if (!code) {
        CHECK(l->world, epoch == l->world->epoch, "nobody renews what another has",
              "epoch %" PRIu64 " was renewed in epoch %" PRIu64, epoch, l->world->epoch);
        l->world->lease_by = store;
        l->world->lease_until = l->world->now + ttl_ns;
    }
    return code;
}

static void observer_close(struct store *store)
{
    struct world *w = layer_of(store)->world;

    if (w->lease_by == store)
        w->lease_by = NULL;
    layer_close(store);
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
    } else if (l->world->sqlite && code != CODE_ABORTED) {
        doubt(l->world, batch);
    }
    check_power(l->world);
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
    .close = observer_close,
    .fence = observer_fence,
    .renew = observer_renew,
    .commit = observer_commit,
    .walk = observer_walk,
};

/* --- gate ------------------------------------------------------------------------------------- */

static int refuse(struct error *err)
{
    return error_set(err, CODE_UNAVAILABLE, "simulated: the process is dead");
}

static void zombie_lands(struct world *w, void *arg)
{
    struct zombie *z = arg;
    uint64_t epoch = plant_strikes(w, PLANT_IGNORED_EPOCH, 1) ? w->epoch : z->epoch;
    struct process dead, *was = dead_speaks(w, &dead, z->ahead);
    int code = store_commit(w->beside, PARTITION, epoch, &z->batch, NULL);

    w->node = was;
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
    z->ahead = w->node->ahead;
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

    if (w->node->dead)
        return refuse(err);
    how = faults_at_commit(w);
    if (how == FAULT_CRASH_BEFORE || how == FAULT_CRASH_ZOMBIE) {
        process_die(w, how);
        if (how == FAULT_CRASH_ZOMBIE)
            leave_zombie(w, epoch, batch);
        return refuse(err);
    }
    nodes_at_commit(w);
    code = store_commit(l->inner, partition, epoch, batch, err);
    if (!code)
        nodes_at_commit(w);
    if (code)
        trace(w, "commit fails: %s", w->sqlite ? code_name(code) : err->message);
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

    if (w->node->dead)
        return refuse(err);
    if (dies && world_once_in(w, 2)) {
        process_die(w, FAULT_CRASH_FENCE);
        return refuse(err);
    }
    code = store_fence(l->inner, partition, ballast, epoch, err);
    if (!code) {
        w->node->epoch = *epoch;
        nodes_fenced(w);
    }
    if (!dies)
        return code;
    process_die(w, FAULT_CRASH_FENCE);
    return refuse(err);
}

static int do_walk(struct store *store, uint32_t partition, const struct store_range *range,
                   store_row_fn *fn, void *arg, struct error *err)
{
    struct layer *l = layer_of(store);

    if (l->world->node->dead)
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

static int gate_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                      struct error *err)
{
    struct world *w = layer_of(store)->world;
    bool was = memory_scarce(w, false);
    int code = w->node->dead ? refuse(err)
                             : store_renew(layer_of(store)->inner, partition, epoch, ttl_ns, err);

    memory_scarce(w, was);
    return code;
}

static void gate_close(struct store *store)
{
    struct layer *l = layer_of(store);
    struct world *w = l->world;

    if (w->lease_ns && w->node->dead && !w->node->stopped) {
        nodes_keep_corpse(w, l->inner);
        free(store);
    } else {
        layer_close(store);
    }
}

static const struct store_ops gate_ops = {
    .open_reader = layer_open_reader,
    .close = gate_close,
    .fence = gate_fence,
    .renew = gate_renew,
    .commit = gate_commit,
    .walk = do_walk,
};

/* --- the stack -------------------------------------------------------------------------------- */

static struct rand drawn; /* what the system's randomness is here */
static bool draws;

void __real_rand_system(void *data, size_t len);
void __wrap_rand_system(void *data, size_t len);

void __wrap_rand_system(void *data, size_t len)
{
    uint8_t *bytes = data;

    if (!draws)
        __real_rand_system(data, len);
    for (size_t i = 0; draws && i < len; i++)
        bytes[i] = (uint8_t)rand_u64(&drawn);
}

static struct store *observed(struct world *w)
{
    struct store *bare;
    struct error err;
    int code = w->sqlite ? store_sqlite_open(&bare, w->path, NULL, &err)
                         : store_memory_share(&bare, w->disk, &err);

    if (code && w->sqlite && w->healed_at == TIME_NEVER) {
        trace(w, "the disk cannot be opened: %s", code_name(err.code));
        return NULL;
    }
    CHECK(w, !code, "the disk can be opened", "%s", err.message);
    return layer_create(w, bare, &observer_ops);
}

static void create_sqlite(struct world *w)
{
    struct store *store;
    struct error err;
    int code;

    w->sqlite = sim_disk_create(rand_u64(&w->rand));
    CHECK(w, w->sqlite, "there is memory", "for a disk");
    snprintf(w->path, sizeof w->path, "/tmp/dispatch-sim-%ld.db", (long)getpid());
    code = store_sqlite_open(&store, w->path, NULL, &err);
    CHECK(w, !code, "the disk can be made", "%s", err.message);
    w->tag = store->tag;
    store_close(store);
}

void disk_create(struct world *w, bool sqlite)
{
    struct error err;
    int code;

    rand_seed(&drawn, rand_u64(&w->rand));
    draws = true;
    if (sqlite) {
        create_sqlite(w);
        return;
    }
    w->tag = rand_u64(&w->rand) & ID_TAG_MAX;
    code = store_memory_create(&w->disk, w->tag, &err);
    CHECK(w, !code, "the disk can be made", "%s", err.message);
    w->beside = observed(w);
}

void disk_destroy(struct world *w)
{
    char lock[sizeof w->path + 8];

    slow = draws = false;
    nodes_free(w);
    store_close(w->beside);
    store_close(w->disk);
    if (!w->sqlite)
        return;
    sim_disk_destroy(w->sqlite);
    /* On the real disk there is an empty file, whose name is locked. */
    snprintf(lock, sizeof lock, "%s.lock", w->path);
    unlink(lock);
    unlink(w->path);
}

struct store *disk_open(struct world *w)
{
    struct store *faulty, *inner;
    struct error err;
    int code;

    if (w->sqlite) /* the power may have failed while nobody was there */
        sim_disk_state(w->sqlite)->off = false;
    inner = observed(w);
    if (!inner)
        return NULL;
    code = store_fault_create(&faulty, inner, &w->faults, &err);
    CHECK(w, !code, "the disk can be opened", "%s", err.message);
    return plant_store(w, layer_create(w, faulty, &gate_ops));
}

struct store *disk_look(struct world *w)
{
    struct store_options options = {.read_only = true};
    struct store *store;
    struct error err;
    int code;

    if (!w->sqlite)
        return w->disk;
    if (w->in_doubt)
        return NULL;
    code = store_sqlite_open(&store, w->path, &options, &err);
    CHECK(w, !code, "the disk can be read", "%s", err.message);
    return store;
}

void disk_looked(struct world *w, struct store *store)
{
    if (w->sqlite)
        store_close(store);
}

void disk_dies(struct world *w)
{
    if (w->sqlite)
        sim_disk_state(w->sqlite)->off = true;
}

void disk_buried(struct world *w)
{
    struct sim_disk_state *state = w->sqlite ? sim_disk_state(w->sqlite) : NULL;

    if (!state)
        return;
    state->off = false;
    state->power_fails_in = 0;
}

void disk_heal(struct world *w)
{
    struct sim_disk_state *state = w->sqlite ? sim_disk_state(w->sqlite) : NULL;

    if (!state)
        return;
    state->full = false;
    state->fail_sync_in = state->power_fails_in = 0;
}
