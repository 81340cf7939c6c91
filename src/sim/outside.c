// SPDX-License-Identifier: Apache-2.0
/*
 * Who completes calls from outside: to the endpoint event:, under the key that the input gives.
 * Each such call is completed some time after it was made, some before that, by key or by id, now
 * and then twice; and whoever is told "unavailable" or nothing tries again. What is told of a key,
 * that it is completed, must be durable: whoever hears it stops trying.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/world.h"

#define TEMP_MAX  ((size_t)1 << 20)
#define NAME_SIZE 24

struct outside {
    uint64_t input;
    unsigned org;
    /* Its row, as it is durable: */
    bool present, early;        /* early: a completion waits for its call */
    uint64_t place, call, gone; /* gone: the commit that deleted it */
    uint32_t sub;
    struct outside *next;
};

struct completion {
    struct world *world;
    struct outside *outside;
    struct record *record; /* NULL: by key */
    bool again;            /* try until it is done */
};

static void name_of(uint64_t input, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "e%016" PRIx64, input);
}

static struct outside *find(struct world *w, unsigned org, uint64_t input)
{
    struct outside *x = w->outside;

    while (x && !(x->org == org && x->input == input))
        x = x->next;
    if (x)
        return x;
    x = world_alloc(w, sizeof *x);
    x->input = input;
    x->org = org;
    x->next = w->outside;
    w->outside = x;
    return x;
}

/* --- what is durable -------------------------------------------------------------------------- */

static void take_put(struct world *w, const struct batch_op *op)
{
    struct engine_key row;
    struct error err;
    struct outside *x;
    char name[NAME_SIZE];
    unsigned org = 0;

    CHECK(w, !key_decode(op->value, &row, &err), "rows can be read", "a key: %s", err.message);
    if (row.kind != KEY_EVENT)
        return;
    while (org < ORGS && !slice_eq_str(row.org, org_names[org]))
        org++;
    CHECK(w, org < ORGS && row.name.len == 17, "rows can be read", "key '%.*s'",
          SLICE_FMT(row.name));
    snprintf(name, sizeof name, "%.*s", SLICE_FMT(row.name));
    x = find(w, org, strtoull(name + 1, NULL, 16));
    CHECK(w, !x->present || (x->place == op->key && x->sub == op->sub), "a key has one row",
          "'%s' has two", name);
    CHECK(w, !x->present || !x->call || x->call == row.call, "a key is given to one call",
          "'%s' was of call %" PRIu64 " and is of %" PRIu64, name, x->call, row.call);
    x->present = true;
    x->place = op->key;
    x->sub = op->sub;
    x->call = row.call;
    x->early |= !row.call;
}

void outside_take(struct world *w, const struct batch_op *op)
{
    struct outside *x = w->outside;
    const struct record *r;

    if (op->put) {
        take_put(w, op);
        return;
    }
    while (x && !(x->present && x->place == op->key && x->sub == op->sub))
        x = x->next;
    if (!x)
        return;
    r = ledger_find(w, x->call);
    CHECK(w, !r || !r->done || r->removed || r->outcome.expired || r->outcome.cancelled,
          "a key that was used is kept as long as its call", "that of call %" PRIu64, x->call);
    x->present = x->early = false;
    x->gone = w->commits;
}

void outside_judge_new(struct world *w, struct record *r)
{
    struct outside *x = find(w, r->org, r->made_with);
    bool early = x->early;

    if (r->key_taken) {
        /* It may have lost it again in the same commit. */
        CHECK(w, (x->present || x->gone == w->commits) && x->call && x->call != r->id,
              "a key is taken by another call", "call %" PRIu64, r->id);
        return;
    }
    x->early = false;
    CHECK(w, r->is_ended || (x->present && x->call == r->id), "a key is given to its call",
          "call %" PRIu64, r->id);
    CHECK(w, !early || r->is_ended, "an early completion is taken", "call %" PRIu64, r->id);
    outside_plan(w, r);
}

void outside_judge_gone(struct world *w, const struct record *r)
{
    const struct outside *x = find(w, r->org, r->made_with);

    CHECK(w, !x->present || x->call != r->id, "what is gone is gone whole",
          "call %" PRIu64 " is, and its key is kept", r->id);
}

