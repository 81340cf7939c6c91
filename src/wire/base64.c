// SPDX-License-Identifier: Apache-2.0
/* Base64: written in the standard alphabet with padding; read in either alphabet, padded or not. */
#include "wire/internal.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void wire_put_json_base64(struct buf *out, struct slice bytes)
{
    const uint8_t *in = bytes.data;
    size_t left = bytes.len;
    char *text;

    if (bytes.len > out->max) { /* it cannot fit; and 4/3 of it cannot overflow */
        out->failed = true;
        return;
    }
    text = buf_extend(out, (bytes.len + 2) / 3 * 4 + 2);
    if (!text)
        return;
    *text++ = '"';
    for (; left > 0; in += 3) {
        uint32_t group = (uint32_t)in[0] << 16;

        group |= left > 1 ? (uint32_t)in[1] << 8 : 0;
        group |= left > 2 ? in[2] : 0;
        *text++ = alphabet[group >> 18];
        *text++ = alphabet[group >> 12 & 63];
        *text++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
        *text++ = left > 2 ? alphabet[group & 63] : '=';
        left -= left < 3 ? left : 3;
    }
    *text = '"';
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

int wire_base64_decode(struct slice text, struct arena *arena, struct slice *bytes)
{
    const char *in = text.data;
    size_t len = text.len, count = 0;
    uint32_t group = 0;
    uint8_t *out;

    if (len % 4 == 0) /* padding only completes a group */
        for (int i = 0; i < 2 && len > 0 && in[len - 1] == '='; i++)
            len--;
    if (len % 4 == 1)
        return CODE_INVALID_ARGUMENT;
    out = arena_alloc(arena, len / 4 * 3 + 3);
    if (!out)
        return CODE_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < len; i++) {
        int value = digit(in[i]);

        if (value < 0)
            return CODE_INVALID_ARGUMENT;
        group = group << 6 | (uint32_t)value;
        if (i % 4 > 0) /* the 6 x (i % 4 + 1) bits so far hold one more byte */
            out[count++] = (uint8_t)(group >> (6 - 2 * (i % 4)));
    }
    *bytes = slice(out, count);
    return 0;
}
