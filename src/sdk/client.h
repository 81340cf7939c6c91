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

struct dispatch_client {
    char *api_key, *api_url, *authorization;
    bool key_from_env;
    struct net_url url; /* views into api_url */
    uint32_t timeout_ms, connect_retry_ms;
    struct net_loop *loop;
    struct net_client *http;
    struct rand rand;
    pthread_t thread;
    bool started;     /* the thread runs */
    bool closing;     /* the rest up to here belongs to the loop's thread once it runs */
    struct list live; /* operations under way */
    int wake;         /* an eventfd, readable while `finished` is not empty */
    pthread_mutex_t lock;
    pthread_cond_t done;
    struct list finished;
};

enum sdk_operation_kind { SDK_DISPATCH, SDK_WAIT };

struct dispatch_operation {
    struct list node; /* in live, then maybe in finished */
    struct dispatch_client *client;
    enum sdk_operation_kind kind;
    bool blocking; /* somebody waits on client->done */
    void *arg;
    struct blob *request;   /* of a Dispatch */
    size_t count;           /* its calls */
    char key[SDK_KEY_SIZE]; /* its idempotency key */
    char *id;               /* of a Wait */
    int64_t started_ns, deadline_ns;
    int64_t sent_ns;   /* of a Dispatch: since when somebody may have had it; first, started_ns */
    int64_t asked_ns;  /* when the last request was sent */
    unsigned failures; /* in a row */
    struct net_timer *timer;
    struct net_call *call;
    /* Under the client's lock. */
    bool finished, abandoned, cancel_posted;
    /* The outcome, once finished. */
    struct dispatch_failure failure; /* its code 0: success */
    struct dispatch_ids ids;
    struct dispatch_result result;
};

/* On the loop's thread: makes the next request of an operation; ends it. */
void sdk_operation_attempt(struct dispatch_operation *operation);
/* failure->code 0 with the outcome filled in, or a failure. */
void sdk_operation_finish(struct dispatch_operation *operation);
void sdk_operation_fail(struct dispatch_operation *operation, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same again after that delay. */
void sdk_operation_later(struct dispatch_operation *operation, uint64_t delay_ms);

#endif
