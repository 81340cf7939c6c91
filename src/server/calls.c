// SPDX-License-Identifier: Apache-2.0
/*
 * The methods of the API, each the way from its message to the orchestrator and back.
 */
#include "server/api.h"

static void log_dispatched(const struct rpc *rpc, const wire_dispatch_response *response)
{
    struct log *log = rpc->api->log;

    if (!log || log->level > LOG_DEBUG)
        return;
    for (size_t i = 0; i < response->n_dispatch_ids; i++)
        log_line(log, LOG_DEBUG, "call dispatched", LOG_STR("call", response->dispatch_ids[i]),
                 LOG_STR("request", rpc->request_id));
}

static void dispatched(void *arg, const struct error *error, const wire_dispatch_response *response)
{
    struct rpc *rpc = arg;

    if (!error)
        log_dispatched(rpc, response);
    rpc_end(rpc, error, response);
}

static void start_dispatch(struct rpc *rpc, const void *message)
{
    orchestrator_dispatch_keyed(rpc->api->orchestrator, slice_str(rpc->org), rpc->idempotency_key,
                                message, dispatched, rpc);
}

static void got(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    Dispatch__V1__GetResponse response = DISPATCH__V1__GET_RESPONSE__INIT;

    response.call = (Dispatch__V1__CallInfo *)(uintptr_t)info;
    rpc_end(arg, error, &response);
}

static void start_get(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__GetRequest *request = message;

    (request->include_state ? orchestrator_get_with_state : orchestrator_get)(
        rpc->api->orchestrator, slice_str(rpc->org), slice_str(request->dispatch_id), got, rpc);
}

static void listed(void *arg, const struct error *error, const Dispatch__V1__ListResponse *page)
{
    rpc_end(arg, error, page);
}

static void start_list(struct rpc *rpc, const void *message)
{
    orchestrator_list(rpc->api->orchestrator, slice_str(rpc->org), message, listed, rpc);
}

/* They end alike: the responses of Wait and Call are of the same shape, and that to the raw id is
 * the result in them. */
static void waited(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    Dispatch__V1__WaitResponse wait = DISPATCH__V1__WAIT_RESPONSE__INIT;
    Dispatch__V1__CallResponse call = DISPATCH__V1__CALL_RESPONSE__INIT;
    wire_call_result none = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    struct rpc *rpc = arg;
    struct error late;

    rpc->wait = NULL;
    if (!error && rpc->timeout_first && info->state != DISPATCH__V1__STATE__STATE_DONE) {
        error_set(&late, CODE_DEADLINE_EXCEEDED,
                  "call %s was not done within the request's timeout of %lld ms", info->dispatch_id,
                  (long long)(rpc->head.timeout_ns / NS_PER_MS));
        error = &late;
    }
    wait.call = call.call = (Dispatch__V1__CallInfo *)(uintptr_t)info;
    if (!rpc->method->request)
        rpc_end(rpc, error, error || !info->result ? &none : info->result);
    else if (rpc->method->request == &dispatch__v1__call_request__descriptor)
        rpc_end(rpc, error, &call);
    else
        rpc_end(rpc, error, &wait);
}

/* False: it was refused. */
static bool read_max_wait(struct rpc *rpc, const wire_duration *max_wait, int64_t *max_wait_ns)
{
    struct error err;

    *max_wait_ns = max_wait ? wire_duration_ns(max_wait) : -1;
    if (max_wait && *max_wait_ns < 0) {
        error_set(&err, CODE_INVALID_ARGUMENT,
                  "max_wait is negative: leave it out to wait without a limit");
        rpc_end(rpc, &err, NULL);
        return false;
    }
    if (rpc->head.timeout_ns >= 0 && (*max_wait_ns < 0 || rpc->head.timeout_ns < *max_wait_ns)) {
        *max_wait_ns = rpc->head.timeout_ns;
        rpc->timeout_first = true;
    }
    return true;
}

static void wait_for(struct rpc *rpc, struct slice id, const wire_duration *max_wait)
{
    struct orchestrator_wait *wait;
    int64_t max_wait_ns;

    if (!read_max_wait(rpc, max_wait, &max_wait_ns))
        return;
    wait = orchestrator_wait(rpc->api->orchestrator, slice_str(rpc->org), id, max_wait_ns, waited,
                             rpc);
    if (!rpc->over)
        rpc->wait = wait;
}

static void start_wait(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__WaitRequest *request = message;

    wait_for(rpc, slice_str(request->dispatch_id), request->max_wait);
}

/* As the original's test service has it: the id itself is the body, the result itself the answer.*/
static void start_raw_wait(struct rpc *rpc, const void *message)
{
    const struct slice *id = message;

    wait_for(rpc, *id, NULL);
}

