// SPDX-License-Identifier: Apache-2.0
/* The envelopes of gRPC (protocol 2.6): length-prefixed messages, percent-encoded texts, timeouts.
 */
#include "wire/wire.h"

#define TIMEOUT_DIGITS 8
#define NS             INT64_C(1)

int wire_grpc_take(struct slice *body, struct wire_grpc_frame *frame, struct error *err)
{
    const uint8_t *p = body->data;
    uint32_t len;

    if (body->len < WIRE_GRPC_PREFIX)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the gRPC body ends within a prefix: %zu bytes of %d", body->len,
                         WIRE_GRPC_PREFIX);
    if (p[0] > WIRE_GRPC_COMPRESSED)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "a gRPC message has the flags 0x%02x: there are 0 and 1", p[0]);
    len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    if (len > body->len - WIRE_GRPC_PREFIX)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the gRPC body ends within a message: %zu bytes of %u",
                         body->len - WIRE_GRPC_PREFIX, len);
    *frame = (struct wire_grpc_frame){p[0], slice(p + WIRE_GRPC_PREFIX, len)};
    *body = slice(p + WIRE_GRPC_PREFIX + len, body->len - WIRE_GRPC_PREFIX - len);
    return CODE_OK;
}

void wire_grpc_put_prefix(struct buf *out, uint8_t flags, uint32_t len)
{
    const uint8_t prefix[WIRE_GRPC_PREFIX] = {flags, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                              (uint8_t)(len >> 8), (uint8_t)len};

    buf_append(out, prefix, sizeof prefix);
}

void wire_grpc_put_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        uint8_t c = (uint8_t)*text;

        if (c >= ' ' && c <= '~' && c != '%') {
            buf_append_byte(out, c);
        } else {
            buf_append_byte(out, '%');
            buf_append_byte(out, (uint8_t) "0123456789ABCDEF"[c >> 4]);
            buf_append_byte(out, (uint8_t) "0123456789ABCDEF"[c & 15]);
        }
    }
}

static int64_t unit_of(char c)
{
    switch (c) {
    case 'H':
        return 3600000000000 * NS;
    case 'M':
        return 60000000000 * NS;
    case 'S':
        return 1000000000 * NS;
    case 'm':
        return 1000000 * NS;
    case 'u':
        return 1000 * NS;
    case 'n':
        return NS;
    default:
        return 0;
    }
}

bool wire_grpc_timeout(struct slice text, int64_t *ns)
{
    const char *p = text.data;
    int64_t value = 0, unit;

    if (text.len < 2 || text.len > TIMEOUT_DIGITS + 1)
        return false;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        value = 10 * value + (p[i] - '0');
    }
    unit = unit_of(p[text.len - 1]);
    if (unit == 0)
        return false;
    *ns = value > INT64_MAX / unit ? INT64_MAX : value * unit;
    return true;
}
