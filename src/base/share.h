// SPDX-License-Identifier: Apache-2.0
/*
 * What organizations share and none may have whole: a bound for all, of which each may have so many
 * times what is left when it has it. With nine times, one that is alone has 90%; with another one
 * as greedy it has 47%, as what it has comes back; and there is always something left for one that
 * comes and has none.
 */
#ifndef BASE_SHARE_H
#define BASE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

enum { SHARE_TIMES = 9 };

/* May one that has `mine` of the `taken` of at most `max` take so many more? */
static inline bool share_fits(uint64_t max, uint64_t taken, uint64_t mine, uint64_t more,
                              unsigned times)
{
    if (taken > max || more > max - taken)
        return false;
    return mine + more <= times * (max - taken - more);
}

#endif
