// SPDX-License-Identifier: Apache-2.0
/*
 * What must hold when commits fail, get lost or come late, and across restarts: an acknowledged
 * call completes, one that was not acknowledged is there as a whole or not at all, and nobody waits
 * in vain.
 */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    world_init(w);
    return 0;
}

/* Room for all of a test's runs at the same time. */
static int setup_wide(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    *state = w;
    w->options.engine.window_start = 1024;
    world_init(w);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

/* Until it is open again. */
static void reopen(struct world *w)
{
    for (int i = 0; i < 100 && !orchestrator_ready(w->o); i++)
        world_advance(w, 100 * NS_PER_MS);
    assert_true(orchestrator_ready(w->o));
}

static struct orchestrator_wait *call_f(struct world *w, struct got *got)
{
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;

    call.endpoint = (char *)ENDPOINT;
    call.function = (char *)"f";
    return orchestrator_call(w->o, slice_str(TEST_ORG), &call, -1, got_info, got);
}

static void a_caller_learns_whether_its_call_was_accepted(void **state)
{
    struct world *w = *state;
    struct got refused = {0}, accepted = {0};
    struct reply reply = {0};
    char id[ID_TEXT_LEN + 1];

    w->faults.fail_commit_in = 1;
    assert_non_null(call_f(w, &refused));
    world_settle(w);
    assert_int_equal(refused.count, 1);
    assert_int_equal(refused.error.code, CODE_UNAVAILABLE);
    assert_null(strstr(refused.error.message, "was accepted"));
    reopen(w);
    assert_int_equal(w->run_count, 0);
    snprintf(id, sizeof id, "%s", orchestrator_wait_id(call_f(w, &accepted)));
    world_settle(w);
    w->faults.fail_commit_in = 1;
    world_ask(w, "another", NULL, &reply);
    world_settle(w);
    assert_int_equal(accepted.count, 1);
    assert_int_equal(accepted.error.code, CODE_UNAVAILABLE);
    assert_non_null(strstr(accepted.error.message, "was accepted"));
    assert_non_null(strstr(accepted.error.message, id));
    reopen(w);
    answer_ok(world_take_run(w), "done");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "done");
}

static void a_commit_that_fails_is_not_acknowledged(void **state)
{
    struct world *w = *state;
    struct reply reply = {0};
    char id[ID_TEXT_LEN + 1];

    world_dispatch(w, "kept", "a", id);
    assert_int_equal(w->run_count, 1);
    w->faults.fail_commit_in = 1;
    world_ask(w, "refused", "b", &reply);
    world_settle(w);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    assert_non_null(strstr(reply.error.message, "the store cannot be written"));
    assert_non_null(strstr(reply.error.message, "retrying"));
    assert_false(orchestrator_ready(w->o));
    assert_int_equal(w->run_count, 0); /* given up */
    assert_int_equal(w->cancelled, 1);
    reopen(w);
    assert_true(w->ballast > 0);
    assert_int_equal(w->run_count, 1); /* the one that was acknowledged, again */
    answer_ok(world_take(w, "kept"), "done");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "done");
}

static void a_commit_of_unknown_outcome_may_have_landed(void **state)
{
    struct world *w = *state;
    struct reply reply = {0};

    w->faults.lose_commit_in = 1;
    world_ask(w, "lost", "b", &reply);
    world_settle(w);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    assert_int_equal(w->run_count, 0);
    reopen(w);
    assert_int_equal(w->run_count, 1);
    answer_ok(world_take(w, "lost"), "done");
    world_settle(w);
    assert_true(orchestrator_idle(w->o));
}

static void a_commit_that_comes_late_does_not_land(void **state)
{
    struct world *w = *state;
    struct reply reply = {0};

    w->faults.late_commit_in = 1;
    world_ask(w, "late", "b", &reply);
    world_settle(w);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    reopen(w); /* the decorator checks that the fence keeps it out */
    assert_int_equal(w->run_count, 0);
    assert_true(orchestrator_idle(w->o));
}

