// SPDX-License-Identifier: Apache-2.0
/*
 * The endpoints, and the network on the way there. A run goes out, arrives some time later, is
 * executed, and its answer goes back: on each leg it may be lost, doubled or late, the host may be
 * down or slow, and the orchestrator may have died or given the run up meanwhile. What was executed
 * for nothing stays executed: functions count their failures whoever hears of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/world.h"

#define RUN_TIMEOUT_NS (60 * NS_PER_S)
#define TEMP_MAX       ((size_t)16 << 20)

/* How a run went, once it was executed or lost. */
enum verdict { VERDICT_NONE, VERDICT_FAILS, VERDICT_ACTS, VERDICT_TRANSPORT, VERDICT_GONE };

/* One run, from its start until it is answered and nothing of it is under way any more. */
struct flight {
    struct list link; /* in world.flights */
    struct world *world;
    struct orchestrator_run *run; /* NULL: answered, or given up */
    struct delivery delivery;
    unsigned org, host;
    uint64_t epoch;
    int64_t started;
    bool given_up; /* cancelled, and not answered yet */
    bool doubled, answer_lost, lost, too_large;

    enum verdict verdict;
    enum status status; /* of FAILS and TRANSPORT */
    struct script_state state;
    struct action action;
};

/* --- small things ----------------------------------------------------------------------------- */

void endpoint_url(unsigned host, char url[URL_MAX])
{
    snprintf(url, URL_MAX, "http://e%u.sim:8000/functions", host);
}

unsigned endpoint_host(struct world *w, struct slice endpoint)
{
    char url[URL_MAX];

    for (unsigned i = 0; i < HOSTS; i++) {
        endpoint_url(i, url);
        if (slice_eq_str(endpoint, url))
            return i;
    }
    sim_fail(w, "rows can be read", "endpoint '%.*s'", SLICE_FMT(endpoint));
}

unsigned endpoint_in_flight(const struct world *w, unsigned org, unsigned host)
{
    unsigned n = 0;

    for (struct list *it = w->flights.next; it != &w->flights; it = it->next) {
        const struct flight *f = LIST_ENTRY(it, struct flight, link);

        n += f->run && f->epoch == w->epoch && f->org == org && f->host == host;
    }
    return n;
}

void *temp_alloc(struct world *w, struct arena *arena, size_t size)
{
    void *p = arena_zalloc(arena, 1, size);

    CHECK(w, p, "there is memory", "%zu bytes", size);
    return p;
}

char *temp_text(struct world *w, struct arena *arena, const char *text)
{
    char *copy = arena_dup(arena, slice_str(text));

    CHECK(w, copy, "there is memory", "for a text");
    return copy;
}

static wire_any *any_bytes(struct world *w, struct arena *arena, const char *type,
                           struct slice bytes)
{
    wire_any *any = temp_alloc(w, arena, sizeof *any);

    google__protobuf__any__init(any);
    any->type_url = temp_text(w, arena, type);
    any->value.data = temp_alloc(w, arena, bytes.len + 1);
    any->value.len = bytes.len;
    if (bytes.len)
        memcpy(any->value.data, bytes.data, bytes.len);
    return any;
}

wire_any *any_make(struct world *w, struct arena *arena, const char *type, uint64_t number)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
    return any_bytes(w, arena, type, slice(bytes, sizeof bytes));
}

bool any_read(const wire_any *any, const char *type, uint64_t *number)
{
    struct slice bytes;

    if (!any || strcmp(any->type_url, type) != 0)
        return false;
    bytes = slice(any->value.data, any->value.len);
    return slice_get_u64(&bytes, number) && !bytes.len;
}

static bool host_is_down(const struct flight *f)
{
    return f->world->hosts[f->host].down_until > f->world->now;
}

static int64_t latency(struct flight *f)
{
    struct world *w = f->world;
    int64_t ns = world_draw_ns(w, 2 * NS_PER_S);

    if (w->hosts[f->host].slow_until > w->now)
        ns += world_draw_ns(w, 50 * NS_PER_S);
    return ns;
}

/* --- executing -------------------------------------------------------------------------------- */

