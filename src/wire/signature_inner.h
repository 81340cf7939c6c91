// SPDX-License-Identifier: Apache-2.0
/*
 * Between the files of the signatures: the structured fields (RFC 8941) that they are written in,
 * as much of them as signatures need; and the bytes that are signed.
 */
#ifndef WIRE_SIGNATURE_INNER_H
#define WIRE_SIGNATURE_INNER_H

#include "wire/signature.h"

enum {
    SIGNATURE_COMPONENTS_MAX = 32,
    SIGNATURE_FIELD_MAX = 8192, /* bytes of one header, of all its lines together */
    SIGNATURE_BYTES = 64,
};

/* A Signature-Input of one member. Slices are views into it. */
struct signature_input {
    struct slice label;
    struct slice components[SIGNATURE_COMPONENTS_MAX]; /* their names, without quotes */
    size_t component_count;
    bool has_created, has_expires, has_keyid, has_alg;
    int64_t created, expires; /* seconds since the epoch */
    struct slice keyid, alg;
    struct buf params; /* the inner list and its parameters as RFC 9421 has them written */
};

/* CODE_PERMISSION_DENIED and why: malformed, past a limit, or more than one signature. In either
 * case input->params is the caller's to free, after it was zeroed or filled here. */
int signature_read_input(struct slice text, struct signature_input *input, struct error *err);
/* A Signature header with exactly that one member. CODE_PERMISSION_DENIED. */
int signature_read_bytes(struct slice text, struct slice label, uint8_t out[SIGNATURE_BYTES],
                         struct error *err);

enum signature_digest { SIGNATURE_NO_DIGEST, SIGNATURE_SHA256, SIGNATURE_SHA512 };

/* The strongest digest of a Content-Digest header that we know. False: malformed. */
bool signature_read_digest(struct slice text, enum signature_digest *kind, uint8_t out[64]);

/* The lines of all fields of that name, joined as one value; false: there is none. */
bool signature_join(const struct signature_request *request, struct slice name, struct buf *value);

/* Appends the bytes that are signed. CODE_PERMISSION_DENIED names a component that is not there or
 * that we do not know. */
int signature_base(const struct signature_request *request, const struct signature_input *input,
                   struct buf *out, struct error *err);

#endif
