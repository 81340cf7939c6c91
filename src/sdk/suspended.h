// SPDX-License-Identifier: Apache-2.0
/*
 * What an endpoint needs of coroutines: run a request, keep what is suspended. See coroutine.h for
 * what they are.
 */
#ifndef SDK_SUSPENDED_H
#define SDK_SUSPENDED_H

#include "sdk/internal.h"

struct sdk_coroutines;

struct sdk_coroutines_options {
    struct dispatch_registry *registry;
    size_t stack_size;          /* 0: the default */
    int32_t max_suspended;      /* stacks kept; 0: the default, negative: none */
    size_t max_suspended_bytes; /* 0: the default */
    void (*on_warning)(void *arg, const char *dispatch_id, const char *text);
    void *arg;
};

/* The environment's DISPATCH_REPLAY is looked at here: "always", or a number n: one resume in n is
 * replayed though its stack is there. */
int sdk_coroutines_create(const struct sdk_coroutines_options *options,
                          struct sdk_coroutines **coroutines, struct error *err);
/* Drops what is suspended. NULL is fine. */
void sdk_coroutines_destroy(struct sdk_coroutines *coroutines);

/* The answer to a run, and what it lives in until it has been sent. */
struct sdk_answer {
    const void *bytes;
    size_t size;
    struct buf poll;
    struct dispatch_ctx *ctx;
};

/* Runs or resumes a function: takes over the ctx, which was unpacked but not decoded. `worker` is
 * the thread's number, for sdk_coroutines_worker. An error is one of the request. */
int sdk_coroutines_run(struct sdk_coroutines *coroutines, dispatch_function *function,
                       struct dispatch_ctx *ctx, uint32_t worker, struct sdk_answer *answer,
                       struct error *err);
void sdk_answer_free(struct sdk_answer *answer);

/* How many are kept, and what they take. */
void sdk_coroutines_kept(struct sdk_coroutines *coroutines, size_t *count, size_t *bytes);
/* The number of the thread that has the stack of that call; 0: none has. */
uint32_t sdk_coroutines_worker(struct sdk_coroutines *coroutines, struct slice id);

#endif
