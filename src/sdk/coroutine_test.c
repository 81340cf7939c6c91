// SPDX-License-Identifier: Apache-2.0
// long: each awaiting function stands beside the test that runs it
/*
 * Functions that await, in a world that goes wrong: every test runs in several worlds (stacks kept
 * and dropped, answers lost, endpoints taking turns, another orchestrator, results in any order),
 * and the outcome is the same in all.
 */
#include "dispatch_sdk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

#include "sdk/world_test.h"

static struct dispatch_registry *registry;

/* Under the thread sanitizer a fiber costs as much as a thread, and valgrind is fifty times as
 * slow; what such see they see in a tenth of the rounds. */
static bool is_slow(void)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    return true;
#else
    return RUNNING_ON_VALGRIND;
#endif
}

/* The worlds that every function has to stand. */
static const struct world worlds[] = {
    {.endpoints = 1},
    {.endpoints = 1, .fresh = true},
    {.endpoints = 1, .lose_answers = true},
    {.endpoints = 2},
    {.endpoints = 2, .fresh = true, .lose_answers = true, .shuffle = true},
    {.endpoints = 1, .foreign = true, .shuffle = true},
    {.endpoints = 1, .options = {.workers = 4}},
    {.endpoints = 1, .options = {.max_suspended = -1}},
};

enum { WORLDS = sizeof worlds / sizeof *worlds };

static struct world world_in(int i)
{
    struct world w = worlds[i];

    w.registry = registry;
    world_start(&w, 1);
    return w;
}

static int64_t int_of(struct dispatch_result result)
{
    int64_t number = INT64_MIN;

    if (result.error)
        print_message("%s: %s\n", result.error->type, result.error->message);
    assert_null(result.error);
    assert_true(dispatch_as_int(result.output, &number));
    return number;
}

static int64_t input_int(struct dispatch_value input)
{
    int64_t number = 0;

    dispatch_as_int(input, &number);
    return number;
}

/* Runs it in every world; the same number each time. */
static void gives(const char *function, int64_t input, int64_t expected)
{
    for (int i = 0; i < WORLDS; i++) {
        struct world w;

        if (!world_exists(&worlds[i]))
            continue;
        w = world_in(i);
        assert_int_equal(int_of(world_call(&w, function, dispatch_int(input))), expected);
        world_end(&w);
    }
}

static void fails_in(int i, const char *function, struct dispatch_value input,
                     enum dispatch_status status, const char *type, const char *message)
{
    struct dispatch_result result;
    struct world w;

    if (!world_exists(&worlds[i]))
        return;
    w = world_in(i);
    result = world_call(&w, function, input);
    assert_non_null(result.error);
    assert_string_equal(result.error->type, type);
    assert_string_equal(result.error->message, message);
    assert_int_equal(result.status, status);
    world_end(&w);
}

/* --- what the others call ----------------------------------------------------------------------
 */

static struct dispatch_result doubles(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(dispatch_int(2 * input_int(input)));
}

/* Fails with the status that its input is. */
static struct dispatch_result breaks(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_result result = dispatch_fail(ctx, (enum dispatch_status)input_int(input),
                                                  "Broken", "broken %d", (int)input_int(input));

    return result;
}

/* --- calls -------------------------------------------------------------------------------------
 */

static struct dispatch_result sequence(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_result r = dispatch_ok(input);

    for (int i = 0; i < 5; i++) {
        r = dispatch_call(ctx, "doubles", r.output);
        assert_null(r.error);
    }
    return r;
}

static struct dispatch_result long_way(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < input_int(input); i++)
        sum += input_int(dispatch_call(ctx, "doubles", dispatch_int(i)).output);
    return dispatch_ok(dispatch_int(sum));
}

static void test_sequence(void **state)
{
    struct world w, fresh;

    (void)state;
    gives("sequence", 3, 96);
    if (world_is_real()) /* the rest is about what only a played one tells; so below */
        return;
    /* A kept stack and a replayed one send the same. */
    w = world_in(0);
    fresh = world_in(1);
    int_of(world_call(&w, "sequence", dispatch_int(3)));
    int_of(world_call(&fresh, "sequence", dispatch_int(3)));
    assert_int_equal(w.polls, 5);
    assert_int_equal(w.sent, fresh.sent);
    world_end(&w);
    world_end(&fresh);
}

/* Bytes of state that so many awaits in a row send. */
static size_t bytes_of(int world, int64_t awaits, size_t *largest)
{
    struct world w = world_in(world);
    size_t sent;

    assert_int_equal(int_of(world_call(&w, "long_way", dispatch_int(awaits))),
                     awaits * (awaits - 1));
    sent = w.sent;
    *largest = w.largest_state;
    world_end(&w);
    return sent;
}

/* What is written for an await is its journal entry, however many there were before; with the
 * original protocol it is all of them. (The numbers are of at most two bytes.) */
