// SPDX-License-Identifier: Apache-2.0
/*
 * StatsService: the groups that have most to do, by the engine's records, and how fast they are, by
 * the attempts that are remembered (recent.h): those that ended within the last ten seconds, or
 * within as many as are remembered, if those are fewer.
 */
#include <stdlib.h>

#include "server/api.h"

#define LIMIT_DEFAULT 20
#define LIMIT_MAX     1000
#define RATE_NS       (10 * NS_PER_S)
#define NAMES_MAX     ((size_t)4 << 20)

struct found {
    struct engine_group group;
    uint64_t hash;
    uint64_t ended, failed, p50, p99; /* within the time that is looked at */
};

struct org_found {
    struct slice org;
    uint64_t hash, in_flight, ready, ended;
    uint32_t groups;
};

/* How long an attempt took, and of which group. */
struct sample {
    uint64_t group, took;
    bool failed;
};

struct stats {
    struct arena arena;
    struct rpc *rpc;
    size_t limit;
    const char *only; /* the one organization that is to be seen; NULL: all */
    struct found *groups;
    size_t group_count, all_groups;
    struct org_found *orgs; /* LIMIT_MAX */
    size_t org_count, all_orgs;
    struct sample *samples;
    size_t sample_count;
    int64_t rate_ns;
};

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* --- groups ----------------------------------------------------------------------------------- */

/* The busiest first. */
static int by_business(const void *a, const void *b)
{
    const struct engine_group *left = &((const struct found *)a)->group;
    const struct engine_group *right = &((const struct found *)b)->group;
    int order =
        compare((uint64_t)right->in_flight + right->ready, (uint64_t)left->in_flight + left->ready);

    return order ? order : compare(right->attempts, left->attempts);
}

static int by_hash(const void *a, const void *b)
{
    return compare(((const struct found *)a)->hash, ((const struct found *)b)->hash);
}

static void note_org(struct stats *s, const struct engine_group *g)
{
    uint64_t hash = slice_hash(g->org, 0);
    struct org_found *o = s->orgs, *end = o + s->org_count;

    while (o < end && o->hash != hash)
        o++;
    if (o == end) {
        s->all_orgs++;
        if (s->org_count == LIMIT_MAX)
            return;
        s->org_count++;
        *o = (struct org_found){.org = g->org, .hash = hash};
    }
    o->groups++;
    o->in_flight += g->in_flight;
    o->ready += g->ready;
}

/* Room for twice the groups that are wanted: the others go when it is full. */
static void find_groups(struct stats *s, const struct engine *engine)
{
    struct found found = {0};
    uint32_t at = 0;

    while (engine && engine_next_group(engine, &at, &found.group)) {
        if (s->only && !slice_eq_str(found.group.org, s->only))
            continue;
        s->all_groups++;
        note_org(s, &found.group);
        if (s->group_count == 2 * s->limit) {
            qsort(s->groups, s->group_count, sizeof *s->groups, by_business);
            s->group_count = s->limit;
        }
        found.hash = recent_group(found.group.org, found.group.host);
        s->groups[s->group_count++] = found;
    }
    qsort(s->groups, s->group_count, sizeof *s->groups, by_business);
    if (s->group_count > s->limit)
        s->group_count = s->limit;
}

/* --- rates ------------------------------------------------------------------------------------ */

static bool is_failure(const struct recent_attempt *a)
{
    return a->outcome == RECENT_FAILED || a->status != STATUS_OK;
}

static void take_samples(struct stats *s, int64_t now)
{
    const struct recent *recent = s->rpc->api->recent;
    int64_t from = now - RATE_NS, since = recent_since(recent);
    const struct recent_attempt *a;

    if (since > from)
        from = since;
    s->rate_ns = now - from > 0 ? now - from : 1;
    for (uint64_t place = 0; (a = recent_next(recent, NULL, &place)); place++) {
        int64_t took = a->ended - a->started;

        if (a->outcome != RECENT_RUNNING && a->outcome != RECENT_GIVEN_UP && a->ended >= from)
            s->samples[s->sample_count++] = (struct sample){
                .group = a->group, .took = took > 0 ? (uint64_t)took : 0, .failed = is_failure(a)};
    }
}

