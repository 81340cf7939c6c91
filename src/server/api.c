// SPDX-License-Identifier: Apache-2.0
/*
 * A request comes in whole; its path names a method; its key is looked at before anything that it
 * says; its headers and body are read; the method is started; and when the orchestrator calls back,
 * at once or in an hour, the answer goes out in the protocol and encoding that was asked in.
 *
 * Requests that come before the calls are loaded for the first time wait for that, once it is clear
 * who asks: nobody has to know how long a start takes.
 *
 * Whatever fails on the way is an error with a code, and a message that says what to do.
 *
 * A client's timeout ends a Wait. Other methods take no longer than a commit, and a client with a
 * timeout has hung up by itself by then, which is all that an answer could bring about.
 */
#include "server/api.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/metrics.h"

/* What the decoded message of a request may take, as a multiple of the largest body. */
#define ARENA_FACTOR 16
/* A message in which each few characters were a path that is not to be shown. */
#define SHOWN_MAX (16 * ERROR_MESSAGE_MAX)
/* Of a body that is no message. */
#define RAW_MAX 128

/* --- answers --------------------------------------------------------------------------------- */

/* Appends the text without the path of the store, which is nobody's business but that of whoever
 * reads the log. */
static void append_discreetly(const struct api *api, struct buf *out, const char *text)
{
    size_t path_len = strlen(api->store_path), left = strlen(text);
    const char *found;

    while (path_len && (found = memmem(text, left, api->store_path, path_len))) {
        buf_append(out, text, (size_t)(found - text));
        buf_append_str(out, "the store");
        left -= (size_t)(found - text) + path_len;
        text = found + path_len;
    }
    buf_append(out, text, left);
}

static void answer_text(const struct api *api, struct net_exchange *exchange, int status,
                        const char *text)
{
    const struct net_header type = {slice_str("content-type"),
                                    slice_str("text/plain; charset=utf-8")};
    struct buf body;
    struct blob *blob;

    buf_init(&body, SHOWN_MAX);
    append_discreetly(api, &body, text);
    buf_append_byte(&body, '\n');
    blob = blob_copy(buf_slice(&body));
    net_answer(exchange, status, &type, 1, blob);
    blob_unref(blob);
    buf_free(&body);
}

/* Where an answer goes to, and what the log calls it. */
struct whom {
    struct net_exchange *exchange;
    const struct protocol *protocol;
    struct slice peer;
    const char *path, *request_id;
};

static void answer_refusal(struct api *api, const struct whom *whom, const struct refusal *refusal)
{
    int code = refusal->error.code;
    struct refusal shown = *refusal;
    const char *why;
    struct buf text;

    log_line(api->log, LOG_INFO, "request refused", LOG_STR("request", whom->request_id),
             LOG_SLICE("peer", whom->peer), LOG_STR("path", whom->path),
             LOG_STR("code", code_name(code)), LOG_STR("error", refusal->error.message));
    buf_init(&text, SHOWN_MAX);
    append_discreetly(api, &text, refusal->error.message);
    why = buf_cstr(&text);
    error_set(&shown.error, code, "%s", *why ? why : "there is no memory to say why");
    buf_free(&text);
    whom->protocol->refuse(whom->exchange, whom->request_id, &shown);
}

static struct whom whom_of(const struct rpc *rpc)
{
    return (struct whom){rpc->exchange, rpc->head.protocol, rpc->peer, rpc->method->path,
                         rpc->request_id};
}

static void answer_error(struct rpc *rpc, const struct refusal *refusal)
{
    struct whom whom = whom_of(rpc);

    answer_refusal(rpc->api, &whom, refusal);
}

