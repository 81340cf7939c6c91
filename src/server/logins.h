// SPDX-License-Identifier: Apache-2.0
/*
 * Logins of command lines: one draws a token and asks for it again and again; the server gives it a
 * short code, which whoever runs the server confirms (KeyService/ConfirmLogin); then the next
 * asking gets an API key, once. Nothing of it is durable but the key. One thread.
 *
 * Anybody may begin a login, so there is a bound on how many wait and on how many begin in a
 * minute; a code means nothing to who has not the token, and confirming is for the operator alone.
 */
#ifndef SERVER_LOGINS_H
#define SERVER_LOGINS_H

#include "base/clock.h"
#include "server/credentials.h"

#define LOGINS_MAX        64
#define LOGINS_PER_MINUTE 20
#define LOGINS_NS         (600 * NS_PER_S)
#define LOGINS_TOKEN      64 /* hexadecimal digits */
#define LOGINS_CODE       10 /* "BCDF-GHJK" and a NUL: 33 bits */

struct login {
    uint8_t hash[KEYS_HASH_BYTES]; /* of the token */
    char code[LOGINS_CODE];
    int64_t expires;
    bool confirming; /* the key is being made */
    /* Once it is: */
    char org[ORG_MAX + 1]; /* else "" */
    char secret[CREDENTIALS_SECRET];
};

struct logins {
    struct login list[LOGINS_MAX];
    size_t count;
    int64_t minute; /* when it began, */
    unsigned begun; /* and how many logins have since */
};

/* The login of the token, which begins if there is none. NULL: CODE_INVALID_ARGUMENT or
 * CODE_RESOURCE_EXHAUSTED. Lives until the next call of one of these. */
struct login *logins_of(struct logins *logins, struct slice token, int64_t now, struct error *err);
/* However it is written: "bcdfghjk". NULL: there is none. */
struct login *logins_by_code(struct logins *logins, const char *code, int64_t now);
void logins_end(struct logins *logins, struct login *login);

#endif
