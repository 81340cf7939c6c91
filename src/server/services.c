// SPDX-License-Identifier: Apache-2.0
/*
 * The methods about keys. A change is put into the store first, and made in memory when that is
 * durable: whoever is told of a key can use it, and one that is said to be revoked opens nothing.
 */
#include <sodium.h>
#include <stdlib.h>

#include "server/api.h"

/* A change on its way to the store. */
struct change {
    struct rpc *rpc;
    struct credential key;
    char secret[CREDENTIALS_SECRET];
    uint64_t superseded; /* the key that goes with this change; 0: none */
};

static void free_change(struct change *change)
{
    sodium_memzero(change, sizeof *change);
    free(change);
}

static struct change *new_change(struct rpc *rpc)
{
    struct change *change = calloc(1, sizeof *change);
    struct error err;

    if (!change) {
        error_memory(&err);
        rpc_end(rpc, &err, NULL);
        return NULL;
    }
    change->rpc = rpc;
    return change;
}

static void refuse(struct change *change, const struct error *err)
{
    struct rpc *rpc = change->rpc;

    free_change(change);
    rpc_end(rpc, err, NULL);
}

static void put(struct change *change, orchestrator_cancelled *done)
{
    struct error err;

    if (credential_put(change->rpc->api->orchestrator, &change->key, done, change, &err))
        refuse(change, &err);
}

/* The change is durable; false: it failed, and was answered. */
static bool is_durable(struct change *change, const struct error *error)
{
    struct error err;

    if (!error && credentials_add(change->rpc->api->credentials, &change->key))
        return true;
    error_memory(&err);
    refuse(change, error ? error : &err);
    return false;
}

/* --- API keys --------------------------------------------------------------------------------- */

/* Filled in with views into `key` and the two buffers. */
static void to_wire(const struct credential *key, char id[CREDENTIALS_ID_MAX],
                    wire_timestamp *created, Dispatch__V1__Key *out)
{
    dispatch__v1__key__init(out);
    google__protobuf__timestamp__init(created);
    wire_set_time(created, key->created);
    credential_id(key, id);
    out->key_id = id;
    out->organization = (char *)(uintptr_t)key->org;
    out->name = (char *)(uintptr_t)key->name;
    out->creation_time = created;
}

static void key_created(void *arg, const struct error *error)
{
    Dispatch__V1__CreateKeyResponse response = DISPATCH__V1__CREATE_KEY_RESPONSE__INIT;
    struct change *change = arg;
    char id[CREDENTIALS_ID_MAX];
    wire_timestamp created;
    Dispatch__V1__Key key;

    if (!is_durable(change, error))
        return;
    to_wire(&change->key, id, &created, &key);
    response.key = &key;
    response.secret = change->secret;
    log_line(change->rpc->api->log, LOG_INFO, "API key created", LOG_STR("key", id),
             LOG_STR("organization", change->key.org), LOG_STR("name", change->key.name));
    rpc_end(change->rpc, NULL, &response);
    free_change(change);
}

void service_create_key(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__CreateKeyRequest *request = message;
    const char *org = request->organization[0] ? request->organization : ORG_DEFAULT;
    struct change *change = new_change(rpc);
    struct error err;

    if (!change)
        return;
    if (credentials_new_api_key(rpc->api->credentials, org, request->name, &change->key,
                                change->secret, &err))
        refuse(change, &err);
    else
        put(change, key_created);
}

struct listing {
    Dispatch__V1__Key key, *pointer;
    wire_timestamp created;
    char id[CREDENTIALS_ID_MAX];
};

