// SPDX-License-Identifier: Apache-2.0
/*
 * The promise, held against a real server, a real application and a real disk: an acknowledged call
 * is never lost, an unacknowledged request is never half there. The application keeps a log of its
 * own, outside the server: each run of a function appends the number of its call.
 *
 * usage: durability_test BUILD/dispatch BUILD/libfailing_sync.so TEST
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <dispatch_sdk.h>

#include "base/rand.h"
#include "harness.h"

#define CALLS        10000
#define BATCH_MAX    100
#define REQUESTS_MAX 10000
#define KILLS        8
#define STEP         (CALLS / (KILLS + 2)) /* acknowledged calls between kills */

static const char *binary, *failing_sync;

/* --- the application ------------------------------------------------------------------------- */

static int log_fd = -1;
static atomic_bool gate_open;

/* Appends its number to the log, and returns it. */
static struct dispatch_result note(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t number;
    int32_t line;

    if (!dispatch_as_int(input, &number))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "Input", "not a number");
    line = (int32_t)number;
    if (write(log_fd, &line, sizeof line) != sizeof line)
        return dispatch_fail_errno(ctx, errno, "the log");
    return dispatch_ok(dispatch_int(number));
}

/* Suspended in a poll until the gate is open. */
static struct dispatch_output gate(struct dispatch_ctx *ctx, const struct dispatch_input *input)
{
    struct dispatch_poll poll = {.has_max_wait = true, .max_wait_ms = 2000};
    struct dispatch_value value;
    int64_t looks = 0;

    if (dispatch_input_is_first_call(input))
        dispatch_input_value(input, &value, NULL);
    else
        dispatch_input_state(input, &value, NULL);
    dispatch_as_int(value, &looks);
    if (atomic_load(&gate_open))
        return dispatch_output_value(ctx, dispatch_int(looks));
    poll.state = dispatch_int(looks + 1);
    return dispatch_output_poll(ctx, &poll);
}

struct app {
    struct harness h;
    struct dispatch_registry *registry;
    struct dispatch_endpoint *endpoint;
    struct dispatch_client *client;
    char endpoint_url[64];
    uint32_t timeout_ms; /* of the client; 0: its default */
};

