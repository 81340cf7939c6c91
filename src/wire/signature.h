// SPDX-License-Identifier: Apache-2.0
/*
 * Signatures of Run requests (protocol, section 4): HTTP message signatures in the form of RFC 9421
 * with Ed25519, over method, path, authority, content type, and a digest of the body. Pure: no
 * clock, no network; thread-safe.
 */
#ifndef WIRE_SIGNATURE_H
#define WIRE_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* --- keys ------------------------------------------------------------------------------------ */

#define SIGNATURE_PEM_MAX 128 /* of a public key, with its NUL */

struct signature_public {
    uint8_t bytes[32];
};

struct signature_private {
    uint8_t bytes[64]; /* the seed, then the public key */
};

/* PEM (SubjectPublicKeyInfo; a backslash and an n may stand for a line break), or the base64 of the
 * 32 bytes. False for anything else. */
bool signature_read_public(struct slice text, struct signature_public *key);
/* PEM (PKCS #8, not encrypted), or the base64 of the 64 bytes, or of the seed alone. */
bool signature_read_private(struct slice text, struct signature_private *key);
/* From 32 random bytes; every such seed is a key. */
void signature_from_seed(const uint8_t seed[32], struct signature_private *key);
void signature_public_of(const struct signature_private *key, struct signature_public *out);
void signature_write_pem(const struct signature_public *key, char pem[SIGNATURE_PEM_MAX]);

/* --- requests -------------------------------------------------------------------------------- */

/* A header with its name in lower case. */
struct signature_field {
    struct slice name, value;
};

struct signature_request {
    struct slice method;    /* upper case */
    struct slice path;      /* as on the wire, escaped, without the query */
    struct slice query;     /* without its '?' */
    struct slice authority; /* the Host as sent or received */
    const struct signature_field *fields;
    size_t field_count;
    struct slice body;
};

/* Values for the headers of the same names, each with a NUL. */
struct signature_headers {
    char content_digest[104];
    char signature_input[192];
    char signature[104];
};

/* Signs as of `created`, seconds since the epoch. `request` has a content-type and none of the
 * three. CODE_INVALID_ARGUMENT: it has no content-type; CODE_RESOURCE_EXHAUSTED. */
int signature_sign(const struct signature_request *request, const struct signature_private *key,
                   int64_t created, struct signature_headers *headers, struct error *err);

/* How far clocks may be apart, and how old a signature may be. */
#define SIGNATURE_SKEW_S 5
#define SIGNATURE_AGE_S  300

/*
 * Zero: exactly one signature, by the key "default", which is `key`, covers at least what
 * signature_sign covers, is no older than it may be at `now_ns`, and the body is the one that was
 * signed. Else CODE_UNAUTHENTICATED (by another key; it covers too little; no usable digest) or
 * CODE_PERMISSION_DENIED, and why.
 */
int signature_verify(const struct signature_request *request, const struct signature_public *key,
                     int64_t now_ns, struct error *err);

#endif