void service_list_keys(struct rpc *rpc, const void *message)
{
    const struct credentials *c = rpc->api->credentials;
    const Dispatch__V1__ListKeysRequest *request = message;
    Dispatch__V1__ListKeysResponse response = DISPATCH__V1__LIST_KEYS_RESPONSE__INIT;
    struct listing *all = calloc(c->count + 1, sizeof *all);
    Dispatch__V1__Key **keys = calloc(c->count + 1, sizeof(Dispatch__V1__Key *));
    struct error err;

    for (size_t i = 0; all && keys && i < c->count; i++) {
        if (c->list[i].kind != CREDENTIAL_API_KEY ||
            (request->organization[0] && strcmp(request->organization, c->list[i].org) != 0))
            continue;
        to_wire(&c->list[i], all[i].id, &all[i].created, &all[i].key);
        keys[response.n_keys++] = &all[i].key;
    }
    response.keys = keys;
    rpc_end(rpc, all && keys ? NULL : (error_memory(&err), &err), &response);
    free(keys);
    free(all);
}

static void login_confirmed(void *arg, const struct error *error)
{
    Dispatch__V1__ConfirmLoginResponse response = DISPATCH__V1__CONFIRM_LOGIN_RESPONSE__INIT;
    struct change *change = arg;
    struct logins *logins = &change->rpc->api->logins;
    /* The code is the end of the key's name. */
    struct login *login =
        logins_by_code(logins, strchr(change->key.name, ' ') + 1, clock_now(clock_system()));
    char id[CREDENTIALS_ID_MAX];
    wire_timestamp created;
    Dispatch__V1__Key key;

    if (login)
        login->confirming = false;
    if (!is_durable(change, error))
        return;
    if (login) {
        memcpy(login->org, change->key.org, sizeof login->org);
        memcpy(login->secret, change->secret, sizeof login->secret);
    }
    to_wire(&change->key, id, &created, &key);
    response.key = &key;
    log_line(change->rpc->api->log, LOG_INFO, "login confirmed", LOG_STR("key", id),
             LOG_STR("organization", change->key.org));
    rpc_end(change->rpc, NULL, &response);
    free_change(change);
}

static int new_login_key(struct api *api, const Dispatch__V1__ConfirmLoginRequest *request,
                         struct change *change, struct error *err)
{
    const char *org = request->organization[0] ? request->organization : ORG_DEFAULT;
    int64_t now = clock_now(clock_system());
    struct login *login = logins_by_code(&api->logins, request->code, now);
    char name[CREDENTIALS_NAME_MAX];
    int code;

    if (!login)
        return error_set(err, CODE_NOT_FOUND,
                         "there is no login %.20s: a code counts for 10 minutes; `dispatch login` "
                         "shows another one",
                         request->code);
    if (login->confirming || login->org[0])
        return error_set(err, CODE_FAILED_PRECONDITION, "the login %s was confirmed already",
                         login->code);
    snprintf(name, sizeof name, "login %s", login->code);
    code = credentials_new_api_key(api->credentials, org, name, &change->key, change->secret, err);
    if (code)
        return code;
    login->confirming = true;
    login->expires = time_add(now, LOGINS_NS);
    return CODE_OK;
}

void service_confirm_login(struct rpc *rpc, const void *message)
{
    struct change *change = new_change(rpc);
    struct error err;

    if (!change)
        return;
    if (new_login_key(rpc->api, message, change, &err))
        refuse(change, &err);
    else
        put(change, login_confirmed);
}

static void key_revoked(void *arg, const struct error *error)
{
    Dispatch__V1__RevokeKeyResponse response = DISPATCH__V1__REVOKE_KEY_RESPONSE__INIT;
    struct change *change = arg;
    char id[CREDENTIALS_ID_MAX];

    if (error) {
        refuse(change, error);
        return;
    }
    credentials_remove(change->rpc->api->credentials, change->key.number);
    credential_id(&change->key, id);
    log_line(change->rpc->api->log, LOG_INFO, "API key revoked", LOG_STR("key", id),
             LOG_STR("organization", change->key.org));
    rpc_end(change->rpc, NULL, &response);
    free_change(change);
}

