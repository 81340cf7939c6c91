// SPDX-License-Identifier: Apache-2.0
/*
 * Listing calls: a walk over the rows of those that live, then of those that are done, in the order
 * of their numbers, on the store's reader. Each walk stops after so many rows or bytes; the page
 * then covers the numbers that both have been through, and the next one goes on behind them.
 *
 * The rows are read in this order, so that a call that ends meanwhile is not missed. It may be met
 * twice: then it is done. Numbers grow with the time of creation, as far as the clock goes forward
 * only, so that a walk past the times that are asked for is over.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "orchestrator/inner.h"

enum {
    PAGE_DEFAULT = 100,
    PAGE_MAX = 1000,
    ROWS_MAX = 2000, /* that one walk looks at */
    BYTES_MAX = 8 << 20,
    MESSAGE_MAX = 1000, /* of an error */
    LISTINGS_MAX = 24,  /* at a time; of one organization, twice as many as are left then: 16 */
    STOP = -1,
};
#define WHY_MAX 1024

struct found {
    struct engine_row row;
    struct engine_result result;
};

struct listing {
    struct store_job job;
    struct list link; /* in o->listings */
    struct orchestrator *o;
    orchestrator_listed *done;
    void *arg;
    /* What is asked for; texts in the arena. */
    struct slice org, function, endpoint;
    uint64_t root, parent;
    bool roots, oldest_first;
    uint32_t states, statuses; /* bits by number; 0: any */
    int64_t since, before;
    size_t limit;
    /* What has been read. */
    uint64_t from, to; /* numbers, in the order of walking; at the end, those that are covered */
    bool more;         /* behind `to` */
    size_t rows, bytes, wanted; /* of the walk under way */
    enum table table;
    struct found *found;
    size_t count, room;
    struct arena arena;
};

/* --- on the reader's thread ------------------------------------------------------------------- */

static bool is_one_of(uint32_t bits, unsigned number)
{
    return bits == 0 || (number < 32 && (bits & UINT32_C(1) << number));
}

static bool fits(const struct listing *l, const struct engine_row *row)
{
    unsigned status = row->state == CALL_DONE ? row->status : row->last_status;

    return slice_eq(row->org, l->org) &&
           (!l->function.len || slice_eq(row->function, l->function)) &&
           (!l->endpoint.len || slice_eq(row->endpoint, l->endpoint)) &&
           (!l->root || row->id == l->root || row->root == l->root) &&
           (!l->parent || row->parent == l->parent) && (!l->roots || !row->parent) &&
           row->created >= l->since && row->created < l->before && is_one_of(l->statuses, status);
}

/* No row behind this one can be what is asked for. */
static bool is_past(const struct listing *l, const struct engine_row *row)
{
    return l->oldest_first ? row->created >= l->before : row->created < l->since;
}

static bool copy(struct arena *arena, struct slice *text)
{
    const void *data = text->len ? arena_dup(arena, *text) : "";

    *text = slice(data, text->len);
    return data != NULL;
}

static int take(struct listing *l, const struct engine_row *row, const struct engine_result *result)
{
    struct found *f;

    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 64;
        struct found *grown = realloc(l->found, room * sizeof *grown);

        if (!grown)
            return error_memory(&l->job.error);
        l->found = grown;
        l->room = room;
    }
    f = &l->found[l->count];
    *f = (struct found){.row = *row, .result = *result};
    f->row.org = f->row.version = (struct slice){0};
    f->result.has_output = false;
    if (!copy(&l->arena, &f->row.function) || !copy(&l->arena, &f->row.endpoint) ||
        !copy(&l->arena, &f->row.key) || !copy(&l->arena, &f->result.error))
        return error_memory(&l->job.error);
    l->count++;
    return CODE_OK;
}

static int look(void *arg, const struct store_row *stored)
{
    struct listing *l = arg;
    struct engine_result result = {0};
    struct engine_row row = {0};
    struct slice bytes = stored->value;
    int code = l->table == TABLE_DONE ? row_decode_done(bytes, &row, &result, &l->job.error)
                                      : row_decode(&bytes, &row, &l->job.error);

    if (code)
        return code;
    if (is_past(l, &row))
        return STOP;
    /* One that is done and in the table of the living is among the others, too. */
    if ((l->table == TABLE_DONE || row.state != CALL_DONE) && fits(l, &row)) {
        code = take(l, &row, &result);
        l->wanted--;
    }
    l->bytes += stored->value.len;
    if (code || (++l->rows < ROWS_MAX && l->bytes < BYTES_MAX && l->wanted > 0))
        return code;
    l->to = stored->key;
    l->more = true;
    return STOP;
}

/* From l->from to l->to, or less: then that is l->to. */
static int walk(struct listing *l, struct store *store, enum table table, size_t wanted,
                struct error *err)
{
    struct store_range range = {.table = table,
                                .from_key = l->oldest_first ? l->from : l->to,
                                .to_key = l->oldest_first ? l->to : l->from,
                                .to_sub = SUB_MAX,
                                .descending = !l->oldest_first};
    int code;

