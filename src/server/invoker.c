// SPDX-License-Identifier: Apache-2.0
/*
 * A run: the request is packed, posted to the endpoint with exactly the headers that endpoints
 * expect, and answered by a RunResponse. That is the happy path.
 *
 * Everything else becomes a status (judge.h).
 *
 * A run that is to be signed is signed on another thread (signer.h) and sent when that is done.
 *
 * While nobody listens at the address of a bridge, its attempts are held there; one whose
 * connection is refused goes back. They are sent when somebody does. Those of other sessions wait
 * for clients that fetch them, and bring the response: it is judged as any other. One that such a
 * client lost or gave back is made again after a while, and is no sign of an endpoint with too much
 * to do.
 *
 * An attempt lives in the arena of its run, so it is gone with the run: whatever is needed after
 * the orchestrator was told is looked at before.
 */
#include "server/invoker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/bridge.h"
#include "server/judge.h"
#include "server/lambda.h"
#include "server/signer.h"

#define RUN_PATH "/dispatch.sdk.v1.FunctionService/Run"

struct http_invoker {
    struct invoker vtable;
    struct http_invoker_options options;
    struct net_client *client;
    size_t in_flight;
    struct bridge *bridges[INVOKER_BRIDGES_MAX];
    struct sessions *sessions;
    struct signer *signer;
    struct net_client
        *lambda; /* to options.lambda_url, which no policy is for; NULL: there is none */
    struct net_url lambda_url;
    bool stopped;
    char latest[256]; /* the endpoint that was parsed, and allowed, last */
    size_t latest_len;
    struct net_url latest_url; /* views into it */
};

/* "ID-ATTEMPT": an endpoint that logs it can be searched by the call's id too. */
#define REQUEST_ID_MAX 64

/* Where headers stand among those of a run. */
enum { TYPE = 0, HOST = 4, SIGNED = 5, HEADERS = 8 };

#define AUTHORITY_MAX 272

struct attempt {
    struct http_invoker *invoker;
    struct orchestrator_run *run;
    struct bridge *bridge; /* NULL: the endpoint is a URL, or on Lambda */
    bool lambda;
    struct net_url url;
    struct list held;        /* in the bridge */
    struct signing *signing; /* NULL: it is not being signed */
    struct net_call *call;   /* NULL: held, being signed, or at a session */
    bool offered;            /* at a session, for clients to fetch it */
    struct session_run fetched;
    char id[REQUEST_ID_MAX];
};

static const char *format_request_id(const struct orchestrator_run *run, char id[REQUEST_ID_MAX])
{
    size_t len = strnlen(run->request->dispatch_id, REQUEST_ID_MAX - 18);
    char *at = id + len;
    unsigned shift = 60;

    memcpy(id, run->request->dispatch_id, len);
    *at++ = '-';
    while (shift && run->attempt >> shift == 0)
        shift -= 4;
    for (int left = (int)shift; left >= 0; left -= 4)
        *at++ = "0123456789abcdef"[run->attempt >> left & 15];
    *at = '\0';
    return id;
}

static struct http_invoker *from_vtable(struct invoker *vtable)
{
    return (struct http_invoker *)(void *)((char *)vtable - offsetof(struct http_invoker, vtable));
}

/* --- how it ended ---------------------------------------------------------------------------- */

static void log_failure(struct http_invoker *invoker, const struct orchestrator_run *run,
                        const struct run_failure *failure)
{
    char id[REQUEST_ID_MAX];

    log_line(
        invoker->options.log, LOG_INFO, "run failed", LOG_STR("call", run->request->dispatch_id),
        LOG_STR("request", format_request_id(run, id)), LOG_STR("function", run->request->function),
        LOG_STR("status", status_name(failure->status)), LOG_STR("error", failure->message));
}

