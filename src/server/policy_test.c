// SPDX-License-Identifier: Apache-2.0
/* What is a pattern, what it matches, and which addresses are refused without any. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "server/policy.h"

static const char *refuses(const struct policy *policy, const struct net_target *target,
                           const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return policy_refuses(policy, target, (const struct sockaddr *)&in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return policy_refuses(policy, target, (const struct sockaddr *)&in6);
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
    const struct net_target target = {slice_str("somewhere"), 80, false};
    const struct policy guarded = {.guarded = true}, open = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!refuses(&guarded, &target, bad[i]) || refuses(&open, &target, bad[i]))
            fail_msg("%s", bad[i]);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (refuses(&guarded, &target, good[i]))
            fail_msg("%s", good[i]);
    }
    assert_null(policy_refuses(&guarded, &target, (const struct sockaddr *)&path));
}

static void test_what_is_no_pattern(void **state)
{
    static const char *const bad[] = {
        "",           "http://",         "ftp://a",  "a:",           "a:0",
        "a:65536",    "a:http",          "a b",      "a/b",          "10.*",
        "10.0.0.*",   "1.2.3",           "10.0.0/8", "10.0.0.0/33",  "10.0.0.0/",
        "[::1",       "[::1]x",          "[a]:80",   "[1.2.3.4]",    "fd00::/129",
        "http://a/b", "::1:80:zz",       "a?",       "https:a",      "*1*",
        "user@a",     "http://http://a", "[]:80",    "10.0.0.0/8:x", ".",
        "1:2",
    };
    struct policy policy;
    struct error err;

    (void)state;
    policy_init(&policy);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (policy_add(&policy, bad[i], &err) != CODE_INVALID_ARGUMENT)
            fail_msg("\"%s\" is taken for a pattern", bad[i]);
        assert_memory_equal(err.message, bad[i], strlen(bad[i]));
    }
    assert_int_equal(policy.count, 0);
    for (size_t i = 0; i < POLICY_PATTERNS_MAX; i++)
        assert_int_equal(policy_add(&policy, "a", NULL), CODE_OK);
    assert_int_equal(policy_add(&policy, "a", NULL), CODE_INVALID_ARGUMENT);
    policy_free(&policy);
}

struct judged {
    const char *pattern, *endpoint;
    bool allowed;
};

static void test_urls(void **state)
{
    static const struct judged cases[] = {
        {"api.example.com", "http://api.example.com", true},
        {"api.example.com", "https://api.example.com:8443/a?b", true},
        {"api.example.com", "http://API.Example.COM.", true},
        {"API.example.com.", "http://api.example.com", true},
        {"api.example.com", "http://api.example.com.evil.org", false},
        {"api.example.com", "http://xapi.example.com", false},
        {"*.example.com", "http://a.b.example.com", true},
        {"*.example.com", "http://example.com", false},
        {"*.example.com", "http://evil.org/.example.com", false},
        {"a*b*c", "http://a-b-bxc", true},
        {"a*b*c", "http://a-b-bxcd", false},
        {"a*b*c", "http://ac", false},
        {"*a*a*a*a*a*b", "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         false},
        {"https://*", "https://1.2.3.4", true},
        {"https://*", "http://1.2.3.4", false},
        {"http://*:8000", "http://name:8000", true},
        {"http://*:8000", "http://name", false},
        {"name:80", "http://name", true},
        {"name:443", "https://name", true},
        {"name:443", "http://name", false},
        {"10.0.0.0/8", "http://10.255.1.2", true},
        {"10.0.0.0/8", "http://11.0.0.1", false},
        {"10.0.0.0/8", "http://[::ffff:10.0.0.1]", true},
        {"10.0.0.0/8", "http://name", true}, /* its address will tell */
        {"10.0.0.0/8:81", "http://name", false},
        {"https://10.0.0.0/8", "http://name", false},
        {"10.1.2.3", "http://10.1.2.3:5", true},
        {"10.1.2.3", "http://10.1.2.4:5", false},
        {"fd00::/8", "http://[fd12::1]:80", true},
        {"[fd00::/8]:443", "https://[fd12::1]", true},
        {"[fd00::/8]:443", "http://[fd12::1]", false},
        {"[::1]", "http://[::1]:8000", true},
        {"::/0", "http://[fd12::1]", true},
        {"::/0", "http://10.0.0.1", false},
        {"0.0.0.0/0", "http://10.0.0.1", true},
        {"x*", "http://1.2.3.4", false},
        {"name", "bridge://session", true},
        {"name", "event:", true},
        {"name", "arn:aws:lambda:us-east-1:1:function:f", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct judged *c = &cases[i];
        struct policy policy;
        struct error err;
        int code;

        policy_init(&policy);
        assert_int_equal(policy_add(&policy, c->pattern, &err), CODE_OK);
        code = policy_check(&policy, slice_str(c->endpoint), &err);
        if (code != (c->allowed ? CODE_OK : CODE_PERMISSION_DENIED))
            fail_msg("%s, %s: %d", c->pattern, c->endpoint, code);
        if (code) {
            assert_non_null(strstr(err.message, c->endpoint));
            assert_non_null(strstr(err.message, "--allow-endpoint"));
        }
        policy_free(&policy);
    }
}

