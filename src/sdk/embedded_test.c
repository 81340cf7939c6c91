// SPDX-License-Identifier: Apache-2.0
/* The orchestrator inside: opening, closing, opening again; who may have the store; own loops.
 * long: one world of stores, hanging functions and forks, which each of them needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/orchestrator.h"
#include "sdk/client.h"

enum { PATIENCE_MS = 60000 };

static char dir[64], store[128];

/* --- functions ------------------------------------------------------------------------------- */

static struct dispatch_result twice(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    int64_t n;

    if (!dispatch_as_int(input, &n))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "NoNumber", "not a number");
    return dispatch_ok(dispatch_int(2 * n));
}

static struct dispatch_result sum(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_task *tasks[20];
    struct dispatch_result results[20];
    int64_t n = 0, total = 0, one;

    dispatch_as_int(input, &n);
    for (int i = 0; i < n; i++)
        tasks[i] = dispatch_start(ctx, "twice", dispatch_int(i));
    if (dispatch_all(ctx, tasks, (size_t)n, results))
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Failed", "one of them failed");
    for (int i = 0; i < n; i++)
        total += dispatch_as_int(results[i].output, &one) ? one : 0;
    return dispatch_ok(dispatch_int(total));
}

static sem_t entered, leave;
static atomic_int entries;

/* Blocks its thread until it is let go, the first time. */
static struct dispatch_result hang(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    (void)ctx;
    if (atomic_fetch_add(&entries, 1) == 0) {
        sem_post(&entered);
        sem_wait(&leave);
    }
    return dispatch_ok(input);
}

static atomic_int waited; /* the code that waits_by_client had */

/* Waits for itself with the client, so without an end, the first time. */
static struct dispatch_result waits_by_client(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *id = dispatch_input_id(dispatch_ctx_input(ctx));
    struct dispatch_client *client = NULL;
    struct dispatch_result result = {0};

    if (atomic_fetch_add(&entries, 1) == 0) {
        sem_post(&entered);
        if (sdk_registry_client(dispatch_registry_default(), &client, NULL) == 0)
            atomic_store(&waited, dispatch_client_wait(client, id, -1, &result, NULL));
        dispatch_result_free(&result);
    }
    return dispatch_ok(input);
}

/* --- the world ------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int begin(void **state)
{
    (void)state;
    unsetenv("DISPATCH_STORE");
    unsetenv("DISPATCH_STORE_WAIT");
    unsetenv("DISPATCH_API_URL");
    unsetenv("DISPATCH_API_KEY");
    memcpy(dir, "/tmp/dispatch-embedded-XXXXXX", sizeof "/tmp/dispatch-embedded-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(store, sizeof store, "sqlite:%s/calls.db", dir);
    atomic_store(&entries, 0);
    sem_init(&entered, 0, 0);
    sem_init(&leave, 0, 0);
    dispatch_register(NULL, "twice", twice, NULL);
    dispatch_register(NULL, "sum", sum, NULL);
    dispatch_register(NULL, "hang", hang, NULL);
    dispatch_register(NULL, "waits_by_client", waits_by_client, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    dispatch_registry_close(dispatch_registry_default());
    sem_destroy(&entered);
    sem_destroy(&leave);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct dispatch_embedded *open_store(const struct dispatch_embedded_options *given)
{
    struct dispatch_embedded_options options = {0};
    struct dispatch_embedded *embedded = NULL;
    struct dispatch_failure failure = {0};

    if (given)
        options = *given;
    options.store = store;
    if (dispatch_embedded_open(&options, &embedded, &failure))
        fail_msg("%s", failure.message);
    return embedded;
}

/* Dispatches one call; its id is the caller's to free. */
static char *dispatch_one(const char *function, int64_t input)
{
    struct dispatch_call call = dispatch_to(function, dispatch_int(input));
    struct dispatch_failure failure = {0};
    struct dispatch_ids ids = {0};
    char *id;

    if (dispatch_registry_dispatch(NULL, &call, 1, &ids, &failure))
        fail_msg("%s", failure.message);
    id = strdup(ids.id[0]);
    dispatch_ids_free(&ids);
    return id;
}

