// SPDX-License-Identifier: Apache-2.0
/*
 * When memory is full. A poll whose calls find no room is committed all the same, with its calls as
 * one more payload of its own, and waits; when calls have gone, the oldest such poll is fetched
 * from the store (ENGINE_FETCH, engine_fetched) and its calls are made. The polls of the same
 * organization that come meanwhile wait behind it; organizations have their shares of the room
 * (org.c), and take turns, a poll each.
 *
 * That alone could come to a stand, every tree waiting for another one's end. So one tree at a time
 * is favoured, that of the oldest root of those that wait in the organization whose turn it is,
 * until its root has ended: its polls find room always. Whatever its calls wait for is of that
 * tree, so they end some time, and the next one has its turn. Calls of that tree that there was no
 * room for are lent it: they do not count in what others may have.
 */
#include <stdlib.h>

#include "engine/internal.h"

#define CALLS_VERSION 1

/* A poll that waits for room. */
struct stall {
    struct list link; /* in org.stalls until it is fetched */
    uint64_t call;
    uint32_t generation, count;
    uint32_t room; /* kept for it while it is being fetched */
    bool fetching;
};

/* --- the favoured tree ------------------------------------------------------------------------ */

static bool is_live(const struct call *c)
{
    return c && c->state != CALL_DONE;
}

/* 0: none is. */
static uint64_t favoured_root(const struct engine *e)
{
    return e->favoured && is_live(call_find(e, e->favoured)) ? e->favoured_root : 0;
}

bool stall_is_favoured(const struct engine *e)
{
    return favoured_root(e) != 0;
}

static struct org *org_of(const struct engine *e, const struct stall *s)
{
    return call_org(call_find(e, s->call));
}

/* The oldest root that waits, of the organization whose turn it is; where a root has gone before
 * its children, they stand for it. */
static void favour_one(struct engine *e)
{
    struct org *o = LIST_ENTRY(e->stalled.next, struct org, stalled);
    const struct call *best = NULL;

    LIST_FOR_EACH (it, tmp, &o->stalls) {
        const struct call *c = call_find(e, LIST_ENTRY(it, struct stall, link)->call);

        if (!best || c->root_id < best->root_id)
            best = c;
    }
    e->favoured_root = best->root_id;
    e->favoured = is_live(call_find(e, best->root_id)) ? best->root_id : best->id;
    e->favour_pending = true;
    e->lent = 0;
    org_line_up(&e->stalled, &o->stalled, &o->stalls, true);
}

bool stall_take_room(struct engine *e, const struct call *c, size_t calls)
{
    const struct org *o = call_org(c);
    bool fits = org_has_room(e, o, calls, ROOM_TREES);

    if (c->root_id != favoured_root(e))
        return fits && list_empty(&o->stalls);
    if (!fits)
        e->lent += calls;
    return true;
}

/* --- the calls as a payload ------------------------------------------------------------------- */

static void encode_calls(struct buf *out, const struct engine_answer *a)
{
    buf_append_byte(out, CALLS_VERSION);
    buf_put_u64(out, (uint64_t)a->max_wait_ns);
    buf_put_varint(out, a->spec_count);
    for (size_t i = 0; i < a->spec_count; i++) {
        const struct engine_spec *s = &a->specs[i];

        buf_put_bytes(out, s->function);
        buf_put_bytes(out, s->endpoint);
        buf_put_bytes(out, s->version);
        buf_put_bytes(out, s->key);
        buf_put_varint(out, s->correlation_id);
        buf_put_u64(out, (uint64_t)s->expiration_ns);
        buf_put_u64(out, (uint64_t)s->not_before);
        buf_put_varint(out, (uint32_t)s->priority);
        buf_append_byte(out, s->input != NULL);
        if (s->input)
            buf_put_bytes(out, blob_slice(s->input));
    }
}

