// SPDX-License-Identifier: Apache-2.0
/*
 * Fork and exec. Between the two there are other threads' locks that nobody will ever open, so the
 * child only makes system calls. If exec fails, its errno comes back through a pipe that exec would
 * have closed.
 */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUT, ERR, WHY, PIPES };

static void close_all(int pipes[PIPES][2])
{
    for (int i = 0; i < PIPES; i++) {
        for (int end = 0; end < 2; end++) {
            if (pipes[i][end] >= 0)
                close(pipes[i][end]);
        }
    }
}

static _Noreturn void become(const struct child_options *options, int pipes[PIPES][2], pid_t parent)
{
    int why;

    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    umask(options->umask);
    if (options->descriptors)
        setrlimit(RLIMIT_NOFILE, options->descriptors);
    /* Whoever died before this took effect will not tell. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent &&
        dup2(pipes[OUT][1], STDOUT_FILENO) >= 0 && dup2(pipes[ERR][1], STDERR_FILENO) >= 0)
        execvpe(options->argv[0], options->argv, options->envp);
    why = errno;
    if (write(pipes[WHY][1], &why, sizeof why) < 0)
        _exit(126);
    _exit(127);
}

static int start_error(int why, struct error *err)
{
    if (why == ENOENT)
        return error_set(err, CODE_NOT_FOUND,
                         "there is no such program: is it on the PATH? A program in this directory "
                         "is run as ./NAME");
    return error_set(err, why == EACCES ? CODE_PERMISSION_DENIED : CODE_UNAVAILABLE, "%s",
                     strerror(why));
}

int child_start(struct child *child, const struct child_options *options, struct error *err)
{
    int pipes[PIPES][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, why = 0;
    pid_t parent = getpid(), pid = -1;
    bool made = true;
    ssize_t n = 0;

    for (int i = 0; i < PIPES; i++)
        made = made && pipe2(pipes[i], O_CLOEXEC) == 0;
    if (made)
        pid = fork();
    if (pid == 0)
        become(options, pipes, parent);
    if (pid < 0) {
        error_set(err, CODE_UNAVAILABLE, "%s", strerror(errno));
        close_all(pipes);
        return CODE_UNAVAILABLE;
    }
    setpgid(pid, pid); /* so that it is done whoever of the two comes first */
    close(pipes[WHY][1]);
    pipes[WHY][1] = -1;
    while ((n = read(pipes[WHY][0], &why, sizeof why)) < 0 && errno == EINTR)
        ;
    if (n > 0) {
        waitpid(pid, NULL, 0);
        close_all(pipes);
        return start_error(why, err);
    }
    *child = (struct child){.pid = pid, .out = pipes[OUT][0], .err = pipes[ERR][0]};
    pipes[OUT][0] = pipes[ERR][0] = -1;
    close_all(pipes);
    fcntl(child->out, F_SETFL, O_NONBLOCK);
    fcntl(child->err, F_SETFL, O_NONBLOCK);
    return CODE_OK;
}

/* --- the environment ------------------------------------------------------------------------- */

static bool is_variable(const char *entry, const char *name)
{
    size_t len = strcspn(name, "=");

    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

static bool is_any(const char *entry, const char *const *names)
{
    for (; *names; names++) {
        if (is_variable(entry, *names))
            return true;
    }
    return false;
}

char **child_environment(char *const *environment, const char *const *unset, const char *const *set)
{
    size_t count = 0, n = 0;
    char **made;

    for (char *const *e = environment; *e; e++)
        count++;
    for (const char *const *s = set; *s; s++)
        count++;
    made = calloc(count + 1, sizeof *made);
    if (!made)
        return NULL;
    for (char *const *e = environment; *e; e++) {
        if (!is_any(*e, unset) && !is_any(*e, set))
            made[n++] = *e;
    }
    for (const char *const *s = set; *s; s++)
        made[n++] = (char *)(uintptr_t)*s;
    return made;
}
