// SPDX-License-Identifier: Apache-2.0
/*
 * A pickle is a program for a machine with a stack and a memo. It is run here, save that calls and
 * classes are but written down: what a class is called with and the state of its object are shown
 * behind its name. Objects may contain themselves, so what is shown has a depth and a length.
 */
#include "cli/pickle.h"

#include <inttypes.h>
#include <stdio.h>

#define STACK_MAX 10000
#define MEMO_MAX  100000
#define DEPTH_MAX 16
#define SHOWN_MAX 8192 /* bytes */

enum kind { WORD, TEXT, BYTES, LIST, TUPLE, SET, DICT, CLASS, OBJECT, MARK };

struct object {
    enum kind kind;
    struct slice text;     /* WORD: as shown; TEXT, BYTES; CLASS: its name */
    struct object **items; /* DICT: keys and values in turn; OBJECT: what it was called with */
    size_t count, cap;
    struct object *class, *state; /* OBJECT; state NULL: none */
};

struct machine {
    struct slice in;
    struct arena *arena;
    struct object **stack, **memo;
    size_t depth, memo_count, memo_cap;
    bool failed;
};

/* --- reading ---------------------------------------------------------------------------------- */

static struct slice take(struct machine *m, uint64_t len)
{
    struct slice taken = slice(m->in.data, (size_t)len);

    if (len > m->in.len) {
        m->failed = true;
        return slice("", 0);
    }
    m->in = slice((const uint8_t *)m->in.data + len, m->in.len - (size_t)len);
    return taken;
}

/* Little-endian, of at most eight bytes. */
static uint64_t take_number(struct machine *m, unsigned size)
{
    struct slice bytes = take(m, size);
    uint64_t number = 0;

    for (size_t i = bytes.len; i > 0; i--)
        number = number << 8 | ((const uint8_t *)bytes.data)[i - 1];
    return number;
}

static struct slice take_line(struct machine *m)
{
    const char *end = m->in.len ? memchr(m->in.data, '\n', m->in.len) : NULL;
    struct slice line;

    if (!end) {
        m->failed = true;
        return slice("", 0);
    }
    line = take(m, (size_t)(end - (const char *)m->in.data));
    take(m, 1);
    return line;
}

/* --- stack and memo --------------------------------------------------------------------------- */

static struct object *make(struct machine *m, enum kind kind, struct slice text)
{
    struct object *o = arena_zalloc(m->arena, 1, sizeof *o);

    if (!o) {
        m->failed = true;
        return NULL;
    }
    o->kind = kind;
    o->text = text;
    return o;
}

static void push(struct machine *m, struct object *o)
{
    if (!o || m->depth == STACK_MAX)
        m->failed = true;
    else
        m->stack[m->depth++] = o;
}

/* Never NULL, and never a mark unless it failed. */
static struct object *pop(struct machine *m)
{
    static struct object nothing = {.kind = WORD};

    if (m->depth == 0 || m->stack[m->depth - 1]->kind == MARK) {
        m->failed = true;
        return &nothing;
    }
    return m->stack[--m->depth];
}

static struct object *top(struct machine *m)
{
    struct object *o = pop(m);

    push(m, o);
    return o;
}

static void push_word(struct machine *m, const char *text)
{
    m->failed |= !text;
    push(m, make(m, WORD, slice_str(text)));
}

static void push_number(struct machine *m, int64_t number)
{
    push_word(m, arena_printf(m->arena, "%" PRId64, number));
}

static void push_real(struct machine *m)
{
    struct slice bytes = take(m, 8);
    uint64_t bits = 0;
    double real;

    for (size_t i = 0; i < bytes.len; i++)
        bits = bits << 8 | ((const uint8_t *)bytes.data)[i];
    memcpy(&real, &bits, sizeof real);
    push_word(m, arena_printf(m->arena, "%.15g", real));
}

