// SPDX-License-Identifier: Apache-2.0
/* From a host name and a port to a connected socket: every address in order, within one timeout. */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include "net/loop.h"

struct net_dial;

/* fd is -1 if it failed; the message (of a failure) says what could not be done and why. */
typedef void net_dial_done(void *arg, int fd, enum net_failure failure, const char *message);

/* NULL: a connection may be made to that address; else why there will be none, in a static text. */
typedef const char *net_dial_refuses(void *arg, const struct sockaddr *address);

/* `refuses` may be NULL: all may be reached. `done` is called once, later, unless it is cancelled
 * before. The timeout is for all of it; each of several addresses gets an equal share of what is
 * left. NULL: out of memory. */
struct net_dial *net_dial_start(struct net_loop *loop, const char *host, uint16_t port,
                                uint32_t timeout_ms, net_dial_refuses *refuses, net_dial_done *done,
                                void *arg);
void net_dial_cancel(struct net_dial *dial);

/* A negative errno of a socket as a failure. */
enum net_failure net_failure_of(int error);

#endif
