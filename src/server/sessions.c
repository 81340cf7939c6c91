// SPDX-License-Identifier: Apache-2.0
/*
 * A run meets a poll: either waits for the other in the session's list, so at most one of these two
 * lists has something in it. The run goes out, leased; its reply or its return ends the lease, and
 * else its time does.
 *
 * Leases are equally long, so the list of them is in the order of their ends, and one timer does.
 * Sessions are in the order of their last poll, and those that were forgotten the longest give up
 * their runs first when too much waits.
 */
#include "server/sessions.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/map.h"
#include "server/pending.h"

struct session {
    struct sessions *all;
    struct session *chain; /* of the same hash */
    uint64_t hash;
    struct list age;    /* all sessions, that of the last poll at the end */
    struct list runs;   /* that wait */
    struct list leased; /* that clients have */
    struct list polls;  /* that wait */
    size_t polls_count;
    size_t users; /* runs, leased ones too, and polls; none: the session is no more */
    size_t org_len, name_len;
    char text[]; /* org, name */
};

struct sessions {
    struct sessions_options options;
    struct map by_hash;
    struct list age;
    struct list leased;
    struct net_timer *lease_timer, *relief_timer;
    size_t waiting, waiting_bytes; /* in all sessions */
    bool stopped;
};

struct session_poll {
    struct pending pending; /* first */
    struct session *session;
    struct list link;
    struct net_exchange *exchange;
    struct net_timer *timer;
};

/* --- sessions -------------------------------------------------------------------------------- */

static uint64_t hash_of(struct slice org, struct slice name)
{
    return slice_hash(name, slice_hash(org, 0));
}

static bool is_named(const struct session *session, struct slice org, struct slice name)
{
    return slice_eq(slice(session->text, session->org_len), org) &&
           slice_eq(slice(session->text + session->org_len, session->name_len), name);
}

static struct session *find(const struct sessions *s, struct slice org, struct slice name)
{
    struct session *session = map_get(&s->by_hash, hash_of(org, name));

    while (session && !is_named(session, org, name))
        session = session->chain;
    return session;
}

/* With one more user. NULL: no memory. */
static struct session *use(struct sessions *s, struct slice org, struct slice name)
{
    struct session *session = find(s, org, name);

    if (session) {
        session->users++;
        return session;
    }
    session = calloc(1, sizeof *session + org.len + name.len);
    if (!session)
        return NULL;
    session->all = s;
    session->hash = hash_of(org, name);
    session->chain = map_get(&s->by_hash, session->hash);
    if (!map_set(&s->by_hash, session->hash, session)) {
        free(session);
        return NULL;
    }
    list_init(&session->runs);
    list_init(&session->leased);
    list_init(&session->polls);
    list_push(&s->age, &session->age);
    session->org_len = org.len;
    session->name_len = name.len;
    if (org.len)
        memcpy(session->text, org.data, org.len);
    if (name.len)
        memcpy(session->text + org.len, name.data, name.len);
    session->users = 1;
    return session;
}

static void leave(struct session *session)
{
    struct sessions *s = session->all;
    struct session *first = map_get(&s->by_hash, session->hash);

    assert(session->users > 0);
    if (--session->users > 0)
        return;
    if (first != session) {
        while (first->chain != session)
            first = first->chain;
        first->chain = session->chain;
    } else if (session->chain) {
        map_set(&s->by_hash, session->hash, session->chain); /* replaces: cannot fail */
    } else {
        map_remove(&s->by_hash, session->hash);
    }
    list_remove(&session->age);
    free(session);
}

/* --- leases ---------------------------------------------------------------------------------- */

static void set_lease_timer(struct sessions *s, int64_t now)
{
    int64_t left;

    if (list_empty(&s->leased)) {
        net_timer_clear(s->lease_timer);
        return;
    }
    left = LIST_ENTRY(s->leased.next, struct session_run, lease)->lease_end - now;
    net_timer_set(s->lease_timer, left > 0 ? (uint64_t)(left / NS_PER_MS) + 1 : 0);
}

