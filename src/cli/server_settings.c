// SPDX-License-Identifier: Apache-2.0
/*
 * Collected: the command line, then of the file what the command line does not say, then what has a
 * default and was not said. Then each value is read by its option's reader, whose errors say what
 * is wrong with it; where it stands is put before them.
 */
#include "cli/server_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/state_dir.h"
#include "cli/toml.h"
#include "server/lambda.h"

#define DEFAULT_LISTEN "127.0.0.1:3477"
#define RUNS_LIMIT     1000000
#define FILE_MAX       ((size_t)256 << 10)

enum {
    LISTEN,
    STORE,
    API_KEY,
    API_KEY_FILE,
    INSECURE,
    TLS_CERT,
    TLS_KEY,
    CA_FILE,
    ALLOW_ENDPOINT,
    LAMBDA_URL,
    RUN_TIMEOUT,
    MAX_RUNS,
    GRACE,
    METRICS_PUBLIC,
    RETENTION_TIME,
    RETENTION_SIZE,
    LOG_FORMAT,
    LOG_LEVEL,
    READY_FD,
    READY_FILE,
    CONFIG,
    PRINT_CONFIG,
    OPTION_COUNT,
};

const struct cli_option server_settings_options[] = {
    [LISTEN] = {"listen", "HOST:PORT",
                "where clients reach the API (default: " DEFAULT_LISTEN "); repeatable;\n"
                "port 0 takes any free one; without HOST: all addresses"},
    [STORE] = {"store", "URL",
               "where calls are kept: sqlite:PATH, or memory: to forget them at the end\n"
               "(default: dispatch.db in $XDG_STATE_HOME/dispatch, which is\n"
               "~/.local/state/dispatch unless set)"},
    [API_KEY] = {"api-key", "KEY",
                 "a key that clients may use; repeatable (other users of the machine can\n"
                 "see it in the list of processes: --api-key-file hides it)"},
    [API_KEY_FILE] = {"api-key-file", "FILE",
                      "keys that clients may use, one a line; repeatable; lines that begin\n"
                      "with # are skipped; SIGHUP has it read again"},
    [INSECURE] = {"insecure", NULL,
                  "take requests without a key; only on addresses of the loopback"},
    [TLS_CERT] = {"tls-cert", "FILE",
                  "speak TLS with this certificate: a PEM file, the chain behind it;\n"
                  "SIGHUP has it and the key read again"},
    [TLS_KEY] = {"tls-key", "FILE",
                 "the certificate's private key: a PEM file without a passphrase"},
    [CA_FILE] = {"ca-file", "FILE",
                 "for calls to https endpoints: trust the authorities in this PEM file\n"
                 "instead of the system's"},
    [ALLOW_ENDPOINT] = {"allow-endpoint", "PATTERN",
                        "call endpoints that match, and no others: [SCHEME://]HOST[:PORT], where\n"
                        "HOST is a name with '*' for any characters, or a range of addresses\n"
                        "such as 10.0.0.0/8; repeatable"},
    [LAMBDA_URL] = {"lambda-url", "URL",
                    "where AWS Lambda's Invoke API is spoken, for calls to arn:aws:lambda:...:\n"
                    "a proxy that signs for AWS, or an emulator (without: such calls end with an\n"
                    "error)"},
    [RUN_TIMEOUT] = {"run-timeout", "TIME",
                     "how long an endpoint may take to answer one run (default: 60s)"},
    [MAX_RUNS] = {"max-runs", "N",
                  "how many runs may be in flight to all endpoints together (default: 4096)"},
    [GRACE] = {"grace", "TIME",
               "at the end, how long to wait for runs in flight (default: 10s); those\n"
               "that take longer are made again after the next start"},
    [METRICS_PUBLIC] = {"metrics-public", NULL, "GET /metrics asks nobody for a key"},
    [RETENTION_TIME] = {"retention-time", "TIME",
                        "how long a finished call is kept (default: 72h); at least 1h"},
    [RETENTION_SIZE] = {"retention-size", "SIZE",
                        "what finished calls may take together (default: 10GiB); past it the\n"
                        "oldest go earlier, but not within an hour: new calls are refused instead"},
    [LOG_FORMAT] = {"log-format", "FORMAT", "logfmt (default) or json; logs go to stderr"},
    [LOG_LEVEL] = {"log-level", "LEVEL", "debug, info (default), warn or error"},
    [READY_FD] = {"ready-fd", "N",
                  "write the addresses, one a line, to this descriptor once calls are taken,\n"
                  "and close it"},
    [READY_FILE] = {"ready-file", "PATH", "the same to a file, which appears complete"},
    [CONFIG] = {"config", "FILE",
                "options from a TOML file, by the same names: grace = '10s'; listen = ['a', 'b'];\n"
                "insecure = true; the command line wins; SIGHUP has it read again"},
    [PRINT_CONFIG] = {"print-config", NULL,
                      "print all options as they are, as such a file, and leave"},
    {0},
};

