// SPDX-License-Identifier: Apache-2.0
/* `dispatch keys`: the API keys of the organizations, and `dispatch verification`: the keys that
 * runs are signed with. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/reach.h"

#define ARENA_MAX ((size_t)4 << 20)

struct settings {
    struct reach_options reach;
    const char *name;
    const char *action, *argument;
};

#define STORE_HELP                                                                                 \
    "sqlite:PATH of the server's store (default: that of `dispatch server`);\n"                    \
    "the server that holds it is asked, through the socket PATH.sock"

/* --- options ---------------------------------------------------------------------------------- */

/* Those of both commands by their names. */
static int read_option(const struct cli_command *self, struct settings *s,
                       const struct cli_arg *arg)
{
    const char *name = arg->option->name;

    if (strcmp(name, "store") == 0)
        s->reach.store = arg->value;
    else if (strcmp(name, "org") == 0)
        s->reach.org = arg->value;
    else if (strcmp(name, "name") == 0)
        s->name = arg->value;
    else if (strcmp(name, "server") == 0)
        s->reach.server = arg->value;
    else
        return cli_usage(self, "--%s is not read", name);
    return CLI_OK;
}

static int read_settings(const struct cli_command *self, struct settings *s, int argc, char **argv,
                         bool *stop)
{
    struct cli_arg arg;
    enum cli_next next;
    int at = 0, status;

    while ((next = cli_next(self, argc, argv, &at, &arg)) == CLI_NEXT_ARG) {
        if (arg.option) {
            status = read_option(self, s, &arg);
            if (status)
                return status;
        } else if (!s->action) {
            s->action = arg.value;
        } else if (!s->argument) {
            s->argument = arg.value;
        } else {
            return cli_usage(self, "%s: one argument too many", arg.value);
        }
    }
    *stop = next == CLI_NEXT_HELP;
    if (next == CLI_NEXT_ERROR)
        return CLI_USAGE;
    if (!*stop && !s->action)
        return cli_usage(self, "what is to be done? %s %s", self->name, self->usage);
    return CLI_OK;
}

/* --- keys ------------------------------------------------------------------------------------- */

static int create(struct reach *reach, const struct settings *s, struct arena *arena,
                  struct error *err)
{
    Dispatch__V1__CreateKeyRequest request = DISPATCH__V1__CREATE_KEY_REQUEST__INIT;
    Dispatch__V1__CreateKeyResponse *made;
    int code;

    request.organization = (char *)(uintptr_t)(s->reach.org ? s->reach.org : "");
    request.name = (char *)(uintptr_t)(s->name ? s->name : "");
    code = reach_ask(reach, "/dispatch.v1.KeyService/CreateKey", &request,
                     &dispatch__v1__create_key_response__descriptor, arena, &made, err);
    if (code)
        return code;
    printf("%s\n", made->secret);
    fprintf(stderr, "This is %s of organization %s. It is shown only now: keep it.\n",
            made->key ? made->key->key_id : "", made->key ? made->key->organization : "");
    return CODE_OK;
}

static int list(struct reach *reach, const struct settings *s, struct arena *arena,
                struct error *err)
{
    Dispatch__V1__ListKeysRequest request = DISPATCH__V1__LIST_KEYS_REQUEST__INIT;
    Dispatch__V1__ListKeysResponse *found;
    int code;

    request.organization = (char *)(uintptr_t)(s->reach.org ? s->reach.org : "");
    code = reach_ask(reach, "/dispatch.v1.KeyService/ListKeys", &request,
                     &dispatch__v1__list_keys_response__descriptor, arena, &found, err);
    if (code)
        return code;
    printf("%-12s %-20s %-20s %s\n", "KEY", "ORGANIZATION", "CREATED", "NAME");
    for (size_t i = 0; i < found->n_keys; i++) {
        const Dispatch__V1__Key *key = found->keys[i];
        time_t created = key->creation_time ? (time_t)key->creation_time->seconds : 0;
        char when[32] = "";
        struct tm utc;

        if (gmtime_r(&created, &utc))
            strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
        printf("%-12s %-20s %-20s %s\n", key->key_id, key->organization, when, key->name);
    }
    return CODE_OK;
}