static void answer_message(struct rpc *rpc, const void *message)
{
    struct blob *bytes = codec_pack(rpc->head.codec, message);
    struct refusal refusal = {0};

    if (bytes && rpc->head.protocol->answer(rpc->exchange, &rpc->head, rpc->request_id, bytes)) {
        log_line(rpc->api->log, LOG_DEBUG, "request answered", LOG_STR("request", rpc->request_id),
                 LOG_STR("path", rpc->method->path));
    } else {
        error_memory(&refusal.error);
        answer_error(rpc, &refusal);
    }
    blob_unref(bytes);
}

/* --- one request to a method ----------------------------------------------------------------- */

void rpc_end(struct rpc *rpc, const struct error *error, const void *message)
{
    assert(!rpc->over);
    rpc->over = true;
    if (rpc->exchange && error) {
        struct refusal refusal = {.error = *error};

        answer_error(rpc, &refusal);
    } else if (rpc->exchange) {
        answer_message(rpc, message);
    }
    rpc->exchange = NULL;
    if (!rpc->starting)
        free(rpc);
}

static const struct net_request *rpc_let_go(struct rpc *rpc);

void api_gone(void *arg, struct net_exchange *exchange)
{
    struct pending *pending = net_exchange_get(exchange);

    (void)arg;
    if (pending)
        pending->gone(pending);
}

static void rpc_gone(struct pending *pending)
{
    struct rpc *rpc = (struct rpc *)(void *)pending;

    rpc->exchange = NULL;
    log_line(rpc->api->log, LOG_DEBUG, "client went away", LOG_STR("request", rpc->request_id),
             LOG_STR("path", rpc->method->path));
    if (rpc->wait)
        orchestrator_wait_cancel(rpc->wait);
    else if (rpc->held)
        rpc_let_go(rpc);
    else
        return; /* the orchestrator will call back */
    free(rpc);
}