/* --- one value -------------------------------------------------------------------------------- */

typedef int read_value(struct server_settings *s, const char *value, struct error *err);

static int refuse(struct error *err, const char *what)
{
    return error_set(err, CODE_INVALID_ARGUMENT, "%s", what);
}

static int read_listen(struct server_settings *s, const char *value, struct error *err)
{
    if (s->listen_count == SERVER_LISTEN_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "there are more than %d addresses",
                         SERVER_LISTEN_MAX);
    s->listen[s->listen_count++] = value;
    return CODE_OK;
}

static int read_time(const char *value, uint32_t *ms, struct error *err)
{
    return cli_duration(value, ms) ? CODE_OK
                                   : refuse(err, "a time is written like 250ms, 10s, 5m or 2h");
}

static int read_grace(struct server_settings *s, const char *value, struct error *err)
{
    return read_time(value, &s->grace_ms, err);
}

static int read_run_timeout(struct server_settings *s, const char *value, struct error *err)
{
    int code = read_time(value, &s->run_timeout_ms, err);

    return code == CODE_OK && s->run_timeout_ms == 0 ? refuse(err, "no run would have time to end")
                                                     : code;
}

static int read_max_runs(struct server_settings *s, const char *value, struct error *err)
{
    unsigned long n = 0;
    char *end = NULL;

    if (*value >= '0' && *value <= '9')
        n = strtoul(value, &end, 10);
    if (!end || *end || n < 1 || n > RUNS_LIMIT)
        return error_set(err, CODE_INVALID_ARGUMENT, "it is a number from 1 to %d", RUNS_LIMIT);
    s->runs_max = (uint32_t)n;
    return CODE_OK;
}

static int read_retention_time(struct server_settings *s, const char *value, struct error *err)
{
    int code = read_time(value, &s->retention_ms, err);

    return code == CODE_OK && s->retention_ms < 3600000
               ? refuse(err, "results are kept for an hour at least")
               : code;
}

static int read_retention_size(struct server_settings *s, const char *value, struct error *err)
{
    return cli_size(value, &s->retention_bytes) && s->retention_bytes
               ? CODE_OK
               : refuse(err, "a size is written like 500MiB or 10GiB");
}

static int read_log_format(struct server_settings *s, const char *value, struct error *err)
{
    if (strcmp(value, "logfmt") != 0 && strcmp(value, "json") != 0)
        return refuse(err, "it is logfmt or json");
    s->log_format = *value == 'j' ? LOG_JSON : LOG_LOGFMT;
    return CODE_OK;
}

static int read_log_level(struct server_settings *s, const char *value, struct error *err)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value, names[i]) == 0) {
            s->log_level = (enum log_level)i;
            return CODE_OK;
        }
    }
    return refuse(err, "it is debug, info, warn or error");
}

static int read_ready_fd(struct server_settings *s, const char *value, struct error *err)
{
    char *end;
    long fd = strtol(value, &end, 10);

    if (end == value || *end || fd < 0 || fd > INT_MAX)
        return refuse(err, "it is not an open descriptor");
    s->ready_fd = (int)fd;
    return CODE_OK;
}

static int read_key(struct server_settings *s, const char *value, struct error *err)
{
    return keys_add(&s->keys, slice_str(value), err);
}

static int read_key_file(struct server_settings *s, const char *value, struct error *err)
{
    s->key_files = true;
    return keys_add_file(&s->keys, value, err);
}

static int read_allow_endpoint(struct server_settings *s, const char *value, struct error *err)
{
    return policy_add(&s->policy, value, err);
}

static int read_lambda_url(struct server_settings *s, const char *value, struct error *err)
{
    struct net_url url;
    int code = lambda_url(value, &url, err);

    s->lambda_url = value;
    return code;
}

/* What an option is, beyond what the command line has to know. A reader or the offset of what it
 * sets; neither: what is collected says all. */
