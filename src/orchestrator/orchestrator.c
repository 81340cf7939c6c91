// SPDX-License-Identifier: Apache-2.0
/*
 * The orchestrator's life.
 *
 *   closed --(backoff over)--> opening: fence, then load --> open --(commit failed)--> closed
 *                                                                 (lease is over)
 *
 * While open, each step takes the engine round its loop: what is due is done, the effects that were
 * held are carried out, and the batch that has filled meanwhile goes to the store. When its commit
 * is confirmed the cache learns of it, then the engine, which lets go of the effects that hung on
 * it.
 *
 * A commit that fails says nothing of what is on disk. So everything in memory goes, as if the
 * process had died: the engine, the cache, the runs, those who wait. The fence that precedes the
 * next load makes sure that the lost commit cannot land behind it; it carries as much ballast as
 * that batch did, so that a disk that is full refuses it too, instead of opening for a moment.
 *
 * A commit is the writer's, so that the next one fills and requests are heard meanwhile, save where
 * nobody would gain by that: with few rows and no run in flight, on a disk that has been quick of
 * late, the owner makes it itself, and two changes of threads are saved, which cost a lone call
 * about as much as all else does.
 */
#include "orchestrator/orchestrator.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "orchestrator/inner.h"

#define BACKOFF_MIN_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (5 * NS_PER_S)

#define PAYLOAD_MAX_DEFAULT 4000000
#define STATE_MAX_DEFAULT   8000000
#define CALLS_MAX_DEFAULT   10000
#define CACHE_MAX_DEFAULT   ((size_t)64 << 20)

/* What all notes may take in memory while they are loaded. */
#define NOTES_BYTES_MAX ((size_t)16 << 20)

/* Turns of the loop in one step: a step ends even if calls keep each other busy for ever. */
#define ROUNDS_MAX 64
/* Effects carried out in one step: an invoker may answer within its `run`, and a run that it gives
 * up is made again at once. */
#define EFFECTS_MAX 8192

/* Commits by the owner itself: of how many rows, and how quick the disk has to be; what it is taken
 * to be at first. */
#define HERE_ROWS_MAX 16
#define HERE_NS_MAX   (1 * NS_PER_MS)
#define SLOW_FIRST_NS (20 * NS_PER_MS)

/* What a row costs a store beside its value, for the ballast. */
#define ROW_OVERHEAD 32

static void opening_submit(struct orchestrator *o);

static int64_t now_of(const struct orchestrator *o)
{
    return clock_now(o->options.clock);
}

bool orchestrator_engine_open(const struct orchestrator *o)
{
    return o->life == LIFE_OPEN && !engine_failed(o->engine) && !lease_over(o);
}

bool orchestrator_takes(struct orchestrator *o)
{
    if (lease_over(o))
        o->lease.until = INT64_MIN;
    return orchestrator_engine_open(o);
}

void orchestrator_answer(struct orchestrator *o, const struct engine_answer *answer)
{
    if (!orchestrator_takes(o))
        return;
    engine_answer(o->engine, now_of(o), answer);
    o->dirty = true;
}

bool orchestrator_ready(const struct orchestrator *o)
{
    return orchestrator_engine_open(o);
}

bool orchestrator_loading(const struct orchestrator *o)
{
    return o->life != LIFE_OPEN && !o->trouble[0];
}

const char *orchestrator_trouble(const struct orchestrator *o)
{
    if (orchestrator_engine_open(o))
        return "";
    if (o->life == LIFE_OPEN)
        return lease_over(o) ? "the lease on the partition is over" : "out of memory; retrying";
    return o->trouble[0] ? o->trouble : "starting: the calls are being loaded";
}

/* --- closing -----------------------------------------------------------------------------------
 */

