// SPDX-License-Identifier: Apache-2.0
/*
 * Signs requests on other threads than the loop's, as a signature takes as long as all else that is
 * done for a run. While a few threads are at it, what comes waits, and is then taken by the dozen:
 * the more there is to sign, the less the way to a thread and back costs each. One thread, that of
 * the loop, calls all of this.
 */
#ifndef SERVER_SIGNER_H
#define SERVER_SIGNER_H

#include "base/blob.h"
#include "net/net.h"
#include "wire/signature.h"

#define SIGNER_THREADS 2  /* at it at a time */
#define SIGNER_BATCH   32 /* requests that one of them takes along */

struct signer;
struct signing; /* a request being signed */

/* It is signed (err NULL), or cannot be; `made` and `body` live during the call. Never from within
 * signer_sign. */
typedef void signer_signed(void *arg, const struct signature_headers *made, struct blob *body,
                           const struct error *err);

/* NULL: no memory. */
struct signer *signer_create(struct net_loop *loop, signer_signed *done);
/* Nothing is being signed that was not given up. NULL is fine. */
void signer_destroy(struct signer *signer);

/* Begins to sign a POST of the body, with its content type as the only field. All but the body,
 * which is referenced, is copied. `done` comes with this arg (not NULL). CODE_RESOURCE_EXHAUSTED.
 */
int signer_sign(struct signer *signer, const struct signature_request *request, struct blob *body,
                const struct signature_private *key, int64_t created, void *arg,
                struct signing **out, struct error *err);
/* `done` does not come. */
void signing_give_up(struct signing *signing);

#endif
