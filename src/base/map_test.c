// SPDX-License-Identifier: Apache-2.0
/* Random operations against a plain array; interned strings and their counts. */
#include "base/map.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { KEYS = 600, STEPS = 100000 };

/* Keys as the engine has them (consecutive), and as hashes are (anything). */
static uint64_t key_of(uint64_t i, bool scattered)
{
    return scattered ? i * UINT64_C(0x9e3779b97f4a7c15) : i;
}

static void check_iteration(const struct map *m, void *const *model, bool scattered)
{
    size_t expected = 0, seen = 0;
    uint32_t pos = 0;
    uint64_t key;
    void *value;

    for (uint64_t i = 0; i < KEYS; i++)
        expected += model[i] != NULL;
    while ((value = map_next(m, &pos, &key)) != NULL) {
        /* The values point into the model's own cells, so the value tells the index. */
        uint64_t i = (uint64_t)((void *const *)value - model);

        assert_true(i < KEYS && key_of(i, scattered) == key);
        seen++;
    }
    assert_int_equal(seen, expected);
    assert_int_equal(m->len, expected);
}

static void run_model(bool scattered, uint64_t seed)
{
    static void *model[KEYS];
    struct rand r;
    struct map m;

    memset(model, 0, sizeof model);
    rand_seed(&r, seed);
    map_init(&m);
    for (int step = 0; step < STEPS; step++) {
        uint64_t i = rand_below(&r, KEYS), key = key_of(i, scattered);
        /* It fills and empties by turns, so that every load is met. */
        bool filling = step / 5000 % 2 == 0;

        assert_ptr_equal(map_get(&m, key), model[i]);
        if (rand_below(&r, 4) < (filling ? 3 : 1)) {
            assert_true(map_set(&m, key, &model[i]));
            model[i] = &model[i];
        } else {
            assert_ptr_equal(map_remove(&m, key), model[i]);
            model[i] = NULL;
        }
        assert_true((uint64_t)m.len * 10 <= (uint64_t)m.cap * 7);
        if (step % 1000 == 0)
            check_iteration(&m, model, scattered);
    }
    check_iteration(&m, model, scattered);
    for (uint64_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_remove(&m, key_of(i, scattered)), model[i]);
    assert_int_equal(m.len, 0);
    for (uint32_t i = 0; i < m.cap; i++)
        assert_null(m.slots[i].value);
    map_free(&m);
}

static void test_against_a_model(void **state)
{
    (void)state;
    run_model(false, 1);
    run_model(true, 2);
}

static void test_edges(void **state)
{
    struct map_slot *slots;
    struct map m;
    uint32_t pos = 0;
    int a, b;

    (void)state;
    map_init(&m);
    assert_null(map_get(&m, 0));
    assert_null(map_remove(&m, 0));
    assert_null(map_next(&m, &pos, NULL));
    assert_true(map_reserve(&m, 0));
    assert_false(map_reserve(&m, UINT32_MAX));
    assert_true(map_set(&m, 0, &a));
    assert_true(map_set(&m, UINT64_MAX, &b));
    assert_true(map_set(&m, 0, &b));
    assert_int_equal(m.len, 2);
    assert_ptr_equal(map_get(&m, 0), &b);
    assert_null(map_get(&m, 1));
    map_free(&m);
    map_free(&m);

    /* After a reservation nothing moves. */
    assert_true(map_reserve(&m, 1000));
    slots = m.slots;
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(map_set(&m, i, &a));
    assert_ptr_equal(m.slots, slots);
    map_free(&m);
}

static void test_same_history_same_order(void **state)
{
    struct map one, two;
    uint32_t p1 = 0, p2 = 0;
    uint64_t k1, k2;
    int v;

    (void)state;
    map_init(&one);
    map_init(&two);
    for (uint64_t i = 0; i < 500; i++) {
        map_set(&one, i * i, &v);
        map_set(&two, i * i, &v);
        map_remove(&one, i);
        map_remove(&two, i);
    }
    while (map_next(&one, &p1, &k1)) {
        assert_non_null(map_next(&two, &p2, &k2));
        assert_true(k1 == k2);
    }
    assert_null(map_next(&two, &p2, &k2));
    map_free(&one);
    map_free(&two);
}

static void test_atoms(void **state)
{
    struct atoms t;
    struct atom *a, *b, *nul;

    (void)state;
    atoms_init(&t);
    a = atom_get(&t, slice_str("fetch"));
    assert_ptr_equal(atom_get(&t, slice_str("fetch")), a);
    assert_int_equal(a->refs, 2);
    assert_string_equal(a->text, "fetch");
    assert_true(slice_eq_str(atom_slice(a), "fetch"));
    b = atom_get(&t, (struct slice){0});
    assert_ptr_equal(atom_get(&t, slice_str("")), b);
    assert_string_equal(b->text, "");
    nul = atom_get(&t, slice("fetch\0", 6));
    assert_ptr_not_equal(nul, a);
    assert_int_equal(t.count, 3);

    atom_unref(&t, atom_ref(a));
    atom_unref(&t, a);
    atom_unref(&t, a);
    assert_int_equal(t.count, 2);
    assert_int_equal(t.map.len, 2);
    atom_unref(&t, NULL);
    assert_null(atom_ref(NULL));
    assert_int_equal(atom_slice(NULL).len, 0);
    atoms_free(&t); /* b and nul are still counted */
}

/* Two texts of one hash do not occur by themselves, so the table is told that they have it. */
static void test_atoms_that_collide(void **state)
{
    static const char *const texts[] = {"one", "two", "three"};
    struct atom *a[3];
    struct atoms t;

    (void)state;
    for (int first = 0; first < 3; first++) {
        atoms_init(&t);
        for (int i = 0; i < 3; i++) {
            a[i] = atom_get(&t, slice_str(texts[i]));
            map_remove(&t.map, a[i]->hash);
            a[i]->hash = 99;
            a[i]->chain = i ? a[i - 1] : NULL;
        }
        map_set(&t.map, 99, a[2]);
        atom_unref(&t, a[first]);
        atom_unref(&t, a[(first + 2) % 3]);
        assert_int_equal(t.count, 1);
        assert_ptr_equal(map_get(&t.map, 99), a[(first + 1) % 3]);
        assert_null(a[(first + 1) % 3]->chain);
        atom_unref(&t, a[(first + 1) % 3]);
        assert_int_equal(t.count, 0);
        assert_int_equal(t.map.len, 0);
        atoms_free(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),         cmocka_unit_test(test_edges),
        cmocka_unit_test(test_same_history_same_order), cmocka_unit_test(test_atoms),
        cmocka_unit_test(test_atoms_that_collide),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
