// SPDX-License-Identifier: Apache-2.0
/* Reading command lines. The commands are this file's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"

/* As main() has them. */
#define A(text) ((char *)(uintptr_t)(text))

static const struct cli_option options[] = {
    {"flag", NULL, "a flag"}, {"value", "V", "a value"}, {"velvet", "V", "another"}, {0}};
static const struct cli_letter letters[] = {{'v', "value"}, {'f', "flag"}, {0}};
static int never(const struct cli_command *self, int argc, char **argv)
{
    (void)self;
    (void)argc;
    (void)argv;
    return CLI_FAILURE;
}

static const struct cli_command server = {.name = "server",
                                          .usage = "",
                                          .summary = "",
                                          .options = options,
                                          .letters = letters,
                                          .run = never};
static const struct cli_command run = {.name = "run", .usage = "", .summary = ""};
static const struct cli_command keys = {.name = "keys", .usage = "", .summary = ""};
static const struct cli_command verification = {.name = "verification", .usage = "", .summary = ""};
static const struct cli_command version = {.name = "version", .usage = "", .summary = ""};
static const struct cli_command help = {.name = "help", .usage = "", .summary = ""};
const struct cli_command *const cli_commands[] = {&run,     &server, &keys, &verification,
                                                  &version, &help,   NULL};

static void test_next(void **state)
{
    char *argv[] = {A("--value"),  A("1"),      A("plain"),  A("--value=2"),
                    A("--value="), A("--flag"), A("-"),      A("--value"),
                    A("--value"),  A("--"),     A("--flag"), A("x")};
    static const struct {
        int option; /* -1: an argument */
        const char *value;
    } wanted[] = {{1, "1"},  {-1, "plain"},  {1, "2"},       {1, ""},  {0, NULL},
                  {-1, "-"}, {1, "--value"}, {-1, "--flag"}, {-1, "x"}};
    struct cli_arg arg;
    int at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        assert_int_equal(cli_next(&server, 12, argv, &at, &arg), CLI_NEXT_ARG);
        assert_ptr_equal(arg.option, wanted[i].option < 0 ? NULL : &options[wanted[i].option]);
        if (wanted[i].value)
            assert_string_equal(arg.value, wanted[i].value);
        else
            assert_null(arg.value);
    }
    assert_int_equal(cli_next(&server, 12, argv, &at, &arg), CLI_NEXT_END);
}

static void test_letters(void **state)
{
    char *argv[] = {A("-v"), A("1"), A("-v2"), A("-f"), A("-v"), A("-f"), A("--"), A("-v"), A("x")};
    static const char *const values[] = {"1", "2", NULL, "-f", "-v", "x"};
    struct cli_arg arg;
    int at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_int_equal(cli_next(&server, 9, argv, &at, &arg), CLI_NEXT_ARG);
        assert_ptr_equal(arg.option, i > 3 ? NULL : &options[i == 2 ? 0 : 1]);
        if (values[i])
            assert_string_equal(arg.value, values[i]);
        else
            assert_null(arg.value);
    }
    assert_int_equal(cli_next(&server, 9, argv, &at, &arg), CLI_NEXT_END);
}

static void test_errors(void **state)
{
    char *bad[] = {A("--none"), A("--flag=1"), A("--value"), A("-x"),
                   A("--valu"), A("-fx"),      A("-v")};
    struct cli_arg arg;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int at = 0;

        assert_int_equal(cli_next(&server, 1, &bad[i], &at, &arg), CLI_NEXT_ERROR);
    }
    /* A command without options. */
    assert_int_equal(cli_next(&version, 1, bad, &(int){0}, &arg), CLI_NEXT_ERROR);
    assert_int_equal(cli_next(&server, 1, (char *[]){A("--help")}, &(int){0}, &arg), CLI_NEXT_HELP);
}

/* They are the command's nowhere, unless it has one of that name. */
static void test_persistent(void **state)
{
    static const struct cli_option own_options[] = {{"api-key", "K", "its own"}, {0}};
    const struct cli_command own = {.name = "own", .options = own_options, .run = never};
    char *argv[] = {A("-k"), A("one"), A("x"), A("--api-key=two"), A("y"), A("-kthree")};
    char *missing[] = {A("--env-file"), A("/no/such/file")};
    struct cli_arg arg;
    int at = 0;

    (void)state;
    assert_int_equal(cli_next(&cli_program, 6, argv, &at, &arg), CLI_NEXT_ARG);
    assert_string_equal(arg.value, "x");
    assert_string_equal(cli_persistent.api_key, "one");
    assert_int_equal(cli_next(&server, 6, argv, &at, &arg), CLI_NEXT_ARG);
    assert_string_equal(arg.value, "y");
    assert_string_equal(cli_persistent.api_key, "two");
    assert_int_equal(cli_next(&own, 6, argv, &at, &arg), CLI_NEXT_ARG);
    assert_ptr_equal(arg.option, &own_options[0]);
    assert_string_equal(arg.value, "three");
    assert_string_equal(cli_persistent.api_key, "two");
    assert_int_equal(cli_next(&own, 2, missing, &(int){0}, &arg), CLI_NEXT_ERROR);
    assert_int_equal(cli_next(&own, 1, missing, &(int){0}, &arg), CLI_NEXT_ERROR);
}

static void test_nearest(void **state)
{
    (void)state;
    assert_ptr_equal(cli_nearest("sever"), &server);
    assert_ptr_equal(cli_nearest("srever"), &server);
    assert_ptr_equal(cli_nearest("serv"), &server);
    assert_ptr_equal(cli_nearest("vesion"), &version);
    assert_ptr_equal(cli_nearest("halp"), &help);
    assert_ptr_equal(cli_nearest("rum"), &run);
    assert_null(cli_nearest("ask"));
    assert_null(cli_nearest(""));
    assert_null(cli_nearest("a-word-longer-than-any-name-of-a-command"));
    assert_ptr_equal(cli_find("help"), &help);
    assert_null(cli_find("hel"));
}

static void test_duration(void **state)
{
    static const struct {
        const char *text;
        uint32_t ms;
    } good[] = {{"0", 0},
                {"7", 7000},
                {"250ms", 250},
                {"10s", 10000},
                {"5m", 300000},
                {"2h", 7200000},
                {"4294967295ms", UINT32_MAX}};
    static const char *const bad[] = {
        "", "s", "1d", "-1s", "1.5s", "1 s", "5mins", "4294967296ms", "99999999999999999999h"};
    uint32_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(cli_duration(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(cli_duration(bad[i], &ms));
}

static void test_size(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"1000", 1000},
                {"1KiB", 1024},
                {"500MiB", UINT64_C(500) << 20},
                {"10GiB", UINT64_C(10) << 30},
                {"8000TiB", UINT64_C(8000) << 40}};
    static const char *const bad[] = {"", "GiB", "-1", "10GB", "10 GiB", "1.5GiB", "99999999TiB"};
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(cli_size(good[i].text, &bytes));
        assert_true(bytes == good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(cli_size(bad[i], &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),       cmocka_unit_test(test_letters),
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_duration),   cmocka_unit_test(test_size),
        cmocka_unit_test(test_persistent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
