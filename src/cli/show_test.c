// SPDX-License-Identifier: Apache-2.0
/* Values in and out, and how a call and its journal are shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/show.h"
#include "cli/value.h"
#include "sdk/journal.h"

const struct cli_command *const cli_commands[] = {NULL};

struct page {
    struct buf out;
    struct arena arena;
    struct show show;
};

static int setup(void **state)
{
    struct page *page = calloc(1, sizeof *page);

    assert_non_null(page);
    buf_init(&page->out, 1 << 20);
    arena_init(&page->arena, 1 << 20);
    page->show =
        (struct show){.out = &page->out, .arena = &page->arena, .now = 1700000100 * NS_PER_S};
    *state = page;
    return 0;
}

static int teardown(void **state)
{
    struct page *page = *state;

    buf_free(&page->out);
    arena_reset(&page->arena);
    free(page);
    return 0;
}

static void assert_page(struct page *page, const char *wanted)
{
    assert_false(page->out.failed);
    assert_string_equal(buf_cstr(&page->out), wanted);
    buf_reset(&page->out);
}

/* --- values ----------------------------------------------------------------------------------- */

static void test_values(void **state)
{
    static const struct {
        const char *json, *type, *shown;
    } values[] = {
        {"true", "BoolValue", "true"},
        {" 42\n", "Int64Value", "42"},
        {"-9223372036854775808", "Int64Value", "-9223372036854775808"},
        {"1.5", "DoubleValue", "1.5"},
        {"1e3", "DoubleValue", "1000"},
        {"\"a\\u0000\\\"b, \\\"value\\\":c\"", "StringValue", "\"a\\u0000\\\"b, \\\"value\\\":c\""},
        {"[1, {\"a\": null}]", "Value", "[1,{\"a\":null}]"},
        {"{\"a\": 1}", "Value", "{\"a\":1}"},
        {"{ \"@type\": \"type.googleapis.com/google.protobuf.Duration\", \"value\": \"3s\"}",
         "Duration", "\"3s\""},
        {"{\"@type\":\"type.googleapis.com/google.protobuf.UInt64Value\","
         "\"value\":\"18446744073709551615\"}",
         "UInt64Value", "18446744073709551615"},
        {"{\"@type\":\"type.googleapis.com/google.protobuf.BytesValue\",\"value\":\"AQI=\"}",
         "BytesValue", "<2 bytes>"},
        {"{\"@type\":\"x/acme.Order\",\"value\":\"AQ==\"}", NULL, "<acme.Order, 1 byte>"},
    };
    struct page *page = *state;

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        wire_any *any = NULL;
        struct error err = {0};

        assert_int_equal(value_parse(slice_str(values[i].json), &page->arena, &any, &err), 0);
        if (values[i].type)
            assert_string_equal(strrchr(any->type_url, '.') + 1, values[i].type);
        value_show(any, true, &page->arena, &page->out);
        assert_page(page, values[i].shown);
    }
}

static void test_arguments(void **state)
{
    wire_arguments arguments = DISPATCH__SDK__C__V1__ARGUMENTS__INIT;
    wire_keyword_argument keyword = DISPATCH__SDK__C__V1__ARGUMENTS__KEYWORD_ENTRY__INIT;
    wire_keyword_argument *keywords[] = {&keyword};
    wire_any any = GOOGLE__PROTOBUF__ANY__INIT, *positional[1];
    struct page *page = *state;
    char key[] = "k", url[] = "x/dispatch.sdk.c.v1.Arguments";
    struct blob *packed;

    assert_int_equal(value_parse(slice_str("1"), &page->arena, &positional[0], NULL), 0);
    assert_int_equal(value_parse(slice_str("\"v\""), &page->arena, &keyword.value, NULL), 0);
    keyword.key = key;
    arguments.n_positional = arguments.n_keyword = 1;
    arguments.positional = positional;
    arguments.keyword = keywords;
    packed = wire_pack_blob(&arguments);
    assert_non_null(packed);
    any.type_url = url;
    any.value = (ProtobufCBinaryData){packed->len, (uint8_t *)(uintptr_t)blob_slice(packed).data};
    value_show(&any, true, &page->arena, &page->out);
    assert_page(page, "(1, k=\"v\")");
    blob_unref(packed);
}