static void a_full_disk_closes_until_there_is_space(void **state)
{
    struct world *w = *state;
    struct reply before = {0}, reply = {0}, cancel = {0};
    struct got wait = {0}, got = {0};
    struct slice org = slice_str(TEST_ORG);
    struct orchestrator_stats stats;
    char id[ID_TEXT_LEN + 1];
    int64_t pause = 100 * NS_PER_MS;

    world_dispatch(w, "kept", "a", id);
    orchestrator_wait(w->o, org, slice_str(id), -1, got_info, &wait);
    w->faults.fail_all = true;
    world_ask(w, "f", "b", &before);
    world_settle(w);
    assert_int_equal(before.error.code, CODE_UNAVAILABLE);
    assert_int_equal(wait.count, 1);
    assert_int_equal(wait.error.code, CODE_UNAVAILABLE);
    /* Refused at once, saying why. */
    world_ask(w, "f", "b", &reply);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    assert_non_null(strstr(reply.error.message, "disk full"));
    assert_string_equal(reply.error.message, orchestrator_trouble(w->o));
    orchestrator_get(w->o, org, slice_str(id), got_info, &got);
    assert_int_equal(got.error.code, CODE_UNAVAILABLE);
    orchestrator_cancel(w->o, org, slice_str(id), reply_cancelled, &cancel);
    assert_int_equal(cancel.error.code, CODE_UNAVAILABLE);
    got = (struct got){0};
    assert_null(orchestrator_wait(w->o, org, slice_str(id), -1, got_info, &got));
    assert_int_equal(got.error.code, CODE_UNAVAILABLE);
    /* Tried again at 100 ms, 200 ms, ... 5 s. */
    for (int i = 0; i < 9; i++) {
        assert_true(orchestrator_step(w->o) == w->now + pause);
        world_advance(w, pause - 1);
        assert_true(orchestrator_step(w->o) == w->now + 1);
        world_advance(w, 1);
        assert_false(orchestrator_ready(w->o));
        assert_non_null(strstr(orchestrator_trouble(w->o), "disk full"));
        pause = 2 * pause > 5 * NS_PER_S ? 5 * NS_PER_S : 2 * pause;
    }
    assert_true(pause == 5 * NS_PER_S);
    w->faults.fail_all = false;
    world_advance(w, pause);
    assert_true(orchestrator_ready(w->o));
    answer_ok(world_take(w, "kept"), "done");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "done");
    orchestrator_stats(w->o, &stats);
    assert_int_equal(stats.commit_failures, 1);
    assert_int_equal(stats.recovered, 1);
}

static void a_result_that_was_not_committed_is_made_again(void **state)
{
    struct world *w = *state;
    struct got wait = {0};
    char id[ID_TEXT_LEN + 1];

    world_dispatch(w, "f", "a", id);
    orchestrator_wait(w->o, slice_str(TEST_ORG), slice_str(id), -1, got_info, &wait);
    w->faults.fail_commit_in = 1;
    answer_ok(world_take_run(w), "first");
    world_settle(w);
    assert_int_equal(wait.error.code, CODE_UNAVAILABLE); /* and not "first" */
    reopen(w);
    answer_ok(world_take_run(w), "second");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "second");
}

static void answers_of_a_former_incarnation_do_not_count(void **state)
{
    struct world *w = *state;
    struct orchestrator_run *old;
    struct reply reply = {0};
    char id[ID_TEXT_LEN + 1];

    w->slow_cancel = true;
    world_dispatch(w, "f", "a", id);
    old = world_take_run(w);
    w->faults.fail_commit_in = 1;
    world_ask(w, "g", NULL, &reply);
    world_settle(w);
    assert_int_equal(w->cancelled, 1);
    reopen(w);
    assert_int_equal(w->run_count, 1);
    answer_ok(old, "old");
    world_settle(w);
    answer_ok(world_take_run(w), "new");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "new");
}

