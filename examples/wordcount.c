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
 * the server at any moment, start it again: each file is counted again, if need be, and added once.
 *
 * A word is a run of ASCII letters, in lower case. For each file this says the same:
 *
 *     tr -cs A-Za-z '\n' <FILE | tr A-Z a-z | grep . | LC_ALL=C sort | uniq -c
 */
#include <dispatch_sdk.h>
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one call may carry, and what one poll may ask for: limits of the orchestrator. */
enum { PAYLOAD_MAX = 4000000, CALLS_MAX = 10000 };

/* A large file is counted in slices, by several calls, so that no result grows past the limit. */
enum { SLICE = 1 << 20 };

/* Resume when so many results are there: each poll sends the whole state again. */
enum { RESULTS_AT_ONCE = 100, RESULTS_MAX = 1000 };

/* --- a table of words ------------------------------------------------------------------------- */

struct word {
    char *text;
    uint64_t count;
};

struct words {
    struct word *slots; /* open addressing; cap is a power of two, or 0 */
    size_t used, cap;
    uint64_t total;
};

static struct word *find(const struct words *w, const char *text, size_t len)
{
    uint64_t hash = 14695981039346656037u;
    struct word *slot;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    for (size_t at = hash ^ hash >> 32;; at++) {
        slot = &w->slots[at & (w->cap - 1)];
        if (!slot->text || (strncmp(slot->text, text, len) == 0 && !slot->text[len]))
            return slot;
    }
}

static bool grow(struct words *w)
{
    struct words bigger = {.cap = w->cap ? w->cap * 2 : 1024, .used = w->used, .total = w->total};

    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < w->cap; i++)
        if (w->slots[i].text)
            *find(&bigger, w->slots[i].text, strlen(w->slots[i].text)) = w->slots[i];
    free(w->slots);
    *w = bigger;
    return true;
}

static bool add(struct words *w, const char *text, size_t len, uint64_t count)
{
    struct word *slot;

    if (w->used * 2 >= w->cap && !grow(w))
        return false;
    slot = find(w, text, len);
    if (!slot->text) {
        slot->text = strndup(text, len);
        if (!slot->text)
            return false;
        w->used++;
    }
    slot->count += count;
    w->total += count;
    return true;
}

static void free_words(struct words *w)
{
    for (size_t i = 0; i < w->cap; i++)
        free(w->slots[i].text);
    free(w->slots);
    *w = (struct words){0};
}

/* As text, a line a word: "the 42\n". That is what results and states carry. */
static void write_words(const struct words *w, FILE *out)
{
    for (size_t i = 0; i < w->cap; i++)
        if (w->slots[i].text)
            fprintf(out, "%s %" PRIu64 "\n", w->slots[i].text, w->slots[i].count);
}

static bool read_words(struct words *w, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, " ");
        char *end;
        uint64_t count = strtoull(text + len, &end, 10);

        if (*end != '\n' || !add(w, text, len, count))
            return false;
        text = end + 1;
    }
    return true;
}

/* --- count_file: one call a file -------------------------------------------------------------- */

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Counts the words that begin in [start, end) of the file. */
static bool count_slice(struct words *w, FILE *file, int64_t start, int64_t end)
{
    bool skip = false, ok = true; /* skip: in a word that began in the slice before */
    size_t len = 0, cap = 0;
    char *word = NULL;

    if (start > 0) {
        if (fseeko(file, start - 1, SEEK_SET))
            return false;
        skip = is_letter(getc(file));
    }
    for (int64_t at = start; ok; at++) {
        int c = getc_unlocked(file);

        if (!is_letter(c)) {
            ok = len == 0 || add(w, word, len, 1);
            len = 0;
            skip = false;
            if (c == EOF || at >= end)
                break;
        } else if (!skip) {
            if (len == 0 && at >= end)
                break; /* the next slice's */
            if (len == cap) {
                char *more = realloc(word, cap = cap ? cap * 2 : 64);

                if (!more) {
                    ok = false;
                    break;
                }
                word = more;
            }
            word[len++] = (char)(c | 0x20);
        }
    }
    free(word);
    return ok && !ferror(file);
}

