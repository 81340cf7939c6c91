// SPDX-License-Identifier: Apache-2.0
/*
 * An embedded orchestrator as applications have it: the client with the orchestrator on its loop,
 * the endpoint that runs the functions, and the registry that is lent both. It is undone from the
 * outside in: the orchestrator stops, then the last functions end, then all is freed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sdk/client.h"
#include "sdk/embedded.h"
#include "sdk/endpoint.h"

enum { GRACE_MS = 5000 };

struct dispatch_embedded {
    struct dispatch_registry *registry;
    struct dispatch_endpoint *endpoint;
    struct dispatch_client *client;
    bool own_loop, run_in_step;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool settled, stopped; /* under the lock */
    char url[SDK_PROGRAM_MAX + 16];
};

/* On the loop's thread. */
static void note(struct dispatch_embedded *embedded, bool *what)
{
    pthread_mutex_lock(&embedded->lock);
    *what = true;
    pthread_cond_broadcast(&embedded->changed);
    pthread_mutex_unlock(&embedded->lock);
}

static void on_settled(void *arg)
{
    struct dispatch_embedded *embedded = arg;

    note(embedded, &embedded->settled);
}

static void on_stopped(void *arg)
{
    struct dispatch_embedded *embedded = arg;

    note(embedded, &embedded->stopped);
}

/* Until it is noted, or that time has passed (negative: without an end). */
static bool wait_for(struct dispatch_embedded *embedded, const bool *what, int64_t timeout_ms)
{
    int64_t capped = timeout_ms < UINT32_MAX ? timeout_ms : UINT32_MAX;
    struct timespec until = sdk_after_ms(timeout_ms < 0 ? 0 : (uint32_t)capped);
    int rc = 0;
    bool noted;

    pthread_mutex_lock(&embedded->lock);
    while (!*what && rc == 0)
        rc = timeout_ms < 0 ? pthread_cond_wait(&embedded->changed, &embedded->lock)
                            : pthread_cond_timedwait(&embedded->changed, &embedded->lock, &until);
    noted = *what;
    pthread_mutex_unlock(&embedded->lock);
    return noted;
}

/* --- opening --------------------------------------------------------------------------------- */

static int create_endpoint(struct dispatch_embedded *embedded,
                           const struct dispatch_embedded_options *options,
                           struct dispatch_failure *failure)
{
    struct dispatch_endpoint_options endpoint = {
        SDK_FUNCTION_OPTIONS(options), .on_warning = options->on_warning, .arg = options->arg,
        .verification_key = ""}; /* no HTTP */

    return embedded->run_in_step
               ? sdk_endpoint_create_threadless(&endpoint, &embedded->endpoint, failure)
               : dispatch_endpoint_create(&endpoint, &embedded->endpoint, failure);
}

static int start(struct dispatch_embedded *embedded,
                 const struct dispatch_embedded_options *options, struct dispatch_failure *failure)
{
    struct sdk_embedded_options inner = {.url = embedded->url,
                                         .grace_ms = GRACE_MS,
                                         .settled = on_settled,
                                         .stopped = on_stopped,
                                         .arg = embedded};
    struct sdk_place_of_calls place;
    int rc = 0;

    if (options->run_in_step && !options->own_loop)
        rc = sdk_fail(failure, CODE_INVALID_ARGUMENT, "run_in_step is nothing without own_loop");
    if (!rc)
        rc = sdk_find_calls(options, &place, failure);
    if (rc)
        return rc;
    snprintf(embedded->url, sizeof embedded->url, "bridge://%s", place.program);
    rc = create_endpoint(embedded, options, failure);
    if (rc)
        return rc;
    inner.endpoint = embedded->endpoint;
    inner.store = place.store;
    inner.store_wait_ms = place.wait_ms;
    inner.store_inline = options->own_loop;
    rc = sdk_client_embed(&inner, &embedded->client, failure);
    /* First: functions that run at once may use them. */
    if (!rc)
        rc = sdk_registry_lend_client(embedded->registry, embedded->client, failure);
    if (!rc)
        rc = sdk_registry_lend_endpoint(embedded->registry, embedded->url, failure);
    if (!rc && !options->own_loop)
        rc = sdk_client_start(embedded->client, failure);
    return rc;
}

