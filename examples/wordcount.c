// SPDX-License-Identifier: Apache-2.0
/*
 * Counts the words of all text files below a folder, durably:
 *
 *     dispatch server --insecure &
 *     DISPATCH_API_KEY=any build/examples/wordcount /usr/share/common-licenses
 *
 * Two functions do it. `wordcount`, a primitive function, finds the files, asks for one call a
 * file, and suspends; it is resumed with the results of some, adds them to the counts in its state,
 * and suspends again, until all are there. `count_file` counts one file; many run at a time. Kill
 * the server at any moment, start it again: a file may be counted twice, but it is added once.
 *
 * A word is a run of ASCII letters, in lower case. For each file this says the same:
 *
 *     tr -cs A-Za-z '\n' <FILE | tr A-Z a-z | grep . | LC_ALL=C sort | uniq -c
 */
#include <ctype.h>
#include <dispatch_sdk.h>
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <search.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CALLS_MAX = 10000, /* of one poll: as many as the orchestrator takes */
    RESULTS_AT_ONCE =
        100, /* resume when so many are there: each poll sends the whole state again */
    RESULTS_MAX = 1000,
};

/* --- words: a tree of search.h, and as text, a line a word: "the 42\n" -------------------------
 */

struct word {
    unsigned long count;
    char text[];
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct word *)a)->text, ((const struct word *)b)->text);
}

static bool add(void **words, const char *text, size_t len, unsigned long count)
{
    struct word *word = calloc(1, sizeof *word + len + 1), **found;

    if (!word)
        return false;
    memcpy(word->text, text, len);
    found = tsearch(word, words, compare);
    if (!found || *found != word)
        free(word);
    if (found)
        (*found)->count += count;
    return found != NULL;
}

static void write_word(const void *node, VISIT visit, void *out)
{
    const struct word *word = *(struct word *const *)node;

    if (visit == postorder || visit == leaf) /* which is the order of the words */
        fprintf(out, "%s %lu\n", word->text, word->count);
}

static bool read_words(void **words, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, " ");
        char *end;
        unsigned long count = strtoul(text + len, &end, 10);

        if (*end != '\n' || !add(words, text, len, count))
            return false;
        text = end + 1;
    }
    return true;
}

/* Frees the words, and returns them as text in the run's memory, below a line of their own. NULL:
 * errno says why. */
static char *text_of(struct dispatch_ctx *ctx, void *words, const char *first_line)
{
    char *text = NULL, *copy = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out) {
        fputs(first_line, out);
        twalk_r(words, write_word, out);
        if (fclose(out) == 0)
            copy = dispatch_printf(ctx, "%s", text);
        free(text);
    }
    tdestroy(words, free);
    return copy;
}

/* --- count_file: one call a file ---------------------------------------------------------------
 */

static bool count_words(FILE *file, void **words)
{
    char *word = NULL;
    size_t len = 0, cap = 0;
    bool ok = true;

    for (int c = 0; ok && c != EOF;) {
        c = getc_unlocked(file);
        if (c < 128 && isalpha(c)) {
            if (len == cap) {
                char *more = realloc(word, cap = 2 * cap + 64);

                if (!more)
                    break;
                word = more;
            }
            word[len++] = (char)tolower(c);
        } else if (len > 0) {
            ok = add(words, word, len, 1);
            len = 0;
        }
    }
    free(word);
    return ok && feof(file);
}

/* With --flaky, some calls fail the first time that this process runs them. */
static bool fails_now(struct dispatch_value input)
{
    static atomic_bool tried[CALLS_MAX];
    struct dispatch_value flaky;
    int64_t number;

    return dispatch_argument_named(input, "flaky", &flaky) && dispatch_as_int(flaky, &number) &&
           !atomic_exchange(&tried[number % CALLS_MAX], true);
}

static struct dispatch_result count_file(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    struct dispatch_value path = {0};
    void *words = NULL;
    char *text = NULL;
    FILE *file;

    if (!dispatch_argument_at(input, 0, &path) || !dispatch_as_string(path, NULL))
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "Arguments", "no path is given");
    if (fails_now(input))
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Flaky", "failing once, as asked");
    file = fopen(dispatch_as_string(path, NULL), "re");
    if (file && count_words(file, &words))
        text = text_of(ctx, words, "");
    else
        tdestroy(words, free);
    if (file)
        fclose(file);
    if (!text)
        return dispatch_fail_errno(ctx, errno, "counting %s", dispatch_as_string(path, NULL));
    return dispatch_ok(dispatch_string(text));
}
DISPATCH_REGISTER(count_file);

/* --- wordcount: fans out, joins ----------------------------------------------------------------
 */

struct files {
    char **path;
    size_t count;
    bool failed;
};

static _Thread_local struct files *finding; /* as nftw's callback gets no argument */

