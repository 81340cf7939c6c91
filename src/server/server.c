// SPDX-License-Identifier: Apache-2.0
/*
 * The shell around an orchestrator. Whatever happens (a request, an answer of an endpoint, a store
 * thread done with a commit) asks for a step; one step a turn of the loop does all of it at once,
 * so requests that came together share a commit; and the step says when the next one is due at
 * latest.
 *
 * Stopping has three stages: draining (still listening: reads are answered, new calls refused, runs
 * in flight may end), closing (the orchestrator is gone, the last answers are on their way out),
 * and stopped.
 */
#include "server/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/rand.h"
#include "server/api.h"
#include "server/first_key.h"
#include "server/invoker.h"
#include "server/recent.h"

/* How long the last answers may take to leave, and how often to see whether they have. */
#define LINGER_MS      1000
#define LINGER_STEP_MS 10

/* How long finished calls are kept, and how much of them, unless told otherwise. */
#define RETENTION_NS    (72 * 3600 * NS_PER_S)
#define RETENTION_BYTES (UINT64_C(10) << 30)

enum stage { STAGE_SERVING, STAGE_DRAINING, STAGE_CLOSING, STAGE_STOPPED };

struct server {
    struct server_options options;
    enum stage stage;
    struct orchestrator *orchestrator;
    struct http_invoker *invoker;
    struct recent *recent;
    struct api api;
    struct credentials credentials;
    struct policy policy; /* the patterns are the options' */
    struct net_server *listeners[SERVER_LISTEN_MAX];
    char addresses[SERVER_LISTEN_MAX][SERVER_ADDRESS_MAX];
    size_t listener_count;
    struct net_server *control; /* NULL: none */

    struct net_timer *step;  /* the next step */
    struct net_timer *limit; /* of the stage */
    unsigned lingered_ms;
    bool stepping, again; /* inside step; another one was asked for meanwhile */
    bool was_ready, ever_ready;
    bool making_key, made_key;

    int wake_fd; /* an eventfd: store threads cannot fail to write to it */
    atomic_bool awake;
    struct net_watch *watch;
};

bool server_is_loopback(const char *host)
{
    struct in_addr v4;

    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

/* --- steps ----------------------------------------------------------------------------------- */

static void close_down(struct server *s);

/* Asks for a step in this turn of the loop. */
static void changed(void *arg)
{
    struct server *s = arg;

    s->again = true;
    if (!s->stepping)
        net_timer_set(s->step, 0);
}

/* From any thread. */
static void wake(void *arg)
{
    struct server *s = arg;
    uint64_t one = 1;

    if (!atomic_exchange(&s->awake, true) && write(s->wake_fd, &one, sizeof one) < 0)
        assert(errno == EAGAIN); /* the counter is full, so the loop will wake anyway */
}

static void woken(void *arg)
{
    struct server *s = arg;
    uint64_t count;

    if (read(s->wake_fd, &count, sizeof count) < 0)
        assert(errno == EAGAIN);
    atomic_store(&s->awake, false);
    changed(s);
}

static void tell_ready(struct server *s)
{
    if (!s->ever_ready && s->options.ready)
        s->options.ready(s->options.arg, s);
    s->ever_ready = true;
}

static void first_key_made(void *arg, const struct error *error)
{
    struct server *s = arg;

    s->making_key = false;
    s->made_key = !error;
    if (!error)
        log_line(s->options.log, LOG_INFO, "first API key made",
                 LOG_STR("file", s->options.first_key_file));
    else
        log_line(s->options.log, LOG_ERROR,
                 "the first API key could not be made: `dispatch keys create` makes one",
                 LOG_STR("error", error->message));
    /* Else the next load tries again. */
    if (s->orchestrator && orchestrator_ready(s->orchestrator))
        tell_ready(s);
}

static void report_ready(struct server *s)
{
    const char *file = s->options.first_key_file;
    struct orchestrator_stats stats;

    orchestrator_stats(s->orchestrator, &stats);
    log_line(s->options.log, LOG_INFO, "ready", LOG_STR("address", s->addresses[0]),
             LOG_STR("store", s->options.store), LOG_NUM("recovered", stats.recovered),
             LOG_NUM("incarnation", stats.incarnation));
    api_release(&s->api);
    if (s->ever_ready || s->making_key)
        return;
    if (file && s->options.keys && !s->options.keys->count && first_key_wanted(&s->credentials)) {
        s->making_key = true;
        first_key_make(&s->credentials, s->orchestrator, file, first_key_made, s);
        changed(s);
    } else {
        tell_ready(s);
    }
}

static void note_readiness(struct server *s)
{
    bool ready = orchestrator_ready(s->orchestrator);

    if (ready == s->was_ready || s->stage != STAGE_SERVING)
        return;
    s->was_ready = ready;
    if (ready)
        report_ready(s);
    else
        log_line(s->options.log, LOG_ERROR, "not ready",
                 LOG_STR("error", orchestrator_trouble(s->orchestrator)));
}

static void set_step(struct server *s, int64_t due)
{
    int64_t left;

    if (s->again) {
        net_timer_set(s->step, 0);
    } else if (due == TIME_NEVER) {
        net_timer_clear(s->step);
    } else {
        left = due - clock_now(clock_system());
        net_timer_set(s->step, left <= 0 ? 0 : (uint64_t)((left + NS_PER_MS - 1) / NS_PER_MS));
    }
}

static void step(void *arg)
{
    struct server *s = arg;
    int64_t due;

    if (!s->orchestrator)
        return;
    s->stepping = true;
    s->again = false;
    due = orchestrator_step(s->orchestrator);
    note_readiness(s);
    if (s->options.stepped)
        s->options.stepped(s->options.arg);
    s->stepping = false;
    set_step(s, due);
    if (s->stage == STAGE_DRAINING && orchestrator_idle(s->orchestrator))
        close_down(s);
}

/* --- stopping -------------------------------------------------------------------------------- */

static void destroy_orchestrator(struct server *s)
{
    struct orchestrator *orchestrator = s->orchestrator;

    /* While the store is ours, so is what stands at the socket's path; not later. */
    if (s->control)
        net_server_close(s->control);
    s->api.orchestrator = NULL;
    s->api.draining = true;
    s->stepping = true; /* its last callbacks ask for steps that nobody will make */
    orchestrator_destroy(orchestrator);
    s->orchestrator = NULL;
    net_timer_clear(s->step);
}

static bool answers_leaving(const struct server *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->listener_count; i++)
        count += net_server_exchanges(s->listeners[i]);
    if (s->control)
        count += net_server_exchanges(s->control);
    return count > 0;
}

