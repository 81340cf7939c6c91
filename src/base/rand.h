// SPDX-License-Identifier: Apache-2.0
/* A small seeded generator (xoshiro256**, seeded through splitmix64) for jitter and simulation; and
 * the system's randomness for seeds and keys. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand {
    uint64_t s[4];
};

void rand_seed(struct rand *r, uint64_t seed);
uint64_t rand_u64(struct rand *r);
/* Uniform in [0, n); n > 0. */
uint64_t rand_below(struct rand *r, uint64_t n);

/* From the operating system; aborts if it has none to give (getrandom does not fail on Linux). */
void rand_system(void *data, size_t len);

#endif
