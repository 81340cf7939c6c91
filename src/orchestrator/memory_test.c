// SPDX-License-Identifier: Apache-2.0
/* Out of memory at the Nth allocation, for every N: a history of calls still comes to its end. */
#include "orchestrator/testing.h"

#include <stdlib.h>

/* The linker puts these in the place of the allocator's (--wrap, see meson.build). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static int allocation; /* counts down; that which reaches 0 is refused, and `burst` - 1 after it */
static int burst;

static bool refused(void)
{
    return testing_armed && --allocation <= 0 && allocation > -burst;
}

void *__wrap_malloc(size_t size)
{
    return refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return refused() ? NULL : __real_realloc(old, size);
}

static void answer(struct orchestrator_run *run)
{
    static const struct child children[] = {{"left", 1}, {"right", 2}};
    const wire_run_request *q = run->request;

    if (strcmp(q->function, "start") == 0) {
        answer_with_tail(run, STATUS_OK, "parent", "tail");
    } else if (strcmp(q->function, "parent") != 0) {
        answer_ok(run, q->function);
    } else if (q->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT) {
        answer_with_poll(run, "state", children, 2, 2, -1);
    } else {
        assert_int_equal(q->poll_result->n_results, 2);
        answer_ok(run, "joined");
    }
}

static void reopen(struct world *w)
{
    for (int i = 0; i < 100 && !orchestrator_ready(w->o); i++)
        world_advance(w, 100 * NS_PER_MS);
    assert_true(orchestrator_ready(w->o));
}

static bool passing(int code)
{
    return code == CODE_RESOURCE_EXHAUSTED || code == CODE_UNAVAILABLE;
}

static void persist(struct world *w, char id[ID_TEXT_LEN + 1])
{
    for (int i = 0; i < 100; i++) {
        struct reply reply = {0};

        world_ask(w, "start", "in", &reply);
        world_settle(w);
        assert_int_equal(reply.count, 1);
        if (!reply.error.code) {
            memcpy(id, reply.ids[0], ID_TEXT_LEN + 1);
            return;
        }
        assert_true(passing(reply.error.code));
        reopen(w);
    }
    fail_msg("never acknowledged");
}

/* Waits, and asks again as long as the reason is a passing one. */
static void stay(struct world *w, const char *id, struct got *got)
{
    if (got->count && !passing(got->error.code))
        return;
    if (!got->count && got->id[0])
        return;
    *got = (struct got){.id = "asked"};
    testing_armed = testing_refusing;
    orchestrator_wait(w->o, slice_str(TEST_ORG), slice_str(id), -1, got_info, got);
    testing_armed = false;
}

/* True if no allocation was refused, as there were not that many. */
static bool history(int nth, int in_a_row)
{
    struct world *w = calloc(1, sizeof *w);
    char id[ID_TEXT_LEN + 1];
    struct got wait = {0};
    bool none;

    assert_non_null(w);
    w->options.cache_max = nth % 2 ? 1 : 0; /* reads, too */
    world_init(w);
    allocation = nth;
    burst = in_a_row;
    testing_refusing = true;
    persist(w, id);
    for (int i = 0; i < 500 && !(wait.count && wait.error.code == 0); i++) {
        if (orchestrator_ready(w->o))
            stay(w, id, &wait);
        world_settle(w);
        if (w->run_count) {
            answer(world_take_run(w));
            world_settle(w);
        } else {
            world_advance(w, 50 * NS_PER_MS);
        }
    }
    none = allocation > 0;
    testing_refusing = false;
    assert_int_equal(wait.count, 1);
    assert_string_equal(wait.output, "joined");
    reopen(w);
    world_expect(w, id, STATUS_OK, "joined");
    world_free(w);
    free(w);
    return none;
}

static void any_allocation_may_fail(void **state)
{
    int n = 1;

    (void)state;
    while (!history(n, 1) || !history(n + 1, 1)) /* both sizes of the cache */
        n++;
    assert_true(n > 50);
}

