// SPDX-License-Identifier: Apache-2.0
/*
 * Capacity doubles, up to the maximum. One byte more than the maximum may be allocated, for the NUL
 * that buf_cstr and buf_printf put behind the content.
 */
#include "base/buf.h"

#include <assert.h>
#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { CAP_FIRST = 64, VARINT_MAX = 10 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

static bool fail(struct buf *b)
{
    b->failed = true;
    return false;
}

/* The slow path of reserve: `extra` more bytes and `spare` uncounted ones do not fit yet. */
static bool grow(struct buf *b, size_t extra, size_t spare)
{
    size_t limit = b->max < SIZE_MAX ? b->max + 1 : SIZE_MAX;
    size_t cap = b->cap ? b->cap : CAP_FIRST;
    size_t need;
    uint8_t *data;

    if (b->failed)
        return false;
    if (b->len > b->max || extra > b->max - b->len || spare > limit - b->len - extra)
        return fail(b);
    need = b->len + extra + spare;
    while (cap < need)
        cap = cap <= limit / 2 ? cap * 2 : limit;
    if (cap > limit)
        cap = limit;
    data = realloc(b->data, cap);
    if (!data)
        return fail(b);
    b->data = data;
    b->cap = cap;
    return true;
}

/* True: `extra` bytes may be counted, and `spare` (0 or 1) more be written behind them. */
static inline bool reserve(struct buf *b, size_t extra, size_t spare)
{
    size_t room = b->cap - b->len;

    if (!b->failed && room > spare && extra <= room - spare && extra <= b->max - b->len)
        return true;
    return grow(b, extra, spare);
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0 || !reserve(b, len, 0))
        return;
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

void buf_append_slice(struct buf *b, struct slice s)
{
    buf_append(b, s.data, s.len);
}

void buf_append_str(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

void buf_append_byte(struct buf *b, uint8_t byte)
{
    if (reserve(b, 1, 0))
        b->data[b->len++] = byte;
}

void buf_printf(struct buf *b, const char *format, ...)
{
    size_t room = b->cap - b->len;
    va_list args;
    int len;

    if (b->failed)
        return;
    va_start(args, format);
    len = vsnprintf(room ? (char *)b->data + b->len : NULL, room, format, args);
    va_end(args);
    if (len < 0) {
        b->failed = true;
        return;
    }
    if (!reserve(b, (size_t)len, 1))
        return;
    if ((size_t)len >= room) {
        va_start(args, format);
        vsnprintf((char *)b->data + b->len, (size_t)len + 1, format, args);
        va_end(args);
    }
    b->len += (size_t)len;
}

void *buf_extend(struct buf *b, size_t len)
{
    void *room;

    /* The spare byte makes sure that there is memory to point at, even for a length of 0. */
    if (!reserve(b, len, 1))
        return NULL;
    room = b->data + b->len;
    b->len += len;
    return room;
}

void buf_consume(struct buf *b, size_t len)
{
    assert(len <= b->len);
    if (len == 0)
        return;
    b->len -= len;
    if (b->len)
        memmove(b->data, b->data + len, b->len);
}

const char *buf_cstr(struct buf *b)
{
    if (!reserve(b, 0, 1))
        return "";
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

void buf_put_u64(struct buf *b, uint64_t value)
{
    value = htole64(value);
    buf_append(b, &value, sizeof value);
}

static size_t write_varint(uint8_t *to, uint64_t value)
{
    size_t len = 0;

    while (value >= 0x80) {
        to[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[len++] = (uint8_t)value;
    return len;
}

/* Rows consist of little else, so that it is worth writing them where they belong. */
void buf_put_varint(struct buf *b, uint64_t value)
{
    uint8_t bytes[VARINT_MAX];

    if (!b->failed && b->cap - b->len >= VARINT_MAX && b->max - b->len >= VARINT_MAX)
        b->len += write_varint(b->data + b->len, value);
    else
        buf_append(b, bytes, write_varint(bytes, value));
}

void buf_put_bytes(struct buf *b, struct slice bytes)
{
    buf_put_varint(b, bytes.len);
    buf_append_slice(b, bytes);
}

static void advance(struct slice *in, size_t len)
{
    in->data = (const uint8_t *)in->data + len;
    in->len -= len;
}

bool slice_get_u64(struct slice *in, uint64_t *value)
{
    uint64_t raw;

    if (in->len < sizeof raw)
        return false;
    memcpy(&raw, in->data, sizeof raw);
    *value = le64toh(raw);
    advance(in, sizeof raw);
    return true;
}

bool slice_get_long_varint(struct slice *in, uint64_t *value)
{
    const uint8_t *bytes = in->data;
    size_t most = in->len < VARINT_MAX ? in->len : VARINT_MAX;
    uint64_t result = 0;

    for (size_t i = 0; i < most; i++) {
        result |= (uint64_t)(bytes[i] & 0x7f) << (7 * i);
        if (bytes[i] & 0x80)
            continue;
        if (i == VARINT_MAX - 1 && bytes[i] > 1) /* more than 64 bits */
            return false;
        *value = result;
        advance(in, i + 1);
        return true;
    }
    return false;
}

bool slice_get_bytes(struct slice *in, struct slice *bytes)
{
    uint64_t len;

    if (!slice_get_varint(in, &len) || len > in->len)
        return false;
    *bytes = slice(in->data, (size_t)len);
    advance(in, (size_t)len);
    return true;
}

bool slice_get_byte(struct slice *in, uint8_t *byte)
{
    if (in->len == 0)
        return false;
    *byte = *(const uint8_t *)in->data;
    advance(in, 1);
    return true;
}
