// SPDX-License-Identifier: Apache-2.0
/*
 * `dispatch login`: gets the API key of an organization from a server, and writes it down. Without
 * a key at hand, a token is drawn and asked for once a second; the server shows a code for it, and
 * hands a key out when whoever runs it has confirmed that code.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rand.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/notice.h"
#include "cli/reach.h"

#define DEFAULT_SERVER "http://127.0.0.1:3477"
#define POLL_MS        1000
#define POLLS_MAX      600 /* as long as a code counts */
#define TOKEN_BYTES    32

struct settings {
    const char *server, *token;
};

enum { SERVER, TOKEN };

static const struct cli_option options[] = {
    [SERVER] = {"server", "URL",
                "the server to log in to (default: $DISPATCH_CONSOLE_URL, else\n"
                "$DISPATCH_API_URL, else " DEFAULT_SERVER ")"},
    [TOKEN] = {"token", "KEY",
               "an API key, made by `dispatch keys create`: it is checked and\n"
               "written down, and nobody is asked to confirm anything"},
    {0},
};

static const char details[] =
    "Shows a code, and waits until it is confirmed where the server runs:\n"
    "    dispatch keys confirm CODE\n"
    "The key that the server makes then is written to the configuration file, and its\n"
    "organization is the active one, which commands without another key go by (see\n"
    "`dispatch switch`). The file is $DISPATCH_CONFIG_PATH, else dispatch/config.toml in\n"
    "$XDG_CONFIG_HOME or ~/.config.\n"
    "\n"
    "Examples:\n"
    "    dispatch login --server https://dispatch.example\n"
    "    dispatch login --server https://dispatch.example --token \"$KEY\"\n"
    "\n"
    "Exit status: 0 logged in; 1 it failed, or nobody confirmed within 10 minutes; 2 the\n"
    "command line is wrong.\n";

