// SPDX-License-Identifier: Apache-2.0
/*
 * The model of the view: calls in trees, as attempts tell of them, and the log.
 *
 * A call is known from its first attempt on; one that others name as their parent or root before
 * that has a place without a function. It is done when an attempt ends it, when its parent is given
 * its result, or when its time is over.
 *
 * A call with nothing unfinished at or below it is idle, and may be folded: it and all below it are
 * forgotten, and counted in their parent.
 */
#include "cli/view.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/runlog.h"

#define TEXT_MAX  4096 /* of an error, of a list of calls */
#define ARENA_MAX ((size_t)64 << 20)

int view_init(struct view *v, const char *name, int name_width, struct error *err)
{
    struct buf clean;

    *v = (struct view){.kept_max = VIEW_CALLS_KEPT,
                       .value_bytes_max = VIEW_BYTES_KEPT,
                       .log_bytes_max = VIEW_LOG_BYTES,
                       .name_width = name_width};
    v->lines = calloc(VIEW_LINES_KEPT, sizeof *v->lines);
    if (!v->lines)
        return error_memory(err);
    list_init(&v->roots);
    list_init(&v->idle_roots);
    list_init(&v->idle_inner);
    list_init(&v->unfinished);
    map_init(&v->calls);
    map_init(&v->attempts);
    arena_init(&v->arena, ARENA_MAX);
    v->scroll[VIEW_FUNCTIONS].tail = v->scroll[VIEW_LOGS].tail = true;
    buf_init(&clean, sizeof v->name);
    cells_clean(slice_str(name), false, &clean);
    snprintf(v->name, sizeof v->name, "%s", buf_cstr(&clean));
    buf_free(&clean);
    return CODE_OK;
}

/* --- round trips ------------------------------------------------------------------------------ */

static size_t trip_bytes(const struct view_trip *t)
{
    return (t->input ? t->input->len : 0) + (t->output ? t->output->len : 0);
}

static void trip_free(struct view *v, struct view_trip *t)
{
    v->bytes -= trip_bytes(t);
    list_remove(&t->link);
    blob_unref(t->input);
    blob_unref(t->output);
    free(t->input_words);
    free(t->output_words);
    free(t->error);
    free(t->tail_call);
    free(t->calls);
    free(t);
}

static char *clean_copy(struct slice text)
{
    struct slice head = slice(text.data, text.len < TEXT_MAX ? text.len : TEXT_MAX);
    struct buf clean;
    char *copy;

    buf_init(&clean, 4 * TEXT_MAX);
    cells_clean(head, false, &clean);
    copy = strdup(buf_cstr(&clean));
    buf_free(&clean);
    return copy;
}

static struct slice short_type(const wire_any *any)
{
    return wire_type_name(slice_str(any->type_url));
}

static char *describe_size(size_t bytes, struct slice type, const char *what)
{
    char text[256];

    if (snprintf(text, sizeof text, "<%zu byte%s of %.*s%s>", bytes, bytes == 1 ? "" : "s",
                 type.len > 128 ? 128 : (int)type.len, (const char *)type.data, what) < 0)
        return NULL;
    return clean_copy(slice_str(text));
}

/* Keeps the value, or words for it. */
static void keep_value(struct view *v, const wire_any *any, struct blob **value, char **words)
{
    if (!any)
        return;
    if (any->value.len > VIEW_VALUE_MAX || v->bytes > v->value_bytes_max) {
        *words = describe_size(any->value.len, short_type(any), "");
        return;
    }
    *value = wire_pack_blob(any);
    v->bytes += *value ? (*value)->len : 0;
}

static char *state_words(const wire_any *typed, const ProtobufCBinaryData *bytes)
{
    if (typed)
        return describe_size(typed->value.len, short_type(typed), " state");
    return bytes ? describe_size(bytes->len, slice_str("opaque"), " state") : strdup("<no state>");
}

