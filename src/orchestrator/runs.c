// SPDX-License-Identifier: Apache-2.0
/*
 * Runs, from the engine's word that a call is to be run to the invoker's word how it went.
 *
 * A run first collects its parts, the rows that its request is made of: from the cache, or what is
 * missing there in one read of the store. Then it is asked of the engine once more whether the run
 * is still wanted, the request is built, and the invoker has it until it answers.
 *
 * The engine hears of each run exactly once. A run of an incarnation that is over is answered to
 * nobody. A run whose parts cannot be read or put together is retried like a failed one.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

struct part {
    enum table table;
    uint32_t sub;
    uint64_t key;
    struct blob *blob; /* NULL: not there yet */
};

struct run {
    struct orchestrator_run out; /* what the invoker sees; first */
    struct orchestrator *o;      /* NULL: it is gone */
    struct list link;
    uint64_t incarnation;
    uint64_t call, attempt;
    uint32_t generation, group;
    bool invoked, cancelled;
    bool sent, observed; /* observed: somebody saw that */
    uint64_t number;
    int64_t invoked_at, sent_at;
    struct arena arena;
    struct part *parts; /* input; or the state's chunks, the poll's error, results */
    size_t part_count;
    struct store_job job; /* reads the parts that are missing */
};

/* What a run needs besides its payloads: names, ids, a thousand results' frames. */
#define RUN_ARENA_SLACK ((size_t)32 << 20)
#define NOTED_ERROR_MAX 4096
#define COMPACT_CHUNKS  64

static struct run *run_of(struct orchestrator_run *out)
{
    return (struct run *)(void *)out;
}

/* Of this incarnation, whose engine can be spoken to. */
static bool run_counts(const struct run *r)
{
    return r->o && r->incarnation == r->o->epoch && orchestrator_takes(r->o);
}

static void run_free(struct run *r)
{
    if (r->o) {
        if (r->incarnation == r->o->epoch)
            map_remove(&r->o->runs_by_attempt, r->attempt);
        r->o->run_count--;
    }
    list_remove(&r->link);
    for (size_t i = 0; i < r->part_count; i++)
        blob_unref(r->parts[i].blob);
    arena_reset(&r->arena);
    free(r);
}

/* Of a poll that the engine will drop, as it appends to another state than there is; else NULL. */
static struct blob *append_error(struct orchestrator *o, const struct engine_answer *answer)
{
    struct engine_run run;
    struct error why;

    if (!engine_run_info(o->engine, answer->call, answer->attempt, &run) ||
        run.row.state_len == answer->append_position)
        return NULL;
    error_set(&why, CODE_FAILED_PRECONDITION,
              "append_position is %" PRIu64 ", and the state has %" PRIu64 " bytes",
              answer->append_position, run.row.state_len);
    return answer_error(code_name(why.code), why.message);
}

/* Why a call is made again is for people to see; it is kept no longer than the cache lasts. */
static void note_error(struct orchestrator *o, const struct engine_answer *answer)
{
    struct blob *error = NULL;

    if (answer->outcome == ENGINE_GONE)
        return;
    if (answer->outcome == ENGINE_EXIT && status_is_temporary(answer->status))
        error = blob_ref(answer->error);
    else if (answer->append)
        error = append_error(o, answer);
    if (error && error->len <= NOTED_ERROR_MAX)
        cache_put(&o->cache, CACHE_ERRORS, answer->call, 0, error);
    else
        cache_drop(&o->cache, CACHE_ERRORS, answer->call, 0);
    blob_unref(error);
}

/* For people: what the invoker made of it, and how long it took. */
static void note_attempt(struct run *r, const struct engine_answer *answer)
{
    struct orchestrator_meters *m = &r->o->meters;
    int64_t took = clock_now(r->o->options.clock) - r->invoked_at;

    if (!r->invoked || answer->outcome == ENGINE_GONE)
        return;
    m->attempts[answer->outcome][answer->status]++;
    histogram_note(&m->run_time, took > 0 ? (uint64_t)took : 0);
}

/* What those who watch are told. An answer that does not count is none. */
static void tell_end(struct run *r, const wire_run_response *response,
                     const struct run_failure *failure)
{
    bool counts = run_counts(r);
    struct orchestrator_outcome outcome = {.attempt = r->attempt,
                                           .response = counts ? response : NULL,
                                           .failure = counts ? failure : NULL};

    if (!r->observed || !r->o)
        return;
    r->observed = false;
    outcome.started = r->sent_at;
    outcome.ended = clock_now(r->o->options.clock);
    LIST_FOR_EACH (node, next, &r->o->observers) {
        struct orchestrator_observer *observer =
            LIST_ENTRY(node, struct orchestrator_observer, link);

        observer->ended(observer->arg, &outcome);
    }
}

