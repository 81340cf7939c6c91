// SPDX-License-Identifier: Apache-2.0
/* Rows of TABLE_KEY as bytes: a version, a kind, then the fields in a fixed order. */
#include "engine/key.h"

#define KEY_VERSION 1
#define HASH_BITS   42 /* the bit above them is the kind */

enum { FLAG_EXPIRES = 1, FLAG_OUTPUT = 2, FLAG_ERROR = 4, FLAG_ALL = 7 };

uint64_t key_first(enum key_kind kind)
{
    return (uint64_t)kind << HASH_BITS;
}

uint64_t key_last(enum key_kind kind)
{
    return key_first(kind) | ((UINT64_C(1) << HASH_BITS) - 1);
}

uint64_t key_place(enum key_kind kind, struct slice org, struct slice name, uint64_t seed)
{
    return key_first(kind) | slice_hash(name, slice_hash(org, seed)) >> (64 - HASH_BITS);
}

int key_check_name(const char *what, struct slice name, struct error *err)
{
    const uint8_t *p = name.data;

    if (name.len < 1 || name.len > KEY_NAME_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "%s has %zu characters: it may have 1 to %d, all of them printable ASCII",
                         what, name.len, KEY_NAME_MAX);
    for (size_t i = 0; i < name.len; i++)
        if (p[i] < ' ' || p[i] > '~')
            return error_set(err, CODE_INVALID_ARGUMENT,
                             "%s has a character that is not printable ASCII, its %zuth", what,
                             i + 1);
    return CODE_OK;
}

void key_encode(struct buf *out, const struct engine_key *k)
{
    unsigned flags = (k->expires != TIME_NEVER ? FLAG_EXPIRES : 0) |
                     (k->has_output ? FLAG_OUTPUT : 0) | (k->has_error ? FLAG_ERROR : 0);

    buf_append_byte(out, KEY_VERSION);
    buf_append_byte(out, (uint8_t)k->kind);
    buf_append_byte(out, (uint8_t)flags);
    buf_append_byte(out, (uint8_t)k->status);
    if (flags & FLAG_EXPIRES)
        buf_put_u64(out, (uint64_t)k->expires);
    buf_put_varint(out, k->call);
    buf_put_varint(out, k->count);
    buf_put_u64(out, k->digest[0]);
    buf_put_u64(out, k->digest[1]);
    buf_put_bytes(out, k->org);
    buf_put_bytes(out, k->name);
    if (k->has_output)
        buf_put_bytes(out, k->output);
    if (k->has_error)
        buf_put_bytes(out, k->error);
}

static bool get_rest(struct slice *in, unsigned flags, struct engine_key *k)
{
    uint64_t count, expires = 0;

    if (((flags & FLAG_EXPIRES) && !slice_get_u64(in, &expires)) ||
        !slice_get_varint(in, &k->call) || !slice_get_varint(in, &count) || count > UINT32_MAX ||
        !slice_get_u64(in, &k->digest[0]) || !slice_get_u64(in, &k->digest[1]) ||
        !slice_get_bytes(in, &k->org) || !slice_get_bytes(in, &k->name) ||
        ((flags & FLAG_OUTPUT) && !slice_get_bytes(in, &k->output)) ||
        ((flags & FLAG_ERROR) && !slice_get_bytes(in, &k->error)) || in->len)
        return false;
    k->count = (uint32_t)count;
    k->expires = flags & FLAG_EXPIRES ? (int64_t)expires : TIME_NEVER;
    k->has_output = flags & FLAG_OUTPUT;
    k->has_error = flags & FLAG_ERROR;
    return true;
}

int key_decode(struct slice in, struct engine_key *key, struct error *err)
{
    struct engine_key k = {0};
    uint8_t version, kind, flags, status;

    if (!slice_get_byte(&in, &version))
        return error_set(err, CODE_DATA_LOSS, "empty key row");
    if (version > KEY_VERSION)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "key row of version %u; this program reads up to %u", version,
                         KEY_VERSION);
    if (version != KEY_VERSION || !slice_get_byte(&in, &kind) || !slice_get_byte(&in, &flags) ||
        !slice_get_byte(&in, &status) || kind >= KEY_KINDS || flags & ~FLAG_ALL ||
        status >= STATUS_COUNT || !get_rest(&in, flags, &k))
        return error_set(err, CODE_DATA_LOSS, "damaged key row");
    k.kind = kind;
    k.status = status;
    *key = k;
    return CODE_OK;
}