/* False, too, without memory for the input. */
static bool decode_call(struct slice *in, struct engine_spec *s, bool *memory)
{
    uint64_t expiration, not_before, priority;
    struct slice input;
    uint8_t has_input;

    if (!slice_get_bytes(in, &s->function) || !slice_get_bytes(in, &s->endpoint) ||
        !slice_get_bytes(in, &s->version) || !slice_get_bytes(in, &s->key) ||
        !slice_get_varint(in, &s->correlation_id) || !slice_get_u64(in, &expiration) ||
        !slice_get_u64(in, &not_before) || !slice_get_varint(in, &priority) ||
        !slice_get_byte(in, &has_input))
        return false;
    s->expiration_ns = (int64_t)expiration;
    s->not_before = (int64_t)not_before;
    s->priority = (int32_t)priority;
    if (!has_input)
        return true;
    if (!slice_get_bytes(in, &input))
        return false;
    s->input = blob_copy(input);
    return s->input || (*memory = false);
}

static void free_calls(struct engine_answer *a, struct engine_spec *specs)
{
    for (size_t i = 0; specs && i < a->spec_count; i++)
        blob_unref(specs[i].input);
    free(specs);
    *a = (struct engine_answer){0};
}

/* The strings are views into `in`. CODE_DATA_LOSS, CODE_RESOURCE_EXHAUSTED (no memory). */
static int decode_calls(struct slice in, struct engine_answer *a, struct error *err)
{
    struct engine_spec *specs = NULL;
    uint64_t wait, count;
    uint8_t version;
    bool memory = true;

    *a = (struct engine_answer){0};
    if (slice_get_byte(&in, &version) && version == CALLS_VERSION && slice_get_u64(&in, &wait) &&
        slice_get_varint(&in, &count) && count <= in.len / 16) {
        specs = calloc(count + 1, sizeof *specs);
        memory = specs;
        a->max_wait_ns = (int64_t)wait;
        while (specs && a->spec_count < count && decode_call(&in, &specs[a->spec_count], &memory))
            a->spec_count++;
        a->specs = specs;
        if (specs && a->spec_count == count && !in.len)
            return CODE_OK;
    }
    free_calls(a, specs);
    if (!memory)
        return error_memory(err);
    return error_set(err, CODE_DATA_LOSS, "the calls of a poll that waited for room are damaged");
}

/* --- waiting ---------------------------------------------------------------------------------- */

bool stall_add(struct engine *e, struct call *c, uint32_t count)
{
    struct org *o = call_org(c);
    struct stall *s = malloc(sizeof *s);

    if (!s || !map_set(&e->stall_by_call, c->id, s)) {
        free(s);
        return false;
    }
    *s = (struct stall){.call = c->id, .generation = c->generation, .count = count};
    list_append(&o->stalls, &s->link);
    org_line_up(&e->stalled, &o->stalled, &o->stalls, false);
    c->stalled = true;
    return true;
}

uint32_t stall_count(const struct engine *e, const struct call *c)
{
    const struct stall *s = c->stalled ? map_get(&e->stall_by_call, c->id) : NULL;

    return s ? s->count : 0;
}

void stall_poll(struct engine *e, struct call *c, const struct engine_answer *a)
{
    buf_reset(&e->scratch);
    encode_calls(&e->scratch, a);
    if (e->scratch.failed || !stall_add(e, c, (uint32_t)a->spec_count) ||
        !batch_put(&e->open->batch, TABLE_PAYLOAD, c->id, PAYLOAD_CALLS, buf_slice(&e->scratch)))
        engine_fail(e);
}

void stall_drop(struct engine *e, struct call *c)
{
    struct stall *s = c->stalled ? map_remove(&e->stall_by_call, c->id) : NULL;
    struct org *o;

    if (!s)
        return;
    o = call_org(c);
    e->growing -= s->room;
    o->calls -= s->room;
    list_remove(&s->link);
    org_line_up(&e->stalled, &o->stalled, &o->stalls, false);
    free(s);
    c->stalled = false;
    engine_delete(e, TABLE_PAYLOAD, c->id, PAYLOAD_CALLS);
}

