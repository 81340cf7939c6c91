// SPDX-License-Identifier: Apache-2.0
/*
 * What people and programs do to calls: a method of CallService each, one request and its answer.
 */
#include "sdk/client.h"

#include <stdlib.h>

#define METHOD(name) "/dispatch.v1.CallService/" name

enum { INFO_MEMORY_MAX = 256 << 20 };

static char *text(const char *from)
{
    return (char *)(uintptr_t)from;
}

/* Sends a message; `reply` NULL: what is answered says no more than that it is done. */
static int ask(struct dispatch_client *client, const char *path, const void *message,
               bool repeatable, struct blob **reply, struct dispatch_failure *failure)
{
    struct blob *request = wire_pack_blob(message);

    if (!request)
        return sdk_fail_memory(failure);
    return sdk_client_control(client, path, ((const ProtobufCMessage *)message)->descriptor,
                              request, repeatable, reply, failure);
}

static int check_id(const char *id, struct dispatch_failure *failure)
{
    return id && *id ? 0 : sdk_fail(failure, CODE_INVALID_ARGUMENT, "missing dispatch id");
}

int dispatch_client_cancel(struct dispatch_client *client, const char *dispatch_id,
                           struct dispatch_failure *failure)
{
    Dispatch__V1__CancelRequest message = DISPATCH__V1__CANCEL_REQUEST__INIT;
    int rc = check_id(dispatch_id, failure);

    message.dispatch_id = text(dispatch_id);
    return rc ? rc : ask(client, METHOD("Cancel"), &message, false, NULL, failure);
}

int dispatch_client_restart(struct dispatch_client *client, const char *dispatch_id,
                            struct dispatch_failure *failure)
{
    Dispatch__V1__RestartRequest message = DISPATCH__V1__RESTART_REQUEST__INIT;
    int rc = check_id(dispatch_id, failure);

    message.dispatch_id = text(dispatch_id);
    return rc ? rc : ask(client, METHOD("Restart"), &message, false, NULL, failure);
}

/* --- completing ------------------------------------------------------------------------------ */

static int fill_completion(const struct dispatch_result *result, struct arena *arena,
                           Dispatch__V1__CompleteRequest *message, struct error *err)
{
    int rc = 0;

    if (!dispatch_is_null(result->output))
        rc = sdk_any_from_value(result->output, arena, &message->output, err);
    if (!rc && result->error)
        rc = sdk_error_to_wire(result->error, arena, &message->error, err);
    return rc;
}

int dispatch_client_complete(struct dispatch_client *client, const char *dispatch_id,
                             const char *key, const struct dispatch_result *result,
                             struct dispatch_failure *failure)
{
    Dispatch__V1__CompleteRequest message = DISPATCH__V1__COMPLETE_REQUEST__INIT;
    bool by_id = dispatch_id && *dispatch_id, by_key = key && *key;
    struct error err = {0};
    struct arena arena;
    int rc;

    if (by_id == by_key)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT,
                        "a call is completed either by its id or by its key");
    arena_init(&arena, SDK_REQUEST_MAX);
    if (by_id)
        message.dispatch_id = text(dispatch_id);
    else
        message.key = text(key);
    rc = fill_completion(result, &arena, &message, &err);
    if (rc)
        sdk_fail_from(failure, &err);
    else
        rc = ask(client, METHOD("Complete"), &message, false, NULL, failure);
    arena_reset(&arena);
    return rc;
}

/* --- retrying -------------------------------------------------------------------------------- */

/* Unpacks an answer into memory of its own, which *memory is then. */
static int unpack(const ProtobufCMessageDescriptor *type, struct blob *reply, struct arena **memory,
                  void *message, struct dispatch_failure *failure)
{
    struct arena *made = sdk_memory_create(INFO_MEMORY_MAX);
    struct error err = {0};

    if (!made) {
        blob_unref(reply);
        return sdk_fail_memory(failure);
    }
    if (wire_unpack(type, blob_slice(reply), made, message, &err)) {
        sdk_memory_destroy(made);
        made = NULL;
    }
    blob_unref(reply);
    *memory = made;
    return made ? 0 : sdk_fail_from(failure, &err);
}

int dispatch_client_retry(struct dispatch_client *client, const char *dispatch_id,
                          struct dispatch_ids *ids, struct dispatch_failure *failure)
{
    Dispatch__V1__RetryRequest message = DISPATCH__V1__RETRY_REQUEST__INIT;
    Dispatch__V1__RetryResponse *response;
    struct blob *reply = NULL;
    struct arena *memory;
    const char **list;
    int rc = check_id(dispatch_id, failure);

