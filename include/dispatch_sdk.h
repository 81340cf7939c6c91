// SPDX-License-Identifier: Apache-2.0
// long: it is the only header that applications include
/*
 * Dispatch: durable functions for C and C++.
 *
 * An application registers functions. A call to one is recorded by the orchestrator before it is
 * acknowledged, run at least once, tried again when it fails for a passing reason, and its result
 * is delivered, though every process involved may die in between.
 *
 *     #include <dispatch_sdk.h>
 *
 *     static struct dispatch_result greet(struct dispatch_ctx *ctx, struct dispatch_value input)
 *     {
 *         return dispatch_ok(dispatch_string(
 *             dispatch_printf(ctx, "Hello, %s!", dispatch_as_string(input, NULL))));
 *     }
 *     DISPATCH_REGISTER(greet);
 *
 *     int main(void)
 *     {
 *         struct dispatch_result r = dispatch_run(dispatch_to("greet", dispatch_string("World")));
 *         ...
 *         dispatch_result_free(&r);
 *     }
 *
 * Rules that hold everywhere in this header, unless a comment says otherwise:
 *
 * - Errors. A function that can fail returns an int: 0, or a positive enum dispatch_code. Outputs
 *   are untouched on failure. The text stands in the struct dispatch_failure that the caller may
 *   pass (NULL: not wanted). A function returning a pointer returns NULL on failure.
 * - Memory. Texts are NUL-terminated UTF-8. What goes in is copied before the function returns,
 *   except by the constructors of values, calls and results, which borrow (see struct
 *   dispatch_value). What comes out belongs to the object it came from, and dies with it. Options
 *   structs start zeroed (`= {0}`); zero always means the default; reserved_ fields stay zero.
 * - Threads. Functions are thread-safe, except that one struct dispatch_ctx or dispatch_batch is
 *   used by one thread at a time, and nothing is used during or after its destruction.
 * - Time. Instants are int64_t nanoseconds since the Unix epoch, `_ns`; lengths of time have their
 *   unit in their name, too.
 * - The library takes no signals (they are blocked in its threads, those that run functions
 *   included), does not log, print or exit. It does not survive fork(): a child process makes
 *   clients and endpoints of its own.
 * - Names that end in an underscore are not for applications.
 */
#ifndef DISPATCH_SDK_H
#define DISPATCH_SDK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header. */
#define DISPATCH_SDK_VERSION "0.1.0"

#define DISPATCH_SDK_API                 __attribute__((visibility("default")))
#define DISPATCH_SDK_PRINTF(text, first) __attribute__((format(__printf__, text, first)))

/* The version of the library that is running: DISPATCH_SDK_VERSION of its build. */
DISPATCH_SDK_API const char *dispatch_sdk_version(void);

/* --- status and failure ---------------------------------------------------------------------- */

/* How a run, or a call, ended; the numbers are those on the wire. */
enum dispatch_status {
    DISPATCH_UNSPECIFIED = 0,
    DISPATCH_OK = 1,
    DISPATCH_TIMEOUT = 2,
    DISPATCH_THROTTLED = 3,
    DISPATCH_INVALID_ARGUMENT = 4,
    DISPATCH_INVALID_RESPONSE = 5,
    DISPATCH_TEMPORARY_ERROR = 6,
    DISPATCH_PERMANENT_ERROR = 7,
    DISPATCH_INCOMPATIBLE_STATE = 8, /* a state that this code cannot resume: start over */
    DISPATCH_DNS_ERROR = 9,
    DISPATCH_TCP_ERROR = 10,
    DISPATCH_TLS_ERROR = 11,
    DISPATCH_HTTP_ERROR = 12,
    DISPATCH_UNAUTHENTICATED = 13,
    DISPATCH_PERMISSION_DENIED = 14,
    DISPATCH_NOT_FOUND = 15
};

/* "OK", "TEMPORARY_ERROR"; "UNSPECIFIED" for a number that is no status. Never NULL. */
DISPATCH_SDK_API const char *dispatch_status_name(enum dispatch_status status);

/* True for a status after which the orchestrator runs the call again. */
DISPATCH_SDK_API bool dispatch_status_temporary(enum dispatch_status status);

/*
 * The status that an errno value suggests. ETIMEDOUT: TIMEOUT; ECONNREFUSED, ECONNRESET and kin:
 * TCP_ERROR; EACCES, EPERM: PERMISSION_DENIED; ENOENT: NOT_FOUND; EINVAL, EDOM: INVALID_ARGUMENT;
 * everything else: TEMPORARY_ERROR.
 */
DISPATCH_SDK_API enum dispatch_status dispatch_status_from_errno(int errnum);

/* Why a function of this library failed: the codes of Connect and gRPC. */
enum dispatch_code {
    DISPATCH_CODE_OK = 0,
    DISPATCH_CODE_CANCELED = 1,
    DISPATCH_CODE_UNKNOWN = 2,
    DISPATCH_CODE_INVALID_ARGUMENT = 3,
    DISPATCH_CODE_DEADLINE_EXCEEDED = 4,
    DISPATCH_CODE_NOT_FOUND = 5,
    DISPATCH_CODE_ALREADY_EXISTS = 6,
    DISPATCH_CODE_PERMISSION_DENIED = 7,
    DISPATCH_CODE_RESOURCE_EXHAUSTED = 8, /* out of memory, or past a limit */
    DISPATCH_CODE_FAILED_PRECONDITION = 9,
    DISPATCH_CODE_ABORTED = 10,
    DISPATCH_CODE_OUT_OF_RANGE = 11,
    DISPATCH_CODE_UNIMPLEMENTED = 12,
    DISPATCH_CODE_INTERNAL = 13,
    DISPATCH_CODE_UNAVAILABLE = 14,
    DISPATCH_CODE_DATA_LOSS = 15,
    DISPATCH_CODE_UNAUTHENTICATED = 16
};

/* "invalid_argument"; "unknown" for a number that is no code. Never NULL. */
DISPATCH_SDK_API const char *dispatch_code_name(int code);

/* What a function of this library tells about its failure; untouched when it succeeds. */
struct dispatch_failure {
    int code;        /* enum dispatch_code */
    int http_status; /* of the answer that said so; 0: it did not come from an HTTP answer */
    char message[512];
};

/* --- values ---------------------------------------------------------------------------------- */

/*
 * Inputs, outputs, arguments and states: what travels. A value is small and passed by value; its
 * fields are not for applications, the functions below are. `{0}` is null.
 *
 * A value borrows: the bytes that it was made from (text, data, the array of arguments) must live
 * as long as it is used. For the value that a function returns this is until the run is answered,
 * which is after the function has returned: use memory of the run (dispatch_alloc,
 * dispatch_printf), constants, or parts of the input; never an array on the stack.
 */
struct dispatch_value {
    uint32_t kind_;
    uint32_t count_;
    union {
        int64_t integer_;
        uint64_t natural_;
        double real_;
        const void *pointer_;
    } as_;
    uint64_t size_;
    union {
        const char *type_url_;
        uint64_t pad_;
    } extra_;
};

/* What a value is. */
enum dispatch_kind {
    DISPATCH_NULL = 0, /* nothing, None */
    DISPATCH_BOOL = 1,
    DISPATCH_INT = 2,
    DISPATCH_UINT = 3,
    DISPATCH_DOUBLE = 4,
    DISPATCH_STRING = 5, /* UTF-8 */
    DISPATCH_BYTES = 6,
    DISPATCH_TIMESTAMP = 7,
    DISPATCH_DURATION = 8,
    DISPATCH_JSON = 9,       /* an object, an array, or another JSON value, as text */
    DISPATCH_ARGUMENTS = 10, /* positional and keyword arguments */
    DISPATCH_MESSAGE = 11    /* any other protobuf message: its type URL and bytes, untouched */
};

/* The value of that kind. Instants are nanoseconds since the Unix epoch. */
DISPATCH_SDK_API struct dispatch_value dispatch_null(void);
DISPATCH_SDK_API struct dispatch_value dispatch_bool(bool value);
DISPATCH_SDK_API struct dispatch_value dispatch_int(int64_t value);
DISPATCH_SDK_API struct dispatch_value dispatch_uint(uint64_t value);
DISPATCH_SDK_API struct dispatch_value dispatch_double(double value);
/* NULL gives null. Text that is not UTF-8 is refused where the value is used. */
DISPATCH_SDK_API struct dispatch_value dispatch_string(const char *text);
DISPATCH_SDK_API struct dispatch_value dispatch_string_n(const char *text, size_t size);
DISPATCH_SDK_API struct dispatch_value dispatch_bytes(const void *data, size_t size);
DISPATCH_SDK_API struct dispatch_value dispatch_timestamp(int64_t unix_ns);
DISPATCH_SDK_API struct dispatch_value dispatch_duration(int64_t ns);
/* JSON text; numbers travel as doubles. Text that is not JSON is refused where the value is used.
 */
