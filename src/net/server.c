// SPDX-License-Identifier: Apache-2.0
/*
 * The listener: binds, accepts, and keeps the set of sessions, one a connection.
 *
 * A process out of descriptors would be told of the same waiting connection again and again: it
 * stops listening to the listener for a moment instead.
 */
#include "net/server.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 1024, ACCEPTS_A_TURN = 64, RETRY_MS = 100 };

/* --- sessions -------------------------------------------------------------------------------- */

void net_server_add(struct net_server *server, struct net_session *session,
                    const struct net_session_ops *ops)
{
    session->server = server;
    session->ops = ops;
    list_append(&server->sessions, &session->link);
    server->session_count++;
}

void net_server_remove(struct net_session *session)
{
    assert(session->server->session_count > 0);
    session->server->session_count--;
    session->server = NULL;
    list_remove(&session->link);
}

/* --- accepting ------------------------------------------------------------------------------- */

static void on_acceptable(uv_poll_t *handle, int status, int events)
{
    struct net_server *server = handle->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && server->fd >= 0; i++) {
        struct sockaddr_storage address;
        socklen_t len = sizeof address;
        char peer[NET_ADDRESS_TEXT];
        int fd =
            accept4(server->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                uv_poll_stop(&server->listener);
                net_timer_set(&server->retry, RETRY_MS);
            }
            return;
        }
        if (server->session_count >= server->options.max_connections) {
            close(fd);
            continue;
        }
        net_socket_tune(fd);
        net_address_format((const struct sockaddr *)&address, peer);
        net_greet(server, fd, peer);
    }
}

static void on_retry(void *arg)
{
    struct net_server *server = arg;

    if (server->fd >= 0)
        uv_poll_start(&server->listener, UV_READABLE, on_acceptable);
}

/* --- binding --------------------------------------------------------------------------------- */

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* A listening descriptor, or a negative errno. */
static int listen_on(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return -errno;
    if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 &&
        (address->ai_family != AF_INET6 || set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) == 0) &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    error = errno;
    close(fd);
    return -error;
}

/* The first address that works: for a name, IPv4 ones come first ("localhost" is 127.0.0.1 to most
 * who say it); for no name at all, IPv6, which takes IPv4 in. */
static int listen_on_any(const struct addrinfo *addresses, bool named)
{
    int families[2] = {named ? AF_INET : AF_INET6, named ? AF_INET6 : AF_INET};
    int rc = -EADDRNOTAVAIL;

    for (size_t i = 0; i < 2; i++) {
        for (const struct addrinfo *a = addresses; a; a = a->ai_next) {
            int fd = a->ai_family == families[i] ? listen_on(a) : -EAFNOSUPPORT;

            if (fd >= 0)
                return fd;
            if (fd != -EAFNOSUPPORT)
                rc = fd;
        }
    }
    return rc;
}

/* A negative errno. */
static int listen_on_path(struct net_server *server, const struct sockaddr_un *address)
{
    struct stat there;
    int error;

    if (lstat(address->sun_path, &there) == 0) {
        if (!S_ISSOCK(there.st_mode))
            return -EEXIST;
        if (unlink(address->sun_path))
            return -errno;
    }
    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->fd < 0)
        return -errno;
    /* The mode that the file will be made with: there is no moment at which others may connect. */
    if (fchmod(server->fd, 0600) == 0 &&
        bind(server->fd, (const struct sockaddr *)address, sizeof *address) == 0) {
        if (listen(server->fd, BACKLOG) == 0)
            return 0;
        error = errno;
        unlink(address->sun_path);
        errno = error;
    }
    error = errno;
    close(server->fd);
    server->fd = -1;
    return -error;
}

static int bind_path(struct net_server *server, const char *path, struct error *err)
{
    struct sockaddr_un address;
    int rc;

    if (!net_unix_address(path, &address))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "cannot listen on %s: the path of a Unix socket has at most %d bytes",
                         path, NET_UNIX_PATH_MAX);
    server->unix_path = strdup(path);
    if (!server->unix_path)
        return error_memory(err);
    rc = listen_on_path(server, &address);
    if (rc == 0)
        return 0;
    free(server->unix_path);
    server->unix_path = NULL;
    return error_set(err, CODE_UNAVAILABLE, "cannot listen on %s: %s", path,
                     rc == -EEXIST ? "there is something else than a socket" : uv_strerror(rc));
}

