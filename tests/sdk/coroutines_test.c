// SPDX-License-Identifier: Apache-2.0
/*
 * Functions that wait, and death: a real server and real processes of an application
 * (coroutines_app.c has the examples' functions), between them a gate that lets one run through at
 * a time. The application is killed at each point in turn; then the server at each run: before it
 * is made, after it was made, and after its answer was sent. Each time the result has to be that of
 * an undisturbed execution, and so have the effects, but for those of runs that were cut off. A run
 * is cut off when a kill comes between it and the commit of its answer; then the same run (call,
 * generation, number of the poll) comes again. Nothing else happens twice.
 *
 * And the application becomes its next version, under calls that wait.
 *
 * Where not all points are taken, SEED in the environment says which; else it is drawn, and
 * printed.
 *
 * usage: coroutines_test DISPATCH APP NEXT_APP EXAMPLE|changed; NEXT_APP is a newer version of APP
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dispatch_sdk.h>

#include "../harness.h"
#include "base/rand.h"
#include "gate.h"

enum { PROCESSES = 2, RUNS_MAX = 1000, LINES_MAX = 1000, TEXT_MAX = 4096, WAIT_MS = 120000 };

/* How the application's processes are. */
struct manner {
    const char *name;
    const char *variable, *value; /* of their environment; NULL: none */
    int processes;
    int stride; /* of the points at which they are killed: not all, where there are many */
};
static const struct manner manners[] = {
    {"stacks kept", NULL, NULL, 1, 1},
    {"no stacks kept", "MAX_SUSPENDED", "-1", 1, 7},
    {"every resume replayed", "DISPATCH_REPLAY", "always", 1, 7},
    {"two processes in turns", NULL, NULL, 2, 5},
};

/* What is executed. */
struct example {
    const char *name, *function;
    const char *text; /* its input; NULL: the number, or so many bytes */
    int64_t number;
    bool bytes;
    const char *expected; /* its result, as text */
    int points;           /* to die at, when stacks are kept */
};
static const struct example examples[] = {
    {"saga", "trip", "car", 0, false, "no car to be had; cancelled: hotel-42 flight-42", 20},
    {"fan_out", "quote", NULL, 5, false, "510", 19},
    {"long_loop", "meter", NULL, 11, false, "45", 46},
    {"merge_sort", "merge_sort", NULL, 800, true, "sorted", 26},
    {"approval", "refund", "refund", 0, false, "refunded", 5},
    {"nested", "nested", NULL, 1, false, "2070", 28},
};

struct process {
    pid_t pid; /* 0: dead */
    uint16_t port;
    FILE *to, *from;
};

/* A run that came to the gate, and its effects: lines[first] and on. */
struct seen {
    struct gate_run run;
    size_t first, count;
    bool cut;
};

struct stage {
    struct harness h;
    struct net_loop *loop;
    struct gate *gate;
    struct dispatch_client *client;
    const struct example *example;
    const struct manner *manner;
    const char *app;
    struct process processes[PROCESSES];
    int turn, deaths, served[PROCESSES], serial;
    bool kills_server; /* at each run, or in strides */
    size_t first;      /* the run, counted from 0, that it is killed at first */
    bool server_dies;  /* once what was passed on has been sent */
    FILE *effects;
    struct seen runs[RUNS_MAX];
    size_t run_count;
    char lines[LINES_MAX][64];
    size_t line_count;
    /* Of code that changes. */
    int waiting;                          /* calls that wait for a word, since their second run */
    bool diverged;                        /* a run was answered so */
    bool (*until)(const struct stage *s); /* stops the loop */
};

static uint64_t seed; /* SEED in the environment, or drawn */
static const char *binary, *app_path, *next_app_path;
static const struct example *chosen;

/* --- processes -------------------------------------------------------------------------------- */

static void exec_app(struct stage *s, int in, int out)
{
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    setenv("EFFECTS", harness_path(&s->h, "effects"), 1);
    unsetenv("DISPATCH_REPLAY");
    if (s->manner->variable)
        setenv(s->manner->variable, s->manner->value, 1);
    execl(s->app, s->app, (char *)NULL);
    _exit(127);
}

static void start_process(struct stage *s, int which)
{
    struct process *p = &s->processes[which];
    int to[2], from[2];
    char line[32];

    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0)
        exec_app(s, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    p->to = fdopen(to[1], "w");
    p->from = fdopen(from[0], "r");
    assert_non_null(fgets(line, sizeof line, p->from));
    p->port = (uint16_t)strtoul(line, NULL, 10);
}