#define OK(expression)                                                                             \
    do {                                                                                           \
        struct dispatch_failure failure = {0};                                                     \
        if (expression)                                                                            \
            fail_msg("%s: %s", #expression, failure.message);                                      \
    } while (0)

static void start_app(struct app *a)
{
    struct dispatch_endpoint_options eo = {0};
    struct dispatch_registry_options ro = {.name = "durability",
                                           .endpoint = "http://127.0.0.1:1/unused"};
    struct dispatch_client_options co = {.api_key = HARNESS_KEY, .connect_retry_ms = 60000};

    log_fd = open(harness_path(&a->h, "runs"), O_RDWR | O_CREAT | O_APPEND, 0600);
    assert_true(log_fd >= 0);
    OK(dispatch_registry_create(&ro, &a->registry, &failure));
    OK(dispatch_register(a->registry, "note", note, &failure));
    OK(dispatch_register_primitive(a->registry, "gate", gate, &failure));
    eo.registry = a->registry;
    eo.max_queue = 20000;
    OK(dispatch_endpoint_create(&eo, &a->endpoint, &failure));
    OK(dispatch_endpoint_listen(a->endpoint, "127.0.0.1:0", &failure));
    snprintf(a->endpoint_url, sizeof a->endpoint_url, "http://127.0.0.1:%u",
             dispatch_endpoint_port(a->endpoint));
    co.api_url = a->h.url;
    co.timeout_ms = a->timeout_ms;
    OK(dispatch_client_create(&co, &a->client, &failure));
}

static void stop_app(struct app *a)
{
    dispatch_client_destroy(a->client);
    dispatch_endpoint_destroy(a->endpoint);
    dispatch_registry_close(a->registry);
    close(log_fd);
}

static struct app *setup(void)
{
    struct app *a = calloc(1, sizeof *a);

    harness_init(&a->h, binary);
    return a;
}

static void teardown(struct app *a)
{
    harness_finish(&a->h);
    free(a);
}

/* Dispatches the calls numbered [from, from + count) in one request. */
static int dispatch(struct app *a, const char *function, int from, int count,
                    struct dispatch_ids *ids, struct dispatch_failure *failure)
{
    static struct dispatch_call calls[BATCH_MAX];

    for (int i = 0; i < count; i++) {
        calls[i] = dispatch_to(function, dispatch_int(from + i));
        calls[i].endpoint = a->endpoint_url;
    }
    return dispatch_client_dispatch(a->client, calls, (size_t)count, ids, failure);
}

/* How often each number is in the log. */
static uint32_t *read_log(struct app *a, int numbers)
{
    uint32_t *runs = calloc((size_t)numbers, sizeof *runs);
    FILE *f = fopen(harness_path(&a->h, "runs"), "r");
    int32_t line;

    while (fread(&line, sizeof line, 1, f) == 1) {
        assert_in_range(line, 0, numbers - 1);
        runs[line]++;
    }
    fclose(f);
    return runs;
}

static bool nothing_live(const struct harness_census *census, void *arg)
{
    (void)arg;
    return census->live == 0;
}

/* --- SIGKILL --------------------------------------------------------------------------------- */

/* The thread that dispatches, while the test kills. */
struct load {
    struct app *a;
    struct rand rand;
    struct dispatch_ids *ids; /* of each request; empty: it was not acknowledged */
    int *first;               /* number of each request's first call, and the end */
    int requests, refused;
    atomic_int acknowledged, kills;
    atomic_bool done;
};

static void *dispatch_many(void *arg)
{
    struct load *l = arg;

    int from = 0;

    for (; atomic_load(&l->acknowledged) < CALLS && l->requests < REQUESTS_MAX; l->requests++) {
        int count = 1 + (int)rand_below(&l->rand, BATCH_MAX);

        /* The kills are to come while there is something to lose. */
        while (atomic_load(&l->acknowledged) > (atomic_load(&l->kills) + 2) * STEP)
            harness_pause(1);
        l->first[l->requests] = from;
        if (dispatch(l->a, "note", from, count, &l->ids[l->requests], NULL) == 0) {
            atomic_fetch_add(&l->acknowledged, count);
        } else {
            l->refused++;
            harness_pause(5); /* it is dead, or loading */
        }
        from += count;
    }
    l->first[l->requests] = from;
    atomic_store(&l->done, true);
    return NULL;
}

/* Kills the server each time that so many more calls were acknowledged, a random while later. */
static void kill_at_random(struct load *l, struct rand *rand)
{
    while (!atomic_load(&l->done) && atomic_load(&l->kills) < KILLS) {
        if (atomic_load(&l->acknowledged) < (atomic_load(&l->kills) + 1) * STEP) {
            harness_pause(1);
            continue;
        }
        harness_pause((int)rand_below(rand, 10));
        harness_kill(&l->a->h);
        harness_start(&l->a->h);
        atomic_fetch_add(&l->kills, 1);
    }
}

static void test_kill(void **state)
{
    struct app *a = setup();
    struct load l = {.a = a};
    struct dispatch_ids *ids = l.ids = calloc(REQUESTS_MAX, sizeof *ids);
    int *first = l.first = calloc(REQUESTS_MAX + 1, sizeof *first);
    struct rand rand;
    pthread_t thread;
    uint64_t seed = harness_seed();

    (void)state;
    rand_seed(&l.rand, seed);
    rand_seed(&rand, seed + 1);
    harness_start(&a->h);
    start_app(a);
    assert_int_equal(pthread_create(&thread, NULL, dispatch_many, &l), 0);
    kill_at_random(&l, &rand);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&l.acknowledged) >= CALLS);
    assert_int_equal(atomic_load(&l.kills), KILLS);

    /* Every acknowledged call has its result: its own number. */
    for (int r = 0; r < l.requests; r++)
        for (size_t i = 0; i < ids[r].count; i++) {
            struct dispatch_result result;
            int64_t number = -1;

            OK(dispatch_client_wait(a->client, ids[r].id[i], 120000, &result, &failure));
            assert_null(result.error);
            assert_true(dispatch_as_int(result.output, &number));
            assert_int_equal(number, first[r] + (int)i);
            dispatch_result_free(&result);
        }
    harness_until(&a->h, nothing_live, NULL, 60);

    /* By the application's own log: all of them ran; of a request that was not acknowledged all
     * ran, or none. */
    uint32_t *runs = read_log(a, first[l.requests]);
    uint64_t whole = 0, none = 0, again = 0;

    for (int r = 0; r < l.requests; r++) {
        int ran = 0;

        for (int i = first[r]; i < first[r + 1]; i++) {
            ran += runs[i] > 0;
            again += runs[i] > 1 ? runs[i] - 1 : 0;
        }
        if (ids[r].count || ran)
            assert_int_equal(ran, first[r + 1] - first[r]);
        whole += !ids[r].count && ran;
        none += !ids[r].count && !ran;
        dispatch_ids_free(&ids[r]);
    }
    print_message("%d kills; %d calls acknowledged; of %d requests unacknowledged, %" PRIu64
                  " were whole and %" PRIu64 " not there; %" PRIu64 " runs made again\n",
                  atomic_load(&l.kills), atomic_load(&l.acknowledged), l.refused, whole, none,
                  again);
    assert_true((uint64_t)l.refused == whole + none);
    stop_app(a);
    harness_stop(&a->h);
    free(runs);
    free(first);
    free(ids);
    teardown(a);
}

