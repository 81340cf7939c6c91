// SPDX-License-Identifier: Apache-2.0
/* Messages are formatted aside and copied, so that a message may be built from the one before it:
 * error_set(err, code, "opening: %s", err->message). */
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [CODE_OK] = "ok",
    [CODE_CANCELED] = "canceled",
    [CODE_UNKNOWN] = "unknown",
    [CODE_INVALID_ARGUMENT] = "invalid_argument",
    [CODE_DEADLINE_EXCEEDED] = "deadline_exceeded",
    [CODE_NOT_FOUND] = "not_found",
    [CODE_ALREADY_EXISTS] = "already_exists",
    [CODE_PERMISSION_DENIED] = "permission_denied",
    [CODE_RESOURCE_EXHAUSTED] = "resource_exhausted",
    [CODE_FAILED_PRECONDITION] = "failed_precondition",
    [CODE_ABORTED] = "aborted",
    [CODE_OUT_OF_RANGE] = "out_of_range",
    [CODE_UNIMPLEMENTED] = "unimplemented",
    [CODE_INTERNAL] = "internal",
    [CODE_UNAVAILABLE] = "unavailable",
    [CODE_DATA_LOSS] = "data_loss",
    [CODE_UNAUTHENTICATED] = "unauthenticated",
};

enum { NAMES = sizeof names / sizeof *names };

/* The length of `text` without a UTF-8 sequence that its end cuts short. */
static size_t whole_utf8(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        uint8_t byte = (uint8_t)text[len - back];
        size_t need = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;

        if ((byte & 0xc0) == 0x80)
            continue;
        return need > back ? len - back : len;
    }
    return len;
}

int error_setv(struct error *err, int code, const char *format, va_list args)
{
    char message[ERROR_MESSAGE_MAX];
    size_t len;
    int wanted;

    if (!err)
        return code;
    wanted = vsnprintf(message, sizeof message, format, args);
    if (wanted < 0)
        wanted = snprintf(message, sizeof message, "%s", code_name(code));
    len = (size_t)wanted;
    if (len >= sizeof message)
        len = whole_utf8(message, sizeof message - 1);
    memcpy(err->message, message, len);
    err->message[len] = '\0';
    err->code = code;
    return code;
}

int error_set(struct error *err, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error_setv(err, code, format, args);
    va_end(args);
    return code;
}

int error_memory(struct error *err)
{
    return error_set(err, CODE_RESOURCE_EXHAUSTED, "out of memory");
}

const char *code_name(int code)
{
    return code >= 0 && code < NAMES ? names[code] : names[CODE_UNKNOWN];
}

int code_from_name(const char *name)
{
    for (int code = CODE_OK + 1; name && code < NAMES; code++)
        if (strcmp(name, names[code]) == 0)
            return code;
    return -1;
}
