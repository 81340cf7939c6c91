// SPDX-License-Identifier: Apache-2.0
/* The view without a terminal: text in cells, what happens, keys, and the screens that come of it.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cli/view.h"

#define T0 (INT64_C(1700000000) * NS_PER_S) /* 2023-11-14T22:13:20Z */

static void durations(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {{0, "0ms"},
                {459 * NS_PER_US, "0.459ms"},
                {120 * NS_PER_MS, "120ms"},
                {1500 * NS_PER_MS, "1.5s"},
                {2 * NS_PER_S, "2s"},
                {62 * NS_PER_S + 30 * NS_PER_MS, "1m2.03s"},
                {3600 * NS_PER_S, "1h0m0s"},
                {90061 * NS_PER_S, "25h1m1s"}};
    struct buf out;

    (void)state;
    buf_init(&out, 64);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&out);
        view_put_duration(rows[i].ns, &out);
        assert_string_equal(buf_cstr(&out), rows[i].text);
    }
    buf_free(&out);
}

/* --- a view ----------------------------------------------------------------------------------- */

struct world {
    struct view view;
    struct arena arena;
    struct buf screen;
    int64_t now;
    uint64_t attempts;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (!w || view_init(&w->view, "app", 8, NULL))
        return -1;
    arena_init(&w->arena, (size_t)256 << 20);
    buf_init(&w->screen, (size_t)16 << 20);
    w->now = T0;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    view_free(&w->view);
    arena_reset(&w->arena);
    buf_free(&w->screen);
    free(w);
    return 0;
}

static wire_any *text_value(struct world *w, const char *text)
{
    struct value value = {.kind = VALUE_STRING, .bytes = slice_str(text)};

    return wire_any_from_value(&value, &w->arena);
}

struct what {
    const char *id, *parent, *root, *function, *input;
    bool resumed;
    const char *ended_child; /* whose error it is given */
};

/* The attempt. */
static uint64_t start(struct world *w, const struct what *what)
{
    wire_run_request q = DISPATCH__SDK__V1__RUN_REQUEST__INIT;
    wire_poll_result poll = DISPATCH__SDK__V1__POLL_RESULT__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT, *results = &result;
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    struct orchestrator_attempt attempt = {
        .attempt = ++w->attempts, .number = 1, .started = w->now, .request = &q};
    char type[] = "Gone", message[] = "cancelled";
#define DUP(text) arena_dup(&w->arena, slice_str(text))

    q.function = DUP(what->function);
    q.dispatch_id = DUP(what->id);
    q.parent_dispatch_id = DUP(what->parent ? what->parent : "");
    q.root_dispatch_id = DUP(what->root ? what->root : what->parent ? what->parent : what->id);
    q.creation_time = wire_time_new(&w->arena, w->now);
    q.expiration_time = wire_time_new(&w->arena, w->now + 60 * NS_PER_S);
    if (what->resumed) {
        q.directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT;
        q.poll_result = &poll;
        if (what->ended_child) {
            error.type = type;
            error.message = message;
            result.error = &error;
            result.dispatch_id = DUP(what->ended_child);
            poll.results = &results;
            poll.n_results = 1;
        }
    } else {
        q.directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT;
        q.input = what->input ? text_value(w, what->input) : NULL;
    }
    view_started(&w->view, &attempt);
    return attempt.attempt;
}

static void end(struct world *w, uint64_t attempt, const wire_run_response *response,
                const struct run_failure *failure)
{
    const struct orchestrator_outcome outcome = {.attempt = attempt,
                                                 .started = w->now,
                                                 .ended = w->now,
                                                 .response = response,
                                                 .failure = failure};

    view_ended(&w->view, &outcome);
}

static void end_with(struct world *w, uint64_t attempt, enum status status, const char *output,
                     const char *error_type, const char *tail)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_exit done = DISPATCH__SDK__V1__EXIT__INIT;
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    wire_error error = DISPATCH__SDK__V1__ERROR__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;
    char message[] = "went wrong";

    response.status = (Dispatch__Sdk__V1__Status)status;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT;
    response.exit = &done;
    done.result = &result;
    if (output)
        result.output = text_value(w, output);
    if (error_type) {
        error.type = DUP(error_type);
        error.message = message;
        result.error = &error;
    }
    if (tail) {
        call.function = DUP(tail);
        done.tail_call = &call;
    }
    end(w, attempt, &response, NULL);
}

