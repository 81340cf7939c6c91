// SPDX-License-Identifier: Apache-2.0
/*
 * Runs of functions, from a request to its answer, and the executions that are suspended between
 * two of them. These are a cache and nothing more: the journal at the orchestrator is the truth.
 * One goes on if the request is for it (same call, generation and thread) and brings exactly the
 * journal that it left; otherwise it is dropped, and after that the function replayed.
 */
#include "sdk/suspended.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "sdk/coroutine.h"

enum { SUSPENDED_DEFAULT = 1024, SUSPENDED_BYTES = 64 << 20, OUTPUT_MAX = 80 << 20 };

struct sdk_coroutines {
    struct sdk_coroutines_options options;
    struct sdk_stacks *stacks;
    uint32_t replay_every; /* 0: only when it must */
    atomic_uint resumes;
    pthread_mutex_t lock; /* of what follows */
    struct map suspended; /* hash of the id to a chain of executions */
    struct list recent;   /* the one that was suspended last in front */
    size_t count, max, bytes, max_bytes;
};

/* --- making ---------------------------------------------------------------------------------- */

static uint32_t replay_every(void)
{
    const char *value = getenv("DISPATCH_REPLAY");
    unsigned long number;
    char *end;

    if (!value || !*value)
        return 0;
    number = strtoul(value, &end, 10);
    return *end == '\0' && number <= UINT32_MAX ? (uint32_t)number : 1;
}

int sdk_coroutines_create(const struct sdk_coroutines_options *options,
                          struct sdk_coroutines **coroutines, struct error *err)
{
    struct sdk_coroutines *made = calloc(1, sizeof *made);

    if (made)
        made->stacks = sdk_stacks_create(options->stack_size);
    if (!made || !made->stacks) {
        free(made);
        return error_memory(err);
    }
    made->options = *options;
    made->replay_every = replay_every();
    made->max = options->max_suspended == 0  ? SUSPENDED_DEFAULT
                : options->max_suspended < 0 ? 0
                                             : (size_t)options->max_suspended;
    made->max_bytes = options->max_suspended_bytes ? options->max_suspended_bytes : SUSPENDED_BYTES;
    sdk_mutex_init(&made->lock);
    map_init(&made->suspended);
    list_init(&made->recent);
    *coroutines = made;
    return 0;
}

struct sdk_stacks *sdk_coroutines_stacks(const struct sdk_coroutines *owner)
{
    return owner->stacks;
}

bool sdk_coroutines_restarts(const struct sdk_coroutines *owner)
{
    return sdk_registry_restarts(owner->options.registry);
}

void sdk_coroutines_warn(const struct sdk_coroutines *owner, const char *id, const char *format,
                         ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;

    if (!owner->options.on_warning)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    owner->options.on_warning(owner->options.arg, id, text);
}

/* --- executions ------------------------------------------------------------------------------ */

static struct execution *execution_create(struct sdk_coroutines *owner, dispatch_function *function,
                                          struct dispatch_ctx *ctx)
{
    struct execution *e = arena_zalloc(&ctx->arena, 1, sizeof *e);

    if (!e)
        return NULL;
    e->owner = owner;
    e->ctx = ctx;
    e->function = function;
    e->name = ctx->input.request->function;
    e->strict = owner->replay_every == 1;
    list_init(&e->ready);
    list_init(&e->coroutines);
    list_init(&e->open);
    list_init(&e->unsent);
    list_init(&e->left);
    list_init(&e->recent);
    map_init(&e->calls);
    buf_init(&e->cancelled, 100000 * sizeof(uint64_t));
    ctx->execution = e;
    return e;
}

/* What the arena does not hold. Its fibers are gone. */
static void release(struct execution *e)
{
    if (e->journaled)
        journal_free(&e->journal);
    map_free(&e->calls);
    buf_free(&e->cancelled);
    e->ctx->execution = NULL;
}

static void execution_destroy(struct execution *e)
{
    struct dispatch_ctx *ctx = e->ctx;

    e->ended = true;
    execution_drop(e);
    release(e);
    dispatch_ctx_destroy(ctx); /* with e in it */
}

void sdk_coroutines_destroy(struct sdk_coroutines *coroutines)
{
    struct list *node;

    if (!coroutines)
        return;
    while ((node = list_pop(&coroutines->recent)) != NULL)
        execution_destroy(LIST_ENTRY(node, struct execution, recent));
    map_free(&coroutines->suspended);
    pthread_mutex_destroy(&coroutines->lock);
    sdk_stacks_destroy(coroutines->stacks);
    free(coroutines);
}

/* --- the suspended ones ---------------------------------------------------------------------- */

static struct slice id_of(const struct dispatch_ctx *ctx)
{
    return slice_str(ctx->input.request->dispatch_id);
}

