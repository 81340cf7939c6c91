// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that carry an idempotency key. The first one of a key is given to the engine, and a row
 * of TABLE_KEY that says what it was answered goes into the same batch. Those that come later are
 * answered from the row; those that come while the first is under way share its answer.
 *
 *   read the row --(there)--> answer from it
 *        |
 *        +--(not there)--> engine, row --(batch confirmed)--> answer
 *
 * A request with the same key and another body is refused, whoever came first. A row outlives its
 * calls, and is good until it expires; then it is removed in the background (sweep.c).
 *
 * A key "ID/..." with the id of a live call is of a Dispatch that this call made while it ran: the
 * run may be made again at any time of the call's life, so the key is good as long as that; and as
 * what runs again need not say the same to the byte, the first body wins, with a warning.
 */
#include <assert.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

#define IDEMPOTENCY_NS    (24 * 3600 * NS_PER_S)
#define KEYED_ARENA_SLACK ((size_t)1 << 16)

struct waiter {
    struct list link;
    orchestrator_dispatched *done;
    void *arg;
};

struct keyed {
    struct store_job job;
    struct orchestrator *o;
    struct keyed *next; /* of the same place */
    struct arena arena; /* of the strings */
    struct slice org, name;
    uint64_t digest[2];
    struct engine_spec *specs;
    size_t count;
    struct list waiters;
    uint64_t place, epoch;
    int64_t now;
    uint32_t sub; /* the first that is free there */
    bool found;
    struct engine_key row; /* its numbers, if found */
};

static void keyed_free(struct keyed *k)
{
    assert(list_empty(&k->waiters));
    call_free_specs(k->specs, k->count);
    arena_reset(&k->arena);
    free(k);
}

static struct keyed *keyed_find(const struct orchestrator *o, uint64_t place, struct slice org,
                                struct slice name)
{
    struct keyed *k = map_get(&o->keyed, place);

    while (k && !(slice_eq(k->org, org) && slice_eq(k->name, name)))
        k = k->next;
    return k;
}

static void keyed_unlink(struct keyed *k)
{
    struct keyed *first = map_get(&k->o->keyed, k->place), **at = &first;

    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    if (first)
        map_set(&k->o->keyed, k->place, first); /* replaces: cannot fail */
    else
        map_remove(&k->o->keyed, k->place);
}

/* Answers all who wait; frees it. */
static void keyed_accepted(void *arg, const struct error *error,
                           const wire_dispatch_response *response)
{
    struct keyed *k = arg;
    struct list *node;

    keyed_unlink(k);
    while ((node = list_pop(&k->waiters))) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);

        w->done(w->arg, error, response);
        free(w);
    }
    keyed_free(k);
}

static int another_body(struct slice name, struct error *err)
{
    return error_set(err, CODE_ALREADY_EXISTS,
                     "the idempotency key '%.*s' was used for another request less than 24 hours "
                     "ago: send that one again, or take another key",
                     SLICE_FMT(name));
}