static void end_ok(struct world *w, uint64_t attempt)
{
    end_with(w, attempt, STATUS_OK, "out", NULL, NULL);
}

static void end_poll(struct world *w, uint64_t attempt, const char *function)
{
    wire_run_response response = DISPATCH__SDK__V1__RUN_RESPONSE__INIT;
    wire_poll poll = DISPATCH__SDK__V1__POLL__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT, *calls[30];

    call.function = DUP(function);
    for (size_t i = 0; i < 30; i++)
        calls[i] = &call;
    response.status = DISPATCH__SDK__V1__STATUS__STATUS_OK;
    response.directive_case = DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL;
    response.poll = &poll;
    poll.calls = calls;
    poll.n_calls = 30;
    poll.state_case = DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;
    poll.typed_coroutine_state = text_value(w, "state");
    end(w, attempt, &response, NULL);
}

static const char *styled(struct world *w, int rows, int columns)
{
    buf_reset(&w->screen);
    view_draw(&w->view, rows, columns, w->now, &w->screen);
    return buf_cstr(&w->screen);
}

/* Without styles, and without spaces at the ends of lines. */
static const char *draw(struct world *w, int rows, int columns)
{
    char *to, *start;
    const char *from = styled(w, rows, columns);

    to = start = (char *)w->screen.data;
    for (; *from; from++) {
        if (*from == '\n') {
            while (to > start && to[-1] == ' ')
                to--;
        }
        if ((uint8_t)*from >= ' ' || *from == '\n')
            *to++ = *from;
    }
    *to = '\0';
    return start;
}

static void keys(struct world *w, const char *typed)
{
    for (; *typed; typed++)
        assert_int_equal(view_key(&w->view, *typed == '\n'   ? (int)VIEW_KEY_ENTER
                                            : *typed == '\t' ? (int)VIEW_KEY_TAB
                                                             : *typed),
                         VIEW_GO_ON);
}

#define HELP "  tab logs \u2022 s select \u2022 \u2191/\u2193 scroll \u2022 q quit\n"

/* --- functions -------------------------------------------------------------------------------- */

static void before_the_first_call(void **state)
{
    struct world *w = *state;

    assert_non_null(strstr(draw(w, 20, 80), "  Initializing...\n\n  tab logs \u2022 q quit\n"));
    assert_non_null(strstr(draw(w, 20, 80), "|_____|"));
    w->now += NS_PER_S / 2;
    assert_null(strstr(draw(w, 20, 80), "|_____|"));
    assert_int_equal(view_period_ms(&w->view), 500);
    view_ready(&w->view);
    assert_non_null(strstr(draw(w, 20, 80), "  Waiting for function calls...\n"));
    w->now += NS_PER_S / 2;
    assert_string_equal(draw(w, 4, 30),
                        "dispatch_\n\nWaiting for function calls...\ntab logs \u2022 q quit\n");
}

