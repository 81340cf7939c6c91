// SPDX-License-Identifier: Apache-2.0
/*
 * The report of a stack overflow, for those who ask for it: the library takes no signals by itself.
 *
 * A function that runs off its stack touches the guard page below it, and the process dies. The
 * handler, on a stack of its own, sees whether the address that faulted lies in the guard page of
 * the fiber that the thread was running, says so with write(2), and lets the fault happen again
 * with the handler that was there before, so that core dumps and other reporters work as ever.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sdk/fiber.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the installation */
static atomic_bool installed;
static struct sigaction before_segv, before_bus;
static pthread_key_t alternate; /* this thread's alternate stack, freed when it ends */

static void say(const char *text)
{
    size_t size = strlen(text);

    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, text, size);

        if (written <= 0)
            return;
        text += written;
        size -= (size_t)written;
    }
}

static void say_number(size_t number)
{
    char digits[24], *at = digits + sizeof digits - 1;

    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    say(at);
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    const struct sdk_fiber *fiber = sdk_fiber_current();
    int error = errno;
    const char *name = NULL;
    size_t size = 0;

    (void)context;
    if (fiber && sdk_fiber_guards(fiber, info->si_addr, &name, &size)) {
        say("dispatch: stack overflow in function '");
        say(name);
        say("': it used all of its ");
        say_number(size);
        say(" bytes. Recurse less, put large arrays into dispatch_alloc, or give functions a "
            "larger "
            "stack (stack_size of the endpoint's options)\n");
    }
    /* The instruction is tried again on return, and its fault then goes where it went before. */
    sigaction(signal_number, signal_number == SIGSEGV ? &before_segv : &before_bus, NULL);
    errno = error;
}

static void free_alternate(void *memory)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    sigaltstack(&none, NULL);
    free(memory);
}

int sdk_overflow_report(struct error *err)
{
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    int rc = 0;

    pthread_mutex_lock(&lock);
    if (!atomic_load(&installed)) {
        sigemptyset(&action.sa_mask);
        rc = pthread_key_create(&alternate, free_alternate);
        if (!rc &&
            (sigaction(SIGSEGV, &action, &before_segv) || sigaction(SIGBUS, &action, &before_bus)))
            rc = errno;
        if (!rc)
            atomic_store(&installed, true);
    }
    pthread_mutex_unlock(&lock);
    return rc ? error_set(err, CODE_INTERNAL, "cannot handle SIGSEGV: %s", strerrordesc_np(rc)) : 0;
}

void sdk_overflow_thread(void)
{
    stack_t stack = {.ss_size = (size_t)SIGSTKSZ}, now;
    sigset_t faults;

    if (!atomic_load(&installed) || pthread_getspecific(alternate))
        return;
    sigemptyset(&faults);
    sigaddset(&faults, SIGSEGV);
    sigaddset(&faults, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
    if (sigaltstack(NULL, &now) || !(now.ss_flags & SS_DISABLE))
        return; /* somebody's, a sanitizer's: it serves as well */
    stack.ss_sp = malloc(stack.ss_size);
    if (!stack.ss_sp)
        return; /* no report, then */
    if (pthread_setspecific(alternate, stack.ss_sp) || sigaltstack(&stack, NULL))
        free(stack.ss_sp);
}
