// SPDX-License-Identifier: Apache-2.0
/*
 * `dispatch call`: one call, or one for each line of standard input. Many go in batches, each
 * dispatched whole or not at all, so that it can be said which lines were and which were not.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/ask.h"
#include "cli/progress.h"
#include "cli/value.h"

#define LINE_MAX_BYTES  ((size_t)8 << 20)
#define BATCH_CALLS     1000
#define BATCH_MAX_BYTES ((size_t)4 << 20) /* of lines; then the batch goes */
#define KEY_MAX_BYTES   256

struct calling {
    struct ask ask;
    const char *arguments[2]; /* FUNCTION [JSON] */
    int argument_count;
    bool wait, json;
    const char *key;       /* of idempotency */
    wire_call call;        /* all but its input */
    wire_timestamp start;  /* not_before */
    wire_duration expires; /* expiration */
    int64_t deadline;      /* of --wait */
    /* Of many: */
    struct progress progress;
    struct arena arena; /* the batch */
    wire_call *batch[BATCH_CALLS];
    size_t count, bytes;  /* of the batch */
    uint64_t lines, sent; /* read; of batches that were dispatched */
    uint64_t batches;
    int status;
};

/* --- one -------------------------------------------------------------------------------------- */

static int print_done(struct calling *c, const char *id)
{
    Dispatch__V1__CallInfo *call;

    if (ask_wait(&c->ask, id, c->deadline, &call))
        return ask_fail_wait(&c->ask);
    return ask_print_result(call, false, c->json);
}

/* Prints the ids, or waits for each and prints what it came to. */
static int print_all(struct calling *c, char *const *ids, size_t count)
{
    int status = CLI_OK, worst = CLI_OK;

    for (size_t i = 0; i < count; i++) {
        if (c->wait)
            status = print_done(c, ids[i]);
        else
            puts(ids[i]);
        if (status > worst)
            worst = status;
    }
    return fflush(stdout) ? cli_fail("the output could not be written") : worst;
}

/* The ids, in the arena `ids`; they outlive the answers. */
static int dispatch(struct calling *c, wire_call **calls, size_t count, struct arena *arena,
                    char ***ids)
{
    wire_dispatch_request request = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_dispatch_response *response;
    int code;

    request.calls = calls;
    request.n_calls = count;
    ask_rewind(&c->ask);
    code = ask_dispatch(&c->ask, &request, &response);
    if (code)
        return code;
    if (response->n_dispatch_ids != count)
        return error_set(&c->ask.err, CODE_UNKNOWN, "the server answered %zu ids for %zu calls",
                         response->n_dispatch_ids, count);
    *ids = arena_alloc(arena, count * sizeof **ids);
    for (size_t i = 0; *ids && i < count; i++) {
        (*ids)[i] = arena_dup(arena, slice_str(response->dispatch_ids[i]));
        if (!(*ids)[i])
            *ids = NULL;
    }
    return *ids ? CODE_OK : error_memory(&c->ask.err);
}

static int call_one(struct calling *c)
{
    const char *json = c->argument_count > 1 ? c->arguments[1] : "null";
    wire_call call = c->call, *calls[] = {&call};
    char **ids;

    if (value_parse(slice_str(json), &c->arena, &call.input, &c->ask.err))
        return cli_fail("the input: %s", c->ask.err.message);
    if (c->key)
        reach_set_key(c->ask.reach, c->key);
    if (dispatch(c, calls, 1, &c->arena, &ids))
        return ask_fail(&c->ask);
    return print_all(c, ids, 1);
}

/* --- many ------------------------------------------------------------------------------------- */

/* What became of the lines, after an error was told. */
static int tell_sent(struct calling *c, int status)
{
    if (c->sent)
        fprintf(stderr, "Lines 1 to %" PRIu64 " were dispatched.\n", c->sent);
    fprintf(stderr, "%s\n",
            c->key ? "To run this again is safe: under its idempotency key nothing is made twice."
                   : "With --idempotency-key, it would be safe to run this again.");
    return status;
}

static int send_batch(struct calling *c)
{
    char key[KEY_MAX_BYTES + 32], **ids;
    int status;

    if (c->count == 0)
        return CLI_OK;
    if (c->key) {
        snprintf(key, sizeof key, "%s/%" PRIu64, c->key, c->batches);
        reach_set_key(c->ask.reach, key);
    }
    if (dispatch(c, c->batch, c->count, &c->arena, &ids)) {
        progress_end(&c->progress);
        status = ask_fail(&c->ask);
        return tell_sent(c, status);
    }
    c->batches++;
    c->sent += c->count;
    status = print_all(c, ids, c->count);
    if (status > c->status)
        c->status = status;
    c->count = c->bytes = 0;
    arena_rewind(&c->arena);
    progress_show(&c->progress, c->sent);
    return CLI_OK;
}

