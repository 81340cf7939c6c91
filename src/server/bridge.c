// SPDX-License-Identifier: Apache-2.0
/* An address, whether somebody listens there, and a list of what waits for that. */
#include "server/bridge.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/probe.h"

struct bridge {
    struct bridge_options options; /* session and host: views into text */
    struct probe *probe;
    struct net_timer *timer; /* the next dial; set while closed */
    struct list held;
    uint32_t closed_ms; /* for about how long nobody has listened */
    bool open, ever_open, told;
    char text[];
};

static void log_refused(const struct bridge *b)
{
    bool ipv6 = strchr(b->options.host, ':');
    char message[400];

    snprintf(message, sizeof message,
             "can't connect to %s%.200s%s:%u: connection refused (check that -e,--endpoint is "
             "correct)",
             ipv6 ? "[" : "", b->options.host, ipv6 ? "]" : "", b->options.port);
    log_line(b->options.log, LOG_WARN, message);
}

static void stay_closed(struct bridge *b)
{
    bool held = !list_empty(&b->held);

    net_timer_set(b->timer, BRIDGE_DIAL_MS);
    b->closed_ms += b->closed_ms < BRIDGE_ASKED_MS ? BRIDGE_DIAL_MS : 0;
    if (b->told || !(held ? b->closed_ms >= BRIDGE_HELD_MS
                          : b->options.asks && b->closed_ms >= BRIDGE_ASKED_MS))
        return;
    b->told = true;
    log_refused(b);
}

static void dial(void *arg)
{
    struct bridge *b = arg;
    struct list held;

    assert(!b->open);
    if (probe_step(b->probe) != PROBE_OPEN) {
        stay_closed(b);
        return;
    }
    b->open = b->ever_open = true;
    b->told = false;
    list_init(&held);
    bridge_release(b, &held);
    b->options.opened(b->options.arg, &held);
    assert(list_empty(&held));
}

int bridge_create(struct bridge **out, const struct bridge_options *options, struct error *err)
{
    size_t host_size = strlen(options->host) + 1;
    struct bridge *b = calloc(1, sizeof *b + host_size + options->session.len);
    int code;

    if (!b)
        return error_memory(err);
    list_init(&b->held);
    b->options = *options;
    memcpy(b->text, options->host, host_size);
    if (options->session.len)
        memcpy(b->text + host_size, options->session.data, options->session.len);
    b->options.host = b->text;
    b->options.session.data = b->text + host_size;
    code = probe_create(&b->probe, options->host, options->port, err);
    if (code == CODE_OK && !(b->timer = net_timer_create(options->loop, dial, b)))
        code = error_memory(err);
    if (code) {
        bridge_destroy(b);
        return code;
    }
    net_timer_set(b->timer, 0);
    *out = b;
    return CODE_OK;
}

void bridge_destroy(struct bridge *b)
{
    if (!b)
        return;
    assert(list_empty(&b->held));
    net_timer_destroy(b->timer);
    probe_destroy(b->probe);
    free(b);
}

bool bridge_is_for(const struct bridge *b, struct slice session)
{
    return slice_eq(b->options.session, session);
}

struct slice bridge_host(const struct bridge *b)
{
    return slice_str(b->options.host);
}

uint16_t bridge_port(const struct bridge *b)
{
    return b->options.port;
}

bool bridge_is_open(const struct bridge *b)
{
    return b->open;
}

bool bridge_was_open(const struct bridge *b)
{
    return b->ever_open;
}

void bridge_hold(struct bridge *b, struct list *node)
{
    assert(!b->open);
    list_append(&b->held, node);
}

void bridge_release(struct bridge *b, struct list *held)
{
    list_splice(held, &b->held);
}

void bridge_refused(struct bridge *b)
{
    if (!b->open)
        return;
    b->open = false;
    b->closed_ms = 0;
    net_timer_set(b->timer, BRIDGE_DIAL_MS);
}
