// SPDX-License-Identifier: Apache-2.0
/*
 * The engine alone: a test drives events and time by hand, applies the batches to a table of rows,
 * and looks at what comes out. Crashes are made by forgetting the engine and loading a new one from
 * the rows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/engine.h"

#define ROWS_MAX 4096

struct stored {
    enum table table;
    uint64_t key;
    uint32_t sub;
    struct blob *value;
};

struct bench {
    struct engine *e;
    struct engine_config config;
    struct stored rows[ROWS_MAX];
    size_t rows_len;
    int64_t now;
    struct engine_effect runs[4096];
    size_t runs_len;
    uint64_t cancelled_attempt;
    int accepted, done;
    uint64_t last_done;
};

static struct blob *reject(void *arg, const char *message)
{
    (void)arg;
    return blob_copy(slice_str(message));
}

static void start(struct bench *b)
{
    struct error err;

    b->config.seed = 7;
    b->config.incarnation++;
    b->runs_len = 0;
    assert_int_equal(engine_create(&b->e, &b->config, &err), 0);
    engine_set_reject(b->e, reject, NULL);
    for (enum table t = TABLE_COUNT; t-- > 0;) /* META before CALL */
        for (uint64_t key = 0; key < ROWS_MAX || key == 0; key++)
            for (size_t i = 0; i < b->rows_len; i++) {
                struct stored *r = &b->rows[i];

                if (r->table != t || r->key != key)
                    continue;
                if (t == TABLE_META)
                    assert_int_equal(engine_load_meta(b->e, key, blob_slice(r->value), &err), 0);
                if (t == TABLE_CALL)
                    assert_int_equal(engine_load_call(b->e, key, blob_slice(r->value), &err), 0);
            }
    assert_int_equal(engine_loaded(b->e, b->now, &err), 0);
    engine_check(b->e);
}

static struct bench *setup_with(struct engine_config config)
{
    struct bench *b = calloc(1, sizeof *b);

    b->now = 1000 * NS_PER_S;
    b->config = config;
    start(b);
    return b;
}

static struct bench *setup(void)
{
    return setup_with((struct engine_config){0});
}

static void teardown(struct bench *b)
{
    engine_destroy(b->e);
    for (size_t i = 0; i < b->rows_len; i++)
        blob_unref(b->rows[i].value);
    free(b);
}

static struct stored *find(struct bench *b, enum table table, uint64_t key, uint32_t sub)
{
    for (size_t i = 0; i < b->rows_len; i++)
        if (b->rows[i].table == table && b->rows[i].key == key && b->rows[i].sub == sub)
            return &b->rows[i];
    return NULL;
}

static void apply(struct bench *b, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];
        struct stored *r = find(b, op->table, op->key, op->sub);

        if (r) {
            blob_unref(r->value);
            *r = b->rows[--b->rows_len];
        }
        if (op->put) {
            assert_true(b->rows_len < ROWS_MAX);
            b->rows[b->rows_len++] =
                (struct stored){op->table, op->key, op->sub, blob_copy(op->value)};
        }
    }
}

static void drain(struct bench *b)
{
    struct engine_effect f;

    while (engine_effect(b->e, &f)) {
        if (f.kind == ENGINE_RUN)
            b->runs[b->runs_len++] = f;
        if (f.kind == ENGINE_CANCEL_RUN)
            b->cancelled_attempt = f.attempt;
        b->accepted += f.kind == ENGINE_ACCEPTED;
        if (f.kind == ENGINE_DONE) {
            b->done++;
            b->last_done = f.call;
            assert_non_null(find(b, TABLE_DONE, f.call, 0));
        }
    }
}

/* Everything that can be committed is. */
static void commit(struct bench *b)
{
    const struct batch *batch;

    drain(b);
    while ((batch = engine_batch(b->e))) {
        apply(b, batch);
        engine_committed(b->e, b->now);
        drain(b);
    }
    engine_check(b->e);
}