/* The time of a stage is over. */
static void stage_over(void *arg)
{
    struct server *s = arg;

    if (s->stage == STAGE_DRAINING) {
        close_down(s);
        return;
    }
    assert(s->stage == STAGE_CLOSING);
    if (answers_leaving(s) && s->lingered_ms < LINGER_MS) {
        s->lingered_ms += LINGER_STEP_MS;
        net_timer_set(s->limit, LINGER_STEP_MS);
        return;
    }
    for (size_t i = 0; i < s->listener_count; i++)
        net_server_destroy(s->listeners[i]);
    s->listener_count = 0;
    net_server_destroy(s->control);
    s->control = NULL;
    s->stage = STAGE_STOPPED;
    log_line(s->options.log, LOG_INFO, "stopped");
    if (s->options.stopped)
        s->options.stopped(s->options.arg);
}

static void close_down(struct server *s)
{
    struct orchestrator_stats stats;

    orchestrator_stats(s->orchestrator, &stats);
    if (stats.runs_in_flight)
        log_line(s->options.log, LOG_WARN,
                 "runs given up: they are made again after the next start",
                 LOG_NUM("runs", stats.runs_in_flight));
    destroy_orchestrator(s);
    s->stage = STAGE_CLOSING;
    for (size_t i = 0; i < s->listener_count; i++)
        net_server_close(s->listeners[i]);
    net_timer_set(s->limit, 0);
}

void server_stop(struct server *s)
{
    struct orchestrator_stats stats;

    if (s->stage != STAGE_SERVING)
        return;
    s->stage = STAGE_DRAINING;
    s->api.draining = true;
    orchestrator_stats(s->orchestrator, &stats);
    log_line(s->options.log, LOG_INFO, "stopping", LOG_NUM("runs", stats.runs_in_flight),
             LOG_NUM("grace_ms", s->options.grace_ms));
    orchestrator_drain(s->orchestrator);
    http_invoker_stop(s->invoker);
    api_release(&s->api);
    net_timer_set(s->limit, s->options.grace_ms);
    changed(s);
}

void server_destroy(struct server *s)
{
    if (!s)
        return;
    if (s->orchestrator)
        destroy_orchestrator(s);
    for (size_t i = 0; i < s->listener_count; i++)
        net_server_destroy(s->listeners[i]);
    net_server_destroy(s->control);
    api_finish(&s->api);
    http_invoker_destroy(s->invoker);
    recent_destroy(s->recent);
    credentials_free(&s->credentials);
    net_watch_destroy(s->watch);
    net_timer_destroy(s->step);
    net_timer_destroy(s->limit);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    free(s);
}

/* --- TLS ------------------------------------------------------------------------------------- */

