// SPDX-License-Identifier: Apache-2.0
/*
 * The CPU time of a process is read from its clock (clock_getcpuclockid), which counts nanoseconds;
 * utime and stime of /proc/PID/stat have the same source and count ticks of 10 ms.
 */
#include "measure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static int64_t read_clock(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t))
        die("cannot read a clock: %s", strerror(errno));
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t measure_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t measure_cpu_ns(pid_t pid)
{
    clockid_t clock;
    int failed = clock_getcpuclockid(pid, &clock);

    if (failed)
        die("process %d: %s", (int)pid, strerror(failed));
    return read_clock(clock);
}

int64_t measure_written_bytes(pid_t pid)
{
    char path[64], line[128];
    int64_t bytes = -1;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "write_bytes: ", 13) == 0)
            bytes = strtoll(line + 13, NULL, 10);
    if (file)
        fclose(file);
    return bytes;
}

void samples_init(struct samples *s, size_t max)
{
    *s = (struct samples){.ns = calloc(max, sizeof *s->ns), .max = max};
    if (!s->ns)
        die("out of memory");
}

void samples_free(struct samples *s)
{
    free(s->ns);
}

void samples_add(struct samples *s, int64_t ns)
{
    if (s->count == s->max)
        die("more than the %zu durations expected", s->max);
    s->ns[s->count++] = ns;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

double samples_percentile_us(struct samples *s, double percent)
{
    size_t index = (size_t)((double)s->count * percent / 100);

    if (s->count == 0)
        return 0;
    qsort(s->ns, s->count, sizeof *s->ns, compare);
    return (double)s->ns[index < s->count ? index : s->count - 1] / 1000;
}
