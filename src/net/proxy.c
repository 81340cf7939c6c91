// SPDX-License-Identifier: Apache-2.0
/* Read once, when a client is made; asked for each request. */
#include "net/proxy.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define BASIC "Basic "

enum { VALUE_MAX = 4096, NONE_FOR_MAX = 65536 };

/* --- reading --------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "USER:PASSWORD", its percent-encoding undone, as Basic credentials. NULL: no memory. */
static char *put_basic(struct slice userinfo)
{
    const char *text = userinfo.data;
    uint8_t plain[VALUE_MAX];
    char *out = malloc(sizeof BASIC + 4 * (userinfo.len / 3 + 1));
    size_t len = 0;

    if (!out)
        return NULL;
    for (size_t i = 0; i < userinfo.len; i++) {
        bool escaped = text[i] == '%' && i + 2 < userinfo.len && hex(text[i + 1]) >= 0 &&
                       hex(text[i + 2]) >= 0;

        plain[len++] =
            escaped ? (uint8_t)(hex(text[i + 1]) << 4 | hex(text[i + 2])) : (uint8_t)text[i];
        i += escaped ? 2 : 0;
    }
    memcpy(out, BASIC, sizeof BASIC);
    EVP_EncodeBlock((unsigned char *)out + sizeof BASIC - 1, plain, (int)len);
    return out;
}

/* What stands behind "http://", without the credentials, as a URL. */
static int read_address(struct slice text, const char *variable, struct net_proxy *proxy,
                        struct error *err)
{
    char whole[VALUE_MAX + sizeof "http://"];
    struct net_url url;

    snprintf(whole, sizeof whole, "http://%.*s", SLICE_FMT(text));
    if (net_url_parse(slice_str(whole), &url, err))
        return error_set(err, CODE_INVALID_ARGUMENT, "%s in the environment: %s", variable,
                         err->message);
    memcpy(proxy->host, url.host.data, url.host.len);
    proxy->host[url.host.len] = '\0';
    proxy->port = url.port;
    return CODE_OK;
}

static int read_proxy(const char *variable, const char *value, struct net_proxy *proxy,
                      struct error *err)
{
    const char *scheme = strstr(value, "://"), *at;
    struct slice rest;

    if (strlen(value) > VALUE_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s in the environment is too long", variable);
    if (scheme && !(scheme - value == 4 && strncasecmp(value, "http", 4) == 0))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%s in the environment names a proxy of another kind than http://, and "
                         "no other is spoken to here",
                         variable);
    rest = slice_str(scheme ? scheme + 3 : value);
    at = memrchr(rest.data, '@', strcspn(rest.data, "/?#"));
    if (at) {
        proxy->authorization = put_basic(slice(rest.data, (size_t)(at - (const char *)rest.data)));
        if (!proxy->authorization)
            return error_memory(err);
        rest = slice_str(at + 1);
    }
    return read_address(rest, variable, proxy, err);
}

static const char *variable(const char *const names[2], const char **value)
{
    for (int i = 0; i < 2; i++) {
        *value = getenv(names[i]);
        if (*value && **value)
            return names[i];
    }
    *value = NULL;
    return NULL;
}

int net_proxies_read(struct net_proxies *proxies, struct error *err)
{
    static const char *const http[] = {"http_proxy", "HTTP_PROXY"};
    static const char *const https[] = {"https_proxy", "HTTPS_PROXY"};
    static const char *const none[] = {"no_proxy", "NO_PROXY"};
    const char *name, *value;
    int code = CODE_OK;

    *proxies = (struct net_proxies){0};
    if ((name = variable(http, &value)))
        code = read_proxy(name, value, &proxies->http, err);
    if (code == CODE_OK && (name = variable(https, &value)))
        code = read_proxy(name, value, &proxies->https, err);
    if (code == CODE_OK && (name = variable(none, &value))) {
        if (strlen(value) > NONE_FOR_MAX)
            code = error_set(err, CODE_INVALID_ARGUMENT, "%s in the environment is too long", name);
        else if (!(proxies->none_for = strdup(value)))
            code = error_memory(err);
    }
    if (code)
        net_proxies_free(proxies);
    return code;
}

void net_proxies_free(struct net_proxies *proxies)
{
    free(proxies->http.authorization);
    free(proxies->https.authorization);
    free(proxies->none_for);
    *proxies = (struct net_proxies){0};
}

/* --- for which hosts ------------------------------------------------------------------------- */

static bool is_loopback(struct slice host, const uint8_t *ip)
{
    static const struct net_range v4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127}, 104};
    static const struct net_range v6 = {{[15] = 1}, 128};

    if (ip)
        return net_range_holds(&v4, ip) || net_range_holds(&v6, ip);
    return net_is_unix(host) || (host.len == 9 && strncasecmp(host.data, "localhost", 9) == 0);
}

/* Is it this name, or one below it? */
static bool is_below(struct slice host, struct slice name)
{
    const char *text = host.data;
    size_t above = host.len - name.len;

    return name.len > 0 && host.len >= name.len &&
           strncasecmp(text + above, name.data, name.len) == 0 &&
           (above == 0 || text[above - 1] == '.');
}

static struct slice cut(struct slice text, size_t n)
{
    return slice((const char *)text.data + n, text.len - n);
}

/* The port behind a name; data NULL: none is given. */
static struct slice cut_port(struct slice *name)
{
    const char *colon = name->len ? memchr(name->data, ':', name->len) : NULL;
    struct slice port;

    if (!colon)
        return (struct slice){0};
    port = cut(*name, (size_t)(colon + 1 - (const char *)name->data));
    name->len = (size_t)(colon - (const char *)name->data);
    return port;
}

static bool covers(struct slice entry, const struct net_target *target, const uint8_t *ip)
{
    struct net_range range;
    struct slice port;
    char digits[8];

    if (slice_eq_str(entry, "*"))
        return true;
    if (net_range_parse(entry, &range))
        return ip && net_range_holds(&range, ip);
    port = cut_port(&entry);
    snprintf(digits, sizeof digits, "%u", target->port);
    if (port.data && !slice_eq_str(port, digits))
        return false;
    if (net_range_parse(entry, &range))
        return ip && net_range_holds(&range, ip);
    if (entry.len > 0 && *(const char *)entry.data == '*')
        entry = cut(entry, 1);
    if (entry.len > 0 && *(const char *)entry.data == '.')
        entry = cut(entry, 1);
    return !ip && is_below(target->host, entry);
}

static bool is_exempt(const char *entries, const struct net_target *target, const uint8_t *ip)
{
    while (entries && *entries) {
        size_t len = strcspn(entries, ", \t");

        if (covers(slice(entries, len), target, ip))
            return true;
        entries += len + (entries[len] != '\0');
    }
    return false;
}

const struct net_proxy *net_proxies_find(const struct net_proxies *proxies,
                                         const struct net_target *target)
{
    const struct net_proxy *proxy = target->tls ? &proxies->https : &proxies->http;
    uint8_t bytes[NET_IP_LEN];
    const uint8_t *ip;

    if (!proxy->host[0])
        return NULL;
    ip = net_ip_parse(target->host, bytes) ? bytes : NULL;
    return is_loopback(target->host, ip) || is_exempt(proxies->none_for, target, ip) ? NULL : proxy;
}
