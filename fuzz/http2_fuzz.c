// SPDX-License-Identifier: Apache-2.0
/* A connection that speaks HTTP/2 to the server (net/http2_server.c), by a pair of sockets: what
 * comes back are whole frames, and once the peer is gone nothing is left. The first byte says how
 * long the pieces are, and whether requests are answered at once or never. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "net/http2.h"
#include "net/server.h"

enum { HEAD_LIMIT = 1 << 12, BODY_LIMIT = 300, FRAME_HEAD = 9, FRAME_MAX = 1 << 14 };

static struct net_loop *loop;
static struct net_server *server;
static bool answers;
static size_t open_exchanges;

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct net_header header = {FIXED("x-length"), request->path};

    (void)arg;
    require(request->body.len <= BODY_LIMIT && request->header_count <= NET_HEADERS_MAX);
    open_exchanges++;
    if (!answers)
        return;
    open_exchanges--;
    net_answer(exchange, 200, &header, 1, NULL);
}

static void gone(void *arg, struct net_exchange *exchange)
{
    (void)arg;
    (void)exchange;
    require(open_exchanges > 0);
    open_exchanges--;
}

static void tear_down(void)
{
    net_server_destroy(server);
    net_loop_destroy(loop);
}

static void set_up(void)
{
    struct net_server_options options = {.host = "127.0.0.1",
                                         .max_body = BODY_LIMIT,
                                         .max_header_bytes = HEAD_LIMIT,
                                         .handle = handle,
                                         .gone = gone};
    struct error err;

    if (server)
        return;
    require(net_loop_create(&loop, &err) == 0);
    require(net_server_create(&server, loop, &options, &err) == 0);
    require(atexit(tear_down) == 0);
}

/* What the server says, a piece at a time: the frame's head is taken off, and what follows it. */
struct frames {
    uint8_t head[FRAME_HEAD];
    size_t head_len, left;
};

static void take(struct frames *f, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (f->left) {
            f->left--;
            continue;
        }
        f->head[f->head_len++] = data[i];
        if (f->head_len < FRAME_HEAD)
            continue;
        f->head_len = 0;
        f->left = (size_t)f->head[0] << 16 | (size_t)f->head[1] << 8 | f->head[2];
        require(f->left <= FRAME_MAX && f->head[3] <= 9);
    }
}

static void listen_to(int fd, struct frames *f)
{
    uint8_t data[1 << 14];
    ssize_t n;

    net_loop_turn(loop);
    while ((n = recv(fd, data, sizeof data, MSG_DONTWAIT)) > 0)
        take(f, data, (size_t)n);
}

static void say(int fd, struct frames *f, const uint8_t *data, size_t size, size_t step)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size < step ? size : step, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return; /* it has hung up */
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
        listen_to(fd, f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frames frames = {0};
    int fds[2];

    if (size == 0 || size > 1 << 15)
        return 0;
    set_up();
    answers = data[0] & 1;
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    net_greet(server, fds[0], "fuzz");
    say(fds[1], &frames, (const uint8_t *)NET_HTTP2_PREFACE, sizeof NET_HTTP2_PREFACE - 1, 24);
    say(fds[1], &frames, data + 1, size - 1, data[0] & 2 ? 7 : size);
    listen_to(fds[1], &frames);
    require(frames.head_len == 0 && frames.left == 0);
    close(fds[1]);
    for (int i = 0; i < 100 && server->session_count > 0; i++)
        net_loop_turn(loop);
    require(server->session_count == 0 && server->exchanges == 0 && open_exchanges == 0);
    return 0;
}