/* Whether this run of the call fails, by its program. */
static bool fails_now(struct flight *f)
{
    const struct program *p = f->delivery.program;
    struct record *r = f->delivery.record;

    if (r->failed_input != p->input) {
        r->failed_input = p->input;
        r->failed = r->incompatible = 0;
    }
    if (!f->delivery.first && r->incompatible < p->incompatible) {
        r->incompatible++;
        f->status = STATUS_INCOMPATIBLE_STATE;
        world_count(f->world, FAULT_INCOMPATIBLE);
        return true;
    }
    if (r->failed >= p->fails || (f->delivery.first && p->fail_from))
        return false;
    f->status = p->fail_status[r->failed++ % 4];
    world_count(f->world, FAULT_FLAKY);
    return true;
}

static void execute(struct flight *f)
{
    if (fails_now(f)) {
        f->verdict = VERDICT_FAILS;
        return;
    }
    f->verdict = VERDICT_ACTS;
    f->state = f->delivery.state;
    script_advance(f->delivery.program, &f->state, f->delivery.first, &f->action);
}

/* --- responses -------------------------------------------------------------------------------- */

static wire_exit *make_exit(struct world *w, struct arena *a, wire_run_response *response)
{
    wire_exit *exit = temp_alloc(w, a, sizeof *exit);

    dispatch__sdk__v1__exit__init(exit);
    response->directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response->exit = exit;
    return exit;
}

static wire_error *make_error(struct world *w, struct arena *a)
{
    wire_error *e = temp_alloc(w, a, sizeof *e);

    dispatch__sdk__v1__error__init(e);
    e->type = temp_text(w, a, "sim");
    e->message = temp_text(w, a, "it was to fail");
    return e;
}

static void respond_failure(struct flight *f, struct arena *a, wire_run_response *response)
{
    wire_call_result *result;

    response->status = (Dispatch__Sdk__V1__Status)f->status;
    if (world_once_in(f->world, 2))
        return;
    result = temp_alloc(f->world, a, sizeof *result);
    dispatch__sdk__v1__call_result__init(result);
    result->error = make_error(f->world, a);
    if (world_once_in(f->world, 3)) /* of a retry: to be dropped */
        result->output = any_make(f->world, a, VALUE_TYPE, 666);
    make_exit(f->world, a, response)->result = result;
}

static void respond_exit(struct flight *f, struct arena *a, wire_run_response *response)
{
    const struct program *p = f->delivery.program;
    wire_call_result *result = temp_alloc(f->world, a, sizeof *result);

    response->status = (Dispatch__Sdk__V1__Status)p->status;
    dispatch__sdk__v1__call_result__init(result);
    if (p->with_output)
        result->output = any_make(f->world, a, VALUE_TYPE,
                                  (uint64_t)(p->value + (p->with_sum ? f->state.sum : 0)));
    if (p->fate == FATE_FAIL && p->with_error)
        result->error = make_error(f->world, a);
    make_exit(f->world, a, response)->result = result;
}

static wire_call *make_call(struct world *w, struct arena *a, uint64_t input)
{
    wire_call *call = temp_alloc(w, a, sizeof *call);
    char function[FUNCTION_NAME_MAX];

    dispatch__sdk__v1__call__init(call);
    input_function(input, function);
    call->function = temp_text(w, a, function);
    call->input = any_make(w, a, INPUT_TYPE, input);
    if (input_expiration_ns(input)) {
        call->expiration = temp_alloc(w, a, sizeof *call->expiration);
        google__protobuf__duration__init(call->expiration);
        wire_set_duration(call->expiration, input_expiration_ns(input));
    }
    return call;
}

static void respond_tail(struct flight *f, struct arena *a, wire_run_response *response)
{
    response->status = (Dispatch__Sdk__V1__Status)f->delivery.program->status;
    make_exit(f->world, a, response)->tail_call = make_call(f->world, a, f->delivery.program->tail);
}

