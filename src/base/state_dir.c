// SPDX-License-Identifier: Apache-2.0
/* The XDG base directory rules, as far as they are about state. */
#include "base/state_dir.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int state_dir_make(char *path, struct error *err)
{
    for (char *p = path + 1;; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0700) && errno != EEXIST)
            return error_set(err, CODE_UNAVAILABLE, "cannot make the directory %s: %s", path,
                             strerror(errno));
        *p = c;
        if (c == '\0')
            return CODE_OK;
    }
}

int state_dir_store(char *url, size_t size, const char *name, struct error *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char path[PATH_MAX], *slash;
    int len, code;

    if (state && state[0] == '/') /* a relative one is to be ignored */
        len = snprintf(path, sizeof path, "%s/dispatch/%s", state, name);
    else if (home && home[0] == '/')
        len = snprintf(path, sizeof path, "%s/.local/state/dispatch/%s", home, name);
    else
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "neither XDG_STATE_HOME nor HOME says where to keep the store: name one, "
                         "sqlite:PATH");
    if (len >= (int)sizeof path || (size_t)len + sizeof "sqlite:" > size)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "the path of the state directory is too long: name a store, sqlite:PATH");
    slash = strrchr(path, '/');
    *slash = '\0';
    code = state_dir_make(path, err);
    *slash = '/';
    if (code == CODE_OK)
        snprintf(url, size, "sqlite:%s", path);
    return code;
}
