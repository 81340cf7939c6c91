// SPDX-License-Identifier: Apache-2.0
/* A backup is written beside its name, checked there, and then linked to it. */
#include "server/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/id.h"
#include "server/credentials.h"

#define KEPT_AT_LEAST_NS (3600 * NS_PER_S)

struct inspection {
    const struct inspect_options *options;
    struct store *store;
};

static void tell_call(void *arg, uint64_t call, const char *what)
{
    struct inspection *i = arg;
    char text[ID_TEXT_LEN + 1] = "";

    if (call)
        id_format(text, (struct id_parts){.number = call, .tag = store_tag(i->store)});
    i->options->violation(i->options->arg, text, what);
}

static void tell_page(void *arg, const char *what)
{
    tell_call(arg, 0, what);
}

static int read_note(void *arg, const struct orchestrator_note *note, struct error *err)
{
    struct credential key;

    (void)arg;
    return credential_decode(note->bytes, &key, err);
}

int inspect_store(const struct inspect_options *options, struct verify_stats *stats,
                  struct error *err)
{
    struct inspection i = {.options = options};
    struct verify_options verify = {.kept_since = clock_now(clock_system()) - KEPT_AT_LEAST_NS,
                                    .violation = tell_call,
                                    .note = read_note,
                                    .arg = &i};
    struct store_options read_only = {.read_only = true};
    int code;

    if (strncmp(options->store, "sqlite:", 7) != 0)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s is no file", options->store);
    code = store_open(&i.store, options->store, &read_only, err);
    if (code)
        return code;
    code = store_sqlite_pin(i.store, err);
    if (!code && options->pages)
        code = store_sqlite_check(i.store, tell_page, &i, err);
    if (!code)
        code = verify_store(i.store, &verify, stats, err);
    store_close(i.store);
    return code;
}

/* --- backups ---------------------------------------------------------------------------------- */

struct first {
    char text[ERROR_MESSAGE_MAX / 2];
};

static void keep_first(void *arg, const char *call, const char *what)
{
    struct first *first = arg;

    if (!first->text[0])
        snprintf(first->text, sizeof first->text, "%s%s%.200s", call, *call ? ": " : "", what);
}

static int check_copy(const char *path, struct error *err)
{
    char url[PATH_MAX + 8];
    struct first first = {""};
    struct inspect_options options = {
        .store = url, .pages = true, .violation = keep_first, .arg = &first};
    struct verify_stats stats;
    int code;

    snprintf(url, sizeof url, "sqlite:%s", path);
    code = inspect_store(&options, &stats, err);
    if (!code && first.text[0])
        return error_set(err, CODE_DATA_LOSS,
                         "there is something wrong with the store, so no copy is kept: %s; see "
                         "`dispatch store check`",
                         first.text);
    return code;
}

static void remove_with_endings(const char *path, bool itself)
{
    static const char *const endings[] = {"-wal", "-shm", "-journal"};
    char name[PATH_MAX + 16];

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    if (itself)
        unlink(path);
}

/* Its bytes are on disk; so is its name, then. */
static int appear(const char *partial, const char *to, struct error *err)
{
    char directory[PATH_MAX];
    int fd, code = CODE_OK;

    if (link(partial, to))
        return error_set(err, errno == EEXIST ? CODE_ALREADY_EXISTS : CODE_UNAVAILABLE,
                         "cannot make %s: %s", to, strerror(errno));
    unlink(partial);
    snprintf(directory, sizeof directory, "%s", to);
    fd = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        code = error_set(err, CODE_UNAVAILABLE, "cannot sync the directory of %s: %s", to,
                         strerror(errno));
    if (fd >= 0)
        close(fd);
    return code;
}

int inspect_backup(const char *from, const char *to, struct error *err)
{
    struct store_options read_only = {.read_only = true};
    struct store *store;
    char partial[PATH_MAX];
    int code;

    if (strncmp(from, "sqlite:", 7) != 0)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s is no file", from);
    if (snprintf(partial, sizeof partial, "%s.partial", to) >= (int)sizeof partial)
        return error_set(err, CODE_INVALID_ARGUMENT, "the name of the copy is too long");
    if (access(to, F_OK) == 0)
        return error_set(err, CODE_ALREADY_EXISTS, "%s is there already: choose another name", to);
    code = store_open(&store, from, &read_only, err);
    if (code)
        return code;
    code = store_sqlite_copy(store, partial, err);
    store_close(store);
    if (code == CODE_ALREADY_EXISTS)
        return code;
    if (!code)
        code = check_copy(partial, err);
    remove_with_endings(partial, false);
    if (!code)
        code = appear(partial, to, err);
    if (code)
        remove_with_endings(partial, true);
    return code;
}
