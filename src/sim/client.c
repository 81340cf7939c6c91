// SPDX-License-Identifier: Apache-2.0
/*
 * The clients: they dispatch, wait for what was acknowledged until they have its result, look at
 * calls, and cancel some. A client that is told "unavailable" or nothing does not know, and asks
 * again; what it was told once it holds the orchestrator to.
 */
#include <inttypes.h>
#include <stdio.h>

#include "sim/world.h"

#define TEMP_MAX ((size_t)16 << 20)

const char *const org_names[ORGS] = {"acme", "umbrella"};

static struct slice org_of(unsigned org)
{
    return slice_str(org_names[org]);
}

/* An answer that says: not now. */
static bool later(const struct world *w, const struct error *error)
{
    return error->code == CODE_UNAVAILABLE ||
           (error->code == CODE_RESOURCE_EXHAUSTED && world_may(w, FAULT_NO_MEMORY));
}

/* --- results ---------------------------------------------------------------------------------- */

/* What somebody was told of a call, compared with what is durable. */
static void check_info(struct world *w, const struct record *r, const Dispatch__V1__CallInfo *info,
                       const char *who)
{
    struct outcome o;

    if (info->state != DISPATCH__V1__STATE__STATE_DONE)
        return;
    CHECK(w, info->result, "a call that is done has a result", "call %" PRIu64, r->id);
    o = outcome_of(info->result);
    if (!info->result->error)
        o.status = (enum status)info->status;
    ledger_check_told(w, r, &o, who);
}

static void wait_again(struct world *w, void *arg);

static void plan_wait(struct client_call *c)
{
    struct world *w = c->request->world;

    c->waiting = true;
    world_at(w, w->now + world_draw_ns(w, 5 * NS_PER_S), wait_again, c);
}

static void take_result(struct client_call *c, const struct error *error,
                        const Dispatch__V1__CallInfo *info)
{
    struct world *w = c->request->world;

    c->wait = NULL;
    c->waiting = false;
    if (w->process.dead || w->process.ending || error) {
        CHECK(w, !error || later(w, error), "an acknowledged call is known",
              "a wait for call %" PRIu64 " says %s", c->id, error->message);
        plan_wait(c);
        return;
    }
    check_info(w, c->record, info, "a client");
    if (info->state != DISPATCH__V1__STATE__STATE_DONE) {
        CHECK(w, c->timed, "a wait without limit ends with the call", "call %" PRIu64, c->id);
        plan_wait(c);
        return;
    }
    trace(w, "client has the result of call %" PRIu64, c->id);
    c->told = true;
    w->untold--;
}

static void on_result(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct client_call *c = arg;
    struct world *w = c->request->world;
    bool was = memory_scarce(w, false);

    take_result(c, error, info);
    memory_scarce(w, was);
}

static void wait_now(struct client_call *c)
{
    struct world *w = c->request->world;
    struct orchestrator_wait *wait;
    int64_t limit = -1;

    c->timed = w->healed_at == TIME_NEVER && world_once_in(w, 4);
    if (c->timed)
        limit = world_once_in(w, 4) ? 0 : world_draw_ns(w, 60 * NS_PER_S);
    c->waiting = true;
    memory_scarce(w, true);
    wait = orchestrator_wait(w->process.o, org_of(c->request->org), slice_str(c->text), limit,
                             on_result, c);
    memory_scarce(w, false);
    if (wait) /* else it was answered within */
        c->wait = wait;
}

static void wait_again(struct world *w, void *arg)
{
    struct client_call *c = arg;

    if (process_serves(w))
        wait_now(c);
    else
        plan_wait(c);
}

/* --- dispatching ------------------------------------------------------------------------------ */

static void take_id(struct world *w, struct client_call *c, const char *text)
{
    struct id_parts parts;

    CHECK(w, id_parse(slice_str(text), &parts), "ids are ours", "'%s'", text);
    c->id = parts.number;
    snprintf(c->text, sizeof c->text, "%s", text);
    CHECK(w, ledger_find(w, c->id) && c->record == ledger_find(w, c->id) && c->record->known,
          "no acknowledged call is lost", "call %" PRIu64 " is acknowledged and not durable",
          c->id);
    w->untold++;
    w->totals.acknowledged++;
}

static void on_refused(struct world *w, struct batch_request *q, const struct error *error)
{
    int expected = q->bad && orchestrator_ready(w->process.o) && !w->process.stopping
                       ? CODE_INVALID_ARGUMENT
                       : CODE_UNAVAILABLE;

    CHECK(w, error->code == expected || later(w, error), "a refusal says why", "%s: %s",
          code_name(error->code), error->message);
    q->state = REQUEST_REFUSED;
    CHECK(w, !q->commit, "what was refused is not made", "%u calls", q->made);
    w->totals.refused++;
    trace(w, "dispatch refused: %s", code_name(error->code));
}

