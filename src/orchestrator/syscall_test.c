// SPDX-License-Identifier: Apache-2.0
/*
 * System calls that fail: an orchestrator on an SQLite file is opened, given calls, which run and
 * end, closed and opened again; and that once for each N, with the N-th call of open, read, write,
 * sync and the like failing: that one, or it and all that follow. Whatever fails is said, nothing
 * crashes or hangs, and when the disk is well again, what was acknowledged is there, and comes to
 * its end.
 *
 * The C library's functions are defined here, and this program exports them, so that SQLite's calls
 * come here too.
 */
#include "orchestrator/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLS 2

/* --- the system ------------------------------------------------------------------------------- */

static struct {
    bool armed, lasting;
    unsigned long seen, fail_at; /* fail_at 0: none */
    int error;
} faults;

static bool fails(void)
{
    if (!faults.armed || !faults.fail_at)
        return false;
    faults.seen++;
    if (faults.seen != faults.fail_at && !(faults.lasting && faults.seen > faults.fail_at))
        return false;
    errno = faults.error;
    return true;
}

#define EXPORT __attribute__((visibility("default")))

/* The names that SQLite's calls have; ours go by the same. */
EXPORT int system_open(const char *path, int flags, mode_t mode) __asm__("open64");
EXPORT ssize_t system_read(int fd, void *data, size_t size) __asm__("read");
EXPORT ssize_t system_pread(int fd, void *data, size_t size, off_t at) __asm__("pread64");
EXPORT ssize_t system_write(int fd, const void *data, size_t size) __asm__("write");
EXPORT ssize_t system_pwrite(int fd, const void *data, size_t size, off_t at) __asm__("pwrite64");
EXPORT int system_ftruncate(int fd, off_t size) __asm__("ftruncate64");
EXPORT int system_fsync(int fd) __asm__("fsync");
EXPORT int system_fdatasync(int fd) __asm__("fdatasync");
EXPORT int system_unlink(const char *path) __asm__("unlink");
EXPORT int system_fcntl(int fd, int command, void *arg) __asm__("fcntl64");
EXPORT int system_usleep(unsigned us) __asm__("usleep");
EXPORT void *system_mmap(void *addr, size_t len, int prot, int flags, int fd,
                         off_t at) __asm__("mmap64");

