// SPDX-License-Identifier: Apache-2.0
/*
 * The wire room: messages to bytes and back. The contract is proto/ (dispatch.sdk.v1, the
 * original's; dispatch.v1, ours), compiled by protobuf-c; this header adds what protobuf-c leaves
 * out: unpacking into an arena, with nesting and UTF-8 checked first, and canonical proto JSON.
 *
 * Thread-safe: nothing here has state.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/blob.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/status.h"

#include "dispatch/sdk/c/v1/arguments.pb-c.h"
#include "dispatch/sdk/v1/call.pb-c.h"
#include "dispatch/sdk/v1/dispatch.pb-c.h"
#include "dispatch/sdk/v1/error.pb-c.h"
#include "dispatch/sdk/v1/exit.pb-c.h"
#include "dispatch/sdk/v1/function.pb-c.h"
#include "dispatch/sdk/v1/poll.pb-c.h"
#include "dispatch/sdk/v1/status.pb-c.h"
#include "dispatch/v1/call.pb-c.h"
#include "dispatch/v1/key.pb-c.h"
#include "dispatch/v1/stats.pb-c.h"

/* Short names for the messages that all rooms speak of. */
typedef Google__Protobuf__Any wire_any;
typedef Google__Protobuf__Duration wire_duration;
typedef Google__Protobuf__Timestamp wire_timestamp;
typedef Dispatch__Sdk__V1__Call wire_call;
typedef Dispatch__Sdk__V1__CallResult wire_call_result;
typedef Dispatch__Sdk__V1__Error wire_error;
typedef Dispatch__Sdk__V1__DispatchRequest wire_dispatch_request;
typedef Dispatch__Sdk__V1__DispatchResponse wire_dispatch_response;
typedef Dispatch__Sdk__V1__Exit wire_exit;
typedef Dispatch__Sdk__V1__Poll wire_poll;
typedef Dispatch__Sdk__V1__PollResult wire_poll_result;
typedef Dispatch__Sdk__V1__RunRequest wire_run_request;
typedef Dispatch__Sdk__V1__RunResponse wire_run_response;
typedef Dispatch__Sdk__C__V1__Arguments wire_arguments;
typedef Dispatch__Sdk__C__V1__Arguments__KeywordEntry wire_keyword_argument;

/* Nested messages deeper than this are refused (google.protobuf.Value can nest without end). */
#define WIRE_DEPTH_MAX 100

/*
 * Unpacks `bytes` as a message of that type into the arena. *message then points into the arena and
 * must not be freed by protobuf-c. CODE_INVALID_ARGUMENT names what is wrong: malformed bytes, a
 * string that is not UTF-8 or has a NUL, nesting too deep. In the texts of an Error, which may come
 * from anybody's exception, a NUL becomes a space instead.
 */
int wire_unpack(const ProtobufCMessageDescriptor *type, struct slice bytes, struct arena *arena,
                void *message, struct error *err); /* message: T **, written on success */

/* Appends the packed message; out->failed tells. */
void wire_pack(const void *message, struct buf *out);
/* The packed message as a blob of its own; NULL: no memory. */
struct blob *wire_pack_blob(const void *message);

/*
 * Canonical proto JSON (field names in lowerCamelCase; the original names are accepted too; int64
 * as strings, bytes as base64, enums by name, Timestamp, Duration, wrappers, Struct, Value, Any
 * with
 * "@type"). Unknown fields are ignored. An Any of a type that we do not know has its bytes as
 * base64 in "value". Errors name the field: "calls[3].endpoint: expected a string, got a number".
 */
int wire_from_json(const ProtobufCMessageDescriptor *type, struct slice json, struct arena *arena,
                   void *message, struct error *err);
/* out->failed tells. Strings that are not UTF-8 get U+FFFD for what is wrong in them. */
void wire_to_json(const void *message, struct buf *out);

/* --- values ---------------------------------------------------------------------------------- */

/*
 * What an Any holds, as far as C can say it (protocol: the value table). Anything else (pickled
 * Python objects, application messages) is VALUE_OTHER and passes through untouched.
 */
enum value_kind {
    VALUE_NONE, /* no Any at all, or google.protobuf.Empty */
    VALUE_BOOL,
    VALUE_INT,    /* Int32Value, Int64Value */
    VALUE_UINT,   /* UInt32Value, UInt64Value */
    VALUE_DOUBLE, /* FloatValue, DoubleValue */
    VALUE_STRING,
    VALUE_BYTES,
    VALUE_TIME,     /* Timestamp: ns since the epoch */
    VALUE_DURATION, /* ns */
    VALUE_JSON,     /* Value, Struct, ListValue: as JSON text when decoded */
    VALUE_OTHER,    /* type_url and raw bytes */
};