static void crash(struct bench *b)
{
    engine_destroy(b->e);
    start(b);
    drain(b);
}

static void advance(struct bench *b, int64_t ns)
{
    b->now += ns;
    engine_tick(b->e, b->now);
    commit(b);
}

/* To the next thing that is due. */
static void sleep_until_due(struct bench *b)
{
    int64_t due = engine_next_due(b->e);

    assert_true(due != TIME_NEVER);
    if (due > b->now)
        b->now = due;
    engine_tick(b->e, b->now);
    commit(b);
}

static struct engine_spec spec(const char *function)
{
    return (struct engine_spec){.function = slice_str(function),
                                .endpoint = slice_str("http://localhost:8000/x")};
}

static uint64_t dispatch(struct bench *b, struct engine_spec s)
{
    uint64_t id;
    struct error err;

    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("default"), &s, 1, b, &id, &err), 0);
    return id;
}

/* The oldest run not answered yet, which must be of that call. */
static struct engine_effect take_run(struct bench *b, uint64_t call)
{
    struct engine_effect f;

    for (size_t i = 0; i < b->runs_len; i++)
        if (b->runs[i].call == call) {
            f = b->runs[i];
            memmove(&b->runs[i], &b->runs[i + 1], (--b->runs_len - i) * sizeof *b->runs);
            return f;
        }
    fail_msg("no run of call %llu", (unsigned long long)call);
    return f;
}

static struct engine_answer answer_to(struct engine_effect f)
{
    return (struct engine_answer){.call = f.call,
                                  .generation = f.generation,
                                  .attempt = f.attempt,
                                  .group = f.group,
                                  .status = STATUS_OK,
                                  .max_wait_ns = -1,
                                  .min_results = 1,
                                  .max_results = 10};
}

static void exit_with(struct bench *b, struct engine_effect f, enum status status, const char *out)
{
    struct engine_answer a = answer_to(f);

    a.status = status;
    a.output = out ? blob_copy(slice_str(out)) : NULL;
    engine_answer(b->e, b->now, &a);
    blob_unref(a.output);
    commit(b);
}

static void poll_with(struct bench *b, struct engine_answer a, const char *state)
{
    a.outcome = ENGINE_POLL;
    a.state = state ? blob_copy(slice_str(state)) : NULL;
    a.state_arm = 2;
    engine_answer(b->e, b->now, &a);
    blob_unref(a.state);
    commit(b);
}

static struct engine_result result_of(struct bench *b, uint64_t id, struct engine_row *row)
{
    struct stored *r = find(b, TABLE_DONE, id, 0);
    struct engine_result result;
    struct error err;

    assert_non_null(r);
    assert_int_equal(row_decode_done(blob_slice(r->value), row, &result, &err), 0);
    return result;
}

static enum call_state state_of(struct bench *b, uint64_t id)
{
    struct engine_row row;

    return engine_find(b->e, id, &row) ? row.state : CALL_DONE;
}

static size_t count_rows(struct bench *b, enum table table)
{
    size_t n = 0;

    for (size_t i = 0; i < b->rows_len; i++)
        n += b->rows[i].table == table;
    return n;
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void test_nothing_leaves_before_the_commit(void **state)
{
    struct bench *b = setup();
    uint64_t id = dispatch(b, spec("f"));
    const struct batch *batch;

    (void)state;
    drain(b);
    assert_int_equal(b->accepted + (int)b->runs_len, 0);
    batch = engine_batch(b->e);
    assert_non_null(batch);
    assert_null(engine_batch(b->e)); /* one under way at a time */
    drain(b);
    assert_int_equal(b->accepted + (int)b->runs_len, 0);
    apply(b, batch);
    engine_committed(b->e, b->now);
    drain(b);
    assert_int_equal(b->accepted, 1);
    exit_with(b, take_run(b, id), STATUS_OK, "42");
    assert_int_equal(b->done, 1);
    assert_int_equal(count_rows(b, TABLE_CALL), 0);
    assert_int_equal(engine_next_due(b->e), TIME_NEVER);
    teardown(b);
}

static void test_dispatch_is_atomic_and_bounded(void **state)
{
    struct bench *b = setup_with((struct engine_config){.live_max = 10, .calls_max = 8});
    struct engine_spec s[9];
    uint64_t id;
    struct error err;

    (void)state;
    for (int i = 0; i < 9; i++)
        s[i] = spec("f");
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("o"), s, 9, NULL, &id, &err),
                     CODE_INVALID_ARGUMENT);
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("o"), s, 8, NULL, &id, &err), 0);
    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("o"), s, 2, NULL, &id, &err),
                     CODE_RESOURCE_EXHAUSTED);
    commit(b);
    assert_int_equal(count_rows(b, TABLE_CALL), 8);
    teardown(b);
}

