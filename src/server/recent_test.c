// SPDX-License-Identifier: Apache-2.0
/* The ring of the last attempts, full and past that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/recent.h"

#define BEGIN 1000

static struct recent *recent;
static struct orchestrator_observer *observer;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(recent_create(&recent, BEGIN, NULL), CODE_OK);
    observer = recent_observer(recent);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    recent_destroy(recent);
    return 0;
}

static void start(uint64_t attempt, const char *id, const char *function)
{
    wire_run_request request = DISPATCH__SDK__V1__RUN_REQUEST__INIT;
    struct orchestrator_attempt a = {.attempt = attempt,
                                     .number = attempt + 1,
                                     .started = BEGIN + (int64_t)attempt,
                                     .request = &request,
                                     .endpoint = slice_str("http://a:1/path"),
                                     .org = slice_str("acme")};

    request.dispatch_id = (char *)(uintptr_t)id;
    request.function = (char *)(uintptr_t)function;
    observer->started(observer->arg, &a);
}

static void give_up(uint64_t attempt, const char *message)
{
    const struct run_failure failure = {
        .status = STATUS_THROTTLED, .type = "http", .message = message, .http_status = 429};
    const struct orchestrator_outcome o = {.attempt = attempt, .ended = 5000, .failure = &failure};

    observer->ended(observer->arg, &o);
}

/* The only attempt of the call. */
static const struct recent_attempt *of(const char *id)
{
    uint64_t place = 0;
    const struct recent_attempt *a = recent_next(recent, id, &place);

    assert_non_null(a);
    place++;
    assert_null(recent_next(recent, id, &place));
    return a;
}

static void test_outcomes(void **state)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    struct orchestrator_outcome o = {.ended = 5000};

    (void)state;
    for (uint64_t i = 0; i < 5; i++)
        start(i, (const char *[]){"a", "b", "c", "d", "e"}[i], "f");
    assert_int_equal(of("a")->outcome, RECENT_RUNNING);
    give_up(0, "slow down");
    assert_int_equal(of("a")->outcome, RECENT_FAILED);
    assert_int_equal(of("a")->status, STATUS_THROTTLED);
    assert_int_equal(of("a")->http_status, 429);
    assert_string_equal(of("a")->message, "slow down");
    assert_int_equal(of("a")->number, 1);
    assert_int_equal(of("a")->started, BEGIN);
    assert_int_equal(of("a")->ended, 5000);
    assert_true(of("a")->group == recent_group(slice_str("acme"), slice_str("http://a:1")));
    assert_false(of("a")->group == recent_group(slice_str("other"), slice_str("http://a:1")));
    give_up(0, "again"); /* it has ended */
    assert_string_equal(of("a")->message, "slow down");
    o.attempt = 1;
    o.response = &response;
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_NOT_FOUND;
    observer->ended(observer->arg, &o);
    assert_int_equal(of("b")->outcome, RECENT_EXIT);
    assert_int_equal(of("b")->status, STATUS_NOT_FOUND);
    response.status = (Dispatch__Sdk__V1__Status)70000;
    o.attempt = 2;
    observer->ended(observer->arg, &o);
    assert_int_equal(of("c")->status, 0);
    o.attempt = 3;
    o.response = NULL;
    observer->ended(observer->arg, &o);
    assert_int_equal(of("d")->outcome, RECENT_GIVEN_UP);
    assert_int_equal(of("e")->outcome, RECENT_RUNNING);
    assert_int_equal(recent_since(recent), BEGIN);
}

/* What is too long is cut between characters. */
static void test_long_texts(void **state)
{
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof text - 2] = '\0';
    start(7, "x", text);
    give_up(7, text);
    assert_int_equal(strlen(of("x")->function), RECENT_FUNCTION_MAX - 2);
    assert_int_equal(strlen(of("x")->message), RECENT_MESSAGE_MAX - 2);
    assert_true(slice_is_utf8(slice_str(of("x")->message)));
}

/* Written over: what is gone is not found, nor is its end; what is left is, though its attempt has
 * the same place among the chains. */
static void test_full(void **state)
{
    const struct recent_attempt *a;
    uint64_t place = 0, count = 0;

    (void)state;
    for (uint64_t i = 0; i < 2 * RECENT_MAX + 3; i++)
        start(i, i % 1000 ? "others" : "mine", "f");
    assert_int_equal(recent_end(recent), 2 * RECENT_MAX + 3);
    assert_int_equal(recent_since(recent), BEGIN + RECENT_MAX + 3);
    for (; (a = recent_next(recent, NULL, &place)); place++)
        assert_int_equal(a->attempt, RECENT_MAX + 3 + count++);
    assert_int_equal(count, RECENT_MAX);
    place = 0;
    for (count = 0; (a = recent_next(recent, "mine", &place)); place++, count++)
        assert_int_equal(a->attempt, 17000 + count * 1000);
    assert_int_equal(count, 16);
    give_up(2, "gone");
    give_up(RECENT_MAX + 2, "gone");
    give_up(RECENT_MAX + 3, "oldest");
    give_up(2 * RECENT_MAX + 2, "newest");
    place = count = 0;
    for (; (a = recent_next(recent, NULL, &place)); place++)
        count += a->outcome == RECENT_FAILED;
    assert_int_equal(count, 2);
    place = 0;
    assert_string_equal(recent_next(recent, NULL, &place)->message, "oldest");
    place = recent_end(recent) - 1;
    assert_string_equal(recent_next(recent, NULL, &place)->message, "newest");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_outcomes), TEST(test_long_texts), TEST(test_full)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
