// SPDX-License-Identifier: Apache-2.0
/* UTF-8 on the one side, cells on the other. */
#include "cli/cells.h"

#include <wchar.h>

#define REPLACEMENT   "\xef\xbf\xbd"
#define COMBINING_MAX 3 /* behind one character: more are somebody's joke */
#define TAB           4

/* --- characters ------------------------------------------------------------------------------- */

/* Of well-formed UTF-8. */
static size_t decode(const uint8_t *at, uint32_t *c)
{
    size_t len = *at < 0x80 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;

    *c = len == 1 ? *at : *at & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        *c = *c << 6 | (at[i] & 0x3f);
    return len;
}

/* Those without a width of their own that may change what is around them: joiners, directions. */
static bool is_invisible(uint32_t c)
{
    return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
           c >= 0xe0000;
}

/* -1: it cannot be shown. */
static int width_of(uint32_t c)
{
    return c < 0x7f ? 1 : is_invisible(c) ? -1 : wcwidth((wchar_t)c);
}

size_t cells_next(struct slice text, int *width)
{
    const uint8_t *at = text.data;
    uint32_t c;
    size_t len = decode(at, &c);
    int more;

    if (c < ' ') {
        *width = 0;
        return len;
    }
    more = width_of(c);
    *width = more < 0 ? 1 : more;
    while (len < text.len && at[len] >= 0x80) {
        size_t n = decode(at + len, &c);

        if (width_of(c) != 0)
            break;
        len += n;
    }
    return len;
}

size_t cells_fit(struct slice text, int width, int *used)
{
    const uint8_t *at = text.data;
    size_t len = 0;

    *used = 0;
    while (len < text.len) {
        int w;
        size_t n = cells_next(slice(at + len, text.len - len), &w);

        if (*used + w > width)
            break;
        *used += w;
        len += n;
    }
    return len;
}

int cells_width(struct slice text)
{
    int width;

    cells_fit(text, INT32_MAX / 2, &width);
    return width;
}

/* --- cleaning --------------------------------------------------------------------------------- */

/* The length of the escape sequence at the front, as far as it goes. */
static size_t sequence(const uint8_t *at, size_t len)
{
    size_t n = 2;

    if (len < 2)
        return len;
    if (at[1] == '[') { /* CSI: parameters, intermediates, a final byte */
        while (n < len && at[n] >= 0x20 && at[n] < 0x40)
            n++;
        return n < len && at[n] >= 0x40 && at[n] < 0x7f ? n + 1 : n;
    }
    if (memchr("]PX^_", at[1], 5)) { /* a string, up to BEL or ST */
        while (n < len && at[n] != 7 && at[n] != 0x1b)
            n++;
        if (n < len && at[n] == 0x1b && n + 1 < len && at[n + 1] == '\\')
            return n + 2;
        return n < len && at[n] == 7 ? n + 1 : n;
    }
    n = 1; /* intermediates, a final byte */
    while (n < len && at[n] >= 0x20 && at[n] < 0x30)
        n++;
    return n < len && at[n] >= 0x30 && at[n] < 0x7f ? n + 1 : n;
}

static void put_styled(struct slice escape, struct buf *out)
{
    static const struct {
        const char *text;
        enum cells_style style;
    } known[] = {{"\033[0m", CELLS_PLAIN},
                 {"\033[90m", CELLS_GRAY},
                 {"\033[31m", CELLS_RED},
                 {"\033[33m", CELLS_YELLOW}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (slice_eq_str(escape, known[i].text))
            cells_style(out, known[i].style);
    }
}

/* One character that is no control; how many may combine with the one before. */
static int put_char(const uint8_t *at, size_t len, uint32_t c, int combining, struct buf *out)
{
    int width = width_of(c);

    if (width > 0) {
        buf_append(out, at, len);
        return COMBINING_MAX;
    }
    if (width < 0 || combining == 0)
        return combining;
    buf_append(out, at, len);
    return combining - 1;
}

void cells_clean(struct slice text, bool styled, struct buf *out)
{
    const uint8_t *at = text.data;
    size_t left = text.len, good = 0, n;
    int combining = 0;
    uint32_t c;

    for (; left > 0; at += n, left -= n, good -= n < good ? n : good) {
        if (good == 0)
            good = slice_utf8_prefix(slice(at, left));
        n = 1;
        if (good == 0) {
            buf_append_str(out, REPLACEMENT);
            combining = 0;
        } else if (*at == 0x1b) {
            n = sequence(at, left);
            if (styled)
                put_styled(slice(at, n), out);
        } else if (*at == '\t') {
            cells_spaces(out, TAB);
        } else if (*at == '\n') {
            buf_append_byte(out, ' ');
        } else if (*at >= ' ' && *at != 0x7f) {
            n = decode(at, &c);
            combining = c < 0xa0 && c >= 0x80 ? combining : put_char(at, n, c, combining, out);
        }
    }
}

/* --- columns ---------------------------------------------------------------------------------- */

void cells_style(struct buf *out, enum cells_style style)
{
    buf_append_byte(out, (uint8_t)style);
}

void cells_spaces(struct buf *out, int count)
{
    for (int i = 0; i < count; i++)
        buf_append_byte(out, ' ');
}

void cells_column(struct slice text, int width, bool right, struct buf *out)
{
    int used = cells_width(text), dots;
    size_t len = text.len;

    if (used <= width) {
        cells_spaces(out, right ? width - used : 0);
        buf_append_slice(out, text);
        cells_spaces(out, right ? 0 : width - used);
        return;
    }
    dots = width > 3 ? 3 : 0;
    len = cells_fit(text, width - dots, &used);
    buf_append(out, text.data, len);
    buf_append(out, "...", (size_t)dots);
    cells_spaces(out, width - dots - used);
}
