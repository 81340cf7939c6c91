// SPDX-License-Identifier: Apache-2.0
/*
 * The network room: one event loop (libuv), an HTTP server and an HTTP client on it. A request and
 * a response are whole (bounded) messages; what bytes carried them (HTTP/1.1 or HTTP/2, in clear
 * text or over TLS) is hidden here.
 *
 * A loop and everything on it belong to one thread, save net_post and net_loop_stop. Callbacks come
 * on that thread. Nothing here blocks, logs or keeps a pointer to the caller's memory past the
 * call, unless a comment says so.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "base/blob.h"
#include "base/error.h"
#include "base/slice.h"

struct net_loop;
struct sockaddr;

int net_loop_create(struct net_loop **loop, struct error *err);
/* Everything on it has been closed by its owner (listeners, clients, timers, signals), and no other
 * thread uses it any more. Calls posted before are made first. */
void net_loop_destroy(struct net_loop *loop);
/* Runs until net_loop_stop. */
void net_loop_run(struct net_loop *loop);
/* Runs what is ready, once, without blocking (for tests and for loops of others). */
void net_loop_turn(struct net_loop *loop);
/* The same, once something is. */
void net_loop_wait(struct net_loop *loop);
/* For loops of others: a turn is due when the descriptor is readable, or after so many milliseconds
 * (-1: never), which have to be asked for after each turn. */
int net_loop_descriptor(const struct net_loop *loop);
int net_loop_timeout_ms(const struct net_loop *loop);
void net_loop_stop(struct net_loop *loop); /* from any thread */
/* Calls fn(arg) on the loop's thread, soon, once for each call, in order. From any thread. Bounded
 * only by memory; false when out of it, or when the loop is being destroyed. */
bool net_post(struct net_loop *loop, void (*fn)(void *arg), void *arg);

/* Calls work(arg) on one of a few threads that the process has for such things, soon, and then
 * done(arg) on the loop's thread, never from within this call. Neither waits long: name lookups
 * share the threads. False: no memory, and neither is called. */
