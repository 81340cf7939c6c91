// SPDX-License-Identifier: Apache-2.0
/*
 * The API over HTTP: which request is for what, who may ask, and the answers. Methods (calls.c) are
 * functions of the orchestrator, and each is spoken in every protocol (protocol.h).
 *
 *   POST /dispatch.sdk.v1.DispatchService/Dispatch
 *   POST /dispatch.sdk.v1.DispatchService/Wait
 *   POST /dispatch.v1.CallService/Call
 *   POST /dispatch.v1.CallService/Get
 *   POST /dispatch.v1.CallService/Attempts
 *   POST /dispatch.v1.CallService/List
 *   POST /dispatch.v1.CallService/Wait
 *   POST /dispatch.v1.CallService/Cancel
 *   POST /dispatch.v1.CallService/Restart
 *   POST /dispatch.v1.CallService/Complete
 *   POST /dispatch.v1.CallService/Retry
 *   POST /dispatch.v1.SigningKeyService/CreateSigningKey, ListSigningKeys
 *   POST /dispatch.v1.KeyService/CreateKey, ListKeys, RevokeKey    at the operator's socket alone
 *   POST /dispatch.v1.StatsService/Stats
 *   GET, POST, DELETE /sessions/SESSION    sessions.h
 *   GET  /healthz    200 as long as the loop turns
 *   GET  /readyz     200 when calls are taken; else 503 and why not
 *   GET  /metrics    metrics.h; for the operator, and who has a key of his organization
 *   GET  /descriptor.pb   the services as a FileDescriptorSet
 */
#ifndef SERVER_API_H
#define SERVER_API_H

#include "base/list.h"
#include "base/log.h"
#include "base/rand.h"
#include "net/net.h"
#include "orchestrator/orchestrator.h"
#include "server/credentials.h"
#include "server/keys.h"
#include "server/logins.h"
#include "server/pending.h"
#include "server/protocol.h"
#include "server/recent.h"
#include "server/sessions.h"

#define API_REQUEST_ID_MAX 64

/* Requests that come while the calls are loaded for the first time wait for that: so many, of so
 * many bytes together, each so long. Others are refused as unavailable. */
#define API_HELD_MAX       1024
#define API_HELD_BYTES_MAX ((size_t)64 << 20)
#define API_HELD_NS        (5 * NS_PER_S)

struct api {
    struct orchestrator *orchestrator; /* NULL: stopped; all is refused as unavailable */
    struct sessions *sessions;
    const struct recent *recent;
    const struct keys *keys;         /* NULL: nobody is asked for one */
    struct credentials *credentials; /* further ones, of all organizations */
    struct logins logins;            /* that wait to be confirmed */
    bool draining;
    bool metrics_public; /* /metrics wants no key */
    size_t body_max;
    const char *store_path; /* what answers say "the store" for; "": nothing */
    struct log *log;
    struct rand rand;           /* of request ids */
    void (*changed)(void *arg); /* the orchestrator was given something: it wants a step */
    void *arg;
    bool opening;               /* between api_hold and api_release */
    struct net_timer *patience; /* of the one that waits longest */
    struct list held;           /* struct rpc */
    size_t held_count, held_bytes;
};

/* From now on, requests wait for api_release, or until they are refused. */
int api_hold(struct api *api, struct net_loop *loop, struct error *err);
/* Goes on with them; harmless if there are none. */
void api_release(struct api *api);
/* Every exchange is gone. */
void api_finish(struct api *api);

/* The callbacks of a net server whose `arg` is the api. */
void api_handle(void *arg, struct net_exchange *exchange, const struct net_request *request);
/* The same of a net server that only the operator reaches: nobody is asked for a key, and the
 * header Dispatch-Organization says whose calls are meant; without it, "default". */
void api_handle_control(void *arg, struct net_exchange *exchange,
                        const struct net_request *request);
void api_gone(void *arg, struct net_exchange *exchange);
void api_refused(void *arg, struct slice peer, int status, const char *reason);

/* --- between api.c and calls.c -------------------------------------------------------------- */

struct rpc;

struct method {
    const char *path;
    const ProtobufCMessageDescriptor *request; /* NULL: a body of bytes; the message is a slice */
    /* Hands the message to the orchestrator, and sees to it that rpc_end is called once, at once or
     * later, unless rpc_give_up returned true. */
    void (*start)(struct rpc *rpc, const void *message);
    bool control; /* for the operator alone */
};

/* Whether who asks may know of all organizations together, as the metrics tell it. */
bool api_sees_all(const struct api *api, bool control, const char *org);

/* attempts.c, stats.c */
void service_attempts(struct rpc *rpc, const void *message);
void service_stats(struct rpc *rpc, const void *message);

/* services.c */
void service_create_key(struct rpc *rpc, const void *message);
void service_list_keys(struct rpc *rpc, const void *message);
void service_revoke_key(struct rpc *rpc, const void *message);
void service_confirm_login(struct rpc *rpc, const void *message);
void service_create_signing_key(struct rpc *rpc, const void *message);
void service_list_signing_keys(struct rpc *rpc, const void *message);

extern const struct method api_methods[];
extern const size_t api_method_count;

/* A request to a method, from its decoding until its end. If the client goes away first, it lives
 * on without an exchange until the orchestrator has called back, or was told not to. */
struct rpc {
    struct pending pending; /* first */
    struct api *api;
    const struct method *method;
    struct net_exchange *exchange; /* NULL: nobody waits for the answer */
    struct slice peer;
    char org[ORG_MAX + 1];
    bool control;                 /* it came from the operator */
    bool unknown;                 /* who asks is to be found out when the keys are loaded */
    struct slice idempotency_key; /* data NULL: none; read it in `start` only */
    struct rpc_head head;
    const struct net_request *held; /* the request, while it waits for the calls to be loaded */
    struct list link;               /* then: in api->held */
    int64_t held_until;
    struct orchestrator_wait *wait; /* what can be given up, or NULL */
    bool starting, over;            /* inside method->start; rpc_end was called */
    bool timeout_first;             /* its timeout ends before the wait that it asked for */
    char request_id[API_REQUEST_ID_MAX + 1];
};

/* Answers with the error, or with the message if that is NULL; the rpc is no more. */
void rpc_end(struct rpc *rpc, const struct error *error, const void *message);

#endif
