// SPDX-License-Identifier: Apache-2.0
/* Why a call does not run, in words for people. */
#include <inttypes.h>

#include "engine/internal.h"

/* How long until then: "3.2 s". By hand, as this room includes nothing that could print. */
#define WHEN_MAX 32
static const char *when(int64_t due, int64_t now, char text[WHEN_MAX])
{
    int64_t tenths = due > now ? (due - now + NS_PER_S / 10 - 1) / (NS_PER_S / 10) : 0;
    int64_t seconds = tenths / 10;
    char *end = text + WHEN_MAX, *at = end - 3;

    memcpy(at, " s", 3);
    *--at = (char)('0' + tenths % 10);
    *--at = '.';
    do
        *--at = (char)('0' + seconds % 10);
    while ((seconds /= 10) > 0);
    memmove(text, at, (size_t)(end - at));
    return text;
}

/* The group's key without the organization, clipped. */
static struct slice host_of(const struct group *g)
{
    struct slice key = atom_slice(g->key);
    const char *zero = memchr(key.data, 0, key.len);
    size_t len = zero ? key.len - (size_t)(zero + 1 - (const char *)key.data) : 0;

    return slice(zero ? zero + 1 : key.data, len > 200 ? 200 : len);
}

static void why_ready(const struct engine *e, const struct call *c, struct buf *out)
{
    const struct group *g = c->target->group;
    struct slice host = host_of(g);

    if (call_is_held(e, c))
        buf_append_str(out, "its record to be durable");
    else if (e->hold)
        buf_append_str(out, "runs to be started again: the orchestrator is stopping");
    else if (g->in_flight < (uint32_t)g->window)
        buf_printf(out,
                   "its place among %" PRIu32 " ready call%s to %.*s: %" PRIu32 " of %" PRIu32
                   " runs in flight to all hosts",
                   g->ready, g->ready == 1 ? "" : "s", SLICE_FMT(host), e->in_flight,
                   e->config.runs_max);
    else
        buf_printf(out,
                   "its place among %" PRIu32 " ready call%s to %.*s: %" PRIu32 " of %" PRIu32
                   " runs in flight",
                   g->ready, g->ready == 1 ? "" : "s", SLICE_FMT(host), g->in_flight,
                   (uint32_t)g->window);
}

static void why_waiting(const struct call *c, int64_t now, struct buf *out)
{
    char text[WHEN_MAX];

    if (c->is_event) {
        buf_printf(out, "a completion from outside, under the key '%s'", c->target->version->text);
        return;
    }
    when(c->due, now, text);
    if (c->last_status != STATUS_UNSPECIFIED)
        buf_printf(out, "%s in %s after %s",
                   c->last_status == STATUS_INCOMPATIBLE_STATE ? "restart" : "retry", text,
                   status_name((enum status)c->last_status));
    else if (c->fresh)
        buf_printf(out, "its start in %s", text);
    else
        buf_printf(out, "its next run in %s, as its last poll changed nothing", text);
}

static void why_suspended(const struct engine *e, const struct call *c, int64_t now,
                          struct buf *out)
{
    char text[WHEN_MAX];

    if (c->stalled) {
        buf_printf(out,
                   "room for the %" PRIu32 " calls of its poll: %" PRIu32 " of %" PRIu32
                   " calls are in memory, %" PRIu64 " of them its organization's",
                   stall_count(e, c), e->call_count, e->config.live_max, call_org(c)->calls);
        return;
    }

    if (c->poll_timer) {
        buf_printf(out, "max_wait, in %s", when(c->due, now, text));
        return;
    }
    buf_printf(out, "%" PRIu32 " of %" PRIu32 " results; %" PRIu32 " call%s outstanding",
               c->inbox_count, c->min_results, c->outstanding, c->outstanding == 1 ? "" : "s");
    if (c->wake_on_error)
        buf_append_str(out, "; or an error");
    if (c->due != TIME_NEVER)
        buf_printf(out, "; or max_wait, in %s", when(c->due, now, text));
}

void engine_why(const struct engine *e, int64_t now, uint64_t id, struct buf *out)
{
    const struct call *c = call_find(e, id);

    if (!c)
        return;
    switch ((enum call_state)c->state) {
    case CALL_READY:
        why_ready(e, c, out);
        break;
    case CALL_WAITING:
        why_waiting(c, now, out);
        break;
    case CALL_SUSPENDED:
        why_suspended(e, c, now, out);
        break;
    case CALL_RUNNING:
    case CALL_DONE:
    case CALL_STATES:
        break;
    }
}

void engine_why_tree(const struct engine *e, int64_t now, uint64_t root, struct buf *out)
{
    char text[WHEN_MAX];
    int64_t due;

    if (!engine_tree_due(e, root, &due))
        return;
    if (due <= now)
        buf_append_str(out, "its tree to be read back into memory");
    else
        buf_printf(out, "what all its tree waits for, out of memory: the first of it is due in %s",
                   when(due, now, text));
}
