// SPDX-License-Identifier: Apache-2.0
/* The configuration file, files of environment variables, and which key they lead to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/config.h"
#include "cli/dotenv.h"
#include "cli/origin.h"
#include "cli/toml.h"

static struct config config;
static struct error err;

/* --- the file --------------------------------------------------------------------------------- */

/* As the original writes it. */
static const char original[] = "# Warning = 'THIS FILE IS GENERATED. DO NOT EDIT!'\n"
                               "active = 'acme'\n"
                               "\n"
                               "[Organizations]\n"
                               "[Organizations.acme]\n"
                               "api_key = 'secret'\n"
                               "\n"
                               "[Organizations.'b.c']\n"
                               "api_key = \"q\\\"uo\\u0074ed\" # why not\n";

static void test_original(void **state)
{
    (void)state;
    assert_int_equal(config_parse(&config, slice_str(original), &err), CODE_OK);
    assert_string_equal(config.active, "acme");
    assert_int_equal(config.count, 2);
    assert_string_equal(config_find(&config, "acme")->api_key, "secret");
    assert_string_equal(config_find(&config, "acme")->api_url, "");
    assert_string_equal(config_find(&config, "b.c")->api_key, "q\"uoted");
    assert_null(config_find(&config, "d"));
}

static void test_other_spellings(void **state)
{
    static const char text[] = "\tother = 1979-05-27T07:32:00Z\r\n"
                               "x.y = true\n"
                               "Organizations.a.api_key='k'\n"
                               "active=\"a\"\n"
                               "[ further . \"t\" ] # ignored\n"
                               "active = -1.5e+3";

    (void)state;
    assert_int_equal(config_parse(&config, slice_str(text), &err), CODE_OK);
    assert_string_equal(config.active, "a");
    assert_string_equal(config_find(&config, "a")->api_key, "k");
    assert_int_equal(config_parse(&config, slice_str(""), &err), CODE_OK);
    assert_string_equal(config.active, "");
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"active = 'a'\nactive = 'b'", "line 2: active is given twice"},
        {"active = yes", "line 1: active is a string"},
        {"# x\n\nactive 'a'", "line 3: there is no '='"},
        {"active = 'a", "line 1: a string has no end"},
        {"active = 'a' 'b'", "line 1: there is more"},
        {"active = ['a']", "line 1: active is a string"},
        {"x = ['a', 'b'", "line 1: an array ends with ']'"},
        {"x = ['a' 'b']", "line 1: an array ends with ']'"},
        {"x = ['a'] 'b'", "line 1: there is more"},
        {"x = [['a']]", "line 1: a name or a value is missing"},
        {"active = ", "line 1: a name or a value is missing"},
        {"active = '''a'''", "several lines"},
        {"active = \"\\x\"", "escape"},
        {"active = \"\\u0007\"", "escape"},
        {"active = \"\\ud800\"", "escape"},
        {"active = '\033[2J'", "control character"},
        {"active = '\xff'", "UTF-8"},
        {"[[x]]", "arrays of tables"},
        {"[x", "ends with ']'"},
        {"a.b.c.d.e = 1", "too deep"},
        {"[a.b.c]\nd.e = 1", "line 2: tables are too deep"},
        {"[Organizations.a]\napi_key = 'two words'", "line 2: api_key has characters"},
        {"[Organizations.'']\napi_key = 'x'", "line 2: an organization's name"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(config_parse(&config, slice_str(rows[i].text), &err),
                         CODE_INVALID_ARGUMENT);
        if (!strstr(err.message, rows[i].message))
            fail_msg("'%s': %s", rows[i].text, err.message);
    }
}

