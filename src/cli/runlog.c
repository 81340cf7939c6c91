// SPDX-License-Identifier: Apache-2.0
/* Words and names are the original's. */
#include "cli/runlog.h"

#include <stdlib.h>
#include <string.h>

#include "cli/value.h"

/* Of a value there is, before the log cuts it. */
#define SHOWN_MAX ((size_t)1 << 20)
#define ARENA_MAX ((size_t)64 << 20)
#define UNDER_WAY 10000
#define NO_NAME   "(?)"

void runlog_init(struct runlog *r, struct log *log, bool verbose)
{
    *r = (struct runlog){.log = log, .verbose = verbose};
    map_init(&r->functions);
    arena_init(&r->arena, ARENA_MAX);
}

void runlog_free(struct runlog *r)
{
    uint32_t pos = 0;
    uint64_t key;
    char *name;

    while ((name = map_next(&r->functions, &pos, &key)))
        free(name);
    map_free(&r->functions);
    arena_reset(&r->arena);
}

const char *runlog_status(enum status status)
{
    static const char *const names[] = {
        [STATUS_OK] = "OK",
        [STATUS_TIMEOUT] = "Timeout",
        [STATUS_THROTTLED] = "Throttled",
        [STATUS_INVALID_ARGUMENT] = "Invalid argument",
        [STATUS_INVALID_RESPONSE] = "Invalid response",
        [STATUS_TEMPORARY_ERROR] = "Temporary error",
        [STATUS_PERMANENT_ERROR] = "Permanent error",
        [STATUS_INCOMPATIBLE_STATE] = "Incompatible state",
        [STATUS_DNS_ERROR] = "DNS error",
        [STATUS_TCP_ERROR] = "TCP error",
        [STATUS_TLS_ERROR] = "TLS error",
        [STATUS_HTTP_ERROR] = "HTTP error",
        [STATUS_UNAUTHENTICATED] = "Unauthenticated",
        [STATUS_PERMISSION_DENIED] = "Permission denied",
        [STATUS_NOT_FOUND] = "Not found",
    };

    if ((unsigned)status < sizeof names / sizeof *names && names[status])
        return names[status];
    return "Unspecified";
}

/* --- lines ------------------------------------------------------------------------------------ */

/* A line about the function, with the value behind it when verbose. */
static void log_value(struct runlog *r, const char *message, const char *function, const char *name,
                      const wire_any *value)
{
    struct buf shown;

    if (!r->verbose) {
        log_line(r->log, LOG_INFO, message, LOG_STR("function", function));
        return;
    }
    buf_init(&shown, SHOWN_MAX);
    value_describe(value, &r->arena, &shown);
    log_line(r->log, LOG_INFO, message, LOG_STR("function", function),
             LOG_STR(name, shown.failed ? "(too large)" : buf_cstr(&shown)));
    buf_free(&shown);
    arena_rewind(&r->arena);
}

void runlog_started(struct runlog *r, const struct orchestrator_attempt *attempt)
{
    const wire_run_request *request = attempt->request;
    char *name = r->functions.len < UNDER_WAY ? strdup(request->function) : NULL;

    if (name && !map_set(&r->functions, attempt->attempt, name))
        free(name);
    if (request->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT)
        log_line(r->log, LOG_INFO, "resuming function", LOG_STR("function", request->function));
    else
        log_value(r, "calling function", request->function, "input", request->input);
}

static void log_response(struct runlog *r, const char *function, const wire_run_response *response)
{
    const wire_exit *done =
        response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT ? response->exit
                                                                                    : NULL;
    const wire_call_result *result = done ? done->result : NULL;
    const wire_error *error = result ? result->error : NULL;

    if (done && done->tail_call) /* whatever the status */
        log_line(r->log, LOG_INFO, "function tail-called", LOG_STR("function", function),
                 LOG_STR("tail_call", done->tail_call->function));
    else if (error || response->status != DISPATCH__SDK__V1__STATUS__STATUS_OK)
        log_line(r->log, LOG_WARN, "function call failed", LOG_STR("function", function),
                 LOG_STR("status", runlog_status((enum status)response->status)),
                 LOG_STR("error_type", error ? error->type : ""),
                 LOG_STR("error_message", error ? error->message : ""));
    else if (response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL)
        log_line(r->log, LOG_INFO, "function yielded", LOG_STR("function", function));
    else
        log_value(r, "function call succeeded", function, "output", result ? result->output : NULL);
}

static void log_failure(struct runlog *r, const char *function, const struct run_failure *failure)
{
    if (failure->http_status && failure->http_status != 200)
        log_line(r->log, LOG_WARN, "function call failed", LOG_STR("function", function),
                 LOG_NUM("http_status", failure->http_status), LOG_STR("error", failure->message));
    else
        log_line(r->log, LOG_WARN, "function call failed", LOG_STR("function", function),
                 LOG_STR("status", runlog_status(failure->status)),
                 LOG_STR("error", failure->message));
}

void runlog_ended(struct runlog *r, const struct orchestrator_outcome *outcome)
{
    char *name = map_remove(&r->functions, outcome->attempt);
    const char *function = name ? name : NO_NAME;

    if (outcome->response)
        log_response(r, function, outcome->response);
    else if (outcome->failure)
        log_failure(r, function, outcome->failure);
    free(name);
}
