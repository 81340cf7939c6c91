// SPDX-License-Identifier: Apache-2.0
/*
 * The journal's format, both ways, from one table of what each kind of record holds. Whatever is
 * read may come from a store that was tampered with, or from a later version: everything is checked
 * against the bytes that are there.
 */
#include "sdk/journal.h"

#include <assert.h>
#include <stdlib.h>

/*
 * The fields: n name, d digest, t time, u number, w number of eight bytes, c correlation id,
 * a Any, b bytes, r result. `counts`: it takes the next correlation id. `await`: code begins it.
 */
static const struct shape {
    const char *words, *fields;
    bool counts, await;
} shapes[] = {
    [JOURNAL_BASE] = {"base", "uc", false, false},
    [JOURNAL_INPUT] = {"input", "a", false, false},
    [JOURNAL_STATE] = {"state", "nb", false, false},
    [JOURNAL_CALL] = {"call", "nd", true, true},
    [JOURNAL_START] = {"start of a call", "nd", true, true},
    [JOURNAL_SPAWN] = {"spawn", "n", false, true},
    [JOURNAL_SLEEP] = {"sleep", "t", true, true},
    [JOURNAL_TIMER] = {"timer", "t", true, true},
    [JOURNAL_AWAIT] = {"await of a task", "", false, true},
    [JOURNAL_ALL] = {"all", "u", false, true},
    [JOURNAL_ANY] = {"any", "u", false, true},
    [JOURNAL_RACE] = {"race", "u", false, true},
    [JOURNAL_STEP] = {"step", "nr", false, true},
    [JOURNAL_LAZY] = {"lazy step", "nr", false, true},
    [JOURNAL_NOW] = {"now", "t", false, true},
    [JOURNAL_RANDOM] = {"random", "w", false, true},
    [JOURNAL_PATCHED] = {"patched", "n", false, true},
    [JOURNAL_RESULT] = {"result", "cr", false, false},
    [JOURNAL_FIRED] = {"end", "c", false, false},
    [JOURNAL_POLL] = {"poll", "u", false, false},
    [JOURNAL_REFUSED] = {"refusal", "r", false, false},
    [JOURNAL_DISPATCH] = {"dispatch", "dr", false, true},
};

enum { SHAPES = sizeof shapes / sizeof *shapes };
enum { HAS_OUTPUT = 1, HAS_ERROR = 2, HAS_ID = 4 };

static const uint8_t header[] = {'D', 'J', JOURNAL_VERSION};

bool journal_is_await(enum journal_kind kind)
{
    return (unsigned)kind < SHAPES && shapes[kind].await;
}

static void start(struct journal *j)
{
    *j = (struct journal){.next_correlation = 1};
    buf_init(&j->bytes, JOURNAL_MAX);
    map_init(&j->numbers);
}

void journal_free(struct journal *j)
{
    buf_free(&j->bytes);
    free(j->names);
    map_free(&j->numbers);
}

int journal_init(struct journal *j, struct error *err)
{
    start(j);
    buf_append(&j->bytes, header, sizeof header);
    j->cursor = j->bytes.len;
    return j->bytes.failed ? error_memory(err) : 0;
}

int journal_load(struct journal *j, struct slice bytes, struct error *err)
{
    const uint8_t *data = bytes.data;

    if (bytes.len < sizeof header || data[0] != header[0] || data[1] != header[1])
        return error_set(err, CODE_DATA_LOSS, "the state is not a journal");
    if (data[2] != JOURNAL_VERSION)
        return error_set(err, CODE_UNIMPLEMENTED,
                         "the journal has version %u, and this code knows version %u", data[2],
                         JOURNAL_VERSION);
    start(j);
    buf_append_slice(&j->bytes, bytes);
    j->cursor = sizeof header;
    if (!j->bytes.failed)
        return 0;
    journal_free(j);
    return error_set(err, CODE_RESOURCE_EXHAUSTED,
                     "no memory for a journal of %zu bytes, or more than %zu", bytes.len,
                     JOURNAL_MAX);
}

bool journal_at_end(const struct journal *j)
{
    return j->cursor >= j->bytes.len;
}

/* --- names ----------------------------------------------------------------------------------- */

/* The name that was just spelled out at `at`; false: no memory. One that is too long, or one too
 * many, gets no number, by the reader as by the writer. */
