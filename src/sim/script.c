// SPDX-License-Identifier: Apache-2.0
/*
 * Programs drawn from inputs, and their interpreter. An input has its class in bits 62 and 63, the
 * depth that is left below it in bits 58 to 61, and random bits.
 */
#include <assert.h>
#include <stdio.h>

#include "sim/script.h"

#define PRIORITY_BITS UINT64_C(12)

static const char *const class_names[] = {[CLASS_PLAIN] = "plain",
                                          [CLASS_DOOMED] = "doomed",
                                          [CLASS_RISKY] = "risky",
                                          [CLASS_EVENT] = "event"};

enum class input_class(uint64_t input) { return (enum class)(input >> 62); }

static unsigned input_depth(uint64_t input)
{
    return input >> 58 & 15;
}

static uint64_t input_join(uint64_t bits, enum class class, unsigned depth)
{
    return (uint64_t) class << 62 | (uint64_t)depth << 58 | (bits & ((UINT64_C(1) << 58) - 1));
}

uint64_t input_make(struct rand *r, enum class class, unsigned depth)
{
    return input_join(rand_u64(r), class, depth);
}

int64_t input_expiration_ns(uint64_t input)
{
    switch (input_class(input)) {
    case CLASS_DOOMED:
        return (int64_t)(input % 60 + 1) * NS_PER_S / 2;
    case CLASS_RISKY:
        return (int64_t)(input % 120 + 1) * NS_PER_S;
    default:
        return 0;
    }
}

int64_t input_delay_ns(uint64_t input)
{
    uint64_t n = slice_hash(slice(&input, sizeof input), 8);

    if (input_class(input) != CLASS_PLAIN || n % 12)
        return 0;
    return (int64_t)(n / 12 % 60000 + 1) * NS_PER_MS;
}

int32_t input_priority(uint64_t input)
{
    static const int32_t priorities[] = {0, 0, INT32_MAX, -1};

    return priorities[(input & PRIORITY_BITS) >> 2];
}

void input_function(uint64_t input, char name[FUNCTION_NAME_MAX])
{
    snprintf(name, FUNCTION_NAME_MAX, "f%u_%s", input_depth(input) % 16,
             class_names[input_class(input)]);
}

uint64_t input_correlation(uint64_t input)
{
    return slice_hash(slice(&input, sizeof input), 7);
}

/* --- drawing a program ------------------------------------------------------------------------ */

static bool chance(struct rand *r, unsigned percent)
{
    return rand_below(r, 100) < percent;
}

static enum class draw_class(struct rand *r) {
    uint64_t n = rand_below(r, 100);

    return n < 5    ? CLASS_DOOMED
           : n < 11 ? CLASS_RISKY
           : n < 16 ? CLASS_EVENT
                    : CLASS_PLAIN;
}

static int64_t draw_wait(struct rand *r)
{
    switch (rand_below(r, 8)) {
    case 0:
        return 0;
    case 1:
        return (int64_t)rand_below(r, 50) * NS_PER_MS + 1;
    case 2:
    case 3:
        return (int64_t)rand_below(r, 120) * NS_PER_S + 1;
    default:
        return -1;
    }
}

static int32_t draw_count(struct rand *r)
{
    static const int32_t odd[] = {0, -5, 1001, INT32_MAX};

    return chance(r, 10) ? odd[rand_below(r, 4)] : (int32_t)rand_below(r, 5) + 1;
}

static struct op *add_op(struct program *p, enum op_kind kind)
{
    struct op *op = &p->ops[p->op_count++];

    assert(p->op_count <= OPS_MAX);
    *op = (struct op){.kind = kind, .wait_ns = -1, .min = 1, .max = 1};
    return op;
}

static uint64_t input_inherit(const struct program *p, uint64_t input)
{
    return (input & ~PRIORITY_BITS) | (p->input & PRIORITY_BITS);
}

static void draw_wave(struct program *p, struct rand *r)
{
    unsigned count = (unsigned)rand_below(r, 4) + 1;
    struct op *op;

    if (count > CHILDREN_MAX - p->child_count)
        count = CHILDREN_MAX - p->child_count;
    if (!count)
        return;
    op = add_op(p, OP_SPAWN);
    op->first = p->child_count;
    op->count = count;
    op->wait_ns = draw_wait(r);
    op->min = draw_count(r);
    op->max = draw_count(r);
    op->wake_on_error = chance(r, 25);
    while (count--) {
        if (chance(r, 25))
            p->child_hosts |= 1u << p->child_count;
        p->children[p->child_count++] =
            input_inherit(p, input_make(r, draw_class(r), p->depth - 1));
    }
}

