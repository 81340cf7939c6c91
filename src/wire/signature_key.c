// SPDX-License-Identifier: Apache-2.0
/* Keys as text. The DER of an Ed25519 key is always the same but for its last 32 bytes, so that no
 * ASN.1 needs to be understood: RFC 8410, sections 4 and 7. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "wire/signature.h"

_Static_assert(sizeof(struct signature_private) == crypto_sign_SECRETKEYBYTES, "seed, public key");

enum { KEY_BYTES = 32, TEXT_MAX = 1024, BINARY_MAX = 128 };

static const uint8_t public_der[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                     0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const uint8_t private_der[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                      0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Copies the text without white space around it; "\n" in two characters is one. */
static size_t copy_text(struct slice text, char out[TEXT_MAX])
{
    const char *p = text.data;
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = p[i];

        if (c == '\\' && i + 1 < text.len && p[i + 1] == 'n') {
            c = '\n';
            i++;
        }
        if (is_space(c) && len == 0)
            continue;
        if (len == TEXT_MAX)
            return 0;
        out[len++] = c;
    }
    while (len > 0 && is_space(out[len - 1]))
        len--;
    return len;
}

/* Takes the lines before and behind off, if they are those of such a PEM. */
static struct slice unwrap(struct slice text, const char *begin, const char *end)
{
    size_t before = strlen(begin), behind = strlen(end);

    if (text.len < before + behind || memcmp(text.data, begin, before) != 0 ||
        memcmp((const char *)text.data + text.len - behind, end, behind) != 0)
        return (struct slice){0};
    return slice((const char *)text.data + before, text.len - before - behind);
}

/* Zero: it is not base64. */
static size_t decode(struct slice text, uint8_t out[BINARY_MAX])
{
    size_t len = 0;

    if (sodium_base642bin(out, BINARY_MAX, text.data, text.len, " \t\r\n", &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL))
        return 0;
    return len;
}

/* The last bytes of a DER that begins as it has to; NULL if it does not. */
static const uint8_t *open_der(struct slice text, const uint8_t *prefix, size_t prefix_len,
                               uint8_t out[BINARY_MAX])
{
    if (decode(text, out) != prefix_len + KEY_BYTES || memcmp(out, prefix, prefix_len) != 0)
        return NULL;
    return out + prefix_len;
}

bool signature_read_public(struct slice text, struct signature_public *key)
{
    char copy[TEXT_MAX];
    uint8_t binary[BINARY_MAX];
    const uint8_t *found;
    struct slice whole = slice(copy, copy_text(text, copy)), body;

    body = unwrap(whole, "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----");
    if (body.data)
        found = open_der(body, public_der, sizeof public_der, binary);
    else
        found = whole.len > 0 && decode(whole, binary) == KEY_BYTES ? binary : NULL;
    if (found)
        memcpy(key->bytes, found, KEY_BYTES);
    return found;
}

void signature_from_seed(const uint8_t seed[32], struct signature_private *key)
{
    uint8_t public[KEY_BYTES];

    crypto_sign_seed_keypair(public, key->bytes, seed); /* it cannot fail */
}

bool signature_read_private(struct slice text, struct signature_private *key)
{
    char copy[TEXT_MAX];
    uint8_t binary[BINARY_MAX];
    const uint8_t *seed = NULL;
    struct slice whole = slice(copy, copy_text(text, copy)), body;
    size_t len;

    body = unwrap(whole, "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    if (body.data) {
        seed = open_der(body, private_der, sizeof private_der, binary);
    } else if (whole.len > 0) {
        len = decode(whole, binary);
        seed = len == KEY_BYTES || len == sizeof key->bytes ? binary : NULL;
    }
    if (seed)
        signature_from_seed(seed, key);
    sodium_memzero(copy, sizeof copy);
    sodium_memzero(binary, sizeof binary);
    return seed;
}

void signature_public_of(const struct signature_private *key, struct signature_public *out)
{
    memcpy(out->bytes, key->bytes + KEY_BYTES, KEY_BYTES);
}

void signature_write_pem(const struct signature_public *key, char pem[SIGNATURE_PEM_MAX])
{
    uint8_t der[sizeof public_der + KEY_BYTES];
    char text[sodium_base64_ENCODED_LEN(sizeof der, sodium_base64_VARIANT_ORIGINAL)];

    memcpy(der, public_der, sizeof public_der);
    memcpy(der + sizeof public_der, key->bytes, KEY_BYTES);
    sodium_bin2base64(text, sizeof text, der, sizeof der, sodium_base64_VARIANT_ORIGINAL);
    snprintf(pem, SIGNATURE_PEM_MAX, "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n",
             text);
}
