// SPDX-License-Identifier: Apache-2.0
#include "cli/attempts.h"

#include <inttypes.h>
#include <string.h>

int attempts_load(struct ask *ask, const char *id, const char *token, uint32_t limit,
                  Dispatch__V1__AttemptsResponse **page)
{
    Dispatch__V1__AttemptsRequest request = DISPATCH__V1__ATTEMPTS_REQUEST__INIT;
    int code;

    request.dispatch_id = ask_text(id);
    request.page_token = ask_text(token);
    request.limit = limit;
    code = ask_calls(ask, "Attempts", &request, &dispatch__v1__attempts_response__descriptor, page);
    if (code == CODE_OK && !(*page)->call)
        return error_set(&ask->err, CODE_UNKNOWN, "the server answered without the call");
    return code;
}

static void put_outcome(const struct show *show, const Dispatch__V1__Attempt *a)
{
    bool ok = a->status == DISPATCH__SDK__V1__STATUS__STATUS_OK;
    const char *text = status_name((enum status)a->status), *colour = ok ? "32" : "31";

    if (a->outcome == DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_UNSPECIFIED) {
        text = "running";
        colour = "33";
    } else if (a->outcome == DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_GIVEN_UP) {
        text = "given up";
        colour = "90";
    } else if (ok && a->outcome == DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_POLL) {
        text = "poll";
    } else if (ok && a->outcome == DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_TAIL_CALL) {
        text = "tail call";
    }
    buf_printf(show->out, "%s%s%s%s%s", show->colours ? "\033[" : "", show->colours ? colour : "",
               show->colours ? "m" : "", text, show->colours ? "\033[0m" : "");
}

void attempts_line(const struct show *show, const Dispatch__V1__Attempt *a)
{
    int64_t start = a->start_time ? wire_time_ns(a->start_time) : show->now;
    int64_t end = a->end_time ? wire_time_ns(a->end_time) : show->now;
    struct buf took;

    buf_init(&took, 64);
    show_span(end > start ? end - start : 0, &took);
    show_time(start, show->out);
    buf_printf(show->out, "  #%-4" PRIu64 "  %8s  ", a->number, buf_cstr(&took));
    buf_free(&took);
    put_outcome(show, a);
    if (a->http_status)
        buf_printf(show->out, " (HTTP %u)", a->http_status);
    if (a->error) {
        buf_append_str(show->out, ": ");
        show_text(show, slice_str(a->error->type), 0);
        buf_append_str(show->out, *a->error->message ? ": " : "");
        show_text(show, slice(a->error->message, strcspn(a->error->message, "\n")), 0);
    }
    buf_append_str(show->out, "\n");
}

void attempts_missing(const struct show *show, const Dispatch__V1__AttemptsResponse *page)
{
    const Dispatch__V1__CallInfo *call = page->call;

    if (!page->kept_since || !call->creation_time ||
        wire_time_ns(call->creation_time) >= wire_time_ns(page->kept_since) ||
        call->attempts <= page->n_attempts)
        return;
    buf_append_str(show->out, "Attempts before ");
    show_time(wire_time_ns(page->kept_since), show->out);
    buf_append_str(show->out, " are not kept.\n");
}
