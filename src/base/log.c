// SPDX-License-Identifier: Apache-2.0
/*
 * A line is built on the stack, so that logging works when memory is short, and written at once, so
 * that lines of several threads do not mix. A field that no longer fits the line is left out, and
 * the line then ends with truncated=true. errno is left as it was.
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define GRAY  "\033[90m"
#define PLAIN "\033[0m"

enum { LINE_MAX_BYTES = 8192, LINE_TAIL = 24, VALUE_MAX = 1000 };

struct line {
    enum log_format format;
    bool colours;
    bool full; /* something did not fit */
    size_t len;
    size_t start; /* behind the prefix */
    char text[LINE_MAX_BYTES];
};

static void put(struct line *l, const void *data, size_t len)
{
    /* LINE_TAIL is kept for what finish() adds. */
    if (l->full || len > sizeof l->text - LINE_TAIL - l->len) {
        l->full = true;
        return;
    }
    memcpy(l->text + l->len, data, len);
    l->len += len;
}

static void put_str(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* The escape of the byte or two-byte sequence at `p`; NULL if it stands as it is. C1 controls are
 * escaped too: some terminals obey them. */
static const char *escape(const uint8_t *p, size_t len, char out[8])
{
    switch (p[0]) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        break;
    }
    if (p[0] < 0x20 || p[0] == 0x7f)
        snprintf(out, 8, "\\u%04x", p[0]);
    else if (p[0] == 0xc2 && len > 1 && p[1] < 0xa0)
        snprintf(out, 8, "\\u%04x", p[1]);
    else
        return NULL;
    return out;
}

static size_t char_len(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static void put_quoted(struct line *l, struct slice value, bool cut)
{
    const uint8_t *p = value.data;
    char buffer[8];

    put(l, "\"", 1);
    for (size_t i = 0; i < value.len;) {
        size_t good = slice_utf8_prefix(slice(p + i, value.len - i));
        const char *escaped;

        if (good == 0) {
            put_str(l, "\\ufffd");
            i++;
        }
        for (size_t end = i + good; i < end; i += char_len(p[i])) {
            escaped = escape(p + i, end - i, buffer);
            if (escaped)
                put_str(l, escaped);
            else
                put(l, p + i, char_len(p[i]));
        }
    }
    put_str(l, cut ? "...\"" : "\"");
}

/* True if logfmt can have the value without quotes. */
static bool is_plain(struct slice value)
{
    const uint8_t *p = value.data;
    char buffer[8];

    if (value.len == 0 || !slice_is_utf8(value))
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (p[i] == ' ' || p[i] == '=' || escape(p + i, value.len - i, buffer))
            return false;
    return true;
}

/* At most VALUE_MAX bytes, not ending inside a character. */
static struct slice shorten(struct slice value)
{
    const uint8_t *p = value.data;
    size_t len = VALUE_MAX;

    if (value.len <= VALUE_MAX)
        return value;
    while (len > VALUE_MAX - 3 && (p[len] & 0xc0) == 0x80)
        len--;
    return slice(p, (p[len] & 0xc0) == 0x80 ? VALUE_MAX : len);
}

static void put_value(struct line *l, struct slice value, bool always_quoted)
{
    struct slice shown = shorten(value);
    bool cut = shown.len < value.len;

    if (l->format != LOG_JSON && !always_quoted && !cut && is_plain(value))
        put(l, value.data, value.len);
    else
        put_quoted(l, shown, cut);
}

static void put_key(struct line *l, const char *key)
{
    if (l->format != LOG_JSON) {
        put_str(l, l->len > l->start ? " " : "");
        put_str(l, l->colours ? GRAY : "");
        put_str(l, key);
        put_str(l, l->colours ? "=" PLAIN : "=");
    } else {
        put_str(l, l->len > l->start ? "," : "{");
        put_quoted(l, slice_str(key), false);
        put(l, ":", 1);
    }
}

/* The field whole, or not at all. */
static void put_field(struct line *l, const struct log_field *field)
{
    size_t before = l->len;
    char number[24];

    if (l->full)
        return;
    put_key(l, field->key);
    switch (field->kind) {
    case LOG_TEXT:
        put_value(l, slice_str(field->text), false);
        break;
    case LOG_INT:
        snprintf(number, sizeof number, "%" PRId64, field->number);
        put_str(l, number);
        break;
    case LOG_BYTES:
        put_value(l, field->bytes, false);
        break;
    }
    if (l->full)
        l->len = before;
}

static void put_plain_head(struct line *l, enum log_level level, const char *message)
{
    const char *shown = level == LOG_WARN ? " WARN" : level == LOG_ERROR ? " ERROR" : "";
    char stamp[64];
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    snprintf(stamp, sizeof stamp, "%04d-%02d-%02d %02d:%02d:%02d.%03d", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
             (int)(now.tv_nsec / 1000000));
    put_str(l, l->colours ? GRAY : "");
    put_str(l, stamp);
    put_str(l, l->colours ? PLAIN : "");
    put_str(l, shown);
    put_str(l, " ");
    put_str(l, message);
}

static void put_head(struct line *l, enum log_level level, const char *message)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char stamp[64];
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    snprintf(stamp, sizeof stamp, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
             (int)(now.tv_nsec / 1000000));
    put_field(l, &LOG_STR("time", stamp));
    put_field(l, &LOG_STR("level", (unsigned)level < 4 ? names[level] : "error"));
    put_key(l, "msg");
    put_value(l, slice_str(message), true);
}

static void finish(struct line *l)
{
    bool json = l->format == LOG_JSON;

    if (l->full) {
        const char *tail = json ? ",\"truncated\":true" : " truncated=true";

        memcpy(l->text + l->len, tail, strlen(tail));
        l->len += strlen(tail);
    }
    if (json)
        l->text[l->len++] = '}';
    l->text[l->len++] = '\n';
}

void log_write(struct log *log, enum log_level level, const char *message,
               const struct log_field *fields, size_t count)
{
    int saved = errno;
    struct line l;
    size_t done = 0;

    if (!log || level < log->level)
        return;
    l.format = log->format;
    l.colours = log->colours && log->format == LOG_PLAIN;
    l.full = false;
    l.len = 0;
    if (log->prefix)
        put(&l, log->prefix, strnlen(log->prefix, LOG_PREFIX_MAX));
    l.start = l.len;
    if (log->format == LOG_PLAIN)
        put_plain_head(&l, level, message);
    else
        put_head(&l, level, message);
    for (size_t i = 0; i < count; i++)
        put_field(&l, &fields[i]);
    finish(&l);
    if (log->sink) {
        log->sink(log->sink_arg, level, l.text, l.len - 1);
        done = l.len;
    }
    while (done < l.len) {
        ssize_t n = write(log->fd, l.text + done, l.len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* nobody to tell it to */
        done += (size_t)n;
    }
    errno = saved;
}
