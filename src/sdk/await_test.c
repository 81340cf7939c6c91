// SPDX-License-Identifier: Apache-2.0
// long: each awaiting function stands beside the test that runs it
/*
 * What awaiting functions promise in detail, each promise asserted to the letter: in which order
 * the handlers of a stack run, however it ends; the lines of a traceback; what a call waits with,
 * and how often it is woken; in which order timers end that are due together; whose the states are.
 */
#include "dispatch_sdk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sdk/world_test.h"

/* Longer than a machine ever stands still, and than that: nothing is to end in the run that began
 * it. */
#define LONG_MS   INT64_C(1000000)
#define LONGER_MS INT64_C(1000000000)

static struct dispatch_registry *registry;

/* Stacks kept; dropped after each run; each answer lost once; none kept; two processes that take
 * every run in turns. */
static const struct world worlds[] = {
    {.endpoints = 1},
    {.endpoints = 1, .fresh = true},
    {.endpoints = 1, .lose_answers = true},
    {.endpoints = 1, .options = {.max_suspended = -1}},
    {.endpoints = 2},
};

enum { KEPT, FRESH, LOST, NONE_KEPT, IN_TURNS, WORLDS };

static struct world world_in(int i)
{
    struct world w = worlds[i];

    w.registry = registry;
    world_start(&w, 1);
    return w;
}

static int64_t int_of(struct dispatch_value value)
{
    int64_t number = INT64_MIN;

    dispatch_as_int(value, &number);
    return number;
}

/* Begins a call that world_step brings on. */
static struct world_call *begin(struct world *w, const char *function, int64_t input)
{
    struct dispatch_call call = dispatch_to(function, dispatch_int(input));
    wire_call *message = NULL;

    assert_int_equal(sdk_call_to_wire(&call, NULL, &w->memory, &message, NULL), 0);
    return world_add(w, message, NULL);
}

static struct dispatch_result echoes(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}

static struct dispatch_result breaks(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    return dispatch_fail(ctx, DISPATCH_NOT_FOUND, "Broken", "it is");
}

/* Fails if its input is not negative. */
static struct dispatch_result picky(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    return int_of(input) < 0 ? dispatch_ok(input) : breaks(ctx, input);
}

/* --- handlers ----------------------------------------------------------------------------------
 */

static char trail[128]; /* what happened, a letter each */

static void note(const char *letter)
{
    size_t len = strlen(trail);

    assert_true(len + 1 < sizeof trail);
    trail[len] = *letter;
    trail[len + 1] = '\0';
}

static void handler(void *arg)
{
    note(arg);
}

static void defer(struct dispatch_ctx *ctx, const char *letters)
{
    for (; *letters; letters++)
        dispatch_defer(ctx, handler, (void *)(uintptr_t)letters);
}

static struct dispatch_result waits_long(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    defer(ctx, "xyz");
    dispatch_sleep(ctx, LONGER_MS);
    return dispatch_ok(input);
}

static struct dispatch_result resets_itself(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to("echoes", input);

    defer(ctx, "xyz");
    dispatch_reset(ctx, &call, DISPATCH_OK);
}

static struct dispatch_result stops(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    defer(ctx, "xyz");
    dispatch_sleep(ctx, 1);
    return breaks(ctx, input);
}

enum how { RETURNS, FAILS, CHECKPOINT, RESETS, FORGETS, LOSES, SIBLING, DROPPED, MISUSES };

/* Ends in each way that there is, or lets a local coroutine do so. */
static struct dispatch_result ends(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    enum how how = (enum how)int_of(input);
    int *entered = dispatch_state(ctx, sizeof *entered);
    struct dispatch_task *tasks[2] = {NULL, NULL};
    struct dispatch_call bad = dispatch_to("", input);

    defer(ctx, "abc");
    if (how == FAILS)
        return breaks(ctx, input);
    if (how == CHECKPOINT && (*entered)++ == 0)
        return dispatch_checkpoint(ctx);
    if (how == RESETS)
        dispatch_await(ctx, dispatch_spawn(ctx, resets_itself, input));
    if (how == MISUSES)
        dispatch_reset(ctx, &bad, DISPATCH_OK);
    if (how == FORGETS || how == LOSES || how == DROPPED) {
        tasks[0] = dispatch_spawn(ctx, waits_long, input);
        tasks[1] = dispatch_timer(ctx, LONG_MS);
    }
    if (how == FORGETS) {
        dispatch_await(ctx, tasks[1]);
        dispatch_forget(ctx, tasks[0]);
    } else if (how == LOSES) {
        dispatch_race(ctx, tasks, 2, NULL);
    } else if (how == SIBLING) {
        tasks[0] = dispatch_spawn(ctx, waits_long, input);
        tasks[1] = dispatch_spawn(ctx, stops, input);
        dispatch_all(ctx, tasks, 2, NULL);
    } else if (how == DROPPED) {
        dispatch_await(ctx, tasks[1]);
    }
    note("!");
    return dispatch_ok(input);
}

