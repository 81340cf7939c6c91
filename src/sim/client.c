// SPDX-License-Identifier: Apache-2.0
/*
 * The clients: they dispatch, and wait for what was acknowledged until they have its result. A
 * client that is told "unavailable" or nothing does not know; if its request had an idempotency key
 * it may send it again, and now and then it does so for no reason. What it was told once it holds
 * the orchestrator to.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/world.h"

#define TEMP_MAX ((size_t)16 << 20)

const char *const org_names[ORGS] = {"acme", "umbrella"};

struct slice client_org(unsigned org)
{
    return slice_str(org_names[org]);
}

bool client_strays(const struct world *w)
{
    return w->hasty && !process_leads(w->node);
}

bool client_later(const struct world *w, const struct error *error)
{
    return error->code == CODE_UNAVAILABLE || client_strays(w) ||
           (error->code == CODE_RESOURCE_EXHAUSTED &&
            (world_may(w, FAULT_NO_MEMORY) || w->engine.live_max || w->retention.bytes));
}

/* --- results ---------------------------------------------------------------------------------- */

void client_check_info(struct world *w, const struct record *r, const Dispatch__V1__CallInfo *info,
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

/* It was removed: only who came back too late may be told so. */
static bool is_gone(struct client_call *c, const struct error *error)
{
    struct world *w = c->request->world;

    if (!removal_explains(w, c->record, error))
        return false;
    CHECK(w, !c->early, "who waits for a call gets its result", "call %" PRIu64, c->id);
    c->told = true;
    w->untold--;
    return true;
}

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
    if (!w->node->dead && !w->node->ending && error && is_gone(c, error))
        return;
    if (w->node->dead || w->node->ending || error) {
        CHECK(w, !error || client_later(w, error), "an acknowledged call is known",
              "a wait for call %" PRIu64 " says %s", c->id, error->message);
        plan_wait(c);
        return;
    }
    client_check_info(w, c->record, info, "a client");
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
    c->early = !c->record->done;
    memory_scarce(w, true);
    wait = orchestrator_wait(w->node->o, client_org(c->request->org), slice_str(c->text), limit,
                             on_result, c);
    memory_scarce(w, false);
    if (wait) /* else it was answered within */
        c->wait = wait;
}

static void wait_again(struct world *w, void *arg)
{
    struct client_call *c = arg;

    if (process_draw(w))
        wait_now(c);
    else
        plan_wait(c);
}

/* --- dispatching ------------------------------------------------------------------------------ */

/* A request on its way; one with a key may be on its way several times. */
struct sending {
    struct batch_request *request;
    bool inside; /* orchestrator_dispatch has not returned yet */
};

static struct record *record_of(struct world *w, const char *text)
{
    struct id_parts parts;
    struct record *r;

    CHECK(w, id_parse(slice_str(text), &parts), "ids are ours", "'%s'", text);
    r = ledger_find(w, parts.number);
    CHECK(w, r && r->known, "no acknowledged call is lost",
          "call %" PRIu64 " is acknowledged and not durable", parts.number);
    return r;
}

static void take_id(struct world *w, struct client_call *c, const char *text)
{
    struct record *r = record_of(w, text);
    bool again = c->id && c->record != r;

    CHECK(w, r->made_with == c->input && r->org == c->request->org,
          "who asks is told of the own calls", "call %" PRIu64 " is another's", r->id);
    CHECK(w, !again || (c->request->key && r->created - c->record->created >= KEY_LIFE_NS),
          "a key is answered with the same ids", "call %" PRIu64 " and %" PRIu64, c->id, r->id);
    if (!c->id) {
        w->untold++;
        w->totals.acknowledged++;
    }
    if (c->id && !again)
        return;
    if (!again || c->told) { /* else who waits goes on to do so for the first */
        c->record = r;
        c->id = r->id;
        snprintf(c->text, sizeof c->text, "%s", text);
    }
}

