// SPDX-License-Identifier: Apache-2.0
/* The heads and bodies of Connect requests, good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/protocol.h"

static bool read_head(const char *name, const char *value, struct rpc_head *head,
                      struct refusal *refusal)
{
    const struct net_header headers[] = {
        {slice_str("content-type"), slice_str("application/json")},
        {slice_str(name), slice_str(value)},
    };
    bool is_type = strcmp(name, "content-type") == 0;
    struct net_request request = {.headers = headers + is_type, .header_count = 2 - is_type};

    *refusal = (struct refusal){0};
    return protocol_connect.read_head(&request, head, refusal);
}

static void test_types(void **state)
{
    static const char *const json[] = {"application/json", "application/json; charset=utf-8",
                                       "Application/JSON;charset=UTF-8", "application/json ; "};
    static const char *const bad[] = {"", "text/plain", "application/proto; x=y",
                                      "application/json; charset=latin1", "application/jsonx"};
    struct rpc_head head;
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
    struct rpc_head head;
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

static int read_gzip(const void *body, size_t len, size_t max, struct buf *plain, struct error *err)
{
    const struct rpc_head head = {.codec = CODEC_PROTO, .gzip = true};
    struct net_request request = {.body = slice(body, len)};
    struct slice message;

    buf_init(plain, max);
    return protocol_connect.read_body(&request, &head, plain, &message, err);
}

static void test_gzip(void **state)
{
    static uint8_t plain[60000];
    struct blob *zipped = codec_gzip(slice(plain, sizeof plain));
    struct error err;
    struct buf out;

    (void)state;
    assert_non_null(zipped);
    assert_true(zipped->len < 1000);
    assert_int_equal(read_gzip(zipped->data, zipped->len, sizeof plain, &out, &err), CODE_OK);
    assert_int_equal(out.len, sizeof plain);
    assert_memory_equal(out.data, plain, sizeof plain);
    buf_free(&out);
    assert_int_equal(read_gzip(zipped->data, zipped->len - 1, 2 * sizeof plain, &out, &err),
                     CODE_INVALID_ARGUMENT);
    buf_free(&out);
    assert_int_equal(read_gzip("plain", 5, 100, &out, &err), CODE_INVALID_ARGUMENT);
    buf_free(&out);
    assert_int_equal(read_gzip(NULL, 0, 100, &out, &err), CODE_OK);
    assert_int_equal(out.len, 0);
    /* Much comes out of little: stopped at the limit. */
    assert_int_equal(read_gzip(zipped->data, zipped->len, sizeof plain - 1, &out, &err),
                     CODE_RESOURCE_EXHAUSTED);
    assert_true(out.len <= sizeof plain - 1);
    buf_free(&out);
    blob_unref(zipped);
}

static void test_trailing_bytes(void **state)
{
    static uint8_t plain[2000];
    struct blob *zipped = codec_gzip(slice(plain, sizeof plain));
    struct buf twice, out;
    struct error err;

    (void)state;
    buf_init(&twice, 4000);
    buf_append_slice(&twice, blob_slice(zipped));
    buf_append_slice(&twice, blob_slice(zipped));
    assert_int_equal(read_gzip(twice.data, twice.len, 10000, &out, &err), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "behind the end"));
    buf_free(&out);
    buf_free(&twice);
    blob_unref(zipped);
}

/* What would gain nothing, or hold up others, goes as it is. */
static void test_what_is_compressed(void **state)
{
    struct blob *large = blob_new(((size_t)1 << 20) + 1), *noise = blob_new(5000);
    uint32_t seed = 1;

    (void)state;
    memset(large->data, 'a', large->len);
    assert_null(codec_gzip(slice(large->data, 1023)));
    assert_null(codec_gzip(blob_slice(large)));
    for (size_t i = 0; i < noise->len; i++) {
        seed = seed * 1664525 + 1013904223;
        noise->data[i] = (uint8_t)(seed >> 24);
    }
    assert_null(codec_gzip(blob_slice(noise)));
    blob_unref(large);
    blob_unref(noise);
}

static void test_accept_encoding(void **state)
{
    static const char *const yes[] = {"gzip", "gzip, deflate, br, zstd", "br,GZIP ;q=0.5",
                                      "identity , gzip"};
    static const char *const no[] = {
        "", "br", "gzip;q=0", "x-gzip", "gzipped", "gzip; q=0.00, br", ",,;"};

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(codec_accepts_gzip(slice_str(yes[i])));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(codec_accepts_gzip(slice_str(no[i])));
    assert_false(codec_accepts_gzip((struct slice){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_trailing_bytes),
        cmocka_unit_test(test_what_is_compressed),
        cmocka_unit_test(test_accept_encoding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