/* With --flaky, a call fails the first time that this process runs it. */
static bool fails_now(struct dispatch_value input)
{
    static atomic_bool tried[65536];
    struct dispatch_value flaky;
    int64_t number;

    return dispatch_argument_named(input, "flaky", &flaky) && dispatch_as_int(flaky, &number) &&
           !atomic_exchange(&tried[number & 65535], true);
}

/* The words of the slices in the input, as text in the run's memory; NULL: errno. */
static char *count_slices(struct dispatch_ctx *ctx, struct dispatch_value input, const char **path)
{
    struct dispatch_value p, start;
    struct words words = {0};
    char *text = NULL, *result = NULL;
    size_t size = 0;
    FILE *out;
    bool ok = true;
    int64_t at;

    for (size_t i = 0;
         ok && dispatch_argument_at(input, i, &p) && dispatch_argument_at(input, i + 1, &start);
         i += 2) {
        FILE *file;

        *path = dispatch_as_string(p, NULL);
        ok = *path && dispatch_as_int(start, &at);
        file = ok ? fopen(*path, "re") : NULL;
        ok = file && count_slice(&words, file, at, at + SLICE);
        if (file)
            fclose(file);
    }
    out = ok ? open_memstream(&text, &size) : NULL;
    if (out) {
        write_words(&words, out);
        if (!fclose(out))
            result = dispatch_printf(ctx, "%s", text);
        free(text);
    }
    free_words(&words);
    return result;
}

static struct dispatch_result count_file(struct dispatch_ctx *ctx, struct dispatch_value input)
{
    const char *path = "?";
    char *text;

    if (fails_now(input))
        return dispatch_fail(ctx, DISPATCH_TEMPORARY_ERROR, "Flaky", "failing once, as asked");
    errno = 0;
    text = count_slices(ctx, input, &path);
    if (!text)
        return dispatch_fail_errno(ctx, errno, "counting %s", path);
    return dispatch_ok(dispatch_string(text));
}
DISPATCH_REGISTER(count_file);

/* --- finding the files ------------------------------------------------------------------------ */

struct slices {
    struct dispatch_argument *list; /* two a slice: path (malloc'ed), start */
    size_t count, cap, files;
    bool failed;
};

static void add_slice(struct slices *s, const char *path, int64_t start)
{
    if (s->count + 2 > s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        struct dispatch_argument *more = realloc(s->list, cap * sizeof *more);

        s->failed |= more == NULL;
        if (!more)
            return;
        s->list = more;
        s->cap = cap;
    }
    path = strdup(path);
    s->failed |= path == NULL;
    s->list[s->count++] = (struct dispatch_argument){NULL, dispatch_string(path)};
    s->list[s->count++] = (struct dispatch_argument){NULL, dispatch_int(start)};
}

/* As git has it: what has a NUL in its first 8,000 bytes is no text. */
static bool is_text(const char *path)
{
    char head[8000];
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(head, 1, sizeof head, file) : 0;

    if (file)
        fclose(file);
    else
        fprintf(stderr, "wordcount: skipping %s: %s\n", path, strerror(errno));
    return n > 0 && !memchr(head, '\0', n);
}

static _Thread_local struct slices *walking; /* as nftw's callback gets no argument */

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F || !S_ISREG(st->st_mode) || !is_text(path))
        return 0;
    walking->files++;
    for (int64_t start = 0; start < st->st_size; start += SLICE)
        add_slice(walking, path, start);
    return walking->failed;
}

/* All slices of all text files below the folder; symbolic links are not followed. */
static bool find_slices(const char *folder, struct slices *s)
{
    walking = s;
    return nftw(folder, visit, 32, FTW_PHYS) == 0 && !s->failed;
}

