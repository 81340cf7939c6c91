// SPDX-License-Identifier: Apache-2.0
/* A run on its way: to an endpoint (endpoint.c), and what that says (respond.c). */
#ifndef SIM_FLIGHT_H
#define SIM_FLIGHT_H

#include "sim/world.h"

/* How a run went, once it was executed or lost. */
enum verdict { VERDICT_NONE, VERDICT_FAILS, VERDICT_ACTS, VERDICT_TRANSPORT, VERDICT_GONE };

/* One run, from its start until it is answered and nothing of it is under way any more. */
struct flight {
    struct list link; /* in world.flights */
    struct world *world;
    struct orchestrator_run *run; /* NULL: answered, or given up */
    struct delivery delivery;
    struct process *node; /* whose run it is */
    unsigned org, host;
    uint64_t epoch;
    int64_t started;
    bool given_up; /* cancelled, and not answered yet */
    bool doubled, answer_lost, lost, too_large;
    bool misplaced; /* what it answers is to be appended where it cannot be */

    enum verdict verdict;
    enum status status; /* of FAILS and TRANSPORT */
    struct script_state state;
    struct action action;
};

/* The answer of a run that was executed. */
void flight_respond(struct flight *f, struct arena *a, wire_run_response *response);

#endif