static int read_settings(struct settings *s, int argc, char **argv, bool *stop)
{
    static const char *const variables[] = {"DISPATCH_CONSOLE_URL", "DISPATCH_API_URL"};
    struct cli_arg arg;
    enum cli_next next;
    int at = 0;

    while ((next = cli_next(&cli_login, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (!arg.option)
            return cli_usage(&cli_login, "%s: login takes options only", arg.value);
        *(arg.option == &options[SERVER] ? &s->server : &s->token) = arg.value;
    }
    *stop = next == CLI_NEXT_HELP;
    for (size_t i = 0; i < 2 && !s->server; i++) {
        const char *value = getenv(variables[i]);

        s->server = value && *value ? value : NULL;
    }
    if (!s->server)
        s->server = DEFAULT_SERVER;
    return next == CLI_NEXT_ERROR ? CLI_USAGE : CLI_OK;
}

/* --- asking ----------------------------------------------------------------------------------- */

static void say_code(const struct settings *s, const char *token, const char *code)
{
    struct buf text;

    buf_init(&text, 4096);
    buf_printf(&text,
               "To log in, confirm this code where the server runs:\n\n"
               "    dispatch keys confirm %s\n\n"
               "How, and for whom, says %s/cli-login?token=%s",
               code, s->server, token);
    notice_print(buf_cstr(&text));
    buf_free(&text);
}

static void draw_token(char token[2 * TOKEN_BYTES + 1])
{
    uint8_t bytes[TOKEN_BYTES];

    rand_system(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(token + 2 * i, 3, "%02x", bytes[i]);
}

static void spin(int turn)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%c Logging in...", "|/-\\"[turn % 4]);
    else if (turn == 0)
        fputs("Logging in...\n", stderr);
}

/* A server that was started again has another code for the same token. */
static int wait_for_key(const struct settings *s, struct reach *reach, struct arena *arena,
                        struct reach_text *answer, struct error *err)
{
    char token[2 * TOKEN_BYTES + 1], path[sizeof token + 32], shown[REACH_CODE_MAX] = "";
    int code;

    draw_token(token);
    snprintf(path, sizeof path, "/cli-login/token?token=%s", token);
    for (int turn = 0; turn < POLLS_MAX; turn++) {
        code = reach_get(reach, path, arena, answer, err);
        if (code || answer->status == 200)
            return code;
        if (answer->status != 204)
            return error_set(err, CODE_UNKNOWN, "%s answered with HTTP status %d", s->server,
                             answer->status);
        if (strcmp(shown, answer->login_code) != 0) {
            memcpy(shown, answer->login_code, sizeof shown);
            say_code(s, token, shown);
        }
        spin(turn);
        poll(NULL, 0, POLL_MS);
    }
    return error_set(err, CODE_DEADLINE_EXCEEDED, "nobody confirmed the code");
}

static int ask(const struct settings *s, struct arena *arena, struct reach_text *answer,
               struct error *err)
{
    const struct reach_options reach_options = {.server = s->server,
                                                .api_key = s->token ? s->token : "none"};
    struct reach *reach;
    int code = reach_open(&reach, &reach_options, err);

    if (code)
        return code;
    code = s->token ? reach_get(reach, "/cli-login/token", arena, answer, err)
                    : wait_for_key(s, reach, arena, answer, err);
    reach_close(reach);
    if (code == CODE_OK && answer->status == 401)
        return error_set(err, CODE_UNAUTHENTICATED, "the key is not one of that server's");
    if (code == CODE_OK && answer->status != 200)
        return error_set(err, CODE_UNKNOWN, "%s answered with HTTP status %d", s->server,
                         answer->status);
    return code;
}

/* --- writing down ----------------------------------------------------------------------------- */

static bool put_organization(struct config *config, const Dispatch__V1__Login__Organization *given,
                             const char *url)
{
    struct config_org *org = *given->api_key && strlen(given->api_key) <= CONFIG_KEY_MAX
                                 ? config_put(config, given->slug)
                                 : NULL;

    if (!org)
        return false;
    snprintf(org->api_key, sizeof org->api_key, "%s", given->api_key);
    snprintf(org->api_url, sizeof org->api_url, "%s", url);
    return true;
}

/* The first of them becomes the active one. */
static int take_organizations(struct config *config, struct slice body, const char *url,
                              struct arena *arena, struct error *err)
{
    Dispatch__V1__Login *login;
    int code = wire_from_json(&dispatch__v1__login__descriptor, body, arena, &login, err);
    bool good = strlen(url) <= CONFIG_URL_MAX;

    if (code)
        return code;
    for (size_t i = 0; good && i < login->n_organizations; i++)
        good = put_organization(config, login->organizations[i], url);
    if (!good || login->n_organizations == 0)
        return error_set(err, CODE_UNKNOWN, "the answer is not that of a login");
    snprintf(config->active, sizeof config->active, "%s", login->organizations[0]->slug);
    return CODE_OK;
}

static int write_down(const struct settings *s, struct slice body, struct config *config,
                      struct arena *arena, char path[PATH_MAX], struct error *err)
{
    const char *api = getenv("DISPATCH_API_URL");
    int code = config_path(path, err);

    if (code)
        return code;
    code = config_load(config, path, err);
    if (code == CODE_NOT_FOUND) {
        *config = (struct config){0};
        code = CODE_OK;
    }
    if (code == CODE_OK)
        code = take_organizations(config, body, api && *api ? api : s->server, arena, err);
    return code ? code : config_save(config, path, err);
}

static int log_in(const struct settings *s)
{
    struct config *config = calloc(1, sizeof *config);
    struct reach_text answer;
    char path[PATH_MAX];
    struct arena arena;
    struct error err;
    int code;

    arena_init(&arena, (size_t)1 << 20);
    code = config ? ask(s, &arena, &answer, &err) : error_memory(&err);
    if (code == CODE_OK)
        code = write_down(s, answer.body, config, &arena, path, &err);
    arena_reset(&arena);
    free(config);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    if (code)
        return cli_fail("Authentication failed. %s", err.message);
    fprintf(stderr, "Authentication successful\nConfiguration file created at %s\n", path);
    return CLI_OK;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
    struct settings s = {0};
    bool stop = false;
    int status = read_settings(&s, argc, argv, &stop);

    (void)self;
    return status || stop ? status : log_in(&s);
}

const struct cli_command cli_login = {
    .name = "login",
    .group = CLI_GROUP_ACCOUNT,
    .usage = "[OPTION...]",
    .summary = "get an API key from a server, and write it down",
    .details = details,
    .options = options,
    .run = run,
};
