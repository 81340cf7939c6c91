// SPDX-License-Identifier: Apache-2.0
/*
 * The text form of a call id: what clients see and send back. 25 characters of lower-case Crockford
 * base32: 4 for the partition (20 bits), 13 for the number within it (65 bits, the top one 0), 8
 * for the store's tag (40 random bits, drawn when the store was made, so that an id from another
 * store is not found instead of being somebody else's call). It sorts by creation within a
 * partition.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/slice.h"

#define ID_TEXT_LEN      25
#define ID_TAG_MAX       ((UINT64_C(1) << 40) - 1)
#define ID_PARTITION_MAX ((1u << 20) - 1)

struct id_parts {
    uint32_t partition;
    uint64_t number;
    uint64_t tag;
};

/* Writes 25 characters and a NUL. */
void id_format(char text[ID_TEXT_LEN + 1], struct id_parts parts);
/* False for anything that id_format would not have written (upper case included). */
bool id_parse(struct slice text, struct id_parts *parts);

#endif
