// SPDX-License-Identifier: Apache-2.0
/*
 * Bugs on purpose. They sit where the simulator's own code stands beside the orchestrator: a store
 * that lies, a network that does too much, a shell that forgets. Without one of them planted
 * nothing here draws a number, so that the histories of seeds are the same.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/world.h"

const char *const plant_names[PLANT_COUNT] = {
    [PLANT_NONE] = "none",
    [PLANT_LOST_CALL] = "lost-call",           /* the row of a call is not written */
    [PLANT_DOUBLED_RESULT] = "doubled-result", /* a child's result comes again, later */
    [PLANT_EARLY_ACK] = "early-ack",           /* told as durable, and not written */
    [PLANT_FOREIGN_RESULT] = "foreign-result", /* a result goes to another call's id */
    [PLANT_CHANGED_RESULT] = "changed-result", /* an old result is written over */
    [PLANT_HALF_BATCH] = "half-batch",         /* a commit is torn in the middle */
    [PLANT_IGNORED_EPOCH] = "ignored-epoch",   /* a dead process's commit lands after a fence */
    [PLANT_FORGOTTEN_WAKE] = "forgotten-wake", /* nobody wakes the orchestrator when it asked */
    [PLANT_EARLY_TIMER] = "early-timer",       /* its clock is ahead now and then */
    [PLANT_RUN_AGAIN] = "run-again",           /* a run is started twice */
    [PLANT_IGNORED_LEASE] = "ignored-lease",   /* a fence takes what another has */
    [PLANT_FALSE_LEASE] = "false-lease",       /* told as renewed, and it is not */
    [PLANT_EARLY_REMOVAL] = "early-removal",   /* a result is deleted too soon */
    [PLANT_HALF_REMOVAL] = "half-removal",     /* what is removed leaves its input behind */
};

bool plant_strikes(struct world *w, enum plant plant, uint64_t one_in)
{
    return w->plant == plant && world_once_in(w, one_in);
}

/* --- a store that lies ------------------------------------------------------------------------ */

struct liar {
    struct store store;
    struct store *inner;
    struct world *world;
    uint64_t old_key; /* of a DONE row that was written, for changing it; 0: none */
    struct blob *old;
};

static struct liar *liar_of(struct store *store)
{
    return (struct liar *)(void *)store;
}

static void copy_op(struct liar *l, struct batch *to, const struct batch_op *op)
{
    bool copied = op->put ? batch_put(to, op->table, op->key, op->sub, op->value)
                          : batch_delete(to, op->table, op->key, op->sub);

    CHECK(l->world, copied, "there is memory", "for a batch");
}

static void remember_done(struct liar *l, const struct batch_op *op)
{
    if (l->old || op->table != TABLE_DONE || !op->put)
        return;
    l->old = blob_copy(op->value);
    CHECK(l->world, l->old && l->old->len, "there is memory", "for a row");
    l->old->data[l->old->len - 1] ^= 1;
    l->old_key = op->key;
}

/* Whole, and only as much too soon as may be. */
static void remove_done(struct liar *l, struct batch *to)
{
    const struct record *r = ledger_find(l->world, l->old_key);

    if (r && r->done && !r->present && !r->removed)
        CHECK(l->world,
              batch_delete(to, TABLE_DONE, l->old_key, 0) &&
                  batch_delete(to, TABLE_PAYLOAD, l->old_key, PAYLOAD_INPUT),
              "there is memory", "for a batch");
}

/* Makes of a batch what a bug would. */
static void falsify(struct liar *l, struct batch *to, const struct batch *from)
{
    bool loses = plant_strikes(l->world, PLANT_LOST_CALL, 10); /* one that is new */
    size_t count = plant_strikes(l->world, PLANT_HALF_BATCH, 20) ? from->count / 2 : from->count;

    if (l->old && plant_strikes(l->world, PLANT_CHANGED_RESULT, 20))
        CHECK(l->world, batch_put(to, TABLE_DONE, l->old_key, 0, blob_slice(l->old)),
              "there is memory", "for a batch");
    if (l->old && l->world->retention.ns && plant_strikes(l->world, PLANT_EARLY_REMOVAL, 20))
        remove_done(l, to);
    for (size_t i = 0; i < count; i++) {
        const struct batch_op *op = &from->ops[i];

        if (loses && op->table == TABLE_CALL && op->put && !ledger_get(l->world, op->key)->known) {
            loses = false;
            continue;
        }
        if (!op->put && op->table == TABLE_PAYLOAD && op->sub == PAYLOAD_INPUT &&
            plant_strikes(l->world, PLANT_HALF_REMOVAL, 1))
            continue;
        remember_done(l, op);
        copy_op(l, to, op);
    }
}