static int by_group(const void *a, const void *b)
{
    const struct sample *left = a, *right = b;
    int order = compare(left->group, right->group);

    return order ? order : compare(left->took, right->took);
}

static struct org_found *org_of(const struct stats *s, const struct found *group)
{
    uint64_t hash = slice_hash(group->group.org, 0);

    for (size_t i = 0; i < s->org_count; i++) {
        if (s->orgs[i].hash == hash)
            return &s->orgs[i];
    }
    return NULL;
}

/* `count` samples of one group, the shortest first. */
static void measure(struct stats *s, const struct sample *samples, size_t count)
{
    const struct found key = {.hash = samples->group};
    struct found *group = bsearch(&key, s->groups, s->group_count, sizeof *s->groups, by_hash);
    struct org_found *org = group ? org_of(s, group) : NULL;

    if (!group)
        return;
    group->ended = count;
    for (size_t i = 0; i < count; i++)
        group->failed += samples[i].failed;
    group->p50 = samples[(count - 1) / 2].took;
    group->p99 = samples[(count - 1) * 99 / 100].took;
    if (org)
        org->ended += count;
}

static void find_rates(struct stats *s)
{
    take_samples(s, clock_now(clock_system()));
    qsort(s->samples, s->sample_count, sizeof *s->samples, by_group);
    qsort(s->groups, s->group_count, sizeof *s->groups, by_hash);
    for (size_t i = 0, end; i < s->sample_count; i = end) {
        for (end = i; end < s->sample_count && s->samples[end].group == s->samples[i].group;)
            end++;
        measure(s, s->samples + i, end - i);
    }
    qsort(s->groups, s->group_count, sizeof *s->groups, by_business);
}

/* --- the answer ------------------------------------------------------------------------------- */

static double per_second(const struct stats *s, uint64_t count)
{
    return (double)count * (double)NS_PER_S / (double)s->rate_ns;
}

static bool add_group(struct stats *s, const struct found *f, Dispatch__V1__Group *to)
{
    dispatch__v1__group__init(to);
    to->organization = arena_dup(&s->arena, f->group.org);
    to->endpoint = arena_dup(&s->arena, f->group.host);
    to->window = f->group.window;
    to->in_flight = f->group.in_flight;
    to->ready = f->group.ready;
    to->attempts = f->group.attempts;
    to->decreases = f->group.decreases;
    if (f->group.decreases)
        to->decreased_by = (Dispatch__Sdk__V1__Status)f->group.decreased_by;
    to->ended_per_second = per_second(s, f->ended);
    to->failed_per_second = per_second(s, f->failed);
    to->run_p50_seconds = (double)f->p50 / (double)NS_PER_S;
    to->run_p99_seconds = (double)f->p99 / (double)NS_PER_S;
    return to->organization && to->endpoint;
}

static bool add_org(struct stats *s, const struct org_found *o, Dispatch__V1__OrganizationStats *to)
{
    dispatch__v1__organization_stats__init(to);
    to->organization = arena_dup(&s->arena, o->org);
    to->groups = o->groups;
    to->in_flight = o->in_flight;
    to->ready = o->ready;
    to->ended_per_second = per_second(s, o->ended);
    return to->organization;
}

/* The bound of the bucket in which the value is that `share` of all reach at most. */
static double quantile(const struct histogram *h, double share)
{
    uint64_t all = 0, count = 0;
    size_t i = 0;

    for (size_t k = 0;; k++) {
        all += h->counts[k];
        if (h->bounds[k] == UINT64_MAX)
            break;
    }
    for (; h->bounds[i] != UINT64_MAX; i++) {
        count += h->counts[i];
        if ((double)count >= share * (double)all)
            break;
    }
    if (h->bounds[i] == UINT64_MAX && i > 0)
        i--; /* it is more than that */
    return all ? (double)h->bounds[i] / (double)NS_PER_S : 0;
}

