// SPDX-License-Identifier: Apache-2.0
/*
 * Dispatches that functions make while they run, in worlds that make every run twice, forget
 * stacks, and take turns: the API, which this test plays, is asked under the same keys each time.
 */
#include "sdk/http_test.h"

#include <inttypes.h>

#include "sdk/world_test.h"

enum { KEYS_MAX = 64 };

/* What the API was asked: under each key, one set of calls. */
static struct api {
    struct http_server server;
    char keys[KEYS_MAX][SDK_KEY_SIZE];
    size_t keys_count, requests;
} api;

static struct dispatch_registry *registry;
static struct dispatch_client *client;

static struct http_answer pack_answer(const wire_dispatch_request *request, const char *key)
{
    wire_dispatch_response message = DISPATCH__SDK__V1__DISPATCH_RESPONSE__INIT;
    char texts[8][32], *ids[8];
    struct http_answer answer = {.status = 200};

    assert_true(request->n_calls <= 8);
    for (size_t i = 0; i < request->n_calls; i++) {
        snprintf(texts[i], sizeof texts[i], "%016" PRIx64 "%zu", slice_hash(slice_str(key), 0), i);
        ids[i] = texts[i];
    }
    message.dispatch_ids = ids;
    message.n_dispatch_ids = request->n_calls;
    answer.size = protobuf_c_message_get_packed_size(&message.base);
    answer.body = malloc(answer.size + 1);
    protobuf_c_message_pack(&message.base, answer.body);
    return answer;
}

static struct http_answer on_request(void *arg, const struct http_message *message)
{
    struct slice body = slice(message->body, message->body_size);
    const char *line = strcasestr(message->head, "\r\nidempotency-key: ");
    struct http_answer answer = {.status = 400};
    wire_dispatch_request *request;
    char key[SDK_KEY_SIZE] = "";
    struct arena arena;
    size_t i = 0;

    (void)arg;
    assert_non_null(line);
    line += strlen("\r\nidempotency-key: ");
    snprintf(key, sizeof key, "%.*s", (int)strcspn(line, "\r"), line);
    api.requests++;
    while (i < api.keys_count && strcmp(api.keys[i], key) != 0)
        i++;
    assert_true(i < KEYS_MAX);
    memcpy(api.keys[i], key, sizeof key);
    api.keys_count += i == api.keys_count;
    arena_init(&arena, 1 << 20);
    assert_int_equal(
        wire_unpack(&dispatch__sdk__v1__dispatch_request__descriptor, body, &arena, &request, NULL),
        0);
    if (request->n_calls == 0 || strcmp(request->calls[0]->function, "refused") != 0)
        answer = pack_answer(request, key);
    arena_reset(&arena);
    return answer;
}

/* --- functions that dispatch -------------------------------------------------------------------
 */

static struct dispatch_result echo(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    return dispatch_ok(input);
}

/* Two calls, and their ids behind `before`. */
static const char *dispatch_two(struct dispatch_ctx *ctx, const char *before)
{
    struct dispatch_call calls[] = {dispatch_to("one", dispatch_null()),
                                    dispatch_to("two", dispatch_null())};
    struct dispatch_ids ids = {0};
    const char *text = NULL;

    calls[0].endpoint = calls[1].endpoint = "http://localhost:1";
    if (dispatch_client_dispatch(client, calls, 2, &ids, NULL) == 0)
        text = dispatch_printf(ctx, "%s %s %s", before, ids.id[0], ids.id[1]);
    dispatch_ids_free(&ids);
    return text ? text : "failed";
}

static struct dispatch_result local(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_result r = dispatch_call(ctx, "echo", input);

    assert_null(r.error);
    return dispatch_ok(dispatch_string(dispatch_two(ctx, dispatch_as_string(input, NULL))));
}

static struct dispatch_result effect(struct dispatch_ctx *ctx, void *arg)
{
    return dispatch_ok(dispatch_string(dispatch_two(ctx, dispatch_two(ctx, arg))));
}

/* A batch, in the registry's name. */
static const char *dispatch_batch(struct dispatch_ctx *ctx)
{
    struct dispatch_batch *batch = dispatch_batch_create(registry);
    struct dispatch_call call = dispatch_to("three", dispatch_null());
    struct dispatch_ids ids = {0};
    const char *text;

    assert_int_equal(dispatch_batch_add(batch, &call, NULL), 0);
    assert_int_equal(dispatch_batch_dispatch(batch, &ids, NULL), 0);
    assert_int_equal(dispatch_batch_count(batch), 0);
    dispatch_batch_destroy(batch);
    text = dispatch_printf(ctx, " batch %s", ids.id[0]);
    dispatch_ids_free(&ids);
    return text;
}

