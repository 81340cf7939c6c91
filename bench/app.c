// SPDX-License-Identifier: Apache-2.0
/*
 * The application of the benchmarks (functions.c), served. It prints the port that it listens on,
 * and runs until it is killed.
 *
 *   bench-app http2   behind the SDK's own listener, to which orchestrators speak HTTP/2
 *   bench-app http1   behind a listener that does as the SDK's does, save that it offers no HTTP/2
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dispatch_sdk.h>

#include "measure.h"
#include "net/net.h"

static void print_port(unsigned port)
{
    printf("%u\n", port);
    fflush(stdout);
}

/* --- without HTTP/2 -------------------------------------------------------------------------- */

struct front {
    struct dispatch_endpoint *endpoint;
    struct net_loop *loop;
};

struct incoming {
    struct front *front;
    struct net_exchange *exchange; /* NULL: gone */
    const char *content_type;
    int status;
    struct blob *body;
};

static void send_reply(void *arg)
{
    struct incoming *in = arg;
    const struct net_header type = {slice_str("content-type"), slice_str(in->content_type)};

    if (in->exchange)
        net_answer(in->exchange, in->status, &type, 1, in->body);
    blob_unref(in->body);
    free(in);
}

/* On a thread of the endpoint. */
static void on_reply(void *arg, const struct dispatch_reply *reply)
{
    struct incoming *in = arg;

    in->status = reply->http_status;
    in->content_type = reply->content_type;
    in->body = blob_copy(slice(reply->body, reply->size));
    if (!in->body || !net_post(in->front->loop, send_reply, in))
        die("out of memory");
}

static void on_request(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct incoming *in = calloc(1, sizeof *in);

    if (!in)
        die("out of memory");
    *in = (struct incoming){.front = arg, .exchange = exchange};
    net_exchange_set(exchange, in);
    dispatch_endpoint_handle(in->front->endpoint, request->body.data, request->body.len, on_reply,
                             in);
}

static void on_gone(void *arg, struct net_exchange *exchange)
{
    struct incoming *in = net_exchange_get(exchange);

    (void)arg;
    in->exchange = NULL;
}

static void serve_http1(struct dispatch_endpoint *endpoint)
{
    struct front front = {.endpoint = endpoint};
    struct net_server_options options = {
        .host = "127.0.0.1", .handle = on_request, .gone = on_gone, .arg = &front};
    struct net_server *server;
    struct error err;

    if (net_loop_create(&front.loop, &err) ||
        net_server_create(&server, front.loop, &options, &err))
        die("%s", err.message);
    print_port(net_server_port(server));
    net_loop_run(front.loop);
}

/* --------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    struct dispatch_endpoint_options options = {0};
    struct dispatch_endpoint *endpoint;
    struct dispatch_failure why;

    if (argc != 2)
        die("usage: bench-app http1|http2");
    if (dispatch_endpoint_create(&options, &endpoint, &why))
        die("%s", why.message);
    if (strcmp(argv[1], "http1") == 0)
        serve_http1(endpoint);
    if (dispatch_endpoint_listen(endpoint, "127.0.0.1:0", &why))
        die("%s", why.message);
    print_port(dispatch_endpoint_port(endpoint));
    for (;;)
        pause();
}