static int add_line(struct calling *c, struct slice line)
{
    wire_call *call = arena_alloc(&c->arena, sizeof *call);
    int status;

    c->lines++;
    if (!call)
        return cli_fail("not enough memory for line %" PRIu64, c->lines);
    *call = c->call;
    if (value_parse(line, &c->arena, &call->input, &c->ask.err)) {
        progress_end(&c->progress);
        status = cli_fail("line %" PRIu64 ": %s", c->lines, c->ask.err.message);
        return tell_sent(c, status);
    }
    c->batch[c->count++] = call;
    c->bytes += line.len;
    return c->count == BATCH_CALLS || c->bytes >= BATCH_MAX_BYTES ? send_batch(c) : CLI_OK;
}

/* The next line, without its end; false: there is none, or it is too long, as buf->failed tells. */
static bool read_line(struct buf *line)
{
    int byte;

    buf_reset(line);
    while ((byte = getc_unlocked(stdin)) != EOF && byte != '\n' && !line->failed)
        buf_append_byte(line, (uint8_t)byte);
    return !line->failed && (byte != EOF || line->len > 0);
}

static int call_many(struct calling *c)
{
    struct buf line;
    int status = CLI_OK;

    buf_init(&line, LINE_MAX_BYTES);
    progress_start(&c->progress);
    while (!status && read_line(&line))
        status = add_line(c, buf_slice(&line));
    if (!status && line.failed)
        status =
            cli_fail("line %" PRIu64 " is longer than %zu bytes", c->lines + 1, LINE_MAX_BYTES);
    else if (!status && ferror(stdin))
        status = cli_fail("standard input cannot be read");
    if (!status)
        status = send_batch(c);
    progress_end(&c->progress);
    buf_free(&line);
    return status ? status : c->status;
}

/* --- options ---------------------------------------------------------------------------------- */

static int read_start(struct calling *c, const struct cli_command *self, const char *text)
{
    wire_timestamp *time;
    struct error err;
    char json[64];

    snprintf(json, sizeof json, "\"%.50s\"", text);
    if (wire_from_json(&google__protobuf__timestamp__descriptor, slice_str(json), &c->arena, &time,
                       &err))
        return cli_usage(self, "--at %s: no time, as 2026-11-22T15:00:00Z is", text);
    c->start = *time;
    c->call.not_before = &c->start;
    return CLI_OK;
}

static int read_duration(const struct cli_command *self, const struct cli_arg *arg, int64_t *ns)
{
    uint32_t ms;

    if (!cli_duration(arg->value, &ms))
        return cli_usage(self, "--%s %s: no duration, as 30s or 5m is", arg->option->name,
                         arg->value);
    *ns = ms * NS_PER_MS;
    return CLI_OK;
}

static int read_priority(struct calling *c, const struct cli_command *self, const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end || value < INT32_MIN || value > INT32_MAX)
        return cli_usage(self, "--priority %s: no number, as 10 or -1 is", text);
    c->call.priority = (int32_t)value;
    return CLI_OK;
}

static int read_times(struct calling *c, const struct cli_command *self, const struct cli_arg *arg)
{
    int64_t ns = 0, now = clock_now(clock_system());
    int status = read_duration(self, arg, &ns);

    if (status)
        return status;
    if (ask_is(arg, "in")) {
        wire_set_time(&c->start, now + ns);
        c->call.not_before = &c->start;
    } else if (ask_is(arg, "timeout")) {
        c->deadline = now + ns;
    } else {
        wire_set_duration(&c->expires, ns);
        c->call.expiration = &c->expires;
    }
    return CLI_OK;
}

static int read_option(struct calling *c, const struct cli_command *self, const struct cli_arg *arg)
{
    if (ask_takes(&c->ask, arg))
        return CLI_OK;
    if (ask_is(arg, "at"))
        return read_start(c, self, arg->value);
    if (ask_is(arg, "priority"))
        return read_priority(c, self, arg->value);
    if (ask_is(arg, "in") || ask_is(arg, "timeout") || ask_is(arg, "expiration"))
        return read_times(c, self, arg);
    if (ask_is(arg, "endpoint"))
        c->call.endpoint = ask_text(arg->value);
    else if (ask_is(arg, "key"))
        c->call.key = ask_text(arg->value);
    else if (ask_is(arg, "idempotency-key"))
        c->key = arg->value;
    else if (ask_is(arg, "wait"))
        c->wait = true;
    else
        c->json = true;
    return CLI_OK;
}