DISPATCH_SDK_API struct dispatch_value dispatch_json(const char *text);
/* A protobuf message of the application's own: "type.googleapis.com/my.pkg.Message" and its bytes.
 */
DISPATCH_SDK_API struct dispatch_value dispatch_message(const char *type_url, const void *data,
                                                        size_t size);

/* One of the arguments of a call, see dispatch_arguments. */
struct dispatch_argument {
    const char *name; /* NULL: a positional argument */
    struct dispatch_value value;
};

/*
 * Arguments for a function that takes several. The array is borrowed:
 *
 *     struct dispatch_argument a[] = {{NULL, dispatch_int(3)}, {"limit", dispatch_int(10)}};
 *     call = dispatch_to("search", dispatch_arguments(a, 2));
 *
 * Names must be distinct. At most 1,000 arguments; nested at most 16 deep.
 */
DISPATCH_SDK_API struct dispatch_value dispatch_arguments(const struct dispatch_argument *arguments,
                                                          size_t count);

/* What the value is. */
DISPATCH_SDK_API enum dispatch_kind dispatch_value_kind(struct dispatch_value value);
/* "null", "bool", "int", ... for messages to people. Never NULL. */
DISPATCH_SDK_API const char *dispatch_kind_name(enum dispatch_kind kind);

/*
 * Readers of values. Each says whether it is one, and if so, writes it; otherwise *out is
 * untouched. The numbers convert where nothing is lost: dispatch_as_int also reads a uint, a double
 * without a fraction, and a JSON number that fit; dispatch_as_double any number (an int past 2^53
 * is rounded).
 */
DISPATCH_SDK_API bool dispatch_is_null(struct dispatch_value value);
DISPATCH_SDK_API bool dispatch_as_bool(struct dispatch_value value, bool *out);
DISPATCH_SDK_API bool dispatch_as_int(struct dispatch_value value, int64_t *out);
DISPATCH_SDK_API bool dispatch_as_uint(struct dispatch_value value, uint64_t *out);
DISPATCH_SDK_API bool dispatch_as_double(struct dispatch_value value, double *out);
DISPATCH_SDK_API bool dispatch_as_timestamp(struct dispatch_value value, int64_t *unix_ns);
DISPATCH_SDK_API bool dispatch_as_duration(struct dispatch_value value, int64_t *ns);

/*
 * The bytes of the value, and their number in *size (NULL: not wanted); NULL if it is not of that
 * kind. Never NULL for an empty one. A string or JSON text that was received, or made by
 * dispatch_string or dispatch_json, is NUL-terminated.
 */
DISPATCH_SDK_API const char *dispatch_as_string(struct dispatch_value value, size_t *size);
DISPATCH_SDK_API const void *dispatch_as_bytes(struct dispatch_value value, size_t *size);
DISPATCH_SDK_API const char *dispatch_as_json(struct dispatch_value value, size_t *size);
/* Also the type URL, in *type_url (NULL: not wanted). */
DISPATCH_SDK_API const void *dispatch_as_message(struct dispatch_value value, const char **type_url,
                                                 size_t *size);

/* Reading arguments. The number of positional ones; 0 if the value holds no arguments. */
DISPATCH_SDK_API size_t dispatch_argument_count(struct dispatch_value arguments);
/* The positional argument `index`, from 0; false if there are not as many. */
DISPATCH_SDK_API bool dispatch_argument_at(struct dispatch_value arguments, size_t index,
                                           struct dispatch_value *value);
/* The keyword argument of that name; false if there is none. */
DISPATCH_SDK_API bool dispatch_argument_named(struct dispatch_value arguments, const char *name,
                                              struct dispatch_value *value);
/* All of them, for going through: positional ones first, then keyword ones; NULL if there is none.
 */
DISPATCH_SDK_API const struct dispatch_argument *
dispatch_argument_list(struct dispatch_value arguments, size_t *count);

/* --- calls, errors, results ------------------------------------------------------------------ */

/* An instruction to call a function. Make it with dispatch_to, then set what is to differ. */
struct dispatch_call {
    const char *function; /* letters, digits, '_', '.', '<', '>'; not beginning with a digit */
    struct dispatch_value input;
    const char *endpoint; /* URL of the application that has the function; NULL: the registry's, or
                             in a poll and a tail call, that of the function itself */
    uint64_t correlation_id; /* in a poll: comes back in the result, the application's to choose */
    int64_t expiration_ms;   /* how long the call may take, all retries included; 0: the
                                orchestrator's default, a day */
    const char *version;     /* NULL: none; not all platforms honour it */
    const char *key; /* of a call that nobody runs, to the endpoint "event:": the name that whoever
                        completes it (CallService/Complete) knows it by, unique while it lives */
    int64_t not_before_ns; /* start it then at the earliest; 0: at once */
    int32_t priority;      /* among the waiting calls of one organization and host: greater ones run
                              first, save one turn in eight, so that all proceed; 0: as any */
    uint32_t pad_;
    uint64_t reserved_[5];
};

/* A call of the function of that name. Borrows both. */
DISPATCH_SDK_API struct dispatch_call dispatch_to(const char *function,
                                                  struct dispatch_value input);

/* Why a call failed. The pointers are borrowed from whoever made the error. */
struct dispatch_error {
    enum dispatch_status
        status;          /* not OK; UNSPECIFIED in one that came from elsewhere without it */
    const char *type;    /* required: a short word for programs, "Overdrawn" */
    const char *message; /* required: a sentence for people */
    const void *value;   /* the application's own bytes, passed on untouched; may be NULL */
    size_t value_size;
    const void *traceback; /* text, not NUL-terminated; may be NULL */
    size_t traceback_size;
    uint64_t reserved_[4];
};

/* Checks an error made by hand: "Error type is required", "Error message is required", "Status
 * cannot be OK". One that fails this and is returned all the same ends its call with a
 * PERMANENT_ERROR that says so. */
DISPATCH_SDK_API int dispatch_error_check(const struct dispatch_error *error,
                                          struct dispatch_failure *failure);

/* The outcome of a call: what a function returns, a poll is resumed with, and dispatch_run gives.
 * An output and an error may both be there (a partial result). */
struct dispatch_result {
    struct dispatch_value output;
    const struct dispatch_error *error; /* NULL: none */
    enum dispatch_status status; /* OK, or the error's. A function may set a temporary one beside an
                                    output: the run is then made again */
    uint64_t correlation_id;     /* of the call, in results of a poll */
    const char *dispatch_id;     /* of the call; NULL where it is not known */
    void *memory_;
    uint64_t reserved_[3];
};

/* Frees what a result owns, and zeroes it. Only for results that dispatch_run, dispatch_client_wait
 * and dispatch_operation_result gave to the caller; harmless on others, and when done twice. */
DISPATCH_SDK_API void dispatch_result_free(struct dispatch_result *result);

/* --- functions ------------------------------------------------------------------------------- */

/* One run of a function: its memory and its input. Lives until the run is answered. */
struct dispatch_ctx;
struct dispatch_input;

/*
 * A function: gets the input of its call, returns its result with dispatch_ok or dispatch_fail.
 * Runs on a thread of the endpoint's pool, several at a time, and may block. It is run at least
 * once: after a crash, or a temporary error, again with the same input.
 */
typedef struct dispatch_result dispatch_function(struct dispatch_ctx *ctx,
                                                 struct dispatch_value input);

/* The function succeeded. Borrows what the value borrows, until the run is answered. */
DISPATCH_SDK_API struct dispatch_result dispatch_ok(struct dispatch_value output);

/* The function failed: `status` tells the orchestrator whether to try again (TEMPORARY_ERROR) or
 * not (PERMANENT_ERROR); UNSPECIFIED takes what dispatch_register_error_type says of the type, else
 * TEMPORARY_ERROR. `type` and the formatted message are copied into the run's memory. */
DISPATCH_SDK_API struct dispatch_result dispatch_fail(struct dispatch_ctx *ctx,
                                                      enum dispatch_status status, const char *type,
                                                      const char *format, ...)
    DISPATCH_SDK_PRINTF(4, 5);

/* Failed because of errno: dispatch_error_from_errno, returned. The formatted text comes first. */
DISPATCH_SDK_API struct dispatch_result dispatch_fail_errno(struct dispatch_ctx *ctx, int errnum,
                                                            const char *format, ...)
    DISPATCH_SDK_PRINTF(3, 4);

/* Failed with that error, copied whole: for an error of another call that is to be passed on. */
DISPATCH_SDK_API struct dispatch_result dispatch_fail_with(struct dispatch_ctx *ctx,
                                                           const struct dispatch_error *error);

