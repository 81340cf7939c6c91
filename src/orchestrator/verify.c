// SPDX-License-Identifier: Apache-2.0
/*
 * One walk a table; what a row says of others is looked up. A live call has its payloads and no
 * others, and its parent and root, if they are there, agree. A call that is done has a result, and
 * its input as long as that is kept. Ids are below the next one, kept bytes add up, trees that are
 * out of memory are listed with rows that exist, keys stand where they are looked for.
 *
 * A parent may be missing lawfully: it ended, and was removed as it was old enough. Its child is
 * older then than what is kept at least.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "orchestrator/inner.h"
#include "orchestrator/verify.h"

struct verify {
    struct store *store;
    const struct verify_options *options;
    struct verify_stats *stats;
    struct error error;
    uint64_t next_id, kept_bytes, kept_calls;
    uint64_t counted_bytes;
    bool kept;         /* there is such a row */
    uint64_t last_key; /* of the row of TABLE_PAYLOAD before */
};

static void __attribute__((format(printf, 3, 4)))
wrong(struct verify *v, uint64_t call, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    v->options->violation(v->options->arg, call, text);
}

static int walk(struct verify *v, const struct store_range *range, store_row_fn *fn, void *arg)
{
    return store_walk(v->store, PARTITION, range, fn, arg, &v->error);
}

static void count(struct verify *v, enum table table, const struct store_row *row)
{
    v->stats->rows[table]++;
    v->stats->bytes[table] += row->value.len;
}

/* The row in the blob's bytes; NULL if there is none, or it cannot be read (which its own turn
 * says). *code: the store failed. */
static struct blob *look_up(struct verify *v, enum table table, uint64_t id, struct engine_row *row,
                            int *code)
{
    struct engine_result result;
    struct blob *blob = NULL;
    struct slice bytes;
    struct error err;
    int found = store_get(v->store, PARTITION, table, id, 0, &blob, &v->error);

    if (found) {
        if (found != CODE_NOT_FOUND)
            *code = found;
        return NULL;
    }
    bytes = blob_slice(blob);
    if (table == TABLE_CALL ? row_decode(&bytes, row, &err)
                            : row_decode_done(bytes, row, &result, &err)) {
        blob_unref(blob);
        return NULL;
    }
    return blob;
}

/* --- payloads --------------------------------------------------------------------------------- */

struct payloads {
    bool input, poll_error, calls;
    uint32_t chunks; /* those that stand one behind the other */
    bool others;
};

static int note_payload(void *arg, const struct store_row *row)
{
    struct payloads *p = arg;

    if (row->sub == PAYLOAD_INPUT)
        p->input = true;
    else if (row->sub == PAYLOAD_POLL_ERROR)
        p->poll_error = true;
    else if (row->sub == PAYLOAD_CALLS)
        p->calls = true;
    else if (row->sub == PAYLOAD_STATE + p->chunks)
        p->chunks++;
    else
        p->others = true;
    return 0;
}

static void compare(struct verify *v, uint64_t call, const char *what, bool wanted, bool there)
{
    if (wanted != there)
        wrong(v, call, wanted ? "its %s is missing" : "there is %s that it does not have", what);
}

static int check_payloads(struct verify *v, const struct engine_row *row)
{
    struct store_range range = {
        .table = TABLE_PAYLOAD, .from_key = row->id, .to_key = row->id, .to_sub = SUB_MAX};
    struct payloads p = {0};
    bool live = row->state != CALL_DONE;
    uint32_t chunks = live ? row->state_chunks : 0;
    int code = walk(v, &range, note_payload, &p);

    if (code)
        return code;
    compare(v, row->id, "input", row->has_input, p.input);
    compare(v, row->id, "poll error", live && row->has_poll_error, p.poll_error);
    compare(v, row->id, "list of calls to make", live && row->stalled, p.calls);
    if (p.chunks != chunks || p.others)
        wrong(v, row->id, "its state has %" PRIu32 " pieces, and %" PRIu32 "%s are there", chunks,
              p.chunks, p.others ? " and others" : "");
    return 0;
}

