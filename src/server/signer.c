// SPDX-License-Identifier: Apache-2.0
/*
 * A request waits in a list, then goes to a thread with a batch of others, then comes back to the
 * loop with it. The thread touches nothing but what the request holds for itself, and not its
 * `arg`: that is the loop's, so that a request can be given up while it is being signed.
 */
#include "server/signer.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/list.h"

struct signing {
    struct list link;
    void *arg; /* NULL: given up */
    bool waiting;
    struct blob *body;
    int64_t created;
    struct signature_private key;
    struct signature_headers made;
    struct error err;
    int code;
    size_t type_len, path_len, authority_len;
    char texts[]; /* content type, path, authority */
};

struct batch {
    struct signer *signer;
    struct list signings;
    bool busy; /* with a thread */
};

struct signer {
    struct net_loop *loop;
    signer_signed *done;
    struct list waiting;
    struct batch batches[SIGNER_THREADS];
    size_t busy;
    bool destroyed; /* goes with its last batch */
};

static void free_signing(struct signing *signing)
{
    blob_unref(signing->body);
    sodium_memzero(&signing->key, sizeof signing->key);
    free(signing);
}

/* On another thread. */
static void sign_batch(void *arg)
{
    struct batch *batch = arg;

    for (struct list *node = batch->signings.next; node != &batch->signings; node = node->next) {
        struct signing *s = LIST_ENTRY(node, struct signing, link);
        const char *path = s->texts + s->type_len, *authority = path + s->path_len;
        const struct signature_field type = {slice_str("content-type"),
                                             slice(s->texts, s->type_len)};
        const struct signature_request request = {.method = slice_str("POST"),
                                                  .path = slice(path, s->path_len),
                                                  .authority = slice(authority, s->authority_len),
                                                  .fields = &type,
                                                  .field_count = 1,
                                                  .body = blob_slice(s->body)};

        s->code = signature_sign(&request, &s->key, s->created, &s->made, &s->err);
    }
}

static void deliver(struct signer *signer, struct signing *signing)
{
    void *arg = signing->arg;

    signing->arg = NULL;
    if (arg)
        signer->done(arg, &signing->made, signing->body, signing->code ? &signing->err : NULL);
    free_signing(signing);
}

static void batch_signed(void *arg);

static void put_back(struct signer *signer, struct batch *batch)
{
    LIST_FOR_EACH (node, next, &batch->signings)
        LIST_ENTRY(node, struct signing, link)->waiting = true;
    list_splice(&batch->signings, &signer->waiting);
    list_splice(&signer->waiting, &batch->signings);
}

/* Gives what waits to a thread that is free. False: no memory, and it waits on. */
static bool start(struct signer *signer)
{
    struct batch *batch = signer->batches;

    if (signer->busy == SIGNER_THREADS || list_empty(&signer->waiting))
        return true;
    while (batch->busy)
        batch++;
    for (size_t i = 0; i < SIGNER_BATCH && !list_empty(&signer->waiting); i++) {
        struct signing *signing = LIST_ENTRY(list_pop(&signer->waiting), struct signing, link);

        signing->waiting = false;
        list_append(&batch->signings, &signing->link);
    }
    if (!net_work(signer->loop, sign_batch, batch_signed, batch)) {
        put_back(signer, batch);
        return false;
    }
    batch->busy = true;
    signer->busy++;
    return true;
}

static void batch_signed(void *arg)
{
    struct batch *batch = arg;
    struct signer *signer = batch->signer;
    struct list signed_ones, *node;
    bool started;

    list_init(&signed_ones);
    list_splice(&signed_ones, &batch->signings);
    batch->busy = false;
    signer->busy--;
    started = start(signer); /* before it is told of these, as that may take a while */
    while ((node = list_pop(&signed_ones)))
        deliver(signer, LIST_ENTRY(node, struct signing, link));
    while (!started && signer->busy == 0 && (node = list_pop(&signer->waiting))) {
        struct signing *signing = LIST_ENTRY(node, struct signing, link);

        signing->code = error_memory(&signing->err);
        deliver(signer, signing);
    }
    if (signer->destroyed && signer->busy == 0)
        free(signer);
}

struct signer *signer_create(struct net_loop *loop, signer_signed *done)
{
    struct signer *signer = calloc(1, sizeof *signer);

    if (!signer)
        return NULL;
    signer->loop = loop;
    signer->done = done;
    list_init(&signer->waiting);
    for (size_t i = 0; i < SIGNER_THREADS; i++) {
        signer->batches[i].signer = signer;
        list_init(&signer->batches[i].signings);
    }
    return signer;
}

void signer_destroy(struct signer *signer)
{
    if (!signer)
        return;
    assert(list_empty(&signer->waiting));
    signer->destroyed = true;
    if (signer->busy == 0)
        free(signer);
}

static struct signing *make(const struct signature_request *request, struct blob *body,
                            const struct signature_private *key, int64_t created, void *arg)
{
    struct slice type = request->fields[0].value;
    struct signing *s = malloc(sizeof *s + type.len + request->path.len + request->authority.len);

    assert(arg && request->field_count == 1);
    if (!s)
        return NULL;
    *s = (struct signing){.arg = arg,
                          .waiting = true,
                          .body = blob_ref(body),
                          .created = created,
                          .key = *key,
                          .type_len = type.len,
                          .path_len = request->path.len,
                          .authority_len = request->authority.len};
    memcpy(s->texts, type.data, type.len);
    memcpy(s->texts + type.len, request->path.data, request->path.len);
    memcpy(s->texts + type.len + request->path.len, request->authority.data,
           request->authority.len);
    return s;
}

int signer_sign(struct signer *signer, const struct signature_request *request, struct blob *body,
                const struct signature_private *key, int64_t created, void *arg,
                struct signing **out, struct error *err)
{
    struct signing *signing = make(request, body, key, created, arg);

    if (!signing)
        return error_memory(err);
    list_append(&signer->waiting, &signing->link);
    if (!start(signer) && signer->busy == 0) { /* nobody would come back for it */
        list_remove(&signing->link);
        free_signing(signing);
        return error_memory(err);
    }
    *out = signing;
    return CODE_OK;
}

void signing_give_up(struct signing *signing)
{
    signing->arg = NULL;
    if (!signing->waiting)
        return;
    list_remove(&signing->link);
    free_signing(signing);
}
