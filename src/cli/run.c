// SPDX-License-Identifier: Apache-2.0
/*
 * `dispatch run`: a command beside an orchestrator of its own. The server runs in this process, on
 * the session's store, with its API on a free port of the loopback and a key that only the command
 * is told; runs go straight to the address where the command will listen. Or, with the URL of a
 * bridge, beside one elsewhere: a fetcher takes the server's place, and nothing is kept here.
 *
 * One loop: the server's, the command's output, its end, and signals. The command starts when the
 * calls are loaded; when it ends, the server stops, and what it leaves unfinished is there when the
 * session is resumed.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/state_dir.h"
#include "cli/child.h"
#include "cli/cli.h"
#include "cli/console.h"
#include "cli/lines.h"
#include "cli/notice.h"
#include "cli/origin.h"
#include "cli/session.h"
#include "server/fetcher.h"
#include "server/probe.h"
#include "server/server.h"

#define DEFAULT_ENDPOINT "127.0.0.1:8000"
#define DIAL_MS          1000
#define READ_BYTES       65536
/* How much is read of what a command has left behind in a pipe. */
#define LAST_READS  64
#define MESSAGE_MAX ((size_t)1 << 20)

struct settings {
    char session[SESSION_MAX + 1];
    char endpoint[SERVER_ADDRESS_MAX], host[256];
    uint16_t port;
    const char *bridge;   /* of an orchestrator elsewhere; NULL: our own */
    struct origin origin; /* the key to it */
    const char *store;    /* as given; NULL: the session's own */
    char default_store[PATH_MAX + 16];
    bool verbose;
    char **argv; /* the command, ended by NULL */
};

struct stream {
    int fd; /* -1: at its end */
    struct net_watch *watch;
    struct lines lines;
};

struct running {
    const struct settings *settings;
    struct console console;
    struct rlimit descriptors; /* as they were */
    mode_t umask;
    char key[23]; /* to our own server */
    struct keys keys;
    struct net_loop *loop;
    struct server *server;   /* this, */
    struct fetcher *fetcher; /* or that */
    struct net_signal *signals[4];
    struct child child; /* pid 0: not started, or over */
    struct stream streams[2];
    bool started, signalled, reached;
    int wait_status;
    struct error failure; /* code 0: the command was started */
};

/* --- options --------------------------------------------------------------------------------- */

enum { SESSION, ENDPOINT, STORE, BRIDGE, VERBOSE };

static const struct cli_option options[] = {
    [SESSION] = {"session", "ID",
                 "the session to begin or to resume: its unfinished calls go on\n"
                 "(default: a new one)"},
    [ENDPOINT] = {"endpoint", "HOST:PORT",
                  "where the command listens for its functions to be run\n"
                  "(default: " DEFAULT_ENDPOINT ")"},
    [STORE] = {"store", "URL",
               "where calls are kept: sqlite:PATH, or memory: to forget them at the end\n"
               "(default: sessions/ID.db in $XDG_STATE_HOME/dispatch, which is\n"
               "~/.local/state/dispatch unless set)"},
    [BRIDGE] = {"bridge-url", "URL",
                "serve the session for the orchestrator there, as any\n"
                "`dispatch server` is, instead of one of its own\n"
                "(default: $DISPATCH_BRIDGE_URL, if it is set)"},
    [VERBOSE] = {"verbose", NULL, "log what happens to each call"},
    {0},
};

static const struct cli_letter letters[] = {{'s', "session"}, {'e', "endpoint"}, {0}};

