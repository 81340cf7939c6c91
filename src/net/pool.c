// SPDX-License-Identifier: Apache-2.0
/*
 * The hosts that a client talks to or keeps connections to. A host lives as long as a call or a
 * channel refers to it; what was learned of its protocols is remembered a while longer.
 */
#include <assert.h>
#include <stdlib.h>

#include "net/client.h"

enum { REMEMBERED_MAX = 1024 };

void net_pool_init(struct net_pool *pool, struct net_client *client)
{
    pool->client = client;
    map_init(&pool->hosts);
    list_init(&pool->remembered);
}

static void forget(struct net_pool *pool, struct net_host *host)
{
    struct net_host *at = map_get(&pool->hosts, host->hash);

    assert(host->refs == 0 && at);
    assert(list_empty(&host->idle) && list_empty(&host->multiplexed) && list_empty(&host->waiting));
    if (at == host) {
        if (host->chain)
            map_set(&pool->hosts, host->hash, host->chain); /* replaces: cannot fail */
        else
            map_remove(&pool->hosts, host->hash);
    } else {
        while (at->chain != host)
            at = at->chain;
        at->chain = host->chain;
    }
    free(host);
}

static void forget_longest_unused(struct net_pool *pool)
{
    struct list *node = list_pop(&pool->remembered);

    pool->remembered_count--;
    forget(pool, LIST_ENTRY(node, struct net_host, remembered));
}

void net_pool_free(struct net_pool *pool)
{
    while (!list_empty(&pool->remembered))
        forget_longest_unused(pool);
    assert(pool->hosts.len == 0);
    map_free(&pool->hosts);
}

struct net_host *net_pool_host(struct net_pool *pool, const struct net_target *target,
                               const struct net_proxy *proxy)
{
    struct slice name = target->host;
    uint64_t hash = slice_hash(name, target->port | (uint64_t)target->tls << 16);
    struct net_host *first = map_get(&pool->hosts, hash);
    struct net_host *host;

    assert(name.len < sizeof host->name);
    for (host = first; host; host = host->chain) {
        if (host->port == target->port && host->tls == target->tls && host->proxy == proxy &&
            slice_eq_str(name, host->name)) {
            if (host->refs++ == 0) {
                list_remove(&host->remembered);
                pool->remembered_count--;
            }
            return host;
        }
    }
    host = calloc(1, sizeof *host);
    if (!host)
        return NULL;
    host->chain = first;
    host->hash = hash;
    host->refs = 1;
    host->port = target->port;
    host->client = pool->client;
    host->proxy = proxy;
    host->tls = host->http2 = target->tls; /* over TLS, the handshake will tell */
    list_init(&host->idle);
    list_init(&host->multiplexed);
    list_init(&host->waiting);
    list_init(&host->remembered);
    memcpy(host->name, name.data, name.len);
    if (!map_set(&pool->hosts, hash, host)) {
        free(host);
        return NULL;
    }
    return host;
}

void net_pool_unref(struct net_pool *pool, struct net_host *host)
{
    assert(host->refs > 0);
    if (--host->refs > 0)
        return;
    if (host->http2 == host->tls && host->off_until_ms == 0) {
        forget(pool, host);
        return;
    }
    list_append(&pool->remembered, &host->remembered);
    if (++pool->remembered_count > REMEMBERED_MAX)
        forget_longest_unused(pool);
}
