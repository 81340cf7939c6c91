// SPDX-License-Identifier: Apache-2.0
/*
 * What the files of this room share. Names of ours that are not exported begin with sdk_:
 * everything named dispatch_ is in the public header.
 */
#ifndef SDK_INTERNAL_H
#define SDK_INTERNAL_H

#include <pthread.h>
#include <time.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/list.h"
#include "base/slice.h"
#define DISPATCH_NO_TRACEBACK_ /* here are the functions themselves */
#include "dispatch_sdk.h"
#include "wire/wire.h"

/* --- failures -------------------------------------------------------------------------------- */

/* Fill `failure` (if not NULL) and return `code`. */
int sdk_fail(struct dispatch_failure *failure, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int sdk_fail_from(struct dispatch_failure *failure, const struct error *err); /* err->code != 0 */
int sdk_fail_memory(struct dispatch_failure *failure);

/* --- values and messages --------------------------------------------------------------------- */

#define SDK_ARGUMENTS_MAX      1000
#define SDK_ARGUMENTS_DEPTH    16
#define SDK_ARGUMENTS_TYPE     "dispatch.sdk.c.v1.Arguments"
#define SDK_POLL_RESULTS_MAX   1000
#define SDK_POLL_RESULTS       10
#define SDK_DEFAULT_RUN_MEMORY ((size_t)256 << 20)

/* Encodes into the arena; CODE_INVALID_ARGUMENT says what is wrong with the value. */
int sdk_any_from_value(struct dispatch_value value, struct arena *arena, wire_any **any,
                       struct error *err);
/* Decodes; texts become NUL-terminated, all in the arena. NULL is null. */
int sdk_value_from_any(const wire_any *any, struct arena *arena, struct dispatch_value *value,
                       struct error *err);

/* `endpoint` is for a call that has none; NULL leaves it empty. */
int sdk_call_to_wire(const struct dispatch_call *call, const char *endpoint, struct arena *arena,
                     wire_call **out, struct error *err);
int sdk_call_from_wire(const wire_call *call, struct arena *arena, struct dispatch_call *out,
                       struct error *err);
/* Anything that can go wrong with an error but memory is mended: it must arrive. */
int sdk_error_to_wire(const struct dispatch_error *error, struct arena *arena, wire_error **out,
                      struct error *err);
struct dispatch_error *sdk_error_from_wire(const wire_error *error, struct arena *arena);
int sdk_result_to_wire(const struct dispatch_result *result, struct arena *arena,
                       wire_call_result **out, struct error *err);
int sdk_result_from_wire(const wire_call_result *result, struct arena *arena,
                         struct dispatch_result *out, struct error *err);

/* A copy whose bytes that are not UTF-8 are question marks; NULL: no memory. */
char *sdk_clean_text(struct arena *arena, struct slice text);

/* An arena on the heap, which a result, ids or a response own as memory_. NULL: no memory. */
struct arena *sdk_memory_create(size_t max);
void sdk_memory_destroy(struct arena *memory); /* NULL is fine */

/* --- runs ------------------------------------------------------------------------------------ */

struct dispatch_input {
    const wire_run_request *request;
    bool resume;
    struct dispatch_value value; /* of a first call; of a resume, the state */
    struct dispatch_result *results;
    size_t result_count;
    const struct dispatch_error *poll_error;
};

/* A place in the source. */
struct sdk_place {
    const char *file, *function;
    int line;
};

struct execution;

struct dispatch_ctx {
    struct arena arena;
    bool failed; /* it ran out of memory */
    struct dispatch_input input;
    struct execution *execution; /* NULL: it cannot await */
    struct sdk_place here;       /* the latest that the header's macros noted */
    const char *spawn_name;      /* of the local coroutine that is about to be spawned */
    uint32_t dispatches;         /* of a primitive function, in this run */
};

int sdk_ctx_create(struct slice run_request, size_t max_memory, struct dispatch_ctx **ctx,
                   struct error *err);
/* The two halves of that: unpack the message; decode what functions read of it. */
int sdk_ctx_unpack(struct slice run_request, size_t max_memory, struct dispatch_ctx **ctx,
                   struct error *err);
int sdk_ctx_decode(struct dispatch_ctx *ctx, struct error *err);
/* `before` and a line that says where the ctx is, in its memory; NULL: nobody knows, or no memory.
 */
const char *sdk_trace_line(struct dispatch_ctx *ctx, const char *before, size_t before_size,
                           const char *awaited, size_t *size);
/* The error that says so, made without memory. */
const struct dispatch_error *sdk_memory_error(void);
/* A result that is this failure, of that type; the one of no memory, if there is none for it. */
struct dispatch_result sdk_failed(const char *type, const struct dispatch_failure *failure);
/* A run that is not made: status, and an error of that type and message. Never fails. */
struct dispatch_output sdk_output_refusal(struct dispatch_ctx *ctx, enum dispatch_status status,
                                          const char *type, const char *message);

/* --- registries ------------------------------------------------------------------------------ */

enum sdk_function_kind { SDK_FUNCTION, SDK_PRIMITIVE, SDK_RAW };

/* What runs under a name; copied out of the registry, as it may grow meanwhile. */
struct sdk_function {
    enum sdk_function_kind kind;
    dispatch_function *function;
    dispatch_primitive *primitive;
    dispatch_raw *raw;
    void *arg;
};

/* The function of that name, or the fallback; false: neither. */
bool sdk_registry_find(struct dispatch_registry *registry, struct slice name,
                       struct sdk_function *function);
/* Whether on_divergence is to restart. */
bool sdk_registry_restarts(struct dispatch_registry *registry);
/* NULL means the default one. */
struct dispatch_registry *sdk_registry(struct dispatch_registry *registry);
/* The first early registration that failed, if any. */
int sdk_registry_check(struct dispatch_registry *registry, struct dispatch_failure *failure);
/* Whether it has an endpoint of its own, from its options or the environment. */
bool sdk_registry_has_endpoint(struct dispatch_registry *registry);
/* The client that its options gave it; NULL: none. */
struct dispatch_client *sdk_registry_given_client(struct dispatch_registry *registry);
/* Lends it a client, and then an endpoint, which go before its own, until they are taken back.
 * CODE_FAILED_PRECONDITION: it has some that were lent already. */
int sdk_registry_lend_client(struct dispatch_registry *registry, struct dispatch_client *client,
                             struct dispatch_failure *failure);
int sdk_registry_lend_endpoint(struct dispatch_registry *registry, const char *url,
                               struct dispatch_failure *failure);
/* The client to dispatch with, made from the environment when there is none yet. */
int sdk_registry_client(struct dispatch_registry *registry, struct dispatch_client **client,
                        struct dispatch_failure *failure);
/* Takes back both; does nothing if it is another client that was lent. */
void sdk_registry_take_back(struct dispatch_registry *registry,
                            const struct dispatch_client *client);
/* The form of an endpoint URL, with the documented messages. */
int sdk_endpoint_url_check(const char *url, struct dispatch_failure *failure);

/* --- client ---------------------------------------------------------------------------------- */

/* Servers have smaller limits of their own. */
#define SDK_REQUEST_MAX (64 << 20)

/* Appends a call to a packed DispatchRequest; on failure it is as it was. */
int sdk_request_append(struct buf *request, const struct dispatch_call *call, const char *endpoint,
                       struct error *err);
/* Dispatches a packed DispatchRequest of `count` calls; takes over the blob. Blocks. */
int sdk_client_dispatch_packed(struct dispatch_client *client, struct blob *request, size_t count,
                               struct dispatch_ids *ids, struct dispatch_failure *failure);

/* Longest idempotency key of a client, with its NUL. */
#define SDK_KEY_SIZE 128
/* The same outside of functions, with a random key, or with that of the function's run. */
int sdk_client_dispatch_now(struct dispatch_client *client, struct blob *request, size_t count,
                            struct dispatch_ids *ids, struct dispatch_failure *failure);
/* The ids, out of a packed DispatchResponse. */
int sdk_read_ids(struct slice response, size_t count, struct dispatch_ids *ids, struct error *err);

/* --- Dispatches made by functions (inside.c) ---------------------------------------------------
 */

/* This thread runs, from now on, for that ctx (NULL: for none); returns the one before. */
struct dispatch_ctx *sdk_inside_enter(struct dispatch_ctx *ctx);
/* The idempotency key of a Dispatch that this thread's function makes now: a run that is made again
 * has the same. False: there is none. */
bool sdk_inside_key(char key[static SDK_KEY_SIZE]);
/* If this thread's function can await: dispatches, or takes what the journal says; *rc is what
 * came of it, and the blob was taken over. False: it cannot. */
bool sdk_inside_dispatch(struct dispatch_client *client, struct blob *request, size_t count,
                         struct dispatch_ids *ids, struct dispatch_failure *failure, int *rc);

/* Dispatches outside of any function, and waits: what dispatch_call does without a ctx. */
struct dispatch_result sdk_call_and_wait(const struct dispatch_call *call);

/* --- pool ------------------------------------------------------------------------------------ */

struct sdk_pool;

struct sdk_job {
    struct list node;
    uint64_t order; /* the pool's: in which it came */
    void (*run)(struct sdk_job *job);
};

/* How long a job waits for its thread: longer than a replay of a thousand awaits takes. */
#define SDK_PATIENCE_MS 4

/* Threads with all signals blocked. At most max_queue jobs wait. With no workers, jobs run in
 * sdk_pool_work, on the caller's thread. */
int sdk_pool_create(uint32_t workers, uint32_t max_queue, uint32_t patience_ms,
                    struct sdk_pool **pool, struct error *err);
/* False: the queue is full. `worker` (0: any) gets it, unless that thread is at one job for longer
 * than the pool's patience meanwhile. */
bool sdk_pool_submit(struct sdk_pool *pool, struct sdk_job *job, uint32_t worker, bool wake);
/* For jobs that were for any thread and woke none, as more were to come (`wake` false). */
void sdk_pool_wake(struct sdk_pool *pool);
/* Whether jobs wait; runs those that do now. */
bool sdk_pool_queued(struct sdk_pool *pool);
void sdk_pool_work(struct sdk_pool *pool);
/* The number of the present thread in its pool, from 1; 0: it is in none. */
uint32_t sdk_pool_worker(void);
/* Runs what is queued, then joins the threads and frees it. NULL is fine. */
void sdk_pool_destroy(struct sdk_pool *pool);
/* One for moments: who finds it taken spins for a while before sleeping. */
void sdk_mutex_init(pthread_mutex_t *mutex);
/* Starts a thread with all signals blocked; 0 or an errno value. */
int sdk_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg);
/* So many milliseconds from now, on CLOCK_MONOTONIC. */
struct timespec sdk_after_ms(uint32_t ms);