bool net_work(struct net_loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* One-shot timer; the time is in milliseconds from now; setting it again moves it. */
struct net_timer;
struct net_timer *net_timer_create(struct net_loop *loop, void (*fn)(void *arg), void *arg);
void net_timer_set(struct net_timer *timer, uint64_t delay_ms);
void net_timer_clear(struct net_timer *timer);
void net_timer_destroy(struct net_timer *timer); /* NULL is fine */

/* Calls fn(arg, signum) for each delivery of the signal. */
struct net_signal;
struct net_signal *net_signal_create(struct net_loop *loop, int signum,
                                     void (*fn)(void *arg, int signum), void *arg);
void net_signal_destroy(struct net_signal *signal);

/* A level-triggered watch on a descriptor that becomes readable (an eventfd, a pipe). */
struct net_watch;
struct net_watch *net_watch_create(struct net_loop *loop, int fd, void (*fn)(void *arg), void *arg);
void net_watch_destroy(struct net_watch *watch);

/* --- messages ------------------------------------------------------------------------------- */

struct net_header {
    struct slice name; /* lower case when received */
    struct slice value;
};

/* The value of the first header of that (lower-case) name; data == NULL if there is none. */
struct slice net_header_get(const struct net_header *headers, size_t count, const char *name);

/* --- server ---------------------------------------------------------------------------------- */

#define NET_UNIX_PATH_MAX 107 /* the system's limit */

/* A host that begins with a slash is the path of a Unix socket. */
static inline bool net_is_unix(struct slice host)
{
    return host.len > 0 && *(const char *)host.data == '/';
}

struct net_server;
struct net_exchange; /* one request being answered */

struct net_request {
    struct slice method; /* upper case as received */
    struct slice path;   /* as received, escaped, without the query; begins with '/' */
    struct slice query;  /* without '?' */
    const struct net_header *headers;
    size_t header_count;
    struct slice body;
    struct slice peer;      /* "127.0.0.1:5312" */
    bool no_content_length; /* neither a Content-Length nor a chunked body came with it */
    bool chunked;
    bool http2;
};

#define NET_SMALL_BODY ((size_t)64 << 10)

struct net_server_options {
    /* Name or address to bind; required. What begins with '/' is the path of a Unix socket, which
     * only this user may connect to, and which is removed when the server is closed. A socket that
     * is there already is taken for a stale one, and replaced. */
    const char *host;
    uint16_t port;           /* 0: any free one */
    size_t max_body;         /* past it: 413; default 20,000,000 */
    size_t max_header_bytes; /* past it: 431; default 65,536 */
    /* Of bodies that are coming in, over all connections: past it, 503 for those larger than
     * NET_SMALL_BODY; default 256 MiB */
    size_t max_arriving;
    size_t max_connections;     /* past it, accepted ones are closed at once; default 10,000 */
    uint32_t header_timeout_ms; /* for the whole request to come in, from its first byte; 30,000 */
    uint32_t idle_timeout_ms;   /* between requests of a connection; default 120,000 */
    /* PEM files, the certificate's chain behind it; both: TLS, with HTTP/2 by ALPN */
    const char *tls_cert_file, *tls_key_file;
    bool advertise_h2c; /* HTTP/1.1 responses say that HTTP/2 is spoken here in clear text */
    /*
     * A request has come, whole. It, and what it points at, live until the exchange is answered or
     * `gone` was called. The handler answers now or later with net_answer, exactly once unless
     * `gone` was called first.
     */
    void (*handle)(void *arg, struct net_exchange *exchange, const struct net_request *request);
    /*
     * The peer went away (or the server is being destroyed) before the answer: the exchange is no
     * more once this returns. May be NULL only if every exchange is answered within `handle`.
     *
     * A peer that ends only its sending side looks like one that closed, and most that do it gave
     * up: the exchange is gone; except in HTTP/1.0, where the answer is still written.
     */
    void (*gone)(void *arg, struct net_exchange *exchange);
    /* A request was answered with this status (400, 408, 413, 431, 503) without having been
     * handled, as it is malformed, too slow or too large, or there is no memory, or too much
     * comes in at a time. May be NULL. */
    void (*refused)(void *arg, struct slice peer, int status, const char *reason);
    void *arg;
};

/* Binds and listens before it returns, or says why not (CODE_UNAVAILABLE, the address named;
 * CODE_INVALID_ARGUMENT: the path of a Unix socket is longer than NET_UNIX_PATH_MAX). */
int net_server_create(struct net_server **server, struct net_loop *loop,
                      const struct net_server_options *options, struct error *err);
/* New connections get this certificate; on failure the one before stays. Not for a server that was
 * made without TLS. */
int net_server_reload_tls(struct net_server *server, const char *cert_file, const char *key_file,
                          struct error *err);
uint16_t net_server_port(const struct net_server *server);
/* Accepts no more connections, closes idle ones; requests in progress may still be answered
 * (responses then say Connection: close). */
void net_server_close(struct net_server *server);
/* Requests that the application has, or whose answers have not wholly been handed to the kernel. */
size_t net_server_exchanges(const struct net_server *server);
/* Closes everything at once; `gone` is called for each exchange. */
void net_server_destroy(struct net_server *server);

/* The application's own pointer on an exchange. */
void net_exchange_set(struct net_exchange *exchange, void *data);
void *net_exchange_get(struct net_exchange *exchange);

/*
 * Answers: Content-Length (and Connection, Date) are added; a NULL body is an empty one. Headers
 * and body are copied or referenced as needed: the caller keeps its own reference to the blob. What
 * may not stand in a header (line breaks, control characters) is sent as a space. The next request
 * of the connection is never handled from within this call.
 */
void net_answer(struct net_exchange *exchange, int status, const struct net_header *headers,
                size_t header_count, struct blob *body);
/* The same, with fields behind the body, which is not empty. For requests of HTTP/2 only. */
void net_answer_trailed(struct net_exchange *exchange, int status, const struct net_header *headers,
                        size_t header_count, struct blob *body, const struct net_header *trailers,
                        size_t trailer_count);

/* --- client ---------------------------------------------------------------------------------- */

/* How a request failed before a whole response was there. */
enum net_failure {
    NET_OK,
    NET_DNS, /* the name has no address */
    NET_TCP, /* refused, reset, unreachable, closed before the end of a response */
    NET_TLS, /* certificate or record error */
    NET_TIMEOUT,
    NET_MALFORMED,   /* not HTTP, too large */
    NET_UNSUPPORTED, /* HTTP that we do not speak */
    NET_TEMPORARY,   /* of ours: out of descriptors or memory */
    NET_FORBIDDEN,   /* by `refuses`, or by the system (EPERM) */
    NET_CANCELED,
};

struct net_response {
    enum net_failure failure; /* NET_OK: the rest is there */
    const char *message;      /* of a failure, for people: what, and to which address */
    bool unsent; /* of a failure: there was no connection, so that no byte of it was sent */
    int status;
    const struct net_header *headers; /* over HTTP/2, the trailers behind them */
    size_t header_count;
    struct slice body;
};

/* What a connection is for. */
struct net_target {
    struct slice host;
    uint16_t port;
    bool tls;
};

struct net_client_options {
    size_t max_body;             /* of a response; default 20,000,000 */
    size_t max_header_bytes;     /* default 65,536 */
    uint32_t connect_timeout_ms; /* default 10,000 */
    uint32_t idle_timeout_ms;    /* a kept connection is closed after this; default 30,000 */
    size_t max_idle_per_host;    /* kept connections; default 1,024 */
    const char *ca_file;         /* PEM authorities to trust instead of the system's */
    bool proxies; /* those that the environment names now are used (docs/proxies.md) */
    /* Asked of each address that a connection would be made to (NULL: a proxy will look it up):
     * NULL: it may be made; else why not, in a static text. NULL: all may be. */
    const char *(*refuses)(const void *arg, const struct net_target *target,
                           const struct sockaddr *address);
    const void *refuses_arg;
};

struct net_client;
struct net_call; /* a request under way */

int net_client_create(struct net_client **client, struct net_loop *loop,
                      const struct net_client_options *options, struct error *err);
/* Trusts the authorities of this file from now on, in new connections; on failure those before. */
int net_client_reload_ca(struct net_client *client, const char *ca_file, struct error *err);
/* Requests under way end with NET_CANCELED before it returns. */
void net_client_destroy(struct net_client *client);

struct net_outgoing {
    struct slice host; /* name, IPv4, IPv6 without brackets; or '/': the path of a Unix socket */
    uint16_t port;
    bool tls;    /* https: the peer's certificate must be valid for the host */
    bool direct; /* by no proxy */
    bool http2;  /* is known to be spoken there in clear text, too */
    struct slice method;
    struct slice target;              /* path and query */
    const struct net_header *headers; /* Host and Content-Length are added; no other is */
    size_t header_count;
    struct blob *body;   /* referenced until done; NULL: none */
    uint32_t timeout_ms; /* overall; 0: none */
    /* Called exactly once, never from within net_client_send. The response lives during the call.
     */
    void (*done)(void *arg, const struct net_response *response);
    void *arg;
};

/*
 * Sends over a kept connection if there is one, else a new one. A kept connection that turns out to
 * have been closed by the peer before one byte of the response came is replaced by a new one, once,
 * silently. On an error code nothing was started and `done` is not called.
 *
 * A host and port whose responses in clear text say `Upgrade: h2c` gets HTTP/2 from then on, all
 * requests over one connection as far as it lets them. If it does not speak it after all, they go
 * over HTTP/1.1 again, as do those of the next 10 minutes. What the peer says not to have processed
 * (GOAWAY, REFUSED_STREAM) is sent again, silently.
 */
int net_client_send(struct net_client *client, const struct net_outgoing *request,
                    struct net_call **call, struct error *err);
/* done() is called with NET_CANCELED before it returns. */
void net_call_cancel(struct net_call *call);

/* --- messages inside others --------------------------------------------------------------------
 */

/* An HTTP/1.1 request or response as bytes, with a Content-Length; of the outgoing request only
 * host, port, method, target, headers and body count. NULL: no memory, or too large a head. */
struct blob *net_raw_put_request(const struct net_outgoing *request);
struct blob *net_raw_put_response(int status, const struct net_header *headers, size_t count,
                                  struct slice body);

/* Reads one message, of HTTP/1.0 or 1.1, that takes all of the bytes, and calls taken() with it
 * before it returns. CODE_INVALID_ARGUMENT: they are something else, or the body is larger than
 * max_body; CODE_RESOURCE_EXHAUSTED: no memory. Of the request, `path` is the whole target. */
typedef void net_raw_response_taken(void *arg, const struct net_response *response);
int net_raw_response(struct slice bytes, size_t max_body, net_raw_response_taken *taken, void *arg,
                     struct error *err);
typedef void net_raw_request_taken(void *arg, const struct net_request *request);
int net_raw_request(struct slice bytes, size_t max_body, net_raw_request_taken *taken, void *arg,
                    struct error *err);

/* --- URLs ------------------------------------------------------------------------------------ */

struct net_url {
    struct slice scheme; /* as written */
    struct slice host;   /* without brackets */
    uint16_t port;       /* the scheme's default when not given: 80, 443; 0 for other schemes */
    bool port_given;
    struct slice path; /* from the first '/', without query and fragment; may be empty */
    struct slice query;
};

/* Views into `text`. User information is refused. */
int net_url_parse(struct slice text, struct net_url *url, struct error *err);

/* An IP address as IPv6 has it; one of IPv4 is within ::ffff:0:0/96. */
#define NET_IP_LEN 16

/* False: the text is no literal address, the socket's address none of IP. */
bool net_ip_parse(struct slice text, uint8_t ip[NET_IP_LEN]);
bool net_ip_of(const struct sockaddr *address, uint8_t ip[NET_IP_LEN]);

/* "10.0.0.0/8", "fd00::/8"; an address alone is a range of one. */
struct net_range {
    uint8_t ip[NET_IP_LEN]; /* zero behind the bits that count */
    unsigned bits;          /* of 128 */
};

bool net_range_parse(struct slice text, struct net_range *range);
bool net_range_holds(const struct net_range *range, const uint8_t ip[NET_IP_LEN]);

/* "host:port", "[::1]:port", ":port" (host empty) into a host (NUL-terminated) and port. */
int net_address_parse(const char *text, char host[256], uint16_t *port, struct error *err);

#endif
