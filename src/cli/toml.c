// SPDX-License-Identifier: Apache-2.0
/* Line by line: a table's header, or names, '=' and a value; each into a buffer of fixed size. */
#include "cli/toml.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BARE "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

struct names {
    char text[TOML_DEPTH_MAX][TOML_NAME_MAX];
    size_t depth;
};

struct reader {
    const char *p, *end; /* of the line that is read */
    struct names table, key;
    unsigned line;
    char value[TOML_VALUE_MAX];
    struct error *err;
};

static int refuse(struct reader *r, const char *what)
{
    return error_set(r->err, CODE_INVALID_ARGUMENT, "%s", what);
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
        r->p++;
}

static bool at(const struct reader *r, char c)
{
    return r->p < r->end && *r->p == c;
}

/* Nothing but a comment is left of the line. */
static int read_end(struct reader *r)
{
    skip_blanks(r);
    if (r->p < r->end && *r->p != '#')
        return refuse(r, "there is more behind what should end the line");
    return CODE_OK;
}

/* --- strings ---------------------------------------------------------------------------------- */

static size_t put_character(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Behind the backslash. Zero bytes: it is no escape, or of what is refused. */
static size_t read_escape(struct reader *r, char out[4])
{
    char letter = r->p < r->end ? *r->p++ : '\0';
    int digits = letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    uint32_t c = 0;

    if (letter == '"' || letter == '\\') {
        out[0] = letter;
        return 1;
    }
    for (int i = 0; i < digits; i++) {
        static const char hex[] = "0123456789abcdefABCDEF";
        const char *found = r->p < r->end ? memchr(hex, *r->p++, sizeof hex - 1) : NULL;
        uint32_t digit = found ? (uint32_t)(found - hex) : 0;

        if (!found)
            return 0;
        c = c << 4 | (digit > 15 ? digit - 6 : digit);
    }
    if (c < ' ' || c == 0x7f || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    return put_character(c, out);
}

/* From the quote on. */
static int read_string(struct reader *r, char *out, size_t size)
{
    char quote = *r->p, piece[4];
    size_t len = 0, n;

    if (r->end - r->p >= 3 && r->p[1] == quote && r->p[2] == quote)
        return refuse(r, "strings of several lines are not read");
    for (r->p++; r->p < r->end && *r->p != quote; len += n) {
        piece[0] = *r->p++;
        n = 1;
        if ((unsigned char)piece[0] < ' ' || piece[0] == 0x7f)
            return refuse(r, "there is a control character in a string");
        if (quote == '"' && piece[0] == '\\')
            n = read_escape(r, piece);
        if (n == 0)
            return refuse(r, "an escape in a string is not one of \\\" \\\\ \\uXXXX \\UXXXXXXXX");
        if (n >= size - len)
            return refuse(r, "a string is too long");
        memcpy(out + len, piece, n);
    }
    if (r->p == r->end)
        return refuse(r, "a string has no end");
    r->p++;
    out[len] = '\0';
    return CODE_OK;
}

static int read_bare(struct reader *r, const char *letters, char *out, size_t size)
{
    size_t len = 0;

    while (r->p + len < r->end && r->p[len] && strchr(letters, r->p[len]))
        len++;
    if (len == 0)
        return refuse(r, "a name or a value is missing, or is of a kind that is not read");
    if (len >= size)
        return refuse(r, "a name or a value is too long");
    memcpy(out, r->p, len);
    out[len] = '\0';
    r->p += len;
    return CODE_OK;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Names with dots between them. */
static int read_names(struct reader *r, struct names *names)
{
    int code;

    for (names->depth = 0;; r->p++) {
        if (names->depth == TOML_DEPTH_MAX)
            return refuse(r, "tables are too deep");
        skip_blanks(r);
        code = at(r, '\'') || at(r, '"')
                   ? read_string(r, names->text[names->depth], TOML_NAME_MAX)
                   : read_bare(r, BARE, names->text[names->depth], TOML_NAME_MAX);
        if (code)
            return code;
        names->depth++;
        skip_blanks(r);
        if (!at(r, '.'))
            return CODE_OK;
    }
}

static int read_table(struct reader *r)
{
    int code;

    r->p++;
    if (at(r, '['))
        return refuse(r, "arrays of tables are not read");
    code = read_names(r, &r->table);
    if (code)
        return code;
    if (!at(r, ']'))
        return refuse(r, "the name of a table ends with ']'");
    r->p++;
    return read_end(r);
}

static int read_value(struct reader *r, struct toml_pair *pair)
{
    skip_blanks(r);
    pair->quoted = at(r, '\'') || at(r, '"');
    pair->value = r->value;
    return pair->quoted ? read_string(r, r->value, sizeof r->value)
                        : read_bare(r, BARE "+.:", r->value, sizeof r->value);
}

/* From the bracket on; what was taken before an error stays taken. */
static int read_array(struct reader *r, struct toml_pair *pair, toml_taken *taken, void *arg)
{
    int code = CODE_OK;

    pair->listed = true;
    do {
        r->p++;
        skip_blanks(r);
        if (at(r, ']')) /* there is no value, or no further one */
            break;
        code = read_value(r, pair);
        if (code == CODE_OK)
            code = taken(arg, pair, r->err);
        if (code)
            return code;
        skip_blanks(r);
    } while (at(r, ','));
    if (!at(r, ']'))
        return refuse(r, "an array ends with ']', on the same line");
    r->p++;
    return read_end(r);
}

/* Everything to the left of a value. */
static int read_name(struct reader *r, struct toml_pair *pair)
{
    int code = read_names(r, &r->key);

    if (code)
        return code;
    if (!at(r, '='))
        return refuse(r, "there is no '=' behind a name");
    r->p++;
    skip_blanks(r);
    if (r->table.depth + r->key.depth > TOML_DEPTH_MAX)
        return refuse(r, "tables are too deep");
    for (size_t i = 0; i < r->table.depth; i++)
        pair->names[pair->depth++] = r->table.text[i];
    for (size_t i = 0; i < r->key.depth; i++)
        pair->names[pair->depth++] = r->key.text[i];
    pair->line = r->line;
    return CODE_OK;
}

static int read_line(struct reader *r, toml_taken *taken, void *arg)
{
    struct toml_pair pair = {0};
    int code;

    if (!slice_is_utf8(slice(r->p, (size_t)(r->end - r->p))))
        return refuse(r, "it is not UTF-8");
    skip_blanks(r);
    if (r->p == r->end || *r->p == '#')
        return CODE_OK;
    if (*r->p == '[')
        return read_table(r);
    code = read_name(r, &pair);
    if (code == CODE_OK && at(r, '['))
        return read_array(r, &pair, taken, arg);
    if (code == CODE_OK)
        code = read_value(r, &pair);
    if (code == CODE_OK)
        code = read_end(r);
    return code ? code : taken(arg, &pair, r->err);
}

int toml_read(struct slice text, toml_taken *taken, void *arg, struct error *err)
{
    const char *p = text.data, *end = text.len ? p + text.len : p, *next;
    struct error why;
    struct reader r = {.err = &why};

    for (; p < end; p = next) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        int code;

        r.line++;
        r.p = p;
        r.end = newline ? newline : end;
        next = newline ? newline + 1 : end;
        if (r.end > r.p && r.end[-1] == '\r')
            r.end--;
        code = read_line(&r, taken, arg);
        if (code)
            return error_set(err, code, "line %u: %s", r.line, why.message);
    }
    return CODE_OK;
}

void toml_write_string(struct buf *out, const char *text)
{
    if (!strchr(text, '\'')) {
        buf_printf(out, "'%s'", text);
        return;
    }
    buf_append_byte(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_append_byte(out, '\\');
        buf_append(out, text, 1);
    }
    buf_append_byte(out, '"');
}
