// SPDX-License-Identifier: Apache-2.0
/* CallService/Attempts: the call, and what is remembered of its attempts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/api.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     1000
#define TOKEN_MAX     24

/* Between the request and the call's answer. */
struct asking {
    struct rpc *rpc;
    uint64_t place; /* where to begin */
    size_t limit;
};

struct shown {
    Dispatch__V1__Attempt attempt, *pointer;
    wire_timestamp started, ended;
    wire_error error;
};

static char *writable(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void show(const struct recent_attempt *a, struct shown *to)
{
    dispatch__v1__attempt__init(&to->attempt);
    google__protobuf__timestamp__init(&to->started);
    google__protobuf__timestamp__init(&to->ended);
    dispatch__sdk__v1__error__init(&to->error);
    wire_set_time(&to->started, a->started);
    to->attempt.number = a->number;
    to->attempt.function = writable(a->function);
    to->attempt.start_time = &to->started;
    to->attempt.outcome = (Dispatch__V1__Attempt__Outcome)a->outcome;
    to->attempt.status = (Dispatch__Sdk__V1__Status)a->status;
    to->attempt.http_status = a->http_status;
    if (a->outcome != RECENT_RUNNING) {
        wire_set_time(&to->ended, a->ended);
        to->attempt.end_time = &to->ended;
    }
    if (*a->type || *a->message) {
        to->error.type = writable(a->type);
        to->error.message = writable(a->message);
        to->attempt.error = &to->error;
    }
}

/* A page into the response; its tokens are written to `next` and `watch`. */
static void fill(const struct asking *asking, const char *id, struct shown *shown,
                 Dispatch__V1__AttemptsResponse *response, char next[TOKEN_MAX],
                 char watch[TOKEN_MAX])
{
    const struct recent *recent = asking->rpc->api->recent;
    uint64_t place = asking->place, first = UINT64_MAX;
    const struct recent_attempt *a;

    *next = '\0';
    for (; (a = recent_next(recent, id, &place)); place++) {
        if (response->n_attempts == asking->limit) {
            snprintf(next, TOKEN_MAX, "%" PRIu64, place);
            break;
        }
        if (a->outcome == RECENT_RUNNING && first == UINT64_MAX)
            first = place;
        show(a, &shown[response->n_attempts]);
        response->attempts[response->n_attempts] = &shown[response->n_attempts].attempt;
        response->n_attempts++;
    }
    snprintf(watch, TOKEN_MAX, "%" PRIu64, first < place ? first : place);
}

static void answer(const struct asking *asking, const Dispatch__V1__CallInfo *info)
{
    Dispatch__V1__AttemptsResponse response = DISPATCH__V1__ATTEMPTS_RESPONSE__INIT;
    struct shown *shown = calloc(asking->limit, sizeof *shown);
    Dispatch__V1__Attempt **attempts = calloc(asking->limit, sizeof(Dispatch__V1__Attempt *));
    Dispatch__V1__CallInfo call = *info;
    int64_t since = recent_since(asking->rpc->api->recent);
    char next[TOKEN_MAX], watch[TOKEN_MAX];
    wire_timestamp kept;
    struct error err;

    if (!shown || !attempts) {
        error_memory(&err);
        rpc_end(asking->rpc, &err, NULL);
    } else {
        call.input = NULL;
        response.call = &call;
        response.attempts = attempts;
        google__protobuf__timestamp__init(&kept);
        wire_set_time(&kept, since);
        response.kept_since = &kept;
        fill(asking, info->dispatch_id, shown, &response, next, watch);
        response.next_page_token = next;
        response.watch_token = watch;
        rpc_end(asking->rpc, NULL, &response);
    }
    free(shown);
    free(attempts);
}

static void got(void *arg, const struct error *error, const Dispatch__V1__CallInfo *info)
{
    struct asking *asking = arg;

    if (error)
        rpc_end(asking->rpc, error, NULL);
    else
        answer(asking, info);
    free(asking);
}

/* False: it is no place. */
static bool read_token(const char *text, uint64_t *place)
{
    char *end = NULL;

    *place = 0;
    if (!*text)
        return true;
    if (*text >= '0' && *text <= '9')
        *place = strtoull(text, &end, 10);
    return end && !*end;
}

void service_attempts(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__AttemptsRequest *request = message;
    struct asking *asking = calloc(1, sizeof *asking);
    struct error err;

    if (!asking) {
        error_memory(&err);
        rpc_end(rpc, &err, NULL);
        return;
    }
    asking->rpc = rpc;
    asking->limit = request->limit == 0          ? LIMIT_DEFAULT
                    : request->limit < LIMIT_MAX ? request->limit
                                                 : LIMIT_MAX;
    if (!read_token(request->page_token, &asking->place)) {
        error_set(&err, CODE_INVALID_ARGUMENT, "the page token is none that was given out");
        rpc_end(rpc, &err, NULL);
        free(asking);
        return;
    }
    orchestrator_get(rpc->api->orchestrator, slice_str(rpc->org), slice_str(request->dispatch_id),
                     got, asking);
}
