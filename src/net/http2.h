// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/2, for both sides: a session of nghttp2 on a connection, whose frames are written together
 * at the end of the loop's turn; the header fields of a message; and what keeps noisy peers calm.
 */
#ifndef NET_HTTP2_H
#define NET_HTTP2_H

#include <nghttp2/nghttp2.h>

#include "net/conn.h"
#include "net/http1.h"

#define NET_HTTP2_PREFACE NGHTTP2_CLIENT_MAGIC

enum {
    NET_HTTP2_STREAMS = 1000, /* that a peer may have open at once */
    NET_HTTP2_KEEP = 64 << 10 /* larger buffers are given back between messages */
};

/* --- header fields --------------------------------------------------------------------------- */

struct net_field_span {
    uint32_t at, name_len, value_len;
};

/* Received fields, copied behind each other; the views are made when all are there. */
struct net_fields {
    struct buf text;
    struct net_field_span *spans;
    struct net_header *headers;
    size_t count, cap;
    size_t bytes;   /* counted as SETTINGS_MAX_HEADER_LIST_SIZE does */
    bool no_memory; /* why one could not be added */
};

void net_fields_init(struct net_fields *fields);
void net_fields_free(struct net_fields *fields);
void net_fields_reset(struct net_fields *fields); /* keeps the memory */
/* False: too many, too large, or out of memory. */
bool net_fields_add(struct net_fields *fields, struct slice name, struct slice value, size_t max);
void net_fields_make(struct net_fields *fields);

static inline nghttp2_nv net_http2_field(struct slice name, struct slice value, uint8_t flags)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.data, (uint8_t *)(uintptr_t)value.data, name.len,
                        value.len, flags};
}

#define FIXED(text) ((struct slice){(text), sizeof(text) - 1})

/* True for fields that HTTP/2 does not carry (Connection and its like); the name in any case. */
bool net_http2_is_hop_field(struct slice name);

/* --- the session ------------------------------------------------------------------------------ */

struct net_http2 {
    struct net_conn *conn;
    nghttp2_session *session;
    struct net_deferred flush; /* put off with net_flush_later */
    int64_t calm_ms;           /* when `patience` was last filled up */
    uint32_t patience;
    bool full; /* a write of frames is large enough */
};

/* What is read of a body that is being sent: the user data of its stream begins with it. */
struct net_http2_source {
    struct blob *body;
    size_t done;
    struct net_fields *trailers; /* to be sent behind it; NULL: none */
};

/* Opens a session: sets the callbacks and options that both sides have in common, lets the caller
 * add its own, and sends SETTINGS. Zero, or a negative errno: out of memory. */
struct net_http2_side {
    bool server;
    void (*set_up)(nghttp2_session_callbacks *callbacks, nghttp2_option *option);
    const nghttp2_settings_entry *settings;
    size_t setting_count;
    int32_t window; /* of the connection */
};
int net_http2_start(struct net_http2 *h, const struct net_http2_side *side);
/* Provides blob bytes from a net_http2_source, uncopied. */
nghttp2_data_provider net_http2_provider(struct net_http2_source *source);

/* Sends the frames that wait: all of them, or as many as the connection takes without keeping much.
 * Zero, or a negative errno. */
int net_http2_send(struct net_http2 *h);
/* A frame that moves nothing forward has come. False: there were too many lately; the session has
 * been ended (ENHANCE_YOUR_CALM). */
bool net_http2_bear(struct net_http2 *h, const nghttp2_frame *frame);
/* Nothing is left to say or to hear. */
bool net_http2_is_over(const struct net_http2 *h);

#endif
