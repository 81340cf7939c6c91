// SPDX-License-Identifier: Apache-2.0
/*
 * What the commands about calls have in common: whom they ask, and how a failure is told. One ask
 * lives as long as its command.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "cli/cli.h"
#include "cli/reach.h"
#include "wire/wire.h"

#define ASK_OPTIONS                                                                                \
    {"server", "URL", "the API of a server (default: DISPATCH_API_URL, if it is set)"},            \
        {"store", "URL",                                                                           \
         "sqlite:PATH: whoever holds that store is asked, at the socket beside it;\n"              \
         "if nobody does, it is opened for this command, and runs nothing\n"                       \
         "(default: that of `dispatch server`)"},                                                  \
    {                                                                                              \
        "org", "SLUG", "with a store: the organization (default: \"default\")"                     \
    }

struct ask {
    struct reach_options options;
    struct reach *reach;
    struct arena arena; /* answers, until ask_rewind or ask_close */
    struct error err;   /* of the last failure */
};

void ask_init(struct ask *ask);
/* Takes the option if it is one of ASK_OPTIONS. */
bool ask_takes(struct ask *ask, const struct cli_arg *arg);
/* A code. */
int ask_open(struct ask *ask);
/* Asks a method of dispatch.v1.CallService; a code. */
int ask_calls(struct ask *ask, const char *method, const void *request,
              const ProtobufCMessageDescriptor *type, void *response);
/* Dispatches calls: a code. */
int ask_dispatch(struct ask *ask, const wire_dispatch_request *request,
                 wire_dispatch_response **response);
/* In a store that was opened for this command nothing runs, whatever its orchestrator is told. */
void ask_correct(const struct ask *ask, Dispatch__V1__CallInfo *call);
/* Forgets the answers. */
void ask_rewind(struct ask *ask);
/* Says what failed last and what may be done about it; CLI_FAILURE. */
int ask_fail(const struct ask *ask);
void ask_close(struct ask *ask);

/*
 * Waits until the call is done, or until `deadline` (TIME_NEVER: no limit; CODE_DEADLINE_EXCEEDED).
 * CODE_FAILED_PRECONDITION: it is not, and nobody runs what is in the store.
 */
int ask_wait(struct ask *ask, const char *id, int64_t deadline, Dispatch__V1__CallInfo **call);
/* Prints what a call that is done came to: its output as a line of JSON, behind its id if `named`;
 * of one that failed the error, on stderr. Or all of it, if `json`. CLI_FAILURE: it failed. */
int ask_print_result(const Dispatch__V1__CallInfo *call, bool named, bool json);
/* As ask_fail, when waiting has failed: CLI_NOT_DONE if it was not done in time. */
#define CLI_NOT_DONE 3
int ask_fail_wait(const struct ask *ask);

/* Whether the option is that one. */
bool ask_is(const struct cli_arg *arg, const char *name);
/* protobuf-c's strings are not const; nobody writes to them. */
char *ask_text(const char *text);

#endif
