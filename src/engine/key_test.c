// SPDX-License-Identifier: Apache-2.0
/* Rows of named things: a golden row of each version that was ever written, and every damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/key.h"

static const struct engine_key full = {
    .kind = KEY_EVENT,
    .org = {"acme", 4},
    .name = {"order 7", 7},
    .expires = 2000,
    .call = 300,
    .count = 2,
    .digest = {1, 2},
    .status = STATUS_OK,
    .has_output = true,
    .has_error = true,
    .output = {"out", 3},
    .error = {"", 0},
};

/* Version 1, as written by 0.1.0. */
static const uint8_t golden[] = {
    1,    1,   7,   1,                   /* version, kind, flags, status */
    0xd0, 7,   0,   0,   0,   0, 0,   0, /* expires */
    0xac, 2,   2,                        /* call, count */
    1,    0,   0,   0,   0,   0, 0,   0,   2,   0,   0,   0,   0,   0, 0, 0, /* digest */
    4,    'a', 'c', 'm', 'e', 7, 'o', 'r', 'd', 'e', 'r', ' ', '7',          /* names */
    3,    'o', 'u', 't', 0,                                                  /* output, error */
};

static void test_golden(void **state)
{
    struct engine_key key;
    struct error err;
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    key_encode(&out, &full);
    assert_int_equal(out.len, sizeof golden);
    assert_memory_equal(out.data, golden, sizeof golden);
    assert_int_equal(key_decode(slice(golden, sizeof golden), &key, &err), 0);
    assert_int_equal(key.kind, KEY_EVENT);
    assert_true(key.expires == 2000 && key.call == 300 && key.count == 2);
    assert_true(key.digest[0] == 1 && key.digest[1] == 2 && key.status == STATUS_OK);
    assert_true(slice_eq(key.org, full.org) && slice_eq(key.name, full.name));
    assert_true(key.has_output && slice_eq_str(key.output, "out"));
    assert_true(key.has_error && key.error.len == 0);
    buf_free(&out);
}

static void test_damage(void **state)
{
    uint8_t bytes[sizeof golden + 1];
    struct engine_key key;
    struct error err;

    (void)state;
    memcpy(bytes, golden, sizeof golden);
    for (size_t len = 0; len < sizeof golden; len++)
        assert_int_equal(key_decode(slice(bytes, len), &key, &err), CODE_DATA_LOSS);
    bytes[sizeof golden] = 0;
    assert_int_equal(key_decode(slice(bytes, sizeof bytes), &key, &err), CODE_DATA_LOSS);
    for (size_t at = 1; at < 4; at++) {
        bytes[at] = 200;
        assert_int_equal(key_decode(slice(bytes, sizeof golden), &key, &err), CODE_DATA_LOSS);
        bytes[at] = golden[at];
    }
    bytes[0] = 2;
    assert_int_equal(key_decode(slice(bytes, sizeof golden), &key, &err), CODE_FAILED_PRECONDITION);
}

static void test_places(void **state)
{
    struct slice a = slice_str("a"), b = slice_str("b");
    uint64_t request = key_place(KEY_REQUEST, a, b, 1), event = key_place(KEY_EVENT, a, b, 1);

    (void)state;
    assert_true(request >= key_first(KEY_REQUEST) && request <= key_last(KEY_REQUEST));
    assert_true(event >= key_first(KEY_EVENT) && event <= key_last(KEY_EVENT));
    assert_true(key_last(KEY_REQUEST) < key_first(KEY_EVENT));
    assert_true(key_last(KEY_EVENT) == KEY_MAX);
    assert_true(request != key_place(KEY_REQUEST, b, a, 1));
    assert_true(request != key_place(KEY_REQUEST, a, b, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
