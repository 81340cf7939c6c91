// SPDX-License-Identifier: Apache-2.0
/*
 * There is one way of asking, HTTP; a store that nobody holds gets a server in this process, which
 * is asked at its socket as any other would be.
 */
#include "cli/reach.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/state_dir.h"
#include "cli/cli.h"
#include "cli/origin.h"

#define TIMEOUT_MS 30000
#define TEXT_MAX   2048
/* How long to ask who has a store whether it is there: it may be stopped, or busy. */
#define HOLDER_TIMEOUT_MS 5000

struct reach {
    struct net_loop *loop;
    struct net_client *client;
    char where[TEXT_MAX]; /* the URL, or the store */
    struct net_url url;   /* into `where`; unless there is a socket: */
    char socket[PATH_MAX];
    struct origin origin; /* the key to it; "": there is none, and that is why: */
    struct error no_key;
    const char *org;
    const char *key;       /* of idempotency, of each request; NULL: none */
    struct server *server; /* of a store that nobody held */
    struct invoker idle;
    uint32_t timeout_ms;
    /* of the request under way */
    bool done;
    struct arena *arena;
    const ProtobufCMessageDescriptor *type;
    void *response;
    struct reach_text *text; /* wanted instead */
    bool unsent;
    bool reached; /* the last request was answered, in whatever way */
    int code;
    struct error *err;
};

/* --- asking ----------------------------------------------------------------------------------- */

/* In terms of where the key came from. */
static void explain_refusal(struct reach *r)
{
    if (r->origin.key[0])
        error_set(r->err, CODE_UNAUTHENTICATED, "Authentication error (%s)", r->origin.hint);
    else if (r->no_key.code)
        error_set(r->err, CODE_UNAUTHENTICATED, "%s", r->no_key.message);
}

static void read_text(struct reach *r, const struct net_response *answer)
{
    struct slice login =
        net_header_get(answer->headers, answer->header_count, "dispatch-login-code");

    r->text->status = answer->status;
    snprintf(r->text->login_code, sizeof r->text->login_code, "%.*s", SLICE_FMT(login));
    r->text->body = slice(arena_dup(r->arena, answer->body), answer->body.len);
    if (!r->text->body.data)
        r->code = error_memory(r->err);
}

static void read_answer(struct reach *r, const struct net_response *answer)
{
    r->unsent = answer->unsent;
    r->reached = answer->failure == NET_OK;
    if (answer->failure != NET_OK) {
        r->code = error_set(r->err, CODE_UNAVAILABLE, "%s", answer->message);
    } else if (r->text) {
        read_text(r, answer);
    } else if (answer->status == 200 && r->type) {
        r->code = wire_unpack(r->type, answer->body, r->arena, r->response, r->err);
    } else if (answer->status != 200) {
        if (!wire_connect_error_parse(answer->body, r->err) || !r->err->code)
            error_set(r->err, wire_code_from_http(answer->status), "HTTP status %d",
                      answer->status);
        r->code = r->err->code;
        if (r->code == CODE_UNAUTHENTICATED)
            explain_refusal(r);
    }
}

static void answered(void *arg, const struct net_response *answer)
{
    struct reach *r = arg;

    read_answer(r, answer);
    r->done = true;
    net_loop_stop(r->loop);
}

/* The answer, if `type` is set, goes to `response`. */
static int send_and_wait(struct reach *r, const char *method, const char *path, struct blob *body,
                         struct error *err)
{
    char target[TEXT_MAX], authorization[KEYS_LENGTH_MAX + 16];
    struct net_header headers[3] = {{slice_str("content-type"), slice_str("application/proto")}};
    struct net_outgoing outgoing = {.host = r->url.host,
                                    .port = r->url.port,
                                    .tls = slice_eq_str(r->url.scheme, "https"),
                                    .method = slice_str(method),
                                    .headers = headers,
                                    .header_count = 1,
                                    .body = body,
                                    .timeout_ms = r->timeout_ms,
                                    .done = answered,
                                    .arg = r};
    int code;

    snprintf(target, sizeof target, "%.*s%s", SLICE_FMT(r->url.path), path);
    snprintf(authorization, sizeof authorization, "Bearer %s", r->origin.key);
    if (r->socket[0])
        outgoing.host = slice_str(r->socket);
    if (r->socket[0])
        headers[outgoing.header_count++] = (struct net_header){
            slice_str("dispatch-organization"), slice_str(r->org ? r->org : ORG_DEFAULT)};
    else if (r->origin.key[0])
        headers[outgoing.header_count++] =
            (struct net_header){slice_str("authorization"), slice_str(authorization)};
    if (r->key)
        headers[outgoing.header_count++] =
            (struct net_header){slice_str("idempotency-key"), slice_str(r->key)};
    outgoing.target = slice_str(target);
    r->done = r->unsent = r->reached = false;
    r->code = 0;
    r->err = err;
    code = net_client_send(r->client, &outgoing, NULL, err);
    if (code)
        return code;
    while (!r->done)
        net_loop_run(r->loop);
    return r->code;
}

int reach_ask(struct reach *r, const char *method, const void *request,
              const ProtobufCMessageDescriptor *type, struct arena *arena, void *response,
              struct error *err)
{
    struct blob *body = wire_pack_blob(request);
    int code;

    if (!body)
        return error_memory(err);
    r->type = type;
    r->arena = arena;
    r->response = response;
    code = send_and_wait(r, "POST", method, body, err);
    blob_unref(body);
    return code;
}

int reach_get(struct reach *r, const char *path, struct arena *arena, struct reach_text *text,
              struct error *err)
{
    int code;

