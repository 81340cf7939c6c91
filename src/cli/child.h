// SPDX-License-Identifier: Apache-2.0
/*
 * A command run as a child process: in a process group of its own, ended by SIGTERM when we die,
 * stdin ours, stdout and stderr pipes whose non-blocking reading ends the caller gets.
 */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <sys/resource.h>
#include <sys/types.h>

#include "base/error.h"

struct child {
    pid_t pid; /* and of its group */
    int out, err;
};

struct child_options {
    char *const *argv; /* [0] is searched on the PATH; ended by NULL */
    char *const *envp;
    mode_t umask;
    const struct rlimit *descriptors; /* RLIMIT_NOFILE to set, or NULL */
};

/* Returns when the command has begun to run, or says why it could not: CODE_NOT_FOUND,
 * CODE_PERMISSION_DENIED, CODE_UNAVAILABLE. */
int child_start(struct child *child, const struct child_options *options, struct error *err);

/*
 * The environment without the variables named in `unset` (ended by NULL), and with those of `set`
 * ("NAME=VALUE", ended by NULL) instead of any of these names. An array to be freed; its strings
 * are those given. NULL: no memory.
 */
char **child_environment(char *const *environment, const char *const *unset,
                         const char *const *set);

#endif