static void test_no_value(void **state)
{
    struct page *page = *state;
    wire_any *any = (wire_any *)page;
    struct error err;

    assert_int_equal(value_parse(slice_str("null"), &page->arena, &any, &err), 0);
    assert_null(any);
    value_show(NULL, false, &page->arena, &page->out);
    assert_page(page, "null");
}

static void test_bad_values(void **state)
{
    static const struct {
        const char *json, *message;
    } values[] = {
        {"", "it is empty"},
        {"hello", "'hello' is no JSON: a text wants quotes"},
        {"[1", "JSON"},
        {"{\"a\":1", "JSON"},
        {"\"open", "JSON"},
        {"tru", "JSON"},
        {"9223372036854775808", "value"},
        {"1}", "JSON"},
        {"{\"@type\":\"x/google.protobuf.Int64Value\",\"value\":true}", "value"},
    };
    struct page *page = *state;

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        wire_any *any = NULL;
        struct error err = {0};

        assert_int_equal(value_parse(slice_str(values[i].json), &page->arena, &any, &err),
                         CODE_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, values[i].message));
        assert_null(any);
    }
}

/* --- calls ------------------------------------------------------------------------------------ */

static void test_spans(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } spans[] = {{-5, "0 ms"},
                 {350 * NS_PER_MS, "350 ms"},
                 {3250 * NS_PER_MS, "3.2 s"},
                 {312 * NS_PER_S, "5m12s"},
                 {11100 * NS_PER_S, "3h05m"},
                 {183600 * NS_PER_S, "2d3h"}};
    struct page *page = *state;

    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        show_span(spans[i].ns, &page->out);
        assert_page(page, spans[i].text);
    }
}

