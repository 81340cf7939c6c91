// SPDX-License-Identifier: Apache-2.0
/*
 * The body of an endpoint's error (wire/wire.h): what parses as a Connect error can be written, and
 * parses to the same code and text again; what does not leaves the error alone.
 */
#include "fuzz.h"
#include "wire/wire.h"

#define BODY_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {.code = -1}, again = {0};
    struct buf body;

    if (!wire_connect_error_parse(slice(data, size), &err)) {
        require(err.code == -1 && !err.message[0]);
        return 0;
    }
    require(err.code > CODE_OK && err.code <= CODE_UNAUTHENTICATED);
    require(slice_is_utf8(slice_str(err.message)));
    buf_init(&body, BODY_MAX);
    wire_connect_error(err.code, err.message, &body);
    require(!body.failed && wire_connect_error_parse(buf_slice(&body), &again));
    require(again.code == err.code && strcmp(again.message, err.message) == 0);
    buf_free(&body);
    return 0;
}
