// SPDX-License-Identifier: Apache-2.0
/* The message types that we know by name: those that may stand in an Any. */
#include "dispatch/sdk/python/v1/pickled.pb-c.h"
#include "google/protobuf/empty.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "wire/internal.h"

static const ProtobufCMessageDescriptor *const wrappers[] = {
    &google__protobuf__bool_value__descriptor,   &google__protobuf__int32_value__descriptor,
    &google__protobuf__int64_value__descriptor,  &google__protobuf__uint32_value__descriptor,
    &google__protobuf__uint64_value__descriptor, &google__protobuf__float_value__descriptor,
    &google__protobuf__double_value__descriptor, &google__protobuf__string_value__descriptor,
    &google__protobuf__bytes_value__descriptor,
};

static const ProtobufCMessageDescriptor *const others[] = {
    &google__protobuf__any__descriptor,
    &google__protobuf__duration__descriptor,
    &google__protobuf__empty__descriptor,
    &google__protobuf__list_value__descriptor,
    &google__protobuf__struct__descriptor,
    &google__protobuf__timestamp__descriptor,
    &google__protobuf__value__descriptor,
    &dispatch__sdk__python__v1__pickled__descriptor,
    &dispatch__sdk__v1__call__descriptor,
    &dispatch__sdk__v1__call_result__descriptor,
    &dispatch__sdk__v1__dispatch_request__descriptor,
    &dispatch__sdk__v1__dispatch_response__descriptor,
    &dispatch__sdk__v1__error__descriptor,
    &dispatch__sdk__v1__exit__descriptor,
    &dispatch__sdk__v1__poll__descriptor,
    &dispatch__sdk__v1__poll_result__descriptor,
    &dispatch__sdk__v1__run_request__descriptor,
    &dispatch__sdk__v1__run_response__descriptor,
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct slice wire_type_name(struct slice type_url)
{
    const char *text = type_url.data;
    size_t from = type_url.len;

    while (from > 0 && text[from - 1] != '/')
        from--;
    return slice(text ? text + from : NULL, type_url.len - from);
}

const ProtobufCMessageDescriptor *wire_find_type(struct slice full_name)
{
    for (size_t i = 0; i < COUNT(wrappers); i++)
        if (slice_eq_str(full_name, wrappers[i]->name))
            return wrappers[i];
    for (size_t i = 0; i < COUNT(others); i++)
        if (slice_eq_str(full_name, others[i]->name))
            return others[i];
    return NULL;
}

bool wire_is_wrapper(const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < COUNT(wrappers); i++)
        if (type == wrappers[i])
            return true;
    return false;
}

enum wire_json_type wire_json_type(const ProtobufCMessageDescriptor *type)
{
    if (type == &google__protobuf__value__descriptor)
        return WIRE_JSON_VALUE;
    if (type == &google__protobuf__struct__descriptor)
        return WIRE_JSON_STRUCT;
    if (type == &google__protobuf__list_value__descriptor)
        return WIRE_JSON_LIST;
    return WIRE_JSON_NONE;
}

bool wire_is_special(const ProtobufCMessageDescriptor *type)
{
    return type == &google__protobuf__any__descriptor ||
           type == &google__protobuf__duration__descriptor ||
           type == &google__protobuf__timestamp__descriptor || wire_is_wrapper(type) ||
           wire_json_type(type) != WIRE_JSON_NONE;
}
