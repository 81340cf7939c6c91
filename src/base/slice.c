// SPDX-License-Identifier: Apache-2.0
/* Hashing and UTF-8 validation, both eight bytes at a time where they can. */
#include "base/slice.h"

#include <endian.h>

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Up to eight bytes as a little-endian number. */
static inline uint64_t word(const uint8_t *data, size_t len)
{
    uint64_t w = 0;

    memcpy(&w, data, len);
    return le64toh(w);
}

/* The finaliser runs for every word and not only at the end: without it, differences in the top
 * bits of two neighbouring words would cancel each other. */
uint64_t slice_hash(struct slice bytes, uint64_t seed)
{
    const uint8_t *data = bytes.data;
    size_t left = bytes.len;
    uint64_t h = FNV_BASIS ^ mix(seed);

    for (; left >= 8; left -= 8, data += 8)
        h = mix((h ^ word(data, 8)) * FNV_PRIME);
    if (left)
        h = mix((h ^ word(data, left)) * FNV_PRIME);
    return mix((h ^ bytes.len) * FNV_PRIME);
}

/* The length of the well-formed sequence at the front of `p`, whose first byte is not ASCII; 0: it
 * is malformed. The ranges are those of table 3-7 of the Unicode standard. */
static size_t sequence(const uint8_t *p, size_t len)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t need;

    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        need = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        need = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        need = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0; /* overlong below */
    else if (p[0] == 0xed)
        high = 0x9f; /* surrogates above */
    else if (p[0] == 0xf0)
        low = 0x90; /* overlong below */
    else if (p[0] == 0xf4)
        high = 0x8f; /* past U+10FFFF above */
    if (len < need || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return need;
}

size_t slice_utf8_prefix(struct slice bytes)
{
    const uint8_t *p = bytes.data;
    size_t i = 0;

    while (i < bytes.len) {
        size_t step = 1;

        if (bytes.len - i >= 8 && (word(p + i, 8) & UINT64_C(0x8080808080808080)) == 0)
            step = 8;
        else if (p[i] >= 0x80)
            step = sequence(p + i, bytes.len - i);
        if (step == 0)
            break;
        i += step;
    }
    return i;
}

bool slice_is_utf8(struct slice bytes)
{
    return slice_utf8_prefix(bytes) == bytes.len;
}
