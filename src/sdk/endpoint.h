// SPDX-License-Identifier: Apache-2.0
/* The HTTP side of an endpoint: a server on an event loop in a thread of its own. */
#ifndef SDK_ENDPOINT_H
#define SDK_ENDPOINT_H

#include "sdk/internal.h"
#include "wire/signature.h"

/* Bodies past this are refused with the documented message. */
#define SDK_BODY_MAX 16000000

struct sdk_listener;

/* Who may ask for runs: whoever has the private key. */
struct sdk_verifier {
    struct signature_public key;
};

/* From the text of a key; NULL: from DISPATCH_VERIFICATION_KEY. *verifier is NULL if there is none.
 * To be given to free(). */
int sdk_verifier_create(const char *text, struct sdk_verifier **verifier,
                        struct dispatch_failure *failure);
/* With a NULL verifier, everybody may. */
int sdk_verify(const struct sdk_verifier *verifier, const struct signature_request *request,
               struct error *err);
int sdk_verify_http(const struct sdk_verifier *verifier,
                    const struct dispatch_http_request *request, struct error *err);
/* The endpoint's own. */
const struct sdk_verifier *sdk_endpoint_verifier(const struct dispatch_endpoint *endpoint);

/* Where an endpoint listens. */
struct sdk_listen_options {
    const char *addr;                 /* "HOST:PORT" */
    const char *cert_file, *key_file; /* PEM; NULL: in clear text */
};

/* Binds before it returns; CODE_UNAVAILABLE names an address that cannot be had. */
int sdk_listener_create(struct dispatch_endpoint *endpoint,
                        const struct sdk_listen_options *options, struct sdk_listener **listener,
                        struct error *err);
uint16_t sdk_listener_port(const struct sdk_listener *listener);
/* Accepts no more connections. */
void sdk_listener_close(struct sdk_listener *listener);
/* Waits until the answers given are on their way, for at most timeout_ms. */
void sdk_listener_flush(struct sdk_listener *listener, uint32_t timeout_ms);
/* Every run of the endpoint has been answered. NULL is fine. */
void sdk_listener_destroy(struct sdk_listener *listener);

/* --- runs of an orchestrator in this process -------------------------------------------------- */

/* As dispatch_endpoint_handle, of a request that lies in `arena`, which is taken over with it: it
 * is left empty, if it is needed. Several may come: no thread is woken before sdk_endpoint_start.
 */
void sdk_endpoint_run(struct dispatch_endpoint *endpoint, const wire_run_request *request,
                      struct arena *arena,
                      void (*done)(void *arg, const struct dispatch_reply *reply), void *arg);
void sdk_endpoint_start(struct dispatch_endpoint *endpoint);
/* An endpoint without threads: its functions run in sdk_endpoint_work, which runs those that wait
 * when it is called (for other endpoints it does nothing). */
bool sdk_endpoint_has_work(struct dispatch_endpoint *endpoint);
void sdk_endpoint_work(struct dispatch_endpoint *endpoint);
int sdk_endpoint_create_threadless(const struct dispatch_endpoint_options *options,
                                   struct dispatch_endpoint **endpoint,
                                   struct dispatch_failure *failure);

#endif
