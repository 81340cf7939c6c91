// SPDX-License-Identifier: Apache-2.0
/*
 * One poll at a time; a run that it brings is posted to the application while the next poll goes
 * out; the response is posted back. Whatever fails on the way (no connection, no answer in 30 s, a
 * reply that is not taken) gives the run back, so that it is made again soon, here or elsewhere.
 */
#include "server/fetcher.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "server/bridge.h"
#include "server/judge.h"

enum {
    TIMEOUT_MS = 30000, /* of a poll, of a run, of a reply */
    RETURN_MS = 5000,
    PAUSE_MS = 1000,
    BODY_MAX = 20000000,
    TARGET_MAX = 4096,
    ID_MAX = 256,
    SESSION_URL_MAX = 256,
    DECODED_MAX = 4 * BODY_MAX,
};

struct fetcher {
    struct fetcher_options options;
    struct net_url url;
    char target[TARGET_MAX], authorization[1024];
    char endpoint[SESSION_URL_MAX];
    struct net_client *client;
    struct bridge *application;
    struct net_call *poll;
    struct net_timer *pause;
    struct list fetched;
    size_t count;
    uint64_t attempts;
    struct arena arena; /* of what is decoded for the observer */
    bool pausing, reached, stopping, destroying;
};

struct fetched {
    struct fetcher *fetcher;
    struct list link;
    struct net_call *run; /* at the application; NULL: before or after that */
    uint64_t attempt;     /* that the observer has seen start; 0: none */
    int64_t started;
    char id[ID_MAX];
};

static void poll_next(struct fetcher *f);

/* --- asking the orchestrator ----------------------------------------------------------------- */

static void log_unreachable(const struct fetcher *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void log_unreachable(const struct fetcher *f, const char *format, ...)
{
    char message[1024];
    va_list args;
    int len = snprintf(message, sizeof message,
                       "failed to contact Dispatch API (%.300s): ", f->options.url);

    va_start(args, format);
    vsnprintf(message + len, sizeof message - (size_t)len, format, args);
    va_end(args);
    log_line(f->options.log, LOG_WARN, message);
}

/* `id`: NULL for a poll. NULL: it could not be sent. */
static struct net_call *ask(struct fetcher *f, const char *method, const char *id,
                            struct blob *body, uint32_t timeout_ms,
                            void (*done)(void *arg, const struct net_response *response), void *arg)
{
    struct net_header headers[3] = {
        {slice_str("authorization"), slice_str(f->authorization)},
        {slice_str(id ? "x-request-id" : "request-timeout"), slice_str(id ? id : "30")}};
    const struct net_outgoing request = {
        .host = f->url.host,
        .port = f->url.port,
        .tls = slice_eq_str(f->url.scheme, "https"),
        .method = slice_str(method),
        .target = slice_str(f->target),
        .headers = headers,
        .header_count = f->options.host_header ? 3 : 2,
        .body = body,
        .timeout_ms = timeout_ms,
        .done = done,
        .arg = arg,
    };
    struct net_call *call;
    struct error err;

    if (f->options.host_header)
        headers[2] = (struct net_header){slice_str("host"), slice_str(f->options.host_header)};
    if (net_client_send(f->client, &request, &call, &err) == CODE_OK)
        return call;
    log_unreachable(f, "%s", err.message);
    return NULL;
}

static void log_answer(const struct fetcher *f, const char *what,
                       const struct net_response *response)
{
    if (response->failure != NET_OK)
        log_line(f->options.log, LOG_WARN, what, LOG_STR("url", f->options.url),
                 LOG_STR("error", response->message));
    else
        log_line(f->options.log, LOG_WARN, what, LOG_STR("url", f->options.url),
                 LOG_NUM("http_status", response->status));
}

/* --- runs ------------------------------------------------------------------------------------ */

static void fetched_free(struct fetched *fetched)
{
    struct fetcher *f = fetched->fetcher;

    list_remove(&fetched->link);
    f->count--;
    free(fetched);
    if (f->destroying)
        return;
    if (f->stopping && f->count == 0)
        f->options.stopped(f->options.arg);
    else
        poll_next(f);
}

static void given_back(void *arg, const struct net_response *response)
{
    struct fetched *fetched = arg;

    if (!fetched->fetcher->destroying &&
        (response->failure != NET_OK || (response->status != 200 && response->status != 404)))
        log_answer(fetched->fetcher, "failed to give a run back", response);
    fetched_free(fetched);
}

static void give_back(struct fetched *fetched)
{
    if (fetched->fetcher->destroying ||
        !ask(fetched->fetcher, "DELETE", fetched->id, NULL, RETURN_MS, given_back, fetched))
        fetched_free(fetched);
}

static void brought(void *arg, const struct net_response *response)
{
    struct fetched *fetched = arg;
    bool good = response->failure == NET_OK &&
                (response->status == 202 || response->status == 404); /* 404: not wanted any more */

    if (good) {
        fetched_free(fetched);
        return;
    }
    if (!fetched->fetcher->destroying)
        log_answer(fetched->fetcher, "failed to bring a response", response);
    give_back(fetched);
}

/* What says how a message is framed belongs to the connection that it came over. */
static bool is_passed_on(const struct net_header *header)
{
    static const char *const framing[] = {"connection", "content-length",    "host", "keep-alive",
                                          "upgrade",    "transfer-encoding", "te",   "date"};

    for (size_t i = 0; i < sizeof framing / sizeof *framing; i++) {
        if (slice_eq_str(header->name, framing[i]))
            return false;
    }
    return true;
}

/* Copies the views of those that are passed on; how many, at most `max`. */
static size_t pass_on(const struct net_header *from, size_t count, struct net_header *to,
                      size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < count && n < max; i++) {
        if (is_passed_on(&from[i]))
            to[n++] = from[i];
    }
    return n;
}

