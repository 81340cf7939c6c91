// SPDX-License-Identifier: Apache-2.0
/* The lines of a table of calls. */
#include "cli/list.h"

#include <inttypes.h>
#include <string.h>

enum { WIDTH_LEAST = 8, WIDTH_MOST = 40, WHY_MAX = 100 };

int list_width(Dispatch__V1__CallInfo *const *calls, size_t count)
{
    size_t width = WIDTH_LEAST;

    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(calls[i]->function);

        if (len > width)
            width = len > WIDTH_MOST ? WIDTH_MOST : len;
    }
    return (int)width;
}

void list_heading(const struct show *show, int width)
{
    buf_printf(show->out, "%-25s  %-18s  %-*s  %8s  %8s  %8s  %s\n", "CALL", "STATE", width,
               "FUNCTION", "AGE", "TOOK", "ATTEMPTS", "WHY");
}

/* In a column of 8. */
static void span(const struct show *show, int64_t ns)
{
    struct buf text;

    buf_init(&text, 64);
    show_span(ns, &text);
    buf_printf(show->out, "  %8s", buf_cstr(&text));
    buf_free(&text);
}

/* The first line of a text, not all of it if it is long. */
static void brief(const struct show *show, const char *text)
{
    size_t len = strcspn(text, "\n");
    bool cut = len > WHY_MAX;

    show_text(show, slice(text, cut ? slice_utf8_prefix(slice(text, WHY_MAX)) : len), 0);
    if (cut)
        buf_append_str(show->out, "...");
}

void list_line(const struct show *show, const Dispatch__V1__CallInfo *call, int width)
{
    int64_t created = call->creation_time ? wire_time_ns(call->creation_time) : show->now;
    const wire_error *error = call->result ? call->result->error : NULL;

    buf_printf(show->out, "%-25s  ", call->dispatch_id);
    show_outcome(show, call, 18);
    buf_printf(show->out, "  %-*s", width, call->function);
    span(show, show->now - created);
    if (call->done_time)
        span(show, wire_time_ns(call->done_time) - created);
    else
        buf_printf(show->out, "  %8s", "");
    buf_printf(show->out, "  %8" PRIu64 "  ", call->attempts);
    if (error) {
        brief(show, error->type);
        buf_append_str(show->out, *error->message ? ": " : "");
        brief(show, error->message);
    } else {
        brief(show, call->waiting_for);
    }
    while (show->out->len && show->out->data[show->out->len - 1] == ' ')
        show->out->len--;
    buf_append_str(show->out, "\n");
}
