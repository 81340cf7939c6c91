// SPDX-License-Identifier: Apache-2.0
/* The tables of protocol 3.3, each row: what came back for a run, and the status that it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/judge.h"
#include "wire/wire.h"

#define ENDPOINT "http://app:8000"

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

/* One that is no RunResponse. */
static struct run_failure judge(const struct net_response *response)
{
    wire_run_response *message;
    struct run_failure failure;

    assert_false(judge_response(response, slice_str(ENDPOINT), &arena, &message, &failure));
    assert_memory_equal(failure.message, ENDPOINT ": ", sizeof ENDPOINT + 1);
    return failure;
}

static struct run_failure judge_http(int status, const char *type, const char *body)
{
    const struct net_header header = {slice_str("content-type"), slice_str(type ? type : "")};
    const struct net_response response = {.status = status,
                                          .headers = &header,
                                          .header_count = type != NULL,
                                          .body = slice_str(body)};
    struct run_failure failure = judge(&response);

    assert_int_equal(failure.http_status, status);
    assert_false(failure.transport);
    assert_int_equal(failure.too_large, status == 413);
    return failure;
}

/* By the code in the body, whatever the HTTP status is. */
static void test_connect_codes(void **state)
{
    static const struct {
        const char *code;
        enum status status;
    } rows[] = {
        {"canceled", STATUS_TIMEOUT},
        {"unknown", STATUS_TEMPORARY_ERROR},
        {"invalid_argument", STATUS_INVALID_ARGUMENT},
        {"deadline_exceeded", STATUS_TIMEOUT},
        {"not_found", STATUS_NOT_FOUND},
        {"already_exists", STATUS_PERMANENT_ERROR},
        {"permission_denied", STATUS_PERMISSION_DENIED},
        {"resource_exhausted", STATUS_THROTTLED},
        {"failed_precondition", STATUS_PERMANENT_ERROR},
        {"aborted", STATUS_PERMANENT_ERROR},
        {"out_of_range", STATUS_INVALID_ARGUMENT},
        {"unimplemented", STATUS_NOT_FOUND},
        {"internal", STATUS_TEMPORARY_ERROR},
        {"unavailable", STATUS_TEMPORARY_ERROR},
        {"data_loss", STATUS_PERMANENT_ERROR},
        {"unauthenticated", STATUS_UNAUTHENTICATED},
    };
    static const char *const types[] = {"application/json", "application/json; charset=utf-8"};
    static const short statuses[] = {302, 400, 404, 500, 503};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[128];

        snprintf(body, sizeof body, "{\"code\":\"%s\",\"message\":\"because\"}", rows[i].code);
        for (size_t k = 0; k < sizeof statuses / sizeof *statuses; k++) {
            struct run_failure failure = judge_http(statuses[k], types[k % 2], body);

            assert_int_equal(failure.status, rows[i].status);
            assert_string_equal(failure.type, rows[i].code);
            assert_non_null(strstr(failure.message, "because"));
        }
    }
}

/* By the HTTP status, where the body is no Connect error. */
static void test_http_statuses(void **state)
{
    static const struct {
        int from, to;
        enum status status;
    } rows[] = {
        {100, 199, STATUS_PERMANENT_ERROR},   {201, 299, STATUS_UNSPECIFIED},
        {300, 399, STATUS_PERMANENT_ERROR},   {400, 400, STATUS_INVALID_ARGUMENT},
        {401, 401, STATUS_UNAUTHENTICATED},   {402, 402, STATUS_PERMANENT_ERROR},
        {403, 403, STATUS_PERMISSION_DENIED}, {404, 404, STATUS_NOT_FOUND},
        {405, 407, STATUS_PERMANENT_ERROR},   {408, 408, STATUS_TIMEOUT},
        {409, 412, STATUS_PERMANENT_ERROR},   {413, 413, STATUS_TEMPORARY_ERROR},
        {414, 428, STATUS_PERMANENT_ERROR},   {429, 429, STATUS_THROTTLED},
        {430, 499, STATUS_PERMANENT_ERROR},   {500, 500, STATUS_TEMPORARY_ERROR},
        {501, 501, STATUS_PERMANENT_ERROR},   {502, 599, STATUS_TEMPORARY_ERROR},
        {600, 999, STATUS_UNSPECIFIED},
    };
    static const struct {
        const char *type, *body;
    } bodies[] = {
        {NULL, ""},
        {"text/plain", "no"},
        {"text/plain", "{\"code\":\"internal\"}"},
        {"application/json", "{\"detail\":\"no\"}"},
        {"application/json", "{\"code\":\"no such code\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int http = rows[i].from; http <= rows[i].to; http++) {
            size_t k = (size_t)http % (sizeof bodies / sizeof *bodies);
            struct run_failure failure = judge_http(http, bodies[k].type, bodies[k].body);

            if (failure.status != rows[i].status)
                fail_msg("%d: %s", http, status_name(failure.status));
            assert_string_equal(failure.type, "http");
        }
        arena_reset(&arena);
    }
}

static void test_not_a_run_response(void **state)
{
    static const struct {
        const char *type, *body;
    } rows[] = {
        {NULL, ""},
        {"text/plain", "hello"},
        {"application/json", "{}"},
        {"application/protobuf", ""},
        {"application/grpc", ""},
        {"application/proto", "\xff\xff"},
        {"application/proto", "\x12\x7f"}, /* cut short */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(judge_http(200, rows[i].type, rows[i].body).status,
                         STATUS_INVALID_RESPONSE);
}

static void test_no_response(void **state)
{
    static const struct {
        enum net_failure failure;
        enum status status;
    } rows[] = {
        {NET_DNS, STATUS_DNS_ERROR},
        {NET_TCP, STATUS_TCP_ERROR},
        {NET_TLS, STATUS_TLS_ERROR},
        {NET_TIMEOUT, STATUS_TIMEOUT},
        {NET_MALFORMED, STATUS_INVALID_RESPONSE},
        {NET_UNSUPPORTED, STATUS_HTTP_ERROR},
        {NET_TEMPORARY, STATUS_TEMPORARY_ERROR},
        {NET_FORBIDDEN, STATUS_PERMISSION_DENIED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct net_response response = {.failure = rows[i].failure,
                                              .message = "connect to app:8000: because"};
        struct run_failure failure = judge(&response);

        assert_int_equal(failure.status, rows[i].status);
        assert_string_equal(failure.type, "transport");
        assert_string_equal(failure.message, ENDPOINT ": because");
        assert_int_equal(failure.transport, rows[i].failure != NET_FORBIDDEN);
        assert_int_equal(failure.http_status, 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_connect_codes),
        TEST(test_http_statuses),
        TEST(test_not_a_run_response),
        TEST(test_no_response),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
