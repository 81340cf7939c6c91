// SPDX-License-Identifier: Apache-2.0
/* Values: the Any that each becomes, byte for byte, and what is read from Anys of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/wire.h"

#define BYTES(text) slice(text, sizeof(text) - 1)

static int setup(void **state)
{
    struct arena *arena = calloc(1, sizeof *arena);

    if (!arena)
        return 1;
    arena_init(arena, 1 << 20);
    *state = arena;
    return 0;
}

static int teardown(void **state)
{
    arena_reset(*state);
    free(*state);
    return 0;
}

static wire_any make_any(const char *type, struct slice bytes)
{
    wire_any any = GOOGLE__PROTOBUF__ANY__INIT;

    any.type_url = (char *)type;
    any.value.data = (uint8_t *)bytes.data;
    any.value.len = bytes.len;
    return any;
}

/* Makes the Any, compares it, and returns it read again. */
static struct value there_and_back(struct arena *arena, struct value value, const char *type,
                                   struct slice bytes)
{
    wire_any *any = wire_any_from_value(&value, arena);
    struct value back = {.kind = VALUE_OTHER};
    struct error err;

    assert_non_null(any);
    assert_string_equal(any->type_url, arena_printf(arena, "%s%s", WIRE_TYPE_PREFIX, type));
    assert_true(slice_eq(slice(any->value.data, any->value.len), bytes));
    assert_int_equal(wire_value_from_any(any, arena, &back, &err), 0);
    assert_int_equal(back.kind, value.kind);
    return back;
}

