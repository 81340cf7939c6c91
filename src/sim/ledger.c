// SPDX-License-Identifier: Apache-2.0
/*
 * The ledger sees each commit as it is made, from below everything that can fail or lie, and keeps
 * its own record of every call. A commit is looked at as a whole: when all its rows are taken in,
 * each call that it touched must be as one may be.
 *
 * What a call came to is compared with the model's prediction here, for every call of every tree,
 * at the moment its end becomes durable.
 */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/verify.h"
#include "sim/world.h"

/* --- outcomes --------------------------------------------------------------------------------- */

struct outcome outcome_of(const wire_call_result *result)
{
    struct outcome o = {.status = STATUS_OK, .has_output = result->output != NULL};
    const wire_error *e = result->error;
    uint64_t value = 0;

    if (e) {
        o.status = (enum status)e->status;
        o.expired = strcmp(e->type, "Expired") == 0;
        o.cancelled = strcmp(e->type, "Cancelled") == 0;
    }
    if (result->output && !any_read(result->output, VALUE_TYPE, &value))
        value = UINT64_C(0xbad);
    o.value = (int64_t)value;
    return o;
}

const char *outcome_text(const struct outcome *o, char text[OUTCOME_TEXT])
{
    int n = snprintf(text, OUTCOME_TEXT, "%s%s", status_name(o->status),
                     o->expired     ? " (expired)"
                     : o->cancelled ? " (cancelled)"
                                    : "");

    if (o->has_output)
        snprintf(text + n, OUTCOME_TEXT - (size_t)n, ", value %" PRId64, o->value);
    return text;
}

static struct outcome outcome_of_row(struct world *w, const struct engine_row *row,
                                     const struct engine_result *result)
{
    struct outcome o = {.status = row->status,
                        .expired = row->end == END_EXPIRED,
                        .cancelled = row->end == END_CANCELLED,
                        .has_output = result->has_output};
    struct arena arena;
    struct error err;
    wire_any *any;
    uint64_t value = 0;

    if (!result->has_output)
        return o;
    arena_init(&arena, 1 << 20);
    CHECK(w, !wire_unpack(&google__protobuf__any__descriptor, result->output, &arena, &any, &err),
          "rows can be read", "output of call %" PRIu64 ": %s", row->id, err.message);
    CHECK(w, any_read(any, VALUE_TYPE, &value), "an output is what was answered", "call %" PRIu64,
          row->id);
    arena_reset(&arena);
    o.value = (int64_t)value;
    return o;
}

void ledger_check_told(struct world *w, const struct record *r, const struct outcome *o,
                       const char *who)
{
    char told[OUTCOME_TEXT], is[OUTCOME_TEXT];

    CHECK(w, r->done, "what is told is durable", "%s was told the end of call %" PRIu64, who,
          r->id);
    CHECK(w, outcome_eq(o, &r->outcome), "what is told is what is durable",
          "%s was told that call %" PRIu64 " came to %s; it is %s", who, r->id,
          outcome_text(o, told), outcome_text(&r->outcome, is));
}

/* --- taking rows in --------------------------------------------------------------------------- */

struct record *ledger_find(struct world *w, uint64_t id)
{
    return map_get(&w->records, id);
}

struct record *ledger_get(struct world *w, uint64_t id)
{
    struct record *r = ledger_find(w, id);

    if (r)
        return r;
    r = world_alloc(w, sizeof *r);
    r->id = id;
    list_init(&r->turn);
    CHECK(w, map_set(&w->records, id, r), "there is memory", "for a record");
    return r;
}

static struct record *touch(struct world *w, uint64_t id)
{
    struct record *r = ledger_get(w, id);

    if (!r->is_touched) {
        r->is_touched = true;
        r->touched = w->touched;
        w->touched = r;
    }
    return r;
}

static unsigned org_of(struct world *w, struct slice name)
{
    unsigned i = 0;

    while (i < ORGS && !slice_eq_str(name, org_names[i]))
        i++;
    CHECK(w, i < ORGS, "rows can be read", "organization '%.*s'", SLICE_FMT(name));
    return i;
}

