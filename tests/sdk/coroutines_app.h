// SPDX-License-Identifier: Apache-2.0
/* What the application of coroutines_app.c shares with its mode without a server. */
#ifndef TESTS_SDK_COROUTINES_APP_H
#define TESTS_SDK_COROUTINES_APP_H

#include <stdint.h>

/* Here the process dies, if it is its turn. */
void point(void);
/* It is to die at that many points from now on; 0: never. */
void arm(int points);

/* main, when there are arguments. */
int inside(int argc, char **argv, int32_t max_suspended);

#endif
