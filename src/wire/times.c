// SPDX-License-Identifier: Apache-2.0
/* Timestamps and durations to nanoseconds and back. A protobuf timestamp reaches further than
 * 64-bit nanoseconds (the years 1677 to 2262): what is beyond becomes the end of the range. */
#include "base/clock.h"
#include "wire/internal.h"

static int64_t to_ns(int64_t seconds, int32_t nanos)
{
    int64_t ns;

    if (__builtin_mul_overflow(seconds, NS_PER_S, &ns) || __builtin_add_overflow(ns, nanos, &ns))
        return seconds > 0 ? INT64_MAX : INT64_MIN;
    return ns;
}

int64_t wire_time_ns(const wire_timestamp *t)
{
    return t ? to_ns(t->seconds, t->nanos) : 0;
}

int64_t wire_duration_ns(const wire_duration *d)
{
    return d ? to_ns(d->seconds, d->nanos) : 0;
}

/* The nanos of a timestamp count forward, also before the epoch. */
void wire_set_time(wire_timestamp *t, int64_t ns)
{
    t->seconds = ns / NS_PER_S;
    t->nanos = (int32_t)(ns % NS_PER_S);
    if (t->nanos < 0) {
        t->seconds--;
        t->nanos += (int32_t)NS_PER_S;
    }
}

wire_timestamp *wire_time_new(struct arena *arena, int64_t ns)
{
    wire_timestamp *t = arena_alloc(arena, sizeof *t);

    if (!t)
        return NULL;
    google__protobuf__timestamp__init(t);
    wire_set_time(t, ns);
    return t;
}

/* The nanos of a duration have the sign of its seconds. */
void wire_set_duration(wire_duration *d, int64_t ns)
{
    d->seconds = ns / NS_PER_S;
    d->nanos = (int32_t)(ns % NS_PER_S);
}
