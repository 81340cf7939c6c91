// SPDX-License-Identifier: Apache-2.0
/* Fibers: switching, unwinding, the pool of stacks, and the report of an overflow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sdk/fiber.h"

struct counter {
    struct sdk_fiber *fiber;
    int steps, cleaned;
};

static void counts(void *arg)
{
    struct counter *counter = arg;

    for (int i = 0; i < 3; i++) {
        counter->steps++;
        sdk_fiber_yield(counter->fiber);
    }
}

static void test_switching(void **state)
{
    struct sdk_stacks *stacks = sdk_stacks_create(0);
    struct counter many[20] = {0};

    (void)state;
    assert_non_null(stacks);
    assert_true(sdk_stacks_size(stacks) >= SDK_STACK_DEFAULT);
    for (int i = 0; i < 20; i++)
        assert_int_equal(sdk_fiber_create(stacks, counts, &many[i], "counts", &many[i].fiber, NULL),
                         0);
    for (int round = 1; round <= 3; round++)
        for (int i = 0; i < 20; i++) {
            assert_true(sdk_fiber_resume(many[i].fiber));
            assert_int_equal(many[i].steps, round);
            assert_null(sdk_fiber_current());
        }
    for (int i = 0; i < 20; i++) {
        assert_false(sdk_fiber_resume(many[i].fiber));
        sdk_fiber_destroy(many[i].fiber);
    }
    /* One that never ran, on a stack of another. */
    assert_int_equal(sdk_fiber_create(stacks, counts, &many[0], "counts", &many[0].fiber, NULL), 0);
    sdk_fiber_destroy(many[0].fiber);
    sdk_stacks_destroy(stacks);
    sdk_stacks_destroy(NULL);
}

static void clean(struct counter **counter)
{
    (*counter)->cleaned++;
}

/* Recurses, and has something to clean up in each frame (compiled with -fexceptions). */
static int deep(struct counter *counter, int depth)
{
    struct counter *mine __attribute__((cleanup(clean), unused)) = counter;
    char pad[200];

    memset(pad, depth, sizeof pad);
    if (depth > 0)
        return deep(counter, depth - 1) + pad[100];
    sdk_fiber_yield(counter->fiber);
    if (counter->steps == 0)
        sdk_fiber_unwind(counter->fiber);
    return 0;
}

static void unwinds(void *arg)
{
    deep(arg, 10);
    fail();
}

static void test_unwinding(void **state)
{
    struct sdk_stacks *stacks = sdk_stacks_create(1);

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct counter counter = {0};

        assert_int_equal(
            sdk_fiber_create(stacks, unwinds, &counter, "unwinds", &counter.fiber, NULL), 0);
        assert_true(sdk_fiber_resume(counter.fiber));
        assert_int_equal(counter.cleaned, 0);
        assert_false(sdk_fiber_resume(counter.fiber));
        assert_int_equal(counter.cleaned, 11);
        sdk_fiber_destroy(counter.fiber);
    }
    sdk_stacks_destroy(stacks);
}

static void measures(void *arg)
{
    struct counter *counter = arg;
    volatile char used[8192];

    counter->steps = (int)sdk_fiber_left(counter->fiber);
    used[0] = used[8191] = 1;
}

static void test_left(void **state)
{
    struct sdk_stacks *stacks = sdk_stacks_create(65536);
    struct counter counter = {0};

    (void)state;
    assert_int_equal(sdk_fiber_create(stacks, measures, &counter, "measures", &counter.fiber, NULL),
                     0);
    assert_false(sdk_fiber_resume(counter.fiber));
    assert_true(counter.steps > 0 && (size_t)counter.steps < sdk_stacks_size(stacks));
    sdk_fiber_destroy(counter.fiber);
    sdk_stacks_destroy(stacks);
}

/* Started on one thread, ended on another, as a dropped stack may be. */
static void *ends(void *arg)
{
    struct counter *counter = arg;

    assert_false(sdk_fiber_resume(counter->fiber));
    sdk_fiber_destroy(counter->fiber);
    return NULL;
}

static void test_threads(void **state)
{
    struct sdk_stacks *stacks = sdk_stacks_create(0);
    struct counter counter = {0};
    pthread_t thread;

    (void)state;
    assert_int_equal(sdk_fiber_create(stacks, unwinds, &counter, "unwinds", &counter.fiber, NULL),
                     0);
    assert_true(sdk_fiber_resume(counter.fiber));
    assert_int_equal(pthread_create(&thread, NULL, ends, &counter), 0);
    pthread_join(thread, NULL);
    assert_int_equal(counter.cleaned, 11);
    sdk_stacks_destroy(stacks);
}

static volatile int limit = 1 << 30;

static int overflow(int depth)
{
    volatile char here[512];

    here[0] = (char)depth;
    return depth < limit ? overflow(depth + 1) + here[0] : 0;
}

static void overflows(void *arg)
{
    (void)arg;
    overflow(0);
}

static void *run_overflow(void *arg)
{
    struct sdk_fiber *fiber = NULL;

    sdk_overflow_thread();
    if (!sdk_fiber_create(arg, overflows, NULL, "nightly", &fiber, NULL))
        sdk_fiber_resume(fiber);
    _exit(3);
}

static void test_overflow(void **state)
{
    char text[512] = "";
    size_t size = 0;
    ssize_t got;
    int fds[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        struct sdk_stacks *stacks = sdk_stacks_create(0);
        pthread_t thread;

        signal(SIGSEGV, SIG_DFL); /* not cmocka's, not a sanitizer's */
        signal(SIGBUS, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        if (sdk_overflow_report(NULL) || sdk_overflow_report(NULL) ||
            pthread_create(&thread, NULL, run_overflow, stacks))
            _exit(4);
        pthread_join(thread, NULL);
        _exit(5);
    }
    close(fds[1]);
    while (size < sizeof text - 1 && (got = read(fds[0], text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)got;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_non_null(strstr(text, "dispatch: stack overflow in function 'nightly': it used all"));
}

static void returns(void *arg)
{
    ++*(int *)arg;
}

/* What a function that never awaits pays: printed, not judged, as machines differ. */
static void test_cost(void **state)
{
    struct sdk_stacks *stacks = sdk_stacks_create(0);
#ifdef __SANITIZE_THREAD__ /* which takes half a millisecond for each */
    enum { ROUNDS = 200 };
#else
    enum { ROUNDS = 20000 };
#endif
    struct timespec begin, end;
    int ran = 0;

    (void)state;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (int i = 0; i < ROUNDS; i++) {
        struct sdk_fiber *fiber = NULL;

        assert_int_equal(sdk_fiber_create(stacks, returns, &ran, "returns", &fiber, NULL), 0);
        assert_false(sdk_fiber_resume(fiber));
        sdk_fiber_destroy(fiber);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    assert_int_equal(ran, ROUNDS);
    print_message(
        "a function on a stack of its own: %.0f ns of processor time\n",
        ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
            ROUNDS);
    sdk_stacks_destroy(stacks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switching), cmocka_unit_test(test_unwinding),
        cmocka_unit_test(test_left),      cmocka_unit_test(test_threads),
        cmocka_unit_test(test_overflow),  cmocka_unit_test(test_cost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
