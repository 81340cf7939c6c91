// SPDX-License-Identifier: Apache-2.0
/* Lines that work when they are pasted into a shell, wherever it stands. */
#include "cli/server_welcome.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/notice.h"

/* Where a build has what links with its library (docs/install.md); not there once it is installed.
 */
#define UNINSTALLED "meson-uninstalled"

/* Is it the one that a shell finds by its name? */
static bool is_on_path(const char *program)
{
    const char *path = getenv("PATH");
    char candidate[PATH_MAX], real[PATH_MAX];

    while (path && *path) {
        size_t len = strcspn(path, ":");
        int n = snprintf(candidate, sizeof candidate, "%.*s/dispatch", (int)len, path);

        if (n < (int)sizeof candidate && access(candidate, X_OK) == 0) /* the first one counts */
            return realpath(candidate, real) && strcmp(real, program) == 0;
        path += len + (path[len] == ':');
    }
    return false;
}

/* Every address is reached by that of the loopback. */
static void put_url(struct buf *out, const struct server_welcome *w)
{
    const char *port = strrchr(w->address, ':');
    bool all = *w->address == ':' || strncmp(w->address, "0.0.0.0:", 8) == 0 ||
               strncmp(w->address, "[::]:", 5) == 0;

    buf_printf(out, "http%s://%s%s", w->tls ? "s" : "", all ? "127.0.0.1" : "",
               all ? port : w->address);
}

static void put_key(struct buf *out, const struct server_welcome *w)
{
    if (!w->key_file) {
        buf_append_str(out, "any");
        return;
    }
    buf_append_str(out, "$(cat ");
    notice_quote(out, w->key_file);
    buf_append_str(out, ")");
}

/* A program that was not installed: what it is built with lies beside it. */
static void put_build(struct buf *out, const char *program)
{
    char uninstalled[PATH_MAX];
    int len = (int)(strrchr(program, '/') - program);

    if (snprintf(uninstalled, sizeof uninstalled, "%.*s/" UNINSTALLED, len, program) >=
            (int)sizeof uninstalled ||
        access(uninstalled, R_OK))
        return;
    buf_append_str(out, " PKG_CONFIG_PATH=");
    notice_quote(out, uninstalled);
    uninstalled[len] = '\0';
    buf_append_str(out, " LD_LIBRARY_PATH=");
    notice_quote(out, uninstalled);
}

void server_welcome(const struct server_welcome *w)
{
    char program[PATH_MAX];
    struct buf name, out;

    if (!realpath("/proc/self/exe", program))
        return;
    buf_init(&name, 4 * PATH_MAX);
    buf_init(&out, (size_t)64 << 10);
    notice_quote(&name, is_on_path(program) ? "dispatch" : program);
    if (w->made)
        buf_printf(&out,
                   "A first API key was made, and is in %s, which only you can\n"
                   "read. `dispatch keys` makes others, for other organizations and programs.\n",
                   w->key_file);
    buf_append_str(&out, "To try it, in another terminal:\n\n    export DISPATCH_API_URL=");
    put_url(&out, w);
    buf_append_str(&out, " DISPATCH_API_KEY=");
    put_key(&out, w);
    put_build(&out, program);
    buf_printf(&out,
               "\n    %s init c hello && make -C hello && { hello/app serve & }\n"
               "    %s call greet '\"World\"' --endpoint http://localhost:8000 --wait\n\n",
               buf_cstr(&name), buf_cstr(&name));
    if (!out.failed && !name.failed) {
        fwrite(out.data, 1, out.len, stdout);
        fflush(stdout);
    }
    buf_free(&out);
    buf_free(&name);
}
