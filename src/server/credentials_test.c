// SPDX-License-Identifier: Apache-2.0
/* Keys as rows, byte for byte, and the set of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/credentials.h"

/* Version, kind, creation, organization, name, hash or seed. */
static const uint8_t api_row[] = "\x01\x01\x15\xcd\x5b\x07\x00\x00\x00\x00\x04"
                                 "acme\x02"
                                 "ci\x20"
                                 "0123456789abcdef0123456789ABCDEF";
static const uint8_t signing_row[] = "\x01\x02\x15\xcd\x5b\x07\x00\x00\x00\x00\x04"
                                     "acme\x00\x20"
                                     "0123456789abcdef0123456789ABCDEF";

#define ROW(bytes) slice(bytes, sizeof(bytes) - 1)

static void rows_are_as_ever(void **state)
{
    struct credential key;
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    assert_int_equal(credential_decode(ROW(api_row), &key, NULL), 0);
    assert_int_equal(key.kind, CREDENTIAL_API_KEY);
    assert_int_equal(key.created, 123456789);
    assert_string_equal(key.org, "acme");
    assert_string_equal(key.name, "ci");
    assert_memory_equal(key.hash, "0123456789abcdef0123456789ABCDEF", 32);
    credential_encode(&key, &out);
    assert_true(slice_eq(buf_slice(&out), ROW(api_row)));

    buf_reset(&out);
    assert_int_equal(credential_decode(ROW(signing_row), &key, NULL), 0);
    assert_int_equal(key.kind, CREDENTIAL_SIGNING_KEY);
    assert_memory_equal(key.signer.bytes, "0123456789abcdef0123456789ABCDEF", 32);
    credential_encode(&key, &out);
    assert_true(slice_eq(buf_slice(&out), ROW(signing_row)));
    buf_free(&out);
}

static void damage_is_found(void **state)
{
    uint8_t row[sizeof api_row];
    struct credential key;
    struct error err;

    (void)state;
    for (size_t len = 0; len < sizeof api_row - 1; len++)
        assert_int_equal(credential_decode(slice(api_row, len), &key, &err), CODE_DATA_LOSS);
    assert_int_equal(credential_decode(slice(api_row, sizeof api_row), &key, &err), CODE_DATA_LOSS);
    memcpy(row, api_row, sizeof row);
    row[1] = 3;
    assert_int_equal(credential_decode(ROW(row), &key, &err), CODE_DATA_LOSS);
    row[1] = 1;
    row[11] = '/'; /* of the organization */
    assert_int_equal(credential_decode(ROW(row), &key, &err), CODE_DATA_LOSS);
    row[0] = 2;
    assert_int_equal(credential_decode(ROW(row), &key, &err), CODE_FAILED_PRECONDITION);
    assert_non_null(strstr(err.message, "newer version"));
}

static void keys_open_what_they_should(void **state)
{
    char first[CREDENTIALS_SECRET], second[CREDENTIALS_SECRET], id[CREDENTIALS_ID_MAX];
    struct credential a, b;
    struct credentials c;

    (void)state;
    credentials_init(&c);
    assert_int_equal(credentials_new_api_key(&c, "acme", "ci", &a, first, NULL), 0);
    assert_int_equal(credentials_new_api_key(&c, "other", "", &b, second, NULL), 0);
    assert_int_equal(strlen(first), CREDENTIALS_SECRET - 1);
    assert_string_not_equal(first, second);
    assert_null(credentials_find(&c, slice_str(first))); /* it is not durable yet */
    assert_true(credentials_add(&c, &a));
    assert_true(credentials_add(&c, &b));
    assert_string_equal(credentials_find(&c, slice_str(first)), "acme");
    assert_string_equal(credentials_find(&c, slice_str(second)), "other");
    assert_null(credentials_find(&c, slice_str("")));
    assert_null(credentials_find(&c, slice(first, strlen(first) - 1)));
    credential_id(&a, id);
    assert_string_equal(id, "key-1");
    assert_ptr_equal(credentials_by_id(&c, "key-2"), &c.list[1]);
    assert_null(credentials_by_id(&c, "sig-2"));
    credentials_remove(&c, a.number);
    assert_null(credentials_find(&c, slice_str(first)));
    assert_string_equal(credentials_find(&c, slice_str(second)), "other");
    credentials_free(&c);
}

static void names_are_checked(void **state)
{
    static const char *const bad[] = {
        "",         "Acme",
        "-a",       ".",
        "a b",      "a/b",
        "\xc3\xa4", "x234567890123456789012345678901234567890123456789012345678901234"};
    char secret[CREDENTIALS_SECRET], name[CREDENTIALS_NAME_MAX + 2];
    struct credential key;
    struct credentials c;
    struct error err;

    (void)state;
    credentials_init(&c);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(credentials_new_api_key(&c, bad[i], "", &key, secret, &err),
                         CODE_INVALID_ARGUMENT);
    assert_true(org_valid(slice_str("a-1._")));
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(credentials_new_api_key(&c, "acme", name, &key, secret, &err),
                     CODE_INVALID_ARGUMENT);
    for (size_t i = 0; i < CREDENTIALS_MAX; i++) {
        assert_int_equal(credentials_new_api_key(&c, "acme", "", &key, secret, &err), 0);
        if (i == 0 || i == CREDENTIALS_MAX - 1)
            assert_true(credentials_add(&c, &key));
    }
    for (size_t i = 2; i < CREDENTIALS_MAX; i++)
        assert_true(credentials_add(&c, &key));
    assert_int_equal(credentials_new_api_key(&c, "acme", "", &key, secret, &err),
                     CODE_RESOURCE_EXHAUSTED);
    credentials_free(&c);
}

static void the_newest_signs(void **state)
{
    struct credential key;
    struct credentials c;

    (void)state;
    credentials_init(&c);
    assert_null(credentials_signer(&c, slice_str("acme")));
    for (uint64_t i = 1; i <= CREDENTIALS_SIGNERS; i++) {
        assert_null(credentials_superseded(&c, "acme"));
        assert_int_equal(credentials_new_signing_key(&c, "acme", &key, NULL), 0);
        assert_true(credentials_add(&c, &key));
        assert_int_equal(credentials_signer(&c, slice_str("acme"))->number, i);
    }
    assert_int_equal(credentials_superseded(&c, "acme")->number, 1);
    assert_null(credentials_signer(&c, slice_str("other")));
    credentials_free(&c);
}

static void all_are_loaded(void **state)
{
    struct orchestrator_note notes[] = {{3, ROW(api_row)}, {5, {"\x09", 1}}, {7, ROW(signing_row)}};
    struct credential key;
    struct credentials c;
    struct error err;

    (void)state;
    credentials_init(&c);
    assert_false(c.loaded);
    assert_int_equal(credentials_load(&c, notes, 3, &err), CODE_FAILED_PRECONDITION);
    assert_true(c.loaded);
    assert_int_equal(c.count, 2);
    assert_non_null(credentials_by_id(&c, "key-3"));
    assert_non_null(credentials_by_id(&c, "sig-7"));
    assert_int_equal(credentials_new_signing_key(&c, "acme", &key, NULL), 0);
    assert_int_equal(key.number, 8); /* never one that is, or was, somebody else's */
    assert_int_equal(credentials_load(&c, notes, 1, &err), 0);
    assert_int_equal(c.count, 1);
    credentials_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_as_ever),  cmocka_unit_test(damage_is_found),
        cmocka_unit_test(names_are_checked), cmocka_unit_test(keys_open_what_they_should),
        cmocka_unit_test(the_newest_signs),  cmocka_unit_test(all_are_loaded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
