// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"

static void parses_urls(void **state)
{
    static const struct {
        const char *text, *scheme, *host;
        uint16_t port;
        bool given;
        const char *path, *query;
    } rows[] = {
        {"http://localhost", "http", "localhost", 80, false, "", ""},
        {"https://api.example.com/", "https", "api.example.com", 443, false, "/", ""},
        {"HTTPS://Example.com", "HTTPS", "Example.com", 443, false, "", ""},
        {"http://127.0.0.1:8000/a/b?c=d&e", "http", "127.0.0.1", 8000, true, "/a/b", "c=d&e"},
        {"http://127.0.0.1:0", "http", "127.0.0.1", 0, true, "", ""},
        {"http://h:65535?q", "http", "h", 65535, true, "", "q"},
        {"http://h/p#frag?no", "http", "h", 80, false, "/p", ""},
        {"http://h?a?b#c", "http", "h", 80, false, "", "a?b"},
        {"http://[::1]:80/x", "http", "::1", 80, true, "/x", ""},
        {"http://[2001:db8::1]", "http", "2001:db8::1", 80, false, "", ""},
        {"bridge://session-1", "bridge", "session-1", 0, false, "", ""},
        {"x+y-z.0://h/%20@", "x+y-z.0", "h", 0, false, "/%20@", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_url url;

        assert_int_equal(net_url_parse(slice_str(rows[i].text), &url, NULL), 0);
        assert_true(slice_eq_str(url.scheme, rows[i].scheme));
        assert_true(slice_eq_str(url.host, rows[i].host));
        assert_int_equal(url.port, rows[i].port);
        assert_int_equal(url.port_given, rows[i].given);
        assert_true(slice_eq_str(url.path, rows[i].path));
        assert_true(slice_eq_str(url.query, rows[i].query));
    }
}

static void refuses_bad_urls(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "missing protocol scheme"},
        {"localhost:8000", "missing protocol scheme"},
        {"/path", "missing protocol scheme"},
        {"://h", "missing protocol scheme"},
        {"1http://h", "missing protocol scheme"},
        {"http:/h", "missing protocol scheme"},
        {"http//h", "missing protocol scheme"},
        {"http://", "missing host"},
        {"http:///path", "missing host"},
        {"http://:80", "missing host"},
        {"http://?q", "missing host"},
        {"http://h:", "invalid port"},
        {"http://h:65536", "invalid port"},
        {"http://h:000080", "invalid port"},
        {"http://h:8o", "invalid port"},
        {"http://h:-1", "invalid port"},
        {"http://h:80:80", "invalid port"},
        {"http://user@h", "user information"},
        {"http://user:secret@h", "user information"},
        {"http://[::1", "invalid host"},
        {"http://[]", "invalid host"},
        {"http://[::1]x", "invalid host"},
        {"http://[1.2.3.4]", "invalid host"},
        {"http://[::1%eth0]", "invalid host"},
        {"http://a[b]", "invalid host"},
        {"http://a%20b", "invalid host"},
        {"http://a\"b", "invalid host"},
        {"http://a b", "percent-encode"},
        {"http://h/\r\nX: y", "percent-encode"},
        {"http://h/\xc3\xa9", "percent-encode"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_url url = {.port = 7};
        struct error err;

        assert_int_equal(net_url_parse(slice_str(rows[i].text), &url, &err), CODE_INVALID_ARGUMENT);
        if (!strstr(err.message, rows[i].why))
            fail_msg("%s: %s", rows[i].text, err.message);
        assert_int_equal(url.port, 7); /* untouched */
    }
}

static void refuses_odd_bytes_and_lengths(void **state)
{
    static char text[10000] = "http://h/";
    struct net_url url;

    (void)state;
    assert_int_not_equal(net_url_parse(slice("http://h\0/x", 11), &url, NULL), 0);
    assert_int_not_equal(net_url_parse((struct slice){0}, &url, NULL), 0);
    memset(text + 9, 'a', sizeof text - 9);
    assert_int_equal(net_url_parse(slice(text, 8192), &url, NULL), 0);
    assert_int_not_equal(net_url_parse(slice(text, 8193), &url, NULL), 0);
    memset(text + 7, 'a', sizeof text - 7);
    assert_int_equal(net_url_parse(slice(text, 7 + 255), &url, NULL), 0);
    assert_int_not_equal(net_url_parse(slice(text, 7 + 256), &url, NULL), 0);
}

static void parses_addresses(void **state)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {{"localhost:8000", "localhost", 8000},
                {"127.0.0.1:0", "127.0.0.1", 0},
                {"[::1]:3477", "::1", 3477},
                {"[::]:1", "::", 1},
                {":80", "", 80},
                {"a-b.c:65535", "a-b.c", 65535}};
    static const struct {
        const char *text, *why;
    } bad[] = {{"", "missing port"},
               {"localhost", "missing port"},
               {"[::1]", "missing port"},
               {"localhost:", "invalid port"},
               {"localhost:x", "invalid port"},
               {"localhost:65536", "invalid port"},
               {"::1:80", "invalid port"},
               {"[::1:80", "invalid address"},
               {"[x]:80", "invalid address"},
               {"http://h:80", "invalid"},
               {"a b:80", "invalid address"},
               {"a/b:80", "invalid address"}};
    char host[256];
    uint16_t port;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(net_address_parse(good[i].text, host, &port, NULL), 0);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(net_address_parse(bad[i].text, host, &port, &err), CODE_INVALID_ARGUMENT);
        if (!strstr(err.message, bad[i].why))
            fail_msg("%s: %s", bad[i].text, err.message);
    }
    assert_int_equal(net_address_parse(NULL, host, &port, &err), CODE_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_urls),
        cmocka_unit_test(refuses_bad_urls),
        cmocka_unit_test(refuses_odd_bytes_and_lengths),
        cmocka_unit_test(parses_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
