// SPDX-License-Identifier: Apache-2.0
/* What the tests of this room share: an assertion that shows the error, a temporary directory, and
 * walks as text. */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/rand.h"
#include "store/store.h"

#include <cmocka.h> /* wants the headers above */

static struct error test_error;

#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        test_error = (struct error){0};                                                            \
        if (expression)                                                                            \
            fail_msg("%s: %s", #expression, test_error.message);                                   \
    } while (0)

struct test_dir {
    char path[64];
    char file[256]; /* the last answer of test_path */
};

static inline void test_dir_make(struct test_dir *dir)
{
    snprintf(dir->path, sizeof dir->path, "/tmp/dispatch-store-XXXXXX");
    assert_non_null(mkdtemp(dir->path));
}

/* Where files come and go by the hundred and need no disk: in memory, if the system has that. */
static inline void test_dir_make_fast(struct test_dir *dir)
{
    snprintf(dir->path, sizeof dir->path, "/dev/shm/dispatch-store-XXXXXX");
    if (!mkdtemp(dir->path))
        test_dir_make(dir);
}

static inline const char *test_path(struct test_dir *dir, const char *name)
{
    snprintf(dir->file, sizeof dir->file, "%s/%s", dir->path, name);
    return dir->file;
}

/* The tests use these names, and SQLite and the lock add their endings. */
static inline void test_dir_remove(struct test_dir *dir)
{
    static const char *const names[] = {"store.db", "other.db"};
    static const char *const endings[] = {"", "-wal", "-shm", "-journal", ".lock"};

    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
            char name[32];

            snprintf(name, sizeof name, "%s%s", names[n], endings[e]);
            unlink(test_path(dir, name));
        }
    }
    assert_int_equal(rmdir(dir->path), 0);
}

/* arg: a size_t, or NULL. */
static inline int test_count_row(void *arg, const struct store_row *row)
{
    size_t *count = arg;

    (void)row;
    if (count)
        ++*count;
    return 0;
}

static inline int test_row_text(void *arg, const struct store_row *row)
{
    struct buf *text = arg;

    buf_printf(text, "%llu.%lu=", (unsigned long long)row->key, (unsigned long)row->sub);
    buf_append_slice(text, row->value);
    buf_append_str(text, " ");
    return 0;
}

/* The rows of a range of partition 0 as text, "1.0=a 2.0=b "; valid until the next call. */
static inline const char *test_walk_text(struct store *store, const struct store_range *range)
{
    static char text[1 << 16];
    struct buf buf;

    buf_init(&buf, sizeof text - 1);
    assert_ok(store_walk(store, 0, range, test_row_text, &buf, &test_error));
    assert_false(buf.failed);
    snprintf(text, sizeof text, "%s", buf_cstr(&buf));
    buf_free(&buf);
    return text;
}

#endif
