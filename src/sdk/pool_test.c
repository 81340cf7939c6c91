// SPDX-License-Identifier: Apache-2.0
/*
 * The pool: which thread a job runs on. A test's patience is without end where a job is to wait for
 * its thread, and short where it must not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <semaphore.h>
#include <stdlib.h>

#include "sdk/internal.h"

enum { NO_END_MS = 3600000 };

struct task {
    struct sdk_job job;
    struct sdk_pool *pool;
    struct task *next; /* submitted by it, for its own thread */
    sem_t *until;      /* it waits for that */
    sem_t began, done;
    uint32_t ran_on;
};

static void run_task(struct sdk_job *job)
{
    struct task *task = LIST_ENTRY(job, struct task, job);

    task->ran_on = sdk_pool_worker();
    sem_post(&task->began);
    if (task->next && !sdk_pool_submit(task->pool, &task->next->job, task->ran_on, true))
        abort();
    if (task->until)
        sem_wait(task->until);
    sem_post(&task->done);
}

static void prepare(struct task *task, struct sdk_pool *pool)
{
    *task = (struct task){.pool = pool, .job.run = run_task};
    list_init(&task->job.node);
    sem_init(&task->began, 0, 0);
    sem_init(&task->done, 0, 0);
}

static struct sdk_pool *new_pool(uint32_t workers, uint32_t max_queue, uint32_t patience_ms)
{
    struct sdk_pool *pool = NULL;
    struct error err = {0};

    assert_int_equal(sdk_pool_create(workers, max_queue, patience_ms, &pool, &err), 0);
    return pool;
}

/* One that is busy when the job comes: the job waits, though others have nothing to do. */
static void test_waits_for_its_thread(void **state)
{
    struct sdk_pool *pool = new_pool(3, 10, NO_END_MS);
    struct task first, second;

    (void)state;
    for (int i = 0; i < 100; i++) {
        prepare(&first, pool);
        prepare(&second, pool);
        first.next = &second;
        assert_true(sdk_pool_submit(pool, &first.job, 0, true));
        sem_wait(&second.done);
        assert_int_equal(second.ran_on, first.ran_on);
        /* One that has nothing to do. */
        prepare(&second, pool);
        assert_true(sdk_pool_submit(pool, &second.job, 1 + (uint32_t)i % 3, true));
        sem_wait(&second.done);
        assert_int_equal(second.ran_on, 1 + i % 3);
    }
    sdk_pool_destroy(pool);
}

/* A job whose thread is blocked by an earlier one runs on another, be that idle or busy until then.
 */
static void test_does_not_wait_for_ever(void **state)
{
    struct sdk_pool *pool = new_pool(2, 10, 1);
    struct task first, second, third;

    (void)state;
    for (int busy = 0; busy < 2; busy++) {
        prepare(&first, pool);
        prepare(&second, pool);
        prepare(&third, pool);
        first.next = &second;
        first.until = &second.done;
        if (busy)
            assert_true(sdk_pool_submit(pool, &third.job, 0, true));
        assert_true(sdk_pool_submit(pool, &first.job, 0, true));
        sem_wait(&first.done);
        assert_int_not_equal(second.ran_on, first.ran_on);
        if (busy)
            sem_wait(&third.done);
    }
    sdk_pool_destroy(pool);
}

/* What waits for a thread counts, too, and is run before the threads end. */
static void test_bound_and_end(void **state)
{
    struct sdk_pool *pool = new_pool(2, 2, NO_END_MS);
    struct task blocked[2], waiting[3];
    sem_t go;

    (void)state;
    sem_init(&go, 0, 0);
    for (int i = 0; i < 2; i++) {
        prepare(&blocked[i], pool);
        blocked[i].until = &go;
        assert_true(sdk_pool_submit(pool, &blocked[i].job, (uint32_t)i + 1, true));
        sem_wait(&blocked[i].began);
    }
    for (int i = 0; i < 3; i++)
        prepare(&waiting[i], pool);
    assert_true(sdk_pool_submit(pool, &waiting[0].job, 1, true));
    assert_true(sdk_pool_submit(pool, &waiting[1].job, 0, true));
    assert_false(sdk_pool_submit(pool, &waiting[2].job, 0, true));
    assert_false(sdk_pool_submit(pool, &waiting[2].job, 2, true));
    sem_post(&go);
    sem_post(&go);
    sdk_pool_destroy(pool);
    assert_int_equal(waiting[0].ran_on, 1);
    assert_int_not_equal(waiting[1].ran_on, 0);
    sem_destroy(&go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_waits_for_its_thread),
                                       cmocka_unit_test(test_does_not_wait_for_ever),
                                       cmocka_unit_test(test_bound_and_end)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
