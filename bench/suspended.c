// SPDX-License-Identifier: Apache-2.0
/*
 * What a call that sleeps costs in memory, and how long a restart takes with many of them.
 *
 *   bench-suspended [COUNT [STORE]]
 *
 * Fills an engine with COUNT (1,000,000) suspended calls of two kinds: a quarter wait for one child
 * each, a quarter are those children, which sleep, as the other half do. Prints the bytes a call,
 * as the allocator and as the system count them. With a STORE ("sqlite:/tmp/x.db", to be made) the
 * calls are written there, and loaded again by another engine.
 *
 * Exits with 1 when, without a store, a call costs more than 200 bytes of allocated memory.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/engine.h"
#include "store/store.h"

#define COUNT_DEFAULT 1000000
#define PER_BATCH     1000
#define BYTES_MAX     200.0
#define SLEEP_NS      (3600 * NS_PER_S)

struct filling {
    struct engine *engine;
    struct store *store; /* or NULL */
    uint64_t epoch;
    int64_t now;
    struct blob *state;
    uint64_t roots; /* made so far; every fourth makes a child */
};

static void fail(const char *what, const struct error *err)
{
    fprintf(stderr, "bench-suspended: %s: %s\n", what, err->message);
    exit(2);
}

static double seconds(void)
{
    return (double)clock_now(clock_system()) / (double)NS_PER_S;
}

static uint64_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static uint64_t resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f && fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* --- filling ---------------------------------------------------------------------------------- */

static void commit(struct filling *f)
{
    const struct batch *batch = engine_batch(f->engine);
    struct error err;

    if (!batch)
        return;
    if (f->store && store_commit(f->store, 0, f->epoch, batch, &err))
        fail("commit", &err);
    if (f->store)
        store_upkeep(f->store);
    engine_committed(f->engine, f->now);
}

/* Every run sleeps; of a root that is to have a child, after making it. */
static void answer(struct filling *f, const struct engine_effect *run)
{
    struct engine_spec child = {.function = slice_str("child"), .correlation_id = 1};
    struct engine_run info;
    struct engine_answer a = {.call = run->call,
                              .generation = run->generation,
                              .attempt = run->attempt,
                              .group = run->group,
                              .outcome = ENGINE_POLL,
                              .status = STATUS_OK,
                              .state = f->state,
                              .state_arm = 2,
                              .max_wait_ns = SLEEP_NS,
                              .min_results = 1,
                              .max_results = 10};

    if (!engine_run_info(f->engine, run->call, run->attempt, &info))
        return;
    if (!info.row.depth && info.row.correlation_id == 0 && f->roots++ % 3 == 0) {
        a.specs = &child;
        a.spec_count = 1;
        a.max_wait_ns = -1;
    }
    engine_answer(f->engine, f->now, &a);
}

static void settle(struct filling *f)
{
    struct engine_effect effect;
    struct engine_stats stats;

    do {
        commit(f);
        while (engine_effect(f->engine, &effect))
            if (effect.kind == ENGINE_RUN)
                answer(f, &effect);
        engine_stats(f->engine, &stats);
    } while (stats.suspended < stats.live);
    commit(f);
}

/* Roots make children now and then, so there may be a few more than asked for. */
static uint64_t fill(struct filling *f, uint64_t count)
{
    static struct engine_spec specs[PER_BATCH];
    struct engine_stats stats;
    struct error err;
    uint64_t id;

    for (size_t i = 0; i < PER_BATCH; i++)
        specs[i] = (struct engine_spec){.function = slice_str(i % 2 ? "report" : "count"),
                                        .endpoint = slice_str("http://localhost:8000")};
    do {
        if (engine_dispatch(f->engine, f->now, slice_str("default"), specs, PER_BATCH, NULL, &id,
                            &err))
            fail("dispatch", &err);
        f->now += NS_PER_MS;
        settle(f);
        engine_stats(f->engine, &stats);
    } while (stats.live < count);
    return stats.live;
}

/* --- loading ---------------------------------------------------------------------------------- */

static int load_meta(void *arg, const struct store_row *row)
{
    struct error err;

    return engine_load_meta(arg, row->key, row->sub, row->value, &err);
}

static int load_call(void *arg, const struct store_row *row)
{
    struct error err;

    return engine_load_call(arg, row->key, row->value, &err);
}

static void load(struct store *store, const struct engine_config *config, int64_t now)
{
    struct store_range range = {.table = TABLE_META, .to_key = KEY_MAX, .to_sub = SUB_MAX};
    struct engine *engine;
    struct engine_stats stats;
    struct error err = {0};
    double start = seconds(), read;

    if (engine_create(&engine, config, &err) ||
        store_walk(store, 0, &range, load_meta, engine, &err))
        fail("load", &err);
    range.table = TABLE_CALL;
    if (store_walk(store, 0, &range, load_call, engine, &err))
        fail("load", &err);
    read = seconds();
    if (engine_loaded(engine, now, &err))
        fail("load", &err);
    engine_stats(engine, &stats);
    printf("%" PRIu64 " calls loaded in %.2f s: read %.2f s, linked %.2f s\n", stats.live,
           seconds() - start, read - start, seconds() - read);
    engine_destroy(engine);
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : COUNT_DEFAULT, calls, bytes, pages;
    struct engine_config config = {
        .seed = 1, .incarnation = 1, .live_max = 100000000, .window_start = 1024};
    struct filling f = {.now = NS_PER_S};
    struct error err;
    double start, a_call;

    if (argc > 2 && (store_open(&f.store, argv[2], &(struct store_options){0}, &err) ||
                     store_fence(f.store, 0, 0, &f.epoch, &err)))
        fail("store", &err);
    f.state = blob_copy(slice_str("a small state of a coroutine, forty bytes"));
    bytes = allocated();
    pages = resident();
    if (!f.state || engine_create(&f.engine, &config, &err))
        fail("engine", &err);
    start = seconds();
    calls = fill(&f, count);
    a_call = (double)(allocated() - bytes) / (double)calls;
    printf("%" PRIu64 " calls suspended in %.1f s: %.1f bytes each allocated, %.1f resident\n",
           calls, seconds() - start, a_call, (double)(resident() - pages) / (double)calls);
    engine_destroy(f.engine);
    if (f.store)
        load(f.store, &config, f.now);
    store_close(f.store);
    blob_unref(f.state);
    if (a_call <= BYTES_MAX || argc > 2) /* the store has caches of its own */
        return 0;
    fprintf(stderr, "bench-suspended: more than %.0f bytes a call\n", BYTES_MAX);
    return 1;
}
