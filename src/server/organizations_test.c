// SPDX-License-Identifier: Apache-2.0
/*
 * Several organizations on one server: keys made and revoked at the operator's socket, who reaches
 * whose calls, and runs that are signed by the organization's key, across a restart.
 */
#include "server/harness_test.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct harness h;
    struct arena arena; /* outlives the harness */
    char directory[64], store[128], socket[PATH_MAX];
};

static void start(struct world *w)
{
    harness_start_on(&w->h, w->store, true, 0);
    assert_true(server_control_path(w->store, w->socket));
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    arena_init(&w->arena, 1 << 20);
    snprintf(w->directory, sizeof w->directory, "/tmp/server-orgs-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    snprintf(w->store, sizeof w->store, "sqlite:%s/store", w->directory);
    start(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    DIR *directory = opendir(w->directory);
    struct dirent *entry;

    harness_finish(&w->h);
    while ((entry = readdir(directory)))
        unlinkat(dirfd(directory), entry->d_name, 0); /* not "." and ".." */
    closedir(directory);
    assert_int_equal(rmdir(w->directory), 0);
    arena_reset(&w->arena);
    free(w);
    return 0;
}

static void ask(struct world *w, const char *key, const char *path, const char *body,
                struct reply *reply)
{
    const struct ask question = {.path = path, .key = key, .body = slice_str(body)};

    harness_ask(&w->h, &question, reply);
}

static void ask_operator(struct world *w, const char *path, const char *body, struct reply *reply)
{
    memcpy(w->h.control, w->socket, sizeof w->h.control);
    ask(w, NULL, path, body, reply);
    w->h.control[0] = '\0';
}

/* The value of "NAME":"..." in the reply, in the arena. */
static char *field(struct world *w, const struct reply *reply, const char *name)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":\"", name);
    at = strstr(reply->body, quoted);
    assert_non_null(at);
    at += strlen(quoted);
    return arena_dup(&w->arena, slice(at, strcspn(at, "\"")));
}

static char *create_key(struct world *w, const char *org, char **id)
{
    struct reply reply;
    char body[128];

    snprintf(body, sizeof body, "{\"organization\":\"%s\",\"name\":\"test\"}", org);
    ask_operator(w, "/dispatch.v1.KeyService/CreateKey", body, &reply);
    assert_int_equal(reply.status, 200);
    *id = field(w, &reply, "keyId");
    return field(w, &reply, "secret");
}

static char *dispatch(struct world *w, const char *key, const char *call)
{
    struct reply reply;
    char body[512];

    snprintf(body, sizeof body, "{\"calls\":[{\"endpoint\":\"%s\",%s}]}",
             strstr(call, "\"key\"") ? "event:" : w->h.endpoint_url, call);
    ask(w, key, PATH_DISPATCH, body, &reply);
    assert_int_equal(reply.status, 200);
    return arena_dup(
        &w->arena, slice(strchr(reply.body, '[') + 2, strcspn(strchr(reply.body, '[') + 2, "\"")));
}

static int status_of(struct world *w, const char *key, const char *path, const char *id)
{
    struct reply reply;
    char body[128];

    snprintf(body, sizeof body, "{\"dispatchId\":\"%s\"}", id);
    ask(w, key, path, body, &reply);
    return reply.status;
}

