// SPDX-License-Identifier: Apache-2.0
/* What the files of the client share: client.c (its thread, operations), api.c (what is sent). */
#ifndef SDK_CLIENT_H
#define SDK_CLIENT_H

#include "base/blob.h"
#include "base/clock.h"
#include "base/rand.h"
#include "net/net.h"
#include "sdk/internal.h"

/* One Wait asks the server to hold its answer for so long; then it asks again. */
#define SDK_WAIT_HOLD_MS 30000

/* How it reaches an orchestrator: over HTTP, or one of this process on its own loop. */
struct dispatch_client {
    struct sdk_embedded *embedded; /* NULL: over HTTP, with the next fields */
    char *api_key, *api_url, *authorization;
    bool key_from_env;
    struct net_url url; /* views into api_url */
    uint32_t timeout_ms, connect_retry_ms;
    struct net_loop *loop;
    struct net_client *http;
    struct rand rand;
    pid_t pid; /* whose process it is: a fork has none of its threads */
    pthread_t thread;
    bool started;     /* the thread runs; an embedded one without it is stepped by its opener */
    bool turning;     /* inside such a step */
    bool closing;     /* the rest up to here belongs to the loop's thread once it runs */
    struct list live; /* operations under way */
    int wake;         /* an eventfd, readable while `finished` is not empty */
    pthread_mutex_t lock;
    pthread_cond_t done;
    struct list finished;
};

/* SDK_CONTROL: any other request that is answered at once. */
enum sdk_operation_kind { SDK_DISPATCH, SDK_WAIT, SDK_CONTROL };

struct dispatch_operation {
    struct list node; /* in live, then maybe in finished */
    struct dispatch_client *client;
    enum sdk_operation_kind kind;
    bool blocking; /* somebody waits on client->done */
    void *arg;
    struct blob *request;                   /* of a Dispatch */
    size_t count;                           /* its calls */
    char key[SDK_KEY_SIZE];                 /* its idempotency key */
    const char *path;                       /* of a control: the method, and */
    const ProtobufCMessageDescriptor *type; /* that of its request */
    bool repeatable;    /* it may be made again when nobody knows what became of it */
    struct blob *reply; /* of a control that succeeded */
    char *id;           /* of a Wait */
    int64_t started_ns, deadline_ns;
    int64_t sent_ns;   /* of a Dispatch: since when somebody may have had it; first, started_ns */
    int64_t asked_ns;  /* when the last request was sent */
    unsigned failures; /* in a row */
    struct net_timer *timer;
    struct net_call *call;
    struct sdk_embedded_request *local; /* with the orchestrator of this process */
    /* Under the client's lock. */
    bool finished, abandoned, cancel_posted;
    /* The outcome, once finished. */
    struct dispatch_failure failure; /* its code 0: success */
    struct dispatch_ids ids;
    struct dispatch_result result;
};

/* Sends the request to a method, and waits: *reply is its answer. Takes over the blob. */
int sdk_client_control(struct dispatch_client *client, const char *path,
                       const ProtobufCMessageDescriptor *type, struct blob *request,
                       bool repeatable, struct blob **reply, struct dispatch_failure *failure);
/* The result of a call that is done; `memory` becomes its own. */
int sdk_result_from_info(const Dispatch__V1__CallInfo *info, const char *id, struct arena *memory,
                         struct dispatch_result *result, struct error *err);

/* On the loop's thread: makes the next request of an operation; ends it. */
void sdk_operation_attempt(struct dispatch_operation *operation);
/* failure->code 0 with the outcome filled in, or a failure. */
void sdk_operation_finish(struct dispatch_operation *operation);
void sdk_operation_fail(struct dispatch_operation *operation, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same again after that delay. */
void sdk_operation_later(struct dispatch_operation *operation, uint64_t delay_ms);

/* What came of an attempt that was not over HTTP: the packed response; or the orchestrator's error
 * (unsent: it has not seen the request), after which it may be made again. */
void sdk_operation_answered(struct dispatch_operation *operation, struct slice body);
void sdk_operation_refused(struct dispatch_operation *operation, const struct error *error,
                           bool unsent);

/* --- clients of an orchestrator in this process ---------------------------------------------- */

struct sdk_embedded_options;

/* Opens the store, and waits for it if it may. Nothing happens until there is a thread for the
 * loop, or the present thread makes the turns. */
int sdk_client_embed(const struct sdk_embedded_options *options, struct dispatch_client **client,
                     struct dispatch_failure *failure);
int sdk_client_start(struct dispatch_client *client, struct dispatch_failure *failure);
/* Whether it is this thread that makes the turns of the loop. */
bool sdk_client_turns_here(const struct dispatch_client *client);
/* CODE_FAILED_PRECONDITION: this thread cannot wait, as it makes a turn now, or was forked. */
int sdk_client_check_waiting(const struct dispatch_client *client,
                             struct dispatch_failure *failure);
/* A turn of the loop; `wait`: once there is something to do. */
void sdk_client_turn(struct dispatch_client *client, bool wait);
/* Runs every operation again that waits for a moment. On the loop's thread. */
void sdk_client_hurry(struct dispatch_client *client);

#endif
