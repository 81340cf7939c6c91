// SPDX-License-Identifier: Apache-2.0
/*
 * Running functions. Each run of a function, awaiting or not, begins on a fiber of its own; most
 * return at once and never know. One that awaits yields to the scheduler, which goes on with
 * whoever is ready, and when nobody is, answers with a poll: see poll.c.
 *
 * A run that cannot go on (the code diverged from its journal, a reset, no memory) ends early: its
 * output is set, the fiber that noticed yields, and is never resumed but to be unwound.
 */
#include "sdk/coroutine.h"

#include <assert.h>
#include <stdio.h>

/* --- ending early ---------------------------------------------------------------------------- */

void execution_end(struct execution *e, struct dispatch_output output)
{
    if (!e->ended && !e->finished) {
        e->ended = true;
        e->output = output;
    }
    if (e->current && !e->current->dropped)
        coroutine_suspend(e);
}

void execution_fail(struct execution *e, enum dispatch_status status, const char *type,
                    const char *format, ...)
{
    struct error err;
    va_list args;

    va_start(args, format);
    error_setv(&err, CODE_UNKNOWN, format, args);
    va_end(args);
    execution_end(e, sdk_output_refusal(e->ctx, status, type, err.message));
}

void execution_memory(struct execution *e)
{
    const struct dispatch_error *error = sdk_memory_error();

    execution_end(e, sdk_output_refusal(e->ctx, error->status, error->type, error->message));
}

/* --- coroutines ------------------------------------------------------------------------------ */

static void coroutine_main(void *arg)
{
    struct coroutine *c = arg;

    c->result = c->function(c->execution->ctx, c->input);
}

struct coroutine *coroutine_create(struct execution *e, dispatch_function *function,
                                   struct dispatch_value input, const char *name,
                                   struct dispatch_task *task)
{
    struct coroutine *c = arena_zalloc(&e->ctx->arena, 1, sizeof *c);
    struct error err = {0};

    if (!c) {
        execution_memory(e);
        return NULL;
    }
    *c = (struct coroutine){
        .execution = e, .function = function, .input = input, .name = name, .task = task};
    c->path = e->current ? slice_hash(slice(&e->current->path, sizeof e->current->path),
                                      e->current->awaits)
                         : e->base;
    list_init(&c->ready);
    if (sdk_fiber_create(sdk_coroutines_stacks(e->owner), coroutine_main, c, name, &c->fiber,
                         &err)) {
        execution_fail(e, DISPATCH_TEMPORARY_ERROR, "Memory", "%s", err.message);
        return NULL;
    }
    list_append(&e->coroutines, &c->node);
    list_append(&e->ready, &c->ready);
    return c;
}

void coroutine_suspend(struct execution *e)
{
    struct coroutine *c = e->current;

    do
        sdk_fiber_yield(c->fiber);
    while (e->ended && !c->dropped);
    if (c->dropped)
        sdk_fiber_unwind(c->fiber);
}

void coroutine_ready(struct coroutine *c)
{
    assert(list_empty(&c->ready));
    list_append(&c->execution->ready, &c->ready);
}

static bool resume(struct coroutine *c)
{
    struct execution *e = c->execution;
    struct dispatch_ctx *outside = sdk_inside_enter(e->ctx);
    struct coroutine *before = e->current;
    bool more;

    c->started = true;
    e->current = c;
    more = sdk_fiber_resume(c->fiber);
    e->current = before;
    sdk_inside_enter(outside);
    return more;
}

/* Its stack has ended: the handlers, and the stack goes back. */
static void bury(struct coroutine *c)
{
    struct execution *e = c->execution;
    struct coroutine *before = e->current;
    struct deferred *deferred;

    e->current = NULL; /* handlers do not await */
    while ((deferred = c->deferred) != NULL) {
        c->deferred = deferred->next;
        deferred->fn(deferred->arg);
    }
    e->current = before;
    blob_unref(c->held);
    c->held = NULL;
    sdk_fiber_destroy(c->fiber);
    c->fiber = NULL;
    list_remove(&c->ready);
    list_remove(&c->node);
}

void coroutine_drop(struct coroutine *c)
{
    if (!c->fiber || c->dropped)
        return;
    c->dropped = true;
    coroutine_retire(c);
    if (c->started)
        resume(c);
    bury(c);
}

/* Its function has returned. */
static void finished(struct coroutine *c)
{
    struct execution *e = c->execution;

    if (!c->task) {
        e->finished = true;
        /* What the result borrows may be given back by a handler: so it is packed first. */
        if (!is_checkpoint(&c->result))
            e->output = dispatch_output_result(e->ctx, &c->result);
        /* The local ones first: their handlers may use what its own give back. */
        list_remove(&c->node);
        execution_drop(e);
        bury(c);
        return;
    }
    if (is_checkpoint(&c->result))
        c->result = dispatch_fail(e->ctx, DISPATCH_PERMANENT_ERROR, "Misuse",
                                  "dispatch_checkpoint was returned by a local coroutine: only the "
                                  "function itself can");
    bury(c);
    task_complete(e, c->task, c->result);
}

void execution_run_ready(struct execution *e)
{
    struct list *node;

    while (!e->ended && !e->finished && (node = list_pop(&e->ready)) != NULL) {
        struct coroutine *c = LIST_ENTRY(node, struct coroutine, ready);

        if (!resume(c))
            finished(c);
    }
}

void execution_drop(struct execution *e)
{
    while (!list_empty(&e->coroutines)) {
        struct coroutine *c = LIST_ENTRY(e->coroutines.prev, struct coroutine, node);

        list_remove(&c->node);
        coroutine_drop(c);
    }
}

/* --- values ---------------------------------------------------------------------------------- */

int execution_copy_value(struct execution *e, struct dispatch_value value,
                         struct dispatch_value *copy, struct error *err)
{
    struct arena *arena = &e->ctx->arena;
    wire_any *any = NULL;
    void *bytes;
    int rc = sdk_any_from_value(value, arena, &any, err);

    if (rc || !any)
        return rc;
    /* The Any borrows what the value does. */
    bytes = arena_dup(arena, slice(any->value.data, any->value.len));
    if (!bytes)
        return error_memory(err);
    any->value.data = bytes;
    any->type_url = arena_dup(arena, slice_str(any->type_url));
    return any->type_url ? sdk_value_from_any(any, arena, copy, err) : error_memory(err);
}

void dispatch_defer(struct dispatch_ctx *ctx, void (*fn)(void *arg), void *arg)
{
    struct execution *e = ctx->execution;
    struct deferred *deferred;

    if (!e || !e->current)
        return;
    deferred = dispatch_alloc(ctx, sizeof *deferred);
    if (!deferred) {
        /* The run ends, and what it was to give back is given back now. */
        fn(arg);
        execution_memory(e);
        return;
    }
    *deferred = (struct deferred){e->current->deferred, fn, arg};
    e->current->deferred = deferred;
}

struct dispatch_ctx *dispatch_here_(struct dispatch_ctx *ctx, const char *file, int line,
                                    const char *function, const char *name)
{
    if (ctx) {
        ctx->here = (struct sdk_place){file, function, line};
        ctx->spawn_name = name;
    }
    return ctx;
}