static void runs_may_outlive_the_orchestrator(void **state)
{
    struct world *w = *state;
    struct orchestrator_run *old;
    struct got wait = {0}, get = {0};
    struct reply reply = {0};
    char id[ID_TEXT_LEN + 1];

    w->slow_cancel = true;
    world_dispatch(w, "f", "a", id);
    old = world_take_run(w);
    orchestrator_wait(w->o, slice_str(TEST_ORG), slice_str(id), -1, got_info, &wait);
    orchestrator_get(w->o, slice_str(TEST_ORG), slice_str(id), got_info, &get);
    world_ask(w, "g", NULL, &reply);
    world_restart(w);
    assert_int_equal(wait.error.code, CODE_UNAVAILABLE);
    assert_int_equal(get.error.code, CODE_UNAVAILABLE);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    orchestrator_run_gone(old);
    w->slow_cancel = false;
    assert_int_equal(w->run_count, 1);
    answer_ok(world_take_run(w), "again");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "again");
}

static void suspended_calls_survive_a_restart(void **state)
{
    enum { PARENTS = 100 };
    static const struct child children[] = {{"left", 1}, {"right", 2}};
    struct world *w = *state;
    char ids[PARENTS][ID_TEXT_LEN + 1], text[64];
    struct orchestrator_stats stats;

    for (int i = 0; i < PARENTS; i++) {
        char input[16];

        snprintf(input, sizeof input, "%d", i);
        world_dispatch(w, "parent", input, ids[i]);
        answer_with_poll(world_take(w, "parent"), input, children, 2, 2, -1);
        world_settle(w);
    }
    while (w->run_count) {
        answer_ok(world_take_run(w), "half");
        world_settle(w);
        orchestrator_stats(w->o, &stats);
        if (stats.engine.live == 2 * PARENTS)
            break; /* some parents have one result, some two, some none */
    }
    w->options.cache_max = 1; /* what follows is read from the store */
    world_restart(w);
    orchestrator_stats(w->o, &stats);
    assert_int_equal(stats.recovered, 2 * PARENTS);
    assert_int_equal(stats.incarnation, 2);
    while (w->run_count) {
        struct orchestrator_run *run = world_take_run(w);

        if (run->request->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT) {
            answer_ok(run, "half");
        } else {
            assert_int_equal(run->request->poll_result->n_results, 2);
            any_text(run->request->poll_result->typed_coroutine_state, text, sizeof text);
            answer_ok(run, text);
        }
        world_settle(w);
    }
    for (int i = 0; i < PARENTS; i++) {
        snprintf(text, sizeof text, "%d", i);
        world_expect(w, ids[i], STATUS_OK, text);
    }
}

/* --- every commit of a history, every way to fail -----------------------------------------------
 */

enum way { FAILS, GETS_LOST, COMES_LATE, WAYS };

static void answer_any(struct orchestrator_run *run)
{
    static const struct child children[] = {{"left", 1}, {"right", 2}};
    const wire_run_request *q = run->request;
    unsigned seen = 0;
    char text[64];

    if (strcmp(q->function, "start") == 0) {
        answer_with_tail(run, STATUS_OK, "parent", "tail");
    } else if (strcmp(q->function, "parent") != 0) {
        answer_ok(run, q->function);
    } else if (q->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT) {
        any_text(q->input, text, sizeof text);
        assert_string_equal(text, "tail");
        answer_with_poll(run, "state", children, 2, 2, -1);
    } else {
        assert_int_equal(q->poll_result->n_results, 2);
        for (size_t i = 0; i < 2; i++) {
            const wire_call_result *r = q->poll_result->results[i];

            any_text(r->output, text, sizeof text);
            assert_string_equal(text, r->correlation_id == 1 ? "left" : "right");
            seen |= 1u << r->correlation_id;
        }
        assert_int_equal(seen, 1u << 1 | 1u << 2); /* each once */
        answer_ok(run, "joined");
    }
}

