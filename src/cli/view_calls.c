// SPDX-License-Identifier: Apache-2.0
/*
 * The page of functions: a table a tree, a row a call. Its first column is as wide as the tree
 * needs; what does not fit the terminal is taken from the status first, then whole columns go.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "cli/runlog.h"
#include "cli/view.h"

#define UNKNOWN       "(?)"
#define FUNCTION_MIN  9
#define FUNCTION_MAX  50
#define ATTEMPT       8
#define DURATION      10
#define STATUS        35
#define STATUS_LEAST  12
#define DEPTH_SHOWN   64
#define LINE_MAX_SIZE 65536

/* --- what a row says -------------------------------------------------------------------------- */

enum cells_style view_call_style(const struct view_call *c)
{
    if (c->running || c->suspended || !c->number)
        return CELLS_GRAY;
    if (c->done)
        return c->status == STATUS_OK && !c->error ? CELLS_GREEN : CELLS_RED;
    return c->failures ? CELLS_YELLOW : CELLS_GRAY;
}

const char *view_call_status(const struct view_call *c)
{
    if (c->running)
        return "Running";
    if (c->suspended)
        return "Suspended";
    if (c->error)
        return c->error;
    return c->done || c->failures ? runlog_status(c->status) : "Pending";
}

int64_t view_call_duration(const struct view_call *c, int64_t now)
{
    int64_t end = c->done ? c->ended : now;

    return c->created && end > c->created ? end - c->created : 0;
}

static const char *icon(const struct view_call *c)
{
    if (!c->done)
        return "\u2022";
    return view_call_style(c) == CELLS_GREEN ? "\u2714" : "\u2717";
}

/* --- columns ---------------------------------------------------------------------------------- */

/* Cells; 0: not there. */
struct columns {
    int number, function, attempt, duration, icon, status;
};

static int digits(uint32_t number)
{
    int n = 1;

    while (number >= 10) {
        number /= 10;
        n++;
    }
    return n;
}

static int total(const struct columns *c)
{
    const int widths[] = {c->number, c->function, c->attempt, c->duration, c->icon, c->status};
    int sum = -1;

    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        sum += widths[i] ? widths[i] + 1 : 0;
    return sum;
}

/* Takes what is too much off the column, down to `least`. */
static void narrow(struct columns *c, int *width, int least, int available)
{
    int excess = total(c) - available;

    if (excess > 0 && *width > least)
        *width = *width - excess > least ? *width - excess : least;
}

static struct columns fit_columns(const struct view *v, int function, int available)
{
    struct columns c = {.number = v->selecting ? digits(v->numbered) : 0,
                        .attempt = ATTEMPT,
                        .duration = DURATION,
                        .icon = 1,
                        .status = STATUS};

    if (function < FUNCTION_MIN)
        function = FUNCTION_MIN;
    else if (function > FUNCTION_MAX)
        function = FUNCTION_MAX;
    c.function = function;
    narrow(&c, &c.status, STATUS_LEAST, available);
    narrow(&c, &c.function, 2 * FUNCTION_MIN, available);
    if (total(&c) > available)
        c.duration = 0;
    if (total(&c) > available)
        c.attempt = 0;
    narrow(&c, &c.function, FUNCTION_MIN, available);
    if (total(&c) > available) {
        c.status = 0;
        c.function = function;
    }
    narrow(&c, &c.function, 1, available);
    return c;
}

static void put(struct slice text, int width, bool right, enum cells_style style, struct buf *out)
{
    if (!width)
        return;
    if (out->len > 0)
        buf_append_byte(out, ' ');
    cells_style(out, style);
    cells_column(text, width, right, out);
    cells_style(out, CELLS_PLAIN);
}

static void put_header(const struct columns *c, struct view_page *p, struct buf *line)
{
    buf_reset(line);
    put(slice("##########", (size_t)c->number), c->number, false, CELLS_BOLD, line);
    put(slice_str("Function"), c->function, false, CELLS_BOLD, line);
    put(slice_str("Attempt"), c->attempt, true, CELLS_BOLD, line);
    put(slice_str("Duration"), c->duration, true, CELLS_BOLD, line);
    put(slice_str("\u2022"), c->icon, false, CELLS_GRAY, line);
    put(slice_str("Status"), c->status, false, CELLS_BOLD, line);
    view_page_line(p, buf_slice(line));
}

/* --- rows ------------------------------------------------------------------------------------- */

/* Something stands below at the same level: a sibling, or the line of those that were folded. */
static bool is_last(const struct view_call *c)
{
    return c->link.next == &c->parent->children && !c->parent->folded;
}

/* What stands before the name of what is below `parent`: the lines down to its siblings. Of very
 * deep trees the outer ones are left out. */
static void put_branches(const struct view_call *parent, bool last, struct buf *out)
{
    const struct view_call *above[DEPTH_SHOWN];
    int depth = 0;

    for (; parent->parent && depth < DEPTH_SHOWN; parent = parent->parent)
        above[depth++] = parent;
    while (depth-- > 0)
        buf_append_str(out, is_last(above[depth]) ? "   " : "\u2502  ");
    buf_append_str(out, last ? "\u2514\u2500 " : "\u251c\u2500 ");
}

