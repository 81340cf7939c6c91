// SPDX-License-Identifier: Apache-2.0
/*
 * A hostile server: what it says to the client's HTTP/1.1 (net/http1_client.c) and HTTP/2
 * (net/http2_client.c), over a Unix socket. Each request ends once, with a response within the
 * limits or with why there is none, and nothing is left. The first byte: the protocol, how long the
 * pieces are, the method, and whether the server then closes.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "net/client.h"

enum { HEAD_LIMIT = 1 << 12, BODY_LIMIT = 300, CALLS = 2, TURNS = 12, CONNECTIONS = 4 };

static struct net_loop *loop;
static char directory[32], path[64];
static int listener = -1;
static int done_count;

static void done(void *arg, const struct net_response *response)
{
    bool *over = arg;

    require(!*over);
    *over = true;
    done_count++;
    if (response->failure != NET_OK) {
        require(response->message && response->message[0]);
        return;
    }
    require(response->status >= 100 && response->status <= 999);
    require(response->body.len <= BODY_LIMIT && response->header_count <= NET_HEADERS_MAX);
    for (size_t i = 0; i < response->header_count; i++)
        require(response->headers[i].name.len > 0);
}

static void tear_down(void)
{
    net_loop_destroy(loop);
    close(listener);
    unlink(path);
    rmdir(directory);
}

static void set_up(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct error err;

    if (loop)
        return;
    snprintf(directory, sizeof directory, "/tmp/dispatch-fuzz-XXXXXX");
    require(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/socket", directory);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    require(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 64) == 0);
    require(net_loop_create(&loop, &err) == 0);
    require(atexit(tear_down) == 0);
}

struct peer {
    int fds[CONNECTIONS];
    size_t said[CONNECTIONS], count;
};

/* To each connection, the whole input, a piece a turn. */
static void serve(struct peer *p, const uint8_t *data, size_t size, size_t step, bool hang_up)
{
    char away[4096];
    int fd;

    while (p->count < CONNECTIONS && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
        p->fds[p->count++] = fd;
    for (size_t i = 0; i < p->count; i++) {
        size_t left = size - p->said[i];
        ssize_t n;

        if (p->fds[i] < 0)
            continue;
        while (recv(p->fds[i], away, sizeof away, 0) > 0)
            ;
        n = send(p->fds[i], data + p->said[i], left < step ? left : step, MSG_NOSIGNAL);
        p->said[i] += n > 0 ? (size_t)n : 0;
        if ((hang_up && p->said[i] == size) || (n < 0 && errno != EAGAIN)) {
            close(p->fds[i]);
            p->fds[i] = -1;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_client_options options = {.max_body = BODY_LIMIT, .max_header_bytes = HEAD_LIMIT};
    bool over[CALLS] = {false};
    struct net_client *client;
    struct net_call *call;
    struct peer peer = {0};
    struct error err;
    int fd;

    if (size == 0 || size > 1 << 14)
        return 0;
    set_up();
    require(net_client_create(&client, loop, &options, &err) == 0);
    done_count = 0;
    for (size_t i = 0; i < CALLS; i++) {
        struct net_outgoing outgoing = {.host = slice_str(path),
                                        .http2 = data[0] & 1,
                                        .method = slice_str(data[0] & 4 ? "HEAD" : "POST"),
                                        .target = slice_str("/"),
                                        .done = done,
                                        .arg = &over[i]};

        require(net_client_send(client, &outgoing, &call, &err) == 0);
    }
    for (int i = 0; i < TURNS && done_count < CALLS; i++) {
        net_loop_turn(loop);
        serve(&peer, data + 1, size - 1, data[0] & 2 ? 1 + size / 8 : size, data[0] & 8);
    }
    net_client_destroy(client); /* those under way are told */
    require(done_count == CALLS);
    for (size_t i = 0; i < peer.count; i++)
        if (peer.fds[i] >= 0)
            close(peer.fds[i]);
    net_loop_turn(loop);
    while ((fd = accept4(listener, NULL, NULL, 0)) >= 0)
        close(fd);
    return 0;
}
