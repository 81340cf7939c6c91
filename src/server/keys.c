// SPDX-License-Identifier: Apache-2.0
/*
 * API keys: read from wherever the operator has them, hashed at once, compared by hash. A key that
 * cannot be sent in a header is refused when it is added, not when the first client fails with it.
 */
#include "server/keys.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(KEYS_HASH_BYTES == crypto_hash_sha256_BYTES, "the hash is SHA-256");

/* Longer than any key, its line end and spaces around it. */
#define LINE_MAX_BYTES (KEYS_LENGTH_MAX + 512)

bool org_valid(struct slice slug)
{
    const char *p = slug.data;

    if (slug.len == 0 || slug.len > ORG_MAX)
        return false;
    for (size_t i = 0; i < slug.len; i++) {
        bool word = (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9');

        if (!word && (i == 0 || !p[i] || !strchr("._-", p[i])))
            return false;
    }
    return true;
}

void keys_init(struct keys *keys)
{
    *keys = (struct keys){0};
}

void keys_free(struct keys *keys)
{
    free(keys->hashes);
    *keys = (struct keys){0};
}

static void hash(uint8_t out[KEYS_HASH_BYTES], struct slice key)
{
    crypto_hash_sha256(out, key.data, key.len);
}

static bool well_formed(struct slice key)
{
    const uint8_t *bytes = key.data;

    if (key.len == 0 || key.len > KEYS_LENGTH_MAX)
        return false;
    for (size_t i = 0; i < key.len; i++) {
        if (bytes[i] <= ' ' || bytes[i] >= 0x7f)
            return false;
    }
    return true;
}

int keys_add(struct keys *keys, struct slice key, struct error *err)
{
    void *grown;

    if (!well_formed(key))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "an API key is 1 to %d printable ASCII characters without spaces",
                         KEYS_LENGTH_MAX);
    if (keys->count == KEYS_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "there are more than %d API keys", KEYS_MAX);
    grown = realloc(keys->hashes, (keys->count + 1) * sizeof *keys->hashes);
    if (!grown)
        return error_memory(err);
    keys->hashes = grown;
    hash(keys->hashes[keys->count++], key);
    return CODE_OK;
}

static struct slice trim(struct slice s)
{
    const char *p = s.data;

    while (s.len && strchr(" \t\r\n", p[s.len - 1]))
        s.len--;
    while (s.len && strchr(" \t\r\n", *p)) {
        p++;
        s.len--;
    }
    return slice(p, s.len);
}

int keys_add_list(struct keys *keys, const char *text, struct error *err)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        struct slice key = trim(slice(text, len));
        int code = key.len ? keys_add(keys, key, err) : CODE_OK;

        if (code)
            return code;
        text += len;
        text += *text == ',';
    }
    return CODE_OK;
}

static int add_lines(struct keys *keys, FILE *file, const char *path, struct error *err)
{
    char line[LINE_MAX_BYTES];
    unsigned number = 0;

    while (fgets(line, sizeof line, file)) {
        struct slice key = trim(slice_str(line));
        struct error why;

        number++;
        if (key.len == 0 || *(const char *)key.data == '#')
            continue;
        if (keys_add(keys, key, &why)) {
            sodium_memzero(line, sizeof line);
            return error_set(err, why.code, "%s, line %u: %s", path, number, why.message);
        }
    }
    sodium_memzero(line, sizeof line);
    if (ferror(file))
        return error_set(err, CODE_UNAVAILABLE, "cannot read the API keys in %s: %s", path,
                         strerror(errno));
    return CODE_OK;
}

int keys_add_file(struct keys *keys, const char *path, struct error *err)
{
    FILE *file = fopen(path, "re");
    int code;

    if (!file)
        return error_set(err, CODE_NOT_FOUND, "cannot read the API keys in %s: %s", path,
                         strerror(errno));
    code = add_lines(keys, file, path, err);
    fclose(file);
    return code;
}

bool keys_have(const struct keys *keys, struct slice key)
{
    uint8_t wanted[KEYS_HASH_BYTES];
    unsigned found = 0;

    /* Longer than any key is: not worth hashing. */
    if (key.len == 0 || key.len > KEYS_LENGTH_MAX)
        return false;
    hash(wanted, key);
    for (size_t i = 0; i < keys->count; i++)
        found |= sodium_memcmp(wanted, keys->hashes[i], KEYS_HASH_BYTES) == 0;
    return found;
}
