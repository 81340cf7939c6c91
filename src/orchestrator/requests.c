// SPDX-License-Identifier: Apache-2.0
/*
 * What the shell asks: dispatch, get, wait, cancel.
 *
 * A dispatch or a cancel is answered when the commit that records it is confirmed. A get reads
 * committed rows. A wait stands in a list until its call is done (the result then comes from the
 * cache), its time is over, or the incarnation is: then it is answered CODE_UNAVAILABLE, as whoever
 * asks again will learn what was committed. A call (dispatch and wait in one) is a wait that begins
 * before its call is durable; given up or not, the call goes on.
 *
 * Callbacks may make new requests and give up others; so each request is out of every list before
 * its callback is called.
 */
#include <assert.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

#define INFO_ARENA_SLACK ((size_t)1 << 20)

static void info_arena_init(const struct orchestrator *o, struct arena *arena)
{
    arena_init(arena, INFO_ARENA_SLACK + 8 * o->limits.payload_max + 4 * o->limits.state_max);
}

int request_not_known(struct error *err, struct slice text)
{
    struct slice shown = slice(text.data, text.len > 64 ? 64 : text.len);

    shown.len = slice_utf8_prefix(shown);
    return error_set(
        err, CODE_NOT_FOUND,
        "call %.*s is not known here: it never was, it has been removed, or it belongs "
        "to another store or organization",
        SLICE_FMT(shown));
}

int request_id(const struct orchestrator *o, struct slice text, uint64_t *id, struct error *err)
{
    struct id_parts parts;

    if (!text.len)
        return error_set(err, CODE_INVALID_ARGUMENT, "dispatch_id is required");
    if (!id_parse(text, &parts) || parts.partition != PARTITION || parts.tag != o->tag ||
        parts.number == 0 || parts.number > KEY_MAX)
        return request_not_known(err, text);
    *id = parts.number;
    return 0;
}

int request_check_open(const struct orchestrator *o, struct error *err)
{
    if (o->destroying)
        return error_set(err, CODE_UNAVAILABLE, "the orchestrator is stopping");
    if (!orchestrator_engine_open(o))
        return error_set(err, CODE_UNAVAILABLE, "%s", orchestrator_trouble(o));
    return 0;
}

/* --- what waits for a commit: dispatch, and what control.c asks
 * -------------------------------------------------
 */

void request_answer_ids(struct orchestrator *o, uint64_t first, size_t count,
                        orchestrator_dispatched *done, void *arg)
{
    wire_dispatch_response response = DISPATCH__SDK__V1__DISPATCH_RESPONSE__INIT;
    struct error err = {0};
    struct arena arena;
    char **ids;

    arena_init(&arena, count * (sizeof *ids + 64) + 4096);
    ids = arena_zalloc(&arena, count + 1, sizeof *ids);
    for (size_t i = 0; ids && i < count && !err.code; i++) {
        ids[i] = result_id(&arena, o->tag, first + i);
        if (!ids[i])
            error_memory(&err);
    }
    if (!ids)
        error_memory(&err);
    response.dispatch_ids = ids;
    response.n_dispatch_ids = count;
    done(arg, err.code ? &err : NULL, err.code ? NULL : &response);
    arena_reset(&arena);
}

void request_accepted(struct orchestrator *o, void *token)
{
    struct pending *p = token;

    list_remove(&p->link);
    if (p->dispatched)
        request_answer_ids(o, p->first, p->count, p->dispatched, p->arg);
    else
        p->cancelled(p->arg, p->refusal);
    free(p->refusal);
    free(p);
}

void request_fail_pending(struct orchestrator *o, const struct error *error)
{
    struct list all, *node;

    control_fail_sleepers(o, error);
    list_init(&all);
    list_splice(&all, &o->pending);
    while ((node = list_pop(&all))) {
        struct pending *p = LIST_ENTRY(node, struct pending, link);

        if (p->dispatched)
            p->dispatched(p->arg, error, NULL);
        else
            p->cancelled(p->arg, error);
        free(p->refusal);
        free(p);
    }
}

