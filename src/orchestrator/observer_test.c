// SPDX-License-Identifier: Apache-2.0
/* Whoever watches the attempts sees each start and end, once. */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 4096

struct watcher {
    struct orchestrator_observer observer;
    char lines[LINES_MAX];
};

static void note(struct watcher *w, const char *line)
{
    size_t len = strlen(w->lines);

    assert_true(len + strlen(line) + 2 < sizeof w->lines);
    snprintf(w->lines + len, sizeof w->lines - len, "%s\n", line);
}

static void started(void *arg, const struct orchestrator_attempt *a)
{
    char line[256], input[64] = "";

    any_text(a->request->input, input, sizeof input);
    assert_true(slice_eq_str(a->org, TEST_ORG));
    assert_true(*a->request->dispatch_id);
    snprintf(line, sizeof line, "%d start %d %s(%s) %.*s", (int)((a->started - T0) / NS_PER_S),
             (int)a->number, a->request->function, input, SLICE_FMT(a->endpoint));
    note(arg, line);
}

static void ended(void *arg, const struct orchestrator_outcome *o)
{
    char line[256];
    int at = (int)((o->started - T0) / NS_PER_S), until = (int)((o->ended - T0) / NS_PER_S);

    assert_false(o->response && o->failure);
    if (o->response)
        snprintf(line, sizeof line, "%d-%d status %d", at, until, (int)o->response->status);
    else if (o->failure)
        snprintf(line, sizeof line, "%d-%d HTTP %d %s", at, until, o->failure->http_status,
                 o->failure->message);
    else
        snprintf(line, sizeof line, "%d-%d gone", at, until);
    note(arg, line);
}

static void watch(struct world *w, struct watcher *watcher)
{
    watcher->observer =
        (struct orchestrator_observer){.started = started, .ended = ended, .arg = watcher};
    orchestrator_observe(w->o, &watcher->observer);
}

static void expect(struct watcher *w, const char *lines)
{
    assert_string_equal(w->lines, lines);
    w->lines[0] = '\0';
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    world_init(w);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

/* The oldest run, which has gone out. */
static struct orchestrator_run *sent(struct world *w)
{
    struct orchestrator_run *run = world_take_run(w);

    orchestrator_run_sent(run);
    orchestrator_run_sent(run);
    return run;
}

static void seconds_pass(struct world *w, int n)
{
    world_advance(w, n * NS_PER_S);
}

static void attempts_are_seen(void **state)
{
    static const struct run_failure unavailable = {
        .status = STATUS_TEMPORARY_ERROR, .type = "http", .message = "busy", .http_status = 503};
    struct watcher first = {0}, second = {0};
    struct world *w = *state;
    struct orchestrator_run *run;
    char id[ID_TEXT_LEN + 1];

    watch(w, &first);
    world_dispatch(w, "f", "in", id);
    expect(&first, ""); /* it waits at the invoker */
    seconds_pass(w, 1);
    run = sent(w);
    expect(&first, "1 start 1 f(in) " ENDPOINT "\n");
    seconds_pass(w, 2);
    orchestrator_run_failed(run, &unavailable);
    expect(&first, "1-3 HTTP 503 busy\n");
    world_settle(w);
    seconds_pass(w, 60);
    watch(w, &second);
    run = sent(w);
    answer_ok(run, "out");
    expect(&first, "63 start 2 f(in) " ENDPOINT "\n63-63 status 1\n");
    expect(&second, "63 start 2 f(in) " ENDPOINT "\n63-63 status 1\n");
    world_settle(w);
    orchestrator_unobserve(&first.observer);
    world_dispatch(w, "g", NULL, id);
    answer_status(sent(w), STATUS_NOT_FOUND, "T", "m");
    expect(&first, "");
    expect(&second, "63 start 1 g() " ENDPOINT "\n63-63 status 15\n");
    orchestrator_unobserve(&second.observer);
    orchestrator_unobserve(&second.observer);
}

/* A run that is cancelled, one that is given back, and those of an orchestrator that goes. */
static void given_up(void **state)
{
    struct world *w = *state;
    struct watcher watcher = {0};
    struct reply reply = {0};
    char id[ID_TEXT_LEN + 1];

    watch(w, &watcher);
    world_dispatch(w, "f", NULL, id);
    orchestrator_run_sent(w->runs[0]);
    orchestrator_cancel(w->o, slice_str(TEST_ORG), slice_str(id), reply_cancelled, &reply);
    world_settle(w);
    expect(&watcher, "0 start 1 f() " ENDPOINT "\n0-0 gone\n");
    world_dispatch(w, "g", NULL, id);
    orchestrator_run_gone(world_take_run(w)); /* nobody saw it */
    world_settle(w);
    expect(&watcher, "");
    orchestrator_run_sent(w->runs[0]);
    world_restart(w);
    expect(&watcher, "0 start 1 g() " ENDPOINT "\n0-0 gone\n");
    orchestrator_run_sent(w->runs[0]); /* the new one has no observers */
    expect(&watcher, "");
}

/* An attempt that nobody watched when it started has no end to be told of. */
static void seen_from_the_start_only(void **state)
{
    struct world *w = *state;
    struct watcher watcher = {0};
    char id[ID_TEXT_LEN + 1];

    world_dispatch(w, "f", NULL, id);
    orchestrator_run_sent(w->runs[0]);
    watch(w, &watcher);
    answer_ok(world_take_run(w), "x");
    expect(&watcher, "");
    orchestrator_unobserve(&watcher.observer);
    orchestrator_unobserve(&watcher.observer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attempts_are_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(seen_from_the_start_only, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