static void start_call(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__CallRequest *request = message;
    struct orchestrator_wait *wait;
    int64_t max_wait_ns;
    struct error err;

    if (!request->call) {
        error_set(&err, CODE_INVALID_ARGUMENT, "call: it is missing: say what to call");
        rpc_end(rpc, &err, NULL);
        return;
    }
    if (!read_max_wait(rpc, request->max_wait, &max_wait_ns))
        return;
    wait = orchestrator_call_keyed(rpc->api->orchestrator, slice_str(rpc->org),
                                   rpc->idempotency_key, request->call, max_wait_ns, waited, rpc);
    if (rpc->over)
        return;
    rpc->wait = wait;
    if (rpc->idempotency_key.data) /* whether it is new is not known yet */
        return;
    log_line(rpc->api->log, LOG_DEBUG, "call dispatched",
             LOG_STR("call", orchestrator_wait_id(wait)), LOG_STR("request", rpc->request_id));
}

/* Cancel, Restart, Complete: what there is to say is that it is so. */
static void controlled(void *arg, const struct error *error)
{
    Dispatch__V1__CancelResponse cancel = DISPATCH__V1__CANCEL_RESPONSE__INIT;
    Dispatch__V1__RestartResponse restart = DISPATCH__V1__RESTART_RESPONSE__INIT;
    Dispatch__V1__CompleteResponse complete = DISPATCH__V1__COMPLETE_RESPONSE__INIT;
    struct rpc *rpc = arg;

    if (rpc->method->request == &dispatch__v1__cancel_request__descriptor)
        rpc_end(rpc, error, &cancel);
    else if (rpc->method->request == &dispatch__v1__complete_request__descriptor)
        rpc_end(rpc, error, &complete);
    else
        rpc_end(rpc, error, &restart);
}

static void start_cancel(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__CancelRequest *request = message;

    orchestrator_cancel(rpc->api->orchestrator, slice_str(rpc->org),
                        slice_str(request->dispatch_id), controlled, rpc);
}

static void start_restart(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__RestartRequest *request = message;

    orchestrator_restart(rpc->api->orchestrator, slice_str(rpc->org),
                         slice_str(request->dispatch_id), controlled, rpc);
}

static void start_complete(struct rpc *rpc, const void *message)
{
    orchestrator_complete(rpc->api->orchestrator, slice_str(rpc->org), message, controlled, rpc);
}

static void retried(void *arg, const struct error *error, const wire_dispatch_response *made)
{
    Dispatch__V1__RetryResponse response = DISPATCH__V1__RETRY_RESPONSE__INIT;
    struct rpc *rpc = arg;

    if (!error) {
        log_dispatched(rpc, made);
        response.dispatch_id = made->dispatch_ids[0];
    }
    rpc_end(rpc, error, &response);
}

static void start_retry(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__RetryRequest *request = message;

    orchestrator_retry(rpc->api->orchestrator, slice_str(rpc->org), slice_str(request->dispatch_id),
                       retried, rpc);
}

const struct method api_methods[] = {
    {"/dispatch.sdk.v1.DispatchService/Dispatch", &dispatch__sdk__v1__dispatch_request__descriptor,
     start_dispatch, false},
    {"/dispatch.sdk.v1.DispatchService/Wait", NULL, start_raw_wait, false},
    {"/dispatch.v1.CallService/Call", &dispatch__v1__call_request__descriptor, start_call, false},
    {"/dispatch.v1.CallService/Get", &dispatch__v1__get_request__descriptor, start_get, false},
    {"/dispatch.v1.CallService/Attempts", &dispatch__v1__attempts_request__descriptor,
     service_attempts, false},
    {"/dispatch.v1.CallService/Cancel", &dispatch__v1__cancel_request__descriptor, start_cancel,
     false},
    {"/dispatch.v1.CallService/Complete", &dispatch__v1__complete_request__descriptor,
     start_complete, false},
    {"/dispatch.v1.CallService/List", &dispatch__v1__list_request__descriptor, start_list, false},
    {"/dispatch.v1.CallService/Restart", &dispatch__v1__restart_request__descriptor, start_restart,
     false},
    {"/dispatch.v1.CallService/Retry", &dispatch__v1__retry_request__descriptor, start_retry,
     false},
    {"/dispatch.v1.CallService/Wait", &dispatch__v1__wait_request__descriptor, start_wait, false},
    {"/dispatch.v1.StatsService/Stats", &dispatch__v1__stats_request__descriptor, service_stats,
     false},
    {"/dispatch.v1.SigningKeyService/CreateSigningKey",
     &dispatch__v1__create_signing_key_request__descriptor, service_create_signing_key, false},
    {"/dispatch.v1.SigningKeyService/ListSigningKeys",
     &dispatch__v1__list_signing_keys_request__descriptor, service_list_signing_keys, false},
    {"/dispatch.v1.KeyService/CreateKey", &dispatch__v1__create_key_request__descriptor,
     service_create_key, true},
    {"/dispatch.v1.KeyService/ListKeys", &dispatch__v1__list_keys_request__descriptor,
     service_list_keys, true},
    {"/dispatch.v1.KeyService/RevokeKey", &dispatch__v1__revoke_key_request__descriptor,
     service_revoke_key, true},
    {"/dispatch.v1.KeyService/ConfirmLogin", &dispatch__v1__confirm_login_request__descriptor,
     service_confirm_login, true},
};
const size_t api_method_count = sizeof api_methods / sizeof *api_methods;
