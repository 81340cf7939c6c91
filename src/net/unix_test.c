// SPDX-License-Identifier: Apache-2.0
/* HTTP over a Unix socket: who may connect, what becomes of what is at its path. */
#include "net/testing.h"

#include <sys/stat.h>
#include <sys/un.h>

struct world {
    struct net_loop *loop;
    char directory[32], path[64];
    struct net_server *server;
    struct net_client *client;
    char peer[32], host[32];
    int answers, status;
    enum net_failure failure;
    bool unsent;
    char message[256];
};

static void handle(void *arg, struct net_exchange *exchange, const struct net_request *request)
{
    struct slice host = net_header_get(request->headers, request->header_count, "host");
    struct world *w = arg;

    snprintf(w->peer, sizeof w->peer, "%.*s", SLICE_FMT(request->peer));
    snprintf(w->host, sizeof w->host, "%.*s", SLICE_FMT(host));
    net_answer(exchange, 204, NULL, 0, NULL);
}

static void done(void *arg, const struct net_response *response)
{
    struct world *w = arg;

    w->answers++;
    w->failure = response->failure;
    w->status = response->status;
    w->unsent = response->unsent;
    snprintf(w->message, sizeof w->message, "%s", response->message ? response->message : "");
}

static int listen_at(struct world *w, const char *path, struct error *err)
{
    struct net_server_options options = {.host = path, .handle = handle, .arg = w};

    return net_server_create(&w->server, w->loop, &options, err);
}

static int ask(struct world *w, const char *path, struct error *err)
{
    struct net_outgoing request = {.host = slice_str(path),
                                   .method = slice_str("GET"),
                                   .target = slice_str("/"),
                                   .done = done,
                                   .arg = w};
    int answers = w->answers, code = net_client_send(w->client, &request, NULL, err);

    if (code == 0)
        UNTIL(w->loop, w->answers > answers);
    return code;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    snprintf(w->directory, sizeof w->directory,
             "/tmp/net unix XXXXXX"); /* with spaces, which no other host may have */
    assert_non_null(mkdtemp(w->directory));
    snprintf(w->path, sizeof w->path, "%s/a.sock", w->directory);
    assert_int_equal(net_loop_create(&w->loop, NULL), 0);
    assert_int_equal(net_client_create(&w->client, w->loop, NULL, NULL), 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    net_client_destroy(w->client);
    net_server_destroy(w->server);
    net_loop_destroy(w->loop);
    assert_int_equal(access(w->path, F_OK), -1);
    assert_int_equal(rmdir(w->directory), 0);
    free(w);
    return 0;
}

static void requests_are_answered(void **state)
{
    struct world *w = *state;
    struct stat there;

    assert_int_equal(listen_at(w, w->path, NULL), 0);
    assert_int_equal(lstat(w->path, &there), 0);
    assert_true(S_ISSOCK(there.st_mode));
    assert_int_equal(there.st_mode & 0777, 0600);
    for (int i = 0; i < 2; i++) { /* the second one over a kept connection */
        assert_int_equal(ask(w, w->path, NULL), 0);
        assert_int_equal(w->failure, NET_OK);
        assert_int_equal(w->status, 204);
        assert_string_equal(w->peer, "unix");
        assert_string_equal(w->host, "localhost");
    }
    net_server_close(w->server);
    assert_int_equal(lstat(w->path, &there), -1);
}

static void nobody_is_there(void **state)
{
    struct world *w = *state;

    assert_int_equal(ask(w, w->path, NULL), 0);
    assert_int_equal(w->failure, NET_TCP);
    assert_true(w->unsent);
    assert_non_null(strstr(w->message, w->path));
    assert_null(strstr(w->message, ":0"));
}

static void a_stale_socket_is_replaced(void **state)
{
    struct world *w = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", w->path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_int_equal(ask(w, w->path, NULL), 0);
    assert_int_equal(w->failure, NET_TCP);
    assert_true(w->unsent);
    assert_int_equal(listen_at(w, w->path, NULL), 0);
    assert_int_equal(ask(w, w->path, NULL), 0);
    assert_int_equal(w->status, 204);
}

static void something_else_stays(void **state)
{
    struct world *w = *state;
    struct error err;
    FILE *file = fopen(w->path, "w");

    fclose(file);
    assert_int_equal(listen_at(w, w->path, &err), CODE_UNAVAILABLE);
    assert_non_null(strstr(err.message, "something else than a socket"));
    assert_non_null(strstr(err.message, w->path));
    assert_int_equal(unlink(w->path), 0);
}

static void paths_have_a_limit(void **state)
{
    struct world *w = *state;
    struct error err;
    char path[NET_UNIX_PATH_MAX + 2];

    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(listen_at(w, path, &err), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "at most 107 bytes"));
    assert_int_equal(ask(w, path, &err), CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "at most 107 bytes"));
    path[NET_UNIX_PATH_MAX] = '\0'; /* this one fits, though there is no such directory */
    path[5] = '/';
    assert_int_equal(listen_at(w, path, &err), CODE_UNAVAILABLE);
    assert_int_equal(ask(w, path, &err), 0);
    assert_int_equal(w->failure, NET_TCP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_answered), TEST(nobody_is_there),    TEST(a_stale_socket_is_replaced),
        TEST(something_else_stays),  TEST(paths_have_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
