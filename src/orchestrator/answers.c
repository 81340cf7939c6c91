// SPDX-License-Identifier: Apache-2.0
/*
 * What an endpoint said, for the engine. In this order: a tail call counts whatever the status; a
 * passing reason is a retry; status OK with a poll suspends the call; anything else is its end.
 *
 * An endpoint's mistake never hurts anybody else: calls in a poll that cannot be accepted come back
 * as the poll's error; a result, a state or a tail call that cannot be taken at all ends the call
 * as INVALID_RESPONSE, saying why.
 */
#include <assert.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

#define CANCEL_MAX 100000 /* correlation ids in one poll */

struct blob *answer_error(const char *type, const char *message)
{
    wire_error e = DISPATCH__SDK__V1__ERROR__INIT;
    char type_copy[64], message_copy[ERROR_MESSAGE_MAX];
    size_t len = strnlen(message, sizeof message_copy - 1);

    /* Copies, as the generated structs have no const. */
    len = slice_utf8_prefix(slice(message, len));
    memcpy(message_copy, message, len);
    message_copy[len] = 0;
    len = slice_utf8_prefix(slice(type, strnlen(type, sizeof type_copy - 1)));
    memcpy(type_copy, type, len);
    type_copy[len] = 0;
    e.type = type_copy;
    e.message = message_copy;
    return wire_pack_blob(&e);
}

void answer_free(struct engine_answer *answer)
{
    blob_unref(answer->output);
    blob_unref(answer->error);
    blob_unref(answer->state);
    blob_unref(answer->poll_error);
    call_free_specs((struct engine_spec *)answer->specs, answer->spec_count);
    *answer = (struct engine_answer){0};
}

/* There is no memory to take the answer in: the run is made again after a while. */
static void answer_without_memory(struct engine_answer *a)
{
    answer_free(a);
    a->outcome = ENGINE_EXIT;
    a->status = STATUS_TEMPORARY_ERROR;
    a->max_wait_ns = -1;
}

/* The call ends so, whatever it answered. */
static void answer_end(struct engine_answer *a, enum status status, const char *type,
                       const char *message)
{
    answer_free(a);
    a->outcome = ENGINE_EXIT;
    a->status = status;
    a->max_wait_ns = -1;
    a->error = answer_error(type, message);
    if (!a->error)
        answer_without_memory(a);
}

__attribute__((format(printf, 2, 3))) static void answer_invalid(struct engine_answer *a,
                                                                 const char *format, ...)
{
    struct error why = {0};
    va_list args;

    va_start(args, format);
    error_setv(&why, CODE_INVALID_ARGUMENT, format, args);
    va_end(args);
    answer_end(a, STATUS_INVALID_RESPONSE, "invalid_response", why.message);
}

static void answer_tail(const struct call_limits *limits, wire_call *call, struct engine_answer *a)
{
    struct engine_spec *specs;
    struct error why = {0};
    int code;

    specs = calloc(1, sizeof *specs);
    if (!specs) {
        answer_without_memory(a);
        return;
    }
    code = call_to_spec(limits, call, false, specs, &why);
    if (!code && specs->key.len) {
        blob_unref(specs->input);
        code = error_set(&why, CODE_INVALID_ARGUMENT, "nobody can be replaced by a call to event:");
    }
    if (code) {
        free(specs);
        error_set(&why, code, "the tail call to '%.*s' cannot be made: %s",
                  call_clip(call->function), call->function, why.message);
        if (code == CODE_RESOURCE_EXHAUSTED)
            answer_without_memory(a);
        else if (code == CODE_PERMISSION_DENIED)
            answer_end(a, STATUS_PERMISSION_DENIED, code_name(code), why.message);
        else
            answer_invalid(a, "%s", why.message);
        return;
    }
    a->outcome = ENGINE_TAIL;
    a->specs = specs;
    a->spec_count = 1;
}

/* The message packed, if it is not larger than `max`. */
static bool pack_part(struct engine_answer *a, const ProtobufCMessage *message, const char *what,
                      size_t max, struct blob **blob)
{
    size_t len = protobuf_c_message_get_packed_size(message);

    if (len > max) {
        answer_invalid(a, "the %s has %zu bytes, more than the %zu that are allowed", what, len,
                       max);
        return false;
    }
    *blob = wire_pack_blob(message);
    if (!*blob) {
        answer_without_memory(a);
        return false;
    }
    return true;
}

static void answer_exit(const struct call_limits *limits, const wire_exit *exit,
                        struct engine_answer *a)
{
    const wire_call_result *result = exit ? exit->result : NULL;

