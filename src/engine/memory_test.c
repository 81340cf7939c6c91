// SPDX-License-Identifier: Apache-2.0
/*
 * Out of memory at the Nth allocation, for every N: an event is refused as a whole, or the engine
 * has failed and is loaded again from the rows (and that, too, may fail and is tried again); and
 * then everything ends as it does with memory enough.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/scarce.h"
#include "engine/testing.h"

#define HOUR     (3600 * NS_PER_S)
#define SLEEPERS 36 /* of 40 calls at most: some leave memory */

static struct slice org(void)
{
    return slice_str("acme");
}

static void check_code(int code)
{
    if (code && code != CODE_RESOURCE_EXHAUSTED)
        fail_msg("code %d", code);
}

/* --- an engine that may fail -------------------------------------------------------------------
 */

static struct blob *reject(void *arg, const struct error *why)
{
    (void)arg;
    return blob_copy(slice_str(why->message));
}

static const struct stored *lowest(const struct bench *b, enum table table, uint64_t from)
{
    const struct stored *found = NULL;

    for (size_t i = 0; i < b->rows_len; i++) {
        const struct stored *r = &b->rows[i];

        if (r->table == table && r->key >= from && (!found || r->key < found->key))
            found = r;
    }
    return found;
}

static int load_row(struct bench *b, const struct stored *r)
{
    switch (r->table) {
    case TABLE_META:
        return engine_load_meta(b->e, r->key, r->sub, blob_slice(r->value), NULL);
    case TABLE_CALL:
        return engine_load_call(b->e, r->key, blob_slice(r->value), NULL);
    default:
        return engine_load_key(b->e, r->key, r->sub, blob_slice(r->value), NULL);
    }
}

/* The rows of no table here share a key, save the META of a root's tree, whose numbers are small.
 */
static int try_to_load(struct bench *b)
{
    static const enum table tables[] = {TABLE_META, TABLE_CALL, TABLE_KEY};
    int code = engine_create(&b->e, &b->config, NULL);

    if (code)
        return code;
    engine_set_reject(b->e, reject, NULL);
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        const struct stored *r = lowest(b, tables[t], 0);

        for (; r && !code; r = lowest(b, tables[t], r->key + 1))
            for (uint32_t sub = 0; sub < 4 && !code; sub++) {
                const struct stored *one = bench_find(b, r->table, r->key, sub);

                code = one ? load_row(b, one) : CODE_OK;
            }
    }
    return code ? code : engine_loaded(b->e, b->now, NULL);
}

static void load(struct bench *b)
{
    int code;

    do {
        engine_destroy(b->e);
        b->e = NULL;
        b->runs_len = b->fetches_len = b->trees_len = 0;
        b->config.incarnation++;
        scarce_pause(false);
        code = try_to_load(b);
        scarce_pause(true);
        check_code(code);
    } while (code);
    engine_check(b->e);
}

/* Everything is committed that can be; what fails is loaded again. */
static void settle(struct bench *b)
{
    const struct batch *batch;

    for (;;) {
        if (engine_failed(b->e))
            load(b);
        engine_check(b->e);
        scarce_pause(false);
        engine_tick(b->e, b->now);
        bench_drain(b);
        batch = engine_batch(b->e);
        scarce_pause(true);
        if (!batch && !engine_failed(b->e))
            return;
        if (!batch)
            continue;
        bench_apply(b, batch);
        scarce_pause(false);
        engine_committed(b->e, b->now);
        scarce_pause(true);
    }
}

static struct bench *start(struct engine_config config)
{
    struct bench *b = calloc(1, sizeof *b);

    assert_non_null(b);
    b->now = 1000 * NS_PER_S;
    b->config = config;
    b->config.seed = 7;
    load(b);
    settle(b);
    return b;
}

/* Until it is acknowledged. */
static uint64_t persist(struct bench *b, struct engine_spec spec)
{
    for (int i = 0; i < 100; i++) {
        int accepted = b->accepted, code;
        uint64_t id = 0;

        scarce_pause(false);
        code = engine_dispatch(b->e, b->now, org(), &spec, 1, b, &id, NULL);
        scarce_pause(true);
        check_code(code);
        settle(b);
        if (b->accepted > accepted)
            return id;
    }
    fail_msg("never acknowledged");
    return 0;
}

/* --- what the functions do ---------------------------------------------------------------------
 */

static struct blob *text(const char *s)
{
    struct blob *blob = blob_copy(slice_str(s));

