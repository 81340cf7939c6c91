// SPDX-License-Identifier: Apache-2.0
/* JSON as text: parsing with our limits, and writing strings, numbers and base64. Numbers come out
 * the same in every locale. */
#include "wire/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Jansson recurses 2,048 deep, which is more than a small stack bears: measured before, not after.
 * Whether the text is JSON at all does not matter here. */
static bool nested_too_deep(struct slice text)
{
    const char *data = text.data;
    bool quoted = false;
    int depth = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = data[i];

        if (c == '"')
            quoted = !quoted;
        else if (quoted)
            i += c == '\\';
        else if (c == '[' || c == '{')
            depth++;
        else if (c == ']' || c == '}')
            depth--;
        if (depth > WIRE_DEPTH_MAX)
            return true;
    }
    return false;
}

json_t *wire_json_parse(struct slice text, struct error *err)
{
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    const char *data = text.len ? text.data : "";
    json_error_t why;
    json_t *root;

    if (nested_too_deep(text)) {
        error_set(err, CODE_INVALID_ARGUMENT, "JSON is nested more than %d deep", WIRE_DEPTH_MAX);
        return NULL;
    }
    root = json_loadb(data, text.len, flags, &why);
    if (!root && json_error_code(&why) == json_error_numeric_overflow)
        root = json_loadb(data, text.len, flags | JSON_DECODE_INT_AS_REAL, &why);
    if (root)
        return root;
    if (json_error_code(&why) == json_error_out_of_memory)
        error_memory(err);
    else
        error_set(err, CODE_INVALID_ARGUMENT, "not valid JSON: %s (line %d, column %d)", why.text,
                  why.line, why.column);
    return NULL;
}

const char *wire_json_kind(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

struct slice wire_json_slice(const json_t *string)
{
    return slice(json_string_value(string), json_string_length(string));
}

/* Text that is UTF-8, escaped as JSON asks and no further. */
static void put_escaped(struct buf *out, struct slice text)
{
    const unsigned char *data = text.data;
    size_t from = 0;

    for (size_t i = 0; i < text.len; i++) {
        static const char shorts[] = "\bb\ff\nn\rr\tt\"\"\\\\";
        const char *escape = NULL;

        if (data[i] >= ' ' && data[i] != '"' && data[i] != '\\')
            continue;
        buf_append(out, data + from, i - from);
        from = i + 1;
        for (const char *s = shorts; *s && !escape; s += 2)
            if ((unsigned char)*s == data[i])
                escape = s + 1;
        if (escape) {
            buf_append_byte(out, '\\');
            buf_append_byte(out, (uint8_t)*escape);
        } else {
            buf_printf(out, "\\u%04x", data[i]);
        }
    }
    buf_append(out, data ? data + from : NULL, text.len - from);
}

void wire_put_json_string(struct buf *out, struct slice text)
{
    buf_append_byte(out, '"');
    while (text.len > 0) {
        size_t good = slice_utf8_prefix(text);

        put_escaped(out, slice(text.data, good));
        if (good < text.len)
            buf_append_str(out, "\xef\xbf\xbd");
        good += good < text.len;
        text = slice((const char *)text.data + good, text.len - good);
    }
    buf_append_byte(out, '"');
}

/* printf writes the locale's decimal point, of one byte or more: nothing else in a number is
 * unknown to us. */
static void put_number(struct buf *out, const char *text)
{
    bool point = false;

    for (; *text; text++) {
        if (strchr("0123456789+-eE", *text))
            buf_append_byte(out, (uint8_t)*text);
        else if (!point) {
            buf_append_byte(out, '.');
            point = true;
        }
    }
}

static bool put_not_finite(struct buf *out, double number)
{
    if (isfinite(number))
        return false;
    buf_append_str(out, isnan(number) ? "\"NaN\"" : number > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    return true;
}

void wire_put_json_double(struct buf *out, double number)
{
    char text[40];

    if (put_not_finite(out, number))
        return;
    if (number == 0 && signbit(number)) { /* "-0" would be read as an integer, which has one zero */
        buf_append_str(out, "-0.0");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        double back;

        snprintf(text, sizeof text, "%.*g", digits, number);
        back = strtod(text, NULL);
        if (memcmp(&back, &number, sizeof back) == 0)
            break;
    }
    put_number(out, text);
}

void wire_put_json_float(struct buf *out, float number)
{
    char text[40];

    if (put_not_finite(out, (double)number))
        return;
    for (int digits = 6; digits <= 9; digits++) {
        float back;

        snprintf(text, sizeof text, "%.*g", digits, (double)number);
        back = strtof(text, NULL);
        if (memcmp(&back, &number, sizeof back) == 0)
            break;
    }
    put_number(out, text);
}