/* What never changes of a call, and what only grows. */
static void take_row(struct world *w, struct record *r, const struct engine_row *row)
{
    unsigned org = org_of(w, row->org);

    CHECK(w, !r->removed, "what is gone is gone whole", "call %" PRIu64 " has a row again", r->id);
    if (!r->known) {
        r->known = r->is_new = true;
        r->parent = row->parent;
        r->root = row->root;
        r->correlation_id = row->correlation_id;
        r->parent_generation = row->parent_generation;
        r->depth = row->depth;
        r->created = row->created;
        r->expires = row->expires;
        r->org = org;
        r->retry_of = row->retry_of;
        w->live++;
    }
    CHECK(w,
          r->parent == row->parent && r->root == row->root && r->depth == row->depth &&
              r->correlation_id == row->correlation_id && r->created == row->created &&
              r->parent_generation == row->parent_generation && r->expires == row->expires &&
              r->retry_of == row->retry_of && r->org == org,
          "ids, times and parents never change", "call %" PRIu64, r->id);
    CHECK(w,
          row->generation > r->generation ||
              (row->generation == r->generation &&
               (row->resumes >= r->resumes || row->state == CALL_DONE)),
          "generations and resumes only grow",
          "call %" PRIu64 " was at %" PRIu32 "/%" PRIu32 " and is at %" PRIu32 "/%" PRIu32, r->id,
          r->generation, r->resumes, row->generation, row->resumes);
    r->generation = row->generation;
    r->row_priority = row->priority;
    w->totals.stalled += !r->stalled && row->stalled;
    r->stalled = row->stalled;
    r->ever_stalled |= r->stalled;
    r->resumes = row->resumes;
    r->host = endpoint_host(w, row->endpoint);
}

static void take_call(struct world *w, const struct batch_op *op)
{
    struct record *r = touch(w, op->key);
    struct slice value = op->value;
    struct engine_row row;
    struct error err;

    if (!op->put) {
        r->present = r->settled = false;
        return;
    }
    CHECK(w, !row_decode(&value, &row, &err), "rows can be read", "call %" PRIu64 ": %s", op->key,
          err.message);
    CHECK(w, row.id == op->key && row.state != CALL_RUNNING, "rows can be read",
          "the row of call %" PRIu64 " is call %" PRIu64 ", %s", op->key, row.id,
          call_state_name(row.state));
    take_row(w, r, &row);
    r->present = true;
    r->settled = row.state == CALL_DONE;
}

static void take_input(struct world *w, const struct batch_op *op)
{
    struct record *r = touch(w, op->key);
    struct arena arena;
    struct error err;
    wire_any *any;
    uint64_t input;

    r->has_input = op->put;
    if (!op->put)
        return;
    arena_init(&arena, 1 << 20);
    CHECK(w,
          !wire_unpack(&google__protobuf__any__descriptor, op->value, &arena, &any, &err) &&
              any_read(any, INPUT_TYPE, &input),
          "rows can be read", "input of call %" PRIu64, op->key);
    arena_reset(&arena);
    if (!r->made_with)
        r->made_with = input;
    CHECK(w, model_leads_to(r->made_with, input), "an input is that of the call or of a tail call",
          "call %" PRIu64 " was made with %" PRIx64 " and has %" PRIx64, r->id, r->made_with,
          input);
    r->input = input;
}

static void take_done(struct world *w, const struct batch_op *op)
{
    struct record *r = touch(w, op->key);
    uint64_t hash = slice_hash(op->value, 3);
    struct engine_row row;
    struct engine_result result;
    struct error err;

    if (!op->put) {
        removal_gone(w, r);
        return;
    }
    CHECK(w, !row_decode_done(op->value, &row, &result, &err), "rows can be read",
          "end of call %" PRIu64 ": %s", op->key, err.message);
    if (r->done) {
        CHECK(w, hash == r->done_hash, "a result is recorded once and never changes",
              "call %" PRIu64 " has two", op->key);
        return;
    }
    /* A call may be made and end in one commit. */
    take_row(w, r, &row);
    r->done = r->is_ended = true;
    r->done_hash = hash;
    r->ended = row.done;
    r->key_taken = row.end == END_KEY_TAKEN;
    r->outcome = outcome_of_row(w, &row, &result);
    w->live--;
    removal_kept(w, r, row_kept_size(&row, op->value.len));
    if (ledger_find(w, r->parent))
        ledger_look_at(w, ledger_find(w, r->parent));
}

