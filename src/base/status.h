// SPDX-License-Identifier: Apache-2.0
/* The status of a run and of a finished call, as numbered on the wire (dispatch.sdk.v1.Status). */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdbool.h>

enum status {
    STATUS_UNSPECIFIED = 0,
    STATUS_OK = 1,
    STATUS_TIMEOUT = 2,
    STATUS_THROTTLED = 3,
    STATUS_INVALID_ARGUMENT = 4,
    STATUS_INVALID_RESPONSE = 5,
    STATUS_TEMPORARY_ERROR = 6,
    STATUS_PERMANENT_ERROR = 7,
    STATUS_INCOMPATIBLE_STATE = 8,
    STATUS_DNS_ERROR = 9,
    STATUS_TCP_ERROR = 10,
    STATUS_TLS_ERROR = 11,
    STATUS_HTTP_ERROR = 12,
    STATUS_UNAUTHENTICATED = 13,
    STATUS_PERMISSION_DENIED = 14,
    STATUS_NOT_FOUND = 15,
    STATUS_COUNT,
};

/* True for a status after which the same run is made again. */
bool status_is_temporary(enum status status);

/* "OK", "TEMPORARY_ERROR"; "UNSPECIFIED" for any number that is no status. Never NULL. */
const char *status_name(enum status status);

#endif
