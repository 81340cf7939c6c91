// SPDX-License-Identifier: Apache-2.0
/* Ids of the sessions of `dispatch run`: drawn by us, or any that a user chose. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#define SESSION_MAX 64 /* characters */

/* 128 bits, the first byte the most significant, in base 62 (digits, lower case, upper case)
 * without leading zeros: at most 22 characters and a NUL. */
void session_base62(const uint8_t bytes[16], char text[23]);
/* 128 random bits. */
void session_make(char text[23]);
/* A name that may stand in a URL and be a file's: letters, digits, '.', '_' and '-', not first '.'
 * or
 * '-', 1 to SESSION_MAX. */
bool session_valid(const char *text);

#endif
