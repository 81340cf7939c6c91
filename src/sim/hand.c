// SPDX-License-Identifier: Apache-2.0
/*
 * What people do by hand: look at calls, cancel them, let them begin again, and make those that are
 * done once more.
 */
#include <inttypes.h>

#include "sim/world.h"

struct look {
    struct world *world;
    struct record *record;
    uint32_t generation;
    bool was_done, foreign;
};

static void take_look(struct look *l, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct world *w = l->world;

    if (w->node->dead || w->node->ending)
        return;
    if (error && !l->foreign && removal_explains(w, l->record, error))
        return;
    if (error) {
        CHECK(w, (l->foreign && error->code == CODE_NOT_FOUND) || client_later(w, error),
              "an acknowledged call is known", "a look at call %" PRIu64 " says %s", l->record->id,
              error->message);
        return;
    }
    CHECK(w, !l->foreign, "a call is its organization's", "another saw call %" PRIu64,
          l->record->id);
    CHECK(w, !l->was_done || info->state == DISPATCH__V1__STATE__STATE_DONE,
          "what is done is told as done", "call %" PRIu64, l->record->id);
    client_check_info(w, l->record, info, "who looked");
}

static void on_looked(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct look *l = arg;
    struct world *w = l->world;
    bool was = memory_scarce(w, false);

    take_look(l, error, info);
    memory_scarce(w, was);
}

void hand_look(struct world *w)
{
    struct client_call *c = client_draw_call(w);
    struct look *l;
    unsigned org;

    if (!c)
        return;
    l = world_alloc(w, sizeof *l);
    l->world = w;
    l->record = c->record;
    l->was_done = c->record->done;
    l->foreign = world_once_in(w, 8);
    org = l->foreign ? (c->request->org + 1) % ORGS : c->request->org;
    memory_scarce(w, true);
    orchestrator_get(w->node->o, client_org(org), slice_str(c->text), on_looked, l);
    memory_scarce(w, false);
}

/* Of the tree, what belongs to it still: the children of each one's last generation. */
static void check_tree_done(struct world *w, const struct record *r)
{
    CHECK(w, r->done, "a cancelled call takes its tree with it", "call %" PRIu64 " lives on",
          r->id);
    if (!r->outcome.cancelled)
        return;
    for (const struct record *child = r->children; child; child = child->sibling)
        if (child->parent_generation == r->generation)
            check_tree_done(w, child);
}

static void take_cancelled(struct look *l, const struct error *error)
{
    struct world *w = l->world;

    if (w->node->dead || w->node->ending)
        return;
    if (!error) {
        check_tree_done(w, l->record);
        return;
    }
    if (removal_explains(w, l->record, error))
        return;
    CHECK(w, error->code == CODE_FAILED_PRECONDITION || client_later(w, error),
          "an acknowledged call is known", "cancelling call %" PRIu64 " says %s", l->record->id,
          error->message);
    if (error->code == CODE_FAILED_PRECONDITION)
        CHECK(w, l->record->done, "what is told is durable", "call %" PRIu64 " is called done",
              l->record->id);
}

static void on_cancelled(void *arg, const struct error *error)
{
    struct look *l = arg;
    struct world *w = l->world;
    bool was = memory_scarce(w, false);

    take_cancelled(l, error);
    memory_scarce(w, was);
}

/* A root, or somebody below it. */
void hand_cancel(struct world *w)
{
    struct client_call *c = client_draw_call(w);
    struct record *r = c ? c->record : NULL;
    char text[ID_TEXT_LEN + 1];
    struct look *l;

    if (!r || !world_may(w, FAULT_CANCEL))
        return;
    while (r->children && world_once_in(w, 2))
        r = r->children;
    r->cancel_asked = true;
    for (struct record *up = ledger_find(w, r->parent); up; up = ledger_find(w, up->parent))
        up->tainted = true;
    id_format(text, (struct id_parts){.partition = PARTITION, .number = r->id, .tag = w->tag});
    l = world_alloc(w, sizeof *l);
    l->world = w;
    l->record = r;
    trace(w, "client cancels call %" PRIu64, r->id);
    world_count(w, FAULT_CANCEL);
    memory_scarce(w, true);
    orchestrator_cancel(w->node->o, client_org(c->request->org), slice_str(text), on_cancelled, l);
    memory_scarce(w, false);
}

