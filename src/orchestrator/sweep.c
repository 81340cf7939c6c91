// SPDX-License-Identifier: Apache-2.0
/*
 * What is kept no longer is removed in the background: calls that are done, when their time is over
 * or there is too much of them, and idempotency keys that have expired.
 *
 * A round looks at the DONE rows in the order of their ids, which is that of their creation, and
 * ends at the first call that was made too recently to have been done for long enough; so it sees
 * those that it removes, and those that lived long. Then it looks at the keys. It reads some rows
 * at a time, on the reader's thread, and puts the deletions into the batch that fills, with a pause
 * between; so it costs little, and is never waited for. A round over, it sleeps until the first of
 * what it saw has to go.
 *
 * When finished calls take more bytes than they may, a round for room takes the oldest, down to an
 * hour after their end. If that is not enough, new roots are refused until it is.
 */
#include <assert.h>

#include "engine/mutation.h"
#include "orchestrator/inner.h"

#define PAUSE_NS       (10 * NS_PER_MS) /* between two reads */
#define ROUND_PAUSE_NS (60 * NS_PER_S)
#define ROOM_PAUSE_NS  (10 * NS_PER_S) /* before it is looked for again */
#define CALLER_PAUSE_NS                                                                            \
    (3600 * NS_PER_S) /* before it is seen whether a key's caller has ended, or                    \
                         the tree of a call is in memory again */
#define LEAST_NS    (3600 * NS_PER_S)
#define READ_BYTES  ((size_t)4 << 20)
#define SWEEP_ARENA ((size_t)SWEEP_ROWS * 2048)

enum { STOP = -1 }; /* ends a walk */

void sweep_init(struct orchestrator *o)
{
    struct sweep *s = &o->sweep;

    s->o = o;
    s->at = TIME_NEVER;
    arena_init(&s->arena, SWEEP_ARENA);
    if (!o->options.retention_least_ns)
        o->options.retention_least_ns = LEAST_NS;
    if (o->options.retention_ns && o->options.retention_ns < o->options.retention_least_ns)
        o->options.retention_ns = o->options.retention_least_ns;
}

static void round_begin(struct sweep *s)
{
    s->keys = s->urgent = false;
    s->from = 0;
    s->next = s->noted = TIME_NEVER;
}

/* All over again. */
static void begin(struct sweep *s)
{
    round_begin(s);
    s->full = false;
    s->at = clock_now(s->o->options.clock);
}

void sweep_open(struct orchestrator *o)
{
    if (o->options.retention_ns && !o->sweep.busy) /* else once its read has ended */
        begin(&o->sweep);
}

void sweep_note(struct orchestrator *o, int64_t until)
{
    struct sweep *s = &o->sweep;

    if (!o->options.retention_ns)
        return;
    if (until < s->noted) /* this round may not see it */
        s->noted = until;
    if (until < s->at)
        s->at = until;
}

static uint64_t kept(const struct orchestrator *o)
{
    struct engine_stats stats;

    engine_stats(o->engine, &stats);
    return stats.kept_bytes;
}

static bool too_much(const struct orchestrator *o)
{
    return o->options.retention_bytes && kept(o) > o->options.retention_bytes;
}

int sweep_check_room(const struct orchestrator *o, struct error *err)
{
    if (!o->sweep.full || !too_much(o))
        return CODE_OK;
    return error_set(
        err, CODE_RESOURCE_EXHAUSTED,
        "finished calls take %llu bytes, more than the %llu that are allowed, and none "
        "is old enough to be removed: try again later, or allow more",
        (unsigned long long)kept(o), (unsigned long long)o->options.retention_bytes);
}

/* --- on the reader's thread --------------------------------------------------------------------
 */

/* Counts a row; true: it is the last one of this read. */
static bool look(struct sweep *s, const struct store_row *row)
{
    s->from = row->key + 1;
    s->bytes += row->value.len;
    return ++s->looked == SWEEP_ROWS || s->bytes >= READ_BYTES;
}

