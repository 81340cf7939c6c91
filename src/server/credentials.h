// SPDX-License-Identifier: Apache-2.0
/*
 * The keys that are kept in the store, of all organizations: API keys, by which clients are let in,
 * and signing keys, by which endpoints know who sends. They lie in memory as they were committed:
 * a change is made when its commit is confirmed, and from then on counts at once.
 *
 * An API key is 192 random bits, so nobody can guess it from its SHA-256, however fast that is:
 * slow password hashes are for secrets that people think of. Comparing takes the same time
 * whether a key is found or not, and whichever it is. One thread.
 */
#ifndef SERVER_CREDENTIALS_H
#define SERVER_CREDENTIALS_H

#include "orchestrator/orchestrator.h"
#include "server/keys.h"
#include "wire/signature.h"

#define CREDENTIALS_MAX      1024 /* of each kind */
#define CREDENTIALS_SIGNERS  4    /* signing keys kept of an organization: the newest ones */
#define CREDENTIALS_NAME_MAX 100
#define CREDENTIALS_SECRET   37 /* "dsp_" and base64url of 24 bytes, with a NUL */
#define CREDENTIALS_ID_MAX   16

enum credential_kind { CREDENTIAL_API_KEY = 1, CREDENTIAL_SIGNING_KEY = 2 };

struct credential {
    enum credential_kind kind;
    uint64_t number; /* of its note; grows */
    int64_t created;
    char org[ORG_MAX + 1];
    char name[CREDENTIALS_NAME_MAX + 1]; /* of an API key */
    uint8_t hash[KEYS_HASH_BYTES];       /* of an API key */
    uint8_t seed[32];                    /* of a signing key; the rest follows from it */
    struct signature_private signer;
};

struct credentials {
    struct credential *list; /* by number */
    size_t count;
    uint64_t next; /* the number of the next one */
    bool loaded;
};

void credentials_init(struct credentials *c);
void credentials_free(struct credentials *c);

/* Takes what is in the store instead of what was there before (orchestrator_options.notes).
 * CODE_DATA_LOSS or CODE_FAILED_PRECONDITION (made by a newer version): of a note, which is
 * skipped; the others are taken all the same. */
int credentials_load(struct credentials *c, const struct orchestrator_note *notes, size_t count,
                     struct error *err);

/* The row of one; out->failed tells. */
void credential_encode(const struct credential *key, struct buf *out);
int credential_decode(struct slice in, struct credential *key, struct error *err);

/* Fills in a new one, which is not yet part of the set. `secret` is what its owner has to be told.
 * CODE_INVALID_ARGUMENT, CODE_RESOURCE_EXHAUSTED: there are too many. */
int credentials_new_api_key(struct credentials *c, const char *org, const char *name,
                            struct credential *key, char secret[CREDENTIALS_SECRET],
                            struct error *err);
int credentials_new_signing_key(struct credentials *c, const char *org, struct credential *key,
                                struct error *err);
/* Has it committed, as orchestrator_put_note does; CODE_RESOURCE_EXHAUSTED: nothing was begun. */
int credential_put(struct orchestrator *o, const struct credential *key,
                   orchestrator_cancelled *done, void *arg, struct error *err);
/* It is durable. False: no memory; it counts after the next start. */
bool credentials_add(struct credentials *c, const struct credential *key);
void credentials_remove(struct credentials *c, uint64_t number);

/* The organization of the key; NULL: it is none. Lives until the next change. */
const char *credentials_find(const struct credentials *c, struct slice secret);
/* The newest signing key of the organization, or NULL. */
const struct credential *credentials_signer(const struct credentials *c, struct slice org);
/* The oldest one, if there are so many that the next one pushes it out; else NULL. */
const struct credential *credentials_superseded(const struct credentials *c, const char *org);

/* "key-12", "sig-12". */
void credential_id(const struct credential *key, char id[CREDENTIALS_ID_MAX]);
const struct credential *credentials_by_id(const struct credentials *c, const char *id);

#endif
