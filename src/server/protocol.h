// SPDX-License-Identifier: Apache-2.0
/*
 * The protocols in which the methods of the API are spoken, each a way in and a way out around the
 * same messages: Connect (connect.c), gRPC and gRPC-Web (grpc.c). The content type of a request
 * says which. A method knows nothing of them.
 */
#ifndef SERVER_PROTOCOL_H
#define SERVER_PROTOCOL_H

#include "net/net.h"
#include "server/codec.h"

/* What the headers of a request say. */
struct rpc_head {
    const struct protocol *protocol;
    enum codec codec;
    bool charset;       /* Connect: the type said so, and that of the answer does, too */
    bool gzip;          /* the body is; in gRPC, messages may be */
    bool accepts_gzip;  /* in the answer */
    int64_t timeout_ns; /* -1: none */
};

/* Why a request is refused: http is the status where it is not the one of the code, else 0. */
struct refusal {
    struct error error;
    int http;
    struct net_header header; /* to be sent with it; name.data NULL: none */
};

struct protocol {
    /* Types, encodings and the protocol's own headers. False: refused. */
    bool (*read_head)(const struct net_request *request, struct rpc_head *head,
                      struct refusal *refusal);
    /* The bytes of the one message in the body: a view into it, or into `plain` (empty, and of a
     * maximum) where they were compressed. */
    int (*read_body)(const struct net_request *request, const struct rpc_head *head,
                     struct buf *plain, struct slice *message, struct error *err);
    /* Answer with an encoded message or an error; false: no memory, and nothing was sent. */
    bool (*answer)(struct net_exchange *exchange, const struct rpc_head *head,
                   const char *request_id, struct blob *message);
    void (*refuse)(struct net_exchange *exchange, const char *request_id,
                   const struct refusal *refusal);
};

extern const struct protocol protocol_connect, protocol_grpc, protocol_grpc_web;
/* Connect, but the body is of no type at all, and taken as it is; the answer is protobuf. */
extern const struct protocol protocol_raw;

/* By the content type; what is none of the others is Connect's to refuse. */
const struct protocol *protocol_of(const struct net_request *request);

/* The first header of that (lower-case) name; data NULL: none. */
struct slice protocol_header(const struct net_request *request, const char *name);

/* Whether the body is compressed, by the header of that name; false: in no way that is known, of
 * which `accepted` tells. */
bool protocol_read_encoding(const struct net_request *request, const char *name,
                            struct net_header accepted, struct rpc_head *head,
                            struct refusal *refusal);

#endif
