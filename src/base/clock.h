// SPDX-License-Identifier: Apache-2.0
/* Time behind a vtable, so that a simulation can own it. All times are int64_t nanoseconds since
 * the Unix epoch. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US  INT64_C(1000)
#define NS_PER_MS  INT64_C(1000000)
#define NS_PER_S   INT64_C(1000000000)
#define TIME_NEVER INT64_MAX

struct clock {
    int64_t (*now)(struct clock *clock);
};

/*
 * The real clock: the wall clock as it was when the process started, advanced by CLOCK_BOOTTIME. It
 * never jumps or goes back, whatever is done to the wall clock meanwhile. Thread-safe.
 */
struct clock *clock_system(void);

static inline int64_t clock_now(struct clock *clock)
{
    return clock->now(clock);
}

/* a + b without overflow; TIME_NEVER stays TIME_NEVER. */
static inline int64_t time_add(int64_t a, int64_t b)
{
    int64_t sum;

    if (a == TIME_NEVER || b == TIME_NEVER)
        return TIME_NEVER;
    if (__builtin_add_overflow(a, b, &sum))
        return b > 0 ? TIME_NEVER : INT64_MIN;
    return sum;
}

#endif