static const struct kind {
    read_value *read;
    size_t text, flag; /* offsets; 0: none */
    const char *fallback;
    bool repeats;
    bool changes; /* while a server runs */
    bool secret;  /* an error does not show it */
    bool once;    /* it has no place in a file */
} kinds[OPTION_COUNT] = {
    [LISTEN] = {.read = read_listen, .fallback = DEFAULT_LISTEN, .repeats = true},
    [STORE] = {.text = offsetof(struct server_settings, store)},
    [API_KEY] = {.read = read_key, .repeats = true, .changes = true, .secret = true},
    [API_KEY_FILE] = {.read = read_key_file, .repeats = true, .changes = true},
    [INSECURE] = {.flag = offsetof(struct server_settings, insecure), .fallback = "false"},
    [TLS_CERT] = {.text = offsetof(struct server_settings, tls_cert)},
    [TLS_KEY] = {.text = offsetof(struct server_settings, tls_key)},
    [CA_FILE] = {.text = offsetof(struct server_settings, ca_file)},
    [ALLOW_ENDPOINT] = {.read = read_allow_endpoint, .repeats = true},
    [LAMBDA_URL] = {.read = read_lambda_url},
    [RUN_TIMEOUT] = {.read = read_run_timeout, .fallback = "60s"},
    [MAX_RUNS] = {.read = read_max_runs, .fallback = "4096"},
    [GRACE] = {.read = read_grace, .fallback = "10s"},
    [METRICS_PUBLIC] = {.flag = offsetof(struct server_settings, metrics_public),
                        .fallback = "false"},
    [RETENTION_TIME] = {.read = read_retention_time, .fallback = "72h"},
    [RETENTION_SIZE] = {.read = read_retention_size, .fallback = "10GiB"},
    [LOG_FORMAT] = {.read = read_log_format, .fallback = "logfmt", .changes = true},
    [LOG_LEVEL] = {.read = read_log_level, .fallback = "info", .changes = true},
    [READY_FD] = {.read = read_ready_fd, .once = true},
    [READY_FILE] = {.text = offsetof(struct server_settings, ready_file)},
    [CONFIG] = {.text = offsetof(struct server_settings, config), .once = true},
    [PRINT_CONFIG] = {.flag = offsetof(struct server_settings, print), .once = true},
};

static const struct kind *kind_of(const struct cli_option *option)
{
    return &kinds[option - server_settings_options];
}

static bool is_flag(const struct cli_option *option)
{
    return !option->arg;
}

/* --- collecting ------------------------------------------------------------------------------- */

static bool is_given(const struct server_settings *s, size_t count, const struct cli_option *option)
{
    for (size_t i = 0; i < count; i++) {
        if (s->given[i].option == option)
            return true;
    }
    return false;
}

static bool add(struct server_settings *s, const struct cli_option *option, const char *value,
                unsigned line)
{
    if (s->given_count == SERVER_SETTINGS_MAX)
        return false;
    s->given[s->given_count++] = (struct server_setting){option, value, line};
    return true;
}

static int collect(void *to, const struct cli_arg *arg)
{
    struct server_settings *s = to;

    if (!arg->option)
        return cli_usage(&cli_server, "server takes options only: %s", arg->value);
    if (arg->option == &server_settings_options[CONFIG])
        s->config = arg->value;
    if (!add(s, arg->option, is_flag(arg->option) ? "true" : arg->value, 0))
        return cli_usage(&cli_server, "there are more than %d options", SERVER_SETTINGS_MAX);
    s->from_line = s->given_count;
    return CLI_OK;
}

int server_settings_collect(struct server_settings *s, int argc, char **argv, bool *stop)
{
    *s = (struct server_settings){.ready_fd = -1};
    arena_init(&s->arena, 4 * FILE_MAX);
    keys_init(&s->keys);
    policy_init(&s->policy);
    return cli_read(&cli_server, argc, argv, collect, s, stop);
}

void server_settings_free(struct server_settings *s)
{
    arena_reset(&s->arena);
    keys_free(&s->keys);
    policy_free(&s->policy);
}

/* --- the file --------------------------------------------------------------------------------- */

static int unknown(const char *name, struct error *err)
{
    const struct cli_option *meant = cli_option_nearest(&cli_server, name);

    if (meant && !kind_of(meant)->once)
        return error_set(err, CODE_INVALID_ARGUMENT, "there is no option %s: did you mean %s?",
                         name, meant->name);
    return error_set(err, CODE_INVALID_ARGUMENT,
                     "there is no option %s for a file: see dispatch help server", name);
}

/* Of what kind a value is written. */
static int check_kind(const struct cli_option *option, const struct toml_pair *pair,
                      struct error *err)
{
    bool number = strspn(pair->value, "0123456789") == strlen(pair->value);