static void test_maxima(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 1 << 20);
    for (int i = 0; i <= CONFIG_ORGS_MAX; i++) {
        assert_int_equal(config_parse(&config, buf_slice(&text), &err), CODE_OK);
        buf_printf(&text, "[Organizations.o%d]\napi_key = 'k%d'\n", i, i);
    }
    assert_int_equal(config_parse(&config, buf_slice(&text), &err), CODE_INVALID_ARGUMENT);
    buf_reset(&text);
    buf_append_str(&text, "active = '");
    for (int i = 0; i < CONFIG_SLUG_MAX; i++)
        buf_append_byte(&text, 'a');
    buf_append_byte(&text, '\'');
    assert_int_equal(config_parse(&config, buf_slice(&text), &err), CODE_OK);
    text.data[text.len - 1] = 'a';
    buf_append_byte(&text, '\'');
    assert_int_equal(config_parse(&config, buf_slice(&text), &err), CODE_INVALID_ARGUMENT);
    buf_free(&text);
}

/* --- on disk ---------------------------------------------------------------------------------- */

static char dir[] = "/tmp/dispatch-config-XXXXXX", path[PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/a/b/config.toml", dir);
    return setenv("DISPATCH_CONFIG_PATH", path, 1) || unsetenv("DISPATCH_API_KEY");
}

static int tear_down(void **state)
{
    char sub[PATH_MAX];

    (void)state;
    unlink(path);
    snprintf(sub, sizeof sub, "%s/a/b", dir);
    rmdir(sub);
    snprintf(sub, sizeof sub, "%s/a", dir);
    rmdir(sub);
    snprintf(sub, sizeof sub, "%s/env", dir);
    unlink(sub);
    return rmdir(dir);
}

static void test_saved(void **state)
{
    static struct config again;
    struct stat st;
    char found[PATH_MAX];

    (void)state;
    assert_int_equal(config_path(found, &err), CODE_OK);
    assert_string_equal(found, path);
    assert_int_equal(config_load(&again, path, &err), CODE_NOT_FOUND);
    assert_int_equal(config_parse(&config, slice_str(original), &err), CODE_OK);
    memcpy(config_put(&config, "it's")->api_url, "http://x", 9);
    assert_int_equal(config_save(&config, path, &err), CODE_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(config_load(&again, path, &err), CODE_OK);
    assert_int_equal(again.count, 3);
    assert_string_equal(again.active, "acme");
    for (size_t i = 0; i < again.count; i++) {
        assert_string_equal(again.orgs[i].slug, config.orgs[i].slug);
        assert_string_equal(again.orgs[i].api_key, config.orgs[i].api_key);
        assert_string_equal(again.orgs[i].api_url, config.orgs[i].api_url);
    }
}

static void test_saved_through_a_link(void **state)
{
    char link[PATH_MAX + 8];
    struct stat st;

    (void)state;
    assert_int_equal(config_parse(&config, slice_str(original), &err), CODE_OK);
    snprintf(link, sizeof link, "%s/link", dir);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(config_save(&config, link, &err), CODE_OK);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(config_load(&config, path, &err), CODE_OK);
}

/* --- the key ---------------------------------------------------------------------------------- */

static void save(const char *text)
{
    assert_int_equal(config_parse(&config, slice_str(text), &err), CODE_OK);
    assert_int_equal(config_save(&config, path, &err), CODE_OK);
}

static void test_precedence(void **state)
{
    struct origin o;

    (void)state;
    unlink(path);
    assert_int_equal(origin_choose(&o, NULL, &err), CODE_UNAUTHENTICATED);
    assert_string_equal(err.message,
                        "Please run `dispatch login` to login to Dispatch. Alternatively, set the "
                        "DISPATCH_API_KEY environment variable, or provide an --api-key (-k) on "
                        "the command line.");
    save("[Organizations.a]\napi_key = 'ka'\napi_url = 'http://a'");
    assert_int_equal(origin_choose(&o, NULL, &err), CODE_UNAUTHENTICATED);
    assert_string_equal(err.message,
                        "No organization selected. Please run `dispatch switch` to select one.");
    save("active = 'b'\n[Organizations.a]\napi_key = 'ka'\napi_url = 'http://a'");
    assert_int_equal(origin_choose(&o, NULL, &err), CODE_UNAUTHENTICATED);
    assert_string_equal(err.message,
                        "invalid active organization 'b' found in configuration. Please run "
                        "`dispatch login` or `dispatch switch`");
    save("active = 'a'\n[Organizations.a]\napi_key = 'ka'\napi_url = 'http://a'");
    assert_int_equal(origin_choose(&o, NULL, &err), CODE_OK);
    assert_string_equal(o.key, "ka");
    assert_string_equal(o.api_url, "http://a");
    assert_string_equal(o.hint, "please login again using: dispatch login");
    setenv("DISPATCH_API_KEY", "kv", 1);
    assert_int_equal(origin_choose(&o, NULL, &err), CODE_OK);
    assert_string_equal(o.key, "kv");
    assert_string_equal(o.hint, "check DISPATCH_API_KEY environment variable");
    assert_int_equal(origin_choose(&o, "kf", &err), CODE_OK);
    assert_string_equal(o.key, "kf");
    assert_string_equal(o.hint, "check the -k,--api-key command-line option");
    unsetenv("DISPATCH_API_KEY");
}

/* --- variables -------------------------------------------------------------------------------- */

static void test_dotenv(void **state)
{
    static const char text[] = "# a comment\n"
                               "A=1\r\n"
                               "  export B = two words  # not this\n"
                               "C='# $A\nsecond line' # comment\n"
                               "D=\"x\\ny ${A}$A$ \\$A\"\n"
                               "E=\n"
                               "F=a#b$A${NONE}\n"
                               "A=2";
    static const char *const wanted[][2] = {{"A", "1"},
                                            {"B", "two words"},
                                            {"C", "# $A\nsecond line"},
                                            {"D", "x\ny 11$ $A"},
                                            {"E", ""},
                                            {"F", "a#b1"},
                                            {"A", "2"}};
    static struct dotenv dotenv;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(dotenv_read(&dotenv, slice_str(text), &arena, &err), CODE_OK);
    assert_int_equal(dotenv.count, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(dotenv.variables[i].name, wanted[i][0]);
        assert_string_equal(dotenv.variables[i].value, wanted[i][1]);
    }
    arena_reset(&arena);
}

static void test_dotenv_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {{"A=1\n=2", "line 2: it does not begin with the name"},
                {"A", "line 1: there is no '='"},
                {"A='x\n\n", "line 1: a quote is not closed"},
                {"\n\nA=\"x\" y", "line 3: there is more"},
                {"1A=x", "line 1: it does not begin"}};
    static struct dotenv dotenv;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(dotenv_read(&dotenv, slice_str(rows[i].text), &arena, &err),
                         CODE_INVALID_ARGUMENT);
        if (!strstr(err.message, rows[i].message))
            fail_msg("'%s': %s", rows[i].text, err.message);
    }
    assert_int_equal(dotenv_read(&dotenv, slice("A=\0", 3), &arena, &err), CODE_INVALID_ARGUMENT);
    arena_reset(&arena);
}