static void lease(struct session_run *run)
{
    struct sessions *s = run->session->all;
    int64_t now = clock_now(s->options.clock);

    run->lease_end = time_add(now, s->options.lease_ms * NS_PER_MS);
    list_append(&run->session->leased, &run->link);
    list_append(&s->leased, &run->lease);
    if (s->leased.next == &run->lease)
        set_lease_timer(s, now);
}

static void count_waiting(struct sessions *s, const struct session_run *run, int by)
{
    s->waiting += (size_t)by;
    s->waiting_bytes += by > 0 ? run->size : -run->size;
}

static bool too_much_waits(const struct sessions *s)
{
    return s->waiting > s->options.waiting_max || s->waiting_bytes > s->options.waiting_bytes_max;
}

/* The session does not know the run any more. */
static void let_go(struct session_run *run)
{
    struct session *session = run->session;

    list_remove(&run->link);
    list_remove(&run->lease);
    if (run->lease_end == 0)
        count_waiting(session->all, run, -1);
    run->lease_end = 0;
    run->session = NULL;
    leave(session);
}

static void give_up(struct session_run *run, const char *why)
{
    struct sessions *s = run->session->all;

    let_go(run);
    s->options.abandoned(run, why);
}

static void leases_over(void *arg)
{
    struct sessions *s = arg;
    int64_t now = clock_now(s->options.clock);

    while (!list_empty(&s->leased)) {
        struct session_run *run = LIST_ENTRY(s->leased.next, struct session_run, lease);

        if (run->lease_end > now)
            break;
        give_up(run, "the client that fetched it has neither answered nor given it back in time");
    }
    set_lease_timer(s, now);
}

/* --- runs ------------------------------------------------------------------------------------ */

static void poll_free(struct session_poll *poll)
{
    struct session *session = poll->session;

    list_remove(&poll->link);
    session->polls_count--;
    net_timer_destroy(poll->timer);
    free(poll);
    leave(session);
}

static void answer_poll(struct session_poll *poll, int status)
{
    struct net_exchange *exchange = poll->exchange;

    net_exchange_set(exchange, NULL);
    poll_free(poll);
    net_answer(exchange, status, NULL, 0, NULL);
}

/* Hands the run to the client; false: no memory. */
static bool hand_over(struct session_run *run, struct net_exchange *exchange)
{
    const struct net_header id = {slice_str("x-request-id"), slice_str(run->id)};
    struct sessions *s = run->session->all;
    struct blob *bytes = s->options.request(run);

    if (!bytes)
        return false;
    net_answer(exchange, 200, &id, 1, bytes);
    blob_unref(bytes);
    return true;
}

/* Runs that wait too long for what they take are given up from a turn of their own, as their owner
 * may be in the middle of adding one. */
static void relieve(void *arg)
{
    struct sessions *s = arg;

    LIST_FOR_EACH (node, next, &s->age) {
        struct session *session = LIST_ENTRY(node, struct session, age);

        session->users++; /* it is not to go meanwhile */
        while (too_much_waits(s) && !list_empty(&session->runs))
            give_up(LIST_ENTRY(session->runs.prev, struct session_run, link),
                    "too many runs wait for clients, and nobody fetches those of this session");
        next = session->age.next;
        leave(session);
        if (!too_much_waits(s))
            return;
    }
}

int sessions_add(struct sessions *s, struct slice org, struct slice name, struct session_run *run,
                 struct error *err)
{
    struct session *session = use(s, org, name);

    if (!session)
        return error_memory(err);
    run->session = session;
    run->lease_end = 0;
    list_init(&run->link);
    list_init(&run->lease);
    if (!list_empty(&session->polls)) {
        struct session_poll *poll = LIST_ENTRY(session->polls.next, struct session_poll, link);
        struct net_exchange *exchange = poll->exchange;

        if (!hand_over(run, exchange)) {
            run->session = NULL;
            leave(session);
            return error_memory(err);
        }
        poll_free(poll);
        lease(run);
        return CODE_OK;
    }
    list_append(&session->runs, &run->link);
    count_waiting(s, run, 1);
    if (too_much_waits(s))
        net_timer_set(s->relief_timer, 0);
    return CODE_OK;
}

