// SPDX-License-Identifier: Apache-2.0
/* The readers of what we keep on disk (base/buf.h): never past the end, and they read what is
 * written. */
#include "base/buf.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice(data, size), bytes;
    uint64_t number;
    uint8_t kind;
    while (slice_get_byte(&in, &kind)) {
        size_t before = in.len;
        bool got = kind % 3 == 0   ? slice_get_u64(&in, &number)
                   : kind % 3 == 1 ? slice_get_varint(&in, &number)
                                   : slice_get_bytes(&in, &bytes);
        if (!got)
            break;
        require(in.len < before);
        if (kind % 3 == 2) {
            require(bytes.len < before);
            continue;
        }
        struct buf out;
        uint64_t again;
        buf_init(&out, 16);
        (kind % 3 == 0 ? buf_put_u64 : buf_put_varint)(&out, number);
        require(!out.failed);
        struct slice written = buf_slice(&out);
        require((kind % 3 == 0 ? slice_get_u64 : slice_get_varint)(&written, &again));
        require(written.len == 0 && again == number);
        buf_free(&out);
    }
    return 0;
}
