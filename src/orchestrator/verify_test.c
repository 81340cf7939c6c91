// SPDX-License-Identifier: Apache-2.0
/* A store that an orchestrator has left is as it should be; each kind of damage is found, and said
 * of the call that has it. That lawful stores are not complained of, the simulator sees, too. */
#include "orchestrator/testing.h"
#include "orchestrator/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/key.h"
#include "engine/row.h"

/* The calls of the world, by their numbers. */
enum { PARENT = 1, CHILD_DONE = 2, CHILD_LIVE = 3, ROOT_DONE = 4, EVENT = 5 };

struct found {
    char all[4096];
};

static void note(void *arg, uint64_t call, const char *what)
{
    struct found *f = arg;
    size_t len = strlen(f->all);

    snprintf(f->all + len, sizeof f->all - len, "%u: %s\n", (unsigned)call, what);
}

static void look(struct world *w, struct found *found, struct verify_stats *stats)
{
    struct verify_options options = {
        .kept_since = w->now - 3600 * NS_PER_S, .violation = note, .arg = found};
    struct error err;

    *found = (struct found){0};
    assert_int_equal(verify_store(w->memory, &options, stats, &err), 0);
}

static void dispatch_event(struct world *w)
{
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    struct reply reply = {0};

    call.function = (char *)(uintptr_t) "f";
    call.endpoint = (char *)(uintptr_t) "event:";
    call.key = (char *)(uintptr_t) "k";
    request.calls = calls;
    request.n_calls = 1;
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &request, reply_dispatched, &reply);
    world_settle(w);
    assert_int_equal(reply.error.code, 0);
}

