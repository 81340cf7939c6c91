// SPDX-License-Identifier: Apache-2.0
#include "workload.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/row.h"
#include "store/store.h"

#define CONNECTS_MAX 1024
#define BATCH_MAX    10000
#define CALLS_MAX    10000000

/* --- settings -------------------------------------------------------------------------------- */

static long read_number(const char *name, const char *text, long max)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (end == text || *end || n < 1 || n > max)
        die("--%s %s: a number from 1 to %ld", name, text, max);
    return n;
}

static enum workload read_workload(const char *text)
{
    static const char *const names[] = {
        [BATCHED] = "batched", [SINGLE] = "single", [LATENCY] = "latency", [CALL] = "call",
        [SUSPEND] = "suspend", [POST] = "post",     [IDLE] = "idle"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum workload)i;
    die("--workload %s: there is none of that name", text);
}

enum option_key {
    WORKLOAD,
    FUNCTION,
    INPUT,
    CALLS,
    BATCH,
    CONNECTIONS,
    STEPS,
    API,
    ENDPOINT,
    STORE,
    SERVER,
    APPLICATION,
    SYNCS,
    PATH,
    BODY,
    DRAIN_URL,
    DRAIN_BODY,
    DRAINED
};

static const struct option options[] = {{"workload", 1, NULL, WORKLOAD},
                                        {"function", 1, NULL, FUNCTION},
                                        {"input", 1, NULL, INPUT},
                                        {"calls", 1, NULL, CALLS},
                                        {"batch", 1, NULL, BATCH},
                                        {"connections", 1, NULL, CONNECTIONS},
                                        {"steps", 1, NULL, STEPS},
                                        {"api", 1, NULL, API},
                                        {"endpoint", 1, NULL, ENDPOINT},
                                        {"store", 1, NULL, STORE},
                                        {"server", 1, NULL, SERVER},
                                        {"application", 1, NULL, APPLICATION},
                                        {"syncs", 1, NULL, SYNCS},
                                        {"path", 1, NULL, PATH},
                                        {"body", 1, NULL, BODY},
                                        {"drain-url", 1, NULL, DRAIN_URL},
                                        {"drain-body", 1, NULL, DRAIN_BODY},
                                        {"drained", 1, NULL, DRAINED},
                                        {0}};

/* True: `key` is the name of a text, which is now in its place. */
static bool set_text(struct settings *s, int key, const char *value)
{
    const char **const places[] = {[FUNCTION] = &s->function,
                                   [API] = &s->api,
                                   [ENDPOINT] = &s->endpoint,
                                   [STORE] = &s->store,
                                   [SYNCS] = &s->syncs,
                                   [PATH] = &s->path,
                                   [BODY] = &s->body,
                                   [DRAIN_URL] = &s->drain_url,
                                   [DRAIN_BODY] = &s->drain_body,
                                   [DRAINED] = &s->drained};

    if ((size_t)key >= sizeof places / sizeof *places || !places[key])
        return false;
    *places[key] = value;
    return true;
}

static void set_number(struct settings *s, int key, const char *value)
{
    const char *name = options[key].name;

    switch (key) {
    case INPUT:
        s->input = read_number(name, value, CALLS_MAX);
        break;
    case CALLS:
        s->calls = read_number(name, value, CALLS_MAX);
        break;
    case BATCH:
        s->batch = read_number(name, value, BATCH_MAX);
        break;
    case CONNECTIONS:
        s->connections = read_number(name, value, CONNECTS_MAX);
        break;
    case STEPS:
        s->steps = read_number(name, value, CALLS_MAX);
        break;
    case SERVER:
        s->server = (pid_t)read_number(name, value, INT32_MAX);
        break;
    default:
        s->application = (pid_t)read_number(name, value, INT32_MAX);
    }
}

void settings_read(struct settings *s, int argc, char **argv)
{
    int key;

    *s = (struct settings){
        .function = "noop", .input = -1, .calls = 20000, .batch = 1, .connections = 1, .steps = 1};
    while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (key == '?')
            exit(2);
        if (key == WORKLOAD)
            s->workload = read_workload(optarg);
        else if (!set_text(s, key, optarg))
            set_number(s, key, optarg);
    }
    if (s->workload == POST ? !s->api || !s->path || !s->body : !s->store)
        die("post needs --api, --path and --body; the others need --store");
    if (s->drain_url && (!s->drain_body || !s->drained))
        die("--drain-url needs --drain-body and --drained");
}

long settings_requests(const struct settings *s)
{
    return (s->calls + s->batch - 1) / s->batch;
}

bool settings_alone(const struct settings *s)
{
    return s->workload == LATENCY || s->workload == CALL;
}

/* --- what is used ---------------------------------------------------------------------------- */

/* The count that the preloaded library keeps; it stays mapped. */
static uint64_t read_syncs(const char *path)
{
    static const volatile uint64_t *syncs;
    int fd;
    void *mapped;

    if (!path)
        return 0;
    if (!syncs) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *syncs, PROT_READ, MAP_SHARED, fd, 0);
        if (mapped == MAP_FAILED)
            die("%s cannot be read", path);
        close(fd);
        syncs = mapped;
    }
    return *syncs;
}

