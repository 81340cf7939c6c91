// SPDX-License-Identifier: Apache-2.0
/*
 * An application for tls_test.sh. Its endpoint speaks clear text, or TLS if it is given a
 * certificate; its client is made from the environment. It makes one call, so that the orchestrator
 * gets to know the endpoint, then RUNS at once, each of which waits for the others, and writes how
 * many connections the endpoint has while they all run.
 *
 * usage: tls_app [CERT KEY]
 */
#include <arpa/inet.h>
#include <dispatch_sdk.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { RUNS = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_here = PTHREAD_COND_INITIALIZER;
static int here, connections;
static uint16_t endpoint_port;

static void fail(const char *what, const struct dispatch_failure *failure)
{
    fprintf(stderr, "%s: %s\n", what, failure->message);
    exit(1);
}

/* Sockets of this process that are connected and have the endpoint's port at this end. */
static int count_connections(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_in name, peer;
        socklen_t name_len = sizeof name, peer_len = sizeof peer;

        if (getsockname(fd, (struct sockaddr *)&name, &name_len) == 0 &&
            getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
            name.sin_family == AF_INET && ntohs(name.sin_port) == endpoint_port)
            count++;
    }
    return count;
}

static struct dispatch_result greet(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    (void)input;
    return dispatch_ok(dispatch_bool(true));
}
DISPATCH_REGISTER(greet);

static struct dispatch_result meet(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    (void)input;
    pthread_mutex_lock(&lock);
    if (++here == RUNS) {
        connections = count_connections();
        pthread_cond_broadcast(&all_here);
    }
    while (here < RUNS)
        pthread_cond_wait(&all_here, &lock);
    pthread_mutex_unlock(&lock);
    return dispatch_ok(dispatch_bool(true));
}
DISPATCH_REGISTER(meet);

static void call(struct dispatch_client *client, const char *url, const char *function,
                 size_t count)
{
    struct dispatch_call calls[RUNS];
    struct dispatch_failure failure;
    struct dispatch_result result;
    struct dispatch_ids ids;

    for (size_t i = 0; i < count; i++) {
        calls[i] = dispatch_to(function, dispatch_bool(true));
        calls[i].endpoint = url;
    }
    if (dispatch_client_dispatch(client, calls, count, &ids, &failure))
        fail("dispatch", &failure);
    for (size_t i = 0; i < count; i++) {
        if (dispatch_client_wait(client, ids.id[i], -1, &result, &failure))
            fail("wait", &failure);
        if (result.error) {
            fprintf(stderr, "%s: %s\n", function, result.error->message);
            exit(1);
        }
        dispatch_result_free(&result);
    }
    dispatch_ids_free(&ids);
}

int main(int argc, char **argv)
{
    struct dispatch_endpoint_options options = {.workers = RUNS};
    struct dispatch_endpoint *endpoint;
    struct dispatch_failure failure;
    struct dispatch_client *client;
    char url[64];
    int rc;

    if (dispatch_client_create(NULL, &client, &failure))
        fail("client", &failure);
    if (dispatch_endpoint_create(&options, &endpoint, &failure))
        fail("endpoint", &failure);
    if (argc == 3)
        rc = dispatch_endpoint_listen_tls(endpoint, "127.0.0.1:0", argv[1], argv[2], &failure);
    else
        rc = dispatch_endpoint_listen(endpoint, "127.0.0.1:0", &failure);
    if (rc)
        fail("listen", &failure);
    endpoint_port = dispatch_endpoint_port(endpoint);
    snprintf(url, sizeof url, "http%s://127.0.0.1:%u", argc == 3 ? "s" : "", endpoint_port);
    call(client, url, "greet", 1);
    call(client, url, "meet", RUNS);
    printf("%d\n", connections);
    dispatch_endpoint_destroy(endpoint);
    dispatch_client_destroy(client);
    return 0;
}
