// SPDX-License-Identifier: Apache-2.0
/*
 * What a run answers. Each maker fills a RunResponse and packs it into the run's arena at once, so
 * that nothing of what it was given has to live on. What cannot be encoded becomes an answer that
 * says so, and when there is no memory even for that, the one below.
 */
#include "sdk/internal.h"

/* RunResponse{TEMPORARY_ERROR, exit{result{error{"Memory", "out of memory", TEMPORARY_ERROR}}}}. */
static const char memory_response[] = "\x08\x06\x12\x1e\x0a\x1c\x1a\x1a\x0a\x06"
                                      "Memory"
                                      "\x12\x0d"
                                      "out of memory"
                                      "\xc0\x3e\x06";

static struct dispatch_output no_memory(void)
{
    return (struct dispatch_output){memory_response, sizeof memory_response - 1};
}

static struct dispatch_output pack(struct dispatch_ctx *ctx, const wire_run_response *response)
{
    size_t size = protobuf_c_message_get_packed_size(&response->base);
    uint8_t *bytes = arena_alloc(&ctx->arena, size);

    if (!bytes)
        return no_memory();
    protobuf_c_message_pack(&response->base, bytes);
    return (struct dispatch_output){bytes, size};
}

static struct dispatch_output pack_exit(struct dispatch_ctx *ctx, wire_call_result *result,
                                        wire_call *tail_call, enum dispatch_status status)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_exit exit = DISPATCH__SDK__V1__EXIT__INIT;

    exit.result = result;
    exit.tail_call = tail_call;
    response.status = (Dispatch__Sdk__V1__Status)status;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &exit;
    return pack(ctx, &response);
}

struct dispatch_output sdk_output_refusal(struct dispatch_ctx *ctx, enum dispatch_status status,
                                          const char *type, const char *message)
{
    struct dispatch_error error = {.status = status, .type = type, .message = message};
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;

    if (sdk_error_to_wire(&error, &ctx->arena, &result.error, NULL))
        return no_memory();
    return pack_exit(ctx, &result, NULL, status);
}

/* The answer for what could not be encoded. */
static struct dispatch_output mend(struct dispatch_ctx *ctx, const struct error *err)
{
    if (err->code == CODE_RESOURCE_EXHAUSTED)
        return no_memory();
    return sdk_output_refusal(ctx, DISPATCH_INVALID_RESPONSE, "InvalidOutput", err->message);
}

/* The status of an answer with that error: never OK. */
static enum dispatch_status error_status(const struct dispatch_error *error,
                                         enum dispatch_status status)
{
    if (status == DISPATCH_OK || status == DISPATCH_UNSPECIFIED)
        status = error->status;
    return status == DISPATCH_OK || status == DISPATCH_UNSPECIFIED ? DISPATCH_PERMANENT_ERROR
                                                                   : status;
}

struct dispatch_output dispatch_output_exit(struct dispatch_ctx *ctx,
                                            const struct dispatch_result *result,
                                            const struct dispatch_call *tail_call,
                                            enum dispatch_status status)
{
    wire_call_result *result_message = NULL;
    wire_call *call_message = NULL;
    struct error err = {0};
    int rc = 0;

    if (result) {
        struct dispatch_result bare = *result;

        bare.dispatch_id = NULL;
        bare.correlation_id = 0;
        rc = sdk_result_to_wire(&bare, &ctx->arena, &result_message, &err);
    }
    if (!rc && tail_call)
        rc = sdk_call_to_wire(tail_call, NULL, &ctx->arena, &call_message, &err);
    if (rc)
        return mend(ctx, &err);
    return pack_exit(ctx, result_message, call_message, status);
}

struct dispatch_output dispatch_output_result(struct dispatch_ctx *ctx,
                                              const struct dispatch_result *result)
{
    enum dispatch_status status = result->status;

    if (ctx->failed || result->error == sdk_memory_error())
        return no_memory();
    if (result->error)
        status = error_status(result->error, status);
    else if (status == DISPATCH_UNSPECIFIED)
        status = DISPATCH_OK;
    return dispatch_output_exit(ctx, result, NULL, status);
}