/* As git has it: what has a NUL in its first 8,000 bytes is no text. */
static int find_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    char head[8000];
    FILE *file = type == FTW_F && S_ISREG(st->st_mode) ? fopen(path, "re") : NULL;
    size_t n = file ? fread(head, 1, sizeof head, file) : 0;
    char **more;

    (void)ftw;
    if (file)
        fclose(file);
    if (n == 0 || memchr(head, '\0', n))
        return 0;
    more = realloc(finding->path, (finding->count + 1) * sizeof *more);
    if (more) {
        finding->path = more;
        finding->path[finding->count] = strdup(path);
    }
    finding->failed = !more || !finding->path[finding->count++];
    return finding->failed;
}

/* All text files below the folder; symbolic links are not followed. */
static bool find_files(const char *folder, struct files *files)
{
    finding = files;
    return nftw(folder, find_file, 32, FTW_PHYS) == 0 && !files->failed;
}

static void free_files(struct files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->path[i]);
    free(files->path);
}

static struct dispatch_output failed(struct dispatch_ctx *ctx, int errnum, const char *what)
{
    struct dispatch_error error = dispatch_error_from_errno(ctx, errnum, what);

    return dispatch_output_error(ctx, &error);
}

/* Suspends until more results are there, or ends the call if all are. The state is the progress,
 * and below it the words; the end result is the same. */
static struct dispatch_output go_on(struct dispatch_ctx *ctx, long files, long done, void *words,
                                    const struct dispatch_call *calls)
{
    struct dispatch_poll poll = {.calls = calls, .max_results = RESULTS_MAX};
    char line[64], *text;
    long left = files - done;

    snprintf(line, sizeof line, "%ld %ld\n", files, done);
    text = text_of(ctx, words, line);
    if (!text)
        return failed(ctx, errno, "writing the state");
    if (left == 0)
        return dispatch_output_value(ctx, dispatch_string(text));
    poll.state = dispatch_string(text);
    poll.call_count = calls ? (size_t)files : 0; /* asked for once; they span all polls */
    poll.min_results = (int32_t)(left < RESULTS_AT_ONCE ? left : RESULTS_AT_ONCE);
    return dispatch_output_poll(ctx, &poll);
}

/* The first run: one call a file, of which every `flaky`-th is to fail once. */
static struct dispatch_output fan_out(struct dispatch_ctx *ctx, const struct files *files,
                                      int64_t flaky)
{
    struct dispatch_argument(*arguments)[2] = dispatch_alloc(ctx, files->count * sizeof *arguments);
    struct dispatch_call *calls = dispatch_alloc(ctx, files->count * sizeof *calls);

    if (!calls || !arguments)
        return failed(ctx, ENOMEM, "making the calls");
    if (files->count > CALLS_MAX)
        return failed(ctx, E2BIG, "more than 10,000 files: try a smaller folder");
    for (size_t i = 0; i < files->count; i++) {
        bool fails = flaky > 0 && (int64_t)i % flaky == 0;

        arguments[i][0] = (struct dispatch_argument){NULL, dispatch_string(files->path[i])};
        arguments[i][1] = (struct dispatch_argument){"flaky", dispatch_int((int64_t)i)};
        calls[i] = dispatch_to("count_file", dispatch_arguments(arguments[i], fails ? 2 : 1));
        calls[i].correlation_id = i;
    }
    fprintf(stderr, "wordcount: %zu files, %zu calls\n", files->count, files->count);
    return go_on(ctx, (long)files->count, 0, NULL, calls);
}

static struct dispatch_output begin(struct dispatch_ctx *ctx, struct dispatch_value arguments)
{
    struct dispatch_value folder = {0}, value;
    struct dispatch_output output;
    struct files files = {0};
    int64_t flaky = 0;

    if (!dispatch_argument_at(arguments, 0, &folder) || !dispatch_as_string(folder, NULL))
        return failed(ctx, EINVAL, "the first argument is no folder");
    if (dispatch_argument_named(arguments, "flaky", &value))
        dispatch_as_int(value, &flaky);
    output = find_files(dispatch_as_string(folder, NULL), &files)
                 ? fan_out(ctx, &files, flaky)
                 : failed(ctx, errno, dispatch_as_string(folder, NULL));
    free_files(&files);
    return output;
}

/* A later run: adds the results that came. On a resume, none of the readers of the input fails. */
static struct dispatch_output join(struct dispatch_ctx *ctx, const struct dispatch_input *input)
{
    const struct dispatch_error *error;
    const struct dispatch_result *results;
    struct dispatch_value state;
    void *words = NULL;
    long files, done;
    size_t count;
    char *text;
    bool ok;