/* The error of an errno value: the status of dispatch_status_from_errno, the type "ENOENT", the
 * message
 * "<what>: No such file or directory". In the run's memory. */
DISPATCH_SDK_API struct dispatch_error dispatch_error_from_errno(struct dispatch_ctx *ctx,
                                                                 int errnum, const char *what);

/*
 * Memory of the run, 16-byte aligned and zeroed, freed when the run has been answered. NULL when
 * there is none left; the run is then marked: whatever the function goes on to return, it is
 * answered TEMPORARY_ERROR, type "Memory". So a function may use dispatch_printf's result unchecked
 * as a value.
 */
DISPATCH_SDK_API void *dispatch_alloc(struct dispatch_ctx *ctx, size_t size);
DISPATCH_SDK_API char *dispatch_printf(struct dispatch_ctx *ctx, const char *format, ...)
    DISPATCH_SDK_PRINTF(2, 3);

/* The input of the run, with the ids and times of the call. Lives as long as ctx. */
DISPATCH_SDK_API const struct dispatch_input *dispatch_ctx_input(struct dispatch_ctx *ctx);

/* --- coroutines ------------------------------------------------------------------------------ */

/*
 * A function may wait in its middle, for calls, for local coroutines, for time: it awaits. While it
 * waits it takes no thread; it is resumed in any process of the application, after any crash, where
 * it stood. It is plain C all the same, with loops and calls of other functions that await:
 *
 *     static struct dispatch_result order(struct dispatch_ctx *ctx, struct dispatch_value input)
 *     {
 *         struct dispatch_result paid = dispatch_call(ctx, "charge", input);
 *
 *         if (paid.error)
 *             return paid;
 *         dispatch_sleep(ctx, 3600 * 1000);
 *         return dispatch_call(ctx, "ship", input);
 *     }
 *
 * How that works. The results that were delivered to a function are kept in its journal, which is
 * the state that its call has at the orchestrator. In the process where it waited, its stack is
 * usually still there and goes on. Otherwise the function is run again from its top, and each await
 * gives at once what the journal says, until it stands where it stood: it is replayed. Hence:
 *
 * - What a function does between its awaits happens again in a replay. Effects go into functions
 *   that it calls, or into dispatch_step.
 * - It makes the same awaits each time, given the same results: it must not decide by the clock, by
 *   chance, by the environment or by what a file says, but with dispatch_now, dispatch_random and
 *   steps. Code that awaits something else than the journal has is found out: see
 *   dispatch_on_divergence and dispatch_patched.
 * - Across an await nothing survives but its stack, memory of the run (dispatch_alloc) and what
 *   dispatch_defer gives back: no lock, no unregistered malloc, FILE or descriptor, no pointer into
 *   thread-local storage (errno's address included).
 *
 * Awaits that cannot be made (in a primitive function, in a step, in a handler of dispatch_defer)
 * give an error of type "Misuse".
 */
struct dispatch_task;

#ifdef __cplusplus /* a function with the name of a struct is fine in C */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
/*
 * Calls a function of this or another application, and waits for its result. Its error is final,
 * its own retries being over; returned on unchanged it ends this call, with the same status if that
 * is none that is tried again, else PERMANENT_ERROR. The status that the error came with stands in
 * error->status. The result lives as long as the run. With a NULL ctx, that is outside a function:
 * dispatches the call through the default registry's client, waits, and gives a result for
 * dispatch_result_free.
 */
DISPATCH_SDK_API struct dispatch_result
dispatch_call(struct dispatch_ctx *ctx, const char *function, struct dispatch_value input);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif
/* The same with a call's other fields. */
DISPATCH_SDK_API struct dispatch_result dispatch_call_with(struct dispatch_ctx *ctx,
                                                           const struct dispatch_call *call);

/*
 * Begin something without waiting for it: a call; a local coroutine, that is, a function of this
 * program that runs on a stack of its own while others wait, one at a time; a timer. The task lives
 * as long as the run. All that is begun before the function next waits leaves together. A task that
 * nobody awaits goes on: a call to its own end, a local coroutine as long as this run has not
 * ended.
 */
DISPATCH_SDK_API struct dispatch_task *
dispatch_start(struct dispatch_ctx *ctx, const char *function, struct dispatch_value input);
DISPATCH_SDK_API struct dispatch_task *dispatch_start_with(struct dispatch_ctx *ctx,
                                                           const struct dispatch_call *call);
DISPATCH_SDK_API struct dispatch_task *
dispatch_spawn(struct dispatch_ctx *ctx, dispatch_function *function, struct dispatch_value input);
/* Done, with null, when that time has passed. Timers that are due together end in the order of
 * their deadlines, of equal ones in that of their beginnings. */
DISPATCH_SDK_API struct dispatch_task *dispatch_timer(struct dispatch_ctx *ctx, int64_t ms);

/* Waits for one task. Tasks may be awaited several times. */
DISPATCH_SDK_API struct dispatch_result dispatch_await(struct dispatch_ctx *ctx,
                                                       struct dispatch_task *task);

/*
 * Waits until all tasks are done, or one has failed: returns NULL, or the first error. results[i]
 * (NULL: not wanted) is the result of tasks[i]; of those that are not done, which are then
 * abandoned, it is null with status UNSPECIFIED. With no tasks there is nothing to wait for.
 */
DISPATCH_SDK_API const struct dispatch_error *dispatch_all(struct dispatch_ctx *ctx,
                                                           struct dispatch_task *const *tasks,
                                                           size_t count,
                                                           struct dispatch_result *results);
/* Another name of dispatch_all. */
DISPATCH_SDK_API const struct dispatch_error *dispatch_gather(struct dispatch_ctx *ctx,
                                                              struct dispatch_task *const *tasks,
                                                              size_t count,
                                                              struct dispatch_result *results);

/*
 * dispatch_any waits for the first success, dispatch_race for the first task that is done, and give
 * its result; *winner (NULL: not wanted) is its index. If all tasks of dispatch_any fail, *winner
 * is SIZE_MAX, and the result is the error of the one task; of several, an error of type
 * "AnyException", whose message begins "3 coroutines failed with an exception" and has theirs
 * (dispatch_task_result has them whole). With no tasks: null, *winner SIZE_MAX. The losers are
 * abandoned: a local coroutine ends where it stands, a call that has not left does not, one that
 * has left is cancelled if the orchestrator can.
 */
DISPATCH_SDK_API struct dispatch_result dispatch_any(struct dispatch_ctx *ctx,
                                                     struct dispatch_task *const *tasks,
                                                     size_t count, size_t *winner);
DISPATCH_SDK_API struct dispatch_result dispatch_race(struct dispatch_ctx *ctx,
                                                      struct dispatch_task *const *tasks,
                                                      size_t count, size_t *winner);

/* Gives a task up: its result is not wanted any more. A call is made nevertheless and goes on to
 * its end, nobody waiting; a local coroutine ends where it stands. Awaiting the task later gives an
 * error of type "Forgotten". */
DISPATCH_SDK_API void dispatch_forget(struct dispatch_ctx *ctx, struct dispatch_task *task);
/* The result of a task that is done, whoever waited for it; NULL: it is not. */
DISPATCH_SDK_API const struct dispatch_result *
dispatch_task_result(const struct dispatch_task *task);

/* Waits for that long, or until that instant; woken by the orchestrator, by its clock. */
DISPATCH_SDK_API void dispatch_sleep(struct dispatch_ctx *ctx, int64_t ms);
DISPATCH_SDK_API void dispatch_sleep_until(struct dispatch_ctx *ctx, int64_t unix_ns);

/* An effect, for dispatch_step. */
typedef struct dispatch_result dispatch_effect(struct dispatch_ctx *ctx, void *arg);

/*
 * Runs effect(ctx, arg), here and now, and keeps its result: replays give the result and leave the
 * effect out. dispatch_step waits until the result is durable, so that what follows may rely on it;
 * dispatch_step_lazy goes on at once, and the result is durable with the next wait. The effect
 * happens at least once: again, if the process dies between it and the commit of its result. If it
 * fails with a temporary status the step does not return: the run ends with that error and is made
 * again, from its last wait. `name` is what the journal calls it.
 */
DISPATCH_SDK_API struct dispatch_result dispatch_step(struct dispatch_ctx *ctx, const char *name,
                                                      dispatch_effect *effect, void *arg);
DISPATCH_SDK_API struct dispatch_result
dispatch_step_lazy(struct dispatch_ctx *ctx, const char *name, dispatch_effect *effect, void *arg);

/* The time, by the orchestrator's clock, and a random number: the same in each replay. */
DISPATCH_SDK_API int64_t dispatch_now(struct dispatch_ctx *ctx);
DISPATCH_SDK_API uint64_t dispatch_random(struct dispatch_ctx *ctx);

