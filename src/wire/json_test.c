// SPDX-License-Identifier: Apache-2.0
/* Proto JSON: golden texts both ways, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "wire/wire.h"

#define DISPATCH_REQUEST (&dispatch__sdk__v1__dispatch_request__descriptor)
#define RUN_REQUEST      (&dispatch__sdk__v1__run_request__descriptor)
#define RUN_RESPONSE     (&dispatch__sdk__v1__run_response__descriptor)
#define ANY              (&google__protobuf__any__descriptor)
#define ANY_OF(type)     "{\"@type\":\"type.googleapis.com/google.protobuf." type "\""

struct fixture {
    struct arena arena;
    struct buf buf;
    struct error err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (!f)
        return 1;
    arena_init(&f->arena, 1 << 20);
    buf_init(&f->buf, 1 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_reset(&f->arena);
    buf_free(&f->buf);
    free(f);
    return 0;
}

/* text -> message -> bytes -> message -> text gives `expected`. */
static void becomes(struct fixture *f, const ProtobufCMessageDescriptor *type, const char *text,
                    const char *expected)
{
    ProtobufCMessage *message = NULL, *again = NULL;
    int rc = wire_from_json(type, slice_str(text), &f->arena, &message, &f->err);

    if (rc)
        fail_msg("%s: %s", text, f->err.message);
    buf_reset(&f->buf);
    wire_pack(message, &f->buf);
    assert_false(f->buf.failed);
    assert_int_equal(wire_unpack(type, buf_slice(&f->buf), &f->arena, &again, &f->err), 0);
    buf_reset(&f->buf);
    wire_to_json(again, &f->buf);
    assert_false(f->buf.failed);
    assert_string_equal(buf_cstr(&f->buf), expected);
}

static void same(struct fixture *f, const ProtobufCMessageDescriptor *type, const char *text)
{
    becomes(f, type, text, text);
}

static void refused(struct fixture *f, const ProtobufCMessageDescriptor *type, const char *text,
                    const char *words)
{
    ProtobufCMessage *message = NULL;

    f->err.message[0] = '\0';
    assert_int_equal(wire_from_json(type, slice_str(text), &f->arena, &message, &f->err),
                     CODE_INVALID_ARGUMENT);
    assert_null(message);
    if (!strstr(f->err.message, words))
        fail_msg("\"%s\" has not \"%s\"", f->err.message, words);
}

static void messages(void **state)
{
    struct fixture *f = *state;

    same(f, DISPATCH_REQUEST, "{}");
    same(f, DISPATCH_REQUEST,
         "{\"calls\":[{\"correlationId\":\"18446744073709551615\",\"endpoint\":\"http://a\","
         "\"function\":\"f\",\"input\":" ANY_OF("Int64Value") ",\"value\":\"-5\"},"
                                                              "\"expiration\":\"1.500s\"},{}]}");
    same(f, RUN_RESPONSE,
         "{\"status\":\"STATUS_OK\",\"poll\":{\"coroutineState\":\"/wA=\","
         "\"calls\":[{\"function\":\"g\"}],\"maxWait\":\"0s\",\"maxResults\":-1,"
         "\"wakeOnError\":true,\"cancel\":[\"1\",\"2\"]}}");
    same(f, RUN_REQUEST,
         "{\"function\":\"f\",\"pollResult\":{\"results\":[{\"error\":{\"message\":\"m\","
         "\"status\":\"STATUS_TIMEOUT\"}}]},\"creationTime\":\"1970-01-01T00:00:00Z\","
         "\"generation\":3}");
    /* an empty submessage stays, null is absence, unknown fields go */
    same(f, RUN_RESPONSE, "{\"exit\":{\"result\":{}}}");
    becomes(f, RUN_RESPONSE, "{\"exit\":null,\"poll\":{},\"new\":[1,{}]}", "{\"poll\":{}}");
    becomes(f, RUN_RESPONSE, "{\"status\":6}", "{\"status\":\"STATUS_TEMPORARY_ERROR\"}");
    same(f, RUN_RESPONSE, "{\"status\":99}");
    becomes(f, DISPATCH_REQUEST, "{\"calls\":[]}", "{}");
    becomes(f, RUN_REQUEST, "{\"poll_result\":{\"coroutine_state\":\"_w\"}}",
            "{\"pollResult\":{\"coroutineState\":\"/w==\"}}");
}

static void strings(void **state)
{
    struct fixture *f = *state;

    same(f, RUN_REQUEST,
         "{\"function\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\xc3\xa9\xf0\x9f\x98\x80\"}");
    becomes(f, RUN_REQUEST, "{\"function\":\"\\ud83d\\ude00\\/\"}",
            "{\"function\":\"\xf0\x9f\x98\x80/\"}");

    wire_run_request message = DISPATCH__SDK__V1__RUN_REQUEST__INIT;

    message.function = (char *)"a\xff"
                               "b\xc3";
    buf_reset(&f->buf);
    wire_to_json(&message, &f->buf);
    assert_string_equal(buf_cstr(&f->buf), "{\"function\":\"a\xef\xbf\xbd"
                                           "b\xef\xbf\xbd\"}");
}

