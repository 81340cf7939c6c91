// SPDX-License-Identifier: Apache-2.0
/*
 * The other side of a run: making a RunRequest, reading a RunResponse. For tests of functions, and
 * for whoever runs functions without an orchestrator.
 */
#include "sdk/internal.h"

#include <stdlib.h>

/* --- requests -------------------------------------------------------------------------------- */

static void fill_time(int64_t ns, wire_timestamp *time, wire_timestamp **field)
{
    if (ns == 0)
        return;
    google__protobuf__timestamp__init(time);
    wire_set_time(time, ns);
    *field = time;
}

static int fill_poll_result(const struct dispatch_run_request *request, struct arena *arena,
                            Dispatch__Sdk__V1__PollResult *poll, struct error *err)
{
    int rc = sdk_any_from_value(request->state, arena, &poll->typed_coroutine_state, err);

    if (rc)
        return rc;
    poll->state_case = DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE;
    poll->results = arena_zalloc(arena, request->result_count, sizeof *poll->results);
    if (!poll->results)
        return error_memory(err);
    for (size_t i = 0; i < request->result_count && !rc; i++)
        rc = sdk_result_to_wire(&request->results[i], arena, &poll->results[i], err);
    poll->n_results = request->result_count;
    if (!rc && request->poll_error)
        rc = sdk_error_to_wire(request->poll_error, arena, &poll->error, err);
    return rc;
}

static char *text_or_empty(const char *text)
{
    return (char *)(uintptr_t)(text ? text : "");
}

static int pack_request(const struct dispatch_run_request *request, struct arena *arena,
                        void **bytes, size_t *size, struct error *err)
{
    wire_run_request message = DISPATCH__SDK__V1__RUN_REQUEST__INIT;
    Dispatch__Sdk__V1__PollResult poll = DISPATCH__SDK__V1__POLL_RESULT__INIT;
    wire_timestamp creation, expiration, now;
    int rc;

    if (!request->function)
        return error_set(err, CODE_INVALID_ARGUMENT, "a run needs the name of a function");
    message.function = text_or_empty(request->function);
    message.dispatch_id = text_or_empty(request->dispatch_id);
    message.parent_dispatch_id = text_or_empty(request->parent_dispatch_id);
    message.root_dispatch_id = text_or_empty(request->root_dispatch_id);
    fill_time(request->creation_time_ns, &creation, &message.creation_time);
    fill_time(request->expiration_time_ns, &expiration, &message.expiration_time);
    fill_time(request->now_ns, &now, &message.now);
    message.generation = request->generation;
    message.resume = request->resumes;
    if (request->resume) {
        rc = fill_poll_result(request, arena, &poll, err);
        message.directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT;
        message.poll_result = &poll;
    } else {
        rc = sdk_any_from_value(request->input, arena, &message.input, err);
        message.directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT;
    }
    if (rc)
        return rc;
    *size = protobuf_c_message_get_packed_size(&message.base);
    *bytes = malloc(*size ? *size : 1);
    if (!*bytes)
        return error_memory(err);
    protobuf_c_message_pack(&message.base, *bytes);
    return 0;
}

int dispatch_run_request_pack(const struct dispatch_run_request *request, void **bytes,
                              size_t *size, struct dispatch_failure *failure)
{
    struct error err = {0};
    struct arena arena;
    void *packed = NULL;
    size_t packed_size = 0;
    int rc;

    arena_init(&arena, SDK_DEFAULT_RUN_MEMORY);
    rc = pack_request(request, &arena, &packed, &packed_size, &err);
    arena_reset(&arena);
    if (rc)
        return sdk_fail_from(failure, &err);
    *bytes = packed;
    *size = packed_size;
    return 0;
}

void dispatch_bytes_free(void *bytes)
{
    free(bytes);
}

/* --- responses ------------------------------------------------------------------------------- */

static int read_exit(const wire_exit *exit, struct arena *arena, struct dispatch_response *out,
                     struct error *err)
{
    int rc = 0;

    if (exit->result) {
        struct dispatch_result *result = arena_zalloc(arena, 1, sizeof *result);

        if (!result)
            return error_memory(err);
        rc = sdk_result_from_wire(exit->result, arena, result, err);
        result->status = out->status;
        out->result = result;
    }
    if (!rc && exit->tail_call) {
        struct dispatch_call *call = arena_zalloc(arena, 1, sizeof *call);

        if (!call)
            return error_memory(err);
        rc = sdk_call_from_wire(exit->tail_call, arena, call, err);
        out->tail_call = call;
    }
    return rc;
}

static int read_poll(const wire_poll *message, struct arena *arena, struct dispatch_response *out,
                     struct error *err)
{
    struct dispatch_poll *poll = arena_zalloc(arena, 1, sizeof *poll);
    struct dispatch_call *calls = arena_zalloc(arena, message->n_calls, sizeof *calls);
    int rc = 0;

    if (!poll || !calls)
        return error_memory(err);
    if (message->state_case == DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE)
        rc = sdk_value_from_any(message->typed_coroutine_state, arena, &poll->state, err);
    else if (message->state_case == DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE)
        poll->state = dispatch_bytes(message->coroutine_state.data, message->coroutine_state.len);
    for (size_t i = 0; i < message->n_calls && !rc; i++)
        rc = sdk_call_from_wire(message->calls[i], arena, &calls[i], err);
    if (message->state_case == DISPATCH__SDK__V1__POLL__STATE_APPEND) {
        poll->append = message->append.len ? (const void *)message->append.data : "";
        poll->append_size = message->append.len;
        poll->append_position = message->append_position;
    }
    poll->wake_on_error = message->wake_on_error;
    poll->cancel = message->cancel;
    poll->cancel_count = message->n_cancel;
    poll->calls = calls;
    poll->call_count = message->n_calls;
    poll->min_results = message->min_results;
    poll->max_results = message->max_results;
    if (message->max_wait) {
        poll->has_max_wait = true;
        poll->max_wait_ms = wire_duration_ns(message->max_wait) / 1000000;
    }
    out->poll = poll;
    return rc;
}

static int read_response(struct slice bytes, struct arena *arena, struct dispatch_response *out,
                         struct error *err)
{
    wire_run_response *message;
    int rc = wire_unpack(&dispatch__sdk__v1__run_response__descriptor, bytes, arena, &message, err);

    if (rc)
        return rc;
    out->status = (enum dispatch_status)message->status;
    if (message->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT)
        return read_exit(message->exit, arena, out, err);
    if (message->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL)
        return read_poll(message->poll, arena, out, err);
    return 0;
}

int dispatch_response_unpack(const void *bytes, size_t size, struct dispatch_response *response,
                             struct dispatch_failure *failure)
{
    struct arena *memory = sdk_memory_create(SDK_DEFAULT_RUN_MEMORY);
    struct dispatch_response made = {.memory_ = memory};
    struct error err = {0};

    if (!memory)
        return sdk_fail_memory(failure);
    if (read_response(slice(bytes, size), memory, &made, &err)) {
        sdk_memory_destroy(memory);
        return sdk_fail_from(failure, &err);
    }
    *response = made;
    return 0;
}

void dispatch_response_free(struct dispatch_response *response)
{
    sdk_memory_destroy(response->memory_);
    *response = (struct dispatch_response){0};
}