static void test_bytes(void **state)
{
    size_t largest, ours, ours_half, theirs, theirs_half;

    (void)state;
    ours = bytes_of(0, 100, &largest);
    assert_true(ours < largest + 200);
    assert_true(ours / 100 < 40);
    theirs = bytes_of(5, 100, &largest);
    print_message("100 awaits in a row: %zu bytes of state written with append, %zu without\n",
                  ours, theirs);
    assert_true(theirs > 30 * ours);
    ours_half = bytes_of(0, 50, &largest);
    theirs_half = bytes_of(5, 50, &largest);
    assert_in_range(ours, ours_half * 18 / 10, ours_half * 22 / 10);
    assert_in_range(theirs, theirs_half * 35 / 10, theirs_half * 42 / 10);
    /* Of many, now and then one is sent with all before it, as no more than 255 pieces are kept
     * (world_poll sees to it). */
    ours = bytes_of(0, 300, &largest);
    assert_true(ours < 3 * largest + 200);
}

static struct dispatch_result fan_out(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    size_t count = (size_t)input_int(input);
    struct dispatch_task **tasks = dispatch_alloc(ctx, count * sizeof(struct dispatch_task *));
    struct dispatch_result *r = dispatch_alloc(ctx, count * sizeof *r);
    int64_t sum = 0, number;

    for (size_t i = 0; i < count; i++)
        tasks[i] = dispatch_start(ctx, "doubles", dispatch_int((int64_t)i));
    if (dispatch_all(ctx, tasks, count, r))
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "All", "failed");
    for (size_t i = 0; i < count; i++) {
        if (!dispatch_as_int(r[i].output, &number) || number != 2 * (int64_t)i)
            return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Order", "at %zu", i);
        sum += number;
    }
    return dispatch_ok(dispatch_int(sum));
}

static void test_fan_out(void **state)
{
    struct world w;

    (void)state;
    gives("fan_out", 30, 870);
    gives("fan_out", 0, 0);
    w = world_in(0);
    int_of(world_call(&w, "fan_out", dispatch_int(1000)));
    assert_true(world_is_real() || w.largest_poll == 1000); /* all leave together */
    assert_true(world_is_real() || w.polls == 1);           /* and wake it once */
    world_end(&w);
}

/* --- nesting -----------------------------------------------------------------------------------
 */

static struct dispatch_result three(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[3];
    struct dispatch_result r[3];
    int64_t sum = 0;

    for (int i = 0; i < 3; i++)
        tasks[i] = dispatch_start(ctx, "doubles", dispatch_int(input_int(input) + i));
    if (dispatch_gather(ctx, tasks, 3, r))
        return r[0];
    for (int i = 0; i < 3; i++)
        sum += input_int(r[i].output);
    return dispatch_ok(dispatch_int(sum));
}

static struct dispatch_result nested(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[] = {
        dispatch_spawn(ctx, three, dispatch_int(10)),
        dispatch_start(ctx, "doubles", dispatch_int(1)),
        dispatch_spawn(ctx, three, dispatch_int(20)),
        dispatch_spawn(ctx, sequence, input),
    };
    struct dispatch_result r[4];
    int64_t sum = 0;

    if (dispatch_all(ctx, tasks, 4, r))
        return r[0];
    for (int i = 0; i < 4; i++)
        sum = 1000 * sum + input_int(r[i].output);
    return dispatch_ok(dispatch_int(sum));
}

static void test_nested(void **state)
{
    (void)state;
    gives("nested", 1, INT64_C(66002126032));
}

/* --- any, race, losers, handlers ---------------------------------------------------------------
 */

static int handled; /* by `counts_handler` */

static void counts_handler(void *arg)
{
    *(int *)arg += 1;
}

static struct dispatch_result never_ends(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    dispatch_defer(ctx, counts_handler, &handled);
    dispatch_call(ctx, "hangs", input);
    fail();
    return dispatch_ok(input);
}

static struct dispatch_result hangs(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    dispatch_sleep(ctx, 1000000);
    return dispatch_ok(input);
}

static struct dispatch_result races(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[] = {
        dispatch_spawn(ctx, never_ends, input),
        dispatch_start(ctx, "hangs", input),
        dispatch_start(ctx, "doubles", input),
        dispatch_timer(ctx, 500000),
    };
    struct dispatch_result r, late;
    size_t winner;

    r = dispatch_race(ctx, tasks, 4, &winner);
    late = dispatch_await(ctx, tasks[1]);
    if (winner != 2 || !late.error || strcmp(late.error->type, "Forgotten") != 0)
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Wrong", "winner %zu", winner);
    return r;
}

static struct dispatch_result times_out(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[] = {dispatch_start(ctx, "hangs", input), dispatch_timer(ctx, 500)};
    size_t winner = 7;

    dispatch_race(ctx, tasks, 2, &winner);
    return dispatch_ok(dispatch_int((int64_t)winner));
}

