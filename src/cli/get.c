// SPDX-License-Identifier: Apache-2.0
/* `dispatch get`: all that is known of one call. */
#include "base/clock.h"
#include "cli/attempts.h"
#include "cli/lines.h"
#include "cli/list.h"

#define OUTPUT_MAX ((size_t)256 << 20)
#define ARENA_MAX  ((size_t)64 << 20)

#define SHOWN_MAX 10 /* attempts */

struct get {
    struct ask ask;
    const char *id;
    bool json;
    Dispatch__V1__AttemptsResponse *attempts; /* the last page of them */
};

/* The last ones: from this one on. */
static size_t first_shown(const Dispatch__V1__AttemptsResponse *page)
{
    return page->n_attempts > SHOWN_MAX ? page->n_attempts - SHOWN_MAX : 0;
}

/* Adds members to the object that `out` ends with. */
static void add_members(struct buf *out, const struct buf *members)
{
    if (!members->len || !out->len || out->failed)
        return;
    out->len--; /* the closing brace */
    buf_append_str(out, ",");
    buf_append_slice(out, buf_slice(members));
    buf_append_str(out, "}");
    out->failed = out->failed || members->failed;
}

/* `"recentAttempts":[...]`. */
static void attempts_json(const Dispatch__V1__AttemptsResponse *page, struct buf *out)
{
    buf_append_str(out, "\"recentAttempts\":[");
    for (size_t i = first_shown(page); i < page->n_attempts; i++) {
        buf_append_str(out, i > first_shown(page) ? "," : "");
        wire_to_json(page->attempts[i], out);
    }
    buf_append_str(out, "]");
}

/* The call's own JSON, with the journal read instead of its bytes. */
static void print_json(const struct get *get, Dispatch__V1__CallInfo *call,
                       const struct list_tree *tree, struct buf *out, struct arena *arena)
{
    struct buf journal;

    buf_init(&journal, OUTPUT_MAX);
    if (show_state_json(call->coroutine_state, arena, &journal))
        call->coroutine_state = NULL;
    wire_to_json(call, out);
    add_members(out, &journal);
    buf_reset(&journal);
    list_tree_json(tree, &journal);
    add_members(out, &journal);
    buf_reset(&journal);
    attempts_json(get->attempts, &journal);
    add_members(out, &journal);
    buf_append_str(out, "\n");
    buf_free(&journal);
}

static void print_attempts(const struct get *get, const struct show *show)
{
    const Dispatch__V1__AttemptsResponse *page = get->attempts;

    if (page->n_attempts == 0)
        return;
    show_heading(show, page->n_attempts > SHOWN_MAX ? "the last attempts (dispatch logs has all)"
                                                    : "recent attempts");
    for (size_t i = first_shown(page); i < page->n_attempts; i++)
        attempts_line(show, page->attempts[i]);
}

static int load_attempts(struct get *get)
{
    const char *token = "";
    int code;

    do {
        code = attempts_load(&get->ask, get->id, token, ATTEMPTS_PAGE, &get->attempts);
        if (code)
            return code;
        token = get->attempts->next_page_token;
    } while (*token);
    return CODE_OK;
}

static int print(struct get *get, Dispatch__V1__CallInfo *call, const struct list_tree *tree)
{
    struct arena arena;
    struct buf out;
    struct show show = {.out = &out,
                        .arena = &arena,
                        .now = clock_now(clock_system()),
                        .colours = lines_colours(1)};
    int status;

    arena_init(&arena, ARENA_MAX);
    buf_init(&out, OUTPUT_MAX);
    if (get->json) {
        print_json(get, call, tree, &out, &arena);
    } else {
        show_call(&show, call);
        print_attempts(get, &show);
        list_tree_show(&show, call, tree);
        if (call->coroutine_state)
            show_state(&show, call->coroutine_state);
    }
    status = show_flush(&out);
    buf_free(&out);
    arena_reset(&arena);
    return status;
}

static int get_it(struct get *get)
{
    Dispatch__V1__GetRequest request = DISPATCH__V1__GET_REQUEST__INIT;
    Dispatch__V1__GetResponse *response;
    struct list_tree tree;

    request.dispatch_id = ask_text(get->id);
    request.include_state = true;
    if (ask_open(&get->ask) ||
        ask_calls(&get->ask, "Get", &request, &dispatch__v1__get_response__descriptor, &response))
        return ask_fail(&get->ask);
    if (!response->call)
        return cli_fail("the server answered without the call");
    ask_correct(&get->ask, response->call);
    if (load_attempts(get) || list_tree_load(&get->ask, response->call, &tree))
        return ask_fail(&get->ask);
    return print(get, response->call, &tree);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct get get = {0};
    struct cli_arg arg;
    enum cli_next next;
    int at = 0, status;

    ask_init(&get.ask);
    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (ask_takes(&get.ask, &arg))
            continue;
        if (ask_is(&arg, "json"))
            get.json = true;
        else if (get.id)
            return cli_usage(self, "%s: one call at a time", arg.value);
        else
            get.id = arg.value;
    }
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? CLI_OK : CLI_USAGE;
    if (!get.id)
        return cli_usage(self, "which call? get ID");
    status = get_it(&get);
    ask_close(&get.ask);
    return status;
}

static const struct cli_option options[] = {
    {"json", NULL, "one JSON object, for programs"},
    ASK_OPTIONS,
    {0},
};

static const char details[] =
    "Shows the call's input and output or error, how often it was tried, why it waits,\n"
    "the tree of calls below it, and, of a function of the C SDK that waits in its middle,\n"
    "its journal: a line an entry, with the call (as the function counts its calls and\n"
    "timers), the bytes that it takes and the status of a result. Of other states, type\n"
    "and size. And its last attempts, as far as they are remembered (dispatch help logs).\n"
    "\n"
    "With --json: the dispatch.v1.CallInfo; in \"journal\" the entries, and in \"children\"\n"
    "the calls below, each with the id of its parent, the oldest first; in\n"
    "\"recentAttempts\" as many dispatch.v1.Attempt, up to 10.\n"
    "\n"
    "Example:\n"
    "    dispatch get ID --json | jq .state\n"
    "\n"
    "Exit status: 0 it was shown, whatever became of the call; 1 failure.\n";

const struct cli_command cli_get = {
    .name = "get",
    .usage = "ID [OPTION...]",
    .summary = "show a call: state, result, why it waits, its journal",
    .details = details,
    .options = options,
    .run = run,
};
