// SPDX-License-Identifier: Apache-2.0
/* Listing calls: order, pages, what is asked for, and what a page may cost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/testing.h"

#define SHOWN_MAX 8192

/* What a list came to: a text for each call, "number function state status", and all of it. */
struct page {
    unsigned count;
    struct error error;
    size_t calls;
    char text[SHOWN_MAX], token[64], why[128];
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    world_init(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    world_free(w);
    free(w);
    return 0;
}

static unsigned number_of(const char *id)
{
    struct id_parts parts = {0};

    assert_true(id_parse(slice_str(id), &parts));
    return (unsigned)parts.number;
}

static void listed(void *arg, const struct error *error, const Dispatch__V1__ListResponse *response)
{
    struct page *page = arg;
    size_t len = 0;

    page->count++;
    if (error) {
        page->error = *error;
        return;
    }
    page->calls = response->n_calls;
    snprintf(page->token, sizeof page->token, "%s", response->next_page_token);
    for (size_t i = 0; i < response->n_calls && len < SHOWN_MAX; i++) {
        const Dispatch__V1__CallInfo *call = response->calls[i];

        len += (size_t)snprintf(page->text + len, SHOWN_MAX - len, "%s%u %s %d %d", i ? ", " : "",
                                number_of(call->dispatch_id), call->function, call->state,
                                call->status);
        assert_null(call->input);
        assert_true(!call->result || !call->result->output);
        if (call->result && call->result->error)
            snprintf(page->why, sizeof page->why, "%s: %s", call->result->error->type,
                     call->result->error->message);
        else if (*call->waiting_for)
            snprintf(page->why, sizeof page->why, "%s", call->waiting_for);
    }
}

static struct page list_of(struct world *w, const char *org,
                           const Dispatch__V1__ListRequest *request)
{
    struct page page = {0};

    orchestrator_list(w->o, slice_str(org), request, listed, &page);
    world_settle(w);
    assert_int_equal(page.count, 1);
    return page;
}

static void assert_list(struct world *w, const Dispatch__V1__ListRequest *request,
                        const char *wanted)
{
    struct page page = list_of(w, TEST_ORG, request);

    assert_int_equal(page.error.code, 0);
    assert_string_equal(page.text, wanted);
    assert_string_equal(page.token, "");
}

static void assert_refused(struct world *w, const Dispatch__V1__ListRequest *request, int code,
                           const char *message)
{
    struct page page = list_of(w, TEST_ORG, request);

    assert_int_equal(page.error.code, code);
    assert_non_null(strstr(page.error.message, message));
}

static Dispatch__V1__ListRequest all(void)
{
    Dispatch__V1__ListRequest request = DISPATCH__V1__LIST_REQUEST__INIT;

    return request;
}

/* 1 a: suspended in a poll for 2 and 3; 2 b: done; 3 c: running; 4 d: failed; 5 e: waits for a
 * retry; a second apart. */
static void populate(struct world *w, char ids[6][ID_TEXT_LEN + 1])
{
    static const struct child children[] = {{"b", 1}, {"c", 2}};

    world_dispatch(w, "a", NULL, ids[1]);
    answer_with_poll(world_take(w, "a"), "s", children, 2, 2, 3600 * NS_PER_S);
    world_settle(w);
    answer_ok(world_take(w, "b"), "out");
    world_advance(w, NS_PER_S);
    world_dispatch(w, "d", NULL, ids[4]);
    answer_status(world_take(w, "d"), STATUS_PERMANENT_ERROR, "Broken", "it broke");
    world_advance(w, NS_PER_S);
    world_dispatch(w, "e", NULL, ids[5]);
    answer_status(world_take(w, "e"), STATUS_THROTTLED, "Busy", "later");
    world_settle(w);
}

static void test_order(void **state)
{
    static const char newest[] = "5 e 2 3, 4 d 5 7, 3 c 3 0, 2 b 5 1, 1 a 4 0";
    static const char oldest[] = "1 a 4 0, 2 b 5 1, 3 c 3 0, 4 d 5 7, 5 e 2 3";
    struct world *w = *state;
    Dispatch__V1__ListRequest request = all();
    char ids[6][ID_TEXT_LEN + 1];

    assert_list(w, &request, "");
    populate(w, ids);
    assert_list(w, &request, newest);
    request.oldest_first = true;
    assert_list(w, &request, oldest);
    for (request.limit = 1; request.limit <= 6; request.limit++) {
        for (int direction = 0; direction < 2; direction++) {
            char token[64] = "", joined[1024] = "";
            size_t len = 0;

            request.oldest_first = direction;
            do {
                struct page page;

                request.page_token = token;
                page = list_of(w, TEST_ORG, &request);
                assert_int_equal(page.error.code, 0);
                assert_true(page.calls <= request.limit);
                len += (size_t)snprintf(joined + len, sizeof joined - len, "%s%s",
                                        len && page.calls ? ", " : "", page.text);
                snprintf(token, sizeof token, "%s", page.token);
            } while (*token);
            assert_string_equal(joined, direction ? oldest : newest);
        }
    }
}

static void test_filters(void **state)
{
    Dispatch__V1__State states[] = {DISPATCH__V1__STATE__STATE_RUNNING,
                                    DISPATCH__V1__STATE__STATE_WAITING};
    Dispatch__V1__State done[] = {DISPATCH__V1__STATE__STATE_DONE};
    Dispatch__Sdk__V1__Status statuses[] = {DISPATCH__SDK__V1__STATUS__STATUS_OK,
                                            DISPATCH__SDK__V1__STATUS__STATUS_THROTTLED};
    wire_timestamp since = GOOGLE__PROTOBUF__TIMESTAMP__INIT, before = since;
    struct world *w = *state;
    Dispatch__V1__ListRequest request = all();
    char ids[6][ID_TEXT_LEN + 1];

    populate(w, ids);
    request.function = (char *)"c";
    assert_list(w, &request, "3 c 3 0");
    request = all();
    request.endpoint = (char *)"http://other";
    assert_list(w, &request, "");
    request.endpoint = (char *)ENDPOINT;
    request.function = (char *)"a";
    assert_list(w, &request, "1 a 4 0");
    request = all();
    request.states = states;
    request.n_states = 2;
    assert_list(w, &request, "5 e 2 3, 3 c 3 0");
    request.states = done;
    request.n_states = 1;
    assert_list(w, &request, "4 d 5 7, 2 b 5 1");
    request = all();
    request.statuses = statuses;
    request.n_statuses = 2;
    assert_list(w, &request, "5 e 2 3, 2 b 5 1");
    request = all();
    request.root_dispatch_id = ids[1];
    assert_list(w, &request, "3 c 3 0, 2 b 5 1, 1 a 4 0");
    request.oldest_first = true;
    assert_list(w, &request, "1 a 4 0, 2 b 5 1, 3 c 3 0");
    request = all();
    request.parent_dispatch_id = ids[1];
    assert_list(w, &request, "3 c 3 0, 2 b 5 1");
    request = all();
    request.roots = true;
    assert_list(w, &request, "5 e 2 3, 4 d 5 7, 1 a 4 0");
    request = all();
    wire_set_time(&since, T0 + NS_PER_S);
    wire_set_time(&before, T0 + 2 * NS_PER_S);
    request.created_since = &since;
    assert_list(w, &request, "5 e 2 3, 4 d 5 7");
    request.created_before = &before;
    assert_list(w, &request, "4 d 5 7");
    request.created_since = NULL;
    request.oldest_first = true;
    assert_list(w, &request, "1 a 4 0, 2 b 5 1, 3 c 3 0, 4 d 5 7");
}

static void test_words(void **state)
{
    struct world *w = *state;
    Dispatch__V1__ListRequest request = all();
    char ids[6][ID_TEXT_LEN + 1];
    struct page page;

    populate(w, ids);
    request.function = (char *)"d";
    page = list_of(w, TEST_ORG, &request);
    assert_string_equal(page.why, "Broken: it broke");
    request.function = (char *)"e";
    page = list_of(w, TEST_ORG, &request);
    assert_non_null(strstr(page.why, "after THROTTLED"));
    request = all();
    page = list_of(w, "others", &request);
    assert_int_equal(page.error.code, 0);
    assert_int_equal(page.calls, 0);
}

/* A page looks at so many calls and no more, and what it is for is found in the end. */
static void test_bound(void **state)
{
    enum { MANY = 5000 };
    struct world *w = *state;
    Dispatch__V1__ListRequest request = all();
    wire_dispatch_request many = DISPATCH__SDK__V1__DISPATCH_REQUEST__INIT;
    wire_call call = DISPATCH__SDK__V1__CALL__INIT;
    wire_call **calls = calloc(MANY, sizeof *calls);
    char id[ID_TEXT_LEN + 1];
    struct reply reply = {0};
    struct page page;
    unsigned pages = 0;

    assert_non_null(calls);
    world_dispatch(w, "rare", NULL, id);
    answer_ok(world_take(w, "rare"), "out");
    world_settle(w);
    call.function = (char *)"f";
    call.endpoint = (char *)ENDPOINT;
    for (size_t i = 0; i < MANY; i++)
        calls[i] = &call;
    many.calls = calls;
    many.n_calls = MANY;
    orchestrator_dispatch(w->o, slice_str(TEST_ORG), &many, reply_dispatched, &reply);
    world_settle(w);
    assert_int_equal(reply.error.code, 0);
    request.function = (char *)"rare";
    do {
        page = list_of(w, TEST_ORG, &request);
        request.page_token = page.token;
        assert_int_equal(page.calls, !*page.token);
        assert_true(++pages < 10);
    } while (*page.token);
    assert_true(pages > 2);
    assert_string_equal(page.text, "1 rare 5 1");
    free(calls);
}

static void test_refusals(void **state)
{
    Dispatch__V1__State none[] = {(Dispatch__V1__State)9};
    Dispatch__Sdk__V1__Status no_status[] = {(Dispatch__Sdk__V1__Status)99};
    struct world *w = *state;
    Dispatch__V1__ListRequest request = all();
    struct page pages[17] = {0}, other = {0};

    request.limit = 1001;
    assert_refused(w, &request, CODE_INVALID_ARGUMENT, "a page has at most 1000");
    request = all();
    request.page_token = (char *)"x";
    assert_refused(w, &request, CODE_INVALID_ARGUMENT, "page_token");
    request = all();
    request.root_dispatch_id = (char *)"x";
    assert_refused(w, &request, CODE_NOT_FOUND, "root_dispatch_id: call x");
    request = all();
    request.states = none;
    request.n_states = 1;
    assert_refused(w, &request, CODE_INVALID_ARGUMENT, "states[0]: there is no state 9");
    request = all();
    request.statuses = no_status;
    request.n_statuses = 1;
    assert_refused(w, &request, CODE_INVALID_ARGUMENT, "statuses[0]: there is no status 99");
    request = all();
    for (size_t i = 0; i < 17; i++)
        orchestrator_list(w->o, slice_str(TEST_ORG), &request, listed, &pages[i]);
    assert_int_equal(pages[16].error.code, CODE_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(pages[16].error.message, "16 of them this organization's"));
    orchestrator_list(w->o, slice_str("another"), &request, listed, &other);
    world_settle(w);
    assert_int_equal(other.count, 1);
    assert_int_equal(other.error.code, 0);
    assert_int_equal(pages[15].count, 1);
    assert_int_equal(pages[15].error.code, 0);
    orchestrator_list(w->o, slice_str(TEST_ORG), &request, listed, &pages[0]);
    world_restart(w);
    assert_int_equal(pages[0].count, 2);
    assert_int_equal(pages[0].error.code, CODE_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