/* It is dead, or about to be. */
static void bury_process(struct stage *s, int which)
{
    struct process *p = &s->processes[which];
    int status;

    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fclose(p->to);
    fclose(p->from);
    *p = (struct process){0};
}

static void kill_process(struct stage *s, int which)
{
    if (s->processes[which].pid == 0)
        return;
    kill(s->processes[which].pid, SIGKILL);
    bury_process(s, which);
}

/* It is to die at that many points from now. */
static void arm(struct stage *s, int which, int points)
{
    struct process *p = &s->processes[which];
    char line[32];

    fprintf(p->to, "%d\n", points);
    fflush(p->to);
    assert_non_null(fgets(line, sizeof line, p->from));
    assert_string_equal(line, "armed\n");
}

static void kill_server(struct stage *s)
{
    s->deaths++;
    harness_kill(&s->h);
    gate_forget(s->gate);
}

/* --- the gate --------------------------------------------------------------------------------- */

static bool same_run(const struct gate_run *a, const struct gate_run *b)
{
    return strcmp(a->id, b->id) == 0 && a->generation == b->generation && a->resume == b->resume;
}

/* How often that run came before the last one that was noted. */
static int times_before(const struct stage *s)
{
    int times = 0;

    for (size_t i = 0; i + 1 < s->run_count; i++)
        times += same_run(&s->runs[i].run, &s->runs[s->run_count - 1].run);
    return times;
}

static uint16_t on_request(void *arg, struct gate_run *run)
{
    struct stage *s = arg;

    run->epoch = s->h.starts;
    assert_true(s->run_count < RUNS_MAX);
    s->runs[s->run_count++] = (struct seen){.run = *run, .first = s->line_count};
    if (s->kills_server && times_before(s) == 0 &&
        (s->run_count - 1) % (size_t)s->manner->stride == s->first) {
        s->runs[s->run_count - 1].cut = true;
        kill_server(s);
        harness_start(&s->h);
        return 0;
    }
    do
        s->turn = (s->turn + 1) % s->manner->processes;
    while (s->processes[s->turn].pid == 0);
    run->process = s->turn;
    s->served[s->turn]++;
    return s->processes[s->turn].port;
}

/* What the run that was let through has done. */
static void read_effects(struct stage *s, struct seen *seen)
{
    char *line = s->lines[s->line_count];

    clearerr(s->effects);
    while (fgets(line, sizeof s->lines[0], s->effects)) {
        seen->count++;
        assert_true(++s->line_count < LINES_MAX);
        line = s->lines[s->line_count];
    }
}

static bool on_answer(void *arg, struct gate_run *run, struct slice answer)
{
    struct stage *s = arg;
    struct seen *seen = &s->runs[s->run_count - 1];
    int before = times_before(s);

    read_effects(s, seen);
    seen->cut = run->gone || run->epoch != s->h.starts;
    if (!answer.data) {
        seen->cut = true;
        s->deaths++;
        bury_process(s, run->process);
        if (s->manner->processes == 1)
            start_process(s, run->process);
        return false;
    }
    s->diverged |= memmem(answer.data, answer.len, "Diverged", 8) != NULL;
    if (s->kills_server && before == 1) {
        seen->cut = true;
        kill_server(s);
        harness_start(&s->h);
        return false;
    }
    if (s->kills_server && before == 2)
        s->server_dies = true;
    return true;
}

static void on_passed(void *arg, struct gate_run *run)
{
    struct stage *s = arg;
    struct seen *seen = &s->runs[s->run_count - 1];

    s->waiting += run->resume == 1;
    if (s->until && s->until(s))
        net_loop_stop(s->loop);
    if (s->server_dies) {
        s->server_dies = false;
        kill_server(s);
        seen->cut = !harness_answered(&s->h, run->id, run->generation, run->resume);
        harness_start(&s->h);
    } else if (s->kills_server && seen->count > 0 && !seen->cut) {
        int64_t end_ms = harness_now_ms() + 5000;

        /* The next kill may come at once: what has effects is to be committed before. It never is
         * if whoever asked had died before, and that was not noticed in time. */
        do {
            seen->cut = !harness_answered(&s->h, run->id, run->generation, run->resume);
            if (seen->cut)
                harness_pause(1);
        } while (seen->cut && harness_now_ms() < end_ms);
    }
}

/* --- executions ------------------------------------------------------------------------------- */