void service_revoke_key(struct rpc *rpc, const void *message)
{
    const Dispatch__V1__RevokeKeyRequest *request = message;
    const struct credential *key = credentials_by_id(rpc->api->credentials, request->key_id);
    struct orchestrator_note none = {0};
    struct change *change = new_change(rpc);
    struct error err;

    if (!change)
        return;
    if (!key || key->kind != CREDENTIAL_API_KEY) {
        error_set(&err, CODE_NOT_FOUND, "there is no API key %.100s", request->key_id);
        refuse(change, &err);
        return;
    }
    change->key = *key;
    none.number = key->number;
    orchestrator_put_note(rpc->api->orchestrator, &none, key_revoked, change);
}

/* --- signing keys ------------------------------------------------------------------------------
 */

struct shown_signer {
    Dispatch__V1__SigningKey key;
    Dispatch__V1__SigningKey__AsymmetricKey asymmetric;
    char id[CREDENTIALS_ID_MAX], pem[SIGNATURE_PEM_MAX];
};

static void show_signer(const struct credential *key, struct shown_signer *out)
{
    struct signature_public public;

    dispatch__v1__signing_key__init(&out->key);
    dispatch__v1__signing_key__asymmetric_key__init(&out->asymmetric);
    credential_id(key, out->id);
    signature_public_of(&key->signer, &public);
    signature_write_pem(&public, out->pem);
    out->asymmetric.public_key = out->pem;
    out->key.signing_key_id = out->id;
    out->key.asymmetric_key = &out->asymmetric;
}

static void ignore(void *arg, const struct error *error)
{
    (void)arg;
    (void)error; /* the same as is told of the new key */
}

static void signer_created(void *arg, const struct error *error)
{
    Dispatch__V1__CreateSigningKeyResponse response =
        DISPATCH__V1__CREATE_SIGNING_KEY_RESPONSE__INIT;
    struct change *change = arg;
    struct shown_signer shown;

    if (!is_durable(change, error))
        return;
    if (change->superseded)
        credentials_remove(change->rpc->api->credentials, change->superseded);
    show_signer(&change->key, &shown);
    response.key = &shown.key;
    log_line(change->rpc->api->log, LOG_INFO, "signing key created", LOG_STR("key", shown.id),
             LOG_STR("organization", change->key.org));
    rpc_end(change->rpc, NULL, &response);
    free_change(change);
}

void service_create_signing_key(struct rpc *rpc, const void *message)
{
    const struct credential *oldest = credentials_superseded(rpc->api->credentials, rpc->org);
    struct orchestrator_note gone = {.number = oldest ? oldest->number : 0};
    struct change *change = new_change(rpc);
    struct error err;

    (void)message;
    if (!change)
        return;
    if (credentials_new_signing_key(rpc->api->credentials, rpc->org, &change->key, &err)) {
        refuse(change, &err);
        return;
    }
    change->superseded = gone.number;
    if (gone.number) /* in the same batch */
        orchestrator_put_note(rpc->api->orchestrator, &gone, ignore, NULL);
    put(change, signer_created);
}

void service_list_signing_keys(struct rpc *rpc, const void *message)
{
    Dispatch__V1__ListSigningKeysResponse response = DISPATCH__V1__LIST_SIGNING_KEYS_RESPONSE__INIT;
    Dispatch__V1__SigningKey *keys[CREDENTIALS_SIGNERS];
    struct shown_signer shown[CREDENTIALS_SIGNERS];
    const struct credentials *c = rpc->api->credentials;

    (void)message;
    response.keys = keys;
    for (size_t i = c->count; i-- > 0 && response.n_keys < CREDENTIALS_SIGNERS;) {
        if (c->list[i].kind != CREDENTIAL_SIGNING_KEY || strcmp(c->list[i].org, rpc->org) != 0)
            continue;
        show_signer(&c->list[i], &shown[response.n_keys]);
        keys[response.n_keys] = &shown[response.n_keys].key;
        response.n_keys++;
    }
    rpc_end(rpc, NULL, &response);
}
