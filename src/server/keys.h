// SPDX-License-Identifier: Apache-2.0
/*
 * The API keys of a server. Only their SHA-256 is kept, and a comparison takes the same time
 * whether it succeeds or not, and whichever key it is. Not thread-safe.
 */
#ifndef SERVER_KEYS_H
#define SERVER_KEYS_H

#include "base/error.h"
#include "base/slice.h"

/* An organization: 1 to ORG_MAX lower-case letters, digits, '.', '_' and '-', first a letter or a
 * digit. Everything belongs to one; to this one, unless told otherwise. */
#define ORG_MAX     63
#define ORG_DEFAULT "default"

bool org_valid(struct slice slug);

#define KEYS_MAX        1024
#define KEYS_LENGTH_MAX 512
#define KEYS_HASH_BYTES 32

struct keys {
    uint8_t (*hashes)[KEYS_HASH_BYTES];
    size_t count;
};

void keys_init(struct keys *keys);
void keys_free(struct keys *keys);

/* CODE_INVALID_ARGUMENT (the message never holds the key): not 1 to KEYS_LENGTH_MAX printable ASCII
 * characters without spaces, or too many keys. */
int keys_add(struct keys *keys, struct slice key, struct error *err);
/* Adds what stands between commas; white space around a key and empty ones are skipped. */
int keys_add_list(struct keys *keys, const char *text, struct error *err);
/* Adds one key a line; empty lines and those that begin with '#' are skipped. */
int keys_add_file(struct keys *keys, const char *path, struct error *err);

bool keys_have(const struct keys *keys, struct slice key);

#endif
