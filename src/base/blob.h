// SPDX-License-Identifier: Apache-2.0
/* Immutable bytes with a reference count (atomic: a blob may be shared between threads). Payloads
 * travel as blobs from the request that brought them to the batch that stores them, uncopied. */
#ifndef BASE_BLOB_H
#define BASE_BLOB_H

#include <stdatomic.h>

#include "base/slice.h"

struct blob {
    atomic_uint refs;
    size_t len;
    uint8_t data[];
};

/* One reference, the caller's. NULL when out of memory. blob_new leaves the bytes for the caller to
 * write before anybody else sees them. */
struct blob *blob_new(size_t len);
struct blob *blob_copy(struct slice bytes);
struct blob *blob_ref(struct blob *b); /* returns b; NULL stays NULL */
void blob_unref(struct blob *b);       /* NULL is fine */

static inline struct slice blob_slice(const struct blob *b)
{
    return b ? (struct slice){b->data, b->len} : (struct slice){0};
}

#endif
