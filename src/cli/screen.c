// SPDX-License-Identifier: Apache-2.0
/*
 * The thin layer: lines of clean text to ncurses, keys from it.
 *
 * The loop makes what it watches non-blocking, for whoever shares it: so keys are read from a
 * terminal opened anew, as stdin may well be the stdout that is drawn on, and our parent's too.
 *
 * Signals belong to the loop, so ncurses gets none of its own. Should the program die of a bug, the
 * terminal is still given back: what that takes is written down while all is well.
 */
#include "cli/screen.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/lines.h"

/* Last, as it defines words such as `lines`. */
#include <term.h>

#define ESCAPE_MS   25
#define TICK_MS     250
#define FRAME_MAX   ((size_t)16 << 20)
#define ROWS_MAX    1000
#define COLUMNS_MAX 1000

struct screen {
    struct screen_options options;
    SCREEN *terminal;
    FILE *keyboard;
    struct net_watch *keys;
    struct net_timer *redraw, *tick;
    struct net_signal *resized;
    struct buf shown, next; /* as drawn last; as it is being drawn */
    int64_t drawn_at;
    uint64_t drawn;
    bool pending; /* the timer is set */
    bool colours;
};

/* --- dying ------------------------------------------------------------------------------------ */

static const int deaths[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct termios modes_before;
static char leave[256]; /* what ends the use of the whole screen */
static volatile sig_atomic_t in_use;

static void die(int signum)
{
    if (in_use) {
        if (write(STDOUT_FILENO, leave, strlen(leave)) < 0)
            in_use = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &modes_before);
    }
    raise(signum); /* to whom it was meant: SA_RESETHAND */
}

static void note(const char *capability)
{
    const char *text = tigetstr(capability);
    size_t len = strlen(leave);

    if (text && text != (const char *)-1 && strlen(text) < sizeof leave - len)
        memcpy(leave + len, text, strlen(text) + 1);
}

static void prepare_to_die(void)
{
    struct sigaction action = {.sa_handler = die, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

    leave[0] = '\0';
    note("sgr0");
    note("cnorm");
    note("rmkx");
    note("rmcup");
    in_use = 1;
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++)
        sigaction(deaths[i], &action, NULL);
}

static void live_on(void)
{
    in_use = 0;
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++)
        signal(deaths[i], SIG_DFL);
}

/* --- drawing ---------------------------------------------------------------------------------- */

static attr_t attributes(const struct screen *s, uint8_t style)
{
    if (style == CELLS_BOLD)
        return A_BOLD;
    if (style == CELLS_GRAY)
        return s->colours && COLORS >= 16 ? (attr_t)COLOR_PAIR(style) : A_DIM;
    return s->colours && style != CELLS_PLAIN ? (attr_t)COLOR_PAIR(style) : A_NORMAL;
}

static void draw_line(const struct screen *s, int y, const uint8_t *text, size_t len)
{
    size_t at = 0, n;

    move(y, 0);
    attrset(A_NORMAL);
    while (at < len) {
        for (n = 0; at + n < len && text[at + n] >= ' '; n++)
            ;
        if (n > 0)
            addnstr((const char *)text + at, (int)n);
        at += n;
        if (at < len)
            attrset(attributes(s, text[at++]));
    }
}

static void put_frame(struct screen *s)
{
    const uint8_t *at = s->next.data, *end = at + s->next.len, *line_end;
    struct buf kept = s->shown;
    int y = 0;

    erase();
    for (; at < end; at = line_end + 1, y++) {
        line_end = memchr(at, '\n', (size_t)(end - at));
        draw_line(s, y, at, (size_t)(line_end - at));
    }
    refresh();
    s->drawn++;
    s->shown = s->next;
    s->next = kept;
}

static void schedule(struct screen *s, int64_t in_ms)
{
    if (s->pending)
        return;
    s->pending = true;
    net_timer_set(s->redraw, in_ms > 0 ? (uint64_t)in_ms : 0);
}

static void redraw(void *arg)
{
    struct screen *s = arg;
    int64_t now = clock_now(clock_system());
    unsigned period;

    s->pending = false;
    s->drawn_at = now;
    buf_reset(&s->next);
    view_draw(s->options.view, LINES, COLS, now, &s->next);
    if (!s->next.failed && !slice_eq(buf_slice(&s->next), buf_slice(&s->shown)))
        put_frame(s);
    period = view_period_ms(s->options.view);
    if (period)
        schedule(s, period);
}

void screen_changed(struct screen *s)
{
    int64_t since = (clock_now(clock_system()) - s->drawn_at) / NS_PER_MS;
    int64_t wait = since < SCREEN_PERIOD_MS ? SCREEN_PERIOD_MS - since : 0;

    if (s->pending && view_period_ms(s->options.view) <= SCREEN_PERIOD_MS)
        return;
    s->pending = false; /* what is set may be further off */
    schedule(s, wait);
}

static void on_resize(void *arg, int signum)
{
    struct screen *s = arg;
    struct winsize size;

    (void)signum;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
        return;
    resizeterm(size.ws_row < ROWS_MAX ? size.ws_row : ROWS_MAX,
               size.ws_col < COLUMNS_MAX ? size.ws_col : COLUMNS_MAX);
    clear(); /* who knows what the terminal made of what stood there */
    buf_reset(&s->shown);
    screen_changed(s);
}

/* --- keys ------------------------------------------------------------------------------------- */

