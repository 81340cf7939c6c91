// SPDX-License-Identifier: Apache-2.0
/* What a call's function and endpoint may look like. Locale-free: the wire knows only ASCII. */
#include "wire/internal.h"

enum { FUNCTION_MAX = 1024, ENDPOINT_MAX = 2048 };

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool wire_function_valid(struct slice name)
{
    const char *text = name.data;

    if (name.len == 0 || name.len > FUNCTION_MAX || !is_letter(text[0]))
        return false;
    for (size_t i = 1; i < name.len; i++)
        if (!is_letter(text[i]) && !is_digit(text[i]) && text[i] != '<' && text[i] != '>' &&
            text[i] != '.')
            return false;
    return true;
}

/* Cuts the prefix off. */
static bool skip(struct slice *text, const char *prefix)
{
    size_t len = strlen(prefix);

    if (text->len < len || memcmp(text->data, prefix, len) != 0)
        return false;
    *text = slice((const char *)text->data + len, text->len - len);
    return true;
}

static bool port_valid(const char *text, size_t len)
{
    unsigned port = 0;

    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i]) || i == 5)
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port <= 65535;
}

/* What stands between "//" and the path: HOST, HOST:PORT or [ADDRESS]:PORT, no user name. */
static bool authority_valid(struct slice rest)
{
    const char *text = rest.data;
    size_t len = 0, host = 0;

    while (len < rest.len && !strchr("/?#", text[len]))
        len++;
    if (len > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', len);

        if (!close || close == text + 1)
            return false;
        host = (size_t)(close - text) + 1;
    } else {
        while (host < len && text[host] != ':')
            host++;
    }
    if (host == 0 || memchr(text, '@', len))
        return false;
    return host == len || (text[host] == ':' && port_valid(text + host + 1, len - host - 1));
}

int wire_endpoint_check(struct slice endpoint, struct error *err)
{
    const unsigned char *text = endpoint.data;
    struct slice rest = endpoint;

    if (endpoint.len == 0)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "endpoint is empty: give the URL where the function runs");
    if (endpoint.len > ENDPOINT_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "endpoint is longer than %d bytes",
                         ENDPOINT_MAX);
    for (size_t i = 0; i < endpoint.len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return error_set(err, CODE_INVALID_ARGUMENT,
                             "endpoint has a space, control or non-ASCII character at byte %zu: "
                             "percent-encode it",
                             i);
    if (skip(&rest, "http://") || skip(&rest, "https://"))
        return authority_valid(rest)
                   ? 0
                   : error_set(err, CODE_INVALID_ARGUMENT,
                               "endpoint \"%.*s\" has no valid host and port", SLICE_FMT(endpoint));
    if (skip(&rest, "bridge://"))
        return rest.len > 0 ? 0
                            : error_set(err, CODE_INVALID_ARGUMENT,
                                        "endpoint \"bridge://\" names no session");
    if (skip(&rest, "arn:aws:lambda") || skip(&rest, "event:"))
        return 0;
    return error_set(err, CODE_INVALID_ARGUMENT,
                     "endpoint \"%.*s\" does not begin with http://, https://, bridge://, "
                     "arn:aws:lambda or event:",
                     SLICE_FMT(endpoint));
}
