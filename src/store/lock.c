// SPDX-License-Identifier: Apache-2.0
/*
 * A lock file beside the store, opened once and locked as an open file description (F_OFD_SETLK):
 * unlike a classic record lock it excludes a second handle in the same process too, and is not lost
 * when some other descriptor of the file is closed. Its content, "PID NAME", is for the message to
 * whoever comes second. The file is never removed: two processes could then hold two files of one
 * name.
 *
 * A fork shares the open file description, and would keep the lock when its parent has died. So the
 * descriptors of this process are in a list, and the child's copies are closed by the fork.
 */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 10, HOLDER_MAX = 96 };

/* --- this process's locks -------------------------------------------------------------------- */

struct held {
    struct held *next;
    int fd;
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct held *all; /* under all_lock */

static void before_fork(void)
{
    pthread_mutex_lock(&all_lock);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&all_lock);
}

/* The nodes stay: a child of threads that were in malloc had better not free. */
static void in_child(void)
{
    for (struct held *held = all; held; held = held->next)
        close(held->fd);
    all = NULL;
    pthread_mutex_unlock(&all_lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, in_parent, in_child);
}

/* Takes over the descriptor of a lock; false: no memory. */
static bool note(int fd)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct held *held = malloc(sizeof *held);

    if (!held)
        return false;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&all_lock);
    *held = (struct held){all, fd};
    all = held;
    pthread_mutex_unlock(&all_lock);
    return true;
}

/* --- who holds one --------------------------------------------------------------------------- */

static bool is_word(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz-");

    return len > 0 && len <= 16 && text[0] != '-' && !text[len];
}

/* The program's name as people typed it: "dispatch server", with the second word only if it looks
 * like a command (arguments may be secret). */
static void program_name(char *name, size_t size)
{
    char line[512] = {0}, *command, *base;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, line, sizeof line - 2);

    if (fd >= 0)
        close(fd);
    if (got <= 0 || !line[0]) {
        snprintf(name, size, "unknown program");
        return;
    }
    command = line + strlen(line) + 1;
    base = strrchr(line, '/');
    base = base ? base + 1 : line;
    snprintf(name, size, "%.40s%s%s", base, is_word(command) ? " " : "",
             is_word(command) ? command : "");
}

/* Best effort: the lock holds without its label. */
static void write_holder(int fd)
{
    char name[64], text[HOLDER_MAX];
    int len;

    program_name(name, sizeof name);
    len = snprintf(text, sizeof text, "%ld %s\n", (long)getpid(), name);
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) != len)
        (void)!ftruncate(fd, 0);
}

static int refuse(int fd, const char *path, struct error *err)
{
    char text[HOLDER_MAX] = {0}, *name = text;
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    long pid = got > 0 ? strtol(text, &name, 10) : 0;

    if (pid <= 0)
        return error_set(err, CODE_UNAVAILABLE,
                         "%s is held by another process; stop it or use another file", path);
    if (pid == (long)getpid())
        return error_set(err, CODE_UNAVAILABLE, "%s is already open in this process", path);
    name += strspn(name, " ");
    name[strcspn(name, "\n")] = '\0';
    return error_set(err, CODE_UNAVAILABLE,
                     "%s is held by process %ld (%s); stop it or use another file", path, pid,
                     name);
}

/* --- taking and releasing -------------------------------------------------------------------- */

static int open_lock(int *fd, const char *path, struct error *err)
{
    char *name;

    if (asprintf(&name, "%s.lock", path) < 0)
        return error_memory(err);
    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(name);
    if (*fd >= 0)
        return CODE_OK;
    return error_set(err, errno == EACCES ? CODE_PERMISSION_DENIED : CODE_UNAVAILABLE,
                     "cannot open %s.lock: %s", path, strerror(errno));
}

int store_lock_take(int *held_fd, const char *path, uint32_t wait_ms, struct error *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = -1, code = open_lock(&fd, path, err);

    if (code)
        return code;
    /* Steps, because a wait inside F_OFD_SETLKW can be bounded only by a signal, and signals are
     * the application's. */
    for (uint32_t waited_ms = 0; fcntl(fd, F_OFD_SETLK, &whole); waited_ms += STEP_MS) {
        struct timespec step = {.tv_nsec = STEP_MS * 1000000L};

        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            code =
                error_set(err, CODE_UNAVAILABLE, "cannot lock %s.lock: %s", path, strerror(errno));
        else if (waited_ms >= wait_ms)
            code = refuse(fd, path, err);
        if (code) {
            close(fd);
            return code;
        }
        nanosleep(&step, NULL);
    }
    if (!note(fd)) {
        close(fd);
        return error_memory(err);
    }
    write_holder(fd);
    *held_fd = fd;
    return CODE_OK;
}

void store_lock_release(int fd)
{
    struct held **link = &all, *mine;

    if (fd < 0)
        return;
    pthread_mutex_lock(&all_lock);
    while (*link && (*link)->fd != fd)
        link = &(*link)->next;
    mine = *link;
    if (mine) { /* else a fork has closed it */
        *link = mine->next;
        (void)!ftruncate(fd, 0);
        close(fd);
    }
    pthread_mutex_unlock(&all_lock);
    free(mine);
}