static void draw_request_id(struct api *api, char id[API_REQUEST_ID_MAX + 1])
{
    uint64_t number = rand_u64(&api->rand);

    for (size_t i = 0; i < 16; i++)
        id[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
    id[16] = '\0';
}

/* The request's own id if it has a sane one, to be found again in the logs of both sides. */
static void make_request_id(struct api *api, const struct net_request *request,
                            char id[API_REQUEST_ID_MAX + 1])
{
    struct slice given = net_header_get(request->headers, request->header_count, "x-request-id");
    const char *p = given.data;
    bool sane = given.len > 0 && given.len <= API_REQUEST_ID_MAX;

    for (size_t i = 0; sane && i < given.len; i++)
        sane = p[i] > ' ' && p[i] < 0x7f && p[i] != '"' && p[i] != '\\';
    if (sane)
        snprintf(id, API_REQUEST_ID_MAX + 1, "%.*s", (int)given.len, p);
    else
        draw_request_id(api, id);
}

/* The operator says in whose name. */
static bool take_organization(struct rpc *rpc, const struct net_request *request,
                              struct refusal *refusal)
{
    struct slice org =
        net_header_get(request->headers, request->header_count, "dispatch-organization");

    if (!org.data)
        return true;
    if (!org_valid(org)) {
        error_set(&refusal->error, CODE_INVALID_ARGUMENT,
                  "'%.*s' is no organization: it has 1 to %d lower-case letters, digits, '.', '_' "
                  "and '-'",
                  SLICE_FMT(org), ORG_MAX);
        return false;
    }
    memcpy(rpc->org, org.data, org.len);
    rpc->org[org.len] = '\0';
    return true;
}

/* Whose key it is; NULL: nobody's. */
static const char *owner_of(const struct api *api, struct slice key)
{
    const char *org = credentials_find(api->credentials, key);

    return org || !keys_have(api->keys, key) ? org : ORG_DEFAULT;
}

static bool authenticate(struct rpc *rpc, const struct net_request *request,
                         struct refusal *refusal)
{
    struct slice value = net_header_get(request->headers, request->header_count, "authorization");
    const struct api *api = rpc->api;
    const char *p = value.data, *org = NULL;

    memcpy(rpc->org, ORG_DEFAULT, sizeof ORG_DEFAULT);
    if (rpc->control)
        return take_organization(rpc, request, refusal);
    if (!api->keys)
        return true;
    if (value.len > 7 && codec_same(slice(p, 7), "bearer "))
        org = owner_of(api, slice(p + 7, value.len - 7));
    if (org) {
        memcpy(rpc->org, org, strlen(org) + 1);
        return true;
    }
    if (value.data && !api->credentials->loaded) {
        rpc->unknown = true;
        error_set(&refusal->error, CODE_UNAVAILABLE,
                  "the keys are being loaded: try again shortly");
        return false;
    }
    error_set(&refusal->error, CODE_UNAUTHENTICATED,
              value.data ? "the API key is not one of this server's"
                         : "no API key: send it as the header \"Authorization: Bearer KEY\"");
    refusal->header = (struct net_header){slice_str("www-authenticate"), slice_str("Bearer")};
    return false;
}

static bool serving(const struct api *api, struct refusal *refusal)
{
    if (api->orchestrator)
        return true;
    error_set(&refusal->error, CODE_UNAVAILABLE, "the server is stopping: try again shortly");
    return false;
}

static void start_method(struct rpc *rpc, const void *message)
{
    struct api *api = rpc->api;

    net_exchange_set(rpc->exchange, rpc);
    rpc->starting = true;
    rpc->method->start(rpc, message);
    rpc->starting = false;
    if (rpc->over)
        free(rpc);
    api->changed(api->arg);
}

/* The message in the body, or the bytes themselves, as the method takes them. */
static int read_message(struct rpc *rpc, const struct net_request *request, struct arena *arena,
                        struct slice *bytes, void *message, struct error *err)
{
    const struct method *method = rpc->method;
    struct buf plain;
    int code;

    buf_init(&plain, rpc->api->body_max);
    code = rpc->head.protocol->read_body(request, &rpc->head, &plain, bytes, err);
    if (code == CODE_OK && method->request)
        code = codec_unpack(rpc->head.codec, method->request, *bytes, arena, message, err);
    else if (code == CODE_OK && bytes->len <= RAW_MAX)
        bytes->data = arena_dup(arena, *bytes);
    else if (code == CODE_OK)
        code = error_set(err, CODE_INVALID_ARGUMENT, "the body has %zu bytes: an id has at most %d",
                         bytes->len, RAW_MAX);
    buf_free(&plain);
    return code == CODE_OK && !method->request && !bytes->data ? error_memory(err) : code;
}

/* Reads the body, and starts the method; or says in *refusal why not. */
static bool rpc_go_on(struct rpc *rpc, const struct net_request *request, struct refusal *refusal)
{
    struct api *api = rpc->api;
    struct arena arena;
    struct slice bytes;
    void *message = &bytes;
    bool good;

    arena_init(&arena, ARENA_FACTOR * api->body_max);
    good = (!rpc->unknown || authenticate(rpc, request, refusal)) &&
           read_message(rpc, request, &arena, &bytes, &message, &refusal->error) == CODE_OK &&
           serving(api, refusal);
    if (good)
        start_method(rpc, message);
    arena_reset(&arena);
    return good;
}

/* False: there is no more room, so it is to learn now that we are not open yet. */
static bool rpc_hold(struct rpc *rpc, const struct net_request *request)
{
    struct api *api = rpc->api;

    if (api->held_count >= API_HELD_MAX || request->body.len > API_HELD_BYTES_MAX - api->held_bytes)
        return false;
    rpc->held = request;
    rpc->held_until = time_add(clock_now(clock_system()), API_HELD_NS);
    net_exchange_set(rpc->exchange, rpc);
    if (list_empty(&api->held))
        net_timer_set(api->patience, API_HELD_NS / NS_PER_MS);
    list_append(&api->held, &rpc->link);
    api->held_count++;
    api->held_bytes += request->body.len;
    return true;
}

static const struct net_request *rpc_let_go(struct rpc *rpc)
{
    const struct net_request *request = rpc->held;
    struct api *api = rpc->api;

    list_remove(&rpc->link);
    api->held_count--;
    api->held_bytes -= request->body.len;
    rpc->held = NULL;
    return request;
}

static void release_first(struct api *api)
{
    struct rpc *rpc = LIST_ENTRY(api->held.next, struct rpc, link);
    const struct net_request *request = rpc_let_go(rpc);
    struct refusal refusal = {0};

    if (rpc_go_on(rpc, request, &refusal))
        return;
    net_exchange_set(rpc->exchange, NULL);
    answer_error(rpc, &refusal);
    free(rpc);
}

/* The time of those that came first is over: they go on, and learn why they cannot. */
static void patience_over(void *arg)
{
    struct api *api = arg;
    int64_t now = clock_now(clock_system()), left;

    while (!list_empty(&api->held)) {
        left = LIST_ENTRY(api->held.next, struct rpc, link)->held_until - now;
        if (left > 0) {
            net_timer_set(api->patience, (uint64_t)(left / NS_PER_MS) + 1);
            return;
        }
        release_first(api);
    }
}

int api_hold(struct api *api, struct net_loop *loop, struct error *err)
{
    list_init(&api->held);
    api->patience = net_timer_create(loop, patience_over, api);
    if (!api->patience)
        return error_memory(err);
    api->opening = true;
    return CODE_OK;
}

void api_release(struct api *api)
{
    if (!api->opening)
        return;
    api->opening = false;
    net_timer_clear(api->patience);
    while (!list_empty(&api->held))
        release_first(api);
}

void api_finish(struct api *api)
{
    assert(api->held_count == 0);
    net_timer_destroy(api->patience);
}

/* Starts the method, now or when the calls are loaded; or says in *refusal why not. */
static bool rpc_start(struct rpc *rpc, const struct net_request *request, struct refusal *refusal)
{
    struct api *api = rpc->api;

    if (!authenticate(rpc, request, refusal) && !(rpc->unknown && api->opening))
        return false;
    if (rpc->method->control && !rpc->control) {
        error_set(
            &refusal->error, CODE_PERMISSION_DENIED,
            "this is for the operator alone: `dispatch keys` speaks to the server through the "
            "socket beside its store");
        return false;
    }
    if (!rpc->head.protocol->read_head(request, &rpc->head, refusal))
        return false;
    return (api->opening && rpc_hold(rpc, request)) || rpc_go_on(rpc, request, refusal);
}

static void handle_method(struct api *api, const struct method *method,
                          struct net_exchange *exchange, const struct net_request *request,
                          bool control)
{
    const struct protocol *protocol = method->request ? protocol_of(request) : &protocol_raw;
    char request_id[API_REQUEST_ID_MAX + 1];
    struct whom whom = {exchange, protocol, request->peer, method->path, request_id};
    struct refusal refusal = {0};
    struct rpc *rpc = NULL;

    make_request_id(api, request, request_id);
    if (!slice_eq_str(request->method, "POST")) {
        error_set(&refusal.error, CODE_UNIMPLEMENTED, "method %.*s is not supported here: use POST",
                  SLICE_FMT(request->method));
        refusal.http = 405;
        refusal.header = (struct net_header){slice_str("allow"), slice_str("POST")};
        goto refused;
    }
    rpc = calloc(1, sizeof *rpc);
    if (!rpc) {
        error_memory(&refusal.error);
        goto refused;
    }
    rpc->pending.gone = rpc_gone;
    rpc->api = api;
    rpc->method = method;
    rpc->exchange = exchange;
    rpc->peer = request->peer;
    rpc->head.protocol = protocol;
    rpc->idempotency_key =
        net_header_get(request->headers, request->header_count, "idempotency-key");
    rpc->control = control;
    memcpy(rpc->request_id, request_id, sizeof request_id);
    if (rpc_start(rpc, request, &refusal))
        return;
    free(rpc);
refused:
    answer_refusal(api, &whom, &refusal);
}

/* --- the rest -------------------------------------------------------------------------------- */

/* True if the method is GET or HEAD; else that has been answered. */
static bool is_get(struct net_exchange *exchange, const struct net_request *request)
{
    const struct net_header allow = {slice_str("allow"), slice_str("GET, HEAD")};

    if (slice_eq_str(request->method, "GET") || slice_eq_str(request->method, "HEAD"))
        return true;
    net_answer(exchange, 405, &allow, 1, NULL);
    return false;
}

static void handle_descriptor(struct net_exchange *exchange, const struct net_request *request)
{
    const struct net_header type = {slice_str("content-type"), slice_str("application/x-protobuf")};
    struct blob *body;

    if (!is_get(exchange, request))
        return;
    body = blob_copy(wire_descriptor_set());
    net_answer(exchange, body ? 200 : 503, &type, 1, body);
    blob_unref(body);
}

static void handle_health(struct api *api, struct net_exchange *exchange,
                          const struct net_request *request, bool ready)
{
    if (!is_get(exchange, request))
        return;
    if (!ready)
        answer_text(api, exchange, 200, "alive");
    else if (api->draining || !api->orchestrator)
        answer_text(api, exchange, 503, "stopping");
    else if (!orchestrator_ready(api->orchestrator))
        answer_text(api, exchange, 503, orchestrator_trouble(api->orchestrator));
    else
        answer_text(api, exchange, 200, "ready");
}

/* The text with %XX decoded; false: it is longer than `size`, or not so encoded. */
static bool unescape(struct slice text, char *out, size_t size, size_t *len)
{
    const char *p = text.data;
    char hex[3] = "";

    *len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (*len == size)
            return false;
        out[*len] = p[i];
        if (p[i] == '%') {
            if (text.len - i < 3 || !isxdigit((unsigned char)p[i + 1]) ||
                !isxdigit((unsigned char)p[i + 2]))
                return false;
            memcpy(hex, p + i + 1, 2);
            out[*len] = (char)strtoul(hex, NULL, 16);
            i += 2;
        }
        ++*len;
    }
    return true;
}