static bool take(struct sweep *s, const struct store_row *from, const struct engine_row *row)
{
    struct sweep_row *r = &s->rows[s->count];

    *r = (struct sweep_row){
        .row = {.id = row->id, .root = row->root, .done = row->done, .has_input = row->has_input},
        .value = from->value.len,
        .place = from->key,
        .sub = from->sub,
    };
    r->row.input_class = row->input_class;
    if (row->key.len) {
        r->row.org = slice(arena_dup(&s->arena, row->org), row->org.len);
        r->row.key = slice(arena_dup(&s->arena, row->key), row->key.len);
        if (!r->row.org.data || !r->row.key.data)
            return false;
    }
    s->count++;
    return true;
}

static void later(struct sweep *s, int64_t when)
{
    if (when < s->next)
        s->next = when;
}

static int look_at_call(void *arg, const struct store_row *row)
{
    struct sweep *s = arg;
    struct engine_result result;
    struct engine_row done;
    bool last;
    int code = row_decode_done(row->value, &done, &result, &s->job.error);

    if (code)
        return code;
    if (time_add(done.created, s->keep_ns) > s->now) { /* nor can any behind it be old enough */
        later(s, time_add(done.created, s->keep_ns));
        s->end = true;
        return STOP;
    }
    last = look(s, row);
    if (time_add(done.done, s->keep_ns) > s->now && !MUTATION(14))
        later(s, time_add(done.done, s->keep_ns));
    else if (!take(s, row, &done))
        return error_memory(&s->job.error);
    return last ? STOP : CODE_OK;
}

static int look_at_key(void *arg, const struct store_row *row)
{
    static const struct engine_row nothing = {0};
    struct sweep *s = arg;
    struct engine_key key;
    bool last;
    int code = key_decode(row->value, &key, &s->job.error);

    if (code)
        return code;
    last = look(s, row);
    if (key.expires > s->now)
        later(s, key.expires);
    else if (take(s, row, &nothing)) /* which takes no memory */
        s->rows[s->count - 1].caller = keyed_caller(key.name, s->o->tag);
    return last ? STOP : CODE_OK;
}

/* The callers of keys are live that have rows: in memory they need not be. */
static int look_at_callers(struct sweep *s, struct store *store, struct error *err)
{
    int code = CODE_OK;

    for (size_t i = 0; i < s->count && !code; i++) {
        struct sweep_row *r = &s->rows[i];
        struct blob *row = NULL;

        if (!r->caller)
            continue;
        code = store_get(store, PARTITION, TABLE_CALL, r->caller, 0, &row, err);
        r->caller_lives = !code;
        blob_unref(row);
        if (code == CODE_NOT_FOUND)
            code = CODE_OK;
    }
    return code;
}

static int sweep_work(struct store_job *job, struct store *store, struct error *err)
{
    struct sweep *s = LIST_ENTRY(job, struct sweep, job);
    struct store_range range = {.table = s->keys ? TABLE_KEY : TABLE_DONE,
                                .from_key = s->from,
                                .to_key = s->keys ? key_last(KEY_REQUEST) : KEY_MAX,
                                .to_sub = SUB_MAX};
    int code = store_walk(store, PARTITION, &range, s->keys ? look_at_key : look_at_call, s, err);

    if (code == CODE_OK)
        s->end = true;
    return code && code != STOP ? code : look_at_callers(s, store, err);
}

/* --- on the owner's thread ---------------------------------------------------------------------
 */

static void remove_calls(struct sweep *s)
{
    struct orchestrator *o = s->o;
    int64_t due;

    for (size_t i = 0; i < s->count; i++) {
        const struct sweep_row *r = &s->rows[i];

        if (s->urgent && !too_much(o)) {
            s->end = true;
            later(s, s->now);
            return;
        }
        if (engine_tree_due(o->engine, r->row.root, &due))
            later(s, time_add(s->now, CALLER_PAUSE_NS));
        else if (map_get(&o->waits_by_id, r->row.id) ||
                 !engine_remove(o->engine, &r->row, r->value))
            later(s, s->now); /* somebody waits for it: in the next round */
    }
}

