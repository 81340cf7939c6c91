// SPDX-License-Identifier: Apache-2.0
/*
 * Fibers. A stack is one mapping: a guard page that nobody may touch at its low end, then the
 * stack, and at its high end the struct sdk_fiber that describes it, so that a fiber costs no
 * allocation once its stack is pooled. Pages are touched lazily: a stack of 256 KiB of which a
 * function uses two pages takes two.
 *
 * The switch itself is Boost.Context's, in assembler: it saves the registers that a call must keep
 * and swaps the stack pointer, without a system call. Around it the sanitizers and valgrind are
 * told what happens, as to them a stack pointer that moves that far is an error.
 */
#include "sdk/fiber.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(start, end) 0u
#define VALGRIND_STACK_DEREGISTER(id)       ((void)(id))
#endif

/* Boost.Context's entry points (its C++ header declares them inside a namespace, with C linkage).
 */
struct transfer {
    void *context, *data;
};
struct transfer jump_fcontext(void *const to, void *data);
void *make_fcontext(void *top, size_t size, void (*fn)(struct transfer from));

/* A frame of an instrumented build is several times as large. */
#if defined(WITH_ASAN) || defined(WITH_TSAN)
enum { STACK_FACTOR = 4 };
#else
enum { STACK_FACTOR = 1 };
#endif

enum { FREE_MAX = 256 };

struct sdk_stacks {
    pthread_mutex_t lock;
    struct sdk_fiber *free;
    unsigned free_count;
    size_t page, size; /* size: of the mapping behind the guard page */
};

struct sdk_fiber {
    struct sdk_stacks *stacks;
    struct sdk_fiber *next; /* in the pool */
    char *low;              /* the lowest byte of the stack, above the guard page */
    unsigned valgrind_id;
    void *context, *caller;  /* where it, and whoever resumed it, stand */
    struct sdk_fiber *outer; /* what the thread ran before it was resumed */
    void (*fn)(void *arg);
    void *arg;
    const char *name;
    bool finished;
    struct _Unwind_Exception unwinding;
    char *base; /* frames above it are not the function's */
#ifdef WITH_ASAN
    void *fake, *caller_fake;
    const void *caller_low;
    size_t caller_size;
#endif
#ifdef WITH_TSAN
    void *tsan, *caller_tsan;
#endif
};

/* Initial-exec: the report of an overflow reads it in a signal handler. */
static _Thread_local struct sdk_fiber *current __attribute__((tls_model("initial-exec")));

/* --- the pool of stacks ---------------------------------------------------------------------- */

struct sdk_stacks *sdk_stacks_create(size_t size)
{
    struct sdk_stacks *stacks = calloc(1, sizeof *stacks);

    if (!stacks)
        return NULL;
    if (size == 0)
        size = SDK_STACK_DEFAULT;
    if (size < SDK_STACK_MIN)
        size = SDK_STACK_MIN;
    if (size > SDK_STACK_MAX)
        size = SDK_STACK_MAX;
    size *= STACK_FACTOR;
    stacks->page = (size_t)sysconf(_SC_PAGESIZE);
    size += sizeof(struct sdk_fiber);
    stacks->size = (size + stacks->page - 1) / stacks->page * stacks->page;
    pthread_mutex_init(&stacks->lock, NULL);
    return stacks;
}

size_t sdk_stacks_size(const struct sdk_stacks *stacks)
{
    return stacks->size - sizeof(struct sdk_fiber);
}

static void unmap(struct sdk_fiber *fiber)
{
    struct sdk_stacks *stacks = fiber->stacks;

    VALGRIND_STACK_DEREGISTER(fiber->valgrind_id);
    munmap(fiber->low - stacks->page, stacks->page + stacks->size);
}

void sdk_stacks_destroy(struct sdk_stacks *stacks)
{
    struct sdk_fiber *fiber, *next;

    if (!stacks)
        return;
    for (fiber = stacks->free; fiber; fiber = next) {
        next = fiber->next;
        unmap(fiber);
    }
    pthread_mutex_destroy(&stacks->lock);
    free(stacks);
}

static struct sdk_fiber *map_stack(struct sdk_stacks *stacks, struct error *err)
{
    size_t whole = stacks->page + stacks->size;
    struct sdk_fiber *fiber;
    char *low = mmap(NULL, whole, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (low != MAP_FAILED && mprotect(low, stacks->page, PROT_NONE)) {
        munmap(low, whole);
        low = MAP_FAILED;
    }
    if (low == MAP_FAILED) {
        error_set(err, CODE_RESOURCE_EXHAUSTED,
                  "no memory for a stack of %zu bytes (or too many mappings: vm.max_map_count)",
                  stacks->size);
        return NULL;
    }
    low += stacks->page;
    /* Aligned, as the size of the struct is a multiple of its alignment and the end is a page's. */
    fiber = (struct sdk_fiber *)(void *)(low + stacks->size - sizeof *fiber);
    fiber->stacks = stacks;
    fiber->low = low;
    fiber->valgrind_id = (unsigned)VALGRIND_STACK_REGISTER(low, (char *)fiber);
    return fiber;
}

static struct sdk_fiber *take(struct sdk_stacks *stacks, struct error *err)
{
    struct sdk_fiber *fiber;

