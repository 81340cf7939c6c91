// SPDX-License-Identifier: Apache-2.0
/* The independent model: what a call must come to, from its input alone. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "sim/script.h"

void model_predict(uint64_t input, struct outcome *outcome);

/* True if a call that was made with `input` may by now, through tail calls, have the input `later`.
 */
bool model_leads_to(uint64_t input, uint64_t later);

/* The index of the child that a call of `input` makes with this correlation id and input, in any of
 * its generations; -1: it makes none such. */
int model_child(uint64_t input, uint64_t correlation_id, uint64_t child);

#endif