/* Under the lock. */
static struct execution *find(const struct sdk_coroutines *owner, struct slice id)
{
    struct execution *e = map_get(&owner->suspended, slice_hash(id, 0));

    while (e && !slice_eq(id_of(e->ctx), id))
        e = e->chain;
    return e;
}

/* Under the lock. */
static void take_out(struct sdk_coroutines *owner, struct execution *e)
{
    struct execution *head = map_get(&owner->suspended, e->id_hash);

    if (head != e) {
        while (head->chain != e)
            head = head->chain;
        head->chain = e->chain;
    } else if (!e->chain) {
        map_remove(&owner->suspended, e->id_hash);
    } else {
        bool replaced = map_set(&owner->suspended, e->id_hash, e->chain);

        assert(replaced); /* the key is there */
        (void)replaced;
    }
    list_remove(&e->recent);
    owner->count--;
    owner->bytes -= e->size;
}

static struct execution *take(struct sdk_coroutines *owner, struct slice id)
{
    struct execution *e;

    pthread_mutex_lock(&owner->lock);
    e = find(owner, id);
    if (e)
        take_out(owner, e);
    pthread_mutex_unlock(&owner->lock);
    return e;
}

uint32_t sdk_coroutines_worker(struct sdk_coroutines *owner, struct slice id)
{
    struct execution *e;
    uint32_t worker = 0;

    pthread_mutex_lock(&owner->lock);
    e = find(owner, id);
    if (e)
        worker = e->worker;
    pthread_mutex_unlock(&owner->lock);
    return worker;
}

void sdk_coroutines_kept(struct sdk_coroutines *owner, size_t *count, size_t *bytes)
{
    pthread_mutex_lock(&owner->lock);
    *count = owner->count;
    *bytes = owner->bytes;
    pthread_mutex_unlock(&owner->lock);
}

/* What it takes while it is suspended. */
static size_t size_of(const struct execution *e)
{
    size_t size = e->ctx->arena.used + e->journal.bytes.cap;

    for (const struct list *node = e->coroutines.next; node != &e->coroutines; node = node->next)
        size += sdk_fiber_used(LIST_ENTRY(node, struct coroutine, node)->fiber);
    return size;
}

/* Under the lock. False: it is not worth its place, or there is no memory. */
static bool put_in(struct sdk_coroutines *owner, struct execution *e)
{
    if (id_of(e->ctx).len == 0 || owner->max == 0 || owner->replay_every == 1 ||
        e->size > owner->max_bytes)
        return false;
    e->chain = map_get(&owner->suspended, e->id_hash);
    if (!map_set(&owner->suspended, e->id_hash, e))
        return false;
    list_push(&owner->recent, &e->recent);
    owner->count++;
    owner->bytes += e->size;
    return true;
}

/* Suspends it, or drops it, or others that have waited longest. */
static void keep(struct sdk_coroutines *owner, struct execution *e, uint32_t worker)
{
    struct list victims, *node;

    list_init(&victims);
    e->thread = pthread_self();
    e->worker = worker;
    e->id_hash = slice_hash(id_of(e->ctx), 0);
    e->size = size_of(e);
    pthread_mutex_lock(&owner->lock);
    if (!put_in(owner, e))
        list_append(&victims, &e->recent);
    while (owner->count > owner->max || owner->bytes > owner->max_bytes) {
        struct execution *oldest = LIST_ENTRY(owner->recent.prev, struct execution, recent);

        take_out(owner, oldest);
        list_append(&victims, &oldest->recent);
    }
    pthread_mutex_unlock(&owner->lock);
    while ((node = list_pop(&victims)) != NULL)
        execution_destroy(LIST_ENTRY(node, struct execution, recent));
}

/* --- runs ------------------------------------------------------------------------------------ */

/* The journal that a resume brings; NULL data: the state is none. */
static struct slice journal_of(const wire_run_request *request)
{
    const wire_poll_result *poll = request->poll_result;
    const wire_any *any = poll->typed_coroutine_state;

    if (poll->state_case != DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE || !any ||
        !slice_eq_str(wire_type_name(slice_str(any->type_url)), JOURNAL_TYPE))
        return slice(NULL, 0);
    return slice(any->value.data, any->value.len);
}

static void set_clock(struct execution *e, const wire_run_request *request)
{
    e->extended = request->now != NULL;
    e->generation = request->generation;
    e->began_ns = clock_now(clock_system());
    e->now_ns = request->now ? wire_time_ns(request->now) : e->began_ns;
}