/* A function that failed is what people look for; one that did not is one of very many. */
static void log_answer(struct http_invoker *invoker, const struct orchestrator_run *run,
                       const wire_run_response *response)
{
    const wire_error *error =
        response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT &&
                response->exit->result
            ? response->exit->result->error
            : NULL;
    bool good = response->status == DISPATCH__SDK__V1__STATUS__STATUS_OK && !error;
    char id[REQUEST_ID_MAX];

    log_line(invoker->options.log, good ? LOG_DEBUG : LOG_INFO, "run answered",
             LOG_STR("call", run->request->dispatch_id),
             LOG_STR("request", format_request_id(run, id)),
             LOG_STR("function", run->request->function),
             LOG_STR("status", status_name((enum status)response->status)),
             LOG_STR("error_type", error ? error->type : ""),
             LOG_STR("error", error ? error->message : ""));
}

static void failed(struct http_invoker *invoker, struct orchestrator_run *run,
                   const struct run_failure *failure)
{
    log_failure(invoker, run, failure);
    orchestrator_run_sent(run); /* also if it could not be */
    orchestrator_run_failed(run, failure);
    invoker->options.changed(invoker->options.arg);
}

static void answered(const struct attempt *attempt, const struct net_response *response)
{
    bool (*judge)(const struct net_response *, struct slice, struct arena *, wire_run_response **,
                  struct run_failure *) = attempt->lambda ? lambda_judge : judge_response;
    struct http_invoker *invoker = attempt->invoker;
    struct orchestrator_run *run = attempt->run;
    wire_run_response *message;
    struct run_failure failure;

    if (!judge(response, run->endpoint, run->arena, &message, &failure)) {
        failed(invoker, run, &failure);
        return;
    }
    log_answer(invoker, run, message);
    orchestrator_run_answered(run, message);
    invoker->options.changed(invoker->options.arg);
}

static void send_or_fail(struct attempt *attempt);

/* No attempt was made. */
static void give_back(struct attempt *attempt)
{
    struct http_invoker *invoker = attempt->invoker;

    orchestrator_run_gone(attempt->run);
    invoker->options.changed(invoker->options.arg);
}

static void hold(struct attempt *attempt)
{
    attempt->call = NULL;
    if (attempt->invoker->stopped)
        give_back(attempt);
    else
        bridge_hold(attempt->bridge, &attempt->held);
}

static void bridge_opened(void *arg, struct list *held)
{
    struct list *node;

    (void)arg;
    while ((node = list_pop(held))) {
        struct attempt *attempt = LIST_ENTRY(node, struct attempt, held);

        /* One that could not be sent may have closed the bridge again. */
        if (bridge_is_open(attempt->bridge))
            send_or_fail(attempt);
        else
            hold(attempt);
    }
}

/* Nobody listened: no attempt was made. */
static bool refused(const struct attempt *attempt, const struct net_response *response)
{
    return attempt->bridge && response->failure == NET_TCP && response->unsent;
}

static void run_done(void *arg, const struct net_response *response)
{
    struct attempt *attempt = arg;
    struct http_invoker *invoker = attempt->invoker;
    struct orchestrator_run *run = attempt->run;

    assert(invoker->in_flight > 0);
    invoker->in_flight--;
    if (response->failure == NET_CANCELED) {
        orchestrator_run_gone(run);
        invoker->options.changed(invoker->options.arg);
    } else if (refused(attempt, response)) {
        bridge_refused(attempt->bridge);
        hold(attempt);
    } else {
        answered(attempt, response);
    }
}

/* --- how it begins --------------------------------------------------------------------------- */

/* Writes the text at `at`; where it ends. */
static size_t put(char *target, size_t at, struct slice text)
{
    if (text.len)
        memcpy(target + at, text.data, text.len);
    return at + text.len;
}

/* "/prefix/dispatch.sdk.v1.FunctionService/Run?query"; data NULL: no memory. */
static struct slice run_target(const struct net_url *url, struct arena *arena)
{
    struct slice prefix = url->path, path = slice_str(RUN_PATH), query = url->query;
    char *target;
    size_t len;

