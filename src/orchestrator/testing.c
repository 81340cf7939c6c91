// SPDX-License-Identifier: Apache-2.0
/* The tests' world; see the header. */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/scarce.h"

/* --- a store that outlives whoever closes it ----------------------------------------------------
 */

struct kept {
    struct store store;
    struct store *inner;
    struct world *world;
};

static struct store *inner_of(struct store *store)
{
    return ((struct kept *)(void *)store)->inner;
}

static int kept_open_reader(struct store *store, struct store **reader, struct error *err)
{
    return store_open_reader(inner_of(store), reader, err);
}

static void kept_close(struct store *store)
{
    free(store);
}

static int kept_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                      struct error *err)
{
    ((struct kept *)(void *)store)->world->ballast = ballast;
    return store_fence(inner_of(store), partition, ballast, epoch, err);
}

static int kept_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                      struct error *err)
{
    return store_renew(inner_of(store), partition, epoch, ttl_ns, err);
}

static int kept_commit(struct store *store, uint32_t partition, uint64_t epoch,
                       const struct batch *batch, struct error *err)
{
    return store_commit(inner_of(store), partition, epoch, batch, err);
}

static int kept_walk(struct store *store, uint32_t partition, const struct store_range *range,
                     store_row_fn *fn, void *arg, struct error *err)
{
    return store_walk(inner_of(store), partition, range, fn, arg, err);
}

static struct store *keep(struct world *w)
{
    static const struct store_ops ops = {.open_reader = kept_open_reader,
                                         .close = kept_close,
                                         .fence = kept_fence,
                                         .renew = kept_renew,
                                         .commit = kept_commit,
                                         .walk = kept_walk};
    struct kept *k = calloc(1, sizeof *k);

    assert_non_null(k);
    k->store = (struct store){.ops = &ops, .tag = store_tag(w->memory)};
    k->inner = w->memory;
    k->world = w;
    return &k->store;
}

/* --- clock and invoker --------------------------------------------------------------------------
 */

static int64_t world_clock(struct clock *clock)
{
    return ((struct world *)(void *)clock)->now;
}

static struct world *world_of(struct invoker *invoker)
{
    return LIST_ENTRY(invoker, struct world, invoker);
}

static void world_run(struct invoker *invoker, struct orchestrator_run *run)
{
    struct world *w = world_of(invoker);

    w->invoked++;
    if (w->at_once) {
        answer_ok(run, w->at_once);
        return;
    }
    assert_true(w->run_count < RUNS_MAX);
    w->runs[w->run_count++] = run;
}

static void remove_run(struct world *w, size_t at)
{
    w->run_count--;
    memmove(&w->runs[at], &w->runs[at + 1], (w->run_count - at) * sizeof w->runs[0]);
}

static void world_cancel(struct invoker *invoker, struct orchestrator_run *run)
{
    struct world *w = world_of(invoker);

    w->cancelled++;
    if (w->slow_cancel)
        return;
    for (size_t i = 0; i < w->run_count; i++) {
        if (w->runs[i] == run) {
            remove_run(w, i);
            break;
        }
    }
    orchestrator_run_gone(run);
}

struct orchestrator_run *world_take_run(struct world *w)
{
    struct orchestrator_run *run;

    assert_true(w->run_count > 0);
    run = w->runs[0];
    remove_run(w, 0);
    return run;
}

