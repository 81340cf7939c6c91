// SPDX-License-Identifier: Apache-2.0
/* Logins that wait: codes, their time, and how many there may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/logins.h"

static struct logins logins;
static struct error err;

static int set_up(void **state)
{
    (void)state;
    logins = (struct logins){0};
    return 0;
}

static struct login *of(int number, int64_t now)
{
    char token[LOGINS_TOKEN + 1];

    snprintf(token, sizeof token, "%064x", number);
    return logins_of(&logins, slice_str(token), now, &err);
}

static void test_codes(void **state)
{
    char code[LOGINS_CODE], plain[LOGINS_CODE];
    struct login *login = of(1, 0);

    (void)state;
    assert_non_null(login);
    memcpy(code, login->code, sizeof code);
    assert_int_equal(strlen(code), 9);
    assert_ptr_equal(of(1, 5), login);
    assert_string_equal(login->code, code);
    assert_string_not_equal(of(2, 5)->code, code);
    assert_ptr_equal(logins_by_code(&logins, code, 5), login);
    snprintf(plain, sizeof plain, "%.4s%s", code, code + 5);
    plain[0] = (char)(plain[0] - 'A' + 'a');
    assert_ptr_equal(logins_by_code(&logins, plain, 5), login);
    plain[7] = '\0';
    assert_null(logins_by_code(&logins, plain, 5));
    assert_null(logins_by_code(&logins, "", 5));
    logins_end(&logins, login);
    assert_null(logins_by_code(&logins, code, 5));
    assert_int_equal(logins.count, 1);
}

static void test_time(void **state)
{
    struct login *login = of(1, 7);
    char code[LOGINS_CODE];

    (void)state;
    memcpy(code, login->code, sizeof code);
    assert_non_null(logins_by_code(&logins, code, 6 + LOGINS_NS));
    assert_null(logins_by_code(&logins, code, 7 + LOGINS_NS));
    assert_string_not_equal(of(1, 7 + LOGINS_NS)->code, code);
}

static void test_bounds(void **state)
{
    static const char *const bad[] = {"", "0", "zz"};
    int64_t now = 0;
    int begun = 0;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_null(logins_of(&logins, slice_str(bad[i]), 0, &err));
        assert_int_equal(err.code, CODE_INVALID_ARGUMENT);
    }
    while (begun < LOGINS_PER_MINUTE)
        assert_non_null(of(begun++, now));
    assert_null(of(begun, now));
    assert_int_equal(err.code, CODE_RESOURCE_EXHAUSTED);
    assert_non_null(of(0, now)); /* who waits already goes on */
    while (begun < LOGINS_MAX) {
        if (begun % LOGINS_PER_MINUTE == 0)
            now += 60 * NS_PER_S;
        assert_non_null(of(begun++, now));
    }
    now += 60 * NS_PER_S;
    assert_null(of(begun, now));
    assert_non_null(of(begun, LOGINS_NS)); /* the first ones have expired */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_codes, set_up),
        cmocka_unit_test_setup(test_time, set_up),
        cmocka_unit_test_setup(test_bounds, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