static void fill_totals(const struct stats *s, Dispatch__V1__Totals *to)
{
    const struct orchestrator *o = s->rpc->api->orchestrator;
    const struct engine *engine = orchestrator_engine(o);
    const struct orchestrator_meters *m = orchestrator_meters(o);
    struct orchestrator_stats stats;

    orchestrator_stats(o, &stats);
    to->live = stats.engine.live;
    to->live_max = engine ? engine_limits(engine)->live_max : 0;
    to->ready = stats.engine.ready;
    to->waiting = stats.engine.waiting;
    to->running = stats.engine.running;
    to->suspended = stats.engine.suspended;
    to->out_of_memory = stats.engine.swapped;
    to->runs_in_flight = stats.runs_in_flight;
    to->runs_max = engine ? engine_limits(engine)->runs_max : 0;
    to->dispatched = stats.engine.dispatched;
    to->finished = stats.engine.finished;
    to->commits = stats.commits;
    to->commit_failures = stats.commit_failures;
    to->commit_p50_seconds = quantile(&m->commit_time, 0.5);
    to->commit_p99_seconds = quantile(&m->commit_time, 0.99);
    to->organizations = s->all_orgs;
}

static int org_by_business(const void *a, const void *b)
{
    const struct org_found *left = a, *right = b;

    return compare(right->in_flight + right->ready, left->in_flight + left->ready);
}

static bool fill(struct stats *s, Dispatch__V1__StatsResponse *to)
{
    size_t orgs = s->rpc->control ? (s->org_count < s->limit ? s->org_count : s->limit) : 0;
    Dispatch__V1__Group *groups = arena_zalloc(&s->arena, s->group_count + 1, sizeof *groups);
    Dispatch__V1__OrganizationStats *shown = arena_zalloc(&s->arena, orgs + 1, sizeof *shown);
    bool good = groups && shown;

    to->groups = arena_zalloc(&s->arena, s->group_count + 1, sizeof(Dispatch__V1__Group *));
    to->organizations =
        arena_zalloc(&s->arena, orgs + 1, sizeof(Dispatch__V1__OrganizationStats *));
    good = good && to->groups && to->organizations;
    for (size_t i = 0; good && i < s->group_count; i++) {
        to->groups[to->n_groups++] = &groups[i];
        good = add_group(s, &s->groups[i], &groups[i]);
    }
    qsort(s->orgs, s->org_count, sizeof *s->orgs, org_by_business);
    for (size_t i = 0; good && i < orgs; i++) {
        to->organizations[to->n_organizations++] = &shown[i];
        good = add_org(s, &s->orgs[i], &shown[i]);
    }
    return good;
}

static void answer(struct stats *s)
{
    Dispatch__V1__StatsResponse response = DISPATCH__V1__STATS_RESPONSE__INIT;
    const struct orchestrator *o = s->rpc->api->orchestrator;
    Dispatch__V1__Totals totals = DISPATCH__V1__TOTALS__INIT;
    wire_timestamp now;
    struct error err;

    google__protobuf__timestamp__init(&now);
    wire_set_time(&now, clock_now(clock_system()));
    response.time = &now;
    response.ready = orchestrator_ready(o);
    response.trouble = (char *)(uintptr_t)orchestrator_trouble(o);
    response.group_count = (uint32_t)s->all_groups;
    response.rate_seconds = (double)s->rate_ns / (double)NS_PER_S;
    if (api_sees_all(s->rpc->api, s->rpc->control, s->rpc->org)) {
        fill_totals(s, &totals);
        response.totals = &totals;
    }
    if (fill(s, &response))
        rpc_end(s->rpc, NULL, &response);
    else
        rpc_end(s->rpc, (error_memory(&err), &err), NULL);
}

void service_stats(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__StatsRequest *request = message;
    struct stats s = {.rpc = rpc, .only = rpc->control ? NULL : rpc->org};
    struct error err;

    if (rpc->control && request->organization[0])
        s.only = request->organization;
    s.limit = request->limit == 0          ? LIMIT_DEFAULT
              : request->limit < LIMIT_MAX ? request->limit
                                           : LIMIT_MAX;
    arena_init(&s.arena, NAMES_MAX);
    s.groups = calloc(2 * s.limit, sizeof *s.groups);
    s.orgs = calloc(LIMIT_MAX, sizeof *s.orgs);
    s.samples = calloc(RECENT_MAX, sizeof *s.samples);
    if (s.groups && s.orgs && s.samples) {
        find_groups(&s, orchestrator_engine(rpc->api->orchestrator));
        find_rates(&s);
        answer(&s);
    } else {
        error_memory(&err);
        rpc_end(rpc, &err, NULL);
    }
    free(s.groups);
    free(s.orgs);
    free(s.samples);
    arena_reset(&s.arena);
}