static void test_retries_back_off_until_expiration(void **state)
{
    struct bench *b = setup();
    struct engine_spec s = spec("f");
    struct engine_row row;
    int64_t last = 0;

    (void)state;
    s.expiration_ns = 60 * NS_PER_S;
    uint64_t id = dispatch(b, s);

    commit(b);
    for (int n = 1; n <= 8; n++) {
        exit_with(b, take_run(b, id), STATUS_TEMPORARY_ERROR, "dropped");
        assert_int_equal(state_of(b, id), CALL_WAITING);
        int64_t delay = engine_next_due(b->e) - b->now, full = 100 * NS_PER_MS << (n - 1);

        assert_true(delay >= full / 2 && delay <= full);
        assert_true(delay * 4 > last);
        last = delay;
        sleep_until_due(b);
    }
    exit_with(b, take_run(b, id), STATUS_TEMPORARY_ERROR, NULL);
    b->now = 1060 * NS_PER_S - 1;
    engine_tick(b->e, b->now);
    commit(b);
    if (b->runs_len)
        exit_with(b, take_run(b, id), STATUS_TIMEOUT, NULL);
    assert_int_equal(b->done, 0);
    advance(b, 1);
    result_of(b, id, &row);
    assert_int_equal(row.end, END_EXPIRED);
    assert_int_equal(row.status, STATUS_TIMEOUT);
    assert_true(row.attempts >= 9);
    teardown(b);
}

static void test_expiration_wins_over_an_answer_of_the_same_time(void **state)
{
    struct bench *b = setup();
    struct engine_spec s = spec("f");
    struct engine_row row;

    (void)state;
    s.expiration_ns = NS_PER_S;
    uint64_t id = dispatch(b, s);

    commit(b);
    b->now += NS_PER_S;
    exit_with(b, take_run(b, id), STATUS_OK, "late");
    assert_false(result_of(b, id, &row).has_output);
    assert_int_equal(row.end, END_EXPIRED);
    teardown(b);
}

static void test_a_stale_answer_changes_nothing(void **state)
{
    struct bench *b = setup();
    uint64_t id = dispatch(b, spec("f"));

    (void)state;
    commit(b);
    struct engine_effect first = take_run(b, id);

    crash(b);
    struct engine_effect second = take_run(b, id);

    assert_true(first.attempt != second.attempt);
    struct engine_answer a = answer_to(second);

    a.attempt = first.attempt; /* as if the old one came in: same window, not current */
    engine_answer(b->e, b->now, &a);
    commit(b);
    assert_int_equal(state_of(b, id), CALL_RUNNING);
    teardown(b);
}

