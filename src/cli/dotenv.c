// SPDX-License-Identifier: Apache-2.0
/* One pass over the text; a value is put together in a buffer, then kept in the arena. */
#include "cli/dotenv.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"

#define LETTERS        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
#define DIGITS         "0123456789"
#define NAME_MAX_BYTES 256

struct reader {
    const char *p, *end;
    struct dotenv *out;
    struct buf value;
    struct error *err;
};

static int refuse(const struct reader *r, const char *what)
{
    return error_set(r->err, CODE_INVALID_ARGUMENT, "%s", what);
}

static char peek(const struct reader *r)
{
    return r->p < r->end ? *r->p : '\n';
}

static void skip_blanks(struct reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\r')
        r->p++;
}

static size_t name_length(const struct reader *r, const char *further)
{
    size_t len = 0;

    while (r->p + len < r->end && r->p[len] &&
           (strchr(LETTERS, r->p[len]) || (len > 0 && strchr(further, r->p[len]))))
        len++;
    return len;
}

/* At a '$': NAME or {NAME} behind it; else it is a '$'. */
static void expand(struct reader *r)
{
    const char *dollar = r->p++;
    bool braces = peek(r) == '{';
    size_t len;

    r->p += braces;
    len = name_length(r, DIGITS);
    if (len == 0 || (braces && (r->p + len == r->end || r->p[len] != '}'))) {
        buf_append_byte(&r->value, '$');
        r->p = dollar + 1;
        return;
    }
    for (size_t i = r->out->count; i-- > 0;) {
        if (slice_eq_str(slice(r->p, len), r->out->variables[i].name)) {
            buf_append_str(&r->value, r->out->variables[i].value);
            break;
        }
    }
    r->p += len + braces;
}

static void read_escape(struct reader *r)
{
    char c = peek(r);

    buf_append_byte(&r->value, (uint8_t)(c == 'n' ? '\n' : c == 'r' ? '\r' : c));
    r->p += r->p < r->end;
}

static int read_quoted(struct reader *r)
{
    char quote = *r->p++;

    while (r->p < r->end && *r->p != quote) {
        if (quote == '"' && *r->p == '$') {
            expand(r);
        } else if (quote == '"' && *r->p == '\\') {
            r->p++;
            read_escape(r);
        } else {
            buf_append_byte(&r->value, (uint8_t)*r->p++);
        }
    }
    if (r->p == r->end)
        return refuse(r, "a quote is not closed");
    r->p++;
    skip_blanks(r);
    if (peek(r) != '\n' && peek(r) != '#')
        return refuse(r, "there is more behind the closing quote");
    return CODE_OK;
}

static void read_plain(struct reader *r)
{
    bool blank = true; /* before it */

    while (peek(r) != '\n' && !(blank && *r->p == '#')) {
        blank = *r->p == ' ' || *r->p == '\t';
        if (*r->p == '$')
            expand(r);
        else
            buf_append_byte(&r->value, (uint8_t)*r->p++);
    }
    while (r->value.len > 0 && memchr(" \t\r", r->value.data[r->value.len - 1], 3))
        r->value.len--;
}

static int read_variable(struct reader *r, struct arena *arena)
{
    struct dotenv_variable *v = &r->out->variables[r->out->count];
    size_t len;
    int code = CODE_OK;

    if (r->end - r->p > 7 && memcmp(r->p, "export", 6) == 0 && (r->p[6] == ' ' || r->p[6] == '\t'))
        r->p += 7;
    skip_blanks(r);
    len = name_length(r, DIGITS ".");
    if (len == 0 || len > NAME_MAX_BYTES)
        return refuse(r, "it does not begin with the name of a variable");
    if (r->out->count == DOTENV_MAX)
        return refuse(r, "there are too many variables");
    v->name = arena_dup(arena, slice(r->p, len));
    r->p += len;
    skip_blanks(r);
    if (peek(r) != '=')
        return refuse(r, "there is no '=' behind the name");
    r->p++;
    skip_blanks(r);
    buf_reset(&r->value);
    if (peek(r) == '\'' || peek(r) == '"')
        code = read_quoted(r);
    else
        read_plain(r);
    if (code)
        return code;
    if (r->value.failed)
        return refuse(r, "the value is too long");
    if (r->value.len > 0 && memchr(r->value.data, '\0', r->value.len))
        return refuse(r, "there is a NUL in the value");
    v->value = arena_dup(arena, buf_slice(&r->value));
    if (!v->name || !v->value)
        return error_memory(r->err);
    r->out->count++;
    return CODE_OK;
}

static size_t line_of(const char *text, const char *p)
{
    size_t line = 1;

    for (; text < p; text++)
        line += *text == '\n';
    return line;
}

int dotenv_read(struct dotenv *dotenv, struct slice text, struct arena *arena, struct error *err)
{
    const char *begin = text.data, *at;
    struct error why;
    struct reader r = {
        .p = begin, .end = text.len ? begin + text.len : begin, .out = dotenv, .err = &why};
    int code = CODE_OK;

    dotenv->count = 0;
    buf_init(&r.value, DOTENV_BYTES_MAX);
    while (code == CODE_OK && r.p < r.end) {
        skip_blanks(&r);
        at = r.p;
        if (peek(&r) != '\n' && peek(&r) != '#') {
            code = read_variable(&r, arena);
            if (code)
                error_set(err, code, "line %zu: %s", line_of(begin, at), why.message);
        }
        while (r.p < r.end && *r.p++ != '\n')
            ;
    }
    buf_free(&r.value);
    return code;
}

/* --- files ------------------------------------------------------------------------------------ */

static int read_file(FILE *file, struct dotenv *dotenv, struct arena *arena, struct error *err)
{
    char *text = arena_alloc(arena, DOTENV_BYTES_MAX + 1);
    size_t n;

    if (!text)
        return error_memory(err);
    n = fread(text, 1, DOTENV_BYTES_MAX + 1, file);
    if (ferror(file))
        return error_set(err, CODE_UNAVAILABLE, "%s", strerror(errno));
    if (n > DOTENV_BYTES_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "it is larger than %zu bytes",
                         DOTENV_BYTES_MAX);
    return dotenv_read(dotenv, slice(text, n), arena, err);
}

static int load(const char *path, struct dotenv *dotenv, struct arena *arena, struct error *err)
{
    FILE *file = fopen(path, "re");
    int code;

    if (!file)
        return error_set(err, CODE_NOT_FOUND, "%s", strerror(errno));
    code = read_file(file, dotenv, arena, err);
    fclose(file);
    /* From the last one on, so that it is the one that finds its place free. */
    for (size_t i = dotenv->count; code == CODE_OK && i-- > 0;) {
        if (setenv(dotenv->variables[i].name, dotenv->variables[i].value, 0))
            code = error_memory(err);
    }
    return code;
}

int dotenv_load(const char *path, struct error *err)
{
    char real[PATH_MAX], here[PATH_MAX];
    struct dotenv *dotenv = calloc(1, sizeof *dotenv);
    struct arena arena;
    struct error why;
    int code;

    arena_init(&arena, 4 * DOTENV_BYTES_MAX);
    code = dotenv ? load(path, dotenv, &arena, &why) : error_memory(&why);
    arena_reset(&arena);
    free(dotenv);
    if (code == CODE_OK)
        return CODE_OK;
    if (path[0] == '/' || !getcwd(here, sizeof here))
        here[0] = '\0';
    snprintf(real, sizeof real, "%s%s", here[0] ? "/" : "", path);
    return error_set(err, code, "failed to load env file from %s%s: %s", here, real, why.message);
}
