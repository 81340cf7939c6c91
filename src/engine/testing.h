// SPDX-License-Identifier: Apache-2.0
/*
 * For the engine's tests: an engine driven by hand. The bench applies its batches to a table of
 * rows and collects the effects; a crash forgets the engine and loads a new one from the rows.
 */
#ifndef ENGINE_TESTING_H
#define ENGINE_TESTING_H

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
    struct engine_effect fetches[64];
    size_t fetches_len;
    uint64_t trees[256]; /* roots whose trees are to be fetched */
    size_t trees_len;
    int awake;
    uint64_t cancelled_attempt;
    int accepted, done;
    uint64_t last_done;
};

struct bench *bench_create_with(struct engine_config config);
struct bench *bench_create(void);
void bench_destroy(struct bench *b);
struct stored *bench_find(struct bench *b, enum table table, uint64_t key, uint32_t sub);
void bench_apply(struct bench *b, const struct batch *batch);
void bench_drain(struct bench *b);
void bench_commit(struct bench *b);
void bench_crash(struct bench *b);
void bench_advance(struct bench *b, int64_t ns);
void bench_sleep(struct bench *b);
struct engine_spec bench_spec(const char *function);
uint64_t bench_dispatch(struct bench *b, struct engine_spec s);
struct engine_effect bench_take_run(struct bench *b, uint64_t call);
struct engine_answer bench_answer_to(struct engine_effect f);
void bench_exit(struct bench *b, struct engine_effect f, enum status status, const char *out);
void bench_poll(struct bench *b, struct engine_answer a, const char *state);
struct engine_result bench_result(struct bench *b, uint64_t id, struct engine_row *row);
enum call_state bench_state(struct bench *b, uint64_t id);
/* Gives the engine the first tree it asks for. */
void bench_fetch_tree(struct bench *b);
size_t bench_count(struct bench *b, enum table table);

#endif
