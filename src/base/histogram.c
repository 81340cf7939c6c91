// SPDX-License-Identifier: Apache-2.0
#include "base/histogram.h"

#define US UINT64_C(1000)
#define MS (1000 * US)
#define S  (1000 * MS)

const uint64_t histogram_times[] = {100 * US, 250 * US, 500 * US, 1 * MS,    2500 * US,
                                    5 * MS,   10 * MS,  25 * MS,  50 * MS,   100 * MS,
                                    250 * MS, 500 * MS, 1 * S,    2500 * MS, 5 * S,
                                    10 * S,   30 * S,   60 * S,   300 * S,   UINT64_MAX};

const uint64_t histogram_sizes[] = {1,       4,       16,      64,        256,     1024,
                                    1 << 12, 1 << 14, 1 << 16, 1 << 18,   1 << 20, 1 << 22,
                                    1 << 24, 1 << 26, 1 << 28, UINT64_MAX};

_Static_assert(sizeof histogram_times / sizeof *histogram_times <= HISTOGRAM_BUCKETS, "");
_Static_assert(sizeof histogram_sizes / sizeof *histogram_sizes <= HISTOGRAM_BUCKETS, "");

void histogram_init(struct histogram *h, const uint64_t *bounds)
{
    *h = (struct histogram){.bounds = bounds};
}

void histogram_note(struct histogram *h, uint64_t value)
{
    size_t i = 0;

    while (value > h->bounds[i])
        i++;
    h->counts[i]++;
    h->sum += value;
}
