// SPDX-License-Identifier: Apache-2.0
/*
 * Out of memory at the Nth allocation, for every N: a history of calls still comes to its end. With
 * a file as the store, SQLite's allocations are among them, and N is a sample.
 */
#include "base/scarce.h"
#include "orchestrator/testing.h"
#include "store/scarce_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    scarce_pause(false);
    orchestrator_wait(w->o, slice_str(TEST_ORG), slice_str(id), -1, got_info, got);
    scarce_pause(true);
}

/* True if no allocation was refused, as there were not that many. */
static bool history(long nth, long in_a_row)
{
    struct world *w = calloc(1, sizeof *w);
    char id[ID_TEXT_LEN + 1];
    struct got wait = {0};
    bool none;

    assert_non_null(w);
    w->options.cache_max = nth % 2 ? 1 : 0; /* reads, too */
    world_init(w);
    scarce_begin(nth, in_a_row);
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
    none = !scarce_end();
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
    long n = 1;

    (void)state;
    while (!history(n, 1) || !history(n + 1, 1)) /* both sizes of the cache */
        n++;
    assert_true(n > 50);
}

static void several_may_fail_in_a_row(void **state)
{
    long n = 1;

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
        scarce_pause(false);
        orchestrator_dispatch_keyed(w->o, slice_str(TEST_ORG), slice_str("once"), &request,
                                    reply_dispatched, &reply);
        scarce_pause(true);
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
        scarce_pause(false);
        orchestrator_complete(w->o, slice_str(TEST_ORG), &request, reply_cancelled, &reply);
        scarce_pause(true);
        world_settle(w);
        assert_int_equal(reply.count, 1);
    } while (passing(reply.error.code));
    assert_true(!reply.error.code || reply.error.code == CODE_FAILED_PRECONDITION);
}

/* A call that is completed from outside, and removed in the end. */
static bool event_history(long nth, bool early)
{
    struct world *w = calloc(1, sizeof *w);
    char id[ID_TEXT_LEN + 1];
    struct got got;
    bool none;

    assert_non_null(w);
    w->options.retention_ns = 24 * 3600 * NS_PER_S;
    world_init(w);
    scarce_begin(nth, 1);
    if (early)
        complete_event(w);
    persist_event(w, id);
    if (!early)
        complete_event(w);
    none = !scarce_end();
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
    long n = 1;

    (void)state;
    while (!event_history(n, false))
        n++;
    assert_true(n > 10);
    for (n = 1; !event_history(n, true);)
        n++;
    assert_true(n > 10);
}

/* --- what operators do, on a file ---------------------------------------------------------------
 */

struct desk {
    struct world w; /* first */
    char dir[64], path[96], note[32];
    struct reply reply;
};

static void take_notes(void *arg, const struct orchestrator_note *notes, size_t count)
{
    struct desk *d = arg;

    if (count)
        snprintf(d->note, sizeof d->note, "%.*s", SLICE_FMT(notes[0].bytes));
}

