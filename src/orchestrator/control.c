// SPDX-License-Identifier: Apache-2.0
/*
 * What people do to calls by hand: cancel and restart one that is live, make a new one of one that
 * is done. The first committed event wins, so a call whose end is not durable yet counts as
 * neither: what is committed of it is read, and says why it cannot be done.
 */
#include <assert.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

typedef int engine_event(struct engine *e, int64_t now, uint64_t id, void *token,
                         struct error *err);

/* A request that first reads its call. */
struct reading {
    struct lookup lookup;                /* first */
    orchestrator_cancelled *cancelled;   /* either this, */
    orchestrator_dispatched *dispatched; /* or this */
    void *arg;
    engine_event *event;        /* of a live call; NULL: it is completed, or retried */
    struct engine_completion x; /* with references of its own, and a copy of the key */
    struct list link;           /* in o->sleepers, until the tree of `root` is in memory */
    uint64_t root;
    char org[]; /* and behind it the key */
};

static int reading_start(struct orchestrator *o, struct slice org, uint64_t id,
                         void (*ended)(struct lookup *lookup), struct reading **out,
                         struct error *err)
{
    struct reading *r;

    if (o->lookup_count + o->sleeper_count >= REQUESTS_MAX)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "too many requests are waiting");
    r = calloc(1, sizeof *r + org.len + KEY_NAME_MAX);
    if (!r)
        return error_memory(err);
    if (org.len)
        memcpy(r->org, org.data, org.len);
    lookup_init(&r->lookup, o, id, slice(r->org, org.len), ended);
    *out = r;
    return CODE_OK;
}

/* The row of what was read: *live, or done with its result. */
static int read_row(struct lookup *l, struct engine_row *row, bool *live, struct error *err)
{
    struct slice bytes = blob_slice(l->call);
    struct engine_result result;
    int code = request_lookup_code(l, err);

    if (code)
        return code;
    *live = !l->done;
    if (l->done)
        code = row_decode_done(blob_slice(l->done), row, &result, err);
    else if (l->call)
        code = row_decode(&bytes, row, err);
    else
        code = request_not_known(err, slice_str(l->text));
    if (!code && !slice_eq(row->org, l->org))
        code = request_not_known(err, slice_str(l->text));
    return code;
}

/* --- cancel, restart ---------------------------------------------------------------------------
 */

static int control_live(struct orchestrator *o, uint64_t id, engine_event *event,
                        orchestrator_cancelled *done, void *arg, struct error *err)
{
    struct pending *p = calloc(1, sizeof *p);
    int code;

    if (!p)
        return error_memory(err);
    p->cancelled = done;
    p->arg = arg;
    code = event(o->engine, clock_now(o->options.clock), id, p, err);
    o->dirty = true;
    if (code)
        free(p);
    else
        list_append(&o->pending, &p->link);
    return code;
}

/* --- complete ----------------------------------------------------------------------------------
 */

/* An end that nobody can take back is of a status that ends. */
static enum status status_of(const wire_error *error)
{
    int status = error ? (int)error->status : STATUS_OK;

    if (!error)
        return STATUS_OK;
    return status > STATUS_OK && status < STATUS_COUNT && !status_is_temporary(status)
               ? (enum status)status
               : STATUS_PERMANENT_ERROR;
}

static int pack_part(const struct orchestrator *o, const ProtobufCMessage *message,
                     const char *what, struct blob **blob, struct error *err)
{
    size_t len = message ? protobuf_c_message_get_packed_size(message) : 0;

    if (!message)
        return CODE_OK;
    if (len > o->limits.payload_max)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%s has %zu bytes, more than the %zu that are allowed", what, len,
                         o->limits.payload_max);
    *blob = wire_pack_blob(message);
    return *blob ? CODE_OK : error_memory(err);
}

/* Who hears that a call is completed stops trying, so that must be durable first. */
static int refuse_durably(struct orchestrator *o, struct pending *p, const struct error *why,
                          struct error *err)
{
    p->refusal = malloc(sizeof *p->refusal);
    if (!p->refusal)
        return error_memory(err);
    *p->refusal = *why;
    engine_await(o->engine, p);
    return CODE_OK;
}

static int complete(struct orchestrator *o, const struct engine_completion *x,
                    orchestrator_cancelled *done, void *arg, struct error *err)
{
    struct pending *p = calloc(1, sizeof *p);
    struct error why = {0};
    int code;

    if (!p)
        return error_memory(err);
    p->cancelled = done;
    p->arg = arg;
    code = engine_complete(o->engine, clock_now(o->options.clock), x, p, &why);
    o->dirty = true;
    if (code == CODE_FAILED_PRECONDITION)
        code = refuse_durably(o, p, &why, err);
    else if (code)
        error_set(err, code, "%s", why.message);
    if (code)
        free(p);
    else
        list_append(&o->pending, &p->link);
    return code;
}

