// SPDX-License-Identifier: Apache-2.0
/* Whatever the bytes, showing them as a pickle ends, and what is shown is bounded. */
#include "cli/pickle.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct buf out;
    bool good;

    arena_init(&arena, (size_t)16 << 20);
    buf_init(&out, (size_t)1 << 20);
    good = pickle_describe(slice(data, size), &arena, &out);
    require(good || out.len == 0);
    require(out.len < 100000);
    arena_reset(&arena);
    buf_free(&out);
    return 0;
}