static const char details[] =
    "The command gets an orchestrator to itself, and these variables, which an\n"
    "application of any Dispatch SDK reads:\n"
    "  DISPATCH_API_URL        the API of that orchestrator\n"
    "  DISPATCH_API_KEY        the key to it, made for this run\n"
    "  DISPATCH_ENDPOINT_ADDR  where to listen: what --endpoint says\n"
    "  DISPATCH_ENDPOINT_URL   where its calls are to go: bridge://SESSION, which is\n"
    "                          that same address\n"
    "  DISPATCH_REPLAY         16, unless it is set: one resume in 16 of a C function is\n"
    "                          a replay, so that code which cannot be replayed is found\n"
    "DISPATCH_STORE and DISPATCH_VERIFICATION_KEY are taken away: nothing is signed,\n"
    "and nothing is embedded, unless a C program asks for it by an option, or by\n"
    "dispatch_embedded_open. All other variables and stdin are passed on.\n"
    "\n"
    "With --bridge-url, the calls are kept by the orchestrator at that URL, and those\n"
    "of the session are fetched from it; any number of such commands may serve it at\n"
    "once. The application is given the same key, and that URL for the API, unless\n"
    "DISPATCH_API_URL is set.\n"
    "\n"
    "On a terminal, its calls are shown as they run: tab goes on to the logs, s and a\n"
    "number to one call, q quits (docs/view.md). Else, or with TERM=dumb, what happens\n"
    "is logged to stderr, and the output of the command is passed on there, line by\n"
    "line, behind its name.\n"
    "\n"
    "Examples:\n"
    "  Run an application, and then once more, going on where it ended:\n"
    "    dispatch run --session mine -- ./app\n"
    "    dispatch run --session mine -- ./app\n"
    "  Run one that listens on another port:\n"
    "    dispatch run --endpoint 127.0.0.1:9000 -- python3 app.py\n"
    "  Run one for a server that cannot reach this machine:\n"
    "    DISPATCH_API_KEY=... dispatch run --bridge-url https://dispatch.example \\\n"
    "        --session mine -- ./app\n"
    "\n"
    "Signals: the first SIGHUP, SIGINT or SIGTERM is passed on to the command and the\n"
    "processes of its group, any later one ends them by SIGKILL.\n"
    "\n"
    "Exit status: 0 the command ended with 0, or was asked to end by a signal;\n"
    "1 it failed, could not be started, or ended before it ever listened; 2 the\n"
    "command line is wrong.\n";

static int read_session(struct settings *s, const char *value)
{
    if (!session_valid(value))
        return cli_usage(&cli_run,
                         "--session %s: it is made of at most %d letters, digits, '.', '_' and "
                         "'-', not first of '.' or '-'",
                         value, SESSION_MAX);
    memcpy(s->session, value, strlen(value) + 1);
    return CLI_OK;
}

static int read_endpoint(struct settings *s, const char *value)
{
    struct error err;

    if (net_address_parse(value, s->host, &s->port, &err))
        return cli_usage(&cli_run, "--endpoint %s: %s", value, err.message);
    if (s->port == 0)
        return cli_usage(&cli_run, "--endpoint %s: the command has to be told a port to listen on",
                         value);
    if (!s->host[0])
        memcpy(s->host, "127.0.0.1", sizeof "127.0.0.1");
    snprintf(s->endpoint, sizeof s->endpoint, strchr(s->host, ':') ? "[%s]:%u" : "%s:%u", s->host,
             s->port);
    return CLI_OK;
}

static int read_option(void *to, const struct cli_arg *arg)
{
    struct settings *s = to;

    if (!arg->option) { /* the command begins: the rest is its own */
        s->argv = arg->rest;
        return CLI_REST;
    }
    switch (arg->option - options) {
    case SESSION:
        return read_session(s, arg->value);
    case ENDPOINT:
        return read_endpoint(s, arg->value);
    case STORE:
        s->store = arg->value;
        return CLI_OK;
    case BRIDGE:
        s->bridge = arg->value;
        return CLI_OK;
    case VERBOSE:
        s->verbose = true;
        return CLI_OK;
    default:
        return cli_usage(&cli_run, "--%s is not read", arg->option->name);
    }
}

/* With the URL of a bridge, there is a key to it, too. A key alone is for other commands. */
static int complete_bridge(struct settings *s)
{
    const char *url = getenv("DISPATCH_BRIDGE_URL");
    struct error err;

    if (!s->bridge && url && *url)
        s->bridge = url;
    if (!s->bridge)
        return CLI_OK;
    if (origin_choose(&s->origin, cli_persistent.api_key, &err))
        return cli_fail("%s", err.message);
    return s->store ? cli_usage(&cli_run, "--store: the calls are kept at %s", s->bridge) : CLI_OK;
}

static int complete(struct settings *s)
{
    char name[SESSION_MAX + 16];
    struct error err;
    int status;

    if (!s->argv)
        return cli_usage(&cli_run, "there is no command to run: dispatch run -- COMMAND...");
    if (!s->session[0])
        session_make(s->session);
    status = complete_bridge(s);
    if (status || s->bridge || s->store)
        return status;
    snprintf(name, sizeof name, "sessions/%s.db", s->session);
    if (state_dir_store(s->default_store, sizeof s->default_store, name, &err))
        return cli_fail("%s", err.message);
    return CLI_OK;
}

/* --- the command's output -------------------------------------------------------------------- */