static void test_dotenv_load(void **state)
{
    char file[PATH_MAX], here[PATH_MAX], wanted[2 * PATH_MAX];
    FILE *f;

    (void)state;
    snprintf(file, sizeof file, "%s/env", dir);
    f = fopen(file, "w");
    assert_non_null(f);
    fputs("CONFIG_TEST_A=file\nCONFIG_TEST_B=1\nCONFIG_TEST_B=2\n", f);
    fclose(f);
    setenv("CONFIG_TEST_A", "before", 1);
    assert_int_equal(dotenv_load(file, &err), CODE_OK);
    assert_string_equal(getenv("CONFIG_TEST_A"), "before");
    assert_string_equal(getenv("CONFIG_TEST_B"), "2");
    assert_int_equal(dotenv_load("no-such-file", &err), CODE_NOT_FOUND);
    assert_non_null(getcwd(here, sizeof here));
    snprintf(wanted, sizeof wanted, "failed to load env file from %s/no-such-file: ", here);
    assert_memory_equal(err.message, wanted, strlen(wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_original),       cmocka_unit_test(test_other_spellings),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_maxima),
        cmocka_unit_test(test_saved),          cmocka_unit_test(test_saved_through_a_link),
        cmocka_unit_test(test_precedence),     cmocka_unit_test(test_dotenv),
        cmocka_unit_test(test_dotenv_refused), cmocka_unit_test(test_dotenv_load),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
