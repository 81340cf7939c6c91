// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes over a socket. The usual write is one sendmsg that takes everything; what the socket does
 * not take is copied into a piece of its own, and the socket is watched for room until it has left.
 */
#include "net/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/dial.h"

enum { READS_A_TURN = 8 }; /* of full buffers, before others get their turn */

struct piece {
    struct list link;
    struct blob *body;
    size_t done; /* bytes of head and body that have left */
    size_t head_len;
    uint8_t head[];
};

static void on_poll(uv_poll_t *handle, int status, int events);

static void watch(struct net_conn *conn)
{
    int events = 0;

    if (conn->want_read && !conn->ended)
        events |= UV_READABLE;
    if (conn->queued > 0)
        events |= UV_WRITABLE;
    if (events == conn->watched)
        return;
    conn->watched = events;
    if (events)
        uv_poll_start(&conn->poll, events, on_poll);
    else
        uv_poll_stop(&conn->poll);
}

/* --- sealed bytes ---------------------------------------------------------------------------- */

/* Bytes taken (0: no room now) or a negative errno. */
static ssize_t send_parts(int fd, struct slice head, struct slice body)
{
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts};
    ssize_t n;

    if (head.len > 0)
        parts[message.msg_iovlen++] = (struct iovec){(void *)(uintptr_t)head.data, head.len};
    if (body.len > 0)
        parts[message.msg_iovlen++] = (struct iovec){(void *)(uintptr_t)body.data, body.len};
    if (message.msg_iovlen == 0)
        return 0;
    do
        n = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    return n;
}

static struct slice behind(struct slice s, size_t done)
{
    if (done >= s.len)
        return (struct slice){0};
    return slice((const uint8_t *)s.data + done, s.len - done);
}

/* Whoever waits learns it from reading, which meets the end: at once, too, of a connection that
 * could still be read from (ENOBUFS, and what TLS cannot seal). */
static void writing_failed(struct net_conn *conn, int error)
{
    if (!conn->writing_failed && error != EPIPE && error != ECONNRESET)
        shutdown(conn->fd, SHUT_RDWR);
    conn->writing_failed = true;
}

/* Sends what TLS has sealed, as much as goes. Zero, or a negative errno. */
static int send_sealed(struct net_conn *conn)
{
    struct slice pending = net_tls_pending(conn->tls);
    ssize_t n = 0;

    if (pending.len > 0 && !conn->writing_failed)
        n = send_parts(conn->fd, pending, (struct slice){0});
    if (n < 0 || conn->writing_failed) {
        writing_failed(conn, (int)-n);
        net_tls_consume(conn->tls, pending.len);
        conn->queued -= conn->sealed;
        conn->sealed = 0;
        return n < 0 ? (int)n : -EPIPE;
    }
    if (n > 0)
        net_tls_consume(conn->tls, (size_t)n);
    conn->queued += pending.len - (size_t)n - conn->sealed;
    conn->sealed = pending.len - (size_t)n;
    watch(conn);
    return 0;
}

/* Seals and sends, a record at a time, while there is room. Bytes sealed, or a negative errno. */
static ssize_t seal_parts(struct net_conn *conn, struct slice head, struct slice body)
{
    uint8_t record[NET_TLS_RECORD];
    size_t done = 0;

    for (;;) {
        struct slice a = behind(head, done);
        struct slice b = behind(body, done > head.len ? done - head.len : 0);
        size_t from_a = a.len < sizeof record ? a.len : sizeof record;
        size_t from_b = b.len < sizeof record - from_a ? b.len : sizeof record - from_a;
        int rc = send_sealed(conn);

        if (rc < 0)
            return rc;
        if (conn->sealed > 0 || from_a + from_b == 0)
            return (ssize_t)done;
        if (from_a > 0)
            memcpy(record, a.data, from_a);
        if (from_b > 0)
            memcpy(record + from_a, b.data, from_b);
        if (!net_tls_write(conn->tls, record, from_a + from_b))
            return -EPROTO;
        done += from_a + from_b;
    }
}

static ssize_t write_parts(struct net_conn *conn, struct slice head, struct slice body)
{
    return conn->tls ? seal_parts(conn, head, body) : send_parts(conn->fd, head, body);
}

/* --- reading --------------------------------------------------------------------------------- */

static void broken(struct net_conn *conn, int error)
{
    conn->ended = true;
    watch(conn);
    conn->events->broken(conn, error);
}

static void ended(struct net_conn *conn)
{
    conn->ended = true;
    watch(conn);
    conn->events->end(conn);
}