static int translate(int key)
{
    static const struct {
        int from, to;
    } keys[] = {{KEY_UP, VIEW_KEY_UP},         {KEY_DOWN, VIEW_KEY_DOWN},
                {KEY_PPAGE, VIEW_KEY_PAGE_UP}, {KEY_NPAGE, VIEW_KEY_PAGE_DOWN},
                {'U' & 31, VIEW_KEY_HALF_UP},  {'D' & 31, VIEW_KEY_HALF_DOWN},
                {'\t', VIEW_KEY_TAB},          {'\r', VIEW_KEY_ENTER},
                {'\n', VIEW_KEY_ENTER},        {KEY_ENTER, VIEW_KEY_ENTER},
                {033, VIEW_KEY_ESCAPE},        {KEY_BACKSPACE, VIEW_KEY_BACKSPACE},
                {0177, VIEW_KEY_BACKSPACE},    {'\b', VIEW_KEY_BACKSPACE},
                {'C' & 31, VIEW_KEY_INTERRUPT}};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i].from == key)
            return keys[i].to;
    }
    return key;
}

static void on_keys(void *arg)
{
    struct screen *s = arg;
    struct pollfd fd = {.fd = fileno(s->keyboard), .events = POLLIN};
    enum view_wish wish;
    bool quits = false;
    int key;

    while ((key = getch()) != ERR && !quits) {
        wish = view_key(s->options.view, translate(key));
        quits = wish == VIEW_QUIT;
        if (wish == VIEW_VERBOSE)
            s->options.verbose(s->options.arg);
    }
    if (poll(&fd, 1, 0) > 0 && (fd.revents & (POLLHUP | POLLERR | POLLNVAL))) {
        net_watch_destroy(s->keys); /* the terminal is gone */
        s->keys = NULL;
        quits = true;
    }
    screen_changed(s);
    if (quits)
        s->options.quit(s->options.arg);
}

static void on_tick(void *arg)
{
    struct screen *s = arg;
    uint32_t before = s->options.view->in_flight;
    bool ready = s->options.view->ready;

    s->options.tick(s->options.arg);
    view_tick(s->options.view, clock_now(clock_system()));
    if (before != s->options.view->in_flight || ready != s->options.view->ready)
        screen_changed(s);
    net_timer_set(s->tick, TICK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */

bool screen_possible(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && isatty(STDERR_FILENO);
}

static void start_colours(struct screen *s)
{
    static const short colours[CELLS_STYLES] = {[CELLS_GRAY] = 8,
                                                [CELLS_RED] = COLOR_RED,
                                                [CELLS_GREEN] = COLOR_GREEN,
                                                [CELLS_YELLOW] = COLOR_YELLOW,
                                                [CELLS_MAGENTA] = COLOR_MAGENTA};

    s->colours = lines_colours(STDOUT_FILENO) && has_colors() && start_color() == OK;
    if (!s->colours)
        return;
    use_default_colors();
    for (short i = CELLS_GRAY; i <= CELLS_MAGENTA; i++) {
        if (colours[i] < COLORS)
            init_pair(i, colours[i], -1);
    }
}

/* UTF-8 is what there is to show. */
static void choose_locale(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static int open_terminal(struct screen *s, struct error *err)
{
    const char *name = ttyname(STDIN_FILENO);
    int problem;

    choose_locale();
    s->keyboard = name ? fopen(name, "re") : NULL;
    if (!s->keyboard || tcgetattr(STDIN_FILENO, &modes_before) ||
        setupterm(NULL, STDOUT_FILENO, &problem) != OK || !tigetstr("cup") ||
        tigetstr("cup") == (char *)-1)
        return error_set(err, CODE_UNAVAILABLE, "the terminal cannot be drawn on");
    s->terminal = newterm(NULL, stdout, s->keyboard);
    if (!s->terminal)
        return error_set(err, CODE_UNAVAILABLE, "the terminal cannot be drawn on");
    prepare_to_die();
    raw();
    noecho();
    nonl();
    nodelay(stdscr, TRUE);
    keypad(stdscr, TRUE);
    leaveok(stdscr, TRUE);
    set_escdelay(ESCAPE_MS);
    curs_set(0);
    start_colours(s);
    return CODE_OK;
}

static int open_events(struct screen *s, struct error *err)
{
    s->resized = net_signal_create(s->options.loop, SIGWINCH, on_resize, s);
    s->redraw = net_timer_create(s->options.loop, redraw, s);
    s->tick = net_timer_create(s->options.loop, on_tick, s);
    s->keys = net_watch_create(s->options.loop, fileno(s->keyboard), on_keys, s);
    if (!s->resized || !s->redraw || !s->tick || !s->keys)
        return error_memory(err);
    net_timer_set(s->tick, TICK_MS);
    schedule(s, 0);
    return CODE_OK;
}

int screen_open(struct screen **out, const struct screen_options *options, struct error *err)
{
    struct screen *s = calloc(1, sizeof *s);
    int code;

    if (!s)
        return error_memory(err);
    s->options = *options;
    buf_init(&s->shown, FRAME_MAX);
    buf_init(&s->next, FRAME_MAX);
    code = open_terminal(s, err);
    if (code == CODE_OK)
        code = open_events(s, err);
    if (code) {
        screen_close(s);
        return code;
    }
    *out = s;
    return CODE_OK;
}

uint64_t screen_drawn(const struct screen *s)
{
    return s->drawn;
}

void screen_close(struct screen *s)
{
    if (!s)
        return;
    net_watch_destroy(s->keys);
    net_timer_destroy(s->tick);
    net_timer_destroy(s->redraw);
    net_signal_destroy(s->resized);
    if (s->terminal) {
        endwin();
        delscreen(s->terminal);
        live_on();
    }
    if (s->keyboard)
        fclose(s->keyboard);
    buf_free(&s->shown);
    buf_free(&s->next);
    free(s);
}