static void keep_input(struct view *v, struct view_trip *t, const wire_run_request *request)
{
    const wire_poll_result *poll = request->poll_result;

    t->resumed = request->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT;
    if (!t->resumed)
        keep_value(v, request->input, &t->input, &t->input_words);
    else if (poll->state_case == DISPATCH__SDK__V1__POLL_RESULT__STATE_TYPED_COROUTINE_STATE)
        t->input_words = state_words(poll->typed_coroutine_state, NULL);
    else
        t->input_words = state_words(NULL, poll->state_case ? &poll->coroutine_state : NULL);
}

/* The second oldest goes when there are too many: the first says how it all began. */
static void trip_add(struct view *v, struct view_call *c,
                     const struct orchestrator_attempt *attempt)
{
    struct view_trip *t = calloc(1, sizeof *t);

    if (!t)
        return;
    t->attempt = attempt->attempt;
    t->started = attempt->started;
    keep_input(v, t, attempt->request);
    list_append(&c->trips, &t->link);
    if (++c->trip_count <= VIEW_TRIPS_KEPT)
        return;
    trip_free(v, LIST_ENTRY(c->trips.next->next, struct view_trip, link));
    c->trip_count--;
    c->trips_dropped++;
}

/* --- calls ------------------------------------------------------------------------------------ */

static struct view_call *find(const struct view *v, struct slice id, uint64_t hash)
{
    struct view_call *c = map_get(&v->calls, hash);

    while (c && !slice_eq_str(id, c->id))
        c = c->same_hash;
    return c;
}

/* The next of the tree below `top`, parents before their children; NULL: there is none. */
struct view_call *view_next(const struct view_call *c, const struct view_call *top)
{
    const struct list *head;

    if (!list_empty(&c->children))
        return LIST_ENTRY(c->children.next, struct view_call, link);
    for (; c != top; c = c->parent) {
        head = &c->parent->children;
        if (c->link.next != head)
            return LIST_ENTRY(c->link.next, struct view_call, link);
    }
    return NULL;
}

static void update_idle(struct view *v, struct view_call *c)
{
    list_remove(&c->idle);
    if (c->unfinished == 0)
        list_append(c->parent ? &v->idle_inner : &v->idle_roots, &c->idle);
}

/* One more, or less, that is not done at this place. */
static void count_unfinished(struct view *v, struct view_call *c, int change)
{
    for (; c; c = c->parent) {
        uint32_t before = c->unfinished;

        c->unfinished += (uint32_t)change;
        if ((before == 0) != (c->unfinished == 0))
            update_idle(v, c);
    }
}

static void forget_id(struct view *v, struct view_call *c)
{
    struct view_call *first = map_get(&v->calls, c->hash);

    if (first == c) {
        map_remove(&v->calls, c->hash);
        if (c->same_hash) /* there is room: one was just removed */
            map_set(&v->calls, c->hash, c->same_hash);
        return;
    }
    while (first->same_hash != c)
        first = first->same_hash;
    first->same_hash = c->same_hash;
}

/* It has no children. */
static void call_free(struct view *v, struct view_call *c)
{
    struct list *node;

    if (v->selected == c) {
        v->selected = NULL;
        v->tab = v->tab == VIEW_DETAIL ? VIEW_FUNCTIONS : v->tab;
    }
    while ((node = list_pop(&c->trips)))
        trip_free(v, LIST_ENTRY(node, struct view_trip, link));
    forget_id(v, c);
    list_remove(&c->link);
    list_remove(&c->idle);
    list_remove(&c->expiring);
    v->kept--;
    free(c->id);
    free(c->function);
    free(c->error);
    free(c);
}

/* The call and all below it, which are idle. */
static void fold(struct view *v, struct view_call *top)
{
    struct view_call *parent = top->parent, *c = top, *up;
    uint32_t count = 0;

    for (;;) { /* down to a leaf, which goes */
        while (!list_empty(&c->children))
            c = LIST_ENTRY(c->children.next, struct view_call, link);
        up = c->parent;
        count += c->folded + (c->number != 0);
        call_free(v, c);
        if (c == top)
            break;
        c = up;
    }
    if (parent)
        parent->folded += count;
    else
        v->folded_roots++;
    v->folded += parent ? 0 : count;
}

