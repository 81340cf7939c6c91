// SPDX-License-Identifier: Apache-2.0
/*
 * Statuses, failures of the library's own functions, and the errors and results of calls.
 */
#include "sdk/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"

const char *dispatch_sdk_version(void)
{
    return DISPATCH_SDK_VERSION;
}

const char *dispatch_status_name(enum dispatch_status status)
{
    return status_name((enum status)status);
}

bool dispatch_status_temporary(enum dispatch_status status)
{
    return status_is_temporary((enum status)status);
}

const char *dispatch_code_name(int code)
{
    return code_name(code);
}

enum dispatch_status dispatch_status_from_errno(int errnum)
{
    switch (errnum) {
    case ETIMEDOUT:
        return DISPATCH_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case EPIPE:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENETRESET:
    case EADDRNOTAVAIL:
        return DISPATCH_TCP_ERROR;
    case EACCES:
    case EPERM:
        return DISPATCH_PERMISSION_DENIED;
    case ENOENT:
        return DISPATCH_NOT_FOUND;
    case EINVAL:
    case EDOM:
        return DISPATCH_INVALID_ARGUMENT;
    default:
        return DISPATCH_TEMPORARY_ERROR;
    }
}

int sdk_fail(struct dispatch_failure *failure, int code, const char *format, ...)
{
    struct error err;
    va_list args;

    if (!failure)
        return code;
    va_start(args, format);
    error_setv(&err, code, format, args);
    va_end(args);
    return sdk_fail_from(failure, &err);
}

int sdk_fail_from(struct dispatch_failure *failure, const struct error *err)
{
    static_assert(sizeof failure->message >= sizeof err->message, "messages fit");
    if (failure) {
        failure->code = err->code;
        failure->http_status = 0;
        memcpy(failure->message, err->message, sizeof err->message);
    }
    return err->code;
}

int sdk_fail_memory(struct dispatch_failure *failure)
{
    return sdk_fail(failure, CODE_RESOURCE_EXHAUSTED, "out of memory");
}

int dispatch_error_check(const struct dispatch_error *error, struct dispatch_failure *failure)
{
    if (!error->type || !*error->type)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "Error type is required");
    if (!error->message || !*error->message)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "Error message is required");
    if (error->status == DISPATCH_OK)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "Status cannot be OK");
    return 0;
}

/* --- registered types ------------------------------------------------------------------------ */

enum { TYPES_MAX = 1000 };

struct error_type {
    struct error_type *next;
    enum dispatch_status status;
    char name[];
};

static pthread_mutex_t types_lock = PTHREAD_MUTEX_INITIALIZER;
static struct error_type *types; /* of the whole process, never freed */
static unsigned type_count;

/* Under the lock. */
static struct error_type *find_type(const char *name)
{
    struct error_type *type = types;

    while (type && strcmp(type->name, name) != 0)
        type = type->next;
    return type;
}

/* Under the lock. */
static int add_type(const char *name, enum dispatch_status status, struct dispatch_failure *failure)
{
    struct error_type *type;

    if (type_count >= TYPES_MAX)
        return sdk_fail(failure, CODE_RESOURCE_EXHAUSTED, "more than %d error types", TYPES_MAX);
    type = malloc(sizeof *type + strlen(name) + 1);
    if (!type)
        return sdk_fail_memory(failure);
    type->next = types;
    type->status = status;
    memcpy(type->name, name, strlen(name) + 1);
    types = type;
    type_count++;
    return 0;
}

int dispatch_register_error_type(const char *name, enum dispatch_status status,
                                 struct dispatch_failure *failure)
{
    struct error_type *type;
    int rc = 0;

    if (!name || !*name)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "Error type is required");
    if (status == DISPATCH_OK || status == DISPATCH_UNSPECIFIED)
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "the status of error type '%.200s' is %s",
                        name, dispatch_status_name(status));
    pthread_mutex_lock(&types_lock);
    type = find_type(name);
    if (type)
        type->status = status;
    else
        rc = add_type(name, status, failure);
    pthread_mutex_unlock(&types_lock);
    return rc;
}

static enum dispatch_status registered_status(const char *name)
{
    struct error_type *type;
    enum dispatch_status status;

    pthread_mutex_lock(&types_lock);
    type = find_type(name);
    status = type ? type->status : DISPATCH_TEMPORARY_ERROR;
    pthread_mutex_unlock(&types_lock);
    return status;
}

/* --- what functions return ------------------------------------------------------------------- */

static const struct dispatch_error memory_error = {
    .status = DISPATCH_TEMPORARY_ERROR, .type = "Memory", .message = "out of memory"};

const struct dispatch_error *sdk_memory_error(void)
{
    return &memory_error;
}

struct dispatch_result sdk_failed(const char *type, const struct dispatch_failure *failure)
{
    struct arena *memory = sdk_memory_create(65536);
    struct dispatch_error *error = memory ? arena_zalloc(memory, 1, sizeof *error) : NULL;
    const char *message = error ? sdk_clean_text(memory, slice_str(failure->message)) : NULL;

