// SPDX-License-Identifier: Apache-2.0
/*
 * The last attempts of an orchestrator, whatever their call, in a ring of fixed size (6 MiB, which
 * is touched as it fills): the store keeps no attempts. An attempt costs one copy of some 200 bytes
 * when it starts and few when it ends; nothing is allocated. One thread.
 */
#ifndef SERVER_RECENT_H
#define SERVER_RECENT_H

#include "base/id.h"
#include "orchestrator/orchestrator.h"

#define RECENT_MAX          16384
#define RECENT_FUNCTION_MAX 64 /* bytes kept, with the NUL */
#define RECENT_TYPE_MAX     48
#define RECENT_MESSAGE_MAX  184

enum recent_outcome {
    RECENT_RUNNING,
    RECENT_EXIT,
    RECENT_TAIL,
    RECENT_POLL,
    RECENT_FAILED,
    RECENT_GIVEN_UP,
};

struct recent_attempt {
    uint64_t attempt, number;
    int64_t started, ended; /* ended: once the outcome says so */
    uint64_t group;         /* recent_group */
    enum recent_outcome outcome;
    uint16_t status, http_status;
    char id[ID_TEXT_LEN + 1];
    char function[RECENT_FUNCTION_MAX];
    char type[RECENT_TYPE_MAX], message[RECENT_MESSAGE_MAX]; /* of its error; "": none */
};

struct recent;

int recent_create(struct recent **recent, int64_t now, struct error *err);
void recent_destroy(struct recent *recent); /* NULL is fine */
/* For orchestrator_observe. */
struct orchestrator_observer *recent_observer(struct recent *recent);

/* What stands for a group (engine_next_group) in an attempt. */
uint64_t recent_group(struct slice org, struct slice host);

/* Attempts have places, that grow in the order in which they started. The next attempt at *place or
 * behind it, of the call or (id NULL) of any; *place is then its own. NULL: there is none. */
const struct recent_attempt *recent_next(const struct recent *recent, const char *id,
                                         uint64_t *place);
/* The one where the next attempt will be. */
uint64_t recent_end(const struct recent *recent);
/* Attempts that started before are not kept: at first those before recent_create. */
int64_t recent_since(const struct recent *recent);

#endif
