// SPDX-License-Identifier: Apache-2.0
/* What the files of this room share and nobody else needs. */
#ifndef WIRE_INTERNAL_H
#define WIRE_INTERNAL_H

#include <jansson.h>

#include "wire/wire.h"

/* --- paths: where in a message an error is ---------------------------------------------------- */

#define WIRE_NO_INDEX    SIZE_MAX
#define WIRE_COUNT_INDEX (SIZE_MAX - 1)

/* One step from a message into a field of it; lives on the stack of the walk. */
struct wire_path {
    const struct wire_path *up; /* NULL: a field of the outermost message */
    const char *name;
    /* Of an element of a repeated field; else WIRE_NO_INDEX. WIRE_COUNT_INDEX: as many as there are
     * fields of that number in the encoded fields `before`; counted only if there is an error. */
    size_t index;
    struct slice before;
    uint32_t number;
};

/* CODE_INVALID_ARGUMENT and "calls[3].endpoint: MESSAGE"; without a path, the message alone. */
int wire_path_error(const struct wire_path *path, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- unpacking -------------------------------------------------------------------------------- */

/* What wire_unpack would make of the bytes, in most cases: NULL if it is none of these, or if the
 * bytes are wrong. */
ProtobufCMessage *wire_fill(const ProtobufCMessageDescriptor *type, struct slice bytes,
                            struct arena *arena);
/* The same for all cases, and the errors. */
int wire_unpack_any_case(const ProtobufCMessageDescriptor *type, struct slice bytes,
                         struct arena *arena, ProtobufCMessage **message, struct error *err);

/* --- encoded fields --------------------------------------------------------------------------- */

struct wire_field {
    uint32_t number;
    ProtobufCWireType type;
    uint64_t scalar;    /* VARINT, 64BIT, 32BIT */
    struct slice bytes; /* LENGTH_PREFIXED */
};

/* Takes the next field from the front of `in`; false if it is malformed. */
bool wire_next_field(struct slice *in, struct wire_field *field);
/* Appends a tag and a length-prefixed field. */
void wire_put_tag(struct buf *out, uint32_t number, ProtobufCWireType type);
void wire_put_bytes(struct buf *out, uint32_t number, struct slice bytes);

/* --- JSON ------------------------------------------------------------------------------------- */

/* Parses a text; NULL on error. Any value is taken at the top; nesting is bounded, duplicate keys
 * are refused. A number too large for 64 bits makes all numbers of the text reals. */
json_t *wire_json_parse(struct slice text, struct error *err);
/* "a string", "a number": what `json` is, for messages. */
const char *wire_json_kind(const json_t *json);
struct slice wire_json_slice(const json_t *string);

/* Quoted and escaped; what is not UTF-8 becomes U+FFFD. */
void wire_put_json_string(struct buf *out, struct slice text);
/* The shortest digits that read back as the same number, not-a-number and infinities as strings. */
void wire_put_json_double(struct buf *out, double number);
void wire_put_json_float(struct buf *out, float number);
void wire_put_json_base64(struct buf *out, struct slice bytes);
/* Standard or URL-safe alphabet, padded or not. CODE_INVALID_ARGUMENT, CODE_RESOURCE_EXHAUSTED. */
int wire_base64_decode(struct slice text, struct arena *arena, struct slice *bytes);

/* RFC 3339 and seconds with "s": nanoseconds are written with 0, 3, 6 or 9 digits. */
bool wire_parse_timestamp(struct slice text, int64_t *seconds, int32_t *nanos);
bool wire_parse_duration(struct slice text, int64_t *seconds, int32_t *nanos);
void wire_put_json_timestamp(struct buf *out, int64_t seconds, int32_t nanos);
void wire_put_json_duration(struct buf *out, int64_t seconds, int32_t nanos);

/*
 * google.protobuf.Value, Struct and ListValue between JSON and their encoding, without the messages
 * between: strings may hold NUL there, and C strings may not. `depth` is that of the message.
 */
enum wire_json_type { WIRE_JSON_VALUE, WIRE_JSON_STRUCT, WIRE_JSON_LIST, WIRE_JSON_NONE };
enum wire_json_type wire_json_type(const ProtobufCMessageDescriptor *type);
/* Appends the encoding; CODE_INVALID_ARGUMENT for another kind of JSON or too much nesting. */
int wire_encode_json(enum wire_json_type type, const json_t *json, int depth, struct buf *out,
                     struct error *err);
/* Appends the text; CODE_INVALID_ARGUMENT if malformed. */
int wire_decode_json(enum wire_json_type type, struct slice bytes, int depth, struct buf *out,
                     struct error *err);

/* --- types ------------------------------------------------------------------------------------ */

/* The message type of that full name, if we know it; else NULL. */
const ProtobufCMessageDescriptor *wire_find_type(struct slice full_name);
/* The types whose JSON is not that of their fields. */
bool wire_is_special(const ProtobufCMessageDescriptor *type);
bool wire_is_wrapper(const ProtobufCMessageDescriptor *type);

/* What an Any counts for in the depth, so that Any in Any in Any, each with a copy of all that is
 * inside, costs little. */
#define WIRE_ANY_DEPTH 10

/* Reads and writes within a larger message: with the depth reached, and a path for errors. */
int wire_read_message(const json_t *json, ProtobufCMessage *message, struct arena *arena,
                      const struct wire_path *path, int depth, struct error *err);
int wire_read_any(const json_t *json, wire_any *any, struct arena *arena,
                  const struct wire_path *path, int depth, struct error *err);
/* Any numeric type, into a slot of it. */
int wire_read_number(const json_t *json, ProtobufCType type, void *slot,
                     const struct wire_path *path, struct error *err);
/* Of a member of that type, or an element of a repeated one. */
size_t wire_element_size(ProtobufCType type);
ProtobufCMessage *wire_new_message(const ProtobufCMessageDescriptor *type, struct arena *arena);
void wire_write_message(const ProtobufCMessage *message, int depth, struct buf *out);

#endif
