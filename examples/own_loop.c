// SPDX-License-Identifier: Apache-2.0
/*
 * A program with an event loop of its own, libuv's: the orchestrator is in the program and takes no
 * thread. The loop watches its descriptor and sets a timer for its deadline; either way a step is
 * made. Functions run inside the steps, too, so nothing here needs a lock.
 *
 *     own_loop N     doubles each of 1 to N by a durable call, and adds up the results
 */
#include <dispatch_sdk.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct program {
    uv_loop_t loop;
    uv_poll_t orchestrator; /* its descriptor */
    uv_timer_t deadline;
    uv_poll_t outcomes; /* the client's descriptor */
    struct dispatch_embedded *embedded;
    struct dispatch_client *client;
    int64_t waiting, sum;
    struct dispatch_failure failure;
};

static struct dispatch_result doubled(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t n;

    if (!dispatch_as_int(input, &n))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoNumber", "expected a number");
    return dispatch_ok(dispatch_int(2 * n));
}
DISPATCH_REGISTER(doubled);

/* --- the orchestrator on the loop ------------------------------------------------------------ */

static void step(struct program *p);

static void on_deadline(uv_timer_t *timer)
{
    step(timer->data);
}

static void on_work(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    step(poll->data);
}

static void step(struct program *p)
{
    int64_t deadline_ms;

    dispatch_embedded_step(p->embedded);
    deadline_ms = dispatch_embedded_deadline_ms(p->embedded);
    if (deadline_ms >= 0)
        uv_timer_start(&p->deadline, on_deadline, (uint64_t)deadline_ms, 0);
    else
        uv_timer_stop(&p->deadline);
}

/* --- what the program does ------------------------------------------------------------------- */

static void wait_for_all(struct program *p, const struct dispatch_ids *ids)
{
    struct dispatch_operation *operation;

    for (size_t i = 0; i < ids->count; i++)
        if (dispatch_client_begin_wait(p->client, ids->id[i], -1, NULL, &operation, &p->failure)) {
            uv_stop(&p->loop);
            return;
        }
    step(p); /* begun outside of a step: the deadline is another now */
}

static void take(struct program *p, struct dispatch_operation *operation)
{
    struct dispatch_ids ids = {0};
    struct dispatch_result result = {0};
    int64_t n = 0;

    if (dispatch_operation_ids(operation, &ids, NULL) == 0) { /* else it is no Dispatch */
        wait_for_all(p, &ids);
        dispatch_ids_free(&ids);
    } else if (dispatch_operation_result(operation, &result, &p->failure)) {
        uv_stop(&p->loop);
    } else {
        dispatch_as_int(result.output, &n);
        dispatch_result_free(&result);
        p->sum += n;
        if (--p->waiting == 0)
            uv_stop(&p->loop);
    }
    dispatch_operation_destroy(operation);
}

static void on_outcome(uv_poll_t *poll, int status, int events)
{
    struct program *p = poll->data;
    struct dispatch_operation *operation;

    (void)status, (void)events;
    while ((operation = dispatch_client_next(p->client)) != NULL)
        take(p, operation);
}

static int begin(struct program *p, int64_t count)
{
    struct dispatch_call *calls = calloc((size_t)count, sizeof *calls);
    struct dispatch_operation *operation;
    int rc = calls ? 0 : DISPATCH_CODE_RESOURCE_EXHAUSTED;

    for (int64_t i = 0; i < count && calls; i++)
        calls[i] = dispatch_to("doubled", dispatch_int(i + 1));
    if (!rc)
        rc = dispatch_client_begin_dispatch(p->client, calls, (size_t)count, NULL, &operation,
                                            &p->failure);
    free(calls);
    return rc;
}

static void run(struct program *p)
{
    uv_loop_init(&p->loop);
    uv_timer_init(&p->loop, &p->deadline);
    uv_poll_init(&p->loop, &p->orchestrator, dispatch_embedded_descriptor(p->embedded));
    uv_poll_init(&p->loop, &p->outcomes, dispatch_client_descriptor(p->client));
    p->deadline.data = p->orchestrator.data = p->outcomes.data = p;
    uv_poll_start(&p->orchestrator, UV_READABLE, on_work);
    uv_poll_start(&p->outcomes, UV_READABLE, on_outcome);
    step(p);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&p->deadline, NULL);
    uv_close((uv_handle_t *)&p->orchestrator, NULL);
    uv_close((uv_handle_t *)&p->outcomes, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
}

int main(int argc, char **argv)
{
    struct dispatch_embedded_options options = {.own_loop = true, .run_in_step = true};
    struct program p = {.waiting = argc > 1 ? strtol(argv[1], NULL, 10) : 10};

    if (p.waiting < 1 || p.waiting > 10000) {
        fputs("usage: own_loop NUMBER (1 to 10000)\n", stderr);
        return 2;
    }
    if (dispatch_embedded_open(&options, &p.embedded, &p.failure) == 0) {
        p.client = dispatch_embedded_client(p.embedded);
        if (begin(&p, p.waiting) == 0)
            run(&p);
    }
    dispatch_embedded_close(p.embedded);
    if (p.failure.code) {
        fprintf(stderr, "own_loop: %s\n", p.failure.message);
        return 1;
    }
    printf("the sum is %lld\n", (long long)p.sum);
    return 0;
}
