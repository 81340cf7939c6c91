// SPDX-License-Identifier: Apache-2.0
/*
 * Dispatches that functions make while they run. A run may be made again, whatever it has done: so
 * each such Dispatch has an idempotency key that the run has again, under which the orchestrator
 * makes the calls once.
 *
 *   ID/GENERATION/RESUME/n        of a primitive function: the nth of that run
 *   ID/GENERATION/PATH.AWAITS.n   of a coroutine: the nth after so many of its awaits, however the
 *                                 results came in (path: coroutine_create)
 *
 * In a coroutine it is an await besides: its outcome goes into the journal, and a replay gives the
 * same ids without asking again. The key is for a run that dies before that is committed.
 */
#include "sdk/client.h"
#include "sdk/coroutine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define IDS_TYPE_URL WIRE_TYPE_PREFIX "dispatch.sdk.v1.DispatchResponse"

static _Thread_local struct dispatch_ctx *current;

struct dispatch_ctx *sdk_inside_enter(struct dispatch_ctx *ctx)
{
    struct dispatch_ctx *before = current;

    current = ctx;
    return before;
}

/* The coroutine whose code runs; NULL: none, or one that is being dropped. */
static struct coroutine *running(const struct execution *e)
{
    return e && e->current && !e->current->dropped ? e->current : NULL;
}

bool sdk_inside_key(char key[static SDK_KEY_SIZE])
{
    const wire_run_request *request = current ? current->input.request : NULL;
    struct coroutine *c = current ? running(current->execution) : NULL;
    int len;

    /* Another orchestrator does not tell generations and resumes, and knows no such keys. */
    if (!request || !request->now || !*request->dispatch_id || (current->execution && !c))
        return false;
    if (c)
        len = snprintf(key, SDK_KEY_SIZE, "%s/%" PRIu32 "/%016" PRIx64 ".%" PRIu32 ".%" PRIu32,
                       request->dispatch_id, c->execution->generation, c->path, c->awaits,
                       c->dispatches++);
    else
        len =
            snprintf(key, SDK_KEY_SIZE, "%s/%" PRIu32 "/%" PRIu32 "/%" PRIu32, request->dispatch_id,
                     request->generation, request->resume, current->dispatches++);
    return len < SDK_KEY_SIZE;
}

/* --- in the journal -------------------------------------------------------------------------- */

static bool ids_to_journal(struct arena *arena, const struct dispatch_ids *ids,
                           struct journal_result *out)
{
    wire_dispatch_response message = DISPATCH__SDK__V1__DISPATCH_RESPONSE__INIT;
    size_t size;
    uint8_t *bytes;

    message.dispatch_ids = (char **)(uintptr_t)ids->id;
    message.n_dispatch_ids = ids->count;
    size = protobuf_c_message_get_packed_size(&message.base);
    bytes = arena_alloc(arena, size);
    if (!bytes)
        return false;
    protobuf_c_message_pack(&message.base, bytes);
    out->type_url = slice_str(IDS_TYPE_URL);
    out->output = slice(bytes, size);
    return true;
}

static bool failure_to_journal(struct arena *arena, const struct dispatch_failure *failure,
                               struct journal_result *out)
{
    const char *message = sdk_clean_text(arena, slice_str(failure->message));

    if (!message)
        return false;
    out->failed = true;
    out->status = (uint32_t)wire_status_from_code(failure->code);
    out->type = slice_str(code_name(failure->code));
    out->message = slice_str(message);
    return true;
}

/* What the caller of the Dispatch is told, now as in a replay. */
static int outcome(const struct journal_result *result, size_t count, struct dispatch_ids *ids,
                   struct dispatch_failure *failure)
{
    struct error err = {0};
    struct dispatch_ids read;
    char type[32];
    int code;

    if (result->failed) {
        snprintf(type, sizeof type, "%.*s", SLICE_FMT(result->type));
        code = code_from_name(type);
        return sdk_fail(failure, code > 0 ? code : CODE_UNKNOWN, "%.*s",
                        SLICE_FMT(result->message));
    }
    if (sdk_read_ids(result->output, count, &read, &err))
        return sdk_fail_from(failure, &err);
    if (ids)
        *ids = read;
    else
        dispatch_ids_free(&read);
    return 0;
}

/* Dispatches, and writes down what came of it. What ends the run does not return. */
static void dispatch_new(struct execution *e, struct dispatch_client *client, size_t count,
                         struct journal_record *record)
{
    struct blob *request = e->current->held;
    struct dispatch_failure failure = {0};
    struct dispatch_ids ids = {0};
    bool kept;

    e->current->held = NULL;
    if (sdk_client_dispatch_now(client, request, count, &ids, &failure))
        kept = failure_to_journal(&e->ctx->arena, &failure, &record->result);
    else
        kept = ids_to_journal(&e->ctx->arena, &ids, &record->result);
    dispatch_ids_free(&ids);
    if (kept)
        journal_put(e, record);
    else
        execution_memory(e);
}

bool sdk_inside_dispatch(struct dispatch_client *client, struct blob *request, size_t count,
                         struct dispatch_ids *ids, struct dispatch_failure *failure, int *rc)
{
    struct journal_record record = {.kind = JOURNAL_DISPATCH};
    uint64_t hash = slice_hash(blob_slice(request), 0);
    struct coroutine *c = current ? running(current->execution) : NULL;
    struct execution *e;

    if (!c || c->execution->in_effect)
        return false;
    c->held = request; /* what follows may end the run */
    e = awaiting(current);
    record.digest = (uint32_t)(hash ^ hash >> 32);
    if (journal_replays(e, &record, &record))
        check_digest(e, &record, "a dispatch", (uint32_t)(hash ^ hash >> 32));
    else
        dispatch_new(e, client, count, &record);
    blob_unref(c->held);
    c->held = NULL;
    *rc = outcome(&record.result, count, ids, failure);
    return true;
}
