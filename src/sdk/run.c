// SPDX-License-Identifier: Apache-2.0
/*
 * Running an application: decide how (the environment, the options), serve its functions, and, for
 * dispatch_run, dispatch one call and wait for its result. Everything is undone in the reverse
 * order, whatever fails.
 */
#include "sdk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/net.h"

enum { DAY_MS = 86400000, EXPIRATION_SLACK_MS = 60000, STOP_GRACE_MS = 5000 };

/* --- addresses ------------------------------------------------------------------------------- */

const char *sdk_endpoint_addr(const char *addr)
{
    if (!addr)
        addr = getenv("DISPATCH_ENDPOINT_ADDR");
    return addr && *addr ? addr : "localhost:8000";
}

int sdk_endpoint_url(const char *addr, uint16_t port, char *url, size_t size,
                     struct dispatch_failure *failure)
{
    struct error err = {0};
    char host[256];
    uint16_t asked;
    bool any;

    if (net_address_parse(addr, host, &asked, &err))
        return sdk_fail_from(failure, &err);
    any = !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    if (any)
        snprintf(url, size, "http://localhost:%u", port);
    else
        snprintf(url, size, strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u", host, port);
    return 0;
}

/* --- serving --------------------------------------------------------------------------------- */

static int make_client(struct sdk_app *app, const struct dispatch_run_options *options,
                       struct dispatch_failure *failure)
{
    struct dispatch_client_options client = {.api_key = options->api_key,
                                             .api_url = options->api_url};
    int rc;

    app->client = options->client;
    if (!app->client && !options->api_key && !options->api_url)
        app->client = sdk_registry_given_client(app->registry);
    if (!app->client) {
        rc = dispatch_client_create(&client, &app->client, failure);
        if (rc)
            return rc;
        app->client_made = true;
    }
    return sdk_registry_lend_client(app->registry, app->client, failure);
}

/* After listening, as the port may be chosen by then only. */
static int choose_endpoint_url(struct sdk_app *app, const struct dispatch_run_options *options,
                               struct dispatch_failure *failure)
{
    uint16_t port = dispatch_endpoint_port(app->endpoint);
    char url[300];
    int rc;

    if (options->endpoint_url)
        return sdk_registry_lend_endpoint(app->registry, options->endpoint_url, failure);
    if (sdk_registry_has_endpoint(app->registry))
        return 0;
    rc =
        sdk_endpoint_url(sdk_endpoint_addr(options->endpoint_addr), port, url, sizeof url, failure);
    return rc ? rc : sdk_registry_lend_endpoint(app->registry, url, failure);
}

static int embed(struct sdk_app *app, const struct dispatch_run_options *options,
                 struct dispatch_failure *failure)
{
    struct dispatch_embedded_options embedded = {
        SDK_FUNCTION_OPTIONS(options), .store = options->store, .program = options->program,
        .store_wait_ms = options->store_wait_ms};
    int rc = dispatch_embedded_open(&embedded, &app->embedded, failure);

    if (!rc)
        app->client = dispatch_embedded_client(app->embedded);
    return rc;
}

static int serve(struct sdk_app *app, const struct dispatch_run_options *options,
                 struct dispatch_failure *failure)
{
    struct dispatch_endpoint_options endpoint = {SDK_FUNCTION_OPTIONS(options)};
    int rc = make_client(app, options, failure);

    if (!rc)
        rc = dispatch_endpoint_create(&endpoint, &app->endpoint, failure);
    if (!rc)
        rc = dispatch_endpoint_listen(app->endpoint, options->endpoint_addr, failure);
    if (!rc)
        rc = choose_endpoint_url(app, options, failure);
    return rc;
}

int sdk_app_start(struct sdk_app *app, const struct dispatch_run_options *options,
                  struct dispatch_failure *failure)
{
    bool embedded = false;
    int rc = sdk_run_embedded(options, &embedded, failure);

    app->registry = sdk_registry(options->registry);
    if (rc)
        return rc;
    return embedded ? embed(app, options, failure) : serve(app, options, failure);
}

void sdk_app_stop(struct sdk_app *app)
{
    dispatch_embedded_close(app->embedded);
    if (app->endpoint)
        dispatch_endpoint_stop(app->endpoint, STOP_GRACE_MS);
    dispatch_endpoint_destroy(app->endpoint);
    if (app->registry)
        sdk_registry_take_back(app->registry, app->client);
    if (app->client_made)
        dispatch_client_destroy(app->client);
}

int dispatch_serve(const struct dispatch_run_options *options, struct dispatch_failure *failure)
{
    static const struct dispatch_run_options defaults;
    struct sdk_app app = {0};
    int rc = sdk_app_start(&app, options ? options : &defaults, failure);

    if (rc) {
        sdk_app_stop(&app);
        return rc;
    }
    for (;;)
        pause();
}

/* --- running one call ------------------------------------------------------------------------ */

static int dispatch_and_wait(struct sdk_app *app, struct dispatch_call call,
                             struct dispatch_result *result, struct dispatch_failure *failure)
{
    int64_t timeout_ms = call.expiration_ms > 0 ? call.expiration_ms : DAY_MS;
    struct dispatch_ids ids = {0};
    int rc;

    if (!call.endpoint)
        call.endpoint = dispatch_registry_endpoint(app->registry, failure);
    rc = dispatch_client_dispatch(app->client, &call, 1, &ids, failure);
    if (!rc)
        rc = dispatch_client_wait(app->client, ids.id[0], timeout_ms + EXPIRATION_SLACK_MS, result,
                                  failure);
    dispatch_ids_free(&ids);
    return rc;
}

struct dispatch_result dispatch_run_with(const struct dispatch_run_options *options,
                                         struct dispatch_call call)
{
    static const struct dispatch_run_options defaults;
    struct dispatch_failure failure = {0};
    struct dispatch_result result = {0};
    struct sdk_app app = {0};

    if (sdk_app_start(&app, options ? options : &defaults, &failure))
        result = sdk_failed("Configuration", &failure);
    else if (dispatch_and_wait(&app, call, &result, &failure))
        result = sdk_failed("Client", &failure);
    sdk_app_stop(&app);
    return result;
}

struct dispatch_result dispatch_run(struct dispatch_call call)
{
    return dispatch_run_with(NULL, call);
}