static struct slice endpoint_of(const struct fetcher *f)
{
    return slice_str(f->endpoint);
}

static void tell_start(struct fetched *fetched, struct slice body)
{
    struct fetcher *f = fetched->fetcher;
    struct orchestrator_attempt attempt = {.endpoint = endpoint_of(f)};
    wire_run_request *request;

    if (!f->options.observer)
        return;
    if (!wire_unpack(&dispatch__sdk__v1__run_request__descriptor, body, &f->arena, &request,
                     NULL)) {
        attempt.attempt = fetched->attempt = ++f->attempts;
        attempt.started = fetched->started = clock_now(clock_system());
        attempt.request = request;
        f->options.observer->started(f->options.observer->arg, &attempt);
    }
    arena_rewind(&f->arena);
}

static void tell_end(struct fetched *fetched, const struct net_response *response)
{
    struct fetcher *f = fetched->fetcher;
    struct orchestrator_outcome outcome = {.attempt = fetched->attempt,
                                           .started = fetched->started,
                                           .ended = clock_now(clock_system())};
    wire_run_response *message;
    struct run_failure failure;

    if (!fetched->attempt)
        return;
    if (response->failure != NET_CANCELED) {
        if (judge_response(response, endpoint_of(f), &f->arena, &message, &failure))
            outcome.response = message;
        else
            outcome.failure = &failure;
    }
    f->options.observer->ended(f->options.observer->arg, &outcome);
    arena_rewind(&f->arena);
}

static void bring(struct fetched *fetched, const struct net_response *response)
{
    struct net_header headers[64];
    size_t count = pass_on(response->headers, response->header_count, headers,
                           sizeof headers / sizeof *headers);
    struct blob *raw = net_raw_put_response(response->status, headers, count, response->body);
    bool sent =
        raw && ask(fetched->fetcher, "POST", fetched->id, raw, TIMEOUT_MS, brought, fetched);

    blob_unref(raw);
    if (!sent)
        give_back(fetched);
}

static void ran(void *arg, const struct net_response *response)
{
    struct fetched *fetched = arg;
    struct fetcher *f = fetched->fetcher;

    fetched->run = NULL;
    tell_end(fetched, response);
    if (response->failure == NET_OK) {
        bring(fetched, response);
        return;
    }
    if (response->failure != NET_CANCELED)
        log_line(f->options.log, LOG_WARN, "run given back: the application did not answer",
                 LOG_STR("request", fetched->id), LOG_STR("error", response->message));
    if (response->failure == NET_TCP && response->unsent)
        bridge_refused(f->application);
    give_back(fetched);
}

static void run(void *arg, const struct net_request *request)
{
    struct fetched *fetched = arg;
    struct fetcher *f = fetched->fetcher;
    struct net_header headers[64];
    const struct net_outgoing outgoing = {
        .host = bridge_host(f->application),
        .port = bridge_port(f->application),
        .direct = true,
        .method = request->method,
        .target = request->path,
        .headers = headers,
        .header_count = pass_on(request->headers, request->header_count, headers,
                                sizeof headers / sizeof *headers),
        .body = blob_copy(request->body),
        .timeout_ms = TIMEOUT_MS,
        .done = ran,
        .arg = fetched,
    };
    struct error err;

    log_line(f->options.log, LOG_DEBUG, "run fetched", LOG_STR("request", fetched->id));
    if (outgoing.body && net_client_send(f->client, &outgoing, &fetched->run, &err))
        fetched->run = NULL;
    if (fetched->run)
        tell_start(fetched, request->body);
    blob_unref(outgoing.body);
}

/* A poll has brought something. */
static void take(struct fetcher *f, const struct net_response *response)
{
    struct slice id = net_header_get(response->headers, response->header_count, "x-request-id");
    struct fetched *fetched = calloc(1, sizeof *fetched);
    struct error err;

    if (!fetched || id.len == 0 || id.len >= ID_MAX) {
        log_line(f->options.log, LOG_WARN, "a run was fetched and cannot be answered",
                 LOG_STR("error", fetched ? "it has no X-Request-Id" : "out of memory"));
        free(fetched);
        return;
    }
    fetched->fetcher = f;
    memcpy(fetched->id, id.data, id.len);
    list_append(&f->fetched, &fetched->link);
    f->count++;
    if (net_raw_request(response->body, BODY_MAX, run, fetched, &err))
        log_line(f->options.log, LOG_WARN, "run given back: it is no HTTP request",
                 LOG_STR("request", fetched->id), LOG_STR("error", err.message));
    if (!fetched->run)
        give_back(fetched);
}

