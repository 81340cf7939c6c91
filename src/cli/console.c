// SPDX-License-Identifier: Apache-2.0
/* The one place that knows both ways of saying things. */
#include "cli/console.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define NAME_WIDTH_MIN 8 /* "dispatch" */
#define NAME_WIDTH_MAX 64

static void changed(struct console *c)
{
    if (c->screen)
        screen_changed(c->screen);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void on_line(void *arg, struct slice line)
{
    struct console *c = arg;

    view_log(&c->view, false, line);
    changed(c);
}

void console_take_lines(struct console *c, struct lines *lines)
{
    lines_init(lines, STDERR_FILENO, c->application);
    if (!c->viewed)
        return;
    lines->sink = on_line;
    lines->sink_arg = c;
}

/* A line of the log; what is an error is shown wherever one looks. */
static void on_log(void *arg, enum log_level level, const char *line, size_t len)
{
    static const char mark[] = " ERROR ";
    struct console *c = arg;
    const char *found = level == LOG_ERROR ? memmem(line, len, mark, sizeof mark - 1) : NULL;

    view_log(&c->view, true, slice(line, len));
    if (found) {
        found += sizeof mark - 1;
        view_trouble(&c->view, slice(found, (size_t)(line + len - found)));
    }
    changed(c);
}

/* --- calls ------------------------------------------------------------------------------------ */

static void on_started(void *arg, const struct orchestrator_attempt *attempt)
{
    struct console *c = arg;

    runlog_started(&c->runlog, attempt);
    if (!c->viewed)
        return;
    view_started(&c->view, attempt);
    changed(c);
}

static void on_ended(void *arg, const struct orchestrator_outcome *outcome)
{
    struct console *c = arg;

    runlog_ended(&c->runlog, outcome);
    if (!c->viewed)
        return;
    view_ended(&c->view, outcome);
    changed(c);
}

/* --- the view --------------------------------------------------------------------------------- */

static void on_quit(void *arg)
{
    struct console *c = arg;

    c->hooks.quit(c->hooks.arg);
}

static void on_verbose(void *arg)
{
    struct console *c = arg;

    c->runlog.verbose = true;
    c->server_log.level = LOG_DEBUG;
}

static void on_tick(void *arg)
{
    struct console *c = arg;

    if (c->hooks.reached(c->hooks.arg))
        view_ready(&c->view);
}

void console_open(struct console *c, struct net_loop *loop)
{
    const struct screen_options screen = {.loop = loop,
                                          .view = &c->view,
                                          .quit = on_quit,
                                          .verbose = on_verbose,
                                          .tick = on_tick,
                                          .arg = c};
    struct error err;

    if (!c->viewed)
        return;
    c->opened_at = clock_now(clock_system());
    if (screen_open(&c->screen, &screen, &err) == CODE_OK)
        return;
    console_leave_view(c);
    log_line(&c->server_log, LOG_INFO, err.message);
}

void console_close(struct console *c)
{
    int64_t ms = (clock_now(clock_system()) - c->opened_at) / NS_PER_MS;

    if (c->screen)
        log_line(&c->server_log, LOG_DEBUG, "view closed",
                 LOG_NUM("drawn", screen_drawn(c->screen)), LOG_NUM("ms", ms));
    screen_close(c->screen);
    c->screen = NULL;
}

void console_leave_view(struct console *c)
{
    struct buf all;

    if (!c->viewed)
        return;
    c->viewed = false;
    c->log.sink = c->server_log.sink = NULL;
    c->log.prefix = c->server_log.prefix = c->prefix;
    buf_init(&all, 4 * VIEW_LOG_BYTES);
    view_dump(&c->view, c->log.colours, &all);
    if (fwrite(all.data, 1, all.len, stderr) == all.len)
        fflush(stderr);
    buf_free(&all);
}

/* --- life ------------------------------------------------------------------------------------- */

void console_init(struct console *c, const char *name, bool verbose,
                  const struct console_hooks *hooks)
{
    size_t len = strnlen(name, NAME_WIDTH_MAX);
    int width = len > NAME_WIDTH_MIN ? (int)len : NAME_WIDTH_MIN;

    *c = (struct console){.hooks = *hooks};
    c->log = (struct log){.fd = STDERR_FILENO,
                          .level = LOG_INFO,
                          .format = LOG_PLAIN,
                          .prefix = c->prefix,
                          .colours = lines_colours(STDERR_FILENO)};
    lines_prefix(c->prefix, "dispatch", width, "32", c->log.colours);
    lines_prefix(c->application, name, width, "35", c->log.colours);
    c->has_view = c->viewed =
        screen_possible() && view_init(&c->view, name, width, NULL) == CODE_OK;
    if (c->viewed) {
        c->log.prefix = NULL;
        c->log.sink = on_log;
        c->log.sink_arg = c;
    }
    c->server_log = c->log;
    c->server_log.level = verbose ? LOG_DEBUG : LOG_WARN;
    runlog_init(&c->runlog, &c->log, verbose);
    c->observer =
        (struct orchestrator_observer){.started = on_started, .ended = on_ended, .arg = c};
    list_init(&c->observer.link);
}

void console_free(struct console *c)
{
    runlog_free(&c->runlog);
    if (c->has_view)
        view_free(&c->view);
}