/* One call, on a thread of its own while the test runs the gate. */
struct execution {
    struct stage *s;
    const char *function;
    struct dispatch_value input;
    char text[256]; /* of its result */
    struct dispatch_ids ids;
    pthread_t thread;
    atomic_bool done;
};

static const char *ordered(const char *bytes, size_t size)
{
    for (size_t at = 8; at + 8 <= size; at += 8) {
        int64_t a, b;

        memcpy(&a, bytes + at - 8, 8);
        memcpy(&b, bytes + at, 8);
        if (a > b)
            return "not sorted";
    }
    return size == (size_t)chosen->number ? "sorted" : "not all of it";
}

static void describe(const struct dispatch_result *result, char *text, size_t size)
{
    const char *string = dispatch_as_string(result->output, NULL);
    size_t byte_count = 0;
    const char *bytes = dispatch_as_bytes(result->output, &byte_count);
    int64_t number = 0;

    if (result->error)
        snprintf(text, size, "%s: %s", result->error->type, result->error->message);
    else if (dispatch_as_int(result->output, &number))
        snprintf(text, size, "%lld", (long long)number);
    else
        snprintf(text, size, "%s", string ? string : bytes ? ordered(bytes, byte_count) : "null");
}

static void stop_loop(void *arg)
{
    net_loop_stop(arg);
}

static void *execute(void *arg)
{
    struct execution *x = arg;
    struct dispatch_call call = dispatch_to(x->function, x->input);
    struct dispatch_failure failure = {0};
    struct dispatch_result result = {0};
    char url[64];

    snprintf(url, sizeof url, "http://127.0.0.1:%u", gate_port(x->s->gate));
    call.endpoint = url;
    if (dispatch_client_dispatch(x->s->client, &call, 1, &x->ids, &failure) ||
        dispatch_client_wait(x->s->client, x->ids.id[0], WAIT_MS, &result, &failure))
        snprintf(x->text, sizeof x->text, "%.200s", failure.message);
    else
        describe(&result, x->text, sizeof x->text);
    dispatch_result_free(&result);
    atomic_store(&x->done, true);
    net_post(x->s->loop, stop_loop, x->s->loop);
    return NULL;
}

static void begin(struct execution *x)
{
    assert_int_equal(pthread_create(&x->thread, NULL, execute, x), 0);
}

static void end(struct execution *x)
{
    while (!atomic_load(&x->done))
        net_loop_run(x->s->loop);
    pthread_join(x->thread, NULL);
    dispatch_ids_free(&x->ids);
}

/* A request to the API, with JSON; true: 200, and the answer is in `answer`. */
static bool post(struct stage *s, const char *method, const char *json, char answer[TEXT_MAX])
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->h.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char request[1024];
    size_t len = 0;
    ssize_t n;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    n = snprintf(request, sizeof request,
                 "POST /dispatch.v1.CallService/%s HTTP/1.0\r\nAuthorization: Bearer " HARNESS_KEY
                 "\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 method, strlen(json), json);
    assert_int_equal(write(fd, request, (size_t)n), n);
    while (len < TEXT_MAX - 1 && (n = read(fd, answer + len, TEXT_MAX - 1 - len)) > 0)
        len += (size_t)n;
    answer[len] = '\0';
    close(fd);
    return strncmp(answer, "HTTP/1.", 7) == 0 && strncmp(answer + 8, " 200", 4) == 0;
}

/* Completes the call to event: with that key; one that is not there yet finds it. */
static void complete(struct stage *s, const char *key)
{
    char json[256], answer[TEXT_MAX];

    snprintf(json, sizeof json,
             "{\"key\": \"%s\", \"output\": {\"@type\": "
             "\"type.googleapis.com/google.protobuf.BoolValue\", \"value\": true}}",
             key);
    if (!post(s, "Complete", json, answer))
        fail_msg("%s", answer);
}

/* The example once; its result. */
static void perform(struct stage *s, struct execution *x)
{
    const struct example *example = s->example;
    static int64_t numbers[1000];
    char text[64], key[80];

    *x = (struct execution){.s = s, .function = example->function};
    s->run_count = s->line_count = 0;
    s->deaths = s->turn = 0;
    if (example->bytes) {
        for (int64_t i = 0; i < example->number / 8; i++)
            numbers[i] = i * 7919 % 101 - 50;
        x->input = dispatch_bytes(numbers, (size_t)example->number);
    } else if (example->text) {
        bool asks = strcmp(example->function, "refund") == 0;

        snprintf(text, sizeof text, asks ? "%s-%d" : "%s", example->text, s->serial++);
        snprintf(key, sizeof key, "refund-%s", text);
        if (asks)
            complete(s, key);
        x->input = dispatch_string(text);
    } else {
        x->input = dispatch_int(example->number);
    }
    begin(x);
    end(x);
}