    l->rows = l->bytes = 0;
    l->wanted = wanted;
    l->table = table;
    if (range.from_key > range.to_key)
        return CODE_OK;
    code = store_walk(store, PARTITION, &range, look, l, err);
    return code == STOP ? CODE_OK : code;
}

/* By number; of two rows of a call, first the one of its end. */
static int by_number(const void *a, const void *b)
{
    const struct engine_row *x = &((const struct found *)a)->row,
                            *y = &((const struct found *)b)->row;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->state != CALL_DONE) - (y->state != CALL_DONE);
}

/* In order, each once, and none that is not covered. */
static void arrange(struct listing *l)
{
    uint64_t least = l->oldest_first ? l->from : l->to, most = l->oldest_first ? l->to : l->from;
    size_t kept = 0;

    if (l->count == 0)
        return;
    qsort(l->found, l->count, sizeof *l->found, by_number);
    for (size_t i = 0; i < l->count; i++) {
        uint64_t id = l->found[i].row.id;

        if (id >= least && id <= most && (kept == 0 || l->found[kept - 1].row.id != id))
            l->found[kept++] = l->found[i];
    }
    l->count = kept;
    for (size_t i = 0; !l->oldest_first && i < kept / 2; i++) {
        struct found swapped = l->found[i];

        l->found[i] = l->found[kept - 1 - i];
        l->found[kept - 1 - i] = swapped;
    }
}

static int list_work(struct store_job *job, struct store *store, struct error *err)
{
    struct listing *l = LIST_ENTRY(job, struct listing, job);
    const uint32_t done = UINT32_C(1) << CALL_DONE;
    /* Which of the living run is found out afterwards, so that all are wanted that might. */
    size_t wanted = l->states & ~done ? ROWS_MAX : l->limit;
    int code = CODE_OK;

    if (l->states != done)
        code = walk(l, store, TABLE_CALL, wanted, err);
    if (!code && is_one_of(l->states, CALL_DONE))
        code = walk(l, store, TABLE_DONE, wanted, err);
    if (!code)
        arrange(l);
    return code;
}

/* --- the page --------------------------------------------------------------------------------- */

/* What stands in a list of an error. */
static void shorten(wire_error *error)
{
    size_t len = strlen(error->message);

    if (len > MESSAGE_MAX)
        error->message[slice_utf8_prefix(slice(error->message, MESSAGE_MAX))] = '\0';
    error->value.len = error->traceback.len = 0;
}

/* *info: NULL if its state is not asked for. */
static int build(struct listing *l, struct found *found, struct arena *arena,
                 Dispatch__V1__CallInfo **info, struct error *err)
{
    bool done = found->row.state == CALL_DONE;
    struct info_parts parts = {.row = &found->row, .result = done ? &found->result : NULL};
    struct buf why;
    int code = CODE_OK;

    *info = NULL;
    buf_init(&why, WHY_MAX);
    if (!done)
        lookup_live_facts(l->o, &found->row, &why);
    parts.waiting_for = buf_slice(&why);
    if (is_one_of(l->states, found->row.state))
        code = info_build(arena, l->o->tag, &parts, info, err);
    if (!code && *info && (*info)->result && (*info)->result->error)
        shorten((*info)->result->error);
    buf_free(&why);
    return code;
}

static int build_page(struct listing *l, struct arena *arena, Dispatch__V1__ListResponse *page,
                      struct error *err)
{
    uint64_t last = l->to;
    int code = CODE_OK;

    page->calls = arena_zalloc(arena, l->count + 1, sizeof *page->calls);
    if (!page->calls)
        return error_memory(err);
    for (size_t i = 0; i < l->count && !code; i++) {
        if (page->n_calls == l->limit) {
            last = l->found[i - 1].row.id;
            l->more = true;
            break;
        }
        code = build(l, &l->found[i], arena, &page->calls[page->n_calls], err);
        if (!code && page->calls[page->n_calls])
            page->n_calls++;
    }
    if (code || !l->more || (!l->oldest_first && last <= 1))
        return code;
    page->next_page_token = result_id(arena, l->o->tag, l->oldest_first ? last + 1 : last - 1);
    return page->next_page_token ? CODE_OK : error_memory(err);
}

static void listing_free(struct listing *l)
{
    arena_reset(&l->arena);
    free(l->found);
    free(l);
}

static void list_done(struct store_job *job)
{
    Dispatch__V1__ListResponse page = DISPATCH__V1__LIST_RESPONSE__INIT;
    struct listing *l = LIST_ENTRY(job, struct listing, job);
    struct error err = {0};
    struct arena arena;
    int code = job->code;

    list_remove(&l->link);
    arena_init(&arena, (size_t)64 << 20);
    if (code == CODE_CANCELED || l->o->destroying)
        code = error_set(&err, CODE_UNAVAILABLE, "the orchestrator is stopping");
    else if (code)
        error_set(&err, code, "%s", job->error.message);
    else
        code = build_page(l, &arena, &page, &err);
    l->done(l->arg, code ? &err : NULL, code ? NULL : &page);
    arena_reset(&arena);
    listing_free(l);
}

