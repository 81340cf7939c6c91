// SPDX-License-Identifier: Apache-2.0
/*
 * Jobs through the wrapper, without and with threads. With threads the test waits on a semaphore
 * that `wake` posts: no sleeping, no spinning.
 */
#include <assert.h>
#include <semaphore.h>

#include "store/async.h"
#include "store/test.h"

enum { JOBS = 200 };

struct fixture {
    struct test_dir dir;
    struct store_async *async;
    uint64_t epoch;
    sem_t woken;
    unsigned wakes; /* without threads */
};

/* A commit of rows (key, 0) and (key, 1), or a count of what is there. */
struct job {
    struct store_job job;
    struct fixture *fixture;
    uint64_t key;
    size_t rows;
    unsigned *done;   /* counts the jobs given back */
    unsigned order;   /* the count when this one was */
    struct job *next; /* submitted by done, as a write */
    sem_t *started, *release;
};

static int commit_work(struct store_job *store_job, struct store *store, struct error *err)
{
    struct job *job = (struct job *)store_job;
    struct batch batch;
    int code;

    batch_init(&batch);
    assert(batch_put(&batch, TABLE_CALL, job->key, 0, slice_str("a")));
    assert(batch_put(&batch, TABLE_CALL, job->key, 1, slice_str("b")));
    code = store_commit(store, 0, job->fixture->epoch, &batch, err);
    batch_free(&batch);
    return code;
}

static int fence_work(struct store_job *store_job, struct store *store, struct error *err)
{
    return store_fence(store, 0, 0, &((struct job *)store_job)->fixture->epoch, err);
}

static int count_work(struct store_job *store_job, struct store *store, struct error *err)
{
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX};

    return store_walk(store, 0, &range, test_count_row, &((struct job *)store_job)->rows, err);
}

static int failing_work(struct store_job *store_job, struct store *store, struct error *err)
{
    (void)store_job;
    (void)store;
    return error_set(err, CODE_UNAVAILABLE, "as asked");
}

/* Runs until the test lets it go. */
static int blocking_work(struct store_job *store_job, struct store *store, struct error *err)
{
    struct job *job = (struct job *)store_job;

    (void)store;
    (void)err;
    sem_post(job->started);
    while (sem_wait(job->release))
        ;
    return CODE_OK;
}

static void done(struct store_job *store_job)
{
    struct job *job = (struct job *)store_job;

    job->order = ++*job->done;
    if (job->next)
        store_async_write(job->fixture->async, &job->next->job);
}

static void wake(void *arg)
{
    struct fixture *f = arg;

    sem_post(&f->woken);
}

static void wake_inline(void *arg)
{
    ((struct fixture *)arg)->wakes++;
}

static void open_async(struct fixture *f, bool threads, bool sqlite)
{
    struct store *store = NULL;
    char url[300] = "memory:";

    *f = (struct fixture){0};
    test_dir_make(&f->dir);
    if (sqlite)
        snprintf(url, sizeof url, "sqlite:%s", test_path(&f->dir, "store.db"));
    assert_int_equal(sem_init(&f->woken, 0, 0), 0);
    assert_ok(store_open(&store, url, NULL, &test_error));
    assert_ok(store_fence(store, 0, 0, &f->epoch, &test_error));
    assert_ok(store_async_create(&f->async, store, threads, threads ? wake : wake_inline, f,
                                 &test_error));
}

static void close_async(struct fixture *f)
{
    store_async_destroy(f->async);
    sem_destroy(&f->woken);
    test_dir_remove(&f->dir);
}

static struct job job_make(struct fixture *f,
                           int (*work)(struct store_job *, struct store *, struct error *),
                           unsigned *count)
{
    return (struct job){.job = {.work = work, .done = done}, .fixture = f, .done = count};
}

static void wait_for(struct fixture *f, const unsigned *count, unsigned target)
{
    while (*count < target) {
        while (sem_wait(&f->woken))
            ;
        store_async_poll(f->async);
    }
    assert_int_equal(*count, target);
}

