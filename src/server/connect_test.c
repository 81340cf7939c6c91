// SPDX-License-Identifier: Apache-2.0
/* The heads and bodies of Connect requests, good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

#include "server/connect.h"

static bool read_head(const char *name, const char *value, struct connect_head *head,
                      struct refusal *refusal)
{
    const struct net_header headers[] = {
        {slice_str("content-type"), slice_str("application/json")},
        {slice_str(name), slice_str(value)},
    };
    bool is_type = strcmp(name, "content-type") == 0;
    struct net_request request = {.headers = headers + is_type, .header_count = 2 - is_type};

    *refusal = (struct refusal){0};
    return connect_read_head(&request, head, refusal);
}

static void test_types(void **state)
{
    static const char *const json[] = {"application/json", "application/json; charset=utf-8",
                                       "Application/JSON;charset=UTF-8", "application/json ; "};
    static const char *const bad[] = {"", "text/plain", "application/proto; x=y",
                                      "application/json; charset=latin1", "application/jsonx"};
    struct connect_head head;
    struct refusal refusal;

    (void)state;
    for (size_t i = 0; i < sizeof json / sizeof *json; i++) {
        assert_true(read_head("content-type", json[i], &head, &refusal));
        assert_int_equal(head.codec, CODEC_JSON);
    }
    assert_true(read_head("content-type", "application/proto", &head, &refusal));
    assert_int_equal(head.codec, CODEC_PROTO);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(read_head("content-type", bad[i], &head, &refusal));
        assert_int_equal(refusal.http, 415);
        assert_true(slice_eq_str(refusal.header.name, "accept-post"));
    }
}

static void test_headers(void **state)
{
    static const char *const bad_timeouts[] = {"", "-1", "1s", " 5", "12345678901"};
    struct connect_head head;
    struct refusal refusal;

    (void)state;
    assert_true(read_head("x", "y", &head, &refusal));
    assert_int_equal(head.timeout_ns, -1);
    assert_false(head.gzip);
    assert_true(read_head("connect-timeout-ms", "5000", &head, &refusal));
    assert_int_equal(head.timeout_ns, INT64_C(5000000000));
    assert_true(read_head("connect-timeout-ms", "9999999999", &head, &refusal));
    assert_int_equal(head.timeout_ns, INT64_C(9999999999000000));
    for (size_t i = 0; i < sizeof bad_timeouts / sizeof *bad_timeouts; i++) {
        assert_false(read_head("connect-timeout-ms", bad_timeouts[i], &head, &refusal));
        assert_int_equal(refusal.error.code, CODE_INVALID_ARGUMENT);
    }
    assert_true(read_head("connect-protocol-version", "1", &head, &refusal));
    assert_false(read_head("connect-protocol-version", "2", &head, &refusal));
    assert_int_equal(refusal.error.code, CODE_INVALID_ARGUMENT);
    assert_true(read_head("content-encoding", "identity", &head, &refusal));
    assert_false(head.gzip);
    assert_true(read_head("content-encoding", "gzip", &head, &refusal));
    assert_true(head.gzip);
    assert_false(read_head("content-encoding", "br", &head, &refusal));
    assert_int_equal(refusal.error.code, CODE_UNIMPLEMENTED);
    assert_non_null(strstr(refusal.error.message, "gzip, identity"));
}

static size_t gzip(const void *data, size_t len, uint8_t *out, size_t cap)
{
    z_stream z = {0};
    size_t size;

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size = cap - z.avail_out;
    deflateEnd(&z);
    return size;
}

static int read_gzip(const void *body, size_t len, size_t max, char id[64], struct error *err)
{
    const struct connect_head head = {.codec = CODEC_PROTO, .gzip = true};
    struct net_request request = {.body = slice(body, len)};
    Dispatch__V1__GetRequest *message;
    struct arena arena;
    int code;

    arena_init(&arena, 1 << 20);
    code = connect_read_body(&request, &head, max, &dispatch__v1__get_request__descriptor, &arena,
                             &message, err);
    if (code == CODE_OK) {
        memcpy(id, message->dispatch_id, strlen(message->dispatch_id) + 1);
    }
    arena_reset(&arena);
    return code;
}

static void test_gzip(void **state)
{
    static uint8_t plain[2 + 60000], packed[4096];
    char id[64] = "untouched";
    struct error err;
    size_t len;

    (void)state;
    len = gzip("\x0a\x03"
               "abc",
               5, packed, sizeof packed);
    assert_int_equal(read_gzip(packed, len, 5, id, &err), CODE_OK);
    assert_string_equal(id, "abc");
    assert_int_equal(read_gzip(packed, len - 1, 100, id, &err), CODE_INVALID_ARGUMENT);
    packed[len] = 0;
    assert_int_equal(read_gzip(packed, len + 1, 100, id, &err), CODE_INVALID_ARGUMENT);
    assert_int_equal(read_gzip("plain", 5, 100, id, &err), CODE_INVALID_ARGUMENT);
    assert_int_equal(read_gzip(NULL, 0, 100, id, &err), CODE_OK);
    assert_string_equal(id, "");

    /* Much comes out of little: stopped at the limit. */
    len = gzip(plain, sizeof plain, packed, sizeof packed);
    assert_true(len < 1000);
    assert_int_equal(read_gzip(packed, len, 10000, id, &err), CODE_RESOURCE_EXHAUSTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_gzip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
