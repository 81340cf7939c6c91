// SPDX-License-Identifier: Apache-2.0
/*
 * The scheduler between the runs of a call: replaying a journal, delivering what a resume brought,
 * and the poll that the call waits with.
 *
 * Results are delivered one at a time, and after each everything that can run does, live as in a
 * replay: the order of records is the order of what happened. A poll record ends what one run did;
 * passing it, live or replayed, wakes those who waited for a commit.
 */
#include "sdk/coroutine.h"

#include <assert.h>

#include "base/clock.h"

/* The orchestrator keeps a state as at most 255 appended pieces: now and then it gets all of it. */
enum { APPENDS_MAX = 128 };

enum {
    MAX_RESULTS = 1000,
    MAX_RESULTS_ELSEWHERE = 100,
    STATUS_TAG = 1 << 3,
    POLL_TAG = 3 << 3 | 2,
    CALLS_TAG = 2 << 3 | 2
};

/* --- passing a poll -------------------------------------------------------------------------- */

/* The calls that had not left have. */
static void pass_poll(struct execution *e)
{
    struct list *node;

    while ((node = list_pop(&e->left)) != NULL)
        ;
    while ((node = list_pop(&e->unsent)) != NULL) {
        struct dispatch_task *task = LIST_ENTRY(node, struct dispatch_task, unsent);

        task->left = true;
        list_append(&e->left, node);
    }
    buf_reset(&e->cancelled);
    e->polls++;
}

/* What the poll recorded is committed. */
void execution_committed(struct execution *e)
{
    LIST_FOR_EACH (node, next, &e->coroutines) {
        struct coroutine *c = LIST_ENTRY(node, struct coroutine, node);

        if (c->wait.kind == WAIT_COMMIT && list_empty(&c->ready))
            coroutine_ready(c);
    }
}

/* --- delivering ------------------------------------------------------------------------------ */

/* A child's error is final: passed on, it does not make its parent try again. */
static void make_final(struct dispatch_result *result)
{
    enum dispatch_status status;

    if (!result->error)
        return;
    status = result->error->status;
    if (status == DISPATCH_OK || status == DISPATCH_UNSPECIFIED ||
        dispatch_status_temporary(status))
        status = DISPATCH_PERMANENT_ERROR;
    result->status = status;
}

/* A copy, as running anybody may move the journal that `in` is a part of. */
static bool read_result(struct execution *e, const struct journal_result *in,
                        struct dispatch_result *result)
{
    struct error err = {0};
    int rc = result_from_journal(e, in, result, &err);

    if (rc == CODE_RESOURCE_EXHAUSTED) {
        execution_memory(e);
        return false;
    }
    if (rc)
        *result =
            dispatch_fail(e->ctx, DISPATCH_INVALID_RESPONSE, "InvalidOutput", "%s", err.message);
    make_final(result);
    return true;
}

static void deliver(struct execution *e, struct dispatch_task *task,
                    const struct journal_result *in)
{
    struct dispatch_result result;

    if (!read_result(e, in, &result))
        return;
    result.correlation_id = task->correlation;
    task_complete(e, task, result);
    execution_run_ready(e);
}

/* None of the calls of the last poll was made. */
static void refuse(struct execution *e, const struct journal_result *in)
{
    struct dispatch_result result;
    struct list *node;

    if (!read_result(e, in, &result))
        return;
    while (!e->ended && !e->finished && (node = list_pop(&e->left)) != NULL) {
        struct dispatch_task *task = LIST_ENTRY(node, struct dispatch_task, unsent);

        result.correlation_id = task->correlation;
        task_complete(e, task, result);
        execution_run_ready(e);
    }
}

static struct dispatch_task *find(struct execution *e, uint64_t correlation, enum task_kind kind)
{
    struct dispatch_task *task = task_find(e, correlation);

    return task && task->kind == kind ? task : NULL;
}

void execution_deliver(struct execution *e, const wire_poll_result *poll)
{
    if (poll->error && !e->ended && !e->finished) {
        wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
        struct journal_record record = {.kind = JOURNAL_REFUSED};

        result.error = poll->error;
        result_from_wire(&result, &record.result);
        if (journal_put(e, &record))
            refuse(e, &record.result);
    }
    for (size_t i = 0; i < poll->n_results && !e->ended && !e->finished; i++) {
        struct journal_record record = {.kind = JOURNAL_RESULT,
                                        .correlation = poll->results[i]->correlation_id};
        struct dispatch_task *task = find(e, record.correlation, TASK_CALL);

        if (!task)
            continue; /* given up, or delivered twice */
        result_from_wire(poll->results[i], &record.result);
        if (journal_put(e, &record))
            deliver(e, task, &record.result);
    }
}

static struct dispatch_task *next_due(struct execution *e, int64_t now_ns)
{
    struct dispatch_task *best = NULL;

    LIST_FOR_EACH (node, next, &e->open) {
        struct dispatch_task *task = LIST_ENTRY(node, struct dispatch_task, node);

        if (task->kind == TASK_TIMER && task->deadline_ns <= now_ns &&
            (!best || task->deadline_ns < best->deadline_ns))
            best = task;
    }
    return best;
}