void sessions_remove(struct sessions *s, struct session_run *run)
{
    assert(run->session && run->session->all == s);
    let_go(run);
    set_lease_timer(s, clock_now(s->options.clock));
}

/* --- requests -------------------------------------------------------------------------------- */

/* How long the poll may be held. */
static uint64_t patience_ms(const struct net_request *request)
{
    struct slice value = net_header_get(request->headers, request->header_count, "request-timeout");
    const char *p = value.data;
    uint64_t ms = 0;

    if (!value.len || value.len > 6)
        return SESSIONS_POLL_MS;
    for (size_t i = 0; i < value.len; i++) {
        if (p[i] < '0' || p[i] > '9')
            return SESSIONS_POLL_MS;
        ms = 10 * ms + (uint64_t)(p[i] - '0');
    }
    ms *= 1000;
    ms = ms > 2 * SESSIONS_MARGIN_MS ? ms - SESSIONS_MARGIN_MS : ms / 2;
    return ms < SESSIONS_POLL_MS ? ms : SESSIONS_POLL_MS;
}

static void poll_over(void *arg)
{
    answer_poll(arg, 504);
}

static void poll_gone(struct pending *pending)
{
    poll_free((struct session_poll *)(void *)pending);
}

static int wait_for_run(struct session *session, struct net_exchange *exchange,
                        const struct net_request *request, struct error *err)
{
    struct session_poll *poll;

    if (session->polls_count >= SESSIONS_POLLS_MAX)
        return error_set(err, CODE_RESOURCE_EXHAUSTED, "%d clients wait at this session already",
                         SESSIONS_POLLS_MAX);
    poll = calloc(1, sizeof *poll);
    if (!poll)
        return error_memory(err);
    poll->timer = net_timer_create(session->all->options.loop, poll_over, poll);
    if (!poll->timer) {
        free(poll);
        return error_memory(err);
    }
    poll->pending.gone = poll_gone;
    poll->session = session;
    poll->exchange = exchange;
    session->users++;
    session->polls_count++;
    list_append(&session->polls, &poll->link);
    net_exchange_set(exchange, poll);
    net_timer_set(poll->timer, patience_ms(request));
    return CODE_OK;
}

static int fetch(struct sessions *s, struct session *session, struct net_exchange *exchange,
                 const struct net_request *request, struct error *err)
{
    struct session_run *run;

    if (s->stopped)
        return error_set(err, CODE_UNAVAILABLE, "the server is stopping: try again shortly");
    list_remove(&session->age);
    list_append(&s->age, &session->age);
    if (list_empty(&session->runs))
        return wait_for_run(session, exchange, request, err);
    run = LIST_ENTRY(session->runs.next, struct session_run, link);
    if (!hand_over(run, exchange))
        return error_memory(err);
    list_remove(&run->link);
    count_waiting(s, run, -1);
    lease(run);
    return CODE_OK;
}

/* The run of that session that the client has, by its X-Request-Id. */
static struct session_run *find_leased(const struct session *session,
                                       const struct net_request *request)
{
    struct slice id = net_header_get(request->headers, request->header_count, "x-request-id");

    LIST_FOR_EACH (node, next, &session->leased) {
        struct session_run *run = LIST_ENTRY(node, struct session_run, link);

        if (slice_eq_str(id, run->id))
            return run;
    }
    return NULL;
}

struct reply {
    struct sessions *sessions;
    struct session_run *run;
    struct net_exchange *exchange;
};

static void take_reply(void *arg, const struct net_response *response)
{
    struct reply *reply = arg;

    let_go(reply->run);
    net_answer(reply->exchange, 202, NULL, 0, NULL);
    reply->sessions->options.answered(reply->run, response);
}

