// SPDX-License-Identifier: Apache-2.0
/* Notes: rows that the shell keeps beside the calls, durable as they are. */
#include <assert.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

void orchestrator_put_note(struct orchestrator *o, const struct orchestrator_note *note,
                           orchestrator_cancelled *done, void *arg)
{
    struct error err = {0};
    struct pending *p = NULL;

    assert(note->number >= 1 && note->number <= ORCHESTRATOR_NOTE_MAX);
    if (request_check_open(o, &err)) {
        done(arg, &err);
        return;
    }
    p = calloc(1, sizeof *p);
    if (!p) {
        error_memory(&err);
        done(arg, &err);
        return;
    }
    p->cancelled = done;
    p->arg = arg;
    list_append(&o->pending, &p->link);
    engine_put_note(o->engine, note->number, note->bytes);
    engine_await(o->engine, p);
    o->dirty = true;
}
