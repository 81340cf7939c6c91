// SPDX-License-Identifier: Apache-2.0
/* The hash's golden values (they are on disk) and the edges of UTF-8. */
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_hash_golden(void **state)
{
    uint8_t all[256];

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    assert_true(slice_hash((struct slice){0}, 0) == UINT64_C(0x25fc6dd36ce04b20));
    assert_true(slice_hash((struct slice){0}, 1) == UINT64_C(0xac13a8e9640f8906));
    assert_true(slice_hash(slice_str("a"), 0) == UINT64_C(0x4dd30fe667d067c6));
    assert_true(slice_hash(slice_str("dispatch"), 0) == UINT64_C(0xcca619b38e490eba));
    assert_true(slice_hash(slice_str("durable functions for C"), 0) ==
                UINT64_C(0xa835f0128015b0a7));
    assert_true(slice_hash(slice_str("durable functions for C"), 42) ==
                UINT64_C(0xb36fbea2521c8651));
    assert_true(slice_hash(slice(all, 256), 0xdeadbeef) == UINT64_C(0x924b70b2d537262f));
}

/* Any one or two flipped bits, and trailing zeros, change the hash. */
static void test_hash_notices(void **state)
{
    uint8_t bytes[24] = {0};
    uint64_t plain = slice_hash(slice(bytes, 24), 0);

    (void)state;
    for (size_t i = 0; i < 192; i++) {
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_true(slice_hash(slice(bytes, 24), 0) != plain);
        for (size_t k = i + 1; k < 192; k++) {
            bytes[k / 8] ^= (uint8_t)(1 << k % 8);
            assert_true(slice_hash(slice(bytes, 24), 0) != plain);
            bytes[k / 8] ^= (uint8_t)(1 << k % 8);
        }
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i < 24; i++)
        assert_true(slice_hash(slice(bytes, i), 0) != plain);
}

static void test_hash_ignores_alignment(void **state)
{
    char buffer[64];

    (void)state;
    for (size_t offset = 0; offset < 16; offset++) {
        memcpy(buffer + offset, "durable functions for C", 23);
        assert_true(slice_hash(slice(buffer + offset, 23), 0) == UINT64_C(0xa835f0128015b0a7));
    }
}

static void test_equality(void **state)
{
    (void)state;
    assert_true(slice_eq((struct slice){0}, slice_str("")));
    assert_true(slice_eq_str(slice("abc", 2), "ab"));
    assert_false(slice_eq_str(slice_str("abc"), "abd"));
    assert_false(slice_eq_str(slice_str("ab"), "abc"));
    assert_int_equal(slice_str(NULL).len, 0);
}

static void test_utf8(void **state)
{
    static const char *const good[] = {
        "",
        "plain ASCII, longer than eight bytes",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "12345678\xe2\x82\xac qrstuvwxyz",
    };
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "\xc0\x80",         /* overlong */
        "\xc1\xbf",         /* overlong */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* the first surrogate */
        "\xed\xbf\xbf",     /* the last one */
        "\xf4\x90\x80\x80", /* past U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc2",
        "\xe2\x82",
        "\xf0\x90\x80",
        "\xe2\x28\xa1",
        "\xe2\x82\x28",
        "\xf0\x90\x80\x28",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(slice_is_utf8(slice_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[32];

        assert_false(slice_is_utf8(slice_str(bad[i])));
        snprintf(text, sizeof text, "0123456789%s", bad[i]);
        assert_int_equal(slice_utf8_prefix(slice_str(text)), 10);
    }
    assert_true(slice_is_utf8(slice("a\0b", 3)));
}

/* Every code point, encoded, is good; every surrogate is not. */
static void test_utf8_all_code_points(void **state)
{
    (void)state;
    for (uint32_t c = 0x800; c <= 0x10ffff; c++) {
        uint8_t s[4] = {(uint8_t)(0xe0 | c >> 12), (uint8_t)(0x80 | (c >> 6 & 63)),
                        (uint8_t)(0x80 | (c & 63))};
        size_t len = 3;

        if (c > 0xffff) {
            s[0] = (uint8_t)(0xf0 | c >> 18);
            s[1] = (uint8_t)(0x80 | (c >> 12 & 63));
            s[2] = (uint8_t)(0x80 | (c >> 6 & 63));
            s[3] = (uint8_t)(0x80 | (c & 63));
            len = 4;
        }
        if (slice_is_utf8(slice(s, len)) != (c < 0xd800 || c > 0xdfff))
            fail_msg("U+%04X", c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_golden),
        cmocka_unit_test(test_hash_notices),
        cmocka_unit_test(test_hash_ignores_alignment),
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_all_code_points),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
