// SPDX-License-Identifier: Apache-2.0
/* Session ids; case counts in them. */
#include "cli/session.h"

#include <string.h>

#include "base/rand.h"

#define ALPHABET "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Divides in place; the remainder. */
static unsigned divide(uint8_t number[16])
{
    unsigned rest = 0;

    for (int i = 0; i < 16; i++) {
        rest = rest << 8 | number[i];
        number[i] = (uint8_t)(rest / 62);
        rest %= 62;
    }
    return rest;
}

void session_base62(const uint8_t bytes[16], char text[23])
{
    static const uint8_t zero[16];
    uint8_t number[16];
    char reversed[22];
    int len = 0;

    memcpy(number, bytes, sizeof number);
    do {
        reversed[len++] = ALPHABET[divide(number)];
    } while (memcmp(number, zero, sizeof zero) != 0);
    for (int i = 0; i < len; i++)
        text[i] = reversed[len - 1 - i];
    text[len] = '\0';
}

void session_make(char text[23])
{
    uint8_t bytes[16];

    rand_system(bytes, sizeof bytes);
    session_base62(bytes, text);
}

bool session_valid(const char *text)
{
    size_t len = strlen(text);

    return len >= 1 && len <= SESSION_MAX && text[0] != '.' && text[0] != '-' &&
           strspn(text, ALPHABET "._-") == len;
}
