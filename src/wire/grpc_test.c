// SPDX-License-Identifier: Apache-2.0
/* The envelopes of gRPC, whole, cut short and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/wire.h"

static void test_frames(void **state)
{
    static const uint8_t two[] = "\0\0\0\0\3abc\1\0\0\0\0";
    struct slice body = slice(two, sizeof two - 1);
    struct wire_grpc_frame frame;
    struct error err;
    struct buf out;

    (void)state;
    assert_int_equal(wire_grpc_take(&body, &frame, &err), CODE_OK);
    assert_int_equal(frame.flags, 0);
    assert_true(slice_eq_str(frame.message, "abc"));
    assert_int_equal(wire_grpc_take(&body, &frame, &err), CODE_OK);
    assert_int_equal(frame.flags, WIRE_GRPC_COMPRESSED);
    assert_int_equal(frame.message.len, 0);
    assert_int_equal(body.len, 0);

    buf_init(&out, 100);
    wire_grpc_put_prefix(&out, 0, 3);
    buf_append_str(&out, "abc");
    wire_grpc_put_prefix(&out, WIRE_GRPC_COMPRESSED, 0);
    assert_true(slice_eq(buf_slice(&out), slice(two, sizeof two - 1)));
    buf_reset(&out);
    wire_grpc_put_prefix(&out, WIRE_GRPC_TRAILERS, 0x01020304);
    assert_memory_equal(out.data, "\x80\1\2\3\4", WIRE_GRPC_PREFIX);
    buf_free(&out);
}

static void test_bad_frames(void **state)
{
    static const struct {
        struct slice body;
        const char *why;
    } rows[] = {
        {{"", 0}, "within a prefix: 0 bytes of 5"},
        {{"\0\0\0\0", 4}, "within a prefix: 4 bytes of 5"},
        {{"\0\0\0\0\3ab", 7}, "within a message: 2 bytes of 3"},
        {{"\0\xff\xff\xff\xff", 5}, "within a message: 0 bytes of 4294967295"},
        {{"\2\0\0\0\0", 5}, "flags 0x02"},
        {{"\x80\0\0\0\0", 5}, "flags 0x80"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wire_grpc_frame frame = {.flags = 77};
        struct slice body = rows[i].body;
        struct error err;

        assert_int_equal(wire_grpc_take(&body, &frame, &err), CODE_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, rows[i].why));
        assert_int_equal(frame.flags, 77);
        assert_int_equal(body.len, rows[i].body.len);
    }
}

static void test_text(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    wire_grpc_put_text(&out, "100% of \"it\"\n\xc3\xa9~\x7f");
    assert_string_equal(buf_cstr(&out), "100%25 of \"it\"%0A%C3%A9~%7F");
    buf_free(&out);
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0n", 0},
        {"1n", 1},
        {"20u", 20000},
        {"5m", 5000000},
        {"7S", INT64_C(7000000000)},
        {"2M", INT64_C(120000000000)},
        {"1H", INT64_C(3600000000000)},
        {"99999999S", INT64_C(99999999000000000)},
        {"99999999H", INT64_MAX},
    };
    static const char *const bad[] = {"",     "5",          "S",   "5s", "-1S",
                                      "1.5S", "123456789S", " 5S", "5S "};
    int64_t ns = -7;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(wire_grpc_timeout(slice_str(bad[i]), &ns));
    assert_int_equal(ns, -7);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(wire_grpc_timeout(slice_str(good[i].text), &ns));
        assert_int_equal(ns, good[i].ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_timeouts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