/* Last first, within a stack and of stacks; and at once, before anybody goes on. */
static void test_handlers(void **state)
{
    static const char *const expected[] = {
        [RETURNS] = "!cba",       [FAILS] = "cba",       [CHECKPOINT] = "cba!cba",
        [RESETS] = "zyxcba",      [FORGETS] = "zyx!cba", [LOSES] = "zyx!cba",
        [SIBLING] = "zyxzyx!cba", [DROPPED] = "!zyxcba", [MISUSES] = "cba",
    };

    (void)state;
    for (int how = RETURNS; how <= MISUSES; how++) {
        struct world w;

        if (world_is_real() && (how == FORGETS || how == LOSES || how == DROPPED))
            continue; /* they wait long */
        w = world_in(KEPT);
        trail[0] = '\0';
        world_call(&w, "ends", dispatch_int(how));
        assert_string_equal(trail, expected[how]);
        world_end(&w);
        assert_string_equal(trail, expected[how]);
    }
}

/* A stack that is dropped between two runs: all of its handlers before the replay begins. */
static void test_handlers_of_dropped(void **state)
{
    static const int dropping[] = {FRESH, NONE_KEPT};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world w = world_in(dropping[i]);

        trail[0] = '\0';
        world_call(&w, "ends", dispatch_int(DROPPED));
        assert_string_equal(trail, "zyxcba!zyxcba");
        world_end(&w);
    }
}

/* Nobody waits for it any longer, and the endpoint goes. */
static void test_handlers_at_the_end(void **state)
{
    struct world w = world_in(KEPT);

    (void)state;
    trail[0] = '\0';
    begin(&w, "ends", DROPPED);
    assert_true(world_step(&w));
    assert_string_equal(trail, "");
    world_end(&w);
    assert_string_equal(trail, "zyxcba");
}

/* --- awaits that cannot be ---------------------------------------------------------------------
 */

static struct dispatch_ctx *handlers_ctx;

static void awaits(void *arg)
{
    struct dispatch_result r = dispatch_call(handlers_ctx, "echoes", dispatch_null());

    note(r.error && strcmp(r.error->type, "Misuse") == 0 ? "m" : "?");
    handler(arg);
}

static struct dispatch_result awaits_in_handler(struct dispatch_ctx *ctx,
                                                struct dispatch_value input)
{
    handlers_ctx = ctx;
    dispatch_defer(ctx, awaits, dispatch_printf(ctx, "h"));
    if (int_of(input) > 0)
        dispatch_sleep(ctx, LONGER_MS);
    return dispatch_ok(input);
}

static struct dispatch_result checkpoints(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    return dispatch_checkpoint(ctx);
}

/* With handlers that await: of a stack that returns, and of one that is dropped. */
static struct dispatch_result misuses(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *dropped;

    dispatch_await(ctx, dispatch_spawn(ctx, awaits_in_handler, dispatch_int(0)));
    note("!");
    dropped = dispatch_spawn(ctx, awaits_in_handler, dispatch_int(1));
    dispatch_await(ctx, dispatch_timer(ctx, 0));
    dispatch_forget(ctx, dropped);
    (void)input;
    return dispatch_await(ctx, dispatch_spawn(ctx, checkpoints, dispatch_null()));
}

static void test_misuse(void **state)
{
    struct world w = world_in(KEPT);
    struct dispatch_result r;

    (void)state;
    trail[0] = '\0';
    r = world_call(&w, "misuses", dispatch_null());
    assert_string_equal(trail, "mh!mh");
    assert_non_null(r.error);
    assert_string_equal(r.error->type, "Misuse");
    assert_non_null(strstr(r.error->message, "dispatch_checkpoint"));
    assert_true(world_is_real() || w.count == 1);
    world_end(&w);
}

