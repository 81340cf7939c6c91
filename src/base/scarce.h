// SPDX-License-Identifier: Apache-2.0
/*
 * For tests: memory that runs out at the Nth allocation. A program that is linked with it (the
 * dependency `scarce` of base/meson.build) has its own allocations, not those of shared libraries,
 * go through here; a library that lets its allocator be set can be given those below.
 *
 *     for (long n = 1, met = 1; met; n++) {
 *         scarce_begin(n, 1);
 *         ...a scenario, which is told that there is no memory, or is not...
 *         met = scarce_end();
 *     }
 *
 * Every thread's allocations count.
 */
#ifndef BASE_SCARCE_H
#define BASE_SCARCE_H

#include <stdbool.h>
#include <stddef.h>

/* From now on, the nth allocation (1: the next one) is refused, and those that follow it,
 * `in_a_row` in all. */
void scarce_begin(long nth, long in_a_row);
bool scarce_met(void); /* it came to the nth */
/* From now on none is refused. As scarce_met. */
bool scarce_end(void);
/* While true, allocations neither count nor fail: what is the test's own. Returns what it was. */
bool scarce_pause(bool pause);

/*
 * The n after `n` in a scenario too long for each: on average every `step`th, at random. The seed
 * is the environment's SEED, or a fresh one, and printed.
 */
long scarce_sample(long n, long step);

/* For libraries that take an allocator. */
void *scarce_malloc(size_t size);
void *scarce_calloc(size_t count, size_t size);
void *scarce_realloc(void *old, size_t size);

#endif