    if (!message) {
        sdk_memory_destroy(memory);
        return (struct dispatch_result){.error = &memory_error, .status = memory_error.status};
    }
    *error = (struct dispatch_error){.status =
                                         (enum dispatch_status)wire_status_from_code(failure->code),
                                     .type = type,
                                     .message = message};
    return (struct dispatch_result){.error = error, .status = error->status, .memory_ = memory};
}

static struct dispatch_result failed(const struct dispatch_error *error,
                                     enum dispatch_status status)
{
    return (struct dispatch_result){.error = error, .status = status};
}

struct dispatch_result dispatch_ok(struct dispatch_value output)
{
    return (struct dispatch_result){.output = output, .status = DISPATCH_OK};
}

/* Formats into the run's memory. */
static char *format_text(struct dispatch_ctx *ctx, const char *format, va_list args)
{
    va_list again;
    char *text = NULL;
    int length;

    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, args);
    if (length >= 0)
        text = dispatch_alloc(ctx, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *dispatch_printf(struct dispatch_ctx *ctx, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = format_text(ctx, format, args);
    va_end(args);
    return text;
}

struct dispatch_result dispatch_fail(struct dispatch_ctx *ctx, enum dispatch_status status,
                                     const char *type, const char *format, ...)
{
    struct dispatch_error *error = dispatch_alloc(ctx, sizeof *error);
    va_list args;

    if (!error)
        return failed(&memory_error, memory_error.status);
    va_start(args, format);
    error->message = format_text(ctx, format, args);
    va_end(args);
    if (status == DISPATCH_UNSPECIFIED && type)
        status = registered_status(type);
    error->status = status;
    error->traceback = sdk_trace_line(ctx, NULL, 0, NULL, &error->traceback_size);
    error->type = type ? arena_dup(&ctx->arena, slice_str(type)) : NULL;
    if (!error->message || (type && !error->type))
        return failed(&memory_error, memory_error.status);
    return failed(error, status);
}

struct dispatch_error dispatch_error_from_errno(struct dispatch_ctx *ctx, int errnum,
                                                const char *what)
{
    const char *name = strerrorname_np(errnum);
    char text[128];
    const char *said = strerror_r(errnum, text, sizeof text);
    struct dispatch_error error = {.status = dispatch_status_from_errno(errnum)};

    error.type = name ? name : "errno";
    error.message = what && *what ? dispatch_printf(ctx, "%s: %s", what, said)
                                  : dispatch_printf(ctx, "%s", said);
    return error.message ? error : memory_error;
}

struct dispatch_result dispatch_fail_errno(struct dispatch_ctx *ctx, int errnum, const char *format,
                                           ...)
{
    struct dispatch_error *error = dispatch_alloc(ctx, sizeof *error);
    va_list args;
    char *what;

    if (!error)
        return failed(&memory_error, memory_error.status);
    va_start(args, format);
    what = format_text(ctx, format, args);
    va_end(args);
    *error = dispatch_error_from_errno(ctx, errnum, what);
    error->traceback = sdk_trace_line(ctx, NULL, 0, NULL, &error->traceback_size);
    return failed(error, error->status);
}

/* arena_dup of what may be absent; false: no memory. */
static bool copy_bytes(struct arena *arena, const void **data, size_t size)
{
    if (!*data)
        return true;
    *data = arena_dup(arena, slice(*data, size));
    return *data != NULL;
}

static bool copy_text(struct arena *arena, const char **text)
{
    if (!*text)
        return true;
    *text = arena_dup(arena, slice_str(*text));
    return *text != NULL;
}

struct dispatch_result dispatch_fail_with(struct dispatch_ctx *ctx,
                                          const struct dispatch_error *error)
{
    struct dispatch_error *copy = dispatch_alloc(ctx, sizeof *copy);
    enum dispatch_status status = error->status;

    if (!copy)
        return failed(&memory_error, memory_error.status);
    *copy = *error;
    if (!copy_text(&ctx->arena, &copy->type) || !copy_text(&ctx->arena, &copy->message) ||
        !copy_bytes(&ctx->arena, &copy->value, copy->value_size) ||
        !copy_bytes(&ctx->arena, &copy->traceback, copy->traceback_size)) {
        ctx->failed = true;
        return failed(&memory_error, memory_error.status);
    }
    /* The other call's error is final, its own retries being over: it is not tried again here. */
    if (status == DISPATCH_UNSPECIFIED || status == DISPATCH_OK ||
        dispatch_status_temporary(status))
        status = DISPATCH_PERMANENT_ERROR;
    return failed(copy, status);
}

/* --- results and their memory ---------------------------------------------------------------- */

struct arena *sdk_memory_create(size_t max)
{
    struct arena *memory = malloc(sizeof *memory);

    if (memory)
        arena_init(memory, max);
    return memory;
}

void sdk_memory_destroy(struct arena *memory)
{
    if (!memory)
        return;
    arena_reset(memory);
    free(memory);
}

void dispatch_result_free(struct dispatch_result *result)
{
    sdk_memory_destroy(result->memory_);
    *result = (struct dispatch_result){0};
}

void dispatch_ids_free(struct dispatch_ids *ids)
{
    sdk_memory_destroy(ids->memory_);
    *ids = (struct dispatch_ids){0};
}
