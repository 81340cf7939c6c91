// SPDX-License-Identifier: Apache-2.0
/*
 * A Connect request from strangers (server/connect.h): lines "name: value" up to an empty one are
 * its headers, the rest is its body, read as a DispatchRequest. What is refused has a code and a
 * text; a compressed body gives no more than its maximum.
 */
#include "fuzz.h"
#include "server/connect.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_header headers[HEADERS_MAX];
    struct slice input = slice(data, size);
    struct net_request request = {.headers = headers};
    struct refusal refusal = {0};
    struct connect_head head;
    wire_dispatch_request *message;
    struct arena arena;
    int code;

    request.header_count = take_headers(&input, headers);
    request.body = input;
    if (!connect_read_head(&request, &head, &refusal)) {
        require(refusal.error.code && refusal.error.message[0]);
        return 0;
    }
    arena_init(&arena, ARENA_MAX);
    code = connect_read_body(&request, &head, BODY_MAX,
                             &dispatch__sdk__v1__dispatch_request__descriptor, &arena, &message,
                             &refusal.error);
    if (code)
        require(refusal.error.code == code && refusal.error.message[0]);
    arena_reset(&arena);
    return 0;
}
