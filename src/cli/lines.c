// SPDX-License-Identifier: Apache-2.0
/* A line is put together behind its prefix, in a buffer of fixed size. */
#include "cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_CHARS 64

void lines_init(struct lines *l, int fd, const char *prefix)
{
    l->fd = fd;
    l->sink = NULL;
    l->len = 0;
    l->prefix_len = strnlen(prefix, LINES_PREFIX_MAX);
    memcpy(l->text, prefix, l->prefix_len);
}

/* Whoever has no reader any more loses what is written. */
static void write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EAGAIN) { /* somebody we share it with does not want to block */
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

/* Writes the first `len` bytes of the line as one. */
static void put_line(struct lines *l, size_t len)
{
    char *line = l->text + l->prefix_len, behind = line[len];

    if (l->sink) {
        l->sink(l->sink_arg, slice(line, len));
    } else {
        line[len] = '\n';
        write_all(l->fd, l->text, l->prefix_len + len + 1);
        line[len] = behind;
    }
    l->len -= len;
    memmove(line, line + len, l->len);
}

/* How much of a full line is written without cutting a character in two. */
static size_t whole_characters(const struct lines *l)
{
    const uint8_t *line = (const uint8_t *)l->text + l->prefix_len;
    size_t len = l->len;

    while (len > l->len - 3 && (line[len - 1] & 0xc0) == 0x80)
        len--;
    return line[len - 1] >= 0xc0 ? len - 1 : l->len;
}

void lines_feed(struct lines *l, const char *data, size_t len)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len;
        bool ends = end;

        if (n > LINES_MAX - l->len) {
            n = LINES_MAX - l->len;
            ends = false;
        }
        memcpy(l->text + l->prefix_len + l->len, data, n);
        l->len += n;
        if (ends)
            put_line(l, l->len);
        else if (l->len == LINES_MAX && n < len)
            put_line(l, whole_characters(l));
        n += ends;
        data += n;
        len -= n;
    }
}

void lines_end(struct lines *l)
{
    if (l->len > 0)
        put_line(l, l->len);
}

void lines_prefix(char prefix[LINES_PREFIX_MAX], const char *name, int width, const char *colour,
                  bool colours)
{
    char shown[NAME_MAX_CHARS + 1];
    size_t len = strnlen(name, NAME_MAX_CHARS);

    for (size_t i = 0; i < len; i++)
        shown[i] = (uint8_t)name[i] < ' ' || name[i] == 0x7f ? '?' : name[i];
    shown[len] = '\0';
    if (colours)
        snprintf(prefix, LINES_PREFIX_MAX, "\033[%sm%-*s\033[90m | \033[0m", colour, width, shown);
    else
        snprintf(prefix, LINES_PREFIX_MAX, "%-*s | ", width, shown);
}

bool lines_colours(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fd) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}
