// SPDX-License-Identifier: Apache-2.0
/*
 * For the tests of this room: a loop driven by hand until something holds, and raw sockets as
 * peers.
 */
#ifndef NET_TESTING_H
#define NET_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"

enum { DEADLINE_S = 20 }; /* to give up, not to wait for */

/* One turn; waits at most 10 ms for something to do. */
static inline void step(struct net_loop *loop)
{
    struct pollfd fd = {.fd = uv_backend_fd(&loop->uv), .events = POLLIN};
    int timeout;

    net_loop_turn(loop);
    timeout = uv_backend_timeout(&loop->uv);
    poll(&fd, 1, timeout >= 0 && timeout < 10 ? timeout : 10);
}

#define UNTIL(loop, condition)                                                                     \
    do {                                                                                           \
        time_t give_up_ = time(NULL) + DEADLINE_S;                                                 \
        while (!(condition)) {                                                                     \
            if (time(NULL) > give_up_)                                                             \
                fail_msg("in vain: %s", #condition);                                               \
            step(loop);                                                                            \
        }                                                                                          \
    } while (0)

/* A peer: a socket, and what came from it. */
struct peer {
    int fd;
    bool ended; /* the other side sends no more, or has reset */
    int error;
    size_t len;
    char in[1 << 16];
};

static inline void peer_connect(struct peer *p, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

    memset(p, 0, sizeof *p);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(p->fd, (struct sockaddr *)&to, sizeof to), 0);
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
}

static inline int listen_loopback(uint16_t *port, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* True once a connection was taken from the listener. */
static inline bool peer_accept(struct peer *p, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return false;
    memset(p, 0, sizeof *p);
    p->fd = fd;
    return true;
}

static inline void peer_send(struct peer *p, const char *text)
{
    size_t len = strlen(text);

    assert_int_equal(send(p->fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void peer_reset(struct peer *p)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(p->fd);
    p->fd = -1;
}

static inline void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

/* Reads what is there. */
static inline void peer_read(struct peer *p)
{
    while (!p->ended && p->len < sizeof p->in - 1) {
        ssize_t n = recv(p->fd, p->in + p->len, sizeof p->in - 1 - p->len, 0);

        if (n > 0) {
            p->len += (size_t)n;
        } else if (n == 0) {
            p->ended = true;
        } else if (errno == EAGAIN) {
            break;
        } else {
            p->error = errno;
            p->ended = true;
        }
    }
    p->in[p->len] = '\0';
}

/* Has this text come? */
static inline bool peer_has(struct peer *p, const char *text)
{
    peer_read(p);
    return strstr(p->in, text) != NULL;
}

static inline bool peer_ended(struct peer *p)
{
    peer_read(p);
    return p->ended;
}

static inline int peer_count(struct peer *p, const char *text)
{
    int count = 0;

    peer_read(p);
    for (const char *at = strstr(p->in, text); at; at = strstr(at + 1, text))
        count++;
    return count;
}

/* Forgets what has come. */
static inline void peer_forget(struct peer *p)
{
    p->len = 0;
    p->in[0] = '\0';
}

#endif