    while (prefix.len && ((const char *)prefix.data)[prefix.len - 1] == '/')
        prefix.len--;
    target = arena_alloc(arena, prefix.len + path.len + 1 + query.len);
    if (!target)
        return (struct slice){0};
    len = put(target, put(target, 0, prefix), path);
    if (query.len)
        len = put(target, put(target, len, slice_str("?")), query);
    return slice(target, len);
}

static uint32_t run_timeout(const struct http_invoker *invoker, int64_t expires)
{
    int64_t left = expires == TIME_NEVER ? INT64_MAX : expires - clock_now(invoker->options.clock);
    int64_t left_ms = left / NS_PER_MS;

    if (left_ms < 1) /* 0 would be no timeout at all */
        return 1;
    return left_ms < invoker->options.timeout_ms ? (uint32_t)left_ms : invoker->options.timeout_ms;
}

/* The Host header, and what is signed as @authority: the default port is left out. True: over
 * TLS. */
static bool write_authority(const struct net_url *url, char out[AUTHORITY_MAX])
{
    bool tls = slice_eq_str(url->scheme, "https");
    bool ipv6 = memchr(url->host.data, ':', url->host.len);
    char digits[8];
    size_t len, at = sizeof digits;

    assert(url->host.len + sizeof "[]:65535" <= AUTHORITY_MAX);
    len = put(out, 0, slice_str(ipv6 ? "[" : ""));
    len = put(out, put(out, len, url->host), slice_str(ipv6 ? "]" : ""));
    if (url->port != (tls ? 443 : 80)) {
        for (unsigned port = url->port; port || at == sizeof digits; port /= 10)
            digits[--at] = (char)('0' + port % 10);
        digits[--at] = ':';
        len = put(out, len, slice(digits + at, sizeof digits - at));
    }
    out[len] = '\0';
    return tls;
}

/* The request but for where it goes and what it brings. CODE_RESOURCE_EXHAUSTED. */
static int make_request(struct attempt *attempt, struct net_header headers[HEADERS],
                        struct net_outgoing *request, struct error *err)
{
    struct orchestrator_run *run = attempt->run;
    const char *type = attempt->lambda ? "application/json" : "application/proto";

    headers[TYPE] = (struct net_header){slice_str("content-type"), slice_str(type)};
    headers[1] = (struct net_header){slice_str("connect-protocol-version"), slice_str("1")};
    if (attempt->lambda)
        headers[1] =
            (struct net_header){slice_str("x-amz-invocation-type"), slice_str("RequestResponse")};
    headers[2] =
        (struct net_header){slice_str("user-agent"), slice_str("dispatch/" DISPATCH_VERSION)};
    headers[3] = (struct net_header){slice_str("x-request-id"),
                                     slice_str(format_request_id(run, attempt->id))};
    *request = (struct net_outgoing){
        .host = attempt->url.host,
        .port = attempt->url.port,
        .method = slice_str("POST"),
        .headers = headers,
        .header_count = HOST,
    };
    if (attempt->lambda)
        return lambda_target(&attempt->url, run->endpoint, run->version, run->arena,
                             &request->target, err);
    request->target = run_target(&attempt->url, run->arena);
    return request->target.data ? CODE_OK : error_memory(err);
}

