// SPDX-License-Identifier: Apache-2.0
/* Every protocol of the API, against a whole server: the same methods, and each one's own ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/api.h"
#include "server/harness_test.h"

#define PATH_RAW_WAIT "/dispatch.sdk.v1.DispatchService/Wait"

static struct harness h;

static int set_up(void **state)
{
    (void)state;
    harness_start(&h, true, 5000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    harness_finish(&h);
    return 0;
}

#define HEADER(name, value) ((struct net_header){slice_str(name), slice_str(value)})

/* --- messages -------------------------------------------------------------------------------- */

static struct slice pack(const void *message)
{
    struct slice bytes;
    struct buf out;

    buf_init(&out, 1 << 20);
    wire_pack(message, &out);
    assert_false(out.failed);
    bytes = slice(arena_dup(&h.arena, buf_slice(&out)), out.len);
    buf_free(&out);
    return bytes;
}

/* One call of `echo` with a string of that many bytes. */
static struct slice dispatch_request(size_t size)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[] = {&call};
    char *text = arena_alloc(&h.arena, size + 1);
    struct value value = {.kind = VALUE_STRING, .bytes = slice(text, size)};

    memset(text, 'x', size);
    call.endpoint = h.endpoint_url;
    call.function = (char *)"echo";
    call.input = wire_any_from_value(&value, &h.arena);
    request.calls = calls;
    request.n_calls = 1;
    return pack(&request);
}

static struct slice wait_request(const char *id)
{
    Dispatch__V1__WaitRequest request = DISPATCH__V1__WAIT_REQUEST__INIT;

    request.dispatch_id = (char *)(uintptr_t)id;
    return pack(&request);
}

static const char *dispatched_id(struct slice message)
{
    wire_dispatch_response *response;

    assert_int_equal(wire_unpack(&dispatch__sdk__v1__dispatch_response__descriptor, message,
                                 &h.arena, &response, NULL),
                     CODE_OK);
    assert_int_equal(response->n_dispatch_ids, 1);
    return response->dispatch_ids[0];
}

static void assert_echoed(const wire_call_result *result, size_t size)
{
    struct value value;

    assert_non_null(result);
    assert_int_equal(wire_value_from_any(result->output, &h.arena, &value, NULL), CODE_OK);
    assert_int_equal(value.kind, VALUE_STRING);
    assert_int_equal(value.bytes.len, size);
}

static void assert_waited(struct slice message, size_t size)
{
    Dispatch__V1__WaitResponse *response;

    assert_int_equal(
        wire_unpack(&dispatch__v1__wait_response__descriptor, message, &h.arena, &response, NULL),
        CODE_OK);
    assert_int_equal(response->call->state, DISPATCH__V1__STATE__STATE_DONE);
    assert_echoed(response->call->result, size);
}

static struct slice gunzip(struct slice bytes)
{
    struct buf out;
    struct slice plain;

    buf_init(&out, 1 << 20);
    assert_int_equal(codec_gunzip(bytes, &out, NULL), CODE_OK);
    plain = slice(arena_dup(&h.arena, buf_slice(&out)), out.len);
    buf_free(&out);
    return plain;
}

static struct slice gzip(struct slice bytes)
{
    struct blob *blob = codec_gzip(bytes);
    struct slice zipped;

    assert_non_null(blob);
    zipped = slice(arena_dup(&h.arena, blob_slice(blob)), blob->len);
    blob_unref(blob);
    return zipped;
}

static struct slice frame(uint8_t flags, struct slice message)
{
    struct slice bytes;
    struct buf out;

    buf_init(&out, 1 << 20);
    wire_grpc_put_prefix(&out, flags, (uint32_t)message.len);
    buf_append_slice(&out, message);
    bytes = slice(arena_dup(&h.arena, buf_slice(&out)), out.len);
    buf_free(&out);
    return bytes;
}

/* --- asking in gRPC -------------------------------------------------------------------------- */

struct flavour {
    const char *type;
    bool http2, web;
};

static const struct flavour flavours[] = {
    {"application/grpc", true, false},
    {"application/grpc+proto", true, false},
    {"application/grpc-web", true, true},
    {"application/grpc-web+proto", false, true},
};

static struct ask ask_grpc(const struct flavour *f, const char *path, struct slice message)
{
    return (struct ask){.path = path,
                        .key = HARNESS_KEY,
                        .type = f->type,
                        .http2 = f->http2,
                        .body = frame(0, message)};
}