static void handle_session(struct api *api, struct net_exchange *exchange,
                           const struct net_request *request, struct slice name, bool control)
{
    char request_id[API_REQUEST_ID_MAX + 1], text[SESSIONS_NAME_MAX];
    struct rpc asking = {.api = api, .control = control}; /* for its organization */
    struct whom whom = {exchange, &protocol_connect, request->peer, "/sessions", request_id};
    struct refusal refusal = {0};
    size_t len;

    make_request_id(api, request, request_id);
    if (!authenticate(&asking, request, &refusal))
        goto refused;
    if (!unescape(name, text, sizeof text, &len)) {
        error_set(&refusal.error, CODE_INVALID_ARGUMENT, "that is not the name of a session");
        goto refused;
    }
    if (sessions_handle(api->sessions, slice_str(asking.org), slice(text, len), exchange, request,
                        &refusal.error) == CODE_OK)
        return;
    if (refusal.error.code == CODE_UNIMPLEMENTED) {
        refusal.http = 405;
        refusal.header = (struct net_header){slice_str("allow"), slice_str("GET, POST, DELETE")};
    }
refused:
    answer_refusal(api, &whom, &refusal);
}

bool api_sees_all(const struct api *api, bool control, const char *org)
{
    return control || api->metrics_public || strcmp(org, ORG_DEFAULT) == 0;
}