    assert_non_null(blob);
    return blob;
}

/* Calls three others, one of which is completed from outside, and waits for all. */
static void call_three(struct bench *b, struct engine_answer *a)
{
    struct engine_spec specs[] = {bench_spec("tail"), bench_spec("flaky"), bench_spec("event")};

    specs[2].endpoint = slice_str("event:");
    specs[2].key = slice_str("key");
    for (size_t i = 0; i < 3; i++) {
        specs[i].correlation_id = i + 1;
        specs[i].input = text("in");
    }
    a->outcome = ENGINE_POLL;
    a->specs = specs;
    a->spec_count = 3;
    a->min_results = a->max_results = 3;
    scarce_pause(false);
    engine_answer(b->e, b->now, a);
    scarce_pause(true);
    for (size_t i = 0; i < 3; i++)
        blob_unref(specs[i].input);
}

static void answer(struct bench *b, const struct engine_effect *f)
{
    struct engine_answer a = bench_answer_to(*f);
    struct engine_spec spec = bench_spec("end");
    struct engine_run run;
    bool current;

    scarce_pause(false);
    current = engine_run_info(b->e, f->call, f->attempt, &run);
    scarce_pause(true);
    a.state = a.output = NULL;
    if (!current) {
        a.outcome = ENGINE_GONE;
    } else if (slice_eq(run.row.function, slice_str("parent")) && run.first) {
        a.state = text("state");
        call_three(b, &a);
        blob_unref(a.state);
        return;
    } else if (slice_eq(run.row.function, slice_str("sleeper")) && run.first) {
        a.outcome = ENGINE_POLL;
        a.state = text("state");
        a.max_wait_ns = 10 * HOUR;
    } else if (slice_eq(run.row.function, slice_str("tail"))) {
        a.outcome = ENGINE_TAIL;
        a.specs = &spec;
        a.spec_count = 1;
    } else if (slice_eq(run.row.function, slice_str("flaky")) && run.row.attempts < 2) {
        a.status = STATUS_TEMPORARY_ERROR;
        a.error = text("not now");
    } else {
        assert_true(run.first || run.result_count != 1);
        a.output = text("out");
    }
    scarce_pause(false);
    engine_answer(b->e, b->now, &a);
    scarce_pause(true);
    blob_unref(a.state);
    blob_unref(a.output);
    blob_unref(a.error);
}

/* Runs what can run, and gives back the trees that are asked for. */
static void run_all(struct bench *b)
{
    settle(b);
    while (b->runs_len + b->trees_len > 0) {
        if (b->trees_len > 0) {
            struct engine_tree_call calls[64];
            uint64_t root = b->trees[0], id;
            struct tree_row tree;
            size_t count = 0;

            memmove(b->trees, b->trees + 1, --b->trees_len * sizeof *b->trees);
            assert_int_equal(
                tree_decode(blob_slice(bench_find(b, TABLE_META, root, META_TREE)->value), root,
                            &tree, NULL),
                0);
            for (; tree_next(&tree, &id); count++)
                calls[count] = (struct engine_tree_call){
                    id, blob_slice(bench_find(b, TABLE_CALL, id, 0)->value)};
            scarce_pause(false);
            engine_tree_fetched(b->e, b->now, root, calls, count, NULL);
            scarce_pause(true);
        } else {
            struct engine_effect f = b->runs[0];

            memmove(b->runs, b->runs + 1, --b->runs_len * sizeof *b->runs);
            answer(b, &f);
        }
        settle(b);
    }
}

static void expect(struct bench *b, uint64_t id, enum status status, enum call_end end)
{
    struct engine_row row;
    struct engine_result result = bench_result(b, id, &row);

    assert_int_equal(row.status, status);
    assert_int_equal(row.end, end);
    if (status == STATUS_OK)
        assert_true(slice_eq(result.output, slice_str("out")));
}

/* --- histories ----------------------------------------------------------------------------------
 */

typedef int event(struct bench *b, uint64_t id);

static int cancel(struct bench *b, uint64_t id)
{
    return engine_cancel(b->e, b->now, id, b, NULL);
}

static int restart(struct bench *b, uint64_t id)
{
    return engine_restart(b->e, b->now, id, b, NULL);
}

static int complete(struct bench *b, uint64_t id)
{
    struct engine_completion completion = {
        .org = org(), .key = slice_str("key"), .status = STATUS_OK};
    int code;

    (void)id;
    scarce_pause(true);
    completion.output = text("out");
    scarce_pause(false);
    code = engine_complete(b->e, b->now, &completion, b, NULL);
    blob_unref(completion.output);
    return code;
}