struct usage usage_now(const struct settings *s)
{
    return (struct usage){.at = measure_now_ns(),
                          .server_cpu = s->server ? measure_cpu_ns(s->server) : 0,
                          .application_cpu = s->application ? measure_cpu_ns(s->application) : 0,
                          .load_cpu = measure_cpu_ns(getpid()),
                          .written = measure_written_bytes(s->server ? s->server : getpid()),
                          .syncs = read_syncs(s->syncs)};
}

static double us(int64_t a, int64_t b, double steps)
{
    return (double)(b - a) / 1000 / steps;
}

void report(const struct settings *s, const struct usage *a, const struct usage *b,
            struct samples *samples)
{
    double steps = (double)(settings_requests(s) * s->batch * s->steps);
    double seconds = (double)(b->at - a->at) / 1e9;
    double server = us(a->server_cpu, b->server_cpu, steps);
    double application = us(a->application_cpu, b->application_cpu, steps);
    double load = us(a->load_cpu, b->load_cpu, steps);

    printf("{\"calls\": %.0f, \"seconds\": %.4f, \"calls_per_s\": %.1f, \"all_us\": %.2f", steps,
           seconds, steps / seconds, server + application + load);
    if (s->server)
        printf(", \"server_us\": %.2f, \"application_us\": %.2f, \"load_us\": %.2f", server,
               application, load);
    printf(", \"p50_us\": %.1f", samples_percentile_us(samples, 50));
    printf(", \"p99_us\": %.1f", samples_percentile_us(samples, 99));
    printf(", \"step_us\": %.1f", samples_percentile_us(samples, 50) / (double)s->steps);
    if (a->written >= 0)
        printf(", \"written_bytes\": %.1f", (double)(b->written - a->written) / steps);
    if (s->syncs)
        printf(", \"syncs\": %.5f", (double)(b->syncs - a->syncs) / steps);
    puts("}");
}

/* --- the store ------------------------------------------------------------------------------- */

struct watch {
    const struct settings *settings;
    struct store *store;
    uint64_t first; /* calls from here on are the run's */
    uint64_t next;  /* SUSPEND: those before are suspended, `suspended` in number */
    long suspended;
    struct error error;
};

static void walk(struct watch *w, const struct store_range *range, store_row_fn *fn, void *arg)
{
    int code = store_walk(w->store, 0, range, fn, arg, &w->error);

    if (code && code != -1) /* -1: fn has seen enough */
        die("%s: %s", w->settings->store, w->error.message);
}

static int keep_key(void *arg, const struct store_row *row)
{
    *(uint64_t *)arg = row->key;
    return 0;
}

static int count_row(void *arg, const struct store_row *row)
{
    (void)row;
    ++*(long *)arg;
    return 0;
}

static long count_rows(struct watch *w, enum table table, size_t limit)
{
    struct store_range range = {
        .table = table, .from_key = w->first, .to_key = KEY_MAX, .to_sub = SUB_MAX, .limit = limit};
    long count = 0;

    walk(w, &range, count_row, &count);
    return count;
}

struct watch *watch_create(const struct settings *s)
{
    struct watch *w = calloc(1, sizeof *w);
    struct store_range last = {
        .to_key = KEY_MAX, .to_sub = SUB_MAX, .descending = true, .limit = 1};
    uint64_t live = 0, done = 0;

    if (!w)
        die("out of memory");
    w->settings = s;
    if (store_open(&w->store, s->store, &(struct store_options){.read_only = true}, &w->error))
        die("%s: %s", s->store, w->error.message);
    last.table = TABLE_CALL;
    walk(w, &last, keep_key, &live);
    last.table = TABLE_DONE;
    walk(w, &last, keep_key, &done);
    w->first = w->next = (live > done ? live : done) + 1;
    return w;
}

static int skip_suspended(void *arg, const struct store_row *row)
{
    struct watch *w = arg;
    struct slice in = row->value;
    struct engine_row call;

    if (row_decode(&in, &call, &w->error))
        die("call %" PRIu64 ": %s", row->key, w->error.message);
    if (call.state != CALL_SUSPENDED)
        return -1;
    w->next = row->key + 1;
    w->suspended++;
    return 0;
}

bool watch_over(struct watch *w)
{
    struct store_range range = {
        .table = TABLE_CALL, .from_key = w->next, .to_key = KEY_MAX, .to_sub = SUB_MAX};

    if (w->settings->workload != SUSPEND)
        return count_rows(w, TABLE_CALL, 1) == 0;
    walk(w, &range, skip_suspended, w);
    return w->suspended == settings_requests(w->settings) * w->settings->batch;
}

void watch_check(struct watch *w)
{
    long calls = settings_requests(w->settings) * w->settings->batch, done;

    if (w->settings->workload == SUSPEND)
        return; /* watch_over has counted them */
    done = count_rows(w, TABLE_DONE, 0);
    if (done != calls)
        die("%ld calls were dispatched, %ld are recorded as done", calls, done);
}

void watch_destroy(struct watch *w)
{
    store_close(w->store);
    free(w);
}