/*
 * Whether this call is on the new side of a change of the code: true, unless the call passed this
 * place before the code had it. Write `if (dispatch_patched(ctx, "new tariff")) new(); else
 * old();`, and drop the old side when no call is left on it. The first answer holds for the name
 * until the call ends or makes a checkpoint.
 */
DISPATCH_SDK_API bool dispatch_patched(struct dispatch_ctx *ctx, const char *name);

/*
 * A struct that a function keeps across its checkpoints: zero at first, later as it was at the last
 * one. Plain data without pointers. A struct that has grown since gets zeros at its end; one that
 * has become smaller, or was written on another architecture, ends the run INCOMPATIBLE_STATE, so
 * that the call starts over. Always the same pointer.
 */
DISPATCH_SDK_API void *dispatch_state(struct dispatch_ctx *ctx, size_t size);
/*
 * For the function to return: saves the struct of dispatch_state, forgets the journal, and enters
 * the function again at its top, with the same input. So a loop without end stays small. It is an
 * error (type "Outstanding", which names them) if tasks are neither done nor forgotten.
 */
DISPATCH_SDK_API struct dispatch_result dispatch_checkpoint(struct dispatch_ctx *ctx);

/* Ends the function from any depth, of a local coroutine too, and puts another call in its place,
 * under the same id. With a temporary status it starts after a retry delay, with DISPATCH_OK at
 * once. A bad call ends this one with an error that says so. Does not return. */
DISPATCH_SDK_API void dispatch_reset(struct dispatch_ctx *ctx, const struct dispatch_call *call,
                                     enum dispatch_status status) __attribute__((noreturn));

/*
 * Calls fn(arg) when the stack of the present coroutine ends, however it ends (it returns, it is
 * dropped to be replayed elsewhere, it lost a race, the call ends); last registered first, on any
 * thread. Those of local coroutines that end with the call come before the function's own. For what
 * must be given back: memory of malloc, descriptors. A handler does not await. A stack that is
 * dropped is unwound first, so that destructors of C++ run; no await may stand in a destructor or
 * below a noexcept function, and a catch (...) around one throws on.
 */
DISPATCH_SDK_API void dispatch_defer(struct dispatch_ctx *ctx, void (*fn)(void *arg), void *arg);

/* How the call waits from now on, where the default does not suit; 0: the default. Resume when
 * min_results are there (default: as many as can make a difference), give at most max_results at
 * once (1,000, the most there can be), resume after max_wait_ms at the latest (never). */
DISPATCH_SDK_API void dispatch_poll_limits(struct dispatch_ctx *ctx, int32_t min_results,
                                           int32_t max_results, int64_t max_wait_ms);

/* The status of errors of that type that are made with status UNSPECIFIED; the latest registration
 * counts, for the whole process. Types that are not registered: TEMPORARY_ERROR. */
DISPATCH_SDK_API int dispatch_register_error_type(const char *type, enum dispatch_status status,
                                                  struct dispatch_failure *failure);

/* Reports an overflow of a function's stack on stderr, with the function's name, before the process
 * dies of it. Installs a handler for SIGSEGV and SIGBUS, which hands on everything else; so it is
 * asked for, early in main(). */
DISPATCH_SDK_API int dispatch_report_overflows(struct dispatch_failure *failure);

/* Where in the source an await stands, for tracebacks: the macros below note it. */
DISPATCH_SDK_API struct dispatch_ctx *dispatch_here_(struct dispatch_ctx *ctx, const char *file,
                                                     int line, const char *function,
                                                     const char *name);

/* --- primitive functions --------------------------------------------------------------------- */

/* What a primitive function is told. The first run has an input; one that resumes after a poll has
 * the state that the poll left, and results. Texts are never NULL. */
DISPATCH_SDK_API const char *dispatch_input_function(const struct dispatch_input *input);
DISPATCH_SDK_API const char *dispatch_input_id(const struct dispatch_input *input);
DISPATCH_SDK_API const char *
dispatch_input_parent_id(const struct dispatch_input *input); /* or "" */
DISPATCH_SDK_API const char *dispatch_input_root_id(const struct dispatch_input *input);
DISPATCH_SDK_API int64_t dispatch_input_creation_time_ns(const struct dispatch_input *input);
DISPATCH_SDK_API int64_t dispatch_input_expiration_time_ns(const struct dispatch_input *input);
/* What this project's orchestrator tells besides: its clock (0: it is another one, which knows none
 * of the extensions), the call's generation (1, and one more for each restart and tail call), and
 * how many polls it has made since. */
DISPATCH_SDK_API int64_t dispatch_input_now_ns(const struct dispatch_input *input);
DISPATCH_SDK_API uint32_t dispatch_input_generation(const struct dispatch_input *input);
DISPATCH_SDK_API uint32_t dispatch_input_resumes(const struct dispatch_input *input);
DISPATCH_SDK_API bool dispatch_input_is_first_call(const struct dispatch_input *input);
DISPATCH_SDK_API bool dispatch_input_is_resume(const struct dispatch_input *input);

/* The input. Of a first call only; else CODE_FAILED_PRECONDITION, "This input is for a resumed
 * coroutine". */
DISPATCH_SDK_API int dispatch_input_value(const struct dispatch_input *input,
                                          struct dispatch_value *value,
                                          struct dispatch_failure *failure);
/* The same, and refuses what is not arguments: "input does not hold arguments". */
DISPATCH_SDK_API int dispatch_input_arguments(const struct dispatch_input *input,
                                              struct dispatch_value *arguments,
                                              struct dispatch_failure *failure);

/* What it resumes with. Of a resume only; else CODE_FAILED_PRECONDITION, "This input is for a first
 * function call". */
DISPATCH_SDK_API int dispatch_input_state(const struct dispatch_input *input,
                                          struct dispatch_value *state,
                                          struct dispatch_failure *failure);
DISPATCH_SDK_API int dispatch_input_results(const struct dispatch_input *input,
                                            const struct dispatch_result **results, size_t *count,
                                            struct dispatch_failure *failure);
/* *error is NULL if the calls of the last poll were accepted; else none of them was. */
DISPATCH_SDK_API int dispatch_input_poll_error(const struct dispatch_input *input,
                                               const struct dispatch_error **error,
                                               struct dispatch_failure *failure);

/*
 * What a primitive function answers. Each of the makers below encodes at once, into the run's
 * memory: what it was given may be changed or freed when it has returned. What cannot be encoded
 * (JSON that is none, a text that is not UTF-8, no memory) makes an output that says so as the
 * call's error.
 */
struct dispatch_output {
    const void *bytes_;
    size_t size_;
};

/*
 * A primitive function: sees each run of its call, and answers with a result, a tail call or a
 * poll. Where it runs, and how often, is as for a dispatch_function.
 */
typedef struct dispatch_output dispatch_primitive(struct dispatch_ctx *ctx,
                                                  const struct dispatch_input *input);

/* Ends the call with a value. */
DISPATCH_SDK_API struct dispatch_output dispatch_output_value(struct dispatch_ctx *ctx,
                                                              struct dispatch_value value);
/* Ends it, or has it tried again, as error->status says. */
DISPATCH_SDK_API struct dispatch_output dispatch_output_error(struct dispatch_ctx *ctx,
                                                              const struct dispatch_error *error);
/* Replaces function and input of the call (and its endpoint, if the tail call has one), under the
 * same id. With a temporary status the new function starts after a retry delay. */
DISPATCH_SDK_API struct dispatch_output dispatch_output_tail_call(struct dispatch_ctx *ctx,
                                                                  const struct dispatch_call *call,
                                                                  enum dispatch_status status);
/* The general form: a result, a tail call, or (both NULL) neither. A result's ids are not sent. */
DISPATCH_SDK_API struct dispatch_output dispatch_output_exit(struct dispatch_ctx *ctx,
                                                             const struct dispatch_result *result,
                                                             const struct dispatch_call *tail_call,
                                                             enum dispatch_status status);

/* Suspends the call: it is resumed with `state` when results of its calls are there. */
struct dispatch_poll {
    struct dispatch_value state;
    const struct dispatch_call *calls; /* to make now; earlier ones may still be under way */
    size_t call_count;
    int32_t min_results; /* resume when so many results are there; 0 means 1 */
    int32_t max_results; /* give at most so many at once, the others next time; 0 means 10; both are
                            held to 1..1000 */
    bool has_max_wait;   /* resume after max_wait_ms at the latest, with the results there are */
    bool wake_on_error;  /* resume at min_results or at the first error; this and what follows with
                            this project's orchestrator only: see dispatch_input_now_ns */
    int64_t max_wait_ms;
    /* Bytes to put behind the state of the last poll, in place of `state`, which is null then:
     * behind those of a dispatch_message. append_position is how many that state has; if it has
     * others, the poll is dropped and the run made again. */
    const void *append;
    size_t append_size;
    uint64_t append_position;
    const uint64_t *cancel; /* correlation ids of calls of earlier polls that are given up: those
                               that are not done are cancelled, and no result of theirs comes */
    size_t cancel_count;
    uint64_t reserved_[4];
};