static void test_race(void **state)
{
    struct world w;

    (void)state;
    gives("races", 4, 8);
    gives("times_out", 4, 1);
    handled = 0;
    w = world_in(0);
    int_of(world_call(&w, "races", dispatch_int(4)));
    assert_int_equal(handled, 1);   /* it lost where it stood */
    assert_int_equal(w.cancels, 0); /* the run ended with it: nobody is told */
    world_end(&w);
}

static struct dispatch_result any_of(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[] = {
        dispatch_start(ctx, "breaks", dispatch_int(DISPATCH_NOT_FOUND)),
        dispatch_start(ctx, input_int(input) ? "doubles" : "breaks", dispatch_int(7)),
        dispatch_start(ctx, "breaks", dispatch_int(DISPATCH_PERMANENT_ERROR)),
    };
    struct dispatch_result r = dispatch_any(ctx, tasks, 3, NULL);

    if (r.error && !dispatch_task_result(tasks[1])->error)
        return dispatch_ok(dispatch_null());
    return r;
}

static struct dispatch_result empty_sets(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    size_t winner = 0;

    (void)input;
    if (dispatch_all(ctx, NULL, 0, NULL) ||
        !dispatch_is_null(dispatch_any(ctx, NULL, 0, NULL).output) ||
        dispatch_race(ctx, NULL, 0, &winner).error)
        return dispatch_ok(dispatch_int(0));
    return dispatch_ok(dispatch_int(winner == SIZE_MAX));
}

static void test_any(void **state)
{
    (void)state;
    gives("any_of", 1, 14);
    gives("empty_sets", 0, 1);
    for (int i = 0; i < WORLDS; i++)
        fails_in(i, "any_of", dispatch_int(0), DISPATCH_PERMANENT_ERROR, "AnyException",
                 "3 coroutines failed with an exception: Broken: broken 15; Broken: broken 7; "
                 "Broken: broken 7");
}

/* --- errors ------------------------------------------------------------------------------------
 */

static struct dispatch_result passes_on(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    return dispatch_call(ctx, "breaks", input);
}

static struct dispatch_result first_error(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[] = {
        dispatch_start(ctx, "hangs", input),
        dispatch_start(ctx, "passes_on", dispatch_int(DISPATCH_NOT_FOUND)),
    };
    struct dispatch_result r[2];
    const struct dispatch_error *error = dispatch_all(ctx, tasks, 2, r);

    if (!error || r[0].error || r[0].status != DISPATCH_UNSPECIFIED || !r[1].error)
        return dispatch_ok(input);
    return dispatch_fail_with(ctx, error);
}

static void test_errors(void **state)
{
    struct dispatch_result result;
    char traceback[1000];
    struct world w;

    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        fails_in(i, "passes_on", dispatch_int(DISPATCH_NOT_FOUND), DISPATCH_NOT_FOUND, "Broken",
                 "broken 15");
        fails_in(i, "first_error", dispatch_int(1), DISPATCH_NOT_FOUND, "Broken", "broken 15");
    }
    w = world_in(0);
    result = world_call(&w, "first_error", dispatch_int(1));
    snprintf(traceback, sizeof traceback, "%.*s", (int)result.error->traceback_size,
             (const char *)result.error->traceback);
    assert_non_null(strstr(traceback, "at breaks (coroutine_test.c:"));
    assert_non_null(strstr(traceback, "at passes_on (coroutine_test.c:"));
    assert_non_null(strstr(traceback, "), awaiting breaks\n"));
    assert_non_null(strstr(traceback, "at first_error (coroutine_test.c:"));
    assert_true(strstr(traceback, "breaks") < strstr(traceback, "passes_on ("));
    world_end(&w);
    if (world_is_real())
        return;
    /* A child's temporary error, its retries over, does not make the parent try again. */
    w = world_in(0);
    w.retries = 1;
    result = world_call(&w, "passes_on", dispatch_int(DISPATCH_THROTTLED));
    assert_int_equal(result.error->status, DISPATCH_THROTTLED);
    assert_int_equal(w.calls[0].failures, 0);
    assert_int_equal(w.calls[1].failures, 2);
    world_end(&w);
}

static struct dispatch_result typed(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    return dispatch_fail(ctx, DISPATCH_UNSPECIFIED, "Overdrawn", "no money");
}