static int liar_commit(struct store *store, uint32_t partition, uint64_t epoch,
                       const struct batch *batch, struct error *err)
{
    struct liar *l = liar_of(store);
    struct batch false_one;
    bool was;
    int code;

    if (plant_strikes(l->world, PLANT_EARLY_ACK, 20))
        return CODE_OK;
    was = memory_scarce(l->world, false); /* a liar has a good one */
    batch_init(&false_one);
    falsify(l, &false_one, batch);
    code = store_commit(l->inner, partition, epoch, &false_one, err);
    batch_free(&false_one);
    memory_scarce(l->world, was);
    return code;
}

static int liar_fence(struct store *store, uint32_t partition, size_t ballast, uint64_t *epoch,
                      struct error *err)
{
    struct world *w = liar_of(store)->world;

    if (w->disk && plant_strikes(w, PLANT_IGNORED_LEASE, 1))
        store_renew(w->disk, partition, w->epoch, 0, NULL);
    return store_fence(liar_of(store)->inner, partition, ballast, epoch, err);
}

static int liar_renew(struct store *store, uint32_t partition, uint64_t epoch, int64_t ttl_ns,
                      struct error *err)
{
    if (plant_strikes(liar_of(store)->world, PLANT_FALSE_LEASE, 1))
        return CODE_OK;
    return store_renew(liar_of(store)->inner, partition, epoch, ttl_ns, err);
}

static int liar_walk(struct store *store, uint32_t partition, const struct store_range *range,
                     store_row_fn *fn, void *arg, struct error *err)
{
    return store_walk(liar_of(store)->inner, partition, range, fn, arg, err);
}

static int liar_open_reader(struct store *store, struct store **reader, struct error *err)
{
    return store_open_reader(liar_of(store)->inner, reader, err);
}

static void liar_close(struct store *store)
{
    struct liar *l = liar_of(store);

    blob_unref(l->old);
    store_close(l->inner);
    free(l);
}

struct store *plant_store(struct world *w, struct store *inner)
{
    static const struct store_ops ops = {
        .open_reader = liar_open_reader,
        .close = liar_close,
        .fence = liar_fence,
        .renew = liar_renew,
        .commit = liar_commit,
        .walk = liar_walk,
    };
    struct liar *l;

    if (!w->plant)
        return inner;
    l = calloc(1, sizeof *l);
    CHECK(w, l, "there is memory", "for a layer of the store");
    l->store = (struct store){.ops = &ops, .tag = inner->tag};
    l->inner = inner;
    l->world = w;
    return &l->store;
}

/* --- a network that does too much ------------------------------------------------------------- */

/* The result of a child that the call had in a former resume, as the state says. */
static void double_result(struct world *w, const struct orchestrator_run *run)
{
    wire_poll_result *p = run->request->poll_result;
    struct script_state s;
    struct slice bytes;
    wire_call_result *again, **all;

    if (p->state_case == DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE)
        bytes = slice(p->typed_coroutine_state->value.data, p->typed_coroutine_state->value.len);
    else
        bytes = slice(p->coroutine_state.data, p->coroutine_state.len);
    if (!script_state_decode(bytes, &s) || !s.consumed)
        return;
    again = temp_alloc(w, run->arena, sizeof *again);
    dispatch__sdk__v1__call_result__init(again);
    again->correlation_id =
        input_correlation(s.input) + (unsigned)__builtin_ctz((unsigned)s.consumed);
    all = temp_alloc(w, run->arena, (p->n_results + 1) * sizeof(wire_call_result *));
    for (size_t i = 0; i < p->n_results; i++)
        all[i] = p->results[i];
    all[p->n_results++] = again;
    p->results = all;
}

void plant_request(struct world *w, const struct orchestrator_run *run)
{
    const wire_run_request *q = run->request;

    if (q->directive_case != DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT)
        return;
    if (plant_strikes(w, PLANT_DOUBLED_RESULT, 4))
        double_result(w, run);
    if (q->poll_result->n_results && plant_strikes(w, PLANT_FOREIGN_RESULT, 10))
        q->poll_result->results[0]->correlation_id ^= UINT64_C(1) << 40;
}