/* `made` is NULL for a run that is not signed. */
static int post_run(struct attempt *attempt, struct blob *body,
                    const struct signature_headers *made, struct error *err)
{
    struct http_invoker *invoker = attempt->invoker;
    struct net_header headers[HEADERS];
    char authority[AUTHORITY_MAX];
    struct net_outgoing request;
    int code = make_request(attempt, headers, &request, err);

    if (code)
        return code;
    orchestrator_run_sent(attempt->run);
    if (attempt->bridge) {
        request.host = bridge_host(attempt->bridge);
        request.port = bridge_port(attempt->bridge);
        request.direct = true;
    } else {
        request.tls = write_authority(&attempt->url, authority);
        headers[HOST] = (struct net_header){slice_str("host"), slice_str(authority)};
        request.header_count = SIGNED;
    }
    if (made) {
        headers[SIGNED] =
            (struct net_header){slice_str("content-digest"), slice_str(made->content_digest)};
        headers[SIGNED + 1] =
            (struct net_header){slice_str("signature-input"), slice_str(made->signature_input)};
        headers[SIGNED + 2] =
            (struct net_header){slice_str("signature"), slice_str(made->signature)};
        request.header_count = HEADERS;
    }
    request.body = body;
    request.timeout_ms = run_timeout(invoker, attempt->run->expires);
    request.done = run_done;
    request.arg = attempt;
    code = net_client_send(attempt->lambda ? invoker->lambda : invoker->client, &request,
                           &attempt->call, err);
    if (code == CODE_OK)
        invoker->in_flight++;
    return code;
}

/* Goes on in run_signed. */
static int sign_run(struct attempt *attempt, struct blob *body, const struct credential *key,
                    struct error *err)
{
    struct http_invoker *invoker = attempt->invoker;
    int64_t now = clock_now(invoker->options.clock) / NS_PER_S;
    struct net_url url = attempt->url;
    struct net_header headers[HEADERS];
    char authority[AUTHORITY_MAX];
    struct net_outgoing outgoing;
    struct signature_field type;
    struct signature_request request;
    int code = make_request(attempt, headers, &outgoing, err);

    url.query = (struct slice){0}; /* which is not signed */
    request = (struct signature_request){
        .path = run_target(&url, attempt->run->arena), .fields = &type, .field_count = 1};
    if (code || !request.path.data)
        return code ? code : error_memory(err);
    type = (struct signature_field){headers[TYPE].name, headers[TYPE].value};
    write_authority(&url, authority);
    request.authority = slice_str(authority);
    return signer_sign(invoker->signer, &request, body, &key->signer, now, attempt,
                       &attempt->signing, err);
}

static int send_run(struct attempt *attempt, struct error *err)
{
    const struct orchestrator_run *run = attempt->run;
    const struct credentials *credentials = attempt->invoker->options.credentials;
    const struct credential *key = credentials && !attempt->bridge && !attempt->lambda
                                       ? credentials_signer(credentials, run->org)
                                       : NULL;
    struct blob *body =
        attempt->lambda ? wire_lambda_payload(run->request) : wire_pack_blob(run->request);
    int code;

    if (!body)
        return error_memory(err);
    code = key ? sign_run(attempt, body, key, err) : post_run(attempt, body, NULL, err);
    blob_unref(body);
    return code;
}

static void not_sent(struct attempt *attempt, const struct error *err)
{
    struct run_failure failure = {
        .status = STATUS_PERMANENT_ERROR, .type = "unsupported endpoint", .message = err->message};

    if (err->code != CODE_INVALID_ARGUMENT) { /* what it names can be sent to, but not now */
        failure.status = STATUS_TEMPORARY_ERROR;
        failure.type = "transport";
        failure.transport = true;
    }
    failed(attempt->invoker, attempt->run, &failure);
}

static void send_or_fail(struct attempt *attempt)
{
    struct error err;

    if (send_run(attempt, &err))
        not_sent(attempt, &err);
}

static void run_signed(void *arg, const struct signature_headers *made, struct blob *body,
                       const struct error *err)
{
    struct attempt *attempt = arg;
    struct error why;

    attempt->signing = NULL;
    if (attempt->invoker->stopped)
        give_back(attempt);
    else if (err)
        not_sent(attempt, err);
    else if (post_run(attempt, body, made, &why))
        not_sent(attempt, &why);
}

/* --- sessions -------------------------------------------------------------------------------- */

static struct attempt *of_fetched(struct session_run *fetched)
{
    return (struct attempt *)(void *)((char *)fetched - offsetof(struct attempt, fetched));
}

static struct blob *fetched_request(struct session_run *fetched)
{
    struct net_header headers[HEADERS];
    struct net_outgoing request;
    struct blob *bytes;
    struct error err;