static void test_error_types(void **state)
{
    struct dispatch_failure failure;

    (void)state;
    assert_int_equal(dispatch_register_error_type("Overdrawn", DISPATCH_THROTTLED, NULL), 0);
    assert_int_equal(dispatch_register_error_type("Overdrawn", DISPATCH_PERMISSION_DENIED, NULL),
                     0);
    assert_int_equal(dispatch_register_error_type("", DISPATCH_TIMEOUT, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_int_not_equal(dispatch_register_error_type("x", DISPATCH_OK, NULL), 0);
    fails_in(0, "typed", dispatch_null(), DISPATCH_PERMISSION_DENIED, "Overdrawn", "no money");
}

static struct dispatch_result refused(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_result r = dispatch_call(ctx, "doubles", input);

    if (!r.error || strcmp(r.error->type, "invalid_argument") != 0 || r.correlation_id == 0)
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Wrong", "it was not refused");
    return dispatch_call(ctx, "doubles", input);
}

static void test_refused(void **state)
{
    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        struct world w = world_in(i);

        w.refuse = "doubles";
        assert_int_equal(int_of(world_call(&w, "refused", dispatch_int(21))), 42);
        world_end(&w);
    }
}

static struct dispatch_result misused(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *none[] = {NULL};
    struct dispatch_call bad = dispatch_to("no-such-name", input);

    if (!dispatch_call_with(ctx, &bad).error || !dispatch_await(ctx, NULL).error ||
        !dispatch_all(ctx, none, 1, NULL))
        return dispatch_ok(dispatch_null());
    return dispatch_call(ctx, "doubles", input);
}

static struct dispatch_output primitive(struct dispatch_ctx *ctx,
                                        const struct dispatch_input *input)
{
    struct dispatch_result r = dispatch_call(ctx, "doubles", dispatch_int(1));

    (void)input;
    return dispatch_output_result(ctx, &r);
}

static struct dispatch_result waits_for_other(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task **other = dispatch_alloc(ctx, sizeof(struct dispatch_task *));
    (void)input;
    *other = dispatch_start(ctx, "doubles", input);
    dispatch_forget(ctx, *other);
    return dispatch_await(ctx, *other);
}

static void test_misuse(void **state)
{
    (void)state;
    gives("misused", 3, 6);
    fails_in(0, "primitive", dispatch_null(), DISPATCH_PERMANENT_ERROR, "Misuse",
             "only a function registered with dispatch_register can await, and not in a step, a "
             "handler of dispatch_defer or a destructor");
    fails_in(1, "waits_for_other", dispatch_null(), DISPATCH_PERMANENT_ERROR, "Forgotten",
             "the task was given up: by dispatch_forget, or as it lost a race, or as another task "
             "of the same dispatch_all failed");
}

static atomic_int sent;

static struct dispatch_result counts_sent(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    atomic_fetch_add(&sent, 1);
    return dispatch_ok(input);
}

/* Begins calls that nobody waits for, and is over. */
static struct dispatch_result sends(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    dispatch_forget(ctx, dispatch_start(ctx, "counts_sent", input));
    dispatch_start(ctx, "counts_sent", input);
    return dispatch_ok(dispatch_int(5));
}

static void test_last_calls(void **state)
{
    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        struct world w = world_in(i);

        atomic_store(&sent, 0);
        assert_int_equal(int_of(world_call(&w, "sends", dispatch_int(1))), 5);
        while (world_step(&w))
            ;
        assert_int_equal(atomic_load(&sent), w.lose_answers ? 4 : 2);
        assert_int_equal(w.count, 3);
        world_end(&w);
    }
}

/* --- time --------------------------------------------------------------------------------------
 */

static struct dispatch_result sleeps(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t before = dispatch_now(ctx), after;

    dispatch_sleep(ctx, 60000);
    dispatch_sleep_until(ctx, before + INT64_C(120000000000));
    after = dispatch_now(ctx);
    (void)input;
    if (after < before + INT64_C(120000000000) || after > before + INT64_C(180000000000))
        return dispatch_ok(dispatch_int(0));
    return dispatch_ok(dispatch_int(1));
}

static void test_sleep(void **state)
{
    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        struct world w = world_in(i);

        if (w.foreign) { /* this process's clock does not jump with the world's */
            world_end(&w);
            continue;
        }
        assert_int_equal(int_of(world_call(&w, "sleeps", dispatch_null())), 1);
        assert_true(w.now >= WORLD_T0 + INT64_C(120000000000));
        world_end(&w);
    }
}

/* --- steps -------------------------------------------------------------------------------------
 */

static int effects, failing_effects;

static struct dispatch_result effect(struct dispatch_ctx *ctx, void *arg)
{
    (void)ctx;
    effects++;
    return dispatch_ok(dispatch_int(*(int64_t *)arg));
}

static struct dispatch_result failing_effect(struct dispatch_ctx *ctx, void *arg)
{
    struct dispatch_result misuse = dispatch_call(ctx, "doubles", dispatch_int(1));

    (void)arg;
    if (!misuse.error)
        return dispatch_ok(dispatch_int(0));
    if (++failing_effects % 3 != 0)
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Flaky", "not now");
    return dispatch_fail(ctx, DISPATCH_NOT_FOUND, "Gone", "no");
}

