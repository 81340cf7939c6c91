// SPDX-License-Identifier: Apache-2.0
/*
 * A growing byte buffer with a maximum. A failed append (out of memory, or past the maximum) leaves
 * what was there, sets `failed`, and makes every later append a no-op: callers build a whole
 * message, then look at `failed` once.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/slice.h"

struct buf {
    uint8_t *data;
    size_t len, cap, max;
    bool failed;
};

/* An empty buffer that will not grow past `max` bytes; allocates nothing yet. */
void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);
/* Empties it and clears `failed`; keeps the memory. */
void buf_reset(struct buf *b);

void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_str(struct buf *b, const char *text);
void buf_append_byte(struct buf *b, uint8_t byte);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for `len` more bytes to be written by the caller, already counted in `len`; NULL on failure.
 */
void *buf_extend(struct buf *b, size_t len);
/* Drops the first `len` bytes. */
void buf_consume(struct buf *b, size_t len);
/* The text with a NUL behind it (not counted); "" if it failed. */
const char *buf_cstr(struct buf *b);

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->data, b->len};
}

/* Little-endian fixed and LEB128 variable integers, for the formats that we keep on disk. */
void buf_put_u64(struct buf *b, uint64_t value);
void buf_put_varint(struct buf *b, uint64_t value);
/* A varint length, then the bytes. */
void buf_put_bytes(struct buf *b, struct slice bytes);

/* The reading side: each takes from the front of `in` and returns false if it is short or malformed
 * (`in` is then unspecified). A varint longer than need be is accepted, as protobuf does; more than
 * 64 bits are not. get_bytes gives a view into the same memory. */
bool slice_get_u64(struct slice *in, uint64_t *value);
bool slice_get_long_varint(struct slice *in, uint64_t *value); /* of any length */
static inline bool slice_get_varint(struct slice *in, uint64_t *value)
{
    const uint8_t *bytes = in->data;

    if (in->len == 0 || bytes[0] >= 0x80)
        return slice_get_long_varint(in, value);
    *value = bytes[0];
    *in = slice(bytes + 1, in->len - 1);
    return true;
}
bool slice_get_bytes(struct slice *in, struct slice *bytes);
bool slice_get_byte(struct slice *in, uint8_t *byte);

#endif