static void add_children(struct flight *f, struct arena *a, wire_poll *poll)
{
    const struct program *p = f->delivery.program;
    const struct op *op = f->action.op;
    char url[URL_MAX];

    poll->calls = temp_alloc(f->world, a, op->count * sizeof *poll->calls);
    poll->n_calls = op->count;
    for (unsigned i = 0; i < op->count; i++) {
        unsigned index = op->first + i;

        poll->calls[i] = make_call(f->world, a, p->children[index]);
        poll->calls[i]->correlation_id = input_correlation(p->input) + index;
        if (!(p->child_hosts >> index & 1))
            continue;
        endpoint_url(input_host(p->children[index]), url);
        poll->calls[i]->endpoint = temp_text(f->world, a, url);
    }
}

/* More calls than the limits of this history allow. */
static void add_many_calls(struct flight *f, struct arena *a, wire_poll *poll)
{
    struct world *w = f->world;

    poll->n_calls = CHILDREN_MAX + 1;
    poll->calls = temp_alloc(w, a, poll->n_calls * sizeof *poll->calls);
    for (unsigned i = 0; i < poll->n_calls; i++)
        poll->calls[i] = make_call(w, a, f->delivery.program->input ^ i);
    world_count(w, FAULT_LIMIT);
}

/* Two calls, of which one cannot be accepted. */
static void add_bad_calls(struct flight *f, struct arena *a, wire_poll *poll)
{
    struct world *w = f->world;
    wire_call *bad = make_call(w, a, f->delivery.program->input ^ 1);

    poll->calls = temp_alloc(w, a, 2 * sizeof *poll->calls);
    poll->n_calls = 2;
    poll->calls[0] = make_call(w, a, f->delivery.program->input ^ 2);
    poll->calls[1] = bad;
    switch (rand_below(&w->rand, 4)) {
    case 0:
        bad->function = temp_text(w, a, "no function, this");
        break;
    case 1:
        bad->endpoint = temp_text(w, a, "gopher://e0.sim");
        break;
    case 2:
        bad->expiration = temp_alloc(w, a, sizeof *bad->expiration);
        google__protobuf__duration__init(bad->expiration);
        wire_set_duration(bad->expiration, -NS_PER_S);
        break;
    default:
        bad->function = temp_text(w, a, "");
        break;
    }
    world_count(w, FAULT_BAD_POLL);
}

static void set_state(struct flight *f, struct arena *a, wire_poll *poll)
{
    bool typed = f->delivery.program->typed_state;
    struct buf bytes;
    wire_any *any;

    buf_init(&bytes, 4096);
    script_state_encode(&f->state, &bytes);
    CHECK(f->world, !bytes.failed, "there is memory", "for a state");
    any = any_bytes(f->world, a, STATE_TYPE, buf_slice(&bytes));
    delivery_poll_sent(f->world, f->delivery.record, f->run->request, f->action.op,
                       delivery_state_hash(buf_slice(&bytes), typed));
    buf_free(&bytes);
    if (typed) {
        poll->state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
        poll->typed_coroutine_state = any;
    } else {
        poll->state_case = DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE;
        poll->coroutine_state = any->value;
    }
}

static void respond_poll(struct flight *f, struct arena *a, wire_run_response *response)
{
    const struct op *op = f->action.op;
    wire_poll *poll = temp_alloc(f->world, a, sizeof *poll);

    dispatch__sdk__v1__poll__init(poll);
    response->status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response->directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response->poll = poll;
    poll->min_results = op->min;
    poll->max_results = op->max;
    if (op->wait_ns >= 0) {
        poll->max_wait = temp_alloc(f->world, a, sizeof *poll->max_wait);
        google__protobuf__duration__init(poll->max_wait);
        wire_set_duration(poll->max_wait, op->wait_ns);
    }
    if (op->kind == OP_SPAWN)
        add_children(f, a, poll);
    else if (op->kind == OP_BAD && (f->world->engine.calls_max || f->world->engine.outstanding_max))
        add_many_calls(f, a, poll);
    else if (op->kind == OP_BAD)
        add_bad_calls(f, a, poll);
    set_state(f, a, poll);
}

static void respond(struct flight *f, struct arena *a, wire_run_response *response)
{
    dispatch__sdk__v1__run_response__init(response);
    if (f->verdict == VERDICT_FAILS)
        respond_failure(f, a, response);
    else if (f->action.kind == ACTION_EXIT)
        respond_exit(f, a, response);
    else if (f->action.kind == ACTION_TAIL)
        respond_tail(f, a, response);
    else
        respond_poll(f, a, response);
}

