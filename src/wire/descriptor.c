// SPDX-License-Identifier: Apache-2.0
/* The contract as data: what protoc made of proto/, for tools that ask a server what it speaks. */
#include "wire/wire.h"

static const uint8_t set[] = {
#include "descriptor-set.h"
};

struct slice wire_descriptor_set(void)
{
    return slice(set, sizeof set);
}
