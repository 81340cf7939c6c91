// SPDX-License-Identifier: Apache-2.0
/* What an exchange that is answered later has as its data: who is told when its peer goes away. */
#ifndef SERVER_PENDING_H
#define SERVER_PENDING_H

struct pending {
    void (*gone)(struct pending *pending); /* the exchange is no more */
};

#endif