/* --- answering -------------------------------------------------------------------------------- */

/* What the answer says of the backoff before the next run, at least. */
static void note_answer(struct flight *f)
{
    struct record *r = f->delivery.record;
    bool acts = f->verdict == VERDICT_ACTS;
    bool again = acts && f->action.kind == ACTION_TAIL;

    if (f->given_up || f->epoch != f->world->epoch)
        return;
    if (r->failed_epoch != f->epoch) /* counts that were not committed are forgotten */
        r->failures = 0;
    r->failed_at = f->world->now;
    r->failed_epoch = f->epoch;
    if (again)
        r->failures = status_is_temporary(f->delivery.program->status) ? 1 : 0;
    else if (acts)
        r->failures = 0;
    else if (f->verdict == VERDICT_FAILS && f->status == STATUS_INCOMPATIBLE_STATE)
        r->failures = 1;
    else
        r->failures++;
}

/* The run leaves our hands. */
static struct orchestrator_run *let_go(struct flight *f)
{
    struct orchestrator_run *run = f->run;

    if (!f->given_up)
        f->delivery.record->in_flight--;
    f->run = NULL;
    return run;
}

static void give_up(struct flight *f)
{
    bool was = memory_scarce(f->world, true);

    world_count(f->world, FAULT_RUN_GIVEN_UP);
    orchestrator_run_gone(let_go(f));
    memory_scarce(f->world, was);
}

static void answer_transport(struct flight *f)
{
    struct run_failure failure = {.status = f->status,
                                  .type = "transport",
                                  .message = "simulated",
                                  .transport = !f->too_large,
                                  .too_large = f->too_large};
    struct record *r = f->delivery.record;
    bool was;

    for (struct sent_poll *p = r->polls; p && f->too_large; p = p->next)
        p->too_large = true;
    note_answer(f);
    f->world->process.failing = true;
    was = memory_scarce(f->world, true);
    orchestrator_run_failed(let_go(f), &failure);
    memory_scarce(f->world, was);
    f->world->process.failing = false;
}

static void answer_response(struct flight *f)
{
    wire_run_response response;
    struct arena arena;
    bool was;

    arena_init(&arena, TEMP_MAX);
    respond(f, &arena, &response);
    note_answer(f);
    f->world->process.failing = f->verdict == VERDICT_FAILS;
    was = memory_scarce(f->world, true);
    orchestrator_run_answered(let_go(f), &response);
    memory_scarce(f->world, was);
    f->world->process.failing = false;
    arena_reset(&arena);
}

static void answer(struct world *w, void *arg)
{
    struct flight *f = arg;

    if (!f->run || w->process.dead) {
        world_count(w, FAULT_ANSWER_LATE);
        if (!f->run) {
            list_remove(&f->link);
            return;
        }
    }
    trace(w, "host %u answers the run of call %" PRIu64, f->host, f->delivery.record->id);
    switch (f->verdict) {
    case VERDICT_GONE:
        give_up(f);
        break;
    case VERDICT_TRANSPORT:
        answer_transport(f);
        break;
    default:
        answer_response(f);
        break;
    }
    list_remove(&f->link);
}

static void fail_transport(struct flight *f, enum status status, int64_t when)
{
    f->verdict = VERDICT_TRANSPORT;
    f->status = status;
    world_at(f->world, when, answer, f);
}

/* Nobody answers: the caller's patience ends. */
static void time_out(struct flight *f)
{
    fail_transport(f, STATUS_TIMEOUT, f->started + RUN_TIMEOUT_NS);
}

