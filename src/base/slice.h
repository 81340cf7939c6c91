// SPDX-License-Identifier: Apache-2.0
/* A view of bytes owned by somebody else. `data` may be NULL when `len` is 0. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const void *data;
    size_t len;
};

/* For printf("%.*s"). The precision is an int, so an absurdly long slice is cut. */
#define SLICE_FMT(s) ((s).len > 4096 ? 4096 : (int)(s).len), ((s).len ? (const char *)(s).data : "")

static inline struct slice slice(const void *data, size_t len)
{
    return (struct slice){data, len};
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_eq_str(struct slice a, const char *text)
{
    return slice_eq(a, slice_str(text));
}

/* 64-bit hash for tables and for noticing a change; not for adversaries, not for signatures. The
 * value is stable across versions and machines, as it is stored. (FNV-1a folded through the
 * splitmix64 finaliser, eight bytes at a time.) */
uint64_t slice_hash(struct slice bytes, uint64_t seed);

/* True if the bytes are well-formed UTF-8 (no surrogates, no overlong forms). */
bool slice_is_utf8(struct slice bytes);
/* The length of the longest well-formed prefix: how far a message about bad UTF-8 can point. */
size_t slice_utf8_prefix(struct slice bytes);

#endif
