// SPDX-License-Identifier: Apache-2.0
/* Calls, as applications make them. */
#include "sdk/internal.h"

struct dispatch_call dispatch_to(const char *function, struct dispatch_value input)
{
    return (struct dispatch_call){.function = function, .input = input};
}
