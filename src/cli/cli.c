// SPDX-License-Identifier: Apache-2.0
/*
 * Parsing and help, both from the tables. An error names what was wrong, says what was probably
 * meant, and where to read on.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/dotenv.h"

/* Longer names are near to nothing. */
#define NAME_MAX_BYTES 32
/* More edits than this, or than a third of the word, make another word. */
#define EDITS_MAX 3

enum { API_KEY, ENV_FILE };

const struct cli_option cli_persistent_options[] = {
    [API_KEY] = {"api-key", "KEY",
                 "the key to a server (default: $DISPATCH_API_KEY, else that of the\n"
                 "organization chosen by `dispatch switch`)"},
    [ENV_FILE] = {"env-file", "FILE",
                  "set the variables that FILE has, NAME=VALUE, unless they are set"},
    {0},
};

const struct cli_letter cli_persistent_letters[] = {{'k', "api-key"}, {0}};

static const struct cli_option program_options[] = {{"version", NULL, "print the version"}, {0}};
static const struct cli_letter program_letters[] = {{'v', "version"}, {0}};

struct cli_persistent cli_persistent;
const struct cli_command cli_program = {
    .name = "dispatch", .usage = "", .options = program_options, .letters = program_letters};

const struct cli_command *cli_find(const char *name)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    }
    return NULL;
}

/* --- what was meant -------------------------------------------------------------------------- */

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* How many letters are to be added, dropped or changed to make one of the other. */
static size_t edits(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1], len_a = strlen(a), len_b = strlen(b);

    if (len_a > NAME_MAX_BYTES || len_b > NAME_MAX_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t above = row[j];

            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[len_b];
}

static bool near(const char *typed, const char *name, size_t *least)
{
    size_t n = edits(typed, name);
    bool prefix = strlen(typed) >= 3 && strncmp(typed, name, strlen(typed)) == 0;

    if (prefix)
        n = 0;
    if (n > EDITS_MAX || (n > 1 && 3 * n > strlen(name) + 2) || n >= *least)
        return false;
    *least = n;
    return true;
}

const struct cli_command *cli_nearest(const char *name)
{
    const struct cli_command *found = NULL;
    size_t least = SIZE_MAX;

    for (size_t i = 0; cli_commands[i]; i++) {
        if (near(name, cli_commands[i]->name, &least))
            found = cli_commands[i];
    }
    return found;
}

static const struct cli_option *nearest_in(const struct cli_option *options, const char *name,
                                           size_t *least)
{
    const struct cli_option *found = NULL;

    for (const struct cli_option *o = options; o && o->name; o++) {
        if (near(name, o->name, least))
            found = o;
    }
    return found;
}

const struct cli_option *cli_option_nearest(const struct cli_command *command, const char *name)
{
    return nearest_in(command->options, name, &(size_t){SIZE_MAX});
}

static const struct cli_option *nearest_option(const struct cli_command *command, const char *name)
{
    size_t least = SIZE_MAX;
    const struct cli_option *own = nearest_in(command->options, name, &least);
    const struct cli_option *persistent = nearest_in(cli_persistent_options, name, &least);

    return persistent ? persistent : own;
}

static const struct cli_option *find_in(const struct cli_option *options, const char *name,
                                        size_t len)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    }
    return NULL;
}

const struct cli_option *cli_option_find(const struct cli_command *command, const char *name)
{
    return find_in(command->options, name, strlen(name));
}

/* --- saying ---------------------------------------------------------------------------------- */

