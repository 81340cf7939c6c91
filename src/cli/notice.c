// SPDX-License-Identifier: Apache-2.0
/* Boxes and quotes. */
#include "cli/notice.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/lines.h"

#define BORDER        "\033[38;2;135;75;253m"
#define PADDING       2
#define BOX_WIDTH_MAX 100

/* Characters; what takes two cells or none is rare here. */
static size_t width_of(const char *text, size_t len)
{
    size_t width = 0;

    for (size_t i = 0; i < len; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    return width;
}

static size_t widest_line(const char *text)
{
    size_t widest = 0;

    while (*text) {
        size_t len = strcspn(text, "\n"), width = width_of(text, len);

        widest = width > widest ? width : widest;
        text += len + (text[len] == '\n');
    }
    return widest;
}

static void edge(const char *left, const char *right, size_t width, bool colours)
{
    fprintf(stderr, "  %s%s", colours ? BORDER : "", left);
    for (size_t i = 0; i < width + 2 * PADDING; i++)
        fputs("\u2500", stderr);
    fprintf(stderr, "%s%s\n", right, colours ? "\033[0m" : "");
}

static void row(const char *text, size_t len, size_t width, bool colours)
{
    const char *on = colours ? BORDER : "", *off = colours ? "\033[0m" : "";

    fprintf(stderr, "  %s\u2502%s%*s%.*s%*s%s\u2502%s\n", on, off, PADDING, "", (int)len, text,
            (int)(width - width_of(text, len)) + PADDING, "", on, off);
}

static void print_box(const char *text, size_t width, bool colours)
{
    fputs("\n", stderr);
    edge("\u256d", "\u256e", width, colours);
    row("", 0, width, colours);
    while (*text) {
        size_t len = strcspn(text, "\n");

        row(text, len, width, colours);
        text += len + (text[len] == '\n');
    }
    row("", 0, width, colours);
    edge("\u2570", "\u256f", width, colours);
    fputs("\n", stderr);
}

void notice_print(const char *text)
{
    size_t width = widest_line(text);

    if (isatty(STDERR_FILENO) && width <= BOX_WIDTH_MAX)
        print_box(text, width, lines_colours(STDERR_FILENO));
    else
        fprintf(stderr, "\n%s\n\n", text);
}

void notice_quote(struct buf *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%+=:,./_-";

    if (*word && strspn(word, plain) == strlen(word)) {
        buf_append_str(out, word);
        return;
    }
    buf_append_str(out, "'");
    for (; *word; word++) {
        if (*word == '\'')
            buf_append_str(out, "'\\''");
        else
            buf_append(out, word, 1);
    }
    buf_append_str(out, "'");
}

void notice_command(struct buf *out, char *const *argv)
{
    for (size_t i = 0; argv[i]; i++) {
        if (i > 0)
            buf_append_str(out, " ");
        notice_quote(out, argv[i]);
    }
}