struct dispatch_output dispatch_output_value(struct dispatch_ctx *ctx, struct dispatch_value value)
{
    struct dispatch_result result = dispatch_ok(value);

    return dispatch_output_exit(ctx, &result, NULL, DISPATCH_OK);
}

struct dispatch_output dispatch_output_error(struct dispatch_ctx *ctx,
                                             const struct dispatch_error *error)
{
    struct dispatch_result result = {.error = error};

    return dispatch_output_exit(ctx, &result, NULL, error_status(error, error->status));
}

struct dispatch_output dispatch_output_tail_call(struct dispatch_ctx *ctx,
                                                 const struct dispatch_call *call,
                                                 enum dispatch_status status)
{
    return dispatch_output_exit(ctx, NULL, call, status);
}

/* --- polls ----------------------------------------------------------------------------------- */

static int32_t clamp_results(int32_t wanted, int32_t fallback)
{
    if (wanted <= 0)
        return fallback;
    return wanted > SDK_POLL_RESULTS_MAX ? SDK_POLL_RESULTS_MAX : wanted;
}

static int fill_state(struct dispatch_ctx *ctx, const struct dispatch_poll *poll,
                      wire_poll *message, struct error *err)
{
    if (!poll->append) {
        message->state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
        return sdk_any_from_value(poll->state, &ctx->arena, &message->typed_coroutine_state, err);
    }
    if (!dispatch_is_null(poll->state))
        return error_set(err, CODE_INVALID_ARGUMENT, "a poll has both a state and an append");
    if (!ctx->input.request->now) /* the state would be lost */
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "a poll has an append, which this orchestrator does not know");
    message->state_case = DISPATCH__SDK__V1__POLL__STATE_APPEND;
    message->append.data = (uint8_t *)(uintptr_t)poll->append;
    message->append.len = poll->append_size;
    message->append_position = poll->append_position;
    return 0;
}

static int fill_poll(struct dispatch_ctx *ctx, const struct dispatch_poll *poll, wire_poll *message,
                     struct error *err)
{
    int rc = fill_state(ctx, poll, message, err);

    if (rc)
        return rc;
    message->calls = arena_zalloc(&ctx->arena, poll->call_count, sizeof *message->calls);
    if (!message->calls)
        return error_memory(err);
    for (size_t i = 0; i < poll->call_count; i++) {
        rc = sdk_call_to_wire(&poll->calls[i], NULL, &ctx->arena, &message->calls[i], err);
        if (rc)
            return rc;
    }
    message->n_calls = poll->call_count;
    message->min_results = clamp_results(poll->min_results, 1);
    message->max_results = clamp_results(poll->max_results, SDK_POLL_RESULTS);
    message->wake_on_error = poll->wake_on_error;
    message->cancel = (uint64_t *)(uintptr_t)poll->cancel;
    message->n_cancel = poll->cancel_count;
    return 0;
}

struct dispatch_output dispatch_output_poll(struct dispatch_ctx *ctx,
                                            const struct dispatch_poll *poll)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll message = DISPATCH__SDK__V1__POLL__INIT;
    wire_duration max_wait = GOOGLE__PROTOBUF__DURATION__INIT;
    struct error err = {0};

    if (fill_poll(ctx, poll, &message, &err))
        return mend(ctx, &err);
    if (poll->has_max_wait) {
        int64_t ms = poll->max_wait_ms > 0 ? poll->max_wait_ms : 0;

        max_wait.seconds = ms / 1000;
        max_wait.nanos = (int32_t)(ms % 1000) * 1000000;
        message.max_wait = &max_wait;
    }
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &message;
    return pack(ctx, &response);
}

const void *dispatch_output_bytes(struct dispatch_output output, size_t *size)
{
    *size = output.size_;
    return output.bytes_;
}
