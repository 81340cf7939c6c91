// SPDX-License-Identifier: Apache-2.0
/*
 * Between the public structs and the messages on the wire. Everything made here lies in an arena
 * that the caller gives: decoded texts are NUL-terminated copies, other bytes are views into the
 * message that was decoded (itself in the same arena).
 *
 * Encoding reports what is wrong with a value; an error on its way out is mended instead, as losing
 * it would be worse than a question mark in its text.
 */
#include "sdk/internal.h"

#include <assert.h>
#include <string.h>

#define ARGUMENTS_TYPE_URL WIRE_TYPE_PREFIX SDK_ARGUMENTS_TYPE

/* protobuf-c's structs are not const, but packing only reads. */
static char *lend(const char *text)
{
    return (char *)(uintptr_t)text;
}

static ProtobufCBinaryData lend_bytes(const void *data, size_t size)
{
    return (ProtobufCBinaryData){.len = data ? size : 0, .data = (uint8_t *)(uintptr_t)data};
}

/* --- values: out ----------------------------------------------------------------------------- */

static int value_to_any(struct dispatch_value value, struct arena *arena, int depth, wire_any **any,
                        struct error *err);

static int check_arguments(const struct dispatch_argument *list, size_t count, int depth,
                           struct error *err)
{
    if (count > SDK_ARGUMENTS_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "more than %d arguments", SDK_ARGUMENTS_MAX);
    if (depth >= SDK_ARGUMENTS_DEPTH)
        return error_set(err, CODE_INVALID_ARGUMENT, "arguments are nested more than %d deep",
                         SDK_ARGUMENTS_DEPTH);
    for (size_t i = 0; i < count; i++) {
        if (!list[i].name)
            continue;
        if (!slice_is_utf8(slice_str(list[i].name)))
            return error_set(err, CODE_INVALID_ARGUMENT, "an argument's name is not UTF-8");
        for (size_t j = 0; j < i; j++)
            if (list[j].name && strcmp(list[i].name, list[j].name) == 0)
                return error_set(err, CODE_INVALID_ARGUMENT, "argument '%s' is given twice",
                                 list[i].name);
    }
    return 0;
}

static int fill_arguments(const struct dispatch_argument *list, size_t count, struct arena *arena,
                          int depth, wire_arguments *message, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        wire_any *any = NULL;
        int rc = value_to_any(list[i].value, arena, depth + 1, &any, err);

        if (rc)
            return rc;
        if (!list[i].name) {
            message->positional[message->n_positional++] = any;
            continue;
        }
        wire_keyword_argument *entry = arena_alloc(arena, sizeof *entry);
        if (!entry)
            return error_memory(err);
        dispatch__sdk__c__v1__arguments__keyword_entry__init(entry);
        entry->key = lend(list[i].name);
        entry->value = any;
        message->keyword[message->n_keyword++] = entry;
    }
    return 0;
}

static wire_any *new_any(struct arena *arena, const char *type_url, ProtobufCBinaryData bytes)
{
    wire_any *any = arena_alloc(arena, sizeof *any);

    if (!any)
        return NULL;
    google__protobuf__any__init(any);
    any->type_url = lend(type_url);
    any->value = bytes;
    return any;
}

static int arguments_to_any(struct dispatch_value value, struct arena *arena, int depth,
                            wire_any **any, struct error *err)
{
    size_t count = value.count_, size;
    const struct dispatch_argument *list = value.as_.pointer_;
    wire_arguments message = DISPATCH__SDK__C__V1__ARGUMENTS__INIT;
    uint8_t *bytes;
    int rc = check_arguments(list, count, depth, err);

    if (rc)
        return rc;
    message.positional = arena_zalloc(arena, count, sizeof *message.positional);
    message.keyword = arena_zalloc(arena, count, sizeof *message.keyword);
    if (!message.positional || !message.keyword)
        return error_memory(err);
    rc = fill_arguments(list, count, arena, depth, &message, err);
    if (rc)
        return rc;
    size = protobuf_c_message_get_packed_size(&message.base);
    bytes = arena_alloc(arena, size);
    if (!bytes)
        return error_memory(err);
    protobuf_c_message_pack(&message.base, bytes);
    *any = new_any(arena, ARGUMENTS_TYPE_URL, lend_bytes(bytes, size));
    return *any ? 0 : error_memory(err);
}

static int message_to_any(struct dispatch_value value, struct arena *arena, wire_any **any,
                          struct error *err)
{
    const char *type_url = value.extra_.type_url_;

