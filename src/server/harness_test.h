// SPDX-License-Identifier: Apache-2.0
/*
 * For the tests of the API: a server on a memory store, an endpoint with a few functions, and a
 * client, all on one loop, talking over the loopback.
 *
 * The endpoint's functions: "echo" gives its input back; "flaky" answers HTTP 503 at first and then
 * as echo does; "hang" answers when harness_release is called; "parent" polls for one call of echo
 * and exits with that result.
 */
#ifndef SERVER_HARNESS_TEST_H
#define SERVER_HARNESS_TEST_H

#include "server/server.h"
#include "wire/wire.h"

#define HARNESS_KEY "test-key"

struct harness {
    struct net_loop *loop;
    struct keys keys;
    struct policy policy;
    struct server *server;
    struct net_server *endpoint;
    struct net_client *client;
    struct arena arena; /* of what the tests make and decode */
    uint16_t port;      /* of the server */
    char endpoint_url[64];
    char control[PATH_MAX];                  /* not empty: requests go to this socket instead */
    const struct signature_public *verifier; /* the endpoint refuses what it has not signed */
    bool was_signed;                         /* the last run, in whatever way */
    bool was_http2;                          /* the last run's request */
    bool ready, stopped;
    unsigned runs;
    char run_id[64], run_request_id[128]; /* of the last run: its call, its X-Request-Id */
    struct net_exchange *hanging;
    unsigned gone; /* hanging runs whose connection the server closed */
    /* scarce_pause, where memory runs out: what the harness itself allocates is not refused. */
    bool (*pause)(bool pause);
};

struct ask {
    const char *method; /* NULL: POST */
    const char *path;
    const char *key;  /* NULL: no Authorization header */
    const char *type; /* NULL: application/json */
    struct slice body;
    struct net_header extra; /* name.data NULL: none */
    struct net_header more[3];
    bool http2;
};

struct reply {
    struct harness *h;
    bool done;
    enum net_failure failure;
    int status;
    char type[64], request_id[80];
    char header[256]; /* Allow, Accept-Post or WWW-Authenticate */
    char encoding[16];
    char grpc_status[8], grpc_message[512], grpc_encoding[16];
    char *body; /* in the harness's arena, with a NUL behind it */
    size_t len;
};

/* Starts all of it and waits until the server is ready. */
void harness_start(struct harness *h, bool with_keys, uint32_t grace_ms);
/* The same on another store than memory:. */
void harness_start_on(struct harness *h, const char *store, bool with_keys, uint32_t grace_ms);
/* With keys, and calls go to endpoints of this pattern (policy.h) alone. */
void harness_start_restricted(struct harness *h, const char *allowed);
void harness_finish(struct harness *h);
/* Runs the loop until *flag. */
void harness_until(struct harness *h, const bool *flag);
void harness_release(struct harness *h);
/* The endpoint, which nothing hangs at, listens anew and says that it speaks HTTP/2. */
void harness_speak_h2c(struct harness *h);

struct net_call *harness_send(struct harness *h, const struct ask *ask, struct reply *reply);
/* harness_send, and runs the loop until the reply is there. */
void harness_ask(struct harness *h, const struct ask *ask, struct reply *reply);
/* POST of JSON made by the format, with the right key. */
void harness_post(struct harness *h, struct reply *reply, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Dispatches one call to the endpoint with this JSON Any as its input; the id is in the arena. */
char *harness_dispatch(struct harness *h, const char *function, const char *input);
/* Waits without limit until it is done. */
Dispatch__V1__CallInfo *harness_wait(struct harness *h, const char *id);
/* The error of a reply; fails the test if it has none. */
struct error harness_error(const struct reply *reply);

#define PATH_DISPATCH "/dispatch.sdk.v1.DispatchService/Dispatch"
#define PATH_CALL     "/dispatch.v1.CallService/Call"
#define PATH_GET      "/dispatch.v1.CallService/Get"
#define PATH_WAIT     "/dispatch.v1.CallService/Wait"

#endif
