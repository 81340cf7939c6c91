// SPDX-License-Identifier: Apache-2.0
/*
 * What endpoints say: what their functions do, in the words of the protocol; now and then more than
 * that, to be ignored, and from some functions garbage, to be refused.
 */
#include "sim/flight.h"

#define STATE_LONG 1000 /* a state so long is not appended to any more */

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
    call->priority = input_priority(input);
    if (input_delay_ns(input)) {
        call->not_before = temp_alloc(w, a, sizeof *call->not_before);
        google__protobuf__timestamp__init(call->not_before);
        wire_set_time(call->not_before, world_time(w) + input_delay_ns(input));
    }
    return call;
}

/* A poll that is not one, for the status beside it: none of its calls may be made. */
static void add_idle_poll(struct flight *f, struct arena *a, wire_run_response *response)
{
    wire_poll *poll = temp_alloc(f->world, a, sizeof *poll);

    dispatch__sdk__v1__poll__init(poll);
    response->directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response->poll = poll;
    poll->n_calls = 1;
    poll->calls = temp_alloc(f->world, a, sizeof *poll->calls);
    poll->calls[0] = make_call(f->world, a, f->delivery.program->input ^ 3);
    world_count(f->world, FAULT_GARBAGE);
}

static void respond_failure(struct flight *f, struct arena *a, wire_run_response *response)
{
    wire_call_result *result;

    response->status = (Dispatch__Sdk__V1__Status)f->status;
    if (world_once_in(f->world, 6)) {
        add_idle_poll(f, a, response);
        return;
    }
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
    if (!p->with_output && !(p->fate == FATE_FAIL && p->with_error) && world_once_in(f->world, 2)) {
        if (p->status != STATUS_OK && world_once_in(f->world, 2))
            add_idle_poll(f, a, response);
        return; /* no directive says the same as an empty one */
    }
    dispatch__sdk__v1__call_result__init(result);
    if (p->with_output)
        result->output = any_make(f->world, a, VALUE_TYPE,
                                  (uint64_t)(p->value + (p->with_sum ? f->state.sum : 0)));
    if (p->fate == FATE_FAIL && p->with_error)
        result->error = make_error(f->world, a);
    make_exit(f->world, a, response)->result = result;
}