/* Two's complement, little-endian. */
static void push_long(struct machine *m, uint64_t size)
{
    struct slice bytes = take(m, size);
    const uint8_t *data = bytes.data;
    uint64_t number = bytes.len && data[bytes.len - 1] & 0x80 ? UINT64_MAX : 0;

    if (bytes.len > 8) {
        push_word(m, arena_printf(m->arena, "int(%zu bytes)", bytes.len));
        return;
    }
    for (size_t i = bytes.len; i > 0; i--)
        number = number << 8 | data[i - 1];
    push_number(m, (int64_t)number);
}

static void append(struct machine *m, struct object *to, struct object *item)
{
    if (to->count == to->cap) {
        size_t cap = to->cap ? 2 * to->cap : 4;
        struct object **items = arena_zalloc(m->arena, cap, sizeof *items);

        if (!items) {
            m->failed = true;
            return;
        }
        if (to->count)
            memcpy(items, to->items, to->count * sizeof *items);
        to->items = items;
        to->cap = cap;
    }
    to->items[to->count++] = item;
}

/* Where what stands above the last mark begins; the mark is removed with `drop_to_mark`. */
static size_t find_mark(struct machine *m)
{
    size_t at = m->depth;

    while (at > 0 && m->stack[at - 1]->kind != MARK)
        at--;
    m->failed |= at == 0;
    return at;
}

/* All above the mark goes to `to`, or nowhere, and the mark goes. */
static void take_marked(struct machine *m, struct object *to)
{
    size_t from = find_mark(m);

    for (size_t i = from; to && !m->failed && i < m->depth; i++)
        append(m, to, m->stack[i]);
    if (from > 0)
        m->depth = from - 1;
}

static void push_marked(struct machine *m, enum kind kind)
{
    struct object *o = make(m, kind, slice("", 0));

    take_marked(m, o);
    push(m, o);
}

/* To the container below the mark. */
static void add_marked(struct machine *m)
{
    size_t from = find_mark(m);

    take_marked(m, from > 1 ? m->stack[from - 2] : NULL);
    m->failed |= from < 2;
}

static void push_tuple(struct machine *m, size_t count)
{
    struct object *o = make(m, TUPLE, slice("", 0));

    if (!o || m->depth < count) {
        m->failed = true;
        return;
    }
    for (size_t i = m->depth - count; i < m->depth; i++)
        append(m, o, m->stack[i]);
    m->depth -= count;
    push(m, o);
}

static void put(struct machine *m, uint64_t at)
{
    struct object *o = top(m);

    if (at >= MEMO_MAX) {
        m->failed = true;
        return;
    }
    if (at >= m->memo_cap) {
        size_t cap = at < 64 ? 128 : 2 * (size_t)at;
        struct object **memo = arena_zalloc(m->arena, cap, sizeof *memo);

        if (!memo) {
            m->failed = true;
            return;
        }
        if (m->memo_cap)
            memcpy(memo, m->memo, m->memo_cap * sizeof *memo);
        m->memo = memo;
        m->memo_cap = cap;
    }
    m->memo_count += !m->memo[at];
    m->memo[at] = o;
}

static void get(struct machine *m, uint64_t at)
{
    push(m, at < m->memo_cap ? m->memo[at] : NULL);
}

static uint64_t line_number(struct machine *m)
{
    struct slice line = take_line(m);
    uint64_t number = 0;

    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = ((const uint8_t *)line.data)[i];

        m->failed |= c < '0' || c > '9' || number >= MEMO_MAX;
        number = 10 * number + (c & 15);
        if (m->failed)
            return MEMO_MAX;
    }
    return number;
}

/* --- classes ---------------------------------------------------------------------------------- */

static void push_class(struct machine *m, struct slice module, struct slice name)
{
    push_word(m, arena_printf(m->arena, "%.*s.%.*s", SLICE_FMT(module), SLICE_FMT(name)));
    if (!m->failed)
        top(m)->kind = CLASS;
}

static void push_global(struct machine *m)
{
    struct slice module = take_line(m);

    push_class(m, module, take_line(m));
}