static void free_slices(struct slices *s)
{
    for (size_t i = 0; i < s->count; i += 2)
        free((char *)(uintptr_t)dispatch_as_string(s->list[i].value, NULL));
    free(s->list);
}

/* --- wordcount: fans out, joins --------------------------------------------------------------- */

/* The state of a wordcount: this, then its words as text. */
struct progress {
    uint32_t files, calls, done;
    unsigned char seen[CALLS_MAX / 8 + 1]; /* a bit a call: no result is added twice */
};

static struct dispatch_output failed(struct dispatch_ctx *ctx, int errnum, const char *what)
{
    struct dispatch_error error = dispatch_error_from_errno(ctx, errnum, what);

    return dispatch_output_error(ctx, &error);
}

/* Suspends until more results are there. Calls are made in the first poll only. */
static struct dispatch_output suspend(struct dispatch_ctx *ctx, const struct progress *progress,
                                      const struct words *words, const struct dispatch_call *calls,
                                      size_t call_count)
{
    uint32_t left = progress->calls - progress->done;
    struct dispatch_poll poll = {.calls = calls, .call_count = call_count};
    struct dispatch_output output;
    char *state = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&state, &size);

    if (!out)
        return failed(ctx, errno, "writing the state");
    fwrite(progress, sizeof *progress, 1, out);
    write_words(words, out);
    if (fclose(out)) {
        free(state);
        return failed(ctx, errno, "writing the state");
    }
    poll.state = dispatch_bytes(state, size);
    poll.min_results = left < RESULTS_AT_ONCE ? (int32_t)left : RESULTS_AT_ONCE;
    poll.max_results = RESULTS_MAX;
    output = dispatch_output_poll(ctx, &poll); /* copies the state */
    free(state);
    return output;
}

/* The end: all words, below a line with the number of files. */
static struct dispatch_output finish(struct dispatch_ctx *ctx, const struct progress *progress,
                                     const struct words *words)
{
    struct dispatch_output output;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return failed(ctx, errno, "writing the result");
    fprintf(out, "%u\n", progress->files);
    write_words(words, out);
    if (fclose(out)) {
        output = failed(ctx, errno, "writing the result");
    } else if (size > PAYLOAD_MAX) {
        struct dispatch_error error = {
            .status = DISPATCH_PERMANENT_ERROR,
            .type = "TooManyWords",
            .message = "the different words take more than 4,000,000 bytes: try a smaller folder"};

        output = dispatch_output_error(ctx, &error);
    } else {
        output = dispatch_output_value(ctx, dispatch_string(text));
    }
    free(text);
    return output;
}

/* One call a slice; or, of more slices than a poll can have calls, one for several. */
static struct dispatch_output fan_out(struct dispatch_ctx *ctx, struct slices *s, int64_t flaky)
{
    size_t slices = s->count / 2;
    size_t each = slices > CALLS_MAX ? (slices + CALLS_MAX - 1) / CALLS_MAX : 1;
    size_t count = (slices + each - 1) / each;
    struct dispatch_call *calls = dispatch_alloc(ctx, count * sizeof *calls);
    struct dispatch_argument *arguments =
        dispatch_alloc(ctx, count * (2 * each + 1) * sizeof *arguments);
    struct progress progress = {.files = (uint32_t)s->files, .calls = (uint32_t)count};
    struct words none = {0};

    if (!calls || !arguments)
        return failed(ctx, ENOMEM, "making the calls");
    for (size_t i = 0, at = 0; i < count; i++) {
        struct dispatch_argument *own = arguments + i * (2 * each + 1);
        size_t n = 0;

        for (; n < 2 * each && at < s->count; n++)
            own[n] = s->list[at++];
        if (flaky > 0 && i % (size_t)flaky == 0)
            own[n++] = (struct dispatch_argument){"flaky", dispatch_int((int64_t)i)};
        calls[i] = dispatch_to("count_file", dispatch_arguments(own, n));
        calls[i].correlation_id = i;
    }
    fprintf(stderr, "wordcount: %zu files, %zu calls\n", s->files, count);
    if (count == 0)
        return finish(ctx, &progress, &none);
    return suspend(ctx, &progress, &none, calls, count);
}

