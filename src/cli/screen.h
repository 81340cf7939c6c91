// SPDX-License-Identifier: Apache-2.0
/*
 * A view on the terminal: drawn by ncurses, at most ten times a second and only when it looks
 * different; fed by the keyboard. One at a time in a process, on the loop's thread.
 */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include "cli/view.h"

#define SCREEN_PERIOD_MS 100

struct screen;

struct screen_options {
    struct net_loop *loop;
    struct view *view; /* outlives the screen */
    void (*quit)(void *arg);
    void (*verbose)(void *arg);
    void (*tick)(void *arg); /* a few times a second */
    void *arg;
};

/* Stdin, stdout and stderr are terminals. */
bool screen_possible(void);
/* CODE_UNAVAILABLE: it is no terminal that can be drawn on; nothing was done to it. */
int screen_open(struct screen **screen, const struct screen_options *options, struct error *err);
/* The view has changed. */
void screen_changed(struct screen *screen);
uint64_t screen_drawn(const struct screen *screen); /* how often */
/* Gives the terminal back as it was. NULL is fine. */
void screen_close(struct screen *screen);

#endif
