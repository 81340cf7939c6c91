// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

static struct blob *reject(void *arg, const struct error *why)
{
    (void)arg;
    return blob_copy(slice_str(why->message));
}

static void start(struct bench *b)
{
    struct error err;

    b->config.seed = 7;
    b->config.incarnation++;
    b->runs_len = b->fetches_len = b->trees_len = 0;
    assert_int_equal(engine_create(&b->e, &b->config, &err), 0);
    engine_set_reject(b->e, reject, NULL);
    for (enum table t = TABLE_COUNT; t-- > 0;) /* META before CALL */
        for (uint64_t key = 0; key < ROWS_MAX || key == 0; key++)
            for (size_t i = 0; i < b->rows_len; i++) {
                struct stored *r = &b->rows[i];

                if (r->table != t || r->key != key)
                    continue;
                if (t == TABLE_META)
                    assert_int_equal(
                        engine_load_meta(b->e, key, r->sub, blob_slice(r->value), &err), 0);
                if (t == TABLE_CALL)
                    assert_int_equal(engine_load_call(b->e, key, blob_slice(r->value), &err), 0);
            }
    assert_int_equal(engine_loaded(b->e, b->now, &err), 0);
    engine_check(b->e);
}

struct bench *bench_create_with(struct engine_config config)
{
    struct bench *b = calloc(1, sizeof *b);

    b->now = 1000 * NS_PER_S;
    b->config = config;
    start(b);
    return b;
}

struct bench *bench_create(void)
{
    return bench_create_with((struct engine_config){0});
}

void bench_destroy(struct bench *b)
{
    engine_destroy(b->e);
    for (size_t i = 0; i < b->rows_len; i++)
        blob_unref(b->rows[i].value);
    free(b);
}

struct stored *bench_find(struct bench *b, enum table table, uint64_t key, uint32_t sub)
{
    for (size_t i = 0; i < b->rows_len; i++)
        if (b->rows[i].table == table && b->rows[i].key == key && b->rows[i].sub == sub)
            return &b->rows[i];
    return NULL;
}

void bench_apply(struct bench *b, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch_op *op = &batch->ops[i];
        struct stored *r = bench_find(b, op->table, op->key, op->sub);

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

void bench_drain(struct bench *b)
{
    struct engine_effect f;

    while (engine_effect(b->e, &f)) {
        if (f.kind == ENGINE_RUN)
            b->runs[b->runs_len++] = f;
        if (f.kind == ENGINE_FETCH)
            b->fetches[b->fetches_len++] = f;
        if (f.kind == ENGINE_FETCH_TREE)
            b->trees[b->trees_len++] = f.call;
        b->awake += f.kind == ENGINE_AWAKE;
        if (f.kind == ENGINE_CANCEL_RUN)
            b->cancelled_attempt = f.attempt;
        b->accepted += f.kind == ENGINE_ACCEPTED;
        if (f.kind == ENGINE_DONE) {
            b->done++;
            b->last_done = f.call;
            assert_non_null(bench_find(b, TABLE_DONE, f.call, 0));
        }
    }
}

/* Everything that can be committed is. */
void bench_commit(struct bench *b)
{
    const struct batch *batch;

    bench_drain(b);
    while ((batch = engine_batch(b->e))) {
        bench_apply(b, batch);
        engine_committed(b->e, b->now);
        bench_drain(b);
    }
    engine_check(b->e);
}

void bench_crash(struct bench *b)
{
    engine_destroy(b->e);
    start(b);
    bench_drain(b);
}

void bench_advance(struct bench *b, int64_t ns)
{
    b->now += ns;
    engine_tick(b->e, b->now);
    bench_commit(b);
}

/* To the next thing that is due. */
void bench_sleep(struct bench *b)
{
    int64_t due = engine_next_due(b->e);

    assert_true(due != TIME_NEVER);
    if (due > b->now)
        b->now = due;
    engine_tick(b->e, b->now);
    bench_commit(b);
}

struct engine_spec bench_spec(const char *function)
{
    return (struct engine_spec){.function = slice_str(function),
                                .endpoint = slice_str("http://localhost:8000/x")};
}

uint64_t bench_dispatch(struct bench *b, struct engine_spec s)
{
    uint64_t id;
    struct error err;

    assert_int_equal(engine_dispatch(b->e, b->now, slice_str("default"), &s, 1, b, &id, &err), 0);
    return id;
}

/* The oldest run not answered yet, which must be of that call. */
struct engine_effect bench_take_run(struct bench *b, uint64_t call)
{
    struct engine_effect f = {0};

    for (size_t i = 0; i < b->runs_len; i++)
        if (b->runs[i].call == call) {
            f = b->runs[i];
            memmove(&b->runs[i], &b->runs[i + 1], (--b->runs_len - i) * sizeof *b->runs);
            return f;
        }
    fail_msg("no run of call %llu", (unsigned long long)call);
    return f;
}

struct engine_answer bench_answer_to(struct engine_effect f)
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

void bench_exit(struct bench *b, struct engine_effect f, enum status status, const char *out)
{
    struct engine_answer a = bench_answer_to(f);

    a.status = status;
    a.output = out ? blob_copy(slice_str(out)) : NULL;
    engine_answer(b->e, b->now, &a);
    blob_unref(a.output);
    bench_commit(b);
}

void bench_poll(struct bench *b, struct engine_answer a, const char *state)
{
    a.outcome = ENGINE_POLL;
    a.state = state ? blob_copy(slice_str(state)) : NULL;
    a.state_arm = 2;
    engine_answer(b->e, b->now, &a);
    blob_unref(a.state);
    bench_commit(b);
}

struct engine_result bench_result(struct bench *b, uint64_t id, struct engine_row *row)
{
    struct stored *r = bench_find(b, TABLE_DONE, id, 0);
    struct engine_result result;
    struct error err;

    assert_non_null(r);
    assert_int_equal(row_decode_done(blob_slice(r->value), row, &result, &err), 0);
    return result;
}

enum call_state bench_state(struct bench *b, uint64_t id)
{
    struct engine_row row;

    return engine_find(b->e, id, &row) ? row.state : CALL_DONE;
}

size_t bench_count(struct bench *b, enum table table)
{
    size_t n = 0;

    for (size_t i = 0; i < b->rows_len; i++)
        n += b->rows[i].table == table;
    return n;
}

void bench_fetch_tree(struct bench *b)
{
    struct engine_tree_call calls[256];
    uint64_t root = b->trees[0], id;
    struct tree_row tree;
    struct error err;
    size_t count = 0;

    assert_true(b->trees_len > 0);
    memmove(b->trees, b->trees + 1, --b->trees_len * sizeof *b->trees);
    assert_int_equal(tree_decode(blob_slice(bench_find(b, TABLE_META, root, META_TREE)->value),
                                 root, &tree, &err),
                     0);
    for (; tree_next(&tree, &id); count++) {
        assert_true(count < 256);
        calls[count] =
            (struct engine_tree_call){id, blob_slice(bench_find(b, TABLE_CALL, id, 0)->value)};
    }
    engine_tree_fetched(b->e, b->now, root, calls, count, NULL);
    bench_commit(b);
}
