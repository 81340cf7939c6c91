// SPDX-License-Identifier: Apache-2.0
/* HTTP/1 messages that travel inside others. */
#include <string.h>

#include "net/http1.h"

enum { HEAD_MAX = 65536 };

/* Reads one message that takes all of the bytes. */
static int read_message(struct net_http1 *m, struct slice bytes, struct error *err)
{
    size_t used = net_http1_feed(m, bytes.data, bytes.len);

    if (m->state == HTTP1_MORE)
        net_http1_end(m);
    if (m->state == HTTP1_BAD && m->no_memory)
        return error_memory(err);
    if (m->state == HTTP1_BAD)
        return error_set(err, CODE_INVALID_ARGUMENT, "malformed HTTP: %s", m->reason);
    if (m->state == HTTP1_MORE)
        return error_set(err, CODE_INVALID_ARGUMENT, "malformed HTTP: it ends too early");
    if (used < bytes.len)
        return error_set(err, CODE_INVALID_ARGUMENT, "malformed HTTP: %zu bytes are behind its end",
                         bytes.len - used);
    return CODE_OK;
}

int net_raw_response(struct slice bytes, size_t max_body, net_raw_response_taken *taken, void *arg,
                     struct error *err)
{
    struct net_http1 m;
    int code;

    net_http1_init(&m, HTTP_RESPONSE, HEAD_MAX, max_body);
    code = read_message(&m, bytes, err);
    if (code == CODE_OK)
        taken(arg, &(struct net_response){.status = m.status,
                                          .headers = m.headers,
                                          .header_count = m.count,
                                          .body = buf_slice(&m.body)});
    net_http1_free(&m);
    return code;
}

int net_raw_request(struct slice bytes, size_t max_body, net_raw_request_taken *taken, void *arg,
                    struct error *err)
{
    struct net_http1 m;
    int code;

    net_http1_init(&m, HTTP_REQUEST, HEAD_MAX, max_body);
    code = read_message(&m, bytes, err);
    if (code == CODE_OK)
        taken(arg, &(struct net_request){.method = net_http1_method(&m),
                                         .path = net_http1_url(&m),
                                         .headers = m.headers,
                                         .header_count = m.count,
                                         .body = buf_slice(&m.body)});
    net_http1_free(&m);
    return code;
}

static struct blob *join(struct buf *head, struct slice body)
{
    struct blob *whole = NULL;

    if (!head->failed && (whole = blob_new(head->len + body.len))) {
        memcpy(whole->data, head->data, head->len);
        if (body.len)
            memcpy(whole->data + head->len, body.data, body.len);
    }
    buf_free(head);
    return whole;
}

struct blob *net_raw_put_request(const struct net_outgoing *request)
{
    struct buf head;

    buf_init(&head, HEAD_MAX);
    net_http1_put_request(&head, request, NULL);
    return join(&head, blob_slice(request->body));
}

struct blob *net_raw_put_response(int status, const struct net_header *headers, size_t count,
                                  struct slice body)
{
    const struct net_http1_reply reply = {
        .status = status, .headers = headers, .header_count = count, .body_len = body.len};
    struct buf head;

    buf_init(&head, 2 * HEAD_MAX);
    net_http1_put_response(&head, &reply);
    return join(&head, body);
}