static void back_off(struct orchestrator *o)
{
    o->reopen_at = time_add(now_of(o), o->backoff_ns);
    o->backoff_ns = 2 * o->backoff_ns;
    if (o->backoff_ns > BACKOFF_MAX_NS)
        o->backoff_ns = BACKOFF_MAX_NS;
}

static void engine_drop(struct orchestrator *o)
{
    engine_destroy(o->engine);
    o->engine = NULL;
}

/* What a crash would do, save that those who wait are told. */
static void crash(struct orchestrator *o, const char *what, const char *why, size_t ballast)
{
    struct error err;

    assert(o->life == LIFE_OPEN);
    o->life = LIFE_CLOSED;
    snprintf(o->trouble, sizeof o->trouble, "%s: %.400s; retrying", what, why);
    o->ballast = ballast;
    back_off(o);
    log_line(o->options.log, LOG_ERROR, "closed", LOG_STR("trouble", o->trouble),
             LOG_NUM("incarnation", o->epoch), LOG_NUM("runs_given_up", o->run_count));
    cache_clear(&o->cache);
    run_give_up_all(o);
    error_set(&err, CODE_UNAVAILABLE, "%s", o->trouble);
    request_fail_pending(o, &err);
    request_fail_waits(o, &err);
    o->dirty = false;
    if (!o->commit.busy) /* else the writer still reads its batch */
        engine_drop(o);
}

/* --- opening -----------------------------------------------------------------------------------
 */

static int load_note(struct opening *op, const struct store_row *row)
{
    char *bytes = arena_dup(&op->note_memory, row->value);

    if (op->note_count == op->note_cap) {
        size_t cap = 2 * op->note_cap + 16;
        void *grown = realloc(op->notes, cap * sizeof *op->notes);

        if (!grown)
            return error_memory(&op->job.error);
        op->notes = grown;
        op->note_cap = cap;
    }
    if (!bytes)
        return error_memory(&op->job.error);
    op->notes[op->note_count++] = (struct orchestrator_note){.number = row->key - META_NOTES,
                                                             .bytes = slice(bytes, row->value.len)};
    return 0;
}

static void drop_notes(struct opening *op)
{
    free(op->notes);
    op->notes = NULL;
    op->note_count = op->note_cap = 0;
    arena_reset(&op->note_memory);
}

static int load_meta(void *arg, const struct store_row *row)
{
    struct opening *op = arg;

    if (row->key >= META_NOTES && row->sub == 0)
        return load_note(op, row);
    return engine_load_meta(op->engine, row->key, row->sub, row->value, &op->job.error);
}

static int load_call(void *arg, const struct store_row *row)
{
    struct opening *op = arg;

    return engine_load_call(op->engine, row->key, row->value, &op->job.error);
}

static int load_key(void *arg, const struct store_row *row)
{
    struct opening *op = arg;

    return engine_load_key(op->engine, row->key, row->sub, row->value, &op->job.error);
}

static int load(struct opening *op, struct store *store, struct error *err)
{
    struct store_range range = {.table = TABLE_META, .to_key = KEY_MAX, .to_sub = SUB_MAX};
    int code = store_walk(store, PARTITION, &range, load_meta, op, err);

    range.table = TABLE_CALL;
    if (!code)
        code = store_walk(store, PARTITION, &range, load_call, op, err);
    range.table = TABLE_KEY;
    range.from_key = key_first(KEY_EVENT);
    if (!code)
        code = store_walk(store, PARTITION, &range, load_key, op, err);
    return code;
}

/* On the store's thread. The engine is handed over with the job. The load may take longer than a
 * lease lasts. */
static int opening_work(struct store_job *job, struct store *store, struct error *err)
{
    struct opening *op = LIST_ENTRY(job, struct opening, job);
    const struct orchestrator *o = LIST_ENTRY(op, struct orchestrator, opening);
    int code = store_fence(store, PARTITION, op->ballast, &op->epoch, err);

    if (!code)
        code = lease_renew(o, store, op->epoch, &op->lease_until, err);
    if (code)
        return code;
    op->config.incarnation = op->epoch;
    op->config.seed += op->epoch; /* no two incarnations with the same jitter */
    code = engine_create(&op->engine, &op->config, err);
    if (!code)
        code = load(op, store, err);
    return code ? code : lease_renew(o, store, op->epoch, &op->lease_until, err);
}

