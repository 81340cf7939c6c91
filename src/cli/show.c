// SPDX-License-Identifier: Apache-2.0
/* A call, for people. */
#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/value.h"

#define VALUE_MAX 2000 /* bytes of a value that people are shown */

/* --- parts ------------------------------------------------------------------------------------ */

static void colour(const struct show *show, const char *code)
{
    if (show->colours)
        buf_printf(show->out, "\033[%sm", code);
}

void show_label(const struct show *show, const char *label)
{
    colour(show, "90");
    buf_printf(show->out, "%-*s", SHOW_INDENT, label);
    colour(show, "0");
}

void show_heading(const struct show *show, const char *text)
{
    buf_append_str(show->out, "\n");
    colour(show, "1");
    buf_append_str(show->out, text);
    colour(show, "0");
    buf_append_str(show->out, "\n");
}

/* Bytes of a control character at the front: of C0, DEL, or C1, which in UTF-8 has two. */
static size_t control(const uint8_t *c, size_t len)
{
    if (*c < ' ' || *c == 0x7f)
        return 1;
    return len > 1 && c[0] == 0xc2 && c[1] < 0xa0 ? 2 : 0;
}

void show_text(const struct show *show, struct slice text, unsigned indent)
{
    const uint8_t *at = text.data;
    size_t n;

    for (size_t left = text.len; left > 0; at += n, left -= n) {
        n = control(at, left);
        if (n && *at == '\n' && left > 1)
            buf_printf(show->out, "\n%*s", (int)indent, "");
        else if (n && *at == '\t')
            buf_append_str(show->out, "    ");
        else if (n && *at != '\n')
            buf_append_str(show->out, "?");
        else if (!n)
            buf_append(show->out, at, n = 1);
    }
}

void show_time(int64_t ns, struct buf *out)
{
    int64_t ms = ns / NS_PER_MS;
    time_t seconds = (time_t)(ms / 1000);
    char text[32] = "";
    struct tm utc;

    if (gmtime_r(&seconds, &utc))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    buf_printf(out, "%s.%03dZ", text, (int)(ms % 1000));
}

