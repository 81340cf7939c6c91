// SPDX-License-Identifier: Apache-2.0
/* Appending up to the maximum and past it; integers there and back; malformed input. */
#include "base/buf.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_append_and_consume(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_string_equal(buf_cstr(&b), "");
    buf_append_str(&b, "one ");
    buf_append_slice(&b, slice_str("two "));
    buf_append_slice(&b, (struct slice){0});
    buf_append_byte(&b, '3');
    buf_printf(&b, " %d %s", 4, "five");
    assert_true(slice_eq_str(buf_slice(&b), "one two 3 4 five"));
    assert_string_equal(buf_cstr(&b), "one two 3 4 five");
    assert_int_equal(b.len, 16);
    buf_consume(&b, 4);
    buf_consume(&b, 0);
    assert_string_equal(buf_cstr(&b), "two 3 4 five");
    buf_consume(&b, b.len);
    assert_string_equal(buf_cstr(&b), "");
    assert_false(b.failed);
    buf_free(&b);
    assert_int_equal(b.max, 1000);
    buf_append_str(&b, "again");
    assert_string_equal(buf_cstr(&b), "again");
    buf_free(&b);
}

static void test_maximum(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    buf_append_str(&b, "12345");
    assert_false(b.failed);
    assert_string_equal(buf_cstr(&b), "12345");
    buf_append_byte(&b, '6');
    assert_true(b.failed);
    assert_string_equal(buf_cstr(&b), "");
    assert_true(slice_eq_str(buf_slice(&b), "12345"));

    /* Later appends are ignored, even those that would fit. */
    buf_consume(&b, 3);
    buf_append_byte(&b, '6');
    buf_printf(&b, "%d", 6);
    assert_null(buf_extend(&b, 1));
    assert_true(slice_eq_str(buf_slice(&b), "45"));
    buf_reset(&b);
    assert_false(b.failed);

    /* Exactly full, by every way in. */
    buf_printf(&b, "%s", "12345");
    assert_string_equal(buf_cstr(&b), "12345");
    buf_reset(&b);
    assert_non_null(buf_extend(&b, 5));
    assert_false(b.failed);
    assert_non_null(buf_extend(&b, 0));
    buf_reset(&b);
    buf_printf(&b, "%s", "123456");
    assert_true(b.failed);
    assert_int_equal(b.len, 0);
    buf_reset(&b);
    assert_null(buf_extend(&b, SIZE_MAX));
    buf_free(&b);

    buf_init(&b, SIZE_MAX);
    buf_append_byte(&b, 'x');
    buf_append(&b, "", SIZE_MAX);
    assert_true(b.failed);
    assert_int_equal(b.len, 1);
    buf_free(&b);

    buf_init(&b, 0);
    buf_append(&b, NULL, 0);
    assert_string_equal(buf_cstr(&b), "");
    assert_false(b.failed);
    buf_append_byte(&b, 'x');
    assert_true(b.failed);
    buf_free(&b);
}

/* Random appends of every kind against one plain array, each maximum hit in turn. */
static void test_against_a_model(void **state)
{
    static char model[4096], piece[300];
    struct rand r;
    struct buf b;

    (void)state;
    rand_seed(&r, 11);
    for (size_t max = 0; max < 2000; max += 37) {
        size_t len = 0;

        buf_init(&b, max);
        while (!b.failed) {
            size_t n = rand_below(&r, sizeof piece - 1);
            bool printed = rand_below(&r, 2), fits;
            void *room;

            memset(piece, 'a' + (int)rand_below(&r, 26), n);
            piece[n] = '\0';
            if (printed)
                buf_printf(&b, "%s", piece);
            else if ((room = buf_extend(&b, n)) != NULL)
                memcpy(room, piece, n);
            fits = len + n <= max;
            if (fits) {
                memcpy(model + len, piece, n);
                len += n;
            }
            assert_int_equal(b.failed, !fits);
            assert_true(slice_eq(buf_slice(&b), slice(model, len)));
            assert_true(b.cap <= max + 1);
        }
        buf_free(&b);
    }
}

static void test_integers_round_trip(void **state)
{
    static const uint64_t values[] = {0,     1,     127,        128,       300,
                                      16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX};
    struct slice in, bytes;
    struct buf b;
    uint64_t v;
    uint8_t byte;

    (void)state;
    buf_init(&b, 4096);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        buf_put_u64(&b, values[i]);
        buf_put_varint(&b, values[i]);
    }
    buf_put_bytes(&b, slice_str("bytes"));
    buf_put_bytes(&b, (struct slice){0});
    buf_append_byte(&b, 0xfe);
    in = buf_slice(&b);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_true(slice_get_u64(&in, &v));
        assert_true(v == values[i]);
        assert_true(slice_get_varint(&in, &v));
        assert_true(v == values[i]);
    }
    assert_true(slice_get_bytes(&in, &bytes));
    assert_true(slice_eq_str(bytes, "bytes"));
    assert_true(slice_get_bytes(&in, &bytes));
    assert_int_equal(bytes.len, 0);
    assert_true(slice_get_byte(&in, &byte));
    assert_int_equal(byte, 0xfe);
    assert_int_equal(in.len, 0);
    assert_false(slice_get_byte(&in, &byte));
    buf_free(&b);
}

static void test_format_on_disk(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_put_u64(&b, UINT64_C(0x0102030405060708));
    assert_memory_equal(b.data, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    buf_reset(&b);
    buf_put_varint(&b, 300);
    assert_true(slice_eq_str(buf_slice(&b), "\xac\x02"));
    buf_reset(&b);
    buf_put_varint(&b, UINT64_MAX);
    assert_true(slice_eq_str(buf_slice(&b), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    buf_free(&b);
}

static bool varint(const char *bytes, size_t len, uint64_t *value)
{
    struct slice in = slice(bytes, len);

    return slice_get_varint(&in, value) && in.len == 0;
}

static void test_malformed(void **state)
{
    uint64_t v = 7;
    struct slice in, bytes;

    (void)state;
    assert_false(varint("", 0, &v));
    assert_false(varint("\x80", 1, &v));
    assert_false(varint("\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9, &v));
    assert_false(varint("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, &v)); /* 65 bits */
    assert_false(varint("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11, &v));
    assert_int_equal(v, 7);
    assert_true(varint("\x81\x00", 2, &v)); /* longer than need be */
    assert_int_equal(v, 1);

    in = slice("1234567", 7);
    assert_false(slice_get_u64(&in, &v));
    in = slice("\x05"
               "1234",
               5);
    assert_false(slice_get_bytes(&in, &bytes));
    in = slice("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
    assert_false(slice_get_bytes(&in, &bytes));
    in = (struct slice){0};
    assert_false(slice_get_bytes(&in, &bytes));
    assert_false(slice_get_u64(&in, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_consume), cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_against_a_model),    cmocka_unit_test(test_integers_round_trip),
        cmocka_unit_test(test_format_on_disk),     cmocka_unit_test(test_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