static void remove_keys(struct sweep *s)
{
    struct orchestrator *o = s->o;

    for (size_t i = 0; i < s->count; i++) {
        const struct sweep_row *r = &s->rows[i];

        if (r->caller_lives)
            later(s, time_add(s->now, CALLER_PAUSE_NS));
        else
            engine_delete_key(o->engine, r->place, r->sub);
    }
}

/* A part of the round is over: the next part, or the next round. */
static void part_over(struct sweep *s)
{
    struct orchestrator *o = s->o;
    bool urgent = s->urgent;

    if (!s->keys && !urgent) {
        s->keys = true;
        s->from = 0;
        s->at = s->now;
        return;
    }
    s->full = too_much(o);
    later(s, s->noted);
    s->at = s->next == TIME_NEVER ? TIME_NEVER : time_add(s->now, ROUND_PAUSE_NS);
    if (s->at < s->next)
        s->at = s->next;
    if (urgent && s->at > time_add(s->now, ROUND_PAUSE_NS)) /* its keep was another */
        s->at = time_add(s->now, ROUND_PAUSE_NS);
    if (s->full && s->at > time_add(s->now, ROOM_PAUSE_NS))
        s->at = time_add(s->now, ROOM_PAUSE_NS);
    round_begin(s);
}

static void sweep_done(struct store_job *job)
{
    struct sweep *s = LIST_ENTRY(job, struct sweep, job);
    struct orchestrator *o = s->o;

    s->busy = false;
    if (o->destroying)
        return;
    if (s->epoch != o->epoch || !orchestrator_engine_open(o)) {
        begin(s);
        return;
    }
    if (job->code) {
        log_line(o->options.log, LOG_ERROR, "old calls cannot be removed",
                 LOG_STR("error", job->error.message));
        round_begin(s);
        s->at = time_add(clock_now(o->options.clock), ROUND_PAUSE_NS);
        return;
    }
    if (s->keys)
        remove_keys(s);
    else
        remove_calls(s);
    o->dirty = o->dirty || s->count;
    if (s->end)
        part_over(s);
    else
        s->at = time_add(clock_now(o->options.clock), PAUSE_NS);
}

static void sweep_start(struct orchestrator *o, int64_t now)
{
    struct sweep *s = &o->sweep;

    if (!s->from && !s->keys)
        s->urgent = too_much(o);
    s->keep_ns = s->urgent ? o->options.retention_least_ns : o->options.retention_ns;
    s->now = now;
    s->epoch = o->epoch;
    s->end = false;
    s->looked = s->bytes = s->count = 0;
    arena_rewind(&s->arena);
    s->busy = true;
    s->job = (struct store_job){.work = sweep_work, .done = sweep_done};
    store_async_read(o->async, &s->job);
}

/* What was not there before is there now: a call that is done, or too much of them. */
static void watch(struct orchestrator *o, int64_t now)
{
    struct sweep *s = &o->sweep;
    int64_t keep = o->options.retention_ns;
    struct engine_stats stats;
    int64_t soon = time_add(now, keep > ROUND_PAUSE_NS ? keep : ROUND_PAUSE_NS);

    engine_stats(o->engine, &stats);
    if (stats.kept_calls && s->at > soon) /* it may be a key's time, a day from now */
        s->at = soon;
    if (!s->full && !s->from && !s->keys && too_much(o))
        s->at = now;
}

bool sweep_tick(struct orchestrator *o, int64_t now)
{
    if (!o->options.retention_ns || o->sweep.busy || !orchestrator_engine_open(o))
        return false;
    watch(o, now);
    if (now < o->sweep.at)
        return false;
    sweep_start(o, now);
    return true;
}

int64_t sweep_next_due(const struct orchestrator *o)
{
    return o->options.retention_ns && !o->sweep.busy && orchestrator_engine_open(o) ? o->sweep.at
                                                                                    : TIME_NEVER;
}
