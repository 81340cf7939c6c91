// SPDX-License-Identifier: Apache-2.0
/*
 * `dispatch completion bash|zsh|fish`: a script for the shell, written from the same tables as the
 * help, so that it knows what this program knows. What a command takes first, as `get|rollout`, is
 * the first word of its usage.
 */
#include <string.h>

#include "cli/cli.h"

#define EACH_COMMAND(c) (const struct cli_command *const *c = cli_commands; *c; c++)

static char letter_of(const struct cli_letter *letters, const char *name)
{
    for (const struct cli_letter *l = letters; l && l->name; l++) {
        if (strcmp(l->name, name) == 0)
            return l->letter;
    }
    return '\0';
}

/* All of a command's options, its own and those of every command, one after the other. */
static const struct cli_option *next_option(const struct cli_command *command,
                                            const struct cli_option *o, bool *persistent)
{
    if (!o) {
        *persistent = !command->options;
        o = command->options ? command->options : cli_persistent_options;
    } else {
        o++;
    }
    if (!o->name && !*persistent) {
        *persistent = true;
        o = cli_persistent_options;
    }
    return o->name ? o : NULL;
}

#define EACH_OPTION(command, o, persistent)                                                        \
    (const struct cli_option *o = next_option(command, NULL, &(persistent)); o;                    \
     o = next_option(command, o, &(persistent)))

/* "create|list|revoke" at the beginning of the usage, or nothing. */
static size_t words_of(const struct cli_command *command)
{
    size_t len = strcspn(command->usage, " ");

    return memchr(command->usage, '|', len) && command->usage[0] != '[' ? len : 0;
}

static void print_words(const struct cli_command *command, const char *separator)
{
    size_t len = words_of(command);

    for (size_t i = 0; i < len; i++) {
        if (command->usage[i] == '|')
            fputs(separator, stdout);
        else
            putchar(command->usage[i]);
    }
}

/* The first line, without what the shells' quoting or zsh's syntax would read. */
static void print_plain(const char *text)
{
    for (; *text && *text != '\n'; text++) {
        if (!strchr("'\"`[]:\\$!", *text))
            putchar(*text);
    }
}

/* --- bash ------------------------------------------------------------------------------------- */

static void print_bash_command(const struct cli_command *command)
{
    bool persistent;

    printf("    %s)\n        options='", command->name);
    for
        EACH_OPTION(command, o, persistent)
    printf("--%s ", o->name);
    fputs("--help'\n        values='", stdout);
    for
        EACH_OPTION(command, o, persistent)
        {
            char letter =
                letter_of(persistent ? cli_persistent_letters : command->letters, o->name);

            if (!o->arg)
                continue;
            printf(" --%s ", o->name);
            if (letter)
                printf(" -%c ", letter);
        }
    fputs("'\n        words='", stdout);
    print_words(command, " ");
    fputs("'\n        ;;\n", stdout);
}

static void print_bash(void)
{
    fputs("# source <(dispatch completion bash)\n"
          "_dispatch() {\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local commands='",
          stdout);
    for
        EACH_COMMAND(c)
    printf("%s%s", c == cli_commands ? "" : " ", (*c)->name);
    fputs("'\n"
          "    local command='' options='--api-key --env-file --help --version'\n"
          "    local values=' --api-key  -k  --env-file ' words=$commands at=1 i\n"
          "    COMPREPLY=()\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n"
          "        -k | --api-key | --env-file) ((i++)) ;;\n"
          "        -*) ;;\n"
          "        *) command=${COMP_WORDS[i]} at=$i && break ;;\n"
          "        esac\n"
          "    done\n"
          "    case $command in\n"
          "    '') ;;\n",
          stdout);
    for
        EACH_COMMAND(c)
    print_bash_command(*c);
    fputs("    *) return ;;\n"
          "    esac\n"
          "    [ \"$command\" != help ] || words=$commands\n"
          "    for ((i = at + 1; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in --) return ;; esac\n"
          "    done\n"
          "    case $values in *\" $previous \"*) return ;; esac\n"
          "    case $current in\n"
          "    -*) mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$current\") ;;\n"
          "    *) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\") ;;\n"
          "    esac\n"
          "}\n"
          "complete -o default -F _dispatch dispatch\n",
          stdout);
}

/* --- zsh -------------------------------------------------------------------------------------- */

static void print_zsh_option(const struct cli_option *o, char letter)
{
    if (letter)
        printf("            '-%c+[", letter);
    for (int i = 0; i < (letter ? 2 : 1); i++) {
        if (i || !letter)
            printf("%s'--%s[", i ? "            " : "            ", o->name);
        print_plain(o->help);
        fputs("]", stdout);
        if (o->arg) {
            fputs(":", stdout);
            print_plain(o->arg);
            fputs(":_files", stdout);
        }
        fputs("' \\\n", stdout);
    }
}

