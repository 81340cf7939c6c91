// SPDX-License-Identifier: Apache-2.0
/*
 * A connection: bytes in and out of a socket, what waits to be written, and one deadline. It knows
 * nothing of HTTP: a session (http1_server.c, http2_client.c) owns it and stands on it through the
 * events, and may hand it to another one. TLS stands here, under the same functions: `queued`
 * counts what is sealed and has not left, too.
 *
 * It is watched with uv_poll and read and written by plain system calls, so that a peer that is
 * gone raises no SIGPIPE, whatever the process does with that signal.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <sys/socket.h>
#include <sys/un.h>

#include "net/loop.h"
#include "net/tls.h"

struct net_conn;

/* Never called from within a function of this header. After net_conn_close only `closed` comes. */
struct net_conn_events {
    /* They live during the call. */
    void (*bytes)(struct net_conn *conn, const uint8_t *data, size_t len);
    /* The peer sends no more; nothing is read from here on. */
    void (*end)(struct net_conn *conn);
    /* Reading failed (with this errno): the connection is dead. net_conn_failure tells more. */
    void (*broken)(struct net_conn *conn, int error);
    /* What had to wait has been written; or writing failed and it is dropped (error != 0), while
     * there may still be something to read. */
    void (*written)(struct net_conn *conn, int error);
    void (*deadline)(struct net_conn *conn);
    /* The owner's memory may go; the connection's goes by itself. */
    void (*closed)(struct net_conn *conn);
    /* The TLS handshake is done: the first event where TLS was started, unless it fails. */
    void (*ready)(struct net_conn *conn);
};

struct net_conn {
    struct net_loop *loop;
    const struct net_conn_events *events;
    void *owner;
    uv_poll_t poll;
    int fd; /* -1: closed */
    int watched;
    bool want_read, ended, writing_failed;
    struct list writes;
    size_t queued;       /* bytes in `writes`, and `sealed` */
    size_t sealed;       /* by TLS, and not sent yet */
    struct net_tls *tls; /* NULL: clear text */
    struct net_timer timer;
    int64_t deadline_ms; /* TIME_NEVER: none; the timer may go off earlier, and is then set anew */
};

/* Takes the connected, non-blocking descriptor over, and reads. On failure (a negative errno) the
 * descriptor is closed and `closed` will not be called. */
int net_conn_open(struct net_conn **conn, struct net_loop *loop, int fd,
                  const struct net_conn_events *events, void *owner);
/* Hands it to another owner, who gets all events from here on. */
void net_conn_use(struct net_conn *conn, const struct net_conn_events *events, void *owner);
/* From here on bytes are TLS's, which the connection takes over; before anything was written.
 * False: it cannot even begin (tls->why says why), and nothing will come of it. */
bool net_conn_start_tls(struct net_conn *conn, struct net_tls *tls);
/* Of what `broken` reports; `why` lives as long as the connection. */
enum net_failure net_conn_failure(const struct net_conn *conn, int error, const char **why);
/* At once; what waits to be written is dropped. `closed` comes later. Harmless when closed. */
void net_conn_close(struct net_conn *conn);
static inline bool net_conn_is_open(const struct net_conn *conn)
{
    return conn->fd >= 0;
}

/* A paused connection notices nothing of its peer. */
void net_conn_pause(struct net_conn *conn);
void net_conn_resume(struct net_conn *conn);

/* Writes now as much as goes, and the rest when it goes (`head` is copied, `body` referenced then).
 * Zero or a negative errno. */
int net_conn_write(struct net_conn *conn, struct slice head, struct blob *body);
/* Nothing more will be written: the peer reads an end. */
void net_conn_shutdown(struct net_conn *conn);

void net_conn_set_deadline(struct net_conn *conn, uint32_t delay_ms);
static inline void net_conn_clear_deadline(struct net_conn *conn)
{
    conn->deadline_ms = INT64_MAX;
}

/* "127.0.0.1:80", "[::1]:80" */
#define NET_ADDRESS_TEXT 64
/* False: the path is too long. */
bool net_unix_address(const char *path, struct sockaddr_un *address);
void net_address_format(const struct sockaddr *address, char text[NET_ADDRESS_TEXT]);
/* Options that every connection of ours has. */
void net_socket_tune(int fd);

#endif
