// SPDX-License-Identifier: Apache-2.0
/* How many suspended functions are kept, and what they may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/blob.h"
#include "sdk/journal.h"
#include "sdk/suspended.h"

enum { LARGE = 100000 };

static int dropped;

static void count_drop(void *arg)
{
    (void)arg;
    dropped++;
}

/* Waits, with so many bytes of memory. */
static struct dispatch_result waits(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t size = 0;

    dispatch_as_int(input, &size);
    dispatch_alloc(ctx, (size_t)size);
    dispatch_defer(ctx, count_drop, NULL);
    dispatch_sleep(ctx, 3600 * 1000);
    return dispatch_ok(dispatch_null());
}

static void run(struct sdk_coroutines *coroutines, dispatch_function *function, int call,
                int64_t input)
{
    struct dispatch_run_request request = {.function = "waits", .input = dispatch_int(input)};
    struct sdk_answer answer;
    struct dispatch_ctx *ctx;
    char id[16];
    void *bytes;
    size_t size;

    snprintf(id, sizeof id, "call-%d", call);
    request.dispatch_id = id;
    assert_int_equal(dispatch_run_request_pack(&request, &bytes, &size, NULL), 0);
    assert_int_equal(sdk_ctx_unpack(slice(bytes, size), (size_t)64 << 20, &ctx, NULL), 0);
    assert_int_equal(sdk_coroutines_run(coroutines, function, ctx, 1, &answer, NULL), 0);
    sdk_answer_free(&answer);
    dispatch_bytes_free(bytes);
}

static void create(struct sdk_coroutines_options options, struct sdk_coroutines **coroutines)
{
    options.registry = dispatch_registry_default();
    dropped = 0;
    assert_int_equal(sdk_coroutines_create(&options, coroutines, NULL), 0);
}

static size_t kept(struct sdk_coroutines *coroutines)
{
    size_t count, bytes;

    sdk_coroutines_kept(coroutines, &count, &bytes);
    assert_true((count == 0) == (bytes == 0));
    return count;
}

static void test_count(void **state)
{
    struct sdk_coroutines *coroutines;

    (void)state;
    create((struct sdk_coroutines_options){.max_suspended = 3}, &coroutines);
    for (int i = 0; i < 5; i++)
        run(coroutines, waits, i, 0);
    assert_int_equal(kept(coroutines), 3);
    assert_int_equal(dropped, 2);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-1")), 0);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-2")), 1);
    sdk_coroutines_destroy(coroutines);
    assert_int_equal(dropped, 5);
}

static void test_none(void **state)
{
    struct sdk_coroutines *coroutines;

    (void)state;
    create((struct sdk_coroutines_options){.max_suspended = -1}, &coroutines);
    run(coroutines, waits, 0, 0);
    assert_int_equal(kept(coroutines), 0);
    assert_int_equal(dropped, 1);
    sdk_coroutines_destroy(coroutines);
}

static void test_bytes(void **state)
{
    struct sdk_coroutines *coroutines;
    size_t count, bytes;

    (void)state;
    create((struct sdk_coroutines_options){.max_suspended_bytes = (size_t)10 * LARGE}, &coroutines);
    for (int i = 0; i < 3; i++)
        run(coroutines, waits, i, LARGE);
    sdk_coroutines_kept(coroutines, &count, &bytes);
    assert_int_equal(count, 3);
    assert_in_range(bytes, 3 * LARGE, 6 * LARGE);
    /* A larger one takes the places of those that waited longest. */
    run(coroutines, waits, 3, 7 * LARGE);
    sdk_coroutines_kept(coroutines, &count, &bytes);
    assert_int_equal(count + (size_t)dropped, 4);
    assert_in_range(dropped, 1, 3);
    assert_in_range(bytes, 7 * LARGE, 10 * LARGE);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-0")), 0);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-3")), 1);
    /* One that would not fit alone leaves the others where they are. */
    run(coroutines, waits, 4, 11 * LARGE);
    assert_int_equal(kept(coroutines), count);
    assert_int_equal(sdk_coroutines_worker(coroutines, slice_str("call-4")), 0);
    sdk_coroutines_destroy(coroutines);
    assert_int_equal(dropped, 5);
}

