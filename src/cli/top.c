// SPDX-License-Identifier: Apache-2.0
/*
 * `dispatch top`: what an orchestrator is busy with. At a terminal the table is written over until
 * q is pressed; elsewhere it is printed once, or as often as was asked for.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/ask.h"
#include "cli/lines.h"
#include "cli/show.h"

#define OUTPUT_MAX  ((size_t)4 << 20)
#define INTERVAL_MS 2000
#define LIMIT       20
#define LIMIT_MAX   1000
#define CTRL_C      3

struct top {
    struct ask ask;
    bool json, repeat;
    bool screen; /* at a terminal */
    uint32_t interval_ms, limit;
    struct termios before;
};

static volatile sig_atomic_t interrupted;

/* --- the table -------------------------------------------------------------------------------- */

static void seconds_text(double seconds, char text[16])
{
    if (seconds <= 0)
        snprintf(text, 16, "-");
    else if (seconds < 0.001)
        snprintf(text, 16, "%.2f ms", seconds * 1e3);
    else if (seconds < 1)
        snprintf(text, 16, "%.3g ms", seconds * 1e3);
    else
        snprintf(text, 16, "%.3g s", seconds);
}

static void put_totals(const struct show *show, const Dispatch__V1__Totals *t)
{
    char p50[16], p99[16];

    seconds_text(t->commit_p50_seconds, p50);
    seconds_text(t->commit_p99_seconds, p99);
    buf_printf(show->out,
               "calls    %" PRIu64 " ready, %" PRIu64 " waiting, %" PRIu64 " running, %" PRIu64
               " suspended, %" PRIu64 " out of memory; %" PRIu64 " made, %" PRIu64 " ended\n",
               t->ready, t->waiting, t->running, t->suspended, t->out_of_memory, t->dispatched,
               t->finished);
    buf_printf(show->out,
               "memory   %" PRIu64 " of %" PRIu64 " calls (%.1f%%)      runs  %" PRIu64
               " of %" PRIu64 "\n",
               t->live, t->live_max,
               t->live_max ? 100.0 * (double)t->live / (double)t->live_max : 0, t->runs_in_flight,
               t->runs_max);
    buf_printf(show->out,
               "commits  %" PRIu64 ", %" PRIu64 " failed; half within %s, 99%% within %s\n",
               t->commits, t->commit_failures, p50, p99);
}

static void put_group(const struct show *show, const Dispatch__V1__Group *g, bool orgs)
{
    char p50[16], p99[16];
    size_t begin = show->out->len;

    seconds_text(g->run_p50_seconds, p50);
    seconds_text(g->run_p99_seconds, p99);
    show_text(show, slice_str(g->endpoint), 0);
    buf_printf(show->out, "%*s",
               show->out->len - begin < 36 ? (int)(36 - (show->out->len - begin)) : 1, "");
    if (orgs)
        buf_printf(show->out, " %-16s", g->organization);
    buf_printf(show->out, " %7.0f %9u %8u %9.1f %9.1f %9s %9s  %s\n", g->window, g->in_flight,
               g->ready, g->ended_per_second, g->failed_per_second, p50, p99,
               g->decreases ? status_name((enum status)g->decreased_by) : "");
}

static void put_groups(const struct show *show, const Dispatch__V1__StatsResponse *s)
{
    bool orgs = s->n_organizations > 1;

    if (s->n_groups == 0) {
        buf_append_str(show->out, "\nNo endpoint has been called yet.\n");
        return;
    }
    buf_printf(show->out, "\n%-36s", "ENDPOINT");
    if (orgs)
        buf_printf(show->out, " %-16s", "ORGANIZATION");
    buf_printf(show->out, " %7s %9s %8s %9s %9s %9s %9s  %s\n", "WINDOW", "IN FLIGHT", "WAITING",
               "RUNS/S", "ERRORS/S", "P50", "P99", "LAST DECREASE");
    for (size_t i = 0; i < s->n_groups; i++)
        put_group(show, s->groups[i], orgs);
    if (s->group_count > s->n_groups)
        buf_printf(show->out, "and %zu more\n", s->group_count - s->n_groups);
}

