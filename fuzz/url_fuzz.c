// SPDX-License-Identifier: Apache-2.0
/* URLs and addresses (net/net.h): the parts are views into the text, in order, and can be sent. */
#include "fuzz.h"
#include "net/net.h"

static void check_part(struct slice part, const uint8_t *data, size_t size)
{
    const uint8_t *bytes = part.data;

    require(part.len == 0 || (bytes >= data && bytes + part.len <= data + size));
    for (size_t i = 0; i < part.len; i++)
        require(bytes[i] > ' ' && bytes[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_url url;
    struct error err;
    char text[512], host[256];
    uint16_t port;

    if (net_url_parse(slice(data, size), &url, &err) == 0) {
        check_part(url.scheme, data, size);
        check_part(url.host, data, size);
        check_part(url.path, data, size);
        check_part(url.query, data, size);
        require(url.scheme.len > 0 && url.host.len > 0 && url.host.len <= 255);
        require(url.path.len == 0 || *(const char *)url.path.data == '/');
    } else {
        require(err.code == CODE_INVALID_ARGUMENT && err.message[0]);
    }
    if (size < sizeof text) {
        if (size > 0)
            memcpy(text, data, size);
        text[size] = '\0';
        if (net_address_parse(text, host, &port, &err) == 0)
            require(strlen(host) < size);
    }
    return 0;
}
