// SPDX-License-Identifier: Apache-2.0
/* Addresses and ranges of them (net/range.c): a range holds its own address, and no address that
 * differs in a bit that counts. The rest of the input is also read as "host:port". */
#include <string.h>

#include "fuzz.h"
#include "net/net.h"

static void check_range(const struct net_range *range)
{
    uint8_t ip[NET_IP_LEN];

    require(range->bits <= 8 * NET_IP_LEN);
    memcpy(ip, range->ip, sizeof ip);
    for (unsigned bit = range->bits; bit < 8 * NET_IP_LEN; bit++)
        require(!(ip[bit / 8] & 0x80 >> bit % 8));
    for (unsigned bit = 0; bit < range->bits; bit++) {
        ip[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        require(!net_range_holds(range, ip));
        ip[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice(data, size);
    struct net_range range;
    uint8_t ip[NET_IP_LEN];
    char host[256], copy[512];
    struct error err;
    uint16_t port;

    if (net_range_parse(text, &range))
        check_range(&range);
    if (net_ip_parse(text, ip)) {
        require(net_range_parse(text, &range) && range.bits == 8 * NET_IP_LEN);
        require(net_range_holds(&range, ip));
    }
    if (size < sizeof copy) {
        memcpy(copy, data, size);
        copy[size] = '\0';
        if (net_address_parse(copy, host, &port, &err))
            require(err.code && err.message[0]);
        else
            require(memchr(host, '\0', sizeof host));
    }
    return 0;
}