static void test_terminal_statuses_keep_output_and_error(void **state)
{
    struct bench *b = setup();
    uint64_t id = dispatch(b, spec("f"));
    struct engine_row row;
    struct engine_result r;

    (void)state;
    commit(b);
    struct engine_answer a = answer_to(take_run(b, id));

    a.status = STATUS_PERMANENT_ERROR;
    a.output = blob_copy(slice_str("partial"));
    a.error = blob_copy(slice_str("why"));
    engine_answer(b->e, b->now, &a);
    blob_unref(a.output);
    blob_unref(a.error);
    commit(b);
    r = result_of(b, id, &row);
    assert_true(slice_eq_str(r.output, "partial") && slice_eq_str(r.error, "why"));
    assert_int_equal(row.status, STATUS_PERMANENT_ERROR);
    teardown(b);
}

/* A parent that polls for three children, min 2. */
static uint64_t suspended_parent(struct bench *b, uint64_t child[3], int32_t min, int32_t max)
{
    uint64_t id = dispatch(b, spec("parent"));
    struct engine_spec s[3];

    commit(b);
    struct engine_answer a = answer_to(take_run(b, id));

    for (int i = 0; i < 3; i++) {
        s[i] = (struct engine_spec){.function = slice_str("child"),
                                    .correlation_id = 100 + (uint64_t)i};
        child[i] = id + 1 + (uint64_t)i;
    }
    a.specs = s;
    a.spec_count = 3;
    a.min_results = min;
    a.max_results = max;
    poll_with(b, a, "s1");
    assert_int_equal(state_of(b, id), CALL_SUSPENDED);
    return id;
}

static void test_poll_waits_for_min_results(void **state)
{
    struct bench *b = setup();
    uint64_t child[3], id = suspended_parent(b, child, 2, 10);
    struct engine_run run;

    (void)state;
    exit_with(b, take_run(b, child[1]), STATUS_OK, "1");
    assert_int_equal(state_of(b, id), CALL_SUSPENDED);
    exit_with(b, take_run(b, child[0]), STATUS_OK, "0");
    struct engine_effect f = take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_false(run.first);
    assert_int_equal(run.result_count, 2);
    assert_int_equal(run.results[0], child[1]); /* in the order they finished */
    assert_int_equal(run.results[1], child[0]);
    assert_int_equal(run.row.outstanding, 1);
    /* A failed resume keeps them for the next. */
    exit_with(b, f, STATUS_THROTTLED, NULL);
    sleep_until_due(b);
    f = take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 2);
    /* Outstanding calls span polls: this one starts none and waits for the third. */
    poll_with(b, answer_to(f), "s2");
    assert_int_equal(state_of(b, id), CALL_SUSPENDED);
    exit_with(b, take_run(b, child[2]), STATUS_OK, "2");
    f = take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 1);
    exit_with(b, f, STATUS_OK, "joined");
    assert_int_equal(b->done, 4);
    assert_int_equal(count_rows(b, TABLE_CALL), 0);
    assert_int_equal(count_rows(b, TABLE_PAYLOAD), 0);
    teardown(b);
}

static void test_poll_resumes_when_nothing_is_outstanding(void **state)
{
    struct bench *b = setup();
    uint64_t child[3], id = suspended_parent(b, child, 1000, 1);
    struct engine_run run;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(state_of(b, id), CALL_SUSPENDED);
        exit_with(b, take_run(b, child[i]), STATUS_OK, NULL);
    }
    struct engine_effect f = take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 1); /* max_results */
    /* The rest stays queued for the next poll, which therefore resumes at once. */
    struct engine_answer a = answer_to(f);

    a.min_results = 1000;
    poll_with(b, a, "s2");
    f = take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.results[0], child[1]);
    teardown(b);
}