/* --- what an execution has to be -------------------------------------------------------------- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The effects that last, sorted, as one text; how many others there were. */
static int lasting(const struct stage *s, char text[TEXT_MAX])
{
    const char *lines[LINES_MAX];
    size_t count = 0, len = 0;
    int repeated = 0;

    for (size_t i = 0; i < s->run_count; i++) {
        const struct seen *seen = &s->runs[i];
        bool again = false;

        for (size_t j = i + 1; j < s->run_count && !again; j++)
            again = same_run(&s->runs[j].run, &seen->run);
        if (again && seen->count > 0 && !seen->cut)
            fail_msg("run %u of '%s' was made again though nothing cut it off", seen->run.resume,
                     seen->run.function);
        for (size_t j = 0; j < seen->count && !again; j++)
            lines[count++] = s->lines[seen->first + j];
        repeated += again ? (int)seen->count : 0;
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, TEXT_MAX - len, "%s", lines[i]);
    assert_true(len < TEXT_MAX);
    return repeated;
}

/* Compares with the undisturbed execution; gives how many effects happened twice. */
static int check(struct stage *s, const struct execution *x, const char *effects)
{
    char now[TEXT_MAX];
    int repeated = lasting(s, now);

    assert_string_equal(x->text, s->example->expected);
    assert_string_equal(now, effects);
    return repeated;
}

/* --- the stage -------------------------------------------------------------------------------- */

static struct stage *open_stage(const struct manner *manner)
{
    struct stage *s = calloc(1, sizeof *s);
    struct gate_events events = {
        .request = on_request, .answer = on_answer, .passed = on_passed, .arg = s};
    struct dispatch_client_options options = {.api_key = HARNESS_KEY, .connect_retry_ms = 60000};

    assert_non_null(s);
    s->example = chosen;
    s->manner = manner;
    s->app = app_path;
    harness_init(&s->h, binary);
    harness_start(&s->h);
    assert_int_equal(net_loop_create(&s->loop, NULL), 0);
    s->gate = gate_create(s->loop, &events);
    s->effects = fopen(harness_path(&s->h, "effects"), "a+");
    assert_non_null(s->effects);
    options.api_url = s->h.url;
    assert_int_equal(dispatch_client_create(&options, &s->client, NULL), 0);
    for (int i = 0; i < manner->processes; i++)
        start_process(s, i);
    return s;
}

static void close_stage(struct stage *s)
{
    dispatch_client_destroy(s->client);
    for (int i = 0; i < PROCESSES; i++)
        kill_process(s, i);
    gate_destroy(s->gate);
    net_loop_destroy(s->loop);
    fclose(s->effects);
    harness_finish(&s->h);
    free(s);
}

/* Undisturbed: what the effects are. Both processes have had their part. */
static void perform_undisturbed(struct stage *s, char effects[TEXT_MAX])
{
    struct execution x;

    memset(s->served, 0, sizeof s->served);
    perform(s, &x);
    assert_string_equal(x.text, s->example->expected);
    assert_int_equal(lasting(s, effects), 0);
    assert_int_equal(s->deaths, 0);
    for (int i = 0; i < s->manner->processes; i++)
        assert_true(s->served[i] > 0);
}

/* Which of so many points comes first, where not all do: over time each has its turn. */
static size_t first_of(const struct manner *manner, size_t points)
{
    size_t stride = (size_t)manner->stride;

    return seed % (stride < points ? stride : points);
}

static void die_at_every_point(const struct manner *manner)
{
    struct stage *s = open_stage(manner);
    char effects[TEXT_MAX];
    int repeated = 0, kills = 0;
    struct execution x;

    perform_undisturbed(s, effects);
    for (int victim = 0; victim < manner->processes; victim++) {
        /* Each of several processes comes by its part of them. */
        size_t points = (size_t)(manner->processes == 1 ? chosen->points
                                                        : chosen->points / (2 * manner->processes));
        int point = 1 + (int)first_of(manner, points);

        do {
            for (int i = 0; i < manner->processes; i++)
                if (s->processes[i].pid == 0)
                    start_process(s, i);
            arm(s, victim, point);
            point += manner->stride;
            perform(s, &x);
            repeated += check(s, &x, effects);
            kills += s->deaths;
        } while (s->deaths > 0);
        arm(s, victim, 0);
    }
    print_message("%s, %s: the same though killed at %d points; %d effects happened twice\n",
                  s->example->name, manner->name, kills, repeated);
    close_stage(s);
    if (manner->processes == 1 && manner->stride == 1)
        assert_int_equal(kills, chosen->points);
    assert_true(kills > 0 && (repeated > 0 || manner->stride > 1));
}