static void push_stack_global(struct machine *m)
{
    struct object *name = pop(m), *module = pop(m);

    m->failed |= name->kind != TEXT || module->kind != TEXT;
    if (!m->failed)
        push_class(m, module->text, name->text);
}

/* An object of the class, made with the arguments below which it stands. */
static void push_object(struct machine *m, bool keywords)
{
    struct object *named = keywords ? pop(m) : NULL, *arguments = pop(m), *class = pop(m);
    struct object *o = make(m, OBJECT, slice("", 0));

    if (!o || m->failed)
        return;
    o->class = class;
    o->items = arguments->items;
    o->count = o->cap = arguments->count;
    o->state = named;
    push(m, o);
}

/* The class, and what it is called with, stand above the mark. */
static void push_marked_object(struct machine *m, struct object *class)
{
    struct object *o = make(m, OBJECT, slice("", 0));

    take_marked(m, o);
    if (m->failed)
        return;
    if (!class && o->count > 0) {
        class = o->items[0];
        o->items++;
        o->count--;
        o->cap = o->count;
    }
    o->class = class;
    m->failed |= !class;
    push(m, o);
}

static void build(struct machine *m)
{
    struct object *state = pop(m), *o = top(m);

    if (o->kind == OBJECT)
        o->state = state;
}

/* --- instructions ----------------------------------------------------------------------------- */

static bool run_values(struct machine *m, uint8_t op)
{
    switch (op) {
    case 'N':
        push_word(m, "None");
        return true;
    case 0x88:
        push_word(m, "True");
        return true;
    case 0x89:
        push_word(m, "False");
        return true;
    case 'J':
        push_number(m, (int32_t)take_number(m, 4));
        return true;
    case 'K':
        push_number(m, (int64_t)take_number(m, 1));
        return true;
    case 'M':
        push_number(m, (int64_t)take_number(m, 2));
        return true;
    case 0x8a:
        push_long(m, take_number(m, 1));
        return true;
    case 0x8b:
        push_long(m, take_number(m, 4));
        return true;
    case 'I':
    case 'L':
    case 'F':
        push(m, make(m, WORD, take_line(m)));
        return true;
    case 'G':
        push_real(m);
        return true;
    default:
        return false;
    }
}

static bool run_texts(struct machine *m, uint8_t op)
{
    static const struct {
        uint8_t op, size;
        enum kind kind;
    } known[] = {{0x8c, 1, TEXT},  {'X', 4, TEXT},  {0x8d, 8, TEXT}, {'U', 1, BYTES},
                 {'T', 4, BYTES},  {'C', 1, BYTES}, {'B', 4, BYTES}, {0x8e, 8, BYTES},
                 {0x96, 8, BYTES}, {'V', 0, TEXT},  {'S', 0, TEXT}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].op != op)
            continue;
        push(m, make(m, known[i].kind,
                     known[i].size ? take(m, take_number(m, known[i].size)) : take_line(m)));
        return true;
    }
    return false;
}

static void set_item(struct machine *m)
{
    struct object *value = pop(m), *key = pop(m), *to = top(m);

    if (m->failed)
        return;
    append(m, to, key);
    append(m, to, value);
}

static void append_item(struct machine *m)
{
    struct object *item = pop(m), *to = top(m);

    if (!m->failed)
        append(m, to, item);
}

static bool run_containers(struct machine *m, uint8_t op)
{
    static const struct {
        uint8_t op;
        enum kind kind;
    } empty[] = {{']', LIST}, {')', TUPLE}, {'}', DICT}, {0x8f, SET}, {'(', MARK}},
      marked[] = {{'l', LIST}, {'t', TUPLE}, {'d', DICT}, {0x91, SET}};

    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        if (empty[i].op == op) {
            push(m, make(m, empty[i].kind, slice("", 0)));
            return true;
        }
    }
    for (size_t i = 0; i < sizeof marked / sizeof *marked; i++) {
        if (marked[i].op == op) {
            push_marked(m, marked[i].kind);
            return true;
        }
    }
    if (op >= 0x85 && op <= 0x87)
        push_tuple(m, op - 0x84u);
    else if (op == 'e' || op == 'u' || op == 0x90)
        add_marked(m);
    else if (op == 'a')
        append_item(m);
    else if (op == 's')
        set_item(m);
    else
        return false;
    return true;
}

