// SPDX-License-Identifier: Apache-2.0
/* `dispatch ls`: calls by what they are. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/lines.h"
#include "cli/list.h"

#define OUTPUT_MAX ((size_t)256 << 20)
#define PAGE_MAX   1000
#define LIMIT_MAX  100000 /* calls of a table */
#define STATES_MAX 8
#define WATCH_MS   2000

struct ls {
    struct ask ask;
    Dispatch__V1__ListRequest request;
    Dispatch__V1__State states[STATES_MAX];
    Dispatch__Sdk__V1__Status statuses[STATES_MAX];
    wire_timestamp since, before;
    size_t limit;
    bool json, watch;
    /* What was found. */
    Dispatch__V1__CallInfo **calls;
    size_t count;
    bool more;
};

/* --- asking ----------------------------------------------------------------------------------- */

static int load(struct ls *ls)
{
    Dispatch__V1__ListRequest request = ls->request;
    Dispatch__V1__ListResponse *page;

    ask_rewind(&ls->ask);
    ls->count = 0;
    ls->calls = arena_zalloc(&ls->ask.arena, ls->limit, sizeof *ls->calls);
    if (!ls->calls)
        return error_memory(&ls->ask.err);
    do {
        size_t left = ls->limit - ls->count;
        int code;

        request.limit = (uint32_t)(left < PAGE_MAX ? left : PAGE_MAX);
        code =
            ask_calls(&ls->ask, "List", &request, &dispatch__v1__list_response__descriptor, &page);
        if (code)
            return code;
        for (size_t i = 0; i < page->n_calls && ls->count < ls->limit; i++) {
            ask_correct(&ls->ask, page->calls[i]);
            ls->calls[ls->count++] = page->calls[i];
        }
        request.page_token = page->next_page_token;
    } while (*request.page_token && ls->count < ls->limit);
    ls->more = *request.page_token;
    return CODE_OK;
}

/* --- printing --------------------------------------------------------------------------------- */

static void table(struct ls *ls, struct buf *out)
{
    int width = list_width(ls->calls, ls->count);
    struct show show = {.out = out, .now = clock_now(clock_system()), .colours = lines_colours(1)};

    if (ls->watch && isatty(1))
        buf_append_str(out, "\033[H\033[2J");
    if (ls->count)
        list_heading(&show, width);
    for (size_t i = 0; i < ls->count; i++)
        list_line(&show, ls->calls[i], width);
}

static int print(struct ls *ls)
{
    struct buf out;
    int status;

    buf_init(&out, OUTPUT_MAX);
    for (size_t i = 0; i < ls->count && ls->json; i++) {
        wire_to_json(ls->calls[i], &out);
        buf_append_str(&out, "\n");
    }
    if (!ls->json)
        table(ls, &out);
    status = show_flush(&out);
    if (!status && isatty(2) && !ls->json && !ls->watch) {
        if (ls->count == 0)
            fputs("There is no such call.\n", stderr);
        else if (ls->more)
            fprintf(stderr, "There may be more: --limit %zu\n", 10 * ls->limit);
    }
    buf_free(&out);
    return status;
}

static int list(struct ls *ls)
{
    int status = CLI_OK;

    if (ask_open(&ls->ask))
        return ask_fail(&ls->ask);
    for (;;) {
        const struct timespec pause = {.tv_sec = WATCH_MS / 1000,
                                       .tv_nsec = WATCH_MS % 1000 * 1000000L};

        if (load(ls))
            return ask_fail(&ls->ask);
        status = print(ls);
        if (status || !ls->watch)
            return status;
        nanosleep(&pause, NULL);
    }
}

/* --- options ---------------------------------------------------------------------------------- */

/* Calls `add` with each of the names between commas, in upper or lower case; false: one is none,
 * which is then in `name`. */
static bool each_name(struct ls *ls, const char *text, char name[32],
                      bool (*add)(struct ls *ls, const char *name))
{
    while (*text) {
        size_t len = strcspn(text, ",");

        snprintf(name, 32, "%.*s", (int)(len < 31 ? len : 31), text);
        if (len > 31 || !add(ls, name))
            return false;
        text += len + (text[len] == ',');
    }
    return true;
}

static bool add_state(struct ls *ls, const char *name)
{
    Dispatch__V1__ListRequest *r = &ls->request;

    if (strcmp(name, "live") == 0)
        return add_state(ls, "ready") && add_state(ls, "waiting") && add_state(ls, "running") &&
               add_state(ls, "suspended");
    for (int i = DISPATCH__V1__STATE__STATE_READY; i <= DISPATCH__V1__STATE__STATE_DONE; i++) {
        if (strcasecmp(name, show_state_name((Dispatch__V1__State)i)) != 0)
            continue;
        if (r->n_states == STATES_MAX)
            return false;
        ls->states[r->n_states++] = (Dispatch__V1__State)i;
        return true;
    }
    return false;
}

static bool add_status(struct ls *ls, const char *name)
{
    Dispatch__V1__ListRequest *r = &ls->request;

    for (int i = 1; i < STATUS_COUNT && r->n_statuses < STATES_MAX; i++) {
        if (strcasecmp(name, status_name((enum status)i)) != 0)
            continue;
        ls->statuses[r->n_statuses++] = (Dispatch__Sdk__V1__Status)i;
        return true;
    }
    return false;
}

