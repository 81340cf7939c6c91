// SPDX-License-Identifier: Apache-2.0
/* How often values of which size came: counts by buckets whose bounds are given. Noting one costs
 * some nanoseconds, and allocates nothing. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 24

struct histogram {
    const uint64_t *bounds; /* upper ones, inclusive, ascending; the last is UINT64_MAX */
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t sum;
};

/* Nanoseconds, from 100 us to 5 min in steps of 1, 2.5, 5. */
extern const uint64_t histogram_times[];
/* Numbers of things, powers of four up to 4^14. */
extern const uint64_t histogram_sizes[];

void histogram_init(struct histogram *h, const uint64_t *bounds);
void histogram_note(struct histogram *h, uint64_t value);

#endif
