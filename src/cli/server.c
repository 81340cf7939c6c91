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

#include "cli/cli.h"
#include "cli/notify.h"
#include "cli/server_settings.h"
#include "cli/server_welcome.h"
#include "server/server.h"

struct running {
    struct server_settings *settings;
    int argc;
    char **argv;
    struct log log;
    char key_file[PATH_MAX]; /* of the first key; "": there is none */
    struct net_loop *loop;
    struct server *server;
    struct net_timer *watchdog; /* or NULL */
    uint64_t watchdog_ms;
    bool stopping;
    int status;
};

static const char details[] =
    "Examples:\n"
    "  Try it on your machine (it makes a key, and shows what to try):\n"
    "    dispatch server\n"
    "  The same without keys:\n"
    "    dispatch server --insecure\n"
    "  Write down what it does, change that, and go on with it:\n"
    "    dispatch server --print-config >server.toml\n"
    "    dispatch server --config server.toml\n"
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
    "A server that was given no key, on a store that has none, makes one of the\n"
    "organization default, in the file STORE.key, which only its owner can read. The\n"
    "store has its hash. It is revoked as any other: dispatch keys revoke key-1.\n"
    "\n"
    "Health: GET /healthz answers 200 while the server is alive; GET /readyz answers\n"
    "200 when it takes calls, else 503 and why it does not. GET /metrics is for\n"
    "Prometheus, with a key of the organization default.\n"
    "\n"
    "Signals: SIGTERM and SIGINT stop it gracefully, a second one at once. Whatever\n"
    "was acknowledged survives either, and SIGKILL too. SIGHUP has the files of API\n"
    "keys, --config, the certificate with its key and --ca-file read again, the last\n"
    "two for new connections. Keys and what is logged change at once; the log names\n"
    "the options that count from the next start on. What cannot be used stays as it\n"
    "was, and the log says why. (Without any of these, and without a service manager,\n"
    "SIGHUP ends the server.)\n"
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
        log_line(&r->log, LOG_ERROR, "cannot tell the service manager", LOG_STR("state", state),
                 LOG_STR("error", strerror(errno)));
}

/* Somebody who began without a key, and one who looks on. */
static void welcome(struct running *r, const struct server *server)
{
    bool made = server_made_key(server), insecure = r->settings->insecure;
    const struct server_welcome welcome = {.address = server_address(server, 0),
                                           .key_file = insecure ? NULL : r->key_file,
                                           .tls = r->settings->tls_cert,
                                           .made = made};

    if (made || (isatty(STDOUT_FILENO) &&
                 (insecure || (!r->settings->keys.count && access(r->key_file, R_OK) == 0))))
        server_welcome(&welcome);
}