static struct dispatch_output begin(struct dispatch_ctx *ctx, struct dispatch_value arguments)
{
    struct dispatch_value folder = {0}, value;
    struct dispatch_output output;
    struct slices slices = {0};
    int64_t flaky = 0;

    if (!dispatch_argument_at(arguments, 0, &folder) || !dispatch_as_string(folder, NULL))
        return failed(ctx, EINVAL, "the first argument is no folder");
    if (dispatch_argument_named(arguments, "flaky", &value))
        dispatch_as_int(value, &flaky);
    output = find_slices(dispatch_as_string(folder, NULL), &slices)
                 ? fan_out(ctx, &slices, flaky)
                 : failed(ctx, errno, dispatch_as_string(folder, NULL));
    free_slices(&slices);
    return output;
}

/* Adds the results; returns the first error among them. */
static const struct dispatch_error *join(struct progress *progress, struct words *words,
                                         const struct dispatch_result *results, size_t count)
{
    static const struct dispatch_error bad = {.status = DISPATCH_PERMANENT_ERROR,
                                              .type = "BadResult",
                                              .message = "a result is not a list of words"};

    for (size_t i = 0; i < count; i++) {
        uint64_t id = results[i].correlation_id;
        const char *text = dispatch_as_string(results[i].output, NULL);

        if (results[i].error)
            return results[i].error;
        if (id >= progress->calls || progress->seen[id / 8] & 1 << id % 8)
            continue;
        if (!text || !read_words(words, text))
            return &bad;
        progress->seen[id / 8] |= (unsigned char)(1 << id % 8);
        progress->done++;
    }
    return NULL;
}

static struct dispatch_output go_on(struct dispatch_ctx *ctx, const struct dispatch_input *input)
{
    const struct dispatch_error *error;
    const struct dispatch_result *results;
    struct dispatch_value state;
    struct dispatch_output output;
    struct progress progress;
    struct words words = {0};
    const char *bytes;
    size_t count, size = 0;

    /* On a resume, which this is, none of these fails. */
    dispatch_input_state(input, &state, NULL);
    dispatch_input_results(input, &results, &count, NULL);
    dispatch_input_poll_error(input, &error, NULL);
    if (error) /* the calls were not accepted */
        return dispatch_output_error(ctx, error);
    bytes = dispatch_as_bytes(state, &size);
    if (!bytes || size < sizeof progress)
        return failed(ctx, EINVAL, "the state is not a wordcount's");
    memcpy(&progress, bytes, sizeof progress);
    /* A copy, as it has to end with a NUL. */
    bytes = dispatch_printf(ctx, "%.*s", (int)(size - sizeof progress), bytes + sizeof progress);
    if (!bytes || !read_words(&words, bytes))
        output = failed(ctx, ENOMEM, "reading the state");
    else if ((error = join(&progress, &words, results, count)) != NULL)
        output = dispatch_output_error(ctx, error);
    else if (progress.done < progress.calls)
        output = suspend(ctx, &progress, &words, NULL, 0);
    else
        output = finish(ctx, &progress, &words);
    fprintf(stderr, "wordcount: %u of %u calls done\n", progress.done, progress.calls);
    free_words(&words);
    return output;
}

static struct dispatch_output wordcount(struct dispatch_ctx *ctx,
                                        const struct dispatch_input *input)
{
    struct dispatch_value arguments;
    struct dispatch_error error = {.status = DISPATCH_INVALID_ARGUMENT, .type = "Arguments"};
    struct dispatch_failure failure;

    if (dispatch_input_is_resume(input))
        return go_on(ctx, input);
    if (!dispatch_input_arguments(input, &arguments, &failure))
        return begin(ctx, arguments);
    error.message = failure.message;
    return dispatch_output_error(ctx, &error);
}
DISPATCH_REGISTER_PRIMITIVE(wordcount);