static bool run_objects(struct machine *m, uint8_t op)
{
    switch (op) {
    case 'c':
        push_global(m);
        return true;
    case 0x93:
        push_stack_global(m);
        return true;
    case 'R':
    case 0x81:
    case 0x92:
        push_object(m, op == 0x92);
        return true;
    case 'o':
        push_marked_object(m, NULL);
        return true;
    case 'i':
        push_global(m);
        push_marked_object(m, pop(m));
        return true;
    case 'b':
        build(m);
        return true;
    default:
        return false;
    }
}

static bool run_memo(struct machine *m, uint8_t op)
{
    switch (op) {
    case 0x80:
        take(m, 1);
        return true;
    case 0x95:
        take(m, 8);
        return true;
    case 'p':
        put(m, line_number(m));
        return true;
    case 'q':
    case 'r':
        put(m, take_number(m, op == 'q' ? 1 : 4));
        return true;
    case 0x94:
        put(m, m->memo_count);
        return true;
    case 'g':
        get(m, line_number(m));
        return true;
    case 'h':
    case 'j':
        get(m, take_number(m, op == 'h' ? 1 : 4));
        return true;
    case '0':
        pop(m);
        return true;
    case '1':
        take_marked(m, NULL);
        return true;
    case '2':
        push(m, top(m));
        return true;
    default:
        return false;
    }
}

/* NULL: it failed. */
static struct object *run(struct machine *m)
{
    while (!m->failed) {
        uint8_t op = (uint8_t)take_number(m, 1);

        if (m->failed)
            break;
        if (op == '.') {
            struct object *result = pop(m);

            return m->failed ? NULL : result;
        }
        if (!run_values(m, op) && !run_texts(m, op) && !run_containers(m, op) &&
            !run_objects(m, op) && !run_memo(m, op))
            break;
    }
    return NULL;
}

/* --- showing ---------------------------------------------------------------------------------- */

static void show(const struct object *o, int depth, struct buf *out);

/* A failed one grows no more. */
static bool is_full(const struct buf *out)
{
    return out->failed || out->len >= SHOWN_MAX;
}

/* Names and numbers are as much anybody's as texts are. */
static void show_chars(struct slice text, bool quoted, bool ascii, struct buf *out)
{
    const uint8_t *at = text.data;

    for (size_t i = 0; i < text.len && !is_full(out); i++) {
        if (quoted && (at[i] == '"' || at[i] == '\\'))
            buf_printf(out, "\\%c", at[i]);
        else if (at[i] < ' ' || at[i] == 0x7f || (ascii && at[i] >= 0x80))
            buf_printf(out, "\\x%02x", at[i]);
        else
            buf_append_byte(out, at[i]);
    }
}

static void show_text(struct slice text, const char *prefix, struct buf *out)
{
    buf_printf(out, "%s\"", prefix);
    show_chars(text, true, *prefix, out);
    buf_append_str(out, "\"");
}

static void show_items(const struct object *o, int depth, const char *between, struct buf *out)
{
    for (size_t i = 0; i < o->count && !is_full(out); i++) {
        buf_append_str(out, i ? between : "");
        show(o->items[i], depth + 1, out);
    }
}

/* k=v of attributes and keyword arguments. */
static void show_pairs(const struct object *dict, int depth, bool first, struct buf *out)
{
    for (size_t i = 0; i + 1 < dict->count && !is_full(out); i += 2) {
        buf_append_str(out, first ? "" : ", ");
        if (dict->items[i]->kind == TEXT)
            show_chars(dict->items[i]->text, false, false, out);
        else
            show(dict->items[i], depth + 1, out);
        buf_append_str(out, "=");
        show(dict->items[i + 1], depth + 1, out);
        first = false;
    }
}

