// SPDX-License-Identifier: Apache-2.0
/* What came back for a run that was posted to an endpoint: a RunResponse, or why it is none, by the
 * table of protocol 3.3. */
#ifndef SERVER_JUDGE_H
#define SERVER_JUDGE_H

#include "net/net.h"
#include "orchestrator/orchestrator.h"

/* True: *message, in the arena. False: *failure, whose texts are static, the response's, or in the
 * arena; they name the endpoint. The response was not NET_CANCELED. */
bool judge_response(const struct net_response *response, struct slice endpoint, struct arena *arena,
                    wire_run_response **message, struct run_failure *failure);

/* Of a body that could not be unpacked: the message, and the status if it was for want of memory.
 */
void judge_malformed(const struct error *why, struct slice endpoint, struct arena *arena,
                     struct run_failure *failure);

#endif
