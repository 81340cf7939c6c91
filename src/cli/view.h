// SPDX-License-Identifier: Apache-2.0
/*
 * What `dispatch run` shows on a terminal, without a terminal: what happens goes in, keys go in,
 * and a screen of so many rows and columns comes out, as clean text (cells.h).
 *
 * How much is kept is bounded: calls that are done and all of whose calls are done are folded, the
 * oldest trees first, past VIEW_CALLS_KEPT calls or VIEW_BYTES_KEPT bytes; counts stay exact. Past
 * VIEW_CALLS_MAX calls under way, new ones are counted and not shown. Out of memory, what does not
 * fit is not shown.
 */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include "base/list.h"
#include "base/map.h"
#include "cli/cells.h"
#include "server/server.h"

#define VIEW_CALLS_KEPT 5000
#define VIEW_CALLS_MAX  100000
#define VIEW_BYTES_KEPT ((size_t)64 << 20)
#define VIEW_TRIPS_KEPT 64    /* of a call: the first one and the last ones */
#define VIEW_VALUE_MAX  16384 /* bytes of a value that is kept */
#define VIEW_LINES_KEPT 10000
#define VIEW_LOG_BYTES  ((size_t)8 << 20)

/* One request and its response. */
struct view_trip {
    struct list link;
    uint64_t attempt;
    int64_t started, ended; /* ended 0: under way */
    bool resumed;
    struct blob *input, *output;      /* packed Any; NULL: none, or it is told in words: */
    char *input_words, *output_words; /* "<12 bytes of T state>" */
    const char *outcome;              /* "OK", "Suspended"; NULL: none yet, or HTTP failed */
    bool good;
    char *error, *tail_call, *calls;
};

struct view_call {
    struct list link;     /* among its siblings, in the order of arrival */
    struct list children; /* struct view_call.link */
    struct list idle;     /* among those that may be folded */
    struct list expiring; /* among those that are not done */
    struct view_call *parent, *same_hash;
    char *id, *function; /* function NULL: nothing has been heard of it but its id */
    uint64_t hash;
    uint32_t number;  /* from 1, in the order of arrival; 0: not heard of */
    int depth, width; /* width: of the function, in cells */
    int64_t created, expires, ended;
    bool suspended, done;
    enum status status;
    char *error;
    unsigned running;                   /* attempts under way: one, if all is well */
    unsigned requests, polls, failures; /* since the last reset */
    uint32_t unfinished; /* calls not done and attempts under way, of it and those below it */
    uint32_t folded;     /* below it */
    struct list trips;
    unsigned trip_count, trips_dropped;
};

struct view_line {
    char *text; /* clean */
    size_t len;
    int rows;  /* at view.log_columns */
    bool ours; /* else the application's */
};

enum view_tab { VIEW_FUNCTIONS, VIEW_LOGS, VIEW_DETAIL };

struct view_scroll {
    int top, height, total; /* lines; as last drawn */
    bool tail;              /* stay at the end */
};

struct view {
    struct list roots;
    struct list idle_roots, idle_inner, unfinished; /* view_call.idle, .expiring */
    struct map calls;    /* hash of the id to a chain of struct view_call */
    struct map attempts; /* to struct view_call: those under way */
    uint32_t total, in_flight, numbered, kept, folded_roots, folded;
    size_t bytes, value_bytes_max;
    uint32_t kept_max;

    struct view_line *lines; /* a ring */
    size_t line_first, line_count, log_bytes, log_bytes_max;
    int log_columns, log_rows;
    int name_width;
    char name[65]; /* of the application, for its lines */

    bool ready;
    char *trouble; /* instead of the counts, clean */
    enum view_tab tab;
    struct view_scroll scroll[3];
    bool selecting;
    char digits[12];
    struct view_call *selected;
    struct arena arena; /* of values while they are drawn */
};

int view_init(struct view *v, const char *name, int name_width, struct error *err);
void view_free(struct view *v);

/* --- what happens ----------------------------------------------------------------------------- */

void view_started(struct view *v, const struct orchestrator_attempt *attempt);
void view_ended(struct view *v, const struct orchestrator_outcome *outcome);
/* A line of ours, with the colours of a log, or of the application. */
void view_log(struct view *v, bool ours, struct slice line);
/* Functions can be called. */
void view_ready(struct view *v);
/* In red, until a call starts. */
void view_trouble(struct view *v, struct slice text);
/* Calls whose time is over by now have expired; once a second is enough. */
void view_tick(struct view *v, int64_t now);

/* --- keys and screens ------------------------------------------------------------------------- */

/* Besides characters. */
enum view_key {
    VIEW_KEY_UP = 1000,
    VIEW_KEY_DOWN,
    VIEW_KEY_PAGE_UP,
    VIEW_KEY_PAGE_DOWN,
    VIEW_KEY_HALF_UP,
    VIEW_KEY_HALF_DOWN,
    VIEW_KEY_TAB,
    VIEW_KEY_ENTER,
    VIEW_KEY_ESCAPE,
    VIEW_KEY_BACKSPACE,
    VIEW_KEY_INTERRUPT,
};

enum view_wish { VIEW_GO_ON, VIEW_QUIT, VIEW_VERBOSE };

enum view_wish view_key(struct view *v, int key);

/* Appends `rows` lines of at most `columns` cells, each ended by '\n'. */
void view_draw(struct view *v, int rows, int columns, int64_t now, struct buf *out);
/* How soon a screen would look different though nothing happens: in ms; 0: never. */
unsigned view_period_ms(const struct view *v);

/* The lines of the log, with their prefixes, as a terminal is told colours if it wants them. */
void view_dump(const struct view *v, bool colours, struct buf *out);

/* --- within the view -------------------------------------------------------------------------- */

/* Lines of which only those of a window are wanted. */
struct view_page {
    struct buf *out;
    int from, to, at; /* lines; at: the next one */
    int columns;
};

static inline bool view_page_wants(const struct view_page *p)
{
    return p->at >= p->from && p->at < p->to;
}

/* The next line, cut at the columns. */
void view_page_line(struct view_page *p, struct slice text);

struct view_call *view_next(const struct view_call *c, const struct view_call *top);
enum cells_style view_call_style(const struct view_call *c);
const char *view_call_status(const struct view_call *c);
void view_draw_functions(struct view *v, struct view_page *p, int64_t now);
int view_count_functions(const struct view *v);
void view_draw_detail(struct view *v, struct view_page *p, int64_t now);
void view_draw_log(struct view *v, struct view_page *p);
void view_measure_log(struct view *v, int columns);
/* Of the call, to `now` if it is not done; 0: not known. */
int64_t view_call_duration(const struct view_call *c, int64_t now);
/* "1.5s", "2m3s", as Go has it. */
void view_put_duration(int64_t ns, struct buf *out);
/* "2006-01-02T15:04:05.000", local. */
void view_put_time(int64_t ns, struct buf *out);

#endif
