// SPDX-License-Identifier: Apache-2.0
/*
 * GET /metrics of a server that works, read by a parser that takes nothing which Prometheus would
 * not, and compared with the page that documents the names (its path is the argument).
 */
#include "server/harness_test.h"

#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *docs;

/* --- the parser ------------------------------------------------------------------------------- */

#define SAMPLES_MAX  4096
#define FAMILIES_MAX 128

struct sample {
    char name[128], labels[512]; /* labels as they stand, without the braces */
    double value;
    size_t family;
};

struct family {
    char name[128], type[16];
};

struct parsed {
    struct sample samples[SAMPLES_MAX];
    size_t sample_count;
    struct family families[FAMILIES_MAX];
    size_t family_count;
};

static size_t name_length(const char *p)
{
    size_t len = 0;

    if (isalpha((unsigned char)*p) || *p == '_' || *p == ':')
        while (isalnum((unsigned char)p[len]) || p[len] == '_' || p[len] == ':')
            len++;
    assert_true(len > 0 && len < 128);
    return len;
}

/* Past {name="value",...}; every escape is one of the three. */
static const char *labels_end(const char *p)
{
    assert_int_equal(*p++, '{');
    for (;;) {
        p += name_length(p);
        assert_memory_equal(p, "=\"", 2);
        for (p += 2; *p != '"'; p++) {
            assert_true(*p && *p != '\n');
            if (*p == '\\')
                assert_non_null(strchr("\\\"n", *++p));
        }
        if (*++p == '}')
            return p + 1;
        assert_int_equal(*p++, ',');
    }
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Is it a name that samples of the family may have? */
static bool is_of(const struct family *f, const char *name)
{
    size_t len = strlen(f->name);
    const char *rest = name + len;

    if (!begins(name, f->name))
        return false;
    if (strcmp(f->type, "histogram") == 0)
        return strcmp(rest, "_bucket") == 0 || strcmp(rest, "_sum") == 0 ||
               strcmp(rest, "_count") == 0;
    return !*rest;
}

static const char *read_family(struct parsed *p, const char *line)
{
    struct family *f = &p->families[p->family_count];
    char help[128], expected[160];
    size_t len;

    assert_true(p->family_count < FAMILIES_MAX);
    assert_true(begins(line, "# HELP "));
    len = name_length(line + 7);
    snprintf(help, sizeof help, "%.*s", (int)len, line + 7);
    assert_int_equal(line[7 + len], ' ');
    line = strchr(line, '\n') + 1;
    snprintf(expected, sizeof expected, "# TYPE %s ", help);
    assert_true(begins(line, expected));
    line += strlen(expected);
    snprintf(f->name, sizeof f->name, "%s", help);
    snprintf(f->type, sizeof f->type, "%.*s", (int)strcspn(line, "\n"), line);
    assert_true(strcmp(f->type, "gauge") == 0 || strcmp(f->type, "counter") == 0 ||
                strcmp(f->type, "histogram") == 0);
    len = strlen(f->name);
    assert_true((strcmp(f->type, "counter") == 0) ==
                (len > 6 && strcmp(f->name + len - 6, "_total") == 0));
    for (size_t i = 0; i < p->family_count; i++)
        assert_string_not_equal(p->families[i].name, f->name);
    p->family_count++;
    return strchr(line, '\n') + 1;
}

static const char *read_sample(struct parsed *p, const char *line)
{
    struct sample *s = &p->samples[p->sample_count];
    size_t len = name_length(line);
    const char *end;
    char *after;

    assert_true(p->sample_count < SAMPLES_MAX && p->family_count > 0);
    *s = (struct sample){.family = p->family_count - 1};
    snprintf(s->name, sizeof s->name, "%.*s", (int)len, line);
    line += len;
    if (*line == '{') {
        end = labels_end(line);
        assert_true((size_t)(end - line) < sizeof s->labels);
        snprintf(s->labels, sizeof s->labels, "%.*s", (int)(end - line - 2), line + 1);
        line = end;
    }
    assert_int_equal(*line++, ' ');
    assert_false(isspace((unsigned char)*line));
    s->value = strtod(line, &after);
    assert_true(after > line && *after == '\n' && isfinite(s->value));
    assert_true(s->value >= 0);
    assert_true(is_of(&p->families[s->family], s->name));
    for (size_t i = 0; i < p->sample_count; i++)
        assert_false(strcmp(p->samples[i].name, s->name) == 0 &&
                     strcmp(p->samples[i].labels, s->labels) == 0);
    p->sample_count++;
    return after + 1;
}

/* Buckets in order and cumulative, the last one infinite and the same as the count. */
static void check_histogram(const struct parsed *p, size_t family)
{
    double bound = -1, count = 0, le;
    bool infinite = false, counted = false, summed = false;

    for (size_t i = 0; i < p->sample_count; i++) {
        const struct sample *s = &p->samples[i];

        if (s->family != family)
            continue;
        if (strstr(s->name, "_bucket")) {
            assert_true(begins(s->labels, "le=\"") && !infinite && s->value >= count);
            le = strtod(s->labels + 4, NULL);
            assert_true(le > bound);
            bound = le;
            count = s->value;
            infinite = isinf(le);
        } else if (strstr(s->name, "_count")) {
            assert_true(infinite && s->value == count);
            counted = true;
        } else {
            summed = true;
        }
    }
    assert_true(infinite && counted && summed);
}

static struct parsed *parse(const char *text)
{
    struct parsed *p = calloc(1, sizeof *p);

    assert_non_null(p);
    assert_true(*text);
    while (*text) {
        assert_non_null(strchr(text, '\n'));
        text = *text == '#' ? read_family(p, text) : read_sample(p, text);
    }
    for (size_t i = 0; i < p->family_count; i++)
        if (strcmp(p->families[i].type, "histogram") == 0)
            check_histogram(p, i);
    return p;
}

static double value(const struct parsed *p, const char *name, const char *labels)
{
    for (size_t i = 0; i < p->sample_count; i++)
        if (strcmp(p->samples[i].name, name) == 0 && strcmp(p->samples[i].labels, labels) == 0)
            return p->samples[i].value;
    fail_msg("there is no %s{%s}", name, labels);
    return 0;
}

/* --- a server --------------------------------------------------------------------------------- */

static int get(struct harness *h, const char *key, const char *method, struct reply *reply)
{
    harness_ask(h, &(struct ask){.method = method, .path = "/metrics", .key = key}, reply);
    return reply->status;
}

static struct parsed *scrape(struct harness *h, const char *key)
{
    struct reply reply;

    assert_int_equal(get(h, key, "GET", &reply), 200);
    assert_string_equal(reply.type, "text/plain; version=0.0.4; charset=utf-8");
    return parse(reply.body);
}

static void test_what_happens_is_counted(void **state)
{
    struct harness h;
    struct parsed *p;
    struct reply reply;
    char labels[160];

    (void)state;
    harness_start(&h, true, 0);
    harness_wait(&h, harness_dispatch(&h, "echo", "{}"));
    harness_wait(&h, harness_dispatch(&h, "flaky", "{}"));
    harness_post(&h, &reply, PATH_DISPATCH,
                 "{\"calls\":[{\"endpoint\":\"bridge://a\\\"\\\\b\",\"function\":\"f\"}]}");
    assert_int_equal(reply.status, 200);
    p = scrape(&h, HARNESS_KEY);
    assert_true(value(p, "dispatch_ready", "") == 1);
    assert_true(value(p, "dispatch_calls_created_total", "") == 3);
    assert_true(value(p, "dispatch_function_ended_total", "function=\"echo\",status=\"OK\"") == 1);
    assert_true(value(p, "dispatch_group_window",
                      "organization=\"default\",endpoint=\"bridge://a\\\"\\\\b\"") >= 1);
    assert_true(value(p, "dispatch_attempts_total", "outcome=\"exit\",status=\"OK\"") == 2);
    assert_true(value(p, "dispatch_run_seconds_count", "") >= 2);
    assert_true(value(p, "dispatch_queue_wait_seconds_count", "") >= 2);
    assert_true(value(p, "dispatch_commit_rows_sum", "") > 3);
    assert_true(value(p, "dispatch_runs_max", "") == 4096);
    snprintf(labels, sizeof labels, "organization=\"default\",endpoint=\"%.40s\"", h.endpoint_url);
    assert_true(value(p, "dispatch_group_attempts_total", labels) == 2);
    assert_true(value(p, "dispatch_group_window", labels) == 18);
    assert_true(value(p, "process_resident_memory_bytes", "") > 1 << 20);
    assert_true(value(p, "process_open_fds", "") > 3);
    free(p);
    harness_finish(&h);
}

static void test_who_may_see_them(void **state)
{
    struct harness h;
    struct reply reply;

    (void)state;
    harness_start(&h, true, 0);
    assert_int_equal(get(&h, NULL, "GET", &reply), 401);
    assert_int_equal(get(&h, "another", "GET", &reply), 401);
    assert_int_equal(get(&h, HARNESS_KEY, "POST", &reply), 405);
    assert_int_equal(get(&h, HARNESS_KEY, "HEAD", &reply), 200);
    harness_finish(&h);
    harness_start(&h, false, 0);
    free(scrape(&h, NULL));
    harness_finish(&h);
}

/* The rows of the page's table: | `name` | type | */
static void test_the_page_has_the_same_names(void **state)
{
    char line[1024], name[128], type[16];
    FILE *page = fopen(docs, "re");
    size_t documented = 0;
    struct harness h;
    struct parsed *p;

    (void)state;
    assert_non_null(page);
    harness_start(&h, false, 0);
    p = scrape(&h, NULL);
    while (fgets(line, sizeof line, page)) {
        bool found = false;

        if (sscanf(line, "| `%127[a-z_]` | %15[a-z] |", name, type) != 2)
            continue;
        documented++;
        for (size_t i = 0; i < p->family_count; i++)
            found |=
                strcmp(p->families[i].name, name) == 0 && strcmp(p->families[i].type, type) == 0;
        if (!found)
            fail_msg("%s, a %s, is documented, and not there", name, type);
    }
    assert_int_equal(documented, p->family_count);
    free(p);
    fclose(page);
    harness_finish(&h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_happens_is_counted),
        cmocka_unit_test(test_who_may_see_them),
        cmocka_unit_test(test_the_page_has_the_same_names),
    };

    if (argc != 2)
        return 2;
    docs = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