int request_check_admission(const struct orchestrator *o, struct error *err)
{
    int code = request_check_open(o, err);

    if (!code && o->draining)
        code = error_set(err, CODE_UNAVAILABLE, "the orchestrator is stopping");
    return code ? code : sweep_check_room(o, err);
}

int request_dispatch_specs(struct orchestrator *o, struct slice org, struct engine_spec *specs,
                           size_t count, orchestrator_dispatched *done, void *arg, uint64_t *first,
                           struct error *err)
{
    struct pending *p = calloc(1, sizeof *p);
    int code;

    if (!p)
        return error_memory(err);
    p->dispatched = done;
    p->arg = arg;
    p->count = count;
    for (size_t i = 0; i < count; i++)
        specs[i].correlation_id = 0;
    code = engine_dispatch(o->engine, clock_now(o->options.clock), org, specs, count, p, &p->first,
                           err);
    o->dirty = true;
    if (code) {
        free(p);
        return code;
    }
    list_append(&o->pending, &p->link);
    *first = p->first;
    return 0;
}

static int read_calls(const struct orchestrator *o, const wire_dispatch_request *request,
                      struct engine_spec **specs, struct error *err)
{
    if (request->n_calls > o->limits.calls_max)
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "the request has %zu calls, more than the %zu that are allowed",
                         request->n_calls, o->limits.calls_max);
    return call_to_specs(&o->limits, request->calls, request->n_calls, true, specs, err);
}

static int dispatch(struct orchestrator *o, struct slice org, const wire_dispatch_request *request,
                    orchestrator_dispatched *done, void *arg, struct error *err)
{
    struct engine_spec *specs;
    uint64_t first;
    int code = read_calls(o, request, &specs, err);

    if (code)
        return code;
    code = request_dispatch_specs(o, org, specs, request->n_calls, done, arg, &first, err);
    call_free_specs(specs, request->n_calls);
    return code;
}

static int dispatch_keyed(struct orchestrator *o, struct slice org, struct slice key,
                          const wire_dispatch_request *request, orchestrator_dispatched *done,
                          void *arg, struct error *err)
{
    struct keyed_request r = {.org = org, .name = key, .done = done, .arg = arg};
    struct engine_spec *specs;
    bool joined = false;
    int code;

    if (!keyed_digest(request, r.digest))
        return error_memory(err);
    code = keyed_check(o, &r, &joined, err);
    if (code || joined)
        return code;
    code = read_calls(o, request, &specs, err);
    return code ? code : keyed_dispatch(o, &r, specs, request->n_calls, err);
}

void orchestrator_dispatch_keyed(struct orchestrator *o, struct slice org, struct slice key,
                                 const wire_dispatch_request *request,
                                 orchestrator_dispatched *done, void *arg)
{
    static const wire_dispatch_response nothing = DISPATCH__SDK__V1__DISPATCH_RESPONSE__INIT;
    struct error err = {0};
    int code = request_check_admission(o, &err);

    if (!code && !request->n_calls) {
        done(arg, NULL, &nothing);
        return;
    }
    if (!code)
        code = key.data ? dispatch_keyed(o, org, key, request, done, arg, &err)
                        : dispatch(o, org, request, done, arg, &err);
    if (code)
        done(arg, &err, NULL);
}

void orchestrator_dispatch(struct orchestrator *o, struct slice org,
                           const wire_dispatch_request *request, orchestrator_dispatched *done,
                           void *arg)
{
    orchestrator_dispatch_keyed(o, org, (struct slice){0}, request, done, arg);
}

/* --- get ---------------------------------------------------------------------------------------
 */

struct get {
    struct lookup lookup; /* first */
    orchestrator_got *got;
    void *arg;
    char org[];
};