static void make_room(struct view *v)
{
    while (v->kept > v->kept_max || v->bytes > v->value_bytes_max) {
        struct list *from = !list_empty(&v->idle_roots) ? &v->idle_roots : &v->idle_inner;

        if (list_empty(from))
            return;
        fold(v, LIST_ENTRY(from->next, struct view_call, idle));
    }
}

static struct view_call *call_new(struct view *v, struct view_call *parent, struct slice id,
                                  uint64_t hash)
{
    struct view_call *c = v->kept < VIEW_CALLS_MAX ? calloc(1, sizeof *c) : NULL;

    if (c) {
        c->id = clean_copy(id);
        c->hash = hash;
        c->same_hash = map_get(&v->calls, hash);
    }
    if (!c || !c->id || !map_set(&v->calls, hash, c)) {
        free(c ? c->id : NULL);
        free(c);
        return NULL;
    }
    list_init(&c->children);
    list_init(&c->idle);
    list_init(&c->expiring);
    list_init(&c->trips);
    c->parent = parent;
    c->depth = parent ? parent->depth + 1 : 0;
    c->width = 3 * (c->depth < 100 ? c->depth : 100) + 3;
    c->expires = TIME_NEVER;
    list_append(parent ? &parent->children : &v->roots, &c->link);
    v->kept++;
    update_idle(v, c);
    return c;
}

/* The call of that id, which may well not be known yet, in its place. */
static struct view_call *place(struct view *v, const wire_run_request *q)
{
    struct slice id = slice_str(q->dispatch_id), parent_id = slice_str(q->parent_dispatch_id);
    struct slice root_id = slice_str(q->root_dispatch_id);
    uint64_t hash = slice_hash(id, 0), parent_hash = slice_hash(parent_id, 0),
             root_hash = slice_hash(root_id, 0);
    struct view_call *c = find(v, id, hash), *parent, *root;

    if (c)
        return c;
    if (!parent_id.len || slice_eq(parent_id, id))
        return call_new(v, NULL, id, hash);
    parent = find(v, parent_id, parent_hash);
    if (parent)
        return call_new(v, parent, id, hash);
    if (!root_id.len || slice_eq(root_id, parent_id) || slice_eq(root_id, id)) {
        parent = call_new(v, NULL, parent_id, parent_hash);
        return parent ? call_new(v, parent, id, hash) : NULL;
    }
    root = find(v, root_id, root_hash);
    if (!root)
        root = call_new(v, NULL, root_id, root_hash);
    parent = root ? call_new(v, root, parent_id, parent_hash) : NULL;
    return parent ? call_new(v, parent, id, hash) : NULL;
}

static void set_function(struct view_call *c, const char *function)
{
    char *name = clean_copy(slice_str(function));

    if (!name)
        return;
    free(c->function);
    c->function = name;
    c->width = 3 * (c->depth < 100 ? c->depth : 100) + cells_width(slice_str(name));
}

/* It is heard of for the first time. */
static void introduce(struct view *v, struct view_call *c, const wire_run_request *q)
{
    c->number = ++v->numbered;
    v->total++;
    v->in_flight++;
    list_append(&v->unfinished, &c->expiring);
    count_unfinished(v, c, 1);
    if (q->creation_time)
        c->created = wire_time_ns(q->creation_time);
    if (q->expiration_time)
        c->expires = wire_time_ns(q->expiration_time);
}

static void set_error(struct view_call *c, char *error)
{
    free(c->error);
    c->error = error;
}

static void finish(struct view *v, struct view_call *c, enum status status, int64_t now)
{
    if (c->done)
        return;
    c->done = true;
    c->suspended = false;
    c->status = status;
    c->ended = now;
    list_remove(&c->expiring);
    v->in_flight--;
    count_unfinished(v, c->parent, -1);
    c->unfinished--;
    if (c->unfinished == 0)
        update_idle(v, c);
}

static char *error_text(const wire_error *error)
{
    struct buf text;
    char *clean;

    buf_init(&text, TEXT_MAX);
    buf_printf(&text, *error->message ? "%.1000s: %.2000s" : "%.1000s", error->type,
               error->message);
    clean = clean_copy(slice_str(buf_cstr(&text)));
    buf_free(&text);
    return clean;
}