static int64_t wait_int(struct dispatch_embedded *embedded, const char *id)
{
    struct dispatch_failure failure = {0};
    struct dispatch_result result = {0};
    int64_t n = -1;

    if (dispatch_client_wait(dispatch_embedded_client(embedded), id, PATIENCE_MS, &result,
                             &failure))
        fail_msg("%s", failure.message);
    if (result.error)
        fail_msg("%s: %s", result.error->type, result.error->message);
    assert_true(dispatch_as_int(result.output, &n));
    dispatch_result_free(&result);
    return n;
}

/* --- tests ----------------------------------------------------------------------------------- */

static void test_run(void **state)
{
    struct dispatch_run_options options = {.store = store};
    struct dispatch_result result;
    int64_t n = 0;

    (void)state;
    result = dispatch_run_with(&options, dispatch_to("sum", dispatch_int(20)));
    if (result.error)
        fail_msg("%s: %s", result.error->type, result.error->message);
    assert_true(dispatch_as_int(result.output, &n));
    assert_int_equal(n, 380);
    assert_non_null(result.dispatch_id);
    dispatch_result_free(&result);

    setenv("DISPATCH_STORE", store, 1);
    result = dispatch_run(dispatch_to("twice", dispatch_string("x")));
    assert_non_null(result.error);
    assert_string_equal(result.error->type, "NoNumber");
    assert_int_equal(result.status, DISPATCH_INVALID_ARGUMENT);
    dispatch_result_free(&result);

    result = dispatch_run(dispatch_to("nowhere", dispatch_null()));
    assert_non_null(result.error);
    assert_string_equal(result.error->type, "not_found");
    assert_string_equal(result.error->message, "bridge://sdk-embedded-test: "
                                               "function 'nowhere' does not exist");
    dispatch_result_free(&result);

    setenv("DISPATCH_STORE", "nonsense", 1);
    result = dispatch_run(dispatch_to("twice", dispatch_int(1)));
    assert_string_equal(result.error->type, "Configuration");
    assert_non_null(strstr(result.error->message, "'nonsense' is no store"));
    dispatch_result_free(&result);
}

/* Each one of them is there again, with its result, when the store is opened again. */
static void test_open_again(void **state)
{
    enum { CALLS = 40 };
    struct dispatch_embedded *embedded = open_store(NULL);
    char *ids[CALLS];

    (void)state;
    for (int i = 0; i < CALLS; i++)
        ids[i] = dispatch_one("twice", i);
    dispatch_embedded_close(embedded);
    embedded = open_store(NULL);
    for (int i = 0; i < CALLS; i++) {
        assert_int_equal(wait_int(embedded, ids[i]), 2 * i);
        free(ids[i]);
    }
    dispatch_embedded_close(embedded);
}

static void test_settle(void **state)
{
    struct dispatch_embedded *embedded = open_store(NULL);
    struct dispatch_failure failure = {0};
    char *id;

    (void)state;
    assert_int_equal(dispatch_embedded_settle(embedded, -1, NULL), 0); /* nothing to wait for */
    id = dispatch_one("hang", 3);
    sem_wait(&entered);
    assert_int_equal(dispatch_embedded_settle(embedded, 1, &failure), CODE_DEADLINE_EXCEEDED);
    assert_string_equal(failure.message, "not all calls are done after 1 ms");
    sem_post(&leave);
    assert_int_equal(dispatch_embedded_settle(embedded, PATIENCE_MS, NULL), 0);
    assert_int_equal(wait_int(embedded, id), 3);
    free(id);
    dispatch_embedded_close(embedded);
}

/* --- closing --------------------------------------------------------------------------------- */

/* Stand in for the library's: the 5 seconds are begun, and over at once if the test says so; then
 * close waits for functions. Whoever hangs is let go at one of the two. */
enum { GRACE_MS = 5000 };
static atomic_bool closing, over; /* read on the loop, too */
void __real_net_timer_set(struct net_timer *timer, uint64_t delay_ms);
void __wrap_net_timer_set(struct net_timer *timer, uint64_t delay_ms);
void __real_dispatch_endpoint_destroy(struct dispatch_endpoint *endpoint);
void __wrap_dispatch_endpoint_destroy(struct dispatch_endpoint *endpoint);

void __wrap_net_timer_set(struct net_timer *timer, uint64_t delay_ms)
{
    if (closing && delay_ms == GRACE_MS && !over)
        sem_post(&leave);
    __real_net_timer_set(timer, closing && delay_ms == GRACE_MS && over ? 0 : delay_ms);
}