int system_open(const char *path, int flags, mode_t mode)
{
    return fails() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t system_read(int fd, void *data, size_t size)
{
    return fails() ? -1 : syscall(SYS_read, fd, data, size);
}

ssize_t system_pread(int fd, void *data, size_t size, off_t at)
{
    return fails() ? -1 : syscall(SYS_pread64, fd, data, size, at);
}

ssize_t system_write(int fd, const void *data, size_t size)
{
    return fails() ? -1 : syscall(SYS_write, fd, data, size);
}

ssize_t system_pwrite(int fd, const void *data, size_t size, off_t at)
{
    return fails() ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}

int system_ftruncate(int fd, off_t size)
{
    return fails() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int system_fsync(int fd)
{
    return fails() ? -1 : (int)syscall(SYS_fsync, fd);
}

int system_fdatasync(int fd)
{
    return fails() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int system_unlink(const char *path)
{
    return fails() ? -1 : (int)syscall(SYS_unlink, path);
}

/* Taking a lock fails; giving one back, which needs nothing, does not. */
int system_fcntl(int fd, int command, void *arg)
{
    bool takes = (command == F_SETLK || command == F_OFD_SETLK) &&
                 ((const struct flock *)arg)->l_type != F_UNLCK;

    return takes && fails() ? -1 : (int)syscall(SYS_fcntl, fd, command, arg);
}

void *system_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at)
{
    if (fails())
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, at);
}

/* SQLite waits for a lock: there is nobody who could give it back meanwhile. */
int system_usleep(unsigned us)
{
    (void)us;
    return 0;
}

/* --- the scenario ----------------------------------------------------------------------------- */

struct file {
    char dir[64], url[128];
};

struct asked {
    struct reply reply;
    bool told; /* that it is done */
};

static void say(const struct error *err)
{
    assert_true(err->code != 0 && err->message[0]);
}

/* False: it says why not. */
static bool start(struct world *w, const struct file *f)
{
    struct orchestrator_options options = {.clock = &w->clock, .invoker = &w->invoker};
    struct error err = {0};

    options.engine.seed = 1;
    w->at_once = "out";
    w->run_count = 0;
    if (store_open(&options.store, f->url, NULL, &err) ||
        orchestrator_create(&w->o, &options, &err)) {
        w->o = NULL;
        say(&err);
        return false;
    }
    return true;
}

/* Until it is open, or a minute has passed. */
static bool open_up(struct world *w)
{
    for (int i = 0; i < 60; i++) {
        world_settle(w);
        if (orchestrator_ready(w->o))
            return true;
        assert_true(orchestrator_trouble(w->o)[0]);
        w->now += NS_PER_S;
    }
    return false;
}

static void stop(struct world *w)
{
    orchestrator_destroy(w->o);
    w->o = NULL;
}

static bool is_done(struct world *w, const char *id)
{
    struct got got = {0};

    orchestrator_get(w->o, slice_str(TEST_ORG), slice_str(id), got_info, &got);
    world_settle(w);
    assert_int_equal(got.count, 1);
    if (got.error.code) {
        assert_int_not_equal(got.error.code, CODE_NOT_FOUND);
        say(&got.error);
        return false;
    }
    if (got.state == DISPATCH__V1__STATE__STATE_DONE)
        assert_string_equal(got.output, "out");
    return got.state == DISPATCH__V1__STATE__STATE_DONE;
}

static void ask(struct world *w, struct asked *a)
{
    world_ask(w, "f", "in", &a->reply);
    world_settle(w);
    assert_int_equal(a->reply.count, 1);
    if (a->reply.error.code)
        say(&a->reply.error);
    else
        a->told = is_done(w, a->reply.ids[0]);
}

/* While things fail. */
static void live(struct world *w, const struct file *f, struct asked *asked)
{
    if (!start(w, f) && !start(w, f))
        return;
    for (int i = 0; i < CALLS && open_up(w); i++)
        ask(w, &asked[i]);
    stop(w);
    if (start(w, f)) {
        open_up(w);
        stop(w);
    }
}

static void check(struct world *w, const struct file *f, const struct asked *asked)
{
    assert_true(start(w, f));
    assert_true(open_up(w));
    for (int i = 0; i < CALLS; i++) {
        const struct asked *a = &asked[i];

        if (a->reply.error.code || !a->reply.count)
            continue;
        if (!a->told) /* a retry may be due */
            world_advance(w, 60 * NS_PER_S);
        assert_true(is_done(w, a->reply.ids[0]));
    }
    stop(w);
}

static void remove_all(const struct file *f)
{
    static const char *const names[] = {"", "-wal", "-shm", "-journal", ".lock"};
    char path[160];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s%s", f->url + strlen("sqlite:"), names[i]);
        unlink(path);
    }
}

/* True: it came to the N-th call. */
static bool with_failure(const struct file *f, unsigned long n, int error, bool lasting)
{
    struct asked asked[CALLS] = {0};
    struct world *w = calloc(1, sizeof *w);
    bool reached;

    assert_non_null(w);
    world_prepare(w);
    faults.armed = true;
    faults.lasting = lasting;
    faults.seen = 0;
    faults.fail_at = n;
    faults.error = error;
    live(w, f, asked);
    faults.armed = false;
    reached = faults.seen >= n;
    check(w, f, asked);
    if (!reached)
        for (int i = 0; i < CALLS; i++)
            assert_true(asked[i].told);
    remove_all(f);
    free(w);
    return reached;
}

/* The N-th with the one error, the next with the other. */
static void each_fails(int error, int other, bool lasting)
{
    struct file f;
    unsigned long n = 1;

    snprintf(f.dir, sizeof f.dir, "%s/dispatch-syscalls-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(f.dir));
    snprintf(f.url, sizeof f.url, "sqlite:%s/calls.db", f.dir);
    while (with_failure(&f, n, n % 2 ? error : other, lasting))
        n++;
    assert_true(n > 50); /* SQLite's calls come here */
    assert_int_equal(rmdir(f.dir), 0);
}

static void one_is_broken(void **state)
{
    (void)state;
    each_fails(EIO, EIO, false);
}

static void one_is_interrupted_or_finds_no_room(void **state)
{
    (void)state;
    each_fails(EINTR, ENOSPC, false);
}

static void all_fail_from_one_on(void **state)
{
    (void)state;
    each_fails(EIO, ENOSPC, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_broken),
        cmocka_unit_test(one_is_interrupted_or_finds_no_room),
        cmocka_unit_test(all_fail_from_one_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
