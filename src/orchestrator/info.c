// SPDX-License-Identifier: Apache-2.0
/* What people are told of a call: its row in words of the API. */
#include "orchestrator/inner.h"

static Dispatch__V1__State state_of(enum call_state state)
{
    switch (state) {
    case CALL_READY:
        return DISPATCH__V1__STATE__STATE_READY;
    case CALL_WAITING:
        return DISPATCH__V1__STATE__STATE_WAITING;
    case CALL_RUNNING:
        return DISPATCH__V1__STATE__STATE_RUNNING;
    case CALL_SUSPENDED:
        return DISPATCH__V1__STATE__STATE_SUSPENDED;
    case CALL_DONE:
        return DISPATCH__V1__STATE__STATE_DONE;
    default:
        return DISPATCH__V1__STATE__STATE_UNSPECIFIED;
    }
}

static bool set_times(struct arena *arena, const struct engine_row *row,
                      Dispatch__V1__CallInfo *info)
{
    info->creation_time = wire_time_new(arena, row->created);
    info->expiration_time = wire_time_new(arena, row->expires);
    if (!info->creation_time || !info->expiration_time)
        return false;
    if (row->state == CALL_DONE)
        return (info->done_time = wire_time_new(arena, row->done)) != NULL;
    if (row->state == CALL_READY || row->state == CALL_RUNNING || row->due == TIME_NEVER)
        return true;
    return (info->due_time = wire_time_new(arena, row->due)) != NULL;
}

static bool set_texts(struct arena *arena, uint64_t tag, const struct engine_row *row,
                      Dispatch__V1__CallInfo *info)
{
    info->dispatch_id = result_id(arena, tag, row->id);
    info->parent_dispatch_id = result_id(arena, tag, row->parent);
    info->root_dispatch_id = result_id(arena, tag, row->root ? row->root : row->id);
    info->retry_of = result_id(arena, tag, row->retry_of);
    info->key = arena_dup(arena, row->key);
    info->function = arena_dup(arena, row->function);
    info->endpoint = arena_dup(arena, row->endpoint);
    return info->dispatch_id && info->parent_dispatch_id && info->root_dispatch_id &&
           info->retry_of && info->key && info->function && info->endpoint;
}

/* The state as an Any: bytes that came without a type are a BytesValue. */
static int build_state(struct arena *arena, const struct info_parts *parts, wire_any **out,
                       struct error *err)
{
    bool typed = parts->row->state_arm == 2;
    struct value bytes = {.kind = VALUE_BYTES};
    size_t head;
    uint8_t *joined;
    int code = 0;

    if (typed)
        code = wire_unpack(&google__protobuf__any__descriptor, parts->state, arena, out, err);
    if (code || (typed && !parts->appended.len))
        return code;
    head = typed ? (*out)->value.len : parts->state.len;
    joined = arena_alloc(arena, head + parts->appended.len + 1);
    if (!joined)
        return error_memory(err);
    if (head)
        memcpy(joined, typed ? (const void *)(*out)->value.data : parts->state.data, head);
    if (parts->appended.len)
        memcpy(joined + head, parts->appended.data, parts->appended.len);
    bytes.bytes = slice(joined, head + parts->appended.len);
    if (typed)
        (*out)->value = (ProtobufCBinaryData){.len = bytes.bytes.len, .data = joined};
    else
        *out = wire_any_from_value(&bytes, arena);
    return *out ? 0 : error_memory(err);
}

int info_build(struct arena *arena, uint64_t tag, const struct info_parts *parts,
               Dispatch__V1__CallInfo **out, struct error *err)
{
    const struct engine_row *row = parts->row;
    Dispatch__V1__CallInfo *info = arena_alloc(arena, sizeof *info);
    bool done = row->state == CALL_DONE;
    int code = 0;

    if (!info)
        return error_memory(err);
    dispatch__v1__call_info__init(info);
    if (!set_texts(arena, tag, row, info) || !set_times(arena, row, info))
        return error_memory(err);
    info->state = state_of(row->state);
    info->status = (Dispatch__Sdk__V1__Status)(done ? row->status : row->last_status);
    info->generation = row->generation;
    info->attempts = row->attempts;
    info->resumes = row->resumes;
    info->outstanding = row->outstanding;
    info->waiting_for = arena_dup(arena, parts->waiting_for);
    if (!info->waiting_for)
        return error_memory(err);
    if (done && parts->result)
        code = result_build(arena, tag, row, parts->result, &info->result, err);
    if (!code && parts->input.data)
        code =
            wire_unpack(&google__protobuf__any__descriptor, parts->input, arena, &info->input, err);
    if (!code && parts->state.data)
        code = build_state(arena, parts, &info->coroutine_state, err);
    if (!code && parts->last_error.data)
        code = wire_unpack(&dispatch__sdk__v1__error__descriptor, parts->last_error, arena,
                           &info->last_error, err);
    if (!code)
        *out = info;
    return code;
}