static void keys_come_and_go(void **state)
{
    struct world *w = *state;
    struct reply reply;
    char body[64], *id, *other_id, *key, *other;

    key = create_key(w, "acme", &id);
    other = create_key(w, "other", &other_id);
    assert_int_equal(status_of(w, key, PATH_GET, "x"), 404);
    assert_int_equal(status_of(w, other, PATH_GET, "x"), 404);
    assert_int_equal(status_of(w, "dsp_nonsense", PATH_GET, "x"), 401);
    assert_int_equal(status_of(w, HARNESS_KEY, PATH_GET, "x"), 404); /* as it was given */

    ask_operator(w, "/dispatch.v1.KeyService/ListKeys", "{}", &reply);
    assert_non_null(strstr(reply.body, "\"acme\""));
    assert_non_null(strstr(reply.body, "\"other\""));
    assert_null(strstr(reply.body, key));
    ask_operator(w, "/dispatch.v1.KeyService/ListKeys", "{\"organization\":\"acme\"}", &reply);
    assert_null(strstr(reply.body, "\"other\""));

    /* What clients may not. */
    ask(w, key, "/dispatch.v1.KeyService/ListKeys", "{}", &reply);
    assert_int_equal(reply.status, 403);
    ask(w, key, "/dispatch.v1.KeyService/CreateKey", "{\"organization\":\"other\"}", &reply);
    assert_int_equal(reply.status, 403);
    ask(w, NULL, "/dispatch.v1.KeyService/CreateKey", "{}", &reply);
    assert_int_equal(reply.status, 401);

    snprintf(body, sizeof body, "{\"keyId\":\"%s\"}", id);
    ask_operator(w, "/dispatch.v1.KeyService/RevokeKey", body, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(status_of(w, key, PATH_GET, "x"), 401);
    assert_int_equal(status_of(w, other, PATH_GET, "x"), 404);
    ask_operator(w, "/dispatch.v1.KeyService/RevokeKey", body, &reply);
    assert_int_equal(reply.status, 404);
    ask_operator(w, "/dispatch.v1.KeyService/CreateKey", "{\"organization\":\"A/B\"}", &reply);
    assert_int_equal(reply.status, 400);

    harness_finish(&w->h); /* and all of it after a restart */
    start(w);
    assert_int_equal(status_of(w, key, PATH_GET, "x"), 401);
    assert_int_equal(status_of(w, other, PATH_GET, "x"), 404);
}

#define PATH_STATS "/dispatch.v1.StatsService/Stats"

static unsigned count_of(const struct reply *reply, const char *text)
{
    unsigned count = 0;

    for (const char *at = reply->body; (at = strstr(at, text)); at++)
        count++;
    return count;
}

static void each_sees_its_own_load(void **state)
{
    struct world *w = *state;
    char *id, *acme = create_key(w, "acme", &id), *other = create_key(w, "other", &id);
    struct reply reply;

    assert_int_equal(status_of(w, acme, PATH_WAIT, dispatch(w, acme, "\"function\":\"echo\"")),
                     200);
    assert_int_equal(status_of(w, other, PATH_WAIT, dispatch(w, other, "\"function\":\"echo\"")),
                     200);

    ask(w, acme, PATH_STATS, "{\"organization\":\"other\"}", &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(count_of(&reply, "\"organization\":\"acme\""), 1);
    assert_null(strstr(reply.body, "other"));
    assert_null(strstr(reply.body, "totals"));
    assert_null(strstr(reply.body, "\"organizations\""));
    assert_non_null(strstr(reply.body, "\"groupCount\":1"));
    ask(w, HARNESS_KEY, PATH_STATS, "{}", &reply); /* of the organization "default" */
    assert_null(strstr(reply.body, "acme"));
    assert_non_null(strstr(reply.body, "\"totals\":{"));
    assert_non_null(strstr(reply.body, "\"finished\":\"2\""));

    ask_operator(w, PATH_STATS, "{}", &reply);
    assert_non_null(strstr(reply.body, "\"groupCount\":2"));
    assert_int_equal(count_of(&reply, "\"organization\":\"acme\""), 2); /* a group, and itself */
    assert_int_equal(count_of(&reply, "\"organization\":\"other\""), 2);
    assert_non_null(strstr(reply.body, "\"organizations\":\"2\""));
    ask_operator(w, PATH_STATS, "{\"organization\":\"acme\"}", &reply);
    assert_null(strstr(reply.body, "\"other\""));
    ask_operator(w, PATH_STATS, "{\"limit\":1}", &reply);
    assert_int_equal(count_of(&reply, "\"endpoint\""), 1);
    assert_non_null(strstr(reply.body, "\"groupCount\":2"));
}

static void nobody_reaches_anothers_calls(void **state)
{
    static const char *const paths[] = {PATH_GET,
                                        PATH_WAIT,
                                        "/dispatch.v1.CallService/Attempts",
                                        "/dispatch.v1.CallService/Cancel",
                                        "/dispatch.v1.CallService/Restart",
                                        "/dispatch.v1.CallService/Retry",
                                        "/dispatch.v1.CallService/Complete"};
    struct world *w = *state;
    char *id, *acme = create_key(w, "acme", &id), *other = create_key(w, "other", &id);
    char *done = dispatch(w, acme, "\"function\":\"echo\"");
    char *event = dispatch(w, acme, "\"function\":\"f\",\"key\":\"order-1\"");
    struct reply reply;

    assert_int_equal(status_of(w, acme, PATH_WAIT, done), 200);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(status_of(w, other, paths[i], done), 404);
        assert_int_equal(status_of(w, other, paths[i], event), 404);
        assert_int_equal(status_of(w, HARNESS_KEY, paths[i], done), 404);
    }
    /* The same key of a call of theirs is another one, and completes another one. */
    dispatch(w, other, "\"function\":\"f\",\"key\":\"order-1\"");
    ask(w, other, "/dispatch.v1.CallService/Complete", "{\"key\":\"order-1\"}", &reply);
    assert_int_equal(reply.status, 200);
    ask(w, acme, PATH_GET, "{}", &reply);
    assert_int_equal(reply.status, 400);
    assert_int_equal(status_of(w, acme, "/dispatch.v1.CallService/Cancel", event), 200);
    harness_ask(&w->h, &(struct ask){.method = "GET", .path = "/metrics", .key = acme}, &reply);
    assert_int_equal(reply.status, 403); /* they name what is others' */
}

static void idempotency_keys_are_ones_own(void **state)
{
    struct world *w = *state;
    char body[256], *id, *keys[] = {create_key(w, "acme", &id), create_key(w, "other", &id)};
    struct reply replies[2];

    snprintf(body, sizeof body, "{\"calls\":[{\"endpoint\":\"%s\",\"function\":\"echo\"}]}",
             w->h.endpoint_url);
    for (size_t i = 0; i < 2; i++) {
        const struct ask question = {.path = PATH_DISPATCH,
                                     .key = keys[i],
                                     .body = slice_str(body),
                                     .extra = {slice_str("idempotency-key"), slice_str("same")}};

        harness_ask(&w->h, &question, &replies[i]);
        assert_int_equal(replies[i].status, 200);
    }
    assert_string_not_equal(replies[0].body, replies[1].body);
}

/* --- signatures ------------------------------------------------------------------------------- */

/* The text of a PEM as JSON has it, for whoever verifies. */
static struct signature_public public_key(struct world *w, const struct reply *reply)
{
    struct signature_public key;

    assert_int_equal(reply->status, 200);
    assert_true(signature_read_public(slice_str(field(w, reply, "publicKey")), &key));
    return key;
}

static int run_once(struct world *w, const char *key)
{
    char *id = dispatch(w, key, "\"function\":\"echo\"");
    struct reply reply;
    char body[128];

    snprintf(body, sizeof body, "{\"dispatchId\":\"%s\"}", id);
    ask(w, key, PATH_WAIT, body, &reply);
    assert_int_equal(reply.status, 200);
    if (strstr(reply.body, "STATUS_OK"))
        return 200;
    assert_non_null(strstr(reply.body, "STATUS_PERMISSION_DENIED"));
    return 403;
}

static void runs_are_signed(void **state)
{
    static const char create[] = "/dispatch.v1.SigningKeyService/CreateSigningKey";
    static const char list[] = "/dispatch.v1.SigningKeyService/ListSigningKeys";
    struct world *w = *state;
    char *id, *acme = create_key(w, "acme", &id), *other = create_key(w, "other", &id);
    struct signature_public first, second, listed;
    struct reply reply;

    ask(w, acme, list, "{}", &reply);
    assert_string_equal(reply.body, "{}");
    assert_int_equal(run_once(w, acme), 200);
    assert_false(w->h.was_signed);

    ask(w, acme, create, "{}", &reply);
    first = public_key(w, &reply);
    w->h.verifier = &first;
    assert_int_equal(run_once(w, acme), 200);
    assert_true(w->h.was_signed);
    assert_int_equal(run_once(w, other), 403); /* who has no key signs nothing */
    assert_false(w->h.was_signed);

    ask(w, acme, create, "{}", &reply); /* rolled over: at once */
    second = public_key(w, &reply);
    assert_memory_not_equal(&first, &second, sizeof first);
    assert_int_equal(run_once(w, acme), 403);
    w->h.verifier = &second;
    assert_int_equal(run_once(w, acme), 200);
    ask(w, acme, list, "{}", &reply);
    listed = public_key(w, &reply); /* the first of them is the one that signs */
    assert_memory_equal(&listed, &second, sizeof second);
    ask(w, other, list, "{}", &reply);
    assert_string_equal(reply.body, "{}");

    harness_finish(&w->h);
    start(w);
    w->h.verifier = &second;
    assert_int_equal(run_once(w, acme), 200);
    assert_true(w->h.was_signed);

    harness_speak_h2c(&w->h);
    assert_int_equal(run_once(w, acme), 200);
    assert_false(w->h.was_http2); /* there it learns that it may */
    assert_int_equal(run_once(w, acme), 200);
    assert_true(w->h.was_http2);
    assert_true(w->h.was_signed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_come_and_go),
        TEST(each_sees_its_own_load),
        TEST(nobody_reaches_anothers_calls),
        TEST(idempotency_keys_are_ones_own),
        TEST(runs_are_signed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