static void draw_ops(struct program *p, struct rand *r)
{
    unsigned waves = p->depth ? (unsigned)rand_below(r, 4) : 0;
    bool abandons = chance(r, 6);

    if (chance(r, 15))
        add_op(p, OP_SLEEP)->wait_ns = (int64_t)rand_below(r, 90000) * NS_PER_MS + 1;
    if (chance(r, 8))
        add_op(p, OP_YIELD)->wait_ns = 0;
    if (chance(r, 6))
        add_op(p, OP_BAD)->wait_ns = draw_wait(r);
    while (waves--) {
        draw_wave(p, r);
        if (waves && chance(r, 40)) {
            struct op *op = add_op(p, OP_JOIN);

            op->wait_ns = draw_wait(r);
            op->min = draw_count(r);
            op->max = draw_count(r);
            op->wake_on_error = chance(r, 25);
        }
    }
    if (p->child_count && chance(r, 15)) {
        add_op(p, OP_DROP)->wait_ns = draw_wait(r);
        p->dropped = (unsigned)rand_below(r, 1u << p->child_count);
    }
    if (abandons) {
        p->with_sum = false;
    } else if (p->child_count) {
        struct op *op = add_op(p, OP_JOIN);

        op->wait_ns = chance(r, 50) ? -1 : draw_wait(r);
        op->min = draw_count(r);
        op->max = draw_count(r);
        op->wake_on_error = chance(r, 25);
    }
}

static void draw_failures(struct program *p, struct rand *r)
{
    static const enum status passing[] = {
        STATUS_TIMEOUT,   STATUS_THROTTLED, STATUS_TEMPORARY_ERROR, STATUS_DNS_ERROR,
        STATUS_TCP_ERROR, STATUS_TLS_ERROR, STATUS_HTTP_ERROR,
    };

    p->fails = chance(r, 20) ? (unsigned)rand_below(r, 5) + 1 : 0;
    for (unsigned i = 0; i < 4; i++)
        p->fail_status[i] = passing[rand_below(r, sizeof passing / sizeof *passing)];
    p->fail_from = chance(r, 50) && p->op_count ? 1 : 0;
    p->incompatible = chance(r, 8) ? (unsigned)rand_below(r, 2) + 1 : 0;
}

static void draw_fate(struct program *p, struct rand *r)
{
    static const enum status terminal[] = {
        STATUS_INVALID_ARGUMENT, STATUS_INVALID_RESPONSE,  STATUS_PERMANENT_ERROR,
        STATUS_UNAUTHENTICATED,  STATUS_PERMISSION_DENIED, STATUS_NOT_FOUND,
        STATUS_UNSPECIFIED,
    };
    uint64_t n = rand_below(r, 100);

    p->with_output = !chance(r, 10);
    p->status = STATUS_OK;
    if (n < 10) {
        p->fate = FATE_FAIL;
        p->status = terminal[rand_below(r, sizeof terminal / sizeof *terminal)];
        p->with_output = chance(r, 20);
        p->with_error = chance(r, 70);
    } else if (n < 12) {
        p->fate = FATE_GARBAGE;
        p->garbage = (enum garbage)rand_below(r, GARBAGE_KINDS);
        p->status = STATUS_INVALID_RESPONSE;
        p->with_output = false;
    } else if (n < 20) {
        p->fate = FATE_TAIL;
        p->status = chance(r, 30) ? STATUS_TEMPORARY_ERROR : STATUS_OK;
        p->tail = input_inherit(p, input_make(r, CLASS_PLAIN, p->depth ? p->depth - 1 : 0));
    } else {
        p->fate = FATE_OK;
    }
}

/* The tail of a tail has no tail: chains end. Kept in the input itself, as its lowest two bits. */
static void bound_tails(struct program *p)
{
    unsigned tails = p->input & 3;

    if (p->fate != FATE_TAIL)
        return;
    p->tail = (p->tail & ~UINT64_C(3)) | (tails ? tails - 1 : 0);
    if (!tails) {
        p->fate = FATE_OK;
        p->status = STATUS_OK;
    }
}

/* No function: what it will be completed with. */
static void draw_event(struct program *p, struct rand *r)
{
    bool fails = chance(r, 25);

    p->with_sum = false;
    p->with_output = !chance(r, 20);
    p->fate = fails ? FATE_FAIL : FATE_OK;
    p->with_error = fails;
    p->status = !fails ? STATUS_OK : chance(r, 50) ? STATUS_NOT_FOUND : STATUS_PERMANENT_ERROR;
}

