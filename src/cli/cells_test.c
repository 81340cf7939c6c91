// SPDX-License-Identifier: Apache-2.0
/* Text in cells: nothing that a terminal would obey, and exact widths. */
#include "cli/cells.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *cleaned(const char *text, size_t len, bool styled)
{
    static char kept[512];
    struct buf out;

    buf_init(&out, 4096);
    cells_clean(slice(text, len), styled, &out);
    snprintf(kept, sizeof kept, "%s", buf_cstr(&out));
    buf_free(&out);
    return kept;
}

static void nothing_moves_the_cursor(void **state)
{
    static const struct {
        const char *dirty, *clean;
    } rows[] = {
        {"plain", "plain"},
        {"a\tb\r\n", "a    b "},
        {"\033[31mred\033[0m", "red"},
        {"\033[2J\033[1;1Hhome", "home"},
        {"\033]0;title\007text", "text"},
        {"\033]8;;http://x\033\\link\033]8;;\033\\", "link"},
        {"\033Pdcs\033\\after", "after"},
        {"\033(Bset\033=\033>", "set"},
        {"cut \033[12", "cut "},
        {"cut \033]0;tit", "cut "},
        {"cut \033", "cut "},
        {"bell\007 back\b del\177", "bell back del"},
        {"c1 \302\233"
         "2J",
         "c1 2J"},
        {"bad \377 \300\257", "bad \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x80\xae"
         "abc",
         "abc"}, /* right to left */
        {"e\xcc\x81", "e\xcc\x81"},
        {"\xcc\x81"
         "e",
         "e"}, /* combines with nothing */
        {"o\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81", "o\xcc\x81\xcc\x81\xcc\x81"},
        {"\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac"},
        {"\1\2\3", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(cleaned(rows[i].dirty, strlen(rows[i].dirty), false), rows[i].clean);
    assert_string_equal(cleaned("\0a\0", 3, false), "a");
    assert_string_equal(cleaned("\033[90mgray\033[0m \033[5mno", 20, true), "\2gray\1 no");
}

/* Whatever the bytes are, what comes out is clean. */
static void any_bytes_become_clean(void **state)
{
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        static const char likely[] = "\033[]P\\0;m\x9b\xc2\xe2\x80\xcc";
        char bytes[24];
        const char *out;

        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = seed >> 31 ? (char)(seed >> 16) : likely[(seed >> 16) % (sizeof likely - 1)];
        }
        out = cleaned(bytes, sizeof bytes, false);
        assert_true(slice_is_utf8(slice_str(out)));
        for (; *out; out++)
            assert_true((uint8_t)*out >= ' ' && *out != 0x7f);
    }
}

static const char *column(const char *text, int width, bool right)
{
    static char kept[256];
    struct buf out;

    buf_init(&out, 4096);
    cells_column(slice_str(text), width, right, &out);
    snprintf(kept, sizeof kept, "%s", buf_cstr(&out));
    buf_free(&out);
    return kept;
}

static void columns_are_exact(void **state)
{
    (void)state;
    assert_string_equal(column("abc", 5, false), "abc  ");
    assert_string_equal(column("abc", 5, true), "  abc");
    assert_string_equal(column("abcdef", 5, false), "ab...");
    assert_string_equal(column("abcdef", 3, false), "abc");
    assert_string_equal(column("abcdef", 0, false), "");
    assert_string_equal(column("\xe6\x97\xa5\xe6\x9c\xac", 4, false), "\xe6\x97\xa5\xe6\x9c\xac");
    assert_string_equal(column("\xe6\x97\xa5\xe6\x9c\xac", 3, false), "\xe6\x97\xa5 ");
    assert_string_equal(column("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e!", 6, false),
                        "\xe6\x97\xa5... ");
    assert_string_equal(column("e\xcc\x81"
                               "e\xcc\x81",
                               2, false),
                        "e\xcc\x81"
                        "e\xcc\x81");
    assert_int_equal(cells_width(slice_str("\2a\xf0\x9f\x98\x80\1")), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_moves_the_cursor),
        cmocka_unit_test(any_bytes_become_clean),
        cmocka_unit_test(columns_are_exact),
    };

    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
