// SPDX-License-Identifier: Apache-2.0
/*
 * Dialing: the name is resolved by libuv (in a thread; numeric addresses need none), then its
 * addresses are tried one after the other. Each attempt is a socket and a watch of its own, that is
 * closed as a whole. A dial that is over but whose resolver still runs stays in memory until that
 * returns.
 */
#include "net/dial.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"

struct attempt {
    uv_poll_t poll;
    struct net_dial *dial;
    int fd;
};

struct net_dial {
    struct net_loop *loop;
    net_dial_refuses *refuses;
    net_dial_done *done;
    void *arg;
    uv_getaddrinfo_t resolver;
    bool resolving, over, starting;
    const char *refusal; /* of an address, by `refuses` */
    struct addrinfo *resolved;
    struct addrinfo single; /* a numeric address or a path, at `numeric` */
    struct sockaddr_storage numeric;
    const struct addrinfo *next;
    struct attempt *attempt;
    struct net_timer timer;
    struct net_deferred deferred; /* a failure met while starting */
    int64_t deadline_ms;
    int last_error;
    uint16_t port;
    enum net_failure failure;
    char message[512];
    char host[];
};

enum net_failure net_failure_of(int error)
{
    switch (-error) {
    case ETIMEDOUT:
        return NET_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EAGAIN:
    case EINTR:
        return NET_TEMPORARY;
    case EPERM:
        return NET_FORBIDDEN;
    default:
        return NET_TCP;
    }
}

static void free_attempt(uv_handle_t *handle)
{
    free(handle->data);
}

/* Returns the descriptor, no longer watched. */
static int end_attempt(struct net_dial *dial)
{
    struct attempt *attempt = dial->attempt;
    int fd = attempt->fd;

    dial->attempt = NULL;
    uv_close((uv_handle_t *)&attempt->poll, free_attempt);
    return fd;
}

static void maybe_free(struct net_dial *dial)
{
    if (!dial->over || dial->resolving)
        return;
    if (dial->resolved)
        uv_freeaddrinfo(dial->resolved);
    free(dial);
}

static void wind_up(struct net_dial *dial)
{
    assert(!dial->over);
    dial->over = true;
    net_deferred_cancel(&dial->deferred);
    net_timer_finish(&dial->timer);
    if (dial->attempt)
        close(end_attempt(dial));
    if (dial->resolving)
        uv_cancel((uv_req_t *)&dial->resolver);
}

void net_dial_cancel(struct net_dial *dial)
{
    wind_up(dial);
    maybe_free(dial);
}

static void on_deferred(struct net_deferred *deferred)
{
    struct net_dial *dial = LIST_ENTRY(deferred, struct net_dial, deferred);

    wind_up(dial);
    dial->done(dial->arg, -1, dial->failure, dial->message);
    maybe_free(dial);
}

static void fail(struct net_dial *dial, enum net_failure failure, const char *what, bool with_port,
                 int error)
{
    bool ipv6 = strchr(dial->host, ':') != NULL;
    char port[8] = "";

    if (with_port)
        snprintf(port, sizeof port, ":%u", dial->port);
    dial->failure = failure;
    snprintf(dial->message, sizeof dial->message, "%s %s%s%s%s: %s", what, ipv6 ? "[" : "",
             dial->host, ipv6 ? "]" : "", port,
             failure == NET_FORBIDDEN && dial->refusal ? dial->refusal : uv_strerror(error));
    net_timer_clear(&dial->timer);
    if (dial->starting)
        net_defer(dial->loop, &dial->deferred);
    else
        on_deferred(&dial->deferred);
}

static void try_next(struct net_dial *dial);

/* A connection to a port of this machine that nobody listens on may meet itself, when the kernel
 * picks that very port for its own side: it would then keep the real listener out. */
static bool met_itself(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_len = sizeof here, there_len = sizeof there;
    char a[NET_ADDRESS_TEXT], b[NET_ADDRESS_TEXT];

    if (getsockname(fd, (struct sockaddr *)&here, &here_len) != 0 ||
        getpeername(fd, (struct sockaddr *)&there, &there_len) != 0)
        return false;
    if (here.ss_family == AF_UNIX)
        return false;
    net_address_format((const struct sockaddr *)&here, a);
    net_address_format((const struct sockaddr *)&there, b);
    return strcmp(a, b) == 0;
}

static void on_connected(uv_poll_t *handle, int status, int events)
{
    struct attempt *attempt = handle->data;
    struct net_dial *dial = attempt->dial;
    int fd = end_attempt(dial);
    int error = 0;
    socklen_t len = sizeof error;

    (void)status; /* the socket knows better */
    (void)events;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0 && met_itself(fd))
        error = ECONNREFUSED;
    if (error != 0) {
        close(fd);
        dial->last_error = -error;
        try_next(dial);
        return;
    }
    wind_up(dial);
    dial->done(dial->arg, fd, NET_OK, NULL);
    maybe_free(dial);
}