/* --- judging the calls that a commit touched -------------------------------------------------- */

/* A key makes one request in 24 hours, whoever asks how often. */
static void judge_key(struct world *w, const struct record *r, struct batch_request *q)
{
    struct client_key *key = q->key;

    if (q->commit == w->commits)
        return;
    CHECK(w, !key->owner || r->created - key->made >= KEY_LIFE_NS, "a key makes one request",
          "call %" PRIu64 " is made under '%s', as others were", r->id, key->text);
    key->owner = q;
    key->made = r->created;
    q->made = 0;
    q->commit = w->commits;
}

/* Made by hand of one that is done. */
static void judge_new_retry(struct world *w, struct record *r)
{
    const struct record *from = ledger_find(w, r->retry_of);

    CHECK(w, from && from->done && from->org == r->org, "what is retried is done",
          "call %" PRIu64 " of %" PRIu64, r->id, r->retry_of);
    CHECK(w, r->made_with == from->input && r->host == from->host && r->root == r->id && !r->depth,
          "a retry does what the call did", "call %" PRIu64 " of %" PRIu64, r->id, from->id);
    CHECK(w,
          r->expires - r->created == from->expires - from->created && r->created <= world_time(w),
          "a call expires when it was asked to", "call %" PRIu64, r->id);
    r->priority = from->priority;
    r->priority_input = r->made_with;
}

static void judge_new_root(struct world *w, struct record *r)
{
    struct client_call *c = map_get(&w->inputs, r->made_with);
    int64_t expiration;

    CHECK(w, c && c->request->org == r->org, "roots are those that were dispatched",
          "call %" PRIu64 " was dispatched by nobody", r->id);
    CHECK(w,
          !c->record || (c->request->key && r->created - c->record->created >= KEY_LIFE_NS &&
                         c->record->created != r->created),
          "a call is made once", "%" PRIu64 " and %" PRIu64 " are one call", c->record->id, r->id);
    CHECK(w, c->request->state != REQUEST_REFUSED && !c->request->bad,
          "what was refused is not made", "call %" PRIu64, r->id);
    if (c->request->key)
        judge_key(w, r, c->request);
    CHECK(w, !c->request->commit || c->request->commit == w->commits, "a dispatch is atomic",
          "call %" PRIu64 " comes later than others of its request", r->id);
    expiration = c->expiration_ns ? c->expiration_ns : EXPIRATION_NS;
    if (c->not_before > r->created)
        expiration += c->not_before - r->created;
    CHECK(w, r->expires - r->created == expiration && r->created <= world_time(w),
          "a call expires when it was asked to", "call %" PRIu64, r->id);
    r->not_before = c->not_before;
    r->delayed = 1;
    CHECK(w, r->root == r->id && r->depth == 0 && r->host == input_host(r->made_with),
          "roots are those that were dispatched", "call %" PRIu64, r->id);
    if (!c->record)
        c->record = r;
    r->request = c->request;
    c->request->commit = w->commits;
    c->request->made++;
}

