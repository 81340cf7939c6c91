// SPDX-License-Identifier: Apache-2.0
/*
 * The rows of TABLE_KEY: what clients named by keys of their own choice. A row stands under a hash
 * of its name; those whose hashes are equal stand side by side, a sub each, and every row has its
 * name in full. A row's place never changes, and is not given to another name while it is there.
 *
 *   KEY_REQUEST  the answer to a Dispatch that came with an idempotency key
 *   KEY_EVENT    the call that a completion from outside will find, or one that came before it
 */
#ifndef ENGINE_KEY_H
#define ENGINE_KEY_H

#include "base/batch.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status.h"

#define KEY_NAME_MAX 255

enum key_kind { KEY_REQUEST, KEY_EVENT, KEY_KINDS };

struct engine_key {
    enum key_kind kind;
    struct slice org, name;
    int64_t expires; /* TIME_NEVER: it goes with its call */
    uint64_t call;   /* the first of `count`; of an event 0: the completion came before the call */
    uint32_t count;
    uint64_t digest[2]; /* KEY_REQUEST: of what was asked */
    /* A completion that came before its call: */
    enum status status;
    bool has_output, has_error;
    struct slice output, error;
};

/* The key of the rows of that name; those of a kind lie together, from key_first to key_last. */
uint64_t key_place(enum key_kind kind, struct slice org, struct slice name, uint64_t seed);
uint64_t key_first(enum key_kind kind);
uint64_t key_last(enum key_kind kind);

/* 1 to KEY_NAME_MAX printable ASCII characters; `what` names it in the message. */
int key_check_name(const char *what, struct slice name, struct error *err);

void key_encode(struct buf *out, const struct engine_key *key);
/* Views into `in`. CODE_DATA_LOSS; CODE_FAILED_PRECONDITION: of a newer version. */
int key_decode(struct slice in, struct engine_key *key, struct error *err);

#endif