static bool number_name(struct journal *j, size_t at, size_t len)
{
    uint64_t hash = slice_hash(slice(j->bytes.data + at, len), 0);

    if (len == 0 || len > JOURNAL_NAME_MAX || j->name_count >= JOURNAL_NAMES)
        return true;
    if (j->name_count == j->name_room) {
        uint32_t room = j->name_room ? j->name_room * 2 : 16;
        struct journal_name *names = realloc(j->names, room * sizeof *names);

        if (!names)
            return false;
        j->names = names;
        j->name_room = room;
    }
    j->names[j->name_count++] = (struct journal_name){(uint32_t)at, (uint32_t)len};
    return map_set(&j->numbers, hash, (void *)(uintptr_t)j->name_count);
}

static struct slice name_at(const struct journal *j, uint64_t number)
{
    const struct journal_name *name = &j->names[number - 1];

    return slice(j->bytes.data + name->at, name->len);
}

static void put_name(struct journal *j, struct slice name)
{
    uint64_t number = (uintptr_t)map_get(&j->numbers, slice_hash(name, 0));

    if (number > 0 && slice_eq(name_at(j, number), name)) {
        buf_put_varint(&j->bytes, number);
        return;
    }
    buf_put_varint(&j->bytes, 0);
    buf_put_bytes(&j->bytes, name);
    if (!j->bytes.failed && !number_name(j, j->bytes.len - name.len, name.len))
        j->bytes.failed = true;
}

/* --- appending ------------------------------------------------------------------------------- */

static void put_result(struct journal *j, const struct journal_result *result)
{
    struct buf *b = &j->bytes;

    buf_append_byte(b, (uint8_t)((result->type_url.len ? HAS_OUTPUT : 0) |
                                 (result->failed ? HAS_ERROR : 0) |
                                 (result->dispatch_id.len ? HAS_ID : 0)));
    if (result->type_url.len) {
        put_name(j, result->type_url);
        buf_put_bytes(b, result->output);
    }
    if (result->failed) {
        buf_put_varint(b, result->status);
        put_name(j, result->type);
        buf_put_bytes(b, result->message);
        buf_put_bytes(b, result->value);
        buf_put_bytes(b, result->traceback);
    }
    if (result->dispatch_id.len)
        buf_put_bytes(b, result->dispatch_id);
}

static void put_field(struct journal *j, char field, const struct journal_record *record)
{
    switch (field) {
    case 'n':
        put_name(j, record->name);
        break;
    case 'd':
        buf_append(&j->bytes,
                   &(uint8_t[4]){(uint8_t)record->digest, (uint8_t)(record->digest >> 8),
                                 (uint8_t)(record->digest >> 16), (uint8_t)(record->digest >> 24)},
                   4);
        break;
    case 't':
        buf_put_u64(&j->bytes, (uint64_t)record->time_ns);
        break;
    case 'u':
        buf_put_varint(&j->bytes, record->number);
        break;
    case 'w':
        buf_put_u64(&j->bytes, record->number);
        break;
    case 'c':
        buf_put_varint(&j->bytes, record->correlation);
        break;
    case 'a':
        put_name(j, record->type_url);
        buf_put_bytes(&j->bytes, record->bytes);
        break;
    case 'b':
        buf_put_bytes(&j->bytes, record->bytes);
        break;
    default:
        put_result(j, &record->result);
        break;
    }
}

/* What reading and writing have in common: the counters. */
static void count(struct journal *j, struct journal_record *record)
{
    if (shapes[record->kind].counts)
        record->correlation = j->next_correlation++;
    if (record->kind == JOURNAL_BASE) {
        j->position = record->number;
        j->next_correlation = record->correlation;
    }
    record->position = j->position++;
}

