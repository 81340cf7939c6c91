// SPDX-License-Identifier: Apache-2.0
/* Golden bytes, and every way in which bytes may be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "google/protobuf/struct.pb-c.h"
#include "wire/internal.h"

#define RUN_REQUEST  (&dispatch__sdk__v1__run_request__descriptor)
#define RUN_RESPONSE (&dispatch__sdk__v1__run_response__descriptor)
#define BYTES(text)  slice(text, sizeof(text) - 1)

static const char greet[] = "\x0a\x05greet\x22\x01"
                            "1";

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

static void golden_run_request(void **state)
{
    struct fixture *f = *state;
    wire_run_request out = DISPATCH__SDK__V1__RUN_REQUEST__INIT, *in = NULL;
    struct blob *blob;

    out.function = (char *)"greet";
    out.dispatch_id = (char *)"1";
    wire_pack(&out, &f->buf);
    assert_true(slice_eq(buf_slice(&f->buf), BYTES(greet)));
    blob = wire_pack_blob(&out);
    assert_non_null(blob);
    assert_true(slice_eq(blob_slice(blob), BYTES(greet)));
    blob_unref(blob);

    assert_int_equal(wire_unpack(RUN_REQUEST, BYTES(greet), &f->arena, &in, &f->err), 0);
    assert_string_equal(in->function, "greet");
    assert_string_equal(in->dispatch_id, "1");
    assert_string_equal(in->parent_dispatch_id, "");
    assert_int_equal(in->directive_case, DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE__NOT_SET);
}

static void empty_is_not_absent(void **state)
{
    struct fixture *f = *state;
    wire_run_response *in = NULL;

    /* status OK, exit with an empty result */
    assert_int_equal(
        wire_unpack(RUN_RESPONSE, BYTES("\x08\x01\x12\x02\x0a\x00"), &f->arena, &in, &f->err), 0);
    assert_int_equal(in->directive_case, DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT);
    assert_non_null(in->exit->result);
    assert_null(in->exit->tail_call);
    wire_pack(in, &f->buf);
    assert_true(slice_eq(buf_slice(&f->buf), BYTES("\x08\x01\x12\x02\x0a\x00")));

    assert_int_equal(wire_unpack(RUN_RESPONSE, BYTES(""), &f->arena, &in, &f->err), 0);
    assert_int_equal(in->directive_case, DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE__NOT_SET);
    buf_reset(&f->buf);
    wire_pack(in, &f->buf);
    assert_int_equal(f->buf.len, 0);
    assert_false(f->buf.failed);
}

/* Numbers of the extensions are a contract too. */
static void extensions(void **state)
{
    struct fixture *f = *state;
    wire_poll out = DISPATCH__SDK__V1__POLL__INIT, *in = NULL;
    uint64_t cancel[] = {7, 300};

    out.state_case = DISPATCH__SDK__V1__POLL__STATE_APPEND;
    out.append.data = (uint8_t *)"ab";
    out.append.len = 2;
    out.append_position = 5;
    out.wake_on_error = 1;
    out.n_cancel = 2;
    out.cancel = cancel;
    wire_pack(&out, &f->buf);
    assert_true(slice_eq(buf_slice(&f->buf), BYTES("\xc2\x3e\x02"
                                                   "ab\xc8\x3e\x05\xd0\x3e\x01"
                                                   "\xda\x3e\x03\x07\xac\x02")));
    assert_int_equal(wire_unpack(&dispatch__sdk__v1__poll__descriptor, buf_slice(&f->buf),
                                 &f->arena, &in, &f->err),
                     0);
    assert_int_equal(in->append_position, 5);
    assert_int_equal(in->n_cancel, 2);
    assert_int_equal(in->cancel[1], 300);
    /* the same, not packed */
    assert_int_equal(wire_unpack(&dispatch__sdk__v1__poll__descriptor,
                                 BYTES("\xd8\x3e\x07\xd8\x3e\xac\x02"), &f->arena, &in, &f->err),
                     0);
    assert_int_equal(in->n_cancel, 2);
    assert_int_equal(in->cancel[1], 300);
}

/* Cut anywhere, a message is either refused or a message by itself; memory beyond the cut is not
 * touched (each piece is an allocation of its own, so that a sanitizer sees it). */
static void truncated(void **state)
{
    static const char whole[] = "\x08\x01\x1a\x1c\x12\x10\x08\x05\x12\x01"
                                "e\x1a\x03"
                                "fun\x22\x04\x0a\x02xy\x1a\x04\x08\x01\x10\x02\x20\x01\x28\x01";
    struct fixture *f = *state;
    wire_run_response *in = NULL;
    size_t refused = 0;

    for (size_t len = 0; len < sizeof whole; len++) {
        char *piece = malloc(len + 1);
        int rc;

        assert_non_null(piece);
        memcpy(piece + 1, whole, len);
        rc = wire_unpack(RUN_RESPONSE, slice(piece + 1, len), &f->arena, &in, &f->err);
        assert_true(rc == 0 || rc == CODE_INVALID_ARGUMENT);
        refused += rc != 0;
        free(piece);
    }
    /* whole at 0, 2 and all bytes (one of which is the NUL of the literal, an invalid tag) */
    assert_int_equal(refused, sizeof whole - 3);
}

