// SPDX-License-Identifier: Apache-2.0
/*
 * Calls as they come over the wire, whether in a Dispatch, a poll or a tail call: checked by the
 * same rules, and turned into what the engine takes. What this version cannot do is refused by
 * name: a call that waits for nothing, or forgets its priority in silence, is worse than an error.
 */
#include <assert.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

int call_clip(const char *text)
{
    size_t len = strnlen(text, 100);

    return (int)slice_utf8_prefix(slice(text, len));
}

/* A call to event: has a key, and no other has. */
static int check_key(const wire_call *call, struct error *err)
{
    bool event = strncmp(call->endpoint, "event:", 6) == 0;

    if (event && call->not_before)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "not_before has no meaning for a call to event:, which nobody starts");
    if (event)
        return key_check_name("the key of a call to event:", slice_str(call->key), err);
    if (!call->key[0])
        return 0;
    return error_set(err, CODE_INVALID_ARGUMENT,
                     "key is for calls to the endpoint event: alone: leave it out");
}

static int check_endpoint(const struct call_limits *limits, const char *endpoint, bool required,
                          struct error *err)
{
    int code;

    if (!endpoint[0])
        return required ? error_set(err, CODE_INVALID_ARGUMENT,
                                    "endpoint is required: the URL of the application that has "
                                    "the function, such as http://localhost:8000")
                        : 0;
    code = wire_endpoint_check(slice_str(endpoint), err);
    if (code || !limits->check_endpoint)
        return code;
    return limits->check_endpoint(limits->check_endpoint_arg, slice_str(endpoint), err);
}

static int check_function(const char *function, struct error *err)
{
    if (!function[0])
        return error_set(err, CODE_INVALID_ARGUMENT, "function is required");
    if (wire_function_valid(slice_str(function)))
        return 0;
    return error_set(err, CODE_INVALID_ARGUMENT,
                     "'%.*s' is no function name: a letter or '_', then letters, digits and "
                     "'_', '.', '<', '>', 1,024 characters at most",
                     call_clip(function), function);
}

int call_to_spec(const struct call_limits *limits, const wire_call *call, bool endpoint_required,
                 struct engine_spec *spec, struct error *err)
{
    struct engine_spec s = {.function = slice_str(call->function),
                            .endpoint = slice_str(call->endpoint),
                            .version = slice_str(call->version),
                            .key = slice_str(call->key),
                            .correlation_id = call->correlation_id,
                            .priority = call->priority};
    int code = check_function(call->function, err);

    if (!code)
        code = check_endpoint(limits, call->endpoint, endpoint_required, err);
    if (!code)
        code = check_key(call, err);
    if (code)
        return code;
    if (s.version.len > 1024)
        return error_set(err, CODE_INVALID_ARGUMENT, "version is longer than 1,024 bytes");
    if (call->expiration)
        s.expiration_ns = wire_duration_ns(call->expiration);
    if (call->not_before)
        s.not_before = wire_time_ns(call->not_before);
    if (s.expiration_ns < 0)
        return error_set(err, CODE_INVALID_ARGUMENT, "expiration is negative");
    if (call->input) {
        size_t len = protobuf_c_message_get_packed_size(&call->input->base);

        if (len > limits->payload_max)
            return error_set(err, CODE_INVALID_ARGUMENT,
                             "input has %zu bytes, more than the %zu that are allowed", len,
                             limits->payload_max);
        s.input = wire_pack_blob(call->input);
        if (!s.input)
            return error_memory(err);
    }
    *spec = s;
    return 0;
}

int call_to_specs(const struct call_limits *limits, wire_call *const *calls, size_t count,
                  bool endpoint_required, struct engine_spec **specs, struct error *err)
{
    struct engine_spec *list = calloc(count ? count : 1, sizeof *list);
    struct error why = {0};

    if (!list)
        return error_memory(err);
    for (size_t i = 0; i < count; i++) {
        const wire_call *call = calls[i];
        int code = call_to_spec(limits, call, endpoint_required, &list[i], &why);

        if (!code)
            continue;
        if (code != CODE_RESOURCE_EXHAUSTED && call->function[0])
            error_set(&why, code, "calls[%zu] (function '%.*s'): %s", i, call_clip(call->function),
                      call->function, why.message);
        else if (code != CODE_RESOURCE_EXHAUSTED)
            error_set(&why, code, "calls[%zu]: %s", i, why.message);
        call_free_specs(list, i);
        return error_set(err, code, "%s", why.message);
    }
    *specs = list;
    return 0;
}

void call_free_specs(struct engine_spec *specs, size_t count)
{
    if (!specs)
        return;
    for (size_t i = 0; i < count; i++)
        blob_unref(specs[i].input);
    free(specs);
}
