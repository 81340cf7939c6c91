// SPDX-License-Identifier: Apache-2.0
/* Alignment, the maximum, and what survives a rewind (nothing but one chunk). */
#include "base/arena.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_aligned_and_apart(void **state)
{
    struct arena a;
    struct rand r;
    uint8_t *blocks[500];
    size_t sizes[500];

    (void)state;
    rand_seed(&r, 7);
    arena_init(&a, SIZE_MAX);
    for (int i = 0; i < 500; i++) {
        sizes[i] = rand_below(&r, i % 10 == 0 ? 100000 : 200);
        blocks[i] = arena_alloc(&a, sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], i & 0xff, sizes[i]);
    }
    for (int i = 0; i < 500; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(blocks[i][k], i & 0xff);
    arena_reset(&a);
    assert_null(a.chunks);
    assert_int_equal(a.used, 0);
}

static void test_maximum(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 100);
    assert_null(arena_alloc(&a, 101));
    assert_non_null(arena_alloc(&a, 100));
    assert_null(arena_alloc(&a, 1));
    assert_non_null(arena_alloc(&a, 0));
    arena_reset(&a);
    for (int i = 0; i < 6; i++)
        assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, 5));
    assert_non_null(arena_alloc(&a, 4));
    assert_int_equal(a.used, 100);
    arena_reset(&a);

    arena_init(&a, SIZE_MAX);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 64));
    assert_null(arena_zalloc(&a, SIZE_MAX / 2, 3));
    assert_null(arena_dup(&a, slice("", SIZE_MAX)));
    arena_reset(&a);
}

static void test_rewind_keeps_one_chunk(void **state)
{
    struct arena a;
    struct arena_chunk *kept;

    (void)state;
    arena_init(&a, SIZE_MAX);
    arena_rewind(&a);
    assert_null(a.chunks);
    for (int i = 0; i < 1000; i++)
        assert_non_null(arena_alloc(&a, 300));
    kept = a.chunks;
    arena_rewind(&a);
    assert_ptr_equal(a.chunks, kept);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 300));
    assert_ptr_equal(a.chunks, kept);
    arena_reset(&a);

    /* A huge chunk is not held on to. */
    assert_non_null(arena_alloc(&a, 1 << 20));
    arena_rewind(&a);
    assert_null(a.chunks);
    assert_non_null(arena_alloc(&a, 1));
    arena_reset(&a);
}

static void test_zeroed_and_text(void **state)
{
    struct arena a;
    uint8_t *zeroed;

    (void)state;
    arena_init(&a, SIZE_MAX);
    memset(arena_alloc(&a, 1000), 0xff, 1000);
    arena_rewind(&a);
    zeroed = arena_zalloc(&a, 10, 100);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zeroed[i], 0);
    assert_string_equal(arena_dup(&a, slice("hello, world", 5)), "hello");
    assert_string_equal(arena_dup(&a, (struct slice){0}), "");
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 42), "x-42");
    arena_reset(&a);
    arena_init(&a, 4);
    assert_null(arena_printf(&a, "%s", "1234"));
    assert_string_equal(arena_printf(&a, "%s", "123"), "123");
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligned_and_apart),
        cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_rewind_keeps_one_chunk),
        cmocka_unit_test(test_zeroed_and_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
