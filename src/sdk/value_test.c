// SPDX-License-Identifier: Apache-2.0
/* Values: what their readers say of them, and that each survives the way over the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/internal.h"

static void test_readers(void **state)
{
    struct dispatch_value zero = {0};
    int64_t number = 7;
    uint64_t natural = 7;
    double real = 7;
    bool truth = false;

    (void)state;
    assert_true(dispatch_is_null(zero));
    assert_true(dispatch_is_null(dispatch_string(NULL)));
    assert_false(dispatch_as_int(zero, &number));
    assert_int_equal(number, 7);

    assert_true(dispatch_as_int(dispatch_int(INT64_MIN), &number));
    assert_true(number == INT64_MIN);
    assert_true(dispatch_as_int(dispatch_uint(INT64_MAX), &number));
    assert_true(number == INT64_MAX);
    assert_false(dispatch_as_int(dispatch_uint((uint64_t)INT64_MAX + 1), &number));
    assert_true(dispatch_as_int(dispatch_double(-3), &number));
    assert_int_equal(number, -3);
    assert_false(dispatch_as_int(dispatch_double(0.5), &number));
    assert_false(dispatch_as_int(dispatch_double(0x1p63), &number));
    assert_false(dispatch_as_int(dispatch_double((double)NAN), &number));
    assert_true(dispatch_as_int(dispatch_json("12"), &number));
    assert_int_equal(number, 12);
    assert_false(dispatch_as_int(dispatch_json("\"12\""), &number));
    assert_false(dispatch_as_int(dispatch_string("12"), &number));

    assert_false(dispatch_as_uint(dispatch_int(-1), &natural));
    assert_true(dispatch_as_uint(dispatch_int(1), &natural));
    assert_int_equal(natural, 1);
    assert_true(dispatch_as_uint(dispatch_uint(UINT64_MAX), &natural));
    assert_true(natural == UINT64_MAX);

    assert_true(dispatch_as_double(dispatch_int(2), &real));
    assert_true(real == 2);
    assert_true(dispatch_as_bool(dispatch_bool(true), &truth));
    assert_true(truth);
    assert_false(dispatch_as_bool(dispatch_int(1), &truth));
    assert_string_equal(dispatch_kind_name(DISPATCH_MESSAGE), "message");
    assert_string_equal(dispatch_kind_name((enum dispatch_kind)99), "unknown");
}

static void test_bytes(void **state)
{
    const char *url = NULL;
    size_t size = 9;

    (void)state;
    assert_string_equal(dispatch_as_string(dispatch_string(""), &size), "");
    assert_int_equal(size, 0);
    assert_memory_equal(dispatch_as_bytes(dispatch_bytes("a\0b", 3), &size), "a\0b", 3);
    assert_int_equal(size, 3);
    assert_null(dispatch_as_bytes(dispatch_string("x"), &size));
    assert_non_null(dispatch_as_bytes(dispatch_bytes(NULL, 0), NULL));
    assert_memory_equal(dispatch_as_message(dispatch_message("a/b.C", "xy", 2), &url, &size), "xy",
                        2);
    assert_string_equal(url, "a/b.C");
}

/* Encodes and decodes; everything lies in the arena. */
static struct dispatch_value round_trip(struct arena *arena, struct dispatch_value value)
{
    struct dispatch_value back = dispatch_bool(true);
    struct error err = {0};
    wire_any *any = NULL;

    assert_int_equal(sdk_any_from_value(value, arena, &any, &err), 0);
    assert_int_equal(sdk_value_from_any(any, arena, &back, &err), 0);
    assert_int_equal(dispatch_value_kind(back), dispatch_value_kind(value));
    return back;
}

