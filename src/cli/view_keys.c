// SPDX-License-Identifier: Apache-2.0
/* What keys do: tabs, scrolling, the number of a call. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/view.h"

static struct view_scroll *scroll_of(struct view *v)
{
    return &v->scroll[v->tab];
}

/* Scrolling ends the stay at the end. */
static void scroll_by(struct view *v, int lines)
{
    struct view_scroll *s = scroll_of(v);
    int last = s->total > s->height ? s->total - s->height : 0;

    s->tail = false;
    s->top += lines;
    s->top = s->top > last ? last : s->top < 0 ? 0 : s->top;
}

static void go_to(struct view *v, enum view_tab tab)
{
    v->tab = tab;
    v->selecting = false;
    if (tab != VIEW_DETAIL)
        scroll_of(v)->tail = true;
}

static void next_tab(struct view *v)
{
    if (v->tab == VIEW_FUNCTIONS)
        go_to(v, VIEW_LOGS);
    else if (v->tab == VIEW_LOGS && v->selected)
        go_to(v, VIEW_DETAIL);
    else
        go_to(v, VIEW_FUNCTIONS);
}

/* --- selecting -------------------------------------------------------------------------------- */

static struct view_call *numbered(const struct view *v, uint32_t number)
{
    for (struct list *node = v->roots.next; node != &v->roots; node = node->next) {
        struct view_call *root = LIST_ENTRY(node, struct view_call, link);

        for (struct view_call *c = root; c; c = view_next(c, root)) {
            if (c->number == number)
                return c;
        }
    }
    return NULL;
}

static void open_picked(struct view *v)
{
    unsigned long number = strtoul(v->digits, NULL, 10);
    struct view_call *c = number && number <= v->numbered ? numbered(v, (uint32_t)number) : NULL;

    if (!c)
        return;
    v->selected = c;
    go_to(v, VIEW_DETAIL);
    *scroll_of(v) = (struct view_scroll){0};
}

/* False: it is no key of this mode. */
static bool select_key(struct view *v, int key)
{
    size_t len = strlen(v->digits);

    if (key >= '0' && key <= '9') {
        if (len + 1 < sizeof v->digits) {
            v->digits[len] = (char)key;
            v->digits[len + 1] = '\0';
        }
    } else if (key == VIEW_KEY_BACKSPACE) {
        v->digits[len - (len > 0)] = '\0';
    } else if (key == VIEW_KEY_ENTER) {
        open_picked(v);
    } else if (key == VIEW_KEY_ESCAPE || key == VIEW_KEY_TAB) {
        v->selecting = false;
    } else {
        return false;
    }
    return true;
}

static void begin_to_select(struct view *v)
{
    if (v->tab != VIEW_FUNCTIONS || v->total == 0)
        return;
    v->selecting = true;
    v->digits[0] = '\0';
}

/* --- all of them ------------------------------------------------------------------------------ */

/* Lines down; 0: the key does not scroll. */
static int lines_of(struct view *v, int key)
{
    int height = scroll_of(v)->height > 1 ? scroll_of(v)->height : 2;

    switch (key) {
    case VIEW_KEY_UP:
    case 'k':
        return -1;
    case VIEW_KEY_DOWN:
    case 'j':
        return 1;
    case VIEW_KEY_PAGE_UP:
        return -height;
    case VIEW_KEY_PAGE_DOWN:
        return height;
    case VIEW_KEY_HALF_UP:
        return -height / 2;
    case VIEW_KEY_HALF_DOWN:
        return height / 2;
    default:
        return 0;
    }
}

enum view_wish view_key(struct view *v, int key)
{
    int lines = lines_of(v, key);

    if (key == VIEW_KEY_INTERRUPT)
        return VIEW_QUIT;
    if (v->selecting && select_key(v, key))
        return VIEW_GO_ON;
    if (lines) {
        scroll_by(v, lines);
        return VIEW_GO_ON;
    }
    switch (key) {
    case 'q':
        return VIEW_QUIT;
    case VIEW_KEY_ESCAPE:
        if (v->tab != VIEW_DETAIL)
            return VIEW_QUIT;
        go_to(v, VIEW_FUNCTIONS);
        return VIEW_GO_ON;
    case VIEW_KEY_TAB:
        next_tab(v);
        return VIEW_GO_ON;
    case 't':
        scroll_of(v)->tail = true;
        return VIEW_GO_ON;
    case 's':
        begin_to_select(v);
        return VIEW_GO_ON;
    case 'v':
        return VIEW_VERBOSE;
    default:
        return VIEW_GO_ON;
    }
}