static void reload_certificate(struct server *s)
{
    const char *cert = s->options.tls_cert_file, *key = s->options.tls_key_file;
    struct error err;
    int code = CODE_OK;

    for (size_t i = 0; code == CODE_OK && i < s->listener_count; i++)
        code = net_server_reload_tls(s->listeners[i], cert, key, &err);
    if (code == CODE_OK)
        log_line(s->options.log, LOG_INFO, "certificate read again", LOG_STR("file", cert));
    else
        log_line(s->options.log, LOG_ERROR, "the certificate before stays",
                 LOG_STR("error", err.message));
}

static void reload_authorities(struct server *s)
{
    struct error err;

    if (http_invoker_reload_ca(s->invoker, s->options.ca_file, &err) == CODE_OK)
        log_line(s->options.log, LOG_INFO, "authorities read again",
                 LOG_STR("file", s->options.ca_file));
    else
        log_line(s->options.log, LOG_ERROR, "the authorities before stay",
                 LOG_STR("error", err.message));
}

void server_reload_tls(struct server *s)
{
    if (s->options.tls_cert_file)
        reload_certificate(s);
    if (s->options.ca_file)
        reload_authorities(s);
}

/* --- starting -------------------------------------------------------------------------------- */

static int listen_on(struct server *s, const char *address, struct error *err)
{
    char host[256], *text = s->addresses[s->listener_count];
    struct net_server_options options = {
        .max_body = SERVER_BODY_MAX,
        .tls_cert_file = s->options.tls_cert_file,
        .tls_key_file = s->options.tls_key_file,
        .handle = api_handle,
        .gone = api_gone,
        .refused = api_refused,
        .arg = &s->api,
    };
    bool tls = options.tls_cert_file, v6;
    int code = net_address_parse(address, host, &options.port, err);

    if (code)
        return code;
    if (!s->options.keys && !server_is_loopback(host))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%s can be reached from other machines, so API keys are needed there",
                         address);
    options.host = host;
    code = net_server_create(&s->listeners[s->listener_count], s->options.loop, &options, err);
    if (code == CODE_UNAVAILABLE)
        return error_set(err, code, "%s; stop what listens there, or choose another address",
                         err->message);
    if (code)
        return code;
    v6 = strchr(host, ':');
    snprintf(text, SERVER_ADDRESS_MAX, v6 ? "[%s]:%u" : "%s:%u", host,
             net_server_port(s->listeners[s->listener_count]));
    s->listener_count++;
    log_line(s->options.log, LOG_INFO, "listening", LOG_STR("address", text),
             LOG_STR("scheme", tls ? "https" : "http"));
    if (!tls && !server_is_loopback(host))
        log_line(s->options.log, LOG_WARN,
                 "API keys and payloads cross the network in clear text here: without a proxy that "
                 "encrypts, give a certificate (--tls-cert, --tls-key)",
                 LOG_STR("address", text));
    return CODE_OK;
}

bool server_control_path(const char *store, char path[PATH_MAX])
{
    size_t len;

    if (strncmp(store, "sqlite:", 7) != 0 || !realpath(store + 7, path))
        return false;
    len = strlen(path);
    if (len + sizeof ".sock" > PATH_MAX)
        return false;
    memcpy(path + len, ".sock", sizeof ".sock");
    return true;
}

/* The store is ours. */
static void listen_for_control(struct server *s)
{
    char path[PATH_MAX];
    struct net_server_options options = {.host = path,
                                         .max_body = SERVER_BODY_MAX,
                                         .handle = api_handle_control,
                                         .refused = api_refused,
                                         .gone = api_gone,
                                         .arg = &s->api};
    struct error err;

    if (!server_control_path(s->options.store, path))
        return;
    if (net_server_create(&s->control, s->options.loop, &options, &err))
        log_line(s->options.log, LOG_WARN, "operators' commands cannot reach this process",
                 LOG_STR("error", err.message));
}

static void take_notes(void *arg, const struct orchestrator_note *notes, size_t count)
{
    struct server *s = arg;
    struct error err;

    if (credentials_load(&s->credentials, notes, count, &err))
        log_line(s->options.log, LOG_ERROR, "some keys of the store cannot be used",
                 LOG_STR("error", err.message));
}

static int check_endpoint(const void *policy, struct slice endpoint, struct error *err)
{
    return policy_check(policy, endpoint, err);
}

static int start_orchestrator(struct server *s, struct error *err)
{
    struct orchestrator_options options = {
        .threads = !s->options.store_inline,
        .clock = clock_system(),
        .invoker = s->options.invoker ? s->options.invoker : server_invoker(s),
        .engine = s->options.engine,
        .retention_ns = s->options.retention_ns ? s->options.retention_ns : RETENTION_NS,
        .retention_bytes =
            s->options.retention_bytes ? s->options.retention_bytes : RETENTION_BYTES,
        .check_endpoint = check_endpoint,
        .check_endpoint_arg = &s->policy,
        .log = s->options.log,
        .notes = take_notes,
        .notes_arg = s,
        .wake = wake,
        .wake_arg = s,
    };
    struct store_options store = {.busy_timeout_ms = s->options.store_wait_ms};
    int code = store_open(&options.store, s->options.store, &store, err);

    if (code)
        return code;
    return orchestrator_create(&s->orchestrator, &options, err);
}

