// SPDX-License-Identifier: Apache-2.0
/*
 * A small endpoint for tests of whole programs. It listens on the port of the loopback that
 * DISPATCH_ENDPOINT_ADDR has, or on any, writes its address to stdout, then a line a run:
 * the function and the call's id, and, of a run that had one, its X-Request-Id. The function "hang"
 * is never answered, "hang_once" only from its second run on; "fail" ends with a PERMANENT_ERROR,
 * "refuse" with one that has words; "busy" is answered with HTTP 503; "parent" calls echo and gives
 * its output back; "tree" calls echo, refuse, parent and hang, and waits for all of them; "tail"
 * makes a tail call to echo; any other gives its input back.
 *
 * usage: smoke-endpoint [CERT KEY]    (both: over TLS)
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/net.h"
#include "wire/wire.h"

static bool is(const wire_run_request *run, const char *function)
{
    return strcmp(run->function, function) == 0;
}

static void send(struct net_exchange *exchange, const wire_run_response *response)
{
    const struct net_header type = {slice_str("content-type"), slice_str("application/proto")};
    struct blob *body = wire_pack_blob(response);

    net_answer(exchange, body ? 200 : 500, &type, 1, body);
    blob_unref(body);
}

/* Waits for calls to the functions, separated by spaces. */
static void answer_poll(struct net_exchange *exchange, const char *functions)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    wire_call calls[8], *list[8];
    char names[128], *rest = names;
    uint8_t state[] = "state";

    snprintf(names, sizeof names, "%s", functions);
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_COROUTINE_STATE;
    poll.coroutine_state = (ProtobufCBinaryData){sizeof state - 1, state};
    poll.calls = list;
    for (char *name; (name = strtok_r(rest, " ", &rest)); poll.n_calls++) {
        dispatch__sdk__v1__call__init(&calls[poll.n_calls]);
        calls[poll.n_calls].function = name;
        calls[poll.n_calls].correlation_id = poll.n_calls;
        list[poll.n_calls] = &calls[poll.n_calls];
    }
    poll.min_results = poll.max_results = (int32_t)poll.n_calls;
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    send(exchange, &response);
}

static void answer_exit(struct net_exchange *exchange, const wire_run_request *run)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_exit exit = DISPATCH__SDK__V1__EXIT__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    wire_call tail = DISPATCH__SDK__V1__CALL__INIT;
    char type[] = "Refusal", words[] = "not today", echo[] = "echo";
    bool fails = is(run, "fail") || is(run, "refuse");

    if (run->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT)
        result.output = run->input;
    else if (run->poll_result && run->poll_result->n_results)
        result.output = run->poll_result->results[0]->output;
    error.type = type;
    error.message = words;
    tail.function = echo;
    exit.result = &result;
    if (is(run, "refuse"))
        result.error = &error;
    if (is(run, "tail"))
        exit.tail_call = &tail;
    response.status = fails ? DISPATCH__SDK__V1__STATUS__STATUS_PERMANENT_ERROR
                            : DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &exit;
    send(exchange, &response);
}

static void answer(struct net_exchange *exchange, const wire_run_request *run)
{
    bool first = run->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT;

    if (is(run, "busy"))
        net_answer(exchange, 503, NULL, 0, NULL);
    else if (first && is(run, "parent"))
        answer_poll(exchange, "echo");
    else if (first && is(run, "tree"))
        answer_poll(exchange, "echo refuse parent hang");
    else
        answer_exit(exchange, run);
}

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    const ProtobufCMessageDescriptor *type = &dispatch__sdk__v1__run_request__descriptor;
    wire_run_request *run;
    struct arena arena;

    (void)arg;
    arena_init(&arena, (size_t)64 << 20);
    if (!slice_eq_str(request->path, "/dispatch.sdk.v1.FunctionService/Run")) {
        net_answer(exchange, 404, NULL, 0, NULL);
    } else if (wire_unpack(type, request->body, &arena, &run, NULL)) {
        net_answer(exchange, 400, NULL, 0, NULL);
    } else {
        struct slice id = net_header_get(request->headers, request->header_count, "x-request-id");
        static bool hung;
        bool once = is(run, "hang_once");

        printf("%s %s%s%.*s\n", run->function, run->dispatch_id, id.len ? " " : "", SLICE_FMT(id));
        if (!is(run, "hang") && (!once || hung))
            answer(exchange, run);
        hung = hung || once;
    }
    arena_reset(&arena);
}

static void gone(void *arg, struct net_exchange *exchange)
{
    (void)arg;
    (void)exchange;
}

static void stop(void *arg, int signum)
{
    (void)signum;
    net_loop_stop(arg);
}

int main(int argc, char **argv)
{
    struct net_server_options options = {.host = "127.0.0.1", .handle = handle, .gone = gone};
    struct net_server *server;
    struct net_signal *term;
    struct net_loop *loop;
    const char *addr = getenv("DISPATCH_ENDPOINT_ADDR");
    struct error err;

    if (addr && strchr(addr, ':'))
        options.port = (uint16_t)strtoul(strchr(addr, ':') + 1, NULL, 10);
    if (argc == 3) {
        options.tls_cert_file = argv[1];
        options.tls_key_file = argv[2];
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    if (net_loop_create(&loop, &err) || net_server_create(&server, loop, &options, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    term = net_signal_create(loop, SIGTERM, stop, loop);
    if (!term)
        return 1;
    printf("127.0.0.1:%u\n", net_server_port(server));
    net_loop_run(loop);
    net_signal_destroy(term);
    net_server_destroy(server);
    net_loop_destroy(loop);
    return 0;
}