static void show_dict(const struct object *o, int depth, struct buf *out)
{
    buf_append_str(out, "{");
    for (size_t i = 0; i + 1 < o->count && !is_full(out); i += 2) {
        buf_append_str(out, i ? ", " : "");
        show(o->items[i], depth + 1, out);
        buf_append_str(out, ": ");
        show(o->items[i + 1], depth + 1, out);
    }
    buf_append_str(out, "}");
}

static struct object *attribute(const struct object *state, const char *name)
{
    for (size_t i = 0; state && state->kind == DICT && i + 1 < state->count; i += 2) {
        if (state->items[i]->kind == TEXT && slice_eq_str(state->items[i]->text, name))
            return state->items[i + 1];
    }
    return NULL;
}

static void show_arguments(const struct object *args, const struct object *kwargs, int depth,
                           struct buf *out)
{
    buf_append_str(out, "(");
    show_items(args, depth, ", ", out);
    show_pairs(kwargs, depth, args->count == 0, out);
    buf_append_str(out, ")");
}

static void show_object(const struct object *o, int depth, struct buf *out)
{
    const struct object *state = o->state;
    const struct object *args = attribute(state, "args"), *kwargs = attribute(state, "kwargs");

    if (slice_eq_str(o->class->text, "dispatch.proto.Arguments") && args && kwargs &&
        args->kind == TUPLE && kwargs->kind == DICT) {
        show_arguments(args, kwargs, depth, out);
        return;
    }
    show(o->class, depth + 1, out);
    buf_append_str(out, "(");
    show_items(o, depth, ", ", out);
    if (state && state->kind == DICT) {
        show_pairs(state, depth, o->count == 0, out);
    } else if (state) {
        buf_append_str(out, o->count ? ", " : "");
        show(state, depth + 1, out);
    }
    buf_append_str(out, ")");
}

/* Behind its module. */
static void show_class(const struct object *o, struct buf *out)
{
    const char *text = o->text.data;
    size_t at = o->text.len;

    while (at > 0 && text[at - 1] != '.')
        at--;
    show_chars(slice(text + at, o->text.len - at), false, false, out);
}

static void show(const struct object *o, int depth, struct buf *out)
{
    if (depth > DEPTH_MAX || is_full(out)) {
        buf_append_str(out, "...");
        return;
    }
    switch (o->kind) {
    case TEXT:
        show_text(o->text, "", out);
        return;
    case BYTES:
        show_text(o->text, "b", out);
        return;
    case LIST:
    case TUPLE:
    case SET:
        buf_append_str(out, o->kind == LIST ? "[" : o->kind == TUPLE ? "(" : "{");
        show_items(o, depth, ", ", out);
        buf_append_str(out, o->kind == LIST ? "]" : o->kind == TUPLE ? ")" : "}");
        return;
    case DICT:
        show_dict(o, depth, out);
        return;
    case CLASS:
        show_class(o, out);
        return;
    case OBJECT:
        show_object(o, depth, out);
        return;
    case WORD:
    case MARK:
        show_chars(o->text, false, false, out);
        return;
    }
}

bool pickle_describe(struct slice bytes, struct arena *arena, struct buf *out)
{
    struct machine m = {.in = bytes, .arena = arena};
    const struct object *result;
    struct buf text;
    bool good;

    m.stack = arena_alloc(arena, STACK_MAX * sizeof *m.stack);
    result = m.stack && bytes.len && *(const uint8_t *)bytes.data == 0x80 ? run(&m) : NULL;
    if (!result)
        return false;
    buf_init(&text, 8 * SHOWN_MAX);
    show(result, 0, &text);
    good = !text.failed;
    if (good)
        buf_append_slice(out, buf_slice(&text));
    buf_free(&text);
    return good;
}