/* A job that the store's end has cut short. */
int request_lookup_code(const struct lookup *l, struct error *err)
{
    if (l->job.code == CODE_CANCELED || l->o->destroying)
        return error_set(err, CODE_UNAVAILABLE, "the orchestrator is stopping");
    return l->job.code ? error_set(err, l->job.code, "%s", l->job.error.message) : 0;
}

static void get_ended(struct lookup *l)
{
    struct get *g = (struct get *)(void *)l;
    Dispatch__V1__CallInfo *info = NULL;
    struct error err = {0};
    struct arena arena;
    int code = request_lookup_code(l, &err);

    info_arena_init(l->o, &arena);
    if (!code)
        code = lookup_info(l, &arena, &info, &err);
    g->got(g->arg, code ? &err : NULL, code ? NULL : info);
    arena_reset(&arena);
    lookup_drop(l);
    free(g);
}

static int get_start(struct orchestrator *o, struct slice org, uint64_t id, struct get **out,
                     struct error *err)
{
    struct get *g;

    if (o->lookup_count >= REQUESTS_MAX)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "too many requests are waiting");
    g = calloc(1, sizeof *g + org.len);
    if (!g)
        return error_memory(err);
    if (org.len)
        memcpy(g->org, org.data, org.len);
    lookup_init(&g->lookup, o, id, slice(g->org, org.len), get_ended);
    *out = g;
    return 0;
}

static void get(struct orchestrator *o, struct slice org, struct slice text, bool with_state,
                orchestrator_got *done, void *arg)
{
    struct error err = {0};
    struct get *g = NULL;
    uint64_t id = 0;
    int code = request_check_open(o, &err);

    if (!code)
        code = request_id(o, text, &id, &err);
    if (!code)
        code = get_start(o, org, id, &g, &err);
    if (code) {
        done(arg, &err, NULL);
        return;
    }
    g->got = done;
    g->arg = arg;
    g->lookup.with_input = true;
    g->lookup.with_state = with_state;
    lookup_start(&g->lookup);
}

void orchestrator_get(struct orchestrator *o, struct slice org, struct slice id,
                      orchestrator_got *done, void *arg)
{
    get(o, org, id, false, done, arg);
}

void orchestrator_get_with_state(struct orchestrator *o, struct slice org, struct slice id,
                                 orchestrator_got *done, void *arg)
{
    get(o, org, id, true, done, arg);
}

/* --- wait --------------------------------------------------------------------------------------
 */

struct orchestrator_wait {
    struct lookup lookup; /* first */
    struct list link;
    struct list same; /* waits for the same call, in a circle */
    struct heap_node deadline;
    orchestrator_got *got;
    void *arg;
    bool looking; /* the lookup is under way */
    bool again;   /* the call was done meanwhile: what is being read may be old */
    bool final;   /* time is over: whatever is read is the answer */
    bool dropped; /* answered or given up, and freed when the lookup has ended */
    /* Of a wait that dispatched its call: */
    bool accepting, accepted; /* that is not durable yet; it is */
    bool unlinked;            /* its id is not known yet */
    int64_t max_wait_ns;
    char org[];
};

static void wait_unlink(struct orchestrator_wait *w)
{
    struct orchestrator *o = w->lookup.o;

    list_remove(&w->link);
    o->wait_count--;
    if (w->unlinked)
        return;
    if (map_get(&o->waits_by_id, w->lookup.id) == w) {
        if (list_empty(&w->same))
            map_remove(&o->waits_by_id, w->lookup.id);
        else /* replaces: cannot fail */
            map_set(&o->waits_by_id, w->lookup.id,
                    LIST_ENTRY(w->same.next, struct orchestrator_wait, same));
    }
    list_remove(&w->same);
    heap_remove(&o->deadlines, &w->deadline);
}

static void wait_free(struct orchestrator_wait *w)
{
    lookup_drop(&w->lookup);
    free(w);
}