    orchestrator_run_sent(of_fetched(fetched)->run);
    if (make_request(of_fetched(fetched), headers, &request, &err))
        return NULL;
    request.body = wire_pack_blob(of_fetched(fetched)->run->request);
    request.port = 80; /* goes without saying */
    bytes = request.body ? net_raw_put_request(&request) : NULL;
    blob_unref(request.body);
    return bytes;
}

static void fetched_answered(struct session_run *fetched, const struct net_response *response)
{
    answered(of_fetched(fetched), response);
}

static void fetched_abandoned(struct session_run *fetched, const char *why)
{
    struct attempt *attempt = of_fetched(fetched);
    struct orchestrator_run *run = attempt->run;
    struct run_failure failure = {
        .status = STATUS_TEMPORARY_ERROR, .type = "session", .blameless = true};

    if (attempt->invoker->stopped) {
        give_back(attempt);
        return;
    }
    failure.message = arena_printf(run->arena, "%.*s: %s", SLICE_FMT(run->endpoint), why);
    if (!failure.message)
        failure.message = why;
    failed(attempt->invoker, run, &failure);
}

static int offer(struct attempt *attempt, struct error *err)
{
    struct orchestrator_run *run = attempt->run;

    attempt->fetched.id = format_request_id(run, attempt->id);
    attempt->fetched.size = protobuf_c_message_get_packed_size(&run->request->base);
    return sessions_add(attempt->invoker->sessions, run->org, attempt->url.host, &attempt->fetched,
                        err);
}

/* --- where it goes --------------------------------------------------------------------------- */

static struct bridge *find_bridge(const struct http_invoker *invoker, struct slice session)
{
    for (size_t i = 0; i < invoker->options.bridge_count; i++) {
        if (bridge_is_for(invoker->bridges[i], session))
            return invoker->bridges[i];
    }
    return NULL;
}

static struct slice moved(struct slice view, struct slice from, struct slice to)
{
    if (view.data)
        view.data = (const char *)to.data + ((const char *)view.data - (const char *)from.data);
    return view;
}

/* The same URL, of which there are views into `from`, in a text that is equal. */
static struct net_url url_moved(const struct net_url *url, struct slice from, struct slice to)
{
    struct net_url here = *url;

    here.scheme = moved(url->scheme, from, to);
    here.host = moved(url->host, from, to);
    here.path = moved(url->path, from, to);
    here.query = moved(url->query, from, to);
    return here;
}

/* Where one run goes the next one mostly does. */
static int parse_url(struct http_invoker *invoker, struct slice endpoint, struct net_url *url,
                     struct error *err)
{
    struct slice latest = slice(invoker->latest, invoker->latest_len);
    int code;

    if (endpoint.len && slice_eq(endpoint, latest)) {
        *url = url_moved(&invoker->latest_url, latest, endpoint);
        return CODE_OK;
    }
    code = net_url_parse(endpoint, url, err);
    if (code == CODE_OK && invoker->options.policy) /* which may be another since it was accepted */
        code = policy_check(invoker->options.policy, endpoint, err);
    if (code == CODE_OK && endpoint.len <= sizeof invoker->latest) {
        memcpy(invoker->latest, endpoint.data, endpoint.len);
        invoker->latest_len = endpoint.len;
        invoker->latest_url = url_moved(url, endpoint, slice(invoker->latest, endpoint.len));
    }
    return code;
}