    r->text = text;
    r->arena = arena;
    code = send_and_wait(r, "GET", path, NULL, err);
    r->text = NULL;
    return code;
}

void reach_set_key(struct reach *r, const char *key)
{
    r->key = key;
}

bool reach_was_answered(const struct reach *r)
{
    return r->reached;
}

bool reach_is_alone(const struct reach *r)
{
    return r->server != NULL;
}

/* --- a store ---------------------------------------------------------------------------------- */

/* Runs of calls in a store that was opened for one command wait for a server. */
static void keep_run(struct invoker *invoker, struct orchestrator_run *run)
{
    (void)invoker;
    (void)run;
}

static void give_up_run(struct invoker *invoker, struct orchestrator_run *run)
{
    (void)invoker;
    orchestrator_run_gone(run);
}

static int open_store(struct reach *r, const char *store, struct error *err)
{
    struct server_options options = {
        .loop = r->loop, .store = store, .invoker = &r->idle, .store_inline = true};
    int code;

    r->idle = (struct invoker){.run = keep_run, .cancel = give_up_run};
    code = server_create(&r->server, &options, err);
    if (code)
        return code;
    if (!server_control_path(store, r->socket) || strlen(r->socket) > NET_UNIX_PATH_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%s: commands need the socket beside the file, whose path has at most %d "
                         "bytes: use a shorter one, through a symbolic link to the directory for "
                         "the server, too",
                         store, NET_UNIX_PATH_MAX);
    return CODE_OK;
}

/* Is somebody at the socket? False, too, if it was left behind, or if who has it is stopped. */
static bool is_answered(struct reach *r, bool *unsent, struct error *err)
{
    int code;

    r->timeout_ms = HOLDER_TIMEOUT_MS;
    code = send_and_wait(r, "GET", "/healthz", NULL, err);
    r->timeout_ms = TIMEOUT_MS;
    *unsent = r->unsent;
    return code == CODE_OK;
}

static int reach_store(struct reach *r, const char *store, struct error *err)
{
    char socket[PATH_MAX];
    bool unsent = true;
    struct error held;
    int code;

    if (strncmp(store, "sqlite:", 7) != 0)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "'%s': a command reaches stores of the kind sqlite:PATH", store);
    if (server_control_path(store, socket) && strlen(socket) <= NET_UNIX_PATH_MAX) {
        memcpy(r->socket, socket, sizeof socket);
        if (is_answered(r, &unsent, err))
            return CODE_OK;
    }
    code = open_store(r, store, &held);
    if (code)
        *err = held;
    if (code == CODE_UNAVAILABLE && !unsent)
        error_set(err, code, "%s; it was asked, and has not answered in %d seconds", held.message,
                  HOLDER_TIMEOUT_MS / 1000);
    return code;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int reach_server(struct reach *r, const char *url, struct error *err)
{
    int code;

    if (snprintf(r->where, sizeof r->where, "%s", url) >= (int)sizeof r->where / 2)
        return error_set(err, CODE_INVALID_ARGUMENT, "the URL of the server is too long");
    code = net_url_parse(slice_str(r->where), &r->url, err);
    if (code)
        return code;
    while (r->url.path.len && ((const char *)r->url.path.data)[r->url.path.len - 1] == '/')
        r->url.path.len--;
    if (!slice_eq_str(r->url.scheme, "http") && !slice_eq_str(r->url.scheme, "https"))
        return error_set(err, CODE_INVALID_ARGUMENT, "%s: a server is at http:// or https://", url);
    return CODE_OK;
}

static const char *given(const char *option, const char *variable)
{
    const char *value = option ? option : getenv(variable);

    return value && *value ? value : NULL;
}

/* A server may want no key: that there is none is said if it does. */
static int choose_key(struct reach *r, const struct reach_options *options, struct error *err)
{
    const char *flag = options->api_key ? options->api_key : cli_persistent.api_key;
    int code = origin_choose(&r->origin, flag, &r->no_key);

    return code && code != CODE_UNAUTHENTICATED ? error_set(err, code, "%s", r->no_key.message)
                                                : CODE_OK;
}

static int choose(struct reach *r, const struct reach_options *options, struct error *err)
{
    bool by_store = options->store || options->operator_only;
    const char *server = by_store ? options->server : given(options->server, "DISPATCH_API_URL");
    int code = by_store ? CODE_OK : choose_key(r, options, err);

    if (code)
        return code;
    if (options->server && options->store)
        return error_set(err, CODE_INVALID_ARGUMENT, "either --server or --store is meant");
    if (!server && r->origin.api_url[0])
        server = r->origin.api_url;
    if (server && options->org)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the key says which organization is meant: leave --org out");
    r->org = options->org;
    if (server)
        return reach_server(r, server, err);
    if (options->store)
        return reach_store(r, options->store, err);
    if (state_dir_store(r->where, sizeof r->where, "dispatch.db", err))
        return err->code;
    return reach_store(r, r->where, err);
}

int reach_open(struct reach **out, const struct reach_options *options, struct error *err)
{
    struct reach *r = calloc(1, sizeof *r);
    int code;

    if (!r)
        return error_memory(err);
    r->timeout_ms = TIMEOUT_MS;
    code = net_loop_create(&r->loop, err);
    if (!code)
        code = net_client_create(&r->client, r->loop, &(struct net_client_options){.proxies = true},
                                 err);
    if (!code)
        code = choose(r, options, err);
    if (code)
        reach_close(r);
    else
        *out = r;
    return code;
}

void reach_close(struct reach *r)
{
    if (!r)
        return;
    net_client_destroy(r->client);
    server_destroy(r->server);
    if (r->loop)
        net_loop_destroy(r->loop);
    free(r);
}