static void a_tree(void **state)
{
    struct world *w = *state;
    uint64_t root = start(w, &(struct what){.id = "r", .function = "main", .input = "x"});
    uint64_t a, b, hang;

    assert_string_equal(draw(w, 8, 80), "  Function   Attempt   Duration \u2022 Status\n"
                                        "  main             1          ? \u2022 Running\n"
                                        "\n\n\n\n"
                                        "  1 total function call, 1 in-flight\n" HELP);
    end_poll(w, root, "child");
    a = start(w, &(struct what){.id = "a", .parent = "r", .function = "child"});
    b = start(w, &(struct what){.id = "b", .parent = "r", .function = "child"});
    hang = start(w, &(struct what){.id = "c", .parent = "a", .root = "r", .function = "leaf"});
    end_poll(w, a, "leaf");
    w->now += 1500 * NS_PER_MS;
    end_with(w, b, STATUS_PERMANENT_ERROR, NULL, "Oops", NULL);
    assert_string_equal(draw(w, 12, 80),
                        "\n"
                        "  Function    Attempt   Duration \u2022 Status\n"
                        "  main              1       1.5s \u2022 Suspended\n"
                        "  \u251c\u2500 child          1       1.5s \u2022 Suspended\n"
                        "  \u2502  \u2514\u2500 leaf        1       1.5s \u2022 Running\n"
                        "  \u2514\u2500 child          1       1.5s \u2717 Oops: went wrong\n"
                        "\n\n\n"
                        "  4 total function calls, 3 in-flight\n"
                        "\n" HELP);
    end_ok(w, hang);
    end_ok(w, start(w, &(struct what){
                           .id = "a", .parent = "r", .function = "child", .resumed = true}));
    end_ok(w, start(w, &(struct what){.id = "r", .function = "main", .resumed = true}));
    assert_int_equal(w->view.in_flight, 0);
    assert_int_equal(view_period_ms(&w->view), 0);
    assert_non_null(strstr(draw(w, 12, 80), "main              1       1.5s \u2714 OK\n"));
    assert_non_null(strstr(styled(w, 12, 80), "\4\u2714\1 \4OK"));
    assert_non_null(strstr(styled(w, 12, 80), "\3\u2717\1 \3Oops"));
}

static void retries(void **state)
{
    static const struct run_failure busy = {.status = STATUS_TEMPORARY_ERROR,
                                            .type = "http",
                                            .message = "HTTP status 503",
                                            .http_status = 503};
    static const struct run_failure away = {
        .status = STATUS_TCP_ERROR, .type = "transport", .message = "connection refused"};
    const struct what what = {.id = "r", .function = "f"};
    struct world *w = *state;

    end(w, start(w, &what), NULL, &busy);
    assert_non_null(strstr(draw(w, 8, 80), " 1          ? \u2022 unexpected HTTP status code 503"));
    assert_non_null(strstr(styled(w, 8, 80), "\5unexpected"));
    end(w, start(w, &what), NULL, &away);
    assert_non_null(strstr(draw(w, 8, 80), " 2          ? \u2022 connection refused"));
    end_with(w, start(w, &what), STATUS_THROTTLED, NULL, NULL, NULL);
    assert_non_null(strstr(draw(w, 8, 80), " 3          ? \u2022 Throttled"));
    end(w, start(w, &what), NULL, NULL); /* given up: no attempt */
    assert_non_null(strstr(draw(w, 8, 80), " 3          ? \u2022 Throttled"));
    end_with(w, start(w, &what), STATUS_OK, NULL, NULL, "g");
    assert_non_null(strstr(draw(w, 8, 80), "g                0          ? \u2022 Pending"));
    end_with(w, start(w, &(struct what){.id = "r", .function = "g"}), STATUS_INCOMPATIBLE_STATE,
             NULL, NULL, NULL);
    assert_non_null(strstr(draw(w, 8, 80), "g                0          ? \u2022 Pending"));
    w->now += 61 * NS_PER_S;
    view_tick(&w->view, w->now);
    assert_non_null(strstr(draw(w, 8, 80), "1m0s \u2717 Expired"));
    assert_int_equal(w->view.in_flight, 0);
    assert_int_equal(w->view.total, 1);
}

/* The first that is heard of a resumed session may be a grandchild. */
static void unknown_parents(void **state)
{
    struct world *w = *state;
    uint64_t c =
        start(w, &(struct what){.id = "c", .parent = "b", .root = "r", .function = "leaf"});

    assert_string_equal(draw(w, 8, 80),
                        "  Function    Attempt   Duration \u2022 Status\n"
                        "  (?)               0          ? \u2022 Pending\n"
                        "  \u2514\u2500 (?)            0          ? \u2022 Pending\n"
                        "     \u2514\u2500 leaf        1          ? \u2022 Running\n"
                        "\n\n"
                        "  1 total function call, 1 in-flight\n" HELP);
    end_ok(w, c);
    start(w, &(struct what){
                 .id = "b", .parent = "r", .root = "r", .function = "middle", .resumed = true});
    assert_non_null(strstr(draw(w, 8, 80), "\u2514\u2500 middle         1"));
    assert_int_equal(w->view.total, 2);
    /* One whose ids make no sense. */
    start(w, &(struct what){.id = "s", .parent = "s", .function = "self"});
    start(w, &(struct what){.id = "t", .parent = "u", .root = "t", .function = "round"});
    start(w, &(struct what){.id = "u", .parent = "t", .root = "u", .function = "round"});
    draw(w, 30, 80);
    assert_int_equal(w->view.total, 5);
}