/* Bytes of TLS: what is in them for the owner, who gets all of it even if it pauses. */
static void open_bytes(struct net_conn *conn, const uint8_t *data, size_t len)
{
    struct net_tls *tls = conn->tls;
    int n = net_tls_feed(tls, data, len) ? 1 : NET_TLS_FAILED;

    if (n == 1 && !tls->done) {
        n = net_tls_handshake(tls);
        send_sealed(conn);
        if (n == 1)
            conn->events->ready(conn);
    }
    while (n > 0 && conn->fd >= 0) {
        n = net_tls_read(tls, conn->loop->plain, NET_TLS_RECORD);
        if (n > 0)
            conn->events->bytes(conn, conn->loop->plain, (size_t)n);
    }
    if (conn->fd < 0)
        return;
    send_sealed(conn); /* what TLS itself has to say */
    if (n == NET_TLS_FAILED)
        broken(conn, EPROTO);
    else if (n == NET_TLS_END)
        ended(conn);
}

static void read_some(struct net_conn *conn)
{
    uint8_t *buffer = conn->loop->read_buffer;

    for (int i = 0; i < READS_A_TURN && conn->want_read && !conn->ended && conn->fd >= 0; i++) {
        ssize_t n = recv(conn->fd, buffer, NET_READ_BUFFER, 0);

        if (n > 0) {
            if (conn->tls)
                open_bytes(conn, buffer, (size_t)n);
            else
                conn->events->bytes(conn, buffer, (size_t)n);
            if ((size_t)n < NET_READ_BUFFER)
                return;
        } else if (n == 0) {
            if (conn->tls) /* without the end that TLS has of its own */
                broken(conn, ECONNRESET);
            else
                ended(conn);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            broken(conn, errno);
        }
    }
}

void net_conn_pause(struct net_conn *conn)
{
    conn->want_read = false;
    if (conn->fd >= 0)
        watch(conn);
}

void net_conn_resume(struct net_conn *conn)
{
    conn->want_read = true;
    if (conn->fd >= 0)
        watch(conn);
}

/* --- writing --------------------------------------------------------------------------------- */

static void drop_piece(struct piece *piece)
{
    list_remove(&piece->link);
    blob_unref(piece->body);
    free(piece);
}

static void drop_writes(struct net_conn *conn)
{
    while (!list_empty(&conn->writes))
        drop_piece(LIST_ENTRY(conn->writes.next, struct piece, link));
    conn->queued = conn->sealed;
}

static int enqueue(struct net_conn *conn, struct slice head, struct blob *body, size_t done)
{
    struct slice rest = behind(head, done);
    struct piece *piece = malloc(sizeof *piece + rest.len);

    if (!piece)
        return -ENOMEM;
    piece->head_len = rest.len;
    piece->done = done > head.len ? done - head.len : 0; /* then the rest of the head is empty */
    piece->body = blob_ref(body);
    if (rest.len > 0)
        memcpy(piece->head, rest.data, rest.len);
    list_append(&conn->writes, &piece->link);
    conn->queued += head.len + blob_slice(body).len - done;
    watch(conn);
    return 0;
}

int net_conn_write(struct net_conn *conn, struct slice head, struct blob *body)
{
    struct slice bytes = blob_slice(body);
    ssize_t n = 0;

    assert(conn->fd >= 0);
    if (conn->writing_failed)
        return -EPIPE;
    if (list_empty(&conn->writes))
        n = write_parts(conn, head, bytes);
    if (n < 0) {
        writing_failed(conn, (int)-n);
        return (int)n;
    }
    if ((size_t)n == head.len + bytes.len)
        return 0;
    return enqueue(conn, head, body, (size_t)n);
}

static void write_some(struct net_conn *conn)
{
    int error = 0;

    while (!list_empty(&conn->writes)) {
        struct piece *piece = LIST_ENTRY(conn->writes.next, struct piece, link);
        struct slice head = slice(piece->head, piece->head_len);
        struct slice body = blob_slice(piece->body);
        ssize_t n;

        n = write_parts(conn, behind(head, piece->done),
                        behind(body, piece->done > head.len ? piece->done - head.len : 0));
        if (n < 0) {
            error = (int)-n;
            writing_failed(conn, error);
            drop_writes(conn);
            break;
        }
        piece->done += (size_t)n;
        conn->queued -= (size_t)n;
        if (piece->done < head.len + body.len)
            return;
        drop_piece(piece);
    }
    if (!error && conn->tls)
        error = -send_sealed(conn);
    if (!error && conn->sealed > 0)
        return;
    watch(conn);
    conn->events->written(conn, error);
}

