// SPDX-License-Identifier: Apache-2.0
/*
 * Tasks, and waiting for them. A task becomes done once, at the scheduler's hand (a result was
 * delivered, a local coroutine returned, a timer fired) or at its birth (a call that cannot be
 * made). It tells those who wait for it; whoever has what it waited for gets ready, and what it no
 * longer needs is abandoned at that moment, before anybody runs.
 *
 * Which of several tasks was first is told by the order of their ends, so that an await of tasks
 * that are done already gives what a wait would have given.
 */
#include "sdk/coroutine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRACEBACK_MAX = 16384 };

/* --- misuse ---------------------------------------------------------------------------------- */

struct dispatch_result misuse(void)
{
    static const struct dispatch_error error = {
        .status = DISPATCH_PERMANENT_ERROR,
        .type = "Misuse",
        .message = "only a function registered with dispatch_register can await, and not in a "
                   "step, a handler of dispatch_defer or a destructor"};

    return (struct dispatch_result){.error = &error, .status = DISPATCH_PERMANENT_ERROR};
}

struct execution *awaiting(struct dispatch_ctx *ctx)
{
    struct execution *e = ctx ? ctx->execution : NULL;

    if (!e || !e->current || e->current->dropped || e->in_effect)
        return NULL;
    if (sdk_fiber_left(e->current->fiber) < SDK_STACK_RED_ZONE)
        execution_fail(e, DISPATCH_PERMANENT_ERROR, "StackOverflow",
                       "function '%s' awaits with less than %zu bytes left of its stack of %zu: "
                       "give functions a larger one (stack_size of the endpoint's options)",
                       e->current->name, SDK_STACK_RED_ZONE,
                       sdk_stacks_size(sdk_coroutines_stacks(e->owner)));
    return e;
}

/* --- tasks ----------------------------------------------------------------------------------- */

struct dispatch_task *task_create(struct execution *e, enum task_kind kind, const char *name)
{
    struct dispatch_task *task = arena_zalloc(&e->ctx->arena, 1, sizeof *task);

    if (!task) {
        execution_memory(e);
        return NULL;
    }
    task->kind = kind;
    task->name = name;
    task->creator = e->current;
    list_init(&task->waiters);
    list_init(&task->unsent);
    list_append(&e->open, &task->node);
    return task;
}

struct dispatch_task *task_find(struct execution *e, uint64_t correlation)
{
    return map_get(&e->calls, correlation);
}

const struct dispatch_result *dispatch_task_result(const struct dispatch_task *task)
{
    return task && task->done ? &task->result : NULL;
}

static bool failed(const struct dispatch_task *task)
{
    return task->result.error != NULL;
}

/* An end that says so without an error gets one, so that everybody can look at it alone. */
static void complete_error(struct execution *e, struct dispatch_result *result)
{
    struct dispatch_error *error;

    if (result->error || result->status == DISPATCH_OK || result->status == DISPATCH_UNSPECIFIED)
        return;
    error = arena_zalloc(&e->ctx->arena, 1, sizeof *error);
    if (!error) {
        result->error = sdk_memory_error();
        return;
    }
    *error = (struct dispatch_error){.status = result->status,
                                     .type = "status",
                                     .message = dispatch_status_name(result->status)};
    result->error = error;
}

/* The coroutine no longer waits: no task knows it. */
static void unlink_wait(struct wait *wait)
{
    for (size_t i = 0; i < wait->count; i++)
        list_remove(&wait->links[i].node);
}

/* Those that somebody else waits for go on. */
static void abandon_losers(struct execution *e, const struct wait *wait)
{
    for (size_t i = 0; i < wait->count; i++)
        if (!wait->tasks[i]->done && list_empty(&wait->tasks[i]->waiters))
            task_abandon(e, wait->tasks[i], true);
}

/* One of the tasks that the coroutine waits for is done. */
static void notify(struct coroutine *c, const struct dispatch_task *task)
{
    struct wait *wait = &c->wait;
    bool settled = --wait->pending == 0;

    if (wait->kind == WAIT_ALL)
        settled |= failed(task);
    else if (wait->kind == WAIT_ANY)
        settled |= !failed(task);
    else
        settled = true;
    if (!settled)
        return;
    unlink_wait(wait);
    coroutine_ready(c);
    if (wait->kind != WAIT_ONE)
        abandon_losers(c->execution, wait);
}

