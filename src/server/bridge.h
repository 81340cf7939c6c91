// SPDX-License-Identifier: Apache-2.0
/*
 * Where the calls of a session, those to the endpoint bridge://SESSION, are delivered: to one
 * address on which an application may listen, later than we start, and not all the time. While
 * nobody does, its runs are held instead of failing, and the address is dialled every
 * BRIDGE_DIAL_MS until somebody answers.
 */
#ifndef SERVER_BRIDGE_H
#define SERVER_BRIDGE_H

#include "base/list.h"
#include "base/log.h"
#include "net/net.h"

#define BRIDGE_DIAL_MS 50
/* That long nobody listens before the log says so: something is held, or it is not known. */
#define BRIDGE_HELD_MS  1000
#define BRIDGE_ASKED_MS 5000

struct bridge_options {
    struct net_loop *loop;
    struct log *log;      /* told, once each time, when nobody listens for a while; or NULL */
    bool asks;            /* for runs only while it is open: it cannot know whether any wait */
    struct slice session; /* as it stands in URLs; case counts */
    const char *host;
    uint16_t port;
    /* Somebody listens: what is held may go. */
    void (*opened)(void *arg, struct list *held);
    void *arg;
};

struct bridge;

/* Dials from now on. CODE_INVALID_ARGUMENT: the host has no address. */
int bridge_create(struct bridge **bridge, const struct bridge_options *options, struct error *err);
void bridge_destroy(struct bridge *bridge); /* nothing is held any more; NULL is fine */

bool bridge_is_for(const struct bridge *bridge, struct slice session);
struct slice bridge_host(const struct bridge *bridge);
uint16_t bridge_port(const struct bridge *bridge);

bool bridge_is_open(const struct bridge *bridge);
/* Somebody has listened at some time. */
bool bridge_was_open(const struct bridge *bridge);
/* Keeps `node` until somebody listens; its owner may take it out of the list before. */
void bridge_hold(struct bridge *bridge, struct list *node);
/* A connection was refused: nobody listens any more. */
void bridge_refused(struct bridge *bridge);
/* Moves what is held to the end of `held`. */
void bridge_release(struct bridge *bridge, struct list *held);

#endif
