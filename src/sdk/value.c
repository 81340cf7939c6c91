// SPDX-License-Identifier: Apache-2.0
/*
 * Values: the constructors and readers of the public header. A value is 32 bytes: what kind, a
 * number or a pointer, a size. None of this allocates or fails; what is wrong with the bytes of a
 * value comes out where it is encoded (codec.c).
 */
#include "sdk/internal.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

static_assert(sizeof(struct dispatch_value) == 32, "values are 32 bytes");
static_assert(sizeof(struct dispatch_result) == 96, "results are 96 bytes");

static struct dispatch_value with_bytes(enum dispatch_kind kind, const void *data, size_t size)
{
    struct dispatch_value value = {.kind_ = kind, .size_ = data ? size : 0};

    value.as_.pointer_ = data && size > 0 ? data : "";
    return value;
}

struct dispatch_value dispatch_null(void)
{
    return (struct dispatch_value){0};
}

struct dispatch_value dispatch_bool(bool value)
{
    return (struct dispatch_value){.kind_ = DISPATCH_BOOL, .as_ = {.integer_ = value}};
}

struct dispatch_value dispatch_int(int64_t value)
{
    return (struct dispatch_value){.kind_ = DISPATCH_INT, .as_ = {.integer_ = value}};
}

struct dispatch_value dispatch_uint(uint64_t value)
{
    return (struct dispatch_value){.kind_ = DISPATCH_UINT, .as_ = {.natural_ = value}};
}

struct dispatch_value dispatch_double(double value)
{
    return (struct dispatch_value){.kind_ = DISPATCH_DOUBLE, .as_ = {.real_ = value}};
}

struct dispatch_value dispatch_string(const char *text)
{
    return text ? with_bytes(DISPATCH_STRING, text, strlen(text)) : dispatch_null();
}

struct dispatch_value dispatch_string_n(const char *text, size_t size)
{
    return with_bytes(DISPATCH_STRING, text, size);
}

struct dispatch_value dispatch_bytes(const void *data, size_t size)
{
    return with_bytes(DISPATCH_BYTES, data, size);
}

struct dispatch_value dispatch_timestamp(int64_t unix_ns)
{
    return (struct dispatch_value){.kind_ = DISPATCH_TIMESTAMP, .as_ = {.integer_ = unix_ns}};
}

struct dispatch_value dispatch_duration(int64_t ns)
{
    return (struct dispatch_value){.kind_ = DISPATCH_DURATION, .as_ = {.integer_ = ns}};
}

struct dispatch_value dispatch_json(const char *text)
{
    return text ? with_bytes(DISPATCH_JSON, text, strlen(text)) : dispatch_null();
}

struct dispatch_value dispatch_message(const char *type_url, const void *data, size_t size)
{
    struct dispatch_value value = with_bytes(DISPATCH_MESSAGE, data, size);

    value.extra_.type_url_ = type_url ? type_url : "";
    return value;
}

struct dispatch_value dispatch_arguments(const struct dispatch_argument *arguments, size_t count)
{
    struct dispatch_value value = {.kind_ = DISPATCH_ARGUMENTS};

    /* A count past the maximum stays past it, and is refused when the value is encoded. */
    value.count_ = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
    value.as_.pointer_ = arguments;
    return value;
}

enum dispatch_kind dispatch_value_kind(struct dispatch_value value)
{
    return (enum dispatch_kind)value.kind_;
}

