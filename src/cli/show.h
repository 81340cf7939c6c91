// SPDX-License-Identifier: Apache-2.0
/*
 * How calls are shown: to people as labelled lines and tables, to programs as JSON, one object a
 * line. What comes from applications goes to a terminal without the characters that it would obey.
 */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "wire/wire.h"

struct show {
    struct buf *out;
    struct arena *arena; /* for what is looked into */
    int64_t now;         /* ages are counted to it; ns since the epoch */
    bool colours;
};

/* A call with all that is known of it, without its state. */
void show_call(const struct show *show, const Dispatch__V1__CallInfo *call);
/* An error: "Type: message", then its traceback, `indent` columns in from the second line on. */
void show_error(const struct show *show, const wire_error *error, unsigned indent);

/* The state that a call resumes with: the entries of a journal of the C SDK, else type and size. */
void show_state(const struct show *show, const wire_any *state);
/* `"journal":[...]`, and, if that ends too early, `"journalError"`; false: it is no journal, and
 * nothing was written. The arena is rewound. */
bool show_state_json(const wire_any *state, struct arena *arena, struct buf *out);

/* "label         ": what follows stands in the column of values. */
#define SHOW_INDENT 14
void show_label(const struct show *show, const char *label);
/* A heading of a part: "journal", and behind it, in words, what it is. */
void show_heading(const struct show *show, const char *text);
/* The text, its lines indented from the second on, control characters replaced. */
void show_text(const struct show *show, struct slice text, unsigned indent);
/* "suspended", or of one that is done "OK", "TIMEOUT"; padded to `width`, in its colour. */
void show_outcome(const struct show *show, const Dispatch__V1__CallInfo *call, int width);
const char *show_state_name(Dispatch__V1__State state);
/* "2026-11-22T15:03:09.123Z". */
void show_time(int64_t ns, struct buf *out);
/* "350 ms", "3.2 s", "5m12s", "3h05m", "2d3h". */
void show_span(int64_t ns, struct buf *out);

/* Writes all that is in `out` to stdout and empties it; an exit status. */
int show_flush(struct buf *out);

#endif