/* They name functions and endpoints of every organization. */
static bool may_see_metrics(struct rpc *asking, const struct net_request *request,
                            struct refusal *refusal)
{
    if (asking->control || asking->api->metrics_public)
        return true;
    if (!authenticate(asking, request, refusal))
        return false;
    if (api_sees_all(asking->api, false, asking->org))
        return true;
    error_set(&refusal->error, CODE_PERMISSION_DENIED,
              "metrics are of all organizations: they need a key of the organization " ORG_DEFAULT
              ", or a server with --metrics-public");
    return false;
}

static void handle_metrics(struct api *api, struct net_exchange *exchange,
                           const struct net_request *request, bool control)
{
    const struct net_header type = {slice_str("content-type"), slice_str(METRICS_TYPE)};
    char request_id[API_REQUEST_ID_MAX + 1];
    struct rpc asking = {.api = api, .control = control};
    struct whom whom = {exchange, &protocol_connect, request->peer, "/metrics", request_id};
    struct refusal refusal = {0};
    struct blob *body = NULL;
    struct buf text;

    if (!is_get(exchange, request))
        return;
    make_request_id(api, request, request_id);
    if (!may_see_metrics(&asking, request, &refusal)) {
        answer_refusal(api, &whom, &refusal);
        return;
    }
    buf_init(&text, METRICS_MAX);
    metrics_write(api->orchestrator, &text);
    if (!text.failed)
        body = blob_copy(buf_slice(&text));
    net_answer(exchange, body ? 200 : 503, &type, 1, body);
    blob_unref(body);
    buf_free(&text);
}

