// SPDX-License-Identifier: Apache-2.0
/*
 * `dispatch server`: reads the options, puts a server on an event loop, and runs until a signal
 * asks it to stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/state_dir.h"
#include "cli/cli.h"
#include "cli/notify.h"
#include "server/server.h"

#define DEFAULT_LISTEN  "127.0.0.1:3477"
#define DEFAULT_GRACE   10000
#define KEY_SOURCES_MAX 64
#define RUNS_LIMIT      1000000

typedef int add_keys(struct keys *keys, const char *value, struct error *err);

struct key_source {
    add_keys *add;
    const char *value;
};

struct settings {
    const char *listen[SERVER_LISTEN_MAX];
    size_t listen_count;
    const char *tls_cert, *tls_key, *ca_file;
    const char *store;
    char default_store[PATH_MAX + 16];
    struct keys keys;
    struct key_source key_sources[KEY_SOURCES_MAX];
    size_t key_source_count;
    struct policy policy;
    bool insecure, metrics_public;
    uint32_t run_timeout_ms, grace_ms, retention_ms, runs_max;
    uint64_t retention_bytes;
    int ready_fd; /* -1: none */
    const char *ready_file;
    struct log log;
};

struct running {
    struct settings *settings;
    struct net_loop *loop;
    struct server *server;
    struct net_timer *watchdog; /* or NULL */
    uint64_t watchdog_ms;
    bool stopping;
    int status;
};

/* --- options --------------------------------------------------------------------------------- */

enum {
    LISTEN,
    STORE,
    API_KEY,
    API_KEY_FILE,
    INSECURE,
    TLS_CERT,
    TLS_KEY,
    CA_FILE,
    ALLOW_ENDPOINT,
    RUN_TIMEOUT,
    MAX_RUNS,
    GRACE,
    METRICS_PUBLIC,
    RETENTION_TIME,
    RETENTION_SIZE,
    LOG_FORMAT,
    LOG_LEVEL,
    READY_FD,
    READY_FILE,
};

static const struct cli_option options[] = {
    [LISTEN] = {"listen", "HOST:PORT",
                "where clients reach the API (default: " DEFAULT_LISTEN "); repeatable;\n"
                "port 0 takes any free one; without HOST: all addresses"},
    [STORE] = {"store", "URL",
               "where calls are kept: sqlite:PATH, or memory: to forget them at the end\n"
               "(default: dispatch.db in $XDG_STATE_HOME/dispatch, which is\n"
               "~/.local/state/dispatch unless set)"},
    [API_KEY] = {"api-key", "KEY",
                 "a key that clients may use; repeatable (other users of the machine can\n"
                 "see it in the list of processes: --api-key-file hides it)"},
    [API_KEY_FILE] = {"api-key-file", "FILE",
                      "keys that clients may use, one a line; repeatable; lines that begin\n"
                      "with # are skipped; SIGHUP has it read again"},
    [INSECURE] = {"insecure", NULL,
                  "take requests without a key; only on addresses of the loopback"},
    [TLS_CERT] = {"tls-cert", "FILE",
                  "speak TLS with this certificate: a PEM file, the chain behind it;\n"
                  "SIGHUP has it and the key read again"},
    [TLS_KEY] = {"tls-key", "FILE",
                 "the certificate's private key: a PEM file without a passphrase"},
    [CA_FILE] = {"ca-file", "FILE",
                 "for calls to https endpoints: trust the authorities in this PEM file\n"
                 "instead of the system's"},
    [ALLOW_ENDPOINT] = {"allow-endpoint", "PATTERN",
                        "call endpoints that match, and no others: [SCHEME://]HOST[:PORT], where\n"
                        "HOST is a name with '*' for any characters, or a range of addresses\n"
                        "such as 10.0.0.0/8; repeatable"},
    [RUN_TIMEOUT] = {"run-timeout", "TIME",
                     "how long an endpoint may take to answer one run (default: 60s)"},
    [MAX_RUNS] = {"max-runs", "N",
                  "how many runs may be in flight to all endpoints together (default: 4096)"},
    [GRACE] = {"grace", "TIME",
               "at the end, how long to wait for runs in flight (default: 10s); those\n"
               "that take longer are made again after the next start"},
    [METRICS_PUBLIC] = {"metrics-public", NULL, "GET /metrics asks nobody for a key"},
    [RETENTION_TIME] = {"retention-time", "TIME",
                        "how long a finished call is kept (default: 72h); at least 1h"},
    [RETENTION_SIZE] = {"retention-size", "SIZE",
                        "what finished calls may take together (default: 10GiB); past it the\n"
                        "oldest go earlier, but not within an hour: new calls are refused instead"},
    [LOG_FORMAT] = {"log-format", "FORMAT", "logfmt (default) or json; logs go to stderr"},
    [LOG_LEVEL] = {"log-level", "LEVEL", "debug, info (default), warn or error"},
    [READY_FD] = {"ready-fd", "N",
                  "write the addresses, one a line, to this descriptor once calls are taken,\n"
                  "and close it"},
    [READY_FILE] = {"ready-file", "PATH", "the same to a file, which appears complete"},
    {0},
};