static volatile int bottom = 1 << 30;

static int overflow(int depth)
{
    volatile char here[512];

    here[0] = (char)depth;
    return depth < bottom ? overflow(depth + 1) + here[0] : 0;
}

static struct dispatch_result digs(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx, (void)input;
    return dispatch_ok(dispatch_int(overflow(0)));
}

/* An application, from the public header, whose function runs off its stack. */
static void test_overflow(void **state)
{
    char text[512] = "";
    size_t size = 0;
    int fds[2], status;
    ssize_t got;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        struct world w = {.registry = registry};

        signal(SIGSEGV, SIG_DFL); /* not cmocka's, not a sanitizer's */
        signal(SIGBUS, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        if (dispatch_report_overflows(NULL))
            _exit(4);
        world_start(&w, 1);
        world_call(&w, "digs", dispatch_null());
        _exit(3);
    }
    close(fds[1]);
    while (size < sizeof text - 1 && (got = read(fds[0], text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)got;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_non_null(strstr(text, "dispatch: stack overflow in function 'digs': it used all"));
}

/* --- tracebacks --------------------------------------------------------------------------------
 */

static int failing_line, passing_line, joining_line, awaiting_line, errno_line;

static struct dispatch_result line_fails(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    failing_line = __LINE__ + 1;
    return dispatch_fail(ctx, DISPATCH_NOT_FOUND, "Broken", "it is");
}

static struct dispatch_result line_passes(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    passing_line = __LINE__ + 1;
    return dispatch_call(ctx, "line_fails", input);
}

static struct dispatch_result line_joins(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[2];
    struct dispatch_result r[2];
    const struct dispatch_error *error;

    tasks[0] = dispatch_start(ctx, "echoes", input);
    tasks[1] = dispatch_spawn(ctx, line_passes, input);
    joining_line = __LINE__ + 1;
    error = dispatch_all(ctx, tasks, 2, r);
    return error ? r[1] : r[0];
}

static struct dispatch_result line_awaits(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *task = dispatch_spawn(ctx, line_fails, input);

    awaiting_line = __LINE__ + 1;
    return dispatch_await(ctx, task);
}

static struct dispatch_result line_errno(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)input;
    errno_line = __LINE__ + 1;
    return dispatch_fail_errno(ctx, ETIMEDOUT, "reading");
}

static void traced(int world, const char *function, const char *expected)
{
    struct world w = world_in(world);
    struct dispatch_result result = world_call(&w, function, dispatch_null());

    assert_non_null(result.error);
    assert_int_equal(result.error->traceback_size, strlen(expected));
    assert_memory_equal(result.error->traceback, expected, strlen(expected));
    world_end(&w);
}

static void test_traceback(void **state)
{
    char expected[500];

    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        struct world w;

        if (!world_exists(&worlds[i]))
            continue;
        w = world_in(i);
        world_call(&w, "line_joins", dispatch_null()); /* the lines are known after it */
        world_call(&w, "line_awaits", dispatch_null());
        if (!world_is_real())
            world_call(&w, "line_errno", dispatch_null());
        world_end(&w);
        snprintf(expected, sizeof expected,
                 "at line_fails (await_test.c:%d)\n"
                 "at line_passes (await_test.c:%d), awaiting line_fails\n"
                 "at line_joins (await_test.c:%d), awaiting line_passes\n",
                 failing_line, passing_line, joining_line);
        traced(i, "line_joins", expected);
        snprintf(expected, sizeof expected,
                 "at line_fails (await_test.c:%d)\n"
                 "at line_awaits (await_test.c:%d), awaiting line_fails\n",
                 failing_line, awaiting_line);
        traced(i, "line_awaits", expected);
        if (world_is_real()) /* which tries it again until it is over */
            continue;
        snprintf(expected, sizeof expected, "at line_errno (await_test.c:%d)\n", errno_line);
        traced(i, "line_errno", expected);
    }
}

/* --- polls -------------------------------------------------------------------------------------
 */

enum wait_for { ALL, ANY, RACE, ONE, TWICE, WITH_TIMER, WITH_LOCAL, TIMER, LIMITED, LIMITS_OFF };

static struct dispatch_result passes_on(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    return dispatch_call(ctx, "echoes", input);
}

