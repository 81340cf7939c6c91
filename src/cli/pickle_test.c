// SPDX-License-Identifier: Apache-2.0
/* Pickles as Python writes them, and bytes that are none. */
#include "cli/pickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/value.h"

struct row {
    const char *bytes;
    size_t len;
    const char *shown;
};

static const struct row rows[] = {
    {"\200\004\225W\000\000\000\000\000\000\000\214\016dispatch."
     "proto\224\214\011Arguments\224\223\224)\201\224}\224("
     "\214\004args\224K\001\214\003two\224\206\224\214\006kwargs\224}\224\214\001k\224]\224(G@"
     "\014\000\000\000\000\000\000Nesub.",
     98, "(1, \"two\", k=[3.5, None])"},
    {"\200\004\225;\000\000\000\000\000\000\000\214\016dispatch."
     "proto\224\214\011Arguments\224\223\224)\201\224}\224(\214\004args\224)\214\006kwargs\224}"
     "\224ub.",
     70, "()"},
    {"\200\004\225&\000\000\000\000\000\000\000\214\003app\224\214\001P\224\223\224)\201\224}\224("
     "\214\001x\224K\001\214\004name\224\214\001n\224ub.",
     49, "P(x=1, name=\"n\")"},
    {"\200\002capp\012P\012q\000)\201q\001}q\002("
     "X\001\000\000\000xq\003K\001X\004\000\000\000nameq\004X\001\000\000\000nq\005ub.",
     51, "P(x=1, name=\"n\")"},
    {"\200\004\225\026\000\000\000\000\000\000\000}\224("
     "\214\001a\224\210\214\001b\224\211C\002\000x\224\206\224u.",
     33, "{\"a\": True, \"b\": (False, b\"\\x00x\")}"},
    {"\200\004\225%\000\000\000\000\000\000\000]\224(J\377\377\377\377M,"
     "\001Jp\021\001\000\212\006\000\000\000\000\000\377\212\011\000\000\000\000\000\000\000\000@"
     "e.",
     48, "[-1, 300, 70000, -1099511627776, int(9 bytes)]"},
    {"\200\004\225\007\000\000\000\000\000\000\000\217\224(K\001\220.", 18, "{1}"},
    {"\200\004\225$"
     "\000\000\000\000\000\000\000\214\010builtins\224\214\012ValueError\224\223\224\214\002no\224"
     "\205\224R\224.",
     47, "ValueError(\"no\")"},
    {"\200\004\225$"
     "\000\000\000\000\000\000\000\214\010datetime\224\214\011timedelta\224\223\224K\001K\002K\000"
     "\207\224R\224.",
     47, "timedelta(1, 2, 0)"},
    {"\200\004\225\011\000\000\000\000\000\000\000]\224(K\001h\000e.", 20,
     "[1, [1, [1, [1, [1, [1, [1, [1, "
     "[1, [1, [1, [1, [1, [1, [1, [1, "
     "[..., ...]]]]]]]]]]]]]]]]]"},
};

struct page {
    struct arena arena;
    struct buf out;
};

static int setup(void **state)
{
    struct page *page = calloc(1, sizeof *page);

    if (!page)
        return -1;
    arena_init(&page->arena, (size_t)16 << 20);
    buf_init(&page->out, (size_t)1 << 20);
    *state = page;
    return 0;
}

static int teardown(void **state)
{
    struct page *page = *state;

    arena_reset(&page->arena);
    buf_free(&page->out);
    free(page);
    return 0;
}

static bool describe(struct page *page, struct slice bytes)
{
    buf_reset(&page->out);
    arena_rewind(&page->arena);
    return pickle_describe(bytes, &page->arena, &page->out);
}

static void what_python_writes(void **state)
{
    struct page *page = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(describe(page, slice(rows[i].bytes, rows[i].len)));
        assert_string_equal(buf_cstr(&page->out), rows[i].shown);
    }
}

static void no_pickles(void **state)
{
    static const char *const bad[] = {"",
                                      "text",
                                      "\x80\4",
                                      "\x80\4N",
                                      "\x80\4.",
                                      "\x80\4(.",
                                      "\x80\4e.",
                                      "\x80\4NR.",
                                      "\x80\4h\1.",
                                      "\x80\4)e.",
                                      "\x80\4\x87.",
                                      "\x80\4Px\n.",
                                      "\x80\4gx\n.",
                                      "\x80\4X\xff\xff\xff\xffx.",
                                      "\x80\4p99999999999999999999\n."};
    struct page *page = *state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(describe(page, slice_str(bad[i])));
        assert_int_equal(page->out.len, 0);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t len = 0; len < rows[i].len; len++)
            assert_false(describe(page, slice(rows[i].bytes, len)));
    }
}

