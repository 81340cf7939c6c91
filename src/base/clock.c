// SPDX-License-Identifier: Apache-2.0
/* The wall clock is read once; from then on only CLOCK_BOOTTIME, which counts through suspends. */
#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <time.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int64_t wall_at_boot_ns; /* written once, before anybody has the clock */

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);

    assert(rc == 0); /* both clocks exist on every Linux that runs this */
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t system_now(struct clock *self)
{
    (void)self;
    return wall_at_boot_ns + read_ns(CLOCK_BOOTTIME);
}

static void anchor(void)
{
    wall_at_boot_ns = read_ns(CLOCK_REALTIME) - read_ns(CLOCK_BOOTTIME);
}

struct clock *clock_system(void)
{
    static struct clock system_clock = {.now = system_now};

    pthread_once(&once, anchor);
    return &system_clock;
}

/* Anchored at the start of the process, as the contract says, and not at the first use. */
__attribute__((constructor)) static void anchor_at_start(void)
{
    pthread_once(&once, anchor);
}