static void test_round_trips(void **state)
{
    struct arena arena;
    int64_t number = 0;
    uint64_t natural = 0;
    double real = 0;
    size_t size = 0;

    (void)state;
    arena_init(&arena, 1 << 20);
    round_trip(&arena, dispatch_null());
    assert_true(dispatch_as_int(round_trip(&arena, dispatch_int(INT64_MIN)), &number));
    assert_true(number == INT64_MIN);
    assert_true(dispatch_as_uint(round_trip(&arena, dispatch_uint(UINT64_MAX)), &natural));
    assert_true(natural == UINT64_MAX);
    assert_true(dispatch_as_double(round_trip(&arena, dispatch_double(0.1)), &real));
    assert_true(real == 0.1);
    assert_string_equal(
        dispatch_as_string(round_trip(&arena, dispatch_string_n("h\xc3\xa9xx", 3)), &size),
        "h\xc3\xa9");
    assert_int_equal(size, 3);
    dispatch_as_string(round_trip(&arena, dispatch_string_n("a\0b", 3)), &size);
    assert_int_equal(size, 3);
    assert_memory_equal(dispatch_as_bytes(round_trip(&arena, dispatch_bytes("\0\xff", 2)), &size),
                        "\0\xff", 2);
    assert_true(
        dispatch_as_timestamp(round_trip(&arena, dispatch_timestamp(-1500000001)), &number));
    assert_int_equal(number, -1500000001);
    assert_true(dispatch_as_duration(round_trip(&arena, dispatch_duration(-1)), &number));
    assert_int_equal(number, -1);
    assert_string_equal(dispatch_as_json(round_trip(&arena, dispatch_json("{\"a\":[1]}")), NULL),
                        "{\"a\":[1]}");
    dispatch_as_message(round_trip(&arena, dispatch_message("x/y.Z", "\1", 1)), NULL, &size);
    assert_int_equal(size, 1);
    arena_reset(&arena);
}

static void test_arguments(void **state)
{
    struct dispatch_argument inner[] = {{NULL, dispatch_int(5)}};
    struct dispatch_argument list[] = {{"limit", dispatch_int(10)},
                                       {NULL, dispatch_string("first")},
                                       {NULL, dispatch_arguments(inner, 1)}};
    struct dispatch_value back, value;
    struct arena arena;
    int64_t number = 0;
    size_t count = 0;

    (void)state;
    arena_init(&arena, 1 << 20);
    back = round_trip(&arena, dispatch_arguments(list, 3));
    assert_int_equal(dispatch_argument_count(back), 2);
    assert_true(dispatch_argument_at(back, 0, &value));
    assert_string_equal(dispatch_as_string(value, NULL), "first");
    assert_true(dispatch_argument_at(back, 1, &value));
    assert_true(dispatch_argument_at(value, 0, &value));
    assert_true(dispatch_as_int(value, &number));
    assert_int_equal(number, 5);
    assert_false(dispatch_argument_at(back, 2, &value));
    assert_true(dispatch_argument_named(back, "limit", &value));
    assert_false(dispatch_argument_named(back, "other", &value));
    assert_non_null(dispatch_argument_list(back, &count));
    assert_int_equal(count, 3);
    assert_int_equal(dispatch_argument_count(dispatch_int(1)), 0);
    assert_false(dispatch_argument_at(dispatch_int(1), 0, &value));
    round_trip(&arena, dispatch_arguments(NULL, 0));
    arena_reset(&arena);
}

static void refused(struct dispatch_value value, const char *message)
{
    struct arena arena;
    struct error err = {0};
    wire_any *any = NULL;

    arena_init(&arena, 1 << 20);
    assert_int_equal(sdk_any_from_value(value, &arena, &any, &err), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, message));
    assert_null(any);
    arena_reset(&arena);
}

