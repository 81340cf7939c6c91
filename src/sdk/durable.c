// SPDX-License-Identifier: Apache-2.0
/*
 * What a function does about the journal: the check that each await is the one it was, steps and
 * other answers of the world that are kept, states and checkpoints, resets.
 */
#include "sdk/coroutine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"

/* Marks what dispatch_checkpoint returns: nobody else has this address. */
static const char checkpoint_mark;

/* Of a struct's layout, as far as plain data goes. */
#if defined(__x86_64__)
#define ARCHITECTURE "x86_64"
#elif defined(__aarch64__) && defined(__AARCH64EB__)
#define ARCHITECTURE "aarch64_be"
#elif defined(__aarch64__)
#define ARCHITECTURE "aarch64"
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE "riscv64"
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define ARCHITECTURE "ppc64le"
#elif defined(__s390x__)
#define ARCHITECTURE "s390x"
#elif defined(__i386__)
#define ARCHITECTURE "i386"
#elif defined(__arm__)
#define ARCHITECTURE "arm"
#else
#error "name this architecture here"
#endif

/* --- the journal ----------------------------------------------------------------------------- */

/* The call's input, without which nothing can be run again, comes first. */
static bool put_input(struct execution *e)
{
    struct journal_record record = {.kind = JOURNAL_INPUT};
    struct error err = {0};
    wire_any *any = NULL;

    if (sdk_any_from_value(e->ctx->input.value, &e->ctx->arena, &any, &err)) {
        execution_fail(e, DISPATCH_PERMANENT_ERROR, "InvalidInput", "%s", err.message);
        return false;
    }
    if (any) {
        record.type_url = slice_str(any->type_url);
        record.bytes = slice(any->value.data, any->value.len);
    }
    return journal_put(e, &record);
}

static bool journal_begin(struct execution *e)
{
    if (e->journaled)
        return true;
    if (journal_init(&e->journal, NULL)) {
        execution_memory(e);
        return false;
    }
    e->journaled = true;
    return put_input(e);
}

bool journal_put(struct execution *e, struct journal_record *record)
{
    struct error err = {0};

    if (e->ended || !journal_begin(e))
        return false;
    if (journal_append(&e->journal, record, &err) == 0)
        return true;
    /* Within one payload of the bound it is the bound, which no retry moves. */
    if (e->journal.bytes.len > JOURNAL_MAX / 2)
        execution_fail(e, DISPATCH_PERMANENT_ERROR, "JournalTooLong", "%s", err.message);
    else
        execution_memory(e);
    return false;
}

bool journal_peek(struct execution *e)
{
    struct error err = {0};
    int rc;

    if (e->has_next)
        return true;
    if (e->ended || !e->journaled || journal_at_end(&e->journal))
        return false;
    rc = journal_next(&e->journal, &e->next, &err);
    if (rc == 0)
        e->has_next = true;
    else if (rc == CODE_UNIMPLEMENTED)
        execution_fail(e, DISPATCH_TEMPORARY_ERROR, "Diverged", "%s: the call waits for newer code",
                       err.message);
    else
        execution_fail(e, DISPATCH_INCOMPATIBLE_STATE, "Incompatible", "%s", err.message);
    return rc == 0;
}

enum { TEXT_MAX = 160 };

/* Into memory of the stack: a run that ends leaves nothing behind that is to be freed. */
static void describe(const struct journal_record *record, char text[static TEXT_MAX])
{
    struct buf buf;

    buf_init(&buf, 4096);
    journal_describe(record, &buf);
    snprintf(text, TEXT_MAX, "%s", buf_cstr(&buf));
    buf_free(&buf);
}

void execution_diverged(struct execution *e, const struct journal_record *expected,
                        const struct journal_record *made)
{
    bool restart = sdk_coroutines_restarts(e->owner);
    uint64_t position = expected ? expected->position : e->journal.position;
    char was[TEXT_MAX] = "nothing more", is[TEXT_MAX] = "no await";

    if (expected)
        describe(expected, was);
    if (made)
        describe(made, is);
    else if (e->finished)
        snprintf(is, sizeof is, "its end");
    e->finished = false; /* what it returned does not count */
    execution_fail(e, restart ? DISPATCH_INCOMPATIBLE_STATE : DISPATCH_TEMPORARY_ERROR, "Diverged",
                   "await %llu of '%s': the journal has %s, the code made %s%s",
                   (unsigned long long)position, e->name, was, is,
                   restart ? "" : "; the call waits for the code that wrote the journal");
}