static void arrive(struct world *w, void *arg)
{
    static const enum status broken[] = {STATUS_DNS_ERROR, STATUS_TCP_ERROR, STATUS_TLS_ERROR,
                                         STATUS_HTTP_ERROR};
    struct flight *f = arg;

    if (f->too_large) {
        world_count(w, FAULT_TOO_LARGE);
        fail_transport(f, STATUS_TEMPORARY_ERROR, w->now);
        return;
    }
    if (f->lost || host_is_down(f)) {
        enum status status = broken[rand_below(&w->rand, 4)];

        if (f->lost)
            world_count(w, FAULT_REQUEST_LOST);
        if (w->hosts[f->host].silent)
            time_out(f);
        else
            fail_transport(f, status, w->now + latency(f));
        return;
    }
    execute(f);
    if (f->doubled) {
        world_count(w, FAULT_REQUEST_DOUBLED);
        execute(f);
    }
    if (f->answer_lost) {
        world_count(w, FAULT_ANSWER_LOST);
        if (world_once_in(w, 2))
            time_out(f);
        else
            fail_transport(f, STATUS_TCP_ERROR, w->now + latency(f));
        return;
    }
    world_at(w, w->now + latency(f), answer, f);
}

/* --- the invoker ------------------------------------------------------------------------------ */

static void draw_faults(struct flight *f)
{
    struct world *w = f->world;
    const wire_run_request *q = f->run->request;

    f->lost = world_may(w, FAULT_REQUEST_LOST) && world_once_in(w, 30);
    f->doubled = world_may(w, FAULT_REQUEST_DOUBLED) && world_once_in(w, 30);
    f->answer_lost = world_may(w, FAULT_ANSWER_LOST) && world_once_in(w, 30);
    f->too_large = q->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT &&
                   q->poll_result->n_results > 1 && world_may(w, FAULT_TOO_LARGE) &&
                   world_once_in(w, 5);
}

static void send_out(struct flight *f)
{
    struct world *w = f->world;

    if (world_may(w, FAULT_RUN_GIVEN_UP) && world_once_in(w, 40)) {
        f->verdict = VERDICT_GONE;
        world_at(w, w->now + latency(f), answer, f);
    } else if (world_once_in(w, 16) && !host_is_down(f) && !f->lost && !f->answer_lost &&
               !f->too_large) {
        execute(f); /* answered before run returns: an invoker may */
        answer(w, f);
    } else {
        world_at(w, w->now + latency(f), arrive, f);
    }
}

static void start(struct world *w, struct orchestrator_run *run)
{
    struct flight *f;

    if (w->process.dead) { /* its words reach nobody */
        run->invoker_data = NULL;
        return;
    }
    plant_request(w, run);
    f = world_alloc(w, sizeof *f);
    f->world = w;
    f->run = run;
    delivery_check(w, run, &f->delivery);
    f->org = f->delivery.record->org;
    f->host = f->delivery.record->host;
    f->epoch = w->epoch;
    f->started = w->now;
    f->delivery.record->in_flight++;
    if (plant_strikes(w, PLANT_RUN_AGAIN, 40))
        delivery_check(w, run, &f->delivery);
    run->invoker_data = f;
    list_append(&w->flights, &f->link);
    w->totals.runs++;
    trace(w, "run of call %" PRIu64 " at host %u, generation %" PRIu32 ", resume %" PRIu32,
          f->delivery.record->id, f->host, run->request->generation, run->request->resume);
    draw_faults(f);
    if (world_may(w, FAULT_CRASH_RUN) && world_once_in(w, 400))
        process_die(w, FAULT_CRASH_RUN);
    send_out(f);
}

static struct world *world_of(struct invoker *invoker)
{
    return (struct world *)(void *)((char *)invoker - offsetof(struct world, invoker));
}

static void invoker_run(struct invoker *invoker, struct orchestrator_run *run)
{
    struct world *w = world_of(invoker);
    bool was = memory_scarce(w, false);

    start(w, run);
    memory_scarce(w, was);
}

static void invoker_cancel(struct invoker *invoker, struct orchestrator_run *run)
{
    struct flight *f = run->invoker_data;
    struct world *w = world_of(invoker);

    if (!f) {
        orchestrator_run_gone(run);
        return;
    }
    f->given_up = true;
    f->delivery.record->in_flight--;
    /* A process that goes has no time; any other may hear of it later, too late to count. */
    if (w->process.dead || w->process.ending || world_once_in(w, 2))
        orchestrator_run_gone(let_go(f));
}

void endpoint_init(struct world *w)
{
    w->invoker.run = invoker_run;
    w->invoker.cancel = invoker_cancel;
}