static int check(struct calling *c, const struct cli_command *self)
{
    const char *endpoint = getenv("DISPATCH_ENDPOINT_URL");

    if (c->argument_count == 0)
        return cli_usage(self, "which function? call FUNCTION [JSON]");
    c->call.function = ask_text(c->arguments[0]);
    if (!*c->call.endpoint && endpoint)
        c->call.endpoint = ask_text(endpoint);
    if (!*c->call.endpoint)
        return cli_usage(self, "where is %s? --endpoint URL, or DISPATCH_ENDPOINT_URL, says it",
                         c->arguments[0]);
    if (c->key && strlen(c->key) >= KEY_MAX_BYTES)
        return cli_usage(self, "--idempotency-key has more than %d characters", KEY_MAX_BYTES - 1);
    if (!c->wait && (c->json || c->deadline != TIME_NEVER))
        return cli_usage(self, "--json and --timeout are about the result: --wait");
    return CLI_OK;
}

/* -1: there is nothing left to do. */
static int read_options(struct calling *c, const struct cli_command *self, int argc, char **argv)
{
    struct cli_arg arg;
    enum cli_next next;
    int at = 0, status = CLI_OK;

    while (!status && (next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (arg.option)
            status = read_option(c, self, &arg);
        else if (c->argument_count == 2)
            status =
                cli_usage(self, "%s: one argument too many; is the JSON in quotes?", arg.value);
        else
            c->arguments[c->argument_count++] = arg.value;
    }
    if (status)
        return status;
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? -1 : CLI_USAGE;
    return check(c, self);
}

static int make_calls(struct calling *c)
{
    bool many = c->argument_count == 2 && strcmp(c->arguments[1], "-") == 0;

    if (ask_open(&c->ask))
        return ask_fail(&c->ask);
    if (c->wait && reach_is_alone(c->ask.reach))
        return cli_fail("nobody runs what is in the store: start `dispatch server` on it, or leave "
                        "--wait out");
    return many ? call_many(c) : call_one(c);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct calling *c = calloc(1, sizeof *c);
    int status;

    if (!c)
        return cli_fail("out of memory");
    c->deadline = TIME_NEVER;
    dispatch__sdk__v1__call__init(&c->call);
    google__protobuf__timestamp__init(&c->start);
    google__protobuf__duration__init(&c->expires);
    ask_init(&c->ask);
    arena_init(&c->arena, (size_t)256 << 20);
    status = read_options(c, self, argc, argv);
    if (!status)
        status = make_calls(c);
    ask_close(&c->ask);
    arena_reset(&c->arena);
    free(c);
    return status < 0 ? CLI_OK : status;
}

static const struct cli_option options[] = {
    {"endpoint", "URL", "where the function is (default: DISPATCH_ENDPOINT_URL)"},
    {"wait", NULL, "wait until it is done, and print its output as JSON"},
    {"timeout", "DURATION", "with --wait: no longer than this; the call goes on"},
    {"json", NULL, "with --wait: all that is known of the call, as a line of JSON"},
    {"at", "TIME", "start it then: 2026-11-22T15:00:00Z"},
    {"in", "DURATION", "start it so long from now: 30s, 5m, 2h"},
    {"expiration", "DURATION", "give it up after this (default: 24h)"},
    {"priority", "N", "greater numbers run first (default: 0)"},
    {"key", "KEY", "with --endpoint event: the name that `dispatch complete` has for it"},
    {"idempotency-key", "KEY",
     "the same call under the same key within 24 hours is made once, and\n"
     "has the same id"},
    ASK_OPTIONS,
    {0},
};

static const char details[] =
    "Prints the id of the call, which is durable then. The input is JSON: true, numbers\n"
    "and strings are the values of these kinds, null is none, an array or an object is a\n"
    "google.protobuf.Value, and an object that begins with \"@type\" is the protobuf\n"
    "message of that type. With - for the JSON, each line of standard input is the input\n"
    "of a call of its own; under --idempotency-key, the lines have to be the same, too.\n"
    "\n"
    "Examples:\n"
    "    dispatch call hello '\"World\"' --endpoint http://127.0.0.1:8000 --wait\n"
    "    dispatch call report '{\"day\": 12}' --in 2h --priority -1\n"
    "    seq 1 100000 | dispatch call resize - --idempotency-key photos\n"
    "\n"
    "Exit status: 0 success; 1 failure, or, with --wait, the call failed; 3 with\n"
    "--timeout: it was not done in time.\n";

const struct cli_command cli_call = {
    .name = "call",
    .usage = "FUNCTION [JSON|-] [OPTION...]",
    .summary = "call a function, or call it for each line of input",
    .details = details,
    .options = options,
    .run = run,
};