static bool is_picked(const struct view *v, const struct view_call *c)
{
    char number[12];

    snprintf(number, sizeof number, "%" PRIu32, c->number);
    return v->selecting && c->number && strcmp(number, v->digits) == 0;
}

static void put_numbers(const struct view_call *c, const struct columns *w, enum cells_style style,
                        int64_t now, struct buf *line)
{
    unsigned attempt = c->requests - c->polls + c->suspended;
    int64_t duration = view_call_duration(c, now) / NS_PER_MS * NS_PER_MS;
    struct buf text;

    buf_init(&text, 64);
    buf_printf(&text, "%u", attempt);
    put(buf_slice(&text), w->attempt, true, style, line);
    buf_reset(&text);
    if (duration)
        view_put_duration(duration, &text);
    else
        buf_append_str(&text, "?");
    put(buf_slice(&text), w->duration, true, style, line);
    buf_free(&text);
}

static void draw_row(const struct view *v, const struct view_call *c, const struct columns *w,
                     struct view_page *p, int64_t now, struct buf *line)
{
    bool picked = is_picked(v, c);
    enum cells_style style = picked ? CELLS_MAGENTA : view_call_style(c);
    enum cells_style plain = picked ? CELLS_MAGENTA : CELLS_PLAIN;
    struct buf text;

    buf_init(&text, LINE_MAX_SIZE);
    buf_reset(line);
    buf_printf(&text, "%" PRIu32, c->number);
    put(c->number ? buf_slice(&text) : slice_str(""), w->number, true, plain, line);
    buf_reset(&text);
    if (c->parent) {
        cells_style(&text, CELLS_GRAY);
        put_branches(c->parent, is_last(c), &text);
        cells_style(&text, style);
    }
    buf_append_str(&text, c->function ? c->function : UNKNOWN);
    put(buf_slice(&text), w->function, false, style, line);
    put_numbers(c, w, plain, now, line);
    put(slice_str(icon(c)), w->icon, false, style, line);
    put(slice_str(view_call_status(c)), w->status, false, style, line);
    view_page_line(p, buf_slice(line));
    buf_free(&text);
}

static void draw_folded(uint32_t count, const struct view_call *parent, struct view_page *p,
                        struct buf *line)
{
    buf_reset(line);
    cells_style(line, CELLS_GRAY);
    if (parent)
        put_branches(parent, true, line);
    buf_printf(line, "(%" PRIu32 " finished call%s folded)", count, count == 1 ? "" : "s");
    view_page_line(p, buf_slice(line));
}

/* --- trees ------------------------------------------------------------------------------------ */

static struct view_call *root_at(struct list *node)
{
    return LIST_ENTRY(node, struct view_call, link);
}

/* Rows of a tree without its header; *width: cells of its first column. */
static int measure(const struct view_call *root, int *width)
{
    int rows = 0;

    *width = 0;
    for (const struct view_call *c = root; c; c = view_next(c, root)) {
        *width = c->width > *width ? c->width : *width;
        rows += 1 + (c->folded > 0);
    }
    return rows;
}

int view_count_functions(const struct view *v)
{
    int lines = v->folded ? 2 : 0, width;

    for (struct list *node = v->roots.next; node != &v->roots; node = node->next)
        lines += measure(root_at(node), &width) + 2;
    return lines - (lines > 0); /* no blank behind the last */
}

/* Those below `c` that were folded stand behind the rows of those that were not: `c` is the last
 * row of each of these trees, up to where `next` goes on. */
static void draw_folds(const struct view_call *c, const struct view_call *next,
                       const struct view_call *root, struct view_page *p, struct buf *line)
{
    const struct view_call *stop = next ? next->parent : NULL;

    for (; c != stop; c = c == root ? NULL : c->parent) {
        if (c->folded && view_page_wants(p))
            draw_folded(c->folded, c, p, line);
        else
            p->at += c->folded > 0;
    }
}

static void draw_tree(const struct view *v, const struct view_call *root, int width,
                      struct view_page *p, int64_t now, struct buf *line)
{
    struct columns columns = fit_columns(v, width, p->columns);
    const struct view_call *next;

    put_header(&columns, p, line);
    for (const struct view_call *c = root; c && p->at < p->to; c = next) {
        next = view_next(c, root);
        if (view_page_wants(p))
            draw_row(v, c, &columns, p, now, line);
        else
            p->at++;
        draw_folds(c, next, root, p, line);
    }
}

void view_draw_functions(struct view *v, struct view_page *p, int64_t now)
{
    struct buf line;
    int width, rows;

    buf_init(&line, LINE_MAX_SIZE);
    if (v->folded) {
        draw_folded(v->folded, NULL, p, &line);
        view_page_line(p, slice_str(""));
    }
    for (struct list *node = v->roots.next; node != &v->roots && p->at < p->to; node = node->next) {
        rows = measure(root_at(node), &width);
        if (p->at + rows + 2 <= p->from)
            p->at += rows + 2;
        else {
            draw_tree(v, root_at(node), width, p, now, &line);
            if (node->next != &v->roots && p->at < p->to)
                view_page_line(p, slice_str(""));
        }
    }
    buf_free(&line);
}
