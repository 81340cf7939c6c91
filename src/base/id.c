// SPDX-License-Identifier: Apache-2.0
/* Three big-endian numbers in base32, most significant digit first: text order is number order, as
 * the alphabet ascends in ASCII. */
#include "base/id.h"

#include <assert.h>

enum { PARTITION_LEN = 4, NUMBER_LEN = 13, TAG_LEN = 8 };

static_assert(PARTITION_LEN + NUMBER_LEN + TAG_LEN == ID_TEXT_LEN, "the parts are the whole");

/* Crockford's: no i, l, o, u. */
static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* One more than the digit's value; 0: no digit. */
static const uint8_t digits[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['g'] = 17, ['h'] = 18, ['j'] = 19, ['k'] = 20, ['m'] = 21, ['n'] = 22, ['p'] = 23, ['q'] = 24,
    ['r'] = 25, ['s'] = 26, ['t'] = 27, ['v'] = 28, ['w'] = 29, ['x'] = 30, ['y'] = 31, ['z'] = 32,
};

static void put(char *text, int len, uint64_t value)
{
    while (len-- > 0) {
        text[len] = alphabet[value & 31];
        value >>= 5;
    }
}

static bool get(const char *text, int len, uint64_t *value)
{
    uint64_t result = 0;

    for (int i = 0; i < len; i++) {
        uint8_t digit = digits[(uint8_t)text[i]];

        if (digit == 0 || result >> 59 != 0)
            return false;
        result = result << 5 | (uint8_t)(digit - 1);
    }
    *value = result;
    return true;
}

void id_format(char text[ID_TEXT_LEN + 1], struct id_parts parts)
{
    assert(parts.partition <= ID_PARTITION_MAX && parts.tag <= ID_TAG_MAX);
    put(text, PARTITION_LEN, parts.partition);
    put(text + PARTITION_LEN, NUMBER_LEN, parts.number);
    put(text + PARTITION_LEN + NUMBER_LEN, TAG_LEN, parts.tag);
    text[ID_TEXT_LEN] = '\0';
}

bool id_parse(struct slice text, struct id_parts *parts)
{
    const char *at = text.data;
    uint64_t partition, number, tag;

    if (text.len != ID_TEXT_LEN)
        return false;
    if (!get(at, PARTITION_LEN, &partition) || !get(at + PARTITION_LEN, NUMBER_LEN, &number) ||
        !get(at + PARTITION_LEN + NUMBER_LEN, TAG_LEN, &tag))
        return false;
    *parts = (struct id_parts){.partition = (uint32_t)partition, .number = number, .tag = tag};
    return true;
}
