// SPDX-License-Identifier: Apache-2.0
/*
 * Functions on AWS Lambda, by its Invoke API as somebody else speaks it without credentials: a
 * proxy that signs for AWS, or one of AWS's emulators. Only what is particular to it; the invoker
 * sends.
 */
#ifndef SERVER_LAMBDA_H
#define SERVER_LAMBDA_H

#include "net/net.h"
#include "orchestrator/orchestrator.h"

/* Reads the address of the API; views into `text`. CODE_INVALID_ARGUMENT: it is no http:// or
 * https:// URL. */
int lambda_url(const char *text, struct net_url *url, struct error *err);

/*
 * Path and query of an invocation, in the arena: the URL's path, then that of the API. The version
 * (may be empty) is the qualifier of an ARN that has none. A URL whose path ends with /invocations
 * is that of one function, and used as it is. CODE_INVALID_ARGUMENT: the ARN is none of a
 * function; CODE_RESOURCE_EXHAUSTED.
 */
int lambda_target(const struct net_url *url, struct slice arn, struct slice version,
                  struct arena *arena, struct slice *target, struct error *err);

/* As judge_response. */
bool lambda_judge(const struct net_response *response, struct slice endpoint, struct arena *arena,
                  wire_run_response **message, struct run_failure *failure);

#endif