static void trace_move(void *arg, uint64_t id, unsigned from, unsigned to, const char *why)
{
    struct orchestrator *o = arg;
    const char *was = from == CALL_STATES ? "new" : call_state_name((enum call_state)from);
    const char *is = call_state_name((enum call_state)to);
    char line[256], text[ID_TEXT_LEN + 1];

    id_format(text, (struct id_parts){.partition = PARTITION, .number = id, .tag = o->tag});
    log_line(o->options.log, LOG_DEBUG, "call", LOG_STR("call", text), LOG_STR("from", was),
             LOG_STR("to", is), LOG_STR("why", why));
    if (!o->options.trace)
        return;
    snprintf(line, sizeof line, "call %" PRIu64 " %s -> %s: %s", id, was, is, why);
    o->options.trace(o->options.trace_arg, line);
}

/* For a poll that the engine refuses as it exceeds a limit. */
static struct blob *reject(void *arg, const struct error *why)
{
    (void)arg;
    return answer_error(code_name(why->code), why->message);
}

static void open_engine(struct orchestrator *o, struct engine *engine, uint64_t epoch)
{
    struct engine_stats stats;

    o->engine = engine;
    o->epoch = epoch;
    o->life = LIFE_OPEN;
    o->dirty = true;
    lease_opened(o, o->opening.lease_until);
    sweep_open(o);
    engine_hold_runs(engine, o->draining);
    engine_stats(engine, &stats);
    o->recovered = stats.live + stats.swapped;
    o->trouble[0] = 0;
    log_line(o->options.log, LOG_INFO, o->openings++ ? "reopened" : "opened",
             LOG_NUM("live_calls", o->recovered), LOG_NUM("incarnation", epoch));
}

static void opening_done(struct store_job *job)
{
    struct opening *op = LIST_ENTRY(job, struct opening, job);
    struct orchestrator *o = LIST_ENTRY(op, struct orchestrator, opening);
    int code = job->code;

    assert(o->life == LIFE_OPENING && !o->engine);
    o->life = LIFE_CLOSED;
    if (!code && !o->destroying) {
        engine_set_reject(op->engine, reject, o);
        if (o->options.trace || (o->options.log && o->options.log->level <= LOG_DEBUG))
            engine_trace(op->engine, trace_move, o);
        code = engine_loaded(op->engine, now_of(o), &job->error);
    }
    if (!code && !o->destroying) {
        if (o->options.notes)
            o->options.notes(o->options.notes_arg, op->notes, op->note_count);
        drop_notes(op);
        open_engine(o, op->engine, op->epoch);
        return;
    }
    drop_notes(op);
    engine_destroy(op->engine);
    if (o->destroying)
        return;
    snprintf(o->trouble, sizeof o->trouble,
             "the store cannot be opened for writing: %.400s; retrying", job->error.message);
    back_off(o);
    /* That another node has the lease is how most nodes live. */
    log_line(o->options.log,
             o->options.lease_ns && code == CODE_UNAVAILABLE ? LOG_DEBUG : LOG_ERROR, "cannot open",
             LOG_STR("trouble", o->trouble), LOG_STR("code", code_name(code)));
}

static void opening_submit(struct orchestrator *o)
{
    struct opening *op = &o->opening;

    assert(o->life == LIFE_CLOSED && !o->engine && !o->commit.busy);
    o->life = LIFE_OPENING;
    *op = (struct opening){.config = o->options.engine, .ballast = o->ballast};
    op->config.key_seed = o->tag;
    arena_init(&op->note_memory, NOTES_BYTES_MAX);
    op->job.work = opening_work;
    op->job.done = opening_done;
    if (!op->config.seed)
        rand_system(&op->config.seed, sizeof op->config.seed);
    store_async_write(o->async, &op->job);
}

