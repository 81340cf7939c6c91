// SPDX-License-Identifier: Apache-2.0
/* Screens: margins, the page of a tab, a line of status, a line of help. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "cli/view.h"

#define LINE_MAX_BYTES 65536
#define LOG_PREFIX     3 /* " | " */
#define LOG_LEAST      10
#define WORDS_MAX      1024

/* --- pages ------------------------------------------------------------------------------------ */

void view_page_line(struct view_page *p, struct slice text)
{
    int used;

    if (view_page_wants(p)) {
        buf_append(p->out, text.data, cells_fit(text, p->columns, &used));
        buf_append_str(p->out, "\1\n");
    }
    p->at++;
}

/* --- times ------------------------------------------------------------------------------------ */

/* `value` in thousandths of the unit, without zeros at its end. */
static void put_thousandths(int64_t value, const char *unit, struct buf *out)
{
    char text[40];
    int len = snprintf(text, sizeof text, "%" PRId64 ".%03d", value / 1000, (int)(value % 1000));

    while (text[len - 1] == '0')
        len--;
    len -= text[len - 1] == '.';
    buf_printf(out, "%.*s%s", len, text, unit);
}

void view_put_duration(int64_t ns, struct buf *out)
{
    int64_t minutes = ns / NS_PER_S / 60;

    if (ns < NS_PER_S) {
        put_thousandths(ns / NS_PER_US, "ms", out);
        return;
    }
    if (minutes >= 60)
        buf_printf(out, "%" PRId64 "h", minutes / 60);
    if (minutes > 0)
        buf_printf(out, "%" PRId64 "m", minutes % 60);
    put_thousandths(ns / NS_PER_MS - minutes * 60000, "s", out);
}

void view_put_time(int64_t ns, struct buf *out)
{
    int64_t ms = ns / NS_PER_MS;
    time_t seconds = (time_t)(ms / 1000);
    char text[32] = "";
    struct tm local;

    if (localtime_r(&seconds, &local))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &local);
    buf_printf(out, "%s.%03d", text, (int)(ms % 1000));
}

/* --- the log ---------------------------------------------------------------------------------- */

static struct view_line *line_at(const struct view *v, size_t i)
{
    return &v->lines[(v->line_first + i) % VIEW_LINES_KEPT];
}

/* Behind the prefix, which a narrow terminal goes without. */
static int text_columns(const struct view *v, int columns)
{
    int left = columns - v->name_width - LOG_PREFIX;

    return left >= LOG_LEAST ? left : columns;
}

/* Bytes of clean text that fill a row: at least one character, and all that takes no cells. */
static size_t fill_row(struct slice text, int columns)
{
    int used, width;
    size_t len = cells_fit(text, columns, &used);

    return len || !text.len ? len : cells_next(text, &width);
}

static int count_rows(const struct view_line *line, int columns)
{
    size_t at = 0;
    int rows = 0;

    do {
        at += fill_row(slice(line->text + at, line->len - at), columns);
        rows++;
    } while (at < line->len);
    return rows;
}

void view_measure_log(struct view *v, int columns)
{
    columns = text_columns(v, columns);
    for (size_t i = 0; i < v->line_count; i++) {
        struct view_line *line = line_at(v, i);

        if (line->rows && columns == v->log_columns)
            continue;
        v->log_rows -= line->rows;
        line->rows = count_rows(line, columns);
        v->log_rows += line->rows;
    }
    v->log_columns = columns;
}

static void put_prefix(const struct view *v, const struct view_line *line, bool first,
                       struct buf *out)
{
    cells_style(out, line->ours ? CELLS_GREEN : CELLS_MAGENTA);
    cells_column(slice_str(!first       ? ""
                           : line->ours ? "dispatch"
                                        : v->name),
                 v->name_width, false, out);
    cells_style(out, CELLS_GRAY);
    buf_append_str(out, " | ");
    cells_style(out, CELLS_PLAIN);
}

static void draw_log_line(struct view *v, struct view_page *p, const struct view_line *line)
{
    struct buf row;
    size_t at = 0, n;

    if (p->at + line->rows <= p->from || p->at >= p->to) {
        p->at += line->rows;
        return;
    }
    buf_init(&row, LINE_MAX_BYTES);
    do {
        n = fill_row(slice(line->text + at, line->len - at), v->log_columns);
        buf_reset(&row);
        if (v->log_columns < p->columns)
            put_prefix(v, line, at == 0, &row);
        buf_append(&row, line->text + at, n);
        view_page_line(p, buf_slice(&row));
        at += n;
    } while (at < line->len);
    buf_free(&row);
}