void execution_fire_due(struct execution *e)
{
    struct dispatch_task *task;

    while (!e->ended && !e->finished && (task = next_due(e, execution_now(e))) != NULL) {
        struct journal_record record = {.kind = JOURNAL_FIRED, .correlation = task->correlation};

        if (!journal_put(e, &record))
            return;
        task_complete(e, task, dispatch_ok(dispatch_null()));
        execution_run_ready(e);
    }
}

/* --- replaying ------------------------------------------------------------------------------- */

/* What stands before the first await. False: the run has ended. */
static bool replay_head(struct execution *e)
{
    struct arena *arena = &e->ctx->arena;
    struct dispatch_result input;
    struct error err = {0};

    while (journal_peek(e)) {
        const struct journal_record *record = &e->next;
        bool kept = true;

        if (record->kind == JOURNAL_INPUT) {
            struct journal_result value = {.type_url = record->type_url, .output = record->bytes};

            kept = result_from_journal(e, &value, &input, &err) == 0;
            if (kept)
                e->ctx->input.value = input.output;
        } else if (record->kind == JOURNAL_STATE) {
            e->saved_architecture = slice(arena_dup(arena, record->name), record->name.len);
            e->saved_state = slice(arena_dup(arena, record->bytes), record->bytes.len);
            kept = e->saved_architecture.data && e->saved_state.data;
        } else if (record->kind == JOURNAL_BASE) {
            e->base = record->number;
        } else {
            return true;
        }
        if (!kept)
            execution_memory(e);
        e->has_next = false;
    }
    return !e->ended;
}

/* A record that says what happened to the function. */
static void replay_event(struct execution *e, const struct journal_record *record)
{
    struct dispatch_task *task = NULL;

    switch (record->kind) {
    case JOURNAL_POLL:
        pass_poll(e);
        execution_committed(e);
        return;
    case JOURNAL_REFUSED:
        refuse(e, &record->result);
        return;
    case JOURNAL_RESULT:
        task = find(e, record->correlation, TASK_CALL);
        if (task)
            deliver(e, task, &record->result);
        break;
    case JOURNAL_FIRED:
        task = find(e, record->correlation, TASK_TIMER);
        if (task)
            task_complete(e, task, dispatch_ok(dispatch_null()));
        break;
    default:
        break;
    }
    if (!task)
        execution_diverged(e, record, NULL);
}

void execution_replay(struct execution *e)
{
    if (!replay_head(e) ||
        !(e->main = coroutine_create(e, e->function, e->ctx->input.value, e->name, NULL)))
        return;
    for (;;) {
        struct journal_record record;

        execution_run_ready(e);
        if (e->ended || !journal_peek(e))
            return;
        record = e->next;
        e->has_next = false;
        if (e->finished && record.kind == JOURNAL_POLL) {
            pass_poll(e); /* that of its last calls */
            continue;
        }
        if (e->finished) {
            execution_diverged(e, &record, NULL);
            return;
        }
        replay_event(e, &record);
    }
}

/* --- the poll -------------------------------------------------------------------------------- */

/* How many more results of calls the wait needs; 0: they cannot end it. Whether an error would. */
static size_t results_needed(struct execution *e, const struct wait *wait, bool *on_error)
{
    uint64_t mark = ++e->marks;
    size_t calls = 0, others = 0;

    for (size_t i = 0; i < wait->count; i++) {
        struct dispatch_task *task = wait->tasks[i];

        if (task->done || task->mark == mark)
            continue;
        task->mark = mark;
        if (task->kind == TASK_CALL)
            calls++;
        else
            others++;
    }
    if (wait->kind != WAIT_ALL)
        return calls > 0;
    *on_error |= calls > 0;
    return others == 0 ? calls : 0;
}

static void set_results(struct execution *e, wire_poll *poll)
{
    size_t least = SIZE_MAX;
    bool on_error = false;

    LIST_FOR_EACH (node, next, &e->coroutines) {
        const struct coroutine *c = LIST_ENTRY(node, struct coroutine, node);
        size_t needed;

        if (!c->fiber || c->wait.kind == WAIT_NOTHING)
            continue;
        needed = results_needed(e, &c->wait, &on_error);
        if (needed > 0 && needed < least)
            least = needed;
    }
    if (least > e->awaiting_results)
        least = e->awaiting_results;
    if (!e->extended || least < 1)
        least = 1; /* nobody else wakes at an error */
    if (e->min_results > 0)
        least = (size_t)e->min_results;
    poll->max_results = e->max_results > 0 ? e->max_results
                        : e->extended      ? MAX_RESULTS
                                           : MAX_RESULTS_ELSEWHERE;
    poll->min_results = least > (size_t)poll->max_results ? poll->max_results : (int32_t)least;
    poll->wake_on_error = e->extended && on_error && poll->min_results > 1;
}

