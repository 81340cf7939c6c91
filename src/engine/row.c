// SPDX-License-Identifier: Apache-2.0
/*
 * Rows as bytes: a version, then the fields in a fixed order, integers as varints (times zigzag, as
 * some lie before the epoch on strange clocks), strings with their length. From version 2 on,
 * fields that most calls lack stand behind those, each with its number, and a zero ends them. A row
 * is read back only whole: a field missing, out of range or left over is data loss, and says which.
 */
#include "engine/row.h"

#define ROW_VERSION 2

/* Absent optional times are written as this, which no clock says. */
static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

enum {
    FLAG_FRESH = 1,
    FLAG_INPUT = 2,
    FLAG_POLL_ERROR = 4,
    FLAG_POLL_TIMER = 8,
    FLAG_DUE = 16,
    FLAG_DONE = 32,
    FLAG_ALL = 63,
};

/* The fields with a number. None is ever used again for something else; a new one needs no new
 * version, as programs that do not know it refuse it by name. */
enum row_field {
    FIELD_END,
    FIELD_PRIORITY, /* zigzag */
    FIELD_BITS,
    FIELD_RETRY_OF,
    FIELD_KEY, /* bytes */
    FIELD_STALLED,
    FIELD_INPUT_CLASS,
    FIELD_COUNT,
};

enum { BIT_WAKE_ON_ERROR = 1, BIT_FAILED = 2, BITS_ALL = 3 };

static void put_field(struct buf *out, enum row_field field, uint64_t value)
{
    if (!value)
        return;
    buf_append_byte(out, (uint8_t)field);
    buf_put_varint(out, value);
}

static void put_fields(struct buf *out, const struct engine_row *r)
{
    put_field(out, FIELD_PRIORITY, zigzag(r->priority));
    put_field(out, FIELD_BITS,
              (r->wake_on_error ? BIT_WAKE_ON_ERROR : 0) | (r->failed ? BIT_FAILED : 0));
    put_field(out, FIELD_RETRY_OF, r->retry_of);
    put_field(out, FIELD_INPUT_CLASS, r->input_class);
    if (r->key.len) {
        buf_append_byte(out, FIELD_KEY);
        buf_put_bytes(out, r->key);
    }
    put_field(out, FIELD_STALLED, r->stalled);
    buf_append_byte(out, FIELD_END);
}

void row_encode(struct buf *out, const struct engine_row *r)
{
    unsigned flags = (r->fresh ? FLAG_FRESH : 0) | (r->has_input ? FLAG_INPUT : 0) |
                     (r->has_poll_error ? FLAG_POLL_ERROR : 0) |
                     (r->poll_timer ? FLAG_POLL_TIMER : 0) | (r->due != TIME_NEVER ? FLAG_DUE : 0) |
                     (r->state == CALL_DONE ? FLAG_DONE : 0);

    buf_append_byte(out, ROW_VERSION);
    buf_append_byte(out, (uint8_t)flags);
    buf_append_byte(out, (uint8_t)r->state);
    buf_append_byte(out, (uint8_t)r->last_status);
    buf_append_byte(out, r->state_arm);
    buf_put_varint(out, r->id);
    buf_put_varint(out, r->parent);
    buf_put_varint(out, r->root);
    buf_put_varint(out, r->correlation_id);
    buf_put_varint(out, r->generation);
    buf_put_varint(out, r->parent_generation);
    buf_put_varint(out, r->depth);
    buf_put_bytes(out, r->org);
    buf_put_bytes(out, r->function);
    buf_put_bytes(out, r->endpoint);
    buf_put_bytes(out, r->version);
    buf_put_varint(out, zigzag(r->created));
    buf_put_varint(out, zigzag(r->expires));
    if (flags & FLAG_DUE)
        buf_put_varint(out, zigzag(r->due));
    buf_put_varint(out, r->failures);
    buf_put_varint(out, r->restarts);
    buf_put_varint(out, r->attempts);
    buf_put_varint(out, r->resumes);
    buf_put_varint(out, r->min_results);
    buf_put_varint(out, r->max_results);
    buf_put_varint(out, r->outstanding);
    buf_put_varint(out, r->state_chunks);
    buf_put_u64(out, r->state_hash);
    buf_put_varint(out, r->state_len);
    if (flags & FLAG_DONE) {
        buf_append_byte(out, (uint8_t)r->status);
        buf_append_byte(out, (uint8_t)r->end);
        buf_put_varint(out, r->finish);
        buf_put_varint(out, r->result_len);
        buf_put_varint(out, zigzag(r->done));
    }
    put_fields(out, r);
}