static void refuse(struct fixture *f, struct slice bytes, const char *message)
{
    wire_run_response *in = NULL;

    f->err.message[0] = '\0';
    assert_int_equal(wire_unpack(RUN_RESPONSE, bytes, &f->arena, &in, &f->err),
                     CODE_INVALID_ARGUMENT);
    assert_null(in);
    assert_non_null(strstr(f->err.message, message));
    assert_int_equal(wire_unpack(RUN_RESPONSE, bytes, &f->arena, &in, NULL), CODE_INVALID_ARGUMENT);
}

static void malformed(void **state)
{
    struct fixture *f = *state;

    refuse(f, BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), "at byte 0");
    refuse(f, BYTES("\x00\x01"), "at byte 0");                     /* field number 0 */
    refuse(f, BYTES("\x08\x01\x0b\x0c"), "at byte 2");             /* a group */
    refuse(f, BYTES("\xff\xff\xff\xff\x7f\x01"), "at byte 0");     /* a tag of 35 bits */
    refuse(f, BYTES("\x12\xff\xff\xff\xff\x0f\x00"), "at byte 0"); /* longer than there is */
    refuse(f, BYTES("\x10\x01"), "exit: malformed");               /* a number for a message */
    refuse(f, BYTES("\x0a\x01\x01"), "status: malformed");         /* and the reverse */
    /* the second call's endpoint is a surrogate */
    refuse(f, BYTES("\x1a\x09\x12\x00\x12\x05\x12\x03\xed\xa0\x80"),
           "poll.calls[1].endpoint: not valid UTF-8");
    refuse(f,
           BYTES("\x1a\x06\x12\x04\x1a\x02"
                 "a\0"),
           "poll.calls[0].function: contains a NUL");
}

static void nul_in_an_error_is_blanked(void **state)
{
    struct fixture *f = *state;
    wire_error *in = NULL;

    assert_int_equal(wire_unpack(&dispatch__sdk__v1__error__descriptor,
                                 BYTES("\x12\x03"
                                       "a\0b\x1a\x01\0"),
                                 &f->arena, &in, &f->err),
                     0);
    assert_string_equal(in->message, "a b");
    assert_int_equal(in->value.len, 1); /* bytes are left alone */
    assert_int_equal(in->value.data[0], 0);
}

/* A google.protobuf.Value of `levels` lists in each other. */
static int unpack_nested(struct fixture *f, int levels)
{
    Google__Protobuf__Value *in = NULL;
    uint8_t bytes[512];
    size_t len = 0;

    for (int i = 0; i < levels; i++) { /* from the inside out, at the end of the room */
        size_t inner = len;

        if (inner >= 128)
            bytes[sizeof bytes - ++len] = (uint8_t)(inner >> 7);
        bytes[sizeof bytes - ++len] = (uint8_t)((inner & 127) | (inner >= 128 ? 128 : 0));
        bytes[sizeof bytes - ++len] = i % 2 ? 0x32 : 0x0a; /* Value.list_value, ListValue.values */
    }
    return wire_unpack(&google__protobuf__value__descriptor, slice(bytes + sizeof bytes - len, len),
                       &f->arena, &in, &f->err);
}

static void nesting(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(unpack_nested(f, WIRE_DEPTH_MAX - 2), 0);
    assert_int_equal(unpack_nested(f, WIRE_DEPTH_MAX), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(f->err.message, "nested more than 100 deep"));
    assert_non_null(strstr(f->err.message, "...")); /* a path, cut */
}

static void memory_is_bounded(void **state)
{
    struct fixture *f = *state;
    wire_run_request *in = NULL;
    struct arena small;

    for (size_t max = 0; max < 600; max += 8) {
        arena_init(&small, max);
        int rc = wire_unpack(RUN_REQUEST, BYTES(greet), &small, &in, &f->err);

        assert_true(rc == 0 || rc == CODE_RESOURCE_EXHAUSTED);
        if (rc)
            assert_null(in); /* not written, and once there is enough it stays enough */
        arena_reset(&small);
    }
    assert_non_null(in);
}

static void unknown_fields_survive(void **state)
{
    static const char bytes[] = "\x0a\x05greet\xa2\x06\x02hi";
    struct fixture *f = *state;
    wire_run_request *in = NULL;

    assert_int_equal(wire_unpack(RUN_REQUEST, BYTES(bytes), &f->arena, &in, &f->err), 0);
    wire_pack(in, &f->buf);
    assert_true(slice_eq(buf_slice(&f->buf), BYTES(bytes)));
}

