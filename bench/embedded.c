// SPDX-License-Identifier: Apache-2.0
/*
 * The orchestrator inside a program: what it takes, and how fast it is.
 *
 *   bench-embedded STORE CALLS   prints one line of JSON: memory while it is idle; CALLS calls in
 *                                batches of 500, to the last one's end; a call at a time
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dispatch_sdk.h>

#include "measure.h"

enum { BATCH = 500, SINGLE_MAX = 200 };

static struct dispatch_result noop(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}
DISPATCH_REGISTER(noop);

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

static double batched(struct dispatch_embedded *embedded, long calls)
{
    struct dispatch_call call =
        dispatch_to("noop", dispatch_string("a string of thirty-two bytes..."));
    struct dispatch_failure why = {0};
    int64_t start = measure_now_ns();

    for (long left = calls; left > 0; left -= BATCH) {
        struct dispatch_batch *batch = dispatch_batch_create(NULL);

        for (long i = 0; i < BATCH && i < left; i++)
            if (!batch || dispatch_batch_add(batch, &call, &why))
                die("%s", why.message);
        if (dispatch_batch_dispatch(batch, NULL, &why))
            die("%s", why.message);
        dispatch_batch_destroy(batch);
    }
    if (dispatch_embedded_settle(embedded, -1, &why))
        die("%s", why.message);
    return (double)calls * 1e9 / (double)(measure_now_ns() - start);
}

static double single_us(long calls)
{
    struct samples samples;
    double median;

    samples_init(&samples, (size_t)calls);
    for (long i = 0; i < calls; i++) {
        int64_t start = measure_now_ns();
        struct dispatch_result result = dispatch_call(NULL, "noop", dispatch_int(i));

        if (result.error)
            die("%s", result.error->message);
        dispatch_result_free(&result);
        samples_add(&samples, measure_now_ns() - start);
    }
    median = samples_percentile_us(&samples, 50);
    samples_free(&samples);
    return median;
}

int main(int argc, char **argv)
{
    struct dispatch_embedded_options options = {0};
    struct dispatch_embedded *embedded;
    struct dispatch_failure why = {0};
    long calls = argc == 3 ? strtol(argv[2], NULL, 10) : 0, before = resident_kib(), idle;
    double rate, median;

    if (calls < 1)
        die("usage: bench-embedded STORE CALLS");
    options.store = argv[1];
    if (dispatch_embedded_open(&options, &embedded, &why) ||
        dispatch_embedded_settle(embedded, -1, &why))
        die("%s", why.message);
    idle = resident_kib() - before;
    rate = batched(embedded, calls);
    median = single_us(calls < SINGLE_MAX ? calls : SINGLE_MAX);
    dispatch_embedded_close(embedded);
    printf("{\"idle_kib\": %ld, \"calls_per_s\": %.0f, \"call_p50_us\": %.1f}\n", idle, rate,
           median);
    return 0;
}
