// SPDX-License-Identifier: Apache-2.0
/*
 * What must hold when a run starts, whatever happened before: it is of a call that is durable, live
 * and not expired, in its present generation; nobody else runs it; it comes with the input, or with
 * the state of a poll that an endpoint has answered and a commit has recorded; the results with it
 * are those of its own children, durable, of this generation, and none that it had before; and it
 * is not early.
 */
#include <inttypes.h>

#include "sim/world.h"

#define RETRY_MIN_NS (100 * NS_PER_MS)
#define RETRY_MAX_NS (300 * NS_PER_S)

const struct program *delivery_program(struct world *w, struct record *r, uint64_t input)
{
    if (!r->program || r->program->input != input) {
        r->program = world_alloc(w, sizeof *r->program);
        program_make(r->program, input);
    }
    return r->program;
}

uint64_t delivery_state_hash(struct slice bytes, bool typed)
{
    return slice_hash(bytes, typed ? 11 : 12);
}

/* --- who it is -------------------------------------------------------------------------------- */

static uint64_t number_of(struct world *w, const char *text)
{
    struct id_parts parts;

    if (!text[0])
        return 0;
    CHECK(w, id_parse(slice_str(text), &parts) && parts.tag == w->tag, "ids are ours", "'%s'",
          text);
    return parts.number;
}

static struct record *check_identity(struct world *w, const struct orchestrator_run *run)
{
    const wire_run_request *q = run->request;
    uint64_t id = number_of(w, q->dispatch_id);
    struct record *r = ledger_find(w, id);
    char function[FUNCTION_NAME_MAX];

    CHECK(w, r && r->known, "what runs is durable", "call %" PRIu64 " runs and is not", id);
    CHECK(w, !r->done, "nothing runs after it is done", "call %" PRIu64, id);
    CHECK(w, world_time(w) < r->expires && run->expires == r->expires,
          "attempts stop at expiration", "call %" PRIu64, id);
    CHECK(w,
          number_of(w, q->parent_dispatch_id) == r->parent &&
              number_of(w, q->root_dispatch_id) == r->root &&
              wire_time_ns(q->creation_time) == r->created &&
              wire_time_ns(q->expiration_time) == r->expires,
          "ids and times go with every run", "call %" PRIu64, id);
    /* By any clock: once it is due, it stays so. */
    CHECK(w, w->latest >= r->not_before, "nothing starts before its time",
          "call %" PRIu64 " runs %" PRId64 " ns early", id, r->not_before - w->latest);
    CHECK(w, wire_time_ns(q->now) == world_time(w), "a run carries the clock", "call %" PRIu64, id);
    CHECK(w,
          slice_eq_str(run->org, org_names[r->org]) && endpoint_host(w, run->endpoint) == r->host,
          "a run goes where its call says", "call %" PRIu64, id);
    input_function(r->input, function);
    CHECK(w, slice_eq_str(slice_str(q->function), function), "a run is of the call's function",
          "call %" PRIu64 " is %s and runs as %s", id, function, q->function);
    return r;
}

/* --- when ------------------------------------------------------------------------------------- */

static void check_turn(struct world *w, struct record *r, const wire_run_request *q)
{
    uint32_t most = w->engine.window_max ? w->engine.window_max : 1024;
    uint32_t over_all = w->engine.runs_max ? w->engine.runs_max : 4096;

    CHECK(w, q->generation == r->generation && q->resume == r->resumes,
          "a run is of the present generation and resume",
          "call %" PRIu64 " is at %" PRIu32 "/%" PRIu32 " and runs as %" PRIu32 "/%" PRIu32, r->id,
          r->generation, r->resumes, q->generation, q->resume);
    CHECK(w, r->in_flight == 0, "a call has one run at a time", "call %" PRIu64 " has two", r->id);
    CHECK(w, endpoint_in_flight(w, r->org, r->host) < most, "windows are respected",
          "more than %" PRIu32 " runs of %s at host %u", most, org_names[r->org], r->host);
    CHECK(w, endpoints_in_flight(w) < over_all, "runs in flight have a limit over all",
          "more than %" PRIu32, over_all);
}

/* At least so long after its last failure, if the engine knows of it still. */
static void check_backoff(struct world *w, struct record *r)
{
    int64_t delay = RETRY_MIN_NS;

    if (!r->failures || r->failed_epoch != w->epoch)
        return;
    for (unsigned n = 1; n < r->failures && delay < RETRY_MAX_NS; n++)
        delay *= 2;
    if (delay > RETRY_MAX_NS)
        delay = RETRY_MAX_NS;
    CHECK(w, w->now - r->failed_at >= delay / 2, "timers are never early",
          "call %" PRIu64 " runs again after %" PRId64 " ns, after %u failures", r->id,
          w->now - r->failed_at, r->failures);
}