static char *writable(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void test_call(void **state)
{
    Dispatch__V1__CallInfo call = DISPATCH__V1__CALL_INFO__INIT;
    wire_timestamp created = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    wire_timestamp expires = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    struct page *page = *state;
    char traceback[] = "at a\n\tb";

    call.dispatch_id = writable("id");
    call.function = writable("f\033[31m");
    call.state = DISPATCH__V1__STATE__STATE_WAITING;
    call.status = DISPATCH__SDK__V1__STATUS__STATUS_THROTTLED;
    call.waiting_for = writable("retry in 3.2 s after THROTTLED");
    wire_set_time(&created, 1700000000 * NS_PER_S + 5 * NS_PER_MS);
    wire_set_time(&expires, 1700000160 * NS_PER_S);
    call.creation_time = &created;
    call.expiration_time = &expires;
    call.attempts = 2;
    call.generation = 1;
    error.type = writable("Busy");
    error.message = writable("one\ntwo\xc2\x9b");
    error.traceback = (ProtobufCBinaryData){sizeof traceback - 1, (uint8_t *)traceback};
    call.last_error = &error;
    show_call(&page->show, &call);
    assert_page(page, "call          id\n"
                      "function      f?[31m\n"
                      "state         waiting, the last attempt was THROTTLED\n"
                      "waiting for   retry in 3.2 s after THROTTLED\n"
                      "created       2023-11-14T22:13:20.005Z (1m39s ago)\n"
                      "expires       2023-11-14T22:16:00.000Z (in 1m00s)\n"
                      "attempts      2\n"
                      "generation    1\n"
                      "input         null\n"
                      "last error    Busy: one\n"
                      "              two?\n"
                      "              at a\n"
                      "                  b\n");
}

/* --- states ----------------------------------------------------------------------------------- */

static void append(struct journal *journal, struct journal_record record)
{
    assert_int_equal(journal_append(journal, &record, NULL), 0);
}

/* Of a function that called, slept, and had an error back. */
static void make_journal(struct journal *journal)
{
    assert_int_equal(journal_init(journal, NULL), 0);
    append(journal, (struct journal_record){.kind = JOURNAL_BASE, .correlation = 1});
    append(journal, (struct journal_record){.kind = JOURNAL_CALL, .name = slice_str("report")});
    append(journal, (struct journal_record){.kind = JOURNAL_SLEEP, .time_ns = NS_PER_S});
    append(journal, (struct journal_record){.kind = JOURNAL_RESULT,
                                            .correlation = 1,
                                            .result = {.failed = true,
                                                       .status = STATUS_TIMEOUT,
                                                       .type = slice_str("Late"),
                                                       .message = slice_str("too \"late\"")}});
}

static wire_any state_of(const struct buf *bytes)
{
    wire_any any = GOOGLE__PROTOBUF__ANY__INIT;

    any.type_url = writable(WIRE_TYPE_PREFIX JOURNAL_TYPE);
    any.value = (ProtobufCBinaryData){bytes->len, bytes->data};
    return any;
}

static void test_journal(void **state)
{
    struct page *page = *state;
    struct journal journal;
    wire_any any;

    make_journal(&journal);
    any = state_of(&journal.bytes);
    show_state(&page->show, &any);
    assert_page(page, "\njournal, 51 bytes\n"
                      "POSITION      CALL      BYTES  STATUS              ENTRY\n"
                      "       0                    3                      base\n"
                      "       1         1         13                      call of 'report'\n"
                      "       2         2          9                      sleep until "
                      "1970-01-01T00:00:01.000Z\n"
                      "       3         1         23  TIMEOUT             result of call 1: Late: "
                      "too \"late\"\n");
    assert_true(show_state_json(&any, &page->arena, &page->out));
    assert_page(
        page, "\"journal\":[{\"position\":0,\"kind\":\"base\",\"bytes\":3},"
              "{\"position\":1,\"kind\":\"call\",\"bytes\":13,\"name\":\"report\",\"call\":1},"
              "{\"position\":2,\"kind\":\"sleep\",\"bytes\":9,\"call\":2,\"time\":"
              "\"1970-01-01T00:00:01.000Z\"},"
              "{\"position\":3,\"kind\":\"result\",\"bytes\":23,\"call\":1,\"status\":\"TIMEOUT\","
              "\"errorType\":\"Late\",\"errorMessage\":\"too \\\"late\\\"\"}]");
    journal_free(&journal);
}

/* Cut anywhere, it is shown up to there, and says so. */
static void test_damaged(void **state)
{
    struct page *page = *state;
    struct journal journal;
    wire_any any;

    make_journal(&journal);
    any = state_of(&journal.bytes);
    for (any.value.len = 0; any.value.len < journal.bytes.len; any.value.len++) {
        bool whole =
            any.value.len == 3 || any.value.len == 6 || any.value.len == 19 || any.value.len == 28;
        const char *text;

        show_state(&page->show, &any);
        text = buf_cstr(&page->out);
        assert_int_equal(!strstr(text, "no further: ") && !strstr(text, "cannot be read: "), whole);
        buf_reset(&page->out);
        if (show_state_json(&any, &page->arena, &page->out))
            assert_int_equal(!strstr(buf_cstr(&page->out), "journalError"), whole);
        else
            assert_true(any.value.len < 3);
        buf_reset(&page->out);
    }
    journal_free(&journal);
}

static void test_foreign_state(void **state)
{
    struct page *page = *state;
    wire_any any = GOOGLE__PROTOBUF__ANY__INIT;

    any.type_url = writable("x/acme.State");
    any.value = (ProtobufCBinaryData){3, (uint8_t *)writable("abc")};
    show_state(&page->show, &any);
    assert_page(page, "state         acme.State, 3 bytes\n");
    assert_false(show_state_json(&any, &page->arena, &page->out));
    assert_false(show_state_json(NULL, &page->arena, &page->out));
    assert_page(page, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_value, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_state, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