static void children_that_end_unseen(void **state)
{
    struct world *w = *state;
    uint64_t r = start(w, &(struct what){.id = "r", .function = "main"});

    end_poll(w, r, "f");
    end_with(w, start(w, &(struct what){.id = "a", .parent = "r", .function = "f"}), STATUS_TIMEOUT,
             NULL, NULL, NULL);
    assert_int_equal(w->view.in_flight, 2);
    start(w, &(struct what){.id = "r", .function = "main", .resumed = true, .ended_child = "a"});
    assert_int_equal(w->view.in_flight, 1);
    assert_non_null(strstr(draw(w, 12, 80), "\u2717 Gone: cancelled"));
}

static void narrow_terminals(void **state)
{
    struct world *w = *state;

    end_with(w, start(w, &(struct what){.id = "r", .function = "a_function_with_a_long_name"}),
             STATUS_PERMANENT_ERROR, NULL, "Oops", NULL);
    assert_string_equal(draw(w, 5, 44),
                        "Function            Attempt \u2022 Status\n"
                        "a_function_with...        1 \u2717 Oops: wen...\n"
                        "\n"
                        "1 total function call, 0 in-flight\n"
                        "tab logs \u2022 s select \u2022 \u2191/\u2193 scroll \u2022 q quit\n");
    assert_string_equal(draw(w, 5, 20), "Function           \u2022\n"
                                        "a_function_with... \u2717\n"
                                        "\n"
                                        "1 total function cal\n"
                                        "tab logs \u2022 s select\n");
    for (int rows = 1; rows < 14; rows += 2) {
        for (int columns = 1; columns < 80; columns += 11) {
            for (int tab = 0; tab < 3; tab++) {
                const char *line = styled(w, rows, columns), *next;
                int lines = 0;

                for (; (next = strchr(line, '\n')); line = next + 1, lines++)
                    assert_true(cells_width(slice(line, (size_t)(next - line))) <= columns);
                assert_int_equal(lines, rows);
                keys(w, "\t");
            }
        }
    }
}

static void scrolling(void **state)
{
    struct world *w = *state;
    char id[16];

    for (int i = 1; i <= 20; i++) {
        snprintf(id, sizeof id, "f%d", i);
        end_ok(w, start(w, &(struct what){.id = id, .parent = "r", .function = id}));
    }
    assert_non_null(strstr(draw(w, 8, 80), "f20"));
    assert_null(strstr(draw(w, 8, 80), "t tail"));
    view_key(&w->view, VIEW_KEY_PAGE_UP);
    assert_null(strstr(draw(w, 8, 80), "f20"));
    assert_non_null(strstr(draw(w, 8, 80), "t tail"));
    assert_non_null(strstr(draw(w, 8, 80), "f11 "));
    for (int i = 0; i < 20; i++)
        view_key(&w->view, VIEW_KEY_HALF_UP);
    assert_non_null(strstr(draw(w, 8, 80), "Function"));
    view_key(&w->view, VIEW_KEY_DOWN);
    assert_null(strstr(draw(w, 8, 80), "Function"));
    keys(w, "t");
    assert_non_null(strstr(draw(w, 8, 80), "f20"));
    view_key(&w->view, VIEW_KEY_UP);
    assert_null(strstr(draw(w, 8, 80), "f20"));
    keys(w, "\t\t");
    assert_non_null(strstr(draw(w, 8, 80), "f20"));
}

/* --- one call --------------------------------------------------------------------------------- */