int dispatch_embedded_open(const struct dispatch_embedded_options *options,
                           struct dispatch_embedded **embedded, struct dispatch_failure *failure)
{
    static const struct dispatch_embedded_options defaults;
    struct dispatch_embedded *made = calloc(1, sizeof *made);
    pthread_condattr_t monotonic;
    int rc;

    if (!made)
        return sdk_fail_memory(failure);
    if (!options)
        options = &defaults;
    made->registry = sdk_registry(options->registry);
    made->own_loop = options->own_loop;
    made->run_in_step = options->run_in_step;
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = start(made, options, failure);
    if (rc)
        dispatch_embedded_close(made);
    else
        *embedded = made;
    return rc;
}

/* --- closing --------------------------------------------------------------------------------- */

static void stop_on_loop(void *arg)
{
    struct dispatch_embedded *embedded = arg;

    sdk_embedded_stop(embedded->client->embedded);
}

/* In the way that leaves nothing to be done again, if there is memory to ask for it. */
static void stop(struct dispatch_embedded *embedded)
{
    if (!net_post(embedded->client->loop, stop_on_loop, embedded))
        return;
    if (embedded->own_loop) {
        while (!embedded->stopped)
            sdk_client_turn(embedded->client, true);
        return;
    }
    wait_for(embedded, &embedded->stopped, -1);
}

void dispatch_embedded_close(struct dispatch_embedded *embedded)
{
    struct dispatch_client *client;

    if (!embedded)
        return;
    client = embedded->client;
    if (client && client->pid != getpid())
        return;
    if (client && (client->started || embedded->own_loop))
        stop(embedded);
    dispatch_endpoint_destroy(embedded->endpoint);
    sdk_registry_take_back(embedded->registry, client);
    dispatch_client_destroy(client);
    pthread_cond_destroy(&embedded->changed);
    pthread_mutex_destroy(&embedded->lock);
    free(embedded);
}

/* --- what it is for -------------------------------------------------------------------------- */

struct dispatch_client *dispatch_embedded_client(const struct dispatch_embedded *embedded)
{
    return embedded->client;
}

const char *dispatch_embedded_url(const struct dispatch_embedded *embedded)
{
    return embedded->url;
}

static void set_late(void *arg)
{
    *(bool *)arg = true;
}

static void settle_on_loop(void *arg)
{
    struct dispatch_embedded *embedded = arg;

    sdk_embedded_settle(embedded->client->embedded);
}

/* Turns the loop until it is settled, or the timer has fired; sets *settled. */
static int settle_here(struct dispatch_embedded *embedded, int64_t timeout_ms, bool *settled,
                       struct dispatch_failure *failure)
{
    bool late = false;
    struct net_timer *timer = net_timer_create(embedded->client->loop, set_late, &late);

    if (!timer)
        return sdk_fail_memory(failure);
    if (timeout_ms >= 0)
        net_timer_set(timer, (uint64_t)timeout_ms);
    while (!embedded->settled && !late)
        sdk_client_turn(embedded->client, true);
    net_timer_destroy(timer);
    *settled = embedded->settled;
    return 0;
}

int dispatch_embedded_settle(struct dispatch_embedded *embedded, int64_t timeout_ms,
                             struct dispatch_failure *failure)
{
    int rc = sdk_client_check_waiting(embedded->client, failure);
    bool settled = false;

    if (rc)
        return rc;
    pthread_mutex_lock(&embedded->lock);
    embedded->settled = false; /* of an earlier one that gave up */
    pthread_mutex_unlock(&embedded->lock);
    if (!net_post(embedded->client->loop, settle_on_loop, embedded))
        return sdk_fail_memory(failure);
    if (sdk_client_turns_here(embedded->client))
        rc = settle_here(embedded, timeout_ms, &settled, failure);
    else
        settled = wait_for(embedded, &embedded->settled, timeout_ms);
    if (rc || settled)
        return rc;
    return sdk_fail(failure, CODE_DEADLINE_EXCEEDED, "not all calls are done after %lld ms",
                    (long long)timeout_ms);
}

int dispatch_embedded_descriptor(const struct dispatch_embedded *embedded)
{
    return net_loop_descriptor(embedded->client->loop);
}

int64_t dispatch_embedded_deadline_ms(const struct dispatch_embedded *embedded)
{
    return sdk_endpoint_has_work(embedded->endpoint) ? 0
                                                     : net_loop_timeout_ms(embedded->client->loop);
}

void dispatch_embedded_step(struct dispatch_embedded *embedded)
{
    sdk_client_turn(embedded->client, false);
}
