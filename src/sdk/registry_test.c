// SPDX-License-Identifier: Apache-2.0
/* Registries, batches, and what configuration they and the client ask for: the documented errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/internal.h"

static struct dispatch_result echo(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}

static struct dispatch_result early(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}
DISPATCH_REGISTER(early);

static int clear_environment(void **state)
{
    (void)state;
    unsetenv("DISPATCH_API_KEY");
    unsetenv("DISPATCH_API_URL");
    unsetenv("DISPATCH_ENDPOINT_URL");
    unsetenv("DISPATCH_ENDPOINT_ADDR");
    unsetenv("DISPATCH_STORE");
    return 0;
}

static void registry_refused(const char *name, const char *endpoint, int code, const char *message)
{
    struct dispatch_registry_options options = {.name = name, .endpoint = endpoint};
    struct dispatch_registry *registry = NULL;
    struct dispatch_failure failure = {0};

    assert_int_equal(dispatch_registry_create(&options, &registry, &failure), code);
    assert_int_equal(failure.code, code);
    assert_string_equal(failure.message, message);
    assert_null(registry);
}

static void test_registry_errors(void **state)
{
    const int invalid = DISPATCH_CODE_INVALID_ARGUMENT;

    (void)state;
    registry_refused(NULL, "http://x", invalid, "missing registry name");
    registry_refused("", "http://x", invalid, "missing registry name");
    registry_refused("r", NULL, invalid,
                     "missing application endpoint: set it with the DISPATCH_ENDPOINT_URL "
                     "environment variable");
    registry_refused("r", "localhost:8000", invalid,
                     "missing protocol scheme in registry endpoint URL: localhost:8000");
    registry_refused("r", "ftp://x", invalid,
                     "invalid protocol scheme in registry endpoint URL: ftp://x");
    registry_refused("r", "http://", invalid, "missing host in registry endpoint URL: http://");
    registry_refused("r", "http:///x", invalid, "missing host in registry endpoint URL: http:///x");
    registry_refused("default", "http://x", DISPATCH_CODE_ALREADY_EXISTS,
                     "registry with name 'default' already exists");
}

static void test_registry_life(void **state)
{
    struct dispatch_registry_options options = {.name = "r"};
    struct dispatch_registry *registry = NULL, *other = NULL;
    struct dispatch_failure failure = {0};

    (void)state;
    setenv("DISPATCH_ENDPOINT_URL", "bridge://session", 1);
    assert_int_equal(dispatch_registry_create(&options, &registry, NULL), 0);
    assert_string_equal(dispatch_registry_name(registry), "r");
    assert_string_equal(dispatch_registry_endpoint(registry, NULL), "bridge://session");
    assert_int_equal(dispatch_registry_create(&options, &other, &failure),
                     DISPATCH_CODE_ALREADY_EXISTS);
    assert_string_equal(failure.message, "registry with name 'r' already exists");
    dispatch_registry_close(registry);
    assert_int_equal(dispatch_registry_create(&options, &other, NULL), 0);
    dispatch_registry_close(other);
    dispatch_registry_close(NULL);
}

static void test_functions(void **state)
{
    struct dispatch_registry_options options = {.name = "f", .endpoint = "http://localhost:8000"};
    struct dispatch_registry *registry = NULL;
    struct dispatch_failure failure = {0};
    struct sdk_function found;

    (void)state;
    assert_int_equal(dispatch_registry_create(&options, &registry, NULL), 0);
    assert_int_equal(dispatch_register(registry, "echo", echo, &failure), 0);
    assert_int_equal(dispatch_register(registry, "echo", echo, &failure),
                     DISPATCH_CODE_ALREADY_EXISTS);
    assert_string_equal(failure.message, "function already registered with name 'echo'");
    assert_int_equal(dispatch_register(registry, "an-hyphen", echo, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_int_equal(dispatch_register(registry, NULL, echo, NULL), DISPATCH_CODE_INVALID_ARGUMENT);
    assert_true(sdk_registry_find(registry, slice_str("echo"), &found));
    assert_ptr_equal(found.function, echo);
    assert_false(sdk_registry_find(registry, slice_str("ech"), &found));
    for (int i = 0; i < 300; i++) { /* more than the table's first size */
        char name[16];

        snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(dispatch_register(registry, name, echo, NULL), 0);
    }
    assert_true(sdk_registry_find(registry, slice_str("f299"), &found));
    dispatch_registry_close(registry);
}

static void test_early(void **state)
{
    struct dispatch_registry *registry = dispatch_registry_default();
    struct dispatch_failure failure = {0};
    struct sdk_function found;

    (void)state;
    assert_string_equal(dispatch_registry_name(NULL), "default");
    assert_true(sdk_registry_find(registry, slice_str("early"), &found));
    assert_ptr_equal(found.function, early);
    assert_int_equal(sdk_registry_check(registry, &failure), 0);
    dispatch_register_early_("early", early, NULL); /* what a second DISPATCH_REGISTER does */
    assert_int_equal(sdk_registry_check(registry, &failure), DISPATCH_CODE_ALREADY_EXISTS);
    assert_string_equal(failure.message, "function already registered with name 'early'");
    dispatch_registry_close(registry);
    assert_int_equal(sdk_registry_check(registry, &failure), 0);
    assert_false(sdk_registry_find(registry, slice_str("early"), &found));
}

