// SPDX-License-Identifier: Apache-2.0
/* What the programs of the benchmarks share: clocks, what a process has used, percentiles. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Monotonic. */
int64_t measure_now_ns(void);

/* User and system time of all threads of a process that lives; exits if there is none. */
int64_t measure_cpu_ns(pid_t pid);

/* Bytes that the process has caused to be written to disk (/proc/PID/io); -1: not told. */
int64_t measure_written_bytes(pid_t pid);

/* Durations, in nanoseconds. Bounded by the number that they were made for. */
struct samples {
    int64_t *ns;
    size_t count, max;
};

/* Exits when out of memory. */
void samples_init(struct samples *s, size_t max);
void samples_free(struct samples *s);
void samples_add(struct samples *s, int64_t ns);
/* The smallest duration that `percent` of them do not exceed, in microseconds; sorts. */
double samples_percentile_us(struct samples *s, double percent);

/* Prints "PROGRAM: text" and exits with 1. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