void task_complete(struct execution *e, struct dispatch_task *task, struct dispatch_result result)
{
    struct list *node;

    if (task->done)
        return;
    complete_error(e, &result);
    task->done = true;
    task->finished_at = ++e->finishes;
    task->result = result;
    list_remove(&task->node);
    if (task->correlation) {
        e->awaiting_results -= task->kind == TASK_CALL;
        map_remove(&e->calls, task->correlation);
    }
    while ((node = list_pop(&task->waiters)) != NULL)
        notify(LIST_ENTRY(node, struct wait_link, node)->coroutine, task);
}

/* An error without memory of its own: what an abandoned task ended with. */
static struct dispatch_result forgotten(void)
{
    static const struct dispatch_error error = {
        .status = DISPATCH_PERMANENT_ERROR,
        .type = "Forgotten",
        .message = "the task was given up: by dispatch_forget, or as it lost a race, or as another "
                   "task of the same dispatch_all failed"};

    return (struct dispatch_result){.error = &error, .status = DISPATCH_PERMANENT_ERROR};
}

void task_abandon(struct execution *e, struct dispatch_task *task, bool cancel)
{
    if (task->done)
        return;
    task->forgotten = true;
    if (task->kind == TASK_CALL && cancel) {
        if (task->left)
            buf_append(&e->cancelled, &task->correlation, sizeof task->correlation);
        list_remove(&task->unsent);
    }
    if (task->kind == TASK_LOCAL && task->coroutine != e->current)
        coroutine_drop(task->coroutine);
    task_complete(e, task, forgotten());
}

void coroutine_retire(struct coroutine *c)
{
    struct execution *e = c->execution;

    unlink_wait(&c->wait);
    c->wait.count = 0;
    if (e->ended || e->finished)
        return;
    LIST_FOR_EACH (node, next, &e->open) {
        struct dispatch_task *task = LIST_ENTRY(node, struct dispatch_task, node);

        if (task->creator == c && list_empty(&task->waiters)) {
            task_abandon(e, task, true);
            next = e->open.next; /* that may have taken others along: from the start */
        }
    }
}

/* --- waiting --------------------------------------------------------------------------------- */

/* Whether what is done already is enough. */
static bool is_settled(enum wait_kind kind, struct dispatch_task *const *tasks, size_t count)
{
    size_t over = 0;

    for (size_t i = 0; i < count; i++) {
        if (!tasks[i]->done)
            continue;
        over++;
        if (kind == WAIT_RACE || (kind == WAIT_ALL && failed(tasks[i])) ||
            (kind == WAIT_ANY && !failed(tasks[i])))
            return true;
    }
    return over == count;
}

static void wait_for(struct execution *e, enum wait_kind kind, struct dispatch_task *const *tasks,
                     size_t count)
{
    struct coroutine *c = e->current;
    struct wait_link one, *links = &one;

    c->wait = (struct wait){.kind = kind, .tasks = tasks, .count = count};
    if (is_settled(kind, tasks, count)) {
        if (kind != WAIT_ONE)
            abandon_losers(e, &c->wait);
        c->wait = (struct wait){0};
        return;
    }
    if (count > 1)
        links = arena_alloc(&e->ctx->arena, count * sizeof *links);
    if (!links) {
        execution_memory(e);
        return;
    }
    c->wait.links = links;
    for (size_t i = 0; i < count; i++) {
        links[i].coroutine = c;
        list_init(&links[i].node);
        if (tasks[i]->done)
            continue;
        list_append(&tasks[i]->waiters, &links[i].node);
        c->wait.pending++;
    }
    coroutine_suspend(e);
    c->wait = (struct wait){0};
}

/* --- tracebacks ------------------------------------------------------------------------------ */

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');

    return slash ? slash + 1 : file;
}

const char *sdk_trace_line(struct dispatch_ctx *ctx, const char *before, size_t before_size,
                           const char *awaited, size_t *size)
{
    const struct sdk_place *here = &ctx->here;
    char *text;

    if (!here->file || before_size > TRACEBACK_MAX)
        return NULL;
    text = arena_printf(&ctx->arena, "%.*sat %s (%s:%d)%s%s\n", (int)before_size,
                        before ? before : "", here->function, base_name(here->file), here->line,
                        awaited ? ", awaiting " : "", awaited ? awaited : "");
    if (text)
        *size = strlen(text);
    return text;
}