static void note_turn(struct record *r, const wire_run_request *q)
{
    struct sent_poll **at = &r->polls;

    if (r->run_generation == q->generation && r->run_resume == q->resume)
        return;
    r->run_generation = q->generation;
    r->run_resume = q->resume;
    r->failures = 0;
    while (*at) { /* polls that can never come back */
        if ((*at)->generation < q->generation || (*at)->resume + 1 < q->resume)
            *at = (*at)->next;
        else
            at = &(*at)->next;
    }
}

/* --- state and results ------------------------------------------------------------------------ */

static struct slice state_of(struct world *w, const struct record *r, const wire_poll_result *p,
                             bool typed)
{
    if (typed) {
        CHECK(w, p->state_case == DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE,
              "a state comes back as it was sent", "call %" PRIu64 ": another kind", r->id);
        return slice(p->typed_coroutine_state->value.data, p->typed_coroutine_state->value.len);
    }
    CHECK(w, p->state_case == DISPATCH__SDK__V1__POLL_RESULT__STATE_COROUTINE_STATE,
          "a state comes back as it was sent", "call %" PRIu64 ": another kind", r->id);
    return slice(p->coroutine_state.data, p->coroutine_state.len);
}

/* The poll that the state is of; of several that answered the same, the earliest. */
static const struct sent_poll *find_poll(struct world *w, const struct record *r,
                                         const wire_run_request *q, uint64_t hash)
{
    const struct sent_poll *found = NULL;

    for (const struct sent_poll *p = r->polls; p; p = p->next)
        if (p->generation == q->generation && p->resume + 1 == q->resume && p->hash == hash &&
            (!found || p->at < found->at))
            found = p;
    CHECK(w, found, "a state comes back as it was sent",
          "call %" PRIu64 " resumes with a state that nobody answered to its last run", r->id);
    return found;
}

static void take_result(struct world *w, const struct record *r, const wire_call_result *result,
                        struct delivery *d)
{
    uint64_t index = result->correlation_id - input_correlation(r->input);
    struct record *child = ledger_find(w, number_of(w, result->dispatch_id));
    struct outcome o = outcome_of(result);
    uint32_t bit;

    CHECK(w, index < d->program->child_count, "a parent gets no other's results",
          "call %" PRIu64 " got the unknown correlation id %" PRIx64, r->id,
          result->correlation_id);
    bit = 1u << index;
    CHECK(w, !(d->state.consumed & bit), "a parent gets each result once",
          "call %" PRIu64 " got that of its child %" PRIu64 " again", r->id, index);
    CHECK(w, !(d->state.given_up & bit), "what was given up brings nothing",
          "call %" PRIu64 " got the result of child %" PRIu64, r->id, index);
    CHECK(w, d->state.outstanding & bit, "a parent gets no other's results",
          "call %" PRIu64 " got the result of child %" PRIu64 ", which it has not called", r->id,
          index);
    CHECK(w,
          child && child->parent == r->id && child->correlation_id == result->correlation_id &&
              child->parent_generation == r->generation,
          "a parent gets the results of its own generation", "call %" PRIu64 " got one of %" PRIu64,
          r->id, child ? child->id : 0);
    ledger_check_told(w, child, &o, "its parent");
    d->state.outstanding &= ~bit;
    d->state.consumed |= bit;
    d->state.sum += child_worth(d->program, (unsigned)index, &o);
    d->failed |= o.status != STATUS_OK;
}

static uint32_t clamp(const struct world *w, int32_t n)
{
    uint32_t most = w->engine.results_max ? w->engine.results_max : 1000;

    return n < 1 ? 1 : (uint32_t)n > most ? most : (uint32_t)n;
}

/* That it does not resume before it has what it polled for. */
static void check_resume_time(struct world *w, const struct record *r, const struct sent_poll *p,
                              uint32_t outstanding, const struct delivery *d, size_t results)
{
    uint32_t least = clamp(w, p->op->min), most = clamp(w, p->op->max);
    bool waited = p->op->wait_ns >= 0 && w->latest - p->at >= p->op->wait_ns;

    if (w->wrong && r->ever_stalled) /* it waits since there was room, by whoever's clock */
        waited = p->op->wait_ns >= 0;
    CHECK(w, results <= most, "limits are respected", "call %" PRIu64 " got %zu results", r->id,
          results);
    if (p->op->wait_ns == 0)
        return;
    if (!outstanding) {
        CHECK(w, p->op->wait_ns < 0 || waited, "timers are never early",
              "call %" PRIu64 " slept %" PRId64 " of %" PRId64 " ns", r->id, w->latest - p->at,
              p->op->wait_ns);
        return;
    }
    if (least > most)
        least = most;
    if (least > (uint32_t)__builtin_popcount(outstanding))
        least = (uint32_t)__builtin_popcount(outstanding);
    if (w->engine.results_bytes_max || p->too_large)
        least = 1;
    if (p->op->wake_on_error && d->failed && results < least && !waited) {
        w->totals.early_wakes++;
        return;
    }
    CHECK(w, waited || results >= least, "a poll resumes when it has what it waits for",
          "call %" PRIu64 " resumed with %zu results of %" PRIu32, r->id, results, least);
}