enum { DISPATCHER_KEYS = 9 };

/* In its body, in local coroutines that end in any order, in a step, in a batch. */
static struct dispatch_result dispatcher(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *text = dispatch_two(ctx, "");
    struct dispatch_task *tasks[3];
    char nothing[] = "";
    struct dispatch_result r[3];

    text = dispatch_two(ctx, text);
    dispatch_sleep(ctx, 1000);
    for (int i = 0; i < 3; i++)
        tasks[i] = dispatch_spawn(ctx, local, dispatch_string(dispatch_printf(ctx, " %d", i)));
    assert_null(dispatch_all(ctx, tasks, 3, r));
    for (int i = 0; i < 3; i++)
        text = dispatch_printf(ctx, "%s%s", text, dispatch_as_string(r[i].output, NULL));
    r[0] = dispatch_step(ctx, "effect", effect, nothing);
    text = dispatch_printf(ctx, "%s%s%s", text, dispatch_as_string(r[0].output, NULL),
                           dispatch_batch(ctx));
    assert_null(dispatch_call(ctx, "echo", input).error);
    return dispatch_ok(dispatch_string(dispatch_two(ctx, text)));
}

static struct dispatch_result refused(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to("refused", input);
    struct dispatch_failure failure = {0};

    call.endpoint = "http://localhost:1";
    dispatch_client_dispatch(client, &call, 1, NULL, &failure);
    dispatch_sleep(ctx, 1000);
    return dispatch_ok(
        dispatch_string(dispatch_printf(ctx, "%s", dispatch_code_name(failure.code))));
}

/* A Dispatch a round, the journal forgotten in between. */
static struct dispatch_result rounds(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct {
        char text[256];
        int64_t count;
    } *s = dispatch_state(ctx, sizeof *s);

    if (s->count == 3)
        return dispatch_ok(dispatch_string(s->text));
    snprintf(s->text, sizeof s->text, "%s", dispatch_two(ctx, dispatch_printf(ctx, "%s", s->text)));
    assert_null(dispatch_call(ctx, "echo", input).error);
    s->count++;
    return dispatch_checkpoint(ctx);
}

/* Two Dispatches a run, two runs. */
static struct dispatch_output primitive(struct dispatch_ctx *ctx,
                                        const struct dispatch_input *input)
{
    struct dispatch_poll poll = {.has_max_wait = true};
    struct dispatch_value state = dispatch_null();
    const char *text;

    dispatch_input_state(input, &state, NULL);
    text = dispatch_is_null(state) ? "" : dispatch_as_string(state, NULL);
    text = dispatch_two(ctx, dispatch_two(ctx, text));
    poll.state = dispatch_string(text);
    return dispatch_input_is_resume(input) ? dispatch_output_value(ctx, poll.state)
                                           : dispatch_output_poll(ctx, &poll);
}

static int times; /* that one of the two below was entered */

/* Starts over, once: a call of another generation. */
static struct dispatch_result starts_over(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *text = dispatch_two(ctx, "");

    if (times++ == 0)
        return dispatch_fail(ctx, DISPATCH_INCOMPATIBLE_STATE, "Again", "from the top");
    (void)input;
    return dispatch_ok(dispatch_string(text));
}

/* Dispatches something else in each replay. */
static struct dispatch_result drifts(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_call call = dispatch_to("one", dispatch_int(times++));

    call.endpoint = "http://localhost:1";
    dispatch_client_dispatch(client, &call, 1, NULL, NULL);
    dispatch_sleep(ctx, 1000000); /* longer than a machine stands still */
    return dispatch_ok(input);
}

/* --- the tests ---------------------------------------------------------------------------------
 */

static const struct world worlds[] = {
    {.endpoints = 1},
    {.endpoints = 1, .fresh = true},
    {.endpoints = 1, .lose_answers = true},
    {.endpoints = 2},
    {.endpoints = 2, .fresh = true, .lose_answers = true, .shuffle = true},
    {.endpoints = 1, .options = {.max_suspended = -1}},
};

enum { WORLDS = sizeof worlds / sizeof *worlds };