static int set_up(void **state)
{
    const struct child children[] = {{"child", 1}, {"child", 2}};
    struct world *w = calloc(1, sizeof *w);
    char id[ID_TEXT_LEN + 1];

    assert_non_null(w);
    world_init(w);
    world_dispatch(w, "parent", "in", id);
    answer_with_poll(world_take(w, "parent"), "state", children, 2, 2, -1);
    world_settle(w);
    answer_ok(world_take(w, "child"), "a result");
    world_settle(w);
    world_dispatch(w, "other", "in", id);
    answer_ok(world_take(w, "other"), "a result");
    world_settle(w);
    dispatch_event(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

/* --- planting --------------------------------------------------------------------------------- */

static void put(struct world *w, enum table table, uint64_t key, uint32_t sub, struct slice value)
{
    struct batch batch;
    struct error err;
    uint64_t epoch;

    batch_init(&batch);
    assert_true(value.data ? batch_put(&batch, table, key, sub, value)
                           : batch_delete(&batch, table, key, sub));
    assert_int_equal(store_fence(w->memory, 0, 0, &epoch, &err), 0);
    assert_int_equal(store_commit(w->memory, 0, epoch, &batch, &err), 0);
    batch_free(&batch);
}

static void remove_row(struct world *w, enum table table, uint64_t key, uint32_t sub)
{
    put(w, table, key, sub, (struct slice){0});
}

static struct blob *get(struct world *w, enum table table, uint64_t key)
{
    struct blob *blob;
    struct error err;

    assert_int_equal(store_get(w->memory, 0, table, key, 0, &blob, &err), 0);
    return blob;
}

static void change_call(struct world *w, uint64_t id, void (*change)(struct engine_row *row))
{
    struct blob *blob = get(w, TABLE_CALL, id);
    struct slice bytes = blob_slice(blob);
    struct engine_row row;
    struct error err;
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(row_decode(&bytes, &row, &err), 0);
    change(&row);
    row_encode(&out, &row);
    put(w, TABLE_CALL, id, 0, buf_slice(&out));
    buf_free(&out);
    blob_unref(blob);
}

static void put_u64s(struct world *w, uint64_t key, uint32_t sub, uint64_t a, uint64_t b)
{
    struct buf out;

    buf_init(&out, 64);
    buf_put_u64(&out, a);
    if (b)
        buf_put_u64(&out, b);
    put(w, TABLE_META, key, sub, buf_slice(&out));
    buf_free(&out);
}

static uint64_t place(void)
{
    return key_place(KEY_EVENT, slice_str(TEST_ORG), slice_str("k"), TEST_TAG);
}

static void broken_call(struct world *w)
{
    put(w, TABLE_CALL, CHILD_LIVE, 0, slice_str("\xff garbage"));
}

static void call_elsewhere(struct world *w)
{
    struct blob *blob = get(w, TABLE_CALL, EVENT);

    put(w, TABLE_CALL, 9, 0, blob_slice(blob));
    blob_unref(blob);
}

static void call_of_a_sub(struct world *w)
{
    struct blob *blob = get(w, TABLE_CALL, CHILD_LIVE);

    put(w, TABLE_CALL, CHILD_LIVE, 7, blob_slice(blob));
    blob_unref(blob);
}

static void no_input(struct world *w)
{
    remove_row(w, TABLE_PAYLOAD, PARENT, PAYLOAD_INPUT);
}

static void no_input_kept(struct world *w)
{
    remove_row(w, TABLE_PAYLOAD, ROOT_DONE, PAYLOAD_INPUT);
}

static void no_state(struct world *w)
{
    remove_row(w, TABLE_PAYLOAD, PARENT, PAYLOAD_STATE);
}

static void other_payload(struct world *w)
{
    put(w, TABLE_PAYLOAD, CHILD_LIVE, PAYLOAD_POLL_ERROR, slice_str("x"));
}

static void odd_payload(struct world *w)
{
    put(w, TABLE_PAYLOAD, PARENT, 5, slice_str("x"));
}

static void orphan_payload(struct world *w)
{
    put(w, TABLE_PAYLOAD, 77, PAYLOAD_INPUT, slice_str("x"));
}

static void no_result(struct world *w)
{
    remove_row(w, TABLE_DONE, CHILD_DONE, 0);
}

static void broken_result(struct world *w)
{
    put(w, TABLE_DONE, ROOT_DONE, 0, slice_str("\xff garbage"));
}

static void short_result(struct world *w)
{
    struct engine_result result = {0};
    struct blob *blob = get(w, TABLE_DONE, ROOT_DONE);
    struct engine_row row;
    struct error err;
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(row_decode_done(blob_slice(blob), &row, &result, &err), 0);
    row_encode_done(&out, &row, &(struct engine_result){0});
    put(w, TABLE_DONE, ROOT_DONE, 0, buf_slice(&out));
    buf_free(&out);
    blob_unref(blob);
}

static void no_parent(struct world *w)
{
    remove_row(w, TABLE_CALL, PARENT, 0);
}

static void make_live(struct engine_row *row)
{
    row->state = CALL_READY;
}

static void live_and_done(struct world *w)
{
    change_call(w, CHILD_DONE, make_live);
}

static void other_root(struct engine_row *row)
{
    row->depth = 9;
}

static void wrong_depth(struct world *w)
{
    change_call(w, CHILD_LIVE, other_root);
}

static void own_parent(struct engine_row *row)
{
    row->parent = row->id;
}

static void parent_after_child(struct world *w)
{
    change_call(w, CHILD_LIVE, own_parent);
}

static void later_generation(struct engine_row *row)
{
    row->parent_generation = 5;
}

static void generation_to_come(struct world *w)
{
    change_call(w, CHILD_LIVE, later_generation);
}

static void result_for_nobody(struct world *w)
{
    change_call(w, CHILD_DONE, later_generation);
}

static void wait_for_ever(struct engine_row *row)
{
    row->state = CALL_WAITING;
    row->due = TIME_NEVER;
}

static void waits_for_ever(struct world *w)
{
    change_call(w, CHILD_LIVE, wait_for_ever);
}

static void end_before(struct engine_row *row)
{
    row->expires = row->created;
}

static void times_reversed(struct world *w)
{
    change_call(w, CHILD_LIVE, end_before);
}

static void low_next_id(struct world *w)
{
    put_u64s(w, META_NEXT_ID, 0, EVENT, 0);
}

static void broken_next_id(struct world *w)
{
    put(w, TABLE_META, META_NEXT_ID, 0, slice_str("x"));
}

static void wrong_kept(struct world *w)
{
    put_u64s(w, META_KEPT, 0, 12345, 2);
}

static void unknown_fact(struct world *w)
{
    put_u64s(w, META_KEPT, 9, 1, 1);
}

static void foreign_tree(struct world *w)
{
    const uint64_t ids[] = {PARENT, EVENT};
    struct buf out;

    buf_init(&out, 64);
    tree_encode(&out, PARENT, w->now, ids, 2);
    put(w, TABLE_META, PARENT, META_TREE, buf_slice(&out));
    buf_free(&out);
}

static void no_key(struct world *w)
{
    remove_row(w, TABLE_KEY, place(), 0);
}

static void broken_key(struct world *w)
{
    put(w, TABLE_KEY, place(), 1, slice_str("\xff garbage"));
}

static void misplaced_key(struct world *w)
{
    struct blob *blob = get(w, TABLE_KEY, place());

    put(w, TABLE_KEY, place() ^ 1, 0, blob_slice(blob));
    blob_unref(blob);
}

static void foreign_key(struct world *w)
{
    struct blob *blob = get(w, TABLE_KEY, place());
    struct engine_key key;
    struct error err;
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(key_decode(blob_slice(blob), &key, &err), 0);
    key.call = CHILD_LIVE;
    key_encode(&out, &key);
    put(w, TABLE_KEY, place(), 0, buf_slice(&out));
    buf_free(&out);
    blob_unref(blob);
}

static const struct {
    void (*plant)(struct world *w);
    const char *found; /* a line of what is said begins so */
} plants[] = {
    {broken_call, "3: its row cannot be read"},
    {call_elsewhere, "9: its row is that of call number 5"},
    {call_of_a_sub, "3: its row is that of"},
    {no_input, "1: its input is missing"},
    {no_input_kept, "4: its input is missing"},
    {no_state, "1: its state has 1 pieces, and 0 are there"},
    {other_payload, "3: there is poll error that it does not have"},
    {odd_payload, "1: its state has 1 pieces, and 1 and others are there"},
    {orphan_payload, "77: there are payloads of it, and no call"},
    {no_result, "2: it is done, and its result is missing"},
    {broken_result, "4: its result cannot be read"},
    {short_result, "4: its result has another length"},
    {no_parent, "3: its parent is not there"},
    {live_and_done, "2: it is live and done at once"},
    {wrong_depth, "3: root, depth or organization is not that of its parent"},
    {parent_after_child, "3: depth 1, parent number 3 and root number 1 do not go together"},
    {generation_to_come, "3: it was made in generation 5 of its parent, which is in 1"},
    {result_for_nobody, "2: its result waits to be taken, and no parent waits"},
    {waits_for_ever, "3: it waits without an end"},
    {times_reversed, "3: its times are not in order"},
    {low_next_id, "5: its number was not given yet"},
    {broken_next_id, "0: the number of the next call cannot be read"},
    {wrong_kept, "0: 2 ended calls of 12345 bytes are said to be kept"},
    {unknown_fact, "0: there is a fact"},
    {foreign_tree, "5: it is listed in the tree of call number 1, and not in it"},
    {no_key, "5: its key 'k' would not be found"},
    {broken_key, "0: key row"},
    {misplaced_key, "5: the key 'k' stands where nobody looks"},
    {foreign_key, "3: the key 'k' is not its own"},
};

static void test_what_an_orchestrator_left_is_in_order(void **state)
{
    struct verify_stats stats;
    struct found found;

    look(*state, &found, &stats);
    assert_string_equal(found.all, "");
    assert_int_equal(stats.calls[CALL_SUSPENDED], 1);
    assert_int_equal(stats.calls[CALL_DONE], 1);
    assert_int_equal(stats.calls[CALL_WAITING], 1);
    assert_int_equal(stats.ended[STATUS_OK], 2);
    assert_int_equal(stats.events, 1);
    assert_int_equal(stats.rows[TABLE_PAYLOAD], 3);
    assert_int_equal(stats.oldest_live, T0);
}

static void test_each_damage_is_found(void **state)
{
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        struct verify_stats stats;
        struct found found;

        plants[i].plant(*state);
        look(*state, &found, &stats);
        if (!strstr(found.all, plants[i].found))
            fail_msg("no '%s' in: %s", plants[i].found, found.all);
        tear_down(state);
        set_up(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_an_orchestrator_left_is_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_each_damage_is_found, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
