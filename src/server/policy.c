// SPDX-License-Identifier: Apache-2.0
/*
 * An endpoint is judged twice: by its URL when a call is made and at each of its runs, and by the
 * address whenever a connection is made, as a name may come to mean another address at any time.
 * Patterns that are names decide by the URL; ranges do, too, if its host is an address.
 */
#include "server/policy.h"

#include <stdlib.h>
#include <string.h>

enum { PATTERN_MAX = 255, V4_BITS = 96, SHOWN_MAX = 200 };

struct policy_pattern {
    bool http, https; /* the schemes */
    uint16_t port;    /* 0: any */
    bool is_range;
    struct net_range range;
    char name[PATTERN_MAX + 1]; /* lower case */
};

/* --- what is link-local ---------------------------------------------------------------------- */

static bool is_link_local_v4(const uint8_t *bytes)
{
    return bytes[0] == 169 && bytes[1] == 254;
}

/* The last four bytes of ::ffff:0:0/96 (mapped), ::/96 (compatible) and 64:ff9b::/96 (translated)
 * are an IPv4 address. */
static bool holds_v4(const uint8_t *bytes)
{
    static const uint8_t prefixes[][12] = {
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, {0}, {0, 0x64, 0xff, 0x9b}};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (memcmp(bytes, prefixes[i], sizeof prefixes[i]) == 0)
            return true;
    }
    return false;
}

static bool is_link_local(const uint8_t *ip)
{
    static const uint8_t metadata[NET_IP_LEN] = {0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0,
                                                 0,    0, 0,    0,    0, 0, 2, 0x54};

    if (holds_v4(ip))
        return is_link_local_v4(ip + 12);
    return (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) || memcmp(ip, metadata, NET_IP_LEN) == 0;
}

/* --- patterns -------------------------------------------------------------------------------- */

void policy_init(struct policy *policy)
{
    *policy = (struct policy){0};
}

void policy_free(struct policy *policy)
{
    free(policy->patterns);
    policy_init(policy);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static struct slice without_last_dot(struct slice name)
{
    if (name.len > 1 && ((const char *)name.data)[name.len - 1] == '.')
        name.len--;
    return name;
}

/* Behind the port's colon; data NULL: there is none. */
static bool read_port(struct slice text, uint16_t *port)
{
    const char *digits = text.data;
    unsigned value = 0;

    *port = 0;
    if (!text.data)
        return true;
    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        value = 10 * value + (unsigned)(digits[i] - '0');
    }
    *port = (uint16_t)value;
    return value > 0 && value <= UINT16_MAX;
}

/* Host and port; more than one colon without brackets is IPv6 alone. */
static bool split(const char *text, struct slice *host, struct slice *port)
{
    const char *colon = strchr(text, ':'), *close;

    *port = (struct slice){0};
    if (text[0] == '[') {
        close = strchr(text, ']');
        if (!close || !memchr(text, ':', (size_t)(close - text)) || (close[1] && close[1] != ':'))
            return false;
        *host = slice(text + 1, (size_t)(close - text) - 1);
        if (close[1])
            *port = slice_str(close + 2);
        return true;
    }
    if (!colon || strchr(colon + 1, ':')) {
        *host = slice_str(text);
        return true;
    }
    *host = slice(text, (size_t)(colon - text));
    *port = slice_str(colon + 1);
    return true;
}

/* False: it holds what no name does. *numeric: it could only mean addresses. */
static bool read_name(struct slice host, struct policy_pattern *p, bool *numeric)
{
    const char *text = host.data;
    bool digit = false, letter = false, star = false;

    if (host.len == 0 || host.len > PATTERN_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = lower(text[i]);

        digit |= c >= '0' && c <= '9';
        star |= c == '*';
        letter |= (c >= 'a' && c <= 'z') || c == '-' || c == '_';
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !strchr("-_.*", c))
            return false;
        p->name[i] = c;
    }
    p->name[without_last_dot(host).len] = '\0';
    *numeric = digit && !letter;
    return digit || letter || star;
}

static int parse(const char *text, struct policy_pattern *out, struct error *err)
{
    struct policy_pattern p = {.http = true, .https = true};
    const char *rest = strstr(text, "://");
    struct slice host, port;
    bool numeric = false;

    if (rest) {
        struct slice scheme = slice(text, (size_t)(rest - text));

        p.http = slice_eq_str(scheme, "http");
        p.https = slice_eq_str(scheme, "https");
        if (!p.http && !p.https)
            return error_set(err, CODE_INVALID_ARGUMENT, "%s: the scheme is http or https", text);
    }
    if (!split(rest ? rest + 3 : text, &host, &port) || !read_port(port, &p.port))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%s: it should be [SCHEME://]HOST[:PORT], IPv6 with a port in brackets",
                         text);
    p.is_range = net_range_parse(host, &p.range);
    if (!p.is_range && !read_name(host, &p, &numeric))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%s: the host is a name (with '*' for any characters), or a range of "
                         "addresses such as 10.0.0.0/8",
                         text);
    if (numeric)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%s: addresses are given as a range, such as 10.0.0.0/8", text);
    *out = p;
    return CODE_OK;
}

