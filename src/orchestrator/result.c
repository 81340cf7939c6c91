// SPDX-License-Identifier: Apache-2.0
/*
 * The result of a finished call, as its parent and people get it, from its DONE row. What the row
 * does not say in words is said here: a call that expired or was cancelled, and a failure without
 * an error. An error carries the status of its call, so that whoever returns it on can end the same
 * way.
 */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/inner.h"

char *result_id(struct arena *arena, uint64_t tag, uint64_t id)
{
    char text[ID_TEXT_LEN + 1] = "";

    if (id)
        id_format(text, (struct id_parts){.partition = PARTITION, .number = id, .tag = tag});
    return arena_dup(arena, slice_str(text));
}

/* "24h0m0s", "1m30s", "1.5s": as Go writes durations, as these go to its users too. */
static void format_duration(char *out, size_t size, int64_t ns)
{
    int64_t ms = ns > 0 ? ns / NS_PER_MS : 0, s = ms / 1000, m = s / 60, h = m / 60;
    char seconds[24];

    if (ms % 1000)
        snprintf(seconds, sizeof seconds, "%d.%03d", (int)(s % 60), (int)(ms % 1000));
    else
        snprintf(seconds, sizeof seconds, "%d", (int)(s % 60));
    if (h)
        snprintf(out, size, "%" PRId64 "h%dm%ss", h, (int)(m % 60), seconds);
    else if (m)
        snprintf(out, size, "%" PRId64 "m%ss", m, seconds);
    else
        snprintf(out, size, "%ss", seconds);
}

static char *expired_message(struct arena *arena, const struct engine_row *row)
{
    char after[64];
    const char *plural = row->attempts == 1 ? "" : "s";

    format_duration(after, sizeof after, row->expires - row->created);
    if (row->last_status == STATUS_UNSPECIFIED)
        return arena_printf(arena, "expired after %s and %" PRIu64 " attempt%s", after,
                            row->attempts, plural);
    return arena_printf(arena, "expired after %s and %" PRIu64 " attempt%s, the last status was %s",
                        after, row->attempts, plural, status_name(row->last_status));
}

static wire_error *made_error(struct arena *arena, const char *type, char *message)
{
    wire_error *e = arena_alloc(arena, sizeof *e);
    char *type_copy = arena_dup(arena, slice_str(type));

    if (!e || !type_copy || !message)
        return NULL;
    dispatch__sdk__v1__error__init(e);
    e->type = type_copy;
    e->message = message;
    return e;
}

static int unpack_part(struct arena *arena, uint64_t tag, const struct engine_row *row,
                       const char *what, const ProtobufCMessageDescriptor *type, struct slice bytes,
                       void *message, struct error *err)
{
    struct error why;
    int code = wire_unpack(type, bytes, arena, message, &why);
    char id[ID_TEXT_LEN + 1];

    if (code == CODE_INVALID_ARGUMENT) {
        id_format(id, (struct id_parts){.partition = PARTITION, .number = row->id, .tag = tag});
        return error_set(err, CODE_DATA_LOSS, "the %s stored for call %s is damaged: %s", what, id,
                         why.message);
    }
    return code ? error_set(err, code, "%s", why.message) : 0;
}

static int build_error(struct arena *arena, uint64_t tag, const struct engine_row *row,
                       const struct engine_result *result, wire_error **out, struct error *err)
{
    wire_error *e = NULL;

    if (row->end == END_EXPIRED) {
        e = made_error(arena, "Expired", expired_message(arena, row));
    } else if (row->end == END_CANCELLED) {
        e = made_error(arena, "Cancelled", arena_printf(arena, "the call was cancelled"));
    } else if (row->end == END_KEY_TAKEN) {
        e = made_error(arena, "KeyTaken",
                       arena_printf(arena,
                                    "the key '%.*s' is another call's, which waits for its "
                                    "completion or has had it",
                                    SLICE_FMT(row->key)));
    } else if (result->has_error) {
        int code = unpack_part(arena, tag, row, "error", &dispatch__sdk__v1__error__descriptor,
                               result->error, &e, err);

        if (code)
            return code;
    } else if (row->status != STATUS_OK) {
        e = made_error(arena, "status", arena_printf(arena, "%s", status_name(row->status)));
    } else {
        return 0;
    }
    if (!e)
        return error_memory(err);
    if (e->status == DISPATCH__SDK__V1__STATUS__STATUS_UNSPECIFIED && row->status != STATUS_OK)
        e->status = (Dispatch__Sdk__V1__Status)row->status;
    *out = e;
    return 0;
}

int result_build(struct arena *arena, uint64_t tag, const struct engine_row *row,
                 const struct engine_result *result, wire_call_result **out, struct error *err)
{
    wire_call_result *r = arena_alloc(arena, sizeof *r);
    int code = 0;

    if (!r)
        return error_memory(err);
    dispatch__sdk__v1__call_result__init(r);
    r->correlation_id = row->correlation_id;
    r->dispatch_id = result_id(arena, tag, row->id);
    if (!r->dispatch_id)
        return error_memory(err);
    if (result->has_output)
        code = unpack_part(arena, tag, row, "output", &google__protobuf__any__descriptor,
                           result->output, &r->output, err);
    if (!code)
        code = build_error(arena, tag, row, result, &r->error, err);
    if (!code)
        *out = r;
    return code;
}