/* Who takes turns: of interest when there are several. */
static void put_orgs(const struct show *show, const Dispatch__V1__StatsResponse *s)
{
    if (s->n_organizations < 2)
        return;
    buf_printf(show->out, "\n%-36s %9s %9s %8s %9s\n", "ORGANIZATION", "ENDPOINTS", "IN FLIGHT",
               "WAITING", "RUNS/S");
    for (size_t i = 0; i < s->n_organizations; i++) {
        const Dispatch__V1__OrganizationStats *o = s->organizations[i];

        buf_printf(show->out, "%-36s %9u %9" PRIu64 " %8" PRIu64 " %9.1f\n", o->organization,
                   o->groups, o->in_flight, o->ready, o->ended_per_second);
    }
}

static void put_table(const struct show *show, const Dispatch__V1__StatsResponse *s)
{
    show_time(s->time ? wire_time_ns(s->time) : show->now, show->out);
    buf_append_str(show->out, s->ready ? "  ready" : "  not ready: ");
    show_text(show, slice_str(s->trouble), 0);
    buf_printf(show->out, "; rates of the last %.3g s\n", s->rate_seconds);
    if (s->totals)
        put_totals(show, s->totals);
    put_groups(show, s);
    put_orgs(show, s);
}

/* --- the screen ------------------------------------------------------------------------------- */

static void on_signal(int signum)
{
    interrupted = signum;
}

static bool screen_begin(struct top *top)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: poll is to end */
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &top->before))
        return false;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    raw = top->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw))
        return false;
    fputs("\033[?1049h\033[?25l", stdout);
    return true;
}

static void screen_end(const struct top *top)
{
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
}

/* The text with each line cut to the screen, and no more lines than it has. */
static void fit(const struct buf *text, struct buf *out)
{
    const char *p = (const char *)text->data, *end = p + text->len;
    struct winsize size = {0};
    int rows;

    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    rows = size.ws_row ? size.ws_row : 24;
    buf_append_str(out, "\033[H");
    for (int row = 0; p < end && row < rows - 1; row++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)(newline - p), columns = size.ws_col ? size.ws_col : 80;

        buf_append(out, p, len <= columns ? len : slice_utf8_prefix(slice(p, columns)));
        buf_append_str(out, "\033[K\r\n");
        p = newline + 1;
    }
    buf_append_str(out, "\033[Jq quits");
}

/* False: it is to end. */
static bool wait_for_key(const struct top *top)
{
    struct pollfd in = {.fd = top->screen ? STDIN_FILENO : -1, .events = POLLIN};
    int n = poll(&in, 1, (int)(top->interval_ms > INT32_MAX ? INT32_MAX : top->interval_ms));
    char key = '\0';

    if (interrupted || (n < 0 && errno != EINTR))
        return false;
    if (n > 0 && read(STDIN_FILENO, &key, 1) <= 0)
        return false; /* the terminal is gone */
    return key != 'q' && key != CTRL_C;
}

/* --- asking ----------------------------------------------------------------------------------- */

static int load(struct top *top, Dispatch__V1__StatsResponse **response)
{
    Dispatch__V1__StatsRequest request = DISPATCH__V1__STATS_REQUEST__INIT;

    ask_rewind(&top->ask);
    request.limit = top->limit;
    request.organization = ask_text(top->ask.options.org);
    return reach_ask(top->ask.reach, "/dispatch.v1.StatsService/Stats", &request,
                     &dispatch__v1__stats_response__descriptor, &top->ask.arena, response,
                     &top->ask.err);
}

static int print(struct top *top, const Dispatch__V1__StatsResponse *stats)
{
    struct buf out, fitted;
    struct show show = {.out = &out, .now = clock_now(clock_system())};
    int status;

    buf_init(&out, OUTPUT_MAX);
    buf_init(&fitted, OUTPUT_MAX);
    if (top->json) {
        wire_to_json(stats, &out);
        buf_append_str(&out, "\n");
    } else {
        put_table(&show, stats);
    }
    if (top->screen)
        fit(&out, &fitted);
    status = show_flush(top->screen ? &fitted : &out);
    buf_free(&out);
    buf_free(&fitted);
    return status;
}