/* How long to wait at most, in milliseconds; -1: without end. */
static int64_t longest_wait_ms(struct execution *e)
{
    int64_t now_ns = execution_now(e), ms = e->max_wait_ms > 0 ? e->max_wait_ms : -1;

    LIST_FOR_EACH (node, next, &e->coroutines)
        if (LIST_ENTRY(node, struct coroutine, node)->wait.kind == WAIT_COMMIT)
            return 0;
    LIST_FOR_EACH (node, next, &e->open) {
        const struct dispatch_task *task = LIST_ENTRY(node, struct dispatch_task, node);
        int64_t left_ms;

        if (task->kind != TASK_TIMER)
            continue;
        left_ms =
            task->deadline_ns <= now_ns ? 1 : (task->deadline_ns - now_ns - 1) / NS_PER_MS + 1;
        if (ms < 0 || left_ms < ms)
            ms = left_ms;
    }
    return ms;
}

/* The state: what the orchestrator does not have yet, or all of it. */
static void set_state(struct execution *e, wire_poll *poll, wire_any *any)
{
    static char type_url[] = WIRE_TYPE_PREFIX JOURNAL_TYPE;
    struct buf *bytes = &e->journal.bytes;

    if (e->extended && e->committed > 0 && (e->polls + 1) % APPENDS_MAX != 0) {
        poll->state_case = DISPATCH__SDK__V1__POLL__STATE_APPEND;
        poll->append.data = bytes->data + e->committed;
        poll->append.len = bytes->len - e->committed;
        poll->append_position = e->committed;
    } else {
        any->type_url = type_url;
        any->value.data = bytes->data;
        any->value.len = bytes->len;
        poll->state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
        poll->typed_coroutine_state = any;
    }
    e->committed = bytes->len;
}

/* RunResponse{OK, poll}, the calls as they were packed when they were made. */
static void pack_poll(struct execution *e, const wire_poll *poll, struct buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(&poll->base), calls = 0;
    struct buf packed;
    uint8_t *bytes;

    buf_init(&packed, SDK_REQUEST_MAX);
    LIST_FOR_EACH (node, next, &e->unsent) {
        buf_append_byte(&packed, CALLS_TAG);
        buf_put_bytes(&packed, LIST_ENTRY(node, struct dispatch_task, unsent)->packed);
        calls++;
    }
    buf_append_byte(out, STATUS_TAG);
    buf_append_byte(out, DISPATCH__SDK__V1__STATUS__STATUS_OK);
    buf_append_byte(out, POLL_TAG);
    buf_put_varint(out, size + packed.len);
    bytes = buf_extend(out, size);
    if (bytes)
        protobuf_c_message_pack(&poll->base, bytes);
    buf_append_slice(out, buf_slice(&packed));
    out->failed |= packed.failed;
    buf_free(&packed);
}

static size_t count_unsent(const struct execution *e)
{
    size_t count = 0;

    for (const struct list *node = e->unsent.next; node != &e->unsent; node = node->next)
        count++;
    return count;
}

bool execution_poll(struct execution *e, enum poll_reason reason, struct buf *out)
{
    struct journal_record record = {.kind = JOURNAL_POLL, .number = count_unsent(e)};
    wire_duration max_wait = GOOGLE__PROTOBUF__DURATION__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    wire_any any = GOOGLE__PROTOBUF__ANY__INIT;
    int64_t wait_ms = reason == POLL_WAITS ? longest_wait_ms(e) : 0;

    if (e->ctx->failed || e->cancelled.failed) {
        execution_memory(e);
        return false;
    }
    if (wait_ms < 0 && e->awaiting_results == 0) {
        execution_fail(e, DISPATCH_PERMANENT_ERROR, "Deadlock",
                       "'%s' awaits what nothing can end: its coroutines wait for each other",
                       e->name);
        return false;
    }
    if (reason != POLL_CHECKPOINT && !journal_put(e, &record))
        return false;
    if (wait_ms >= 0) {
        wire_set_duration(&max_wait,
                          wait_ms > INT64_MAX / NS_PER_MS ? INT64_MAX : wait_ms * NS_PER_MS);
        poll.max_wait = &max_wait;
    }
    set_results(e, &poll);
    set_state(e, &poll, &any);
    if (e->extended) {
        poll.n_cancel = e->cancelled.len / sizeof(uint64_t);
        poll.cancel = (uint64_t *)(void *)e->cancelled.data;
    }
    pack_poll(e, &poll, out);
    pass_poll(e);
    if (!out->failed)
        return true;
    execution_memory(e);
    return false;
}

void dispatch_poll_limits(struct dispatch_ctx *ctx, int32_t min_results, int32_t max_results,
                          int64_t max_wait_ms)
{
    struct execution *e = ctx->execution;

    if (!e)
        return;
    e->min_results = min_results > MAX_RESULTS ? MAX_RESULTS : min_results;
    e->max_results = max_results > MAX_RESULTS ? MAX_RESULTS : max_results;
    e->max_wait_ms = max_wait_ms;
}
