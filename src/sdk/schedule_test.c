// SPDX-License-Identifier: Apache-2.0
/*
 * Random programs of local coroutines, cut at random points: a program is a tree of awaits drawn
 * from a seed, of timers, naps that may fail, calls, steps and smaller programs. What it comes to
 * is predicted, without any of the library, from when each of its timers ends; then it is run over
 * and over, each time losing its stacks at other points, so that it is replayed from other
 * journals. The result has to be the predicted one, and all that was deferred to be done.
 *
 * SEED in the environment is the first program; else it is drawn, and printed.
 */
#include "dispatch_sdk.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sdk/world_test.h"

enum { ROUNDS = 2, CHILDREN_MAX = 4, TIMERS_MAX = 512 };

/* Under the sanitizer everything costs many times as much. */
#ifdef __SANITIZE_ADDRESS__
enum { PROGRAMS = 20, REPLAYS = 3 };
#else
enum { PROGRAMS = 100, REPLAYS = 10 };
#endif

/* Timers end at least so long after one another: more than a world is ever late. */
#define GAP_MS     100000
#define LONGEST_MS INT64_C(100000000000)

static struct dispatch_registry *registry;
static atomic_int open_deferrals;

/* --- programs --------------------------------------------------------------------------------- */

enum child_kind { CHILD_TIMER, CHILD_NAP, CHILD_CALL, CHILD_PROGRAM };
enum join { JOIN_ALL, JOIN_ANY, JOIN_RACE, JOIN_FIRST };

struct child {
    enum child_kind kind;
    int64_t number; /* of a program: what it is drawn from; of the others: what they give */
    int64_t ms;
    bool fails; /* a nap */
};

struct round {
    enum join join;
    size_t count;
    struct child children[CHILDREN_MAX];
};

/* A program's input: its seed, and in the lowest two bits its depth. */
static int64_t number_of(uint64_t drawn, unsigned depth)
{
    return (int64_t)((drawn >> 3 << 2) | depth);
}

static void draw(int64_t number, struct round rounds[ROUNDS])
{
    unsigned depth = (unsigned)(number & 3);
    struct rand rand;

    rand_seed(&rand, (uint64_t)number);
    for (int i = 0; i < ROUNDS; i++) {
        rounds[i].join = (enum join)rand_below(&rand, 4);
        rounds[i].count = 2 + rand_below(&rand, CHILDREN_MAX - 1);
        for (size_t j = 0; j < rounds[i].count; j++) {
            struct child *c = &rounds[i].children[j];
            uint64_t kind = rand_below(&rand, 8);

            /* One call at most in a round: of two, nobody can say which ends first. */
            c->kind = depth > 0 && kind < 4 ? CHILD_PROGRAM
                      : j == 0 && kind == 4 ? CHILD_CALL
                      : kind < 6            ? CHILD_NAP
                                            : CHILD_TIMER;
            c->number = number_of(rand_u64(&rand), depth > 0 ? depth - 1 : 0);
            c->ms = GAP_MS + (int64_t)rand_below(&rand, LONGEST_MS);
            c->fails = rand_below(&rand, 3) == 0;
        }
    }
}

static uint64_t fold(uint64_t hash, bool failed, int64_t value)
{
    return hash * 31 + (failed ? 7 : (uint64_t)value);
}

static int64_t after_step(uint64_t hash)
{
    return (int64_t)((hash ^ hash >> 29) >> 1);
}

/* Programs fail now and then. */
static bool program_fails(int64_t result)
{
    return result % 5 == 0;
}

/* --- prediction ------------------------------------------------------------------------------- */

struct outcome {
    int64_t end_ms;
    bool failed;
    int64_t value;
};

/* When timers end, to see that no two do at about the same time; nor two of one round, by calls. */
struct ends {
    int64_t ms[TIMERS_MAX];
    size_t count;
    bool tied;
};

static struct outcome predict(int64_t number, int64_t start_ms, struct ends *ends);

static struct outcome predict_child(const struct child *c, int64_t start_ms, struct ends *ends)
{
    if (c->kind == CHILD_PROGRAM)
        return predict(c->number, start_ms, ends);
    if (c->kind == CHILD_CALL)
        return (struct outcome){start_ms, false, c->number};
    assert_true(ends->count < TIMERS_MAX);
    ends->ms[ends->count++] = start_ms + c->ms;
    return c->kind == CHILD_TIMER ? (struct outcome){start_ms + c->ms, false, 0}
                                  : (struct outcome){start_ms + c->ms, c->fails, c->number};
}

