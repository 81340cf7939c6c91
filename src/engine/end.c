// SPDX-License-Identifier: Apache-2.0
/*
 * How calls end, and what becomes of those they leave behind. An end is recorded once: the row of
 * TABLE_DONE is put in the batch that also takes the call out of TABLE_CALL, or, while a parent
 * waits for it, turns that row into a note that its result is to be delivered. The parent hears of
 * it only when the batch is confirmed (call_settle).
 */
#include <stdlib.h>

#include "engine/internal.h"

void call_drop_state(struct engine *e, struct call *c)
{
    for (uint32_t i = 0; i < c->state_chunks; i++)
        engine_delete(e, TABLE_PAYLOAD, c->id, PAYLOAD_STATE + i);
    if (c->has_poll_error)
        engine_delete(e, TABLE_PAYLOAD, c->id, PAYLOAD_POLL_ERROR);
    stall_drop(e, c);
    c->state_chunks = 0;
    c->state_hash = c->state_len = 0;
    c->state_arm = 0;
    c->has_poll_error = c->poll_timer = c->wake_on_error = false;
    c->resumes = 0;
    c->fresh = true;
}

static void put_end(struct engine *e, struct call *c, struct blob *output, struct blob *error)
{
    struct engine_row row;
    struct engine_result result = {
        .has_output = output,
        .has_error = error,
        .output = blob_slice(output),
        .error = blob_slice(error),
    };

    call_row(e, c, &row);
    buf_reset(&e->scratch);
    row_encode_done(&e->scratch, &row, &result);
    if (e->scratch.failed ||
        !batch_put(&e->open->batch, TABLE_DONE, c->id, 0, buf_slice(&e->scratch)))
        engine_fail(e);
    e->kept_bytes += row_kept_size(&row, e->scratch.len);
    e->kept_calls++;
    e->kept_changed = true;
}

bool engine_remove(struct engine *e, const struct engine_row *row, size_t value)
{
    uint64_t bytes = row_kept_size(row, value);

    if (e->failed || call_find(e, row->id) ||
        tree_is_out(e, row->root)) /* its result is still to be delivered */
        return false;
    engine_delete(e, TABLE_DONE, row->id, 0);
    if (row->has_input)
        engine_delete(e, TABLE_PAYLOAD, row->id, PAYLOAD_INPUT);
    if (row->key.len)
        event_forget(e, row->org, row->key, row->id);
    /* A store of an older format has rows that nobody counted. */
    e->kept_bytes -= bytes < e->kept_bytes ? bytes : e->kept_bytes;
    e->kept_calls -= e->kept_calls > 0;
    e->kept_changed = true;
    return true;
}

static enum move end_move(enum call_end end)
{
    static const enum move moves[] = {
        [END_ANSWER] = MOVE_ANSWERED,
        [END_EXPIRED] = MOVE_EXPIRED,
        [END_CANCELLED] = MOVE_CANCELLED,
        [END_KEY_TAKEN] = MOVE_KEY_TAKEN,
    };

    return moves[end];
}

/* A call has become loose, or is no longer. */
static void count_loose(struct engine *e, const struct call *c, bool loose)
{
    struct call *root = call_find(e, c->root_id);

    if (!root)
        return;
    assert(root->loose > 0 || loose);
    root->loose = loose ? root->loose + 1 : root->loose - 1;
}

void call_finish(struct engine *e, struct call *c, int64_t now, enum status status,
                 enum call_end end, struct blob *output, struct blob *error)
{
    bool good = status == STATUS_OK;

    if (c->state == CALL_RUNNING && end != END_ANSWER)
        engine_emit(e, &(struct engine_effect){.kind = ENGINE_CANCEL_RUN,
                                               .call = c->id,
                                               .generation = c->generation,
                                               .attempt = c->attempt});
    call_dequeue(e, c);
    call_stop_timer(e, c);
    if (call_is_loose(c))
        count_loose(e, c, false);
    c->delivered = 0;
    call_orphan_children(e, c, now, good ? ORPHANS_LEAVE : ORPHANS_CANCEL_UNSTARTED);
    call_drop_state(e, c);
    c->status = (uint8_t)status & 15;
    c->end = (uint8_t)end & 3;
    c->done = now;
    c->finish = e->next_finish++;
    c->failed = !good || error;
    c->result_len = (uint32_t)(blob_slice(output).len + blob_slice(error).len);
    call_move(e, c, c->is_event && end == END_ANSWER ? MOVE_COMPLETED : end_move(end));
    if (c->is_event && (end == END_EXPIRED || end == END_CANCELLED))
        event_forget(e, atom_slice(c->target->org), call_key(c), c->id);
    put_end(e, c, output, error);
    if (c->parent)
        call_dirty(e, c);
    else
        call_unstore(e, c);
    ring_append(e, &e->open->ended, c, RING_QUEUE);
    c->target->tally->ended[c->status]++;
    e->stats.finished++;
    e->stats.expired += end == END_EXPIRED;
    e->stats.cancelled += end == END_CANCELLED;
}