/* "2026-11-22T15:00:00Z", or how long ago: "10m". */
static bool read_time(struct ls *ls, const char *text, wire_timestamp *time)
{
    wire_timestamp *read;
    char json[64];
    uint32_t ms;

    if (cli_duration(text, &ms)) {
        wire_set_time(time, clock_now(clock_system()) - ms * NS_PER_MS);
        return true;
    }
    snprintf(json, sizeof json, "\"%.50s\"", text);
    if (wire_from_json(&google__protobuf__timestamp__descriptor, slice_str(json), &ls->ask.arena,
                       &read, NULL))
        return false;
    wire_set_time(time, wire_time_ns(read));
    return true;
}

static int read_times(struct ls *ls, const struct cli_command *self, const struct cli_arg *arg)
{
    bool since = ask_is(arg, "since");

    if (!read_time(ls, arg->value, since ? &ls->since : &ls->before))
        return cli_usage(self, "--%s %s: no time, as 2026-11-22T15:00:00Z is, or 10m for ago",
                         arg->option->name, arg->value);
    if (since)
        ls->request.created_since = &ls->since;
    else
        ls->request.created_before = &ls->before;
    return CLI_OK;
}

static int read_limit(struct ls *ls, const struct cli_command *self, const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (end == text || *end || value == 0 || value > LIMIT_MAX)
        return cli_usage(self, "--limit %s: it is a number from 1 to %d", text, LIMIT_MAX);
    ls->limit = (size_t)value;
    return CLI_OK;
}

static int read_texts(struct ls *ls, const struct cli_arg *arg)
{
    Dispatch__V1__ListRequest *r = &ls->request;

    if (ask_is(arg, "function"))
        r->function = ask_text(arg->value);
    else if (ask_is(arg, "endpoint"))
        r->endpoint = ask_text(arg->value);
    else if (ask_is(arg, "root"))
        r->root_dispatch_id = ask_text(arg->value);
    else if (ask_is(arg, "parent"))
        r->parent_dispatch_id = ask_text(arg->value);
    else if (ask_is(arg, "roots"))
        r->roots = true;
    else if (ask_is(arg, "oldest"))
        r->oldest_first = true;
    else if (ask_is(arg, "json"))
        ls->json = true;
    else
        ls->watch = true;
    return CLI_OK;
}

static int read_option(struct ls *ls, const struct cli_command *self, const struct cli_arg *arg)
{
    char name[32] = "";

    if (!arg->option)
        return cli_usage(self, "ls takes options only: %s; dispatch get %s shows one call",
                         arg->value, arg->value);
    if (ask_takes(&ls->ask, arg))
        return CLI_OK;
    if (ask_is(arg, "limit"))
        return read_limit(ls, self, arg->value);
    if (ask_is(arg, "since") || ask_is(arg, "before"))
        return read_times(ls, self, arg);
    if (ask_is(arg, "state"))
        return each_name(ls, arg->value, name, add_state)
                   ? CLI_OK
                   : cli_usage(self,
                               "--state %s: it is ready, waiting, running, suspended, done or "
                               "live (all but done)",
                               name);
    if (ask_is(arg, "status"))
        return each_name(ls, arg->value, name, add_status)
                   ? CLI_OK
                   : cli_usage(self, "--status %s: it is OK, PERMANENT_ERROR, TIMEOUT or the like",
                               name);
    return read_texts(ls, arg);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct ls ls = {.request = DISPATCH__V1__LIST_REQUEST__INIT, .limit = 20};
    struct cli_arg arg;
    enum cli_next next = CLI_NEXT_END;
    int at = 0, status = CLI_OK;

    ask_init(&ls.ask);
    google__protobuf__timestamp__init(&ls.since);
    google__protobuf__timestamp__init(&ls.before);
    ls.request.states = ls.states;
    ls.request.statuses = ls.statuses;
    while (!status && (next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG)
        status = read_option(&ls, self, &arg);
    if (!status && next == CLI_NEXT_ERROR)
        status = CLI_USAGE;
    if (!status && next == CLI_NEXT_END)
        status = list(&ls);
    ask_close(&ls.ask);
    return status;
}

static const struct cli_option options[] = {
    {"function", "NAME", "calls of this function"},
    {"endpoint", "URL", "calls to this endpoint"},
    {"state", "STATE,...", "ready, waiting, running, suspended, done, or live (all but done)"},
    {"status", "STATUS,...", "with which they ended, or their last attempt failed: OK, TIMEOUT"},
    {"root", "ID", "this call and all below it"},
    {"parent", "ID", "the calls that this one made"},
    {"roots", NULL, "calls that no other call made"},
    {"since", "TIME", "made then or later: 2026-11-22T15:00:00Z, or 10m for ago"},
    {"before", "TIME", "made before then"},
    {"oldest", NULL, "the oldest first (default: the newest)"},
    {"limit", "N", "at most so many (default: 20)"},
    {"json", NULL, "a line of JSON a call, a dispatch.v1.CallInfo"},
    {"watch", NULL, "again every two seconds, until interrupted"},
    ASK_OPTIONS,
    {0},
};

static const char details[] =
    "Shows the calls of which all holds that is asked for. WHY is the error of a call\n"
    "that failed, and of one that lives why it does not run.\n"
    "\n"
    "Examples:\n"
    "    dispatch ls --state live --function nightly\n"
    "    dispatch ls --since 1h --status PERMANENT_ERROR,TIMEOUT\n"
    "    dispatch ls --json --limit 1000 | jq -r .dispatchId\n"
    "\n"
    "Environment: NO_COLOR, if it is set and not empty, turns colours off; they are on\n"
    "only at a terminal.\n"
    "\n"
    "Exit status: 0 success, also if there is no such call; 1 failure.\n";

const struct cli_command cli_ls = {
    .name = "ls",
    .usage = "[OPTION...]",
    .summary = "list calls",
    .details = details,
    .options = options,
    .run = run,
};
