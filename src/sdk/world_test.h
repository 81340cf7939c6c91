// SPDX-License-Identifier: Apache-2.0
/*
 * A world for functions to run in: the smallest orchestrator that keeps the rules (protocol 3.4,
 * 3.5), on a clock of its own, around one or more endpoints of this process, bytes in and bytes
 * out. What goes wrong is asked for: stacks dropped between any two runs, each answer lost once,
 * endpoints taking turns, results in any order.
 *
 * With ORCHESTRATED in the environment (tests/sdk/modes.sh) nothing is played: a world is an
 * application with a real orchestrator, that of the mode that the environment asks for. Then there
 * are fewer worlds (world_exists), and all that can be done in one is world_call.
 */
#ifndef SDK_WORLD_TEST_H
#define SDK_WORLD_TEST_H

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "sdk/internal.h"
#include "sdk/journal.h"

#define WORLD_LATE INT64_C(50000000)
#define WORLD_T0   INT64_C(1700000000000000000)

enum { WORLD_CALLS = 12000, WORLD_ENDPOINTS = 2, WORLD_PATIENCE_MS = 60000 };

enum world_state { WORLD_READY, WORLD_SUSPENDED, WORLD_DONE };

struct world_call {
    struct blob *input, *state, *result; /* an Any; an Any; a CallResult */
    char function[64];
    struct world_call *parent;
    uint64_t correlation;
    uint32_t generation, parent_generation, resumes, failures;
    uint32_t pieces; /* appended to the state since it came whole: an orchestrator keeps 255 */
    enum world_state at;
    bool resumed, cancelled, wake_on_error, any_error, refused;
    int64_t due;
    uint32_t outstanding;
    int32_t min_results, max_results;
    struct blob **inbox;
    size_t inbox_count;
};

struct world {
    /* What the test chooses, before world_start. */
    struct dispatch_registry *registry;
    int endpoints;     /* 1 or 2, which take every run in turns */
    bool fresh;        /* a new endpoint for every run: nothing is kept */
    uint32_t fresh_of; /* the same for one run in so many, drawn; 0: none */
    bool lose_answers; /* each answer is lost once, and the run made again */
    bool foreign;      /* not this project's orchestrator: no clock, no extensions */
    bool shuffle;      /* whose turn it is, and the order of results, are drawn */
    uint32_t retries;  /* of one call, before the world gives up; 0: 100 */
    struct dispatch_endpoint_options options;
    const char *refuse; /* polls with a call of this function are refused once */

    struct sdk_app app; /* with a real orchestrator, and none of what follows but the root */
    struct dispatch_endpoint *endpoint[WORLD_ENDPOINTS];
    struct rand rand;
    int64_t now;
    struct world_call *calls;
    uint32_t *live; /* the calls that are not done, and maybe some that just became so */
    size_t live_count;
    size_t count, runs, polls, largest_poll, sent, largest_state, cancels;
    char last_error[600];        /* type: message, of the latest run that failed for now */
    struct dispatch_result root; /* of the first call */
    struct arena memory;
};

static void world_endpoint(struct world *w, int i)
{
    w->options.registry = w->registry;
    dispatch_endpoint_destroy(w->endpoint[i]);
    w->endpoint[i] = NULL;
    assert_int_equal(dispatch_endpoint_create(&w->options, &w->endpoint[i], NULL), 0);
}

static bool world_is_real(void)
{
    return getenv("ORCHESTRATED") != NULL;
}

/* Whether there is such a one, too, where nothing can be made to go wrong. */
static inline bool world_exists(const struct world *w)
{
    return !world_is_real() ||
           !(w->endpoints > 1 || w->lose_answers || w->foreign || w->shuffle || w->fresh_of);
}

/* One of those that do not exist is like the first of all. */
static void world_start_real(struct world *w)
{
    struct dispatch_run_options options = {
        .registry = w->registry,
        .workers = w->options.workers ? w->options.workers : 1,
        .max_suspended = w->options.max_suspended,
    };
    struct dispatch_failure failure = {0};

    if (w->fresh)
        setenv("DISPATCH_REPLAY", "always", 1);
    if (sdk_app_start(&w->app, &options, &failure))
        fail_msg("%s", failure.message);
    if (w->fresh)
        unsetenv("DISPATCH_REPLAY");
}

static void world_start(struct world *w, uint64_t seed)
{
    if (world_is_real()) {
        world_start_real(w);
        return;
    }
    rand_seed(&w->rand, seed);
    w->now = WORLD_T0;
    if (w->endpoints == 0)
        w->endpoints = 1;
    if (w->retries == 0)
        w->retries = 100;
    if (w->options.workers == 0)
        w->options.workers = 1;
    w->calls = calloc(WORLD_CALLS, sizeof *w->calls);
    w->live = calloc(WORLD_CALLS, sizeof *w->live);
    assert_non_null(w->calls);
    assert_non_null(w->live);
    arena_init(&w->memory, (size_t)256 << 20);
    for (int i = 0; i < w->endpoints; i++)
        world_endpoint(w, i);
}

