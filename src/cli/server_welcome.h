// SPDX-License-Identifier: Apache-2.0
/* What `dispatch server` shows whoever starts it by hand: how to reach it, and what to try. */
#ifndef CLI_SERVER_WELCOME_H
#define CLI_SERVER_WELCOME_H

#include "server/server.h"

struct server_welcome {
    const char *address;  /* where it listens */
    const char *key_file; /* of the first key; NULL: no key is asked for */
    bool tls;
    bool made; /* the key was made just now */
};

/* On stdout. */
void server_welcome(const struct server_welcome *welcome);

#endif