static int note(struct bench *b, uint64_t id)
{
    engine_put_note(b->e, id, slice_str("note"));
    engine_await(b->e, b);
    return CODE_OK;
}

/* Until it is acknowledged, or had been done without that. */
static void insist(struct bench *b, event *what, uint64_t id)
{
    for (int i = 0; i < 100; i++) {
        int accepted = b->accepted, code;

        scarce_pause(false);
        code = what(b, id);
        scarce_pause(true);
        if (code == CODE_NOT_FOUND || code == CODE_FAILED_PRECONDITION) {
            assert_true(i > 0);
            return;
        }
        check_code(code);
        settle(b);
        if (b->accepted > accepted)
            return;
    }
    fail_msg("never acknowledged");
}

static void remove_all(struct bench *b)
{
    const struct stored *r;

    while ((r = lowest(b, TABLE_DONE, 0))) {
        struct blob *value = blob_ref(r->value);
        struct engine_result result;
        struct engine_row row;

        assert_int_equal(row_decode_done(blob_slice(value), &row, &result, NULL), 0);
        scarce_pause(false);
        engine_remove(b->e, &row, value->len);
        scarce_pause(true);
        settle(b);
        blob_unref(value);
    }
}

static void calls_of_all_kinds(struct bench *b, bool early)
{
    struct engine_spec later = bench_spec("cancelled"), keyed = bench_spec("parent");
    uint64_t parent, cancelled;

    later.not_before = b->now + HOUR;
    later.input = text("in");
    if (early)
        insist(b, complete, 0);
    parent = persist(b, keyed);
    cancelled = persist(b, later);
    blob_unref(later.input);
    run_all(b);
    if (!early) {
        insist(b, restart, parent);
        run_all(b);
        insist(b, complete, 0);
    }
    insist(b, note, 3);
    insist(b, cancel, cancelled);
    for (int i = 0; i < 100 && !bench_find(b, TABLE_DONE, parent, 0); i++) {
        run_all(b);
        b->now += NS_PER_S;
    }
    expect(b, parent, STATUS_OK, END_ANSWER);
    expect(b, cancelled, STATUS_PERMANENT_ERROR, END_CANCELLED);
    assert_non_null(bench_find(b, TABLE_META, META_NOTES + 3, 0));
    remove_all(b);
    assert_int_equal(bench_count(b, TABLE_DONE) + bench_count(b, TABLE_CALL), 0);
    assert_int_equal(bench_count(b, TABLE_PAYLOAD), 0);
}

static void early_and_late(struct bench *b)
{
    calls_of_all_kinds(b, true);
    calls_of_all_kinds(b, false);
}

static void more_than_there_is_room_for(struct bench *b)
{
    uint64_t id[SLEEPERS];
    struct engine_stats stats;

    for (int i = 0; i < SLEEPERS; i++) {
        id[i] = persist(b, bench_spec("sleeper"));
        run_all(b);
    }
    engine_stats(b->e, &stats);
    assert_true(stats.swapped > 0);
    load(b);
    for (int i = 0; i < 100 && bench_count(b, TABLE_DONE) < SLEEPERS; i++) {
        b->now += 11 * HOUR;
        run_all(b);
    }
    for (int i = 0; i < SLEEPERS; i++)
        expect(b, id[i], STATUS_OK, END_ANSWER);
}

/* True: it came to the nth allocation. */
static bool history(void (*what)(struct bench *b), struct engine_config config, long nth,
                    long burst)
{
    struct bench *b;
    bool met;

    scarce_begin(nth, burst);
    b = start(config);
    what(b);
    met = scarce_end();
    bench_destroy(b);
    return met;
}

static void test_calls_of_all_kinds(void **state)
{
    struct engine_config config = {0};
    long n = 1;

    (void)state;
    while (history(early_and_late, config, n, 1) || history(early_and_late, config, n, 5))
        n++;
    assert_true(n > 50);
}

static void test_trees_out_of_memory(void **state)
{
    struct engine_config config = {.live_max = 40, .window_start = 64, .calls_max = 100};
    long n = 1;

    (void)state;
    while (history(more_than_there_is_room_for, config, n, 1))
        n++;
    assert_true(n > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_of_all_kinds),
        cmocka_unit_test(test_trees_out_of_memory),
    };

    scarce_pause(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