/* The one that ends first among those that failed, or did not; count: none. */
static size_t earliest(const struct outcome *outcomes, size_t count, bool failures, bool successes)
{
    size_t best = count;

    for (size_t i = 0; i < count; i++)
        if ((outcomes[i].failed ? failures : successes) &&
            (best == count || outcomes[i].end_ms < outcomes[best].end_ms))
            best = i;
    return best;
}

static bool tied(const struct outcome *outcomes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (outcomes[i].end_ms == outcomes[j].end_ms)
                return true;
    return false;
}

static int64_t latest_ms(const struct outcome *outcomes, size_t count)
{
    int64_t latest = 0;

    for (size_t i = 0; i < count; i++)
        latest = outcomes[i].end_ms > latest ? outcomes[i].end_ms : latest;
    return latest;
}

/* When the round ends; folds what it gives. */
static int64_t predict_round(const struct round *round, const struct outcome *o, uint64_t *hash)
{
    size_t n = round->count, winner = 0;
    int64_t end_ms;

    if (round->join == JOIN_ALL) {
        winner = earliest(o, n, true, false);
        end_ms = winner < n ? o[winner].end_ms : latest_ms(o, n);
        for (size_t i = 0; i < n; i++)
            *hash = o[i].end_ms <= end_ms ? fold(*hash, o[i].failed, o[i].value) : *hash * 31;
        return end_ms;
    }
    if (round->join != JOIN_FIRST)
        winner = earliest(o, n, round->join == JOIN_RACE, true);
    if (winner == n) { /* none of dispatch_any */
        *hash = fold(*hash, true, 0);
        return latest_ms(o, n);
    }
    *hash = fold(*hash, o[winner].failed, o[winner].value) + winner;
    return o[winner].end_ms;
}

static struct outcome predict(int64_t number, int64_t start_ms, struct ends *ends)
{
    struct outcome outcomes[CHILDREN_MAX], made = {.end_ms = start_ms};
    struct round rounds[ROUNDS];
    uint64_t hash = (uint64_t)number;

    draw(number, rounds);
    for (int i = 0; i < ROUNDS; i++) {
        for (size_t j = 0; j < rounds[i].count; j++)
            outcomes[j] = predict_child(&rounds[i].children[j], made.end_ms, ends);
        ends->tied |= tied(outcomes, rounds[i].count);
        made.end_ms = predict_round(&rounds[i], outcomes, &hash);
    }
    made.value = after_step(hash);
    made.failed = program_fails(made.value);
    return made;
}