/* --- committing --------------------------------------------------------------------------------
 */

static int commit_work(struct store_job *job, struct store *store, struct error *err)
{
    struct commit *c = LIST_ENTRY(job, struct commit, job);

    return store_commit(store, PARTITION, c->epoch, c->batch, err);
}

static void note_commit(struct orchestrator *o, struct commit *c)
{
    int64_t took = now_of(o) - c->submitted;

    histogram_note(&o->meters.commit_time, took > 0 ? (uint64_t)took : 0);
    c->slow -= c->slow / 8;
    if (took > c->slow)
        c->slow = took;
    histogram_note(&o->meters.commit_rows, c->batch->count);
    histogram_note(&o->meters.commit_bytes, c->batch->bytes);
}

static void commit_done(struct store_job *job)
{
    struct commit *c = LIST_ENTRY(job, struct commit, job);
    struct orchestrator *o = LIST_ENTRY(c, struct orchestrator, commit);

    c->busy = false;
    if (o->destroying)
        return;
    if (o->life != LIFE_OPEN) { /* the engine went while this was under way */
        if (job->code)
            o->commit_failures++;
        engine_drop(o);
        return;
    }
    if (job->code) {
        o->commit_failures++;
        log_line(o->options.log, LOG_ERROR, "commit failed", LOG_STR("error", job->error.message),
                 LOG_STR("code", code_name(job->code)), LOG_NUM("incarnation", o->epoch),
                 LOG_NUM("rows", c->batch->count), LOG_NUM("bytes", c->batch->bytes));
        crash(o, "the store cannot be written", job->error.message,
              c->batch->bytes + c->batch->count * ROW_OVERHEAD);
        return;
    }
    o->commits++;
    o->committed_bytes += c->batch->bytes;
    note_commit(o, c);
    o->backoff_ns = BACKOFF_MIN_NS;
    o->ballast = 0;
    cache_batch(&o->cache, c->batch);
    engine_committed(o->engine, now_of(o));
}

/* A slow one is forgotten by an eighth with each one after it, so that on a disk that stalls now
 * and then few stalls are the owner's. */
static bool commit_here(struct orchestrator *o)
{
    struct commit *c = &o->commit;

    return o->options.threads && o->run_count == 0 && c->batch->count <= HERE_ROWS_MAX &&
           c->slow < HERE_NS_MAX && store_async_write_now(o->async, &c->job);
}