    if (pair->listed && !kind_of(option)->repeats)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s has one value, not an array",
                         option->name);
    if (is_flag(option) &&
        (pair->quoted || (strcmp(pair->value, "true") != 0 && strcmp(pair->value, "false") != 0)))
        return error_set(err, CODE_INVALID_ARGUMENT, "%s is true or false", option->name);
    if (!is_flag(option) && !pair->quoted && !number)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s is a string, in quotes", option->name);
    return CODE_OK;
}

static int take(void *arg, const struct toml_pair *pair, struct error *err)
{
    struct server_settings *s = arg;
    const struct cli_option *option;
    char *value;
    int code;

    if (pair->depth > 1)
        return error_set(err, CODE_INVALID_ARGUMENT, "there are no tables here: %s",
                         pair->names[0]);
    option = cli_option_find(&cli_server, pair->names[0]);
    if (!option || kind_of(option)->once)
        return unknown(pair->names[0], err);
    code = check_kind(option, pair, err);
    if (code || is_given(s, s->from_line, option)) /* the command line wins */
        return code;
    for (size_t i = s->from_line; i < s->given_count; i++) {
        if (s->given[i].option == option && (!pair->listed || s->given[i].line != pair->line))
            return error_set(err, CODE_INVALID_ARGUMENT, "%s is given twice", option->name);
    }
    value = arena_dup(&s->arena, slice_str(pair->value));
    if (!value)
        return error_memory(err);
    if (!add(s, option, value, pair->line))
        return error_set(err, CODE_INVALID_ARGUMENT, "there are more than %d values",
                         SERVER_SETTINGS_MAX);
    return CODE_OK;
}

static int read_file(struct server_settings *s, struct error *err)
{
    FILE *file = fopen(s->config, "re");
    char *text = malloc(FILE_MAX + 1);
    struct error why;
    size_t len = 0;
    int code;

    if (file && text)
        len = fread(text, 1, FILE_MAX + 1, file);
    if (!text)
        code = error_memory(err);
    else if (!file || ferror(file))
        code = error_set(err, CODE_INVALID_ARGUMENT, "--config %s: %s", s->config, strerror(errno));
    else if (len > FILE_MAX)
        code =
            error_set(err, CODE_INVALID_ARGUMENT, "--config %s: the file is too large", s->config);
    else if ((code = toml_read(slice(text, len), take, s, &why)))
        error_set(err, code, "%s, %s", s->config, why.message);
    if (file)
        fclose(file);
    free(text);
    return code;
}

/* --- what all says ---------------------------------------------------------------------------- */

static bool add_defaults(struct server_settings *s)
{
    bool room = true;

    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct cli_option *option = &server_settings_options[i];

        if (kinds[i].fallback && !is_given(s, s->given_count, option))
            room = room && add(s, option, kinds[i].fallback, 0);
    }
    return room;
}

static int read_one(struct server_settings *s, const struct server_setting *setting,
                    struct error *err)
{
    const struct kind *kind = kind_of(setting->option);
    const char *name = setting->option->name;
    struct error why;
    int code;

    if (kind->text)
        memcpy((char *)s + kind->text, &setting->value, sizeof setting->value);
    if (kind->flag)
        *(bool *)((char *)s + kind->flag) = *setting->value == 't';
    code = kind->read ? kind->read(s, setting->value, &why) : CODE_OK;
    if (code && setting->line)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s, line %u: %s: %s", s->config,
                         setting->line, name, why.message);
    if (code)
        return error_set(err, CODE_INVALID_ARGUMENT, "--%s%s%s: %s", name, kind->secret ? "" : " ",
                         kind->secret ? "" : setting->value, why.message);
    return CODE_OK;
}

/* What only all of them together tell. */
static int check_together(const struct server_settings *s, struct error *err)
{
    if (s->keys.count == 0 && !s->insecure && strcmp(s->store, "memory:") == 0)
        return refuse(err,
                      "there is no API key for clients to use, and memory: keeps none: give one "
                      "with --api-key KEY, --api-key-file FILE\nor in DISPATCH_API_KEYS; or, "
                      "for this machine alone, take requests without one: --insecure");
    if (!s->tls_cert != !s->tls_key)
        return error_set(err, CODE_INVALID_ARGUMENT, "%s is given without %s: TLS needs both",
                         s->tls_cert ? "--tls-cert" : "--tls-key",
                         s->tls_cert ? "--tls-key" : "--tls-cert");
    return CODE_OK;
}

static int choose_store(struct server_settings *s, struct error *err)
{
    int code;

    if (s->store)
        return CODE_OK;
    code = state_dir_store(s->default_store, sizeof s->default_store, "dispatch.db", err);
    if (code)
        return code;
    s->store = s->default_store;
    return add(s, &server_settings_options[STORE], s->store, 0) ? CODE_OK : error_memory(err);
}

