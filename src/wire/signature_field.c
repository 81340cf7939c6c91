// SPDX-License-Identifier: Apache-2.0
/*
 * Structured fields, bounded: dictionaries whose members are byte sequences, or one inner list of
 * strings with parameters. Strings with escapes, parameters of components, decimals and nested
 * lists are refused: nobody who signs Run requests writes them.
 *
 * An inner list is written out again while it is read, as the signature is over its canonical form:
 * white space is all that may differ.
 */
#include <sodium.h>
#include <string.h>

#include "wire/signature_inner.h"

enum { PARAMS_MAX = 16, MEMBERS_MAX = 16, KEY_LENGTH_MAX = 64, INTEGER_DIGITS = 15 };

static bool peek(const struct slice *in, char c)
{
    return in->len > 0 && *(const char *)in->data == c;
}

static void drop(struct slice *in, size_t n)
{
    *in = slice((const char *)in->data + n, in->len - n);
}

static bool take(struct slice *in, char c)
{
    if (!peek(in, c))
        return false;
    drop(in, 1);
    return true;
}

static void skip_space(struct slice *in, bool tabs)
{
    while (peek(in, ' ') || (tabs && peek(in, '\t')))
        drop(in, 1);
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The name of a member or of a parameter. */
static bool take_key(struct slice *in, struct slice *key)
{
    const char *p = in->data;
    size_t n = 0;

    if (in->len == 0 || !(is_lower(p[0]) || p[0] == '*'))
        return false;
    while (n < in->len && (is_lower(p[n]) || is_digit(p[n]) || (p[n] && strchr("_-.*", p[n]))))
        n++;
    if (n > KEY_LENGTH_MAX)
        return false;
    *key = slice(p, n);
    drop(in, n);
    return true;
}

/* What stands between quotes. */
static bool take_string(struct slice *in, struct slice *text)
{
    const char *p;
    size_t n = 0;

    if (!take(in, '"'))
        return false;
    p = in->data;
    while (n < in->len && p[n] >= ' ' && p[n] < 0x7f && p[n] != '"' && p[n] != '\\')
        n++;
    if (n == in->len || p[n] != '"')
        return false;
    *text = slice(p, n);
    drop(in, n + 1);
    return true;
}

static bool take_integer(struct slice *in, int64_t *number)
{
    bool negative = take(in, '-');
    const char *p = in->data;
    int64_t value = 0;
    size_t n = 0;

    while (n < in->len && is_digit(p[n]) && n <= INTEGER_DIGITS)
        value = 10 * value + (p[n++] - '0');
    if (n == 0 || n > INTEGER_DIGITS || (n < in->len && p[n] == '.'))
        return false;
    *number = negative ? -value : value;
    drop(in, n);
    return true;
}

/* What stands between colons, decoded: at most `max` bytes. */
static bool take_bytes(struct slice *in, uint8_t *out, size_t max, size_t *len)
{
    const char *p, *end;

    if (!take(in, ':'))
        return false;
    p = in->data;
    end = in->len ? memchr(p, ':', in->len) : NULL;
    if (!end || sodium_base642bin(out, max, p, (size_t)(end - p), NULL, len, NULL,
                                  sodium_base64_VARIANT_ORIGINAL))
        return false;
    drop(in, (size_t)(end - p) + 1);
    return true;
}

/* Behind a member: at the end, or before the next one. *more: there is one. False: neither. */
static bool next_member(struct slice *in, bool *more)
{
    skip_space(in, true);
    *more = take(in, ',');
    skip_space(in, true);
    return *more ? in->len > 0 : in->len == 0;
}

/* --- Signature-Input -------------------------------------------------------------------------- */

static int malformed(const char *header, struct error *err)
{
    return error_set(err, CODE_PERMISSION_DENIED, "malformed %s header", header);
}

static bool has_component(const struct signature_input *input, struct slice name)
{
    for (size_t i = 0; i < input->component_count; i++) {
        if (slice_eq(input->components[i], name))
            return true;
    }
    return false;
}

static bool take_components(struct slice *in, struct signature_input *input)
{
    bool first = true;

    if (!take(in, '('))
        return false;
    buf_append_byte(&input->params, '(');
    for (;;) {
        struct slice name;

        skip_space(in, false);
        if (take(in, ')'))
            break;
        if (input->component_count == SIGNATURE_COMPONENTS_MAX || !take_string(in, &name) ||
            !(peek(in, ' ') || peek(in, ')')) || has_component(input, name))
            return false;
        input->components[input->component_count++] = name;
        buf_printf(&input->params, "%s\"%.*s\"", first ? "" : " ", SLICE_FMT(name));
        first = false;
    }
    buf_append_byte(&input->params, ')');
    return true;
}

/* Each of the parameters that mean something to us may come once. */
static bool take_text(struct slice *in, bool *has, struct slice *text)
{
    if (*has || !take_string(in, text))
        return false;
    return *has = true;
}

static bool take_time(struct slice *in, bool *has, int64_t *time)
{
    if (*has || !take_integer(in, time))
        return false;
    return *has = true;
}

/* The value of a parameter; its canonical form is how it is written. */
static bool take_value(struct slice *in, struct slice key, struct signature_input *input)
{
    struct slice before = *in, other;
    int64_t number;
    bool good;

    if (slice_eq_str(key, "created"))
        good = take_time(in, &input->has_created, &input->created);
    else if (slice_eq_str(key, "expires"))
        good = take_time(in, &input->has_expires, &input->expires);
    else if (slice_eq_str(key, "keyid"))
        good = take_text(in, &input->has_keyid, &input->keyid);
    else if (slice_eq_str(key, "alg"))
        good = take_text(in, &input->has_alg, &input->alg);
    else
        good = peek(in, '"') ? take_string(in, &other) : take_integer(in, &number);
    if (good)
        buf_append_slice(&input->params, slice(before.data, before.len - in->len));
    return good;
}

static bool take_params(struct slice *in, struct signature_input *input)
{
    for (size_t count = 0; take(in, ';'); count++) {
        struct slice key;

        skip_space(in, false);
        if (count == PARAMS_MAX || !take_key(in, &key) || !take(in, '='))
            return false;
        buf_printf(&input->params, ";%.*s=", SLICE_FMT(key));
        if (!take_value(in, key, input))
            return false;
    }
    return true;
}

int signature_read_input(struct slice text, struct signature_input *input, struct error *err)
{
    bool more;

    *input = (struct signature_input){0};
    buf_init(&input->params, 2 * SIGNATURE_FIELD_MAX);
    skip_space(&text, true);
    if (!take_key(&text, &input->label) || !take(&text, '=') || !take_components(&text, input) ||
        !take_params(&text, input) || !next_member(&text, &more))
        return malformed("Signature-Input", err);
    if (input->params.failed)
        return error_memory(err);
    if (more)
        return error_set(err, CODE_PERMISSION_DENIED,
                         "more than one signature: exactly one is expected");
    return 0;
}

/* --- Signature and Content-Digest ------------------------------------------------------------- */

int signature_read_bytes(struct slice text, struct slice label, uint8_t out[SIGNATURE_BYTES],
                         struct error *err)
{
    struct slice key;
    size_t len = 0;
    bool more;

    skip_space(&text, true);
    if (!take_key(&text, &key) || !take(&text, '=') ||
        !take_bytes(&text, out, SIGNATURE_BYTES, &len) || !next_member(&text, &more))
        return malformed("Signature", err);
    if (more)
        return error_set(err, CODE_PERMISSION_DENIED,
                         "more than one signature: exactly one is expected");
    if (!slice_eq(key, label))
        return error_set(err, CODE_PERMISSION_DENIED,
                         "the Signature header has no signature '%.*s'", SLICE_FMT(label));
    return len == SIGNATURE_BYTES ? 0 : malformed("Signature", err);
}

bool signature_read_digest(struct slice text, enum signature_digest *kind, uint8_t out[64])
{
    bool more = true;

    *kind = SIGNATURE_NO_DIGEST;
    skip_space(&text, true);
    for (size_t count = 0; more; count++) {
        enum signature_digest found = SIGNATURE_NO_DIGEST;
        uint8_t bytes[128];
        struct slice key;
        size_t len;

        if (count == MEMBERS_MAX || !take_key(&text, &key) || !take(&text, '=') ||
            !take_bytes(&text, bytes, sizeof bytes, &len) || !next_member(&text, &more))
            return false;
        if (slice_eq_str(key, "sha-512"))
            found = SIGNATURE_SHA512;
        else if (slice_eq_str(key, "sha-256"))
            found = SIGNATURE_SHA256;
        if (found != SIGNATURE_NO_DIGEST && len != (found == SIGNATURE_SHA512 ? 64 : 32))
            return false;
        if (found != SIGNATURE_NO_DIGEST && found == *kind) /* said twice: which one counts? */
            return false;
        if (found > *kind) {
            *kind = found;
            memcpy(out, bytes, len);
        }
    }
    return true;
}
