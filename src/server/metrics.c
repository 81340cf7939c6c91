// SPDX-License-Identifier: Apache-2.0
/*
 * Each metric is begun once, with its help and type, and its samples follow. Labels have bounds:
 * states and statuses are few, functions are those that the engine counts by name, and groups the
 * first METRICS_GROUPS_MAX; a sample with empty names is of all the others together.
 */
#include "server/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* --- the format ------------------------------------------------------------------------------- */

static void begin(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void whole(struct buf *out, const char *name, uint64_t value)
{
    buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void gauge(struct buf *out, const char *name, uint64_t value, const char *help)
{
    begin(out, name, "gauge", help);
    whole(out, name, value);
}

static void counter(struct buf *out, const char *name, uint64_t value, const char *help)
{
    begin(out, name, "counter", help);
    whole(out, name, value);
}

static void label(struct buf *out, const char *name, struct slice value)
{
    const char *text = value.data;

    buf_printf(out, "%s=\"", name);
    for (size_t i = 0; i < value.len; i++) {
        if (text[i] == '\n')
            buf_append_str(out, "\\n");
        else if (text[i] == '"' || text[i] == '\\')
            buf_printf(out, "\\%c", text[i]);
        else
            buf_append_byte(out, (uint8_t)text[i]);
    }
    buf_append_byte(out, '"');
}

/* One with two labels. */
static void labelled(struct buf *out, const char *metric, const char *const names[2],
                     struct slice first, struct slice second, double value)
{
    buf_printf(out, "%s{", metric);
    label(out, names[0], first);
    buf_append_byte(out, ',');
    label(out, names[1], second);
    buf_printf(out, "} %.15g\n", value);
}

/* `unit` of what was noted is 1 of what is shown. */
static void histogram(struct buf *out, const char *name, const struct histogram *h, double unit,
                      const char *help)
{
    uint64_t count = 0;

    begin(out, name, "histogram", help);
    for (size_t i = 0;; i++) {
        count += h->counts[i];
        if (h->bounds[i] == UINT64_MAX)
            break;
        buf_printf(out, "%s_bucket{le=\"%.15g\"} %" PRIu64 "\n", name, (double)h->bounds[i] / unit,
                   count);
    }
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
    buf_printf(out, "%s_sum %.15g\n", name, (double)h->sum / unit);
    buf_printf(out, "%s_count %" PRIu64 "\n", name, count);
}

/* --- calls ------------------------------------------------------------------------------------ */

static void write_state(struct buf *out, const char *state, uint64_t calls)
{
    buf_printf(out, "dispatch_calls{state=\"%s\"} %" PRIu64 "\n", state, calls);
}

static void write_calls(struct buf *out, const struct engine_stats *s)
{
    begin(out, "dispatch_calls", "gauge", "Live calls, by state.");
    write_state(out, "ready", s->ready);
    write_state(out, "waiting", s->waiting);
    write_state(out, "running", s->running);
    write_state(out, "suspended", s->suspended);
    write_state(out, "out_of_memory", s->swapped);
    counter(out, "dispatch_calls_created_total", s->dispatched, "Calls made.");
    counter(out, "dispatch_calls_ended_total", s->finished, "Calls that ended, in whatever way.");
    counter(out, "dispatch_calls_expired_total", s->expired, "Calls that ended as they expired.");
    counter(out, "dispatch_calls_cancelled_total", s->cancelled, "Calls that were cancelled.");
    counter(out, "dispatch_retries_total", s->retries, "Runs that a call has to wait for again.");
    counter(out, "dispatch_stale_answers_total", s->stale_answers,
            "Answers of runs that were not wanted any more.");
}

static void write_functions(struct buf *out, const struct engine *engine)
{
    static const char *const by_state[2] = {"function", "state"};
    static const char *const by_status[2] = {"function", "status"};
    size_t count = 0;
    const struct engine_tally *t = engine ? engine_tallies(engine, &count) : NULL;

    begin(out, "dispatch_function_calls", "gauge", "Calls in memory, by function and state.");
    for (size_t i = 0; i < count; i++)
        for (unsigned s = 0; s < CALL_DONE; s++)
            labelled(out, "dispatch_function_calls", by_state, t[i].function,
                     slice_str(call_state_name(s)), (double)t[i].calls[s]);
    begin(out, "dispatch_function_ended_total", "counter",
          "Calls that ended, by function and status.");
    for (size_t i = 0; i < count; i++)
        for (unsigned s = 0; s < STATUS_COUNT; s++)
            if (t[i].ended[s])
                labelled(out, "dispatch_function_ended_total", by_status, t[i].function,
                         slice_str(status_name(s)), (double)t[i].ended[s]);
}

/* --- runs and commits ------------------------------------------------------------------------- */

static void write_runs(struct buf *out, const struct orchestrator *o,
                       const struct orchestrator_stats *s)
{
    static const char *const names[2] = {"outcome", "status"};
    static const char *const outcomes[] = {"exit", "tail_call", "poll"};
    const struct orchestrator_meters *m = orchestrator_meters(o);
    const struct engine *engine = orchestrator_engine(o);
    struct histogram none;

    begin(out, "dispatch_attempts_total", "counter", "Runs answered, by what came of them.");
    for (unsigned i = 0; i < ORCHESTRATOR_OUTCOMES; i++)
        for (unsigned k = 0; k < STATUS_COUNT; k++)
            if (m->attempts[i][k])
                labelled(out, "dispatch_attempts_total", names, slice_str(outcomes[i]),
                         slice_str(status_name(k)), (double)m->attempts[i][k]);
    gauge(out, "dispatch_runs_in_flight", s->runs_in_flight, "Runs that were not answered yet.");
    gauge(out, "dispatch_runs_max", engine ? engine_limits(engine)->runs_max : 0,
          "How many runs may be in flight.");
    histogram_init(&none, histogram_times);
    histogram(out, "dispatch_queue_wait_seconds", engine ? engine_queue_wait(engine) : &none, 1e9,
              "From when a call could run until its run began.");
    histogram(out, "dispatch_run_seconds", &m->run_time, 1e9,
              "From when a run was handed over until its answer.");
    counter(out, "dispatch_commits_total", s->commits, "Batches made durable.");
    counter(out, "dispatch_commit_failures_total", s->commit_failures, "Batches that were not.");
    histogram(out, "dispatch_commit_seconds", &m->commit_time, 1e9,
              "How long a commit took, waiting for the store's thread included.");
    histogram(out, "dispatch_commit_rows", &m->commit_rows, 1, "Rows of a batch.");
    histogram(out, "dispatch_commit_bytes", &m->commit_bytes, 1, "Bytes of a batch.");
}

/* --- groups ----------------------------------------------------------------------------------- */

static const struct group_metric {
    const char *name, *type, *help;
    bool adds_up;
} group_metrics[] = {
    {"dispatch_group_window", "gauge", "How many runs may be in flight to an endpoint.", false},
    {"dispatch_group_in_flight", "gauge", "Runs in flight to an endpoint.", true},
    {"dispatch_group_ready", "gauge", "Calls that wait for their turn at an endpoint.", true},
    {"dispatch_group_attempts_total", "counter", "Runs made at an endpoint.", true},
    {"dispatch_group_decreases_total", "counter", "How often a window became smaller.", true},
};

static double group_value(const struct engine_group *g, size_t metric)
{
    const double values[] = {g->window, g->in_flight, g->ready, (double)g->attempts,
                             (double)g->decreases};

    return values[metric];
}

static void write_groups(struct buf *out, const struct engine *engine)
{
    static const char *const names[2] = {"organization", "endpoint"};
    struct engine_group g;

    gauge(out, "dispatch_groups", engine ? engine_group_count(engine) : 0,
          "Endpoints of organizations that are known, each with a window.");
    for (size_t m = 0; m < sizeof group_metrics / sizeof *group_metrics; m++) {
        const struct group_metric *metric = &group_metrics[m];
        uint32_t at = 0, shown = 0;
        double others = 0;

        begin(out, metric->name, metric->type, metric->help);
        while (engine && engine_next_group(engine, &at, &g)) {
            if (shown++ < METRICS_GROUPS_MAX)
                labelled(out, metric->name, names, g.org, g.host, group_value(&g, m));
            else
                others += group_value(&g, m);
        }
        if (metric->adds_up)
            labelled(out, metric->name, names, slice_str(""), slice_str(""), others);
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

static void write_memory(struct buf *out, const struct orchestrator *o,
                         const struct orchestrator_stats *s)
{
    const struct engine *engine = orchestrator_engine(o);

    gauge(out, "dispatch_calls_in_memory", s->engine.live, "Live calls that memory has.");
    gauge(out, "dispatch_calls_in_memory_max", engine ? engine_limits(engine)->live_max : 0,
          "How many it may have.");
    counter(out, "dispatch_trees_swapped_out_total", s->engine.swapped_out,
            "Trees that only waited and left memory.");
    counter(out, "dispatch_trees_swapped_in_total", s->engine.swapped_in,
            "Trees that came back to memory.");
    gauge(out, "dispatch_cache_bytes", s->cache_bytes, "Recent payloads kept in memory.");
    gauge(out, "dispatch_cache_max_bytes", s->cache_max, "How many bytes of them may be kept.");
    counter(out, "dispatch_cache_hits_total", s->cache_hits, "Payloads found in memory.");
    counter(out, "dispatch_cache_misses_total", s->cache_misses, "Payloads read from the store.");
    gauge(out, "dispatch_kept_calls", s->engine.kept_calls, "Ended calls that are kept.");
    gauge(out, "dispatch_kept_bytes", s->engine.kept_bytes, "What they take in the store, about.");
    gauge(out, "dispatch_kept_max_bytes", s->retention_bytes,
          "What they may take; 0: there is no limit.");
}

/* --- the process ------------------------------------------------------------------------------ */

struct process {
    unsigned long user, system; /* ticks */
    unsigned long long started; /* ticks since the machine was */
    unsigned long virtual_bytes;
    long resident_pages;
};

/* False: the system does not say. */
static bool read_process(struct process *p)
{
    char text[1024], *end;
    FILE *file = fopen("/proc/self/stat", "re");
    size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;

    if (file)
        fclose(file);
    text[len] = '\0';
    end = strrchr(text, ')'); /* of the command's name, in which anything may stand */
    return end &&
           sscanf(end + 1,
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d "
                  "%*d %llu %lu %ld",
                  &p->user, &p->system, &p->started, &p->virtual_bytes, &p->resident_pages) == 5;
}

static uint64_t open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    uint64_t count = 0;

    if (!directory)
        return 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count > 3 ? count - 3 : 0; /* ".", "..", and the directory itself */
}

/* In seconds, now. */
static double seconds(clockid_t clock)
{
    struct timespec now = {0};

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void write_process(struct buf *out)
{
    double ticks = (double)sysconf(_SC_CLK_TCK);
    struct process p = {0};
    struct rlimit limit;

    begin(out, "dispatch_build_info", "gauge", "The version; always 1.");
    buf_append_str(out, "dispatch_build_info{version=\"" DISPATCH_VERSION "\"} 1\n");
    if (read_process(&p)) {
        begin(out, "process_cpu_seconds_total", "counter", "CPU time, user and system.");
        buf_printf(out, "process_cpu_seconds_total %.15g\n", (double)(p.user + p.system) / ticks);
        begin(out, "process_start_time_seconds", "gauge", "When the process began.");
        buf_printf(out, "process_start_time_seconds %.15g\n",
                   seconds(CLOCK_REALTIME) - seconds(CLOCK_BOOTTIME) + (double)p.started / ticks);
        gauge(out, "process_virtual_memory_bytes", p.virtual_bytes, "Virtual memory.");
        gauge(out, "process_resident_memory_bytes",
              (uint64_t)p.resident_pages * (uint64_t)sysconf(_SC_PAGESIZE), "Resident memory.");
    }
    gauge(out, "process_open_fds", open_descriptors(), "Open file descriptors.");
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        gauge(out, "process_max_fds", limit.rlim_cur, "How many may be open.");
}

void metrics_write(const struct orchestrator *o, struct buf *out)
{
    struct orchestrator_stats stats;

    write_process(out);
    begin(out, "dispatch_ready", "gauge", "1: calls are taken.");
    whole(out, "dispatch_ready", o && orchestrator_ready(o));
    if (!o)
        return;
    orchestrator_stats(o, &stats);
    gauge(out, "dispatch_incarnation", stats.incarnation,
          "Grows whenever the store is loaded: when the server starts, and after failed commits.");
    write_calls(out, &stats.engine);
    write_functions(out, orchestrator_engine(o));
    write_runs(out, o, &stats);
    write_groups(out, orchestrator_engine(o));
    write_memory(out, o, &stats);
}