/* A call that was not seen to end, as it expired or was cancelled, ends for its parent. */
static void take_results(struct view *v, const wire_poll_result *poll, int64_t now)
{
    for (size_t i = 0; i < poll->n_results; i++) {
        const wire_call_result *result = poll->results[i];
        struct slice id = slice_str(result->dispatch_id);
        struct view_call *c = id.len ? find(v, id, slice_hash(id, 0)) : NULL;

        if (!c || c->done || c->running || !c->number)
            continue;
        if (result->error)
            set_error(c, error_text(result->error));
        finish(v, c, result->error ? STATUS_PERMANENT_ERROR : STATUS_OK, now);
    }
}

static void reset(struct view_call *c)
{
    c->requests = c->polls = c->failures = 0;
    c->suspended = false;
    set_error(c, NULL);
}

void view_started(struct view *v, const struct orchestrator_attempt *attempt)
{
    const wire_run_request *request = attempt->request;
    struct view_call *c = place(v, request);

    v->ready = true;
    free(v->trouble);
    v->trouble = NULL;
    if (!c || !map_set(&v->attempts, attempt->attempt, c)) {
        v->total += !c && attempt->number <= 1; /* none of that number is shown */
        return;
    }
    if (!c->number)
        introduce(v, c, request);
    if (c->done) { /* it was taken for done too soon */
        c->done = false;
        v->in_flight++;
        list_append(&v->unfinished, &c->expiring);
        count_unfinished(v, c, 1);
    }
    set_function(c, request->function);
    c->running++;
    count_unfinished(v, c, 1);
    c->suspended = false;
    c->requests++;
    trip_add(v, c, attempt);
    if (request->directive_case == DISPATCH__SDK__V1__RUN_REQUEST__DIRECTIVE_POLL_RESULT)
        take_results(v, request->poll_result, attempt->started);
    make_room(v);
}

/* --- how attempts end ------------------------------------------------------------------------- */

static char *call_names(const wire_poll *poll)
{
    struct buf names;
    char *clean;

    if (!poll->n_calls)
        return NULL;
    buf_init(&names, TEXT_MAX);
    for (size_t i = 0; i < poll->n_calls && names.len < 200; i++)
        buf_printf(&names, "%s%.100s", i ? ", " : "", poll->calls[i]->function);
    clean = clean_copy(slice_str(buf_cstr(&names)));
    buf_free(&names);
    return clean;
}

static void end_poll(struct view_call *c, struct view_trip *t, const wire_poll *poll)
{
    bool typed = poll->state_case == DISPATCH__SDK__V1__POLL__STATE_TYPED_COROUTINE_STATE;

    c->suspended = true;
    c->polls++;
    set_error(c, NULL);
    if (!t)
        return;
    t->outcome = "Suspended";
    t->output_words = state_words(typed ? poll->typed_coroutine_state : NULL,
                                  poll->state_case && !typed ? &poll->coroutine_state : NULL);
    t->calls = call_names(poll);
}

static void end_attempt(struct view *v, struct view_call *c, enum status status, char *error,
                        int64_t now)
{
    set_error(c, error);
    c->status = status;
    if (status == STATUS_INCOMPATIBLE_STATE)
        reset(c);
    else if (status_is_temporary(status))
        c->failures++;
    else
        finish(v, c, status, now);
}

static void end_exit(struct view *v, struct view_call *c, struct view_trip *t,
                     const struct orchestrator_outcome *outcome)
{
    const wire_run_response *response = outcome->response;
    const wire_exit *done =
        response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT ? response->exit
                                                                                    : NULL;
    const wire_call_result *result = done ? done->result : NULL;
    enum status status = (enum status)response->status;
    bool fails = result && result->error;

    if (t) {
        t->outcome = runlog_status(status);
        t->good = status == STATUS_OK && !fails;
        if (result)
            keep_value(v, result->output, &t->output, &t->output_words);
        if (fails)
            t->error = error_text(result->error);
    }
    if (done && done->tail_call) { /* whatever the status */
        if (t)
            t->tail_call = clean_copy(slice_str(done->tail_call->function));
        reset(c);
        set_function(c, done->tail_call->function);
        return;
    }
    end_attempt(v, c, status, fails ? error_text(result->error) : NULL, outcome->ended);
}