static int run_top(struct top *top)
{
    Dispatch__V1__StatsResponse *stats;
    int status;

    do {
        if (load(top, &stats))
            return -1;
        status = print(top, stats);
    } while (!status && (top->screen || top->repeat) && wait_for_key(top));
    return status;
}

static int start(struct top *top)
{
    int status;

    if (ask_open(&top->ask))
        return ask_fail(&top->ask);
    top->screen = !top->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (top->screen && !screen_begin(top))
        top->screen = false;
    status = run_top(top);
    if (top->screen)
        screen_end(top);
    return status < 0 ? ask_fail(&top->ask) : status; /* said where it can be seen */
}

/* --- the command ------------------------------------------------------------------------------ */

static int take(void *to, const struct cli_arg *arg)
{
    struct top *top = to;
    char *end;

    if (!arg->option)
        return cli_usage(&cli_top, "top takes options only: %s", arg->value);
    if (ask_takes(&top->ask, arg))
        return CLI_OK;
    if (ask_is(arg, "json")) {
        top->json = true;
        return CLI_OK;
    }
    if (ask_is(arg, "interval")) {
        top->repeat = true;
        return cli_duration(arg->value, &top->interval_ms) && top->interval_ms >= 100
                   ? CLI_OK
                   : cli_usage(&cli_top, "--interval %s: a time of 100ms at least, as 2s is",
                               arg->value);
    }
    top->limit = (uint32_t)strtoul(arg->value, &end, 10);
    if (*arg->value < '1' || *arg->value > '9' || *end || top->limit > LIMIT_MAX)
        return cli_usage(&cli_top, "--limit %s: it is a number from 1 to %d", arg->value,
                         LIMIT_MAX);
    return CLI_OK;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct top top = {.interval_ms = INTERVAL_MS, .limit = LIMIT};
    bool stop;
    int status;

    ask_init(&top.ask);
    status = cli_read(self, argc, argv, take, &top, &stop);
    if (status == CLI_OK && !stop)
        status = start(&top);
    ask_close(&top.ask);
    return status;
}

static const struct cli_option options[] = {
    {"limit", "N", "so many endpoints at most, the busiest ones (default: 20)"},
    {"interval", "TIME",
     "how often (default: 2s at a terminal); elsewhere it is printed once without\n"
     "this option, and until interrupted with it"},
    {"json", NULL, "a line of JSON, a dispatch.v1.StatsResponse, for programs"},
    ASK_OPTIONS,
    {0},
};

static const char details[] =
    "Calls to one endpoint (scheme, host and port) of one organization share a window: so\n"
    "many may run at once. WINDOW is that number, which grows as runs succeed and shrinks\n"
    "by LAST DECREASE; WAITING are calls that could run if it were wider. RUNS/S, ERRORS/S\n"
    "(runs that did not end with OK) and the times of runs are of the last ten seconds, or\n"
    "of the last 16,384 runs, if those are fewer.\n"
    "\n"
    "At the socket of a store (--store) all organizations are shown, or that of --org; with\n"
    "an API key its own endpoints, and calls, memory and commits to the organization default\n"
    "alone, as they are of all.\n"
    "\n"
    "At a terminal q quits.\n"
    "\n"
    "Examples:\n"
    "    dispatch top\n"
    "    dispatch top --json | jq '.groups[] | {endpoint, window, inFlight}'\n"
    "\n"
    "Exit status: 0 success; 1 failure.\n";

const struct cli_command cli_top = {
    .name = "top",
    .group = CLI_GROUP_OPERATOR,
    .usage = "[OPTION...]",
    .summary = "show what an orchestrator is busy with",
    .details = details,
    .options = options,
    .run = run,
};