    if (!result)
        return;
    /* The output of a run that is made again is of no use to anybody. */
    if (result->output && !status_is_temporary(a->status) &&
        !pack_part(a, &result->output->base, "output", limits->payload_max, &a->output))
        return;
    /* Code that does not match the journal: the endpoint is not overloaded, only old or new. */
    a->blameless = result->error && strcmp(result->error->type, "Diverged") == 0;
    if (result->error &&
        !pack_part(a, &result->error->base, "error", limits->payload_max, &a->error))
        return;
    /* Both go into one resume of the parent, beside its state: see results_bytes_max. */
    if (a->output && a->error && a->output->len + a->error->len > limits->payload_max)
        answer_invalid(a,
                       "the output and the error have %zu bytes, more than the %zu that are "
                       "allowed of both together",
                       a->output->len + a->error->len, limits->payload_max);
}

static bool copy_state(const struct call_limits *limits, const ProtobufCBinaryData *bytes,
                       struct engine_answer *a)
{
    if (bytes->len > limits->state_max) {
        answer_invalid(a, "the state has %zu bytes, more than the %zu that are allowed", bytes->len,
                       limits->state_max);
        return false;
    }
    a->state = blob_copy(slice(bytes->data, bytes->len));
    if (!a->state)
        answer_without_memory(a);
    return a->state;
}

static bool poll_state(const struct call_limits *limits, const wire_poll *poll,
                       struct engine_answer *a)
{
    switch (poll->state_case) {
    case DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE:
        a->state_arm = 1;
        return copy_state(limits, &poll->coroutine_state, a);
    case DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE:
        a->state_arm = 2;
        if (!pack_part(a, &poll->typed_coroutine_state->base, "state", limits->state_max,
                       &a->state))
            return false;
        a->state_overhead = a->state->len - poll->typed_coroutine_state->value.len;
        return true;
    case DISPATCH__SDK__V1__POLL__STATE_APPEND:
        a->append = true;
        a->append_position = poll->append_position;
        return copy_state(limits, &poll->append, a);
    default:
        return true;
    }
}

/* None of the calls is made, and the function is told why when it resumes. */
static void poll_refuse(struct engine_answer *a, const struct error *why)
{
    a->poll_error = answer_error(code_name(why->code), why->message);
    if (!a->poll_error)
        answer_without_memory(a);
}

static void answer_poll(const struct call_limits *limits, const wire_poll *poll,
                        struct engine_answer *a)
{
    struct engine_spec *specs;
    struct error why = {0};
    int code = 0;

    if (!poll_state(limits, poll, a))
        return;
    a->outcome = ENGINE_POLL;
    a->min_results = poll->min_results;
    a->max_results = poll->max_results;
    if (poll->max_wait) {
        a->max_wait_ns = wire_duration_ns(poll->max_wait);
        if (a->max_wait_ns < 0)
            a->max_wait_ns = 0;
    }
    a->wake_on_error = poll->wake_on_error;
    if (poll->n_cancel > CANCEL_MAX)
        code = error_set(&why, CODE_INVALID_ARGUMENT,
                         "the poll gives up %zu calls, more than the %d that are allowed",
                         poll->n_cancel, CANCEL_MAX);
    else if (poll->n_calls > limits->calls_max)
        code = error_set(&why, CODE_INVALID_ARGUMENT,
                         "the poll has %zu calls, more than the %zu that are allowed",
                         poll->n_calls, limits->calls_max);
    if (!code)
        code = call_to_specs(limits, poll->calls, poll->n_calls, false, &specs, &why);
    if (poll->n_cancel <= CANCEL_MAX) {
        a->cancel = poll->cancel; /* the response lives until the engine has the answer */
        a->cancel_count = poll->n_cancel;
    }
    if (code == CODE_RESOURCE_EXHAUSTED) {
        answer_without_memory(a);
    } else if (code) {
        poll_refuse(a, &why);
    } else {
        a->specs = specs;
        a->spec_count = poll->n_calls;
    }
}

void answer_from_response(const struct call_limits *limits, const wire_run_response *response,
                          struct engine_answer *a)
{
    bool exits = response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    bool polls = response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    int status = (int)response->status;

    *a = (struct engine_answer){.outcome = ENGINE_EXIT, .max_wait_ns = -1};
    if (status < 0 || status >= STATUS_COUNT) {
        answer_invalid(a, "the endpoint answered with status %d, which is none", status);
        return;
    }
    a->status = (enum status)status;
    if (exits && response->exit->tail_call)
        answer_tail(limits, response->exit->tail_call, a);
    else if (a->status == STATUS_OK && polls)
        answer_poll(limits, response->poll, a);
    else
        answer_exit(limits, exits ? response->exit : NULL, a);
}

void answer_from_failure(const struct run_failure *failure, struct engine_answer *a)
{
    const char *type = failure->type ? failure->type : "status";
    const char *message = failure->message ? failure->message : status_name(failure->status);

    assert(failure->status != STATUS_OK);
    *a = (struct engine_answer){.outcome = ENGINE_EXIT,
                                .status = failure->status,
                                .transport = failure->transport,
                                .too_large = failure->too_large,
                                .blameless = failure->blameless,
                                .max_wait_ns = -1};
    a->error = answer_error(type, message);
    if (!a->error && !status_is_temporary(a->status))
        answer_without_memory(a);
}
