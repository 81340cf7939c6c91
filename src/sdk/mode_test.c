// SPDX-License-Identifier: Apache-2.0
/* How an application runs: the table of the manual, and where the calls are then kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sdk/internal.h"

static char home[64];

static int clear_environment(void **state)
{
    static const char *const names[] = {"DISPATCH_STORE",   "DISPATCH_STORE_WAIT",
                                        "DISPATCH_API_URL", "DISPATCH_API_KEY",
                                        "XDG_STATE_HOME",   "HOME"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    return 0;
}

static int make_home(void **state)
{
    (void)state;
    memcpy(home, "/tmp/dispatch-mode-XXXXXX", sizeof "/tmp/dispatch-mode-XXXXXX");
    return mkdtemp(home) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_home(void **state)
{
    (void)state;
    return nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

enum wanted { SERVED, EMBEDDED, REFUSED };

/* NULL: not set; the client may stand for anything, it is not looked at. */
struct row {
    const char *store, *api_url, *api_key, *client; /* options */
    const char *env_store, *env_url, *env_key;      /* environment */
    enum wanted wanted;
};

static const struct row table[] = {
    /* An explicit option, whatever the environment says. */
    {.store = "memory:", .wanted = EMBEDDED},
    {.store = "memory:", .env_url = "http://x", .env_key = "k", .wanted = EMBEDDED},
    {.store = "memory:", .env_store = "sqlite:x", .wanted = EMBEDDED},
    {.api_url = "http://x", .wanted = SERVED},
    {.api_key = "k", .wanted = SERVED},
    {.client = "it", .wanted = SERVED},
    {.api_url = "http://x", .env_store = "sqlite:x", .wanted = SERVED},
    {.api_key = "k", .env_store = "sqlite:x", .wanted = SERVED},
    {.client = "it", .env_store = "sqlite:x", .wanted = SERVED},
    {.store = "memory:", .api_url = "http://x", .wanted = REFUSED},
    {.store = "memory:", .api_key = "k", .wanted = REFUSED},
    {.store = "memory:", .client = "it", .wanted = REFUSED},
    /* Else DISPATCH_STORE. */
    {.env_store = "sqlite:x", .wanted = EMBEDDED},
    {.env_store = "sqlite:x", .env_url = "http://x", .wanted = EMBEDDED},
    {.env_store = "sqlite:x", .env_key = "k", .wanted = EMBEDDED},
    /* Else the API's variables, one that is empty too: what is missing is then said. */
    {.env_url = "http://x", .wanted = SERVED},
    {.env_key = "k", .wanted = SERVED},
    {.env_url = "http://x", .env_key = "k", .wanted = SERVED},
    {.env_store = "", .env_url = "http://x", .wanted = SERVED},
    {.env_url = "", .wanted = SERVED},
    {.env_key = "", .wanted = SERVED},
    /* Else embedded. */
    {.wanted = EMBEDDED},
    {.env_store = "", .wanted = EMBEDDED},
};

static void set(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
}

static void test_table(void **state)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct row *row = &table[i];
        struct dispatch_run_options options = {
            .store = row->store,
            .api_url = row->api_url,
            .api_key = row->api_key,
            .client = (struct dispatch_client *)(uintptr_t)row->client};
        bool embedded = row->wanted == SERVED;
        int rc;

        clear_environment(state);
        set("DISPATCH_STORE", row->env_store);
        set("DISPATCH_API_URL", row->env_url);
        set("DISPATCH_API_KEY", row->env_key);
        rc = sdk_run_embedded(&options, &embedded, NULL);
        if (rc != (row->wanted == REFUSED ? CODE_INVALID_ARGUMENT : 0))
            fail_msg("row %zu: code %d", i, rc);
        if (rc == 0 && embedded != (row->wanted == EMBEDDED))
            fail_msg("row %zu: embedded is %d", i, embedded);
    }
}

