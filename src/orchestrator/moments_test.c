// SPDX-License-Identifier: Apache-2.0
/* Requests and times that fall between a decision and the commit that makes it durable, or between
 * that and what was held for it. */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/testing.h"

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (!w)
        return -1;
    world_init(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

static void a_call_is_called_done_once_that_is_durable(void **state)
{
    struct world *w = *state;
    struct reply early = {0}, later = {0};
    struct slice org = slice_str(TEST_ORG);
    char id[ID_TEXT_LEN + 1];

    world_dispatch(w, "f", "in", id);
    answer_ok(world_take_run(w), "out"); /* decided, not committed: a crash would undo it */
    orchestrator_cancel(w->o, org, slice_str(id), reply_cancelled, &early);
    world_settle(w);
    assert_int_equal(early.count, 1);
    assert_int_equal(early.error.code, CODE_UNAVAILABLE);
    orchestrator_cancel(w->o, org, slice_str(id), reply_cancelled, &later);
    world_settle(w);
    assert_int_equal(later.error.code, CODE_FAILED_PRECONDITION);
    world_expect(w, id, STATUS_OK, "out");
}

struct late_reply {
    struct reply reply; /* first */
    struct world *world;
};

/* Two days pass between the confirmed commit and the run that was held for it. */
static void late_dispatched(void *arg, const struct error *error, const wire_dispatch_response *r)
{
    struct late_reply *late = arg;

    reply_dispatched(&late->reply, error, r);
    late->world->now += 48 * 3600 * NS_PER_S;
}

static void a_call_that_expired_before_its_run_never_runs(void **state)
{
    struct world *w = *state;
    struct late_reply late = {.world = w};
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    struct got got;

    call.function = (char[]){"f"};
    call.endpoint = (char[]){ENDPOINT};
    request.calls = calls;
    request.n_calls = 1;
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, late_dispatched, &late);
    world_settle(w);
    assert_int_equal(late.reply.count, 1);
    assert_int_equal(w->invoked, 0);
    world_get(w, late.reply.ids[0], &got);
    assert_string_equal(got.error_type, "Expired");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_call_is_called_done_once_that_is_durable, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_call_that_expired_before_its_run_never_runs, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
