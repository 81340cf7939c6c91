// SPDX-License-Identifier: Apache-2.0
/* The socket beside a store: who holds the store listens there, for the operator. */
#include "server/harness_test.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct harness h;
    char directory[64], store[128], socket[PATH_MAX];
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    snprintf(w->directory, sizeof w->directory, "/tmp/server-socket-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    snprintf(w->store, sizeof w->store, "sqlite:%s/store", w->directory);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    DIR *directory = opendir(w->directory);
    struct dirent *entry;

    while ((entry = readdir(directory)))
        unlinkat(dirfd(directory), entry->d_name, 0); /* not "." and ".." */
    closedir(directory);
    assert_int_equal(rmdir(w->directory), 0);
    free(w);
    return 0;
}

static void start(struct world *w)
{
    harness_start_on(&w->h, w->store, true, 0);
    assert_true(server_control_path(w->store, w->socket));
}

static bool is_there(const struct world *w)
{
    struct stat found;

    if (lstat(w->socket, &found))
        return false;
    assert_true(S_ISSOCK(found.st_mode));
    assert_int_equal(found.st_mode & 0777, 0600);
    return true;
}

static void it_asks_for_no_key(void **state)
{
    struct world *w = *state;
    const struct ask no_key = {.path = PATH_GET, .body = slice_str("{\"dispatchId\":\"x\"}")};
    struct reply reply;

    start(w);
    assert_true(is_there(w));
    harness_ask(&w->h, &no_key, &reply);
    assert_int_equal(reply.status, 401);
    memcpy(w->h.control, w->socket, sizeof w->socket);
    harness_ask(&w->h, &no_key, &reply);
    assert_int_equal(reply.status, 404); /* there is no such call */
    harness_finish(&w->h);
    assert_false(is_there(w));
}

static void ask_as(struct world *w, const char *org, const char *id, struct reply *reply)
{
    char body[128];
    struct ask ask = {.path = PATH_GET,
                      .extra = {slice_str("dispatch-organization"), slice_str(org)}};

    snprintf(body, sizeof body, "{\"dispatchId\":\"%s\"}", id);
    ask.body = slice_str(body);
    harness_ask(&w->h, &ask, reply);
}

static void the_operator_says_whose_calls(void **state)
{
    struct world *w = *state;
    struct reply reply;
    char *id;

    start(w);
    id = harness_dispatch(&w->h, "echo", "null"); /* with a key, of "default" */
    harness_wait(&w->h, id);
    memcpy(w->h.control, w->socket, sizeof w->socket);
    ask_as(w, "default", id, &reply);
    assert_int_equal(reply.status, 200);
    ask_as(w, "acme", id, &reply);
    assert_int_equal(reply.status, 404);
    harness_wait(&w->h, id); /* without the header */
    ask_as(w, "Acme", id, &reply);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(harness_error(&reply).message, "'Acme' is no organization"));
    /* Who comes with a key cannot choose. */
    w->h.control[0] = '\0';
    ask_as(w, "default", id, &reply);
    assert_int_equal(reply.status, 401);
    harness_finish(&w->h);
}

static void it_goes_with_the_store(void **state)
{
    struct world *w = *state;

    start(w);
    assert_true(is_there(w));
    server_stop(w->h.server);
    harness_until(&w->h, &w->h.stopped);
    assert_false(is_there(w));
    harness_finish(&w->h);
    start(w); /* again */
    assert_true(is_there(w));
    harness_finish(&w->h);
    assert_false(is_there(w));
}

static void a_path_too_long_is_done_without(void **state)
{
    struct world *w = *state;
    size_t len = strlen(w->store);

    memset(w->store + len, 'x', sizeof w->store - len - 1);
    start(w);
    assert_false(is_there(w));
    harness_wait(&w->h, harness_dispatch(&w->h, "echo", "null"));
    harness_finish(&w->h);
}

static void other_stores_have_none(void **state)
{
    char path[PATH_MAX];

    (void)state;
    assert_false(server_control_path("memory:", path));
    assert_false(server_control_path("sqlite:/nowhere/store", path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_asks_for_no_key),
        TEST(the_operator_says_whose_calls),
        TEST(it_goes_with_the_store),
        TEST(a_path_too_long_is_done_without),
        cmocka_unit_test(other_stores_have_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