int cli_usage(const struct cli_command *command, const char *format, ...)
{
    va_list args;

    fputs("dispatch: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (command && command->run)
        fprintf(stderr, "\nTry: dispatch help %s\n", command->name);
    else
        fputs("\nTry: dispatch help\n", stderr);
    return CLI_USAGE;
}

int cli_fail(const char *format, ...)
{
    va_list args;

    fputs("dispatch: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_FAILURE;
}

static void print_option(FILE *to, const struct cli_letter *letters, const struct cli_option *o)
{
    fputs("  ", to);
    for (const struct cli_letter *l = letters; l && l->name; l++) {
        if (strcmp(l->name, o->name) == 0)
            fprintf(to, "-%c, ", l->letter);
    }
    fprintf(to, "--%s%s%s\n", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    for (const char *line = o->help; *line;) {
        size_t len = strcspn(line, "\n");

        fprintf(to, "        %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static void print_options(FILE *to, const struct cli_command *command)
{
    static const struct cli_option help = {"help", NULL, "print this"};
    static const struct cli_letter help_letters[] = {{'h', "help"}, {0}};

    fputs("\nOptions:\n", to);
    for (const struct cli_option *o = command->options; o && o->name; o++)
        print_option(to, command->letters, o);
    for (const struct cli_option *o = cli_persistent_options; o->name; o++) {
        if (!find_in(command->options, o->name, strlen(o->name)))
            print_option(to, cli_persistent_letters, o);
    }
    print_option(to, help_letters, &help);
}

static void print_group(FILE *to, enum cli_group group, const char *heading)
{
    fprintf(to, "\n%s Commands:\n", heading);
    for (size_t i = 0; cli_commands[i]; i++) {
        if (cli_commands[i]->group == group)
            fprintf(to, "  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
}

static void print_program_help(FILE *to)
{
    fputs("Dispatch makes ordinary functions durable: a call is recorded before it is\n"
          "acknowledged, run at least once, retried when it fails for a passing reason,\n"
          "and its result delivered.\n"
          "\n"
          "Usage: dispatch COMMAND [OPTION...]\n",
          to);
    print_group(to, CLI_GROUP_DISPATCH, "Dispatch");
    print_group(to, CLI_GROUP_OPERATOR, "Operator");
    print_group(to, CLI_GROUP_ACCOUNT, "Account Management");
    print_group(to, CLI_GROUP_FURTHER, "Further");
    print_options(to, &cli_program);
    fputs("\n`dispatch help COMMAND` explains one of them.\n"
          "\n"
          "Exit status: 0 success; 1 failure; 2 the command line is wrong;\n"
          "128 + N ended by signal N.\n",
          to);
}

void cli_print_help(FILE *to, const struct cli_command *command)
{
    if (!command) {
        print_program_help(to);
        return;
    }
    fprintf(to, "dispatch %s: %s\n\nUsage: dispatch %s%s%s\n", command->name, command->summary,
            command->name, command->usage[0] ? " " : "", command->usage);
    print_options(to, command);
    if (command->details)
        fprintf(to, "\n%s", command->details);
}

/* --- reading --------------------------------------------------------------------------------- */

/* The command's own, else one of all commands. */
static const struct cli_option *find_option(const struct cli_command *command, const char *name,
                                            size_t len)
{
    const struct cli_option *found = find_in(command->options, name, len);

    return found ? found : find_in(cli_persistent_options, name, len);
}

static enum cli_next unknown_option(const struct cli_command *command, const char *text, size_t len)
{
    char name[NAME_MAX_BYTES * 2];
    const struct cli_option *meant;

    snprintf(name, sizeof name, "%.*s", (int)len, text);
    meant = nearest_option(command, name);
    if (meant)
        cli_usage(command, "%s has no option --%s: did you mean --%s?", command->name, name,
                  meant->name);
    else
        cli_usage(command, "%s has no option --%s", command->name, name);
    return CLI_NEXT_ERROR;
}

/* arg->value is what was given, or NULL: then it is what comes next, if there has to be one. */
static enum cli_next read_value(const struct cli_command *command, int argc, char **argv, int *at,
                                struct cli_arg *arg)
{
    const struct cli_option *option = arg->option;

    if (!option->arg && arg->value) {
        cli_usage(command, "--%s takes no value", option->name);
        return CLI_NEXT_ERROR;
    }
    if (option->arg && !arg->value) {
        if (*at == argc) {
            cli_usage(command, "--%s needs a value: --%s %s", option->name, option->name,
                      option->arg);
            return CLI_NEXT_ERROR;
        }
        arg->value = argv[(*at)++];
    }
    return CLI_NEXT_ARG;
}

static const struct cli_letter *find_letter(const struct cli_letter *letters, char letter)
{
    for (const struct cli_letter *l = letters; l && l->name; l++) {
        if (l->letter == letter)
            return l;
    }
    return NULL;
}

static enum cli_next read_letter(const struct cli_command *command, int argc, char **argv, int *at,
                                 struct cli_arg *arg)
{
    const char *text = argv[(*at)++];
    const struct cli_letter *l = find_letter(command->letters, text[1]);

    if (!l)
        l = find_letter(cli_persistent_letters, text[1]);
    if (l) {
        arg->option = find_option(command, l->name, strlen(l->name));
        arg->value = text[2] ? text + 2 : NULL;
        return read_value(command, argc, argv, at, arg);
    }
    cli_usage(command, "%s has no option %s: options begin with two dashes", command->name, text);
    return CLI_NEXT_ERROR;
}

static enum cli_next read_option(const struct cli_command *command, int argc, char **argv, int *at,
                                 struct cli_arg *arg)
{
    const char *text = argv[(*at)++] + 2;
    size_t len = strcspn(text, "=");
    const struct cli_option *option = find_option(command, text, len);

    if (!option)
        return unknown_option(command, text, len);
    arg->option = option;
    arg->value = text[len] == '=' ? text + len + 1 : NULL;
    return read_value(command, argc, argv, at, arg);
}

static enum cli_next next_arg(const struct cli_command *command, int argc, char **argv, int *at,
                              struct cli_arg *arg)
{
    const char *text;

    *arg = (struct cli_arg){0};
    if (*at >= argc)
        return CLI_NEXT_END;
    text = argv[*at];
    if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
        cli_print_help(stdout, command->run ? command : NULL);
        return CLI_NEXT_HELP;
    }
    if (strncmp(text, "--", 2) == 0 && text[2])
        return read_option(command, argc, argv, at, arg);
    if (text[0] == '-' && text[1] && text[1] != '-')
        return read_letter(command, argc, argv, at, arg);
    if (strcmp(text, "--") == 0 && ++*at == argc)
        return CLI_NEXT_END;
    arg->rest = argv + *at;
    arg->value = argv[(*at)++];
    return CLI_NEXT_ARG;
}

static bool take_persistent(const struct cli_arg *arg)
{
    struct error err;

    if (arg->option == &cli_persistent_options[API_KEY]) {
        cli_persistent.api_key = arg->value;
    } else if (dotenv_load(arg->value, &err)) {
        cli_fail("%s", err.message);
        return false;
    }
    return true;
}

enum cli_next cli_next(const struct cli_command *command, int argc, char **argv, int *at,
                       struct cli_arg *arg)
{
    enum cli_next next;

    while ((next = next_arg(command, argc, argv, at, arg)) == CLI_NEXT_ARG) {
        bool persistent = arg->option == &cli_persistent_options[API_KEY] ||
                          arg->option == &cli_persistent_options[ENV_FILE];

        if (!persistent)
            return next;
        if (!take_persistent(arg))
            return CLI_NEXT_ERROR;
    }
    return next;
}

int cli_read(const struct cli_command *command, int argc, char **argv, cli_take *take, void *to,
             bool *stop)
{
    struct cli_arg arg;
    enum cli_next next;
    int at = 0, status = CLI_OK;

    while ((next = cli_next(command, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        status = take(to, &arg);
        if (status)
            break;
    }
    *stop = next == CLI_NEXT_HELP;
    if (next == CLI_NEXT_ERROR)
        return CLI_USAGE;
    return status == CLI_REST ? CLI_OK : status;
}

bool cli_duration(const char *text, uint32_t *ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"h", 3600000}};
    uint64_t number = 0;
    const char *p = text;

    for (; *p >= '0' && *p <= '9' && number <= UINT32_MAX; p++)
        number = number * 10 + (uint64_t)(*p - '0');
    if (p == text || number > UINT32_MAX)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(p, units[i].name) == 0 && number * units[i].ms <= UINT32_MAX) {
            *ms = (uint32_t)(number * units[i].ms);
            return true;
        }
    }
    return false;
}

bool cli_size(const char *text, uint64_t *bytes)
{
    static const struct {
        const char *name;
        unsigned bits;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    uint64_t number = 0;
    const char *p = text;

    for (; *p >= '0' && *p <= '9' && number < UINT32_MAX; p++)
        number = number * 10 + (uint64_t)(*p - '0');
    if (p == text)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(p, units[i].name) == 0 && number <= UINT64_MAX >> (units[i].bits + 1)) {
            *bytes = number << units[i].bits;
            return true;
        }
    }
    return false;
}
