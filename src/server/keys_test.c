// SPDX-License-Identifier: Apache-2.0
/* API keys: where they come from, which are refused, and that a message never holds one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/keys.h"

static bool have(const struct keys *keys, const char *text)
{
    return keys_have(keys, slice_str(text));
}

static void test_have(void **state)
{
    struct keys keys;

    (void)state;
    keys_init(&keys);
    assert_false(have(&keys, "secret"));
    assert_int_equal(keys_add(&keys, slice_str("secret"), NULL), CODE_OK);
    assert_int_equal(keys_add(&keys, slice_str("other"), NULL), CODE_OK);
    assert_true(have(&keys, "secret"));
    assert_true(have(&keys, "other"));
    assert_false(have(&keys, ""));
    assert_false(have(&keys, "secre"));
    assert_false(have(&keys, "secret "));
    assert_false(have(&keys, "Secret"));
    keys_free(&keys);
}

static void test_bad_keys(void **state)
{
    static const char *const bad[] = {"",       "two words", "tab\tkey",
                                      "line\n", "h\xc3\xa9", "del\x7f"};
    char long_key[KEYS_LENGTH_MAX + 2];
    struct error err;
    struct keys keys;

    (void)state;
    keys_init(&keys);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(keys_add(&keys, slice_str(bad[i]), &err), CODE_INVALID_ARGUMENT);
        if (bad[i][0])
            assert_null(strstr(err.message, bad[i]));
    }
    memset(long_key, 'k', sizeof long_key);
    assert_int_equal(keys_add(&keys, slice(long_key, KEYS_LENGTH_MAX + 1), &err),
                     CODE_INVALID_ARGUMENT);
    assert_int_equal(keys_add(&keys, slice(long_key, KEYS_LENGTH_MAX), &err), CODE_OK);
    assert_true(keys_have(&keys, slice(long_key, KEYS_LENGTH_MAX)));
    assert_int_equal(keys.count, 1);
    keys_free(&keys);
}

static void test_too_many(void **state)
{
    struct error err;
    struct keys keys;
    char key[16];

    (void)state;
    keys_init(&keys);
    for (int i = 0; i < KEYS_MAX; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(keys_add(&keys, slice_str(key), &err), CODE_OK);
    }
    assert_int_equal(keys_add(&keys, slice_str("one-more"), &err), CODE_INVALID_ARGUMENT);
    assert_true(have(&keys, "key-1023"));
    assert_false(have(&keys, "one-more"));
    keys_free(&keys);
}

static void test_list(void **state)
{
    struct error err;
    struct keys keys;

    (void)state;
    keys_init(&keys);
    assert_int_equal(keys_add_list(&keys, "one, two ,,three,", &err), CODE_OK);
    assert_int_equal(keys.count, 3);
    assert_true(have(&keys, "one"));
    assert_true(have(&keys, "two"));
    assert_true(have(&keys, "three"));
    assert_int_equal(keys_add_list(&keys, "", &err), CODE_OK);
    assert_int_equal(keys_add_list(&keys, "four,f i v e", &err), CODE_INVALID_ARGUMENT);
    keys_free(&keys);
}

static void test_file(void **state)
{
    char path[] = "/tmp/dispatch-keys-XXXXXX";
    static const char text[] = "# comment\n\n  first  \r\nsecond\n";
    struct error err;
    struct keys keys;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    keys_init(&keys);
    assert_int_equal(keys_add_file(&keys, path, &err), CODE_OK);
    assert_int_equal(keys.count, 2);
    assert_true(have(&keys, "first"));
    assert_true(have(&keys, "second"));

    assert_int_equal(write(fd, "not a key\n", 10), 10);
    assert_int_equal(keys_add_file(&keys, path, &err), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "line 5"));
    assert_null(strstr(err.message, "not a key"));
    close(fd);
    unlink(path);
    assert_int_equal(keys_add_file(&keys, path, &err), CODE_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
    keys_free(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_have),     cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_too_many), cmocka_unit_test(test_list),
        cmocka_unit_test(test_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