    if (!*type_url || !slice_is_utf8(slice_str(type_url)))
        return error_set(err, CODE_INVALID_ARGUMENT, "a message value needs a type URL in UTF-8");
    *any = new_any(arena, type_url, lend_bytes(value.as_.pointer_, (size_t)value.size_));
    return *any ? 0 : error_memory(err);
}

/* The kinds that the wire room knows, too. */
static int plain_to_any(struct dispatch_value value, struct arena *arena, wire_any **any,
                        struct error *err)
{
    static const enum value_kind kinds[] = {VALUE_NONE,     VALUE_BOOL,   VALUE_INT,   VALUE_UINT,
                                            VALUE_DOUBLE,   VALUE_STRING, VALUE_BYTES, VALUE_TIME,
                                            VALUE_DURATION, VALUE_JSON};
    struct value plain = {0};

    if (value.kind_ >= sizeof kinds / sizeof *kinds)
        return error_set(err, CODE_INVALID_ARGUMENT, "a value of no kind: was it initialised?");
    plain.kind = kinds[value.kind_];
    switch (plain.kind) {
    case VALUE_BOOL:
        plain.boolean = value.as_.integer_ != 0;
        break;
    case VALUE_UINT:
        plain.unsigned_integer = value.as_.natural_;
        break;
    case VALUE_DOUBLE:
        plain.real = value.as_.real_;
        break;
    case VALUE_STRING:
    case VALUE_BYTES:
    case VALUE_JSON:
        plain.bytes = slice(value.as_.pointer_, (size_t)value.size_);
        break;
    default:
        plain.integer = value.as_.integer_;
        break;
    }
    if ((plain.kind == VALUE_STRING || plain.kind == VALUE_JSON) && !slice_is_utf8(plain.bytes))
        return error_set(err, CODE_INVALID_ARGUMENT, "a %s value is not UTF-8",
                         dispatch_kind_name(dispatch_value_kind(value)));
    *any = wire_any_from_value(&plain, arena);
    if (*any)
        return 0;
    return plain.kind == VALUE_JSON
               ? error_set(err, CODE_INVALID_ARGUMENT, "a json value is not valid JSON: %.*s",
                           plain.bytes.len > 100 ? 100 : (int)plain.bytes.len,
                           (const char *)plain.bytes.data)
               : error_memory(err);
}

static int value_to_any(struct dispatch_value value, struct arena *arena, int depth, wire_any **any,
                        struct error *err)
{
    if (value.kind_ == DISPATCH_ARGUMENTS)
        return arguments_to_any(value, arena, depth, any, err);
    if (value.kind_ == DISPATCH_MESSAGE)
        return message_to_any(value, arena, any, err);
    return plain_to_any(value, arena, any, err);
}

int sdk_any_from_value(struct dispatch_value value, struct arena *arena, wire_any **any,
                       struct error *err)
{
    return value_to_any(value, arena, 0, any, err);
}

/* --- values: in ------------------------------------------------------------------------------ */

static int any_to_value(const wire_any *any, struct arena *arena, int depth,
                        struct dispatch_value *value, struct error *err);

static int arguments_from_any(const wire_any *any, struct arena *arena, int depth,
                              struct dispatch_value *value, struct error *err)
{
    wire_arguments *message;
    struct dispatch_argument *list;
    size_t count;
    int rc;

    if (depth >= SDK_ARGUMENTS_DEPTH)
        return error_set(err, CODE_INVALID_ARGUMENT, "arguments are nested more than %d deep",
                         SDK_ARGUMENTS_DEPTH);
    rc = wire_unpack(&dispatch__sdk__c__v1__arguments__descriptor,
                     slice(any->value.data, any->value.len), arena, &message, err);
    if (rc)
        return rc;
    count = message->n_positional + message->n_keyword;
    if (count > SDK_ARGUMENTS_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "more than %d arguments", SDK_ARGUMENTS_MAX);
    list = arena_zalloc(arena, count, sizeof *list);
    if (!list)
        return error_memory(err);
    for (size_t i = 0; i < count && !rc; i++) {
        if (i < message->n_positional) {
            rc = any_to_value(message->positional[i], arena, depth + 1, &list[i].value, err);
        } else {
            const wire_keyword_argument *entry = message->keyword[i - message->n_positional];

            list[i].name = entry->key;
            rc = any_to_value(entry->value, arena, depth + 1, &list[i].value, err);
        }
    }
    if (!rc)
        *value = dispatch_arguments(list, count);
    return rc;
}

static int text_value(struct slice text, enum dispatch_kind kind, struct arena *arena,
                      struct dispatch_value *value, struct error *err)
{
    const char *copy = arena_dup(arena, text);