static const char details[] =
    "Examples:\n"
    "  Try it on your machine, without keys:\n"
    "    dispatch server --insecure\n"
    "  Serve others, with keys from a file, calls kept in /var/lib/dispatch:\n"
    "    dispatch server --listen 0.0.0.0:3477 --api-key-file /etc/dispatch/keys \\\n"
    "        --store sqlite:/var/lib/dispatch/dispatch.db\n"
    "  The same over TLS, HTTP/1.1 and HTTP/2 (the certificate renewed: kill -HUP):\n"
    "    dispatch server --listen 0.0.0.0:3477 --api-key-file /etc/dispatch/keys \\\n"
    "        --tls-cert /etc/dispatch/cert.pem --tls-key /etc/dispatch/key.pem\n"
    "  Dispatch a call to an endpoint that listens on port 8000:\n"
    "    curl http://127.0.0.1:3477/dispatch.sdk.v1.DispatchService/Dispatch \\\n"
    "        -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\\n"
    "        -d '{\"calls\": [{\"endpoint\": \"http://127.0.0.1:8000\", \"function\": "
    "\"hello\"}]}'\n"
    "  See what became of it:\n"
    "    curl http://127.0.0.1:3477/dispatch.v1.CallService/Wait \\\n"
    "        -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\\n"
    "        -d '{\"dispatchId\": \"ID\", \"maxWait\": \"10s\"}'\n"
    "  (with --insecure, the Authorization header is not needed)\n"
    "\n"
    "  Make a key for an organization, before or while it runs (dispatch help keys):\n"
    "    dispatch keys create --org acme\n"
    "\n"
    "Health: GET /healthz answers 200 while the server is alive; GET /readyz answers\n"
    "200 when it takes calls, else 503 and why it does not. GET /metrics is for\n"
    "Prometheus, with a key of the organization default.\n"
    "\n"
    "Signals: SIGTERM and SIGINT stop it gracefully, a second one at once. Whatever\n"
    "was acknowledged survives either, and SIGKILL too. SIGHUP has the\n"
    "API keys' files read again, and the certificate and its key, for new connections;\n"
    "when they cannot be used, the log says why and those before stay. (Without either,\n"
    "and without a service manager, it ends the server.)\n"
    "\n"
    "As a service of systemd (Type=notify) it says when it is ready, reloads and stops,\n"
    "and answers to the watchdog; the unit dispatch.service is installed with it.\n"
    "\n"
    "Environment:\n"
    "  DISPATCH_API_KEYS   keys that clients may use, separated by commas\n"
    "  XDG_STATE_HOME      where the default store is\n"
    "  HTTP_PROXY, HTTPS_PROXY, NO_PROXY   how endpoints are reached (docs/proxies.md)\n"
    "  SSL_CERT_FILE       the authorities to trust when there is no --ca-file\n"
    "\n"
    "Exit status: 0 it was stopped by a signal, gracefully; 1 it could not start or\n"
    "go on; 2 the command line is wrong; 128 + N ended at once by signal N.\n";

static int read_listen(struct settings *s, const char *value)
{
    if (s->listen_count == SERVER_LISTEN_MAX)
        return cli_usage(&cli_server, "--listen is given more than %d times", SERVER_LISTEN_MAX);
    s->listen[s->listen_count++] = value;
    return CLI_OK;
}

static int read_time(const char *name, const char *value, uint32_t *ms)
{
    if (cli_duration(value, ms))
        return CLI_OK;
    return cli_usage(&cli_server, "--%s %s: a time is written like 250ms, 10s, 5m or 2h", name,
                     value);
}

static int read_run_timeout(struct settings *s, const char *value)
{
    int status = read_time("run-timeout", value, &s->run_timeout_ms);

    if (status == CLI_OK && s->run_timeout_ms == 0)
        return cli_usage(&cli_server, "--run-timeout %s: no run would have time to end", value);
    return status;
}