/* The message of a good answer, and what is said of its end. */
static struct slice grpc_answer(const struct flavour *f, const struct reply *reply)
{
    struct slice body = slice(reply->body, reply->len);
    struct wire_grpc_frame message;

    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->type,
                        f->web ? "application/grpc-web+proto" : "application/grpc+proto");
    if (wire_grpc_take(&body, &message, NULL))
        fail_msg("status %s: %s", reply->grpc_status, reply->grpc_message);
    if (f->web) {
        static const char trailers[] = "\x80\0\0\0\x0fgrpc-status:0\r\n";

        assert_true(slice_eq(body, slice(trailers, sizeof trailers - 1)));
        assert_string_equal(reply->grpc_status, "");
    } else {
        assert_int_equal(body.len, 0);
        assert_string_equal(reply->grpc_status, "0");
    }
    if (message.flags == 0)
        return message.message;
    assert_string_equal(reply->grpc_encoding, "gzip");
    return gunzip(message.message);
}

static void assert_grpc_error(const struct reply *reply, int code, const char *text)
{
    char number[8];

    snprintf(number, sizeof number, "%d", code);
    assert_string_equal(reply->grpc_status, number);
    if (!strstr(reply->grpc_message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, reply->grpc_message);
    assert_int_equal(reply->len, 0);
}

static void test_grpc(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flavours / sizeof *flavours; i++) {
        const struct flavour *f = &flavours[i];
        struct ask ask = ask_grpc(f, PATH_DISPATCH, dispatch_request(5000));
        struct reply reply;
        const char *id;

        harness_ask(&h, &ask, &reply);
        id = dispatched_id(grpc_answer(f, &reply));
        ask = ask_grpc(f, PATH_WAIT, wait_request(id));
        harness_ask(&h, &ask, &reply);
        assert_string_equal(reply.grpc_encoding, "");
        assert_waited(grpc_answer(f, &reply), 5000);
        ask.extra = HEADER("grpc-accept-encoding", "identity,gzip");
        harness_ask(&h, &ask, &reply);
        assert_string_equal(reply.grpc_encoding, "gzip");
        assert_true(reply.len < 1000);
        assert_waited(grpc_answer(f, &reply), 5000);
    }
}

static void test_grpc_json(void **state)
{
    const struct flavour f = {"application/grpc+json", true, false};
    struct ask ask = ask_grpc(&f, PATH_DISPATCH, slice_str("{\"calls\":[]}"));
    struct reply reply;

    (void)state;
    harness_ask(&h, &ask, &reply);
    assert_string_equal(reply.type, "application/grpc+json");
    assert_string_equal(reply.grpc_status, "0");
    assert_true(slice_eq(slice(reply.body, reply.len), frame(0, slice_str("{}"))));
}

static void test_grpc_gzip_requests(void **state)
{
    struct ask ask = ask_grpc(&flavours[0], PATH_DISPATCH, slice_str(""));
    struct slice message = dispatch_request(5000);
    struct reply reply;

    (void)state;
    ask.body = frame(WIRE_GRPC_COMPRESSED, gzip(message));
    harness_ask(&h, &ask, &reply);
    assert_grpc_error(&reply, CODE_INTERNAL, "there is no grpc-encoding");
    ask.extra = HEADER("grpc-encoding", "gzip");
    harness_ask(&h, &ask, &reply);
    dispatched_id(grpc_answer(&flavours[0], &reply));
    ask.body = frame(0, message); /* may be, need not */
    harness_ask(&h, &ask, &reply);
    dispatched_id(grpc_answer(&flavours[0], &reply));
    ask.extra = HEADER("grpc-encoding", "snappy");
    harness_ask(&h, &ask, &reply);
    assert_grpc_error(&reply, CODE_UNIMPLEMENTED, "supported encodings are gzip, identity");
}