static bool get_u32(struct slice *in, uint32_t *value)
{
    uint64_t wide;

    if (!slice_get_varint(in, &wide) || wide > UINT32_MAX)
        return false;
    *value = (uint32_t)wide;
    return true;
}

static bool get_time(struct slice *in, int64_t *value)
{
    uint64_t raw;

    if (!slice_get_varint(in, &raw))
        return false;
    *value = unzigzag(raw);
    return true;
}

static bool get_identity(struct slice *in, struct engine_row *r)
{
    return slice_get_varint(in, &r->id) && slice_get_varint(in, &r->parent) &&
           slice_get_varint(in, &r->root) && slice_get_varint(in, &r->correlation_id) &&
           get_u32(in, &r->generation) && get_u32(in, &r->parent_generation) &&
           get_u32(in, &r->depth) && slice_get_bytes(in, &r->org) &&
           slice_get_bytes(in, &r->function) && slice_get_bytes(in, &r->endpoint) &&
           slice_get_bytes(in, &r->version) && get_time(in, &r->created) &&
           get_time(in, &r->expires) && r->id > 0 && r->generation > 0;
}

static bool get_progress(struct slice *in, struct engine_row *r)
{
    return get_u32(in, &r->failures) && get_u32(in, &r->restarts) &&
           slice_get_varint(in, &r->attempts) && get_u32(in, &r->resumes) &&
           get_u32(in, &r->min_results) && get_u32(in, &r->max_results) &&
           get_u32(in, &r->outstanding) && get_u32(in, &r->state_chunks) &&
           slice_get_u64(in, &r->state_hash) && slice_get_varint(in, &r->state_len);
}

static bool get_end(struct slice *in, struct engine_row *r)
{
    uint8_t status, end;

    if (!slice_get_byte(in, &status) || !slice_get_byte(in, &end) ||
        !slice_get_varint(in, &r->finish) || !slice_get_varint(in, &r->result_len) ||
        !get_time(in, &r->done) || status >= STATUS_COUNT || end > END_KEY_TAKEN)
        return false;
    r->status = status;
    r->end = end;
    return true;
}

static bool set_field(struct engine_row *r, enum row_field field, uint64_t value)
{
    int64_t priority = unzigzag(value);

    switch (field) {
    case FIELD_PRIORITY:
        r->priority = (int32_t)priority;
        return priority >= INT32_MIN && priority <= INT32_MAX;
    case FIELD_BITS:
        r->wake_on_error = value & BIT_WAKE_ON_ERROR;
        r->failed = value & BIT_FAILED;
        return !(value & ~(uint64_t)BITS_ALL);
    case FIELD_STALLED:
        r->stalled = (uint32_t)value;
        return value <= UINT32_MAX && r->state == CALL_SUSPENDED;
    case FIELD_INPUT_CLASS:
        r->input_class = (uint8_t)value;
        return value < ROW_SIZE_CLASSES;
    case FIELD_RETRY_OF:
        r->retry_of = value;
        return r->depth == 0;
    default:
        return false;
    }
}

static int get_fields(struct slice *in, struct engine_row *r, struct error *err)
{
    uint64_t value;
    uint8_t field;

    for (;;) {
        if (!slice_get_byte(in, &field))
            break;
        if (field == FIELD_END)
            return CODE_OK;
        if (field >= FIELD_COUNT)
            return error_set(err, CODE_FAILED_PRECONDITION,
                             "row of call %llu has a field %u, which this program does not know",
                             (unsigned long long)r->id, field);
        if (field == FIELD_KEY) {
            if (!slice_get_bytes(in, &r->key) || !r->key.len)
                break;
            continue;
        }
        if (!slice_get_varint(in, &value) || !set_field(r, (enum row_field)field, value))
            break;
    }
    return error_set(err, CODE_DATA_LOSS, "row of call %llu: damaged fields",
                     (unsigned long long)r->id);
}