/* --- polls ----------------------------------------------------------------------------------- */

static void pause_polls(struct fetcher *f)
{
    f->pausing = true;
    net_timer_set(f->pause, PAUSE_MS);
}

static void pause_over(void *arg)
{
    struct fetcher *f = arg;

    f->pausing = false;
    poll_next(f);
}

static void polled(void *arg, const struct net_response *response)
{
    struct fetcher *f = arg;
    bool answered = response->failure == NET_OK;
    char message[512];

    f->poll = NULL;
    if (f->stopping || f->destroying) /* canceled */
        return;
    f->reached |= answered && (response->status == 200 || response->status == 504);
    if (answered && response->status == 200) {
        take(f, response);
    } else if (answered && response->status == 401) {
        snprintf(message, sizeof message, "Authentication error (%s)", f->options.key_hint);
        log_line(f->options.log, LOG_ERROR, message);
        pause_polls(f);
    } else if (!answered || response->status != 504) {
        if (answered)
            log_unreachable(f, "HTTP status %d", response->status);
        else
            log_unreachable(f, "%s", response->message);
        pause_polls(f);
    }
    poll_next(f);
}

static void poll_next(struct fetcher *f)
{
    if (f->stopping || f->pausing || f->poll || f->count >= FETCHER_RUNS_MAX ||
        !bridge_is_open(f->application))
        return;
    f->poll = ask(f, "GET", NULL, NULL, TIMEOUT_MS, polled, f);
    if (!f->poll)
        pause_polls(f);
}

/* The application listens. */
static void opened(void *arg, struct list *held)
{
    (void)held;
    poll_next(arg);
}

/* --- life ------------------------------------------------------------------------------------ */

static int read_url(struct fetcher *f, struct error *err)
{
    struct slice path;
    int code = net_url_parse(slice_str(f->options.url), &f->url, err), len;

    if (code)
        return code;
    if (!slice_eq_str(f->url.scheme, "http") && !slice_eq_str(f->url.scheme, "https"))
        return error_set(err, CODE_INVALID_ARGUMENT, "%s: it begins with http:// or https://",
                         f->options.url);
    path = f->url.path;
    while (path.len && ((const char *)path.data)[path.len - 1] == '/')
        path.len--;
    len = snprintf(f->target, sizeof f->target, "%.*s/sessions/%s", SLICE_FMT(path),
                   f->options.session);
    if (len < 0 || (size_t)len >= sizeof f->target)
        return error_set(err, CODE_INVALID_ARGUMENT, "the URL of the bridge is too long");
    len = snprintf(f->authorization, sizeof f->authorization, "Bearer %s", f->options.key);
    if (len < 0 || (size_t)len >= sizeof f->authorization)
        return error_set(err, CODE_INVALID_ARGUMENT, "the API key is too long");
    return CODE_OK;
}

int fetcher_create(struct fetcher **out, const struct fetcher_options *options, struct error *err)
{
    struct fetcher *f = calloc(1, sizeof *f);
    const struct bridge_options application = {.loop = options->loop,
                                               .log = options->log,
                                               .asks = true,
                                               .session = slice_str(options->session),
                                               .host = options->host,
                                               .port = options->port,
                                               .opened = opened,
                                               .arg = f};
    int code;

    if (!f)
        return error_memory(err);
    f->options = *options;
    list_init(&f->fetched);
    arena_init(&f->arena, DECODED_MAX);
    snprintf(f->endpoint, sizeof f->endpoint, "bridge://%s", options->session);
    code = read_url(f, err);
    if (code == CODE_OK)
        code = net_client_create(&f->client, options->loop,
                                 &(struct net_client_options){.proxies = true}, err);
    if (code == CODE_OK && !(f->pause = net_timer_create(options->loop, pause_over, f)))
        code = error_memory(err);
    if (code == CODE_OK)
        code = bridge_create(&f->application, &application, err);
    if (code) {
        fetcher_destroy(f);
        return code;
    }
    *out = f;
    return CODE_OK;
}

bool fetcher_reached(const struct fetcher *f)
{
    return f->reached;
}

void fetcher_stop(struct fetcher *f)
{
    if (f->stopping)
        return;
    f->stopping = true;
    if (f->poll)
        net_call_cancel(f->poll);
    if (f->count == 0) {
        f->options.stopped(f->options.arg);
        return;
    }
    LIST_FOR_EACH (node, next, &f->fetched) {
        struct fetched *fetched = LIST_ENTRY(node, struct fetched, link);

        if (fetched->run)
            net_call_cancel(fetched->run);
    }
}

void fetcher_destroy(struct fetcher *f)
{
    if (!f)
        return;
    f->destroying = true;
    if (f->client)
        net_client_destroy(f->client);
    assert(list_empty(&f->fetched));
    bridge_destroy(f->application);
    net_timer_destroy(f->pause);
    arena_reset(&f->arena);
    free(f);
}
