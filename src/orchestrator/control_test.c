// SPDX-License-Identifier: Apache-2.0
/* Calls taken in hand: cancelled, restarted, made again. */
#include "orchestrator/testing.h"

#include <stdlib.h>

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

typedef void control(struct orchestrator *o, struct slice org, struct slice id,
                     orchestrator_cancelled *done, void *arg);

static int ask(struct world *w, control *what, const char *org, const char *id, struct error *error)
{
    struct reply reply = {0};

    what(w->o, slice_str(org), slice_str(id), reply_cancelled, &reply);
    world_settle(w);
    assert_int_equal(reply.count, 1);
    *error = reply.error;
    return reply.error.code;
}

static void retry(struct world *w, const char *org, const char *id, struct reply *reply)
{
    *reply = (struct reply){0};
    orchestrator_retry(w->o, slice_str(org), slice_str(id), reply_dispatched, reply);
    world_settle(w);
    assert_int_equal(reply->count, 1);
}

/* A tree of three generations: the root waits for two, one of which waits for a third. */
static void cancelling_ends_the_whole_tree(void **state)
{
    const struct child two[] = {{"left", 1}, {"right", 2}}, one[] = {{"leaf", 3}};
    char root[ID_TEXT_LEN + 1], left[ID_TEXT_LEN + 1], leaf[ID_TEXT_LEN + 1];
    struct world *w = *state;
    struct orchestrator_run *run;
    struct error err;
    struct got got;

    world_dispatch(w, "root", NULL, root);
    answer_with_poll(world_take(w, "root"), "s", two, 2, 2, -1);
    world_settle(w);
    run = world_take(w, "left");
    memcpy(left, run->request->dispatch_id, sizeof left);
    answer_with_poll(run, "s", one, 1, 1, -1);
    world_settle(w);
    memcpy(leaf, w->runs[1]->request->dispatch_id, sizeof leaf);
    assert_int_equal(w->run_count, 2); /* right and leaf */
    assert_int_equal(ask(w, orchestrator_cancel, TEST_ORG, root, &err), 0);
    assert_int_equal(w->run_count, 0);
    assert_int_equal(w->cancelled, 2);
    for (int i = 0; i < 3; i++) {
        world_get(w, i == 0 ? root : i == 1 ? left : leaf, &got);
        assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_DONE);
        assert_int_equal(got.status, STATUS_PERMANENT_ERROR);
        assert_string_equal(got.error_type, "Cancelled");
    }
    assert_int_equal(ask(w, orchestrator_cancel, TEST_ORG, root, &err), CODE_FAILED_PRECONDITION);
    world_restart(w);
    assert_int_equal(w->run_count, 0);
}

static void restarting_begins_again_from_the_input(void **state)
{
    const struct child two[] = {{"left", 1}, {"right", 2}};
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1], text[64];
    struct orchestrator_run *run, *left;
    struct error err;
    struct got got;

    world_dispatch(w, "root", "in", id);
    answer_with_poll(world_take(w, "root"), "s", two, 2, 2, -1);
    world_settle(w);
    left = world_take(w, "left");
    assert_int_equal(ask(w, orchestrator_restart, TEST_ORG, id, &err), 0);
    run = world_take(w, "root");
    assert_int_equal(run->request->generation, 2);
    assert_int_equal(run->request->directive_case, DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT);
    any_text(run->request->input, text, sizeof text);
    assert_string_equal(text, "in");
    /* Its late child's result is nobody's. */
    answer_ok(left, "late");
    world_settle(w);
    /* While it runs: that run is given up. */
    w->runs[w->run_count++] = run;
    assert_int_equal(ask(w, orchestrator_restart, TEST_ORG, id, &err), 0);
    run = world_take(w, "root");
    assert_int_equal(run->request->generation, 3);
    world_restart(w);
    run = world_take(w, "root");
    assert_int_equal(run->request->generation, 3);
    answer_status(run, STATUS_TEMPORARY_ERROR, "t", "m");
    world_settle(w);
    world_get(w, id, &got);
    assert_int_equal(got.state, DISPATCH__V1__STATE__STATE_WAITING);
    assert_int_equal(ask(w, orchestrator_restart, TEST_ORG, id, &err), 0);
    run = world_take(w, "root");
    assert_int_equal(run->request->generation, 4);
    answer_ok(run, "out");
    world_settle(w);
    world_expect(w, id, STATUS_OK, "out");
    assert_int_equal(ask(w, orchestrator_restart, TEST_ORG, id, &err), CODE_FAILED_PRECONDITION);
    world_expect(w, id, STATUS_OK, "out");
}