static void several_may_fail_in_a_row(void **state)
{
    int n = 1;

    (void)state;
    while (!history(n, 5) || !history(n + 1, 5))
        n++;
    assert_true(n > 50);
}

/* Dispatches a call to event: under an idempotency key until it is acknowledged. */
static void persist_event(struct world *w, char id[ID_TEXT_LEN + 1])
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    char function[] = "f", endpoint[] = "event:", key[] = "k";
    struct reply reply;

    call.function = function;
    call.endpoint = endpoint;
    call.key = key;
    request.calls = calls;
    request.n_calls = 1;
    do {
        reopen(w);
        reply = (struct reply){0};
        testing_armed = testing_refusing;
        orchestrator_dispatch_keyed(w->o, slice_str(TEST_ORG), slice_str("once"), &request,
                                    reply_dispatched, &reply);
        testing_armed = false;
        world_settle(w);
        assert_int_equal(reply.count, 1);
        assert_true(!reply.error.code || passing(reply.error.code));
    } while (reply.error.code);
    memcpy(id, reply.ids[0], ID_TEXT_LEN + 1);
}

/* By its key, until it is so: also when an answer to that was lost. */
static void complete_event(struct world *w)
{
    Dispatch__V1__CompleteRequest request = DISPATCH__V1__COMPLETE_REQUEST__INIT;
    char key[] = "k";
    struct reply reply;

    request.key = key;
    do {
        reopen(w);
        reply = (struct reply){0};
        testing_armed = testing_refusing;
        orchestrator_complete(w->o, slice_str(TEST_ORG), &request, reply_cancelled, &reply);
        testing_armed = false;
        world_settle(w);
        assert_int_equal(reply.count, 1);
    } while (passing(reply.error.code));
    assert_true(!reply.error.code || reply.error.code == CODE_FAILED_PRECONDITION);
}

/* A call that is completed from outside, and removed in the end. */
static bool event_history(int nth, bool early)
{
    struct world *w = calloc(1, sizeof *w);
    char id[ID_TEXT_LEN + 1];
    struct got got;
    bool none;

    assert_non_null(w);
    w->options.retention_ns = 24 * 3600 * NS_PER_S;
    world_init(w);
    allocation = nth;
    burst = 1;
    testing_refusing = true;
    if (early)
        complete_event(w);
    persist_event(w, id);
    if (!early)
        complete_event(w);
    none = allocation > 0;
    testing_refusing = false;
    reopen(w);
    world_expect(w, id, STATUS_OK, "");
    for (int i = 0; i < 3; i++)
        world_advance(w, 25 * 3600 * NS_PER_S);
    world_get(w, id, &got);
    assert_int_equal(got.error.code, CODE_NOT_FOUND);
    world_free(w);
    free(w);
    return none;
}

static void events_and_keys_survive_too(void **state)
{
    int n = 1;

    (void)state;
    while (!event_history(n, false))
        n++;
    assert_true(n > 10);
    for (n = 1; !event_history(n, true);)
        n++;
    assert_true(n > 10);
}

static void a_creation_that_fails_leaves_nothing(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    int n = 1, code;

    (void)state;
    assert_non_null(w);
    world_init(w);
    orchestrator_destroy(w->o);
    w->o = NULL;
    do {
        struct orchestrator_options options = {.clock = &w->clock, .invoker = &w->invoker};
        struct error err = {0};

        assert_int_equal(store_memory_create(&options.store, TEST_TAG, &err), 0);
        allocation = n++;
        burst = 1;
        testing_armed = true;
        code = orchestrator_create(&w->o, &options, &err);
        testing_armed = false;
        assert_true(code == 0 || code == CODE_RESOURCE_EXHAUSTED);
    } while (code);
    assert_true(n > 2);
    world_free(w);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(events_and_keys_survive_too),
        cmocka_unit_test(a_creation_that_fails_leaves_nothing),
        cmocka_unit_test(several_may_fail_in_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