static void numbers(void **state)
{
    struct fixture *f = *state;

    becomes(f, RUN_REQUEST, "{\"generation\":4294967295}", "{\"generation\":4294967295}");
    becomes(f, RUN_REQUEST, "{\"generation\":\"7\",\"resume\":2.0}",
            "{\"generation\":7,\"resume\":2}");
    becomes(f, DISPATCH_REQUEST, "{\"calls\":[{\"priority\":-2147483648}]}",
            "{\"calls\":[{\"priority\":-2147483648}]}");
    becomes(f, DISPATCH_REQUEST, "{\"calls\":[{\"correlationId\":12}]}",
            "{\"calls\":[{\"correlationId\":\"12\"}]}");
    refused(f, RUN_REQUEST, "{\"generation\":4294967296}",
            "generation: out of the range of unsigned");
    refused(f, RUN_REQUEST, "{\"generation\":-1}", "out of the range");
    refused(f, RUN_REQUEST, "{\"generation\":1.5}", "with a fraction");
    refused(f, RUN_REQUEST, "{\"generation\":\"1x\"}", "a string that is none");
    refused(f, RUN_REQUEST, "{\"generation\":\"\"}", "expected an integer");
    refused(f, RUN_REQUEST, "{\"generation\":true}", "expected an integer, got a boolean");
    refused(f, DISPATCH_REQUEST, "{\"calls\":[{\"priority\":2147483648}]}", "out of the range");
    refused(f, DISPATCH_REQUEST, "{\"calls\":[{\"correlationId\":\"18446744073709551616\"}]}",
            "a string that is none");
    refused(f, DISPATCH_REQUEST, "{\"calls\":[{\"correlationId\":18446744073709551616}]}",
            "too large");
}

static void any(void **state)
{
    struct fixture *f = *state;

    same(f, ANY, "{}");
    same(f, ANY, ANY_OF("BoolValue") ",\"value\":true}");
    same(f, ANY, ANY_OF("BoolValue") ",\"value\":false}");
    same(f, ANY, ANY_OF("Int32Value") ",\"value\":-1}");
    same(f, ANY, ANY_OF("UInt64Value") ",\"value\":\"18446744073709551615\"}");
    same(f, ANY, ANY_OF("FloatValue") ",\"value\":0.1}");
    same(f, ANY, ANY_OF("DoubleValue") ",\"value\":0.1}");
    same(f, ANY, ANY_OF("DoubleValue") ",\"value\":-1.7976931348623157e+308}");
    same(f, ANY, ANY_OF("DoubleValue") ",\"value\":\"NaN\"}");
    same(f, ANY, ANY_OF("DoubleValue") ",\"value\":\"-Infinity\"}");
    becomes(f, ANY, ANY_OF("DoubleValue") ",\"value\":\"1e2\"}",
            ANY_OF("DoubleValue") ",\"value\":100}");
    same(f, ANY, ANY_OF("StringValue") ",\"value\":\"a\\u0000b\"}");
    same(f, ANY, ANY_OF("StringValue") ",\"value\":\"\"}");
    same(f, ANY, ANY_OF("BytesValue") ",\"value\":\"AAE=\"}");
    same(f, ANY, ANY_OF("Timestamp") ",\"value\":\"2024-02-29T12:00:00.000000001Z\"}");
    same(f, ANY, ANY_OF("Duration") ",\"value\":\"-0.500s\"}");
    same(f, ANY, ANY_OF("Value") ",\"value\":{\"a\":[1,2.5,null,true,\"x\\u0000\",{}],\"b\":{}}}");
    same(f, ANY, ANY_OF("Value") ",\"value\":null}");
    same(f, ANY, ANY_OF("Value") ",\"value\":[-0.0,0]}");
    same(f, ANY, ANY_OF("Struct") ",\"value\":{\"k\":[]}}");
    same(f, ANY, ANY_OF("ListValue") ",\"value\":[[],[[]]]}");
    becomes(f, ANY, ANY_OF("Empty") ",\"value\":{}}", ANY_OF("Empty") "}");
    same(f, ANY, ANY_OF("Any") ",\"value\":" ANY_OF("Empty") "}}");
    same(f, ANY,
         "{\"@type\":\"buf.build/stealthrocket/dispatch-proto/dispatch.sdk.python.v1.Pickled\","
         "\"pickledValue\":\"gAQ=\"}");
    same(f, ANY, "{\"@type\":\"x/coroutine.v1.State\",\"value\":\"AP8=\"}");
    refused(f, ANY, ANY_OF("Value") "}", "has no \"value\"");
    refused(f, ANY, "{\"value\":1}", "has no \"@type\"");
    refused(f, ANY, "[]", "expected an object with \"@type\", got an array");
    refused(f, ANY, "{\"@type\":\"x/y\",\"value\":1}", "value: expected a string of base64");
    refused(f, ANY, ANY_OF("ListValue") ",\"value\":{}}", "value: expected an array");
    refused(f, ANY, ANY_OF("FloatValue") ",\"value\":1e39}", "value: out of the range of a float");
}

