// SPDX-License-Identifier: Apache-2.0
/* Asking whoever was named on the command line, and what to say when that fails. */
#include "cli/ask.h"

#include <string.h>

/* More than an answer takes: those are bounded by the client that receives them. */
#define ARENA_MAX ((size_t)256 << 20)

void ask_init(struct ask *ask)
{
    *ask = (struct ask){0};
    arena_init(&ask->arena, ARENA_MAX);
}

bool ask_is(const struct cli_arg *arg, const char *name)
{
    return arg->option && strcmp(arg->option->name, name) == 0;
}

char *ask_text(const char *text)
{
    return (char *)(uintptr_t)(text ? text : "");
}

bool ask_takes(struct ask *ask, const struct cli_arg *arg)
{
    if (ask_is(arg, "server"))
        ask->options.server = arg->value;
    else if (ask_is(arg, "store"))
        ask->options.store = arg->value;
    else if (ask_is(arg, "org"))
        ask->options.org = arg->value;
    else
        return false;
    return true;
}

int ask_open(struct ask *ask)
{
    return reach_open(&ask->reach, &ask->options, &ask->err);
}

int ask_calls(struct ask *ask, const char *method, const void *request,
              const ProtobufCMessageDescriptor *type, void *response)
{
    char path[64];

    snprintf(path, sizeof path, "/dispatch.v1.CallService/%s", method);
    return reach_ask(ask->reach, path, request, type, &ask->arena, response, &ask->err);
}

int ask_dispatch(struct ask *ask, const wire_dispatch_request *request,
                 wire_dispatch_response **response)
{
    return reach_ask(ask->reach, "/dispatch.sdk.v1.DispatchService/Dispatch", request,
                     &dispatch__sdk__v1__dispatch_response__descriptor, &ask->arena, response,
                     &ask->err);
}

void ask_correct(const struct ask *ask, Dispatch__V1__CallInfo *call)
{
    if (!reach_is_alone(ask->reach) || (call->state != DISPATCH__V1__STATE__STATE_RUNNING &&
                                        call->state != DISPATCH__V1__STATE__STATE_READY))
        return;
    call->state = DISPATCH__V1__STATE__STATE_READY;
    call->waiting_for = ask_text("a server, or its program, on this store, which nobody holds");
}

void ask_rewind(struct ask *ask)
{
    arena_rewind(&ask->arena);
}

int ask_fail(const struct ask *ask)
{
    const char *next = "";

    if (ask->err.code == CODE_NOT_FOUND)
        next = "\n`dispatch ls` shows the calls that there are.";
    else if (ask->err.code == CODE_UNAVAILABLE && !(ask->reach && reach_was_answered(ask->reach)))
        next = "\n--server URL or --store sqlite:PATH says whom to ask.";
    return cli_fail("%s%s", ask->err.message, next);
}

void ask_close(struct ask *ask)
{
    reach_close(ask->reach);
    arena_reset(&ask->arena);
}
