// SPDX-License-Identifier: Apache-2.0
/* Rows: a golden row of each version that was ever written, round trips, and every damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/row.h"

static const struct engine_row full = {
    .id = 300,
    .parent = 299,
    .root = 7,
    .correlation_id = UINT64_MAX,
    .generation = 3,
    .parent_generation = 2,
    .depth = 5,
    .org = {"default", 7},
    .function = {"count", 5},
    .endpoint = {"http://h:1", 10},
    .version = {"v1", 2},
    .created = 1000,
    .expires = 2000,
    .due = TIME_NEVER,
    .state = CALL_DONE,
    .fresh = true,
    .has_input = true,
    .failures = 4,
    .restarts = 1,
    .attempts = 1000000,
    .resumes = 2,
    .last_status = STATUS_THROTTLED,
    .min_results = 1,
    .max_results = 10,
    .outstanding = 0,
    .state_arm = 2,
    .state_chunks = 1,
    .state_hash = 0x0123456789abcdef,
    .state_len = 77,
    .finish = 12,
    .result_len = 3,
    .status = STATUS_OK,
    .end = END_ANSWER,
    .done = 1999,
    .priority = -3,
    .failed = true,
};

/* Version 1, as the first programs wrote it: DONE row of `full`, which had neither priority nor
 * `failed` then, with the output "abc". */
static const char golden_1[] =
    "01230403"                       /* version, flags, state, last status */
    "02"                             /* state arm */
    "ac02ab0207ffffffffffffffffff01" /* id, parent, root, correlation id */
    "030205"                         /* generations, depth */
    "0764656661756c7405636f756e740a687474703a2f2f683a31027631" /* strings */
    "d00fa01f"                                                 /* created, expires */
    "0401c0843d02010a0001"                                     /* progress */
    "efcdab89674523014d"                                       /* state hash and length */
    "01000c039e1f"                                             /* the end */
    "0103616263";                                              /* the result */

/* Version 2: with fields that have numbers. */
static const char golden[] =
    "02230403"                       /* version, flags, state, last status */
    "02"                             /* state arm */
    "ac02ab0207ffffffffffffffffff01" /* id, parent, root, correlation id */
    "030205"                         /* generations, depth */
    "0764656661756c7405636f756e740a687474703a2f2f683a31027631" /* strings */
    "d00fa01f"                                                 /* created, expires */
    "0401c0843d02010a0001"                                     /* progress */
    "efcdab89674523014d"                                       /* state hash and length */
    "01000c039e1f"                                             /* the end */
    "0105020200"                                               /* priority, bits, the end of them */
    "0103616263";                                              /* the result */

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = 0;

    for (; hex[0]; hex += 2, n++) {
        unsigned high = (unsigned)(hex[0] <= '9' ? hex[0] - '0' : hex[0] - 'a' + 10);
        unsigned low = (unsigned)(hex[1] <= '9' ? hex[1] - '0' : hex[1] - 'a' + 10);

        out[n] = (uint8_t)(high << 4 | low);
    }
    return n;
}

/* What both golden rows say. */
static void expect_full(const struct engine_row *row, const struct engine_result *back)
{
    assert_int_equal(row->id, 300);
    assert_true(row->correlation_id == UINT64_MAX);
    assert_true(slice_eq_str(row->function, "count") && slice_eq_str(row->version, "v1"));
    assert_true(row->attempts == 1000000 && row->due == TIME_NEVER && row->done == 1999);
    assert_true(row->fresh && row->has_input && !row->has_poll_error && !row->poll_timer);
    assert_true(back->has_output && !back->has_error && slice_eq_str(back->output, "abc"));
}

static void test_golden(void **state)
{
    struct engine_result result = {.has_output = true, .output = slice_str("abc")}, back;
    struct engine_row row;
    struct error err;
    struct buf b;
    uint8_t expected[sizeof golden];
    size_t len = unhex(golden, expected);

    (void)state;
    buf_init(&b, 1000);
    row_encode_done(&b, &full, &result);
    assert_int_equal(b.len, len);
    assert_memory_equal(b.data, expected, len);
    buf_free(&b);
    assert_int_equal(row_decode_done(slice(expected, len), &row, &back, &err), 0);
    assert_true(row.priority == -3 && row.failed && !row.wake_on_error);
    expect_full(&row, &back);
}

static void test_golden_of_version_1(void **state)
{
    struct engine_result back;
    struct engine_row row;
    struct error err;
    uint8_t bytes[sizeof golden_1 + 1];
    size_t len = unhex(golden_1, bytes);

    (void)state;
    assert_int_equal(row_decode_done(slice(bytes, len), &row, &back, &err), 0);
    assert_true(row.priority == 0 && !row.failed && !row.wake_on_error);
    expect_full(&row, &back);
}