/* In every world the same text, of so many sets of calls. */
static void asks_once(const char *function, size_t keys)
{
    char text[2048] = "";

    for (int i = 0; i < WORLDS; i++) {
        struct world w = worlds[i];
        const char *output;

        http_sync(&api.server);
        api.keys_count = api.requests = 0;
        w.registry = registry;
        world_start(&w, 1);
        assert_null(world_call(&w, function, dispatch_null()).error);
        output = dispatch_as_string(w.root.output, NULL);
        assert_non_null(output);
        if (i == 0)
            snprintf(text, sizeof text, "%s", output);
        assert_string_equal(output, text);
        http_sync(&api.server);
        assert_int_equal(api.keys_count, keys);
        if (w.lose_answers)
            assert_true(api.requests > keys);
        else
            assert_int_equal(api.requests, keys); /* replays do not ask */
        world_end(&w);
    }
}

static void test_coroutines(void **state)
{
    (void)state;
    asks_once("dispatcher", DISPATCHER_KEYS);
    assert_memory_equal(api.keys[0], "call-0/0/", 9);
}

static void test_failures(void **state)
{
    (void)state;
    asks_once("refused", 1);
}

static void test_checkpoints(void **state)
{
    (void)state;
    asks_once("rounds", 3);
}

static void test_primitives(void **state)
{
    (void)state;
    asks_once("primitive", 4);
    assert_string_equal(api.keys[0], "call-0/0/0/0");
    assert_string_equal(api.keys[3], "call-0/0/1/1");
}

static void test_generations(void **state)
{
    struct world w = {.endpoints = 1, .registry = registry};

    (void)state;
    http_sync(&api.server);
    api.keys_count = api.requests = 0;
    times = 0;
    world_start(&w, 1);
    assert_null(world_call(&w, "starts_over", dispatch_null()).error);
    world_end(&w);
    http_sync(&api.server);
    assert_int_equal(api.keys_count, 2);
    assert_memory_equal(api.keys[0], "call-0/0/", 9);
    assert_memory_equal(api.keys[1], "call-0/1/", 9);
}

static void test_drift(void **state)
{
    struct world w = {.endpoints = 1, .registry = registry, .retries = 2};

    (void)state;
    times = 0;
    setenv("DISPATCH_REPLAY", "always", 1);
    world_start(&w, 1);
    assert_non_null(world_call(&w, "drifts", dispatch_null()).error);
    assert_string_equal(w.last_error, "Diverged: await 1 of 'drifts': a dispatch has another input "
                                      "than when it was first made");
    world_end(&w);
    unsetenv("DISPATCH_REPLAY");
}

/* Where nobody tells generations, and outside of functions, each Dispatch is a new one. */
static void test_random_keys(void **state)
{
    struct world w = {.endpoints = 1, .foreign = true, .registry = registry};
    char first[SDK_KEY_SIZE];

    (void)state;
    http_sync(&api.server);
    api.keys_count = api.requests = 0;
    world_start(&w, 1);
    assert_null(world_call(&w, "rounds", dispatch_null()).error);
    world_end(&w);
    http_sync(&api.server);
    assert_int_equal(api.keys_count, 3);
    assert_int_equal(strlen(api.keys[0]), 32);
    assert_false(sdk_inside_key(first));
}

int main(void)
{
    struct dispatch_registry_options options = {.name = "t", .endpoint = "http://localhost:1"};
    struct dispatch_client_options client_options = {.api_key = "k"};
    char url[64];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coroutines),  cmocka_unit_test(test_failures),
        cmocka_unit_test(test_checkpoints), cmocka_unit_test(test_primitives),
        cmocka_unit_test(test_generations), cmocka_unit_test(test_drift),
        cmocka_unit_test(test_random_keys),
    };
    int failures;

    api.server.handle = on_request;
    http_start(&api.server, 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", api.server.port);
    client_options.api_url = url;
    if (dispatch_client_create(&client_options, &client, NULL))
        return 1;
    options.client = client;
    if (dispatch_registry_create(&options, &registry, NULL) ||
        dispatch_register(registry, "echo", echo, NULL) ||
        dispatch_register(registry, "dispatcher", dispatcher, NULL) ||
        dispatch_register(registry, "refused", refused, NULL) ||
        dispatch_register(registry, "rounds", rounds, NULL) ||
        dispatch_register(registry, "starts_over", starts_over, NULL) ||
        dispatch_register(registry, "drifts", drifts, NULL) ||
        dispatch_register_primitive(registry, "primitive", primitive, NULL))
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    dispatch_registry_close(registry);
    dispatch_client_destroy(client);
    http_stop(&api.server);
    return failures;
}