/* Whatever stands there, it ends, and what is shown is bounded. */
static void any_bytes_end(void **state)
{
    struct page *page = *state;
    uint32_t seed = 7;
    char bytes[128];

    for (size_t round = 0; round < 2000; round++) {
        const struct row *row = &rows[round % (sizeof rows / sizeof *rows)];

        memcpy(bytes, row->bytes, row->len);
        for (int i = 0; i < 3; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[(seed >> 8) % row->len] = (char)(seed >> 24);
        }
        describe(page, slice(bytes, row->len));
        assert_true(page->out.len < 100000);
    }
}

/* A list of lists of lists of the same, each ten times. */
static void explosions_are_cut(void **state)
{
    struct page *page = *state;
    struct buf bytes;

    buf_init(&bytes, 4096);
    buf_append_str(&bytes, "\x80\4N");
    for (int level = 0; level < 14; level++) {
        buf_append_str(&bytes, "\x94(");
        for (int i = 0; i < 10; i++)
            buf_printf(&bytes, "h%c", level);
        buf_append_str(&bytes, "l");
    }
    bytes.failed = false;
    buf_append_str(&bytes, ".");
    describe(page, buf_slice(&bytes));
    assert_true(page->out.len < 10000);
    buf_free(&bytes);
}

/* Lists that hold themselves behind a number, an attribute or a class that is larger than what is
 * shown: showing them ends all the same. */
static void large_words_are_cut(void **state)
{
    static const char *const heads[] = {"\x80\4](I", "\x80\4](c", "\x80\4](cm\nC\n)R}V"},
                             *const tails[] = {"\n", ".\nx\n", "\nNsb"};
    struct page *page = *state;
    struct buf bytes;

    buf_init(&bytes, (size_t)1 << 20);
    for (size_t i = 0; i < 3; i++) {
        buf_reset(&bytes);
        buf_append_str(&bytes, heads[i]);
        for (int n = 0; n < 100000; n++)
            buf_append_byte(&bytes, '1');
        buf_append_str(&bytes, tails[i]);
        buf_append_str(&bytes, "e\x94(");
        for (int n = 0; n < 100; n++)
            buf_append(&bytes, "h\0", 2);
        buf_append_str(&bytes, "e.");
        assert_true(describe(page, buf_slice(&bytes)));
        assert_true(page->out.len < 10000);
    }
    buf_free(&bytes);
}

static void no_control_characters(void **state)
{
    static const char *const odd[][2] = {
        {"\x80\4I\33[2J\n.", "\\x1b[2J"},
        {"\x80\4cm\nC\33c\n.", "C\\x1bc"},
        {"\x80\4cm\nC\n)R}Va\33c\nNsb.", "C(a\\x1bc=None)"},
    };
    struct page *page = *state;

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        assert_true(describe(page, slice_str(odd[i][0])));
        assert_string_equal(buf_cstr(&page->out), odd[i][1]);
    }
}

/* As the view has them: in a Pickled, or in bytes. */
static void in_values(void **state)
{
    struct page *page = *state;
    char url[] = WIRE_DISPATCH_PREFIX "dispatch.sdk.python.v1.Pickled";
    char bytes_url[] = WIRE_TYPE_PREFIX "google.protobuf.BytesValue";
    uint8_t packed[] = "\x0a\x05\x80\x04K\x07.", broken[] = "\x0a\x02\x80\x04";
    wire_any any = GOOGLE__PROTOBUF__ANY__INIT;

    any.type_url = url;
    any.value = (ProtobufCBinaryData){sizeof packed - 1, packed};
    value_describe(&any, &page->arena, &page->out);
    assert_string_equal(buf_cstr(&page->out), "7");
    buf_reset(&page->out);
    value_show(&any, true, &page->arena, &page->out);
    assert_string_equal(buf_cstr(&page->out), "7");
    any.type_url = bytes_url;
    buf_reset(&page->out);
    value_describe(&any, &page->arena, &page->out);
    assert_string_equal(buf_cstr(&page->out), "7");
    any.value = (ProtobufCBinaryData){sizeof broken - 1, broken};
    buf_reset(&page->out);
    value_describe(&any, &page->arena, &page->out);
    assert_string_equal(buf_cstr(&page->out), "bytes(\\x80\\x04)");
    any.type_url = url;
    buf_reset(&page->out);
    value_describe(&any, &page->arena, &page->out);
    assert_string_equal(buf_cstr(&page->out),
                        WIRE_DISPATCH_PREFIX "dispatch.sdk.python.v1.Pickled(?)");
}

int main(void)
{
#define PAGE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        PAGE(what_python_writes), PAGE(no_pickles),          PAGE(any_bytes_end),
        PAGE(explosions_are_cut), PAGE(large_words_are_cut), PAGE(no_control_characters),
        PAGE(in_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