    message.dispatch_id = text(dispatch_id);
    if (!rc)
        rc = ask(client, METHOD("Retry"), &message, false, &reply, failure);
    if (!rc)
        rc = unpack(&dispatch__v1__retry_response__descriptor, reply, &memory, &response, failure);
    if (rc)
        return rc;
    list = arena_alloc(memory, sizeof *list);
    if (!ids || !list) {
        sdk_memory_destroy(memory);
        return list ? 0 : sdk_fail_memory(failure);
    }
    list[0] = response->dispatch_id;
    *ids = (struct dispatch_ids){.id = list, .count = 1, .memory_ = memory};
    return 0;
}

/* --- telling --------------------------------------------------------------------------------- */

const char *dispatch_call_state_name(enum dispatch_call_state state)
{
    static const char *const names[] = {"unknown", "ready",     "waiting",
                                        "running", "suspended", "done"};

    return (unsigned)state < sizeof names / sizeof *names ? names[state] : names[0];
}

static int64_t time_ns(const wire_timestamp *time)
{
    return time ? wire_time_ns(time) : 0;
}

static void fill_plain(const Dispatch__V1__CallInfo *from, struct dispatch_call_info *info)
{
    *info = (struct dispatch_call_info){
        .dispatch_id = from->dispatch_id,
        .parent_dispatch_id = from->parent_dispatch_id,
        .root_dispatch_id = from->root_dispatch_id,
        .function = from->function,
        .endpoint = from->endpoint,
        .retry_of = from->retry_of,
        .key = from->key,
        .waiting_for = from->waiting_for,
        .state = (enum dispatch_call_state)from->state,
        .status = (enum dispatch_status)from->status,
        .creation_time_ns = time_ns(from->creation_time),
        .expiration_time_ns = time_ns(from->expiration_time),
        .due_time_ns = time_ns(from->due_time),
        .done_time_ns = time_ns(from->done_time),
        .attempts = from->attempts,
        .generation = from->generation,
        .resumes = from->resumes,
        .outstanding = from->outstanding,
    };
}

static int fill_values(const Dispatch__V1__CallInfo *from, struct arena *memory,
                       struct dispatch_call_info *info, struct error *err)
{
    struct dispatch_result *result = arena_zalloc(memory, 1, sizeof *result);
    int rc = sdk_value_from_any(from->input, memory, &info->input, err);

    if (!rc)
        rc = sdk_value_from_any(from->coroutine_state, memory, &info->coroutine_state, err);
    if (!rc && !result)
        rc = error_memory(err);
    if (!rc && info->state == DISPATCH_CALL_DONE) {
        rc = sdk_result_from_info(from, info->dispatch_id, memory, result, err);
        result->memory_ = NULL; /* it is the info's */
        info->result = result;
    }
    if (!rc && from->last_error) {
        info->last_error = sdk_error_from_wire(from->last_error, memory);
        rc = info->last_error ? 0 : error_memory(err);
    }
    return rc;
}

int dispatch_client_get(struct dispatch_client *client, const char *dispatch_id, bool with_state,
                        struct dispatch_call_info *info, struct dispatch_failure *failure)
{
    Dispatch__V1__GetRequest message = DISPATCH__V1__GET_REQUEST__INIT;
    Dispatch__V1__GetResponse *response;
    struct dispatch_call_info made;
    struct blob *reply = NULL;
    struct error err = {0};
    struct arena *memory;
    int rc = check_id(dispatch_id, failure);

    message.dispatch_id = text(dispatch_id);
    message.include_state = with_state;
    if (!rc)
        rc = ask(client, METHOD("Get"), &message, true, &reply, failure);
    if (!rc)
        rc = unpack(&dispatch__v1__get_response__descriptor, reply, &memory, &response, failure);
    if (rc)
        return rc;
    if (!response->call) {
        error_set(&err, CODE_INTERNAL, "the API told nothing of the call");
    } else {
        fill_plain(response->call, &made);
        fill_values(response->call, memory, &made, &err);
    }
    if (err.code) {
        sdk_memory_destroy(memory);
        return sdk_fail_from(failure, &err);
    }
    made.memory_ = memory;
    *info = made;
    return 0;
}

void dispatch_call_info_free(struct dispatch_call_info *info)
{
    sdk_memory_destroy(info->memory_);
    *info = (struct dispatch_call_info){0};
}
