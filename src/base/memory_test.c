// SPDX-License-Identifier: Apache-2.0
/* Out of memory at the Nth allocation, for every N; and what is small: errors, status, random. */
#include "base/batch.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/scarce.h"
#include "base/status.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Runs `body` with memory for 0, 1, 2... allocations until it says that it met no failure. */
static void fail_everywhere(bool (*body)(void), int at_least)
{
    int n = 0;

    for (;; n++) {
        bool done;

        assert_true(n < 1000);
        scarce_begin(n + 1, LONG_MAX);
        done = body();
        assert_int_equal(scarce_end(), !done);
        if (done)
            break;
    }
    assert_true(n >= at_least);
}

static bool use_map(void)
{
    struct map m;
    uint64_t i;
    int value;

    map_init(&m);
    for (i = 0; i < 200 && map_set(&m, i, &value); i++)
        ;
    assert_int_equal(m.len, i);
    for (uint64_t k = 0; k < 200; k++)
        assert_ptr_equal(map_get(&m, k), k < i ? &value : NULL);
    map_free(&m);
    return i == 200;
}

static bool use_atoms(void)
{
    struct atoms t;
    char name[16];
    int i;

    atoms_init(&t);
    for (i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "name %d", i);
        if (!atom_get(&t, slice_str(name)))
            break;
    }
    assert_int_equal(t.count, i);
    assert_int_equal(t.map.len, i);
    atoms_free(&t);
    return i == 50;
}

static bool use_heap(void)
{
    struct heap_node nodes[300];
    struct heap h;
    uint32_t i;

    heap_init(&h);
    for (i = 0; i < 300 && heap_reserve(&h, 1); i++) {
        heap_node_init(&nodes[i]);
        heap_set(&h, &nodes[i], -(int64_t)i);
        assert_ptr_equal(heap_min(&h), &nodes[i]);
    }
    assert_int_equal(h.len, i);
    heap_free(&h);
    return i == 300;
}

static bool use_batch(void)
{
    struct blob *blob = blob_copy(slice_str("shared"));
    struct batch b;
    uint64_t i;

    if (!blob)
        return false;
    batch_init(&b);
    for (i = 0; i < 300; i++)
        if (!(i % 2 ? batch_put_blob(&b, TABLE_PAYLOAD, i, 0, blob)
                    : batch_put(&b, TABLE_CALL, i, 0, slice_str("a value of some length here"))))
            break;
    assert_int_equal(b.count, i);
    assert_int_equal(b.bytes, (i + 1) / 2 * 27 + i / 2 * 6);
    assert_int_equal(atomic_load(&blob->refs), 1 + i / 2);
    batch_free(&b);
    assert_int_equal(atomic_load(&blob->refs), 1);
    blob_unref(blob);
    return i == 300;
}

static bool use_buf(void)
{
    struct buf b;
    size_t i;
    bool failed;

    buf_init(&b, SIZE_MAX);
    for (i = 0; i < 500; i++) {
        buf_printf(&b, "%s", "12345678");
        if (b.failed)
            break;
    }
    assert_int_equal(b.len, i * 8);
    failed = b.failed;
    buf_append_byte(&b, '9');
    assert_int_equal(b.len, i * 8 + !failed);
    if (failed)
        assert_string_equal(buf_cstr(&b), "");
    buf_free(&b);
    return !failed;
}

static bool use_arena(void)
{
    struct arena a;
    int i;

    arena_init(&a, SIZE_MAX);
    for (i = 0; i < 40; i++)
        if (!arena_zalloc(&a, 1, 900) || !arena_printf(&a, "%d", i) ||
            !arena_dup(&a, slice_str("text")))
            break;
    arena_reset(&a);
    return i == 40;
}

static void test_no_memory(void **state)
{
    (void)state;
    fail_everywhere(use_map, 5);
    fail_everywhere(use_atoms, 52);
    fail_everywhere(use_heap, 4);
    fail_everywhere(use_batch, 5);
    fail_everywhere(use_buf, 6);
    fail_everywhere(use_arena, 4);
}