static void selecting(void **state)
{
    struct world *w = *state;
    uint64_t r =
        start(w, &(struct what){.id = "r", .function = "main", .input = "h\xc3\xa9 \033[2J"});

    w->now += 2 * NS_PER_MS;
    end_poll(w, r, "child");
    end_with(w, start(w, &(struct what){.id = "a", .parent = "r", .function = "child"}),
             STATUS_PERMANENT_ERROR, NULL, "Oops", NULL);
    keys(w, "s2");
    assert_string_equal(draw(w, 8, 80),
                        "  # Function   Attempt   Duration \u2022 Status\n"
                        "  1 main             1        2ms \u2022 Suspended\n"
                        "  2 \u2514\u2500 child         1          ? \u2717 Oops: went wrong\n"
                        "\n\n\n"
                        "  Select a function call by its number: 2\n"
                        "  enter open \u2022 esc leave\n");
    assert_non_null(strstr(styled(w, 8, 80), "\6\u2717\1"));
    assert_int_equal(view_key(&w->view, VIEW_KEY_BACKSPACE), VIEW_GO_ON);
    keys(w, "9\n");
    assert_non_null(strstr(draw(w, 8, 80), "by its number: 9\n")); /* there is none */
    assert_int_equal(view_key(&w->view, VIEW_KEY_BACKSPACE), VIEW_GO_ON);
    keys(w, "1\n");
    assert_string_equal(
        draw(w, 24, 75),
        "\n"
        "               ID: r\n"
        "         Function: main\n"
        "           Status: Suspended\n"
        "    Creation time: 2023-11-14T22:13:20.000\n"
        "  Expiration time: 2023-11-14T22:14:20.000\n"
        "         Duration: 2ms\n"
        "         Attempts: 1\n"
        "         Requests: 1\n"
        "\n"
        "        Timestamp: 2023-11-14T22:13:20.000\n"
        "            Input: \"h\xc3\xa9 \\u001b[2J\"\n"
        "           Status: Suspended\n"
        "           Output: <7 bytes of google.protobuf.StringValue state>\n"
        "            Calls: child, child, child, child, child, child, child...\n"
        "          Latency: 2ms\n"
        "\n\n\n\n\n"
        "  2 total function calls, 1 in-flight\n"
        "\n"
        "  tab functions \u2022 esc back \u2022 \u2191/\u2193 scroll \u2022 q quit\n");
    assert_int_equal(view_key(&w->view, VIEW_KEY_ESCAPE), VIEW_GO_ON);
    assert_int_equal(w->view.tab, VIEW_FUNCTIONS);
    keys(w, "s2\n");
    assert_non_null(strstr(draw(w, 24, 70), "            Input: nil\n"
                                            "           Status: Permanent error\n"
                                            "            Error: Oops: went wrong\n"));
    keys(w, "\t\t");
    assert_int_equal(w->view.tab, VIEW_LOGS);
    assert_int_equal(view_key(&w->view, VIEW_KEY_ESCAPE), VIEW_QUIT);
    assert_int_equal(view_key(&w->view, 'q'), VIEW_QUIT);
    assert_int_equal(view_key(&w->view, VIEW_KEY_INTERRUPT), VIEW_QUIT);
    assert_int_equal(view_key(&w->view, 'v'), VIEW_VERBOSE);
}

/* A value that fills many lines, and wide characters at their ends. */
static void long_values(void **state)
{
    struct world *w = *state;
    char text[6001] = "";
    const char *line;

    for (int i = 0; i < 2000; i++)
        memcpy(text + 3 * i, "\xe6\x97\xa5", 4);
    start(w, &(struct what){.id = "r", .function = "f", .input = text});
    keys(w, "s1\n");
    line = strstr(draw(w, 30, 70), "Input: \"");
    assert_non_null(line);
    assert_true(cells_width(slice(line, (size_t)(strchr(line, '\n') - line))) <= 66 - 10);
    assert_non_null(strstr(strchr(line, '\n'), "                   \xe6\x97\xa5"));
}