bool journal_replays(struct execution *e, const struct journal_record *made,
                     struct journal_record *record)
{
    struct journal_record wanted = *made; /* `record` may be the same */
    struct coroutine *c = e->current;
    bool counted =
        made->kind == JOURNAL_ALL || made->kind == JOURNAL_ANY || made->kind == JOURNAL_RACE;

    c->awaits++;
    c->dispatches = 0;
    if (!journal_peek(e))
        return false;
    if (e->next.kind != wanted.kind || !slice_eq(e->next.name, wanted.name) ||
        (counted && e->next.number != wanted.number)) {
        execution_diverged(e, &e->next, &wanted);
        return false;
    }
    *record = e->next;
    e->has_next = false;
    return true;
}

void check_digest(struct execution *e, const struct journal_record *record, const char *what,
                  uint32_t digest)
{
    if (record->digest == digest)
        return;
    if (e->strict)
        execution_fail(e, DISPATCH_TEMPORARY_ERROR, "Diverged",
                       "await %llu of '%s': %s has another input than when it was first made",
                       (unsigned long long)record->position, e->name, what);
    else
        sdk_coroutines_warn(e->owner, e->ctx->input.request->dispatch_id,
                            "await %llu of '%s': %s has another input in a replay than when it was "
                            "first made",
                            (unsigned long long)record->position, e->name, what);
}

/* --- results --------------------------------------------------------------------------------- */

void result_from_wire(const wire_call_result *in, struct journal_result *out)
{
    *out = (struct journal_result){.dispatch_id = slice_str(in->dispatch_id)};
    if (in->output) {
        out->type_url = slice_str(in->output->type_url);
        out->output = slice(in->output->value.data, in->output->value.len);
    }
    if (in->error) {
        out->failed = true;
        out->status = (uint32_t)in->error->status;
        out->type = slice_str(in->error->type);
        out->message = slice_str(in->error->message);
        out->value = slice(in->error->value.data, in->error->value.len);
        out->traceback = slice(in->error->traceback.data, in->error->traceback.len);
    }
}

int result_to_journal(struct execution *e, const struct dispatch_result *result,
                      struct journal_result *out, struct error *err)
{
    wire_call_result *message;
    int rc = sdk_result_to_wire(result, &e->ctx->arena, &message, err);

    if (!rc)
        result_from_wire(message, out);
    return rc;
}

/* A copy in the arena; NULL stays NULL, and counts as success. */
static bool copy(struct arena *arena, struct slice bytes, const void **out)
{
    *out = bytes.len ? arena_dup(arena, bytes) : NULL;
    return *out || bytes.len == 0;
}

static int error_from_journal(struct arena *arena, const struct journal_result *in,
                              struct dispatch_result *result, struct error *err)
{
    struct dispatch_error *error = arena_zalloc(arena, 1, sizeof *error);

    if (!error)
        return error_memory(err);
    error->status = (enum dispatch_status)in->status;
    error->type = arena_dup(arena, in->type);
    error->message = arena_dup(arena, in->message);
    if (!error->type || !error->message || !copy(arena, in->value, &error->value) ||
        !copy(arena, in->traceback, &error->traceback))
        return error_memory(err);
    error->value_size = in->value.len;
    error->traceback_size = in->traceback.len;
    result->error = error;
    result->status = error->status;
    return 0;
}

int result_from_journal(struct execution *e, const struct journal_result *in,
                        struct dispatch_result *result, struct error *err)
{
    struct arena *arena = &e->ctx->arena;
    struct dispatch_result made = {.status = DISPATCH_OK};
    int rc = 0;

    if (in->type_url.len) {
        const void *bytes;
        wire_any any = GOOGLE__PROTOBUF__ANY__INIT;

        any.type_url = arena_dup(arena, in->type_url);
        if (!any.type_url || !copy(arena, in->output, &bytes))
            return error_memory(err);
        any.value.data = (uint8_t *)(uintptr_t)bytes;
        any.value.len = in->output.len;
        rc = sdk_value_from_any(&any, arena, &made.output, err);
    }
    if (!rc && in->failed)
        rc = error_from_journal(arena, in, &made, err);
    if (!rc && in->dispatch_id.len) {
        made.dispatch_id = arena_dup(arena, in->dispatch_id);
        rc = made.dispatch_id ? 0 : error_memory(err);
    }
    if (!rc)
        *result = made;
    return rc;
}

