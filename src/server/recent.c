// SPDX-License-Identifier: Apache-2.0
/*
 * A record a place, by place modulo the size. The end of an attempt finds its record through chains
 * by attempt, which are as short as the ring is full; a record that is written over leaves its
 * chain, so the end of an attempt that started too long ago finds nothing. The hashes of the calls'
 * ids lie apart: looking for the attempts of a call touches 128 KiB and those.
 */
#include "server/recent.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct recent {
    struct orchestrator_observer observer;
    uint64_t end; /* the next place */
    int64_t since;
    uint64_t calls[RECENT_MAX];
    uint32_t first[RECENT_MAX], next[RECENT_MAX]; /* indices, by attempt */
    struct recent_attempt attempts[RECENT_MAX];
};

static uint32_t index_of(uint64_t number)
{
    return (uint32_t)(number % RECENT_MAX);
}

static uint64_t hash_id(const char *id)
{
    return slice_hash(slice_str(id), 0);
}

/* As groups are named: "http://host:port" of "http://host:port/path". */
static struct slice host_of(struct slice endpoint)
{
    const char *text = endpoint.data, *colon = memchr(text, ':', endpoint.len), *slash = NULL;
    size_t left = colon ? endpoint.len - (size_t)(colon - text) : 0;

    if (left > 3 && colon[1] == '/' && colon[2] == '/')
        slash = memchr(colon + 3, '/', left - 3);
    return slash ? slice(text, (size_t)(slash - text)) : endpoint;
}

uint64_t recent_group(struct slice org, struct slice host)
{
    return slice_hash(host, slice_hash(org, 0));
}

/* Cut where a character ends. */
static void copy(char *to, size_t size, const char *text)
{
    size_t len = text ? strnlen(text, size) : 0;

    if (len == size)
        len = slice_utf8_prefix(slice(text, size - 1));
    memcpy(to, text ? text : "", len);
    to[len] = '\0';
}

/* --- the chains ------------------------------------------------------------------------------- */

static void link_in(struct recent *r, uint32_t i)
{
    uint32_t *first = &r->first[index_of(r->attempts[i].attempt)];

    r->next[i] = *first;
    *first = i;
}

static void unlink_from(struct recent *r, uint32_t i)
{
    uint32_t *at = &r->first[index_of(r->attempts[i].attempt)];

    while (*at != NONE && *at != i)
        at = &r->next[*at];
    if (*at == i)
        *at = r->next[i];
}

static struct recent_attempt *running(struct recent *r, uint64_t attempt)
{
    uint32_t i = r->first[index_of(attempt)];

    while (i != NONE && r->attempts[i].attempt != attempt)
        i = r->next[i];
    if (i == NONE)
        return NULL;
    unlink_from(r, i);
    return &r->attempts[i];
}

/* --- what the orchestrator says --------------------------------------------------------------- */

static void started(void *arg, const struct orchestrator_attempt *a)
{
    struct recent *r = arg;
    uint32_t i = index_of(r->end);
    struct recent_attempt *to = &r->attempts[i];

    if (r->end >= RECENT_MAX) {
        if (to->outcome == RECENT_RUNNING)
            unlink_from(r, i);
        r->since = r->attempts[index_of(r->end + 1)].started;
    }
    r->end++;
    to->attempt = a->attempt;
    to->number = a->number;
    to->started = a->started;
    to->group = recent_group(a->org, host_of(a->endpoint));
    to->outcome = RECENT_RUNNING;
    to->status = to->http_status = 0;
    to->type[0] = to->message[0] = '\0';
    copy(to->id, sizeof to->id, a->request->dispatch_id);
    copy(to->function, sizeof to->function, a->request->function);
    r->calls[i] = hash_id(to->id);
    link_in(r, i);
}

static void note_response(struct recent_attempt *to, const wire_run_response *response)
{
    const wire_error *error = NULL;

    to->status = (uint16_t)((unsigned)response->status < STATUS_COUNT ? response->status : 0);
    switch (response->directive_case) {
    case DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_POLL:
        to->outcome = RECENT_POLL;
        break;
    case DISPATCH__SDK__V1__RUN_RESPONSE__DIRECTIVE_EXIT:
        to->outcome = response->exit->tail_call ? RECENT_TAIL : RECENT_EXIT;
        error = response->exit->result ? response->exit->result->error : NULL;
        break;
    default:
        to->outcome = RECENT_EXIT;
    }
    if (error) {
        copy(to->type, sizeof to->type, error->type);
        copy(to->message, sizeof to->message, error->message);
    }
}

static void ended(void *arg, const struct orchestrator_outcome *o)
{
    struct recent_attempt *to = running(arg, o->attempt);

    if (!to)
        return;
    to->ended = o->ended;
    to->outcome = o->failure ? RECENT_FAILED : RECENT_GIVEN_UP;
    if (o->response)
        note_response(to, o->response);
    if (o->failure) {
        to->status = (uint16_t)o->failure->status;
        to->http_status = (uint16_t)o->failure->http_status;
        copy(to->type, sizeof to->type, o->failure->type);
        copy(to->message, sizeof to->message, o->failure->message);
    }
}

/* --- the ring --------------------------------------------------------------------------------- */

int recent_create(struct recent **out, int64_t now, struct error *err)
{
    struct recent *r = calloc(1, sizeof *r); /* so large that the system gives it page by page */

    if (!r)
        return error_memory(err);
    memset(r->first, 0xff, sizeof r->first);
    r->since = now;
    r->observer = (struct orchestrator_observer){.started = started, .ended = ended, .arg = r};
    *out = r;
    return CODE_OK;
}

void recent_destroy(struct recent *r)
{
    free(r);
}

struct orchestrator_observer *recent_observer(struct recent *r)
{
    return &r->observer;
}

const struct recent_attempt *recent_next(const struct recent *r, const char *id, uint64_t *place)
{
    uint64_t oldest = r->end > RECENT_MAX ? r->end - RECENT_MAX : 0;
    uint64_t hash = id ? hash_id(id) : 0;

    for (*place = *place < oldest ? oldest : *place; *place < r->end; ++*place) {
        uint32_t i = index_of(*place);

        if (!id || (r->calls[i] == hash && strcmp(r->attempts[i].id, id) == 0))
            return &r->attempts[i];
    }
    return NULL;
}

uint64_t recent_end(const struct recent *r)
{
    return r->end;
}

int64_t recent_since(const struct recent *r)
{
    return r->since;
}
