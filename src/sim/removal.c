// SPDX-License-Identifier: Apache-2.0
/*
 * What is kept no longer, in the histories with a retention (orchestrator/sweep.c): that nothing
 * goes which somebody may still ask for, that what goes goes whole, and that in the end it does.
 */
#include <inttypes.h>

#include "engine/key.h"
#include "engine/row.h"
#include "sim/world.h"

#define ROUNDS_NS (3 * 60 * NS_PER_S) /* in which what has to go is found */

/* Not from world.rand: the histories without it stay as they are. */
void removal_init(struct world *w)
{
    struct rand r;

    rand_seed(&r, w->seed ^ UINT64_C(0x72657461696e));
    if (rand_below(&r, 4) != 0)
        return;
    w->retention.least_ns = (int64_t)(rand_below(&r, 60) + 1) * NS_PER_S;
    w->retention.ns = w->retention.least_ns + (int64_t)rand_below(&r, 300) * NS_PER_S;
    w->retention.bytes = rand_below(&r, 2) ? 300 + rand_below(&r, 6000) : 0;
}

/* --- calls ------------------------------------------------------------------------------------ */

void removal_kept(struct world *w, struct record *r, size_t size)
{
    r->kept = size;
    w->kept_bytes += size;
    w->kept_calls++;
}

void removal_gone(struct world *w, struct record *r)
{
    CHECK(w, w->retention.ns && r->done && !r->removed, "results are kept",
          "that of call %" PRIu64 " was deleted", r->id);
    r->removed = true;
    w->gone_bytes += r->kept;
    w->kept_calls--;
}

/* Once the whole commit was taken in: what ended in it may have been too much. */
void removal_judge(struct world *w, const struct record *r)
{
    int64_t age = world_time(w) - r->ended;

    CHECK(w, r->has_input == !r->removed, "what is gone is gone whole",
          "call %" PRIu64 " is %s, and its input %s", r->id, r->removed ? "gone" : "kept",
          r->has_input ? "kept" : "gone");
    if (!r->removed)
        return;
    CHECK(w, !r->present, "what somebody needs is kept",
          "call %" PRIu64 " has not brought its result yet", r->id);
    CHECK(w, age >= w->retention.least_ns, "a result is kept for the least age",
          "that of call %" PRIu64 " is gone after %" PRId64 " ns", r->id, age);
    CHECK(w, age >= w->retention.ns || (w->retention.bytes && w->kept_bytes > w->retention.bytes),
          "a result is kept for its time while there is room",
          "that of call %" PRIu64 " is gone after %" PRId64 " ns, with %" PRIu64 " bytes kept",
          r->id, age, w->kept_bytes);
    world_count(w, age >= w->retention.ns ? FAULT_REMOVED : FAULT_REMOVED_FOR_ROOM);
    if (input_class(r->made_with) == CLASS_EVENT)
        outside_judge_gone(w, r);
}

void removal_committed(struct world *w)
{
    w->kept_bytes -= w->gone_bytes;
    w->gone_bytes = 0;
}

bool removal_explains(struct world *w, const struct record *r, const struct error *error)
{
    if (error->code != CODE_NOT_FOUND || client_strays(w))
        return false;
    CHECK(w, r && r->removed, "an acknowledged call is known", "call %" PRIu64 ": %s",
          r ? r->id : 0, error->message);
    world_count(w, FAULT_TOO_LATE);
    return true;
}

/* --- the keys of requests --------------------------------------------------------------------- */

static void put_key(struct world *w, const struct batch_op *op)
{
    struct client_key *key = w->keys;
    struct engine_key row;

    CHECK(w, !key_decode(op->value, &row, NULL), "rows can be read", "key %" PRIu64, op->key);
    if (row.kind != KEY_REQUEST)
        return;
    while (key && !(slice_eq_str(row.name, key->text) && slice_eq(row.org, client_org(key->org))))
        key = key->next;
    CHECK(w, key, "rows can be read", "key '%.*s'", SLICE_FMT(row.name));
    /* One that is over may stand beside the next until it is removed. */
    CHECK(w,
          !key->present || key->expires <= world_time(w) ||
              (key->place == op->key && key->sub == op->sub),
          "a key has one row", "'%s' has two", key->text);
    w->kept_keys += !key->present;
    key->present = true;
    key->place = op->key;
    key->sub = op->sub;
    key->expires = row.expires;
}

void removal_take_key(struct world *w, const struct batch_op *op)
{
    struct client_key *key = w->keys;

    if (op->put) {
        put_key(w, op);
        return;
    }
    while (key && !(key->present && key->place == op->key && key->sub == op->sub))
        key = key->next;
    if (!key)
        return;
    CHECK(w, w->retention.ns && world_time(w) - key->made >= KEY_LIFE_NS, "a key is good for a day",
          "'%s' is gone after %" PRId64 " ns", key->text, world_time(w) - key->made);
    key->present = false;
    w->kept_keys--;
    world_count(w, FAULT_KEY_REMOVED);
}

/* --- at rest ---------------------------------------------------------------------------------- */

void removal_at_rest(struct world *w)
{
    const struct retention *t = &w->retention;
    int64_t rest = w->now + (w->wrong ? 2 * WRONG_MAX_NS : 0);

    while (t->ns && (w->kept_calls || w->kept_keys)) {
        int64_t since = w->now - rest;
        bool more = world_step(w);

        CHECK(w, !t->bytes || since < t->least_ns + ROUNDS_NS || w->kept_bytes <= t->bytes,
              "what is kept is bounded", "%" PRIu64 " bytes of %" PRIu64, w->kept_bytes, t->bytes);
        CHECK(w, !w->kept_calls || since < t->ns + ROUNDS_NS, "what is kept no longer is removed",
              "%" PRIu64 " calls are kept", w->kept_calls);
        CHECK(w, more && since < KEY_LIFE_NS + 2 * 3600 * NS_PER_S,
              "what is kept no longer is removed",
              "%" PRIu64 " calls and %" PRIu64 " keys are kept", w->kept_calls, w->kept_keys);
    }
}