static struct dispatch_result steps(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t number = input_int(input), random = (int64_t)(dispatch_random(ctx) >> 1), sum = 0;
    struct dispatch_result r;

    r = dispatch_step(ctx, "fail", failing_effect, NULL);
    if (!r.error || strcmp(r.error->type, "Gone") != 0 || r.status != DISPATCH_NOT_FOUND)
        return r;
    for (int i = 0; i < 3; i++) {
        sum += input_int(dispatch_step(ctx, "add", effect, &number).output);
        sum += input_int(dispatch_step_lazy(ctx, "add lazily", effect, &random).output) - random;
    }
    return dispatch_call(ctx, "doubles", dispatch_int(sum));
}

static void test_steps(void **state)
{
    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        struct world w;

        if (!world_exists(&worlds[i]))
            continue;
        w = world_in(i);
        effects = failing_effects = 0;
        assert_int_equal(int_of(world_call(&w, "steps", dispatch_int(7))), 42);
        /* Twice only where the answer that held the result was lost. */
        assert_int_equal(effects, w.lose_answers ? 12 : 6);
        world_end(&w);
    }
}

/* --- states and checkpoints --------------------------------------------------------------------
 */

struct tally {
    int64_t day, sum;
};

static struct dispatch_result loops(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct tally *s = dispatch_state(ctx, sizeof *s);

    dispatch_defer(ctx, counts_handler, &handled);
    if (s->day == input_int(input))
        return dispatch_ok(dispatch_int(s->sum));
    s->sum += input_int(dispatch_call(ctx, "doubles", dispatch_int(s->day)).output);
    s->day++;
    return dispatch_checkpoint(ctx);
}

static struct dispatch_result outstanding(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *task = dispatch_start(ctx, "doubles", input);

    dispatch_start(ctx, "hangs", input);
    if (input_int(input))
        dispatch_forget(ctx, task);
    return dispatch_checkpoint(ctx);
}

static size_t grows_to; /* of the state of `grows` */

static struct dispatch_result grows(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    unsigned char *s = dispatch_state(ctx, grows_to);

    (void)input;
    if (s[0] == 2)
        return dispatch_ok(dispatch_int(grows_to > 1 ? s[1] : 0));
    s[0]++;
    grows_to = s[0] == 2 ? (size_t)input_int(input) : grows_to;
    return dispatch_checkpoint(ctx);
}

static void test_checkpoints(void **state)
{
    const int64_t rounds = world_is_real() ? 100 : is_slow() ? 1000 : 10000;
    struct world w;

    (void)state;
    gives("loops", 40, 1560);
    /* The state of a long loop stays as small as that of a short one. */
    w = world_in(0);
    handled = 0;
    assert_int_equal(int_of(world_call(&w, "loops", dispatch_int(rounds))), rounds * (rounds - 1));
    assert_int_equal(handled, rounds + 1);
    assert_true(w.largest_state < 400);
    assert_true(world_is_real() || w.polls == 2 * (size_t)rounds);
    world_end(&w);
    fails_in(0, "outstanding", dispatch_int(1), DISPATCH_PERMANENT_ERROR, "Outstanding",
             "a checkpoint with tasks that are neither done nor forgotten: hangs");
    fails_in(0, "outstanding", dispatch_int(0), DISPATCH_PERMANENT_ERROR, "Outstanding",
             "a checkpoint with tasks that are neither done nor forgotten: doubles, hangs");
    grows_to = 8;
    gives("grows", 8, 0);
    for (int larger = 0; larger < 2 && !world_is_real(); larger++) {
        w = world_in(1);
        grows_to = 8;
        if (larger) {
            assert_int_equal(int_of(world_call(&w, "grows", dispatch_int(16))), 0);
        } else {
            world_call(&w, "grows", dispatch_int(4)); /* starts over, then fits */
            assert_string_equal(w.last_error,
                                "Incompatible: the state was saved with 8 bytes, the code asks for "
                                "4");
            assert_int_equal(w.calls[0].generation, 1);
        }
        world_end(&w);
    }
}

/* --- resets ------------------------------------------------------------------------------------
 */

static struct dispatch_result resets_deep(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to("doubles", dispatch_int(input_int(input) + 1));

    dispatch_call(ctx, "doubles", input);
    dispatch_defer(ctx, counts_handler, &handled);
    dispatch_reset(ctx, &call, DISPATCH_TEMPORARY_ERROR);
}

static struct dispatch_result resets(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *task = dispatch_spawn(ctx, resets_deep, input);

    dispatch_defer(ctx, counts_handler, &handled);
    dispatch_await(ctx, task);
    fail();
    return dispatch_ok(input);
}

static void test_reset(void **state)
{
    struct world w;

    (void)state;
    gives("resets", 20, 42);
    handled = 0;
    w = world_in(0);
    int_of(world_call(&w, "resets", dispatch_int(20)));
    assert_int_equal(handled, 2);
    assert_true(world_is_real() || w.calls[0].generation == 1);
    world_end(&w);
}

/* --- code that changed its mind ----------------------------------------------------------------
 */

static int version; /* of the code of `changes` */