static void judge_new_child(struct world *w, struct record *r)
{
    struct record *p = ledger_find(w, r->parent);
    int64_t expiration = input_expiration_ns(r->made_with), expires;
    struct program program;
    int index;

    CHECK(w, p && p->known && p->root == r->root && p->depth + 1 == r->depth && p->org == r->org,
          "a child has its parent", "call %" PRIu64 " of %" PRIu64, r->id, r->parent);
    CHECK(w, r->parent_generation <= p->generation, "a child has its parent",
          "call %" PRIu64 " is of a generation to come", r->id);
    index = model_child(p->made_with, r->correlation_id, r->made_with);
    CHECK(w, index >= 0, "children are those that were asked for",
          "call %" PRIu64 " of %" PRIu64 " is none of its", r->id, p->id);
    for (struct record *s = p->children; s; s = s->sibling)
        CHECK(w,
              s->correlation_id != r->correlation_id ||
                  s->parent_generation != r->parent_generation,
              "a child is made once a generation", "%" PRIu64 " and %" PRIu64 " of %" PRIu64, s->id,
              r->id, p->id);
    expires = time_add(r->created, expiration ? expiration : EXPIRATION_NS);
    if (!p->ever_stalled) { /* else it was made later than it was asked for, and who knows by whom
                             */
        expires += input_delay_ns(r->made_with);
        if (input_delay_ns(r->made_with))
            r->not_before = r->created + input_delay_ns(r->made_with);
        r->delayed = 1;
    }
    if (expires > p->expires)
        expires = p->expires;
    CHECK(w,
          r->expires == expires || (p->ever_stalled && r->expires > expires &&
                                    r->expires <= expires + input_delay_ns(r->made_with) +
                                                      (w->wrong ? 2 * WRONG_MAX_NS : 0)),
          "a call expires when it was asked to, or with its parent", "call %" PRIu64, r->id);
    program_make(&program, p->input);
    if (program.children[index] == r->made_with) /* else its maker has made a tail call since */
        CHECK(w,
              r->host == (program.child_hosts >> index & 1 || r->host == HOST_OUTSIDE
                              ? input_host(r->made_with)
                              : p->host),
              "a child goes where it was sent", "call %" PRIu64, r->id);
    r->sibling = p->children;
    p->children = r;
}

/* A cancelled call: by a client, itself or above it; or its parent had no more use for it. */
static void judge_cancelled(struct world *w, const struct record *r)
{
    const struct record *p = ledger_find(w, r->parent);
    bool wanted = false;

    for (const struct record *up = r; up && !wanted; up = ledger_find(w, up->parent))
        wanted = up->cancel_asked;
    if (p && p->generation == r->parent_generation && p->given_up_generation == p->generation &&
        p->resumes > p->given_up_resume)
        wanted |= p->given_up >> model_child(p->made_with, r->correlation_id, r->made_with) & 1;
    CHECK(w,
          wanted || (p && (p->generation > r->parent_generation ||
                           (p->done && p->outcome.status != STATUS_OK))),
          "only what is not wanted is cancelled", "call %" PRIu64, r->id);
    CHECK(w, r->outcome.status == STATUS_PERMANENT_ERROR, "cancelled is a permanent error",
          "call %" PRIu64, r->id);
}

static void count_end(struct world *w, const struct outcome *o)
{
    w->totals.ended[o->expired               ? ENDED_EXPIRED
                    : o->cancelled           ? ENDED_CANCELLED
                    : o->status == STATUS_OK ? ENDED_OK
                                             : ENDED_FAILED]++;
}

static void judge_end(struct world *w, const struct record *r)
{
    char is[OUTCOME_TEXT], expected[OUTCOME_TEXT];
    struct outcome predicted;

    count_end(w, &r->outcome);
    if (r->outcome.expired) {
        CHECK(w, world_time(w) >= r->expires, "nothing expires early", "call %" PRIu64, r->id);
        CHECK(w, r->outcome.status == STATUS_TIMEOUT, "expired is a timeout", "call %" PRIu64,
              r->id);
        return;
    }
    if (r->outcome.cancelled) {
        judge_cancelled(w, r);
        return;
    }
    CHECK(w, r->ended < r->expires, "no answer counts after the expiration",
          "call %" PRIu64 " ended %" PRId64 " ns later", r->id, r->ended - r->expires);
    if (r->tainted || r->key_taken)
        return;
    model_predict(r->made_with, &predicted);
    CHECK(w, outcome_eq(&r->outcome, &predicted), "a call comes to what the model predicts",
          "call %" PRIu64 " came to %s, predicted was %s", r->id, outcome_text(&r->outcome, is),
          outcome_text(&predicted, expected));
}