/* Fills in where to; else *err says why that can never be. */
static int find_endpoint(struct attempt *attempt, struct error *err)
{
    const struct http_invoker *invoker = attempt->invoker;
    struct slice endpoint = attempt->run->endpoint;
    const char *colon = endpoint.len ? memchr(endpoint.data, ':', endpoint.len) : NULL;
    struct slice scheme =
        slice(endpoint.data, colon ? (size_t)(colon - (const char *)endpoint.data) : 0);
    bool bridged = slice_eq_str(scheme, "bridge");
    int code;

    if (slice_eq_str(scheme, "arn")) {
        attempt->lambda = true;
        attempt->url = invoker->lambda_url;
        return invoker->lambda ? CODE_OK
                               : error_set(err, CODE_UNIMPLEMENTED,
                                           "%.*s: this server has no invoker for AWS Lambda: start "
                                           "it with --lambda-url, or put the function behind an "
                                           "http:// or https:// endpoint",
                                           SLICE_FMT(endpoint));
    }
    if (!slice_eq_str(scheme, "http") && !slice_eq_str(scheme, "https") && !bridged)
        return error_set(err, CODE_UNIMPLEMENTED,
                         "%.*s: this version (" DISPATCH_VERSION
                         ") reaches http://, https:// and bridge:// endpoints only",
                         SLICE_FMT(endpoint));
    code = parse_url(attempt->invoker, endpoint, &attempt->url, err);
    if (code || !bridged)
        return code;
    attempt->bridge = find_bridge(invoker, attempt->url.host);
    attempt->offered = !attempt->bridge;
    return CODE_OK;
}

static void invoker_run(struct invoker *vtable, struct orchestrator_run *run)
{
    struct http_invoker *invoker = from_vtable(vtable);
    struct run_failure failure = {.status = STATUS_PERMANENT_ERROR, .type = "unsupported endpoint"};
    struct attempt *attempt = arena_zalloc(run->arena, 1, sizeof *attempt);
    struct error err;
    int code;

    if (attempt) {
        attempt->invoker = invoker;
        attempt->run = run;
        list_init(&attempt->held);
        run->invoker_data = attempt;
        code = find_endpoint(attempt, &err);
    } else {
        code = error_memory(&err);
    }
    if (code == CODE_OK && attempt->offered)
        code = offer(attempt, &err);
    if (code) {
        failure.message = err.message;
        if (code == CODE_RESOURCE_EXHAUSTED) {
            failure.status = STATUS_TEMPORARY_ERROR;
        } else if (code == CODE_PERMISSION_DENIED) {
            failure.status = STATUS_PERMISSION_DENIED;
            failure.type = code_name(code);
        }
        failed(invoker, run, &failure);
    } else if (attempt->offered) {
        log_line(invoker->options.log, LOG_DEBUG, "run waits at its session or was fetched",
                 LOG_STR("call", run->request->dispatch_id),
                 LOG_SLICE("session", attempt->url.host));
    } else if (attempt->bridge && !bridge_is_open(attempt->bridge)) {
        log_line(invoker->options.log, LOG_DEBUG, "run held: nobody listens at the endpoint",
                 LOG_STR("call", run->request->dispatch_id));
        hold(attempt);
    } else {
        send_or_fail(attempt);
    }
}

static void invoker_cancel(struct invoker *vtable, struct orchestrator_run *run)
{
    struct http_invoker *invoker = from_vtable(vtable);
    struct attempt *attempt = run->invoker_data;

    if (attempt->call) {
        net_call_cancel(attempt->call);
        return;
    }
    if (attempt->signing)
        signing_give_up(attempt->signing);
    else if (attempt->offered)
        sessions_remove(invoker->sessions, &attempt->fetched);
    else
        list_remove(&attempt->held);
    give_back(attempt);
}

/* --- life ------------------------------------------------------------------------------------ */

static int create_lambda(struct http_invoker *invoker, const struct net_client_options *client,
                         struct error *err)
{
    const struct http_invoker_options *options = &invoker->options;
    struct net_client_options unguarded = *client;
    int code;

    if (!options->lambda_url)
        return CODE_OK;
    unguarded.refuses = NULL;
    code = lambda_url(options->lambda_url, &invoker->lambda_url, err);
    return code ? code : net_client_create(&invoker->lambda, options->loop, &unguarded, err);
}

static int create_bridges(struct http_invoker *invoker, const struct http_invoker_options *options,
                          struct error *err)
{
    int code = CODE_OK;

