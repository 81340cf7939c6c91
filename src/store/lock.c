// SPDX-License-Identifier: Apache-2.0
/*
 * A lock file beside the store, opened once and locked as an open file description (F_OFD_SETLK):
 * unlike a classic record lock it excludes a second handle in the same process too, and is not lost
 * when some other descriptor of the file is closed. Its content, "PID NAME", is for the message to
 * whoever comes second. The file is never removed: two processes could then hold two files of one
 * name.
 */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 10, HOLDER_MAX = 96 };

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

static int held(int fd, const char *path, struct error *err)
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

static int open_lock(int *fd, const char *path, struct error *err)
{
    char *name;

    if (asprintf(&name, "%s.lock", path) < 0)
        return error_memory(err);
    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
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
            code = held(fd, path, err);
        if (code) {
            close(fd);
            return code;
        }
        nanosleep(&step, NULL);
    }
    write_holder(fd);
    *held_fd = fd;
    return CODE_OK;
}

void store_lock_release(int fd)
{
    if (fd < 0)
        return;
    (void)!ftruncate(fd, 0);
    close(fd);
}