/* A reply that is no HTTP leaves the run leased: its client will give it back. */
static int answer_run(struct sessions *s, struct session_run *run, struct net_exchange *exchange,
                      const struct net_request *request, struct error *err)
{
    struct reply reply = {.sessions = s, .run = run, .exchange = exchange};

    return net_raw_response(request->body, s->options.body_max, take_reply, &reply, err);
}

static int handle_in(struct sessions *s, struct session *session, struct net_exchange *exchange,
                     const struct net_request *request, struct error *err)
{
    bool reply = slice_eq_str(request->method, "POST");
    struct session_run *run;

    if (slice_eq_str(request->method, "GET"))
        return fetch(s, session, exchange, request, err);
    if (!reply && !slice_eq_str(request->method, "DELETE"))
        return error_set(err, CODE_UNIMPLEMENTED, "sessions are fetched from, not %.*s",
                         SLICE_FMT(request->method));
    run = find_leased(session, request);
    if (!run)
        return error_set(err, CODE_NOT_FOUND,
                         "the session has no such request (X-Request-Id) that is waited for");
    if (reply)
        return answer_run(s, run, exchange, request, err);
    net_answer(exchange, 200, NULL, 0, NULL);
    give_up(run, "the client that fetched it gave it back: its application cannot be reached, or "
                 "took too long");
    return CODE_OK;
}

int sessions_handle(struct sessions *s, struct slice org, struct slice name,
                    struct net_exchange *exchange, const struct net_request *request,
                    struct error *err)
{
    struct session *session;
    int code;

    if (name.len == 0 || name.len > SESSIONS_NAME_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "a session's name has 1 to %d characters",
                         SESSIONS_NAME_MAX);
    session = use(s, org, name);
    if (!session)
        return error_memory(err);
    code = handle_in(s, session, exchange, request, err);
    leave(session);
    set_lease_timer(s, clock_now(s->options.clock));
    return code;
}

/* --- life ------------------------------------------------------------------------------------ */

int sessions_create(struct sessions **out, const struct sessions_options *options,
                    struct error *err)
{
    struct sessions *s = calloc(1, sizeof *s);

    if (!s)
        return error_memory(err);
    s->options = *options;
    if (s->options.waiting_max == 0)
        s->options.waiting_max = SESSIONS_WAITING_MAX;
    if (s->options.waiting_bytes_max == 0)
        s->options.waiting_bytes_max = SESSIONS_WAITING_BYTES_MAX;
    if (s->options.lease_ms == 0)
        s->options.lease_ms = SESSIONS_LEASE_MS;
    map_init(&s->by_hash);
    list_init(&s->age);
    list_init(&s->leased);
    s->lease_timer = net_timer_create(options->loop, leases_over, s);
    s->relief_timer = net_timer_create(options->loop, relieve, s);
    if (!s->lease_timer || !s->relief_timer) {
        sessions_destroy(s);
        return error_memory(err);
    }
    *out = s;
    return CODE_OK;
}

void sessions_stop(struct sessions *s)
{
    s->stopped = true;
    LIST_FOR_EACH (node, next, &s->age) {
        struct session *session = LIST_ENTRY(node, struct session, age);

        session->users++; /* it is not to go with its last poll */
        while (!list_empty(&session->polls))
            answer_poll(LIST_ENTRY(session->polls.next, struct session_poll, link), 503);
        while (!list_empty(&session->runs))
            give_up(LIST_ENTRY(session->runs.next, struct session_run, link),
                    "the orchestrator stopped before anybody fetched it");
        next = session->age.next;
        leave(session);
    }
}

void sessions_destroy(struct sessions *s)
{
    if (!s)
        return;
    assert(list_empty(&s->age) && s->waiting == 0 && s->waiting_bytes == 0);
    net_timer_destroy(s->lease_timer);
    net_timer_destroy(s->relief_timer);
    map_free(&s->by_hash);
    free(s);
}