int server_settings_understand(struct server_settings *s, struct error *err)
{
    const char *keys = getenv("DISPATCH_API_KEYS");
    struct error why;
    int code = s->config ? read_file(s, err) : CODE_OK;

    if (code == CODE_OK && !add_defaults(s))
        code = error_memory(err);
    for (size_t i = 0; i < s->given_count && code == CODE_OK; i++)
        code = read_one(s, &s->given[i], err);
    if (code == CODE_OK && keys && (code = keys_add_list(&s->keys, keys, &why)))
        error_set(err, code, "DISPATCH_API_KEYS: %s", why.message);
    if (code == CODE_OK)
        code = choose_store(s, err);
    return code == CODE_OK ? check_together(s, err) : code;
}

/* --- reading it again ------------------------------------------------------------------------- */

/* The `n`-th value of the option; NULL: there are fewer. */
static const char *nth(const struct server_settings *s, const struct cli_option *option, size_t n)
{
    for (size_t i = 0; i < s->given_count; i++) {
        if (s->given[i].option == option && n-- == 0)
            return s->given[i].value;
    }
    return NULL;
}

static bool same(const struct server_settings *a, const struct server_settings *b,
                 const struct cli_option *option)
{
    for (size_t n = 0;; n++) {
        const char *left = nth(a, option, n), *right = nth(b, option, n);

        if (!left || !right || strcmp(left, right) != 0)
            return left == right;
    }
}

int server_settings_reload(struct server_settings *s, int argc, char **argv,
                           void (*stays)(void *arg, const char *option), void *arg,
                           struct error *err)
{
    struct server_settings *fresh = malloc(sizeof *fresh);
    bool stop;
    int code;

    if (!fresh)
        return error_memory(err);
    if (server_settings_collect(fresh, argc, argv, &stop))
        code = refuse(err, "the command line cannot be read again");
    else
        code = server_settings_understand(fresh, err);
    if (code == CODE_OK) {
        struct keys before = s->keys;

        s->keys = fresh->keys;
        fresh->keys = before;
        s->log_level = fresh->log_level;
        s->log_format = fresh->log_format;
    }
    for (size_t i = 0; i < OPTION_COUNT && code == CODE_OK; i++) {
        const struct cli_option *option = &server_settings_options[i];

        if (!kinds[i].changes && !same(s, fresh, option))
            stays(arg, option->name);
    }
    server_settings_free(fresh);
    free(fresh);
    return code;
}

/* --- printing --------------------------------------------------------------------------------- */

static void print_value(const struct cli_option *option, const char *value, struct buf *out)
{
    if (is_flag(option))
        buf_append_str(out, value);
    else
        toml_write_string(out, value);
}

/* False: one of the values cannot stand in a file. */
static bool print_values(const struct server_settings *s, const struct cli_option *option,
                         struct buf *out)
{
    bool listed = kind_of(option)->repeats, good = true;
    const char *value;

    if (!nth(s, option, 0)) {
        buf_printf(out, "# %s = %s'%s'%s\n", option->name, listed ? "[" : "", option->arg,
                   listed ? "]" : "");
        return true;
    }
    buf_printf(out, "%s = %s", option->name, listed ? "[" : "");
    for (size_t n = 0; (value = nth(s, option, n)); n++) {
        if (!listed && nth(s, option, n + 1))
            continue; /* the last one counts */
        buf_append_str(out, listed && n ? ", " : "");
        print_value(option, value, out);
        for (const char *p = value; *p; p++)
            good = good && (unsigned char)*p >= ' ' && *p != 0x7f;
        good = good && slice_is_utf8(slice_str(value)) && strlen(value) < TOML_VALUE_MAX;
    }
    buf_append_str(out, listed ? "]\n" : "\n");
    return good;
}

static void print_help(const struct cli_option *option, struct buf *out)
{
    for (const char *line = option->help; *line;) {
        size_t len = strcspn(line, "\n");

        buf_printf(out, "# %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

int server_settings_print(const struct server_settings *s, struct buf *out, struct error *err)
{
    buf_append_str(out,
                   "# For dispatch server --config FILE. Keys in DISPATCH_API_KEYS count, too.\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct cli_option *option = &server_settings_options[i];

        if (kinds[i].once)
            continue;
        buf_append_str(out, "\n");
        print_help(option, out);
        if (!print_values(s, option, out))
            return error_set(err, CODE_INVALID_ARGUMENT,
                             "the value of --%s has characters that a file cannot have, or too "
                             "many",
                             option->name);
    }
    return out->failed ? error_memory(err) : CODE_OK;
}
