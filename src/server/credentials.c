// SPDX-License-Identifier: Apache-2.0
/* The set is small and rarely changed: a list by number, searched from end to end. */
#include "server/credentials.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define ROW_VERSION 1
#define ROW_MAX     512

enum { SECRET_BYTES = 24 };

void credentials_init(struct credentials *c)
{
    *c = (struct credentials){.next = 1};
}

static void forget_all(struct credentials *c)
{
    if (c->list)
        sodium_memzero(c->list, c->count * sizeof *c->list);
    free(c->list);
    c->list = NULL;
    c->count = 0;
}

void credentials_free(struct credentials *c)
{
    forget_all(c);
    *c = (struct credentials){0};
}

/* --- rows ------------------------------------------------------------------------------------- */

void credential_encode(const struct credential *key, struct buf *out)
{
    bool api = key->kind == CREDENTIAL_API_KEY;

    buf_append_byte(out, ROW_VERSION);
    buf_append_byte(out, (uint8_t)key->kind);
    buf_put_u64(out, (uint64_t)key->created);
    buf_put_bytes(out, slice_str(key->org));
    buf_put_bytes(out, slice_str(api ? key->name : ""));
    buf_put_bytes(out,
                  api ? slice(key->hash, sizeof key->hash) : slice(key->seed, sizeof key->seed));
}

static bool take_text(struct slice *in, char *out, size_t max)
{
    struct slice text;

    if (!slice_get_bytes(in, &text) || text.len > max)
        return false;
    if (text.len)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

static bool take_secret(struct slice *in, struct credential *key)
{
    struct slice bytes;

    if (!slice_get_bytes(in, &bytes) || bytes.len != sizeof key->seed || in->len != 0)
        return false;
    if (key->kind == CREDENTIAL_API_KEY) {
        memcpy(key->hash, bytes.data, sizeof key->hash);
    } else {
        memcpy(key->seed, bytes.data, sizeof key->seed);
        signature_from_seed(key->seed, &key->signer);
    }
    return true;
}

int credential_decode(struct slice in, struct credential *key, struct error *err)
{
    struct credential made = {0};
    uint8_t version, kind;
    uint64_t created;

    if (!slice_get_byte(&in, &version))
        return error_set(err, CODE_DATA_LOSS, "a key in the store is damaged");
    if (version > ROW_VERSION)
        return error_set(err, CODE_FAILED_PRECONDITION,
                         "a key in the store was made by a newer version");
    if (!slice_get_byte(&in, &kind) || kind < CREDENTIAL_API_KEY || kind > CREDENTIAL_SIGNING_KEY)
        return error_set(err, CODE_DATA_LOSS, "a key in the store is damaged");
    made.kind = (enum credential_kind)kind;
    if (!slice_get_u64(&in, &created) || !take_text(&in, made.org, ORG_MAX) ||
        !org_valid(slice_str(made.org)) || !take_text(&in, made.name, CREDENTIALS_NAME_MAX) ||
        !take_secret(&in, &made))
        return error_set(err, CODE_DATA_LOSS, "a key in the store is damaged");
    made.created = (int64_t)created;
    *key = made;
    return 0;
}

int credentials_load(struct credentials *c, const struct orchestrator_note *notes, size_t count,
                     struct error *err)
{
    int code = 0;

    forget_all(c);
    c->loaded = true;
    for (size_t i = 0; i < count; i++) {
        struct credential key;
        int bad = credential_decode(notes[i].bytes, &key, err);

        if (notes[i].number >= c->next)
            c->next = notes[i].number + 1;
        key.number = notes[i].number;
        if (!bad && !credentials_add(c, &key))
            bad = error_memory(err);
        if (bad)
            code = bad;
    }
    return code;
}

/* --- the set ---------------------------------------------------------------------------------- */

int credential_put(struct orchestrator *o, const struct credential *key,
                   orchestrator_cancelled *done, void *arg, struct error *err)
{
    struct orchestrator_note note = {.number = key->number};
    struct buf row;
    bool good;

    buf_init(&row, 1024);
    credential_encode(key, &row);
    note.bytes = buf_slice(&row);
    good = !row.failed;
    if (good)
        orchestrator_put_note(o, &note, done, arg);
    if (row.data)
        sodium_memzero(row.data, row.len);
    buf_free(&row);
    return good ? CODE_OK : error_memory(err);
}

bool credentials_add(struct credentials *c, const struct credential *key)
{
    struct credential *grown = malloc((c->count + 1) * sizeof *grown);

    if (!grown)
        return false;
    if (c->count)
        memcpy(grown, c->list, c->count * sizeof *grown);
    grown[c->count] = *key;
    if (c->list)
        sodium_memzero(c->list, c->count * sizeof *c->list);
    free(c->list);
    c->list = grown;
    c->count++;
    return true;
}

void credentials_remove(struct credentials *c, uint64_t number)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->list[i].number != number)
            continue;
        memmove(&c->list[i], &c->list[i + 1], (c->count - i - 1) * sizeof *c->list);
        sodium_memzero(&c->list[--c->count], sizeof *c->list);
        return;
    }
}