void net_conn_shutdown(struct net_conn *conn)
{
    if (conn->fd < 0)
        return;
    if (conn->tls) {
        net_tls_say_end(conn->tls);
        send_sealed(conn);
    }
    shutdown(conn->fd, SHUT_WR);
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct net_conn *conn = handle->data;

    if (status < 0) {
        /* The socket has an error, and libuv has stopped the watch: what can still be read is read,
         * then the error shows itself. */
        conn->watched = 0;
        if (conn->queued > 0)
            write_some(conn);
        if (conn->fd >= 0)
            read_some(conn);
        if (conn->fd >= 0)
            watch(conn);
        return;
    }
    if ((events & UV_WRITABLE) && conn->queued > 0)
        write_some(conn);
    if ((events & UV_READABLE) && conn->fd >= 0)
        read_some(conn);
}

static void on_timer(void *arg)
{
    struct net_conn *conn = arg;

    if (conn->fd < 0 || conn->deadline_ms == TIME_NEVER)
        return;
    if (conn->deadline_ms > net_loop_now_ms(conn->loop)) {
        net_timer_set_at(&conn->timer, conn->deadline_ms);
        return;
    }
    conn->deadline_ms = TIME_NEVER;
    conn->events->deadline(conn);
}

/* Most deadlines are moved before they come: the timer is left where it is if that is early enough,
 * and looks again when it goes off. */
void net_conn_set_deadline(struct net_conn *conn, uint32_t delay_ms)
{
    conn->deadline_ms = net_loop_now_ms(conn->loop) + delay_ms;
    if (!net_timer_is_set(&conn->timer) || conn->timer.node.key > conn->deadline_ms)
        net_timer_set_at(&conn->timer, conn->deadline_ms);
}

int net_conn_open(struct net_conn **out, struct net_loop *loop, int fd,
                  const struct net_conn_events *events, void *owner)
{
    struct net_conn *conn = malloc(sizeof *conn);
    int rc = -ENOMEM;

    if (!conn)
        goto fail;
    *conn = (struct net_conn){.loop = loop, .fd = fd, .want_read = true};
    net_conn_use(conn, events, owner);
    list_init(&conn->writes);
    net_conn_clear_deadline(conn);
    if (!net_timer_init(&conn->timer, loop, on_timer, conn))
        goto fail;
    rc = uv_poll_init(&loop->uv, &conn->poll, fd);
    if (rc < 0) {
        net_timer_finish(&conn->timer);
        goto fail;
    }
    conn->poll.data = conn;
    watch(conn);
    *out = conn;
    return 0;
fail:
    free(conn);
    close(fd);
    return rc;
}

void net_conn_use(struct net_conn *conn, const struct net_conn_events *events, void *owner)
{
    conn->events = events;
    conn->owner = owner;
}

bool net_conn_start_tls(struct net_conn *conn, struct net_tls *tls)
{
    assert(!conn->tls && conn->queued == 0);
    conn->tls = tls;
    if (net_tls_handshake(tls) == NET_TLS_FAILED)
        return false;
    send_sealed(conn); /* the client begins */
    return true;
}

enum net_failure net_conn_failure(const struct net_conn *conn, int error, const char **why)
{
    if (conn->tls && conn->tls->why[0]) {
        *why = conn->tls->why;
        return NET_TLS;
    }
    *why = uv_strerror(-error);
    return net_failure_of(-error);
}

static void on_closed(uv_handle_t *handle)
{
    struct net_conn *conn = handle->data;

    conn->events->closed(conn);
    net_tls_free(conn->tls);
    free(conn);
}

void net_conn_close(struct net_conn *conn)
{
    int fd = conn->fd;

    if (fd < 0)
        return;
    if (conn->tls && conn->queued == 0) {
        net_tls_say_end(conn->tls);
        send_sealed(conn);
    }
    conn->fd = -1;
    drop_writes(conn);
    net_timer_finish(&conn->timer);
    uv_close((uv_handle_t *)&conn->poll, on_closed);
    close(fd); /* after uv_close, which takes it out of the poll set */
}

void net_address_format(const struct sockaddr *address, char text[NET_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "";

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, NET_ADDRESS_TEXT, "%s:%u", host, ntohs(in->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)address;

        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(text, NET_ADDRESS_TEXT, "[%s]:%u", host, ntohs(in->sin6_port));
    } else {
        snprintf(text, NET_ADDRESS_TEXT, address->sa_family == AF_UNIX ? "unix" : "unknown");
    }
}

bool net_unix_address(const char *path, struct sockaddr_un *address)
{
    size_t len = strlen(path);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len > NET_UNIX_PATH_MAX)
        return false;
    memcpy(address->sun_path, path, len + 1);
    return true;
}

/* Small messages leave at once, and a peer whose machine vanished is noticed after some minutes. */
void net_socket_tune(int fd)
{
    int on = 1, idle_s = 60, interval_s = 15, probes = 5;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}