struct orchestrator_run *world_take(struct world *w, const char *function)
{
    for (size_t i = 0; i < w->run_count; i++) {
        struct orchestrator_run *run = w->runs[i];

        if (strcmp(run->request->function, function) == 0) {
            remove_run(w, i);
            return run;
        }
    }
    fail_msg("%s is not running", function);
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void world_trace(void *arg, const char *line)
{
    struct world *w = arg;
    size_t len = strlen(w->trace);

    snprintf(w->trace + len, sizeof w->trace - len, "%s\n", line);
}

void world_prepare(struct world *w)
{
    w->clock.now = world_clock;
    w->now = T0;
    w->invoker.run = world_run;
    w->invoker.cancel = world_cancel;
}

void world_init(struct world *w)
{
    struct error err = {0};

    world_prepare(w);
    assert_int_equal(store_memory_create(&w->memory, TEST_TAG, &err), 0);
    world_start(w);
}

void world_start(struct world *w)
{
    struct orchestrator_options options = w->options;
    struct error err = {0};

    options.clock = &w->clock;
    options.invoker = &w->invoker;
    options.trace = world_trace;
    options.trace_arg = w;
    if (!options.engine.seed)
        options.engine.seed = 1;
    assert_int_equal(store_fault_create(&options.store, keep(w), &w->faults, &err), 0);
    assert_int_equal(orchestrator_create(&w->o, &options, &err), 0);
    assert_false(orchestrator_ready(w->o));
    world_settle(w);
}

void world_restart(struct world *w)
{
    orchestrator_destroy(w->o);
    w->o = NULL;
    world_start(w);
}

void world_free(struct world *w)
{
    orchestrator_destroy(w->o);
    store_close(w->memory);
}

void world_settle(struct world *w)
{
    for (int i = 0; i < 1000; i++) {
        int64_t due;

        scarce_pause(false);
        due = orchestrator_step(w->o);
        scarce_pause(true);
        if (due > w->now)
            return;
    }
    fail_msg("the orchestrator does not come to rest");
}

void world_advance(struct world *w, int64_t ns)
{
    w->now += ns;
    world_settle(w);
}

/* --- requests -----------------------------------------------------------------------------------
 */

void reply_dispatched(void *arg, const struct error *error, const wire_dispatch_response *r)
{
    struct reply *reply = arg;

    reply->count++;
    if (error) {
        assert_null(r);
        reply->error = *error;
        return;
    }
    reply->id_count = r->n_dispatch_ids;
    for (size_t i = 0; i < r->n_dispatch_ids && i < REPLY_IDS; i++)
        snprintf(reply->ids[i], sizeof reply->ids[i], "%s", r->dispatch_ids[i]);
}

void reply_cancelled(void *arg, const struct error *error)
{
    struct reply *reply = arg;

    reply->count++;
    if (error)
        reply->error = *error;
}

static void copy(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

void got_info(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct got *g = arg;

    g->count++;
    if (error) {
        assert_null(info);
        g->error = *error;
        return;
    }
    g->state = info->state;
    g->status = (int)info->status;
    g->generation = info->generation;
    g->resumes = info->resumes;
    g->attempts = info->attempts;
    g->outstanding = info->outstanding;
    copy(g->id, sizeof g->id, info->dispatch_id);
    copy(g->parent, sizeof g->parent, info->parent_dispatch_id);
    copy(g->retry_of, sizeof g->retry_of, info->retry_of);
    copy(g->root, sizeof g->root, info->root_dispatch_id);
    copy(g->waiting_for, sizeof g->waiting_for, info->waiting_for);
    any_text(info->input, g->input, sizeof g->input);
    if (info->last_error)
        copy(g->last_error, sizeof g->last_error, info->last_error->message);
    g->has_result = info->result;
    if (!info->result)
        return;
    g->has_output = info->result->output;
    any_text(info->result->output, g->output, sizeof g->output);
    g->has_error = info->result->error;
    if (!info->result->error)
        return;
    copy(g->error_type, sizeof g->error_type, info->result->error->type);
    copy(g->error_message, sizeof g->error_message, info->result->error->message);
    g->error_status = (int)info->result->error->status;
}

void world_ask(struct world *w, const char *function, const char *input, struct reply *reply)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    struct arena arena;

    arena_init(&arena, 1 << 20);
    call.function = arena_dup(&arena, slice_str(function));
    call.endpoint = arena_dup(&arena, slice_str(ENDPOINT));
    call.correlation_id = 77; /* ignored */
    if (input)
        call.input = any_of(&arena, input);
    request.calls = calls;
    request.n_calls = 1;
    scarce_pause(false);
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, reply);
    scarce_pause(true);
    arena_reset(&arena);
}

void world_dispatch(struct world *w, const char *function, const char *input,
                    char id[ID_TEXT_LEN + 1])
{
    struct reply reply = {0};

    world_ask(w, function, input, &reply);
    assert_int_equal(reply.count, 0); /* not before the commit */
    world_settle(w);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.error.code, 0);
    assert_int_equal(reply.id_count, 1);
    memcpy(id, reply.ids[0], ID_TEXT_LEN + 1);
}

void world_get(struct world *w, const char *id, struct got *got)
{
    *got = (struct got){0};
    scarce_pause(false);
    orchestrator_get(w->o, slice_str(TEST_ORG), slice_str(id), got_info, got);
    scarce_pause(true);
    world_settle(w);
    assert_int_equal(got->count, 1);
}

