// SPDX-License-Identifier: Apache-2.0
/*
 * Batches: calls that wait to be dispatched together. Each is encoded when it is added, so that a
 * batch is the DispatchRequest that it will send: its repeated field of calls, one after the other.
 */
#include "sdk/internal.h"

#include <stdlib.h>

#include "base/buf.h"

enum { CALL_MAX = 128 << 20, CALLS_TAG = 1 << 3 | 2 };

struct dispatch_batch {
    struct dispatch_registry *registry;
    struct buf request;
    size_t count;
};

struct dispatch_batch *dispatch_batch_create(struct dispatch_registry *registry)
{
    struct dispatch_batch *batch = malloc(sizeof *batch);

    if (!batch)
        return NULL;
    *batch = (struct dispatch_batch){.registry = sdk_registry(registry)};
    buf_init(&batch->request, SDK_REQUEST_MAX);
    return batch;
}

void dispatch_batch_destroy(struct dispatch_batch *batch)
{
    if (!batch)
        return;
    buf_free(&batch->request);
    free(batch);
}

size_t dispatch_batch_count(const struct dispatch_batch *batch)
{
    return batch->count;
}

void dispatch_batch_clear(struct dispatch_batch *batch)
{
    buf_reset(&batch->request);
    batch->count = 0;
}

/* Appends the call as an element of DispatchRequest.calls; on failure the request is as it was. */
static int append_call(struct buf *request, const wire_call *call, struct error *err)
{
    size_t size = protobuf_c_message_get_packed_size(&call->base), before = request->len;
    uint8_t *bytes;

    buf_append_byte(request, CALLS_TAG);
    buf_put_varint(request, size);
    bytes = buf_extend(request, size);
    if (bytes) {
        protobuf_c_message_pack(&call->base, bytes);
        return 0;
    }
    request->len = before;
    request->failed = false;
    return error_set(err, CODE_RESOURCE_EXHAUSTED,
                     "no memory for another call, or the batch exceeds %d bytes", SDK_REQUEST_MAX);
}

int sdk_request_append(struct buf *request, const struct dispatch_call *call, const char *endpoint,
                       struct error *err)
{
    struct arena arena;
    wire_call *message;
    int rc;

    arena_init(&arena, CALL_MAX);
    rc = sdk_call_to_wire(call, endpoint, &arena, &message, err);
    if (!rc && !*message->endpoint)
        rc = error_set(err, CODE_INVALID_ARGUMENT, "a call to '%.200s' has no endpoint",
                       call->function);
    if (!rc)
        rc = append_call(request, message, err);
    arena_reset(&arena);
    return rc;
}

int dispatch_batch_add(struct dispatch_batch *batch, const struct dispatch_call *call,
                       struct dispatch_failure *failure)
{
    const char *endpoint = call->endpoint;
    struct error err = {0};

    if (!endpoint || !*endpoint)
        endpoint = dispatch_registry_endpoint(batch->registry, failure);
    if (!endpoint)
        return CODE_INVALID_ARGUMENT;
    if (sdk_request_append(&batch->request, call, endpoint, &err))
        return sdk_fail_from(failure, &err);
    batch->count++;
    return 0;
}

int dispatch_batch_dispatch(struct dispatch_batch *batch, struct dispatch_ids *ids,
                            struct dispatch_failure *failure)
{
    struct dispatch_client *client;
    struct blob *request;
    int rc;

    if (batch->count == 0) {
        if (ids)
            *ids = (struct dispatch_ids){0};
        return 0;
    }
    rc = sdk_registry_client(batch->registry, &client, failure);
    if (rc)
        return rc;
    request = blob_copy(buf_slice(&batch->request));
    if (!request)
        return sdk_fail_memory(failure);
    rc = sdk_client_dispatch_packed(client, request, batch->count, ids, failure);
    if (!rc)
        dispatch_batch_clear(batch);
    return rc;
}