void view_draw_log(struct view *v, struct view_page *p)
{
    for (size_t i = 0; i < v->line_count; i++)
        draw_log_line(v, p, line_at(v, i));
}

void view_dump(const struct view *v, bool colours, struct buf *out)
{
    static const char *const codes[CELLS_STYLES] = {
        [CELLS_PLAIN] = "0",   [CELLS_GRAY] = "90",    [CELLS_RED] = "31", [CELLS_GREEN] = "32",
        [CELLS_YELLOW] = "33", [CELLS_MAGENTA] = "35", [CELLS_BOLD] = "1"};
    struct buf line;

    buf_init(&line, VIEW_LOG_BYTES);
    for (size_t i = 0; i < v->line_count; i++) {
        const struct view_line *kept = line_at(v, i);

        buf_reset(&line);
        put_prefix(v, kept, true, &line);
        buf_append(&line, kept->text, kept->len);
        for (size_t j = 0; j < line.len; j++) {
            if (line.data[j] >= ' ')
                buf_append_byte(out, line.data[j]);
            else if (colours)
                buf_printf(out, "\033[%sm", codes[line.data[j]]);
        }
        buf_append_byte(out, '\n');
    }
    buf_free(&line);
}

/* --- before the first call -------------------------------------------------------------------- */

#define LOGO_ROWS  6
#define LOGO_WIDTH 39

static const char *const logo[LOGO_ROWS] = {
    "     _ _                 _       _",          "  __| (_)___ _ __   __ _| |_ ___| |__",
    " / _` | / __| '_ \\ / _` | __/ __| '_ \\",    "| (_| | \\__ \\ |_) | (_| | || (__| | | |",
    " \\__,_|_|___/ .__/ \\__,_|\\__\\___|_| |_|", "            |_|",
};
static const char *const cursor[2] = {" _____", "|_____|"};

static void draw_logo(struct view_page *p, int64_t now)
{
    bool lit = now / (NS_PER_S / 2) % 2 == 0, large = p->columns >= LOGO_WIDTH + 8;
    struct buf line;

    buf_init(&line, 4096);
    for (int i = 0; i < (large ? LOGO_ROWS : 1); i++) {
        buf_reset(&line);
        if (large)
            cells_column(slice_str(logo[i]), LOGO_WIDTH + 1, false, &line);
        else
            buf_append_str(&line, "dispatch");
        cells_style(&line, CELLS_GREEN);
        if (lit && (!large || i == 3 || i == 4))
            buf_append_str(&line, large ? cursor[i - 3] : "_");
        view_page_line(p, buf_slice(&line));
    }
    buf_free(&line);
}

/* --- around the page -------------------------------------------------------------------------- */

static bool is_logo(const struct view *v)
{
    return v->tab == VIEW_FUNCTIONS && v->total == 0;
}

static void put_status(const struct view *v, struct buf *out)
{
    if (v->selecting && v->tab == VIEW_FUNCTIONS) {
        buf_printf(out, "Select a function call by its number: %s", v->digits);
    } else if (v->trouble) {
        cells_style(out, CELLS_RED);
        buf_append_str(out, v->trouble);
    } else if (v->total == 0) {
        buf_append_str(out, v->ready ? "Waiting for function calls..." : "Initializing...");
    } else {
        buf_printf(out, "%" PRIu32 " total function call%s, %" PRIu32 " in-flight", v->total,
                   v->total == 1 ? "" : "s", v->in_flight);
    }
}

static void put_help(const struct view *v, struct buf *out)
{
    const char *tail = v->scroll[v->tab].tail ? "" : " \u2022 t tail";

    cells_style(out, CELLS_GRAY);
    if (v->tab == VIEW_DETAIL)
        buf_printf(out, "tab functions \u2022 esc back \u2022 \u2191/\u2193 scroll \u2022 q quit");
    else if (v->tab == VIEW_LOGS)
        buf_printf(out, "tab %s%s \u2022 \u2191/\u2193 scroll \u2022 q quit",
                   v->selected ? "detail" : "functions", tail);
    else if (v->selecting)
        buf_append_str(out, "enter open \u2022 esc leave");
    else if (is_logo(v))
        buf_append_str(out, "tab logs \u2022 q quit");
    else
        buf_printf(out, "tab logs \u2022 s select%s \u2022 \u2191/\u2193 scroll \u2022 q quit",
                   tail);
}