/* Bytes that are not what the URL says are shown as they are. */
static void any_with_wrong_bytes(void **state)
{
    struct fixture *f = *state;
    wire_any message = GOOGLE__PROTOBUF__ANY__INIT;
    static const char *const types[] = {"Int64Value", "StringValue", "Value"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        message.type_url = arena_printf(&f->arena, "t/google.protobuf.%s", types[i]);
        message.value.data = (uint8_t *)"\xff";
        message.value.len = 1;
        buf_reset(&f->buf);
        wire_to_json(&message, &f->buf);
        assert_false(f->buf.failed);
        assert_string_equal(
            buf_cstr(&f->buf),
            arena_printf(&f->arena, "{\"@type\":\"%s\",\"value\":\"/w==\"}", message.type_url));
    }
}

static void wrong_kinds(void **state)
{
    struct fixture *f = *state;

    refused(f, DISPATCH_REQUEST, "", "not valid JSON");
    refused(f, DISPATCH_REQUEST, "[]", "expected an object, got an array");
    refused(f, DISPATCH_REQUEST, "{\"calls\":{}}", "calls: expected an array, got an object");
    refused(f, DISPATCH_REQUEST, "{\"calls\":[{},{},{},{\"endpoint\":1}]}",
            "calls[3].endpoint: expected a string, got a number");
    refused(f, DISPATCH_REQUEST, "{\"calls\":[null]}", "calls[0]: expected an object, got null");
    refused(f, DISPATCH_REQUEST, "{\"calls\":[{\"function\":\"a\\u0000\"}]}",
            "calls[0].function: contains a NUL");
    refused(f, DISPATCH_REQUEST, "{\"calls\":[],\"calls\":[]}", "duplicate");
    refused(f, DISPATCH_REQUEST, "{} x", "not valid JSON");
    refused(f, DISPATCH_REQUEST, "{\"calls\":\"\xff\"}", "not valid JSON");
    refused(f, RUN_RESPONSE, "{\"status\":\"NOPE\"}", "\"NOPE\" is no value of");
    refused(f, RUN_RESPONSE, "{\"status\":{}}", "status: expected the name or number");
    refused(f, RUN_RESPONSE, "{\"exit\":{},\"poll\":{}}", "poll: excludes exit");
    refused(f, RUN_RESPONSE, "{\"exit\":{\"tailCall\":{},\"tail_call\":{}}}",
            "exit: has tail_call twice");
    refused(f, RUN_RESPONSE, "{\"poll\":{\"wakeOnError\":1}}", "expected a boolean");
    refused(f, RUN_RESPONSE, "{\"poll\":{\"coroutineState\":\"a\"}}", "not valid base64");
    refused(f, RUN_RESPONSE, "{\"poll\":{\"coroutineState\":\"a=b=\"}}", "not valid base64");
    refused(f, RUN_RESPONSE, "{\"poll\":{\"coroutineState\":3}}", "expected a string of base64");
    refused(f, RUN_RESPONSE, "{\"poll\":{\"maxWait\":3}}", "expected a string like \"1.5s\"");
}

static void times(void **state)
{
    static const char *const bad_timestamps[] = {
        "",
        "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.0000000001Z",
        "0000-12-31T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "2024-01-01T00:00:00Zx",
    };
    static const char *const bad_durations[] = {
        "", "s", "1", "1.s", "-", "+1s", "1.0000000000s", "315576000001s", "1 s"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof bad_timestamps / sizeof *bad_timestamps; i++)
        refused(f, RUN_REQUEST, arena_printf(&f->arena, "{\"now\":\"%s\"}", bad_timestamps[i]),
                "not of the form");
    for (size_t i = 0; i < sizeof bad_durations / sizeof *bad_durations; i++)
        refused(f, RUN_RESPONSE,
                arena_printf(&f->arena, "{\"poll\":{\"maxWait\":\"%s\"}}", bad_durations[i]),
                "not of the form");
    same(f, RUN_REQUEST, "{\"now\":\"0001-01-01T00:00:00Z\"}");
    same(f, RUN_REQUEST, "{\"now\":\"9999-12-31T23:59:59.999999999Z\"}");
    same(f, RUN_REQUEST, "{\"now\":\"1969-12-31T23:59:59.500Z\"}");
    same(f, RUN_REQUEST, "{\"now\":\"2000-02-29T00:00:00Z\"}");
    same(f, RUN_REQUEST, "{\"now\":\"1900-03-01T00:00:00.000001Z\"}");
    becomes(f, RUN_REQUEST, "{\"now\":\"2024-03-01T01:30:00+02:00\"}",
            "{\"now\":\"2024-02-29T23:30:00Z\"}");
    same(f, RUN_RESPONSE, "{\"poll\":{\"maxWait\":\"-315576000000s\"}}");
}

