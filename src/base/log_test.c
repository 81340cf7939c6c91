// SPDX-License-Identifier: Apache-2.0
/* Whole lines, read back from a pipe; hostile values; lines and values too long. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];

static int setup(void **state)
{
    (void)state;
    return pipe(ends);
}

static int teardown(void **state)
{
    (void)state;
    return close(ends[0]) | close(ends[1]);
}

static struct log logger(enum log_format format)
{
    return (struct log){.fd = ends[1], .level = LOG_INFO, .format = format};
}

/* What one write put into the pipe. The time is checked for its shape and replaced by T. */
static const char *written(void)
{
    static const char shape[] = "0000-00-00T00:00:00.000Z";
    static char text[16384];
    ssize_t len = read(ends[0], text, sizeof text - 1);
    char *stamp;

    assert_true(len > 0);
    text[len] = '\0';
    stamp = strpbrk(text, "0123456789");
    assert_non_null(stamp);
    for (size_t i = 0; shape[i]; i++) {
        if (shape[i] == '0')
            assert_in_range(stamp[i], '0', '9');
        else
            assert_int_equal(stamp[i], shape[i]);
    }
    *stamp = 'T';
    memmove(stamp + 1, stamp + sizeof shape - 1, strlen(stamp + sizeof shape - 1) + 1);
    return text;
}

static const char *written_raw(void)
{
    static char raw[1024];
    ssize_t len = read(ends[0], raw, sizeof raw - 1);

    assert_true(len > 0);
    raw[len] = '\0';
    return raw;
}

static void test_logfmt(void **state)
{
    struct log log = logger(LOG_LOGFMT);

    (void)state;
    log_line(&log, LOG_INFO, "listening", LOG_STR("address", "127.0.0.1"), LOG_NUM("port", 3477),
             LOG_NUM("least", INT64_MIN), LOG_STR("empty", ""), LOG_STR("null", NULL),
             LOG_SLICE("bytes", slice("abcdef", 3)), LOG_STR("spaced", "a b"),
             LOG_STR("quoted", "say \"x\" = \\y"), LOG_STR("unicode", "\xc3\xa9t\xc3\xa9"));
    assert_string_equal(
        written(), "time=T level=info msg=\"listening\" address=127.0.0.1 port=3477 "
                   "least=-9223372036854775808 empty=\"\" null=\"\" bytes=abc "
                   "spaced=\"a b\" quoted=\"say \\\"x\\\" = \\\\y\" unicode=\xc3\xa9t\xc3\xa9\n");
    log_line(&log, LOG_ERROR, "no fields");
    assert_string_equal(written(), "time=T level=error msg=\"no fields\"\n");
}

static void test_json(void **state)
{
    struct log log = logger(LOG_JSON);

    (void)state;
    log_line(&log, LOG_WARN, "a \"message\"", LOG_STR("key", "value"), LOG_NUM("n", -1));
    assert_string_equal(written(),
                        "{\"time\":\"T\",\"level\":\"warn\",\"msg\":\"a \\\"message\\\"\","
                        "\"key\":\"value\",\"n\":-1}\n");
    log_line(&log, LOG_INFO, "");
    assert_string_equal(written(), "{\"time\":\"T\",\"level\":\"info\",\"msg\":\"\"}\n");
}