static void client_refused(const char *key, const char *url, const char *message)
{
    struct dispatch_client_options options = {.api_key = key, .api_url = url};
    struct dispatch_client *client = NULL;
    struct dispatch_failure failure = {0};

    assert_int_equal(dispatch_client_create(&options, &client, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_string_equal(failure.message, message);
    assert_null(client);
}

static void test_client_errors(void **state)
{
    const char *no_key = "missing API key: set it with the DISPATCH_API_KEY environment variable";
    const char *no_url = "missing API URL: set it with the DISPATCH_API_URL environment variable";

    (void)state;
    client_refused(NULL, NULL, no_key);
    client_refused("", NULL, no_key);
    client_refused("k", "", no_url);
    client_refused("k", "ftp://x", "Invalid API scheme: 'ftp'");
    client_refused("k", "x", "Invalid API scheme: ''");
    setenv("DISPATCH_API_KEY", "", 1);
    client_refused(NULL, NULL, no_key);
    setenv("DISPATCH_API_KEY", "k", 1);
    setenv("DISPATCH_API_URL", "", 1);
    client_refused(NULL, NULL, no_url);
}

/* Authorities matter to https only; an empty variable is none. */
static void test_client_authorities(void **state)
{
    struct dispatch_client_options options = {.api_key = "k", .api_url = "https://x"};
    struct dispatch_client *client = NULL;
    struct dispatch_failure failure = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        options.ca_file = i == 0 ? "/nonexistent/ca.pem" : NULL;
        setenv("DISPATCH_CA_FILE", i == 0 ? "" : "/nonexistent/ca.pem", 1);
        assert_int_equal(dispatch_client_create(&options, &client, &failure),
                         DISPATCH_CODE_INVALID_ARGUMENT);
        assert_non_null(strstr(failure.message, "authorities from /nonexistent/ca.pem: No such"));
        assert_null(client);
    }
    options.api_url = "http://x";
    assert_int_equal(dispatch_client_create(&options, &client, NULL), 0);
    dispatch_client_destroy(client);
    options.api_url = "https://x";
    setenv("DISPATCH_CA_FILE", "", 1);
    assert_int_equal(dispatch_client_create(&options, &client, NULL), 0);
    dispatch_client_destroy(client);
    unsetenv("DISPATCH_CA_FILE");
}

static void url_is(const char *addr, const char *expected)
{
    char url[300];

    assert_int_equal(sdk_endpoint_url(addr, 81, url, sizeof url, NULL), 0);
    assert_string_equal(url, expected);
}

static void test_endpoint_addresses(void **state)
{
    (void)state;
    assert_string_equal(sdk_endpoint_addr(NULL), "localhost:8000");
    assert_string_equal(sdk_endpoint_addr("h:1"), "h:1");
    setenv("DISPATCH_ENDPOINT_ADDR", "127.0.0.1:9000", 1);
    assert_string_equal(sdk_endpoint_addr(NULL), "127.0.0.1:9000");
    url_is("localhost:0", "http://localhost:81");
    url_is("0.0.0.0:0", "http://localhost:81");
    url_is("[::1]:0", "http://[::1]:81");
    assert_int_equal(sdk_endpoint_url("no port", 81, (char[300]){0}, 300, NULL),
                     DISPATCH_CODE_INVALID_ARGUMENT);
}

static void test_batch(void **state)
{
    struct dispatch_registry_options options = {.name = "b", .endpoint = "http://localhost:8000"};
    struct dispatch_call call = dispatch_to("f", dispatch_int(1));
    struct dispatch_failure failure = {0};
    struct dispatch_registry *registry = NULL;
    struct dispatch_ids ids = {.count = 9};
    struct dispatch_batch *batch;

    (void)state;
    assert_int_equal(dispatch_registry_create(&options, &registry, NULL), 0);
    batch = dispatch_batch_create(registry);
    assert_non_null(batch);
    assert_int_equal(dispatch_batch_dispatch(batch, &ids, NULL), 0); /* without any client */
    assert_int_equal(ids.count, 0);
    assert_int_equal(dispatch_batch_add(batch, &call, NULL), 0);
    call.function = "no-function";
    assert_int_equal(dispatch_batch_add(batch, &call, &failure), DISPATCH_CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "'no-function' is not a function name"));
    call = dispatch_to("f", dispatch_json("["));
    assert_int_equal(dispatch_batch_add(batch, &call, &failure), DISPATCH_CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "input of 'f': a json value"));
    assert_int_equal(dispatch_batch_count(batch), 1);
    assert_int_equal(dispatch_batch_dispatch(batch, &ids, &failure),
                     DISPATCH_CODE_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "missing API key"));
    assert_int_equal(dispatch_batch_count(batch), 1); /* kept, as it failed */
    dispatch_batch_clear(batch);
    assert_int_equal(dispatch_batch_count(batch), 0);
    dispatch_batch_destroy(batch);
    dispatch_registry_close(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_registry_errors, clear_environment),
        cmocka_unit_test_setup(test_registry_life, clear_environment),
        cmocka_unit_test_setup(test_functions, clear_environment),
        cmocka_unit_test_setup(test_early, clear_environment),
        cmocka_unit_test_setup(test_client_errors, clear_environment),
        cmocka_unit_test_setup(test_client_authorities, clear_environment),
        cmocka_unit_test_setup(test_endpoint_addresses, clear_environment),
        cmocka_unit_test_setup(test_batch, clear_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