static void test_grpc_errors(void **state)
{
    static const struct {
        struct slice body;
        struct net_header header;
        int code;
        const char *text;
    } rows[] = {
        {{"", 0}, {{0}, {0}}, CODE_UNIMPLEMENTED, "there is no message"},
        {{"\0\0\0\0\0\0\0\0\0\0", 10}, {{0}, {0}}, CODE_UNIMPLEMENTED, "behind the one message"},
        {{"\0\0\0", 3}, {{0}, {0}}, CODE_INVALID_ARGUMENT, "within a prefix"},
        {{"\0\0\0\1\0a", 6}, {{0}, {0}}, CODE_INVALID_ARGUMENT, "within a message"},
        {{"\3\0\0\0\0", 5}, {{0}, {0}}, CODE_INVALID_ARGUMENT, "flags 0x03"},
        {{"\0\0\0\0\1\xff", 6}, {{0}, {0}}, CODE_INVALID_ARGUMENT, ""},
        {{"\0\0\0\0\0", 5},
         {{"grpc-timeout", 12}, {"123456789S", 10}},
         CODE_INVALID_ARGUMENT,
         "grpc-timeout"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t k = 0; k < sizeof flavours / sizeof *flavours; k++) {
            struct ask ask = ask_grpc(&flavours[k], PATH_DISPATCH, slice_str(""));
            struct reply reply;

            ask.body = rows[i].body;
            ask.extra = rows[i].header;
            harness_ask(&h, &ask, &reply);
            assert_int_equal(reply.status, 200);
            assert_string_equal(reply.type,
                                flavours[k].web ? "application/grpc-web" : "application/grpc");
            assert_grpc_error(&reply, rows[i].code, rows[i].text);
        }
    }
}

static void test_grpc_routing(void **state)
{
    struct ask ask = ask_grpc(&flavours[0], "/dispatch.v1.CallService/Nothing", slice_str(""));
    struct reply reply;

    (void)state;
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 200);
    assert_grpc_error(&reply, CODE_UNIMPLEMENTED, "there is nothing at");
    ask = ask_grpc(&flavours[0], PATH_DISPATCH, slice_str(""));
    ask.type = "application/grpc+thrift";
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 415);
    ask.type = "application/grpcx";
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 415);
    assert_string_equal(reply.type, "application/json");
}

static void test_grpc_over_http1(void **state)
{
    struct ask ask = ask_grpc(&flavours[0], PATH_DISPATCH, slice_str(""));
    struct reply reply;

    (void)state;
    ask.http2 = false;
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 505);
    assert_grpc_error(&reply, CODE_UNIMPLEMENTED, "goes over HTTP/2");
}

static void test_grpc_timeout(void **state)
{
    char *id = harness_dispatch(&h, "hang", "{\"@type\":\"google.protobuf.Empty\"}");
    struct ask ask = ask_grpc(&flavours[0], PATH_WAIT, wait_request(id));
    struct reply reply;

    (void)state;
    ask.extra = HEADER("grpc-timeout", "5m");
    harness_ask(&h, &ask, &reply);
    assert_grpc_error(&reply, CODE_DEADLINE_EXCEEDED, "timeout of 5 ms");
}

/* Whatever is in the one table of methods is spoken in all protocols, and to nobody without a key,
 * however broken the rest is. */
static void test_every_method_in_every_protocol(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_method_count; i++) {
        const char *path = api_methods[i].path;
        struct ask ask = {.path = path, .type = "application/proto", .body = slice_str("\xff")};
        struct reply reply;

        harness_ask(&h, &ask, &reply);
        assert_int_equal(reply.status, 401);
        assert_string_equal(reply.header, "Bearer");
        assert_int_equal(harness_error(&reply).code, CODE_UNAUTHENTICATED);
        ask.key = HARNESS_KEY;
        harness_ask(&h, &ask, &reply);
        assert_int_equal(reply.status, api_methods[i].control   ? 403
                                       : api_methods[i].request ? 400
                                                                : 404);
        harness_error(&reply);
        if (!api_methods[i].request) /* is no method of a service */
            continue;
        for (size_t k = 0; k < sizeof flavours / sizeof *flavours; k++) {
            ask = ask_grpc(&flavours[k], path, slice_str("\xff"));
            harness_ask(&h, &ask, &reply);
            assert_grpc_error(
                &reply, api_methods[i].control ? CODE_PERMISSION_DENIED : CODE_INVALID_ARGUMENT,
                "");
            ask.key = NULL;
            harness_ask(&h, &ask, &reply);
            assert_grpc_error(&reply, CODE_UNAUTHENTICATED, "no API key");
        }
    }
}

/* --- Connect --------------------------------------------------------------------------------- */

