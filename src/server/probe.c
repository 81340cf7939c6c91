// SPDX-License-Identifier: Apache-2.0
/*
 * A non-blocking connect() that is looked at again later. On the loopback its answer is there at
 * once; far away it may take several steps.
 */
#include "server/probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

struct probe {
    struct addrinfo *addresses, *at; /* at: being tried; NULL: none */
    int fd;                          /* -1: none */
};

int probe_create(struct probe **out, const char *host, uint16_t port, struct error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct probe *p = calloc(1, sizeof *p);
    char service[8];
    int rc;

    if (!p)
        return error_memory(err);
    p->fd = -1;
    snprintf(service, sizeof service, "%u", port);
    rc = getaddrinfo(host, service, &hints, &p->addresses);
    if (rc) {
        free(p);
        return error_set(err, CODE_INVALID_ARGUMENT, "%s has no address: %s", host,
                         gai_strerror(rc));
    }
    *out = p;
    return CODE_OK;
}

static void hang_up(struct probe *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

void probe_destroy(struct probe *p)
{
    if (!p)
        return;
    hang_up(p);
    freeaddrinfo(p->addresses);
    free(p);
}

static enum probe_answer dial(struct probe *p)
{
    const struct addrinfo *a = p->at;

    p->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (p->fd < 0)
        return PROBE_CLOSED;
    if (connect(p->fd, a->ai_addr, a->ai_addrlen) == 0)
        return PROBE_OPEN;
    return errno == EINPROGRESS ? PROBE_PENDING : PROBE_CLOSED;
}

static enum probe_answer look(const struct probe *p, int timeout_ms)
{
    struct pollfd pfd = {.fd = p->fd, .events = POLLOUT};
    socklen_t len = sizeof(int);
    int error = 0;

    if (poll(&pfd, 1, timeout_ms) <= 0)
        return PROBE_PENDING;
    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
        return PROBE_CLOSED;
    return PROBE_OPEN;
}

static enum probe_answer step(struct probe *p, int timeout_ms)
{
    enum probe_answer answer = PROBE_CLOSED;

    if (p->at)
        answer = look(p, timeout_ms);
    while (answer == PROBE_CLOSED) {
        hang_up(p);
        p->at = p->at ? p->at->ai_next : p->addresses;
        if (!p->at)
            return PROBE_CLOSED;
        answer = dial(p);
        if (answer == PROBE_PENDING)
            answer = look(p, timeout_ms);
    }
    if (answer == PROBE_OPEN) {
        hang_up(p);
        p->at = NULL;
    }
    return answer;
}

enum probe_answer probe_step(struct probe *p)
{
    return step(p, 0);
}

enum probe_answer probe_wait(struct probe *p, int timeout_ms)
{
    int64_t end = clock_now(clock_system()) + timeout_ms * NS_PER_MS, left;
    enum probe_answer answer;

    do {
        left = (end - clock_now(clock_system())) / NS_PER_MS;
        answer = step(p, left > 0 ? (int)left : 0);
    } while (answer == PROBE_PENDING && left > 0);
    return answer == PROBE_OPEN ? PROBE_OPEN : PROBE_CLOSED;
}
