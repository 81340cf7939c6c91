// SPDX-License-Identifier: Apache-2.0
/*
 * The benchmarks' application with its orchestrator inside it: the load is in the same process, and
 * its figures are those of all (workload.h). One line of JSON on stdout tells the outcome; for
 * `idle` it is how much memory opening the store took, and the process then waits until stdin ends.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dispatch_sdk.h>

#include "workload.h"

struct load {
    struct settings settings;
    struct dispatch_client *client;
    struct dispatch_call *calls; /* of one request */
    long requests, sent, answered;
    struct samples latencies;
};

struct slot { /* a request under way */
    struct load *load;
    int64_t began;
    bool waiting; /* for the result; else for the ids */
};

static struct dispatch_failure why;

static void must(int code)
{
    if (code)
        die("%s", why.message);
}

static void begin(struct load *l, struct slot *slot)
{
    struct dispatch_operation *operation;

    l->sent++;
    *slot = (struct slot){.load = l, .began = measure_now_ns()};
    must(dispatch_client_begin_dispatch(l->client, l->calls, (size_t)l->settings.batch, slot,
                                        &operation, &why));
}

static void answered(struct load *l, struct slot *slot)
{
    samples_add(&l->latencies, measure_now_ns() - slot->began);
    l->answered++;
    if (l->sent < l->requests)
        begin(l, slot);
}

static void finished(struct load *l, struct dispatch_operation *operation)
{
    struct slot *slot = dispatch_operation_arg(operation);
    struct dispatch_operation *wait;
    struct dispatch_result result;
    struct dispatch_ids ids;

    if (slot->waiting) {
        must(dispatch_operation_result(operation, &result, &why));
        if (result.error)
            die("%s", result.error->message);
        dispatch_result_free(&result);
        answered(l, slot);
        return;
    }
    must(dispatch_operation_ids(operation, &ids, &why));
    slot->waiting = settings_alone(&l->settings);
    if (slot->waiting)
        must(dispatch_client_begin_wait(l->client, ids.id[0], -1, slot, &wait, &why));
    else
        answered(l, slot);
    dispatch_ids_free(&ids);
}

static void run_requests(struct load *l)
{
    struct pollfd ready = {.fd = dispatch_client_descriptor(l->client), .events = POLLIN};
    struct slot *slots = calloc((size_t)l->settings.connections, sizeof *slots);
    struct dispatch_operation *operation;

    if (!slots || ready.fd < 0)
        die("out of memory");
    for (long i = 0; i < l->settings.connections && l->sent < l->requests; i++)
        begin(l, &slots[i]);
    while (l->answered < l->requests) {
        poll(&ready, 1, -1);
        while ((operation = dispatch_client_next(l->client))) {
            finished(l, operation);
            dispatch_operation_destroy(operation);
        }
    }
    free(slots);
}

static void run(struct load *l)
{
    struct watch *watch = settings_alone(&l->settings) ? NULL : watch_create(&l->settings);
    struct usage before = usage_now(&l->settings), after;

    run_requests(l);
    while (watch && !watch_over(watch))
        poll(NULL, 0, WATCH_MS);
    after = usage_now(&l->settings);
    if (watch) {
        watch_check(watch);
        watch_destroy(watch);
    }
    report(&l->settings, &before, &after, &l->latencies);
}

static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;

    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kib);
    if (f)
        fclose(f);
    return kib;
}

/* Opening returns before the calls are loaded; this question is answered after. */
static void wait_until_loaded(struct dispatch_client *client)
{
    struct dispatch_call_info info;
    int code = dispatch_client_get(client, "none", false, &info, &why);

    if (code != DISPATCH_CODE_NOT_FOUND && code != DISPATCH_CODE_INVALID_ARGUMENT)
        die("%s", why.message);
}

static void wait_for_end_of_stdin(void)
{
    char byte;

    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

static void prepare(struct load *l)
{
    struct dispatch_value input =
        l->settings.input >= 0 ? dispatch_int(l->settings.input) : dispatch_string(PAYLOAD);

    l->requests = settings_requests(&l->settings);
    l->calls = calloc((size_t)l->settings.batch, sizeof *l->calls);
    if (!l->calls)
        die("out of memory");
    for (long i = 0; i < l->settings.batch; i++)
        l->calls[i] = dispatch_to(l->settings.function, input);
    samples_init(&l->latencies, (size_t)l->requests);
}

int main(int argc, char **argv)
{
    struct dispatch_embedded_options options = {0};
    struct dispatch_embedded *embedded;
    struct load l = {0};
    long before;

    settings_read(&l.settings, argc, argv);
    options.store = l.settings.store;
    before = resident_kib();
    must(dispatch_embedded_open(&options, &embedded, &why));
    l.client = dispatch_embedded_client(embedded);
    wait_until_loaded(l.client);
    if (l.settings.workload == IDLE) {
        printf("{\"opened_kib\": %ld}\n", resident_kib() - before);
        fflush(stdout);
        wait_for_end_of_stdin();
    } else {
        prepare(&l);
        run(&l);
        samples_free(&l.latencies);
        free(l.calls);
    }
    dispatch_embedded_close(embedded);
    return 0;
}
