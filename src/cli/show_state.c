// SPDX-License-Identifier: Apache-2.0
/* What a call resumes with: of a function of the C SDK, the journal of its awaits and results. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/show.h"
#include "cli/value.h"
#include "sdk/journal.h"

#define ERROR_SHOWN 200 /* bytes of an error's message */

/* A record, and how many bytes it takes. */
struct entry {
    struct journal_record record;
    size_t size;
};

static bool is_journal(const wire_any *state)
{
    return state && slice_eq_str(wire_type_name(slice_str(state->type_url)), JOURNAL_TYPE);
}

static bool has_result(enum journal_kind kind)
{
    return kind == JOURNAL_RESULT || kind == JOURNAL_STEP || kind == JOURNAL_LAZY ||
           kind == JOURNAL_REFUSED || kind == JOURNAL_DISPATCH;
}

static bool has_time(enum journal_kind kind)
{
    return kind == JOURNAL_SLEEP || kind == JOURNAL_TIMER || kind == JOURNAL_NOW;
}

/* "OK", a status, or "" for what has no result. */
static const char *status_of(const struct journal_record *record)
{
    if (!has_result(record->kind))
        return "";
    return record->result.failed ? status_name((enum status)record->result.status) : "OK";
}

/* The call or timer that it is about; the base's is only where counting goes on. */
static uint64_t correlation_of(const struct journal_record *record)
{
    return record->kind == JOURNAL_BASE ? 0 : record->correlation;
}

static int next(struct journal *journal, struct entry *entry, struct error *err)
{
    size_t from = journal->cursor;
    int code = journal_next(journal, &entry->record, err);

    entry->size = journal->cursor - from;
    return code;
}

static void show_entry(const struct show *show, const struct entry *entry)
{
    const struct journal_record *record = &entry->record;
    const struct journal_result *result = &record->result;
    struct buf words;

    buf_printf(show->out, "%8" PRIu64 "  ", record->position);
    if (correlation_of(record))
        buf_printf(show->out, "%8" PRIu64, correlation_of(record));
    else
        buf_printf(show->out, "%8s", "");
    buf_printf(show->out, "  %9zu  %-18s  ", entry->size, status_of(record));
    buf_init(&words, JOURNAL_MAX);
    journal_describe(record, &words);
    if (has_time(record->kind)) {
        buf_append_str(&words, record->kind == JOURNAL_NOW ? ": " : " until ");
        show_time(record->time_ns, &words);
    }
    show_text(show, buf_slice(&words), 0);
    buf_free(&words);
    if (has_result(record->kind) && result->failed) {
        buf_append_str(show->out, ": ");
        show_text(show, result->type, 0);
        buf_append_str(show->out, ": ");
        show_text(show,
                  slice(result->message.data,
                        result->message.len < ERROR_SHOWN ? result->message.len : ERROR_SHOWN),
                  0);
    }
    buf_append_str(show->out, "\n");
}

static void show_entries(const struct show *show, struct journal *journal)
{
    struct entry entry;
    struct error err;

    buf_printf(show->out, "%8s  %8s  %9s  %-18s  %s\n", "POSITION", "CALL", "BYTES", "STATUS",
               "ENTRY");
    while (!journal_at_end(journal)) {
        if (next(journal, &entry, &err)) {
            buf_printf(show->out, "and no further: %s\n", err.message);
            return;
        }
        show_entry(show, &entry);
    }
}

void show_state(const struct show *show, const wire_any *state)
{
    struct slice type = wire_type_name(slice_str(state->type_url));
    struct journal journal;
    char title[128];
    struct error err;

    if (!is_journal(state)) {
        show_label(show, "state");
        show_text(show, type, SHOW_INDENT);
        buf_printf(show->out, ", %zu bytes\n", state->value.len);
        return;
    }
    snprintf(title, sizeof title, "journal, %zu bytes", state->value.len);
    show_heading(show, title);
    if (journal_load(&journal, slice(state->value.data, state->value.len), &err)) {
        buf_printf(show->out, "it cannot be read: %s\n", err.message);
        return;
    }
    show_entries(show, &journal);
    journal_free(&journal);
}

/* --- for programs ----------------------------------------------------------------------------- */

/* `,"name":"text"`. */
static void put_field(const char *name, struct slice text, struct arena *arena, struct buf *out)
{
    struct value value = {.kind = VALUE_STRING, .bytes = text};
    wire_any *any;

    if (!slice_is_utf8(text))
        value.bytes.len = slice_utf8_prefix(text);
    any = wire_any_from_value(&value, arena);
    if (!any)
        out->failed = true;
    buf_printf(out, ",\"%s\":", name);
    value_show(any, false, arena, out);
    arena_rewind(arena);
}

static void put_entry(const struct entry *entry, struct arena *arena, struct buf *out)
{
    const struct journal_record *record = &entry->record;
    const struct journal_result *result = &record->result;

    buf_printf(out, "{\"position\":%" PRIu64 ",\"kind\":\"%s\",\"bytes\":%zu", record->position,
               journal_kind_name(record->kind), entry->size);
    if (record->name.len)
        put_field("name", record->name, arena, out);
    if (correlation_of(record))
        buf_printf(out, ",\"call\":%" PRIu64, correlation_of(record));
    if (has_time(record->kind)) {
        buf_append_str(out, ",\"time\":\"");
        show_time(record->time_ns, out);
        buf_append_str(out, "\"");
    }
    if (has_result(record->kind))
        buf_printf(out, ",\"status\":\"%s\"", status_of(record));
    if (has_result(record->kind) && result->failed) {
        put_field("errorType", result->type, arena, out);
        put_field("errorMessage", result->message, arena, out);
    }
    buf_append_str(out, "}");
}

bool show_state_json(const wire_any *state, struct arena *arena, struct buf *out)
{
    const char *between = "";
    struct journal journal;
    struct entry entry;
    struct error err = {0};

    if (!is_journal(state) ||
        journal_load(&journal, slice(state->value.data, state->value.len), &err))
        return false;
    buf_append_str(out, "\"journal\":[");
    while (!journal_at_end(&journal) && !next(&journal, &entry, &err)) {
        buf_append_str(out, between);
        put_entry(&entry, arena, out);
        between = ",";
    }
    buf_append_str(out, "]");
    if (err.code)
        put_field("journalError", slice_str(err.message), arena, out);
    journal_free(&journal);
    return true;
}
