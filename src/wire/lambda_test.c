// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wire/wire.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 16);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_reset(&arena);
    return 0;
}

static int unpack(const char *payload, wire_run_request **request, struct error *err)
{
    return wire_lambda_unpack(&dispatch__sdk__v1__run_request__descriptor, slice_str(payload),
                              &arena, request, err);
}

static void test_payload(void **state)
{
    wire_run_request request = DISPATCH__SDK__V1__RUN_REQUEST__INIT, *back;
    struct blob *payload;

    (void)state;
    request.function = (char *)"greet";
    request.dispatch_id = (char *)"1";
    payload = wire_lambda_payload(&request);
    assert_non_null(payload);
    assert_true(slice_eq_str(blob_slice(payload), "\"CgVncmVldCIBMQ==\""));
    blob_unref(payload);
    assert_int_equal(unpack(" \"CgVncmVldCIBMQ==\"\n", &back, NULL), CODE_OK);
    assert_string_equal(back->function, "greet");
    assert_string_equal(back->dispatch_id, "1");
    assert_int_equal(unpack("\"\"", &back, NULL), CODE_OK);
    assert_string_equal(back->function, "");
}

static void test_what_is_none(void **state)
{
    static const struct {
        const char *payload, *error;
    } rows[] = {
        {"", "not valid JSON"},
        {"CgVncmVldCIBMQ==", "not valid JSON"},
        {"null", "expected a string of base64, got null"},
        {"{\"a\":1}", "expected a string of base64, got an object"},
        {"\"CgVn!\"", "not base64"},
        {"\"CgVnc\"", "not base64"},
        {"\"CgVncmVl\"", ""}, /* cut short */
    };
    wire_run_request *request;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(unpack(rows[i].payload, &request, &err), CODE_INVALID_ARGUMENT);
        assert_int_equal(err.code, CODE_INVALID_ARGUMENT);
        if (!strstr(err.message, rows[i].error))
            fail_msg("%s: %s", rows[i].payload, err.message);
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *payload, *type, *message;
    } rows[] = {
        {"{\"errorMessage\":\"no\",\"errorType\":\"ValueError\"}", "ValueError", "no"},
        {"{\"Type\":\"User\",\"Message\":\"no\"}", "User", "no"},
        {"{\"message\":\"no\"}", NULL, "no"},
        {"{\"errorMessage\":7,\"errorType\":null}", NULL, NULL},
        {"\"text\"", NULL, NULL},
        {"<html>", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *type, *message;

        wire_lambda_error(slice_str(rows[i].payload), &arena, &type, &message);
        assert_int_equal(!type, !rows[i].type);
        assert_int_equal(!message, !rows[i].message);
        if (type)
            assert_string_equal(type, rows[i].type);
        if (message)
            assert_string_equal(message, rows[i].message);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(test_payload), TEST(test_what_is_none),
                                       TEST(test_errors)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
