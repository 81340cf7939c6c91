// SPDX-License-Identifier: Apache-2.0
/*
 * Who runs next, held to what engine/turn.c, group.c and org.c promise, start by start:
 *
 *   an organization that has somebody who may run is not passed by twice by another one;
 *   nor is, within an organization, a group; nor, within a group and a priority, a root;
 *   within these, first come, first served;
 *   a priority that waits has a turn in so many starts of its group.
 *
 * Calls become ready, and start, as the trace says. One that was ready at a time when all was at
 * rest, with nothing to be committed, stands in its line for certain from then on.
 */
#include <inttypes.h>

#include "sim/world.h"

/* engine/turn.c: one turn in (PASSED_MAX + 1) * (n - 1), of n priorities. */
#define PASSED_MAX 7
#define STARTS_MAX ((PASSED_MAX + 1) * (PRIORITIES - 1) - 1) /* of others, meanwhile */

static unsigned level_of(const struct record *r)
{
    return r->row_priority > 0 ? 2 : r->row_priority < 0 ? 1 : 0;
}

/* When its root had its last turn in the call's line. */
static uint64_t *root_at(struct world *w, const struct record *r)
{
    struct record *root = ledger_find(w, r->root);

    if (!root->turns_at)
        root->turns_at = world_alloc(w, HOSTS * PRIORITIES * sizeof *root->turns_at);
    return &root->turns_at[r->host * PRIORITIES + level_of(r)];
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* --- one starts, while another waits ---------------------------------------------------------- */

static void check_groups(struct world *w, const struct record *x)
{
    struct turns *t = &w->turns;

    for (unsigned org = 0; org < ORGS; org++) {
        for (unsigned host = 0; host < HOSTS; host++) {
            const struct group_turns *g = &t->groups[org][host];

            if (!g->waits_since || (org == x->org && host == x->host))
                continue;
            if (org == x->org)
                CHECK(w, t->groups[org][x->host].last <= g->waits_since, "groups take turns",
                      "call %" PRIu64 " starts at host %u, and host %u waits", x->id, x->host,
                      host);
            else
                CHECK(w, t->org_last[x->org] <= later(g->waits_since, t->org_last[org]),
                      "organizations take turns", "call %" PRIu64 " of %s starts, and %s waits",
                      x->id, org_names[x->org], org_names[org]);
        }
    }
}

static void check_wait(struct world *w, const struct record *x, const struct record *r)
{
    const struct group_turns *g = &w->turns.groups[x->org][x->host];
    unsigned level = level_of(r);

    if (r->org != x->org || r->host != x->host)
        return;
    if (level != level_of(x))
        CHECK(w, g->starts - later(r->ready_starts, g->level_starts[level]) <= STARTS_MAX,
              "a priority that waits has its turn",
              "call %" PRIu64 " waits, with all of priority %" PRId32, r->id, r->row_priority);
    else if (r->root == x->root)
        CHECK(w, list_empty(&x->turn) || (x->ready_at && x->ready_at <= r->ready_at),
              "first come, first served", "call %" PRIu64 " waits, and %" PRIu64 " starts", r->id,
              x->id);
    else
        CHECK(w, *root_at(w, x) <= later(r->ready_at, *root_at(w, r)), "roots take turns",
              "call %" PRIu64 " of root %" PRIu64 " waits, and %" PRIu64 " of root %" PRIu64
              " starts",
              r->id, r->root, x->id, x->root);
}

static void starts(struct world *w, const struct record *x)
{
    struct turns *t = &w->turns;
    struct group_turns *g = &t->groups[x->org][x->host];

    check_groups(w, x);
    g->starts++;
    for (struct list *it = t->waiting.next; it != &t->waiting; it = it->next) {
        const struct record *r = LIST_ENTRY(it, struct record, turn);

        if (r != x && r->ready_at)
            check_wait(w, x, r);
    }
    g->level_starts[level_of(x)] = g->starts;
    g->last = t->org_last[x->org] = *root_at(w, x) = ++t->now;
    g->waits_since = 0;
}

/* --- what the trace says ---------------------------------------------------------------------- */

static void leave(struct world *w, struct record *r)
{
    struct group_turns *g = &w->turns.groups[r->org][r->ready_host];

    if (g->witness == r) { /* without it the group may be out of the line for a moment */
        g->waits_since = 0;
        g->witness = NULL;
    }
    list_remove(&r->turn);
    r->ready_at = 0;
}

void turns_moved(struct world *w, struct record *r, const char *to)
{
    if (r->running_at) {
        w->turns.groups[r->org][r->running_at - 1].running--;
        r->running_at = 0;
    }
    if (strncmp(to, "running", 7) == 0 && r->known) {
        starts(w, r);
        w->turns.groups[r->org][r->host].running++;
        r->running_at = r->host + 1;
    }
    leave(w, r);
    if (strncmp(to, "ready", 5) == 0)
        list_append(&w->turns.waiting, &r->turn);
}

void turns_forget(struct record *r)
{
    list_remove(&r->turn);
    r->ready_at = r->running_at = 0;
}

void turns_at_rest(struct world *w)
{
    struct turns *t = &w->turns;

    t->now++;
    for (struct list *it = t->waiting.next; it != &t->waiting; it = it->next) {
        struct record *r = LIST_ENTRY(it, struct record, turn);
        struct group_turns *g;

        if (!r->known || r->done)
            continue;
        g = &t->groups[r->org][r->host];
        if (!r->ready_at) {
            r->ready_at = t->now;
            r->ready_host = r->host;
            r->ready_starts = g->starts;
        }
        if (g->waits_since || g->running || endpoint_in_flight(w, r->org, r->host))
            continue;
        g->waits_since = t->now; /* no window is smaller than one run */
        g->witness = r;
    }
}