static void test_application_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++)
        die_at_every_point(&manners[i]);
}

/* --- the server ------------------------------------------------------------------------------- */

static void test_server_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        struct stage *s = open_stage(&manners[i]);
        char effects[TEXT_MAX];
        struct execution x;
        int repeated;

        perform_undisturbed(s, effects);
        s->kills_server = true;
        s->first = first_of(&manners[i], s->run_count);
        perform(s, &x);
        repeated = check(s, &x, effects);
        print_message("%s, %s: the same though the server was killed %d times; %d effects happened "
                      "twice\n",
                      s->example->name, s->manner->name, s->deaths, repeated);
        assert_true(s->deaths > 0);
        if (manners[i].stride == 1)
            assert_true(repeated > 0);
        close_stage(s);
    }
}

/* --- code that changes ------------------------------------------------------------------------ */

static bool both_wait(const struct stage *s)
{
    return s->waiting == 2;
}

static bool has_diverged(const struct stage *s)
{
    return s->diverged;
}

static void run_until(struct stage *s, bool (*until)(const struct stage *s))
{
    s->until = until;
    while (!until(s))
        net_loop_run(s->loop);
    s->until = NULL;
}

static void become(struct stage *s, const char *app)
{
    kill_process(s, 0);
    s->app = app;
    start_process(s, 0);
}

/* What is known of the call, once it waits to be tried again. */
static void look(struct stage *s, const char *id, char info[TEXT_MAX])
{
    char json[128];

    snprintf(json, sizeof json, "{\"dispatchId\": \"%s\"}", id);
    do
        assert_true(post(s, "Get", json, info));
    while (!strstr(info, "\"lastError\""));
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in: %s", part, text);
}

/* Calls of both functions wait for a word; the word comes when the next version is there. */
static void test_changed(void **state)
{
    struct stage *s = open_stage(&manners[0]);
    struct execution grows = {.s = s, .function = "grows", .input = dispatch_string("go")};
    struct execution turns = {.s = s, .function = "turns", .input = dispatch_string("on")};
    struct execution fresh = {.s = s, .function = "grows", .input = dispatch_string("new")};
    char info[TEXT_MAX];

    (void)state;
    begin(&grows);
    begin(&turns);
    run_until(s, both_wait);
    become(s, next_app_path);
    /* Where the awaits agree the new code goes on, on the old side of what it has patched. */
    complete(s, "go");
    end(&grows);
    assert_string_equal(grows.text, "version 2: seat-42 bag-42");
    complete(s, "new");
    begin(&fresh);
    end(&fresh);
    assert_string_equal(fresh.text, "version 2: seat-42 bag-42meal-42");
    /* Where they do not the call waits, and says for what. */
    complete(s, "on");
    run_until(s, has_diverged);
    look(s, turns.ids.id[0], info);
    has(info, "\"type\":\"Diverged\"");
    has(info,
        "of 'turns': the journal has call of 'book', the code made call of 'cancel'; the call "
        "waits for the code that wrote the journal");
    has(info, "\"waitingFor\":\"retry in ");
    assert_false(atomic_load(&turns.done));
    become(s, app_path);
    end(&turns);
    assert_string_equal(turns.text, "version 1: seat-42 bag-42");
    close_stage(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_application_killed),
        cmocka_unit_test(test_server_killed),
    };
    const struct CMUnitTest changes[] = {cmocka_unit_test(test_changed)};

    if (argc != 5)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    binary = argv[1];
    app_path = argv[2];
    next_app_path = argv[3];
    if (getenv("SEED"))
        seed = strtoull(getenv("SEED"), NULL, 10);
    else
        rand_system(&seed, sizeof seed);
    print_message("SEED=%" PRIu64 "\n", seed);
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++)
        if (strcmp(examples[i].name, argv[4]) == 0)
            chosen = &examples[i];
    if (strcmp(argv[4], "changed") == 0)
        return cmocka_run_group_tests(changes, NULL, NULL);
    return chosen ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
