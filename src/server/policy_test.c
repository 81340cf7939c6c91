// SPDX-License-Identifier: Apache-2.0
/* Which addresses are refused, and their neighbours, which are not. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "server/policy.h"

static bool may_reach(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return policy_may_reach((const struct sockaddr *)&in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return policy_may_reach((const struct sockaddr *)&in6);
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {
        "169.254.169.254",    "169.254.0.0",   "169.254.255.255",        "fe80::1",
        "febf:ffff::1",       "fd00:ec2::254", "::ffff:169.254.169.254", "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    };
    static const char *const good[] = {
        "127.0.0.1", "10.0.0.1", "169.253.255.255", "169.255.0.0",      "254.169.0.1",      "::1",
        "fec0::1",   "fe7f::1",  "fd00:ec2::253",   "::ffff:127.0.0.1", "2001:db8::a9fe:1",
    };
    const struct sockaddr_un path = {.sun_family = AF_UNIX};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (may_reach(bad[i]))
            fail_msg("%s", bad[i]);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!may_reach(good[i]))
            fail_msg("%s", good[i]);
    }
    assert_true(policy_may_reach((const struct sockaddr *)&path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