static void test_refusals(void **state)
{
    struct dispatch_argument twice[] = {{"a", dispatch_null()}, {"a", dispatch_null()}};
    struct dispatch_argument nest[SDK_ARGUMENTS_DEPTH + 1];
    struct dispatch_argument *many = calloc(SDK_ARGUMENTS_MAX + 1, sizeof *many);

    (void)state;
    assert_non_null(many);
    for (size_t i = 0; i <= SDK_ARGUMENTS_DEPTH; i++)
        nest[i] = (struct dispatch_argument){NULL, i ? dispatch_arguments(&nest[i - 1], 1)
                                                     : dispatch_null()};
    refused(dispatch_string("\xff"), "a string value is not UTF-8");
    refused(dispatch_json("{"), "not valid JSON: {");
    refused(dispatch_message("", "x", 1), "needs a type URL");
    refused(dispatch_arguments(twice, 2), "argument 'a' is given twice");
    refused(dispatch_arguments(&nest[SDK_ARGUMENTS_DEPTH], 1), "nested more than");
    refused(dispatch_arguments(many, SDK_ARGUMENTS_MAX + 1), "more than 1000 arguments");
    refused((struct dispatch_value){.kind_ = 77}, "was it initialised?");
    free(many);
}

static void test_statuses(void **state)
{
    (void)state;
    assert_string_equal(dispatch_status_name(DISPATCH_TEMPORARY_ERROR), "TEMPORARY_ERROR");
    assert_true(dispatch_status_temporary(DISPATCH_THROTTLED));
    assert_true(dispatch_status_temporary(DISPATCH_INCOMPATIBLE_STATE));
    assert_false(dispatch_status_temporary(DISPATCH_NOT_FOUND));
    assert_string_equal(dispatch_code_name(DISPATCH_CODE_NOT_FOUND), "not_found");
}

/* The table of the manual, each number; what it does not name is TEMPORARY_ERROR. */
static void test_status_from_errno(void **state)
{
    static const struct {
        int number;
        enum dispatch_status status;
    } known[] = {
        {ETIMEDOUT, DISPATCH_TIMEOUT},        {ECONNREFUSED, DISPATCH_TCP_ERROR},
        {ECONNRESET, DISPATCH_TCP_ERROR},     {ECONNABORTED, DISPATCH_TCP_ERROR},
        {ENOTCONN, DISPATCH_TCP_ERROR},       {EPIPE, DISPATCH_TCP_ERROR},
        {ENETUNREACH, DISPATCH_TCP_ERROR},    {EHOSTUNREACH, DISPATCH_TCP_ERROR},
        {ENETDOWN, DISPATCH_TCP_ERROR},       {EHOSTDOWN, DISPATCH_TCP_ERROR},
        {ENETRESET, DISPATCH_TCP_ERROR},      {EADDRNOTAVAIL, DISPATCH_TCP_ERROR},
        {EACCES, DISPATCH_PERMISSION_DENIED}, {EPERM, DISPATCH_PERMISSION_DENIED},
        {ENOENT, DISPATCH_NOT_FOUND},         {EINVAL, DISPATCH_INVALID_ARGUMENT},
        {EDOM, DISPATCH_INVALID_ARGUMENT},    {EAGAIN, DISPATCH_TEMPORARY_ERROR},
        {EINTR, DISPATCH_TEMPORARY_ERROR},    {EMFILE, DISPATCH_TEMPORARY_ERROR},
        {ENFILE, DISPATCH_TEMPORARY_ERROR},   {EIO, DISPATCH_TEMPORARY_ERROR},
        {ENOSPC, DISPATCH_TEMPORARY_ERROR},
    };
    enum { COUNT = sizeof known / sizeof *known };

    (void)state;
    for (int number = 0; number < 200; number++) {
        enum dispatch_status expected = DISPATCH_TEMPORARY_ERROR;

        for (size_t i = 0; i < COUNT; i++)
            if (known[i].number == number)
                expected = known[i].status;
        assert_int_equal(dispatch_status_from_errno(number), expected);
    }
}

static void test_clean_text(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 16);
    assert_string_equal(sdk_clean_text(&arena, slice_str("a\xff\xc3\xa9\xe2\x82")), "a?\xc3\xa9??");
    assert_string_equal(sdk_clean_text(&arena, slice_str("")), "");
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers),           cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_round_trips),       cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_refusals),          cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_status_from_errno), cmocka_unit_test(test_clean_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
