// SPDX-License-Identifier: Apache-2.0
/* What `dispatch run` is made of: session ids, lines with prefixes, environments, quotes, children.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/child.h"
#include "cli/lines.h"
#include "cli/notice.h"
#include "cli/session.h"

#define A(text) ((char *)(uintptr_t)(text))

/* --- sessions -------------------------------------------------------------------------------- */

static void test_base62(void **state)
{
    static const struct {
        uint8_t bytes[16];
        const char *text;
    } rows[] = {
        {{0}, "0"},
        {{[15] = 61}, "Z"},
        {{[15] = 62}, "10"},
        {{[14] = 1}, "48"}, /* 256 = 4 * 62 + 8 */
        {{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
         "7N42dgm5tFLK9N8MT7fHC7"},
    };
    char text[23], other[23];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        session_base62(rows[i].bytes, text);
        assert_string_equal(text, rows[i].text);
    }
    session_make(text);
    session_make(other);
    assert_string_not_equal(text, other);
    assert_true(session_valid(text));
}

static void test_session_names(void **state)
{
    static const char *const bad[] = {"", ".hidden", "-x", "a/b", "..", "a b", "a\n", "\xc3\xa9"};
    char longest[SESSION_MAX + 2];

    (void)state;
    assert_true(session_valid("my-session_1.2"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(session_valid(bad[i]));
    memset(longest, 'a', sizeof longest);
    longest[SESSION_MAX] = '\0';
    assert_true(session_valid(longest));
    longest[SESSION_MAX] = 'a';
    longest[SESSION_MAX + 1] = '\0';
    assert_false(session_valid(longest));
}

/* --- lines ----------------------------------------------------------------------------------- */

static struct lines lines;
static FILE *written;
static char text[4 * LINES_MAX];

static int lines_set_up(void **state)
{
    (void)state;
    written = tmpfile();
    if (!written)
        return -1;
    lines_init(&lines, fileno(written), "p | ");
    return 0;
}

static int lines_tear_down(void **state)
{
    (void)state;
    return fclose(written);
}

static const char *all_written(void)
{
    ssize_t n = pread(fileno(written), text, sizeof text - 1, 0);

    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static void feed(const char *data)
{
    lines_feed(&lines, data, strlen(data));
}

static void test_lines(void **state)
{
    (void)state;
    feed("one\ntw");
    assert_string_equal(all_written(), "p | one\n");
    feed("o\n\nlast");
    assert_string_equal(all_written(), "p | one\np | two\np | \n");
    lines_end(&lines);
    assert_string_equal(all_written(), "p | one\np | two\np | \np | last\n");
    lines_end(&lines);
    assert_int_equal(strlen(all_written()), 30);
}

static void test_long_lines(void **state)
{
    static char line[LINES_MAX + 8];
    size_t len = LINES_MAX;

    (void)state;
    memset(line, 'x', sizeof line);
    /* Just fits, whether its end comes with it or not. */
    line[len] = '\n';
    lines_feed(&lines, line, len + 1);
    lines_feed(&lines, line, len);
    lines_feed(&lines, "\n", 1);
    assert_int_equal(strlen(all_written()), 2 * (4 + len + 1));
    /* Too long: cut, but no character in two. */
    memcpy(line + len - 2, "\xe2\x82\xac!\n", 5);
    lines_feed(&lines, line, len + 3);
    all_written();
    assert_string_equal(text + 2 * (4 + len + 1) + 4 + len - 3, "x\np | \xe2\x82\xac!\n");
}

/* However it comes in pieces, it goes out the same. */
static void test_any_pieces(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= 7; piece++) {
        static const char data[] = "a\nbc\n\ndef\n";

        assert_int_equal(ftruncate(fileno(written), 0), 0);
        rewind(written);
        for (size_t i = 0; i < sizeof data - 1; i += piece)
            lines_feed(&lines, data + i, i + piece < sizeof data - 1 ? piece : sizeof data - 1 - i);
        assert_string_equal(all_written(), "p | a\np | bc\np | \np | def\n");
    }
}

static void test_bytes_without_an_end(void **state)
{
    static char line[LINES_MAX];

    (void)state;
    memset(line, 0x80, sizeof line); /* not UTF-8 */
    for (int i = 0; i < 3; i++)
        lines_feed(&lines, line, sizeof line);
    assert_true(lines.len <= LINES_MAX);
    assert_true(strlen(all_written()) >= 2 * LINES_MAX);
}

static void test_prefix(void **state)
{
    char prefix[LINES_PREFIX_MAX], name[100];

    (void)state;
    lines_prefix(prefix, "app", 8, "35", false);
    assert_string_equal(prefix, "app      | ");
    lines_prefix(prefix, "application", 8, "35", false);
    assert_string_equal(prefix, "application | ");
    lines_prefix(prefix, "a\033[2Jb", 8, "35", false);
    assert_string_equal(prefix, "a?[2Jb   | ");
    lines_prefix(prefix, "app", 8, "35", true);
    assert_string_equal(prefix, "\033[35mapp     \033[90m | \033[0m");
    memset(name, 'n', sizeof name);
    name[99] = '\0';
    lines_prefix(prefix, name, 8, "35", true);
    assert_int_equal(strlen(prefix), 64 + 17);
}

/* --- environments, quotes -------------------------------------------------------------------- */

static void test_environment(void **state)
{
    char *const old[] = {A("PATH=/bin"), A("GONE=1"), A("GONER=2"), A("KEY=old"), A("odd"), NULL};
    static const char *const unset[] = {"GONE", NULL};
    static const char *const set[] = {"KEY=new", "URL=x=y", NULL};
    static const char *const wanted[] = {"PATH=/bin", "GONER=2", "odd", "KEY=new", "URL=x=y"};
    char **made = child_environment(old, unset, set);

    (void)state;
    assert_non_null(made);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(made[i], wanted[i]);
    assert_null(made[5]);
    free(made);
}

static void test_quotes(void **state)
{
    char *const argv[] = {A("./app"), A("a b"), A(""), A("it's"), A("--x=1"), A("$HOME"), NULL};
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    notice_command(&out, argv);
    assert_string_equal(buf_cstr(&out), "./app 'a b' '' 'it'\\''s' --x=1 '$HOME'");
    buf_free(&out);
}

/* --- children -------------------------------------------------------------------------------- */

static void test_child(void **state)
{
    char *const argv[] = {A("sh"), A("-c"), A("echo out $V; umask >&2; exit 7"), NULL};
    char *const envp[] = {A("V=val"), A("PATH=/usr/bin:/bin"), NULL};
    struct child_options options = {.argv = argv, .envp = envp, .umask = 027};
    struct child child;
    int status;

    (void)state;
    assert_int_equal(child_start(&child, &options, NULL), CODE_OK);
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(read(child.out, text, sizeof text), 8);
    assert_memory_equal(text, "out val\n", 8);
    assert_int_equal(read(child.err, text, sizeof text), 5);
    assert_memory_equal(text, "0027\n", 5);
    close(child.out);
    close(child.err);
}

static void test_child_that_cannot_be(void **state)
{
    char *const none[] = {A("no-such-program"), NULL}, *const dir[] = {A("/"), NULL};
    char *const envp[] = {NULL};
    struct child_options options = {.argv = none, .envp = envp};
    struct child child;
    struct error err;

    (void)state;
    assert_int_equal(child_start(&child, &options, &err), CODE_NOT_FOUND);
    assert_non_null(strstr(err.message, "is it on the PATH?"));
    options.argv = dir;
    assert_int_equal(child_start(&child, &options, &err), CODE_PERMISSION_DENIED);
}

int main(void)
{
#define LINES(f) cmocka_unit_test_setup_teardown(f, lines_set_up, lines_tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base62),
        cmocka_unit_test(test_session_names),
        LINES(test_lines),
        LINES(test_long_lines),
        LINES(test_any_pieces),
        LINES(test_bytes_without_an_end),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_child),
        cmocka_unit_test(test_child_that_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