static void a_restart_that_was_not_committed_is_none(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct error err;
    struct got got;

    world_dispatch(w, "f", NULL, id);
    w->faults.fail_commit_in = 1;
    assert_int_equal(ask(w, orchestrator_restart, TEST_ORG, id, &err), CODE_UNAVAILABLE);
    world_advance(w, 60 * NS_PER_S);
    world_get(w, id, &got);
    assert_int_equal(got.generation, 1);
    assert_int_equal(w->run_count, 1);
}

static void retrying_makes_a_new_root(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1], text[64];
    struct orchestrator_run *run;
    struct reply reply;
    struct got got;

    world_dispatch(w, "first", "one", id);
    retry(w, TEST_ORG, id, &reply);
    assert_int_equal(reply.error.code, CODE_FAILED_PRECONDITION);
    answer_with_tail(world_take(w, "first"), STATUS_OK, "second", "two");
    world_settle(w);
    answer_status(world_take(w, "second"), STATUS_PERMANENT_ERROR, "bad", "it is");
    world_settle(w);
    world_restart(w);
    retry(w, TEST_ORG, id, &reply);
    assert_int_equal(reply.error.code, 0);
    assert_int_equal(reply.id_count, 1);
    assert_string_not_equal(reply.ids[0], id);
    world_restart(w);
    run = world_take(w, "second");
    assert_string_equal(run->request->dispatch_id, reply.ids[0]);
    assert_string_equal(run->request->root_dispatch_id, reply.ids[0]);
    assert_string_equal(run->request->parent_dispatch_id, "");
    any_text(run->request->input, text, sizeof text);
    assert_string_equal(text, "two");
    answer_ok(run, "good");
    world_settle(w);
    world_expect(w, reply.ids[0], STATUS_OK, "good");
    world_get(w, reply.ids[0], &got);
    assert_string_equal(got.retry_of, id);
    assert_string_equal(got.parent, "");
    world_get(w, id, &got); /* a result never changes */
    assert_int_equal(got.status, STATUS_PERMANENT_ERROR);
    assert_string_equal(got.retry_of, "");
}

static void other_organizations_know_nothing(void **state)
{
    struct world *w = *state;
    char id[ID_TEXT_LEN + 1];
    struct reply reply;
    struct error err;

    world_dispatch(w, "f", NULL, id);
    assert_int_equal(ask(w, orchestrator_cancel, "other", id, &err), CODE_NOT_FOUND);
    assert_int_equal(ask(w, orchestrator_restart, "other", id, &err), CODE_NOT_FOUND);
    answer_ok(world_take_run(w), "out");
    world_settle(w);
    assert_int_equal(ask(w, orchestrator_cancel, "other", id, &err), CODE_NOT_FOUND);
    retry(w, "other", id, &reply);
    assert_int_equal(reply.error.code, CODE_NOT_FOUND);
    retry(w, TEST_ORG, "no id", &reply);
    assert_int_equal(reply.error.code, CODE_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cancelling_ends_the_whole_tree),
        TEST(restarting_begins_again_from_the_input),
        TEST(a_restart_that_was_not_committed_is_none),
        TEST(retrying_makes_a_new_root),
        TEST(other_organizations_know_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