static int read_max_runs(struct settings *s, const char *value)
{
    unsigned long n = 0;
    char *end = NULL;

    if (*value >= '0' && *value <= '9')
        n = strtoul(value, &end, 10);
    if (!end || *end || n < 1 || n > RUNS_LIMIT)
        return cli_usage(&cli_server, "--max-runs %s: it is a number from 1 to %d", value,
                         RUNS_LIMIT);
    s->runs_max = (uint32_t)n;
    return CLI_OK;
}

static int read_retention_time(struct settings *s, const char *value)
{
    int status = read_time("retention-time", value, &s->retention_ms);

    if (status == CLI_OK && s->retention_ms < 3600000)
        return cli_usage(&cli_server, "--retention-time %s: results are kept for an hour at least",
                         value);
    return status;
}

static int read_retention_size(struct settings *s, const char *value)
{
    if (cli_size(value, &s->retention_bytes) && s->retention_bytes)
        return CLI_OK;
    return cli_usage(&cli_server, "--retention-size %s: a size is written like 500MiB or 10GiB",
                     value);
}

static int read_log_format(struct settings *s, const char *value)
{
    if (strcmp(value, "logfmt") == 0)
        s->log.format = LOG_LOGFMT;
    else if (strcmp(value, "json") == 0)
        s->log.format = LOG_JSON;
    else
        return cli_usage(&cli_server, "--log-format %s: it is logfmt or json", value);
    return CLI_OK;
}

static int read_log_level(struct settings *s, const char *value)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value, names[i]) == 0) {
            s->log.level = (enum log_level)i;
            return CLI_OK;
        }
    }
    return cli_usage(&cli_server, "--log-level %s: it is debug, info, warn or error", value);
}

static int read_ready_fd(struct settings *s, const char *value)
{
    char *end;
    long fd = strtol(value, &end, 10);

    if (end == value || *end || fd < 0 || fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0)
        return cli_usage(&cli_server, "--ready-fd %s: it is not an open descriptor", value);
    s->ready_fd = (int)fd;
    return CLI_OK;
}

static int add_key(struct keys *keys, const char *value, struct error *err)
{
    return keys_add(keys, slice_str(value), err);
}

/* Remembered, too, for when they are read again. */
static int read_keys(add_keys *add, struct settings *s, const char *from, const char *value)
{
    struct error err;

    if (s->key_source_count == KEY_SOURCES_MAX)
        return cli_usage(&cli_server, "%s: there are more than %d places with keys", from,
                         KEY_SOURCES_MAX);
    if (add(&s->keys, value, &err))
        return cli_usage(&cli_server, "%s: %s", from, err.message);
    s->key_sources[s->key_source_count++] = (struct key_source){add, value};
    return CLI_OK;
}

static int read_allow_endpoint(struct settings *s, const char *value)
{
    struct error err;

    return policy_add(&s->policy, value, &err)
               ? cli_usage(&cli_server, "--allow-endpoint %s", err.message)
               : CLI_OK;
}

static int read_option(void *to, const struct cli_arg *arg)
{
    struct settings *s = to;

    if (!arg->option)
        return cli_usage(&cli_server, "server takes options only: %s", arg->value);
    switch (arg->option - options) {
    case LISTEN:
        return read_listen(s, arg->value);
    case STORE:
        s->store = arg->value;
        return CLI_OK;
    case API_KEY:
        return read_keys(add_key, s, "--api-key", arg->value);
    case API_KEY_FILE:
        return read_keys(keys_add_file, s, "--api-key-file", arg->value);
    case INSECURE:
        s->insecure = true;
        return CLI_OK;
    case TLS_CERT:
        s->tls_cert = arg->value;
        return CLI_OK;
    case TLS_KEY:
        s->tls_key = arg->value;
        return CLI_OK;
    case CA_FILE:
        s->ca_file = arg->value;
        return CLI_OK;
    case ALLOW_ENDPOINT:
        return read_allow_endpoint(s, arg->value);
    case RUN_TIMEOUT:
        return read_run_timeout(s, arg->value);
    case MAX_RUNS:
        return read_max_runs(s, arg->value);
    case GRACE:
        return read_time("grace", arg->value, &s->grace_ms);
    case METRICS_PUBLIC:
        s->metrics_public = true;
        return CLI_OK;
    case RETENTION_TIME:
        return read_retention_time(s, arg->value);
    case RETENTION_SIZE:
        return read_retention_size(s, arg->value);
    case LOG_FORMAT:
        return read_log_format(s, arg->value);
    case LOG_LEVEL:
        return read_log_level(s, arg->value);
    case READY_FD:
        return read_ready_fd(s, arg->value);
    case READY_FILE:
        s->ready_file = arg->value;
        return CLI_OK;
    default:
        return cli_usage(&cli_server, "--%s is not read", arg->option->name);
    }
}