static size_t count_of(const struct credentials *c, enum credential_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < c->count; i++)
        count += c->list[i].kind == kind;
    return count;
}

static int begin(struct credentials *c, enum credential_kind kind, const char *org,
                 struct credential *key, struct error *err)
{
    if (!org_valid(slice_str(org)))
        return error_set(err, CODE_INVALID_ARGUMENT,
                         "'%.100s' is no organization: it has 1 to %d lower-case letters, digits, "
                         "'.', '_' and '-', first a letter or a digit",
                         org, ORG_MAX);
    if (count_of(c, kind) >= CREDENTIALS_MAX || c->next > ORCHESTRATOR_NOTE_MAX)
        return error_set(err, CODE_RESOURCE_EXHAUSTED,
                         "there are %d such keys, and no more are possible", CREDENTIALS_MAX);
    *key = (struct credential){
        .kind = kind, .number = c->next++, .created = clock_now(clock_system())};
    memcpy(key->org, org, strlen(org) + 1);
    return 0;
}

int credentials_new_api_key(struct credentials *c, const char *org, const char *name,
                            struct credential *key, char secret[CREDENTIALS_SECRET],
                            struct error *err)
{
    uint8_t bytes[SECRET_BYTES];
    struct credential made;
    int code;

    if (strlen(name) > CREDENTIALS_NAME_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "the name of a key has at most %d bytes",
                         CREDENTIALS_NAME_MAX);
    code = begin(c, CREDENTIAL_API_KEY, org, &made, err);
    if (code)
        return code;
    randombytes_buf(bytes, sizeof bytes);
    memcpy(secret, "dsp_", 4);
    sodium_bin2base64(secret + 4, CREDENTIALS_SECRET - 4, bytes, sizeof bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_hash_sha256(made.hash, (const uint8_t *)secret, strlen(secret));
    memcpy(made.name, name, strlen(name) + 1);
    *key = made;
    return 0;
}

int credentials_new_signing_key(struct credentials *c, const char *org, struct credential *key,
                                struct error *err)
{
    int code = begin(c, CREDENTIAL_SIGNING_KEY, org, key, err);

    if (code)
        return code;
    randombytes_buf(key->seed, sizeof key->seed);
    signature_from_seed(key->seed, &key->signer);
    return 0;
}

/* --- looking up ------------------------------------------------------------------------------- */

const char *credentials_find(const struct credentials *c, struct slice secret)
{
    const struct credential *found = NULL;
    uint8_t hash[KEYS_HASH_BYTES];

    if (secret.len == 0 || secret.len > KEYS_LENGTH_MAX)
        return NULL;
    crypto_hash_sha256(hash, secret.data, secret.len);
    for (size_t i = 0; i < c->count; i++) {
        const struct credential *key = &c->list[i];

        if (key->kind == CREDENTIAL_API_KEY && sodium_memcmp(hash, key->hash, sizeof hash) == 0)
            found = key;
    }
    return found ? found->org : NULL;
}

const struct credential *credentials_signer(const struct credentials *c, struct slice org)
{
    for (size_t i = c->count; i-- > 0;) {
        if (c->list[i].kind == CREDENTIAL_SIGNING_KEY && slice_eq_str(org, c->list[i].org))
            return &c->list[i];
    }
    return NULL;
}

const struct credential *credentials_superseded(const struct credentials *c, const char *org)
{
    const struct credential *oldest = NULL;
    size_t count = 0;

    for (size_t i = 0; i < c->count; i++) {
        if (c->list[i].kind != CREDENTIAL_SIGNING_KEY || strcmp(c->list[i].org, org) != 0)
            continue;
        oldest = oldest ? oldest : &c->list[i];
        count++;
    }
    return count >= CREDENTIALS_SIGNERS ? oldest : NULL;
}

void credential_id(const struct credential *key, char id[CREDENTIALS_ID_MAX])
{
    snprintf(id, CREDENTIALS_ID_MAX, "%s-%" PRIu32, key->kind == CREDENTIAL_API_KEY ? "key" : "sig",
             (uint32_t)key->number);
}

const struct credential *credentials_by_id(const struct credentials *c, const char *id)
{
    for (size_t i = 0; i < c->count; i++) {
        char text[CREDENTIALS_ID_MAX];

        credential_id(&c->list[i], text);
        if (strcmp(text, id) == 0)
            return &c->list[i];
    }
    return NULL;
}
