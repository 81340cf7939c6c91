// SPDX-License-Identifier: Apache-2.0
/* Intrusive circular doubly linked list. A node that is in no list points at itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Safe against removal of `it` itself. */
#define LIST_FOR_EACH(it, tmp, head)                                                               \
    for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = it->next)

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert_after(struct list *pos, struct list *node)
{
    node->next = pos->next;
    node->prev = pos;
    pos->next->prev = node;
    pos->next = node;
}

static inline void list_push(struct list *head, struct list *node) /* at the front */
{
    list_insert_after(head, node);
}

static inline void list_append(struct list *head, struct list *node) /* at the end */
{
    list_insert_after(head->prev, node);
}

static inline void list_remove(struct list *node) /* harmless if it is in no list */
{
    node->next->prev = node->prev;
    node->prev->next = node->next;
    list_init(node);
}

/* The first node, removed; NULL if there is none. */
static inline struct list *list_pop(struct list *head)
{
    struct list *node = head->next;

    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

#endif
