// SPDX-License-Identifier: Apache-2.0
/* UTF-8 (base/slice.h): the well-formed prefix is well-formed, and it cannot be longer. */
#include "base/slice.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t prefix = slice_utf8_prefix(slice(data, size));
    require(prefix <= size);
    require(slice_is_utf8(slice(data, prefix)));
    require(slice_is_utf8(slice(data, size)) == (prefix == size));
    for (size_t longer = prefix + 1; longer <= size && longer <= prefix + 4; longer++)
        require(!slice_is_utf8(slice(data, longer)));
    return 0;
}
