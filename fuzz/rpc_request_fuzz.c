// SPDX-License-Identifier: Apache-2.0
/*
 * A request to a method from strangers (server/protocol.h): lines "name: value" up to an empty one
 * are its headers, of which the content type chooses the protocol; the rest is its body, read as a
 * DispatchRequest. What is refused has a code and a text; a compressed body gives no more than its
 * maximum.
 */
#include "fuzz.h"
#include "server/protocol.h"

#define ARENA_MAX ((size_t)16 << 20)
#define BODY_MAX  ((size_t)64 << 10)

enum { HEADERS_MAX = 16 };

/* Takes the header lines off the front of *input. */
static size_t take_headers(struct slice *input, struct net_header *headers)
{
    size_t count = 0;

    while (input->len && count < HEADERS_MAX) {
        const char *line = input->data;
        const char *end = memchr(line, '\n', input->len), *colon;
        size_t len = end ? (size_t)(end - line) : input->len;

        *input = slice(line + len + (end ? 1 : 0), input->len - len - (end ? 1 : 0));
        if (len == 0)
            break;
        colon = memchr(line, ':', len);
        if (colon && colon + 1 < line + len)
            headers[count++] = (struct net_header){
                slice(line, (size_t)(colon - line)),
                slice(colon + 2, (size_t)(line + len - colon - 2)),
            };
    }
    return count;
}

static void read_body(const struct net_request *request, const struct rpc_head *head)
{
    wire_dispatch_request *message;
    struct slice bytes;
    struct arena arena;
    struct buf plain;
    struct error err;
    int code;

    arena_init(&arena, ARENA_MAX);
    buf_init(&plain, BODY_MAX);
    code = head->protocol->read_body(request, head, &plain, &bytes, &err);
    require(plain.len <= BODY_MAX);
    if (code == CODE_OK)
        code = codec_unpack(head->codec, &dispatch__sdk__v1__dispatch_request__descriptor, bytes,
                            &arena, &message, &err);
    if (code)
        require(err.code == code && err.message[0]);
    buf_free(&plain);
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_header headers[HEADERS_MAX];
    struct slice input = slice(data, size);
    struct net_request request = {.headers = headers, .http2 = true};
    struct refusal refusal = {0};
    struct rpc_head head = {0};

    request.header_count = take_headers(&input, headers);
    request.body = input;
    head.protocol = protocol_of(&request);
    if (head.protocol->read_head(&request, &head, &refusal))
        read_body(&request, &head);
    else
        require(refusal.error.code && refusal.error.message[0]);
    return 0;
}
