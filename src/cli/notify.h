// SPDX-License-Identifier: Apache-2.0
/*
 * What a service manager wants to hear (systemd's sd_notify protocol): a datagram of assignments to
 * the socket that NOTIFY_SOCKET names. Without one, nothing is said.
 */
#ifndef CLI_NOTIFY_H
#define CLI_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* "READY=1". False: the manager could not be told; errno says why. */
bool notify_send(const char *state);
/* The manager takes this process for hung if it has not heard "WATCHDOG=1" for so long; 0: it does
 * not wait for that. */
uint64_t notify_watchdog_us(void);

#endif
