// SPDX-License-Identifier: Apache-2.0
/* `dispatch logs`: the attempts of a call and what became of them, and what it waits for. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "cli/attempts.h"
#include "cli/lines.h"

#define OUTPUT_MAX ((size_t)64 << 20)
#define TOKEN_MAX  32
#define FOLLOW_MS  500

struct logs {
    struct ask ask;
    const char *id;
    bool json, follow;
    bool begun; /* something was printed */
};

/* --- printing --------------------------------------------------------------------------------- */

static bool is_done(const Dispatch__V1__CallInfo *call)
{
    return call->state == DISPATCH__V1__STATE__STATE_DONE;
}

static bool is_running(const Dispatch__V1__Attempt *a)
{
    return a->outcome == DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_UNSPECIFIED;
}

/* Where the call is now: how it ended, or what it waits for. */
static void put_state(const struct show *show, const Dispatch__V1__CallInfo *call)
{
    const wire_error *error = call->result ? call->result->error : NULL;

    show_time(call->done_time ? wire_time_ns(call->done_time) : show->now, show->out);
    buf_append_str(show->out, "  ");
    show_outcome(show, call, 0);
    buf_printf(show->out, " after %" PRIu64 " attempt%s", call->attempts,
               call->attempts == 1 ? "" : "s");
    if (is_done(call) && error) {
        buf_append_str(show->out, ": ");
        show_error(show, error, 4);
    } else {
        buf_printf(show->out, "%s%s\n", *call->waiting_for ? ": " : "", call->waiting_for);
    }
    if (!is_done(call) && call->last_error) {
        buf_append_str(show->out, "    last error: ");
        show_error(show, call->last_error, 4);
    }
}

/* When following, what is still under way comes when it has ended. */
static void put_page(struct logs *logs, const struct show *show,
                     const Dispatch__V1__AttemptsResponse *page)
{
    if (!logs->begun && !logs->json)
        attempts_missing(show, page);
    logs->begun = true;
    for (size_t i = 0; i < page->n_attempts; i++) {
        const Dispatch__V1__Attempt *attempt = page->attempts[i];

        if (logs->follow && is_running(attempt) && !is_done(page->call))
            break;
        if (logs->json) {
            wire_to_json(attempt, show->out);
            buf_append_str(show->out, "\n");
        } else {
            attempts_line(show, attempt);
        }
    }
}

/* --- asking ----------------------------------------------------------------------------------- */

/* All pages from `token` on, which is then where to go on when following. */
static int print_from(struct logs *logs, char token[TOKEN_MAX], bool *done)
{
    struct arena arena;
    struct buf out;
    struct show show = {.out = &out, .arena = &arena, .colours = lines_colours(1)};
    Dispatch__V1__AttemptsResponse *page = NULL;
    int status = CLI_OK;
    bool more = true;

    arena_init(&arena, OUTPUT_MAX);
    buf_init(&out, OUTPUT_MAX);
    while (more && !status) {
        ask_rewind(&logs->ask);
        if (attempts_load(&logs->ask, logs->id, token, ATTEMPTS_PAGE, &page)) {
            status = ask_fail(&logs->ask);
            break;
        }
        show.now = clock_now(clock_system());
        ask_correct(&logs->ask, page->call);
        put_page(logs, &show, page);
        more = *page->next_page_token;
        snprintf(token, TOKEN_MAX, "%s", more ? page->next_page_token : page->watch_token);
        *done = is_done(page->call);
        if (!more && !logs->json && (*done || !logs->follow))
            put_state(&show, page->call);
        status = show_flush(&out);
    }
    buf_free(&out);
    arena_reset(&arena);
    return status;
}

/* Until the call is done, or a while has passed. */
static int wait_a_while(struct logs *logs)
{
    Dispatch__V1__WaitRequest request = DISPATCH__V1__WAIT_REQUEST__INIT;
    wire_duration while_ = GOOGLE__PROTOBUF__DURATION__INIT;
    Dispatch__V1__WaitResponse *response;

    while_.nanos = FOLLOW_MS * (int32_t)NS_PER_MS;
    request.dispatch_id = ask_text(logs->id);
    request.max_wait = &while_;
    return ask_calls(&logs->ask, "Wait", &request, &dispatch__v1__wait_response__descriptor,
                     &response);
}

static int print_all(struct logs *logs)
{
    char token[TOKEN_MAX] = "";
    bool done = false;
    int status;

    if (ask_open(&logs->ask))
        return ask_fail(&logs->ask);
    if (logs->follow && reach_is_alone(logs->ask.reach))
        logs->follow = false; /* there is nothing to wait for: the state says why */
    for (;;) {
        status = print_from(logs, token, &done);
        if (status || done || !logs->follow)
            return status;
        if (wait_a_while(logs))
            return ask_fail(&logs->ask);
    }
}

/* --- the command ------------------------------------------------------------------------------ */

static int take(void *to, const struct cli_arg *arg)
{
    struct logs *logs = to;

    if (ask_takes(&logs->ask, arg))
        return CLI_OK;
    if (ask_is(arg, "json"))
        logs->json = true;
    else if (ask_is(arg, "follow"))
        logs->follow = true;
    else if (logs->id)
        return cli_usage(&cli_logs, "%s: one call at a time", arg->value);
    else
        logs->id = arg->value;
    return CLI_OK;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct logs logs = {0};
    bool stop;
    int status;

    ask_init(&logs.ask);
    status = cli_read(self, argc, argv, take, &logs, &stop);
    if (status == CLI_OK && !stop)
        status = logs.id ? print_all(&logs) : cli_usage(self, "which call? logs ID");
    ask_close(&logs.ask);
    return status;
}

static const struct cli_option options[] = {
    {"follow", NULL, "go on with what happens, until the call is done"},
    {"json", NULL, "a line of JSON an attempt, a dispatch.v1.Attempt, for programs"},
    ASK_OPTIONS,
    {0},
};

static const struct cli_letter letters[] = {{'f', "follow"}, {0}};

static const char details[] =
    "A line an attempt: when it started, its number, how long it took, and what came of\n"
    "it; then where the call is now, and what it waits for.\n"
    "\n"
    "The store keeps no attempts. Whoever holds it remembers the last 16,384 of all calls\n"
    "together; that older ones are missing is said. What functions print is not here: it\n"
    "goes where their program's output goes.\n"
    "\n"
    "Example:\n"
    "    dispatch logs ID --follow\n"
    "\n"
    "Exit status: 0 it was shown, whatever became of the call; 1 failure.\n";

const struct cli_command cli_logs = {
    .name = "logs",
    .group = CLI_GROUP_OPERATOR,
    .usage = "ID [OPTION...]",
    .summary = "show the attempts of a call, and what came of them",
    .details = details,
    .options = options,
    .letters = letters,
    .run = run,
};