static void ready(void *arg, const struct server *server)
{
    struct running *r = arg;

    welcome(r, server);
    if (r->settings->ready_fd >= 0 && !write_addresses(r->settings->ready_fd, server))
        log_line(&r->log, LOG_ERROR, "cannot write to the ready descriptor",
                 LOG_NUM("fd", r->settings->ready_fd), LOG_STR("error", strerror(errno)));
    if (r->settings->ready_file && !write_ready_file(r->settings->ready_file, server))
        log_line(&r->log, LOG_ERROR, "cannot write the ready file",
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

static void say_stays(void *arg, const char *option)
{
    struct running *r = arg;

    log_line(&r->log, LOG_WARN, "this counts from the next start on", LOG_STR("option", option));
}

static void reload_settings(struct running *r)
{
    struct server_settings *s = r->settings;
    struct error err;

    if (server_settings_reload(s, r->argc, r->argv, say_stays, r, &err)) {
        log_line(&r->log, LOG_ERROR, "the options before stay", LOG_STR("error", err.message));
        return;
    }
    r->log.level = s->log_level;
    r->log.format = s->log_format;
    log_line(&r->log, LOG_INFO, "keys read again", LOG_NUM("keys", s->keys.count));
}

static void on_hangup(void *arg, int signum)
{
    struct running *r = arg;
    struct timespec now;
    char state[80];

    (void)signum;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    tell_manager(r, state);
    reload_settings(r);
    server_reload_tls(r->server); /* which logs how it went */
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
static bool takes_hangup(const struct server_settings *s)
{
    return s->tls_cert || s->ca_file || s->keys.count || s->key_files || s->config ||
           getenv("NOTIFY_SOCKET");
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
    const struct server_settings *s = r->settings;
    struct server_options server_options = {
        .loop = r->loop,
        .listen = s->listen,
        .listen_count = s->listen_count,
        .tls_cert_file = s->tls_cert,
        .tls_key_file = s->tls_key,
        .ca_file = s->ca_file,
        .lambda_url = s->lambda_url,
        .store = s->store,
        .keys = s->insecure ? NULL : &s->keys,
        .first_key_file = *r->key_file ? r->key_file : NULL,
        .policy = &s->policy,
        .metrics_public = s->metrics_public,
        .run_timeout_ms = s->run_timeout_ms,
        .grace_ms = s->grace_ms,
        .engine = {.runs_max = s->runs_max},
        .retention_ns = s->retention_ms * NS_PER_MS,
        .retention_bytes = s->retention_bytes,
        .log = &r->log,
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

/* Beside the file of the store, by its path as a shell elsewhere needs it. */
static void name_key_file(struct running *r)
{
    const char *store = r->settings->store;
    char directory[PATH_MAX] = "";
    int len;

    if (strncmp(store, "sqlite:", 7) != 0)
        return;
    store += 7;
    if (*store != '/' && !getcwd(directory, sizeof directory))
        return;
    len = snprintf(r->key_file, sizeof r->key_file, "%s%s%s.key", directory, *directory ? "/" : "",
                   store);
    if (len >= (int)sizeof r->key_file)
        r->key_file[0] = '\0';
}

static int run_server(struct server_settings *s, int argc, char **argv)
{
    struct running r = {
        .settings = s,
        .argc = argc,
        .argv = argv,
        .log = {.fd = STDERR_FILENO, .level = s->log_level, .format = s->log_format}};
    struct error err;
    int code;

    raise_descriptor_limit();
    umask(077); /* what is in the store is for its owner to read */
    name_key_file(&r);
    if (s->ready_file)
        unlink(s->ready_file); /* of an earlier run: nobody is to take it for ours */
    if (s->insecure && s->keys.count)
        log_line(&r.log, LOG_WARN, "API keys are not asked for, as --insecure says so");
    log_line(&r.log, LOG_INFO, "starting", LOG_STR("version", DISPATCH_VERSION),
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

static int print(const struct server_settings *s)
{
    struct error err;
    struct buf out;
    int status = CLI_OK;

    buf_init(&out, (size_t)16 << 20);
    if (server_settings_print(s, &out, &err))
        status = cli_fail("%s", err.message);
    else if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout))
        status = cli_fail("cannot write to standard output");
    buf_free(&out);
    return status;
}

static int act(struct server_settings *s, int argc, char **argv)
{
    struct error err;
    int code = server_settings_understand(s, &err);

    if (code == CODE_INVALID_ARGUMENT)
        return cli_usage(&cli_server, "%s", err.message);
    if (code)
        return cli_fail("%s", err.message);
    if (s->print)
        return print(s);
    if (s->ready_fd >= 0 && fcntl(s->ready_fd, F_GETFD) < 0)
        return cli_usage(&cli_server, "--ready-fd %d: it is not an open descriptor", s->ready_fd);
    return run_server(s, argc, argv);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct server_settings *s = malloc(sizeof *s);
    bool stop;
    int status;

    (void)self;
    if (!s)
        return cli_fail("out of memory");
    status = server_settings_collect(s, argc, argv, &stop);
    if (status == CLI_OK && !stop)
        status = act(s, argc, argv);
    server_settings_free(s);
    free(s);
    return status;
}

const struct cli_command cli_server = {
    .name = "server",
    .usage = "[OPTION...]",
    .summary = "run the orchestrator and its API",
    .details = details,
    .options = server_settings_options,
    .run = run,
};