const char *dispatch_kind_name(enum dispatch_kind kind)
{
    static const char *const names[] = {"null",     "bool",   "int",       "uint",
                                        "double",   "string", "bytes",     "timestamp",
                                        "duration", "json",   "arguments", "message"};

    return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

bool dispatch_is_null(struct dispatch_value value)
{
    return value.kind_ == DISPATCH_NULL;
}

bool dispatch_as_bool(struct dispatch_value value, bool *out)
{
    if (value.kind_ == DISPATCH_JSON) {
        struct slice text = slice(value.as_.pointer_, (size_t)value.size_);

        if (!slice_eq_str(text, "true") && !slice_eq_str(text, "false"))
            return false;
        *out = text.len == 4;
        return true;
    }
    if (value.kind_ != DISPATCH_BOOL)
        return false;
    *out = value.as_.integer_ != 0;
    return true;
}

/* The number that a JSON text is, if it is just that. */
static bool json_number(struct dispatch_value value, double *out)
{
    char text[64], *end;
    double number;

    if (value.kind_ != DISPATCH_JSON || value.size_ == 0 || value.size_ >= sizeof text)
        return false;
    memcpy(text, value.as_.pointer_, (size_t)value.size_);
    text[value.size_] = '\0';
    if (text[0] != '-' && (text[0] < '0' || text[0] > '9'))
        return false;
    number = strtod(text, &end);
    if (*end != '\0' || !isfinite(number))
        return false;
    *out = number;
    return true;
}

bool dispatch_as_double(struct dispatch_value value, double *out)
{
    switch (value.kind_) {
    case DISPATCH_DOUBLE:
        *out = value.as_.real_;
        return true;
    case DISPATCH_INT:
        *out = (double)value.as_.integer_;
        return true;
    case DISPATCH_UINT:
        *out = (double)value.as_.natural_;
        return true;
    default:
        return json_number(value, out);
    }
}

bool dispatch_as_int(struct dispatch_value value, int64_t *out)
{
    double real;

    if (value.kind_ == DISPATCH_INT) {
        *out = value.as_.integer_;
        return true;
    }
    if (value.kind_ == DISPATCH_UINT) {
        if (value.as_.natural_ > INT64_MAX)
            return false;
        *out = (int64_t)value.as_.natural_;
        return true;
    }
    if (!dispatch_as_double(value, &real) || !(real >= -0x1p63 && real < 0x1p63) ||
        real != trunc(real))
        return false;
    *out = (int64_t)real;
    return true;
}

bool dispatch_as_uint(struct dispatch_value value, uint64_t *out)
{
    double real;

    if (value.kind_ == DISPATCH_UINT) {
        *out = value.as_.natural_;
        return true;
    }
    if (value.kind_ == DISPATCH_INT) {
        if (value.as_.integer_ < 0)
            return false;
        *out = (uint64_t)value.as_.integer_;
        return true;
    }
    if (!dispatch_as_double(value, &real) || !(real >= 0 && real < 0x1p64) || real != trunc(real))
        return false;
    *out = (uint64_t)real;
    return true;
}

static bool as_time(struct dispatch_value value, enum dispatch_kind kind, int64_t *out)
{
    if (value.kind_ != (uint32_t)kind)
        return false;
    *out = value.as_.integer_;
    return true;
}

bool dispatch_as_timestamp(struct dispatch_value value, int64_t *unix_ns)
{
    return as_time(value, DISPATCH_TIMESTAMP, unix_ns);
}

bool dispatch_as_duration(struct dispatch_value value, int64_t *ns)
{
    return as_time(value, DISPATCH_DURATION, ns);
}

static const void *as_bytes(struct dispatch_value value, enum dispatch_kind kind, size_t *size)
{
    if (value.kind_ != (uint32_t)kind)
        return NULL;
    if (size)
        *size = (size_t)value.size_;
    return value.as_.pointer_;
}

const char *dispatch_as_string(struct dispatch_value value, size_t *size)
{
    return as_bytes(value, DISPATCH_STRING, size);
}

const void *dispatch_as_bytes(struct dispatch_value value, size_t *size)
{
    return as_bytes(value, DISPATCH_BYTES, size);
}

const char *dispatch_as_json(struct dispatch_value value, size_t *size)
{
    return as_bytes(value, DISPATCH_JSON, size);
}

const void *dispatch_as_message(struct dispatch_value value, const char **type_url, size_t *size)
{
    const void *data = as_bytes(value, DISPATCH_MESSAGE, size);

    if (data && type_url)
        *type_url = value.extra_.type_url_;
    return data;
}

const struct dispatch_argument *dispatch_argument_list(struct dispatch_value arguments,
                                                       size_t *count)
{
    if (arguments.kind_ != DISPATCH_ARGUMENTS || arguments.count_ == 0)
        return NULL;
    *count = arguments.count_;
    return arguments.as_.pointer_;
}

size_t dispatch_argument_count(struct dispatch_value arguments)
{
    size_t count = 0, positional = 0;
    const struct dispatch_argument *list = dispatch_argument_list(arguments, &count);

    for (size_t i = 0; i < count; i++)
        positional += list[i].name == NULL;
    return positional;
}

bool dispatch_argument_at(struct dispatch_value arguments, size_t index,
                          struct dispatch_value *value)
{
    size_t count = 0;
    const struct dispatch_argument *list = dispatch_argument_list(arguments, &count);

    for (size_t i = 0; i < count; i++) {
        if (list[i].name || index-- > 0)
            continue;
        *value = list[i].value;
        return true;
    }
    return false;
}

bool dispatch_argument_named(struct dispatch_value arguments, const char *name,
                             struct dispatch_value *value)
{
    size_t count = 0;
    const struct dispatch_argument *list = dispatch_argument_list(arguments, &count);

    for (size_t i = 0; i < count; i++) {
        if (!list[i].name || strcmp(list[i].name, name) != 0)
            continue;
        *value = list[i].value;
        return true;
    }
    return false;
}
