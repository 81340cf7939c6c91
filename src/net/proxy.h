// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP proxies that the environment names: http_proxy and https_proxy (or in upper case, which
 * comes second) are [http://][USER[:PASSWORD]@]HOST[:PORT], for requests to http:// and https://;
 * no_proxy (or NO_PROXY) says for which hosts none is used, between commas:
 *
 *     *                all
 *     example.com      the name, and all names below it, as do .example.com and *.example.com;
 *     example.com:80   at that port
 *     10.0.0.0/8       addresses, literally in the URL; nothing is looked up
 *
 * This machine (localhost, 127.0.0.0/8, ::1, Unix sockets) is never reached by a proxy.
 */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include "net/net.h"

struct net_proxy {
    char host[256]; /* empty: there is none */
    uint16_t port;
    char *authorization; /* the value of Proxy-Authorization; or NULL */
};

struct net_proxies {
    struct net_proxy http, https;
    char *none_for; /* or NULL */
};

/* CODE_INVALID_ARGUMENT: a variable is no such address; the message does not tell passwords. */
int net_proxies_read(struct net_proxies *proxies, struct error *err);
void net_proxies_free(struct net_proxies *proxies);

/* NULL: without one. Lives as long as the proxies. */
const struct net_proxy *net_proxies_find(const struct net_proxies *proxies,
                                         const struct net_target *target);

#endif