/* --- which of them goes on ---------------------------------------------------------------------
 */

struct resumption {
    struct sdk_coroutines *coroutines;
    const char *function;
    uint32_t generation;
    bool other_journal;
};

/* A run of call 0, its stack's first if `state` is NULL; the state that it is left with. */
static void run_once(const struct resumption *r, struct blob **state)
{
    struct dispatch_run_request request = {.function = r->function,
                                           .dispatch_id = "call-0",
                                           .input = dispatch_int(r->other_journal ? 8 : 7),
                                           .resume = *state != NULL,
                                           .now_ns = 1700000000000000000,
                                           .generation = r->generation};
    struct dispatch_response response;
    struct sdk_answer answer;
    struct dispatch_ctx *ctx;
    const void *journal;
    void *bytes;
    size_t size;

    if (*state)
        request.state =
            dispatch_message("x/" JOURNAL_TYPE, blob_slice(*state).data, blob_slice(*state).len);
    assert_int_equal(dispatch_run_request_pack(&request, &bytes, &size, NULL), 0);
    assert_int_equal(sdk_ctx_unpack(slice(bytes, size), (size_t)64 << 20, &ctx, NULL), 0);
    dispatch_bytes_free(bytes);
    assert_int_equal(sdk_coroutines_run(r->coroutines, waits, ctx, 1, &answer, NULL), 0);
    assert_int_equal(dispatch_response_unpack(answer.bytes, answer.size, &response, NULL), 0);
    assert_non_null(response.poll);
    if (!*state) {
        journal = dispatch_as_message(response.poll->state, NULL, &size);
        assert_non_null(journal);
        *state = blob_copy(slice(journal, size));
    }
    dispatch_response_free(&response);
    sdk_answer_free(&answer);
}

static void *resume_on_thread(void *arg)
{
    struct blob **state = ((void **)arg)[1];

    run_once(((void **)arg)[0], state);
    return NULL;
}

/* A stack goes on for the same call, function, generation and journal, on its thread; else it is
 * dropped before the replay. */
static void test_goes_on(void **state)
{
    static const struct {
        struct resumption resumption;
        bool on_thread;
        int dropped;
    } cases[] = {
        {{NULL, "waits", 3, false}, false, 0}, {{NULL, "waits", 3, false}, true, 1},
        {{NULL, "waits", 4, false}, false, 1}, {{NULL, "waits_too", 3, false}, false, 1},
        {{NULL, "waits", 3, true}, false, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct resumption first = {NULL, "waits", 3, false}, then = cases[i].resumption;
        struct blob *journal = NULL, *other = NULL;
        struct sdk_coroutines *elsewhere;
        void *args[] = {&then, &journal};
        pthread_t thread;

        create((struct sdk_coroutines_options){0}, &elsewhere);
        create((struct sdk_coroutines_options){0}, &first.coroutines);
        run_once(&first, &journal);
        then.coroutines = elsewhere;
        if (then.other_journal) {
            run_once(&then, &other);
            blob_unref(journal);
            journal = other;
        }
        then.coroutines = first.coroutines;
        if (cases[i].on_thread) {
            assert_int_equal(pthread_create(&thread, NULL, resume_on_thread, args), 0);
            pthread_join(thread, NULL);
        } else {
            run_once(&then, &journal);
        }
        assert_int_equal(dropped, cases[i].dropped);
        assert_int_equal(kept(first.coroutines), 1);
        sdk_coroutines_destroy(first.coroutines);
        sdk_coroutines_destroy(elsewhere);
        blob_unref(journal);
    }
}

/* Uses more of its stack than the default has. */
static struct dispatch_result deep(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    char large[600000];

    memset(large, 1, sizeof large);
    dispatch_random(ctx);
    return dispatch_ok(large[input.size_ % sizeof large] ? input : dispatch_null());
}

static void test_stack_size(void **state)
{
    struct sdk_coroutines *coroutines;

    (void)state;
    create((struct sdk_coroutines_options){.stack_size = 1 << 20}, &coroutines);
    run(coroutines, deep, 0, 1);
    sdk_coroutines_destroy(coroutines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),      cmocka_unit_test(test_none),
        cmocka_unit_test(test_bytes),      cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_stack_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