/* A registry's client counts as that option. */
static void test_registry(void **state)
{
    struct dispatch_client_options client = {.api_url = "http://127.0.0.1:1", .api_key = "k"};
    struct dispatch_registry_options registry = {.name = "r", .endpoint = "http://127.0.0.1:2"};
    struct dispatch_run_options options = {0};
    bool embedded = true;

    (void)state;
    assert_int_equal(dispatch_client_create(&client, &registry.client, NULL), 0);
    assert_int_equal(dispatch_registry_create(&registry, &options.registry, NULL), 0);
    setenv("DISPATCH_STORE", "memory:", 1);
    assert_int_equal(sdk_run_embedded(&options, &embedded, NULL), 0);
    assert_false(embedded);
    options.store = "memory:";
    assert_int_equal(sdk_run_embedded(&options, &embedded, NULL), CODE_INVALID_ARGUMENT);
    dispatch_registry_close(options.registry);
    dispatch_client_destroy(registry.client);
}

static void test_file(void **state)
{
    struct dispatch_embedded_options options = {.program = "my-app.1"};
    struct sdk_place_of_calls place;
    struct dispatch_failure failure = {0};
    char expected[128];
    struct stat st;

    (void)state;
    assert_int_equal(sdk_find_calls(&options, &place, &failure), CODE_FAILED_PRECONDITION);
    assert_non_null(strstr(failure.message, "XDG_STATE_HOME"));
    setenv("HOME", home, 1);
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    snprintf(expected, sizeof expected, "sqlite:%s/.local/state/dispatch/my-app.1/calls.db", home);
    assert_string_equal(place.store, expected);
    assert_string_equal(place.program, "my-app.1");

    setenv("XDG_STATE_HOME", home, 1);
    options.program = NULL;
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    snprintf(expected, sizeof expected, "sqlite:%s/dispatch/%s/calls.db", home,
             program_invocation_short_name);
    assert_string_equal(place.store, expected);
    *strrchr(expected, '/') = '\0';
    assert_int_equal(stat(expected + strlen("sqlite:"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    setenv("DISPATCH_STORE", "memory:", 1);
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    assert_string_equal(place.store, "memory:");
    options.store = "sqlite:mine.db";
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    assert_string_equal(place.store, "sqlite:mine.db");
}

static void test_program(void **state)
{
    static const char *const bad[] = {"", ".hidden", "-x", "a/b", "a b", "\303\244"};
    struct dispatch_embedded_options options = {.store = "memory:"};
    struct sdk_place_of_calls place;
    char name[SDK_PROGRAM_MAX + 2], *own = program_invocation_short_name;
    char odd[] = ".my app(1)";

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.program = bad[i];
        assert_int_equal(sdk_find_calls(&options, &place, NULL), CODE_INVALID_ARGUMENT);
    }
    memset(name, 'x', sizeof name);
    name[SDK_PROGRAM_MAX + 1] = '\0';
    options.program = name;
    assert_int_equal(sdk_find_calls(&options, &place, NULL), CODE_INVALID_ARGUMENT);
    name[SDK_PROGRAM_MAX] = '\0';
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    assert_string_equal(place.program, name);
    options.program = NULL;
    program_invocation_short_name = odd;
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    assert_string_equal(place.program, "_my_app_1_");
    program_invocation_short_name = own;
}

static void test_wait(void **state)
{
    static const char *const bad[] = {"soon", "-1", "1s", "nan"};
    struct dispatch_embedded_options options = {.store = "memory:"};
    struct sdk_place_of_calls place;
    struct dispatch_failure failure = {0};

    (void)state;
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    assert_int_equal(place.wait_ms, 0);
    setenv("DISPATCH_STORE_WAIT", "2.5", 1);
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    assert_int_equal(place.wait_ms, 2500);
    setenv("DISPATCH_STORE_WAIT", "inf", 1);
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    assert_int_equal(place.wait_ms, UINT32_MAX);
    options.store_wait_ms = 7;
    assert_int_equal(sdk_find_calls(&options, &place, NULL), 0);
    assert_int_equal(place.wait_ms, 7);
    options.store_wait_ms = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("DISPATCH_STORE_WAIT", bad[i], 1);
        assert_int_equal(sdk_find_calls(&options, &place, &failure), CODE_INVALID_ARGUMENT);
        assert_non_null(strstr(failure.message, "DISPATCH_STORE_WAIT is a number of seconds"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_table, clear_environment),
        cmocka_unit_test_setup(test_registry, clear_environment),
        cmocka_unit_test_setup(test_file, clear_environment),
        cmocka_unit_test_setup(test_program, clear_environment),
        cmocka_unit_test_setup(test_wait, clear_environment),
    };

    return cmocka_run_group_tests(tests, make_home, remove_home);
}
