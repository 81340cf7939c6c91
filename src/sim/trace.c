// SPDX-License-Identifier: Apache-2.0
/*
 * The history as lines: each goes into the hash by which two runs of a seed are compared, and the
 * last hundred are kept for the report of a failure. A failed assertion in the code under test is
 * a failure like any other, reported from the signal's handler with nothing but write().
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/world.h"

static struct world *guarded; /* for the handler of SIGABRT, which has no other way to know */

void trace(struct world *w, const char *format, ...)
{
    char *line = w->lines[w->line_count++ % TRACE_LINES];
    int64_t ms = (w->now - w->born) / NS_PER_MS;
    va_list args;
    int n;

    n = snprintf(line, TRACE_WIDTH, "%6" PRIu64 " %9" PRId64 ".%03" PRId64 " ", w->step, ms / 1000,
                 ms % 1000);
    va_start(args, format);
    vsnprintf(line + n, TRACE_WIDTH - (size_t)n, format, args);
    va_end(args);
    w->hash = slice_hash(slice_str(line), w->hash);
    if (w->verbose)
        puts(line);
}

/* The line that came `ago` lines before the last one. */
static const char *line_before(const struct world *w, uint64_t ago)
{
    return w->lines[(w->line_count - 1 - ago) % TRACE_LINES];
}

static uint64_t lines_kept(const struct world *w)
{
    return w->line_count < TRACE_LINES ? w->line_count : TRACE_LINES;
}

void sim_fail(struct world *w, const char *invariant, const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "The last lines before the failure (step, seconds, what):\n");
    for (uint64_t i = lines_kept(w); i-- > 0;)
        fprintf(stderr, "  %s\n", line_before(w, i));
    fprintf(stderr, "\nFAILED: %s\n  ", invariant);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr,
            "\n  seed %" PRIu64 ", step %" PRIu64 "; the same again: dispatch-sim --seed %" PRIu64
            "%s%s\n",
            w->seed, w->step, w->seed, w->plant ? " --plant " : "",
            w->plant ? plant_names[w->plant] : "");
    exit(1);
}

static void put_text(const char *text)
{
    ssize_t n = write(STDERR_FILENO, text, strlen(text));

    (void)n;
}

static void put_number(uint64_t n)
{
    char digits[24], *p = digits + sizeof digits - 1;

    *p = 0;
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    put_text(p);
}

static void on_abort(int signal)
{
    struct world *w = guarded;

    (void)signal;
    if (!w)
        _exit(1);
    put_text("The last lines before the failure (step, seconds, what):\n");
    for (uint64_t i = lines_kept(w); i-- > 0;) {
        put_text("  ");
        put_text(line_before(w, i));
        put_text("\n");
    }
    put_text("\nFAILED: assertion\n  see the line that assert printed, above\n  seed ");
    put_number(w->seed);
    put_text(", step ");
    put_number(w->step);
    put_text("; the same again: dispatch-sim --seed ");
    put_number(w->seed);
    put_text("\n");
    _exit(1);
}

void trace_guard(struct world *w)
{
    guarded = w;
    signal(SIGABRT, w ? on_abort : SIG_DFL);
}
