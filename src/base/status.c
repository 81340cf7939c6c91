// SPDX-License-Identifier: Apache-2.0
/* One table: a status is a name and whether it passes. */
#include "base/status.h"

static const struct {
    const char *name;
    bool temporary;
} table[STATUS_COUNT] = {
    [STATUS_UNSPECIFIED] = {"UNSPECIFIED", false},
    [STATUS_OK] = {"OK", false},
    [STATUS_TIMEOUT] = {"TIMEOUT", true},
    [STATUS_THROTTLED] = {"THROTTLED", true},
    [STATUS_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", false},
    [STATUS_INVALID_RESPONSE] = {"INVALID_RESPONSE", false},
    [STATUS_TEMPORARY_ERROR] = {"TEMPORARY_ERROR", true},
    [STATUS_PERMANENT_ERROR] = {"PERMANENT_ERROR", false},
    [STATUS_INCOMPATIBLE_STATE] = {"INCOMPATIBLE_STATE", true},
    [STATUS_DNS_ERROR] = {"DNS_ERROR", true},
    [STATUS_TCP_ERROR] = {"TCP_ERROR", true},
    [STATUS_TLS_ERROR] = {"TLS_ERROR", true},
    [STATUS_HTTP_ERROR] = {"HTTP_ERROR", true},
    [STATUS_UNAUTHENTICATED] = {"UNAUTHENTICATED", false},
    [STATUS_PERMISSION_DENIED] = {"PERMISSION_DENIED", false},
    [STATUS_NOT_FOUND] = {"NOT_FOUND", false},
};

/* A number from the wire may be anything: out of range counts as unspecified. */
static unsigned index_of(enum status status)
{
    return (unsigned)status < STATUS_COUNT ? (unsigned)status : STATUS_UNSPECIFIED;
}

bool status_is_temporary(enum status status)
{
    return table[index_of(status)].temporary;
}

const char *status_name(enum status status)
{
    return table[index_of(status)].name;
}
