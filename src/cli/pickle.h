// SPDX-License-Identifier: Apache-2.0
/* Pickled Python objects, shown without being made: nothing in them is looked up or run. */
#ifndef CLI_PICKLE_H
#define CLI_PICKLE_H

#include "base/arena.h"
#include "base/buf.h"

/* Appends the object: 1, "text", [1, 2], {"k": 1}, Class(k=v); (1, k=2) for
 * dispatch.proto.Arguments. What is long ends with "...". False, and nothing appended: the bytes
 * are no pickle, one of a kind that is not read, or there is no memory. */
bool pickle_describe(struct slice bytes, struct arena *arena, struct buf *out);

#endif
