// SPDX-License-Identifier: Apache-2.0
/* Asked of an address, not of a name: a name may come to mean another address at any time. */
#include "server/policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

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

static bool is_private_v6(const uint8_t *bytes)
{
    static const uint8_t metadata[16] = {0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0,
                                         0,    0, 0,    0,    0, 0, 2, 0x54};

    if (holds_v4(bytes))
        return is_link_local_v4(bytes + 12);
    return (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) || memcmp(bytes, metadata, 16) == 0;
}

bool policy_may_reach(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;

        return !is_link_local_v4((const uint8_t *)&in->sin_addr);
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;

        return !is_private_v6(in6->sin6_addr.s6_addr);
    }
    return true;
}