/* Of a call at all? The rest is looked at from there. */
static int payload_row(void *arg, const struct store_row *row)
{
    struct verify *v = arg;
    struct blob *blob = NULL;
    int code = 0;

    count(v, TABLE_PAYLOAD, row);
    if (row->key == v->last_key)
        return 0;
    v->last_key = row->key;
    code = store_get(v->store, PARTITION, TABLE_CALL, row->key, 0, &blob, &v->error);
    if (code == CODE_NOT_FOUND)
        code = store_get(v->store, PARTITION, TABLE_DONE, row->key, 0, &blob, &v->error);
    blob_unref(blob);
    if (code == CODE_NOT_FOUND) {
        wrong(v, row->key, "there are payloads of it, and no call");
        code = 0;
    }
    return code;
}

/* --- calls ------------------------------------------------------------------------------------ */

/* What any row of a call says of itself. */
static void check_row(struct verify *v, const struct store_row *at, const struct engine_row *r)
{
    if (r->id != at->key || at->sub)
        wrong(v, at->key, "its row is that of call number %" PRIu64, r->id);
    if (r->id >= v->next_id)
        wrong(v, at->key, "its number was not given yet: the next one is %" PRIu64, v->next_id);
    if (r->depth == 0 ? r->parent || (r->root && r->root != r->id)
                      : !r->parent || r->parent >= r->id || !r->root || r->root > r->parent)
        wrong(v, at->key,
              "depth %" PRIu32 ", parent number %" PRIu64 " and root number %" PRIu64
              " do not go together",
              r->depth, r->parent, r->root);
    if (!r->generation || (r->depth && !r->parent_generation))
        wrong(v, at->key, "it has no generation");
    if (!r->org.len || !r->function.len || !r->endpoint.len)
        wrong(v, at->key, "organization, function or endpoint is missing");
    /* When it ended says nothing: the clock may have been set back between two starts. */
    if (r->state != CALL_DONE && r->expires <= r->created)
        wrong(v, at->key, "its times are not in order");
}

static void agree(struct verify *v, const struct engine_row *r, const struct engine_row *parent)
{
    uint64_t root = parent->root ? parent->root : parent->id;

    if (r->root != root || r->depth != parent->depth + 1 || !slice_eq(r->org, parent->org))
        wrong(v, r->id, "root, depth or organization is not that of its parent");
    if (r->parent_generation > parent->generation)
        wrong(v, r->id, "it was made in generation %" PRIu32 " of its parent, which is in %" PRIu32,
              r->parent_generation, parent->generation);
}

static int check_parent(struct verify *v, const struct engine_row *r)
{
    struct engine_row parent;
    bool waits = false;
    int code = 0;
    struct blob *blob = look_up(v, TABLE_CALL, r->parent, &parent, &code);

    if (blob)
        waits = parent.state != CALL_DONE && parent.generation == r->parent_generation;
    else if (!code)
        blob = look_up(v, TABLE_DONE, r->parent, &parent, &code);
    if (code)
        return code;
    if (blob)
        agree(v, r, &parent);
    else if (r->created > v->options->kept_since)
        wrong(v, r->id, "its parent is not there");
    if (r->state == CALL_DONE && !waits)
        wrong(v, r->id, "its result waits to be taken, and no parent waits for it");
    blob_unref(blob);
    return 0;
}

/* A call completed from outside is found by its key. */
struct key_search {
    const struct engine_row *row;
    bool found;
};

static int compare_key(void *arg, const struct store_row *at)
{
    struct key_search *search = arg;
    struct engine_key key;
    struct error err;

    if (key_decode(at->value, &key, &err) == CODE_OK && key.kind == KEY_EVENT &&
        key.call == search->row->id && slice_eq(key.org, search->row->org) &&
        slice_eq(key.name, search->row->key))
        search->found = true;
    return 0;
}

static int check_has_key(struct verify *v, const struct engine_row *r)
{
    uint64_t place = key_place(KEY_EVENT, r->org, r->key, store_tag(v->store));
    struct store_range range = {
        .table = TABLE_KEY, .from_key = place, .to_key = place, .to_sub = SUB_MAX};
    struct key_search search = {r, false};
    int code = walk(v, &range, compare_key, &search);

    if (!code && !search.found)
        wrong(v, r->id, "its key '%.*s' would not be found", (int)r->key.len,
              (const char *)r->key.data);
    return code;
}