static void print_zsh_command(const struct cli_command *command)
{
    bool persistent;

    printf("    %s)\n        _arguments \\\n", command->name);
    for
        EACH_OPTION(command, o, persistent)
    print_zsh_option(o, letter_of(persistent ? cli_persistent_letters : command->letters, o->name));
    fputs("            '--help[print this]' \\\n            ", stdout);
    if (strcmp(command->name, "help") == 0) {
        fputs("'1:command:{_describe -t commands command commands}'\n", stdout);
    } else if (words_of(command)) {
        fputs("'1:what:(", stdout);
        print_words(command, " ");
        fputs(")' '*:argument:_files'\n", stdout);
    } else {
        fputs("'*:argument:_files'\n", stdout);
    }
    fputs("        ;;\n", stdout);
}

static void print_zsh(void)
{
    fputs("#compdef dispatch\n"
          "_dispatch() {\n"
          "    local -a commands\n"
          "    commands=(\n",
          stdout);
    for
        EACH_COMMAND(c)
        {
            printf("        '%s:", (*c)->name);
            print_plain((*c)->summary);
            fputs("'\n", stdout);
        }
    fputs("    )\n"
          "    local curcontext=$curcontext state line\n"
          "    _arguments -C \\\n",
          stdout);
    for (const struct cli_option *o = cli_persistent_options; o->name; o++)
        print_zsh_option(o, letter_of(cli_persistent_letters, o->name));
    fputs("            '--help[print this]' \\\n"
          "            '(-v --version)'{-v,--version}'[print the version]' \\\n"
          "            '1:command:->command' '*::argument:->rest' && return\n"
          "    if [[ $state = command ]]; then\n"
          "        _describe -t commands command commands\n"
          "        return\n"
          "    fi\n"
          "    case $words[1] in\n",
          stdout);
    for
        EACH_COMMAND(c)
    print_zsh_command(*c);
    fputs("    esac\n"
          "}\n"
          "if [ \"$funcstack[1]\" = _dispatch ]; then # it was found in $fpath\n"
          "    _dispatch\n"
          "else\n"
          "    compdef _dispatch dispatch\n"
          "fi\n",
          stdout);
}

/* --- fish ------------------------------------------------------------------------------------- */

static void print_fish_option(const char *command, const struct cli_option *o, char letter)
{
    printf("complete -c dispatch -n '__dispatch_is \"%s\"' -l %s", command, o->name);
    if (letter)
        printf(" -s %c", letter);
    printf("%s -d '", o->arg ? " -r" : "");
    print_plain(o->help);
    fputs("'\n", stdout);
}

/* What stands where a command, or the name of one, may. */
static void print_fish_commands(const char *where)
{
    for
        EACH_COMMAND(c)
        {
            printf("complete -c dispatch -f -n '__dispatch_is \"%s\"' -a %s -d '", where,
                   (*c)->name);
            print_plain((*c)->summary);
            fputs("'\n", stdout);
        }
}

static void print_fish(void)
{
    bool persistent;

    fputs("# dispatch completion fish | source\n"
          "function __dispatch_is # the command so far\n"
          "    set -l words (commandline -opc)[2..-1]\n"
          "    while set -q words[1]\n"
          "        switch $words[1]\n"
          "            case -k --api-key --env-file\n"
          "                set words $words[3..-1]\n"
          "            case '-*'\n"
          "                set words $words[2..-1]\n"
          "            case '*'\n"
          "                break\n"
          "        end\n"
          "    end\n"
          "    test \"$words[1]\" = \"$argv[1]\"\n"
          "end\n",
          stdout);
    print_fish_commands("");
    print_fish_commands("help");
    for (const struct cli_option *o = cli_persistent_options; o->name; o++)
        print_fish_option("", o, letter_of(cli_persistent_letters, o->name));
    for
        EACH_COMMAND(c)
        {
        for
            EACH_OPTION(*c, o, persistent)
        print_fish_option((*c)->name, o,
                          letter_of(persistent ? cli_persistent_letters : (*c)->letters, o->name));
        if (words_of(*c)) {
            printf("complete -c dispatch -f -n '__dispatch_is \"%s\"' -a '", (*c)->name);
            print_words(*c, " ");
            fputs("'\n", stdout);
        }
        }
}

/* --- the command ------------------------------------------------------------------------------ */

static int run(const struct cli_command *self, int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    void (*print)(void) = NULL;
    struct cli_arg arg;
    enum cli_next next;
    int at = 0;

    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (print)
            return cli_usage(self, "%s: one shell at a time", arg.value);
        for (size_t i = 0; i < 3; i++) {
            if (strcmp(shells[i].name, arg.value) == 0)
                print = shells[i].print;
        }
        if (!print)
            return cli_usage(self, "%s: there are bash, zsh and fish", arg.value);
    }
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? CLI_OK : CLI_USAGE;
    if (!print)
        return cli_usage(self, "for which shell? bash, zsh or fish");
    print();
    return CLI_OK;
}

const struct cli_command cli_completion = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "print a script by which the shell completes command lines",
    .group = CLI_GROUP_FURTHER,
    .details = "Examples:\n"
               "    source <(dispatch completion bash)\n"
               "    dispatch completion zsh >\"${fpath[1]}/_dispatch\"\n"
               "    dispatch completion fish >~/.config/fish/completions/dispatch.fish\n",
    .run = run,
};