/* --- the program ------------------------------------------------------------------------------ */

static int by_word(const void *a, const void *b)
{
    return strcmp(((const struct word *)a)->text, ((const struct word *)b)->text);
}

static int by_count(const void *a, const void *b)
{
    const struct word *x = a, *y = b;

    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : by_word(a, b);
}

/* Like `uniq -c`: by word if all are wanted, else the most frequent ones. */
static int print(const char *text, bool all, size_t top)
{
    struct words words = {0};
    size_t n = 0;

    if (!read_words(&words, text + strcspn(text, "\n") + 1)) {
        fprintf(stderr, "wordcount: cannot read the result\n");
        return 1;
    }
    for (size_t i = 0; i < words.cap; i++) /* no hash table from here on: just an array */
        if (words.slots[i].text)
            words.slots[n++] = words.slots[i];
    qsort(words.slots, n, sizeof *words.slots, all ? by_word : by_count);
    for (size_t i = 0; i < n && (all || i < top); i++)
        printf("%7" PRIu64 " %s\n", words.slots[i].count, words.slots[i].text);
    fprintf(all ? stderr : stdout, "%d files, %" PRIu64 " words, %zu different ones\n",
            (int)strtol(text, NULL, 10), words.total, n);
    words.cap = n;
    free_words(&words);
    return ferror(stdout) || fflush(stdout);
}

/* The files that would be counted, for comparing. */
static int list(const char *folder)
{
    struct slices slices = {0};
    int64_t start = 0;
    int rc = !find_slices(folder, &slices);

    for (size_t i = 0; i < slices.count; i += 2)
        if (dispatch_as_int(slices.list[i + 1].value, &start) && start == 0)
            puts(dispatch_as_string(slices.list[i].value, NULL));
    free_slices(&slices);
    return rc || fflush(stdout);
}

static int run(const char *folder, bool all, size_t top, int64_t flaky)
{
    struct dispatch_argument arguments[] = {{NULL, dispatch_string(folder)},
                                            {"flaky", dispatch_int(flaky)}};
    struct dispatch_call call = dispatch_to("wordcount", dispatch_arguments(arguments, 2));
    struct dispatch_result result = dispatch_run(call);
    const char *text = dispatch_as_string(result.output, NULL);
    int rc = 1;

    if (result.error)
        fprintf(stderr, "wordcount: %s: %s\n", result.error->type, result.error->message);
    else if (text)
        rc = print(text, all, top);
    dispatch_result_free(&result);
    return rc;
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
    char *folder;
    int c, rc;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'a')
            all = true;
        else if (c == 't')
            top = strtol(optarg, NULL, 10);
        else if (c == 'f')
            flaky = strtol(optarg, NULL, 10);
        else if (c == 'l')
            only_list = true;
        else
            optind = argc; /* to the usage */
    }
    folder = optind == argc - 1 ? realpath(argv[optind], NULL) : NULL;
    if (!folder || top < 0 || flaky < 0) {
        if (optind == argc - 1 && !folder)
            fprintf(stderr, "wordcount: %s: %s\n", argv[optind], strerror(errno));
        fprintf(stderr, "Usage: wordcount [--top N | --all | --list] [--flaky N] FOLDER\n"
                        "  --top N    print the N most frequent words (20)\n"
                        "  --all      print all words, by word\n"
                        "  --list     print the files that would be counted, and count nothing\n"
                        "  --flaky N  let every Nth call fail once, to see it tried again\n");
        return 2;
    }
    rc = only_list ? list(folder) : run(folder, all, (size_t)top, flaky);
    free(folder);
    return rc;
}