static void world_end(struct world *w)
{
    if (world_is_real()) {
        dispatch_result_free(&w->root);
        sdk_app_stop(&w->app);
        return;
    }
    for (int i = 0; i < WORLD_ENDPOINTS; i++)
        dispatch_endpoint_destroy(w->endpoint[i]);
    for (size_t i = 0; i < w->count; i++) {
        struct world_call *c = &w->calls[i];

        blob_unref(c->input);
        blob_unref(c->state);
        blob_unref(c->result);
        for (size_t j = 0; j < c->inbox_count; j++)
            blob_unref(c->inbox[j]);
        free(c->inbox);
    }
    free(w->calls);
    free(w->live);
    arena_reset(&w->memory);
}

/* --- one run ---------------------------------------------------------------------------------- */

struct world_answer {
    sem_t there;
    int http_status;
    struct blob *body;
};

static void world_reply(void *arg, const struct dispatch_reply *reply)
{
    struct world_answer *answer = arg;

    answer->http_status = reply->http_status;
    answer->body = blob_copy(slice(reply->body, reply->size));
    sem_post(&answer->there);
}

static void *world_unpack(const ProtobufCMessageDescriptor *type, const struct blob *blob,
                          struct arena *arena)
{
    void *message = NULL;

    assert_int_equal(wire_unpack(type, blob_slice(blob), arena, &message, NULL), 0);
    return message;
}

static struct blob *world_send(struct world *w, const wire_run_request *request)
{
    struct blob *packed = wire_pack_blob(request);
    struct world_answer answer = {0};
    int turn = (int)(w->runs % (size_t)w->endpoints);

    if (w->fresh || (w->fresh_of > 0 && rand_below(&w->rand, w->fresh_of) == 0))
        world_endpoint(w, turn);
    sem_init(&answer.there, 0, 0);
    dispatch_endpoint_handle(w->endpoint[turn], packed->data, packed->len, world_reply, &answer);
    while (sem_wait(&answer.there))
        assert_int_equal(errno, EINTR);
    sem_destroy(&answer.there);
    blob_unref(packed);
    w->runs++;
    assert_int_equal(answer.http_status, 200);
    return answer.body;
}

static struct blob *world_run(struct world *w, struct world_call *c, size_t results)
{
    wire_run_request request = DISPATCH__SDK__V1__RUN_REQUEST__INIT;
    wire_poll_result poll = DISPATCH__SDK__V1__POLL_RESULT__INIT;
    wire_timestamp now = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    wire_error refusal = DISPATCH__SDK__V1__ERROR__INIT;
    wire_call_result *list[1000];
    char id[32], type[] = "invalid_argument", message[] = "no such endpoint";
    struct blob *body;
    struct arena arena;

    arena_init(&arena, (size_t)64 << 20);
    snprintf(id, sizeof id, "call-%zu", (size_t)(c - w->calls));
    request.function = c->function;
    request.dispatch_id = request.root_dispatch_id = id;
    if (!w->foreign) {
        wire_set_time(&now, w->now);
        request.now = &now;
        request.generation = c->generation;
        request.resume = c->resumes;
    }
    if (c->resumed) {
        poll.state_case = DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE;
        poll.typed_coroutine_state =
            world_unpack(&google__protobuf__any__descriptor, c->state, &arena);
        for (size_t i = 0; i < results; i++)
            list[i] =
                world_unpack(&dispatch__sdk__v1__call_result__descriptor, c->inbox[i], &arena);
        poll.results = list;
        poll.n_results = results;
        refusal.type = type;
        refusal.message = message;
        poll.error = c->refused ? &refusal : NULL;
        request.directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT;
        request.poll_result = &poll;
    } else {
        request.directive_case = DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_INPUT;
        request.input = world_unpack(&google__protobuf__any__descriptor, c->input, &arena);
    }
    body = world_send(w, &request);
    if (w->lose_answers) {
        blob_unref(body);
        body = world_send(w, &request);
    }
    arena_reset(&arena);
    return body;
}

/* --- what follows from it --------------------------------------------------------------------- */

static struct world_call *world_add(struct world *w, const wire_call *call,
                                    struct world_call *parent)
{
    static wire_any empty = GOOGLE__PROTOBUF__ANY__INIT;
    struct world_call *c = &w->calls[w->count++];

