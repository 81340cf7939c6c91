// SPDX-License-Identifier: Apache-2.0
/*
 * The model knows what functions compute and nothing of how they are run: no retries, no polls, no
 * generations, no time. If the orchestrator keeps its promises, none of these can be seen in a
 * result.
 */
#include "sim/model.h"

static void predict_program(const struct program *p, struct outcome *o)
{
    *o = (struct outcome){.status = p->status, .has_output = p->with_output};
    if (!p->with_output)
        return;
    o->value = p->value;
    for (unsigned i = 0; p->with_sum && i < p->child_count; i++) {
        struct outcome child;

        model_predict(p->children[i], &child);
        o->value += child_worth(p, i, &child);
    }
}

/* long: no loop hides here; a tail call has fewer tails left than its caller, a child less depth */
void model_predict(uint64_t input, struct outcome *o)
{
    struct program p;

    program_make(&p, input);
    if (p.class == CLASS_DOOMED)
        *o = (struct outcome){.status = STATUS_TIMEOUT, .expired = true};
    else if (p.fate == FATE_TAIL)
        model_predict(p.tail, o);
    else
        predict_program(&p, o);
}

bool model_leads_to(uint64_t input, uint64_t later)
{
    struct program p;

    for (unsigned i = 0; i <= TAILS_MAX; i++) {
        if (input == later)
            return true;
        program_make(&p, input);
        if (p.fate != FATE_TAIL)
            return false;
        input = p.tail;
    }
    return false;
}

int model_child(uint64_t input, uint64_t correlation_id, uint64_t child)
{
    struct program p;

    for (unsigned i = 0; i <= TAILS_MAX; i++) {
        uint64_t index = correlation_id - input_correlation(input);

        program_make(&p, input);
        if (index < p.child_count && p.children[index] == child)
            return (int)index;
        if (p.fate != FATE_TAIL)
            return -1;
        input = p.tail;
    }
    return -1;
}