/* Takes it out of everything; it is freed when nobody is to come back to it any more. */
static void wait_drop(struct orchestrator_wait *w)
{
    wait_unlink(w);
    w->dropped = true;
    if (!w->looking && !w->accepting)
        wait_free(w);
}

static void wait_answer(struct orchestrator_wait *w, const struct error *error,
                        const Dispatch__V1__CallInfo *info)
{
    orchestrator_got *got = w->got;
    void *arg = w->arg;
    struct error named;

    /* Whoever made a call in this very request is told its name, to ask for it again. */
    if (error && w->accepted) {
        error_set(&named, error->code, "call %s was accepted and goes on, ask for it by Wait: %s",
                  w->lookup.text, error->message);
        error = &named;
    }
    wait_drop(w);
    got(arg, error, info);
}

static void wait_look(struct orchestrator_wait *w)
{
    assert(!w->looking);
    w->looking = true;
    w->again = false;
    lookup_start(&w->lookup);
}

/* What the lookup has: an answer, or not yet. */
static void wait_judge(struct orchestrator_wait *w)
{
    Dispatch__V1__CallInfo *info = NULL;
    struct error err = {0};
    struct arena arena;
    int code = request_lookup_code(&w->lookup, &err);

    info_arena_init(w->lookup.o, &arena);
    if (!code)
        code = lookup_info(&w->lookup, &arena, &info, &err);
    if (code)
        wait_answer(w, &err, NULL);
    else if (info->state == DISPATCH__V1__STATE__STATE_DONE || w->final)
        wait_answer(w, NULL, info);
    else if (w->again)
        wait_look(w);
    arena_reset(&arena);
}

static void wait_ended(struct lookup *l)
{
    struct orchestrator_wait *w = (struct orchestrator_wait *)(void *)l;

    w->looking = false;
    if (!w->dropped)
        wait_judge(w);
    else if (!w->accepting)
        wait_free(w);
}

static struct orchestrator_wait *wait_create(struct orchestrator *o, struct slice org, uint64_t id,
                                             struct error *err)
{
    struct orchestrator_wait *w;

    if (o->wait_count >= REQUESTS_MAX) {
        error_set(err, CODE_RESOURCE_EXHAUSTED, "too many requests are waiting");
        return NULL;
    }
    w = calloc(1, sizeof *w + org.len);
    /* As much room as there are waits: the time of one may begin long after it was made. */
    if (!w || !map_reserve(&o->waits_by_id, 1) ||
        !heap_reserve(&o->deadlines, (uint32_t)o->wait_count + 1 - o->deadlines.len)) {
        free(w);
        error_memory(err);
        return NULL;
    }
    if (org.len)
        memcpy(w->org, org.data, org.len);
    lookup_init(&w->lookup, o, id, slice(w->org, org.len), wait_ended);
    list_init(&w->link);
    list_init(&w->same);
    heap_node_init(&w->deadline);
    return w;
}

/* Among those who are told of the call's end. There is room: wait_create. */
static bool wait_join(struct orchestrator_wait *w)
{
    struct orchestrator *o = w->lookup.o;
    struct orchestrator_wait *first = map_get(&o->waits_by_id, w->lookup.id);

    if (first)
        list_append(&first->same, &w->same);
    return first || map_set(&o->waits_by_id, w->lookup.id, w);
}

static void wait_link(struct orchestrator_wait *w)
{
    struct orchestrator *o = w->lookup.o;

    list_append(&o->waits, &w->link);
    o->wait_count++;
    if (!w->unlinked)
        wait_join(w); /* reserved */
}

static void wait_limit(struct orchestrator_wait *w, int64_t max_wait_ns)
{
    struct orchestrator *o = w->lookup.o;

    if (max_wait_ns > 0 && max_wait_ns != TIME_NEVER)
        heap_set(&o->deadlines, &w->deadline, time_add(clock_now(o->options.clock), max_wait_ns));
    w->final = max_wait_ns == 0;
}