/* Begins five calls, and waits for them, or for more. */
static struct dispatch_result waits(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    enum wait_for what = (enum wait_for)int_of(input);
    struct dispatch_task *tasks[6];
    size_t count = 5;

    for (size_t i = 0; i < count; i++)
        tasks[i] = dispatch_start(ctx, "echoes", dispatch_int(7));
    if (what == LIMITED || what == LIMITS_OFF)
        dispatch_poll_limits(ctx, 2, 3, 4500);
    if (what == LIMITS_OFF)
        dispatch_poll_limits(ctx, 0, 0, 0);
    if (what == TWICE) {
        tasks[2] = tasks[1];
        count = 3;
    }
    if (what == WITH_TIMER)
        tasks[count++] = dispatch_timer(ctx, LONG_MS);
    if (what == WITH_LOCAL)
        tasks[count++] = dispatch_spawn(ctx, passes_on, dispatch_int(7));
    if (what == ANY)
        return dispatch_any(ctx, tasks, count, NULL);
    if (what == RACE)
        return dispatch_race(ctx, tasks, count, NULL);
    if (what == ONE)
        return dispatch_await(ctx, tasks[4]);
    if (what == TIMER)
        dispatch_sleep(ctx, LONG_MS);
    else
        dispatch_all(ctx, tasks, count, NULL);
    return dispatch_ok(input);
}

/* What the first poll says, and how often the function is run in all. */
static const struct poll_case {
    enum wait_for what;
    bool foreign;
    int32_t min_results, max_results;
    bool wake_on_error;
    int64_t wait_ms; /* 0: without end */
    uint32_t resumes;
} polls[] = {
    {ALL, false, 5, 1000, true, 0, 1},
    {ALL, true, 1, 100, false, 0, 5},
    {ANY, false, 1, 1000, false, 0, 1},
    {RACE, false, 1, 1000, false, 0, 1},
    {ONE, false, 1, 1000, false, 0, 5},
    {TWICE, false, 2, 1000, true, 0, 1},
    /* Results alone do not end it: it is woken by the last of them, and by the timer. */
    {WITH_TIMER, false, 5, 1000, true, LONG_MS, 2},
    {WITH_LOCAL, false, 1, 1000, false, 0, 6},
    {TIMER, false, 5, 1000, false, LONG_MS, 2},
    {LIMITED, false, 2, 3, true, 4500, 3},
    {LIMITS_OFF, false, 5, 1000, true, 0, 1},
};

static void test_polls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof polls / sizeof *polls; i++) {
        const struct poll_case *p = &polls[i];
        struct world w = {.registry = registry, .foreign = p->foreign};
        struct world_call *c;

        world_start(&w, 1);
        c = begin(&w, "waits", p->what);
        assert_true(world_step(&w));
        assert_int_equal(c->min_results, p->min_results);
        assert_int_equal(c->max_results, p->max_results);
        assert_int_equal(c->wake_on_error, p->wake_on_error);
        if (p->wait_ms)
            assert_in_range(c->due - w.now, 1, p->wait_ms * 1000000);
        else
            assert_int_equal(c->due, INT64_MAX);
        assert_int_equal(w.largest_poll, p->what == WITH_LOCAL ? 6 : 5);
        while (world_step(&w))
            ;
        assert_int_equal(c->at, WORLD_DONE);
        assert_int_equal(c->resumes, p->resumes);
        world_end(&w);
    }
}

/* Its input: which of them fails; negative: none. */
static struct dispatch_result thousand(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task **tasks = dispatch_alloc(ctx, 1000 * sizeof(struct dispatch_task *));
    const struct dispatch_error *error;

    for (int64_t i = 0; i < 1000; i++)
        tasks[i] = dispatch_start(ctx, "picky", dispatch_int(i == int_of(input) ? i : -1));
    error = dispatch_all(ctx, tasks, 1000, NULL);
    return dispatch_ok(dispatch_int(error ? 1 : 0));
}

/* One poll, one wake-up: with the last result, or with the first error. */
static void test_thousand(void **state)
{
    for (int64_t failing = -1; failing < 1000; failing += 401) {
        struct world w = world_in(KEPT);

        (void)state;
        assert_int_equal(int_of(world_call(&w, "thousand", dispatch_int(failing)).output),
                         failing >= 0);
        if (!world_is_real()) {
            assert_int_equal(w.largest_poll, 1000);
            assert_int_equal(w.polls, 1);
            assert_int_equal(w.calls[0].resumes, 1);
            assert_int_equal(w.runs, failing < 0 ? 1002 : 1 + (failing + 1) + 1);
        }
        world_end(&w);
    }
}

