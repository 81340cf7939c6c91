// SPDX-License-Identifier: Apache-2.0
/* Numbers in proto JSON: bare or in a string, integers also as reals without a fraction. */
#include "wire/internal.h"

#include <float.h>
#include <math.h>

size_t wire_element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return sizeof(uint32_t);
    }
}

struct integer {
    bool negative;
    uint64_t magnitude;
};

static bool integer_from_real(double real, struct integer *n)
{
    double magnitude = fabs(real);

    if (!(magnitude < 0x1p64) || magnitude != trunc(magnitude))
        return false;
    *n = (struct integer){real < 0, (uint64_t)magnitude};
    return true;
}

static bool integer_from_text(struct slice text, struct integer *n)
{
    const char *data = text.data;
    size_t i = text.len > 0 && data[0] == '-';

    *n = (struct integer){.negative = i > 0};
    if (i == text.len)
        return false;
    for (; i < text.len; i++)
        if (data[i] < '0' || data[i] > '9' ||
            __builtin_mul_overflow(n->magnitude, 10, &n->magnitude) ||
            __builtin_add_overflow(n->magnitude, (uint64_t)(data[i] - '0'), &n->magnitude))
            return false;
    return true;
}

static bool get_integer(const json_t *json, struct integer *n)
{
    switch (json_typeof(json)) {
    case JSON_INTEGER: {
        json_int_t value = json_integer_value(json);

        *n = (struct integer){value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value};
        return true;
    }
    case JSON_REAL:
        return integer_from_real(json_real_value(json), n);
    case JSON_STRING:
        return integer_from_text(wire_json_slice(json), n);
    default:
        return false;
    }
}

static int read_integer(const json_t *json, bool is_signed, int bits, void *slot,
                        const struct wire_path *path, struct error *err)
{
    uint64_t most = is_signed ? UINT64_C(1) << (bits - 1) : UINT64_MAX >> (64 - bits), value;
    struct integer n;

    if (!get_integer(json, &n))
        return wire_path_error(path, err, "expected an integer, got %s",
                               json_is_number(json)   ? "a number with a fraction or too large"
                               : json_is_string(json) ? "a string that is none"
                                                      : wire_json_kind(json));
    if (n.negative ? n.magnitude > (is_signed ? most : 0) : n.magnitude > most - is_signed)
        return wire_path_error(path, err, "out of the range of %s integers of %d bits",
                               is_signed ? "signed" : "unsigned", bits);
    value = n.negative ? -n.magnitude : n.magnitude;
    if (bits == 64)
        memcpy(slot, &value, sizeof value);
    else
        memcpy(slot, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
    return 0;
}

static bool get_real(const json_t *json, double *real)
{
    json_t *inner;
    bool good;

    if (json_is_number(json)) {
        *real = json_number_value(json);
        return true;
    }
    if (!json_is_string(json))
        return false;
    if (slice_eq_str(wire_json_slice(json), "NaN"))
        *real = (double)NAN;
    else if (slice_eq_str(wire_json_slice(json), "Infinity"))
        *real = (double)INFINITY;
    else if (slice_eq_str(wire_json_slice(json), "-Infinity"))
        *real = -(double)INFINITY;
    else {
        inner = wire_json_parse(wire_json_slice(json), NULL); /* in every locale the same */
        good = json_is_number(inner);
        if (good)
            *real = json_number_value(inner);
        json_decref(inner);
        return good;
    }
    return true;
}

int wire_read_number(const json_t *json, ProtobufCType type, void *slot,
                     const struct wire_path *path, struct error *err)
{
    double real;

    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_integer(json, true, 32, slot, path, err);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_integer(json, false, 32, slot, path, err);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_integer(json, true, 64, slot, path, err);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_integer(json, false, 64, slot, path, err);
    default:
        break;
    }
    if (!get_real(json, &real))
        return wire_path_error(path, err, "expected a number, got %s", wire_json_kind(json));
    if (type == PROTOBUF_C_TYPE_DOUBLE) {
        *(double *)slot = real;
        return 0;
    }
    if (isfinite(real) && fabs(real) > (double)FLT_MAX)
        return wire_path_error(path, err, "out of the range of a float");
    *(float *)slot = (float)real;
    return 0;
}