int row_decode(struct slice *in, struct engine_row *row, struct error *err)
{
    struct engine_row r = {.due = TIME_NEVER};
    uint8_t version, flags, state, last_status;
    int code;

    if (!slice_get_byte(in, &version))
        return error_set(err, CODE_DATA_LOSS, "empty call row");
    if (version > ROW_VERSION)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "call row of version %u; this program reads up to %u", version,
                         ROW_VERSION);
    if (version == 0 || !slice_get_byte(in, &flags) || !slice_get_byte(in, &state) ||
        !slice_get_byte(in, &last_status) || !slice_get_byte(in, &r.state_arm) ||
        flags & ~FLAG_ALL || state >= CALL_STATES || last_status >= STATUS_COUNT)
        return error_set(err, CODE_DATA_LOSS, "call row with a damaged head");
    r.state = state;
    r.last_status = last_status;
    r.fresh = flags & FLAG_FRESH;
    r.has_input = flags & FLAG_INPUT;
    r.has_poll_error = flags & FLAG_POLL_ERROR;
    r.poll_timer = flags & FLAG_POLL_TIMER;
    if (!get_identity(in, &r))
        return error_set(err, CODE_DATA_LOSS, "call row with a damaged identity");
    if (((flags & FLAG_DUE) && !get_time(in, &r.due)) || !get_progress(in, &r))
        return error_set(err, CODE_DATA_LOSS, "row of call %llu: damaged progress",
                         (unsigned long long)r.id);
    if (!(flags & FLAG_DONE) != (state != CALL_DONE) || ((flags & FLAG_DONE) && !get_end(in, &r)))
        return error_set(err, CODE_DATA_LOSS, "row of call %llu: damaged end",
                         (unsigned long long)r.id);
    if (version >= 2 && (code = get_fields(in, &r, err)))
        return code;
    *row = r;
    return CODE_OK;
}

void row_encode_done(struct buf *out, const struct engine_row *row, const struct engine_result *r)
{
    row_encode(out, row);
    buf_append_byte(out, (uint8_t)((r->has_output ? 1 : 0) | (r->has_error ? 2 : 0)));
    if (r->has_output)
        buf_put_bytes(out, r->output);
    if (r->has_error)
        buf_put_bytes(out, r->error);
}

int row_decode_done(struct slice in, struct engine_row *row, struct engine_result *result,
                    struct error *err)
{
    struct engine_row decoded;
    struct engine_result r = {0};
    uint8_t flags;
    int code = row_decode(&in, &decoded, err);

    if (code)
        return code;
    if (!slice_get_byte(&in, &flags) || flags > 3 || decoded.state != CALL_DONE ||
        ((flags & 1) && !slice_get_bytes(&in, &r.output)) ||
        ((flags & 2) && !slice_get_bytes(&in, &r.error)) || in.len)
        return error_set(err, CODE_DATA_LOSS, "row of call %llu: damaged result",
                         (unsigned long long)decoded.id);
    r.has_output = flags & 1;
    r.has_error = flags & 2;
    *row = decoded;
    *result = r;
    return CODE_OK;
}

/* 48, 64, 96, 128, 192, ... */
uint64_t row_class_size(uint8_t size_class)
{
    return size_class ? (uint64_t)(2 + (size_class & 1)) << (size_class / 2 + 4) : 0;
}

uint8_t row_size_class(size_t len)
{
    uint8_t size_class = 0;

    while (size_class < ROW_SIZE_CLASSES - 1 && row_class_size(size_class) < len)
        size_class++;
    return size_class;
}

uint64_t row_kept_size(const struct engine_row *row, size_t value)
{
    return value + row_class_size(row->input_class);
}

const char *call_state_name(enum call_state state)
{
    static const char *const names[CALL_STATES] = {"ready", "waiting", "running", "suspended",
                                                   "done"};

    return (unsigned)state < CALL_STATES ? names[state] : "unknown";
}

/* --- trees ------------------------------------------------------------------------------------ */

#define TREE_VERSION 1

void tree_encode(struct buf *out, uint64_t root, int64_t wake, const uint64_t *ids, uint32_t calls)
{
    buf_append_byte(out, TREE_VERSION);
    buf_put_u64(out, (uint64_t)wake);
    buf_put_varint(out, calls);
    for (uint32_t i = 0; i < calls; root = ids[i++])
        buf_put_varint(out, ids[i] - root);
}

int tree_decode(struct slice value, uint64_t root, struct tree_row *tree, struct error *err)
{
    uint64_t wake, calls;
    uint8_t version;

    if (slice_get_byte(&value, &version) && version > TREE_VERSION)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "a tree's row is of version %u, and the newest known is %u", version,
                         TREE_VERSION);
    if (!value.len || !slice_get_u64(&value, &wake) || !slice_get_varint(&value, &calls) ||
        calls == 0 || calls > value.len)
        return error_set(err, CODE_DATA_LOSS, "the row of tree %llu is damaged",
                         (unsigned long long)root);
    *tree = (struct tree_row){
        .wake = (int64_t)wake, .calls = (uint32_t)calls, .ids = value, .last = root};
    return CODE_OK;
}

bool tree_next(struct tree_row *tree, uint64_t *id)
{
    uint64_t step;

    if (!tree->ids.len || !slice_get_varint(&tree->ids, &step))
        return false;
    *id = tree->last += step;
    return true;
}