int journal_append(struct journal *j, struct journal_record *record, struct error *err)
{
    const struct shape *shape = &shapes[record->kind];

    assert((unsigned)record->kind < SHAPES && shape->words && journal_at_end(j));
    buf_append_byte(&j->bytes, (uint8_t)record->kind);
    for (const char *field = shape->fields; *field; field++)
        put_field(j, *field, record);
    if (j->bytes.failed)
        return error_set(err, CODE_RESOURCE_EXHAUSTED,
                         "no memory for the journal, or it exceeds %zu bytes: use "
                         "dispatch_checkpoint in long loops",
                         JOURNAL_MAX);
    j->cursor = j->bytes.len;
    count(j, record);
    return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

static bool get_name(struct journal *j, struct slice *in, struct slice *name)
{
    uint64_t number;

    if (!slice_get_varint(in, &number))
        return false;
    if (number > 0) {
        if (number > j->name_count)
            return false;
        *name = name_at(j, number);
        return true;
    }
    return slice_get_bytes(in, name) &&
           number_name(j, (size_t)((const uint8_t *)name->data - j->bytes.data), name->len);
}

static bool get_result(struct journal *j, struct slice *in, struct journal_result *result)
{
    uint64_t status;
    uint8_t flags;

    if (!slice_get_byte(in, &flags) || flags > (HAS_OUTPUT | HAS_ERROR | HAS_ID))
        return false;
    if (flags & HAS_OUTPUT && (!get_name(j, in, &result->type_url) || result->type_url.len == 0 ||
                               !slice_get_bytes(in, &result->output)))
        return false;
    if (flags & HAS_ERROR) {
        if (!slice_get_varint(in, &status) || status > UINT32_MAX ||
            !get_name(j, in, &result->type) || !slice_get_bytes(in, &result->message) ||
            !slice_get_bytes(in, &result->value) || !slice_get_bytes(in, &result->traceback))
            return false;
        result->failed = true;
        result->status = (uint32_t)status;
    }
    return !(flags & HAS_ID) || slice_get_bytes(in, &result->dispatch_id);
}

static bool get_digest(struct slice *in, uint32_t *digest)
{
    uint8_t byte;

    *digest = 0;
    for (unsigned shift = 0; shift < 32; shift += 8) {
        if (!slice_get_byte(in, &byte))
            return false;
        *digest |= (uint32_t)byte << shift;
    }
    return true;
}

static bool get_field(struct journal *j, char field, struct slice *in,
                      struct journal_record *record)
{
    uint64_t time;

    switch (field) {
    case 'n':
        return get_name(j, in, &record->name);
    case 'd':
        return get_digest(in, &record->digest);
    case 't':
        if (!slice_get_u64(in, &time))
            return false;
        record->time_ns = (int64_t)time;
        return true;
    case 'u':
        return slice_get_varint(in, &record->number);
    case 'w':
        return slice_get_u64(in, &record->number);
    case 'c':
        return slice_get_varint(in, &record->correlation);
    case 'a':
        return get_name(j, in, &record->type_url) && slice_get_bytes(in, &record->bytes);
    case 'b':
        return slice_get_bytes(in, &record->bytes);
    default:
        return get_result(j, in, &record->result);
    }
}

int journal_next(struct journal *j, struct journal_record *record, struct error *err)
{
    struct slice in = slice(j->bytes.data + j->cursor, j->bytes.len - j->cursor);
    const struct shape *shape;
    uint8_t kind = 0;

    assert(!journal_at_end(j));
    slice_get_byte(&in, &kind);
    if (kind >= SHAPES || !shapes[kind].words)
        return error_set(
            err, CODE_UNIMPLEMENTED,
            "the journal has a record of kind %u at byte %zu, which this code does not "
            "know",
            kind, j->cursor);
    shape = &shapes[kind];
    *record = (struct journal_record){.kind = (enum journal_kind)kind};
    for (const char *field = shape->fields; *field; field++)
        if (!get_field(j, *field, &in, record))
            return error_set(err, CODE_DATA_LOSS, "the journal is malformed: %s at byte %zu",
                             shape->words, j->cursor);
    j->cursor = j->bytes.len - in.len;
    count(j, record);
    return 0;
}

/* --- for people ------------------------------------------------------------------------------ */

const char *journal_kind_name(enum journal_kind kind)
{
    return shapes[kind].words;
}

void journal_describe(const struct journal_record *record, struct buf *out)
{
    const struct shape *shape = &shapes[record->kind];

    buf_append_str(out, shape->words);
    if (strchr(shape->fields, 'n'))
        buf_printf(out, " %s'%.*s'", strstr(shape->words, "call") ? "of " : "",
                   SLICE_FMT(record->name));
    else if (record->kind == JOURNAL_RESULT || record->kind == JOURNAL_FIRED)
        buf_printf(out, " of %s %llu", record->kind == JOURNAL_RESULT ? "call" : "timer",
                   (unsigned long long)record->correlation);
    else if (shape->await && strchr(shape->fields, 'u'))
        buf_printf(out, " of %llu", (unsigned long long)record->number);
}