int policy_add(struct policy *policy, const char *pattern, struct error *err)
{
    struct policy_pattern *grown, p;
    int code = parse(pattern, &p, err);

    if (code)
        return code;
    if (policy->count == POLICY_PATTERNS_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s: there are %d patterns already", pattern,
                         POLICY_PATTERNS_MAX);
    grown = realloc(policy->patterns, (policy->count + 1) * sizeof *grown);
    if (!grown)
        return error_memory(err);
    grown[policy->count++] = p;
    policy->patterns = grown;
    return CODE_OK;
}

/* --- judging --------------------------------------------------------------------------------- */

/* Each '*' takes as little as it can; when that fails, the last of them takes one more. */
static bool name_matches(const char *pattern, struct slice name)
{
    const char *text = name.data, *star = NULL;
    size_t i = 0, resume = 0;

    while (i < name.len) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = i;
        } else if (*pattern == lower(text[i])) {
            pattern++;
            i++;
        } else if (star) {
            pattern = star;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool fits(const struct policy_pattern *p, const struct net_target *target)
{
    return (target->tls ? p->https : p->http) && (p->port == 0 || p->port == target->port);
}

/* By its name, or by its address (NULL: not known). */
static bool admits(const struct policy_pattern *p, const struct net_target *target,
                   const uint8_t *ip)
{
    uint8_t literal[NET_IP_LEN];

    if (!fits(p, target))
        return false;
    if (p->is_range)
        return ip && net_range_holds(&p->range, ip);
    if (strcmp(p->name, "*") == 0)
        return true;
    return !net_ip_parse(target->host, literal) &&
           name_matches(p->name, without_last_dot(target->host));
}

/* Could it be, once the name is looked up? */
static bool may_admit(const struct policy_pattern *p, const struct net_target *target,
                      const uint8_t *ip)
{
    return admits(p, target, ip) || (!ip && p->is_range && fits(p, target));
}

/* Is this a range of link-local addresses alone? */
static bool is_explicit(const struct policy_pattern *p)
{
    return p->is_range && is_link_local(p->range.ip) &&
           p->range.bits >= (holds_v4(p->range.ip) ? V4_BITS + 16 : 10);
}

static bool is_guarded(const struct policy *policy, const struct net_target *target,
                       const uint8_t *ip)
{
    if (!policy->guarded || !is_link_local(ip))
        return false;
    for (size_t i = 0; i < policy->count; i++) {
        if (is_explicit(&policy->patterns[i]) && admits(&policy->patterns[i], target, ip))
            return false;
    }
    return true;
}

#define GUARDED                                                                                    \
    "its address is link-local, or a cloud's metadata service, which is not delivered to from "    \
    "here unless --allow-endpoint names it"
#define UNSEEN                                                                                     \
    "no --allow-endpoint allows its name, and a proxy finds out its address, unseen from here"
#define NOT_ALLOWED "it is none of those that --allow-endpoint allows here"

const char *policy_refuses(const void *arg, const struct net_target *target,
                           const struct sockaddr *address)
{
    const struct policy *policy = arg;
    uint8_t bytes[NET_IP_LEN];
    const uint8_t *ip = bytes;

    if (address && !net_ip_of(address, bytes))
        return NULL;
    if (!address && !net_ip_parse(target->host, bytes))
        ip = NULL;
    if (ip && is_guarded(policy, target, ip))
        return GUARDED;
    for (size_t i = 0; i < policy->count; i++) {
        if (admits(&policy->patterns[i], target, ip))
            return NULL;
    }
    if (policy->count == 0)
        return NULL;
    return ip ? NOT_ALLOWED : UNSEEN;
}

static const char *refuses_url(const struct policy *policy, const struct net_url *url)
{
    const struct net_target target = {
        .host = url->host, .port = url->port, .tls = slice_eq_str(url->scheme, "https")};
    uint8_t bytes[NET_IP_LEN];
    const uint8_t *ip = net_ip_parse(url->host, bytes) ? bytes : NULL;

    if (ip && is_guarded(policy, &target, ip))
        return GUARDED;
    for (size_t i = 0; i < policy->count; i++) {
        if (may_admit(&policy->patterns[i], &target, ip))
            return NULL;
    }
    return policy->count ? NOT_ALLOWED : NULL;
}

static bool begins(struct slice text, const char *with)
{
    size_t len = strlen(with);

    return text.len >= len && memcmp(text.data, with, len) == 0;
}

int policy_check(const struct policy *policy, struct slice endpoint, struct error *err)
{
    struct net_url url;
    const char *why;
    int code;

    if (!begins(endpoint, "http://") && !begins(endpoint, "https://"))
        return CODE_OK;
    code = net_url_parse(endpoint, &url, err);
    if (code)
        return code;
    why = refuses_url(policy, &url);
    if (endpoint.len > SHOWN_MAX)
        endpoint.len = SHOWN_MAX;
    return why ? error_set(err, CODE_PERMISSION_DENIED, "endpoint \"%.*s\" may not be called: %s",
                           SLICE_FMT(endpoint), why)
               : CODE_OK;
}