static void on_refused(struct world *w, const struct sending *s, const struct error *error)
{
    struct batch_request *q = s->request;
    bool open = orchestrator_ready(w->node->o) && !w->node->stopping;

    trace(w, "dispatch refused: %s", code_name(error->code));
    if (error->code == CODE_RESOURCE_EXHAUSTED && strstr(error->message, "finished calls"))
        world_count(w, FAULT_NO_ROOM);
    else if (error->code == CODE_RESOURCE_EXHAUSTED && w->engine.live_max)
        world_count(w, FAULT_FULL);
    if (error->code == CODE_ALREADY_EXISTS) {
        CHECK(w, q->key && (q->bad || q->key->requests > 1), "a refusal says why", "%s",
              error->message);
        return;
    }
    if (q->bad && (s->inside ? open : error->code == CODE_INVALID_ARGUMENT))
        CHECK(w, error->code == CODE_INVALID_ARGUMENT || client_later(w, error),
              "a refusal says why", "%s: %s", code_name(error->code), error->message);
    else
        CHECK(w, client_later(w, error), "a refusal says why", "%s: %s", code_name(error->code),
              error->message);
    if (q->state == REQUEST_ACKNOWLEDGED)
        return;
    if (!s->inside || q->key) {
        q->state = REQUEST_UNKNOWN;
        return;
    }
    q->state = REQUEST_REFUSED;
    CHECK(w, !q->commit, "what was refused is not made", "%u calls", q->made);
    w->totals.refused++;
}

static void acknowledge(struct batch_request *q)
{
    struct world *w = q->world;
    bool first = q->state != REQUEST_ACKNOWLEDGED;

    q->state = REQUEST_ACKNOWLEDGED;
    trace(w, "dispatch acknowledged: %u calls from %" PRIu64, q->count, q->calls[0].id);
    if (world_may(w, FAULT_CRASH_ACK) && world_once_in(w, 30))
        process_die(w, FAULT_CRASH_ACK);
    for (unsigned i = 0; i < q->count && first; i++)
        plan_wait(&q->calls[i]);
}

static void take_response(const struct sending *s, const struct error *error,
                          const wire_dispatch_response *response)
{
    struct batch_request *q = s->request;
    struct world *w = q->world;

    if (w->node->dead || w->node->ending) {
        if (q->state != REQUEST_ACKNOWLEDGED)
            q->state = REQUEST_UNKNOWN;
        return;
    }
    if (error) {
        on_refused(w, s, error);
        return;
    }
    CHECK(w, !q->bad && response->n_dispatch_ids == q->count, "a dispatch returns its ids",
          "%zu of %u", response->n_dispatch_ids, q->count);
    for (unsigned i = 0; i < q->count; i++)
        take_id(w, &q->calls[i], response->dispatch_ids[i]);
    acknowledge(q);
}

static void on_dispatched(void *arg, const struct error *error,
                          const wire_dispatch_response *response)
{
    const struct sending *s = arg;
    struct world *w = s->request->world;
    bool was = memory_scarce(w, false);

    take_response(s, error, response);
    memory_scarce(w, was);
}

/* Of a request that was dispatched and waited for in one. */
static void take_called(const struct sending *s, const struct error *error,
                        const Dispatch__V1__CallInfo *info)
{
    struct batch_request *q = s->request;
    struct world *w = q->world;

    if (error && q->key && !w->node->dead && !w->node->ending &&
        removal_explains(w, q->calls[0].record, error))
        return;
    if (error || w->node->dead || w->node->ending) {
        take_response(s, error, NULL);
        return;
    }
    CHECK(w, !q->bad, "what is invalid is refused", "%s", info->dispatch_id);
    take_id(w, &q->calls[0], info->dispatch_id);
    client_check_info(w, record_of(w, info->dispatch_id), info, "who called");
    acknowledge(q);
}

static void on_called(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    const struct sending *s = arg;
    struct world *w = s->request->world;
    bool was = memory_scarce(w, false);

    take_called(s, error, info);
    memory_scarce(w, was);
}