static void take_response(struct batch_request *q, const struct error *error,
                          const wire_dispatch_response *response)
{
    struct world *w = q->world;

    if (w->process.dead || w->process.ending) {
        q->state = REQUEST_UNKNOWN;
        return;
    }
    if (error && q->inside) {
        on_refused(w, q, error);
        return;
    }
    if (error) {
        CHECK(w, later(w, error), "a refusal says why", "%s", error->message);
        q->state = REQUEST_UNKNOWN;
        return;
    }
    CHECK(w, !q->bad && response->n_dispatch_ids == q->count, "a dispatch returns its ids",
          "%zu of %u", response->n_dispatch_ids, q->count);
    q->state = REQUEST_ACKNOWLEDGED;
    for (unsigned i = 0; i < q->count; i++)
        take_id(w, &q->calls[i], response->dispatch_ids[i]);
    trace(w, "dispatch acknowledged: %u calls from %" PRIu64, q->count, q->calls[0].id);
    if (world_may(w, FAULT_CRASH_ACK) && world_once_in(w, 30))
        process_die(w, FAULT_CRASH_ACK);
    for (unsigned i = 0; i < q->count; i++)
        plan_wait(&q->calls[i]);
}

static void on_dispatched(void *arg, const struct error *error,
                          const wire_dispatch_response *response)
{
    struct batch_request *q = arg;
    struct world *w = q->world;
    bool was = memory_scarce(w, false);

    take_response(q, error, response);
    memory_scarce(w, was);
}

static wire_call *make_call(struct world *w, struct arena *a, const struct client_call *c)
{
    wire_call *call = temp_alloc(w, a, sizeof *call);
    char text[URL_MAX > FUNCTION_NAME_MAX ? URL_MAX : FUNCTION_NAME_MAX];

    dispatch__sdk__v1__call__init(call);
    input_function(c->input, text);
    call->function = temp_text(w, a, text);
    endpoint_url(input_host(c->input), text);
    call->endpoint = temp_text(w, a, text);
    call->input = any_make(w, a, INPUT_TYPE, c->input);
    call->correlation_id = 99; /* to be ignored */
    if (c->expiration_ns) {
        call->expiration = temp_alloc(w, a, sizeof *call->expiration);
        google__protobuf__duration__init(call->expiration);
        wire_set_duration(call->expiration, c->expiration_ns);
    }
    return call;
}

static void spoil(struct world *w, struct arena *a, wire_call *call)
{
    switch (rand_below(&w->rand, 3)) {
    case 0:
        call->endpoint = temp_text(w, a, "");
        break;
    case 1:
        call->function = temp_text(w, a, "9to5");
        break;
    default:
        call->endpoint = temp_text(w, a, "ftp://e0.sim");
        break;
    }
    world_count(w, FAULT_BAD_DISPATCH);
}

static unsigned draw_depth(struct world *w)
{
    static const unsigned depths[] = {0, 0, 0, 0, 1, 1, 1, 2, 2, 3};

    return depths[rand_below(&w->rand, sizeof depths / sizeof *depths)];
}

static struct batch_request *draw_request(struct world *w)
{
    struct batch_request *q = world_alloc(w, sizeof *q);

    q->world = w;
    q->next = w->requests;
    w->requests = q;
    q->org = (unsigned)rand_below(&w->rand, ORGS);
    q->count = world_once_in(w, 2) ? 1 : (unsigned)rand_below(&w->rand, BATCH_CALLS) + 1;
    q->bad = world_once_in(w, 16);
    for (unsigned i = 0; i < q->count; i++) {
        struct client_call *c = &q->calls[i];
        uint64_t n = rand_below(&w->rand, 100);

        c->request = q;
        c->input = input_make(&w->rand,
                              n < 4    ? CLASS_DOOMED
                              : n < 12 ? CLASS_RISKY
                                       : CLASS_PLAIN,
                              draw_depth(w));
        c->expiration_ns = input_expiration_ns(c->input);
        CHECK(w, map_set(&w->inputs, c->input, c), "there is memory", "for a call");
    }
    return q;
}

static void dispatch(struct world *w)
{
    struct batch_request *q = draw_request(w);
    wire_dispatch_request message = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call *calls[BATCH_CALLS];
    struct arena arena;

    w->to_dispatch--;
    w->totals.dispatched += q->count;
    arena_init(&arena, TEMP_MAX);
    for (unsigned i = 0; i < q->count; i++)
        calls[i] = make_call(w, &arena, &q->calls[i]);
    if (q->bad)
        spoil(w, &arena, calls[rand_below(&w->rand, q->count)]);
    message.calls = calls;
    message.n_calls = q->count;
    trace(w, "dispatch of %u calls", q->count);
    q->inside = true;
    memory_scarce(w, true);
    orchestrator_dispatch(w->process.o, org_of(q->org), &message, on_dispatched, q);
    memory_scarce(w, false);
    q->inside = false;
    arena_reset(&arena);
}

/* --- looking and cancelling ------------------------------------------------------------------- */

/* One that was acknowledged, or NULL. */
static struct client_call *draw_call(struct world *w)
{
    struct client_call *found = NULL;
    uint64_t seen = 0;

    for (struct batch_request *q = w->requests; q; q = q->next)
        for (unsigned i = 0; q->state == REQUEST_ACKNOWLEDGED && i < q->count; i++)
            if (world_once_in(w, ++seen))
                found = &q->calls[i];
    return found;
}