struct orchestrator_wait *orchestrator_wait(struct orchestrator *o, struct slice org,
                                            struct slice text, int64_t max_wait_ns,
                                            orchestrator_got *done, void *arg)
{
    struct orchestrator_wait *w = NULL;
    struct error err = {0};
    struct engine_row row;
    uint64_t id = 0;
    int code = request_check_open(o, &err);
    bool live = false;

    if (!code)
        code = request_id(o, text, &id, &err);
    if (!code) {
        live = engine_find(o->engine, id, &row);
        if (live && !slice_eq(row.org, org))
            code = request_not_known(&err, text);
    }
    if (!code && !(w = wait_create(o, org, id, &err)))
        code = err.code;
    if (code) {
        done(arg, &err, NULL);
        return NULL;
    }
    w->got = done;
    w->arg = arg;
    wait_link(w);
    wait_limit(w, max_wait_ns);
    /* A live call has ENGINE_DONE still before it. Of any other the end may be durable already. */
    if (!live || row.state == CALL_DONE || w->final)
        wait_look(w);
    return w;
}

/* The call of a wait is durable, or never will be. Its time begins now: a call that nobody can look
 * up yet cannot be shown as it is. */
static void wait_accepted(void *arg, const struct error *error,
                          const wire_dispatch_response *response)
{
    struct orchestrator_wait *w = arg;

    (void)response;
    w->accepting = false;
    if (w->dropped) {
        if (!w->looking)
            wait_free(w);
        return;
    }
    if (error) {
        wait_answer(w, error, NULL);
        return;
    }
    w->accepted = true;
    wait_limit(w, w->max_wait_ns);
    if (w->final && !w->looking)
        wait_look(w);
}

static int call_dispatch(struct orchestrator *o, struct slice org, const wire_call *call,
                         struct orchestrator_wait *w, uint64_t *id, struct error *err)
{
    struct engine_spec spec;
    int code = call_to_spec(&o->limits, call, true, &spec, err);

    if (code)
        return code;
    code = request_dispatch_specs(o, org, &spec, 1, wait_accepted, w, id, err);
    blob_unref(spec.input);
    return code;
}

/* The key's call is known. It may have been made, and be done, long ago. */
static void wait_keyed_accepted(void *arg, const struct error *error,
                                const wire_dispatch_response *response)
{
    struct orchestrator_wait *w = arg;
    struct orchestrator *o = w->lookup.o;
    struct error err = {0};
    uint64_t id = 0;

    w->accepting = false;
    if (w->dropped) {
        wait_free(w);
        return;
    }
    if (!error && request_id(o, slice_str(response->dispatch_ids[0]), &id, &err))
        error = &err;
    if (error) {
        wait_answer(w, error, NULL);
        return;
    }
    lookup_init(&w->lookup, o, id, slice(w->org, w->lookup.org.len), wait_ended);
    w->accepted = true;
    if (!heap_reserve(&o->deadlines, 1) || !wait_join(w)) {
        error_memory(&err);
        wait_answer(w, &err, NULL);
        return;
    }
    w->unlinked = false;
    wait_limit(w, w->max_wait_ns);
    wait_look(w);
}

static int call_keyed(struct orchestrator *o, struct slice org, struct slice key,
                      const wire_call *call, struct orchestrator_wait *w, struct error *err)
{
    struct keyed_request r = {.org = org, .name = key, .done = wait_keyed_accepted, .arg = w};
    wire_call *calls[] = {(wire_call *)(uintptr_t)call};
    struct engine_spec *specs;
    bool joined = false;
    int code;

    if (!keyed_digest(call, r.digest))
        return error_memory(err);
    code = keyed_check(o, &r, &joined, err);
    if (code || joined)
        return code;
    code = call_to_specs(&o->limits, calls, 1, true, &specs, err);
    return code ? code : keyed_dispatch(o, &r, specs, 1, err);
}