static void open_desk(struct desk *d)
{
    char url[128];
    struct error err;

    world_prepare(&d->w);
    d->w.options.cache_max = 1; /* reads, too */
    d->w.options.notes = take_notes;
    d->w.options.notes_arg = d;
    d->w.options.retention_ns = 24 * 3600 * NS_PER_S;
    snprintf(d->dir, sizeof d->dir, "%s/dispatch-memory-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(d->dir));
    snprintf(d->path, sizeof d->path, "%s/calls.db", d->dir);
    snprintf(url, sizeof url, "sqlite:%s", d->path);
    assert_int_equal(store_open(&d->w.memory, url, NULL, &err), 0);
    world_start(&d->w);
}

static void close_desk(struct desk *d)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal", ".lock"};
    char path[128];

    world_free(&d->w);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(path, sizeof path, "%s%s", d->path, endings[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(d->dir), 0);
}

typedef void request(struct desk *d, struct slice id);

static void ask_cancel(struct desk *d, struct slice id)
{
    orchestrator_cancel(d->w.o, slice_str(TEST_ORG), id, reply_cancelled, &d->reply);
}

static void ask_restart(struct desk *d, struct slice id)
{
    orchestrator_restart(d->w.o, slice_str(TEST_ORG), id, reply_cancelled, &d->reply);
}

static void ask_retry(struct desk *d, struct slice id)
{
    orchestrator_retry(d->w.o, slice_str(TEST_ORG), id, reply_dispatched, &d->reply);
}

static void ask_note(struct desk *d, struct slice id)
{
    const struct orchestrator_note note = {1, slice_str("noted")};

    (void)id;
    orchestrator_put_note(d->w.o, &note, reply_cancelled, &d->reply);
}

static void count_page(void *arg, const struct error *error, const Dispatch__V1__ListResponse *page)
{
    struct reply *reply = arg;

    reply->count++;
    if (error)
        reply->error = *error;
    else
        reply->id_count = page->n_calls;
}

static void ask_list(struct desk *d, struct slice id)
{
    Dispatch__V1__ListRequest all = DISPATCH__V1__LIST_REQUEST__INIT;

    (void)id;
    orchestrator_list(d->w.o, slice_str(TEST_ORG), &all, count_page, &d->reply);
}

static void got_state(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct reply *reply = arg;

    (void)info;
    reply->count++;
    if (error)
        reply->error = *error;
}

static void ask_state(struct desk *d, struct slice id)
{
    orchestrator_get_with_state(d->w.o, slice_str(TEST_ORG), id, got_state, &d->reply);
}

/* Until it is answered, or, as an answer before was lost, it was done already. */
static void insist(struct desk *d, request *what, const char *id)
{
    int i = 0;

    do {
        assert_true(i++ < 100);
        reopen(&d->w);
        d->reply = (struct reply){0};
        scarce_pause(false);
        what(d, slice_str(id));
        scarce_pause(true);
        world_settle(&d->w);
        assert_int_equal(d->reply.count, 1);
    } while (passing(d->reply.error.code));
    if (d->reply.error.code)
        assert_true(d->reply.error.code == CODE_FAILED_PRECONDITION && i > 1);
}

static void finish(struct world *w, const char *id)
{
    struct got wait = {0};

    for (int i = 0; i < 500 && !(wait.count && wait.error.code == 0); i++) {
        if (orchestrator_ready(w->o))
            stay(w, id, &wait);
        world_settle(w);
        if (w->run_count)
            answer(world_take_run(w));
        else
            world_advance(w, 50 * NS_PER_MS);
    }
    assert_int_equal(wait.count, 1);
    assert_string_equal(wait.output, "joined");
}

static void operate(struct desk *d)
{
    char done[ID_TEXT_LEN + 1], cancelled[ID_TEXT_LEN + 1], again[ID_TEXT_LEN + 1];
    struct got got;

    persist(&d->w, done);
    insist(d, ask_restart, done);
    finish(&d->w, done);
    insist(d, ask_retry, done);
    memcpy(again, d->reply.ids[0], sizeof again);
    insist(d, ask_note, "");
    persist(&d->w, cancelled);
    insist(d, ask_state, cancelled);
    insist(d, ask_cancel, cancelled);
    finish(&d->w, again);
    world_restart(&d->w);
    insist(d, ask_list, "");
    assert_in_range(d->reply.id_count, 7,
                    50); /* more if an answer was lost and it was asked again */
    reopen(&d->w);
    assert_string_equal(d->note, "noted");
    scarce_end();
    world_expect(&d->w, done, STATUS_OK, "joined");
    world_get(&d->w, cancelled, &got);
    assert_string_equal(got.error_type, "Cancelled");
    for (int i = 0; i < 3; i++)
        world_advance(&d->w, 25 * 3600 * NS_PER_S);
    world_get(&d->w, again, &got);
    assert_int_equal(got.error.code, CODE_NOT_FOUND);
}

static void operators_are_told(void **state)
{
    long n = 1;
    bool met;

    (void)state;
    do {
        struct desk *d = calloc(1, sizeof *d);

        assert_non_null(d);
        open_desk(d);
        scarce_begin(n, 1);
        operate(d);
        met = scarce_met();
        close_desk(d);
        free(d);
        n = scarce_sample(n, 5);
    } while (met);
    assert_true(n > 300);
}

static void a_creation_that_fails_leaves_nothing(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    long n = 1;
    int code;

    (void)state;
    assert_non_null(w);
    world_init(w);
    orchestrator_destroy(w->o);
    w->o = NULL;
    do {
        struct orchestrator_options options = {.clock = &w->clock, .invoker = &w->invoker};
        struct error err = {0};

        assert_int_equal(store_memory_create(&options.store, TEST_TAG, &err), 0);
        scarce_begin(n++, 1);
        scarce_pause(false);
        code = orchestrator_create(&w->o, &options, &err);
        scarce_pause(true);
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
        cmocka_unit_test(operators_are_told),
        cmocka_unit_test(a_creation_that_fails_leaves_nothing),
        cmocka_unit_test(several_may_fail_in_a_row),
    };

    scarce_pause(true);
    scarce_sqlite();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