static bool same_digest(const uint64_t a[2], const uint64_t b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

uint64_t keyed_caller(struct slice name, uint64_t tag)
{
    struct id_parts parts;

    if (name.len <= ID_TEXT_LEN || ((const char *)name.data)[ID_TEXT_LEN] != '/' ||
        !id_parse(slice(name.data, ID_TEXT_LEN), &parts) || parts.partition != PARTITION ||
        parts.tag != tag)
        return 0;
    return parts.number;
}

static bool caller_lives(const struct orchestrator *o, uint64_t caller, struct slice org)
{
    struct engine_row row;

    return caller && orchestrator_engine_open(o) && engine_find(o->engine, caller, &row) &&
           row.state != CALL_DONE && slice_eq(row.org, org);
}

/* Whether it may be answered as the first of its key was. */
static int check_body(const struct orchestrator *o, struct slice org, struct slice name,
                      const uint64_t first[2], const uint64_t digest[2], struct error *err)
{
    if (same_digest(first, digest))
        return CODE_OK;
    if (!caller_lives(o, keyed_caller(name, o->tag), org))
        return another_body(name, err);
    log_line(o->options.log, LOG_WARN,
             "a call made another request when it ran again: the first one counts",
             LOG_SLICE("key", name));
    return CODE_OK;
}

/* --- reading ------------------------------------------------------------------------------------
 */

static int take_row(void *arg, const struct store_row *row)
{
    struct keyed *k = arg;
    struct engine_key key;
    int code = key_decode(row->value, &key, &k->job.error);

    if (code)
        return code;
    if (row->sub == k->sub) /* they come in order */
        k->sub++;
    if (slice_eq(key.org, k->org) && slice_eq(key.name, k->name) && key.expires > k->now) {
        k->found = true;
        k->row = key; /* its strings go with the store's row */
    }
    return CODE_OK;
}

static int read_work(struct store_job *job, struct store *store, struct error *err)
{
    struct keyed *k = LIST_ENTRY(job, struct keyed, job);
    struct store_range range = {
        .table = TABLE_KEY, .from_key = k->place, .to_key = k->place, .to_sub = SUB_MAX};

    return store_walk(store, PARTITION, &range, take_row, k, err);
}

static void put_row(struct keyed *k, uint64_t first)
{
    struct engine_key row = {.kind = KEY_REQUEST,
                             .org = k->org,
                             .name = k->name,
                             .expires = time_add(clock_now(k->o->options.clock), IDEMPOTENCY_NS),
                             .call = first,
                             .count = (uint32_t)k->count,
                             .digest = {k->digest[0], k->digest[1]}};

    engine_put_key(k->o->engine, k->place, k->sub, &row);
    sweep_note(k->o, row.expires);
}

/* The first request of this key. */
static int keyed_begin(struct keyed *k, struct error *err)
{
    uint64_t first = 0;
    int code =
        request_dispatch_specs(k->o, k->org, k->specs, k->count, keyed_accepted, k, &first, err);

    if (!code)
        put_row(k, first);
    return code;
}

static int keyed_judge(struct keyed *k, struct error *err)
{
    struct orchestrator *o = k->o;
    int code = k->job.code;

    if (code == CODE_CANCELED || o->destroying)
        return error_set(err, CODE_UNAVAILABLE, "the orchestrator is stopping");
    if (code)
        return error_set(err, code, "%s", k->job.error.message);
    if (k->found)
        return check_body(o, k->org, k->name, k->row.digest, k->digest, err);
    code = request_check_admission(o, err);
    if (!code && o->epoch != k->epoch)
        code = error_set(err, CODE_UNAVAILABLE, "the store was opened again meanwhile: try again");
    return code ? code : keyed_begin(k, err);
}

static void read_done(struct store_job *job)
{
    struct keyed *k = LIST_ENTRY(job, struct keyed, job);
    struct error err = {0};
    int code;

    k->o->lookup_count--;
    code = keyed_judge(k, &err);
    if (code)
        keyed_accepted(k, &err, NULL);
    else if (k->found)
        request_answer_ids(k->o, k->row.call, k->row.count, keyed_accepted, k);
}

/* --- asking -------------------------------------------------------------------------------------
 */

static bool own(struct arena *arena, struct slice *s)
{
    char *copy = arena_dup(arena, *s);

    *s = slice(copy, s->len);
    return copy;
}

static bool own_all(struct keyed *k, struct slice org, struct slice name)
{
    k->org = org;
    k->name = name;
    if (!own(&k->arena, &k->org) || !own(&k->arena, &k->name))
        return false;
    for (size_t i = 0; i < k->count; i++) {
        struct engine_spec *s = &k->specs[i];

        if (!own(&k->arena, &s->function) || !own(&k->arena, &s->endpoint) ||
            !own(&k->arena, &s->version) || !own(&k->arena, &s->key))
            return false;
    }
    return true;
}

static bool add_waiter(struct keyed *k, orchestrator_dispatched *done, void *arg)
{
    struct waiter *w = calloc(1, sizeof *w);

    if (!w)
        return false;
    w->done = done;
    w->arg = arg;
    list_append(&k->waiters, &w->link);
    return true;
}

int keyed_dispatch(struct orchestrator *o, const struct keyed_request *r, struct engine_spec *specs,
                   size_t count, struct error *err)
{
    struct keyed *k = calloc(1, sizeof *k);

    if (!k) {
        call_free_specs(specs, count);
        return error_memory(err);
    }
    *k = (struct keyed){.o = o,
                        .specs = specs,
                        .count = count,
                        .digest = {r->digest[0], r->digest[1]},
                        .place = key_place(KEY_REQUEST, r->org, r->name, o->tag),
                        .epoch = o->epoch,
                        .now = clock_now(o->options.clock)};
    if (caller_lives(o, keyed_caller(r->name, o->tag), r->org))
        k->now = 0; /* its rows do not expire */
    list_init(&k->waiters);
    arena_init(&k->arena, KEYED_ARENA_SLACK + count * 8192);
    if (!own_all(k, r->org, r->name) || !map_reserve(&o->keyed, 1) ||
        !add_waiter(k, r->done, r->arg)) {
        keyed_free(k);
        return error_memory(err);
    }
    k->next = map_get(&o->keyed, k->place);
    map_set(&o->keyed, k->place, k); /* reserved */
    k->job.work = read_work;
    k->job.done = read_done;
    o->lookup_count++;
    store_async_read(o->async, &k->job);
    return CODE_OK;
}

int keyed_check(const struct orchestrator *o, const struct keyed_request *r, bool *joined,
                struct error *err)
{
    struct keyed *k =
        keyed_find(o, key_place(KEY_REQUEST, r->org, r->name, o->tag), r->org, r->name);
    int code = key_check_name("the Idempotency-Key", r->name, err);

    *joined = false;
    if (code)
        return code;
    if (!k && o->lookup_count >= REQUESTS_MAX)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "too many requests are waiting");
    if (!k)
        return CODE_OK;
    code = check_body(o, r->org, r->name, k->digest, r->digest, err);
    if (code)
        return code;
    *joined = add_waiter(k, r->done, r->arg);
    return *joined ? CODE_OK : error_memory(err);
}

/* Two hashes of the packed message, told apart by what kind of request it is. */
bool keyed_digest(const void *message, uint64_t digest[2])
{
    struct blob *bytes = wire_pack_blob(message);
    uint64_t kind = slice_hash(slice_str(((const ProtobufCMessage *)message)->descriptor->name), 1);

    if (!bytes)
        return false;
    digest[0] = slice_hash(blob_slice(bytes), kind);
    digest[1] = slice_hash(blob_slice(bytes), ~kind);
    blob_unref(bytes);
    return true;
}
