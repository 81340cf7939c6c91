// SPDX-License-Identifier: Apache-2.0
/* Connect errors and statuses against the protocol's tables; checks of names and endpoints; times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/wire.h"

#define BYTES(text) slice(text, sizeof(text) - 1)

static void codes_and_http(void **state)
{
    static const short http[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                 400, 409, 400, 501, 500, 503, 500, 401};

    (void)state;
    for (int code = 0; code <= CODE_UNAUTHENTICATED; code++)
        assert_int_equal(wire_http_from_code(code), http[code]);
    assert_int_equal(wire_http_from_code(17), 500);
    assert_int_equal(wire_http_from_code(-1), 500);

    assert_int_equal(wire_code_from_http(400), CODE_INTERNAL);
    assert_int_equal(wire_code_from_http(401), CODE_UNAUTHENTICATED);
    assert_int_equal(wire_code_from_http(403), CODE_PERMISSION_DENIED);
    assert_int_equal(wire_code_from_http(404), CODE_UNIMPLEMENTED);
    assert_int_equal(wire_code_from_http(429), CODE_UNAVAILABLE);
    assert_int_equal(wire_code_from_http(502), CODE_UNAVAILABLE);
    assert_int_equal(wire_code_from_http(503), CODE_UNAVAILABLE);
    assert_int_equal(wire_code_from_http(504), CODE_UNAVAILABLE);
    assert_int_equal(wire_code_from_http(418), CODE_UNKNOWN);
}

static void statuses(void **state)
{
    static const enum status by_code[] = {
        STATUS_OK,
        STATUS_TIMEOUT,
        STATUS_TEMPORARY_ERROR,
        STATUS_INVALID_ARGUMENT,
        STATUS_TIMEOUT,
        STATUS_NOT_FOUND,
        STATUS_PERMANENT_ERROR,
        STATUS_PERMISSION_DENIED,
        STATUS_THROTTLED,
        STATUS_PERMANENT_ERROR,
        STATUS_PERMANENT_ERROR,
        STATUS_INVALID_ARGUMENT,
        STATUS_NOT_FOUND,
        STATUS_TEMPORARY_ERROR,
        STATUS_TEMPORARY_ERROR,
        STATUS_PERMANENT_ERROR,
        STATUS_UNAUTHENTICATED,
    };
    static const struct {
        int http;
        enum status status;
    } by_http[] = {
        {200, STATUS_INVALID_RESPONSE}, {400, STATUS_INVALID_ARGUMENT},
        {401, STATUS_UNAUTHENTICATED},  {403, STATUS_PERMISSION_DENIED},
        {404, STATUS_NOT_FOUND},        {408, STATUS_TIMEOUT},
        {429, STATUS_THROTTLED},        {501, STATUS_PERMANENT_ERROR},
        {100, STATUS_PERMANENT_ERROR},  {302, STATUS_PERMANENT_ERROR},
        {413, STATUS_PERMANENT_ERROR},  {500, STATUS_TEMPORARY_ERROR},
        {504, STATUS_TEMPORARY_ERROR},  {204, STATUS_UNSPECIFIED},
        {600, STATUS_UNSPECIFIED},
    };

    (void)state;
    for (int code = 0; code <= CODE_UNAUTHENTICATED; code++)
        assert_int_equal(wire_status_from_code(code), by_code[code]);
    assert_int_equal(wire_status_from_code(99), STATUS_PERMANENT_ERROR);
    for (size_t i = 0; i < sizeof by_http / sizeof *by_http; i++)
        assert_int_equal(wire_status_from_http(by_http[i].http), by_http[i].status);
}

static void error_bodies(void **state)
{
    struct buf body;
    struct error err = {0};

    (void)state;
    buf_init(&body, 4096);
    wire_connect_error(CODE_INVALID_ARGUMENT, "say \"please\"", &body);
    assert_string_equal(buf_cstr(&body),
                        "{\"code\":\"invalid_argument\",\"message\":\"say \\\"please\\\"\"}");
    assert_true(wire_connect_error_parse(buf_slice(&body), &err));
    assert_int_equal(err.code, CODE_INVALID_ARGUMENT);
    assert_string_equal(err.message, "say \"please\"");
    buf_reset(&body);
    wire_connect_error(CODE_CANCELED, NULL, &body);
    assert_string_equal(buf_cstr(&body), "{\"code\":\"canceled\"}");
    buf_free(&body);

    assert_true(wire_connect_error_parse(
        BYTES("{\"code\":\"not_found\",\"details\":[{\"type\":\"t\",\"value\":\"\"}]}"), &err));
    assert_int_equal(err.code, CODE_NOT_FOUND);
    assert_string_equal(err.message, "");
    assert_true(wire_connect_error_parse(BYTES("{\"code\":\"internal\"}"), NULL));
}

static void no_error_bodies(void **state)
{
    static const char *const bodies[] = {
        "",
        "not found",
        "null",
        "[]",
        "{}",
        "{\"code\":5}",
        "{\"code\":\"ok\"}",
        "{\"code\":\"nope\"}",
        "{\"code\":\"internal\",\"message\":1}",
        "{\"code\":\"internal\"",
    };
    struct error err = {.code = 77};

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        assert_false(wire_connect_error_parse(slice_str(bodies[i]), &err));
    assert_int_equal(err.code, 77);
}

static void long_error_message(void **state)
{
    struct buf body;
    struct error err;

    (void)state;
    buf_init(&body, 4096);
    buf_append_str(&body, "{\"code\":\"internal\",\"message\":\"x");
    for (int i = 0; i < 1000; i++)
        buf_append_str(&body, "\xc3\xa9");
    buf_append_str(&body, "\"}");
    assert_true(wire_connect_error_parse(buf_slice(&body), &err));
    assert_true(strlen(err.message) < ERROR_MESSAGE_MAX);
    assert_true(strlen(err.message) > ERROR_MESSAGE_MAX / 2);
    assert_true(slice_is_utf8(slice_str(err.message)));
    buf_free(&body);
}

static void function_names(void **state)
{
    char name[1025];

    (void)state;
    assert_true(wire_function_valid(BYTES("f")));
    assert_true(wire_function_valid(BYTES("_outer.<locals>.f2")));
    assert_false(wire_function_valid(BYTES("")));
    assert_false(wire_function_valid(BYTES("2f")));
    assert_false(wire_function_valid(BYTES(".f")));
    assert_false(wire_function_valid(BYTES("a-b")));
    assert_false(wire_function_valid(BYTES("a b")));
    assert_false(wire_function_valid(BYTES("a\0b")));
    assert_false(wire_function_valid(BYTES("a\n")));
    assert_false(wire_function_valid(BYTES("\xc3\xa9")));
    memset(name, 'a', sizeof name);
    assert_true(wire_function_valid(slice(name, 1024)));
    assert_false(wire_function_valid(slice(name, 1025)));
}

static void endpoints(void **state)
{
    static const char *const good[] = {
        "http://a",
        "https://example.com:443/x?y#z",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://[::1]",
        "http://a/",
        "http://a:",
        "http://a?q",
        "bridge://session",
        "event:",
        "event:payment",
        "arn:aws:lambda:us-west-2:012345678912:function:f",
    };
    static const char *const bad[] = {
        "",           "a",           "http://",        "http:///x",       "http://:80",
        "http://a:x", "http://[::1", "http://[]:80",   "http://a:123456", "http://a:65536",
        "ftp://a",    "HTTP://a",    "http://a b",     "http://a\n",      "http://\xc3\xa9",
        "bridge://",  "http:/a",     "http://u:p@a/x", "http://[::1]x",   "arn:aws:s3:::b",
    };
    struct error err;
    char text[2049];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (wire_endpoint_check(slice_str(good[i]), &err))
            fail_msg("%s: %s", good[i], err.message);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (wire_endpoint_check(slice_str(bad[i]), NULL) != CODE_INVALID_ARGUMENT)
            fail_msg("\"%s\" is taken", bad[i]);
    assert_int_equal(wire_endpoint_check(BYTES("ftp://a"), &err), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "http://, https://, bridge://, arn:aws:lambda or event:"));
    memset(text, 'a', sizeof text);
    memcpy(text, "http://", 7);
    assert_int_equal(wire_endpoint_check(slice(text, 2048), &err), 0);
    assert_int_equal(wire_endpoint_check(slice(text, 2049), &err), CODE_INVALID_ARGUMENT);
}

static void times(void **state)
{
    static const int64_t cases[] = {0,          1,           -1,        999999999, -999999999,
                                    1000000000, -1000000001, INT64_MAX, INT64_MIN};
    wire_timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    wire_duration d = GOOGLE__PROTOBUF__DURATION__INIT;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire_set_time(&t, cases[i]);
        assert_true(t.nanos >= 0 && t.nanos < 1000000000);
        wire_set_duration(&d, cases[i]);
        assert_true(d.seconds == 0 || d.nanos == 0 || (d.seconds < 0) == (d.nanos < 0));
        assert_true(wire_time_ns(&t) == cases[i] && wire_duration_ns(&d) == cases[i]);
    }
    t.seconds = d.seconds = INT64_MAX;
    assert_true(wire_time_ns(&t) == INT64_MAX && wire_duration_ns(&d) == INT64_MAX);
    t.seconds = d.seconds = INT64_MIN;
    assert_true(wire_time_ns(&t) == INT64_MIN && wire_duration_ns(&d) == INT64_MIN);
    assert_int_equal(wire_time_ns(NULL), 0);
    assert_int_equal(wire_duration_ns(NULL), 0);
}

static void type_names(void **state)
{
    (void)state;
    assert_true(slice_eq_str(wire_type_name(BYTES("a/b/c.D")), "c.D"));
    assert_true(slice_eq_str(wire_type_name(BYTES("c.D")), "c.D"));
    assert_int_equal(wire_type_name(BYTES("a/")).len, 0);
    assert_int_equal(wire_type_name(slice(NULL, 0)).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_and_http),     cmocka_unit_test(statuses),
        cmocka_unit_test(error_bodies),       cmocka_unit_test(no_error_bodies),
        cmocka_unit_test(long_error_message), cmocka_unit_test(function_names),
        cmocka_unit_test(endpoints),          cmocka_unit_test(times),
        cmocka_unit_test(type_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