static void check_live(struct verify *v, const struct engine_row *r)
{
    if (r->state == CALL_RUNNING)
        wrong(v, r->id, "runs are not recorded, and it is said to be running");
    if (r->state == CALL_WAITING && (r->due == TIME_NEVER) != (r->key.len > 0))
        wrong(v, r->id, "it waits without an end");
    if (r->state == CALL_READY && r->due != TIME_NEVER)
        wrong(v, r->id, "it is ready, and due later");
    if (r->state == CALL_SUSPENDED && r->fresh)
        wrong(v, r->id, "it is suspended, and never ran");
}

static int check_result_is_there(struct verify *v, const struct engine_row *r)
{
    struct engine_row done;
    int code = 0;
    struct blob *blob = look_up(v, TABLE_DONE, r->id, &done, &code);

    if (code)
        return code;
    if (!blob)
        wrong(v, r->id, "it is done, and its result is missing");
    else if (done.finish != r->finish || done.status != r->status ||
             done.result_len != r->result_len)
        wrong(v, r->id, "its two rows do not agree on how it ended");
    blob_unref(blob);
    return 0;
}

static int live_row(void *arg, const struct store_row *at)
{
    struct verify *v = arg;
    struct slice rest = at->value;
    struct engine_row r;
    struct error err;
    int code = 0;

    count(v, TABLE_CALL, at);
    if (row_decode(&rest, &r, &err) || rest.len) {
        wrong(v, at->key, "its row cannot be read%s%s", rest.len ? "" : ": ",
              rest.len ? "" : err.message);
        return 0;
    }
    v->stats->calls[r.state]++;
    if (r.state != CALL_DONE && r.created < v->stats->oldest_live)
        v->stats->oldest_live = r.created;
    check_row(v, at, &r);
    if (r.id != at->key)
        return 0;
    check_live(v, &r);
    if (r.depth)
        code = check_parent(v, &r);
    if (!code)
        code = r.state == CALL_DONE ? check_result_is_there(v, &r) : check_payloads(v, &r);
    if (!code && r.state != CALL_DONE && r.key.len)
        code = check_has_key(v, &r);
    return code;
}

static int done_row(void *arg, const struct store_row *at)
{
    struct verify *v = arg;
    struct engine_result result;
    struct engine_row r, live;
    struct error err;
    struct blob *blob;
    int code = 0;

    count(v, TABLE_DONE, at);
    if (row_decode_done(at->value, &r, &result, &err)) {
        wrong(v, at->key, "its result cannot be read: %s", err.message);
        return 0;
    }
    v->stats->ended[r.status]++;
    if (r.done < v->stats->oldest_ended)
        v->stats->oldest_ended = r.done;
    v->counted_bytes += row_kept_size(&r, at->value.len);
    check_row(v, at, &r);
    if (r.id != at->key)
        return 0;
    if (r.state != CALL_DONE || !r.finish)
        wrong(v, r.id, "it has a result, and is not done");
    if (r.result_len != result.output.len + result.error.len)
        wrong(v, r.id, "its result has another length than its row says");
    blob = look_up(v, TABLE_CALL, r.id, &live, &code);
    if (blob && live.state != CALL_DONE)
        wrong(v, r.id, "it is live and done at once");
    blob_unref(blob);
    return code ? code : check_payloads(v, &r);
}

/* --- facts ------------------------------------------------------------------------------------ */

static int check_tree(struct verify *v, const struct store_row *at)
{
    struct tree_row tree;
    struct engine_row r;
    struct error err;
    uint32_t calls = 0;
    uint64_t id;
    int code = 0;

    v->stats->trees_out++;
    if (tree_decode(at->value, at->key, &tree, &err)) {
        wrong(v, at->key, "the list of its tree cannot be read: %s", err.message);
        return 0;
    }
    while (!code && tree_next(&tree, &id)) {
        struct blob *blob = look_up(v, TABLE_CALL, id, &r, &code);

        calls++;
        if (!code && (!blob || (r.root ? r.root : r.id) != at->key))
            wrong(v, id, "it is listed in the tree of call number %" PRIu64 ", and not in it",
                  at->key);
        blob_unref(blob);
    }
    if (!code && calls != tree.calls)
        wrong(v, at->key, "the list of its tree is damaged");
    return code;
}

static void check_note(struct verify *v, const struct store_row *at)
{
    struct orchestrator_note note = {at->key - META_NOTES, at->value};
    struct error err;

    v->stats->notes++;
    if (v->options->note && v->options->note(v->options->arg, &note, &err))
        wrong(v, 0, "note %" PRIu64 " (a key) cannot be read: %s", note.number, err.message);
}