void stalls_free(struct engine *e)
{
    uint32_t pos = 0;
    struct stall *s;

    while ((s = map_next(&e->stall_by_call, &pos, NULL)))
        free(s);
    map_free(&e->stall_by_call);
}

/* --- going on --------------------------------------------------------------------------------- */

static void fetch(struct engine *e, struct stall *s)
{
    struct org *o = org_of(e, s);

    list_remove(&s->link);
    org_line_up(&e->stalled, &o->stalled, &o->stalls, true);
    s->fetching = true;
    s->room = org_has_room(e, o, s->count, ROOM_TREES) ? s->count : 0; /* else it is to be lent */
    e->growing += s->room;
    o->calls += s->room;
    engine_emit(e, &(struct engine_effect){
                       .kind = ENGINE_FETCH, .call = s->call, .generation = s->generation});
}

static bool first_fits(const struct engine *e, const struct org *o)
{
    return org_has_room(e, o, LIST_ENTRY(o->stalls.next, struct stall, link)->count, ROOM_TREES);
}

bool stall_fits(const struct engine *e)
{
    LIST_FOR_EACH (it, tmp, &e->stalled)
        if (!first_fits(e, LIST_ENTRY(it, struct org, stalled)))
            return false;
    return true;
}

static bool is_durable(const struct engine *e, const struct stall *s)
{
    return !call_is_held(e, call_find(e, s->call));
}

/* The polls of the favoured tree, all at once. */
static void fetch_favoured(struct engine *e)
{
    struct org *o = call_org(call_find(e, e->favoured));

    e->favour_pending = false; /* what the tree polls for from now on finds room at once */
    LIST_FOR_EACH (it, tmp, &o->stalls) {
        struct stall *s = LIST_ENTRY(it, struct stall, link);

        if (call_find(e, s->call)->root_id != e->favoured_root)
            continue;
        if (is_durable(e, s))
            fetch(e, s);
        else
            e->favour_pending = true;
    }
}

/* Whose turn it is, of those that have room. False: nobody. */
static bool fetch_next(struct engine *e)
{
    LIST_FOR_EACH (it, tmp, &e->stalled) {
        struct org *o = LIST_ENTRY(it, struct org, stalled);
        struct stall *s = LIST_ENTRY(o->stalls.next, struct stall, link);

        if (first_fits(e, o) && is_durable(e, s)) {
            fetch(e, s);
            return true;
        }
    }
    return false;
}

void stalls_pump(struct engine *e)
{
    while (fetch_next(e))
        ;
    if (!list_empty(&e->stalled) && !favoured_root(e))
        favour_one(e);
    if (e->favour_pending && favoured_root(e))
        fetch_favoured(e);
}

void engine_fetched(struct engine *e, int64_t now, uint64_t call, uint32_t generation,
                    struct slice calls, const struct error *failure)
{
    struct call *c = call_find(e, call);
    struct stall *s = c && c->stalled ? map_get(&e->stall_by_call, call) : NULL;
    struct engine_answer a = {0};
    struct error why;
    int code = CODE_OK;

    if (e->failed || !s || !s->fetching || s->generation != generation)
        return; /* it has ended, or begun anew, in the meantime */
    if (failure)
        code = error_set(&why, failure->code, "%s", failure->message);
    else
        code = decode_calls(calls, &a, &why);
    if (code && code != CODE_DATA_LOSS && code != CODE_NOT_FOUND) {
        engine_fail(e); /* what passes is not the poll's fault: it is asked for again */
        return;
    }
    e->now = now;
    stall_drop(e, c);
    if (!code)
        stall_take_room(e, c, a.spec_count);
    call_grow(e, c, now, &a, code ? &why : NULL);
    free_calls(&a, (struct engine_spec *)(uintptr_t)a.specs);
    engine_pump(e);
}
