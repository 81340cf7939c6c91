// SPDX-License-Identifier: Apache-2.0
/* Random operations against a model that looks through everything. */
#include "base/heap.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NODES = 300, STEPS = 30000 };

struct timer {
    struct heap_node node;
    bool in;
    int64_t key;
    uint64_t seq;
};

static struct timer *model_min(struct timer *timers)
{
    struct timer *least = NULL;

    for (struct timer *t = timers; t < timers + NODES; t++)
        if (t->in &&
            (!least || t->key < least->key || (t->key == least->key && t->seq < least->seq)))
            least = t;
    return least;
}

static void step(struct heap *h, struct timer *timers, struct rand *r, uint64_t *seq)
{
    struct timer *t = &timers[rand_below(r, NODES)];

    if (rand_below(r, 3) > 0) {
        if (!t->in)
            assert_true(heap_reserve(h, 1));
        /* Few keys, so that most of them meet an equal one. */
        t->key = (int64_t)rand_below(r, 20) - 10;
        t->seq = (*seq)++;
        t->in = true;
        heap_set(h, &t->node, t->key);
        assert_true(t->node.key == t->key);
    } else {
        heap_remove(h, &t->node);
        t->in = false;
        assert_int_equal(t->node.index, HEAP_NONE);
    }
}

static void test_against_a_model(void **state)
{
    static struct timer timers[NODES];
    struct timer *least;
    struct heap h;
    struct rand r;
    uint64_t seq = 0;

    (void)state;
    rand_seed(&r, 3);
    heap_init(&h);
    for (int i = 0; i < NODES; i++)
        heap_node_init(&timers[i].node);
    for (int i = 0; i < STEPS; i++) {
        step(&h, timers, &r, &seq);
        least = model_min(timers);
        assert_ptr_equal(heap_min(&h), least ? &least->node : NULL);
    }
    while ((least = model_min(timers)) != NULL) {
        assert_ptr_equal(heap_min(&h), &least->node);
        heap_remove(&h, heap_min(&h));
        least->in = false;
    }
    assert_null(heap_min(&h));
    assert_int_equal(h.len, 0);
    heap_free(&h);
}

static void test_equal_keys_in_order(void **state)
{
    struct heap_node nodes[100];
    struct heap h;

    (void)state;
    heap_init(&h);
    assert_true(heap_reserve(&h, 100));
    for (int i = 0; i < 100; i++) {
        heap_node_init(&nodes[i]);
        heap_set(&h, &nodes[i], 5);
    }
    heap_set(&h, &nodes[0], 5); /* set again: now the last of its equals */
    for (int i = 1; i <= 100; i++) {
        assert_ptr_equal(heap_min(&h), &nodes[i % 100]);
        heap_remove(&h, heap_min(&h));
    }
    heap_free(&h);
}

static void test_edges(void **state)
{
    struct heap_node a, b;
    struct heap_slot *slots;
    struct heap h;

    (void)state;
    heap_init(&h);
    heap_node_init(&a);
    heap_node_init(&b);
    assert_null(heap_min(&h));
    heap_remove(&h, &a);
    assert_true(heap_reserve(&h, 0));
    assert_false(heap_reserve(&h, HEAP_NONE));
    assert_true(heap_reserve(&h, 2));
    slots = h.slots;
    heap_set(&h, &a, INT64_MAX);
    heap_set(&h, &b, INT64_MIN);
    assert_ptr_equal(h.slots, slots);
    assert_ptr_equal(heap_min(&h), &b);
    assert_false(heap_reserve(&h, HEAP_NONE - 2));
    heap_remove(&h, &b);
    heap_remove(&h, &b);
    assert_ptr_equal(heap_min(&h), &a);
    heap_free(&h);
    heap_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_equal_keys_in_order),
        cmocka_unit_test(test_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