static struct dispatch_result changes(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_result r = dispatch_call(ctx, "doubles", input);

    if (version == 2)
        return dispatch_call(ctx, "breaks", dispatch_int(7));
    if (version == 3)
        return r;
    if (version == 4)
        dispatch_sleep(ctx, 5);
    if (version == 5 && dispatch_patched(ctx, "nothing more"))
        return r;
    if (version == 6)
        input = dispatch_int(0);
    r = dispatch_call(ctx, "doubles", r.output);
    return dispatch_call(ctx, "doubles", r.output);
}

/* To where the second call is under way, with the old code; then with the new. */
static void diverges(int to, const char *error)
{
    struct world w = world_in(1);
    struct dispatch_call call = dispatch_to("changes", dispatch_int(1));
    wire_call *message = NULL;

    version = 1;
    assert_int_equal(sdk_call_to_wire(&call, NULL, &w.memory, &message, NULL), 0);
    world_add(&w, message, NULL);
    while (w.polls < 2)
        assert_true(world_step(&w));
    version = to;
    for (int i = 0; i < 4; i++)
        assert_true(world_step(&w));
    assert_int_equal(w.calls[0].at, WORLD_SUSPENDED);
    assert_string_equal(w.last_error, error);
    version = 1; /* the old code comes back */
    while (world_step(&w))
        ;
    assert_int_equal(w.calls[0].at, WORLD_DONE);
    assert_int_equal(w.calls[0].generation, 0);
    world_end(&w);
}

static void test_divergence(void **state)
{
    const char *waits = "; the call waits for the code that wrote the journal";
    char text[300];
    struct world w;

    (void)state;
    snprintf(text, sizeof text,
             "Diverged: await 4 of 'changes': the journal has call of 'doubles', the code made "
             "call of 'breaks'%s",
             waits);
    diverges(2, text);
    snprintf(text, sizeof text,
             "Diverged: await 4 of 'changes': the journal has call of 'doubles', the code made its "
             "end%s",
             waits);
    diverges(3, text);
    snprintf(text, sizeof text,
             "Diverged: await 4 of 'changes': the journal has call of 'doubles', the code made "
             "sleep%s",
             waits);
    diverges(4, text);

    /* Or it starts over. */
    dispatch_on_divergence(registry, DISPATCH_DIVERGENCE_RESTARTS);
    w = world_in(1);
    version = 1;
    {
        struct dispatch_call call = dispatch_to("changes", dispatch_int(1));
        wire_call *message = NULL;

        assert_int_equal(sdk_call_to_wire(&call, NULL, &w.memory, &message, NULL), 0);
        world_add(&w, message, NULL);
    }
    while (w.polls < 2)
        assert_true(world_step(&w));
    version = 3;
    while (world_step(&w))
        ;
    assert_int_equal(w.calls[0].at, WORLD_DONE);
    assert_int_equal(w.calls[0].generation, 1);
    world_end(&w);
    dispatch_on_divergence(registry, DISPATCH_DIVERGENCE_WAITS);
}

static void test_patched(void **state)
{
    struct dispatch_call call = dispatch_to("changes", dispatch_int(1));
    struct world w = world_in(1);
    wire_call *message = NULL;

    (void)state;
    version = 1;
    assert_int_equal(sdk_call_to_wire(&call, NULL, &w.memory, &message, NULL), 0);
    world_add(&w, message, NULL);
    while (w.polls < 2)
        assert_true(world_step(&w));
    version = 5; /* this call has passed the place: it stays on the old side */
    while (world_step(&w))
        ;
    assert_int_equal(w.polls, 3);
    assert_int_equal(int_of(world_call(&w, "changes", dispatch_int(1))), 2); /* a new one is new */
    world_end(&w);
    gives("changes", 1, 2);
    version = 1;
}

/* --- replay by order ---------------------------------------------------------------------------
 */

static int warnings;

static void warn(void *arg, const char *id, const char *text)
{
    (void)arg;
    assert_string_equal(id, "call-0");
    assert_non_null(strstr(text, "another input"));
    warnings++;
}

static int64_t drifts; /* the input of its call, which must not change, and does */

static struct dispatch_result drifting(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    dispatch_call(ctx, "doubles", dispatch_int(drifts++));
    return dispatch_ok(dispatch_int(1));
}

static void test_replay_environment(void **state)
{
    struct world w = world_in(0);

    (void)state;
    w.options.on_warning = warn;
    world_endpoint(&w, 0);
    world_call(&w, "drifting", dispatch_null());
    assert_int_equal(warnings, 0);
    world_end(&w);
    w = world_in(1);
    w.options.on_warning = warn;
    world_call(&w, "drifting", dispatch_null());
    assert_int_equal(warnings, 1);
    world_end(&w);

    setenv("DISPATCH_REPLAY", "always", 1);
    w = world_in(0);
    w.retries = 3;
    world_call(&w, "drifting", dispatch_null());
    assert_non_null(strstr(w.last_error, "Diverged: await 1 of 'drifting': the call of 'doubles'"));
    world_end(&w);
    gives("nested", 1, INT64_C(66002126032));
    gives("races", 4, 8);
    setenv("DISPATCH_REPLAY", "2", 1);
    gives("nested", 1, INT64_C(66002126032));
    unsetenv("DISPATCH_REPLAY");
}

