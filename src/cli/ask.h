// SPDX-License-Identifier: Apache-2.0
/*
 * What the commands about calls have in common: whom they ask, and how a failure is told. One ask
 * lives as long as its command.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "cli/cli.h"
#include "cli/reach.h"

#define ASK_OPTIONS                                                                                \
    {"server", "URL", "the API of a server (default: DISPATCH_API_URL, if it is set)"},            \
        {"api-key", "KEY", "the key to it (default: DISPATCH_API_KEY)"},                           \
        {"store", "URL",                                                                           \
         "sqlite:PATH: whoever holds that store is asked, at the socket beside it;\n"              \
         "if nobody does, it is opened for this command, and runs nothing\n"                       \
         "(default: that of `dispatch server`)"},                                                  \
    {                                                                                              \
        "org", "SLUG", "with a store: the organization (default: \"default\")"                     \
    }

extern const struct cli_letter ask_letters[];

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
/* Forgets the answers. */
void ask_rewind(struct ask *ask);
/* Says what failed last and what may be done about it, after `about` (NULL: nothing); CLI_FAILURE.
 */
int ask_fail(const struct ask *ask, const char *about);
void ask_close(struct ask *ask);

/* Whether the option is that one. */
bool ask_is(const struct cli_arg *arg, const char *name);
/* protobuf-c's strings are not const; nobody writes to them. */
char *ask_text(const char *text);

#endif