void __wrap_dispatch_endpoint_destroy(struct dispatch_endpoint *endpoint)
{
    if (closing)
        sem_post(&leave);
    __real_dispatch_endpoint_destroy(endpoint);
}

/* Closes the store while the function runs, and opens it again: its call has its result. Gives how
 * often it ran. */
static int close_at_work(const char *function, bool after_grace)
{
    struct dispatch_embedded *embedded = open_store(NULL);
    char *id = dispatch_one(function, 7);

    sem_wait(&entered);
    over = after_grace;
    closing = true;
    dispatch_embedded_close(embedded);
    closing = false;
    embedded = open_store(NULL);
    assert_int_equal(wait_int(embedded, id), 7);
    free(id);
    dispatch_embedded_close(embedded);
    return atomic_load(&entries);
}

/* What ends in its 5 seconds is done; what does not is waited for, and done again. */
static void test_close_at_work(void **state)
{
    (void)state;
    assert_int_equal(close_at_work("hang", false), 1);
    atomic_store(&entries, 0);
    while (sem_trywait(&leave) == 0)
        ;
    assert_int_equal(close_at_work("hang", true), 2);
}

/* A function that waits by the client does not keep close from its end. */
static void test_close_cancels(void **state)
{
    (void)state;
    atomic_store(&waited, -1);
    assert_int_equal(close_at_work("waits_by_client", true), 2);
    assert_int_equal(atomic_load(&waited), CODE_CANCELED);
}

/* --- who has it ------------------------------------------------------------------------------ */

static void test_ownership(void **state)
{
    struct dispatch_embedded_options options = {.store = store};
    struct dispatch_embedded *embedded = open_store(NULL), *second = NULL;
    struct dispatch_failure failure = {0};
    char *id;

    (void)state;
    assert_int_equal(dispatch_embedded_open(&options, &second, &failure), CODE_UNAVAILABLE);
    assert_non_null(strstr(failure.message, "calls.db is already open in this process"));
    assert_null(second);
    /* Another store, but functions that are being served; those who do are not disturbed. */
    options.store = "memory:";
    assert_int_equal(dispatch_embedded_open(&options, &second, &failure), CODE_FAILED_PRECONDITION);
    assert_non_null(strstr(failure.message, "registry 'default' are being served already"));
    id = dispatch_one("twice", 8);
    assert_int_equal(wait_int(embedded, id), 16);
    free(id);
    dispatch_embedded_close(embedded);
    dispatch_embedded_close(open_store(NULL));
}

/* What is set for a server, and what was made of it, is not used meanwhile, and then again. */
static void test_served_settings(void **state)
{
    struct dispatch_run_options options = {.store = store, .endpoint_url = "http://127.0.0.1:1"};
    struct dispatch_client *made = NULL, *now = NULL;
    struct dispatch_embedded *embedded;
    struct dispatch_result result;
    char *id;

    (void)state;
    setenv("DISPATCH_API_URL", "http://127.0.0.1:1", 1);
    setenv("DISPATCH_API_KEY", "key", 1);
    setenv("DISPATCH_ENDPOINT_URL", "http://127.0.0.1:1", 1);
    assert_int_equal(sdk_registry_client(dispatch_registry_default(), &made, NULL), 0);
    embedded = open_store(NULL);
    assert_string_equal(dispatch_registry_endpoint(NULL, NULL), "bridge://sdk-embedded-test");
    id = dispatch_one("sum", 4);
    assert_int_equal(wait_int(embedded, id), 12);
    free(id);
    dispatch_embedded_close(embedded);
    result = dispatch_run_with(&options, dispatch_to("twice", dispatch_int(5)));
    assert_null(result.error);
    dispatch_result_free(&result);
    assert_int_equal(sdk_registry_client(dispatch_registry_default(), &now, NULL), 0);
    assert_ptr_equal(now, made);
    assert_string_equal(dispatch_registry_endpoint(NULL, NULL), "http://127.0.0.1:1");
    unsetenv("DISPATCH_ENDPOINT_URL");
}

/* --- processes ------------------------------------------------------------------------------- */

/* Runs fn in a child and gives its exit status. */
static int in_child(int (*fn)(void *arg), void *arg)
{
    int status = -1;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn(arg));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int child_pipe[2];