/* --- random schedules --------------------------------------------------------------------------
 */

/* A tree of awaits drawn from its input; what it saw, and in which order, folded into a number. */
static struct dispatch_result tree(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    uint64_t seed = (uint64_t)input_int(input), hash = seed;
    struct dispatch_task *tasks[6];
    struct dispatch_result r[6], one;
    unsigned depth = (unsigned)(seed & 3);
    struct rand rand;

    rand_seed(&rand, seed);
    for (int round = 0; round < 2; round++) {
        size_t count = 1 + rand_below(&rand, 6), winner = 0;

        for (size_t i = 0; i < count; i++) {
            int64_t next = (int64_t)(rand_u64(&rand) >> 3 << 2);
            uint64_t what = rand_below(&rand, 10);

            if (depth > 0 && what < 4)
                tasks[i] = dispatch_spawn(ctx, tree, dispatch_int(next | (depth - 1)));
            else if (what < 5)
                /* So far apart that it does not matter how long a run takes. */
                tasks[i] = dispatch_timer(ctx, next % INT64_C(100000000000));
            else
                tasks[i] = dispatch_start(ctx, what == 9 ? "breaks" : "doubles",
                                          dispatch_int(what == 9 ? 7 : next));
        }
        switch (rand_below(&rand, 4)) {
        case 0:
            one = dispatch_any(ctx, tasks, count, &winner);
            break;
        case 1:
            one = dispatch_race(ctx, tasks, count, &winner);
            break;
        case 2:
            hash += dispatch_all(ctx, tasks, count, r) != NULL;
            one = r[0];
            break;
        default:
            one = dispatch_await(ctx, tasks[0]);
            for (size_t i = 1; i < count; i++)
                dispatch_forget(ctx, tasks[i]);
            break;
        }
        hash = hash * 31 + (uint64_t)input_int(one.output) + winner + (one.error ? 7 : 0);
        hash += dispatch_random(ctx) & 0; /* journaled, and of no effect */
    }
    return dispatch_ok(dispatch_int((int64_t)(hash >> 1)));
}

static void test_random_schedules(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= (is_slow() ? 40 : 1000); seed++) {
        struct world kept = {.registry = registry, .shuffle = true};
        struct world replayed = {.registry = registry, .shuffle = true, .fresh = seed % 8 == 0};
        int64_t expected;

        replayed.options.max_suspended = -1;
        world_start(&kept, seed);
        world_start(&replayed, seed);
        expected = int_of(world_call(&kept, "tree", dispatch_int((int64_t)(seed * 4 + 2))));
        assert_int_equal(
            int_of(world_call(&replayed, "tree", dispatch_int((int64_t)(seed * 4 + 2)))), expected);
        assert_int_equal(kept.count, replayed.count);
        world_end(&kept);
        world_end(&replayed);
    }
}

/* --- limits ------------------------------------------------------------------------------------
 */

static struct dispatch_result deep(struct dispatch_ctx *ctx, int depth)
{
    volatile char here[1000];
    struct dispatch_result r;

    here[0] = (char)depth;
    if (dispatch_random(ctx) == 0)
        return dispatch_ok(dispatch_int(here[0]));
    r = deep(ctx, depth + 1);
    here[1] = 0;
    return r;
}

static struct dispatch_result overflows(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    return deep(ctx, 1);
}

static void test_red_zone(void **state)
{
    struct world w = world_in(0);
    struct dispatch_result result;

    (void)state;
    result = world_call(&w, "overflows", dispatch_null());
    assert_non_null(result.error);
    assert_string_equal(result.error->type, "StackOverflow");
    assert_non_null(strstr(result.error->message, "function 'overflows' awaits with less than"));
    world_end(&w);
}

static struct dispatch_result floods(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    void *large = dispatch_alloc(ctx, 1000000);

    for (int i = 0; i < 100; i++)
        dispatch_step_lazy(ctx, "large", effect, &(int64_t){1});
    for (int i = 0; i < 20; i++)
        dispatch_call(ctx, "echoes", dispatch_bytes(large, 1000000));
    return dispatch_ok(input);
}

static struct dispatch_result echoes(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}

static void test_full_journal(void **state)
{
    struct world w = world_in(0);
    struct dispatch_result result;

    (void)state;
    result = world_call(&w, "floods", dispatch_null());
    assert_non_null(result.error);
    assert_string_equal(result.error->type, "JournalTooLong");
    assert_non_null(strstr(result.error->message, "dispatch_checkpoint"));
    assert_int_equal(result.status, DISPATCH_PERMANENT_ERROR);
    world_end(&w);
}