/* That of its input; a tail call that has none keeps it. And whether a tail call starts later,
 * unless a restart has followed it. */
static void judge_priority(struct world *w, struct record *r)
{
    if (r->priority_input != r->input) {
        int32_t priority = input_priority(r->input);

        if (r->priority_input && r->tail_generation + 1 == r->generation) {
            r->not_before = input_delay_ns(r->input) ? r->tail_at + input_delay_ns(r->input) : 0;
            r->delayed = r->generation;
        }
        if (priority || !r->priority_input)
            r->priority = priority;
        r->priority_input = r->input;
    }
    if (r->delayed != r->generation)
        r->not_before = 0;
    CHECK(w, r->row_priority == r->priority, "a call keeps its priority",
          "call %" PRIu64 " has %" PRId32 ", not %" PRId32, r->id, r->row_priority, r->priority);
}

/* Once the poll that gives children up is durable, none of them lives. */
static void judge_given_up(struct world *w, const struct record *r)
{
    if (!r->given_up || r->given_up_generation != r->generation ||
        r->resumes <= r->given_up_resume || r->done)
        return;
    for (const struct record *c = r->children; c; c = c->sibling) {
        int index = model_child(r->made_with, c->correlation_id, c->made_with);

        CHECK(w, c->parent_generation != r->generation || c->done || !(r->given_up >> index & 1),
              "what is given up is cancelled", "call %" PRIu64 " of %" PRIu64, c->id, r->id);
    }
}

static void judge(struct world *w, struct record *r)
{
    char function[FUNCTION_NAME_MAX];

    CHECK(w, r->known, "no call is lost", "call %" PRIu64 " has a payload and no row", r->id);
    CHECK(w, r->made_with, "no call is lost", "call %" PRIu64 " has a row and no input", r->id);
    CHECK(w, r->present || r->done, "no call is lost",
          "the row of call %" PRIu64 " was deleted before its end", r->id);
    CHECK(w, !r->present || r->settled == r->done, "a row says whether its call is done",
          "call %" PRIu64, r->id);
    input_function(r->input, function);
    if (r->is_new && r->parent)
        judge_new_child(w, r);
    else if (r->is_new && r->retry_of)
        judge_new_retry(w, r);
    else if (r->is_new)
        judge_new_root(w, r);
    if (r->is_new && input_class(r->made_with) == CLASS_EVENT)
        outside_judge_new(w, r);
    judge_priority(w, r);
    judge_given_up(w, r);
    removal_judge(w, r);
    if (r->is_ended) {
        char text[OUTCOME_TEXT];

        trace(w, "call %" PRIu64 " %s durably ended: %s", r->id, function,
              outcome_text(&r->outcome, text));
        judge_end(w, r);
    }
}

static void take_tree(struct world *w, const struct batch_op *op)
{
    world_count(w, op->put ? FAULT_SWAPPED_OUT : FAULT_SWAPPED_IN);
    trace(w, "tree %" PRIu64 " %s memory", op->key, op->put ? "leaves" : "is back in");
}

static void take(struct world *w, const struct batch_op *op)
{
    switch (op->table) {
    case TABLE_CALL:
        take_call(w, op);
        break;
    case TABLE_PAYLOAD:
        if (op->sub == PAYLOAD_INPUT)
            take_input(w, op);
        break;
    case TABLE_DONE:
        take_done(w, op);
        break;
    case TABLE_KEY:
        removal_take_key(w, op);
        outside_take(w, op);
        break;
    case TABLE_META:
        if (op->sub == META_TREE)
            take_tree(w, op);
        break;
    default:
        break;
    }
}