/* --- who won -----------------------------------------------------------------------------------
 */

/* Its input: how many calls, of which all fail. */
static struct dispatch_result all_fail(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[3];
    size_t count = (size_t)int_of(input), winner = 7;
    struct dispatch_result r;

    for (size_t i = 0; i < count; i++)
        tasks[i] = dispatch_start(ctx, "breaks", input);
    r = dispatch_any(ctx, tasks, count, &winner);
    if (winner != SIZE_MAX || !r.error)
        return dispatch_ok(input);
    dispatch_race(ctx, tasks, count, &winner); /* they are done: the first of them */
    return winner == 0 ? r : dispatch_ok(input);
}

static void test_no_winner(void **state)
{
    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        struct dispatch_result one;
        struct world w;

        if (!world_exists(&worlds[i]))
            continue;
        w = world_in(i);
        one = world_call(&w, "all_fail", dispatch_int(1));
        assert_non_null(one.error);
        assert_string_equal(one.error->type, "Broken");
        world_end(&w);
        w = world_in(i);
        one = world_call(&w, "all_fail", dispatch_int(3));
        assert_non_null(one.error);
        assert_string_equal(one.error->type, "AnyException");
        assert_int_equal(one.error->status, DISPATCH_NOT_FOUND); /* as each of them */
        world_end(&w);
    }
}

/* --- losers ------------------------------------------------------------------------------------
 */

static struct dispatch_task *shared[2]; /* tasks that others than their makers wait for */

static struct dispatch_result naps(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    dispatch_sleep(ctx, int_of(input));
    return dispatch_ok(input);
}

static struct dispatch_result awaits_shared(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    return dispatch_await(ctx, shared[int_of(input)]);
}

/* Begins two calls and a local coroutine, and waits. */
static struct dispatch_result begins(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    shared[0] = dispatch_start(ctx, "naps", dispatch_int(10 * LONG_MS));
    dispatch_start(ctx, "naps", dispatch_int(LONGER_MS));
    dispatch_spawn(ctx, waits_long, input);
    dispatch_sleep(ctx, LONGER_MS);
    return dispatch_ok(input);
}

enum losing { BEFORE_POLL, AFTER_POLL, SHARED, SETTLED };

static struct dispatch_result loses(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    enum losing how = (enum losing)int_of(input);
    struct dispatch_task *tasks[3], *other;
    struct dispatch_result r;

    if (how == SETTLED) {
        tasks[1] = dispatch_spawn(ctx, waits_long, input);
        shared[0] = dispatch_spawn(ctx, naps, dispatch_int(10 * LONG_MS));
    } else if (how == SHARED) {
        tasks[1] = shared[0] = dispatch_start(ctx, "naps", dispatch_int(10 * LONG_MS));
    } else {
        tasks[1] = dispatch_spawn(ctx, begins, input);
    }
    other = dispatch_spawn(ctx, awaits_shared, dispatch_int(0));
    if (how == AFTER_POLL)
        dispatch_sleep(ctx, LONG_MS);
    tasks[0] = dispatch_timer(ctx, 0);
    if (how == SETTLED)
        dispatch_await(ctx, tasks[0]);
    tasks[2] = dispatch_start(ctx, "naps", dispatch_int(LONGER_MS));
    dispatch_race(ctx, tasks, 3, NULL);
    note("!");
    r = dispatch_await(ctx, other);
    for (int i = 0; i < 3 && !r.error; i++) /* more polls: nothing is cancelled twice */
        dispatch_call(ctx, "echoes", input);
    return r;
}

/* Losers take along what they began, but for what somebody else waits for; a call that has left is
 * cancelled, once, and one that has not does not leave. */