static void test_poll_survives_crashes(void **state)
{
    struct bench *b = setup();
    uint64_t child[3], id = suspended_parent(b, child, 2, 10);
    struct engine_run run;

    (void)state;
    crash(b);
    assert_int_equal(state_of(b, id), CALL_SUSPENDED);
    exit_with(b, take_run(b, child[2]), STATUS_OK, "2");
    crash(b);
    assert_int_equal(state_of(b, id), CALL_SUSPENDED);
    exit_with(b, take_run(b, child[0]), STATUS_OK, "0");
    crash(b);
    struct engine_effect f = take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 2);
    assert_int_equal(run.results[0], child[2]);
    /* The end of the parent leaves the last child running; nobody takes its result. */
    exit_with(b, f, STATUS_OK, "enough");
    crash(b);
    exit_with(b, take_run(b, child[1]), STATUS_OK, "1");
    assert_int_equal(count_rows(b, TABLE_CALL), 0);
    assert_int_equal(count_rows(b, TABLE_DONE), 4);
    teardown(b);
}

static void test_poll_timers(void **state)
{
    struct bench *b = setup();
    uint64_t child[3], id = suspended_parent(b, child, 2, 10);
    struct engine_run run;
    struct engine_effect f;
    struct engine_answer a;

    (void)state;
    exit_with(b, take_run(b, child[0]), STATUS_OK, "0");
    exit_with(b, take_run(b, child[1]), STATUS_OK, "1");
    a = answer_to(take_run(b, id));
    a.max_wait_ns = 5 * NS_PER_S;
    poll_with(b, a, "s2");
    advance(b, 5 * NS_PER_S - 1);
    assert_int_equal(state_of(b, id), CALL_SUSPENDED);
    advance(b, 1);
    f = take_run(b, id); /* with no result: the third child is still out */
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 0);
    exit_with(b, take_run(b, child[2]), STATUS_OK, "2");
    poll_with(b, answer_to(f), "s3");
    a = answer_to(take_run(b, id));
    a.max_wait_ns = 3600 * NS_PER_S; /* nothing to wait for but time: a timer */
    poll_with(b, a, "s4");
    crash(b);
    advance(b, 3600 * NS_PER_S - 1);
    assert_int_equal(state_of(b, id), CALL_SUSPENDED);
    advance(b, 1);
    a = answer_to(take_run(b, id));
    a.max_wait_ns = 48 * 3600 * NS_PER_S; /* past the expiration: refused at once */
    poll_with(b, a, "s5");
    f = take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.poll_error);
    assert_non_null(find(b, TABLE_PAYLOAD, id, PAYLOAD_POLL_ERROR));
    a = answer_to(f);
    a.max_wait_ns = 0;
    poll_with(b, a, "s6"); /* commit and resume at once; the error is gone */
    f = take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_false(run.poll_error);
    assert_null(find(b, TABLE_PAYLOAD, id, PAYLOAD_POLL_ERROR));
    /* The same again without a change: as a retry waits. */
    a = answer_to(f);
    a.max_wait_ns = 0;
    poll_with(b, a, "s6");
    assert_int_equal(state_of(b, id), CALL_WAITING);
    sleep_until_due(b);
    poll_with(b, answer_to(take_run(b, id)), "s7"); /* nothing to wait for at all: at once */
    exit_with(b, take_run(b, id), STATUS_OK, "end");
    teardown(b);
}

static void test_a_poll_that_cannot_be_accepted(void **state)
{
    struct bench *b = setup_with((struct engine_config){.calls_max = 2});
    uint64_t id = dispatch(b, spec("f"));
    struct engine_spec s[3] = {spec("a"), spec("b"), spec("c")};
    struct engine_answer a;
    struct engine_run run;

    (void)state;
    commit(b);
    a = answer_to(take_run(b, id));
    a.specs = s;
    a.spec_count = 3;
    poll_with(b, a, "s1");
    assert_int_equal(count_rows(b, TABLE_CALL), 1); /* none is made */
    struct engine_effect f = take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.poll_error && !run.first);
    crash(b);
    f = take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.poll_error);
    exit_with(b, f, STATUS_OK, "gave up");
    assert_int_equal(count_rows(b, TABLE_PAYLOAD), 0);
    teardown(b);
}