static void many_requests_of_one_call(void **state)
{
    const struct what what = {.id = "r", .function = "f"};
    struct world *w = *state;

    for (int i = 0; i < 1000; i++)
        end_with(w, start(w, &what), STATUS_THROTTLED, NULL, NULL, NULL);
    assert_int_equal(w->view.selected ? 1 : 0, 0);
    keys(w, "s1\n");
    assert_non_null(strstr(draw(w, 60, 70), "Requests: 1000"));
    assert_non_null(strstr(draw(w, 60, 70), "Not kept: <936 requests>"));
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void old_trees_are_folded(void **state)
{
    struct world *w = *state;
    char id[16], child[16];

    w->view.kept_max = 20;
    start(w, &(struct what){.id = "live", .function = "live"});
    for (int i = 0; i < 100; i++) {
        uint64_t root;

        snprintf(id, sizeof id, "r%d", i);
        snprintf(child, sizeof child, "c%d", i);
        root = start(w, &(struct what){.id = id, .function = id});
        end_poll(w, root, "f");
        end_ok(w, start(w, &(struct what){.id = child, .parent = id, .function = child}));
        end_ok(w, start(w, &(struct what){.id = id, .function = id, .resumed = true}));
        assert_true(w->view.kept <= 20);
    }
    assert_int_equal(w->view.total, 201);
    assert_int_equal(w->view.in_flight, 1);
    assert_int_equal(w->view.folded + w->view.kept, 201);
    assert_non_null(strstr(draw(w, 60, 80), "(182 finished calls folded)\n\n  Function "));
    assert_non_null(strstr(draw(w, 60, 80), "\u2514\u2500 c99"));
    assert_null(strstr(draw(w, 60, 80), "c89"));
    assert_non_null(strstr(draw(w, 60, 80), "live"));
}

/* A live tree loses its oldest finished branches; where they were, it says so. */
static void branches_are_folded(void **state)
{
    struct world *w = *state;
    char id[16];

    w->view.kept_max = 4;
    start(w, &(struct what){.id = "r", .function = "main"});
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "c%d", i);
        end_ok(w, start(w, &(struct what){.id = id, .parent = "r", .function = id}));
    }
    assert_string_equal(draw(w, 12, 80), "\n"
                                         "  Function   Attempt   Duration \u2022 Status\n"
                                         "  main             1          ? \u2022 Running\n"
                                         "  \u251c\u2500 c7            1          ? \u2714 OK\n"
                                         "  \u251c\u2500 c8            1          ? \u2714 OK\n"
                                         "  \u251c\u2500 c9            1          ? \u2714 OK\n"
                                         "  \u2514\u2500 (7 finished calls folded)\n"
                                         "\n\n"
                                         "  11 total function calls, 1 in-flight\n"
                                         "\n" HELP);
    keys(w, "s9\n");
    assert_int_equal(w->view.tab, VIEW_DETAIL);
    for (int i = 10; i < 14; i++) { /* it goes while it is looked at */
        snprintf(id, sizeof id, "c%d", i);
        end_ok(w, start(w, &(struct what){.id = id, .parent = "r", .function = id}));
    }
    assert_int_equal(w->view.tab, VIEW_FUNCTIONS);
    draw(w, 12, 80);
}

/* An answer of an attempt of long ago comes for a call that would have been folded. */
static void late_answers(void **state)
{
    struct world *w = *state;
    const struct what what = {.id = "r", .function = "f"};
    const char *const ids[] = {"a", "b", "c"};
    uint64_t late, second;

    w->view.kept_max = 1;
    late = start(w, &what);
    second = start(w, &what);
    end_ok(w, second);
    for (int i = 0; i < 3; i++)
        end_ok(w, start(w, &(struct what){.id = ids[i], .function = "g"}));
    end_ok(w, late);
    end_ok(w, late);
    assert_int_equal(w->view.total, 4);
    assert_int_equal(w->view.in_flight, 0);
    assert_true(w->view.kept <= 1);
}