/* --- the request ------------------------------------------------------------------------------ */

/* The numbers are those of CallInfo, less one, in the order of enum call_state. */
static int read_states(struct listing *l, const Dispatch__V1__ListRequest *request,
                       struct error *err)
{
    for (size_t i = 0; i < request->n_states; i++) {
        int state = (int)request->states[i];

        if (state < 1 || state > CALL_STATES)
            return error_set(err, CODE_INVALID_ARGUMENT, "states[%zu]: there is no state %d", i,
                             state);
        l->states |= UINT32_C(1) << (state - 1);
    }
    for (size_t i = 0; i < request->n_statuses; i++) {
        int status = (int)request->statuses[i];

        if (status < 1 || status >= STATUS_COUNT)
            return error_set(err, CODE_INVALID_ARGUMENT, "statuses[%zu]: there is no status %d", i,
                             status);
        l->statuses |= UINT32_C(1) << status;
    }
    return CODE_OK;
}

static int read_id(const struct orchestrator *o, const char *name, const char *text, uint64_t *id,
                   struct error *err)
{
    struct error why;
    int code = *text ? request_id(o, slice_str(text), id, &why) : CODE_OK;

    return code ? error_set(err, code, "%s: %s", name, why.message) : CODE_OK;
}

/* Where it begins and ends. Nothing below a call has a smaller number. */
static int read_place(struct listing *l, const Dispatch__V1__ListRequest *request,
                      struct error *err)
{
    uint64_t at = 0, least;
    int code = read_id(l->o, "root_dispatch_id", request->root_dispatch_id, &l->root, err);

    if (!code)
        code = read_id(l->o, "parent_dispatch_id", request->parent_dispatch_id, &l->parent, err);
    if (!code && *request->page_token && request_id(l->o, slice_str(request->page_token), &at, err))
        code = error_set(err, CODE_INVALID_ARGUMENT, "page_token: it is none of this store's");
    least = l->root > l->parent ? l->root : l->parent;
    if (least == 0)
        least = 1;
    l->oldest_first = request->oldest_first;
    l->from = at ? at : l->oldest_first ? least : KEY_MAX;
    if (l->oldest_first && l->from < least)
        l->from = least;
    l->to = l->oldest_first ? KEY_MAX : least;
    return code;
}

static int read_request(struct listing *l, struct slice org,
                        const Dispatch__V1__ListRequest *request, struct error *err)
{
    int code = read_states(l, request, err);

    if (!code)
        code = read_place(l, request, err);
    if (!code && request->limit > PAGE_MAX)
        code = error_set(err, CODE_INVALID_ARGUMENT, "limit is %" PRIu32 ": a page has at most %d",
                         request->limit, PAGE_MAX);
    l->limit = request->limit ? request->limit : PAGE_DEFAULT;
    l->roots = request->roots;
    l->since = request->created_since ? wire_time_ns(request->created_since) : INT64_MIN;
    l->before = request->created_before ? wire_time_ns(request->created_before) : INT64_MAX;
    l->org = org;
    l->function = slice_str(request->function);
    l->endpoint = slice_str(request->endpoint);
    if (!code && (!copy(&l->arena, &l->org) || !copy(&l->arena, &l->function) ||
                  !copy(&l->arena, &l->endpoint)))
        code = error_memory(err);
    return code;
}

/* Whether one more may be under way; one organization cannot keep another's out. */
static int check_room(const struct orchestrator *o, struct slice org, struct error *err)
{
    size_t all = 1, mine = 1;

    LIST_FOR_EACH (it, tmp, &o->listings) {
        all++;
        mine += slice_eq(LIST_ENTRY(it, struct listing, link)->org, org);
    }
    if (all <= LISTINGS_MAX && mine <= 2 * (LISTINGS_MAX - all))
        return CODE_OK;
    return error_set(err, CODE_RESOURCE_EXHAUSTED,
                     "%zu requests to list calls are under way already, %zu of them this "
                     "organization's: try again when one has been answered",
                     all - 1, mine - 1);
}

static int list(struct orchestrator *o, struct slice org, const Dispatch__V1__ListRequest *request,
                struct listing **out, struct error *err)
{
    struct listing *l;
    int code = request_check_open(o, err);

    if (!code)
        code = check_room(o, org, err);
    if (code)
        return code;
    l = calloc(1, sizeof *l);
    if (!l)
        return error_memory(err);
    l->o = o;
    arena_init(&l->arena, (size_t)64 << 20);
    code = read_request(l, org, request, err);
    if (code)
        listing_free(l);
    else
        *out = l;
    return code;
}

void orchestrator_list(struct orchestrator *o, struct slice org,
                       const Dispatch__V1__ListRequest *request, orchestrator_listed *done,
                       void *arg)
{
    struct listing *l = NULL;
    struct error err = {0};

    if (list(o, org, request, &l, &err)) {
        done(arg, &err, NULL);
        return;
    }
    l->done = done;
    l->arg = arg;
    l->job = (struct store_job){.work = list_work, .done = list_done};
    list_append(&o->listings, &l->link);
    store_async_read(o->async, &l->job);
}
