// SPDX-License-Identifier: Apache-2.0
/* Calls as a table, a tree, or JSON: for `dispatch ls` and `dispatch get`. */
#ifndef CLI_LIST_H
#define CLI_LIST_H

#include "cli/ask.h"
#include "cli/show.h"

/* "CALL  STATE  FUNCTION ..."; the column of the functions is `width` wide. */
void list_heading(const struct show *show, int width);
void list_line(const struct show *show, const Dispatch__V1__CallInfo *call, int width);
/* How wide a column of the functions of these calls is. */
int list_width(Dispatch__V1__CallInfo *const *calls, size_t count);

/* What a call made, and what that made, as far as it is known. */
struct list_tree {
    Dispatch__V1__CallInfo **calls; /* oldest first; in the ask's arena */
    size_t count;
    bool more; /* than there is room for */
};
#define LIST_TREE_MAX 500 /* calls; others are not looked for */

/* A code. The answers before it stay. */
int list_tree_load(struct ask *ask, const Dispatch__V1__CallInfo *top, struct list_tree *tree);
void list_tree_show(const struct show *show, const Dispatch__V1__CallInfo *top,
                    const struct list_tree *tree);
/* `"children":[...]`. */
void list_tree_json(const struct list_tree *tree, struct buf *out);

#endif