/* The client asks until it is acknowledged. */
static void persist(struct world *w, char id[ID_TEXT_LEN + 1])
{
    for (;;) {
        struct reply reply = {0};

        world_ask(w, "start", "in", &reply);
        world_settle(w);
        assert_int_equal(reply.count, 1);
        if (!reply.error.code) {
            memcpy(id, reply.ids[0], ID_TEXT_LEN + 1);
            return;
        }
        assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
        reopen(w);
    }
}

/* False if there were not as many commits. */
static bool history(enum way way, uint64_t nth)
{
    struct world *w = calloc(1, sizeof *w);
    char id[ID_TEXT_LEN + 1];
    bool failed;

    assert_non_null(w);
    world_init(w);
    *(way == FAILS       ? &w->faults.fail_commit_in
      : way == GETS_LOST ? &w->faults.lose_commit_in
                         : &w->faults.late_commit_in) = nth;
    persist(w, id);
    for (int i = 0; i < 200; i++) {
        while (w->run_count) {
            answer_any(world_take_run(w));
            world_settle(w);
        }
        if (orchestrator_ready(w->o) && orchestrator_idle(w->o))
            break;
        world_advance(w, 100 * NS_PER_MS);
    }
    world_expect(w, id, STATUS_OK, "joined");
    failed = w->faults.failures > 0;
    world_free(w);
    free(w);
    return failed;
}

static void every_commit_may_fail_in_every_way(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        uint64_t nth = 1;

        while (history((enum way)way, nth))
            nth++;
        assert_true(nth > 5);
    }
}

static void the_first_opening_may_fail(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char id[ID_TEXT_LEN + 1];

    (void)state;
    assert_non_null(w);
    w->faults.fail_all = true;
    world_init(w);
    assert_false(orchestrator_ready(w->o));
    assert_false(orchestrator_loading(w->o));
    assert_non_null(strstr(orchestrator_trouble(w->o), "disk full"));
    assert_true(orchestrator_step(w->o) == w->now + 100 * NS_PER_MS);
    w->faults.fail_all = false;
    reopen(w);
    world_dispatch(w, "f", NULL, id);
    world_free(w);
    free(w);
}

static void the_log_tells_the_story(void **state)
{
    static const char *const story[] = {"opened", "commit failed", "closed", "reopened"};
    struct world *w = calloc(1, sizeof *w);
    struct reply reply = {0};
    struct log log = {.level = LOG_INFO};
    char text[8192] = "", *at = text;
    FILE *file = tmpfile();

    (void)state;
    assert_non_null(w);
    assert_non_null(file);
    log.fd = fileno(file);
    w->options.log = &log;
    world_init(w);
    w->faults.fail_commit_in = 1;
    world_ask(w, "f", NULL, &reply);
    world_settle(w);
    reopen(w);
    world_free(w);
    free(w);
    rewind(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    for (size_t i = 0; i < sizeof story / sizeof *story; i++) {
        at = strstr(at, story[i]);
        if (!at)
            fail_msg("no \"%s\" in its place:\n%s", story[i], text);
        at += strlen(story[i]);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_caller_learns_whether_its_call_was_accepted),
        TEST(a_commit_that_fails_is_not_acknowledged),
        TEST(a_commit_of_unknown_outcome_may_have_landed),
        TEST(a_commit_that_comes_late_does_not_land),
        TEST(a_full_disk_closes_until_there_is_space),
        TEST(a_result_that_was_not_committed_is_made_again),
        TEST(answers_of_a_former_incarnation_do_not_count),
        TEST(runs_may_outlive_the_orchestrator),
        cmocka_unit_test_setup_teardown(suspended_calls_survive_a_restart, setup_wide, teardown),
        cmocka_unit_test(every_commit_may_fail_in_every_way),
        cmocka_unit_test(the_log_tells_the_story),
        cmocka_unit_test(the_first_opening_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
