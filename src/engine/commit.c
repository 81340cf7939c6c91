// SPDX-License-Identifier: Apache-2.0
/*
 * What becomes durable, and what waits for it. Events fill the open commit: payloads and ends are
 * put into its batch at once, a call's own row only when the batch is taken, so that a call that
 * moves ten times meanwhile is written once. What must not leave before the batch is confirmed is
 * listed with it: calls to run, requests to answer, ends to tell.
 */
#include <stdlib.h>

#include "engine/internal.h"

int commit_init(struct commit *k)
{
    batch_init(&k->batch);
    return CODE_OK;
}

void commit_free(struct commit *k)
{
    batch_free(&k->batch);
    free(k->dirty);
    free(k->accepted);
}

void engine_fail(struct engine *e)
{
    e->failed = true;
}

bool engine_failed(const struct engine *e)
{
    return e->failed;
}

bool commit_reserve(struct commit *k, size_t dirty, size_t accepted)
{
    if (k->dirty_len + dirty > k->dirty_cap) {
        size_t cap = 2 * (k->dirty_len + dirty) + 16;
        uint64_t *grown = realloc(k->dirty, cap * sizeof *grown);

        if (!grown)
            return false;
        k->dirty = grown;
        k->dirty_cap = (uint32_t)cap;
    }
    if (k->accepted_len + accepted > k->accepted_cap) {
        size_t cap = 2 * (k->accepted_len + accepted) + 16;
        void **grown = realloc(k->accepted, cap * sizeof *grown);

        if (!grown)
            return false;
        k->accepted = grown;
        k->accepted_cap = (uint32_t)cap;
    }
    return true;
}

void commit_accept(struct engine *e, void *token)
{
    if (!commit_reserve(e->open, 0, 1)) {
        engine_fail(e);
        return;
    }
    if (MUTATION(1))
        engine_emit(e, &(struct engine_effect){.kind = ENGINE_ACCEPTED, .token = token});
    else
        e->open->accepted[e->open->accepted_len++] = token;
}

void engine_await(struct engine *e, void *token)
{
    commit_accept(e, token);
}

void call_dirty(struct engine *e, struct call *c)
{
    if (c->dirty)
        return;
    if (!commit_reserve(e->open, 1, 0)) {
        engine_fail(e);
        return;
    }
    c->dirty = true;
    e->open->dirty[e->open->dirty_len++] = c->id;
}

void call_unstore(struct engine *e, struct call *c)
{
    c->dirty = false;
    if (c->stored)
        engine_delete(e, TABLE_CALL, c->id, 0);
    c->stored = false;
}

void engine_put(struct engine *e, enum table table, uint64_t key, uint32_t sub, struct blob *blob)
{
    if (!batch_put_blob(&e->open->batch, table, key, sub, blob))
        engine_fail(e);
}

void engine_delete(struct engine *e, enum table table, uint64_t key, uint32_t sub)
{
    if (!batch_delete(&e->open->batch, table, key, sub))
        engine_fail(e);
}

void engine_put_key(struct engine *e, uint64_t key, uint32_t sub, const struct engine_key *row)
{
    buf_reset(&e->scratch);
    key_encode(&e->scratch, row);
    if (e->scratch.failed ||
        !batch_put(&e->open->batch, TABLE_KEY, key, sub, buf_slice(&e->scratch)))
        engine_fail(e);
}

void engine_put_note(struct engine *e, uint64_t number, struct slice value)
{
    if (!value.data)
        engine_delete(e, TABLE_META, META_NOTES + number, 0);
    else if (!batch_put(&e->open->batch, TABLE_META, META_NOTES + number, 0, value))
        engine_fail(e);
}

void engine_delete_key(struct engine *e, uint64_t key, uint32_t sub)
{
    engine_delete(e, TABLE_KEY, key, sub);
}

void engine_emit(struct engine *e, const struct engine_effect *effect)
{
    if (e->effects_len == e->effects_cap) {
        uint32_t cap = e->effects_cap ? 2 * e->effects_cap : 64;
        struct engine_effect *grown = malloc(cap * sizeof *grown);

        if (!grown) {
            engine_fail(e);
            return;
        }
        for (uint32_t i = 0; i < e->effects_len; i++)
            grown[i] = e->effects[(e->effects_head + i) & (e->effects_cap - 1)];
        free(e->effects);
        e->effects = grown;
        e->effects_cap = cap;
        e->effects_head = 0;
    }
    e->effects[(e->effects_head + e->effects_len++) & (e->effects_cap - 1)] = *effect;
}

bool engine_effect(struct engine *e, struct engine_effect *effect)
{
    if (e->effects_len == 0 || e->failed)
        return false;
    *effect = e->effects[e->effects_head];
    e->effects_head = (e->effects_head + 1) & (e->effects_cap - 1);
    e->effects_len--;
    return true;
}

/* Writes the rows of the calls that changed, as they are now. */
static void write_dirty(struct engine *e, struct commit *k)
{
    struct engine_row row;

    for (uint32_t i = 0; i < k->dirty_len; i++) {
        struct call *c = call_find(e, k->dirty[i]);

        if (!c || !c->dirty)
            continue;
        c->dirty = false;
        c->stored = true;
        call_row(e, c, &row);
        if (row.state == CALL_RUNNING) /* an attempt in flight is not recorded */
            row.state = CALL_READY;
        buf_reset(&e->scratch);
        row_encode(&e->scratch, &row);
        if (e->scratch.failed ||
            !batch_put(&k->batch, TABLE_CALL, c->id, 0, buf_slice(&e->scratch)))
            engine_fail(e);
    }
    k->dirty_len = 0;
}

static void write_kept(struct engine *e, struct commit *k)
{
    if (!e->kept_changed)
        return;
    e->kept_changed = false;
    buf_reset(&e->scratch);
    buf_put_u64(&e->scratch, e->kept_bytes);
    buf_put_u64(&e->scratch, e->kept_calls);
    if (e->scratch.failed ||
        !batch_put(&k->batch, TABLE_META, META_KEPT, 0, buf_slice(&e->scratch)))
        engine_fail(e);
}

const struct batch *engine_batch(struct engine *e)
{
    struct commit *k = e->open, *next = k == &e->commits[0] ? &e->commits[1] : &e->commits[0];

    if (e->flight || e->failed)
        return NULL;
    if (!k->batch.count && !k->dirty_len && !k->accepted_len) {
        assert(!k->ready && !k->ended);
        return NULL;
    }
    write_dirty(e, k);
    write_kept(e, k);
    if (e->failed)
        return NULL;
    e->flight = k;
    e->open = next;
    next->number = k->number + 1;
    return &k->batch;
}

void engine_committed(struct engine *e, int64_t now)
{
    struct commit *k = e->flight;
    struct call *c;

    assert(k);
    e->now = now;
    e->flight = NULL;
    e->confirmed = k->number;
    for (uint32_t i = 0; i < k->accepted_len; i++)
        if (k->accepted[i])
            engine_emit(e,
                        &(struct engine_effect){.kind = ENGINE_ACCEPTED, .token = k->accepted[i]});
    k->accepted_len = 0;
    while ((c = ring_pop(e, &k->ended, RING_QUEUE))) {
        engine_emit(e, &(struct engine_effect){.kind = ENGINE_DONE, .call = c->id});
        call_settle(e, c);
    }
    while ((c = ring_pop(e, &k->ready, RING_QUEUE)))
        call_enqueue(e, c);
    batch_reset(&k->batch);
    swaps_step(e, now);
    engine_pump(e);
}