/* --- restart ---------------------------------------------------------------------------------- */

static struct look *make_look(struct world *w, struct record *r, char text[ID_TEXT_LEN + 1])
{
    struct look *l = world_alloc(w, sizeof *l);

    l->world = w;
    l->record = r;
    l->was_done = r->done;
    l->generation = r->generation;
    id_format(text, (struct id_parts){.partition = PARTITION, .number = r->id, .tag = w->tag});
    return l;
}

/* A root, or somebody below it; or NULL. */
static struct record *draw_record(struct world *w)
{
    struct client_call *c = client_draw_call(w);
    struct record *r = c ? c->record : NULL;

    while (r && r->children && world_once_in(w, 2))
        r = r->children;
    return r;
}

static void on_restarted(void *arg, const struct error *error)
{
    struct look *l = arg;
    struct world *w = l->world;
    bool was = memory_scarce(w, false);

    if (!w->node->dead && !w->node->ending) {
        if (error && error->code == CODE_FAILED_PRECONDITION)
            CHECK(w, l->record->done || l->record->host == HOST_OUTSIDE, "what is told is durable",
                  "call %" PRIu64 " is called done", l->record->id);
        else if (error && !removal_explains(w, l->record, error))
            CHECK(w, client_later(w, error), "an acknowledged call is known",
                  "restarting call %" PRIu64 " says %s", l->record->id, error->message);
        else if (!error)
            CHECK(w, l->record->generation > l->generation && !l->was_done,
                  "a restart is a new generation", "call %" PRIu64, l->record->id);
    }
    memory_scarce(w, was);
}

void hand_restart(struct world *w)
{
    struct record *r = draw_record(w);
    char text[ID_TEXT_LEN + 1];
    struct look *l;

    if (!r || !world_may(w, FAULT_RESTART))
        return;
    l = make_look(w, r, text);
    trace(w, "client restarts call %" PRIu64, r->id);
    world_count(w, FAULT_RESTART);
    r->failures = 0; /* it runs at once, whatever it waited for, or is still to be answered */
    r->restarted = r->run_generation;
    memory_scarce(w, true);
    orchestrator_restart(w->node->o, client_org(r->org), slice_str(text), on_restarted, l);
    memory_scarce(w, false);
}

/* --- retry ------------------------------------------------------------------------------------ */

static void take_retried(struct look *l, const struct error *error,
                         const wire_dispatch_response *response)
{
    struct world *w = l->world;

    if (w->node->dead || w->node->ending)
        return;
    if (error && removal_explains(w, l->record, error))
        return;
    if (error) {
        CHECK(w,
              client_later(w, error) || (error->code == CODE_FAILED_PRECONDITION &&
                                         (!l->was_done || l->record->host == HOST_OUTSIDE)),
              "a call that is done can be retried", "call %" PRIu64 ": %s", l->record->id,
              error->message);
        return;
    }
    CHECK(w, response->n_dispatch_ids == 1, "a dispatch returns its ids", "%zu of 1",
          response->n_dispatch_ids);
    client_adopt(w, l->record->org, response->dispatch_ids[0]);
}

static void on_retried(void *arg, const struct error *error, const wire_dispatch_response *response)
{
    struct look *l = arg;
    struct world *w = l->world;
    bool was = memory_scarce(w, false);

    take_retried(l, error, response);
    memory_scarce(w, was);
}

void hand_retry(struct world *w)
{
    struct record *r = draw_record(w);
    char text[ID_TEXT_LEN + 1];
    struct look *l;

    if (!r || !world_may(w, FAULT_RETRY))
        return;
    l = make_look(w, r, text);
    trace(w, "client retries call %" PRIu64, r->id);
    world_count(w, FAULT_RETRY);
    memory_scarce(w, true);
    orchestrator_retry(w->node->o, client_org(r->org), slice_str(text), on_retried, l);
    memory_scarce(w, false);
}