static wire_call *make_call(struct world *w, struct arena *a, const struct client_call *c)
{
    wire_call *call = temp_alloc(w, a, sizeof *call);
    char text[URL_MAX > FUNCTION_NAME_MAX ? URL_MAX : FUNCTION_NAME_MAX];

    dispatch__sdk__v1__call__init(call);
    input_function(c->input, text);
    call->function = temp_text(w, a, text);
    if (input_class(c->input) == CLASS_EVENT) {
        outside_set(w, a, call, c->input);
    } else {
        endpoint_url(input_host(c->input), text);
        call->endpoint = temp_text(w, a, text);
    }
    call->input = any_make(w, a, INPUT_TYPE, c->input);
    call->correlation_id = 99; /* to be ignored */
    if (c->expiration_ns) {
        call->expiration = temp_alloc(w, a, sizeof *call->expiration);
        google__protobuf__duration__init(call->expiration);
        wire_set_duration(call->expiration, c->expiration_ns);
    }
    call->priority = input_priority(c->input);
    if (c->not_before) {
        call->not_before = temp_alloc(w, a, sizeof *call->not_before);
        google__protobuf__timestamp__init(call->not_before);
        wire_set_time(call->not_before, c->not_before);
    }
    return call;
}

static void spoil(struct world *w, struct arena *a, wire_call *call)
{
    switch (rand_below(&w->rand, 4)) {
    case 0:
        call->endpoint = temp_text(w, a, "");
        break;
    case 1:
        call->function = temp_text(w, a, "9to5");
        break;
    case 2: /* it would start when it has expired */
        call->not_before = temp_alloc(w, a, sizeof *call->not_before);
        google__protobuf__timestamp__init(call->not_before);
        wire_set_time(call->not_before, w->now + 400 * 24 * 3600 * NS_PER_S);
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

static struct batch_request *make_request(struct world *w, unsigned org)
{
    struct batch_request *q = world_alloc(w, sizeof *q);

    q->world = w;
    q->next = w->requests;
    w->requests = q;
    q->org = org;
    return q;
}

void client_adopt(struct world *w, unsigned org, const char *id)
{
    struct batch_request *q = make_request(w, org);
    struct client_call *c = &q->calls[0];
    struct record *r = record_of(w, id);

    q->count = 1;
    c->request = q;
    c->input = r->made_with;
    take_id(w, c, id);
    acknowledge(q);
}

static struct client_key *make_key(struct world *w, unsigned org)
{
    struct client_key *key = world_alloc(w, sizeof *key);
    unsigned n = w->keys ? (unsigned)strtoul(w->keys->text + 1, NULL, 10) + 1 : 1;

    key->next = w->keys;
    w->keys = key;
    key->org = org;
    snprintf(key->text, sizeof key->text, "k%u", n);
    return key;
}

static struct batch_request *draw_request(struct world *w, struct client_key *key)
{
    struct batch_request *q =
        make_request(w, key ? key->org : (unsigned)rand_below(&w->rand, ORGS));

    q->key = key ? key : world_once_in(w, 2) ? make_key(w, q->org) : NULL;
    if (q->key)
        q->key->requests++;
    q->by_call = world_once_in(w, 8);
    q->count =
        q->by_call || world_once_in(w, 2) ? 1 : (unsigned)rand_below(&w->rand, BATCH_CALLS) + 1;
    q->bad = world_once_in(w, 16);
    q->patience = world_once_in(w, 2) ? -1 : world_draw_ns(w, 20 * NS_PER_S) - 1;
    for (unsigned i = 0; i < q->count; i++) {
        struct client_call *c = &q->calls[i];
        uint64_t n = rand_below(&w->rand, 100);

        c->request = q;
        c->input = input_make(&w->rand,
                              n < 4    ? CLASS_DOOMED
                              : n < 7  ? CLASS_EVENT
                              : n < 12 ? CLASS_RISKY
                                       : CLASS_PLAIN,
                              draw_depth(w));
        c->expiration_ns = input_expiration_ns(c->input);
        if (input_delay_ns(c->input))
            c->not_before = w->now + input_delay_ns(c->input);
        CHECK(w, map_set(&w->inputs, c->input, c), "there is memory", "for a call");
    }
    return q;
}

static void hand_over(struct sending *s, const wire_dispatch_request *message)
{
    struct batch_request *q = s->request;
    struct orchestrator *o = q->world->node->o;
    struct slice org = client_org(q->org), key = slice_str(q->key ? q->key->text : "");

    if (!q->key)
        key = (struct slice){0};
    s->inside = true;
    memory_scarce(q->world, true);
    if (q->by_call && q->key)
        orchestrator_call_keyed(o, org, key, message->calls[0], q->patience, on_called, s);
    else if (q->by_call)
        orchestrator_call(o, org, message->calls[0], q->patience, on_called, s);
    else if (q->key)
        orchestrator_dispatch_keyed(o, org, key, message, on_dispatched, s);
    else
        orchestrator_dispatch(o, org, message, on_dispatched, s);
    memory_scarce(q->world, false);
    s->inside = false;
}

static void send_request(struct world *w, struct batch_request *q)
{
    wire_dispatch_request message = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    struct sending *s = world_alloc(w, sizeof *s);
    wire_call *calls[BATCH_CALLS];
    struct arena arena;

    s->request = q;
    arena_init(&arena, TEMP_MAX);
    for (unsigned i = 0; i < q->count; i++)
        calls[i] = make_call(w, &arena, &q->calls[i]);
    if (q->bad)
        spoil(w, &arena, calls[rand_below(&w->rand, q->count)]);
    message.calls = calls;
    message.n_calls = q->count;
    trace(w, "dispatch of %u calls, key %s", q->count, q->key ? q->key->text : "none");
    hand_over(s, &message);
    arena_reset(&arena);
}

static void dispatch(struct world *w, struct client_key *key)
{
    struct batch_request *q = draw_request(w, key);

    w->to_dispatch--;
    w->totals.dispatched += q->count;
    send_request(w, q);
}

/* A request with a key once more, or another one under its key. */
static void dispatch_again(struct world *w)
{
    struct batch_request *q, *found = NULL;
    uint64_t seen = 0;

    for (q = w->requests; q; q = q->next)
        if (q->key && world_once_in(w, ++seen))
            found = q;
    if (!found)
        return;
    if (world_once_in(w, 6)) {
        world_count(w, FAULT_KEY_TAKEN);
        dispatch(w, found->key);
    } else {
        world_count(w, FAULT_ASKED_AGAIN);
        send_request(w, found);
    }
}

/* One that was acknowledged, or NULL. */
struct client_call *client_draw_call(struct world *w)
{
    struct client_call *found = NULL;
    uint64_t seen = 0;

    for (struct batch_request *q = w->requests; q; q = q->next)
        for (unsigned i = 0; q->state == REQUEST_ACKNOWLEDGED && i < q->count; i++)
            if (world_once_in(w, ++seen))
                found = &q->calls[i];
    return found;
}

/* --- turns
 * ---------------------------------------------------------------------------------------- */

/* Loses patience with a call, for now. */
static void stop_waiting(struct world *w)
{
    struct client_call *c = client_draw_call(w);

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
    if (!process_draw(w))
        ; /* nobody there */
    else if (n < 50)
        dispatch(w, NULL);
    else if (n < 65)
        dispatch_again(w);
    else if (n < 85)
        hand_look(w);
    else if (n < 90)
        stop_waiting(w);
    else if (n < 93)
        hand_restart(w);
    else if (n < 96)
        hand_retry(w);
    else
        hand_cancel(w);
    world_at(w, w->now + world_draw_ns(w, 20 * NS_PER_S), turn, arg);
}

void client_init(struct world *w)
{
    unsigned clients = (unsigned)rand_below(&w->rand, 4) + 1;

    w->to_dispatch = (unsigned)rand_below(&w->rand, 16) + 4;
    while (clients--)
        world_at(w, w->now + world_draw_ns(w, 5 * NS_PER_S), turn, NULL);
}