/* --- completing ------------------------------------------------------------------------------- */

static void complete(struct world *w, void *arg);

static void plan(struct completion *c)
{
    world_at(c->world, c->world->now + world_draw_ns(c->world, 60 * NS_PER_S), complete, c);
}

void outside_plan(struct world *w, struct record *r)
{
    struct completion *c = world_alloc(w, sizeof *c);

    *c = (struct completion){.world = w, .outside = find(w, r->org, r->made_with), .again = true};
    c->record = world_once_in(w, 2) ? r : NULL;
    plan(c);
}

static void take_completed(struct completion *c, const struct error *error)
{
    struct world *w = c->world;
    struct outside *x = c->outside;
    const struct record *r = c->record ? c->record : ledger_find(w, x->call);
    bool done = r && r->done;

    if (w->node->dead || w->node->ending || (error && client_later(w, error))) {
        if (c->again)
            plan(c);
        return;
    }
    if (error && c->record && removal_explains(w, r, error))
        return;
    CHECK(w, !error || error->code == CODE_FAILED_PRECONDITION, "a completion is taken",
          "of %" PRIx64 ": %s", x->input, error->message);
    CHECK(w, done || (!c->record && x->early), "what is told is durable",
          "the key of %" PRIx64 " is told to be completed", x->input);
}

static void on_completed(void *arg, const struct error *error)
{
    struct completion *c = arg;
    struct world *w = c->world;
    bool was = memory_scarce(w, false);

    take_completed(c, error);
    memory_scarce(w, was);
}

static void complete(struct world *w, void *arg)
{
    Dispatch__V1__CompleteRequest request = DISPATCH__V1__COMPLETE_REQUEST__INIT;
    struct completion *c = arg;
    char text[ID_TEXT_LEN + 1], name[NAME_SIZE];
    struct program p;
    struct arena a;

    if (!process_draw(w)) {
        if (c->again)
            plan(c);
        return;
    }
    arena_init(&a, TEMP_MAX);
    program_make(&p, c->outside->input);
    name_of(p.input, name);
    if (c->record) {
        id_format(text, (struct id_parts){
                            .partition = PARTITION, .number = c->record->id, .tag = w->tag});
        request.dispatch_id = text;
    } else {
        request.key = name;
    }
    if (p.with_output)
        request.output = any_make(w, &a, VALUE_TYPE, (uint64_t)p.value);
    if (p.fate == FATE_FAIL) {
        request.error = temp_alloc(w, &a, sizeof *request.error);
        dispatch__sdk__v1__error__init(request.error);
        request.error->status = (Dispatch__Sdk__V1__Status)p.status;
        request.error->type = temp_text(w, &a, "sim");
        request.error->message = temp_text(w, &a, "it was to fail");
    }
    trace(w, "completion of call %" PRIu64 ", key %s", c->record ? c->record->id : 0, name);
    w->totals.completions++;
    memory_scarce(w, true);
    orchestrator_complete(w->node->o, client_org(c->outside->org), &request, on_completed, c);
    memory_scarce(w, false);
    arena_reset(&a);
}

void outside_too_soon(struct world *w, const struct record *r, const struct program *p)
{
    for (unsigned i = 0; i < p->child_count; i++) {
        struct completion *c;

        if (input_class(p->children[i]) != CLASS_EVENT || !world_may(w, FAULT_EARLY_COMPLETION) ||
            !world_once_in(w, 3))
            continue;
        c = world_alloc(w, sizeof *c);
        *c = (struct completion){.world = w, .outside = find(w, r->org, p->children[i])};
        world_count(w, FAULT_EARLY_COMPLETION);
        world_at(w, w->now, complete, c);
        if (world_once_in(w, 2))
            world_at(w, w->now, complete, c); /* at once again, before it can be durable */
    }
}

bool outside_any_early(const struct world *w)
{
    const struct outside *x = w->outside;

    while (x && !x->early)
        x = x->next;
    return x;
}

void outside_set(struct world *w, struct arena *a, wire_call *call, uint64_t input)
{
    char name[NAME_SIZE];

    name_of(input, name);
    call->key = temp_text(w, a, name);
    call->endpoint = temp_text(w, a, "event:");
}