/* Nothing in a value can end the line, forge a field, move a terminal's cursor or break JSON. */
static void test_plain(void **state)
{
    struct log log = logger(LOG_PLAIN);
    int y, mo, d, h, mi, sec, ms, end = 0;
    char text[256];
    ssize_t len;

    (void)state;
    log.prefix = "app | ";
    log_line(&log, LOG_WARN, "went wrong", LOG_STR("call", "c1"), LOG_STR("why", "two words"));
    len = read(ends[0], text, sizeof text - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_int_equal(
        sscanf(text, "app | %4d-%2d-%2d %2d:%2d:%2d.%3d%n", &y, &mo, &d, &h, &mi, &sec, &ms, &end),
        7);
    assert_string_equal(text + end, " WARN went wrong call=c1 why=\"two words\"\n");
    log_line(&log, LOG_INFO, "fine");
    len = read(ends[0], text, sizeof text - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_non_null(strstr(text, " fine\n"));
    assert_null(strstr(text, "INFO"));
}

static void test_hostile_values(void **state)
{
    static const char hostile[] = "a\nlevel=error\r\t\x1b[2J\x7f\xc2\x9b|\xff|\xe2\x82|\0z";
    static const char expected[] =
        "\"a\\nlevel=error\\r\\t\\u001b[2J\\u007f\\u009b|\\ufffd|\\ufffd\\ufffd|\\u0000z\"";
    struct log log = logger(LOG_LOGFMT);
    char line[512];

    (void)state;
    log_line(&log, LOG_INFO, "m", LOG_SLICE("v", slice(hostile, sizeof hostile - 1)));
    snprintf(line, sizeof line, "time=T level=info msg=\"m\" v=%s\n", expected);
    assert_string_equal(written(), line);
    log.format = LOG_JSON;
    log_line(&log, LOG_INFO, "m", LOG_SLICE("v", slice(hostile, sizeof hostile - 1)));
    snprintf(line, sizeof line, "{\"time\":\"T\",\"level\":\"info\",\"msg\":\"m\",\"v\":%s}\n",
             expected);
    assert_string_equal(written(), line);
}

static void test_levels_and_silence(void **state)
{
    struct log log = logger(LOG_LOGFMT), *none = NULL;
    int evaluated = 0;

    (void)state;
    log_line(&log, LOG_DEBUG, "too low", LOG_NUM("n", ++evaluated));
    log_line(none, LOG_ERROR, "nowhere", LOG_NUM("n", ++evaluated));
    log_write(&log, LOG_DEBUG, "too low", NULL, 0);
    log_write(NULL, LOG_ERROR, "nowhere", NULL, 0);
    assert_int_equal(evaluated, 0);
    log_line(&log, LOG_WARN, "first");
    assert_string_equal(written(), "time=T level=warn msg=\"first\"\n");
}

static void test_long_value_is_cut(void **state)
{
    struct log log = logger(LOG_LOGFMT);
    char value[1200], line[1400];

    (void)state;
    memset(value, 'x', sizeof value);
    log_line(&log, LOG_INFO, "m", LOG_SLICE("v", slice(value, 1000)));
    snprintf(line, sizeof line, "time=T level=info msg=\"m\" v=%.1000s\n", value);
    assert_string_equal(written(), line);
    log_line(&log, LOG_INFO, "m", LOG_SLICE("v", slice(value, 1001)));
    snprintf(line, sizeof line, "time=T level=info msg=\"m\" v=\"%.1000s...\"\n", value);
    assert_string_equal(written(), line);

    /* Not inside a character. */
    memcpy(value + 998, "\xe2\x82\xac", 3);
    log_line(&log, LOG_INFO, "m", LOG_SLICE("v", slice(value, sizeof value)));
    snprintf(line, sizeof line, "time=T level=info msg=\"m\" v=\"%.998s...\"\n", value);
    assert_string_equal(written(), line);
}

static void test_long_line_stays_whole(void **state)
{
    struct log log = logger(LOG_LOGFMT);
    struct log_field fields[20];
    char value[1000];
    const char *line;
    size_t len;

    (void)state;
    memset(value, 'x', sizeof value);
    for (int i = 0; i < 20; i++)
        fields[i] = LOG_SLICE("v", slice(value, sizeof value));
    log_write(&log, LOG_INFO, "m", fields, 20);
    line = written();
    len = strlen(line);
    assert_in_range(len, 7000, 8192);
    assert_string_equal(line + len - 17, "x truncated=true\n");
    log.format = LOG_JSON;
    log_write(&log, LOG_INFO, "m", fields, 20);
    line = written();
    len = strlen(line);
    assert_in_range(len, 7000, 8192);
    assert_string_equal(line + len - 20, "\",\"truncated\":true}\n");
}

static void test_colours(void **state)
{
    struct log log = logger(LOG_PLAIN);
    const char *line;

    (void)state;
    log.colours = true;
    log_line(&log, LOG_WARN, "failed", LOG_STR("function", "f"), LOG_NUM("n", 1));
    line = written_raw();
    assert_memory_equal(line, "\033[90m2", 6);
    line = strchr(line, 'm') + 1 + strlen("2006-01-02 15:04:05.000");
    assert_string_equal(line, "\033[0m WARN failed \033[90mfunction=\033[0mf \033[90mn=\033[0m1\n");
}

static char sunk[128];

static void sink(void *arg, enum log_level level, const char *line, size_t len)
{
    assert_int_equal(level, LOG_ERROR);
    snprintf(arg, sizeof sunk, "%.*s", (int)len, line);
}

static void test_sink(void **state)
{
    struct log log = logger(LOG_LOGFMT);

    (void)state;
    log.sink = sink;
    log.sink_arg = sunk;
    log_line(&log, LOG_ERROR, "words");
    assert_non_null(strstr(sunk, "level=error msg=\"words\""));
    assert_null(strchr(sunk, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logfmt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_colours, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sink, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels_and_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_value_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_line_stays_whole, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