static int bind_server(struct net_server *server, const char *host, struct error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    char port[8];
    int rc;

    snprintf(port, sizeof port, "%u", server->options.port);
    rc = getaddrinfo(*host ? host : NULL, port, &hints, &addresses);
    if (rc != 0)
        return error_set(err, CODE_UNAVAILABLE, "cannot listen on %s:%s: %s", host, port,
                         rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    rc = listen_on_any(addresses, *host != '\0');
    freeaddrinfo(addresses);
    if (rc < 0)
        return error_set(err, CODE_UNAVAILABLE, "cannot listen on %s%s%s:%s: %s",
                         strchr(host, ':') ? "[" : "", host, strchr(host, ':') ? "]" : "", port,
                         uv_strerror(rc));
    server->fd = rc;
    getsockname(server->fd, (struct sockaddr *)&bound, &len);
    server->port =
        ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&bound)->sin6_port
                                          : ((struct sockaddr_in *)(void *)&bound)->sin_port);
    return 0;
}

/* --- what the protocols share ------------------------------------------------------------------
 */

bool net_target_split(struct slice url, struct slice *path, struct slice *query)
{
    struct net_url parts;
    const char *bytes = url.data;
    const char *mark;

    if (url.len > 0 && bytes[0] == '/') {
        mark = memchr(bytes, '#', url.len);
        if (mark)
            url.len = (size_t)(mark - bytes);
        mark = memchr(bytes, '?', url.len);
        *path = slice(bytes, mark ? (size_t)(mark - bytes) : url.len);
        *query = mark ? slice(mark + 1, url.len - path->len - 1) : (struct slice){0};
        return true;
    }
    if (net_url_parse(url, &parts, NULL))
        return false;
    *path = parts.path.len > 0 ? parts.path : slice_str("/");
    *query = parts.query;
    return true;
}

static const char *error_code(int status)
{
    return status == 400   ? "invalid_argument"
           : status == 408 ? "deadline_exceeded"
           : status == 503 ? "unavailable"
                           : "resource_exhausted";
}

void net_refusal_text(char text[NET_REFUSAL_TEXT], int status, const char *reason)
{
    snprintf(text, NET_REFUSAL_TEXT, "{\"code\":\"%s\",\"message\":\"%s\"}", error_code(status),
             reason);
    for (char *quote = strchr(text, '`'); quote; quote = strchr(quote, '`'))
        *quote = '\'';
}

void net_server_refused(const struct net_server *server, const char *peer, int status,
                        const char *reason)
{
    const struct net_server_options *o = &server->options;

    if (o->refused)
        o->refused(o->arg, slice_str(peer), status, reason);
}

/* --- the server ------------------------------------------------------------------------------ */

static void set_defaults(struct net_server_options *options)
{
    if (!options->max_body)
        options->max_body = 20000000;
    if (!options->max_header_bytes)
        options->max_header_bytes = 65536;
    if (!options->max_arriving)
        options->max_arriving = (size_t)256 << 20;
    if (!options->max_connections)
        options->max_connections = 10000;
    if (!options->header_timeout_ms)
        options->header_timeout_ms = 30000;
    if (!options->idle_timeout_ms)
        options->idle_timeout_ms = 120000;
}

static void remove_path(struct net_server *server)
{
    if (server->unix_path)
        unlink(server->unix_path);
    free(server->unix_path);
    server->unix_path = NULL;
}

static void free_server(struct net_server *server)
{
    SSL_CTX_free(server->tls);
    free(server);
}

int net_server_reload_tls(struct net_server *server, const char *cert_file, const char *key_file,
                          struct error *err)
{
    SSL_CTX *context = NULL;
    int rc;