struct value {
    enum value_kind kind;
    union {
        bool boolean;
        int64_t integer; /* INT, TIME, DURATION */
        uint64_t unsigned_integer;
        double real;
        struct slice bytes; /* STRING, BYTES, JSON, OTHER: the message's bytes */
    };
    struct slice type_url; /* OTHER only */
};

/* Makes the Any of a value, copied into the arena. NULL: no memory, JSON that is not valid or
 * nested too deep, or a string that is not UTF-8. */
wire_any *wire_any_from_value(const struct value *value, struct arena *arena);
/* Reads an Any (NULL: VALUE_NONE). A known type with malformed bytes is CODE_INVALID_ARGUMENT. The
 * slices of STRING, BYTES and OTHER are views into the Any; JSON is in the arena. Strings and JSON
 * may hold NUL. */
int wire_value_from_any(const wire_any *any, struct arena *arena, struct value *value,
                        struct error *err);

/* A packed Any, as wire_unpack has it, but for its value, which is a view into `bytes`. */
int wire_any_view(struct slice bytes, struct arena *arena, wire_any **any, struct error *err);

#define WIRE_TYPE_PREFIX     "type.googleapis.com/"
#define WIRE_DISPATCH_PREFIX "buf.build/stealthrocket/dispatch-proto/"

/* The part of a type URL after its last '/'. */
struct slice wire_type_name(struct slice type_url);

/* --- times ----------------------------------------------------------------------------------- */

/* Saturating; nanoseconds. */
int64_t wire_time_ns(const wire_timestamp *t);
int64_t wire_duration_ns(const wire_duration *d);
/* Fill an initialised message. */
void wire_set_time(wire_timestamp *t, int64_t ns);
void wire_set_duration(wire_duration *d, int64_t ns);
/* A message of its own in the arena; NULL: no memory. */
wire_timestamp *wire_time_new(struct arena *arena, int64_t ns);

/* --- checks shared by the API and the poll --------------------------------------------------- */

/* ^[a-zA-Z_][a-zA-Z0-9_<>.]*$ and at most 1,024 bytes. */
bool wire_function_valid(struct slice name);
/* http://, https:// with a host, bridge://, arn:aws:lambda, event:; at most 2,048 bytes. The
 * message says which schemes there are. */
int wire_endpoint_check(struct slice endpoint, struct error *err);

/* --- Connect --------------------------------------------------------------------------------- */

/* HTTP status of a Connect code (protocol 2.1), and the code implied by a status without a usable
 * body. */
int wire_http_from_code(int code);
int wire_code_from_http(int http_status);
/* {"code":"invalid_argument","message":"..."} */
void wire_connect_error(int code, const char *message, struct buf *out);
/* Parses such a body: false if it is not one. The message is cut to the size of err->message. */
bool wire_connect_error_parse(struct slice body, struct error *err);

/* The status of a run whose endpoint answered over HTTP with something else than a RunResponse
 * (protocol 3.3): by the Connect code of the body, else by the HTTP status. */
enum status wire_status_from_code(int code);
enum status wire_status_from_http(int http_status);

/* --- AWS Lambda ------------------------------------------------------------------------------ */

/* The message as the payload of an invocation: a JSON string, the base64 of its bytes. NULL: no
 * memory. */
struct blob *wire_lambda_payload(const void *message);
/* As wire_unpack, of such a payload. */
int wire_lambda_unpack(const ProtobufCMessageDescriptor *type, struct slice payload,
                       struct arena *arena, void *message, struct error *err);
/* What a payload that tells of an error has as its type and message, in the arena; NULL: nothing.
 */
void wire_lambda_error(struct slice payload, struct arena *arena, const char **type,
                       const char **message);

/* --- gRPC ------------------------------------------------------------------------------------ */

enum { WIRE_GRPC_PREFIX = 5, WIRE_GRPC_COMPRESSED = 1, WIRE_GRPC_TRAILERS = 0x80 };

struct wire_grpc_frame {
    uint8_t flags; /* 0 or WIRE_GRPC_COMPRESSED */
    struct slice message;
};

/* Takes the next message, a view, off the front of the body. CODE_INVALID_ARGUMENT: it is cut short
 * or has flags that are none. */
int wire_grpc_take(struct slice *body, struct wire_grpc_frame *frame, struct error *err);
void wire_grpc_put_prefix(struct buf *out, uint8_t flags, uint32_t len);
/* As grpc-message has it: percent-encoded but for printable ASCII. */
void wire_grpc_put_text(struct buf *out, const char *text);
/* "20S": at most 8 digits and a unit; saturating. False: it is something else. */
bool wire_grpc_timeout(struct slice text, int64_t *ns);

/* --- the contract ---------------------------------------------------------------------------- */

/* All of proto/ as a google.protobuf.FileDescriptorSet; static. */
struct slice wire_descriptor_set(void);

#endif