/* Whether the stack is the one that the request is for. */
static bool goes_on(const struct execution *e, const wire_run_request *request)
{
    struct sdk_coroutines *owner = e->owner;

    if (owner->replay_every > 0 &&
        atomic_fetch_add(&owner->resumes, 1) % owner->replay_every == owner->replay_every - 1)
        return false;
    return pthread_equal(e->thread, pthread_self()) && e->generation == request->generation &&
           strcmp(e->name, request->function) == 0 &&
           slice_eq(buf_slice(&e->journal.bytes), journal_of(request));
}

/* From the top, with the journal that the request brings. */
static int replay(struct execution *e, const wire_run_request *request, struct error *err)
{
    struct slice state = journal_of(request);
    int rc;

    if (!state.data)
        rc = error_set(err, CODE_DATA_LOSS,
                       "this function does not suspend like that: the state is another's");
    else
        rc = journal_load(&e->journal, state, err);
    if (rc == CODE_UNIMPLEMENTED) {
        execution_fail(e, DISPATCH_TEMPORARY_ERROR, "Diverged", "%s: the call waits for newer code",
                       err->message);
        return 0;
    }
    if (rc == CODE_DATA_LOSS) {
        execution_fail(e, DISPATCH_INCOMPATIBLE_STATE, "Incompatible", "%s", err->message);
        return 0;
    }
    if (rc)
        return rc;
    e->journaled = true;
    e->committed = state.len;
    execution_replay(e);
    return 0;
}

/* An execution that stands where the request resumes it, or has ended. It owns the ctx, or lets it
 * be freed at once if it has another. */
static int enter(struct sdk_coroutines *owner, dispatch_function *function,
                 struct dispatch_ctx *ctx, struct execution **out, struct error *err)
{
    const wire_run_request *request = ctx->input.request;
    bool resume = request->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT;
    struct execution *e = take(owner, id_of(ctx));
    int rc = 0;

    if (e && (!resume || !goes_on(e, request))) {
        execution_destroy(e);
        e = NULL;
    }
    if (e) {
        set_clock(e, request);
        execution_committed(e); /* a replay sees it in the journal */
        execution_run_ready(e);
        execution_deliver(e, request->poll_result);
        dispatch_ctx_destroy(ctx);
        *out = e;
        return 0;
    }
    if (!resume)
        rc = sdk_ctx_decode(ctx, err);
    if (!rc && !(e = execution_create(owner, function, ctx)))
        rc = error_memory(err);
    if (rc) {
        dispatch_ctx_destroy(ctx);
        return rc;
    }
    set_clock(e, request);
    *out = e;
    if (!resume) {
        e->main = coroutine_create(e, function, ctx->input.value, e->name, NULL);
        execution_run_ready(e);
        return 0;
    }
    rc = replay(e, request, err);
    if (rc)
        execution_destroy(e);
    else if (!e->ended && !e->finished)
        execution_deliver(e, request->poll_result);
    return rc;
}

/* The answer; true: it waits, and its stack is worth keeping. */
static bool conclude(struct execution *e, struct sdk_answer *answer)
{
    bool waits = false, over, checkpoint;

    execution_fire_due(e);
    over = e->finished;
    checkpoint = over && is_checkpoint(&e->main->result);
    if (checkpoint) {
        waits = checkpoint_journal(e) && execution_poll(e, POLL_CHECKPOINT, &answer->poll);
    } else if (over && !list_empty(&e->unsent) &&
               !dispatch_status_temporary(e->main->result.status)) {
        e->finished = false; /* not yet: it will be, when it is replayed */
        waits = execution_poll(e, POLL_LAST_CALLS, &answer->poll);
    } else if (!over && !e->ended) {
        waits = execution_poll(e, POLL_WAITS, &answer->poll);
    }
    if (waits) {
        answer->bytes = answer->poll.data;
        answer->size = answer->poll.len;
    } else {
        answer->bytes = e->output.bytes_;
        answer->size = e->output.size_;
    }
    return waits && !over;
}

int sdk_coroutines_run(struct sdk_coroutines *owner, dispatch_function *function,
                       struct dispatch_ctx *ctx, uint32_t worker, struct sdk_answer *answer,
                       struct error *err)
{
    struct execution *e;
    int rc = enter(owner, function, ctx, &e, err);

    if (rc)
        return rc;
    *answer = (struct sdk_answer){0};
    buf_init(&answer->poll, OUTPUT_MAX);
    if (conclude(e, answer)) {
        keep(owner, e, worker);
        return 0;
    }
    /* The answer may bring the next run at once: what this one holds is given back before it. */
    e->ended = true;
    execution_drop(e);
    answer->ctx = e->ctx;
    release(e);
    return 0;
}

void sdk_answer_free(struct sdk_answer *answer)
{
    buf_free(&answer->poll);
    dispatch_ctx_destroy(answer->ctx);
}
