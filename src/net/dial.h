// SPDX-License-Identifier: Apache-2.0
/* From a host name and a port to a connected socket: every address in order, within one timeout. */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include "net/loop.h"

struct net_dial;

/* fd is -1 if it failed; the message (of a failure) says what could not be done and why. */
typedef void net_dial_done(void *arg, int fd, enum net_failure failure, const char *message);

/* False: no connection is made to that address. */
typedef bool net_dial_may_reach(const struct sockaddr *address);

/* `may_reach` may be NULL: all. `done` is called once, later, unless it is cancelled before. The
 * timeout is for all of it; each of several addresses gets an equal share of what is left. NULL:
 * out of memory. */
struct net_dial *net_dial_start(struct net_loop *loop, const char *host, uint16_t port,
                                uint32_t timeout_ms, net_dial_may_reach *may_reach,
                                net_dial_done *done, void *arg);
void net_dial_cancel(struct net_dial *dial);

/* A negative errno of a socket as a failure. */
enum net_failure net_failure_of(int error);

#endif