void ledger_committed(struct world *w, const struct batch *batch)
{
    struct record *in_order = NULL, *r;

    w->commits++;
    w->totals.commits++;
    trace(w, "commit %" PRIu64 ": %zu rows", w->commits, batch->count);
    w->touched = NULL;
    for (size_t i = 0; i < batch->count; i++)
        take(w, &batch->ops[i]);
    while ((r = w->touched)) { /* parents come before their children */
        struct record **at = &in_order;

        w->touched = r->touched;
        while (*at && (*at)->id < r->id)
            at = &(*at)->touched;
        r->touched = *at;
        *at = r;
    }
    for (r = in_order; r; r = r->touched)
        judge(w, r);
    for (r = in_order; r; r = r->touched) {
        if (r->is_new && r->request)
            CHECK(w, r->request->made == r->request->count, "a dispatch is atomic",
                  "%u of %u calls were made", r->request->made, r->request->count);
        r->is_touched = r->is_new = r->is_ended = false;
    }
    removal_committed(w);
}

/* --- waking ----------------------------------------------------------------------------------- */

void ledger_look_at(struct world *w, struct record *r)
{
    if (r->to_look_at)
        return;
    r->to_look_at = true;
    r->look_next = w->to_look_at;
    w->to_look_at = r;
}

/* Whether it has what the poll waits for. */
static bool has_enough(const struct world *w, const struct record *r, const struct sent_poll *p)
{
    int32_t most = w->engine.results_max ? (int32_t)w->engine.results_max : 1000;
    int32_t least = p->op->min < 1 ? 1 : p->op->min > most ? most : p->op->min, done = 0;
    bool failed = false;

    for (const struct record *c = r->children; c; c = c->sibling) {
        int index = model_child(r->made_with, c->correlation_id, c->made_with);

        if (!c->done || c->parent_generation != r->generation || !(p->outstanding >> index & 1))
            continue;
        done++;
        failed |= c->outcome.status != STATUS_OK;
    }
    return !r->stalled && p->outstanding &&
           (done >= least || done == __builtin_popcount(p->outstanding) ||
            (failed && p->op->wake_on_error));
}

static void check_awake(struct world *w, const struct record *r)
{
    const struct sent_poll *its = NULL;

    for (const struct sent_poll *p = r->polls; p; p = p->next) {
        if (p->generation != r->generation || p->resume + 1 != r->resumes)
            continue;
        if (its)
            return; /* nobody knows which one of them it was */
        its = p;
    }
    CHECK(w, !its || its->op->kind == OP_BAD || !has_enough(w, r, its),
          "who has what he waits for is woken", "call %" PRIu64 " is asleep", r->id);
}

void ledger_forget_moves(struct world *w)
{
    struct record *r;
    uint32_t pos = 0;

    while ((r = map_next(&w->records, &pos, NULL))) {
        r->suspended = false;
        turns_forget(r);
    }
    memset(w->turns.groups, 0, sizeof w->turns.groups);
}

void ledger_check_awake(struct world *w)
{
    struct record *r;

    while ((r = w->to_look_at)) {
        w->to_look_at = r->look_next;
        r->to_look_at = false;
        if (r->suspended && !r->done)
            check_awake(w, r);
    }
}

/* --- comparing -------------------------------------------------------------------------------- */

struct comparison {
    struct world *world;
    uint64_t done, live;
    bool at_rest;
};

static int compare_row(void *arg, const struct store_row *row, enum table table)
{
    struct comparison *c = arg;
    struct record *r = ledger_find(c->world, row->key);

    CHECK(c->world, r, "rows are those that were committed", "call %" PRIu64, row->key);
    CHECK(c->world, !r->removed, "what is gone is gone whole", "call %" PRIu64, row->key);
    if (table == TABLE_DONE) {
        CHECK(c->world, r->done && slice_hash(row->value, 3) == r->done_hash,
              "a result is recorded once and never changes", "call %" PRIu64, row->key);
        c->done++;
    } else if (table == TABLE_CALL) {
        CHECK(c->world, !c->at_rest, "nothing is left over", "the row of call %" PRIu64, row->key);
        c->live += !r->done;
    } else {
        CHECK(c->world, !c->at_rest || row->sub == PAYLOAD_INPUT, "nothing is left over",
              "payload %" PRIu32 " of call %" PRIu64, row->sub, row->key);
    }
    return 0;
}