static void test_tail_calls_replace_the_call(void **state)
{
    struct bench *b = setup();
    uint64_t child[3], id = suspended_parent(b, child, 1, 10);
    struct engine_spec next = {.function = slice_str("next")};
    struct engine_run run;
    struct engine_row row;

    (void)state;
    exit_with(b, take_run(b, child[0]), STATUS_OK, "0");
    struct engine_effect running = take_run(b, child[1]);
    struct engine_answer a = answer_to(take_run(b, id));

    a.outcome = ENGINE_TAIL;
    a.status = STATUS_TEMPORARY_ERROR;
    next.input = blob_copy(slice_str("new input"));
    a.specs = &next;
    a.spec_count = 1;
    engine_answer(b->e, b->now, &a);
    blob_unref(next.input);
    commit(b);
    assert_int_equal(state_of(b, id), CALL_WAITING);
    crash(b);
    assert_true(engine_find(b->e, id, &row));
    assert_int_equal(row.generation, 2);
    assert_true(slice_eq_str(row.function, "next"));
    assert_true(slice_eq_str(row.endpoint, "http://localhost:8000/x"));
    assert_int_equal(row.outstanding, 0);
    (void)running;
    exit_with(b, take_run(b, child[1]), STATUS_OK, "of another generation");
    sleep_until_due(b);
    struct engine_effect f = take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.first && run.result_count == 0);
    exit_with(b, f, STATUS_OK, "end");
    result_of(b, id, &row);
    assert_int_equal(row.status, STATUS_OK);
    assert_int_equal(count_rows(b, TABLE_CALL), 1); /* child 2 was made but runs on its own */
    exit_with(b, take_run(b, child[2]), STATUS_OK, NULL);
    assert_int_equal(count_rows(b, TABLE_CALL), 0);
    teardown(b);
}

static void test_incompatible_state_restarts_from_the_input(void **state)
{
    struct bench *b = setup_with((struct engine_config){.window_start = 2});
    uint64_t child[3], id = suspended_parent(b, child, 1, 10);
    struct engine_row row;
    struct engine_run run;

    (void)state;
    exit_with(b, take_run(b, child[0]), STATUS_OK, "0"); /* child 1, 2 or both hold the window */
    while (!b->runs_len || b->runs[b->runs_len - 1].call != id)
        exit_with(b, b->runs[0].call == id ? b->runs[1] : take_run(b, b->runs[0].call), STATUS_OK,
                  NULL);
    struct engine_effect f = take_run(b, id);
    struct engine_answer a = answer_to(f);

    a.status = STATUS_INCOMPATIBLE_STATE;
    engine_answer(b->e, b->now, &a);
    commit(b);
    assert_true(engine_find(b->e, id, &row));
    assert_int_equal(row.generation, 2);
    assert_int_equal(row.state, CALL_WAITING);
    assert_int_equal(row.restarts, 1);
    assert_int_equal(row.failures, 0);
    sleep_until_due(b);
    f = take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_true(run.first);
    assert_null(find(b, TABLE_PAYLOAD, id, PAYLOAD_STATE));
    teardown(b);
}

static void test_cancel_takes_the_tree(void **state)
{
    struct bench *b = setup();
    uint64_t child[3], id = suspended_parent(b, child, 3, 10);
    struct engine_row row;
    struct error err;

    (void)state;
    exit_with(b, take_run(b, child[0]), STATUS_OK, "0");
    struct engine_effect f = take_run(b, child[1]);

    assert_int_equal(engine_cancel(b->e, b->now, id, b, &err), 0);
    assert_int_equal(engine_cancel(b->e, b->now, id, b, &err), CODE_FAILED_PRECONDITION);
    drain(b);
    assert_int_equal(b->done, 1); /* of the cancelled nothing is told before its commit */
    commit(b);
    assert_int_equal(b->done, 4);
    assert_int_equal(engine_cancel(b->e, b->now, id, b, &err), CODE_NOT_FOUND);
    result_of(b, id, &row);
    assert_int_equal(row.end, END_CANCELLED);
    result_of(b, child[2], &row);
    assert_int_equal(row.end, END_CANCELLED);
    assert_true(result_of(b, child[0], &row).has_output);
    exit_with(b, f, STATUS_OK, "late"); /* a stale answer, which frees its place */
    assert_false(result_of(b, child[1], &row).has_output);
    assert_int_equal(count_rows(b, TABLE_CALL), 0);
    teardown(b);
}

