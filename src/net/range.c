// SPDX-License-Identifier: Apache-2.0
/* IP addresses as 16 bytes, and ranges of them. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "net/net.h"

enum { MAPPED = 12 }; /* bytes before an IPv4 address */

static const uint8_t mapped[MAPPED] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool net_ip_parse(struct slice text, uint8_t ip[NET_IP_LEN])
{
    uint8_t bytes[NET_IP_LEN];
    char copy[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof copy || memchr(text.data, '\0', text.len))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, bytes + MAPPED) == 1)
        memcpy(bytes, mapped, MAPPED);
    else if (inet_pton(AF_INET6, copy, bytes) != 1)
        return false;
    memcpy(ip, bytes, NET_IP_LEN);
    return true;
}

bool net_ip_of(const struct sockaddr *address, uint8_t ip[NET_IP_LEN])
{
    if (address->sa_family == AF_INET) {
        memcpy(ip, mapped, MAPPED);
        memcpy(ip + MAPPED, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family != AF_INET6)
        return false;
    memcpy(ip, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, NET_IP_LEN);
    return true;
}

static bool parse_bits(struct slice text, unsigned max, unsigned *bits)
{
    const uint8_t *digits = text.data;
    unsigned value = 0;

    if (text.len == 0 || text.len > 3)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        value = 10 * value + (digits[i] - '0');
    }
    *bits = value;
    return value <= max;
}

/* The byte's bits that are among the first `bits` of the address. */
static uint8_t mask(unsigned bits, size_t byte)
{
    unsigned left = bits > 8 * byte ? bits - 8 * (unsigned)byte : 0;

    return left >= 8 ? 0xff : (uint8_t)(0xff00 >> left);
}

bool net_range_parse(struct slice text, struct net_range *out)
{
    const char *slash = text.len ? memchr(text.data, '/', text.len) : NULL;
    size_t len = slash ? (size_t)(slash - (const char *)text.data) : text.len;
    struct net_range range = {.bits = 8 * NET_IP_LEN};
    unsigned before;

    if (!net_ip_parse(slice(text.data, len), range.ip))
        return false;
    before = memchr(text.data, ':', len) ? 0 : 8 * MAPPED;
    if (slash) {
        if (!parse_bits(slice(slash + 1, text.len - len - 1), range.bits - before, &range.bits))
            return false;
        range.bits += before;
    }
    for (size_t i = 0; i < NET_IP_LEN; i++)
        range.ip[i] &= mask(range.bits, i);
    *out = range;
    return true;
}

bool net_range_holds(const struct net_range *range, const uint8_t ip[NET_IP_LEN])
{
    if (range->bits < 8 * MAPPED && memcmp(ip, mapped, MAPPED) == 0)
        return false; /* ::/0 is all of IPv6 */
    for (size_t i = 0; i < NET_IP_LEN; i++) {
        if ((ip[i] & mask(range->bits, i)) != range->ip[i])
            return false;
    }
    return true;
}