/* Zero: it is under way. */
static int begin_attempt(struct net_dial *dial, const struct addrinfo *address)
{
    struct attempt *attempt;
    int fd, rc;
    const char *refusal = dial->refuses ? dial->refuses(dial->arg, address->ai_addr) : NULL;

    if (refusal) {
        dial->refusal = refusal;
        return -EPERM;
    }
    fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    net_socket_tune(fd);
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
        rc = -errno;
        goto fail;
    }
    attempt = calloc(1, sizeof *attempt);
    if (!attempt) {
        rc = -ENOMEM;
        goto fail;
    }
    rc = uv_poll_init(&dial->loop->uv, &attempt->poll, fd);
    if (rc < 0) {
        free(attempt);
        goto fail;
    }
    *attempt = (struct attempt){.poll = attempt->poll, .dial = dial, .fd = fd};
    attempt->poll.data = attempt;
    dial->attempt = attempt;
    uv_poll_start(&attempt->poll, UV_WRITABLE, on_connected);
    return 0;
fail:
    close(fd);
    return rc;
}

static void try_next(struct net_dial *dial)
{
    while (dial->next) {
        const struct addrinfo *address = dial->next;
        int64_t now = net_loop_now_ms(dial->loop);
        int64_t left = 0;
        int rc = begin_attempt(dial, address);

        for (const struct addrinfo *a = address; a; a = a->ai_next)
            left++;
        dial->next = address->ai_next;
        if (rc == 0) {
            net_timer_set_at(&dial->timer, now + (dial->deadline_ms - now) / left);
            return;
        }
        dial->last_error = rc;
    }
    fail(dial, net_failure_of(dial->last_error), "connect to", !net_is_unix(slice_str(dial->host)),
         dial->last_error);
}

static void on_timeout(void *arg)
{
    struct net_dial *dial = arg;

    if (dial->resolving) {
        fail(dial, NET_TIMEOUT, "resolve", false, UV_ETIMEDOUT);
        return;
    }
    assert(dial->attempt);
    close(end_attempt(dial));
    dial->last_error = UV_ETIMEDOUT;
    try_next(dial);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct net_dial *dial = request->data;

    dial->resolving = false;
    dial->resolved = addresses;
    if (dial->over) {
        maybe_free(dial);
    } else if (status < 0 || !addresses) {
        fail(dial, status == UV_EAI_MEMORY || status == UV_ENOMEM ? NET_TEMPORARY : NET_DNS,
             "resolve", false, status < 0 ? status : UV_EAI_NONAME);
    } else {
        dial->next = addresses;
        try_next(dial);
    }
}

static void begin(struct net_dial *dial)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&dial->numeric;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&dial->numeric;
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&dial->numeric;
    char port[8];
    int rc;

    dial->single.ai_addr = (struct sockaddr *)&dial->numeric;
    if (net_is_unix(slice_str(dial->host))) {
        bool fits = net_unix_address(dial->host, un);

        assert(fits); /* net_client_send has looked */
        (void)fits;
        dial->single.ai_family = AF_UNIX;
        dial->single.ai_addrlen = sizeof *un;
    } else if (uv_ip4_addr(dial->host, dial->port, in) == 0) {
        dial->single.ai_family = AF_INET;
        dial->single.ai_addrlen = sizeof *in;
    } else if (uv_ip6_addr(dial->host, dial->port, in6) == 0) {
        dial->single.ai_family = AF_INET6;
        dial->single.ai_addrlen = sizeof *in6;
    } else {
        snprintf(port, sizeof port, "%u", dial->port);
        dial->resolver.data = dial;
        rc =
            uv_getaddrinfo(&dial->loop->uv, &dial->resolver, on_resolved, dial->host, port, &hints);
        if (rc < 0)
            fail(dial, rc == UV_ENOMEM ? NET_TEMPORARY : NET_DNS, "resolve", false, rc);
        else
            dial->resolving = true;
        return;
    }
    dial->next = &dial->single;
    try_next(dial);
}

struct net_dial *net_dial_start(struct net_loop *loop, const char *host, uint16_t port,
                                uint32_t timeout_ms, net_dial_refuses *refuses, net_dial_done *done,
                                void *arg)
{
    size_t len = strlen(host);
    struct net_dial *dial = calloc(1, sizeof *dial + len + 1);

    if (!dial)
        return NULL;
    dial->loop = loop;
    dial->refuses = refuses;
    dial->done = done;
    dial->arg = arg;
    dial->port = port;
    memcpy(dial->host, host, len + 1);
    net_deferred_init(&dial->deferred, on_deferred);
    if (!net_timer_init(&dial->timer, loop, on_timeout, dial)) {
        free(dial);
        return NULL;
    }
    dial->deadline_ms = net_loop_now_ms(loop) + timeout_ms;
    net_timer_set_at(&dial->timer, dial->deadline_ms);
    dial->starting = true;
    begin(dial);
    dial->starting = false;
    return dial;
}