static void values_are_bounded(void **state)
{
    static char large[VIEW_VALUE_MAX + 100];
    struct world *w = *state;
    char id[16];

    memset(large, 'x', sizeof large - 1);
    end_ok(w, start(w, &(struct what){.id = "r", .function = "f", .input = large}));
    keys(w, "s1\n");
    assert_non_null(strstr(draw(w, 30, 80), "Input: <16487 bytes of google.protobuf.StringValue>"));
    large[VIEW_VALUE_MAX - 100] = '\0';
    w->view.value_bytes_max = 100000;
    for (int i = 0; i < 50; i++) {
        snprintf(id, sizeof id, "c%d", i);
        start(w, &(struct what){.id = id, .function = "f", .input = large});
        assert_true(w->view.bytes <= 100000 + VIEW_VALUE_MAX + 100);
    }
}

/* --- the log ---------------------------------------------------------------------------------- */

static void say(struct world *w, bool ours, const char *line)
{
    view_log(&w->view, ours, slice_str(line));
}

static void the_log(void **state)
{
    struct world *w = *state;
    struct buf dumped;

    say(w, true, "\033[90mtime\033[0m starting session \033[90mid=\033[0mx");
    say(w, false,
        "\033[31mwide \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e words that go on and on and on");
    say(w, false, "");
    keys(w, "\t");
    assert_string_equal(draw(w, 9, 40),
                        "dispatch | time starting session id=x\n"
                        "app      | wide \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e words that go on\n"
                        "         | and on and on\n"
                        "app      |\n"
                        "\n\n\n"
                        "Initializing...\n"
                        "tab functions \u2022 \u2191/\u2193 scroll \u2022 q quit\n");
    assert_non_null(strstr(styled(w, 8, 40), "\4dispatch\2 | \1\2time\1 starting"));
    assert_non_null(strstr(draw(w, 20, 11), "\nwide \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\n"));
    buf_init(&dumped, 4096);
    view_dump(&w->view, false, &dumped);
    assert_string_equal(
        buf_cstr(&dumped),
        "dispatch | time starting session id=x\n"
        "app      | wide \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e words that go on and on "
        "and on\n"
        "app      | \n");
    buf_reset(&dumped);
    view_dump(&w->view, true, &dumped);
    assert_memory_equal(buf_cstr(&dumped), "\033[32mdispatch\033[90m | \033[0m\033[90mtime", 34);
    buf_free(&dumped);
}

static void the_log_is_bounded(void **state)
{
    static char large[65536];
    struct world *w = *state;
    char line[32];

    keys(w, "\t");
    for (int i = 1; i <= VIEW_LINES_KEPT + 5; i++) {
        snprintf(line, sizeof line, "line %d", i);
        say(w, false, line);
    }
    assert_int_equal(w->view.line_count, VIEW_LINES_KEPT);
    assert_non_null(strstr(draw(w, 8, 80), "line 10005\n"));
    assert_int_equal(w->view.log_rows, VIEW_LINES_KEPT);
    for (int i = 0; i < 2 * VIEW_LINES_KEPT / 50; i++)
        view_key(&w->view, VIEW_KEY_PAGE_UP);
    w->view.log_bytes_max = 200000;
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 6; i++)
        say(w, false, large);
    assert_int_equal(w->view.line_count, 3);
    draw(w, 8, 80);
    draw(w, 8, 30);
}

static void troubles(void **state)
{
    struct world *w = *state;

    view_trouble(&w->view, slice_str("Authentication error (check it)\033[2J"));
    assert_non_null(strstr(styled(w, 8, 80), "\3Authentication error (check it)\1"));
    start(w, &(struct what){.id = "r", .function = "f"});
    assert_null(strstr(draw(w, 8, 80), "Authentication"));
}

int main(void)
{
#define VIEW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        VIEW(before_the_first_call),
        VIEW(a_tree),
        VIEW(retries),
        VIEW(unknown_parents),
        VIEW(children_that_end_unseen),
        VIEW(narrow_terminals),
        VIEW(scrolling),
        VIEW(selecting),
        VIEW(long_values),
        VIEW(many_requests_of_one_call),
        VIEW(old_trees_are_folded),
        VIEW(branches_are_folded),
        VIEW(late_answers),
        VIEW(values_are_bounded),
        VIEW(the_log),
        VIEW(the_log_is_bounded),
        VIEW(troubles),
    };

    if (!setlocale(LC_CTYPE, "C.UTF-8") || setenv("TZ", "UTC", 1))
        return 1;
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