void show_span(int64_t ns, struct buf *out)
{
    int64_t ms = ns > 0 ? ns / NS_PER_MS : 0, s = ms / 1000;

    if (ms < 1000)
        buf_printf(out, "%" PRId64 " ms", ms);
    else if (s < 60)
        buf_printf(out, "%" PRId64 ".%" PRId64 " s", s, ms % 1000 / 100);
    else if (s < 3600)
        buf_printf(out, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else if (s < 86400)
        buf_printf(out, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    else
        buf_printf(out, "%" PRId64 "d%" PRId64 "h", s / 86400, s / 3600 % 24);
}

const char *show_state_name(Dispatch__V1__State state)
{
    switch (state) {
    case DISPATCH__V1__STATE__STATE_READY:
        return "ready";
    case DISPATCH__V1__STATE__STATE_WAITING:
        return "waiting";
    case DISPATCH__V1__STATE__STATE_RUNNING:
        return "running";
    case DISPATCH__V1__STATE__STATE_SUSPENDED:
        return "suspended";
    case DISPATCH__V1__STATE__STATE_DONE:
        return "done";
    default:
        return "unknown";
    }
}

static const char *colour_of(const Dispatch__V1__CallInfo *call)
{
    if (call->state == DISPATCH__V1__STATE__STATE_DONE)
        return call->status == DISPATCH__SDK__V1__STATUS__STATUS_OK ? "32" : "31";
    if (call->state == DISPATCH__V1__STATE__STATE_RUNNING)
        return "36";
    return call->state == DISPATCH__V1__STATE__STATE_WAITING ? "33" : "34";
}

void show_outcome(const struct show *show, const Dispatch__V1__CallInfo *call, int width)
{
    bool done = call->state == DISPATCH__V1__STATE__STATE_DONE;

    colour(show, colour_of(call));
    buf_printf(show->out, "%-*s", width,
               done ? status_name((enum status)call->status) : show_state_name(call->state));
    colour(show, "0");
}

void show_error(const struct show *show, const wire_error *error, unsigned indent)
{
    struct slice message = slice_str(error->message);

    show_text(show, slice_str(error->type), indent);
    if (message.len)
        buf_append_str(show->out, ": ");
    show_text(show, message, indent);
    buf_append_str(show->out, "\n");
    if (!error->traceback.len)
        return;
    buf_printf(show->out, "%*s", (int)indent, "");
    show_text(show, slice(error->traceback.data, error->traceback.len), indent);
    buf_append_str(show->out, "\n");
}

/* --- the call --------------------------------------------------------------------------------- */

static void line(const struct show *show, const char *label, const char *text)
{
    if (!text || !*text)
        return;
    show_label(show, label);
    show_text(show, slice_str(text), SHOW_INDENT);
    buf_append_str(show->out, "\n");
}

static void number(const struct show *show, const char *label, uint64_t value)
{
    show_label(show, label);
    buf_printf(show->out, "%" PRIu64 "\n", value);
}

static void value(const struct show *show, const char *label, const wire_any *any)
{
    struct buf text;
    struct slice shown;

    buf_init(&text, (size_t)64 << 20);
    value_show(any, true, show->arena, &text);
    shown = buf_slice(&text);
    show_label(show, label);
    if (text.failed) {
        buf_append_str(show->out, "<out of memory>");
    } else if (shown.len > VALUE_MAX) {
        size_t whole = slice_utf8_prefix(slice(shown.data, VALUE_MAX));

        show_text(show, slice(shown.data, whole), SHOW_INDENT);
        buf_printf(show->out, "... (%zu bytes; --json has all of it)", shown.len);
    } else {
        show_text(show, shown, SHOW_INDENT);
    }
    buf_append_str(show->out, "\n");
    buf_free(&text);
}

static void moment(const struct show *show, const char *label, const wire_timestamp *time)
{
    int64_t ns;

    if (!time)
        return;
    ns = wire_time_ns(time);
    show_label(show, label);
    show_time(ns, show->out);
    buf_append_str(show->out, ns > show->now ? " (in " : " (");
    show_span(ns > show->now ? ns - show->now : show->now - ns, show->out);
    buf_append_str(show->out, ns > show->now ? ")\n" : " ago)\n");
}

static void outcome(const struct show *show, const Dispatch__V1__CallInfo *call)
{
    bool done = call->state == DISPATCH__V1__STATE__STATE_DONE;

    show_label(show, done ? "status" : "state");
    show_outcome(show, call, 0);
    if (!done && call->status != DISPATCH__SDK__V1__STATUS__STATUS_UNSPECIFIED)
        buf_printf(show->out, ", the last attempt was %s", status_name((enum status)call->status));
    if (done && call->done_time && call->creation_time) {
        buf_append_str(show->out, " after ");
        show_span(wire_time_ns(call->done_time) - wire_time_ns(call->creation_time), show->out);
    }
    buf_append_str(show->out, "\n");
    line(show, "waiting for", call->waiting_for);
}

static void results(const struct show *show, const Dispatch__V1__CallInfo *call)
{
    bool done = call->state == DISPATCH__V1__STATE__STATE_DONE;
    const wire_error *error = call->result ? call->result->error : call->last_error;

    value(show, "input", call->input);
    if (done && call->result && (call->result->output || !error))
        value(show, "output", call->result->output);
    if (!error)
        return;
    show_label(show, done ? "error" : "last error");
    show_error(show, error, SHOW_INDENT);
}

void show_call(const struct show *show, const Dispatch__V1__CallInfo *call)
{
    bool root = !*call->parent_dispatch_id;

    line(show, "call", call->dispatch_id);
    line(show, "function", call->function);
    line(show, "endpoint", call->endpoint);
    line(show, "key", call->key);
    outcome(show, call);
    moment(show, "created", call->creation_time);
    moment(show, "due", call->due_time);
    moment(show, call->done_time ? "done" : "expires",
           call->done_time ? call->done_time : call->expiration_time);
    number(show, "attempts", call->attempts);
    number(show, "generation", call->generation);
    if (call->resumes)
        number(show, "resumes", call->resumes);
    if (call->outstanding)
        number(show, "outstanding", call->outstanding);
    if (!root) {
        line(show, "parent", call->parent_dispatch_id);
        line(show, "root", call->root_dispatch_id);
    }
    line(show, "retry of", call->retry_of);
    results(show, call);
}

int show_flush(struct buf *out)
{
    bool whole = !out->failed;
    bool written = fwrite(out->data, 1, out->len, stdout) == out->len && fflush(stdout) == 0;

    buf_reset(out);
    if (!whole)
        return cli_fail("not enough memory to show it all");
    return written ? CLI_OK : cli_fail("the output could not be written");
}