    if (!copy)
        return error_memory(err);
    *value = dispatch_string_n(copy, text.len);
    value->kind_ = kind;
    return 0;
}

static int plain_from_any(const wire_any *any, struct arena *arena, struct dispatch_value *value,
                          struct error *err)
{
    struct value plain = {0};
    int rc = wire_value_from_any(any, arena, &plain, err);

    if (rc)
        return rc;
    switch (plain.kind) {
    case VALUE_NONE:
        *value = dispatch_null();
        return 0;
    case VALUE_BOOL:
        *value = dispatch_bool(plain.boolean);
        return 0;
    case VALUE_INT:
        *value = dispatch_int(plain.integer);
        return 0;
    case VALUE_UINT:
        *value = dispatch_uint(plain.unsigned_integer);
        return 0;
    case VALUE_DOUBLE:
        *value = dispatch_double(plain.real);
        return 0;
    case VALUE_STRING:
        return text_value(plain.bytes, DISPATCH_STRING, arena, value, err);
    case VALUE_JSON:
        return text_value(plain.bytes, DISPATCH_JSON, arena, value, err);
    case VALUE_BYTES:
        *value = dispatch_bytes(plain.bytes.len ? plain.bytes.data : "", plain.bytes.len);
        return 0;
    case VALUE_TIME:
        *value = dispatch_timestamp(plain.integer);
        return 0;
    case VALUE_DURATION:
        *value = dispatch_duration(plain.integer);
        return 0;
    case VALUE_OTHER:
        break;
    }
    *value = dispatch_message(any->type_url, any->value.data, any->value.len);
    return 0;
}

static int any_to_value(const wire_any *any, struct arena *arena, int depth,
                        struct dispatch_value *value, struct error *err)
{
    if (any && slice_eq_str(wire_type_name(slice_str(any->type_url)), SDK_ARGUMENTS_TYPE))
        return arguments_from_any(any, arena, depth, value, err);
    return plain_from_any(any, arena, value, err);
}

int sdk_value_from_any(const wire_any *any, struct arena *arena, struct dispatch_value *value,
                       struct error *err)
{
    return any_to_value(any, arena, 0, value, err);
}

/* --- calls ----------------------------------------------------------------------------------- */

static int check_call(const struct dispatch_call *call, struct error *err)
{
    if (!call->function || !*call->function)
        return error_set(err, CODE_INVALID_ARGUMENT, "a call needs the name of a function");
    if (!wire_function_valid(slice_str(call->function)))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "'%.200s' is not a function name: letters, digits, '_', '.', '<' and '>', "
                         "not beginning with a digit",
                         call->function);
    if (call->endpoint && !slice_is_utf8(slice_str(call->endpoint)))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the endpoint of a call to '%.200s' is not UTF-8", call->function);
    if (call->version && !slice_is_utf8(slice_str(call->version)))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the version of a call to '%.200s' is not UTF-8", call->function);
    if (call->key && !slice_is_utf8(slice_str(call->key)))
        return error_set(err, CODE_INVALID_ARGUMENT, "the key of a call to '%.200s' is not UTF-8",
                         call->function);
    if (call->expiration_ms < 0)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the expiration of a call to '%.200s' is negative", call->function);
    return 0;
}

static wire_duration *new_duration(struct arena *arena, int64_t ms)
{
    wire_duration *duration = arena_alloc(arena, sizeof *duration);

    if (!duration)
        return NULL;
    google__protobuf__duration__init(duration);
    duration->seconds = ms / 1000;
    duration->nanos = (int32_t)(ms % 1000) * 1000000;
    return duration;
}

int sdk_call_to_wire(const struct dispatch_call *call, const char *endpoint, struct arena *arena,
                     wire_call **out, struct error *err)
{
    wire_call *message;
    int rc = check_call(call, err);

    if (rc)
        return rc;
    message = arena_alloc(arena, sizeof *message);
    if (!message)
        return error_memory(err);
    dispatch__sdk__v1__call__init(message);
    message->correlation_id = call->correlation_id;
    message->function = lend(call->function);
    if (call->endpoint && *call->endpoint)
        message->endpoint = lend(call->endpoint);
    else if (endpoint)
        message->endpoint = lend(endpoint);
    if (call->version)
        message->version = lend(call->version);
    if (call->key)
        message->key = lend(call->key);
    message->priority = call->priority;
    if (call->not_before_ns != 0) {
        message->not_before = wire_time_new(arena, call->not_before_ns);
        if (!message->not_before)
            return error_memory(err);
    }
    if (call->expiration_ms > 0) {
        message->expiration = new_duration(arena, call->expiration_ms);
        if (!message->expiration)
            return error_memory(err);
    }
    rc = sdk_any_from_value(call->input, arena, &message->input, err);
    if (rc)
        return err ? error_set(err, rc, "input of '%.200s': %s", call->function, err->message) : rc;
    *out = message;
    return 0;
}