static void test_window_bounds_runs_in_flight(void **state)
{
    struct bench *b = setup_with((struct engine_config){.window_start = 4, .window_max = 8});
    uint64_t id[20];

    (void)state;
    for (int i = 0; i < 20; i++)
        id[i] = dispatch(b, spec("f"));
    commit(b);
    assert_int_equal(b->runs_len, 4);
    exit_with(b, take_run(b, id[0]), STATUS_OK, NULL); /* a success: one more fits */
    assert_int_equal(b->runs_len, 5);
    struct engine_answer a = answer_to(take_run(b, id[1]));

    a.status = STATUS_TCP_ERROR;
    a.transport = true;
    engine_answer(b->e, b->now, &a); /* 5 * 0.75 = 3.75 */
    commit(b);
    assert_int_equal(b->runs_len, 4);
    exit_with(b, take_run(b, id[2]), STATUS_OK, NULL); /* 3.75 + 1 / 3.75 = 4.02 */
    assert_int_equal(b->runs_len, 4);
    engine_hold_runs(b->e, true);
    exit_with(b, take_run(b, id[3]), STATUS_OK, NULL);
    assert_int_equal(b->runs_len, 3);
    engine_hold_runs(b->e, false);
    drain(b);
    assert_int_equal(b->runs_len, 4);
    teardown(b);
}

static void test_given_up_runs_are_made_again_uncounted(void **state)
{
    struct bench *b = setup();
    uint64_t id = dispatch(b, spec("f"));
    struct engine_row row;

    (void)state;
    commit(b);
    struct engine_answer a = answer_to(take_run(b, id));

    a.outcome = ENGINE_GONE;
    engine_answer(b->e, b->now, &a);
    drain(b);
    take_run(b, id);
    assert_true(engine_find(b->e, id, &row));
    assert_int_equal(row.attempts + row.failures, 0);
    teardown(b);
}

static void test_a_413_halves_the_results(void **state)
{
    struct bench *b = setup();
    uint64_t child[3], id = suspended_parent(b, child, 3, 10);
    struct engine_run run;

    (void)state;
    for (int i = 0; i < 3; i++)
        exit_with(b, take_run(b, child[i]), STATUS_OK, "x");
    struct engine_answer a = answer_to(take_run(b, id));

    a.status = STATUS_TEMPORARY_ERROR;
    a.too_large = true;
    engine_answer(b->e, b->now, &a);
    commit(b);
    sleep_until_due(b);
    struct engine_effect f = take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 1);
    teardown(b);
}

static void test_results_are_cut_by_size(void **state)
{
    struct bench *b = setup_with((struct engine_config){.results_bytes_max = 10});
    uint64_t child[3], id = suspended_parent(b, child, 3, 10);
    struct engine_run run;

    (void)state;
    exit_with(b, take_run(b, child[0]), STATUS_OK, "larger than ten bytes: goes alone");
    exit_with(b, take_run(b, child[1]), STATUS_OK, "12345");
    exit_with(b, take_run(b, child[2]), STATUS_OK, "12345");
    struct engine_effect f = take_run(b, id);

    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 1);
    poll_with(b, answer_to(f), "s2");
    f = take_run(b, id);
    assert_true(engine_run_info(b->e, id, f.attempt, &run));
    assert_int_equal(run.result_count, 2);
    teardown(b);
}

