// SPDX-License-Identifier: Apache-2.0
/*
 * Between the listener (server.c) and the protocol sessions that answer on its connections: first
 * one that finds out which protocol is spoken (greeting.c), then that one (http1_server.c,
 * http2_server.c).
 */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include "net/conn.h"

struct net_session;

struct net_session_ops {
    /* No more requests: closes now if none is in progress, else after it. */
    void (*retire)(struct net_session *session);
    /* Closes now, `gone` for what is not answered; server is NULL from then on. */
    void (*destroy)(struct net_session *session);
};

/* An answer of the application. */
struct net_reply {
    int status;
    const struct net_header *headers, *trailers;
    size_t header_count, trailer_count;
    struct blob *body;
};

/* A connection as the server sees it. */
struct net_session {
    struct list link;
    struct net_server *server; /* NULL: closed */
    const struct net_session_ops *ops;
};

struct net_exchange {
    void (*answer)(struct net_exchange *exchange, const struct net_reply *reply);
    void *data;
};

struct net_server {
    struct net_loop *loop;
    struct net_server_options options; /* defaults filled in; host is not kept */
    uv_poll_t listener;
    int fd;          /* -1: listens no more */
    char *unix_path; /* to be removed when it listens no more; NULL: none */
    bool listener_gone, destroyed;
    struct net_timer retry; /* accepting again after the process ran out of descriptors */
    uint16_t port;
    SSL_CTX *tls; /* NULL: clear text */
    bool closing;
    struct list sessions;
    size_t session_count, exchanges;
    size_t arriving;           /* bytes of bodies that have not come whole */
    struct list spare_streams; /* of HTTP/2, with their buffers */
    size_t spare_count;
};

#define NET_TOO_MUCH "too much comes in at a time: try again later"

/* Is there no room for what has come of a body, and for more? */
static inline bool net_server_is_full(const struct net_server *server, size_t body_len)
{
    return server->arriving > server->options.max_arriving && body_len > NET_SMALL_BODY;
}

void net_http2_free_spare(struct net_server *server);
void net_server_add(struct net_server *server, struct net_session *session,
                    const struct net_session_ops *ops);
void net_server_remove(struct net_session *session);

/* "/path?query" into its parts; of "http://host/path?query" (as to a proxy) the same. */
bool net_target_split(struct slice target, struct slice *path, struct slice *query);
/* The body of an answer to what is no proper request. */
#define NET_REFUSAL_TEXT 256
void net_refusal_text(char text[NET_REFUSAL_TEXT], int status, const char *reason);
/* Tells the application of it. */
void net_server_refused(const struct net_server *server, const char *peer, int status,
                        const char *reason);

/* Takes over a descriptor that was accepted. */
void net_greet(struct net_server *server, int fd, const char *peer);
/* Take over a connection, to serve on it from its first byte. False: out of memory, and nothing has
 * changed. */
bool net_http1_serve(struct net_server *server, struct net_conn *conn, const char *peer);
bool net_http2_serve(struct net_server *server, struct net_conn *conn, const char *peer);

#endif
