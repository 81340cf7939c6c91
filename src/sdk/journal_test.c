// SPDX-License-Identifier: Apache-2.0
/* The journal's bytes: golden ones of version 1, every record there and back, damage, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/journal.h"

#define INT_TYPE "type.googleapis.com/google.protobuf.Int64Value"

/* One of every kind, in an order that could be. */
static void fill(struct journal *j)
{
    struct journal_result value = {.type_url = slice_str(INT_TYPE), .output = slice("\x08\x07", 2)};
    struct journal_result failure = {.failed = true,
                                     .status = 7,
                                     .type = slice_str("Overdrawn"),
                                     .message = slice_str("no money"),
                                     .value = slice("\0v", 2),
                                     .traceback = slice_str("at charge (saga.c:42)\n"),
                                     .dispatch_id = slice_str("id1")};
    struct journal_record records[] = {
        {.kind = JOURNAL_BASE, .number = 100, .correlation = 9},
        {.kind = JOURNAL_INPUT, .type_url = slice_str(INT_TYPE), .bytes = slice("\x08\x05", 2)},
        {.kind = JOURNAL_STATE, .name = slice_str("x86_64"), .bytes = slice("\1\0\0\0", 4)},
        {.kind = JOURNAL_NOW, .time_ns = 1700000000000000000},
        {.kind = JOURNAL_RANDOM, .number = UINT64_MAX - 1},
        {.kind = JOURNAL_PATCHED, .name = slice_str("new tariff")},
        {.kind = JOURNAL_CALL, .name = slice_str("charge"), .digest = 0xdeadbeef},
        {.kind = JOURNAL_START, .name = slice_str("charge"), .digest = 1},
        {.kind = JOURNAL_SPAWN, .name = slice_str("audit")},
        {.kind = JOURNAL_SLEEP, .time_ns = 5},
        {.kind = JOURNAL_TIMER, .time_ns = -5},
        {.kind = JOURNAL_AWAIT},
        {.kind = JOURNAL_ALL, .number = 2},
        {.kind = JOURNAL_ANY, .number = 300},
        {.kind = JOURNAL_RACE, .number = 0},
        {.kind = JOURNAL_STEP, .name = slice_str("write"), .result = value},
        {.kind = JOURNAL_LAZY, .name = slice_str("read")},
        {.kind = JOURNAL_POLL, .number = 2},
        {.kind = JOURNAL_RESULT, .correlation = 9, .result = value},
        {.kind = JOURNAL_RESULT, .correlation = 10, .result = failure},
        {.kind = JOURNAL_FIRED, .correlation = 11},
        {.kind = JOURNAL_REFUSED, .result = failure},
        {.kind = JOURNAL_DISPATCH, .digest = 0x04030201, .result = value},
    };

    assert_int_equal(journal_init(j, NULL), 0);
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        assert_int_equal(journal_append(j, &records[i], NULL), 0);
}

static const char golden[] =
    "444a0101640902002e747970652e676f6f676c65617069732e636f6d2f676f6f676c652e70726f746f627566"
    "2e496e74363456616c75650208050300067838365f363404010000000f00002a36fe9c971710feffffffffff"
    "ffff11000a6e657720746172696666040006636861726765efbeadde05040100000006000561756469740705"
    "0000000000000008fbffffffffffffff090a020bac020c000d0005777269746501010208070e000472656164"
    "00140212090101020807120a060700094f766572647261776e086e6f206d6f6e657902007616617420636861"
    "7267652028736167612e633a3432290a03696431130b15060708086e6f206d6f6e6579020076166174206368"
    "617267652028736167612e633a3432290a0369643116010203040101020807";

static void test_golden(void **state)
{
    struct journal j;
    char *hex;

    (void)state;
    fill(&j);
    hex = malloc(j.bytes.len * 2 + 1);
    for (size_t i = 0; i < j.bytes.len; i++)
        snprintf(hex + 2 * i, 3, "%02x", j.bytes.data[i]);
    assert_string_equal(hex, golden);
    free(hex);
    journal_free(&j);
}

static void describes(const struct journal_record *record, const char *expected)
{
    struct buf text;

    buf_init(&text, 1000);
    journal_describe(record, &text);
    assert_string_equal(buf_cstr(&text), expected);
    buf_free(&text);
}