void result_trace(struct execution *e, struct dispatch_result *result, const char *name)
{
    struct dispatch_error *copy;
    const char *traceback;
    size_t size;

    if (!result->error || result->error == sdk_memory_error())
        return;
    traceback = sdk_trace_line(e->ctx, result->error->traceback, result->error->traceback_size,
                               name, &size);
    copy = traceback ? arena_alloc(&e->ctx->arena, sizeof *copy) : NULL;
    if (!copy)
        return;
    *copy = *result->error;
    copy->traceback = traceback;
    copy->traceback_size = size;
    result->error = copy;
}

/* --- beginning ------------------------------------------------------------------------------- */

static uint32_t digest_of(const wire_any *any)
{
    uint64_t hash = 0;

    if (any)
        hash = slice_hash(slice(any->value.data, any->value.len),
                          slice_hash(slice_str(any->type_url), 0));
    return (uint32_t)(hash ^ hash >> 32);
}

/* Keeps the call for the next poll to take along. */
static void keep_call(struct execution *e, struct dispatch_task *task, wire_call *message)
{
    uint8_t *bytes;

    message->correlation_id = task->correlation;
    task->packed.len = protobuf_c_message_get_packed_size(&message->base);
    bytes = arena_alloc(&e->ctx->arena, task->packed.len);
    if (!bytes) {
        execution_memory(e);
        return;
    }
    protobuf_c_message_pack(&message->base, bytes);
    task->packed.data = bytes;
    list_append(&e->unsent, &task->unsent);
}

/* A task that is done before it began: the call cannot be made. */
static struct dispatch_task *still_born(struct execution *e, struct dispatch_task *task,
                                        const struct error *err)
{
    struct dispatch_result result = dispatch_fail(
        e->ctx,
        err->code == CODE_RESOURCE_EXHAUSTED ? DISPATCH_TEMPORARY_ERROR : DISPATCH_INVALID_ARGUMENT,
        code_name(err->code), "%s", err->message);

    task_complete(e, task, result);
    return task;
}

static struct dispatch_task *begin_call(struct execution *e, enum journal_kind kind,
                                        const struct dispatch_call *call)
{
    const char *name = call->function ? arena_dup(&e->ctx->arena, slice_str(call->function)) : "";
    struct dispatch_task *task = name ? task_create(e, TASK_CALL, name) : NULL;
    struct journal_record record = {.kind = kind, .name = slice_str(name)}, found;
    wire_call *message;
    struct error err = {0};
    char what[160];

    if (!task) {
        execution_memory(e);
        return NULL;
    }
    if (sdk_call_to_wire(call, NULL, &e->ctx->arena, &message, &err))
        return still_born(e, task, &err);
    record.digest = digest_of(message->input);
    if (journal_replays(e, &record, &found)) {
        snprintf(what, sizeof what, "the call of '%s'", name);
        check_digest(e, &found, what, record.digest);
        task->correlation = found.correlation;
        list_append(&e->unsent, &task->unsent); /* until its poll is replayed */
    } else {
        if (!journal_put(e, &record))
            return NULL;
        task->correlation = record.correlation;
        keep_call(e, task, message);
    }
    e->awaiting_results++;
    if (!map_set(&e->calls, task->correlation, task))
        execution_memory(e);
    return task;
}

static struct dispatch_task *begin_timer(struct execution *e, enum journal_kind kind,
                                         int64_t deadline_ns)
{
    struct dispatch_task *task = task_create(e, TASK_TIMER, "timer");
    struct journal_record record = {.kind = kind, .time_ns = deadline_ns};

    if (!task || (!journal_replays(e, &record, &record) && !journal_put(e, &record)))
        return NULL;
    task->correlation = record.correlation;
    task->deadline_ns = record.time_ns;
    if (!map_set(&e->calls, task->correlation, task))
        execution_memory(e);
    return task;
}

struct dispatch_task *dispatch_start_with(struct dispatch_ctx *ctx,
                                          const struct dispatch_call *call)
{
    struct execution *e = awaiting(ctx);

    return e ? begin_call(e, JOURNAL_START, call) : NULL;
}