/* Tells the engine, if it still wants to know, and frees the run. */
static void run_end(struct run *r, struct engine_answer *answer)
{
    struct orchestrator *o = r->o;
    bool counts = run_counts(r);

    tell_end(r, NULL, NULL); /* unless they were told how */
    answer->call = r->call;
    answer->generation = r->generation;
    answer->attempt = r->attempt;
    answer->group = r->group;
    if (counts) {
        note_attempt(r, answer);
        note_error(o, answer);
        orchestrator_answer(o, answer);
    }
    answer_free(answer);
    run_free(r); /* last: the specs of a poll point at a response that may be in its arena */
}

static void run_end_gone(struct run *r)
{
    struct engine_answer a = {.outcome = ENGINE_GONE, .max_wait_ns = -1};

    run_end(r, &a);
}

/* Our own trouble, not the endpoint's: the call waits and is tried again. */
static void run_end_trouble(struct run *r, const struct error *why)
{
    struct run_failure f = {
        .status = STATUS_TEMPORARY_ERROR, .type = code_name(why->code), .message = why->message};
    struct engine_answer a;

    if (run_counts(r)) {
        char text[ID_TEXT_LEN + 1];

        id_format(text, (struct id_parts){.number = r->call, .tag = r->o->tag});
        log_line(r->o->options.log, LOG_ERROR, "a run cannot be put together",
                 LOG_STR("call", text), LOG_STR("error", why->message));
    }
    answer_from_failure(&f, &a);
    run_end(r, &a);
}

/* --- parts -------------------------------------------------------------------------------------
 */

static enum cache_kind kind_of(enum table table)
{
    assert(table == TABLE_DONE || table == TABLE_PAYLOAD);
    return table == TABLE_DONE ? CACHE_DONE : CACHE_PAYLOAD;
}

static void add_part(struct run *r, enum table table, uint64_t key, uint32_t sub)
{
    struct part *p = &r->parts[r->part_count++];

    *p = (struct part){.table = table, .key = key, .sub = sub};
    p->blob = cache_get(&r->o->cache, kind_of(table), key, sub);
}

/* False: no memory. */
static bool list_parts(struct run *r, const struct engine_run *info)
{
    const struct engine_row *row = &info->row;
    size_t max = info->first ? 1 : row->state_chunks + 1 + info->result_count;

    r->parts = arena_zalloc(&r->arena, max, sizeof *r->parts);
    if (!r->parts)
        return false;
    if (info->first) {
        if (row->has_input)
            add_part(r, TABLE_PAYLOAD, r->call, PAYLOAD_INPUT);
    } else {
        for (uint32_t i = 0; i < row->state_chunks; i++)
            add_part(r, TABLE_PAYLOAD, r->call, PAYLOAD_STATE + i);
        if (info->poll_error)
            add_part(r, TABLE_PAYLOAD, r->call, PAYLOAD_POLL_ERROR);
        for (size_t i = 0; i < info->result_count; i++)
            add_part(r, TABLE_DONE, info->results[i], 0);
    }
    assert(r->part_count <= max);
    return true;
}

static bool parts_missing(const struct run *r)
{
    for (size_t i = 0; i < r->part_count; i++)
        if (!r->parts[i].blob)
            return true;
    return false;
}

/* On a store thread: the run is nobody else's meanwhile. */
static int read_parts(struct store_job *job, struct store *store, struct error *err)
{
    struct run *r = LIST_ENTRY(job, struct run, job);
    int code = 0;

    for (size_t i = 0; i < r->part_count && !code; i++) {
        struct part *p = &r->parts[i];

        if (!p->blob)
            code = store_get(store, PARTITION, p->table, p->key, p->sub, &p->blob, err);
    }
    return code;
}

/* --- the request -------------------------------------------------------------------------------
 */