static int compare_ms(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* False: what ends first cannot be told. */
static bool predictable(struct ends *ends)
{
    if (ends->tied)
        return false;
    qsort(ends->ms, ends->count, sizeof *ends->ms, compare_ms);
    for (size_t i = 1; i < ends->count; i++)
        if (ends->ms[i] - ends->ms[i - 1] < GAP_MS)
            return false;
    return true;
}

/* --- the same, awaited ------------------------------------------------------------------------ */

static int64_t int_of(struct dispatch_value value)
{
    int64_t number = 0;

    dispatch_as_int(value, &number);
    return number;
}

static struct dispatch_result answers(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}

static void close_deferral(void *arg)
{
    (void)arg;
    atomic_fetch_sub(&open_deferrals, 1);
}

/* Its input: a child. */
static struct dispatch_result nap(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct child c;

    memcpy(&c, dispatch_as_bytes(input, NULL), sizeof c); /* bytes are not aligned */
    atomic_fetch_add(&open_deferrals, 1);
    dispatch_defer(ctx, close_deferral, NULL);
    dispatch_sleep(ctx, c.ms);
    if (c.fails)
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Broken", "a nightmare");
    return dispatch_ok(dispatch_int(c.number));
}

static struct dispatch_result program(struct dispatch_ctx *ctx, struct dispatch_value input);

static struct dispatch_task *begin(struct dispatch_ctx *ctx, const struct child *c)
{
    switch (c->kind) {
    case CHILD_TIMER:
        return dispatch_timer(ctx, c->ms);
    case CHILD_NAP:
        return dispatch_spawn(ctx, nap, dispatch_bytes(c, sizeof *c));
    case CHILD_CALL:
        return dispatch_start(ctx, "answers", dispatch_int(c->number));
    default:
        return dispatch_spawn(ctx, program, dispatch_int(c->number));
    }
}

static uint64_t join(struct dispatch_ctx *ctx, const struct round *round,
                     struct dispatch_task **tasks, uint64_t hash)
{
    struct dispatch_result all[CHILDREN_MAX], one;
    size_t winner = 0;

    switch (round->join) {
    case JOIN_ALL:
        dispatch_all(ctx, tasks, round->count, all);
        for (size_t i = 0; i < round->count; i++)
            hash = fold(hash, all[i].error != NULL, int_of(all[i].output));
        return hash;
    case JOIN_ANY:
        one = dispatch_any(ctx, tasks, round->count, &winner);
        break;
    case JOIN_RACE:
        one = dispatch_race(ctx, tasks, round->count, &winner);
        break;
    default:
        one = dispatch_await(ctx, tasks[0]);
        for (size_t i = 1; i < round->count; i++)
            dispatch_forget(ctx, tasks[i]);
        break;
    }
    return fold(hash, one.error != NULL, int_of(one.output)) + (winner == SIZE_MAX ? 0 : winner);
}

static struct dispatch_result mix(struct dispatch_ctx *ctx, void *arg)
{
    (void)ctx;
    return dispatch_ok(dispatch_int(after_step(*(uint64_t *)arg)));
}

static struct dispatch_result program(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[CHILDREN_MAX];
    struct round rounds[ROUNDS];
    int64_t number = int_of(input), result;
    uint64_t hash = (uint64_t)number;

    atomic_fetch_add(&open_deferrals, 1);
    dispatch_defer(ctx, close_deferral, NULL);
    draw(number, rounds);
    for (int i = 0; i < ROUNDS; i++) {
        for (size_t j = 0; j < rounds[i].count; j++)
            tasks[j] = begin(ctx, &rounds[i].children[j]);
        hash = join(ctx, &rounds[i], tasks, hash);
    }
    result =
        int_of((number & 4 ? dispatch_step : dispatch_step_lazy)(ctx, "mix", mix, &hash).output);
    if (program_fails(result))
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Broken", "by chance");
    return dispatch_ok(dispatch_int(result));
}

/* --- the test --------------------------------------------------------------------------------- */

/* Runs it once, cut where that seed says. */
static void replay(int64_t number, const struct outcome *expected, uint64_t cuts)
{
    struct world w = {.registry = registry,
                      .fresh_of = (uint32_t)(cuts % 4),
                      .lose_answers = cuts % 5 == 0,
                      .shuffle = true};
    struct dispatch_result result;

    world_start(&w, cuts);
    result = world_call(&w, "program", dispatch_int(number));
    if ((result.error != NULL) != expected->failed ||
        (!result.error && int_of(result.output) != expected->value))
        fail_msg("SEED=%" PRId64 ", cut as %" PRIu64 ": %" PRId64 " (%s) instead of %" PRId64,
                 number >> 2, cuts, int_of(result.output),
                 result.error ? result.error->message : "no error", expected->value);
    world_end(&w);
    if (atomic_load(&open_deferrals) != 0)
        fail_msg("SEED=%" PRId64 ", cut as %" PRIu64 ": %d stacks were not unwound", number >> 2,
                 cuts, atomic_load(&open_deferrals));
}

static void test_random_programs(void **state)
{
    const char *given = getenv("SEED");
    uint64_t seed;
    int made = 0;

    (void)state;
    if (given)
        seed = strtoull(given, NULL, 10);
    else
        rand_system(&seed, sizeof seed);
    seed = seed << 4 >> 4; /* what number_of keeps */
    print_message("SEED=%" PRIu64 "\n", seed);
    for (; made < PROGRAMS; seed++) {
        int64_t number = (int64_t)(seed << 2 | (1 + seed % 8 / 7));
        struct ends ends = {0};
        struct outcome outcome = predict(number, 0, &ends);

        if (!predictable(&ends))
            continue;
        made++;
        for (uint64_t i = 0; i < REPLAYS; i++)
            replay(number, &outcome, seed * REPLAYS + i);
    }
}

static int setup(void **state)
{
    struct dispatch_registry_options options = {.name = "schedule", .endpoint = "http://here"};

    (void)state;
    assert_int_equal(dispatch_registry_create(&options, &registry, NULL), 0);
    assert_int_equal(dispatch_register(registry, "program", program, NULL), 0);
    assert_int_equal(dispatch_register(registry, "answers", answers, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dispatch_registry_close(registry);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_programs)};

    unsetenv("DISPATCH_REPLAY");
    return cmocka_run_group_tests(tests, setup, teardown);
}