/* Defaults, and what only all options together tell. */
static int complete(struct settings *s)
{
    const char *keys = getenv("DISPATCH_API_KEYS");
    struct error err;
    int status;

    if (keys) {
        status = read_keys(keys_add_list, s, "DISPATCH_API_KEYS", keys);
        if (status)
            return status;
    }
    if (s->listen_count == 0)
        s->listen[s->listen_count++] = DEFAULT_LISTEN;
    if (s->keys.count == 0 && !s->insecure && s->store && strcmp(s->store, "memory:") == 0)
        return cli_usage(&cli_server,
                         "there is no API key for clients to use, and memory: keeps none: give one "
                         "with --api-key KEY, --api-key-file FILE\nor in DISPATCH_API_KEYS; or, "
                         "for this machine alone, take requests without one: --insecure");
    if (!s->tls_cert != !s->tls_key)
        return cli_usage(&cli_server, "%s is given without %s: TLS needs both",
                         s->tls_cert ? "--tls-cert" : "--tls-key",
                         s->tls_cert ? "--tls-key" : "--tls-cert");
    if (!s->store) {
        if (state_dir_store(s->default_store, sizeof s->default_store, "dispatch.db", &err))
            return cli_fail("%s", err.message);
        s->store = s->default_store;
    }
    return CLI_OK;
}

/* --- telling that it is ready ---------------------------------------------------------------- */

static bool write_addresses(int fd, const struct server *server)
{
    const char *address;
    bool written = true;

    for (size_t i = 0; written && (address = server_address(server, i)); i++)
        written = dprintf(fd, "%s\n", address) > 0;
    if (close(fd))
        written = false;
    return written;
}

/* Written beside it and renamed, so that whoever sees the file sees all of it. */
static bool write_ready_file(const char *path, const struct server *server)
{
    char beside[PATH_MAX];
    int fd;

    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) {
        errno = ENAMETOOLONG;
        return false;
    }
    fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd >= 0 && write_addresses(fd, server) && rename(beside, path) == 0;
}

static void tell_manager(struct running *r, const char *state)
{
    if (!notify_send(state))
        log_line(&r->settings->log, LOG_ERROR, "cannot tell the service manager",
                 LOG_STR("state", state), LOG_STR("error", strerror(errno)));
}

static void ready(void *arg, const struct server *server)
{
    struct running *r = arg;
    struct log log = r->settings->log;

    if (r->settings->ready_fd >= 0 && !write_addresses(r->settings->ready_fd, server))
        log_line(&log, LOG_ERROR, "cannot write to the ready descriptor",
                 LOG_NUM("fd", r->settings->ready_fd), LOG_STR("error", strerror(errno)));
    if (r->settings->ready_file && !write_ready_file(r->settings->ready_file, server))
        log_line(&log, LOG_ERROR, "cannot write the ready file",
                 LOG_STR("path", r->settings->ready_file), LOG_STR("error", strerror(errno)));
    tell_manager(r, "READY=1");
}

/* --- running --------------------------------------------------------------------------------- */

static void stopped(void *arg)
{
    struct running *r = arg;

    net_loop_stop(r->loop);
}

static void on_signal(void *arg, int signum)
{
    struct running *r = arg;

    if (r->stopping)
        _exit(128 + signum);
    r->stopping = true;
    tell_manager(r, "STOPPING=1");
    server_stop(r->server);
}

/* From where they came at the start; on failure those before stay. */
static int reload_keys(struct settings *s, struct error *err)
{
    struct keys keys;
    int code = CODE_OK;

    keys_init(&keys);
    for (size_t i = 0; i < s->key_source_count && !code; i++)
        code = s->key_sources[i].add(&keys, s->key_sources[i].value, err);
    if (code) {
        keys_free(&keys);
        return code;
    }
    keys_free(&s->keys);
    s->keys = keys;
    return CODE_OK;
}

static void on_hangup(void *arg, int signum)
{
    struct running *r = arg;
    struct timespec now;
    struct error err;
    char state[80];

    (void)signum;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    tell_manager(r, state);
    if (reload_keys(r->settings, &err))
        log_line(&r->settings->log, LOG_ERROR, "the keys before stay",
                 LOG_STR("error", err.message));
    else
        log_line(&r->settings->log, LOG_INFO, "keys read again",
                 LOG_NUM("keys", r->settings->keys.count));
    if (r->settings->tls_cert)
        server_reload_tls(r->server, &err); /* which logs how it went */
    tell_manager(r, "READY=1");
}

/* The loop turns. */
static void on_watchdog(void *arg)
{
    struct running *r = arg;

    tell_manager(r, "WATCHDOG=1");
    net_timer_set(r->watchdog, r->watchdog_ms);
}