struct look {
    struct world *world;
    struct record *record;
    bool was_done, foreign;
};

static void take_look(struct look *l, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct world *w = l->world;

    if (w->process.dead || w->process.ending)
        return;
    if (error) {
        CHECK(w, (l->foreign && error->code == CODE_NOT_FOUND) || later(w, error),
              "an acknowledged call is known", "a look at call %" PRIu64 " says %s", l->record->id,
              error->message);
        return;
    }
    CHECK(w, !l->foreign, "a call is its organization's", "another saw call %" PRIu64,
          l->record->id);
    CHECK(w, !l->was_done || info->state == DISPATCH__V1__STATE__STATE_DONE,
          "what is done is told as done", "call %" PRIu64, l->record->id);
    check_info(w, l->record, info, "who looked");
}

static void on_looked(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct look *l = arg;
    struct world *w = l->world;
    bool was = memory_scarce(w, false);

    take_look(l, error, info);
    memory_scarce(w, was);
}

static void look(struct world *w)
{
    struct client_call *c = draw_call(w);
    struct look *l;
    unsigned org;

    if (!c)
        return;
    l = world_alloc(w, sizeof *l);
    l->world = w;
    l->record = c->record;
    l->was_done = c->record->done;
    l->foreign = world_once_in(w, 8);
    org = l->foreign ? (c->request->org + 1) % ORGS : c->request->org;
    memory_scarce(w, true);
    orchestrator_get(w->process.o, org_of(org), slice_str(c->text), on_looked, l);
    memory_scarce(w, false);
}

/* Of the tree, what belongs to it still: the children of each one's last generation. */
static void check_tree_done(struct world *w, const struct record *r)
{
    CHECK(w, r->done, "a cancelled call takes its tree with it", "call %" PRIu64 " lives on",
          r->id);
    if (!r->outcome.cancelled)
        return;
    for (const struct record *child = r->children; child; child = child->sibling)
        if (child->parent_generation == r->generation)
            check_tree_done(w, child);
}

static void take_cancelled(struct look *l, const struct error *error)
{
    struct world *w = l->world;

    if (w->process.dead || w->process.ending)
        return;
    if (!error) {
        check_tree_done(w, l->record);
        return;
    }
    CHECK(w, error->code == CODE_FAILED_PRECONDITION || later(w, error),
          "an acknowledged call is known", "cancelling call %" PRIu64 " says %s", l->record->id,
          error->message);
    if (error->code == CODE_FAILED_PRECONDITION)
        CHECK(w, l->record->done, "what is told is durable", "call %" PRIu64 " is called done",
              l->record->id);
}

static void on_cancelled(void *arg, const struct error *error)
{
    struct look *l = arg;
    struct world *w = l->world;
    bool was = memory_scarce(w, false);

    take_cancelled(l, error);
    memory_scarce(w, was);
}

/* A root, or somebody below it. */
static void cancel(struct world *w)
{
    struct client_call *c = draw_call(w);
    struct record *r = c ? c->record : NULL;
    char text[ID_TEXT_LEN + 1];
    struct look *l;

    if (!r || !world_may(w, FAULT_CANCEL))
        return;
    while (r->children && world_once_in(w, 2))
        r = r->children;
    r->cancel_asked = true;
    for (struct record *up = ledger_find(w, r->parent); up; up = ledger_find(w, up->parent))
        up->tainted = true;
    id_format(text,
              (struct id_parts){.partition = PARTITION, .number = r->id, .tag = w->disk->tag});
    l = world_alloc(w, sizeof *l);
    l->world = w;
    l->record = r;
    trace(w, "client cancels call %" PRIu64, r->id);
    world_count(w, FAULT_CANCEL);
    memory_scarce(w, true);
    orchestrator_cancel(w->process.o, org_of(c->request->org), slice_str(text), on_cancelled, l);
    memory_scarce(w, false);
}

/* Loses patience with a call, for now. */
static void stop_waiting(struct world *w)
{
    struct client_call *c = draw_call(w);

    if (!c || !c->wait)
        return;
    orchestrator_wait_cancel(c->wait);
    c->wait = NULL;
    plan_wait(c);
}

static void turn(struct world *w, void *arg)
{
    uint64_t n = rand_below(&w->rand, 100);

    if (!w->to_dispatch)
        return;
    if (!process_serves(w))
        ; /* nobody there */
    else if (n < 50)
        dispatch(w);
    else if (n < 85)
        look(w);
    else if (n < 93)
        stop_waiting(w);
    else
        cancel(w);
    world_at(w, w->now + world_draw_ns(w, 20 * NS_PER_S), turn, arg);
}

void client_init(struct world *w)
{
    unsigned clients = (unsigned)rand_below(&w->rand, 4) + 1;

    w->to_dispatch = (unsigned)rand_below(&w->rand, 16) + 4;
    while (clients--)
        world_at(w, w->now + world_draw_ns(w, 5 * NS_PER_S), turn, NULL);
}
