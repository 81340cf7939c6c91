// SPDX-License-Identifier: Apache-2.0
/* Call ids (base/id.h): what id_parse takes is exactly what id_format writes. */
#include "base/id.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct id_parts parts;
    if (id_parse(slice(data, size), &parts)) {
        char text[ID_TEXT_LEN + 1];
        require(parts.partition <= ID_PARTITION_MAX);
        require(parts.tag <= ID_TAG_MAX);
        id_format(text, parts);
        require(slice_eq_str(slice(data, size), text));
    }
    return 0;
}
