// SPDX-License-Identifier: Apache-2.0
/* One allocation: the count, the length, the bytes. */
#include "base/blob.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

struct blob *blob_new(size_t len)
{
    struct blob *b;

    if (len > SIZE_MAX - sizeof *b)
        return NULL;
    b = malloc(sizeof *b + len);
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->len = len;
    return b;
}

struct blob *blob_copy(struct slice bytes)
{
    struct blob *b = blob_new(bytes.len);

    if (b && bytes.len)
        memcpy(b->data, bytes.data, bytes.len);
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    unsigned before;

    if (!b)
        return NULL;
    before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    assert(before > 0 && before < UINT_MAX / 2);
    return b;
}

void blob_unref(struct blob *b)
{
    unsigned before;

    if (!b)
        return;
    /* Release: our reads end before somebody frees it. Acquire: we free after theirs have ended. */
    before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        free(b);
}