/* --- calls that are not in memory --------------------------------------------------------------
 */

static void reading_end(struct reading *r, const struct error *error)
{
    if (error)
        r->cancelled(r->arg, error);
    lookup_drop(&r->lookup);
    blob_unref(r->x.output);
    blob_unref(r->x.error);
    free(r);
}

/* True if the tree is out of memory: the request waits for it. */
static bool sleep_on(struct reading *r, uint64_t root)
{
    struct orchestrator *o = r->lookup.o;

    if (!orchestrator_engine_open(o) || !engine_wake_tree(o->engine, root))
        return false;
    r->root = root;
    list_append(&o->sleepers, &r->link);
    o->sleeper_count++;
    return true;
}

/* The call is in memory, or was just now. */
static void go_ahead(struct reading *r, uint64_t root)
{
    struct lookup *l = &r->lookup;
    struct orchestrator *o = l->o;
    struct error err = {0};
    struct engine_row row;
    int code = request_check_open(o, &err);

    if (sleep_on(r, root))
        return;
    if (!code && (!engine_find(o->engine, l->id, &row) || row.state == CALL_DONE))
        code = error_set(&err, CODE_UNAVAILABLE, "call %s has just changed: ask again", l->text);
    else if (!code && r->event)
        code = control_live(o, l->id, r->event, r->cancelled, r->arg, &err);
    else if (!code)
        code = complete(o, &r->x, r->cancelled, r->arg, &err);
    reading_end(r, code ? &err : NULL);
}

/* As far as the engine knows there is no such live call: it is done; or out of memory, then the
 * request waits for it. */
static void not_in_memory(struct lookup *l)
{
    struct reading *r = (struct reading *)(void *)l;
    struct error err = {0};
    struct engine_row row;
    bool live = false;
    int code = read_row(l, &row, &live, &err);

    if (!code && live) {
        go_ahead(r, row.root);
        return;
    }
    if (!code || (code == CODE_NOT_FOUND && r->x.key.len)) /* a key is known as long as its call */
        error_set(&err, CODE_FAILED_PRECONDITION, "call %s is done already", l->text);
    reading_end(r, &err);
}

void control_awake(struct orchestrator *o, uint64_t root)
{
    struct list ready;

    list_init(&ready); /* out of the other list first: requests come from callbacks */
    LIST_FOR_EACH (it, tmp, &o->sleepers) {
        if (LIST_ENTRY(it, struct reading, link)->root != root)
            continue;
        list_remove(it);
        list_append(&ready, it);
        o->sleeper_count--;
    }
    while (!list_empty(&ready))
        go_ahead(LIST_ENTRY(list_pop(&ready), struct reading, link), root);
}

void control_fail_sleepers(struct orchestrator *o, const struct error *error)
{
    struct list all;

    list_init(&all);
    list_splice(&all, &o->sleepers);
    o->sleeper_count = 0;
    while (!list_empty(&all))
        reading_end(LIST_ENTRY(list_pop(&all), struct reading, link), error);
}

/* --- what people ask ---------------------------------------------------------------------------
 */

static void control(struct orchestrator *o, struct slice org, struct slice text,
                    engine_event *event, orchestrator_cancelled *done, void *arg)
{
    struct error err = {0};
    struct engine_row row;
    struct reading *r = NULL;
    uint64_t id = 0;
    int code = request_check_open(o, &err);

    if (!code)
        code = request_id(o, text, &id, &err);
    /* A call whose end is not durable yet may live again after a crash: the committed rows say. */
    if (!code && engine_find(o->engine, id, &row) && row.state != CALL_DONE) {
        code = slice_eq(row.org, org) ? control_live(o, id, event, done, arg, &err)
                                      : request_not_known(&err, text);
    } else if (!code) {
        code = reading_start(o, org, id, not_in_memory, &r, &err);
        if (!code) {
            r->event = event;
            r->cancelled = done;
            r->arg = arg;
            lookup_start(&r->lookup);
        }
    }
    if (code)
        done(arg, &err);
}

void orchestrator_cancel(struct orchestrator *o, struct slice org, struct slice id,
                         orchestrator_cancelled *done, void *arg)
{
    control(o, org, id, engine_cancel, done, arg);
}

void orchestrator_restart(struct orchestrator *o, struct slice org, struct slice id,
                          orchestrator_cancelled *done, void *arg)
{
    control(o, org, id, engine_restart, done, arg);
}

static int check_complete(const struct orchestrator *o,
                          const Dispatch__V1__CompleteRequest *request, struct error *err)
{
    int code = request_check_open(o, err);

    if (code)
        return code;
    if (!request->dispatch_id[0] == !request->key[0])
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "say which call: its dispatch_id or its key, one of the two");
    return request->key[0] ? key_check_name("key", slice_str(request->key), err) : CODE_OK;
}