    dispatch_input_state(input, &state, NULL);
    dispatch_input_results(input, &results, &count, NULL);
    dispatch_input_poll_error(input, &error, NULL); /* not NULL: the calls were not accepted */
    files = strtol(dispatch_as_string(state, NULL), &text, 10);
    done = strtol(text, &text, 10);
    ok = read_words(&words, text + 1);
    for (size_t i = 0; ok && !error && i < count; i++, done++) {
        error = results[i].error;
        ok = error || read_words(&words, dispatch_as_string(results[i].output, NULL));
    }
    fprintf(stderr, "wordcount: %ld of %ld calls done\n", done, files);
    if (ok && !error)
        return go_on(ctx, files, done, words, NULL);
    tdestroy(words, free);
    return error ? dispatch_output_error(ctx, error) : failed(ctx, ENOMEM, "adding the words");
}

static struct dispatch_output wordcount(struct dispatch_ctx *ctx,
                                        const struct dispatch_input *input)
{
    struct dispatch_value arguments;
    struct dispatch_failure failure;

    if (dispatch_input_is_resume(input))
        return join(ctx, input);
    if (dispatch_input_arguments(input, &arguments, &failure))
        return failed(ctx, EINVAL, failure.message);
    return begin(ctx, arguments);
}
DISPATCH_REGISTER_PRIMITIVE(wordcount);

/* --- the program -------------------------------------------------------------------------------
 */

struct line {
    unsigned long count;
    const char *text;
    int len;
};

static int by_count(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->text < y->text ? -1 : 1; /* which is by word */
}

/* Like `uniq -c`: all words, in their order, or the most frequent ones. */
static int print(const char *text, bool all, size_t top)
{
    char *at;
    long files = strtol(text, NULL, 10);
    unsigned long total = 0;
    size_t count = 0, cap = strlen(text) / 4 + 1; /* the least line is "a 1\n" */
    struct line *lines = calloc(cap, sizeof *lines);

    if (!lines)
        return 1;
    for (text += strcspn(text, "\n") + 1; *text; text = at + 1, count++) {
        lines[count].text = text;
        lines[count].len = (int)strcspn(text, " ");
        lines[count].count = strtoul(text + lines[count].len, &at, 10);
        total += lines[count].count;
    }
    if (!all)
        qsort(lines, count, sizeof *lines, by_count);
    for (size_t i = 0; i < count && (all || i < top); i++)
        printf("%7lu %.*s\n", lines[i].count, lines[i].len, lines[i].text);
    fprintf(all ? stderr : stdout, "%ld files, %lu words, %zu different ones\n", files, total,
            count);
    free(lines);
    return fflush(stdout) != 0;
}

/* The files that would be counted, for comparing. */
static int list(const char *folder)
{
    struct files files = {0};
    bool ok = find_files(folder, &files);

    for (size_t i = 0; i < files.count; i++)
        puts(files.path[i]);
    free_files(&files);
    return !ok || fflush(stdout);
}

static int run(const char *folder, bool all, size_t top, int64_t flaky)
{
    struct dispatch_argument arguments[] = {{NULL, dispatch_string(folder)},
                                            {"flaky", dispatch_int(flaky)}};
    struct dispatch_call call = dispatch_to("wordcount", dispatch_arguments(arguments, 2));
    struct dispatch_result result = dispatch_run(call);
    int status = 1;

    if (result.error)
        fprintf(stderr, "wordcount: %s: %s\n", result.error->type, result.error->message);
    else
        status = print(dispatch_as_string(result.output, NULL), all, top);
    dispatch_result_free(&result);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"all", no_argument, NULL, 'a'},
                                            {"top", required_argument, NULL, 't'},
                                            {"flaky", required_argument, NULL, 'f'},
                                            {"list", no_argument, NULL, 'l'},
                                            {0}};
    bool all = false, only_list = false;
    long top = 20, flaky = 0;
    char *folder = NULL;
    int c, status = 2;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1 && c != '?') {
        all |= c == 'a';
        only_list |= c == 'l';
        if (c == 't')
            top = strtol(optarg, NULL, 10);
        if (c == 'f')
            flaky = strtol(optarg, NULL, 10);
    }
    if (c == -1 && optind == argc - 1 && top >= 0 && flaky >= 0) {
        folder = realpath(argv[optind], NULL);
        if (folder)
            status = only_list ? list(folder) : run(folder, all, (size_t)top, flaky);
        else
            fprintf(stderr, "wordcount: %s: %s\n", argv[optind], strerror(errno));
    }
    if (status == 2)
        fprintf(stderr, "Usage: wordcount [--top N | --all | --list] [--flaky N] FOLDER\n"
                        "  --top N    print the N most frequent words (20)\n"
                        "  --all      print all words, by word\n"
                        "  --list     print the files that would be counted, and count nothing\n"
                        "  --flaky N  let every Nth call fail once, to see it tried again\n");
    free(folder);
    return status;
}
