// SPDX-License-Identifier: Apache-2.0
/*
 * URLs and listening addresses. A URL here is scheme://host[:port][/path][?query][#fragment], in
 * the characters that may stand in a request line: whatever parses can be sent as it is.
 */
#include <arpa/inet.h>

#include "net/net.h"

enum { URL_MAX = 8192, HOST_MAX = 255 };

static bool is_alpha(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_host_char(uint8_t c)
{
    return is_alpha(c) || is_digit(c) || c == '.' || (c && strchr("-_~!$&'()*+,;=", c));
}

/* The length of what stands before any of the characters of `stops`. */
static size_t until(struct slice s, const char *stops)
{
    const uint8_t *found;

    for (; *stops && s.len; stops++) {
        found = memchr(s.data, *stops, s.len);
        if (found)
            s.len = (size_t)(found - (const uint8_t *)s.data);
    }
    return s.len;
}

static struct slice skip(struct slice s, size_t n)
{
    return slice((const uint8_t *)s.data + n, s.len - n);
}

static bool starts_with(struct slice s, char c)
{
    return s.len > 0 && *(const char *)s.data == c;
}

static bool parse_port(struct slice text, uint16_t *port)
{
    const uint8_t *bytes = text.data;
    unsigned value = 0;

    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(bytes[i]))
            return false;
        value = 10 * value + (bytes[i] - '0');
    }
    if (value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

/* What stands before "://", and what stands behind. */
static bool split_scheme(struct slice text, struct slice *scheme, struct slice *rest)
{
    const uint8_t *bytes = text.data;
    size_t n = 0;

    while (n < text.len &&
           (is_alpha(bytes[n]) || is_digit(bytes[n]) || (bytes[n] && strchr("+-.", bytes[n]))))
        n++;
    if (n == 0 || !is_alpha(bytes[0]) || text.len - n < 3 || memcmp(bytes + n, "://", 3) != 0)
        return false;
    *scheme = slice(bytes, n);
    *rest = skip(text, n + 3);
    return true;
}

/* Takes the brackets off; false for what is no IPv6 address in brackets. */
static bool parse_bracketed(struct slice text, struct slice *host, struct slice *behind)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    size_t end = until(text, "]");
    size_t len = end - 1;

    if (end == text.len || len == 0 || len >= sizeof address)
        return false;
    *host = slice((const char *)text.data + 1, len);
    memcpy(address, host->data, len);
    address[len] = '\0';
    if (strlen(address) != len || inet_pton(AF_INET6, address, &binary) != 1)
        return false;
    *behind = skip(text, end + 1);
    return true;
}

/* Splits host[:port]; the port's text has data == NULL if there is no colon. */
static bool split_authority(struct slice text, struct slice *host, struct slice *port)
{
    struct slice behind;

    if (starts_with(text, '[')) {
        if (!parse_bracketed(text, host, &behind))
            return false;
    } else {
        size_t n = until(text, ":");

        *host = slice(text.data, n);
        behind = skip(text, n);
        for (size_t i = 0; i < n; i++) {
            if (!is_host_char(((const uint8_t *)text.data)[i]))
                return false;
        }
    }
    *port = (struct slice){0};
    if (behind.len == 0)
        return true;
    if (!starts_with(behind, ':'))
        return false;
    *port = skip(behind, 1);
    return true;
}

static uint16_t default_port(struct slice scheme)
{
    char lower[6] = "";

    if (scheme.len > 5)
        return 0;
    for (size_t i = 0; i < scheme.len; i++)
        lower[i] = (char)(((const char *)scheme.data)[i] | 0x20);
    return strcmp(lower, "http") == 0 ? 80 : strcmp(lower, "https") == 0 ? 443 : 0;
}

/* Printable ASCII without spaces, quotes aside: anything else has to be percent-encoded. */
static bool is_clean(struct slice text)
{
    const uint8_t *bytes = text.data;

    for (size_t i = 0; i < text.len; i++) {
        if (bytes[i] <= ' ' || bytes[i] >= 0x7f)
            return false;
    }
    return true;
}

int net_url_parse(struct slice text, struct net_url *out, struct error *err)
{
    struct net_url url = {0};
    struct slice rest, authority, port;

    if (text.len > URL_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "the URL is too long: %zu bytes, at most %d",
                         text.len, URL_MAX);
    if (!is_clean(text))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the URL has a space, a control or a non-ASCII character: percent-encode "
                         "it");
    if (!split_scheme(text, &url.scheme, &rest))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "missing protocol scheme in URL \"%.*s\": it should begin with http:// or "
                         "https://",
                         SLICE_FMT(text));
    authority = slice(rest.data, until(rest, "/?#"));
    if (until(authority, "@") < authority.len)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "user information before '@' is not accepted in a URL");
    if (!split_authority(authority, &url.host, &port) || url.host.len > HOST_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "invalid host in URL \"%.*s\"",
                         SLICE_FMT(text));
    if (url.host.len == 0)
        return error_set(err, CODE_INVALID_ARGUMENT, "missing host in URL \"%.*s\"",
                         SLICE_FMT(text));
    url.port = default_port(url.scheme);
    url.port_given = port.data != NULL;
    if (url.port_given && !parse_port(port, &url.port))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "invalid port in URL \"%.*s\": it should be a number up to 65535",
                         SLICE_FMT(text));
    rest = skip(rest, authority.len);
    rest.len = until(rest, "#");
    url.path = slice(rest.data, until(rest, "?"));
    rest = skip(rest, url.path.len);
    if (rest.len > 0)
        url.query = skip(rest, 1);
    *out = url;
    return 0;
}

int net_address_parse(const char *text, char host[256], uint16_t *port, struct error *err)
{
    struct slice name, digits;

    if (!text || !split_authority(slice_str(text), &name, &digits) || name.len > HOST_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "invalid address \"%s\": it should be HOST:PORT, [IPv6]:PORT or :PORT",
                         text ? text : "");
    if (!digits.data)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "missing port in address \"%s\": it should be HOST:PORT", text);
    if (!parse_port(digits, port))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "invalid port in address \"%s\": it should be a number up to 65535", text);
    if (name.len > 0)
        memcpy(host, name.data, name.len);
    host[name.len] = '\0';
    return 0;
}
