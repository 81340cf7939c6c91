// SPDX-License-Identifier: Apache-2.0
/* Which addresses calls may be delivered to. */
#ifndef SERVER_POLICY_H
#define SERVER_POLICY_H

#include <stdbool.h>

struct sockaddr;

/* False for link-local addresses (169.254.0.0/16, fe80::/10, and the first within IPv6) and
 * fd00:ec2::254: there clouds tell a machine its secrets, which are not for whoever may dispatch a
 * call. */
bool policy_may_reach(const struct sockaddr *address);

#endif