static int revoke(struct reach *reach, const struct settings *s, struct arena *arena,
                  struct error *err)
{
    Dispatch__V1__RevokeKeyRequest request = DISPATCH__V1__REVOKE_KEY_REQUEST__INIT;
    Dispatch__V1__RevokeKeyResponse *done;

    request.key_id = (char *)(uintptr_t)s->argument;
    return reach_ask(reach, "/dispatch.v1.KeyService/RevokeKey", &request,
                     &dispatch__v1__revoke_key_response__descriptor, arena, &done, err);
}

static int confirm(struct reach *reach, const struct settings *s, struct arena *arena,
                   struct error *err)
{
    Dispatch__V1__ConfirmLoginRequest request = DISPATCH__V1__CONFIRM_LOGIN_REQUEST__INIT;
    Dispatch__V1__ConfirmLoginResponse *done;
    int code;

    request.code = (char *)(uintptr_t)s->argument;
    request.organization = (char *)(uintptr_t)(s->reach.org ? s->reach.org : "");
    code = reach_ask(reach, "/dispatch.v1.KeyService/ConfirmLogin", &request,
                     &dispatch__v1__confirm_login_response__descriptor, arena, &done, err);
    if (code == CODE_OK)
        fprintf(stderr, "Whoever showed that code gets %s of organization %s.\n",
                done->key ? done->key->key_id : "", done->key ? done->key->organization : "");
    return code;
}

/* --- verification ----------------------------------------------------------------------------- */

static int get(struct reach *reach, const struct settings *s, struct arena *arena,
               struct error *err)
{
    Dispatch__V1__ListSigningKeysRequest request = DISPATCH__V1__LIST_SIGNING_KEYS_REQUEST__INIT;
    Dispatch__V1__ListSigningKeysResponse *found;
    int code = reach_ask(reach, "/dispatch.v1.SigningKeyService/ListSigningKeys", &request,
                         &dispatch__v1__list_signing_keys_response__descriptor, arena, &found, err);

    (void)s;
    if (code)
        return code;
    if (found->n_keys == 0 || !found->keys[0]->asymmetric_key)
        return error_set(err, CODE_NOT_FOUND,
                         "Key not found. Use `dispatch verification rollout` to create the first "
                         "key.");
    fputs(found->keys[0]->asymmetric_key->public_key, stdout);
    return CODE_OK;
}

static int rollout(struct reach *reach, const struct settings *s, struct arena *arena,
                   struct error *err)
{
    Dispatch__V1__CreateSigningKeyRequest request = DISPATCH__V1__CREATE_SIGNING_KEY_REQUEST__INIT;
    Dispatch__V1__CreateSigningKeyResponse *made;
    int code = reach_ask(reach, "/dispatch.v1.SigningKeyService/CreateSigningKey", &request,
                         &dispatch__v1__create_signing_key_response__descriptor, arena, &made, err);