int sdk_call_from_wire(const wire_call *call, struct arena *arena, struct dispatch_call *out,
                       struct error *err)
{
    struct dispatch_call made = {.function = call->function,
                                 .correlation_id = call->correlation_id};
    int rc = sdk_value_from_any(call->input, arena, &made.input, err);

    if (rc)
        return rc;
    if (*call->endpoint)
        made.endpoint = call->endpoint;
    if (*call->version)
        made.version = call->version;
    if (*call->key)
        made.key = call->key;
    made.priority = call->priority;
    if (call->not_before)
        made.not_before_ns = wire_time_ns(call->not_before);
    if (call->expiration)
        made.expiration_ms = wire_duration_ns(call->expiration) / 1000000;
    *out = made;
    return 0;
}

/* --- errors and results ---------------------------------------------------------------------- */

char *sdk_clean_text(struct arena *arena, struct slice text)
{
    char *copy = arena_dup(arena, text);
    size_t at = 0;

    while (copy && at < text.len) {
        size_t len = 1;

        while (len < 4 && at + len <= text.len && !slice_is_utf8(slice(copy + at, len)))
            len++;
        if (len > 4 || at + len > text.len || !slice_is_utf8(slice(copy + at, len))) {
            copy[at] = '?';
            len = 1;
        }
        at += len;
    }
    return copy;
}

int sdk_error_to_wire(const struct dispatch_error *error, struct arena *arena, wire_error **out,
                      struct error *err)
{
    static const struct dispatch_error bad = {.status = DISPATCH_PERMANENT_ERROR,
                                              .type = "InvalidError"};
    wire_error *message = arena_alloc(arena, sizeof *message);
    struct dispatch_failure why = {0};
    const char *text = error->message;

    if (!message)
        return error_memory(err);
    if (dispatch_error_check(error, &why)) {
        error = &bad;
        text = why.message;
    }
    dispatch__sdk__v1__error__init(message);
    message->type = sdk_clean_text(arena, slice_str(error->type));
    message->message = sdk_clean_text(arena, slice_str(text));
    message->value = lend_bytes(error->value, error->value_size);
    message->traceback = lend_bytes(error->traceback, error->traceback_size);
    message->status = (Dispatch__Sdk__V1__Status)error->status;
    if (!message->type || !message->message)
        return error_memory(err);
    *out = message;
    return 0;
}

struct dispatch_error *sdk_error_from_wire(const wire_error *error, struct arena *arena)
{
    struct dispatch_error *made = arena_zalloc(arena, 1, sizeof *made);

    if (!made)
        return NULL;
    made->status = (enum dispatch_status)error->status;
    made->type = error->type;
    made->message = error->message;
    made->value = error->value.len ? error->value.data : NULL;
    made->value_size = error->value.len;
    made->traceback = error->traceback.len ? error->traceback.data : NULL;
    made->traceback_size = error->traceback.len;
    return made;
}

int sdk_result_to_wire(const struct dispatch_result *result, struct arena *arena,
                       wire_call_result **out, struct error *err)
{
    wire_call_result *message = arena_alloc(arena, sizeof *message);
    int rc = 0;

    if (!message)
        return error_memory(err);
    dispatch__sdk__v1__call_result__init(message);
    message->correlation_id = result->correlation_id;
    if (result->dispatch_id)
        message->dispatch_id = lend(result->dispatch_id);
    if (!dispatch_is_null(result->output))
        rc = sdk_any_from_value(result->output, arena, &message->output, err);
    if (!rc && result->error)
        rc = sdk_error_to_wire(result->error, arena, &message->error, err);
    if (!rc)
        *out = message;
    return rc;
}

int sdk_result_from_wire(const wire_call_result *result, struct arena *arena,
                         struct dispatch_result *out, struct error *err)
{
    struct dispatch_result made = {.status = DISPATCH_OK,
                                   .correlation_id = result->correlation_id,
                                   .dispatch_id = result->dispatch_id};
    int rc = sdk_value_from_any(result->output, arena, &made.output, err);

    if (rc)
        return rc;
    if (result->error) {
        made.error = sdk_error_from_wire(result->error, arena);
        if (!made.error)
            return error_memory(err);
        made.status = made.error->status;
    }
    *out = made;
    return 0;
}