static void stream_close(struct stream *stream)
{
    if (stream->fd < 0)
        return;
    net_watch_destroy(stream->watch);
    stream->watch = NULL;
    close(stream->fd);
    stream->fd = -1;
    lines_end(&stream->lines);
}

/* False: there is no more for now. */
static bool stream_read(struct stream *stream)
{
    char data[READ_BYTES];
    ssize_t n = read(stream->fd, data, sizeof data);

    if (n > 0)
        lines_feed(&stream->lines, data, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        stream_close(stream);
    return n > 0;
}

static void on_output(void *arg)
{
    stream_read(arg);
}

/* What is in the pipe when the command is over; others may still hold its other end. */
static void stream_drain(struct stream *stream)
{
    for (int i = 0; i < LAST_READS && stream->fd >= 0 && stream_read(stream); i++)
        ;
    stream_close(stream);
}

static bool stream_open(struct running *r, struct stream *stream, int fd)
{
    console_take_lines(&r->console, &stream->lines);
    stream->fd = fd;
    stream->watch = net_watch_create(r->loop, fd, on_output, stream);
    return stream->watch;
}

/* --- the command's life ---------------------------------------------------------------------- */

static int start_child(struct running *r, struct error *err)
{
    static const char *const unset[] = {"DISPATCH_VERIFICATION_KEY", "DISPATCH_STORE", NULL};
    const struct settings *s = r->settings;
    const char *api = getenv("DISPATCH_API_URL");
    char key[1100], url[4096], addr[SERVER_ADDRESS_MAX + 64], bridge[128];
    static const char replay[] = "DISPATCH_REPLAY=16";
    const char *const set[] = {key, url, addr, bridge, getenv("DISPATCH_REPLAY") ? NULL : replay,
                               NULL};
    struct child_options child = {
        .argv = r->settings->argv, .umask = r->umask, .descriptors = &r->descriptors};
    char **envp;
    int code;

    if (!s->bridge)
        snprintf(url, sizeof url, "DISPATCH_API_URL=http://%s", server_address(r->server, 0));
    else
        snprintf(url, sizeof url, "DISPATCH_API_URL=%s", api && *api ? api : s->bridge);
    snprintf(key, sizeof key, "DISPATCH_API_KEY=%s", s->bridge ? s->origin.key : r->key);
    snprintf(addr, sizeof addr, "DISPATCH_ENDPOINT_ADDR=%s", r->settings->endpoint);
    snprintf(bridge, sizeof bridge, "DISPATCH_ENDPOINT_URL=bridge://%s", r->settings->session);
    envp = child_environment(environ, unset, set);
    if (!envp)
        return error_memory(err);
    child.envp = envp;
    code = child_start(&r->child, &child, err);
    free(envp);
    return code;
}

static void stop(struct running *r)
{
    if (r->fetcher)
        fetcher_stop(r->fetcher);
    else
        server_stop(r->server);
}

static void start(struct running *r)
{
    bool open;

    if (r->signalled)
        return;
    if (start_child(r, &r->failure)) {
        stop(r);
        return;
    }
    r->started = true;
    open = stream_open(r, &r->streams[0], r->child.out);
    open = stream_open(r, &r->streams[1], r->child.err) && open;
    if (!open) {
        error_memory(&r->failure);
        kill(-r->child.pid, SIGKILL);
    }
}

/* The calls are loaded. */
static void ready(void *arg, const struct server *server)
{
    (void)server;
    start(arg);
}

static void on_child(void *arg, int signum)
{
    struct running *r = arg;
    siginfo_t info = {0};

    (void)signum;
    if (r->child.pid == 0 ||
        waitid(P_PID, (id_t)r->child.pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0)
        return;
    /* What it started does not outlive it. As long as it is not reaped, its group is no other's. */
    kill(-r->child.pid, SIGTERM);
    waitpid(r->child.pid, &r->wait_status, 0);
    r->child.pid = 0;
    for (int i = 0; i < 2; i++)
        stream_drain(&r->streams[i]);
    stop(r);
}

static void on_signal(void *arg, int signum)
{
    struct running *r = arg;

    if (r->child.pid)
        kill(-r->child.pid, r->signalled ? SIGKILL : signum);
    else
        stop(r);
    r->signalled = true;
}

static void stopped(void *arg)
{
    struct running *r = arg;

    net_loop_stop(r->loop);
}

/* --- around it ------------------------------------------------------------------------------- */

static bool catch_signals(struct running *r)
{
    static const int caught[] = {SIGHUP, SIGINT, SIGTERM};

    for (int i = 0; i < 3; i++)
        r->signals[i] = net_signal_create(r->loop, caught[i], on_signal, r);
    r->signals[3] = net_signal_create(r->loop, SIGCHLD, on_child, r);
    return r->signals[0] && r->signals[1] && r->signals[2] && r->signals[3];
}

static const char *store_of(const struct settings *s)
{
    return s->store ? s->store : s->default_store;
}

static int open_server(struct running *r, struct error *err)
{
    static const char *const listen[] = {"127.0.0.1:0"};
    const struct settings *s = r->settings;
    const struct invoker_bridge bridge = {.session = s->session, .host = s->host, .port = s->port};
    const struct server_options server_options = {
        .loop = r->loop,
        .listen = listen,
        .listen_count = 1,
        .store = store_of(s),
        .keys = &r->keys,
        .bridges = &bridge,
        .bridge_count = 1,
        .log = &r->console.server_log,
        .ready = ready,
        .stopped = stopped,
        .arg = r,
    };
    int code;

    code = server_create(&r->server, &server_options, err);
    if (code == CODE_OK)
        orchestrator_observe(server_orchestrator(r->server), &r->console.observer);
    return code;
}

static int open_fetcher(struct running *r, struct error *err)
{
    const struct settings *s = r->settings;
    const struct fetcher_options fetcher_options = {
        .loop = r->loop,
        .log = &r->console.server_log,
        .observer = &r->console.observer,
        .url = s->bridge,
        .host_header = getenv("DISPATCH_BRIDGE_HOST_HEADER"),
        .session = s->session,
        .key = s->origin.key,
        .key_hint = s->origin.hint,
        .host = s->host,
        .port = s->port,
        .stopped = stopped,
        .arg = r,
    };

    return fetcher_create(&r->fetcher, &fetcher_options, err);
}

static int serve(struct running *r, struct error *err)
{
    int code = r->settings->bridge ? open_fetcher(r, err) : open_server(r, err);

    if (code)
        return code;
    if (!catch_signals(r)) {
        code = error_memory(err);
    } else {
        console_open(&r->console, r->loop);
        if (r->fetcher)
            start(r);
        net_loop_run(r->loop);
        console_close(&r->console);
    }
    r->reached = r->fetcher ? fetcher_reached(r->fetcher) : server_reached(r->server, 0);
    for (int i = 0; i < 4; i++)
        net_signal_destroy(r->signals[i]);
    fetcher_destroy(r->fetcher);
    server_destroy(r->server);
    return code;
}

static void say_start(const struct running *r)
{
    const struct settings *s = r->settings;
    char text[SESSION_MAX + 128];

    snprintf(text, sizeof text,
             "Starting Dispatch session: %s\n\n"
             "Run 'dispatch help run' to learn about Dispatch sessions.",
             s->session);
    if (!s->verbose && !r->console.viewed)
        notice_print(text);
}

static void say_resume(const struct settings *s)
{
    struct buf text;

    buf_init(&text, MESSAGE_MAX);
    buf_printf(&text, "To resume this Dispatch session:\n\ndispatch run --session %s", s->session);
    if (strcmp(s->endpoint, DEFAULT_ENDPOINT) != 0)
        buf_printf(&text, " --endpoint %s", s->endpoint);
    if (s->store || s->bridge) {
        buf_append_str(&text, s->store ? " --store " : " --bridge-url ");
        notice_quote(&text, s->store ? s->store : s->bridge);
    }
    buf_append_str(&text, " -- ");
    notice_command(&text, s->argv);
    notice_print(buf_cstr(&text));
    buf_free(&text);
}

/* How the command failed; false: it did not. */
static bool judge(const struct running *r, struct error *why)
{
    if (r->failure.code)
        *why = r->failure;
    else if (!r->started)
        return false;
    else if (WIFSIGNALED(r->wait_status))
        error_set(why, CODE_UNKNOWN, "signal: %s", strsignal(WTERMSIG(r->wait_status)));
    else if (WEXITSTATUS(r->wait_status))
        error_set(why, CODE_UNKNOWN, "exit status %d", WEXITSTATUS(r->wait_status));
    else
        return false;
    return true;
}

/* Says how it went; the exit status. */
static int conclude(struct running *r)
{
    const struct settings *s = r->settings;
    struct buf command;
    struct error why;
    int status = CLI_OK;

    if (r->failure.code || !r->signalled) /* nobody has seen enough */
        console_leave_view(&r->console);
    buf_init(&command, MESSAGE_MAX);
    notice_command(&command, s->argv);
    if (r->signalled && !r->failure.code)
        status = CLI_OK;
    else if (judge(r, &why))
        status = cli_fail("failed to invoke command '%s': %s", buf_cstr(&command), why.message);
    else if (!r->reached)
        status = cli_fail("command '%s' exited unexpectedly: it never listened on %s, where its "
                          "functions are run (see --endpoint)%s",
                          buf_cstr(&command), s->endpoint,
                          s->bridge ? "; or the orchestrator was never reached" : "");
    if (r->reached && (r->signalled || status) && !s->verbose)
        say_resume(s);
    buf_free(&command);
    return status;
}

/* CLI_OK: nobody listens where the command is going to. */
static int check_endpoint(const struct settings *s)
{
    struct probe *probe;
    struct error err;
    bool taken;

    if (probe_create(&probe, s->host, s->port, &err))
        return cli_usage(&cli_run, "--endpoint %s: %s", s->endpoint, err.message);
    taken = probe_wait(probe, DIAL_MS) == PROBE_OPEN;
    probe_destroy(probe);
    return taken ? cli_fail("cannot start local application on address that's already in use: %s",
                            s->endpoint)
                 : CLI_OK;
}

/* A connection is a descriptor, and the usual 1,024 are few; the command gets what we got. */
static void take_limits(struct running *r)
{
    struct rlimit more;

    getrlimit(RLIMIT_NOFILE, &r->descriptors);
    more = r->descriptors;
    more.rlim_cur = more.rlim_max;
    setrlimit(RLIMIT_NOFILE, &more);
    r->umask = umask(077); /* what is in the store is for its owner to read */
}

static int run_command(struct running *r)
{
    const struct settings *s = r->settings;
    struct error err;
    int code;

    log_line(&r->console.log, LOG_INFO, "starting session", LOG_STR("session_id", s->session));
    log_line(&r->console.server_log, LOG_INFO, "calls are kept",
             LOG_STR("at", s->bridge ? s->bridge : store_of(s)));
    code = net_loop_create(&r->loop, &err);
    if (code == CODE_OK) {
        code = serve(r, &err);
        net_loop_destroy(r->loop);
    }
    if (code)
        console_leave_view(&r->console);
    if (code == CODE_INVALID_ARGUMENT)
        return cli_usage(&cli_run, "%s", err.message);
    if (code)
        return cli_fail("cannot open session %s: %s", s->session, err.message);
    return conclude(r);
}

static void on_quit(void *arg)
{
    on_signal(arg, SIGINT);
}

static bool is_reached(void *arg)
{
    const struct running *r = arg;

    if (r->fetcher)
        return fetcher_reached(r->fetcher);
    return r->server && server_reached(r->server, 0);
}

static void open_console(struct running *r)
{
    const struct console_hooks hooks = {.quit = on_quit, .reached = is_reached, .arg = r};
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s", r->settings->argv[0]);
    console_init(&r->console, basename(path), r->settings->verbose, &hooks);
}

static int run_session(const struct settings *s)
{
    struct running r = {.settings = s, .streams = {{.fd = -1}, {.fd = -1}}};
    int status = check_endpoint(s);

    if (status)
        return status;
    open_console(&r);
    take_limits(&r);
    session_make(r.key);
    keys_init(&r.keys);
    if (keys_add(&r.keys, slice_str(r.key), &r.failure) == CODE_OK) {
        say_start(&r);
        status = run_command(&r);
    } else {
        status = cli_fail("%s", r.failure.message);
    }
    keys_free(&r.keys);
    console_free(&r.console);
    return status;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct settings s = {0};
    bool stop = false;
    int status = read_endpoint(&s, DEFAULT_ENDPOINT);

    if (status == CLI_OK)
        status = cli_read(self, argc, argv, read_option, &s, &stop);
    if (status == CLI_OK && !stop)
        status = complete(&s);
    return status || stop ? status : run_session(&s);
}

const struct cli_command cli_run = {
    .name = "run",
    .group = CLI_GROUP_DISPATCH,
    .usage = "[OPTION...] -- COMMAND [ARGUMENT...]",
    .summary = "run an application with an orchestrator of its own, or for another",
    .details = details,
    .options = options,
    .letters = letters,
    .run = run,
};
