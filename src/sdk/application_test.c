// SPDX-License-Identifier: Apache-2.0
/*
 * An application, its functions and its client, with a real orchestrator: whichever the environment
 * asks for, as for dispatch_run. What is promised is the same in every mode (tests/sdk/modes.sh
 * runs it in all). If nothing is asked for it is embedded, on a store of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sdk/internal.h"

enum { PATIENCE_MS = 60000 };

static char dir[64];
static struct sdk_app app;
static struct dispatch_failure failure;

/* --- functions ------------------------------------------------------------------------------- */

static int64_t int_of(struct dispatch_value value)
{
    int64_t n = INT64_MIN;

    dispatch_as_int(value, &n);
    return n;
}

static struct dispatch_result twice(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t n;

    if (!dispatch_as_int(input, &n))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoNumber", "not a number");
    return dispatch_ok(dispatch_int(2 * n));
}

static struct dispatch_result sum(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[20];
    struct dispatch_result results[20];
    int64_t total = 0;
    size_t n = (size_t)int_of(input);

    for (size_t i = 0; i < n; i++)
        tasks[i] = dispatch_start(ctx, "twice", dispatch_int((int64_t)i));
    if (dispatch_all(ctx, tasks, n, results))
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Failed", "one of them failed");
    for (size_t i = 0; i < n; i++)
        total += int_of(results[i].output);
    return dispatch_ok(dispatch_int(total));
}

static struct dispatch_output plain(struct dispatch_ctx *ctx, const struct dispatch_input *input)
{
    struct dispatch_value value = dispatch_null();

    dispatch_input_value(input, &value, NULL);
    return dispatch_output_value(ctx, value);
}

static void raw(void *arg, struct dispatch_request *request)
{
    struct dispatch_ctx *ctx = NULL;
    struct dispatch_output output;
    const void *bytes;
    size_t size;

    (void)arg;
    bytes = dispatch_request_bytes(request, &size);
    assert_int_equal(dispatch_ctx_create(bytes, size, &ctx, NULL), 0);
    output = dispatch_output_value(ctx, dispatch_string(dispatch_request_function(request)));
    bytes = dispatch_output_bytes(output, &size);
    dispatch_request_answer(request, bytes, size);
    dispatch_ctx_destroy(ctx);
}

/* The key of the calls of this run of the test, whatever is in the store. */
static const char *key_of(char text[64], int64_t n)
{
    snprintf(text, 64, "key-%ld-%lld", (long)getpid(), (long long)n);
    return text;
}

/* Waits for somebody outside, under a key that is its input. */
static struct dispatch_result asks(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to("answer", input);
    char key[64];

    call.endpoint = "event:";
    call.key = key_of(key, int_of(input));
    return dispatch_call_with(ctx, &call);
}

static atomic_int attempts;

/* Fails for passing reasons at first. */
static struct dispatch_result flaky(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    if (atomic_fetch_add(&attempts, 1) < 2)
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Flaky", "not now");
    return dispatch_ok(input);
}

static struct dispatch_result repeats(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    size_t size = (size_t)int_of(input);
    char *text = dispatch_alloc(ctx, size);

    memset(text, 'x', size);
    return dispatch_ok(dispatch_bytes(text, size));
}

/* Dispatches three calls while it runs, which go on without it; their ids, in one text. */
static struct dispatch_result dispatches(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_call calls[] = {dispatch_to("twice", dispatch_int(1)),
                                    dispatch_to("twice", dispatch_int(2)),
                                    dispatch_to("twice", dispatch_int(3))};
    struct dispatch_ids ids = {0};
    const char *text = "";

    dispatch_sleep(ctx, 1);
    if (dispatch_registry_dispatch(NULL, calls, 3, &ids, NULL))
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Dispatch", "it failed");
    for (size_t i = 0; i < ids.count; i++)
        text = dispatch_printf(ctx, "%s%s ", text, ids.id[i]);
    dispatch_ids_free(&ids);
    if (dispatch_call(ctx, "twice", input).error) /* the journal has the ids from here on */
        return dispatch_ok(dispatch_null());
    return dispatch_ok(dispatch_string(text));
}

/* --- the world ------------------------------------------------------------------------------- */