static void test_reading(void **state)
{
    struct journal j, again, out;
    struct journal_record record;

    (void)state;
    fill(&j);
    assert_true(journal_at_end(&j));
    assert_int_equal(journal_load(&again, buf_slice(&j.bytes), NULL), 0);
    assert_int_equal(journal_init(&out, NULL), 0);
    for (int i = 0; i < 23; i++) {
        assert_false(journal_at_end(&again));
        assert_int_equal(journal_next(&again, &record, NULL), 0);
        assert_int_equal(record.position, 100 + (uint64_t)i);
        if (record.kind == JOURNAL_CALL) {
            assert_int_equal(record.correlation, 9);
            assert_int_equal(record.digest, 0xdeadbeef);
            describes(&record, "call of 'charge'");
        } else if (record.kind == JOURNAL_TIMER) {
            assert_int_equal(record.correlation, 12);
            assert_int_equal(record.time_ns, -5);
            describes(&record, "timer");
        } else if (record.kind == JOURNAL_ANY) {
            describes(&record, "any of 300");
        } else if (record.kind == JOURNAL_RESULT && record.result.failed) {
            assert_true(slice_eq_str(record.result.type, "Overdrawn"));
            assert_true(slice_eq_str(record.result.dispatch_id, "id1"));
            assert_int_equal(record.result.value.len, 2);
            describes(&record, "result of call 10");
        }
        assert_int_equal(journal_append(&out, &record, NULL), 0);
    }
    assert_true(journal_at_end(&again));
    assert_true(slice_eq(buf_slice(&j.bytes), buf_slice(&out.bytes)));
    assert_true(journal_is_await(JOURNAL_SLEEP) && !journal_is_await(JOURNAL_RESULT));
    /* Appending goes on where reading ended, with the names that were read. */
    record = (struct journal_record){.kind = JOURNAL_CALL, .name = slice_str("charge")};
    assert_int_equal(journal_append(&again, &record, NULL), 0);
    assert_int_equal(again.bytes.len, j.bytes.len + 6);
    assert_int_equal(record.correlation, 13);
    journal_free(&j);
    journal_free(&again);
    journal_free(&out);
}

static int read_all(struct slice bytes, struct error *err)
{
    struct journal_record record;
    struct journal j;
    int rc = journal_load(&j, bytes, err);

    if (rc)
        return rc;
    while (!rc && !journal_at_end(&j))
        rc = journal_next(&j, &record, err);
    journal_free(&j);
    return rc;
}

static void test_damage(void **state)
{
    struct error err = {0};
    struct journal j;
    size_t whole = 0;

    (void)state;
    fill(&j);
    for (size_t len = 0; len <= j.bytes.len; len++) {
        int rc = read_all(slice(j.bytes.data, len), &err);

        assert_true(rc == 0 || rc == CODE_DATA_LOSS);
        whole += rc == 0;
    }
    assert_int_equal(whole, 24); /* cut between records, it is a journal */
    assert_int_equal(read_all(slice_str("DJ\2"), &err), CODE_UNIMPLEMENTED);
    assert_string_equal(err.message, "the journal has version 2, and this code knows version 1");
    assert_int_equal(read_all(slice_str("DJ\1\x63"), &err), CODE_UNIMPLEMENTED);
    assert_int_equal(read_all(slice_str("state"), &err), CODE_DATA_LOSS);
    assert_int_equal(read_all(slice("DJ\1\4\1____", 9), &err), CODE_DATA_LOSS); /* name 1 of none */
    assert_string_equal(err.message, "the journal is malformed: call at byte 3");
    journal_free(&j);
}

/* More names than are numbered, and names too long for it: the reader agrees with the writer. */
static void test_names(void **state)
{
    char name[JOURNAL_NAME_MAX + 2], expected[sizeof name];
    struct journal j, again;

    (void)state;
    assert_int_equal(journal_init(&j, NULL), 0);
    for (int i = 0; i < 2 * (JOURNAL_NAMES + 10); i++) {
        struct journal_record record = {.kind = JOURNAL_SPAWN};

        snprintf(name, sizeof name, "%0*d", i % 7 ? 10 : JOURNAL_NAME_MAX + 1, i / 2);
        record.name = slice_str(name);
        assert_int_equal(journal_append(&j, &record, NULL), 0);
    }
    assert_int_equal(j.name_count, JOURNAL_NAMES);
    assert_int_equal(journal_load(&again, buf_slice(&j.bytes), NULL), 0);
    for (int i = 0; i < 2 * (JOURNAL_NAMES + 10); i++) {
        struct journal_record record;

        assert_int_equal(journal_next(&again, &record, NULL), 0);
        snprintf(expected, sizeof expected, "%0*d", i % 7 ? 10 : JOURNAL_NAME_MAX + 1, i / 2);
        assert_true(slice_eq_str(record.name, expected));
    }
    journal_free(&j);
    journal_free(&again);
}

static void test_limit(void **state)
{
    static char large[1 << 20];
    struct journal_record record = {.kind = JOURNAL_STATE, .bytes = slice(large, sizeof large)};
    struct error err = {0};
    struct journal j;
    int rc = 0, count = 0;

    (void)state;
    assert_int_equal(journal_init(&j, NULL), 0);
    while (!rc && count++ < 100)
        rc = journal_append(&j, &record, &err);
    assert_int_equal(rc, CODE_RESOURCE_EXHAUSTED);
    assert_int_equal(count, 8);
    assert_non_null(strstr(err.message, "dispatch_checkpoint"));
    journal_free(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_reading),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_names),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
