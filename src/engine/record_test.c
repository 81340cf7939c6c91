// SPDX-License-Identifier: Apache-2.0
/* Records against a plain array: the table finds those that are in, the timers come in order, rings
 * keep theirs, whatever comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/internal.h"

#define CALLS 2000
#define STEPS 20000

static struct engine *engine(void)
{
    struct engine *e;
    struct error err;

    assert_int_equal(engine_create(&e, &(struct engine_config){.seed = 1}, &err), 0);
    return e;
}

static void insert(struct engine *e, struct call **calls, size_t at, int64_t due)
{
    struct call *c = call_new(e);

    assert_non_null(c);
    assert_true(calls_reserve(e, 1) && timers_reserve(e, 1));
    c->id = at * 7 + 1;
    c->expires = due;
    call_insert(e, c);
    call_set_timer(e, c);
    calls[at] = c;
}

static void take(struct engine *e, struct call **calls, size_t at)
{
    call_stop_timer(e, calls[at]);
    call_delete(e, calls[at]);
    call_free(e, calls[at]);
    calls[at] = NULL;
}

static void test_the_table_and_the_timers(void **state)
{
    struct engine *e = engine();
    struct call *calls[CALLS] = {0}, *c;
    size_t live = 0;
    int64_t last = INT64_MIN;
    uint64_t last_id = 0;
    uint32_t pos = 0;

    (void)state;
    for (size_t i = 0; i < STEPS; i++) {
        size_t at = rand_below(&e->rand, CALLS);

        if (!calls[at]) {
            insert(e, calls, at, (int64_t)rand_below(&e->rand, 500));
        } else if (rand_below(&e->rand, 2)) {
            take(e, calls, at);
        } else {
            calls[at]->due = (int64_t)rand_below(&e->rand, 500);
            call_set_timer(e, calls[at]);
        }
    }
    for (size_t at = 0; at < CALLS; at++) {
        assert_ptr_equal(call_find(e, at * 7 + 1), calls[at]);
        assert_null(call_find(e, at * 7 + 2));
        live += calls[at] != NULL;
    }
    assert_int_equal(e->call_count, live);
    while ((c = call_next(e, &pos)))
        live--;
    assert_int_equal(live, 0);
    while ((c = timers_first(e))) { /* the older first at equal times */
        assert_true(timer_key(e, c) == call_timer(c));
        assert_true(call_timer(c) > last || (call_timer(c) == last && c->id > last_id));
        last = call_timer(c);
        last_id = c->id;
        take(e, calls, (c->id - 1) / 7);
    }
    assert_int_equal(e->call_count, 0);
    engine_destroy(e);
}

static void test_rings(void **state)
{
    struct engine *e = engine();
    struct call *c[3];
    uint32_t head = 0, other = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        c[i] = call_new(e);
        ring_append(e, &head, c[i], RING_SIBLING);
        ring_append(e, &other, c[i], RING_QUEUE);
    }
    assert_ptr_equal(ring_after(e, head, c[0], RING_SIBLING), c[1]);
    assert_null(ring_after(e, head, c[2], RING_SIBLING));
    ring_remove(e, &head, c[1], RING_SIBLING);
    assert_ptr_equal(ring_after(e, head, c[0], RING_SIBLING), c[2]);
    assert_ptr_equal(ring_after(e, other, c[0], RING_QUEUE), c[1]); /* the other link */
    ring_remove(e, &head, c[0], RING_SIBLING);
    assert_ptr_equal(ring_pop(e, &head, RING_SIBLING), c[2]);
    assert_null(ring_pop(e, &head, RING_SIBLING));
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(ring_pop(e, &other, RING_QUEUE), c[i]);
    engine_destroy(e);
}

static void test_targets_are_shared(void **state)
{
    struct engine *e = engine();
    struct target_names n = {
        .org = slice_str("o"), .function = slice_str("f"), .endpoint = slice_str("http://h/x")};
    struct target *a = target_get(e, &n), *b = target_get(e, &n), *other;

    (void)state;
    assert_ptr_equal(a, b);
    n.endpoint = slice_str("http://h/y"); /* of the same host: the same group */
    other = target_get(e, &n);
    assert_ptr_not_equal(a, other);
    assert_ptr_equal(a->group, other->group);
    target_unref(e, a);
    target_unref(e, b);
    target_unref(e, other);
    assert_int_equal(e->target_by_key.len, 0);
    engine_destroy(e);
}

/* What a million of them cost: bench/suspended. */
static void test_a_record_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct call) <= 168);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_and_the_timers),
        cmocka_unit_test(test_rings),
        cmocka_unit_test(test_targets_are_shared),
        cmocka_unit_test(test_a_record_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