static int meta_row(void *arg, const struct store_row *at)
{
    struct verify *v = arg;
    struct slice value = at->value;

    count(v, TABLE_META, at);
    if (at->sub == META_TREE)
        return check_tree(v, at);
    if (at->sub) {
        wrong(v, 0, "there is a fact (%" PRIu64 ", %" PRIu32 ") that nobody knows", at->key,
              at->sub);
    } else if (at->key >= META_NOTES) {
        check_note(v, at);
    } else if (at->key == META_NEXT_ID) {
        if (!slice_get_u64(&value, &v->next_id) || value.len || !v->next_id || v->next_id > KEY_MAX)
            wrong(v, 0, "the number of the next call cannot be read");
    } else if (at->key == META_KEPT) {
        v->kept = slice_get_u64(&value, &v->kept_bytes) && slice_get_u64(&value, &v->kept_calls);
        if (!v->kept)
            wrong(v, 0, "how much is kept cannot be read");
    }
    return 0;
}

/* A store of an older format has rows that were not counted. */
static void check_kept(struct verify *v)
{
    uint64_t rows = v->stats->rows[TABLE_DONE];

    if (v->kept &&
        (v->kept_calls > rows || (v->kept_calls == rows && v->kept_bytes != v->counted_bytes)))
        wrong(v, 0,
              "%" PRIu64 " ended calls of %" PRIu64 " bytes are said to be kept, and there are "
              "%" PRIu64 " of %" PRIu64,
              v->kept_calls, v->kept_bytes, rows, v->counted_bytes);
}

/* --- keys ------------------------------------------------------------------------------------- */

static int key_row(void *arg, const struct store_row *at)
{
    struct verify *v = arg;
    struct engine_key key;
    struct engine_row r;
    struct blob *blob;
    struct error err;
    int code = 0;

    count(v, TABLE_KEY, at);
    if (key_decode(at->value, &key, &err)) {
        wrong(v, 0, "key row (%" PRIu64 ", %" PRIu32 ") cannot be read: %s", at->key, at->sub,
              err.message);
        return 0;
    }
    v->stats->requests += key.kind == KEY_REQUEST;
    v->stats->events += key.kind == KEY_EVENT;
    if (key_place(key.kind, key.org, key.name, store_tag(v->store)) != at->key)
        wrong(v, key.call, "the key '%.*s' stands where nobody looks for it", (int)key.name.len,
              (const char *)key.name.data);
    if (key.call && (key.call >= v->next_id || key.count > v->next_id - key.call))
        wrong(v, key.call, "the key '%.*s' names calls that were not made yet", (int)key.name.len,
              (const char *)key.name.data);
    if (key.kind != KEY_EVENT || !key.call)
        return 0;
    blob = look_up(v, TABLE_CALL, key.call, &r, &code);
    if (!blob && !code)
        blob = look_up(v, TABLE_DONE, key.call, &r, &code);
    if (!code && (!blob || !slice_eq(r.key, key.name) || !slice_eq(r.org, key.org)))
        wrong(v, key.call, "the key '%.*s' is not its own", (int)key.name.len,
              (const char *)key.name.data);
    blob_unref(blob);
    return code;
}

int verify_store(struct store *store, const struct verify_options *options,
                 struct verify_stats *stats, struct error *err)
{
    static const struct {
        enum table table;
        store_row_fn *fn;
    } walks[] = {{TABLE_META, meta_row},
                 {TABLE_CALL, live_row},
                 {TABLE_DONE, done_row},
                 {TABLE_PAYLOAD, payload_row},
                 {TABLE_KEY, key_row}};
    struct verify v = {.store = store, .options = options, .stats = stats, .next_id = 1};
    int code = 0;

    *stats = (struct verify_stats){.oldest_live = TIME_NEVER, .oldest_ended = TIME_NEVER};
    for (size_t i = 0; i < sizeof walks / sizeof *walks && !code; i++) {
        struct store_range range = {.table = walks[i].table, .to_key = KEY_MAX, .to_sub = SUB_MAX};

        code = walk(&v, &range, walks[i].fn, &v);
    }
    if (!code)
        check_kept(&v);
    return code ? error_set(err, code, "%s", v.error.message) : CODE_OK;
}
