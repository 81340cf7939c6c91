// SPDX-License-Identifier: Apache-2.0
/* What a server tells of the attempts of a call, and of what it is busy with. */
#include "server/harness_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PATH_ATTEMPTS "/dispatch.v1.CallService/Attempts"
#define PATH_STATS    "/dispatch.v1.StatsService/Stats"

static struct harness h;

static int set_up(void **state)
{
    (void)state;
    h = (struct harness){0};
    harness_start(&h, true, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    harness_finish(&h);
    return 0;
}

static Dispatch__V1__AttemptsResponse *attempts_of(const char *id, unsigned limit,
                                                   const char *token)
{
    Dispatch__V1__AttemptsResponse *response;
    struct reply reply;

    harness_post(&h, &reply, PATH_ATTEMPTS,
                 "{\"dispatchId\":\"%s\",\"limit\":%u,\"pageToken\":\"%s\"}", id, limit, token);
    assert_int_equal(reply.status, 200);
    assert_int_equal(wire_from_json(&dispatch__v1__attempts_response__descriptor,
                                    slice(reply.body, reply.len), &h.arena, &response, NULL),
                     CODE_OK);
    assert_string_equal(response->call->dispatch_id, id);
    return response;
}

static Dispatch__V1__StatsResponse *stats(void)
{
    Dispatch__V1__StatsResponse *response;
    struct reply reply;

    harness_post(&h, &reply, PATH_STATS, "{}");
    assert_int_equal(reply.status, 200);
    assert_int_equal(wire_from_json(&dispatch__v1__stats_response__descriptor,
                                    slice(reply.body, reply.len), &h.arena, &response, NULL),
                     CODE_OK);
    return response;
}

static void test_attempts(void **state)
{
    char *id = harness_dispatch(&h, "flaky", "null"), first[32];
    Dispatch__V1__AttemptsResponse *page;
    const Dispatch__V1__Attempt *a;

    (void)state;
    harness_wait(&h, id);
    page = attempts_of(id, 0, "");
    assert_int_equal(page->n_attempts, 2);
    assert_string_equal(page->next_page_token, "");
    assert_true(wire_time_ns(page->kept_since) <= wire_time_ns(page->call->creation_time));
    a = page->attempts[0];
    assert_int_equal(a->number, 1);
    assert_string_equal(a->function, "flaky");
    assert_int_equal(a->outcome, DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_FAILED);
    assert_int_equal(a->status, STATUS_TEMPORARY_ERROR);
    assert_int_equal(a->http_status, 503);
    assert_true(wire_time_ns(a->start_time) <= wire_time_ns(a->end_time));
    a = page->attempts[1];
    assert_int_equal(a->number, 2);
    assert_int_equal(a->outcome, DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_EXIT);
    assert_int_equal(a->status, STATUS_OK);
    assert_null(a->error);
    assert_int_equal(a->http_status, 0);

    page = attempts_of(id, 1, ""); /* page by page */
    assert_int_equal(page->n_attempts, 1);
    snprintf(first, sizeof first, "%s", page->next_page_token);
    page = attempts_of(id, 1, first);
    assert_int_equal(page->n_attempts, 1);
    assert_int_equal(page->attempts[0]->number, 2);
    assert_string_equal(page->next_page_token, "");
    assert_int_equal(attempts_of(id, 0, page->watch_token)->n_attempts, 0);
}

/* What is under way, and then is not any more. */
static void test_under_way(void **state)
{
    char *id = harness_dispatch(&h, "hang", "null"), watch[32];
    Dispatch__V1__AttemptsResponse *page;
    Dispatch__V1__StatsResponse *s;

    (void)state;
    while (!h.hanging)
        net_loop_run(h.loop);
    page = attempts_of(id, 0, "");
    assert_int_equal(page->n_attempts, 1);
    assert_int_equal(page->attempts[0]->outcome,
                     DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_UNSPECIFIED);
    assert_null(page->attempts[0]->end_time);
    snprintf(watch, sizeof watch, "%s", page->watch_token);
    s = stats();
    assert_true(s->ready);
    assert_int_equal(s->n_groups, 1);
    assert_string_equal(s->groups[0]->endpoint, h.endpoint_url);
    assert_int_equal(s->groups[0]->in_flight, 1);
    assert_true(s->groups[0]->window >= 1);
    assert_true(s->groups[0]->ended_per_second == 0);
    assert_int_equal(s->totals->running, 1);
    assert_int_equal(s->totals->live, 1);
    assert_int_equal(s->totals->runs_in_flight, 1);
    assert_true(s->totals->commits > 0 && s->totals->commit_p99_seconds > 0);

    harness_release(&h);
    harness_wait(&h, id);
    page = attempts_of(id, 0, watch);
    assert_int_equal(page->n_attempts, 1);
    assert_int_equal(page->attempts[0]->outcome, DISPATCH__V1__ATTEMPT__OUTCOME__OUTCOME_EXIT);
    s = stats();
    assert_int_equal(s->groups[0]->in_flight, 0);
    assert_int_equal(s->groups[0]->attempts, 1);
    assert_true(s->groups[0]->ended_per_second > 0);
    assert_true(s->groups[0]->failed_per_second == 0);
    assert_true(s->groups[0]->run_p50_seconds > 0);
    assert_true(s->groups[0]->run_p50_seconds == s->groups[0]->run_p99_seconds);
    assert_true(s->rate_seconds > 0 && s->rate_seconds <= 10);
    assert_int_equal(s->totals->finished, 1);
}

static void test_rates(void **state)
{
    Dispatch__V1__StatsResponse *s;

    (void)state;
    harness_wait(&h, harness_dispatch(&h, "flaky", "null"));  /* one fails, one does not */
    harness_wait(&h, harness_dispatch(&h, "parent", "null")); /* a poll, a child, an exit */
    s = stats();
    assert_int_equal(s->n_groups, 1);
    assert_int_equal(s->groups[0]->attempts, 5);
    assert_true(s->groups[0]->ended_per_second > 4.9 * s->groups[0]->failed_per_second);
    assert_true(s->groups[0]->ended_per_second < 5.1 * s->groups[0]->failed_per_second);
    assert_true(s->groups[0]->run_p50_seconds <= s->groups[0]->run_p99_seconds);
    assert_int_equal(s->groups[0]->decreased_by, STATUS_TEMPORARY_ERROR);
}

static void test_refused(void **state)
{
    struct reply reply;

    (void)state;
    harness_post(&h, &reply, PATH_ATTEMPTS, "{\"dispatchId\":\"0000\"}");
    assert_int_equal(reply.status, 404);
    harness_post(&h, &reply, PATH_ATTEMPTS, "{\"dispatchId\":\"0000\",\"pageToken\":\"1x\"}");
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body, "page token"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_attempts), TEST(test_under_way), TEST(test_rates),
                                       TEST(test_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
