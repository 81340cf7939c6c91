// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/1 bytes, for both sides: one message at a time is taken apart (llhttp does the grammar) into
 * buffers that are kept from one message to the next; and heads are written.
 */
#ifndef NET_HTTP1_H
#define NET_HTTP1_H

#include <llhttp/llhttp.h>

#include "base/buf.h"
#include "net/net.h"

enum { NET_HEADERS_MAX = 256 }; /* in one message */

enum net_http1_state { HTTP1_MORE, HTTP1_DONE, HTTP1_BAD };

struct net_http1_span {
    uint32_t name_len, value_len;
};

struct net_http1 {
    llhttp_t parser;
    size_t max_head, max_body;
    enum net_http1_state state;
    bool fed;       /* a byte of this message has come */
    bool begun;     /* a byte that is no line break has come */
    bool head_done; /* the headers are all there */
    bool no_body;   /* a response to HEAD */
    /* Known with the head */
    bool keep_alive, chunked, has_length, http10;
    bool expects_continue;
    int status; /* of a response; of HTTP1_BAD in a request: what to answer (400, 413, 431, 503) */
    const char *reason; /* of HTTP1_BAD, for people; static */
    bool no_memory;     /* is the reason: the message itself may be good */
    struct buf body;

    /* Private. `head` holds the URL, then each header's name and value, back to back. */
    size_t head_bytes; /* counted against max_head */
    unsigned interim;  /* 1xx responses skipped */
    bool in_value;
    struct buf head;
    size_t url_len;
    struct net_http1_span *spans;
    struct net_header *headers; /* views into `head`, made when the message is whole */
    size_t count, cap;
};

void net_http1_init(struct net_http1 *m, llhttp_type_t type, size_t max_head, size_t max_body);
void net_http1_free(struct net_http1 *m);
/* Ready for the next message. Its buffers stay; net_http1_trim gives back large ones. */
void net_http1_reset(struct net_http1 *m);
void net_http1_trim(struct net_http1 *m);

/* Takes bytes up to the end of the message at most; returns how many. m->state says how it stands;
 * once it is not HTTP1_MORE, reset comes next. 1xx responses (but 101) are skipped. */
size_t net_http1_feed(struct net_http1 *m, const uint8_t *data, size_t len);
/* No more bytes will come: a response without a length is whole now. */
void net_http1_end(struct net_http1 *m);

/* Of a message that is whole; the views live until reset. */
struct slice net_http1_url(const struct net_http1 *m);
struct slice net_http1_method(const struct net_http1 *m);

/* True if name and value may stand in a head: a token, and no control characters. */
bool net_http1_header_is_valid(const struct net_header *header);
bool net_http1_is_token(struct slice text);

struct net_http1_reply {
    int status;
    const struct net_header *headers; /* what may not stand in a head is replaced by spaces */
    size_t header_count;
    size_t body_len;
    const char *date; /* NULL: none is said */
    bool close;       /* Connection: close */
    bool keep_alive;  /* Connection: keep-alive, for HTTP/1.0 */
    bool upgrade_h2c; /* says that HTTP/2 is spoken here */
};

/* False if the status has no body at all (204, 304). */
bool net_http1_status_has_body(int status);
void net_http1_put_response(struct buf *out, const struct net_http1_reply *reply);
struct net_proxy;
/* The headers have been found valid. For a proxy (or NULL) that passes it on. Host is added unless
 * it is among them; Content-Length if there is a body or the method wants one. */
void net_http1_put_request(struct buf *out, const struct net_outgoing *request,
                           const struct net_proxy *proxy);

#endif
