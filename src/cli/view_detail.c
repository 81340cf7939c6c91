// SPDX-License-Identifier: Apache-2.0
/* The page of one call: what is known of it, then each of its round trips. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/value.h"
#include "cli/view.h"

#define LABEL     16
#define NARROW    40 /* columns, below which labels are not aligned */
#define VALUE_MAX ((size_t)1 << 20)
#define CALLS_MAX 50
#define LINE_MAX_ 65536

struct detail {
    struct view *view;
    struct view_page *page;
    struct buf line, text; /* text: of a value, raw */
};

/* --- lines ------------------------------------------------------------------------------------ */

static void put_label(struct detail *d, const char *label)
{
    char text[LABEL + 2];

    snprintf(text, sizeof text, "%s%s", label, *label ? ":" : "");
    cells_style(&d->line, CELLS_BOLD);
    if (d->page->columns >= NARROW)
        cells_column(slice_str(text), LABEL, true, &d->line);
    else
        buf_append_str(&d->line, text);
    cells_style(&d->line, CELLS_PLAIN);
    buf_append_byte(&d->line, ' ');
}

/* A label, and clean text behind it, in as many lines as it takes. */
static void field(struct detail *d, const char *label, struct slice text, enum cells_style style)
{
    int behind = d->page->columns >= NARROW ? LABEL + 1 : (int)strlen(label) + 2;
    int width = d->page->columns - behind, used;
    size_t n;

    do {
        n = cells_fit(text, width > 0 ? width : 1, &used);
        n = n || !text.len ? n : cells_next(text, &used);
        buf_reset(&d->line);
        put_label(d, label);
        cells_style(&d->line, style);
        buf_append(&d->line, text.data, n);
        view_page_line(d->page, buf_slice(&d->line));
        text = slice((const uint8_t *)text.data + n, text.len - n);
        label = "";
        behind = d->page->columns >= NARROW ? LABEL + 1 : 1;
        width = d->page->columns - behind;
    } while (text.len > 0);
}

static void words(struct detail *d, const char *label, const char *text, enum cells_style style)
{
    if (text)
        field(d, label, slice_str(text), style);
}

/* What was put into d->text. */
static void put_text(struct detail *d, const char *label, enum cells_style style)
{
    field(d, label, buf_slice(&d->text), style);
    buf_reset(&d->text);
}

static void moment(struct detail *d, const char *label, int64_t ns)
{
    view_put_time(ns, &d->text);
    put_text(d, label, CELLS_GRAY);
}

static void number(struct detail *d, const char *label, unsigned value)
{
    buf_printf(&d->text, "%u", value);
    put_text(d, label, CELLS_PLAIN);
}

/* --- values ----------------------------------------------------------------------------------- */

static void value(struct detail *d, const char *label, const struct blob *packed,
                  const char *in_words)
{
    struct arena *arena = &d->view->arena;
    wire_any *any = NULL;
    struct buf clean;

    if (in_words) {
        words(d, label, in_words, CELLS_GRAY);
        return;
    }
    if (packed &&
        wire_unpack(&google__protobuf__any__descriptor, blob_slice(packed), arena, &any, NULL))
        any = NULL;
    value_describe(any, arena, &d->text);
    buf_init(&clean, 4 * VALUE_MAX);
    cells_clean(buf_slice(&d->text), false, &clean);
    buf_reset(&d->text);
    field(d, label, buf_slice(&clean), CELLS_PLAIN);
    buf_free(&clean);
    arena_rewind(arena);
}

/* --- the call --------------------------------------------------------------------------------- */

static void summary(struct detail *d, const struct view_call *c, int64_t now)
{
    int64_t duration = view_call_duration(c, now) / NS_PER_MS * NS_PER_MS;

    words(d, "ID", c->id, CELLS_GRAY);
    words(d, "Function", c->function ? c->function : "(?)", CELLS_PLAIN);
    words(d, "Status", view_call_status(c), view_call_style(c));
    if (c->created)
        moment(d, "Creation time", c->created);
    if (!c->done && c->expires != TIME_NEVER)
        moment(d, "Expiration time", c->expires);
    if (duration)
        view_put_duration(duration, &d->text);
    else
        buf_append_str(&d->text, "?");
    put_text(d, "Duration", CELLS_PLAIN);
    number(d, "Attempts", c->requests - c->polls + c->suspended);
    number(d, "Requests", c->requests);
}

static void calls(struct detail *d, const char *names)
{
    if (!names)
        return;
    if (cells_width(slice_str(names)) <= CALLS_MAX)
        buf_append_str(&d->text, names);
    else
        cells_column(slice_str(names), CALLS_MAX, false, &d->text);
    put_text(d, "Calls", CELLS_PLAIN);
}

static void trip(struct detail *d, const struct view_trip *t)
{
    bool suspended = t->outcome && strcmp(t->outcome, "Suspended") == 0;

    view_page_line(d->page, slice_str(""));
    moment(d, "Timestamp", t->started);
    value(d, "Input", t->input, t->input_words);
    if (!t->ended) {
        words(d, "Status", "Running", CELLS_GRAY);
        return;
    }
    words(d, "Status", t->outcome, suspended ? CELLS_GRAY : t->good ? CELLS_GREEN : CELLS_RED);
    if (t->output || t->output_words)
        value(d, "Output", t->output, t->output_words);
    words(d, "Error", t->error, CELLS_RED);
    words(d, "Tail call", t->tail_call, CELLS_PLAIN);
    calls(d, t->calls);
    view_put_duration((t->ended - t->started) / NS_PER_US * NS_PER_US, &d->text);
    put_text(d, "Latency", CELLS_PLAIN);
}

void view_draw_detail(struct view *v, struct view_page *p, int64_t now)
{
    struct detail d = {.view = v, .page = p};
    bool first = true;

    if (!v->selected)
        return;
    buf_init(&d.line, LINE_MAX_);
    buf_init(&d.text, VALUE_MAX);
    summary(&d, v->selected, now);
    for (struct list *node = v->selected->trips.next; node != &v->selected->trips;
         node = node->next) {
        trip(&d, LIST_ENTRY(node, struct view_trip, link));
        if (first && v->selected->trips_dropped) {
            view_page_line(p, slice_str(""));
            buf_printf(&d.text, "<%u requests>", v->selected->trips_dropped);
            put_text(&d, "Not kept", CELLS_GRAY);
        }
        first = false;
    }
    buf_free(&d.line);
    buf_free(&d.text);
}
