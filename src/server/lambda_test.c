// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/lambda.h"
#include "wire/wire.h"

#define F       "arn:aws:lambda:eu-west-1:123456789012:function:my-fn_1"
#define ESCAPED "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Amy-fn_1"

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

static void test_url(void **state)
{
    static const char *const bad[] = {"", "lambda:3001", "ftp://host", "http://"};
    struct net_url url;

    (void)state;
    assert_int_equal(lambda_url("https://proxy:8443/a", &url, NULL), CODE_OK);
    assert_int_equal(url.port, 8443);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(lambda_url(bad[i], &url, NULL), CODE_INVALID_ARGUMENT);
}

static int target(const char *base, const char *arn, const char *version, struct slice *out)
{
    struct net_url url;

    assert_int_equal(lambda_url(base, &url, NULL), CODE_OK);
    return lambda_target(&url, slice_str(arn), slice_str(version), &arena, out, NULL);
}

static void test_targets(void **state)
{
    static const struct {
        const char *url, *arn, *version, *target;
    } rows[] = {
        {"http://h", F, "", "/2015-03-31/functions/" ESCAPED "/invocations"},
        {"http://h/", F, "7", "/2015-03-31/functions/" ESCAPED "/invocations?Qualifier=7"},
        {"http://h/a//?b=1", F, "$LATEST",
         "/a/2015-03-31/functions/" ESCAPED "/invocations?b=1&Qualifier=%24LATEST"},
        {"http://h", F ":live", "7", "/2015-03-31/functions/" ESCAPED "%3Alive/invocations"},
        {"http://h/2015-03-31/functions/function/invocations", F, "",
         "/2015-03-31/functions/function/invocations"},
    };
    struct slice made;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(target(rows[i].url, rows[i].arn, rows[i].version, &made), CODE_OK);
        if (!slice_eq_str(made, rows[i].target))
            fail_msg("%.*s", SLICE_FMT(made));
    }
}

static void test_arns_of_something_else(void **state)
{
    static const char *const arns[] = {
        "arn:aws:lambda",
        "arn:aws:lambda:",
        "arn:aws:lambda:eu-west-1:1:function",
        "arn:aws:lambda:eu-west-1:1:function:",
        "arn:aws:lambda:eu-west-1:1:layer:f",
        "arn:aws:lambda:eu-west-1:1:functions:f",
        "arn:aws:lambda:eu-west-1::function:f",
        F ":live:",
        F ":live:more",
        "arn:aws:lambda:eu-west-1:1:function:a/../b",
        "arn:aws:lambda:eu-west-1:1:function:a?b",
        "arn:aws:lambda:eu-west-1:1:function:a b",
        "arn:aws:s3:eu-west-1:1:function:f",
    };
    struct slice made;

    (void)state;
    for (size_t i = 0; i < sizeof arns / sizeof *arns; i++) {
        if (target("http://h", arns[i], "", &made) != CODE_INVALID_ARGUMENT)
            fail_msg("%s", arns[i]);
    }
    assert_int_equal(target("http://h", F, "1&x=2", &made), CODE_INVALID_ARGUMENT);
}

#define OK_RESPONSE "\"CAE=\"" /* status: STATUS_OK */

static void test_responses(void **state)
{
    static const struct net_header failed[] = {{{"x-amz-function-error", 20}, {"Unhandled", 9}}};
    static const struct {
        int http;
        bool failed;
        const char *body;
        enum status status;
        const char *type, *message; /* type NULL: good */
    } rows[] = {
        {200, false, OK_RESPONSE, STATUS_OK, NULL, NULL},
        {200, false, "null", STATUS_INVALID_RESPONSE, "invalid response", "expected a string"},
        {200, false, "\"/w==\"", STATUS_INVALID_RESPONSE, "invalid response", "RunResponse"},
        {200, true, "{\"errorType\":\"ValueError\",\"errorMessage\":\"no such\"}",
         STATUS_TEMPORARY_ERROR, "ValueError", "the function failed: no such"},
        {200, true, "{\"errorType\":\"Sandbox.Timedout\",\"errorMessage\":\"after 3 s\"}",
         STATUS_TIMEOUT, "Sandbox.Timedout", "after 3 s"},
        {200, true, "{\"errorType\":\"Bad Request\",\"errorMessage\":\"empty payload\"}",
         STATUS_INVALID_ARGUMENT, "Bad Request", "empty payload"},
        {200, true, OK_RESPONSE, STATUS_TEMPORARY_ERROR, "lambda", "the function failed"},
        {403, false, "{\"Message\":\"not you\"}", STATUS_PERMISSION_DENIED, "http", "403: not you"},
        {404, false, "{\"Type\":\"User\",\"message\":\"no function\"}", STATUS_NOT_FOUND, "http",
         "404: no function"},
        {429, false, "{}", STATUS_THROTTLED, "http", "429"},
        {502, false, "", STATUS_TEMPORARY_ERROR, "http", "502"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_response response = {.status = rows[i].http, .body = slice_str(rows[i].body)};
        wire_run_response *message = NULL;
        struct run_failure failure;
        bool good;

        response.headers = failed;
        response.header_count = rows[i].failed;
        good = lambda_judge(&response, slice_str(F), &arena, &message, &failure);
        assert_int_equal(good, !rows[i].type);
        if (good) {
            assert_int_equal(message->status, rows[i].status);
            continue;
        }
        assert_int_equal(failure.status, rows[i].status);
        assert_string_equal(failure.type, rows[i].type);
        assert_non_null(strstr(failure.message, F ": "));
        if (!strstr(failure.message, rows[i].message))
            fail_msg("%s", failure.message);
        assert_false(failure.transport || failure.too_large);
    }
}

static void test_other_failures(void **state)
{
    struct net_response response = {.failure = NET_TCP, .message = "connect to h: refused"};
    wire_run_response *message;
    struct run_failure failure;

    (void)state;
    assert_false(lambda_judge(&response, slice_str(F), &arena, &message, &failure));
    assert_int_equal(failure.status, STATUS_TCP_ERROR);
    assert_true(failure.transport);
    response = (struct net_response){.status = 413, .body = slice_str("{\"Message\":\"6 MB\"}")};
    assert_false(lambda_judge(&response, slice_str(F), &arena, &message, &failure));
    assert_int_equal(failure.status, STATUS_TEMPORARY_ERROR);
    assert_true(failure.too_large);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_url),       TEST(test_targets),        TEST(test_arns_of_something_else),
        TEST(test_responses), TEST(test_other_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