struct dispatch_task *dispatch_start(struct dispatch_ctx *ctx, const char *function,
                                     struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to(function, input);

    return dispatch_start_with(ctx, &call);
}

static int64_t deadline_after(const struct execution *e, int64_t ms)
{
    int64_t deadline;

    if (__builtin_mul_overflow(ms > 0 ? ms : 0, 1000000, &deadline) ||
        __builtin_add_overflow(deadline, execution_now(e), &deadline))
        return INT64_MAX;
    return deadline;
}

struct dispatch_task *dispatch_timer(struct dispatch_ctx *ctx, int64_t ms)
{
    struct execution *e = awaiting(ctx);

    return e ? begin_timer(e, JOURNAL_TIMER, deadline_after(e, ms)) : NULL;
}

struct dispatch_task *dispatch_spawn(struct dispatch_ctx *ctx, dispatch_function *function,
                                     struct dispatch_value input)
{
    const char *name = ctx && ctx->spawn_name ? ctx->spawn_name : "local coroutine";
    struct execution *e = awaiting(ctx);
    struct journal_record record = {.kind = JOURNAL_SPAWN, .name = slice_str(name)};
    struct dispatch_task *task;
    struct error err = {0};

    if (!e)
        return NULL;
    ctx->spawn_name = NULL;
    if (!journal_replays(e, &record, &record) && !journal_put(e, &record))
        return NULL;
    task = task_create(e, TASK_LOCAL, name);
    if (!task)
        return NULL;
    if (execution_copy_value(e, input, &input, &err))
        return still_born(e, task, &err);
    task->coroutine = coroutine_create(e, function, input, name, task);
    return task;
}

/* --- awaiting -------------------------------------------------------------------------------- */

/* Writes the await down; false: the run has ended. */
static bool note(struct execution *e, enum journal_kind kind, size_t count)
{
    struct journal_record record = {.kind = kind, .number = count};

    return journal_replays(e, &record, &record) || journal_put(e, &record);
}

static bool have_tasks(struct execution *e, struct dispatch_task *const *tasks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!tasks[i] || tasks[i]->coroutine == e->current)
            return false;
    return true;
}

static struct dispatch_result wait_one(struct execution *e, struct dispatch_task *task)
{
    struct sdk_place here = e->ctx->here;
    struct dispatch_result result;

    wait_for(e, WAIT_ONE, &task, 1);
    e->ctx->here = here; /* others have run meanwhile */
    result = task->result;
    result_trace(e, &result, task->name);
    return result;
}

struct dispatch_result dispatch_await(struct dispatch_ctx *ctx, struct dispatch_task *task)
{
    struct execution *e = awaiting(ctx);

    if (!e || !have_tasks(e, &task, 1) || !note(e, JOURNAL_AWAIT, 0))
        return misuse();
    return wait_one(e, task);
}

struct dispatch_result dispatch_call_with(struct dispatch_ctx *ctx,
                                          const struct dispatch_call *call)
{
    struct execution *e = awaiting(ctx);
    struct dispatch_task *task;

    if (!ctx)
        return sdk_call_and_wait(call);
    if (!e)
        return misuse();
    task = begin_call(e, JOURNAL_CALL, call);
    return task ? wait_one(e, task) : misuse();
}

struct dispatch_result dispatch_call(struct dispatch_ctx *ctx, const char *function,
                                     struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to(function, input);

    return dispatch_call_with(ctx, &call);
}

void dispatch_sleep_until(struct dispatch_ctx *ctx, int64_t unix_ns)
{
    struct execution *e = awaiting(ctx);
    struct dispatch_task *task = e ? begin_timer(e, JOURNAL_SLEEP, unix_ns) : NULL;

    if (task)
        wait_one(e, task);
}

void dispatch_sleep(struct dispatch_ctx *ctx, int64_t ms)
{
    struct execution *e = awaiting(ctx);

    if (e)
        dispatch_sleep_until(ctx, deadline_after(e, ms));
}

/* The task that ended first among those that failed, or did not; SIZE_MAX: there is none. */
static size_t first(struct dispatch_task *const *tasks, size_t count, bool failures, bool successes)
{
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < count; i++)
        if (tasks[i]->done && (failed(tasks[i]) ? failures : successes) &&
            (best == SIZE_MAX || tasks[i]->finished_at < tasks[best]->finished_at))
            best = i;
    return best;
}