/* May strangers from other machines have calls delivered from here? */
static bool is_exposed(const struct server_options *o)
{
    char host[256];
    uint16_t port;

    for (size_t i = 0; i < o->listen_count; i++) {
        if (net_address_parse(o->listen[i], host, &port, NULL) == CODE_OK &&
            !server_is_loopback(host))
            return true;
    }
    return false;
}

static int start(struct server *s, struct error *err)
{
    struct http_invoker_options invoker = {.loop = s->options.loop,
                                           .clock = clock_system(),
                                           .log = s->options.log,
                                           .changed = changed,
                                           .arg = s,
                                           .timeout_ms = s->options.run_timeout_ms,
                                           .ca_file = s->options.ca_file,
                                           .lambda_url = s->options.lambda_url,
                                           .credentials = &s->credentials,
                                           .bridges = s->options.bridges,
                                           .bridge_count = s->options.bridge_count,
                                           .policy = &s->policy,
                                           .body_max = SERVER_BODY_MAX,
                                           /* what waits at sessions counts as in flight */
                                           .waiting_max = (s->options.engine.runs_max + 3) / 4};
    int code;

    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "eventfd: %s", strerror(errno));
    s->step = net_timer_create(s->options.loop, step, s);
    s->limit = net_timer_create(s->options.loop, stage_over, s);
    s->watch = net_watch_create(s->options.loop, s->wake_fd, woken, s);
    if (!s->step || !s->limit || !s->watch)
        return error_memory(err);
    code = http_invoker_create(&s->invoker, &invoker, err);
    if (code == CODE_OK)
        s->api.sessions = http_invoker_sessions(s->invoker);
    if (code == CODE_OK)
        code = recent_create(&s->recent, clock_now(clock_system()), err);
    s->api.recent = s->recent;
    if (code == CODE_OK)
        code = start_orchestrator(s, err);
    if (code == CODE_OK)
        orchestrator_observe(s->orchestrator, recent_observer(s->recent));
    if (code == CODE_OK)
        code = api_hold(&s->api, s->options.loop, err);
    s->api.orchestrator = s->orchestrator;
    for (size_t i = 0; code == CODE_OK && i < s->options.listen_count; i++)
        code = listen_on(s, s->options.listen[i], err);
    if (code == CODE_OK)
        listen_for_control(s);
    return code;
}

int server_create(struct server **out, const struct server_options *options, struct error *err)
{
    const char *path;
    struct server *s;
    uint64_t seed;
    int code;

    if ((options->listen_count == 0 && !options->invoker) ||
        options->listen_count > SERVER_LISTEN_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "a server listens on 1 to %d addresses",
                         SERVER_LISTEN_MAX);
    s = calloc(1, sizeof *s);
    if (!s)
        return error_memory(err);
    s->wake_fd = -1;
    s->options = *options;
    if (options->policy)
        s->policy = *options->policy;
    s->policy.guarded = is_exposed(options);
    credentials_init(&s->credentials);
    s->api = (struct api){.keys = options->keys,
                          .credentials = &s->credentials,
                          .metrics_public = options->metrics_public,
                          .body_max = SERVER_BODY_MAX,
                          .log = options->log,
                          .changed = changed,
                          .arg = s};
    path = strchr(options->store, ':');
    s->api.store_path = path && strchr(path, '/') ? path + 1 : "";
    rand_system(&seed, sizeof seed);
    rand_seed(&s->api.rand, seed);
    code = start(s, err);
    if (code) {
        server_destroy(s);
        return code;
    }
    changed(s);
    *out = s;
    return CODE_OK;
}

struct orchestrator *server_orchestrator(const struct server *s)
{
    return s->orchestrator;
}

void server_changed(struct server *s)
{
    changed(s);
}

struct invoker *server_invoker(const struct server *s)
{
    return http_invoker_vtable(s->invoker);
}

const char *server_address(const struct server *s, size_t i)
{
    return i < s->options.listen_count ? s->addresses[i] : NULL;
}

bool server_reached(const struct server *s, size_t i)
{
    return http_invoker_reached(s->invoker, i);
}

bool server_made_key(const struct server *s)
{
    return s->made_key;
}

void server_stats(const struct server *s, struct orchestrator_stats *stats)
{
    if (s->orchestrator)
        orchestrator_stats(s->orchestrator, stats);
    else
        *stats = (struct orchestrator_stats){0};
}
