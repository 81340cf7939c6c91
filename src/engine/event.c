// SPDX-License-Identifier: Apache-2.0
/*
 * Calls that are completed from outside: to the endpoint event:, under a key that their caller
 * chose. Nobody runs them; they wait until a completion comes, or until they expire.
 *
 *              made                     completed               retention
 *   (no key) ---------> LIVE, a call ------------> USED, a call ---------> (no key)
 *       |                 |    ^
 *       |                 +----|--- expired, cancelled ------------------> (no key)
 *       |  completed           | made: it is done at once
 *       +---------------> EARLY: a completion
 *                              +--- after a day -------------------------> (no key)
 *
 * A key that is known has one record here and one row of TABLE_KEY. Whether it is live or used
 * follows from its call. A call whose key is live or used ends at once, as END_KEY_TAKEN.
 */
#include <stdlib.h>

#include "engine/internal.h"

struct event {
    struct event *next; /* of the same place */
    struct org *org;
    struct atom *name;
    uint64_t place, call; /* call 0: early */
    uint32_t sub;
    /* Early: */
    struct heap_node expiry;
    enum status status;
    struct blob *output, *error;
};

static struct event *event_find(const struct engine *e, struct slice org, struct slice name)
{
    struct event *ev = map_get(&e->events, key_place(KEY_EVENT, org, name, e->config.key_seed));

    while (ev &&
           !(slice_eq(atom_slice(ev->org->name), org) && slice_eq(atom_slice(ev->name), name)))
        ev = ev->next;
    return ev;
}

static size_t early_bytes(const struct event *ev)
{
    return blob_slice(ev->output).len + blob_slice(ev->error).len;
}

static void event_free(struct engine *e, struct event *ev)
{
    if (ev->org)
        org_unref(e, ev->org);
    atom_unref(&e->atoms, ev->name);
    blob_unref(ev->output);
    blob_unref(ev->error);
    free(ev);
}

/* Its blobs are there. The heap has room. */
static void event_early(struct engine *e, struct event *ev, int64_t expires)
{
    heap_set(&e->early, &ev->expiry, expires);
    e->early_bytes += early_bytes(ev);
    ev->org->early++;
    ev->org->early_bytes += early_bytes(ev);
}

/* Out of the early ones; its blobs stay. */
static void event_not_early(struct engine *e, struct event *ev)
{
    if (ev->expiry.index == HEAP_NONE)
        return;
    heap_remove(&e->early, &ev->expiry);
    e->early_bytes -= early_bytes(ev);
    ev->org->early--;
    ev->org->early_bytes -= early_bytes(ev);
}

static void event_remove(struct engine *e, struct event *ev)
{
    struct event *first = map_get(&e->events, ev->place), **at = &first;

    while (*at != ev)
        at = &(*at)->next;
    *at = ev->next;
    if (first)
        map_set(&e->events, ev->place, first); /* replaces: cannot fail */
    else
        map_remove(&e->events, ev->place);
    event_not_early(e, ev);
    engine_delete_key(e, ev->place, ev->sub);
    e->events_len--;
    ev->org->events--;
    event_free(e, ev);
}

/* With the first sub that is free at its place, unless one is given. NULL: no memory. */
static struct event *event_add(struct engine *e, struct slice org, struct slice name,
                               const uint32_t *sub)
{
    struct event *ev = calloc(1, sizeof *ev);
    struct event *first;

    if (!ev)
        return NULL;
    heap_node_init(&ev->expiry);
    ev->place = key_place(KEY_EVENT, org, name, e->config.key_seed);
    ev->org = org_of_name(e, org);
    ev->name = atom_get(&e->atoms, name);
    first = map_get(&e->events, ev->place);
    if (sub)
        ev->sub = *sub;
    else
        for (const struct event *it = first; it; it = it->next)
            ev->sub = it->sub >= ev->sub ? it->sub + 1 : ev->sub;
    ev->next = first;
    if (!ev->org || !ev->name || ev->sub > SUB_MAX || !map_set(&e->events, ev->place, ev)) {
        event_free(e, ev);
        return NULL;
    }
    e->events_len++;
    ev->org->events++;
    return ev;
}