/* --- steps ----------------------------------------------------------------------------------- */

/* The result, with a journal that cannot hold it as an error of the function's own. */
static bool keep_result(struct execution *e, struct journal_record *record,
                        struct dispatch_result *result)
{
    struct error err = {0};

    if (result_to_journal(e, result, &record->result, &err)) {
        *result =
            dispatch_fail(e->ctx, DISPATCH_INVALID_RESPONSE, "InvalidOutput", "%s", err.message);
        if (result_to_journal(e, result, &record->result, NULL)) {
            execution_memory(e);
            return false;
        }
    }
    if (!journal_put(e, record))
        return false;
    if (result_from_journal(e, &record->result, result, NULL) == 0)
        return true;
    execution_memory(e);
    return false;
}

static bool run_effect(struct execution *e, struct journal_record *record, dispatch_effect *effect,
                       void *arg, struct dispatch_result *result)
{
    e->in_effect = true;
    *result = effect(e->ctx, arg);
    e->in_effect = false;
    if (dispatch_status_temporary(result->status)) {
        execution_end(e, dispatch_output_result(e->ctx, result));
        return false;
    }
    return keep_result(e, record, result);
}

static struct dispatch_result step(struct dispatch_ctx *ctx, enum journal_kind kind,
                                   const char *name, dispatch_effect *effect, void *arg)
{
    struct execution *e = awaiting(ctx);
    struct journal_record record = {.kind = kind, .name = slice_str(name)};
    struct dispatch_result result;

    if (!e)
        return misuse();
    if (journal_replays(e, &record, &record)) {
        if (result_from_journal(e, &record.result, &result, NULL))
            execution_memory(e);
    } else if (!run_effect(e, &record, effect, arg, &result)) {
        return misuse();
    }
    if (kind == JOURNAL_STEP) {
        e->current->wait = (struct wait){.kind = WAIT_COMMIT};
        coroutine_suspend(e);
        e->current->wait = (struct wait){0};
    }
    return result;
}

struct dispatch_result dispatch_step(struct dispatch_ctx *ctx, const char *name,
                                     dispatch_effect *effect, void *arg)
{
    return step(ctx, JOURNAL_STEP, name, effect, arg);
}

struct dispatch_result dispatch_step_lazy(struct dispatch_ctx *ctx, const char *name,
                                          dispatch_effect *effect, void *arg)
{
    return step(ctx, JOURNAL_LAZY, name, effect, arg);
}

/* --- time, chance, changes ------------------------------------------------------------------- */

int64_t execution_now(const struct execution *e)
{
    return e->now_ns + (clock_now(clock_system()) - e->began_ns);
}

int64_t dispatch_now(struct dispatch_ctx *ctx)
{
    struct execution *e = awaiting(ctx);
    struct journal_record record = {.kind = JOURNAL_NOW};

    if (!e)
        return clock_now(clock_system());
    if (!journal_replays(e, &record, &record)) {
        record.time_ns = execution_now(e);
        journal_put(e, &record);
    }
    return record.time_ns;
}

uint64_t dispatch_random(struct dispatch_ctx *ctx)
{
    struct execution *e = awaiting(ctx);
    struct journal_record record = {.kind = JOURNAL_RANDOM};

    if (!e || !journal_replays(e, &record, &record)) {
        rand_system(&record.number, sizeof record.number);
        if (e)
            journal_put(e, &record);
    }
    return record.number;
}

bool dispatch_patched(struct dispatch_ctx *ctx, const char *name)
{
    struct execution *e = awaiting(ctx);
    struct journal_record record = {.kind = JOURNAL_PATCHED, .name = slice_str(name)};
    struct patch *patch;

    if (!e)
        return true;
    for (patch = e->patches; patch; patch = patch->next)
        if (strcmp(patch->name, name) == 0)
            return patch->patched;
    patch = arena_zalloc(&e->ctx->arena, 1, sizeof *patch + strlen(name) + 1);
    if (!patch) {
        execution_memory(e);
        return true;
    }
    memcpy(patch->name, name, strlen(name) + 1);
    if (!journal_peek(e)) {
        patch->patched = journal_put(e, &record);
    } else if (e->next.kind == JOURNAL_PATCHED && slice_eq(e->next.name, record.name)) {
        patch->patched = true;
        e->has_next = false;
    } /* else the call passed here before the code asked */
    patch->next = e->patches;
    e->patches = patch;
    return patch->patched;
}

