// SPDX-License-Identifier: Apache-2.0
/* `dispatch store`: the file of a store, looked at and copied beside whoever holds it. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "base/state_dir.h"
#include "cli/cli.h"
#include "server/inspect.h"

#define SHOWN_MAX 1000 /* violations */

struct settings {
    const char *action, *argument, *store;
    bool json;
    char url[PATH_MAX + 16];
};

struct findings {
    uint64_t count;
};

static void print_violation(void *arg, const char *call, const char *what)
{
    struct findings *findings = arg;

    if (++findings->count <= SHOWN_MAX)
        printf("%s%s%s\n", call, *call ? ": " : "", what);
}

static void skip_violation(void *arg, const char *call, const char *what)
{
    struct findings *findings = arg;

    (void)call;
    (void)what;
    findings->count++;
}

/* --- check ------------------------------------------------------------------------------------ */

static uint64_t sum(const uint64_t *values, size_t count)
{
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += values[i];
    return total;
}

static int check(const struct settings *s)
{
    struct findings findings = {0};
    struct inspect_options options = {
        .store = s->url, .pages = true, .violation = print_violation, .arg = &findings};
    struct verify_stats stats;
    struct error err;

    if (inspect_store(&options, &stats, &err))
        return cli_fail("%s", err.message);
    if (findings.count > SHOWN_MAX)
        printf("and %" PRIu64 " more\n", findings.count - SHOWN_MAX);
    if (fflush(stdout))
        return cli_fail("cannot write to standard output");
    if (findings.count)
        return cli_fail("%" PRIu64 " %s wrong with %s", findings.count,
                        findings.count == 1 ? "thing is" : "things are", s->url + 7);
    fprintf(stderr, "%s: %" PRIu64 " live and %" PRIu64 " ended calls, nothing is wrong\n",
            s->url + 7, sum(stats.calls, CALL_DONE), stats.rows[TABLE_DONE]);
    return CLI_OK;
}

/* --- stats ------------------------------------------------------------------------------------ */

static const char *const tables[TABLE_COUNT] = {
    [TABLE_CALL] = "call", [TABLE_PAYLOAD] = "payload", [TABLE_DONE] = "done",
    [TABLE_META] = "meta", [TABLE_KEY] = "key",
};

