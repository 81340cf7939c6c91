// SPDX-License-Identifier: Apache-2.0
/*
 * Where `dispatch run` says what happens: in a view, if there is a terminal for one, else as lines
 * on stderr, each behind the name of who says it. Used on the loop's thread alone.
 */
#ifndef CLI_CONSOLE_H
#define CLI_CONSOLE_H

#include "cli/lines.h"
#include "cli/runlog.h"
#include "cli/screen.h"

struct console_hooks {
    void (*quit)(void *arg);    /* somebody who looks at the view wants to */
    bool (*reached)(void *arg); /* functions can be called */
    void *arg;
};

struct console {
    struct log log;                        /* of what happens to calls, */
    struct log server_log;                 /* and to those who serve them */
    struct orchestrator_observer observer; /* to be told of the attempts */
    struct console_hooks hooks;
    bool viewed; /* what is said goes to the view */

    bool has_view;
    struct runlog runlog;
    struct view view;
    struct screen *screen;              /* NULL: not yet, or not any more */
    char prefix[LINES_PREFIX_MAX];      /* of our own lines */
    char application[LINES_PREFIX_MAX]; /* of the other ones */
    int64_t opened_at;
};

/* The name is the application's. Keeps still until it is freed. */
void console_init(struct console *c, const char *name, bool verbose,
                  const struct console_hooks *hooks);
void console_free(struct console *c);

/* Lines of the application go to the console. */
void console_take_lines(struct console *c, struct lines *lines);

/* Begins to draw the view, if there is to be one: signals are caught by the loop already. */
void console_open(struct console *c, struct net_loop *loop);
/* Ends it, and gives the terminal back. */
void console_close(struct console *c);
/* From now on, lines are written where they are read without a view; first those that it had. */
void console_leave_view(struct console *c);

#endif
