// SPDX-License-Identifier: Apache-2.0
/*
 * For the tests of this room: a small HTTP server on blocking sockets that shares nothing with
 * ours, and one request of a client that does not either. One request a connection.
 */
#ifndef SDK_HTTP_TEST_H
#define SDK_HTTP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct http_message {
    char head[8192];     /* NUL-terminated, with the empty line */
    unsigned char *body; /* malloc'ed */
    size_t body_size;
    int status; /* of a response */
};

static inline int http_socket(uint16_t port, struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd;
}

/* Reads until the body is whole, or, of a response without Content-Length, until the end. */
static inline bool http_read(int fd, struct http_message *m)
{
    size_t len = 0, wanted = 0, got = 0;
    const char *header;
    ssize_t n;

    *m = (struct http_message){0};
    while (!strstr(m->head, "\r\n\r\n")) {
        if (len + 1 == sizeof m->head || read(fd, m->head + len, 1) != 1)
            return false;
        m->head[++len] = '\0';
    }
    sscanf(m->head, "HTTP/1.1 %d", &m->status);
    header = strcasestr(m->head, "\r\ncontent-length:");
    if (header)
        wanted = strtoul(header + 17, NULL, 10);
    m->body = calloc(1, wanted + 1);
    while (got < wanted && (n = read(fd, m->body + got, wanted - got)) > 0)
        got += (size_t)n;
    m->body_size = got;
    return got == wanted;
}

static inline void http_write(int fd, const void *data, size_t size)
{
    const char *at = data;
    ssize_t n;

    while (size > 0 && (n = send(fd, at, size, MSG_NOSIGNAL)) > 0) {
        at += n;
        size -= (size_t)n;
    }
}

/* Sends `head` (its lines, without the empty one) and the body, and reads the response. */
static inline bool http_ask(uint16_t port, const char *head, const void *body, size_t size,
                            struct http_message *response)
{
    struct sockaddr_in address;
    int fd = http_socket(port, &address);
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;

    if (ok) {
        http_write(fd, head, strlen(head));
        http_write(fd, "\r\n", 2);
        http_write(fd, body, size);
        ok = http_read(fd, response);
    }
    close(fd);
    return ok;
}

/* --- the server ------------------------------------------------------------------------------- */

struct http_answer {
    int status; /* 0: close the connection without an answer */
    const char *content_type;
    void *body; /* malloc'ed, or NULL */
    size_t size;
};

struct http_server {
    int fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock;
    /* Called on a thread of the connection, under the lock; the answer's body is freed. */
    struct http_answer (*handle)(void *arg, const struct http_message *request);
    void *arg;
};

struct http_connection {
    struct http_server *server;
    int fd;
};

static inline void *http_serve_one(void *arg)
{
    struct http_connection *connection = arg;
    struct http_server *server = connection->server;
    struct http_message request;
    struct http_answer answer;
    char head[256];

    if (http_read(connection->fd, &request)) {
        pthread_mutex_lock(&server->lock);
        answer = server->handle(server->arg, &request);
        pthread_mutex_unlock(&server->lock);
        snprintf(head, sizeof head,
                 "HTTP/1.1 %d X\r\ncontent-type: %s\r\ncontent-length: %zu\r\n"
                 "connection: close\r\n\r\n",
                 answer.status, answer.content_type ? answer.content_type : "application/proto",
                 answer.size);
        if (answer.status) {
            http_write(connection->fd, head, strlen(head));
            http_write(connection->fd, answer.body, answer.size);
        }
        free(answer.body);
    }
    free(request.body);
    close(connection->fd);
    free(connection);
    return NULL;
}

/* One thread a connection, joined when the server stops. */
static inline void *http_serve(void *arg)
{
    struct http_server *server = arg;
    pthread_t threads[256];
    size_t count = 0;

    for (;;) {
        struct http_connection *connection = calloc(1, sizeof *connection);

        connection->server = server;
        connection->fd = accept(server->fd, NULL, NULL);
        if (connection->fd < 0 || count == 256) {
            free(connection);
            break;
        }
        pthread_create(&threads[count++], NULL, http_serve_one, connection);
    }
    while (count > 0)
        pthread_join(threads[--count], NULL);
    return NULL;
}

/* Port 0: any free one, which is then in server->port. */
static inline void http_start(struct http_server *server, uint16_t port)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;

    server->fd = http_socket(port, &address);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->fd, 64), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &len), 0);
    server->port = ntohs(address.sin_port);
    pthread_mutex_init(&server->lock, NULL);
    assert_int_equal(pthread_create(&server->thread, NULL, http_serve, server), 0);
}

/* Puts what the caller did before, and does after, in order with what the handler did and will do.
 */
static inline void http_sync(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    pthread_mutex_unlock(&server->lock);
}

static inline void http_stop(struct http_server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    pthread_mutex_destroy(&server->lock);
    close(server->fd);
}

#endif