/* Every day of 800 years, against the C library. */
static void every_day(void **state)
{
    struct fixture *f = *state;
    wire_timestamp message = GOOGLE__PROTOBUF__TIMESTAMP__INIT;

    for (int64_t day = -150000; day < 150000; day++) {
        wire_timestamp *back = NULL;
        time_t seconds = day * 86400 + 3723;
        char text[40];
        struct tm tm;

        gmtime_r(&seconds, &tm);
        strftime(text, sizeof text, "\"%Y-%m-%dT%H:%M:%SZ\"", &tm);
        message.seconds = seconds;
        buf_reset(&f->buf);
        wire_to_json(&message, &f->buf);
        assert_string_equal(buf_cstr(&f->buf), text);
        assert_int_equal(wire_from_json(&google__protobuf__timestamp__descriptor,
                                        buf_slice(&f->buf), &f->arena, &back, NULL),
                         0);
        assert_int_equal(back->seconds, seconds);
        arena_rewind(&f->arena);
    }
}

static void nested(struct fixture *f, size_t levels, bool good)
{
    char *text = arena_alloc(&f->arena, 2 * levels + 1);

    memset(text, '[', levels);
    memset(text + levels, ']', levels);
    text[2 * levels] = '\0';
    text = arena_printf(&f->arena, ANY_OF("Value") ",\"value\":%s}", text);
    if (good)
        same(f, ANY, text);
    else
        refused(f, ANY, text, "nested");
}

static void nesting(void **state)
{
    struct fixture *f = *state;

    nested(f, 49, true);
    nested(f, 51, false);
    nested(f, 101, false);
    nested(f, 100000, false);
}

/* A Value as a message of its own, not in an Any. */
static void bare_values(void **state)
{
    struct fixture *f = *state;

    same(f, &google__protobuf__value__descriptor, "{\"a\":[1,\"x\"]}");
    same(f, &google__protobuf__value__descriptor, "null");
    same(f, &google__protobuf__list_value__descriptor, "[]");
    refused(f, &google__protobuf__value__descriptor, "\"a\\u0000\"", "NUL");
    becomes(f, &google__protobuf__value__descriptor, "123456789012345678901",
            "1.2345678901234568e+20");
}

static void memory_is_bounded(void **state)
{
    struct fixture *f = *state;
    static const char text[] =
        "{\"calls\":[{\"function\":\"f\",\"input\":" ANY_OF("Value") ",\"value\":[1,2,3]}}]}";
    wire_dispatch_request *message = NULL;
    bool fitted = false;

    for (size_t max = 0; max < 2000; max += 16) {
        struct arena small;
        int rc;

        arena_init(&small, max);
        rc = wire_from_json(DISPATCH_REQUEST, slice_str(text), &small, &message, &f->err);
        assert_int_equal(rc, fitted ? 0 : rc);
        assert_true(rc == 0 || rc == CODE_RESOURCE_EXHAUSTED);
        fitted = rc == 0;
        arena_reset(&small);
    }
    assert_true(fitted);
}

static void writing_stops_at_the_maximum(void **state)
{
    struct fixture *f = *state;
    wire_dispatch_request *message = NULL;
    static const char text[] =
        "{\"calls\":[{\"function\":\"f\",\"input\":" ANY_OF("BytesValue") ",\"value\":\"AAAA\"}}]}";

    assert_int_equal(
        wire_from_json(DISPATCH_REQUEST, slice_str(text), &f->arena, &message, &f->err), 0);
    for (size_t max = 0; max < sizeof text; max++) {
        struct buf small;

        buf_init(&small, max);
        wire_to_json(message, &small);
        assert_int_equal(small.failed, max < sizeof text - 1);
        buf_free(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages, setup, teardown),
        cmocka_unit_test_setup_teardown(strings, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(any, setup, teardown),
        cmocka_unit_test_setup_teardown(any_with_wrong_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(times, setup, teardown),
        cmocka_unit_test_setup_teardown(every_day, setup, teardown),
        cmocka_unit_test_setup_teardown(nesting, setup, teardown),
        cmocka_unit_test_setup_teardown(bare_values, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(writing_stops_at_the_maximum, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
