// SPDX-License-Identifier: Apache-2.0
/*
 * A gate in front of the processes of an application: what the orchestrator takes for the endpoint.
 * It lets one run through at a time and asks the test about each, before it goes to a process and
 * when its answer has come. So the test knows which run a death has cut off.
 *
 * All on the thread of its loop. It asserts: a gate that cannot do what it is asked has failed the
 * test.
 */
#ifndef TESTS_SDK_GATE_H
#define TESTS_SDK_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/net.h"

/* One time that a Run request came, and what became of it. */
struct gate_run {
    char function[64], id[64];
    uint32_t generation, resume; /* with the id: which run of which call */
    int process;                 /* the test's: who has it */
    int epoch;                   /* the test's */
    bool gone;                   /* whoever wanted the answer went away before it came */
};

struct gate_events {
    /* A run has come. The port of the loopback it goes to; 0: none, and it is answered 502, if
     * somebody still wants to hear it. */
    uint16_t (*request)(void *arg, struct gate_run *run);
    /* Its answer has come; no data: the process went away. False: it is not passed on. */
    bool (*answer)(void *arg, struct gate_run *run, struct slice answer);
    /* What was passed on has been sent. */
    void (*passed)(void *arg, struct gate_run *run);
    void *arg;
};

struct gate;

struct gate *gate_create(struct net_loop *loop, const struct gate_events *events);
void gate_destroy(struct gate *gate);
uint16_t gate_port(const struct gate *gate);
/* The orchestrator has died: nobody wants to hear of the runs that wait. */
void gate_forget(struct gate *gate);

#endif