/* Lets go of one undone child, or one whose end is not durable yet. */
static void orphan(struct engine *e, struct call *parent, struct call *child)
{
    ring_remove(e, &parent->children, child, RING_SIBLING);
    child->parent = 0;
    parent->outstanding--;
    if (child->state == CALL_DONE)
        call_unstore(e, child); /* nobody will take the result */
    else
        count_loose(e, child, true);
}

void call_take_result(struct engine *e, struct call *c, struct call *child)
{
    assert(child->parent == c->self && c->inbox_count > 0);
    ring_remove(e, &c->inbox, child, RING_SIBLING);
    child->parent = 0;
    c->inbox_count--;
    call_forget(e, child);
}

void call_count_errors(struct engine *e, struct call *c)
{
    struct call *child = c->inbox_error ? call_at(e, c->inbox) : NULL;

    while (child && !child->failed)
        child = ring_after(e, c->inbox, child, RING_SIBLING);
    c->inbox_error = child != NULL;
}

static void drop_inbox(struct engine *e, struct call *c)
{
    while (c->inbox)
        call_take_result(e, c, call_at(e, c->inbox));
    c->inbox_error = false;
}

void call_orphan_children(struct engine *e, struct call *c, int64_t now, enum orphans what)
{
    drop_inbox(e, c);
    while (c->children) {
        struct call *child = call_at(e, c->children);
        bool started = child->attempts > 0 || child->state == CALL_RUNNING;

        orphan(e, c, child);
        if (what == ORPHANS_CANCEL_UNSTARTED && !started && child->state != CALL_DONE)
            call_finish(e, child, now, STATUS_PERMANENT_ERROR, END_CANCELLED, NULL, NULL);
    }
}

/* Ends one call; its live children are moved to the work list instead of being left. */
static void cancel_one(struct engine *e, struct call *c, int64_t now, uint32_t *work)
{
    while (c->children) {
        struct call *child = call_at(e, c->children);

        orphan(e, c, child);
        if (child->state != CALL_DONE)
            ring_append(e, work, child, RING_SIBLING);
    }
    call_finish(e, c, now, STATUS_PERMANENT_ERROR, END_CANCELLED, NULL, NULL);
}

void call_cancel_tree(struct engine *e, struct call *c, int64_t now)
{
    uint32_t work = 0;

    do {
        cancel_one(e, c, now, &work);
        c = ring_pop(e, &work, RING_SIBLING);
    } while (c);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool is_among(const struct call *child, const uint64_t *sorted, size_t count)
{
    return bsearch(&child->correlation_id, sorted, count, sizeof *sorted, by_number) != NULL;
}

uint32_t call_give_up(struct engine *e, struct call *c, int64_t now, const uint64_t *ids,
                      size_t count)
{
    uint64_t *sorted = count ? malloc(count * sizeof *sorted) : NULL;
    uint32_t before = c->outstanding + c->inbox_count;
    struct call *child, *next;

    if (!count)
        return 0;
    if (!sorted) {
        engine_fail(e);
        return 0;
    }
    memcpy(sorted, ids, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_number);
    for (child = call_at(e, c->inbox); child; child = next) {
        next = ring_after(e, c->inbox, child, RING_SIBLING);
        if (is_among(child, sorted, count) && !MUTATION(11))
            call_take_result(e, c, child);
    }
    call_count_errors(e, c);
    for (child = call_at(e, c->children); child; child = next) {
        next = ring_after(e, c->children, child, RING_SIBLING);
        if (!is_among(child, sorted, count))
            continue;
        orphan(e, c, child);
        if (child->state != CALL_DONE)
            call_cancel_tree(e, child, now);
    }
    free(sorted);
    return before - c->outstanding - c->inbox_count;
}

bool call_has_enough(const struct call *c)
{
    return c->inbox_count >= (MUTATION(5) ? 1 : c->min_results) || c->outstanding == 0 ||
           (c->wake_on_error && c->inbox_error);
}

/* A suspended parent goes on when it has enough, or when nothing more can come. */
void call_wake(struct engine *e, struct call *c)
{
    if (MUTATION(2) && c->id % 4 == 0)
        return;
    if (c->state != CALL_SUSPENDED || c->poll_timer || c->stalled || !call_has_enough(c))
        return;
    c->due = TIME_NEVER;
    call_move(e, c, MOVE_RESULTS);
    call_set_timer(e, c);
    call_enqueue(e, c);
}

void call_settle(struct engine *e, struct call *c)
{
    struct call *parent = call_at(e, c->parent);

    if (!parent) {
        call_forget(e, c);
        return;
    }
    assert(parent->state != CALL_DONE && parent->generation == c->parent_generation);
    ring_remove(e, &parent->children, c, RING_SIBLING);
    parent->outstanding--;
    ring_append(e, &parent->inbox, c, RING_SIBLING);
    parent->inbox_count++;
    parent->inbox_error |= c->failed;
    call_wake(e, parent);
}
