// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP side of a Connect unary request: its headers read and judged, its body decoded into a
 * message, and a message encoded into the body of an answer. No state.
 */
#ifndef SERVER_CONNECT_H
#define SERVER_CONNECT_H

#include "net/net.h"
#include "wire/wire.h"

enum codec { CODEC_PROTO, CODEC_JSON };

struct connect_head {
    enum codec codec;
    bool gzip;          /* the body is */
    int64_t timeout_ns; /* -1: none */
};

/* Why a request is refused: http is the status where it is not the one of the code, else 0. */
struct refusal {
    struct error error;
    int http;
    struct net_header header; /* to be sent with it; name.data NULL: none */
};

/* Types, encodings and the protocol's own headers. False: refused. */
bool connect_read_head(const struct net_request *request, struct connect_head *head,
                       struct refusal *refusal);

/* The body as a message in the arena; at most body_max bytes once it is decompressed. */
int connect_read_body(const struct net_request *request, const struct connect_head *head,
                      size_t body_max, const ProtobufCMessageDescriptor *type, struct arena *arena,
                      void *message, struct error *err);

/* NULL: no memory. */
struct blob *connect_pack(enum codec codec, const void *message);
const char *connect_content_type(enum codec codec);

/* Equal but for the case of ASCII letters; `text` is lower case. */
bool connect_same(struct slice s, const char *text);

#endif