    if (!cert_file || !key_file)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "TLS needs both a certificate file and a key file");
    rc = net_tls_server_context(&context, cert_file, key_file, err);
    if (rc)
        return rc;
    SSL_CTX_free(server->tls); /* connections that use it keep it */
    server->tls = context;
    return 0;
}

int net_server_create(struct net_server **out, struct net_loop *loop,
                      const struct net_server_options *options, struct error *err)
{
    struct net_server *server;
    int rc;

    if (!options->host || !options->handle)
        return error_set(err, CODE_INVALID_ARGUMENT, "a server needs a host and a handler");
    server = calloc(1, sizeof *server);
    if (!server)
        return error_memory(err);
    server->loop = loop;
    server->options = *options;
    server->options.host = server->options.tls_cert_file = server->options.tls_key_file = NULL;
    set_defaults(&server->options);
    list_init(&server->sessions);
    list_init(&server->spare_streams);
    if (options->tls_cert_file || options->tls_key_file) {
        rc = net_server_reload_tls(server, options->tls_cert_file, options->tls_key_file, err);
        if (rc) {
            free(server);
            return rc;
        }
    }
    rc = net_is_unix(slice_str(options->host)) ? bind_path(server, options->host, err)
                                               : bind_server(server, options->host, err);
    if (rc) {
        free_server(server);
        return rc;
    }
    if (!net_timer_init(&server->retry, loop, on_retry, server)) {
        rc = error_memory(err);
        goto fail;
    }
    if (uv_poll_init(&loop->uv, &server->listener, server->fd) < 0) {
        net_timer_finish(&server->retry);
        rc = error_set(err, CODE_RESOURCE_EXHAUSTED, "cannot watch the listening socket");
        goto fail;
    }
    server->listener.data = server;
    uv_poll_start(&server->listener, UV_READABLE, on_acceptable);
    *out = server;
    return 0;
fail:
    close(server->fd);
    remove_path(server);
    free_server(server);
    return rc;
}

uint16_t net_server_port(const struct net_server *server)
{
    return server->port;
}

size_t net_server_exchanges(const struct net_server *server)
{
    return server->exchanges;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct net_server *server = handle->data;

    server->listener_gone = true;
    if (server->destroyed)
        free_server(server);
}

static void close_listener(struct net_server *server)
{
    int fd = server->fd;

    if (fd < 0)
        return;
    server->fd = -1;
    net_timer_finish(&server->retry);
    uv_close((uv_handle_t *)&server->listener, on_listener_closed);
    close(fd);
    remove_path(server);
}

void net_server_close(struct net_server *server)
{
    close_listener(server);
    server->closing = true;
    LIST_FOR_EACH (node, tmp, &server->sessions) {
        struct net_session *session = LIST_ENTRY(node, struct net_session, link);

        session->ops->retire(session);
    }
}

void net_server_destroy(struct net_server *server)
{
    if (!server)
        return;
    close_listener(server);
    server->closing = true;
    while (!list_empty(&server->sessions)) {
        struct net_session *session = LIST_ENTRY(server->sessions.next, struct net_session, link);

        session->ops->destroy(session);
    }
    net_http2_free_spare(server);
    server->destroyed = true;
    if (server->listener_gone)
        free_server(server);
}

void net_exchange_set(struct net_exchange *exchange, void *data)
{
    exchange->data = data;
}

void *net_exchange_get(struct net_exchange *exchange)
{
    return exchange->data;
}

void net_answer(struct net_exchange *exchange, int status, const struct net_header *headers,
                size_t header_count, struct blob *body)
{
    net_answer_trailed(exchange, status, headers, header_count, body, NULL, 0);
}

void net_answer_trailed(struct net_exchange *exchange, int status, const struct net_header *headers,
                        size_t header_count, struct blob *body, const struct net_header *trailers,
                        size_t trailer_count)
{
    exchange->answer(exchange, &(struct net_reply){.status = status,
                                                   .headers = headers,
                                                   .header_count = header_count,
                                                   .body = body,
                                                   .trailers = trailers,
                                                   .trailer_count = trailer_count});
}