/* --- logins (server/logins.h) ----------------------------------------------------------------- */

/* The key of an organization, as the original's console hands it out. */
static void answer_key(struct net_exchange *exchange, const char *org, struct slice secret)
{
    const struct net_header headers[] = {
        {slice_str("content-type"), slice_str("application/json")},
        {slice_str("cache-control"), slice_str("no-store")},
    };
    struct blob *blob;
    struct buf body;

    buf_init(&body, 2048);
    buf_printf(&body, "{\"organizations\":[{\"slug\":\"%s\",\"api_key\":", org);
    buf_printf(&body, "\"%.*s\"}]}\n", SLICE_FMT(secret));
    blob = blob_copy(buf_slice(&body));
    net_answer(exchange, blob && !body.failed ? 200 : 503, headers, 2, blob);
    blob_unref(blob);
    buf_free(&body);
}

/* For people, and who confirms it. */
static void answer_login_page(struct api *api, struct net_exchange *exchange,
                              const struct login *login)
{
    char text[512];

    snprintf(text, sizeof text,
             "A command line wants to log in. To let it, run this where the server runs:\n\n"
             "    dispatch keys confirm %s\n\n"
             "(with --org for another organization than \"default\", with --store for another\n"
             "store than the default one). Confirm only what you, or somebody whom you know, have\n"
             "begun: whoever did gets an API key. The code counts for 10 minutes.",
             login->code);
    answer_text(api, exchange, 200, text);
}

static void answer_poll(struct api *api, struct net_exchange *exchange, struct login *login)
{
    const struct net_header headers[] = {
        {slice_str("dispatch-login-code"), slice_str(login->code)},
        {slice_str("cache-control"), slice_str("no-store")},
    };

    if (!login->org[0]) {
        net_answer(exchange, 204, headers, 2, NULL);
        return;
    }
    answer_key(exchange, login->org, slice_str(login->secret));
    logins_end(&api->logins, login);
}

/* Who has a key already learns whose it is, in the same form. */
static bool answer_owner(struct api *api, struct net_exchange *exchange,
                         const struct net_request *request, bool control, struct refusal *refusal)
{
    struct slice value = net_header_get(request->headers, request->header_count, "authorization");
    struct rpc asking = {.api = api, .control = control};
    bool known = authenticate(&asking, request, refusal);
    struct slice key = value.len > 7 ? slice((const char *)value.data + 7, value.len - 7) : value;

    for (size_t i = 0; known && i < key.len; i++) {
        char c = ((const char *)key.data)[i];

        known = c > ' ' && c < 0x7f && c != '"' && c != '\\';
        if (!known)
            error_set(&refusal->error, CODE_INVALID_ARGUMENT, "the key cannot be written as JSON");
    }
    if (known)
        answer_key(exchange, asking.org, key);
    return known;
}

