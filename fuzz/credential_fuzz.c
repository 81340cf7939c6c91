// SPDX-License-Identifier: Apache-2.0
/*
 * The rows of API keys and signing keys (server/credentials.h), as a damaged store would hand them
 * back: what credential_decode takes is written back to a row that reads the same; an error has its
 * code and a text.
 */
#include "fuzz.h"
#include "server/credentials.h"

#define ROW_MAX ((size_t)1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct credential key, again;
    struct error err = {0};
    int code = credential_decode(slice(data, size), &key, &err);
    struct buf first, second;

    require(!code || (err.code == code && err.message[0]));
    if (code)
        return 0;
    buf_init(&first, ROW_MAX);
    buf_init(&second, ROW_MAX);
    credential_encode(&key, &first);
    require(!first.failed);
    require(credential_decode(buf_slice(&first), &again, &err) == 0);
    credential_encode(&again, &second);
    require(slice_eq(buf_slice(&first), buf_slice(&second)));
    buf_free(&first);
    buf_free(&second);
    return 0;
}