static int open_second(void)
{
    struct dispatch_embedded_options options = {.store = store};
    struct dispatch_embedded *embedded = NULL;
    struct dispatch_failure failure = {0};
    char expected[64], byte;

    if (read(child_pipe[0], &byte, 1) != 1)
        return 3;
    snprintf(expected, sizeof expected, "is held by process %ld (", (long)getppid());
    if (dispatch_embedded_open(&options, &embedded, &failure) != CODE_UNAVAILABLE)
        return 1;
    if (!strstr(failure.message, expected) || !strstr(failure.message, "sdk-embedded-test"))
        return 2;
    return 0;
}

static int use_parents(void *arg)
{
    struct dispatch_embedded *embedded = arg;
    struct dispatch_call call = dispatch_to("twice", dispatch_int(1));
    struct dispatch_failure failure = {0};
    struct dispatch_result result = {0};

    if (dispatch_registry_dispatch(NULL, &call, 1, NULL, &failure) != CODE_FAILED_PRECONDITION)
        return 1;
    if (!strstr(failure.message, "this process was forked from process"))
        return 2;
    if (dispatch_client_wait(dispatch_embedded_client(embedded), "x", -1, &result, NULL) !=
        CODE_FAILED_PRECONDITION)
        return 3;
    if (dispatch_client_cancel(dispatch_embedded_client(embedded), "x", NULL) !=
        CODE_FAILED_PRECONDITION)
        return 4;
    if (dispatch_embedded_settle(embedded, -1, NULL) != CODE_FAILED_PRECONDITION)
        return 5;
    dispatch_embedded_close(embedded);
    return 0;
}

