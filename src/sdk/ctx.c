// SPDX-License-Identifier: Apache-2.0
/*
 * The context of one run: an arena, and the input decoded into it. All that the run allocates, its
 * output included, goes at once when the run has been answered.
 */
#include "sdk/internal.h"

#include <stdlib.h>

static int decode_results(struct dispatch_ctx *ctx, const Dispatch__Sdk__V1__PollResult *poll,
                          struct error *err)
{
    struct dispatch_input *input = &ctx->input;

    input->results = arena_zalloc(&ctx->arena, poll->n_results, sizeof *input->results);
    if (!input->results)
        return error_memory(err);
    for (size_t i = 0; i < poll->n_results; i++) {
        int rc = sdk_result_from_wire(poll->results[i], &ctx->arena, &input->results[i], err);

        if (rc)
            return rc;
    }
    input->result_count = poll->n_results;
    return 0;
}

static int decode_poll(struct dispatch_ctx *ctx, const Dispatch__Sdk__V1__PollResult *poll,
                       struct error *err)
{
    struct dispatch_input *input = &ctx->input;
    int rc = 0;

    input->resume = true;
    if (poll->state_case == DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE)
        rc = sdk_value_from_any(poll->typed_coroutine_state, &ctx->arena, &input->value, err);
    else if (poll->state_case == DISPATCH__SDK__V1__POLL_RESULT__STATE_COROUTINE_STATE)
        input->value = dispatch_bytes(poll->coroutine_state.data, poll->coroutine_state.len);
    if (rc)
        return rc;
    if (poll->error) {
        input->poll_error = sdk_error_from_wire(poll->error, &ctx->arena);
        if (!input->poll_error)
            return error_memory(err);
    }
    return decode_results(ctx, poll, err);
}

int sdk_ctx_decode(struct dispatch_ctx *ctx, struct error *err)
{
    const wire_run_request *request = ctx->input.request;

    if (request->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT)
        return decode_poll(ctx, request->poll_result, err);
    if (request->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT)
        return sdk_value_from_any(request->input, &ctx->arena, &ctx->input.value, err);
    return 0; /* no input at all is null */
}

int sdk_ctx_unpack(struct slice run_request, size_t max_memory, struct dispatch_ctx **ctx,
                   struct error *err)
{
    struct dispatch_ctx *made = calloc(1, sizeof *made);
    wire_run_request *request;
    int rc;

    if (!made)
        return error_memory(err);
    arena_init(&made->arena, max_memory);
    rc = wire_unpack(&dispatch__sdk__v1__run_request__descriptor, run_request, &made->arena,
                     &request, err);
    if (rc) {
        dispatch_ctx_destroy(made);
        return rc;
    }
    made->input.request = request;
    *ctx = made;
    return 0;
}

int sdk_ctx_create(struct slice run_request, size_t max_memory, struct dispatch_ctx **ctx,
                   struct error *err)
{
    struct dispatch_ctx *made = NULL;
    int rc = sdk_ctx_unpack(run_request, max_memory, &made, err);

    if (rc)
        return rc;
    rc = sdk_ctx_decode(made, err);
    if (rc)
        dispatch_ctx_destroy(made);
    else
        *ctx = made;
    return rc;
}

int dispatch_ctx_create(const void *run_request, size_t size, struct dispatch_ctx **ctx,
                        struct dispatch_failure *failure)
{
    struct error err = {0};

    if (sdk_ctx_create(slice(run_request, size), SDK_DEFAULT_RUN_MEMORY, ctx, &err))
        return sdk_fail_from(failure, &err);
    return 0;
}

void dispatch_ctx_destroy(struct dispatch_ctx *ctx)
{
    if (!ctx)
        return;
    arena_reset(&ctx->arena);
    free(ctx);
}

void *dispatch_alloc(struct dispatch_ctx *ctx, size_t size)
{
    void *memory = arena_zalloc(&ctx->arena, 1, size);

    if (!memory)
        ctx->failed = true;
    return memory;
}

const struct dispatch_input *dispatch_ctx_input(struct dispatch_ctx *ctx)
{
    return &ctx->input;
}
