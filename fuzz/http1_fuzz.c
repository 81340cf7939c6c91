// SPDX-License-Identifier: Apache-2.0
/* HTTP/1 messages (net/http1.h): the same bytes mean the same in one piece and in single bytes, and
 * what comes out stands within the limits. The first byte chooses request or response. */
#include "fuzz.h"
#include "net/http1.h"

enum { HEAD_LIMIT = 1 << 16, BODY_LIMIT = 300 };

/* Feeds pieces of `step` bytes until the message ends; returns the bytes used. */
static size_t parse(struct net_http1 *m, const uint8_t *data, size_t size, size_t step)
{
    size_t used = 0;

    while (used < size && m->state == HTTP1_MORE) {
        size_t piece = size - used < step ? size - used : step;
        size_t n = net_http1_feed(m, data + used, piece);

        require(n <= piece);
        require(m->state != HTTP1_MORE || n == piece);
        used += n;
    }
    if (m->state == HTTP1_MORE)
        net_http1_end(m);
    return used;
}

static void compare(const struct net_http1 *a, const struct net_http1 *b)
{
    require(a->state == b->state);
    if (a->state == HTTP1_BAD) {
        require(a->reason && b->reason);
        require(a->parser.type == HTTP_RESPONSE || a->status >= 400);
    }
    if (a->state != HTTP1_DONE)
        return;
    require(slice_eq(net_http1_url(a), net_http1_url(b)));
    require(slice_eq(buf_slice(&a->body), buf_slice(&b->body)));
    require(a->body.len <= BODY_LIMIT && a->count <= NET_HEADERS_MAX);
    require(a->status == b->status && a->keep_alive == b->keep_alive && a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        require(slice_eq(a->headers[i].name, b->headers[i].name));
        require(slice_eq(a->headers[i].value, b->headers[i].value));
        require(a->headers[i].name.len > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_http1 whole, bytes;
    llhttp_type_t type;
    size_t used;

    if (size == 0)
        return 0;
    type = data[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST;
    data++;
    size--;
    net_http1_init(&whole, type, HEAD_LIMIT, BODY_LIMIT);
    net_http1_init(&bytes, type, HEAD_LIMIT, BODY_LIMIT);
    /* Messages that follow each other, until one is not whole. */
    do {
        whole.no_body = bytes.no_body = type == HTTP_RESPONSE && size % 2;
        used = parse(&whole, data, size, size);
        require(parse(&bytes, data, size, 1) == used || whole.state == HTTP1_BAD);
        compare(&whole, &bytes);
        data += used;
        size -= used;
        if (whole.state != HTTP1_DONE)
            break;
        net_http1_reset(&whole);
        net_http1_reset(&bytes);
    } while (used > 0 && size > 0);
    net_http1_free(&whole);
    net_http1_free(&bytes);
    return 0;
}