    (void)s;
    if (code)
        return code;
    if (!made->key || !made->key->asymmetric_key)
        return error_set(err, CODE_UNKNOWN, "the server answered without a key");
    printf("New key:\n%s", made->key->asymmetric_key->public_key);
    return CODE_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

struct action {
    const char *name;
    bool argument;
    int (*run)(struct reach *reach, const struct settings *s, struct arena *arena,
               struct error *err);
};

static const struct action key_actions[] = {{"create", false, create},
                                            {"list", false, list},
                                            {"revoke", true, revoke},
                                            {"confirm", true, confirm},
                                            {0}};
static const struct action verification_actions[] = {
    {"get", false, get}, {"rollout", false, rollout}, {0}};

/* `failed`: the exit status if whoever was asked did not answer, or with an error. */
static int carry_out(const struct action *action, const struct settings *s, int failed)
{
    struct reach *reach = NULL;
    struct arena arena;
    struct error err;
    int code = reach_open(&reach, &s->reach, &err);

    if (code)
        return cli_fail("%s", err.message);
    arena_init(&arena, ARENA_MAX);
    code = action->run(reach, s, &arena, &err);
    reach_close(reach);
    arena_reset(&arena);
    if (!code)
        return CLI_OK;
    cli_fail("%s", err.message);
    return failed;
}

static int run_one(const struct cli_command *self, const struct action *actions, bool operator_only,
                   int argc, char **argv)
{
    struct settings s = {.reach = {.operator_only = operator_only}};
    bool stop = false;
    int status = read_settings(self, &s, argc, argv, &stop);

    if (status || stop)
        return status;
    while (actions->name && strcmp(actions->name, s.action) != 0)
        actions++;
    if (!actions->name)
        return cli_usage(self, "there is no %s %s", self->name, s.action);
    if (actions->argument && !s.argument)
        return cli_usage(self, "%s %s: which one?", self->name, s.action);
    if (!actions->argument && s.argument)
        return cli_usage(self, "%s: one argument too many", s.argument);
    return carry_out(actions, &s, operator_only ? CLI_FAILURE : CLI_OK);
}

static int run_keys(const struct cli_command *self, int argc, char **argv)
{
    return run_one(self, key_actions, true, argc, argv);
}

static int run_verification(const struct cli_command *self, int argc, char **argv)
{
    return run_one(self, verification_actions, false, argc, argv);
}

static const struct cli_option key_options[] = {
    {"store", "URL", STORE_HELP},
    {"org", "SLUG",
     "the organization (create, confirm: default is \"default\"; list: all of them)"},
    {"name", "TEXT", "of a new key: what it is for"},
    {0},
};

static const char key_details[] =
    "create  makes an API key and prints it. Only its hash is kept: it is shown once.\n"
    "list    shows the keys that there are, without the secrets.\n"
    "revoke  takes the key of that id away; from then on it opens nothing.\n"
    "confirm lets the `dispatch login` in that shows this code, with a key made for it.\n"
    "\n"
    "An organization comes into being with its first key. It sees its own calls alone.\n"
    "\n"
    "Examples:\n"
    "    dispatch keys create --org acme --name ci\n"
    "    dispatch keys list\n"
    "    dispatch keys revoke key-3\n"
    "\n"
    "Who may: whoever may write to the store's file.\n";

const struct cli_command cli_keys = {
    .name = "keys",
    .usage = "create|list|revoke|confirm [ID|CODE] [OPTION...]",
    .summary = "make, list and revoke API keys; confirm logins",
    .details = key_details,
    .options = key_options,
    .run = run_keys,
};

static const struct cli_option verification_options[] = {
    {"server", "URL", "the API of a server (default: DISPATCH_API_URL, if it is set)"},
    {"store", "URL", STORE_HELP},
    {"org", "SLUG", "with a store: the organization (default: \"default\")"},
    {0},
};

static const char verification_details[] =
    "An organization that has a signing key has its runs signed, and an application\n"
    "that has the public key refuses what is not: it is what its environment has in\n"
    "DISPATCH_VERIFICATION_KEY.\n"
    "\n"
    "get      prints the public key that fits the signatures.\n"
    "rollout  makes a new key, which signs from then on, and prints its public half.\n"
    "         Give it to the applications at once: runs that they refuse meanwhile end\n"
    "         as PERMISSION_DENIED.\n"
    "\n"
    "Example:\n"
    "    dispatch verification rollout\n"
    "    DISPATCH_VERIFICATION_KEY=\"$(dispatch verification get)\" ./app\n"
    "\n"
    "Exit status: 0, also if there is no key or the server gives none, as it always was\n"
    "(stdout is empty then); 1 whom to ask is not clear, or the store cannot be opened;\n"
    "2 the command line is wrong.\n";

const struct cli_command cli_verification = {
    .name = "verification",
    .group = CLI_GROUP_ACCOUNT,
    .usage = "get|rollout [OPTION...]",
    .summary = "the keys that runs are signed with",
    .details = verification_details,
    .options = verification_options,
    .run = run_verification,
};