void program_make(struct program *p, uint64_t input)
{
    struct rand r;

    rand_seed(&r, input);
    *p = (struct program){
        .input = input, .class = input_class(input), .depth = input_depth(input), .with_sum = true};
    p->value = (int64_t)rand_below(&r, 1000000);
    p->typed_state = chance(&r, 50);
    p->appends = chance(&r, 50);
    if (p->class == CLASS_EVENT) {
        draw_event(p, &r);
        return;
    }
    draw_ops(p, &r);
    draw_failures(p, &r);
    draw_fate(p, &r);
    bound_tails(p);
    if (p->class == CLASS_DOOMED)
        p->fails = UINT32_MAX;
}

/* --- outcomes --------------------------------------------------------------------------------- */

bool outcome_eq(const struct outcome *a, const struct outcome *b)
{
    return a->status == b->status && a->expired == b->expired && a->cancelled == b->cancelled &&
           a->has_output == b->has_output && (!a->has_output || a->value == b->value);
}

int64_t child_worth(const struct program *p, unsigned child, const struct outcome *o)
{
    if (p->dropped >> child & 1)
        return 0;
    if (input_class(p->children[child]) == CLASS_RISKY ||
        input_class(p->children[child]) == CLASS_EVENT)
        return 7;
    return (int64_t)o->status * 1000000007 + (o->has_output ? 3 * o->value : 1);
}

/* --- running ---------------------------------------------------------------------------------- */

#define STATE_MAGIC 0x51

void script_state_encode(const struct script_state *s, struct buf *out)
{
    size_t from = out->len;

    buf_append_byte(out, STATE_MAGIC);
    buf_put_u64(out, s->input);
    buf_put_varint(out, s->pc);
    buf_put_u64(out, (uint64_t)s->sum);
    buf_put_varint(out, s->outstanding);
    buf_put_varint(out, s->consumed);
    buf_put_varint(out, s->given_up);
    if (!out->failed)
        buf_put_u64(out, slice_hash(slice(out->data + from, out->len - from), 1));
}

static bool decode_one(struct slice *in, struct script_state *s)
{
    uint64_t pc, sum, outstanding, consumed, given_up, hash;
    struct slice all = *in;
    uint8_t magic;

    if (!slice_get_byte(in, &magic) || magic != STATE_MAGIC || !slice_get_u64(in, &s->input) ||
        !slice_get_varint(in, &pc) || !slice_get_u64(in, &sum) ||
        !slice_get_varint(in, &outstanding) || !slice_get_varint(in, &consumed) ||
        !slice_get_varint(in, &given_up))
        return false;
    all.len -= in->len;
    if (!slice_get_u64(in, &hash) || hash != slice_hash(all, 1))
        return false;
    s->pc = (unsigned)pc;
    s->sum = (int64_t)sum;
    s->outstanding = (uint32_t)outstanding;
    s->consumed = (uint32_t)consumed;
    s->given_up = (uint32_t)given_up;
    return true;
}

bool script_state_decode(struct slice in, struct script_state *s)
{
    bool good;

    do
        good = decode_one(&in, s);
    while (good && in.len);
    return good;
}

void script_advance(const struct program *p, struct script_state *s, enum script_step step,
                    struct action *action)
{
    /* What was refused is asked again, save what always is: something invalid, a wait too long. */
    bool again = step == SCRIPT_REFUSED && p->ops[s->pc].kind == OP_SPAWN;

    if (step == SCRIPT_FIRST)
        *s = (struct script_state){.input = p->input};
    else if (!again && (p->ops[s->pc].kind != OP_JOIN || !s->outstanding))
        s->pc++;
    while (s->pc < p->op_count && p->ops[s->pc].kind == OP_JOIN && !s->outstanding)
        s->pc++;
    if (s->pc < p->op_count) {
        const struct op *op = &p->ops[s->pc];

        *action = (struct action){.kind = ACTION_POLL, .op = op};
        if (op->kind == OP_SPAWN)
            s->outstanding |= ((1u << op->count) - 1) << op->first;
        if (op->kind == OP_DROP) {
            s->given_up = s->outstanding & p->dropped;
            s->outstanding &= ~p->dropped;
        }
        return;
    }
    *action = (struct action){.kind = p->fate == FATE_TAIL      ? ACTION_TAIL
                                      : p->fate == FATE_GARBAGE ? ACTION_GARBAGE
                                                                : ACTION_EXIT};
}