static void test_losers(void **state)
{
    static const struct {
        const char *trail;
        size_t calls, cancels; /* but the last three, and the function itself */
    } expected[] = {
        [BEFORE_POLL] = {"zyx!", 1, 0},
        [AFTER_POLL] = {"zyx!", 2, 1},
        [SHARED] = {"!", 1, 0}, /* it goes on */
        [SETTLED] = {"zyx!", 0, 0},
    };

    (void)state;
    for (int how = BEFORE_POLL; how <= SETTLED; how++) {
        struct world w = world_in(KEPT);
        struct dispatch_result r;

        trail[0] = '\0';
        r = world_call(&w, "loses", dispatch_int(how));
        assert_null(r.error);
        assert_int_equal(int_of(r.output), 10 * LONG_MS);
        assert_string_equal(trail, expected[how].trail);
        assert_int_equal(w.count, 1 + expected[how].calls + 3);
        assert_int_equal(w.cancels, expected[how].cancels);
        world_end(&w);
    }
}

static struct dispatch_result deadlocks(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    dispatch_call(ctx, "echoes", input);
    shared[0] = dispatch_spawn(ctx, awaits_shared, dispatch_int(1));
    shared[1] = dispatch_spawn(ctx, awaits_shared, dispatch_int(0));
    return dispatch_await(ctx, shared[0]);
}

static void test_deadlock(void **state)
{
    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        struct dispatch_result r;
        struct world w;

        if (!world_exists(&worlds[i]))
            continue;
        w = world_in(i);
        r = world_call(&w, "deadlocks", dispatch_null());
        assert_non_null(r.error);
        assert_string_equal(r.error->type, "Deadlock");
        assert_int_equal(r.status, DISPATCH_PERMANENT_ERROR);
        world_end(&w);
    }
}

/* --- another number of tasks -------------------------------------------------------------------
 */

static size_t awaited; /* of two tasks: changed code */

static struct dispatch_result counts(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[] = {dispatch_start(ctx, "naps", dispatch_int(1000)),
                                     dispatch_start(ctx, "echoes", input)};

    dispatch_all(ctx, tasks, awaited, NULL);
    return dispatch_ok(input);
}

static void test_other_number(void **state)
{
    struct world w = world_in(FRESH);
    struct world_call *c = begin(&w, "counts", 5);

    (void)state;
    awaited = 2;
    assert_true(world_step(&w));
    awaited = 1;
    while (!*w.last_error)
        assert_true(world_step(&w));
    assert_string_equal(
        w.last_error, "Diverged: await 3 of 'counts': the journal has all of 2, the code made all "
                      "of 1; the call waits for the code that wrote the journal");
    awaited = 2;
    while (world_step(&w))
        ;
    assert_int_equal(c->at, WORLD_DONE);
    world_end(&w);
}

/* --- timers ------------------------------------------------------------------------------------
 */

/* Its input: a letter, and when it is woken. */
static struct dispatch_result wakes(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t number = int_of(input);
    static const char letters[] = "abcdefgh";

    dispatch_sleep_until(ctx, WORLD_T0 + number / 10 * 1000000000);
    note(&letters[number % 10]);
    return dispatch_ok(input);
}

static struct dispatch_result alarms(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    /* Seconds, and the number of the letter. */
    static const int64_t all[] = {60000, 20001, 40002, 20003, 50004, 10005, 40006, 20007};
    struct dispatch_task *tasks[8];

    for (size_t i = 0; i < 8; i++)
        tasks[i] = dispatch_spawn(ctx, wakes, dispatch_int(all[i]));
    dispatch_all(ctx, tasks, 8, NULL);
    return dispatch_ok(input);
}

/* In the order of their deadlines; those of one deadline in the order in which they were begun. */
static void test_due_together(void **state)
{
    (void)state;
    for (int i = 0; i < WORLDS; i++) {
        struct world w = world_in(i);
        struct world_call *c = begin(&w, "alarms", 1);

        trail[0] = '\0';
        assert_true(world_step(&w));
        assert_string_equal(trail, "");
        w.now += INT64_C(36000000000000); /* hours late */
        while (world_step(&w))
            ;
        assert_int_equal(c->at, WORLD_DONE);
        assert_string_equal(trail, i == LOST ? "fbdhcgeafbdhcgea" : "fbdhcgea");
        world_end(&w);
    }
}

/* --- states ------------------------------------------------------------------------------------
 */

static struct dispatch_result keeps(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const unsigned char *s = dispatch_state(ctx, 8);
    int64_t sum = 0;

    (void)input;
    for (int i = 0; i < 8; i++)
        sum = 10 * sum + s[i];
    return dispatch_ok(dispatch_int(sum));
}

