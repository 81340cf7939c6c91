// SPDX-License-Identifier: Apache-2.0
/* `dispatch wait`, and waiting for other commands. */
#include "base/clock.h"
#include "cli/ask.h"
#include "cli/show.h"
#include "cli/value.h"

/* One request waits so long, less than what reach allows it; then the next one does. */
#define ROUND_NS   (20 * NS_PER_S)
#define OUTPUT_MAX ((size_t)64 << 20)

/* --- for all ---------------------------------------------------------------------------------- */

static int wait_once(struct ask *ask, const char *id, int64_t max_wait_ns,
                     Dispatch__V1__CallInfo **call)
{
    Dispatch__V1__WaitRequest request = DISPATCH__V1__WAIT_REQUEST__INIT;
    wire_duration max_wait = GOOGLE__PROTOBUF__DURATION__INIT;
    Dispatch__V1__WaitResponse *response;
    int code;

    wire_set_duration(&max_wait, max_wait_ns);
    request.dispatch_id = ask_text(id);
    request.max_wait = &max_wait;
    ask_rewind(ask);
    code = ask_calls(ask, "Wait", &request, &dispatch__v1__wait_response__descriptor, &response);
    if (code)
        return code;
    if (!response->call)
        return error_set(&ask->err, CODE_UNKNOWN, "the server answered without the call");
    *call = response->call;
    return CODE_OK;
}

int ask_wait(struct ask *ask, const char *id, int64_t deadline, Dispatch__V1__CallInfo **call)
{
    for (;;) {
        int64_t now = clock_now(clock_system()), left = deadline - now;
        bool alone = reach_is_alone(ask->reach);
        int code = wait_once(ask, id,
                             alone || left < 0 ? 0
                             : left < ROUND_NS ? left
                                               : ROUND_NS,
                             call);

        if (code || (*call)->state == DISPATCH__V1__STATE__STATE_DONE)
            return code;
        ask_correct(ask, *call);
        if (alone)
            return error_set(&ask->err, CODE_FAILED_PRECONDITION,
                             "call %s is %s, and nobody runs what is in the store: start "
                             "`dispatch server` on it, or its program",
                             id, show_state_name((*call)->state));
        if (left <= 0)
            return error_set(&ask->err, CODE_DEADLINE_EXCEEDED, "call %s is not done, but %s", id,
                             show_state_name((*call)->state));
    }
}

int ask_fail_wait(const struct ask *ask)
{
    int status = ask_fail(ask);

    return ask->err.code == CODE_DEADLINE_EXCEEDED ? CLI_NOT_DONE : status;
}

int ask_print_result(const Dispatch__V1__CallInfo *call, bool named, bool json)
{
    const wire_error *error = call->result ? call->result->error : NULL;
    bool failed = call->status != DISPATCH__SDK__V1__STATUS__STATUS_OK;
    struct arena arena;
    struct buf out;
    int status = CLI_OK;

    arena_init(&arena, OUTPUT_MAX);
    buf_init(&out, OUTPUT_MAX);
    if (json) {
        wire_to_json(call, &out);
    } else if (!failed) {
        if (named)
            buf_printf(&out, "%s ", call->dispatch_id);
        value_show(call->result ? call->result->output : NULL, false, &arena, &out);
    }
    if (json || !failed) {
        buf_append_str(&out, "\n");
        status = show_flush(&out);
    } else {
        struct show show = {.out = &out, .arena = &arena};

        if (error)
            show_error(&show, error, 0);
        cli_fail("call %s ended with %s%s%s", call->dispatch_id,
                 status_name((enum status)call->status), error ? ": " : "",
                 error ? buf_cstr(&out) : "");
    }
    buf_free(&out);
    arena_reset(&arena);
    return failed ? CLI_FAILURE : status;
}

/* --- the command ------------------------------------------------------------------------------ */

static const struct cli_option options[] = {
    {"timeout", "DURATION", "for all of them together (default: none)"},
    {"json", NULL, "a line of JSON a call, with all that is known of it"},
    ASK_OPTIONS,
    {0},
};

struct waiting {
    struct ask ask;
    int64_t deadline;
    bool json;
    int id_count;
};

/* First the options, moving the ids to the front of argv. */
static int read_options(const struct cli_command *self, struct waiting *w, int argc, char **argv)
{
    struct cli_arg arg;
    enum cli_next next;
    uint32_t ms;
    int at = 0;

    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (!arg.option)
            argv[w->id_count++] = ask_text(arg.value);
        else if (ask_is(&arg, "json"))
            w->json = true;
        else if (!ask_is(&arg, "timeout"))
            ask_takes(&w->ask, &arg);
        else if (cli_duration(arg.value, &ms))
            w->deadline = clock_now(clock_system()) + ms * NS_PER_MS;
        else
            return cli_usage(self, "--timeout %s: no duration, as 30s or 5m is", arg.value);
    }
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? -1 : CLI_USAGE;
    return w->id_count ? CLI_OK : cli_usage(self, "for which calls? wait ID...");
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct waiting w = {.deadline = TIME_NEVER};
    int status, worst = CLI_OK;

    ask_init(&w.ask);
    status = read_options(self, &w, argc, argv);
    if (status)
        return status < 0 ? CLI_OK : status;
    if (ask_open(&w.ask))
        worst = ask_fail(&w.ask);
    for (int i = 0; i < w.id_count && w.ask.reach; i++) {
        Dispatch__V1__CallInfo *call;

        status = ask_wait(&w.ask, argv[i], w.deadline, &call)
                     ? ask_fail_wait(&w.ask)
                     : ask_print_result(call, w.id_count > 1, w.json);
        if (status > worst)
            worst = status;
    }
    ask_close(&w.ask);
    return worst;
}

static const char details[] =
    "Prints the output of each call as a line of JSON, behind its id if there are several,\n"
    "in the order of the ids. The error of one that failed goes to stderr.\n"
    "\n"
    "Example:\n"
    "    dispatch wait \"$(dispatch call nightly --endpoint http://127.0.0.1:8000)\"\n"
    "\n"
    "Exit status: 0 all calls succeeded; 1 one failed, or could not be asked for;\n"
    "3 one was not done in time.\n";

const struct cli_command cli_wait = {
    .name = "wait",
    .usage = "ID... [OPTION...]",
    .summary = "wait until calls are done, and print their results",
    .details = details,
    .options = options,
    .run = run,
};