static void respond_tail(struct flight *f, struct arena *a, wire_run_response *response)
{
    struct record *r = f->delivery.record;

    response->status = (Dispatch__Sdk__V1__Status)f->delivery.program->status;
    /* Of several answers, whichever is committed, the earliest by their clocks. */
    if (r->tail_generation != f->run->request->generation || world_time(f->world) < r->tail_at) {
        r->tail_generation = f->run->request->generation;
        r->tail_at = world_time(f->world);
    }
    make_exit(f->world, a, response)->tail_call = make_call(f->world, a, f->delivery.program->tail);
    if (world_once_in(f->world, 2))
        response->exit->tail_call->priority = 0; /* the one that it has */
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
        if (input_class(p->children[index]) == CLASS_EVENT) {
            outside_set(f->world, a, poll->calls[i], p->children[index]);
            continue;
        }
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

/* Whole: the state that was handed out and the new one behind it, or the new one alone. */
static void set_whole_state(struct flight *f, struct arena *a, wire_poll *poll, struct slice bytes)
{
    wire_any *any = any_bytes(f->world, a, STATE_TYPE, bytes);

    if (f->delivery.program->typed_state) {
        poll->state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
        poll->typed_coroutine_state = any;
    } else {
        poll->state_case = DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE;
        poll->coroutine_state = any->value;
    }
}

static void set_appended_state(struct flight *f, struct arena *a, wire_poll *poll,
                               struct slice bytes)
{
    struct world *w = f->world;

    poll->state_case = DISPATCH__SDK__V1__POLL__STATE_APPEND;
    poll->append = any_bytes(w, a, STATE_TYPE, bytes)->value;
    poll->append_position = f->delivery.bytes.len;
    if (!world_may(w, FAULT_MISPLACED) || !world_once_in(w, 15))
        return;
    f->misplaced = true;
    poll->append_position += world_once_in(w, 2) ? 1 : UINT64_C(1) << 40;
    world_count(w, FAULT_MISPLACED);
}

static void set_state(struct flight *f, struct arena *a, wire_poll *poll)
{
    const struct program *p = f->delivery.program;
    struct slice before = f->delivery.bytes;
    /* The first state says its kind, and one that asks again is to be recognised as the same. */
    bool appends = p->appends && !f->delivery.refused && before.len < STATE_LONG &&
                   (before.len || !p->typed_state);
    bool keeps = appends && (!before.len || !world_once_in(f->world, 4));
    size_t kept = keeps ? before.len : 0;
    struct buf bytes;

    buf_init(&bytes, 4096);
    if (kept)
        buf_append(&bytes, before.data, kept);
    script_state_encode(&f->state, &bytes);
    CHECK(f->world, !bytes.failed, "there is memory", "for a state");
    if (keeps && !world_once_in(f->world, 4))
        set_appended_state(f, a, poll, slice(bytes.data + kept, bytes.len - kept));
    else
        set_whole_state(f, a, poll, buf_slice(&bytes));
    if (!f->misplaced && f->epoch == f->world->epoch) /* else it is told to who cannot record it */
        delivery_poll_sent(f->world, f->delivery.record, f->run->request, &f->state, f->action.op,
                           delivery_state_hash(buf_slice(&bytes), p->typed_state));
    buf_free(&bytes);
}

/* The children that may be given up, those that are not there any more among them. */
static void add_given_up(struct flight *f, struct arena *a, wire_poll *poll)
{
    const struct program *p = f->delivery.program;

    poll->cancel = temp_alloc(f->world, a, (CHILDREN_MAX + 1) * sizeof *poll->cancel);
    for (unsigned i = p->child_count; i-- > 0;)
        if (p->dropped >> i & 1)
            poll->cancel[poll->n_cancel++] = input_correlation(p->input) + i;
    poll->cancel[poll->n_cancel++] = input_correlation(p->input) - 1; /* none's */
    f->world->totals.given_up += (unsigned)__builtin_popcount(f->state.given_up);
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
    poll->wake_on_error = op->wake_on_error;
    if (op->kind == OP_SPAWN)
        add_children(f, a, poll);
    else if (op->kind == OP_DROP)
        add_given_up(f, a, poll);
    else if (op->kind == OP_BAD && (f->world->engine.calls_max || f->world->engine.outstanding_max))
        add_many_calls(f, a, poll);
    else if (op->kind == OP_BAD)
        add_bad_calls(f, a, poll);
    set_state(f, a, poll);
}

/* --- garbage ---------------------------------------------------------------------------------- */

static wire_any *make_large(struct flight *f, struct arena *a, size_t size)
{
    return any_bytes(f->world, a, STATE_TYPE, slice(temp_alloc(f->world, a, size), size));
}

static void add_large_state(struct flight *f, struct arena *a, wire_run_response *response)
{
    wire_poll *poll = temp_alloc(f->world, a, sizeof *poll);
    size_t have = f->delivery.bytes.len;

    dispatch__sdk__v1__poll__init(poll);
    response->directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response->poll = poll;
    if (f->delivery.program->garbage == GARBAGE_APPEND) {
        poll->state_case = DISPATCH__SDK__V1__POLL__STATE_APPEND;
        poll->append = make_large(f, a, STATE_BYTES_MAX - have + 1)->value;
        poll->append_position = have;
    } else {
        poll->state_case = DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE;
        poll->coroutine_state = make_large(f, a, STATE_BYTES_MAX + 1)->value;
    }
}

static void respond_garbage(struct flight *f, struct arena *a, wire_run_response *response)
{
    static const int statuses[] = {STATUS_COUNT, 99, INT32_MAX};
    struct world *w = f->world;

    response->status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    world_count(w, FAULT_GARBAGE);
    switch (f->delivery.program->garbage) {
    case GARBAGE_STATUS:
        response->status = (Dispatch__Sdk__V1__Status)statuses[rand_below(&w->rand, 3)];
        break;
    case GARBAGE_NEGATIVE_STATUS:
        response->status = (Dispatch__Sdk__V1__Status)-1;
        break;
    case GARBAGE_OUTPUT: {
        wire_call_result *result = temp_alloc(w, a, sizeof *result);

        dispatch__sdk__v1__call_result__init(result);
        result->output = make_large(f, a, PAYLOAD_BYTES_MAX + 1);
        make_exit(w, a, response)->result = result;
        break;
    }
    case GARBAGE_STATE:
    case GARBAGE_APPEND:
        add_large_state(f, a, response);
        break;
    default:
        make_exit(w, a, response)->tail_call = make_call(w, a, 1);
        response->exit->tail_call->function = temp_text(w, a, "to:nobody");
        break;
    }
}

/* ---------------------------------------------------------------------------------------------- */

void flight_respond(struct flight *f, struct arena *a, wire_run_response *response)
{
    dispatch__sdk__v1__run_response__init(response);
    if (f->verdict == VERDICT_FAILS)
        respond_failure(f, a, response);
    else if (f->action.kind == ACTION_EXIT)
        respond_exit(f, a, response);
    else if (f->action.kind == ACTION_TAIL)
        respond_tail(f, a, response);
    else if (f->action.kind == ACTION_GARBAGE)
        respond_garbage(f, a, response);
    else
        respond_poll(f, a, response);
}