/* `head`, and behind it the parts from `first` on. */
static int join_chunks(struct run *r, struct slice head, uint32_t first, uint32_t count,
                       ProtobufCBinaryData *out, struct error *err)
{
    size_t len = head.len, at = head.len;
    uint8_t *bytes;

    for (uint32_t i = first; i < count; i++)
        len += r->parts[i].blob->len;
    bytes = arena_alloc(&r->arena, len ? len : 1);
    if (!bytes)
        return error_memory(err);
    if (head.len)
        memcpy(bytes, head.data, head.len);
    for (uint32_t i = first; i < count; i++) {
        struct blob *chunk = r->parts[i].blob;

        if (chunk->len)
            memcpy(bytes + at, chunk->data, chunk->len);
        at += chunk->len;
    }
    *out = (ProtobufCBinaryData){.len = len, .data = bytes};
    return 0;
}

/* The first part is a packed Any, the others belong behind its value. */
static int join_any(struct run *r, uint32_t count, wire_any **any, struct error *err)
{
    struct slice first = count ? blob_slice(r->parts[0].blob) : slice(NULL, 0);
    int code = wire_any_view(first, &r->arena, any, err);

    return code ? code
                : join_chunks(r, slice((*any)->value.data, (*any)->value.len), 1, count,
                              &(*any)->value, err);
}

static int build_input(struct run *r, wire_run_request *q, struct error *err)
{
    wire_any *nothing;

    q->directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT;
    if (r->part_count)
        return join_any(r, 1, &q->input, err);
    /* A call made without an input: endpoints want to see a directive. */
    nothing = arena_alloc(&r->arena, sizeof *nothing);
    if (!nothing)
        return error_memory(err);
    google__protobuf__any__init(nothing);
    nothing->type_url = arena_dup(&r->arena, slice_str(WIRE_TYPE_PREFIX "google.protobuf.Empty"));
    q->input = nothing;
    return nothing->type_url ? 0 : error_memory(err);
}

/* The first chunk is as the endpoint sent it, packed if it is an Any; what was appended stands in
 * the others, as bytes. */
static int build_state(struct run *r, const struct engine_row *row, wire_poll_result *p,
                       struct error *err)
{
    if (row->state_arm == 0)
        return 0;
    if (row->state_arm == 1) {
        p->state_case = DISPATCH__SDK__V1__POLL_RESULT__STATE_COROUTINE_STATE;
        return join_chunks(r, slice(NULL, 0), 0, row->state_chunks, &p->coroutine_state, err);
    }
    p->state_case = DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE;
    return join_any(r, row->state_chunks, &p->typed_coroutine_state, err);
}

/* Many small chunks are read slowly: they become one. Without memory they stay for now. */
static void compact_state(struct run *r, const struct engine_run *info)
{
    const wire_poll_result *p = r->out.request->poll_result;
    const ProtobufCBinaryData *bytes = &p->coroutine_state;
    struct blob *whole;

    if (info->first || info->row.state_chunks < COMPACT_CHUNKS)
        return;
    whole = info->row.state_arm == 1 ? blob_copy(slice(bytes->data, bytes->len))
                                     : wire_pack_blob(p->typed_coroutine_state);
    if (!whole)
        return;
    engine_compact(r->o->engine, r->call, r->attempt, whole);
    r->o->dirty = true;
    blob_unref(whole);
}

static int build_result(struct run *r, struct blob *done, wire_call_result **out, struct error *err)
{
    struct engine_row row;
    struct engine_result result;
    int code = row_decode_done(blob_slice(done), &row, &result, err);

    return code ? code : result_build(&r->arena, r->o->tag, &row, &result, out, err);
}

static int build_poll_result(struct run *r, const struct engine_run *info, wire_run_request *q,
                             struct error *err)
{
    wire_poll_result *p = arena_alloc(&r->arena, sizeof *p);
    size_t at = info->row.state_chunks;
    int code;

    if (!p)
        return error_memory(err);
    dispatch__sdk__v1__poll_result__init(p);
    q->directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT;
    q->poll_result = p;
    code = build_state(r, &info->row, p, err);
    if (!code && info->poll_error)
        code = wire_unpack(&dispatch__sdk__v1__error__descriptor, blob_slice(r->parts[at++].blob),
                           &r->arena, &p->error, err);
    if (code || !info->result_count)
        return code;
    p->results = arena_zalloc(&r->arena, info->result_count, sizeof(wire_call_result *));
    if (!p->results)
        return error_memory(err);
    for (size_t i = 0; i < info->result_count && !code; i++)
        code = build_result(r, r->parts[at + i].blob, &p->results[p->n_results++], err);
    return code;
}