static void event_put(struct engine *e, const struct event *ev)
{
    struct engine_key row = {
        .kind = KEY_EVENT,
        .org = atom_slice(ev->org->name),
        .name = atom_slice(ev->name),
        .expires = ev->call ? TIME_NEVER : ev->expiry.key,
        .call = ev->call,
        .count = 1,
        .status = ev->status,
        .has_output = ev->output,
        .has_error = ev->error,
        .output = blob_slice(ev->output),
        .error = blob_slice(ev->error),
    };

    engine_put_key(e, ev->place, ev->sub, &row);
}

/* --- calls come and go ------------------------------------------------------------------------ */

uint64_t engine_key_call(const struct engine *e, struct slice org, struct slice key)
{
    const struct event *ev = event_find(e, org, key);

    return ev ? ev->call : 0;
}

static int check_keys(const struct engine *e, const struct org *o, size_t keys, struct error *err)
{
    if (share_fits(e->config.events_max, e->events_len, o->events, keys, SHARE_TIMES))
        return CODE_OK;
    return error_set(err, CODE_RESOURCE_EXHAUSTED,
                     "%u keys of calls completed from outside are this organization's, and %u are "
                     "in use in all, of the limit of %u; each may have nine times as many as are "
                     "left: try again when some of its calls that were completed are removed, or "
                     "give fewer of them keys",
                     o->events, e->events_len, e->config.events_max);
}

int events_check_room(struct engine *e, const struct call *parent, struct slice org,
                      const struct engine_spec *specs, size_t count, struct error *err)
{
    size_t keys = 0;

    for (size_t i = 0; i < count; i++)
        keys += specs[i].key.len > 0;
    if (!keys)
        return CODE_OK;
    return check_keys(e, parent ? call_org(parent) : org_find(e, org), keys, err);
}

void event_admit(struct engine *e, struct call *c)
{
    struct slice org = atom_slice(c->target->org), name = call_key(c);
    struct event *ev = event_find(e, org, name);
    struct blob *output, *error;

    if (ev && ev->call) {
        call_finish(e, c, c->created, STATUS_PERMANENT_ERROR, END_KEY_TAKEN, NULL, NULL);
        return;
    }
    if (!ev) {
        ev = event_add(e, org, name, NULL);
        if (!ev) {
            engine_fail(e);
            return;
        }
        ev->call = c->id;
        event_put(e, ev);
        return;
    }
    event_not_early(e, ev);
    output = ev->output;
    error = ev->error;
    ev->output = ev->error = NULL;
    ev->call = c->id;
    event_put(e, ev);
    call_finish(e, c, c->created, ev->status, END_ANSWER, output, error);
    blob_unref(output);
    blob_unref(error);
}

void event_forget(struct engine *e, struct slice org, struct slice name, uint64_t call)
{
    struct event *ev = event_find(e, org, name);

    if (ev && ev->call == call)
        event_remove(e, ev);
}

/* --- completions ------------------------------------------------------------------------------ */

/* Room for one more completion that has no call yet. */
static int check_early(const struct engine *e, const struct org *o, size_t bytes, struct error *err)
{
    const struct engine_config *c = &e->config;

    if (share_fits(c->early_max, e->early.len, o->early, 1, SHARE_TIMES) &&
        share_fits(c->early_bytes_max, e->early_bytes, o->early_bytes, bytes, SHARE_TIMES))
        return CODE_OK;
    return error_set(err, CODE_RESOURCE_EXHAUSTED,
                     "no call has this key yet, and this organization has its share of completions "
                     "that came before their calls: %u of %zu bytes of its own, and %u of %zu of "
                     "all, are kept, of at most %u of %llu; each may have nine times what is left: "
                     "complete the call when it has been made",
                     o->early, o->early_bytes, e->early.len, e->early_bytes, c->early_max,
                     (unsigned long long)c->early_bytes_max);
}

static int complete_early(struct engine *e, int64_t now, const struct engine_completion *x,
                          struct error *err)
{
    size_t bytes = blob_slice(x->output).len + blob_slice(x->error).len;
    struct event *ev;