static int compare_call(void *arg, const struct store_row *row)
{
    return compare_row(arg, row, TABLE_CALL);
}

static int compare_done(void *arg, const struct store_row *row)
{
    return compare_row(arg, row, TABLE_DONE);
}

static int compare_payload(void *arg, const struct store_row *row)
{
    return compare_row(arg, row, TABLE_PAYLOAD);
}

/* A tree that is out of memory: all its calls are there, and one is live. */
static int compare_tree(void *arg, const struct store_row *row)
{
    struct comparison *c = arg;
    struct tree_row tree;
    uint32_t calls = 0, live = 0;
    uint64_t id;

    if (row->sub != META_TREE)
        return 0;
    CHECK(c->world, !c->at_rest, "nothing is left over", "the row of tree %" PRIu64, row->key);
    CHECK(c->world, !tree_decode(row->value, row->key, &tree, NULL), "rows can be read",
          "tree %" PRIu64, row->key);
    while (tree_next(&tree, &id)) {
        struct record *r = ledger_find(c->world, id);

        CHECK(c->world, r && r->root == row->key, "a tree that sleeps is whole",
              "call %" PRIu64 " of tree %" PRIu64, id, row->key);
        calls++;
        live += !r->done;
    }
    CHECK(c->world, calls == tree.calls && live, "a tree that sleeps is whole",
          "tree %" PRIu64 ": %" PRIu32 " calls of %" PRIu32 ", %" PRIu32 " live", row->key, calls,
          tree.calls, live);
    return 0;
}

/* With a retention, keys go too. */
static int compare_key(void *arg, const struct store_row *row)
{
    struct comparison *c = arg;

    CHECK(c->world, !c->at_rest || !c->world->retention.ns, "nothing is left over", "key %" PRIu64,
          row->key);
    return 0;
}

static void violated(void *arg, uint64_t call, const char *what)
{
    sim_fail(arg, "the store is as `dispatch store check` wants it", "call %" PRIu64 ": %s", call,
             what);
}

/* Each row by itself, and what they say of each other. */
static void verify(struct world *w, struct store *store)
{
    /* By clocks that are wrong, what is missing may have been removed in time. */
    int64_t kept_since = w->wrong ? TIME_NEVER : w->now - w->retention.least_ns;
    struct verify_options options = {
        .kept_since = w->retention.ns ? kept_since : INT64_MIN, .violation = violated, .arg = w};
    struct verify_stats stats;
    struct error err = {0};

    CHECK(w, !verify_store(store, &options, &stats, &err), "the store can be read", "%s",
          err.message);
}

void ledger_compare(struct world *w, bool at_rest)
{
    struct comparison c = {.world = w, .at_rest = at_rest};
    struct store_range range = {.table = TABLE_CALL, .to_key = KEY_MAX, .to_sub = SUB_MAX};
    struct store *store = disk_look(w);
    const struct record *r;
    uint64_t done = 0;
    uint32_t pos = 0;

    if (!store)
        return;
    store_walk(store, PARTITION, &range, compare_call, &c, NULL);
    range.table = TABLE_DONE;
    store_walk(store, PARTITION, &range, compare_done, &c, NULL);
    range.table = TABLE_PAYLOAD;
    store_walk(store, PARTITION, &range, compare_payload, &c, NULL);
    range.table = TABLE_META;
    store_walk(store, PARTITION, &range, compare_tree, &c, NULL);
    range.table = TABLE_KEY;
    store_walk(store, PARTITION, &range, compare_key, &c, NULL);
    verify(w, store);
    disk_looked(w, store);
    while ((r = map_next(&w->records, &pos, NULL)))
        done += r->done && !r->removed;
    CHECK(w, c.done == done && c.live == w->live, "rows are those that were committed",
          "%" PRIu64 " live and %" PRIu64 " done, of %" PRIu64 " and %" PRIu64, c.live, c.done,
          w->live, done);
}