static void pack_fails_at_the_maximum(void **state)
{
    struct fixture *f = *state;
    wire_run_request out = DISPATCH__SDK__V1__RUN_REQUEST__INIT;
    struct buf small;

    (void)f;
    out.function = (char *)"greet";
    buf_init(&small, 6);
    wire_pack(&out, &small);
    assert_true(small.failed);
    buf_free(&small);
}

/* --- the quick way ---------------------------------------------------------------------------- */

/* What the quick way makes of the bytes, if anything, is what the other does. */
static void compare_ways(struct fixture *f, const ProtobufCMessageDescriptor *type,
                         struct slice bytes)
{
    ProtobufCMessage *quick = wire_fill(type, bytes, &f->arena), *slow = NULL;
    struct blob *one, *other;

    if (quick) {
        assert_int_equal(wire_unpack_any_case(type, bytes, &f->arena, &slow, &f->err), 0);
        one = wire_pack_blob(quick);
        other = wire_pack_blob(slow);
        assert_true(slice_eq(blob_slice(one), blob_slice(other)));
        blob_unref(one);
        blob_unref(other);
    }
    arena_rewind(&f->arena);
}

/* The bytes, which the quick way must know; then with each bit of them turned, cut at each byte,
 * and twice in a row, which merges them. */
static void compare_around(struct fixture *f, const ProtobufCMessageDescriptor *type,
                           struct slice bytes)
{
    char copy[1024];

    assert_true(bytes.len > 0 && 2 * bytes.len <= sizeof copy);
    assert_non_null(wire_fill(type, bytes, &f->arena));
    memcpy(copy, bytes.data, bytes.len);
    for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
        copy[bit / 8] ^= (char)(1 << bit % 8);
        compare_ways(f, type, slice(copy, bytes.len));
        copy[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t len = 0; len <= bytes.len; len++)
        compare_ways(f, type, slice(copy, len));
    memcpy(copy + bytes.len, bytes.data, bytes.len);
    compare_ways(f, type, slice(copy, 2 * bytes.len));
}

static void quick_way_says_the_same(void **state)
{
    struct fixture *f = *state;
    struct value text = {.kind = VALUE_STRING, .bytes = slice_str("value \xc3\xa4")};
    wire_run_request request = DISPATCH__SDK__V1__RUN_REQUEST__INIT;
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll_result poll_result = DISPATCH__SDK__V1__POLL_RESULT__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    wire_call_result results[] = {DISPATCH__SDK__V1__CALL_RESULT__INIT,
                                  DISPATCH__SDK__V1__CALL_RESULT__INIT};
    wire_call_result *two_results[] = {&results[0], &results[1]};
    wire_call calls[] = {DISPATCH__SDK__V1__CALL__INIT, DISPATCH__SDK__V1__CALL__INIT};
    wire_call *two_calls[] = {&calls[0], &calls[1]};
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    wire_timestamp now = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    wire_any *any = wire_any_from_value(&text, &f->arena);
    struct blob *packed;

    now.seconds = -5;
    now.nanos = 123456789;
    error.type = (char *)"Type";
    error.message = (char *)"what was wrong";
    error.value = (ProtobufCBinaryData){3, (uint8_t *)"a\0b"};
    error.status = DISPATCH__SDK__V1__STATUS__STATUS_TIMEOUT;
    results[0].correlation_id = UINT64_MAX;
    results[0].output = any;
    results[0].dispatch_id = (char *)"id";
    results[1].error = &error;
    poll_result.state_case = DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE;
    poll_result.typed_coroutine_state = any;
    poll_result.n_results = 2;
    poll_result.results = two_results;
    request.function = (char *)"f";
    request.dispatch_id = (char *)"1";
    request.directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT;
    request.poll_result = &poll_result;
    request.creation_time = request.now = &now;
    request.generation = UINT32_MAX;
    packed = wire_pack_blob(&request);
    compare_around(f, RUN_REQUEST, blob_slice(packed));
    blob_unref(packed);

    any = wire_any_from_value(&text, &f->arena);
    calls[0].function = (char *)"f";
    calls[0].input = any;
    calls[1].function = (char *)"g";
    calls[1].correlation_id = 7;
    poll.n_calls = 2;
    poll.calls = two_calls;
    poll.min_results = -1;
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_APPEND;
    poll.append = (ProtobufCBinaryData){2, (uint8_t *)"ab"};
    poll.wake_on_error = 1;
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    packed = wire_pack_blob(&response);
    compare_around(f, RUN_RESPONSE, blob_slice(packed));
    blob_unref(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(golden_run_request, setup, teardown),
        cmocka_unit_test_setup_teardown(quick_way_says_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_is_not_absent, setup, teardown),
        cmocka_unit_test_setup_teardown(extensions, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(nul_in_an_error_is_blanked, setup, teardown),
        cmocka_unit_test_setup_teardown(nesting, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_fields_survive, setup, teardown),
        cmocka_unit_test_setup_teardown(pack_fails_at_the_maximum, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
