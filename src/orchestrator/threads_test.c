// SPDX-License-Identifier: Apache-2.0
/*
 * The orchestrator with the store's threads and the real clock, as a shell drives it: a loop that
 * steps, then waits for a wake or the next due time. Real SQLite too; one commit on the way fails.
 */
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "orchestrator/testing.h"

enum { ROOTS = 50, PENDING_MAX = 1024 };

struct root {
    struct shell *shell;
    char id[ID_TEXT_LEN + 1];
    bool waiting, done;
};

struct shell {
    struct invoker invoker; /* first */
    struct orchestrator *o;
    int wake_fd;
    struct store_faults faults;
    struct orchestrator_run *runs[PENDING_MAX];
    size_t run_count;
    struct root roots[ROOTS];
    unsigned dispatching, done, refused;
};

static void shell_wake(void *arg)
{
    struct shell *s = arg;
    uint64_t one = 1;

    assert_int_equal(write(s->wake_fd, &one, sizeof one), sizeof one);
}

static void shell_run(struct invoker *invoker, struct orchestrator_run *run)
{
    struct shell *s = (struct shell *)(void *)invoker;

    assert_true(s->run_count < PENDING_MAX);
    s->runs[s->run_count++] = run;
}

static void shell_cancel(struct invoker *invoker, struct orchestrator_run *run)
{
    struct shell *s = (struct shell *)(void *)invoker;

    for (size_t i = 0; i < s->run_count; i++) {
        if (s->runs[i] == run) {
            s->runs[i] = s->runs[--s->run_count];
            orchestrator_run_gone(run);
            return;
        }
    }
    fail_msg("a run that is not there was cancelled");
}

static void answer(struct orchestrator_run *run)
{
    static const struct child children[] = {{"left", 1}, {"right", 2}};
    const wire_run_request *q = run->request;

    if (strcmp(q->function, "parent") != 0)
        answer_ok(run, q->function);
    else if (q->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT)
        answer_with_poll(run, "state", children, 2, 2, -1);
    else
        answer_ok(run, q->poll_result->n_results == 2 ? "joined" : "short of results");
}

static void on_got(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct root *root = arg;
    char text[64];

    root->waiting = false;
    if (error) {
        assert_int_equal(error->code, CODE_UNAVAILABLE);
        return;
    }
    assert_int_equal(info->state, DISPATCH__V1__STATE__STATE_DONE);
    any_text(info->result->output, text, sizeof text);
    assert_string_equal(text, "joined");
    root->done = true;
    root->shell->done++;
}

static void on_dispatched(void *arg, const struct error *error, const wire_dispatch_response *r)
{
    struct root *root = arg;

    root->shell->dispatching--;
    if (error) {
        assert_int_equal(error->code, CODE_UNAVAILABLE);
        root->shell->refused++;
        return;
    }
    snprintf(root->id, sizeof root->id, "%s", r->dispatch_ids[0]);
}

static void ask(struct shell *s, struct root *root)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    char function[] = "parent", endpoint[] = ENDPOINT;

    call.function = function;
    call.endpoint = endpoint;
    request.calls = calls;
    request.n_calls = 1;
    s->dispatching++;
    orchestrator_dispatch(s->o, slice_str(TEST_ORG), &request, on_dispatched, root);
}

/* What the clients want next; a few at a time, so that there are many commits. */
static void clients(struct shell *s)
{
    for (size_t i = 0; i < ROOTS && orchestrator_ready(s->o); i++) {
        struct root *root = &s->roots[i];

        root->shell = s;
        if (!root->id[0] && s->dispatching < 1) {
            ask(s, root);
        } else if (root->id[0] && !root->waiting && !root->done) {
            root->waiting = true;
            orchestrator_wait(s->o, slice_str(TEST_ORG), slice_str(root->id), -1, on_got, root);
        }
    }
}

static bool clients_want(const struct shell *s)
{
    if (s->dispatching || !orchestrator_ready(s->o))
        return false;
    for (size_t i = 0; i < ROOTS; i++)
        if (!s->roots[i].done && !s->roots[i].waiting)
            return true;
    return false;
}

static void turn(struct shell *s)
{
    struct pollfd p = {.fd = s->wake_fd, .events = POLLIN};
    int64_t due;
    uint64_t count;

    clients(s);
    if (s->run_count)
        answer(s->runs[--s->run_count]);
    due = orchestrator_step(s->o);
    if (s->run_count || s->done == ROOTS || clients_want(s))
        due = 0;
    if (due != TIME_NEVER) {
        int64_t left = due - clock_now(clock_system());

        poll(&p, 1, left > 0 ? (int)(left / NS_PER_MS) + 1 : 0);
    } else {
        poll(&p, 1, -1);
    }
    if (p.revents & POLLIN)
        assert_int_equal(read(s->wake_fd, &count, sizeof count), sizeof count);
}

static void run_all(const char *url, uint64_t fail_commit_in)
{
    struct shell *s = calloc(1, sizeof *s);
    struct orchestrator_options options = {.threads = true, .wake = shell_wake};
    struct store *inner = NULL;
    struct error err = {0};

    assert_non_null(s);
    s->invoker = (struct invoker){.run = shell_run, .cancel = shell_cancel};
    s->wake_fd = eventfd(0, EFD_CLOEXEC);
    s->faults.fail_commit_in = fail_commit_in;
    options.wake_arg = s;
    options.invoker = &s->invoker;
    options.clock = clock_system();
    options.cache_max = 2000; /* so that there are reads */
    assert_int_equal(store_open(&inner, url, &(struct store_options){0}, &err), 0);
    assert_int_equal(store_fault_create(&options.store, inner, &s->faults, &err), 0);
    assert_int_equal(orchestrator_create(&s->o, &options, &err), 0);
    while (s->done < ROOTS)
        turn(s);
    if (fail_commit_in)
        assert_true(s->refused > 0);
    /* Goes in the middle of things. */
    s->roots[0] = (struct root){.shell = s};
    ask(s, &s->roots[0]);
    orchestrator_step(s->o);
    orchestrator_destroy(s->o);
    assert_int_equal(s->run_count, 0);
    close(s->wake_fd);
    free(s);
}

static void on_memory(void **state)
{
    (void)state;
    run_all("memory:", 0);
}

static void remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

static void on_sqlite(void **state)
{
    char dir[] = "/tmp/dispatch-orchestrator-XXXXXX", url[128];

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(url, sizeof url, "sqlite:%s/calls.db", dir);
    run_all(url, 0);
    remove_dir(dir);
}

/* The commit of a dispatch: the first, as nothing else is there yet. */
static void with_a_commit_that_fails(void **state)
{
    (void)state;
    run_all("memory:", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_memory),
        cmocka_unit_test(on_sqlite),
        cmocka_unit_test(with_a_commit_that_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