/* A poll that is fine, and comes too late: what it asks for would be after the expiration. */
static bool may_refuse(const struct world *w, const struct record *r, const struct sent_poll *p)
{
    if (p->op->kind == OP_SLEEP || p->op->kind == OP_DROP)
        return time_add(w->latest, p->op->wait_ns) > r->expires;
    for (unsigned i = 0; i < p->op->count; i++)
        if (w->latest + input_delay_ns(p->program->children[p->op->first + i]) >= r->expires)
            return true;
    return false;
}

/* Whether the poll was refused: a bad one always, a sleep past the expiration too. */
static bool check_refusal(struct world *w, const struct record *r, const struct sent_poll *p,
                          const wire_poll_result *result)
{
    bool refused = result->error != NULL;

    if (!refused || p->op->kind == OP_BAD) {
        CHECK(w, refused || p->op->kind != OP_BAD, "an invalid poll is refused", "call %" PRIu64,
              r->id);
        return refused;
    }
    CHECK(w, may_refuse(w, r, p), "a valid poll is accepted", "call %" PRIu64 ": %s: %s", r->id,
          result->error->type, result->error->message);
    return refused;
}

static void check_resume(struct world *w, struct record *r, const wire_run_request *q,
                         struct delivery *d)
{
    const wire_poll_result *p = q->poll_result;
    struct slice bytes = state_of(w, r, p, d->program->typed_state);
    const struct sent_poll *sent;
    uint32_t outstanding;

    CHECK(w, script_state_decode(bytes, &d->state) && d->state.input == r->input,
          "a state comes back as it was sent", "call %" PRIu64 " has another's", r->id);
    sent = find_poll(w, r, q, delivery_state_hash(bytes, d->program->typed_state));
    d->refused = check_refusal(w, r, sent, p);
    d->bytes = bytes;
    outstanding = d->state.outstanding;
    for (size_t i = 0; i < p->n_results; i++)
        take_result(w, r, p->results[i], d);
    if (!d->refused)
        check_resume_time(w, r, sent, outstanding, d, p->n_results);
}

static void check_first(struct world *w, const struct record *r, const wire_run_request *q)
{
    uint64_t input;

    CHECK(w, any_read(q->input, INPUT_TYPE, &input) && input == r->input,
          "a call runs with its input", "call %" PRIu64, r->id);
}

void delivery_check(struct world *w, const struct orchestrator_run *run, struct delivery *d)
{
    const wire_run_request *q = run->request;
    struct record *r = check_identity(w, run);

    CHECK(w, r->host != HOST_OUTSIDE, "nobody runs what is completed from outside", "call %" PRIu64,
          r->id);
    CHECK(w, process_leads(w->node), "only who has the lease hands out runs",
          "call %" PRIu64 " runs in epoch %" PRIu64 "; it is %" PRIu64, r->id, w->node->epoch,
          w->epoch);
    check_turn(w, r, q);
    check_backoff(w, r);
    note_turn(r, q);
    *d = (struct delivery){.record = r, .program = delivery_program(w, r, r->input)};
    d->first = q->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT;
    CHECK(w, d->first == (q->resume == 0), "only a first run has the input", "call %" PRIu64,
          r->id);
    if (d->first)
        outside_too_soon(w, r, d->program);
    if (d->first)
        check_first(w, r, q);
    else
        check_resume(w, r, q, d);
}

void delivery_poll_sent(struct world *w, struct record *r, const wire_run_request *q,
                        const struct script_state *state, const struct op *op, uint64_t hash)
{
    struct sent_poll *p = world_alloc(w, sizeof *p);

    p->generation = q->generation;
    p->resume = q->resume;
    p->hash = hash;
    p->at = world_time(w);
    p->op = op;
    p->outstanding = state->outstanding;
    p->program = r->program;
    if (op->kind == OP_DROP) {
        r->given_up = state->given_up;
        r->given_up_generation = q->generation;
        r->given_up_resume = q->resume;
    }
    p->next = r->polls;
    r->polls = p;
}