/* Twice in the time after which we would be taken for hung. */
static bool start_watchdog(struct running *r)
{
    uint64_t us = notify_watchdog_us();

    if (!us)
        return true;
    r->watchdog_ms = us / 2000 ? us / 2000 : 1;
    r->watchdog = net_timer_create(r->loop, on_watchdog, r);
    if (r->watchdog)
        net_timer_set(r->watchdog, r->watchdog_ms);
    return r->watchdog;
}

/* A server that has nothing to read again, and nobody above it, ends with its terminal. */
static bool takes_hangup(const struct settings *s)
{
    return s->tls_cert || s->key_source_count || getenv("NOTIFY_SOCKET");
}

/* A connection is a descriptor, and the usual 1,024 are few. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int serve(struct running *r, struct error *err)
{
    struct log log = r->settings->log;
    struct server_options server_options = {
        .loop = r->loop,
        .listen = r->settings->listen,
        .listen_count = r->settings->listen_count,
        .tls_cert_file = r->settings->tls_cert,
        .tls_key_file = r->settings->tls_key,
        .ca_file = r->settings->ca_file,
        .store = r->settings->store,
        .keys = r->settings->insecure ? NULL : &r->settings->keys,
        .policy = &r->settings->policy,
        .metrics_public = r->settings->metrics_public,
        .run_timeout_ms = r->settings->run_timeout_ms,
        .grace_ms = r->settings->grace_ms,
        .engine = {.runs_max = r->settings->runs_max},
        .retention_ns = r->settings->retention_ms * NS_PER_MS,
        .retention_bytes = r->settings->retention_bytes,
        .log = &log,
        .ready = ready,
        .stopped = stopped,
        .arg = r,
    };
    struct net_signal *term, *interrupt, *hangup = NULL;
    bool reloads = takes_hangup(r->settings);
    int code = server_create(&r->server, &server_options, err);

    if (code)
        return code;
    term = net_signal_create(r->loop, SIGTERM, on_signal, r);
    interrupt = net_signal_create(r->loop, SIGINT, on_signal, r);
    if (reloads) /* else it ends the program, unless whoever started it had it ignored */
        hangup = net_signal_create(r->loop, SIGHUP, on_hangup, r);
    if (term && interrupt && (hangup || !reloads) && start_watchdog(r))
        net_loop_run(r->loop);
    else
        code = error_memory(err);
    net_signal_destroy(term);
    net_signal_destroy(interrupt);
    net_signal_destroy(hangup);
    net_timer_destroy(r->watchdog);
    server_destroy(r->server);
    return code;
}

static int run_server(struct settings *s)
{
    struct running r = {.settings = s};
    struct error err;
    int code;

    raise_descriptor_limit();
    umask(077); /* what is in the store is for its owner to read */
    if (s->ready_file)
        unlink(s->ready_file); /* of an earlier run: nobody is to take it for ours */
    if (s->insecure && s->keys.count)
        log_line(&s->log, LOG_WARN, "API keys are not asked for, as --insecure says so");
    if (!s->insecure && s->keys.count == 0)
        log_line(&s->log, LOG_INFO,
                 "clients need an API key that `dispatch keys create` has made, as none was given",
                 LOG_STR("store", s->store));
    log_line(&s->log, LOG_INFO, "starting", LOG_STR("version", DISPATCH_VERSION),
             LOG_STR("store", s->store), LOG_NUM("pid", getpid()));
    code = net_loop_create(&r.loop, &err);
    if (code == CODE_OK) {
        code = serve(&r, &err);
        net_loop_destroy(r.loop);
    }
    if (code == CODE_INVALID_ARGUMENT)
        return cli_usage(&cli_server, "%s", err.message);
    return code ? cli_fail("%s", err.message) : CLI_OK;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct settings s = {.ready_fd = -1,
                         .grace_ms = DEFAULT_GRACE,
                         .log = {.fd = STDERR_FILENO, .level = LOG_INFO, .format = LOG_LOGFMT}};
    bool stop = false;
    int status;

    keys_init(&s.keys);
    policy_init(&s.policy);
    status = cli_read(self, argc, argv, read_option, &s, &stop);
    if (status == CLI_OK && !stop)
        status = complete(&s);
    if (status == CLI_OK && !stop)
        status = run_server(&s);
    keys_free(&s.keys);
    policy_free(&s.policy);
    return status;
}

const struct cli_command cli_server = {
    .name = "server",
    .usage = "[OPTION...]",
    .summary = "run the orchestrator and its API",
    .details = details,
    .options = options,
    .run = run,
};