/* How the rows are shared out; all may be 0. */
struct layout {
    int above, page, below, between; /* rows: blank, of the page, blank, blank before the help */
    bool status, help;
    int margin; /* cells at the left, and at the right */
};

static struct layout lay_out(int rows, int columns)
{
    struct layout l = {.margin = columns >= 60 ? 2 : 0};

    l.status = rows >= 3;
    l.help = rows >= 4;
    l.above = rows >= 12;
    l.below = rows >= 8;
    l.between = rows >= 10;
    l.page = rows - l.above - l.below - l.between - l.status - l.help;
    return l;
}

static int count_lines(struct view *v, int columns, int64_t now)
{
    struct view_page nothing = {.columns = columns};

    if (v->tab == VIEW_LOGS) {
        view_measure_log(v, columns);
        return v->log_rows;
    }
    if (is_logo(v))
        return 0;
    if (v->tab == VIEW_FUNCTIONS)
        return view_count_functions(v);
    view_draw_detail(v, &nothing, now);
    return nothing.at;
}

static void scroll_to(struct view_scroll *s, int height, int total)
{
    int last = total > height ? total - height : 0;

    s->height = height;
    s->total = total;
    if (s->tail || s->top > last)
        s->top = last;
    if (s->top < 0)
        s->top = 0;
}

static void draw_page(struct view *v, int rows, int columns, int64_t now, struct buf *out)
{
    struct view_scroll *s = &v->scroll[v->tab];
    struct view_page page = {.out = out, .columns = columns};

    scroll_to(s, rows, count_lines(v, columns, now));
    page.from = s->top;
    page.to = s->top + rows;
    if (v->tab == VIEW_LOGS)
        view_draw_log(v, &page);
    else if (v->tab == VIEW_DETAIL)
        view_draw_detail(v, &page, now);
    else if (is_logo(v))
        draw_logo(&page, now);
    else
        view_draw_functions(v, &page, now);
    for (int drawn = page.at; drawn < page.to; drawn++)
        buf_append_byte(out, '\n');
}

static void put_line(struct slice text, int columns, bool wanted, struct buf *out)
{
    int used;

    if (!wanted)
        return;
    buf_append(out, text.data, cells_fit(text, columns, &used));
    buf_append_str(out, "\1\n");
}

static void put_blanks(int count, struct buf *out)
{
    for (int i = 0; i < count; i++)
        buf_append_byte(out, '\n');
}

/* The lines again, behind the margin. */
static void indent(struct slice lines, int margin, struct buf *out)
{
    const uint8_t *at = lines.data, *end = at + lines.len, *next;

    for (; at < end; at = next + 1) {
        next = memchr(at, '\n', (size_t)(end - at));
        if (*at != '\n')
            cells_spaces(out, margin);
        buf_append(out, at, (size_t)(next - at) + 1);
    }
}

void view_draw(struct view *v, int rows, int columns, int64_t now, struct buf *out)
{
    struct layout l = lay_out(rows, columns);
    int inside = columns - 2 * l.margin;
    struct buf screen, words;

    buf_init(&screen, (size_t)16 << 20);
    buf_init(&words, 8 * WORDS_MAX);
    put_blanks(l.above, &screen);
    draw_page(v, l.page, inside, now, &screen);
    put_blanks(l.below, &screen);
    put_status(v, &words);
    put_line(buf_slice(&words), inside, l.status, &screen);
    put_blanks(l.between, &screen);
    buf_reset(&words);
    put_help(v, &words);
    put_line(buf_slice(&words), inside, l.help, &screen);
    out->failed |= screen.failed; /* and its last line may lack an end */
    if (!out->failed)
        indent(buf_slice(&screen), l.margin, out);
    buf_free(&screen);
    buf_free(&words);
}

unsigned view_period_ms(const struct view *v)
{
    if (is_logo(v))
        return 500;
    return v->in_flight && v->tab != VIEW_LOGS ? 100 : 0;
}