static void scalars(void **state)
{
    struct arena *a = *state;
    struct value v;

    there_and_back(a, (struct value){.kind = VALUE_NONE}, "google.protobuf.Empty", BYTES(""));
    v = there_and_back(a, (struct value){.kind = VALUE_BOOL, .boolean = true},
                       "google.protobuf.BoolValue", BYTES("\x08\x01"));
    assert_true(v.boolean);
    v = there_and_back(a, (struct value){.kind = VALUE_BOOL}, "google.protobuf.BoolValue",
                       BYTES(""));
    assert_false(v.boolean);
    v = there_and_back(a, (struct value){.kind = VALUE_INT, .integer = INT64_MIN},
                       "google.protobuf.Int64Value",
                       BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
    assert_true(v.integer == INT64_MIN);
    v = there_and_back(a, (struct value){.kind = VALUE_UINT, .unsigned_integer = UINT64_MAX},
                       "google.protobuf.UInt64Value",
                       BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    assert_true(v.unsigned_integer == UINT64_MAX);
    v = there_and_back(a, (struct value){.kind = VALUE_DOUBLE, .real = 1.5},
                       "google.protobuf.DoubleValue", BYTES("\x09\0\0\0\0\0\0\xf8\x3f"));
    assert_true(v.real == 1.5);
}

static void times(void **state)
{
    struct arena *a = *state;
    struct value v;

    /* half a second before the epoch is second -1 and half a second */
    v = there_and_back(
        a, (struct value){.kind = VALUE_TIME, .integer = -500000000}, "google.protobuf.Timestamp",
        BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x80\xca\xb5\xee\x01"));
    assert_int_equal(v.integer, -500000000);
    v = there_and_back(a, (struct value){.kind = VALUE_DURATION, .integer = -1500000000},
                       "google.protobuf.Duration",
                       BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                             "\x10\x80\xb6\xca\x91\xfe\xff\xff\xff\xff\x01"));
    assert_int_equal(v.integer, -1500000000);
    v = there_and_back(a, (struct value){.kind = VALUE_TIME}, "google.protobuf.Timestamp",
                       BYTES(""));
    assert_int_equal(v.integer, 0);
}

static void bytes_and_strings(void **state)
{
    struct arena *a = *state;
    struct value v, bad = {.kind = VALUE_STRING, .bytes = BYTES("\xff")};
    uint8_t long_bytes[303] = "\x0a\xac\x02"; /* a field of 300 bytes */

    v = there_and_back(a, (struct value){.kind = VALUE_STRING, .bytes = BYTES("a\0b")},
                       "google.protobuf.StringValue",
                       BYTES("\x0a\x03"
                             "a\0b"));
    assert_true(slice_eq(v.bytes, BYTES("a\0b")));
    v = there_and_back(a, (struct value){.kind = VALUE_STRING}, "google.protobuf.StringValue",
                       BYTES(""));
    assert_int_equal(v.bytes.len, 0);
    v = there_and_back(a, (struct value){.kind = VALUE_BYTES, .bytes = slice(long_bytes + 3, 300)},
                       "google.protobuf.BytesValue", slice(long_bytes, sizeof long_bytes));
    assert_int_equal(v.bytes.len, 300);
    assert_null(wire_any_from_value(&bad, a));
}

static void json(void **state)
{
    static const char *const bad[] = {"",    "{",        "[1,]", "{\"a\":1,\"a\":2}",
                                      "nul", "\"\xff\"", "1 2"};
    struct arena *a = *state;
    struct value v;

    v = there_and_back(a, (struct value){.kind = VALUE_JSON, .bytes = BYTES("{\"a\": [1, null]}")},
                       "google.protobuf.Value",
                       BYTES("\x2a\x18\x0a\x16\x0a\x01"
                             "a\x12\x11\x32\x0f\x0a\x09\x11\0\0\0\0\0\0\xf0\x3f\x0a\x02\x08\0"));
    assert_true(slice_eq_str(v.bytes, "{\"a\":[1,null]}"));
    v = there_and_back(a, (struct value){.kind = VALUE_JSON, .bytes = BYTES(" false")},
                       "google.protobuf.Value", BYTES("\x20\0"));
    assert_true(slice_eq_str(v.bytes, "false"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(wire_any_from_value(
            &(struct value){.kind = VALUE_JSON, .bytes = slice_str(bad[i])}, a));
}

/* Lengths past one byte move what was written after them. */
static void long_json(void **state)
{
    struct arena *a = *state;
    struct buf text;
    struct value v, back;
    wire_any *any;

    buf_init(&text, 1 << 20);
    buf_append_str(&text, "{\"list\":[");
    for (int i = 0; i < 5000; i++)
        buf_printf(&text, "%s[%d,\"%0*d\"]", i ? "," : "", i, i % 200 + 1, i);
    buf_append_str(&text, "]}");
    v = (struct value){.kind = VALUE_JSON, .bytes = buf_slice(&text)};
    arena_reset(a);
    arena_init(a, 8 << 20);
    any = wire_any_from_value(&v, a);
    assert_non_null(any);
    assert_int_equal(wire_value_from_any(any, a, &back, NULL), 0);
    assert_true(slice_eq(back.bytes, v.bytes));
    buf_free(&text);
}

static struct value from(struct arena *arena, const char *type, struct slice bytes)
{
    wire_any any = make_any(type, bytes);
    struct value value = {.kind = VALUE_OTHER};

    assert_int_equal(wire_value_from_any(&any, arena, &value, NULL), 0);
    return value;
}

static void others_write_differently(void **state)
{
    struct arena *a = *state;
    struct value v;

    v = from(a, "google.protobuf.Int32Value",
             BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    assert_int_equal(v.kind, VALUE_INT);
    assert_int_equal(v.integer, -1);
    v = from(a, "x/y/google.protobuf.UInt32Value", BYTES("\x08\x07"));
    assert_int_equal(v.kind, VALUE_UINT);
    v = from(a, "/google.protobuf.FloatValue", BYTES("\x0d\0\0\0\x3f"));
    assert_int_equal(v.kind, VALUE_DOUBLE);
    assert_true(v.real == 0.5);
    v = from(a, "t/google.protobuf.Struct",
             BYTES("\x0a\x03\x0a\x01k")); /* an entry without value */
    assert_true(slice_eq_str(v.bytes, "{\"k\":null}"));
    v = from(a, "t/google.protobuf.ListValue", BYTES("\x0a\0\x0a\x02\x20\x01"));
    assert_true(slice_eq_str(v.bytes, "[null,true]"));
    /* of a oneof the last one counts; of a field too; unknown ones do not */
    v = from(a, "t/google.protobuf.Value", BYTES("\x20\x01\x1a\x01z\x98\x06\x01"));
    assert_true(slice_eq_str(v.bytes, "\"z\""));
    v = from(a, "t/google.protobuf.StringValue", BYTES("\x0a\x01x\x0a\x01y\x10\x01"));
    assert_true(slice_eq_str(v.bytes, "y"));
    v = from(a, "", BYTES(""));
    assert_int_equal(v.kind, VALUE_NONE);
    assert_int_equal(wire_value_from_any(NULL, a, &v, NULL), 0);
    assert_int_equal(v.kind, VALUE_NONE);
}

static void unknown_types_pass_through(void **state)
{
    static const char url[] = WIRE_DISPATCH_PREFIX "dispatch.sdk.python.v1.Pickled";
    struct arena *a = *state;
    struct value v = from(a, url, BYTES("\xff\0\xfe"));
    wire_any *any;

    assert_int_equal(v.kind, VALUE_OTHER);
    assert_true(slice_eq_str(v.type_url, url));
    assert_true(slice_eq(v.bytes, BYTES("\xff\0\xfe")));
    any = wire_any_from_value(&v, a);
    assert_non_null(any);
    assert_string_equal(any->type_url, url);
    assert_true(slice_eq(slice(any->value.data, any->value.len), BYTES("\xff\0\xfe")));
    v = from(a, "google.protobuf.Any", BYTES("\xff"));
    assert_int_equal(v.kind, VALUE_OTHER);
}

static void malformed(void **state)
{
    static const struct {
        const char *type;
        struct slice bytes;
    } cases[] = {
        {"google.protobuf.Int64Value", {"\x08", 1}},
        {"google.protobuf.Int64Value", {"\x0a\x01x", 3}},
        {"google.protobuf.StringValue", {"\x0a\x02x", 3}},
        {"google.protobuf.StringValue", {"\x08\x02", 2}},
        {"google.protobuf.StringValue", {"\x0a\x01\xff", 3}},
        {"google.protobuf.BytesValue", {"\xff", 1}},
        {"google.protobuf.Value", {"\x1a\x01\xff", 3}},
        {"google.protobuf.Value", {"\x10\x01", 2}},
        {"google.protobuf.Value", {"\x2a\x02\x0a\x01", 4}},
        {"google.protobuf.Struct", {"\x0a\x02\x0a\x01", 4}},
        {"google.protobuf.Struct", {"\x08\x01", 2}},
        {"google.protobuf.Empty", {"\x0b", 1}},
        {"google.protobuf.Timestamp", {"\x12\0", 2}},
    };
    struct arena *a = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire_any any = make_any(cases[i].type, cases[i].bytes);
        struct value value = {.kind = VALUE_OTHER};
        struct error err = {0};

        assert_int_equal(wire_value_from_any(&any, a, &value, &err), CODE_INVALID_ARGUMENT);
        assert_int_equal(value.kind, VALUE_OTHER);
        assert_true(err.message[0] != '\0');
    }
}

static void memory_is_bounded(void **state)
{
    struct value v = {.kind = VALUE_JSON, .bytes = BYTES("[1,2,3]")}, back;
    wire_any *any = wire_any_from_value(&v, *state);
    struct arena small;

    assert_non_null(any);
    for (size_t max = 0; max < 256; max += 8) {
        wire_any *copy;
        int rc;

        arena_init(&small, max);
        copy = wire_any_from_value(&v, &small);
        assert_true(!copy || copy->value.len == any->value.len);
        arena_reset(&small);
        rc = wire_value_from_any(any, &small, &back, NULL);
        assert_true(rc == CODE_RESOURCE_EXHAUSTED || (rc == 0 && back.bytes.len == 7));
        assert_true(rc == 0 || max < 64);
        arena_reset(&small);
    }
}

/* Both ways to read a packed Any say the same of these bytes. */
static void compare_view(struct arena *arena, struct slice bytes)
{
    wire_any *whole = NULL, *view = NULL;
    struct error err;
    int code = wire_unpack(&google__protobuf__any__descriptor, bytes, arena, &whole, &err);

    assert_int_equal(wire_any_view(bytes, arena, &view, &err), code);
    if (!code) {
        assert_string_equal(view->type_url, whole->type_url);
        assert_true(slice_eq(slice(view->value.data, view->value.len),
                             slice(whole->value.data, whole->value.len)));
    }
    arena_rewind(arena);
}

static void view_of_an_any(void **state)
{
    static const char *const good[] = {"",
                                       "\x0a\x03"
                                       "a/b"
                                       "\x12\x02"
                                       "xy",
                                       "\x12\x01"
                                       "x"
                                       "\x0a\x01"
                                       "a"
                                       "\x12\x01"
                                       "y",
                                       "\x0a\x01"
                                       "a"
                                       "\x1a\x02"
                                       "zz"
                                       "\x20\x05"};
    char bytes[32];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t len = strlen(good[i]);

        for (size_t cut = 0; cut <= len; cut++)
            compare_view(*state, slice(good[i], cut));
        memcpy(bytes, good[i], len);
        for (size_t at = 0; at < len; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                bytes[at] = (char)byte;
                compare_view(*state, slice(bytes, len));
            }
            bytes[at] = good[i][at];
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scalars, setup, teardown),
        cmocka_unit_test_setup_teardown(times, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_and_strings, setup, teardown),
        cmocka_unit_test_setup_teardown(json, setup, teardown),
        cmocka_unit_test_setup_teardown(long_json, setup, teardown),
        cmocka_unit_test_setup_teardown(others_write_differently, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_types_pass_through, setup, teardown),
        cmocka_unit_test_setup_teardown(view_of_an_any, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_bounded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