    assert_true(w->count <= WORLD_CALLS);
    w->live[w->live_count++] = (uint32_t)(c - w->calls);
    *c = (struct world_call){.parent = parent, .correlation = call->correlation_id};
    snprintf(c->function, sizeof c->function, "%s", call->function);
    c->input = wire_pack_blob(call->input ? call->input : &empty);
    if (parent) {
        c->parent_generation = parent->generation;
        parent->outstanding++;
    }
    return c;
}

static void world_restart(struct world_call *c)
{
    c->generation++;
    c->resumes = 0;
    c->resumed = false;
    c->outstanding = 0;
    for (size_t i = 0; i < c->inbox_count; i++)
        blob_unref(c->inbox[i]);
    c->inbox_count = 0;
    c->refused = false;
}

static void world_finish(struct world_call *c, const wire_run_response *response)
{
    wire_call_result result = DISPATCH__SDK__V1__CALL_RESULT__INIT;
    wire_error bare = DISPATCH__SDK__V1__ERROR__INIT;
    struct world_call *parent = c->parent;
    char id[] = "child", type[] = "status";

    if (response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT &&
        response->exit->result)
        result = *response->exit->result;
    result.correlation_id = c->correlation;
    result.dispatch_id = id;
    if (response->status != DISPATCH__SDK__V1__STATUS__STATUS_OK && !result.error) {
        bare.type = bare.message = type;
        result.error = &bare;
    }
    if (result.error && !result.error->status)
        result.error->status = response->status;
    c->at = WORLD_DONE;
    c->result = wire_pack_blob(&result);
    if (!parent || c->cancelled || parent->at == WORLD_DONE ||
        parent->generation != c->parent_generation)
        return;
    parent->outstanding--;
    parent->any_error |= result.error != NULL;
    parent->inbox = realloc(parent->inbox, (parent->inbox_count + 1) * sizeof *parent->inbox);
    parent->inbox[parent->inbox_count++] = blob_ref(c->result);
}

static bool world_refuses(struct world *w, const wire_poll *poll)
{
    for (size_t i = 0; w->refuse && i < poll->n_calls; i++)
        if (strcmp(poll->calls[i]->function, w->refuse) == 0) {
            w->refuse = NULL;
            return true;
        }
    return false;
}

static void world_poll(struct world *w, struct world_call *c, const wire_poll *poll)
{
    size_t state = poll->state_case == DISPATCH__SDK__V1__POLL__STATE_APPEND
                       ? poll->append.len
                       : poll->typed_coroutine_state->value.len;

    w->polls++;
    w->sent += state;
    if (poll->n_calls > w->largest_poll)
        w->largest_poll = poll->n_calls;
    if (poll->state_case == DISPATCH__SDK__V1__POLL__STATE_APPEND) {
        struct arena arena;
        struct buf joined;
        wire_any *any;

        arena_init(&arena, (size_t)64 << 20);
        buf_init(&joined, (size_t)64 << 20);
        any = world_unpack(&google__protobuf__any__descriptor, c->state, &arena);
        assert_int_equal(any->value.len, poll->append_position);
        assert_true(++c->pieces <= 255);
        buf_append(&joined, any->value.data, any->value.len);
        buf_append(&joined, poll->append.data, poll->append.len);
        any->value.data = joined.data;
        any->value.len = joined.len;
        blob_unref(c->state);
        c->state = wire_pack_blob(any);
        buf_free(&joined);
        arena_reset(&arena);
    } else {
        c->pieces = 0;
        blob_unref(c->state);
        c->state = wire_pack_blob(poll->typed_coroutine_state);
    }
    if (c->state->len > w->largest_state)
        w->largest_state = c->state->len;
    c->refused = world_refuses(w, poll);
    c->any_error = false;
    c->at = WORLD_SUSPENDED;
    c->resumed = true;
    c->resumes++;
    c->min_results = poll->min_results;
    c->max_results = poll->max_results;
    c->wake_on_error = poll->wake_on_error;
    c->due = poll->max_wait ? w->now + wire_duration_ns(poll->max_wait) : INT64_MAX;
    assert_true(poll->min_results >= 1 && poll->min_results <= poll->max_results);
    assert_true(poll->max_results <= 1000);
    w->cancels += poll->n_cancel;
    for (size_t i = 0; i < poll->n_cancel; i++)
        for (size_t j = 0; j < w->count; j++)
            if (w->calls[j].parent == c && w->calls[j].correlation == poll->cancel[i] &&
                !w->calls[j].cancelled && w->calls[j].at != WORLD_DONE) {
                w->calls[j].cancelled = true;
                w->calls[j].at = WORLD_DONE;
                c->outstanding--;
            }
    for (size_t i = 0; !c->refused && i < poll->n_calls; i++)
        world_add(w, poll->calls[i], c);
}