static void time_text(int64_t at, char text[32])
{
    time_t seconds = (time_t)(at / NS_PER_S);
    struct tm utc;

    text[0] = '\0';
    if (at != TIME_NEVER && gmtime_r(&seconds, &utc))
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static void print_table(const struct verify_stats *stats, const char *live, const char *ended)
{
    for (unsigned i = 0; i < CALL_DONE; i++)
        printf("%-24s %12" PRIu64 "\n", call_state_name(i), stats->calls[i]);
    for (unsigned i = 0; i < STATUS_COUNT; i++)
        if (stats->ended[i])
            printf("ended %-18s %12" PRIu64 "\n", status_name(i), stats->ended[i]);
    printf("%-24s %12" PRIu64 "\n", "results not yet taken", stats->calls[CALL_DONE]);
    printf("%-24s %12" PRIu64 "\n", "trees out of memory", stats->trees_out);
    printf("%-24s %12" PRIu64 "\n", "idempotency keys", stats->requests);
    printf("%-24s %12" PRIu64 "\n", "event keys", stats->events);
    printf("%-24s %12" PRIu64 "\n", "API and signing keys", stats->notes);
    printf("%-24s %s\n", "oldest live call", *live ? live : "-");
    printf("%-24s %s\n", "oldest ended call", *ended ? ended : "-");
    printf("\n%-24s %12s %16s\n", "TABLE", "ROWS", "BYTES");
    for (unsigned i = 0; i < TABLE_COUNT; i++)
        printf("%-24s %12" PRIu64 " %16" PRIu64 "\n", tables[i], stats->rows[i], stats->bytes[i]);
}

static void print_numbers(const char *name, const uint64_t *values, size_t count,
                          const char *(*text)(unsigned i))
{
    const char *between = "";

    printf("\"%s\":{", name);
    for (unsigned i = 0; i < count; i++) {
        printf("%s\"%s\":%" PRIu64, between, text(i), values[i]);
        between = ",";
    }
    printf("},");
}

static const char *state_text(unsigned i)
{
    return i == CALL_DONE ? "undelivered" : call_state_name(i);
}

static const char *status_text(unsigned i)
{
    return status_name(i);
}

static const char *table_text(unsigned i)
{
    return tables[i];
}

static void print_json(const struct verify_stats *stats, const char *live, const char *ended)
{
    printf("{");
    print_numbers("calls", stats->calls, CALL_STATES, state_text);
    print_numbers("ended", stats->ended, STATUS_COUNT, status_text);
    print_numbers("rows", stats->rows, TABLE_COUNT, table_text);
    print_numbers("bytes", stats->bytes, TABLE_COUNT, table_text);
    if (*live)
        printf("\"oldestLive\":\"%s\",", live);
    if (*ended)
        printf("\"oldestEnded\":\"%s\",", ended);
    printf("\"treesOutOfMemory\":%" PRIu64 ",\"idempotencyKeys\":%" PRIu64 ",\"eventKeys\":%" PRIu64
           ",\"keys\":%" PRIu64 "}\n",
           stats->trees_out, stats->requests, stats->events, stats->notes);
}

static int show_stats(const struct settings *s)
{
    struct findings findings = {0};
    struct inspect_options options = {
        .store = s->url, .violation = skip_violation, .arg = &findings};
    char live[32], ended[32];
    struct verify_stats stats;
    struct error err;

    if (inspect_store(&options, &stats, &err))
        return cli_fail("%s", err.message);
    time_text(stats.oldest_live, live);
    time_text(stats.oldest_ended, ended);
    (s->json ? print_json : print_table)(&stats, live, ended);
    if (fflush(stdout))
        return cli_fail("cannot write to standard output");
    if (findings.count)
        fprintf(stderr, "Something is wrong with the store: see `dispatch store check`.\n");
    return CLI_OK;
}

/* --- the command ------------------------------------------------------------------------------ */

static int backup(const struct settings *s)
{
    struct error err;

    if (!s->argument)
        return cli_usage(&cli_store, "where to? store backup FILE");
    return inspect_backup(s->url, s->argument, &err) ? cli_fail("%s", err.message) : CLI_OK;
}

/* The argument of check and stats may be the file itself. */
static int find_store(struct settings *s)
{
    const char *given = s->store;
    struct error err;

    if (!given && s->argument && strcmp(s->action, "backup") != 0)
        given = s->argument;
    if (!given) {
        if (state_dir_store(s->url, sizeof s->url, "dispatch.db", &err))
            return cli_fail("%s", err.message);
        return CLI_OK;
    }
    if (snprintf(s->url, sizeof s->url, "%s%s", strncmp(given, "sqlite:", 7) ? "sqlite:" : "",
                 given) >= (int)sizeof s->url)
        return cli_usage(&cli_store, "the name of the store is too long");
    return CLI_OK;
}

static int act(struct settings *s)
{
    int status = find_store(s);

    if (status)
        return status;
    if (strcmp(s->action, "check") == 0)
        return check(s);
    if (strcmp(s->action, "backup") == 0)
        return backup(s);
    if (strcmp(s->action, "stats") == 0)
        return show_stats(s);
    return cli_usage(&cli_store, "store %s: it is check, backup or stats", s->action);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct settings s = {0};
    struct cli_arg arg;
    enum cli_next next;
    int at = 0;

    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (arg.option && strcmp(arg.option->name, "store") == 0)
            s.store = arg.value;
        else if (arg.option)
            s.json = true;
        else if (!s.action)
            s.action = arg.value;
        else if (!s.argument)
            s.argument = arg.value;
        else
            return cli_usage(self, "%s: one argument too many", arg.value);
    }
    if (next != CLI_NEXT_END)
        return next == CLI_NEXT_HELP ? CLI_OK : CLI_USAGE;
    return s.action ? act(&s)
                    : cli_usage(self, "what is to be done? %s %s", self->name, self->usage);
}

static const struct cli_option options[] = {
    {"store", "URL", "sqlite:PATH, or a path (default: that of `dispatch server`)"},
    {"json", NULL, "of stats: one JSON object, for programs"},
    {0},
};

static const char details[] =
    "  check [FILE]   looks at every row, what rows say of each other, and SQLite's own\n"
    "                 pages; prints what is wrong, a line each, with the call's id\n"
    "  backup FILE    copies the store to a file that is not there yet; it appears when\n"
    "                 all of it was copied, checked and synced\n"
    "  stats [FILE]   calls by state and status, keys, rows and bytes by table\n"
    "\n"
    "All three read the file as it was at one moment, beside a server that goes on. A copy\n"
    "is a store: to go back to it, stop the server and start one with --store sqlite:COPY.\n"
    "Whatever the copy does not have ended since then is run again.\n"
    "\n"
    "Example, every night:\n"
    "    dispatch store backup /backup/dispatch-$(date +%F).db \\\n"
    "        --store sqlite:/var/lib/dispatch/dispatch.db\n"
    "\n"
    "Exit status: 0 it is done and nothing is wrong; 1 it failed, or check found something;\n"
    "2 the command line is wrong.\n";

const struct cli_command cli_store = {
    .name = "store",
    .usage = "check|backup|stats [FILE] [OPTION...]",
    .summary = "check, back up or measure the file of a store",
    .details = details,
    .options = options,
    .run = run,
};