    assert(options->bridge_count <= INVOKER_BRIDGES_MAX);
    for (size_t i = 0; code == CODE_OK && i < options->bridge_count; i++) {
        const struct invoker_bridge *b = &options->bridges[i];
        struct bridge_options bridge = {.loop = options->loop,
                                        .log = options->log,
                                        .session = slice_str(b->session),
                                        .host = b->host,
                                        .port = b->port,
                                        .opened = bridge_opened};

        code = bridge_create(&invoker->bridges[i], &bridge, err);
    }
    invoker->options.bridges = NULL;
    return code;
}

int http_invoker_create(struct http_invoker **out, const struct http_invoker_options *options,
                        struct error *err)
{
    struct http_invoker *invoker = calloc(1, sizeof *invoker);
    struct net_client_options client = {.ca_file = options->ca_file,
                                        .proxies = true,
                                        .refuses = options->policy ? policy_refuses : NULL,
                                        .refuses_arg = options->policy};
    const struct sessions_options sessions = {.loop = options->loop,
                                              .clock = options->clock,
                                              .body_max = options->body_max,
                                              .waiting_max = options->waiting_max,
                                              .request = fetched_request,
                                              .answered = fetched_answered,
                                              .abandoned = fetched_abandoned};
    int code;

    if (!invoker)
        return error_memory(err);
    invoker->options = *options;
    invoker->options.ca_file = NULL;
    if (invoker->options.timeout_ms == 0)
        invoker->options.timeout_ms = INVOKER_TIMEOUT_MS;
    invoker->vtable = (struct invoker){.run = invoker_run, .cancel = invoker_cancel};
    code = net_client_create(&invoker->client, options->loop, &client, err);
    if (code == CODE_OK)
        code = create_lambda(invoker, &client, err);
    invoker->signer = signer_create(options->loop, run_signed);
    if (code == CODE_OK && !invoker->signer)
        code = error_memory(err);
    if (code == CODE_OK)
        code = sessions_create(&invoker->sessions, &sessions, err);
    if (code == CODE_OK)
        code = create_bridges(invoker, options, err);
    if (code) {
        http_invoker_destroy(invoker);
        return code;
    }
    *out = invoker;
    return CODE_OK;
}

int http_invoker_reload_ca(struct http_invoker *invoker, const char *ca_file, struct error *err)
{
    int code = net_client_reload_ca(invoker->client, ca_file, err);

    if (code == CODE_OK && invoker->lambda)
        code = net_client_reload_ca(invoker->lambda, ca_file, err);
    return code;
}

void http_invoker_stop(struct http_invoker *invoker)
{
    struct list held, *node;

    invoker->stopped = true;
    sessions_stop(invoker->sessions);
    list_init(&held);
    for (size_t i = 0; i < invoker->options.bridge_count; i++)
        bridge_release(invoker->bridges[i], &held);
    while ((node = list_pop(&held)))
        give_back(LIST_ENTRY(node, struct attempt, held));
}

void http_invoker_destroy(struct http_invoker *invoker)
{
    if (!invoker)
        return;
    assert(invoker->in_flight == 0);
    for (size_t i = 0; i < INVOKER_BRIDGES_MAX; i++)
        bridge_destroy(invoker->bridges[i]);
    sessions_destroy(invoker->sessions);
    signer_destroy(invoker->signer);
    if (invoker->client)
        net_client_destroy(invoker->client);
    if (invoker->lambda)
        net_client_destroy(invoker->lambda);
    free(invoker);
}

bool http_invoker_reached(const struct http_invoker *invoker, size_t i)
{
    return i < invoker->options.bridge_count && bridge_was_open(invoker->bridges[i]);
}

struct sessions *http_invoker_sessions(struct http_invoker *invoker)
{
    return invoker->sessions;
}

struct invoker *http_invoker_vtable(struct http_invoker *invoker)
{
    return &invoker->vtable;
}