const struct dispatch_error *dispatch_all(struct dispatch_ctx *ctx,
                                          struct dispatch_task *const *tasks, size_t count,
                                          struct dispatch_result *results)
{
    struct execution *e = awaiting(ctx);
    struct dispatch_result result;
    struct sdk_place here;
    size_t worst;

    if (!e || !have_tasks(e, tasks, count) || !note(e, JOURNAL_ALL, count)) {
        for (size_t i = 0; results && i < count; i++)
            results[i] = misuse();
        return misuse().error;
    }
    here = ctx->here;
    wait_for(e, WAIT_ALL, tasks, count);
    ctx->here = here;
    for (size_t i = 0; results && i < count; i++) {
        results[i] =
            tasks[i]->done && !tasks[i]->forgotten ? tasks[i]->result : (struct dispatch_result){0};
        result_trace(e, &results[i], tasks[i]->name);
    }
    worst = first(tasks, count, true, false);
    if (worst == SIZE_MAX)
        return NULL;
    result = tasks[worst]->result;
    result_trace(e, &result, tasks[worst]->name);
    return result.error;
}

const struct dispatch_error *dispatch_gather(struct dispatch_ctx *ctx,
                                             struct dispatch_task *const *tasks, size_t count,
                                             struct dispatch_result *results)
{
    return dispatch_all(ctx, tasks, count, results);
}

/* The error of a dispatch_any of which all failed: theirs, as one. */
static struct dispatch_result all_failed(struct execution *e, struct dispatch_task *const *tasks,
                                         size_t count)
{
    enum dispatch_status status = tasks[0]->result.status;
    struct dispatch_result result;
    struct buf text;

    buf_init(&text, 65536);
    buf_printf(&text, "%zu coroutines failed with an exception", count);
    for (size_t i = 0; i < count; i++) {
        const struct dispatch_result *one = &tasks[i]->result;

        buf_printf(&text, "%s %s: %s", i ? ";" : ":", one->error->type, one->error->message);
        if (one->status != status)
            status = DISPATCH_PERMANENT_ERROR;
    }
    if (text.failed) { /* too long: the number alone */
        buf_reset(&text);
        buf_printf(&text, "%zu coroutines failed with an exception", count);
    }
    result = dispatch_fail(e->ctx, status, "AnyException", "%s", buf_cstr(&text));
    buf_free(&text);
    return result;
}

static struct dispatch_result any_or_race(struct dispatch_ctx *ctx, enum wait_kind kind,
                                          struct dispatch_task *const *tasks, size_t count,
                                          size_t *winner)
{
    struct execution *e = awaiting(ctx);
    struct dispatch_result result = dispatch_ok(dispatch_null());
    const struct dispatch_task *given;
    struct sdk_place here;
    size_t best;

    if (winner)
        *winner = SIZE_MAX;
    if (!e || !have_tasks(e, tasks, count) ||
        !note(e, kind == WAIT_ANY ? JOURNAL_ANY : JOURNAL_RACE, count))
        return misuse();
    here = ctx->here;
    wait_for(e, kind, tasks, count);
    ctx->here = here;
    best = first(tasks, count, kind == WAIT_RACE, true);
    if (best == SIZE_MAX && count > 1)
        return all_failed(e, tasks, count);
    if (count > 0) {
        given = tasks[best == SIZE_MAX ? 0 : best];
        result = given->result;
        result_trace(e, &result, given->name);
    }
    if (winner)
        *winner = best;
    return result;
}

struct dispatch_result dispatch_any(struct dispatch_ctx *ctx, struct dispatch_task *const *tasks,
                                    size_t count, size_t *winner)
{
    return any_or_race(ctx, WAIT_ANY, tasks, count, winner);
}

struct dispatch_result dispatch_race(struct dispatch_ctx *ctx, struct dispatch_task *const *tasks,
                                     size_t count, size_t *winner)
{
    return any_or_race(ctx, WAIT_RACE, tasks, count, winner);
}

void dispatch_forget(struct dispatch_ctx *ctx, struct dispatch_task *task)
{
    struct execution *e = ctx ? ctx->execution : NULL;

    if (e && task && e->current && !e->current->dropped)
        task_abandon(e, task, false);
}
