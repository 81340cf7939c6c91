// SPDX-License-Identifier: Apache-2.0
/* Calls, as applications make them. */
#include "sdk/internal.h"

#include "sdk/fiber.h"

struct dispatch_call dispatch_to(const char *function, struct dispatch_value input)
{
    return (struct dispatch_call){.function = function, .input = input};
}

int dispatch_report_overflows(struct dispatch_failure *failure)
{
    struct error err = {0};

    return sdk_overflow_report(&err) ? sdk_fail_from(failure, &err) : 0;
}

/* --- outside of any function ----------------------------------------------------------------- */

struct dispatch_result sdk_call_and_wait(const struct dispatch_call *call)
{
    struct dispatch_failure failure = {0};
    struct dispatch_result result = {0};
    struct dispatch_client *client;
    struct dispatch_ids ids = {0};
    int rc = dispatch_registry_dispatch(NULL, call, 1, &ids, &failure);

    if (!rc)
        rc = sdk_registry_client(dispatch_registry_default(), &client, &failure);
    if (!rc)
        rc = dispatch_client_wait(client, ids.id[0], -1, &result, &failure);
    dispatch_ids_free(&ids);
    return rc ? sdk_failed("Client", &failure) : result;
}