static void test_second_process(void **state)
{
    struct dispatch_embedded *embedded;
    int status = -1;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(child_pipe), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(open_second());
    embedded = open_store(NULL);
    assert_int_equal(write(child_pipe[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    dispatch_embedded_close(embedded);
    close(child_pipe[0]);
    close(child_pipe[1]);
}

/* What a fork did, whatever that was, has let go of nothing. */
static void test_fork(void **state)
{
    struct dispatch_embedded *embedded;
    int status = -1;
    char *id;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(child_pipe), 0);
    pid = fork(); /* before there is something that it could inherit */
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(open_second());
    embedded = open_store(NULL);
    assert_int_equal(in_child(use_parents, embedded), 0);
    assert_int_equal(write(child_pipe[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);   /* the lock is where it was */
    id = dispatch_one("twice", 4); /* the parent's goes on */
    assert_int_equal(wait_int(embedded, id), 8);
    free(id);
    dispatch_embedded_close(embedded);
    close(child_pipe[0]);
    close(child_pipe[1]);
}

static atomic_long signalled; /* the thread that a signal came to */

static void on_signal(int number)
{
    (void)number;
    atomic_store(&signalled, (long)gettid());
}

/* Signals are the program's: its handlers stay, and are called on its threads. */
static void test_signals(void **state)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGCHLD, SIGUSR1, SIGALRM};
    struct sigaction mine = {.sa_handler = on_signal}, old[7], now;
    struct dispatch_embedded *embedded;
    char *id;

    (void)state;
    for (size_t i = 0; i < 7; i++)
        sigaction(numbers[i], &mine, &old[i]);
    embedded = open_store(NULL);
    id = dispatch_one("hang", 2);
    sem_wait(&entered); /* a function runs on its thread */
    for (size_t i = 0; i < 7; i++) {
        sigaction(numbers[i], NULL, &now);
        assert_ptr_equal(now.sa_handler, on_signal);
        atomic_store(&signalled, 0);
        kill(getpid(), numbers[i]); /* to any thread that does not block it: this one, now */
        assert_int_equal(atomic_load(&signalled), gettid());
    }
    sem_post(&leave);
    assert_int_equal(wait_int(embedded, id), 2);
    free(id);
    dispatch_embedded_close(embedded);
    for (size_t i = 0; i < 7; i++)
        sigaction(numbers[i], &old[i], NULL);
}

static int life_pipe[2];

/* Opens the store, has a call under way, has a child of its own that lives on, and dies. */
static int die_with_child(void *arg)
{
    struct dispatch_embedded *embedded = open_store(NULL);
    char *id = dispatch_one("hang", 5), byte = 0;
    int lives[2];

    (void)arg, (void)embedded;
    sem_wait(&entered);
    if (write(child_pipe[1], id, strlen(id) + 1) < 0 || pipe(lives))
        return 1;
    if (fork() == 0) {
        if (write(lives[1], &byte, 1) != 1)
            _exit(1);
        /* It lives until the test closes its end. */
        close(life_pipe[1]);
        while (read(life_pipe[0], &byte, 1) > 0)
            ;
        _exit(0);
    }
    /* Not before the child runs: until then it holds what its parent did. */
    if (read(lives[0], &byte, 1) == 1)
        raise(SIGKILL);
    return 2;
}

static void test_killed(void **state)
{
    struct dispatch_embedded *embedded;
    char id[64] = "";

    (void)state;
    assert_int_equal(pipe(child_pipe), 0);
    assert_int_equal(pipe(life_pipe), 0);
    assert_int_equal(in_child(die_with_child, NULL), 128 + SIGKILL);
    assert_true(read(child_pipe[0], id, sizeof id) > 0);
    /* Though a fork of the dead one lives. */
    atomic_store(&entries, 1);
    embedded = open_store(NULL);
    assert_int_equal(wait_int(embedded, id), 5);
    dispatch_embedded_close(embedded);
    close(child_pipe[0]);
    close(child_pipe[1]);
    close(life_pipe[0]);
    close(life_pipe[1]);
}

static int exit_at_work(void *arg)
{
    struct dispatch_embedded *embedded = open_store(NULL);
    char *id = dispatch_one("hang", 6);

    (void)arg, (void)embedded;
    sem_wait(&entered);
    if (write(child_pipe[1], id, strlen(id) + 1) < 0)
        return 1;
    exit(3);
}

static void test_exit(void **state)
{
    struct dispatch_embedded *embedded;
    char id[64] = "";

    (void)state;
    assert_int_equal(pipe(child_pipe), 0);
    assert_int_equal(in_child(exit_at_work, NULL), 3);
    assert_true(read(child_pipe[0], id, sizeof id) > 0);
    atomic_store(&entries, 1);
    embedded = open_store(NULL);
    assert_int_equal(wait_int(embedded, id), 6);
    dispatch_embedded_close(embedded);
    close(child_pipe[0]);
    close(child_pipe[1]);
}

static int hold_and_let_go(void *arg)
{
    struct dispatch_embedded *embedded = open_store(NULL);
    char byte = 'x';

    (void)arg;
    if (write(child_pipe[1], &byte, 1) != 1)
        return 1;
    dispatch_embedded_close(embedded);
    return 0;
}

static void test_wait_for_it(void **state)
{
    struct dispatch_embedded_options options = {.store_wait_ms = PATIENCE_MS};
    struct dispatch_embedded *embedded;
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(child_pipe), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(hold_and_let_go(NULL));
    assert_int_equal(read(child_pipe[0], &byte, 1), 1);
    embedded = open_store(&options);
    dispatch_embedded_close(embedded);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(child_pipe[0]);
    close(child_pipe[1]);
}

/* --- loops of others ------------------------------------------------------------------------- */

/* The program's own loop, until an operation of the client has finished. */
static struct dispatch_operation *loop_until(struct dispatch_embedded *embedded)
{
    struct dispatch_operation *operation;

    while (!(operation = dispatch_client_next(dispatch_embedded_client(embedded)))) {
        struct pollfd p = {.fd = dispatch_embedded_descriptor(embedded), .events = POLLIN};

        assert_true(poll(&p, 1, (int)dispatch_embedded_deadline_ms(embedded)) >= 0);
        dispatch_embedded_step(embedded);
    }
    return operation;
}

static void own_loop(bool in_step)
{
    struct dispatch_embedded_options options = {.own_loop = true, .run_in_step = in_step};
    struct dispatch_embedded *embedded = open_store(&options);
    struct dispatch_client *client = dispatch_embedded_client(embedded);
    struct dispatch_call call = dispatch_to("sum", dispatch_int(10));
    struct dispatch_operation *operation = NULL;
    struct dispatch_ids ids = {0};
    struct dispatch_result result = {0};
    int64_t n = 0;
    char *id;

    assert_int_equal(dispatch_client_begin_dispatch(client, &call, 1, NULL, &operation, NULL), 0);
    assert_ptr_equal(loop_until(embedded), operation);
    assert_int_equal(dispatch_operation_ids(operation, &ids, NULL), 0);
    dispatch_operation_destroy(operation);
    assert_int_equal(
        dispatch_client_begin_wait(client, ids.id[0], PATIENCE_MS, NULL, &operation, NULL), 0);
    assert_ptr_equal(loop_until(embedded), operation);
    assert_int_equal(dispatch_operation_result(operation, &result, NULL), 0);
    assert_true(dispatch_as_int(result.output, &n));
    assert_int_equal(n, 90);
    dispatch_operation_destroy(operation);
    dispatch_result_free(&result);
    dispatch_ids_free(&ids);
    /* The blocking functions step by themselves. */
    id = dispatch_one("twice", 11);
    assert_int_equal(wait_int(embedded, id), 22);
    free(id);
    id = dispatch_one("sum", 12);
    assert_int_equal(dispatch_embedded_settle(embedded, -1, NULL), 0);
    assert_int_equal(wait_int(embedded, id), 132);
    free(id);
    dispatch_embedded_close(embedded);
}

/* A program with a loop of its own that has found work, and does it before it ends. */
static void test_settle_own_loop(void **state)
{
    struct dispatch_embedded_options options = {.own_loop = true};
    struct dispatch_embedded *embedded = open_store(&options);
    struct dispatch_failure failure = {0};
    char *id = dispatch_one("hang", 3);

    (void)state;
    assert_int_equal(dispatch_embedded_settle(embedded, 1, &failure), CODE_DEADLINE_EXCEEDED);
    assert_string_equal(failure.message, "not all calls are done after 1 ms");
    sem_post(&leave);
    assert_int_equal(dispatch_embedded_settle(embedded, PATIENCE_MS, NULL), 0);
    assert_int_equal(wait_int(embedded, id), 3);
    free(id);
    dispatch_embedded_close(embedded);
}

static void test_own_loop(void **state)
{
    (void)state;
    own_loop(false);
    own_loop(true);
}

/* Stand in for the library's: the orchestrator is loading, as it does on threads, if the test says
 * so. */
static bool loads;
bool __real_orchestrator_ready(const struct orchestrator *o);
bool __wrap_orchestrator_ready(const struct orchestrator *o);
bool __real_orchestrator_loading(const struct orchestrator *o);
bool __wrap_orchestrator_loading(const struct orchestrator *o);

bool __wrap_orchestrator_ready(const struct orchestrator *o)
{
    return !loads && __real_orchestrator_ready(o);
}

bool __wrap_orchestrator_loading(const struct orchestrator *o)
{
    return loads || __real_orchestrator_loading(o);
}

/* What is begun before the calls are read is made when they are, whatever patience the client has
 * with servers. */
static void test_begun_while_loading(void **state)
{
    struct dispatch_embedded_options options = {.own_loop = true, .run_in_step = true};
    struct dispatch_embedded *embedded = open_store(&options);
    struct dispatch_client *client = dispatch_embedded_client(embedded);
    struct dispatch_call call = dispatch_to("twice", dispatch_int(4));
    struct dispatch_operation *operation = NULL;
    struct dispatch_ids ids = {0};

    (void)state;
    client->connect_retry_ms = 1;
    loads = true;
    assert_int_equal(dispatch_client_begin_dispatch(client, &call, 1, NULL, &operation, NULL), 0);
    dispatch_embedded_step(embedded);
    dispatch_embedded_step(embedded);
    assert_null(dispatch_client_next(client));
    loads = false;
    sdk_client_hurry(client); /* as when they are read */
    assert_ptr_equal(loop_until(embedded), operation);
    assert_int_equal(dispatch_operation_ids(operation, &ids, NULL), 0);
    assert_int_equal(wait_int(embedded, ids.id[0]), 8);
    dispatch_ids_free(&ids);
    dispatch_operation_destroy(operation);
    dispatch_embedded_close(embedded);
}

/* The operator, who asks at the socket beside the file, and has an answer before it ends. */
static int ask_at_socket(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    static const char request[] = "GET /readyz HTTP/1.0\r\n\r\n";
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[512] = "";

    snprintf(to.sun_path, sizeof to.sun_path, "%s/calls.db.sock", dir);
    if (connect(fd, (struct sockaddr *)&to, sizeof to))
        return 1;
    if (write(fd, request, sizeof request - 1) != (ssize_t)sizeof request - 1)
        return 2;
    if (read(fd, answer, sizeof answer - 1) <= 0)
        return 3;
    return strncmp(answer, "HTTP/1.1 200 ", 13) == 0 ? 0 : 4;
}

/* A loop that is stepped serves its operator, too. */
static void test_operator_of_own_loop(void **state)
{
    struct dispatch_embedded_options options = {.own_loop = true, .run_in_step = true};
    struct dispatch_embedded *embedded = open_store(&options);
    char *id = dispatch_one("twice", 1); /* so it is ready */
    struct pollfd p[2] = {{.fd = dispatch_embedded_descriptor(embedded), .events = POLLIN}};
    int status = -1;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe2(child_pipe, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(ask_at_socket());
    close(child_pipe[1]);
    p[1].fd = child_pipe[0]; /* closed by the child's end */
    while (!p[1].revents) {
        assert_true(poll(p, 2, (int)dispatch_embedded_deadline_ms(embedded)) >= 0);
        dispatch_embedded_step(embedded);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(child_pipe[0]);
    free(id);
    dispatch_embedded_close(embedded);
}

static int count_threads(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    int count = 0;

    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        sscanf(line, "Threads: %d", &count);
    fclose(f);
    return count;
}

static void test_no_threads(void **state)
{
    struct dispatch_embedded_options options = {.own_loop = true, .run_in_step = true};
    int before = count_threads();
    struct dispatch_embedded *embedded = open_store(&options);
    char *id = dispatch_one("sum", 5);

    (void)state;
    assert_int_equal(wait_int(embedded, id), 20);
    assert_int_equal(count_threads(), before);
    free(id);
    dispatch_embedded_close(embedded);
}

static struct dispatch_embedded *stepped;

/* A function inside a step cannot wait for the loop that runs it. */
static struct dispatch_result waits_for_itself(struct dispatch_ctx *ctx,
                                               struct dispatch_value input)
{
    struct dispatch_result result = dispatch_call(NULL, "twice", input);
    int code = result.error && strstr(result.error->message, "inside a step");

    (void)ctx;
    code = code && dispatch_embedded_settle(stepped, -1, NULL) == CODE_FAILED_PRECONDITION;
    dispatch_result_free(&result);
    return dispatch_ok(dispatch_int(code));
}

static void test_wait_in_step(void **state)
{
    struct dispatch_embedded_options options = {.own_loop = true, .run_in_step = true};
    struct dispatch_embedded *embedded;
    char *id;

    (void)state;
    dispatch_register(NULL, "waits_for_itself", waits_for_itself, NULL);
    stepped = embedded = open_store(&options);
    id = dispatch_one("waits_for_itself", 1);
    assert_int_equal(wait_int(embedded, id), 1);
    free(id);
    options.own_loop = false;
    options.store = "memory:";
    assert_int_equal(dispatch_embedded_open(&options, &embedded, NULL), CODE_INVALID_ARGUMENT);
    dispatch_embedded_close(embedded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_run, begin, end),
        cmocka_unit_test_setup_teardown(test_open_again, begin, end),
        cmocka_unit_test_setup_teardown(test_settle, begin, end),
        cmocka_unit_test_setup_teardown(test_close_at_work, begin, end),
        cmocka_unit_test_setup_teardown(test_close_cancels, begin, end),
        cmocka_unit_test_setup_teardown(test_ownership, begin, end),
        cmocka_unit_test_setup_teardown(test_served_settings, begin, end),
        cmocka_unit_test_setup_teardown(test_second_process, begin, end),
        cmocka_unit_test_setup_teardown(test_fork, begin, end),
        cmocka_unit_test_setup_teardown(test_signals, begin, end),
        cmocka_unit_test_setup_teardown(test_killed, begin, end),
        cmocka_unit_test_setup_teardown(test_exit, begin, end),
        cmocka_unit_test_setup_teardown(test_wait_for_it, begin, end),
        cmocka_unit_test_setup_teardown(test_own_loop, begin, end),
        cmocka_unit_test_setup_teardown(test_settle_own_loop, begin, end),
        cmocka_unit_test_setup_teardown(test_begun_while_loading, begin, end),
        cmocka_unit_test_setup_teardown(test_operator_of_own_loop, begin, end),
        cmocka_unit_test_setup_teardown(test_no_threads, begin, end),
        cmocka_unit_test_setup_teardown(test_wait_in_step, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