/* --- where to run ---------------------------------------------------------------------------- */

/* Whether the application is to have its orchestrator inside. */
int sdk_run_embedded(const struct dispatch_run_options *options, bool *embedded,
                     struct dispatch_failure *failure);

/* What the options of running, embedding and serving have in common, from one to the other: how
 * functions run. */
#define SDK_FUNCTION_OPTIONS(from)                                                                 \
    .registry = (from)->registry, .workers = (from)->workers, .max_queue = (from)->max_queue,      \
    .stack_size = (from)->stack_size, .max_suspended = (from)->max_suspended,                      \
    .max_suspended_bytes = (from)->max_suspended_bytes

#define SDK_PROGRAM_MAX 64
#define SDK_STORE_MAX   4200

/* Where an embedded orchestrator keeps its calls, and what the program is called. */
struct sdk_place_of_calls {
    char store[SDK_STORE_MAX], program[SDK_PROGRAM_MAX + 1];
    uint32_t wait_ms;
};
/* From the options, else the environment, else the program's name; makes directories. */
int sdk_find_calls(const struct dispatch_embedded_options *options,
                   struct sdk_place_of_calls *place, struct dispatch_failure *failure);
/* An application that runs: its functions are served, and its registry is lent the client. */
struct sdk_app {
    struct dispatch_registry *registry;
    struct dispatch_client *client;
    bool client_made;
    struct dispatch_endpoint *endpoint;
    struct dispatch_embedded *embedded; /* of which the client is; then there is no endpoint here */
};
/* Whichever way options and environment say. Stop it also after a failure; it is zero before. */
int sdk_app_start(struct sdk_app *app, const struct dispatch_run_options *options,
                  struct dispatch_failure *failure);
void sdk_app_stop(struct sdk_app *app);

/* The address to listen on: `addr`, else the environment's, else localhost:8000. */
const char *sdk_endpoint_addr(const char *addr);
/* "http://HOST:PORT" for an address listened on, with the port that it really has. */
int sdk_endpoint_url(const char *addr, uint16_t port, char *url, size_t size,
                     struct dispatch_failure *failure);

#endif