static int build_request(struct run *r, const struct engine_run *info, struct error *err)
{
    const struct engine_row *row = &info->row;
    struct arena *a = &r->arena;
    wire_run_request *q = arena_alloc(a, sizeof *q);

    if (!q)
        return error_memory(err);
    dispatch__sdk__v1__run_request__init(q);
    q->function = arena_dup(a, row->function);
    q->dispatch_id = result_id(a, r->o->tag, row->id);
    q->parent_dispatch_id = result_id(a, r->o->tag, row->parent);
    q->root_dispatch_id = result_id(a, r->o->tag, row->root ? row->root : row->id);
    q->creation_time = wire_time_new(a, row->created);
    q->expiration_time = wire_time_new(a, row->expires);
    q->now = wire_time_new(a, clock_now(r->o->options.clock));
    q->generation = row->generation;
    q->resume = row->resumes;
    r->out.request = q;
    r->out.arena = a;
    r->out.endpoint = slice(arena_dup(a, row->endpoint), row->endpoint.len);
    r->out.org = slice(arena_dup(a, row->org), row->org.len);
    r->out.version = slice(arena_dup(a, row->version), row->version.len);
    r->out.expires = row->expires;
    r->out.attempt = r->attempt;
    if (!q->function || !q->dispatch_id || !q->parent_dispatch_id || !q->root_dispatch_id ||
        !q->creation_time || !q->expiration_time || !q->now || !r->out.endpoint.data ||
        !r->out.org.data || !r->out.version.data)
        return error_memory(err);
    return info->first ? build_input(r, q, err) : build_poll_result(r, info, q, err);
}

/* All parts are there. */
static void run_invoke(struct run *r)
{
    struct orchestrator *o = r->o;
    struct engine_run info;
    struct error err = {0};

    /* It may have expired while its parts were read: no attempt then, and the engine ends it. */
    if (r->cancelled || !run_counts(r) || !engine_run_info(o->engine, r->call, r->attempt, &info) ||
        info.row.expires <= clock_now(o->options.clock)) {
        run_end_gone(r);
        return;
    }
    if (build_request(r, &info, &err)) {
        run_end_trouble(r, &err);
        return;
    }
    compact_state(r, &info);
    /* The request has copies of them. */
    for (size_t i = 0; i < r->part_count; i++)
        blob_unref(r->parts[i].blob);
    r->part_count = 0;
    r->invoked = true;
    r->number = info.row.attempts + 1;
    r->invoked_at = clock_now(o->options.clock);
    log_line(o->options.log, LOG_DEBUG, "run", LOG_STR("call", r->out.request->dispatch_id),
             LOG_STR("function", r->out.request->function), LOG_SLICE("endpoint", r->out.endpoint),
             LOG_NUM("generation", r->generation));
    o->options.invoker->run(o->options.invoker, &r->out); /* it may be gone now */
}

static void parts_read(struct store_job *job)
{
    struct run *r = LIST_ENTRY(job, struct run, job);
    struct engine_run info;

    /* Rows of a run that is over may be of another generation by now: of no use to the cache. */
    if (job->code == CODE_CANCELED || r->cancelled || !run_counts(r) ||
        !engine_run_info(r->o->engine, r->call, r->attempt, &info)) {
        run_end_gone(r);
        return;
    }
    if (job->code) {
        if (job->code == CODE_NOT_FOUND)
            error_set(&job->error, CODE_DATA_LOSS, "a payload of the call is missing: %s",
                      job->error.message);
        run_end_trouble(r, &job->error);
        return;
    }
    for (size_t i = 0; i < r->part_count; i++)
        cache_put(&r->o->cache, kind_of(r->parts[i].table), r->parts[i].key, r->parts[i].sub,
                  r->parts[i].blob);
    run_invoke(r);
}

/* --- what the engine says ----------------------------------------------------------------------
 */

static struct run *run_create(struct orchestrator *o, const struct engine_effect *effect)
{
    struct run *r = calloc(1, sizeof *r);

    if (!r || !map_set(&o->runs_by_attempt, effect->attempt, r)) {
        free(r);
        return NULL;
    }
    r->o = o;
    r->incarnation = o->epoch;
    r->call = effect->call;
    r->attempt = effect->attempt;
    r->generation = effect->generation;
    r->group = effect->group;
    arena_init(&r->arena, RUN_ARENA_SLACK + 6 * (o->limits.payload_max + o->limits.state_max));
    list_append(&o->runs, &r->link);
    o->run_count++;
    return r;
}

