// SPDX-License-Identifier: Apache-2.0
/*
 * Stacks, and switching between them. A fiber is a function on a stack of its own that can stop in
 * the middle (yield) and be taken up again (resume). Only these two ways exist: a fiber never
 * switches to another one, so that whoever resumes it decides what runs next.
 *
 * A fiber is resumed by one thread at a time, and should be by the one that started it, as compiled
 * code may keep the address of a thread's own variables across the switch.
 */
#ifndef SDK_FIBER_H
#define SDK_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A pool of stacks of one size. Thread-safe. */
struct sdk_stacks;

/* What a function may use, unless told otherwise. Only pages that are touched take memory. */
#define SDK_STACK_DEFAULT ((size_t)256 << 10)
#define SDK_STACK_MIN     ((size_t)16 << 10)
#define SDK_STACK_MAX     ((size_t)1 << 30)
/* With less than this left, a function should not go deeper. */
#define SDK_STACK_RED_ZONE ((size_t)8 << 10)

/* `size` is rounded up to pages and held to the limits above; 0: the default. NULL: no memory. */
struct sdk_stacks *sdk_stacks_create(size_t size);
/* All its fibers are gone. NULL is fine. */
void sdk_stacks_destroy(struct sdk_stacks *stacks);
/* How many bytes of stack a fiber has. */
size_t sdk_stacks_size(const struct sdk_stacks *stacks);

struct sdk_fiber;

/* Makes a fiber that will run fn(arg); nothing runs yet. `name` is what a report of an overflow
 * calls it; it lives as long as the fiber. CODE_RESOURCE_EXHAUSTED: no stack to be had. */
int sdk_fiber_create(struct sdk_stacks *stacks, void (*fn)(void *arg), void *arg, const char *name,
                     struct sdk_fiber **fiber, struct error *err);
/* Runs the fiber until it yields (true) or its function has returned (false). Not after that. */
bool sdk_fiber_resume(struct sdk_fiber *fiber);
/* Only in the fiber: back to whoever resumed it; returns when it is resumed again. */
void sdk_fiber_yield(struct sdk_fiber *fiber);
/* Only in the fiber, of one that yielded: unwinds its frames, so that destructors of C++ and
 * cleanups of C compiled with -fexceptions run, and ends it. */
_Noreturn void sdk_fiber_unwind(struct sdk_fiber *fiber);
/* Gives the stack back. The fiber has returned, was unwound, or never ran. NULL is fine. */
void sdk_fiber_destroy(struct sdk_fiber *fiber);
/* Only in the fiber: how many bytes are left below the caller's frame. */
size_t sdk_fiber_left(const struct sdk_fiber *fiber);
/* How many bytes of memory the stack of one that does not run takes, about: whole pages, as deep as
 * it stands. */
size_t sdk_fiber_used(const struct sdk_fiber *fiber);
/* The fiber that this thread is running; NULL: none. */
struct sdk_fiber *sdk_fiber_current(void);

/* Whether the address is in the guard page of the fiber; then also its name and the size of its
 * stack. Safe in signal handlers. */
bool sdk_fiber_guards(const struct sdk_fiber *fiber, const void *address, const char **name,
                      size_t *size);

/* From now on an overflow of a fiber's stack is reported on stderr before the process dies.
 * Installs a handler for SIGSEGV and SIGBUS that hands everything else to the handler before it. */
int sdk_overflow_report(struct error *err);
/* Makes this thread ready for that (an alternate stack, the two signals unblocked), if it is on. */
void sdk_overflow_thread(void);

#endif