static void handle_login(struct api *api, struct net_exchange *exchange,
                         const struct net_request *request, bool poll, bool control)
{
    char request_id[API_REQUEST_ID_MAX + 1];
    struct whom whom = {exchange, &protocol_connect, request->peer, "/cli-login", request_id};
    struct slice query = request->query, token = {0};
    struct refusal refusal = {0};
    struct login *login;

    if (!is_get(exchange, request))
        return;
    make_request_id(api, request, request_id);
    if (query.len > 6 && memcmp(query.data, "token=", 6) == 0)
        token = slice((const char *)query.data + 6, query.len - 6);
    if (poll && query.len == 0) {
        if (!answer_owner(api, exchange, request, control, &refusal))
            answer_refusal(api, &whom, &refusal);
        return;
    }
    login = logins_of(&api->logins, token, clock_now(clock_system()), &refusal.error);
    if (!login)
        answer_refusal(api, &whom, &refusal);
    else if (poll)
        answer_poll(api, exchange, login);
    else
        answer_login_page(api, exchange, login);
}

static void handle_unknown(struct api *api, struct net_exchange *exchange,
                           const struct net_request *request, struct slice path)
{
    char request_id[API_REQUEST_ID_MAX + 1], shown[128];
    struct whom whom = {exchange, protocol_of(request), request->peer, shown, request_id};
    struct refusal refusal = {0};
    bool connect = whom.protocol == &protocol_connect;

    make_request_id(api, request, request_id);
    snprintf(shown, sizeof shown, "%.*s", SLICE_FMT(path));
    error_set(&refusal.error, connect ? CODE_NOT_FOUND : CODE_UNIMPLEMENTED,
              "there is nothing at %s: calls are dispatched by POST %s", shown,
              api_methods[0].path);
    answer_refusal(api, &whom, &refusal);
}

static void handle(struct api *api, struct net_exchange *exchange,
                   const struct net_request *request, bool control)
{
    struct slice path = request->path;

    /* Clients that put a path behind a base URL with a slash at its end send two. */
    while (path.len > 1 && ((const char *)path.data)[1] == '/')
        path = slice((const char *)path.data + 1, path.len - 1);
    for (size_t i = 0; i < api_method_count; i++) {
        if (slice_eq_str(path, api_methods[i].path)) {
            handle_method(api, &api_methods[i], exchange, request, control);
            return;
        }
    }
    if (path.len > 10 && memcmp(path.data, "/sessions/", 10) == 0)
        handle_session(api, exchange, request, slice((const char *)path.data + 10, path.len - 10),
                       control);
    else if (slice_eq_str(path, "/cli-login") || slice_eq_str(path, "/cli-login/token"))
        handle_login(api, exchange, request, path.len > 10, control);
    else if (slice_eq_str(path, "/healthz") || slice_eq_str(path, "/readyz"))
        handle_health(api, exchange, request, slice_eq_str(path, "/readyz"));
    else if (slice_eq_str(path, "/metrics"))
        handle_metrics(api, exchange, request, control);
    else if (slice_eq_str(path, "/descriptor.pb"))
        handle_descriptor(exchange, request);
    else
        handle_unknown(api, exchange, request, path);
}

void api_handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    handle(arg, exchange, request, false);
}

void api_handle_control(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    handle(arg, exchange, request, true);
}

void api_refused(void *arg, struct slice peer, int status, const char *reason)
{
    struct api *api = arg;

    log_line(api->log, LOG_INFO, "request refused", LOG_SLICE("peer", peer),
             LOG_NUM("status", status), LOG_STR("error", reason));
}
