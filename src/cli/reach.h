// SPDX-License-Identifier: Apache-2.0
/*
 * A connection to an orchestrator, for the commands that ask it something. By a store: whoever
 * holds its file is asked at the socket beside it; if nobody does, the command opens the store for
 * itself, and runs nothing of what is in it. Or by the API of a server, with a key.
 */
#ifndef CLI_REACH_H
#define CLI_REACH_H

#include "server/server.h"

struct reach_options {
    const char *server;  /* http:// or https://; NULL: DISPATCH_API_URL, if that is set, else the
                            one that `dispatch login` wrote down for the active organization */
    const char *api_key; /* for a server; NULL: see cli/origin.h */
    const char *store; /* sqlite:PATH; wins over all that was not an option; NULL: that of `dispatch
                          server` */
    bool operator_only; /* no server will do: by the store in any case */
    const char *org;    /* with a store: in whose name; NULL: "default" */
};

struct reach;

/* CODE_INVALID_ARGUMENT: options that do not go together. */
int reach_open(struct reach **reach, const struct reach_options *options, struct error *err);
/* Asks at the path of a method, and waits for the answer: a message of that type in the arena, or
 * the error that it answered. */
int reach_ask(struct reach *reach, const char *method, const void *request,
              const ProtobufCMessageDescriptor *type, struct arena *arena, void *response,
              struct error *err);

#define REACH_CODE_MAX 16

struct reach_text {
    int status; /* HTTP */
    struct slice body;
    char login_code[REACH_CODE_MAX]; /* Dispatch-Login-Code; "": none */
};

/* Gets what is at the path, whatever its status; the body in the arena. */
int reach_get(struct reach *reach, const char *path, struct arena *arena, struct reach_text *text,
              struct error *err);
/* The requests from now on carry this Idempotency-Key, which lives until another one is set; NULL:
 * none. */
void reach_set_key(struct reach *reach, const char *key);
/* Whether the last request was answered at all; an error may be the answer. */
bool reach_was_answered(const struct reach *reach);
/* Nobody held the store, so that this process does: nothing in it is run meanwhile. */
bool reach_is_alone(const struct reach *reach);
void reach_close(struct reach *reach); /* NULL is fine */

#endif