/* States that are none of ours, damaged, or of later versions. */
static void test_foreign_states(void **state)
{
    static const struct {
        struct dispatch_value state;
        enum dispatch_status status;
    } cases[] = {
        {{.kind_ = DISPATCH_NULL}, DISPATCH_INCOMPATIBLE_STATE},
        {{.kind_ = DISPATCH_STRING, .as_ = {.pointer_ = "s"}, .size_ = 1},
         DISPATCH_INCOMPATIBLE_STATE},
        {{.kind_ = DISPATCH_MESSAGE,
          .as_ = {.pointer_ = "DX"},
          .size_ = 2,
          .extra_ = {.type_url_ = "x/" JOURNAL_TYPE}},
         DISPATCH_INCOMPATIBLE_STATE},
        {{.kind_ = DISPATCH_MESSAGE,
          .as_ = {.pointer_ = "DJ\1\4"},
          .size_ = 4,
          .extra_ = {.type_url_ = "x/" JOURNAL_TYPE}},
         DISPATCH_INCOMPATIBLE_STATE},
        {{.kind_ = DISPATCH_MESSAGE,
          .as_ = {.pointer_ = "DJ\2"},
          .size_ = 3,
          .extra_ = {.type_url_ = "x/" JOURNAL_TYPE}},
         DISPATCH_TEMPORARY_ERROR},
        {{.kind_ = DISPATCH_MESSAGE,
          .as_ = {.pointer_ = "DJ\1\x12\1\0"},
          .size_ = 6,
          .extra_ = {.type_url_ = "x/" JOURNAL_TYPE}},
         DISPATCH_TEMPORARY_ERROR},
    };
    struct world w = world_in(0);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dispatch_run_request request = {
            .function = "sequence", .resume = true, .state = cases[i].state};
        struct world_answer answer = {0};
        struct dispatch_response response;
        void *bytes;
        size_t size;

        assert_int_equal(dispatch_run_request_pack(&request, &bytes, &size, NULL), 0);
        sem_init(&answer.there, 0, 0);
        dispatch_endpoint_handle(w.endpoint[0], bytes, size, world_reply, &answer);
        while (sem_wait(&answer.there))
            ;
        assert_int_equal(
            dispatch_response_unpack(answer.body->data, answer.body->len, &response, NULL), 0);
        assert_int_equal(response.status, cases[i].status);
        dispatch_response_free(&response);
        blob_unref(answer.body);
        dispatch_bytes_free(bytes);
    }
    world_end(&w);
}

/* --- the list ----------------------------------------------------------------------------------
 */

static int setup(void **state)
{
    static const struct {
        const char *name;
        dispatch_function *function;
    } functions[] = {
        {"doubles", doubles},
        {"breaks", breaks},
        {"sequence", sequence},
        {"fan_out", fan_out},
        {"nested", nested},
        {"races", races},
        {"times_out", times_out},
        {"hangs", hangs},
        {"any_of", any_of},
        {"empty_sets", empty_sets},
        {"passes_on", passes_on},
        {"first_error", first_error},
        {"typed", typed},
        {"refused", refused},
        {"misused", misused},
        {"sleeps", sleeps},
        {"steps", steps},
        {"loops", loops},
        {"outstanding", outstanding},
        {"grows", grows},
        {"resets", resets},
        {"changes", changes},
        {"drifting", drifting},
        {"tree", tree},
        {"overflows", overflows},
        {"floods", floods},
        {"echoes", echoes},
        {"waits_for_other", waits_for_other},
        {"long_way", long_way},
        {"sends", sends},
        {"counts_sent", counts_sent},
    };
    struct dispatch_registry_options options = {.name = "world"};

    (void)state;
    if (!world_is_real())
        options.endpoint = "http://localhost";
    if (dispatch_registry_create(&options, &registry, NULL))
        return -1;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (dispatch_register(registry, functions[i].name, functions[i].function, NULL))
            return -1;
    return dispatch_register_primitive(registry, "primitive", primitive, NULL);
}

static int teardown(void **state)
{
    (void)state;
    dispatch_registry_close(registry);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequence),     cmocka_unit_test(test_fan_out),
        cmocka_unit_test(test_nested),       cmocka_unit_test(test_race),
        cmocka_unit_test(test_any),          cmocka_unit_test(test_errors),
        cmocka_unit_test(test_error_types),  cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_steps),        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_reset),        cmocka_unit_test(test_red_zone),
        cmocka_unit_test(test_full_journal),
    };
    const struct CMUnitTest played[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_last_calls),
        cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_patched),
        cmocka_unit_test(test_replay_environment),
        cmocka_unit_test(test_random_schedules),
        cmocka_unit_test(test_foreign_states),
    };
    int failed;

    unsetenv("DISPATCH_REPLAY");
    failed = cmocka_run_group_tests(tests, setup, teardown);
    return world_is_real() ? failed : failed + cmocka_run_group_tests(played, setup, teardown);
}