/* A field of a later program's is refused by its number; one of ours out of its range is damage. */
static void test_fields(void **state)
{
    static const struct {
        uint8_t bytes[7];
        size_t len;
        int code;
    } tails[] = {
        {{0}, 1, CODE_OK},
        {{1, 6, 2, 1, 0}, 5, CODE_OK},
        {{2, 4, 0}, 3, CODE_DATA_LOSS},
        {{1, 0x80, 0x80, 0x80, 0x80, 0x20, 0}, 7, CODE_DATA_LOSS},
        {{200, 1, 0}, 3, CODE_FAILED_PRECONDITION},
        {{1}, 1, CODE_DATA_LOSS},
    };
    struct engine_row row;
    struct error err;
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        struct engine_row plain = full;
        struct slice in;

        plain.priority = 0;
        plain.failed = false;
        buf_reset(&b);
        row_encode(&b, &plain);
        b.len--; /* the end of the fields */
        buf_append(&b, tails[i].bytes, tails[i].len);
        in = buf_slice(&b);
        assert_int_equal(row_decode(&in, &row, &err), tails[i].code);
    }
    buf_free(&b);
}

static void test_every_truncation_is_data_loss(void **state)
{
    uint8_t bytes[sizeof golden];
    size_t len = unhex(golden, bytes);
    struct engine_result result;
    struct engine_row row;
    struct error err;

    (void)state;
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(row_decode_done(slice(bytes, cut), &row, &result, &err), CODE_DATA_LOSS);
    bytes[len] = 0; /* left over */
    assert_int_equal(row_decode_done(slice(bytes, len + 1), &row, &result, &err), CODE_DATA_LOSS);
}

static void test_impossible_values(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        int code;
    } damages[] = {
        {0, 3, CODE_FAILED_PRECONDITION},                            /* a later version */
        {0, 0, CODE_DATA_LOSS},           {1, 0xff, CODE_DATA_LOSS}, /* flags */
        {1, 0x03, CODE_DATA_LOSS}, /* done by its state, not by its flags */
        {2, CALL_STATES, CODE_DATA_LOSS}, {3, STATUS_COUNT, CODE_DATA_LOSS},
        {20, 0, CODE_DATA_LOSS}, /* generation 0 */
    };
    uint8_t bytes[sizeof golden];
    struct engine_result result;
    struct engine_row row;
    struct error err;

    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        size_t len = unhex(golden, bytes);

        bytes[damages[i].at] = damages[i].value;
        assert_int_equal(row_decode_done(slice(bytes, len), &row, &result, &err), damages[i].code);
    }
}

static void test_live_rows(void **state)
{
    struct engine_row live = full, row;
    struct error err;
    struct buf b;
    struct slice in;

    (void)state;
    live.state = CALL_SUSPENDED;
    live.fresh = false;
    live.poll_timer = live.has_poll_error = true;
    live.due = -5;
    buf_init(&b, 1000);
    row_encode(&b, &live);
    in = buf_slice(&b);
    assert_int_equal(row_decode(&in, &row, &err), 0);
    assert_int_equal(in.len, 0);
    assert_true(row.due == -5 && row.poll_timer && row.has_poll_error && !row.fresh);
    assert_int_equal(row.finish, 0); /* ends are written of ended calls only */
    buf_free(&b);
}

/* The fields that only a root of a retry, and a call completed from outside, have. */
static void test_fields_of_few(void **state)
{
    struct engine_row row = {.id = 5, .generation = 1, .due = TIME_NEVER, .state = CALL_WAITING},
                      back;
    struct error err;
    struct slice in;
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    row.retry_of = 4;
    row.key = slice_str("approval 7");
    row_encode(&out, &row);
    in = buf_slice(&out);
    /* retry_of, key, end */
    assert_memory_equal((const char *)in.data + in.len - 15, "\3\4\4\12approval 7\0", 15);
    assert_int_equal(row_decode(&in, &back, &err), 0);
    assert_true(in.len == 0 && back.retry_of == 4 && slice_eq(back.key, row.key));
    row.depth = 1; /* only roots are retries */
    buf_reset(&out);
    row_encode(&out, &row);
    in = buf_slice(&out);
    assert_int_equal(row_decode(&in, &back, &err), CODE_DATA_LOSS);
    buf_free(&out);
}

static void test_size_classes(void **state)
{
    (void)state;
    assert_int_equal(row_size_class(0), 0);
    assert_int_equal(row_class_size(0), 0);
    for (size_t len = 1; len < 5000000; len += 1 + len / 7) {
        uint64_t size = row_class_size(row_size_class(len));

        assert_true(size >= len && (size <= 48 || size <= len + len / 2 + 1));
    }
    assert_true(row_class_size(ROW_SIZE_CLASSES - 1) > UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_golden_of_version_1),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_fields_of_few),
        cmocka_unit_test(test_size_classes),
        cmocka_unit_test(test_every_truncation_is_data_loss),
        cmocka_unit_test(test_impossible_values),
        cmocka_unit_test(test_live_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