static void test_overdue_retries_are_spread_after_a_crash(void **state)
{
    struct bench *b = setup();
    uint64_t id[100];
    size_t at_once;

    (void)state;
    for (int i = 0; i < 100; i++)
        id[i] = dispatch(b, spec("f"));
    commit(b);
    for (int i = 0; i < 100; i++)
        exit_with(b, take_run(b, id[i]), STATUS_THROTTLED, NULL);
    b->now += 600 * NS_PER_S;
    crash(b);
    at_once = b->runs_len;
    assert_true(at_once < 10);
    while (engine_next_due(b->e) <= b->now + 30 * NS_PER_S && b->runs_len < 16)
        sleep_until_due(b);
    assert_true(b->runs_len > at_once);
    assert_true(b->now > 1600 * NS_PER_S && b->now <= 1630 * NS_PER_S);
    teardown(b);
}

static void test_ids_are_never_used_again(void **state)
{
    struct bench *b = setup();
    uint64_t id = dispatch(b, spec("f")), next;

    (void)state;
    commit(b);
    exit_with(b, take_run(b, id), STATUS_OK, NULL);
    for (size_t i = 0; i < b->rows_len; i++) /* retention takes the end */
        if (b->rows[i].table == TABLE_DONE) {
            blob_unref(b->rows[i].value);
            b->rows[i] = b->rows[--b->rows_len];
        }
    crash(b);
    next = dispatch(b, spec("f"));
    assert_true(next > id);
    teardown(b);
}

static void test_damaged_rows_are_named(void **state)
{
    struct bench *b = setup();
    struct error err;
    uint64_t id = dispatch(b, spec("f"));
    struct stored *r;

    (void)state;
    commit(b);
    r = find(b, TABLE_CALL, id, 0);
    engine_destroy(b->e);
    for (size_t cut = 0; cut < r->value->len; cut++) {
        assert_int_equal(engine_create(&b->e, &b->config, &err), 0);
        assert_int_equal(engine_load_call(b->e, id, slice(r->value->data, cut), &err),
                         CODE_DATA_LOSS);
        engine_destroy(b->e);
    }
    assert_int_equal(engine_create(&b->e, &b->config, &err), 0);
    assert_int_equal(engine_load_call(b->e, id + 1, blob_slice(r->value), &err), CODE_DATA_LOSS);
    assert_non_null(strstr(err.message, "cannot be"));
    r->value->data[0] = 99;
    assert_int_equal(engine_load_call(b->e, id, blob_slice(r->value), &err),
                     CODE_FAILED_PRECONDITION);
    teardown(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_leaves_before_the_commit),
        cmocka_unit_test(test_dispatch_is_atomic_and_bounded),
        cmocka_unit_test(test_retries_back_off_until_expiration),
        cmocka_unit_test(test_expiration_wins_over_an_answer_of_the_same_time),
        cmocka_unit_test(test_a_stale_answer_changes_nothing),
        cmocka_unit_test(test_terminal_statuses_keep_output_and_error),
        cmocka_unit_test(test_poll_waits_for_min_results),
        cmocka_unit_test(test_poll_resumes_when_nothing_is_outstanding),
        cmocka_unit_test(test_poll_survives_crashes),
        cmocka_unit_test(test_poll_timers),
        cmocka_unit_test(test_a_poll_that_cannot_be_accepted),
        cmocka_unit_test(test_tail_calls_replace_the_call),
        cmocka_unit_test(test_incompatible_state_restarts_from_the_input),
        cmocka_unit_test(test_cancel_takes_the_tree),
        cmocka_unit_test(test_window_bounds_runs_in_flight),
        cmocka_unit_test(test_given_up_runs_are_made_again_uncounted),
        cmocka_unit_test(test_a_413_halves_the_results),
        cmocka_unit_test(test_results_are_cut_by_size),
        cmocka_unit_test(test_overdue_retries_are_spread_after_a_crash),
        cmocka_unit_test(test_ids_are_never_used_again),
        cmocka_unit_test(test_damaged_rows_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