void world_expect(struct world *w, const char *id, enum status status, const char *output)
{
    struct got got;

    world_get(w, id, &got);
    assert_int_equal(got.error.code, 0);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_DONE);
    assert_int_equal(got.status, status);
    assert_true(got.has_result);
    assert_string_equal(got.output, output);
}

/* --- answers ------------------------------------------------------------------------------------
 */

wire_any *any_of(struct arena *arena, const char *text)
{
    struct value value = {.kind = VALUE_STRING, .bytes = slice_str(text)};
    wire_any *any = wire_any_from_value(&value, arena);

    assert_non_null(any);
    return any;
}

void any_text(const wire_any *any, char *out, size_t size)
{
    bool paused;
    struct value value = {0};
    struct arena arena;
    struct error err;

    out[0] = 0;
    paused = scarce_pause(true); /* this is the test's own */
    arena_init(&arena, 1 << 20);
    assert_int_equal(wire_value_from_any(any, &arena, &value, &err), 0);
    if (value.kind == VALUE_STRING)
        snprintf(out, size, "%.*s", SLICE_FMT(value.bytes));
    arena_reset(&arena);
    scarce_pause(paused);
}

void answer_ok(struct orchestrator_run *run, const char *output)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_exit done = DISPATCH__SDK__V1__EXIT__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    struct arena arena;

    arena_init(&arena, 1 << 24);
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &done;
    done.result = &result;
    if (output)
        result.output = any_of(&arena, output);
    scarce_pause(false);
    orchestrator_run_answered(run, &response);
    scarce_pause(true);
    arena_reset(&arena);
}

void answer_status(struct orchestrator_run *run, enum status status, const char *type,
                   const char *message)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_exit done = DISPATCH__SDK__V1__EXIT__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    response.status = (Dispatch__Sdk__V1__Status)status;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &done;
    done.result = &result;
    if (type) {
        error.type = arena_dup(&arena, slice_str(type));
        error.message = arena_dup(&arena, slice_str(message));
        result.error = &error;
    }
    scarce_pause(false);
    orchestrator_run_answered(run, &response);
    scarce_pause(true);
    arena_reset(&arena);
}

void answer_with_poll(struct orchestrator_run *run, const char *state, const struct child *children,
                      size_t count, int32_t min_results, int64_t max_wait_ns)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    wire_duration wait = GOOGLE__PROTOBUF__DURATION__INIT;
    struct arena arena;
    wire_call *calls;

    arena_init(&arena, 1 << 24);
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
    poll.typed_coroutine_state = any_of(&arena, state);
    poll.min_results = min_results;
    poll.max_results = 10;
    if (max_wait_ns >= 0) {
        wire_set_duration(&wait, max_wait_ns);
        poll.max_wait = &wait;
    }
    calls = arena_zalloc(&arena, count + 1, sizeof *calls);
    poll.calls = arena_zalloc(&arena, count + 1, sizeof *poll.calls);
    for (size_t i = 0; i < count; i++) {
        dispatch__sdk__v1__call__init(&calls[i]);
        calls[i].function = arena_dup(&arena, slice_str(children[i].function));
        calls[i].correlation_id = children[i].correlation_id;
        poll.calls[poll.n_calls++] = &calls[i];
    }
    scarce_pause(false);
    orchestrator_run_answered(run, &response);
    scarce_pause(true);
    arena_reset(&arena);
}

static void answer_tail(struct orchestrator_run *run, enum status status, const char *function,
                        const char *endpoint, const char *input)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_exit done = DISPATCH__SDK__V1__EXIT__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    response.status = (Dispatch__Sdk__V1__Status)status;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &done;
    done.tail_call = &call;
    call.function = arena_dup(&arena, slice_str(function));
    call.endpoint = arena_dup(&arena, slice_str(endpoint));
    if (input)
        call.input = any_of(&arena, input);
    scarce_pause(false);
    orchestrator_run_answered(run, &response);
    scarce_pause(true);
    arena_reset(&arena);
}

void answer_with_tail(struct orchestrator_run *run, enum status status, const char *function,
                      const char *input)
{
    answer_tail(run, status, function, "", input);
}

void answer_with_tail_to(struct orchestrator_run *run, const char *function, const char *endpoint)
{
    answer_tail(run, STATUS_OK, function, endpoint, NULL);
}