/* What a name turns out to mean. */
static void test_addresses_of_names(void **state)
{
    const struct net_target name = {slice_str("db.internal"), 5432, false};
    const struct net_target other = {slice_str("db.internal"), 80, false};
    const struct net_target known = {slice_str("api.example.com"), 80, false};
    struct policy policy;

    (void)state;
    policy_init(&policy);
    assert_int_equal(policy_add(&policy, "http://10.0.0.0/8:5432", NULL), CODE_OK);
    assert_int_equal(policy_add(&policy, "*.example.com", NULL), CODE_OK);
    assert_null(refuses(&policy, &name, "10.1.2.3"));
    assert_null(refuses(&policy, &name, "::ffff:10.1.2.3"));
    assert_non_null(refuses(&policy, &name, "192.168.0.1"));
    assert_non_null(refuses(&policy, &other, "10.1.2.3"));
    assert_null(refuses(&policy, &known, "192.168.0.1")); /* allowed by its name */
    policy_free(&policy);
}

/* By way of a proxy, nobody here sees the address. */
static void test_unseen_addresses(void **state)
{
    const struct net_target name = {slice_str("db.internal"), 80, false};
    const struct net_target known = {slice_str("api.example.com"), 80, false};
    const struct net_target inside = {slice_str("10.1.2.3"), 80, false};
    const struct net_target metadata = {slice_str("169.254.169.254"), 80, false};
    struct policy policy = {.guarded = true};

    (void)state;
    assert_null(policy_refuses(&policy, &name, NULL));
    assert_non_null(policy_refuses(&policy, &metadata, NULL));
    assert_int_equal(policy_add(&policy, "10.0.0.0/8", NULL), CODE_OK);
    assert_int_equal(policy_add(&policy, "*.example.com", NULL), CODE_OK);
    assert_non_null(strstr(policy_refuses(&policy, &name, NULL), "a proxy"));
    assert_null(policy_refuses(&policy, &known, NULL));
    assert_null(policy_refuses(&policy, &inside, NULL));
    policy_free(&policy);
}

/* Only who names link-local addresses gets them. */
static void test_guard(void **state)
{
    static const char *const no[] = {"*",
                                     "0.0.0.0/0",
                                     "::/0",
                                     "169.0.0.0/8",
                                     "169.254.169.253",
                                     "https://169.254.0.0/16",
                                     "metadata.internal"};
    static const char *const yes[] = {"169.254.169.254", "169.254.0.0/16", "169.254.169.254:80",
                                      "http://169.254.169.0/24"};
    const struct net_target name = {slice_str("metadata.internal"), 80, false};
    struct policy policy = {0};
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        policy.guarded = true;
        assert_int_equal(policy_add(&policy, no[i], NULL), CODE_OK);
        assert_non_null(refuses(&policy, &name, "169.254.169.254"));
        assert_int_equal(policy_check(&policy, slice_str("http://169.254.169.254"), &err),
                         CODE_PERMISSION_DENIED);
        assert_int_equal(policy_check(&policy, slice_str("http://[fe80::1]"), &err),
                         CODE_PERMISSION_DENIED);
        policy_free(&policy);
    }
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        policy.guarded = true;
        assert_int_equal(policy_add(&policy, yes[i], NULL), CODE_OK);
        assert_null(refuses(&policy, &name, "169.254.169.254"));
        assert_int_equal(policy_check(&policy, slice_str("http://169.254.169.254"), &err), CODE_OK);
        assert_non_null(refuses(&policy, &name, "fe80::1"));
        policy_free(&policy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_what_is_no_pattern),
        cmocka_unit_test(test_urls),      cmocka_unit_test(test_addresses_of_names),
        cmocka_unit_test(test_guard),     cmocka_unit_test(test_unseen_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