/* True if there was one to submit. */
static bool commit_submit(struct orchestrator *o)
{
    struct commit *c = &o->commit;

    if (c->busy)
        return false;
    c->batch = engine_batch(o->engine);
    if (!c->batch) {
        o->dirty = false;
        return false;
    }
    c->busy = true;
    c->epoch = o->epoch;
    c->submitted = now_of(o);
    c->job = (struct store_job){.work = commit_work, .done = commit_done};
    if (!commit_here(o))
        store_async_write(o->async, &c->job);
    return true;
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static void carry_out(struct orchestrator *o, const struct engine_effect *effect)
{
    switch (effect->kind) {
    case ENGINE_RUN:
        run_start(o, effect);
        break;
    case ENGINE_CANCEL_RUN:
        run_cancel(o, effect);
        break;
    case ENGINE_ACCEPTED:
        if (effect->token)
            request_accepted(o, effect->token);
        break;
    case ENGINE_DONE:
        request_call_done(o, effect->call);
        break;
    case ENGINE_FETCH:
        fetch_start(o, effect);
        break;
    case ENGINE_FETCH_TREE:
        fetch_tree(o, effect);
        break;
    case ENGINE_AWAKE:
        control_awake(o, effect->call);
        break;
    }
}

/* True if there was anything to do. */
static bool turn_open(struct orchestrator *o)
{
    struct engine_effect effect;
    int64_t now = now_of(o);
    bool busy = false;

    if (orchestrator_engine_open(o) && engine_next_due(o->engine) <= now) {
        engine_tick(o->engine, now);
        o->dirty = true;
        busy = true;
    }
    while (o->effects_left && orchestrator_engine_open(o) && engine_effect(o->engine, &effect)) {
        o->effects_left--;
        carry_out(o, &effect);
        busy = true;
    }
    if (orchestrator_engine_open(o) && commit_submit(o))
        busy = true;
    if (o->life != LIFE_OPEN)
        return true; /* a commit made here failed */
    if (engine_failed(o->engine))
        crash(o, "the calls cannot be held in memory", "out of memory", 0);
    else if (lease_over(o))
        crash(o, "the lease on the partition is over", o->lease.why, 0);
    return busy;
}

static bool turn(struct orchestrator *o)
{
    bool busy;

    o->woken = false;
    busy = store_async_poll(o->async) > 0;
    if (o->life == LIFE_OPEN && turn_open(o))
        busy = true;
    if (o->life == LIFE_CLOSED && !o->commit.busy && now_of(o) >= o->reopen_at) {
        opening_submit(o);
        busy = true;
    }
    if (lease_tick(o, now_of(o)))
        busy = true;
    if (sweep_tick(o, now_of(o)))
        busy = true;
    request_tick(o, now_of(o));
    return busy || o->woken;
}

static int64_t next_due(const struct orchestrator *o)
{
    int64_t due = request_next_due(o), other = TIME_NEVER;

    if (o->life == LIFE_OPEN) /* one that has failed is closed at once */
        other = engine_failed(o->engine) ? now_of(o) : engine_next_due(o->engine);
    else if (o->life == LIFE_CLOSED && !o->commit.busy)
        other = o->reopen_at;
    if (due < other)
        other = due;
    due = lease_next_due(o);
    if (due < other)
        other = due;
    due = sweep_next_due(o);
    return due < other ? due : other;
}

int64_t orchestrator_step(struct orchestrator *o)
{
    bool busy = true;

    assert(!o->stepping && !o->destroying);
    o->stepping = true;
    o->effects_left = EFFECTS_MAX;
    for (unsigned i = 0; i < ROUNDS_MAX && busy && o->effects_left; i++)
        busy = turn(o);
    o->stepping = false;
    return busy ? now_of(o) : next_due(o);
}

/* From a store thread; without threads, from within the functions that submit. */
static void wake(void *arg)
{
    struct orchestrator *o = arg;

    if (!o->options.threads && o->stepping)
        o->woken = true; /* the step looks again before it returns */
    else if (o->options.wake)
        o->options.wake(o->options.wake_arg);
}

/* --- life --------------------------------------------------------------------------------------
 */

static void take_options(struct orchestrator *o, const struct orchestrator_options *options)
{
    struct orchestrator_options *p = &o->options;

    *p = *options;
    if (!p->payload_max)
        p->payload_max = PAYLOAD_MAX_DEFAULT;
    if (!p->state_max)
        p->state_max = STATE_MAX_DEFAULT;
    if (!p->cache_max)
        p->cache_max = CACHE_MAX_DEFAULT;
    o->limits.payload_max = p->payload_max;
    o->limits.state_max = p->state_max;
    p->engine.state_max = p->state_max;
    o->limits.check_endpoint = p->check_endpoint;
    o->limits.check_endpoint_arg = p->check_endpoint_arg;
    o->limits.calls_max = p->engine.calls_max ? p->engine.calls_max : CALLS_MAX_DEFAULT;
}

int orchestrator_create(struct orchestrator **out, const struct orchestrator_options *options,
                        struct error *err)
{
    struct orchestrator *o = calloc(1, sizeof *o);
    int code;

    assert(options->store && options->clock && options->invoker);
    if (!o) {
        store_close(options->store);
        return error_memory(err);
    }
    take_options(o, options);
    o->tag = store_tag(options->store);
    o->backoff_ns = BACKOFF_MIN_NS;
    o->commit.slow = SLOW_FIRST_NS;
    o->life = LIFE_CLOSED;
    cache_init(&o->cache, o->options.cache_max);
    list_init(&o->runs);
    map_init(&o->runs_by_attempt);
    list_init(&o->observers);
    list_init(&o->pending);
    list_init(&o->sleepers);
    list_init(&o->listings);
    list_init(&o->waits);
    map_init(&o->waits_by_id);
    heap_init(&o->deadlines);
    map_init(&o->keyed);
    sweep_init(o);
    histogram_init(&o->meters.run_time, histogram_times);
    histogram_init(&o->meters.commit_time, histogram_times);
    histogram_init(&o->meters.commit_rows, histogram_sizes);
    histogram_init(&o->meters.commit_bytes, histogram_sizes);
    code = store_async_create(&o->async, options->store, options->threads, wake, o, err);
    if (code) {
        store_close(options->store);
        free(o);
        return code;
    }
    o->options.store = NULL; /* the threads' now */
    opening_submit(o);
    *out = o;
    return 0;
}

void orchestrator_destroy(struct orchestrator *o)
{
    struct error err;

    if (!o)
        return;
    assert(!o->stepping);
    o->destroying = true;
    o->stepping = true; /* nobody needs to be woken */
    error_set(&err, CODE_UNAVAILABLE, "the orchestrator is stopping");
    if (o->life == LIFE_OPEN)
        o->life = LIFE_CLOSED;
    run_give_up_all(o);
    request_fail_pending(o, &err);
    request_fail_waits(o, &err);
    store_async_destroy(o->async); /* every job's done is called */
    run_orphan_all(o);
    while (list_pop(&o->observers))
        ;
    engine_drop(o);
    assert(list_empty(&o->waits) && list_empty(&o->pending));
    assert(!o->lookup_count && list_empty(&o->listings));
    cache_free(&o->cache);
    map_free(&o->runs_by_attempt);
    map_free(&o->waits_by_id);
    heap_free(&o->deadlines);
    assert(o->keyed.len == 0);
    map_free(&o->keyed);
    arena_reset(&o->sweep.arena);
    free(o);
}

void orchestrator_drain(struct orchestrator *o)
{
    o->draining = true;
    if (orchestrator_engine_open(o))
        engine_hold_runs(o->engine, true);
}

bool orchestrator_idle(const struct orchestrator *o)
{
    return o->run_count == 0 && !o->dirty && !o->commit.busy;
}

void orchestrator_stats(const struct orchestrator *o, struct orchestrator_stats *stats)
{
    *stats = (struct orchestrator_stats){.recovered = o->recovered,
                                         .incarnation = o->epoch,
                                         .commits = o->commits,
                                         .commit_failures = o->commit_failures,
                                         .committed_bytes = o->committed_bytes,
                                         .runs_in_flight = o->run_count,
                                         .cache_bytes = o->cache.bytes,
                                         .cache_max = o->cache.max,
                                         .retention_bytes = o->options.retention_bytes,
                                         .cache_hits = o->cache.hits,
                                         .cache_misses = o->cache.misses};
    if (orchestrator_engine_open(o))
        engine_stats(o->engine, &stats->engine);
}

const struct orchestrator_meters *orchestrator_meters(const struct orchestrator *o)
{
    return &o->meters;
}

const struct engine *orchestrator_engine(const struct orchestrator *o)
{
    return orchestrator_engine_open(o) ? o->engine : NULL;
}

void orchestrator_check(const struct orchestrator *o)
{
    if (orchestrator_engine_open(o))
        engine_check(o->engine);
}
