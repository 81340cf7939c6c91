// SPDX-License-Identifier: Apache-2.0
/*
 * Where calls may be delivered to: patterns, each of them
 *
 *     [SCHEME://]HOST[:PORT]
 *
 * SCHEME is http or https; without it, either. PORT is a number; without it, any. HOST is one of
 *
 *     a name       "api.example.com"; '*' stands for any characters, dots too: "*.example.com" is
 *                  every name below example.com. It is compared with the name in the endpoint, in
 *                  any case of letters, never with an address
 *     *            alone: every name and every address
 *     a range      "10.0.0.0/8", "fd00::/8", or an address alone. It is compared with the address
 *                  that is connected to, whatever name it was found by. With a port, IPv6 is in
 *                  brackets: "[fd00::/8]:443"
 *
 * With no pattern at all, every endpoint may be called. Endpoints other than http:// and https://
 * are not the policy's matter: nothing is connected to for them.
 */
#ifndef SERVER_POLICY_H
#define SERVER_POLICY_H

#include "base/error.h"
#include "net/net.h"

#define POLICY_PATTERNS_MAX 256

struct policy_pattern;

struct policy {
    /* Link-local addresses (169.254.0.0/16, fe80::/10, and the first within IPv6) and fd00:ec2::254
     * are refused: there clouds tell a machine its secrets, which are not for whoever may dispatch
     * a call. A pattern that is a range of nothing else opens them again. */
    bool guarded;
    struct policy_pattern *patterns;
    size_t count;
};

void policy_init(struct policy *policy);
void policy_free(struct policy *policy);

/* CODE_INVALID_ARGUMENT: it is no pattern, or there are too many. */
int policy_add(struct policy *policy, const char *pattern, struct error *err);

/*
 * What is known before the name is looked up. CODE_PERMISSION_DENIED: the endpoint cannot be
 * allowed, whatever its address turns out to be; the message names it and the rule.
 * CODE_INVALID_ARGUMENT: it is a URL that nothing can be sent to.
 */
int policy_check(const struct policy *policy, struct slice endpoint, struct error *err);

/* What a net client asks of each address, with the policy as `arg`: NULL, or why not. Without an
 * address, a range allows nothing but an address that is the host's name. */
const char *policy_refuses(const void *policy, const struct net_target *target,
                           const struct sockaddr *address);

#endif