    if (check_early(e, org_find(e, x->org), bytes, err) ||
        check_keys(e, org_find(e, x->org), 1, err))
        return err->code;
    if (!heap_reserve(&e->early, 1))
        return error_memory(err);
    ev = event_add(e, x->org, x->key, NULL);
    if (!ev)
        return error_memory(err);
    ev->status = x->status;
    ev->output = blob_ref(x->output);
    ev->error = blob_ref(x->error);
    event_early(e, ev, time_add(now, e->config.early_ns));
    event_put(e, ev);
    return CODE_OK;
}

static int complete_call(struct engine *e, struct call *c, int64_t now,
                         const struct engine_completion *x, struct error *err)
{
    if (!c || c->state == CALL_DONE)
        return error_set(err, CODE_FAILED_PRECONDITION, "the call is done already");
    if (!c->is_event)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "the call is not completed from outside: its endpoint is not event:");
    if (c->expires <= now) { /* at equal times the expiration comes first */
        call_finish(e, c, now, STATUS_TIMEOUT, END_EXPIRED, NULL, NULL);
        return error_set(err, CODE_FAILED_PRECONDITION, "the call has expired");
    }
    call_finish(e, c, now, x->status, END_ANSWER, x->output, x->error);
    return CODE_OK;
}

int engine_complete(struct engine *e, int64_t now, const struct engine_completion *x, void *token,
                    struct error *err)
{
    struct event *ev;
    int code;

    if (e->failed)
        return error_set(err, CODE_UNAVAILABLE, "out of memory; the partition is being reloaded");
    assert(!status_is_temporary(x->status));
    e->now = now;
    if (x->call) {
        code = complete_call(e, call_find(e, x->call), now, x, err);
    } else {
        ev = event_find(e, x->org, x->key);
        if (!ev)
            code = complete_early(e, now, x, err);
        else if (!ev->call)
            code = error_set(err, CODE_FAILED_PRECONDITION,
                             "the key was completed already, before its call was made");
        else
            code = complete_call(e, call_find(e, ev->call), now, x, err);
    }
    if (!code && token)
        commit_accept(e, token);
    engine_pump(e);
    return code;
}

void events_tick(struct engine *e, int64_t now)
{
    struct heap_node *n;

    while (!e->failed && (n = heap_min(&e->early)) && n->key <= now)
        event_remove(e, LIST_ENTRY(n, struct event, expiry));
}

/* --- loading ---------------------------------------------------------------------------------- */

int engine_load_key(struct engine *e, uint64_t place, uint32_t sub, struct slice value,
                    struct error *err)
{
    struct engine_key row;
    struct event *ev;
    int code = key_decode(value, &row, err);

    if (code)
        return code;
    if (row.kind != KEY_EVENT ||
        place != key_place(KEY_EVENT, row.org, row.name, e->config.key_seed))
        return error_set(err, CODE_DATA_LOSS, "key row %llu cannot be", (unsigned long long)place);
    if (!heap_reserve(&e->early, 1))
        return error_memory(err);
    ev = event_add(e, row.org, row.name, &sub);
    if (!ev)
        return error_memory(err);
    ev->call = row.call;
    if (row.call)
        return CODE_OK;
    ev->status = row.status;
    ev->output = row.has_output ? blob_copy(row.output) : NULL;
    ev->error = row.has_error ? blob_copy(row.error) : NULL;
    if ((row.has_output && !ev->output) || (row.has_error && !ev->error))
        return error_memory(err);
    event_early(e, ev, row.expires);
    return CODE_OK;
}

void events_init(struct engine *e)
{
    map_init(&e->events);
    heap_init(&e->early);
}

void events_check(const struct engine *e)
{
    uint32_t pos = 0, early = 0, events = 0;
    size_t bytes = 0;
    const struct org *o;

    while ((o = map_next(&e->org_by_name, &pos, NULL))) {
        events += o->events;
        early += o->early;
        bytes += o->early_bytes;
    }
    assert(events == e->events_len && early == e->early.len && bytes == e->early_bytes);
}

void events_free(struct engine *e)
{
    struct event *ev, *next;
    uint32_t pos = 0;

    while ((ev = map_next(&e->events, &pos, NULL))) {
        for (; ev; ev = next) {
            next = ev->next;
            event_free(e, ev);
        }
    }
    map_free(&e->events);
    heap_free(&e->early);
}