/* Resumes it with a state that was saved on that architecture. */
static void resumed(struct world *w, const char *architecture, struct slice saved,
                    struct dispatch_response *response)
{
    struct journal_record input = {.kind = JOURNAL_INPUT};
    struct journal_record record = {
        .kind = JOURNAL_STATE, .name = slice_str(architecture), .bytes = saved};
    struct dispatch_run_request request = {.function = "keeps", .resume = true};
    struct world_answer answer = {0};
    struct journal journal;
    void *bytes;
    size_t size;

    assert_int_equal(journal_init(&journal, NULL), 0);
    assert_int_equal(journal_append(&journal, &input, NULL), 0);
    assert_int_equal(journal_append(&journal, &record, NULL), 0);
    request.state = (struct dispatch_value){.kind_ = DISPATCH_MESSAGE,
                                            .as_ = {.pointer_ = journal.bytes.data},
                                            .size_ = journal.bytes.len,
                                            .extra_ = {.type_url_ = "x/" JOURNAL_TYPE}};
    assert_int_equal(dispatch_run_request_pack(&request, &bytes, &size, NULL), 0);
    journal_free(&journal);
    sem_init(&answer.there, 0, 0);
    dispatch_endpoint_handle(w->endpoint[0], bytes, size, world_reply, &answer);
    while (sem_wait(&answer.there))
        assert_int_equal(errno, EINTR);
    assert_int_equal(dispatch_response_unpack(answer.body->data, answer.body->len, response, NULL),
                     0);
    blob_unref(answer.body);
    dispatch_bytes_free(bytes);
}

#ifdef __x86_64__
#define HERE "x86_64"
#elif defined(__aarch64__)
#define HERE "aarch64"
#endif

static void test_states(void **state)
{
    struct world w = world_in(KEPT);
    struct dispatch_response response;

    (void)state;
    resumed(&w, "pdp11", slice("\1\2\3", 3), &response);
    assert_int_equal(response.status, DISPATCH_INCOMPATIBLE_STATE);
    assert_string_equal(response.result->error->type, "Incompatible");
    assert_non_null(strstr(response.result->error->message, "pdp11"));
    dispatch_response_free(&response);
#ifdef HERE
    resumed(&w, HERE, slice("\1\2\3", 3), &response); /* the rest is zero */
    assert_int_equal(response.status, DISPATCH_OK);
    assert_int_equal(int_of(response.result->output), 12300000);
    dispatch_response_free(&response);
    resumed(&w, HERE, slice("\1\2\3\4\5\6\7\x8\x9", 9), &response);
    assert_int_equal(response.status, DISPATCH_INCOMPATIBLE_STATE);
    dispatch_response_free(&response);
#endif
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
        {"echoes", echoes},
        {"breaks", breaks},
        {"picky", picky},
        {"ends", ends},
        {"line_fails", line_fails},
        {"line_passes", line_passes},
        {"line_joins", line_joins},
        {"line_errno", line_errno},
        {"waits", waits},
        {"thousand", thousand},
        {"all_fail", all_fail},
        {"alarms", alarms},
        {"keeps", keeps},
        {"line_awaits", line_awaits},
        {"naps", naps},
        {"counts", counts},
        {"misuses", misuses},
        {"digs", digs},
        {"loses", loses},
        {"deadlocks", deadlocks},
    };
    struct dispatch_registry_options options = {.name = "await"};

    (void)state;
    if (!world_is_real())
        options.endpoint = "http://localhost";
    if (dispatch_registry_create(&options, &registry, NULL))
        return -1;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (dispatch_register(registry, functions[i].name, functions[i].function, NULL))
            return -1;
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handlers),  cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_traceback), cmocka_unit_test(test_thousand),
        cmocka_unit_test(test_no_winner), cmocka_unit_test(test_deadlock),
    };
    const struct CMUnitTest played[] = {
        cmocka_unit_test(test_handlers_of_dropped),
        cmocka_unit_test(test_handlers_at_the_end),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_polls),
        cmocka_unit_test(test_losers),
        cmocka_unit_test(test_other_number),
        cmocka_unit_test(test_due_together),
        cmocka_unit_test(test_states),
    };
    int failed;

    unsetenv("DISPATCH_REPLAY");
    failed = cmocka_run_group_tests(tests, setup, teardown);
    return world_is_real() ? failed : failed + cmocka_run_group_tests(played, setup, teardown);
}
