// SPDX-License-Identifier: Apache-2.0
/* `dispatch init`: a small application to begin with, from the templates within this program
 * (src/cli/templates). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/notice.h"

#define FILES_MAX 3

static const uint8_t main_c[] = {
#include "template-main.c.h"
};
static const uint8_t main_cc[] = {
#include "template-main.cc.h"
};
static const uint8_t main_py[] = {
#include "template-main.py.h"
};
static const uint8_t makefile_c[] = {
#include "template-Makefile.c.h"
};
static const uint8_t makefile_cpp[] = {
#include "template-Makefile.cpp.h"
};
static const uint8_t requirements[] = {
#include "template-requirements.txt.h"
};

struct file {
    const char *name; /* NULL: no more */
    const uint8_t *bytes;
    size_t len;
};

struct template
{
    const char *name;
    struct file files[FILES_MAX];
    const char *next; /* what to do with it: lines */
};

static const struct template templates[] = {
    {"c",
     {{"main.c", main_c, sizeof main_c}, {"Makefile", makefile_c, sizeof makefile_c}},
     "    make\n"
     "    dispatch run -- ./app\n"},
    {"cpp",
     {{"main.cc", main_cc, sizeof main_cc}, {"Makefile", makefile_cpp, sizeof makefile_cpp}},
     "    make\n"
     "    dispatch run -- ./app\n"},
    {"python",
     {{"main.py", main_py, sizeof main_py},
      {"requirements.txt", requirements, sizeof requirements}},
     "    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n"
     "    dispatch run -- .venv/bin/python main.py\n"},
};

#define TEMPLATE_COUNT (sizeof templates / sizeof *templates)

/* --- writing ---------------------------------------------------------------------------------- */

/* A descriptor of the directory, which is made if need be, and has nothing in it; -1: that was
 * said. */
static int open_empty(const char *path)
{
    int fd = mkdir(path, 0777) && errno != EEXIST ? -1 : open(path, O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(dup(fd));
    const struct dirent *entry;
    bool empty = true;

    if (!dir) {
        cli_fail("cannot make or open the directory %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (empty && (entry = readdir(dir)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    if (empty)
        return fd;
    cli_fail("the directory %s is not empty: name another one, dispatch init TEMPLATE PATH", path);
    close(fd);
    return -1;
}

static bool write_file(int dir, const struct file *file)
{
    int fd = openat(dir, file->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    size_t written = 0;
    ssize_t n = 0;

    if (fd < 0)
        return false;
    while (written < file->len && n >= 0) {
        n = write(fd, file->bytes + written, file->len - written);
        if (n < 0 && errno == EINTR)
            n = 0;
        written += n > 0 ? (size_t)n : 0;
    }
    return close(fd) == 0 && n >= 0;
}

static void say_next(const struct template *template, const char *path)
{
    struct buf quoted;

    buf_init(&quoted, 8 * PATH_MAX);
    notice_quote(&quoted, path);
    printf("Created in %s:\n", path);
    for (const struct file *file = template->files; file->name; file++)
        printf("    %s\n", file->name);
    fputs("\nNext:\n", stdout);
    if (strcmp(path, ".") != 0)
        printf("    cd %s\n", buf_cstr(&quoted));
    fputs(template->next, stdout);
    buf_free(&quoted);
}

static int create(const struct template *template, const char *path)
{
    int dir = open_empty(path);

    if (dir < 0)
        return CLI_FAILURE;
    for (const struct file *file = template->files; file->name; file++) {
        if (write_file(dir, file))
            continue;
        cli_fail("cannot write %s/%s: %s", path, file->name, strerror(errno));
        close(dir);
        return CLI_FAILURE;
    }
    close(dir);
    say_next(template, path);
    return CLI_OK;
}

/* --- the command ------------------------------------------------------------------------------ */

static int create_named(const char *name, const char *path)
{
    for (size_t i = 0; i < TEMPLATE_COUNT; i++) {
        if (strcmp(templates[i].name, name) == 0)
            return create(&templates[i], path);
    }
    if (strcmp(name, "go") == 0)
        return cli_fail("there is no template for Go here: it was part of the original, at "
                        "github.com/dispatchrun/dispatch-templates, for the SDK "
                        "github.com/dispatchrun/dispatch-go.\n"
                        "Applications that use that SDK are run as any other: dispatch run -- "
                        "./app");
    return cli_usage(&cli_init, "there is no template %s: there are c, cpp and python", name);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    const char *given[2] = {NULL, "."};
    struct cli_arg arg;
    enum cli_next next;
    int at = 0, count = 0;

    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (count == 2)
            return cli_usage(self, "%s: one argument too many", arg.value);
        given[count++] = arg.value;
    }
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? CLI_OK : CLI_USAGE;
    if (!given[0])
        return cli_usage(self, "which template? c, cpp or python");
    return create_named(given[0], given[1]);
}

const struct cli_command cli_init = {
    .name = "init",
    .group = CLI_GROUP_DISPATCH,
    .usage = "c|cpp|python [PATH]",
    .summary = "make a small application to begin with",
    .details =
        "Writes it to PATH (default: the directory where you are), which has to be empty or\n"
        "not to exist, and says how to build and run it.\n"
        "\n"
        "Example:\n"
        "    dispatch init c hello && cd hello && make && dispatch run -- ./app\n"
        "\n"
        "Exit status: 0 it was written; 1 it could not be; 2 the command line is wrong.\n",
    .run = run,
};
