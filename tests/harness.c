// SPDX-License-Identifier: Apache-2.0
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/blob.h"
#include "base/id.h"
#include "base/rand.h"
#include "store/store.h"

#define START_SECONDS 60

void harness_init(struct harness *h, const char *binary)
{
    const char *tmp = getenv("TMPDIR");

    *h = (struct harness){.binary = binary};
    snprintf(h->dir, sizeof h->dir, "%s/dispatch-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(h->dir));
    snprintf(h->store_dir, sizeof h->store_dir, "%s", h->dir);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Whatever was done to the server, its file is in order. */
static void check_store(struct harness *h)
{
    char store[PATH_MAX + 64];
    pid_t pid;
    int status;

    snprintf(store, sizeof store, "sqlite:%s/calls.db", h->store_dir);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execl(h->binary, h->binary, "store", "check", "--store", store, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

void harness_finish(struct harness *h)
{
    if (h->pid)
        harness_kill(h);
    check_store(h);
    nftw(h->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *harness_path(struct harness *h, const char *name)
{
    static char paths[4][PATH_MAX + 64];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", h->dir, name);
    return path;
}

int64_t harness_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void harness_pause(int ms)
{
    poll(NULL, 0, ms);
}

uint64_t harness_seed(void)
{
    const char *given = getenv("SEED");
    uint64_t seed;

    if (given)
        seed = strtoull(given, NULL, 10);
    else
        rand_system(&seed, sizeof seed);
    print_message("SEED=%" PRIu64 "\n", seed);
    return seed;
}

/* --- the server ------------------------------------------------------------------------------ */

static void exec_server(struct harness *h, int ready)
{
    char listen[32], store[PATH_MAX + 64], fd[16];
    int log = open(harness_path(h, "server.log"), O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log, STDERR_FILENO);
    if (h->preload)
        setenv("LD_PRELOAD", h->preload, 1);
    snprintf(listen, sizeof listen, "127.0.0.1:%u", h->port);
    snprintf(store, sizeof store, "sqlite:%s/calls.db", h->store_dir);
    snprintf(fd, sizeof fd, "%d", ready);
    execl(h->binary, h->binary, "server", "--listen", listen, "--store", store, "--api-key",
          HARNESS_KEY, "--ready-fd", fd, (char *)NULL);
    _exit(127);
}

static void show_log(struct harness *h)
{
    char line[512];
    FILE *f = fopen(harness_path(h, "server.log"), "r");

    while (f && fgets(line, sizeof line, f))
        print_error("%s", line);
    if (f)
        fclose(f);
}

void harness_start(struct harness *h)
{
    int ready[2];
    char text[256];
    size_t len = 0;
    ssize_t n = 1;

    assert_int_equal(h->pid, 0);
    assert_int_equal(pipe(ready), 0);
    h->starts++;
    h->pid = fork();
    assert_true(h->pid >= 0);
    if (h->pid == 0) {
        close(ready[0]);
        exec_server(h, ready[1]);
    }
    close(ready[1]);
    while (n > 0 && len < sizeof text - 1) {
        struct pollfd p = {.fd = ready[0], .events = POLLIN};

        if (poll(&p, 1, START_SECONDS * 1000) <= 0)
            break;
        n = read(ready[0], text + len, sizeof text - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    close(ready[0]);
    text[len] = 0;
    const char *colon = strrchr(text, ':');

    if (!colon) {
        show_log(h);
        fail_msg("the server did not become ready");
    }
    h->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    snprintf(h->url, sizeof h->url, "http://127.0.0.1:%u", h->port);
}

void harness_kill(struct harness *h)
{
    assert_true(h->pid > 0);
    kill(h->pid, SIGKILL);
    while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    h->pid = 0;
}

void harness_stop(struct harness *h)
{
    int status = 0;

    assert_true(h->pid > 0);
    kill(h->pid, SIGTERM);
    while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
        ;
    h->pid = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        show_log(h);
        fail_msg("the server ended with status %#x", status);
    }
}

/* --- looking into the store ------------------------------------------------------------------ */

static int count_live(void *arg, const struct store_row *stored)
{
    struct harness_census *census = arg;
    struct slice in = stored->value;
    struct engine_row row;
    struct error err;

    if (row_decode(&in, &row, &err))
        fail_msg("call %" PRIu64 ": %s", stored->key, err.message);
    census->live++;
    census->suspended += row.state == CALL_SUSPENDED;
    return 0;
}

static int count_done(void *arg, const struct store_row *row)
{
    (void)row;
    ((struct harness_census *)arg)->done++;
    return 0;
}

static struct store *open_store(struct harness *h)
{
    struct store_options options = {.read_only = true};
    char url[PATH_MAX + 64];
    struct store *store;
    struct error err;

    snprintf(url, sizeof url, "sqlite:%s/calls.db", h->store_dir);
    if (store_open(&store, url, &options, &err))
        fail_msg("%s", err.message);
    return store;
}

struct harness_census harness_census(struct harness *h)
{
    struct harness_census census = {0};
    struct store_range range = {.to_key = KEY_MAX, .to_sub = SUB_MAX};
    struct store *store = open_store(h);
    struct error err;

    range.table = TABLE_CALL;
    if (store_walk(store, 0, &range, count_live, &census, &err))
        fail_msg("%s", err.message);
    range.table = TABLE_DONE;
    if (store_walk(store, 0, &range, count_done, &census, &err))
        fail_msg("%s", err.message);
    store_close(store);
    return census;
}

bool harness_answered(struct harness *h, const char *dispatch_id, uint32_t generation,
                      uint32_t resume)
{
    struct store *store = open_store(h);
    struct blob *value = NULL;
    struct engine_row row;
    struct id_parts id;
    struct slice in;
    struct error err;
    bool answered = true; /* a call that is not there is done, and its result was taken */
    int rc;

    assert_true(id_parse(slice_str(dispatch_id), &id));
    rc = store_get(store, id.partition, TABLE_CALL, id.number, 0, &value, &err);
    if (rc == 0) {
        in = blob_slice(value);
        if (row_decode(&in, &row, &err))
            fail_msg("call %s: %s", dispatch_id, err.message);
        answered = row.state == CALL_DONE || row.generation > generation || row.resumes > resume;
    } else if (rc != CODE_NOT_FOUND) {
        fail_msg("%s", err.message);
    }
    blob_unref(value);
    store_close(store);
    return answered;
}

void harness_until(struct harness *h, bool (*check)(const struct harness_census *census, void *arg),
                   void *arg, int seconds)
{
    int64_t end = harness_now_ms() + (int64_t)seconds * 1000;

    for (;;) {
        struct harness_census census = harness_census(h);

        if (check(&census, arg))
            return;
        if (harness_now_ms() > end) {
            show_log(h);
            fail_msg("after %d s: %" PRIu64 " live, %" PRIu64 " suspended, %" PRIu64 " done",
                     seconds, census.live, census.suspended, census.done);
        }
        harness_pause(50);
    }
}
