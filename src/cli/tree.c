// SPDX-License-Identifier: Apache-2.0
/*
 * The tree below a call. Its calls are younger than it is, so they are looked for from there on,
 * the oldest first, in so many pages; a tree that is larger is shown in part, and said to be.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/list.h"

enum { PAGES_MAX = 10, DEPTH_MAX = 32, PREFIX_MAX = 1024 };

/* Whether the call is below `top`: its parent is, or is `top`; parents come first. */
static bool belongs(const struct list_tree *tree, const Dispatch__V1__CallInfo *top,
                    const Dispatch__V1__CallInfo *call)
{
    if (strcmp(call->parent_dispatch_id, top->dispatch_id) == 0)
        return true;
    for (size_t i = 0; i < tree->count; i++) {
        if (strcmp(call->parent_dispatch_id, tree->calls[i]->dispatch_id) == 0)
            return true;
    }
    return false;
}

static int load_page(struct ask *ask, Dispatch__V1__ListRequest *request,
                     const Dispatch__V1__CallInfo *top, struct list_tree *tree)
{
    Dispatch__V1__ListResponse *page;
    int code = ask_calls(ask, "List", request, &dispatch__v1__list_response__descriptor, &page);

    if (code)
        return code;
    for (size_t i = 0; i < page->n_calls; i++) {
        if (!belongs(tree, top, page->calls[i]))
            continue;
        if (tree->count == LIST_TREE_MAX) {
            tree->more = true;
            break;
        }
        ask_correct(ask, page->calls[i]);
        tree->calls[tree->count++] = page->calls[i];
    }
    request->page_token = page->next_page_token;
    return CODE_OK;
}

int list_tree_load(struct ask *ask, const Dispatch__V1__CallInfo *top, struct list_tree *tree)
{
    Dispatch__V1__ListRequest request = DISPATCH__V1__LIST_REQUEST__INIT;

    *tree = (struct list_tree){0};
    tree->calls = arena_zalloc(&ask->arena, LIST_TREE_MAX, sizeof *tree->calls);
    if (!tree->calls)
        return error_memory(&ask->err);
    request.root_dispatch_id = top->root_dispatch_id;
    request.created_since = top->creation_time;
    request.oldest_first = true;
    request.limit = 1000;
    for (int pages = 0; !tree->more; pages++) {
        int code = load_page(ask, &request, top, tree);

        if (code || !*request.page_token)
            return code;
        if (pages + 1 == PAGES_MAX)
            tree->more = true;
    }
    return CODE_OK;
}

/* The next child of `parent` from `at` on; count: there is none. */
static size_t child_of(const struct list_tree *tree, const char *parent, size_t at)
{
    while (at < tree->count && strcmp(tree->calls[at]->parent_dispatch_id, parent) != 0)
        at++;
    return at;
}

/* What is below `parent`, each line behind `prefix`, which is lengthened for what is below that. */
static void show_below(const struct show *show, const struct list_tree *tree, const char *parent,
                       struct buf *prefix, int depth, int width)
{
    size_t at = child_of(tree, parent, 0);
    size_t len = prefix->len;

    while (at < tree->count) {
        const Dispatch__V1__CallInfo *call = tree->calls[at];
        bool last = (at = child_of(tree, parent, at + 1)) == tree->count;

        buf_printf(show->out, "%s%s ", buf_cstr(prefix), last ? "└─" : "├─");
        list_line(show, call, width);
        buf_append_str(prefix, last ? "   " : "│  ");
        if (depth + 1 < DEPTH_MAX)
            show_below(show, tree, call->dispatch_id, prefix, depth + 1, width);
        else if (child_of(tree, call->dispatch_id, 0) < tree->count)
            buf_printf(show->out, "%s...\n", buf_cstr(prefix));
        prefix->len = len;
    }
}

void list_tree_show(const struct show *show, const Dispatch__V1__CallInfo *top,
                    const struct list_tree *tree)
{
    struct buf prefix;

    if (tree->count == 0 && !tree->more)
        return;
    buf_init(&prefix, PREFIX_MAX);
    show_heading(show, "calls below");
    show_below(show, tree, top->dispatch_id, &prefix, 0, list_width(tree->calls, tree->count));
    buf_free(&prefix);
    if (tree->more)
        buf_printf(show->out, "There may be more: dispatch ls --root %s\n", top->root_dispatch_id);
}

void list_tree_json(const struct list_tree *tree, struct buf *out)
{
    buf_append_str(out, "\"children\":[");
    for (size_t i = 0; i < tree->count; i++) {
        buf_append_str(out, i ? "," : "");
        wire_to_json(tree->calls[i], out);
    }
    buf_append_str(out, "]");
    if (tree->more)
        buf_append_str(out, ",\"moreChildren\":true");
}