static void end_failure(struct view *v, struct view_call *c, struct view_trip *t,
                        const struct orchestrator_outcome *outcome)
{
    const struct run_failure *failure = outcome->failure;
    char text[64];
    bool http = failure->http_status && failure->http_status != 200;

    snprintf(text, sizeof text, "unexpected HTTP status code %d", failure->http_status);
    if (t) {
        t->outcome = http ? NULL : runlog_status(failure->status);
        t->error = clean_copy(slice_str(failure->message));
    }
    end_attempt(v, c, failure->status,
                clean_copy(http ? slice_str(text) : slice_str(failure->message)), outcome->ended);
}

static struct view_trip *last_trip(const struct view_call *c, uint64_t attempt)
{
    struct view_trip *t = LIST_ENTRY(c->trips.prev, struct view_trip, link);

    return list_empty(&c->trips) || t->attempt != attempt ? NULL : t;
}

void view_ended(struct view *v, const struct orchestrator_outcome *outcome)
{
    const wire_run_response *response = outcome->response;
    struct view_call *c = map_remove(&v->attempts, outcome->attempt);
    struct view_trip *t = c ? last_trip(c, outcome->attempt) : NULL;

    if (!c)
        return;
    c->running--;
    if (t)
        t->ended = outcome->ended;
    if (!response && !outcome->failure) { /* as if it had not been */
        c->requests -= c->requests > 0;
        c->trip_count -= t != NULL;
        if (t)
            trip_free(v, t);
    } else if (!response) {
        end_failure(v, c, t, outcome);
    } else if (response->status == DISPATCH__SDK__V1__STATUS__STATUS_OK &&
               response->directive_case == DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL) {
        end_poll(c, t, response->poll);
    } else {
        end_exit(v, c, t, outcome);
    }
    count_unfinished(v, c, -1);
    make_room(v);
}

void view_tick(struct view *v, int64_t now)
{
    LIST_FOR_EACH (node, next, &v->unfinished) {
        struct view_call *c = LIST_ENTRY(node, struct view_call, expiring);

        if (c->running || c->expires >= now)
            continue;
        set_error(c, strdup("Expired"));
        finish(v, c, STATUS_TIMEOUT, c->expires);
    }
    make_room(v);
}

/* --- the rest --------------------------------------------------------------------------------- */

void view_ready(struct view *v)
{
    v->ready = true;
}

void view_trouble(struct view *v, struct slice text)
{
    free(v->trouble);
    v->trouble = clean_copy(text);
}

static void drop_line(struct view *v)
{
    struct view_line *line = &v->lines[v->line_first];

    v->log_bytes -= line->len;
    v->log_rows -= line->rows;
    free(line->text);
    v->line_first = (v->line_first + 1) % VIEW_LINES_KEPT;
    v->line_count--;
}

void view_free(struct view *v)
{
    struct list *node;

    while ((node = v->roots.next) != &v->roots)
        fold(v, LIST_ENTRY(node, struct view_call, link));
    while (v->line_count > 0)
        drop_line(v);
    free(v->lines);
    free(v->trouble);
    map_free(&v->calls);
    map_free(&v->attempts);
    arena_reset(&v->arena);
}

void view_log(struct view *v, bool ours, struct slice line)
{
    struct view_line *kept;
    struct buf clean;
    char *text;

    buf_init(&clean, VIEW_LOG_BYTES);
    cells_clean(line, ours, &clean);
    text = strdup(buf_cstr(&clean));
    buf_free(&clean);
    if (!text)
        return;
    if (v->line_count == VIEW_LINES_KEPT)
        drop_line(v);
    kept = &v->lines[(v->line_first + v->line_count++) % VIEW_LINES_KEPT];
    *kept = (struct view_line){.text = text, .len = strlen(text), .ours = ours};
    v->log_bytes += kept->len;
    while (v->log_bytes > v->log_bytes_max && v->line_count > 1)
        drop_line(v);
}
