// SPDX-License-Identifier: Apache-2.0
/*
 * The one error convention of every room: a function that can fail returns an `int`, zero for
 * success, else one of the codes below; outputs are untouched on failure; the message for people
 * stands beside the code in a `struct error` that the caller may pass (NULL: not wanted).
 *
 * The codes are those of Connect and gRPC, so that an error made in the store reaches a client of
 * the API without a second table.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

enum code {
    CODE_OK = 0,
    CODE_CANCELED = 1,
    CODE_UNKNOWN = 2,
    CODE_INVALID_ARGUMENT = 3,
    CODE_DEADLINE_EXCEEDED = 4,
    CODE_NOT_FOUND = 5,
    CODE_ALREADY_EXISTS = 6,
    CODE_PERMISSION_DENIED = 7,
    CODE_RESOURCE_EXHAUSTED = 8,
    CODE_FAILED_PRECONDITION = 9,
    CODE_ABORTED = 10,
    CODE_OUT_OF_RANGE = 11,
    CODE_UNIMPLEMENTED = 12,
    CODE_INTERNAL = 13,
    CODE_UNAVAILABLE = 14,
    CODE_DATA_LOSS = 15,
    CODE_UNAUTHENTICATED = 16,
};

#define ERROR_MESSAGE_MAX 512

struct error {
    int code; /* enum code */
    char message[ERROR_MESSAGE_MAX];
};

/* The arguments may point into `err` itself. Fills `err` (if not NULL; a longer message is cut at a
 * UTF-8 boundary) and returns `code`. */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int error_setv(struct error *err, int code, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* CODE_RESOURCE_EXHAUSTED with "out of memory". */
int error_memory(struct error *err);

/* The lower-case Connect name, "invalid_argument"; "ok" for CODE_OK, "unknown" for what is not a
 * code. */
const char *code_name(int code);
/* The inverse; -1 if there is none of that name. "ok" is none: no failure may read as success. */
int code_from_name(const char *name);

#endif