void run_start(struct orchestrator *o, const struct engine_effect *effect)
{
    struct engine_answer refusal = {.call = effect->call,
                                    .generation = effect->generation,
                                    .attempt = effect->attempt,
                                    .group = effect->group,
                                    .max_wait_ns = -1};
    struct engine_run info;
    struct run *r;

    if (!engine_run_info(o->engine, effect->call, effect->attempt, &info)) {
        refusal.outcome = ENGINE_GONE;
        orchestrator_answer(o, &refusal);
        return;
    }
    assert(!map_get(&o->runs_by_attempt, effect->attempt));
    r = run_create(o, effect);
    if (!r) {
        refusal.outcome = ENGINE_EXIT;
        refusal.status = STATUS_TEMPORARY_ERROR;
        orchestrator_answer(o, &refusal);
        return;
    }
    if (!list_parts(r, &info)) {
        struct error err;

        error_memory(&err);
        run_end_trouble(r, &err);
    } else if (parts_missing(r)) {
        r->job = (struct store_job){.work = read_parts, .done = parts_read};
        store_async_read(o->async, &r->job);
    } else {
        run_invoke(r);
    }
}

/* The invoker answers within, or later. */
static void ask_back(struct orchestrator *o, struct run *r)
{
    if (r->cancelled)
        return;
    r->cancelled = true;
    if (r->invoked)
        o->options.invoker->cancel(o->options.invoker, &r->out);
}

void run_cancel(struct orchestrator *o, const struct engine_effect *effect)
{
    struct run *r = map_get(&o->runs_by_attempt, effect->attempt);

    if (r && r->call == effect->call)
        ask_back(o, r);
}

void run_give_up_all(struct orchestrator *o)
{
    struct list all;

    /* An invoker may answer for other runs while one is cancelled: each is moved back first. */
    list_init(&all);
    list_splice(&all, &o->runs);
    while (!list_empty(&all)) {
        struct list *node = list_pop(&all);

        list_append(&o->runs, node);
        ask_back(o, LIST_ENTRY(node, struct run, link));
    }
    map_free(&o->runs_by_attempt);
    map_init(&o->runs_by_attempt);
}

void run_orphan_all(struct orchestrator *o)
{
    struct list *node;

    while ((node = list_pop(&o->runs))) {
        struct run *r = LIST_ENTRY(node, struct run, link);

        assert(r->invoked); /* the reads have ended with the store's threads */
        r->o = NULL;
    }
    o->run_count = 0;
}

/* --- what the invoker says ---------------------------------------------------------------------
 */

void orchestrator_run_sent(struct orchestrator_run *out)
{
    struct run *r = run_of(out);
    struct orchestrator_attempt attempt = {.attempt = r->attempt,
                                           .number = r->number,
                                           .request = out->request,
                                           .endpoint = out->endpoint,
                                           .org = out->org};

    if (r->sent || !r->o)
        return;
    r->sent = true;
    r->observed = !list_empty(&r->o->observers);
    attempt.started = r->sent_at = clock_now(r->o->options.clock);
    LIST_FOR_EACH (node, next, &r->o->observers) {
        struct orchestrator_observer *observer =
            LIST_ENTRY(node, struct orchestrator_observer, link);

        observer->started(observer->arg, &attempt);
    }
}

void orchestrator_observe(struct orchestrator *o, struct orchestrator_observer *observer)
{
    list_append(&o->observers, &observer->link);
}

void orchestrator_unobserve(struct orchestrator_observer *observer)
{
    list_remove(&observer->link);
}

void orchestrator_run_answered(struct orchestrator_run *out, const wire_run_response *response)
{
    struct run *r = run_of(out);
    struct engine_answer a = {.outcome = ENGINE_GONE, .max_wait_ns = -1};

    tell_end(r, response, NULL);
    if (run_counts(r))
        answer_from_response(&r->o->limits, response, &a);
    run_end(r, &a);
}

void orchestrator_run_failed(struct orchestrator_run *out, const struct run_failure *failure)
{
    struct run *r = run_of(out);
    struct engine_answer a;

    tell_end(r, NULL, failure);
    answer_from_failure(failure, &a);
    run_end(r, &a);
}

void orchestrator_run_gone(struct orchestrator_run *out)
{
    run_end_gone(run_of(out));
}