struct orchestrator_wait *orchestrator_call_keyed(struct orchestrator *o, struct slice org,
                                                  struct slice key, const wire_call *call,
                                                  int64_t max_wait_ns, orchestrator_got *done,
                                                  void *arg)
{
    struct orchestrator_wait *w = NULL;
    struct error err = {0};
    uint64_t id = 0;
    int code = request_check_admission(o, &err);

    if (!code && !(w = wait_create(o, org, 0, &err)))
        code = err.code;
    if (!code)
        code = key.data ? call_keyed(o, org, key, call, w, &err)
                        : call_dispatch(o, org, call, w, &id, &err);
    if (code) {
        free(w);
        done(arg, &err, NULL);
        return NULL;
    }
    w->unlinked = key.data != NULL;
    if (w->unlinked)
        w->lookup.text[0] = 0;
    else
        lookup_init(&w->lookup, o, id, slice(w->org, org.len), wait_ended);
    w->got = done;
    w->arg = arg;
    w->accepting = true;
    w->max_wait_ns = max_wait_ns;
    wait_link(w);
    return w;
}

struct orchestrator_wait *orchestrator_call(struct orchestrator *o, struct slice org,
                                            const wire_call *call, int64_t max_wait_ns,
                                            orchestrator_got *done, void *arg)
{
    return orchestrator_call_keyed(o, org, (struct slice){0}, call, max_wait_ns, done, arg);
}

const char *orchestrator_wait_id(const struct orchestrator_wait *w)
{
    return w->lookup.text;
}

void orchestrator_wait_cancel(struct orchestrator_wait *w)
{
    if (w)
        wait_drop(w);
}

/* The call's end is durable. */
static void wait_call_done(struct orchestrator_wait *w)
{
    struct orchestrator *o = w->lookup.o;

    if (w->looking) {
        w->again = true;
        return;
    }
    w->lookup.done = cache_get(&o->cache, CACHE_DONE, w->lookup.id, 0);
    w->lookup.job.code = 0;
    if (w->lookup.done)
        wait_judge(w);
    else
        wait_look(w);
}

void request_call_done(struct orchestrator *o, uint64_t id)
{
    struct orchestrator_wait *first = map_get(&o->waits_by_id, id);
    struct list all, *node;

    if (!first)
        return;
    /* The list's head takes its place in the circle; whoever goes meanwhile leaves it by himself.
     */
    list_append(&first->same, &all);
    map_remove(&o->waits_by_id, id);
    while ((node = list_pop(&all))) {
        struct orchestrator_wait *w = LIST_ENTRY(node, struct orchestrator_wait, same);
        struct orchestrator_wait *other = map_get(&o->waits_by_id, id);

        /* Back into its place, as it may have to read first. The slot that was freed is there. */
        if (other)
            list_append(&other->same, &w->same);
        else if (!map_set(&o->waits_by_id, id, w)) {
            struct error err;

            error_memory(&err);
            wait_answer(w, &err, NULL);
            continue;
        }
        wait_call_done(w);
    }
}

void request_fail_waits(struct orchestrator *o, const struct error *error)
{
    struct list all;

    list_init(&all);
    list_splice(&all, &o->waits);
    while (!list_empty(&all))
        wait_answer(LIST_ENTRY(all.next, struct orchestrator_wait, link), error, NULL);
}

void request_tick(struct orchestrator *o, int64_t now)
{
    struct heap_node *node;

    while ((node = heap_min(&o->deadlines)) && node->key <= now) {
        struct orchestrator_wait *w = LIST_ENTRY(node, struct orchestrator_wait, deadline);

        heap_remove(&o->deadlines, node);
        w->final = true;
        if (!w->looking)
            wait_look(w);
    }
}

int64_t request_next_due(const struct orchestrator *o)
{
    const struct heap_node *node = heap_min(&o->deadlines);

    return node ? node->key : TIME_NEVER;
}
