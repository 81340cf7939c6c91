// SPDX-License-Identifier: Apache-2.0
#include "server/first_key.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct making {
    struct credentials *credentials;
    struct credential key;
    void (*done)(void *arg, const struct error *error);
    void *arg;
};

bool first_key_wanted(const struct credentials *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->list[i].kind == CREDENTIAL_API_KEY)
            return false;
    }
    return c->loaded;
}

/* Renamed to its place when it is whole; others never see it, as mkostemp makes it 0600. */
static int write_secret(const char *path, const char *secret, struct error *err)
{
    char beside[PATH_MAX], line[CREDENTIALS_SECRET + 1];
    int fd = -1, len = snprintf(line, sizeof line, "%s\n", secret);
    bool written;

    if (snprintf(beside, sizeof beside, "%s.XXXXXX", path) < (int)sizeof beside)
        fd = mkostemp(beside, O_CLOEXEC);
    else
        errno = ENAMETOOLONG;
    if (fd >= 0) {
        written = write(fd, line, (size_t)len) == len && fsync(fd) == 0;
        written = close(fd) == 0 && written && rename(beside, path) == 0;
        sodium_memzero(line, sizeof line);
        if (written)
            return CODE_OK;
        error_set(err, CODE_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
        unlink(beside);
        return CODE_UNAVAILABLE;
    }
    sodium_memzero(line, sizeof line);
    return error_set(err, CODE_UNAVAILABLE, "cannot write beside %s: %s", path, strerror(errno));
}

static void end(struct making *making, const struct error *error)
{
    making->done(making->arg, error);
    sodium_memzero(making, sizeof *making);
    free(making);
}

static void committed(void *arg, const struct error *error)
{
    struct making *making = arg;
    struct error err;

    if (!error && !credentials_add(making->credentials, &making->key)) {
        error_memory(&err);
        error = &err;
    }
    end(making, error);
}

void first_key_make(struct credentials *c, struct orchestrator *o, const char *path,
                    void (*done)(void *arg, const struct error *error), void *arg)
{
    struct making *making = calloc(1, sizeof *making);
    char secret[CREDENTIALS_SECRET];
    struct error err;
    int code;

    if (!making) {
        error_memory(&err);
        done(arg, &err);
        return;
    }
    *making = (struct making){.credentials = c, .done = done, .arg = arg};
    code = credentials_new_api_key(c, ORG_DEFAULT, "first", &making->key, secret, &err);
    if (code == CODE_OK)
        code = write_secret(path, secret, &err);
    sodium_memzero(secret, sizeof secret);
    if (code == CODE_OK)
        code = credential_put(o, &making->key, committed, making, &err);
    if (code)
        end(making, &err);
}
