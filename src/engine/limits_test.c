// SPDX-License-Identifier: Apache-2.0
/* Each limit at its boundary: what is allowed goes through, one more is an error that says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/testing.h"

static struct engine_spec specs[8];

static int make_specs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        specs[i] = bench_spec("child");
    return 0;
}

static int dispatch(struct bench *b, size_t count, struct error *err)
{
    uint64_t first;
    int code = engine_dispatch(b->e, b->now, slice_str("default"), specs, count, b, &first, err);

    bench_commit(b);
    return code;
}

/* The run of a call polls with so many calls; the message if they were refused, else NULL. */
static const char *poll(struct bench *b, uint64_t call, size_t count)
{
    struct engine_answer a = bench_answer_to(bench_take_run(b, call));
    static char message[ERROR_MESSAGE_MAX];
    struct stored *row;

    a.specs = specs;
    a.spec_count = count;
    bench_poll(b, a, "state");
    row = bench_find(b, TABLE_PAYLOAD, call, PAYLOAD_POLL_ERROR);
    if (!row)
        return NULL;
    assert_true(row->value->len < sizeof message);
    memcpy(message, row->value->data, row->value->len);
    message[row->value->len] = 0;
    return message;
}

static void calls_of_a_dispatch(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.calls_max = 3});
    struct error err;

    (void)state;
    assert_int_equal(dispatch(b, 3, &err), 0);
    assert_int_equal(dispatch(b, 4, &err), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "limit is 3"));
    bench_destroy(b);
}

static void calls_of_a_poll(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.calls_max = 3});
    uint64_t id = bench_dispatch(b, bench_spec("root")), other;
    const char *why;

    (void)state;
    other = bench_dispatch(b, bench_spec("other"));
    bench_commit(b);
    assert_null(poll(b, id, 3));
    why = poll(b, other, 4);
    assert_non_null(why);
    assert_non_null(strstr(why, "limit is 3"));
    assert_int_equal(bench_state(b, other), CALL_RUNNING); /* resumed to hear of it */
    bench_destroy(b);
}

static void outstanding_calls_of_a_parent(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.outstanding_max = 5});
    uint64_t id = bench_dispatch(b, bench_spec("root"));
    struct engine_answer a;
    const char *why;

    (void)state;
    bench_commit(b);
    a = bench_answer_to(bench_take_run(b, id));
    a.specs = specs;
    a.spec_count = 3;
    a.max_wait_ns = 0;
    bench_poll(b, a, "one");
    a = bench_answer_to(bench_take_run(b, id));
    a.specs = specs;
    a.spec_count = 2; /* five */
    a.max_wait_ns = 0;
    bench_poll(b, a, "two");
    assert_null(bench_find(b, TABLE_PAYLOAD, id, PAYLOAD_POLL_ERROR));
    why = poll(b, id, 1);
    assert_non_null(why);
    assert_non_null(strstr(why, "limit is 5"));
    bench_destroy(b);
}

static void depth_of_a_tree(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.depth_max = 2});
    uint64_t id = bench_dispatch(b, bench_spec("root"));
    const char *why;

    (void)state;
    bench_commit(b);
    assert_null(poll(b, id, 1));
    assert_null(poll(b, id + 1, 1));
    why = poll(b, id + 2, 1);
    assert_non_null(why);
    assert_non_null(strstr(why, "limit of 2"));
    bench_destroy(b);
}

/* New roots are refused past 90% of an organization that is alone. */
static void live_calls(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.live_max = 10, .calls_max = 10});
    struct error err;

    (void)state;
    assert_int_equal(dispatch(b, 8, &err), 0);
    assert_int_equal(dispatch(b, 1, &err), 0);
    assert_int_equal(dispatch(b, 1, &err), CODE_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err.message, "limit of 10"));
    bench_destroy(b);
}

static void expiration(void **state)
{
    struct bench *b = bench_create_with((struct engine_config){.expiration_max_ns = 10 * NS_PER_S});
    struct engine_spec s = bench_spec("f");
    struct engine_row row;
    uint64_t id;

    (void)state;
    s.expiration_ns = 10 * NS_PER_S;
    id = bench_dispatch(b, s);
    assert_true(engine_find(b->e, id, &row) && row.expires == b->now + 10 * NS_PER_S);
    s.expiration_ns++; /* cut */
    id = bench_dispatch(b, s);
    assert_true(engine_find(b->e, id, &row) && row.expires == b->now + 10 * NS_PER_S);
    bench_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_of_a_dispatch),
        cmocka_unit_test(calls_of_a_poll),
        cmocka_unit_test(outstanding_calls_of_a_parent),
        cmocka_unit_test(depth_of_a_tree),
        cmocka_unit_test(live_calls),
        cmocka_unit_test(expiration),
    };

    return cmocka_run_group_tests(tests, make_specs, NULL);
}
