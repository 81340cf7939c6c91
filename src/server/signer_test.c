// SPDX-License-Identifier: Apache-2.0
/* Requests signed on other threads: each that was not given up is told of once, signed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/signer.h"

#define MANY    (3 * SIGNER_THREADS * SIGNER_BATCH)
#define CREATED 1618884473

struct request {
    struct signing *signing;
    struct blob *body;
    unsigned told;
};

static struct world {
    struct net_loop *loop;
    struct signer *signer;
    struct signature_private key;
    struct request requests[MANY];
    size_t told;
    bool gives_up; /* each that is told of gives the next one up */
} w;

static void assert_signed(const struct request *r, const struct signature_headers *made)
{
    const struct signature_field fields[] = {
        {slice_str("content-type"), slice_str("application/proto")},
        {slice_str("content-digest"), slice_str(made->content_digest)},
        {slice_str("signature-input"), slice_str(made->signature_input)},
        {slice_str("signature"), slice_str(made->signature)}};
    const struct signature_request request = {.method = slice_str("POST"),
                                              .path = slice_str("/run"),
                                              .authority = slice_str("app:8000"),
                                              .fields = fields,
                                              .field_count = 4,
                                              .body = blob_slice(r->body)};
    struct signature_public key;
    struct error err;

    signature_public_of(&w.key, &key);
    if (signature_verify(&request, &key, CREATED * INT64_C(1000000000), &err))
        fail_msg("%s", err.message);
}

static void was_signed(void *arg, const struct signature_headers *made, struct blob *body,
                       const struct error *err)
{
    struct request *r = arg, *next = r + 1;

    assert_null(err);
    assert_ptr_equal(body, r->body);
    assert_signed(r, made);
    r->told++;
    r->signing = NULL;
    w.told++;
    if (w.gives_up && next < w.requests + MANY && next->signing) {
        signing_give_up(next->signing);
        next->signing = NULL;
    }
}

/* Everything of the request but its body is gone when it is signed. */
static void begin(struct request *r, size_t number)
{
    char path[] = "/run", authority[] = "app:8000", type[] = "application/proto";
    struct signature_field field = {slice_str("content-type"), slice_str(type)};
    struct signature_request request = {.path = slice_str(path),
                                        .authority = slice_str(authority),
                                        .fields = &field,
                                        .field_count = 1};
    struct signature_private key = w.key;

    *r = (struct request){.body = blob_copy(slice(&number, sizeof number))};
    assert_non_null(r->body);
    assert_int_equal(signer_sign(w.signer, &request, r->body, &key, CREATED, r, &r->signing, NULL),
                     CODE_OK);
    memset(&key, 0, sizeof key);
    memset(path, 'x', sizeof path);
    memset(authority, 'x', sizeof authority);
    memset(type, 'x', sizeof type);
}

static int set_up(void **state)
{
    static const uint8_t seed[32] = {1, 2, 3};

    (void)state;
    w = (struct world){0};
    signature_from_seed(seed, &w.key);
    assert_int_equal(net_loop_create(&w.loop, NULL), CODE_OK);
    w.signer = signer_create(w.loop, was_signed);
    assert_non_null(w.signer);
    for (size_t i = 0; i < MANY; i++)
        begin(&w.requests[i], i);
    assert_int_equal(w.told, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    signer_destroy(w.signer);
    net_loop_destroy(w.loop);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(atomic_load(&w.requests[i].body->refs), 1);
        blob_unref(w.requests[i].body);
    }
    return 0;
}

static void test_all_are_signed(void **state)
{
    (void)state;
    while (w.told < MANY)
        net_loop_wait(w.loop);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(w.requests[i].told, 1);
    blob_unref(w.requests[0].body);
    begin(&w.requests[0], 0); /* one alone */
    w.told = 0;
    while (w.told < 1)
        net_loop_wait(w.loop);
}

/* Those with a thread, and those that wait for one. */
static void test_given_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i += 3)
        signing_give_up(w.requests[i].signing);
    while (w.told < MANY - MANY / 3)
        net_loop_wait(w.loop);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(w.requests[i].told, i % 3 ? 1 : 0);
}

static void test_given_up_when_another_is_told_of(void **state)
{
    size_t given_up = 0;

    (void)state;
    w.gives_up = true;
    while (w.told + given_up < MANY) {
        net_loop_wait(w.loop);
        given_up = 0;
        for (size_t i = 0; i < MANY; i++)
            given_up += !w.requests[i].signing && !w.requests[i].told;
    }
    assert_true(given_up > 0);
}

static void test_destroyed_while_signing(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        signing_give_up(w.requests[i].signing);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_all_are_signed),
        TEST(test_given_up),
        TEST(test_given_up_when_another_is_told_of),
        TEST(test_destroyed_while_signing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