/* Suspends the call, as the poll says. */
DISPATCH_SDK_API struct dispatch_output dispatch_output_poll(struct dispatch_ctx *ctx,
                                                             const struct dispatch_poll *poll);

/* --- registries ------------------------------------------------------------------------------ */

/* Functions by name, and the URL that they are reached at: see dispatch_registry_create. */
struct dispatch_registry;

/* The way to the orchestrator's API: see dispatch_client_create. */
struct dispatch_client;

/* What runs the functions of a registry: see dispatch_endpoint_create. */
struct dispatch_endpoint;

/* How a registry is to be. */
struct dispatch_registry_options {
    const char *name;     /* required, unique in the process */
    const char *endpoint; /* URL that its functions are reached at: http, https or bridge; default:
                             the DISPATCH_ENDPOINT_URL environment variable */
    struct dispatch_client *client; /* for dispatching; must outlive the registry; default: one made
                                       from the environment when first needed */
    uint64_t reserved_[8];
};

/* A registry of functions. The errors: "missing registry name", "registry with name 'x' already
 * exists", "missing application endpoint: set it with the DISPATCH_ENDPOINT_URL environment
 * variable", and those about the form of the endpoint's URL. */
DISPATCH_SDK_API int dispatch_registry_create(const struct dispatch_registry_options *options,
                                              struct dispatch_registry **registry,
                                              struct dispatch_failure *failure);
/* Frees the registry, its name and its functions. No endpoint or batch may use it any more. NULL is
 * fine; the default registry is emptied and stays. */
DISPATCH_SDK_API void dispatch_registry_close(struct dispatch_registry *registry);

/* The registry named "default", which is what NULL means for every `registry` below. Its endpoint
 * is DISPATCH_ENDPOINT_URL, looked up when first needed. */
DISPATCH_SDK_API struct dispatch_registry *dispatch_registry_default(void);

/* Its name; lives as long as the registry. */
DISPATCH_SDK_API const char *dispatch_registry_name(const struct dispatch_registry *registry);
/* The endpoint's URL; NULL, and the failure says why, if there is none. Lives as long as the
 * registry, but for the default one, for which dispatch_run may replace it. */
DISPATCH_SDK_API const char *dispatch_registry_endpoint(struct dispatch_registry *registry,
                                                        struct dispatch_failure *failure);

/* Adds a function. CODE_ALREADY_EXISTS, "function already registered with name 'x'";
 * CODE_INVALID_ARGUMENT for a name that is none. Functions may be added while endpoints run. */
DISPATCH_SDK_API int dispatch_register(struct dispatch_registry *registry, const char *name,
                                       dispatch_function *function,
                                       struct dispatch_failure *failure);
DISPATCH_SDK_API int dispatch_register_primitive(struct dispatch_registry *registry,
                                                 const char *name, dispatch_primitive *function,
                                                 struct dispatch_failure *failure);

/* What becomes of a call whose function awaits something else than its journal says it did. */
enum dispatch_divergence {
    DISPATCH_DIVERGENCE_WAITS = 0,   /* tried again until code that matches runs it: a rolling
                                        deploy heals by itself */
    DISPATCH_DIVERGENCE_RESTARTS = 1 /* it starts over, from its input */
};

/* How a registry's functions are treated that diverged: either way the error is of type "Diverged"
 * and names the await that the journal has and the one that was made. */
DISPATCH_SDK_API void dispatch_on_divergence(struct dispatch_registry *registry,
                                             enum dispatch_divergence on_divergence);

/*
 * Registers a function under its own name in the default registry before main() begins. A failure
 * (the name is taken) is kept, and reported by whatever serves the default registry. In a static
 * library the object file must be linked in for another reason too, or the linker leaves it out.
 */
