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

#include "sim/flight.h"

#define RUN_TIMEOUT_NS (60 * NS_PER_S)
#define TEMP_MAX       ((size_t)16 << 20)

/* --- small things ----------------------------------------------------------------------------- */

void endpoint_url(unsigned host, char url[URL_MAX])
{
    snprintf(url, URL_MAX, "http://e%u.sim:8000/functions", host);
}

unsigned endpoint_host(struct world *w, struct slice endpoint)
{
    char url[URL_MAX];

    if (slice_eq_str(endpoint, "event:"))
        return HOST_OUTSIDE;
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

unsigned endpoints_in_flight(const struct world *w)
{
    unsigned n = 0;

    for (struct list *it = w->flights.next; it != &w->flights; it = it->next) {
        const struct flight *f = LIST_ENTRY(it, struct flight, link);

        n += f->run && f->epoch == w->epoch;
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

wire_any *any_bytes(struct world *w, struct arena *arena, const char *type, struct slice bytes)
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
    script_advance(f->delivery.program, &f->state,
                   f->delivery.first     ? SCRIPT_FIRST
                   : f->delivery.refused ? SCRIPT_REFUSED
                                         : SCRIPT_RESUMED,
                   &f->action);
}

/* --- answering -------------------------------------------------------------------------------- */

/* What the answer says of the backoff before the next run, at least. */
static void note_answer(struct flight *f)
{
    struct record *r = f->delivery.record;
    bool acts = f->verdict == VERDICT_ACTS;
    bool again = acts && f->action.kind == ACTION_TAIL;

    if (f->given_up || f->epoch != f->world->epoch || f->run->request->generation <= r->restarted)
        return;
    if (r->failed_epoch != f->epoch) /* counts that were not committed are forgotten */
        r->failures = 0;
    r->failed_at = f->world->now;
    r->failed_epoch = f->epoch;
    if (f->misplaced)
        r->failures++;
    else if (again)
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
    f->world->node->failing = true;
    was = memory_scarce(f->world, true);
    orchestrator_run_failed(let_go(f), &failure);
    memory_scarce(f->world, was);
    f->world->node->failing = false;
}

static void answer_response(struct flight *f)
{
    wire_run_response response;
    struct arena arena;
    bool was;

    arena_init(&arena, TEMP_MAX);
    flight_respond(f, &arena, &response);
    note_answer(f);
    f->world->node->failing = f->verdict == VERDICT_FAILS || f->misplaced;
    was = memory_scarce(f->world, true);
    orchestrator_run_answered(let_go(f), &response);
    memory_scarce(f->world, was);
    f->world->node->failing = false;
    arena_reset(&arena);
}

static void answer(struct world *w, void *arg)
{
    struct flight *f = arg;

    w->node = f->node;
    if (f->run && w->node->o && w->node->paused_until > w->now) {
        world_at(w, w->node->paused_until, answer, f);
        return;
    }
    if (!f->run || w->node->dead) {
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

    w->node = f->node;
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

    if (w->node->dead) { /* its words reach nobody */
        run->invoker_data = NULL;
        return;
    }
    if (w->hasty && !process_leads(w->node)) { /* nor need its runs be right */
        world_count(w, FAULT_LEASE_STALE);
        run->invoker_data = NULL;
        return;
    }
    plant_request(w, run);
    f = world_alloc(w, sizeof *f);
    f->world = w;
    f->run = run;
    f->node = w->node;
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

/* It counts no more, whatever comes of it. */
static void disown(struct flight *f)
{
    if (!f->given_up)
        f->delivery.record->in_flight--;
    f->given_up = true;
}

void endpoint_fenced(struct world *w)
{
    for (struct list *it = w->flights.next; it != &w->flights; it = it->next) {
        struct flight *f = LIST_ENTRY(it, struct flight, link);

        if (f->run && f->epoch != w->epoch)
            disown(f);
    }
}

static void invoker_cancel(struct invoker *invoker, struct orchestrator_run *run)
{
    struct flight *f = run->invoker_data;
    struct world *w = world_of(invoker);

    if (!f) {
        orchestrator_run_gone(run);
        return;
    }
    disown(f);
    /* A process that goes has no time; any other may hear of it later, too late to count. */
    if (w->node->dead || w->node->ending || world_once_in(w, 2))
        orchestrator_run_gone(let_go(f));
}

void endpoint_init(struct world *w)
{
    w->invoker.run = invoker_run;
    w->invoker.cancel = invoker_cancel;
}