static void test_error(void **state)
{
    struct error err;
    char text[700];

    (void)state;
    assert_int_equal(error_set(NULL, CODE_ABORTED, "unseen"), CODE_ABORTED);
    assert_int_equal(error_set(&err, CODE_NOT_FOUND, "no %s %d", "call", 7), CODE_NOT_FOUND);
    assert_int_equal(err.code, CODE_NOT_FOUND);
    assert_string_equal(err.message, "no call 7");
    error_set(&err, CODE_INTERNAL, "while looking: %s", err.message);
    assert_string_equal(err.message, "while looking: no call 7");
    assert_int_equal(error_memory(&err), CODE_RESOURCE_EXHAUSTED);
    assert_string_equal(err.message, "out of memory");

    /* Cut between characters: 511 bytes fit, and the euro sign stands at 509, 510 and 511. */
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_set(&err, CODE_INTERNAL, "%s", text);
    assert_int_equal(strlen(err.message), 511);
    for (size_t at = 505; at < 512; at++) {
        memset(text, 'x', 600);
        memcpy(text + at, "\xe2\x82\xac", 3);
        error_set(&err, CODE_INTERNAL, "%s", text);
        assert_int_equal(strlen(err.message), at + 3 <= 511 ? 511 : at);
        assert_true(slice_is_utf8(slice_str(err.message)));
    }
}

static void test_code_names(void **state)
{
    (void)state;
    for (int code = CODE_CANCELED; code <= CODE_UNAUTHENTICATED; code++)
        assert_int_equal(code_from_name(code_name(code)), code);
    assert_string_equal(code_name(CODE_CANCELED), "canceled");
    assert_string_equal(code_name(CODE_UNAUTHENTICATED), "unauthenticated");
    assert_string_equal(code_name(-1), "unknown");
    assert_string_equal(code_name(17), "unknown");
    assert_int_equal(code_from_name("NOT_FOUND"), -1);
    assert_int_equal(code_from_name("ok"), -1);
    assert_int_equal(code_from_name(""), -1);
    assert_int_equal(code_from_name(NULL), -1);
}

static void test_status(void **state)
{
    unsigned temporary = 0;

    (void)state;
    for (int s = 0; s < STATUS_COUNT; s++)
        temporary |= (unsigned)status_is_temporary((enum status)s) << s;
    assert_int_equal(temporary, 1 << STATUS_TIMEOUT | 1 << STATUS_THROTTLED |
                                    1 << STATUS_TEMPORARY_ERROR | 1 << STATUS_INCOMPATIBLE_STATE |
                                    1 << STATUS_DNS_ERROR | 1 << STATUS_TCP_ERROR |
                                    1 << STATUS_TLS_ERROR | 1 << STATUS_HTTP_ERROR);
    assert_string_equal(status_name(STATUS_OK), "OK");
    assert_string_equal(status_name(STATUS_INCOMPATIBLE_STATE), "INCOMPATIBLE_STATE");
    assert_string_equal(status_name(STATUS_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(status_name((enum status) - 1), "UNSPECIFIED");
    assert_string_equal(status_name(STATUS_COUNT), "UNSPECIFIED");
    assert_false(status_is_temporary((enum status) - 1));
    assert_false(status_is_temporary((enum status)1000));
}

static void test_random(void **state)
{
    unsigned seen[7] = {0};
    uint8_t one[600] = {0}, two[600] = {0};
    struct rand r;

    (void)state;
    rand_seed(&r, 1);
    assert_true(rand_u64(&r) == UINT64_C(0xb3f2af6d0fc710c5));
    assert_true(rand_u64(&r) == UINT64_C(0x853b559647364cea));
    assert_true(rand_u64(&r) == UINT64_C(0x92f89756082a4514));
    rand_seed(&r, 0);
    assert_true(rand_u64(&r) == UINT64_C(0x99ec5f36cb75f2b4));
    for (int i = 0; i < 7000; i++)
        seen[rand_below(&r, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 800, 1200);
    assert_int_equal(rand_below(&r, 1), 0);
    for (int i = 0; i < 100; i++)
        assert_true(rand_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
    rand_system(one, sizeof one);
    rand_system(two, sizeof two);
    assert_memory_not_equal(one, two, sizeof one);
    assert_memory_not_equal(one + 500, two + 500, 100);
}

static void test_clock(void **state)
{
    struct clock *clock = clock_system();
    int64_t before = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_now(clock);

        assert_true(now >= before);
        before = now;
    }
    assert_true(before > 1700000000 * NS_PER_S); /* the unit is right: it is after 2023 */
    assert_true(before < 8000000000 * NS_PER_S);
    assert_int_equal(time_add(1, 2), 3);
    assert_true(time_add(TIME_NEVER, -5) == TIME_NEVER);
    assert_true(time_add(5, TIME_NEVER) == TIME_NEVER);
    assert_true(time_add(TIME_NEVER - 1, 5) == TIME_NEVER);
    assert_true(time_add(INT64_MIN, -1) == INT64_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory),  cmocka_unit_test(test_error),
        cmocka_unit_test(test_code_names), cmocka_unit_test(test_status),
        cmocka_unit_test(test_random),     cmocka_unit_test(test_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