static void test_inline_runs_in_order_at_the_poll(void **state)
{
    struct fixture f;
    unsigned count = 0;
    struct job write, before, after, chained;

    (void)state;
    open_async(&f, false, false);
    before = job_make(&f, count_work, &count);
    write = job_make(&f, commit_work, &count);
    after = job_make(&f, count_work, &count);
    chained = job_make(&f, failing_work, &count);
    write.next = &chained;
    store_async_read(f.async, &before.job);
    store_async_write(f.async, &write.job);
    store_async_read(f.async, &after.job);
    assert_int_equal(f.wakes, 3);
    assert_int_equal(count, 0);
    assert_int_equal(store_async_poll(f.async), 3);
    assert_int_equal(before.rows, 0);
    assert_int_equal(after.rows, 2);
    assert_int_equal(before.order, 1);
    assert_int_equal(write.order, 2);
    assert_int_equal(after.order, 3);
    assert_int_equal(write.job.code, CODE_OK);
    assert_int_equal(f.wakes, 4);
    assert_int_equal(store_async_poll(f.async), 1);
    assert_int_equal(chained.job.code, CODE_UNAVAILABLE);
    assert_string_equal(chained.job.error.message, "as asked");
    assert_int_equal(store_async_poll(f.async), 0);
    close_async(&f);
}

static void test_write_now_only_when_idle(void **state)
{
    struct fixture f;
    unsigned count = 0;
    struct job queued, now;

    (void)state;
    open_async(&f, false, false);
    queued = job_make(&f, commit_work, &count);
    now = job_make(&f, commit_work, &count);
    now.key = 9;
    store_async_write(f.async, &queued.job);
    assert_false(store_async_write_now(f.async, &now.job));
    assert_int_equal(store_async_poll(f.async), 1);
    assert_true(store_async_write_now(f.async, &now.job));
    assert_int_equal(count, 2);
    assert_int_equal(now.job.code, CODE_OK);
    close_async(&f);
}

/* A store whose upkeep is due, and lasts until the test lets it go. */
struct tended {
    struct store store;
    struct store *inner;
    bool due;
    sem_t started, release;
};

static int tended_open_reader(struct store *store, struct store **reader, struct error *err)
{
    return store_open_reader(((struct tended *)store)->inner, reader, err);
}

static void tended_close(struct store *store)
{
    store_close(((struct tended *)store)->inner);
}

static int tended_commit(struct store *store, uint32_t partition, uint64_t epoch,
                         const struct batch *batch, struct error *err)
{
    return store_commit(((struct tended *)store)->inner, partition, epoch, batch, err);
}

static bool tended_upkeep_due(struct store *store)
{
    return ((struct tended *)store)->due;
}

static void tended_upkeep(struct store *store)
{
    struct tended *t = (struct tended *)store;

    sem_post(&t->started);
    while (sem_wait(&t->release))
        ;
    t->due = false;
}

static void test_nobody_waits_for_upkeep(void **state)
{
    static const struct store_ops ops = {.open_reader = tended_open_reader,
                                         .close = tended_close,
                                         .commit = tended_commit,
                                         .upkeep_due = tended_upkeep_due,
                                         .upkeep = tended_upkeep};
    struct tended t = {.store.ops = &ops, .due = true};
    struct fixture f = {0};
    unsigned count = 0;
    struct job first, now, next;

    (void)state;
    sem_init(&f.woken, 0, 0);
    sem_init(&t.started, 0, 0);
    sem_init(&t.release, 0, 0);
    assert_ok(store_open(&t.inner, "memory:", NULL, &test_error));
    assert_ok(store_fence(t.inner, 0, 0, &f.epoch, &test_error));
    assert_ok(store_async_create(&f.async, &t.store, true, wake, &f, &test_error));
    first = job_make(&f, commit_work, &count);
    now = job_make(&f, commit_work, &count);
    next = job_make(&f, commit_work, &count);
    assert_false(store_async_write_now(f.async, &now.job)); /* it is due */
    store_async_write(f.async, &first.job);
    wait_for(&f, &count, 1);
    while (sem_wait(&t.started))
        ;
    assert_false(store_async_write_now(f.async, &now.job)); /* it is under way */
    sem_post(&t.release);
    store_async_write(f.async, &next.job);
    wait_for(&f, &count, 2);
    assert_true(store_async_write_now(f.async, &now.job));
    assert_int_equal(now.job.code, CODE_OK);
    store_async_destroy(f.async);
    sem_destroy(&t.release);
    sem_destroy(&t.started);
    sem_destroy(&f.woken);
}

