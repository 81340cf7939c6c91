// SPDX-License-Identifier: Apache-2.0
/*
 * What people do to calls by hand: cancel and restart one that is live, make a new one of one that
 * is done. The first committed event wins, so a call whose end is not durable yet counts as
 * neither: what is committed of it is read, and says why it cannot be done.
 */
#include <assert.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

/* A request that first reads its call. */
struct reading {
    struct lookup lookup;                /* first */
    orchestrator_cancelled *cancelled;   /* either this, */
    orchestrator_dispatched *dispatched; /* or this */
    void *arg;
    char org[];
};

static int reading_start(struct orchestrator *o, struct slice org, uint64_t id,
                         void (*ended)(struct lookup *lookup), struct reading **out,
                         struct error *err)
{
    struct reading *r;

    if (o->lookup_count >= REQUESTS_MAX)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "too many requests are waiting");
    r = calloc(1, sizeof *r + org.len);
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

typedef int engine_event(struct engine *e, int64_t now, uint64_t id, void *token,
                         struct error *err);

/* The call is not live, as far as the engine knows: says what it is. */
static void not_live(struct lookup *l)
{
    struct reading *r = (struct reading *)(void *)l;
    struct error err = {0};
    struct engine_row row;
    bool live;

    if (!read_row(l, &row, &live, &err)) {
        if (live)
            error_set(&err, CODE_UNAVAILABLE, "call %s has just changed: ask again", l->text);
        else
            error_set(&err, CODE_FAILED_PRECONDITION, "call %s is done already", l->text);
    }
    r->cancelled(r->arg, &err);
    lookup_drop(l);
    free(r);
}

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
        code = reading_start(o, org, id, not_live, &r, &err);
        if (!code) {
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

void orchestrator_complete(struct orchestrator *o, struct slice org,
                           const Dispatch__V1__CompleteRequest *request,
                           orchestrator_cancelled *done, void *arg)
{
    struct engine_completion x = {.org = org, .key = slice_str(request->key)};
    struct slice text = slice_str(request->dispatch_id);
    struct reading *r = NULL;
    struct error err = {0};
    struct engine_row row;
    int code = check_complete(o, request, &err);

    x.status = status_of(request->error);
    if (!code && request->output)
        code = pack_part(o, &request->output->base, "the output", &x.output, &err);
    if (!code && request->error)
        code = pack_part(o, &request->error->base, "the error", &x.error, &err);
    if (!code && text.len)
        code = request_id(o, text, &x.call, &err);
    if (!code && x.call && !(engine_find(o->engine, x.call, &row) && row.state != CALL_DONE)) {
        code = reading_start(o, org, x.call, not_live, &r, &err);
        if (!code) {
            r->cancelled = done;
            r->arg = arg;
            lookup_start(&r->lookup);
        }
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