#define DISPATCH_REGISTER(function)           DISPATCH_REGISTER_(function, function, NULL)
#define DISPATCH_REGISTER_PRIMITIVE(function) DISPATCH_REGISTER_(function, NULL, function)
#define DISPATCH_REGISTER_(name, function, primitive)                                              \
    __attribute__((constructor)) static void dispatch_registration_of_##name##_(void)              \
    {                                                                                              \
        dispatch_register_early_(#name, function, primitive);                                      \
    }                                                                                              \
    struct dispatch_ctx
DISPATCH_SDK_API void dispatch_register_early_(const char *name, dispatch_function *function,
                                               dispatch_primitive *primitive);

/* The ids of calls that were dispatched, in their order. */
struct dispatch_ids {
    const char *const *id; /* each NUL-terminated */
    size_t count;
    void *memory_;
};

/* Frees the ids, and zeroes it; harmless when done twice. */
DISPATCH_SDK_API void dispatch_ids_free(struct dispatch_ids *ids);

/*
 * Dispatches calls, all or none: when it returns 0 they are recorded and will be run. A call
 * without an endpoint gets the registry's. `ids` may be NULL. Blocks for as long as the answer
 * takes; see dispatch_client_dispatch for how it fails.
 */
DISPATCH_SDK_API int dispatch_registry_dispatch(struct dispatch_registry *registry,
                                                const struct dispatch_call *calls, size_t count,
                                                struct dispatch_ids *ids,
                                                struct dispatch_failure *failure);

/* A set of calls built one by one and dispatched together. */
struct dispatch_batch;

/* An empty batch. NULL: no memory. The registry must outlive it. */
DISPATCH_SDK_API struct dispatch_batch *dispatch_batch_create(struct dispatch_registry *registry);
DISPATCH_SDK_API void dispatch_batch_destroy(struct dispatch_batch *batch); /* NULL is fine */
/* Copies the call. */
DISPATCH_SDK_API int dispatch_batch_add(struct dispatch_batch *batch,
                                        const struct dispatch_call *call,
                                        struct dispatch_failure *failure);
/* How many calls it holds. */
DISPATCH_SDK_API size_t dispatch_batch_count(const struct dispatch_batch *batch);
/* Drops them, undispatched. */
DISPATCH_SDK_API void dispatch_batch_clear(struct dispatch_batch *batch);
/* Dispatches what was added, and clears the batch if that succeeded. Of an empty one: no ids, no
 * request. */
DISPATCH_SDK_API int dispatch_batch_dispatch(struct dispatch_batch *batch, struct dispatch_ids *ids,
                                             struct dispatch_failure *failure);

/* --- client ---------------------------------------------------------------------------------- */

/* How a client is to be. It uses the proxies that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name when it
 * is made. */
struct dispatch_client_options {
    const char *api_key;       /* default: the DISPATCH_API_KEY environment variable */
    const char *api_url;       /* default: DISPATCH_API_URL, else http://127.0.0.1:3477 */
    uint32_t timeout_ms;       /* of a Dispatch, all its attempts together, once somebody listens;
                                  default 30,000 */
    uint32_t connect_retry_ms; /* how long to go on trying to dispatch while nobody listens at the
                                  API URL (the request was surely not sent); default 5,000 */
    const char *ca_file; /* of an https API URL: a PEM file with the authorities to trust instead of
                            the system's; default: DISPATCH_CA_FILE, if it is set */
    uint64_t reserved_[7];
};

/* A client of the API, with a thread of its own. `options` may be NULL. The errors: "missing API
 * key: set it with the DISPATCH_API_KEY environment variable", "missing API URL: set it with the
 * DISPATCH_API_URL environment variable", "Invalid API scheme: 'ftp'", "cannot read certificate
 * authorities from FILE: ...". Nothing is sent yet. Over https, the API's certificate has to be
 * valid for the host of the URL; if it is not, operations end with CODE_UNAVAILABLE at once. */
DISPATCH_SDK_API int dispatch_client_create(const struct dispatch_client_options *options,
                                            struct dispatch_client **client,
                                            struct dispatch_failure *failure);
/* Operations still under way end as CANCELED and are freed. No other thread is within a function of
 * the client's. NULL is fine. */
DISPATCH_SDK_API void dispatch_client_destroy(struct dispatch_client *client);

/*
 * Dispatches calls, all or none. Every call needs an endpoint. CODE_UNAUTHENTICATED: "Dispatch
 * received an invalid authentication token (check DISPATCH_API_KEY is correct)", or "api_key" if
 * the key was given in the options. Any other error code of the API is passed on, with its message.
 * The request carries a key of its own, so that it is sent again, within the time limit, when its
 * answer is lost or the API restarts: the calls are made once. CODE_UNAVAILABLE and
 * CODE_DEADLINE_EXCEEDED leave open whether they were recorded.
 *
 * From within a function, on its thread, the calls are made once for all runs of its call: one that
 * is made again (after a crash, a temporary error) asks under the same key, and gets the ids of
 * those that are there, though it say something else now. In a coroutine this is an await, whose
 * outcome, a failure too, is kept in the journal. All this holds for registries, batches and
 * dispatch_client_begin_dispatch (which is in no journal) as well, and with this project's
 * orchestrator.
 */
DISPATCH_SDK_API int dispatch_client_dispatch(struct dispatch_client *client,
                                              const struct dispatch_call *calls, size_t count,
                                              struct dispatch_ids *ids,
                                              struct dispatch_failure *failure);

/*
 * Waits for the result of a call, by its id, for timeout_ms (negative: as long as it takes; a
 * server that does not answer may make it a second more): CODE_DEADLINE_EXCEEDED then. While the
 * API cannot be reached, or is restarting, it goes on trying. CODE_NOT_FOUND: the API knows no such
 * call. A call that failed is no failure here: 0 is returned, and result->error says why. The
 * result is the caller's: dispatch_result_free.
 */
DISPATCH_SDK_API int dispatch_client_wait(struct dispatch_client *client, const char *dispatch_id,
                                          int64_t timeout_ms, struct dispatch_result *result,
                                          struct dispatch_failure *failure);

/*
 * What people and programs do to calls, by their id. Each blocks until the API has answered, and
 * goes on trying for connect_retry_ms while nobody listens there. CODE_UNAVAILABLE and
 * CODE_DEADLINE_EXCEEDED leave open whether it was done. CODE_NOT_FOUND: the API knows no such
 * call.
 */

/* Completes a call to the endpoint "event:", by its id or by the key that its caller gave it (the
 * other is NULL): with the result's output, or its error. A completion that comes before its call
 * is kept for a day. CODE_FAILED_PRECONDITION: the call is done, or is of another kind. */
DISPATCH_SDK_API int dispatch_client_complete(struct dispatch_client *client,
                                              const char *dispatch_id, const char *key,
                                              const struct dispatch_result *result,
                                              struct dispatch_failure *failure);
/* Ends a live call, and all that it called: PERMANENT_ERROR, type "Cancelled".
 * CODE_FAILED_PRECONDITION: it is done. */
DISPATCH_SDK_API int dispatch_client_cancel(struct dispatch_client *client, const char *dispatch_id,
                                            struct dispatch_failure *failure);
/* A live call gives its state up, and begins again from its input. CODE_FAILED_PRECONDITION: it is
 * done. */
DISPATCH_SDK_API int dispatch_client_restart(struct dispatch_client *client,
                                             const char *dispatch_id,
                                             struct dispatch_failure *failure);
/* Makes a new call of one that is done; its id is the only one of *ids (which may be NULL).
 * CODE_FAILED_PRECONDITION: the call is live. */
DISPATCH_SDK_API int dispatch_client_retry(struct dispatch_client *client, const char *dispatch_id,
                                           struct dispatch_ids *ids,
                                           struct dispatch_failure *failure);

/* What a call is doing. */
enum dispatch_call_state {
    DISPATCH_CALL_UNKNOWN = 0,
    DISPATCH_CALL_READY = 1,   /* to be run as soon as there is room */
    DISPATCH_CALL_WAITING = 2, /* to be run when it is due: a retry, or a start that was put off */
    DISPATCH_CALL_RUNNING = 3,
    DISPATCH_CALL_SUSPENDED = 4, /* in a poll */
    DISPATCH_CALL_DONE = 5
};

/* "ready", "suspended"; "unknown" for a number that is no state. Never NULL. */
DISPATCH_SDK_API const char *dispatch_call_state_name(enum dispatch_call_state state);

/* All there is to know of a call. Texts are never NULL; times that are not there are 0. */
struct dispatch_call_info {
    const char *dispatch_id, *parent_dispatch_id, *root_dispatch_id;
    const char *function, *endpoint;
    const char *retry_of;    /* the call that dispatch_client_retry made it from */
    const char *key;         /* of a call to event: */
    const char *waiting_for; /* why it does not run, for people */
    enum dispatch_call_state state;
    enum dispatch_status status; /* of a call that is done, else of its last failed attempt */
    int64_t creation_time_ns, expiration_time_ns, due_time_ns, done_time_ns;
    uint64_t attempts;
    uint32_t generation;  /* 1, and one more for each restart and tail call */
    uint32_t resumes;     /* polls since */
    uint32_t outstanding; /* calls that it made and that have no result yet */
    uint32_t pad_;
    struct dispatch_value input;
    struct dispatch_value coroutine_state;   /* if it was asked for, and there is one */
    const struct dispatch_result *result;    /* of a call that is done; else NULL */
    const struct dispatch_error *last_error; /* NULL: none */
    void *memory_;
    uint64_t reserved_[8];
};

/* Tells of a call; `with_state`: also the state that its function resumes with. Free *info with
 * dispatch_call_info_free. */
DISPATCH_SDK_API int dispatch_client_get(struct dispatch_client *client, const char *dispatch_id,
                                         bool with_state, struct dispatch_call_info *info,
                                         struct dispatch_failure *failure);
/* Frees what it holds, and zeroes it; harmless when done twice. */
DISPATCH_SDK_API void dispatch_call_info_free(struct dispatch_call_info *info);

/*
 * Dispatching and waiting without blocking, for programs with an event loop. A `begin` starts an
 * operation. When operations have finished, the client's descriptor is readable: call
 * dispatch_client_next until it returns NULL. Each operation that it returns is the caller's to
 * look at and destroy. Only watch the descriptor: do not read from it, do not close it.
 */
struct dispatch_operation;
DISPATCH_SDK_API int dispatch_client_descriptor(struct dispatch_client *client);
DISPATCH_SDK_API struct dispatch_operation *dispatch_client_next(struct dispatch_client *client);
/* Begin what dispatch_client_dispatch and dispatch_client_wait do. `arg` is the caller's, to be
 * found again with dispatch_operation_arg. */
DISPATCH_SDK_API int dispatch_client_begin_dispatch(struct dispatch_client *client,
                                                    const struct dispatch_call *calls, size_t count,
                                                    void *arg,
                                                    struct dispatch_operation **operation,
                                                    struct dispatch_failure *failure);
DISPATCH_SDK_API int dispatch_client_begin_wait(struct dispatch_client *client,
                                                const char *dispatch_id, int64_t timeout_ms,
                                                void *arg, struct dispatch_operation **operation,
                                                struct dispatch_failure *failure);
/* The `arg` that it was begun with. */
DISPATCH_SDK_API void *dispatch_operation_arg(const struct dispatch_operation *operation);
/* The outcome of a finished operation, moved to the caller (a second time there is none:
 * CODE_FAILED_PRECONDITION, as for one that is not finished, or of the other kind). */
DISPATCH_SDK_API int dispatch_operation_ids(struct dispatch_operation *operation,
                                            struct dispatch_ids *ids,
                                            struct dispatch_failure *failure);
DISPATCH_SDK_API int dispatch_operation_result(struct dispatch_operation *operation,
                                               struct dispatch_result *result,
                                               struct dispatch_failure *failure);
/* Frees it. One that is still under way is abandoned: it will not come out of dispatch_client_next;
 * a Dispatch may have been recorded all the same. Before dispatch_client_destroy. NULL is fine. */
DISPATCH_SDK_API void dispatch_operation_destroy(struct dispatch_operation *operation);

/* --- running an application ------------------------------------------------------------------ */

/*
 * How an application runs. Embedded: the orchestrator is in the process, and keeps its calls in a
 * file of SQLite; no server, no port, no configuration. Served: a `dispatch run` or `dispatch
 * server` stands behind a URL, and the functions are served over HTTP. Which one: an explicit
 * option (`store`; or `client`, `api_key`, `api_url`); else DISPATCH_STORE, embedded, on that
 * store; else DISPATCH_API_URL or DISPATCH_API_KEY, served; else embedded, on
 * $XDG_STATE_HOME/dispatch/PROGRAM/calls.db (~/.local/state if that is not set). A client that was
 * given to the registry counts as the option `client`.
 *
 * Embedded, functions are reached at bridge://PROGRAM, and nothing listens: endpoint_addr,
 * endpoint_url, the registry's endpoint and DISPATCH_ENDPOINT_URL are for the served mode.
 */
struct dispatch_run_options {
    struct dispatch_registry *registry; /* whose functions are served; NULL: the default one */
    struct dispatch_client *client;     /* NULL: the registry's, or one made from the next two */
    const char *api_key, *api_url;      /* as in struct dispatch_client_options */
    const char *endpoint_addr; /* "host:port" to listen on; default: DISPATCH_ENDPOINT_ADDR, else
                                  localhost:8000; port 0: any free one */
    const char *endpoint_url;  /* how the orchestrator reaches it; default: the registry's, else
                                  DISPATCH_ENDPOINT_URL, else http:// and the address listened on */
    uint32_t workers;          /* threads for functions; default: the processors, at least 4 */
    uint32_t
        max_queue;     /* runs that wait for a thread; past it they are answered THROTTLED; 1,024 */
    size_t stack_size; /* these three as in struct dispatch_endpoint_options */
    size_t max_suspended_bytes;
    int32_t max_suspended;
    uint32_t store_wait_ms; /* these three as in struct dispatch_embedded_options */
    const char *store, *program;
    uint64_t reserved_[3];
};

/*
 * Serves the default registry's functions, dispatches the call, waits for its result, and stops
 * serving. The result's error tells what went wrong on the way, too: type "Configuration" before
 * anything was dispatched, "Client" when dispatching or waiting failed. Waiting survives restarts
 * of the orchestrator, and ends soon after the call's expiration. Free the result with
 * dispatch_result_free. One at a time a registry, which is lent client and endpoint meanwhile: they
 * go before its own, and before a client that it made from the environment.
 */
DISPATCH_SDK_API struct dispatch_result dispatch_run(struct dispatch_call call);
DISPATCH_SDK_API struct dispatch_result
dispatch_run_with(const struct dispatch_run_options *options, struct dispatch_call call);

/*
 * Serves functions for as long as the process lives: returns only if it cannot begin, with the
 * reason. `options` may be NULL. Ending the process by a signal is safe: what was running is run
 * again elsewhere or later. To stop by hand, use an endpoint (below).
 */
DISPATCH_SDK_API int dispatch_serve(const struct dispatch_run_options *options,
                                    struct dispatch_failure *failure);

/* --- the orchestrator inside the process ----------------------------------------------------- */

/*
 * What dispatch_run and dispatch_serve do in the embedded mode, for programs that want more of it:
 * a store that is open as long as the program likes, with a client for its calls; and, for programs
 * with an event loop of their own, an orchestrator without a thread. A program that opens one has
 * it in every environment, under `dispatch run` too; what is to run in any mode uses those two.
 *
 * One process has a store at a time, through the lock on PATH.lock. Whoever comes second fails with
 * CODE_UNAVAILABLE, the message naming the process that has it; or waits, if told to. The lock goes
 * with the process, however that ends, and nothing is to be repaired: a program that was killed, or
 * that called exit() with work under way, goes on with that work when it opens the store again. So
 * does `dispatch server`, on the same file: the functions are at bridge://PROGRAM there.
 *
 * A child of fork() has no part in it: it gets CODE_FAILED_PRECONDITION from the client, its
 * closing does nothing, and the lock stays with the parent.
 */
struct dispatch_embedded;

/* How it is to be. */
struct dispatch_embedded_options {
    struct dispatch_registry *registry; /* whose functions run, and which is lent the client and the
                                           endpoint meanwhile; NULL: the default one */
    const char *store;   /* "sqlite:PATH", or "memory:", which goes with the process; default:
                            DISPATCH_STORE, else the file named after the program */
    const char *program; /* letters, digits, '.', '_' and '-', at most 64: the name of that file's
                            directory, and in the endpoint of its functions, bridge://PROGRAM;
                            default: that of the program's file */
    uint32_t store_wait_ms; /* how long to wait for a store that another process has; default:
                               DISPATCH_STORE_WAIT, in seconds, else not at all */
    uint32_t workers;       /* threads for functions; default: the processors, at least 4 */
    uint32_t max_queue;     /* as in struct dispatch_run_options */
    bool own_loop;          /* no thread for the orchestrator: see dispatch_embedded_step */
    bool run_in_step;       /* with own_loop: no threads for functions either, which then must not
                               block; they run in dispatch_embedded_step */
    int32_t max_suspended;  /* these, and the two below, as in struct dispatch_endpoint_options */
    size_t stack_size, max_suspended_bytes;
    void (*on_warning)(void *arg, const char *dispatch_id, const char *text);
    void *arg;
    uint64_t reserved_[8];
};

/*
 * Opens the store; what was unfinished in it goes on. `options` may be NULL. CODE_INVALID_ARGUMENT
 * and CODE_FAILED_PRECONDITION say what is wrong with options, environment or file.
 *
 * The store is this process's when it returns, and its calls are read after that (with own_loop, in
 * the first steps). There is nothing to wait for: operations begun meanwhile are made once they are
 * read, however long that takes, and so is dispatch_embedded_settle.
 */
DISPATCH_SDK_API int dispatch_embedded_open(const struct dispatch_embedded_options *options,
                                            struct dispatch_embedded **embedded,
                                            struct dispatch_failure *failure);
/* A client of it; lives as long. A call without an endpoint is one to the functions here, whichever
 * way it is dispatched. */
DISPATCH_SDK_API struct dispatch_client *
dispatch_embedded_client(const struct dispatch_embedded *embedded);
/* The URL that its own functions have: "bridge://PROGRAM". Lives as long. */
DISPATCH_SDK_API const char *dispatch_embedded_url(const struct dispatch_embedded *embedded);
/* Waits until no call is left to do, for timeout_ms (negative: as long as it takes):
 * CODE_DEADLINE_EXCEEDED then. What is done has its effects on disk. One thread at a time; not from
 * within a function. With own_loop it makes the steps itself, as the client's blocking functions do
 * (below). */
DISPATCH_SDK_API int dispatch_embedded_settle(struct dispatch_embedded *embedded,
                                              int64_t timeout_ms, struct dispatch_failure *failure);
/*
 * Stops: no new run starts, runs under way have 5 seconds to end; what is not done goes on when the
 * store is opened again. Waits for functions that still run. Operations of the client still under
 * way end as CANCELED. Not from one of its functions, nor while another thread of the program is
 * within a function of the client's. NULL is fine.
 */
DISPATCH_SDK_API void dispatch_embedded_close(struct dispatch_embedded *embedded);

/*
 * With own_loop: the thread that opened it calls dispatch_embedded_step whenever the descriptor is
 * readable, and when the deadline has passed; that is asked for again after each step, and after
 * operations that were begun on that thread. -1: none. A step does what there is to do, writing to
 * the disk included, and returns. Only watch the descriptor: do not read from it, do not close it.
 * The client's blocking functions step by themselves when that thread calls them, except within a
 * step, where they fail; other threads may call them as ever.
 */
DISPATCH_SDK_API int dispatch_embedded_descriptor(const struct dispatch_embedded *embedded);
DISPATCH_SDK_API int64_t dispatch_embedded_deadline_ms(const struct dispatch_embedded *embedded);
DISPATCH_SDK_API void dispatch_embedded_step(struct dispatch_embedded *embedded);

/* --- endpoints ------------------------------------------------------------------------------- */

/* A run that a raw function is to answer: see dispatch_register_raw. */
struct dispatch_request;

/* How an endpoint is to be. */
struct dispatch_endpoint_options {
    struct dispatch_registry *registry; /* NULL: the default one; must outlive the endpoint */
    uint32_t workers;                   /* as in struct dispatch_run_options */
    uint32_t max_queue;
    size_t max_run_memory; /* bytes that one run may allocate, its input included; 256 MiB */
    /*
     * Called after a run ended its call for good (an exit without a tail call, whose status is not
     * temporary) and before that is answered. On the thread that answers; what it is given lives
     * during the call. The call may end again: runs are at least once.
     */
    void (*on_exit)(void *arg, const char *dispatch_id, const struct dispatch_result *result);
    void *arg;
    size_t stack_size; /* bytes of stack that a function has, 256 KiB; only what is touched takes
                          memory */
    int32_t max_suspended; /* suspended functions whose stacks are kept, to go on instead of being
                              replayed; 1,024; negative: none */
    /* Called when a replay noticed what is not an error: a call with another input than at first.
     */
    void (*on_warning)(void *arg, const char *dispatch_id, const char *text);
    /* The public key of the orchestrator, as `dispatch verification get` prints it (PEM, where a
     * backslash and an n may stand for a line break) or as the base64 of its 32 bytes: requests
     * over HTTP that it has not signed are refused. NULL: that of DISPATCH_VERIFICATION_KEY;
     * without either, or if it is empty, whoever reaches the endpoint may run its functions. */
    const char *verification_key;
    size_t max_suspended_bytes; /* what all kept ones may take, their memory and journals included;
                                   64 MiB; those that waited longest go */
    uint64_t reserved_[3];
};

/*
 * A pool of threads that runs the functions of a registry. Without dispatch_endpoint_listen it is
 * bytes in, bytes out (dispatch_endpoint_handle), for other HTTP servers and for other transports.
 */
DISPATCH_SDK_API int dispatch_endpoint_create(const struct dispatch_endpoint_options *options,
                                              struct dispatch_endpoint **endpoint,
                                              struct dispatch_failure *failure);
/* Serves HTTP on "host:port" (NULL: DISPATCH_ENDPOINT_ADDR, else localhost:8000) from a thread of
 * its own. Once an endpoint. CODE_UNAVAILABLE names an address that cannot be had. */
DISPATCH_SDK_API int dispatch_endpoint_listen(struct dispatch_endpoint *endpoint, const char *addr,
                                              struct dispatch_failure *failure);
/* The same over TLS, with HTTP/2 for whom asks for it. The PEM files (the certificate, its chain
 * behind it; its key, without a passphrase) are read before this returns: CODE_INVALID_ARGUMENT
 * names one that cannot be used. */
DISPATCH_SDK_API int dispatch_endpoint_listen_tls(struct dispatch_endpoint *endpoint,
                                                  const char *addr, const char *cert_file,
                                                  const char *key_file,
                                                  struct dispatch_failure *failure);
/* The port that it listens on; 0: on none. */
DISPATCH_SDK_API uint16_t dispatch_endpoint_port(const struct dispatch_endpoint *endpoint);
/* Refuses new runs (the orchestrator makes them elsewhere or later), and waits for those that
 * began, until they are answered or grace_ms have passed. True: all were. */
DISPATCH_SDK_API bool dispatch_endpoint_stop(struct dispatch_endpoint *endpoint, uint32_t grace_ms);
/* Stops, drops the connections, waits for the functions that still run and the requests that are
 * still unanswered, and frees it. Not from one of its functions. NULL is fine. */
DISPATCH_SDK_API void dispatch_endpoint_destroy(struct dispatch_endpoint *endpoint);

/* --- the lower layer, for other languages and transports ------------------------------------- */

/* The answer to a Run request, ready for HTTP. */
struct dispatch_reply {
    int http_status;          /* 200, and the body is a packed RunResponse; else a Connect error */
    const char *content_type; /* "application/proto" or "application/json" */
    const void *body;
    size_t size;
};

/*
 * Handles a packed RunRequest, the body of POST /dispatch.sdk.v1.FunctionService/Run. `done` is
 * called exactly once with the answer, on any thread, maybe before this returns; the reply lives
 * during that call. It must not block, as it holds up a thread of the pool.
 */
DISPATCH_SDK_API void
dispatch_endpoint_handle(struct dispatch_endpoint *endpoint, const void *request, size_t size,
                         void (*done)(void *arg, const struct dispatch_reply *reply), void *arg);

/* A request as some HTTP server has it. */
struct dispatch_http_header {
    const char *name, *value;
};
struct dispatch_http_request {
    const char *method; /* "POST" */
    const char *target; /* the path as it was sent, escaped, and its query */
    const struct dispatch_http_header *headers; /* with Host */
    size_t header_count;
    const void *body;
    size_t size;
};

/*
 * The same of a whole HTTP request: with a verification key, one that is not signed by it is
 * answered with HTTP status 401 or 403. dispatch_endpoint_handle looks at no signature, and is for
 * bytes whose sender is known otherwise. The request is read during the call only.
 */
DISPATCH_SDK_API void dispatch_endpoint_handle_http(
    struct dispatch_endpoint *endpoint, const struct dispatch_http_request *request,
    void (*done)(void *arg, const struct dispatch_reply *reply), void *arg);

/*
 * A raw function gets the packed RunRequest, and answers with a packed RunResponse, now or later,
 * from any thread, exactly once. Called on a thread of the pool, which it need not keep.
 */
typedef void dispatch_raw(void *arg, struct dispatch_request *request);

/* Adds a raw function; fails as dispatch_register does. */
DISPATCH_SDK_API int dispatch_register_raw(struct dispatch_registry *registry, const char *name,
                                           dispatch_raw *function, void *arg,
                                           struct dispatch_failure *failure);
/* Called for every function that is not registered, instead of the answer "function 'x' does not
 * exist". NULL takes it away again. */
DISPATCH_SDK_API void dispatch_register_fallback(struct dispatch_registry *registry,
                                                 dispatch_raw *function, void *arg);

/* The name of the function that is to run, and the packed RunRequest. The request lives until it is
 * answered. */
DISPATCH_SDK_API const char *dispatch_request_function(const struct dispatch_request *request);
DISPATCH_SDK_API const void *dispatch_request_bytes(const struct dispatch_request *request,
                                                    size_t *size);
/* Answers with a packed RunResponse. It is not looked into, save for on_exit. */
DISPATCH_SDK_API void dispatch_request_answer(struct dispatch_request *request,
                                              const void *response, size_t size);
/* Answers with an error of Connect instead; the HTTP status is that of the code. The orchestrator
 * derives the run's status from it. */
DISPATCH_SDK_API void dispatch_request_refuse(struct dispatch_request *request, int code,
                                              const char *message);

/*
 * A context by hand: parses a packed RunRequest. With it, raw functions (and tests) read inputs and
 * make outputs without any endpoint. CODE_INVALID_ARGUMENT tells what is wrong with the bytes.
 */
DISPATCH_SDK_API int dispatch_ctx_create(const void *run_request, size_t size,
                                         struct dispatch_ctx **ctx,
                                         struct dispatch_failure *failure);
DISPATCH_SDK_API void dispatch_ctx_destroy(struct dispatch_ctx *ctx); /* NULL is fine */
/* The packed RunResponse of an output; lives as long as the context that it was made in. */
DISPATCH_SDK_API const void *dispatch_output_bytes(struct dispatch_output output, size_t *size);
/* What an endpoint makes of the result that a function returns. */
DISPATCH_SDK_API struct dispatch_output
dispatch_output_result(struct dispatch_ctx *ctx, const struct dispatch_result *result);

/* The parts of a Run request, for making one (tests of functions, other orchestrators). */
struct dispatch_run_request {
    const char *function;                                            /* required */
    const char *dispatch_id, *parent_dispatch_id, *root_dispatch_id; /* NULL: empty */
    int64_t creation_time_ns, expiration_time_ns;                    /* 0: absent */
    bool resume; /* false: a first call, with `input`; true: the fields after it */
    struct dispatch_value input;
    struct dispatch_value state;
    const struct dispatch_result *results;
    size_t result_count;
    const struct dispatch_error *poll_error; /* NULL: none */
    int64_t now_ns; /* the orchestrator's clock; 0: absent, with the next two, as in requests of
                       other orchestrators than this project's */
    uint32_t generation, resumes;
    uint64_t reserved_[6];
};

/* Packs it into new memory: *bytes is freed with dispatch_bytes_free. */
DISPATCH_SDK_API int dispatch_run_request_pack(const struct dispatch_run_request *request,
                                               void **bytes, size_t *size,
                                               struct dispatch_failure *failure);
DISPATCH_SDK_API void dispatch_bytes_free(void *bytes); /* NULL is fine */

/* What a packed RunResponse says, for tests of functions. */
struct dispatch_response {
    enum dispatch_status status;
    const struct dispatch_result *result;  /* of an exit; NULL: none */
    const struct dispatch_call *tail_call; /* NULL: none */
    const struct dispatch_poll *poll;      /* NULL: an exit */
    void *memory_;
};

/* Unpacks a RunResponse. Free it with dispatch_response_free. CODE_INVALID_ARGUMENT tells what is
 * wrong with the bytes. */
DISPATCH_SDK_API int dispatch_response_unpack(const void *bytes, size_t size,
                                              struct dispatch_response *response,
                                              struct dispatch_failure *failure);
/* Frees what it holds, and zeroes it; harmless when done twice. */
DISPATCH_SDK_API void dispatch_response_free(struct dispatch_response *response);

/* --- tracebacks ------------------------------------------------------------------------------ */

/* Each of these notes its place in the source, and then is the function of that name: the errors
 * that pass here carry these places as their traceback. */
#ifndef DISPATCH_NO_TRACEBACK_
#define DISPATCH_HERE_(ctx)           dispatch_here_(ctx, __FILE__, __LINE__, __func__, NULL)
#define dispatch_fail(ctx, ...)       dispatch_fail(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_fail_errno(ctx, ...) dispatch_fail_errno(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_call(ctx, ...)       dispatch_call(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_call_with(ctx, ...)  dispatch_call_with(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_start(ctx, ...)      dispatch_start(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_start_with(ctx, ...) dispatch_start_with(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_await(ctx, ...)      dispatch_await(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_all(ctx, ...)        dispatch_all(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_gather(ctx, ...)     dispatch_gather(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_any(ctx, ...)        dispatch_any(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_race(ctx, ...)       dispatch_race(DISPATCH_HERE_(ctx), __VA_ARGS__)
#define dispatch_spawn(ctx, function, ...)                                                         \
    dispatch_spawn(dispatch_here_(ctx, __FILE__, __LINE__, __func__, #function), function,         \
                   __VA_ARGS__)
#endif

#ifdef __cplusplus
}
#endif

#endif