/* --- states and checkpoints ------------------------------------------------------------------ */

void *dispatch_state(struct dispatch_ctx *ctx, size_t size)
{
    struct execution *e = ctx->execution;

    if (!e)
        return dispatch_alloc(ctx, size);
    if (e->state && e->state_size == size)
        return e->state;
    if (e->state || size > JOURNAL_MAX / 2)
        execution_fail(e, DISPATCH_PERMANENT_ERROR, "Misuse",
                       "dispatch_state with a size of %zu bytes: %s", size,
                       e->state ? "it was asked for with another size before"
                                : "more than a state may have");
    if (e->saved_architecture.len && !slice_eq_str(e->saved_architecture, ARCHITECTURE))
        execution_fail(e, DISPATCH_INCOMPATIBLE_STATE, "Incompatible",
                       "the state was saved on %.*s, this is " ARCHITECTURE,
                       SLICE_FMT(e->saved_architecture));
    else if (e->saved_state.len > size)
        execution_fail(e, DISPATCH_INCOMPATIBLE_STATE, "Incompatible",
                       "the state was saved with %zu bytes, the code asks for %zu",
                       e->saved_state.len, size);
    e->state = arena_zalloc(&ctx->arena, 1, size > e->saved_state.len ? size : e->saved_state.len);
    if (!e->state) {
        execution_memory(e);
        return NULL;
    }
    e->state_size = size;
    if (e->saved_state.len)
        memcpy(e->state, e->saved_state.data, e->saved_state.len);
    return e->state;
}

struct dispatch_result dispatch_checkpoint(struct dispatch_ctx *ctx)
{
    struct dispatch_result result = {.status = DISPATCH_OK};

    if (!ctx->execution)
        return misuse();
    result.reserved_[0] = (uint64_t)(uintptr_t)&checkpoint_mark;
    return result;
}

bool is_checkpoint(const struct dispatch_result *result)
{
    return result->reserved_[0] == (uint64_t)(uintptr_t)&checkpoint_mark;
}

/* False, and the run ends, if tasks are neither done nor forgotten. */
static bool nothing_outstanding(struct execution *e)
{
    struct buf names;

    if (list_empty(&e->open))
        return true;
    buf_init(&names, 300);
    LIST_FOR_EACH (node, next, &e->open)
        buf_printf(&names, "%s%s", names.len ? ", " : "",
                   LIST_ENTRY(node, struct dispatch_task, node)->name);
    e->finished = false;
    execution_fail(e, DISPATCH_PERMANENT_ERROR, "Outstanding",
                   "a checkpoint with tasks that are neither done nor forgotten: %s",
                   names.failed ? "many" : buf_cstr(&names));
    buf_free(&names);
    return false;
}

bool checkpoint_journal(struct execution *e)
{
    struct journal_record base = {.kind = JOURNAL_BASE, .correlation = 1};
    struct journal_record state = {.kind = JOURNAL_STATE,
                                   .name = slice_str(ARCHITECTURE),
                                   .bytes = slice(e->state, e->state_size)};

    if (!nothing_outstanding(e))
        return false;
    e->finished = false;
    if (e->journaled) {
        base.number = e->journal.position + 1; /* the checkpoint counts as one */
        base.correlation = e->journal.next_correlation;
        journal_free(&e->journal);
    }
    e->journaled = journal_init(&e->journal, NULL) == 0;
    if (!e->journaled)
        execution_memory(e);
    e->committed = 0;
    e->polls = 0;
    return e->journaled && journal_put(e, &base) && put_input(e) &&
           (!e->state || journal_put(e, &state));
}

/* --- resets ---------------------------------------------------------------------------------- */

void dispatch_reset(struct dispatch_ctx *ctx, const struct dispatch_call *call,
                    enum dispatch_status status)
{
    struct execution *e = ctx->execution;

    if (!e || !e->current)
        abort(); /* nothing to leave: not called by a function of the library's */
    execution_end(e, dispatch_output_tail_call(ctx, call, status));
    abort(); /* its stack is never resumed, only unwound */
}
