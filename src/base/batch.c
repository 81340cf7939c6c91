// SPDX-License-Identifier: Apache-2.0
/*
 * An array of operations that doubles, and an arena for the values that are copied. A put or delete
 * that fails leaves the batch as it was.
 */
#include "base/batch.h"

#include <assert.h>
#include <stdlib.h>

enum { OPS_FIRST = 64 };

void batch_init(struct batch *b)
{
    *b = (struct batch){0};
    arena_init(&b->arena, BATCH_BYTES_MAX);
}

void batch_reset(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        blob_unref(b->ops[i].blob);
    b->count = 0;
    b->bytes = 0;
    arena_rewind(&b->arena);
}

void batch_free(struct batch *b)
{
    batch_reset(b);
    arena_reset(&b->arena);
    free(b->ops);
    batch_init(b);
}

bool batch_reserve(struct batch *b, size_t extra)
{
    struct batch_op *ops;
    size_t cap;

    if (extra <= b->cap - b->count)
        return true;
    if (extra > BATCH_OPS_MAX - b->count)
        return false;
    cap = b->cap ? b->cap : OPS_FIRST;
    while (cap < b->count + extra)
        cap *= 2;
    ops = realloc(b->ops, cap * sizeof *ops);
    if (!ops)
        return false;
    b->ops = ops;
    b->cap = cap;
    return true;
}

static bool append(struct batch *b, struct batch_op op)
{
    assert((unsigned)op.table < TABLE_COUNT);
    assert(op.key <= KEY_MAX && op.sub <= SUB_MAX);
    if (b->count == b->cap && !batch_reserve(b, 1))
        return false;
    b->ops[b->count++] = op;
    b->bytes += op.value.len;
    return true;
}

bool batch_put(struct batch *b, enum table table, uint64_t key, uint32_t sub, struct slice copied)
{
    void *copy;

    if (copied.len > BATCH_BYTES_MAX - b->bytes || !batch_reserve(b, 1))
        return false;
    copy = arena_alloc(&b->arena, copied.len);
    if (!copy)
        return false;
    if (copied.len)
        memcpy(copy, copied.data, copied.len);
    return append(
        b,
        (struct batch_op){
            .table = table, .put = true, .sub = sub, .key = key, .value = slice(copy, copied.len)});
}

bool batch_put_blob(struct batch *b, enum table table, uint64_t key, uint32_t sub,
                    struct blob *referenced)
{
    struct slice value = blob_slice(referenced);

    assert(referenced);
    if (value.len > BATCH_BYTES_MAX - b->bytes || !batch_reserve(b, 1))
        return false;
    return append(b, (struct batch_op){.table = table,
                                       .put = true,
                                       .sub = sub,
                                       .key = key,
                                       .value = value,
                                       .blob = blob_ref(referenced)});
}

bool batch_delete(struct batch *b, enum table table, uint64_t key, uint32_t sub)
{
    return append(b, (struct batch_op){.table = table, .sub = sub, .key = key});
}