/* --- suspended calls ------------------------------------------------------------------------- */

static bool all_suspended(const struct harness_census *census, void *arg)
{
    (void)arg;
    assert_true(census->done == 0);
    return census->suspended == CALLS;
}

static void test_suspended(void **state)
{
    struct app *a = setup();
    struct dispatch_ids ids[CALLS / BATCH_MAX] = {0};

    (void)state;
    atomic_store(&gate_open, false);
    harness_start(&a->h);
    start_app(a);
    for (int r = 0; r < CALLS / BATCH_MAX; r++)
        OK(dispatch(a, "gate", r * BATCH_MAX, BATCH_MAX, &ids[r], &failure));
    harness_until(&a->h, all_suspended, NULL, 120);
    harness_kill(&a->h);
    assert_int_equal(harness_census(&a->h).live, CALLS);
    atomic_store(&gate_open, true);
    harness_start(&a->h);
    for (int r = 0; r < CALLS / BATCH_MAX; r++)
        for (int i = 0; i < BATCH_MAX; i++) {
            struct dispatch_result result;
            int64_t looks = 0;

            OK(dispatch_client_wait(a->client, ids[r].id[i], 120000, &result, &failure));
            assert_null(result.error);
            assert_true(dispatch_as_int(result.output, &looks));
            assert_true(looks > r * BATCH_MAX + i); /* its input, and a look or more */
            dispatch_result_free(&result);
        }
    for (int r = 0; r < CALLS / BATCH_MAX; r++)
        dispatch_ids_free(&ids[r]);
    stop_app(a);
    harness_stop(&a->h);
    teardown(a);
}

/* --- a disk that fails ----------------------------------------------------------------------- */

/* Dispatches until it is refused; what was acknowledged is kept in `ids`. */
static int dispatch_until_refused(struct app *a, struct dispatch_ids *ids, int *numbers, int most)
{
    for (int r = 0; r < most; r++) {
        struct dispatch_failure failure = {0};

        if (dispatch(a, "note", *numbers, 10, &ids[r], &failure)) {
            assert_int_equal(failure.code, DISPATCH_CODE_UNAVAILABLE);
            print_message("refused: %s\n", failure.message);
            *numbers += 10;
            return r;
        }
        *numbers += 10;
    }
    fail_msg("never refused");
    return 0;
}

static void dispatch_until_taken(struct app *a, struct dispatch_ids *ids, int *numbers)
{
    int64_t end = harness_now_ms() + 60000;
    struct dispatch_failure failure = {0};

    while (dispatch(a, "note", *numbers, 10, ids, &failure)) {
        assert_int_equal(failure.code, DISPATCH_CODE_UNAVAILABLE);
        *numbers += 10;
        if (harness_now_ms() > end)
            fail_msg("still refused: %s", failure.message);
        harness_pause(20);
    }
    *numbers += 10;
}

static void expect_all_done(struct app *a, struct dispatch_ids *ids, int requests)
{
    for (int r = 0; r < requests; r++) {
        for (size_t i = 0; i < ids[r].count; i++) {
            struct dispatch_result result;

            OK(dispatch_client_wait(a->client, ids[r].id[i], 120000, &result, &failure));
            assert_null(result.error);
            dispatch_result_free(&result);
        }
        dispatch_ids_free(&ids[r]);
    }
}

static void test_failing_sync(void **state)
{
    struct app *a = setup();
    struct dispatch_ids ids[200] = {0};
    int numbers = 0, n = 0;

    (void)state;
    a->h.preload = failing_sync;
    setenv("FAILING_SYNC", harness_path(&a->h, "failing"), 1);
    a->timeout_ms = 3000; /* so long it tries again before it says that it was refused */
    harness_start(&a->h);
    start_app(a);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++, numbers += 10)
            OK(dispatch(a, "note", numbers, 10, &ids[n++], &failure));
        close(open(getenv("FAILING_SYNC"), O_WRONLY | O_CREAT, 0600));
        n += dispatch_until_refused(a, &ids[n], &numbers, 20);
        unlink(getenv("FAILING_SYNC"));
        dispatch_until_taken(a, &ids[n++], &numbers);
    }
    expect_all_done(a, ids, n);
    harness_until(&a->h, nothing_live, NULL, 60);
    harness_stop(&a->h);
    harness_start(&a->h); /* what the disk has is whole */
    harness_stop(&a->h);
    stop_app(a);
    unsetenv("FAILING_SYNC");
    teardown(a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_suspended),
        cmocka_unit_test(test_failing_sync),
    };

    if (argc < 3)
        return 2;
    binary = argv[1];
    failing_sync = argv[2];
    if (argc > 3)
        cmocka_set_test_filter(argv[3]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