static int begin_all(void **state)
{
    char store[128];

    (void)state;
    unsetenv("DISPATCH_REPLAY");
    dispatch_register(NULL, "twice", twice, NULL);
    dispatch_register(NULL, "sum", sum, NULL);
    dispatch_register(NULL, "asks", asks, NULL);
    dispatch_register(NULL, "flaky", flaky, NULL);
    dispatch_register(NULL, "repeats", repeats, NULL);
    dispatch_register(NULL, "dispatches", dispatches, NULL);
    dispatch_register_primitive(NULL, "plain", plain, NULL);
    dispatch_register_raw(NULL, "raw", raw, NULL, NULL);
    if (getenv("DISPATCH_STORE") || getenv("DISPATCH_API_URL"))
        return 0;
    memcpy(dir, "/tmp/dispatch-application-XXXXXX", sizeof "/tmp/dispatch-application-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(store, sizeof store, "sqlite:%s/calls.db", dir);
    return setenv("DISPATCH_STORE", store, 1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int end_all(void **state)
{
    (void)state;
    dispatch_registry_close(dispatch_registry_default());
    return *dir ? nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) : 0;
}

static int begin(void **state)
{
    static const struct dispatch_run_options options;

    (void)state;
    app = (struct sdk_app){0};
    if (sdk_app_start(&app, &options, &failure) == 0)
        return 0;
    print_message("%s\n", failure.message);
    sdk_app_stop(&app);
    return -1;
}

static int end(void **state)
{
    (void)state;
    sdk_app_stop(&app);
    return 0;
}

/* Dispatches one call; its id is the caller's to free. */
static char *dispatch_one(const char *function, struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to(function, input);
    struct dispatch_ids ids = {0};
    char *id;

    if (dispatch_registry_dispatch(NULL, &call, 1, &ids, &failure))
        fail_msg("%s", failure.message);
    assert_int_equal(ids.count, 1);
    id = strdup(ids.id[0]);
    dispatch_ids_free(&ids);
    return id;
}

static struct dispatch_result wait_for(const char *id)
{
    struct dispatch_result result = {0};

    if (dispatch_client_wait(app.client, id, PATIENCE_MS, &result, &failure))
        fail_msg("%s", failure.message);
    return result;
}

static int64_t wait_int(const char *id)
{
    struct dispatch_result result = wait_for(id);
    int64_t n;

    if (result.error)
        fail_msg("%s: %s", result.error->type, result.error->message);
    n = int_of(result.output);
    dispatch_result_free(&result);
    return n;
}

/* --- results --------------------------------------------------------------------------------- */

static void run_fails(const char *function, struct dispatch_value input,
                      enum dispatch_status status, const char *type, const char *message)
{
    struct dispatch_result result = dispatch_run(dispatch_to(function, input));

    assert_non_null(result.error);
    assert_string_equal(result.error->type, type);
    assert_non_null(strstr(result.error->message, message));
    assert_int_equal(result.status, status);
    dispatch_result_free(&result);
}

/* The whole of it in one call, several times in one process. */
static void test_run(void **state)
{
    struct dispatch_result result = dispatch_run(dispatch_to("sum", dispatch_int(20)));

    (void)state;
    if (result.error)
        fail_msg("%s: %s", result.error->type, result.error->message);
    assert_int_equal(int_of(result.output), 380);
    assert_non_null(result.dispatch_id);
    dispatch_result_free(&result);
    run_fails("twice", dispatch_string("x"), DISPATCH_INVALID_ARGUMENT, "NoNumber", "not a number");
    run_fails("nowhere", dispatch_null(), DISPATCH_NOT_FOUND, "not_found",
              "function 'nowhere' does not exist");
}

static void test_kinds_of_functions(void **state)
{
    struct dispatch_result result;
    char *id = dispatch_one("plain", dispatch_int(7));

    (void)state;
    assert_int_equal(wait_int(id), 7);
    free(id);
    result = dispatch_call(NULL, "raw", dispatch_null());
    assert_null(result.error);
    assert_string_equal(dispatch_as_string(result.output, NULL), "raw");
    dispatch_result_free(&result);
}

static void test_retries(void **state)
{
    struct dispatch_call_info info;
    char *id;

    (void)state;
    atomic_store(&attempts, 0);
    id = dispatch_one("flaky", dispatch_int(9));
    assert_int_equal(wait_int(id), 9);
    assert_int_equal(dispatch_client_get(app.client, id, false, &info, NULL), 0);
    assert_int_equal(info.attempts, 3);
    assert_int_equal(atomic_load(&attempts), 3);
    dispatch_call_info_free(&info);
    free(id);
}

/* One of nearly as many bytes as there may be, and one of more: no output of the call then. */
static void test_large(void **state)
{
    char *id = dispatch_one("repeats", dispatch_int(3900000));
    struct dispatch_result result = wait_for(id);
    size_t size;

    (void)state;
    assert_null(result.error);
    assert_non_null(dispatch_as_bytes(result.output, &size));
    assert_int_equal(size, 3900000);
    dispatch_result_free(&result);
    free(id);
    id = dispatch_one("repeats", dispatch_int(4100000));
    result = wait_for(id);
    assert_non_null(result.error);
    assert_string_equal(result.error->type, "invalid_response");
    assert_non_null(strstr(result.error->message, "more than the 4000000 that are allowed"));
    dispatch_result_free(&result);
    free(id);
}

static void test_expiration(void **state)
{
    struct dispatch_call call = dispatch_to("asks", dispatch_int(77));
    struct dispatch_ids ids = {0};
    struct dispatch_result result;

    (void)state;
    call.expiration_ms = 1;
    assert_int_equal(dispatch_registry_dispatch(NULL, &call, 1, &ids, &failure), 0);
    result = wait_for(ids.id[0]);
    assert_non_null(result.error);
    assert_string_equal(result.error->type, "Expired");
    assert_int_equal(result.status, DISPATCH_TIMEOUT);
    dispatch_result_free(&result);
    dispatch_ids_free(&ids);
}

/* --- what the client is asked for ------------------------------------------------------------ */

static void test_many(void **state)
{
    enum { MANY = 1000 };
    struct dispatch_batch *batch = dispatch_batch_create(NULL);
    struct dispatch_ids ids = {0};

    (void)state;
    for (int i = 0; i < MANY; i++) {
        struct dispatch_call call = dispatch_to("twice", dispatch_int(i));

        assert_int_equal(dispatch_batch_add(batch, &call, NULL), 0);
    }
    assert_int_equal(dispatch_batch_dispatch(batch, &ids, &failure), 0);
    assert_int_equal(ids.count, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(wait_int(ids.id[i]), 2 * i);
    dispatch_ids_free(&ids);
    dispatch_batch_destroy(batch);
}

static void test_refusals(void **state)
{
    struct dispatch_call calls[2] = {dispatch_to("twice", dispatch_int(1)),
                                     dispatch_to("twice", dispatch_int(2))};
    struct dispatch_result result;
    char *id;

    (void)state;
    calls[1].endpoint = "gopher://x";
    assert_int_equal(dispatch_registry_dispatch(NULL, calls, 2, NULL, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "gopher"));
    assert_int_equal(dispatch_client_wait(app.client, "nobody", 1, &result, &failure),
                     DISPATCH_CODE_NOT_FOUND);
    assert_int_equal(dispatch_client_wait(app.client, "", 1, &result, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    id = dispatch_one("asks", dispatch_int(4));
    assert_int_equal(dispatch_client_wait(app.client, id, 1, &result, &failure),
                     DISPATCH_CODE_DEADLINE_EXCEEDED);
    assert_non_null(strstr(failure.message, "is not done after"));
    assert_int_equal(dispatch_client_cancel(app.client, id, NULL), 0);
    free(id);
}

static struct dispatch_operation *next_of(struct dispatch_client *client)
{
    struct dispatch_operation *operation;
    struct pollfd p = {.fd = dispatch_client_descriptor(client), .events = POLLIN};

    while (!(operation = dispatch_client_next(client)))
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    return operation;
}

static void test_without_blocking(void **state)
{
    struct dispatch_call call = dispatch_to("twice", dispatch_int(21));
    struct dispatch_operation *operation, *abandoned;
    struct dispatch_result result = {0};
    struct dispatch_ids ids = {0};

    (void)state;
    call.endpoint = dispatch_registry_endpoint(NULL, NULL);
    assert_int_equal(dispatch_client_begin_dispatch(app.client, &call, 1, &ids, &operation, NULL),
                     0);
    assert_ptr_equal(next_of(app.client), operation);
    assert_ptr_equal(dispatch_operation_arg(operation), &ids);
    assert_int_equal(dispatch_operation_ids(operation, &ids, NULL), 0);
    dispatch_operation_destroy(operation);
    assert_int_equal(dispatch_client_begin_wait(app.client, ids.id[0], -1, NULL, &abandoned, NULL),
                     0);
    dispatch_operation_destroy(abandoned);
    assert_int_equal(dispatch_client_begin_wait(app.client, ids.id[0], -1, NULL, &operation, NULL),
                     0);
    assert_ptr_equal(next_of(app.client), operation);
    assert_int_equal(dispatch_operation_result(operation, &result, NULL), 0);
    assert_int_equal(int_of(result.output), 42);
    dispatch_result_free(&result);
    dispatch_operation_destroy(operation);
    dispatch_ids_free(&ids);
}

/* The call, once it is suspended, with its state. */
static struct dispatch_call_info suspended(const char *id)
{
    struct dispatch_call_info info = {0};

    do {
        dispatch_call_info_free(&info);
        assert_int_equal(dispatch_client_get(app.client, id, true, &info, NULL), 0);
    } while (info.state != DISPATCH_CALL_SUSPENDED);
    return info;
}

static void test_complete(void **state)
{
    struct dispatch_result five = dispatch_ok(dispatch_int(5)), result;
    struct dispatch_error no = {.type = "No", .message = "never", .status = DISPATCH_NOT_FOUND};
    char *first = dispatch_one("asks", dispatch_int(1));
    char *second = dispatch_one("asks", dispatch_int(2));
    struct dispatch_result refusal = {.error = &no};
    char key[64];

    (void)state;
    assert_int_equal(dispatch_client_complete(app.client, NULL, key_of(key, 1), &five, NULL), 0);
    assert_int_equal(wait_int(first), 5);
    assert_int_equal(dispatch_client_complete(app.client, NULL, key_of(key, 2), &refusal, NULL), 0);
    result = wait_for(second);
    assert_non_null(result.error);
    assert_string_equal(result.error->type, "No");
    assert_int_equal(result.status, DISPATCH_NOT_FOUND);
    dispatch_result_free(&result);
    free(first);
    free(second);
}

static void test_cancel_and_restart(void **state)
{
    char *id = dispatch_one("asks", dispatch_int(3));
    struct dispatch_call_info info = suspended(id);
    struct dispatch_result result;
    const char *type = NULL;
    size_t size;

    (void)state;
    assert_string_equal(info.function, "asks");
    assert_int_equal(info.outstanding, 1);
    assert_int_equal(info.generation, 1);
    assert_memory_equal(dispatch_as_message(info.coroutine_state, &type, &size), "DJ", 2);
    assert_non_null(strstr(type, "Journal"));
    dispatch_call_info_free(&info);
    assert_int_equal(dispatch_client_restart(app.client, id, NULL), 0);
    info = suspended(id);
    assert_int_equal(info.generation, 2);
    dispatch_call_info_free(&info);
    assert_int_equal(dispatch_client_retry(app.client, id, NULL, NULL),
                     DISPATCH_CODE_FAILED_PRECONDITION);
    assert_int_equal(dispatch_client_cancel(app.client, id, NULL), 0);
    result = wait_for(id);
    assert_string_equal(result.error->type, "Cancelled");
    dispatch_result_free(&result);
    assert_int_equal(dispatch_client_cancel(app.client, id, NULL),
                     DISPATCH_CODE_FAILED_PRECONDITION);
    assert_int_equal(dispatch_client_cancel(app.client, "nobody", NULL), DISPATCH_CODE_NOT_FOUND);
    free(id);
}

static void test_retry(void **state)
{
    char *id = dispatch_one("twice", dispatch_int(21));
    struct dispatch_call_info info;
    struct dispatch_ids ids = {0};

    (void)state;
    assert_int_equal(wait_int(id), 42);
    assert_int_equal(dispatch_client_retry(app.client, id, &ids, NULL), 0);
    assert_int_equal(wait_int(ids.id[0]), 42);
    assert_int_equal(dispatch_client_get(app.client, ids.id[0], false, &info, NULL), 0);
    assert_string_equal(info.retry_of, id);
    assert_int_equal(info.state, DISPATCH_CALL_DONE);
    assert_true(dispatch_is_null(info.coroutine_state));
    dispatch_call_info_free(&info);
    dispatch_ids_free(&ids);
    free(id);
}

/* What a function dispatches in its middle, kept and replayed. */
static void test_inside(void **state)
{
    static const char *const replay[] = {"1000000", "always"};

    for (int i = 0; i < 2; i++) {
        struct dispatch_result result;
        char id[3][64], *caller;

        end(state);
        setenv("DISPATCH_REPLAY", replay[i], 1);
        assert_int_equal(begin(state), 0);
        unsetenv("DISPATCH_REPLAY");
        caller = dispatch_one("dispatches", dispatch_int(1));
        result = wait_for(caller);
        assert_null(result.error);
        assert_int_equal(
            sscanf(dispatch_as_string(result.output, NULL), "%63s %63s %63s", id[0], id[1], id[2]),
            3);
        for (int j = 0; j < 3; j++)
            assert_int_equal(wait_int(id[j]), 2 * (j + 1));
        dispatch_result_free(&result);
        free(caller);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),
        cmocka_unit_test_setup_teardown(test_kinds_of_functions, begin, end),
        cmocka_unit_test_setup_teardown(test_retries, begin, end),
        cmocka_unit_test_setup_teardown(test_large, begin, end),
        cmocka_unit_test_setup_teardown(test_expiration, begin, end),
        cmocka_unit_test_setup_teardown(test_many, begin, end),
        cmocka_unit_test_setup_teardown(test_refusals, begin, end),
        cmocka_unit_test_setup_teardown(test_without_blocking, begin, end),
        cmocka_unit_test_setup_teardown(test_complete, begin, end),
        cmocka_unit_test_setup_teardown(test_cancel_and_restart, begin, end),
        cmocka_unit_test_setup_teardown(test_retry, begin, end),
        cmocka_unit_test_setup_teardown(test_inside, begin, end),
    };

    return cmocka_run_group_tests(tests, begin_all, end_all);
}