static void world_answered(struct world *w, struct world_call *c, struct blob *body, size_t used)
{
    struct arena arena;
    wire_run_response *response;
    const wire_exit *exit = NULL;
    bool temporary;

    arena_init(&arena, (size_t)64 << 20);
    response = world_unpack(&dispatch__sdk__v1__run_response__descriptor, body, &arena);
    if (response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT)
        exit = response->exit;
    temporary = dispatch_status_temporary((enum dispatch_status)response->status);
    if (exit && exit->result && exit->result->error)
        snprintf(w->last_error, sizeof w->last_error, "%s: %s", exit->result->error->type,
                 exit->result->error->message);
    if (exit && exit->tail_call) {
        world_restart(c);
        snprintf(c->function, sizeof c->function, "%s", exit->tail_call->function);
        blob_unref(c->input);
        c->input = wire_pack_blob(exit->tail_call->input);
    } else if (temporary && c->failures++ < w->retries) {
        if ((enum dispatch_status)response->status == DISPATCH_INCOMPATIBLE_STATE)
            world_restart(c);
    } else {
        for (size_t i = 0; i < used; i++)
            blob_unref(c->inbox[i]);
        c->inbox_count -= used;
        if (c->inbox_count > 0)
            memmove(c->inbox, c->inbox + used, c->inbox_count * sizeof *c->inbox);
        if (!exit)
            world_poll(w, c, response->poll);
        else
            world_finish(c, response);
    }
    blob_unref(body);
    arena_reset(&arena);
}

static bool world_wakes(const struct world *w, const struct world_call *c)
{
    return c->at == WORLD_READY ||
           (c->at == WORLD_SUSPENDED &&
            (c->inbox_count >= (size_t)c->min_results || (c->wake_on_error && c->any_error) ||
             c->due <= w->now || c->refused || (c->outstanding == 0 && c->due == INT64_MAX)));
}

static void world_shuffle(struct world *w, struct world_call *c)
{
    for (size_t i = c->inbox_count; i > 1; i--) {
        size_t j = rand_below(&w->rand, i);
        struct blob *other = c->inbox[j];

        c->inbox[j] = c->inbox[i - 1];
        c->inbox[i - 1] = other;
    }
}

static void world_bury(struct world *w)
{
    size_t left = 0;

    for (size_t i = 0; i < w->live_count; i++)
        if (w->calls[w->live[i]].at != WORLD_DONE)
            w->live[left++] = w->live[i];
    w->live_count = left;
}

/* Runs one call that can be, or lets time pass. False: nothing is left to do. */
static bool world_step(struct world *w)
{
    size_t ready = 0, from;
    struct world_call *c = NULL;
    int64_t due = INT64_MAX;

    world_bury(w);
    from = w->shuffle && w->live_count ? rand_below(&w->rand, w->live_count) : 0;
    for (size_t i = 0; i < w->live_count && !ready; i++) {
        c = &w->calls[w->live[(from + i) % w->live_count]];
        ready = world_wakes(w, c);
        if (c->at == WORLD_SUSPENDED && c->due < due)
            due = c->due;
    }
    if (!ready && due < INT64_MAX) {
        w->now = due + WORLD_LATE; /* more than a run takes by this process's clock */
        return true;
    }
    if (!ready)
        return false;
    if (w->shuffle)
        world_shuffle(w, c);
    ready = c->inbox_count < (size_t)c->max_results ? c->inbox_count : (size_t)c->max_results;
    world_answered(w, c, world_run(w, c, ready), ready);
    return true;
}

static struct dispatch_result world_call_real(struct world *w, struct dispatch_call call)
{
    struct dispatch_failure failure = {0};
    struct dispatch_ids ids = {0};

    dispatch_result_free(&w->root);
    call.endpoint = dispatch_registry_endpoint(w->registry, NULL);
    if (dispatch_client_dispatch(w->app.client, &call, 1, &ids, &failure) ||
        dispatch_client_wait(w->app.client, ids.id[0], WORLD_PATIENCE_MS, &w->root, &failure))
        fail_msg("%s", failure.message);
    dispatch_ids_free(&ids);
    return w->root;
}

/* Runs a function and all that it calls to their ends; its result lives as long as the world (a
 * real one's until the next call). */
static struct dispatch_result world_call(struct world *w, const char *function,
                                         struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to(function, input);
    wire_call *message = NULL;
    struct world_call *root;

    if (world_is_real())
        return world_call_real(w, call);
    assert_int_equal(sdk_call_to_wire(&call, NULL, &w->memory, &message, NULL), 0);
    root = world_add(w, message, NULL);
    while (root->at != WORLD_DONE && world_step(w))
        ;
    assert_int_equal(root->at, WORLD_DONE);
    assert_int_equal(sdk_result_from_wire(world_unpack(&dispatch__sdk__v1__call_result__descriptor,
                                                       root->result, &w->memory),
                                          &w->memory, &w->root, NULL),
                     0);
    return w->root;
}

#endif