static void test_connect_gzip(void **state)
{
    struct ask ask = {.path = PATH_DISPATCH, .key = HARNESS_KEY, .type = "application/proto"};
    struct reply reply;
    const char *id;

    (void)state;
    ask.body = gzip(dispatch_request(5000));
    ask.extra = HEADER("content-encoding", "gzip");
    ask.more[0] = HEADER("accept-encoding", "gzip, deflate, br");
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.encoding, ""); /* too short for it */
    id = dispatched_id(slice(reply.body, reply.len));
    ask = (struct ask){.path = PATH_WAIT, .key = HARNESS_KEY, .type = "application/proto"};
    ask.body = wait_request(id);
    harness_ask(&h, &ask, &reply);
    assert_string_equal(reply.encoding, "");
    assert_waited(slice(reply.body, reply.len), 5000);
    ask.extra = HEADER("accept-encoding", "gzip");
    for (int http2 = 0; http2 < 2; http2++) {
        ask.http2 = http2;
        harness_ask(&h, &ask, &reply);
        assert_string_equal(reply.type, "application/proto");
        assert_string_equal(reply.encoding, "gzip");
        assert_true(reply.len < 1000);
        assert_waited(gunzip(slice(reply.body, reply.len)), 5000);
    }
}

static void test_unknown_encoding(void **state)
{
    struct ask ask = {.path = PATH_DISPATCH, .key = HARNESS_KEY, .body = slice_str("{}")};
    struct reply reply;
    struct error err;

    (void)state;
    ask.extra = HEADER("content-encoding", "zstd");
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 501);
    err = harness_error(&reply);
    assert_int_equal(err.code, CODE_UNIMPLEMENTED);
    assert_non_null(strstr(err.message, "\"zstd\": supported encodings are gzip, identity"));
}

static void test_raw_wait(void **state)
{
    char *id = harness_dispatch(&h, "echo",
                                "{\"@type\":\"type.googleapis.com/google.protobuf.StringValue\","
                                "\"value\":\"hello\"}");
    struct ask ask = {.path = PATH_RAW_WAIT, .key = HARNESS_KEY, .type = "text/plain"};
    wire_call_result *result;
    struct reply reply;

    (void)state;
    ask.body = slice_str(id);
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.type, "application/proto");
    assert_int_equal(wire_unpack(&dispatch__sdk__v1__call_result__descriptor,
                                 slice(reply.body, reply.len), &h.arena, &result, NULL),
                     CODE_OK);
    assert_string_equal(result->dispatch_id, id);
    assert_echoed(result, 5);
    ask.body = slice_str("nothing");
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 404);
    harness_error(&reply);
    ask.body = dispatch_request(1000);
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(harness_error(&reply).message, "an id has at most"));
}

static void test_raw_wait_timeout(void **state)
{
    char *id = harness_dispatch(&h, "hang", "{\"@type\":\"google.protobuf.Empty\"}");
    struct ask ask = {.path = PATH_RAW_WAIT, .key = HARNESS_KEY, .body = slice_str(id)};
    struct reply reply;

    (void)state;
    ask.extra = HEADER("connect-timeout-ms", "5");
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 504);
    assert_int_equal(harness_error(&reply).code, CODE_DEADLINE_EXCEEDED);
}

/* --- the descriptor -------------------------------------------------------------------------- */

/* Each method has its name, as a length and text, in the set. */
static void test_descriptor(void **state)
{
    struct ask ask = {.method = "GET", .path = "/descriptor.pb"};
    struct reply reply;

    (void)state;
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.type, "application/x-protobuf");
    for (size_t i = 0; i < api_method_count; i++) {
        const char *name = strrchr(api_methods[i].path, '/') + 1;
        char field[64] = {'\n', (char)strlen(name)};

        snprintf(field + 2, sizeof field - 2, "%s", name);
        if (api_methods[i].request)
            assert_non_null(memmem(reply.body, reply.len, field, strlen(field)));
    }
    assert_non_null(memmem(reply.body, reply.len, "google/protobuf/wrappers.proto", 30));
    ask.method = "POST";
    harness_ask(&h, &ask, &reply);
    assert_int_equal(reply.status, 405);
    assert_string_equal(reply.header, "GET, HEAD");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_grpc),
        TEST(test_grpc_json),
        TEST(test_grpc_gzip_requests),
        TEST(test_grpc_errors),
        TEST(test_grpc_routing),
        TEST(test_grpc_over_http1),
        TEST(test_grpc_timeout),
        TEST(test_every_method_in_every_protocol),
        TEST(test_connect_gzip),
        TEST(test_unknown_encoding),
        TEST(test_raw_wait),
        TEST(test_raw_wait_timeout),
        TEST(test_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