/* Is the call done, or out of memory, as far as the engine knows? A key nobody has yet is neither.
 */
static bool is_to_be_read(const struct orchestrator *o, const struct engine_completion *x,
                          struct engine_row *row, uint64_t *id)
{
    *id = x->call ? x->call : engine_key_call(o->engine, x->org, x->key);
    if (x->call)
        return !engine_find(o->engine, *id, row) || row->state == CALL_DONE;
    return *id && !engine_find(o->engine, *id, row);
}

/* Reads it first, keeping what it is to be completed with. */
static void complete_later(struct reading *r, const struct engine_completion *x,
                           orchestrator_cancelled *done, void *arg)
{
    char *key = r->org + r->lookup.org.len;

    r->x = *x;
    r->x.org = r->lookup.org;
    if (x->key.len)
        memcpy(key, x->key.data, x->key.len);
    r->x.key = slice(key, x->key.len);
    r->x.output = blob_ref(x->output);
    r->x.error = blob_ref(x->error);
    r->cancelled = done;
    r->arg = arg;
    lookup_start(&r->lookup);
}

void orchestrator_complete(struct orchestrator *o, struct slice org,
                           const Dispatch__V1__CompleteRequest *request,
                           orchestrator_cancelled *done, void *arg)
{
    struct engine_completion x = {.org = org, .key = slice_str(request->key)};
    struct slice text = slice_str(request->dispatch_id);
    struct reading *r = NULL;
    struct error err = {0};
    struct engine_row row;
    uint64_t id = 0;
    int code = check_complete(o, request, &err);

    x.status = status_of(request->error);
    if (!code && request->output)
        code = pack_part(o, &request->output->base, "the output", &x.output, &err);
    if (!code && request->error)
        code = pack_part(o, &request->error->base, "the error", &x.error, &err);
    if (!code && text.len)
        code = request_id(o, text, &x.call, &err);
    if (!code && is_to_be_read(o, &x, &row, &id)) {
        code = reading_start(o, org, id, not_in_memory, &r, &err);
        if (!code)
            complete_later(r, &x, done, arg);
    } else if (!code && x.call && !slice_eq(row.org, org)) {
        code = request_not_known(&err, text);
    } else if (!code) {
        code = complete(o, &x, done, arg, &err);
    }
    blob_unref(x.output);
    blob_unref(x.error);
    if (code)
        done(arg, &err);
}

/* --- retry -------------------------------------------------------------------------------------
 */

static int retry_row(struct reading *r, const struct engine_row *row, struct error *err)
{
    struct orchestrator *o = r->lookup.o;
    struct engine_spec spec = {.function = row->function,
                               .endpoint = row->endpoint,
                               .version = row->version,
                               .expiration_ns = row->expires - row->created,
                               .priority = row->priority,
                               .retry_of = row->id,
                               .input = r->lookup.input};
    uint64_t first;
    int code = request_check_admission(o, err);

    if (!code && row->key.len)
        code = error_set(err, CODE_FAILED_PRECONDITION,
                         "call %s was to be completed from outside: dispatch another one, under "
                         "another key",
                         r->lookup.text);
    if (!code && row->has_input && !r->lookup.input) /* between two reads */
        code = request_not_known(err, slice_str(r->lookup.text));
    return code ? code
                : request_dispatch_specs(o, r->lookup.org, &spec, 1, r->dispatched, r->arg, &first,
                                         err);
}

static void retry_read(struct lookup *l)
{
    struct reading *r = (struct reading *)(void *)l;
    struct error err = {0};
    struct engine_row row;
    bool live;
    int code = read_row(l, &row, &live, &err);

    if (!code && live)
        code = error_set(&err, CODE_FAILED_PRECONDITION,
                         "call %s is not done: only one that is can be retried; restart or cancel "
                         "this one",
                         l->text);
    if (!code)
        code = retry_row(r, &row, &err);
    if (code)
        r->dispatched(r->arg, &err, NULL);
    lookup_drop(l);
    free(r);
}

void orchestrator_retry(struct orchestrator *o, struct slice org, struct slice text,
                        orchestrator_dispatched *done, void *arg)
{
    struct error err = {0};
    struct reading *r = NULL;
    uint64_t id = 0;
    int code = request_check_admission(o, &err);

    if (!code)
        code = request_id(o, text, &id, &err);
    if (!code)
        code = reading_start(o, org, id, retry_read, &r, &err);
    if (code) {
        done(arg, &err, NULL);
        return;
    }
    r->dispatched = done;
    r->arg = arg;
    r->lookup.with_input = true;
    lookup_start(&r->lookup);
}
