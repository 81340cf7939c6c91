// SPDX-License-Identifier: Apache-2.0
/* A short list, searched from its beginning; what has expired goes when something is asked. */
#include "server/logins.h"

#include <ctype.h>
#include <sodium.h>

#include "base/rand.h"

/* Without vowels, so that no word comes of it, and without what looks like a digit. */
static const char letters[] = "BCDFGHJKMNPQRTVWXZ";

void logins_end(struct logins *logins, struct login *login)
{
    struct login *last = &logins->list[--logins->count];

    if (login != last)
        *login = *last;
    sodium_memzero(last, sizeof *last);
}

static void expire(struct logins *logins, int64_t now)
{
    for (size_t i = logins->count; i-- > 0;) {
        if (logins->list[i].expires <= now)
            logins_end(logins, &logins->list[i]);
    }
    if (now - logins->minute >= 60 * NS_PER_S || now < logins->minute) {
        logins->minute = now;
        logins->begun = 0;
    }
}

static void draw_code(char code[LOGINS_CODE])
{
    for (size_t i = 0; i < LOGINS_CODE - 1; i++)
        code[i] = i == 4 ? '-' : letters[randombytes_uniform(sizeof letters - 1)];
    code[LOGINS_CODE - 1] = '\0';
}

static bool is_token(struct slice token)
{
    const char *p = token.data;

    for (size_t i = 0; i < token.len; i++) {
        if (!isxdigit((unsigned char)p[i]))
            return false;
    }
    return token.len == LOGINS_TOKEN;
}

static struct login *begin(struct logins *logins, const uint8_t *hash, int64_t now)
{
    struct login *login = &logins->list[logins->count];

    *login = (struct login){.expires = time_add(now, LOGINS_NS)};
    memcpy(login->hash, hash, KEYS_HASH_BYTES);
    do
        draw_code(login->code);
    while (logins_by_code(logins, login->code, now));
    logins->count++;
    logins->begun++;
    return login;
}

struct login *logins_of(struct logins *logins, struct slice token, int64_t now, struct error *err)
{
    uint8_t hash[KEYS_HASH_BYTES];

    expire(logins, now);
    if (!is_token(token)) {
        error_set(err, CODE_INVALID_ARGUMENT, "a token has %d hexadecimal digits", LOGINS_TOKEN);
        return NULL;
    }
    crypto_hash_sha256(hash, token.data, token.len);
    for (size_t i = 0; i < logins->count; i++) {
        if (sodium_memcmp(logins->list[i].hash, hash, sizeof hash) == 0)
            return &logins->list[i];
    }
    if (logins->count < LOGINS_MAX && logins->begun < LOGINS_PER_MINUTE)
        return begin(logins, hash, now);
    error_set(err, CODE_RESOURCE_EXHAUSTED, "too many logins are under way: try again later");
    return NULL;
}

/* Letters alone count, of either case. */
static bool same_code(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += *a == '-';
        b += *b == '-';
        if (toupper((unsigned char)*a) != toupper((unsigned char)*b))
            return false;
        if (!*a)
            return true;
    }
}

struct login *logins_by_code(struct logins *logins, const char *code, int64_t now)
{
    expire(logins, now);
    for (size_t i = 0; i < logins->count; i++) {
        if (same_code(logins->list[i].code, code))
            return &logins->list[i];
    }
    return NULL;
}
