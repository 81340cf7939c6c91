// SPDX-License-Identifier: Apache-2.0
/*
 * The rows of what clients name (engine/key.h), as a damaged store would hand them back: what
 * key_decode takes is written back to a row that reads the same; an error has its code and a text.
 */
#include "engine/key.h"
#include "fuzz.h"

#define ROW_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct engine_key key, again;
    struct error err = {0};
    int code = key_decode(slice(data, size), &key, &err);
    require(!code || (err.code == code && err.message[0]));
    if (code)
        return 0;
    struct buf first, second;
    buf_init(&first, ROW_MAX);
    buf_init(&second, ROW_MAX);
    key_encode(&first, &key);
    require(!first.failed);
    require(key_decode(buf_slice(&first), &again, &err) == 0);
    key_encode(&second, &again);
    require(slice_eq(buf_slice(&first), buf_slice(&second)));
    buf_free(&first);
    buf_free(&second);
    return 0;
}
