// SPDX-License-Identifier: Apache-2.0
/* The hosts that a client talks to or keeps connections to. A host lives as long as a call or a
 * channel refers to it. */
#include <assert.h>
#include <stdlib.h>

#include "net/client.h"

void net_pool_init(struct net_pool *pool)
{
    map_init(&pool->hosts);
}

void net_pool_free(struct net_pool *pool)
{
    assert(pool->hosts.len == 0);
    map_free(&pool->hosts);
}

struct net_host *net_pool_host(struct net_pool *pool, struct slice name, uint16_t port)
{
    uint64_t hash = slice_hash(name, port);
    struct net_host *first = map_get(&pool->hosts, hash);
    struct net_host *host;

    assert(name.len < sizeof host->name);
    for (host = first; host; host = host->chain) {
        if (host->port == port && slice_eq_str(name, host->name)) {
            host->refs++;
            return host;
        }
    }
    host = calloc(1, sizeof *host);
    if (!host)
        return NULL;
    host->chain = first;
    host->hash = hash;
    host->refs = 1;
    host->port = port;
    list_init(&host->idle);
    memcpy(host->name, name.data, name.len);
    if (!map_set(&pool->hosts, hash, host)) {
        free(host);
        return NULL;
    }
    return host;
}

void net_pool_unref(struct net_pool *pool, struct net_host *host)
{
    struct net_host *at = map_get(&pool->hosts, host->hash);

    assert(host->refs > 0 && at);
    if (--host->refs > 0)
        return;
    assert(list_empty(&host->idle));
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