static void test_destroy_cancels_what_is_queued(void **state)
{
    struct fixture f;
    unsigned count = 0;
    struct job write, chained, read;

    (void)state;
    open_async(&f, false, false);
    write = job_make(&f, commit_work, &count);
    chained = job_make(&f, commit_work, &count);
    read = job_make(&f, count_work, &count);
    write.next = &chained;
    store_async_write(f.async, &write.job);
    store_async_read(f.async, &read.job);
    close_async(&f);
    assert_int_equal(count, 3);
    assert_int_equal(write.job.code, CODE_CANCELED);
    assert_int_equal(chained.job.code, CODE_CANCELED);
    assert_int_equal(read.job.code, CODE_CANCELED);
    assert_int_equal(read.rows, 0);
}

static void write_and_read(bool sqlite)
{
    struct fixture f;
    unsigned written = 0, read = 0, last = 0;
    static struct job writes[JOBS], reads[JOBS];
    struct job final, fence;

    open_async(&f, true, sqlite);
    for (unsigned i = 0; i < JOBS; i++) {
        writes[i] = job_make(&f, commit_work, &written);
        writes[i].key = i;
        reads[i] = job_make(&f, count_work, &read);
        store_async_write(f.async, &writes[i].job);
        store_async_read(f.async, &reads[i].job);
    }
    wait_for(&f, &written, JOBS);
    wait_for(&f, &read, JOBS);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_int_equal(writes[i].job.code, CODE_OK);
        assert_int_equal(writes[i].order, i + 1);
        assert_int_equal(reads[i].order, i + 1);
        assert_int_equal(reads[i].rows % 2, 0); /* batches are whole */
        assert_true(reads[i].rows >= last);
        last = (unsigned)reads[i].rows;
    }
    fence = job_make(&f, fence_work, &written);
    assert_true(store_async_write_now(f.async, &fence.job));
    assert_int_equal(f.epoch, 2);
    final = job_make(&f, count_work, &read);
    store_async_read(f.async, &final.job);
    wait_for(&f, &read, JOBS + 1);
    assert_int_equal(final.rows, 2 * JOBS);
    close_async(&f);
}

static void test_threads_write_in_order_beside_readers(void **state)
{
    (void)state;
    write_and_read(false);
}

static void test_threads_on_sqlite(void **state)
{
    (void)state;
    write_and_read(true);
}

static void test_threads_destroy_waits_and_cancels(void **state)
{
    struct fixture f;
    unsigned count = 0;
    struct job running, queued, now;
    sem_t started, release;

    (void)state;
    assert_int_equal(sem_init(&started, 0, 0), 0);
    assert_int_equal(sem_init(&release, 0, 0), 0);
    open_async(&f, true, false);
    running = job_make(&f, blocking_work, &count);
    running.started = &started;
    running.release = &release;
    queued = job_make(&f, blocking_work, &count);
    queued.started = &started;
    queued.release = &release;
    now = job_make(&f, commit_work, &count);
    store_async_write(f.async, &running.job);
    store_async_write(f.async, &queued.job);
    while (sem_wait(&started))
        ;
    assert_false(store_async_write_now(f.async, &now.job));
    assert_int_equal(store_async_poll(f.async), 0);
    sem_post(&release);
    sem_post(&release); /* for the second one, should it get to run */
    close_async(&f);
    assert_int_equal(count, 2);
    assert_int_equal(running.job.code, CODE_OK);
    assert_int_equal(running.order, 1);
    assert_true(queued.job.code == CODE_OK || queued.job.code == CODE_CANCELED);
    sem_destroy(&started);
    sem_destroy(&release);
}

int main(void)
{
    const struct CMUnitTest async[] = {
        cmocka_unit_test(test_inline_runs_in_order_at_the_poll),
        cmocka_unit_test(test_write_now_only_when_idle),
        cmocka_unit_test(test_nobody_waits_for_upkeep),
        cmocka_unit_test(test_destroy_cancels_what_is_queued),
        cmocka_unit_test(test_threads_write_in_order_beside_readers),
        cmocka_unit_test(test_threads_on_sqlite),
        cmocka_unit_test(test_threads_destroy_waits_and_cancels),
    };

    return cmocka_run_group_tests(async, NULL, NULL);
}