    pthread_mutex_lock(&stacks->lock);
    fiber = stacks->free;
    if (fiber) {
        stacks->free = fiber->next;
        stacks->free_count--;
    }
    pthread_mutex_unlock(&stacks->lock);
    return fiber ? fiber : map_stack(stacks, err);
}

static void give_back(struct sdk_fiber *fiber)
{
    struct sdk_stacks *stacks = fiber->stacks;
    bool kept;

    pthread_mutex_lock(&stacks->lock);
    kept = stacks->free_count < FREE_MAX;
    if (kept) {
        fiber->next = stacks->free;
        stacks->free = fiber;
        stacks->free_count++;
    }
    pthread_mutex_unlock(&stacks->lock);
    if (!kept)
        unmap(fiber);
}

/* --- switching ------------------------------------------------------------------------------- */

static void switch_away(struct sdk_fiber *fiber)
{
    struct transfer back;

#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(fiber->finished ? NULL : &fiber->fake, fiber->caller_low,
                                   fiber->caller_size);
#endif
#ifdef WITH_TSAN
    __tsan_switch_to_fiber(fiber->caller_tsan, 0);
#endif
    back = jump_fcontext(fiber->caller, NULL);
    fiber->caller = back.context;
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake, &fiber->caller_low, &fiber->caller_size);
#endif
}

_Noreturn static void finish(struct sdk_fiber *fiber)
{
    fiber->finished = true;
    switch_away(fiber);
    abort(); /* a finished fiber is not resumed */
}

_Noreturn static void entry(struct transfer from)
{
    struct sdk_fiber *fiber = from.data;

    fiber->caller = from.context;
    fiber->base = __builtin_frame_address(0);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(NULL, &fiber->caller_low, &fiber->caller_size);
#endif
    fiber->fn(fiber->arg);
    finish(fiber);
}

int sdk_fiber_create(struct sdk_stacks *stacks, void (*fn)(void *arg), void *arg, const char *name,
                     struct sdk_fiber **made, struct error *err)
{
    struct sdk_fiber *fiber = take(stacks, err);

    if (!fiber)
        return CODE_RESOURCE_EXHAUSTED;
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->name = name;
    fiber->finished = false;
    fiber->context = make_fcontext(fiber, (size_t)((char *)fiber - fiber->low), entry);
#ifdef WITH_ASAN
    fiber->fake = NULL;
#endif
#ifdef WITH_TSAN
    fiber->tsan = __tsan_create_fiber(0);
#endif
    *made = fiber;
    return 0;
}

bool sdk_fiber_resume(struct sdk_fiber *fiber)
{
    struct transfer back;

    assert(!fiber->finished);
    fiber->outer = current;
    current = fiber;
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&fiber->caller_fake, fiber->low,
                                   (size_t)((char *)fiber - fiber->low));
#endif
#ifdef WITH_TSAN
    fiber->caller_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber->tsan, 0);
#endif
    back = jump_fcontext(fiber->context, fiber);
    fiber->context = back.context;
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(fiber->caller_fake, NULL, NULL);
#endif
    current = fiber->outer;
    return !fiber->finished;
}

void sdk_fiber_yield(struct sdk_fiber *fiber)
{
    assert(current == fiber);
    switch_away(fiber);
}

void sdk_fiber_destroy(struct sdk_fiber *fiber)
{
    if (!fiber)
        return;
#ifdef WITH_TSAN
    __tsan_destroy_fiber(fiber->tsan);
#endif
#ifdef WITH_ASAN
    /* The frames that were left without returning left their marks. */
    __asan_unpoison_memory_region(fiber->low, (size_t)((char *)fiber - fiber->low));
#endif
    give_back(fiber);
}

struct sdk_fiber *sdk_fiber_current(void)
{
    return current;
}

size_t sdk_fiber_used(const struct sdk_fiber *fiber)
{
    const struct sdk_stacks *stacks = fiber->stacks;
    size_t used = (size_t)(fiber->low + stacks->size - (const char *)fiber->context);

    return (used + stacks->page - 1) / stacks->page * stacks->page;
}

size_t sdk_fiber_left(const struct sdk_fiber *fiber)
{
    const char *here = __builtin_frame_address(0);

    return here > fiber->low ? (size_t)(here - fiber->low) : 0;
}

bool sdk_fiber_guards(const struct sdk_fiber *fiber, const void *address, const char **name,
                      size_t *size)
{
    const char *at = address;

    if (at >= fiber->low || at < fiber->low - fiber->stacks->page)
        return false;
    *name = fiber->name;
    *size = (size_t)((const char *)fiber - fiber->low);
    return true;
}

/* --- unwinding ------------------------------------------------------------------------------- */

/* Called for every frame, from the inside out; the function's frames end at `base`. */
static _Unwind_Reason_Code stop_at_base(int version, _Unwind_Action actions,
                                        _Unwind_Exception_Class kind,
                                        struct _Unwind_Exception *exception,
                                        struct _Unwind_Context *context, void *arg)
{
    struct sdk_fiber *fiber = arg;

    (void)version;
    (void)kind;
    (void)exception;
    if ((actions & _UA_END_OF_STACK) || (char *)_Unwind_GetCFA(context) >= fiber->base)
        finish(fiber);
    return _URC_NO_REASON;
}

/* A catch (...) that does not throw on: the frames inside it are gone, those outside wait for a
 * result that will not come. */
static void not_rethrown(_Unwind_Reason_Code reason, struct _Unwind_Exception *exception)
{
    static const char text[] = "dispatch: a suspended function was dropped, and a catch (...) in "
                               "it did not throw on\n";

    (void)reason;
    (void)exception;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        abort();
    abort();
}

_Noreturn void sdk_fiber_unwind(struct sdk_fiber *fiber)
{
    assert(current == fiber);
    fiber->unwinding = (struct _Unwind_Exception){.exception_cleanup = not_rethrown};
    _Unwind_ForcedUnwind(&fiber->unwinding, stop_at_base, fiber);
    finish(fiber); /* frames without unwind tables: nothing to run in them */
}
